import Database

/// One of the processes that write to the tables of a server at the same time. No row is written by all of them: each
/// counts in a row of its own of table `store`, and gives out numbers from blocks of its own.
final class Writer {
  let server: Database.Server
  private let connection: Database.Connection
  /// which row of `store` is its own; nil for a process that only reads
  private let id: Int64?
  /// of the group that is open, or was last; in its own row once that is committed
  private var groupNumber: Int64 = 0
  var numbers = Numbers()
  /// the connection on which they were drawn
  private var connectionCount = 0

  /// What is left to give out.
  struct Numbers {
    var revisions = NumberBlock(sequence: "revisions", size: 1_024)
    var auditNumbers = NumberBlock(sequence: "audit_numbers", size: 64)
  }

  init(_ server: Database.Server, _ connection: Database.Connection, id: Int64?) {
    self.server = server
    self.connection = connection
    self.id = id
  }

  // MARK: - The own row

  private static let witness = "SELECT group_number FROM store WHERE id = $1 FOR UPDATE"

  /// Asks for the own row, and so locks it. Whoever has it knows that no earlier group of this process is under way.
  func lockRow() throws -> Statement? {
    guard let id else { return nil }
    var select = try connection.statement(composed: Self.witness)
    select.bind(1, id)
    try select.send()
    return select
  }

  /// Reads what ``lockRow()`` asked for.
  /// - Returns: whether there is such a row. It is put together with others when this process does not write for long.
  func takeRow(_ select: inout Statement) throws -> Bool {
    guard try select.step() else { return false }
    groupNumber = select.integer(0) + 1
    return true
  }

  /// Makes the own row, in a transaction of its own: one that a group makes is nothing that a witness could wait for.
  /// - Parameter now: Unix milliseconds
  func makeRow(now: Int64) throws {
    guard let id else { return }
    try connection.begin(.group)
    do {
      try insertRow(id, now)
    } catch {
      connection.rollback()
      throw error
    }
    switch connection.commit() {
    case .committed: break
    // It is there or not, and may be made twice.
    case .refused(let error), .unknown(let error): throw error
    }
  }

  private func insertRow(_ id: Int64, _ now: Int64) throws {
    var insert = try connection.statement(
      """
      INSERT INTO store (id, revision, sessions, events, tasks, named_values, seen_at) VALUES ($1, 0, 0, 0, 0, 0, $2)
      ON CONFLICT (id) DO NOTHING
      """)
    insert.bind(1, id)
    insert.bind(2, now)
    try insert.run()
  }

  /// Waits for the groups of all other processes, and lets none of them begin another before the open one is over.
  /// What they may read, they read.
  func holdOthersUp() throws {
    var lock = try connection.statement("LOCK TABLE store IN EXCLUSIVE MODE")
    try lock.run()
  }

  /// Tells whether the open group was committed, when its answer is lost.
  var witness: Database.Connection.Witness? {
    id.map { Database.Connection.Witness(sql: Self.witness, parameter: $0, expected: groupNumber) }
  }

  /// Lets the open group take as long as it takes, also without a word.
  func takeTime() throws {
    var set = try connection.statement(
      """
      SELECT set_config(name, '0', true) FROM pg_settings
      WHERE name IN ('idle_in_transaction_session_timeout', 'statement_timeout', 'transaction_timeout')
      """)
    try set.run()
  }

  // MARK: - Counting

  /// What each process counts for itself in its row: the column, and where it is in memory. Whoever adds a counter to
  /// table `store` adds it here; a test looks for it.
  static var counted: [(column: String, counter: WritableKeyPath<Store.Counters, Int64>)] {
    [
      ("sessions", \.sessions), ("ended_sessions", \.endedSessions), ("events", \.events), ("tasks", \.tasks),
      ("tasks_removed", \.tasksRemoved), ("named_values", \.values), ("log_entries", \.logEntries),
      ("work", \.work), ("work_done", \.workDone), ("work_dead", \.workDead),
      ("event_subscriptions", \.eventSubscriptions), ("policy_changes", \.policyChanges),
      ("lifecycle_events", \.lifecycleEvents), ("security_events", \.securityEvents),
    ]
  }

