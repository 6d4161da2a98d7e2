package import JSON
import SQLite

/// What a caller may say about a task that is to be made.
package struct NewTask {
  package var taskID: String?
  package var idFormat: IDFormat?
  package var sessionID: String?
  package var status = TaskStatus.working
  package var statusMessage: String?
  package var originalMethod: String?
  package var originalParams: JSONText?
  package var ttl: Int64?
  package var pollInterval: Int64?
  package var meta: JSONText?

  package init() {}
}

/// What may be changed of a task by ``Store/updateTask(_:_:scope:ifRevision:force:)``: everything but its owners.
package struct TaskUpdate {
  package var status = Change<TaskStatus>.keep
  package var statusMessage = Change<String?>.keep
  package var createdAt = Change<Int64>.keep
  package var lastUpdatedAt = Change<Int64>.keep
  package var ttl = Change<Int64?>.keep
  package var pollInterval = Change<Int64?>.keep
  package var originalMethod = Change<String?>.keep
  package var originalParams = Change<JSONText?>.keep
  package var result = Change<JSONText?>.keep
  package var inputRequests = Change<JSONText?>.keep
  package var inputResponses = Change<JSONText?>.keep
  package var cancelRequested = Change<Bool>.keep
  package var meta = Change<JSONText?>.keep

  package init() {}
}

/// From where a task is looked at: what belongs to another session or owner is answered as missing.
package struct TaskScope {
  /// nil: not checked
  package var sessionID: String?
  package var owner: Owner

  package init(sessionID: String? = nil, owner: Owner) {
    self.sessionID = sessionID
    self.owner = owner
  }

}

extension Store {
  /// What a task that was interrupted by a restart is told to have failed of.
  package static let interrupted = "Server restarted — task interrupted"

  // MARK: - Finding a task

  /// The task, or nil when it is unknown, lapsed, foreign or another session's.
  package func getTask(_ taskID: String, scope: TaskScope) throws -> TaskRecord? {
    guard let task = try findTask(taskID), !task.hasLapsed(at: now),
      scope.owner.admits(tenant: task.tenantID, principal: task.principal)
    else { return nil }
    guard let sessionID = scope.sessionID else { return task }
    guard task.sessionID == sessionID else { return nil }
    let session = try currentSession(sessionID, owner: scope.owner)
    return session == nil || session == task.session ? task : nil
  }

  /// The session that has the id now. While none has, the id stands for those that had it.
  private func currentSession(_ sessionID: String, owner: Owner) throws -> SessionNumber? {
    // Not in one expression: the rows would be read before the call that loads one.
    let slot = try findSession(sessionID, owner: owner)
    return slot.map { cache.rows[$0].number }
  }

  /// The same for calls that need one.
  func task(_ taskID: String, scope: TaskScope) throws -> TaskRecord {
    guard let task = try getTask(taskID, scope: scope) else { throw StoreError.taskNotFound(taskID) }
    return task
  }

  private func findTask(_ taskID: String) throws -> TaskRecord? {
    var select = try tables.statement(
      .server, composed: "SELECT \(TaskRecord.columns) FROM tasks WHERE task_id = $1")
    select.bind(1, taskID)
    return try select.step() ? TaskRecord(select) : nil
  }

  // MARK: - Creating and changing

  /// Makes a task. One that belongs to a session takes the session's owners where it names none, and touches it.
  /// - Throws: `taskExists`, `maxTasksReached`, and what a write on the session throws
  package func createTask(_ new: NewTask, owner: Owner) throws -> TaskRecord {
    let slot = try new.sessionID.map { try session($0, owner: owner, for: .write(requested: "create a task")) }
    let taskID = new.taskID ?? Identifier.make(new.idFormat ?? limits.idFormat, environment, now: now)
    let taken = try findTask(taskID)
    if let taken, !taken.hasLapsed(at: now) { throw StoreError.taskExists(taskID) }
    // Before anything is removed: a refused call leaves everything as it was.
    if limits.maxTasks > 0, counters.tasks >= Int64(limits.maxTasks),
      try counters.tasks - lapsedTasks() >= Int64(limits.maxTasks)
    {
      throw StoreError.maxTasksReached(limit: limits.maxTasks)
    }
    // As good as gone: only the sweep has not come by yet.
    if let taken { try removeTask(taken.number) }
    // More than one round when the cap was lowered since.
    while limits.maxTasks > 0, counters.tasks >= Int64(limits.maxTasks) {
      if try expireTasks(limit: 16).removed.isEmpty { throw StoreError.maxTasksReached(limit: limits.maxTasks) }
    }
    let row = slot.map { cache.rows[$0] }
    let number = newTaskNumber()
    let task = TaskRecord(
      number: number, taskID: taskID, sessionID: new.sessionID, session: row?.number,
      tenantID: owner.tenant.binding ?? row?.tenantID, principal: owner.principal.binding ?? row?.principal,
      status: new.status, statusMessage: new.statusMessage, createdAt: now, lastUpdatedAt: now, ttl: new.ttl,
      pollInterval: new.pollInterval, originalMethod: new.originalMethod, originalParams: new.originalParams,
      cancelRequested: false, meta: new.meta, revision: number.value)
    var insert = try tables.statement(
      of: number, as: 21,
      """
      INSERT INTO tasks (task_id, session_id, tenant_id, principal, status, status_message, created_at,
        last_updated_at, ttl, poll_interval, original_method, original_params, result, input_requests,
        input_responses, input_keys, cancel_requested, meta, revision, expires_at, number, session)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
      """)
    task.bind(to: &insert)
    insert.bind(22, task.session)
    try insert.run()
    counters.tasks += 1
    noteMade(Self.taskRows)
    if let slot { touch(slot) }
    noteChange(ofTask: task.number, session: task.session)
    return task
  }

