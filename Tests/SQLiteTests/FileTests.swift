import Foundation
import SQLite
import Testing

@Suite struct FileTests {
  let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
  }

  private func rights(_ path: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    return (attributes[.posixPermissions] as? NSNumber)?.intValue ?? -1
  }

  @Test func aNewFileIsItsOwnersAlone() throws {
    let path = directory.file("a.db")
    #expect(DatabaseFile.kind(path) == .missing)
    #expect(DatabaseFile.create(path) == nil)
    #expect(DatabaseFile.kind(path) == .file)
    #expect(DatabaseFile.size(path) == 0)
    #expect(try rights(path) == 0o600)
  }

  @Test func theFilesBesideItInheritItsRights() throws {
    let path = directory.file("a.db")
    #expect(DatabaseFile.create(path) == nil)
    let connection = try Connection(path: path, mode: .readWrite, busyTimeout: 0)
    try connection.configureForWriting(syncEachCommit: false, exclusive: false)
    try connection.execute("CREATE TABLE t (a)")
    #expect(try rights(DatabaseFile.logPath(path)) == 0o600)
    #expect(try rights(path + "-shm") == 0o600)
    let lock = try FileLock(path: path + "-lock")
    #expect(try rights(lock.path) == 0o600)
  }

  @Test func anExistingFileKeepsItsRightsAndItsBytes() throws {
    let path = directory.file("a.db")
    try Data("abc".utf8).write(to: URL(fileURLWithPath: path))
    try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
    #expect(DatabaseFile.create(path) == nil)
    #expect(try rights(path) == 0o640)
    #expect(DatabaseFile.size(path) == 3)
  }

  @Test func anImmutableFileIsReadWithoutAnotherBesideIt() throws {
    for name in ["a.db", "with space?.db", "per%20cent#.db", "file:x.db", "naïve🎈.db"] {
      let path = directory.file(name)
      #expect(DatabaseFile.create(path) == nil)
      do {
        let connection = try Connection(path: path, mode: .readWrite, busyTimeout: 0)
        try connection.configureForWriting(syncEachCommit: false, exclusive: false)
        try connection.execute("CREATE TABLE t (a); INSERT INTO t VALUES (7)")
      }
      let connection = try Connection(path: path, mode: .immutable, busyTimeout: 0)
      #expect(connection.resolvedPath == path)
      #expect(try connection.pragma("user_version") == 0)
      let select = try connection.statement("SELECT a FROM t")
      #expect(try select.step() && select.integer(0) == 7)
      #expect(DatabaseFile.kind(DatabaseFile.logPath(path)) == .missing)
      #expect(DatabaseFile.kind(DatabaseFile.sharedMemoryPath(path)) == .missing)
      #expect(throws: SQLiteError.self) { try connection.execute("DELETE FROM t") }
    }
  }

  @Test func aChangedFileHasAnotherStamp() throws {
    let path = directory.file("a")
    #expect(DatabaseFile.stamp(path) == nil)
    try Data("abc".utf8).write(to: URL(fileURLWithPath: path))
    let stamp = DatabaseFile.stamp(path)
    #expect(stamp != nil && DatabaseFile.stamp(path) == stamp)
    try Data("abcd".utf8).write(to: URL(fileURLWithPath: path))
    #expect(DatabaseFile.stamp(path) != stamp)
  }

  @Test func whatStandsInTheWayIsTold() throws {
    #expect(DatabaseFile.kind(directory.path) == .directory)
    #expect(DatabaseFile.kind("/dev/null") == .other)
    #expect(DatabaseFile.create(directory.path) != nil)
    #expect(DatabaseFile.create(directory.file("no/such/folder.db")) == "No such file or directory")
    #expect(DatabaseFile.size(directory.file("none")) == 0)
  }

  @Test func onlyOneDescriptorHoldsTheLock() throws {
    let path = directory.file("a-lock")
    let first = try FileLock(path: path)
    let second = try FileLock(path: path)
    #expect(first.acquire(timeout: 0))
    #expect(first.isHeld)
    #expect(!second.acquire(timeout: 0))
    #expect(!second.isHeld)
    // Who does not hold it cannot give it away.
    second.release()
    #expect(!second.acquire(timeout: 5))
    first.release()
    #expect(!first.isHeld)
    #expect(second.acquire(timeout: 0))
    #expect(!first.acquire(timeout: 0))
  }

  @Test func takingALockThatOneHoldsIsHarmless() throws {
    let lock = try FileLock(path: directory.file("a-lock"))
    #expect(lock.acquire(timeout: 0))
    #expect(lock.acquire(timeout: 0))
    lock.release()
    #expect(try FileLock(path: lock.path).acquire(timeout: 0))
  }

  @Test func aLockThatIsGoneIsFree() throws {
    let path = directory.file("a-lock")
    do {
      let lock = try FileLock(path: path)
      #expect(lock.acquire(timeout: 0))
    }
    #expect(DatabaseFile.kind(path) == .file)
    #expect(try FileLock(path: path).acquire(timeout: 0))
  }

  @Test func aLockFileThatCannotBeOpenedIsToldByName() throws {
    let path = directory.file("no/such/lock")
    let error = #expect(throws: SQLiteError.self) { _ = try FileLock(path: path) }
    #expect(error?.class == .cannotOpen)
    #expect(error?.message.contains(path) == true)
  }
}
