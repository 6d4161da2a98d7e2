import JSON
import Testing

@testable import SessionStore

@Suite struct EventTests {
  @Test func whatIsStoredComesBack() throws {
    let test = try TestStore()
    try test.create("s")
    let event = NewEvent(data: #"{"n":1.0}"#, eventType: "progress", streamID: "x", retry: 3, timestamp: 5)
    let stored = try test.write { try $0.storeEvent("s", event, owner: .server) }
    #expect(stored.id == 1)
    #expect(stored.timestamp == 5)
    try test.event("s", "null")
    var seen: [String] = []
    _ = try test.read {
      try $0.readEvents("s", after: 0, streamID: nil, limit: 9, owner: .server) { row in
        let data = row.withData { span in String(decoding: span.indices.map { span[$0] }, as: UTF8.self) }
        let retry = row.retry.map(String.init) ?? "-"
        seen.append("\(row.id) \(row.streamID ?? "-") \(row.eventType) \(row.timestamp) \(retry) \(data)")
        return true
      }
    }
    #expect(seen == [#"1 x progress 5 3 {"n":1.0}"#, "2 - message \(test.now) - null"])
  }

  @Test func pagesTellWhereTheNextOneBegins() throws {
    let test = try TestStore()
    try test.create("s")
    for index in 1...7 { try test.event("s", stream: index % 2 == 0 ? "even" : nil) }
    var (ids, page) = try test.events("s", limit: 3)
    #expect(ids == [1, 2, 3])
    #expect(page == EventPage(nextAfter: 3, newestID: 7, hasMore: true, gap: nil, cursorAhead: false))
    (ids, page) = try test.events("s", after: 3, limit: 4)
    #expect(ids == [4, 5, 6, 7])
    #expect(page == EventPage(nextAfter: 7, newestID: 7, hasMore: false, gap: nil, cursorAhead: false))
    // A stream's reader is told how far the others were looked through, too.
    (ids, page) = try test.events("s", stream: "even", limit: 2)
    #expect(ids == [2, 4])
    #expect(page.nextAfter == 4)
    #expect(page.hasMore)
    (ids, page) = try test.events("s", after: 4, stream: "even", limit: 1)
    #expect(ids == [6])
    #expect(page.nextAfter == 7)
    #expect(!page.hasMore)
    (ids, page) = try test.events("s", stream: "none")
    #expect(ids == [])
    #expect(page.nextAfter == 7)
  }

  @Test func aCursorAheadOfTheNewestIsSaidToBe() throws {
    let test = try TestStore()
    try test.create("s")
    try test.event("s")
    #expect(try test.events("s", after: 1).page.cursorAhead == false)
    let page = try test.events("s", after: 2).page
    #expect(page == EventPage(nextAfter: 1, newestID: 1, hasMore: false, gap: nil, cursorAhead: true))
    let start = try test.read { try $0.startReading("s", after: 9, streamID: nil, owner: .server) }
    #expect(start.cursorAhead)
    #expect(start.newestID == 1)
  }

  @Test func recentEventsComeOldestFirst() throws {
    let test = try TestStore()
    try test.create("s")
    for index in 1...9 { try test.event("s", stream: index % 3 == 0 ? "third" : nil) }
    #expect(try test.recent("s", limit: 3).ids == [7, 8, 9])
    #expect(try test.recent("s", limit: 100).ids == Array(1...9))
    #expect(try test.recent("s", stream: "third", limit: 2).ids == [6, 9])
    #expect(try test.recent("s", stream: "third", limit: 100).ids == [3, 6, 9])
    #expect(try test.recent("s", stream: "none", limit: 5).ids == [])
    try test.write { _ = try $0.deleteEvents("s", before: 7, owner: .server) }
    let (ids, page) = try test.recent("s", stream: "third", limit: 5)
    #expect(ids == [9])
    // Without a cursor nothing is missed.
    #expect(page.gap == nil)
  }

  @Test func idsAreNeverUsedTwice() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    try test.create("s")
    for _ in 1...3 { try test.event("s") }
    #expect(try test.write { try $0.deleteEvents("s", before: 99, owner: .server) } == 3)
    #expect(try test.event("s") == 4)
    try test.reopen()
    #expect(try test.event("s") == 5)
    #expect(try test.events("s").ids == [4, 5])
    #expect(try test.get("s")?.lastEventID == 5)
  }

