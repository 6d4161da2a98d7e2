import Database

/// A reader that follows one task, or the tasks of one session: a cursor on the store-wide revision. Of the changes of
/// one task that it has not read yet it sees the last.
package struct TaskReader {
  /// nil: those of a session
  package let task: TaskNumber?
  /// nil: not one session's
  package let session: (number: SessionNumber, id: String)?
  /// to whom what it follows is bound
  package let owners: Owners
  let owner: Owner
  /// whether it ends with the one task that it follows
  package var followsOne: Bool { task != nil }
  /// the revision up to which it has read
  var after: Int64 = 0
  /// what it has told of and must tell the end of
  var known: [TaskNumber: (taskID: String, expiresAt: Int64?, revision: Int64)] = [:]
  /// when the next of them lapses if nothing happens to it meanwhile; nil: never
  package private(set) var deadline: Int64?
  /// how many tasks the store had ever removed when it last looked for ends
  private var removedBefore: Int64 = -1

  init(task: TaskNumber?, session: (number: SessionNumber, id: String)?, owners: Owners, owner: Owner) {
    (self.task, self.session, self.owners, self.owner) = (task, session, owners, owner)
  }

  mutating func tell(_ task: TaskRecord) {
    after = task.revision
    known[task.number] = (task.taskID, task.expiresAt, task.revision)
    note(task.expiresAt)
  }

  /// Whether something that it knows may have ended.
  func mayHaveEnds(removed: Int64, now: Int64) -> Bool {
    removedBefore != removed || deadline.map { now >= $0 } == true
  }

  /// Until ``finishEnds(removed:)`` it looks again.
  mutating func beginEnds() { (deadline, removedBefore) = (nil, -1) }
  mutating func finishEnds(removed: Int64) { removedBefore = removed }

  /// Tasks lapse strictly after their time.
  mutating func note(_ expiresAt: Int64?) {
    guard let next = expiresAt.map({ (Saturating($0) + 1).value }) else { return }
    deadline = min(deadline ?? next, next)
  }
}

extension Store {
  package enum TaskChange {
    case changed(TaskRecord)
    case ended(taskID: String, reason: String)
  }

  /// Makes a reader of one task; what it is now counts as read.
  package func startReading(taskID: String, scope: TaskScope) throws -> (reader: TaskReader, task: TaskRecord) {
    let task = try task(taskID, scope: scope)
    let owners = Owners(tenantID: task.tenantID, principal: task.principal)
    var reader = TaskReader(task: task.number, session: nil, owners: owners, owner: scope.owner)
    reader.tell(task)
    return (reader, task)
  }

  /// Makes a reader of a session's tasks that has read nothing yet.
  package func startReading(tasksOf sessionID: String, owner: Owner) throws -> TaskReader {
    let slot = try session(sessionID, owner: owner, for: .read)
    let row = cache.rows[slot]
    let owners = Owners(tenantID: row.tenantID, principal: row.principal)
    return TaskReader(task: nil, session: (row.number, sessionID), owners: owners, owner: owner)
  }

  /// Hands what changed since to `visit`, in the order of the changes, ends after changes.
  /// - Parameter visit: returns false to stop before that change
  /// - Returns: whether there is more
  package func readOn(_ reader: inout TaskReader, visit: (TaskChange) throws -> Bool) throws -> Bool {
    for number in try changed(reader) {
      guard let task = try findTask(number: number) else { continue }
      if task.hasLapsed(at: now) {
        // What it has become may be what ended it.
        if reader.known[number] != nil { reader.note(task.expiresAt) }
        reader.after = task.revision
        continue
      }
      if try !visit(.changed(task)) { return true }
      reader.tell(task)
    }
    return try readEnds(&reader, visit: visit)
  }

  /// Numbers first, in the order of the changes: rows may be large, and of most changes there are few.
  private func changed(_ reader: TaskReader) throws -> [TaskNumber] {
    var conditions = conditions(reader)
    // Where others write at the same time, a lower revision may be committed after a higher one.
    if !isShared { conditions.add("revision > ?", reader.after) }
    var select = try tables.statement(conditions, "SELECT number, revision FROM tasks", suffix: " ORDER BY revision")
    var numbers: [TaskNumber] = []
    while try select.step() {
      let number = TaskNumber(select, 0)
      if !isShared || reader.known[number]?.revision != select.integer(1) { numbers.append(number) }
    }
    return numbers
  }

  private func readEnds(_ reader: inout TaskReader, visit: (TaskChange) throws -> Bool) throws -> Bool {
    guard reader.mayHaveEnds(removed: counters.tasksRemoved, now: now) else { return false }
    var gone = reader.known
    var lapsed: Set<TaskNumber> = []
    reader.beginEnds()
    do {
      var select = try tables.statement(conditions(reader), "SELECT number, expires_at FROM tasks")
      while try select.step() {
        let (number, expiresAt) = (TaskNumber(select, 0), select.optionalInteger(1))
        if let expiresAt, now > expiresAt {
          lapsed.insert(number)
        } else {
          gone[number] = nil
          reader.note(expiresAt)
        }
      }
    }
    for (number, task) in gone.sorted(by: { $0.key < $1.key }) {
      // The sweep may have been there before the reader.
      let hasLapsed = lapsed.contains(number) || task.expiresAt.map { now > $0 } == true
      if try !visit(.ended(taskID: task.taskID, reason: hasLapsed ? "expired" : "deleted")) { return true }
      reader.known[number] = nil
    }
    reader.finishEnds(removed: counters.tasksRemoved)
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
