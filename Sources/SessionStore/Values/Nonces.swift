import Database

/// Single-use tokens, for state that a client carries and may send only once.
extension Store {
  /// True exactly once for a nonce of a principal until it lapses, `ttl` milliseconds after that first time.
  package func consumeNonce(_ nonce: String, ttl: Int64, principal: OwnerClaim) throws -> Bool {
    let expiry = (Saturating(now) + ttl).time
    if isShared, let known = foreseen.expiry(nonce, of: principal.binding ?? "") {
      return try consume(nonce, until: expiry, known: known, principal)
    }
    var upsert = try tables.statement(
      for: principal,
      """
      INSERT INTO nonces (principal, nonce, expires_at) VALUES ($1, $2, $3)
      ON CONFLICT (nonce, principal) DO UPDATE SET expires_at = excluded.expires_at WHERE nonces.expires_at <= $4
      RETURNING 1
      """)
    upsert.bind(2, nonce)
    upsert.bind(3, expiry)
    upsert.bind(4, now)
    // One more step after the last would run it again.
    guard try upsert.step() else { return false }
    try upsert.run()
    noteMade(1)
    return true
  }

  /// The same for one whose row is locked, and read.
  private func consume(_ nonce: String, until expiry: Int64, known: Int64, _ principal: OwnerClaim) throws -> Bool {
    if known > now { return false }
    var update = try tables.statement(
      for: principal, "UPDATE nonces SET expires_at = $2 WHERE principal = $1 AND nonce = $3")
    update.bind(2, expiry)
    update.bind(3, nonce)
    try update.run()
    foreseen.note(expiry: expiry, nonce, of: principal.binding ?? "")
    noteMade(1)
    return true
  }

  /// Removes lapsed nonces.
  /// - Returns: how many; as many as `limit` means that there may be more
  func sweepNonces(limit: Int) throws -> Int64 {
    var delete = try tables.statement(
      .server,
      composed: """
        DELETE FROM nonces WHERE (nonce, principal) IN (SELECT nonce, principal FROM nonces
          WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2\(tables.dialect.lockingWhatIsFree))
        """)
    delete.bind(1, now)
    delete.bind(2, Int64(limit))
    try delete.run()
    foreseen.forgetExpiries()
    return tables.changes
  }
}
