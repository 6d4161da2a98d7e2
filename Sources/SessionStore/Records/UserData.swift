import Database
package import JSON

/// Whose data is meant: the sessions for which all that is named holds, and what is bound to exactly the owners.
package struct UserSelector: Sendable {
  package var userID: String?
  package var tenantID: String?
  package var principal: String?

  package init(userID: String?, tenantID: String?, principal: String?) {
    self.userID = userID
    self.tenantID = tenantID
    self.principal = principal
  }

  /// SQL in which each `?` stands for the next of the values.
  struct Condition {
    var sql: String
    var values: [Filter.Value]
  }

  /// of the tables that know the user and both owners
  private var all: Condition { equal([("user_id", userID), ("tenant_id", tenantID), ("principal", principal)]) }
  private var owners: Condition { equal([("tenant_id", tenantID), ("principal", principal)]) }
  private var namesOwner: Bool { tenantID != nil || principal != nil }

  private func equal(_ columns: [(name: String, value: String?)]) -> Condition {
    let given = columns.compactMap { column in column.value.map { (column.name, $0) } }
    return Condition(sql: given.map { $0.0 + " = ?" }.joined(separator: " AND "), values: given.map { .text($0.1) })
  }

  var sessions: Condition { all }

  private var sessionNumbers: Condition {
    Condition(sql: "SELECT number FROM sessions WHERE " + all.sql, values: all.values)
  }

  /// Those that belong to none of the sessions; nil where only a user is named, to whom no task is bound.
  var tasks: Condition? {
    guard namesOwner else { return nil }
    return Condition(
      sql: "\(owners.sql) AND coalesce(session, 0) NOT IN (\(sessionNumbers.sql))",
      values: owners.values + sessionNumbers.values)
  }

  /// those that belong to the sessions
  var tasksOfSessions: Condition {
    Condition(sql: "session IN (\(sessionNumbers.sql))", values: sessionNumbers.values)
  }

  var values: Condition? { namesOwner ? owners : nil }

  /// nonces have no tenant
  var nonces: Condition? { principal.map { Condition(sql: "principal = ?", values: [.text($0)]) } }

  /// those that name what is named, and those about the sessions
  var auditEvents: Condition {
    Condition(sql: "(\(all.sql) OR session IN (\(sessionNumbers.sql)))", values: all.values + sessionNumbers.values)
  }
}

/// How far an export has come.
package struct ExportPosition: Equatable {
  /// first all of one session after the other, then what belongs to none
  fileprivate(set) var stage = 0
  /// the number of the session whose records are being read
  fileprivate(set) var session: Int64 = 0
  /// the number of the task whose records are being read, in a stage of what belongs to tasks
  fileprivate(set) var task: Int64 = 0
  /// the number of the last record
  fileprivate(set) var after: Int64 = 0
  /// the name of the last record, where records are ordered by it
  fileprivate(set) var name = ""

  package init() {}

  /// for a cursor
  package var text: String { "\(stage).\(session).\(task).\(after).\(name)" }

  package init?(_ text: String) {
    let parts = text.split(separator: ".", maxSplits: 4, omittingEmptySubsequences: false)
    guard parts.count == 5, let stage = Int(parts[0]), let session = Int64(parts[1]), let task = Int64(parts[2]),
      let after = Int64(parts[3]), ExportStage.all.indices.contains(stage), session >= 0, task >= 0, after >= 0
    else { return nil }
    (self.stage, self.session, self.task, self.after, name) = (stage, session, task, after, String(parts[4]))
    if self.text != text { return nil }
  }

  fileprivate mutating func leave(stage: Int) {
    (self.stage, task, after, name) = (stage, 0, 0, "")
  }
}

/// One kind of record of an export. Each is read in the order of an index, so that a page costs what is on it, and one
/// record at a time is held.
private struct ExportStage: Sendable {
  let kind: RecordKind
  /// the column that the rows are read by
  var order = "number"
  /// of which session's rows; nil for what belongs to none
  var ofSession: String?
  /// the column of tasks that counts the rows, where they belong to the tasks that the conditions mean
  var ofTasksWith: String?
  /// which rows besides
  var condition: @Sendable (UserSelector) -> UserSelector.Condition? = { _ in nil }

