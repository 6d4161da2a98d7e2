package import Postgres
package import SQLite

/// One use of a prepared statement: bind, step, read columns. It ends when it goes out of scope.
///
/// Parameters count from 1 (`$1`), columns from 0. Text is bound and read by length, never by a terminating NUL. What
/// is here is inlined into whoever uses it, for to a file most of what a store does is statements.
package enum Statement: ~Copyable {
  case file(SQLite.Statement)
  case server(PostgresStatement)

  // MARK: - Parameters

  @inlinable
  package mutating func bind(_ index: Int32, _ value: Int64) { put(index, value) }

  // Whoever changes a statement has it alone, but none of it is replaced: a switch over what may be changed would want
  // it back.
  @inlinable
  func put(_ index: Int32, _ value: Int64) {
    switch self {
    case .file(let file): file.bind(index, value)
    case .server(let server): server.bind(index, value)
    }
  }

  @inlinable
  package mutating func bind(_ index: Int32, _ value: Int64?) {
    // A parameter that is not bound is NULL.
    if let value { bind(index, value) }
  }

  @inlinable
  package mutating func bind(_ index: Int32, _ value: Bool) { bind(index, value ? 1 : 0 as Int64) }

  @inlinable
  package mutating func bind(_ index: Int32, _ value: String) { bind(index, text: value.utf8.span) }

  @inlinable
  package mutating func bind(_ index: Int32, _ value: String?) {
    if let value { bind(index, value) }
  }

  /// Binds UTF-8 bytes as TEXT.
  @inlinable
  package mutating func bind(_ index: Int32, text: Span<UInt8>) { put(index, text) }

  @inlinable
  func put(_ index: Int32, _ text: Span<UInt8>) {
    switch self {
    case .file(let file): file.bind(index, text: text)
    case .server(let server): server.bind(index, text: text)
    }
  }

  /// Binds texts for `= ANY ($n)`, on a server alone.
  package mutating func bind(_ index: Int32, texts: [String]) { put(index, texts) }

  private func put(_ index: Int32, _ texts: [String]) {
    switch self {
    case .file: break
    case .server(let server): server.bind(index, texts: texts)
    }
  }

  // MARK: - Running

  /// On a server: sends the statement, whose rows come with the next trip, so that several share one.
  package mutating func send() throws(DatabaseError) { try sent() }

  private func sent() throws(DatabaseError) {
    switch self {
    case .file: break
    case .server(let server): do throws(PostgresError) { try server.send() } catch { throw DatabaseError(error) }
    }
  }

  /// Goes to the next row; false when there is none.
  @inlinable
  package mutating func step() throws(DatabaseError) -> Bool { try next() }

  @inlinable
  func next() throws(DatabaseError) -> Bool {
    switch self {
    case .file(let file):
      do throws(SQLiteError) { return try file.step() } catch { throw DatabaseError(error) }
    case .server(let server):
      do throws(PostgresError) { return try server.step() } catch { throw DatabaseError(error) }
    }
  }

  /// Runs a statement whose rows do not matter to its end.
  @inlinable
  package mutating func run() throws(DatabaseError) {
    while try step() {}
  }

  /// Runs the statement to its end with one more parameter, whose bytes a file's statement reads where they are: for a
  /// payload, which would be most of what is copied. The statement is used up, for it must not be run with them again.
  @inlinable
  package consuming func run(binding index: Int32, text: Span<UInt8>) throws(DatabaseError) {
    switch consume self {
    case .file(let file):
      do throws(SQLiteError) { try file.run(binding: index, text: text) } catch { throw DatabaseError(error) }
    case .server(let server):
      do throws(PostgresError) { try server.run(binding: index, text: text) } catch { throw DatabaseError(error) }
    }
  }

  /// Makes the statement ready for other parameters.
  package mutating func reset() { again() }

  private func again() {
    switch self {
    case .file(let file): file.reset()
    case .server(let server): server.reset()
    }
  }

  // MARK: - Columns of the row

  @inlinable
  package func isNull(_ column: Int32) -> Bool {
    switch self {
    case .file(let file): file.isNull(column)
    case .server(let server): server.isNull(column)
    }
  }

  @inlinable
  package func integer(_ column: Int32) -> Int64 {
    switch self {
    case .file(let file): file.integer(column)
    case .server(let server): server.integer(column)
    }
  }

  package func double(_ column: Int32) -> Double {
    switch self {
    case .file(let file): file.double(column)
    case .server(let server): server.double(column)
    }
  }

  @inlinable
  package func optionalInteger(_ column: Int32) -> Int64? { isNull(column) ? nil : integer(column) }

  @inlinable
  package func boolean(_ column: Int32) -> Bool { integer(column) != 0 }

  @inlinable
  package func string(_ column: Int32) -> String {
    switch self {
    case .file(let file): file.string(column)
    case .server(let server): server.string(column)
    }
  }

  @inlinable
  package func optionalString(_ column: Int32) -> String? { isNull(column) ? nil : string(column) }

  @inlinable
  package func bytes(_ column: Int32) -> [UInt8] {
    switch self {
    case .file(let file): file.bytes(column)
    case .server(let server): server.bytes(column)
    }
  }

  @inlinable
  package func optionalBytes(_ column: Int32) -> [UInt8]? { isNull(column) ? nil : bytes(column) }

  /// Appends the column's bytes to a buffer, without a stop in between.
  @inlinable
  package func append(_ column: Int32, to bytes: inout [UInt8]) {
    switch self {
    case .file(let file): file.append(column, to: &bytes)
    case .server(let server): server.append(column, to: &bytes)
    }
  }

  /// The column's bytes, valid inside `body` only; empty for NULL and for a text of length zero.
  @inlinable
  package func withText<Result>(_ column: Int32, _ body: (Span<UInt8>) throws -> Result) rethrows -> Result {
    switch self {
    case .file(let file): try file.withText(column, body)
    case .server(let server): try server.withText(column, body)
    }
  }
}
