import JSON
import Testing

@testable import SessionStore

/// Sessions that outlive their end, for whoever asks for such.
@Suite struct EndedSessionTests {
  private static let seeing = Owner(tenant: .unspecified, principal: .unspecified, seesEnded: true)
  private static let kept: Int64 = 10_000

  private func store(_ path: String = ":memory:", _ change: (inout Limits) -> Void = { _ in }) throws -> TestStore {
    try TestStore(path) {
      $0.retainEnded = Self.kept
      change(&$0)
    }
  }

  private func maintain(_ test: TestStore) throws {
    test.store.beginRequest()
    _ = try test.store.maintain()
  }

  private func fill(_ id: String, in test: TestStore) throws {
    try test.write { _ = try $0.setSessionState(id, "k", "1", owner: .server) }
    try test.event(id, "2")
    let entry = NewLogEntry("{}", messageID: "m", kind: .incoming, sender: "alice", receivedAt: nil)
    try test.write { _ = try $0.appendLogEntry(id, entry, deduplicate: true, owner: .server) }
  }

  /// Whether all that the session had can be read.
  private func isReadable(_ id: String, in test: TestStore, owner: Owner = seeing) throws -> Bool {
    func succeeds(_ read: (Store) throws -> Bool) throws -> Bool {
      do { return try test.read(read) } catch is StoreError { return false }
    }
    let reads: [(Store) throws -> Bool] = [
      { try $0.getSession(id, owner: owner)?.state == #"{"k":1}"# },
      { try $0.getSessionState(id, "k", owner: owner) == "1" },
      { try $0.sessionStateKeys(id, owner: owner) == ["k"] },
      { try $0.countEvents(id, owner: owner) == 1 },
      { try $0.readEvents(id, after: 0, streamID: nil, limit: 9, owner: owner) { _ in true }.newestID == 1 },
      { try $0.readRecentEvents(id, streamID: nil, limit: 9, owner: owner) { _ in true }.newestID == 1 },
      { store in
        var entries = 0
        _ = try store.loadLog(id, after: 0, kind: nil, fromCheckpoint: false, limit: 9, owner: owner) { _ in
          entries += 1
          return true
        }
        return entries == 1
      },
      { store in
        var senders: [String?] = []
        _ = try store.logParticipants(id, after: 0, limit: 9, owner: owner) { participant in
          senders.append(participant.sender)
          return true
        }
        return senders == ["alice"]
      },
      { try $0.countSessions(SessionFilter(owner: owner)) == 1 },
    ]
    let outcomes = try reads.map(succeeds)
    #expect(Set(outcomes).count == 1, "\(outcomes)")
    return outcomes.allSatisfy { $0 }
  }

  @Test(arguments: ["expire", "resolve", "invalidate", "deadline", "suspension", "older"], [false, true])
  func everyEndIsKeptUntilItsTimeIsOver(how: String, sweeps: Bool) throws {
    let test = try store { $0.maxSuspension = 500 }
    try test.create("s") { $0.ttl = 1_000 }
    try fill("s", in: test)
    let begun = test.now
    #expect(try test.get("s")?.endedAt == nil)
    #expect(try test.get("s")?.tellsEnd == true)
    var end = begun + 100
    test.now = end
    switch how {
    case "expire": try test.step("s", .expire)
    case "resolve": try test.step("s", .resolve)
    case "invalidate": try test.step("s", .invalidate)
    case "suspension":
      try test.step("s", .suspend)
      end += 500
    case "older": try test.write { _ = try $0.expireSessions(olderThan: test.now, limit: 9) }
    default: end = begun + 1_000
    }
    let status: SessionStatus = how == "resolve" ? .resolved : how == "invalidate" ? .invalidated : .expired
    test.now = end
    var records: [String] = []
    for now in [end, end + 1, end + Self.kept - 1] {
      test.now = now
      if sweeps { try maintain(test) }
      #expect(try isReadable("s", in: test))
      let session = try test.read { try $0.getSession("s", owner: Self.seeing) }
      #expect(session?.status == status)
      #expect(session?.endedAt == end)
      records.append("\(session!)")
      // Whoever does not ask sees what there was to see without the option.
      #expect(try test.get("s")?.status == (how == "invalidate" ? .invalidated : nil))
      #expect(try !isReadableWithoutAsking(test))
      test.refuses(
        how == "invalidate"
          ? .invalidSessionStatus(current: .invalidated, requested: "set state") : .sessionExpired("s")
      ) { _ = try $0.setSessionState("s", "k", "2", owner: Self.seeing) }
    }
    #expect(Set(records).count == 1)
    test.now = end + Self.kept
    #expect(try !isReadable("s", in: test))
    #expect(try test.get("s") == nil)
    #expect(try test.ids(SessionFilter(owner: Self.seeing)) == [])
    try maintain(test)
    for table in ["sessions", "session_state", "events", "log_entries", "log_participants"] {
      #expect(try test.rows(table) == 0, "\(table)")
    }
    #expect(test.store.counters.endedSessions == 0)
  }

  private func isReadableWithoutAsking(_ test: TestStore) throws -> Bool {
    do { return try test.read { try $0.getSessionState("s", "k", owner: .server) } != nil } catch is StoreError {
      return false
    }
  }

  @Test func onceEndedItStaysEndedWhateverTheClockSays() throws {
    let test = try store()
    try test.create("s") { $0.ttl = 1_000 }
    test.now += 2_000
    try maintain(test)
    test.now -= 1_500
    #expect(try test.get("s") == nil)
    #expect(try test.read { try $0.getSession("s", owner: Self.seeing) }?.status == .expired)
  }

  @Test func anEndIsToldOnceInTheTrailAndOnceByTheSweep() throws {
    let test = try store()
    try test.create("s") { $0.ttl = 1_000 }
    test.now += 1_000
    func sweep() throws -> [String] { try test.write { try $0.expireSessions(olderThan: nil, limit: 9) }.removed }
    #expect(try sweep() == ["s"])
    #expect(try sweep() == [])
    test.now += Self.kept
    #expect(try sweep() == [])
    #expect(try test.rows("sessions") == 0)
    var types: [String] = []
    _ = try test.read {
      try $0.listAuditEvents(AuditFilter(), after: 0, limit: 99) { event in
        types.append(event.type)
        return true
      }
    }
    #expect(types == ["created", "expired"])
  }

  @Test func anIdThatIsUsedAgainTakesThePlaceOfTheKeptOne() throws {
    let test = try store()
    try test.create("s")
    try fill("s", in: test)
    try test.step("s", .resolve)
    let new = try test.create("s")
    #expect(new.lastEventID == 0)
    #expect(new.endedAt == nil)
    #expect(try test.rows("sessions") == 1)
    #expect(try test.rows("events") == 0)
    #expect(test.store.counters.endedSessions == 0)
    // An invalidated one gives its id away only when it is gone.
    try test.step("s", .invalidate)
    test.refuses(.sessionExists("s")) { store in
      var new = NewSession()
      new.sessionID = "s"
      _ = try store.createSession(new, owner: .server)
    }
    test.now += Self.kept
    try test.create("s")
  }

  @Test func deletingDeletesAKeptOneToo() throws {
    let test = try store()
    try test.create("s", owner: .principal("alice"))
    try fill("s", in: test)
    try test.step("s", .resolve)
    let deleted = try test.write { try $0.deleteSession("s", owner: .principal("alice"), deleteTasks: false) }
    #expect(deleted == DeletedSession(deleted: true, events: 1, tasks: 0, logEntries: 1))
    try test.create("t") { $0.userID = "u" }
    try test.step("t", .expire)
    let user = try test.write { try $0.deleteUserData(UserSelector(userID: "u", tenantID: nil, principal: nil)) }
    #expect(user.sessions == 1)
    for table in ["sessions", "events", "log_entries"] { #expect(try test.rows(table) == 0) }
  }

  @Test func whoeverDoesNotOwnItDoesNotSeeItsEnd() throws {
    let test = try store()
    try test.create("s", owner: .principal("alice"))
    try fill("s", in: test)
    try test.step("s", .resolve)
    let alice = Owner(tenant: .unspecified, principal: .named("alice"), seesEnded: true)
    let bob = Owner(tenant: .unspecified, principal: .named("bob"), seesEnded: true)
    #expect(try isReadable("s", in: test, owner: alice))
    #expect(try test.read { try $0.getSession("s", owner: bob) } == nil)
    test.refuses(.sessionNotFound("s")) { _ = try $0.getSessionState("s", "k", owner: bob) }
    #expect(try test.ids(SessionFilter(owner: bob)) == [])
    #expect(try test.count(SessionFilter(owner: bob)) == 0)
    #expect(try test.read { try $0.countEvents(nil, owner: bob) } == 0)
  }

  @Test func keptSessionsTakeNoPlaceFromLivingOnesAndAreBounded() throws {
    let test = try store {
      $0.maxSessions = 3
      $0.maxSessionsPerUser = 3
    }
    for number in 1...12 {
      test.now += 1
      try test.create("s\(number)") { $0.userID = "u" }
      try test.step("s\(number)", .resolve)
      #expect(try test.rows("sessions") <= 6)
    }
    for id in ["a", "b", "c"] { try test.create(id) }
    test.refuses(.maxSessionsReached(limit: 3)) { _ = try $0.createSession(NewSession(), owner: .server) }
    // The longest ended went first.
    #expect(try test.ids(SessionFilter(owner: Self.seeing)) == ["s10", "s11", "s12", "a", "b", "c"])
    #expect(test.store.sessionRows == 3)
    // One that lived goes over to the kept ones.
    test.now += 1
    try test.step("a", .expire)
    try test.create("d")
    #expect(try test.ids(SessionFilter(owner: Self.seeing)) == ["s11", "s12", "a", "b", "c", "d"])
    // All of them end at once.
    for id in ["b", "c", "d"] { try test.step(id, .resolve) }
    try maintain(test)
    #expect(try test.rows("sessions") == 3)
  }

  @Test func itIsTheOptionOfNowThatCounts() throws {
    let directory = try TemporaryDirectory()
    let test = try store(directory.file("s.db"))
    for id in ["resolved", "invalidated"] {
      try test.create(id) { ($0.ttl, $0.inactivityTimeout) = (0, 0) }
    }
    try test.step("resolved", .resolve)
    try test.step("invalidated", .invalidate)
    test.now += 5_000
    try test.reopen { $0.retainEnded = 5_001 }
    #expect(try test.ids(SessionFilter(owner: Self.seeing)) == ["resolved", "invalidated"])
    try test.reopen { $0.retainEnded = 5_000 }
    #expect(try test.ids(SessionFilter(owner: Self.seeing)) == [])
    #expect(try test.get("invalidated") == nil)
    try test.reopen()
    #expect(try test.ids(SessionFilter(owner: Self.seeing)) == [])
    // Without it they count until they are swept, and make room at once.
    try test.reopen { $0.maxSessions = 2 }
    try test.create("new")
    #expect(try test.ids() == ["new"])
    #expect(try test.problems() == [])
  }

  @Test func oneThatIsBeingRemovedIsSeenByNobody() throws {
    let directory = try TemporaryDirectory()
    let test = try store(directory.file("s.db"))
    try test.create("s")
    try test.write { store in
      // Each in a row of its own: its neighbours are of another stream.
      for number in 0..<300 {
        _ = try store.storeEvent("s", NewEvent(data: .null, streamID: "\(number % 2)"), owner: .server)
      }
    }
    try test.step("s", .resolve)
    test.now += Self.kept
    test.store.beginRequest()
    _ = try test.store.sweepSlice()
    #expect(try (1..<300).contains(test.rows("events")))
    #expect(try test.rows("sessions") == 1)
    // Another process may keep sessions for longer, or its clock be behind.
    try test.reopen { $0.retainEnded = 1 << 53 }
    #expect(try test.read { try $0.getSession("s", owner: Self.seeing) } == nil)
    #expect(try test.ids(SessionFilter(owner: Self.seeing)) == [])
    #expect(try test.problems() == [])
    try maintain(test)
    #expect(try test.rows("sessions") == 0)
  }

  @Test func withoutTheOptionNothingIsKept() throws {
    let test = try TestStore()
    for (id, step) in [("e", Store.LifecycleStep.expire), ("r", .resolve), ("i", .invalidate)] {
      try test.create(id) { $0.userID = "u" }
      let session = try test.step(id, step)
      #expect(!session.tellsEnd)
    }
    #expect(try test.ids(SessionFilter(owner: Self.seeing)) == ["i"])
    test.refuses(.sessionExpired("r")) { _ = try $0.getSessionState("r", "k", owner: Self.seeing) }
    test.refuses(.invalidSessionStatus(current: .invalidated, requested: "read")) {
      _ = try $0.getSessionState("i", "k", owner: Self.seeing)
    }
    // What has expired counts until it is swept, as ever.
    #expect(test.store.sessionRows == 3)
    try maintain(test)
    #expect(try test.ids() == ["i"])
    #expect(try test.rows("sessions") == 1)
    // The deadline of an invalidated one stays what it was.
    test.now += 24 * 3_600_000
    try maintain(test)
    #expect(try test.rows("sessions") == 0)
  }

  @Test func dumpsCarryTheEnd() throws {
    let test = try store()
    try test.create("s")
    try fill("s", in: test)
    try test.step("s", .resolve)
    var text: [UInt8] = []
    try test.store.read { try test.store.writeDump { lines, _ in text += lines } }
    let other = try store()
    other.now = test.now
    _ = try other.store.load { loader in
      for line in text.split(separator: UInt8(ascii: "\n")) { try loader.load(line) }
    }
    #expect(try isReadable("s", in: other))
    #expect(other.store.counters.endedSessions == 1)
    // What an older program ended may be half gone.
    let older = String(decoding: text, as: UTF8.self).replacing(#""schema":3"#, with: #""schema":2"#)
      .replacing(/,"ended_at":\d+/, with: "").replacing(#""status":"resolved""#, with: #""status":"expired""#)
    let third = try store()
    third.now = test.now
    _ = try third.store.load { loader in
      for line in older.utf8.split(separator: UInt8(ascii: "\n")) { try loader.load(ArraySlice(line)) }
    }
    #expect(try !isReadable("s", in: third))
    try maintain(third)
    #expect(try third.rows("sessions") == 0)
  }
}
