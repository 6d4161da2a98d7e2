import SQLite

/// The file that a store stands on: its lock, its place, its log. What it has to do with SQLite and a file system is
/// here, so that the store can stand on something else.
final class OpenedFile {
  let connection: SQLite.Connection
  /// nil in memory, where there is nobody to exclude, and when the file was opened for reading
  private let lock: FileLock?
  /// nil in the same cases
  private let place: DatabasePlace?
  /// what must stay as it is while a file that nobody had open is read
  let stillness: StillFile?
  /// what the options said and the file turned out to be; empty in memory
  let path: String
  let durability: Durability
  let isExclusive: Bool
  /// milliseconds
  private let busyTimeout: Int64
  private let schemaVersion: Int64
  /// when readers looked last whether the files are in their place, Unix milliseconds
  private var lastLook: Int64 = 0
  /// the last answer of `PRAGMA data_version`; nil when what is in memory must not be believed
  private var dataVersion: Int64?
  /// the write-ahead log that the last commit of this process went into, and the revision that was the newest then
  private var log: (salts: UInt64?, revision: Int64) = (nil, 0)
  /// A revision that the file had when its log was begun; nil when that, or a later one, stands in the log.
  private(set) var newLogBase: Int64?

  init(
    _ connection: SQLite.Connection, lock: FileLock?, place: DatabasePlace? = nil, stillness: StillFile? = nil,
    path: String, durability: Durability, isExclusive: Bool, busyTimeout: Int64, schemaVersion: Int64
  ) {
    self.connection = connection
    self.lock = lock
    self.place = place
    self.stillness = stillness
    self.path = path
    self.durability = durability
    self.isExclusive = isExclusive
    self.busyTimeout = busyTimeout
    self.schemaVersion = schemaVersion
  }

  deinit {
    // SQLite's last act on a file may be a checkpoint, and checkpoints happen under the lock. Without it the log stays
    // for the next one who opens the file.
    if let lock, !isExclusive { _ = lock.acquire(timeout: 100) }
    // By its name SQLite would delete the log of whatever stands there now.
    if let place, (try? place.checkBeforeCommit()) == nil { connection.keepLog() }
  }

  // MARK: - The lock

  /// - Returns: false when another process kept it for so many milliseconds
  func lock(waiting: Int64) -> Bool {
    guard let lock, !isExclusive else { return true }
    return lock.acquire(timeout: waiting)
  }

  func unlock() {
    if !isExclusive { lock?.release() }
  }

  /// Whether SQLite waits for the locks that it needs itself.
  func setWaiting(_ waits: Bool) { connection.setBusyTimeout(waits ? Int32(clamping: busyTimeout) : 0) }

  // MARK: - What others did

  /// Whether nobody else can write.
  var isAlone: Bool { isExclusive || path.isEmpty }

  private var logWatch: LogWatch?

  func watchLog(_ watches: Bool) {
    if watches, !isAlone {
      if logWatch == nil { logWatch = place?.logWatch }
      logWatch?.start()
    } else {
      logWatch?.stop()
    }
  }

  /// Readable when another process has written; nil where nobody watches, or nothing is told.
  var foreignWrites: Int32? { logWatch?.descriptor }

  func clearForeignWrites() { logWatch?.clear() }

  /// Whether another process has committed since the last look. Only inside a transaction.
  /// - Throws: `databaseReplaced`, `tooNew`
  func hasNews() throws -> Bool {
    let version = try connection.dataVersion()
    if version == dataVersion { return false }
    // Until all of it was looked at, what is in memory must not be believed.
    dataVersion = nil
    // Another process may have begun a new log beside the one that is open.
    try guardPlace(committed: false) { place throws(DatabasePlace.Change) in try place.checkNames() }
    let found = try connection.pragma("user_version")
    if found != schemaVersion { throw StoreError.tooNew(found: found, supported: schemaVersion) }
    dataVersion = version
    return true
  }

  /// What is in memory must not be believed.
  func forget() { dataVersion = nil }

  // MARK: - The place of the files

  /// How long readers may go on with files that are not in their place any more: milliseconds.
  private static let lookInterval: Int64 = 100

  func checkPlaceWhenDue(_ now: Int64) throws {
    if now &- lastLook >= Self.lookInterval || now < lastLook { try checkPlace(now) }
  }

  /// Whether the names of the files still lead to those that are open.
  /// - Throws: `databaseReplaced`
  func checkPlace(_ now: Int64) throws {
    lastLook = now
    try guardPlace(committed: false) { place throws(DatabasePlace.Change) in try place.checkNames() }
  }

