/// Reads one JSON text from left to right and validates every byte that it passes (RFC 8259, strict).
///
/// It builds nothing: what a caller wants of the text, it takes as ranges. Inside strings it advances eight bytes at a
/// time, in long ones 32, and everything is bounds-checked: measured, that costs no more than raw pointers with a byte
/// at a time. Within a value the place that is read next is handed on instead of kept in memory.
///
/// A lone surrogate escape (`\ud800`, as JavaScript writes it) is accepted here, because opaque payloads pass as they
/// came; ``JSONString`` refuses it where a name is read.
package struct JSONScanner {
  /// the deepest nesting of arrays and objects that a text may have; one bit of `containers` for each
  package static let depthLimit = 128

  /// the next byte to read
  package var position: Int

  /// arrays and objects around `position`
  package var depth: Int

  package init(position: Int = 0, depth: Int = 0) {
    self.position = position
    self.depth = depth
  }

  /// Throws unless `bytes` is exactly one JSON value, with optional white space around it.
  package static func validate(_ bytes: Span<UInt8>) throws(JSONError) {
    var scanner = JSONScanner()
    try scanner.skipValue(bytes)
    try scanner.finish(bytes)
  }

  /// Throws unless only white space is left.
  package mutating func finish(_ bytes: Span<UInt8>) throws(JSONError) {
    skipWhitespace(bytes)
    if position != bytes.count { throw JSONError(.trailingBytes, at: position) }
  }

  package mutating func skipWhitespace(_ bytes: Span<UInt8>) { position = Self.skipWhitespace(bytes, position) }

  @inline(__always)
  private static func skipWhitespace(_ bytes: Span<UInt8>, _ start: Int) -> Int {
    var at = start
    while at < bytes.count {
      let byte = bytes[at]
      if byte > 0x20 { return at }
      guard byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D else { return at }
      at &+= 1
    }
    return at
  }

  /// Passes white space and gives the byte after it without passing it.
  package mutating func peek(_ bytes: Span<UInt8>) throws(JSONError) -> UInt8 { try Self.peek(bytes, &position) }

  @inline(__always)
  private static func peek(_ bytes: Span<UInt8>, _ at: inout Int) throws(JSONError) -> UInt8 {
    at = skipWhitespace(bytes, at)
    guard at < bytes.count else { throw JSONError(.unexpectedEnd, at: at) }
    return bytes[at]
  }

  // MARK: - Values

  /// Passes one value, with the white space before it, and returns its range.
  @discardableResult
  package mutating func skipValue(_ bytes: Span<UInt8>) throws(JSONError) -> Range<Int> {
    var at = position
    _ = try Self.peek(bytes, &at)
    let start = at
    // One bit for each container around `at`, the innermost lowest: 1 is an object.
    var containers: UInt128 = 0
    var inside = 0

    value: while true {
      let byte = try Self.peek(bytes, &at)
      switch byte {
      case UInt8(ascii: "\""):
        at = try Self.skipString(bytes, at)
      case UInt8(ascii: "{"):
        try Self.checkDepth(depth &+ inside, at: at)
        inside &+= 1
        containers = containers << 1 | 1
        at &+= 1
        if try Self.peek(bytes, &at) != UInt8(ascii: "}") {
          _ = try Self.skipMemberName(bytes, &at)
          continue value
        }
      case UInt8(ascii: "["):
        try Self.checkDepth(depth &+ inside, at: at)
        inside &+= 1
        containers <<= 1
        at &+= 1
        if try Self.peek(bytes, &at) != UInt8(ascii: "]") { continue value }
      case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
        at = try Self.skipNumber(bytes, at)
      case UInt8(ascii: "t"): at = try Self.skipLiteral("true", bytes, at)
      case UInt8(ascii: "f"): at = try Self.skipLiteral("false", bytes, at)
      case UInt8(ascii: "n"): at = try Self.skipLiteral("null", bytes, at)
      default: throw JSONError(.unexpectedByte(byte, expected: "a value"), at: at)
      }

      while inside > 0 {
        let isObject = containers & 1 == 1
        let next = try Self.peek(bytes, &at)
        if next == UInt8(ascii: ",") {
          at &+= 1
          if isObject { _ = try Self.skipMemberName(bytes, &at) }
          continue value
        }
        guard next == (isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
          throw JSONError(.unexpectedByte(next, expected: isObject ? "',' or '}'" : "',' or ']'"), at: at)
        }
        at &+= 1
        containers >>= 1
        inside &-= 1
      }
      position = at
      return start..<at
    }
  }

  private mutating func enter(at offset: Int) throws(JSONError) {
    try Self.checkDepth(depth, at: offset)
    depth += 1
  }

  @inline(__always)
  private static func checkDepth(_ depth: Int, at offset: Int) throws(JSONError) {
    guard depth < depthLimit else { throw JSONError(.tooDeep(limit: depthLimit), at: offset) }
  }

  /// Passes `"name" :` and returns the range between the quotes.
  @inline(__always)
  private static func skipMemberName(_ bytes: Span<UInt8>, _ at: inout Int) throws(JSONError) -> Range<Int> {
    let byte = try peek(bytes, &at)
    guard byte == UInt8(ascii: "\"") else {
      throw JSONError(.unexpectedByte(byte, expected: "a member name"), at: at)
    }
    let start = at &+ 1
    at = try skipString(bytes, at)
    let end = at &- 1
    let colon = try peek(bytes, &at)
    guard colon == UInt8(ascii: ":") else {
      throw JSONError(.unexpectedByte(colon, expected: "':' after a member name"), at: at)
    }
    at &+= 1
    return start..<end
  }

  private static func skipLiteral(_ literal: String, _ bytes: Span<UInt8>, _ start: Int) throws(JSONError) -> Int {
    var at = start
    for expected in literal.utf8 {
      guard at < bytes.count else { throw JSONError(.unexpectedEnd, at: at) }
      guard bytes[at] == expected else {
        throw JSONError(.unexpectedByte(bytes[at], expected: literal), at: at)
      }
      at &+= 1
    }
    return at
  }

  private static func skipNumber(_ bytes: Span<UInt8>, _ start: Int) throws(JSONError) -> Int {
    var at = start
    if bytes[at] == UInt8(ascii: "-") { at &+= 1 }
    let integerStart = at
    at = try skipDigits(bytes, at, numberAt: start)
    if bytes[integerStart] == UInt8(ascii: "0"), at > integerStart &+ 1 {
      throw JSONError(.invalidNumber, at: start)
    }
    if at < bytes.count, bytes[at] == UInt8(ascii: ".") {
      at = try skipDigits(bytes, at &+ 1, numberAt: start)
    }
    if at < bytes.count, bytes[at] | 0x20 == UInt8(ascii: "e") {
      at &+= 1
      if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") { at &+= 1 }
      at = try skipDigits(bytes, at, numberAt: start)
    }
    return at
  }

  @inline(__always)
  private static func skipDigits(
    _ bytes: Span<UInt8>, _ first: Int, numberAt start: Int
  ) throws(JSONError) -> Int {
    var at = first
    while at < bytes.count, bytes[at] &- UInt8(ascii: "0") < 10 { at &+= 1 }
    if at != first { return at }
    if at == bytes.count { throw JSONError(.unexpectedEnd, at: at) }
    throw JSONError(.invalidNumber, at: start)
  }

  // MARK: - Strings

  /// Passes a string; `start` is its opening quote.
  private static func skipString(_ bytes: Span<UInt8>, _ start: Int) throws(JSONError) -> Int {
    var at = start &+ 1
    while true {
      at = skipPlain(bytes, at)
      guard at < bytes.count else { throw JSONError(.unexpectedEnd, at: bytes.count) }
      switch bytes[at] {
      case UInt8(ascii: "\""): return at &+ 1
      case UInt8(ascii: "\\"): at = try skipEscape(bytes, at)
      case 0x80...: at = try skipMultibyte(bytes, at)
      default: throw JSONError(.controlCharacter, at: at)
      }
    }
  }

  /// words of a string that are looked at alone before it counts as a long one
  private static let shortWords = 4

  /// Passes what means nothing in a string: all but a quote, a backslash, a control character and bytes over 0x7F.
  @inline(__always)
  private static func skipPlain(_ bytes: Span<UInt8>, _ start: Int) -> Int {
    var at = start
    var left = shortWords
    while let word = ByteWord.load(bytes, at) {
      let special = ByteWord.specials(word)
      if special != 0 { return at &+ special.trailingZeroBitCount >> 3 }
      at &+= 8
      left &-= 1
      if left == 0 { at = ByteBlock.skipPlain(bytes, at) }
    }
    while at < bytes.count {
      let byte = bytes[at]
      if byte < 0x20 || byte > 0x7F || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return at }
      at &+= 1
    }
    return at
  }

  private static func skipEscape(_ bytes: Span<UInt8>, _ at: Int) throws(JSONError) -> Int {
    guard at + 1 < bytes.count else { throw JSONError(.unexpectedEnd, at: bytes.count) }
    switch bytes[at + 1] {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
      UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
      return at + 2
    case UInt8(ascii: "u"):
      var digit = at + 2
      while digit < at + 6 {
        guard digit < bytes.count else { throw JSONError(.unexpectedEnd, at: bytes.count) }
        guard hexValue(bytes[digit]) != nil else { throw JSONError(.invalidEscape, at: at) }
        digit += 1
      }
      return at + 6
    default:
      throw JSONError(.invalidEscape, at: at)
    }
  }

  static func hexValue(_ byte: UInt8) -> UInt32? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
  }

  /// Passes one character of two to four bytes (Unicode 16, table 3-7: no overlong forms, no surrogates, nothing over
  /// U+10FFFF).
  private static func skipMultibyte(_ bytes: Span<UInt8>, _ at: Int) throws(JSONError) -> Int {
    let second: ClosedRange<UInt8>
    let length: Int
    switch bytes[at] {
    case 0xC2...0xDF: (length, second) = (2, 0x80...0xBF)
    case 0xE0: (length, second) = (3, 0xA0...0xBF)
    case 0xE1...0xEC, 0xEE...0xEF: (length, second) = (3, 0x80...0xBF)
    case 0xED: (length, second) = (3, 0x80...0x9F)
    case 0xF0: (length, second) = (4, 0x90...0xBF)
    case 0xF1...0xF3: (length, second) = (4, 0x80...0xBF)
    case 0xF4: (length, second) = (4, 0x80...0x8F)
    default: throw JSONError(.invalidUTF8, at: at)
    }
    guard at + length <= bytes.count, second.contains(bytes[at + 1]) else { throw JSONError(.invalidUTF8, at: at) }
    var index = at + 2
    while index < at + length {
      guard bytes[index] & 0xC0 == 0x80 else { throw JSONError(.invalidUTF8, at: at) }
      index += 1
    }
    return at + length
  }
}

