package import Postgres
package import SQLite

/// One connection to one database, used by one thread: to a file, or to a server that others use as well.
///
/// It keeps every statement that it compiled. Nothing in it knows a table.
package final class Connection {
  @usableFromInline
  enum Engine {
    case file(SQLite.Connection)
    case server(PostgresConnection)
  }

  @usableFromInline let engine: Engine
  /// what the engines name differently
  package let dialect: Dialect

  package init(_ file: SQLite.Connection) {
    engine = .file(file)
    dialect = .file
  }

  package init(_ server: Server) {
    engine = .server(server.connection)
    dialect = .server
  }

  // MARK: - Statements

  /// The statement for an SQL literal; compiled once for each place in the code.
  @inlinable
  package func statement(_ sql: StaticString) throws(DatabaseError) -> Statement {
    switch engine {
    case .file(let file):
      do throws(SQLiteError) { return .file(try file.statement(sql)) } catch { throw DatabaseError(error) }
    case .server(let server): return .server(server.statement(sql))
    }
  }

  /// The statement for SQL that was put together from constant parts (filters of lists); compiled once for each text.
  @inlinable
  package func statement(composed sql: String) throws(DatabaseError) -> Statement {
    switch engine {
    case .file(let file):
      do throws(SQLiteError) { return .file(try file.statement(composed: sql)) } catch { throw DatabaseError(error) }
    case .server(let server): return .server(server.statement(composed: sql))
    }
  }

  /// The same for a SELECT whose rows may be many or large: they are not all held at once.
  package func cursor(composed sql: String) throws(DatabaseError) -> Statement {
    if case .server(let server) = engine { return .server(server.cursor(composed: sql, rows: Self.rowsAtOnce)) }
    return try statement(composed: sql)
  }

  package func cursor(_ sql: StaticString) throws(DatabaseError) -> Statement {
    if case .server = engine { return try cursor(composed: sql.description) }
    return try statement(sql)
  }

  /// rows of a cursor that are held at once
  private static let rowsAtOnce: Int32 = 64

  /// rows that the last INSERT, UPDATE or DELETE changed; on a server to know it takes a trip
  @inlinable
  package var changes: Int64 {
    switch engine {
    case .file(let file): file.changes
    case .server(let server): server.changes
    }
  }

  // MARK: - Transactions

  /// What a transaction is for.
  package enum Purpose {
    /// to read at one moment
    case snapshot
    /// to write; whoever else writes the same waits
    case group
  }

  /// - Parameter waiting: milliseconds that a server, or a lock there, is waited for; nil: as long as ever
  package func begin(_ purpose: Purpose, waiting: Int64? = nil) throws(DatabaseError) {
    switch engine {
    case .file(let file):
      do throws(SQLiteError) {
        switch purpose {
        case .snapshot: try file.begin()
        case .group: try file.beginImmediate()
        }
      } catch {
        throw DatabaseError(error)
      }
    case .server(let server):
      do throws(PostgresError) {
        try server.begin(purpose == .group ? .group : .snapshot, waiting: waiting)
      } catch {
        throw DatabaseError(error)
      }
    }
  }

  /// Lets a snapshot go; nothing was written.
  package func endSnapshot() {
    switch engine {
    case .file(let file): do throws(SQLiteError) { try file.commit() } catch { file.rollback() }
    case .server(let server): server.endSnapshot()
    }
  }

  /// What became of a commit.
  package enum Outcome {
    case committed
    /// nothing of it is there
    case refused(DatabaseError)
    /// it may or may not be there
    case unknown(DatabaseError)
  }

  /// How a server is asked what became of a commit whose answer was lost; a file needs none.
  package struct Witness {
    let sql: String
    let parameter: Int64
    let expected: Int64

    /// - Parameters:
    ///   - sql: gives the number that the transaction writes, and locks its row
    ///   - parameter: its $1
    ///   - expected: the number that the row has once the transaction is committed, and not before
    package init(sql: String, parameter: Int64, expected: Int64) {
      self.sql = sql
      self.parameter = parameter
      self.expected = expected
    }
  }

  package func commit(_ witness: Witness? = nil) -> Outcome {
    switch engine {
    case .file(let file):
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
    case .server(let server):
      let witness = witness.map {
        PostgresConnection.Witness(sql: $0.sql, parameter: $0.parameter, expected: $0.expected)
      }
      return switch server.commit(witness) {
      case .committed: .committed
      case .refused(let error): .refused(DatabaseError(error))
      case .unknown(let error): .unknown(DatabaseError(error))
      }
    }
  }

  /// Ends the transaction without its changes, whatever has become of it.
  package func rollback() {
    switch engine {
    case .file(let file): file.rollback()
    case .server(let server): server.rollback()
    }
  }

  /// False as well after an error that ended the transaction silently: ask after every failure.
  package var isInTransaction: Bool {
    switch engine {
    case .file(let file): file.isInTransaction
    case .server(let server): server.isInTransaction
    }
  }

  /// Begins a part of the transaction that can be taken back alone.
  package func savepoint() throws(DatabaseError) {
    switch engine {
    case .file(let file):
      do throws(SQLiteError) { try file.savepoint() } catch { throw DatabaseError(error) }
    case .server(let server):
      do throws(PostgresError) { try server.savepoint() } catch { throw DatabaseError(error) }
    }
  }

  /// What was done since ``savepoint()`` stays with the rest.
  package func release() throws(DatabaseError) {
    switch engine {
    case .file(let file):
      do throws(SQLiteError) { try file.release() } catch { throw DatabaseError(error) }
    case .server(let server):
      do throws(PostgresError) { try server.release() } catch { throw DatabaseError(error) }
    }
  }

  /// Takes back what was done since ``savepoint()``; the whole transaction where a file does not bear less.
  package func rollbackToSavepoint() throws(DatabaseError) {
    switch engine {
    case .file(let file):
      do throws(SQLiteError) { try file.rollbackToSavepoint() } catch { throw DatabaseError(error) }
    case .server(let server):
      do throws(PostgresError) { try server.rollbackToSavepoint() } catch { throw DatabaseError(error) }
    }
  }
}

@available(*, unavailable)
extension Connection: Sendable {}
