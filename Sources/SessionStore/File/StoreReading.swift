import Database
import SQLite

/// Opening a store to look at it: nothing beside it is waited for, created or changed.
extension Store {
  /// how long a sidecar that was started with --exclusive is taken for one that is just closing: milliseconds
  private static let closingTime: Int64 = 500

  /// Opens the database at `path` for ``read(_:)`` alone. It is judged as for writing, and never created, migrated,
  /// checkpointed or locked against those that write.
  ///
  /// A reader of SQLite needs the shared memory beside the file, and makes it when it is not there. So a file that
  /// nobody has open, and that holds all of its contents, is read for itself; ``read(_:)`` makes sure that it stays so.
  package static func openForReading(
    _ path: String, limits: Limits = Limits(), environment: Environment, schema: Schema = .current
  ) throws(OpenError) -> Store {
    switch DatabaseFile.kind(path) {
    case .missing:
      if let reason = DatabaseFile.refusal(path) { throw .cannotCreate("cannot open \(path): \(reason)") }
      throw .missing("there is no file \(path)")
    case .directory: throw .cannotCreate("\(path) is a directory; name a file in it")
    case .other: throw .cannotCreate("\(path) is not a file")
    case .file: break
    }
    do {
      // It reads nothing yet, but SQLite follows links.
      let resolved = try SQLite.Connection(path: path, mode: .immutable, busyTimeout: 0).resolvedPath
      try refuseOneByte(path, resolved)
      while true {
        try waitForExcluder(resolved, path, environment)
        let stillness = StillFile(resolved)
        do {
          return try openForReading(path, resolved, stillness, limits, environment, schema)
        } catch {
          // What was read of a file while it was changed means nothing.
          if let stillness, !stillness.holds { continue }
          throw error
        }
      }
    } catch let error as SQLiteError where error.needsRollback {
      throw .cannotCreate(
        "\(path) has a journal beside it that a process left when it died; start mcp-session-store serve on it once, "
          + "which takes back what was half done")
    } catch let error as SQLiteError where error.class == .cannotOpen || error.class == .readOnly {
      throw .cannotCreate(obstacle(path) ?? "cannot open \(path) for reading: \(error.message)")
    } catch {
      throw openError(error, path, to: "for reading")
    }
  }

  private static func openForReading(
    _ path: String, _ resolved: String, _ stillness: StillFile?, _ limits: Limits, _ environment: Environment,
    _ schema: Schema
  ) throws -> Store {
    let alone = stillness == nil ? LogLineage.ofFile(resolved) : nil
    let connection = try SQLite.Connection(
      path: path, mode: stillness == nil ? .readOnly : .immutable, busyTimeout: Int32(clamping: limits.busyTimeout))
    // On one snapshot, so that no checkpoint changes the file meanwhile.
    try connection.begin()
    defer { connection.rollback() }
    let version = try judge(connection, path, log: DatabaseFile.logPath(resolved), schema)
    try LogLineage.check(alone, connection, path, log: DatabaseFile.logPath(resolved))
    if version == 0 { throw OpenError.missing("\(path) is empty: no sidecar has put anything into it yet") }
    if version < schema.version { throw OpenError.tooOld(found: version, supported: schema.version) }
    let file = OpenedFile(
      connection, lock: nil, stillness: stillness, path: resolved, durability: .full, isExclusive: false,
      busyTimeout: limits.busyTimeout, schemaVersion: schema.version)
    return Store(
      Database.Connection(connection), file, schema: schema.version, limits: limits, environment: environment)
  }

  /// What SQLite did not say of a file that it could not open.
  private static func obstacle(_ path: String) -> String? {
    let resolved = (try? SQLite.Connection(path: path, mode: .immutable, busyTimeout: 0).resolvedPath) ?? path
    let (log, memory) = (DatabaseFile.logPath(resolved), DatabaseFile.sharedMemoryPath(resolved))
    for file in [resolved, log, memory] {
      if let reason = DatabaseFile.refusal(file) {
        return "cannot open \(file) for reading: \(reason); run the command as the owner of the file"
      }
    }
    if DatabaseFile.size(log) > 0, DatabaseFile.kind(memory) == .missing {
      return "cannot open \(path) for reading: \(log) holds what is not in it yet, and to read that, SQLite must make "
        + "\(memory); run the command as the owner of the file, or on a copy of both"
    }
    return nil
  }

