/// Looks at text from outside for what has no business in it. It screens and does not sanitize: what passes must still
/// be escaped where it is shown.
package struct InputScreen {
  package enum Finding: String, CaseIterable, Sendable {
    case tooLarge = "too_large"
    case controlCharacter = "control_character"
    case script
  }

  /// the text in lower case, as far as ASCII goes
  private let text: [UInt8]

  private init(_ text: String) {
    self.text = text.utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
  }

  /// What is wrong with a text, or nil.
  /// - Parameter maxBytes: of UTF-8
  package static func check(_ text: String, maxBytes: Int) -> Finding? {
    if text.utf8.count > maxBytes { return .tooLarge }
    let screen = InputScreen(text)
    if screen.holdsControl { return .controlCharacter }
    return screen.holdsScript ? .script : nil
  }

  /// a control character other than tab, line feed and carriage return
  private var holdsControl: Bool {
    text.contains { $0 < 0x20 && $0 != 0x09 && $0 != 0x0A && $0 != 0x0D || $0 == 0x7F }
  }

  /// Markup that runs: a script element, an event handler in a tag, an address whose scheme is code. Words that only
  /// look like it ("function", "only = 3", "JavaScript: a history", "data: 5") are let through.
  private var holdsScript: Bool {
    var tagStart: Int?
    for (index, byte) in text.enumerated() {
      switch byte {
      case UInt8(ascii: "<"):
        if isTag("script", at: index + 1) || isTag("/script", at: index + 1) { return true }
        tagStart = index + 1 < text.count && isLetter(text[index + 1]) ? index : nil
      case UInt8(ascii: ">"): tagStart = nil
      case UInt8(ascii: "o") where tagStart != nil:
        if isHandler(at: index) { return true }
      case UInt8(ascii: ":"):
        if isCodeScheme(endingAt: index) { return true }
      default: break
      }
    }
    return false
  }

  private func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte) }
  private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

  private func holds(_ word: StaticString, at index: Int) -> Bool {
    text[min(index, text.count)...].starts(with: "\(word)".utf8)
  }

  /// whether an element's name stands here, and ends
  private func isTag(_ name: StaticString, at index: Int) -> Bool {
    guard holds(name, at: index) else { return false }
    let end = index + name.utf8CodeUnitCount
    return end == text.count || isSpace(text[end]) || text[end] == UInt8(ascii: ">") || text[end] == UInt8(ascii: "/")
  }

  /// `onload =` behind what ends an attribute, within a tag
  private func isHandler(at index: Int) -> Bool {
    let before = text[index - 1]
    guard isSpace(before) || [UInt8(ascii: "/"), UInt8(ascii: "\""), UInt8(ascii: "'")].contains(before),
      holds("on", at: index)
    else { return false }
    var end = index + 2
    while end < text.count, isLetter(text[end]) { end += 1 }
    if end == index + 2 { return false }
    while end < text.count, isSpace(text[end]) { end += 1 }
    return end < text.count && text[end] == UInt8(ascii: "=")
  }

  /// `javascript:` or `vbscript:` with something right behind it, or `data:` with a type that runs
  private func isCodeScheme(endingAt colon: Int) -> Bool {
    guard colon + 1 < text.count else { return false }
    if isScheme("javascript", endingAt: colon) || isScheme("vbscript", endingAt: colon) {
      return !isSpace(text[colon + 1])
    }
    return isScheme("data", endingAt: colon)
      && (holds("text/html", at: colon + 1) || holds("image/svg+xml", at: colon + 1)
        || holds("application/xhtml+xml", at: colon + 1) || holds("text/javascript", at: colon + 1))
  }

  /// whether a scheme stands before the colon, and begins there: browsers skip white space in it
  private func isScheme(_ name: StaticString, endingAt colon: Int) -> Bool {
    var letters = "\(name)".utf8.reversed()[...]
    var index = colon
    while let letter = letters.first, index > 0 {
      index -= 1
      if text[index] == 0x09 || text[index] == 0x0A || text[index] == 0x0D { continue }
      if text[index] != letter { return false }
      letters = letters.dropFirst()
    }
    return letters.isEmpty && (index == 0 || !isLetter(text[index - 1]))
  }
}
