import JSON
import Testing

@testable import SessionStore

/// Each request works on a session that is not in memory, as it is after a restart.
@Suite struct CacheTests {
  private static let requests: [(String, @Sendable (Store) throws -> Void)] = [
    ("get_session", { _ = try $0.getSession("s", owner: .server) }),
    ("update_session", { _ = try $0.updateSession("s", SessionUpdate(), owner: .server) }),
    ("touch_session", { _ = try $0.touchSession("s", owner: .server) }),
    ("delete_session", { _ = try $0.deleteSession("s", owner: .server, deleteTasks: true) }),
    ("validate_session", { _ = try $0.validateSession("s", owner: .server, address: "a", agent: "b") }),
    ("suspend_session", { _ = try $0.changeStatus("s", .suspend, owner: .server) }),
    ("set_session_state", { _ = try $0.setSessionState("s", "k", .null, owner: .server) }),
    ("get_session_state", { _ = try $0.getSessionState("s", "k", owner: .server) }),
    ("remove_session_state", { _ = try $0.removeSessionState("s", "k", owner: .server) }),
    ("list_session_state_keys", { _ = try $0.sessionStateKeys("s", owner: .server) }),
    ("store_event", { _ = try $0.storeEvent("s", NewEvent(data: .null), owner: .server) }),
    ("store_events", { _ = try $0.storeEvents("s", [NewEvent(data: .null)], owner: .server) }),
    (
      "get_events_after",
      { _ = try $0.readEvents("s", after: 0, streamID: nil, limit: 9, owner: .server) { _ in true } }
    ),
    ("get_recent_events", { _ = try $0.readRecentEvents("s", streamID: nil, limit: 9, owner: .server) { _ in true } }),
    ("delete_events_before", { _ = try $0.deleteEvents("s", before: 2, owner: .server) }),
    ("event_count", { _ = try $0.countEvents("s", owner: .server) }),
    ("broadcast_event", { _ = try $0.broadcastEvent(NewEvent(data: .null), SessionFilter()) }),
    ("subscribe_events", { _ = try $0.startReading("s", after: nil, streamID: nil, owner: .server) }),
    ("subscribe_tasks", { _ = try $0.startReading(tasksOf: "s", owner: .server) }),
    (
      "list_sessions",
      { _ = try $0.listSessions(SessionFilter(), after: 0, limit: 9, includeState: true) { _, _ in true } }
    ),
    ("expire_sessions", { _ = try $0.expireSessions(olderThan: .max, limit: 9) }),
    (
      "create_task",
      {
        var task = NewTask()
        task.sessionID = "s"
        _ = try $0.createTask(task, owner: .server)
      }
    ),
  ]

  @Test(arguments: requests.indices)
  func aSessionThatIsNotInMemoryIsLoaded(index: Int) throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    try test.create("s")
    try test.event("s")
    try test.reopen()
    let (name, request) = Self.requests[index]
    #expect(throws: Never.self, "\(name)") { try test.write(request) }
  }

  @Test(arguments: requests.indices)
  func whatIsInMemoryIsWhatIsOnDisk(index: Int) throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    try test.create("s") { $0.metadata = #"{"a":1}"# }
    _ = try test.get("s")
    let (name, request) = Self.requests[index]
    try test.write(request)
    let remembered = try test.get("s")
    try test.reopen()
    #expect(try test.get("s").map { "\($0)" } == remembered.map { "\($0)" }, "\(name)")
  }

  @Test func whatAnotherProcessChangesIsSeenAtOnce() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    try test.create("s") { $0.metadata = #"{"a":1}"# }
    let other = try TestStore(directory.file("a.db"), clock: test.clock)
    #expect(try other.get("s")?.metadata == #"{"a":1}"#)
    var update = SessionUpdate()
    update.metadata = .set(#"{"a":2}"#)
    try test.write { _ = try $0.updateSession("s", update, owner: .server) }
    #expect(try other.get("s")?.metadata == #"{"a":2}"#)
    try test.write { _ = try $0.setSessionState("s", "k", "3", owner: .server) }
    #expect(try other.get("s")?.state == #"{"k":3}"#)
  }

  @Test func aChangeThatIsTakenBackIsForgotten() throws {
    let test = try TestStore()
    try test.create("s") { $0.state = #"{"k":1}"# }
    try test.store.beginGroup(waiting: 0)
    _ = try test.store.setSessionState("s", "k", "2", owner: .server)
    #expect(try test.store.getSession("s", owner: .server)?.state == #"{"k":2}"#)
    test.store.abandonGroup()
    #expect(try test.get("s")?.state == #"{"k":1}"#)
  }

  @Test func readingAloneKeepsMemoryBounded() throws {
    let test = try TestStore()
    let count = 17_000
    try test.write { store in
      for number in 0..<count {
        var new = NewSession()
        new.sessionID = "s\(number)"
        _ = try store.createSession(new, owner: .server)
      }
    }
    for number in 0..<count { _ = try test.get("s\(number)") }
    #expect(test.store.cache.rows.count < count)
  }

  /// A slot says where a row stands in the cache, and must not be kept past the moment when the cache forgets its rows.
  @Test func aSlotThatIsKeptTooLongTraps() async {
    await #expect(processExitsWith: .success) {
      let test = try TestStore()
      try test.create("s")
      let slot = try #require(try test.read { try $0.findSession("s", owner: .server) })
      _ = test.store.cache.rows[slot].number
    }
    await #expect(processExitsWith: .failure) {
      let test = try TestStore()
      try test.create("s")
      let slot = try #require(try test.read { try $0.findSession("s", owner: .server) })
      test.store.cache.removeAll()
      try test.create("other")
      _ = test.store.cache.rows[slot].number
    }
  }

  @Test func detailsAreDroppedBeforeTheyAreTooMany() throws {
    let test = try TestStore()
    let large = JSONText(validated: Array("\"\(String(repeating: "x", count: 3_000))\"".utf8)[...])
    for number in 0..<1_000 {
      try test.create("s\(number)") { $0.metadata = JSONText(validated: Array("{\"a\":\(large.string)}".utf8)[...]) }
      #expect(try test.get("s\(number)")?.metadata.bytes.count == large.bytes.count + 6)
      #expect(test.store.cache.detailsBytes <= 2 << 20)
    }
    #expect(test.store.cache.detailsBytes > 0)
    let two = Array("{\"a\":\(large.string),\"b\":\(large.string)}".utf8)
    try test.create("huge") { $0.state = JSONText(validated: two[...]) }
    let before = test.store.cache.detailsBytes
    #expect(try test.get("huge")?.state?.bytes.count == 2 * large.bytes.count + 11)
    #expect(test.store.cache.detailsBytes == before)
  }

  /// With ids of every length, many that were there before, and many that were taken out.
  @Test func theIndexFindsWhatADictionaryFinds() {
    var index = SessionIndex()
    var ids: [String] = []
    var known: [String: Int] = [:]
    for number in 0..<2_000 {
      let new = String(repeating: "s", count: number % 20) + String(number % 700)
      ids.append(new)
      index.insert(ids.count - 1) { ids[$0] }
      known[new] = ids.count - 1
      if number % 3 == 0 {
        let gone = ids[number / 2]
        index.remove(gone.utf8.span) { ids[$0] }
        known[gone] = nil
      }
    }
    for id in ids { #expect(index.place(of: id.utf8.span) { ids[$0] } == known[id]) }
    #expect(index.place(of: "".utf8.span) { ids[$0] } == nil)
    index.removeAll()
    for id in ids { #expect(index.place(of: id.utf8.span) { ids[$0] } == nil) }
  }
}
