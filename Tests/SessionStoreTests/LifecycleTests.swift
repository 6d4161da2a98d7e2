import Database
import JSON
import SQLite
import Testing

@testable import SessionStore

@Suite struct LifecycleTests {
  private static let hour: Int64 = 3_600_000

  /// Makes a session that stands at `status`.
  private func session(_ id: String, at status: SessionStatus, in test: TestStore) throws {
    try test.create(id) { $0.status = .pending }
    switch status {
    case .pending: break
    case .active: try test.step(id, .activate)
    case .suspended:
      try test.step(id, .activate)
      try test.step(id, .suspend)
    case .expired: try test.step(id, .expire)
    case .invalidated: try test.step(id, .invalidate)
    case .resolved: try test.step(id, .resolve)
    }
  }

  @Test(arguments: SessionStatus.allCases, Store.LifecycleStep.allCases)
  func everyStepFromEveryStatus(status: SessionStatus, step: Store.LifecycleStep) throws {
    let next: SessionStatus? =
      switch (status, step) {
      case (.pending, .activate), (.active, .activate), (.suspended, .activate), (.suspended, .resume): .active
      case (.active, .suspend): .suspended
      case (.pending, .expire), (.active, .expire), (.suspended, .expire): .expired
      case (.pending, .invalidate), (.active, .invalidate), (.suspended, .invalidate): .invalidated
      case (.pending, .resolve), (.active, .resolve), (.suspended, .resolve): .resolved
      default: nil
      }
    let test = try TestStore()
    try session("s", at: status, in: test)
    let before = test.store.counters.revision
    if let next {
      let session = try test.step("s", step)
      #expect(session.status == next)
      #expect(session.suspendedAt == (next == .suspended ? test.now : nil))
      // Activating an active session changes nothing that the caller stored.
      #expect(test.store.counters.revision == before + (next == status ? 0 : 1))
    } else if status.isOver {
      test.refuses(.sessionExpired("s")) { _ = try $0.changeStatus("s", step, owner: .server) }
    } else {
      test.refuses(.invalidSessionStatus(current: status, requested: step.rawValue)) {
        _ = try $0.changeStatus("s", step, owner: .server)
      }
      #expect(try test.get("s")?.status == status)
      #expect(test.store.counters.revision == before)
    }
  }

  @Test(arguments: SessionStatus.allCases)
  func whatASessionAnswersTo(status: SessionStatus) throws {
    let test = try TestStore()
    try session("s", at: status, in: test)

    let read: StoreError? =
      switch status {
      case .pending, .active, .suspended: nil
      case .expired, .resolved: .sessionExpired("s")
      case .invalidated: .invalidSessionStatus(current: .invalidated, requested: "read")
      }
    let reads: [(Store) throws -> Void] = [
      { _ = try $0.getSessionState("s", "k", owner: .server) },
      { _ = try $0.sessionStateKeys("s", owner: .server) },
      { _ = try $0.countEvents("s", owner: .server) },
      { _ = try $0.readEvents("s", after: 0, streamID: nil, limit: 1, owner: .server) { _ in true } },
      { _ = try $0.readRecentEvents("s", streamID: nil, limit: 1, owner: .server) { _ in true } },
      { _ = try $0.startReading("s", after: 0, streamID: nil, owner: .server) },
    ]
    for request in reads {
      if let read { test.refuses(read, request) } else { try test.read(request) }
    }

    func write(_ requested: String) -> StoreError? {
      switch status {
      case .pending, .active: nil
      case .suspended, .invalidated: .invalidSessionStatus(current: status, requested: requested)
      case .expired, .resolved: .sessionExpired("s")
      }
    }
    let event = NewEvent(data: .null)
    let writes: [(String, (Store) throws -> Void)] = [
      ("set state", { _ = try $0.setSessionState("s", "k", .null, owner: .server) }),
      ("remove state", { _ = try $0.removeSessionState("s", "k", owner: .server) }),
      ("store an event", { _ = try $0.storeEvent("s", event, owner: .server) }),
      ("store events", { _ = try $0.storeEvents("s", [event], owner: .server) }),
      ("delete events", { _ = try $0.deleteEvents("s", before: 1, owner: .server) }),
      ("update", { _ = try $0.updateSession("s", SessionUpdate(), owner: .server) }),
      ("touch", { _ = try $0.touchSession("s", owner: .server) }),
    ]
    for (requested, request) in writes {
      if let error = write(requested) { test.refuses(error, request) } else { try test.write(request) }
    }

    #expect(try test.get("s")?.status == (status.isOver ? nil : status))
    #expect(try test.count(SessionFilter(status: status)) == 1)
    #expect(try test.ids(SessionFilter(status: status)) == ["s"])
    #expect(try test.ids() == (status.isOver ? [] : ["s"]))
    #expect(try test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }.deleted)
    #expect(try test.rows("sessions") == 0)
  }

