import SQLite

/// A reader that follows one task, or the tasks of one session: a cursor on the store-wide revision. Of the changes of
/// one task that it has not read yet it sees the last.
package struct TaskReader {
  /// nil: those of a session
  package let task: TaskNumber?
  /// nil: not one session's
  package let session: (number: SessionNumber, id: String)?
  let owner: Owner
  /// whether it ends with the one task that it follows
  package var followsOne: Bool { task != nil }
  /// the revision up to which it has read
  var after: Int64 = 0
  /// what it has told of and must tell the end of
  var known: [TaskNumber: (taskID: String, expiresAt: Int64?)] = [:]
  /// when the next of them lapses if nothing happens to it meanwhile; nil: never
  package var deadline: Int64?
}

extension Store {
  package enum TaskChange {
    case changed(TaskRecord)
    case ended(taskID: String, reason: String)
  }

  /// Makes a reader of one task; what it is now counts as read.
  package func startReading(taskID: String, scope: TaskScope) throws -> (reader: TaskReader, task: TaskRecord) {
    let task = try task(taskID, scope: scope)
    var reader = TaskReader(task: task.number, session: nil, owner: scope.owner)
    reader.after = task.revision
    reader.known[task.number] = (task.taskID, task.expiresAt)
    reader.deadline = task.expiresAt.map { (Saturating($0) + 1).value }
    return (reader, task)
  }

  /// Makes a reader of a session's tasks that has read nothing yet.
  package func startReading(tasksOf sessionID: String, owner: Owner) throws -> TaskReader {
    let slot = try session(sessionID, owner: owner, for: .read)
    return TaskReader(task: nil, session: (cache.rows[slot].number, sessionID), owner: owner)
  }

  /// Hands what changed since to `visit`, in the order of the changes, ends after changes.
  /// - Parameter visit: returns false to stop before that change
  /// - Returns: whether there is more
  package func readOn(_ reader: inout TaskReader, visit: (TaskChange) throws -> Bool) throws -> Bool {
    var conditions = conditions(reader)
    conditions.add("revision > ?", reader.after)
    do {
      var select = try tables.statement(
        conditions, "SELECT \(TaskRecord.columns) FROM tasks", suffix: " ORDER BY revision")
      while try select.step() {
        let task = TaskRecord(select)
        if task.hasLapsed(at: now) { continue }
        if try !visit(.changed(task)) { return true }
        reader.after = task.revision
        reader.known[task.number] = (task.taskID, task.expiresAt)
      }
    }
    return try readEnds(&reader, visit: visit)
  }

  private func readEnds(_ reader: inout TaskReader, visit: (TaskChange) throws -> Bool) throws -> Bool {
    var gone = reader.known
    var select = try tables.statement(conditions(reader), "SELECT number, expires_at FROM tasks")
    var lapsed: Set<TaskNumber> = []
    reader.deadline = nil
    while try select.step() {
      if let expiresAt = select.optionalInteger(1), now > expiresAt {
        lapsed.insert(TaskNumber(select, 0))
      } else {
        gone[TaskNumber(select, 0)] = nil
        let deadline = select.optionalInteger(1).map { (Saturating($0) + 1).value }
        if let deadline { reader.deadline = min(reader.deadline ?? deadline, deadline) }
      }
    }
    for (number, task) in gone.sorted(by: { $0.key < $1.key }) {
      // The sweep may have been there before the reader.
      let hasLapsed = lapsed.contains(number) || task.expiresAt.map { now > $0 } == true
      if try !visit(.ended(taskID: task.taskID, reason: hasLapsed ? "expired" : "deleted")) { return true }
      reader.known[number] = nil
    }
    return false
  }

  private func conditions(_ reader: TaskReader) -> Filter {
    var conditions = Filter(visibleTo: reader.owner)
    if let task = reader.task { conditions.add(of: task) }
    if let session = reader.session {
      conditions.add("session_id = ?", session.id)
      conditions.add(of: session.number)
    }
    return conditions
  }
}
