import Database

/// Items of a queue that take turns with others as one. In the line of its queue it has one place, for all of its items
/// that are ready; so a claim finds the next group without a look at how many wait in the one before.
struct WorkGroup {
  let number: Int64
  /// whether its items are done one at a time, in the order in which they were enqueued
  var isOrdered: Bool
  /// items that are leased
  var inFlight: Int64
  /// of the item that was enqueued last
  var lastSeq: Int64
  /// the highest position that an item had
  var lastPosition: Int64?
  /// its place in the line; nil: nothing of it can be claimed, whatever is in flight
  var line: Int64?
  /// whether nothing of it is to be claimed for now
  var isStopped: Bool

  static let columns = "is_ordered, in_flight, last_seq, last_position, line, stopped"

  /// - Parameter column: the first of ``columns``
  init(_ row: borrowing Statement, number: Int64, from column: Int32) {
    self.number = number
    isOrdered = row.boolean(column)
    inFlight = row.integer(column + 1)
    lastSeq = row.integer(column + 2)
    lastPosition = row.optionalInteger(column + 3)
    line = row.optionalInteger(column + 4)
    isStopped = row.boolean(column + 5)
  }

  fileprivate init(number: Int64, isStopped: Bool) {
    self.number = number
    self.isStopped = isStopped
    (isOrdered, inFlight, lastSeq) = (false, 0, 0)
  }
}

extension Store {
  // MARK: - The line

  /// A place at the end of the line. It goes by the clock, so that processes which do not talk to each other queue up
  /// behind one another, and never back within one, whatever the clock does.
  func endOfLine() -> Int64 {
    lastLine = max(lastLine + 1, (Saturating(now) * Self.placesOfMillisecond).time)
    return lastLine
  }

  private static let placesOfMillisecond: Int64 = 1_024

  /// When a place was taken, Unix milliseconds; not after now.
  func time(ofLine line: Int64) -> Int64 { min(now, line / Self.placesOfMillisecond) }

  // MARK: - Rows

  func workGroup(named name: String, in queue: String) throws -> WorkGroup? {
    if isShared, let known = foreseen.work.group(named: name, in: queue) { return known }
    var select = try tables.statement(
      .server,
      composed: "SELECT number, \(WorkGroup.columns) FROM work_groups WHERE queue = $1 AND name = $2" + locking)
    select.bind(1, queue)
    select.bind(2, name)
    return try select.step() ? WorkGroup(select, number: select.integer(0), from: 1) : nil
  }

  func workGroup(_ number: Int64) throws -> WorkGroup? {
    if isShared, let known = foreseen.work.group(number) { return known }
    var select = try tables.statement(
      .server, composed: "SELECT \(WorkGroup.columns) FROM work_groups WHERE number = $1" + locking)
    select.bind(1, number)
    return try select.step() ? WorkGroup(select, number: number, from: 0) : nil
  }

  /// That of an event subscription.
  func workGroup(of subscription: EventSubscription, in queue: String) throws -> WorkGroup {
    var select = try tables.statement(
      .server,
      composed: "SELECT number, \(WorkGroup.columns) FROM work_groups WHERE subscription = $1 AND queue = $2" + locking)
    select.bind(1, subscription.number)
    select.bind(2, queue)
    if try select.step() { return WorkGroup(select, number: select.integer(0), from: 1) }
    return try makeWorkGroup(named: nil, of: subscription, in: queue)
  }

  func makeWorkGroup(
    named name: String?, of subscription: EventSubscription? = nil, in queue: String
  ) throws -> WorkGroup {
    let group = WorkGroup(number: try nextRevision(), isStopped: subscription?.isActive == false)
    var insert = try tables.statement(
      .server,
      """
      INSERT INTO work_groups (number, queue, name, subscription, is_ordered, in_flight, items, last_seq,
        last_position, line, stopped)
      VALUES ($1, $2, $3, $4, 0, 0, 0, 0, NULL, NULL, $5)
      """)
    insert.bind(1, group.number)
    insert.bind(2, queue)
    insert.bind(3, name)
    insert.bind(4, subscription?.number)
    insert.bind(5, group.isStopped)
    try insert.run()
    if isShared, let name { foreseen.work.note(group, named: name, in: queue) }
    return group
  }

  /// - Parameter items: by how many rows it has become larger
  func save(_ group: WorkGroup, items: Int64 = 0) throws {
    var update = try tables.statement(
      .server,
      """
      UPDATE work_groups SET is_ordered = $1, in_flight = $2, last_seq = $3, last_position = $4, line = $5,
        items = items + $6, stopped = $7
      WHERE number = $8
      """)
    update.bind(1, group.isOrdered)
    update.bind(2, group.inFlight)
    update.bind(3, group.lastSeq)
    update.bind(4, group.lastPosition)
    update.bind(5, group.line)
    update.bind(6, items)
    update.bind(7, group.isStopped)
    update.bind(8, group.number)
    try update.run()
    foreseen.work.note(group)
  }

  /// Takes rows off a group that are gone; without any it goes too.
  func shrinkWorkGroup(_ number: Int64, by items: Int64) throws {
    var update = try tables.statement(.server, "UPDATE work_groups SET items = items - $1 WHERE number = $2")
    update.bind(1, items)
    update.bind(2, number)
    try update.run()
    var delete = try tables.statement(.server, "DELETE FROM work_groups WHERE number = $1 AND items = 0")
    delete.bind(1, number)
    try delete.run()
    foreseen.work.forget(group: number)
  }

  // MARK: - Turns

  /// Gives the group its place in the line when something of it can be claimed, and takes it when nothing can.
  func queueUp(_ group: inout WorkGroup) throws {
    group.line = try !group.isStopped && isReady(group) ? group.line ?? endOfLine() : nil
  }

  /// The same when an item of it has become ready.
  func queueUp(_ group: inout WorkGroup, withItemAt line: Int64?) throws {
    if group.isOrdered { return try queueUp(&group) }
    if !group.isStopped { group.line = group.line ?? line }
  }

  private func isReady(_ group: WorkGroup) throws -> Bool {
    // What is revived, or put back, may stand before what is being done.
    if group.isOrdered, group.inFlight > 0 { return false }
    var select =
      group.isOrdered
      ? try tables.statement(
        .server, "SELECT line FROM work WHERE work_group = $1 AND finished_at IS NULL ORDER BY seq LIMIT 1")
      : try tables.statement(
        .server, "SELECT line FROM work WHERE work_group = $1 AND line IS NOT NULL ORDER BY line LIMIT 1")
    select.bind(1, group.number)
    return try select.step() && !select.isNull(0)
  }

  /// All positions up to it are settled; nil without any.
  func watermark(_ group: WorkGroup) throws -> Int64? {
    guard let last = group.lastPosition else { return nil }
    var select = try tables.statement(
      .server,
      """
      SELECT position FROM work
      WHERE work_group = $1 AND position IS NOT NULL AND finished_at IS NULL ORDER BY position LIMIT 1
      """)
    select.bind(1, group.number)
    return try select.step() ? select.integer(0) - 1 : last
  }
}
