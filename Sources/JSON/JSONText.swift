/// One JSON value as the bytes in which it came, already validated, without white space around it.
///
/// It shares the storage of the text that it was cut from, so cutting one costs a reference count and no copy.
package struct JSONText: Equatable, Sendable {
  package enum Kind { case object, array, string, number, boolean, null }

  package let bytes: ArraySlice<UInt8>

  /// `bytes` must be one valid JSON value without white space around it; nothing checks it again.
  package init(validated bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
  }

  /// Validates `text`, for constants and tests.
  package init(_ text: String) throws(JSONError) {
    let bytes = Array(text.utf8)
    var scanner = JSONScanner()
    let range = try scanner.skipValue(bytes.span)
    try scanner.finish(bytes.span)
    self.bytes = bytes[range]
  }

  package static let null = JSONText(validated: [UInt8]("null".utf8)[...])
  package static let emptyObject = JSONText(validated: [UInt8]("{}".utf8)[...])

  package var kind: Kind {
    switch bytes.first {
    case UInt8(ascii: "{"): .object
    case UInt8(ascii: "["): .array
    case UInt8(ascii: "\""): .string
    case UInt8(ascii: "t"), UInt8(ascii: "f"): .boolean
    case UInt8(ascii: "n"): .null
    default: .number
    }
  }

  package var isNull: Bool { kind == .null }

  /// What a string says; nil for a lone surrogate, and for any other kind.
  package var decodedString: String? {
    guard kind == .string else { return nil }
    let bytes = bytes
    return JSONString.decode(bytes.span, 1..<bytes.count - 1)
  }

  /// A number that is written as an integer and fits 64 bits; nil for anything else.
  package var integer: Int64? {
    guard kind == .number else { return nil }
    let bytes = bytes
    return JSONInteger.decode(bytes.span, 0..<bytes.count)
  }

  package var string: String { String(decoding: bytes, as: UTF8.self) }

  /// The members of an object in their order: the decoded name (nil when it holds a lone surrogate) and the value.
  /// No other kind has any.
  package func members() -> [(name: String?, value: JSONText)] {
    var members: [(name: String?, value: JSONText)] = []
    eachMember { members.append(($0, $1)) }
    return members
  }

  /// The same one after the other, for whom all of them at once may be too many.
  package func eachMember(_ visit: (_ name: String?, _ value: JSONText) throws -> Void) rethrows {
    // The string "1,2]" looks like an array from its second byte on.
    guard kind == .object else { return }
    var scanner = JSONScanner()
    let bytes = bytes
    // The bytes were validated when this value was made, so the scanner cannot fail on them.
    try? scanner.enterObject(bytes.span)
    var isFirst = true
    while let name = try? scanner.nextMember(bytes.span, isFirst: isFirst),
      let value = try? scanner.skipValue(bytes.span)
    {
      isFirst = false
      try visit(JSONString.decode(bytes.span, name), cut(value))
    }
  }

  /// The elements of an array in their order, at most `limit` of them. No other kind has any.
  package func elements(limit: Int = .max) -> [JSONText] {
    guard kind == .array else { return [] }
    var scanner = JSONScanner()
    var elements: [Range<Int>] = []
    try? scanner.readElements(bytes.span, into: &elements, limit: limit)
    return elements.map(cut)
  }

  /// `range` counts from the start of this value.
  package func cut(_ range: Range<Int>) -> JSONText {
    JSONText(validated: bytes[bytes.startIndex + range.lowerBound..<bytes.startIndex + range.upperBound])
  }
}
