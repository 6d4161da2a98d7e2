import Database

/// Leased work. A worker claims what is ready for a time, and says what became of it; what it does not settle in time
/// is claimed again. Each claim has a fence, and whoever holds an older one changes nothing.
///
/// What is ready stands in a line, and what is not wakes at a time, when it gets its place there: so a claim looks only
/// at what it takes, however much waits, is leased or has lapsed. Waking goes on in slices with the claims.
extension Store {
  /// items that one claim gives up at most; then it says that there is more
  private static let givenUpAtMost = 256
  /// why something died whose worker was not heard of any more
  private static let lapsed = "lease_lapsed"
  private static let tooLate = "given_up"
  private static let tooMuch = "max_principal_work_reached"

  // MARK: - Enqueueing

  /// Puts an item into its queue, unless its id is there: waiting, leased, or settled not so long ago. One for an event
  /// subscription whose principal has as many as he may is dead at once, so that whoever publishes can tell the others.
  /// - Returns: whether it was stored, and the status of what is there now; nil for what is another owner's
  /// - Throws: `maxWorkReached`, `maxPrincipalWorkReached`
  package func enqueueWork(_ new: NewWork, owner: Owner) throws -> (stored: Bool, status: WorkStatus?) {
    let payload = try payload(new.payload, "payload")
    let found = try statusOfWork(new.queue, new.workID, owner)
    if found.isThere { return (false, found.status) }
    let subscription = try new.subscriptionID.map { try getEventSubscription($0, owner: owner) } ?? nil
    if new.subscriptionID != nil, subscription == nil { return (false, nil) }
    try requireRoomForWork()
    let tenantID = owner.tenant.binding ?? subscription?.tenantID
    let principal = owner.principal.binding ?? subscription?.principal
    let isTooMuch = try !hasRoomForWork(tenantID: tenantID, principal: principal)
    if isTooMuch, subscription == nil {
      throw StoreError.maxPrincipalWorkReached(limit: limits.maxWorkPerPrincipal)
    }
    var group = try new.group.map { name in
      try workGroup(named: name, in: new.queue) ?? makeWorkGroup(named: name, in: new.queue)
    }
    if let subscription { group = try workGroup(of: subscription, in: new.queue) }
    let wakesAt = isTooMuch ? nil : new.due.time(at: now)
    let line = isTooMuch || wakesAt != nil ? nil : endOfLine()
    if group != nil { group?.lastSeq += 1 }
    var insert = try tables.statement(
      .server,
      """
      INSERT INTO work (number, queue, work_id, tenant_id, principal, work_group, seq, position, status, line, wakes_at,
        attempt, max_attempts, give_up_after, give_up_at, held, enqueued_at, subscription, error, finished_at, payload)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $13, $14, 0, $15, $16, $17, $18, $19)
      """)
    insert.bind(1, try nextRevision())
    insert.bind(2, new.queue)
    insert.bind(3, new.workID)
    insert.bind(4, tenantID)
    insert.bind(5, principal)
    insert.bind(6, group?.number)
    insert.bind(7, group?.lastSeq ?? 0)
    insert.bind(8, new.position)
    insert.bind(9, isTooMuch ? WorkStatus.dead.rawValue : WorkStatus.waiting.rawValue)
    insert.bind(10, line)
    insert.bind(11, wakesAt)
    insert.bind(12, new.maxAttempts)
    insert.bind(13, new.giveUpAfter)
    // What an event subscription was not active for does not count.
    let start = (Saturating(now) - (subscription?.pause(at: now) ?? 0)).time
    insert.bind(14, new.giveUpAfter.map { (Saturating(start) + $0).time })
    insert.bind(15, now)
    insert.bind(16, subscription?.number)
    insert.bind(17, isTooMuch ? Self.tooMuch : nil)
    insert.bind(18, isTooMuch ? now : nil)
    try insert.run(binding: 19, payload)
    foreseen.forget(absentWork: new.workID, in: new.queue)
    foreseen.work.forget(new.workID, in: new.queue)
    if var group {
      if new.isOrdered { group.isOrdered = true }
      if let position = new.position { group.lastPosition = max(group.lastPosition ?? position, position) }
      try queueUp(&group, withItemAt: line)
      try save(group, items: 1)
    }
    done.workEnqueued += 1
    noteMade(Self.workRows)
    if isTooMuch {
      counters.workDead += 1
      done.workDead += 1
      try trimWork(.dead)
      return (true, .dead)
    }
    counters.work += 1
    noteChange(ofQueue: new.queue, wakesAt: wakesAt)
    return (true, .waiting)
  }

