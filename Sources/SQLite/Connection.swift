internal import CSQLite

/// One connection to one database file, used by one thread.
///
/// It keeps every statement that it compiled. Nothing in it knows a table.
@safe
package final class Connection {
  package enum Mode {
    case readOnly, readWrite
    /// Reads the file alone, without a lock, its log or its shared memory: only for one that nobody changes meanwhile
    /// (https://www.sqlite.org/uri.html#uriimmutable).
    case immutable
  }

  let handle: OpaquePointer
  private var literals = LiteralStatements()
  private var composed: [String: PreparedStatement] = [:]
  private let walPageCount: UnsafeMutablePointer<Int32>
  /// what ``spills`` was at each savepoint of the transaction
  private var spillsAtSavepoints: [Int32] = []

  /// Opens `path` and makes the connection strict; it reads nothing of the file yet.
  /// - Parameter busyTimeout: milliseconds that a call waits for a lock, set before anything can need one
  package init(path: String, mode: Mode, busyTimeout: Int32) throws(SQLiteError) {
    Self.prepareLibrary()
    // One thread uses the connection, so SQLite's own mutexes would be pure cost: measured 5 %.
    let common = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
    // Debian's library takes what begins with "file:" for a URI; a path is to be a path.
    let name = path.hasPrefix("file:") ? "./" + path : path
    let (opening, flags) =
      switch mode {
      case .readOnly: (name, common | SQLITE_OPEN_READONLY)
      case .readWrite: (name, common | SQLITE_OPEN_READWRITE)
      case .immutable: (Self.uri(name) + "?immutable=1", common | SQLITE_OPEN_READONLY | SQLITE_OPEN_URI)
      }
    var opened: OpaquePointer? = nil
    let code = unsafe sqlite3_open_v2(opening, &opened, flags, mode == .readWrite ? JoinedWrites.name : nil)
    guard code == SQLITE_OK, let handle = unsafe opened else {
      let error = unsafe SQLiteError(code: code, connection: opened)
      unsafe sqlite3_close(opened)
      throw error
    }
    // A file that cannot be opened for writing just now (no descriptor is left, the disk fails) is opened for reading
    // without a word, and every write would be refused for as long as the connection lives.
    if mode == .readWrite, unsafe sqlite3_db_readonly(handle, "main") == 1 {
      unsafe sqlite3_close(handle)
      throw SQLiteError(code: SQLITE_CANTOPEN, message: "unable to open database file for writing")
    }
    unsafe self.handle = unsafe handle
    unsafe walPageCount = .allocate(capacity: 1)
    unsafe walPageCount.initialize(to: 0)
    unsafe sqlite3_busy_timeout(handle, busyTimeout)
    for (option, on) in [
      (SQLITE_DBCONFIG_DEFENSIVE, 1), (SQLITE_DBCONFIG_DQS_DDL, 0), (SQLITE_DBCONFIG_DQS_DML, 0),
      (SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0), (SQLITE_DBCONFIG_ENABLE_TRIGGER, 0), (SQLITE_DBCONFIG_ENABLE_VIEW, 0),
    ] as [(Int32, Int32)] {
      try check(unsafe csqlite_db_config(handle, option, on))
    }
    unsafe sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0)
    unsafe sqlite3_limit(handle, SQLITE_LIMIT_WORKER_THREADS, 0)
    unsafe sqlite3_limit(handle, SQLITE_LIMIT_TRIGGER_DEPTH, 1)
    unsafe csqlite_watch_wal(handle, walPageCount)
  }

  /// An empty authority goes before an absolute path, lest two slashes at its start name a host.
  private static func uri(_ path: String) -> String {
    var uri = path.hasPrefix("/") ? "file://" : "file:"
    for byte in path.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "-"):
        uri.unicodeScalars.append(Unicode.Scalar(byte))
      default: uri += (byte < 16 ? "%0" : "%") + String(byte, radix: 16)
      }
    }
    return uri
  }

  deinit {
    literals.removeAll()
    composed.removeAll()
    unsafe sqlite3_close_v2(handle)
    unsafe walPageCount.deallocate()
  }

  /// https://www.sqlite.org/c3ref/config.html: before the first connection; the statistics cost a lock on each
  /// allocation and nobody reads them.
  private static func prepareLibrary() { _ = libraryIsPrepared }
  private static let libraryIsPrepared = csqlite_config_memory_statistics(0) == SQLITE_OK

  private func check(_ code: Int32) throws(SQLiteError) {
    if code != SQLITE_OK { throw unsafe SQLiteError(code: code, connection: handle) }
  }

  // MARK: - Statements

  /// The statement for an SQL literal; compiled once for each place in the code.
  package func statement(_ sql: StaticString) throws(SQLiteError) -> Statement {
    let address = unsafe UInt(bitPattern: sql.utf8Start)
    if let known = literals[address], !known.isInUse { return unsafe Statement(known, connection: handle) }
    let prepared = try compile(sql.description)
    literals[address] = prepared
    return unsafe Statement(prepared, connection: handle)
  }

  /// The statement for SQL that was put together from constant parts (filters of lists); compiled once for each text.
  package func statement(composed sql: String) throws(SQLiteError) -> Statement {
    if let known = composed[sql], !known.isInUse { return unsafe Statement(known, connection: handle) }
    let prepared = try compile(sql)
    composed[sql] = prepared
    return unsafe Statement(prepared, connection: handle)
  }

  private func compile(_ sql: String) throws(SQLiteError) -> PreparedStatement {
    var compiled: OpaquePointer? = nil
    let code = unsafe sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &compiled, nil)
    guard code == SQLITE_OK, let handle = unsafe compiled else {
      throw unsafe SQLiteError(code: code, connection: self.handle)
    }
    let prepared = unsafe PreparedStatement(handle)
    // To SQLite `$1` is a name: it numbers parameters as they first appear, and other engines by their digits. Only
    // where both agree does a statement mean the same to both.
    for index in 1..<max(1, unsafe sqlite3_bind_parameter_count(handle) + 1) {
      let name = unsafe sqlite3_bind_parameter_name(handle, index)
      guard let name = unsafe name, unsafe String(cString: name) == "$\(index)" else {
        throw SQLiteError(code: SQLITE_MISUSE, message: "parameter \(index) does not appear as $\(index)")
      }
    }
    return prepared
  }

  /// Runs statements that are used once, such as a schema.
  package func execute(_ sql: String) throws(SQLiteError) {
    try check(unsafe sqlite3_exec(handle, sql, nil, nil, nil))
  }

  /// The first column of the first row of a pragma.
  package func pragma(_ sql: String) throws(SQLiteError) -> Int64 {
    let statement = try statement(composed: "PRAGMA " + sql)
    return try statement.step() ? statement.integer(0) : 0
  }

  /// The first column of the first row of a pragma, as text.
  package func pragmaText(_ sql: String) throws(SQLiteError) -> String {
    let statement = try statement(composed: "PRAGMA " + sql)
    return try statement.step() ? statement.string(0) : ""
  }

  /// rows that the last INSERT, UPDATE or DELETE changed
  package var changes: Int64 { unsafe sqlite3_changes64(handle) }

  /// Runs `body`, whose statements another thread may stop through `progress`.
  package func interruptibly<Result>(_ progress: WorkProgress, _ body: () throws -> Result) rethrows -> Result {
    unsafe progress.setConnection(UInt(bitPattern: handle))
    defer { progress.setConnection(nil) }
    return try body()
  }

  // MARK: - Transactions

  package func begin() throws(SQLiteError) { try begin("BEGIN") }

  /// Takes the write lock at once: a deferred transaction that turned to writing later would fail without waiting,
  /// whatever the timeout.
  package func beginImmediate() throws(SQLiteError) { try begin("BEGIN IMMEDIATE") }

  private func begin(_ sql: StaticString) throws(SQLiteError) {
    let begin = try statement(sql)
    try begin.run()
    spillsAtSavepoints.removeAll(keepingCapacity: true)
  }

  /// - Parameter milliseconds: how long a call waits for a lock
  package func setBusyTimeout(_ milliseconds: Int32) {
    unsafe sqlite3_busy_timeout(handle, milliseconds)
  }

  package func commit() throws(SQLiteError) {
    let commit = try statement("COMMIT")
    try commit.run()
    assert(!hasBusyStatement, "a statement outlives its transaction and holds checkpoints up")
  }

  /// Whether a statement has rows left: it keeps what it reads as it is, even after the end of the transaction.
  private var hasBusyStatement: Bool {
    var next = unsafe sqlite3_next_stmt(handle, nil)
    while let statement = unsafe next {
      if unsafe sqlite3_stmt_busy(statement) != 0 { return true }
      unsafe next = unsafe sqlite3_next_stmt(handle, statement)
    }
    return false
  }

  /// Ends the transaction without its changes. SQLite may already have ended it by itself (a full disk does that).
  package func rollback() {
    guard isInTransaction else { return }
    // A failing ROLLBACK still leaves no transaction: https://www.sqlite.org/lang_transaction.html
    unsafe sqlite3_exec(handle, "ROLLBACK", nil, nil, nil)
  }

  /// Begins a part of the transaction that can be taken back alone. It may have parts itself.
  package func savepoint() throws(SQLiteError) {
    let savepoint = try statement("SAVEPOINT part")
    try savepoint.run()
    spillsAtSavepoints.append(spills)
  }

  /// What was done since ``savepoint()`` stays with the rest.
  package func release() throws(SQLiteError) {
    let release = try statement("RELEASE part")
    try release.run()
    _ = spillsAtSavepoints.popLast()
  }

  /// Takes back what was done since ``savepoint()``; where that is not safe, the whole transaction, which then is no
  /// more.
  ///
  /// Pages for which there was no room in memory stand in the log already. If one was written there a second time,
  /// SQLite leaves the check sums of what follows to the commit, and forgets those in front of that page when the part
  /// is taken back: what is committed then is found by nobody who reads the log after a crash, nor is what comes behind
  /// it (seen with 3.40.1; `iReCksum` in its `wal.c`).
  package func rollbackToSavepoint() throws(SQLiteError) {
    if spills != spillsAtSavepoints.popLast() { return rollback() }
    try execute("ROLLBACK TO part; RELEASE part")
  }

  /// how often pages were written to the log before their transaction was committed
  private var spills: Int32 {
    var count: Int32 = 0
    var highest: Int32 = 0
    unsafe sqlite3_db_status(handle, SQLITE_DBSTATUS_CACHE_SPILL, &count, &highest, 0)
    return count
  }

  /// False as well after an error that made SQLite roll back silently: ask after every failure.
  package var isInTransaction: Bool { unsafe sqlite3_get_autocommit(handle) == 0 }

  /// Changes whenever another connection has committed to the file since this one last looked. Only inside a
  /// transaction is the answer not stale: https://www.sqlite.org/pragma.html#pragma_data_version
  package func dataVersion() throws(SQLiteError) -> Int64 {
    let statement = try statement("PRAGMA data_version")
    return try statement.step() ? statement.integer(0) : 0
  }

  // MARK: - The file

  /// The file's path as SQLite resolved it; empty for a database in memory.
  package var resolvedPath: String {
    guard let name = unsafe sqlite3_db_filename(handle, nil) else { return "" }
    return unsafe String(cString: name)
  }

  /// What every connection that writes sets, each value read back where SQLite may refuse it silently.
  ///
  /// `syncEachCommit` chooses synchronous = FULL over NORMAL, with which a power cut may take the last commits.
  /// `exclusive` keeps the file for this connection alone and needs no shared memory; it must be asked for before the
  /// write-ahead log is first used.
  package func configureForWriting(syncEachCommit: Bool, exclusive: Bool) throws(SQLiteError) {
    if exclusive { _ = try pragmaText("locking_mode = EXCLUSIVE") }
    // Only before the first table does this take effect, and on any other file it would still cost a transaction.
    if try pragma("page_count") == 0 { try execute("PRAGMA auto_vacuum = INCREMENTAL") }
    let isInMemory = resolvedPath.isEmpty
    let mode = try pragmaText("journal_mode = WAL")
    if mode != (isInMemory ? "memory" : "wal") {
      throw SQLiteError(code: SQLITE_ERROR, message: "the journal mode is '\(mode)' instead of WAL")
    }
    try setSync(eachCommit: syncEachCommit)
    if try pragma("synchronous") != (syncEachCommit ? 2 : 1) {
      throw SQLiteError(code: SQLITE_ERROR, message: "synchronous could not be set")
    }
    try execute(
      """
      PRAGMA foreign_keys = ON;
      PRAGMA journal_size_limit = 67108864;
      PRAGMA cell_size_check = ON;
      PRAGMA secure_delete = FAST;
      PRAGMA mmap_size = 0;
      PRAGMA temp_store = MEMORY;
      """)
    // Its checkpoints swallow failed syncs (seen with injected faults), so the only checkpoints are explicit ones.
    // Turning it off also unsets the hook that counts pages.
    unsafe sqlite3_wal_autocheckpoint(handle, 0)
    unsafe csqlite_watch_wal(handle, walPageCount)
  }

  /// Chooses whether a commit waits for the disk. What is not synced goes with the next commit that is, or with a
  /// checkpoint. Only between transactions.
  package func setSync(eachCommit: Bool) throws(SQLiteError) {
    try execute("PRAGMA synchronous = \(eachCommit ? 2 : 1)")
  }

  /// pages in the write-ahead log after the last commit of this connection
  package var walPages: Int { unsafe Int(walPageCount.pointee) }

  /// Whether another file stands at the path of the one that is open, or none.
  var databaseHasMoved: Bool { unsafe csqlite_has_moved(handle) != 0 }

  /// What every checkpoint of the file leaves behind; only where it has shared memory.
  var checkpointMarks: CheckpointMarks { CheckpointMarks(unsafe csqlite_read_checkpoint_marks(handle)) }

  /// Bytes of the database itself, past its log; zeros where it ends.
  func read(at offset: Int64, _ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    unsafe csqlite_read_database(handle, &bytes, Int32(count), offset)
    return bytes
  }

  /// Makes the write-ahead log longer than what is in it. Where there is no room for that nothing is lost: what is
  /// committed next makes it longer itself.
  func lengthenLog(to size: Int64) { _ = unsafe csqlite_lengthen_log(handle, size) }

  /// Closing the connection leaves the files as they are: they may not be those that it has open.
  package func keepLog() { unsafe csqlite_keep_log(handle) }

  /// Copies what it can of the write-ahead log into the file without waiting for anyone; nothing within a transaction.
  /// - Returns: pages copied
  package func checkpoint() throws(SQLiteError) -> Int {
    var logPages: Int32 = 0
    var copied: Int32 = 0
    let code = unsafe sqlite3_wal_checkpoint_v2(handle, nil, SQLITE_CHECKPOINT_PASSIVE, &logPages, &copied)
    // Locked is it to a connection that is in a transaction itself; the disk has not failed.
    if [SQLITE_BUSY, SQLITE_LOCKED].contains(code & 0xFF) { return 0 }
    try check(code)
    unsafe walPageCount.pointee = logPages - copied
    return Int(max(copied, 0))
  }
}

@available(*, unavailable)
extension Connection: Sendable {}
