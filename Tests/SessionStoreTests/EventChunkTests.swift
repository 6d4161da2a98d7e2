import Database
import JSON
import SQLite
import Testing

@testable import SessionStore

/// Several events in one row: what is seen of them is what would be seen of as many rows.
@Suite(.ofFiles) struct EventChunkTests {
  private func event(
    _ data: String, type: String? = nil, stream: String? = nil, retry: Int64? = nil, at timestamp: Int64? = nil
  ) throws -> NewEvent {
    NewEvent(data: try JSONText(data), eventType: type, streamID: stream, retry: retry, timestamp: timestamp)
  }

  /// A store with one session, that has all of these events in one group.
  private func store(_ events: [NewEvent], limits: (inout Limits) -> Void = { _ in }) throws -> TestStore {
    let test = try TestStore(limits: limits)
    try test.create("s")
    try test.write { store in for event in events { _ = try store.storeEvent("s", event, owner: .server) } }
    return test
  }

  private func numbers(_ range: ClosedRange<Int>, stream: String? = nil) throws -> [NewEvent] {
    try range.map { try event("\($0)", stream: stream) }
  }

  private struct Seen: Equatable {
    var id: Int64
    var timestamp: Int64
    var type: String
    var stream: String?
    var retry: Int64?
    var data: String
  }

  private func seen(
    _ test: TestStore, after: Int64 = 0, stream: String? = nil, limit: Int = 10_000
  ) throws -> (events: [Seen], page: EventPage) {
    var events: [Seen] = []
    let page = try test.read {
      try $0.readEvents("s", after: after, streamID: stream, limit: limit, owner: .server) { row in
        var data: [UInt8] = []
        row.appendData(to: &data)
        #expect(row.withData { $0.count } == data.count)
        events.append(
          Seen(
            id: row.id, timestamp: row.timestamp, type: row.eventType, stream: row.streamID, retry: row.retry,
            data: String(decoding: data, as: UTF8.self)))
        return true
      }
    }
    return (events, page)
  }

  // MARK: - Which events share a row

  @Test func theEventsOfAGroupShareARow() throws {
    let test = try store(try numbers(1...100))
    #expect(try test.rows("events") == 1)
    #expect(try seen(test).events.map(\.data) == (1...100).map { "\($0)" })
    #expect(try test.rows("events WHERE first_id = 1 AND id = 100 AND times IS NULL") == 1)
    // A later group adds to no row that is there.
    try test.event("s", "101")
    #expect(try test.rows("events") == 2)
    #expect(try test.rows("events WHERE first_id IS NULL AND data = '101'") == 1)
  }

  @Test func eachKeepsItsTime() throws {
    let times: [Int64] = [50, 50, 51, 7, -3, 1_795_210_000_000, 9, 10, 59, 60]
    let test = try store(try times.map { try event("0", at: $0) })
    #expect(try test.rows("events") == 1)
    #expect(try seen(test).events.map(\.timestamp) == times)
    #expect(try test.store.storedEvents().map(\.timestamp) == times)
  }

  @Test func whatDiffersBeginsARow() throws {
    let test = try store([
      try event("1", stream: "a"), try event("2", stream: "a"), try event("3", stream: "b"), try event("4"),
      try event("5", type: "message"), try event("6", type: "ping"), try event("7", type: "ping", retry: 0),
      try event("8", type: "ping", retry: 0), try event("9", type: "ping", retry: 1),
      // The same letter, spelled in two ways, is not the same stream.
      try event("10", stream: "\u{E9}"), try event("11", stream: "e\u{301}"),
    ])
    #expect(try test.rows("events") == 8)
    let found = try seen(test).events
    #expect(found.map(\.id) == Array(1...11))
    #expect(found.map(\.stream) == ["a", "a", "b", nil, nil, nil, nil, nil, nil, "\u{E9}", "e\u{301}"])
    #expect(found.map { Array(($0.stream ?? "").utf8).count }.suffix(2) == [2, 3])
    #expect(found.map(\.retry) == [nil, nil, nil, nil, nil, nil, 0, 0, 1, nil, nil])
    #expect(found[3...5].map(\.type) == ["message", "message", "ping"])
  }