  private static let tasksOfSession =
    "session_id = (SELECT session_id FROM sessions WHERE number = ?) AND session = ?"

  static let all: [ExportStage] = [
    ExportStage(kind: .session, ofSession: "number = ?"),
    ExportStage(kind: .state, order: "key", ofSession: "session = ?"),
    ExportStage(
      kind: .event, order: "id",
      ofSession: "session = ? AND id > (SELECT event_floor FROM sessions WHERE number = session)"),
    ExportStage(kind: .logEntry, order: "seq", ofSession: "session = ? AND seq > \(LogRow.floor)"),
    ExportStage(kind: .logParticipant, ofSession: "session = ?"),
    ExportStage(kind: .task, ofSession: tasksOfSession),
    ExportStage(kind: .taskPayload, order: "field", ofSession: tasksOfSession, ofTasksWith: "payloads_apart"),
    ExportStage(kind: .taskInputKey, order: "key", ofSession: tasksOfSession, ofTasksWith: "input_keys_used"),
    ExportStage(kind: .taskMessage, ofSession: tasksOfSession, ofTasksWith: "queue_size"),
    ExportStage(kind: .task) { $0.tasks },
    ExportStage(kind: .taskPayload, order: "field", ofTasksWith: "payloads_apart") { $0.tasks },
    ExportStage(kind: .taskInputKey, order: "key", ofTasksWith: "input_keys_used") { $0.tasks },
    ExportStage(kind: .taskMessage, ofTasksWith: "queue_size") { $0.tasks },
    ExportStage(kind: .value) { $0.values },
    ExportStage(kind: .eventSubscription) { $0.values },
    ExportStage(kind: .work) { $0.values },
    ExportStage(kind: .nonce, order: "nonce") { $0.nonces },
    ExportStage(kind: .auditEvent) { $0.auditEvents },
  ]

  static let firstOfNoSession = all.firstIndex { $0.ofSession == nil } ?? 0

  var isOrderedByName: Bool { ["key", "field", "nonce"].contains(order) }

  /// What the stage's rows, or the tasks that they belong to, are found by; nil when there can be none.
  func filter(_ selector: UserSelector, _ position: ExportPosition) -> Filter? {
    if let ofSession {
      let values = ofSession.filter { $0 == "?" }.map { _ in Filter.Value.integer(position.session) }
      return Filter(UserSelector.Condition(sql: ofSession, values: values))
    }
    return condition(selector).map { Filter($0) }
  }
}

/// All that is stored about somebody: handing it out, and deleting it.
extension Store {
  /// Hands out the next records behind a position, each with the position that it leads to.
  /// - Parameter visit: gets a way to write the record; false ends the page before it
  /// - Returns: whether there are more
  package func exportUserData(
    _ selector: UserSelector, behind start: ExportPosition, limit: Int,
    visit: (ExportPosition, (inout JSONWriter) -> Void) throws -> Bool
  ) throws -> Bool {
    try flushSessions()
    var (position, count) = (start, 0)
    while position.stage < ExportStage.all.count {
      let stage = ExportStage.all[position.stage]
      if stage.ofSession != nil, try !findSession(selector, &position) { continue }
      if var filter = stage.filter(selector, position), try findTask(of: stage, &filter, &position) {
        if stage.isOrderedByName {
          filter.add("\(stage.order) > ?", position.name)
        } else {
          filter.add("\(stage.order) > ?", position.after)
        }
        var next = position
        func handOut<Rows: RowOfSeveral & ~Copyable>(_: Rows.Type, after: Int64) throws -> Bool {
          var records = Rows(
            try tables.statement(
              filter, stage.kind.selectSeveral(Rows.self), order: stage.order, limit: limit - count + 1,
              areLarge: true), from: 1, after: after)
          while try records.step() {
            next.after = records.number
            if try count == limit || !visit(next, { records.writeRecord(to: &$0) }) { return true }
            position = next
            count += 1
          }
          return false
        }
        switch stage.kind.several {
        case .events:
          let after = max(position.after, try floor("event_floor", position.session))
          if try handOut(EventRow.self, after: after) { return true }
        case .logEntries:
          let after = max(position.after, try floor("log_floor", position.session))
          if try handOut(LogRow.self, after: after) { return true }
        case nil:
          leaveRecords(of: stage.kind, &filter)
          var rows = try tables.statement(
            filter, stage.kind.select(adding: stage.order), order: stage.order, limit: limit - count + 1,
            areLarge: true)
          while try rows.step() {
            let order = Int32(stage.kind.columns.count)
            if stage.isOrderedByName { next.name = rows.string(order) } else { next.after = rows.integer(order) }
            if try count == limit || !visit(next, { stage.kind.write(rows, to: &$0) }) { return true }
            position = next
            count += 1
          }
        }
        if stage.ofTasksWith != nil {
          (position.task, position.after, position.name) = (position.task + 1, 0, "")
          continue
        }
      }
      position.leave(stage: position.stage + 1)
      if position.stage == ExportStage.firstOfNoSession {
        position.stage = 0
        position.session += 1
      }
    }
    return false
  }

