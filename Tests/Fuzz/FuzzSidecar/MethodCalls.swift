import JSON

@testable import Sidecar

/// Calls that the method table makes of bytes: whatever these are, the parameters are of their types, so that what is
/// tried is behind the checks and not the checks. A new method is tried as soon as it is in the table.
struct MethodCalls {
  private var bytes: ArraySlice<UInt8>
  private var number = 0

  /// A copy of the database may go wherever its path says, and nothing is tried behind the end.
  private static let methods = MethodTable.all.methods.filter { !["backup", "shutdown"].contains($0.name) }
  private static let transactional = methods.filter(\.isTransactional)
  /// JSON strings: usual ones first, then what may be taken for something else
  private static let names = [
    "a", "b", "c", "ann", "bob", "\u{e9}", "e\u{301}", "\\u0000", "__proto__", "\\\"", "\\ud800", "\\ud83d\\ude00",
    "\u{2028}", String(repeating: "n", count: 1_024), "<script>", "javascript:",
  ]
  private static let payloads = [
    "null", "true", "0", "-0.0", "1e400", "123456789012345678901234567890", "\"\"", "\"\\ud800\"", "[]", "{}",
    "{\"a\":1,\"a\":2}", "[[[[[[[[1]]]]]]]]", "\"\(String(repeating: "\\r", count: 200))\"",
    "\"\(String(repeating: "p", count: 512))\"", " [ 1 , 2 ] ", "{\"message_id\":\"m\",\"kind\":\"checkpoint\"}",
  ]

  init(_ bytes: [UInt8]) {
    self.bytes = bytes[...]
  }

  /// The next call, a line; nil when the bytes are used up.
  /// - Parameter seen: the answer to the one before, whose ids, cursors and revisions may be sent back
  mutating func next(seen: [UInt8]) -> [UInt8]? {
    guard !bytes.isEmpty else { return nil }
    number += 1
    let method = Self.methods[index(of: Self.methods.count)]
    let parameters = self.parameters(of: method, Answer(seen))
    return Array(
      #"{"jsonrpc":"2.0","id":\#(number),"method":"\#(method.name)","params":\#(parameters)}"#.utf8)
      + [UInt8(ascii: "\n")]
  }

  private mutating func byte() -> Int { Int(bytes.popFirst() ?? 0) }

  /// A place in something with so many.
  private mutating func index(of count: Int) -> Int { byte() % count }

  private mutating func parameters(of method: Method, _ seen: Answer) -> String {
    if method.name == "transaction" {
      let calls = (0...index(of: 3)).map { _ in
        let inner = Self.transactional[index(of: Self.transactional.count)]
        let require = index(of: 4) == 3 ? #","require":true"# : ""
        return #"{"method":"\#(inner.name)","params":\#(parameters(of: inner, seen))\#(require)}"#
      }
      return #"{"calls":[\#(calls.joined(separator: ","))]}"#
    }
    return members(method.parameters, seen)
  }

  /// What must be given, and of the rest about a third.
  private mutating func members(_ parameters: [Parameter], _ seen: Answer) -> String {
    var members: [String] = []
    for parameter in parameters where parameter.isRequired || index(of: 3) == 2 {
      let isNull = parameter.isNullable && index(of: 4) == 3
      members.append("\"\(parameter.name.wire)\":\(isNull ? "null" : value(parameter, seen))")
    }
    return "{\(members.joined(separator: ","))}"
  }

  private mutating func value(_ parameter: Parameter, _ seen: Answer) -> String {
    if let known = seen.value(for: parameter), index(of: 3) > 0 { return known }
    return value(parameter.type, named: parameter.name, seen)
  }

  private mutating func value(_ type: ParameterType, named name: ParameterName, _ seen: Answer) -> String {
    switch type {
    case .identifier: return "\"\(name.wire.prefix(1))\(index(of: 4))\""
    case .name: return "\"\(Self.names[index(of: Self.names.count)])\""
    case .owner: return ["null", "\"ann\"", "\"bob\""][index(of: 3)]
    case .text(let limit), .words(let limit):
      let text = Self.names[index(of: Self.names.count)]
      return text.utf8.count <= limit ? "\"\(text)\"" : "\"\""
    case .integer(let range): return "\(integer(range))"
    case .boolean: return index(of: 2) == 0 ? "false" : "true"
    case .choice(let names): return "\"\(names[index(of: names.count)])\""
    case .anyCase(let names):
      let name = names[index(of: names.count)]
      return "\"\(index(of: 2) == 0 ? name : name.uppercased())\""
    case .json: return Self.payloads[index(of: Self.payloads.count)]
    case .object, .map: return "{\"\(Self.names[index(of: 8)])\":\(Self.payloads[index(of: Self.payloads.count)])}"
    case .record(let parameters): return members(parameters, seen)
    case .list(let element, let count):
      let elements = (0..<min(count.upperBound, count.lowerBound + index(of: 3))).map { _ in
        value(element, named: name, seen)
      }
      return "[\(elements.joined(separator: ","))]"
    }
  }

  private mutating func integer(_ range: ClosedRange<Int64>) -> Int64 {
    let now = Machine.now
    let values = [
      range.lowerBound, range.lowerBound + 1, range.upperBound, range.upperBound - 1, 1, 2, 3, 10, 1_000, now, now + 1,
      now - 1,
    ]
    return min(max(values[index(of: values.count)], range.lowerBound), range.upperBound)
  }
}

/// What an answer has that later calls may send back.
private struct Answer {
  private let text: [UInt8]

  init(_ text: [UInt8]) {
    self.text = text
  }

  func value(for parameter: Parameter) -> String? {
    switch parameter.name {
    case .cursor: member("next_cursor")
    case .ifRevision: member("revision")
    case .afterEventID, .beforeEventID: member("id")
    case .afterSeq: member("seq")
    case .sessionID, .taskID, .subscriptionID: member(parameter.name.wire)
    default: nil
    }
  }

  /// The last member of this name that is a string or a number: ids and cursors have nothing that is escaped.
  private func member(_ name: String) -> String? {
    let wanted = Array("\"\(name)\":".utf8)
    guard text.count > wanted.count else { return nil }
    var start = text.count - wanted.count
    while start > 0, !text[start..<start + wanted.count].elementsEqual(wanted) { start -= 1 }
    guard start > 0 else { return nil }
    let value = text[(start + wanted.count)...].prefix { $0 != UInt8(ascii: ",") && $0 != UInt8(ascii: "}") }
    guard let first = value.first, first == UInt8(ascii: "\"") || (0x30...0x39).contains(first) else { return nil }
    return String(decoding: value, as: UTF8.self)
  }
}
