internal import CSQLite
internal import Glibc

/// The files of an open database under the names by which a restart will look for them.
///
/// A process goes on writing into a file that was deleted, moved or replaced, and nobody ever sees that again. So
/// before a commit is answered the names must still lead to the files that are open, and nobody else may have written
/// over them.
package final class DatabasePlace {
  /// What happened to the files.
  package struct Change: Error, Equatable {
    package enum Kind { case gone, replaced, overwritten, cutOff }
    enum File { case database, log, memory }
    package let kind: Kind
    let file: File
    package let path: String
  }

  private struct File {
    let kind: Change.File
    let path: String
    let name: ContiguousArray<CChar>
    var status = stat()

    init(_ kind: Change.File, _ path: String) {
      self.kind = kind
      self.path = path
      name = path.utf8CString
    }

    /// Takes what stands there for what is open.
    /// - Throws: when the system does not tell: whoever starts again may fare better
    mutating func note() throws(SQLiteError) {
      var found = stat()
      guard isTold(&found) else {
        throw SQLiteError(code: SQLITE_IOERR, message: "cannot look at \(path): \(DatabaseFile.lastErrorText())")
      }
      status = found
    }

    /// whether the system tells what stands there
    func isTold(_ found: inout stat) -> Bool {
      unsafe name.withUnsafeBufferPointer { unsafe stat($0.baseAddress!, &found) } == 0
    }

    /// - Returns: false when nothing stands there. What the system does not tell just now counts as what is known.
    func look(_ found: inout stat) -> Bool {
      if isTold(&found) { return true }
      found = status
      return ![ENOENT, ENOTDIR, ESTALE, ELOOP].contains(errno)
    }

    func isSame(_ other: stat) -> Bool { other.st_ino == status.st_ino && other.st_dev == status.st_dev }

    func hasTimes(of other: stat) -> Bool {
      other.st_size == status.st_size && other.st_mtim.tv_sec == status.st_mtim.tv_sec
        && other.st_mtim.tv_nsec == status.st_mtim.tv_nsec
    }

    func changed(_ kind: Change.Kind) -> Change { Change(kind: kind, file: self.kind, path: path) }

    /// - Throws: ``Change`` when the name does not lead to the file
    func check(_ found: inout stat) throws(Change) {
      guard look(&found) else { throw changed(.gone) }
      if !isSame(found) { throw changed(.replaced) }
    }
  }

  /// A log over this may be cut to it by whoever begins it anew.
  static let logLimit = 64 << 20

  private let connection: Connection
  private var database: File
  private var log: File
  /// nil where the file is kept for one process, which needs none
  private var memory: File?
  /// a page that nearly every commit changes
  private let witness: Int64
  private let pageSize: Int64
  /// the header and the witness, as they are in the database without its log
  private var imprint = Imprint()
  private var marks = CheckpointMarks()

  /// Call it under the lock, when the connection has read.
  /// - Parameters:
  ///   - path: as it was given: a restart follows its links anew
  ///   - witness: the number of a page that nearly every commit changes
  /// - Throws: ``Change`` when the database is not where the connection opened it; ``SQLiteError`` when the disk does
  ///   not tell, or has not made what a log needs
  package init(_ path: String, of connection: Connection, exclusive: Bool, witness: Int64) throws {
    let resolved = connection.resolvedPath
    self.connection = connection
    self.witness = witness
    pageSize = (try? connection.pragma("page_size")) ?? 4_096
    database = File(.database, path)
    log = File(.log, DatabaseFile.logPath(resolved))
    memory = exclusive ? nil : File(.memory, DatabaseFile.sharedMemoryPath(resolved))
    guard database.look(&database.status) else { throw database.changed(.gone) }
    try database.note()
    // SQLite takes a name that cannot be looked up just now for one that leads elsewhere: it is asked twice, and only
    // where the system tells.
    var found = stat()
    if connection.databaseHasMoved, database.isTold(&found), connection.databaseHasMoved {
      throw database.changed(.replaced)
    }
    try log.note()
    try memory?.note()
    noteDatabase(database.status)
  }

  // MARK: - Looking

  /// What the system tells of what is written into the log; nil where it tells nothing.
  package var logWatch: LogWatch? { LogWatch(log.path) }

  /// What tells the log that the last commit went into from those before it; nil where there is no shared memory.
  package var logSalts: UInt64? { memory == nil ? nil : marks.salts }

  /// Whether the names lead to the open files: all that can be known while others may checkpoint.
  package func checkNames() throws(Change) {
    var found = stat()
    try database.check(&found)
    try log.check(&found)
    try memory?.check(&found)
  }

  /// Whether what is about to be committed will be found again. Only under the lock.
  package func checkBeforeCommit() throws(Change) {
    var found = stat()
    try checkDatabase(&found)
    try log.check(&found)
    if found.st_size < min(log.status.st_size, Self.logLimit) { throw log.changed(.cutOff) }
    try memory?.check(&found)
  }

  /// Whether what was just committed will be found again. Only under the lock.
  package func checkAfterCommit() throws(Change) {
    var found = stat()
    try database.check(&found)
    try log.check(&found)
    log.status.st_size = found.st_size
    // A log that is begun anew has other marks.
    if memory != nil { marks = connection.checkpointMarks }
  }

  /// bytes by which the log is longer than what is in it, at most
  private static let logAhead: Int64 = 512 << 10

  /// Makes the log longer ahead of what is committed into it: as long again as it is, up to a bound. The sync of a file
  /// that has grown waits for the journal of its file system, and so for whoever else writes to that (measured on ext4,
  /// with what the zeros cost: 152 µs instead of 218 on a quiet disk, and 210 instead of 3,150 beside others).
  ///
  /// Only in a transaction that writes.
  package func lengthenLog() {
    let used = Self.logHeader + Int64(connection.walPages) * (Self.frameHeader + pageSize)
    let ahead = min(used, Self.logAhead)
    if Int64(log.status.st_size) - used < ahead / 8 { connection.lengthenLog(to: used + ahead) }
  }

  /// https://www.sqlite.org/walformat.html
  private static let logHeader: Int64 = 32
  private static let frameHeader: Int64 = 24

  /// Takes the database as it is now for what it should be: after a checkpoint of this process. Only under the lock.
  package func noteCheckpoint() {
    var found = stat()
    if database.look(&found), database.isSame(found) { noteDatabase(found) }
  }

  private func noteDatabase(_ status: stat) {
    database.status = status
    imprint = Imprint(connection, page: witness, size: pageSize)
    if memory != nil { marks = connection.checkpointMarks }
  }

  /// Nothing but a checkpoint writes into the database, every checkpoint leaves marks in the shared memory, and none
  /// goes back in time.
  private func checkDatabase(_ found: inout stat) throws(Change) {
    try database.check(&found)
    if database.hasTimes(of: found) { return }
    let (known, knownMarks) = (imprint, marks)
    noteDatabase(found)
    // Somebody may have set the time alone.
    if imprint == known { return }
    if marks == knownMarks || !imprint.follows(known) { throw database.changed(.overwritten) }
  }

  // MARK: - Leaving

  /// Leaves the files so that a restart finds in them what is true. Only under the lock, and in no transaction.
  /// - Returns: what was done, as the end of a sentence; empty when there was nothing to do
  package func settle(_ change: Change) -> String {
    switch (change.file, change.kind) {
    case (.database, .gone), (.database, .replaced):
      // The log belongs to the file that is open, wherever that is now, and not to what stands in its place.
      let isWhole = saveLog()
      takeLogAway(deleting: isWhole)
      return isWhole ? "; all that was committed was put into the file that was open" : ""
    case (.database, _):
      takeLogAway(deleting: false)
      return ""
    case (.log, .gone): return saveUnnamedLog()
    case (.log, .replaced): return DatabaseFile.size(log.path) == 0 ? saveUnnamedLog() : ""
    case (.log, _), (.memory, _): return ""
    }
  }

  /// Copies all of the log that is open into the database that is open.
  private func saveLog() -> Bool {
    do {
      _ = try connection.checkpoint()
      return connection.walPages == 0
    } catch {
      return false
    }
  }

  /// The log has no name any more, and nobody has begun another.
  private func saveUnnamedLog() -> String {
    var found = stat()
    do throws(Change) { try checkDatabase(&found) } catch { return "" }
    return saveLog() ? "; what it held was put into the database" : ""
  }

  /// Where they are still those that are open. SQLite would take them for those of the file that is found there next.
  private func takeLogAway(deleting: Bool) {
    for file in [log, memory].compactMap(\.self) {
      var found = stat()
      do throws(Change) { try file.check(&found) } catch { continue }
      if deleting || file.kind == .memory {
        unsafe unlink(file.path)
      } else {
        unsafe rename(file.path, "\(file.path).left-\(getpid())")
      }
    }
  }
}

