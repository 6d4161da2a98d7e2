import JSON
import Testing

@testable import SessionStore

/// The eleven cases that every backend of the ancestor's task store has to pass, and what its backends add. Where our
/// contract decides otherwise, the name says so.
@Suite struct ParityTaskTests {
  private let scope = TaskScope()

  @Test func createAndRetrieve() throws {
    let test = try TestStore()
    try test.create("s")
    let made = try test.task("t") {
      $0.sessionID = "s"
      $0.statusMessage = "begun"
      $0.originalMethod = "tools/call"
      $0.originalParams = #"{"name":"x","arguments":{"n":1.0}}"#
      $0.ttl = 60_000
      $0.pollInterval = 500
      $0.meta = #"{"m":null}"#
    }
    let task = try #require(try test.task(get: "t"))
    #expect(task.sessionID == "s")
    #expect(task.status == .working)
    #expect(task.statusMessage == "begun")
    #expect(task.createdAt == test.now)
    #expect(task.lastUpdatedAt == test.now)
    #expect(task.ttl == 60_000)
    #expect(task.pollInterval == 500)
    #expect(task.originalMethod == "tools/call")
    #expect(try task.originalParams?.string == #"{"name":"x","arguments":{"n":1.0}}"#)
    #expect(try task.meta?.string == #"{"m":null}"#)
    #expect(try task.result == nil)
    #expect(task.revision == made.revision)
    #expect(try test.task(get: "none") == nil)
    #expect(try test.write { try $0.deleteTask("t", scope: scope) })
    #expect(try !test.write { try $0.deleteTask("t", scope: scope) })
  }

  private func move(_ test: TestStore, _ status: TaskStatus, _ message: String? = nil) throws -> TaskRecord {
    try test.write { try $0.updateTaskStatus("t", status, message: message, scope: scope, ifRevision: nil) }
  }