  /// Reads a task, changes it and writes it with a new revision and time.
  func changeTask(
    _ taskID: String, scope: TaskScope, ifRevision: Int64? = nil, _ change: (inout TaskRecord) throws -> Void
  ) throws -> TaskRecord {
    var task = try task(taskID, scope: scope)
    try require(ifRevision, task.revision)
    task.lastUpdatedAt = now
    try change(&task)
    try write(&task)
    return task
  }

  func write(_ task: inout TaskRecord) throws {
    task.revision = nextRevision()
    var update = try tables.statement(
      of: task.number, as: 21,
      """
      UPDATE tasks SET (task_id, session_id, tenant_id, principal, status, status_message, created_at,
        last_updated_at, ttl, poll_interval, original_method, original_params, result, input_requests,
        input_responses, input_keys, cancel_requested, meta, revision, expires_at)
      = ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
      WHERE number = $21
      """)
    task.bind(to: &update)
    try update.run()
    noteChange(ofTask: task.number, session: task.session)
  }

  /// Replaces the fields that are given, status and times included, without asking the state machine: for migration
  /// and repair.
  /// - Throws: `terminalState` on a terminal task unless `force`; `concurrentModification`
  package func updateTask(
    _ taskID: String, _ update: TaskUpdate, scope: TaskScope, ifRevision: Int64?, force: Bool
  ) throws -> TaskRecord {
    try changeTask(taskID, scope: scope, ifRevision: ifRevision) { task in
      if !force { try task.requireLive("update") }
      task.status = update.status.applied(to: task.status)
      task.statusMessage = update.statusMessage.applied(to: task.statusMessage)
      task.createdAt = update.createdAt.applied(to: task.createdAt)
      task.lastUpdatedAt = update.lastUpdatedAt.applied(to: task.lastUpdatedAt)
      task.ttl = update.ttl.applied(to: task.ttl)
      task.pollInterval = update.pollInterval.applied(to: task.pollInterval)
      task.originalMethod = update.originalMethod.applied(to: task.originalMethod)
      task.originalParams = update.originalParams.applied(to: task.originalParams)
      task.result = update.result.applied(to: task.result)
      task.inputRequests = update.inputRequests.applied(to: task.inputRequests)
      task.inputResponses = update.inputResponses.applied(to: task.inputResponses)
      task.cancelRequested = update.cancelRequested.applied(to: task.cancelRequested)
      task.meta = update.meta.applied(to: task.meta)
      try noteKeys(&task)
    }
  }

  /// Progress and heartbeat without a transition; nil leaves a field as it is.
  package func touchTask(
    _ taskID: String, statusMessage: String?, ttl: Int64?, pollInterval: Int64?, scope: TaskScope
  ) throws -> TaskRecord {
    try changeTask(taskID, scope: scope) { task in
      try task.requireLive("touch")
      task.statusMessage = statusMessage ?? task.statusMessage
      task.ttl = ttl ?? task.ttl
      task.pollInterval = pollInterval ?? task.pollInterval
    }
  }

  package func updateTaskStatus(
    _ taskID: String, _ status: TaskStatus, message: String?, scope: TaskScope, ifRevision: Int64?
  ) throws -> TaskRecord {
    try changeTask(taskID, scope: scope, ifRevision: ifRevision) { task in
      try task.move(to: status)
      task.statusMessage = message
    }
  }

  // MARK: - Outcomes

  /// Stores an outcome without changing the status. A terminal task keeps the one that it has.
  package func storeTaskResult(_ taskID: String, _ outcome: TaskOutcome, scope: TaskScope) throws -> TaskRecord {
    try changeTask(taskID, scope: scope) { task in
      if task.result != nil { try task.requireLive("store a result") }
      task.result = outcome.json
    }
  }

  /// Outcome and status in one step.
  package func finishTask(
    _ taskID: String, _ outcome: TaskOutcome, message: String?, scope: TaskScope
  ) throws -> TaskRecord {
    try changeTask(taskID, scope: scope) { task in
      switch outcome {
      case .success: try task.move(to: .completed)
      case .error: try task.move(to: .failed)
      }
      task.result = outcome.json
      task.statusMessage = message
    }
  }

  /// Cancels at once, or only says that somebody wants it.
  package func cancelTask(_ taskID: String, cooperative: Bool, scope: TaskScope) throws -> TaskRecord {
    try changeTask(taskID, scope: scope) { task in
      if cooperative { try task.requireLive("cancel") } else { try task.move(to: .cancelled) }
      task.cancelRequested = true
    }
  }

