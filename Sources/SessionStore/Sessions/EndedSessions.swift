import Database

// Sessions that have ended and are kept for a while. How long is said here alone: of a row, in SQL, and for the sweep.

extension SessionRow {
  /// When it ended: as it was noted, or by the deadline that has passed since; nil while it lives.
  func end(at now: Int64, _ limits: Limits) -> Int64? {
    if let endedAt { return endedAt }
    guard let deadline = deadline(limits), now >= deadline else { return nil }
    return deadline
  }

  /// Whether it has ended and can still be read by whoever asks for such.
  func isKept(at now: Int64, _ limits: Limits) -> Bool {
    guard limits.retainEnded > 0, let end = end(at: now, limits), end > 0 else { return false }
    return now < (Saturating(end) + limits.retainEnded).value
  }
}

extension Store {
  /// Whether sessions are kept when they have ended.
  package var keepsEnded: Bool { limits.retainEnded > 0 }

  /// the time before which what ended is not kept any more
  private var keptSince: Int64 { (Saturating(now) - limits.retainEnded).value }

  /// The condition for a session that was ended and is not kept any more.
  /// - Parameter now: stands for the time
  func hasLeft(at now: String) -> String {
    if !keepsEnded { return "(ended_at IS NOT NULL)" }  // whatever the clock says
    return "(ended_at IS NOT NULL AND (ended_at = 0 OR ended_at <= \(now) - \(limits.retainEnded)))"
  }

  /// Leaves out what nobody reads any more, whoever asks.
  func addNotGone(to conditions: inout Filter) {
    if !keepsEnded { return conditions.add("NOT " + isOver(at: "?"), now) }
    conditions.add("NOT " + hasLeft(at: "?"), now)
    // Its end is the deadline, of which only SQL that compares it with a time is written down.
    conditions.add("NOT (ended_at IS NULL AND " + isDue(at: "?") + ")", keptSince)
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
    var select = try tables.statement(
      .server,
      "SELECT session_id, ended_at FROM sessions WHERE ended_at IS NOT NULL ORDER BY ended_at, number LIMIT $1")
    select.bind(1, Int64(limit))
    var due: [String] = []
    while try select.step() {
      let end = select.integer(1)
      guard !keepsEnded || end == 0 || end <= keptSince || Int64(due.count) < endedExcess else { break }
      due.append(select.string(0))
    }
    return due
  }

  /// how many more are kept than may live
  private var endedExcess: Int64 {
    limits.maxSessions > 0 ? max(0, counters.endedSessions - Int64(limits.maxSessions)) : 0
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
