import Database
import JSON

/// What an operator has said of data: what must stay whatever is asked for and whatever lapses, and how long that of a
/// tenant does. Each process remembers all of it, and reads it again when the counter of its changes has moved on.
final class Policies: Sendable {
  /// A tenant, a principal, or both together.
  private struct Name: Hashable {
    let tenantID: [UInt8]?
    let principal: [UInt8]?
  }

  /// how often they had been changed, ever
  let version: Int64
  /// names of holds, by whose rows they hold
  private let holds: [Name: String]
  private let retentions: [[UInt8]: Retention]
  /// whether some tenant's ended sessions are kept for a time of their own
  let retainsByTenant: Bool
  /// those whose sessions hold so many events or log entries at most
  let tenantsWithCounts: [String]
  /// of the ages at which audit events are erased the lowest; nil: there is none
  let lowestAuditAge: Int64?
  let holdCount: Int

  static let none = Policies(version: 0, holds: [], retentions: [])

  init(version: Int64, holds: [LegalHold], retentions: [(tenantID: String, retention: Retention)]) {
    self.version = version
    self.holds = Dictionary(
      holds.map { (Name(tenantID: $0.tenantID?.exact, principal: $0.principal?.exact), $0.name) },
      uniquingKeysWith: { first, _ in first })
    self.retentions = Dictionary(uniqueKeysWithValues: retentions.map { ($0.tenantID.exact, $0.retention) })
    holdCount = holds.count
    retainsByTenant = retentions.contains { $0.retention.retainEnded != nil }
    tenantsWithCounts = retentions.filter { entry in
      (entry.retention.maxEventsPerSession ?? 0) > 0 || (entry.retention.maxLogEntriesPerSession ?? 0) > 0
    }.map(\.tenantID)
    lowestAuditAge = retentions.compactMap(\.retention.auditRetention).filter { $0 > 0 }.min()
  }

  var isEmpty: Bool { holds.isEmpty && retentions.isEmpty }
  var hasHolds: Bool { !holds.isEmpty }
  var retentionCount: Int { retentions.count }

  /// The name of a hold on what is bound to these owners; nil: there is none.
  func hold(tenantID: String?, principal: String?) -> String? {
    if holds.isEmpty { return nil }
    let (tenantID, principal) = (tenantID?.exact, principal?.exact)
    if let tenantID, let name = holds[Name(tenantID: tenantID, principal: nil)] { return name }
    guard let principal else { return nil }
    if let name = holds[Name(tenantID: nil, principal: principal)] { return name }
    return tenantID.flatMap { holds[Name(tenantID: $0, principal: principal)] }
  }

  func retention(of tenantID: String?) -> Retention? {
    if retentions.isEmpty { return nil }
    return tenantID.flatMap { retentions[$0.exact] }
  }
}

/// The one question before anything of somebody's goes. Whatever deletes a row asks it, and what deletes many passes
/// over those that stay: see ``Store/due(_:limit:)``.
extension Store {
  /// Whether what is bound to these owners may go.
  func mayGo(tenantID: String?, principal: String?) -> Bool {
    policies.hold(tenantID: tenantID, principal: principal) == nil
  }

  /// - Throws: `heldByLegalHold`
  func requireMayGo(tenantID: String?, principal: String?) throws {
    if let name = policies.hold(tenantID: tenantID, principal: principal) { throw StoreError.heldByLegalHold(name) }
  }

  /// The same of all rows that a filter leaves, before any of them goes.
  func requireMayGo(_ conditions: Filter, of table: String) throws {
    if !policies.hasHolds { return }
    var select = try tables.statement(conditions, "SELECT DISTINCT tenant_id, principal FROM \(table)")
    while try select.step() {
      // In some tables nobody has the empty name.
      try requireMayGo(
        tenantID: select.optionalString(0).flatMap { $0.isEmpty ? nil : $0 },
        principal: select.optionalString(1).flatMap { $0.isEmpty ? nil : $0 })
    }
  }

  /// The same question as SQL, for counting.
  static func isHeld(_ table: String) -> String {
    """
    EXISTS (SELECT 1 FROM legal_holds AS holding
      WHERE (holding.tenant_id IS NULL OR holding.tenant_id = \(table).tenant_id)
        AND (holding.principal IS NULL OR holding.principal = \(table).principal))
    """
  }

  /// Whether there are holds, or sessions are kept: then some that have ended stay.
  var endedMayStay: Bool { keepsEnded || policies.hasHolds }

  /// Notes that they have changed, and reads them.
  func changePolicies() throws {
    // What is remembered of sessions tells of them.
    try flushSessions()
    cache.removeAll()
    counters.policyChanges += 1
    forgetSearches()
    policies = try readPolicies()
  }

