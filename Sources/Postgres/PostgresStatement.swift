/// One use of a statement: bind, step, read columns. What it returned is let go when it goes out of scope.
///
/// Parameters count from 1 (`$1`), columns from 0. A parameter that is not bound is NULL.
package final class PostgresStatement {
  private let connection: PostgresConnection
  private let use: StatementUse

  init(_ connection: PostgresConnection, _ query: Query, rowsAtOnce: Int32? = nil) {
    self.connection = connection
    use = query.idle.popLast() ?? StatementUse(query)
    use.rowsAtOnce = rowsAtOnce
  }

  deinit {
    // Its answer may still come.
    let isOver = !use.isSent || use.rows != nil || !use.query.returnsRows
    connection.close(use)
    if isOver {
      use.reset()
      use.query.idle.append(use)
    }
  }

  // MARK: - Parameters

  package func bind(_ index: Int32, _ value: Int64) { use.parameters.set(index, value) }

  package func bind(_ index: Int32, _ value: Int64?) {
    if let value { bind(index, value) }
  }

  package func bind(_ index: Int32, _ value: Bool) { bind(index, value ? 1 : 0 as Int64) }

  package func bind(_ index: Int32, _ value: String) { bind(index, text: value.utf8.span) }

  package func bind(_ index: Int32, _ value: String?) {
    if let value { bind(index, value) }
  }

  /// Binds UTF-8 bytes as TEXT.
  package func bind(_ index: Int32, text: Span<UInt8>) { use.parameters.set(index, text: text) }

  /// Binds bytes as BYTEA.
  package func bind(_ index: Int32, blob: [UInt8]) { use.parameters.set(index, blob: blob) }

  /// Binds an array of TEXT, for `= ANY ($n)`.
  package func bind(_ index: Int32, texts: [String]) { use.parameters.set(index, texts: texts) }

  /// Binds an array of BIGINT, for `= ANY ($n)`.
  package func bind(_ index: Int32, integers: [Int64]) { use.parameters.set(index, integers: integers) }

  // MARK: - Running

  /// Sends the statement; its rows come with the next trip, so that several can share one.
  package func send() throws(PostgresError) {
    if use.isSent { return }
    if use.query.returnsRows { return try connection.read(use) }
    use.isSent = true
    try connection.run(use)
  }

  /// Goes to the next row; false when there is none. A statement without rows is only sent: what becomes of it shows at
  /// the next trip.
  package func step() throws(PostgresError) -> Bool {
    try send()
    if !use.query.returnsRows { return false }
    if use.rows == nil {
      try connection.trip()
      connection.closeIfAtEnd(use)
    }
    guard let rows = use.rows else { return false }
    use.row += 1
    if use.row < rows.count { return true }
    return try connection.fetchMore(use)
  }

  /// Runs a statement whose rows do not matter to its end.
  package func run() throws(PostgresError) {
    while try step() {}
  }

  /// Runs the statement to its end with one more parameter.
  package func run(binding index: Int32, text: Span<UInt8>) throws(PostgresError) {
    bind(index, text: text)
    try run()
  }

  /// Makes the statement ready for other parameters.
  package func reset() {
    connection.close(use)
    use.reset()
  }

  // MARK: - Columns of the row

  private var row: RowReader? { use.rows.map { RowReader($0, use.row) } }

  package func isNull(_ column: Int32) -> Bool { use.rows?.isNull(use.row, column) ?? true }
  package func integer(_ column: Int32) -> Int64 { row?.integer(column) ?? 0 }
  package func double(_ column: Int32) -> Double { row?.double(column) ?? 0 }
  package func optionalInteger(_ column: Int32) -> Int64? { isNull(column) ? nil : integer(column) }
  package func boolean(_ column: Int32) -> Bool { integer(column) != 0 }
  package func string(_ column: Int32) -> String { row?.string(column) ?? "" }
  package func optionalString(_ column: Int32) -> String? { isNull(column) ? nil : string(column) }

  package func bytes(_ column: Int32) -> [UInt8] {
    var bytes: [UInt8] = []
    append(column, to: &bytes)
    return bytes
  }

  package func optionalBytes(_ column: Int32) -> [UInt8]? { isNull(column) ? nil : bytes(column) }

  /// Appends the column's bytes to a buffer, without a stop in between.
  package func append(_ column: Int32, to bytes: inout [UInt8]) {
    withText(column) { span in
      // The span is read while the buffer grows: they are not the same memory.
      unsafe span.withUnsafeBufferPointer { unsafe bytes.append(contentsOf: $0) }
    }
  }

  /// The column's bytes, valid inside `body` only; empty for NULL and for a text of length zero.
  package func withText<Result>(_ column: Int32, _ body: (Span<UInt8>) throws -> Result) rethrows -> Result {
    guard let row else { return try body([UInt8]().span) }
    return try row.withText(column, body)
  }
}

