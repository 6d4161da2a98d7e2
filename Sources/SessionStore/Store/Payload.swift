import Database
package import JSON

/// JSON from outside that is to be stored as it is. There is no other way to bind one, and none to make one that is
/// over the limit: so no method can forget to look.
package struct Payload: Equatable, Sendable {
  package let text: JSONText

  /// - Parameters:
  ///   - what: names it in the error, with its article or its quotes
  /// - Throws: `payloadTooLarge`
  init(_ text: JSONText, what: String, _ limits: Limits) throws {
    if limits.maxPayloadBytes > 0, text.bytes.count > limits.maxPayloadBytes {
      throw StoreError.payloadTooLarge(what: what, limit: limits.maxPayloadBytes)
    }
    self.text = text
  }

  /// What the store itself says, or has put together of what was checked.
  init(own text: JSONText) {
    self.text = text
  }
}

/// Payloads, a line for each.
struct PayloadLines {
  fileprivate var bytes: [UInt8] = []

  var count: Int { bytes.count }
  var capacity: Int { bytes.capacity }

  mutating func append(_ payload: Payload) {
    if !bytes.isEmpty { bytes.append(UInt8(ascii: "\n")) }
    bytes.append(contentsOf: payload.text.bytes)
  }

  mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

  /// Whether there is a newline in what was appended.
  var areSeveral: Bool { ByteWord.firstIndex(of: UInt8(ascii: "\n"), in: bytes.span) != nil }

  /// Whether one payload would be several lines.
  static func areSeveral(_ payload: Payload) -> Bool {
    ByteWord.firstIndex(of: UInt8(ascii: "\n"), in: payload.text.bytes.span) != nil
  }
}

extension Store {
  /// Checks what is to be stored under a name of the contract.
  func payload(_ text: JSONText, _ name: StaticString) throws -> Payload {
    if limits.maxPayloadBytes == 0 || text.bytes.count <= limits.maxPayloadBytes { return Payload(own: text) }
    throw StoreError.payloadTooLarge(what: "'\(name)'", limit: limits.maxPayloadBytes)
  }
}

extension Statement {
  /// As the last step, with bytes that SQLite reads where they are.
  consuming func run(binding index: Int32, _ value: Payload) throws(DatabaseError) {
    try run(binding: index, text: value.text.bytes.span)
  }

  consuming func run(binding index: Int32, _ lines: PayloadLines) throws(DatabaseError) {
    try run(binding: index, text: lines.bytes.span)
  }

  mutating func bind(_ index: Int32, _ value: Payload) {
    bind(index, text: value.text.bytes.span)
  }

  /// Binds digits that the store itself has made.
  mutating func bind(_ index: Int32, digits: [UInt8]) { bind(index, text: digits.span) }

  mutating func bind(_ index: Int32, _ value: Payload?) {
    if let value { bind(index, value) }
  }
}
