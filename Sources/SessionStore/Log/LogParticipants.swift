import Database
import JSON

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

/// What a group has of the senders of one log, and the table has not.
struct NewParticipation {
  struct Count {
    let sender: String
    fileprivate(set) var entries: Int64 = 1
    fileprivate(set) var firstSeen: Int64
    fileprivate(set) var lastSeen: Int64
    fileprivate(set) var lastSeq: Int64

    fileprivate mutating func add(_ other: Count) {
      entries += other.entries
      firstSeen = min(firstSeen, other.firstSeen)
      lastSeen = max(lastSeen, other.lastSeen)
      lastSeq = max(lastSeq, other.lastSeq)
    }
  }

  /// senders at most, which are looked through one by one
  fileprivate static let maxCounts = 16

  /// in the order in which they were first seen
  private(set) var counts: [Count] = []
  private(set) var byteCount = 0

  /// - Returns: false when there is no room
  mutating func note(_ sender: String, seen: Int64, seq: Int64) -> Bool {
    if let index = counts.firstIndex(where: { $0.sender.isSame(as: sender) }) {
      counts[index].entries += 1
      counts[index].firstSeen = min(counts[index].firstSeen, seen)
      counts[index].lastSeen = max(counts[index].lastSeen, seen)
      counts[index].lastSeq = seq
      return true
    }
    if counts.count == Self.maxCounts { return false }
    counts.append(Count(sender: sender, firstSeen: seen, lastSeen: seen, lastSeq: seq))
    byteCount += sender.utf8.count
    return true
  }

  mutating func removeAll() {
    counts.removeAll(keepingCapacity: true)
    byteCount = 0
  }
}

/// How many entries each sender wrote to a log, and when the last: counted as they are appended, so that it is known
/// when the entries are compacted away. What a runtime writes itself (checkpoints, internal entries) is nobody's.
extension Store {
  /// senders that are told apart in one log; all others are counted together
  package static let maxParticipants: Int64 = 1_000

  func noteParticipant(_ entry: NewLogEntry, _ seq: Int64, at chunk: Int) throws {
    guard let sender = entry.sender, entry.kind == nil || entry.kind == .incoming else { return }
    let seen = entry.receivedAt ?? now
    if openChunks.note(sender, seen: seen, seq: seq, at: chunk) { return }
    try writeParticipants(chunk)
    _ = openChunks.note(sender, seen: seen, seq: seq, at: chunk)
  }

  /// Counts in the table what a group has of senders.
  func count(_ new: [NewParticipation.Count], of session: SessionNumber) throws {
    for one in try joined(new, session) { try count(one, of: session) }
  }

  /// Of many at once those for whom there is no room, as one. On a server each change of the row of all others leaves
  /// one behind until the commit, and the next change goes through all of these.
  private func joined(
    _ new: [NewParticipation.Count], _ session: SessionNumber
  ) throws -> [NewParticipation.Count] {
    if new.count < NewParticipation.maxCounts { return new }
    if try countParticipants(session) < Self.maxParticipants { return new }
    let known = try known(new.map(\.sender), session)
    var told: [NewParticipation.Count] = []
    var others: NewParticipation.Count? = nil
    for one in new {
      if known.contains(one.sender.exact) {
        told.append(one)
      } else if others == nil {
        others = NewParticipation.Count(
          sender: "", entries: one.entries, firstSeen: one.firstSeen, lastSeen: one.lastSeen, lastSeq: one.lastSeq)
      } else {
        others?.add(one)
      }
    }
    return others.map { told + [$0] } ?? told
  }

  /// Those of the senders that are told apart already.
  private func known(_ senders: [String], _ session: SessionNumber) throws -> Set<[UInt8]> {
    var known: Set<[UInt8]> = []
    if isShared {
      var select = try tables.statement(
        of: session, "SELECT sender FROM log_participants WHERE session = $1 AND sender = ANY ($2)")
      select.bind(2, texts: senders)
      while try select.step() { known.insert(select.string(0).exact) }
      return known
    }
    for sender in senders {
      var select = try tables.statement(
        of: session, "SELECT 1 FROM log_participants WHERE session = $1 AND sender = $2")
      select.bind(2, sender)
      if try select.step() { known.insert(sender.exact) }
    }
    return known
  }

  /// Counts in the table what a group has of a sender.
  private func count(_ new: NewParticipation.Count, of session: SessionNumber) throws {
    if isShared { return try countUnseen(new, session) }
    if try add(new, to: new.sender, session) { return }
    let isFull = try countParticipants(session) >= Self.maxParticipants
    if isFull, try add(new, to: "", session) { return }
    var insert = try tables.statement(
      of: session,
      """
      INSERT INTO log_participants (session, sender, entries, first_seen, last_seen, last_seq)
      VALUES ($1, $2, $3, $4, $5, $6)
      """)
    insert.bind(2, isFull ? "" : new.sender)
    insert.bind(3, new.entries)
    insert.bind(4, new.firstSeen)
    insert.bind(5, new.lastSeen)
    insert.bind(6, new.lastSeq)
    try insert.run()
    noteMade(1)
  }

  /// The same without a look at what is there, which would be a trip.
  private func countUnseen(_ new: NewParticipation.Count, _ session: SessionNumber) throws {
    var upsert = try tables.statement(
      of: session,
      """
      INSERT INTO log_participants (session, sender, entries, first_seen, last_seen, last_seq)
      SELECT $1,
        CASE
          WHEN EXISTS (SELECT 1 FROM log_participants WHERE session = $1 AND sender = $2) THEN $2
          WHEN (SELECT count(*) FROM log_participants WHERE session = $1) < $7 THEN $2
          ELSE '' END,
        $3, $4, $5, $6
      ON CONFLICT (session, sender) DO UPDATE SET entries = log_participants.entries + excluded.entries,
        first_seen = CASE WHEN log_participants.first_seen < excluded.first_seen
          THEN log_participants.first_seen ELSE excluded.first_seen END,
        last_seen = CASE WHEN log_participants.last_seen > excluded.last_seen
          THEN log_participants.last_seen ELSE excluded.last_seen END,
        last_seq = CASE WHEN log_participants.last_seq > excluded.last_seq
          THEN log_participants.last_seq ELSE excluded.last_seq END
      """)
    upsert.bind(2, new.sender)
    upsert.bind(3, new.entries)
    upsert.bind(4, new.firstSeen)
    upsert.bind(5, new.lastSeen)
    upsert.bind(6, new.lastSeq)
    upsert.bind(7, Self.maxParticipants)
    try upsert.run()
  }

  private func add(_ new: NewParticipation.Count, to sender: String, _ session: SessionNumber) throws -> Bool {
    var update = try tables.statement(
      of: session, as: 5,
      """
      UPDATE log_participants SET entries = entries + $1,
        first_seen = CASE WHEN first_seen < $2 THEN first_seen ELSE $2 END,
        last_seen = CASE WHEN last_seen > $3 THEN last_seen ELSE $3 END,
        last_seq = CASE WHEN last_seq > $4 THEN last_seq ELSE $4 END
      WHERE session = $5 AND sender = $6
      """)
    update.bind(1, new.entries)
    update.bind(2, new.firstSeen)
    update.bind(3, new.lastSeen)
    update.bind(4, new.lastSeq)
    update.bind(6, sender)
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
    try writeChunks(of: slot)
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
