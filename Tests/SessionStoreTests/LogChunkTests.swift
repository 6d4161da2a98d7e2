import Database
import JSON
import SQLite
import Testing

@testable import SessionStore

/// Several log entries in one row: what is seen of them is what would be seen of as many rows.
@Suite(.ofFiles) struct LogChunkTests {
  private func entry(
    _ text: String, kind: NewLogEntry.Kind? = nil, sender: String? = nil, at: Int64? = nil
  ) throws -> NewLogEntry {
    NewLogEntry(try JSONText(text), messageID: "m\(text)", kind: kind, sender: sender, receivedAt: at)
  }

  private func numbers(_ range: ClosedRange<Int>) throws -> [NewLogEntry] {
    try range.map { try entry("{\"n\":\($0)}") }
  }

  private func append(_ entries: [NewLogEntry], to store: Store) throws {
    for entry in entries { _ = try store.appendLogEntry("s", entry, deduplicate: true, owner: .server) }
  }

  /// A store with one session, that has all of these entries from one group.
  private func store(_ entries: [NewLogEntry]) throws -> TestStore {
    let test = try TestStore()
    try test.create("s")
    try test.write { try append(entries, to: $0) }
    return test
  }

  private struct Seen: Equatable {
    var seqs: [Int64] = []
    var entries: [String] = []
    var page: LogPage?
  }

  private func seen(
    _ store: Store, after: Int64 = 0, kind: NewLogEntry.Kind? = nil, limit: Int = 10_000
  ) throws -> Seen {
    var found = Seen()
    found.page = try store.loadLog(
      "s", after: after, kind: kind, fromCheckpoint: false, limit: limit, owner: .server
    ) { row in
      var bytes: [UInt8] = []
      row.appendEntry(to: &bytes)
      found.seqs.append(row.seq)
      found.entries.append(String(decoding: bytes, as: UTF8.self))
      return true
    }
    return found
  }

  private func seen(_ test: TestStore, after: Int64 = 0, kind: NewLogEntry.Kind? = nil) throws -> Seen {
    try test.read { try seen($0, after: after, kind: kind) }
  }

  // MARK: - Which entries share a row

  @Test func theEntriesOfAGroupShareARow() throws {
    let test = try store(try numbers(1...100))
    #expect(try test.rows("log_entries") == 1)
    #expect(try test.rows("log_entries WHERE first_seq = 1 AND seq = 100") == 1)
    #expect(try seen(test).entries == (1...100).map { "{\"n\":\($0)}" })
    try test.write { try append(numbers(101...101), to: $0) }
    #expect(try test.rows("log_entries WHERE first_seq IS NULL AND seq = 101") == 1)
    #expect(try test.problems() == [])
  }

  @Test func whatDiffersBeginsARow() throws {
    let large = "{\"x\":\"" + String(repeating: "x", count: PayloadLines.maxBytes) + "\"}"
    let test = try store([
      try entry("{\"n\":1}"), try entry("{\"n\":2}"), try entry("{\"n\":3}", kind: .incoming),
      try entry("{\"n\":4}", kind: .internal), try entry("{\"n\":5}", kind: .internal),
      try entry(large, kind: .internal), try entry("{\n\"n\":7}", kind: .internal),
      try entry("{\"n\":8}", kind: .internal),
    ])
    #expect(try test.rows("log_entries") == 6)
    let all = try seen(test)
    #expect(all.seqs == Array(1...8))
    #expect(all.entries[5] == large && all.entries[6] == "{\n\"n\":7}")
    #expect(try seen(test, kind: .internal).seqs == Array(4...8))
    #expect(try seen(test, kind: .incoming).seqs == [3])
    #expect(try seen(test, after: 4).seqs == Array(5...8))
    #expect(try test.problems() == [])
  }

  @Test func everyPageIsThatOfSingleRows() throws {
    let kinds: [NewLogEntry.Kind?] = [nil, .incoming, .internal]
    let entries = try (1...40).map { try entry("{\"n\":\($0)}", kind: kinds[$0 / 7 % 3]) }
    let (test, single) = (try store(entries), try store([]))
    for entry in entries { try single.write { try append([entry], to: $0) } }
    #expect(try single.rows("log_entries") == 40)
    #expect(try test.rows("log_entries") == 6)
    for kind in kinds {
      for limit in [1, 2, 7, 8, 40] {
        for after in 0...41 as ClosedRange<Int64> {
          let one = try test.read { try seen($0, after: after, kind: kind, limit: limit) }
          let other = try single.read { try seen($0, after: after, kind: kind, limit: limit) }
          #expect(one == other)
        }
      }
    }
  }

  // MARK: - While the group is open

  @Test func aGroupReadsWhatItHasWritten() throws {
    let test = try store(try numbers(1...3))
    try test.write { store in
      try append(numbers(4...6), to: store)
      #expect(try seen(store, after: 2).seqs == [3, 4, 5, 6])
      try append(numbers(7...8), to: store)
      #expect(try store.appendLogEntry("s", entry("{\"n\":5}"), deduplicate: true, owner: .server) == (5, true))
      #expect(try store.compactLog("s", entry("{\"n\":9}", kind: .checkpoint), owner: .server) == (8, 9))
      try append(numbers(10...11), to: store)
    }
    #expect(try seen(test).seqs == [9, 10, 11])
    #expect(try test.rows("log_entries") == 2)
    #expect(try test.problems() == [])
  }

