package import JSON
import SQLite

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

/// A task as callers see it. All times are Unix milliseconds.
package struct TaskRecord {
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
  package var originalParams: JSONText?
  /// {"success": …} or {"error": …}
  package var result: JSONText?
  /// what is still asked for
  package var inputRequests: JSONText?
  /// everything that was ever answered
  package var inputResponses: JSONText?
  /// an array of the keys that were ever asked for
  var inputKeys: JSONText?
  package var cancelRequested: Bool
  package var meta: JSONText?
  package var revision: Int64

  var expiresAt: Int64? { ttl.map { (Saturating(createdAt) + $0).value } }

  /// Tasks lapse strictly after their time, whatever their status.
  func hasLapsed(at now: Int64) -> Bool { expiresAt.map { now > $0 } ?? false }

  /// Moves to another status.
  /// - Throws: `terminalState` from a terminal one, `invalidTransition` from a status to itself
  mutating func move(to next: TaskStatus) throws {
    if status.isTerminal { throw StoreError.terminalState(current: status, requested: next.rawValue) }
    if status == next { throw StoreError.invalidTransition(current: status, requested: next) }
    status = next
    // What was still asked for is withdrawn; its keys stay used.
    inputRequests = nil
  }

  /// - Throws: `terminalState` when nothing about the task may change any more
  func requireLive(_ requested: String) throws {
    if status.isTerminal { throw StoreError.terminalState(current: status, requested: requested) }
  }
}

extension TaskRecord {
  static let columns = """
    number, task_id, session_id, tenant_id, principal, status, status_message, created_at, last_updated_at, ttl,
    poll_interval, original_method, original_params, result, input_requests, input_responses, input_keys,
    cancel_requested, meta, revision, session
    """

  init(_ row: borrowing Statement) {
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
    originalParams = row.json(12)
    result = row.json(13)
    inputRequests = row.json(14)
    inputResponses = row.json(15)
    inputKeys = row.json(16)
    cancelRequested = row.boolean(17)
    meta = row.json(18)
    revision = row.integer(19)
    session = SessionNumber(optional: row, 20)
  }

  /// Binds all columns but `number` as $1 to $20.
  func bind(to statement: inout Statement) {
    statement.bind(1, taskID)
    statement.bind(2, sessionID)
    statement.bind(3, tenantID)
    statement.bind(4, principal)
    statement.bind(5, status.rawValue)
    statement.bind(6, statusMessage)
    statement.bind(7, createdAt)
    statement.bind(8, lastUpdatedAt)
    statement.bind(9, ttl)
    statement.bind(10, pollInterval)
    statement.bind(11, originalMethod)
    statement.bind(12, originalParams)
    statement.bind(13, result)
    statement.bind(14, inputRequests)
    statement.bind(15, inputResponses)
    statement.bind(16, inputKeys)
    statement.bind(17, cancelRequested)
    statement.bind(18, meta)
    statement.bind(19, revision)
    statement.bind(20, expiresAt)
  }
}