extension DatabasePlace.Change {
  /// for people, a sentence without its full stop
  package var sentence: String {
    switch kind {
    case .gone: "\(path) is gone: it was deleted or moved while it was open"
    case .replaced: "another file stands at \(path) than the one that was opened"
    case .overwritten: "\(path) was written over by another program while it was open"
    case .cutOff: "\(path) was cut off by another program while it was open"
    }
  }
}

/// How far checkpoints of a file have come: changed by each of them, before it changes the file and after.
struct CheckpointMarks: Equatable {
  fileprivate private(set) var salts: UInt64 = 0
  private var frames: UInt64 = 0

  init() {}

  init(_ marks: csqlite_checkpoint_marks) {
    salts = UInt64(marks.salts.0) << 32 | UInt64(marks.salts.1)
    frames = UInt64(marks.done) << 32 | UInt64(marks.attempted)
  }
}

/// What tells one state of a database from another: its header and a page that nearly every commit changes, as they are
/// in the file without its log.
private struct Imprint: Equatable {
  private var header: [UInt8] = []
  private var page: [UInt8] = []

  init() {}

  init(_ connection: Connection, page number: Int64, size: Int64) {
    header = connection.read(at: 0, 100)
    page = connection.read(at: (number - 1) * size, Int(size))
  }

  /// Whether a checkpoint may have made this of the other one: it is a database with a log, changed as often or more.
  /// https://www.sqlite.org/fileformat2.html#the_database_header
  func follows(_ other: Imprint) -> Bool {
    header[..<24] == other.header[..<24] && changes >= other.changes
  }

  private var changes: UInt32 { header[24..<28].reduce(0) { $0 << 8 | UInt32($1) } }
}
