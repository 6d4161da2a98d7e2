internal import CSQLite

/// The file system of connections that write: the system's, but that what a transaction adds to the write-ahead log is
/// written in one piece. SQLite writes the head of each frame and its page apart, two calls for every page of a commit.
///
/// Held is only what a transaction has added and not committed, and nobody else reads. It is written when the page of
/// the frame that commits has come, when there is no more room, and before anything else is done to the log. It is
/// forgotten when the transaction gives up its lock: by then another process may have committed at that place. Where it
/// could not be written the transaction cannot be committed, whoever heard of the failure and let it go.
///
/// Files are those of the system's own file system, with a few methods of their tables exchanged and a `Trailer`
/// behind them: https://www.sqlite.org/vfs.html, https://www.sqlite.org/walformat.html
enum JoinedWrites {
  /// The name to open a connection with; nil where SQLite does not take it, which costs speed alone.
  static let name: String? = register() ? title.description : nil

  private static let title: StaticString = "joined-writes"
  /// The file system underneath; set once, before the first file is opened.
  nonisolated(unsafe) private static var system: UnsafeMutablePointer<sqlite3_vfs>? = nil
  /// from a file to its trailer
  nonisolated(unsafe) private static var trailerOffset = 0

  private static let room = 65_536
  private static let headSize = 24

  private typealias File = UnsafeMutablePointer<sqlite3_file>

  /// What a file has more than the system's.
  @unsafe private struct Trailer {
    /// those that SQLite calls
    var methods: sqlite3_io_methods
    /// those of the system
    let below: UnsafePointer<sqlite3_io_methods>
    /// of a database: its log, while that is open
    var log: File? = nil
    /// of a log: its database
    var database: File? = nil
    /// what is not written yet
    var held: UnsafeMutableRawPointer? = nil
    var count = 0
    /// where in the file it begins
    var start: Int64 = 0
    /// where the last write ended: what continues there belongs to the same transaction
    var end: Int64 = -1
    /// the last write was the head of a frame
    var endsWithHead = false
    /// the head that came last was that of a frame that commits
    var commits = false
    /// What was held could not be written: where it begins, and why.
    var hole: (start: Int64, code: Int32)? = nil

    /// Why what stands at `offset` cannot be read or written: it needs what could not be written; else nil.
    func failure(at offset: Int64) -> Int32? { unsafe hole.flatMap { offset > $0.start ? $0.code : nil } }
  }

  private static func trailer(_ file: File) -> UnsafeMutablePointer<Trailer> {
    unsafe (UnsafeMutableRawPointer(file) + trailerOffset).assumingMemoryBound(to: Trailer.self)
  }

  private static func register() -> Bool {
    guard let found = unsafe sqlite3_vfs_find(nil), unsafe MemoryLayout<Trailer>.offset(of: \.methods) == 0 else {
      return false
    }
    unsafe system = found
    unsafe trailerOffset = (Int(found.pointee.szOsFile) + 15) / 16 * 16
    let vfs = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
    unsafe vfs.initialize(to: found.pointee)
    // No more than this program knows.
    unsafe vfs.pointee.iVersion = min(found.pointee.iVersion, 3)
    unsafe vfs.pointee.pNext = nil
    unsafe vfs.pointee.zName = UnsafeRawPointer(title.utf8Start).assumingMemoryBound(to: CChar.self)
    unsafe vfs.pointee.szOsFile = Int32(trailerOffset + MemoryLayout<Trailer>.size)
    unsafe vfs.pointee.xOpen = { unsafe JoinedWrites.open($1, $2!, $3, $4) }
    return unsafe sqlite3_vfs_register(vfs, 0) == SQLITE_OK
  }

