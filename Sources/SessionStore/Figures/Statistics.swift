import Database

/// The store in more figures than ``Summary``, for a report.
package struct Statistics {
  package struct LargeSession {
    package var sessionID: String
    package var userID: String?
    package var principal: String?
    package var events: Int64
    /// of the events that can be read
    package var eventBytes: Int64
    package var stateBytes: Int64
    package var logEntries: Int64
    package var lastActivity: Int64
  }

  package struct RunningTask {
    package var taskID: String
    package var status: TaskStatus
    package var method: String?
    package var principal: String?
    package var createdAt: Int64
    package var lastUpdatedAt: Int64
    package var statusMessage: String?
  }

  package struct AuditCount {
    package var type: String
    /// nil for lifecycle changes
    package var severity: String?
    package var count: Int64
  }

  /// Unix milliseconds at which the first bucket begins
  package var bucketStart: Int64 = 0
  /// milliseconds that a bucket is long; 0 where nothing is stored
  package var bucketLength: Int64 = 0
  /// events by their time, as many as there are buckets, oldest first
  package var eventBuckets: [Int64] = []
  /// sessions by when they were created
  package var sessionBuckets: [Int64] = []
  /// tasks by when they were created
  package var taskBuckets: [Int64] = []
  /// of tasks that have ended, by how long they took: as many as ``durationBounds`` and one more
  package var durations: [Int64] = []
  package var largestSessions: [LargeSession] = []
  package var oldestTasks: [RunningTask] = []
  package var auditCounts: [AuditCount] = []
  package var newestAudit: [AuditEvent] = []

  /// milliseconds: a duration belongs to the first bound that it is under
  package static let durationBounds: [Int64] = [1_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000]
}

extension Store {
  /// rows of each list
  private static let listed = 10
  private static let bucketLimit: Int64 = 60
  /// milliseconds that the buckets cover at least, for a moment is no time to look at
  private static let shortestSpan: Int64 = 600_000
  /// lengths that a reader can name, in milliseconds: a second to a year
  private static let bucketLengths: [Int64] =
    [1, 5, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_592_000, 31_536_000].map {
      $0 * 1_000
    }

  /// Counts for a report. It reads every event twice, for there is no index on their times: about a second for a
  /// million.
  /// - Parameter since: Unix milliseconds: from when on the audit trail is told
  package func statistics(auditSince since: Int64) throws -> Statistics {
    try flushSessions()
    var statistics = Statistics()
    try countOverTime(&statistics)
    statistics.durations = try durations()
    statistics.largestSessions = try largestSessions()
    statistics.oldestTasks = try oldestTasks()
    statistics.auditCounts = try auditCounts(since)
    statistics.newestAudit = try newestAudit(since)
    return statistics
  }

  /// what is counted over time beside events, and by which of its times
  private static var series: [(rows: String, time: String, buckets: WritableKeyPath<Statistics, [Int64]>)] {
    [("sessions", "created_at", \.sessionBuckets), ("tasks", "created_at", \.taskBuckets)]
  }

  /// All in the same buckets, so that they can be compared.
  private func countOverTime(_ statistics: inout Statistics) throws {
    var (first, last) = (Int64.max, Int64.min)
    try eachEventTime { time in (first, last) = (min(first, time), max(last, time)) }
    for series in Self.series {
      var range = try tables.statement(
        .server, composed: "SELECT min(\(series.time)), max(\(series.time)) FROM \(series.rows)")
      guard try range.step(), let earliest = range.optionalInteger(0), let latest = range.optionalInteger(1) else {
        continue
      }
      (first, last) = (min(first, earliest), max(last, latest))
    }
    if first > last { return }
    // Where little time has passed, what was before it is shown, and not what is to come.
    first = min(first, (Saturating(last) - Self.shortestSpan).value)
    let span = (Saturating(last) - first).value
    let length = Self.bucketLengths.first { span / $0 < Self.bucketLimit } ?? span / Self.bucketLimit + 1
    let start = (Saturating(first) - first % length).value
    (statistics.bucketStart, statistics.bucketLength) = (start, length)
    let count = Int((Saturating(last) - start).value / length) + 1
    var events = [Int64](repeating: 0, count: count)
    try eachEventTime { time in
      let bucket = Int((Saturating(time) - start).value / length)
      if events.indices.contains(bucket) { events[bucket] += 1 }
    }
    statistics.eventBuckets = events
    for series in Self.series {
      var buckets = [Int64](repeating: 0, count: count)
      var select = try tables.statement(
        .server,
        composed: "SELECT (\(series.time) - $1) / $2 AS bucket, count(*) FROM \(series.rows) GROUP BY bucket")
      select.bind(1, start)
      select.bind(2, length)
      while try select.step() {
        let bucket = Int(select.integer(0))
        if buckets.indices.contains(bucket) { buckets[bucket] = select.integer(1) }
      }
      statistics[keyPath: series.buckets] = buckets
    }
  }

