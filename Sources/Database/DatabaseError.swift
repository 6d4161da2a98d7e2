package import Postgres
package import SQLite

/// What the database answered instead of OK, whichever it is.
///
/// `message` is its own sentence: it names tables and columns, never a bound value.
package struct DatabaseError: Error, Equatable {
  package enum Class {
    case busy, full, readOnly, corrupt, notADatabase, cannotOpen, inputOutput, other
    /// Somebody else was in the way, on a server: nothing happened, and the same may be run again.
    case again
    /// The server cannot be reached. What was not committed is gone.
    case unreachable
    /// The address of a server cannot be used.
    case badAddress
    /// What a server needs is not there on this machine.
    case noLibrary
  }

  package let `class`: Class
  package let message: String
  /// the extended result code of SQLite (https://www.sqlite.org/rescode.html); 0 from a server
  package let code: Int32
  /// the SQLSTATE of a server (https://www.postgresql.org/docs/current/errcodes-appendix.html); nil from a file
  package let state: String?
  /// For people, what happened and what to do; nil from a file.
  package let sentence: String?
  /// whether a row was refused because it contradicts a UNIQUE, CHECK, NOT NULL or a type of its table
  package let isConstraint: Bool

  package init(_ error: SQLiteError) {
    message = error.message
    code = error.code
    state = nil
    sentence = nil
    isConstraint = error.isConstraint
    `class` =
      switch error.class {
      case .busy: .busy
      case .full: .full
      case .readOnly: .readOnly
      case .corrupt: .corrupt
      case .notADatabase: .notADatabase
      case .cannotOpen: .cannotOpen
      case .inputOutput: .inputOutput
      case .other: .other
      }
  }

  package init(_ error: PostgresError) {
    message = error.message
    code = 0
    state = error.state
    sentence = error.sentence
    isConstraint = error.isConstraint
    `class` =
      switch error.kind {
      case .again: .again
      case .busy, .overloaded: .busy
      case .full: .full
      case .readOnly: .readOnly
      case .damaged: .corrupt
      case .unreachable: .unreachable
      case .badAddress: .badAddress
      case .noLibrary: .noLibrary
      case .noDatabase, .noSchema, .unauthenticated, .untrusted, .forbidden, .unfit: .cannotOpen
      case .constraint, .other: .other
      }
  }

  /// For contents that contradict the schema.
  package static func corrupt(_ message: String) -> DatabaseError {
    DatabaseError(SQLiteError(code: SQLiteError.corruptCode, message: message))
  }

  /// Whether nothing happened, and the same transaction may well succeed when it is run again.
  package var isPassing: Bool { `class` == .again || `class` == .unreachable || (state != nil && `class` == .readOnly) }
}