// MARK: - Members and elements

/// Where one member of an object stands in its text.
package struct JSONMember {
  /// between the quotes; escapes are still in it
  package let name: Range<Int>
  package let value: Range<Int>
}

extension JSONScanner {
  /// Enters the object at `position`. Follow it with ``nextMember(_:isFirst:)`` until that gives nil.
  package mutating func enterObject(_ bytes: Span<UInt8>) throws(JSONError) {
    try enter(at: position)
    position += 1
  }

  /// Passes the name of the next member, its colon and white space, and gives the name's range; `position` is then on
  /// the value, which the caller must pass. At the end of the object it leaves it and gives nil.
  package mutating func nextMember(_ bytes: Span<UInt8>, isFirst: Bool) throws(JSONError) -> Range<Int>? {
    var at = position
    let next = try Self.peek(bytes, &at)
    if next == UInt8(ascii: "}") {
      position = at &+ 1
      depth -= 1
      return nil
    }
    if !isFirst {
      guard next == UInt8(ascii: ",") else {
        throw JSONError(.unexpectedByte(next, expected: "',' or '}'"), at: at)
      }
      at &+= 1
    }
    let name = try Self.skipMemberName(bytes, &at)
    _ = try Self.peek(bytes, &at)
    position = at
    return name
  }

