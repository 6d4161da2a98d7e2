// Made by protocol/clients/generate from protocol/openrpc.json.

/** Methods that may be sent again without knowing whether they were done. */
export const REPEATABLE = new Set([
  'get_session',
  'list_sessions',
  'list_session_ids',
  'session_count',
  'get_session_state',
  'list_session_state_keys',
  'get_events_after',
  'get_recent_events',
  'event_count',
  'get_task',
  'list_tasks',
  'list_tasks_for_session',
  'get_task_result',
  'peek_task_messages',
  'task_count',
  'get_value',
  'list_values',
  'renew_work',
  'settle_work',
  'list_work',
  'get_event_subscription',
  'list_event_subscriptions',
  'load_log',
  'log_participants',
  'note_log_message_ids',
  'list_audit_events',
  'audit_counts',
  'get_audit_head',
  'export_user_data',
  'get_retention',
  'list_retention',
  'list_legal_holds',
  'list_payloads',
  'replace_payloads',
  'initialize',
  'server_info',
  'health',
  'get_metrics',
  'check_integrity',
  'rpc.discover',
])

/** The kinds of errors in answers, by name. A newer sidecar may have others. */
export const ErrorKind = Object.freeze({
  method_not_found: 'method_not_found',
  invalid_params: 'invalid_params',
  invalid_cursor: 'invalid_cursor',
  session_not_found: 'session_not_found',
  session_exists: 'session_exists',
  session_expired: 'session_expired',
  invalid_session_status: 'invalid_session_status',
  max_sessions_reached: 'max_sessions_reached',
  max_events_reached: 'max_events_reached',
  max_user_sessions_reached: 'max_user_sessions_reached',
  max_subscriptions_reached: 'max_subscriptions_reached',
  max_session_writes_reached: 'max_session_writes_reached',
  task_not_found: 'task_not_found',
  task_exists: 'task_exists',
  invalid_transition: 'invalid_transition',
  terminal_state: 'terminal_state',
  max_tasks_reached: 'max_tasks_reached',
  queue_full: 'queue_full',
  max_values_reached: 'max_values_reached',
  max_input_keys_reached: 'max_input_keys_reached',
  max_work_reached: 'max_work_reached',
  max_event_subscriptions_reached: 'max_event_subscriptions_reached',
  event_subscription_exists: 'event_subscription_exists',
  max_legal_holds_reached: 'max_legal_holds_reached',
  max_retentions_reached: 'max_retentions_reached',
  max_principal_work_reached: 'max_principal_work_reached',
  max_principal_event_subscriptions_reached: 'max_principal_event_subscriptions_reached',
  concurrent_modification: 'concurrent_modification',
  requirement_failed: 'requirement_failed',
  held_by_legal_hold: 'held_by_legal_hold',
  payload_too_large: 'payload_too_large',
  database_busy: 'database_busy',
  database_full: 'database_full',
  database_read_only: 'database_read_only',
  database_corrupt: 'database_corrupt',
  database_error: 'database_error',
  database_too_new: 'database_too_new',
  outcome_unknown: 'outcome_unknown',
  database_replaced: 'database_replaced',
  database_unreachable: 'database_unreachable',
  not_supported: 'not_supported',
  shutting_down: 'shutting_down',
  parse_error: 'parse_error',
  invalid_request: 'invalid_request',
  internal_error: 'internal_error',
})

/** The methods of the contract; the subclass knows how one is called. */
export class Methods {
  /** Makes a session. */
  createSession(params, options) {
    return this.call('create_session', params, options)
  }

  /** The session, or null when it is unknown, over or another owner's. */
  getSession(params, options) {
    return this.call('get_session', params, options)
  }

  /** Replaces the given fields; absent ones stay. What get_session gave can be sent back as it is. */
  updateSession(params, options) {
    return this.call('update_session', params, options)
  }

  /** Slides the inactivity deadline. */
  touchSession(params, options) {
    return this.call('touch_session', params, options)
  }

  /** Deletes a session in any status, with its state, events and log. */
  deleteSession(params, options) {
    return this.call('delete_session', params, options)
  }

  /** Sessions in the order of creation. */
  listSessions(params, options) {
    return this.call('list_sessions', params, options)
  }

  /** Ids of sessions in the order of creation. */
  listSessionIds(params, options) {
    return this.call('list_session_ids', params, options)
  }

