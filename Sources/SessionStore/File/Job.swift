import Database
package import SQLite

/// Work on the whole file, too long to be done between two requests: a check of 0.9 GB is one statement of SQLite's
/// that takes 2.7 s and cannot be cut (measured).
package enum Job: Sendable {
  /// copies the database to a new file
  case backup(path: String)
  /// - Parameter expectedHead: of the audit trail, noted earlier
  case integrityCheck(expectedHead: AuditHead? = nil)
  /// moves sessions that have ended to an archive
  case archive(ArchiveJob)

  package enum Outcome: Sendable, Equatable {
    case backedUp(pages: Int, bytes: Int64)
    /// one sentence for each problem; nothing of the audit trail where the file is damaged
    case checked([String], audit: AuditCheck?)
    /// how many, and the size of the archive
    case archived(sessions: Int, bytes: Int64)
  }

  /// Does it on any connection to the file that is in no transaction.
  /// - Parameter report: told the pages that a backup has copied, and all; what it throws ends the job
  /// - Throws: ``StoreError``, ``SQLiteError``; ``WorkCancelled``
  func run(
    on connection: SQLite.Connection, _ progress: WorkProgress,
    report: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }
  ) throws -> Outcome {
    switch self {
    case .backup(let path):
      do {
        let copied = try connection.copy(to: path) { done, total in
          progress.report(done: done, total: total)
          try progress.check()
          try report(done, total)
        }
        return .backedUp(pages: copied.pages, bytes: copied.bytes)
      } catch let error as UnusablePath {
        throw StoreError.invalidParameter(name: "path", expected: error.expected)
      } catch let error as SQLiteError {
        throw StoreError.backupFailed(path: path, code: error.code, message: error.message)
      }
    case .integrityCheck(let expectedHead):
      return try connection.interruptibly(progress) {
        try connection.begin()
        defer { connection.rollback() }
        let findings = try Integrity.check(connection, expecting: expectedHead, progress)
        return .checked(findings.problems, audit: findings.audit)
      }
    case .archive: throw WorkCancelled()  // needs more than a connection
    }
  }
}

extension Store {
  /// Whether a second connection to the database is possible.
  package var canRunBeside: Bool { isShared || !path.isEmpty && !isExclusive && SQLite.isThreadSafe }

  /// Starts a job on a thread and a connection of its own, which see the database as it is at one moment from now on.
  package func start(_ job: Job) throws -> Background<Job.Outcome> {
    if case .archive(let archive) = job { return try start(archive) }
    if let writer {
      try checkJob(job)
      return try Background { [another = writer.server.another] progress in
        let server = try another()
        server.stop { progress.isCancelled }
        let connection = Database.Connection(server)
        try connection.begin(.snapshot)
        defer { connection.rollback() }
        do {
          return .checked(try Integrity.brokenRules(in: connection, progress), audit: nil)
        } catch {
          try progress.check()
          throw error
        }
      }
    }
    try checkPlace()
    let path = path
    let busyTimeout = Int32(clamping: limits.busyTimeout)
    return try Background { progress in
      let connection = try SQLite.Connection(path: path, mode: .readOnly, busyTimeout: busyTimeout)
      return try job.run(on: connection, progress)
    }
  }

  /// What a store on a server cannot do.
  private func checkJob(_ job: Job) throws {
    guard case .integrityCheck(let expectedHead) = job else { throw Self.noBackup }
    if expectedHead != nil {
      throw StoreError.invalidParameter(
        name: "expected_head", expected: "nothing: on a server the audit trail is no chain")
    }
  }

  /// Does a job at once on the store's own connection; no group may be open.
  /// - Parameter report: told the pages that a backup has copied, and all; what it throws ends the job
  /// - Throws: ``FileChanged`` too, where the store was opened for reading alone
  package func run(
    _ job: Job, report: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }
  ) throws -> Job.Outcome {
    if case .archive(let archive) = job { return try run(archive, report: report) }
    guard let file else {
      try checkJob(job)
      return .checked(try inSnapshot { try Integrity.brokenRules(in: tables.connection(.server)) }, audit: nil)
    }
    do {
      let outcome = try job.run(on: file.connection, WorkProgress()) { done, total in
        // The last report comes when everything is read and before the copy gets its name.
        if done == total { try checkStillness() }
        try report(done, total)
      }
      if case .integrityCheck = job { try checkStillness() }
      return outcome
    } catch {
      try checkStillness()
      throw error
    }
  }

  /// How a server is copied.
  private static let noBackup = StoreError.notOnServer(
    what: "backup copies the file of a store, and this one is on a server",
    instead: "pg_dump --schema, or mcp-session-store dump")

  private func inSnapshot<Result>(_ body: () throws -> Result) throws -> Result {
    try beginRead()
    defer { endRead() }
    return try body()
  }

  /// - Throws: ``StoreError/invalidParameter(name:expected:)`` when a copy can never stand there; `notOnServer`
  package func checkBackupPath(_ target: String) throws {
    if isShared { throw Self.noBackup }
    try checkPath(target)
    if DatabaseFile.isTaken(target) { throw Self.unusable("a path where there is no file yet") }
  }

  private static func unusable(_ expected: String) -> StoreError { .invalidParameter(name: "path", expected: expected) }

  /// What is asked of every file that is written beside the database.
  func checkPath(_ target: String) throws {
    if target.isEmpty || target.utf8.contains(0) { throw Self.unusable("a path, not empty and without a NUL") }
    if DatabaseFile.kind(target) == .directory {
      throw Self.unusable("a file in the directory '\(target)', not itself")
    }
    if let file, !file.path.isEmpty, DatabaseFile.belongs(target, to: file.path) {
      throw Self.unusable("a path that is not the database's own, nor one of the files beside it")
    }
  }
}
