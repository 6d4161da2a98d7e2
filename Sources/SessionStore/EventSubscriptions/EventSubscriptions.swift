import Database
import JSON

/// Subscriptions of others to what happens here. What they are told is work: the store keeps whom it is for, and
/// whether it goes out at all.
extension Store {
  /// The queue in which those that have ended are handed out, for whoever has to tell of it, unless they name another.
  package static let endedQueue = "ended"
  private static let endedSuffix = "/ended"
  static let subscriptionRows = 2
  /// milliseconds for which an end waits for somebody to take it
  private static let endedFor: Int64 = 7 * 24 * 3_600_000
  /// what the longest grant leaves room for
  private static let lapsedAtOnce = 16

  /// Whether ends can be told in a queue. Its name says so, because each claim of such a one looks for what lapses.
  package static func tellsEnds(_ queue: String) -> Bool {
    queue == endedQueue || queue.utf8.suffix(endedSuffix.utf8.count).elementsEqual(endedSuffix.utf8)
  }

  // MARK: - Finding

  /// The subscription that has the id, also when it has lapsed; whoever's it is.
  private func liveSubscription(_ subscriptionID: String) throws -> EventSubscription? {
    var select = try tables.statement(
      .server,
      composed: "SELECT \(EventSubscription.columns) FROM event_subscriptions "
        + "WHERE subscription_id = $1 AND ended_at IS NULL" + locking)
    select.bind(1, subscriptionID)
    return try select.step() ? EventSubscription(select) : nil
  }

  /// - Returns: also one that has ended
  func eventSubscription(_ number: Int64) throws -> EventSubscription? {
    var select = try tables.statement(
      .server,
      composed: "SELECT \(EventSubscription.columns) FROM event_subscriptions WHERE number = $1" + locking)
    select.bind(1, number)
    return try select.step() ? EventSubscription(select) : nil
  }

  /// nil: there is none that lives, or it is another's
  package func getEventSubscription(_ subscriptionID: String, owner: Owner) throws -> EventSubscription? {
    guard let found = try liveSubscription(subscriptionID), !found.hasLapsed(at: now),
      owner.admits(tenant: found.tenantID, principal: found.principal)
    else { return nil }
    return found
  }

  /// The next subscriptions in the order of creation after the one with the number `after`.
  /// - Parameter visit: gets each; false ends the page before it
  /// - Returns: whether there are more
  package func listEventSubscriptions(
    topic: String?, isActive: Bool?, owner: Owner, after: Int64, limit: Int,
    visit: (EventSubscription, Int64) throws -> Bool
  ) throws -> Bool {
    var conditions = Filter(visibleTo: owner)
    conditions.add("ended_at IS NULL")
    conditions.add("coalesce(expires_at > ?, true)", now)
    if let topic { conditions.add("topic = ?", topic) }
    if let isActive { conditions.add("active = ?", isActive ? 1 : 0) }
    conditions.add("number > ?", after)
    var select = try tables.statement(
      conditions, "SELECT \(EventSubscription.columns) FROM event_subscriptions", limit: limit + 1, areLarge: true)
    var count = 0
    while try select.step() {
      let found = EventSubscription(select)
      if try count == limit || !visit(found, found.number) { return true }
      count += 1
    }
    return false
  }

  // MARK: - Granting

