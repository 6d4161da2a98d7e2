/// The code of a Swift file: comments, and the contents of string literals except what is interpolated, are blanked
/// out, so that rules see only what the compiler sees. Offsets and lines stay. A regex literal with a quote in it is
/// not understood.
struct SwiftCode: Sendable {
  let bytes: [UInt8]
  let words: [Word]

  /// A run of letters, digits and underscores.
  struct Word: Sendable {
    let text: String
    let range: Range<Int>
    let line: Int
    /// the bytes that stand directly before and behind it, 0 at the ends of the file
    let before: UInt8
    let behind: UInt8
  }

  init(_ source: [UInt8]) {
    var blanker = Blanker(bytes: source)
    blanker.code(until: nil)
    self.bytes = blanker.bytes
    self.words = Self.words(in: blanker.bytes)
  }

  static func isWordByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), 0x80...,
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: false
    }
  }

  private static func words(in bytes: [UInt8]) -> [Word] {
    var words: [Word] = []
    var line = 1
    var index = 0
    while index < bytes.count {
      let start = index
      while index < bytes.count, isWordByte(bytes[index]) { index += 1 }
      if index > start {
        words.append(
          Word(
            text: String(decoding: bytes[start..<index], as: UTF8.self), range: start..<index, line: line,
            before: start > 0 ? bytes[start - 1] : 0, behind: index < bytes.count ? bytes[index] : 0))
      } else {
        if bytes[index] == 0x0A { line += 1 }
        index += 1
      }
    }
    return words
  }

  /// The offset behind the bracket that closes the one at or after `start`, or the end of the file.
  func end(ofBracketFrom start: Int, _ opening: Character, _ closing: Character) -> Int {
    var depth = 0
    for index in start..<bytes.count {
      if bytes[index] == opening.asciiValue { depth += 1 }
      if bytes[index] == closing.asciiValue {
        depth -= 1
        if depth == 0 { return index + 1 }
      }
    }
    return bytes.count
  }
}

/// Walks over Swift source and overwrites with spaces what is not code.
private struct Blanker {
  var bytes: [UInt8]
  private var index = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  private func starts(_ text: String, at offset: Int? = nil) -> Bool {
    bytes[min(offset ?? index, bytes.count)...].starts(with: text.utf8)
  }

  private mutating func blank(_ count: Int) {
    for _ in 0..<count where index < bytes.count {
      if bytes[index] != 0x0A { bytes[index] = 0x20 }
      index += 1
    }
  }

  /// Passes code up to the `closing` parenthesis of an interpolation, or to the end.
  mutating func code(until closing: UInt8?) {
    var depth = 0
    while index < bytes.count {
      if starts("//") {
        while index < bytes.count, bytes[index] != 0x0A { blank(1) }
      } else if starts("/*") {
        comment()
      } else if bytes[index] == UInt8(ascii: "\"") {
        string(pounds: 0)
      } else if bytes[index] == UInt8(ascii: "#") {
        let pounds = bytes[index...].prefix { $0 == UInt8(ascii: "#") }.count
        if starts("\"", at: index + pounds) { string(pounds: pounds) } else { index += pounds }
      } else {
        if bytes[index] == UInt8(ascii: "(") { depth += 1 }
        if bytes[index] == UInt8(ascii: ")") {
          if depth == 0, closing != nil { return }
          depth -= 1
        }
        index += 1
      }
    }
  }

  private mutating func comment() {
    var depth = 0
    repeat {
      if starts("/*") {
        depth += 1
        blank(2)
      } else if starts("*/") {
        depth -= 1
        blank(2)
      } else {
        blank(1)
      }
    } while depth > 0 && index < bytes.count
  }

  /// Passes a literal with `pounds` number signs, which stay as they are, like its quotes.
  private mutating func string(pounds: Int) {
    let marks = String(repeating: "#", count: pounds)
    let quotes = starts("\"\"\"", at: index + pounds) ? "\"\"\"" : "\""
    index += pounds + quotes.utf8.count
    while index < bytes.count {
      if starts(quotes + marks) {
        index += quotes.utf8.count + pounds
        return
      }
      if quotes.utf8.count == 1, bytes[index] == 0x0A { return }
      if starts("\\" + marks + "(") {
        blank(pounds + 1)
        index += 1
        code(until: UInt8(ascii: ")"))
        index += 1
      } else if starts("\\" + marks) {
        blank(pounds + 2)
      } else {
        blank(1)
      }
    }
  }
}
