import SQLite

/// What a sweep removed.
package struct Swept {
  package var removed: [String] = []
  /// whether more is due than this sweep was allowed to look at
  package var hasMore = false
}

extension Store {
  /// Removes sessions whose deadline has passed, the longest overdue first, and looks at no more than `limit` rows.
  func sweepSessions(limit: Int) throws -> Swept {
    try flushSessions()
    var due: [String] = []
    do {
      var select = try connection.statement(
        "SELECT session_id FROM sessions WHERE check_at <= $1 ORDER BY check_at LIMIT $2")
      select.bind(1, now)
      select.bind(2, Int64(limit))
      while try select.step() { due.append(select.string(0)) }
    }
    var swept = Swept()
    swept.hasMore = due.count == limit
    for sessionID in due {
      guard let slot = try findSession(sessionID, owner: .server) else { continue }
      if effectiveStatus(slot) == .expired {
        _ = try removeSession(slot)
        swept.removed.append(sessionID)
      } else {
        // It was used since: look again when that deadline comes.
        let row = cache.rows[slot]
        try setCheck(row.number, row.deadline(maxSuspension: limits.maxSuspension))
        cache.setCheck(slot, row.deadline(maxSuspension: limits.maxSuspension))
      }
    }
    return swept
  }

  /// Removes sessions whose last activity was before a time, or without one those past their own deadline.
  package func expireSessions(olderThan: Int64?, limit: Int) throws -> Swept {
    guard let olderThan else { return try sweepSessions(limit: limit) }
    try flushSessions()
    var old: [String] = []
    do {
      var select = try connection.statement(
        "SELECT session_id FROM sessions WHERE last_activity < $1 ORDER BY number LIMIT $2")
      select.bind(1, olderThan)
      select.bind(2, Int64(limit + 1))
      while try select.step() { old.append(select.string(0)) }
    }
    var swept = Swept()
    swept.hasMore = old.count > limit
    for sessionID in old.prefix(limit) {
      guard let slot = try findSession(sessionID, owner: .server) else { continue }
      _ = try removeSession(slot)
      swept.removed.append(sessionID)
    }
    return swept
  }
}
