package import JSON

/// Reads all that can be read of `bytes` by every way that the room offers, and says in what the ways differ: from each
/// other, from the plain grammar, or from what an error promises. Nil when they agree.
package func disagreement(over bytes: [UInt8]) -> String? {
  let error = verdict(bytes)
  if Grammar.accepts(bytes) != (error == nil) {
    return "the grammar \(error == nil ? "rejects" : "accepts") what the scanner does not: \(shown(bytes))"
  }
  if byParts(bytes) != error { return "by parts it is \(String(describing: byParts(bytes))): \(shown(bytes))" }
  if let error {
    return complaint(about: error, in: bytes)
  }
  do throws(JSONError) {
    var scanner = JSONScanner()
    let range = try scanner.skipValue(bytes.span)
    return complaint(about: JSONText(validated: bytes[range]))
  } catch {
    return "accepted, then refused: \(shown(bytes))"
  }
}

/// The verdict of a reader who takes an object by its members and an array by its elements.
private func byParts(_ bytes: [UInt8]) -> JSONError? {
  let span = bytes.span
  var scanner = JSONScanner()
  do throws(JSONError) {
    switch try scanner.peek(span) {
    case UInt8(ascii: "{"):
      var members: [JSONMember] = []
      try scanner.readMembers(span, into: &members)
    case UInt8(ascii: "["):
      var elements: [Range<Int>] = []
      try scanner.readElements(span, into: &elements)
    default:
      try scanner.skipValue(span)
    }
    try scanner.finish(span)
    return scanner.depth == 0 ? nil : JSONError(.unexpectedEnd, at: -1)
  } catch {
    return error
  }
}

private func complaint(about error: JSONError, in bytes: [UInt8]) -> String? {
  let isTrue =
    switch error.problem {
    case .unexpectedEnd: error.offset == bytes.count
    case .unexpectedByte(let byte, _): bytes.indices.contains(error.offset) && bytes[error.offset] == byte
    case .controlCharacter: bytes.indices.contains(error.offset) && bytes[error.offset] < 0x20
    case .invalidEscape: bytes.indices.contains(error.offset) && bytes[error.offset] == UInt8(ascii: "\\")
    case .invalidUTF8: bytes.indices.contains(error.offset) && bytes[error.offset] >= 0x80
    case .invalidNumber: bytes.indices.contains(error.offset) && Array("-0123456789".utf8).contains(bytes[error.offset])
    case .tooDeep, .trailingBytes: bytes.indices.contains(error.offset)
    }
  return isTrue ? nil : "\(error), which is not so: \(shown(bytes))"
}

/// Takes a valid text apart to the last scalar.
private func complaint(about text: JSONText) -> String? {
  let content = 1..<max(1, text.bytes.count - 1)
  switch text.kind {
  case .object:
    for member in text.members {
      if let complaint = complaint(about: member.value) { return complaint }
    }
  case .array:
    for element in text.elements {
      if let complaint = complaint(about: element) { return complaint }
    }
  case .string:
    let decoded = JSONString.decode(text.bytes.span, content)
    if decoded == nil, !text.bytes.contains(UInt8(ascii: "\\")) { return "no escape, yet not decoded: \(text.string)" }
  case .number:
    if let integer = JSONInteger.decode(text.bytes.span, 0..<text.bytes.count), String(integer) != text.string {
      return text.string == "-0" ? nil : "\(text.string) was read as \(integer)"
    }
  case .boolean, .null:
    if !["true", "false", "null"].contains(text.string) { return "no literal: \(text.string)" }
  }
  return nil
}

/// What the scanner says of a text: nil when it is JSON.
package func verdict(_ bytes: [UInt8]) -> JSONError? {
  do throws(JSONError) {
    try JSONScanner.validate(bytes.span)
    return nil
  } catch {
    return error
  }
}

/// A text in a failure message, with every byte that is not plain ASCII as hexadecimal.
package func shown(_ bytes: some Sequence<UInt8>) -> String {
  bytes.map { byte in
    (0x20...0x7E).contains(byte) ? String(UnicodeScalar(byte)) : "<" + String(byte, radix: 16) + ">"
  }.joined()
}
