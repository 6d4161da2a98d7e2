import Database
import SQLite

/// What SQLite and the store's own rules find wrong in a file.
enum Integrity {
  /// problems that are told, at most; the first ones say enough
  private static let limit = 100

  /// Reads the whole file; call it inside a read transaction.
  /// - Returns: one sentence for each problem, none when all is well; and what became of the audit trail, where nothing
  ///   is damaged
  /// - Throws: ``SQLiteError`` when the disk fails; damage is a problem and not an error
  static func check(
    _ connection: SQLite.Connection, expecting expectedHead: AuditHead?, _ progress: WorkProgress
  ) throws -> (problems: [String], audit: AuditCheck?) {
    var problems: [String] = []
    var audit: AuditCheck?
    do {
      problems = try damage(in: connection, "integrity_check")
      // What a damaged tree holds cannot be counted, and another version may have other rules.
      if problems.isEmpty, try connection.pragma("user_version") == Schema.current.version {
        let database = Database.Connection(connection)
        problems = try brokenRules(in: database, progress)
        let found = try AuditCheck.run(in: Tables(database), expecting: expectedHead) { try progress.check() }
        problems += found.problems
        audit = found
      }
    } catch {
      guard let error = databaseError(error) else { throw error }
      try progress.check()
      switch error.class {
      case .corrupt, .notADatabase, .other: problems.append(error.message)
      case .busy, .full, .readOnly, .cannotOpen, .inputOutput, .again, .unreachable, .badAddress, .noLibrary:
        throw error
      }
    }
    try progress.check()
    return (Array(problems.prefix(limit)), audit)
  }

  /// What SQLite finds wrong.
  /// - Parameter pragma: `quick_check`, which does not compare indexes with their tables, or `integrity_check`
  static func damage(in connection: SQLite.Connection, _ pragma: String) throws(SQLiteError) -> [String] {
    var problems: [String] = []
    let check = try connection.statement(composed: "PRAGMA \(pragma)(\(limit))")
    while try check.step() {
      // One row may hold several findings, under a line that names the database.
      let lines = check.string(0).split(separator: "\n").map(String.init)
      problems += lines.filter { !$0.hasPrefix("***") && $0 != "ok" }
    }
    return problems
  }

  /// What the database answered, of either room.
  static func databaseError(_ error: any Error) -> DatabaseError? {
    error as? DatabaseError ?? (error as? SQLiteError).map(DatabaseError.init)
  }

  /// how many rules there are
  static var ruleCount: Int { counts.count + faults.count }

  /// What table `store` says, and what there is.
  private static let counts: [(what: String, sql: StaticString)] = [
    ("sessions", "SELECT (SELECT sum(sessions) FROM store), (SELECT count(*) FROM sessions)"),
    (
      "sessions that have ended",
      "SELECT (SELECT sum(ended_sessions) FROM store), (SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL)"
    ),
    ("tasks", "SELECT (SELECT sum(tasks) FROM store), (SELECT count(*) FROM tasks)"),
    ("values", "SELECT (SELECT sum(named_values) FROM store), (SELECT count(*) FROM named_values)"),
    (
      "items of open work",
      "SELECT (SELECT sum(work) FROM store), (SELECT count(*) FROM work WHERE finished_at IS NULL)"
    ),
    (
      "items of work that is done",
      "SELECT (SELECT sum(work_done) FROM store), (SELECT count(*) FROM work WHERE status = 'done')"
    ),
    (
      "items of work that is dead",
      "SELECT (SELECT sum(work_dead) FROM store), (SELECT count(*) FROM work WHERE status = 'dead')"
    ),
    (
      "event subscriptions",
      """
      SELECT (SELECT sum(event_subscriptions) FROM store),
        (SELECT count(*) FROM event_subscriptions WHERE ended_at IS NULL)
      """
    ),
    ("events", "SELECT (SELECT sum(events) FROM store), (SELECT sum(last_event_id - event_floor) FROM sessions)"),
    (
      "log entries",
      "SELECT (SELECT sum(log_entries) FROM store), (SELECT sum(last_log_seq - log_floor) FROM sessions)"
    ),
    (
      "lifecycle changes in the audit trail",
      "SELECT (SELECT sum(lifecycle_events) FROM store), (SELECT count(*) FROM audit_events WHERE ring = 'lifecycle')"
    ),
    (
      "security events in the audit trail",
      "SELECT (SELECT sum(security_events) FROM store), (SELECT count(*) FROM audit_events WHERE ring = 'security')"
    ),
  ]