  // MARK: - Lists

  /// The next tasks in the order of creation after the one with the number `after`.
  /// - Parameter visit: gets each task; false ends the page before it
  /// - Returns: whether there are more
  package func listTasks(
    status: TaskStatus?, scope: TaskScope, after: Int64, limit: Int, visit: (TaskRecord, Int64) throws -> Bool
  ) throws -> Bool {
    var conditions = try self.conditions(status, scope)
    conditions.add("number > ?", after)
    var select = try tables.statement(
      conditions, "SELECT \(TaskRecord.columns) FROM tasks", limit: limit + 1)
    var count = 0
    while try select.step() {
      let task = TaskRecord(select)
      if try count == limit || !visit(task, task.number.value) { return true }
      count += 1
    }
    return false
  }

  package func countTasks(status: TaskStatus?, scope: TaskScope) throws -> Int64 {
    try tables.sum("count(*)", from: "tasks", conditions(status, scope))
  }

  private func conditions(_ status: TaskStatus?, _ scope: TaskScope) throws -> Filter {
    var conditions = Filter(visibleTo: scope.owner)
    if let sessionID = scope.sessionID {
      conditions.add("session_id = ?", sessionID)
      if let session = try currentSession(sessionID, owner: scope.owner) { conditions.add(of: session) }
    }
    conditions.add("coalesce(expires_at >= ?, 1)", now)
    if let status { conditions.add("status = ?", status.rawValue) }
    return conditions
  }

  // MARK: - Removing

  package func deleteTask(_ taskID: String, scope: TaskScope) throws -> Bool {
    guard let task = try getTask(taskID, scope: scope) else { return false }
    try removeTask(task.number)
    return true
  }

  func removeTask(_ number: TaskNumber) throws {
    var messages = try tables.statement(of: number, "DELETE FROM task_messages WHERE task = $1")
    try messages.run()
    var delete = try tables.statement(of: number, "DELETE FROM tasks WHERE number = $1 RETURNING session")
    let session = try delete.step() ? SessionNumber(optional: delete, 0) : nil
    try delete.run()
    counters.tasks -= 1
    noteChange(ofTask: number, session: session)
  }

  /// Deletes a session's tasks that answer to `owner`.
  /// - Returns: how many there were to see; those that have lapsed go with them
  func deleteTasks(of session: SessionRow, owner: Owner) throws -> Int64 {
    var conditions = Filter(visibleTo: owner)
    conditions.add("session_id = ?", session.sessionID)
    conditions.add(of: session.number)
    var numbers: [TaskNumber] = []
    var lapsed: Int64 = 0
    do {
      var select = try tables.statement(conditions, "SELECT number, expires_at FROM tasks")
      while try select.step() {
        numbers.append(TaskNumber(select, 0))
        if let expiresAt = select.optionalInteger(1), now > expiresAt { lapsed += 1 }
      }
    }
    for number in numbers { try removeTask(number) }
    return Int64(numbers.count) - lapsed
  }

  private func lapsedTasks() throws -> Int64 {
    var lapsed = Filter(.server)
    lapsed.add("expires_at < ?", now)
    return try tables.sum("count(*)", from: "tasks", lapsed)
  }

  /// Removes tasks whose time is over, whatever their status.
  package func expireTasks(limit: Int) throws -> Swept {
    var lapsed: [(number: TaskNumber, taskID: String)] = []
    do {
      var select = try tables.statement(
        .server,
        "SELECT number, task_id FROM tasks WHERE expires_at < $1 ORDER BY expires_at LIMIT $2")
      select.bind(1, now)
      select.bind(2, Int64(limit + 1))
      while try select.step() { lapsed.append((TaskNumber(select, 0), select.string(1))) }
    }
    for task in lapsed.prefix(limit) { try removeTask(task.number) }
    return Swept(removed: lapsed.prefix(limit).map(\.taskID), hasMore: lapsed.count > limit)
  }

  /// Fails the tasks that are not terminal and were not touched for longer than `maxAge` milliseconds: their server
  /// died over them.
  package func recoverStuckTasks(maxAge: Int64, scope: TaskScope, limit: Int) throws -> Swept {
    var conditions = try self.conditions(nil, scope)
    conditions.add("status IN ('working', 'input_required')")
    conditions.add("last_updated_at < ?", (Saturating(now) - maxAge).value)
    var stuck: [TaskRecord] = []
    do {
      var select = try tables.statement(
        conditions, "SELECT \(TaskRecord.columns) FROM tasks", limit: limit + 1)
      while try select.step() { stuck.append(TaskRecord(select)) }
    }
    let outcome = TaskOutcome.error(
      JSONText(validated: Array(#"{"code":-32603,"message":"\#(Self.interrupted)"}"#.utf8)[...]))
    for var task in stuck.prefix(limit) {
      try task.move(to: .failed)
      task.statusMessage = Self.interrupted
      task.result = outcome.json
      task.lastUpdatedAt = now
      try write(&task)
    }
    return Swept(removed: stuck.prefix(limit).map(\.taskID), hasMore: stuck.count > limit)
  }
}
