import Database

/// Looking at work, and what the server does with it beside the workers.
extension Store {
  /// what an item costs a sweep, in rows
  static let workRows = 2
  /// tombstones that may be too many, so that they are deleted in bulk, at most
  private static let tombstoneSlack = 64
  /// rows that are removed at a time
  private static let removedAtOnce = 500

  // MARK: - Lists

  /// The next items in the order of enqueueing after the one with the number `after`.
  /// - Parameter visit: gets each item; false ends the page before it
  /// - Returns: whether there are more
  package func listWork(
    _ selector: WorkSelector, owner: Owner, after: Int64, limit: Int, visit: (Work) throws -> Bool
  ) throws -> Bool {
    var conditions = try conditions(selector, owner)
    conditions.add("number > ?", after)
    var select = try tables.statement(
      conditions, "SELECT \(Work.columns) FROM work w", limit: limit + 1, areLarge: true)
    var count = 0
    while try select.step() {
      if try count == limit || !visit(Work(select)) { return true }
      count += 1
    }
    return false
  }

  private func conditions(_ selector: WorkSelector, _ owner: Owner) throws -> Filter {
    var conditions = Filter(visibleTo: owner)
    // By its number, which the index of its items goes by; no item has the number 0.
    if let group = selector.group {
      conditions.add("work_group = ?", try groupNumber(group, in: selector.requiredQueue("group")) ?? 0)
    } else if let subscriptionID = selector.subscriptionID {
      let queue = try selector.requiredQueue("subscription_id")
      conditions.add("work_group = ?", try groupNumber(ofSubscription: subscriptionID, in: queue) ?? 0)
    } else if let queue = selector.queue {
      conditions.add("queue = ?", queue)
    }
    if let workID = selector.workID { conditions.add("work_id = ?", workID) }
    if let status = selector.status {
      conditions.add("status = ?", status.rawValue)
      // So that the index of what is settled serves.
      conditions.add(status.isFinal ? "finished_at IS NOT NULL" : "finished_at IS NULL")
    }
    return conditions
  }

  private func groupNumber(_ name: String, in queue: String) throws -> Int64? {
    var select = try tables.statement(
      .server, "SELECT number FROM work_groups WHERE queue = $1 AND name = $2")
    select.bind(1, queue)
    select.bind(2, name)
    return try select.step() ? select.integer(0) : nil
  }

  private func groupNumber(ofSubscription subscriptionID: String, in queue: String) throws -> Int64? {
    var select = try tables.statement(
      .server,
      """
      SELECT g.number FROM work_groups AS g JOIN event_subscriptions AS s ON s.number = g.subscription
      WHERE s.subscription_id = $1 AND s.ended_at IS NULL AND g.queue = $2
      """)
    select.bind(1, subscriptionID)
    select.bind(2, queue)
    return try select.step() ? select.integer(0) : nil
  }

  // MARK: - Cancelling

  /// Removes items, whatever has become of them: their ids and those of their groups begin anew.
  /// - Returns: how many were waiting or leased
  /// - Throws: `heldByLegalHold`
  package func cancelWork(_ selector: WorkSelector, owner: Owner) throws -> Int64 {
    let conditions = try conditions(selector, owner)
    try requireWorkMayGo(conditions)
    return try removeWork(conditions).open
  }

  /// What is done says nothing any more, and need not stay.
  func requireWorkMayGo(_ conditions: Filter) throws {
    if !policies.hasHolds { return }
    var conditions = conditions
    conditions.add("status <> 'done'")
    try requireMayGo(conditions, of: "work")
  }

  /// What was removed.
  struct RemovedWork {
    var all: Int64 = 0
    /// waiting or leased
    var open: Int64 = 0
  }

  /// Removes what a filter leaves, with groups that become empty.
  /// - Throws: `heldByLegalHold`, maybe after some: ask ``requireWorkMayGo(_:)`` before
  func removeWork(_ conditions: Filter) throws -> RemovedWork {
    var removed = RemovedWork()
    while true {
      let rows = try removableWork(conditions, limit: Self.removedAtOnce)
      try removeWork(rows)
      removed.all += Int64(rows.count)
      removed.open += Int64(rows.count { !$0.status.isFinal })
      if rows.count < Self.removedAtOnce { return removed }
    }
  }

  private struct RemovableWork {
    let number: Int64
    let group: Int64?
    let status: WorkStatus
    let subscription: Int64?
    let tenantID: String?
    let principal: String?
  }

  private static let removable = "SELECT number, work_group, status, subscription, tenant_id, principal FROM work"

  private func removableWork(_ conditions: Filter, suffix: String = "", limit: Int?) throws -> [RemovableWork] {
    var select = try tables.statement(
      conditions, Self.removable, suffix: suffix, limit: limit)
    var rows: [RemovableWork] = []
    while try select.step() {
      rows.append(
        RemovableWork(
          number: select.integer(0), group: select.optionalInteger(1),
          status: WorkStatus(rawValue: select.string(2)) ?? .dead, subscription: select.optionalInteger(3),
          tenantID: select.optionalString(4), principal: select.optionalString(5)))
    }
    return rows
  }

