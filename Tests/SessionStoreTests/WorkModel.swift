import JSON

@testable import SessionStore

/// What work and event subscriptions are, in arrays: the simplest thing that has their meaning. It shares no code with
/// the store but the types of its calls. Whatever a claim may choose among, the store has chosen, and the model says
/// whether it might.
struct WorkModel {
  struct Key: Hashable {
    var queue: String
    var id: String
  }

  struct Item: Equatable {
    var key: Key
    var tenant: String?
    var principal: String?
    /// of a name, or of a subscription
    var group: String?
    var subscription: String?
    var position: Int64?
    var status = WorkStatus.waiting
    var wakesAt: Int64?
    var attempt: Int64 = 0
    var maxAttempts: Int64?
    var fence: Int64?
    var isHeld = false
    var error: String?
    var payload: String?
    var enqueuedAt: Int64
    var finishedAt: Int64?

    var isOpen: Bool { !status.isFinal }
  }

  struct Group {
    var isOrdered = false
    var lastPosition: Int64?
  }

  struct Subscription: Equatable {
    var id: String
    var tenant: String?
    var principal: String?
    var topic: String
    var secret: String?
    var isActive: Bool
    var expiresAt: Int64?
    var watermark: Int64?
    var lastError: String?
    var hasFailed = false
  }

  struct Settled: Equatable {
    var isHeld = false
    var wasSettled = false
    var status: WorkStatus?
    var watermark: Int64?
  }

  var limits: Limits
  var now: Int64 = 0
  /// in the order of enqueueing
  var items: [Item] = []
  /// those that have items
  var groups: [Key: Group] = [:]
  /// in the order of creation
  var subscriptions: [Subscription] = []

  static func sees(_ owner: Owner, _ tenant: String?, _ principal: String?) -> Bool {
    func sees(_ claim: OwnerClaim, _ name: String?) -> Bool {
      switch claim {
      case .unspecified: true
      case .anonymous: name == nil
      case .named(let own): name == nil || name == own
      }
    }
    return sees(owner.tenant, tenant) && sees(owner.principal, principal)
  }

  private static func name(_ claim: OwnerClaim) -> String? {
    if case .named(let name) = claim { name } else { nil }
  }

  private static func group(_ name: String?, _ subscription: String?) -> String? {
    name.map { "group " + $0 } ?? subscription.map { "subscription " + $0 }
  }

  private func index(_ queue: String, _ id: String) -> Int? {
    items.firstIndex { $0.key == Key(queue: queue, id: id) }
  }

  private func groupKey(_ item: Item) -> Key? { item.group.map { Key(queue: item.key.queue, id: $0) } }

  private func members(_ item: Item) -> [Item] {
    items.filter { $0.key.queue == item.key.queue && $0.group == item.group }
  }

  // MARK: - Enqueueing

  private func openOf(_ tenant: String?, _ principal: String) -> Int {
    items.count { $0.isOpen && $0.tenant == tenant && $0.principal == principal }
  }

  private func requireRoom() throws {
    if limits.maxWork > 0, items.count(where: \.isOpen) >= limits.maxWork {
      throw StoreError.maxWorkReached(limit: limits.maxWork)
    }
  }

  private func isAtCap(_ tenant: String?, _ principal: String?) -> Bool {
    guard limits.maxWorkPerPrincipal > 0, let principal else { return false }
    return openOf(tenant, principal) >= limits.maxWorkPerPrincipal
  }

  mutating func enqueue(_ new: NewWork, owner: Owner) throws -> (stored: Bool, status: WorkStatus?) {
    if let found = index(new.queue, new.workID) {
      let item = items[found]
      return (false, Self.sees(owner, item.tenant, item.principal) ? item.status : nil)
    }
    let subscription = new.subscriptionID.flatMap { get($0, owner: owner) }
    if new.subscriptionID != nil, subscription == nil { return (false, nil) }
    try requireRoom()
    var item = Item(
      key: Key(queue: new.queue, id: new.workID), tenant: Self.name(owner.tenant) ?? subscription?.tenant,
      principal: Self.name(owner.principal) ?? subscription?.principal,
      group: Self.group(new.group, new.subscriptionID), subscription: new.subscriptionID, position: new.position,
      maxAttempts: new.maxAttempts, payload: new.payload.string, enqueuedAt: now)
    if isAtCap(item.tenant, item.principal) {
      if subscription == nil { throw StoreError.maxPrincipalWorkReached(limit: limits.maxWorkPerPrincipal) }
      (item.status, item.error, item.finishedAt) = (.dead, "max_principal_work_reached", now)
    } else if let delay = new.due.delay, delay > 0 {
      item.wakesAt = now + delay
    }
    items.append(item)
    if let key = groupKey(item) {
      var group = groups[key] ?? Group()
      if new.isOrdered { group.isOrdered = true }
      if let position = new.position { group.lastPosition = max(group.lastPosition ?? position, position) }
      groups[key] = group
    }
    return (true, item.status)
  }

