import Database
import SQLite

/// How a file becomes a store. The order of the steps matters; each is there because leaving it out has lost or
/// damaged someone's file.
extension Store {
  /// Opens or creates the database at `path` (":memory:" for one that is gone with the process).
  ///
  /// A file that is not ours, is newer than this program or is damaged is refused and left byte for byte as it was.
  package static func open(
    _ path: String, limits: Limits = Limits(), durability: Durability = .full, exclusive: Bool = false,
    environment: Environment, schema: Schema = .current
  ) throws(OpenError) -> Store {
    let isInMemory = path == ":memory:"
    if !isInMemory {
      switch DatabaseFile.kind(path) {
      case .directory: throw .cannotCreate("\(path) is a directory; name a file in it")
      case .other: throw .cannotCreate("\(path) is neither a file nor a place for one")
      case .missing, .file: break
      }
      // Before SQLite opens it, so that its rights are ours to choose; on an existing file this only proves that it can
      // be written.
      if let reason = DatabaseFile.create(path) { throw .cannotCreate("cannot open \(path) for writing: \(reason)") }
    }
    do {
      let lock = isInMemory ? nil : try lock(path, limits)
      let isWhole = if let lock { try judge(path, resolved: lock.resolved, limits, schema) } else { true }
      let connection = try SQLite.Connection(
        path: path, mode: .readWrite, busyTimeout: Int32(clamping: limits.busyTimeout))
      // The first look takes back what a dead process left half done; only then can the rest be judged.
      if let lock, !isWhole { _ = try judge(connection, path, log: DatabaseFile.logPath(lock.resolved), schema) }
      try connection.configureForWriting(syncEachCommit: durability == .full, exclusive: exclusive)
      try migrate(connection, schema)
      let place =
        isInMemory
        ? nil : try DatabasePlace(path, of: connection, exclusive: exclusive, witness: rootPage(connection, "store"))
      let file = OpenedFile(
        connection, lock: lock?.file, place: place, path: connection.resolvedPath, durability: durability,
        isExclusive: exclusive, busyTimeout: limits.busyTimeout, schemaVersion: schema.version)
      let store = Store(
        Database.Connection(connection), file, schema: schema.version, limits: limits, environment: environment)
      try file.noteLog()
      if !exclusive { lock?.file.release() }
      return store
    } catch {
      throw openError(error, path)
    }
  }

  /// The lock stands beside the file under the name that SQLite resolved, so that two names of one file share it. So
  /// does the write-ahead log.
  private static func lock(_ path: String, _ limits: Limits) throws -> (file: FileLock, resolved: String) {
    let resolved = try SQLite.Connection(path: path, mode: .readOnly, busyTimeout: 0).resolvedPath
    let lock = try FileLock(path: resolved + "-lock")
    if !lock.acquire(timeout: limits.busyTimeout) {
      throw OpenError.locked("\(path) is in use by another process that holds \(lock.path) (started with --exclusive?)")
    }
    return (lock, resolved)
  }

  /// Looks at an existing file without the right to change it: opening a file whose log is hot for writing, and closing
  /// it again, rewrites it, and only through the log is its version known.
  /// - Returns: false when that can be said only of the header, because a journal is to be rolled back first
  private static func judge(
    _ path: String, resolved: String, _ limits: Limits, _ schema: Schema
  ) throws -> Bool {
    let log = DatabaseFile.logPath(resolved)
    try refuseOneByte(path, resolved)
    if DatabaseFile.size(path) == 0, DatabaseFile.size(log) == 0 { return true }
    let file = LogLineage.ofFile(resolved)
    let connection = try SQLite.Connection(
      path: path, mode: .readOnly, busyTimeout: Int32(clamping: limits.busyTimeout))
    do {
      _ = try judge(connection, path, log: log, schema)
      try LogLineage.check(file, connection, path, log: log)
      return true
    } catch let error as SQLiteError where error.needsRollback {
      try judgeHeader(RollbackJournal(of: resolved).header, path, schema)
      return false
    }
  }

  /// SQLite takes a file of one byte for an empty one and would overwrite it. Only where the journal says that the file
  /// was empty is the byte nobody's: the first one of a new file, of which a power cut left no more.
  static func refuseOneByte(_ path: String, _ resolved: String) throws {
    guard DatabaseFile.size(path) == 1, try RollbackJournal(of: resolved).header != nil else { return }
    throw OpenError.foreign("\(path) is not a SQLite database; name another file")
  }

