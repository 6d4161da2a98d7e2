import Database
package import JSON

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
  package var result = Change<TaskOutcome?>.keep
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
    guard let task = try findTask(taskID), scope.owner.admits(tenant: task.tenantID, principal: task.principal) else {
      noteUnauthorized(task: taskID, owner: scope.owner)
      return nil
    }
    if task.hasLapsed(at: now) { return nil }
    if try isIn(task, scope) { return task }
    noteUnauthorized(task: taskID, owner: scope.owner)
    return nil
  }

  private func isIn(_ task: TaskRecord, _ scope: TaskScope) throws -> Bool {
    guard let sessionID = scope.sessionID else { return true }
    guard task.sessionID == sessionID else { return false }
    let session = try currentSession(sessionID, owner: scope.owner)
    return session == nil || session == task.session
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
    if let known = foreseen.task(taskID) { return known }
    var select =
      isShared
      ? try tables.statement(.server, composed: TaskRecord.byID.description + locking)
      : try tables.statement(.server, TaskRecord.byID)
    select.bind(1, taskID)
    guard try select.step() else { return nil }
    let task = TaskRecord(select, self)
    if isInGroup { foresee(task) }
    return task
  }

  func findTask(number: TaskNumber) throws -> TaskRecord? {
    var select = try tables.statement(
      .server, composed: TaskRecord.select + " WHERE number = $1" + locking)
    select.bind(1, number)
    return try select.step() ? TaskRecord(select, self) : nil
  }

  // MARK: - Creating and changing

  /// Makes a task. One that belongs to a session takes the session's owners where it names none, and touches it.
  /// - Throws: `taskExists`, `maxTasksReached`, and what a write on the session throws
  package func createTask(_ new: NewTask, owner: Owner) throws -> TaskRecord {
    let params = try new.originalParams.map { try payload($0, "original_params") }
    let meta = try new.meta.map { try payload($0, "meta") }
    let slot = try new.sessionID.map { try session($0, owner: owner, for: .write(requested: "create a task")) }
    let made = new.taskID == nil ? makeIdentifier(new.idFormat ?? limits.idFormat) : nil
    let taskID = new.taskID ?? made?.text ?? ""
    let taken = made != nil && isShared ? nil : try findTask(taskID)
    if let taken, !taken.hasLapsed(at: now) { throw StoreError.taskExists(taskID) }
    // Before anything is removed: a refused call leaves everything as it was.
    if limits.maxTasks > 0, counters.tasks >= Int64(limits.maxTasks),
      try counters.tasks - lapsedTasks() >= Int64(limits.maxTasks)
    {
      throw StoreError.maxTasksReached(limit: limits.maxTasks)
    }
    // As good as gone: only the sweep has not come by yet.
    if let taken { try removeTask(taken) }
    // More than one round when the cap was lowered since.
    while limits.maxTasks > 0, counters.tasks >= Int64(limits.maxTasks) {
      if try expireTasks(limit: 16).removed.isEmpty {
        // What has to stay takes nobody's place.
        if policies.hasHolds { break }
        throw StoreError.maxTasksReached(limit: limits.maxTasks)
      }
    }
    let row = slot.map { cache.rows[$0] }
    var task = TaskRecord(
      new, self, number: try newTaskNumber(), taskID: taskID, session: row?.number,
      tenantID: owner.tenant.binding ?? row?.tenantID, principal: owner.principal.binding ?? row?.principal, at: now)
    task.ttl = taskTTL(task.ttl, tenantID: task.tenantID)
    if let params { try setPayload(&task, .originalParams, params) }
    if let meta { try setPayload(&task, .meta, meta) }
    task.hasNewPayloads = false
    try insert(task)
    counters.tasks += 1
    done.tasksCreated += 1
    note(made)
    noteMade(Self.taskRows)
    if let slot { touch(slot) }
    noteChange(ofTask: task.number, session: task.session)
    return task
  }

  private func insert(_ task: TaskRecord) throws {
    var insert = try tables.statement(
      of: task.number,
      """
      INSERT INTO tasks (number, task_id, session_id, tenant_id, principal, status, status_message, created_at,
        last_updated_at, ttl, expires_at, poll_interval, original_method, cancel_requested, revision, session,
        payloads_apart, original_params, meta)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
      """)
    insert.bind(2, task.taskID)
    insert.bind(3, task.sessionID)
    insert.bind(4, task.tenantID)
    insert.bind(5, task.principal)
    insert.bind(6, task.status.rawValue)
    insert.bind(7, task.statusMessage)
    insert.bind(8, task.createdAt)
    insert.bind(9, task.lastUpdatedAt)
    insert.bind(10, task.ttl)
    insert.bind(11, task.expiresAt)
    insert.bind(12, task.pollInterval)
    insert.bind(13, task.originalMethod)
    insert.bind(14, task.cancelRequested)
    insert.bind(15, task.revision)
    insert.bind(16, task.session)
    insert.bind(17, task.payloadsApart)
    insert.bind(18, task.ownPayloads[.originalParams].map { Payload(own: $0) })
    insert.bind(19, task.ownPayloads[.meta].map { Payload(own: $0) })
    try insert.run()
    foresee(task)
  }

  /// The member around an outcome is put there here.
  private func payload(_ outcome: TaskOutcome) throws -> Payload {
    switch outcome {
    case .success(let value): _ = try payload(value, "result")
    case .error(let value): _ = try payload(value, "error")
    }
    return Payload(own: outcome.json)
  }

  /// Reads a task, changes it and writes it with a new revision and time.
  /// - Parameter change: refuses before it writes anything
  func changeTask(
    _ taskID: String, scope: TaskScope, ifRevision: Int64? = nil, _ change: (inout TaskRecord) throws -> Void
  ) throws -> TaskRecord {
    let old = try task(taskID, scope: scope)
    try require(ifRevision, old.revision)
    var task = old
    task.lastUpdatedAt = now
    try change(&task)
    try write(&task, old)
    return task
  }

  /// Writes what has changed of a task's row.
  func write(_ task: inout TaskRecord, _ old: TaskRecord) throws {
    task.revision = try nextRevision(above: old.revision)
    if !policies.isEmpty { task.ttl = taskTTL(task.ttl, tenantID: task.tenantID) }
    // Status and expiry stand in indexes, and an index is written even when the value stays.
    let changesAll = task.hasNewPayloads || task.status != old.status || task.expiresAt != old.expiresAt
    var update = if changesAll { try updateOfAll(task) } else { try updateOfUsual(task) }
    update.bind(1, task.statusMessage)
    update.bind(2, task.createdAt)
    update.bind(3, task.lastUpdatedAt)
    update.bind(4, task.ttl)
    update.bind(5, task.pollInterval)
    update.bind(6, task.originalMethod)
    update.bind(7, task.cancelRequested)
    update.bind(8, task.revision)
    update.bind(9, task.inputKeysUsed)
    try update.run()
    task.hasNewPayloads = false
    foresee(task)
    noteChange(ofTask: task.number, session: task.session)
  }

  /// What a task has become need not be read again for the requests behind this one.
  func foresee(_ task: TaskRecord) {
    let isSmall = (task.statusMessage?.utf8.count ?? 0) + (task.originalMethod?.utf8.count ?? 0) <= 1_024
    if isSmall { foreseen.note(task, task.taskID) } else { foreseen.forget(task: task.taskID) }
  }

  private func updateOfUsual(_ task: TaskRecord) throws -> Statement {
    try tables.statement(
      of: task.number, as: 10,
      """
      UPDATE tasks SET status_message = $1, created_at = $2, last_updated_at = $3, ttl = $4, poll_interval = $5,
        original_method = $6, cancel_requested = $7, revision = $8, input_keys_used = $9
      WHERE number = $10
      """)
  }

  private func updateOfAll(_ task: TaskRecord) throws -> Statement {
    var update = try tables.statement(
      of: task.number, as: 18,
      """
      UPDATE tasks SET status_message = $1, created_at = $2, last_updated_at = $3, ttl = $4, poll_interval = $5,
        original_method = $6, cancel_requested = $7, revision = $8, input_keys_used = $9, status = $10,
        expires_at = $11, payloads_apart = $12, original_params = $13, result = $14, input_requests = $15,
        input_responses = $16, meta = $17
      WHERE number = $18
      """)
    update.bind(10, task.status.rawValue)
    update.bind(11, task.expiresAt)
    update.bind(12, task.payloadsApart)
    task.ownPayloads.bind(to: &update, from: 13)
    return update
  }

  /// Takes a task to another status, for which the caller has asked ``TaskRecord/requireStep(to:)``.
  private func step(_ task: inout TaskRecord, to next: TaskStatus) throws {
    task.status = next
    // What was still asked for is withdrawn; its keys stay used.
    try setPayload(&task, .inputRequests, nil)
  }

  /// Replaces the fields that are given, status and times included, without asking the state machine: for migration
  /// and repair.
  /// - Throws: `terminalState` on a terminal task unless `force`; `concurrentModification`
  package func updateTask(
    _ taskID: String, _ update: TaskUpdate, scope: TaskScope, ifRevision: Int64?, force: Bool
  ) throws -> TaskRecord {
    let payloads = try checked(update)
    return try changeTask(taskID, scope: scope, ifRevision: ifRevision) { task in
      if !force { try task.requireLive("update") }
      task.status = update.status.applied(to: task.status)
      task.statusMessage = update.statusMessage.applied(to: task.statusMessage)
      task.createdAt = update.createdAt.applied(to: task.createdAt)
      task.lastUpdatedAt = update.lastUpdatedAt.applied(to: task.lastUpdatedAt)
      task.ttl = update.ttl.applied(to: task.ttl)
      task.pollInterval = update.pollInterval.applied(to: task.pollInterval)
      task.originalMethod = update.originalMethod.applied(to: task.originalMethod)
      task.cancelRequested = update.cancelRequested.applied(to: task.cancelRequested)
      if case .set(let requests?) = update.inputRequests { try useKeys(of: requests, &task) }
      for (field, payload) in payloads { try setPayload(&task, field, payload) }
    }
  }

  /// What an update says of payloads; nil removes one.
  private func checked(_ update: TaskUpdate) throws -> [(field: TaskField, payload: Payload?)] {
    let texts: [(TaskField, Change<JSONText?>)] = [
      (.originalParams, update.originalParams), (.inputRequests, update.inputRequests),
      (.inputResponses, update.inputResponses), (.meta, update.meta),
    ]
    var payloads: [(field: TaskField, payload: Payload?)] = try texts.compactMap { field, change in
      guard case .set(let text) = change else { return nil }
      return (field, try text.map { try Payload($0, what: "'task.\(field.rawValue)'", limits) })
    }
    if case .set(let outcome) = update.result { payloads.append((.result, try outcome.map { try payload($0) })) }
    return payloads
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
      try task.requireStep(to: status)
      try step(&task, to: status)
      task.statusMessage = message
    }
  }

  // MARK: - Outcomes

  /// Stores an outcome without changing the status. A terminal task keeps the one that it has.
  package func storeTaskResult(_ taskID: String, _ outcome: TaskOutcome, scope: TaskScope) throws -> TaskRecord {
    let result = try payload(outcome)
    return try changeTask(taskID, scope: scope) { task in
      if task.status.isTerminal, try task.fields().contains(.result) { try task.requireLive("store a result") }
      try setPayload(&task, .result, result)
    }
  }

  /// Outcome and status in one step.
  package func finishTask(
    _ taskID: String, _ outcome: TaskOutcome, message: String?, scope: TaskScope
  ) throws -> TaskRecord {
    let result = try payload(outcome)
    return try changeTask(taskID, scope: scope) { task in
      let next = outcome.isError ? TaskStatus.failed : .completed
      try task.requireStep(to: next)
      try step(&task, to: next)
      try setPayload(&task, .result, result)
      task.statusMessage = message
    }
  }

  /// Cancels at once, or only says that somebody wants it.
  package func cancelTask(_ taskID: String, cooperative: Bool, scope: TaskScope) throws -> TaskRecord {
    try changeTask(taskID, scope: scope) { task in
      if cooperative {
        try task.requireLive("cancel")
      } else {
        try task.requireStep(to: .cancelled)
        try step(&task, to: .cancelled)
      }
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
      conditions, TaskRecord.select, limit: limit + 1)
    var count = 0
    while try select.step() {
      let task = TaskRecord(select, self)
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
    conditions.add("coalesce(expires_at >= ?, true)", now)
    if let status { conditions.add("status = ?", status.rawValue) }
    return conditions
  }

  // MARK: - Removing

  package func deleteTask(_ taskID: String, scope: TaskScope) throws -> Bool {
    guard let task = try getTask(taskID, scope: scope) else { return false }
    try removeTask(task)
    return true
  }

  /// - Parameter task: as it is now: only what it has is looked for
  /// - Throws: `heldByLegalHold`
  func removeTask(_ task: TaskRecord) throws {
    try requireMayGo(tenantID: task.tenantID, principal: task.principal)
    if task.queueSize > 0 { try deleteTaskMessages(task.number) }
    if task.inputKeysUsed > 0 { try deleteInputKeys(task.number) }
    if task.payloadsApart > 0 { try deletePayloadsApart(task.number) }
    var delete = try tables.statement(of: task.number, "DELETE FROM tasks WHERE number = $1")
    try delete.run()
    foreseen.forget(task: task.taskID)
    counters.tasks -= 1
    counters.tasksRemoved += 1
    done.tasksRemoved += 1
    noteChange(ofTask: task.number, session: task.session)
  }

  func removeTask(_ number: TaskNumber) throws {
    if let task = try findTask(number: number) { try removeTask(task) }
  }

  /// Deletes a session's tasks that answer to `owner`.
  /// - Returns: how many there were to see; those that have lapsed go with them
  func deleteTasks(of session: SessionRow, owner: Owner) throws -> Int64 {
    var conditions = Filter(visibleTo: owner)
    conditions.add("session_id = ?", session.sessionID)
    conditions.add(of: session.number)
    try requireMayGo(conditions, of: "tasks")
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

  /// Removes tasks whose time is over, whatever their status and however large they are.
  package func expireTasks(limit: Int) throws -> Swept {
    var budget = SliceBudget(rows: .max, environment)
    return try expireTasks(limit: limit, &budget)
  }

  /// The same within a budget: a task with more rows than that has left loses some, and the rest in the next slices.
  func expireTasks(limit: Int, _ budget: inout SliceBudget) throws -> Swept {
    var lapsed: [TaskNumber] = []
    var swept = Swept()
    if policies.hasHolds {
      let found = try due(.tasks, at: now, limit: limit)
      (lapsed, swept.hasMore) = (found.numbers.map { TaskNumber(due: $0) }, found.hasMore)
      budget.spend(8)
    } else {
      var select = try tables.statement(
        .server,
        composed: "SELECT number FROM tasks WHERE expires_at < $1 ORDER BY expires_at, number LIMIT $2"
          + tables.dialect.lockingWhatIsFree)
      select.bind(1, now)
      select.bind(2, Int64(limit + 1))
      while try select.step() { lapsed.append(TaskNumber(select, 0)) }
    }
    if lapsed.count > limit { swept.hasMore = true }
    for number in lapsed.prefix(limit) {
      guard let task = try findTask(number: number) else { continue }
      if budget.isUsedUp {
        swept.hasMore = true
        break
      }
      if task.queueSize + task.inputKeysUsed > budget.chunk, try shrink(task, &budget) {
        swept.hasMore = true
        break
      }
      try removeTask(task)
      budget.spend(Int64(Self.taskRows))
      swept.removed.append(task.taskID)
    }
    return swept
  }

  /// Deletes the queue and the keys of a task that has lapsed, which it has from then on whatever a clock says.
  /// - Returns: whether there may be more
  private func shrink(_ task: TaskRecord, _ budget: inout SliceBudget) throws -> Bool {
    var end = try tables.statement(
      of: task.number, "UPDATE tasks SET ttl = -created_at - 1, expires_at = -1 WHERE number = $1")
    try end.run()
    foreseen.forget(task: task.taskID)
    return try budget.inChunks { try deleteTaskMessages(task.number, limit: $0) }
      || budget.inChunks { try deleteInputKeys(task.number, limit: $0) }
  }

  /// Fails the tasks that are not terminal and were not touched for longer than `maxAge` milliseconds: their server
  /// died over them.
  package func recoverStuckTasks(maxAge: Int64, scope: TaskScope, limit: Int) throws -> Swept {
    var conditions = try self.conditions(nil, scope)
    conditions.add("status IN ('working', 'input_required')")
    conditions.add("last_updated_at < ?", (Saturating(now) - maxAge).value)
    // Numbers first: what stands in the rows of so many can be much.
    var stuck: [TaskNumber] = []
    do {
      var select = try tables.statement(conditions, "SELECT number FROM tasks", limit: limit + 1)
      while try select.step() { stuck.append(TaskNumber(select, 0)) }
    }
    var swept = Swept()
    swept.hasMore = stuck.count > limit
    for number in stuck.prefix(limit) {
      guard let old = try findTask(number: number) else { continue }
      var task = old
      try step(&task, to: .failed)
      try setPayload(&task, .result, Self.interruption)
      task.statusMessage = Self.interrupted
      task.lastUpdatedAt = now
      try write(&task, old)
      swept.removed.append(task.taskID)
    }
    return swept
  }

  private static let interruption = Payload(
    own: TaskOutcome.error(
      JSONText(validated: Array(#"{"code":-32603,"message":"\#(interrupted)"}"#.utf8)[...])
    ).json)
}