  @Test func severalEventsAreStoredTogetherOrNotAtAll() throws {
    let test = try TestStore {
      $0.maxEventsPerSession = 5
      $0.eventOverflow = .error
    }
    try test.create("s")
    func store(_ count: Int) throws -> [Int64] {
      let stored = try test.write { store in
        try store.storeEvents("s", (0..<count).map { _ in NewEvent(data: .null) }, owner: .server)
      }
      return [stored.firstID, stored.lastID]
    }
    #expect(try store(3) == [1, 3])
    #expect(throws: StoreError.maxEventsReached(limit: 5)) { try store(3) }
    #expect(try test.get("s")?.lastEventID == 3)
    #expect(try store(2) == [4, 5])
    #expect(throws: StoreError.maxEventsReached(limit: 5)) { try test.event("s") }
    // Room that is made is room.
    try test.write { _ = try $0.deleteEvents("s", before: 3, owner: .server) }
    #expect(try store(2) == [6, 7])
    #expect(try test.read { try $0.countEvents("s", owner: .server) } == 5)
  }

  @Test func aFullSessionLosesItsOldestEvents() throws {
    let test = try TestStore { $0.maxEventsPerSession = 5 }
    try test.create("s")
    for _ in 1...600 { try test.event("s") }
    #expect(try test.events("s").ids == [596, 597, 598, 599, 600])
    #expect(try test.read { try $0.countEvents("s", owner: .server) } == 5)
    #expect(try test.read { try $0.countEvents(nil, owner: .server) } == 5)
    // The rows go in bulk.
    #expect(try test.rows("events") < 5 + 256)
  }

  @Test func countsAreOfWhatTheCallerMaySee() throws {
    let test = try TestStore()
    try test.create("a", owner: .principal("alice"))
    try test.create("open")
    for id in ["a", "a", "open"] { try test.event(id) }
    func count(_ owner: Owner) throws -> Int64 { try test.read { try $0.countEvents(nil, owner: owner) } }
    #expect(try count(.server) == 3)
    #expect(try count(.principal("alice")) == 3)
    #expect(try count(.principal("bob")) == 1)
    #expect(try count(.anonymous) == 1)
  }

  // MARK: - Gaps

  @Test func aGapTellsWhatIsGone() throws {
    let test = try TestStore()
    try test.create("s")
    for _ in 1...10 { try test.event("s") }
    try test.write { _ = try $0.deleteEvents("s", before: 5, owner: .server) }
    #expect(try test.events("s", after: 0).page.gap == EventGap(dropped: 4, oldestAvailable: 5))
    #expect(try test.events("s", after: 3).page.gap == EventGap(dropped: 1, oldestAvailable: 5))
    #expect(try test.events("s", after: 4).page.gap == nil)
    #expect(try test.events("s", after: 4).ids == [5, 6, 7, 8, 9, 10])
    try test.write { _ = try $0.deleteEvents("s", before: 11, owner: .server) }
    #expect(try test.events("s", after: 9).page.gap == EventGap(dropped: 1, oldestAvailable: nil))
    #expect(try test.events("s", after: 10).page.gap == nil)
  }

  @Test(arguments: [true, false])
  func aStreamThatLostNothingHasNoGap(rowsAreDeleted: Bool) throws {
    let test = try TestStore { $0.maxEventsPerSession = rowsAreDeleted ? 0 : 4 }
    try test.create("s")
    // 1 a, 2 b, 3 a, 4 b, then c to the end
    for stream in ["a", "b", "a", "b", "c", "c", "c"] { try test.event("s", stream: stream) }
    if rowsAreDeleted { try test.write { _ = try $0.deleteEvents("s", before: 4, owner: .server) } }
    func gap(_ after: Int64, _ stream: String?) throws -> EventGap? {
      try test.events("s", after: after, stream: stream).page.gap
    }
    #expect(try gap(0, nil) == EventGap(dropped: 3, oldestAvailable: 4))
    #expect(try gap(0, "a") == EventGap(dropped: 2, oldestAvailable: nil))
    #expect(try gap(0, "b") == EventGap(dropped: 1, oldestAvailable: 4))
    #expect(try gap(0, "c") == nil)
    #expect(try gap(0, "none") == nil)
    #expect(try gap(2, "a")?.oldestAvailable == nil)
    #expect(try gap(2, "a") != nil)
    #expect(try gap(2, "b") == nil)
    #expect(try gap(3, "a") == nil)
    #expect(try test.events("s", after: 0, stream: "c").ids == [5, 6, 7])
  }

