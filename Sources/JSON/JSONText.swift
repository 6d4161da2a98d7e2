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

  /// The members of an object in their order. No other kind has any.
  package var members: Members { Members(self) }

  /// The first member of that name.
  package func member(_ name: String) -> JSONText? { members.first { $0.name?.isSame(as: name) == true }?.value }

  /// The elements of an array in their order. No other kind has any.
  package var elements: Elements { Elements(self) }

  /// `range` counts from the start of this value.
  package func cut(_ range: Range<Int>) -> JSONText {
    JSONText(validated: bytes[bytes.startIndex + range.lowerBound..<bytes.startIndex + range.upperBound])
  }
}

extension JSONText {
  /// Each member is read when it is asked for, as all of them at once may be more than is to be held.
  package struct Members: Sequence, IteratorProtocol {
    private let object: JSONText
    private var scanner = JSONScanner()
    private var isFirst = true

    fileprivate init(_ object: JSONText) { self.object = object }

    /// The decoded name, nil when it holds a lone surrogate, and the value.
    package mutating func next() -> (name: String?, value: JSONText)? {
      let bytes = object.bytes
      // The bytes were validated when the value was made, so the scanner cannot fail on them.
      if isFirst {
        // The string "1,2]" looks like an array from its second byte on.
        guard object.kind == .object else { return nil }
        try? scanner.enterObject(bytes.span)
      }
      guard let name = try? scanner.nextMember(bytes.span, isFirst: isFirst),
        let value = try? scanner.skipValue(bytes.span)
      else { return nil }
      isFirst = false
      return (JSONString.decode(bytes.span, name), object.cut(value))
    }
  }

  /// As ``Members``.
  package struct Elements: Sequence, IteratorProtocol {
    private let array: JSONText
    private var scanner = JSONScanner()
    private var isFirst = true

    fileprivate init(_ array: JSONText) { self.array = array }

    package mutating func next() -> JSONText? {
      let bytes = array.bytes
      if isFirst {
        guard array.kind == .array else { return nil }
        try? scanner.enterArray(bytes.span)
      }
      guard let element = try? scanner.nextElement(bytes.span, isFirst: isFirst) else { return nil }
      isFirst = false
      return array.cut(element)
    }
  }
}
