import Database

/// What a sweep of sessions or tasks removed, or ended and keeps.
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

/// What a slice may do: so many rows, and so long where somebody may be waiting. Rows alone do not say it, for one of
/// them may be a hundred bytes or a megabyte.
struct SliceBudget {
  /// rows between two looks at the clock
  private static let chunkRows: Int64 = 16

  private(set) var rows: Int64
  /// Unix milliseconds
  private let end: Int64?
  private let clock: () -> Int64

  init(rows: Int64, milliseconds: Int64? = nil, _ environment: Environment) {
    self.rows = rows
    clock = environment.now
    end = milliseconds.map { (Saturating(environment.now()) + $0).value }
  }

  var isUsedUp: Bool { rows <= 0 || end.map { clock() >= $0 } == true }
  /// rows that one statement may remove
  var chunk: Int64 { end == nil ? rows : min(rows, Self.chunkRows) }

  mutating func spend(_ rows: Int64) { self.rows -= rows }

  /// Removes chunk after chunk until nothing is left or the budget is used up.
  /// - Parameter remove: removes so many rows and says how many there were
  /// - Returns: whether there may be more
  mutating func inChunks(_ remove: (Int64) throws -> Int64) rethrows -> Bool {
    while !isUsedUp {
      let chunk = chunk
      let removed = try remove(chunk)
      spend(removed)
      if removed < chunk { return false }
    }
    return true
  }
}

/// Removing what has expired. Nobody sees it before that either: expiry is checked on every access.
extension Store {
  /// Rows that one slice may remove, and milliseconds that it may take: a request may be waiting. Measured: with slices
  /// of 1,000 rows, the 99th percentile of a read beside a sweep was 45 times the usual one.
  private static let sliceRows = 64
  static let sliceMilliseconds: Int64 = 2
  /// Those of a slice that has to keep up with a caller who makes more.
  private static let sliceRowsAtMost = 16_384
  private static let sliceMillisecondsAtMost: Int64 = 8
  /// what ending a session that is kept costs, in rows
  private static let endRows = 4
  /// milliseconds after which the row of a process that has written nothing goes to those of all who are gone
  private static let writerAge: Int64 = 86_400_000
  /// what removing a session costs beside what belongs to it, in rows
  static let sessionRows = 16
  static let taskRows = 4
  static let valueRows = 2
  static let rateLimitRows = 2

  /// Removes expired sessions, however large they are.
  /// - Parameter limit: sessions that are looked at, at most
  func sweepSessions(limit: Int) throws -> Swept {
    var budget = SliceBudget(rows: .max, environment)
    return try sweepSessions(limit: limit, &budget)
  }

  /// Removes sessions whose deadline has passed, the longest overdue first, or ends them where they are kept; and those
  /// that were kept long enough. One with more rows than the budget has left loses some of them, and the rest in the
  /// next slices.
  private func sweepSessions(limit: Int, _ budget: inout SliceBudget) throws -> Swept {
    try flushSessions()
    var swept = Swept()
    var due: [String]
    if policies.isEmpty {
      due = try endedSessionsDue(limit: limit)
    } else {
      (due, swept.hasMore) = try endedSessionsDueAmongOthers(limit: limit)
      budget.spend(8)
    }
    due += try dueSessions(limit: limit - due.count)
    if due.count == limit { swept.hasMore = true }
    for sessionID in due {
      guard let slot = try findSession(sessionID, owner: .server) else { continue }
      let row = cache.rows[slot]
      if budget.isUsedUp {
        swept.hasMore = true
        break
      }
      guard row.endedAt != nil || effectiveStatus(slot).isOver else {
        // It was used since: look again when that deadline comes.
        let deadline = row.deadline(limits)
        try setCheck(row.number, deadline)
        cache.setCheck(slot, deadline)
        budget.spend(1)
        continue
      }
      let isHeld = !mayGo(tenantID: row.tenantID, principal: row.principal)
      if row.endedAt == nil, isHeld || row.isKept(at: now, limits) {
        try endAsExpired(slot, at: row.end(at: now, limits) ?? now)
        budget.spend(Int64(Self.endRows))
        swept.removed.append(sessionID)
        continue
      }
      if isHeld { continue }
      if row.rowsAtMost > budget.chunk, try shrink(slot, &budget) {
        swept.hasMore = true
        break
      }
      budget.spend(Int64(Self.sessionRows) + cache.rows[slot].eventRows + cache.rows[slot].logCount)
      try removeSession(slot, as: .expired)
      // One that was kept was told of when it ended.
      if row.endedAt == nil || !keepsEnded { swept.removed.append(sessionID) }
    }
    return swept
  }

