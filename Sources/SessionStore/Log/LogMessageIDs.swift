import Database
import JSON

/// The message ids of one session's log that are known, by 64 bits of a hash whose key no client can learn: with
/// 10,000 known ids, one new id in 10^15 is taken for a known one.
final class LogMessageIDs {
  struct Place {
    /// where the message was first appended
    var seq: Int64
    /// which of the session's ids it is: the last so many are known
    var ordinal: Int64
  }

  /// An id that stands in no block on disk yet.
  struct Unwritten {
    /// where the entry stands that noted it
    let entry: Int64
    /// where the message was first appended
    let seq: Int64
    let messageID: String
  }

  /// What one step did, to take it back when the transaction is.
  enum Step {
    case noted(key: Int, before: Place?, lastEntry: Int64)
    case wrote([Unwritten])
    /// places that are gone for good
    case forgot
  }

  private var places: [Int: Place] = [:]
  private(set) var unwritten: [Unwritten] = []
  private var unwrittenBytes = 0
  /// how many of the session's ids it has noted, ever: when the session's row says another number, others wrote
  private(set) var count: Int64
  /// where the entry stands that noted the last
  private(set) var lastEntry: Int64

  static let placeBytes = 40

  init(count: Int64 = 0, lastEntry: Int64 = 0) {
    (self.count, self.lastEntry) = (count, lastEntry)
  }

  var placeCount: Int { places.count }
  /// what they take in memory, more or less
  var bytes: Int { places.count * Self.placeBytes + unwrittenBytes }

  /// Notes the next id, unless it is known and `deduplicate` asks for that to be noticed.
  /// - Parameters:
  ///   - key: ``key(_:)`` of the id
  ///   - seq: where the entry will stand; 0 where there is none
  ///   - entry: the last one so far, where there is none
  ///   - forgotten: the ordinal up to which ids are not known any more
  /// - Returns: where the message was first appended, and what was done; nil when it was left
  func note(
    _ key: Int, _ messageID: String, _ seq: Int64, entry: Int64? = nil, forgotten: Int64, deduplicate: Bool
  ) -> (first: Int64, step: Step?) {
    // One look at the dictionary for what is new, as nearly all are: it is larger than the processor's caches.
    let before = places.updateValue(Place(seq: seq, ordinal: count + 1), forKey: key)
    var first = seq
    if let before, before.ordinal > forgotten {
      if deduplicate {
        places[key] = before
        return (before.seq, nil)
      }
      first = before.seq
      places[key] = Place(seq: first, ordinal: count + 1)
    }
    let step = Step.noted(key: key, before: before, lastEntry: lastEntry)
    (count, lastEntry) = (count + 1, entry ?? seq)
    add(Unwritten(entry: lastEntry, seq: first, messageID: messageID))
    return (first, step)
  }

  /// Notes an id that was read from a block.
  func restore(_ key: Int, _ seq: Int64, ordinal: Int64, forgotten: Int64) {
    let new = Place(seq: seq, ordinal: ordinal)
    guard let known = places.updateValue(new, forKey: key), known.ordinal > forgotten else { return }
    places[key] = Place(seq: known.seq, ordinal: ordinal)
  }

  /// The next id that is noted is the one behind so many.
  func restart(count: Int64) { self.count = count }

  private func add(_ new: Unwritten) {
    unwritten.append(new)
    unwrittenBytes += 40 + new.messageID.utf8.count
  }

  private func replaceUnwritten(_ new: [Unwritten]) {
    unwritten = new
    unwrittenBytes = new.reduce(0) { $0 + 40 + $1.messageID.utf8.count }
  }

  /// Leaves out what another process has put into blocks.
  func dropUnwritten(through entry: Int64) {
    guard let first = unwritten.first, first.entry <= entry else { return }
    replaceUnwritten(unwritten.filter { $0.entry > entry })
  }