  // MARK: - Claiming

  /// What has woken is ready again, or dead when that was its last attempt.
  private mutating func wake(_ queue: String) {
    for index in items.indices where items[index].key.queue == queue {
      guard let time = items[index].wakesAt, time <= now else { continue }
      items[index].wakesAt = nil
      if items[index].status == .leased, items[index].maxAttempts.map({ items[index].attempt >= $0 }) == true {
        finish(index, .dead, error: "lease_lapsed")
      } else {
        items[index].status = .waiting
      }
    }
  }

  private mutating func finish(_ index: Int, _ status: WorkStatus, error: String?) {
    items[index].status = status
    items[index].wakesAt = nil
    items[index].isHeld = false
    items[index].error = error
    items[index].finishedAt = now
    if status == .done { items[index].payload = "null" }
  }

  /// How many leases its group has; nil when it cannot be claimed whatever the limit.
  private func level(_ item: Item) -> Int? {
    guard item.status == .waiting, item.wakesAt == nil else { return nil }
    guard let key = groupKey(item) else { return 0 }
    if let id = item.subscription, subscriptions.first(where: { $0.id == id })?.isActive != true { return nil }
    let members = members(item)
    let leases = members.count { $0.status == .leased }
    if groups[key]?.isOrdered == true, leases > 0 || members.first(where: \.isOpen) != item { return nil }
    return leases
  }

  private func levels(_ queue: String, _ perGroup: Int64) -> [Int] {
    items.filter { $0.key.queue == queue }.compactMap(level).filter { $0 < perGroup }
  }

  /// What the store has leased, in that order.
  /// - Returns: what is wrong with it; and when to claim again
  mutating func claim(_ claim: WorkClaim, chosen: [Work]) -> (wrong: String?, next: Int64?) {
    wake(claim.queue)
    for work in chosen {
      guard let index = index(work.queue, work.workID) else { return ("\(work.workID) is not there", nil) }
      let levels = levels(claim.queue, claim.perGroup)
      guard let level = level(items[index]), level < claim.perGroup else {
        return ("\(work.workID) cannot be claimed: \(items[index])", nil)
      }
      if level != levels.min() { return ("\(work.workID) is not of a group with the fewest leases", nil) }
      guard let fence = work.fence, fence > items[index].fence ?? 0 else { return ("its fence does not rise", nil) }
      items[index].status = .leased
      items[index].wakesAt = now + claim.lease
      items[index].attempt += 1
      items[index].fence = fence
      items[index].isHeld = true
    }
    let isLeft = !levels(claim.queue, claim.perGroup).isEmpty
    if isLeft, chosen.count < claim.limit { return ("something that is ready was left", nil) }
    let wakings = items.filter { $0.key.queue == claim.queue }.compactMap(\.wakesAt)
    return (nil, isLeft ? now : wakings.min())
  }

  // MARK: - Holding on and settling

  mutating func renew(_ queue: String, _ id: String, fence: Int64, lease: Int64) -> Int64? {
    guard let index = index(queue, id), items[index].fence == fence, items[index].status == .leased else { return nil }
    items[index].wakesAt = now + lease
    return now + lease
  }

  private func watermark(_ item: Item) -> Int64? {
    guard let key = groupKey(item), let last = groups[key]?.lastPosition else { return nil }
    return members(item).filter(\.isOpen).compactMap(\.position).min().map { $0 - 1 } ?? last
  }

  mutating func settle(
    _ queue: String, _ id: String, fence: Int64, _ outcome: WorkOutcome, delay: Int64?, error: String?
  ) -> Settled {
    guard let index = index(queue, id), items[index].fence == fence else { return Settled() }
    let item = items[index]
    if !item.isHeld {
      if item.status == .dead, item.error == "lease_lapsed" { return Settled() }
      return Settled(isHeld: true, wasSettled: true, status: item.status, watermark: watermark(item))
    }
    let isLast = item.maxAttempts.map { item.attempt >= $0 } == true
    switch outcome {
    case .done: finish(index, .done, error: nil)
    case .dead: finish(index, .dead, error: error)
    case .retry where isLast: finish(index, .dead, error: error ?? "given_up")
    case .retry, .release:
      items[index].status = .waiting
      items[index].isHeld = false
      items[index].wakesAt = delay.flatMap { $0 > 0 ? now + $0 : nil }
      if outcome == .release { items[index].attempt = max(0, item.attempt - 1) }
      items[index].error = outcome == .release ? error ?? item.error : error
    }
    let watermark = watermark(item)
    if let place = subscriptions.firstIndex(where: { $0.id == item.subscription }) {
      if let watermark { subscriptions[place].watermark = max(subscriptions[place].watermark ?? watermark, watermark) }
      switch outcome {
      case .done: (subscriptions[place].hasFailed, subscriptions[place].lastError) = (false, nil)
      case .retry, .dead: (subscriptions[place].hasFailed, subscriptions[place].lastError) = (true, error)
      case .release: break
      }
    }
    return Settled(isHeld: true, status: items[index].status, watermark: watermark)
  }

