import Foundation
import SQLite
import Testing

@Suite struct ConnectionTests {
  let directory: TemporaryDirectory
  let path: String

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.database()
  }

  private func open(mode: Connection.Mode = .readWrite, busyTimeout: Int32 = 0) throws -> Connection {
    try Connection(path: path, mode: mode, busyTimeout: busyTimeout)
  }

  private func writer() throws -> Connection {
    let connection = try open()
    try connection.configureForWriting(syncEachCommit: false, exclusive: false)
    return connection
  }

  private func count(_ connection: Connection) throws -> Int64 {
    let select = try connection.statement("SELECT count(*) FROM t")
    return try select.step() ? select.integer(0) : -1
  }

  // MARK: - Transactions

  @Test func aTransactionThatIsRolledBackLeavesNothing() throws {
    let connection = try writer()
    try connection.execute("CREATE TABLE t (a)")
    #expect(!connection.isInTransaction)
    try connection.beginImmediate()
    #expect(connection.isInTransaction)
    try connection.execute("INSERT INTO t VALUES (1)")
    #expect(try count(connection) == 1)
    connection.rollback()
    #expect(!connection.isInTransaction)
    #expect(try count(connection) == 0)
    // Without a transaction it does nothing.
    connection.rollback()
    try connection.begin()
    try connection.execute("INSERT INTO t VALUES (1)")
    try connection.commit()
    #expect(try count(connection) == 1)
  }

  @Test func aTransactionInsideATransactionIsRefusedAndTheFirstOneStands() throws {
    let connection = try writer()
    try connection.execute("CREATE TABLE t (a)")
    try connection.beginImmediate()
    try connection.execute("INSERT INTO t VALUES (1)")
    #expect(throws: SQLiteError.self) { try connection.beginImmediate() }
    #expect(throws: SQLiteError.self) { try connection.begin() }
    #expect(connection.isInTransaction)
    try connection.execute("SAVEPOINT inner; INSERT INTO t VALUES (2); ROLLBACK TO inner; RELEASE inner")
    try connection.commit()
    #expect(try count(connection) == 1)
    #expect(throws: SQLiteError.self) { try connection.commit() }
  }

  @Test func anImmediateTransactionTakesTheWriteLock() throws {
    let first = try writer()
    let second = try writer()
    try first.execute("CREATE TABLE t (a)")
    try first.beginImmediate()
    let error = #expect(throws: SQLiteError.self) { try second.beginImmediate() }
    #expect(error?.class == .busy)
    #expect(!second.isInTransaction)
    // Readers are not held up.
    #expect(try count(second) == 0)
    first.rollback()
    try second.beginImmediate()
    second.rollback()
  }

  @Test func aReadOnlyConnectionWritesNothing() throws {
    try writer().execute("CREATE TABLE t (a)")
    let connection = try open(mode: .readOnly)
    let error = #expect(throws: SQLiteError.self) { try connection.execute("INSERT INTO t VALUES (1)") }
    #expect(error?.class == .readOnly)
  }

  // MARK: - What another connection did

  @Test func dataVersionMovesWithOthersCommitsAndIsSeenInsideATransaction() throws {
    let ours = try writer()
    let other = try writer()
    try other.execute("CREATE TABLE t (a)")
    func version() throws -> Int64 {
      try ours.begin()
      defer { ours.rollback() }
      return try ours.dataVersion()
    }
    let before = try version()
    #expect(try version() == before)
    // Our own commits do not count.
    try ours.execute("INSERT INTO t VALUES (1)")
    #expect(try version() == before)
    try other.execute("INSERT INTO t VALUES (2)")
    let after = try version()
    #expect(after != before)
    // Inside a transaction the snapshot stands still, and so does the answer.
    try ours.begin()
    #expect(try ours.dataVersion() == after)
    try other.execute("INSERT INTO t VALUES (3)")
    #expect(try ours.dataVersion() == after)
    #expect(try count(ours) == 2)
    ours.rollback()
    #expect(try version() != after)
  }

  // MARK: - The file

  @Test func theSettingsAreReadBack() throws {
    let connection = try writer()
    #expect(try connection.pragmaText("journal_mode") == "wal")
    #expect(try connection.pragma("synchronous") == 1)
    #expect(try connection.pragma("foreign_keys") == 1)
    #expect(try connection.pragma("auto_vacuum") == 2)
    #expect(try connection.pragma("cell_size_check") == 1)
    #expect(try connection.pragma("mmap_size") == 0)
    #expect(try connection.pragma("journal_size_limit") == 67_108_864)
    try connection.configureForWriting(syncEachCommit: true, exclusive: false)
    #expect(try connection.pragma("synchronous") == 2)
    // A pragma without an answer.
    #expect(try connection.pragma("no_such_pragma") == 0)
    #expect(try connection.pragmaText("no_such_pragma") == "")
  }

  @Test func aDatabaseInMemoryHasNoPath() throws {
    let connection = try Connection(path: ":memory:", mode: .readWrite, busyTimeout: 0)
    try connection.configureForWriting(syncEachCommit: true, exclusive: false)
    #expect(connection.resolvedPath == "")
    #expect(connection.walPages == 0)
    #expect(try connection.checkpoint() == 0)
  }

  @Test func theResolvedPathFollowsLinks() throws {
    let link = directory.file("link.db")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
    let direct = try open().resolvedPath
    #expect(try Connection(path: link, mode: .readWrite, busyTimeout: 0).resolvedPath == direct)
  }

  @Test func anExclusiveConnectionNeedsNoSharedMemoryAndLetsNobodyElseIn() throws {
    let connection = try open()
    try connection.configureForWriting(syncEachCommit: false, exclusive: true)
    try connection.execute("CREATE TABLE t (a)")
    #expect(DatabaseFile.kind(path + "-shm") == .missing)
    let other = try open(mode: .readOnly)
    let error = #expect(throws: SQLiteError.self) { _ = try other.pragma("user_version") }
    #expect(error?.class == .busy)
  }

  @Test func theLogGrowsUntilACheckpointIsAskedFor() throws {
    let connection = try writer()
    try connection.execute("CREATE TABLE t (a)")
    let empty = connection.walPages
    #expect(empty > 0)
    // Beyond SQLite's own 1,000 pages: its automatic checkpoint is off.
    for _ in 0..<12 { try connection.execute("INSERT INTO t VALUES (zeroblob(400000))") }
    #expect(connection.walPages > empty + 1_100)
    let pages = connection.walPages
    #expect(try connection.checkpoint() == pages)
    #expect(connection.walPages == 0)
    #expect(DatabaseFile.size(path) >= 4_800_000)
  }

  @Test func aCheckpointLeavesWhatAReaderStillNeeds() throws {
    let connection = try writer()
    try connection.execute("CREATE TABLE t (a)")
    _ = try connection.checkpoint()
    let reader = try open(mode: .readOnly)
    try reader.begin()
    #expect(try count(reader) == 0)
    try connection.execute("INSERT INTO t VALUES (1)")
    let pages = connection.walPages
    #expect(pages > 0)
    _ = try connection.checkpoint()
    #expect(connection.walPages > 0)
    #expect(try count(reader) == 0)
    reader.rollback()
    #expect(try connection.checkpoint() == pages)
    #expect(connection.walPages == 0)
  }

  @Test func aCheckpointBesideAnotherOneIsNoError() throws {
    let connection = try writer()
    try connection.execute("CREATE TABLE t (a)")
    let other = try writer()
    try other.beginImmediate()
    #expect(throws: Never.self) { try connection.checkpoint() }
    other.rollback()
  }

  @Test func aCheckpointWithinATransactionIsPutOff() throws {
    let connection = try writer()
    try connection.execute("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")
    let pages = connection.walPages
    try connection.begin()
    #expect(try count(connection) == 2)
    #expect(try connection.checkpoint() == 0)
    try connection.commit()
    do {
      // Without a transaction of its own a statement with rows left is one.
      let select = try connection.statement("SELECT a FROM t")
      #expect(try select.step())
      #expect(try connection.checkpoint() == 0)
    }
    #expect(connection.walPages == pages)
    #expect(try connection.checkpoint() == pages)
  }

  @Test func whatIsNoDatabaseIsToldFromWhatCannotBeOpened() throws {
    try Data(repeating: 0x41, count: 4_096).write(to: URL(fileURLWithPath: path))
    let text = #expect(throws: SQLiteError.self) { _ = try open().pragma("user_version") }
    #expect(text?.class == .notADatabase)
    let missing = #expect(throws: SQLiteError.self) {
      _ = try Connection(path: directory.file("none.db"), mode: .readWrite, busyTimeout: 0)
    }
    #expect(missing?.class == .cannotOpen)
    #expect(missing?.message.isEmpty == false)
  }

  @Test func codesFallIntoClasses() {
    let classes: [(Int32, SQLiteError.Class)] = [
      (5, .busy), (261, .busy), (517, .busy), (6, .busy), (13, .full), (8, .readOnly), (1_032, .readOnly),
      (3, .readOnly), (11, .corrupt), (779, .corrupt), (26, .notADatabase), (14, .cannotOpen), (10, .inputOutput),
      (1_034, .inputOutput), (1, .other), (2_067, .other),
    ]
    for (code, expected) in classes { #expect(SQLiteError(code: code, message: "").class == expected, "code \(code)") }
  }

  @Test func theLibraryTellsItsVersion() {
    #expect(linkedVersion.hasPrefix("3."))
  }
}
