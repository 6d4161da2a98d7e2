import Database

/// What a rate limit says to one request.
package struct RateDecision: Equatable {
  package var isAllowed: Bool
  /// how many more would be allowed right now
  package var remaining: Int64
  /// milliseconds until the next one is allowed; 0 for one that is
  package var retryAfter: Int64
}

/// So many in each window: a burst of `count`, then one every `window / count`. That is the generic cell rate algorithm
/// (ITU-T I.371), which needs one number for whatever is limited: its arrival, in Unix nanoseconds, so that a thousand
/// in a millisecond are still whole numbers apart.
package struct Rate: Equatable, Sendable {
  package var count: Int64
  /// milliseconds
  package var window: Int64

  package init(count: Int64, window: Int64) {
    self.count = count
    self.window = window
  }

  /// Takes one off the allowance.
  /// - Parameter arrival: what the last one left; nil: nothing was taken yet
  /// - Returns: what this one leaves; nil for a denial, which takes nothing
  func take(after arrival: Int64?, at now: Int64) -> (decision: RateDecision, arrival: Int64?) {
    let now = (Saturating(now) * 1_000_000).value
    let interval = max(1, (Saturating(window) * 1_000_000).value / count)
    let burst = (Saturating(interval) * count).value
    // Every request of a burst has its time before this one.
    let end = Saturating(now) + burst
    let stored = arrival ?? now
    // Beyond a burst lies only what a larger limit or a clock that was set back has left: one is allowed, then evenly.
    let next = (stored > end.value ? end - interval : Saturating(max(stored, now))) + interval
    guard next <= end else {
      let wait = next - end.value
      return (RateDecision(isAllowed: false, remaining: 0, retryAfter: (wait + 999_999).value / 1_000_000), nil)
    }
    return (
      RateDecision(isAllowed: true, remaining: (end - next.value).value / interval, retryAfter: 0), next.value
    )
  }
}

/// Rate limits by key, and of the writes of each session.
extension Store {
  /// Takes one request off the allowance of a key. A denial takes nothing and writes nothing.
  /// - Parameter window: milliseconds
  /// - Throws: ``NeedsGroup`` for a request that is allowed when no group is open
  package func checkRateLimit(_ key: String, limit: Int64, window: Int64) throws -> RateDecision {
    let taken = Rate(count: limit, window: window).take(after: try arrival(key), at: now)
    guard let next = taken.arrival else { return taken.decision }
    guard isInGroup else { throw NeedsGroup() }
    var upsert = try tables.statement(
      .server,
      """
      INSERT INTO rate_limits (key, arrival, check_at) VALUES ($1, $2, $3)
      ON CONFLICT (key) DO UPDATE SET arrival = excluded.arrival
      """)
    upsert.bind(1, key)
    upsert.bind(2, next)
    upsert.bind(3, next / 1_000_000)
    try upsert.run()
    if isShared { foreseen.note(arrival: next, key) }
    noteMade(Self.rateLimitRows)
    return taken.decision
  }

  /// Takes one write off the allowance of a session, which stands in its row.
  /// - Throws: `maxSessionWritesReached`
  func takeWrite(_ slot: SessionSlot, _ rate: Rate) throws {
    let taken = rate.take(after: cache.rows[slot].writeArrival, at: now)
    guard let next = taken.arrival else {
      throw StoreError.maxSessionWritesReached(
        cache.rows[slot].sessionID, rate, retryAfter: taken.decision.retryAfter)
    }
    cache.update(slot) { $0.writeArrival = next }
  }

  private func arrival(_ key: String) throws -> Int64? {
    if isShared, let known = foreseen.arrival(key) { return known > 0 ? known : nil }
    let sql: StaticString = "SELECT arrival FROM rate_limits WHERE key = $1"
    var select =
      isShared ? try tables.statement(.server, composed: sql.description + locking) : try tables.statement(.server, sql)
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
        composed: "SELECT key, arrival FROM rate_limits WHERE check_at <= $1 ORDER BY check_at LIMIT $2"
          + tables.dialect.lockingWhatIsFree)
      select.bind(1, now)
      select.bind(2, Int64(limit))
      while try select.step() { due.append((select.string(0), select.integer(1))) }
    }
    foreseen.forgetArrivals()
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
