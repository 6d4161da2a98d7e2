/// What PostgreSQL, or the way to it, answered instead of doing what it was asked for.
package struct PostgresError: Error, Equatable {
  /// SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html); where no server said anything, one of
  /// those below
  package let state: String
  /// What the server or libpq says. It names tables, columns, hosts and users, never a value and never a password.
  package let message: String
  package let kind: Kind

  /// What it means for whoever asked.
  package enum Kind: Sendable {
    /// Somebody else was in the way; nothing happened, and the same transaction may be run again.
    case again
    /// Others held the rows for the whole time, or a statement took longer than it may.
    case busy
    /// The server's disk is full.
    case full
    /// The server takes no more connections, or has no memory left.
    case overloaded
    /// The server only reads: a standby, or one that became it.
    case readOnly
    /// A row contradicts a rule of its table.
    case constraint
    /// The connection broke or cannot be made, the server ends, or it did not answer. What was not committed is gone.
    case unreachable
    /// The server's files are damaged.
    case damaged
    /// The role may not do it.
    case forbidden
    /// The server does not let this user in.
    case unauthenticated
    /// The server is not encrypted, or not who it says, though the address asks for it.
    case untrusted
    /// There is no such database.
    case noDatabase
    /// The schema or a table of it is not there.
    case noSchema
    /// libpq is not there, is too old, or cannot be loaded.
    case noLibrary
    /// The address cannot be used.
    case badAddress
    /// The server is too old, or the database has another encoding.
    case unfit
    case other
  }

  package init(state: String, message: String, kind: Kind) {
    self.state = state
    self.message = message
    self.kind = kind
  }

  /// What a server said of a statement.
  init(state: String, message: String) {
    // Data exceptions quote the data.
    self.init(
      state: state, message: state.hasPrefix("22") ? QuotedText.blanked(message) : message, kind: Self.kind(of: state))
  }

  /// Without a server that says so: the connection is of no use any more.
  static func lost(_ message: String) -> PostgresError { PostgresError(state: "08006", message: message) }

  static func kind(of state: String) -> Kind {
    switch state {
    // Serialization, deadlock; the statement is prepared on another connection, for a pooler changed it; somebody else
    // was faster with the same key.
    case "40001", "40P01", "26000", "42P05", "23505": .again
    case "55P03", "57014": .busy
    case "53100": .full
    case "25006": .readOnly
    case "42501": .forbidden
    case "28000", "28P01": .unauthenticated
    case "3D000": .noDatabase
    case "3F000", "42P01": .noSchema
    case "XX001", "XX002": .damaged
    // Timeouts of idle sessions and of whole transactions end the connection, and so does a server that ends.
    case "25P03", "25P04", "57P01", "57P02", "57P03", "57P05": .unreachable
    default:
      switch state.prefix(2) {
      case "08": .unreachable
      case "23": .constraint
      case "53": .overloaded
      default: .other
      }
    }
  }

  /// whether a row was refused because it contradicts a rule of its table
  package var isConstraint: Bool { state.hasPrefix("23") }

  /// Whether statements that are prepared by name do not work: something before the server changes connections.
  var meansPooler: Bool { state == "26000" || state == "42P05" }

  /// Whether the connection is of no use any more.
  package var needsConnection: Bool { kind == .unreachable || kind == .readOnly }

  /// Whether nothing happened and the same transaction may well succeed when it is run again, on a new connection
  /// where ``needsConnection``.
  package var isPassing: Bool { needsConnection || kind == .again }

  /// Whether connecting may succeed when it is tried again.
  var isWorthAnotherTry: Bool { needsConnection || kind == .overloaded }

  /// One sentence or two for people, which say what to do.
  package var sentence: String {
    switch kind {
    case .again: "Other processes changed the same rows at the same time (\(message)); try again."
    case .busy where state == "57014":
      "PostgreSQL ended a statement that took too long (\(message)); try again, or raise --busy-timeout."
    case .busy: "Other processes kept the rows locked for the whole busy timeout; try again."
    case .full: "The disk of PostgreSQL is full; free some space there and try again."
    case .overloaded:
      "PostgreSQL has no room for this (\(message)); raise its max_connections or its memory, and try again."
    case .readOnly:
      "PostgreSQL is read-only there (\(message)); name its primary, or all hosts and target_session_attrs=read-write."
    case .unreachable:
      "PostgreSQL cannot be reached (\(message)); look after the server and the network, and try again."
    case .damaged: "PostgreSQL says that its files are damaged (\(message)); look after its disk or restore a backup."
    case .forbidden: "PostgreSQL does not allow it: \(message)."
    case .unauthenticated:
      "PostgreSQL does not let this user in (\(message)); look at the user, the password and pg_hba.conf."
    case .untrusted:
      "PostgreSQL cannot be trusted as its address asks (\(message)); look at sslmode, sslrootcert and its certificate."
    case .noDatabase: "PostgreSQL has no such database (\(message)); make it with createdb, or name another."
    case .noSchema:
      "Something of the store is gone from PostgreSQL (\(message)); restore it, or start again on nothing."
    case .noLibrary, .badAddress, .unfit: message
    case .constraint, .other: "PostgreSQL reports: \(message) (SQLSTATE \(state))."
    }
  }
}
