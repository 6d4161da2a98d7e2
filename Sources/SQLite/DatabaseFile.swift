internal import Glibc

/// What the file system says of a database and the files beside it.
package enum DatabaseFile {
  package enum Kind { case missing, file, directory, other }

  package static func kind(_ path: String) -> Kind {
    guard let status = status(path) else { return .missing }
    return switch status.st_mode & S_IFMT {
    case S_IFREG: .file
    case S_IFDIR: .directory
    default: .other
    }
  }

  /// bytes; 0 when there is no such file
  package static func size(_ path: String) -> Int64 { Int64(status(path)?.st_size ?? 0) }

  package static func logPath(_ path: String) -> String { path + "-wal" }
  /// SQLite's, outside of WAL mode
  package static func journalPath(_ path: String) -> String { path + "-journal" }
  package static func sharedMemoryPath(_ path: String) -> String { path + "-shm" }

  /// What changes whenever the file's bytes do, as far as its system can tell.
  package struct Stamp: Equatable, Sendable {
    fileprivate let device: UInt
    fileprivate let node: UInt
    fileprivate let size: Int
    fileprivate let seconds: Int
    fileprivate let nanoseconds: Int
  }

  package static func stamp(_ path: String) -> Stamp? {
    status(path).map { status in
      Stamp(
        device: UInt(status.st_dev), node: UInt(status.st_ino), size: Int(status.st_size),
        seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
    }
  }

  /// The process that keeps every other one from reading the database, as SQLite locks it
  /// (https://www.sqlite.org/lockingv3.html); nil when there is none or nothing can be known. 0: one that this machine
  /// has no number for.
  ///
  /// Only to be asked while this process has no connection to the file: closing a descriptor gives up its locks.
  package static func excluder(_ path: String) -> Int32? {
    // The bytes that a reader locks: SHARED_FIRST and SHARED_SIZE.
    lockHolder(path, F_RDLCK, 0x4000_0002, 510)
  }

  /// Whether any process uses the shared memory beside the database, and so has it open; only to be asked as above.
  package static func sharedMemoryIsUsed(_ path: String) -> Bool {
    // Each of them keeps a lock on this byte: https://www.sqlite.org/walformat.html#wal_locks
    lockHolder(sharedMemoryPath(path), F_WRLCK, 128, 1) != nil
  }

  /// Who holds what a lock on these bytes would have to wait for.
  private static func lockHolder(_ path: String, _ kind: Int32, _ start: Int, _ count: Int) -> Int32? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var lock = flock()
    lock.l_type = Int16(kind)
    lock.l_whence = Int16(SEEK_SET)
    lock.l_start = start
    lock.l_len = count
    guard unsafe fcntl(descriptor, F_GETLK, &lock) == 0, lock.l_type != F_UNLCK else { return nil }
    return max(lock.l_pid, 0)
  }

  /// Creates an empty file that only its owner may read and write. SQLite gives the files beside it the same rights.
  /// - Returns: nil when it was created or was there already, else the system's reason
  package static func create(_ path: String) -> String? {
    let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0o600)
    guard descriptor >= 0 else { return lastErrorText() }
    close(descriptor)
    return nil
  }

  /// Why a file cannot be opened for reading: the system's words; nil when it can be, or when there is none.
  package static func refusal(_ path: String) -> String? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
    if descriptor >= 0 {
      close(descriptor)
      return nil
    }
    return errno == ENOENT || errno == ENOTDIR ? nil : lastErrorText()
  }

  package static func pause(milliseconds: UInt32) { usleep(milliseconds * 1_000) }

  static func lastErrorText() -> String { errorText(errno) }

  static func errorText(_ code: Int32) -> String {
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
  }

  /// Whether anything stands at the path, be it a link that leads nowhere.
  package static func isTaken(_ path: String) -> Bool {
    var status = stat()
    return unsafe lstat(path, &status) == 0
  }

  /// Whether the path names the database, or a file that SQLite or a sidecar keeps beside it.
  /// - Parameter database: as SQLite resolved it
  package static func belongs(_ path: String, to database: String) -> Bool {
    guard let directory = unsafe realpath(directory(of: path), nil) else { return false }
    defer { unsafe free(directory) }
    let name = path.split(separator: "/").last ?? ""
    let resolved = unsafe String(cString: directory) + "/" + name
    return ["", "-wal", "-shm", "-journal", "-lock"].contains { resolved == database + $0 }
  }

  static func directory(of path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private static func status(_ path: String) -> stat? {
    var status = stat()
    return unsafe stat(path, &status) == 0 ? status : nil
  }
}