  /// Makes a subscription, or grants it anew.
  /// - Throws: `eventSubscriptionExists` for an id that is another owner's, `concurrentModification`,
  ///   `maxEventSubscriptionsReached`, `maxPrincipalEventSubscriptionsReached`
  package func putEventSubscription(
    _ subscriptionID: String, _ grant: EventSubscriptionGrant, owner: Owner, ifRevision: Int64?
  ) throws -> (created: Bool, subscription: EventSubscription) {
    let data = try grant.data.map { try payload($0, "data") }
    var found = try liveSubscription(subscriptionID)
    let lives = found.map { !$0.hasLapsed(at: now) } ?? false
    if let found, lives, !owner.admits(tenant: found.tenantID, principal: found.principal) {
      throw StoreError.eventSubscriptionExists(subscriptionID)
    }
    if let ifRevision, !lives || found?.revision != ifRevision {
      throw StoreError.concurrentModification(revision: lives ? found?.revision : nil)
    }
    if !lives {
      try requireRoomForSubscription(replacing: found != nil)
      try requireRoomForSubscription(of: owner)
    }
    // One that has to stay is granted anew with all that it had.
    if let lapsed = found, !lives, try mayEnd(lapsed) {
      _ = try end(lapsed, reason: "expired", announce: true)
      found = nil
    }
    let expiresAt = grant.ttl.flatMap { $0 == 0 ? nil : (Saturating(now) + $0).time }
    guard var subscription = found else {
      if let expiresAt { noteChange(ofQueue: grant.endedQueue ?? Self.endedQueue, wakesAt: expiresAt) }
      return (true, try makeSubscription(subscriptionID, grant, data, expiresAt, owner))
    }
    subscription.topic = grant.topic
    if let data { subscription.data = data.text }
    if let secret = grant.secret, secret != subscription.secret {
      if let old = subscription.secret, grant.secretGrace > 0 {
        subscription.previousSecret = old
        subscription.previousSecretUntil = (Saturating(now) + grant.secretGrace).time
      }
      subscription.secret = secret
    }
    if grant.ttl != nil || !lives { subscription.expiresAt = expiresAt }
    if let queue = grant.endedQueue { subscription.endedQueue = queue }
    if let end = subscription.expiresAt { noteChange(ofQueue: subscription.endedQueue, wakesAt: end) }
    subscription.revision = try nextRevision(above: subscription.revision)
    if grant.isActive != subscription.isActive || (grant.isActive && !lives) {
      try turn(&subscription, isActive: grant.isActive)
    }
    try saveGrant(subscription, data)
    return (!lives, subscription)
  }

  private func requireRoomForSubscription(replacing: Bool) throws {
    let limit = Int64(limits.maxEventSubscriptions)
    if limit == 0 || replacing { return }
    if policies.hasHolds {
      // What has to stay takes nobody's place.
      if counters.eventSubscriptions < limit { return }
      _ = try endLapsedEventSubscriptions(due(.eventSubscriptions, at: now, limit: Self.lapsedAtOnce).numbers)
      if try counters.eventSubscriptions - lapsedEventSubscriptions() < limit { return }
      throw StoreError.maxEventSubscriptionsReached(limit: limits.maxEventSubscriptions)
    }
    while counters.eventSubscriptions >= limit {
      if try sweepEventSubscriptions(limit: Self.lapsedAtOnce) == 0 {
        throw StoreError.maxEventSubscriptionsReached(limit: limits.maxEventSubscriptions)
      }
    }
  }

  /// Lapsed ones do not count.
  private func requireRoomForSubscription(of owner: Owner) throws {
    let limit = limits.maxEventSubscriptionsPerPrincipal
    guard limit > 0, let principal = owner.principal.binding else { return }
    let tenant = owner.tenant.binding.map { OwnerClaim.named($0) } ?? .anonymous
    var live = Filter(boundTo: Owner(tenant: tenant, principal: .named(principal)))
    live.add("ended_at IS NULL")
    live.add("coalesce(expires_at > ?, true)", now)
    if try tables.count(upTo: limit, from: "event_subscriptions", live) >= Int64(limit) {
      throw StoreError.maxPrincipalEventSubscriptionsReached(limit: limit)
    }
  }

