import Database

/// The domain over one database: sessions, events, tasks, values, logs and the audit trail.
///
/// One thread uses it. A caller brackets each read with ``beginRead()`` / ``endRead()`` and any number of writing
/// requests with ``beginGroup(waiting:)`` / ``commitGroup()``; what a group wrote is durable when the commit returns.
/// A request that is refused with a ``StoreError`` has changed nothing, neither on disk nor in memory. After an
/// ``DatabaseError`` the whole group is void: ``abandonGroup()`` it and run its requests again, each in its own group.
package final class Store {
  /// Counters that belong to the whole store, written once per group.
  struct Counters: Equatable {
    var revision: Int64 = 0
    var sessions: Int64 = 0
    /// those of them that have an end
    var endedSessions: Int64 = 0
    var events: Int64 = 0
    var tasks: Int64 = 0
    /// tasks whose rows are gone, ever
    var tasksRemoved: Int64 = 0
    var values: Int64 = 0
    var logEntries: Int64 = 0
    /// items of work that wait or are leased
    var work: Int64 = 0
    /// settled ones, whose rows are tombstones
    var workDone: Int64 = 0
    var workDead: Int64 = 0
    /// that have not ended; lapsed ones included
    var eventSubscriptions: Int64 = 0
    /// how often ``Policies`` were changed, ever
    var policyChanges: Int64 = 0
    /// the last number that was given to an audit event
    var auditNumber: Int64 = 0
    var lifecycleEvents: Int64 = 0
    var securityEvents: Int64 = 0
    var lastUUID = LastUUID()
    /// see ``LogLineage``
    var lineage: Int64 = 0
    var logBase: Int64 = 0

    subscript(_ ring: AuditRing) -> Int64 {
      get {
        switch ring {
        case .lifecycle: lifecycleEvents
        case .security: securityEvents
        }
      }
      set {
        switch ring {
        case .lifecycle: lifecycleEvents = newValue
        case .security: securityEvents = newValue
        }
      }
    }

    /// All but the counts of rows that requests make.
    func differsInWhatIsSeldom(from other: Counters) -> Bool {
      tasksRemoved != other.tasksRemoved || endedSessions != other.endedSessions || auditNumber != other.auditNumber
        || lifecycleEvents != other.lifecycleEvents || securityEvents != other.securityEvents
        || lastUUID != other.lastUUID || logBase != other.logBase
    }

    func differsInWork(from other: Counters) -> Bool {
      work != other.work || workDone != other.workDone || workDead != other.workDead
        || eventSubscriptions != other.eventSubscriptions
    }
  }

  let tables: Tables
  /// for the transactions; what is in them goes through `tables`
  private var connection: Connection { tables.connection(.server) }
  /// nil on a server
  let file: OpenedFile?
  /// nil on a file
  let writer: Writer?
  /// the version of the schema, as the database counts it
  package let schema: Int64
  package let limits: Limits
  let environment: Environment
  package let durability: Durability

  /// the time of the request that is running, Unix milliseconds
  package private(set) var now: Int64
  var counters = Counters()
  private var storedCounters = Counters()
  /// what commits of this process have done
  package private(set) var totals = Totals()
  /// what the open group has done so far
  var done = Totals()
  var cache = SessionCache()
  /// events that the open group has not written yet
  var openChunks = OpenChunks()
  /// ids of which it is known that there are no such sessions; only where the tables are shared
  var absentSessions: Set<String> = []
  /// what was read ahead for the requests of the group or the snapshot; only where the tables are shared
  var foreseen = Foreseen()
  var messageIDs = MessageIDCache()
  var policies = Policies.none
  /// as they were when the open group began
  private var committedPolicies = Policies.none
  var searches = DueSearches()
  /// as they were when the open group began
  private var committedSearches = DueSearches()
  /// what the running request leaves to be recorded
  var pending = PendingEvents()
  var auditHeads = AuditHeads()
  var auditSalts = AuditSalts()
  /// that of the last event, so that it need not be made for each
  var auditSeal: [UInt8] = []
  /// where the sweep stands that is under way
  var sweepStage = SweepStage.sessions
  /// whether a sweep has begun and is not through
  var isSweeping = false
  /// the place in the line of work that this process gave last
  var lastLine: Int64 = 0
  /// rows since the last slice of a sweep, each of which will have to go some day; counted as a slice counts them
  var rowsMade = 0
  package private(set) var isInGroup = false
  /// Whether somebody wants to know what commits change.
  package var isWatched = false {
    didSet { if isWatched != oldValue { file?.watchLog(isWatched) } }
  }
  /// What was changed since it was last asked for; more than that after a group was abandoned.
  private var changes = StoreChanges()
  /// how often it turned out that other processes may have written
  package private(set) var foreignCommits: Int64 = 0
  /// whether a write of the same input has waited for other processes in vain
  private var hasWaitedInVain = false
  /// whether a group is being opened where others write at the same time
  private var isBeginning = false

  init(_ connection: Connection, _ file: OpenedFile, schema: Int64, limits: Limits, environment: Environment) {
    tables = Tables(connection)
    self.file = file
    writer = nil
    durability = file.durability
    self.schema = schema
    self.limits = limits
    self.environment = environment
    now = environment.now()
  }

  init(
    _ connection: Connection, _ writer: Writer, schema: Int64, limits: Limits, environment: Environment,
    durability: Durability
  ) {
    tables = Tables(connection)
    file = nil
    self.writer = writer
    self.durability = durability
    self.schema = schema
    self.limits = limits
    self.environment = environment
    now = environment.now()
  }

  package func currentTime() -> Int64 { environment.now() }

  /// Reads the clock for the next request.
  package func beginRequest() {
    now = environment.now()
    if pendingEvents > 0 { forgetPendingEvents(from: 0) }
  }

  // MARK: - Reading

  /// Pins a snapshot for one request outside a group.
  /// - Parameter needs: what it and those behind it are about; only where the tables are shared
  package func beginRead(_ needs: @autoclosure () -> Needs = Needs()) throws {
    if let writer { return try beginRead(writer, needs()) }
    try file?.checkPlaceWhenDue(now)
    if keepsSnapshot, connection.isInTransaction { return }
    try connection.begin(.snapshot)
    do {
      if try file?.hasNews() == true { try refresh() }
    } catch {
      // The caller ends only what has begun.
      connection.rollback()
      throw error
    }
  }

  package func endRead() {
    if keepsSnapshot, connection.isInTransaction { return }
    endSnapshot()
  }

  private func endSnapshot() {
    connection.endSnapshot()
    foreseen.removeAll()
    // Reads remember rows; message ids are remembered by writes alone.
    cache.trim()
  }

  /// Whether a snapshot stays for the requests behind the one that it was pinned for; see ``letSnapshotGo()``.
  package var keepsSnapshot = false

  /// Ends the snapshot that several requests have shared.
  package func letSnapshotGo() {
    if keepsSnapshot, !isInGroup, isShared || connection.isInTransaction { endSnapshot() }
  }

  /// Drops what is remembered, for another process has committed since.
  private func refresh() throws {
    foreignCommits += 1
    forgetRows()
    do {
      try loadCounters()
    } catch {
      file?.forget()
      throw error
    }
  }

  private func loadCounters() throws {
    var select = try tables.statement(
      .server,
      """
      SELECT revision, sessions, events, tasks, named_values, log_entries, audit_number, lifecycle_events,
        security_events, tasks_removed, last_uuid_high, last_uuid_low, lineage, log_base,
        ended_sessions, work, work_done, work_dead, event_subscriptions, policy_changes
      FROM store WHERE id = 1
      """)
    guard try select.step() else {
      throw DatabaseError.corrupt("the row of table 'store' is missing")
    }
    counters = Counters(
      revision: select.integer(0), sessions: select.integer(1), endedSessions: select.integer(14),
      events: select.integer(2), tasks: select.integer(3),
      tasksRemoved: select.integer(9), values: select.integer(4), logEntries: select.integer(5),
      work: select.integer(15), workDone: select.integer(16), workDead: select.integer(17),
      eventSubscriptions: select.integer(18), policyChanges: select.integer(19),
      auditNumber: select.integer(6),
      lifecycleEvents: select.integer(7), securityEvents: select.integer(8),
      lastUUID: LastUUID(
        high: UInt64(truncatingIfNeeded: select.integer(10)), low: UInt64(truncatingIfNeeded: select.integer(11))),
      lineage: select.integer(12), logBase: select.integer(13))
    storedCounters = counters
    try refreshPolicies()
  }

  private func refreshPolicies() throws {
    if policies.version != counters.policyChanges {
      policies = try readPolicies()
      forgetSearches()
      committedSearches = searches
    }
    committedPolicies = policies
  }

  // MARK: - What others write

  /// Whether no other process can write.
  package var isAlone: Bool { file?.isAlone == true }

  /// Readable when another process has written; nil where the store is not watched, or nothing is told.
  package var foreignWrites: Int32? { file?.foreignWrites }

  /// Forgets that another process has written.
  package func clearForeignWrites() { file?.clearForeignWrites() }

  // MARK: - Where others write at the same time

  /// Whether the tables are on a server, where groups of several processes are open at the same time.
  package var isShared: Bool { writer != nil }

  private func beginRead(_ writer: Writer, _ needs: Needs) throws {
    if keepsSnapshot, connection.isInTransaction { return }
    do {
      try connection.begin(.snapshot, waiting: hasWaitedInVain ? 0 : nil)
      _ = try load(writer, needs)
    } catch {
      connection.rollback()
      noteFailure(error)
      throw error
    }
  }

  /// In one trip: the own row and what the group needs, locked, and the counters.
  /// - Returns: whether the own row is there
  private func load(_ writer: Writer, _ needs: Needs) throws -> Bool {
    foreignCommits += 1
    forgetRows()
    if needs.holdsOthersUp, isBeginning { try writer.holdOthersUp() }
    var row = isBeginning ? try writer.lockRow() : nil
    var sessions = try askForSessions(needs)
    if isBeginning { try askForLocks(needs) }
    var foreseen = try askForForeseen(needs)
    var numbers = isBeginning ? try writer.askForNumbers() : nil
    var sums = try writer.askForCounters()
    counters = try writer.counters(&sums, lastUUID: counters.lastUUID)
    storedCounters = counters
    let found = writer.schema(sums)
    if found != schema { throw StoreError.tooNew(found: found, supported: schema) }
    try refreshPolicies()
    if row != nil, try !writer.takeRow(&row!) { return false }
    if sessions != nil { try takeSessions(&sessions!, needs) }
    if numbers != nil { try writer.takeNumbers(&numbers!) }
    try takeForeseen(&foreseen, needs)
    return true
  }

  /// What follows does not wait as long for a server that was waited for in vain.
  private func noteFailure(_ error: any Error) {
    if let error = error as? DatabaseError, error.class == .unreachable { hasWaitedInVain = true }
  }

  /// Behind SQL that reads rows which are going to be written.
  var locking: String { isInGroup || isBeginning ? tables.dialect.locking : "" }

  // MARK: - Writing groups

  /// Takes the lock and opens the transaction that the following writes share.
  /// - Parameters:
  ///   - needs: what they are about; only where the tables are shared
  ///   - waiting: Milliseconds to wait for other processes. Once that was in vain, the writes behind it try but
  ///     do not wait, until ``renewPatience()``: they would all wait for the same process, one after the other.
  package func beginGroup(waiting: Int64, needs: Needs = Needs()) throws {
    let waits = waiting > 0 && !hasWaitedInVain
    letSnapshotGo()
    if let file, !file.lock(waiting: waits ? waiting : 0) { throw busy(waits) }
    do {
      try beginWriting(waiting: waits ? waiting : 0, needs)
    } catch {
      connection.rollback()
      file?.unlock()
      noteFailure(error)
      if let error = error as? DatabaseError, error.class == .busy { throw busy(waits) }
      throw error
    }
    isInGroup = true
    done = Totals()
    hasWaitedInVain = false
  }

  private func beginWriting(waiting: Int64, _ needs: Needs) throws {
    if let writer {
      isBeginning = true
      defer { isBeginning = false }
      try connection.begin(.group, waiting: waiting)
      if try load(writer, needs) { return }
      // This process had not written for long.
      connection.rollback()
      try writer.makeRow(now: now)
      try connection.begin(.group, waiting: waiting)
      if try !load(writer, needs) { throw DatabaseError.corrupt("a row of table 'store' vanished") }
      return
    }
    if waiting == 0 { file?.setWaiting(false) }
    defer { if waiting == 0 { file?.setWaiting(true) } }
    try connection.begin(.group)
    if try file?.hasNews() == true { try refresh() }
  }

  private func busy(_ hasWaited: Bool) -> StoreError {
    if hasWaited { hasWaitedInVain = true }
    return .busy(milliseconds: limits.busyTimeout)
  }

  /// Lets writes wait for other processes again: new input has come.
  package func renewPatience() { hasWaitedInVain = false }

  /// With the next commit that changes the row anyway: see ``LogLineage``.
  private func writeLogBase() {
    guard let base = file?.newLogBase, counters != storedCounters else { return }
    if counters.lineage == 0 { counters.lineage = Int64(environment.random() >> 2) + 1 }
    counters.logBase = max(counters.logBase, base)
  }

  /// Makes everything since ``beginGroup(waiting:)`` durable.
  /// - Throws: ``StoreError/outcomeUnknown(code:message:)`` when it may or may not be on disk; the process must end.
  ///   Any other error: nothing of the group is on disk; it is abandoned already.
  package func commitGroup() throws {
    do {
      try flushSessions()
      writeLogBase()
      try flushCounters()
      try file?.checkBeforeCommit()
      file?.lengthenLog()
    } catch {
      abandonGroup()
      throw error
    }
    switch connection.commit(writer?.witness) {
    case .committed: break
    case .refused(let error):
      abandonGroup()
      throw error
    case .unknown(let error):
      guard isShared else { throw StoreError.outcomeUnknown(code: error.code, message: error.message) }
      abandonGroup()
      throw StoreError.outcomeUnresolved(message: error.message)
    }
    // Whoever takes the files away after this takes away what is in them.
    try file?.checkAfterCommit()
    file?.noteCommit(revision: counters.revision, logBase: counters.logBase)
    totals.add(done)
    committedPolicies = policies
    committedSearches = searches
    endGroup()
    cache.trim()
    messageIDs.commit()
    messageIDs.trim()
  }

  /// Takes back everything since ``beginGroup(waiting:)``, in memory too.
  package func abandonGroup() {
    connection.rollback()
    forget()
    endGroup()
  }

  private func endGroup() {
    isInGroup = false
    foreseen.removeAll()
    file?.unlock()
  }

  private func forget() {
    forgetRows()
    // What the group's sweep took away is back.
    searches = committedSearches
    messageIDs.takeBack()
    file?.forget()
  }

  private func forgetRows() {
    cache.removeAll()
    foreseen.removeAll()
    openChunks.forget()
    if !absentSessions.isEmpty { absentSessions.removeAll() }
    auditHeads = AuditHeads()
    if policies !== committedPolicies { policies = committedPolicies }
  }

  func flushCounters() throws {
    if let writer {
      try writer.write(counters, since: storedCounters, now: now)
      return storedCounters = counters
    }
    if counters == storedCounters { return }
    if counters.differsInWork(from: storedCounters) { try flushWorkCounters() }
    if counters.policyChanges != storedCounters.policyChanges { try flushPolicyChanges() }
    if !counters.differsInWhatIsSeldom(from: storedCounters) { return try flushUsualCounters() }
    var update = try tables.statement(
      .server,
      """
      UPDATE store SET revision = $1, sessions = $2, events = $3, tasks = $4, named_values = $5, log_entries = $6,
        audit_number = $7, lifecycle_events = $8, security_events = $9, tasks_removed = $10, last_uuid_high = $11,
        last_uuid_low = $12, lineage = $13, log_base = $14, ended_sessions = $15
      WHERE id = 1
      """)
    update.bind(1, counters.revision)
    update.bind(2, counters.sessions)
    update.bind(3, counters.events)
    update.bind(4, counters.tasks)
    update.bind(5, counters.values)
    update.bind(6, counters.logEntries)
    update.bind(7, counters.auditNumber)
    update.bind(8, counters.lifecycleEvents)
    update.bind(9, counters.securityEvents)
    update.bind(10, counters.tasksRemoved)
    update.bind(11, Int64(truncatingIfNeeded: counters.lastUUID.high))
    update.bind(12, Int64(truncatingIfNeeded: counters.lastUUID.low))
    update.bind(13, counters.lineage)
    update.bind(14, counters.logBase)
    update.bind(15, counters.endedSessions)
    try update.run()
    storedCounters = counters
  }

  private func flushWorkCounters() throws {
    var update = try tables.statement(
      .server, "UPDATE store SET work = $1, work_done = $2, work_dead = $3, event_subscriptions = $4 WHERE id = 1")
    update.bind(1, counters.work)
    update.bind(2, counters.workDone)
    update.bind(3, counters.workDead)
    update.bind(4, counters.eventSubscriptions)
    try update.run()
  }

  private func flushPolicyChanges() throws {
    var update = try tables.statement(.server, "UPDATE store SET policy_changes = $1 WHERE id = 1")
    update.bind(1, counters.policyChanges)
    try update.run()
  }

  /// Most groups change no more of the row, and each column that is bound costs every one of them.
  private func flushUsualCounters() throws {
    var update = try tables.statement(
      .server,
      """
      UPDATE store SET revision = $1, sessions = $2, events = $3, tasks = $4, named_values = $5, log_entries = $6
      WHERE id = 1
      """)
    update.bind(1, counters.revision)
    update.bind(2, counters.sessions)
    update.bind(3, counters.events)
    update.bind(4, counters.tasks)
    update.bind(5, counters.values)
    update.bind(6, counters.logEntries)
    try update.run()
    storedCounters = counters
  }

  /// Runs `body` so that either all of it or nothing happens within the group; for requests of several steps that may
  /// be refused after the first one.
  package func atomically<Result>(_ body: () throws -> Result) throws -> Result {
    try flushSessions()
    let before = (counters, done, policies)
    let mark = messageIDs.mark
    let numbers = writer?.numbers
    try connection.savepoint()
    do {
      let result = try body()
      try flushSessions()
      try connection.release()
      return result
    } catch {
      // Some errors end the transaction, and with it the savepoint, and so may this: then the group is void anyway.
      if connection.isInTransaction { try connection.rollbackToSavepoint() }
      forgetRows()
      messageIDs.takeBack(to: mark)
      // Nobody has seen what was given out since.
      if let numbers { writer?.numbers = numbers }
      (counters, done, policies) = before
      throw error
    }
  }

  /// The next revision; also the number of a new row.
  /// - Parameter floor: the revision of the row that is to get it
  func nextRevision(above floor: Int64 = 0) throws -> Int64 {
    guard let writer else {
      counters.revision += 1
      return counters.revision
    }
    let revision = try writer.revision(above: floor)
    counters.revision = max(counters.revision, revision)
    return revision
  }

  /// The numbers up to which this process or another may have given out any; on a server only in a group that holds
  /// others up.
  func numbersGiven() throws -> (revision: Int64, auditNumber: Int64) {
    guard let writer else { return (counters.revision, counters.auditNumber) }
    return try writer.numbersGiven(counters)
  }

  /// No number up to these is given out any more.
  func passNumbers(revision: Int64, auditNumber: Int64) throws {
    try writer?.passNumbers(revision: revision, auditNumber: auditNumber)
  }

  /// The next number of an event in the audit trail.
  func nextAuditNumber() throws -> Int64 {
    guard let writer else {
      counters.auditNumber += 1
      return counters.auditNumber
    }
    let number = try writer.auditNumber()
    counters.auditNumber = max(counters.auditNumber, number)
    return number
  }

  func noteChange(ofSession number: SessionNumber) {
    if isWatched { changes.sessions.insert(number) }
  }

  /// - Parameter session: to which the task belongs
  func noteChange(ofTask number: TaskNumber, session: SessionNumber?) {
    guard isWatched else { return }
    changes.tasks.insert(number)
    if let session { changes.sessionsOfTasks.insert(session) }
  }

  /// - Parameter wakesAt: when what was changed can be claimed; nil: now, or something else may be
  func noteChange(ofQueue queue: String, wakesAt: Int64? = nil) {
    guard isWatched else { return }
    if let wakesAt {
      changes.wakes[queue] = min(changes.wakes[queue] ?? wakesAt, wakesAt)
    } else {
      changes.queues.insert(queue)
    }
  }

  /// whether ``takeChanges()`` has something to tell
  package var hasChanges: Bool { !changes.isEmpty }

  /// What was changed since this was last asked; nil for nothing.
  package func takeChanges() -> StoreChanges? {
    guard hasChanges else { return nil }
    defer { changes = StoreChanges() }
    return changes
  }

  func noteMade(_ rows: Int) { rowsMade += rows }

  /// False when the database has ended the transaction by itself, as it does on some errors.
  package var transactionStands: Bool { connection.isInTransaction }

  // MARK: - The file

  /// The path of the file as it turned out to be, empty in memory; or where the server is, without a password.
  package var path: String { file?.path ?? writer?.server.place ?? "" }
  package var isExclusive: Bool { file?.isExclusive ?? false }
  /// how often this process has waited for an answer of the server; 0 on a file
  package var trips: Int64 { writer?.server.trips ?? 0 }
  /// such as "15.18"; nil on a file
  package var serverVersion: String? { writer?.server.version }

  package var checkpointIsDue: Bool { file?.checkpointIsDue ?? false }

  /// Copies the write-ahead log into the file, unless another process holds the lock right now or a group is open.
  /// - Throws: an error of the database when the disk failed; commits are safe in the log, but nobody knows what the
  ///   file holds
  @discardableResult
  package func checkpoint() throws -> Int { try file?.checkpoint() ?? 0 }

  /// Whether the names of the files still lead to those that are open.
  /// - Throws: `databaseReplaced`
  package func checkPlace() throws { try file?.checkPlace(now) }

  /// sessions, also those that wait for a sweep, but not those that are kept
  package var sessionRows: Int64 { counters.sessions - (keepsEnded ? counters.endedSessions : 0) }

  /// bytes of the database, its free pages included
  package func databaseBytes() throws -> Int64 {
    if let file { return try file.databaseBytes() }
    var select = try tables.statement(
      .server,
      """
      SELECT CAST(coalesce(sum(pg_total_relation_size(pg_class.oid)), 0) AS BIGINT)
      FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
      WHERE nspname = current_schema() AND relkind = 'r'
      """)
    return try select.step() ? select.integer(0) : 0
  }

  package var walBytes: Int64 { file?.logBytes ?? 0 }
}
