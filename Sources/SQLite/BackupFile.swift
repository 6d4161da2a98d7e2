internal import CSQLite
internal import Glibc

/// Why a copy cannot stand where it was asked for.
package struct UnusablePath: Error, Equatable {
  /// what a usable path would be
  package let expected: String
}

/// The file that a copy is written to. Until the copy is whole it has a name of its own beside the target; then it gets
/// the target's, without ever replacing anything. Whatever fails before that, nothing stays behind.
final class BackupFile {
  let path: String
  let partialPath: String
  private let descriptor: Int32
  private var isPlaced = false
  /// bytes up to which writeback has been started
  private var started: Int64 = 0
  /// bytes up to which it has been waited for
  private var awaited: Int64 = 0

  /// Dirty bytes that may gather: a sync has to write what is left, and neither the end of the copy nor a commit of the
  /// store on the same disk shall wait long for that.
  private static let writebackBytes: Int64 = 4 << 20

  /// - Parameter bytes: the size that it will have. Room for it is taken at once, so that a disk that is too small is
  ///   found before it is filled.
  /// - Throws: ``UnusablePath``; ``SQLiteError``
  init(_ path: String, bytes: Int64) throws {
    if DatabaseFile.isTaken(path) { throw UnusablePath.taken }
    let suffix = String(UInt64.random(in: .min ... .max), radix: 16)
    let partialPath = "\(path).partial-\(suffix)"
    let descriptor = unsafe open(partialPath, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0o600)
    if descriptor < 0 { throw Self.creationError(errno) }
    self.path = path
    self.partialPath = partialPath
    self.descriptor = descriptor
    try reserve(bytes)
  }

  deinit {
    discard()
    close(descriptor)
  }

  /// Takes the file away unless the copy is whole.
  func discard() {
    if !isPlaced { unsafe unlink(partialPath) }
    isPlaced = true
  }

  private static func creationError(_ code: Int32) -> any Error {
    switch code {
    case ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM, EIO: systemError(code, "the copy cannot be created")
    default:
      UnusablePath(expected: "a path in a directory that is there and may be written (\(DatabaseFile.errorText(code)))")
    }
  }

  private static func systemError(_ code: Int32, _ what: String) -> SQLiteError {
    let isFull = code == ENOSPC || code == EDQUOT
    return SQLiteError(code: isFull ? SQLITE_FULL : SQLITE_IOERR, message: "\(what): \(DatabaseFile.errorText(code))")
  }

  private func reserve(_ bytes: Int64) throws {
    // Asked first: a try that fails takes all there is for a moment, and the store may need it.
    var status = statvfs()
    if unsafe fstatvfs(descriptor, &status) == 0, Int64(status.f_bavail) * Int64(status.f_frsize) < bytes {
      throw Self.systemError(ENOSPC, "the copy needs \(bytes) bytes")
    }
    if fallocate(descriptor, FALLOC_FL_KEEP_SIZE, 0, Int(bytes)) != 0, errno == ENOSPC || errno == EDQUOT {
      throw Self.systemError(errno, "the copy needs \(bytes) bytes")
    }
  }

  /// Keeps the kernel writing while the copy grows.
  /// - Parameter bytes: how far it has come
  func wrote(_ bytes: Int64) throws {
    guard bytes - started >= Self.writebackBytes else { return }
    try writeBack(from: awaited, to: started, waiting: true)
    // What is on disk shall not push out of memory what the store reads.
    posix_fadvise(descriptor, Int(awaited), Int(started - awaited), POSIX_FADV_DONTNEED)
    awaited = started
    try writeBack(from: started, to: bytes, waiting: false)
    started = bytes
  }

  private func writeBack(from start: Int64, to end: Int64, waiting: Bool) throws {
    if start == end { return }
    let write = UInt32(SYNC_FILE_RANGE_WRITE)
    let flags = waiting ? UInt32(SYNC_FILE_RANGE_WAIT_BEFORE) | write | UInt32(SYNC_FILE_RANGE_WAIT_AFTER) : write
    // A failure is told once: the sync at the end would not tell it again. That the file system cannot do it is none.
    if sync_file_range(descriptor, Int(start), Int(end - start), flags) != 0, [EIO, ENOSPC, EDQUOT].contains(errno) {
      throw Self.systemError(errno, "the copy cannot be written")
    }
  }

  /// Says in the header that the file uses no write-ahead log: so the copy is one file for whoever opens it, also from
  /// where nothing can be written. Bytes 18 and 19: https://www.sqlite.org/fileformat2.html#file_format_version_numbers
  func markAsRollbackJournal() throws {
    let versions: [UInt8] = [1, 1]
    if unsafe pwrite(descriptor, versions, 2, 18) != 2 { throw Self.systemError(errno, "the copy cannot be written") }
  }

  /// Makes the copy durable and gives it its name.
  /// - Throws: ``UnusablePath`` when something has come to stand there meanwhile; ``SQLiteError``
  func place() throws {
    if fsync(descriptor) != 0 { throw Self.systemError(errno, "the copy cannot be synced") }
    if let code = rename() {
      throw code == EEXIST ? UnusablePath.taken : Self.systemError(code, "the copy cannot be given its name")
    }
    isPlaced = true
    if let code = Self.syncDirectory(of: path) {
      unsafe unlink(path)
      throw Self.systemError(code, "the directory cannot be synced")
    }
  }

  /// - Returns: why it failed
  private func rename() -> Int32? {
    if unsafe renameat2(AT_FDCWD, partialPath, AT_FDCWD, path, UInt32(RENAME_NOREPLACE)) == 0 { return nil }
    // Some network file systems cannot do that, but have links, which never replace anything either.
    guard errno == EINVAL || errno == ENOSYS else { return errno }
    if unsafe link(partialPath, path) != 0 { return errno }
    unsafe unlink(partialPath)
    return nil
  }

  private static func syncDirectory(of path: String) -> Int32? {
    let directory = unsafe open(DatabaseFile.directory(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if directory < 0 { return errno }
    defer { close(directory) }
    // EINVAL: a file system that has no such thing.
    return fsync(directory) == 0 || errno == EINVAL ? nil : errno
  }
}

extension UnusablePath {
  static let taken = UnusablePath(expected: "a path where there is no file yet")
}
