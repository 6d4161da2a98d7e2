import SQLite

/// What a sweep of sessions or tasks removed.
package struct Swept {
  package var removed: [String] = []
  /// whether more is due than this sweep was allowed to do
  package var hasMore = false
}

/// What one slice of all sweeps removed.
package struct SweptSlice {
  package var sessions = 0
  package var tasks = 0
  package var events: Int64 = 0
  package var hasMore = false
}

/// Removing what has expired. Nobody sees it before that either: expiry is checked on every access.
extension Store {
  /// Rows that one slice may remove: a fraction of a millisecond, for a request may be waiting. Measured: with slices
  /// of 1,000 rows, the 99th percentile of a read beside a sweep was 45 times the usual one.
  private static let sliceRows = 64
  /// Rows of a slice that has to keep up with a caller who makes more.
  private static let sliceRowsAtMost = 16_384
  /// what removing a session costs beside the rows of its events and log, in rows
  static let sessionRows = 16
  static let taskRows = 4
  static let valueRows = 2
  static let rateLimitRows = 2

  /// Removes sessions whose deadline has passed, the longest overdue first.
  /// - Parameters:
  ///   - limit: sessions that are looked at, at most
  ///   - rowLimit: rows of events and logs that may be deleted; a session with more loses some in each slice
  func sweepSessions(limit: Int, rowLimit: Int64 = .max) throws -> Swept {
    try flushSessions()
    let due = try dueSessions(limit: limit)
    var swept = Swept()
    swept.hasMore = due.count == limit
    var room = rowLimit
    for sessionID in due {
      guard let slot = try findSession(sessionID, owner: .server) else { continue }
      let row = cache.rows[slot]
      guard effectiveStatus(slot) == .expired else {
        // It was used since: look again when that deadline comes.
        let deadline = row.deadline(maxSuspension: limits.maxSuspension)
        try setCheck(row.number, deadline)
        cache.setCheck(slot, deadline)
        continue
      }
      room -= row.lastEventID - row.eventTrimmed + row.logCount
      if room < 0 {
        try shrinkExpired(slot, rows: rowLimit)
        swept.hasMore = true
        break
      }
      try removeSession(slot, as: .expired)
      swept.removed.append(sessionID)
    }
    return swept
  }

  /// Sessions that may have expired, the longest overdue first; those that --max-suspension was lowered for last.
  private func dueSessions(limit: Int) throws -> [String] {
    var due: [String] = []
    do {
      var select = try tables.statement(
        .server, "SELECT session_id FROM sessions WHERE check_at <= $1 ORDER BY check_at LIMIT $2")
      select.bind(1, now)
      select.bind(2, Int64(limit))
      while try select.step() { due.append(select.string(0)) }
    }
    if limits.maxSuspension == 0 { return due }
    var select = try tables.statement(
      .server,
      """
      SELECT session_id FROM sessions WHERE suspended_at <= $1 AND coalesce(check_at > $2, 1)
      ORDER BY suspended_at LIMIT $3
      """)
    select.bind(1, (Saturating(now) - limits.maxSuspension).value)
    select.bind(2, now)
    select.bind(3, Int64(limit - due.count))
    while try select.step() { due.append(select.string(0)) }
    return due
  }

  /// Deletes the oldest rows of an expired session that has too many for one slice.
  private func shrinkExpired(_ slot: Int, rows limit: Int64) throws {
    let row = cache.rows[slot]
    if row.lastEventID > row.eventTrimmed {
      let through = min((Saturating(row.eventTrimmed) + limit).value, row.lastEventID)
      try deleteEventRows(session: row.number, through: through)
      counters.events -= max(0, through - row.eventFloor)
      cache.update(slot) { row in
        row.eventTrimmed = through
        row.eventFloor = max(row.eventFloor, through)
      }
    } else {
      let through = min((Saturating(row.logFloor) + limit).value, row.lastLogSeq)
      try deleteLogEntries(session: row.number, through: through)
      counters.logEntries -= through - row.logFloor
      cache.update(slot) { row in
        row.logFloor = through
        }
    }
  }

  /// Removes sessions whose last activity was before a time, or without one those past their own deadline.
  package func expireSessions(olderThan: Int64?, limit: Int) throws -> Swept {
    guard let olderThan else { return try sweepSessions(limit: limit, rowLimit: 100_000) }
    try flushSessions()
    var old: [String] = []
    do {
      var select = try tables.statement(
        .server,
        "SELECT session_id FROM sessions WHERE last_activity < $1 ORDER BY number LIMIT $2")
      select.bind(1, olderThan)
      select.bind(2, Int64(limit + 1))
      while try select.step() { old.append(select.string(0)) }
    }
    var swept = Swept()
    swept.hasMore = old.count > limit
    for sessionID in old.prefix(limit) {
      guard let slot = try findSession(sessionID, owner: .server) else { continue }
      try removeSession(slot, as: .expired)
      swept.removed.append(sessionID)
    }
    return swept
  }

  // MARK: - Slices

  /// What a sweep looks through, one after the other.
  enum SweepStage: CaseIterable { case sessions, tasks, nonces, values, rateLimits, lifecycleAudit, securityAudit }

