import JSON
import SQLite

/// The message ids of one session's log that are known, by 64 bits of a hash whose key no client can learn: with
/// 10,000 known ids, one new id in 10^15 is taken for a known one.
final class LogMessageIDs {
  private struct Place {
    /// where the message was first appended
    var seq: Int64
    /// which of the session's ids it is: the last so many are known
    var ordinal: Int64
  }

  private var places: [Int: Place] = [:]
  /// those that stand in no block on disk yet, each behind where it was first appended
  private var block = JSONWriter()

  static let placeBytes = 40

  var count: Int { places.count }
  var blockBytes: Int { block.count }
  /// what they take in memory, more or less
  var bytes: Int { places.count * Self.placeBytes + block.count }

  /// Notes an id, unless it is known.
  /// - Parameters:
  ///   - key: ``key(_:)`` of the id
  ///   - forgotten: the ordinal up to which ids are not known any more
  /// - Returns: where the message was first appended, if it is known
  func noteNew(_ key: Int, _ seq: Int64, ordinal: Int64, forgotten: Int64) -> Int64? {
    // One look at the dictionary for what is new, as nearly all are: it is larger than the processor's caches.
    let known = places.updateValue(Place(seq: seq, ordinal: ordinal), forKey: key)
    guard let known, known.ordinal > forgotten else { return nil }
    places[key] = known
    return known.seq
  }

  /// Makes an id the last that was noted. One that is known keeps its first place.
  /// - Returns: where that is
  @discardableResult
  func note(_ key: Int, _ seq: Int64, ordinal: Int64, forgotten: Int64) -> Int64 {
    let new = Place(seq: seq, ordinal: ordinal)
    guard let known = places.updateValue(new, forKey: key), known.ordinal > forgotten else { return seq }
    places[key] = Place(seq: known.seq, ordinal: ordinal)
    return known.seq
  }

  /// Remembers that an id stands in no block yet.
  /// - Parameter seq: where the message was first appended
  func addUnwritten(_ messageID: String, _ seq: Int64) {
    if block.count == 0 { block.beginArray() }
    block.integer(seq)
    block.string(messageID)
  }

  /// The ids that stand in no block yet, as a block.
  func takeBlock() -> JSONText {
    block.endArray()
    return JSONText(validated: block.take()[...])
  }

  /// Of its bytes: the hash of a string is the same for two spellings of a character, and the message whose id has the
  /// other one would be lost.
  static func key(_ messageID: String) -> Int {
    let bytes = messageID.utf8.span
    var hasher = Hasher()
    var at = 0
    while let word = ByteWord.load(bytes, at) {
      hasher.combine(word)
      at += 8
    }
    while at < bytes.count {
      hasher.combine(bytes[at])
      at += 1
    }
    return hasher.finalize()
  }

  func forget(through ordinal: Int64) {
    places = places.filter { $0.value.ordinal > ordinal }
  }
}

/// The ids of the logs that were appended to lately.
struct MessageIDCache {
  /// bytes, more or less: the ids of 40 logs that have 10,000 each
  private static let capacity = 16 << 20
  /// bytes of a session without ids
  private static let sessionBytes = 256

  /// by the number of the session
  private var sessions: [SessionNumber: LogMessageIDs] = [:]
  private var bytes = 0

  func ids(_ session: SessionNumber) -> LogMessageIDs? { sessions[session] }

  mutating func insert(_ ids: LogMessageIDs, _ session: SessionNumber) {
    sessions[session] = ids
    bytes += Self.sessionBytes + ids.bytes
  }

  mutating func noteGrowth(_ bytes: Int) { self.bytes += bytes }

  mutating func remove(_ session: SessionNumber) { sessions[session] = nil }

  mutating func removeAll() {
    sessions.removeAll(keepingCapacity: true)
    bytes = 0
  }

  /// Keeps memory bounded; called between groups.
  mutating func trim() {
    if bytes > Self.capacity { removeAll() }
  }
}

/// How a log tells a message that is sent again from a new one.
///
/// An index on disk would cost an append more than the entry itself: random ids dirty a page each (measured: 2.2 times
/// an append of its own for ids in order, 3.5 for random ones). So an id is looked up in memory, and the disk has what
/// it takes to read a session's ids again: the newest stand in their entries, the others in blocks that cost an append
/// next to nothing.
extension Store {
  /// ids in a block, about 10 KB
  static let blockIDs: Int64 = 256

