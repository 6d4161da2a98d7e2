import Database
package import JSON

/// Where a session stands in its life.
package enum SessionStatus: String, Sendable, CaseIterable {
  case pending, active, suspended, expired, invalidated, resolved

  /// Whether nothing is left to do with it: its id is free, and only a sweep has not come by yet, or it is kept.
  package var isOver: Bool { self == .expired || self == .resolved }
}

/// A session as callers see it.
package struct Session {
  package var sessionID: String
  package var status: SessionStatus
  package var userID: String?
  package var tenantID: String?
  package var principal: String?
  package var clientCapabilities: JSONText?
  package var serverCapabilities: JSONText?
  /// the key-value map as one object, in the order in which its keys were first set; nil when it was not asked for
  package var state: JSONText?
  package var metadata: JSONText
  package var isInitialized: Bool
  package var createdAt: Int64
  package var lastActivity: Int64
  package var expiresAt: Int64?
  package var inactivityTimeout: Int64?
  package var suspendedAt: Int64?
  /// by all suspensions that are over
  package var suspendedTime: Int64
  /// how many of them there were
  package var suspensions: Int64
  /// nil while it lives
  package var endedAt: Int64?
  /// whether the store keeps what has ended; without it nobody is told of an end
  package var tellsEnd: Bool
  package var lastEventID: Int64
  package var revision: Int64
}

/// What every call on a session needs to know of it: small, cached, and written at most once per group.
struct SessionRow {
  let number: SessionNumber
  let sessionID: String
  let tenantID: String?
  let principal: String?
  var status: SessionStatus { didSet { isDirtyInIndexes = true } }
  var lastActivity: Int64
  var expiresAt: Int64?
  var inactivityTimeout: Int64?
  var suspendedAt: Int64? { didSet { isDirtyInIndexes = true } }
  var lastEventID: Int64
  /// events up to this id are gone for every reader
  var eventFloor: Int64
  /// events up to this id are deleted
  var eventTrimmed: Int64
  var stateBytes: Int64
  var revision: Int64
  var lastLogSeq: Int64 = 0
  /// log entries up to this seq are gone
  var logFloor: Int64 = 0
  /// seq of the newest checkpoint in the log; 0: none
  var logCheckpoint: Int64 = 0
  /// message ids that the log has noted so far
  var logIDs: Int64 = 0
  /// those of entries up to this seq stand in blocks
  var logIDsSeq: Int64 = 0
  /// When it ended; nil while it lives, and nothing is awaited of it by `checkAt` from then on. 0: its rows are being
  /// removed, and nobody sees it any more.
  var endedAt: Int64? { didSet { isDirtyInIndexes = true } }
  /// not after the earliest deadline; it is not moved on every touch, the sweep does that when it comes by
  var checkAt: Int64?
  /// what its last write left of its allowance: see ``Rate``
  var writeArrival: Int64?

  // What is said of its owners: ``Store/underPolicies(_:)`` fills it in.

  /// whether nothing of it may go
  var isHeld = false
  /// milliseconds; -1: as the options say
  var ownRetainEnded: Int64 = -1
  var ownMaxEvents: Int64 = -1
  var ownMaxLogEntries: Int64 = -1

  /// where ``OpenChunks`` has what was added to its events
  var openChunk: Int32 = -1
  var isDirty = false
  /// whether something of it that stands in an index has changed
  var isDirtyInIndexes = false

  func admits(_ owner: Owner) -> Bool { owner.admits(tenant: tenantID, principal: principal) }

  // For rows in the cache; see there why they are mutating.
  mutating func admitsInPlace(_ owner: Owner) -> Bool { admits(owner) }
  mutating func statusInPlace(at now: Int64, _ limits: Limits) -> SessionStatus { status(at: now, limits) }

  /// The moment from which the session counts as expired; nil: never.
  func deadline(_ limits: Limits) -> Int64? {
    // An invalidated one can be looked at as long as it is kept.
    if let endedAt, endedAt > 0, limits.retainEnded > 0, !status.isOver {
      return (Saturating(endedAt) + retainEnded(limits)).value
    }
    if endedAt != nil { return 0 }
    switch status {
    case .expired, .resolved: return 0
    case .suspended:
      guard limits.maxSuspension > 0, let suspendedAt else { return nil }
      return (Saturating(suspendedAt) + limits.maxSuspension).value
    case .pending, .active, .invalidated:
      let inactive = inactivityTimeout.map { (Saturating(lastActivity) + $0).value }
      guard let expiresAt else { return inactive }
      return min(expiresAt, inactive ?? expiresAt)
    }
  }

