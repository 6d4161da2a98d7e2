import Database

/// The store in figures.
package struct Summary {
  /// A session at one end of the list.
  package struct End {
    package var sessionID: String
    /// Unix milliseconds
    package var createdAt: Int64
  }

  /// of sessions by status, deadlines taken into account; expired and resolved ones wait for a sweep or are kept.
  /// Resolved ones are named where there can be any.
  package var sessions: [SessionStatus: Int64] = [:]
  /// since midnight, UTC
  package var createdToday: Int64 = 0
  /// Rows whose time is over.
  package struct Waiting {
    /// for a sweep, by kind
    package var due: [(name: String, count: Int64)] = []
    /// for a legal hold to be lifted, by kind
    package var held: [(name: String, count: Int64)] = []
  }

  /// from creation to the last activity, milliseconds
  package var averageDuration: Int64 = 0
  package var oldestSession: End?
  package var newestSession: End?
  /// that have ended and are kept; nil where none is
  package var endedSessions: Int64?
  package var events: Int64 = 0
  /// of tasks by status, without those that have lapsed
  package var tasks: [TaskStatus: Int64] = [:]
  /// that have not lapsed
  package var values: Int64 = 0
  package var logEntries: Int64 = 0
  /// that have not lapsed
  package var eventSubscriptions: Int64 = 0
  /// of these: whose work is not claimed
  package var inactiveEventSubscriptions: Int64 = 0
  /// items by status; leased ones also when their lease has lapsed and nobody has asked for them since
  package var work: [WorkStatus: Int64] = [:]
  /// rows of the audit trail, by ring
  package var lifecycleEvents: Int64 = 0
  package var securityEvents: Int64 = 0
  package var legalHolds: Int64 = 0
  /// tenants that have one of their own
  package var retentions: Int64 = 0
  /// nil where it was not asked for
  package var waiting: Waiting?
  package var schema: Int64 = 0
  /// sizes in bytes; free pages are part of the database
  package var databaseBytes: Int64 = 0
  package var walBytes: Int64 = 0
  package var freeBytes: Int64 = 0

  /// in their order, those that there can be
  package var statuses: [(status: SessionStatus, count: Int64)] {
    SessionStatus.allCases.compactMap { status in sessions[status].map { (status, $0) } }
  }
  package var sessionCount: Int64 { sessions.values.reduce(0, +) }
  package var workCount: Int64 { work.values.reduce(0, +) }
  package var taskCount: Int64 { tasks.values.reduce(0, +) }
}

extension Store {
  /// Counts everything: it reads each row of sessions, tasks and values once, and sessions again for their `ends`.
  /// - Parameter waiting: whether what is due is counted too
  package func summary(ends: Bool = true, waiting: Bool = false) throws -> Summary {
    try flushSessions()
    var summary = Summary()
    try countSessions(&summary)
    if ends {
      summary.oldestSession = try end(of: "ORDER BY created_at, number")
      summary.newestSession = try end(of: "ORDER BY created_at DESC, number DESC")
    }
    if keepsEnded { summary.endedSessions = counters.endedSessions }
    summary.events = try countEvents(nil, owner: .server)
    summary.tasks = try tasksByStatus()
    summary.values = try countValues()
    summary.logEntries = counters.logEntries
    summary.work = try workByStatus()
    summary.eventSubscriptions = try counters.eventSubscriptions - lapsedEventSubscriptions()
    summary.inactiveEventSubscriptions = try countEventSubscriptions(inactiveBefore: now)
    summary.lifecycleEvents = counters.lifecycleEvents
    summary.securityEvents = counters.securityEvents
    summary.legalHolds = Int64(policies.holdCount)
    summary.retentions = Int64(policies.retentionCount)
    if waiting { summary.waiting = try countWaiting() }
    summary.schema = schema
    summary.databaseBytes = try databaseBytes()
    summary.walBytes = walBytes
    summary.freeBytes = try file?.freeBytes() ?? 0
    return summary
  }

  private func countSessions(_ summary: inout Summary) throws {
    var select = try tables.statement(
      .server,
      composed: """
        SELECT \(shownStatus(at: "$1")) AS shown, count(*),
          sum(CASE WHEN created_at >= $2 THEN 1 ELSE 0 END),
          sum(CAST(CASE WHEN last_activity > created_at THEN last_activity - created_at ELSE 0 END AS DOUBLE PRECISION))
        FROM sessions GROUP BY shown
        """)
    select.bind(1, now)
    select.bind(2, (Saturating(now) - now % 86_400_000).value)
    summary.sessions = Dictionary(uniqueKeysWithValues: SessionStatus.allCases.map { ($0, Int64(0)) })
    if !keepsEnded { summary.sessions[.resolved] = nil }  // nearly always there is none
    // Far above what any sum of whole numbers holds; exact up to 2^53 milliseconds in all, 285,000 years.
    var duration = 0.0
    while try select.step() {
      if let status = SessionStatus(rawValue: select.string(0)) { summary.sessions[status] = select.integer(1) }
      summary.createdToday += select.integer(2)
      duration += select.double(3)
    }
    summary.averageDuration = Int64(min(duration / Double(max(1, summary.sessionCount)), Double(Saturating.latest)))
  }

