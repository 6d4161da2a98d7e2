/// A schema with the tables of one program, which has a mark in it: table `schema_version`, whose only row says whose
/// it is and which version. Whoever comes first makes it, and everybody may bring it up to date, all of it or nothing.
///
/// No lock is taken that needs more than tables: two that make the same schema meet in the catalogue, where the second
/// waits for the first and then finds what that one made; two that migrate meet at the row.
package struct PostgresSchema {
  package let name: String
  /// says whose a schema is
  package let application: Int64
  /// that is wanted
  package let version: Int64
  /// What brings a schema from one version to a later one: statements, each closed with a semicolon, and the version
  /// that they make. 0 is a schema without anything.
  package let step: (_ from: Int64) -> (script: String, to: Int64)

  package init(
    name: String, application: Int64, version: Int64, step: @escaping (_ from: Int64) -> (script: String, to: Int64)
  ) {
    self.name = name
    self.application = application
    self.version = version
    self.step = step
  }

  /// Why a schema cannot be used.
  package enum Problem: Error, Equatable {
    /// of another program, or without a readable mark
    case foreign(String)
    case tooNew(found: Int64, supported: Int64)
    /// only for who reads: a program that writes would bring it up to date
    case tooOld(found: Int64, supported: Int64)
    /// only for who reads
    case missing(String)
    case server(PostgresError)
  }

  private enum State {
    case missing, empty, marked(version: Int64)
  }

  /// Why the name cannot be one of a schema; nil when it can.
  package static func problem(withName name: String) -> String? {
    if name.isEmpty { return "is empty" }
    // Servers cut longer names without a word, and two schemas would be one.
    if name.utf8.count > 63 { return "is longer than 63 bytes" }
    if name.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) { return "holds control characters" }
    if name.hasPrefix("pg_") || name == "information_schema" { return "is reserved by PostgreSQL" }
    return nil
  }

  // MARK: - Opening

  /// Finds the schema, makes it or brings it up to date.
  package func open(_ connection: PostgresConnection) throws(Problem) {
    let deadline = Deadline(in: connection.options.waiting)
    while true {
      do throws(Problem) {
        if try settle(connection) { return }
      } catch {
        connection.rollback()
        guard case .server(let reason) = error else { throw error }
        // Somebody else made something of it at the same time: it is looked at again.
        let mayChange = reason.isPassing || reason.kind == .busy || ["42P06", "42P07"].contains(reason.state)
        if !mayChange || deadline.isOver { throw .server(explained(reason, connection)) }
      }
    }
  }

  /// Finds the schema as it is, for somebody who only reads.
  package func find(_ connection: PostgresConnection) throws(Problem) {
    do throws(Problem) {
      switch try state(connection) {
      case .missing, .empty:
        throw .missing("there is no schema '\(name)' with tables in \(connection.place); start the program to make it")
      case .marked(let found):
        if found > version { throw .tooNew(found: found, supported: version) }
        if found < version { throw .tooOld(found: found, supported: version) }
      }
    } catch {
      connection.rollback()
      if case .server(let reason) = error { throw .server(explained(reason, connection)) }
      throw error
    }
  }

  /// Does one step.
  /// - Returns: whether nothing is left to do
  private func settle(_ connection: PostgresConnection) throws(Problem) -> Bool {
    switch try state(connection) {
    case .missing: try make(connection, schemaExists: false)
    case .empty: try make(connection, schemaExists: true)
    case .marked(let found):
      if found > version { throw .tooNew(found: found, supported: version) }
      if found == version { return true }
      try migrate(connection, from: found)
    }
    return false
  }

  private func asked<Value>(_ body: () throws(PostgresError) -> Value) throws(Problem) -> Value {
    do throws(PostgresError) { return try body() } catch { throw .server(error) }
  }

  private var quotedTable: String { "\(SQLText.quotedName(name)).schema_version" }

  /// What stands there now.
  private func state(_ connection: PostgresConnection) throws(Problem) -> State {
    let found = try asked { () throws(PostgresError) in
      try connection.begin(.snapshot)
      let select = connection.statement(
        """
        SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = $1),
          count(*), count(CASE WHEN relname = 'schema_version' THEN 1 END)
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = $1
        """)
      select.bind(1, text: name.utf8.span)
      _ = try select.step()
      return (schemas: select.integer(0), relations: select.integer(1), marks: select.integer(2))
    }
    if found.marks == 0 {
      connection.endSnapshot()
      if found.relations > 0 { throw foreign(connection, "holds tables of another program") }
      return found.schemas > 0 ? .empty : .missing
    }
    let version = try mark(connection, locking: false)
    connection.endSnapshot()
    return .marked(version: version)
  }

  private func mark(_ connection: PostgresConnection, locking: Bool) throws(Problem) -> Int64 {
    do throws(PostgresError) {
      let select = connection.statement(
        composed: "SELECT application, version FROM \(quotedTable)" + (locking ? " FOR UPDATE" : ""))
      if try select.step(), select.integer(0) == application, select.integer(1) > 0 {
        let version = select.integer(1)
        if try !select.step() { return version }
      }
    } catch {
      // Another table of that name has other columns, or is no table.
      if !["42703", "42809"].contains(error.state) { throw .server(error) }
    }
    throw foreign(connection, "has a table 'schema_version' of another program")
  }

  private func foreign(_ connection: PostgresConnection, _ what: String) -> Problem {
    .foreign("the schema '\(name)' in \(connection.place) \(what); name another one with --schema")
  }

  // MARK: - Making and migrating

  private func make(_ connection: PostgresConnection, schemaExists: Bool) throws(Problem) {
    try asked { () throws(PostgresError) in
      try connection.begin(.group)
      if !schemaExists { try connection.execute("CREATE SCHEMA \(SQLText.quotedName(name))") }
      // First of all the mark: whoever makes the same waits here.
      try connection.execute("CREATE TABLE \(quotedTable) (application BIGINT NOT NULL, version BIGINT NOT NULL)")
      try connection.trip()
      try run(connection, from: 0)
      let insert = connection.statement(composed: "INSERT INTO \(quotedTable) (application, version) VALUES ($1, $2)")
      insert.bind(1, application)
      insert.bind(2, version)
      try insert.run()
      try commit(connection)
    }
  }

  private func migrate(_ connection: PostgresConnection, from found: Int64) throws(Problem) {
    try asked { () throws(PostgresError) in try connection.begin(.group) }
    // Others migrate as well; this one waits for them.
    if try mark(connection, locking: true) != found { return connection.rollback() }
    try asked { () throws(PostgresError) in
      try run(connection, from: found)
      let update = connection.statement(composed: "UPDATE \(quotedTable) SET version = $1")
      update.bind(1, version)
      try update.run()
      try commit(connection)
    }
  }

  private func run(_ connection: PostgresConnection, from start: Int64) throws(PostgresError) {
    var from = start
    while from < version {
      let step = step(from)
      try connection.execute(step.script)
      from = max(step.to, from + 1)
    }
  }

  private func commit(_ connection: PostgresConnection) throws(PostgresError) {
    switch connection.commit() {
    case .committed: return
    // What is there is looked at again.
    case .refused(let error), .unknown(let error): throw error
    }
  }

  /// What somebody may not do is said with what an administrator has to do.
  private func explained(_ error: PostgresError, _ connection: PostgresConnection) -> PostgresError {
    guard error.kind == .forbidden else { return error }
    let user = SQLText.quotedName(connection.server.user)
    let database = SQLText.quotedName(connection.server.database)
    let schema = SQLText.quotedName(name)
    let remedy =
      error.message.contains("for database")
      ? "GRANT CREATE ON DATABASE \(database) TO \(user), or CREATE SCHEMA \(schema) AUTHORIZATION \(user)"
      : "GRANT USAGE, CREATE ON SCHEMA \(schema) TO \(user), or make \(user) the owner of the schema and its tables"
    return PostgresError(
      state: error.state, message: "\(error.message); an administrator has to run: \(remedy)", kind: .forbidden)
  }
}
