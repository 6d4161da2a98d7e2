import Database

/// What happened in a session's life.
package enum LifecycleChange: String, CaseIterable, Sendable {
  case created, activated, suspended, resumed, expired, invalidated, deleted, resolved
}

package enum SecurityEventType: String, CaseIterable, Sendable {
  case sessionAuth = "session_auth"
  case unauthorizedAccess = "unauthorized_access"
  case rateLimitExceeded = "rate_limit_exceeded"
  case invalidInput = "invalid_input"
  case sessionHijacking = "session_hijacking"
}

/// From the least to the most severe.
package enum Severity: String, CaseIterable, Sendable {
  case low, medium, high, critical

  /// this one and all that are more severe
  var andAbove: ArraySlice<Severity> { Self.allCases.drop { $0 != self } }
}

/// What came of a security event.
package enum SecurityAction: String, CaseIterable, Sendable {
  /// it stands in the trail
  case logged
  /// it counts as a violation of its session
  case counted
  /// the session was invalidated over it
  case invalidated
}

/// A security event that is to be noted.
package struct NewSecurityEvent {
  package var type: SecurityEventType
  package var severity: Severity
  package var sessionID: String?
  /// nil: the session's, if there is one
  package var userID: String?
  /// on whose behalf the call was made, where the event is about no session
  var owner = Owner.server
  package var message: String?
  package var ipAddress: String?

  package init(
    type: SecurityEventType, severity: Severity, sessionID: String? = nil, userID: String? = nil,
    message: String? = nil, ipAddress: String? = nil
  ) {
    self.type = type
    self.severity = severity
    self.sessionID = sessionID
    self.userID = userID
    self.message = message
    self.ipAddress = ipAddress
  }
}

/// An entry of the audit trail: a lifecycle change or a security event. It outlives the session that it is about.
package struct AuditEvent {
  package let number: Int64
  /// a ``LifecycleChange`` or a ``SecurityEventType``
  package let type: String
  /// nil for a lifecycle change
  package let severity: String?
  package let timestamp: Int64
  package let sessionID: String?
  package let userID: String?
  package let tenantID: String?
  package let principal: String?
  package let statusBefore: String?
  package let statusAfter: String?
  /// the reason of a lifecycle change, the message of a security event
  package let message: String?
  package let ipAddress: String?
  /// a ``SecurityAction``; nil for a lifecycle change
  package let action: String?

  static let columns = """
    number, type, severity, timestamp, session_id, user_id, tenant_id, principal, status_before, status_after, \
    message, ip_address, action
    """

  init(_ row: borrowing Statement) {
    number = row.integer(0)
    type = row.string(1)
    severity = row.optionalString(2)
    timestamp = row.integer(3)
    sessionID = row.optionalString(4)
    userID = row.optionalString(5)
    tenantID = row.optionalString(6)
    principal = row.optionalString(7)
    statusBefore = row.optionalString(8)
    statusAfter = row.optionalString(9)
    message = row.optionalString(10)
    ipAddress = row.optionalString(11)
    action = row.optionalString(12)
  }
}

/// Which events a list of the audit trail means.
package struct AuditFilter {
  package var sessionID: String?
  package var userID: String?
  package var type: String?
  package var ipAddress: String?
  /// leaves out lifecycle changes
  package var minSeverity: Severity?
  /// Unix milliseconds, inclusive
  package var since: Int64?

  package init() {}
}

/// The audit trail, written with the change that it tells of: one trail in two rings by count, so that a wave of
/// expiries cannot wash out an attack.
extension Store {
  enum AuditRing: String, CaseIterable {
    case lifecycle, security

    var count: WritableKeyPath<Counters, Int64> {
      switch self {
      case .lifecycle: \.lifecycleEvents
      case .security: \.securityEvents
      }
    }
  }

  /// rows that a ring may have too many, so that they are deleted in bulk; no list shows them
  private static let auditSlack: Int64 = 256

  // MARK: - Writing

  func audit(
    _ change: LifecycleChange, _ row: SessionRow, userID: String?, from before: SessionStatus?,
    to after: SessionStatus?, reason: String?
  ) throws {
    var insert = try auditStatement(.lifecycle, change.rawValue, try nextAuditNumber())
    insert.bind(6, row.sessionID)
    insert.bind(7, userID)
    insert.bind(8, row.tenantID)
    insert.bind(9, row.principal)
    insert.bind(10, before?.rawValue)
    insert.bind(11, after?.rawValue)
    insert.bind(12, reason)
    insert.bind(15, row.number)
    try insert.run()
    try trimAudit(.lifecycle, over: Self.auditSlack, limit: 1_000)
  }