  // MARK: - The server's own

  func matching(_ selector: WorkSelector, _ owner: Owner) -> [Item] {
    let group = Self.group(selector.group, selector.subscriptionID)
    return items.filter {
      Self.sees(owner, $0.tenant, $0.principal) && (selector.queue == nil || selector.queue == $0.key.queue)
        && (selector.workID == nil || selector.workID == $0.key.id) && (group == nil || group == $0.group)
        && (selector.status == nil || selector.status == $0.status)
    }
  }

  private mutating func remove(_ keys: Set<Key>) {
    items.removeAll { keys.contains($0.key) }
    let left = Set(items.compactMap(groupKey))
    groups = groups.filter { left.contains($0.key) }
  }

  mutating func cancel(_ selector: WorkSelector, owner: Owner) -> Int64 {
    let gone = matching(selector, owner)
    remove(Set(gone.map(\.key)))
    return Int64(gone.count(where: \.isOpen))
  }

  mutating func revive(_ selector: WorkSelector, owner: Owner, limit: Int) throws -> (Int, Bool) {
    var dead = selector
    dead.status = .dead
    let found = matching(dead, owner)
    let revived = Array(found.prefix(limit))
    if limits.maxWork > 0, !revived.isEmpty, items.count(where: \.isOpen) + revived.count > limits.maxWork {
      throw StoreError.maxWorkReached(limit: limits.maxWork)
    }
    let cap = limits.maxWorkPerPrincipal
    for item in revived where cap > 0 {
      guard let principal = item.principal else { continue }
      let more = revived.count { $0.tenant == item.tenant && $0.principal == principal }
      if openOf(item.tenant, principal) + more > cap { throw StoreError.maxPrincipalWorkReached(limit: cap) }
    }
    for item in revived {
      guard let index = index(item.key.queue, item.key.id) else { continue }
      (items[index].status, items[index].attempt, items[index].finishedAt) = (.waiting, 0, nil)
    }
    return (min(limit, found.count), found.count > limit)
  }

  // MARK: - Event subscriptions

  func get(_ id: String, owner: Owner) -> Subscription? {
    subscriptions.first { $0.id == id && Self.sees(owner, $0.tenant, $0.principal) }
  }

  mutating func put(
    _ id: String, _ grant: EventSubscriptionGrant, owner: Owner
  ) throws -> (Bool, Subscription) {
    let end = grant.ttl.flatMap { $0 == 0 ? nil : now + $0 }
    if let place = subscriptions.firstIndex(where: { $0.id == id }) {
      if get(id, owner: owner) == nil { throw StoreError.eventSubscriptionExists(id) }
      if !subscriptions[place].isActive, grant.isActive { subscriptions[place].hasFailed = false }
      subscriptions[place].topic = grant.topic
      subscriptions[place].isActive = grant.isActive
      if let secret = grant.secret { subscriptions[place].secret = secret }
      if grant.ttl != nil { subscriptions[place].expiresAt = end }
      return (false, subscriptions[place])
    }
    if limits.maxEventSubscriptions > 0, subscriptions.count >= limits.maxEventSubscriptions {
      throw StoreError.maxEventSubscriptionsReached(limit: limits.maxEventSubscriptions)
    }
    let (tenant, principal) = (Self.name(owner.tenant), Self.name(owner.principal))
    let cap = limits.maxEventSubscriptionsPerPrincipal
    if cap > 0, principal != nil,
      subscriptions.count(where: { $0.tenant == tenant && $0.principal == principal }) >= cap
    {
      throw StoreError.maxPrincipalEventSubscriptionsReached(limit: cap)
    }
    subscriptions.append(
      Subscription(
        id: id, tenant: tenant, principal: principal, topic: grant.topic, secret: grant.secret,
        isActive: grant.isActive, expiresAt: end))
    return (true, subscriptions[subscriptions.count - 1])
  }

  mutating func delete(_ id: String, owner: Owner) -> (Bool, Int64) {
    guard get(id, owner: owner) != nil else { return (false, 0) }
    let gone = items.filter { $0.subscription == id }
    remove(Set(gone.map(\.key)))
    subscriptions.removeAll { $0.id == id }
    return (true, Int64(gone.count(where: \.isOpen)))
  }
}
