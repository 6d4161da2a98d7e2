import Database

/// How long and how much of a tenant's is kept, where that is not as the options say. 0 means what it means there.
package struct Retention: Equatable, Sendable {
  /// milliseconds for which a session that ended can be read
  package var retainEnded: Int64?
  package var maxEventsPerSession: Int64?
  /// milliseconds that a task lives at most
  package var maxTaskTTL: Int64?
  package var maxLogEntriesPerSession: Int64?
  /// milliseconds after which an event of the audit trail is erased
  package var auditRetention: Int64?

  package init(
    retainEnded: Int64? = nil, maxEventsPerSession: Int64? = nil, maxTaskTTL: Int64? = nil,
    maxLogEntriesPerSession: Int64? = nil, auditRetention: Int64? = nil
  ) {
    self.retainEnded = retainEnded
    self.maxEventsPerSession = maxEventsPerSession
    self.maxTaskTTL = maxTaskTTL
    self.maxLogEntriesPerSession = maxLogEntriesPerSession
    self.auditRetention = auditRetention
  }

  var isEmpty: Bool { self == Retention() }

  /// those of the contract, in their order
  package var members: [(name: String, value: Int64?)] {
    [
      ("retain_ended", retainEnded), ("max_events_per_session", maxEventsPerSession), ("max_task_ttl", maxTaskTTL),
      ("max_log_entries_per_session", maxLogEntriesPerSession), ("audit_retention", auditRetention),
    ]
  }

  fileprivate static let columns = """
    number, tenant_id, retain_ended, max_events_per_session, max_task_ttl, max_log_entries_per_session, audit_retention
    """

  fileprivate init(_ row: borrowing Statement) {
    self.init(
      retainEnded: row.optionalInteger(2), maxEventsPerSession: row.optionalInteger(3),
      maxTaskTTL: row.optionalInteger(4), maxLogEntriesPerSession: row.optionalInteger(5),
      auditRetention: row.optionalInteger(6))
  }
}

extension Store {
  /// Tenants that have one of their own: each process remembers all of them.
  package static let maxRetentions = 1_000

  /// Says how a tenant's data is kept, all of it anew; nothing: as the options say.
  /// - Throws: `maxRetentionsReached`; `invalidParameter` for what the options do not allow
  package func setRetention(of tenantID: String, _ retention: Retention) throws {
    if retention.retainEnded != nil, !keepsEnded {
      throw StoreError.invalidParameter(
        name: "retain_ended", expected: "nothing without --retain-ended, which makes the store keep what has ended")
    }
    let old = self.retention(of: tenantID)
    if old == retention { return }
    if old.isEmpty {
      var select = try tables.statement(.server, "SELECT count(*) FROM retention")
      if try select.step(), select.integer(0) >= Int64(Self.maxRetentions) {
        throw StoreError.maxRetentionsReached(limit: Self.maxRetentions)
      }
    }
    if retention.isEmpty {
      var delete = try tables.statement(.server, "DELETE FROM retention WHERE tenant_id = $1")
      delete.bind(1, tenantID)
      try delete.run()
    } else {
      try write(retention, of: tenantID)
    }
    try changePolicies()
    let said = retention.members.compactMap { name, value in value.map { "\(name)=\($0)" } }
    try audit(
      .retentionSet, said.isEmpty ? "as the options say" : said.joined(separator: " "), tenantID: tenantID,
      principal: nil)
  }

  private func write(_ retention: Retention, of tenantID: String) throws {
    var upsert = try tables.statement(
      .server,
      """
      INSERT INTO retention (number, tenant_id, retain_ended, max_events_per_session, max_task_ttl,
        max_log_entries_per_session, audit_retention)
      VALUES ($1, $2, $3, $4, $5, $6, $7)
      ON CONFLICT (tenant_id) DO UPDATE SET retain_ended = excluded.retain_ended,
        max_events_per_session = excluded.max_events_per_session, max_task_ttl = excluded.max_task_ttl,
        max_log_entries_per_session = excluded.max_log_entries_per_session, audit_retention = excluded.audit_retention
      """)
    upsert.bind(1, try nextRevision())
    upsert.bind(2, tenantID)
    upsert.bind(3, retention.retainEnded)
    upsert.bind(4, retention.maxEventsPerSession)
    upsert.bind(5, retention.maxTaskTTL)
    upsert.bind(6, retention.maxLogEntriesPerSession)
    upsert.bind(7, retention.auditRetention)
    try upsert.run()
  }

  /// What was said of a tenant.
  package func retention(of tenantID: String) -> Retention {
    policies.retention(of: tenantID) ?? Retention()
  }

  /// What holds for a tenant, be it by the options. A task's time has none.
  package func effectiveRetention(of tenantID: String) -> Retention {
    let own = retention(of: tenantID)
    return Retention(
      retainEnded: keepsEnded ? own.retainEnded ?? limits.retainEnded : 0,
      maxEventsPerSession: own.maxEventsPerSession ?? Int64(limits.maxEventsPerSession), maxTaskTTL: own.maxTaskTTL,
      maxLogEntriesPerSession: own.maxLogEntriesPerSession ?? Int64(limits.maxLogEntriesPerSession),
      auditRetention: own.auditRetention ?? limits.auditRetention)
  }

  /// The next tenants that have one of their own, in the order in which they got it, after the one with the number
  /// `after`.
  package func retentions(
    after: Int64, limit: Int
  ) throws -> [(number: Int64, tenantID: String, retention: Retention)] {
    var select = try tables.statement(
      .server, composed: "SELECT \(Retention.columns) FROM retention WHERE number > $1 ORDER BY number LIMIT $2")
    select.bind(1, after)
    select.bind(2, Int64(limit))
    var found: [(number: Int64, tenantID: String, retention: Retention)] = []
    while try select.step() { found.append((select.integer(0), select.string(1), Retention(select))) }
    return found
  }

  /// How long a task may live of which its caller says this.
  func taskTTL(_ ttl: Int64?, tenantID: String?) -> Int64? {
    guard let most = policies.retention(of: tenantID)?.maxTaskTTL else { return ttl }
    return ttl.map { min($0, most) } ?? most
  }
}
