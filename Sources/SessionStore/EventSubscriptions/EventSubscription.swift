import Database
package import JSON

/// What a caller says of a subscription to events that is to be made, or granted anew.
package struct EventSubscriptionGrant {
  package var topic: String
  package var data: JSONText?
  package var secret: String?
  /// milliseconds for which the secret that is replaced is told beside the new one
  package var secretGrace: Int64 = 300_000
  /// a position; counts only where it is made
  package var startAfter: Int64?
  /// milliseconds from now; 0: it never lapses; nil: as it was, and where it is made it never does
  package var ttl: Int64?
  package var isActive = true
  /// in which its end is told; nil: as it was, and where it is made ``Store/endedQueue``
  package var endedQueue: String?

  package init(topic: String) {
    self.topic = topic
  }
}

/// Somebody outside who is to be told of what happens: to what topic, where and how, and how that went.
package struct EventSubscription {
  let number: Int64
  package let subscriptionID: String
  package let tenantID: String?
  package let principal: String?
  package var topic: String
  package var data: JSONText?
  package var secret: String?
  package var previousSecret: String?
  package var previousSecretUntil: Int64?
  package var isActive: Bool
  package let startAfter: Int64?
  package var watermark: Int64?
  package let createdAt: Int64
  package var expiresAt: Int64?
  package var inactiveSince: Int64?
  /// milliseconds of all times in which it was not active and that are over
  var inactiveTime: Int64
  package var lastSuccessAt: Int64?
  package var lastFailureAt: Int64?
  package var failedSince: Int64?
  package var lastError: String?
  var window: Window
  package var revision: Int64
  package var endedAt: Int64?
  package var endReason: String?
  package var endedQueue: String

  /// Attempts of the half hour that is under way, and of the one before it.
  struct Window {
    static let length: Int64 = 1_800_000

    /// when the half hour began that was written last
    var start: Int64 = 0
    var attempts: Int64 = 0
    var failures: Int64 = 0
    var attemptsBefore: Int64 = 0
    var failuresBefore: Int64 = 0

    /// What is left of it at a time.
    func seen(at now: Int64) -> Window {
      let begun = now - now % Self.length
      if start == begun { return self }
      if start == begun - Self.length {
        return Window(start: begun, attemptsBefore: attempts, failuresBefore: failures)
      }
      return Window(start: begun)
    }
  }

  /// Attempts of the last 30 to 60 minutes, and from when on.
  package func recent(at now: Int64) -> (since: Int64, attempts: Int64, failures: Int64) {
    let seen = window.seen(at: now)
    return (seen.start - Window.length, seen.attempts + seen.attemptsBefore, seen.failures + seen.failuresBefore)
  }

  func hasLapsed(at now: Int64) -> Bool { endedAt == nil && expiresAt.map { $0 <= now } ?? false }

  /// Milliseconds for which the clocks of its work stood still.
  func pause(at now: Int64) -> Int64 {
    (Saturating(inactiveTime) + (inactiveSince.map { max(0, (Saturating(now) - $0).value) } ?? 0)).time
  }

  static let columns = """
    number, subscription_id, tenant_id, principal, topic, data, secret, previous_secret, previous_secret_until, \
    active, start_after, watermark, created_at, expires_at, inactive_since, inactive_ms, last_success_at, \
    last_failure_at, failed_since, last_error, window_start, window_attempts, window_failures, attempts_before, \
    failures_before, revision, ended_at, end_reason, ended_queue
    """

  init(_ row: borrowing Statement) {
    number = row.integer(0)
    subscriptionID = row.string(1)
    tenantID = row.optionalString(2)
    principal = row.optionalString(3)
    topic = row.string(4)
    data = row.json(5)
    secret = row.optionalString(6)
    previousSecret = row.optionalString(7)
    previousSecretUntil = row.optionalInteger(8)
    isActive = row.boolean(9)
    startAfter = row.optionalInteger(10)
    watermark = row.optionalInteger(11)
    createdAt = row.integer(12)
    expiresAt = row.optionalInteger(13)
    inactiveSince = row.optionalInteger(14)
    inactiveTime = row.integer(15)
    lastSuccessAt = row.optionalInteger(16)
    lastFailureAt = row.optionalInteger(17)
    failedSince = row.optionalInteger(18)
    lastError = row.optionalString(19)
    window = Window(
      start: row.integer(20), attempts: row.integer(21), failures: row.integer(22), attemptsBefore: row.integer(23),
      failuresBefore: row.integer(24))
    revision = row.integer(25)
    endedAt = row.optionalInteger(26)
    endReason = row.optionalString(27)
    endedQueue = row.string(28)
  }
}
