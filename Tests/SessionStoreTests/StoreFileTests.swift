import Foundation
import Database
import JSON
import SQLite
import Testing

@testable import SessionStore

@Suite(.ofFiles) struct StoreFileTests {
  let directory: TemporaryDirectory
  let path: String

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.file("a.db")
  }

  private func open(_ path: String, _ schema: Schema = .current) throws -> TestStore {
    try TestStore(path, schema: schema)
  }

  private func bytes(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

  private func raw() throws -> SQLite.Connection { try SQLite.Connection(path: path, mode: .readWrite, busyTimeout: 0) }

  /// Expects that the file is refused and that neither it nor its log changes by a byte.
  private func refuses(
    _ path: String, schema: Schema = .current, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> OpenError? {
    let before = try bytes(path)
    // Looking at a file without a log leaves an empty one.
    let log = DatabaseFile.size(path + "-wal") > 0 ? try bytes(path + "-wal") : Data()
    let error = #expect(throws: OpenError.self, sourceLocation: sourceLocation) { _ = try open(path, schema) }
    #expect(try bytes(path) == before, sourceLocation: sourceLocation)
    #expect((try? bytes(path + "-wal")) ?? Data() == log, sourceLocation: sourceLocation)
    return error
  }

  // MARK: - Opening

  @Test func aNewFileIsMarkedAsOurs() throws {
    let test = try open(path)
    let connection = test.store.file!.connection
    #expect(try connection.pragma("application_id") == 0x4D43_5073)
    #expect(try connection.pragma("user_version") == Schema.current.version)
    #expect(try connection.pragmaText("journal_mode") == "wal")
    #expect(try connection.pragma("auto_vacuum") == 2)
    #expect(test.store.schema == Schema.current.version)
    #expect(test.store.path == path)
    let rights = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
    #expect(rights?.intValue == 0o600)
    for table in Schema.tables(of: Schema.current.version) {
      let rows: [String: Int64] = ["store": 1, "audit_chains": 2]
      #expect(try test.rows(table) == rows[table, default: 0])
    }
  }

  @Test func theListOfTablesIsComplete() throws {
    let test = try open(path)
    let select = try test.store.file!.connection.statement(
      "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    var names: [String] = []
    while try select.step() { names.append(select.string(0)) }
    #expect(names == Schema.tables(of: Schema.current.version).sorted())
  }

  @Test func whatIsInItIsThereTheNextTime() throws {
    let test = try open(path)
    try test.create("s") { $0.state = #"{"a":1}"# }
    try test.event("s", #""data""#)
    try test.task("t")
    let before = test.store.counters
    try test.reopen()
    #expect(try test.get("s")?.state?.string == #"{"a":1}"#)
    #expect(try test.events("s").ids == [1])
    #expect(try test.taskIDs() == ["t"])
    #expect(test.store.counters == before)
  }

  @Test func anEmptyFileIsNobodysAndIsTaken() throws {
    #expect(FileManager.default.createFile(atPath: path, contents: nil))
    try open(path).create("s")
    // So is a database without a table.
    let other = directory.file("b.db")
    #expect(DatabaseFile.create(other) == nil)
    try SQLite.Connection(path: other, mode: .readWrite, busyTimeout: 0).execute("CREATE TABLE t (a); DROP TABLE t")
    #expect(DatabaseFile.size(other) > 0)
    try open(other).create("s")
  }

  @Test func aStoreInMemoryNeedsNoFile() throws {
    let test = try TestStore()
    try test.create("s")
    #expect(test.store.path == "")
    #expect(test.store.walBytes == 0)
    #expect(try test.ids() == ["s"])
    _ = try test.store.maintain()
  }

  @Test func whatCannotBeAFileIsNamed() throws {
    func error(_ path: String) throws -> OpenError? { #expect(throws: OpenError.self) { _ = try open(path) } }
    for path in [directory.path, "/dev/null", directory.file("no/folder/a.db")] {
      guard case .cannotCreate(let message) = try error(path) else {
        Issue.record("\(path) was not refused as impossible")
        continue
      }
      #expect(message.contains(path))
    }
    #expect(DatabaseFile.kind(directory.file("no")) == .missing)
  }

  // MARK: - Files that are refused

  @Test func aFileOfAnotherProgramIsLeftAlone() throws {
    try Data("This is a text file, and a valuable one.".utf8).write(to: URL(fileURLWithPath: path))
    guard case .foreign = try refuses(path) else {
      Issue.record("not refused as foreign")
      return
    }
  }

  @Test(arguments: [
    "CREATE TABLE t (a)", "PRAGMA application_id = 5", "PRAGMA user_version = 1",
    "PRAGMA application_id = 5; CREATE TABLE sessions (a)",
  ])
  func aDatabaseOfAnotherProgramIsLeftAlone(sql: String) throws {
    #expect(DatabaseFile.create(path) == nil)
    try raw().execute(sql)
    guard case .foreign = try refuses(path) else {
      Issue.record("not refused as foreign")
      return
    }
  }

  @Test func aNewerFileIsLeftAlone() throws {
    try open(path).create("s")
    let newer = Schema.current.version + 1
    try raw().execute("PRAGMA user_version = \(newer)")
    #expect(try refuses(path) == .tooNew(found: newer, supported: Schema.current.version))
  }

  /// Only the log of this one knows its version; closing it after opening it for writing would rewrite both files.
  @Test func aNewerFileWithAHotLogIsLeftAlone() throws {
    let newer = self.newer("CREATE TABLE more (a INTEGER) STRICT")
    let source = directory.file("source.db")
    let test = try open(source, Schema(migrations: Schema.current.migrations))
    _ = try test.store.checkpoint()
    let other = try open(source, newer)
    try other.create("s")
    for suffix in ["", "-wal"] {
      try FileManager.default.copyItem(atPath: source + suffix, toPath: path + suffix)
    }
    #expect(DatabaseFile.size(path + "-wal") > 0)
    #expect(try refuses(path) == .tooNew(found: newer.version, supported: Schema.current.version))
    // Nothing is lost.
    #expect(try open(path, newer).ids() == ["s"])
  }

  @Test func aFileThatIsCutShortIsLeftAlone() throws {
    do {
      let test = try open(path)
      for index in 0..<50 { try test.create("s-\(index)") }
    }
    // Nobody has it open any more, so no log has the pages that will be missing.
    #expect(DatabaseFile.kind(path + "-wal") == .missing)
    let all = try bytes(path)
    for size in [all.count / 2, all.count - 4_096, 4_096, 1_000, 60] {
      try all.prefix(size).write(to: URL(fileURLWithPath: path))
      switch try refuses(path) {
      case .damaged, .foreign: break
      case let other: Issue.record("\(size) bytes: \(String(describing: other))")
      }
    }
  }

  @Test func aFileWhoseTablesCannotBeReadIsLeftAlone() throws {
    let test = try open(path)
    try close(test)
    let all = try bytes(path)
    // Everything behind the first page.
    try (all.prefix(4_096) + Data(repeating: 0x5A, count: all.count - 4_096)).write(to: URL(fileURLWithPath: path))
    guard case .damaged = try refuses(path) else {
      Issue.record("not refused as damaged")
      return
    }
  }

  @Test func aFileWithoutOneOfOurTablesIsLeftAlone() throws {
    try close(try open(path))
    try raw().execute("DROP TABLE nonces")
    guard case .damaged(let message) = try refuses(path) else {
      Issue.record("not refused as damaged")
      return
    }
    #expect(message.contains("'nonces'"))
  }

  @Test func aFileWithAnImpossibleVersionIsLeftAlone() throws {
    try close(try open(path))
    try raw().execute("PRAGMA user_version = -7")
    guard case .damaged = try refuses(path) else {
      Issue.record("not refused as damaged")
      return
    }
  }

  // MARK: - What a dead process left half done

  /// A database without a log, as a backup is, with a change that was under way: its new page is in the file, its old
  /// one in the journal.
  private func leaveHotJournal(_ sql: String, change: String) throws {
    #expect(DatabaseFile.create(path) == nil)
    try raw().execute(sql)
    let connection = try raw()
    // Without room in memory, what is changed goes to the file before the end of the transaction.
    try connection.execute("PRAGMA cache_size = 1; BEGIN IMMEDIATE; \(change)")
    try connection.execute("CREATE TABLE spill (a); INSERT INTO spill SELECT zeroblob(100000)")
    let files = ["", "-journal"].map { path + $0 }
    let left = try files.map(bytes)
    connection.rollback()
    for (file, bytes) in zip(files, left) { try bytes.write(to: URL(fileURLWithPath: file)) }
    #expect(DatabaseFile.size(path + "-journal") > 512)
  }

  private func copyWithoutLog(_ test: consuming TestStore) throws -> String {
    let copy = directory.file("copy.db")
    _ = try test.store.run(.backup(path: copy))
    return copy
  }

  @Test func aChangeThatADeadProcessLeftIsTakenBack() throws {
    let test = try open(directory.file("source.db"))
    try test.create("s")
    try FileManager.default.moveItem(atPath: copyWithoutLog(test), toPath: path)
    try leaveHotJournal("", change: "UPDATE sessions SET session_id = 'other'; PRAGMA user_version = 99")
    let again = try open(path)
    #expect(try again.ids() == ["s"])
    #expect(DatabaseFile.kind(path + "-journal") == .missing)
    #expect(try again.problems() == [])
  }

  @Test func aNewFileThatADeadProcessLeftIsTaken() throws {
    try leaveHotJournal("", change: "")
    #expect(try open(path).ids() == [])
  }

  @Test func aNewFileOfWhichAPowerCutLeftOneByteIsTaken() throws {
    try leaveHotJournal("", change: "")
    try bytes(path).prefix(1).write(to: URL(fileURLWithPath: path))
    #expect(try open(path).ids() == [])
  }

  @Test func oneByteOfSomethingElseIsLeftAlone() throws {
    try leaveHotJournal("CREATE TABLE t (a)", change: "")
    try bytes(path).prefix(1).write(to: URL(fileURLWithPath: path))
    guard case .foreign = try refuses(path) else {
      Issue.record("not refused as foreign")
      return
    }
  }

  @Test(arguments: ["CREATE TABLE t (a)", "CREATE TABLE t (a); PRAGMA application_id = 5"])
  func aDatabaseOfAnotherProgramIsLeftAloneWithItsJournal(sql: String) throws {
    try leaveHotJournal(sql, change: "PRAGMA application_id = \(Schema.applicationID)")
    let journal = try bytes(path + "-journal")
    guard case .foreign = try refuses(path) else {
      Issue.record("not refused as foreign")
      return
    }
    #expect(try bytes(path + "-journal") == journal)
  }

  @Test func aNewerFileIsLeftAloneWithItsJournal() throws {
    let newer = Schema.current.version + 1
    try leaveHotJournal(
      "PRAGMA application_id = \(Schema.applicationID); PRAGMA user_version = \(newer)",
      change: "PRAGMA user_version = 1")
    let journal = try bytes(path + "-journal")
    #expect(try refuses(path) == .tooNew(found: newer, supported: Schema.current.version))
    #expect(try bytes(path + "-journal") == journal)
  }

  /// Ends the store, so that its log is written back and gone.
  private func close(_ test: consuming TestStore) throws {
    _ = try test.store.checkpoint()
  }

  // MARK: - Others on the same file

  @Test func aFileThatAnotherProcessKeepsIsLocked() throws {
    try close(try open(path))
    let lock = try FileLock(path: path + "-lock")
    #expect(lock.acquire(timeout: 0))
    guard case .locked = try refuses(path) else {
      Issue.record("not refused as locked")
      return
    }
    lock.release()
    try open(path).create("s")
  }

  @Test func anExclusiveStoreLetsNobodyIn() throws {
    var limits = Limits()
    limits.busyTimeout = 0
    let environment = Environment(now: { 0 })
    var store: Store? = try Store.open(
      path, limits: limits, durability: .normal, exclusive: true, environment: environment)
    #expect(store?.isExclusive == true)
    #expect(DatabaseFile.kind(path + "-shm") == .missing)
    #expect(throws: OpenError.self) { _ = try open(path) }
    store = nil
    try open(path).create("s")
  }

  @Test func twoNamesOfOneFileShareTheLock() throws {
    let link = directory.file("link.db")
    let test = try open(path)
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
    let other = try open(link)
    try test.store.beginGroup(waiting: 0)
    #expect(throws: StoreError.self) { try other.store.beginGroup(waiting: 0) }
    test.store.abandonGroup()
    try other.create("s")
    #expect(try test.ids() == ["s"])
  }

  // MARK: - The log

  /// What is committed is written over zeros that are there already, so that few syncs find that the file has grown.
  @Test func theLogIsLongerThanWhatIsInIt() throws {
    let path = directory.file("ahead.db")
    let store = try Store.open(
      path, limits: Limits(), durability: .full, environment: Environment(now: { 1_795_210_000_000 }))
    func commit(_ body: () throws -> Void) throws {
      try store.beginGroup(waiting: 0)
      try body()
      try store.commitGroup()
    }
    func used() -> Int64 { 32 + Int64(store.file!.connection.walPages) * (24 + 4_096) }
    var session = NewSession()
    session.sessionID = "s"
    try commit { _ = try store.createSession(session, owner: .server) }
    var sizes: Set<Int64> = []
    for _ in 0..<100 {
      try commit { _ = try store.storeEvent("s", NewEvent(data: .null), owner: .server) }
      #expect(store.walBytes >= used() && store.walBytes <= 2 * used() + 512 << 10)
      sizes.insert(store.walBytes)
    }
    #expect(sizes.count < 10)

    // What a process that is killed leaves: the zeros are no commits.
    let copy = directory.file("copy.db")
    for ending in ["", "-wal"] {
      try FileManager.default.copyItem(atPath: path + ending, toPath: copy + ending)
    }
    let restarted = try TestStore(copy)
    #expect(try restarted.get("s")?.lastEventID == 100)
    #expect(try restarted.event("s") == 101)
  }

  /// A page that is written twice between two checkpoints is copied once, and in a large file that takes longer.
  @Test func theLogOfALargeFileMayGrowLonger() throws {
    let test = try open(path)
    let file = try #require(test.store.file)
    try file.connection.execute("CREATE TABLE filler (bytes BLOB)")
    /// Fills the log, and the file behind it by as many pages.
    func fill(to pages: Int) throws {
      while file.connection.walPages < pages {
        let left = (pages - file.connection.walPages) * 4_000
        try file.connection.execute("INSERT INTO filler VALUES (zeroblob(\(left)))")
      }
    }
    for _ in 0..<5 {
      #expect(!test.store.checkpointIsDue)
      try fill(to: 4_000)
      #expect(test.store.checkpointIsDue)
      #expect(try test.store.checkpoint() >= 4_000)
    }
    let limit = try Int(file.connection.pragma("page_count")) / 4
    #expect(limit > 4_600)
    try fill(to: 4_500)
    #expect(!test.store.checkpointIsDue)
    try fill(to: limit)
    #expect(test.store.checkpointIsDue)
    #expect(OpenedFile.checkpointPages(inDatabaseOf: .max) == 15_000)
  }

  // MARK: - Migrations

  private static let addsANote = """
    ALTER TABLE sessions ADD COLUMN note TEXT;
    UPDATE sessions SET note = 'of ' || session_id;
    CREATE TABLE notes (number INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
    """

  @Test func anOldFileIsBroughtForward() throws {
    try fillOldFile()
    let newer = self.newer(Self.addsANote, "INSERT INTO notes VALUES (1, 'x')")
    let test = try open(path, newer)
    #expect(test.store.schema == Schema.current.version + 2)
    try expectOldData(test)
    #expect(try test.rows("notes") == 1)
    do {
      let select = try test.store.file!.connection.statement("SELECT note FROM sessions WHERE session_id = 's'")
      #expect(try select.step())
      #expect(select.string(0) == "of s")
    }
    // And it can be used.
    #expect(try test.event("s") == 3)
    try test.create("new")
  }

  @Test func aMigrationThatFailsLeavesTheOldFile() throws {
    try fillOldFile()
    let broken = newer(Self.addsANote + "INSERT INTO no_such_table VALUES (1);")
    #expect(throws: OpenError.self) { _ = try open(path, broken) }
    let test = try open(path)
    try expectOldData(test)
    #expect(
      try test.store.file!.connection.pragma("user_version") == Schema.current.version)
    #expect(throws: DatabaseError.self) { try test.rows("notes") }
    #expect(throws: SQLiteError.self) {
      _ = try test.store.file!.connection.statement("SELECT note FROM sessions")
    }
  }

  @Test func eachMigrationIsATransactionOfItsOwn() throws {
    try fillOldFile()
    let broken = newer(Self.addsANote, "INSERT INTO no_such_table VALUES (1)")
    #expect(throws: OpenError.self) { _ = try open(path, broken) }
    #expect(try raw().pragma("user_version") == Schema.current.version + 1)
    let mended = newer(Self.addsANote, "INSERT INTO notes VALUES (1, 'x')")
    try expectOldData(try open(path, mended))
  }

  @Test func whoMeetsAFileThatWasMigratedMeanwhileStopsWriting() throws {
    let test = try open(path)
    try test.create("s")
    let newer = self.newer(Self.addsANote)
    let other = try open(path, newer)
    let error = StoreError.tooNew(found: newer.version, supported: Schema.current.version)
    for _ in 1...2 {
      #expect(throws: error) { try test.store.beginGroup(waiting: 0) }
      #expect(throws: error) { try test.store.beginRead() }
      #expect(test.store.transactionStands == false)
    }
    // The lock is free again.
    try other.create("t")
  }

  private func fillOldFile() throws {
    let test = try open(path)
    try test.create("s") { $0.state = #"{"a":1.0}"# }
    for _ in 1...2 { try test.event("s", #""data""#, stream: "x") }
    try test.task("t")
    try test.put(ValuePlace(collection: "c", owner: .server), "k", "1.50")
  }

  private func expectOldData(_ test: TestStore) throws {
    #expect(try test.get("s")?.state?.string == #"{"a":1.0}"#)
    #expect(try test.events("s").ids == [1, 2])
    #expect(try test.taskIDs() == ["t"])
    #expect(try test.read { try $0.getValue(ValuePlace(collection: "c", owner: .server), "k") }?.value.string == "1.50")
    // s, t, k
    #expect(test.store.counters.revision == 3)
  }

  // MARK: - The files of earlier versions

  /// What is made at once is what the migrations make one after the other: tables, indexes, columns and first rows.
  @Test func aNewFileIsWhatTheMigrationsMake() throws {
    let (new, migrated) = (try TestStore(), try TestStore(schema: Schema(migrations: Schema.current.migrations)))
    let parts = try structure(new.store)
    #expect(parts.filter { $0.hasPrefix("table") }.count == Schema.tables(of: Schema.current.version).count)
    #expect(parts.contains { $0.hasPrefix("column tasks session INTEGER") })
    let others = try structure(migrated.store)
    for (part, other) in zip(parts, others) where part != other {
      Issue.record("at once: \(part)\none after the other: \(other)")
    }
    #expect(parts.count == others.count)
  }

  private func structure(_ store: Store) throws -> [String] {
    let connection = store.file!.connection
    var parts: [String] = []
    var tables: [String] = []
    do {
      let select = try connection.statement(
        "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
      while try select.step() {
        if select.string(0) == "table" { tables.append(select.string(1)) }
        let names = (0..<3).map { select.string($0) }.joined(separator: " ")
        parts.append("\(names) \(Self.withoutLayout(select.string(3)))")
      }
    }
    for table in tables {
      let info = try connection.statement(composed: "PRAGMA table_info(\(table))")
      while try info.step() {
        parts.append("column \(table) " + (1...5).map { info.string($0) }.joined(separator: " "))
      }
    }
    let first = try connection.statement(composed: "SELECT * FROM store")
    while try first.step() { parts.append("row " + (0..<13).map { first.string($0) }.joined(separator: " ")) }
    return parts
  }

  /// SQL without its comments and blanks that mean nothing.
  private static func withoutLayout(_ sql: String) -> String {
    let code = sql.split(separator: "\n").map { line in
      line.range(of: "--").map { String(line[..<$0.lowerBound]) } ?? String(line)
    }
    return code.joined(separator: " ").split(separator: " ").joined(separator: " ")
      .replacingOccurrences(of: " ,", with: ",").replacingOccurrences(of: "( ", with: "(")
      .replacingOccurrences(of: " )", with: ")")
  }

  private func newer(_ migrations: String...) -> Schema {
    Schema(migrations: Schema.current.migrations + migrations)
  }

  /// Once a version is out, its migration never changes again: files with it are in the world.
  @Test func theFileOfVersion1CanStillBeUsed() throws {
    let fixture = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/version-1.sql")
    #expect(DatabaseFile.create(path) == nil)
    try raw().execute(try String(contentsOf: fixture, encoding: .utf8))

    let test = try open(path)
    let session = try #require(try test.get("session-1"))
    #expect(session.status == .active)
    #expect(session.state?.string == #"{"cart":["book",1.50]}"#)
    #expect(session.clientCapabilities?.string == #"{"roots":{}}"#)
    #expect(try test.events("session-1").ids == [3, 4])
    #expect(try test.events("session-1").page.gap == EventGap(dropped: 2, oldestAvailable: 3))
    #expect(try test.events("session-1", stream: "x").page.gap == EventGap(dropped: 1, oldestAvailable: 4))
    let task = try #require(try test.task(get: "task-1"))
    #expect(task.status == .inputRequired)
    #expect(try task.inputRequests?.string == #"{"name":{}}"#)
    let queue = try test.read {
      try $0.peekTaskMessages("task-1", after: 0, limit: 0, scope: TaskScope()) { _, _ in true }
    }
    #expect(queue.size == 2)
    test.refuses(.invalidParameter(name: "input_requests.name", expected: "a key that this task has not used")) {
      _ = try $0.requireTaskInput("task-1", #"{"name":1}"#, scope: TaskScope())
    }
    #expect(try test.messages("task-1") == ["1", "2"])
    #expect(try test.read { try $0.getValue(ValuePlace(collection: "c", owner: .principal("p")), "k") } != nil)
    #expect(try !test.write { try $0.consumeNonce("n", ttl: 1, principal: .unspecified) })
    #expect(try test.event("session-1") == 5)
    #expect(try test.create("session-2").revision == 9)

    func parts(_ store: Store) throws -> [String] { try structure(store).filter { !$0.hasPrefix("row") } }
    #expect(try parts(test.store) == parts(TestStore(directory.file("fresh.db")).store))
  }
}