  /// The status with the deadlines taken into account; they are inclusive.
  func status(at now: Int64, _ limits: Limits) -> SessionStatus {
    guard let deadline = deadline(limits), now >= deadline else { return status }
    return status == .resolved ? .resolved : .expired
  }

  /// Slides the inactivity deadline: backwards too, when the last activity lay in the future (a clock that was set
  /// back, a migrated session).
  mutating func touch(_ now: Int64, _ limits: Limits) {
    let isEarlier = now < lastActivity
    lastActivity = now
    if isEarlier { rearm(limits) }
  }

  /// Brings `checkAt` forward when the deadline came nearer.
  mutating func rearm(_ limits: Limits) {
    guard let deadline = deadline(limits) else { return }
    if let checkAt, checkAt <= deadline { return }
    checkAt = deadline
    isDirtyInIndexes = true
  }

  var eventCount: Int64 { lastEventID - eventFloor }
  var logCount: Int64 { lastLogSeq - logFloor }
  /// of events that are not deleted, evicted ones among them
  var eventRows: Int64 { lastEventID - eventTrimmed }

  /// Rows of all tables that can belong to it, beside its own: each entry of the state counts six bytes at least.
  var rowsAtMost: Int64 {
    eventRows + logCount + stateBytes / 6 + (eventTrimmed > 0 ? Store.lossStreams : 0)
      + logIDs / Store.blockIDs + min(lastLogSeq, Store.maxParticipants + 1)
  }
}

/// What only the whole record of a session shows beside its row. A class, because it is kept for few rows of the cache.
final class SessionDetails {
  /// the session's, which every change of what is here renews
  let revision: Int64
  let userID: String?
  let clientCapabilities: JSONText?
  let serverCapabilities: JSONText?
  let metadata: JSONText
  let isInitialized: Bool
  let createdAt: Int64
  let suspendedTime: Int64
  let suspensions: Int64
  /// nil when it was not asked for
  let state: JSONText?
  /// about what keeping it takes
  let bytes: Int

  /// The same at another revision.
  /// - Parameter suspensions: how long they were by now and how many, when that has changed
  func of(revision: Int64, _ suspensions: (time: Int64, count: Int64)?) -> SessionDetails {
    SessionDetails(
      revision: revision, userID: userID, clientCapabilities: clientCapabilities,
      serverCapabilities: serverCapabilities, metadata: metadata, isInitialized: isInitialized, createdAt: createdAt,
      suspendedTime: suspensions?.time ?? suspendedTime, suspensions: suspensions?.count ?? self.suspensions,
      state: state)
  }

  /// what ``init(_:revision:state:)`` reads
  static let columns: StaticString = """
    user_id, client_capabilities, server_capabilities, metadata, is_initialized, created_at,
      coalesce(suspended_ms, 0), coalesce(suspensions, 0)
    """

  convenience init(_ row: borrowing Statement, revision: Int64, state: JSONText?) {
    self.init(
      revision: revision, userID: row.optionalString(0), clientCapabilities: row.json(1),
      serverCapabilities: row.json(2), metadata: row.json(3) ?? .emptyObject, isInitialized: row.boolean(4),
      createdAt: row.integer(5), suspendedTime: row.integer(6), suspensions: row.integer(7), state: state)
  }

  init(
    revision: Int64, userID: String?, clientCapabilities: JSONText?, serverCapabilities: JSONText?,
    metadata: JSONText, isInitialized: Bool, createdAt: Int64, suspendedTime: Int64 = 0, suspensions: Int64 = 0,
    state: JSONText?
  ) {
    self.revision = revision
    self.userID = userID
    self.clientCapabilities = clientCapabilities
    self.serverCapabilities = serverCapabilities
    self.metadata = metadata
    self.isInitialized = isInitialized
    self.createdAt = createdAt
    self.suspendedTime = suspendedTime
    self.suspensions = suspensions
    self.state = state
    bytes =
      512 + (clientCapabilities?.bytes.count ?? 0) + (serverCapabilities?.bytes.count ?? 0) + metadata.bytes.count
      + (state?.bytes.count ?? 0)
  }
}
