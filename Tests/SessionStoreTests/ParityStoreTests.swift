import JSON
import Testing

@testable import SessionStore

/// What the tests of the solo server's session store pin down: two deadlines, a bounded ring of events, replay after a
/// last seen id. Where our contract decides otherwise, the name says so.
@Suite struct ParityStoreTests {
  private static let inactivity: Int64 = 1_800_000
  private static let absolute: Int64 = 14_400_000

  private func store(events: Int = 256) throws -> TestStore {
    try TestStore {
      $0.inactivityTimeout = Self.inactivity
      $0.sessionTTL = Self.absolute
      $0.maxEventsPerSession = events
    }
  }

  @Test func eachSessionGetsAnIdOfItsOwn() throws {
    let test = try store()
    let ids = try (0..<10).map { _ in try test.write { try $0.createSession(NewSession(), owner: .server) }.sessionID }
    #expect(Set(ids).count == 10)
    #expect(try test.get(ids[0])?.sessionID == ids[0])
    #expect(try test.count() == 10)
  }

  @Test func itIsOverAfterInactivityAndThenGone() throws {
    let test = try store()
    try test.create("s")
    test.now += Self.inactivity - 1
    #expect(try test.get("s") != nil)
    test.now += 1
    #expect(try test.get("s") == nil)
    // The ancestor removes it at once; here a sweep does, and nobody can tell but by the error's name.
    test.refuses(.sessionExpired("s")) { _ = try $0.touchSession("s", owner: .server) }
    #expect(try test.write { try $0.expireSessions(olderThan: nil, limit: 10) }.removed == ["s"])
    test.refuses(.sessionNotFound("s")) { _ = try $0.touchSession("s", owner: .server) }
  }

  @Test func theAbsoluteDeadlineWinsOverActivity() throws {
    let test = try store()
    try test.create("s")
    let end = test.now + Self.absolute
    while test.now + Self.inactivity / 2 < end {
      test.now += Self.inactivity / 2
      try test.write { _ = try $0.touchSession("s", owner: .server) }
    }
    test.now = end - 1
    #expect(try test.write { try $0.getSession("s", owner: .server, touch: true) }?.lastActivity == end - 1)
    test.now = end
    #expect(try test.get("s") == nil)
  }

  @Test func aReadTouchesOnlyWhenAsked() throws {
    // Every read does in the ancestor.
    let test = try store()
    let created = try test.create("s")
    test.now += 1_000
    #expect(try test.get("s")?.lastActivity == created.lastActivity)
    #expect(try test.write { try $0.getSession("s", owner: .server, touch: true) }?.lastActivity == test.now)
  }

  @Test func deletingTellsWhetherThereWasSomething() throws {
    let test = try store()
    try test.create("s")
    try test.create("over") { $0.ttl = 1 }
    test.now += 1
    #expect(try test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }.deleted)
    #expect(try !test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }.deleted)
    // One that expired and is not swept counts as present.
    #expect(try test.write { try $0.deleteSession("over", owner: .server, deleteTasks: false) }.deleted)
  }

  @Test func aSweepRemovesOnlyWhatIsOver() throws {
    let test = try store()
    try test.create("old")
    test.now += Self.inactivity
    try test.create("new")
    var swept = try test.store.sweepSlice()
    #expect(swept.sessions == 1)
    while swept.hasMore {
      swept = try test.store.sweepSlice()
      #expect(swept.sessions == 0)
    }
    #expect(try test.ids() == ["new"])
    #expect(try test.rows("sessions") == 1)
    #expect(try test.store.sweepSlice().sessions == 0)
  }

  @Test func publishedEventsCountFrom1() throws {
    let test = try store()
    try test.create("s")
    #expect(try (1...3).map { _ in try test.event("s") } == [1, 2, 3])
  }

  @Test func aFollowerGetsWhatIsPublishedAndNobodyElseIsNeeded() throws {
    let test = try store()
    try test.create("s")
    try test.event("s")
    var reader = try test.read { try $0.startReading("s", after: nil, streamID: nil, owner: .server) }.reader
    try test.event("s", #""live""#)
    var seen: [Int64] = []
    _ = try test.read { store in
      try store.readOn(&reader, limit: 10) { row in
        seen.append(row.id)
        return true
      }
    }
    #expect(seen == [2])
    #expect(try test.events("s").ids == [1, 2])
  }

  @Test func ofThreeHundredAndSixTheLast256AreKept() throws {
    let test = try store()
    try test.create("s")
    try test.write { store in
      for _ in 1...306 { _ = try store.storeEvent("s", NewEvent(data: .null), owner: .server) }
    }
    #expect(try test.events("s", after: 50).ids == Array(51...306))
    #expect(try test.events("s", after: 50).page.gap == nil)
    #expect(try test.recent("s", limit: 1_000).ids == Array(51...306))
  }

  @Test func aFollowerThatLostSomethingIsToldHowMuch() throws {
    let test = try store()
    try test.create("s")
    try test.write { store in
      for _ in 1...300 { _ = try store.storeEvent("s", NewEvent(data: .null), owner: .server) }
    }
    let (ids, page) = try test.events("s", after: 1)
    #expect(ids == Array(45...300))
    #expect(page.gap == EventGap(dropped: 43, oldestAvailable: 45))
  }

  @Test func resumingGivesWhatCameAfterTheLastSeen() throws {
    let test = try store()
    try test.create("s")
    for _ in 1...5 { try test.event("s") }
    #expect(try test.events("s", after: 2).ids == [3, 4, 5])
    #expect(try test.events("s", after: 5).ids == [])
    // From another life of the store, as it seems: said, and not replayed.
    #expect(try test.events("s", after: 6).ids == [])
    #expect(try test.events("s", after: 6).page.cursorAhead)
  }

  @Test func zeroMeansFromTheBeginning() throws {
    // In the ancestor 0 replays nothing; here a reader that wants only what is new names no cursor.
    let test = try store()
    try test.create("s")
    for _ in 1...3 { try test.event("s") }
    #expect(try test.events("s", after: 0).ids == [1, 2, 3])
    let start = try test.read { try $0.startReading("s", after: nil, streamID: nil, owner: .server) }
    #expect(start.newestID == 3)
    #expect(start.gap == nil)
  }

  @Test func idsGoOnAfterARestart() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    try test.create("s")
    for _ in 1...3 { try test.event("s") }
    try test.reopen()
    #expect(try test.event("s") == 4)
  }
}
