import JSON
import Testing

@testable import SessionStore

@Suite struct TaskTests {
  private static let success = TaskOutcome.success(#"{"n":1.0}"#)
  private static let failure = TaskOutcome.error(#"{"code":-32010,"message":"it broke","data":[1]}"#)

  // MARK: - The state machine

  @Test(arguments: TaskStatus.allCases, TaskStatus.allCases)
  func everyTransition(from: TaskStatus, to: TaskStatus) throws {
    let test = try TestStore()
    try test.task("t") { $0.status = from }
    let request = { (store: Store) throws in
      _ = try store.updateTaskStatus("t", to, message: "now", scope: TaskScope(), ifRevision: nil)
    }
    switch (from, to) {
    case (.completed, _), (.failed, _), (.cancelled, _):
      test.refuses(.terminalState(current: from, requested: to.rawValue), request)
    case _ where from == to:
      test.refuses(.invalidTransition(current: from, requested: to), request)
    default:
      try test.write(request)
      #expect(try test.task(get: "t")?.status == to)
      #expect(try test.task(get: "t")?.statusMessage == "now")
      return
    }
    #expect(try test.task(get: "t")?.status == from)
    #expect(try test.task(get: "t")?.statusMessage == nil)
  }

  @Test(arguments: TaskStatus.allCases)
  func whatATaskAnswersTo(status: TaskStatus) throws {
    let test = try TestStore()
    try test.task("t") { $0.status = status }
    let requests: [(String, (Store) throws -> Void)] = [
      ("touch", { _ = try $0.touchTask("t", statusMessage: "x", ttl: nil, pollInterval: nil, scope: TaskScope()) }),
      (
        "update",
        { _ = try $0.updateTask("t", TaskUpdate(), scope: TaskScope(), ifRevision: nil, force: false) }
      ),
      ("cancel", { _ = try $0.cancelTask("t", cooperative: true, scope: TaskScope()) }),
      ("require input", { _ = try $0.requireTaskInput("t", #"{"k":1}"#, scope: TaskScope()) }),
      ("provide input", { _ = try $0.provideTaskInput("t", #"{"k":1}"#, scope: TaskScope()) }),
      ("completed", { _ = try $0.finishTask("t", Self.success, message: nil, scope: TaskScope()) }),
    ]
    for (requested, request) in requests {
      if status.isTerminal {
        test.refuses(.terminalState(current: status, requested: requested), request)
      } else {
        try test.write(request)
      }
    }
    // Repair is always possible, and so is reading.
    try test.write {
      _ = try $0.updateTask("t", TaskUpdate(), scope: TaskScope(), ifRevision: nil, force: true)
    }
    #expect(try test.task(get: "t") != nil)
  }

  // MARK: - Time

  @Test func aTaskLapsesStrictlyAfterItsTime() throws {
    let test = try TestStore()
    try test.task("t") { $0.ttl = 1_000 }
    test.now += 1_000
    #expect(try test.task(get: "t") != nil)
    #expect(try test.write { try $0.expireTasks(limit: 10) }.removed == [])
    #expect(try test.read { try $0.countTasks(status: nil, scope: TaskScope()) } == 1)
    test.now += 1
    #expect(try test.task(get: "t") == nil)
    #expect(try test.read { try $0.countTasks(status: nil, scope: TaskScope()) } == 0)
    #expect(try test.taskIDs() == [])
    test.refuses(.taskNotFound("t")) { _ = try $0.cancelTask("t", cooperative: false, scope: TaskScope()) }
    #expect(try test.write { try $0.deleteTask("t", scope: TaskScope()) } == false)
    #expect(try test.rows("tasks") == 1)
    #expect(try test.write { try $0.expireTasks(limit: 10) }.removed == ["t"])
    #expect(try test.rows("tasks") == 0)
  }

  @Test func touchingMovesTheEndAndSaysThatTheTaskLives() throws {
    let test = try TestStore()
    try test.task("t") {
      $0.ttl = 1_000
      $0.statusMessage = "begun"
      $0.pollInterval = 7
    }
    test.now += 500
    func touch(_ message: String?, _ ttl: Int64?) throws -> TaskRecord {
      try test.write {
        try $0.touchTask("t", statusMessage: message, ttl: ttl, pollInterval: nil, scope: TaskScope())
      }
    }
    var task = try touch(nil, 5_000)
    #expect(task.statusMessage == "begun")
    #expect(task.pollInterval == 7)
    #expect(task.lastUpdatedAt == test.now)
    test.now += 4_000
    task = try touch("half", nil)
    #expect(task.ttl == 5_000)
    #expect(task.statusMessage == "half")
    #expect(task.status == .working)
    test.now += 501
    #expect(try test.task(get: "t") == nil)
  }

  @Test func anIdThatLapsedMayBeTakenAgain() throws {
    let test = try TestStore { $0.maxTasks = 1 }
    try test.task("t") { $0.ttl = 0 }
    try test.write { _ = try $0.enqueueTaskMessage("t", "1", maxSize: nil, scope: TaskScope()) }
    test.refuses(.taskExists("t")) {
      var new = NewTask()
      new.taskID = "t"
      _ = try $0.createTask(new, owner: .server)
    }
    test.now += 1
    try test.task("t")
    #expect(try test.messages("t") == [])
    #expect(try test.rows("tasks") == 1)
  }

  @Test func theCapDoesNotCountLapsedTasks() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db")) { $0.maxTasks = 40 }
    for index in 0..<40 { try test.task("t-\(index)") { $0.ttl = index < 20 ? 100 : nil } }
    #expect(throws: StoreError.maxTasksReached(limit: 40)) { try test.task("more") }
    test.now += 101
    try test.task("more")
    #expect(try test.read { try $0.countTasks(status: nil, scope: TaskScope()) } == 21)
    // A cap that was lowered is a cap too, however many have lapsed.
    try test.task("short") { $0.ttl = 100 }
    try test.reopen { $0.maxTasks = 10 }
    test.now += 101
    #expect(throws: StoreError.maxTasksReached(limit: 10)) { try test.task("less") }
    try test.reopen { $0.maxTasks = 0 }
    try test.task("less")
  }

  @Test func stuckTasksAreFailedWithAnOutcome() throws {
    let test = try TestStore()
    try test.create("s")
    try test.task("old") { $0.sessionID = "s" }
    try test.task("asking") { $0.ttl = 100_000 }
    try test.write { _ = try $0.requireTaskInput("asking", #"{"k":1}"#, scope: TaskScope()) }
    try test.task("done") { $0.status = .completed }
    try test.task("lapsed") { $0.ttl = 10 }
    test.now += 1_000
    try test.task("new")
    func recover(_ maxAge: Int64, _ scope: TaskScope = TaskScope()) throws -> [String] {
      try test.write { try $0.recoverStuckTasks(maxAge: maxAge, scope: scope, limit: 10) }.removed
    }
    #expect(try recover(1_000) == [])
    #expect(try recover(999, TaskScope(sessionID: "other")) == [])
    #expect(try recover(999, TaskScope(sessionID: "s")) == ["old"])
    #expect(try recover(999) == ["asking"])
    let task = try #require(try test.task(get: "asking"))
    #expect(task.status == .failed)
    #expect(task.statusMessage == "Server restarted — task interrupted")
    #expect(try task.inputRequests == nil)
    #expect(
      try task.result?.string == #"{"error":{"code":-32603,"message":"Server restarted — task interrupted"}}"#)
    #expect(try test.task(get: "done")?.status == .completed)
    #expect(try test.task(get: "new")?.status == .working)
  }

  // MARK: - Owners and sessions

  @Test func aTaskTakesItsSessionsOwners() throws {
    let test = try TestStore()
    try test.create("s", owner: Owner(tenant: .named("t"), principal: .named("p")))
    try test.create("open")
    let task = try test.task("a") { $0.sessionID = "s" }
    #expect(task.tenantID == "t")
    #expect(task.principal == "p")
    #expect(try test.task("b", owner: .principal("q")) { $0.sessionID = "open" }.principal == "q")
    #expect(throws: StoreError.sessionNotFound("s")) {
      try test.task("c", owner: .principal("q")) { $0.sessionID = "s" }
    }
    #expect(throws: StoreError.sessionNotFound("none")) { try test.task("c") { $0.sessionID = "none" } }
    #expect(try test.task(get: "a", scope: TaskScope(owner: .principal("q"))) == nil)
    #expect(try test.task(get: "a", scope: TaskScope(owner: .anonymous)) == nil)
    #expect(try test.task(get: "a", scope: TaskScope(owner: .principal("p"))) != nil)
    #expect(try test.taskIDs(TaskScope(owner: .principal("q"))) == ["b"])
  }

  @Test func whatBelongsToAnotherSessionIsMissing() throws {
    let test = try TestStore()
    for id in ["s", "other"] { try test.create(id) }
    try test.task("t") { $0.sessionID = "s" }
    try test.task("free")
    let foreign = TaskScope(sessionID: "other")
    let requests: [(Store) throws -> Void] = [
      { _ = try $0.updateTaskStatus("t", .completed, message: nil, scope: foreign, ifRevision: nil) },
      { _ = try $0.updateTask("t", TaskUpdate(), scope: foreign, ifRevision: nil, force: true) },
      { _ = try $0.touchTask("t", statusMessage: nil, ttl: nil, pollInterval: nil, scope: foreign) },
      { _ = try $0.storeTaskResult("t", Self.success, scope: foreign) },
      { _ = try $0.finishTask("t", Self.success, message: nil, scope: foreign) },
      { _ = try $0.cancelTask("t", cooperative: false, scope: foreign) },
      { _ = try $0.requireTaskInput("t", #"{"k":1}"#, scope: foreign) },
      { _ = try $0.provideTaskInput("t", #"{"k":1}"#, scope: foreign) },
      { _ = try $0.enqueueTaskMessage("t", "1", maxSize: nil, scope: foreign) },
      { _ = try $0.dequeueTaskMessages("t", scope: foreign) { _ in true } },
      { _ = try $0.startReading(taskID: "t", scope: foreign) },
    ]
    for request in requests { test.refuses(.taskNotFound("t"), request) }
    #expect(try test.write { try $0.deleteTask("t", scope: foreign) } == false)
    #expect(try test.task(get: "t", scope: foreign) == nil)
    #expect(try test.task(get: "free", scope: foreign) == nil)
    #expect(try test.task(get: "t")?.revision == test.task(get: "t", scope: TaskScope(sessionID: "s"))?.revision)
    #expect(try test.taskIDs(TaskScope(sessionID: "s")) == ["t"])
    #expect(try test.taskIDs(foreign) == [])
  }

  @Test func tasksOutliveTheirSessionUnlessTheyAreDeletedWithIt() throws {
    let test = try TestStore()
    for id in ["s", "t"] {
      try test.create(id)
      try test.task("of-\(id)") { $0.sessionID = id }
    }
    #expect(try test.write { try $0.deleteSession("s", owner: .server, deleteTasks: false) }.tasks == 0)
    #expect(try test.write { try $0.deleteSession("t", owner: .server, deleteTasks: true) }.tasks == 1)
    #expect(try test.taskIDs() == ["of-s"])
  }

  // MARK: - Input

  @Test func anInputRoundKeepsPartialAnswers() throws {
    let test = try TestStore()
    try test.task("t")
    func ask(_ requests: JSONText) throws -> TaskRecord {
      try test.write { try $0.requireTaskInput("t", requests, scope: TaskScope()) }
    }
    func answer(_ responses: JSONText) throws -> TaskRecord {
      try test.write { try $0.provideTaskInput("t", responses, scope: TaskScope()) }
    }
    var task = try ask(#"{"name":{"type":"string"},"age":1.0}"#)
    #expect(task.status == .inputRequired)
    #expect(try task.inputRequests?.string == #"{"name":{"type":"string"},"age":1.0}"#)
    task = try answer(#"{"name":"Ann","unknown":1}"#)
    #expect(task.status == .inputRequired)
    #expect(try task.inputRequests?.string == #"{"age":1.0}"#)
    #expect(try task.inputResponses?.string == #"{"name":"Ann"}"#)
    // More may be asked for meanwhile; answered keys are ignored; unknown ones too.
    task = try ask(#"{"city":null}"#)
    let revision = task.revision
    task = try answer(#"{"name":"Bob","none":2}"#)
    #expect(task.revision == revision)
    task = try answer(#"{"city":"Ulm","age":7.0,"name":"Bob"}"#)
    #expect(task.status == .working)
    #expect(try task.inputRequests == nil)
    #expect(try task.inputResponses?.string == #"{"name":"Ann","city":"Ulm","age":7.0}"#)
    // Keys are never used again.
    test.refuses(
      .invalidParameter(name: "input_requests.name", expected: "a key that this task has not used")
    ) { _ = try $0.requireTaskInput("t", #"{"more":1,"name":2}"#, scope: TaskScope()) }
    #expect(try test.task(get: "t")?.status == .working)
    #expect(try ask(#"{"more":1}"#).status == .inputRequired)
  }

  @Test func whatIsNoRoundIsRefused() throws {
    let test = try TestStore { $0.maxPayloadBytes = 40 }
    try test.task("t")
    for requests in ["{}", #"{"":1}"#, #"{"a":1,"\u0061":2}"#, #"{"\ud800":1}"#] as [JSONText] {
      #expect(throws: StoreError.self) {
        try test.write { _ = try $0.requireTaskInput("t", requests, scope: TaskScope()) }
      }
    }
    try test.write { _ = try $0.requireTaskInput("t", #"{"aaaaaaaaaaaaaaa":1}"#, scope: TaskScope()) }
    test.refuses(.payloadTooLarge(what: "All that the task asks for", limit: 40)) {
      _ = try $0.requireTaskInput("t", #"{"bbbbbbbbbbbbbbb":1}"#, scope: TaskScope())
    }
    #expect(try test.task(get: "t")?.inputRequests?.string == #"{"aaaaaaaaaaaaaaa":1}"#)
    // Its key is not used up by what was refused.
    try test.write { _ = try $0.provideTaskInput("t", #"{"aaaaaaaaaaaaaaa":1}"#, scope: TaskScope()) }
    try test.write { _ = try $0.requireTaskInput("t", #"{"bbbbbbbbbbbbbbb":1}"#, scope: TaskScope()) }
  }

  @Test func aMoveByHandWithdrawsWhatWasAskedFor() throws {
    let test = try TestStore()
    try test.task("t")
    try test.write { _ = try $0.requireTaskInput("t", #"{"a":1}"#, scope: TaskScope()) }
    try test.write {
      _ = try $0.updateTaskStatus("t", .working, message: nil, scope: TaskScope(), ifRevision: nil)
    }
    #expect(try test.task(get: "t")?.inputRequests == nil)
    #expect(throws: StoreError.self) {
      try test.write { _ = try $0.requireTaskInput("t", #"{"a":1}"#, scope: TaskScope()) }
    }
  }

  @Test func whatARepairAsksForAgainIsAnsweredAnew() throws {
    let test = try TestStore()
    try test.task("t")
    try test.write { _ = try $0.requireTaskInput("t", #"{"a":1}"#, scope: TaskScope()) }
    try test.write { _ = try $0.provideTaskInput("t", #"{"a":"old"}"#, scope: TaskScope()) }
    try test.write {
      var update = TaskUpdate()
      update.inputRequests = .set(#"{"a":1}"#)
      _ = try $0.updateTask("t", update, scope: TaskScope(), ifRevision: nil, force: false)
    }
    try test.write { _ = try $0.provideTaskInput("t", #"{"a":"new"}"#, scope: TaskScope()) }
    #expect(try test.task(get: "t")?.inputResponses?.string == #"{"a":"new"}"#)
  }

  // MARK: - Messages

  @Test func messagesLeaveInTheOrderInWhichTheyCame() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    for id in ["t", "u"] { try test.task(id) }
    for (index, message) in (["1.0", "null", #""c""#] as [JSONText]).enumerated() {
      #expect(
        try test.write { try $0.enqueueTaskMessage("t", message, maxSize: nil, scope: TaskScope()) } == index + 1)
      try test.write { _ = try $0.enqueueTaskMessage("u", "0", maxSize: nil, scope: TaskScope()) }
    }
    try test.reopen()
    #expect(try test.messages("t", limit: 1) == ["1.0"])
    #expect(try test.messages("t") == ["null", #""c""#])
    #expect(try test.messages("t") == [])
    #expect(try test.messages("u").count == 3)
    try test.write { _ = try $0.deleteTask("u", scope: TaskScope()) }
    #expect(try test.rows("task_messages") == 0)
  }

  @Test func aQueueMayBeFull() throws {
    let test = try TestStore { $0.maxTaskMessages = 2 }
    try test.task("t")
    func add(_ maxSize: Int64? = nil) throws {
      try test.write { _ = try $0.enqueueTaskMessage("t", "1", maxSize: maxSize, scope: TaskScope()) }
    }
    #expect(throws: StoreError.queueFull(limit: 0)) { try add(0) }
    try add()
    #expect(throws: StoreError.queueFull(limit: 1)) { try add(1) }
    try add()
    #expect(throws: StoreError.queueFull(limit: 2)) { try add() }
    #expect(try test.messages("t").count == 2)
  }

  @Test func whatIsNotTakenStays() throws {
    let test = try TestStore()
    try test.task("t")
    for _ in 1...3 { try test.write { _ = try $0.enqueueTaskMessage("t", "1", maxSize: nil, scope: TaskScope()) } }
    #expect(try test.write { try $0.dequeueTaskMessages("t", scope: TaskScope()) { _ in false } } == 3)
    #expect(try test.messages("t").count == 3)
  }

  @Test func lookingAtAQueueTakesNothing() throws {
    let test = try TestStore()
    try test.task("t")
    for index in 1...5 {
      let message = JSONText(validated: Array(String(index).utf8)[...])
      try test.write { _ = try $0.enqueueTaskMessage("t", message, maxSize: nil, scope: TaskScope()) }
    }
    func page(after: Int64, limit: Int64) throws -> (messages: [String], last: Int64, size: Int64, hasMore: Bool) {
      var (messages, last) = ([String](), after)
      let page = try test.read { store in
        try store.peekTaskMessages("t", after: after, limit: limit, scope: TaskScope()) { message, number in
          messages.append(message.string)
          last = number
          return true
        }
      }
      return (messages, last, page.size, page.hasMore)
    }
    let first = try page(after: 0, limit: 3)
    #expect(first.messages == ["1", "2", "3"] && first.size == 5 && first.hasMore)
    let second = try page(after: first.last, limit: 3)
    #expect(second.messages == ["4", "5"] && second.size == 5 && !second.hasMore)
    let revision = try test.task(get: "t")?.revision
    #expect(try test.messages("t", limit: 2) == ["1", "2"])
    #expect(try page(after: 0, limit: 0).size == 3)
    #expect(try page(after: first.last, limit: 9).messages == ["4", "5"])
    #expect(try test.task(get: "t")?.revision == revision)
  }

  @Test func keysAreBounded() throws {
    let test = try TestStore { $0.maxTaskInputKeys = 3 }
    try test.task("t")
    func ask(_ requests: JSONText) throws {
      try test.write { _ = try $0.requireTaskInput("t", requests, scope: TaskScope()) }
    }
    try ask(#"{"a":1,"b":1}"#)
    #expect(throws: StoreError.maxInputKeysReached(limit: 3)) { try ask(#"{"c":1,"d":1}"#) }
    #expect(try test.rows("task_input_keys") == 2)
    try ask(#"{"c":1}"#)
    #expect(throws: StoreError.maxInputKeysReached(limit: 3)) { try ask(#"{"d":1}"#) }
    // A repair may ask again for what was asked, and for nothing new.
    var update = TaskUpdate()
    update.inputRequests = .set(#"{"a":2}"#)
    _ = try test.write { try $0.updateTask("t", update, scope: TaskScope(), ifRevision: nil, force: false) }
    update.inputRequests = .set(#"{"d":2}"#)
    test.refuses(.maxInputKeysReached(limit: 3)) {
      _ = try $0.updateTask("t", update, scope: TaskScope(), ifRevision: nil, force: false)
    }
    _ = try test.write { try $0.deleteTask("t", scope: TaskScope()) }
    #expect(try test.rows("task_input_keys") == 0)
  }

  @Test func noWayInTakesMoreThanAPayload() throws {
    let test = try TestStore { $0.maxPayloadBytes = 64 }
    try test.task("t")
    try test.create("s")
    let large = JSONText(validated: Array("\"\(String(repeating: "x", count: 63))\"".utf8)[...])
    let blanks = String(repeating: " ", count: 64)
    let padded = JSONText(validated: Array("{\(blanks)\"code\":1,\"message\":\"\"}".utf8)[...])
    let asking = JSONText(validated: Array("{\"k\":\(large.string)}".utf8)[...])
    let scope = TaskScope()
    let ways: [(Store) throws -> Void] = [
      { _ = try $0.finishTask("t", .error(padded), message: nil, scope: scope) },
      { _ = try $0.finishTask("t", .success(large), message: nil, scope: scope) },
      { _ = try $0.storeTaskResult("t", .error(padded), scope: scope) },
      { store in
        var update = TaskUpdate()
        update.result = .set(.error(padded))
        _ = try store.updateTask("t", update, scope: scope, ifRevision: nil, force: false)
      },
      { store in
        var update = TaskUpdate()
        update.meta = .set(large)
        _ = try store.updateTask("t", update, scope: scope, ifRevision: nil, force: false)
      },
      { store in
        var new = NewTask()
        new.originalParams = large
        _ = try store.createTask(new, owner: .server)
      },
      { _ = try $0.enqueueTaskMessage("t", large, maxSize: nil, scope: scope) },
      { _ = try $0.requireTaskInput("t", asking, scope: scope) },
      { _ = try $0.putValue(
          ValuePlace(collection: "c", owner: .server), "k", large, ttl: nil, ifAbsent: false, ifRevision: nil) },
      { _ = try $0.appendLogEntry("s", NewLogEntry(padded), deduplicate: true, owner: .server) },
      { _ = try $0.replaceLog("s", [NewLogEntry("{}"), NewLogEntry(padded)], owner: .server) },
      { _ = try $0.compactLog("s", NewLogEntry(padded), owner: .server) },
    ]
    for (index, way) in ways.enumerated() {
      do {
        try test.write(way)
        Issue.record("the way \(index) takes it")
      } catch StoreError.payloadTooLarge(_, let limit) {
        #expect(limit == 64)
      }
    }
    #expect(try test.task(get: "t")?.fields() == [])
    for table in ["task_messages", "task_input_keys", "named_values", "log_entries"] {
      #expect(try test.rows(table) == 0, "\(table)")
    }
  }

  // MARK: - Readers

  @Test func aReaderSeesEachTasksLastChangeAndItsEnd() throws {
    let test = try TestStore()
    try test.create("s")
    try test.task("a") { $0.sessionID = "s" }
    var reader = try test.read { try $0.startReading(tasksOf: "s", owner: .server) }
    func read() throws -> [String] {
      var seen: [String] = []
      let hasMore = try test.read { store in
        try store.readOn(&reader) { change in
          switch change {
          case .changed(let task): seen.append("\(task.taskID) \(task.status.rawValue)")
          case .ended(let taskID, let reason): seen.append("\(taskID) \(reason)")
          }
          return true
        }
      }
      #expect(!hasMore)
      return seen
    }
    #expect(try read() == ["a working"])
    #expect(try read() == [])
    try test.task("b") {
      $0.sessionID = "s"
      $0.ttl = 100
    }
    try test.task("foreign")
    try test.write { _ = try $0.cancelTask("a", cooperative: true, scope: TaskScope()) }
    try test.write { _ = try $0.cancelTask("a", cooperative: false, scope: TaskScope()) }
    #expect(try read() == ["b working", "a cancelled"])
    test.now += 101
    try test.write { _ = try $0.deleteTask("a", scope: TaskScope()) }
    #expect(try read() == ["a deleted", "b expired"])
    #expect(try read() == [])
  }
}

@Suite struct NonceTests {
  @Test func aNonceIsFirstOnceUntilItLapses() throws {
    let test = try TestStore()
    func consume(_ nonce: String, _ principal: OwnerClaim = .unspecified) throws -> Bool {
      try test.write { try $0.consumeNonce(nonce, ttl: 100, principal: principal) }
    }
    #expect(try consume("n"))
    #expect(try !consume("n"))
    #expect(try consume("m"))
    test.now += 99
    #expect(try !consume("n"))
    // Its end is counted from the first time.
    test.now += 1
    #expect(try consume("n"))
    #expect(try !consume("n"))
  }

  @Test func eachPrincipalHasItsOwn() throws {
    let test = try TestStore()
    func consume(_ principal: OwnerClaim) throws -> Bool {
      try test.write { try $0.consumeNonce("n", ttl: 100, principal: principal) }
    }
    #expect(try consume(.named("a")))
    #expect(try consume(.named("b")))
    #expect(try consume(.unspecified))
    #expect(try !consume(.anonymous))
    #expect(try !consume(.named("a")))
  }

  @Test func itSurvivesARestart() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    #expect(try test.write { try $0.consumeNonce("n\u{0}1", ttl: 100, principal: .unspecified) })
    try test.reopen()
    #expect(try !test.write { try $0.consumeNonce("n\u{0}1", ttl: 100, principal: .unspecified) })
  }

  @Test func aSweepTakesWhatLapsed() throws {
    let test = try TestStore()
    for index in 0..<5 {
      try test.write { _ = try $0.consumeNonce("n\(index)", ttl: Int64(index) * 10, principal: .unspecified) }
    }
    test.now += 20
    #expect(try test.write { try $0.sweepNonces(limit: 2) } == 2)
    #expect(try test.write { try $0.sweepNonces(limit: 2) } == 1)
    #expect(try test.rows("nonces") == 2)
  }
}

@Suite struct ValueTests {
  private let server = ValuePlace(collection: "c", owner: .server)

  @Test func ownersAndCollectionsPartition() throws {
    let test = try TestStore()
    let owners: [Owner] = [
      .server, .principal("a"), .principal("b"), .tenant("a"), Owner(tenant: .named("a"), principal: .named("a")),
    ]
    var places: [ValuePlace] = owners.map { ValuePlace(collection: "c", owner: $0) }
    places.append(ValuePlace(collection: "d", owner: .server))
    for (index, place) in places.enumerated() {
      #expect(try test.put(place, "k", JSONText(stringLiteral: "\(index)")).stored)
    }
    for (index, place) in places.enumerated() {
      #expect(try test.read { try $0.getValue(place, "k") }?.value.string == "\(index)")
      #expect(try test.keys(place) == ["k"])
    }
    // Nobody's is one partition, whether left out or said to be null.
    #expect(try test.read { try $0.getValue(ValuePlace(collection: "c", owner: .anonymous), "k") } != nil)
    #expect(try test.write { try $0.deleteValue(places[1], "k", ifRevision: nil) })
    #expect(try test.keys(places[1]) == [])
    #expect(try test.keys(places[2]) == ["k"])
  }

  @Test func putMayDependOnWhatIsThere() throws {
    let test = try TestStore()
    let first = try test.put(server, "k", "1")
    let second = try test.put(server, "k", "2", ifAbsent: true)
    #expect(!second.stored)
    #expect(second.revision == first.revision)
    #expect(try test.read { try $0.getValue(server, "k") }?.value.string == "1")
    #expect(throws: StoreError.concurrentModification(revision: first.revision)) {
      try test.put(server, "k", "2", ifRevision: first.revision + 1)
    }
    let third = try test.put(server, "k", "3", ifRevision: first.revision)
    #expect(third.revision > first.revision)
    #expect(throws: StoreError.concurrentModification(revision: nil)) {
      try test.put(server, "none", "2", ifRevision: 1)
    }
    test.refuses(.concurrentModification(revision: third.revision)) {
      _ = try $0.deleteValue(server, "k", ifRevision: first.revision)
    }
    #expect(try test.write { try $0.deleteValue(server, "k", ifRevision: third.revision) })
    #expect(try !test.write { try $0.deleteValue(server, "k", ifRevision: nil) })
  }

  @Test func aValueLapsesAtTheExactMillisecond() throws {
    let test = try TestStore()
    let first = try test.put(server, "k", "1", ttl: 100)
    try test.put(server, "other", "2")
    test.now += 99
    #expect(try test.read { try $0.getValue(server, "k") } != nil)
    #expect(try test.keys(server) == ["k", "other"])
    test.now += 1
    #expect(try test.read { try $0.getValue(server, "k") } == nil)
    #expect(try test.keys(server) == ["other"])
    #expect(try !test.write { try $0.deleteValue(server, "none", ifRevision: nil) })
    #expect(throws: StoreError.concurrentModification(revision: nil)) {
      try test.put(server, "k", "2", ifRevision: first.revision)
    }
    // A new one stands at the end of the list.
    #expect(try test.put(server, "k", "3", ifAbsent: true).stored)
    #expect(try test.keys(server) == ["other", "k"])
    // Without a ttl it stays; storing again without one takes it away.
    try test.put(server, "k", "4", ttl: 10)
    try test.put(server, "k", "5")
    test.now += 1_000
    #expect(try test.read { try $0.getValue(server, "k") }?.expiresAt == nil)
  }

  @Test func theCapDoesNotCountLapsedValues() throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db")) { $0.maxValues = 40 }
    for index in 0..<40 { try test.put(server, "k\(index)", "1", ttl: index < 20 ? 100 : nil) }
    #expect(throws: StoreError.maxValuesReached(limit: 40)) { try test.put(server, "more", "1") }
    // Replacing one is always possible.
    try test.put(server, "k39", "2")
    test.now += 100
    try test.put(server, "more", "1", ttl: 100)
    try test.reopen { $0.maxValues = 10 }
    test.now += 100
    #expect(throws: StoreError.maxValuesReached(limit: 10)) { try test.put(server, "less", "1") }
    #expect(try test.keys(server).count == 20)
  }

  @Test func aListMayBeLimitedToAPrefixOfBytes() throws {
    let test = try TestStore()
    for key in ["a", "ab", "a%", "a_", "A", "é", "e\u{301}", "a\u{0}b"] { try test.put(server, key, "1") }
    #expect(try test.keys(server, prefix: "a") == ["a", "ab", "a%", "a_", "a\u{0}b"])
    #expect(try test.keys(server, prefix: "a%") == ["a%"])
    #expect(try test.keys(server, prefix: "a\u{0}") == ["a\u{0}b"])
    #expect(try test.keys(server, prefix: "e").count == 1)
    #expect(try test.keys(server, prefix: "none") == [])
  }
}

extension TestStore {
  @discardableResult
  func task(
    _ taskID: String, owner: Owner = .server, _ change: (inout NewTask) -> Void = { _ in }
  ) throws -> TaskRecord {
    var new = NewTask()
    new.taskID = taskID
    change(&new)
    return try write { try $0.createTask(new, owner: owner) }
  }

  func task(get taskID: String, scope: TaskScope = TaskScope()) throws -> TaskRecord? {
    try read { try $0.getTask(taskID, scope: scope) }
  }

  func taskIDs(_ scope: TaskScope = TaskScope(), status: TaskStatus? = nil) throws -> [String] {
    var ids: [String] = []
    _ = try read { store in
      try store.listTasks(status: status, scope: scope, after: 0, limit: 1_000) { task, _ in
        ids.append(task.taskID)
        return true
      }
    }
    return ids
  }

  /// Takes messages from the queue.
  func messages(_ taskID: String, limit: Int = 100) throws -> [String] {
    var messages: [String] = []
    _ = try write { store in
      try store.dequeueTaskMessages(taskID, scope: TaskScope()) { message in
        if messages.count == limit { return false }
        messages.append(message.string)
        return true
      }
    }
    return messages
  }

  @discardableResult
  func put(
    _ place: ValuePlace, _ key: String, _ value: JSONText, ttl: Int64? = nil, ifAbsent: Bool = false,
    ifRevision: Int64? = nil
  ) throws -> (stored: Bool, revision: Int64) {
    try write { try $0.putValue(place, key, value, ttl: ttl, ifAbsent: ifAbsent, ifRevision: ifRevision) }
  }

  func keys(_ place: ValuePlace, prefix: String = "") throws -> [String] {
    var keys: [String] = []
    _ = try read { store in
      try store.listValues(place, prefix: prefix, after: 0, limit: 1_000) { value, _ in
        keys.append(value.key)
        return true
      }
    }
    return keys
  }
}