  /// Removes a bounded part of what has expired, in a group of its own that is not synced: were it lost, the rows would
  /// only be there to be swept again. It gives up at once when another process writes.
  ///
  /// A slice removes up to twice of what was made since the one before it: whoever writes at a rate that the usual
  /// slices do not keep up with pays for the removal with the writing, and the file levels off whatever the rate.
  /// - Throws: `busy` then; `outcomeUnknown` when the disk failed, and the process must end
  package func sweepSlice() throws -> SweptSlice {
    if !isSweeping { rowsMade = 0 }  // what came between two sweeps must not make the slices of this one long
    isSweeping = true
    let rows = min(max(Self.sliceRows, 2 * rowsMade), Self.sliceRowsAtMost)
    var swept = try withoutSync {
      try inOwnGroup(waiting: 0) { try sweep(sweepStage, rows: rows) }
    }
    rowsMade = max(0, rowsMade - rows / 2)
    if !swept.hasMore {
      let next = SweepStage.allCases.drop { $0 != sweepStage }.dropFirst().first
      sweepStage = next ?? .sessions
      swept.hasMore = next != nil
      isSweeping = swept.hasMore
    }
    return swept
  }

  private func withoutSync<Result>(_ body: () throws -> Result) throws -> Result {
    if durability == .normal { return try body() }
    try tables.connection(.server).setSync(eachCommit: false)
    let outcome = Swift.Result { try body() }
    do {
      try tables.connection(.server).setSync(eachCommit: true)
    } catch {
      throw StoreError.outcomeUnknown(code: error.code, message: "commits cannot be synced any more")
    }
    return try outcome.get()
  }

  /// - Parameter rows: about so many may be removed
  private func sweep(_ stage: SweepStage, rows: Int) throws -> SweptSlice {
    var slice = SweptSlice()
    switch stage {
    case .sessions:
      let events = counters.events
      let swept = try sweepSessions(limit: max(1, rows / Self.sessionRows), rowLimit: Int64(rows))
      slice.sessions = swept.removed.count
      slice.events = events - counters.events
      slice.hasMore = swept.hasMore
    case .tasks:
      let swept = try expireTasks(limit: max(1, rows / Self.taskRows))
      slice.tasks = swept.removed.count
      slice.hasMore = swept.hasMore
    case .nonces: slice.hasMore = try sweepNonces(limit: rows) >= Int64(rows)
    case .values:
      let limit = rows / Self.valueRows
      slice.hasMore = try sweepValues(limit: limit) >= Int64(limit)
    case .rateLimits: slice.hasMore = try sweepRateLimits(limit: rows / Self.rateLimitRows)
    case .lifecycleAudit: slice.hasMore = try trimAudit(.lifecycle, over: 0, limit: Int64(rows))
    case .securityAudit: slice.hasMore = try trimAudit(.security, over: 0, limit: Int64(rows))
    }
    return slice
  }

  /// Runs `body` in a group that is only its own.
  func inOwnGroup<Result>(waiting: Int64, _ body: () throws -> Result) throws -> Result {
    try beginGroup(waiting: waiting)
    let result: Result
    do {
      result = try body()
    } catch {
      abandonGroup()
      throw error
    }
    try commitGroup()
    return result
  }

  // MARK: - Maintenance

  package struct Maintained {
    package var swept = SweptSlice()
    package var checkpointedPages = 0
    package var freedPages: Int64 = 0
  }

  /// Some slices of sweeping, the rows of evicted events, free pages given back to the file system, a checkpoint: each
  /// bounded, and never a VACUUM.
  package func maintain() throws -> Maintained {
    var done = Maintained()
    for stage in SweepStage.allCases {
      for _ in 0..<8 {
        let slice = try inOwnGroup(waiting: limits.busyTimeout) { try sweep(stage, rows: 1_000) }
        done.swept.sessions += slice.sessions
        done.swept.tasks += slice.tasks
        done.swept.events += slice.events
        if !slice.hasMore { break }
        done.swept.hasMore = true
      }
    }
    done.swept.events += try inOwnGroup(waiting: limits.busyTimeout) { try trimEvicted(sessions: 100) }
    done.freedPages = try inOwnGroup(waiting: limits.busyTimeout) { try freePages(1_000) }
    done.checkpointedPages = try checkpoint()
    return done
  }

  /// Deletes rows that lie under their session's floor and are too few for a store to have bothered.
  private func trimEvicted(sessions limit: Int) throws -> Int64 {
    try flushSessions()
    var sessionIDs: [String] = []
    do {
      var select = try tables.statement(
        .server,
        "SELECT session_id FROM sessions WHERE event_floor > event_trimmed LIMIT $1")
      select.bind(1, Int64(limit))
      while try select.step() { sessionIDs.append(select.string(0)) }
    }
    var trimmed: Int64 = 0
    for sessionID in sessionIDs {
      guard let slot = try findSession(sessionID, owner: .server) else { continue }
      trimmed += cache.rows[slot].eventFloor - cache.rows[slot].eventTrimmed
      try trimEvents(slot, atLeast: 1)
    }
    return trimmed
  }

  private func freePages(_ limit: Int) throws -> Int64 {
    let before = try tables.connection(.server).pragma("freelist_count")
    if before == 0 { return 0 }
    try tables.connection(.server).execute("PRAGMA incremental_vacuum(\(limit))")
    return before - (try tables.connection(.server).pragma("freelist_count"))
  }
}
