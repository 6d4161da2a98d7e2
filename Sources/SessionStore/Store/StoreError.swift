/// Why the store refused a call. A refused call changed nothing.
package enum StoreError: Error, Equatable {
  case sessionNotFound(String)
  case sessionExists(String)
  case sessionExpired(String)
  case invalidSessionStatus(current: SessionStatus, requested: String)
  case maxSessionsReached(limit: Int)
  case maxUserSessionsReached(limit: Int)
  case maxEventsReached(limit: Int)
  /// `retryAfter` is milliseconds
  case maxSessionWritesReached(String, Rate, retryAfter: Int64)
  case taskNotFound(String)
  case taskExists(String)
  case invalidTransition(current: TaskStatus, requested: TaskStatus)
  case terminalState(current: TaskStatus, requested: String)
  case maxTasksReached(limit: Int)
  case maxInputKeysReached(limit: Int)
  case maxValuesReached(limit: Int)
  case maxWorkReached(limit: Int)
  case maxPrincipalWorkReached(limit: Int)
  case maxEventSubscriptionsReached(limit: Int)
  case maxPrincipalEventSubscriptionsReached(limit: Int)
  case eventSubscriptionExists(String)
  case queueFull(limit: Int)
  case maxLegalHoldsReached(limit: Int)
  case maxRetentionsReached(limit: Int)
  /// with the name of the hold
  case heldByLegalHold(String)
  case concurrentModification(revision: Int64?)
  /// `what` is the thing that is too large, with its article
  case payloadTooLarge(what: String, limit: Int)
  case invalidParameter(name: String, expected: String)
  /// another process has migrated the file since this one opened it
  case tooNew(found: Int64, supported: Int64)
  /// the write lock was not to be had within the busy timeout
  case busy(milliseconds: Int64)
  /// nothing of the copy is left
  case backupFailed(path: String, code: Int32, message: String)
  /// a commit failed in a way that leaves open whether it is on disk
  case outcomeUnknown(code: Int32, message: String)
  /// The answer to a commit was lost, and no server said in time whether it has happened; only on a server.
  case outcomeUnresolved(message: String)
  /// a database that is not a file has other ways
  case notOnServer(what: String, instead: String)
  /// The database's files are not where they were opened, or not what they were. `change` is a sentence without its
  /// full stop; what was committed as it happened may be lost or not.
  case databaseReplaced(change: String, wasCommitted: Bool)

  /// Whether nothing can be relied on any more: the process must end.
  package var endsProcess: Bool {
    switch self {
    case .outcomeUnknown, .databaseReplaced: true
    default: false
    }
  }
}

/// Why a file was not opened.
package enum OpenError: Error, Equatable {
  /// not one of ours, or damaged
  case foreign(String)
  case tooNew(found: Int64, supported: Int64)
  /// only when it is opened for reading: a program that writes would bring it up to date
  case tooOld(found: Int64, supported: Int64)
  case missing(String)
  case damaged(String)
  case cannotCreate(String)
  case locked(String)
  case inputOutput(String)
  /// while it was opened
  case replaced(String)
  /// what was given cannot name one
  case unusable(String)
  /// what a server needs is not there on this machine
  case noLibrary(String)
}