  @Test func aRowIsBounded() throws {
    let text = "\"" + String(repeating: "x", count: 998) + "\""
    let test = try store(try (0..<100).map { _ in try event(text) })
    #expect(try test.rows("events WHERE length(data) > \(PayloadLines.maxBytes)") == 0)
    #expect(try test.rows("events") == 7)
    let many = try store(try numbers(1...3_000), limits: { $0.maxEventsPerSession = 0 })
    #expect(try many.rows("events WHERE id - first_id >= \(PayloadLines.maxCount)") == 0)
    #expect(try many.rows("events") == 3)
    #expect(try seen(many).events.map(\.id) == Array(1...3_000))
  }

  @Test func whatIsLargeOrHasANewlineStandsAlone() throws {
    let large = "\"" + String(repeating: "x", count: PayloadLines.maxBytes) + "\""
    let texts = ["1", "2", large, "3", "4", "[5,\n6]", "7", "8", "[\n]", "[\n\n]", "\u{20}9", "\r10"]
    let test = try store(try texts.map { try event($0) })
    #expect(try seen(test).events.map(\.data) == texts.map { try! JSONText($0) }.map(\.string))
    #expect(try test.rows("events WHERE first_id IS NULL") == 4)
    #expect(try test.rows("events") == 8)
  }

  @Test func sessionsTakeTurns() throws {
    let test = try TestStore()
    for id in ["s", "t"] { try test.create(id) }
    try test.write { store in
      for index in 0..<40 {
        _ = try store.storeEvent(index % 2 == 0 ? "s" : "t", NewEvent(data: .null), owner: .server)
      }
    }
    #expect(try test.rows("events") == 2)
    #expect(try test.events("s").ids == Array(1...20))
    #expect(try test.events("t").ids == Array(1...20))
  }

  @Test func whatWaitsIsBounded() throws {
    let test = try TestStore { $0.maxSessions = 0 }
    let ids = (0..<3_000).map { "s\($0)" }
    try test.write { store in
      for id in ids {
        var new = NewSession()
        new.sessionID = id
        new.status = .active
        _ = try store.createSession(new, owner: .server)
      }
    }
    let text = try JSONText("\"" + String(repeating: "x", count: 5_000) + "\"")
    try test.write { store in
      for id in ids + ids {
        _ = try store.storeEvent(id, NewEvent(data: text), owner: .server)
        #expect(store.openChunks.count <= 1_024)
        #expect(store.openChunks.bytes <= (1 << 20) + 5_002)
      }
    }
    #expect(try test.store.storedEvents().count == 6_000)
    #expect(test.store.openChunks.count == 0)
  }

  // MARK: - While the group is open

  @Test func aGroupReadsWhatItHasWritten() throws {
    let test = try store(try numbers(1...3))
    try test.write { store in
      for number in 4...6 { _ = try store.storeEvent("s", try event("\(number)", stream: "a"), owner: .server) }
      var ids: [Int64] = []
      _ = try store.readEvents("s", after: 2, streamID: nil, limit: 10, owner: .server) {
        ids.append($0.id)
        return true
      }
      #expect(ids == [3, 4, 5, 6])
      for number in 7...8 { _ = try store.storeEvent("s", try event("\(number)", stream: "a"), owner: .server) }
      ids = []
      _ = try store.readRecentEvents("s", streamID: "a", limit: 3, owner: .server) {
        ids.append($0.id)
        return true
      }
      #expect(ids == [6, 7, 8])
      _ = try store.storeEvent("s", try event("9"), owner: .server)
      #expect(try store.deleteEvents("s", before: 9, owner: .server) == 8)
    }
    #expect(try test.events("s").ids == [9])
    #expect(try test.rows("events") == 1)
  }