  @Test(arguments: SessionStatus.allCases)
  func readingWithTouchSlidesOnlyWhatIsInUse(status: SessionStatus) throws {
    let test = try TestStore()
    try session("s", at: status, in: test)
    let before = test.now
    test.now += 1_000
    let session = try test.write { try $0.getSession("s", owner: .server, touch: true) }
    switch status {
    case .pending, .active: #expect(session?.lastActivity == test.now)
    case .suspended, .invalidated: #expect(session?.lastActivity == before)
    case .expired, .resolved: #expect(session == nil)
    }
  }

  // MARK: - Deadlines

  @Test func theFixedDeadlineIsInclusive() throws {
    let test = try TestStore()
    try test.create("s") {
      $0.ttl = 1_000
      $0.inactivityTimeout = 0
    }
    test.now += 999
    try test.event("s")
    test.now += 1
    #expect(try test.get("s") == nil)
    test.refuses(.sessionExpired("s")) { _ = try $0.touchSession("s", owner: .server) }
    test.now -= 1
    #expect(try test.get("s") != nil)
  }

  @Test func theInactivityDeadlineIsInclusiveAndEveryWriteMovesIt() throws {
    let writes: [(Store) throws -> Void] = [
      { _ = try $0.touchSession("s", owner: .server) },
      { _ = try $0.getSession("s", owner: .server, touch: true) },
      { _ = try $0.setSessionState("s", "k", .null, owner: .server) },
      { _ = try $0.removeSessionState("s", "absent", owner: .server) },
      { _ = try $0.storeEvent("s", NewEvent(data: .null), owner: .server) },
      { _ = try $0.storeEvents("s", [NewEvent(data: .null)], owner: .server) },
      { _ = try $0.deleteEvents("s", before: 0, owner: .server) },
      { _ = try $0.updateSession("s", SessionUpdate(), owner: .server) },
      { _ = try $0.changeStatus("s", .activate, owner: .server) },
      { _ = try $0.broadcastEvent(NewEvent(data: .null), SessionFilter()) },
    ]
    let test = try TestStore { $0.sessionTTL = 0 }
    try test.create("s") { $0.inactivityTimeout = 1_000 }
    for write in writes {
      test.now += 999
      try test.write(write)
      #expect(try test.get("s")?.lastActivity == test.now)
    }
    test.now += 999
    #expect(try test.get("s") != nil)
    test.now += 1
    #expect(try test.get("s") == nil)
  }

  @Test func readsMoveNoDeadline() throws {
    let test = try TestStore()
    let created = try test.create("s") { $0.inactivityTimeout = 1_000 }
    test.now += 999
    _ = try test.get("s")
    _ = try test.events("s")
    _ = try test.recent("s", limit: 5)
    _ = try test.read { try $0.sessionStateKeys("s", owner: .server) }
    _ = try test.ids()
    _ = try test.read { try $0.startReading("s", after: nil, streamID: nil, owner: .server) }
    _ = try test.write { try $0.validateSession("s", owner: .server, address: "a", agent: "b") }
    #expect(try test.get("s")?.lastActivity == created.lastActivity)
    test.now += 1
    #expect(try test.get("s") == nil)
  }

  @Test func theEarlierDeadlineWins() throws {
    let test = try TestStore()
    try test.create("fixed") {
      $0.ttl = 500
      $0.inactivityTimeout = 1_000
    }
    try test.create("idle") {
      $0.ttl = 1_000
      $0.inactivityTimeout = 500
    }
    test.now += 500
    #expect(try test.ids() == [])
    #expect(try test.ids(SessionFilter(status: .expired)) == ["fixed", "idle"])
  }