  private static let sums =
    "SELECT max(revision), max(audit_number), (SELECT version FROM schema_version), max(loaded_revision), "
    + "max(loaded_audit_number)"
    + counted.map { ", CAST(sum(\($0.column)) AS BIGINT)" }.joined() + " FROM store"

  /// Asks for the sums of what all processes count, and the version of the schema.
  func askForCounters() throws -> Statement {
    var select = try connection.statement(composed: Self.sums)
    try select.send()
    return select
  }

  /// - Parameter lastUUID: the one that this process gave last
  func counters(_ select: inout Statement, lastUUID: LastUUID) throws -> Store.Counters {
    guard try select.step() else { throw DatabaseError.corrupt("table 'store' gives no sums") }
    var counters = Store.Counters(revision: select.integer(0), auditNumber: select.integer(1), lastUUID: lastUUID)
    for (index, counted) in Self.counted.enumerated() {
      counters[keyPath: counted.counter] = select.integer(Int32(5 + index))
    }
    // What was loaded as it was may have numbers of a block that was drawn before.
    numbers.revisions.drop(through: select.integer(3))
    numbers.auditNumbers.drop(through: select.integer(4))
    return counters
  }

  func schema(_ select: borrowing Statement) -> Int64 { select.integer(2) }

  /// The UUID that was given last, by whichever process.
  func lastUUID() throws -> LastUUID {
    var select = try connection.statement(
      "SELECT last_uuid_high, last_uuid_low FROM store ORDER BY last_uuid_high DESC, last_uuid_low DESC LIMIT 1")
    guard try select.step() else { return LastUUID() }
    return LastUUID(
      high: UInt64(truncatingIfNeeded: select.integer(0)), low: UInt64(truncatingIfNeeded: select.integer(1)))
  }

  private static let addition =
    "UPDATE store SET revision = $1, audit_number = $2, last_uuid_high = $3, last_uuid_low = $4, group_number = $5, "
    + "seen_at = $6"
    + counted.enumerated().map { ", \($1.column) = \($1.column) + $\(7 + $0)" }.joined()
    + " WHERE id = $\(7 + counted.count)"

  /// Adds what the open group has counted to the own row, and says which group it was.
  func write(_ new: Store.Counters, since old: Store.Counters, now: Int64) throws {
    guard let id else { return }
    var update = try connection.statement(composed: Self.addition)
    update.bind(1, new.revision)
    update.bind(2, new.auditNumber)
    update.bind(3, Int64(truncatingIfNeeded: new.lastUUID.high))
    update.bind(4, Int64(truncatingIfNeeded: new.lastUUID.low))
    update.bind(5, groupNumber)
    update.bind(6, now)
    for (index, counted) in Self.counted.enumerated() {
      update.bind(Int32(7 + index), new[keyPath: counted.counter] - old[keyPath: counted.counter])
    }
    update.bind(Int32(7 + Self.counted.count), id)
    try update.run()
  }

  /// columns of which the greatest value counts, and not the sum
  private static let greatest = ["revision", "audit_number", "loaded_revision", "loaded_audit_number"]

  private static let gathering =
    "UPDATE store SET "
    + greatest.enumerated()
    .map { "\($1) = CASE WHEN \($1) < $\($0 + 1) THEN $\($0 + 1) ELSE \($1) END" }.joined(separator: ", ")
    + counted.enumerated().map { ", \($1.column) = \($1.column) + $\(1 + greatest.count + $0)" }.joined()
    + " WHERE id = 1"

