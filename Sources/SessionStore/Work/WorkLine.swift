import Database

/// An item whose turn it is.
struct WorkCandidate {
  var work: Work
  var group: WorkGroup?
  /// whether something of its group is ready behind it
  var hasMore = false
}

/// The first of what is ready.
struct WorkCandidates {
  var first: [WorkCandidate]
  /// whether there are more behind them
  var hasMore: Bool
}

/// All that a claim usually wants to know of its queue. A server tells it in one trip.
struct WorkLook {
  let woken: [Work]
  /// of what is in the line, those of groups without a lease
  private var candidates: WorkCandidates?
  /// the next number of leases that groups in the line have
  let level: Int64?
  /// when the first of it wakes
  let waking: Int64?

  init(woken: [Work], candidates: WorkCandidates, level: Int64?, waking: Int64?) {
    self.woken = woken
    self.candidates = candidates
    self.level = level
    self.waking = waking
  }

  mutating func takeCandidates() -> WorkCandidates? {
    defer { candidates = nil }
    return candidates
  }
}

/// The same on its way.
struct WorkLookStatements: ~Copyable {
  fileprivate var woken: Statement
  fileprivate var items: Statement?
  fileprivate var groups: Statement
  fileprivate var level: Statement
  fileprivate var waking: Statement
  fileprivate let limit: Int
}

/// What of a queue can be claimed, and when there is something to claim next.
extension Store {
  /// items that one claim wakes beside twice as many as it takes
  static let wakingSlice = 32
  /// rows that a claim holds in memory
  static let candidatesAtOnce = 64

  static func wakesAtMost(_ limit: Int) -> Int { 2 * limit + wakingSlice }

  // MARK: - All at once

  func askForLook(_ queue: String, limit: Int) throws -> WorkLookStatements {
    let few = min(limit, Self.candidatesAtOnce)
    var asked = WorkLookStatements(
      woken: try woken(queue, Self.wakesAtMost(limit)), items: try firstInLine(queue, few),
      groups: try firstOfGroups(queue, inFlight: 0, few), level: try level(queue, from: 1),
      waking: try waking(queue, after: .min), limit: few)
    try asked.woken.send()
    try asked.items!.send()
    try asked.groups.send()
    try asked.level.send()
    try asked.waking.send()
    return asked
  }

  func takeLook(_ asked: inout WorkLookStatements) throws -> WorkLook {
    WorkLook(
      woken: try takeWoken(&asked.woken), candidates: try takeCandidates(&asked.items, &asked.groups, asked.limit),
      level: try asked.level.step() ? asked.level.integer(0) : nil,
      waking: try asked.waking.step() ? asked.waking.integer(0) : nil)
  }

  func lookAtLine(_ queue: String, limit: Int) throws -> WorkLook {
    var asked = try askForLook(queue, limit: limit)
    return try takeLook(&asked)
  }

  // MARK: - What has woken

  private static let wokenItems = """
    SELECT \(Work.columnsOfState) FROM work w
    WHERE w.queue = $1 AND w.wakes_at IS NOT NULL AND w.wakes_at <= $2 ORDER BY w.wakes_at, w.number LIMIT $3
    """

  private func woken(_ queue: String, _ limit: Int) throws -> Statement {
    var select = try tables.statement(.server, composed: Self.wokenItems)
    select.bind(1, queue)
    select.bind(2, now)
    select.bind(3, Int64(limit))
    return select
  }

  private func takeWoken(_ select: inout Statement) throws -> [Work] {
    var woken: [Work] = []
    while try select.step() { woken.append(Work(select)) }
    return woken
  }

  /// What has no place in the line though its time has come.
  func wokenWork(in queue: String, limit: Int) throws -> [Work] {
    var select = try woken(queue, limit)
    return try takeWoken(&select)
  }

  // MARK: - The first in line

  private static let firstItems = """
    SELECT \(Work.columns) FROM work w
    WHERE w.queue = $1 AND w.line IS NOT NULL AND w.work_group IS NULL ORDER BY w.line LIMIT $2
    """

  private func firstInLine(_ queue: String, _ limit: Int) throws -> Statement {
    var select = try tables.statement(.server, composed: Self.firstItems)
    select.bind(1, queue)
    select.bind(2, Int64(limit) + 1)
    return select
  }

  private static let firstGroups = """
    SELECT \(Work.columns), g.is_ordered, g.in_flight, g.last_seq, g.last_position, g.line, g.stopped,
      (SELECT count(*) FROM (
        SELECT 1 FROM work AS ready WHERE ready.work_group = g.number AND ready.line IS NOT NULL LIMIT 2) AS few)
    FROM (
      SELECT number, \(WorkGroup.columns),
        CASE WHEN is_ordered = 1
          THEN (SELECT first.number FROM work AS first
            WHERE first.work_group = work_groups.number AND first.finished_at IS NULL ORDER BY first.seq LIMIT 1)
          ELSE (SELECT first.number FROM work AS first
            WHERE first.work_group = work_groups.number AND first.line IS NOT NULL ORDER BY first.line LIMIT 1)
          END AS head
      FROM work_groups WHERE queue = $1 AND in_flight = $2 AND line IS NOT NULL ORDER BY line LIMIT $3
    ) AS g JOIN work AS w ON w.number = g.head ORDER BY g.line
    """

