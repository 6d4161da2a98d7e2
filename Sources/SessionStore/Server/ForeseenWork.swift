import Database
import JSON

/// What is foreseen of work: items that are settled or renewed, groups, and what a claim finds that is alone. Items and
/// groups that are changed in the group are told here, or forgotten.
struct ForeseenWork {
  private(set) var isEmpty = true
  /// by queue and id; nil: there is no such item
  private var numbers: [[[UInt8]]: Int64?] = [:]
  private var items: [Int64: Work] = [:]
  /// by queue and name; nil: there is no such group
  private var groupNumbers: [[[UInt8]]: Int64?] = [:]
  private var groups: [Int64: WorkGroup] = [:]
  private var look: WorkLook?

  // MARK: - Items

  /// - Returns: nil when nothing is known of it
  func item(_ workID: String, in queue: String) -> Work?? {
    guard !isEmpty, let number = numbers[[queue.exact, workID.exact]] else { return nil }
    guard let number else { return .some(nil) }
    return items[number].map { .some($0) }
  }

  fileprivate mutating func note(_ work: Work?, _ workID: String, in queue: String) {
    isEmpty = false
    numbers[[queue.exact, workID.exact]] = .some(work?.number)
    if let work { items[work.number] = work }
  }

  /// It may be there now.
  mutating func forget(_ workID: String, in queue: String) {
    if !isEmpty { numbers[[queue.exact, workID.exact]] = nil }
  }

  mutating func forget(item number: Int64) { if !isEmpty { items[number] = nil } }

  mutating func forgetItems() { if !isEmpty { items.removeAll() } }

  // MARK: - Groups

  /// - Returns: nil when nothing is known of it
  func group(_ number: Int64) -> WorkGroup? { isEmpty ? nil : groups[number] }

  /// - Returns: nil when nothing is known of it
  func group(named name: String, in queue: String) -> WorkGroup?? {
    guard !isEmpty, let number = groupNumbers[[queue.exact, name.exact]] else { return nil }
    guard let number else { return .some(nil) }
    return groups[number].map { .some($0) }
  }

  /// Notes what has become of a group that is known here.
  mutating func note(_ group: WorkGroup) {
    if !isEmpty, groups[group.number] != nil { groups[group.number] = group }
  }

  mutating func note(_ group: WorkGroup?, named name: String, in queue: String) {
    isEmpty = false
    groupNumbers[[queue.exact, name.exact]] = .some(group?.number)
    if let group { groups[group.number] = group }
  }

  fileprivate mutating func note(found group: WorkGroup) {
    isEmpty = false
    groups[group.number] = group
  }

  mutating func forget(group number: Int64) { if !isEmpty { groups[number] = nil } }

  // MARK: - Claims

  mutating func takeLook() -> WorkLook? {
    defer { look = nil }
    return look
  }

  fileprivate mutating func note(_ look: WorkLook) {
    isEmpty = false
    self.look = look
  }
}

/// The statements whose rows are foreseen, on their way.
struct ForeseenWorkStatements: ~Copyable {
  fileprivate var items: Statement?
  fileprivate var groups: Statement?
  fileprivate var namedGroups: Statement?
  fileprivate var look: WorkLookStatements?
}

extension Store {
  /// Asks for what is foreseen of work. The queues are locked by then.
  func askForWork(_ needs: Needs, _ asked: inout ForeseenWorkStatements) throws {
    if !needs.leases.isEmpty { try askForLeases(needs.leases.prefix(Foreseen.rows), &asked) }
    if !needs.workGroups.isEmpty { asked.namedGroups = try askForGroups(needs.workGroups.prefix(Foreseen.rows)) }
    // Such a queue changes before it is claimed from.
    if let claim = needs.loneClaim, !Self.tellsEnds(claim.queue) {
      asked.look = try askForLook(claim.queue, limit: claim.limit)
    }
  }

  private static let wanted = "SELECT q, n FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS TEXT[])) AS wanted (q, n)"

  private func askForLeases(
    _ names: ArraySlice<(queue: String, workID: String)>, _ asked: inout ForeseenWorkStatements
  ) throws {
    let (queues, workIDs) = (names.map(\.queue), names.map(\.workID))
    var items = try tables.statement(
      .server,
      composed: """
        SELECT \(Work.columnsOfState), w.queue, w.work_id FROM work w WHERE (w.queue, w.work_id) IN (\(Self.wanted))
        """)
    items.bind(1, texts: queues)
    items.bind(2, texts: workIDs)
    try items.send()
    asked.items = consume items
    var groups = try tables.statement(
      .server,
      composed: """
        SELECT number, \(WorkGroup.columns) FROM work_groups
        WHERE number IN (SELECT work_group FROM work WHERE (queue, work_id) IN (\(Self.wanted)))
        ORDER BY number
        """ + locking)
    groups.bind(1, texts: queues)
    groups.bind(2, texts: workIDs)
    try groups.send()
    asked.groups = consume groups
  }

  private func askForGroups(_ names: ArraySlice<(queue: String, name: String)>) throws -> Statement {
    var select = try tables.statement(
      .server,
      composed: """
        SELECT number, \(WorkGroup.columns), queue, name FROM work_groups WHERE (queue, name) IN (\(Self.wanted))
        ORDER BY number
        """ + locking)
    select.bind(1, texts: names.map(\.queue))
    select.bind(2, texts: names.map(\.name))
    try select.send()
    return select
  }

  func takeWork(_ asked: inout ForeseenWorkStatements, _ needs: Needs) throws {
    if asked.items != nil {
      for name in needs.leases.prefix(Foreseen.rows) { foreseen.work.note(nil, name.workID, in: name.queue) }
      while try asked.items!.step() {
        let name = (queue: asked.items!.string(Work.columnCount), id: asked.items!.string(Work.columnCount + 1))
        foreseen.work.note(Work(asked.items!), name.id, in: name.queue)
      }
    }
    if asked.groups != nil {
      while try asked.groups!.step() {
        foreseen.work.note(found: WorkGroup(asked.groups!, number: asked.groups!.integer(0), from: 1))
      }
    }
    if asked.namedGroups != nil {
      for name in needs.workGroups.prefix(Foreseen.rows) {
        foreseen.work.note(nil, named: name.name, in: name.queue)
      }
      while try asked.namedGroups!.step() {
        let group = WorkGroup(asked.namedGroups!, number: asked.namedGroups!.integer(0), from: 1)
        foreseen.work.note(group, named: asked.namedGroups!.string(8), in: asked.namedGroups!.string(7))
      }
    }
    if asked.look != nil { foreseen.work.note(try takeLook(&asked.look!)) }
  }
}