  /// Puts rows of processes that have not written for long together in one: each start of a process makes one.
  /// - Parameter before: Unix milliseconds
  func gatherRows(seenBefore before: Int64) throws {
    var select = try connection.statement(
      composed: "SELECT id, " + (Self.greatest + Self.counted.map(\.column)).joined(separator: ", ")
        + " FROM store WHERE id <> 1 AND seen_at < $1 ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED")
    select.bind(1, before)
    while try select.step() {
      var update = try connection.statement(composed: Self.gathering)
      for column in 1...Int32(Self.greatest.count + Self.counted.count) { update.bind(column, select.integer(column)) }
      try update.run()
      var delete = try connection.statement("DELETE FROM store WHERE id = $1")
      delete.bind(1, select.integer(0))
      try delete.run()
    }
  }

  // MARK: - Numbers

  /// Numbers that a group is likely to need are drawn in the trip that begins it.
  static let enough: Int64 = 256

  func askForNumbers() throws -> Statement? {
    if connectionCount != server.connections {
      connectionCount = server.connections
      numbers.revisions.drop()
      numbers.auditNumbers.drop()
    }
    if id == nil || numbers.revisions.rest >= Self.enough { return nil }
    var draw = try connection.statement(composed: numbers.revisions.drawing)
    try draw.send()
    return draw
  }

  func takeNumbers(_ draw: inout Statement) throws {
    // What is left of the block is lost: blocks are many.
    if try draw.step() { numbers.revisions.take(draw.integer(0)) }
  }

  /// The next revision, higher than one that somebody may have given to the same row.
  func revision(above floor: Int64) throws -> Int64 {
    let drawing = numbers.revisions.drawing
    return try numbers.revisions.number(above: floor) { try draw(drawing) }
  }

  func auditNumber() throws -> Int64 {
    let drawing = numbers.auditNumbers.drawing
    return try numbers.auditNumbers.number(above: 0) { try draw(drawing) }
  }

  private func draw(_ sql: String) throws -> Int64 {
    var draw = try connection.statement(composed: sql)
    return try draw.step() ? draw.integer(0) : 0
  }

  /// The numbers up to which any may have been given out: all of the blocks that were drawn, unless no group has
  /// written any. What others have drawn then they throw away: see ``noteLoaded(revision:auditNumber:)``. Nobody else
  /// writes meanwhile.
  func numbersGiven(_ counters: Store.Counters) throws -> (revision: Int64, auditNumber: Int64) {
    func given(_ block: NumberBlock, _ counter: Int64) throws -> Int64 {
      if counter == 0 { return 0 }
      var select = try connection.statement(
        composed: "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM \(block.sequence)")
      return try select.step() ? select.integer(0) * block.size : 0
    }
    return (try given(numbers.revisions, counters.revision), try given(numbers.auditNumbers, counters.auditNumber))
  }

  /// No number up to these is given out any more. It holds whether the group is committed or not.
  func passNumbers(revision: Int64, auditNumber: Int64) throws {
    for (block, number) in [(numbers.revisions, revision), (numbers.auditNumbers, auditNumber)] {
      let passing = block.passing(number)
      var set = try connection.statement(composed: passing.sql)
      set.bind(1, passing.block)
      try set.run()
    }
    numbers.revisions.drop()
    numbers.auditNumbers.drop()
  }

  /// Tells all others that the numbers up to these are taken, whatever they have drawn.
  func noteLoaded(revision: Int64, auditNumber: Int64) throws {
    guard let id else { return }
    var update = try connection.statement(
      "UPDATE store SET loaded_revision = $1, loaded_audit_number = $2 WHERE id = $3")
    update.bind(1, revision)
    update.bind(2, auditNumber)
    update.bind(3, id)
    try update.run()
  }

  /// The same for the tables that number their rows themselves.
  func passRowNumbers() throws {
    for kind in RecordKind.all where kind.numbering == .table && kind.columns[0].name == "number" {
      var set = try connection.statement(
        composed: """
          SELECT setval(pg_get_serial_sequence('\(kind.table)', 'number'), coalesce(max(number), 0) + 1, false)
          FROM \(kind.table)
          """)
      try set.run()
    }
  }
}
