import Database
import JSONRPC
import SessionStore
import SQLite

/// An error of the contract: its code, its stable name, and what it means.
struct ErrorKind: Sendable {
  let code: Int
  let kind: String
  let retryable: Bool
  let summary: String

  private init(_ code: Int, _ kind: String, retryable: Bool = false, _ summary: String) {
    self.code = code
    self.kind = kind
    self.retryable = retryable
    self.summary = summary
  }

  static let invalidParams = ErrorKind(-32602, "invalid_params", "A parameter is missing, unknown or unusable.")
  static let invalidCursor = ErrorKind(-32602, "invalid_cursor", "The cursor is of another list; begin anew.")
  static let methodNotFound = ErrorKind(-32601, "method_not_found", "There is no such method.")
  static let sessionNotFound = ErrorKind(1001, "session_not_found", "No such session, or another owner's.")
  static let sessionExists = ErrorKind(1002, "session_exists", "The id is taken.")
  static let sessionExpired = ErrorKind(1003, "session_expired", "The session's deadline has passed.")
  static let invalidSessionStatus = ErrorKind(1004, "invalid_session_status", "The session's status forbids this.")
  static let maxSessionsReached = ErrorKind(1005, "max_sessions_reached", "The store's cap on sessions is reached.")
  static let maxEventsReached = ErrorKind(1006, "max_events_reached", "The session's cap on events is reached.")
  static let maxUserSessionsReached = ErrorKind(1007, "max_user_sessions_reached", "The user's cap is reached.")
  static let maxSubscriptionsReached = ErrorKind(1008, "max_subscriptions_reached", "Too many open subscriptions.")
  static let maxSessionWritesReached = ErrorKind(
    1009, "max_session_writes_reached", retryable: true, "The session has made as many writes as it may for now.")
  static let taskNotFound = ErrorKind(1101, "task_not_found", "No such task, or another owner's.")
  static let taskExists = ErrorKind(1102, "task_exists", "The id is taken.")
  static let invalidTransition = ErrorKind(1103, "invalid_transition", "The state machine has no such step.")
  static let terminalState = ErrorKind(1104, "terminal_state", "The task is completed, failed or cancelled.")
  static let maxTasksReached = ErrorKind(1105, "max_tasks_reached", "The store's cap on tasks is reached.")
  static let queueFull = ErrorKind(1106, "queue_full", "A queue holds as much as it may.")
  static let maxValuesReached = ErrorKind(1107, "max_values_reached", "The store's cap on values is reached.")
  static let maxInputKeysReached = ErrorKind(1108, "max_input_keys_reached", "The task's cap on input keys is reached.")
  static let maxWorkReached = ErrorKind(1109, "max_work_reached", "The store's cap on work is reached.")
  static let maxEventSubscriptionsReached = ErrorKind(
    1110, "max_event_subscriptions_reached", "The store's cap on event subscriptions is reached.")
  static let eventSubscriptionExists = ErrorKind(1111, "event_subscription_exists", "The id is another owner's.")
  static let maxLegalHoldsReached = ErrorKind(1112, "max_legal_holds_reached", "There are as many holds as may be.")
  static let maxRetentionsReached = ErrorKind(
    1113, "max_retentions_reached", "As many tenants as may have a retention of their own.")
  static let maxPrincipalWorkReached = ErrorKind(
    1114, "max_principal_work_reached", "The principal's cap on work is reached.")
  static let maxPrincipalEventSubscriptionsReached = ErrorKind(
    1115, "max_principal_event_subscriptions_reached", "The principal's cap on these is reached.")
  static let concurrentModification = ErrorKind(1201, "concurrent_modification", "if_revision no longer holds.")
  static let requirementFailed = ErrorKind(1202, "requirement_failed", "A required outcome did not come about.")
  static let heldByLegalHold = ErrorKind(1203, "held_by_legal_hold", "It has to stay while a legal hold is on it.")
  static let payloadTooLarge = ErrorKind(1301, "payload_too_large", "A payload or an answer is over its limit.")
  static let databaseBusy = ErrorKind(
    1401, "database_busy", retryable: true, "Other processes kept the write lock for the whole busy timeout.")
  static let databaseFull = ErrorKind(1402, "database_full", retryable: true, "The disk is full.")
  static let databaseReadOnly = ErrorKind(1403, "database_read_only", "The file cannot be written any more.")
  static let databaseCorrupt = ErrorKind(1404, "database_corrupt", "The file is damaged.")
  static let databaseError = ErrorKind(1405, "database_error", "SQLite met an error.")
  static let databaseTooNew = ErrorKind(1406, "database_too_new", "Another process has migrated the file.")
  static let outcomeUnknown = ErrorKind(1407, "outcome_unknown", "The write may or may not be on disk.")
  static let databaseReplaced = ErrorKind(
    1408, "database_replaced", "The file was deleted, moved, replaced or written over while it was open.")
  static let databaseUnreachable = ErrorKind(
    1409, "database_unreachable", retryable: true, "The server of the database cannot be reached.")
  static let notSupported = ErrorKind(1410, "not_supported", "The engine of the database has another way for this.")
  static let shuttingDown = ErrorKind(1501, "shutting_down", "The sidecar has been told to shut down.")

