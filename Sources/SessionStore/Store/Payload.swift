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

  mutating func bind(_ index: Int32, _ value: Payload) {
    bind(index, text: value.text.bytes.span)
  }

  /// Binds digits that the store itself has made.
  mutating func bind(_ index: Int32, digits: [UInt8]) { bind(index, text: digits.span) }

  mutating func bind(_ index: Int32, _ value: Payload?) {
    if let value { bind(index, value) }
  }
}
