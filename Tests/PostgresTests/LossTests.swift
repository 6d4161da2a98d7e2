import Foundation
import Synchronization
import Testing

@testable import Postgres

/// What becomes of a connection that breaks, and of a commit whose answer is lost.
@Suite struct LossTests {
  let database: TestDatabase
  let proxy: Proxy
  /// past the proxy
  let direct: PostgresConnection

  init() throws {
    database = try TestDatabase()
    proxy = try Proxy(database.server)
    direct = try database.connect()
    try direct.run(
      """
      CREATE TABLE rows (n BIGINT);
      CREATE TABLE writers (id BIGINT PRIMARY KEY, n BIGINT NOT NULL);
      INSERT INTO writers VALUES (1, 0)
      """)
  }

  static let witness = "SELECT n FROM writers WHERE id = $1 FOR UPDATE"

  private func connect(_ change: (inout PostgresOptions) -> Void = { _ in }) throws -> PostgresConnection {
    var options = database.options(port: proxy.port)
    change(&options)
    return try PostgresConnection(options)
  }

  /// One group, in the way in which all of them are done.
  private func group(
    _ connection: PostgresConnection, _ n: Int64, beforeCommit: () -> Void = {}
  ) throws -> PostgresConnection.Outcome {
    try connection.begin(.group)
    let lock = connection.statement(composed: Self.witness)
    lock.bind(1, 1)
    guard try lock.step() else { throw TestServer.Failure(description: "there is no writer") }
    let insert = connection.statement("INSERT INTO rows VALUES ($1)")
    insert.bind(1, n)
    try insert.run()
    let update = connection.statement("UPDATE writers SET n = $1 WHERE id = $2")
    update.bind(1, n)
    update.bind(2, 1)
    try update.run()
    beforeCommit()
    return connection.commit(PostgresConnection.Witness(sql: Self.witness, parameter: 1, expected: n))
  }

  private func rows() throws -> [Int64] { try direct.integers("SELECT n FROM rows ORDER BY n") }

  @Test(arguments: [Proxy.Action.cut, .cutBehind])
  func aCommitWhoseAnswerIsLostIsResolved(action: Proxy.Action) throws {
    let connection = try connect()
    guard case .committed = try group(connection, 1) else {
      Issue.record("the first is not committed")
      return
    }
    let outcome = try group(connection, 2) { proxy.next(action) }
    switch (action, outcome) {
    case (.cut, .refused(let error)):
      #expect(error.kind == .unreachable && error.isPassing)
      #expect(try rows() == [1])
    case (.cutBehind, .committed): #expect(try rows() == [1, 2])
    default: Issue.record("\(action): \(outcome)")
    }
    #expect(proxy.connections == 2)
    // And it goes on.
    guard case .committed = try group(connection, 3) else {
      Issue.record("the next is not committed")
      return
    }
    #expect(try rows().last == 3)
  }

  @Test func anAnswerThatNeverComesIsResolvedToo() throws {
    let connection = try connect {
      $0.statementTimeout = 100
      $0.lockTimeout = 100
    }
    let outcome = try group(connection, 1) { proxy.next(.passAndHold) }
    guard case .committed = outcome else {
      Issue.record("\(outcome)")
      return
    }
    #expect(try rows() == [1])
  }

  @Test func withoutAServerTheOutcomeIsUnknown() throws {
    let connection = try connect { $0.waiting = 100 }
    let outcome = try group(connection, 1) {
      proxy.refuse(true)
      proxy.next(.cutBehind)
    }
    guard case .unknown(let error) = outcome else {
      Issue.record("\(outcome)")
      return
    }
    #expect(error.kind == .unreachable)
    #expect(try rows() == [1])
    #expect(throws: PostgresError.self) { try connection.begin(.snapshot) }
    proxy.refuse(false)
    guard case .committed = try group(connection, 2) else {
      Issue.record("the next is not committed")
      return
    }
  }

  /// Without a witness, or when its row is not there, nobody can tell.
  @Test(arguments: [nil, PostgresConnection.Witness(sql: witness, parameter: 2, expected: 1)])
  func withoutAWitnessItIsUnknown(witness: PostgresConnection.Witness?) throws {
    let connection = try connect()
    try connection.begin(.group)
    try connection.trip()
    proxy.next(.cutBehind)
    guard case .unknown = connection.commit(witness) else {
      Issue.record("it is known")
      return
    }
  }