  /** How many sessions a list with these filters has. */
  sessionCount(params, options) {
    return this.call('session_count', params, options)
  }

  /** Whether a session may be used now, and from there; other than the first address and agent are recorded. */
  validateSession(params, options) {
    return this.call('validate_session', params, options)
  }

  /** Removes sessions that were last active before a time, or without one those past their own deadline. */
  expireSessions(params, options) {
    return this.call('expire_sessions', params, options)
  }

  /** Makes a pending or suspended session active; on an active one it changes nothing. */
  activateSession(params, options) {
    return this.call('activate_session', params, options)
  }

  /** Stops an active session and both of its clocks. */
  suspendSession(params, options) {
    return this.call('suspend_session', params, options)
  }

  /** Makes a suspended session active again and moves its deadline by the time it was suspended. */
  resumeSession(params, options) {
    return this.call('resume_session', params, options)
  }

  /** Ends a session as though its deadline had passed. */
  expireSession(params, options) {
    return this.call('expire_session', params, options)
  }

  /** Ends a session for good; it can be looked at until its deadline. */
  invalidateSession(params, options) {
    return this.call('invalidate_session', params, options)
  }

  /** Ends a session whose work is done. */
  resolveSession(params, options) {
    return this.call('resolve_session', params, options)
  }

  /** Sets one key of a session's state. */
  setSessionState(params, options) {
    return this.call('set_session_state', params, options)
  }

  /** One key of a session's state; a stored null is not an absent key. */
  getSessionState(params, options) {
    return this.call('get_session_state', params, options)
  }

  /** Removes one key of a session's state. */
  removeSessionState(params, options) {
    return this.call('remove_session_state', params, options)
  }

  /** The keys of a session's state in the order of their first setting. */
  listSessionStateKeys(params, options) {
    return this.call('list_session_state_keys', params, options)
  }

  /** Appends one event to a session. */
  storeEvent(params, options) {
    return this.call('store_event', params, options)
  }

  /** Appends several events to a session, all or none. */
  storeEvents(params, options) {
    return this.call('store_events', params, options)
  }

  /** The events after a cursor, oldest first, and whether any were lost. */
  getEventsAfter(params, options) {
    return this.call('get_events_after', params, options)
  }

  /** The newest events, returned oldest first. */
  getRecentEvents(params, options) {
    return this.call('get_recent_events', params, options)
  }

  /** Deletes the events with ids strictly below one. */
  deleteEventsBefore(params, options) {
    return this.call('delete_events_before', params, options)
  }

  /** How many events a session holds, or without one the whole store. */
  eventCount(params, options) {
    return this.call('event_count', params, options)
  }

  /** Appends one event to each session that matches, all or none; owners match exactly. */
  broadcastEvent(params, options) {
    return this.call('broadcast_event', params, options)
  }

  /** Makes a task; one of a session takes the session's owners where it names none. */
  createTask(params, options) {
    return this.call('create_task', params, options)
  }

  /** The task, or null when it is unknown, lapsed or another owner's. */
  getTask(params, options) {
    return this.call('get_task', params, options)
  }

  /** Replaces the given fields, for migration and repair; absent ones stay. */
  updateTask(params, options) {
    return this.call('update_task', params, options)
  }

  /** Progress and heartbeat without a transition. */
  touchTask(params, options) {
    return this.call('touch_task', params, options)
  }

  /** Deletes a task and its queue. */
  deleteTask(params, options) {
    return this.call('delete_task', params, options)
  }

  /** Tasks in the order of creation. */
  listTasks(params, options) {
    return this.call('list_tasks', params, options)
  }

  /** The tasks of a session in the order of creation. */
  listTasksForSession(params, options) {
    return this.call('list_tasks_for_session', params, options)
  }

  /** Takes a task from one status to another. */
  updateTaskStatus(params, options) {
    return this.call('update_task_status', params, options)
  }

  /** Stores an outcome without changing the status; a terminal task keeps the one that it has. */
  storeTaskResult(params, options) {
    return this.call('store_task_result', params, options)
  }

  /** The outcome of a task; null when there is none yet. */
  getTaskResult(params, options) {
    return this.call('get_task_result', params, options)
  }

  /** Outcome and status in one step: the task has succeeded. */
  completeTask(params, options) {
    return this.call('complete_task', params, options)
  }