  private func firstOfGroups(_ queue: String, inFlight: Int64, _ limit: Int) throws -> Statement {
    var select = try tables.statement(.server, composed: Self.firstGroups)
    select.bind(1, queue)
    select.bind(2, inFlight)
    select.bind(3, Int64(limit) + 1)
    return select
  }

  /// The first of what is ready: of groups with so many leases each the item whose turn it is, and where that is none
  /// items without a group too.
  func candidates(_ queue: String, inFlight: Int64, limit: Int) throws -> WorkCandidates {
    var items = inFlight == 0 ? try firstInLine(queue, limit) : nil
    var groups = try firstOfGroups(queue, inFlight: inFlight, limit)
    if items != nil { try items!.send() }
    try groups.send()
    return try takeCandidates(&items, &groups, limit)
  }

  private func takeCandidates(
    _ items: inout Statement?, _ groups: inout Statement, _ limit: Int
  ) throws -> WorkCandidates {
    var (found, hasMore) = ([WorkCandidate](), false)
    while items != nil, try items!.step() {
      // It is only asked whether it is there.
      if found.count == limit {
        hasMore = true
        break
      }
      found.append(WorkCandidate(work: Work(items!), group: nil))
    }
    let ungrouped = found.count
    while try groups.step() {
      if found.count - ungrouped == limit {
        hasMore = true
        break
      }
      let work = Work(groups)
      guard let number = work.groupNumber else { continue }
      let group = WorkGroup(groups, number: number, from: Work.columnCount)
      found.append(
        WorkCandidate(
          work: work, group: group, hasMore: !group.isOrdered && groups.integer(Work.columnCount + 6) > 1))
    }
    if ungrouped == 0 || ungrouped == found.count { return WorkCandidates(first: found, hasMore: hasMore) }
    func place(_ candidate: WorkCandidate) -> Int64 { candidate.group?.line ?? candidate.work.line ?? 0 }
    return WorkCandidates(
      first: Array(found.sorted { place($0) < place($1) }.prefix(limit)), hasMore: hasMore || found.count > limit)
  }

  // MARK: - What comes next

  private func level(_ queue: String, from inFlight: Int64) throws -> Statement {
    var select = try tables.statement(
      .server,
      """
      SELECT in_flight FROM work_groups WHERE queue = $1 AND in_flight >= $2 AND line IS NOT NULL
      ORDER BY in_flight LIMIT 1
      """)
    select.bind(1, queue)
    select.bind(2, inFlight)
    return select
  }

  /// The next number of leases that groups in the line have.
  func nextLevel(in queue: String, from inFlight: Int64) throws -> Int64? {
    var select = try level(queue, from: inFlight)
    return try select.step() ? select.integer(0) : nil
  }

  private func waking(_ queue: String, after time: Int64) throws -> Statement {
    var select = try tables.statement(
      .server,
      """
      SELECT wakes_at FROM work WHERE queue = $1 AND wakes_at IS NOT NULL AND wakes_at > $2 ORDER BY wakes_at LIMIT 1
      """)
    select.bind(1, queue)
    select.bind(2, time)
    return select
  }

  /// When something of a queue can be claimed: now, or when the first of it wakes; nil when nothing waits and nothing
  /// is leased.
  func nextWork(in queue: String, perGroup: Int64) throws -> Int64? {
    var first = try tables.statement(
      .server, "SELECT line FROM work WHERE queue = $1 AND line IS NOT NULL AND work_group IS NULL LIMIT 1")
    first.bind(1, queue)
    var level = try level(queue, from: 0)
    var waking = try waking(queue, after: .min)
    try first.send()
    try level.send()
    try waking.send()
    if try first.step() { return now }
    if try level.step(), level.integer(0) < perGroup { return now }
    let time = try waking.step() ? waking.integer(0) : nil
    return try sooner(time, after: .min, in: queue).map { max($0, now) }
  }

  func nextWaking(in queue: String, after time: Int64) throws -> Int64? {
    var select = try waking(queue, after: time)
    return try sooner(try select.step() ? select.integer(0) : nil, after: time, in: queue)
  }

  /// That, or when the next event subscription lapses whose end is told there.
  func sooner(_ waking: Int64?, after time: Int64, in queue: String) throws -> Int64? {
    guard Self.tellsEnds(queue), let lapse = try nextLapse(after: time, endingIn: queue) else { return waking }
    return min(waking ?? lapse, lapse)
  }
}
