internal import CSQLite

/// A copy of one database into another, page by page: https://www.sqlite.org/backup.html
@safe
private struct Backup: ~Copyable {
  private let handle: OpaquePointer
  private let source: Connection
  private let destination: Connection

  init(of source: Connection, into destination: Connection) throws(SQLiteError) {
    let started = unsafe sqlite3_backup_init(destination.handle, "main", source.handle, "main")
    guard let handle = unsafe started else {
      throw unsafe SQLiteError(code: sqlite3_extended_errcode(destination.handle), connection: destination.handle)
    }
    unsafe self.handle = unsafe handle
    self.source = source
    self.destination = destination
  }

  deinit {
    unsafe sqlite3_backup_finish(handle)
  }

  /// pages that are still to be copied
  var remaining: Int { unsafe Int(sqlite3_backup_remaining(handle)) }

  /// Copies some pages more.
  /// - Returns: false when all are copied and committed
  func step(pages: Int32) throws(SQLiteError) -> Bool {
    switch unsafe sqlite3_backup_step(handle, pages) {
    case SQLITE_OK: return true
    case SQLITE_DONE: return false
    case let code: throw unsafe SQLiteError(code: code, connection: nil)
    }
  }
}

extension Connection {
  /// How large a copy became.
  package struct Copied: Sendable, Equatable {
    package var pages: Int
    package var bytes: Int64
  }

  /// pages between two looks at whether to go on: about a millisecond
  private static let pagesPerStep: Int32 = 256

  /// Copies the database as it is at one moment to a new file, readable by its owner alone and on disk when this
  /// returns. One read transaction is held all the while, so it never starts over, whatever others write.
  /// - Parameter report: told the pages that are done and the pages that there are; what it throws ends the copy
  /// - Throws: ``UnusablePath``; ``SQLiteError``; what `report` throws. Nothing stays behind then.
  package func copy(to path: String, report: (_ done: Int, _ total: Int) throws -> Void) throws -> Copied {
    try begin()
    defer { rollback() }
    let pages = Int(try pragma("page_count"))
    let pageSize = try pragma("page_size")
    let copied = Copied(pages: pages, bytes: Int64(pages) * pageSize)
    let file = try BackupFile(path, bytes: copied.bytes)
    try report(0, pages)
    do {
      let destination = try Connection(path: file.partialPath, mode: .readWrite, busyTimeout: 0)
      // Nobody else knows the file and an unfinished one is deleted, so nothing needs to be kept safe on the way.
      try destination.execute("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF")
      let backup = try Backup(of: self, into: destination)
      do {
        while try backup.step(pages: Self.pagesPerStep) {
          let done = pages - backup.remaining
          try report(done, pages)
          try file.wrote(Int64(done) * pageSize)
        }
      } catch {
        // Before SQLite empties it, which may take some file systems long.
        file.discard()
        throw error
      }
    }
    try report(pages, pages)
    try file.markAsRollbackJournal()
    try file.place()
    return copied
  }
}