  /// The ids that stand in no block yet, as a block: where each was first appended, and the id.
  func takeBlock() -> (block: JSONText, step: Step) {
    var writer = JSONWriter()
    writer.beginArray()
    for id in unwritten {
      writer.integer(id.seq)
      writer.string(id.messageID)
    }
    writer.endArray()
    let step = Step.wrote(unwritten)
    replaceUnwritten([])
    return (JSONText(validated: writer.take()[...]), step)
  }

  func forget(through ordinal: Int64) {
    places = places.filter { $0.value.ordinal > ordinal }
  }

  /// Takes the last step back.
  /// - Returns: false when it cannot be
  func takeBack(_ step: Step) -> Bool {
    switch step {
    case .noted(let key, let before, let lastEntry):
      guard let last = unwritten.popLast() else { return false }
      unwrittenBytes -= 40 + last.messageID.utf8.count
      places[key] = before
      count -= 1
      self.lastEntry = lastEntry
      return true
    case .wrote(let ids):
      replaceUnwritten(ids)
      return true
    case .forgot: return false
    }
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
}

/// The ids of the logs that were appended to lately. What a transaction added is taken back with it; what stays is
/// believed as long as the session's row has counted as many.
struct MessageIDCache {
  /// bytes, more or less: the ids of 40 logs that have 10,000 each
  private static let capacity = 16 << 20
  /// bytes of a session without ids
  private static let sessionBytes = 256

  /// by the number of the session
  private var sessions: [SessionNumber: LogMessageIDs] = [:]
  private var bytes = 0
  /// what the open group did, in its order
  private var steps: [(session: SessionNumber, step: LogMessageIDs.Step)] = []

  func ids(_ session: SessionNumber) -> LogMessageIDs? { sessions[session] }

  mutating func insert(_ ids: LogMessageIDs, _ session: SessionNumber) {
    remove(session)
    sessions[session] = ids
    bytes += Self.sessionBytes + ids.bytes
  }

  mutating func note(_ step: LogMessageIDs.Step, _ session: SessionNumber, growth: Int) {
    steps.append((session, step))
    bytes += growth
  }

  mutating func noteGrowth(_ growth: Int) { bytes += growth }

  mutating func remove(_ session: SessionNumber) {
    guard let ids = sessions.removeValue(forKey: session) else { return }
    bytes -= Self.sessionBytes + ids.bytes
  }

  // MARK: - Transactions

  /// A point in the open group to which it may be taken back.
  var mark: Int { steps.count }

  /// Takes back what was done behind a mark.
  mutating func takeBack(to mark: Int = 0) {
    while steps.count > mark, let (session, step) = steps.popLast() {
      guard let ids = sessions[session] else { continue }
      let before = ids.bytes
      if ids.takeBack(step) { bytes += ids.bytes - before } else { remove(session) }
    }
  }

  /// What was done stays.
  mutating func commit() {
    if !steps.isEmpty { steps.removeAll(keepingCapacity: steps.capacity <= 4_096) }
  }

  mutating func removeAll() {
    sessions.removeAll(keepingCapacity: true)
    steps.removeAll(keepingCapacity: true)
    bytes = 0
  }