  /// - Parameter row: the session that the event is about, when there is one
  @discardableResult
  func audit(_ event: NewSecurityEvent, _ row: SessionRow?, action: SecurityAction) throws -> Int64 {
    let userID = try event.userID ?? row.flatMap { try self.userID($0.number) }
    let number = try nextAuditNumber()
    do {
      var insert = try auditStatement(.security, event.type.rawValue, number)
      insert.bind(4, event.severity.rawValue)
      insert.bind(6, event.sessionID)
      insert.bind(7, userID)
      insert.bind(8, row?.tenantID ?? event.owner.tenant.binding)
      insert.bind(9, row?.principal ?? event.owner.principal.binding)
      insert.bind(12, event.message)
      insert.bind(13, event.ipAddress)
      insert.bind(14, action.rawValue)
      insert.bind(15, row?.number)
      try insert.run()
    }
    try trimAudit(.security, over: Self.auditSlack, limit: 1_000)
    return number
  }

  private func auditStatement(_ ring: AuditRing, _ type: String, _ number: Int64) throws -> Statement {
    counters[keyPath: ring.count] += 1
    var insert = try tables.statement(
      .server,
      """
      INSERT INTO audit_events (number, ring, type, severity, timestamp, session_id, user_id, tenant_id, principal,
        status_before, status_after, message, ip_address, action, session)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
      """)
    insert.bind(1, number)
    insert.bind(2, ring.rawValue)
    insert.bind(3, type)
    insert.bind(5, now)
    return insert
  }

  private func userID(_ number: SessionNumber) throws -> String? {
    var select = try tables.statement(of: number, "SELECT user_id FROM sessions WHERE number = $1")
    return try select.step() ? select.optionalString(0) : nil
  }

  /// Deletes the oldest events of a ring that has more than `slack` too many, `limit` at most.
  /// - Returns: whether there are more
  @discardableResult
  func trimAudit(_ ring: AuditRing, over slack: Int64, limit: Int64) throws -> Bool {
    let excess = auditExcess(ring)
    if excess <= slack { return false }
    let count = min(excess, limit)
    var delete = try tables.statement(
      .server,
      """
      DELETE FROM audit_events WHERE ring = $1 AND number <=
        (SELECT number FROM audit_events WHERE ring = $1 ORDER BY number LIMIT 1 OFFSET $2)
      """)
    delete.bind(1, ring.rawValue)
    delete.bind(2, count - 1)
    try delete.run()
    counters[keyPath: ring.count] -= tables.changes
    return excess > count
  }

  private func auditExcess(_ ring: AuditRing) -> Int64 {
    limits.maxAuditEvents > 0 ? max(0, counters[keyPath: ring.count] - Int64(limits.maxAuditEvents)) : 0
  }

  // MARK: - Security events

  /// Notes a security event. One of at least medium severity counts as a violation of its session, if that exists and
  /// has not expired; so many violations, or a single critical one, and the session is invalidated.
  package func recordSecurityEvent(
    _ event: NewSecurityEvent
  ) throws -> (number: Int64, violations: Int64, action: SecurityAction) {
    guard let sessionID = event.sessionID, let slot = try findSession(sessionID, owner: .server),
      !effectiveStatus(slot).isOver
    else {
      return (try audit(event, nil, action: .logged), 0, .logged)
    }
    let row = cache.rows[slot]
    if event.severity == .low { return (try audit(event, row, action: .logged), try violations(row.number), .logged) }
    let violations = try addViolation(row.number)
    let isTooMuch =
      event.severity == .critical || (limits.maxViolations > 0 && violations >= Int64(limits.maxViolations))
    guard isTooMuch, effectiveStatus(slot) != .invalidated else {
      return (try audit(event, row, action: .counted), violations, .counted)
    }
    let number = try audit(event, row, action: .invalidated)
    _ = try changeStatus(sessionID, .invalidate, owner: .server, reason: event.type.rawValue)
    return (number, violations, .invalidated)
  }

  /// Notes that a text was refused; never the text itself.
  /// - Throws: ``NeedsGroup`` when no group is open
  package func recordInvalidInput(_ finding: InputScreen.Finding, sessionID: String?) throws {
    guard isInGroup else { throw NeedsGroup() }
    _ = try recordSecurityEvent(
      NewSecurityEvent(
        type: .invalidInput, severity: limits.countsRefusedInput ? .medium : .low, sessionID: sessionID,
        message: finding.rawValue))
  }