  @Test func zeroMeansNever() throws {
    let test = try TestStore()
    let session = try test.create("s") {
      $0.ttl = 0
      $0.inactivityTimeout = 0
    }
    #expect(session.expiresAt == nil)
    #expect(session.inactivityTimeout == nil)
    test.now += 1_000 * 365 * 24 * Self.hour
    #expect(try test.get("s") != nil)
    #expect(try test.write { try $0.expireSessions(olderThan: nil, limit: 10) }.removed == [])
    // In an update as well.
    try test.create("t")
    var update = SessionUpdate()
    update.inactivityTimeout = .set(0)
    #expect(try test.write { try $0.updateSession("t", update, owner: .server) }.inactivityTimeout == nil)
    test.now += Self.hour
    #expect(try test.get("t") != nil)
  }

  @Test func theDefaultsComeFromTheLimits() throws {
    let test = try TestStore()
    let session = try test.create("s")
    #expect(session.expiresAt == test.now + 24 * Self.hour)
    #expect(session.inactivityTimeout == Self.hour / 2)
    let custom = try TestStore {
      $0.sessionTTL = 0
      $0.inactivityTimeout = 7
    }
    let other = try custom.create("s")
    #expect(other.expiresAt == nil)
    #expect(other.inactivityTimeout == 7)
  }

  @Test func aDeadlineInTheFarFutureDoesNotTrap() throws {
    let test = try TestStore()
    let session = try test.create("s") {
      $0.ttl = .max
      $0.inactivityTimeout = .max
    }
    #expect(session.expiresAt == Saturating.latest)
    #expect(try test.get("s") != nil)
    #expect(try test.ids() == ["s"])
    try test.step("s", .suspend)
    test.now += 1
    #expect(try test.step("s", .resume).expiresAt == Saturating.latest)
  }

  @Test func aMigratedSessionKeepsItsTimes() throws {
    let test = try TestStore()
    let session = try test.create("s") {
      $0.createdAt = test.now - 1_000
      $0.lastActivity = test.now - 100
      $0.ttl = 2_000
      $0.inactivityTimeout = 200
    }
    #expect(session.createdAt == test.now - 1_000)
    #expect(session.expiresAt == test.now + 1_000)
    test.now += 100
    #expect(try test.get("s") == nil)
  }

  @Test func aSessionThatTheCallerEndsInAnUpdateIsExpiredAtOnce() throws {
    let test = try TestStore()
    try test.create("s")
    var update = SessionUpdate()
    update.expiresAt = .set(test.now)
    #expect(try test.write { try $0.updateSession("s", update, owner: .server) }.status == .expired)
    #expect(try test.get("s") == nil)
    #expect(try test.write { try $0.expireSessions(olderThan: nil, limit: 10) }.removed == ["s"])
  }

  // MARK: - Suspension

  @Test func suspensionStopsBothClocks() throws {
    let test = try TestStore()
    let created = try test.create("s") {
      $0.ttl = 1_000
      $0.inactivityTimeout = 300
    }
    test.now += 200
    let suspended = try test.step("s", .suspend)
    #expect(suspended.suspendedAt == test.now)
    #expect(suspended.expiresAt == created.expiresAt)
    test.now += 6 * 24 * Self.hour
    #expect(try test.get("s")?.status == .suspended)
    #expect(try test.ids() == ["s"])
    #expect(try test.write { try $0.expireSessions(olderThan: nil, limit: 10) }.removed == [])
    let resumed = try test.step("s", .resume)
    #expect(resumed.suspendedAt == nil)
    #expect(resumed.lastActivity == test.now)
    // 800 ms of the fixed deadline were left.
    #expect(resumed.expiresAt == test.now + 800)
    test.now += 299
    #expect(try test.get("s") != nil)
    test.now += 1
    #expect(try test.get("s") == nil)
  }

  @Test func activatingASuspendedSessionIsResumingIt() throws {
    let test = try TestStore()
    let created = try test.create("s")
    try test.step("s", .suspend)
    test.now += 5_000
    #expect(try test.step("s", .activate).expiresAt == created.expiresAt.map { $0 + 5_000 })
  }

  @Test func suspensionsAreCountedOnceTheyAreOver() throws {
    let test = try TestStore()
    let created = try test.create("s")
    #expect((created.suspendedTime, created.suspensions) == (0, 0))
    try test.step("s", .suspend)
    test.now += 700
    let suspended = try #require(try test.get("s"))
    #expect((suspended.suspendedTime, suspended.suspensions) == (0, 0))
    try test.step("s", .resume)
    test.now += 50
    try test.step("s", .suspend)
    // A clock that was set back takes nothing off.
    test.now -= 10
    try test.step("s", .activate)
    try test.step("s", .suspend)
    test.now += 33
    let ended = try test.step("s", .invalidate)
    #expect((ended.suspendedTime, ended.suspensions) == (733, 3))
    let read = try #require(try test.get("s"))
    #expect((read.suspendedTime, read.suspensions) == (733, 3))
  }