  /// Whether what is about to be committed will be found again.
  /// - Throws: `databaseReplaced`
  func checkBeforeCommit() throws {
    try guardPlace(committed: false) { place throws(DatabasePlace.Change) in try place.checkBeforeCommit() }
  }

  /// Makes a commit ready that waits for the disk.
  func lengthenLog() {
    if durability == .full { place?.lengthenLog() }
  }

  /// Whether what was just committed will be found again.
  /// - Throws: `databaseReplaced`
  func checkAfterCommit() throws {
    // Until the lock is let go, it was this process that wrote, or the group has seen it.
    clearForeignWrites()
    try guardPlace(committed: true) { place throws(DatabasePlace.Change) in try place.checkAfterCommit() }
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
      guard lock.acquire(timeout: busyTimeout) else { return "" }
      defer { lock.release() }
      return place.settle(change)
    }
    return place.settle(change)
  }

  // MARK: - The log

  /// Looks at the log that there is when the file is opened. Call it under the lock.
  func noteLog() throws {
    guard let place else { return }
    let select = try connection.statement("SELECT revision FROM store WHERE id = 1")
    log = (place.logSalts, try select.step() ? select.integer(0) : 0)
  }

  /// Looks at the log that was committed to. Call it under the lock.
  /// - Parameters:
  ///   - revision: the newest in it
  ///   - logBase: what stands in it
  func noteCommit(revision: Int64, logBase: Int64) {
    guard let salts = place?.logSalts else { return }
    if let base = newLogBase, logBase >= base { newLogBase = nil }
    // All of the former log was in the file when this one was begun, and so was what this process had committed.
    if salts != log.salts { newLogBase = log.revision }
    log = (salts, revision)
  }

  /// Pages that the write-ahead log may hold before a checkpoint is due: measured 10–14 % over SQLite's 1,000. In a
  /// large file, writes without a pattern seldom meet the same page twice, so there more of them wait for each other
  /// (of an event of one of 100,000 sessions 0.8 pages are copied instead of 1.6); but the log stays under the limit
  /// over which SQLite cuts it.
  static func checkpointPages(inDatabaseOf pages: Int64) -> Int { Int(min(max(pages / 4, 4_000), 15_000)) }

  /// for the database as the last checkpoint left it
  private var checkpointPages = checkpointPages(inDatabaseOf: 0)

  var checkpointIsDue: Bool { connection.walPages >= checkpointPages }

  /// Copies the write-ahead log into the file, unless another process holds the lock right now.
  /// - Throws: ``SQLiteError`` when the disk failed; commits are safe in the log, but nobody knows what the file holds
  func checkpoint() throws -> Int {
    // An open group has the lock, which must not be let go before its commit.
    guard !connection.isInTransaction, lock(waiting: 0) else { return 0 }
    defer { unlock() }
    try checkBeforeCommit()
    defer { place?.noteCheckpoint() }
    let copied = try connection.checkpoint()
    if let pages = try? connection.pragma("page_count") {
      checkpointPages = Self.checkpointPages(inDatabaseOf: pages)
    }
    return copied
  }

  /// Runs `body`, whose commits need not be on disk when they return.
  /// - Throws: `outcomeUnknown` when commits cannot be synced any more; what `body` throws
  func withoutSync<Result>(_ body: () throws -> Result) throws -> Result {
    if durability == .normal { return try body() }
    try connection.setSync(eachCommit: false)
    let outcome = Swift.Result { try body() }
    do {
      try connection.setSync(eachCommit: true)
    } catch {
      throw StoreError.outcomeUnknown(code: error.code, message: "commits cannot be synced any more")
    }
    return try outcome.get()
  }

  // MARK: - Sizes

  /// bytes of the database, its free pages included
  func databaseBytes() throws -> Int64 { try connection.pragma("page_count") * connection.pragma("page_size") }
  var logBytes: Int64 { path.isEmpty ? 0 : DatabaseFile.size(DatabaseFile.logPath(path)) }
  func freeBytes() throws -> Int64 { try connection.pragma("freelist_count") * connection.pragma("page_size") }

  /// Gives free pages back to the file system, in a group.
  /// - Returns: how many
  func freePages(_ limit: Int) throws -> Int64 {
    let before = try connection.pragma("freelist_count")
    if before == 0 { return 0 }
    try connection.execute("PRAGMA incremental_vacuum(\(limit))")
    return before - (try connection.pragma("freelist_count"))
  }
}
