import Database

/// Taking the locks of a group before anything of it is run, all in one trip: rows of sessions, tasks and values, keys
/// of rate limits, nonces, queues of work, always in this order and in each by number or name, so that groups wait for
/// each other and never in a circle.
extension Store {
  /// Asks for the sessions that are named, and locks them in a group.
  func askForSessions(_ needs: Needs) throws -> Statement? {
    if needs.sessions.isEmpty { return nil }
    var select = try tables.statement(
      .server,
      composed: SessionRow.select + " WHERE session_id = ANY ($1) ORDER BY number" + locking)
    select.bind(1, texts: Array(needs.sessions))
    try select.send()
    return select
  }

  /// Remembers those that there are, and that there are no others.
  func takeSessions(_ select: inout Statement, _ needs: Needs) throws {
    absentSessions = needs.sessions
    while try select.step() {
      let row = Self.sessionRow(select)
      absentSessions.remove(row.sessionID)
      _ = cache.insert(underPolicies(row))
    }
  }

  /// Asks for the locks on everything else.
  func askForLocks(_ needs: Needs) throws {
    if !needs.tasks.isEmpty {
      var lock = try tables.statement(
        .server, composed: "SELECT number FROM tasks WHERE task_id = ANY ($1) ORDER BY number FOR UPDATE")
      lock.bind(1, texts: Array(needs.tasks))
      try lock.send()
    }
    if !needs.values.isEmpty {
      var lock = try tables.statement(
        .server,
        composed: """
          SELECT number FROM named_values WHERE (tenant_id, principal, collection, key) IN
            (SELECT t, p, c, k
            FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS TEXT[]), CAST($3 AS TEXT[]), CAST($4 AS TEXT[]))
              AS wanted (t, p, c, k))
          ORDER BY number FOR UPDATE
          """)
      lock.bind(1, texts: needs.values.map(\.place.tenantID))
      lock.bind(2, texts: needs.values.map(\.place.principal))
      lock.bind(3, texts: needs.values.map(\.place.collection))
      lock.bind(4, texts: needs.values.map(\.key))
      try lock.send()
    }
    if !needs.rateKeys.isEmpty { try askForRateKeys(needs.rateKeys) }
    if !needs.nonces.isEmpty { try askForNonces(needs.nonces) }
    if !needs.queues.isEmpty {
      var lock = try lockOfQueues(needs.queues)
      try lock.send()
    }
  }

  /// A queue has no row, and its items and groups are changed together: so it has a lock of its own.
  private func lockOfQueues(_ queues: Set<String>) throws -> Statement {
    var lock = try tables.statement(
      .server,
      composed: """
        SELECT pg_advisory_xact_lock(key) FROM (
          SELECT DISTINCT hashtextextended(current_schema() || ' ' || q, 0) AS key
          FROM unnest(CAST($1 AS TEXT[])) AS wanted (q) ORDER BY key
        ) AS keys
        """)
    lock.bind(1, texts: Array(queues))
    return lock
  }

  /// The same in the middle of a group, for queues that its requests did not name.
  func lockQueues(_ queues: Set<String>) throws {
    if !isShared || queues.isEmpty { return }
    var lock = try lockOfQueues(queues)
    try lock.run()
  }

  /// What is not there cannot be locked, so it is made first: as a key that has its whole allowance.
  private func askForRateKeys(_ keys: [String]) throws {
    var insert = try tables.statement(
      .server,
      composed: """
        INSERT INTO rate_limits (key, arrival, check_at)
        SELECT DISTINCT k, 0, 0 FROM unnest(CAST($1 AS TEXT[])) AS wanted (k) ORDER BY k ON CONFLICT (key) DO NOTHING
        """)
    insert.bind(1, texts: keys)
    try insert.run()
    var lock = try tables.statement(
      .server, composed: "SELECT key FROM rate_limits WHERE key = ANY ($1) ORDER BY key FOR UPDATE")
    lock.bind(1, texts: keys)
    try lock.send()
  }

  /// As one that has lapsed.
  private func askForNonces(_ nonces: [(nonce: String, principal: String)]) throws {
    var insert = try tables.statement(
      .server,
      composed: """
        INSERT INTO nonces (nonce, principal, expires_at)
        SELECT DISTINCT n, p, 0 FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS TEXT[])) AS wanted (n, p) ORDER BY n, p
        ON CONFLICT (nonce, principal) DO NOTHING
        """)
    insert.bind(1, texts: nonces.map(\.nonce))
    insert.bind(2, texts: nonces.map(\.principal))
    try insert.run()
    var lock = try tables.statement(
      .server,
      composed: """
        SELECT 1 FROM nonces WHERE (nonce, principal) IN
          (SELECT n, p FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS TEXT[])) AS wanted (n, p))
        ORDER BY nonce, principal FOR UPDATE
        """)
    lock.bind(1, texts: nonces.map(\.nonce))
    lock.bind(2, texts: nonces.map(\.principal))
    try lock.send()
  }
}
