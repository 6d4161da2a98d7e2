import Database
package import JSON

/// Input rounds: a task asks its client for answers by key, and goes on when all are in (MCP's tasks extension).
extension Store {
  private typealias Members = [(key: String, value: JSONText)]

  /// Asks for input, or for more of it.
  /// - Parameter requests: an object with at least one member
  /// - Throws: `terminalState`; `invalidParameter` for a key that the task has used before; `maxInputKeysReached`;
  ///   `payloadTooLarge`
  package func requireTaskInput(_ taskID: String, _ requests: JSONText, scope: TaskScope) throws -> TaskRecord {
    try changeTask(taskID, scope: scope) { task in
      try task.requireLive("require input")
      let new = try inputMembers(requests, parameter: "input_requests")
      if new.isEmpty {
        throw StoreError.invalidParameter(name: "input_requests", expected: "an object with at least one member")
      }
      let used = try keysUsed(by: task, of: new.map(\.key))
      for (key, _) in new where used.contains(key.exact) {
        throw StoreError.invalidParameter(name: "input_requests.\(key)", expected: "a key that this task has not used")
      }
      let outstanding = try inputMembers(of: task, .inputRequests)
      let all = try object(outstanding + new, what: "All that the task asks for")
      try use(new.map(\.key), &task)
      try setPayload(&task, .inputRequests, all)
      task.status = .inputRequired
    }
  }

  /// Takes answers. Those that were not asked for, or were given before, are ignored; when nothing is outstanding any
  /// more the task is working again.
  package func provideTaskInput(_ taskID: String, _ responses: JSONText, scope: TaskScope) throws -> TaskRecord {
    let old = try task(taskID, scope: scope)
    try old.requireLive("provide input")
    var outstanding = try inputMembers(of: old, .inputRequests)
    let awaited = Set(outstanding.map(\.key.exact))
    let answers = try inputMembers(responses, parameter: "input_responses").filter { awaited.contains($0.key.exact) }
    if answers.isEmpty { return old }
    let answered = Set(answers.map(\.key.exact))
    outstanding.removeAll { answered.contains($0.key.exact) }
    // A repair may have asked again for what was answered.
    let known = try inputMembers(of: old, .inputResponses).filter { !answered.contains($0.key.exact) }
    let all = try object(known + answers, what: "All that the task was answered")
    let left = outstanding.isEmpty ? nil : try object(outstanding, what: "All that the task asks for")
    var task = old
    try setPayload(&task, .inputResponses, all)
    try setPayload(&task, .inputRequests, left)
    if left == nil { task.status = .working }
    task.lastUpdatedAt = now
    try write(&task, old)
    return task
  }

  // MARK: - Keys

  /// Remembers the keys that a repair asks for as used; those that are already may be asked for again.
  func useKeys(of requests: JSONText, _ task: inout TaskRecord) throws {
    let keys = try inputMembers(requests, parameter: "input_requests").map(\.key)
    let used = try keysUsed(by: task, of: keys)
    try use(keys.filter { !used.contains($0.exact) }, &task)
  }

  /// Those of the keys that the task has used.
  private func keysUsed(by task: TaskRecord, of keys: [String]) throws -> Set<[UInt8]> {
    var used: Set<[UInt8]> = []
    if task.inputKeysUsed == 0 { return used }
    if isShared {
      var select = try tables.statement(
        of: task.number, "SELECT key FROM task_input_keys WHERE task = $1 AND key = ANY ($2)")
      select.bind(2, texts: keys)
      while try select.step() { used.insert(select.string(0).exact) }
      return used
    }
    for key in keys {
      var select = try tables.statement(of: task.number, "SELECT 1 FROM task_input_keys WHERE task = $1 AND key = $2")
      select.bind(2, key)
      if try select.step() { used.insert(key.exact) }
    }
    return used
  }

  /// - Parameter keys: such as the task has not used
  private func use(_ keys: [String], _ task: inout TaskRecord) throws {
    let count = (Saturating(task.inputKeysUsed) + Int64(keys.count)).value
    if limits.maxTaskInputKeys > 0, !keys.isEmpty, count > Int64(limits.maxTaskInputKeys) {
      throw StoreError.maxInputKeysReached(limit: limits.maxTaskInputKeys)
    }
    for key in keys {
      var insert = try tables.statement(
        of: task.number, "INSERT INTO task_input_keys (task, key) VALUES ($1, $2)")
      insert.bind(2, key)
      try insert.run()
    }
    noteMade(keys.count)
    task.inputKeysUsed = count
  }

  /// Deletes some.
  /// - Returns: how many
  func deleteInputKeys(_ task: TaskNumber, limit: Int64) throws -> Int64 {
    var delete = try tables.statement(
      of: task,
      "DELETE FROM task_input_keys WHERE number IN (SELECT number FROM task_input_keys WHERE task = $1 LIMIT $2)")
    delete.bind(2, limit)
    try delete.run()
    let deleted = tables.changes
    var update = try tables.statement(
      of: task, as: 2, "UPDATE tasks SET input_keys_used = input_keys_used - $1 WHERE number = $2")
    update.bind(1, deleted)
    try update.run()
    foreseen.forgetTasks()
    return deleted
  }

  func deleteInputKeys(_ task: TaskNumber) throws {
    var delete = try tables.statement(of: task, "DELETE FROM task_input_keys WHERE task = $1")
    try delete.run()
  }

  // MARK: - Objects

  private func inputMembers(of task: TaskRecord, _ field: TaskField) throws -> Members {
    try task.payload(field).map { try inputMembers($0, parameter: field.rawValue) } ?? []
  }

  private func inputMembers(_ object: JSONText, parameter: String) throws -> Members {
    var seen: Set<[UInt8]> = []
    return try object.members.map { member in
      guard let key = member.name, (1...1_024).contains(key.utf8.count), seen.insert(key.exact).inserted else {
        throw StoreError.invalidParameter(
          name: parameter, expected: "an object whose keys are 1 to 1,024 bytes of UTF-8, each once")
      }
      return (key, member.value)
    }
  }

  private func object(_ members: Members, what: String) throws -> Payload {
    var writer = JSONWriter()
    writer.beginObject()
    for (key, value) in members {
      writer.escapedName(key)
      writer.text(value)
    }
    writer.endObject()
    return try Payload(JSONText(validated: writer.take()[...]), what: what, limits)
  }
}
