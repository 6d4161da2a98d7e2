import Database
import JSON

/// From one status to another, and whether a session may be used.
extension Store {
  package enum LifecycleStep: String, Sendable, CaseIterable {
    case activate, suspend, resume, expire, invalidate, resolve

    /// The status after this step, or nil where it may not be taken.
    func next(from status: SessionStatus) -> SessionStatus? {
      switch (self, status) {
      case (.activate, .pending), (.activate, .active), (.activate, .suspended), (.resume, .suspended): .active
      case (.suspend, .active): .suspended
      case (.expire, .pending), (.expire, .active), (.expire, .suspended): .expired
      case (.invalidate, .pending), (.invalidate, .active), (.invalidate, .suspended): .invalidated
      case (.resolve, .pending), (.resolve, .active), (.resolve, .suspended): .resolved
      default: nil
      }
    }

    var change: LifecycleChange {
      switch self {
      case .activate: .activated
      case .suspend: .suspended
      case .resume: .resumed
      case .expire: .expired
      case .invalidate: .invalidated
      case .resolve: .resolved
      }
    }
  }

  /// Takes a session from one status to another.
  /// - Throws: `invalidSessionStatus` where the lifecycle has no such step
  package func changeStatus(
    _ sessionID: String, _ step: LifecycleStep, owner: Owner, reason: String? = nil
  ) throws -> Session {
    let slot = try session(sessionID, owner: owner, for: .lifecycle)
    let current = cache.rows[slot].status
    guard let next = step.next(from: current) else {
      throw StoreError.invalidSessionStatus(current: current, requested: step.rawValue)
    }
    let suspended = cache.rows[slot].suspendedAt.map { max(0, (Saturating(now) - $0).value) }
    let known = isShared ? cache.details(slot) : nil
    let sum = try suspended.flatMap { try addSuspension(of: cache.rows[slot].number, lasting: $0, known) }
    cache.update(slot) { row in
      row.lastActivity = now
      if let suspended, next == .active {
        // Suspension stops both clocks: the fixed deadline moves by the time it lasted.
        row.expiresAt = row.expiresAt.map { (Saturating($0) + suspended).time }
      }
      row.suspendedAt = next == .suspended ? now : nil
      row.status = next
      row.rearm(limits)
    }
    if next.isOver || (next == .invalidated && keepsEnded) { end(slot, as: next, at: now) }
    if next != current { try revise(slot) }
    noteChange(ofSession: cache.rows[slot].number)
    if let known { cache.keep(known.of(revision: cache.rows[slot].revision, sum), slot, isForeseen: true) }
    let session = try record(slot, includeState: true)
    if next != current {
      try audit(step.change, cache.rows[slot], userID: session.userID, from: current, to: next, reason: reason)
    }
    return session
  }

  /// - Returns: how long all suspensions were, and how many
  private func addSuspension(
    of session: SessionNumber, lasting time: Int64, _ known: SessionDetails?
  ) throws -> (time: Int64, count: Int64)? {
    let old = try known.map { ($0.suspendedTime, $0.suspensions) } ?? suspensions(of: session)
    guard let (total, count) = old else { return nil }
    var update = try tables.statement(
      of: session, as: 3, "UPDATE sessions SET suspended_ms = $1, suspensions = $2 WHERE number = $3")
    update.bind(1, (Saturating(total) + time).time)
    update.bind(2, count + 1)
    try update.run()
    return ((Saturating(total) + time).time, count + 1)
  }

  private func suspensions(of session: SessionNumber) throws -> (Int64, Int64)? {
    var select = try tables.statement(
      of: session, "SELECT coalesce(suspended_ms, 0), coalesce(suspensions, 0) FROM sessions WHERE number = $1")
    return try select.step() ? (select.integer(0), select.integer(1)) : nil
  }

  /// Why a request may not use a session.
  package enum InvalidReason: String {
    case notFound = "not_found"
    case pending, suspended, expired, invalidated, resolved
    case addressChanged = "address_changed"
    case agentChanged = "agent_changed"
  }

  /// Whether the session is active and is used from where it was used first. The first address and agent seen stick;
  /// another one goes into the audit trail.
  /// - Throws: ``NeedsGroup`` when there is something to write and no group is open
  package func validateSession(
    _ sessionID: String, owner: Owner, address: String?, agent: String?
  ) throws -> InvalidReason? {
    guard let slot = try findSession(sessionID, owner: owner) else {
      noteUnauthorized(session: sessionID, owner: owner, address: address)
      return .notFound
    }
    switch effectiveStatus(slot) {
    case .pending: return .pending
    case .suspended: return .suspended
    case .expired: return .expired
    case .invalidated: return .invalidated
    case .resolved: return .resolved
    case .active: break
    }
    let number = cache.rows[slot].number
    var select = try tables.statement(
      of: number, "SELECT ip_address, user_agent FROM sessions WHERE number = $1")
    guard try select.step() else { return .notFound }
    let known = (address: select.optionalString(0), agent: select.optionalString(1))
    if let address, let known = known.address, !address.isSame(as: known) {
      return try hijacking(.addressChanged, slot, from: address)
    }
    if let agent, let known = known.agent, !agent.isSame(as: known) {
      return try hijacking(.agentChanged, slot, from: address)
    }
    if (address != nil && known.address == nil) || (agent != nil && known.agent == nil) {
      guard isInGroup else { throw NeedsGroup() }
      var update = try tables.statement(
        of: number, as: 3, "UPDATE sessions SET ip_address = $1, user_agent = $2 WHERE number = $3")
      update.bind(1, known.address ?? address)
      update.bind(2, known.agent ?? agent)
      try update.run()
    }
    return nil
  }

  /// Notes that a session is used from elsewhere; at low severity, because people move and browsers are updated.
  private func hijacking(_ reason: InvalidReason, _ slot: SessionSlot, from address: String?) throws -> InvalidReason {
    guard isInGroup else { throw NeedsGroup() }
    let row = cache.rows[slot]
    try audit(
      NewSecurityEvent(
        type: .sessionHijacking, severity: .low, sessionID: row.sessionID, message: reason.rawValue,
        ipAddress: address), row, action: .logged)
    return reason
  }
}
