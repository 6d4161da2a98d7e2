internal import CSQLite

/// A compiled statement, owned by the connection that keeps it for reuse.
@safe
final class PreparedStatement {
  let handle: OpaquePointer
  var isInUse = false
  /// the first binding that failed, reported by the next step
  var bindingFailure: Int32 = SQLITE_OK

  init(_ handle: OpaquePointer) {
    unsafe self.handle = unsafe handle
  }

  deinit {
    unsafe sqlite3_finalize(handle)
  }
}

/// One use of a prepared statement: bind, step, read columns. When it goes out of scope the statement is reset and its
/// bindings are freed, so no read cursor outlives the code that opened it and nothing pins the write-ahead log.
///
/// Parameters count from 1 (`$1`), columns from 0. Text is bound and read by length, never by a terminating NUL.
@safe
package struct Statement: ~Copyable {
  private let prepared: PreparedStatement
  private let connection: OpaquePointer

  init(_ prepared: PreparedStatement, connection: OpaquePointer) {
    self.prepared = prepared
    unsafe self.connection = unsafe connection
    prepared.isInUse = true
  }

  deinit {
    unsafe sqlite3_reset(prepared.handle)
    unsafe sqlite3_clear_bindings(prepared.handle)
    prepared.bindingFailure = SQLITE_OK
    prepared.isInUse = false
  }

  // MARK: - Parameters

  package func bind(_ index: Int32, _ value: Int64) {
    note(unsafe sqlite3_bind_int64(prepared.handle, index, value))
  }

  package func bind(_ index: Int32, _ value: Int64?) {
    // A parameter that is not bound is NULL.
    if let value { bind(index, value) }
  }

  package func bind(_ index: Int32, _ value: Bool) {
    bind(index, value ? 1 : 0 as Int64)
  }

  package func bind(_ index: Int32, _ value: String) {
    bind(index, text: value.utf8.span)
  }

  package func bind(_ index: Int32, _ value: String?) {
    if let value { bind(index, value) }
  }

  /// Binds UTF-8 bytes as TEXT; SQLite makes its own copy.
  package func bind(_ index: Int32, text: Span<UInt8>) {
    let code = unsafe text.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else {
        // A nil pointer would bind NULL instead of the empty text.
        return unsafe csqlite_bind_text(prepared.handle, index, "", 0)
      }
      return unsafe base.withMemoryRebound(to: CChar.self, capacity: buffer.count) { characters in
        unsafe csqlite_bind_text(prepared.handle, index, characters, Int32(clamping: buffer.count))
      }
    }
    note(code)
  }

  private func note(_ code: Int32) {
    if prepared.bindingFailure == SQLITE_OK { prepared.bindingFailure = code }
  }

  private var failure: SQLiteError? {
    let code = prepared.bindingFailure
    return code == SQLITE_OK ? nil : unsafe SQLiteError(code: code, connection: connection)
  }

  // MARK: - Running

  /// Goes to the next row; false when there is none.
  package func step() throws(SQLiteError) -> Bool {
    if let failure { throw failure }
    switch unsafe sqlite3_step(prepared.handle) {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    case let code: throw unsafe SQLiteError(code: code, connection: connection)
    }
  }

  /// Runs a statement whose rows do not matter to its end.
  package func run() throws(SQLiteError) {
    while try step() {}
  }

  /// Runs the statement to its end with one more parameter, whose bytes SQLite reads where they are: for a payload,
  /// which would be most of what is copied. The statement is used up, for it must not be run with them again.
  package consuming func run(binding index: Int32, text: Span<UInt8>) throws(SQLiteError) {
    let failed = unsafe text.withUnsafeBufferPointer { buffer -> SQLiteError? in
      let code =
        if let base = buffer.baseAddress {
          unsafe base.withMemoryRebound(to: CChar.self, capacity: buffer.count) { characters in
            unsafe csqlite_bind_borrowed_text(prepared.handle, index, characters, Int32(clamping: buffer.count))
          }
        } else {
          unsafe csqlite_bind_text(prepared.handle, index, "", 0)
        }
      note(code)
      if let failure { return failure }
      var step = unsafe sqlite3_step(prepared.handle)
      while step == SQLITE_ROW { step = unsafe sqlite3_step(prepared.handle) }
      return step == SQLITE_DONE ? nil : unsafe SQLiteError(code: step, connection: connection)
    }
    if let failed { throw failed }
  }

  /// Makes the statement ready for other parameters.
  package func reset() {
    unsafe sqlite3_reset(prepared.handle)
    unsafe sqlite3_clear_bindings(prepared.handle)
    prepared.bindingFailure = SQLITE_OK
  }

  // MARK: - Columns of the row

  package func isNull(_ column: Int32) -> Bool {
    unsafe sqlite3_column_type(prepared.handle, column) == SQLITE_NULL
  }

  package func integer(_ column: Int32) -> Int64 {
    unsafe sqlite3_column_int64(prepared.handle, column)
  }

  package func double(_ column: Int32) -> Double {
    unsafe sqlite3_column_double(prepared.handle, column)
  }

  package func optionalInteger(_ column: Int32) -> Int64? {
    isNull(column) ? nil : integer(column)
  }

  package func boolean(_ column: Int32) -> Bool { integer(column) != 0 }

  package func string(_ column: Int32) -> String {
    withText(column) { span in
      // The column is TEXT that came from a validated string; a damaged file must not trap here.
      guard let text = try? UTF8Span(validating: span) else { return "" }
      return String(copying: text)
    }
  }

  package func optionalString(_ column: Int32) -> String? {
    isNull(column) ? nil : string(column)
  }

  package func bytes(_ column: Int32) -> [UInt8] {
    withText(column) { span in
      unsafe span.withUnsafeBufferPointer { unsafe Array($0) }
    }
  }

  package func optionalBytes(_ column: Int32) -> [UInt8]? {
    isNull(column) ? nil : bytes(column)
  }

  /// Appends the column's bytes to a buffer, without a stop in between.
  package func append(_ column: Int32, to bytes: inout [UInt8]) {
    withText(column) { span in
      unsafe span.withUnsafeBufferPointer { unsafe bytes.append(contentsOf: $0) }
    }
  }

  /// The column's bytes, valid inside `body` only; empty for NULL and for a text of length zero.
  package func withText<Result>(_ column: Int32, _ body: (Span<UInt8>) throws -> Result) rethrows -> Result {
    // The text is asked for before its length: https://www.sqlite.org/c3ref/column_blob.html
    let start = unsafe sqlite3_column_text(prepared.handle, column)
    let count = unsafe sqlite3_column_bytes(prepared.handle, column)
    let buffer = unsafe UnsafeBufferPointer(start: start, count: start == nil ? 0 : Int(count))
    return try unsafe body(buffer.span)
  }
}
