import Database
package import JSON

/// An entry that is to be appended, with what the log reads of it; everything else in it is the caller's.
package struct NewLogEntry {
  package enum Kind: String, CaseIterable, Sendable { case incoming, `internal`, checkpoint }

  /// an object
  package let entry: JSONText
  /// nil also for the empty one, which never repeats another
  package let messageID: String?
  /// what the log knows a message id by
  let messageKey: Int?
  package let kind: Kind?
  /// who wrote it; nil also for the empty one
  package let sender: String?
  package let receivedAt: Int64?

  package init(
    _ entry: JSONText, messageID: String? = nil, kind: Kind? = nil, sender: String? = nil, receivedAt: Int64? = nil
  ) {
    self.entry = entry
    self.messageID = messageID == "" ? nil : messageID
    messageKey = self.messageID.map(LogMessageIDs.key)
    self.kind = kind
    self.sender = sender == "" ? nil : sender
    self.receivedAt = receivedAt
  }
}

/// What a read of a log says beside the entries.
package struct LogPage: Equatable {
  /// the seq up to which the read has looked, also past entries of another kind: where the next page begins
  package var nextAfter: Int64
  package var newestSeq: Int64
  /// nil when nothing is left
  package var oldestSeq: Int64?
  package var hasMore: Bool
}

/// One append-only log for each session. Its numbers go on through everything, and the message ids that it noted last
/// stay known through everything, so a message that is sent again is told from a new one.
extension Store {
  // MARK: - Writing

  /// Appends one entry, unless its message id is known and `deduplicate` asks for that to be noticed.
  /// - Returns: where it stands, or where the message was first appended
  /// - Throws: what a write on a session throws
  package func appendLogEntry(
    _ sessionID: String, _ entry: NewLogEntry, deduplicate: Bool, owner: Owner
  ) throws -> (seq: Int64, isDuplicate: Bool) {
    _ = try payload(entry.entry, "entry")
    let slot = try session(sessionID, owner: owner, for: .write(requested: "append to the log"))
    if let first = try noteMessage(entry, deduplicate: deduplicate, slot) {
      touch(slot)
      return (first, true)
    }
    return (try append(entry, to: slot), false)
  }

  /// Puts `entries` in the place of the whole log.
  /// - Returns: the numbers of the first and the last; nil when `entries` is empty
  package func replaceLog(
    _ sessionID: String, _ entries: [NewLogEntry], owner: Owner
  ) throws -> (first: Int64, last: Int64)? {
    for entry in entries { _ = try payload(entry.entry, "entries") }
    let slot = try session(sessionID, owner: owner, for: .write(requested: "replace the log"))
    try requireLogMayGo(slot)
    try clearLog(slot)
    try deleteParticipants(session: cache.rows[slot].number)
    let first = cache.rows[slot].lastLogSeq + 1
    for entry in entries {
      _ = try noteMessage(entry, deduplicate: false, slot)
      _ = try append(entry, to: slot)
    }
    return entries.isEmpty ? nil : (first, cache.rows[slot].lastLogSeq)
  }

  /// Puts one checkpoint in the place of the whole log. The message ids of what is gone stay known.
  /// - Returns: how many entries are gone, and where the checkpoint stands
  package func compactLog(
    _ sessionID: String, _ checkpoint: NewLogEntry, owner: Owner
  ) throws -> (removed: Int64, seq: Int64) {
    _ = try payload(checkpoint.entry, "checkpoint")
    let slot = try session(sessionID, owner: owner, for: .write(requested: "compact the log"))
    try requireLogMayGo(slot)
    let removed = cache.rows[slot].logCount
    try clearLog(slot)
    _ = try noteMessage(checkpoint, deduplicate: false, slot)
    return (removed, try append(checkpoint, to: slot))
  }

  /// Appends an entry whose message id is noted.
  private func append(_ entry: NewLogEntry, to slot: SessionSlot) throws -> Int64 {
    let seq = cache.rows[slot].lastLogSeq + 1
    let chunk = try openChunk(of: slot)
    try openChunks.add(payload(entry.entry, "entry"), entry.kind, seq: seq, at: chunk, to: tables)
    try noteParticipant(entry, seq, at: chunk)
    counters.logEntries += 1
    done.logEntriesAppended += 1
    noteMade(1)
    let excess = cache.update(slot) { row in
      row.lastLogSeq = seq
      if entry.kind == .checkpoint { row.logCheckpoint = seq }
      if entry.messageKey != nil { row.logIDs += 1 }
      row.touch(now, limits)
      let limit = row.ownMaxLogEntries < 0 ? Int64(limits.maxLogEntriesPerSession) : row.ownMaxLogEntries
      return limit > 0 && !row.isHeld ? row.logCount - limit : 0
    }
    if entry.messageKey != nil, cache.rows[slot].logIDs % Self.blockIDs == 0 { try writeMessageIDs(slot) }
    if excess > 0 { try evictLogEntries(slot, excess) }
    return seq
  }

