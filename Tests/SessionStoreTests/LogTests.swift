import Database
import JSON
import SQLite
import Testing

@testable import SessionStore

extension TestStore {
  @discardableResult
  func append(
    _ sessionID: String, _ messageID: String? = nil, kind: NewLogEntry.Kind? = nil, deduplicate: Bool = true,
    owner: Owner = .server
  ) throws -> (seq: Int64, isDuplicate: Bool) {
    let entry = try Self.entry(messageID, kind: kind)
    return try write { try $0.appendLogEntry(sessionID, entry, deduplicate: deduplicate, owner: owner) }
  }

  static func entry(_ messageID: String?, kind: NewLogEntry.Kind? = nil) throws -> NewLogEntry {
    var writer = JSONWriter()
    writer.beginObject()
    if let messageID { writer.member("message_id", messageID) }
    if let kind { writer.member("kind", kind.rawValue) }
    writer.endObject()
    return NewLogEntry(JSONText(validated: writer.bytes[...]), messageID: messageID, kind: kind)
  }

  func log(
    _ sessionID: String, after: Int64 = 0, kind: NewLogEntry.Kind? = nil, fromCheckpoint: Bool = false,
    limit: Int = 1_000_000, owner: Owner = .server
  ) throws -> (seqs: [Int64], entries: [String], page: LogPage) {
    var (seqs, entries): ([Int64], [String]) = ([], [])
    let page = try read {
      try $0.loadLog(
        sessionID, after: after, kind: kind, fromCheckpoint: fromCheckpoint, limit: limit, owner: owner
      ) { row in
        var bytes: [UInt8] = []
        row.appendEntry(to: &bytes)
        seqs.append(row.seq)
        entries.append(String(decoding: bytes, as: UTF8.self))
        return true
      }
    }
    return (seqs, entries, page)
  }
}