  private func makeSubscription(
    _ subscriptionID: String, _ grant: EventSubscriptionGrant, _ data: Payload?, _ expiresAt: Int64?, _ owner: Owner
  ) throws -> EventSubscription {
    let number = try nextRevision()
    var insert = try tables.statement(
      .server,
      """
      INSERT INTO event_subscriptions (number, subscription_id, tenant_id, principal, topic, data, secret, active,
        start_after, watermark, created_at, expires_at, inactive_since, inactive_ms, window_start, window_attempts,
        window_failures, attempts_before, failures_before, revision, ended_queue)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, 0, 0, 0, 0, $14, $15)
      """)
    insert.bind(1, number)
    insert.bind(2, subscriptionID)
    insert.bind(3, owner.tenant.binding)
    insert.bind(4, owner.principal.binding)
    insert.bind(5, grant.topic)
    insert.bind(6, data)
    insert.bind(7, grant.secret)
    insert.bind(8, grant.isActive)
    insert.bind(9, grant.startAfter)
    insert.bind(10, grant.startAfter)
    insert.bind(11, now)
    insert.bind(12, expiresAt)
    insert.bind(13, grant.isActive ? nil : now)
    insert.bind(14, number)
    insert.bind(15, grant.endedQueue ?? Self.endedQueue)
    try insert.run()
    counters.eventSubscriptions += 1
    noteMade(Self.subscriptionRows)
    guard let made = try eventSubscription(number) else {
      throw DatabaseError.corrupt("an event subscription is not there that was just made")
    }
    return made
  }

  private func saveGrant(_ subscription: EventSubscription, _ data: Payload?) throws {
    if let data {
      var update = try tables.statement(.server, "UPDATE event_subscriptions SET data = $1 WHERE number = $2")
      update.bind(1, data)
      update.bind(2, subscription.number)
      try update.run()
    }
    var update = try tables.statement(
      .server,
      """
      UPDATE event_subscriptions SET topic = $1, secret = $2, previous_secret = $3, previous_secret_until = $4,
        active = $5, expires_at = $6, inactive_since = $7, inactive_ms = $8, failed_since = $9, window_start = $10,
        window_attempts = $11, window_failures = $12, attempts_before = $13, failures_before = $14, revision = $15,
        ended_queue = $16
      WHERE number = $17
      """)
    update.bind(1, subscription.topic)
    update.bind(2, subscription.secret)
    update.bind(3, subscription.previousSecret)
    update.bind(4, subscription.previousSecretUntil)
    update.bind(5, subscription.isActive)
    update.bind(6, subscription.expiresAt)
    update.bind(7, subscription.inactiveSince)
    update.bind(8, subscription.inactiveTime)
    update.bind(9, subscription.failedSince)
    update.bind(10, subscription.window.start)
    update.bind(11, subscription.window.attempts)
    update.bind(12, subscription.window.failures)
    update.bind(13, subscription.window.attemptsBefore)
    update.bind(14, subscription.window.failuresBefore)
    update.bind(15, subscription.revision)
    update.bind(16, subscription.endedQueue)
    update.bind(17, subscription.number)
    try update.run()
  }

  /// Suspends a subscription or revives it: its work is not claimed meanwhile, and its clocks stand still.
  private func turn(_ subscription: inout EventSubscription, isActive: Bool) throws {
    subscription.isActive = isActive
    // The time for which it is not active does not count for its work.
    foreseen.work.forgetItems()
    if isActive {
      subscription.inactiveTime = subscription.pause(at: now)
      subscription.inactiveSince = nil
      // What went before must not suspend it again at once.
      (subscription.window, subscription.failedSince) = (EventSubscription.Window(), nil)
    } else {
      subscription.inactiveSince = now
    }
    try stopWork(of: subscription, isStopped: !isActive)
  }

  func stopWork(of subscription: EventSubscription, isStopped: Bool) throws {
    let groups = try workGroups(of: subscription.number)
    try lockQueues(Set(groups.map(\.queue)))
    for (number, queue) in groups {
      guard var group = try workGroup(number) else { continue }
      group.isStopped = isStopped
      try queueUp(&group)
      try save(group)
      noteChange(ofQueue: queue)
    }
  }

  private func workGroups(of subscription: Int64) throws -> [(number: Int64, queue: String)] {
    var select = try tables.statement(
      .server, "SELECT number, queue FROM work_groups WHERE subscription = $1 ORDER BY number")
    select.bind(1, subscription)
    var groups: [(number: Int64, queue: String)] = []
    while try select.step() { groups.append((select.integer(0), select.string(1))) }
    return groups
  }

