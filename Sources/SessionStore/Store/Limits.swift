/// What an acknowledged write survives.
package enum Durability: String, Sendable, CaseIterable {
  /// a power cut: every commit is synced (WAL, synchronous = FULL)
  case full
  /// a killed process; a power cut may take the last commits (WAL, synchronous = NORMAL)
  case normal
}

/// The bounds of a store; 0 means none. Times are milliseconds, sizes bytes.
package struct Limits: Sendable {
  package enum EventOverflow: String, Sendable, CaseIterable { case evict, error }

  package var maxSessions = 100_000
  package var maxSessionsPerUser = 0
  package var maxEventsPerSession = 10_000
  package var eventOverflow = EventOverflow.evict
  package var maxLogEntriesPerSession = 0
  package var maxTasks = 10_000
  package var maxTaskMessages = 10_000
  /// keys that a task may ask its client for in its life
  package var maxTaskInputKeys = 10_000
  package var maxValues = 1_000_000
  /// items of work that wait or are leased
  package var maxWork = 1_000_000
  /// the same of one principal of one tenant
  package var maxWorkPerPrincipal = 0
  /// done ones that are kept as tombstones, and as many dead ones
  package var maxFinishedWork = 100_000
  /// how long a tombstone is kept; 0: for ever
  package var workRetention: Int64 = 7 * 24 * 3_600_000
  package var maxEventSubscriptions = 100_000
  package var maxEventSubscriptionsPerPrincipal = 0
  package var sessionTTL: Int64 = 24 * 3_600_000
  package var inactivityTimeout: Int64 = 30 * 60_000
  package var maxSuspension: Int64 = 7 * 24 * 3_600_000
  /// how long a session that ended can still be read by whoever asks for such; 0: not at all
  package var retainEnded: Int64 = 0
  package var maxPayloadBytes = 1 << 20
  /// message ids of one session's log that tell a repeated message; 0: ``mostKnownIDs``
  package var logDedupWindow = 10_000
  /// more than that of one session are never known: they take some 60 MiB
  static let mostKnownIDs = 1_000_000
  /// events of at least medium severity after which a session is invalidated
  package var maxViolations = 5
  /// whether input that is refused is a violation of its session
  package var countsRefusedInput = false
  /// whether a rate that is denied is a violation of its session
  package var countsDeniedRates = false
  /// ids asked for in vain that go into the audit trail, for each caller and minute; 0: none do
  package var auditUnauthorized = 0
  /// lifecycle changes that are kept, and as many security events
  package var maxAuditEvents = 10_000
  /// how long an event of the trail says what it says; 0: as long as it is kept
  package var auditRetention: Int64 = 0
  /// writes that one session takes; nil: any number
  package var sessionWrites: Rate?
  /// the whole state of one session
  package var maxStateBytes = 4 << 20
  package var idFormat = IDFormat.uuid
  /// how long a writer waits for other processes
  package var busyTimeout: Int64 = 5_000

  package init() {}
}