  /// Sessions that may have expired, the longest overdue first; those that --max-suspension was lowered for last.
  private func dueSessions(limit: Int) throws -> [String] {
    var due: [String] = []
    do {
      var select = try tables.statement(
        .server,
        composed: "SELECT session_id FROM sessions WHERE check_at <= $1 ORDER BY check_at, number LIMIT $2"
          + tables.dialect.lockingWhatIsFree)
      select.bind(1, now)
      select.bind(2, Int64(limit))
      while try select.step() { due.append(select.string(0)) }
    }
    if limits.maxSuspension == 0 { return due }
    var select = try tables.statement(
      .server,
      composed: """
        SELECT session_id FROM sessions WHERE suspended_at <= $1 AND coalesce(check_at > $2, true) AND ended_at IS NULL
        ORDER BY suspended_at, number LIMIT $3\(tables.dialect.lockingWhatIsFree)
        """)
    select.bind(1, (Saturating(now) - limits.maxSuspension).value)
    select.bind(2, now)
    select.bind(3, Int64(limit - due.count))
    while try select.step() { due.append(select.string(0)) }
    return due
  }

  /// Deletes what belongs to an expired session, the oldest first. It is over from then on, whatever the limits and the
  /// clock of another process say: half of it is gone.
  /// - Returns: whether there may be more
  private func shrink(_ slot: SessionSlot, _ budget: inout SliceBudget) throws -> Bool {
    try endForGood(slot)
    let session = cache.rows[slot].number
    return try budget.inChunks { try deleteOldestEvents(slot, $0) }
      || budget.inChunks { try deleteOldestLogEntries(slot, $0) }
      || budget.inChunks { try deleteStateRows(session, $0) }
      || budget.inChunks { try deleteLossRows(session, $0) }
      || budget.inChunks { try deleteMessageIDBlocks(session, $0) }
      || budget.inChunks { try deleteParticipants(session: session, limit: $0) }
  }

  private func endForGood(_ slot: SessionSlot) throws {
    let row = cache.rows[slot]
    if row.endedAt == nil { return try endAsExpired(slot, at: 0) }
    if row.endedAt != 0 { end(slot, as: row.status, at: 0) }
  }

  private func deleteOldestEvents(_ slot: SessionSlot, _ limit: Int64) throws -> Int64 {
    try writeChunks(of: slot)
    let row = cache.rows[slot]
    var through = min((Saturating(row.eventTrimmed) + limit).value, row.lastEventID)
    if through == row.eventTrimmed { return 0 }
    do {
      // To the end of a row.
      var select = try tables.statement(of: row.number, "SELECT min(id) FROM events WHERE session = $1 AND id >= $2")
      select.bind(2, through)
      if try select.step(), let last = select.optionalInteger(0) { through = last }
    }
    try deleteEventRows(session: row.number, through: through)
    counters.events -= max(0, through - row.eventFloor)
    cache.update(slot) { row in
      row.eventTrimmed = through
      row.eventFloor = max(row.eventFloor, through)
    }
    return through - row.eventTrimmed
  }

  private func deleteOldestLogEntries(_ slot: SessionSlot, _ limit: Int64) throws -> Int64 {
    try writeChunks(of: slot)
    let row = cache.rows[slot]
    var through = min((Saturating(row.logFloor) + limit).value, row.lastLogSeq)
    if through == row.logFloor { return 0 }
    do {
      // To the end of a row.
      var select = try tables.statement(
        of: row.number, "SELECT min(seq) FROM log_entries WHERE session = $1 AND seq >= $2")
      select.bind(2, through)
      if try select.step(), let last = select.optionalInteger(0) { through = last }
    }
    try deleteLogEntries(session: row.number, through: through)
    counters.logEntries -= through - row.logFloor
    cache.update(slot) { $0.logFloor = through }
    return through - row.logFloor
  }