  @Test func whatIsTakenBackIsGone() throws {
    let test = try store(try numbers(1...2))
    struct Stop: Error {}
    try test.write { store in
      try append([entry("{\"n\":3}", sender: "ada")], to: store)
      #expect(throws: Stop.self) {
        try store.atomically {
          try append([entry("{\"n\":4}", sender: "bob"), entry("{\"n\":5}", sender: "ada")], to: store)
          throw Stop()
        }
      }
      try append([entry("{\"n\":4}", sender: "ada")], to: store)
    }
    #expect(try seen(test).entries == (1...4).map { "{\"n\":\($0)}" })
    try test.store.beginGroup(waiting: 0)
    try append(numbers(5...6), to: test.store)
    test.store.abandonGroup()
    try test.write { try append(numbers(5...5), to: $0) }
    #expect(try seen(test).seqs == Array(1...5))
    #expect(try participants(test).map(\.entries) == [2])
  }

  @Test func aSessionThatGoesTakesAllAlong() throws {
    let test = try store(try numbers(1...2))
    try test.write { store in
      try append([entry("{\"n\":3}", sender: "ada")], to: store)
      #expect(try store.deleteSession("s", owner: .server, deleteTasks: false).logEntries == 3)
    }
    for table in ["log_entries", "log_participants", "log_message_ids"] { #expect(try test.rows(table) == 0) }
    #expect(try test.problems() == [])
  }

  // MARK: - Participants

  private func participants(_ test: TestStore) throws -> [LogParticipant] {
    var found: [LogParticipant] = []
    _ = try test.read {
      try $0.logParticipants("s", after: 0, limit: 10_000, owner: .server) { found.append($0) == () }
    }
    return found
  }

  @Test func participantsAreCountedAsThoughOneByOne() throws {
    // More senders in turn than wait to be counted at a time, at times that go up and down.
    let entries = try (1...200).map { index in
      try entry("{\"n\":\(index)}", sender: "p\(index * 7 % 30)", at: Int64(1_000 + index * 37 % 50))
    }
    let (test, single) = (try store(entries), try store([]))
    for entry in entries { try single.write { try append([entry], to: $0) } }
    #expect(try participants(test) == participants(single))
    #expect(try participants(test).count == 30)
  }

  @Test func thoseWithoutRoomAreCountedTogether() throws {
    let entries = try (1...2_000).map { try entry("{\"n\":\($0)}", sender: "p\($0)") }
    let test = try store(entries)
    let found = try participants(test)
    #expect(found.count == Int(Store.maxParticipants) + 1)
    #expect(found.last?.sender == nil && found.last?.entries == 2_000 - Store.maxParticipants)
    #expect(found.map(\.entries).reduce(0, +) == 2_000)
  }

  // MARK: - What reads the rows otherwise

  @Test func anotherProcessKnowsTheMessagesOfARow() throws {
    let test = try store(try (1...50).map { try TestStore.entry("m\($0)") })
    #expect(try test.rows("log_entries") == 1)
    for index in [1, 25, 50] {
      // Read again, from the row.
      test.store.messageIDs.removeAll()
      let again = try test.write {
        try $0.appendLogEntry("s", TestStore.entry("m\(index)"), deduplicate: true, owner: .server)
      }
      #expect(again == (Int64(index), true))
    }
  }

  @Test func anEntryIsReplacedInItsRow() throws {
    let test = try store(try numbers(1...5))
    var before: [(PayloadPosition, String)] = []
    _ = try test.read {
      try $0.listPayloads(behind: PayloadPosition(), limit: 100) { position, payload in
        if payload.place == "log.entry" { before.append((position, payload.text)) }
        return true
      }
    }
    #expect(before.map(\.1) == (1...5).map { "{\"n\":\($0)}" })
    func replace(_ index: Int, _ old: String, _ new: String) throws -> Bool {
      try test.write { try $0.replacePayload(before[index].0, old, with: new) }
    }
    #expect(try replace(1, "{\"n\":2}", "{\"two\":2}"))
    #expect(try !replace(1, "{\"n\":2}", "{\"three\":3}"))
    // What is several lines splits the row.
    #expect(try replace(3, "{\"n\":4}", "{\n}"))
    #expect(try seen(test).entries == ["{\"n\":1}", "{\"two\":2}", "{\"n\":3}", "{\n}", "{\"n\":5}"])
    #expect(try test.rows("log_entries") == 3)
    #expect(try test.problems() == [])
  }

  @Test func aRowThatLacksLinesIsDamage() throws {
    for sql in [
      "UPDATE log_entries SET entry = '{}'", "UPDATE log_entries SET seq = 9", "UPDATE log_entries SET first_seq = 7",
      "UPDATE log_entries SET entry = ''",
    ] {
      let test = try store(try numbers(1...3))
      try test.store.file!.connection.execute(sql + "; UPDATE sessions SET last_log_seq = 9")
      #expect(throws: DatabaseError.self, "\(sql)") { try self.seen(test) }
    }
  }
}