  /// A sidecar that was started with --exclusive lets nobody read, and says so nowhere but in SQLite's locks. One that
  /// is closing does the same while it copies its log into the file; it still has the shared memory then.
  private static func waitForExcluder(_ resolved: String, _ path: String, _ environment: Environment) throws {
    var deadline = environment.now() + closingTime
    while let process = DatabaseFile.excluder(resolved) {
      if DatabaseFile.sharedMemoryIsUsed(resolved) { deadline = environment.now() + closingTime }
      if environment.now() >= deadline {
        throw OpenError.locked(
          "\(path) is kept by \(process > 0 ? "process \(process)" : "another process") for itself (--exclusive); ask "
            + "it over its wire: server_info, health, get_metrics, list_sessions, backup")
      }
      DatabaseFile.pause(milliseconds: 10)
    }
  }

  /// Runs `body` on one snapshot of the file.
  /// - Throws: ``FileChanged``, and what `body` throws
  package func read<Result>(_ body: () throws -> Result) throws -> Result {
    beginRequest()
    let outcome: Swift.Result<Result, any Error>
    do {
      try beginRead()
      defer { endRead() }
      outcome = .success(try body())
    } catch {
      outcome = .failure(error)
    }
    try checkStillness()
    return try outcome.get()
  }

  /// Whether what was read so far can be relied on.
  func checkStillness() throws(FileChanged) {
    if let stillness = file?.stillness, !stillness.holds { throw FileChanged() }
  }
}

/// What this program is built with and for.
package enum Build {
  package static var sqliteVersion: String { SQLite.linkedVersion }
  /// see ``SQLite/linkedVersionCanLoseCommits``
  package static var sqliteCanLoseCommits: Bool { SQLite.linkedVersionCanLoseCommits }
  package static var schema: Int64 { Schema.current.version }
}

/// A file that nobody had open was opened for writing while it was read: what was read may be wrong. Open it anew.
package struct FileChanged: Error {}

extension Store {
  /// Hands out what is still there of a session's events, whatever the session's status: for those who look at the
  /// file, not for clients.
  package func inspectEvents(
    _ sessionID: String, after: Int64, streamID: String?, limit: Int, visit: (borrowing EventRow) throws -> Bool
  ) throws -> (page: EventPage, session: SessionNumber, status: SessionStatus) {
    guard let slot = try findSession(sessionID, owner: .server) else { throw StoreError.sessionNotFound(sessionID) }
    let page = try readEvents(slot, after: after, streamID: streamID, limit: limit, visit: visit)
    return (page, cache.rows[slot].number, effectiveStatus(slot))
  }
}

extension OpenError {
  /// Whatever a store that was opened may throw later, as the shell tells it.
  package static func of(_ error: any Error, _ path: String) -> OpenError {
    if error is FileChanged {
      return .locked("\(path) was opened for writing while it was read; run the command again")
    }
    return Store.openError(error, path, to: "for reading")
  }
}

/// A database that nobody has open and whose log is empty, so that all of it is in the one file.
struct StillFile {
  private let path: String
  private let stamp: DatabaseFile.Stamp

  /// - Returns: nil when the file is not still
  init?(_ path: String) {
    guard let stamp = DatabaseFile.stamp(path) else { return nil }
    self.path = path
    self.stamp = stamp
    if !holds { return nil }
  }

  /// Whether it is still. A writer makes a log or a journal before it changes anything else.
  var holds: Bool {
    DatabaseFile.size(DatabaseFile.logPath(path)) == 0 && DatabaseFile.size(DatabaseFile.journalPath(path)) == 0
      && !DatabaseFile.sharedMemoryIsUsed(path) && DatabaseFile.stamp(path) == stamp
  }
}
