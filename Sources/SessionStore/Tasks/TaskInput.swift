package import JSON

/// Input rounds: a task asks its client for answers by key, and goes on when all are in (MCP's tasks extension).
extension Store {
  /// Asks for input, or for more of it.
  /// - Parameter requests: an object with at least one member
  /// - Throws: `terminalState`; `invalidParameter` for a key that the task has used before; `payloadTooLarge`
  package func requireTaskInput(_ taskID: String, _ requests: JSONText, scope: TaskScope) throws -> TaskRecord {
    try changeTask(taskID, scope: scope) { task in
      try task.requireLive("require input")
      let used = Set((task.inputKeys.map(keys) ?? []).map(\.exact))
      let new = try inputMembers(requests, parameter: "input_requests")
      if new.isEmpty {
        throw StoreError.invalidParameter(name: "input_requests", expected: "an object with at least one member")
      }
      for (key, _) in new where used.contains(key.exact) {
        throw StoreError.invalidParameter(name: "input_requests.\(key)", expected: "a key that this task has not used")
      }
      let outstanding = try task.inputRequests.map { try inputMembers($0, parameter: "input_requests") } ?? []
      task.inputRequests = try object(outstanding + new, what: "All that the task asks for")
      task.status = .inputRequired
      try noteKeys(&task)
    }
  }

  /// Takes answers. Those that were not asked for, or were given before, are ignored; when nothing is outstanding any
  /// more the task is working again.
  package func provideTaskInput(_ taskID: String, _ responses: JSONText, scope: TaskScope) throws -> TaskRecord {
    var task = try task(taskID, scope: scope)
    try task.requireLive("provide input")
    var outstanding = try task.inputRequests.map { try inputMembers($0, parameter: "input_requests") } ?? []
    let awaited = Set(outstanding.map(\.key.exact))
    let answers = try inputMembers(responses, parameter: "input_responses").filter { awaited.contains($0.key.exact) }
    if answers.isEmpty { return task }
    let answered = Set(answers.map(\.key.exact))
    outstanding.removeAll { answered.contains($0.key.exact) }
    // A repair may have asked again for what was answered.
    let known = try (task.inputResponses.map { try inputMembers($0, parameter: "input_responses") } ?? [])
      .filter { !answered.contains($0.key.exact) }
    task.inputResponses = try object(known + answers, what: "All that the task was answered")
    task.inputRequests = outstanding.isEmpty ? nil : try object(outstanding, what: "All that the task asks for")
    if outstanding.isEmpty { task.status = .working }
    task.lastUpdatedAt = now
    try write(&task)
    return task
  }

  /// Remembers the keys that are asked for now as used.
  func noteKeys(_ task: inout TaskRecord) throws {
    guard let requests = task.inputRequests else { return }
    var all = task.inputKeys.map(keys) ?? []
    let known = Set(all.map(\.exact))
    all += try inputMembers(requests, parameter: "input_requests").map(\.key).filter { !known.contains($0.exact) }
    var writer = JSONWriter()
    writer.beginArray()
    for key in all { writer.string(key) }
    writer.endArray()
    task.inputKeys = JSONText(validated: writer.take()[...])
  }

  private func keys(_ array: JSONText) -> [String] {
    array.elements().compactMap { JSONString.decode($0.bytes.span, 1..<$0.bytes.count - 1) }
  }

  private func inputMembers(_ object: JSONText, parameter: String) throws -> [(key: String, value: JSONText)] {
    var seen: Set<[UInt8]> = []
    return try object.members().map { member in
      guard let key = member.name, (1...1_024).contains(key.utf8.count), seen.insert(key.exact).inserted else {
        throw StoreError.invalidParameter(
          name: parameter, expected: "an object whose keys are 1 to 1,024 bytes of UTF-8, each once")
      }
      return (key, member.value)
    }
  }

  private func object(_ members: [(key: String, value: JSONText)], what: String) throws -> JSONText {
    var writer = JSONWriter()
    writer.beginObject()
    for (key, value) in members {
      writer.escapedName(key)
      writer.text(value)
    }
    writer.endObject()
    if limits.maxPayloadBytes > 0, writer.count > limits.maxPayloadBytes {
      throw StoreError.payloadTooLarge(what: what, limit: limits.maxPayloadBytes)
    }
    return JSONText(validated: writer.take()[...])
  }
}
