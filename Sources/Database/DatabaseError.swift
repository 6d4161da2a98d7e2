package import SQLite

/// What the database answered instead of OK, whichever it is.
///
/// `message` is its own sentence: it names tables and columns, never a bound value.
package struct DatabaseError: Error, Equatable {
  package enum Class {
    case busy, full, readOnly, corrupt, notADatabase, cannotOpen, inputOutput, other
  }

  package let `class`: Class
  package let message: String
  /// the extended result code of SQLite (https://www.sqlite.org/rescode.html)
  package let code: Int32
  /// whether a row was refused because it contradicts a UNIQUE, CHECK, NOT NULL or a type of its table
  package let isConstraint: Bool

  package init(_ error: SQLiteError) {
    message = error.message
    code = error.code
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

  /// For contents that contradict the schema.
  package static func corrupt(_ message: String) -> DatabaseError {
    DatabaseError(SQLiteError(code: SQLiteError.corruptCode, message: message))
  }
}
