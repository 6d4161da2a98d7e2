import Database
import JSON

/// That what is bound to a tenant, a principal, or to both must stay.
package struct LegalHold: Equatable, Sendable {
  package var number: Int64 = 0
  package let name: String
  package let tenantID: String?
  package let principal: String?
  package let reason: String?
  package internal(set) var placedAt: Int64 = 0

  /// One of the owners is named, or both.
  package init(name: String, tenantID: String?, principal: String?, reason: String?) {
    self.name = name
    self.tenantID = tenantID
    self.principal = principal
    self.reason = reason
  }

  fileprivate init(_ row: borrowing Statement) {
    self.init(
      name: row.string(1), tenantID: row.optionalString(2), principal: row.optionalString(3),
      reason: row.optionalString(4))
    number = row.integer(0)
    placedAt = row.integer(5)
  }

  fileprivate static let columns = "number, name, tenant_id, principal, reason, placed_at"
}

extension Store {
  /// Each process remembers all of them.
  package static let maxLegalHolds = 1_000

  private func legalHold(named name: String) throws -> LegalHold? {
    var select = try tables.statement(
      .server, composed: "SELECT \(LegalHold.columns) FROM legal_holds WHERE name = $1" + locking)
    select.bind(1, name)
    return try select.step() ? LegalHold(select) : nil
  }

  /// Places a hold, unless it is there.
  /// - Returns: whether it was placed, and since when it holds
  /// - Throws: `invalidParameter` when another one has its name, `maxLegalHoldsReached`
  package func placeLegalHold(_ hold: LegalHold) throws -> (placed: Bool, placedAt: Int64) {
    if let found = try legalHold(named: hold.name) {
      guard found.tenantID?.exact == hold.tenantID?.exact, found.principal?.exact == hold.principal?.exact else {
        throw StoreError.invalidParameter(name: "name", expected: "a name that no other legal hold has")
      }
      return (false, found.placedAt)
    }
    var select = try tables.statement(.server, "SELECT count(*) FROM legal_holds")
    if try select.step(), select.integer(0) >= Int64(Self.maxLegalHolds) {
      throw StoreError.maxLegalHoldsReached(limit: Self.maxLegalHolds)
    }
    var insert = try tables.statement(
      .server,
      "INSERT INTO legal_holds (number, name, tenant_id, principal, reason, placed_at) VALUES ($1, $2, $3, $4, $5, $6)")
    insert.bind(1, try nextRevision())
    insert.bind(2, hold.name)
    insert.bind(3, hold.tenantID)
    insert.bind(4, hold.principal)
    insert.bind(5, hold.reason)
    insert.bind(6, now)
    try insert.run()
    try changePolicies()
    try audit(.legalHoldPlaced, hold.name, tenantID: hold.tenantID, principal: hold.principal)
    return (true, now)
  }

  /// - Returns: whether there was one
  package func liftLegalHold(_ name: String) throws -> Bool {
    guard let hold = try legalHold(named: name) else { return false }
    var delete = try tables.statement(.server, "DELETE FROM legal_holds WHERE number = $1")
    delete.bind(1, hold.number)
    try delete.run()
    try changePolicies()
    try audit(.legalHoldLifted, hold.name, tenantID: hold.tenantID, principal: hold.principal)
    return true
  }

  /// The next holds in the order in which they were placed, after the one with the number `after`.
  package func legalHolds(after: Int64, limit: Int) throws -> [LegalHold] {
    var select = try tables.statement(
      .server, composed: "SELECT \(LegalHold.columns) FROM legal_holds WHERE number > $1 ORDER BY number LIMIT $2")
    select.bind(1, after)
    select.bind(2, Int64(limit))
    var holds: [LegalHold] = []
    while try select.step() { holds.append(LegalHold(select)) }
    return holds
  }

  /// Notes a change of policies in the audit trail.
  func audit(_ type: SecurityEventType, _ message: String, tenantID: String?, principal: String?) throws {
    var event = NewSecurityEvent(type: type, severity: .low, message: message)
    event.owner = Owner(
      tenant: tenantID.map { .named($0) } ?? .unspecified, principal: principal.map { .named($0) } ?? .unspecified)
    try audit(event, nil, action: .logged)
  }
}
