import Database

/// How far the search has come for sessions that hold more than a tenant's retention says. It goes through the sessions
/// of such tenants once whenever something was said anew, and when the process begins: from then on each session keeps
/// to it with every event and entry that it gets.
struct CountSearch {
  /// tenants that are still to be looked at, of which the last is; nil: it has not begun
  var tenants: [String]?
  /// the number of the session behind which it goes on
  var after: Int64 = 0
  /// whether a session was passed over that somebody else was writing
  var hasMissed = false
}

/// A session that holds too much.
private struct LargeSession {
  let number: Int64
  let sessionID: String
}

extension Store {
  /// Lets go what sessions hold beyond the counts of their tenant, within a budget.
  /// - Returns: whether there may be more
  func sweepCounts(_ budget: inout SliceBudget) throws -> Bool {
    if policies.tenantsWithCounts.isEmpty { return false }
    if searches.counts.tenants == nil { searches.counts.tenants = policies.tenantsWithCounts }
    while let tenantID = searches.counts.tenants?.last {
      if budget.isUsedUp { return true }
      budget.spend(8)
      let found = try sessionsOverCounts(of: tenantID, behind: searches.counts.after)
      for session in found.sessions {
        searches.counts.after = session.number - 1
        if budget.isUsedUp { return true }
        if try !evict(session, &budget) { return true }
      }
      searches.counts.after = found.last ?? 0
      if found.last == nil { searches.counts.tenants?.removeLast() }
    }
    if searches.counts.hasMissed { searches.counts = CountSearch() }
    return false
  }

  /// Those among the next sessions of a tenant.
  /// - Returns: them, and the number of the last that was looked at; nil: there are no more
  private func sessionsOverCounts(
    of tenantID: String, behind number: Int64
  ) throws -> (sessions: [LargeSession], last: Int64?) {
    let retention = policies.retention(of: tenantID) ?? Retention()
    let most = (events: retention.maxEventsPerSession ?? 0, entries: retention.maxLogEntriesPerSession ?? 0)
    try flushSessions()
    var select = try tables.statement(
      .server,
      """
      SELECT number, session_id, last_event_id - event_floor, last_log_seq - log_floor FROM sessions
      WHERE tenant_id = $1 AND number > $2 ORDER BY number LIMIT $3
      """)
    select.bind(1, tenantID)
    select.bind(2, number)
    select.bind(3, Int64(Self.lookedAtOnce))
    var (sessions, looked, last): ([LargeSession], Int, Int64) = ([], 0, number)
    while try select.step() {
      (looked, last) = (looked + 1, select.integer(0))
      if most.events > 0 && select.integer(2) > most.events || most.entries > 0 && select.integer(3) > most.entries {
        sessions.append(LargeSession(number: last, sessionID: select.string(1)))
      }
    }
    return (sessions, looked == Self.lookedAtOnce ? last : nil)
  }

  /// - Returns: whether it is through with the session
  private func evict(_ session: LargeSession, _ budget: inout SliceBudget) throws -> Bool {
    do {
      var lock = try tables.statement(
        .server, composed: "SELECT number FROM sessions WHERE number = $1\(tables.dialect.lockingWhatIsFree)")
      lock.bind(1, session.number)
      guard try lock.step() else {
        searches.counts.hasMissed = true
        return true
      }
    }
    guard let slot = try findSession(session.sessionID, owner: .server) else { return true }
    let row = cache.rows[slot]
    guard row.number.value == session.number, !row.isHeld else { return true }
    let most = max(budget.chunk, Self.trimBatch)
    let events =
      row.ownMaxEvents > 0 && limits.eventOverflow == .evict ? max(0, row.eventCount - row.ownMaxEvents) : 0
    if events > 0 {
      let count = min(events, most)
      cache.update(slot) { $0.eventFloor += count }
      counters.events -= count
      done.eventsEvicted += count
      try trimEvents(slot)
      noteChange(ofSession: row.number)
      budget.spend(count)
      if count < events { return false }
    }
    let entries = row.ownMaxLogEntries > 0 ? max(0, row.logCount - row.ownMaxLogEntries) : 0
    if entries > 0 {
      let count = min(entries, most)
      try evictLogEntries(slot, count, atOnce: true)
      budget.spend(count)
      if count < entries { return false }
    }
    return true
  }
}