  private static func open(
    _ path: UnsafePointer<CChar>?, _ file: File, _ flags: Int32, _ outFlags: UnsafeMutablePointer<Int32>?
  ) -> Int32 {
    guard let system = unsafe system else { return SQLITE_CANTOPEN }
    let code = unsafe system.pointee.xOpen(system, path, file, flags, outFlags)
    guard code == SQLITE_OK, flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL) != 0,
      let below = unsafe file.pointee.pMethods
    else { return code }
    let trailer = unsafe trailer(file)
    unsafe trailer.initialize(to: Trailer(methods: below.pointee, below: below))
    unsafe trailer.pointee.methods.iVersion = min(below.pointee.iVersion, 3)
    if flags & SQLITE_OPEN_MAIN_DB != 0 {
      if unsafe below.pointee.iVersion >= 2 {
        unsafe trailer.pointee.methods.xShmLock = { unsafe JoinedWrites.lockMemory($0!, $1, $2, $3) }
      }
    } else {
      unsafe trailer.pointee.database = sqlite3_database_file_object(path)
      if let database = unsafe trailer.pointee.database { unsafe self.trailer(database).pointee.log = unsafe file }
      unsafe trailer.pointee.methods.xClose = { unsafe JoinedWrites.close($0!) }
      unsafe trailer.pointee.methods.xRead = { unsafe JoinedWrites.read($0!, $1, $2, $3) }
      unsafe trailer.pointee.methods.xWrite = { unsafe JoinedWrites.write($0!, $1!, Int($2), $3) }
      unsafe trailer.pointee.methods.xTruncate = { unsafe JoinedWrites.truncate($0!, $1) }
      unsafe trailer.pointee.methods.xSync = { unsafe JoinedWrites.sync($0!, $1) }
      unsafe trailer.pointee.methods.xFileSize = { unsafe JoinedWrites.size($0!, $1) }
    }
    // The methods are a trailer's first member.
    unsafe file.pointee.pMethods = UnsafeRawPointer(trailer).assumingMemoryBound(to: sqlite3_io_methods.self)
    return code
  }

  // MARK: - The log

  private static func write(_ file: File, _ bytes: UnsafeRawPointer, _ size: Int, _ offset: Int64) -> Int32 {
    let trailer = unsafe trailer(file)
    if let code = unsafe trailer.pointee.failure(at: offset) { return code }
    unsafe trailer.pointee.hole = nil
    let isHead = size == headSize
    let continues = unsafe offset == trailer.pointee.end
    let isPage = unsafe continues && trailer.pointee.endsWithHead
    // 0, or how large the database is behind this commit
    if isHead { unsafe trailer.pointee.commits = bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self) != 0 }
    unsafe trailer.pointee.end = offset + Int64(size)
    unsafe trailer.pointee.endsWithHead = isHead
    let holds = (isPage || continues && isHead) && size <= room
    if unsafe !holds || trailer.pointee.count + size > room {
      let code = unsafe writeHeld(file)
      if code != SQLITE_OK { return code }
    }
    if !holds { return unsafe trailer.pointee.below.pointee.xWrite(file, bytes, Int32(size), offset) }
    let held: UnsafeMutableRawPointer =
      unsafe trailer.pointee.held ?? .allocate(byteCount: room, alignment: MemoryLayout<UInt64>.alignment)
    unsafe trailer.pointee.held = unsafe held
    if unsafe trailer.pointee.count == 0 { unsafe trailer.pointee.start = offset }
    unsafe (held + trailer.pointee.count).copyMemory(from: bytes, byteCount: size)
    unsafe trailer.pointee.count += size
    return unsafe isPage && trailer.pointee.commits ? writeHeld(file) : SQLITE_OK
  }

  private static func writeHeld(_ file: File) -> Int32 {
    let trailer = unsafe trailer(file)
    let count = unsafe trailer.pointee.count
    if count == 0 { return SQLITE_OK }
    unsafe trailer.pointee.count = 0
    let code = unsafe trailer.pointee.below.pointee.xWrite(
      file, trailer.pointee.held, Int32(count), trailer.pointee.start)
    if code != SQLITE_OK { unsafe trailer.pointee.hole = (trailer.pointee.start, code) }
    return code
  }

  /// Does `call` with the log as SQLite believes it to be.
  private static func afterHeld(_ file: File, _ call: (sqlite3_io_methods) -> Int32) -> Int32 {
    let code = unsafe writeHeld(file)
    return unsafe code == SQLITE_OK ? call(trailer(file).pointee.below.pointee) : code
  }

  private static func read(_ file: File, _ bytes: UnsafeMutableRawPointer?, _ size: Int32, _ offset: Int64) -> Int32 {
    let code = unsafe afterHeld(file) { unsafe $0.xRead(file, bytes, size, offset) }
    return unsafe trailer(file).pointee.failure(at: offset) ?? code
  }

  private static func truncate(_ file: File, _ size: Int64) -> Int32 {
    unsafe afterHeld(file) { unsafe $0.xTruncate(file, size) }
  }

  private static func sync(_ file: File, _ flags: Int32) -> Int32 {
    unsafe afterHeld(file) { unsafe $0.xSync(file, flags) }
  }

  private static func size(_ file: File, _ size: UnsafeMutablePointer<Int64>?) -> Int32 {
    unsafe afterHeld(file) { unsafe $0.xFileSize(file, size) }
  }

  /// What is held then was not committed.
  private static func close(_ file: File) -> Int32 {
    let trailer = unsafe trailer(file)
    if let database = unsafe trailer.pointee.database { unsafe self.trailer(database).pointee.log = nil }
    unsafe trailer.pointee.held?.deallocate()
    return unsafe trailer.pointee.below.pointee.xClose(file)
  }

  // MARK: - The database

  /// The first lock in the shared memory is that of who writes to the log.
  private static func lockMemory(_ file: File, _ first: Int32, _ count: Int32, _ flags: Int32) -> Int32 {
    let trailer = unsafe trailer(file)
    if first == 0, flags & SQLITE_SHM_UNLOCK != 0, let log = unsafe trailer.pointee.log {
      unsafe self.trailer(log).pointee.count = 0
      unsafe self.trailer(log).pointee.hole = nil
    }
    return unsafe trailer.pointee.below.pointee.xShmLock(file, first, count, flags)
  }
}
