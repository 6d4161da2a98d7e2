import Database

// Sessions that have ended and are kept for a while. How long is said here alone: of a row, in SQL, and for the sweep.

extension SessionRow {
  /// When it ended: as it was noted, or by the deadline that has passed since; nil while it lives.
  func end(at now: Int64, _ limits: Limits) -> Int64? {
    if let endedAt { return endedAt }
    guard let deadline = deadline(limits), now >= deadline else { return nil }
    return deadline
  }

  /// how long it is kept
  func retainEnded(_ limits: Limits) -> Int64 { ownRetainEnded < 0 ? limits.retainEnded : ownRetainEnded }

  /// Whether it has ended and can still be read by whoever asks for such.
  func isKept(at now: Int64, _ limits: Limits) -> Bool {
    guard limits.retainEnded > 0, let end = end(at: now, limits), end > 0 else { return false }
    return now < (Saturating(end) + retainEnded(limits)).value
  }
}

extension Store {
  /// Whether sessions are kept when they have ended.
  package var keepsEnded: Bool { limits.retainEnded > 0 }

  /// how long a session is kept, as SQL
  private var retainedFor: String {
    if !policies.retainsByTenant { return String(limits.retainEnded) }
    return "coalesce((SELECT retain_ended FROM retention WHERE retention.tenant_id = sessions.tenant_id), "
      + "\(limits.retainEnded))"
  }

  /// The condition for a session that was ended and is not kept any more.
  /// - Parameter now: stands for the time
  func hasLeft(at now: String) -> String {
    if !keepsEnded { return "(ended_at IS NOT NULL)" }  // whatever the clock says
    return "(ended_at IS NOT NULL AND (ended_at = 0 OR ended_at <= \(now) - \(retainedFor)))"
  }

  /// The condition for a session that nobody reads any more, whoever asks.
  func isGone(at now: String) -> String {
    if !keepsEnded { return isOver(at: now) }
    // Its end is the deadline, of which only SQL that compares it with a time is written down.
    return "(\(hasLeft(at: now)) OR (ended_at IS NULL AND \(isDue(at: "(\(now) - \(retainedFor))"))))"
  }

  /// Leaves those out.
  func addNotGone(to conditions: inout Filter) {
    conditions.add("NOT " + isGone(at: "?"), now)
  }

  /// Notes that a session has ended. From then on it waits for the sweep that removes it when it is not kept any more.
  func end(_ slot: SessionSlot, as status: SessionStatus, at time: Int64) {
    if cache.rows[slot].endedAt == nil { counters.endedSessions += 1 }
    cache.update(slot) { row in
      row.status = status
      row.endedAt = time
      row.checkAt = nil
    }
  }

  /// Notes that a session has expired, and tells the audit trail.
  func endAsExpired(_ slot: SessionSlot, at time: Int64) throws {
    let row = cache.rows[slot]
    var select = try tables.statement(of: row.number, "SELECT user_id FROM sessions WHERE number = $1")
    let userID = try select.step() ? select.optionalString(0) : nil
    end(slot, as: .expired, at: time)
    noteChange(ofSession: row.number)
    try audit(.expired, row, userID: userID, from: row.status, to: .expired, reason: nil)
  }

  /// Sessions that ended and are to be removed, the longest ended first: their time is over, or more are kept than may
  /// live.
  func endedSessionsDue(limit: Int) throws -> [String] {
    if counters.endedSessions == 0 { return [] }
    if !policies.isEmpty { return try endedSessionsDueAmongOthers(limit: limit).sessionIDs }
    var select = try tables.statement(
      .server,
      "SELECT session_id, ended_at FROM sessions WHERE ended_at IS NOT NULL ORDER BY ended_at, number LIMIT $1")
    select.bind(1, Int64(limit))
    var due: [String] = []
    while try select.step() {
      let end = select.integer(1)
      let isOver = !keepsEnded || end == 0 || end <= (Saturating(now) - limits.retainEnded).value
      guard isOver || Int64(due.count) < endedExcess else { break }
      due.append(select.string(0))
    }
    return due
  }

  /// The same where some have to stay, or are kept for another time than others: they are passed over, and the search
  /// goes on behind them the next time.
  func endedSessionsDueAmongOthers(limit: Int) throws -> (sessionIDs: [String], hasMore: Bool) {
    var position = searches.positions["sessions"] ?? DuePosition()
    var (due, looked): ([String], Int) = ([], 0)
    do {
      var select = try tables.statement(
        .server,
        """
        SELECT session_id, ended_at, number, tenant_id, principal FROM sessions
        WHERE ended_at IS NOT NULL AND (ended_at, number) > ($1, $2) ORDER BY ended_at, number LIMIT $3
        """)
      select.bind(1, position.time)
      select.bind(2, position.number)
      select.bind(3, Int64(Self.lookedAtOnce))
      while due.count < limit, try select.step() {
        looked += 1
        let end = select.integer(1)
        let held = position.held
        position = DuePosition(time: end, number: select.integer(2))
        let tenantID = select.optionalString(3)
        let retained = policies.retention(of: tenantID)?.retainEnded ?? limits.retainEnded
        let isOver = !keepsEnded || end == 0 || end <= (Saturating(now) - retained).value
        let isFree = mayGo(tenantID: tenantID, principal: select.optionalString(4))
        if isFree, isOver || Int64(due.count) < endedExcess { due.append(select.string(0)) }
        position.held = held + (isFree ? 0 : 1)
      }
    }
    let hasMore = due.count == limit || looked == Self.lookedAtOnce
    searches.positions["sessions"] = hasMore ? position : nil
    if !hasMore { searches.heldEndedSessions = position.held }
    return (due, hasMore)
  }

  /// how many more are kept than may live
  private var endedExcess: Int64 {
    if limits.maxSessions == 0 { return 0 }
    // What has to stay takes nobody's place. How much that is a sweep finds out.
    guard let held = policies.hasHolds ? searches.heldEndedSessions : 0 else { return 0 }
    return max(0, counters.endedSessions - held - Int64(limits.maxSessions))
  }

  /// Keeps what is kept from growing: a new session makes room for itself twice over.
  func makeRoomForEnded() throws {
    if endedExcess == 0 { return }
    try flushSessions()
    for sessionID in try endedSessionsDue(limit: 2) {
      guard let slot = try findSession(sessionID, owner: .server) else { continue }
      try removeSession(slot, as: .expired)
    }
  }
}
