import JSON
import JSONRPC
import SessionStore

/// Tasks, their outcomes, input rounds and queues: section 6 of the contract.
enum TaskMethods {
  static let all: [Method] = [
    create, get, update, touch, delete, list, listForSession, updateStatus, storeResult, getResult, complete, fail,
    cancel, requireInput, provideInput, enqueue, dequeue, dequeueAll, peek, expireMany, recover, count, subscribe,
  ]

  // MARK: - What many of them share

  private static let taskID = Parameter.required(.taskID, .identifier, "The task.")
  private static let inSession = Parameter.optional(
    .sessionID, .identifier, "Only when the task belongs to this session; else it is answered as missing.")
  private static let scope: [Parameter] = [inSession] + Parameter.owners
  private static let statusMessage = Parameter.optional(
    .statusMessage, .words(8_192), "What to tell people; absent clears it.")
  private static let milliseconds = ParameterType.integer(.safe)
  private static let omit = Parameter.omit(TaskRecord.largeMembers)
  private static let statuses = ParameterType.choice(TaskStatus.allCases.map(\.rawValue))
  private static let failure: [Parameter] = [
    .required(.code, .integer(-9_007_199_254_740_991...9_007_199_254_740_991), "The JSON-RPC error's code."),
    .required(.message, .words(131_072), "The JSON-RPC error's message."),
    .optional(.data, .json, "The JSON-RPC error's data."),
  ]

  private static func scope(_ call: Call) -> TaskScope {
    TaskScope(sessionID: call.optionalString(.sessionID), owner: call.owner)
  }

  /// An example task, with the fields that the example is about.
  private static func example(
    status: String = "working", message: String = "null", result: String = "null", requests: String = "null",
    responses: String = "null", cancel: Bool = false, revision: Int = 2
  ) -> String {
    #"{"task_id":"task-1","session_id":"session-1","tenant_id":null,"principal":null,"status":"\#(status)","#
      + #""status_message":\#(message),"created_at":"2026-11-20T21:27:00.123Z","#
      + #""last_updated_at":"2026-11-20T21:27:04.000Z","ttl":3600000,"poll_interval":1000,"#
      + #""original_method":"tools/call","original_params":{"name":"report"},"result":\#(result),"#
      + #""input_requests":\#(requests),"input_responses":\#(responses),"cancel_requested":\#(cancel),"meta":null,"#
      + #""revision":\#(revision)}"#
  }

  /// A method that changes one task and answers with it.
  private static func change(
    _ name: String, _ summary: String, parameters: [Parameter], errors: [ErrorKind],
    example: (params: String, result: String),
    run: @escaping @Sendable (Store, Call, _ taskID: String, TaskScope) throws -> TaskRecord
  ) -> Method {
    Method(
      name: name, summary: summary, access: .write, isWatched: true, parameters: [taskID] + parameters + [omit] + scope,
      result: .reference("Task"), errors: [.taskNotFound] + errors, example: example
    ) { sidecar, call, writer in
      let task = try run(sidecar.store, call, call.string(.taskID), scope(call))
      try writer.task(task, omitting: call.strings(.omit))
    }
  }

  // MARK: - Creating and reading