  static let all: [ErrorKind] =
    [
      methodNotFound, invalidParams, invalidCursor, sessionNotFound, sessionExists, sessionExpired,
      invalidSessionStatus, maxSessionsReached, maxEventsReached, maxUserSessionsReached, maxSubscriptionsReached,
      maxSessionWritesReached, taskNotFound, taskExists, invalidTransition, terminalState, maxTasksReached, queueFull,
      maxValuesReached, maxInputKeysReached, maxWorkReached, maxEventSubscriptionsReached, eventSubscriptionExists,
      maxLegalHoldsReached, maxRetentionsReached, maxPrincipalWorkReached, maxPrincipalEventSubscriptionsReached,
      concurrentModification, requirementFailed, heldByLegalHold, payloadTooLarge,
    ] + anyDatabase + [notSupported, shuttingDown]

  /// What any method that reads or writes the file may answer.
  static let anyDatabase: [ErrorKind] = [
    databaseBusy, databaseFull, databaseReadOnly, databaseCorrupt, databaseError, databaseTooNew, outcomeUnknown,
    databaseReplaced, databaseUnreachable,
  ]

  func error(
    _ message: String, outcome: RPCError.Outcome = .notApplied, _ details: [(name: String, value: RPCError.Detail)] = []
  ) -> RPCError {
    RPCError(code: code, kind: kind, message: message, retryable: retryable, outcome: outcome, details: details)
  }
}

extension RPCError {
  /// Any error that a handler or the store may throw, as it goes on the wire.
  static func of(_ error: any Error) -> RPCError {
    switch error {
    case let error as RPCError: error
    case let error as StoreError: of(error)
    case let error as DatabaseError: of(error)
    case let error as SQLiteError: of(DatabaseError(error))
    case let error as AnswerTooLarge: error.error
    case let error as ArchiveError: of(error)
    case is WorkCancelled:
      ErrorKind.shuttingDown.error("The sidecar was told to end before this was done; start it again and repeat it.")
    default: internalError
    }
  }

