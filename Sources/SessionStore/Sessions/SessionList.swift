import Database

/// Which sessions a list, a count or a broadcast means.
package struct SessionFilter {
  package var userID: String?
  package var status: SessionStatus?
  package var owner: Owner

  package init(userID: String? = nil, status: SessionStatus? = nil, owner: Owner) {
    self.userID = userID
    self.status = status
    self.owner = owner
  }
}

extension Store {
  /// The next sessions in the order of creation after the one with the number `after`. Those that are over only when
  /// asked for by status, or when the caller sees what has ended.
  /// - Parameter visit: gets each session with its number; false ends the page before that session
  /// - Returns: whether there are more
  package func listSessions(
    _ filter: SessionFilter, after: Int64, limit: Int, includeState: Bool, visit: (Session, Int64) throws -> Bool
  ) throws -> Bool {
    let ids = try sessionIDs(filter, after: after, limit: limit + 1)
    for (index, id) in ids.enumerated() {
      if index == limit { return true }
      if isShared, index % Self.sessionsAtOnce == 0 {
        try foresee(ids[index...].prefix(Self.sessionsAtOnce).map(\.sessionID), withStates: includeState)
      }
      guard let slot = try findSession(id.sessionID, owner: .server) else { continue }
      if try !visit(record(slot, includeState: includeState), id.number) { return true }
    }
    return false
  }

  /// sessions of a page that a server is asked for together
  private static let sessionsAtOnce = 64

  package func sessionIDs(
    _ filter: SessionFilter, after: Int64, limit: Int
  ) throws -> [(sessionID: String, number: Int64)] {
    try flushSessions()
    var conditions = self.conditions(filter)
    conditions.add("number > ?", after)
    var select = try tables.statement(
      conditions, "SELECT session_id, number FROM sessions", limit: limit)
    var ids: [(sessionID: String, number: Int64)] = []
    while try select.step() { ids.append((select.string(0), select.integer(1))) }
    return ids
  }

  package func countSessions(_ filter: SessionFilter) throws -> Int64 {
    try countSessions(conditions(filter))
  }

  /// Those of one user that are bound to exactly this tenant; nil: to none.
  func countSessions(ofUser userID: String, tenantID: String?) throws -> Int64 {
    var conditions = Filter(
      boundTo: Owner(tenant: tenantID.map { .named($0) } ?? .anonymous, principal: .unspecified))
    conditions.add(ofUser: userID)
    addStatus(nil, to: &conditions)
    return try countSessions(conditions)
  }

  private func countSessions(_ conditions: Filter) throws -> Int64 {
    try flushSessions()
    return try tables.sum("count(*)", from: "sessions", conditions)
  }

  private func conditions(_ filter: SessionFilter) -> Filter {
    var conditions = Filter(visibleTo: filter.owner)
    if let userID = filter.userID { conditions.add(ofUser: userID) }
    addStatus(filter.status, seesEnded: filter.owner.seesEnded, to: &conditions)
    return conditions
  }

  /// The condition for a session that is over: the rule of ``SessionRow/status(at:_:)`` as SQL.
  /// - Parameter now: stands for the time
  func isOver(at now: String) -> String {
    "(status IN ('expired', 'resolved') OR \(hasLeft(at: now)) OR (ended_at IS NULL AND \(isDue(at: now))))"
  }

  /// The status that a session shows, as SQL.
  func shownStatus(at now: String) -> String {
    "CASE WHEN status <> 'resolved' AND \(isOver(at: now)) THEN 'expired' ELSE status END"
  }

  /// The condition for a session that has not been ended yet: whether its deadline has passed.
  func isDue(at now: String) -> String {
    var due = "((status <> 'suspended' AND "
    due += "(coalesce(expires_at <= \(now), false) OR coalesce(inactivity_timeout <= \(now) - last_activity, false)))"
    if limits.maxSuspension > 0 {
      due += " OR (status = 'suspended' AND suspended_at <= \(now) - \(limits.maxSuspension))"
    }
    return due + ")"
  }

  /// An aggregate over the sessions that are over and wait for a sweep, or are kept.
  func expired(_ aggregate: String) throws -> Int64 {
    let found = try overdue(aggregate)
    var ended = Filter(.server)
    ended.add("ended_at IS NOT NULL")
    ended.add(isOver(at: "?"), now)
    return found + (try tables.sum(aggregate, from: "sessions", ended))
  }

  /// An aggregate over the sessions whose time has passed, and that no sweep has ended yet.
  func overdue(_ aggregate: String) throws -> Int64 {
    try flushSessions()
    var due = Filter(.server)
    due.add("check_at <= ?", now)
    addStatus(.expired, to: &due)
    let found = try tables.sum(aggregate, from: "sessions", due)
    if limits.maxSuspension == 0 { return found }
    var suspended = Filter(.server)
    // One that --max-suspension was lowered for since is to be looked at before its time.
    suspended.add("suspended_at <= ?", (Saturating(now) - limits.maxSuspension).value)
    suspended.add("coalesce(check_at > ?, true)", now)
    suspended.add("ended_at IS NULL")
    return found + (try tables.sum(aggregate, from: "sessions", suspended))
  }

  /// Leaves the sessions of a status; without one those that are not over, and for who sees them those that are kept.
  func addStatus(_ status: SessionStatus?, seesEnded: Bool = false, to conditions: inout Filter) {
    if seesEnded { addNotGone(to: &conditions) }
    switch status {
    case .expired:
      conditions.add(isOver(at: "?"), now)
      conditions.add("status <> 'resolved'")
    case .resolved: conditions.add("status = 'resolved'")
    case nil where seesEnded: break
    case nil, .pending, .active, .suspended, .invalidated:
      conditions.add("NOT " + isOver(at: "?"), now)
      if let status { conditions.add("status = ?", status.rawValue) }
    }
  }
}
