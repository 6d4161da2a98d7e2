import Foundation
import SQLite
import Testing

@Suite struct BackupTests {
  let directory: TemporaryDirectory
  let path: String
  let target: String

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.database()
    target = directory.file("copy.db")
  }

  private func writer(pageSize: Int = 4_096) throws -> Connection {
    let connection = try Connection(path: path, mode: .readWrite, busyTimeout: 0)
    try connection.execute("PRAGMA page_size = \(pageSize)")
    try connection.configureForWriting(syncEachCommit: false, exclusive: false)
    try connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
    return connection
  }

  private func reader(_ path: String) throws -> Connection {
    try Connection(path: path, mode: .readOnly, busyTimeout: 0)
  }

  /// Rows of about one page each.
  private func insert(_ count: Int, _ connection: Connection) throws {
    try connection.execute(
      """
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \(count))
      INSERT INTO t SELECT hex(zeroblob(2000)) FROM n
      """)
  }

  private func count(_ connection: Connection) throws -> Int64 {
    let select = try connection.statement("SELECT count(*) FROM t")
    return try select.step() ? select.integer(0) : -1
  }

  private var files: Set<String> {
    get throws { Set(try FileManager.default.contentsOfDirectory(atPath: directory.path)) }
  }

  /// Copies, and expects that nothing but what was there before is there afterwards.
  private func copyFails(
    to target: String, sourceLocation: SourceLocation = #_sourceLocation,
    report: (Int, Int) throws -> Void = { _, _ in }
  ) throws -> (any Error)? {
    let source = try reader(path)
    _ = try count(source)
    let others = { try files.subtracting([(target as NSString).lastPathComponent]) }
    let before = try others()
    let error = #expect(throws: (any Error).self, sourceLocation: sourceLocation) {
      try source.copy(to: target, report: report)
    }
    #expect(try others() == before, sourceLocation: sourceLocation)
    #expect(!source.isInTransaction, sourceLocation: sourceLocation)
    return error
  }

  // MARK: - What is copied

  @Test(arguments: [1_024, 4_096, 65_536])
  func aCopyHoldsEverythingAndIsOneFile(pageSize: Int) throws {
    let connection = try writer(pageSize: pageSize)
    try connection.execute("PRAGMA application_id = 7; PRAGMA user_version = 8")
    try insert(1_000, connection)
    try connection.execute("DELETE FROM t WHERE rowid % 3 = 0")
    let source = try reader(path)
    let copied = try source.copy(to: target) { _, _ in }
    #expect(Int64(copied.pages) == (try connection.pragma("page_count")))
    #expect(copied.bytes == Int64(copied.pages * pageSize))
    #expect(DatabaseFile.size(target) == copied.bytes)

    let copy = try reader(target)
    #expect(try copy.pragmaText("integrity_check") == "ok")
    #expect(try count(copy) == 667)
    #expect(try copy.pragma("page_size") == Int64(pageSize))
    #expect(try copy.pragma("auto_vacuum") == 2)
    #expect(try copy.pragma("freelist_count") == (try connection.pragma("freelist_count")))
    #expect(try copy.pragma("application_id") == 7)
    #expect(try copy.pragma("user_version") == 8)
    #expect(try copy.pragmaText("journal_mode") == "delete")
    #expect(try files.filter { $0.hasPrefix("copy.db") } == ["copy.db"])
    let rights = try FileManager.default.attributesOfItem(atPath: target)[.posixPermissions] as? NSNumber
    #expect(rights?.intValue == 0o600)
  }

  @Test func aDatabaseInMemoryIsCopied() throws {
    let connection = try Connection(path: ":memory:", mode: .readWrite, busyTimeout: 0)
    try connection.configureForWriting(syncEachCommit: false, exclusive: false)
    try connection.execute("CREATE TABLE t (a)")
    try insert(10, connection)
    _ = try connection.copy(to: target) { _, _ in }
    #expect(try count(try reader(target)) == 10)
  }

  @Test func whatOthersWriteMeanwhileIsNotInItAndDoesNotMakeItBeginAnew() throws {
    let connection = try writer()
    try insert(2_000, connection)
    let source = try reader(path)
    var reports: [Int] = []
    let copied = try source.copy(to: target) { done, total in
      reports.append(done)
      #expect(Int64(total) >= 2_000)
      // Into new pages, into old ones, and into the file itself.
      try insert(10, connection)
      try connection.execute("UPDATE t SET a = 'changed' WHERE rowid <= 100")
      _ = try connection.checkpoint()
    }
    #expect(reports.count > 4)
    #expect(reports == reports.sorted())
    #expect(reports.first == 0)
    #expect(reports.last == copied.pages)
    let copy = try reader(target)
    #expect(try count(copy) == 2_000)
    #expect(try copy.pragmaText("integrity_check") == "ok")
    let changed = try copy.statement("SELECT count(*) FROM t WHERE a = 'changed'")
    #expect(try changed.step() && changed.integer(0) == 0)
    #expect(try count(connection) == 2_000 + Int64(10 * reports.count))
  }

  // MARK: - What is in the way

  @Test func nothingIsEverOverwritten() throws {
    _ = try writer()
    try Data("precious".utf8).write(to: URL(fileURLWithPath: target))
    #expect(try copyFails(to: target) is UnusablePath)
    #expect(try String(contentsOfFile: target, encoding: .utf8) == "precious")
    // A link that leads nowhere is something, too.
    let link = directory.file("link.db")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: directory.file("nowhere"))
    #expect(DatabaseFile.isTaken(link))
    #expect(try copyFails(to: link) is UnusablePath)
    #expect(DatabaseFile.kind(directory.file("nowhere")) == .missing)
  }

  @Test func whatAppearsDuringTheCopyIsNotOverwritten() throws {
    let connection = try writer()
    try insert(100, connection)
    let error = try copyFails(to: target) { done, total in
      if done == total { try Data("precious".utf8).write(to: URL(fileURLWithPath: target)) }
    }
    #expect((error as? UnusablePath)?.expected == "a path where there is no file yet")
    #expect(try String(contentsOfFile: target, encoding: .utf8) == "precious")
  }

  @Test func aDirectoryThatIsNotThereIsTold() throws {
    _ = try writer()
    let error = try copyFails(to: directory.file("none/copy.db"))
    #expect((error as? UnusablePath)?.expected.contains("No such file or directory") == true)
  }

  @Test func aCopyThatIsStoppedLeavesNothing() throws {
    struct Stop: Error {}
    let connection = try writer()
    try insert(1_000, connection)
    var partial: Set<String> = []
    let error = try copyFails(to: target) { done, _ in
      partial = try files.filter { $0.hasPrefix("copy.db.partial-") }
      if done > 0 { throw Stop() }
    }
    #expect(error is Stop)
    #expect(partial.count == 1)
    #expect(DatabaseFile.kind(target) == .missing)
  }

  @Test func theNamesOfADatabaseAreKnown() throws {
    _ = try writer()
    let resolved = try reader(path).resolvedPath
    for suffix in ["", "-wal", "-shm", "-journal", "-lock"] {
      #expect(DatabaseFile.belongs(path + suffix, to: resolved))
      #expect(DatabaseFile.belongs(directory.path + "/./" + "a.db" + suffix, to: resolved))
    }
    try FileManager.default.createSymbolicLink(atPath: directory.file("link"), withDestinationPath: directory.path)
    #expect(DatabaseFile.belongs(directory.file("link/a.db-wal"), to: resolved))
    for other in [target, path + "-x", directory.file("none/a.db"), directory.path, "/", "a.db"] {
      #expect(!DatabaseFile.belongs(other, to: resolved), "\(other)")
    }
  }
}
