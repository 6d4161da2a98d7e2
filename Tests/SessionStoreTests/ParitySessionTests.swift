import JSON
import Testing

@testable import SessionStore

/// What the tests of the ancestors' session stores (turul, and MCP-RS's lifecycle) pin down. Where our contract decides
/// otherwise, the name says so.
@Suite struct ParitySessionTests {
  private static let minute: Int64 = 60_000

  @Test func aNewSessionIsEmptyAndNotInitialized() throws {
    let test = try TestStore()
    var new = NewSession()
    new.serverCapabilities = #"{"tools":{}}"#
    let session = try test.write { try $0.createSession(new, owner: .server) }
    #expect(!session.sessionID.isEmpty)
    #expect(session.state?.string == "{}")
    #expect(session.metadata.string == "{}")
    #expect(!session.isInitialized)
    #expect(session.createdAt == test.now)
    #expect(session.lastActivity == test.now)
    #expect(session.serverCapabilities?.string == #"{"tools":{}}"#)
    #expect(session.clientCapabilities == nil)
    #expect(session.status == .pending)
  }

  @Test func lifecycle() throws {
    let test = try TestStore()
    try test.create("s")
    #expect(try test.count() == 1)
    var update = SessionUpdate()
    update.isInitialized = .set(true)
    update.clientCapabilities = .set("{}")
    try test.write { _ = try $0.updateSession("s", update, owner: .server) }
    let session = try #require(try test.get("s"))
    #expect(session.isInitialized)
    #expect(session.createdAt == test.now)
    #expect(try test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }.deleted)
    #expect(try !test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }.deleted)
    #expect(try test.get("s") == nil)
    #expect(try test.count() == 0)
  }

  @Test func aSessionExpiresAtItsTimeoutInclusive() throws {
    // The ancestor keeps one of exactly 30 minutes; ours is over then.
    let test = try TestStore()
    try test.create("s")
    test.now += 30 * Self.minute - 1
    #expect(try test.get("s") != nil)
    test.now += 1
    #expect(try test.get("s") == nil)
    // A clock that goes back is no trap.
    test.now -= 60 * Self.minute
    #expect(try test.get("s") != nil)
  }