  /// Keeps memory bounded; called between groups. Whichever go: with the oldest gone first, one log too many that are
  /// appended to in turn would find none of them.
  mutating func trim() {
    guard bytes > Self.capacity else { return }
    // One stays however large it is, or each append to it would read all of its ids again.
    for session in sessions.keys.shuffled() where bytes > Self.capacity / 4 * 3 && sessions.count > 1 {
      remove(session)
    }
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
  func noteMessage(_ entry: NewLogEntry, deduplicate: Bool, _ slot: SessionSlot) throws -> Int64? {
    guard let key = entry.messageKey, let messageID = entry.messageID else { return nil }
    let ids = try messageIDs(slot)
    let (seq, count) = (cache.rows[slot].lastLogSeq + 1, cache.rows[slot].logIDs)
    let bytes = ids.bytes
    let noted = ids.note(
      key, messageID, seq, forgotten: forgotten(deduplicate ? count : count + 1), deduplicate: deduplicate)
    guard let step = noted.step else { return noted.first }
    messageIDs.note(step, cache.rows[slot].number, growth: ids.bytes - bytes)
    return nil
  }

  /// the ordinal up to which message ids are not known any more when `count` were noted
  private func forgotten(_ count: Int64) -> Int64 {
    max(0, count - Int64(knownIDs))
  }

  /// message ids of one session that are known: all of them are in memory while it is appended to
  private var knownIDs: Int {
    limits.logDedupWindow > 0 ? min(limits.logDedupWindow, Limits.mostKnownIDs) : Limits.mostKnownIDs
  }

  /// Puts the ids that stand only in entries into a block, before the entries go or once they are many.
  func writeMessageIDs(_ slot: SessionSlot) throws {
    let row = cache.rows[slot]
    if row.logIDs == 0 || row.logIDsSeq == row.lastLogSeq { return }
    let ids = try messageIDs(slot)
    try writeBlock(ids, slot)
    try forgetMessageIDs(ids, slot)
    cache.update(slot) { row in
      row.logIDsSeq = row.lastLogSeq
    }
  }

  /// Deletes the blocks of which no id is known any more.
  private func forgetMessageIDs(_ ids: LogMessageIDs, _ slot: SessionSlot) throws {
    let row = cache.rows[slot]
    let forgotten = forgotten(row.logIDs)
    var delete = try tables.statement(
      of: row.number, "DELETE FROM log_message_ids WHERE session = $1 AND ordinal <= $2")
    delete.bind(2, forgotten)
    try delete.run()
    if ids.placeCount / 5 * 4 > knownIDs {
      let bytes = ids.bytes
      ids.forget(through: forgotten)
      messageIDs.note(.forgot, row.number, growth: ids.bytes - bytes)
    }
  }

  private func writeBlock(_ ids: LogMessageIDs, _ slot: SessionSlot) throws {
    if ids.unwritten.isEmpty { return }
    let row = cache.rows[slot]
    let bytes = ids.bytes
    let (block, step) = ids.takeBlock()
    messageIDs.note(step, row.number, growth: ids.bytes - bytes)
    var insert = try tables.statement(
      of: row.number, "INSERT INTO log_message_ids (session, ordinal, ids) VALUES ($1, $2, $3)")
    insert.bind(2, row.logIDs)
    insert.bind(3, Payload(own: block))
    try insert.run()
    noteMade(1)
  }

  /// Notes ids of messages that were seen elsewhere, as though each had been appended and compacted away. One that is
  /// known stays as it is.
  /// - Returns: how many were not known
  /// - Throws: what a write on a session throws
  package func noteLogMessageIDs(_ sessionID: String, _ messageIDs: [String], owner: Owner) throws -> Int64 {
    let slot = try session(sessionID, owner: owner, for: .write(requested: "note message ids"))
    touch(slot)
    // What stands only in entries goes first: blocks are in the order of ordinals.
    try writeMessageIDs(slot)
    let ids = try self.messageIDs(slot)
    var new: Int64 = 0
    for messageID in messageIDs where !messageID.isEmpty {
      let row = cache.rows[slot]
      let bytes = ids.bytes
      let noted = ids.note(
        LogMessageIDs.key(messageID), messageID, 0, entry: row.lastLogSeq, forgotten: forgotten(row.logIDs),
        deduplicate: true)
      guard let step = noted.step else { continue }
      self.messageIDs.note(step, row.number, growth: ids.bytes - bytes)
      cache.update(slot) { row in
        row.logIDs += 1
        row.logIDsSeq = row.lastLogSeq
      }
      new += 1
      if new % Self.blockIDs == 0 { try writeBlock(ids, slot) }
    }
    if new == 0 { return 0 }
    try writeBlock(ids, slot)
    try forgetMessageIDs(ids, slot)
    return new
  }

  /// The message ids of the entries behind one.
  private func readEntries(_ row: SessionRow, behind seq: Int64) throws -> [(seq: Int64, messageID: String)] {
    try writeChunks(of: row)
    var select = try tables.statement(
      of: row.number,
      "SELECT seq, kind, entry, first_seq FROM log_entries WHERE session = $1 AND seq > $2 ORDER BY seq")
    select.bind(2, seq)
    var entries = LogRow(select, after: seq)
    var ids: [(seq: Int64, messageID: String)] = []
    while try entries.step() {
      var bytes: [UInt8] = []
      entries.appendEntry(to: &bytes)
      // Of an entry that came in, no member that the log reads stands in it twice.
      let messageID = JSONText(validated: bytes[...]).member("message_id")?.decodedString
      if let messageID, !messageID.isEmpty { ids.append((entries.seq, messageID)) }
    }
    return ids
  }

  /// The ids of a session, read again when they are not in memory.
  func messageIDs(_ slot: SessionSlot) throws -> LogMessageIDs {
    let row = cache.rows[slot]
    if let known = messageIDs.ids(row.number), try catchUp(known, row) { return known }
    let ids = LogMessageIDs(count: row.logIDs, lastEntry: row.logIDsSeq)
    if row.logIDs > 0 {
      try readBlocks(row, into: ids)
      let entries = try readEntries(row, behind: row.logIDsSeq)
      ids.restart(count: row.logIDs - Int64(entries.count))
      note(entries, in: ids)
    }
    messageIDs.insert(ids, row.number)
    return ids
  }

  /// Reads what other processes have appended since.
  /// - Returns: false when that is not all to be found behind what is known
  private func catchUp(_ ids: LogMessageIDs, _ row: SessionRow) throws -> Bool {
    let bytes = ids.bytes
    if ids.count != row.logIDs {
      guard ids.count < row.logIDs, row.logFloor <= ids.lastEntry else { return false }
      let entries = try readEntries(row, behind: ids.lastEntry)
      guard Int64(entries.count) == row.logIDs - ids.count else { return false }
      note(entries, in: ids)
    }
    ids.dropUnwritten(through: row.logIDsSeq)
    messageIDs.noteGrowth(ids.bytes - bytes)
    return true
  }

  /// Notes what stands on disk already.
  private func note(_ entries: [(seq: Int64, messageID: String)], in ids: LogMessageIDs) {
    for entry in entries {
      _ = ids.note(
        LogMessageIDs.key(entry.messageID), entry.messageID, entry.seq, forgotten: forgotten(ids.count + 1),
        deduplicate: false)
    }
  }

  /// How many ids a block has.
  static func ids(in block: JSONText) -> Int64 { Int64(block.elements.reduce(0) { count, _ in count + 1 } / 2) }

  private func readBlocks(_ row: SessionRow, into ids: LogMessageIDs) throws {
    // All of them: those that were known when the newest entries came tell where a message was first appended.
    var select = try tables.statement(
      of: row.number,
      "SELECT ordinal, ids FROM log_message_ids WHERE session = $1 ORDER BY ordinal")
    while try select.step() {
      guard let block = select.json(1) else { continue }
      var ordinal = select.integer(0) - Self.ids(in: block)
      var elements = block.elements
      while let seq = elements.next(), let id = elements.next() {
        ordinal += 1
        guard let seq = seq.integer, let id = id.decodedString else { continue }
        ids.restore(LogMessageIDs.key(id), seq, ordinal: ordinal, forgotten: forgotten(ordinal))
      }
    }
  }

  func deleteMessageIDs(session: SessionNumber) throws {
    var delete = try tables.statement(of: session, "DELETE FROM log_message_ids WHERE session = $1")
    try delete.run()
    messageIDs.remove(session)
  }
}
