/// Finds markup that runs, as browsers read it: elements that carry code, handlers, addresses whose scheme is code.
/// Words that only look like it ("function", "only = 3", "JavaScript: a history", "data: 5") are let through.
///
/// The rules for tags, attributes and character references are those of the HTML standard (13.2.5, tokenization) and of
/// the URL standard (4.4, white space in an address), as far as they decide what runs.
enum ScriptScreen {
  static func finds(_ text: ScreenedText) -> Bool {
    var index = 0
    while index < text.count {
      switch text[index] {
      case UInt8(ascii: "<"):
        let name = text[index + 1] == UInt8(ascii: "/") ? index + 2 : index + 1
        guard text.isLetter(name) else { break }
        let tag = Tag(text, at: index + 1)
        if tag.runs { return true }
        // What stands in the tag's quotes is looked at as text too, for a quote may be prose; each byte once more.
        if findsAddress(text, index + 1..<tag.end) { return true }
        index = max(index, tag.end - 1)
      case UInt8(ascii: ":"), UInt8(ascii: "&"):
        if Address.endsScheme(text, at: index) { return true }
      default: break
      }
      index += 1
    }
    return false
  }

  private static func findsAddress(_ text: ScreenedText, _ range: Range<Int>) -> Bool {
    range.contains { [UInt8(ascii: ":"), UInt8(ascii: "&")].contains(text[$0]) && Address.endsScheme(text, at: $0) }
  }
}

/// A start tag or an end tag, read attribute by attribute; `>` within quotes does not end it.
private struct Tag {
  /// behind the tag, or where the text ends, or where another tag begins
  private(set) var end: Int
  private(set) var runs = false

  /// Elements that run code or hold what does.
  private static let carriers: [StaticString] = ["script", "svg", "math"]
  /// Elements that load code, or turn every address of the page elsewhere, once they say from where; alone they are
  /// words that stand in angle brackets in many a text (`List<Object>`).
  private static let loaders: [StaticString] = ["object", "embed", "applet", "base"]

  init(_ text: ScreenedText, at start: Int) {
    let isClosing = text[start] == UInt8(ascii: "/")
    let name = isClosing ? start + 1 : start
    var index = name
    while index < text.count, !Self.endsName(text, index) { index += 1 }
    end = index
    let element = name..<index
    runs = Self.isOne(of: isClosing ? ["script"] : Self.carriers, text, element)
    if runs { return }
    let loads = Self.isOne(of: Self.loaders, text, element)
    var refreshes = false
    while index < text.count {
      while text.isSpace(index) || text[index] == UInt8(ascii: "/") { index += 1 }
      if index >= text.count { break }
      if text[index] == UInt8(ascii: ">") {
        index += 1
        break
      }
      if text[index] == UInt8(ascii: "<"), text.isLetter(index + 1) { break }
      let attribute = index
      index += 1
      while index < text.count, !Self.endsName(text, index), text[index] != UInt8(ascii: "=") { index += 1 }
      let attributeName = attribute..<index
      let equals = text.skippingSpace(index)
      guard text[equals] == UInt8(ascii: "=") else { continue }
      let value = Self.value(text, behind: equals, end: &index)
      if loads || Self.isHandler(text, attributeName) || Self.isName("srcdoc", text, attributeName) { runs = true }
      // An animation may set a handler.
      if Self.isName("attributename", text, attributeName), Address.holds("on", text, value) { runs = true }
      if Self.isName("http-equiv", text, attributeName), Address.holds("refresh", text, value) { refreshes = true }
      if Address.runs(text, value) { runs = true }
      if runs { break }
    }
    if refreshes, Self.isName("meta", text, element) { runs = true }
    end = index
  }