  /// Begins anew to look for what is due.
  func forgetSearches() {
    searches = DueSearches()
  }

  func readPolicies() throws -> Policies {
    // All, also where a dump has brought more than may be placed.
    let holds = try legalHolds(after: 0, limit: .max)
    let retentions = try retentions(after: 0, limit: .max)
    return Policies(
      version: counters.policyChanges, holds: holds, retentions: retentions.map { ($0.tenantID, $0.retention) })
  }

  /// A session as the cache has it: with what is said of its owners.
  func underPolicies(_ row: SessionRow) -> SessionRow {
    if policies.isEmpty { return row }
    var row = row
    row.isHeld = !mayGo(tenantID: row.tenantID, principal: row.principal)
    if let retention = policies.retention(of: row.tenantID) {
      row.ownRetainEnded = retention.retainEnded ?? -1
      row.ownMaxEvents = retention.maxEventsPerSession ?? -1
      row.ownMaxLogEntries = retention.maxLogEntriesPerSession ?? -1
    }
    return row
  }
}

/// Rows that are looked for by their time, in the order of an index, and some of which may have to stay.
struct DueRows: Sendable {
  let table: String
  /// the column that orders them
  let time: String
  /// of those that are due; `$1` stands for the time
  let condition: String

  static let tasks = DueRows(table: "tasks", time: "expires_at", condition: "expires_at < $1")
  static let values = DueRows(table: "named_values", time: "expires_at", condition: "expires_at <= $1")
  static let eventSubscriptions = DueRows(
    table: "event_subscriptions", time: "expires_at",
    condition: "ended_at IS NULL AND expires_at IS NOT NULL AND expires_at <= $1")
  static let deadWork = DueRows(
    table: "work", time: "finished_at", condition: "status = 'dead' AND finished_at IS NOT NULL AND finished_at <= $1")
}

/// How far the searches of sweeps have come.
struct DueSearches {
  /// by table: for what is due and may go
  var positions: [String: DuePosition] = [:]
  /// sessions that have ended and have to stay, as the last sweep found them
  var heldEndedSessions: Int64?
  var counts = CountSearch()
  var audit = AuditSearch()
}

/// How far a search for rows that are due has come.
struct DuePosition {
  var time = Int64.min
  var number: Int64 = 0
  /// rows that were passed over since the search began, where they are counted
  var held: Int64 = 0
}

extension Store {
  /// rows that are looked at at once: many, for those that stay cost little
  static let lookedAtOnce = 512

  /// The next rows that are due and may go. Those that have to stay are passed over, and the search goes on behind them
  /// the next time: so however many there are, a slice of a sweep costs the same.
  /// - Parameter time: what is due by then
  /// - Returns: `limit` at most; and whether there may be more
  func due(_ rows: DueRows, at time: Int64, limit: Int) throws -> (numbers: [Int64], hasMore: Bool) {
    var position = searches.positions[rows.table] ?? DuePosition()
    var (numbers, looked): ([Int64], Int) = ([], 0)
    do {
      var select = try tables.statement(
        .server,
        composed: """
          SELECT number, \(rows.time), tenant_id, principal FROM \(rows.table)
          WHERE \(rows.condition) AND (\(rows.time), number) > ($2, $3)
          ORDER BY \(rows.time), number LIMIT $4\(tables.dialect.lockingWhatIsFree)
          """)
      select.bind(1, time)
      select.bind(2, position.time)
      select.bind(3, position.number)
      select.bind(4, Int64(Self.lookedAtOnce))
      while numbers.count < limit, try select.step() {
        looked += 1
        position = DuePosition(time: select.integer(1), number: select.integer(0))
        let (tenantID, principal) = (select.optionalString(2), select.optionalString(3))
        let isFree = mayGo(
          tenantID: tenantID?.isEmpty == true ? nil : tenantID, principal: principal?.isEmpty == true ? nil : principal)
        if isFree { numbers.append(position.number) }
      }
    }
    let hasMore = numbers.count == limit || looked == Self.lookedAtOnce
    searches.positions[rows.table] = hasMore ? position : nil
    return (numbers, hasMore)
  }

  /// Removes what is due and may go, within a budget.
  /// - Returns: whether there may be more
  func sweep(
    _ rows: DueRows, at time: Int64, _ budget: inout SliceBudget, _ remove: ([Int64]) throws -> Void
  ) throws -> Bool {
    while !budget.isUsedUp {
      let found = try due(rows, at: time, limit: Int(clamping: max(1, budget.chunk)))
      try remove(found.numbers)
      budget.spend(Int64(found.numbers.count) + 8)
      if !found.hasMore { return false }
    }
    return true
  }
}
