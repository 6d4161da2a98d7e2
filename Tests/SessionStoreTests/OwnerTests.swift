import Database
import JSON
import SQLite
import Testing

@testable import SessionStore

/// Who reaches what: rows by owner, and what an id that is used again does not inherit.
@Suite struct OwnerTests {
  private let alice = Owner(principal: .named("alice"))
  private let bob = Owner(principal: .named("bob"))

  private func export(_ store: Store, _ principal: String, limit: Int = 1_000) throws -> [String] {
    let selector = UserSelector(userID: nil, tenantID: nil, principal: principal)
    var (records, position, hasMore): ([String], ExportPosition, Bool) = ([], ExportPosition(), true)
    while hasMore {
      let start = position
      hasMore = try store.exportUserData(selector, behind: start, limit: limit) { next, write in
        var writer = JSONWriter()
        write(&writer)
        records.append(String(decoding: writer.take(), as: UTF8.self))
        // As a client hands it back.
        position = try #require(ExportPosition(next.text))
        return true
      }
    }
    return records
  }

  @Test func aSessionIsDeletedWithTheTasksOfTheCallerAlone() throws {
    let test = try TestStore()
    try test.create("s", owner: Owner(principal: .anonymous))
    for (id, owner, ttl) in [("a", alice, nil), ("b", bob, nil), ("n", .server, nil), ("l", bob, 5)]
      as [(String, Owner, Int64?)]
    {
      try test.task(id, owner: owner) {
        $0.sessionID = "s"
        $0.ttl = ttl
      }
    }
    test.now += 6
    let deleted = try test.write { try $0.deleteSession("s", owner: bob, deleteTasks: true) }
    // The one that has lapsed goes too, but there was nothing to see of it.
    #expect(deleted.tasks == 2)
    #expect(try test.taskIDs(TaskScope()) == ["a"])
    #expect(try test.rows("tasks") == 1)
  }

  @Test func anIdThatIsUsedAgainInheritsNothing() throws {
    let test = try TestStore()
    try test.create("s", owner: alice) { $0.userID = "u-alice" }
    try test.task("t", owner: alice) { $0.sessionID = "s" }
    try test.write {
      _ = try $0.recordSecurityEvent(NewSecurityEvent(type: .invalidInput, severity: .low, sessionID: "s"))
    }
    _ = try test.write { try $0.deleteSession("s", owner: alice, deleteTasks: false) }
    // While nobody has the id it stands for who had it.
    #expect(try test.taskIDs(TaskScope(sessionID: "s", owner: alice)) == ["t"])
    #expect(try test.taskIDs(TaskScope(sessionID: "s", owner: bob)) == [])

    try test.create("s", owner: bob) { $0.userID = "u-bob" }
    let asServer = TaskScope(sessionID: "s")
    #expect(try test.taskIDs(asServer) == [])
    #expect(try test.read { try $0.countTasks(status: nil, scope: asServer) } == 0)
    #expect(try test.task(get: "t", scope: asServer) == nil)
    #expect(try test.read { try $0.getTask("t", scope: TaskScope(sessionID: "s", owner: alice)) } != nil)
    test.refuses(.taskNotFound("t")) { _ = try $0.cancelTask("t", cooperative: true, scope: asServer) }
    #expect(try test.write { try $0.recoverStuckTasks(maxAge: -1, scope: asServer, limit: 9) }.removed == [])
    var reader = try test.read { try $0.startReading(tasksOf: "s", owner: .server) }
    var seen = 0
    _ = try test.read { store in
      try store.readOn(&reader) { _ in
        seen += 1
        return true
      }
    }
    #expect(seen == 0)

    let records = try test.read { try export($0, "bob") }
    #expect(records.count == 2)
    #expect(records.allSatisfy { !$0.contains("alice") })
    let selector = UserSelector(userID: nil, tenantID: nil, principal: "bob")
    let deleted = try test.write { try $0.deleteUserData(selector) }
    #expect(deleted == Store.DeletedUserData(sessions: 1, auditEvents: 1))
    #expect(try test.task(get: "t") != nil)
    #expect(try test.audit { $0.sessionID = "s" }.map(\.type) == ["created", "invalid_input", "deleted"])
    let rest = try test.write { try $0.deleteUserData(UserSelector(userID: nil, tenantID: nil, principal: "alice")) }
    #expect(rest == Store.DeletedUserData(tasks: 1, auditEvents: 3))
  }