  @Test func eventsOfNoStreamCountOnlyForTheWholeSession() throws {
    let test = try TestStore()
    try test.create("s")
    try test.event("s")
    try test.event("s", stream: "a")
    try test.write { _ = try $0.deleteEvents("s", before: 2, owner: .server) }
    #expect(try test.events("s", stream: "a").page.gap == nil)
    #expect(try test.events("s").page.gap == EventGap(dropped: 1, oldestAvailable: 2))
  }

  @Test func aHigherCapBringsNothingBack() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    try test.create("s")
    for _ in 1...10 { try test.event("s", stream: "a") }
    try test.reopen { $0.maxEventsPerSession = 3 }
    // A lower cap takes effect with the next event.
    #expect(try test.events("s").ids.count == 10)
    try test.event("s", stream: "a")
    #expect(try test.events("s").ids == [9, 10, 11])
    try test.reopen { $0.maxEventsPerSession = 100 }
    try test.event("s", stream: "b")
    let (ids, page) = try test.events("s")
    #expect(ids == [9, 10, 11, 12])
    #expect(page.gap == EventGap(dropped: 8, oldestAvailable: 9))
    #expect(try test.events("s", stream: "a").page.gap == EventGap(dropped: 8, oldestAvailable: 9))
    #expect(try test.events("s", stream: "b").page.gap == nil)
    #expect(try test.read { try $0.countEvents(nil, owner: .server) } == 4)
    _ = try test.store.maintain()
    #expect(try test.rows("events") == 4)
    #expect(try test.events("s", stream: "a").page.gap == EventGap(dropped: 8, oldestAvailable: 9))
  }

  @Test func deletingIsStrictlyBelow() throws {
    let test = try TestStore()
    try test.create("s")
    for _ in 1...4 { try test.event("s") }
    func delete(_ before: Int64) throws -> Int64 {
      try test.write { try $0.deleteEvents("s", before: before, owner: .server) }
    }
    #expect(try delete(0) == 0)
    #expect(try delete(1) == 0)
    #expect(try delete(3) == 2)
    #expect(try delete(3) == 0)
    #expect(try test.events("s").ids == [3, 4])
    #expect(try delete(.max) == 2)
    #expect(try delete(.max) == 0)
  }

  // MARK: - Broadcast

  @Test func aBroadcastReachesActiveSessionsUnlessToldOtherwise() throws {
    let test = try TestStore()
    try test.create("pending") { $0.status = .pending }
    try test.create("one") { $0.userID = "u" }
    try test.create("two")
    try test.create("over") { $0.ttl = 10 }
    test.now += 10
    func send(_ filter: SessionFilter) throws -> Int {
      try test.write { try $0.broadcastEvent(NewEvent(data: .null), filter) }
    }
    #expect(try send(SessionFilter()) == 2)
    #expect(try send(SessionFilter(userID: "u")) == 1)
    #expect(try send(SessionFilter(status: .pending)) == 1)
    #expect(try send(SessionFilter(userID: "none")) == 0)
    #expect(try test.get("one")?.lastEventID == 2)
    #expect(try test.get("two")?.lastEventID == 1)
    #expect(try test.get("pending")?.lastEventID == 1)
  }

  @Test func aBroadcastThatOneSessionCannotTakeReachesNone() throws {
    let test = try TestStore {
      $0.maxEventsPerSession = 2
      $0.eventOverflow = .error
    }
    for id in ["a", "full", "z"] { try test.create(id) }
    for _ in 1...2 { try test.event("full") }
    test.refuses(.maxEventsReached(limit: 2)) { _ = try $0.broadcastEvent(NewEvent(data: .null), SessionFilter()) }
    for id in ["a", "z"] {
      #expect(try test.get(id)?.lastEventID == 0)
      #expect(try test.event(id) == 1)
    }
  }

  // MARK: - Readers

  private struct Reading {
    var ids: [Int64] = []
    var step = ""
  }

  private func read(_ reader: inout EventReader, _ test: TestStore, limit: Int = 100) throws -> Reading {
    var reading = Reading()
    let step = try test.read { store in
      try store.readOn(&reader, limit: limit) { row in
        reading.ids.append(row.id)
        return true
      }
    }
    reading.step =
      switch step {
      case .caughtUp: "caught up"
      case .more: "more"
      case .lagged(let gap): "lagged \(gap.dropped) \(gap.oldestAvailable ?? -1)"
      case .ended(let reason): reason
      }
    return reading
  }

  @Test func aReaderSeesEachEventOnce() throws {
    let test = try TestStore()
    try test.create("s")
    for _ in 1...3 { try test.event("s") }
    var fromNow = try test.read { try $0.startReading("s", after: nil, streamID: nil, owner: .server) }.reader
    var fromStart = try test.read { try $0.startReading("s", after: 0, streamID: nil, owner: .server) }.reader
    #expect(try read(&fromNow, test).ids == [])
    var reading = try read(&fromStart, test, limit: 2)
    #expect(reading.ids == [1, 2])
    #expect(reading.step == "more")
    try test.event("s")
    reading = try read(&fromStart, test, limit: 2)
    #expect(reading.ids == [3, 4])
    #expect(reading.step == "caught up")
    #expect(try read(&fromNow, test).ids == [4])
    #expect(try read(&fromNow, test).ids == [])
  }

  @Test func aReaderThatFellBehindIsToldOnce() throws {
    let test = try TestStore { $0.maxEventsPerSession = 3 }
    try test.create("s")
    var reader = try test.read { try $0.startReading("s", after: nil, streamID: nil, owner: .server) }.reader
    for _ in 1...10 { try test.event("s") }
    #expect(try read(&reader, test).step == "lagged 7 8")
    #expect(try read(&reader, test).ids == [8, 9, 10])
    #expect(try read(&reader, test).step == "caught up")
    try test.event("s")
    try test.write { _ = try $0.deleteEvents("s", before: 100, owner: .server) }
    #expect(try read(&reader, test).step == "lagged 1 -1")
    #expect(try read(&reader, test).step == "caught up")
  }

  @Test func whatTheStartTellsIsNotToldAgain() throws {
    let test = try TestStore { $0.maxEventsPerSession = 2 }
    try test.create("s")
    for _ in 1...5 { try test.event("s") }
    let start = try test.read { try $0.startReading("s", after: 1, streamID: nil, owner: .server) }
    #expect(start.gap == EventGap(dropped: 2, oldestAvailable: 4))
    var reader = start.reader
    #expect(try read(&reader, test).ids == [4, 5])
  }

  @Test func aReaderOfAStreamIsNotToldOfOthersLosses() throws {
    let test = try TestStore { $0.maxEventsPerSession = 3 }
    try test.create("s")
    var reader = try test.read { try $0.startReading("s", after: 0, streamID: "a", owner: .server) }.reader
    for _ in 1...5 { try test.event("s", stream: "b") }
    try test.event("s", stream: "a")
    #expect(try read(&reader, test).ids == [6])
    for _ in 1...5 { try test.event("s", stream: "b") }
    #expect(try read(&reader, test).step == "caught up")
  }

  @Test func aReaderEndsWithItsSession() throws {
    let test = try TestStore()
    for id in ["deleted", "expired", "invalidated", "again"] { try test.create(id) { $0.ttl = 1_000 } }
    var readers = try ["deleted", "expired", "invalidated", "again"].map { id in
      try test.read { try $0.startReading(id, after: nil, streamID: nil, owner: .server) }.reader
    }
    try test.write { _ = try $0.deleteSession("deleted", owner: .server, deleteTasks: false) }
    try test.write { _ = try $0.deleteSession("again", owner: .server, deleteTasks: false) }
    try test.create("again")
    try test.step("invalidated", .invalidate)
    #expect(try read(&readers[0], test).step == "deleted")
    #expect(try read(&readers[1], test).step == "caught up")
    test.now += 1_000
    #expect(try read(&readers[1], test).step == "expired")
    #expect(try read(&readers[3], test).step == "deleted")
    test.now -= 1_000
    #expect(try read(&readers[2], test).step == "invalidated")
  }

  @Test func aSuspendedSessionCanStillBeFollowed() throws {
    let test = try TestStore()
    try test.create("s")
    var reader = try test.read { try $0.startReading("s", after: nil, streamID: nil, owner: .server) }.reader
    try test.event("s")
    try test.step("s", .suspend)
    #expect(try read(&reader, test).ids == [1])
    test.now += 24 * 3_600_000
    #expect(try read(&reader, test).step == "caught up")
  }
}
