import Foundation
import Testing

@testable import Postgres

/// PgBouncer in front of the server, which hands another of its connections to each transaction.
final class Pooler {
  let port = Int.random(in: 10_000...60_000)
  private let process = Process()
  private let folder: String

  init(_ server: TestServer, connections: Int) throws {
    folder = "\(server.folder)/pooler-\(port)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let path = folder + "/pgbouncer.ini"
    try """
      [databases]
      * = user=tester host=\(server.folder) port=\(TestServer.port)
      [pgbouncer]
      listen_port = \(port)
      unix_socket_dir = \(server.folder)
      auth_type = any
      pool_mode = transaction
      default_pool_size = \(connections)
      """.write(toFile: path, atomically: true, encoding: .utf8)
    let user = getuid() == 0 ? ["--reuid=65534", "--regid=65534", "--clear-groups"] : []
    process.executableURL = URL(filePath: "/usr/bin/setpriv")
    process.arguments = user + ["/usr/sbin/pgbouncer", "-q", path]
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    process.standardInput = FileHandle.nullDevice
    try process.run()
  }

  deinit {
    // SIGINT would wait for clients.
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }
}

@Suite struct PoolerTests {
  let database: TestDatabase
  let pooler: Pooler

  init() throws {
    database = try TestDatabase()
    pooler = try Pooler(database.server, connections: 2)
    try database.connect().run("CREATE SCHEMA mine; CREATE TABLE mine.t (a BIGINT, b TEXT)")
  }

  private func connect() throws -> PostgresConnection {
    var options = database.options(port: pooler.port)
    options.schema = "mine"
    return try PostgresConnection(options)
  }

  private func group(_ connection: PostgresConnection, _ values: Range<Int64>) throws {
    try connection.begin(.group)
    #expect(try connection.texts("SELECT current_setting('lock_timeout')") == ["5s"])
    #expect(try connection.compression == "lz4")
    for value in values {
      let insert = connection.statement("INSERT INTO t (a, b) VALUES ($1, $2)")
      insert.bind(1, value)
      insert.bind(2, value % 3 == 0 ? nil : "v\u{0}\(value)")
      try insert.run()
    }
    guard case .committed = connection.commit() else { throw TestServer.Failure(description: "not committed") }
  }

  @Test func itIsNoticedAtOnce() throws {
    let connection = try connect()
    #expect(connection.isPooled)
    #expect(!(try database.connect()).isPooled)
  }

  /// More clients than connections, so that each transaction gets whichever is free.
  @Test func transactionsMoveFromConnectionToConnection() throws {
    let connections = try (1...4).map { _ in try connect() }
    for round: Int64 in 0..<5 {
      for (index, connection) in connections.enumerated() {
        try group(connection, (round * 4 + Int64(index)) * 10..<(round * 4 + Int64(index)) * 10 + 10)
        try connection.begin(.snapshot)
        let count = try connection.integers("SELECT count(*) FROM t")
        #expect(count == [(round * 4 + Int64(index) + 1) * 10])
        connection.endSnapshot()
      }
    }
    // One in a transaction keeps its connection, and the others share the rest.
    try connections[0].begin(.group)
    #expect(try connections[0].integers("SELECT count(*) FROM t") == [200])
    try group(connections[1], 200..<210)
    try group(connections[2], 210..<220)
    connections[0].rollback()
    try connections[3].begin(.snapshot)
    #expect(try connections[3].integers("SELECT count(*) FROM t") == [220])
    connections[3].endSnapshot()
  }

  /// What one of them sets is not there for who comes next on the same connection.
  @Test func nothingIsLeftToOthers() throws {
    let connection = try connect()
    try group(connection, 0..<3)
    var options = database.options(port: pooler.port)
    options.schema = "other"
    let other = try PostgresConnection(options)
    for _ in 1...4 {
      #expect(try other.texts("SELECT current_setting('search_path')") == ["\"$user\", public"])
      try other.begin(.snapshot)
      #expect(try other.texts("SELECT current_setting('search_path')") == ["\"other\""])
      other.endSnapshot()
    }
  }

  @Test func aSchemaIsMadeThroughIt() throws {
    let schema = PostgresSchema(name: "made", application: 7, version: 1) { _ in ("CREATE TABLE a (x BIGINT);", 1) }
    var options = database.options(port: pooler.port)
    options.schema = "made"
    let connection = try PostgresConnection(options)
    try schema.open(connection)
    try schema.open(connection)
    try connection.begin(.snapshot)
    #expect(try connection.integers("SELECT count(*) FROM a") == [0])
    connection.endSnapshot()
  }

  @Test func aFailureIsNotTheNextOnes() throws {
    let first = try connect()
    let second = try connect()
    for _ in 1...4 {
      try first.begin(.group)
      #expect(throws: PostgresError.self) { _ = try first.integers("SELECT 1 / 0") }
      first.rollback()
      try group(second, 0..<2)
    }
    try group(first, 0..<2)
  }
}
