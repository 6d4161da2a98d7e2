import Database

/// How far the search has come for events of the trail whose time is over. There is no index for it, which every event
/// would pay for: it goes through the trail again and again, in slices.
struct AuditSearch {
  /// the number of the event behind which it goes on; nil: it is not under way
  var after: Int64?
  /// when it begins the next time, Unix milliseconds
  var next: Int64 = 0
}

extension Store {
  /// milliseconds from the beginning of one search to that of the next, where the lowest age is not lower
  private static let auditSearchInterval: Int64 = 3_600_000

  /// the lowest age at which an event is erased, in milliseconds; nil: none is
  var lowestAuditAge: Int64? {
    let byOption = limits.auditRetention > 0 ? limits.auditRetention : nil
    guard let byTenant = policies.lowestAuditAge else { return byOption }
    return min(byTenant, byOption ?? byTenant)
  }

  /// Takes away what events say that are older than their tenant's events are to be, and leaves their places in the
  /// chain: within a budget.
  /// - Returns: whether there may be more
  func eraseOldAuditEvents(_ budget: inout SliceBudget) throws -> Bool {
    guard let lowest = lowestAuditAge else { return false }
    if searches.audit.after == nil {
      // A clock that was set back begins anew.
      if now < searches.audit.next, searches.audit.next - now <= Self.auditSearchInterval { return false }
      searches.audit.after = 0
      searches.audit.next = (Saturating(now) + min(lowest, Self.auditSearchInterval)).value
    }
    while let after = searches.audit.after {
      if budget.isUsedUp { return true }
      let found = try oldAuditEvents(behind: after, limit: Int(clamping: max(1, budget.chunk)))
      for number in found.numbers { try eraseAuditEvent(number) }
      budget.spend(Int64(found.numbers.count) + 8)
      searches.audit.after = found.last
    }
    return false
  }

  /// Those among the next events that are to be erased and may be.
  /// - Returns: `limit` at most, and the number of the last that was looked at; nil: there are no more
  private func oldAuditEvents(behind number: Int64, limit: Int) throws -> (numbers: [Int64], last: Int64?) {
    var select = try tables.statement(
      .server,
      """
      SELECT number, type, timestamp, tenant_id, principal FROM audit_events WHERE number > $1
      ORDER BY number LIMIT $2
      """)
    select.bind(1, number)
    select.bind(2, Int64(Self.lookedAtOnce))
    var (numbers, looked, last): ([Int64], Int, Int64) = ([], 0, number)
    while numbers.count < limit, try select.step() {
      (looked, last) = (looked + 1, select.integer(0))
      let tenantID = select.optionalString(3)
      let age = policies.retention(of: tenantID)?.auditRetention ?? limits.auditRetention
      guard age > 0, select.integer(2) <= (Saturating(now) - age).value,
        select.string(1) != AuditEvent.erased, mayGo(tenantID: tenantID, principal: select.optionalString(4))
      else { continue }
      numbers.append(last)
    }
    return (numbers, numbers.count == limit || looked == Self.lookedAtOnce ? last : nil)
  }
}