  private func deleteStateRows(_ session: SessionNumber, _ limit: Int64) throws -> Int64 {
    var delete = try tables.statement(
      of: session,
      """
      DELETE FROM session_state WHERE number IN (SELECT number FROM session_state WHERE session = $1 LIMIT $2)
      """)
    delete.bind(2, limit)
    try delete.run()
    return tables.changes
  }

  private func deleteLossRows(_ session: SessionNumber, _ limit: Int64) throws -> Int64 {
    var delete = try tables.statement(
      of: session,
      """
      DELETE FROM stream_losses WHERE session = $1 AND stream_id IN
        (SELECT stream_id FROM stream_losses WHERE session = $1 LIMIT $2)
      """)
    delete.bind(2, limit)
    try delete.run()
    return tables.changes
  }

  private func deleteMessageIDBlocks(_ session: SessionNumber, _ limit: Int64) throws -> Int64 {
    var delete = try tables.statement(
      of: session,
      """
      DELETE FROM log_message_ids WHERE session = $1 AND ordinal IN
        (SELECT ordinal FROM log_message_ids WHERE session = $1 ORDER BY ordinal LIMIT $2)
      """)
    delete.bind(2, limit)
    try delete.run()
    return tables.changes
  }

  /// rows that one call of ``expireSessions(olderThan:limit:)`` removes by deadline
  private static let expiryRows: Int64 = 100_000

  /// Removes sessions whose last activity was before a time, or without one those past their own deadline; where ended
  /// ones are kept it ends them.
  package func expireSessions(olderThan: Int64?, limit: Int) throws -> Swept {
    guard let olderThan else {
      var budget = SliceBudget(rows: Self.expiryRows, environment)
      return try sweepSessions(limit: limit, &budget)
    }
    try flushSessions()
    var old: [String] = []
    let isOpen = endedMayStay ? " AND ended_at IS NULL" : ""
    do {
      var select = try tables.statement(
        .server,
        composed: "SELECT session_id FROM sessions WHERE last_activity < $1\(isOpen) ORDER BY number LIMIT $2"
          + locking)
      select.bind(1, olderThan)
      select.bind(2, Int64(limit + 1))
      while try select.step() { old.append(select.string(0)) }
    }
    var swept = Swept()
    swept.hasMore = old.count > limit
    for sessionID in old.prefix(limit) {
      guard let slot = try findSession(sessionID, owner: .server) else { continue }
      if keepsEnded || cache.rows[slot].isHeld {
        try endAsExpired(slot, at: cache.rows[slot].end(at: now, limits) ?? now)
      } else {
        try removeSession(slot, as: .expired)
      }
      swept.removed.append(sessionID)
    }
    return swept
  }

  // MARK: - Slices

  /// What a sweep looks through, one after the other.
  enum SweepStage: CaseIterable {
    case sessions, counts, tasks, nonces, values, eventSubscriptions, work, rateLimits, lifecycleAudit, securityAudit
    case auditAges
  }

  /// Lets the next slice begin with sessions, whatever the last one did.
  package func sweepAnew() { sweepStage = .sessions }

