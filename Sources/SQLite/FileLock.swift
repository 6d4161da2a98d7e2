internal import Glibc

/// The advisory lock under which sidecars write and checkpoint, one at a time.
///
/// SQLite 3.7.0–3.51.2 can lose a committed transaction when two connections write and checkpoint at the same instant;
/// under this lock that instant cannot come. The file is never unlinked: a lock on an unlinked file protects nothing,
/// so whoever takes one whose name leads elsewhere takes that one instead.
package final class FileLock {
  private var descriptor: Int32
  private var status = stat()
  package let path: String
  package private(set) var isHeld = false

  /// - Throws: the system's reason, in an error of class ``SQLiteError/Class/cannotOpen``
  package init(path: String) throws(SQLiteError) {
    descriptor = Self.open(path)
    self.path = path
    if descriptor < 0 {
      throw SQLiteError(code: 14, message: "cannot open the lock file \(path): \(DatabaseFile.lastErrorText())")
    }
    unsafe fstat(descriptor, &status)
  }

  private static func open(_ path: String) -> Int32 {
    unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0o600)
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
  }

  /// Takes the lock, trying again with growing pauses for `timeout` milliseconds.
  /// - Returns: false when another process kept it for all that time
  package func acquire(timeout: Int64) -> Bool {
    if tryOnce() { return true }
    let deadline = Self.monotonicMilliseconds() + timeout
    // Short enough to catch the gap between two groups of a busy sidecar, long enough to cost it nothing.
    var pause: UInt32 = 20
    repeat {
      usleep(pause / 2 + UInt32.random(in: 0...pause / 2))
      if tryOnce() { return true }
      pause = min(pause * 2, 1_000)
    } while Self.monotonicMilliseconds() < deadline
    return false
  }

  private func tryOnce() -> Bool {
    // Whoever deletes it again and again does not hold this process up.
    for _ in 0..<8 {
      guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { return false }
      isHeld = true
      if isNamed { return true }
      // Somebody deleted or replaced the file. Where none can be made the old one still binds those who have it.
      let new = Self.open(path)
      if new < 0 { return true }
      isHeld = false
      close(descriptor)
      descriptor = new
      unsafe fstat(descriptor, &status)
    }
    return false
  }

  /// Whether the name leads to the file that is open. What the system does not tell just now counts as what is known.
  private var isNamed: Bool {
    var named = stat()
    if unsafe stat(path, &named) != 0 { return ![ENOENT, ENOTDIR, ESTALE, ELOOP].contains(errno) }
    return named.st_ino == status.st_ino && named.st_dev == status.st_dev
  }

  package func release() {
    guard isHeld else { return }
    isHeld = flock(descriptor, LOCK_UN) != 0
  }

  private static func monotonicMilliseconds() -> Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
  }
}
