import Database
import SQLite
import Synchronization

/// Moving sessions to an archive beside the requests: a thread reads, compresses and syncs, and what is on disk is
/// deleted between two requests by the one that owns the database, a few rows at a time.
package final class ArchiveJob: Sendable {
  /// What the thread waits for the owner of the database to do.
  private enum Wish: Sendable {
    case claim(file: String, path: String, from: String?)
    /// what is on disk and in the store still
    case remove(ArraySlice<LeavingSession>, file: String)
    case release(file: String)
  }

  private struct Handover {
    var wish: Wish?
    var removed = 0
    /// that of another archive
    var claim: ArchiveClaim?
    var failure: (any Error)?
  }

  package let path: String
  /// Unix milliseconds
  package let endedBefore: Int64
  private let open: OpenArchive
  private let handover = Mutex(Handover())

  package init(path: String, endedBefore: Int64, open: @escaping OpenArchive) {
    self.path = path
    self.endedBefore = endedBefore
    self.open = open
  }

  // MARK: - The thread's side

  /// Hands to the owner what is to be written.
  private struct Thread: ArchiveOwner {
    let job: ArchiveJob
    let progress: WorkProgress

    private func wait(for wish: Wish) throws -> Handover {
      job.handover.withLock { $0 = Handover(wish: wish) }
      while true {
        let state = try job.handover.withLock { state in
          if let failure = state.failure { throw failure }
          return state
        }
        if state.wish == nil { return state }
        try progress.check()
        DatabaseFile.pause(milliseconds: 1)
      }
    }

    func claimArchive(_ file: String, _ path: String, from other: String?) throws -> ArchiveClaim? {
      try wait(for: .claim(file: file, path: path, from: other)).claim
    }

    func removeArchived(_ leaving: [LeavingSession], of file: String) throws -> Int {
      leaving.isEmpty ? 0 : try wait(for: .remove(leaving[...], file: file)).removed
    }

    func releaseArchive(_ file: String) throws { _ = try wait(for: .release(file: file)) }
  }

  /// Does it beside the one that owns the database.
  /// - Parameter store: to read from
  fileprivate func run(reading store: Store, _ progress: WorkProgress) throws -> Job.Outcome {
    try run(on: store, for: Thread(job: self, progress: progress), progress)
  }

  /// Does it at once.
  fileprivate func run(on store: Store, report: (_ done: Int, _ total: Int) throws -> Void) throws -> Job.Outcome {
    try run(on: store, for: store, WorkProgress()) { seen, total, _ in
      try report(seen, total)
      return true
    }
  }

  /// The same.
  /// - Parameter goesOn: told how many sessions are gone; false ends it there
  /// - Returns: how many sessions are gone
  package func run(on store: Store, goesOn: (_ removed: Int) -> Bool) throws -> Int {
    guard case .archived(let sessions, _) = try run(
      on: store, for: store, WorkProgress(), goesOn: { _, _, removed in goesOn(removed) })
    else { return 0 }
    return sessions
  }

  private func run(
    on store: Store, for owner: some ArchiveOwner, _ progress: WorkProgress,
    goesOn: (_ seen: Int, _ total: Int, _ removed: Int) throws -> Bool = { _, _, _ in true }
  ) throws -> Job.Outcome {
    let target = try open(path, nil)
    var pass = ArchivePass(to: target, endedBefore: endedBefore)
    try pass.claim(in: store, owner, reopen: { try open($0.path, $0.file) }, check: { try progress.check() })
    let total = try pass.count(in: store)
    progress.report(done: 0, total: total)
    var (seen, removed) = (0, 0)
    while let leaving = try pass.next(in: store, check: { try progress.check() }) {
      if leaving.isEmpty { continue }
      removed += try owner.removeArchived(leaving, of: target.file)
      seen = min(seen + leaving.count, total)
      progress.report(done: seen, total: total)
      if try !goesOn(seen, total, removed) { break }
    }
    try owner.releaseArchive(target.file)
    return .archived(sessions: removed, bytes: target.size)
  }

  // MARK: - The owner's side

  /// whether the thread waits for something
  package var hasWish: Bool { handover.withLock { $0.wish != nil && $0.failure == nil } }

  /// Does what the thread waits for, or a part of it.
  fileprivate func advance(
    claim: (_ file: String, _ path: String, _ from: String?) throws -> ArchiveClaim?,
    remove: (_ leaving: inout ArraySlice<LeavingSession>, _ file: String) throws -> Int,
    release: (_ file: String) throws -> Void
  ) throws {
    var state = handover.withLock { $0 }
    switch state.wish {
    case .claim(let file, let path, let other):
      state.claim = try claim(file, path, other)
      state.wish = nil
    case .remove(var leaving, let file):
      state.removed += try remove(&leaving, file)
      state.wish = leaving.isEmpty ? nil : .remove(leaving, file: file)
    case .release(let file):
      try release(file)
      state.wish = nil
    case nil: return
    }
    handover.withLock { $0 = state }
  }

  /// Ends the job with an error; what is on disk and was not deleted is in both places.
  package func fail(_ error: any Error) { handover.withLock { $0.failure = error } }
}

/// Opens an archive to append to it.
/// - Parameter file: which one it has to be, and it is there; nil: any, and it is made when it is missing
package typealias OpenArchive = @Sendable (_ path: String, _ file: String?) throws -> any ArchiveTarget

extension Store {
  /// Rows that one slice may delete of what was archived; the time that it may take is a sweep's.
  private static let archiveSliceRows: Int64 = 256

  /// Does a little of what a job's thread waits for, in a group of its own. It gives up at once when another process
  /// writes.
  ///
  /// The last session that is deleted goes alone, in a commit that is synced, and takes the others along.
  /// - Throws: `busy` then; `outcomeUnknown` when the disk failed, and the process must end
  package func advance(_ job: ArchiveJob) throws {
    try job.advance(
      claim: { file, path, other in try inOwnGroup(waiting: 0) { try takeArchive(file, path, from: other) } },
      remove: { leaving, file in
        guard let last = leaving.last else { return 0 }
        let isLast = leaving.count == 1
        if !isLast { leaving.removeLast() }
        var rest = leaving
        let removed = try (isLast ? { try $0() } : withoutSync) {
          try inOwnGroup(waiting: 0) {
            try renewArchive(file)
            var budget = SliceBudget(rows: Self.archiveSliceRows, milliseconds: Self.sliceMilliseconds, environment)
            return try removeArchived(&rest, &budget)
          }
        }
        leaving = isLast ? rest : rest + [last]
        return removed
      },
      release: { file in try withoutSync { try inOwnGroup(waiting: 0) { try leaveArchive(file) } } })
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
