import JSON
import SQLite
import Testing

@testable import SessionStore

extension TestStore {
  func audit(_ change: (inout AuditFilter) -> Void = { _ in }) throws -> [AuditEvent] {
    var filter = AuditFilter()
    change(&filter)
    var events: [AuditEvent] = []
    _ = try read { try $0.listAuditEvents(filter, after: 0, limit: 100_000) { events.append($0) == () } }
    return events
  }

  /// "created s -active": what happened to which session, with the status before and after
  func lifecycle() throws -> [String] {
    try audit().filter { $0.severity == nil }.map {
      "\($0.type) \($0.sessionID ?? "?") \($0.statusBefore ?? "-") \($0.statusAfter ?? "-")"
    }
  }

  @discardableResult
  func security(
    _ severity: Severity, _ sessionID: String? = "s", type: SecurityEventType = .unauthorizedAccess
  ) throws -> (number: Int64, violations: Int64, action: SecurityAction) {
    try write {
      try $0.recordSecurityEvent(NewSecurityEvent(type: type, severity: severity, sessionID: sessionID))
    }
  }
}

@Suite struct AuditTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  // MARK: - Counting

  @Test func eventsAreCountedByWhatTheyName() throws {
    let test = try TestStore()
    let events: [(Severity, String?, String?)] = [
      (.low, "u1", "a1"), (.high, "u1", "a2"), (.medium, "u2", "a2"), (.low, nil, "a2"), (.low, "u3", nil),
    ]
    for (severity, user, address) in events {
      test.now += 1
      _ = try test.write {
        try $0.recordSecurityEvent(
          NewSecurityEvent(type: .sessionAuth, severity: severity, userID: user, ipAddress: address))
      }
    }
    func counts(
      _ key: Store.AuditKey, limit: Int = 10, _ change: (inout AuditFilter) -> Void = { _ in }
    ) throws -> [String] {
      var filter = AuditFilter()
      change(&filter)
      let found = try test.read { try $0.auditCounts(by: key, filter, limit: limit) }
      return found.counts.map { "\($0.value) \($0.events)" } + (found.hasMore ? ["more"] : [])
    }
    #expect(try counts(.ipAddress) == ["a2 3", "a1 1"])
    #expect(try counts(.userID) == ["u1 2", "u2 1", "u3 1"])
    #expect(try counts(.userID, limit: 1) == ["u1 2", "more"])
    #expect(try counts(.userID) { $0.ipAddress = "a2" } == ["u1 1", "u2 1"])
    #expect(try counts(.ipAddress) { $0.minSeverity = .medium } == ["a2 2"])
    #expect(try counts(.type) { $0.userID = "u1" } == ["session_auth 2"])
    let times = try test.read { try $0.auditCounts(by: .ipAddress, AuditFilter(), limit: 1) }.counts.first
    #expect(times?.firstAt == test.now - 3 && times?.lastAt == test.now - 1)
    #expect(try test.audit { $0.ipAddress = "a2" }.map(\.userID) == ["u1", "u2", nil])
  }

  // MARK: - Lifecycle changes

  @Test func eachStepIsRecordedOnceWithWhatItChanged() throws {
    let test = try TestStore()
    try test.create("s", owner: Owner(tenant: .named("t"), principal: .named("p"))) {
      $0.status = .pending
      $0.userID = "u"
    }
    for step in [.activate, .activate, .suspend, .resume, .invalidate] as [Store.LifecycleStep] {
      test.now += 10
      _ = try test.write { try $0.changeStatus("s", step, owner: .server, reason: "why \(step)") }
    }
    #expect(
      try test.lifecycle() == [
        "created s - pending", "activated s pending active", "suspended s active suspended",
        "resumed s suspended active", "invalidated s active invalidated",
      ])
    let events = try test.audit()
    // The second activation changed nothing.
    #expect(events.map(\.message) == [nil, "why activate", "why suspend", "why resume", "why invalidate"])
    #expect(events.map(\.number) == [1, 2, 3, 4, 5])
    #expect(events[1].timestamp == test.now - 40)
    for event in events {
      #expect(event.userID == "u")
      #expect(event.tenantID == "t")
      #expect(event.principal == "p")
      #expect(event.action == nil)
    }
  }

  @Test func everyEndIsRecordedOnce() throws {
    let test = try TestStore()
    for id in ["deleted", "asked", "old", "lapsed", "again", "deleted-late"] {
      try test.create(id) { $0.ttl = ["lapsed", "again", "deleted-late"].contains(id) ? 1 : 0 }
    }
    let before = try test.lifecycle().count
    _ = try test.write { try $0.deleteSession("deleted", owner: .server, deleteTasks: false) }
    try test.step("asked", .expire)
    test.now += 1
    _ = try test.write { try $0.deleteSession("deleted-late", owner: .server, deleteTasks: false) }
    try test.create("again")
    test.store.beginRequest()
    while try test.store.sweepSlice().hasMore {}
    try test.create("new")
    _ = try test.write { try $0.expireSessions(olderThan: test.now, limit: 10) }
    #expect(
      try Array(test.lifecycle().dropFirst(before)) == [
        "deleted deleted active -", "expired asked active expired", "deleted deleted-late expired -",
        "expired again active expired", "created again - active",
        // One that was expired on request is removed without another word.
        "expired lapsed active expired", "created new - active", "expired old active expired",
      ])
  }

  @Test func whatIsRefusedOrTakenBackLeavesNoTrace() throws {
    let test = try TestStore()
    try test.create("s")
    struct Stop: Error {}
    #expect(throws: Stop.self) {
      try test.write { store in
        try store.atomically {
          _ = try store.changeStatus("s", .suspend, owner: .server, reason: nil)
          throw Stop()
        }
      }
    }
    #expect(throws: StoreError.self) { try test.step("s", .resume) }
    try test.store.beginGroup(waiting: 0)
    _ = try test.store.changeStatus("s", .suspend, owner: .server, reason: nil)
    test.store.abandonGroup()
    #expect(try test.lifecycle() == ["created s - active"])
    try test.step("s", .suspend)
    let numbers = try test.audit().map(\.number)
    #expect(test.store.isShared ? numbers == numbers.sorted() && numbers.count == 2 : numbers == [1, 2])
  }

  @Test func theTrailOutlivesTheSessionAndARestart() throws {
    let test = try TestStore(directory.file("audit.db"))
    try test.create("s")
    try test.security(.high)
    _ = try test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }
    try test.reopen()
    #expect(try test.audit { $0.sessionID = "s" }.map(\.type) == ["created", "unauthorized_access", "deleted"])
    try test.create("s")
    let numbers = try test.audit().map(\.number)
    #expect(test.store.isShared ? numbers == numbers.sorted() && numbers.count == 4 : numbers == [1, 2, 3, 4])
  }

  // MARK: - Rings

  @Test(arguments: [1, 5, 300]) func eachRingKeepsExactlyItsNewest(cap: Int) throws {
    let test = try TestStore { $0.maxAuditEvents = cap }
    try test.security(.low, nil)
    for index in 1...700 {
      try test.create("s\(index)")
      if index % 97 == 0 { #expect(try test.lifecycle().count == min(index, cap)) }
    }
    // However many sessions came and went, the security event is there.
    #expect(try test.audit().filter { $0.severity != nil }.map(\.number) == [1])
    #expect(try test.lifecycle().last == "created s700 - active")
    #expect(try test.lifecycle().count == cap)
    // A few more rows may wait to be deleted in bulk.
    #expect(try test.rows("audit_events") <= cap + 256 + 1)
    test.store.beginRequest()
    while try test.store.sweepSlice().hasMore {}
    #expect(try test.rows("audit_events") == cap + 1)
  }

  @Test func aRingIsExactInTheMiddleOfAGroup() throws {
    let test = try TestStore { $0.maxAuditEvents = 3 }
    try test.store.beginGroup(waiting: 0)
    for index in 1...10 {
      var new = NewSession()
      new.sessionID = "s\(index)"
      _ = try test.store.createSession(new, owner: .server)
      var count = 0
      _ = try test.store.listAuditEvents(AuditFilter(), after: 0, limit: 100) { _ in
        count += 1
        return true
      }
      #expect(count == min(index, 3))
    }
    try test.store.commitGroup()
  }

  @Test func aLoweredCapHidesAtOnceAndDeletesInSlices() throws {
    let test = try TestStore(directory.file("audit.db")) { $0.maxAuditEvents = 0 }
    for index in 1...1_000 { try test.create("s\(index)") }
    #expect(try test.audit().count == 1_000)
    try test.reopen { $0.maxAuditEvents = 10 }
    #expect(try test.audit().map(\.number) == Array(991...1_000))
    var left = try test.rows("audit_events")
    test.store.beginRequest()
    while try test.store.sweepSlice().hasMore {
      let now = try test.rows("audit_events")
      #expect(left - now <= 128)
      left = now
    }
    #expect(left == 10)
  }

  // MARK: - Lists

  @Test func filtersAndPagesGoTogether() throws {
    let test = try TestStore()
    try test.create("s") { $0.userID = "u" }
    try test.create("t")
    for severity in Severity.allCases { try test.security(severity, "t", type: .invalidInput) }
    test.now += 1_000
    try test.security(.medium, "s")
    func types(_ change: (inout AuditFilter) -> Void) throws -> [String] { try test.audit(change).map(\.type) }
    #expect(try types { $0.sessionID = "s" } == ["created", "unauthorized_access"])
    // The session's user is known to the event.
    #expect(try types { $0.userID = "u" } == ["created", "unauthorized_access"])
    #expect(try types { $0.type = "created" } == ["created", "created"])
    #expect(try test.audit { $0.minSeverity = .high }.map(\.severity) == ["high", "critical"])
    #expect(try test.audit { $0.minSeverity = .low }.count == 5)
    #expect(try types { $0.since = test.now } == ["unauthorized_access"])
    #expect(try types { $0.since = test.now + 1 } == [])
    #expect(
      try types {
        $0.minSeverity = .medium
        $0.sessionID = "t"
        $0.since = test.now
      } == [])
    var (page, after): ([Int64], Int64) = ([], 0)
    var hasMore = true
    while hasMore {
      hasMore = try test.read { store in
        try store.listAuditEvents(AuditFilter(), after: after, limit: 3) { event in
          page.append(event.number)
          after = event.number
          return true
        }
      }
    }
    #expect(page == (try test.audit().map(\.number)))
  }

  // MARK: - Violations

  @Test(arguments: [1, 2, 5]) func soManyViolationsInvalidateASession(limit: Int) throws {
    let test = try TestStore { $0.maxViolations = limit }
    try test.create("s")
    for index in 1...limit + 1 {
      #expect(try test.security(.low).violations == Int64(index - 1))
      let recorded = try test.security(index % 2 == 0 ? .high : .medium)
      #expect(recorded.violations == Int64(index))
      #expect(recorded.action == (index == limit ? .invalidated : .counted))
      #expect(try test.get("s")?.status == (index < limit ? .active : .invalidated))
    }
    let last = try #require(try test.audit { $0.type = "invalidated" }.last)
    #expect(last.message == "unauthorized_access")
    #expect(last.statusBefore == "active")
    #expect(try test.audit { $0.type = "invalidated" }.count == 1)
  }

  @Test func aCriticalOneInvalidatesAtOnceWhateverTheLimit() throws {
    for limit in [0, 5] {
      let test = try TestStore { $0.maxViolations = limit }
      try test.create("s") { $0.status = .pending }
      for index in 1...7 as ClosedRange<Int64> where limit == 0 {
        let recorded = try test.security(.high)
        #expect(recorded.violations == index)
        #expect(recorded.action == .counted)
      }
      #expect(try test.security(.critical).action == .invalidated)
      #expect(try test.get("s")?.status == .invalidated)
      #expect(try test.security(.critical).action == .counted)
    }
  }

  @Test func withoutASessionThereIsNothingToCount() throws {
    let test = try TestStore()
    try test.create("over") { $0.ttl = 1 }
    test.now += 1
    for id in [nil, "never", "over"] as [String?] {
      let recorded = try test.security(.critical, id)
      #expect(recorded.violations == 0)
      #expect(recorded.action == .logged)
    }
    #expect(try test.audit { $0.minSeverity = .critical }.map(\.sessionID) == [nil, "never", "over"])
  }

  @Test func violationsAreCountedAcrossARestartAndNotInheritedByANewSession() throws {
    let test = try TestStore(directory.file("audit.db"))
    try test.create("s")
    try test.security(.medium)
    try test.reopen()
    #expect(try test.security(.medium).violations == 2)
    _ = try test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }
    try test.create("s")
    #expect(try test.security(.medium).violations == 1)
  }

  // MARK: - Where a session is used from

  @Test func anotherAddressOrAgentIsRecordedAtLowSeverity() throws {
    let test = try TestStore()
    try test.create("s") { $0.userID = "u" }
    func validate(_ address: String?, _ agent: String?) throws -> Store.InvalidReason? {
      try test.write { try $0.validateSession("s", owner: .server, address: address, agent: agent) }
    }
    #expect(try validate("192.0.2.1", nil) == nil)
    #expect(try validate(nil, "agent/1") == nil)
    #expect(try validate("192.0.2.1", "agent/1") == nil)
    #expect(try test.audit { $0.minSeverity = .low }.isEmpty)
    #expect(try validate("192.0.2.9", "agent/1") == .addressChanged)
    #expect(try validate("192.0.2.1", "agent/2") == .agentChanged)
    let events = try test.audit { $0.type = "session_hijacking" }
    #expect(events.map(\.message) == ["address_changed", "agent_changed"])
    #expect(events.map(\.severity) == ["low", "low"])
    #expect(events.map(\.ipAddress) == ["192.0.2.9", "192.0.2.1"])
    #expect(events.map(\.userID) == ["u", "u"])
    // It is no violation: people move.
    #expect(try test.get("s")?.status == .active)
    // Outside a group there is nowhere to write to.
    #expect(throws: NeedsGroup.self) {
      try test.read { _ = try $0.validateSession("s", owner: .server, address: "192.0.2.9", agent: nil) }
    }
  }

  @Test func aScreenedTextIsRecordedWithoutTheText() throws {
    let test = try TestStore()
    try test.create("s")
    try test.write { try $0.recordInvalidInput(.script, sessionID: "s") }
    let event = try #require(try test.audit { $0.type = "invalid_input" }.first)
    #expect(event.severity == "low")
    #expect(event.message == "script")
    #expect(event.sessionID == "s")
  }
}