  /** Outcome and status in one step: the task has failed. */
  failTask(params, options) {
    return this.call('fail_task', params, options)
  }

  /** Cancels a task at once, or only says that somebody wants it. */
  cancelTask(params, options) {
    return this.call('cancel_task', params, options)
  }

  /** Asks for input, or for more of it; keys are never used twice. */
  requireTaskInput(params, options) {
    return this.call('require_task_input', params, options)
  }

  /** Gives answers; when all are in the task is working again. */
  provideTaskInput(params, options) {
    return this.call('provide_task_input', params, options)
  }

  /** Puts a message at the end of a task's queue. */
  enqueueTaskMessage(params, options) {
    return this.call('enqueue_task_message', params, options)
  }

  /** Takes the message at the front of a task's queue. */
  dequeueTaskMessage(params, options) {
    return this.call('dequeue_task_message', params, options)
  }

  /** Takes all messages of a task's queue, as many as one answer holds. */
  dequeueAllTaskMessages(params, options) {
    return this.call('dequeue_all_task_messages', params, options)
  }

  /** Looks at a task's queue and takes nothing out of it. */
  peekTaskMessages(params, options) {
    return this.call('peek_task_messages', params, options)
  }

  /** Removes tasks whose time is over, whatever their status. */
  expireTasks(params, options) {
    return this.call('expire_tasks', params, options)
  }

  /** Fails the tasks that are not terminal and were not touched for long: their server died over them. */
  recoverStuckTasks(params, options) {
    return this.call('recover_stuck_tasks', params, options)
  }

  /** How many tasks a list with these filters has. */
  taskCount(params, options) {
    return this.call('task_count', params, options)
  }

  /** Whether a single-use token is used for the first time. */
  consumeNonce(params, options) {
    return this.call('consume_nonce', params, options)
  }

  /** Stores a value under a key of a collection. */
  putValue(params, options) {
    return this.call('put_value', params, options)
  }

  /** The value under a key; a stored null is not an absent one. */
  getValue(params, options) {
    return this.call('get_value', params, options)
  }

  /** Removes the value under a key. */
  deleteValue(params, options) {
    return this.call('delete_value', params, options)
  }

  /** The values of one owner's collection in the order of creation. */
  listValues(params, options) {
    return this.call('list_values', params, options)
  }

  /** Puts an item of work into a queue, unless its id is there. */
  enqueueWork(params, options) {
    return this.call('enqueue_work', params, options)
  }

  /** Leases what is ready of a queue to a worker. */
  claimWork(params, options) {
    return this.call('claim_work', params, options)
  }

  /** Prolongs a lease. */
  renewWork(params, options) {
    return this.call('renew_work', params, options)
  }

  /** Says what became of leased work. */
  settleWork(params, options) {
    return this.call('settle_work', params, options)
  }

  /** Removes an item, or all of a group, whatever has become of it: its name begins anew. */
  cancelWork(params, options) {
    return this.call('cancel_work', params, options)
  }

  /** Items of work in the order of enqueueing. */
  listWork(params, options) {
    return this.call('list_work', params, options)
  }

  /** Makes dead items wait again, with all their attempts. */
  reviveWork(params, options) {
    return this.call('revive_work', params, options)
  }

  /** Makes a subscription of somebody to a topic, or grants it anew. */
  putEventSubscription(params, options) {
    return this.call('put_event_subscription', params, options)
  }

  /** A subscription with its secrets, or null when it is unknown, over or another owner's. */
  getEventSubscription(params, options) {
    return this.call('get_event_subscription', params, options)
  }

  /** Ends a subscription and cancels its work. */
  deleteEventSubscription(params, options) {
    return this.call('delete_event_subscription', params, options)
  }

  /** Subscriptions in the order of creation, without secrets. */
  listEventSubscriptions(params, options) {
    return this.call('list_event_subscriptions', params, options)
  }

  /** Appends one entry to a session's log, once for each message id. */
  appendLogEntry(params, options) {
    return this.call('append_log_entry', params, options)
  }

  /** The entries of a session's log after a seq. */
  loadLog(params, options) {
    return this.call('load_log', params, options)
  }

  /** Puts entries in the place of the whole log; the numbering goes on. */
  replaceLog(params, options) {
    return this.call('replace_log', params, options)
  }

  /** Puts one checkpoint in the place of the whole log; message ids stay known. */
  compactLog(params, options) {
    return this.call('compact_log', params, options)
  }

