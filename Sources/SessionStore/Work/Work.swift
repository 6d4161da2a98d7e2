import Database
package import JSON

/// Where an item of work stands. The last two are final.
package enum WorkStatus: String, CaseIterable, Sendable {
  case waiting, leased, done, dead

  var isFinal: Bool { self == .done || self == .dead }
}

/// What a worker says of the work that it had.
package enum WorkOutcome: String, CaseIterable, Sendable {
  case done, retry, dead
  /// It was not begun: the attempt does not count.
  case release
}

/// When something is to be done: at once, at a time, or so many milliseconds from now.
package struct Due {
  package var notBefore: Int64?
  package var delay: Int64?

  package init(notBefore: Int64? = nil, delay: Int64? = nil) {
    self.notBefore = notBefore
    self.delay = delay
  }

  /// nil: it is due
  func time(at now: Int64) -> Int64? {
    let time = notBefore ?? delay.map { (Saturating(now) + $0).time }
    return time.flatMap { $0 > now ? $0 : nil }
  }
}

/// What a caller says about an item that is to be enqueued.
package struct NewWork {
  package var queue: String
  package var workID: String
  package var payload: JSONText
  package var group: String?
  /// an event subscription, which is a group of its own in each queue
  package var subscriptionID: String?
  package var isOrdered = false
  package var position: Int64?
  package var due = Due()
  package var maxAttempts: Int64?
  /// milliseconds
  package var giveUpAfter: Int64?

  package init(queue: String, workID: String, payload: JSONText) {
    self.queue = queue
    self.workID = workID
    self.payload = payload
  }
}

/// What a worker asks for.
package struct WorkClaim {
  package var queue: String
  package var worker: String?
  /// milliseconds
  package var lease: Int64
  package var limit = 1
  /// leases that a group may have at the same time
  package var perGroup: Int64 = 1
  /// whether each item comes with the event subscription that it is for
  package var includesSubscriptions = false

  package init(queue: String, lease: Int64) {
    self.queue = queue
    self.lease = lease
  }
}

/// Which items of a queue are meant.
package struct WorkSelector {
  package var queue: String?
  package var workID: String?
  package var group: String?
  package var subscriptionID: String?
  package var status: WorkStatus?

  package init() {}

  /// - Throws: `invalidParameter` without one: a group is one of its queue
  func requiredQueue(_ parameter: String) throws -> String {
    guard let queue else {
      throw StoreError.invalidParameter(name: "queue", expected: "a queue, beside \(parameter)")
    }
    return queue
  }
}

/// An item of work.
package struct Work {
  package let number: Int64
  package let queue: String
  package let workID: String
  package let tenantID: String?
  package let principal: String?
  let groupNumber: Int64?
  package let group: String?
  /// number of the event subscription that it is for
  let subscriptionNumber: Int64?
  package let subscriptionID: String?
  /// where it was asked for
  package var subscription: EventSubscription?
  package let position: Int64?
  package var status: WorkStatus
  /// its place in the line of what is ready; nil: it is not
  var line: Int64?
  /// when what is not ready gets a place in the line: its time has come, or its lease has lapsed
  var wakesAt: Int64?
  package var attempt: Int64
  package let maxAttempts: Int64?
  let giveUpAfter: Int64?
  package let giveUpAt: Int64?
  /// of the last claim
  package var fence: Int64?
  /// whether that was not settled yet
  var isHeld: Bool
  package var worker: String?
  package let error: String?
  package let enqueuedAt: Int64
  package let finishedAt: Int64?
  package let payload: JSONText?

  package var leaseUntil: Int64? { status == .leased ? wakesAt : nil }
  package var notBefore: Int64? { status == .waiting ? wakesAt : nil }

  static let columnCount: Int32 = 24
  static let columns = columnsButPayload.dropLast(4) + "w.payload"
  static let columnsButPayload = """
    w.number, w.queue, w.work_id, w.tenant_id, w.principal, w.work_group, \
    CASE WHEN w.work_group IS NULL THEN NULL \
    ELSE (SELECT name FROM work_groups WHERE work_groups.number = w.work_group) END, \
    w.position, w.status, w.line, w.wakes_at, w.attempt, w.max_attempts, w.give_up_after, \(giveUpAt), \
    w.fence, w.held, w.worker, w.error, w.enqueued_at, w.finished_at, w.subscription, \
    CASE WHEN w.subscription IS NULL THEN NULL \
    ELSE (SELECT subscription_id FROM event_subscriptions AS s WHERE s.number = w.subscription) END, NULL
    """
  /// The same with nothing in the place of what whoever settles it has said, or does not ask for.
  static let columnsOfState = """
    w.number, '', '', NULL, NULL, w.work_group, NULL, NULL, w.status, w.line, w.wakes_at, w.attempt, w.max_attempts, \
    NULL, \(giveUpAt), w.fence, w.held, NULL, w.error, w.enqueued_at, NULL, w.subscription, NULL, NULL
    """
  // What an item has nothing of is not looked for: most have neither a group nor a subscription.
  private static let giveUpAt = """
    CASE WHEN w.subscription IS NULL OR w.give_up_at IS NULL THEN w.give_up_at ELSE w.give_up_at \
    + coalesce((SELECT inactive_ms FROM event_subscriptions AS s WHERE s.number = w.subscription), 0) END
    """

  init(_ row: borrowing Statement) {
    number = row.integer(0)
    queue = row.string(1)
    workID = row.string(2)
    tenantID = row.optionalString(3)
    principal = row.optionalString(4)
    groupNumber = row.optionalInteger(5)
    group = row.optionalString(6)
    position = row.optionalInteger(7)
    status = WorkStatus(rawValue: row.string(8)) ?? .dead
    line = row.optionalInteger(9)
    wakesAt = row.optionalInteger(10)
    attempt = row.integer(11)
    maxAttempts = row.optionalInteger(12)
    giveUpAfter = row.optionalInteger(13)
    giveUpAt = row.optionalInteger(14)
    fence = row.optionalInteger(15)
    isHeld = row.boolean(16)
    worker = row.optionalString(17)
    error = row.optionalString(18)
    enqueuedAt = row.integer(19)
    finishedAt = row.optionalInteger(20)
    subscriptionNumber = row.optionalInteger(21)
    subscriptionID = row.optionalString(22)
    payload = row.json(23)
  }
}