  @Test func aClockThatWentBackDoesNotShortenADeadline() throws {
    let test = try TestStore()
    let created = try test.create("s")
    try test.step("s", .suspend)
    test.now -= 5_000
    #expect(try test.step("s", .resume).expiresAt == created.expiresAt)
  }

  @Test func aSuspensionThatLastsTooLongExpires() throws {
    let test = try TestStore { $0.maxSuspension = 1_000 }
    try test.create("s")
    try test.step("s", .suspend)
    test.now += 999
    #expect(try test.get("s")?.status == .suspended)
    #expect(try test.ids(SessionFilter(status: .suspended)) == ["s"])
    test.now += 1
    #expect(try test.get("s") == nil)
    #expect(try test.ids(SessionFilter(status: .suspended)) == [])
    test.refuses(.sessionExpired("s")) { _ = try $0.changeStatus("s", .resume, owner: .server) }
    #expect(try test.write { try $0.expireSessions(olderThan: nil, limit: 10) }.removed == ["s"])
  }

  @Test func withoutABoundASuspensionLastsForEver() throws {
    let test = try TestStore { $0.maxSuspension = 0 }
    try test.create("s")
    try test.step("s", .suspend)
    test.now += 100 * 365 * 24 * Self.hour
    #expect(try test.write { try $0.expireSessions(olderThan: nil, limit: 10) }.removed == [])
    #expect(try test.step("s", .resume).status == .active)
  }

  @Test func anInvalidatedSessionStillExpires() throws {
    let test = try TestStore()
    try test.create("s") { $0.ttl = 1_000 }
    try test.step("s", .invalidate)
    test.now += 1_000
    test.refuses(.sessionExpired("s")) { _ = try $0.sessionStateKeys("s", owner: .server) }
  }

  // MARK: - Validation

  @Test func validationTellsWhy() throws {
    let test = try TestStore()
    func reason(_ id: String, _ owner: Owner = .server) throws -> String? {
      try test.write { try $0.validateSession(id, owner: owner, address: nil, agent: nil)?.rawValue }
    }
    for status in SessionStatus.allCases {
      try session(status.rawValue, at: status, in: test)
      #expect(try reason(status.rawValue) == (status == .active ? nil : status.rawValue))
    }
    #expect(try reason("none") == "not_found")
    try test.create("bound", owner: .principal("alice"))
    #expect(try reason("bound", .principal("bob")) == "not_found")
    #expect(try reason("bound", .principal("alice")) == nil)
  }

  @Test func theFirstAddressAndAgentStick() throws {
    let test = try TestStore()
    try test.create("s")
    func validate(_ address: String?, _ agent: String?) throws -> Store.InvalidReason? {
      try test.write { try $0.validateSession("s", owner: .server, address: address, agent: agent) }
    }
    #expect(try validate(nil, nil) == nil)
    #expect(try validate("10.0.0.1", nil) == nil)
    #expect(try validate("10.0.0.2", nil) == .addressChanged)
    #expect(try validate("10.0.0.1", "browser") == nil)
    #expect(try validate("10.0.0.1", "other") == .agentChanged)
    #expect(try validate("10.0.0.2", "other") == .addressChanged)
    #expect(try validate(nil, "browser") == nil)
    #expect(try validate(nil, nil) == nil)
    // A change that is refused is not remembered.
    #expect(try validate("10.0.0.1", "browser") == nil)
  }

  @Test func validationOutsideAGroupAsksForOneOnlyToRemember() throws {
    let test = try TestStore()
    try test.create("s")
    func validate() throws -> Store.InvalidReason? {
      try test.read { try $0.validateSession("s", owner: .server, address: "a", agent: nil) }
    }
    #expect(throws: NeedsGroup.self) { try validate() }
    try test.write { _ = try $0.validateSession("s", owner: .server, address: "a", agent: nil) }
    #expect(try validate() == nil)
  }

  // MARK: - Sweeps