  // MARK: - Ending

  /// Ends a subscription.
  /// - Parameter announce: whether somebody is to be told of it
  /// - Returns: whether there was one, and how much of its work was not done
  package func deleteEventSubscription(
    _ subscriptionID: String, reason: String?, announce: Bool, owner: Owner
  ) throws -> (deleted: Bool, cancelled: Int64) {
    guard let found = try getEventSubscription(subscriptionID, owner: owner) else { return (false, 0) }
    try requireMayEnd(found)
    return (true, try end(found, reason: reason ?? "deleted", announce: announce))
  }

  /// - Throws: `heldByLegalHold` when it has to stay, or some of its work
  func requireMayEnd(_ subscription: EventSubscription) throws {
    try requireMayGo(tenantID: subscription.tenantID, principal: subscription.principal)
    if !policies.hasHolds { return }
    var items = Filter(.server)
    items.add("work_group IN (SELECT number FROM work_groups WHERE subscription = ?)", [.integer(subscription.number)])
    try requireWorkMayGo(items)
  }

  func mayEnd(_ subscription: EventSubscription) throws -> Bool {
    do {
      try requireMayEnd(subscription)
      return true
    } catch StoreError.heldByLegalHold {
      return false
    }
  }

  /// Removes its work, and leaves it itself as what somebody is to tell of.
  /// - Returns: items that were waiting or leased
  /// - Throws: `heldByLegalHold`
  @discardableResult
  func end(_ subscription: EventSubscription, reason: String, announce: Bool) throws -> Int64 {
    try requireMayEnd(subscription)
    let groups = try workGroups(of: subscription.number)
    try lockQueues(Set(groups.map(\.queue) + [subscription.endedQueue]))
    var cancelled: Int64 = 0
    for group in groups {
      var items = Filter(.server)
      items.add("work_group = ?", group.number)
      cancelled += try removeWork(items).open
    }
    counters.eventSubscriptions -= 1
    let isFull = limits.maxWork > 0 && counters.work >= Int64(limits.maxWork)
    if !announce || isFull {
      try removeSubscription(subscription.number)
      return cancelled
    }
    var update = try tables.statement(
      .server, "UPDATE event_subscriptions SET ended_at = $1, end_reason = $2 WHERE number = $3")
    update.bind(1, now)
    update.bind(2, reason)
    update.bind(3, subscription.number)
    try update.run()
    try enqueueEnd(of: subscription)
    return cancelled
  }

  private func enqueueEnd(of subscription: EventSubscription) throws {
    let made = makeIdentifier(.uuid)
    var insert = try tables.statement(
      .server,
      """
      INSERT INTO work (number, queue, work_id, tenant_id, principal, subscription, seq, status, line, attempt,
        give_up_after, give_up_at, held, enqueued_at, payload)
      VALUES ($1, $2, $3, $4, $5, $6, 0, 'waiting', $7, 0, $8, $9, 0, $10, 'null')
      """)
    insert.bind(1, try nextRevision())
    insert.bind(2, subscription.endedQueue)
    insert.bind(3, made.text)
    insert.bind(4, subscription.tenantID)
    insert.bind(5, subscription.principal)
    insert.bind(6, subscription.number)
    insert.bind(7, endOfLine())
    insert.bind(8, Self.endedFor)
    insert.bind(9, (Saturating(now) + Self.endedFor).time)
    insert.bind(10, now)
    try insert.run()
    note(made)
    counters.work += 1
    done.workEnqueued += 1
    noteMade(Self.workRows)
    noteChange(ofQueue: subscription.endedQueue)
  }

  /// Removes the row of one that has ended, and nothing else.
  func removeSubscription(_ number: Int64) throws {
    var delete = try tables.statement(.server, "DELETE FROM event_subscriptions WHERE number = $1")
    delete.bind(1, number)
    try delete.run()
  }