  private static let create = Method(
    name: "create_task", summary: "Makes a task; one of a session takes the session's owners where it names none.",
    access: .write, isWatched: true,
    parameters: [
      .optional(.taskID, .identifier, "The id; made when absent."), .idFormat,
      .optional(.sessionID, .identifier, "The session that it belongs to."),
    ] + Parameter.binding + [
      .optional(.status, statuses, "working when absent."),
      .optional(.originalMethod, .name, "The method of the request that it stands for."),
      .optional(.originalParams, .json, "The parameters of that request; kept as they are."),
      .optional(.ttl, milliseconds, "Milliseconds from its creation until it lapses; never when absent."),
      .optional(.pollInterval, milliseconds, "Milliseconds that a client should wait between two looks."),
      .optional(.statusMessage, .words(8_192), "What to tell people."),
      .optional(.meta, .json, "Anything else; kept as it is."),
    ],
    result: .reference("Task"),
    errors: [
      .taskExists, .maxTasksReached, .sessionNotFound, .sessionExpired, .invalidSessionStatus, .payloadTooLarge,
      .maxSessionWritesReached, .heldByLegalHold,
    ],
    example: (
      #"{"task_id":"task-1","session_id":"session-1","original_method":"tools/call","#
        + #""original_params":{"name":"report"},"ttl":3600000,"poll_interval":1000}"#,
      example(revision: 1)
    )
  ) { sidecar, call, writer in
    var new = NewTask()
    new.taskID = call.optionalString(.taskID)
    new.idFormat = call.choice(.idFormat, as: IDFormat.self)
    new.sessionID = call.optionalString(.sessionID)
    new.status = call.choice(.status, as: TaskStatus.self) ?? .working
    new.statusMessage = call.optionalString(.statusMessage)
    new.originalMethod = call.optionalString(.originalMethod)
    new.originalParams = call.optionalNonNull(.originalParams)
    new.ttl = call.optionalInteger(.ttl)
    new.pollInterval = call.optionalInteger(.pollInterval)
    new.meta = call.optionalNonNull(.meta)
    try writer.task(sidecar.store.createTask(new, owner: call.owner))
  }

