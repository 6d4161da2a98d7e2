import Database

/// Somebody who wrote to a log.
package struct LogParticipant: Equatable {
  package let number: Int64
  /// nil: all that there was no room for
  package let sender: String?
  package let entries: Int64
  package let firstSeen: Int64
  package let lastSeen: Int64
  package let lastSeq: Int64
}

/// How many entries each sender wrote to a log, and when the last: counted as they are appended, so that it is known
/// when the entries are compacted away. What a runtime writes itself (checkpoints, internal entries) is nobody's.
extension Store {
  /// senders that are told apart in one log; all others are counted together
  package static let maxParticipants: Int64 = 1_000

  func noteParticipant(_ entry: NewLogEntry, _ seq: Int64, of session: SessionNumber) throws {
    guard let sender = entry.sender, entry.kind == nil || entry.kind == .incoming else { return }
    let seen = entry.receivedAt ?? now
    if isShared { return try countEntryUnseen(of: sender, seen, seq, session) }
    if try countEntry(of: sender, seen, seq, session) { return }
    let isFull = try countParticipants(session) >= Self.maxParticipants
    if isFull, try countEntry(of: "", seen, seq, session) { return }
    var insert = try tables.statement(
      of: session,
      """
      INSERT INTO log_participants (session, sender, entries, first_seen, last_seen, last_seq)
      VALUES ($1, $2, 1, $3, $3, $4)
      """)
    insert.bind(2, isFull ? "" : sender)
    insert.bind(3, seen)
    insert.bind(4, seq)
    try insert.run()
    noteMade(1)
  }

  /// The same without a look at what is there, which would be a trip.
  private func countEntryUnseen(of sender: String, _ seen: Int64, _ seq: Int64, _ session: SessionNumber) throws {
    var upsert = try tables.statement(
      of: session,
      """
      INSERT INTO log_participants (session, sender, entries, first_seen, last_seen, last_seq)
      SELECT $1,
        CASE
          WHEN EXISTS (SELECT 1 FROM log_participants WHERE session = $1 AND sender = $2) THEN $2
          WHEN (SELECT count(*) FROM log_participants WHERE session = $1) < $5 THEN $2
          ELSE '' END,
        1, $3, $3, $4
      ON CONFLICT (session, sender) DO UPDATE SET entries = log_participants.entries + 1,
        first_seen = CASE WHEN log_participants.first_seen < excluded.first_seen
          THEN log_participants.first_seen ELSE excluded.first_seen END,
        last_seen = CASE WHEN log_participants.last_seen > excluded.last_seen
          THEN log_participants.last_seen ELSE excluded.last_seen END,
        last_seq = excluded.last_seq
      """)
    upsert.bind(2, sender)
    upsert.bind(3, seen)
    upsert.bind(4, seq)
    upsert.bind(5, Self.maxParticipants)
    try upsert.run()
  }

  private func countEntry(of sender: String, _ seen: Int64, _ seq: Int64, _ session: SessionNumber) throws -> Bool {
    var update = try tables.statement(
      of: session, as: 3,
      """
      UPDATE log_participants SET entries = entries + 1,
        first_seen = CASE WHEN first_seen < $1 THEN first_seen ELSE $1 END,
        last_seen = CASE WHEN last_seen > $1 THEN last_seen ELSE $1 END, last_seq = $2
      WHERE session = $3 AND sender = $4
      """)
    update.bind(1, seen)
    update.bind(2, seq)
    update.bind(4, sender)
    try update.run()
    return tables.changes > 0
  }

  private func countParticipants(_ session: SessionNumber) throws -> Int64 {
    var select = try tables.statement(of: session, "SELECT count(*) FROM log_participants WHERE session = $1")
    return try select.step() ? select.integer(0) : 0
  }

  /// - Parameter limit: rows at most
  /// - Returns: how many there were
  func deleteParticipants(session: SessionNumber, limit: Int64) throws -> Int64 {
    var delete = try tables.statement(
      of: session,
      """
      DELETE FROM log_participants WHERE number IN (SELECT number FROM log_participants WHERE session = $1 LIMIT $2)
      """)
    delete.bind(2, limit)
    try delete.run()
    return tables.changes
  }

  func deleteParticipants(session: SessionNumber) throws {
    var delete = try tables.statement(of: session, "DELETE FROM log_participants WHERE session = $1")
    try delete.run()
  }

  /// The senders of a log in the order in which they were first seen.
  /// - Parameters:
  ///   - after: the number of the last one of the page before
  ///   - visit: gets each; false ends the page before it
  /// - Returns: whether there are more
  package func logParticipants(
    _ sessionID: String, after: Int64, limit: Int, owner: Owner, visit: (LogParticipant) throws -> Bool
  ) throws -> Bool {
    let slot = try session(sessionID, owner: owner, for: .read)
    var select = try tables.statement(
      of: cache.rows[slot].number,
      """
      SELECT number, sender, entries, first_seen, last_seen, last_seq FROM log_participants
      WHERE session = $1 AND number > $2 ORDER BY number LIMIT $3
      """)
    select.bind(2, after)
    select.bind(3, Int64(limit + 1))
    var count = 0
    while try select.step() {
      let sender = select.string(1)
      let participant = LogParticipant(
        number: select.integer(0), sender: sender.isEmpty ? nil : sender, entries: select.integer(2),
        firstSeen: select.integer(3), lastSeen: select.integer(4), lastSeq: select.integer(5))
      if try count == limit || !visit(participant) { return true }
      count += 1
    }
    return false
  }
}