  @Test func whatIsTakenBackIsGone() throws {
    let test = try store(try numbers(1...2))
    struct Stop: Error {}
    try test.write { store in
      _ = try store.storeEvent("s", try event("3"), owner: .server)
      #expect(throws: Stop.self) {
        try store.atomically {
          _ = try store.storeEvents("s", [try event("4"), try event("5")], owner: .server)
          throw Stop()
        }
      }
      _ = try store.storeEvent("s", try event("6"), owner: .server)
    }
    #expect(try seen(test).events.map(\.data) == ["1", "2", "3", "6"])
    try test.store.beginGroup(waiting: 0)
    _ = try test.store.storeEvents("s", [try event("7"), try event("8")], owner: .server)
    test.store.abandonGroup()
    try test.event("s", "9")
    #expect(try seen(test).events.map(\.data) == ["1", "2", "3", "6", "9"])
  }

  @Test func aSessionThatGoesTakesAllAlong() throws {
    let test = try store(try numbers(1...2))
    try test.write { store in
      _ = try store.storeEvents("s", [try event("3"), try event("4")], owner: .server)
      #expect(try store.deleteSession("s", owner: .server, deleteTasks: false).events == 4)
      var new = NewSession()
      new.sessionID = "s"
      new.status = .active
      _ = try store.createSession(new, owner: .server)
      _ = try store.storeEvents("s", [try event("5"), try event("6")], owner: .server)
    }
    #expect(try seen(test).events.map(\.data) == ["5", "6"])
    #expect(try test.rows("events") == 1)
  }

  // MARK: - Reading

  @Test func everyPageIsThatOfSingleRows() throws {
    let streams: [String?] = [nil, "a", "b"]
    let events = try (1...60).map { try event("\($0)", stream: streams[$0 / 7 % 3], at: Int64($0 / 3)) }
    let test = try store(events)
    let single = try TestStore()
    try single.create("s")
    for event in events { try single.write { _ = try $0.storeEvent("s", event, owner: .server) } }
    #expect(try single.rows("events") == 60)
    #expect(try test.rows("events") == 9)
    for floor in [0, 1, 6, 7, 20, 29] as [Int64] {
      for store in [test, single] {
        _ = try store.write { try $0.deleteEvents("s", before: floor + 1, owner: .server) }
      }
      for stream in streams {
        for limit in [1, 2, 7, 8, 60] {
          for after in 0...61 as ClosedRange<Int64> {
            let (one, other) = (
              try seen(test, after: after, stream: stream, limit: limit),
              try seen(single, after: after, stream: stream, limit: limit)
            )
            #expect(one.events == other.events)
            #expect(one.page == other.page)
          }
          let (one, other) = (
            try test.recent("s", stream: stream, limit: limit), try single.recent("s", stream: stream, limit: limit)
          )
          #expect(one.ids == other.ids)
          #expect(one.page == other.page)
        }
      }
    }
  }

  @Test func aRowThatLacksLinesIsDamage() throws {
    for sql in [
      "UPDATE events SET data = '1'", "UPDATE events SET id = 9", "UPDATE events SET first_id = 7",
      "UPDATE events SET data = ''",
    ] {
      let test = try store(try numbers(1...3))
      try test.store.file!.connection.execute(sql + "; UPDATE sessions SET last_event_id = 9")
      #expect(throws: DatabaseError.self, "\(sql)") { try self.seen(test) }
    }
  }

  // MARK: - Deleting

  @Test func whatIsEvictedStaysUntilItsRowIs() throws {
    let test = try TestStore { $0.maxEventsPerSession = 10 }
    try test.create("s")
    func fill(_ range: ClosedRange<Int>) throws {
      try test.write { store in
        for event in try numbers(range, stream: "a") { _ = try store.storeEvent("s", event, owner: .server) }
      }
    }
    try fill(1...300)
    try fill(301...305)
    #expect(try seen(test).events.map(\.id) == Array(296...305))
    #expect(try test.rows("events WHERE first_id = 1 AND id = 300") == 1)
    #expect(try seen(test, stream: "a").page.gap == EventGap(dropped: 295, oldestAvailable: 296))
    #expect(try seen(test, after: 290, stream: "a").page.gap == EventGap(dropped: 5, oldestAvailable: 296))
    try fill(306...700)
    #expect(try test.rows("events WHERE id <= 300") == 0)
    #expect(try seen(test).events.map(\.id) == Array(691...700))
    #expect(try seen(test, stream: "a").page.gap == EventGap(dropped: 690, oldestAvailable: 691))
    #expect(try test.problems() == [])
    // Who looks after the file leaves nothing that nobody can read.
    _ = try test.store.maintain()
    #expect(try test.store.storedEvents().map(\.id) == Array(691...700))
    #expect(try seen(test, stream: "a").page.gap == EventGap(dropped: 690, oldestAvailable: 691))
    #expect(try test.problems() == [])
  }

  @Test func whatIsDeletedIsGoneFromItsRow() throws {
    let test = try store(try numbers(1...9, stream: "a"))
    #expect(try test.write { try $0.deleteEvents("s", before: 4, owner: .server) } == 3)
    #expect(try test.store.storedEvents().map(\.data) == (4...9).map { "\($0)" })
    #expect(try seen(test, after: 1, stream: "a").page.gap == EventGap(dropped: 2, oldestAvailable: 4))
    #expect(try test.write { try $0.deleteEvents("s", before: 9, owner: .server) } == 5)
    #expect(try test.rows("events WHERE first_id IS NULL AND id = 9 AND data = '9'") == 1)
    #expect(try test.write { try $0.deleteEvents("s", before: 99, owner: .server) } == 1)
    #expect(try test.rows("events") == 0)
    #expect(try seen(test, stream: "a").page.gap == EventGap(dropped: 9, oldestAvailable: nil))
    #expect(try test.problems() == [])
  }

  // MARK: - Stored payloads

  @Test func aPayloadIsReplacedInItsRow() throws {
    let test = try store(try (1...5).map { try event("\($0)", at: Int64($0)) })
    func payloads(behind position: PayloadPosition = PayloadPosition()) throws -> [(PayloadPosition, String)] {
      var found: [(PayloadPosition, String)] = []
      _ = try test.read {
        try $0.listPayloads(behind: position, limit: 100) { position, payload in
          if payload.place == "event.data" { found.append((position, payload.text)) }
          return true
        }
      }
      return found
    }
    let before = try payloads()
    #expect(before.map(\.1) == ["1", "2", "3", "4", "5"])
    for (index, (position, _)) in before.enumerated() {
      #expect(try payloads(behind: position).map(\.1) == Array(before.map(\.1)[(index + 1)...]))
    }
    func replace(_ index: Int, _ old: String, _ new: String) throws -> Bool {
      try test.write { try $0.replacePayload(before[index].0, old, with: new) }
    }
    #expect(try replace(1, "2", "\"two\""))
    #expect(try !replace(1, "2", "\"three\""))
    // What is several lines splits the row.
    #expect(try replace(3, "4", "[\n4]"))
    let after = try seen(test).events
    #expect(after.map(\.data) == ["1", "\"two\"", "3", "[\n4]", "5"])
    #expect(after.map(\.timestamp) == [1, 2, 3, 4, 5])
    #expect(after.map(\.id) == [1, 2, 3, 4, 5])
    #expect(try test.rows("events") == 3)
    #expect(try payloads().map(\.1) == after.map(\.data))
    #expect(try test.problems() == [])
    #expect(try replace(3, "[\n4]", "4"))
    #expect(try replace(0, "1", "\"" + String(repeating: "x", count: 20_000) + "\""))
    #expect(try seen(test).events.map(\.data.utf8.count) == [20_002, 5, 1, 1, 1])
    #expect(try test.problems() == [])
  }

  // MARK: - Figures

  @Test func figuresCountEvents() throws {
    let test = try TestStore { $0.maxEventsPerSession = 10 }
    try test.create("s")
    try test.write { store in
      for number in 1...15 {
        _ = try store.storeEvent("s", try event("\"\(number)\"", at: store.now - Int64(number) * 1_000), owner: .server)
      }
    }
    #expect(try test.rows("events") == 1)
    let statistics = try test.read { try $0.statistics(auditSince: 0) }
    #expect(statistics.eventBuckets.reduce(0, +) == 10)
    #expect(statistics.largestSessions.map(\.events) == [10])
    #expect(statistics.largestSessions.map(\.eventBytes) == [36])
  }
}
