import Database
import JSON
import SQLite
import Testing

@testable import SessionStore

@Suite struct GroupTests {
  let directory: TemporaryDirectory
  let test: TestStore

  init() throws {
    directory = try TemporaryDirectory()
    test = try TestStore(directory.file("a.db")) {
      $0.maxEventsPerSession = 3
      $0.eventOverflow = .error
      $0.maxSessions = 5
      $0.maxTasks = 2
      $0.maxValues = 2
      $0.maxTaskMessages = 1
      $0.maxStateBytes = 40
    }
  }

  /// Every row of every table.
  private func contents(_ store: Store) throws -> [String] {
    var contents: [String] = []
    // On a server the row of a process says which group was its last.
    for table in Schema.tables(of: Schema.current.version) where !store.isShared || table != "store" {
      var names: [String] = []
      var columns = try store.tables.connection(.server).statement(
        composed: store.isShared
          ? """
            SELECT attname FROM pg_attribute WHERE attrelid = CAST(CAST('\(table)' AS TEXT) AS regclass) AND attnum > 0
            """
          : "SELECT name FROM pragma_table_info('\(table)')")
      while try columns.step() { names.append(columns.string(0)) }
      var select = try store.tables.connection(.server).statement(
        composed: "SELECT \(names.joined(separator: ", ")) FROM \(table)")
      while try select.step() {
        let values = names.indices.map { select.optionalString(Int32($0)) ?? "NULL" }
        contents.append(table + " " + values.joined(separator: "|"))
      }
    }
    return contents.sorted()
  }

  private func fill() throws {
    try test.create("full", owner: .principal("p")) { $0.userID = "u" }
    for _ in 1...3 { try test.event("full") }
    try test.create("empty")
    try test.create("suspended")
    try test.step("suspended", .suspend)
    try test.create("over") { $0.ttl = 0 }
    try test.step("over", .invalidate)
    try test.task("t")
    try test.task("done") { $0.status = .completed }
    try test.write { _ = try $0.enqueueTaskMessage("t", "1", maxSize: nil, scope: TaskScope()) }
    for key in ["k", "l"] { try test.put(ValuePlace(collection: "c", owner: .server), key, "1") }
  }