  private func statusOfWork(
    _ queue: String, _ workID: String, _ owner: Owner
  ) throws -> (isThere: Bool, status: WorkStatus?) {
    if isShared, foreseen.lacks(work: workID, in: queue) { return (false, nil) }
    var select = try tables.statement(
      .server, "SELECT status, tenant_id, principal FROM work WHERE queue = $1 AND work_id = $2")
    select.bind(1, queue)
    select.bind(2, workID)
    guard try select.step() else { return (false, nil) }
    let isSeen = owner.admits(tenant: select.optionalString(1), principal: select.optionalString(2))
    return (true, isSeen ? WorkStatus(rawValue: select.string(0)) : nil)
  }

  func requireRoomForWork(_ more: Int = 1) throws {
    if limits.maxWork > 0, counters.work + Int64(more) > Int64(limits.maxWork) {
      throw StoreError.maxWorkReached(limit: limits.maxWork)
    }
  }

  /// Whether a principal may have so many more items that wait or are leased.
  func hasRoomForWork(_ more: Int = 1, tenantID: String?, principal: String?) throws -> Bool {
    let limit = limits.maxWorkPerPrincipal
    guard limit > 0, let principal else { return true }
    var open = Filter(boundTo: Owner(tenant: tenantID.map { .named($0) } ?? .anonymous, principal: .named(principal)))
    open.add("finished_at IS NULL")
    return try tables.count(upTo: limit, from: "work", open) + Int64(more) <= Int64(limit)
  }

  // MARK: - Claiming

  /// Leases what is ready: groups take turns, those with the fewest leases first.
  /// - Parameter visit: gets each item as it is with its lease; false leaves it where it is and ends the claim
  /// - Returns: when there may be something to claim next; nil: nothing waits and nothing is leased
  package func claimWork(_ claim: WorkClaim, visit: (Work) throws -> Bool) throws -> Int64? {
    var isAwake = true
    if Self.tellsEnds(claim.queue) {
      let swept = try sweepEventSubscriptions(limit: Self.wakingSlice, endingIn: claim.queue)
      if swept == Int64(Self.wakingSlice) { isAwake = false }
    }
    let wakesAtMost = Self.wakesAtMost(claim.limit)
    // A server is asked for all at once that a claim usually wants to know.
    var look = isShared ? try foreseen.work.takeLook() ?? lookAtLine(claim.queue, limit: claim.limit) : nil
    let woken = try look?.woken ?? wokenWork(in: claim.queue, limit: wakesAtMost)
    if woken.count == wakesAtMost { isAwake = false }
    if !woken.isEmpty {
      try wake(woken)
      if isShared { look = try lookAtLine(claim.queue, limit: claim.limit) }
    }
    var (rest, givenUp, level) = (claim.limit, 0, Int64(0))
    var (isFull, hasMore) = (false, false)
    /// whether all is as the look has found it
    var isUnchanged: Bool { rest == claim.limit && givenUp == 0 }
    while rest > 0, !isFull, givenUp < Self.givenUpAtMost {
      let found =
        try look?.takeCandidates()
        ?? candidates(claim.queue, inFlight: level, limit: min(rest, Self.candidatesAtOnce))
      hasMore = found.hasMore
      if found.first.isEmpty {
        let next =
          if level == 0, isUnchanged, let look { look.level } else { try nextLevel(in: claim.queue, from: level + 1) }
        guard let next, next < claim.perGroup else { break }
        level = next
        continue
      }
      for candidate in found.first {
        if try hasLapsed(candidate) {
          givenUp += 1
          continue
        }
        if candidate.work.giveUpAt.map({ $0 <= now }) == true {
          try die(candidate.work, Self.tooLate)
          givenUp += 1
          continue
        }
        guard try lease(candidate, claim, visit) else {
          isFull = true
          break
        }
        rest -= 1
      }
    }
    if !isAwake || isFull || hasMore || givenUp >= Self.givenUpAtMost { return now }
    if let look, isUnchanged { return try sooner(look.waking, after: .min, in: claim.queue).map { max($0, now) } }
    return try nextWork(in: claim.queue, perGroup: claim.perGroup)
  }