  private static let get = Method(
    name: "get_task", summary: "The task, or null when it is unknown, lapsed or another owner's.", access: .read,
    parameters: [taskID, omit] + scope, result: .nullable(.reference("Task")),
    example: (#"{"task_id":"task-1"}"#, example())
  ) { sidecar, call, writer in
    if let task = try sidecar.store.getTask(call.string(.taskID), scope: scope(call)) {
      try writer.task(task, omitting: call.strings(.omit))
    } else {
      writer.null()
    }
  }

  // MARK: - Changing

  private static let recordFields: [Parameter] = [
    .required(.taskID, .identifier, "The task."),
    .optional(.status, statuses, "Replaces the status without asking the state machine."),
    .nullable(.statusMessage, .words(8_192), "What to tell people."),
    .optional(.createdAt, .text(64), "RFC 3339."),
    .optional(.lastUpdatedAt, .text(64), "RFC 3339; now when absent."),
    .nullable(.ttl, milliseconds, "Milliseconds; null: it never lapses."),
    .nullable(.pollInterval, milliseconds, "Milliseconds."),
    .nullable(.originalMethod, .name, "The method of the request that it stands for."),
    .nullable(.originalParams, .json, "The parameters of that request."),
    .nullable(.result, .record(outcome), "The outcome."),
    .nullable(.inputRequests, .object, "What is asked for."),
    .nullable(.inputResponses, .object, "What was answered."),
    .optional(.cancelRequested, .boolean, "Whether somebody wants it cancelled."),
    .nullable(.meta, .json, "Anything else."),
    .nullable(.sessionID, .identifier, "Ignored: it never changes."),
    .optional(.tenantID, .owner, "Ignored: owners never change."),
    .optional(.principal, .owner, "Ignored: owners never change."),
    .nullable(.revision, milliseconds, "Ignored; if_revision makes the update conditional."),
    .omitted(TaskRecord.largeMembers),
  ]

  private static let outcome: [Parameter] = [
    .optional(.success, .json, "What the request gives."),
    .optional(.error, .record(failure), "Why it failed: {code, message, data}."),
  ]

  private static let update = Method(
    name: "update_task", summary: "Replaces the given fields, for migration and repair; absent ones stay.",
    access: .write, isWatched: true,
    parameters: [
      .required(.task, .record(recordFields), "The task's id and the fields to replace."), .ifRevision,
      .optional(.force, .boolean, "Also on a terminal task; false when absent."), omit,
    ] + scope,
    result: .reference("Task"),
    errors: [.taskNotFound, .terminalState, .maxInputKeysReached, .concurrentModification, .payloadTooLarge],
    example: (#"{"task":{"task_id":"task-1","status_message":"half way"}}"#, example(message: #""half way""#))
  ) { sidecar, call, writer in
    let record = try call.record(.task, recordFields)
    let task = try sidecar.store.updateTask(
      record.string(.taskID), update(record), scope: scope(call), ifRevision: call.optionalInteger(.ifRevision),
      force: call.boolean(.force))
    try writer.task(task, omitting: call.strings(.omit))
  }

  private static func update(_ record: Call) throws -> TaskUpdate {
    var update = TaskUpdate()
    update.status = record.change(.status) { $0.choice(.status, as: TaskStatus.self) }
    update.statusMessage = record.nullableChange(.statusMessage) { $0.optionalString(.statusMessage) }
    update.createdAt = try time(record, .createdAt)
    update.lastUpdatedAt = try time(record, .lastUpdatedAt)
    update.ttl = record.nullableChange(.ttl) { $0.optionalInteger(.ttl) }
    update.pollInterval = record.nullableChange(.pollInterval) { $0.optionalInteger(.pollInterval) }
    update.originalMethod = record.nullableChange(.originalMethod) { $0.optionalString(.originalMethod) }
    update.originalParams = record.nullableChange(.originalParams) { $0.optionalJSON(.originalParams) }
    if record.mentions(.result) {
      update.result = .set(record.has(.result) ? try outcome(record.record(.result, outcome), "task.result") : nil)
    }
    update.inputRequests = record.nullableChange(.inputRequests) { $0.optionalObject(.inputRequests) }
    update.inputResponses = record.nullableChange(.inputResponses) { $0.optionalObject(.inputResponses) }
    update.cancelRequested = record.change(.cancelRequested) { $0.optionalBoolean(.cancelRequested) }
    update.meta = record.nullableChange(.meta) { $0.optionalJSON(.meta) }
    for field in record.strings(.omitted).compactMap({ TaskField(rawValue: $0) }) {
      switch field {
      case .originalParams: update.originalParams = .keep
      case .result: update.result = .keep
      case .inputRequests: update.inputRequests = .keep
      case .inputResponses: update.inputResponses = .keep
      case .meta: update.meta = .keep
      }
    }
    return update
  }

  private static func time(_ record: Call, _ name: ParameterName) throws -> Change<Int64> {
    guard let text = record.optionalString(name) else { return .keep }
    guard let milliseconds = Timestamp.milliseconds(text) else {
      throw StoreError.invalidParameter(name: "task.\(name.wire)", expected: "an RFC 3339 timestamp")
    }
    return .set(milliseconds)
  }

  private static func outcome(_ record: Call, _ path: String) throws -> TaskOutcome {
    switch (record.mentions(.success), record.has(.error)) {
    case (true, false): return .success(record.json(.success))
    case (false, true): return .error(try record.checkedRecord(.error, failure))
    default:
      throw StoreError.invalidParameter(name: path, expected: "an object with one member, 'success' or 'error'")
    }
  }

  private static let touch = change(
    "touch_task", "Progress and heartbeat without a transition.",
    parameters: [
      .optional(.statusMessage, .words(8_192), "What to tell people; absent leaves it."),
      .optional(.ttl, milliseconds, "A new time to live, in milliseconds from the creation."),
      .optional(.pollInterval, milliseconds, "Milliseconds that a client should wait between two looks."),
    ], errors: [.terminalState],
    example: (#"{"task_id":"task-1","status_message":"40 %"}"#, example(message: #""40 %""#))
  ) { store, call, taskID, scope in
    try store.touchTask(
      taskID, statusMessage: call.optionalString(.statusMessage), ttl: call.optionalInteger(.ttl),
      pollInterval: call.optionalInteger(.pollInterval), scope: scope)
  }

  private static let delete = Method(
    name: "delete_task", summary: "Deletes a task and its queue.", access: .write, isWatched: true,
    parameters: [taskID] + scope, result: .members([("deleted", .boolean)]), errors: [.heldByLegalHold],
    example: (#"{"task_id":"task-1"}"#, #"{"deleted":true}"#)
  ) { sidecar, call, writer in
    writer.beginObject()
    writer.member("deleted", try sidecar.store.deleteTask(call.string(.taskID), scope: scope(call)))
    writer.endObject()
  }

  private static let updateStatus = change(
    "update_task_status", "Takes a task from one status to another.",
    parameters: [.required(.status, statuses, "The new status."), statusMessage, .ifRevision],
    errors: [.invalidTransition, .terminalState, .concurrentModification],
    example: (#"{"task_id":"task-1","status":"cancelled"}"#, example(status: "cancelled"))
  ) { store, call, taskID, scope in
    try store.updateTaskStatus(
      taskID, call.choice(.status, as: TaskStatus.self) ?? .working, message: call.optionalString(.statusMessage),
      scope: scope, ifRevision: call.optionalInteger(.ifRevision))
  }

  // MARK: - Outcomes

  private static let storeResult = change(
    "store_task_result", "Stores an outcome without changing the status; a terminal task keeps the one that it has.",
    parameters: [.required(.result, .record(outcome), "{\"success\": value} or {\"error\": {code, message, data}}.")],
    errors: [.terminalState, .payloadTooLarge],
    example: (
      #"{"task_id":"task-1","result":{"success":{"content":[]}}}"#, example(result: #"{"success":{"content":[]}}"#)
    )
  ) { store, call, taskID, scope in
    try store.storeTaskResult(taskID, outcome(call.record(.result, outcome), "result"), scope: scope)
  }

  private static let getResult = Method(
    name: "get_task_result", summary: "The outcome of a task; null when there is none yet.", access: .read,
    parameters: [taskID] + scope, result: .members([("result", .nullable(.reference("Outcome")))]),
    errors: [.taskNotFound], example: (#"{"task_id":"task-1"}"#, #"{"result":{"success":{"content":[]}}}"#)
  ) { sidecar, call, writer in
    guard let task = try sidecar.store.getTask(call.string(.taskID), scope: scope(call)) else {
      throw StoreError.taskNotFound(call.string(.taskID))
    }
    writer.beginObject()
    writer.member("result", try task.payload(.result))
    writer.endObject()
  }

  private static let complete = change(
    "complete_task", "Outcome and status in one step: the task has succeeded.",
    parameters: [.required(.result, .json, "What the request gives; kept as it is."), statusMessage],
    errors: [.terminalState, .payloadTooLarge],
    example: (
      #"{"task_id":"task-1","result":{"content":[]}}"#,
      example(status: "completed", result: #"{"success":{"content":[]}}"#)
    )
  ) { store, call, taskID, scope in
    try store.finishTask(
      taskID, .success(call.json(.result)), message: call.optionalString(.statusMessage), scope: scope)
  }

  private static let fail = change(
    "fail_task", "Outcome and status in one step: the task has failed.",
    parameters: [.required(.error, .record(failure), "{code, message, data}; kept as it is."), statusMessage],
    errors: [.terminalState, .payloadTooLarge],
    example: (
      #"{"task_id":"task-1","error":{"code":-32603,"message":"out of paper"}}"#,
      example(status: "failed", result: #"{"error":{"code":-32603,"message":"out of paper"}}"#)
    )
  ) { store, call, taskID, scope in
    try store.finishTask(
      taskID, .error(call.checkedRecord(.error, failure)), message: call.optionalString(.statusMessage), scope: scope)
  }

  private static let cancel = change(
    "cancel_task", "Cancels a task at once, or only says that somebody wants it.",
    parameters: [.optional(.cooperative, .boolean, "Only sets cancel_requested; false when absent.")],
    errors: [.terminalState],
    example: (#"{"task_id":"task-1","cooperative":true}"#, example(cancel: true))
  ) { store, call, taskID, scope in
    try store.cancelTask(taskID, cooperative: call.boolean(.cooperative), scope: scope)
  }

  // MARK: - Input rounds

  private static let requireInput = change(
    "require_task_input", "Asks for input, or for more of it; keys are never used twice.",
    parameters: [.required(.inputRequests, .object, "What is asked for, by key.")],
    errors: [.terminalState, .maxInputKeysReached, .payloadTooLarge],
    example: (
      #"{"task_id":"task-1","input_requests":{"size":{"method":"elicitation/create"}}}"#,
      example(status: "input_required", requests: #"{"size":{"method":"elicitation/create"}}"#)
    )
  ) { store, call, taskID, scope in
    try store.requireTaskInput(taskID, call.json(.inputRequests), scope: scope)
  }

  private static let provideInput = change(
    "provide_task_input", "Gives answers; when all are in the task is working again.",
    parameters: [.required(.inputResponses, .object, "Answers, by key; those not asked for are ignored.")],
    errors: [.terminalState, .payloadTooLarge],
    example: (
      #"{"task_id":"task-1","input_responses":{"size":{"action":"accept"}}}"#,
      example(responses: #"{"size":{"action":"accept"}}"#, revision: 3)
    )
  ) { store, call, taskID, scope in
    try store.provideTaskInput(taskID, call.json(.inputResponses), scope: scope)
  }

  // MARK: - The queue

  private static let enqueue = Method(
    name: "enqueue_task_message", summary: "Puts a message at the end of a task's queue.", access: .write,
    parameters: [
      taskID, .required(.message, .json, "The message; kept as it is."),
      .optional(.maxSize, .integer(1...1_000_000), "Messages at most; --max-task-messages when absent."),
    ] + scope,
    result: .members([("size", .integer)]), errors: [.taskNotFound, .queueFull, .payloadTooLarge],
    example: (#"{"task_id":"task-1","message":{"method":"ping"}}"#, #"{"size":1}"#)
  ) { sidecar, call, writer in
    let size = try sidecar.store.enqueueTaskMessage(
      call.string(.taskID), call.json(.message), maxSize: call.optionalInteger(.maxSize), scope: scope(call))
    writer.beginObject()
    writer.member("size", size)
    writer.endObject()
  }

  private static let left = ("size", Schema.described(.integer, "Messages that are left."))

  private static let dequeue = Method(
    name: "dequeue_task_message", summary: "Takes the message at the front of a task's queue.", access: .write,
    takesMessage: true, parameters: [taskID] + scope,
    result: .members([("exists", .boolean), ("message", .anyPayload), left]),
    errors: [.taskNotFound],
    example: (#"{"task_id":"task-1"}"#, #"{"exists":true,"message":{"method":"ping"},"size":0}"#)
  ) { sidecar, call, writer in
    var message: JSONText?
    let size = try sidecar.store.dequeueTaskMessages(call.string(.taskID), limit: 1, scope: scope(call)) {
      message = $0
      return true
    }
    writer.beginObject()
    writer.member("exists", message != nil)
    writer.member("message", message)
    writer.member("size", size)
    writer.endObject()
  }

  private static let dequeueAll = Method(
    name: "dequeue_all_task_messages", summary: "Takes all messages of a task's queue, as many as one answer holds.",
    access: .write, parameters: [taskID] + scope,
    result: .members([("messages", .array(.anyPayload)), ("has_more", .boolean), left]), errors: [.taskNotFound],
    example: (#"{"task_id":"task-1"}"#, #"{"messages":[{"method":"ping"}],"has_more":false,"size":0}"#)
  ) { sidecar, call, writer in
    let start = writer.count
    let budget = sidecar.pageBudget
    var isFirst = true
    writer.beginObject()
    writer.name("messages")
    writer.beginArray()
    let size = try sidecar.store.dequeueTaskMessages(call.string(.taskID), scope: scope(call)) {
      if !isFirst, writer.count - start + $0.bytes.count > budget { return false }
      isFirst = false
      writer.text($0)
      return true
    }
    writer.endArray()
    writer.member("has_more", size > 0)
    writer.member("size", size)
    writer.endObject()
  }

  private static let peek = Method(
    name: "peek_task_messages", summary: "Looks at a task's queue and takes nothing out of it.", access: .read,
    parameters: [
      taskID, .optional(.cursor, .name, "next_cursor of the page before."),
      .optional(.limit, .integer(0...1_000), "Messages at most; 50 when absent, 0 only for the size."),
    ] + scope,
    result: .members([
      ("messages", .array(.anyPayload)), ("size", .described(.integer, "Messages that the queue holds.")),
      ("next_cursor", .nullable(.string)),
    ]),
    errors: [.taskNotFound],
    example: (#"{"task_id":"task-1"}"#, #"{"messages":[{"method":"ping"}],"size":1,"next_cursor":null}"#)
  ) { sidecar, call, writer in
    var last = try ListKind.taskMessages.number(call.optionalString(.cursor))
    let start = writer.count
    var count = 0
    writer.beginObject()
    writer.name("messages")
    writer.beginArray()
    let limit = call.integer(.limit, default: 50)
    let page = try sidecar.store.peekTaskMessages(
      call.string(.taskID), after: last, limit: limit, scope: scope(call)
    ) { message, number in
      let mark = writer.mark
      writer.text(message)
      guard Sidecar.fits(&writer, mark, start, sidecar.pageBudget, &count) else { return false }
      last = number
      return true
    }
    writer.endArray()
    let next = page.hasMore && limit > 0 ? ListKind.taskMessages.cursor(after: last) : nil
    if count == 1 { sidecar.running.behind = ("next_cursor", next.map { .text($0) } ?? .null) }
    writer.member("size", page.size)
    writer.member("next_cursor", next)
    writer.endObject()
  }

  // MARK: - Many tasks

  private static let status = Parameter.optional(.status, statuses, "Only tasks of this status.")
  private static let taskPage = Schema.members([
    ("tasks", .array(.reference("Task"))), ("next_cursor", .nullable(.string)),
  ])

  private static func writePage(_ sidecar: Sidecar, _ call: Call, _ writer: inout JSONWriter) throws {
    try sidecar.page(call, &writer, list: .tasks, name: "tasks") { page in
      try sidecar.store.listTasks(
        status: call.choice(.status, as: TaskStatus.self), scope: scope(call), after: page.after, limit: page.limit
      ) { task, number in
        try page.add(number, canBeShort: true) { try $0.task(task, omitting: $1 ? TaskRecord.largeMembers : []) }
      }
    }
  }

  private static let list = Method(
    name: "list_tasks", summary: "Tasks in the order of creation.", access: .read,
    parameters: [status, inSession] + Parameter.owners + Parameter.page, result: taskPage,
    example: (#"{"status":"failed"}"#, #"{"tasks":[],"next_cursor":null}"#),
    run: writePage)

  private static let listForSession = Method(
    name: "list_tasks_for_session", summary: "The tasks of a session in the order of creation.", access: .read,
    parameters: [.sessionID, status] + Parameter.owners + Parameter.page, result: taskPage,
    example: (#"{"session_id":"session-1","status":"failed"}"#, #"{"tasks":[],"next_cursor":null}"#),
    run: writePage)

  private static let count = Method(
    name: "task_count", summary: "How many tasks a list with these filters has.", access: .read,
    parameters: [status] + scope, result: .members([("count", .integer)]),
    example: (#"{"session_id":"session-1"}"#, #"{"count":1}"#)
  ) { sidecar, call, writer in
    let count = try sidecar.store.countTasks(status: call.choice(.status, as: TaskStatus.self), scope: scope(call))
    writer.beginObject()
    writer.member("count", count)
    writer.endObject()
  }

  private static let swept = Schema.members([("task_ids", .array(.string)), ("has_more", .boolean)])

  private static func write(_ swept: Swept, to writer: inout JSONWriter) {
    writer.beginObject()
    writer.member("task_ids", strings: swept.removed)
    writer.member("has_more", swept.hasMore)
    writer.endObject()
  }

  private static let expireMany = Method(
    name: "expire_tasks", summary: "Removes tasks whose time is over, whatever their status.", access: .write,
    isWatched: true,
    parameters: [.optional(.limit, .integer(1...1_000), "Tasks at most; 1,000 when absent.")],
    result: swept, example: ("{}", #"{"task_ids":["task-1"],"has_more":false}"#)
  ) { sidecar, call, writer in
    write(try sidecar.store.expireTasks(limit: Int(call.integer(.limit, default: 1_000))), to: &writer)
  }

  private static let recover = Method(
    name: "recover_stuck_tasks",
    summary: "Fails the tasks that are not terminal and were not touched for long: their server died over them.",
    access: .write, isWatched: true,
    parameters: [
      .required(.maxAge, milliseconds, "Milliseconds: those untouched for longer."), inSession,
      .optional(.limit, .integer(1...10_000), "Tasks at most; 10,000 when absent."),
    ] + Parameter.owners,
    result: swept, example: (#"{"max_age":300000}"#, #"{"task_ids":["task-1"],"has_more":false}"#)
  ) { sidecar, call, writer in
    let swept = try sidecar.store.recoverStuckTasks(
      maxAge: call.integer(.maxAge, default: 0), scope: scope(call), limit: Int(call.integer(.limit, default: 10_000)))
    write(swept, to: &writer)
  }

  // MARK: - Subscribing

  private static let subscribe = Method(
    name: "subscribe_tasks", summary: "Sends a notification for each change of a task, or of any task of a session.",
    access: .read, isTransactional: false, isRepeatable: false,
    parameters: [
      .optional(.taskID, .identifier, "The task."), .optional(.sessionID, .identifier, "Or the session."),
    ] + Subscriptions.manners + Parameter.owners,
    result: .members([
      ("subscription_id", .string), ("task", .optional(.reference("Task"))),
      (
        "tasks",
        .optional(
          .described(
            .array(.reference("Task")), "Of a session; those that do not fit here follow as notifications."))
      ),
    ]),
    errors: [
      .taskNotFound, .sessionNotFound, .sessionExpired, .invalidSessionStatus, .maxSubscriptionsReached,
    ],
    example: (
      #"{"session_id":"session-1"}"#, #"{"subscription_id":"tasks-2","tasks":[]}"#
    )
  ) { sidecar, call, writer in
    guard call.has(.taskID) || call.has(.sessionID) else {
      throw StoreError.invalidParameter(name: "task_id", expected: "task_id or session_id")
    }
    writer.beginObject()
    if call.has(.taskID) {
      let start = try sidecar.store.startReading(taskID: call.string(.taskID), scope: scope(call))
      let greeting = Subscriptions.Greeting(
        taskID: start.task.taskID, sessionID: start.task.sessionID, owners: start.reader.owners)
      writer.member("subscription_id", try sidecar.subscribe(.tasks(start.reader), call, greeting: greeting))
      writer.name("task")
      try writer.task(start.task)
    } else {
      var reader = try sidecar.store.startReading(tasksOf: call.string(.sessionID), owner: call.owner)
      var tasks = JSONWriter()
      tasks.beginArray()
      _ = try sidecar.store.readOn(&reader) { change in
        guard case .changed(let task) = change, tasks.count < sidecar.resultBudget / 2 else { return false }
        try tasks.task(task)
        return true
      }
      tasks.endArray()
      let greeting = Subscriptions.Greeting(
        taskID: nil, sessionID: call.string(.sessionID), owners: reader.owners)
      writer.member("subscription_id", try sidecar.subscribe(.tasks(reader), call, greeting: greeting))
      writer.name("tasks")
      writer.text(JSONText(validated: tasks.take()[...]))
    }
    writer.endObject()
  }
}
