internal import CSQLite
internal import Synchronization

/// What the thread that does long work and the one that waits for it tell each other.
package final class WorkProgress: Sendable {
  private let doneCount = Atomic<Int>(0)
  private let totalCount = Atomic<Int>(0)
  private let stopping = Mutex(Stopping())

  private struct Stopping {
    var isCancelled = false
    /// address of the connection that is running a statement for this work
    var connection: UInt?
  }

  package init() {}

  /// pages
  package var done: Int { doneCount.load(ordering: .relaxed) }
  /// pages; 0 until it is known
  package var total: Int { totalCount.load(ordering: .relaxed) }

  package func report(done: Int, total: Int) {
    doneCount.store(done, ordering: .relaxed)
    totalCount.store(total, ordering: .relaxed)
  }

  package var isCancelled: Bool { stopping.withLock { $0.isCancelled } }

  /// Asks the work to stop, and interrupts the statement that runs for it.
  package func cancel() {
    stopping.withLock { state in
      state.isCancelled = true
      if let connection = state.connection { unsafe sqlite3_interrupt(OpaquePointer(bitPattern: connection)) }
    }
  }

  /// - Throws: ``WorkCancelled`` when someone asked the work to stop
  package func check() throws(WorkCancelled) {
    if isCancelled { throw WorkCancelled() }
  }

  func setConnection(_ connection: UInt?) {
    stopping.withLock { $0.connection = connection }
  }
}

/// Long work that was stopped before it was done; it left nothing behind.
package struct WorkCancelled: Error {
  package init() {}
}