  @Test func aRefusedRequestLeavesNoTrace() throws {
    try fill()
    try test.create("fifth")
    let event = NewEvent(data: .null)
    let place = ValuePlace(collection: "c", owner: .server)
    let requests: [(Store) throws -> Void] = [
      { _ = try $0.createSession(NewSession(), owner: .server) },
      { _ = try $0.storeEvent("full", event, owner: .server) },
      { _ = try $0.storeEvents("empty", [event, event, event, event], owner: .server) },
      { _ = try $0.storeEvent("none", event, owner: .server) },
      { _ = try $0.storeEvent("full", event, owner: .principal("q")) },
      { _ = try $0.storeEvent("suspended", event, owner: .server) },
      { _ = try $0.broadcastEvent(event, SessionFilter()) },
      { _ = try $0.setSessionState("empty", "k", #""1234567890123456789012345678901234567890""#, owner: .server) },
      { _ = try $0.updateSession("empty", SessionUpdate(), owner: .server, ifRevision: 999) },
      { store in
        var update = SessionUpdate()
        update.userID = .set("other")
        update.state = .set(#"{"a":1,"\u0061":2}"#)
        _ = try store.updateSession("empty", update, owner: .server)
      },
      { _ = try $0.changeStatus("over", .activate, owner: .server) },
      { _ = try $0.touchSession("suspended", owner: .server) },
      { _ = try $0.createTask(NewTask(), owner: .server) },
      { store in
        var new = NewTask()
        new.taskID = "t"
        new.sessionID = "empty"
        _ = try store.createTask(new, owner: .server)
      },
      { _ = try $0.updateTaskStatus("done", .working, message: nil, scope: TaskScope(), ifRevision: nil) },
      { _ = try $0.finishTask("done", .success(.null), message: nil, scope: TaskScope()) },
      { _ = try $0.requireTaskInput("t", "{}", scope: TaskScope()) },
      { _ = try $0.enqueueTaskMessage("t", "1", maxSize: nil, scope: TaskScope()) },
      { _ = try $0.putValue(place, "m", "1", ttl: nil, ifAbsent: false, ifRevision: nil) },
      { _ = try $0.putValue(place, "k", "1", ttl: nil, ifAbsent: false, ifRevision: 999) },
      { _ = try $0.deleteValue(place, "k", ifRevision: 999) },
    ]
    let before = try contents(test.store)
    let counters = test.store.counters
    test.now += 1_000
    for (index, request) in requests.enumerated() {
      #expect(throws: StoreError.self, "request \(index)") { try test.write(request) }
      #expect(try contents(test.store) == before, "request \(index)")
      #expect(test.store.counters == counters, "request \(index)")
    }
    // In one group with others they leave none either.
    try test.write { store in
      for request in requests {
        #expect(throws: StoreError.self) { try request(store) }
        _ = try store.touchSession("empty", owner: .server)
      }
    }
    #expect(test.store.counters == counters)
    #expect(try test.write { try $0.storeEvent("empty", event, owner: .server).id } == 1)
  }

  @Test func anAbandonedGroupNeverWas() throws {
    try fill()
    let before = try contents(test.store)
    let counters = test.store.counters
    try test.store.beginGroup(waiting: 0)
    test.store.beginRequest()
    let store = test.store
    _ = try store.createSession(NewSession(), owner: .server)
    _ = try store.storeEvent("empty", NewEvent(data: .null), owner: .server)
    _ = try store.setSessionState("empty", "k", "1", owner: .server)
    _ = try store.deleteSession("full", owner: .server, deleteTasks: true)
    _ = try store.deleteTask("t", scope: TaskScope())
    _ = try store.deleteValue(ValuePlace(collection: "c", owner: .server), "k", ifRevision: nil)
    _ = try store.consumeNonce("n", ttl: 1_000, principal: .unspecified)
    #expect(store.isInGroup)
    store.abandonGroup()
    #expect(!store.isInGroup)
    #expect(!store.transactionStands)
    #expect(try contents(store) == before)
    if !store.isShared { #expect(try test.read { _ in test.store.counters } == counters) }
    // Ids go on as though nothing had been.
    #expect(try test.event("empty") == 1)
    #expect(try test.events("full").ids == [1, 2, 3])
    // A server's process does not give out again what a group had that was lost.
    let revision = try test.create("new").revision
    #expect(store.isShared ? revision > counters.revision : revision == counters.revision + 1)
    #expect(try test.write { try $0.consumeNonce("n", ttl: 1_000, principal: .unspecified) })
  }

  @Test func aReadInAGroupSeesWhatTheGroupWrote() throws {
    try fill()
    try test.write { store in
      _ = try store.storeEvent("empty", NewEvent(data: .null), owner: .server)
      #expect(try store.getSession("empty", owner: .server)?.lastEventID == 1)
      _ = try store.changeStatus("empty", .suspend, owner: .server)
      #expect(try store.countSessions(SessionFilter(status: .suspended)) == 2)
      _ = try store.deleteSession("empty", owner: .server, deleteTasks: false)
      #expect(try store.getSession("empty", owner: .server) == nil)
      #expect(try store.countSessions(SessionFilter()) == 3)
      #expect(try store.countEvents(nil, owner: .server) == 3)
    }
  }

  private struct Stop: Error {}

  private func refused(_ store: Store, _ body: () throws -> Void) throws {
    do {
      try store.atomically {
        try body()
        throw Stop()
      }
    } catch is Stop {}
  }

  @Test func atomicallyIsAllOrNothingWithinAGroup() throws {
    try fill()
    try test.write { store in
      _ = try store.setSessionState("empty", "before", "1", owner: .server)
      let revision = store.counters.revision
      #expect(throws: Stop.self) {
        try store.atomically {
          _ = try store.setSessionState("empty", "inside", "1", owner: .server)
          _ = try store.storeEvent("empty", NewEvent(data: .null), owner: .server)
          try store.atomically {
            _ = try store.deleteSession("full", owner: .server, deleteTasks: false)
          }
          try refused(store) { _ = try store.deleteTask("t", scope: TaskScope()) }
          #expect(try store.getTask("t", scope: TaskScope()) != nil)
          throw Stop()
        }
      }
      #expect(store.counters.revision == revision)
      #expect(try store.sessionStateKeys("empty", owner: .server) == ["before"])
      #expect(try store.storeEvent("empty", NewEvent(data: .null), owner: .server).id == 1)
      let result = try store.atomically {
        _ = try store.setSessionState("empty", "after", "1", owner: .server)
        return 7
      }
      #expect(result == 7)
    }
    try test.reopen()
    #expect(try test.read { try $0.sessionStateKeys("empty", owner: .server) } == ["before", "after"])
    #expect(try test.events("empty").ids == [1])
    #expect(try test.events("full").ids == [1, 2, 3])
  }

  @Test func aRequestFindsTasksAsThoseBeforeItLeftThem() throws {
    let scope = TaskScope()
    func touch(_ taskID: String, _ message: String, _ store: Store) throws {
      _ = try store.touchTask(taskID, statusMessage: message, ttl: nil, pollInterval: nil, scope: scope)
    }
    try test.task("gone") { $0.originalParams = "1" }
    try test.write { store in
      var new = NewTask()
      new.taskID = "t"
      new.originalParams = #"{"name":"build"}"#
      _ = try store.createTask(new, owner: .server)
      try touch("t", "half of it", store)
      #expect(try store.enqueueTaskMessage("t", "1", maxSize: nil, scope: scope) == 1)
      #expect(throws: StoreError.queueFull(limit: 1)) {
        _ = try store.enqueueTaskMessage("t", "2", maxSize: nil, scope: scope)
      }
      try refused(store) {
        try touch("t", "taken back", store)
        #expect(try store.dequeueTaskMessages("t", scope: scope) { _ in true } == 0)
        #expect(try store.deleteTask("gone", scope: scope))
      }
      let task = try #require(try store.getTask("t", scope: scope))
      #expect(task.statusMessage == "half of it")
      #expect(task.queueSize == 1)
      #expect(try task.payload(.originalParams) == new.originalParams)
      // Too long to be remembered.
      let long = String(repeating: "x", count: 2_000)
      try touch("t", long, store)
      #expect(try store.getTask("t", scope: scope)?.statusMessage == long)
      _ = try store.finishTask("t", .success("2"), message: "done", scope: scope)
      #expect(throws: StoreError.self) { try touch("t", "too late", store) }

      #expect(try store.getTask("gone", scope: scope) != nil)
      #expect(try store.deleteTask("gone", scope: scope))
      #expect(try store.getTask("gone", scope: scope) == nil)
      new.taskID = "gone"
      new.originalParams = nil
      _ = try store.createTask(new, owner: .server)
      #expect(try store.getTask("gone", scope: scope)?.payload(.originalParams) == nil)
    }
    try test.reopen()
    #expect(try test.task(get: "t")?.status == .completed)
    #expect(try test.task(get: "t")?.queueSize == 1)
    #expect(try test.read { try $0.getTask("t", scope: scope)?.payload(.result) } == #"{"success":2}"#)
    #expect(try test.task(get: "gone") != nil)
  }

  // MARK: - Two processes

  @Test func whatOneStoreWritesTheOtherSees() throws {
    let other = try TestStore(directory.file("a.db"), clock: test.clock)
    try test.create("s")
    #expect(try other.get("s") != nil)
    for round in 1...3 {
      #expect(try test.event("s") == Int64(round * 2 - 1))
      #expect(try other.event("s") == Int64(round * 2))
      if round == 1 { try test.write { _ = try $0.deleteEvents("s", before: 2, owner: .server) } }
      try other.write { _ = try $0.deleteEvents("s", before: Int64(round * 2 + 1), owner: .server) }
    }
    #expect(try test.get("s")?.lastEventID == 6)
    #expect(try test.read { try $0.countEvents(nil, owner: .server) } == 0)
    let revision = try other.write { try $0.setSessionState("s", "k", "1", owner: .server) }
    #expect(try test.get("s")?.revision == revision)
    let next = try test.create("t").revision
    // On a server each has numbers of its own.
    #expect(test.store.isShared ? next != revision : next == revision + 1)
    try other.write { _ = try $0.deleteSession("s", owner: .server, deleteTasks: false) }
    test.refuses(.sessionNotFound("s")) { _ = try $0.touchSession("s", owner: .server) }
    #expect(try test.count() == 1)
    #expect(try other.count() == 1)
  }

  @Test func aSnapshotStandsStillWhileOthersWrite() throws {
    let other = try TestStore(directory.file("a.db"), clock: test.clock)
    try test.create("s")
    try other.store.beginRead()
    #expect(try other.store.getSession("s", owner: .server)?.lastEventID == 0)
    try test.event("s")
    #expect(try other.store.getSession("s", owner: .server)?.lastEventID == 0)
    #expect(try other.store.countEvents(nil, owner: .server) == 0)
    other.store.endRead()
    #expect(try other.get("s")?.lastEventID == 1)
  }

  @Test(.ofFiles) func onlyOneGroupIsOpenAtATime() throws {
    let other = try TestStore(directory.file("a.db"), clock: test.clock)
    try test.store.beginGroup(waiting: 0)
    #expect(throws: StoreError.busy(milliseconds: 0)) { try other.store.beginGroup(waiting: 0) }
    #expect(!other.store.isInGroup)
    // Reading goes on, a checkpoint waits for its turn.
    #expect(try other.ids() == [])
    #expect(try other.store.checkpoint() == 0)
    try test.store.commitGroup()
    try other.store.beginGroup(waiting: 0)
    other.store.abandonGroup()
  }

  @Test(.ofFiles) func aCheckpointIsPutOffWhileAGroupOrASnapshotIsOpen() throws {
    let other = try TestStore(directory.file("a.db"), clock: test.clock)
    try test.create("s")
    try test.store.beginGroup(waiting: 0)
    #expect(try test.store.checkpoint() == 0)
    // It has not let the lock of the group go.
    #expect(throws: StoreError.busy(milliseconds: 0)) { try other.store.beginGroup(waiting: 0) }
    try test.store.commitGroup()
    try test.store.beginRead()
    #expect(try test.store.checkpoint() == 0)
    test.store.endRead()
    #expect(try test.store.checkpoint() > 0)
  }

  // MARK: - Groups that are lost

  @Test(.ofFiles) func aGroupThatSQLiteEndedIsSeenToBeLost() throws {
    try fill()
    let before = try contents(test.store)
    try test.store.beginGroup(waiting: 0)
    _ = try test.store.storeEvent("empty", NewEvent(data: .null), owner: .server)
    #expect(test.store.transactionStands)
    try test.store.file!.connection.execute("ROLLBACK")
    #expect(!test.store.transactionStands)
    test.store.abandonGroup()
    #expect(try contents(test.store) == before)
    #expect(try test.event("empty") == 1)
  }

  @Test(.ofFiles) func aFullDiskLosesTheGroupAndNothingElse() throws {
    let test = try TestStore(directory.file("full.db"))
    try test.create("s")
    try test.event("s")
    let before = try contents(test.store)
    let pages = try test.store.file!.connection.pragma("page_count")
    try test.store.file!.connection.execute("PRAGMA max_page_count = \(pages + 3)")
    try test.store.beginGroup(waiting: 0)
    let event = NewEvent(data: JSONText(stringLiteral: "\"" + String(repeating: "x", count: 5_000) + "\""))
    let error = #expect(throws: DatabaseError.self) {
      for _ in 1...20 { _ = try test.store.storeEvent("s", event, owner: .server) }
    }
    #expect(error?.class == .full)
    test.store.abandonGroup()
    #expect(try contents(test.store) == before)
    #expect(try test.events("s").ids == [1])
    try test.store.file!.connection.execute("PRAGMA max_page_count = 100000")
    #expect(try test.write { try $0.storeEvent("s", event, owner: .server).id } == 2)
  }
}