  private static func of(_ error: StoreError) -> RPCError {
    switch error {
    case .sessionNotFound(let id):
      return ErrorKind.sessionNotFound.error(
        "There is no session '\(id)'; let the client initialize a new one.",
        [("session_id", .text(id)), ("retry", .text("re-initialize"))])
    case .sessionExists(let id):
      return ErrorKind.sessionExists.error(
        "The session id '\(id)' is taken; choose another or leave it out.", [("session_id", .text(id))])
    case .sessionExpired(let id):
      return ErrorKind.sessionExpired.error(
        "The session '\(id)' has expired; let the client initialize a new one.",
        [("session_id", .text(id)), ("retry", .text("re-initialize"))])
    case .invalidSessionStatus(let current, let requested):
      return ErrorKind.invalidSessionStatus.error(
        "A session that is \(current.rawValue) does not allow this: \(requested).",
        [("current", .text(current.rawValue)), ("requested", .text(requested))])
    case .maxSessionsReached(let limit):
      return ErrorKind.maxSessionsReached.error(
        "The store holds \(limit) sessions, its limit; delete some or raise --max-sessions.", [limitDetail(limit)])
    case .maxUserSessionsReached(let limit):
      return ErrorKind.maxUserSessionsReached.error(
        "The user has \(limit) sessions, the limit; delete some or raise --max-sessions-per-user.",
        [limitDetail(limit)])
    case .maxEventsReached(let limit):
      return ErrorKind.maxEventsReached.error(
        "The session would hold more than \(limit) events; delete some, raise --max-events-per-session, or let "
          + "--event-overflow evict the oldest.", [limitDetail(limit)])
    case .maxSessionWritesReached(let id, let rate, let retryAfter):
      return ErrorKind.maxSessionWritesReached.error(
        "The session '\(id)' may make \(rate.count) writes in \(rate.window) ms; the next one is allowed in "
          + "\(retryAfter) ms. Wait so long, write less, or raise --max-writes-per-session.",
        [
          ("session_id", .text(id)), ("limit", .integer(rate.count)), ("window", .integer(rate.window)),
          ("retry_after", .integer(retryAfter)),
        ])
    case .taskNotFound(let id):
      return ErrorKind.taskNotFound.error("There is no task '\(id)'.", [("task_id", .text(id))])
    case .taskExists(let id):
      return ErrorKind.taskExists.error(
        "The task id '\(id)' is taken; choose another or leave it out.", [("task_id", .text(id))])
    case .invalidTransition(let current, let requested):
      return ErrorKind.invalidTransition.error(
        "A task cannot go from \(current.rawValue) to \(requested.rawValue).",
        [("current", .text(current.rawValue)), ("requested", .text(requested.rawValue))])
    case .terminalState(let current, let requested):
      return ErrorKind.terminalState.error(
        "The task is \(current.rawValue) and stays so.",
        [("current", .text(current.rawValue)), ("requested", .text(requested))])
    case .maxTasksReached(let limit):
      return ErrorKind.maxTasksReached.error(
        "The store holds \(limit) tasks, its limit; delete some or raise --max-tasks.", [limitDetail(limit)])
    case .maxValuesReached(let limit):
      return ErrorKind.maxValuesReached.error(
        "The store holds \(limit) values, its limit; delete some or raise --max-values.", [limitDetail(limit)])
    case .maxEventSubscriptionsReached(let limit):
      return ErrorKind.maxEventSubscriptionsReached.error(
        "The store holds \(limit) event subscriptions, its limit; delete some or raise --max-event-subscriptions.",
        [limitDetail(limit)])
    case .maxPrincipalEventSubscriptionsReached(let limit):
      return ErrorKind.maxPrincipalEventSubscriptionsReached.error(
        "The principal has \(limit) event subscriptions, the limit; delete some, or raise "
          + "--max-event-subscriptions-per-principal.", [limitDetail(limit)])
    case .eventSubscriptionExists(let id):
      return ErrorKind.eventSubscriptionExists.error(
        "The event subscription id '\(id)' is another owner's; choose another.", [("subscription_id", .text(id))])
    case .maxWorkReached(let limit):
      return ErrorKind.maxWorkReached.error(
        "The store holds \(limit) items of work that wait or are leased, its limit; let workers settle some, cancel "
          + "some, or raise --max-work.", [limitDetail(limit)])
    case .maxPrincipalWorkReached(let limit):
      return ErrorKind.maxPrincipalWorkReached.error(
        "The principal has \(limit) items of work that wait or are leased, the limit; let workers settle some, cancel "
          + "some, or raise --max-work-per-principal.", [limitDetail(limit)])
    case .maxInputKeysReached(let limit):
      return ErrorKind.maxInputKeysReached.error(
        "The task would use more than \(limit) input keys in its life, its limit; ask for fewer, make another task, or "
          + "raise --max-task-input-keys.", [limitDetail(limit)])
    case .queueFull(let limit):
      return ErrorKind.queueFull.error(
        "The task's queue holds \(limit) messages, its limit; dequeue some first.", [limitDetail(limit)])
    case .maxLegalHoldsReached(let limit):
      return ErrorKind.maxLegalHoldsReached.error(
        "There are \(limit) legal holds, the limit; lift some, or place one on a whole tenant.", [limitDetail(limit)])
    case .maxRetentionsReached(let limit):
      return ErrorKind.maxRetentionsReached.error(
        "\(limit) tenants have a retention of their own, the limit; choose the options so that fewer need one.",
        [limitDetail(limit)])
    case .heldByLegalHold(let name):
      return ErrorKind.heldByLegalHold.error(
        "It has to stay while the legal hold '\(name)' is on it; whoever has placed that lifts it with "
          + "lift_legal_hold.", [("hold", .text(name))])
    case .concurrentModification(let revision):
      return ErrorKind.concurrentModification.error(
        "It was changed meanwhile; read it again and retry with its revision.",
        [("revision", revision.map { .integer($0) } ?? .null)])
    case .payloadTooLarge(let what, let limit):
      return .payloadTooLarge(what, limit: limit)
    case .invalidParameter(let name, let expected):
      return .invalidParams(name, expected: expected)
    case .tooNew(let found, let supported):
      return ErrorKind.databaseTooNew.error(
        "Another process has migrated the file to schema \(found); this program knows \(supported). Install the newer "
          + "one and start again.", [("found", .integer(found)), ("supported", .integer(supported))])
    case .busy(let milliseconds):
      return ErrorKind.databaseBusy.error(
        "Other processes kept the write lock for \(milliseconds) ms; try again.",
        [("busy_timeout", .integer(milliseconds))])
    case .backupFailed(let path, let code, let message):
      if SQLiteError(code: code, message: message).class == .full {
        return ErrorKind.databaseFull.error(
          "There is no room for the copy at '\(path)'; free some or name a path on another disk, and try again.",
          sqlite(code, message))
      }
      return ErrorKind.databaseError.error(
        "The copy at '\(path)' failed (\(message)); look after that disk, or name a path on another one.",
        sqlite(code, message))
    case .outcomeUnknown(let code, let message):
      return ErrorKind.outcomeUnknown.error(
        "The disk failed while committing (\(message)); whether this took effect shows after a restart.",
        outcome: .unknown, sqlite(code, message))
    case .outcomeUnresolved(let message):
      return ErrorKind.outcomeUnknown.error(
        "The connection broke while committing (\(message)), and no server told in time what became of it; look "
          + "whether this took effect.", outcome: .unknown)
    case .notOnServer(let what, let instead):
      return ErrorKind.notSupported.error("\(what); use \(instead).", [("instead", .text(instead))])
    case .databaseReplaced(let change, let wasCommitted):
      return ErrorKind.databaseReplaced.error(
        "\(change). The sidecar ends; start it again\(wasCommitted ? ", and look whether this took effect" : "").",
        outcome: wasCommitted ? .unknown : .notApplied)
    }
  }

