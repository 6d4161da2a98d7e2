internal import CSQLite
internal import Glibc
internal import Synchronization

/// Work on a thread of its own, for what SQLite cannot do in slices. The thread never outlives this object.
@safe
package final class Background<Value: Sendable> {
  private final class Outcome: Sendable {
    let result = Mutex<Result<Value, any Error>?>(nil)
  }

  package let progress: WorkProgress
  private let outcome: Outcome
  private let thread: pthread_t
  private var isJoined = false

  /// Starts it. The thread has the signal mask of the one that calls, so signals that are blocked here stay so there.
  /// - Throws: the system's reason when there is no thread to be had
  package init(_ work: @escaping @Sendable (WorkProgress) throws -> Value) throws(SQLiteError) {
    let (progress, outcome) = (WorkProgress(), Outcome())
    thread = try ThreadBody {
      let result = Result { try work(progress) }
      outcome.result.withLock { $0 = result }
    }.start()
    self.progress = progress
    self.outcome = outcome
  }

  deinit {
    cancel()
    join()
  }

  package var isFinished: Bool { outcome.result.withLock { $0 != nil } }

  /// What came of it, once it has ended.
  package func result() throws -> Value {
    join()
    guard let result = outcome.result.withLock({ $0 }) else { throw WorkCancelled() }
    return try result.get()
  }

  /// Makes it end as soon as it can, and waits for that; it may turn out to have been done before.
  package func cancel() {
    while !isFinished {
      // An interrupt that comes between two statements is lost.
      progress.cancel()
      DatabaseFile.pause(milliseconds: 1)
    }
  }

  private func join() {
    if isJoined { return }
    pthread_join(thread, nil)
    isJoined = true
  }
}

/// What a new thread is handed.
private final class ThreadBody: Sendable {
  private let run: @Sendable () -> Void

  init(_ run: @escaping @Sendable () -> Void) {
    self.run = run
  }

  func start() throws(SQLiteError) -> pthread_t {
    let body = unsafe Unmanaged.passRetained(self)
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, nil,
      { body in
        // Of this thread alone: where processors are few, those who wait for answers come first.
        setpriority(PRIO_PROCESS, 0, 10)
        if let body = unsafe body { unsafe Unmanaged<ThreadBody>.fromOpaque(body).takeRetainedValue().run() }
        return nil
      }, body.toOpaque())
    if code == 0 { return thread }
    unsafe body.release()
    throw SQLiteError(code: SQLITE_NOMEM, message: "no thread could be started: \(DatabaseFile.errorText(code))")
  }
}

/// Whether several threads may use connections, each its own. Debian's library is made so.
package var isThreadSafe: Bool { sqlite3_threadsafe() != 0 }
