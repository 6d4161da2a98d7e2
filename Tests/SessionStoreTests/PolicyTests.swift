import Database
import JSON
import Testing

@testable import SessionStore

/// Legal holds, and retention by tenant.
@Suite struct PolicyTests {
  private static let ada = Owner(tenant: .named("acme"), principal: .named("ada"))
  private static let bob = Owner(tenant: .named("acme"), principal: .named("bob"))
  private static let held = StoreError.heldByLegalHold("case")

  private func hold(_ test: TestStore, tenantID: String? = nil, principal: String? = "ada") throws {
    let hold = LegalHold(name: "case", tenantID: tenantID, principal: principal, reason: nil)
    _ = try test.write { try $0.placeLegalHold(hold) }
  }

  private func lift(_ test: TestStore) throws {
    #expect(try test.write { try $0.liftLegalHold("case") })
  }

  private func sweep(_ test: TestStore) throws {
    for _ in 0..<200 {
      test.store.beginRequest()
      if try !test.store.maintain().swept.hasMore { return }
    }
    Issue.record("maintenance finds no end")
  }

  private func task(_ id: String, _ owner: Owner, ttl: Int64? = nil, in test: TestStore) throws {
    var new = NewTask()
    new.taskID = id
    new.ttl = ttl
    _ = try test.write { try $0.createTask(new, owner: owner) }
  }

  private func value(_ key: String, _ owner: Owner, ttl: Int64? = nil, in test: TestStore) throws {
    let place = ValuePlace(collection: "c", owner: owner)
    _ = try test.write { try $0.putValue(place, key, "1", ttl: ttl, ifAbsent: false, ifRevision: nil) }
  }

  // MARK: - Whom a hold is on

  @Test func aHoldIsOnWhatIsBoundToAllThatItNames() {
    let holds = [
      LegalHold(name: "t", tenantID: "acme", principal: nil, reason: nil),
      LegalHold(name: "p", tenantID: nil, principal: "ada", reason: nil),
      LegalHold(name: "both", tenantID: "other", principal: "eve", reason: nil),
    ]
    let policies = Policies(version: 1, holds: holds, retentions: [])
    #expect(policies.hold(tenantID: "acme", principal: nil) == "t")
    #expect(policies.hold(tenantID: "acme", principal: "bob") == "t")
    #expect(policies.hold(tenantID: nil, principal: "ada") == "p")
    #expect(policies.hold(tenantID: "other", principal: "ada") == "p")
    #expect(policies.hold(tenantID: "other", principal: "eve") == "both")
    for (tenantID, principal) in [(nil, nil), ("other", nil), (nil, "eve"), ("other", "bob"), ("Acme", "Ada")] {
      #expect(policies.hold(tenantID: tenantID, principal: principal) == nil)
    }
    // One scalar, and the same with a mark of its own.
    let accent = LegalHold(name: "é", tenantID: "acm\u{E9}", principal: nil, reason: nil)
    #expect(Policies(version: 1, holds: [accent], retentions: []).hold(tenantID: "acme\u{301}", principal: nil) == nil)
  }

  @Test func aHoldIsPlacedOnceAndItsNameIsItsOwn() throws {
    let test = try TestStore()
    let hold = LegalHold(name: "case", tenantID: nil, principal: "ada", reason: "a letter")
    let first = try test.write { try $0.placeLegalHold(hold) }
    test.now += 5
    let second = try test.write { try $0.placeLegalHold(hold) }
    #expect(first.placed && !second.placed && first.placedAt == second.placedAt)
    let other = LegalHold(name: "case", tenantID: "acme", principal: "ada", reason: nil)
    test.refuses(.invalidParameter(name: "name", expected: "a name that no other legal hold has")) {
      _ = try $0.placeLegalHold(other)
    }
    #expect(try test.read { try $0.legalHolds(after: 0, limit: 10).map(\.reason) } == ["a letter"])
    try lift(test)
    #expect(try test.write { try $0.liftLegalHold("case") } == false)
  }