  @Test(arguments: [1, 2, 1_000])
  func anExportIsTheSameInPagesOfAnySize(limit: Int) throws {
    let test = try TestStore()
    for id in ["s", "s2"] {
      try test.create(id, owner: alice) { $0.state = #"{"b":1,"a":2,"c.d":3}"# }
      for task in ["\(id)-1", "\(id)-2"] {
        try test.task(task, owner: alice) { $0.sessionID = id }
        for _ in 1...3 { try test.write { _ = try $0.enqueueTaskMessage(task, "1", maxSize: nil, scope: TaskScope()) } }
      }
      try test.event(id)
    }
    try test.task("loose", owner: alice)
    try test.write { _ = try $0.enqueueTaskMessage("loose", "7", maxSize: nil, scope: TaskScope()) }
    try test.task("foreign", owner: bob)
    try test.write { _ = try $0.enqueueTaskMessage("foreign", "8", maxSize: nil, scope: TaskScope()) }
    let records = try test.read { try export($0, "alice", limit: limit) }
    // of each session: itself, state, event, tasks, messages, trail; and what is loose
    #expect(records.count == 2 * (1 + 3 + 1 + 2 + 6 + 1) + 2)
    #expect(Set(records).count == records.count)
    #expect(records.allSatisfy { !$0.contains("foreign") && !$0.contains(#""message":8"#) })
  }

  /// A cursor of one's own export opens nothing else.
  @Test func aForgedPositionShowsNothingForeign() throws {
    let test = try TestStore()
    try test.create("s", owner: bob)
    let task = try test.task("t", owner: bob) { $0.sessionID = "s" }
    try test.write { _ = try $0.enqueueTaskMessage("t", "7", maxSize: nil, scope: TaskScope()) }
    let selector = UserSelector(userID: nil, tenantID: nil, principal: "alice")
    for stage in 0..<11 {
      let forged = try #require(ExportPosition("\(stage).1.\(task.number.value).0."))
      var count = 0
      _ = try test.read { store in
        try store.exportUserData(selector, behind: forged, limit: 9) { _, _ in
          count += 1
          return true
        }
      }
      #expect(count == 0, "stage \(stage)")
    }
  }

  /// A task or an entry of the trail from before sessions were known by their numbers is the session's that has the id
  /// now, where it cannot have been a former one's.
  @Test(.ofFiles) func olderRowsAreGivenToSessionsWhereNoDoubtIs() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("a.db")
    #expect(DatabaseFile.create(path) == nil)
    let old = try Connection(path: path, mode: .readWrite, busyTimeout: 0)
    try old.execute(Schema.current.migrations.prefix(2).joined(separator: "\n"))
    try old.execute(
      """
      PRAGMA application_id = \(Schema.applicationID);
      PRAGMA user_version = 2;
      UPDATE store SET revision = 90, sessions = 3, tasks = 6, audit_number = 9, lifecycle_events = 7,
        security_events = 2;
      INSERT INTO sessions (number, session_id, principal, status, last_activity, last_event_id, event_floor,
        event_trimmed, state_bytes, revision, metadata, is_initialized, created_at)
      VALUES (50, 'again', 'bob', 'active', 5000, 0, 0, 0, 0, 50, '{}', 0, 5000),
        (51, 'loaded', NULL, 'active', 5000, 0, 0, 0, 0, 51, '{}', 0, 5000),
        (52, 'own', NULL, 'active', 5000, 0, 0, 0, 0, 52, '{}', 0, 5000);
      INSERT INTO tasks (number, task_id, session_id, principal, status, created_at, last_updated_at,
        cancel_requested, revision)
      VALUES (10, 'former', 'again', 'bob', 'working', 6000, 6000, 0, 10),
        (60, 'now', 'again', 'bob', 'working', 6000, 6000, 0, 60),
        (61, 'foreign', 'again', 'alice', 'working', 6000, 6000, 0, 61),
        (62, 'earlier', 'own', NULL, 'working', 4000, 4000, 0, 62),
        (63, 'anyone', 'own', 'alice', 'working', 6000, 6000, 0, 63),
        (64, 'gone', 'gone', 'alice', 'working', 6000, 6000, 0, 64);
      INSERT INTO audit_events (number, ring, type, timestamp, session_id, principal) VALUES
        (1, 'lifecycle', 'created', 1, 'again', 'alice'), (2, 'security', 'invalid_input', 2, 'again', 'alice'),
        (3, 'lifecycle', 'deleted', 3, 'again', 'alice'), (4, 'lifecycle', 'created', 4, 'again', 'bob'),
        (5, 'security', 'invalid_input', 5, 'again', 'bob'), (6, 'lifecycle', 'created', 6, 'loaded', 'alice'),
        (7, 'lifecycle', 'expired', 7, 'loaded', 'alice'), (8, 'lifecycle', 'activated', 8, 'own', NULL),
        (9, 'lifecycle', 'suspended', 9, 'loaded', NULL);
      """)
    let clock = Clock()
    clock.now = 7_000
    let test = try TestStore(path, clock: clock)
    func sessions(_ sql: String) throws -> [String: Int64] {
      var select = try test.store.tables.statement(.server, composed: sql)
      var found: [String: Int64] = [:]
      while try select.step() { found[select.string(0)] = select.optionalInteger(1) }
      return found
    }
    #expect(try sessions("SELECT task_id, session FROM tasks") == ["now": 50, "anyone": 52])
    // Of 'own' and 'loaded' the trail does not say when they began.
    #expect(
      try sessions("SELECT CAST(number AS TEXT), session FROM audit_events") == ["4": 50, "5": 50])
    #expect(try test.taskIDs(TaskScope(sessionID: "again")) == ["now"])
    #expect(try test.taskIDs(TaskScope(sessionID: "gone")) == ["gone"])
  }

  // MARK: - Cost

  /// Lists and counts of an owner are searches of an index, in its order: nothing is scanned, and nothing sorted.
  @Test(.ofFiles, arguments: [
    Owner(tenant: .unspecified, principal: .named("p")), Owner(tenant: .unspecified, principal: .anonymous),
    Owner(tenant: .named("t"), principal: .unspecified), Owner(tenant: .named("t"), principal: .named("p")),
    Owner(tenant: .anonymous, principal: .named("p")), Owner(tenant: .anonymous, principal: .anonymous),
    Owner(tenant: .anonymous, principal: .unspecified), Owner(tenant: .named("t"), principal: .anonymous),
  ])
  func whatAnOwnerSeesIsSearchedFor(owner: Owner) throws {
    let test = try TestStore()
    for table in ["sessions", "tasks"] {
      var filter = Filter(visibleTo: owner)
      filter.add("number > ?", 5)
      for sql in [
        filter.parts.map { "SELECT number FROM \(table)" + $0 }.joined(separator: " UNION ALL ")
          + " ORDER BY number LIMIT $\(filter.values.count + 1)",
        "SELECT " + filter.parts.map { "(SELECT count(*) FROM \(table)\($0))" }.joined(separator: " + "),
      ] {
        var select = try test.store.tables.statement(.server, composed: "EXPLAIN QUERY PLAN " + sql)
        var plan: [String] = []
        while try select.step() { plan.append(select.string(3)) }
        #expect(plan.contains { $0.contains("SEARCH \(table)") }, "\(plan)")
        #expect(!plan.contains { $0.contains("TEMP B-TREE") }, "\(plan)")
        let bad = plan.filter { $0.contains("SCAN \(table)") || $0.contains("PRIMARY KEY") }
        #expect(bad.isEmpty, "\(plan)")
      }
    }
  }

  // MARK: - Refusals

  @Test func aRefusedCallRemovesNothing() throws {
    let test = try TestStore(limits: {
      $0.maxSessions = 2
      $0.maxSessionsPerUser = 1
      $0.maxTasks = 1
      $0.maxValues = 1
    })
    try test.create("old") { $0.ttl = 1 }
    try test.create("one") { $0.userID = "u" }
    test.now += 2
    let before = try test.audit().count
    // The one that has expired would make room, but the user may not have another session.
    for id in ["old", "new"] {
      test.refuses(.maxUserSessionsReached(limit: 1)) {
        var new = NewSession()
        new.sessionID = id
        new.userID = "u"
        _ = try $0.createSession(new, owner: .server)
      }
    }
    #expect(try test.rows("sessions") == 2)
    #expect(try test.audit().count == before)
    try test.create("new")
    #expect(try test.rows("sessions") == 2)
    test.refuses(.maxSessionsReached(limit: 2)) { _ = try $0.createSession(NewSession(), owner: .server) }
  }

  @Test func aLoweredSuspensionEndsSessionsThatWereSuspendedBefore() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    try test.create("s") { $0.status = .active }
    try test.step("s", .suspend)
    test.now += 10
    try test.reopen {
      $0.maxSuspension = 5
      $0.maxSessions = 1
    }
    #expect(try test.get("s") == nil)
    try test.create("next")
    #expect(try test.ids() == ["next"])
    try test.step("next", .activate)
    try test.step("next", .suspend)
    try test.reopen { $0.maxSuspension = 3 }
    test.now += 4
    #expect(try test.write { try $0.expireSessions(olderThan: nil, limit: 9) }.removed == ["next"])
  }

  // MARK: - What is sent back

  @Test func aRecordThatIsSentBackTakesBackNoActivity() throws {
    let test = try TestStore()
    let created = try test.create("s") { $0.inactivityTimeout = 100 }
    for _ in 1...5 {
      test.now += 60
      let saved = try test.write { store in
        var update = SessionUpdate()
        update.lastActivity = .set(created.lastActivity)
        update.metadata = .set(created.metadata)
        return try store.updateSession("s", update, owner: .server, ifRevision: nil)
      }
      #expect(saved.lastActivity == test.now)
    }
    var update = SessionUpdate()
    update.lastActivity = .set(test.now + 50)
    #expect(try test.write { try $0.updateSession("s", update, owner: .server) }.lastActivity == test.now + 50)
  }

  @Test func takingOverASessionIsHavingOneMore() throws {
    let test = try TestStore(limits: { $0.maxSessionsPerUser = 1 })
    for id in ["a", "b"] { try test.create(id) }
    var update = SessionUpdate()
    update.userID = .set("u")
    try test.write { _ = try $0.updateSession("a", update, owner: .server) }
    // Its own session stays its own.
    try test.write { _ = try $0.updateSession("a", update, owner: .server) }
    test.refuses(.maxUserSessionsReached(limit: 1)) { _ = try $0.updateSession("b", update, owner: .server) }
    #expect(try test.get("b")?.userID == nil)
  }

  // MARK: - Numbers from outside

  @Test func arithmeticStopsAtItsEnds() {
    #expect((Saturating(.max) + 1).value == .max)
    #expect((Saturating(.min) + -1).value == .min)
    #expect((Saturating(.min) - 1).value == .min)
    #expect((Saturating(.max) - -1).value == .max)
    #expect((Saturating(1) - .min).value == .max)
    #expect((Saturating(.max) * 2).value == .max)
    #expect((Saturating(.max) * -2).value == .min)
    #expect((Saturating(.min) * -1).value == .max)
    #expect((Saturating(2) + 3 - 1).value == 4)
    #expect((Saturating(.max) + 0).time == Saturating.latest)
    #expect((Saturating(.min) + 0).time == -Saturating.latest)
  }

  @Test func extremeTimesAreCounted() throws {
    let test = try TestStore()
    for id in 0..<1_100 {
      try test.create("s\(id)") {
        $0.createdAt = 0
        $0.lastActivity = Saturating.latest
        $0.ttl = 0
        $0.inactivityTimeout = Saturating.latest
      }
    }
    let summary = try test.read { try $0.summary() }
    #expect(summary.sessionCount == 1_100)
    #expect(summary.averageDuration >= Saturating.latest - 1)
    try test.event("s1")
    try test.write { _ = try $0.storeEvent("s1", NewEvent(data: "1", timestamp: Saturating.latest), owner: .server) }
    let statistics = try test.read { try $0.statistics(auditSince: 0) }
    #expect(statistics.eventBuckets.reduce(0, +) == 2)
    test.now = Saturating.latest
    #expect(try test.write { try $0.checkRateLimit("k", limit: 1_000_000, window: .max) }.isAllowed)
    #expect(try test.read { try $0.summary() }.sessionCount == 1_100)
  }
}