  /** Who wrote to a session's log: how many entries, and when the last. */
  logParticipants(params, options) {
    return this.call('log_participants', params, options)
  }

  /** Makes message ids known that were seen elsewhere: what has one of them is a duplicate from then on. */
  noteLogMessageIds(params, options) {
    return this.call('note_log_message_ids', params, options)
  }

  /** Notes a security event; too many of at least medium severity, or a critical one, invalidate the session. */
  recordSecurityEvent(params, options) {
    return this.call('record_security_event', params, options)
  }

  /** Lifecycle changes and security events, oldest first; they outlive their sessions. */
  listAuditEvents(params, options) {
    return this.call('list_audit_events', params, options)
  }

  /** How many events of the audit trail name each user, address, session or type. */
  auditCounts(params, options) {
    return this.call('audit_counts', params, options)
  }

  /** Where the audit trail stands, to be noted elsewhere: check_integrity tells later whether it still does. */
  getAuditHead(options) {
    return this.call('get_audit_head', {}, options)
  }

  /** Takes one request off a key's allowance: a burst of `limit`, then evenly that many in each window. */
  checkRateLimit(params, options) {
    return this.call('check_rate_limit', params, options)
  }

  /** Screens a text for size, control characters, scripts or SQL; what fails is recorded. */
  validateInput(params, options) {
    return this.call('validate_input', params, options)
  }

  /** All that is stored about somebody: records as a dump has them, in pages. */
  exportUserData(params, options) {
    return this.call('export_user_data', params, options)
  }

  /** Deletes all that is stored about somebody, in one transaction, and writes nothing about it. */
  deleteUserData(params, options) {
    return this.call('delete_user_data', params, options)
  }

  /** Says how a tenant's data is kept, all of it anew; what is absent or null is as the options say. */
  setRetention(params, options) {
    return this.call('set_retention', params, options)
  }

  /** How a tenant's data is kept: what was said of it, and what that comes to. */
  getRetention(params, options) {
    return this.call('get_retention', params, options)
  }

  /** The tenants that have a retention of their own. */
  listRetention(params, options) {
    return this.call('list_retention', params, options)
  }

  /** Keeps what is bound to a tenant or principal from being deleted. */
  placeLegalHold(params, options) {
    return this.call('place_legal_hold', params, options)
  }

  /** Lets what a hold kept go its way again. */
  liftLegalHold(params, options) {
    return this.call('lift_legal_hold', params, options)
  }

  /** Holds in the order in which they were placed. */
  listLegalHolds(params, options) {
    return this.call('list_legal_holds', params, options)
  }

  /** All payloads as they are stored, whosever they are, in pages. */
  listPayloads(params, options) {
    return this.call('list_payloads', params, options)
  }

  /** Puts payloads in the place of those that were read, as another form of the same: nobody is told. */
  replacePayloads(params, options) {
    return this.call('replace_payloads', params, options)
  }

  /** An optional handshake by capabilities; refused when something that is required is not there. */
  initialize(params, options) {
    return this.call('initialize', params, options)
  }

  /** What this program is, what it can do and what its limits are. */
  serverInfo(options) {
    return this.call('server_info', {}, options)
  }

  /** Whether all is well, with the reasons when it is not. */
  health(options) {
    return this.call('health', {}, options)
  }

  /** What is in the store, and what this process has done; it reads every row of sessions, tasks and values. */
  getMetrics(params, options) {
    return this.call('get_metrics', params, options)
  }

  /** Sweeps what has expired, gives free pages back and runs a checkpoint, a bounded slice of each. */
  maintenance(options) {
    return this.call('maintenance', {}, options)
  }

  /** Copies the database as it is at one moment to a new file, beside the requests; answered when done. */
  backup(params, options) {
    return this.call('backup', params, options)
  }

  /** Looks for damage and tampering in the whole file, beside the requests; answered when done. */
  checkIntegrity(params, options) {
    return this.call('check_integrity', params, options)
  }

  /** Moves sessions that have ended to a compressed file, beside the requests; answered when done. */
  archive(params, options) {
    return this.call('archive', params, options)
  }

  /** Runs several calls, all or none. */
  transaction(params, options) {
    return this.call('transaction', params, options)
  }

  /** This contract as an OpenRPC document. */
  rpcDiscover(options) {
    return this.call('rpc.discover', {}, options)
  }
}