  /// Removes a bounded part of what has expired, in a group of its own that is not synced: were it lost, the rows would
  /// only be there to be swept again. It gives up at once when another process writes.
  ///
  /// A slice removes up to twice of what was made since the one before it, in up to four times the usual time: whoever
  /// writes at a rate that the usual slices do not keep up with pays for the removal with the writing, and the file
  /// levels off whatever the rate.
  /// - Throws: `busy` then; `outcomeUnknown` when the disk failed, and the process must end
  package func sweepSlice() throws -> SweptSlice {
    if !isSweeping { rowsMade = 0 }  // what came between two sweeps must not make the slices of this one long
    isSweeping = true
    let rows = min(max(Self.sliceRows, 2 * rowsMade), Self.sliceRowsAtMost)
    var budget = SliceBudget(
      rows: Int64(rows),
      milliseconds: rows > Self.sliceRows ? Self.sliceMillisecondsAtMost : Self.sliceMilliseconds, environment)
    var swept = try withoutSync {
      try inOwnGroup(waiting: 0) {
        if sweepStage == .sessions { try writer?.gatherRows(seenBefore: now - Self.writerAge) }
        return try sweep(sweepStage, &budget)
      }
    }
    rowsMade = max(0, rowsMade - (rows - Int(max(0, budget.rows))) / 2)
    if !swept.hasMore {
      let next = SweepStage.allCases.drop { $0 != sweepStage }.dropFirst().first
      sweepStage = next ?? .sessions
      swept.hasMore = next != nil
      isSweeping = swept.hasMore
    }
    return swept
  }

  func withoutSync<Result>(_ body: () throws -> Result) throws -> Result {
    if let file { try file.withoutSync(body) } else { try body() }
  }

  private func sweep(_ stage: SweepStage, _ budget: inout SliceBudget) throws -> SweptSlice {
    var slice = SweptSlice()
    let rows = Int(clamping: budget.rows)
    switch stage {
    case .sessions:
      let events = counters.events
      let swept = try sweepSessions(limit: max(1, rows / Self.sessionRows), &budget)
      slice.sessions = swept.removed.count
      slice.events = events - counters.events
      slice.hasMore = swept.hasMore
    case .counts:
      let events = counters.events
      slice.hasMore = try sweepCounts(&budget)
      slice.events = events - counters.events
    case .tasks:
      let swept = try expireTasks(limit: max(1, rows / Self.taskRows), &budget)
      slice.tasks = swept.removed.count
      slice.hasMore = swept.hasMore
    case .nonces: slice.hasMore = try budget.inChunks { try sweepNonces(limit: Int($0)) }
    case .values:
      slice.hasMore =
        policies.hasHolds
        ? try sweep(.values, at: now, &budget, removeLapsedValues)
        : try budget.inChunks { try sweepValues(limit: Int($0)) }
    case .eventSubscriptions:
      slice.hasMore =
        policies.hasHolds
        ? try sweep(.eventSubscriptions, at: now, &budget) { try endLapsedEventSubscriptions($0) }
        : try budget.inChunks { try sweepEventSubscriptions(limit: Int($0)) }
    case .work:
      slice.hasMore =
        policies.hasHolds ? try sweepWork(&budget) : try budget.inChunks { try sweepWork(limit: Int($0)) }
    case .rateLimits:
      budget.spend(Int64(rows))
      slice.hasMore = try sweepRateLimits(limit: rows / Self.rateLimitRows)
    case .lifecycleAudit, .securityAudit:
      budget.spend(Int64(rows))
      let ring = stage == .lifecycleAudit ? AuditRing.lifecycle : .security
      slice.hasMore = try trimAudit(ring, over: 0, limit: Int64(rows))
    case .auditAges: slice.hasMore = try eraseOldAuditEvents(&budget)
    }
    return slice
  }

  /// Runs `body` in a group that is only its own.
  func inOwnGroup<Result>(
    waiting: Int64, needs: Needs = Needs(), _ body: () throws -> Result
  ) throws -> Result {
    try beginGroup(waiting: waiting, needs: needs)
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
      for rest in (0..<8).reversed() {
        let slice = try inOwnGroup(waiting: limits.busyTimeout) {
          var budget = SliceBudget(rows: 1_000, environment)
          return try sweep(stage, &budget)
        }
        done.swept.sessions += slice.sessions
        done.swept.tasks += slice.tasks
        done.swept.events += slice.events
        if !slice.hasMore { break }
        if rest == 0 { done.swept.hasMore = true }
      }
    }
    done.swept.events += try inOwnGroup(waiting: limits.busyTimeout) { try trimEvicted(sessions: 100) }
    if let file {
      done.freedPages = try inOwnGroup(waiting: limits.busyTimeout) { try file.freePages(1_000) }
    }
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
      try trimEvents(slot)
    }
    return trimmed
  }
}