  /// Records what requests have left to be recorded, whatever became of them.
  package func recordPendingEvents() throws {
    for event in pending.take() {
      switch event {
      case .logged(let event): try audit(event, nil, action: .logged)
      case .violation(let event):
        // Of one that is over nothing more is counted, however often it is denied.
        guard let sessionID = event.sessionID, let slot = try findSession(sessionID, owner: .server),
          !effectiveStatus(slot).isOver, effectiveStatus(slot) != .invalidated
        else { continue }
        _ = try recordSecurityEvent(event)
      }
    }
  }

  private func violations(_ number: SessionNumber) throws -> Int64 {
    var select = try tables.statement(
      of: number, "SELECT violations FROM sessions WHERE number = $1")
    return try select.step() ? select.integer(0) : 0
  }

  private func addViolation(_ number: SessionNumber) throws -> Int64 {
    var update = try tables.statement(
      of: number,
      "UPDATE sessions SET violations = violations + 1 WHERE number = $1 RETURNING violations")
    let violations = try update.step() ? update.integer(0) : 0
    try update.run()
    return violations
  }

  // MARK: - Reading

  /// The next events in their order after the one with the number `after`.
  /// - Parameter visit: gets each event; false ends the page before it
  /// - Returns: whether there are more
  package func listAuditEvents(
    _ filter: AuditFilter, after: Int64, limit: Int, visit: (AuditEvent) throws -> Bool
  ) throws -> Bool {
    var conditions = try self.conditions(filter)
    conditions.add("number > ?", after)
    var select = try tables.statement(
      conditions, "SELECT \(AuditEvent.columns) FROM audit_events", limit: limit + 1)
    var count = 0
    while try select.step() {
      if try count == limit || !visit(AuditEvent(select)) { return true }
      count += 1
    }
    return false
  }

  private func conditions(_ filter: AuditFilter) throws -> Filter {
    var conditions = Filter(.server)
    if let sessionID = filter.sessionID { conditions.add("session_id = ?", sessionID) }
    if let userID = filter.userID { conditions.add("user_id = ?", userID) }
    if let type = filter.type { conditions.add("type = ?", type) }
    if let ipAddress = filter.ipAddress { conditions.add("ip_address = ?", ipAddress) }
    if let since = filter.since { conditions.add("timestamp >= ?", since) }
    if let severities = filter.minSeverity?.andAbove {
      conditions.add("severity IN (" + severities.map { "'\($0.rawValue)'" }.joined(separator: ", ") + ")")
    }
    for ring in AuditRing.allCases {
      let floor = try auditFloor(ring)
      if floor > 0 { conditions.add("(ring <> '\(ring.rawValue)' OR number > ?)", floor) }
    }
    return conditions
  }

  /// What events of the trail are counted by.
  package enum AuditKey: String, CaseIterable, Sendable {
    case userID = "user_id"
    case ipAddress = "ip_address"
    case sessionID = "session_id"
    case type
    case tenantID = "tenant_id"
    case principal
  }

  /// Events with the same user, address, session or type.
  package struct AuditCount: Equatable {
    package let value: String
    package let events: Int64
    package let firstAt: Int64
    package let lastAt: Int64
  }

  /// Counts events by what they name; what names none is left out. The most frequent first.
  /// - Returns: `limit` at most, and whether there are more
  package func auditCounts(
    by key: AuditKey, _ filter: AuditFilter, limit: Int
  ) throws -> (counts: [AuditCount], hasMore: Bool) {
    var conditions = try conditions(filter)
    conditions.add("\(key.rawValue) IS NOT NULL")
    var select = try tables.statement(
      conditions,
      "SELECT \(key.rawValue), count(*), min(timestamp), max(timestamp) FROM audit_events",
      suffix: " GROUP BY \(key.rawValue) ORDER BY count(*) DESC, \(key.rawValue)")
    var counts: [AuditCount] = []
    while try select.step() {
      if counts.count == limit { return (counts, true) }
      counts.append(
        AuditCount(
          value: select.string(0), events: select.integer(1), firstAt: select.integer(2), lastAt: select.integer(3)))
    }
    return (counts, false)
  }

  /// the number up to which a ring's events are too many and only wait to be deleted
  private func auditFloor(_ ring: AuditRing) throws -> Int64 {
    let excess = auditExcess(ring)
    if excess == 0 { return 0 }
    var select = try tables.statement(
      .server,
      "SELECT number FROM audit_events WHERE ring = $1 ORDER BY number LIMIT 1 OFFSET $2")
    select.bind(1, ring.rawValue)
    select.bind(2, excess - 1)
    return try select.step() ? select.integer(0) : 0
  }
}