  private static func value(_ text: ScreenedText, behind equals: Int, end: inout Int) -> Range<Int> {
    let start = text.skippingSpace(equals + 1)
    let quote = text[start]
    if quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") {
      var index = start + 1
      while index < text.count, text[index] != quote { index += 1 }
      end = min(index + 1, text.count)
      return start + 1..<index
    }
    var index = start
    while index < text.count, !text.isSpace(index), text[index] != UInt8(ascii: ">") { index += 1 }
    end = index
    return start..<index
  }

  private static func endsName(_ text: ScreenedText, _ index: Int) -> Bool {
    text.isSpace(index) || text[index] == UInt8(ascii: "/") || text[index] == UInt8(ascii: ">")
  }

  private static func isOne(of names: [StaticString], _ text: ScreenedText, _ range: Range<Int>) -> Bool {
    names.contains { isName($0, text, range) }
  }

  private static func isName(_ name: StaticString, _ text: ScreenedText, _ range: Range<Int>) -> Bool {
    range.count == name.utf8CodeUnitCount && text.holds(name, at: range.lowerBound)
  }

  /// `on` and letters: of a quote or another mark before it browsers make a part of the name, and of a value before it
  /// its end
  private static func isHandler(_ text: ScreenedText, _ name: Range<Int>) -> Bool {
    var start = name.lowerBound
    while start < name.upperBound, !text.isLetter(start) { start += 1 }
    return text.holds("on", at: start) && name.upperBound > start + 2
      && (start + 2..<name.upperBound).allSatisfy { text.isLetter($0) }
  }
}

/// What stands where an address may stand, with its character references read.
private enum Address {
  private static let schemes: [StaticString] = ["javascript", "vbscript"]
  private static let types: [StaticString] = [
    "text/html", "image/svg+xml", "application/xhtml+xml", "text/javascript", "application/javascript", "text/xml",
    "application/xml",
  ]
  /// bytes of an address in which a scheme and a type can stand, each letter spelled as a reference
  private static let beginning = 256
  /// bytes that a scheme and a type have
  private static let longest = 40

  /// Whether the value of an attribute is an address that is code, wherever in it: several attributes hold lists.
  static func runs(_ text: ScreenedText, _ value: Range<Int>) -> Bool {
    var index = value.lowerBound
    var piece = true
    while index < value.upperBound {
      if piece, begins(text, index..<value.upperBound) { return true }
      // In styles and lists an address stands behind one of these.
      piece = text.isSpace(index) || [UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "("), UInt8(ascii: "="),
        UInt8(ascii: "'"), UInt8(ascii: "\"")].contains(text[index])
      index += 1
    }
    return false
  }

  private static func begins(_ text: ScreenedText, _ range: Range<Int>) -> Bool {
    guard [UInt8(ascii: "j"), UInt8(ascii: "v"), UInt8(ascii: "d"), UInt8(ascii: "&")]
      .contains(text[range.lowerBound])
    else { return false }
    let read = decoded(text, range.lowerBound..<min(range.upperBound, range.lowerBound + beginning))
    if schemes.contains(where: { starts(read, $0) && read[$0.utf8CodeUnitCount] == UInt8(ascii: ":") }) { return true }
    guard starts(read, "data"), read[4] == UInt8(ascii: ":") else { return false }
    return types.contains { read.holds($0, at: 5) }
  }

  private static func starts(_ text: ScreenedText, _ word: StaticString) -> Bool { text.holds(word, at: 0) }

  static func holds(_ word: StaticString, _ text: ScreenedText, _ range: Range<Int>) -> Bool {
    starts(decoded(text, range.lowerBound..<min(range.upperBound, range.lowerBound + beginning)), word)
  }

  /// Outside of a tag: whether the scheme of an address that is code ends with this colon (or with the reference that
  /// begins here), with something right behind it; in a link of Markdown or a `url(…)` white space may come between.
  static func endsScheme(_ text: ScreenedText, at colon: Int) -> Bool {
    guard let length = Reference.colon(text, at: colon) else { return false }
    let behind = colon + length
    guard behind < text.count else { return false }
    var (index, letters) = (colon, [UInt8]())
    // Backwards over letters, white space that browsers skip, and references, at most as far as the longest can be.
    while index > 0, letters.count < 11, colon - index < beginning {
      let before = index - 1
      if text[before] == 0x09 || text[before] == 0x0A || text[before] == 0x0D {
        index = before
      } else if text[before] == UInt8(ascii: ";"), let reference = Reference.ending(text, at: before) {
        index = reference.start
        if let byte = reference.byte { letters.append(byte) }
      } else if text.isLetter(before) {
        index = before
        letters.append(text[before])
      } else {
        break
      }
    }
    let scheme = ScreenedText(lowerCase: letters.reversed())
    let isWhole = index == 0 || !text.isLetter(index - 1)
    if schemes.contains(where: { isEnd($0, scheme, isWhole) }) {
      let opener = index > 0 ? text[index - 1] : 0
      return !text.isSpace(behind) || opener == UInt8(ascii: "(") || opener == UInt8(ascii: "'")
        || opener == UInt8(ascii: "\"")
    }
    return isEnd("data", scheme, isWhole) && types.contains { text.holds($0, at: behind) }
  }

  private static func isEnd(_ word: StaticString, _ scheme: ScreenedText, _ isWhole: Bool) -> Bool {
    scheme.count == word.utf8CodeUnitCount && isWhole && scheme.holds(word, at: 0)
  }

  /// References read, white space left out as browsers leave it out of addresses.
  private static func decoded(_ text: ScreenedText, _ range: Range<Int>) -> ScreenedText {
    var (bytes, index) = ([UInt8](), range.lowerBound)
    while index < range.upperBound, bytes.count < longest {
      if text[index] == UInt8(ascii: "&"), let reference = Reference.starting(text, at: index) {
        if let byte = reference.byte, byte > 0x20 { bytes.append(byte) }
        index = reference.end
      } else {
        if text[index] > 0x20 { bytes.append(text[index]) }
        index += 1
      }
    }
    return ScreenedText(lowerCase: bytes)
  }
}

