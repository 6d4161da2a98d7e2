/// Security events that a request leaves whatever becomes of it: noted while it runs, recorded once it is done. So a
/// read, and a call that was refused, tell of an id that was asked for in vain, and a transaction that is taken back
/// takes none of them along.
struct PendingEvents {
  enum Event {
    /// it stands in the trail
    case logged(NewSecurityEvent)
    /// it counts against its session
    case violation(NewSecurityEvent)
  }

  private(set) var events: [Event] = []
  var callers = CallerAllowance()

  mutating func add(_ event: Event) { events.append(event) }

  mutating func take() -> [Event] {
    defer { events = [] }
    return events
  }

  mutating func keep(_ count: Int) { events.removeLast(events.count - count) }
}

/// How many events each caller may leave in a minute. It is kept by the caller and never by the id that was asked for,
/// so that nothing can be told from it about an id, and for so many callers that it does not grow.
struct CallerAllowance {
  /// callers of one minute that are told apart; all others share one allowance
  static let callers = 1_000
  private static let minute: Int64 = 60_000

  private var minute: Int64 = -1
  private var left: [Int: Int] = [:]

  /// - Parameter caller: a hash, so that names that are long take no more room than others
  mutating func take(_ caller: Int, limit: Int, at now: Int64) -> Bool {
    if now / Self.minute != minute {
      minute = now / Self.minute
      left.removeAll(keepingCapacity: true)
    }
    let caller = left[caller] == nil && left.count >= Self.callers ? 0 : caller
    let count = left[caller] ?? limit
    if count == 0 { return false }
    left[caller] = count - 1
    return true
  }
}

extension Store {
  /// what the running request has left for ``recordPendingEvents()`` so far
  package var pendingEvents: Int { pending.events.count }

  /// Notes that a session was asked for in vain. It looks at what was asked and by whom, and at nothing that is stored.
  func noteUnauthorized(session sessionID: String, owner: Owner, address: String? = nil) {
    if limits.auditUnauthorized == 0 { return }
    var event = NewSecurityEvent(
      type: .unauthorizedAccess, severity: .low, sessionID: sessionID, message: "session_not_found",
      ipAddress: address)
    event.owner = owner
    note(event)
  }

  /// The same of a task.
  func noteUnauthorized(task taskID: String, owner: Owner) {
    if limits.auditUnauthorized == 0 { return }
    var event = NewSecurityEvent(
      type: .unauthorizedAccess, severity: .low, message: "task_not_found: \(taskID)")
    event.owner = owner
    note(event)
  }

  private func note(_ event: NewSecurityEvent) {
    var caller = Hasher()
    // Whoever also asks for what has ended is nobody else.
    caller.combine(event.owner.tenant)
    caller.combine(event.owner.principal)
    caller.combine(event.ipAddress)
    if pending.callers.take(caller.finalize(), limit: limits.auditUnauthorized, at: now) {
      pending.add(.logged(event))
    }
  }

  /// What was noted behind so many is no matter after all: what was not there is made.
  package func forgetPendingEvents(from count: Int) { pending.keep(count) }

  /// Notes that a rate was denied, which counts against the session where that is asked for.
  package func noteDenial(of key: String, sessionID: String) {
    if !limits.countsDeniedRates { return }
    pending.add(
      .violation(
        NewSecurityEvent(type: .rateLimitExceeded, severity: .medium, sessionID: sessionID, message: key)))
  }
}
