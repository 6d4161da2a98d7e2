import Glibc

/// Something that is done ten times a second on a thread of its own, while the main one is busy with what cannot pause.
enum Ticker {
  private static let interval: Int32 = 100

  /// Ticks until `body` is done. Where there is no thread to be had, nothing ticks.
  static func during<Result, Problem: Error>(
    _ tick: @escaping @Sendable () -> Void, _ body: () throws(Problem) -> Result
  ) throws(Problem) -> Result {
    var ends: [Int32] = [-1, -1]
    guard unsafe pipe2(&ends, O_CLOEXEC) == 0 else { return try body() }
    let work = unsafe Unmanaged.passRetained(Work(ends[0], tick))
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, nil,
      { work in
        if let work = unsafe work { unsafe Unmanaged<Work>.fromOpaque(work).takeRetainedValue().run() }
        return nil
      }, work.toOpaque())
    guard code == 0 else {
      unsafe work.release()
      close(ends[0])
      close(ends[1])
      return try body()
    }
    defer {
      // The thread wakes up from it at once.
      close(ends[1])
      pthread_join(thread, nil)
      close(ends[0])
    }
    return try body()
  }

  /// What the thread is handed.
  private final class Work: Sendable {
    private let end: Int32
    private let tick: @Sendable () -> Void

    init(_ end: Int32, _ tick: @escaping @Sendable () -> Void) {
      self.end = end
      self.tick = tick
    }

    func run() {
      var waiting = pollfd(fd: end, events: Int16(POLLIN), revents: 0)
      // A signal may end the waiting early; a tick too many does no harm.
      while unsafe poll(&waiting, 1, Ticker.interval) <= 0 { tick() }
    }
  }
}
