internal import Glibc

/// Is told of what is written into a write-ahead log, so that nobody need look time and again whether something was.
///
/// It is no promise: a commit stands in the log before anybody can read it, and some systems tell nothing. So whoever
/// is told looks soon and again, and who is not told looks now and then.
package final class LogWatch {
  /// readable when something was written
  package let descriptor: Int32

  /// - Returns: nil where the system tells of nothing, or has given all that it gives to a user
  package init?(_ path: String) {
    // https://man7.org/linux/man-pages/man7/inotify.7.html
    let descriptor = inotify_init1(Int32(O_NONBLOCK | O_CLOEXEC))
    guard descriptor >= 0 else { return nil }
    self.descriptor = descriptor
    if unsafe inotify_add_watch(descriptor, path, UInt32(IN_MODIFY)) < 0 { return nil }
  }

  deinit { close(descriptor) }

  /// Forgets what was told.
  package func clear() {
    unsafe withUnsafeTemporaryAllocation(byteCount: 512, alignment: 8) { events in
      while unsafe read(descriptor, events.baseAddress, events.count) > 0 {}
    }
  }
}
