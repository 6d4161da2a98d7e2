import Database

/// What a rate limit says to one request.
package struct RateDecision: Equatable {
  package var isAllowed: Bool
  /// how many more would be allowed right now
  package var remaining: Int64
  /// milliseconds until the next one is allowed; 0 for one that is
  package var retryAfter: Int64
}

/// Rate limits by key: the generic cell rate algorithm (ITU-T I.371), which needs one number for each key. A burst of
/// `limit` is allowed, then one every `window / limit`.
extension Store {
  /// Takes one request off the allowance of a key. A denial takes nothing and writes nothing.
  /// - Parameter window: milliseconds
  /// - Throws: ``NeedsGroup`` for a request that is allowed when no group is open
  package func checkRateLimit(_ key: String, limit: Int64, window: Int64) throws -> RateDecision {
    // In nanoseconds, so that a thousand requests in a millisecond are still whole numbers apart.
    let now = (Saturating(self.now) * 1_000_000).value
    let interval = max(1, (Saturating(window) * 1_000_000).value / limit)
    let burst = (Saturating(interval) * limit).value
    // Every request of a burst has its time before this one.
    let end = Saturating(now) + burst
    let stored = try arrival(key) ?? now
    // Beyond a burst lies only what a larger limit or a clock that was set back has left: one is allowed, then evenly.
    let next = (stored > end.value ? end - interval : Saturating(max(stored, now))) + interval
    guard next <= end else {
      let wait = next - end.value
      return RateDecision(isAllowed: false, remaining: 0, retryAfter: (wait + 999_999).value / 1_000_000)
    }
    guard isInGroup else { throw NeedsGroup() }
    var upsert = try tables.statement(
      .server,
      """
      INSERT INTO rate_limits (key, arrival, check_at) VALUES ($1, $2, $3)
      ON CONFLICT (key) DO UPDATE SET arrival = excluded.arrival
      """)
    upsert.bind(1, key)
    upsert.bind(2, next.value)
    upsert.bind(3, next.value / 1_000_000)
    try upsert.run()
    noteMade(Self.rateLimitRows)
    return RateDecision(isAllowed: true, remaining: (end - next.value).value / interval, retryAfter: 0)
  }

  private func arrival(_ key: String) throws -> Int64? {
    var select = try tables.statement(.server, "SELECT arrival FROM rate_limits WHERE key = $1")
    select.bind(1, key)
    return try select.step() ? select.integer(0) : nil
  }

  /// Removes keys that have their whole allowance again.
  /// - Returns: whether there may be more
  func sweepRateLimits(limit: Int) throws -> Bool {
    var due: [(key: String, arrival: Int64)] = []
    do {
      var select = try tables.statement(
        .server,
        "SELECT key, arrival FROM rate_limits WHERE check_at <= $1 ORDER BY check_at LIMIT $2")
      select.bind(1, now)
      select.bind(2, Int64(limit))
      while try select.step() { due.append((select.string(0), select.integer(1))) }
    }
    for row in due {
      if row.arrival <= (Saturating(now) * 1_000_000).value {
        var delete = try tables.statement(.server, "DELETE FROM rate_limits WHERE key = $1")
        delete.bind(1, row.key)
        try delete.run()
      } else {
        // It was used since: look again when it has its allowance back.
        var update = try tables.statement(
          .server, "UPDATE rate_limits SET check_at = $1 WHERE key = $2")
        update.bind(1, row.arrival / 1_000_000 + 1)
        update.bind(2, row.key)
        try update.run()
      }
    }
    return due.count == limit
  }
}
