import Database
import JSON
import SHA256
import SQLite
import Testing

@testable import SessionStore

@Suite(.ofFiles) struct AuditChainTests {
  private let directory: TemporaryDirectory
  private let path: String

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.file("a.db")
  }

  /// Events 1, 2 and 4 are of the lifecycle, 3 and 5 of security.
  private func filled() throws -> TestStore {
    let test = try TestStore(path)
    for id in ["s", "u"] { try test.create(id) { $0.userID = "user of \(id)" } }
    try test.security(.low, "s")
    try test.write { _ = try $0.deleteSession("u", owner: .server, deleteTasks: false) }
    try test.security(.low, "u")
    return test
  }

  private func check(_ test: TestStore, _ expected: AuditHead? = nil) throws -> AuditCheck {
    try test.read { try AuditCheck.run(in: $0.tables, expecting: expected) }
  }

  private func head(_ test: TestStore) throws -> AuditHead { try #require(try test.read { try $0.auditHead() }) }

  private func execute(_ test: TestStore, _ sql: String) throws { try test.store.file!.connection.execute(sql) }

  /// "lifecycle 0 3 0 0 -": where it begins, events, erased, older, the first break
  private func chains(_ check: AuditCheck) -> [String] {
    check.chains.map {
      "\($0.ring) \($0.beginsAfter) \($0.events) \($0.erased) \($0.older) \($0.firstBreak.map(String.init) ?? "-")"
    }
  }

  @Test func whatIsWrittenHolds() throws {
    let test = try filled()
    let found = try check(test)
    #expect(found.problems == [])
    #expect(chains(found) == ["lifecycle 0 3 0 0 -", "security 0 2 0 0 -"])
    #expect(found.head == (try head(test)) && found.head.number == 5)
    // Read from the file as well as remembered.
    #expect(try head(try TestStore(path)) == found.head)
    #expect(try head(try TestStore()).text == "0:\(Digest.zero.text):\(Digest.zero.text)")
  }

  /// What is done to the rows, and where the check finds it. The type is said: to find it takes the compiler minutes.
  private static let tamperings: [(String, String, Int64)] = [
    ("UPDATE audit_events SET user_id = 'another' WHERE number = 2", "lifecycle", 2),
    ("UPDATE audit_events SET timestamp = timestamp + 1 WHERE number = 1", "lifecycle", 1),
    ("UPDATE audit_events SET severity = 'high' WHERE number = 5", "security", 5),
    ("UPDATE audit_events SET principal = 'x' WHERE number = 4", "lifecycle", 4),
    ("UPDATE audit_events SET session = NULL WHERE number = 2", "lifecycle", 2),
    ("UPDATE audit_events SET number = 9 WHERE number = 4", "lifecycle", 9),
    ("UPDATE audit_events SET seal = '0000' || substr(seal, 5) WHERE number = 3", "security", 3),
    ("UPDATE audit_events SET seal = substr(seal, 1, 92) || '0000' WHERE number = 3", "security", 3),
    ("UPDATE audit_events SET seal = 'none' WHERE number = 3", "security", 3),
    ("UPDATE audit_events SET seal = NULL WHERE number = 4", "lifecycle", 4),
    ("UPDATE audit_events SET seal = NULL WHERE number = 1", "lifecycle", 1),
    ("DELETE FROM audit_events WHERE number = 2", "lifecycle", 4),
    ("DELETE FROM audit_events WHERE number = 1", "lifecycle", 2),
    ("UPDATE audit_events SET ring = 'lifecycle' WHERE number = 3", "lifecycle", 3),
    (
      "UPDATE audit_events SET type = 'erased', seal = substr(seal, 33) || substr(seal, 33) WHERE number = 2",
      "lifecycle", 2
    ),
    ("UPDATE audit_chains SET begins_after = 1 WHERE ring = 'lifecycle'", "lifecycle", 1),
    ("UPDATE audit_chains SET hash = (SELECT substr(seal, 33) FROM audit_events WHERE number = 1)", "lifecycle", 1),
    (
      "INSERT INTO audit_events (number, ring, type, timestamp) VALUES (6, 'security', 'session_auth', 1)", "security",
      6
    ),
  ]

  @Test(arguments: tamperings)
  func theFirstBreakIsNamed(sql: String, ring: String, number: Int64) throws {
    let test = try filled()
    try execute(test, sql)
    let found = try check(test)
    #expect(found.chains.first { $0.ring == ring }?.firstBreak == number)
    #expect(
      found.problems.first
        == "the audit trail of the ring '\(ring)' is broken at event \(number): it is not what was written, or one "
        + "before it is missing")
    // Among what a check of the whole file finds, too, and what a look finds that may be ended.
    guard case .checked(let problems, let audit) = try test.store.run(.integrityCheck()) else { return }
    #expect(problems.contains(found.problems[0]) && audit == found)
    #expect(try test.read { try $0.quickCheck(Interruption()) }.problems.contains(found.problems[0]))
  }

  @Test func eventsThatChangePlacesAreFound() throws {
    let test = try filled()
    try execute(
      test,
      """
      UPDATE audit_events SET number = 7 WHERE number = 1;
      UPDATE audit_events SET number = 1 WHERE number = 2;
      UPDATE audit_events SET number = 2 WHERE number = 7;
      """)
    #expect(chains(try check(test))[0] == "lifecycle 0 0 0 0 1")
  }

  // MARK: - Heads

  @Test func aHeadIsHeldAgainstWhatFollows() throws {
    let test = try filled()
    let noted = try head(test)
    func expected(_ head: AuditHead) throws -> [AuditCheck.Expected?] { try check(test, head).chains.map(\.expected) }
    #expect(try expected(noted) == [.extended, .extended])
    try test.create("later")
    try test.security(.low, "s")
    #expect(try expected(noted) == [.extended, .extended])
    #expect(try check(test).chains.map(\.expected) == [nil, nil])
    // All that it can do to its own chain does not help who writes the trail anew.
    let later = try head(test)
    let rewritten = try TestStore(directory.file("b.db"))
    for id in ["s", "u", "later"] { try rewritten.create(id) }
    for _ in 0..<4 { try rewritten.security(.low, "s") }
    let found = try check(rewritten, later)
    #expect(found.chains.map(\.expected) == [.broken, .broken] && found.problems.count == 2)
    // Nor does it to take the newest away.
    try execute(
      test,
      """
      DELETE FROM audit_events WHERE number > 5;
      UPDATE store SET lifecycle_events = 3, security_events = 2, audit_number = 5;
      """)
    #expect(try check(test).problems == [])
    #expect(
      try check(test, later).problems == [
        "the audit trail of the ring 'lifecycle' does not go on from the expected head at event 7",
        "the audit trail of the ring 'security' does not go on from the expected head at event 7",
        "the audit trail ends at event 5, and the expected head is of event 7",
      ])
  }

  @Test func aHeadIsReadAsItIsWritten() throws {
    let head = try head(try filled())
    #expect(AuditHead(head.text) == head)
    for wrong in ["", "5", "5:a:b", "-" + head.text, "0" + head.text, head.text + ":", head.text.uppercased()] {
      #expect(AuditHead(wrong) == nil)
    }
  }

  // MARK: - The rings' ends

  @Test func evictionIsNoTampering() throws {
    let test = try TestStore { $0.maxAuditEvents = 10 }
    try test.create("s")
    try test.security(.low, "s")
    let early = try head(test)
    for number in 0..<500 { try test.create("\(number)") }
    let late = try head(test)
    var found = try check(test, early)
    #expect(found.problems == [])
    #expect(found.chains[0].beginsAfter > 200 && found.chains[1].beginsAfter == 0)
    #expect(found.chains.map(\.expected) == [.evicted, .extended])
    // What is evicted has gone in bulk, and what the rings still hold besides.
    _ = try test.store.maintain()
    found = try check(test, late)
    #expect(found.problems == [] && found.chains.map(\.expected) == [.extended, .extended])
    #expect(found.chains[0].events == 10 && found.head == late)
    try test.create("more")
    #expect(try check(test, late).problems == [])
  }

  // MARK: - Erasing

  @Test func whatIsErasedLeavesItsPlace() throws {
    let test = try filled()
    let before = try head(test)
    let deleted = try test.write {
      try $0.deleteUserData(UserSelector(userID: "user of u", tenantID: nil, principal: nil))
    }
    #expect(deleted.auditEvents == 2)
    var found = try check(test, before)
    #expect(found.problems == [] && found.head == before)
    #expect(found.chains.map(\.expected) == [.extended, .extended])
    #expect(chains(found) == ["lifecycle 0 3 2 0 -", "security 0 2 0 0 -"])
    #expect(try test.audit().map(\.number) == [1, 3, 5])
    #expect(try test.read { try $0.auditCounts(by: .type, AuditFilter(), limit: 9) }.counts.map(\.value).count == 2)
    // Nothing but the place and what it is chained by is left, and that is not made of what it said alone.
    try test.read { store in
      var select = try store.tables.statement(
        .server,
        """
        SELECT coalesce(severity, session_id, user_id, tenant_id, principal, status_before, status_after, message,
          ip_address, action), timestamp, session, length(seal) FROM audit_events WHERE type = 'erased'
        """)
      var count = 0
      while try select.step() {
        #expect(select.isNull(0) && select.integer(1) == 0 && select.isNull(2) && select.integer(3) == 128)
        count += 1
      }
      #expect(count == 2)
    }
    // It is pinned by what comes behind it, and so is what came before it.
    try test.create("later")
    try execute(test, "UPDATE audit_events SET seal = substr(seal, 65) || substr(seal, 65) WHERE number = 4")
    found = try check(test)
    #expect(found.chains[0].firstBreak == 4)
  }

  @Test func whatIsErasedLeavesTheRingAtItsEnd() throws {
    let test = try TestStore { $0.maxAuditEvents = 5 }
    for number in 0..<700 {
      try test.create("\(number)") { $0.userID = "leaver" }
      if number % 7 == 0 {
        _ = try test.write {
          try $0.deleteUserData(UserSelector(userID: "leaver", tenantID: nil, principal: nil))
        }
      }
    }
    #expect(try check(test).problems == [])
    _ = try test.store.maintain()
    #expect(try check(test).chains[0].events == 5)
  }

  // MARK: - Groups and processes

  @Test func whatIsTakenBackLeavesNoHash() throws {
    let test = try filled()
    let before = try head(test)
    struct Refused: Error {}
    func create(_ id: String, in store: Store) throws {
      var new = NewSession()
      new.sessionID = id
      _ = try store.createSession(new, owner: .server)
    }
    #expect(throws: Refused.self) {
      try test.write { store in
        try create("x", in: store)
        throw Refused()
      }
    }
    #expect(try head(test) == before)
    try test.write { store in
      _ = try? store.atomically {
        try create("y", in: store)
        throw Refused()
      }
      try create("z", in: store)
    }
    #expect(try check(test, before).problems == [])
    #expect(chains(try check(test))[0] == "lifecycle 0 4 0 0 -")
  }

  @Test func severalProcessesWriteOneChain() throws {
    let (one, other) = (try filled(), try TestStore(path))
    for number in 0..<20 {
      let test = number % 3 == 0 ? one : other
      try test.create("by turns \(number)")
      try test.security(.low, "s")
    }
    for test in [one, other] {
      #expect(try check(test).problems == [])
      #expect(chains(try check(test)) == ["lifecycle 0 23 0 0 -", "security 0 22 0 0 -"])
    }
    #expect(try head(one) == head(other))
  }

  // MARK: - What is older

  @Test func theChainOfAnOlderFileBeginsWhereItIsMigrated() throws {
    let older = Schema(migrations: Array(Schema.current.migrations.prefix(2)))
    do {
      let test = try TestStore(path, schema: older)
      try execute(
        test,
        """
        INSERT INTO audit_events (number, ring, type, timestamp, session_id)
        VALUES (1, 'lifecycle', 'created', 1, 'a'), (2, 'security', 'session_auth', 2, 'a'),
          (3, 'lifecycle', 'deleted', 3, 'a');
        UPDATE store SET audit_number = 3, lifecycle_events = 2, security_events = 1;
        """)
    }
    let test = try TestStore(path)
    #expect(chains(try check(test)) == ["lifecycle 3 0 0 2 -", "security 3 0 0 1 -"])
    let early = try head(test)
    #expect(early.text == "3:\(Digest.zero.text):\(Digest.zero.text)")
    try test.create("b") { $0.userID = "u" }
    var found = try check(test, early)
    #expect(found.problems == [] && found.chains.map(\.expected) == [.extended, .extended])
    #expect(chains(found) == ["lifecycle 3 1 0 2 -", "security 3 0 0 1 -"])
    // One more cannot be slipped in among them without the counter, nor passed for one of them later.
    try execute(test, "UPDATE audit_events SET seal = NULL WHERE number = 4")
    found = try check(test)
    #expect(found.chains[0].firstBreak == 4)
  }
}
