import Database
package import JSON

/// Where a task stands. The last three are terminal.
package enum TaskStatus: String, Sendable, CaseIterable {
  case working
  case inputRequired = "input_required"
  case completed, failed, cancelled

  package var isTerminal: Bool {
    switch self {
    case .working, .inputRequired: false
    case .completed, .failed, .cancelled: true
    }
  }
}

/// How a task ended.
package enum TaskOutcome: Equatable {
  case success(JSONText)
  /// an object {code, message, data}
  case error(JSONText)

  var isError: Bool { if case .error = self { true } else { false } }

  /// The one member object in which it is stored and shown.
  package var json: JSONText {
    let (name, value) =
      switch self {
      case .success(let value): ("success", value)
      case .error(let value): ("error", value)
      }
    var writer = JSONWriter()
    writer.beginObject()
    writer.member(name, value)
    writer.endObject()
    return JSONText(validated: writer.take()[...])
  }
}

/// A task as callers see it, in the request that read it: what is large stays in the file until it is shown. All times
/// are Unix milliseconds.
package struct TaskRecord {
  /// Not kept by it: the tasks of an open group are in the store themselves.
  private unowned let store: Store
  package let number: TaskNumber
  package var taskID: String
  package var sessionID: String?
  /// of the session, which may be gone by now, while another one has its id
  let session: SessionNumber?
  package var tenantID: String?
  package var principal: String?
  package var status: TaskStatus
  package var statusMessage: String?
  package var createdAt: Int64
  package var lastUpdatedAt: Int64
  /// milliseconds from `createdAt`; nil: never lapses
  package var ttl: Int64?
  package var pollInterval: Int64?
  package var originalMethod: String?
  package var cancelRequested: Bool
  package var revision: Int64
  /// messages in its queue
  package var queueSize: Int64 = 0
  /// input keys that it has used
  var inputKeysUsed: Int64 = 0
  /// the payloads that stand in its row
  var ownPayloads = TaskPayloads()
  /// the others, which stand apart
  var payloadsApart: Int64 = 0
  /// whether a payload is not as it was read
  var hasNewPayloads = false

  var expiresAt: Int64? { ttl.map { (Saturating(createdAt) + $0).value } }

  /// Tasks lapse strictly after their time, whatever their status.
  func hasLapsed(at now: Int64) -> Bool { expiresAt.map { now > $0 } ?? false }

  /// - Throws: `terminalState` when nothing about the task may change any more
  func requireLive(_ requested: String) throws {
    if status.isTerminal { throw StoreError.terminalState(current: status, requested: requested) }
  }

  /// - Throws: `terminalState` from a terminal status, `invalidTransition` from one to itself
  func requireStep(to next: TaskStatus) throws {
    try requireLive(next.rawValue)
    if status == next { throw StoreError.invalidTransition(current: status, requested: next) }
  }

  // MARK: - Payloads

  /// Which payloads it has.
  package func fields() throws -> Set<TaskField> {
    let own = Set(TaskField.allCases.filter { ownPayloads[$0] != nil })
    return payloadsApart == 0 ? own : try own.union(store.fieldsApart(number))
  }

  package func payload(_ field: TaskField) throws -> JSONText? {
    if let own = ownPayloads[field] { return own }
    return payloadsApart == 0 ? nil : try store.payloadApart(number, field)
  }

  /// Those that are meant, one by one.
  package func payloads(where isMeant: (TaskField) -> Bool) throws -> TaskPayloads {
    var payloads = TaskPayloads()
    for field in TaskField.allCases where isMeant(field) { payloads[field] = try payload(field) }
    return payloads
  }

  /// All that it has.
  package func payloads() throws -> TaskPayloads {
    payloadsApart == 0 ? ownPayloads : try store.payloadsApart(number, with: ownPayloads)
  }
}

extension TaskRecord {
  /// A literal, so that finding the statement costs no hashing of text: nearly every call about a task needs it.
  static let byID: StaticString = """
    SELECT number, task_id, session_id, tenant_id, principal, status, status_message, created_at, last_updated_at, ttl,
      poll_interval, original_method, cancel_requested, revision, queue_size, input_keys_used, session, payloads_apart,
      original_params, result, input_requests, input_responses, meta
    FROM tasks WHERE task_id = $1
    """
  /// The same columns, for other conditions.
  static let select = String(byID.description.dropLast(" WHERE task_id = $1".count))

  init(_ row: borrowing Statement, _ store: Store) {
    self.store = store
    number = TaskNumber(row, 0)
    taskID = row.string(1)
    sessionID = row.optionalString(2)
    tenantID = row.optionalString(3)
    principal = row.optionalString(4)
    status = TaskStatus(rawValue: row.string(5)) ?? .failed
    statusMessage = row.optionalString(6)
    createdAt = row.integer(7)
    lastUpdatedAt = row.integer(8)
    ttl = row.optionalInteger(9)
    pollInterval = row.optionalInteger(10)
    originalMethod = row.optionalString(11)
    cancelRequested = row.boolean(12)
    revision = row.integer(13)
    queueSize = row.integer(14)
    inputKeysUsed = row.integer(15)
    session = SessionNumber(optional: row, 16)
    payloadsApart = row.integer(17)
    ownPayloads = TaskPayloads(row, from: 18)
  }

  /// A new one.
  init(
    _ new: NewTask, _ store: Store, number: TaskNumber, taskID: String, session: SessionNumber?, tenantID: String?,
    principal: String?, at now: Int64
  ) {
    self.store = store
    self.number = number
    self.taskID = taskID
    sessionID = new.sessionID
    self.session = session
    self.tenantID = tenantID
    self.principal = principal
    status = new.status
    statusMessage = new.statusMessage
    createdAt = now
    lastUpdatedAt = now
    ttl = new.ttl
    pollInterval = new.pollInterval
    originalMethod = new.originalMethod
    cancelRequested = false
    revision = number.value
  }
}