  private func floor(_ column: String, _ session: Int64) throws -> Int64 {
    var select = try tables.statement(.server, composed: "SELECT \(column) FROM sessions WHERE number = $1")
    select.bind(1, session)
    return try select.step() ? select.integer(0) : 0
  }

  /// Goes on to the next session that is selected, if the one of the position is not.
  /// - Returns: false when there is none, and the position is behind all sessions
  private func findSession(_ selector: UserSelector, _ position: inout ExportPosition) throws -> Bool {
    var conditions = Filter(selector.sessions)
    conditions.add("number >= ?", position.session)
    var select = try tables.statement(conditions, "SELECT number FROM sessions", limit: 1)
    guard try select.step() else {
      position = ExportPosition()
      position.stage = ExportStage.firstOfNoSession
      return false
    }
    let number = select.integer(0)
    if number != position.session {
      position = ExportPosition()
      position.session = number
    }
    return true
  }

  /// Goes on to the next of the tasks that `filter` leaves and that have rows of the stage, if the one of the position
  /// is none of them.
  /// - Parameter filter: leaves what belongs to that task then
  /// - Returns: false when there is none any more
  private func findTask(
    of stage: ExportStage, _ filter: inout Filter, _ position: inout ExportPosition
  ) throws -> Bool {
    guard let count = stage.ofTasksWith else { return true }
    var conditions = filter
    conditions.add("\(count) > ?", 0)
    conditions.add("number >= ?", position.task)
    var select = try tables.statement(conditions, "SELECT number FROM tasks", limit: 1)
    guard try select.step() else { return false }
    let task = TaskNumber(select, 0)
    if task.value != position.task { (position.task, position.after, position.name) = (task.value, 0, "") }
    filter = Filter(of: task)
    return true
  }

  // MARK: - Deleting it

  /// What was deleted with somebody.
  package struct DeletedUserData: Equatable {
    package var sessions: Int64 = 0
    package var events: Int64 = 0
    package var logEntries: Int64 = 0
    package var tasks: Int64 = 0
    package var values: Int64 = 0
    package var eventSubscriptions: Int64 = 0
    package var work: Int64 = 0
    package var nonces: Int64 = 0
    package var auditEvents: Int64 = 0
  }

