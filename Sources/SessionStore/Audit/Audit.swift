import Database
import SHA256

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
  case legalHoldPlaced = "legal_hold_placed"
  case legalHoldLifted = "legal_hold_lifted"
  case retentionSet = "retention_set"

  /// those that callers may record: the others tell what was done here
  package static let recorded: [SecurityEventType] = [
    .sessionAuth, .unauthorizedAccess, .rateLimitExceeded, .invalidInput, .sessionHijacking,
  ]
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
  package internal(set) var number: Int64 = 0
  /// a ``LifecycleChange`` or a ``SecurityEventType``; ``erased`` where nothing else is left
  package let type: String
  /// nil for a lifecycle change
  package internal(set) var severity: String?
  package let timestamp: Int64
  package internal(set) var sessionID: String?
  package internal(set) var userID: String?
  package internal(set) var tenantID: String?
  package internal(set) var principal: String?
  package internal(set) var statusBefore: String?
  package internal(set) var statusAfter: String?
  /// the reason of a lifecycle change, the message of a security event
  package internal(set) var message: String?
  package internal(set) var ipAddress: String?
  /// a ``SecurityAction``; nil for a lifecycle change
  package internal(set) var action: String?

  /// the type of an event that was erased with somebody's data; no list shows it
  static let erased = "erased"

  static let columns = """
    number, type, severity, timestamp, session_id, user_id, tenant_id, principal, status_before, status_after, \
    message, ip_address, action
    """

  init(type: String, at timestamp: Int64) {
    self.type = type
    self.timestamp = timestamp
  }

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
/// expiries cannot wash out an attack. Each ring is a chain, see ``AuditChain``.
extension Store {
  enum AuditRing: String, CaseIterable {
    case lifecycle, security

    /// - Parameter type: of an event that is not erased
    init(ofType type: String) { self = LifecycleChange(rawValue: type) == nil ? .security : .lifecycle }
  }

  /// rows that a ring may have too many, so that they are deleted in bulk; no list shows them
  private static let auditSlack: Int64 = 256

  // MARK: - Writing

  func audit(
    _ change: LifecycleChange, _ row: SessionRow, userID: String?, from before: SessionStatus?,
    to after: SessionStatus?, reason: String?
  ) throws {
    var event = AuditEvent(type: change.rawValue, at: now)
    event.sessionID = row.sessionID
    event.userID = userID
    event.tenantID = row.tenantID
    event.principal = row.principal
    event.statusBefore = before?.rawValue
    event.statusAfter = after?.rawValue
    event.message = reason
    try append(&event, to: .lifecycle, session: row.number)
  }

  /// - Parameter row: the session that the event is about, when there is one
  @discardableResult
  func audit(_ event: NewSecurityEvent, _ row: SessionRow?, action: SecurityAction) throws -> Int64 {
    var entry = AuditEvent(type: event.type.rawValue, at: now)
    entry.severity = event.severity.rawValue
    entry.sessionID = event.sessionID
    entry.userID = try event.userID ?? row.flatMap { try self.userID($0.number) }
    entry.tenantID = row?.tenantID ?? event.owner.tenant.binding
    entry.principal = row?.principal ?? event.owner.principal.binding
    entry.message = event.message
    entry.ipAddress = event.ipAddress
    entry.action = action.rawValue
    try append(&entry, to: .security, session: row?.number)
    return entry.number
  }

  /// Gives the event its number and its place in the chain.
  private func append(_ event: inout AuditEvent, to ring: AuditRing, session: SessionNumber?) throws {
    event.number = try nextAuditNumber()
    counters[ring] += 1
    // Where others write at the same time nothing comes behind anything.
    var seal: [UInt8] = []
    if !isShared {
      swap(&seal, &auditSeal)
      seal.removeAll(keepingCapacity: true)
      try chain(event, session: session?.value, in: ring, seal: &seal)
    }
    defer { swap(&seal, &auditSeal) }
    do {
      var insert = try tables.statement(
        .server,
        """
        INSERT INTO audit_events (number, ring, type, severity, timestamp, session_id, user_id, tenant_id, principal,
          status_before, status_after, message, ip_address, action, session, seal)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        """)
      insert.bind(1, event.number)
      insert.bind(2, ring.rawValue)
      insert.bind(3, event.type)
      insert.bind(4, event.severity)
      insert.bind(5, event.timestamp)
      insert.bind(6, event.sessionID)
      insert.bind(7, event.userID)
      insert.bind(8, event.tenantID)
      insert.bind(9, event.principal)
      insert.bind(10, event.statusBefore)
      insert.bind(11, event.statusAfter)
      insert.bind(12, event.message)
      insert.bind(13, event.ipAddress)
      insert.bind(14, event.action)
      insert.bind(15, session?.value)
      if !seal.isEmpty { insert.bind(16, digits: seal) }
      try insert.run()
    }
    try trimAudit(ring, over: Self.auditSlack, limit: 1_000)
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
    guard let last = try auditEvent(ring, at: count - 1) else { return false }
    var delete = try tables.statement(.server, "DELETE FROM audit_events WHERE ring = $1 AND number <= $2")
    delete.bind(1, ring.rawValue)
    delete.bind(2, last.number)
    try delete.run()
    counters[ring] -= tables.changes
    // What is older than the chain has no hash.
    if let hash = last.hash { try AuditBeginning(number: last.number, hash: hash).write(ring, to: tables) }
    return excess > count
  }

  /// - Parameter place: in the ring, from 0 for the oldest event
  private func auditEvent(_ ring: AuditRing, at place: Int64) throws -> (number: Int64, hash: Digest?)? {
    var select = try tables.statement(
      .server, "SELECT number, seal FROM audit_events WHERE ring = $1 ORDER BY number LIMIT 1 OFFSET $2")
    select.bind(1, ring.rawValue)
    select.bind(2, place)
    guard try select.step() else { return nil }
    return (select.integer(0), AuditChain.Seal(select, 1)?.hash)
  }

  private func auditExcess(_ ring: AuditRing) -> Int64 {
    limits.maxAuditEvents > 0 ? max(0, counters[ring] - Int64(limits.maxAuditEvents)) : 0
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
    conditions.add("type <> '\(AuditEvent.erased)'")
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
    return excess == 0 ? 0 : try auditEvent(ring, at: excess - 1)?.number ?? 0
  }
}
