import Database
import SQLite
import Synchronization

/// Moving sessions to an archive beside the requests: a thread reads, compresses and syncs, and what is on disk is
/// deleted between two requests by the one that owns the database, a few rows at a time.
package final class ArchiveJob: Sendable {
  /// What the thread has on disk and the store still has.
  private struct Handover {
    var leaving: ArraySlice<LeavingSession> = []
    var removed = 0
    var failure: (any Error)?
  }

  package let path: String
  /// Unix milliseconds
  package let endedBefore: Int64
  private let open: @Sendable (_ path: String) throws -> any ArchiveTarget
  private let handover = Mutex(Handover())

  package init(
    path: String, endedBefore: Int64, open: @escaping @Sendable (_ path: String) throws -> any ArchiveTarget
  ) {
    self.path = path
    self.endedBefore = endedBefore
    self.open = open
  }

  // MARK: - The thread's side

  /// Does it beside the one that owns the database.
  /// - Parameter store: to read from
  fileprivate func run(reading store: Store, _ progress: WorkProgress) throws -> Job.Outcome {
    try run(on: store, progress) { leaving in
      handover.withLock { $0 = Handover(leaving: leaving[...]) }
      while true {
        let (isDone, removed) = try handover.withLock { state in
          if let failure = state.failure { throw failure }
          return (state.leaving.isEmpty, state.removed)
        }
        if isDone { return removed }
        try progress.check()
        DatabaseFile.pause(milliseconds: 1)
      }
    }
  }

  /// Does it at once.
  fileprivate func run(on store: Store, report: (_ done: Int, _ total: Int) throws -> Void) throws -> Job.Outcome {
    try run(on: store, WorkProgress(), report: report) { try store.removeArchived($0) }
  }

  private func run(
    on store: Store, _ progress: WorkProgress, report: (_ done: Int, _ total: Int) throws -> Void = { _, _ in },
    remove: ([LeavingSession]) throws -> Int
  ) throws -> Job.Outcome {
    let target = try open(path)
    var pass = ArchivePass(to: target, endedBefore: endedBefore)
    let total = try pass.count(in: store)
    progress.report(done: 0, total: total)
    var (seen, removed) = (0, 0)
    while let leaving = try pass.next(in: store, check: { try progress.check() }) {
      if leaving.isEmpty { continue }
      removed += try remove(leaving)
      seen = min(seen + leaving.count, total)
      progress.report(done: seen, total: total)
      try report(seen, total)
    }
    return .archived(sessions: removed, bytes: target.size)
  }

  // MARK: - The owner's side

  /// whether something waits to be deleted
  package var hasLeaving: Bool { handover.withLock { !$0.leaving.isEmpty && $0.failure == nil } }

  fileprivate var leaving: ArraySlice<LeavingSession> { handover.withLock { $0.leaving } }

  fileprivate func note(rest: ArraySlice<LeavingSession>, removed: Int) {
    handover.withLock { state in
      state.leaving = rest
      state.removed += removed
    }
  }

  /// Ends the job with an error; what is on disk and was not deleted is in both places.
  package func fail(_ error: any Error) { handover.withLock { $0.failure = error } }
}

extension Store {
  /// Rows that one slice may delete of what was archived; the time that it may take is a sweep's.
  private static let archiveSliceRows: Int64 = 256

  /// Deletes some of what a job has on disk, in a group of its own. It gives up at once when another process writes.
  ///
  /// The last of them goes alone, in a commit that is synced, and takes the others along.
  /// - Throws: `busy` then; `outcomeUnknown` when the disk failed, and the process must end
  package func removeArchived(of job: ArchiveJob) throws {
    var leaving = job.leaving
    guard let last = leaving.last else { return }
    let isLast = leaving.count == 1
    if !isLast { leaving.removeLast() }
    let removed = try (isLast ? { try $0() } : withoutSync) {
      try inOwnGroup(waiting: 0) {
        var budget = SliceBudget(rows: Self.archiveSliceRows, milliseconds: Self.sliceMilliseconds, environment)
        return try removeArchived(&leaving, &budget)
      }
    }
    if !isLast { leaving.append(last) }
    job.note(rest: leaving, removed: removed)
  }

  /// Starts it on a thread and a connection of its own.
  func start(_ job: ArchiveJob) throws -> Background<Job.Outcome> {
    let (limits, durability, schema, now) = (limits, durability, schema, currentTime())
    if let writer {
      return try Background { [another = writer.server.another] progress in
        let server = try another()
        server.stop { progress.isCancelled }
        let connection = Database.Connection(server)
        let store = Store(
          connection, Writer(server, connection, id: nil), schema: schema, limits: limits,
          environment: Environment(now: { now }), durability: durability)
        do {
          return try job.run(reading: store, progress)
        } catch {
          try progress.check()
          throw error
        }
      }
    }
    try checkPlace()
    let path = path
    return try Background { progress in
      let connection = try SQLite.Connection(
        path: path, mode: .readOnly, busyTimeout: Int32(clamping: limits.busyTimeout))
      let file = OpenedFile(
        connection, lock: nil, path: path, durability: durability, isExclusive: false, busyTimeout: limits.busyTimeout,
        schemaVersion: schema)
      let store = Store(
        Database.Connection(connection), file, schema: schema, limits: limits, environment: Environment(now: { now }))
      return try job.run(reading: store, progress)
    }
  }

  /// Does it at once on the store's own connection.
  func run(_ job: ArchiveJob, report: (_ done: Int, _ total: Int) throws -> Void) throws -> Job.Outcome {
    try job.run(on: self, report: report)
  }

  /// - Throws: ``StoreError/invalidParameter(name:expected:)`` when an archive can never stand there
  package func checkArchivePath(_ target: String) throws { try checkPath(target) }
}