  /// Whether the event subscription that it is for is over; then it is gone with it.
  private func hasLapsed(_ candidate: WorkCandidate) throws -> Bool {
    guard candidate.group != nil, let number = candidate.work.subscriptionNumber,
      let subscription = try eventSubscription(number), subscription.hasLapsed(at: now)
    else { return false }
    if try mayEnd(subscription) {
      try end(subscription, reason: "expired", announce: true)
    } else {
      try stopWork(of: subscription, isStopped: true)
    }
    return true
  }

  private func lease(
    _ candidate: WorkCandidate, _ claim: WorkClaim, _ visit: (Work) throws -> Bool
  ) throws -> Bool {
    var work = candidate.work
    work.status = .leased
    work.line = nil
    work.wakesAt = (Saturating(now) + claim.lease).time
    work.attempt += 1
    work.fence = try nextRevision(above: work.fence ?? 0)
    work.worker = claim.worker
    if claim.includesSubscriptions, let number = work.subscriptionNumber {
      work.subscription = try eventSubscription(number)
    }
    if try !visit(work) { return false }
    var update = try tables.statement(
      .server,
      """
      UPDATE work SET status = 'leased', line = NULL, wakes_at = $1, attempt = $2, fence = $3, held = 1, worker = $4
      WHERE number = $5
      """)
    update.bind(1, work.wakesAt)
    update.bind(2, work.attempt)
    update.bind(3, work.fence)
    update.bind(4, work.worker)
    update.bind(5, work.number)
    try update.run()
    foreseen.work.forget(item: work.number)
    if var group = candidate.group {
      group.inFlight += 1
      group.line = candidate.hasMore ? endOfLine() : nil
      try save(group)
    }
    done.workClaimed += 1
    noteChange(ofQueue: work.queue, wakesAt: work.wakesAt)
    return true
  }

  /// Gives what has woken its place in the line; or an end, where that was its last attempt.
  private func wake(_ woken: [Work]) throws {
    for work in woken {
      if work.status == .leased, work.maxAttempts.map({ work.attempt >= $0 }) == true {
        try die(work, Self.lapsed)
        continue
      }
      var update = try tables.statement(
        .server, "UPDATE work SET status = 'waiting', line = $1, wakes_at = NULL WHERE number = $2")
      let line = endOfLine()
      update.bind(1, line)
      update.bind(2, work.number)
      try update.run()
      foreseen.work.forget(item: work.number)
      guard let number = work.groupNumber, var group = try workGroup(number) else { continue }
      if work.status == .leased { group.inFlight -= 1 }
      try queueUp(&group, withItemAt: line)
      try save(group)
    }
  }

  /// An item that nobody is going to settle.
  private func die(_ work: Work, _ error: String) throws {
    try finish(work, as: .dead, error: error)
  }

  // MARK: - Holding on and settling

  /// Prolongs a lease, also one that has lapsed while it did not get back into the line.
  /// - Returns: when it ends; nil when it is not held any more
  package func renewWork(_ queue: String, _ workID: String, fence: Int64, lease: Int64) throws -> Int64? {
    guard let work = try findWork(queue, workID), work.fence == fence, work.status == .leased else { return nil }
    let end = (Saturating(now) + lease).time
    var update = try tables.statement(.server, "UPDATE work SET wakes_at = $1 WHERE number = $2")
    update.bind(1, end)
    update.bind(2, work.number)
    try update.run()
    foreseen.work.forget(item: work.number)
    noteChange(ofQueue: queue, wakesAt: end)
    return end
  }

  /// What became of a settlement.
  package struct Settled {
    /// whether the fence was the last one
    package var isHeld = false
    /// whether it had been settled before: nothing was changed
    package var wasSettled = false
    package var status: WorkStatus?
    /// of its group
    package var watermark: Int64?
  }

