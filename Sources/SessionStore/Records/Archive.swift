import Database
import SHA256

/// Where sessions go that leave the store.
package protocol ArchiveTarget: AnyObject {
  /// What follows is of this session.
  func begin(_ sessionID: String) throws
  /// - Parameter lines: whole lines of a dump
  func append(_ lines: [UInt8]) throws
  /// - Parameter digest: 64 digits, of all lines but the first
  func end(_ digest: String) throws
  /// When this returns, all that was appended outlives a power cut.
  func sync() throws
}

/// Moving sessions that have ended out of the store. Each is a dump of its own, with its tasks and without its part of
/// the audit trail, which stays where it is. They are deleted by the commit behind the one moment when they are on disk
/// and here: whoever is killed finds them in both places, and ``finishArchive(_:)`` deletes those that are the same.
extension Store {
  /// sessions that may be in both places
  package static let archivedAtOnce = 100
  /// bytes of lines after which a group takes no more sessions
  private static let archivedBytes = 4 << 20

  /// Moves some of the sessions that ended before a time, the longest ended first.
  /// - Returns: how many; 0 when there are no more
  package func archive(endedBefore time: Int64, to target: some ArchiveTarget) throws -> Int {
    beginRequest()
    return try inOwnGroup(waiting: limits.busyTimeout) {
      var (archived, bytes): ([String], Int) = ([], 0)
      for sessionID in try endedSessions(before: time) where bytes < Self.archivedBytes {
        try target.begin(sessionID)
        let digest = try dumpForArchive(sessionID) { lines in
          bytes += lines.count
          try target.append(lines)
        }
        try target.end(digest)
        archived.append(sessionID)
      }
      if archived.isEmpty { return 0 }
      try target.sync()
      for sessionID in archived { try removeArchived(sessionID) }
      return archived.count
    }
  }

  /// Deletes what an archive has already and a killed process has left here.
  /// - Parameter members: those that were archived last, with the digest of their lines
  /// - Returns: how many
  package func finishArchive(_ members: [(sessionID: String, digest: String)]) throws -> Int {
    beginRequest()
    return try inOwnGroup(waiting: limits.busyTimeout) {
      var removed = 0
      for member in members {
        guard let slot = try findSession(member.sessionID, owner: .server), cache.rows[slot].endedAt != nil,
          try dumpForArchive(member.sessionID, emit: { _ in }) == member.digest
        else { continue }
        try removeArchived(member.sessionID)
        removed += 1
      }
      return removed
    }
  }

  private func endedSessions(before time: Int64) throws -> [String] {
    try flushSessions()
    var select = try tables.statement(
      .server,
      composed: """
        SELECT session_id FROM sessions WHERE ended_at IS NOT NULL AND ended_at > 0 AND ended_at < $1
        ORDER BY ended_at, number LIMIT $2
        """ + tables.dialect.lockingWhatIsFree)
    select.bind(1, time)
    select.bind(2, Int64(Self.archivedAtOnce))
    var sessionIDs: [String] = []
    while try select.step() { sessionIDs.append(select.string(0)) }
    return sessionIDs
  }

  /// - Returns: the digest of all lines but the first, which tells what the store has given out since
  private func dumpForArchive(_ sessionID: String, emit: ([UInt8]) throws -> Void) throws -> String {
    var hashing = Digest.Hashing()
    var isFirst = true
    try writeDump(sessionID: sessionID, withTrail: false) { lines, _ in
      let start = isFirst ? lines.firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? lines.count : 0
      isFirst = false
      hashing.append(lines.span.extracting(start..<lines.count))
      try emit(lines)
    }
    return hashing.finish().text
  }

  private func removeArchived(_ sessionID: String) throws {
    guard let slot = try findSession(sessionID, owner: .server) else { return }
    let row = cache.rows[slot]
    var userID: String?
    do {
      var select = try tables.statement(of: row.number, "SELECT user_id FROM sessions WHERE number = $1")
      if try select.step() { userID = select.optionalString(0) }
    }
    _ = try deleteTasks(of: row, owner: .server)
    try removeSession(slot, as: nil)
    try audit(.deleted, row, userID: userID, from: row.status, to: nil, reason: "archived")
  }
}
