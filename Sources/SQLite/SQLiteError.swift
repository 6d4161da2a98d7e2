internal import CSQLite

/// What SQLite answered instead of OK.
///
/// `message` is SQLite's own sentence: it names tables and columns, never a bound value.
package struct SQLiteError: Error, Equatable {
  /// the extended result code (https://www.sqlite.org/rescode.html)
  package let code: Int32
  package let message: String

  package init(code: Int32, message: String) {
    self.code = code
    self.message = message
  }

  /// Reads the message from `connection` right after a call on it returned `code`.
  init(code: Int32, connection: OpaquePointer?) {
    self.code = code
    if let connection = unsafe connection, let text = unsafe sqlite3_errmsg(connection) {
      self.message = unsafe String(cString: text)
    } else if let text = unsafe sqlite3_errstr(code) {
      self.message = unsafe String(cString: text)
    } else {
      self.message = "error \(code)"
    }
  }

  package enum Class {
    case busy, full, readOnly, corrupt, notADatabase, cannotOpen, inputOutput, other
  }

  package var `class`: Class {
    switch code & 0xFF {
    case SQLITE_BUSY, SQLITE_LOCKED: .busy
    case SQLITE_FULL: .full
    case SQLITE_READONLY, SQLITE_PERM: .readOnly
    case SQLITE_CORRUPT: .corrupt
    case SQLITE_NOTADB: .notADatabase
    case SQLITE_CANTOPEN: .cannotOpen
    case SQLITE_IOERR: .inputOutput
    default: .other
    }
  }

  /// whether a row was refused because it contradicts a UNIQUE, CHECK, NOT NULL or a type of its table
  package var isConstraint: Bool { code & 0xFF == SQLITE_CONSTRAINT }

  /// whether the file can be read only after a journal that a dead process left has been rolled back
  package var needsRollback: Bool { code == SQLITE_READONLY | 3 << 8 }  // SQLITE_READONLY_ROLLBACK

  /// for a file whose contents contradict the schema
  package static let corruptCode = SQLITE_CORRUPT
}