  private func removeWork(_ rows: [RemovableWork]) throws {
    var groups: [Int64: (items: Int64, leases: Int64, open: Int64)] = [:]
    for row in rows {
      if row.status != .done { try requireMayGo(tenantID: row.tenantID, principal: row.principal) }
      var delete = try tables.statement(.server, "DELETE FROM work WHERE number = $1")
      delete.bind(1, row.number)
      try delete.run()
      foreseen.work.forget(item: row.number)
      switch row.status {
      case .waiting, .leased: counters.work -= 1
      case .done: counters.workDone -= 1
      case .dead: counters.workDead -= 1
      }
      guard let number = row.group else {
        // Nobody tells any more that the subscription has ended.
        if let subscription = row.subscription { try removeSubscription(subscription) }
        continue
      }
      var group = groups[number] ?? (0, 0, 0)
      group.items += 1
      if row.status == .leased { group.leases += 1 }
      if !row.status.isFinal { group.open += 1 }
      groups[number] = group
    }
    for (number, gone) in groups.sorted(by: { $0.key < $1.key }) {
      if gone.open > 0, var group = try workGroup(number) {
        group.inFlight -= gone.leases
        try queueUp(&group)
        try save(group)
      }
      try shrinkWorkGroup(number, by: gone.items)
    }
  }

  // MARK: - Dead letters

  /// Gives dead items all their attempts again.
  /// - Returns: how many, and whether there are more
  /// - Throws: `maxWorkReached`, `maxPrincipalWorkReached`
  package func reviveWork(_ selector: WorkSelector, owner: Owner, limit: Int) throws -> (revived: Int, hasMore: Bool) {
    var dead = selector
    dead.status = .dead
    var works: [Work] = []
    do {
      var select = try tables.statement(
        try conditions(dead, owner), "SELECT \(Work.columnsButPayload) FROM work w", limit: limit + 1)
      while try select.step() { works.append(Work(select)) }
    }
    let hasMore = works.count > limit
    // All of them or none, so that who is refused has changed nothing.
    if !works.isEmpty { try requireRoomForWork(min(works.count, limit)) }
    if limits.maxWorkPerPrincipal > 0 {
      for (owners, count) in Dictionary(
        works.prefix(limit).map { (Owners(tenantID: $0.tenantID, principal: $0.principal), 1) }, uniquingKeysWith: +)
      where try !hasRoomForWork(count, tenantID: owners.tenantID, principal: owners.principal) {
        throw StoreError.maxPrincipalWorkReached(limit: limits.maxWorkPerPrincipal)
      }
    }
    for work in works.prefix(limit) {
      let line = endOfLine()
      var update = try tables.statement(
        .server,
        """
        UPDATE work SET status = 'waiting', line = $1, attempt = 0, give_up_at = $2, finished_at = NULL
        WHERE number = $3
        """)
      update.bind(1, line)
      let pause = try work.subscriptionNumber.flatMap(eventSubscription)?.pause(at: now) ?? 0
      update.bind(2, work.giveUpAfter.map { (Saturating(now) - pause + $0).time })
      update.bind(3, work.number)
      try update.run()
      foreseen.work.forget(item: work.number)
      counters.work += 1
      counters.workDead -= 1
      if let number = work.groupNumber, var group = try workGroup(number) {
        try queueUp(&group, withItemAt: line)
        try save(group)
      }
      noteChange(ofQueue: work.queue)
    }
    return (min(works.count, limit), hasMore)
  }

  // MARK: - Tombstones

  /// Keeps what is settled from growing.
  func trimWork(_ status: WorkStatus) throws {
    let count = status == .done ? counters.workDone : counters.workDead
    let limit = Int64(limits.maxFinishedWork)
    if limit == 0 || count <= limit + min(Int64(Self.tombstoneSlack), limit / 16) { return }
    if status == .dead, policies.hasHolds {
      try removeDeadWork(due(.deadWork, at: .max, limit: Int(min(count - limit, Int64(Self.removedAtOnce)))).numbers)
      return
    }
    var oldest = Filter(.server)
    oldest.add("status = ?", status.rawValue)
    oldest.add("finished_at IS NOT NULL")
    _ = try removeTombstones(oldest, limit: Int(min(count - limit, Int64(Self.removedAtOnce))))
  }

  private func removeTombstones(_ conditions: Filter, limit: Int) throws -> Int {
    let rows = try removableWork(
      conditions, suffix: " ORDER BY finished_at, number LIMIT \(limit)\(tables.dialect.lockingWhatIsFree)", limit: nil)
    try removeWork(rows)
    return rows.count
  }

  /// Removes dead items that may go.
  private func removeDeadWork(_ numbers: [Int64]) throws {
    for number in numbers {
      var item = Filter(.server)
      item.add("number = ?", number)
      try removeWork(try removableWork(item, limit: nil))
    }
  }

  /// The same as ``sweepWork(limit:)`` where some has to stay.
  func sweepWork(_ budget: inout SliceBudget) throws -> Bool {
    if limits.workRetention == 0 { return false }
    let time = (Saturating(now) - limits.workRetention).value
    let hasMore = try budget.inChunks { limit in
      var done = Filter(.server)
      done.add("status = ?", WorkStatus.done.rawValue)
      done.add("finished_at <= ?", time)
      return Int64(try removeTombstones(done, limit: Int(limit)))
    }
    return try hasMore || sweep(.deadWork, at: time, &budget, removeDeadWork)
  }

  /// Removes tombstones whose time is over.
  /// - Returns: how many; as many as `limit` means that there may be more
  func sweepWork(limit: Int) throws -> Int64 {
    if limits.workRetention == 0 { return 0 }
    var swept = 0
    for status in [WorkStatus.done, .dead] where swept < limit {
      var old = Filter(.server)
      old.add("status = ?", status.rawValue)
      old.add("finished_at <= ?", (Saturating(now) - limits.workRetention).value)
      swept += try removeTombstones(old, limit: limit - swept)
    }
    return Int64(swept)
  }
}
