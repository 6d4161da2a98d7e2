import Foundation
import JSON
import Testing

@testable import SessionStore

/// Random calls of work and event subscriptions, on two stores of one file and on a plain model of them.
/// `MCP_SESSION_STORE_SEED` repeats a run, `MCP_SESSION_STORE_OPERATIONS` sets its length.
@Suite struct WorkModelTests {
  @Test(.ofFiles) func workDoesWhatItsModelDoes() throws {
    let environment = ProcessInfo.processInfo.environment
    let seed = environment["MCP_SESSION_STORE_SEED"].flatMap { UInt64($0) } ?? .random(in: 0...UInt64(UInt32.max))
    let operations = environment["MCP_SESSION_STORE_OPERATIONS"].flatMap { Int($0) } ?? 10_000
    let run = try WorkRun(seed: seed)
    do {
      try run.run(operations: operations)
    } catch {
      Issue.record("operation \(run.operation): \(error); repeat it with MCP_SESSION_STORE_SEED=\(seed)")
    }
    // Otherwise the run says less than it seems to. What comes by chance alone, such as a cap, has tests of its own.
    for name in WorkRun.outcomesToSee where operations >= 10_000 {
      #expect(run.outcomes[name, default: 0] > 0, "\(name) was never seen (seed \(seed))")
    }
  }
}

private final class WorkRun {
  struct Difference: Error {
    var what: String
    var store: String
    var model: String
  }

  struct Refuse: Error {}

  static let outcomesToSee = [
    "enqueue", "claim", "renew", "settle", "cancel", "revive", "list", "put", "get", "delete", "lapsed", "repeated",
    "stale", "ordered", "stopped",
  ]

  let directory: TemporaryDirectory
  let clock = Clock()
  var random: SeededGenerator
  var limits = Limits()
  var stores: [Store] = []
  var model: WorkModel
  var operation = 0
  private var opened = 0
  var outcomes: [String: Int] = [:]
  /// that were given, and what may be settled with them
  var fences: [(queue: String, id: String, fence: Int64)] = []

  init(seed: UInt64) throws {
    directory = try TemporaryDirectory()
    random = SeededGenerator(state: seed)
    model = WorkModel(limits: limits)
    try openStores()
  }

  private func openStores() throws {
    stores = []
    limits.busyTimeout = 0
    // In turn, so that each run meets each of them.
    opened += 1
    limits.maxWork = opened % 3 == 1 ? 5 : 0
    limits.maxWorkPerPrincipal = opened % 3 == 2 ? 1 : 0
    limits.maxEventSubscriptions = opened % 4 == 1 ? 2 : 0
    limits.maxEventSubscriptionsPerPrincipal = opened % 4 == 3 ? 1 : 0
    model.limits = limits
    for _ in 0..<2 {
      let environment = Environment(now: { [clock] in clock.now })
      stores.append(try TestServer.open(directory.file("work.db"), limits: limits, environment: environment))
    }
  }

