package import SQLite

/// One use of a prepared statement: bind, step, read columns. It ends when it goes out of scope.
///
/// Parameters count from 1 (`$1`), columns from 0. Text is bound and read by length, never by a terminating NUL. What
/// a statement costs is mostly here, so it is inlined into whoever uses it.
package struct Statement: ~Copyable {
  @usableFromInline let file: SQLite.Statement

  @inlinable
  init(_ file: consuming SQLite.Statement) {
    self.file = file
  }

  // MARK: - Parameters

  @inlinable
  package mutating func bind(_ index: Int32, _ value: Int64) { file.bind(index, value) }

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
  package mutating func bind(_ index: Int32, text: Span<UInt8>) { file.bind(index, text: text) }

  // MARK: - Running

  /// Goes to the next row; false when there is none.
  @inlinable
  package mutating func step() throws(DatabaseError) -> Bool {
    do throws(SQLiteError) { return try file.step() } catch { throw DatabaseError(error) }
  }

  /// Runs a statement whose rows do not matter to its end.
  @inlinable
  package mutating func run() throws(DatabaseError) {
    while try step() {}
  }

  /// Runs the statement to its end with one more parameter, whose bytes are read where they are: for a payload, which
  /// would be most of what is copied. The statement is used up, for it must not be run with them again.
  @inlinable
  package consuming func run(binding index: Int32, text: Span<UInt8>) throws(DatabaseError) {
    do throws(SQLiteError) { try file.run(binding: index, text: text) } catch { throw DatabaseError(error) }
  }

  /// Makes the statement ready for other parameters.
  @inlinable
  package mutating func reset() { file.reset() }

  // MARK: - Columns of the row

  @inlinable
  package func isNull(_ column: Int32) -> Bool { file.isNull(column) }

  @inlinable
  package func integer(_ column: Int32) -> Int64 { file.integer(column) }

  @inlinable
  package func double(_ column: Int32) -> Double { file.double(column) }

  @inlinable
  package func optionalInteger(_ column: Int32) -> Int64? { isNull(column) ? nil : integer(column) }

  @inlinable
  package func boolean(_ column: Int32) -> Bool { integer(column) != 0 }

  @inlinable
  package func string(_ column: Int32) -> String { file.string(column) }

  @inlinable
  package func optionalString(_ column: Int32) -> String? { isNull(column) ? nil : string(column) }

  @inlinable
  package func bytes(_ column: Int32) -> [UInt8] { file.bytes(column) }

  @inlinable
  package func optionalBytes(_ column: Int32) -> [UInt8]? { isNull(column) ? nil : bytes(column) }

  /// Appends the column's bytes to a buffer, without a stop in between.
  @inlinable
  package func append(_ column: Int32, to bytes: inout [UInt8]) { file.append(column, to: &bytes) }

  /// The column's bytes, valid inside `body` only; empty for NULL and for a text of length zero.
  @inlinable
  package func withText<Result>(_ column: Int32, _ body: (Span<UInt8>) throws -> Result) rethrows -> Result {
    try file.withText(column, body)
  }
}
