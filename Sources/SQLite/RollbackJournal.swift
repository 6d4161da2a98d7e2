internal import Glibc

/// The journal that a process leaves beside a database when it dies while it changes the file without a write-ahead
/// log: as it makes a new file, or turns a copy into one with a log. Whoever opens the file for writing next takes the
/// change back; until then nobody can read it, so this reads by itself what it will say then.
package struct RollbackJournal {
  /// what the header of the database says once the change is taken back; nil when that leaves nothing at all
  package let header: Header?

  package struct Header {
    /// https://www.sqlite.org/fileformat2.html#the_database_header
    package let applicationID: Int64
    package let userVersion: Int64
    /// whether it is the header of a database at all
    package let isDatabase: Bool
    /// whether nobody has put a table into it
    package let isWithoutTables: Bool

    /// the header, and the first bytes of the tree that lists the tables: its kind and how many cells are in its root
    fileprivate static let size = 105

    fileprivate init(_ bytes: [UInt8]) {
      isDatabase = bytes.count == Self.size && bytes.starts(with: "SQLite format 3\0".utf8)
      applicationID = isDatabase ? Int64(Int32(truncatingIfNeeded: bytes.bigEndian(68))) : 0
      userVersion = isDatabase ? Int64(Int32(truncatingIfNeeded: bytes.bigEndian(60))) : 0
      isWithoutTables = isDatabase && bytes[100] == 0x0D && bytes[103] == 0 && bytes[104] == 0
    }
  }

  /// - Parameter path: of the database, as SQLite resolved it
  /// - Throws: ``SQLiteError`` when one of the two cannot be read
  package init(of path: String) throws(SQLiteError) {
    let journal = try Self.read(DatabaseFile.journalPath(path), at: 0, 28)
    // https://www.sqlite.org/fileformat2.html#the_rollback_journal. Without a header it changes nothing.
    let magic: [UInt8] = [0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7]
    guard journal.count == 28, journal.starts(with: magic) else {
      header = Header(try Self.read(path, at: 0, Header.size))
      return
    }
    let (pagesBefore, sector, pageSize) = (journal.bigEndian(16), journal.bigEndian(20), journal.bigEndian(24))
    if pagesBefore == 0 {
      header = nil
      return
    }
    // The first page as it was, if it is among those that were changed; else it is still as it was.
    var record = Int(sector)
    while record > 0, pageSize > 0 {
      let bytes = try Self.read(DatabaseFile.journalPath(path), at: record, 4 + Header.size)
      guard bytes.count == 4 + Header.size, bytes.bigEndian(0) != 0 else { break }
      if bytes.bigEndian(0) == 1 {
        header = Header(Array(bytes[4...]))
        return
      }
      record += Int(pageSize) + 8
    }
    header = Header(try Self.read(path, at: 0, Header.size))
  }

  /// - Returns: fewer bytes where the file ends, none when there is no file
  private static func read(_ path: String, at offset: Int, _ count: Int) throws(SQLiteError) -> [UInt8] {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
    if descriptor < 0, errno == ENOENT { return [] }
    var bytes = [UInt8](repeating: 0, count: count)
    let done = descriptor < 0 ? -1 : unsafe pread(descriptor, &bytes, count, offset)
    let code = errno
    if descriptor >= 0 { close(descriptor) }
    if done < 0 { throw SQLiteError(code: 10, message: "cannot read \(path): \(DatabaseFile.errorText(code))") }
    return Array(bytes.prefix(done))
  }
}

extension [UInt8] {
  fileprivate func bigEndian(_ start: Int) -> UInt32 {
    self[start..<start + 4].reduce(0) { $0 << 8 | UInt32($1) }
  }
}
