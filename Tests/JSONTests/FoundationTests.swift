import Foundation
import JSON
import JSONReference
import Testing

/// The room against Foundation's parser, which others wrote: the same texts are JSON and hold the same values.
///
/// Where the two differ, Foundation's ways are named here, so that none is a surprise. It is laxer: it takes a comma
/// before a closing bracket or brace, strips a byte order mark, and guesses UTF-16 and UTF-32 from NUL bytes. It is
/// stricter where it must make values: it refuses lone surrogates and numbers that no double can hold. Its depth limit
/// is 512. And it loses U+FEFF inside strings, so the trees hold none.
@Suite struct FoundationTests {
  private func parsed(_ bytes: [UInt8]) -> Any? {
    try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
  }

  @Test func theTablesMeanTheSame() {
    for text in Accepted.all where parsed(text.bytes) == nil { Issue.record("refused: \(text.name)") }
    for text in Rejected.all where parsed(text.bytes) != nil && !isLaxer(text.bytes, text.error) {
      Issue.record("accepted: \(text.name)")
    }
    for text in Either.all {
      if let error = text.error {
        // Its limit is deeper, and Latin-1 and its like it refuses too.
        if case .tooDeep = error.problem { continue }
        if parsed(text.bytes) != nil, !isLaxer(text.bytes, error) { Issue.record("accepted: \(text.name)") }
      } else if parsed(text.bytes) == nil, !isStricter(text.bytes) {
        Issue.record("refused: \(text.name)")
      }
    }
  }

  @Test func randomTreesHoldTheSameValues() throws {
    var random = Random(seed: 10)
    for _ in 0..<500 {
      let tree = Tree.random(&random, depth: 5)
      let bytes = tree.spelled(&random)
      let text = try JSONText(String(decoding: bytes, as: UTF8.self))
      let value = try #require(parsed(bytes), "\(shown(bytes))")
      guard text.isEqual(to: value), tree.isEqual(to: value) else {
        Issue.record("\(shown(bytes)) was read as \(value)")
        return
      }
    }
  }

  @Test func damagedTreesAreJudgedTheSame() {
    var random = Random(seed: 11)
    var accepted = 0
    for _ in 0..<1_500 {
      var bytes = Tree.random(&random, depth: 3).spelled(&random)
      for _ in 0...random.below(3) { bytes = damaged(bytes, &random) }
      let error = verdict(bytes)
      let value = parsed(bytes)
      if let error {
        guard value == nil || isLaxer(bytes, error) else {
          Issue.record("\(error), but Foundation accepts it: \(shown(bytes))")
          return
        }
      } else {
        accepted += 1
        guard value != nil || isStricter(bytes) else {
          Issue.record("Foundation refuses it: \(shown(bytes))")
          return
        }
      }
    }
    // Both verdicts were to be had.
    #expect((100..<1_400).contains(accepted), "\(accepted)")
  }

  /// Whether Foundation is known to accept what `error` refuses.
  private func isLaxer(_ bytes: [UInt8], _ error: JSONError) -> Bool {
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) || bytes.prefix(4).contains(where: { [0x00, 0xFE, 0xFF].contains($0) }) {
      return true
    }
    guard case .unexpectedByte(let byte, _) = error.problem, Array("]}".utf8).contains(byte) else { return false }
    return bytes[..<error.offset].last { ![0x20, 0x09, 0x0A, 0x0D].contains($0) } == UInt8(ascii: ",")
  }

  /// Whether Foundation is known to refuse something in the valid text `bytes`.
  private func isStricter(_ bytes: [UInt8]) -> Bool {
    guard let text = try? JSONText(String(decoding: bytes, as: UTF8.self)) else { return false }
    return hasNoValue(text)
  }

  private func hasNoValue(_ text: JSONText) -> Bool {
    switch text.kind {
    case .object: text.members.contains { $0.name == nil || hasNoValue($0.value) }
    case .array: text.elements.contains(where: hasNoValue)
    case .string: JSONString.decode(text.bytes.span, 1..<text.bytes.count - 1) == nil
    case .number: Double(text.string)?.isFinite != true
    case .boolean, .null: false
    }
  }
}

extension JSONText {
  /// Whether Foundation's `value` is this one, part by part.
  fileprivate func isEqual(to value: Any) -> Bool {
    switch kind {
    case .object:
      guard let object = value as? [String: Any] else { return false }
      let members = Array(members)
      return object.count == members.count
        && members.allSatisfy { member in
          guard let name = member.name, let value = object[name] else { return false }
          return member.value.isEqual(to: value)
        }
    case .array:
      guard let array = value as? [Any] else { return false }
      let elements = Array(elements)
      return array.count == elements.count && zip(elements, array).allSatisfy { $0.isEqual(to: $1) }
    case .string:
      guard let decoded = JSONString.decode(bytes.span, 1..<bytes.count - 1) else { return false }
      return Tree.string(decoded).isEqual(to: value)
    case .number:
      if let integer = JSONInteger.decode(bytes.span, 0..<bytes.count) {
        return Tree.integer(integer).isEqual(to: value)
      }
      return Tree.number(string).isEqual(to: value)
    case .boolean: return Tree.boolean(string == "true").isEqual(to: value)
    case .null: return Tree.null.isEqual(to: value)
    }
  }
}

extension Tree {
  /// Whether Foundation's `value` is this one, part by part.
  func isEqual(to value: Any) -> Bool {
    switch self {
    case .object(let members):
      guard let object = value as? [String: Any], object.count == members.count else { return false }
      return members.allSatisfy { member in object[member.name].map { member.value.isEqual(to: $0) } ?? false }
    case .array(let elements):
      guard let array = value as? [Any], array.count == elements.count else { return false }
      return zip(elements, array).allSatisfy { $0.isEqual(to: $1) }
    case .string(let string): return (value as? String)?.utf8.elementsEqual(string.utf8) ?? false
    case .integer(let integer): return (value as? NSNumber)?.int64Value == integer
    case .number(let number):
      guard let double = Double(number), let other = (value as? NSNumber)?.doubleValue else { return false }
      // Foundation rounds more than once on its way to a double.
      return abs(double - other) <= abs(double) * 1e-14
    case .boolean(let boolean): return value as? Bool == boolean
    case .null: return value is NSNull
    }
  }

  func write(to writer: inout JSONWriter) {
    switch self {
    case .object(let members):
      writer.beginObject()
      for member in members {
        writer.escapedName(member.name)
        member.value.write(to: &writer)
      }
      writer.endObject()
    case .array(let elements):
      writer.beginArray()
      for element in elements { element.write(to: &writer) }
      writer.endArray()
    case .string(let string): writer.string(string)
    case .integer(let integer): writer.integer(integer)
    case .number(let number): writer.validated(Array(number.utf8).span)
    case .boolean(let boolean): writer.boolean(boolean)
    case .null: writer.null()
    }
  }
}