/// A character reference of HTML, as far as it can spell a scheme.
private struct Reference {
  let start: Int
  let end: Int
  /// in lower case; nil for a character beyond ASCII
  let byte: UInt8?

  private static let names: [(StaticString, UInt8)] = [("colon;", 0x3A), ("tab;", 0x09), ("newline;", 0x0A)]
  /// digits may be led by any number of zeros; a scheme that is spelled with more than this is passed over
  private static let longest = 40

  static func starting(_ text: ScreenedText, at index: Int) -> Reference? {
    guard text[index] == UInt8(ascii: "&") else { return nil }
    for (name, byte) in names where text.holds(name, at: index + 1) {
      return Reference(start: index, end: index + 1 + name.utf8CodeUnitCount, byte: byte)
    }
    guard text[index + 1] == UInt8(ascii: "#") else { return nil }
    let isHex = text[index + 2] == UInt8(ascii: "x")
    let first = isHex ? index + 3 : index + 2
    var (end, value) = (first, 0)
    while end - first < longest, let digit = digit(text[end]), digit < (isHex ? 16 : 10) {
      value = min(value * (isHex ? 16 : 10) + digit, 0x110000)
      end += 1
    }
    if end == first { return nil }
    // The semicolon may be left out.
    if text[end] == UInt8(ascii: ";") { end += 1 }
    let byte = UInt8(exactly: value).flatMap { $0 < 0x80 ? $0 : nil }
    return Reference(start: index, end: end, byte: byte.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 })
  }

  /// The reference of which this semicolon is the end.
  static func ending(_ text: ScreenedText, at semicolon: Int) -> Reference? {
    var start = semicolon
    while start > 0, semicolon - start < longest {
      start -= 1
      if text[start] == UInt8(ascii: "&") {
        return starting(text, at: start).flatMap { $0.end == semicolon + 1 ? $0 : nil }
      }
    }
    return nil
  }

  /// how many bytes spell a colon here; nil when none does
  static func colon(_ text: ScreenedText, at index: Int) -> Int? {
    if text[index] == UInt8(ascii: ":") { return 1 }
    guard let reference = starting(text, at: index), reference.byte == UInt8(ascii: ":") else { return nil }
    return reference.end - index
  }

  private static func digit(_ byte: UInt8) -> Int? {
    switch byte {
    case 0x30...0x39: Int(byte - 0x30)
    case 0x61...0x66: Int(byte - 0x57)
    default: nil
    }
  }
}
