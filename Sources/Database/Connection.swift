package import SQLite

/// One connection to one database, used by one thread: to a file.
///
/// It keeps every statement that it compiled. Nothing in it knows a table.
package final class Connection {
  @usableFromInline let file: SQLite.Connection

  package init(_ file: SQLite.Connection) {
    self.file = file
  }

  package var dialect: Dialect { .file }

  // MARK: - Statements

  /// The statement for an SQL literal; compiled once for each place in the code.
  @inlinable
  package func statement(_ sql: StaticString) throws(DatabaseError) -> Statement {
    do throws(SQLiteError) { return Statement(try file.statement(sql)) } catch { throw DatabaseError(error) }
  }

  /// The statement for SQL that was put together from constant parts (filters of lists); compiled once for each text.
  @inlinable
  package func statement(composed sql: String) throws(DatabaseError) -> Statement {
    do throws(SQLiteError) { return Statement(try file.statement(composed: sql)) } catch { throw DatabaseError(error) }
  }

  /// rows that the last INSERT, UPDATE or DELETE changed
  @inlinable
  package var changes: Int64 { file.changes }

  // MARK: - Transactions

  /// What a transaction is for.
  package enum Purpose {
    /// to read at one moment
    case snapshot
    /// to write; whoever else writes the same waits
    case group
  }

  package func begin(_ purpose: Purpose) throws(DatabaseError) {
    do throws(SQLiteError) {
      switch purpose {
      case .snapshot: try file.begin()
      case .group: try file.beginImmediate()
      }
    } catch {
      throw DatabaseError(error)
    }
  }

  /// Lets a snapshot go; nothing was written.
  package func endSnapshot() {
    do throws(SQLiteError) { try file.commit() } catch { file.rollback() }
  }

  /// What became of a commit.
  package enum Outcome {
    case committed
    /// nothing of it is there
    case refused(DatabaseError)
    /// it may or may not be there
    case unknown(DatabaseError)
  }

  package func commit() -> Outcome {
    do throws(SQLiteError) {
      try file.commit()
      return .committed
    } catch {
      return switch error.class {
      case .full, .busy, .readOnly: .refused(DatabaseError(error))
      // The log may have been written and only the sync have failed; a restart would then find the commit.
      default: .unknown(DatabaseError(error))
      }
    }
  }

  /// Ends the transaction without its changes, whatever has become of it.
  package func rollback() { file.rollback() }

  /// False as well after an error that ended the transaction silently: ask after every failure.
  package var isInTransaction: Bool { file.isInTransaction }

  /// Begins a part of the transaction that can be taken back alone.
  package func savepoint() throws(DatabaseError) { try execute("SAVEPOINT request") }

  /// What was done since ``savepoint()`` stays with the rest.
  package func release() throws(DatabaseError) { try execute("RELEASE request") }

  /// Takes back what was done since ``savepoint()``.
  package func rollbackToSavepoint() throws(DatabaseError) { try execute("ROLLBACK TO request; RELEASE request") }

  private func execute(_ sql: String) throws(DatabaseError) {
    do throws(SQLiteError) { try file.execute(sql) } catch { throw DatabaseError(error) }
  }
}

@available(*, unavailable)
extension Connection: Sendable {}