  @Test func aSweepTakesTheLongestOverdueFirstAndNoMoreThanItMay() throws {
    let test = try TestStore()
    for (id, ttl) in [("c", 300), ("a", 100), ("b", 200), ("d", 400)] {
      try test.create(id) { $0.ttl = Int64(ttl) }
    }
    test.now += 300
    var swept = try test.write { try $0.expireSessions(olderThan: nil, limit: 2) }
    #expect(swept.removed == ["a", "b"])
    #expect(swept.hasMore)
    swept = try test.write { try $0.expireSessions(olderThan: nil, limit: 2) }
    #expect(swept.removed == ["c"])
    #expect(!swept.hasMore)
    #expect(try test.ids() == ["d"])
    #expect(try test.rows("sessions") == 1)
  }

  @Test(arguments: ["nonces", "sessions", "tasks", "named_values", "rate_limits"])
  func sweepsKeepUpWithWhoeverMakesMuch(table: String) throws {
    let test = try TestStore()
    let made = 100
    var most: Int64 = 0
    for round in 0..<200 {
      test.now += 5
      try test.write { store in
        for number in 0..<made {
          let name = "\(round)-\(number)"
          switch table {
          case "nonces": _ = try store.consumeNonce(name, ttl: 1, principal: .unspecified)
          case "sessions":
            var session = NewSession()
            session.ttl = 1
            _ = try store.createSession(session, owner: .server)
          case "tasks":
            var task = NewTask()
            task.ttl = 1
            _ = try store.createTask(task, owner: .server)
          case "named_values":
            let place = ValuePlace(collection: "c", owner: .server)
            _ = try store.putValue(place, name, "1", ttl: 1, ifAbsent: false, ifRevision: nil)
          default: _ = try store.checkRateLimit(name, limit: 1, window: 1)
          }
        }
      }
      _ = try test.store.sweepSlice()
      most = max(most, try test.rows(table))
    }
    // A sweep looks through seven kinds of rows, and meanwhile those of one kind wait; then it takes twice as many.
    #expect(most < Int64(20 * made))
  }

  @Test func aSweepLooksAgainWhenASessionThatWasUsedIsDue() throws {
    let test = try TestStore { $0.sessionTTL = 0 }
    try test.create("s") { $0.inactivityTimeout = 1_000 }
    func checkAt() throws -> Int64? {
      var select = try test.store.tables.connection(.server).statement(
        "SELECT check_at FROM sessions")
      return try select.step() ? select.optionalInteger(0) : -1
    }
    let first = test.now + 1_000
    #expect(try checkAt() == first)
    test.now += 900
    try test.event("s")
    // Touching writes no index; the sweep moves the time on when it comes by.
    #expect(try checkAt() == first)
    test.now += 100
    #expect(try test.write { try $0.expireSessions(olderThan: nil, limit: 10) }.removed == [])
    #expect(try checkAt() == first + 900)
    test.now = first + 899
    #expect(try test.write { try $0.expireSessions(olderThan: nil, limit: 10) }.removed == [])
    test.now += 1
    #expect(try test.write { try $0.expireSessions(olderThan: nil, limit: 10) }.removed == ["s"])
  }

  @Test func aDeadlineThatComesNearerIsSweptInTime() throws {
    let test = try TestStore { $0.sessionTTL = 0 }
    // A last activity in the future, as a migration may bring it; the next write sets it to now.
    try test.create("migrated") {
      $0.inactivityTimeout = 1_000
      $0.lastActivity = test.now + 50_000
    }
    try test.create("state") { $0.inactivityTimeout = 60_000 }
    try test.write { _ = try $0.touchSession("migrated", owner: .server) }
    // A clock that went back.
    test.now -= 40_000
    try test.event("state")
    test.now += 40_000
    test.now += 20_000
    #expect(try test.ids(SessionFilter(status: .expired)) == ["migrated", "state"])
    #expect(Set(try test.write { try $0.expireSessions(olderThan: nil, limit: 10) }.removed) == ["migrated", "state"])
  }

  @Test func expiringByLastActivityIsStrict() throws {
    let test = try TestStore()
    let start = test.now
    for id in ["a", "b", "c"] {
      try test.create(id)
      test.now += 10
    }
    #expect(try test.write { try $0.expireSessions(olderThan: start, limit: 10) }.removed == [])
    #expect(try test.write { try $0.expireSessions(olderThan: start + 1, limit: 10) }.removed == ["a"])
    // Whatever the status: a suspended session is taken too.
    try test.step("b", .suspend)
    try test.create("d")
    let swept = try test.write { try $0.expireSessions(olderThan: test.now + 1, limit: 2) }
    #expect(swept.removed == ["b", "c"])
    #expect(swept.hasMore)
    #expect(try test.ids() == ["d"])
  }
}