  /// Ends a lease.
  /// - Parameter due: of what is tried again
  package func settleWork(
    _ queue: String, _ workID: String, fence: Int64, _ outcome: WorkOutcome, due: Due, error: String?
  ) throws -> Settled {
    guard var work = try findWork(queue, workID), work.fence == fence else { return Settled() }
    if !work.isHeld {
      // What lapsed and died was taken from whoever had it.
      let wasTaken = work.status == .dead && work.error == Self.lapsed
      if wasTaken { return Settled() }
      return Settled(
        isHeld: true, wasSettled: true, status: work.status,
        watermark: try work.groupNumber.flatMap(workGroup).flatMap(watermark))
    }
    let wakesAt = due.time(at: now)
    let subscription = try work.groupNumber == nil ? nil : work.subscriptionNumber.flatMap(eventSubscription)
    let pause = subscription?.inactiveSince.map { max(0, (Saturating(now) - $0).value) } ?? 0
    let isLast = work.maxAttempts.map { work.attempt >= $0 } == true
    let isTooLate = work.giveUpAt.map { (Saturating($0) + pause).time <= wakesAt ?? now } == true
    let group: WorkGroup?
    switch outcome {
    case .done: group = try finish(work, as: .done, error: nil)
    case .dead: group = try finish(work, as: .dead, error: error)
    case .retry where isLast || isTooLate: group = try finish(work, as: .dead, error: error ?? Self.tooLate)
    case .retry: group = try putBack(&work, wakesAt, error: error)
    case .release:
      work.attempt = max(0, work.attempt - 1)
      group = try putBack(&work, wakesAt, error: error ?? work.error)
    }
    noteChange(ofQueue: queue)
    if let wakesAt { noteChange(ofQueue: queue, wakesAt: wakesAt) }
    let status: WorkStatus =
      switch outcome {
      case .done: .done
      case .dead: .dead
      case .retry: isLast || isTooLate ? .dead : .waiting
      case .release: .waiting
      }
    let watermark = try group.flatMap(watermark)
    if let subscription { try note(outcome, error: error, watermark: watermark, of: subscription) }
    return Settled(isHeld: true, status: status, watermark: watermark)
  }

  /// Puts an item back into its queue.
  private func putBack(_ work: inout Work, _ wakesAt: Int64?, error: String?) throws -> WorkGroup? {
    let line = wakesAt == nil ? endOfLine() : nil
    var update = try tables.statement(
      .server,
      """
      UPDATE work SET status = 'waiting', line = $1, wakes_at = $2, attempt = $3, held = 0, error = $4 WHERE number = $5
      """)
    update.bind(1, line)
    update.bind(2, wakesAt)
    update.bind(3, work.attempt)
    update.bind(4, error)
    update.bind(5, work.number)
    try update.run()
    foreseen.work.forget(item: work.number)
    return try leave(work, isGone: false)
  }

  /// Makes an item a tombstone.
  @discardableResult
  private func finish(_ work: Work, as status: WorkStatus, error: String?) throws -> WorkGroup? {
    let isDone = status == .done
    var update =
      isDone
      ? try tables.statement(
        .server,
        """
        UPDATE work SET status = 'done', line = NULL, wakes_at = NULL, held = 0, payload = 'null', error = $1,
          finished_at = $2 WHERE number = $3
        """)
      : try tables.statement(
        .server,
        """
        UPDATE work SET status = 'dead', line = NULL, wakes_at = NULL, held = 0, error = $1, finished_at = $2
        WHERE number = $3
        """)
    update.bind(1, error)
    update.bind(2, now)
    update.bind(3, work.number)
    try update.run()
    foreseen.work.forget(item: work.number)
    counters.work -= 1
    if isDone { counters.workDone += 1 } else { counters.workDead += 1 }
    if isDone { done.workDone += 1 } else { done.workDead += 1 }
    let group = try leave(work, isGone: true)
    // What announces an end is all that has kept the subscription.
    if work.groupNumber == nil, let number = work.subscriptionNumber {
      try removeSubscription(number)
      var update = try tables.statement(.server, "UPDATE work SET subscription = NULL WHERE number = $1")
      update.bind(1, work.number)
      try update.run()
    }
    try trimWork(status)
    return group
  }

  /// What its group is now that an item of it is not leased, or not in the line, any more.
  /// - Parameter work: as it was
  private func leave(_ work: Work, isGone: Bool) throws -> WorkGroup? {
    guard let number = work.groupNumber, var group = try workGroup(number) else { return nil }
    if work.status == .leased { group.inFlight -= 1 }
    // Of what is in the line something else than this item is, unless this one was.
    if group.isOrdered || group.line == nil || work.line != nil { try queueUp(&group) }
    try save(group)
    return group
  }

  private static let workByID = "SELECT \(Work.columnsOfState) FROM work w WHERE w.queue = $1 AND w.work_id = $2"

  /// Where an item stands.
  private func findWork(_ queue: String, _ workID: String) throws -> Work? {
    if isShared, let known = foreseen.work.item(workID, in: queue) { return known }
    var select = try tables.statement(.server, composed: Self.workByID)
    select.bind(1, queue)
    select.bind(2, workID)
    return try select.step() ? Work(select) : nil
  }
}