  /// - Parameter header: nil for a file that will be empty, and so nobody's
  private static func judgeHeader(_ header: RollbackJournal.Header?, _ path: String, _ schema: Schema) throws {
    guard let header else { return }
    if !header.isDatabase { throw OpenError.foreign("\(path) is not a SQLite database; name another file") }
    if header.applicationID != Schema.applicationID {
      if header.applicationID == 0, header.userVersion == 0, header.isWithoutTables { return }
      throw OpenError.foreign("\(path) is a SQLite database of another program; name another file")
    }
    if header.userVersion > schema.version {
      throw OpenError.tooNew(found: header.userVersion, supported: schema.version)
    }
  }

  /// - Returns: the version of its schema; 0 for a database that nobody has put anything into
  static func judge(_ connection: SQLite.Connection, _ path: String, log: String, _ schema: Schema) throws -> Int64 {
    let application = try connection.pragma("application_id")
    let version = try connection.pragma("user_version")
    if application != Schema.applicationID {
      let objects = try connection.statement("SELECT count(*) FROM sqlite_schema")
      if application == 0, version == 0, try objects.step(), objects.integer(0) == 0 { return 0 }
      throw OpenError.foreign("\(path) is a SQLite database of another program; name another file")
    }
    if version > schema.version { throw OpenError.tooNew(found: version, supported: schema.version) }
    if version < 0 { throw OpenError.damaged("\(path) says that its schema has version \(version)") }
    let pages = try connection.pragma("page_count")
    // 0 is also what a system says that cannot tell.
    let size = DatabaseFile.size(path)
    if DatabaseFile.size(log) == 0, size > 0, size < pages * (try connection.pragma("page_size")) {
      throw OpenError.damaged("\(path) is shorter than its header says; restore it from a backup")
    }
    // A row of each table: its root page is there and is a page of a table.
    for table in Schema.tables(of: version) {
      do throws(SQLiteError) {
        let select = try connection.statement(composed: "SELECT * FROM \(table) LIMIT 1")
        try select.run()
      } catch {
        switch error.class {
        case .corrupt, .notADatabase, .other:
          throw OpenError.damaged(
            "\(path): table '\(table)' cannot be read (\(error.message)); look after the disk or restore a backup")
        // The disk fails or somebody holds a lock: nothing is known of the file.
        case .busy, .full, .readOnly, .cannotOpen, .inputOutput: throw error
        }
      }
    }
    return version
  }

  /// Brings the file to the newest schema, each step in a transaction of its own. One that nobody has put anything into
  /// gets there in one step.
  private static func migrate(_ connection: SQLite.Connection, _ schema: Schema) throws {
    while true {
      try connection.beginImmediate()
      do {
        let version = try connection.pragma("user_version")
        if version > schema.version { throw OpenError.tooNew(found: version, supported: schema.version) }
        if version == schema.version {
          connection.rollback()
          return
        }
        var next = version + 1
        if version == 0, let whole = schema.whole {
          try connection.execute(whole)
          next = schema.version
        } else {
          try connection.execute(schema.migrations[Int(version)])
          try Schema.moves[next]?(Database.Connection(connection))
        }
        try connection.execute("PRAGMA application_id = \(Schema.applicationID)")
        try connection.execute("PRAGMA user_version = \(next)")
        try connection.commit()
      } catch {
        connection.rollback()
        throw error
      }
    }
  }

  private static func rootPage(_ connection: SQLite.Connection, _ table: String) throws -> Int64 {
    let select = try connection.statement("SELECT rootpage FROM sqlite_schema WHERE name = $1")
    select.bind(1, table)
    return try select.step() ? select.integer(0) : 1
  }

  static func openError(_ error: any Error, _ path: String, to purpose: String = "for writing") -> OpenError {
    if let error = error as? OpenError { return error }
    if let change = error as? DatabasePlace.Change { return .replaced(change.sentence) }
    guard let error = error as? DatabaseError ?? (error as? SQLiteError).map(DatabaseError.init) else {
      return .inputOutput("\(path): \(error)")
    }
    return switch error.class {
    case .notADatabase: .foreign("\(path) is not a SQLite database; name another file")
    // SQLite says the same of bytes that are wrong and of bytes that the disk cannot read (SQLITE_IOERR_CORRUPTFS).
    case .corrupt:
      .damaged("\(path) is damaged (\(error.message)), or its disk is; look after the disk or restore a backup")
    case .busy: .locked("\(path) is locked by another process (\(error.message))")
    case .cannotOpen, .readOnly: .cannotCreate("cannot open \(path) \(purpose): \(error.message)")
    case .full, .inputOutput, .other, .again, .unreachable, .badAddress, .noLibrary:
      .inputOutput("\(path): \(error.sentence ?? "\(error.message) (SQLite code \(error.code))")")
    }
  }
}