  private func countWaiting() throws -> Summary.Waiting {
    var waiting = Summary.Waiting()
    for (table, name, condition) in [
      ("sessions", "sessions", isGone(at: "$1")), ("tasks", "tasks", "expires_at < $1"),
      ("named_values", "values", "expires_at <= $1"),
    ] {
      let held = policies.hasHolds ? "CASE WHEN \(Self.isHeld(table)) THEN 1 ELSE 0 END" : "0"
      var select = try tables.statement(
        .server,
        composed: "SELECT count(*), coalesce(CAST(sum(\(held)) AS BIGINT), 0) FROM \(table) WHERE \(condition)")
      select.bind(1, now)
      guard try select.step() else { continue }
      waiting.due.append((name, select.integer(0) - select.integer(1)))
      waiting.held.append((name, select.integer(1)))
    }
    try countExcess(&waiting)
    try countOldAuditEvents(&waiting)
    return waiting
  }

  /// What sessions hold beyond the counts of their tenant.
  private func countExcess(_ waiting: inout Summary.Waiting) throws {
    for (name, count, limit) in [
      ("events", "last_event_id - event_floor", "max_events_per_session"),
      ("log_entries", "last_log_seq - log_floor", "max_log_entries_per_session"),
    ] {
      var (due, held): (Int64, Int64) = (0, 0)
      if policies.retentionCount > 0 {
        let excess = "\(count) - said.\(limit)"
        var select = try tables.statement(
          .server,
          composed: """
            SELECT coalesce(CAST(sum(\(excess)) AS BIGINT), 0),
              coalesce(CAST(sum(CASE WHEN \(Self.isHeld("sessions")) THEN \(excess) ELSE 0 END) AS BIGINT), 0)
            FROM sessions JOIN retention AS said ON said.tenant_id = sessions.tenant_id
            WHERE said.\(limit) > 0 AND \(count) > said.\(limit)
            """)
        if try select.step() { (due, held) = (select.integer(0) - select.integer(1), select.integer(1)) }
      }
      waiting.due.append((name, due))
      waiting.held.append((name, held))
    }
  }

  private func countOldAuditEvents(_ waiting: inout Summary.Waiting) throws {
    var (due, held): (Int64, Int64) = (0, 0)
    if lowestAuditAge != nil {
      var select = try tables.statement(
        .server,
        composed: """
          SELECT count(*), coalesce(CAST(sum(CASE WHEN \(Self.isHeld("old")) THEN 1 ELSE 0 END) AS BIGINT), 0)
          FROM (
            SELECT tenant_id, principal, timestamp, coalesce(
              (SELECT audit_retention FROM retention WHERE retention.tenant_id = audit_events.tenant_id),
              \(limits.auditRetention)) AS age
            FROM audit_events WHERE type <> '\(AuditEvent.erased)'
          ) AS old WHERE age > 0 AND timestamp <= $1 - age
          """)
      select.bind(1, now)
      if try select.step() { (due, held) = (select.integer(0) - select.integer(1), select.integer(1)) }
    }
    waiting.due.append(("audit_events", due))
    waiting.held.append(("audit_events", held))
  }

  private func end(of order: String) throws -> Summary.End? {
    var select = try tables.statement(
      .server,
      composed: "SELECT session_id, created_at FROM sessions WHERE NOT \(isOver(at: "$1")) \(order) LIMIT 1")
    select.bind(1, now)
    return try select.step() ? Summary.End(sessionID: select.string(0), createdAt: select.integer(1)) : nil
  }

  private func tasksByStatus() throws -> [TaskStatus: Int64] {
    var select = try tables.statement(
      .server,
      "SELECT status, count(*) FROM tasks WHERE coalesce(expires_at >= $1, true) GROUP BY status")
    select.bind(1, now)
    var counts = Dictionary(uniqueKeysWithValues: TaskStatus.allCases.map { ($0, Int64(0)) })
    while try select.step() {
      if let status = TaskStatus(rawValue: select.string(0)) { counts[status] = select.integer(1) }
    }
    return counts
  }

  func lapsedEventSubscriptions() throws -> Int64 {
    var select = try tables.statement(
      .server,
      """
      SELECT count(*) FROM event_subscriptions
      WHERE ended_at IS NULL AND expires_at IS NOT NULL AND expires_at <= $1
      """)
    select.bind(1, now)
    return try select.step() ? select.integer(0) : 0
  }

  private func workByStatus() throws -> [WorkStatus: Int64] {
    // Few of them, by an index: those that wait are what is left.
    var select = try tables.statement(
      .server, "SELECT count(*) FROM work WHERE wakes_at IS NOT NULL AND status = 'leased'")
    let leased = try select.step() ? select.integer(0) : 0
    return [
      .waiting: counters.work - leased, .leased: leased, .done: counters.workDone, .dead: counters.workDead,
    ]
  }

  private func countValues() throws -> Int64 {
    var select = try tables.statement(
      .server, "SELECT count(*) FROM named_values WHERE coalesce(expires_at > $1, true)")
    select.bind(1, now)
    return try select.step() ? select.integer(0) : 0
  }
}