  /// - Throws: `heldByLegalHold` when there is something in it that has to stay
  private func requireLogMayGo(_ slot: SessionSlot) throws {
    let row = cache.rows[slot]
    if row.logCount > 0 { try requireMayGo(tenantID: row.tenantID, principal: row.principal) }
  }

  private func clearLog(_ slot: SessionSlot) throws {
    try writeChunks(of: slot)
    try writeMessageIDs(slot)
    let row = cache.rows[slot]
    if row.logCount > 0 { try deleteLogEntries(session: row.number, through: .max) }
    counters.logEntries -= row.logCount
    cache.update(slot) { row in
      row.logFloor = row.lastLogSeq
      row.logCheckpoint = 0
      row.touch(now, limits)
    }
  }

  /// Lets the oldest entries go. Their rows are deleted in bulk, and a row that holds later ones as well stays with it:
  /// whoever reads passes over what is under the floor. A checkpoint goes as any other entry does.
  /// - Parameter atOnce: whether no whole row is left for a later call
  func evictLogEntries(_ slot: SessionSlot, _ count: Int64, atOnce: Bool = false) throws {
    let before = cache.rows[slot].logFloor
    let floor = before + count
    // What tells a repeated message outlives its entry.
    if cache.rows[slot].logIDsSeq < floor { try writeMessageIDs(slot) }
    counters.logEntries -= count
    cache.update(slot) { row in
      row.logFloor = floor
      if row.logCheckpoint <= floor { row.logCheckpoint = 0 }
    }
    guard atOnce || floor / Self.trimBatch > before / Self.trimBatch else { return }
    if atOnce { try writeChunks(of: slot) }
    try deleteLogEntries(session: cache.rows[slot].number, through: floor)
  }

  /// Deletes rows whose last entry is at most this one.
  func deleteLogEntries(session: SessionNumber, through seq: Int64) throws {
    var delete = try tables.statement(
      of: session, "DELETE FROM log_entries WHERE session = $1 AND seq <= $2")
    delete.bind(2, seq)
    try delete.run()
  }

  // MARK: - Reading

  /// Hands entries to `visit`, oldest first.
  /// - Parameters:
  ///   - after: 0: from the beginning
  ///   - kind: nil: all
  ///   - fromCheckpoint: begins with the newest checkpoint, where the log has one
  ///   - visit: returns false to end the page before that entry
  package func loadLog(
    _ sessionID: String, after: Int64, kind: NewLogEntry.Kind?, fromCheckpoint: Bool, limit: Int, owner: Owner,
    visit: (borrowing LogRow) throws -> Bool
  ) throws -> LogPage {
    let slot = try session(sessionID, owner: owner, for: .read)
    try writeChunks(of: slot)
    let row = cache.rows[slot]
    var page = LogPage(
      nextAfter: row.lastLogSeq, newestSeq: row.lastLogSeq,
      oldestSeq: row.logCount > 0 ? row.logFloor + 1 : nil, hasMore: false)
    var start = max(after, row.logFloor)
    if fromCheckpoint { start = max(start, row.logCheckpoint - 1) }
    if start >= row.lastLogSeq { return page }

    var entries = LogRow(try logStatement(row.number, start, kind, limit + 1), after: start)
    var count = 0
    var last = start
    while try entries.step() {
      let seq = entries.seq
      if try count == limit || !visit(entries) {
        page.nextAfter = last
        page.hasMore = true
        return page
      }
      last = seq
      count += 1
    }
    return page
  }

  private func logStatement(
    _ number: SessionNumber, _ start: Int64, _ kind: NewLogEntry.Kind?, _ limit: Int
  ) throws -> Statement {
    var conditions = Filter(of: number)
    conditions.add("seq > ?", start)
    if let kind { conditions.add("kind = ?", kind.rawValue) }
    return try tables.statement(
      conditions, "SELECT \(LogRow.columns) FROM log_entries", order: "seq", limit: limit, areLarge: true)
  }
}