/// Reads the columns of one row, whatever their types are.
struct RowReader {
  private let rows: Rows
  private let row: Int32

  init(_ rows: Rows, _ row: Int32) {
    self.rows = rows
    self.row = row
  }

  /// https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat
  private enum TypeNumber {
    static let boolean: UInt32 = 16
    static let bytes: UInt32 = 17
    static let integers: ClosedRange<UInt32> = 20...23
    static let single: UInt32 = 700
    static let double: UInt32 = 701
    static let numeric: UInt32 = 1_700
  }

  func integer(_ column: Int32) -> Int64 {
    let type = rows.type(column)
    return rows.withBytes(row, column) { bytes in
      switch type {
      case TypeNumber.boolean, TypeNumber.integers: bytes.bigEndianInteger
      case TypeNumber.double, TypeNumber.single, TypeNumber.numeric:
        Int64(exactly: Self.double(bytes, type).rounded(.towardZero)) ?? 0
      default: Int64(Self.text(bytes)) ?? 0
      }
    }
  }

  func double(_ column: Int32) -> Double {
    let type = rows.type(column)
    return rows.withBytes(row, column) { bytes in
      switch type {
      case TypeNumber.double, TypeNumber.single, TypeNumber.numeric: Self.double(bytes, type)
      case TypeNumber.boolean, TypeNumber.integers: Double(bytes.bigEndianInteger)
      default: Double(Self.text(bytes)) ?? 0
      }
    }
  }

  func string(_ column: Int32) -> String { withText(column, Self.text) }

  /// The text of a column; numbers as they are written.
  func withText<Result>(_ column: Int32, _ body: (Span<UInt8>) throws -> Result) rethrows -> Result {
    switch rows.type(column) {
    case TypeNumber.bytes: return try rows.withBytes(row, column, body)
    case TypeNumber.boolean, TypeNumber.integers:
      if rows.isNull(row, column) { return try body([UInt8]().span) }
      return try body(Array(String(integer(column)).utf8).span)
    case TypeNumber.double, TypeNumber.single, TypeNumber.numeric:
      if rows.isNull(row, column) { return try body([UInt8]().span) }
      return try body(Array(String(double(column)).utf8).span)
    default:
      return try rows.withBytes(row, column) { code in
        guard let text = ZeroEscape.decoded(code) else { return try body(code) }
        return try body(text.span)
      }
    }
  }

  private static func text(_ bytes: Span<UInt8>) -> String {
    guard let text = try? UTF8Span(validating: bytes) else { return "" }
    return String(copying: text)
  }

  private static func double(_ bytes: Span<UInt8>, _ type: UInt32) -> Double {
    let bits = UInt64(bitPattern: bytes.bigEndianInteger)
    switch type {
    case TypeNumber.double: return Double(bitPattern: bits)
    case TypeNumber.single: return Double(Float(bitPattern: UInt32(truncatingIfNeeded: bits)))
    default: return numeric(bytes)
    }
  }

  /// How many digits to the base of 10,000, the power of the first, the sign, digits that are shown; then the digits.
  private static func numeric(_ bytes: Span<UInt8>) -> Double {
    guard bytes.count >= 8 else { return 0 }
    func field(_ index: Int) -> Int64 { bytes.extracting(2 * index..<2 * index + 2).bigEndianInteger }
    let count = min(Int(field(0)), bytes.count / 2 - 4)
    var value = 0.0
    for index in 0..<max(0, count) { value = value * 10_000 + Double(field(4 + index)) }
    var power = Int(field(1)) - count + 1
    while power > 0 { (value, power) = (value * 10_000, power - 1) }
    while power < 0 { (value, power) = (value / 10_000, power + 1) }
    return UInt16(truncatingIfNeeded: field(2)) == 0x4000 ? -value : value
  }
}
