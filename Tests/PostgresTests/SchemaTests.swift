import Testing

@testable import Postgres

@Suite struct SchemaTests: Sendable {
  let database: TestDatabase

  init() throws { database = try TestDatabase() }

  private static let scripts = [
    "CREATE TABLE a (x BIGINT); -- one\nCREATE TABLE b (y TEXT DEFAULT ';');", "ALTER TABLE a ADD COLUMN z BIGINT;",
  ]

  private func schema(_ name: String = "my \"Store\"", application: Int64 = 7, version: Int64 = 1) -> PostgresSchema {
    PostgresSchema(name: name, application: application, version: version) { from in
      (Self.scripts[Int(from)], from + 1)
    }
  }

  private func connect(_ schema: PostgresSchema, user: String = "tester") throws -> PostgresConnection {
    var options = database.options(user: user)
    options.schema = schema.name
    return try PostgresConnection(options)
  }

  private func problem(_ body: () throws -> Void) -> PostgresSchema.Problem? {
    #expect(throws: PostgresSchema.Problem.self) { try body() }
  }

  @Test func whoeverComesFirstMakesIt() throws {
    let schema = schema()
    let connection = try connect(schema)
    guard case .missing(let what) = problem({ try schema.find(connection) }) else {
      Issue.record("something was found")
      return
    }
    #expect(what.contains("my \"Store\""))
    try schema.open(connection)
    try connection.run("INSERT INTO a VALUES (1)")
    // The next one finds it as it is.
    let other = try connect(schema)
    try schema.open(other)
    try schema.find(other)
    #expect(try other.integers("SELECT x FROM a") == [1])
    #expect(!other.isInTransaction && !connection.isInTransaction)
  }

  @Test func anEmptyOneOfAnAdministratorIsFilled() throws {
    try database.connect().run("CREATE SCHEMA prepared")
    let schema = schema("prepared")
    let connection = try connect(schema)
    try schema.open(connection)
    #expect(try connection.integers("SELECT count(*) FROM a") == [0])
  }

