import JSON
import SQLite
import Testing

@testable import SessionStore

/// What costs the same whatever has gathered: slices of sweeps, what a session keeps of lost streams, what a rollback
/// leaves in memory.
@Suite struct SliceTests {
  private static let belongings = [
    "events", "log_entries", "session_state", "stream_losses", "log_message_ids", "tasks", "task_messages",
    "task_input_keys", "log_participants",
  ]

  private func rows(_ test: TestStore) throws -> Int64 { try Self.belongings.reduce(0) { $0 + (try test.rows($1)) } }

  @Test func aSliceRemovesFewRowsWhateverASessionHolds() throws {
    let test = try TestStore { $0.maxEventsPerSession = 300 }
    try test.create("s") { new in
      new.ttl = 1
      new.state = JSONText(
        validated: Array("{\((0..<500).map { "\"k\($0)\":0" }.joined(separator: ","))}".utf8)[...])
    }
    try test.write { store in
      for index in 1...600 {
        _ = try store.storeEvent("s", NewEvent(data: "0", streamID: "x\(index)"), owner: .server)
        // No two that follow each other share a row.
        let entry = try TestStore.entry("m\(index)", kind: index % 2 == 0 ? .internal : nil)
        _ = try store.appendLogEntry("s", entry, deduplicate: true, owner: .server)
      }
    }
    #expect(try rows(test) > 1_500)
    test.now += 1
    test.store.beginRequest()
    var (slices, left) = (0, try rows(test))
    while try test.store.sweepSlice().hasMore {
      let now = try rows(test)
      // One block of message ids, and what a chunk may be over.
      #expect(left - now <= 64 + 16)
      left = now
      slices += 1
      try #require(slices < 100)
    }
    #expect(try rows(test) == 0)
    #expect(try test.rows("sessions") == 0)
    #expect(try problems(test).isEmpty)
    // That it expired is told once, when it began.
    #expect(try test.rows("audit_events WHERE type = 'expired'") == 1)
  }

  private func problems(_ test: TestStore) throws -> [String] {
    try Integrity.brokenRules(in: test.store.tables.connection(.server))
  }

  @Test func whatIsHalfRemovedIsOverForGood() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("s.db")) { $0.maxSuspension = 10 }
    try test.create("s") { $0.state = #"{"a":1}"# }
    for _ in 1...200 { try test.event("s") }
    try test.step("s", .suspend)
    test.now += 10
    test.store.beginRequest()
    _ = try test.store.sweepSlice()
    #expect(try test.rows("sessions") == 1)
    #expect(try test.rows("events") < 200)
    // With a longer limit it would be suspended still.
    try test.reopen { $0.maxSuspension = 1_000_000 }
    #expect(try test.get("s") == nil)
    #expect(try problems(test).isEmpty)
  }

  @Test func aSliceRemovesFewRowsWhateverATaskHolds() throws {
    let test = try TestStore()
    try test.task("t") { $0.ttl = 1 }
    try test.write { store in
      for index in 1...300 {
        _ = try store.enqueueTaskMessage("t", "0", maxSize: nil, scope: TaskScope())
        let request = JSONText(validated: Array("{\"k\(index)\":0}".utf8)[...])
        _ = try store.requireTaskInput("t", request, scope: TaskScope())
      }
    }
    test.now += 2
    test.store.beginRequest()
    var (slices, left) = (0, try rows(test))
    #expect(left == 601)
    while try test.store.sweepSlice().hasMore {
      let now = try rows(test)
      #expect(left - now <= 64 + 16)
      #expect(try problems(test).isEmpty)
      left = now
      slices += 1
      try #require(slices < 100)
    }
    #expect(try rows(test) == 0)
    #expect(try test.rows("task_payloads") == 0)
  }

  // MARK: - Lost streams

  @Test func aSessionRemembersTheLossesOfBoundedlyManyStreams() throws {
    let test = try TestStore { $0.maxEventsPerSession = 1 }
    try test.create("s")
    let streams = Int(Store.lossStreams) + 700
    try test.write { store in
      for index in 1...streams {
        for _ in 1...2 { _ = try store.storeEvent("s", NewEvent(data: "0", streamID: "x\(index)"), owner: .server) }
      }
    }
    _ = try test.write { try $0.deleteEvents("s", before: Int64(streams * 2) + 1, owner: .server) }
    #expect(try test.rows("stream_losses") == Store.lossStreams + 1)
    func dropped(_ index: Int, after: Int64) throws -> Int64 {
      try test.events("s", after: after, stream: "x\(index)").page.gap?.dropped ?? 0
    }
    // The newest are told exactly behind what is folded, and none is told less than it lost.
    let folded = Int64(2 * (streams - Int(Store.lossStreams)))
    #expect(try dropped(streams - 1, after: folded) == 2)
    #expect(try dropped(streams, after: folded) == 2)
    #expect(try dropped(1, after: folded) == 0)
    #expect(try dropped(1, after: 0) >= 2)
    #expect(try dropped(streams - 1, after: 0) >= 2)
    #expect(try dropped(1, after: folded - 1) == 1)
    _ = try test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }
    #expect(try test.rows("stream_losses") == 0)
  }

  // MARK: - Message ids

  private struct Refusal: Error {}

  @Test func messageIDsOutliveARollback() throws {
    let test = try TestStore()
    try test.create("s")
    for index in 1...600 { try test.append("s", "m\(index)") }
    func known() throws -> LogMessageIDs {
      let slot = try #require(try test.store.findSession("s", owner: .server))
      return try #require(test.store.messageIDs.ids(test.store.cache.rows[slot].number))
    }
    let ids = try test.read { _ in try known() }
    for _ in 1...2 {
      // A part of a group, and a whole one.
      try test.store.beginGroup(waiting: 0)
      test.store.beginRequest()
      #expect(throws: Refusal.self) {
        try test.store.atomically {
          for index in 1...300 {
            _ = try test.store.appendLogEntry("s", TestStore.entry("n\(index)"), deduplicate: true, owner: .server)
          }
          _ = try test.store.compactLog("s", TestStore.entry("n", kind: .checkpoint), owner: .server)
          throw Refusal()
        }
      }
      _ = try test.store.appendLogEntry("s", TestStore.entry("n1"), deduplicate: true, owner: .server)
      test.store.abandonGroup()
    }
    #expect(try test.append("s", "m600") == (600, true))
    #expect(try test.append("s", "n1") == (601, false))
    #expect(try test.append("s", "n1") == (601, true))
    #expect(try test.read { _ in try known() } === ids)
    // They are what a process that begins now reads.
    #expect(try test.write { try $0.compactLog("s", TestStore.entry("c"), owner: .server) } == (601, 602))
    #expect(try test.append("s", "c") == (602, true))
    #expect(try test.read { _ in try known() } === ids)
  }

  @Test func messageIDsOutliveTheWritesOfOthers() throws {
    let directory = try TemporaryDirectory()
    let first = try TestStore(directory.file("s.db"))
    let second = try TestStore(directory.file("s.db"), clock: first.clock)
    try first.create("s")
    for index in 1...300 { try first.append("s", "m\(index)") }
    func known() throws -> LogMessageIDs {
      let slot = try #require(try first.store.findSession("s", owner: .server))
      return try #require(first.store.messageIDs.ids(first.store.cache.rows[slot].number))
    }
    let ids = try first.read { _ in try known() }
    // Others write elsewhere, then into the same log, over the end of a block.
    try second.create("t")
    #expect(try first.append("s", "m300") == (300, true))
    for index in 301...600 { try second.append("s", "m\(index)") }
    #expect(try first.append("s", "m599") == (599, true))
    #expect(try first.append("s", "m601") == (601, false))
    #expect(try second.append("s", "m601") == (601, true))
    #expect(try first.read { _ in try known() } === ids)
    // What they have compacted is to be read anew.
    for index in 602...604 { try second.append("s", "m\(index)") }
    _ = try second.write { try $0.compactLog("s", TestStore.entry(nil), owner: .server) }
    #expect(try first.append("s", "m603") == (603, true))
    #expect(try first.append("s", "m606") == (606, false))
    try first.reopen()
    for index in [1, 300, 301, 600, 601, 604, 606] {
      #expect(try first.append("s", "m\(index)") == (Int64(index), true))
    }
  }
}