  /// Rows that must not be: each statement counts some.
  private static let faults: [(what: String, sql: StaticString)] = [
    // On a server each process that writes has one.
    ("rows of table 'store' that count for nobody", "SELECT count(*) FROM store WHERE id < 1"),
    ("rows of table 'store' too few", "SELECT CASE WHEN count(*) = 0 THEN 1 ELSE 0 END FROM store"),
    (
      "numbers that are higher than the last that was given out",
      """
      SELECT count(*) FROM (
        SELECT max(number) AS highest FROM sessions UNION ALL SELECT max(number) FROM tasks
        UNION ALL SELECT max(number) FROM named_values UNION ALL SELECT max(number) FROM work
        UNION ALL SELECT max(fence) FROM work UNION ALL SELECT max(number) FROM work_groups
        UNION ALL SELECT max(revision) FROM event_subscriptions) AS numbers
      WHERE highest > (SELECT max(revision) FROM store)
      """
    ),
    (
      "sessions whose end and status contradict each other",
      """
      SELECT count(*) FROM sessions WHERE CASE WHEN ended_at IS NULL THEN status IN ('expired', 'resolved')
        ELSE status NOT IN ('expired', 'resolved', 'invalidated') OR check_at IS NOT NULL END
      """
    ),
    (
      "sessions whose events are not those from the first to the last that they should have",
      """
      SELECT count(*) FROM sessions LEFT JOIN (
        SELECT session, CAST(sum(id - coalesce(first_id, id) + 1) AS BIGINT) AS count,
          min(coalesce(first_id, id)) AS first, max(id) AS last
        FROM events GROUP BY session
      ) AS stored ON stored.session = number
      WHERE coalesce(stored.count, 0) <> last_event_id - event_trimmed OR stored.first <> event_trimmed + 1
        OR stored.last <> last_event_id
      """
    ),
    (
      "rows of several events that have not a line and a time for each",
      """
      SELECT count(*) FROM events WHERE first_id IS NOT NULL AND (
        first_id >= id OR length(data) - length(replace(data, '\n', '')) <> id - first_id
        OR length(times) - length(replace(times, ' ', '')) <> id - first_id)
      """
    ),
    (
      "rows of several log entries that have not a line for each",
      """
      SELECT count(*) FROM log_entries WHERE first_seq IS NOT NULL AND (
        first_seq >= seq OR length(entry) - length(replace(entry, '\n', '')) <> seq - first_seq)
      """
    ),
    (
      "sessions whose log entries are not those from the first to the last that they should have",
      """
      SELECT count(*) FROM sessions LEFT JOIN (
        SELECT session, CAST(sum(seq - coalesce(first_seq, seq) + 1) AS BIGINT) AS count,
          min(coalesce(first_seq, seq)) AS first, max(seq) AS last
        FROM log_entries GROUP BY session
      ) AS stored ON stored.session = number
      WHERE coalesce(stored.count, 0) < last_log_seq - log_floor OR stored.first > log_floor + 1
        OR stored.last <> last_log_seq OR stored.count <> stored.last - stored.first + 1
      """
    ),
    (
      "sessions that are gone and have events",
      """
      SELECT count(*) FROM (SELECT session FROM events GROUP BY session) AS found
      WHERE session NOT IN (SELECT number FROM sessions)
      """
    ),
    (
      "sessions that are gone and have log entries",
      """
      SELECT count(*) FROM (SELECT session FROM log_entries GROUP BY session) AS found
      WHERE session NOT IN (SELECT number FROM sessions)
      """
    ),
    (
      "blocks of message ids of sessions that are gone",
      "SELECT count(*) FROM log_message_ids WHERE session NOT IN (SELECT number FROM sessions)"
    ),
    (
      "participants in logs of sessions that are gone",
      "SELECT count(*) FROM log_participants WHERE session NOT IN (SELECT number FROM sessions)"
    ),
    (
      "entries in the state of sessions that are gone",
      "SELECT count(*) FROM session_state WHERE session NOT IN (SELECT number FROM sessions)"
    ),
    (
      "losses of streams of sessions that are gone",
      "SELECT count(*) FROM stream_losses WHERE session NOT IN (SELECT number FROM sessions)"
    ),
    (
      "tasks of a session that has another id",
      """
      SELECT count(*) FROM tasks JOIN sessions ON sessions.number = session
      WHERE coalesce(tasks.session_id, '') <> sessions.session_id
      """
    ),
    (
      "entries in the audit trail about a session that has another id",
      """
      SELECT count(*) FROM audit_events JOIN sessions ON sessions.number = session
      WHERE coalesce(audit_events.session_id, '') <> sessions.session_id
      """
    ),
    (
      "items of work that neither stand in a line nor wake, or do though they are settled",
      """
      SELECT count(*) FROM work
      WHERE (CASE WHEN line IS NULL THEN 0 ELSE 1 END) + (CASE WHEN wakes_at IS NULL THEN 0 ELSE 1 END)
          <> (CASE WHEN status IN ('done', 'dead') THEN 0 ELSE 1 END)
        OR (status = 'leased' AND wakes_at IS NULL)
        OR (CASE WHEN finished_at IS NULL THEN 0 ELSE 1 END) <> (CASE WHEN status IN ('done', 'dead') THEN 1 ELSE 0 END)
      """
    ),
    (
      "items of work of a group that is gone, or is in another queue",
      """
      SELECT count(*) FROM work LEFT JOIN work_groups ON work_groups.number = work_group
      WHERE work_group IS NOT NULL AND coalesce(work_groups.queue, '') <> work.queue
      """
    ),
    (
      "groups of work that have another number of items, or of leases, than they say",
      """
      SELECT count(*) FROM work_groups LEFT JOIN (
        SELECT work_group, count(*) AS count, sum(CASE WHEN status = 'leased' THEN 1 ELSE 0 END) AS leased
        FROM work WHERE work_group IS NOT NULL GROUP BY work_group
      ) AS stored ON stored.work_group = work_groups.number
      WHERE coalesce(stored.count, 0) <> items OR coalesce(stored.leased, 0) <> in_flight OR items = 0
      """
    ),
    (
      "groups of work that stand in the line and have nothing to claim, or do not although they have",
      """
      SELECT count(*) FROM work_groups
      WHERE (CASE WHEN line IS NULL THEN 0 ELSE 1 END) <> (CASE
        WHEN stopped = 1 OR (is_ordered = 1 AND in_flight > 0) THEN 0
        WHEN is_ordered = 1 THEN coalesce((
          SELECT CASE WHEN work.line IS NULL THEN 0 ELSE 1 END FROM work
          WHERE work_group = work_groups.number AND finished_at IS NULL ORDER BY seq LIMIT 1), 0)
        ELSE (SELECT count(*) FROM (
          SELECT 1 FROM work WHERE work_group = work_groups.number AND work.line IS NOT NULL LIMIT 1) AS ready)
        END)
      """
    ),
    (
      "items of work, or groups of it, of event subscriptions that are gone",
      """
      SELECT count(*) FROM (
        SELECT subscription FROM work WHERE subscription IS NOT NULL
        UNION ALL SELECT subscription FROM work_groups WHERE subscription IS NOT NULL) AS named
      WHERE subscription NOT IN (SELECT number FROM event_subscriptions)
      """
    ),
    (
      "event subscriptions that have ended and that nothing announces",
      """
      SELECT count(*) FROM event_subscriptions WHERE ended_at IS NOT NULL
        AND number NOT IN (SELECT subscription FROM work WHERE subscription IS NOT NULL AND finished_at IS NULL)
      """
    ),
    (
      "groups of work that are stopped, or are not, against what their event subscriptions say",
      """
      SELECT count(*) FROM work_groups LEFT JOIN event_subscriptions AS s ON s.number = subscription
      WHERE stopped <> (CASE WHEN s.active = 0 THEN 1 ELSE 0 END)
      """
    ),
    (
      "payloads of tasks that are gone",
      "SELECT count(*) FROM task_payloads WHERE task NOT IN (SELECT number FROM tasks)"
    ),
    (
      "tasks that have another number of large payloads than they say",
      """
      SELECT count(*) FROM tasks LEFT JOIN (SELECT task, count(*) AS count FROM task_payloads GROUP BY task) AS stored
        ON stored.task = number
      WHERE coalesce(stored.count, 0) <> payloads_apart
      """
    ),
    (
      "payloads of tasks that stand both in the task's row and beside it",
      """
      SELECT count(*) FROM tasks JOIN task_payloads ON task = tasks.number
      WHERE (field = 'original_params' AND original_params IS NOT NULL) OR (field = 'result' AND result IS NOT NULL)
        OR (field = 'input_requests' AND input_requests IS NOT NULL)
        OR (field = 'input_responses' AND input_responses IS NOT NULL) OR (field = 'meta' AND meta IS NOT NULL)
      """
    ),
    (
      "input keys of tasks that are gone",
      "SELECT count(*) FROM task_input_keys WHERE task NOT IN (SELECT number FROM tasks)"
    ),
    (
      "tasks whose queue has another size than they say",
      """
      SELECT count(*) FROM tasks LEFT JOIN (SELECT task, count(*) AS count FROM task_messages GROUP BY task) AS stored
        ON stored.task = number
      WHERE coalesce(stored.count, 0) <> queue_size
      """
    ),
    (
      "tasks that have used another number of input keys than they say",
      """
      SELECT count(*) FROM tasks LEFT JOIN (SELECT task, count(*) AS count FROM task_input_keys GROUP BY task) AS stored
        ON stored.task = number
      WHERE coalesce(stored.count, 0) <> input_keys_used
      """
    ),
    (
      "messages of tasks that are gone",
      "SELECT count(*) FROM task_messages WHERE task NOT IN (SELECT number FROM tasks)"
    ),
  ]

  /// What the store's own rules find wrong, one sentence for each.
  /// - Parameter tested: told how many rules were tested
  static func brokenRules(
    in connection: Database.Connection, _ progress: WorkProgress? = nil, tested: (Int) -> Void = { _ in }
  ) throws -> [String] {
    var problems: [String] = []
    for (index, (what, sql)) in counts.enumerated() {
      try progress?.check()
      tested(index)
      var select = try connection.statement(sql)
      guard try select.step() else { continue }
      let (counted, found) = (select.integer(0), select.integer(1))
      if counted != found { problems.append("table 'store' counts \(counted) \(what), but there are \(found)") }
    }
    for (index, (what, sql)) in faults.enumerated() {
      try progress?.check()
      tested(counts.count + index)
      var select = try connection.statement(sql)
      guard try select.step() else { continue }
      let count = select.integer(0)
      if count != 0 { problems.append("\(count) \(what)") }
    }
    return problems
  }
}