  @Test func manyMakeItAtOnce() async throws {
    let schema = schema()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 1...6 {
        group.addTask { [self] in
          let connection = try connect(self.schema())
          try self.schema().open(connection)
          try connection.run("INSERT INTO a VALUES (1)")
        }
      }
      try await group.waitForAll()
    }
    #expect(try connect(schema).integers("SELECT count(*) FROM a") == [6])
  }

  @Test func anOlderOneIsBroughtUpToDate() throws {
    try schema().open(try connect(schema()))
    let newer = schema(version: 2)
    let connection = try connect(newer)
    #expect(problem { try newer.find(connection) } == .tooOld(found: 1, supported: 2))
    try newer.open(connection)
    try newer.find(connection)
    #expect(try connection.integers("SELECT count(z) FROM a") == [0])
    // And one that is older than it is refused.
    #expect(problem { try schema().open(connection) } == .tooNew(found: 2, supported: 1))
    #expect(problem { try schema().find(connection) } == .tooNew(found: 2, supported: 1))
  }

  @Test func manyMigrateAtOnce() async throws {
    try schema().open(try connect(schema()))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 1...4 {
        group.addTask { [self] in try schema(version: 2).open(try connect(schema())) }
      }
      try await group.waitForAll()
    }
    #expect(try connect(schema()).integers("SELECT version FROM schema_version") == [2])
  }

  @Test func aStepThatFailsLeavesNothing() throws {
    let broken = PostgresSchema(name: "s", application: 7, version: 1) { _ in
      ("CREATE TABLE a (x BIGINT); CREATE TABLE a (x BIGIN);", 1)
    }
    guard case .server(let error) = problem({ try broken.open(try connect(broken)) }) else {
      Issue.record("another problem")
      return
    }
    #expect(error.state == "42704")
    #expect(try database.connect().integers("SELECT count(*) FROM pg_namespace WHERE nspname = 's'") == [0])
  }

  @Test(arguments: [
    "CREATE TABLE other (x BIGINT)", "CREATE TABLE schema_version (version TEXT)",
    "CREATE TABLE schema_version (application BIGINT, version BIGINT)",
    "CREATE TABLE schema_version (application BIGINT, version BIGINT); INSERT INTO schema_version VALUES (8, 1)",
    "CREATE TABLE schema_version (application BIGINT, version BIGINT); INSERT INTO schema_version VALUES (7, 0)",
    "CREATE TABLE schema_version AS VALUES (7, 1), (7, 1)",
    "CREATE TABLE schema_version (application, version) AS VALUES (7, 1), (7, 1)",
    "CREATE SEQUENCE schema_version",
  ])
  func oneOfAnotherProgramIsLeftAlone(script: String) throws {
    let schema = schema("foreign")
    let connection = try connect(schema)
    try connection.run("CREATE SCHEMA foreign_; ALTER SCHEMA foreign_ RENAME TO \"foreign\"; \(script)")
    let before = try connection.integers("SELECT count(*) FROM pg_class")
    for attempt in [schema.open, schema.find] as [(PostgresConnection) throws -> Void] {
      guard case .foreign(let what) = problem({ try attempt(connection) }) else {
        Issue.record("another problem")
        return
      }
      #expect(what.contains("'foreign'") && what.contains("--schema"))
    }
    #expect(try connection.integers("SELECT count(*) FROM pg_class") == before)
  }

  @Test func whoMayNotIsToldWhatToDo() throws {
    let role = "r" + database.name
    let administrator = try database.connect()
    try administrator.run(
      """
      CREATE ROLE \(role) LOGIN; CREATE SCHEMA closed; CREATE SCHEMA half; GRANT USAGE ON SCHEMA half TO \(role)
      """)
    defer { try? administrator.run("DROP OWNED BY \(role); DROP ROLE \(role)") }
    for (name, remedy) in [
      ("new", "GRANT CREATE ON DATABASE \"\(database.name)\" TO \"\(role)\""),
      ("half", "GRANT USAGE, CREATE ON SCHEMA \"half\""),
      ("closed", "GRANT USAGE, CREATE ON SCHEMA \"closed\""),
    ] {
      let schema = schema(name)
      guard case .server(let error) = problem({ try schema.open(try connect(schema, user: role)) }) else {
        Issue.record("another problem")
        return
      }
      #expect(error.kind == .forbidden && error.sentence.contains(remedy), "\(error)")
    }
    // Somebody else's store that is not granted.
    let schema = schema("half")
    try schema.open(try connect(schema))
    guard case .server(let error) = problem({ try schema.find(try connect(schema, user: role)) }) else {
      Issue.record("another problem")
      return
    }
    #expect(error.kind == .forbidden)
  }

  @Test func aServerThatOnlyReadsIsNamed() throws {
    try database.connect().run("ALTER DATABASE \(database.name) SET default_transaction_read_only = on")
    var options = database.options()
    options.waiting = 50
    let error = #expect(throws: PostgresError.self) { try PostgresConnection(options) }
    #expect(error?.kind == .readOnly && error?.sentence.contains("target_session_attrs") == true)
    options.mode = .readOnly
    let reader = try PostgresConnection(options)
    try reader.begin(.snapshot)
    #expect(try reader.integers("SELECT 1") == [1])
    reader.endSnapshot()
  }

  @Test(arguments: ["", String(repeating: "x", count: 64), "pg_mine", "information_schema", "a\nb", "a\u{0}"])
  func namesThatCannotBe(name: String) { #expect(PostgresSchema.problem(withName: name) != nil) }

  @Test(arguments: ["mcp_session_store", "public", "My \"Store\"", "é", String(repeating: "x", count: 63)])
  func namesThatCan(name: String) { #expect(PostgresSchema.problem(withName: name) == nil) }
}