  @Test func stateIsSetReadAndRemoved() throws {
    let test = try TestStore()
    try test.create("s")
    func get(_ key: String) throws -> String? {
      try test.read { try $0.getSessionState("s", key, owner: .server)?.string }
    }
    func remove(_ key: String) throws -> String? {
      try test.write { try $0.removeSessionState("s", key, owner: .server)?.string }
    }
    try test.write { _ = try $0.setSessionState("s", "k", #"{"n":1.0}"#, owner: .server) }
    #expect(try get("k") == #"{"n":1.0}"#)
    try test.write { _ = try $0.setSessionState("s", "k", "2", owner: .server) }
    #expect(try get("k") == "2")
    #expect(try remove("k") == "2")
    #expect(try remove("k") == nil)
    #expect(try get("k") == nil)
    // A stored null is a value.
    try test.write { _ = try $0.setSessionState("s", "null", "null", owner: .server) }
    #expect(try get("null") == "null")
    #expect(try remove("null") == "null")
  }

  @Test func writingStateTouchesEvenWhenThereWasNothingToRemove() throws {
    let test = try TestStore()
    try test.create("s")
    test.now += 5
    try test.write { _ = try $0.setSessionState("s", "k", "1", owner: .server) }
    #expect(try test.get("s")?.lastActivity == test.now)
    test.now += 5
    _ = try test.read { try $0.getSessionState("s", "k", owner: .server) }
    #expect(try test.get("s")?.lastActivity == test.now - 5)
    try test.write { _ = try $0.removeSessionState("s", "none", owner: .server) }
    #expect(try test.get("s")?.lastActivity == test.now)
  }

  @Test func tenKeysSetAtOnceAreAllThere() throws {
    // The ancestor runs them in parallel; here two processes take turns, and then ten share a group.
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    let other = try TestStore(directory.file("a.db"), clock: test.clock)
    try test.create("s")
    for index in 0..<10 {
      let store = index % 2 == 0 ? test : other
      try store.write { _ = try $0.setSessionState("s", "k\(index)", "1", owner: .server) }
    }
    try test.write { store in
      for index in 10..<20 { _ = try store.setSessionState("s", "k\(index)", "1", owner: .server) }
    }
    #expect(try other.read { try $0.sessionStateKeys("s", owner: .server) } == (0..<20).map { "k\($0)" })
  }

  @Test func theStateOfAnUnknownSessionIsAnErrorInEveryCall() throws {
    // The ancestors' backends disagree here: some answer null.
    let test = try TestStore()
    let error = StoreError.sessionNotFound("none")
    test.refuses(error) { _ = try $0.setSessionState("none", "k", "1", owner: .server) }
    test.refuses(error) { _ = try $0.getSessionState("none", "k", owner: .server) }
    test.refuses(error) { _ = try $0.removeSessionState("none", "k", owner: .server) }
    test.refuses(error) { _ = try $0.updateSession("none", SessionUpdate(), owner: .server) }
  }

  @Test func sessionsDoNotShareTheirState() throws {
    let test = try TestStore()
    for id in ["a", "b"] {
      try test.create(id)
      try test.write {
        _ = try $0.setSessionState(id, "who", JSONText(stringLiteral: "\"\(id)\""), owner: .server)
      }
    }
    try test.write { _ = try $0.deleteSession("a", owner: .server, deleteTasks: false) }
    #expect(try test.get("b")?.state?.string == #"{"who":"b"}"#)
  }

  @Test func eventsGetRisingIdsAndComeBackInOrder() throws {
    let test = try TestStore()
    try test.create("s")
    for index in 1...5 { #expect(try test.event("s", "\(index)") == Int64(index)) }
    #expect(try test.events("s", after: 0).ids == [1, 2, 3, 4, 5])
    #expect(try test.events("s", after: 2).ids == [3, 4, 5])
    #expect(try test.events("s", after: 5).ids == [])
    #expect(try test.recent("s", limit: 2).ids == [4, 5])
    #expect(try test.write { try $0.deleteEvents("s", before: 3, owner: .server) } == 2)
    #expect(try test.events("s", after: 0).ids == [3, 4, 5])
    #expect(try test.read { try $0.countEvents(nil, owner: .server) } == 3)
  }

  @Test func eventsOfAnUnknownSessionAreAnErrorAndNotAnEmptyList() throws {
    let test = try TestStore()
    let error = StoreError.sessionNotFound("none")
    test.refuses(error) { _ = try $0.storeEvent("none", NewEvent(data: .null), owner: .server) }
    test.refuses(error) {
      _ = try $0.readEvents("none", after: 0, streamID: nil, limit: 1, owner: .server) { _ in true }
    }
    test.refuses(error) {
      _ = try $0.readRecentEvents("none", streamID: nil, limit: 1, owner: .server) { _ in true }
    }
    test.refuses(error) { _ = try $0.deleteEvents("none", before: 1, owner: .server) }
  }

  @Test func anEventTouchesItsSession() throws {
    // Not so in the ancestor.
    let test = try TestStore()
    try test.create("s")
    test.now += 29 * Self.minute
    try test.event("s")
    test.now += 29 * Self.minute
    #expect(try test.get("s") != nil)
  }

  @Test func deletingASessionTakesItsEventsAndStateAlong() throws {
    let test = try TestStore()
    try test.create("s") { $0.state = #"{"a":1}"# }
    for _ in 1...3 { try test.event("s", stream: "x") }
    try test.write { _ = try $0.deleteEvents("s", before: 2, owner: .server) }
    #expect(try test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }.events == 2)
    for table in ["sessions", "session_state", "events", "stream_losses"] { #expect(try test.rows(table) == 0) }
  }

  @Test func aTakenIdIsRefusedAndNothingIsOverwritten() throws {
    // Some backends of the ancestor overwrite the session and keep its events.
    let test = try TestStore()
    try test.create("s") { $0.state = #"{"a":1}"# }
    #expect(throws: StoreError.sessionExists("s")) { try test.create("s") }
    #expect(try test.get("s")?.state?.string == #"{"a":1}"#)
  }

  @Test func expiringByTimeKeepsWhatIsExactlyAtTheCutoff() throws {
    let test = try TestStore()
    try test.create("old")
    try test.event("old")
    test.now += 1
    try test.create("equal")
    let cutoff = test.now
    test.now += 1
    try test.create("new")
    #expect(try test.write { try $0.expireSessions(olderThan: cutoff, limit: 100) }.removed == ["old"])
    #expect(try test.ids() == ["equal", "new"])
    #expect(try test.rows("events") == 0)
  }

  @Test func anotherHandleSeesWhatWasWritten() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    try test.create("s")
    try test.write { _ = try $0.setSessionState("s", "k", "1", owner: .server) }
    try test.event("s", "7")
    let other = try TestStore(directory.file("a.db"), clock: test.clock)
    #expect(try other.get("s")?.state?.string == #"{"k":1}"#)
    #expect(try other.events("s").ids == [1])
  }

  @Test func aFullSessionIsNeverStuck() throws {
    // The ancestor refuses at the cap and trims only above it, so that nothing can be stored any more.
    let test = try TestStore { $0.maxEventsPerSession = 10 }
    try test.create("s")
    for _ in 1...25 { try test.event("s") }
    #expect(try test.events("s").ids == Array(16...25))
  }

  @Test func filtersAreCombined() throws {
    let test = try TestStore()
    for (id, user, status) in [("1", "u", SessionStatus.active), ("2", "u", .pending), ("3", "v", .active)] {
      try test.create(id) {
        $0.userID = user
        $0.status = status
      }
    }
    #expect(try test.ids(SessionFilter(userID: "u")) == ["1", "2"])
    #expect(try test.ids(SessionFilter(status: .active)) == ["1", "3"])
    #expect(try test.ids(SessionFilter(userID: "u", status: .active)) == ["1"])
    #expect(try test.ids() == ["1", "2", "3"])
  }

  @Test func aSessionLivesADayByDefault() throws {
    let test = try TestStore { $0.inactivityTimeout = 0 }
    let session = try test.create("s")
    #expect(session.expiresAt == test.now + 24 * 60 * Self.minute)
    test.now += 24 * 60 * Self.minute - 1
    #expect(try test.get("s") != nil)
    test.now += 1
    #expect(try test.get("s") == nil)
  }
}
