import Database

/// Which archive the sessions that have ended leave for: one at a time, so that none of them is written to two. It
/// outlives a process that is killed, for some sessions are in both places then. Whoever comes next deletes these here
/// first, where it finds the file and nobody holds that; else it waits until the claim has lapsed.
package struct ArchiveClaim: Sendable {
  /// which file that is, wherever it is moved to on its machine
  package let file: String
  package let path: String
  /// whether it was not renewed for long
  let hasLapsed: Bool
}

/// Whoever writes to the store for a pass: the store itself, or the one that owns the database of a job's thread.
protocol ArchiveOwner {
  /// Claims the sessions for an archive.
  /// - Parameter from: the archive whose claim is over
  /// - Returns: the claim of another archive; nil: it is claimed
  func claimArchive(_ file: String, _ path: String, from: String?) throws -> ArchiveClaim?
  /// Deletes sessions that are in the archive which has the claim, but for those that are not any more what was written
  /// there.
  /// - Returns: how many
  func removeArchived(_ leaving: [LeavingSession], of file: String) throws -> Int
  func releaseArchive(_ file: String) throws
}

extension ArchivePass {
  /// Claims the sessions for the target, before the first of them is written.
  /// - Parameter reopen: opens an archive that was being written to, and only that file
  /// - Throws: ``ArchiveError/elsewhere(path:)``
  func claim(
    in store: Store, _ owner: some ArchiveOwner, reopen: (ArchiveClaim) throws -> any ArchiveTarget,
    check: () throws -> Void
  ) throws {
    guard let other = try owner.claimArchive(target.file, target.path, from: nil) else { return }
    var left: (any ArchiveTarget)?
    do {
      left = try reopen(other)
    } catch ArchiveError.busy {
      throw ArchiveError.elsewhere(path: other.path)
    } catch is ArchiveError {
      if !other.hasLapsed { throw ArchiveError.elsewhere(path: other.path) }
    }
    if let left {
      var pass = ArchivePass(to: left, endedBefore: 0)
      if let leaving = try pass.next(in: store, check: check) {
        _ = try owner.removeArchived(leaving, of: left.file)
      }
    }
    // Held until then, so that nobody goes on with it.
    let isTaken = try owner.claimArchive(target.file, target.path, from: other.file) == nil
    withExtendedLifetime(left) {}
    if !isTaken { throw ArchiveError.elsewhere(path: other.path) }
  }
}

extension Store: ArchiveOwner {
  /// milliseconds after its last deletion until another machine may take over
  static let archiveLease: Int64 = 600_000

  func claimArchive(_ file: String, _ path: String, from other: String?) throws -> ArchiveClaim? {
    beginRequest()
    return try inOwnGroup(waiting: limits.busyTimeout) { try takeArchive(file, path, from: other) }
  }

  func releaseArchive(_ file: String) throws {
    beginRequest()
    try inOwnGroup(waiting: limits.busyTimeout) { try leaveArchive(file) }
  }

  /// In a group. Whoever asks holds the file, so a claim of its own is from somebody who is gone.
  func takeArchive(_ file: String, _ path: String, from other: String?) throws -> ArchiveClaim? {
    var claim = try tables.statement(
      .server,
      """
      INSERT INTO archive_claims (id, file, path, lapses_at) VALUES (1, $1, $2, $3)
      ON CONFLICT (id) DO UPDATE SET file = excluded.file, path = excluded.path, lapses_at = excluded.lapses_at
      WHERE archive_claims.file = excluded.file OR archive_claims.file = $4
      """)
    claim.bind(1, file)
    claim.bind(2, path)
    claim.bind(3, (Saturating(now) + Self.archiveLease).value)
    claim.bind(4, other)
    try claim.run()
    if tables.changes > 0 { return nil }
    var select = try tables.statement(.server, "SELECT file, path, lapses_at FROM archive_claims WHERE id = 1")
    guard try select.step() else { throw StoreError.busy(milliseconds: 0) }
    return ArchiveClaim(file: select.string(0), path: select.string(1), hasLapsed: select.integer(2) <= now)
  }

  /// - Throws: ``ArchiveError/elsewhere(path:)`` when another archive has the claim by now
  func renewArchive(_ file: String) throws {
    var update = try tables.statement(
      .server, "UPDATE archive_claims SET lapses_at = $1 WHERE id = 1 AND file = $2")
    update.bind(1, (Saturating(now) + Self.archiveLease).value)
    update.bind(2, file)
    try update.run()
    if tables.changes > 0 { return }
    var select = try tables.statement(.server, "SELECT path FROM archive_claims WHERE id = 1")
    throw ArchiveError.elsewhere(path: try select.step() ? select.string(0) : "")
  }

  func leaveArchive(_ file: String) throws {
    var delete = try tables.statement(.server, "DELETE FROM archive_claims WHERE id = 1 AND file = $1")
    delete.bind(1, file)
    try delete.run()
  }
}