  /// The old transaction still has the lock of the writer's row, and ends only later.
  @Test func theWitnessWaitsForTheOldTransaction() throws {
    let connection = try connect()
    // Instead of one that the server still runs, for nobody can tell it to do that slowly.
    try direct.begin(.group)
    try direct.run("UPDATE writers SET n = 5 WHERE id = 1")
    try connection.begin(.group)
    try connection.trip()
    proxy.next(.cut)
    let direct = direct
    nonisolated(unsafe) let other = direct
    let done = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      Thread.sleep(forTimeInterval: 0.2)
      _ = other.commit()
      done.signal()
    }
    let outcome = connection.commit(PostgresConnection.Witness(sql: Self.witness, parameter: 1, expected: 5))
    done.wait()
    guard case .committed = outcome else {
      Issue.record("it was asked too early: \(outcome)")
      return
    }
  }

  @Test func aBackendThatIsKilledLosesItsTransactionAlone() throws {
    let connection = try connect()
    try connection.begin(.group)
    let process = try connection.integers("SELECT pg_backend_pid()")[0]
    let insert = connection.statement("INSERT INTO rows VALUES ($1)")
    insert.bind(1, 1)
    try insert.run()
    try connection.trip()
    _ = try direct.texts("SELECT pg_terminate_backend(\(process), 5000)")
    let error = #expect(throws: PostgresError.self) { _ = try connection.integers("SELECT 1") }
    #expect(error?.kind == .unreachable)
    connection.rollback()
    #expect(try rows() == [])
    guard case .committed = try group(connection, 2) else {
      Issue.record("the next is not committed")
      return
    }
    #expect(try rows() == [2])
  }

  /// A connection that broke while nobody used it is made anew without a failure.
  @Test func anIdleConnectionThatWasClosedIsNotNoticed() throws {
    let connection = try connect()
    for purpose in [PostgresConnection.Transaction.snapshot, .group] {
      let process = try connection.integers("SELECT pg_backend_pid()")[0]
      _ = try direct.texts("SELECT pg_terminate_backend(\(process), 5000)")
      // What the server says to the connection passes the proxy.
      Thread.sleep(forTimeInterval: 0.1)
      try connection.begin(purpose)
      #expect(try connection.integers("SELECT count(*) FROM rows") == [0])
      connection.rollback()
    }
    #expect(proxy.connections == 3)
  }

  /// One that breaks under the first question of a transaction is made anew, and the question is asked again.
  @Test(arguments: [Proxy.Action.cut, .cutBehind])
  func theFirstTripOfATransactionIsMadeAgain(action: Proxy.Action) throws {
    let connection = try connect()
    for purpose in [PostgresConnection.Transaction.snapshot, .group] {
      try connection.begin(purpose, waiting: 5_001)
      proxy.next(action)
      let first = connection.statement(composed: "SELECT n FROM writers WHERE id = $1")
      first.bind(1, 1)
      try first.send()
      #expect(try connection.integers("SELECT count(*) FROM rows") == [0])
      #expect(try first.step() && first.integer(0) == 0)
      #expect(try connection.texts("SELECT current_setting('transaction_isolation')").count == 1)
      connection.rollback()
    }
    #expect(proxy.connections == 3)
    // But none is that has given an answer already: it cannot be the same.
    try connection.begin(.snapshot)
    _ = try connection.integers("SELECT 1")
    proxy.next(action)
    #expect(throws: PostgresError.self) { try connection.integers("SELECT 1") }
    connection.rollback()
    // And whoever is not to wait is told soon.
    proxy.refuse(true)
    #expect(throws: PostgresError.self) { try connection.begin(.snapshot, waiting: 0) }
    proxy.refuse(false)
  }

  @Test func whatWasPreparedIsPreparedAgain() throws {
    let connection = try connect()
    for n: Int64 in 1...4 {
      guard case .committed = try group(connection, n) else {
        Issue.record("\(n) is not committed")
        return
      }
      let process = try connection.integers("SELECT pg_backend_pid()")[0]
      _ = try direct.texts("SELECT pg_terminate_backend(\(process), 5000)")
      Thread.sleep(forTimeInterval: 0.1)
    }
    #expect(try rows() == [1, 2, 3, 4])
  }

  /// Statements that are prepared by name are gone when somebody in between changes the connection.
  @Test func aLostStatementTurnsToUnnamedOnes() throws {
    let connection = try database.connect { $0.schema = "public" }
    _ = try group(connection, 1)
    try connection.run("DEALLOCATE ALL")
    let error = #expect(throws: PostgresError.self) { _ = try group(connection, 2) }
    #expect(error?.kind == .again && error?.isPassing == true)
    connection.rollback()
    #expect(connection.isPooled)
    guard case .committed = try group(connection, 3) else {
      Issue.record("the next is not committed")
      return
    }
    #expect(try rows() == [1, 3])
    try connection.begin(.snapshot)
    #expect(try connection.texts("SELECT current_setting('search_path')") == ["\"public\""])
    connection.endSnapshot()
  }
}