  private static func of(_ error: ArchiveError) -> RPCError {
    switch error {
    case .unusable(_, let reason), .missing(_, let reason):
      return .invalidParams("path", expected: "a path in a directory that is there and may be written (\(reason))")
    case .foreign(_, let offset):
      return .invalidParams(
        "path", expected: "a path where there is no file yet, or a sound archive of this program (see byte \(offset))")
    case .busy(let path):
      return ErrorKind.databaseBusy.error("Another process writes to the archive at '\(path)'; try again.")
    case .elsewhere(let path):
      return ErrorKind.databaseBusy.error(
        "Sessions of this store are leaving for the archive at '\(path)': try again when that is done, or archive to "
          + "it if whoever did so was killed.")
    case .failed(let path, let what, let isFull, let reason):
      if isFull {
        return ErrorKind.databaseFull.error(
          "There is no room for the archive at '\(path)'; free some or name a path on another disk, and try again.")
      }
      return ErrorKind.databaseError.error(
        "The archive failed: \(what) '\(path)' (\(reason)); look after that disk, or name a path on another one.")
    case .noLibrary(let what, let instead):
      return ErrorKind.notSupported.error("No archive: \(what); \(instead).", [("instead", .text(instead))])
    }
  }

  private static func of(_ error: DatabaseError) -> RPCError {
    if let state = error.state { return ofServer(error, state) }
    let details = sqlite(error.code, error.message)
    return switch error.class {
    case .busy: ErrorKind.databaseBusy.error("The database is locked by another process; try again.", details)
    case .full: ErrorKind.databaseFull.error("The disk is full; free some space and try again.", details)
    case .readOnly: ErrorKind.databaseReadOnly.error("The database file cannot be written any more.", details)
    case .corrupt, .notADatabase:
      ErrorKind.databaseCorrupt.error(
        "The database file is damaged, or its disk cannot read it; look after the disk or restore a backup.", details)
    case .cannotOpen, .inputOutput, .other, .again, .unreachable, .badAddress, .noLibrary:
      ErrorKind.databaseError.error("SQLite reports: \(error.message).", details)
    }
  }

  private static func ofServer(_ error: DatabaseError, _ state: String) -> RPCError {
    let kind: ErrorKind =
      switch error.class {
      case .busy, .again: .databaseBusy
      case .full: .databaseFull
      case .readOnly: .databaseReadOnly
      case .corrupt, .notADatabase: .databaseCorrupt
      case .unreachable: .databaseUnreachable
      case .cannotOpen, .inputOutput, .other, .badAddress, .noLibrary: .databaseError
      }
    return kind.error(error.sentence ?? error.message, [("sqlstate", .text(state))])
  }

  private static func limitDetail(_ limit: Int) -> (name: String, value: Detail) { ("limit", .integer(Int64(limit))) }

  private static func sqlite(_ code: Int32, _ message: String) -> [(name: String, value: Detail)] {
    [("sqlite_code", .integer(Int64(code))), ("sqlite_message", .text(message))]
  }
}
