import Testing

@testable import SessionStore

/// What the store does by itself against whoever asks for too much: each by an option, off unless it is set.
@Suite struct GuardTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  // MARK: - Ids that are asked for in vain

  /// Asks, and records what was noted, as the machine does.
  private func ask(_ test: TestStore, _ request: (Store) throws -> Void) throws {
    try test.read { store in
      do { try request(store) } catch is StoreError {}
    }
    // Behind the same request: the next one would begin without it.
    try test.store.beginGroup(waiting: 0)
    try test.store.recordPendingEvents()
    try test.store.commitGroup()
  }

  private func told(_ test: TestStore) throws -> [String] {
    try test.audit { $0.type = "unauthorized_access" }.map {
      "\($0.sessionID ?? "-") \($0.message ?? "-") \($0.tenantID ?? "-") \($0.principal ?? "-") \($0.ipAddress ?? "-")"
    }
  }

  @Test func everyWayToAskInVainIsTold() throws {
    let test = try TestStore { $0.auditUnauthorized = 100 }
    try test.create("theirs", owner: .principal("alice"))
    _ = try test.write { try $0.createTask(NewTask(), owner: .principal("alice")) }
    let bob = Owner.principal("bob")
    for id in ["theirs", "nobodys"] {
      try ask(test) { _ = try $0.getSession(id, owner: bob) }
      try ask(test) { _ = try $0.getSessionState(id, "k", owner: bob) }
      try ask(test) { _ = try $0.validateSession(id, owner: bob, address: "192.0.2.7", agent: nil) }
    }
    let each = ["session_not_found - bob -", "session_not_found - bob -", "session_not_found - bob 192.0.2.7"]
    #expect(try told(test) == each.map { "theirs " + $0 } + each.map { "nobodys " + $0 })
    for id in ["theirs", "nobodys"] {
      #expect(throws: StoreError.sessionNotFound(id)) { try test.write { try $0.touchSession(id, owner: bob) } }
      #expect(test.store.pendingEvents == 1)
      #expect(try test.write { try $0.deleteSession(id, owner: bob, deleteTasks: false) }.deleted == false)
      #expect(test.store.pendingEvents == 1)
    }
    // What is there, and what has only lapsed, tells nothing.
    try ask(test) { _ = try $0.getSession("theirs", owner: .principal("alice")) }
    test.now += 48 * 3_600_000
    try ask(test) { _ = try $0.getSession("theirs", owner: .principal("alice")) }
    #expect(try told(test).count == 6)
    // None of it is a violation of the session that it names.
    #expect(try test.audit { $0.type = "unauthorized_access" }.allSatisfy { $0.action == "logged" })
  }

  @Test func nothingIsNotedUnlessItIsAskedFor() throws {
    let test = try TestStore()
    try ask(test) { _ = try $0.getSession("nobodys", owner: .principal("bob")) }
    #expect(try told(test).isEmpty)
  }

  @Test func aTaskOfAnotherSessionIsAskedForInVain() throws {
    let test = try TestStore { $0.auditUnauthorized = 100 }
    try test.create("a")
    try test.create("b")
    var new = NewTask()
    new.taskID = "t"
    new.sessionID = "a"
    new.ttl = 10
    _ = try test.write { try $0.createTask(new, owner: .server) }
    try ask(test) { _ = try $0.getTask("t", scope: TaskScope(sessionID: "a", owner: .server)) }
    #expect(try told(test).isEmpty)
    try ask(test) { _ = try $0.getTask("t", scope: TaskScope(sessionID: "b", owner: .server)) }
    try ask(test) { _ = try $0.getTask("u", scope: TaskScope(owner: .server)) }
    #expect(try told(test) == ["- task_not_found: t - - -", "- task_not_found: u - - -"])
    test.now += 100
    try ask(test) { _ = try $0.getTask("t", scope: TaskScope(owner: .server)) }
    #expect(try told(test).count == 2)
  }

  @Test func eachCallerHasAnAllowanceOfItsOwnForAMinute() throws {
    let test = try TestStore { $0.auditUnauthorized = 3 }
    test.now = 60_000 * 1_000_000
    func knock(_ owner: Owner) throws {
      for number in 0..<10 { try ask(test) { _ = try $0.getSession("s\(number)", owner: owner) } }
    }
    try knock(.principal("bob"))
    #expect(try told(test).count == 3)
    try knock(.principal("carol"))
    try knock(.tenant("bob"))
    #expect(try told(test).count == 9)
    test.now += 59_999
    try knock(.principal("bob"))
    #expect(try told(test).count == 9)
    test.now += 1
    try knock(.principal("bob"))
    #expect(try told(test).count == 12)
  }

  @Test func howManyCallersThereAreIsBounded() {
    var allowance = CallerAllowance()
    func take(_ caller: Int, limit: Int = 2, at now: Int64 = 0) -> Bool {
      allowance.take(caller, limit: limit, at: now)
    }
    // Each of the first thousand has one of its own, and all the others share one.
    #expect((1...50_000).count { take($0) } == CallerAllowance.callers + 2)
    #expect(take(1))
    #expect(!take(1))
    #expect(!take(60_000, at: 59_999))
    #expect(take(60_000, at: 60_000))
    // A clock that goes back begins another minute too.
    #expect(take(60_000, limit: 1, at: 0))
  }

  // MARK: - What counts by itself

  @Test(arguments: [false, true])
  func refusedInputCountsWhereThatIsAskedFor(_ counts: Bool) throws {
    let test = try TestStore {
      $0.countsRefusedInput = counts
      $0.maxViolations = 2
    }
    try test.create("s")
    for _ in 0..<2 { try test.write { try $0.recordInvalidInput(.script, sessionID: "s") } }
    let events = try test.audit { $0.type = "invalid_input" }
    #expect(events.map(\.severity) == (counts ? ["medium", "medium"] : ["low", "low"]))
    #expect(events.map(\.action) == (counts ? ["counted", "invalidated"] : ["logged", "logged"]))
    #expect(try test.get("s")?.status == (counts ? .invalidated : .active))
  }

  @Test(arguments: [false, true])
  func deniedRatesCountWhereThatIsAskedFor(_ counts: Bool) throws {
    let test = try TestStore {
      $0.countsDeniedRates = counts
      $0.maxViolations = 2
    }
    try test.create("s")
    func deny() throws {
      try ask(test) { $0.noteDenial(of: "key", sessionID: "s") }
    }
    try deny()
    #expect(try test.get("s")?.status == .active)
    // Once it is over nothing more is written, however often it is denied.
    for _ in 0..<5 { try deny() }
    try ask(test) { $0.noteDenial(of: "key", sessionID: "nobodys") }
    let events = try test.audit { $0.type = "rate_limit_exceeded" }
    #expect(events.map(\.action) == (counts ? ["counted", "invalidated"] : []))
    #expect(events.map(\.message) == (counts ? ["key", "key"] : []))
    #expect(try test.get("s")?.status == (counts ? .invalidated : .active))
  }

  // MARK: - Writes of a session

  private func limited(_ path: String = ":memory:", _ count: Int64 = 3, clock: Clock = Clock()) throws -> TestStore {
    let test = try TestStore(path, clock: clock) { $0.sessionWrites = Rate(count: count, window: 3_000) }
    return test
  }

  private func isRefused(_ test: TestStore, _ sessionID: String = "s") throws -> Int64? {
    do {
      _ = try test.write { try $0.removeSessionState(sessionID, "none", owner: .server) }
      return nil
    } catch StoreError.maxSessionWritesReached(let id, let rate, let retryAfter) {
      #expect(id == sessionID && rate == Rate(count: 3, window: 3_000))
      return retryAfter
    }
  }

  @Test func aSessionMakesABurstOfWritesThenEvenly() throws {
    let test = try limited()
    try test.create("s")
    try test.create("other")
    _ = try test.write { try $0.setSessionState("s", "k", "1", owner: .server) }
    _ = try test.write { try $0.storeEvent("s", NewEvent(data: "1"), owner: .server) }
    #expect(try isRefused(test) == nil)
    let revision = try test.get("s")?.revision
    #expect(try isRefused(test) == 1_000)
    test.now += 400
    #expect(try isRefused(test) == 600)
    for error in [
      { try $0.setSessionState("s", "k", "2", owner: .server) as Any },
      { try $0.storeEvents("s", [NewEvent(data: "1")], owner: .server) as Any },
      { try $0.deleteEvents("s", before: 9, owner: .server) as Any },
      { try $0.removeSessionState("s", "k", owner: .server) as Any },
      { try $0.updateSession("s", SessionUpdate(), owner: .server) as Any },
      { try $0.noteLogMessageIDs("s", ["m"], owner: .server) as Any },
      { try $0.appendLogEntry("s", NewLogEntry("{}"), deduplicate: true, owner: .server) as Any },
    ] as [(Store) throws -> Any] {
      #expect(throws: StoreError.maxSessionWritesReached("s", Rate(count: 3, window: 3_000), retryAfter: 600)) {
        try test.write { _ = try error($0) }
      }
    }
    // Nothing happened, reads go on, so does everybody else, and so does the server itself.
    #expect(try test.get("s")?.revision == revision)
    #expect(try isRefused(test, "other") == nil)
    _ = try test.write { try $0.touchSession("s", owner: .server) }
    #expect(try test.write { try $0.broadcastEvent(NewEvent(data: "1"), SessionFilter()) } == 2)
    #expect(try test.step("s", .suspend).status == .suspended)
    #expect(try test.step("s", .resume).status == .active)
    test.now += 600
    #expect(try isRefused(test) == nil)
    #expect(try isRefused(test) == 1_000)
  }

  @Test func theAllowanceIsSharedAndOutlivesARestart() throws {
    let test = try limited(directory.file("writes.db"))
    try test.create("s")
    for _ in 0..<2 { #expect(try isRefused(test) == nil) }
    let other = try limited(directory.file("writes.db"), clock: test.clock)
    #expect(try isRefused(other) == nil)
    #expect(try isRefused(test) == 1_000)
    try test.reopen { $0.sessionWrites = Rate(count: 3, window: 3_000) }
    #expect(try isRefused(test) == 1_000)
    // Without the limit nothing is held back, and what was taken is kept.
    try test.reopen()
    #expect(try isRefused(test) == nil)
    try test.reopen { $0.sessionWrites = Rate(count: 3, window: 3_000) }
    #expect(try isRefused(test) == 1_000)
  }

  @Test func whatIsTakenBackTakesNothing() throws {
    let test = try limited()
    try test.create("s")
    for _ in 0..<5 {
      #expect(throws: StoreError.taskNotFound("none")) {
        try test.write { store in
          try store.atomically {
            _ = try store.setSessionState("s", "k", "1", owner: .server)
            _ = try store.cancelTask("none", cooperative: false, scope: TaskScope(owner: .server))
          }
        }
      }
    }
    for _ in 0..<3 { #expect(try isRefused(test) == nil) }
    #expect(try isRefused(test) == 1_000)
  }

  @Test func anIdThatIsUsedAgainHasItsWholeAllowance() throws {
    let test = try limited()
    try test.create("s")
    for _ in 0..<3 { #expect(try isRefused(test) == nil) }
    _ = try test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }
    try test.create("s")
    #expect(try isRefused(test) == nil)
  }
}
