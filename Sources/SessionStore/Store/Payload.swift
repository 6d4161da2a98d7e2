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

/// Payloads that share a row, a line for each, which works because what came on a line has no newline in it; a payload
/// that has one stands alone.
struct PayloadLines {
  /// Bytes of a row of several. With four times as many a page of ten events takes twice as long, and writing gains
  /// nothing.
  static let maxBytes = 16_384
  static let maxCount = 1_024

  fileprivate var bytes: [UInt8] = []
  private(set) var count = 0

  var byteCount: Int { bytes.count }
  var capacity: Int { bytes.capacity }

  mutating func append(_ payload: Payload) {
    if count > 0 { bytes.append(UInt8(ascii: "\n")) }
    bytes.append(contentsOf: payload.text.bytes)
    count += 1
  }

  mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    count = 0
  }

  /// Whether one more can share their row.
  func takes(_ payload: Payload) -> Bool {
    bytes.count + payload.text.bytes.count < Self.maxBytes && count < Self.maxCount
      && !Self.hasNewline(payload.text.bytes.span) && (count > 1 || !Self.hasNewline(bytes.span))
  }

  private static func hasNewline(_ bytes: Span<UInt8>) -> Bool {
    ByteWord.firstIndex(of: UInt8(ascii: "\n"), in: bytes) != nil
  }
}

/// Where a reader is in a row of one payload or several.
struct StoredLines {
  /// the number of the payload that is being read
  private(set) var number: Int64 = 0
  /// the number of the row's last payload
  private(set) var last: Int64 = 0
  private(set) var isLone = true
  /// of several
  private var bytes: [UInt8] = []
  private var line = 0..<0

  /// Begins the row that was stepped to.
  /// - Parameters:
  ///   - first: the number of the first of several; nil: there is one
  ///   - payload: the column that has them
  mutating func begin(_ row: borrowing Statement, first: Int64?, last: Int64, payload: Int32) throws(DatabaseError) {
    self.last = last
    isLone = first == nil
    number = first ?? last
    if isLone { return }
    bytes.removeAll(keepingCapacity: true)
    row.append(payload, to: &bytes)
    try beginLine(0)
  }

  /// Goes to the next payload of the row.
  /// - Returns: false when there is none
  mutating func next() throws(DatabaseError) -> Bool {
    if number >= last { return false }
    number += 1
    try beginLine(line.upperBound + 1)
    return true
  }

  private mutating func beginLine(_ start: Int) throws(DatabaseError) {
    // A damaged file must not end the process.
    if start >= bytes.count || number > last {
      throw DatabaseError.corrupt("a row has fewer lines than it should")
    }
    line = start..<(ByteWord.firstIndex(of: UInt8(ascii: "\n"), in: bytes.span, from: start) ?? bytes.count)
  }

  /// The payload, of a row of several.
  func withLine<Result>(_ body: (Span<UInt8>) throws -> Result) rethrows -> Result {
    try body(bytes.span.extracting(line))
  }

  func append(to other: inout [UInt8]) { other.append(contentsOf: bytes[line]) }

  var text: String { String(decoding: bytes[line], as: UTF8.self) }
}

/// A row that may hold several records, and which of them is being read.
protocol RowOfSeveral: ~Copyable {
  /// after the row's key, the columns that it needs
  static var columns: String { get }
  /// the column in front of ``columns``
  var session: Int64 { get }
  /// which of the session's
  var number: Int64 { get }
  /// the payload
  var text: String { get }

  init(_ row: consuming Statement, from column: Int32, after: Int64)
  mutating func step() throws -> Bool
  /// A column that stands behind the others.
  func optionalString(behind index: Int32) -> String?
  func writeRecord(to writer: inout JSONWriter)
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