  @Test func stateMachineEnforcement() throws {
    let test = try TestStore()
    try test.task("t")
    #expect(throws: StoreError.invalidTransition(current: .working, requested: .working)) {
      try move(test, .working)
    }
    #expect(try move(test, .inputRequired).status == .inputRequired)
    #expect(try move(test, .working).status == .working)
    #expect(try move(test, .completed).status == .completed)
    test.refuses(.taskNotFound("nonexistent")) {
      _ = try $0.updateTaskStatus("nonexistent", .completed, message: nil, scope: scope, ifRevision: nil)
    }
  }

  @Test(arguments: [TaskStatus.completed, .failed, .cancelled])
  func terminalStateRejection(terminal: TaskStatus) throws {
    let test = try TestStore()
    try test.task("t") { $0.status = terminal }
    for target in TaskStatus.allCases {
      #expect(throws: StoreError.terminalState(current: terminal, requested: target.rawValue)) {
        try move(test, target)
      }
    }
  }

  @Test func cursorDeterminism() throws {
    // The ancestor sorts equal times by id; ours come in the order of creation.
    let test = try TestStore()
    try test.create("s")
    let ids = (0..<10).map { "task-\(($0 * 7) % 10)" }
    for id in ids { try test.task(id) { $0.sessionID = "s" } }
    var seen: [String] = []
    var after: Int64 = 0
    var hasMore = true
    while hasMore {
      var count = 0
      hasMore = try test.read { store in
        try store.listTasks(status: nil, scope: TaskScope(sessionID: "s"), after: after, limit: 3) { task, number in
          seen.append(task.taskID)
          after = number
          count += 1
          return true
        }
      }
      #expect(count == (hasMore ? 3 : 1))
    }
    #expect(seen == ids)
  }

  @Test func sessionScoping() throws {
    let test = try TestStore()
    for id in ["a", "b", "c"] { try test.create(id) }
    for (task, session) in [("1", "a"), ("2", "b"), ("3", "a")] { try test.task(task) { $0.sessionID = session } }
    try test.task("free")
    #expect(try test.taskIDs(TaskScope(sessionID: "a")) == ["1", "3"])
    #expect(try test.taskIDs(TaskScope(sessionID: "b")) == ["2"])
    #expect(try test.taskIDs(TaskScope(sessionID: "c")) == [])
    #expect(try test.taskIDs() == ["1", "2", "3", "free"])
  }

  @Test func ttlExpiry() throws {
    let test = try TestStore()
    func task(_ id: String, _ createdAt: Int64, _ ttl: Int64?) throws {
      try test.task(id)
      var update = TaskUpdate()
      update.createdAt = .set(createdAt)
      update.ttl = .set(ttl)
      try test.write { _ = try $0.updateTask(id, update, scope: scope, ifRevision: nil, force: false) }
    }
    try task("2020 with a ttl", 1_577_836_800_000, 1)
    try task("2020 without", 1_577_836_800_000, nil)
    try task("2099 with a ttl", 4_070_908_800_000, 1)
    #expect(try test.write { try $0.expireTasks(limit: 10) }.removed == ["2020 with a ttl"])
    #expect(try test.taskIDs() == ["2020 without", "2099 with a ttl"])
    #expect(try test.rows("tasks") == 2)
  }

  @Test func taskResultRoundTrip() throws {
    let test = try TestStore()
    for id in ["ok", "bad"] { try test.task(id) }
    try test.write {
      _ = try $0.storeTaskResult("ok", .success(#"{"content":[],"n":1.0}"#), scope: scope)
      _ = try $0.storeTaskResult(
        "bad", .error(#"{"code":-32010,"message":"broken","data":{"x":1}}"#), scope: scope)
    }
    #expect(try test.task(get: "ok")?.result?.string == #"{"success":{"content":[],"n":1.0}}"#)
    #expect(
      try test.task(get: "bad")?.result?.string == #"{"error":{"code":-32010,"message":"broken","data":{"x":1}}}"#)
    // The status stays.
    #expect(try test.task(get: "ok")?.status == .working)
    test.refuses(.taskNotFound("none")) { _ = try $0.storeTaskResult("none", .success(.null), scope: scope) }
  }

  @Test func recoverStuckTasks() throws {
    let test = try TestStore()
    for (id, status) in [
      ("old working", TaskStatus.working), ("old asking", .inputRequired), ("old done", .completed),
      ("new working", .working),
    ] {
      try test.task(id) { $0.status = status }
      var update = TaskUpdate()
      update.lastUpdatedAt = .set(id.hasPrefix("old") ? 1_577_836_800_000 : 4_070_908_800_000)
      try test.write { _ = try $0.updateTask(id, update, scope: scope, ifRevision: nil, force: true) }
    }
    let recovered = try test.write { try $0.recoverStuckTasks(maxAge: 300_000, scope: scope, limit: 10) }
    #expect(recovered.removed == ["old working", "old asking"])
    for id in recovered.removed {
      let task = try test.task(get: id)
      #expect(task?.status == .failed)
      #expect(task?.statusMessage == "Server restarted — task interrupted")
      // The ancestor leaves them without an outcome, so that asking for their result is an internal error.
      #expect(try task?.result != nil)
    }
    #expect(try test.task(get: "old done")?.status == .completed)
    #expect(try test.task(get: "new working")?.status == .working)
  }

  @Test func maxTasksLimit() throws {
    let test = try TestStore { $0.maxTasks = 5 }
    for index in 0..<5 { try test.task("t-\(index)") }
    #expect(throws: StoreError.maxTasksReached(limit: 5)) { try test.task("more") }
    #expect(try test.read { try $0.countTasks(status: nil, scope: scope) } == 5)
  }

  @Test func errorMapping() throws {
    let test = try TestStore()
    try test.task("t")
    let missing = #expect(throws: StoreError.self) {
      try test.write { _ = try $0.cancelTask("none", cooperative: false, scope: scope) }
    }
    #expect(missing == .taskNotFound("none"))
    let same = #expect(throws: StoreError.self) { try move(test, .working) }
    #expect(same == .invalidTransition(current: .working, requested: .working))
    _ = try move(test, .failed)
    let terminal = #expect(throws: StoreError.self) { try move(test, .working) }
    #expect(terminal == .terminalState(current: .failed, requested: "working"))
  }

  @Test func twoWritersOneWins() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    let other = try TestStore(directory.file("a.db"), clock: test.clock)
    let task = try test.task("t")
    _ = try move(test, .completed, "winner")
    #expect(throws: StoreError.terminalState(current: .completed, requested: "completed")) {
      try move(other, .completed, "loser")
    }
    other.refuses(.concurrentModification(revision: task.revision + 1)) {
      _ = try $0.updateTaskStatus("t", .failed, message: "loser", scope: scope, ifRevision: task.revision)
    }
    #expect(try other.task(get: "t")?.statusMessage == "winner")
    #expect(try other.read { try $0.countTasks(status: nil, scope: scope) } == 1)
  }

  // MARK: - What the backends and the checklist add

  @Test func aMessageThatIsLeftOutIsCleared() throws {
    let test = try TestStore()
    try test.task("t") { $0.statusMessage = "begun" }
    #expect(try move(test, .inputRequired).statusMessage == nil)
  }

  @Test func anUpdateGoesPastTheStateMachineButNotPastATerminalState() throws {
    // The ancestor's update goes past both; ours wants `force` for the second.
    let test = try TestStore()
    try test.task("t") { $0.ttl = 5_000 }
    var update = TaskUpdate()
    update.status = .set(.working)
    try test.write { _ = try $0.updateTask("t", update, scope: scope, ifRevision: nil, force: false) }
    update.status = .set(.completed)
    try test.write { _ = try $0.updateTask("t", update, scope: scope, ifRevision: nil, force: false) }
    update.status = .set(.working)
    test.refuses(.terminalState(current: .completed, requested: "update")) {
      _ = try $0.updateTask("t", update, scope: scope, ifRevision: nil, force: false)
    }
    let task = try test.write { try $0.updateTask("t", update, scope: scope, ifRevision: nil, force: true) }
    #expect(task.status == .working)
    // Absent fields stay.
    #expect(task.ttl == 5_000)
  }

  @Test func aTerminalTaskKeepsTheResultThatItHas() throws {
    // The ancestor overwrites it.
    let test = try TestStore()
    try test.task("t")
    func store(_ value: JSONText) throws {
      try test.write { _ = try $0.storeTaskResult("t", .success(value), scope: scope) }
    }
    try store("1")
    try store("2")
    _ = try move(test, .cancelled)
    #expect(throws: StoreError.terminalState(current: .cancelled, requested: "store a result")) { try store("3") }
    #expect(try test.task(get: "t")?.result?.string == #"{"success":2}"#)
    try test.task("late") { $0.status = .completed }
    try test.write { _ = try $0.storeTaskResult("late", .success("1"), scope: scope) }
    #expect(try test.task(get: "late")?.result?.string == #"{"success":1}"#)
  }

  @Test func outcomeAndStatusChangeTogether() throws {
    // Two calls in the ancestor: a cancellation in between left a cancelled task with a result.
    let test = try TestStore()
    for id in ["t", "u"] { try test.task(id) }
    let done = try test.write { try $0.finishTask("t", .success("1"), message: "done", scope: scope) }
    #expect(done.status == .completed)
    #expect(try done.result?.string == #"{"success":1}"#)
    #expect(done.statusMessage == "done")
    try test.write { _ = try $0.cancelTask("u", cooperative: false, scope: scope) }
    test.refuses(.terminalState(current: .cancelled, requested: "completed")) {
      _ = try $0.finishTask("u", .success("1"), message: nil, scope: scope)
    }
    #expect(try test.task(get: "u")?.result == nil)
  }

  @Test func cancellingCooperativelyOnlyAsks() throws {
    let test = try TestStore()
    try test.task("t")
    let asked = try test.write { try $0.cancelTask("t", cooperative: true, scope: scope) }
    #expect(asked.status == .working)
    #expect(asked.cancelRequested)
    let cancelled = try test.write { try $0.cancelTask("t", cooperative: false, scope: scope) }
    #expect(cancelled.status == .cancelled)
    test.refuses(.terminalState(current: .cancelled, requested: "cancelled")) {
      _ = try $0.cancelTask("t", cooperative: false, scope: scope)
    }
  }

  @Test func withoutATTLATaskNeverLapses() throws {
    let test = try TestStore()
    #expect(try test.task("t").ttl == nil)
    test.now += 1_000 * 365 * 24 * 3_600_000
    #expect(try test.task(get: "t") != nil)
    #expect(try test.write { try $0.expireTasks(limit: 10) }.removed == [])
  }

  @Test func madeIdsAreUUIDsAndDiffer() throws {
    let test = try TestStore()
    let ids = try (0..<50).map { _ in try test.write { try $0.createTask(NewTask(), owner: .server) }.taskID }
    #expect(Set(ids).count == 50)
    #expect(ids.allSatisfy { $0.count == 36 })
  }

  @Test func timestampsAreOfFixedWidth() {
    #expect(Timestamp.text(0) == "1970-01-01T00:00:00.000Z")
    #expect(Timestamp.text(1_582_934_400_001) == "2020-02-29T00:00:00.001Z")
    #expect(Timestamp.text(-1) == "1969-12-31T23:59:59.999Z")
    #expect(Timestamp.text(.max).count == 24)
    #expect(Timestamp.text(.min).count == 24)
  }
}