  /// The times of the events that can be read, not of those that only wait to be deleted.
  private func eachEventTime(_ visit: (Int64) -> Void) throws {
    var rows = try tables.cursor(
      .server,
      composed: """
        SELECT id, coalesce(first_id, id), event_floor, timestamp, times FROM events
        JOIN sessions ON number = session WHERE id > event_floor AND status <> 'invalidated'
        """)
    var times = EventTimes()
    while try rows.step() {
      let (last, first, floor) = (rows.integer(0), rows.integer(1), rows.integer(2))
      if first > last { continue }  // damaged
      times.begin(first: rows.integer(3), rows, 4)
      for id in first...last {
        let time = times.next()
        if id > floor { visit(time) }
      }
    }
  }

  private func durations() throws -> [Int64] {
    let bounds = Statistics.durationBounds
    let cases = bounds.enumerated().map { "WHEN last_updated_at - created_at < \($1) THEN \($0)" }
    var select = try tables.statement(
      .server,
      composed: """
        SELECT CASE \(cases.joined(separator: " ")) ELSE \(bounds.count) END AS bucket, count(*) FROM tasks
        WHERE status IN ('completed', 'failed', 'cancelled') GROUP BY bucket
        """)
    var counts = [Int64](repeating: 0, count: bounds.count + 1)
    while try select.step() { counts[Int(select.integer(0))] = select.integer(1) }
    return counts
  }

  private func largestSessions() throws -> [Statistics.LargeSession] {
    var select = try tables.statement(
      .server,
      composed: """
        SELECT session_id, user_id, principal, last_event_id - event_floor AS events,
          (SELECT coalesce(
            CAST(sum(\(tables.dialect.byteLength("data")) - (id - coalesce(first_id, id))) AS BIGINT), 0) FROM events
            WHERE session = number AND id > event_floor),
          state_bytes, last_log_seq - log_floor, last_activity, number, event_floor
        FROM sessions WHERE NOT \(isOver(at: "$1"))
        ORDER BY events DESC, state_bytes DESC, number LIMIT \(Self.listed)
        """)
    select.bind(1, now)
    var sessions: [Statistics.LargeSession] = []
    while try select.step() {
      let evicted = try evictedBytes(SessionNumber(select, 8), floor: select.integer(9))
      sessions.append(
        Statistics.LargeSession(
          sessionID: select.string(0), userID: select.optionalString(1), principal: select.optionalString(2),
          events: select.integer(3), eventBytes: select.integer(4) - evicted, stateBytes: select.integer(5),
          logEntries: select.integer(6), lastActivity: select.integer(7)))
    }
    return sessions
  }

  /// Bytes of evicted events in a row that holds others as well.
  private func evictedBytes(_ session: SessionNumber, floor: Int64) throws -> Int64 {
    var events = try eventRow(of: session, holding: floor + 1)
    var bytes = 0
    while try events.step(), events.id <= floor { bytes += events.withData { $0.count } }
    return Int64(bytes)
  }

  private func oldestTasks() throws -> [Statistics.RunningTask] {
    var select = try tables.statement(
      .server,
      composed: """
        SELECT task_id, status, original_method, principal, created_at, last_updated_at, status_message FROM tasks
        WHERE status IN ('working', 'input_required') AND coalesce(expires_at >= $1, true)
        ORDER BY created_at, number LIMIT \(Self.listed)
        """)
    select.bind(1, now)
    var tasks: [Statistics.RunningTask] = []
    while try select.step() {
      tasks.append(
        Statistics.RunningTask(
          taskID: select.string(0), status: TaskStatus(rawValue: select.string(1)) ?? .working,
          method: select.optionalString(2), principal: select.optionalString(3), createdAt: select.integer(4),
          lastUpdatedAt: select.integer(5), statusMessage: select.optionalString(6)))
    }
    return tasks
  }

  private func auditCounts(_ since: Int64) throws -> [Statistics.AuditCount] {
    var select = try tables.statement(
      .server,
      """
      SELECT type, severity, count(*) FROM audit_events WHERE timestamp >= $1 AND type <> 'erased'
      GROUP BY type, severity
      ORDER BY severity IS NULL,
        CASE severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, count(*) DESC, type
      """)
    select.bind(1, since)
    var counts: [Statistics.AuditCount] = []
    while try select.step() {
      counts.append(
        Statistics.AuditCount(type: select.string(0), severity: select.optionalString(1), count: select.integer(2)))
    }
    return counts
  }

  /// newest first
  private func newestAudit(_ since: Int64) throws -> [AuditEvent] {
    var select = try tables.statement(
      .server,
      composed: """
        SELECT \(AuditEvent.columns) FROM audit_events WHERE timestamp >= $1 AND type <> 'erased'
        ORDER BY number DESC LIMIT \(2 * Self.listed)
        """)
    select.bind(1, since)
    var events: [AuditEvent] = []
    while try select.step() { events.append(AuditEvent(select)) }
    return events
  }
}
