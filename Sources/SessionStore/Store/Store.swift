import SQLite

/// The domain over one database: sessions, events, tasks, values, logs and the audit trail.
///
/// One thread uses it. A caller brackets each read with ``beginRead()`` / ``endRead()`` and any number of writing
/// requests with ``beginGroup(waiting:)`` / ``commitGroup()``; what a group wrote is durable when the commit returns.
/// A request that is refused with a ``StoreError`` has changed nothing, neither on disk nor in memory. After an
/// ``SQLiteError`` the whole group is void: ``abandonGroup()`` it and run its requests again, each in its own group.
package final class Store {
  /// Counters that belong to the whole store, written once per group.
  struct Counters: Equatable {
    var revision: Int64 = 0
    var sessions: Int64 = 0
    var events: Int64 = 0
    var tasks: Int64 = 0
    /// tasks whose rows are gone, ever
    var tasksRemoved: Int64 = 0
    var values: Int64 = 0
    var logEntries: Int64 = 0
    /// the last number that was given to an audit event
    var auditNumber: Int64 = 0
    var lifecycleEvents: Int64 = 0
    var securityEvents: Int64 = 0
    var lastUUID = LastUUID()

    /// All but the counts of rows that requests make.
    func differsInWhatIsSeldom(from other: Counters) -> Bool {
      tasksRemoved != other.tasksRemoved || auditNumber != other.auditNumber
        || lifecycleEvents != other.lifecycleEvents || securityEvents != other.securityEvents
        || lastUUID != other.lastUUID
    }
  }

  let tables: Tables
  /// for the transactions; what is in them goes through `tables`
  private var connection: Connection { tables.connection(.server) }
  /// nil in memory, where there is nobody to exclude, and when the file was opened for reading
  private let lock: FileLock?
  /// nil in the same cases
  private let place: DatabasePlace?
  /// when readers looked last whether the files are in their place, Unix milliseconds
  private var lastLook: Int64 = 0
  /// what must stay as it is while a file that nobody had open is read
  let stillness: StillFile?
  private let schemaVersion: Int64
  package let limits: Limits
  let environment: Environment
  /// what the options said and the file turned out to be
  package let path: String
  package let durability: Durability
  package let isExclusive: Bool

  /// the time of the request that is running, Unix milliseconds
  package private(set) var now: Int64
  var counters = Counters()
  private var storedCounters = Counters()
  /// what commits of this process have done
  package private(set) var totals = Totals()
  /// what the open group has done so far
  var done = Totals()
  var cache = SessionCache()
  var messageIDs = MessageIDCache()
  /// where the sweep stands that is under way
  var sweepStage = SweepStage.sessions
  /// whether a sweep has begun and is not through
  var isSweeping = false
  /// rows since the last slice of a sweep, each of which will have to go some day; counted as a slice counts them
  var rowsMade = 0
  /// the last answer of `PRAGMA data_version`; nil when what is in memory must not be believed
  private var dataVersion: Int64?
  package private(set) var isInGroup = false
  /// Whether somebody wants to know what commits change.
  package var isWatched = false
  /// What was changed since it was last asked for; more than that after a group was abandoned.
  private var changes = StoreChanges()
  /// how often it turned out that other processes may have written
  package private(set) var foreignCommits: Int64 = 0
  /// whether a write of the same input has waited for other processes in vain
  private var hasWaitedInVain = false

  init(
    connection: Connection, lock: FileLock?, place: DatabasePlace? = nil, stillness: StillFile? = nil,
    schemaVersion: Int64, limits: Limits, environment: Environment, path: String, durability: Durability,
    isExclusive: Bool
  ) {
    tables = Tables(connection)
    self.lock = lock
    self.place = place
    self.stillness = stillness
    self.schemaVersion = schemaVersion
    self.limits = limits
    self.environment = environment
    self.path = path
    self.durability = durability
    self.isExclusive = isExclusive
    now = environment.now()
  }

  deinit {
    // SQLite's last act on a file may be a checkpoint, and checkpoints happen under the lock. Without it the log stays
    // for the next one who opens the file.
    if let lock, !isExclusive { _ = lock.acquire(timeout: 100) }
    // By its name SQLite would delete the log of whatever stands there now.
    if let place, (try? place.checkBeforeCommit()) == nil { connection.keepLog() }
  }

  package func currentTime() -> Int64 { environment.now() }

  /// Reads the clock for the next request.
  package func beginRequest() {
    now = environment.now()
  }

  /// the file's schema, as `user_version` counts it
  package var schema: Int64 { schemaVersion }

  // MARK: - Reading

  /// Pins a snapshot for one request outside a group.
  package func beginRead() throws {
    if now &- lastLook >= Self.lookInterval || now < lastLook { try checkPlace() }
    try connection.begin()
    do {
      try refresh()
    } catch {
      // The caller ends only what has begun.
      connection.rollback()
      throw error
    }
  }

  package func endRead() {
    // Nothing was written, so this only lets the snapshot go; a failure leaves no transaction either.
    do { try connection.commit() } catch { connection.rollback() }
    // Reads remember rows; message ids are remembered by writes alone.
    cache.trim()
  }

  /// Drops what is remembered when another process has committed since.
  private func refresh() throws {
    let version = try connection.dataVersion()
    if version == dataVersion { return }
    foreignCommits += 1
    forgetRows()
    // Another process may have begun a new log beside the one that is open.
    try checkPlace()
    let found = try connection.pragma("user_version")
    if found != schemaVersion { throw StoreError.tooNew(found: found, supported: schemaVersion) }
    try loadCounters()
    dataVersion = version
  }

  private func loadCounters() throws {
    var select = try tables.statement(
      .server,
      """
      SELECT revision, sessions, events, tasks, named_values, log_entries, audit_number, lifecycle_events,
        security_events, tasks_removed, last_uuid_high, last_uuid_low
      FROM store WHERE id = 1
      """)
    guard try select.step() else {
      throw SQLiteError(code: SQLiteError.corruptCode, message: "the row of table 'store' is missing")
    }
    counters = Counters(
      revision: select.integer(0), sessions: select.integer(1), events: select.integer(2), tasks: select.integer(3),
      tasksRemoved: select.integer(9), values: select.integer(4), logEntries: select.integer(5),
      auditNumber: select.integer(6),
      lifecycleEvents: select.integer(7), securityEvents: select.integer(8),
      lastUUID: LastUUID(
        high: UInt64(truncatingIfNeeded: select.integer(10)), low: UInt64(truncatingIfNeeded: select.integer(11))))
    storedCounters = counters
  }

  // MARK: - Writing groups

  /// Takes the lock and opens the transaction that the following writes share.
  /// - Parameter waiting: Milliseconds to wait for other processes. Once that was in vain, the writes behind it try but
  ///   do not wait, until ``renewPatience()``: they would all wait for the same process, one after the other.
  package func beginGroup(waiting: Int64) throws {
    let waits = waiting > 0 && !hasWaitedInVain
    if let lock, !isExclusive, !lock.acquire(timeout: waits ? waiting : 0) { throw busy(waits) }
    do {
      if !waits { connection.setBusyTimeout(0) }
      defer { if !waits { connection.setBusyTimeout(Int32(clamping: limits.busyTimeout)) } }
      try connection.beginImmediate()
      try refresh()
    } catch {
      connection.rollback()
      releaseLock()
      if let error = error as? SQLiteError, error.class == .busy { throw busy(waits) }
      throw error
    }
    isInGroup = true
    done = Totals()
    hasWaitedInVain = false
  }

  private func busy(_ hasWaited: Bool) -> StoreError {
    if hasWaited { hasWaitedInVain = true }
    return .busy(milliseconds: limits.busyTimeout)
  }

  /// Lets writes wait for other processes again: new input has come.
  package func renewPatience() { hasWaitedInVain = false }

  /// Makes everything since ``beginGroup(waiting:)`` durable.
  /// - Throws: ``StoreError/outcomeUnknown(code:message:)`` when it may or may not be on disk; the process must end.
  ///   Any other error: nothing of the group is on disk; it is abandoned already.
  package func commitGroup() throws {
    do {
      try flushSessions()
      try flushCounters()
      try guardPlace(committed: false) { place throws(DatabasePlace.Change) in try place.checkBeforeCommit() }
    } catch {
      abandonGroup()
      throw error
    }
    do {
      try connection.commit()
    } catch {
      switch error.class {
      case .full, .busy, .readOnly:
        abandonGroup()
        throw error
      default:
        // The log may have been written and only the sync have failed; a restart would then find the commit.
        throw StoreError.outcomeUnknown(code: error.code, message: error.message)
      }
    }
    // Whoever takes the files away after this takes away what is in them.
    try guardPlace(committed: true) { place throws(DatabasePlace.Change) in try place.checkAfterCommit() }
    totals.add(done)
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
    releaseLock()
  }

  private func releaseLock() {
    if !isExclusive { lock?.release() }
  }

  private func forget() {
    forgetRows()
    messageIDs.takeBack()
    dataVersion = nil
  }

  private func forgetRows() {
    cache.removeAll()
  }

  func flushCounters() throws {
    if counters == storedCounters { return }
    if !counters.differsInWhatIsSeldom(from: storedCounters) { return try flushUsualCounters() }
    var update = try tables.statement(
      .server,
      """
      UPDATE store SET revision = $1, sessions = $2, events = $3, tasks = $4, named_values = $5, log_entries = $6,
        audit_number = $7, lifecycle_events = $8, security_events = $9, tasks_removed = $10, last_uuid_high = $11,
        last_uuid_low = $12
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
    try update.run()
    storedCounters = counters
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
    let before = (counters, done)
    let mark = messageIDs.mark
    try connection.execute("SAVEPOINT request")
    do {
      let result = try body()
      try flushSessions()
      try connection.execute("RELEASE request")
      return result
    } catch {
      // After some errors SQLite has ended the transaction, and with it the savepoint; then the group is void anyway.
      if connection.isInTransaction {
        try connection.execute("ROLLBACK TO request; RELEASE request")
      }
      forgetRows()
      messageIDs.takeBack(to: mark)
      (counters, done) = before
      throw error
    }
  }

  /// The next revision; also the number of a new row.
  func nextRevision() -> Int64 {
    counters.revision += 1
    return counters.revision
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

  /// whether ``takeChanges()`` has something to tell
  package var hasChanges: Bool { !changes.isEmpty }

  /// What was changed since this was last asked; nil for nothing.
  package func takeChanges() -> StoreChanges? {
    guard hasChanges else { return nil }
    defer { changes = StoreChanges() }
    return changes
  }

  func noteMade(_ rows: Int) { rowsMade += rows }

  /// False when SQLite has ended the transaction by itself, as it does on some errors.
  package var transactionStands: Bool { connection.isInTransaction }

  // MARK: - Checkpoints

  /// pages that the write-ahead log may hold before a checkpoint is due: measured 10–14 % over SQLite's 1,000
  package static let checkpointPages = 4_000

  package var checkpointIsDue: Bool { connection.walPages >= Self.checkpointPages }

  /// Copies the write-ahead log into the file, unless another process holds the lock right now.
  /// - Throws: ``SQLiteError`` when the disk failed; commits are safe in the log, but nobody knows what the file holds
  @discardableResult
  package func checkpoint() throws -> Int {
    if let lock, !isExclusive, !lock.acquire(timeout: 0) { return 0 }
    defer { releaseLock() }
    try guardPlace(committed: false) { place throws(DatabasePlace.Change) in try place.checkBeforeCommit() }
    defer { place?.noteCheckpoint() }
    return try connection.checkpoint()
  }

  // MARK: - The place of the files

  /// How long readers may go on with files that are not in their place any more: milliseconds.
  private static let lookInterval: Int64 = 100

  /// Whether the names of the files still lead to those that are open.
  /// - Throws: `databaseReplaced`
  package func checkPlace() throws {
    lastLook = now
    try guardPlace(committed: false) { place throws(DatabasePlace.Change) in try place.checkNames() }
  }

  private func guardPlace(
    committed: Bool, _ check: (DatabasePlace) throws(DatabasePlace.Change) -> Void
  ) throws {
    guard let place else { return }
    do throws(DatabasePlace.Change) {
      try check(place)
    } catch {
      if !committed { connection.rollback() }
      throw StoreError.databaseReplaced(change: error.sentence + settle(error, place), wasCommitted: committed)
    }
  }

  private func settle(_ change: DatabasePlace.Change, _ place: DatabasePlace) -> String {
    guard let lock else { return "" }
    if !lock.isHeld {
      guard lock.acquire(timeout: limits.busyTimeout) else { return "" }
      defer { lock.release() }
      return place.settle(change)
    }
    return place.settle(change)
  }

  // MARK: - Facts about the file

  /// sessions, also those that wait for a sweep
  package var sessionRows: Int64 { counters.sessions }

  /// bytes of the database, its free pages included
  package func databaseBytes() throws -> Int64 {
    try connection.pragma("page_count") * connection.pragma("page_size")
  }

  package var walBytes: Int64 { path.isEmpty ? 0 : DatabaseFile.size(DatabaseFile.logPath(path)) }
}