  @Test func bothAreBounded() throws {
    let test = try TestStore()
    try test.write { store in
      for number in 1...Store.maxLegalHolds {
        for sql in [
          "legal_holds (number, name, tenant_id, placed_at) VALUES (\(try store.nextRevision()), 'n\(number)', 't', 0)",
          "retention (number, tenant_id, max_task_ttl) VALUES (\(try store.nextRevision()), 't\(number)', 1)",
        ] {
          var insert = try store.tables.statement(.server, composed: "INSERT INTO " + sql)
          try insert.run()
        }
      }
      try store.changePolicies()
    }
    let more = LegalHold(name: "more", tenantID: "t", principal: nil, reason: nil)
    test.refuses(.maxLegalHoldsReached(limit: 1_000)) { _ = try $0.placeLegalHold(more) }
    test.refuses(.maxRetentionsReached(limit: 1_000)) { try $0.setRetention(of: "t", Retention(maxTaskTTL: 1)) }
    // What is there may be changed, and makes room when it goes.
    try test.write { try $0.setRetention(of: "t7", Retention(maxTaskTTL: 2)) }
    try test.write { try $0.setRetention(of: "t7", Retention()) }
    try test.write { try $0.setRetention(of: "t", Retention(maxTaskTTL: 1)) }
  }

