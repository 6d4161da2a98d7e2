internal import Glibc

/// Is told of what is written into a write-ahead log, so that nobody need look time and again whether something was.
///
/// It is no promise: a commit stands in the log before anybody can read it, and some systems tell nothing. So whoever
/// is told looks soon and again, and who is not told looks now and then.
package final class LogWatch {
  private let path: String
  /// Kept until the end: the system takes up to a fifth of a second to close one.
  private let instance: Int32
  private var watch: Int32 = -1

  /// - Returns: nil where the system tells of nothing, or has given all that it gives to a user
  package init?(_ path: String) {
    self.path = path
    // https://man7.org/linux/man-pages/man7/inotify.7.html
    instance = inotify_init1(Int32(O_NONBLOCK | O_CLOEXEC))
    if instance < 0 { return nil }
  }

  deinit { if instance >= 0 { close(instance) } }

  /// Readable when something was written; nil while nothing is told.
  package var descriptor: Int32? { watch < 0 ? nil : instance }

  package func start() {
    if watch < 0 { watch = unsafe inotify_add_watch(instance, path, UInt32(IN_MODIFY)) }
  }

  package func stop() {
    if watch < 0 { return }
    inotify_rm_watch(instance, watch)
    clear()
    watch = -1
  }

  /// Forgets what was told.
  package func clear() {
    if watch < 0 { return }
    unsafe withUnsafeTemporaryAllocation(byteCount: 512, alignment: 8) { events in
      // What is told of one file is told as one, so that there is seldom more.
      while unsafe read(instance, events.baseAddress, events.count) == events.count {}
    }
  }
}