  /// Notes the id of an entry that is about to be appended.
  /// - Parameter deduplicate: whether a known one is to be left as it is
  /// - Returns: where the message was first appended, if it is known and was to be left
  func noteMessage(_ entry: NewLogEntry, deduplicate: Bool, _ slot: Int) throws -> Int64? {
    guard let key = entry.messageKey, let messageID = entry.messageID else { return nil }
    let ids = try messageIDs(slot)
    let (seq, count) = (cache.rows[slot].lastLogSeq + 1, cache.rows[slot].logIDs)
    let bytes = ids.bytes
    if deduplicate {
      let first = ids.noteNew(key, seq, ordinal: count + 1, forgotten: forgotten(count))
      if let first { return first }
      ids.addUnwritten(messageID, seq)
    } else {
      ids.addUnwritten(messageID, ids.note(key, seq, ordinal: count + 1, forgotten: forgotten(count + 1)))
    }
    messageIDs.noteGrowth(ids.bytes - bytes)
    return nil
  }

  /// the ordinal up to which message ids are not known any more when `count` were noted
  private func forgotten(_ count: Int64) -> Int64 {
    limits.logDedupWindow > 0 ? max(0, count - Int64(limits.logDedupWindow)) : 0
  }

  /// Puts the ids that stand only in entries into a block, before the entries go or once they are many.
  func writeMessageIDs(_ slot: Int) throws {
    let row = cache.rows[slot]
    if row.logIDs == 0 || row.logIDsSeq == row.lastLogSeq { return }
    let ids = try messageIDs(slot)
    let forgotten = forgotten(row.logIDs)
    if ids.blockBytes > 0 {
      var insert = try tables.statement(
        of: row.number, "INSERT INTO log_message_ids (session, ordinal, ids) VALUES ($1, $2, $3)")
      insert.bind(2, row.logIDs)
      messageIDs.noteGrowth(-ids.blockBytes)
      insert.bind(3, ids.takeBlock())
      try insert.run()
    }
    var delete = try tables.statement(
      of: row.number, "DELETE FROM log_message_ids WHERE session = $1 AND ordinal <= $2")
    delete.bind(2, forgotten)
    try delete.run()
    if limits.logDedupWindow > 0, ids.count / 5 * 4 > limits.logDedupWindow { ids.forget(through: forgotten) }
    cache.update(slot) { row in
      row.logIDsSeq = row.lastLogSeq
    }
  }

  private func readEntries(_ row: SessionRow) throws -> [(seq: Int64, messageID: String)] {
    var select = try tables.statement(
      of: row.number,
      "SELECT seq, entry FROM log_entries WHERE session = $1 AND seq > $2 ORDER BY seq")
    select.bind(2, row.logIDsSeq)
    var ids: [(seq: Int64, messageID: String)] = []
    while try select.step() {
      // Of an entry that came in, no member that the log reads stands in it twice.
      let value = select.json(1)?.members().first { $0.name?.isSame(as: "message_id") == true }?.value
      if let id = value?.decodedString, !id.isEmpty {
        ids.append((select.integer(0), id))
      }
    }
    return ids
  }

  /// The ids of a session, read again when they are not in memory.
  func messageIDs(_ slot: Int) throws -> LogMessageIDs {
    if let ids = messageIDs.ids(cache.rows[slot].number) { return ids }
    let row = cache.rows[slot]
    let ids = LogMessageIDs()
    if row.logIDs > 0 {
      try readBlocks(row, into: ids)
      let entries = try readEntries(row)
      var ordinal = row.logIDs - Int64(entries.count)
      for entry in entries {
        ordinal += 1
        let key = LogMessageIDs.key(entry.messageID)
        ids.addUnwritten(
          entry.messageID, ids.note(key, entry.seq, ordinal: ordinal, forgotten: forgotten(ordinal)))
      }
    }
    messageIDs.insert(ids, row.number)
    return ids
  }

  private func readBlocks(_ row: SessionRow, into ids: LogMessageIDs) throws {
    // All of them: those that were known when the newest entries came tell where a message was first appended.
    var select = try tables.statement(
      of: row.number,
      "SELECT ordinal, ids FROM log_message_ids WHERE session = $1 ORDER BY ordinal")
    while try select.step() {
      let block = select.json(1)?.elements() ?? []
      var ordinal = select.integer(0) - Int64(block.count / 2)
      for index in stride(from: 0, to: block.count - 1, by: 2) {
        ordinal += 1
        guard let seq = block[index].integer, let id = block[index + 1].decodedString else { continue }
        ids.note(LogMessageIDs.key(id), seq, ordinal: ordinal, forgotten: forgotten(ordinal))
      }
    }
  }

  func deleteMessageIDs(session: SessionNumber) throws {
    var delete = try tables.statement(of: session, "DELETE FROM log_message_ids WHERE session = $1")
    try delete.run()
    messageIDs.remove(session)
  }
}
