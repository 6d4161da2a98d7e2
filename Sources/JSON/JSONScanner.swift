/// Reads one JSON text from left to right and validates every byte that it passes (RFC 8259, strict).
///
/// It builds nothing: what a caller wants of the text, it takes as ranges. Inside strings it advances eight bytes at a
/// time, and everything is bounds-checked: measured, that costs no more than raw pointers with a byte at a time.
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

  package mutating func skipWhitespace(_ bytes: Span<UInt8>) {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x09, 0x0A, 0x0D: position += 1
      default: return
      }
    }
  }

  /// Passes white space and gives the byte after it without passing it.
  package mutating func peek(_ bytes: Span<UInt8>) throws(JSONError) -> UInt8 {
    skipWhitespace(bytes)
    guard position < bytes.count else { throw JSONError(.unexpectedEnd, at: position) }
    return bytes[position]
  }

  // MARK: - Values

  /// Passes one value, with the white space before it, and returns its range.
  @discardableResult
  package mutating func skipValue(_ bytes: Span<UInt8>) throws(JSONError) -> Range<Int> {
    _ = try peek(bytes)
    let start = position
    // One bit for each container around `position`, the innermost lowest: 1 is an object.
    var containers: UInt128 = 0
    let outside = depth

    value: while true {
      let byte = try peek(bytes)
      switch byte {
      case UInt8(ascii: "\""):
        try skipString(bytes)
      case UInt8(ascii: "{"):
        try enter(at: position)
        containers = containers << 1 | 1
        position += 1
        if try peek(bytes) != UInt8(ascii: "}") {
          try skipMemberName(bytes)
          continue value
        }
      case UInt8(ascii: "["):
        try enter(at: position)
        containers <<= 1
        position += 1
        if try peek(bytes) != UInt8(ascii: "]") { continue value }
      case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
        try skipNumber(bytes)
      case UInt8(ascii: "t"): try skipLiteral("true", bytes)
      case UInt8(ascii: "f"): try skipLiteral("false", bytes)
      case UInt8(ascii: "n"): try skipLiteral("null", bytes)
      default: throw JSONError(.unexpectedByte(byte, expected: "a value"), at: position)
      }

      while depth > outside {
        let isObject = containers & 1 == 1
        let next = try peek(bytes)
        if next == UInt8(ascii: ",") {
          position += 1
          if isObject { try skipMemberName(bytes) }
          continue value
        }
        guard next == (isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
          throw JSONError(.unexpectedByte(next, expected: isObject ? "',' or '}'" : "',' or ']'"), at: position)
        }
        position += 1
        containers >>= 1
        depth -= 1
      }
      return start..<position
    }
  }

  private mutating func enter(at offset: Int) throws(JSONError) {
    guard depth < Self.depthLimit else { throw JSONError(.tooDeep(limit: Self.depthLimit), at: offset) }
    depth += 1
  }

  /// Passes `"name" :` and returns the range between the quotes.
  @discardableResult
  private mutating func skipMemberName(_ bytes: Span<UInt8>) throws(JSONError) -> Range<Int> {
    let byte = try peek(bytes)
    guard byte == UInt8(ascii: "\"") else {
      throw JSONError(.unexpectedByte(byte, expected: "a member name"), at: position)
    }
    let start = position + 1
    try skipString(bytes)
    let end = position - 1
    let colon = try peek(bytes)
    guard colon == UInt8(ascii: ":") else {
      throw JSONError(.unexpectedByte(colon, expected: "':' after a member name"), at: position)
    }
    position += 1
    return start..<end
  }

  private mutating func skipLiteral(_ literal: String, _ bytes: Span<UInt8>) throws(JSONError) {
    for expected in literal.utf8 {
      guard position < bytes.count else { throw JSONError(.unexpectedEnd, at: position) }
      guard bytes[position] == expected else {
        throw JSONError(.unexpectedByte(bytes[position], expected: literal), at: position)
      }
      position += 1
    }
  }

  private mutating func skipNumber(_ bytes: Span<UInt8>) throws(JSONError) {
    let start = position
    if bytes[position] == UInt8(ascii: "-") { position += 1 }
    let integerStart = position
    try skipDigits(bytes, numberAt: start)
    if bytes[integerStart] == UInt8(ascii: "0"), position > integerStart + 1 {
      throw JSONError(.invalidNumber, at: start)
    }
    if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
      position += 1
      try skipDigits(bytes, numberAt: start)
    }
    if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
      position += 1
      if position < bytes.count, bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") {
        position += 1
      }
      try skipDigits(bytes, numberAt: start)
    }
  }

  private mutating func skipDigits(_ bytes: Span<UInt8>, numberAt start: Int) throws(JSONError) {
    let first = position
    while position < bytes.count, bytes[position] &- UInt8(ascii: "0") < 10 { position += 1 }
    guard position == first else { return }
    if position == bytes.count { throw JSONError(.unexpectedEnd, at: position) }
    throw JSONError(.invalidNumber, at: start)
  }

  // MARK: - Strings

  /// Passes a string; `position` is on its opening quote.
  private mutating func skipString(_ bytes: Span<UInt8>) throws(JSONError) {
    var at = position + 1
    let count = bytes.count
    while true {
      while let word = ByteWord.load(bytes, at) {
        let special = Self.special(word)
        if special != 0 {
          at &+= special.trailingZeroBitCount >> 3
          break
        }
        at &+= 8
      }
      guard at < count else { throw JSONError(.unexpectedEnd, at: count) }
      let byte = bytes[at]
      switch byte {
      case UInt8(ascii: "\""):
        position = at + 1
        return
      case UInt8(ascii: "\\"):
        at = try Self.skipEscape(bytes, at)
      case 0..<0x20:
        throw JSONError(.controlCharacter, at: at)
      case 0x80...:
        at = try Self.skipMultibyte(bytes, at)
      default:
        at += 1
      }
    }
  }

  /// The top bit of each byte that ends the fast path: a quote, a backslash, a control character, a byte over 0x7F.
  /// Exact for the lowest such byte, which is the only one that is looked at.
  @inline(__always)
  private static func special(_ word: UInt64) -> UInt64 {
    ByteWord.matches(word, UInt8(ascii: "\"")) | ByteWord.matches(word, UInt8(ascii: "\\"))
      | ByteWord.controls(word) | word & ByteWord.tops
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
    let next = try peek(bytes)
    if next == UInt8(ascii: "}") {
      position += 1
      depth -= 1
      return nil
    }
    if !isFirst {
      guard next == UInt8(ascii: ",") else {
        throw JSONError(.unexpectedByte(next, expected: "',' or '}'"), at: position)
      }
      position += 1
    }
    let name = try skipMemberName(bytes)
    _ = try peek(bytes)
    return name
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
    try enter(at: position)
    position += 1
    if try peek(bytes) == UInt8(ascii: "]") {
      position += 1
      depth -= 1
      return
    }
    while true {
      let element = try skipValue(bytes)
      if elements.count < limit { elements.append(element) }
      let next = try peek(bytes)
      position += 1
      if next == UInt8(ascii: ",") { continue }
      guard next == UInt8(ascii: "]") else {
        throw JSONError(.unexpectedByte(next, expected: "',' or ']'"), at: position - 1)
      }
      depth -= 1
      return
    }
  }
}