  /// Enters the array at `position`. Follow it with ``nextElement(_:isFirst:)`` until that gives nil.
  package mutating func enterArray(_ bytes: Span<UInt8>) throws(JSONError) {
    try enter(at: position)
    position += 1
  }

  /// Passes the next element and gives its range. At the end of the array it leaves it and gives nil.
  package mutating func nextElement(_ bytes: Span<UInt8>, isFirst: Bool) throws(JSONError) -> Range<Int>? {
    let next = try peek(bytes)
    if next == UInt8(ascii: "]") {
      position += 1
      depth -= 1
      return nil
    }
    if !isFirst {
      guard next == UInt8(ascii: ",") else {
        throw JSONError(.unexpectedByte(next, expected: "',' or ']'"), at: position)
      }
      position += 1
    }
    return try skipValue(bytes)
  }

  /// Passes the object at `position` and appends its members to `members`, all of it validated in the same pass.
  /// - Parameter limit: members that `members` may come to hold; those beyond are only validated
  package mutating func readMembers(
    _ bytes: Span<UInt8>, into members: inout [JSONMember], limit: Int = .max
  ) throws(JSONError) {
    try enterObject(bytes)
    var isFirst = true
    while let name = try nextMember(bytes, isFirst: isFirst) {
      isFirst = false
      let value = try skipValue(bytes)
      if members.count < limit { members.append(JSONMember(name: name, value: value)) }
    }
  }

  /// Passes the array at `position` and appends the ranges of its elements.
  /// - Parameter limit: ranges that `elements` may come to hold; elements beyond are only validated
  package mutating func readElements(
    _ bytes: Span<UInt8>, into elements: inout [Range<Int>], limit: Int = .max
  ) throws(JSONError) {
    try enterArray(bytes)
    var isFirst = true
    while let element = try nextElement(bytes, isFirst: isFirst) {
      isFirst = false
      if elements.count < limit { elements.append(element) }
    }
  }
}