@Suite struct LogTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func file(_ limits: (inout Limits) -> Void = { _ in }) throws -> TestStore {
    try TestStore(directory.file("log.db"), limits: limits)
  }

  // MARK: - Appending and reading

  @Test func entriesAreNumberedFrom1AndComeBackAsTheyCame() throws {
    let test = try TestStore()
    try test.create("s")
    let texts = [#"{"payload":[222,173],"n":1.50}"#, #"{"b64":"3q0=", "x":{"y":[]}}"#, "{}"]
    for (index, text) in texts.enumerated() {
      let entry = NewLogEntry(try JSONText(text))
      let appended = try test.write { try $0.appendLogEntry("s", entry, deduplicate: true, owner: .server) }
      #expect(appended.seq == Int64(index + 1))
      #expect(!appended.isDuplicate)
    }
    let log = try test.log("s")
    #expect(log.seqs == [1, 2, 3])
    #expect(log.entries == texts)
    #expect(log.page == LogPage(nextAfter: 3, newestSeq: 3, oldestSeq: 1, hasMore: false))
  }

  @Test func pagesGoOnWhereTheLastOneEnded() throws {
    let test = try TestStore()
    try test.create("s")
    for index in 1...7 { try test.append("s", kind: index % 3 == 0 ? .internal : .incoming) }
    #expect(try test.log("s", limit: 3).page == LogPage(nextAfter: 3, newestSeq: 7, oldestSeq: 1, hasMore: true))
    #expect(try test.log("s", after: 3, limit: 4).seqs == [4, 5, 6, 7])
    #expect(try test.log("s", after: 3, limit: 4).page.hasMore == false)
    // A filter looks past the others and says how far.
    let first = try test.log("s", kind: .internal, limit: 1)
    #expect(first.seqs == [3])
    #expect(first.page == LogPage(nextAfter: 3, newestSeq: 7, oldestSeq: 1, hasMore: true))
    let second = try test.log("s", after: 3, kind: .internal, limit: 1)
    #expect(second.seqs == [6])
    #expect(second.page == LogPage(nextAfter: 7, newestSeq: 7, oldestSeq: 1, hasMore: false))
    #expect(try test.log("s", kind: .checkpoint).seqs == [])
    #expect(try test.log("s", after: 99).page.nextAfter == 7)
  }

  @Test func aLogBeginsWithItsNewestCheckpointWhenAskedTo() throws {
    let test = try TestStore()
    try test.create("s")
    try test.append("s")
    #expect(try test.log("s", fromCheckpoint: true).seqs == [1])
    try test.append("s", kind: .checkpoint)
    try test.append("s")
    try test.append("s", kind: .checkpoint)
    try test.append("s", kind: .internal)
    #expect(try test.log("s", fromCheckpoint: true).seqs == [4, 5])
    #expect(try test.log("s", after: 4, fromCheckpoint: true).seqs == [5])
    #expect(try test.log("s", kind: .checkpoint, fromCheckpoint: true).seqs == [4])
    try test.write { _ = try $0.replaceLog("s", [try TestStore.entry(nil), try TestStore.entry(nil)], owner: .server) }
    #expect(try test.log("s", fromCheckpoint: true).seqs == [6, 7])
  }

  @Test func writingFollowsTheSessionsStatusAndTouchesIt() throws {
    let test = try TestStore()
    try test.create("s")
    test.now += 1_000
    try test.append("s", "m")
    #expect(try test.get("s")?.lastActivity == test.now)
    test.now += 1_000
    // Also a message that is known: somebody is there.
    try test.append("s", "m")
    #expect(try test.get("s")?.lastActivity == test.now)
    try test.step("s", .suspend)
    for write in Self.writes {
      #expect(throws: StoreError.self) { try test.write { try write($0, "s", .server) } }
    }
    #expect(try test.log("s").seqs == [1])
    try test.step("s", .invalidate)
    #expect(throws: StoreError.self) { try test.log("s") }
  }

  private static let writes: [@Sendable (Store, String, Owner) throws -> Void] = [
    { _ = try $0.appendLogEntry($1, TestStore.entry("x"), deduplicate: true, owner: $2) },
    { _ = try $0.replaceLog($1, [TestStore.entry("x")], owner: $2) },
    { _ = try $0.compactLog($1, TestStore.entry("x"), owner: $2) },
  ]

  @Test func aForeignOrUnknownSessionHasNoLog() throws {
    let test = try TestStore()
    try test.create("s", owner: .principal("ada"))
    try test.append("s", "m")
    for (id, owner) in [("s", Owner.principal("eve")), ("s", .anonymous), ("none", .server)] {
      for write in Self.writes {
        test.refuses(.sessionNotFound(id)) { try write($0, id, owner) }
      }
      #expect(throws: StoreError.sessionNotFound(id)) { try test.log(id, owner: owner) }
    }
    #expect(try test.log("s", owner: .principal("ada")).seqs == [1])
  }

  // MARK: - What the ancestor says is wrong with itself

  @Test func aCursorIsExclusiveAndNumbersHaveNoHoles() throws {
    let test = try TestStore()
    try test.create("s")
    for index in 0..<5 { try test.append("s", kind: index == 2 ? .internal : .incoming) }
    for after in 0...5 {
      #expect(try test.log("s", after: Int64(after)).seqs == Array(Int64(after + 1)..<6))
    }
  }

  @Test func historyOutlivesCompactionAndRestart() throws {
    let test = try file()
    try test.create("s")
    for index in 1...3 { try test.append("s", "m\(index)") }
    let checkpoint = NewLogEntry(#"{"turn":3}"#, kind: .checkpoint)
    let compacted = try test.write { try $0.compactLog("s", checkpoint, owner: .server) }
    #expect(compacted == (3, 4))
    try test.append("s", "m4")
    try test.reopen()
    let log = try test.log("s", fromCheckpoint: true)
    #expect(log.seqs == [4, 5])
    #expect(log.entries.first == #"{"turn":3}"#)
    #expect(log.page.oldestSeq == 4)
    // What was sent before the compaction is still known.
    #expect(try test.append("s", "m1") == (1, true))
    #expect(try test.append("s", "m4") == (5, true))
  }

  @Test func numberingNeverRestarts() throws {
    let test = try file()
    try test.create("s")
    for index in 1...3 { try test.append("s", "m\(index)") }
    #expect(try test.write { try $0.replaceLog("s", [], owner: .server) } == nil)
    #expect(try test.log("s").page == LogPage(nextAfter: 3, newestSeq: 3, oldestSeq: nil, hasMore: false))
    try test.reopen()
    #expect(try test.append("s") == (4, false))
    let entries = [try TestStore.entry("a"), try TestStore.entry("b")]
    let replaced = try test.write { try $0.replaceLog("s", entries, owner: .server) }
    #expect(replaced?.first == 5)
    #expect(replaced?.last == 6)
  }

  @Test func replacingIsAllOrNothing() throws {
    let test = try TestStore()
    try test.create("s")
    for index in 1...3 { try test.append("s", "m\(index)") }
    struct Stop: Error {}
    #expect(throws: Stop.self) {
      try test.write { store in
        try store.atomically {
          _ = try store.replaceLog("s", [TestStore.entry("x")], owner: .server)
          throw Stop()
        }
      }
    }
    #expect(try test.log("s").seqs == [1, 2, 3])
    #expect(try test.append("s", "x") == (4, false))
    #expect(try test.append("s", "m1") == (1, true))
  }

  @Test func oneDamagedEntryDoesNotTakeTheOthersAlong() throws {
    let test = try TestStore()
    try test.create("s")
    for index in 1...3 { try test.append("s", "m\(index)") }
    try test.write { store in
      var damage = try store.tables.connection(.server).statement(
        composed: "UPDATE log_entries SET entry = '{\"half' WHERE seq = 2")
      try damage.run()
    }
    let log = try test.log("s")
    #expect(log.seqs == [1, 2, 3])
    #expect(log.entries[2] == #"{"message_id":"m3"}"#)
    test.store.messageIDs.removeAll()
    #expect(try test.append("s", "m3") == (3, true))
  }

  @Test func knownIDsAreBoundedInMemoryAndOnDisk() throws {
    let test = try TestStore { $0.logDedupWindow = 100 }
    try test.create("s")
    try test.write { store in
      for index in 1...5_000 {
        _ = try store.appendLogEntry("s", TestStore.entry("m\(index)"), deduplicate: true, owner: .server)
      }
    }
    #expect(try test.rows("log_message_ids") <= 2)
    let number = try #require(test.store.cache.rows.first?.number)
    #expect(try #require(test.store.messageIDs.ids(number)).placeCount <= 100 + 256 + 25)
  }

  @Test func deletingASessionDeletesItsLog() throws {
    let test = try TestStore()
    try test.create("s")
    try test.create("t")
    for index in 1...300 {
      try test.append("s", "m\(index)")
      try test.append("t", "m\(index)")
    }
    let deleted = try test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }
    #expect(deleted.logEntries == 300)
    #expect(try test.rows("log_entries") == 300)
    #expect(try test.rows("log_message_ids") == 1)
    #expect(test.store.counters.logEntries == 300)
    // A new session under the id begins a log of its own.
    try test.create("s")
    #expect(try test.append("s", "m1") == (1, false))
  }

  @Test func aSweepDeletesLongLogsInSlices() throws {
    let test = try TestStore()
    try test.create("s") { $0.ttl = 1 }
    try test.write { store in
      for index in 1...700 {
        // No two that follow each other share a row.
        let entry = try TestStore.entry("m\(index)", kind: index % 2 == 0 ? .internal : nil)
        _ = try store.appendLogEntry("s", entry, deduplicate: true, owner: .server)
      }
    }
    test.now += 1
    test.store.beginRequest()
    var (slices, left) = (0, try test.rows("log_entries"))
    while try test.store.sweepSlice().hasMore {
      let now = try test.rows("log_entries")
      #expect(left - now <= 128)
      left = now
      slices += 1
      try #require(slices < 100)
    }
    for table in ["sessions", "log_entries", "log_message_ids", "log_participants"] {
      #expect(try test.rows(table) == 0)
    }
    #expect(test.store.counters.logEntries == 0)
  }

  // MARK: - Participants

  private func say(
    _ test: TestStore, _ sender: String, kind: NewLogEntry.Kind? = .incoming, at: Int64? = nil
  ) throws {
    let entry = NewLogEntry(.emptyObject, kind: kind, sender: sender, receivedAt: at)
    _ = try test.write { try $0.appendLogEntry("s", entry, deduplicate: true, owner: .server) }
  }

  private func participants(_ test: TestStore, after: Int64 = 0, limit: Int = 10_000) throws -> [LogParticipant] {
    var found: [LogParticipant] = []
    _ = try test.read {
      try $0.logParticipants("s", after: after, limit: limit, owner: .server) { found.append($0) == () }
    }
    return found
  }

  @Test func entriesAreCountedBySender() throws {
    let test = try file()
    try test.create("s")
    try say(test, "a")
    test.now += 10
    try say(test, "b", kind: nil, at: 5)
    try say(test, "a")
    // What the runtime writes is nobody's, and the empty name is none.
    for kind in [NewLogEntry.Kind.internal, .checkpoint] { try say(test, "_runtime", kind: kind) }
    try say(test, "")
    let start = test.now - 10
    let expected = [
      LogParticipant(number: 1, sender: "a", entries: 2, firstSeen: start, lastSeen: test.now, lastSeq: 3),
      LogParticipant(number: 2, sender: "b", entries: 1, firstSeen: 5, lastSeen: 5, lastSeq: 2),
    ]
    #expect(try participants(test) == expected)
    #expect(try participants(test, limit: 1) == [expected[0]])
    #expect(try participants(test, after: 1) == [expected[1]])
    // A compaction takes the entries and not who wrote them.
    _ = try test.write { try $0.compactLog("s", NewLogEntry(.emptyObject, kind: .checkpoint), owner: .server) }
    try test.reopen()
    #expect(try participants(test) == expected)
    let entry = NewLogEntry(.emptyObject, sender: "c")
    _ = try test.write { try $0.replaceLog("s", [entry, entry], owner: .server) }
    #expect(try participants(test).map { "\($0.sender ?? "-") \($0.entries)" } == ["c 2"])
    _ = try test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }
    #expect(try test.rows("log_participants") == 0)
  }

  @Test func aLogTellsSoManySendersApart() throws {
    let test = try TestStore()
    try test.create("s")
    try test.write { store in
      for index in 1...(Store.maxParticipants + 5) {
        let entry = NewLogEntry(.emptyObject, sender: "a\(index)")
        _ = try store.appendLogEntry("s", entry, deduplicate: true, owner: .server)
      }
    }
    let found = try participants(test)
    #expect(found.count == Int(Store.maxParticipants) + 1)
    #expect(found.last?.sender == nil && found.last?.entries == 5)
    // Who is known stays so.
    try say(test, "a1")
    #expect(try participants(test).first?.entries == 2)
  }

  // MARK: - Known messages

  @Test func idsThatWereSeenElsewhereAreKnown() throws {
    let test = try file()
    try test.create("s")
    try test.append("s", "m1")
    let ids = ["m1", "x1", "", "x1"] + (2...600).map { "x\($0)" }
    #expect(try test.write { try $0.noteLogMessageIDs("s", ids, owner: .server) } == 600)
    #expect(try test.write { try $0.noteLogMessageIDs("s", ids, owner: .server) } == 0)
    for _ in 1...2 {
      #expect(try test.append("s", "x1") == (0, true))
      #expect(try test.append("s", "x600") == (0, true))
      #expect(try test.append("s", "m1") == (1, true))
      try test.reopen()
    }
    #expect(try test.append("s", "m2") == (2, false))
    try test.reopen()
    #expect(try test.append("s", "m2") == (2, true))
    #expect(try test.append("s", "x300") == (0, true))
    #expect(try test.log("s").seqs == [1, 2])
  }

  @Test func idsThatWereSeenElsewhereCountInTheWindow() throws {
    let test = try TestStore { $0.logDedupWindow = 10 }
    try test.create("s")
    try test.append("s", "m1")
    #expect(try test.write { try $0.noteLogMessageIDs("s", (1...10).map { "x\($0)" }, owner: .server) } == 10)
    #expect(try test.append("s", "x1") == (0, true))
    #expect(try test.append("s", "m1") == (2, false))
    #expect(try test.append("s", "x1") == (3, false))
    // However many come, no more are kept.
    for round in 1...40 {
      _ = try test.write { try $0.noteLogMessageIDs("s", (1...50).map { "y\(round)-\($0)" }, owner: .server) }
    }
    #expect(try test.rows("log_message_ids") <= 2)
    let number = try #require(test.store.cache.rows.first?.number)
    #expect(try #require(test.store.messageIDs.ids(number)).placeCount <= 100)
  }

  @Test func idsOfACallThatIsTakenBackAreNotKnown() throws {
    struct Stop: Error {}
    let test = try TestStore()
    try test.create("s")
    try test.append("s", "m1")
    #expect(throws: Stop.self) {
      try test.write { store in
        _ = try store.appendLogEntry("s", TestStore.entry("m2"), deduplicate: true, owner: .server)
        _ = try store.noteLogMessageIDs("s", ["x1"], owner: .server)
        _ = try store.appendLogEntry("s", TestStore.entry("m3"), deduplicate: true, owner: .server)
        throw Stop()
      }
    }
    #expect(try test.append("s", "x1") == (2, false))
    #expect(try test.append("s", "m2") == (3, false))
    #expect(try test.append("s", "m1") == (1, true))
  }

  @Test(arguments: [1, 3, 255, 256, 257, 1_000]) func theWindowIsExact(window: Int) throws {
    let test = try file { $0.logDedupWindow = window }
    try test.create("s")
    let total = window + 300
    try test.write { store in
      for index in 1...total {
        _ = try store.appendLogEntry("s", TestStore.entry("m\(index)"), deduplicate: true, owner: .server)
      }
    }
    for isReopened in [false, true] {
      if isReopened { try test.reopen { $0.logDedupWindow = window } }
      #expect(try test.append("s", "m\(total)") == (Int64(total), true))
      #expect(try test.append("s", "m\(total - window + 1)") == (Int64(total - window + 1), true))
    }
    // One more, and the oldest is forgotten.
    #expect(try test.append("s", "new").isDuplicate == false)
    #expect(try test.append("s", "m\(total - window + 1)").isDuplicate == false)
  }

  @Test func aWindowOf0ForgetsNothing() throws {
    let test = try file { $0.logDedupWindow = 0 }
    try test.create("s")
    try test.write { store in
      for index in 1...1_500 {
        _ = try store.appendLogEntry("s", TestStore.entry("m\(index)"), deduplicate: true, owner: .server)
      }
    }
    try test.reopen { $0.logDedupWindow = 0 }
    #expect(try test.append("s", "m1") == (1, true))
    // A window that is set later counts back from the newest.
    try test.reopen { $0.logDedupWindow = 10 }
    #expect(try test.append("s", "m1491") == (1_491, true))
    #expect(try test.append("s", "m1490").isDuplicate == false)
  }

  @Test func anAppendThatWasAskedNotToLookKeepsTheFirstPlace() throws {
    let test = try file { $0.logDedupWindow = 3 }
    try test.create("s")
    try test.append("s", "a")
    #expect(try test.append("s", "a", deduplicate: false) == (2, false))
    try test.append("s", "b")
    try test.append("s", "c")
    for isReopened in [false, true] {
      if isReopened { try test.reopen { $0.logDedupWindow = 3 } }
      // It was noted again, so that it is not forgotten yet.
      #expect(try test.append("s", "a") == (1, true))
    }
  }

  @Test func anEmptyOrAbsentMessageIDRepeatsNothing() throws {
    let test = try TestStore()
    try test.create("s")
    for seq in 1...3 as ClosedRange<Int64> { #expect(try test.append("s", seq == 2 ? nil : "") == (seq, false)) }
  }

  @Test func messagesOfOneSessionAreNewToAnother() throws {
    let test = try TestStore()
    try test.create("s")
    try test.create("t")
    #expect(try test.append("s", "m") == (1, false))
    #expect(try test.append("t", "m") == (1, false))
    #expect(try test.append("s", "m") == (1, true))
  }

  @Test func whatWasRolledBackIsNotKnown() throws {
    let test = try TestStore()
    try test.create("s")
    try test.append("s", "kept")
    try test.store.beginGroup(waiting: 0)
    _ = try test.store.appendLogEntry("s", TestStore.entry("lost"), deduplicate: true, owner: .server)
    test.store.abandonGroup()
    #expect(try test.append("s", "kept") == (1, true))
    #expect(try test.append("s", "lost") == (2, false))
  }

  @Test func twoProcessesKnowEachOthersMessages() throws {
    let first = try file()
    let second = try TestStore(directory.file("log.db"), clock: first.clock)
    try first.create("s")
    for round in 0..<300 {
      let (here, there) = round % 2 == 0 ? (first, second) : (second, first)
      let id = "m\(round)"
      #expect(try here.append("s", id) == (Int64(round + 1), false))
      #expect(try there.append("s", id) == (Int64(round + 1), true))
    }
    #expect(try second.log("s").seqs.count == 300)
  }

  /// A log and the plainest idea of one, side by side through everything that can happen to them.
  @Test(arguments: [1, 2, 3] as [UInt64]) func itDoesWhatAPlainLogDoes(seed: UInt64) throws {
    struct Plain {
      var entries: [(seq: Int64, id: String?)] = []
      var last: Int64 = 0
      var noted: [String] = []
      var first: [String: Int64] = [:]

      mutating func add(_ id: String?, window: Int) -> Int64 {
        last += 1
        entries.append((last, id))
        if let id {
          if !noted.suffix(window - 1).contains(id) { first[id] = last }
          noted.append(id)
        }
        return last
      }
    }
    let window = 7
    var random = Seeded(state: seed)
    let test = try file { $0.logDedupWindow = window }
    try test.create("s")
    var plain = Plain()
    for _ in 0..<1_500 {
      let id = Bool.random(using: &random) ? "m\(Int.random(in: 0..<12, using: &random))" : nil
      switch Int.random(in: 0..<100, using: &random) {
      case 0..<80:
        let deduplicate = Int.random(in: 0..<10, using: &random) > 0
        let known = id.map { plain.noted.suffix(window).contains($0) } ?? false
        let appended = try test.append("s", id, deduplicate: deduplicate)
        if deduplicate, known, let id {
          #expect(appended == (plain.first[id]!, true))
        } else {
          #expect(appended == (plain.add(id, window: window), false))
        }
      case 80..<85:
        let ids = (0..<3).map { _ in "m\(Int.random(in: 0..<12, using: &random))" }
        let replaced = try test.write { try $0.replaceLog("s", ids.map { try TestStore.entry($0) }, owner: .server) }
        plain.entries = []
        for id in ids { _ = plain.add(id, window: window) }
        #expect(replaced?.last == plain.last)
      case 85..<90:
        let removed = Int64(plain.entries.count)
        plain.entries = []
        let compacted = try test.write { try $0.compactLog("s", TestStore.entry(id), owner: .server) }
        #expect(compacted == (removed, plain.add(id, window: window)))
      case 90..<95: try test.reopen { $0.logDedupWindow = window }
      default: #expect(try test.log("s").seqs == plain.entries.map(\.seq))
      }
    }
  }

  private struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      // Knuth's constants for a linear congruential generator.
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ state >> 29
    }
  }
}