  /// Deletes what ``exportUserData(_:behind:limit:visit:)`` hands out, and tells nothing of it in the audit trail,
  /// where a hash stays in the place of an event.
  /// - Throws: `heldByLegalHold` when any of it has to stay: then all of it does
  package func deleteUserData(_ selector: UserSelector) throws -> DeletedUserData {
    try flushSessions()
    try requireMayGo(selector)
    foreseen.removeAll()
    var deleted = DeletedUserData()
    // First what is found through the sessions.
    deleted.auditEvents = try eraseAuditEvents(selector.auditEvents)
    if let tasks = selector.tasks { deleted.tasks += try deleteTasks(tasks) }
    if let values = selector.values {
      deleted.values = try delete("named_values", Filter(values))
      counters.values -= deleted.values
    }
    if let owners = selector.values {
      let found = try deleteEventSubscriptions(owners)
      deleted.eventSubscriptions = found.subscriptions
      deleted.work = try found.work + deleteWork(owners)
    }
    if let nonces = selector.nonces {
      foreseen.forgetExpiries()
      var used = Filter(nonces)
      leaveRecords(of: .nonce, &used)
      deleted.nonces = try delete("nonces", used)
      if isShared { _ = try delete("nonces", Filter(nonces)) }
    }
    for sessionID in try sessionIDs(selector) {
      guard let slot = try findSession(sessionID, owner: .server) else { continue }
      let row = cache.rows[slot]
      deleted.sessions += 1
      deleted.events += row.eventCount
      deleted.logEntries += row.logCount
      deleted.tasks += try deleteTasks(of: row, owner: .server)
      try removeSession(slot, as: nil)
    }
    return deleted
  }

  private func requireMayGo(_ selector: UserSelector) throws {
    if !policies.hasHolds { return }
    try requireMayGo(Filter(selector.sessions), of: "sessions")
    try requireMayGo(Filter(selector.auditEvents), of: "audit_events")
    if let tasks = selector.tasks { try requireMayGo(Filter(tasks), of: "tasks") }
    try requireMayGo(Filter(selector.tasksOfSessions), of: "tasks")
    guard let owners = selector.values else { return }
    try requireMayGo(Filter(owners), of: "named_values")
    try requireWorkMayGo(Filter(owners))
    var live = Filter(owners)
    live.add("ended_at IS NULL")
    var subscriptions: [Int64] = []
    do {
      var select = try tables.statement(live, "SELECT number FROM event_subscriptions", suffix: " ORDER BY number")
      while try select.step() { subscriptions.append(select.integer(0)) }
    }
    for number in subscriptions {
      if let found = try eventSubscription(number) { try requireMayEnd(found) }
    }
  }

  private func delete(_ table: String, _ conditions: Filter) throws -> Int64 {
    var delete = try tables.statement(conditions, "DELETE FROM \(table)")
    try delete.run()
    return tables.changes
  }

  private func deleteEventSubscriptions(
    _ condition: UserSelector.Condition
  ) throws -> (subscriptions: Int64, work: Int64) {
    var live = Filter(condition)
    live.add("ended_at IS NULL")
    var subscriptions: [EventSubscription] = []
    do {
      var select = try tables.statement(live, "SELECT \(EventSubscription.columns) FROM event_subscriptions")
      while try select.step() { subscriptions.append(EventSubscription(select)) }
    }
    let before = counters.work + counters.workDone + counters.workDead
    for subscription in subscriptions { try end(subscription, reason: "", announce: false) }
    // What announces an end of one goes with the work that is deleted behind it.
    return (Int64(subscriptions.count), before - counters.work - counters.workDone - counters.workDead)
  }

  private func deleteWork(_ condition: UserSelector.Condition) throws -> Int64 {
    if isShared {
      var queues: Set<String> = []
      do {
        var select = try tables.statement(Filter(condition), "SELECT DISTINCT queue FROM work")
        while try select.step() { queues.insert(select.string(0)) }
      }
      try lockQueues(queues)
    }
    return try removeWork(Filter(condition)).all
  }

  private func deleteTasks(_ condition: UserSelector.Condition) throws -> Int64 {
    var numbers: [TaskNumber] = []
    do {
      var select = try tables.statement(Filter(condition), "SELECT number FROM tasks")
      while try select.step() { numbers.append(TaskNumber(select, 0)) }
    }
    for number in numbers { try removeTask(number) }
    return Int64(numbers.count)
  }

  private func sessionIDs(_ selector: UserSelector) throws -> [String] {
    var select = try tables.statement(
      Filter(selector.sessions), "SELECT session_id, number FROM sessions", suffix: " ORDER BY number")
    var ids: [String] = []
    while try select.step() { ids.append(select.string(0)) }
    return ids
  }
}