  @Test func whatIsTakenBackHoldsNothing() throws {
    let test = try TestStore()
    try value("k", Self.ada, in: test)
    let hold = LegalHold(name: "case", tenantID: nil, principal: "ada", reason: nil)
    try test.store.beginGroup(waiting: 0)
    test.store.beginRequest()
    _ = try test.store.placeLegalHold(hold)
    #expect(!test.store.mayGo(tenantID: nil, principal: "ada"))
    test.store.abandonGroup()
    let place = ValuePlace(collection: "c", owner: Self.ada)
    #expect(try test.write { try $0.deleteValue(place, "k", ifRevision: nil) })
    // A part of a group.
    try value("k", Self.ada, in: test)
    try test.write { store in
      #expect(throws: StoreError.busy(milliseconds: 1)) {
        try store.atomically {
          _ = try store.placeLegalHold(hold)
          throw StoreError.busy(milliseconds: 1)
        }
      }
      #expect(store.mayGo(tenantID: nil, principal: "ada"))
      _ = try store.placeLegalHold(hold)
    }
    test.refuses(Self.held) { _ = try $0.deleteValue(place, "k", ifRevision: nil) }
    try test.reopen()
    if test.path != ":memory:" {
      test.refuses(Self.held) { _ = try $0.deleteValue(place, "k", ifRevision: nil) }
    }
  }

  // MARK: - What stays

  @Test func sweepsPassOverWhatIsHeldHoweverMuchItIs() throws {
    let test = try TestStore { $0.sessionTTL = 1_000 }
    let many = Store.lookedAtOnce + 40
    try test.write { store in
      for number in 0..<many {
        for (name, owner) in [("a", Self.ada), ("b", Self.bob)] where name == "a" || number % 100 == 0 {
          var new = NewSession()
          new.sessionID = "\(name)\(number)"
          _ = try store.createSession(new, owner: owner)
          var task = NewTask()
          task.taskID = "\(name)\(number)"
          task.ttl = 1_000
          _ = try store.createTask(task, owner: owner)
          let place = ValuePlace(collection: "c", owner: owner)
          _ = try store.putValue(place, "\(number)", "1", ttl: 1_000, ifAbsent: false, ifRevision: nil)
        }
      }
    }
    try hold(test)
    test.now += 2_000
    try sweep(test)
    for table in ["sessions", "tasks", "named_values"] { #expect(try test.rows(table) == Int64(many), "\(table)") }
    #expect(try test.ids().isEmpty)
    #expect(try test.read { try $0.getSession("a0", owner: Self.ada) } == nil)
    #expect(try test.read { try $0.getTask("a0", scope: TaskScope(owner: Self.ada)) } == nil)
    #expect(try test.read { try $0.getValue(ValuePlace(collection: "c", owner: Self.ada), "0") } == nil)
    // A sweep that comes by again finds nothing to do, and says so.
    test.store.beginRequest()
    let again = try test.store.maintain()
    #expect(again.swept.sessions == 0 && again.swept.tasks == 0)
    let waiting = try test.read { try $0.summary(waiting: true).waiting }
    #expect(waiting?.held.map(\.count) == [Int64(many), Int64(many), Int64(many)])
    #expect(waiting?.due.map(\.count) == [0, 0, 0])
    #expect(try test.problems().isEmpty)
    try lift(test)
    try sweep(test)
    for table in ["sessions", "tasks", "named_values"] { #expect(try test.rows(table) == 0, "\(table)") }
    #expect(try test.problems().isEmpty)
  }

  @Test func whatIsHeldTakesNobodysPlace() throws {
    let test = try TestStore {
      $0.sessionTTL = 1_000
      $0.maxSessions = 2
      $0.maxTasks = 2
      $0.maxValues = 2
    }
    for number in 0..<2 {
      try test.create("a\(number)", owner: Self.ada)
      try task("a\(number)", Self.ada, ttl: 1_000, in: test)
      try value("a\(number)", Self.ada, ttl: 1_000, in: test)
    }
    try hold(test)
    test.now += 2_000
    for number in 0..<2 {
      try test.create("b\(number)", owner: Self.bob)
      try task("b\(number)", Self.bob, in: test)
      try value("b\(number)", Self.bob, in: test)
    }
    #expect(throws: StoreError.maxSessionsReached(limit: 2)) { try test.create("b2", owner: Self.bob) }
    #expect(throws: StoreError.maxTasksReached(limit: 2)) { try task("b2", Self.bob, in: test) }
    #expect(throws: StoreError.maxValuesReached(limit: 2)) { try value("b2", Self.bob, in: test) }
    for table in ["sessions", "tasks", "named_values"] { #expect(try test.rows(table) == 4, "\(table)") }
  }

  @Test func anIdThatIsHeldIsNotGivenAway() throws {
    let test = try TestStore { $0.sessionTTL = 1_000 }
    try test.create("s", owner: Self.ada)
    try task("t", Self.ada, ttl: 1_000, in: test)
    try value("k", Self.ada, ttl: 1_000, in: test)
    try hold(test)
    test.now += 2_000
    #expect(throws: Self.held) { try test.create("s", owner: Self.bob) }
    #expect(throws: Self.held) { try task("t", Self.bob, in: test) }
    // Deleting what lapsed deletes nothing, and a key may be written anew.
    let place = ValuePlace(collection: "c", owner: Self.ada)
    #expect(try test.write { try $0.deleteValue(place, "k", ifRevision: nil) } == false)
    #expect(try test.rows("named_values") == 1)
    try value("k", Self.ada, in: test)
    #expect(try test.read { try $0.getValue(place, "k") } != nil)
    #expect(try test.rows("named_values") == 1)
  }

  @Test func nothingOfAHeldSessionIsEvicted() throws {
    let test = try TestStore { $0.maxEventsPerSession = 3 }
    try test.create("a", owner: Self.ada)
    try test.create("b", owner: Self.bob)
    for _ in 0..<3 { try test.event("a") }
    try hold(test)
    for _ in 0..<5 {
      try test.event("a")
      try test.event("b")
    }
    #expect(try test.events("a").ids == [1, 2, 3, 4, 5, 6, 7, 8])
    #expect(try test.events("b").ids == [3, 4, 5])
    test.refuses(Self.held) { _ = try $0.deleteEvents("a", before: 3, owner: .server) }
    try lift(test)
    try test.event("a")
    #expect(try test.events("a").ids == [7, 8, 9])
  }

  @Test func keptSessionsOfOthersGoByTheirOwnCount() throws {
    let test = try TestStore {
      $0.retainEnded = 1_000_000
      $0.maxSessions = 2
    }
    func end(_ id: String, _ owner: Owner) throws {
      try test.create(id, owner: owner)
      test.now += 1
      try test.step(id, .expire)
    }
    for id in ["a1", "a2"] { try end(id, Self.ada) }
    try hold(test)
    try sweep(test)
    for id in ["b1", "b2"] { try end(id, Self.bob) }
    let seeing = Owner(tenant: .unspecified, principal: .unspecified, seesEnded: true)
    #expect(try test.ids(SessionFilter(owner: seeing)) == ["a1", "a2", "b1", "b2"])
    try end("b3", Self.bob)
    try sweep(test)
    #expect(try test.ids(SessionFilter(owner: seeing)) == ["a1", "a2", "b2", "b3"])
  }

  @Test func subscriptionsAndTheirWorkStay() throws {
    let test = try TestStore {
      $0.maxEventSubscriptions = 1
      $0.workRetention = 1_000
    }
    var grant = EventSubscriptionGrant(topic: "t")
    grant.ttl = 1_000
    _ = try test.write { try $0.putEventSubscription("es", grant, owner: Self.ada, ifRevision: nil) }
    var work = NewWork(queue: "q", workID: "w", payload: "1")
    work.subscriptionID = "es"
    _ = try test.write { try $0.enqueueWork(work, owner: Self.ada) }
    for (id, owner) in [("a", Self.ada), ("b", Self.bob)] {
      _ = try test.write { try $0.enqueueWork(NewWork(queue: "dead", workID: id, payload: "1"), owner: owner) }
    }
    var fences: [String: Int64] = [:]
    var claim = WorkClaim(queue: "dead", lease: 60_000)
    claim.limit = 2
    _ = try test.write { store in
      try store.claimWork(claim) { item in
        fences[item.workID] = item.fence
        return true
      }
    }
    for (id, fence) in fences {
      _ = try test.write { try $0.settleWork("dead", id, fence: fence, .dead, due: Due(), error: nil) }
    }
    try hold(test)
    test.refuses(Self.held) { _ = try $0.deleteEventSubscription("es", reason: nil, announce: true, owner: .server) }
    var selector = WorkSelector()
    selector.queue = "dead"
    test.refuses(Self.held) { _ = try $0.cancelWork(selector, owner: .server) }
    test.now += 2_000
    // It has lapsed: nobody sees it or gets its work, and it takes no place.
    #expect(try test.read { try $0.getEventSubscription("es", owner: .server) } == nil)
    var claimed = 0
    let next = try test.write { store in
      try store.claimWork(WorkClaim(queue: "q", lease: 60_000)) { _ in
        claimed += 1
        return true
      }
    }
    #expect(claimed == 0 && next == nil)
    let other = EventSubscriptionGrant(topic: "t")
    _ = try test.write { try $0.putEventSubscription("other", other, owner: Self.bob, ifRevision: nil) }
    _ = try test.write { try $0.deleteEventSubscription("other", reason: nil, announce: false, owner: Self.bob) }
    try sweep(test)
    #expect(try test.rows("event_subscriptions") == 1)
    #expect(try test.rows("work") == 2)
    // Granted anew it has what it had.
    let again = try test.write { try $0.putEventSubscription("es", grant, owner: Self.ada, ifRevision: nil) }
    #expect(again.created)
    _ = try test.write { store in
      try store.claimWork(WorkClaim(queue: "q", lease: 60_000)) { _ in
        claimed += 1
        return true
      }
    }
    #expect(claimed == 1)
    test.now += 2_000
    try lift(test)
    try sweep(test)
    #expect(try test.rows("event_subscriptions") == 1)  // of which somebody is to be told
    #expect(try test.rows("work") == 1)
    #expect(try test.problems().isEmpty)
  }

  // MARK: - Retention

  @Test func endedSessionsAreKeptAsTheirTenantSays() throws {
    let test = try TestStore { $0.retainEnded = 10_000 }
    try test.write { try $0.setRetention(of: "short", Retention(retainEnded: 1_000)) }
    try test.write { try $0.setRetention(of: "long", Retention(retainEnded: 100_000)) }
    for tenant in ["long", "short", "usual"] {
      let owner = Owner(tenant: .named(tenant), principal: .unspecified)
      try test.create(tenant, owner: owner)
      try test.step(tenant, .expire)
      try test.create(tenant + "-invalid", owner: owner)
      try test.step(tenant + "-invalid", .invalidate)
      try test.create(tenant + "-lapsed", owner: owner) { $0.ttl = 1 }
    }
    let seeing = Owner(tenant: .unspecified, principal: .unspecified, seesEnded: true)
    let all = ["long", "long-invalid", "long-lapsed"]
    for (time, tenants) in [(500, 3), (1_500, 2), (9_000, 2), (20_000, 1), (99_000, 1), (101_000, 0)] {
      test.now = Clock().now + Int64(time)
      let expected = (all + ["short", "short-invalid", "short-lapsed", "usual", "usual-invalid", "usual-lapsed"])
        .filter { $0.hasPrefix("long") && tenants > 0 || $0.hasPrefix("usual") && tenants > 1 || tenants > 2 }
      #expect(try test.ids(SessionFilter(owner: seeing)) == expected)
      for id in expected { #expect(try test.get(id, owner: seeing) != nil, "\(id) at \(time)") }
      try sweep(test)
      #expect(try test.rows("sessions") == Int64(expected.count), "at \(time)")
    }
    test.refuses(
      .invalidParameter(
        name: "retain_ended", expected: "nothing without --retain-ended, which makes the store keep what has ended")
    ) { _ in
      let other = try TestStore()
      try other.write { try $0.setRetention(of: "t", Retention(retainEnded: 1)) }
    }
  }

  @Test(arguments: [Limits.EventOverflow.evict, .error])
  func eventsAreCountedAsTheirTenantSays(_ overflow: Limits.EventOverflow) throws {
    let test = try TestStore {
      $0.maxEventsPerSession = 4
      $0.eventOverflow = overflow
    }
    try test.write { try $0.setRetention(of: "acme", Retention(maxEventsPerSession: 2)) }
    try test.create("s", owner: Self.ada)
    try test.create("other")
    for id in ["s", "other"] { for _ in 0..<6 { _ = try? test.event(id) } }
    #expect(try test.events("s").ids == (overflow == .evict ? [5, 6] : [1, 2]))
    #expect(try test.events("other").ids == (overflow == .evict ? [3, 4, 5, 6] : [1, 2, 3, 4]))
    // What was remembered of a session follows.
    try test.write { try $0.setRetention(of: "acme", Retention(maxEventsPerSession: 3)) }
    try test.event("s", owner: Self.ada)
    #expect(try test.events("s").ids == (overflow == .evict ? [5, 6, 7] : [1, 2, 3]))
    try test.write { try $0.setRetention(of: "acme", Retention(maxEventsPerSession: 0)) }
    for _ in 0..<9 { try test.event("s") }
    #expect(try test.events("s").ids.count == 12)
  }

  @Test func tasksLiveAsTheirTenantSays() throws {
    let test = try TestStore()
    try test.write { try $0.setRetention(of: "acme", Retention(maxTaskTTL: 1_000)) }
    for (id, ttl) in [("none", nil), ("more", 9_000), ("less", 500)] as [(String, Int64?)] {
      try task(id, Self.ada, ttl: ttl, in: test)
    }
    func ttl(_ id: String) throws -> Int64? {
      try test.read { try $0.getTask(id, scope: TaskScope(owner: .server))?.ttl }
    }
    #expect(try [ttl("none"), ttl("more"), ttl("less")] == [1_000, 1_000, 500])
    try test.write {
      _ = try $0.touchTask("less", statusMessage: nil, ttl: 5_000, pollInterval: nil, scope: TaskScope(owner: .server))
    }
    #expect(try ttl("less") == 1_000)
    test.now += 1_001
    try sweep(test)
    #expect(try test.rows("tasks") == 0)
    #expect(try test.read { $0.effectiveRetention(of: "acme") }.maxTaskTTL == 1_000)
    let usual = Retention(retainEnded: 0, maxEventsPerSession: 10_000)
    #expect(try test.read { $0.effectiveRetention(of: "other") } == usual)
  }
}