  /// Ends those whose time is over, unless their work has to stay.
  /// - Returns: how many
  @discardableResult
  func endLapsedEventSubscriptions(_ numbers: [Int64]) throws -> Int64 {
    var ended: Int64 = 0
    for number in numbers {
      guard let lapsed = try eventSubscription(number), try mayEnd(lapsed) else { continue }
      try end(lapsed, reason: "expired", announce: true)
      ended += 1
    }
    return ended
  }

  /// Ends those whose time is over.
  /// - Parameter queue: only those whose end is told in it
  /// - Returns: how many; as many as `limit` means that there may be more
  func sweepEventSubscriptions(limit: Int, endingIn queue: String? = nil) throws -> Int64 {
    if policies.hasHolds {
      return try endLapsedEventSubscriptions(due(.eventSubscriptions, at: now, limit: limit).numbers)
    }
    var lapsed: [EventSubscription] = []
    do {
      var select = try tables.statement(
        .server,
        composed: """
          SELECT \(EventSubscription.columns) FROM event_subscriptions
          WHERE ended_at IS NULL AND expires_at IS NOT NULL AND expires_at <= $1\(
            queue == nil ? "" : " AND ended_queue = $2")
          ORDER BY expires_at, number LIMIT $\(queue == nil ? 2 : 3)\(tables.dialect.lockingWhatIsFree)
          """)
      select.bind(1, now)
      if let queue { select.bind(2, queue) }
      select.bind(queue == nil ? 2 : 3, Int64(limit))
      while try select.step() { lapsed.append(EventSubscription(select)) }
    }
    for subscription in lapsed { try end(subscription, reason: "expired", announce: true) }
    return Int64(lapsed.count)
  }

  /// When the next one lapses after a time whose end is told in a queue; nil: none does.
  func nextLapse(after time: Int64, endingIn queue: String) throws -> Int64? {
    var select = try tables.statement(
      .server,
      """
      SELECT expires_at FROM event_subscriptions
      WHERE ended_queue = $1 AND ended_at IS NULL AND expires_at IS NOT NULL AND expires_at > $2
      ORDER BY expires_at LIMIT 1
      """)
    select.bind(1, queue)
    select.bind(2, time)
    return try select.step() ? select.integer(0) : nil
  }

  // MARK: - How it goes

  /// Notes what became of an attempt to tell a subscriber.
  func note(_ settled: WorkOutcome, error: String?, watermark: Int64?, of subscription: EventSubscription) throws {
    var subscription = subscription
    if let watermark { subscription.watermark = max(subscription.watermark ?? watermark, watermark) }
    if settled != .release {
      subscription.window = subscription.window.seen(at: now)
      subscription.window.attempts += 1
    }
    switch settled {
    case .done:
      subscription.lastSuccessAt = now
      (subscription.failedSince, subscription.lastError) = (nil, nil)
    case .retry, .dead:
      subscription.lastFailureAt = now
      subscription.failedSince = subscription.failedSince ?? now
      subscription.lastError = error
      subscription.window.failures += 1
    case .release: break
    }
    var update = try tables.statement(
      .server,
      """
      UPDATE event_subscriptions SET watermark = $1, last_success_at = $2, last_failure_at = $3, failed_since = $4,
        last_error = $5, window_start = $6, window_attempts = $7, window_failures = $8, attempts_before = $9,
        failures_before = $10
      WHERE number = $11
      """)
    update.bind(1, subscription.watermark)
    update.bind(2, subscription.lastSuccessAt)
    update.bind(3, subscription.lastFailureAt)
    update.bind(4, subscription.failedSince)
    update.bind(5, subscription.lastError)
    update.bind(6, subscription.window.start)
    update.bind(7, subscription.window.attempts)
    update.bind(8, subscription.window.failures)
    update.bind(9, subscription.window.attemptsBefore)
    update.bind(10, subscription.window.failuresBefore)
    update.bind(11, subscription.number)
    try update.run()
  }
}
