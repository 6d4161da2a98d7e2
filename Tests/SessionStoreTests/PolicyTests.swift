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
    #expect(waiting?.held.map(\.count) == [Int64(many), Int64(many), Int64(many), 0, 0, 0])
    #expect(waiting?.due.map(\.count) == [0, 0, 0, 0, 0, 0])
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
    let usual = Retention(
      retainEnded: 0, maxEventsPerSession: 10_000, maxLogEntriesPerSession: 0, auditRetention: 0)
    #expect(try test.read { $0.effectiveRetention(of: "other") } == usual)
  }

  // MARK: - Of the log

  private func append(
    _ id: String, _ message: String? = nil, checkpoint: Bool = false, to test: TestStore
  ) throws -> (seq: Int64, isDuplicate: Bool) {
    let entry = try JSONText(#"{"message_id":"\#(message ?? "")"}"#)
    return try test.write {
      try $0.appendLogEntry(
        id, NewLogEntry(entry, messageID: message, kind: checkpoint ? .checkpoint : nil), deduplicate: true,
        owner: .server)
    }
  }

  private func log(
    _ id: String, fromCheckpoint: Bool = false, in test: TestStore
  ) throws -> (seqs: [Int64], page: LogPage) {
    var seqs: [Int64] = []
    let page = try test.read { store in
      try store.loadLog(
        id, after: 0, kind: nil, fromCheckpoint: fromCheckpoint, limit: 10_000, owner: .server
      ) { row in
        seqs.append(row.seq)
        return true
      }
    }
    return (seqs, page)
  }

  @Test func logEntriesAreCountedAsTheirTenantSays() throws {
    let test = try TestStore { $0.maxLogEntriesPerSession = 4 }
    try test.write { try $0.setRetention(of: "acme", Retention(maxLogEntriesPerSession: 2)) }
    for (id, owner) in [("s", Self.ada), ("other", .server)] {
      try test.create(id, owner: owner)
      for number in 1...6 { _ = try append(id, "m\(number)", to: test) }
    }
    #expect(try log("s", in: test).seqs == [5, 6])
    #expect(try log("other", in: test).seqs == [3, 4, 5, 6])
    #expect(try log("s", in: test).page.oldestSeq == 5)
    #expect(test.store.counters.logEntries == 6)
    // A message whose entry is gone is known, in this process and in the next.
    for _ in 0..<2 {
      #expect(try append("s", "m1", to: test) == (1, true))
      #expect(try append("s", "m6", to: test) == (6, true))
      if test.path != ":memory:" { try test.reopen { $0.maxLogEntriesPerSession = 4 } }
    }
    // 0: any number, whatever the option says.
    try test.write { try $0.setRetention(of: "acme", Retention(maxLogEntriesPerSession: 0)) }
    for _ in 0..<9 { _ = try append("s", to: test) }
    #expect(try log("s", in: test).seqs.count == 11)
    #expect(try test.problems().isEmpty)
  }

  @Test func aCheckpointGoesAsAnyOtherEntryDoes() throws {
    let test = try TestStore()
    try test.write { try $0.setRetention(of: "acme", Retention(maxLogEntriesPerSession: 3)) }
    try test.create("s", owner: Self.ada)
    _ = try append("s", to: test)
    _ = try append("s", checkpoint: true, to: test)
    _ = try append("s", to: test)
    #expect(try log("s", fromCheckpoint: true, in: test).seqs == [2, 3])
    for _ in 0..<2 { _ = try append("s", to: test) }
    #expect(try log("s", fromCheckpoint: true, in: test).seqs == [3, 4, 5])
    let checkpoint = NewLogEntry("{}", kind: .checkpoint)
    let compacted = try test.write { try $0.compactLog("s", checkpoint, owner: Self.ada) }
    #expect(compacted == (3, 6))
    let entries = (0..<5).map { _ in NewLogEntry("{}") }
    let replaced = try test.write { try $0.replaceLog("s", entries, owner: Self.ada) }
    #expect(replaced?.first == 7 && replaced?.last == 11)
    #expect(try log("s", in: test).seqs == [9, 10, 11])
    #expect(try test.problems().isEmpty)
  }

  /// In rows of several, with rows of one among them, over many batches: what is gone is never read again, and its rows
  /// do not stay.
  @Test func rowsOfALogGoInBulk() throws {
    let test = try TestStore()
    try test.write { try $0.setRetention(of: "acme", Retention(maxLogEntriesPerSession: 40)) }
    try test.create("s", owner: Self.ada)
    for group in 0..<40 {
      try test.write { store in
        for number in 0..<25 {
          let large = group % 7 == 3 && number == 9
          let text = String(repeating: "x", count: large ? PayloadLines.maxBytes : 3)
          let id = "\(group)-\(number)"
          let entry = try JSONText(#"{"message_id":"\#(id)","text":"\#(text)"}"#)
          _ = try store.appendLogEntry(
            "s", NewLogEntry(entry, messageID: id), deduplicate: true, owner: .server)
        }
      }
      let last = Int64(group + 1) * 25
      #expect(try log("s", in: test).seqs == Array(max(1, last - 39)...last))
      #expect(test.store.counters.logEntries == min(last, 40))
      #expect(try test.problems().isEmpty)
    }
    #expect(try Int64(test.store.storedLogEntries().count) < 40 + Store.trimBatch + 25)
    #expect(try append("s", "0-0", to: test) == (1, true))
    #expect(try append("s", "39-24", to: test) == (1_000, true))
    try test.write { _ = try $0.deleteSession("s", owner: .server, deleteTasks: true) }
    #expect(try test.rows("log_entries") == 0 && test.rows("log_message_ids") == 0)
    #expect(test.store.counters.logEntries == 0)
  }

  // MARK: - What a sweep lets go

  /// Whoever has a retention from now on, or a lower one, keeps to it with the next sweep, however much that is, and
  /// what is held stays until it is not.
  @Test func sweepsLetGoWhatIsBeyondTheCounts() throws {
    let test = try TestStore()
    let others = Owner(tenant: .named("other"), principal: .unspecified)
    let sessions = [("ada", Self.ada), ("bob", Self.bob), ("other", others), ("nobody", .server)]
    for (id, owner) in sessions {
      try test.create(id, owner: owner)
      try test.write { store in
        for number in 0..<700 {
          _ = try store.storeEvent(
            id, NewEvent(data: "1", streamID: number % 100 == 0 ? "rare" : "stream"), owner: .server)
          _ = try store.appendLogEntry(
            id, NewLogEntry("{}", messageID: "m\(number)"), deduplicate: false, owner: .server)
        }
      }
    }
    try hold(test)
    let retention = Retention(maxEventsPerSession: 3, maxLogEntriesPerSession: 5)
    try test.write { try $0.setRetention(of: "acme", retention) }
    let waiting = try test.read { try $0.summary(waiting: true).waiting }
    #expect(waiting?.due.suffix(3).map(\.count) == [697, 695, 0])
    #expect(waiting?.held.suffix(3).map(\.count) == [697, 695, 0])
    var slices = 0
    while slices < 2_000 {
      slices += 1
      test.store.beginRequest()
      if try !test.store.sweepSlice().hasMore { break }
    }
    #expect(slices < 2_000)
    for (id, _) in sessions {
      let (events, entries) = id == "bob" ? (3, 5) : (700, 700)
      #expect(try test.events(id).ids == Array(Int64(701 - events)...700), "\(id)")
      #expect(try log(id, in: test).seqs == Array(Int64(701 - entries)...700), "\(id)")
    }
    let gap = try test.events("bob", stream: "rare").page.gap
    #expect(gap == EventGap(dropped: 7, oldestAvailable: nil))
    #expect(try test.store.storedLogEntries().filter { $0.seq == 700 }.count == 4)
    #expect(try test.problems().isEmpty)
    #expect(try append("bob", "m3", to: test) == (4, true))
    try lift(test)
    try sweep(test)
    #expect(try test.events("ada").ids == [698, 699, 700])
    #expect(try log("ada", in: test).seqs == [696, 697, 698, 699, 700])
    #expect(try test.problems().isEmpty)
  }

  @Test func aSearchGoesThroughAllSessionsAndThenNoMore() throws {
    let test = try TestStore()
    let many = Store.lookedAtOnce + 30
    try test.write { store in
      for number in 0..<many {
        var new = NewSession()
        new.sessionID = "s\(number)"
        _ = try store.createSession(new, owner: number % 2 == 0 ? Self.ada : Self.bob)
        for _ in 0..<(number % 50 == 0 ? 3 : 1) {
          _ = try store.appendLogEntry("s\(number)", NewLogEntry("{}"), deduplicate: false, owner: .server)
        }
      }
      try store.setRetention(of: "acme", Retention(maxLogEntriesPerSession: 1))
    }
    try sweep(test)
    #expect(test.store.counters.logEntries == Int64(many))
    #expect(test.store.searches.counts.tenants?.isEmpty == true)
    #expect(try test.problems().isEmpty)
  }

  // MARK: - Of the audit trail

  private func trail(_ test: TestStore) throws -> [String] {
    var found: [String] = []
    _ = try test.read { store in
      try store.listAuditEvents(AuditFilter(), after: 0, limit: 10_000) { event in
        found.append("\(event.type) \(event.sessionID ?? event.message ?? "")")
        return true
      }
    }
    return found
  }

  @Test func auditEventsAreErasedAtTheAgeThatTheirTenantSays() throws {
    let test = try TestStore { $0.auditRetention = 100_000 }
    let others = Owner(tenant: .named("other"), principal: .unspecified)
    try test.write { try $0.setRetention(of: "acme", Retention(auditRetention: 10_000)) }
    try test.write { try $0.setRetention(of: "other", Retention(auditRetention: 0)) }
    try hold(test)
    for (id, owner) in [("ada", Self.ada), ("bob", Self.bob), ("other", others), ("nobody", .server)] {
      try test.create(id, owner: owner)
    }
    let all = try trail(test)
    #expect(all.count == 7)
    let rows = try test.rows("audit_events")
    let head = try test.read { try $0.auditHead() }
    test.now += 9_999
    try sweep(test)
    #expect(try trail(test) == all)
    test.now += 10_001
    #expect(try test.read { try $0.summary(waiting: true).waiting?.due.last?.count } == 2)
    #expect(try test.read { try $0.summary(waiting: true).waiting?.held.last?.count } == 1)
    try sweep(test)
    let left = try trail(test)
    #expect(left == all.filter { !$0.contains("bob") && $0 != "retention_set audit_retention=10000" })
    // The chain holds, and goes on from where it was.
    if let head {
      #expect(try test.rows("audit_events") == rows)
      let check = try AuditCheck.run(in: test.store.tables, expecting: head)
      #expect(check.problems.isEmpty && check.chains.map(\.erased) == [1, 1])
      #expect(check.chains.map(\.expected) == [.extended, .extended])
      // Of what is left nothing can be changed, and what was erased cannot be filled in.
      for change in ["session_id = 'x' WHERE session_id = 'other'", "type = 'created' WHERE type = 'erased'"] {
        try test.store.beginGroup(waiting: 0)
        var update = try test.store.tables.statement(.server, composed: "UPDATE audit_events SET " + change)
        try update.run()
        #expect(try AuditCheck.run(in: test.store.tables).problems.count >= 1, "\(change)")
        test.store.abandonGroup()
      }
    }
    test.now += 100_000
    try sweep(test)
    #expect(try !trail(test).contains("created nobody") && trail(test).contains("created other"))
    #expect(try trail(test).contains("created ada"))
    try lift(test)
    test.now += 10_000
    try sweep(test)
    #expect(try !trail(test).contains("created ada"))
    #expect(try test.problems().isEmpty)
  }

  @Test func whatIsRefusedSendsNoSearchBack() throws {
    let test = try TestStore { $0.auditRetention = 7_200_000 }
    try test.create("s")
    try sweep(test)
    let next = test.store.searches.audit.next
    #expect(next > test.now)
    try test.store.beginGroup(waiting: 0)
    test.store.abandonGroup()
    #expect(test.store.searches.audit.next == next)
    // What was taken away in a group that is taken back is there again, and looked for again.
    test.now += 7_200_000
    try test.store.beginGroup(waiting: 0)
    test.store.beginRequest()
    var budget = SliceBudget(rows: 1_000, test.store.environment)
    _ = try test.store.eraseOldAuditEvents(&budget)
    #expect(test.store.searches.audit.next > next)
    test.store.abandonGroup()
    #expect(test.store.searches.audit.next == next)
    try sweep(test)
    #expect(try !trail(test).contains("created s"))
  }

  @Test func aSearchOfTheTrailIsRareAndGoesThroughAllOfIt() throws {
    let test = try TestStore {
      $0.auditRetention = 7_200_000
      $0.sessionTTL = 0
      $0.inactivityTimeout = 0
    }
    let many = Store.lookedAtOnce + 50
    func make(_ name: String) throws {
      try test.write { store in
        for number in 0..<many {
          var new = NewSession()
          new.sessionID = "\(name)\(number)"
          _ = try store.createSession(new, owner: .server)
        }
      }
    }
    try make("a")
    try sweep(test)
    let next = test.store.searches.audit.next
    #expect(next == test.now + 3_600_000)
    test.now += 7_200_000
    try make("b")
    try sweep(test)
    #expect(try trail(test).count == many)
    // Within the hour it does not look again.
    test.now += 3_599_999
    try sweep(test)
    #expect(test.store.searches.audit.next == next + 7_200_000)
    // A clock that was set back begins anew.
    test.now -= 7_200_000
    try sweep(test)
    #expect(test.store.searches.audit.next == test.now + 3_600_000)
    #expect(try trail(test).count == many)
  }
}
