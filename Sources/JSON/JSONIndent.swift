extension JSONText {
  /// The same value with each member and element on a line of its own, two spaces deeper than what it stands in; for
  /// people.
  package var indented: [UInt8] {
    var text: [UInt8] = []
    var depth = 0
    var inString = false
    var isEscaped = false
    func newline(_ text: inout [UInt8]) {
      text.append(UInt8(ascii: "\n"))
      text.append(contentsOf: repeatElement(UInt8(ascii: " "), count: 2 * depth))
    }
    for byte in bytes {
      if inString {
        text.append(byte)
        if isEscaped {
          isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
          isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
          inString = false
        }
        continue
      }
      switch byte {
      case 0x20, 0x09, 0x0A, 0x0D: continue
      case UInt8(ascii: "]"), UInt8(ascii: "}"):
        depth -= 1
        // What is empty stays together.
        if text.last != UInt8(ascii: "["), text.last != UInt8(ascii: "{") { newline(&text) }
        text.append(byte)
        continue
      default: break
      }
      // The first thing in what was opened last.
      if text.last == UInt8(ascii: "[") || text.last == UInt8(ascii: "{") { newline(&text) }
      text.append(byte)
      switch byte {
      case UInt8(ascii: "\""): inString = true
      case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
      case UInt8(ascii: ","): newline(&text)
      case UInt8(ascii: ":"): text.append(UInt8(ascii: " "))
      default: break
      }
    }
    return text
  }
}