  private func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
  private func chance(_ percent: Int) -> Bool { below(100) < percent }
  private func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }
  private func queue() -> String { pick(["q", "r"]) }
  private func workID() -> String { "w\(below(14))" }
  private func subscriptionID() -> String { "s\(below(5))" }
  private func group() -> String { pick(["g", "h"]) }

  private func owner() -> Owner {
    func claim(_ names: [String]) -> OwnerClaim {
      switch below(6) {
      case 0: .anonymous
      case 1...2: .named(pick(names))
      default: .unspecified
      }
    }
    return chance(50) ? .server : Owner(tenant: claim(["t"]), principal: claim(["alice", "bob"]))
  }

  // MARK: - Running

  func run(operations: Int) throws {
    while operation < operations {
      switch below(20) {
      case 0:
        try compareAll(pick(stores))
        try openStores()
      case 1:
        let store = pick(stores)
        store.beginRequest()
        _ = try store.maintain()
      default: try group(on: pick(stores))
      }
    }
    try compareAll(stores[0])
    guard case .checked(let problems, _) = try stores[0].run(.integrityCheck()) else { return }
    try same("what a check finds", problems, [])
  }

  private func group(on store: Store) throws {
    let before = model
    try store.beginGroup(waiting: 0)
    for _ in 0..<1 + below(40) {
      if chance(8) { try transaction(store) } else { try step(store) }
    }
    if chance(10) {
      store.abandonGroup()
      model = before
    } else {
      try store.commitGroup()
    }
  }

  private func transaction(_ store: Store) throws {
    let before = model
    let isRefused = chance(50)
    do {
      try store.atomically {
        for _ in 0..<1 + below(5) { try step(store) }
        if isRefused { throw Refuse() }
      }
    } catch is Refuse {
      model = before
    }
  }

  private func step(_ store: Store) throws {
    operation += 1
    clock.now += Int64(pick([0, 0, 1, 5, 40, 300]))
    if chance(1) { clock.now -= Int64(below(200)) }
    store.beginRequest()
    model.now = clock.now
    switch below(100) {
    case 0..<28: try enqueue(store)
    case 28..<48: try claim(store)
    case 48..<72: try settle(store)
    case 72..<76: try renew(store)
    case 76..<80: try cancel(store)
    case 80..<84: try revive(store)
    case 84..<88: try list(store)
    default: try subscription(store)
    }
  }

  private func same<Value: Equatable>(_ what: String, _ store: Value, _ model: Value) throws {
    if store != model { throw Difference(what: what, store: "\(store)", model: "\(model)") }
  }

  /// Runs one operation on both sides.
  private func both<Value: Equatable>(
    _ name: String, _ real: () throws -> Value, _ expected: (inout WorkModel) throws -> Value
  ) throws {
    func outcome(_ body: () throws -> Value) throws -> Result<Value, StoreError> {
      do { return .success(try body()) } catch let error as StoreError { return .failure(error) }
    }
    let store = try outcome(real)
    let before = model
    let model = try outcome { try expected(&self.model) }
    try same(name, store, model)
    switch store {
    case .success: outcomes[name, default: 0] += 1
    case .failure(let error):
      self.model = before
      outcomes[String("\(error)".prefix { $0 != "(" }), default: 0] += 1
    }
  }

  // MARK: - Work

  private func enqueue(_ store: Store) throws {
    var new = NewWork(queue: queue(), workID: workID(), payload: pick(["1", #"{"a":"b"}"#, "null"]))
    switch below(3) {
    case 0: new.group = group()
    case 1: new.subscriptionID = subscriptionID()
    default: break
    }
    if new.group != nil || new.subscriptionID != nil {
      new.isOrdered = chance(15)
      new.position = chance(40) ? Int64(1 + below(50)) : nil
    }
    new.due.delay = chance(20) ? Int64(below(400)) : nil
    new.maxAttempts = chance(50) ? Int64(1 + below(3)) : nil
    let owner = owner()
    var isStored = false
    try both("enqueue") {
      let made = try store.enqueueWork(new, owner: owner)
      isStored = made.stored
      return "\(made)"
    } _: { model in
      "\(try model.enqueue(new, owner: owner))"
    }
    if new.isOrdered, isStored { outcomes["ordered", default: 0] += 1 }
  }

  private func claim(_ store: Store) throws {
    var claim = WorkClaim(queue: queue(), lease: Int64(1 + below(1_000)))
    claim.limit = 1 + below(4)
    claim.perGroup = Int64(1 + below(3))
    var chosen: [Work] = []
    let next = try store.claimWork(claim) { work in
      chosen.append(work)
      return true
    }
    let lapsed = model.items.count { $0.error == "lease_lapsed" }
    let expected = model.claim(claim, chosen: chosen)
    try same("claim", expected.wrong, nil)
    try same("when to claim again", next, expected.next)
    if model.items.count(where: { $0.error == "lease_lapsed" }) > lapsed { outcomes["lapsed", default: 0] += 1 }
    for work in chosen {
      guard let item = model.items.first(where: { $0.key.queue == work.queue && $0.key.id == work.workID }) else {
        continue
      }
      try same("what was claimed", record(work), item)
      fences.append((work.queue, work.workID, work.fence ?? 0))
    }
    if fences.count > 30 { fences.removeFirst(fences.count - 30) }
    if !chosen.isEmpty { outcomes["claim", default: 0] += 1 }
  }

  /// One that was given, not long ago mostly.
  private func fence() -> (queue: String, id: String, fence: Int64) {
    if fences.isEmpty || chance(5) { return (queue(), workID(), Int64(below(1_000))) }
    return fences[max(0, fences.count - 1 - below(chance(70) ? 4 : 30))]
  }

  private func settle(_ store: Store) throws {
    let (queue, id, fence) = fence()
    let outcome = pick([.done, .done, .retry, .retry, .release, .dead] as [WorkOutcome])
    let delay = chance(40) ? Int64(below(300)) : nil
    let error = chance(50) ? "timeout" : nil
    var settled = WorkModel.Settled()
    try both("settle") {
      let found = try store.settleWork(queue, id, fence: fence, outcome, due: Due(delay: delay), error: error)
      settled = WorkModel.Settled(
        isHeld: found.isHeld, wasSettled: found.wasSettled, status: found.status, watermark: found.watermark)
      return settled
    } _: { model in
      model.settle(queue, id, fence: fence, outcome, delay: delay, error: error)
    }
    if settled.wasSettled { outcomes["repeated", default: 0] += 1 }
    if !settled.isHeld { outcomes["stale", default: 0] += 1 }
  }

  private func renew(_ store: Store) throws {
    let (queue, id, fence) = fence()
    let lease = Int64(1 + below(1_000))
    try both("renew") { try store.renewWork(queue, id, fence: fence, lease: lease) } _: {
      $0.renew(queue, id, fence: fence, lease: lease)
    }
  }

  private func selector() -> WorkSelector {
    var selector = WorkSelector()
    selector.queue = queue()
    switch below(4) {
    case 0: selector.group = group()
    case 1: selector.subscriptionID = subscriptionID()
    default: selector.workID = workID()
    }
    return selector
  }

  private func cancel(_ store: Store) throws {
    let (selector, owner) = (selector(), owner())
    try both("cancel") { try store.cancelWork(selector, owner: owner) } _: { $0.cancel(selector, owner: owner) }
  }

  private func revive(_ store: Store) throws {
    var selector = selector()
    if chance(50) {
      selector = WorkSelector()
      selector.queue = queue()
    }
    let (owner, limit) = (owner(), 1 + below(4))
    try both("revive") {
      let done = try store.reviveWork(selector, owner: owner, limit: limit)
      return "\(done.revived) \(done.hasMore)"
    } _: { model in
      let done = try model.revive(selector, owner: owner, limit: limit)
      return "\(done.0) \(done.1)"
    }
  }

  private func list(_ store: Store) throws {
    var selector = chance(60) ? selector() : WorkSelector()
    selector.status = pick([nil, nil] + WorkStatus.allCases)
    let owner = owner()
    try both("list") { try listed(store, selector, owner) } _: { $0.matching(selector, owner) }
  }

  private func listed(_ store: Store, _ selector: WorkSelector, _ owner: Owner) throws -> [WorkModel.Item] {
    var items: [WorkModel.Item] = []
    _ = try store.listWork(selector, owner: owner, after: 0, limit: 1_000) { work in
      items.append(record(work))
      return true
    }
    return items
  }

  private func record(_ work: Work) -> WorkModel.Item {
    WorkModel.Item(
      key: WorkModel.Key(queue: work.queue, id: work.workID), tenant: work.tenantID, principal: work.principal,
      group: work.group.map { "group " + $0 } ?? work.subscriptionID.map { "subscription " + $0 },
      subscription: work.subscriptionID, position: work.position, status: work.status, wakesAt: work.wakesAt,
      attempt: work.attempt, maxAttempts: work.maxAttempts, fence: work.fence,
      isHeld: work.status == .leased || work.isHeld, error: work.error, payload: work.payload?.string,
      enqueuedAt: work.enqueuedAt, finishedAt: work.finishedAt)
  }

  // MARK: - Event subscriptions

  private func subscription(_ store: Store) throws {
    let (id, owner) = (subscriptionID(), owner())
    switch below(8) {
    case 0...4:
      var grant = EventSubscriptionGrant(topic: pick(["orders", "bills"]))
      // Far beyond the end of the run, for sweeps choose when one that has lapsed goes.
      grant.ttl = pick([nil, 0, 1_000_000_000_000])
      grant.isActive = chance(70)
      grant.secret = pick([nil, "one", "two"])
      if !grant.isActive { outcomes["stopped", default: 0] += 1 }
      try both("put") {
        let put = try store.putEventSubscription(id, grant, owner: owner, ifRevision: nil)
        return Put(created: put.created, subscription: record(put.subscription))
      } _: { model in
        let put = try model.put(id, grant, owner: owner)
        return Put(created: put.0, subscription: put.1)
      }
    case 5:
      try both("delete") {
        let done = try store.deleteEventSubscription(id, reason: nil, announce: false, owner: owner)
        return "\(done.deleted) \(done.cancelled)"
      } _: { model in
        let done = model.delete(id, owner: owner)
        return "\(done.0) \(done.1)"
      }
    default:
      try both("get") { try store.getEventSubscription(id, owner: owner).map(record) } _: { $0.get(id, owner: owner) }
    }
  }

  private struct Put: Equatable {
    var created: Bool
    var subscription: WorkModel.Subscription
  }

  private func record(_ found: EventSubscription) -> WorkModel.Subscription {
    WorkModel.Subscription(
      id: found.subscriptionID, tenant: found.tenantID, principal: found.principal, topic: found.topic,
      secret: found.secret, isActive: found.isActive, expiresAt: found.expiresAt, watermark: found.watermark,
      lastError: found.lastError, hasFailed: found.failedSince != nil)
  }

  private func compareAll(_ store: Store) throws {
    try store.beginRead()
    defer { store.endRead() }
    store.beginRequest()
    try same("all work", try listed(store, WorkSelector(), .server), model.items)
    var subscriptions: [WorkModel.Subscription] = []
    _ = try store.listEventSubscriptions(
      topic: nil, isActive: nil, owner: .server, after: 0, limit: 1_000
    ) { found, _ in
      subscriptions.append(record(found))
      return true
    }
    try same("all event subscriptions", subscriptions, model.subscriptions)
  }
}
