/// Looks at text from outside for what has no business in it. It screens and does not sanitize: what passes must still
/// be escaped where it is shown, and bound as a parameter where it is stored.
package struct InputScreen {
  package enum Finding: String, CaseIterable, Sendable {
    case tooLarge = "too_large"
    case controlCharacter = "control_character"
    case script
    case sql
  }

  /// What a caller may ask it to look for, besides the size and control characters.
  package enum Pattern: String, CaseIterable, Sendable {
    case script, sql
  }

  /// What is wrong with a text, or nil.
  /// - Parameters:
  ///   - maxBytes: of UTF-8
  ///   - patterns: looked for in this order: script, then SQL
  package static func check(_ text: String, maxBytes: Int, for patterns: Set<Pattern> = [.script]) -> Finding? {
    if text.utf8.count > maxBytes { return .tooLarge }
    let lower = ScreenedText(text)
    if lower.holdsControl { return .controlCharacter }
    if patterns.contains(.script), ScriptScreen.finds(lower) { return .script }
    if patterns.contains(.sql), SQLScreen.finds(lower) { return .sql }
    return nil
  }
}

/// Bytes of UTF-8, in lower case as far as ASCII goes.
struct ScreenedText {
  let bytes: [UInt8]

  init(_ text: String) {
    bytes = text.utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
  }

  init(lowerCase bytes: [UInt8]) {
    self.bytes = bytes
  }

  var count: Int { bytes.count }

  /// the byte, or 0 behind the end: no text that is looked at holds one
  subscript(_ index: Int) -> UInt8 { bytes.indices.contains(index) ? bytes[index] : 0 }

  /// a control character other than tab, line feed and carriage return
  var holdsControl: Bool {
    bytes.contains { $0 < 0x20 && $0 != 0x09 && $0 != 0x0A && $0 != 0x0D || $0 == 0x7F }
  }

  func holds(_ word: StaticString, at index: Int) -> Bool {
    index >= 0 && bytes[min(index, count)...].starts(with: "\(word)".utf8)
  }

  func isSpace(_ index: Int) -> Bool {
    let byte = self[index]
    return byte == 0x20 || (0x09...0x0D).contains(byte)
  }

  func isLetter(_ index: Int) -> Bool { (0x61...0x7A).contains(self[index]) }

  /// letters, digits and what else a word of code may hold; bytes of characters beyond ASCII count as well
  func isWord(_ index: Int) -> Bool {
    let byte = self[index]
    return isLetter(index) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "_") || byte >= 0x80
  }

  /// the first index from this one on that is no white space
  func skippingSpace(_ index: Int) -> Int {
    var index = index
    while isSpace(index) { index += 1 }
    return index
  }

  /// the end of the word that begins here
  func endOfWord(_ index: Int) -> Int {
    var index = index
    while isWord(index) { index += 1 }
    return index
  }
}
