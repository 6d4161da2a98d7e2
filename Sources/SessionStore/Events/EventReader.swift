import Database

/// A reader that follows one session's events: a cursor, not a buffer.
package struct EventReader {
  package let session: SessionNumber
  package let sessionID: String
  /// to whom the session is bound
  package let owners: Owners
  let streamID: String?
  /// the id up to which it has read
  var after: Int64
  /// when the session expires if nothing happens to it meanwhile; nil: never
  package private(set) var deadline: Int64?

  fileprivate mutating func note(_ row: SessionRow, _ limits: Limits) {
    deadline = row.deadline(limits)
  }
}

extension Store {
  /// Makes a reader at the cursor, or at the newest event without one.
  package func startReading(
    _ sessionID: String, after: Int64?, streamID: String?, owner: Owner
  ) throws -> (reader: EventReader, newestID: Int64, gap: EventGap?, cursorAhead: Bool) {
    // Not in one expression: the rows would be read before the call that loads one.
    let slot = try session(sessionID, owner: owner, for: .read)
    let row = cache.rows[slot]
    let cursor = after ?? row.lastEventID
    let gap = try gap(slot, after: cursor, streamID: streamID)
    // What the gap tells is not told again.
    let start = min(max(cursor, row.eventFloor), row.lastEventID)
    var reader = EventReader(
      session: row.number, sessionID: sessionID, owners: Owners(tenantID: row.tenantID, principal: row.principal),
      streamID: streamID, after: start)
    reader.note(row, limits)
    return (reader, row.lastEventID, gap, cursor > row.lastEventID)
  }

  package enum ReadingStep {
    /// everything that there is has been read
    case caughtUp
    case more
    /// Events were evicted or deleted before they could be read; the reader now stands behind them.
    case lagged(EventGap)
    /// the session is deleted, or it ended: its status says how
    case ended(reason: String)
  }

  /// How a session that is gone ended. The audit trail knows it, unless it has forgotten it or was told nothing; then
  /// the deadline that was seen last tells it.
  private func end(of reader: EventReader) throws -> String {
    var select = try tables.statement(
      of: reader.session,
      """
      SELECT CASE WHEN status_before IN ('expired', 'resolved') THEN status_before ELSE type END FROM audit_events
      WHERE session = $1 AND (type = 'expired' OR type = 'resolved' OR type = 'deleted') ORDER BY number LIMIT 1
      """)
    if try select.step() { return select.string(0) }
    return reader.deadline.map { now >= $0 } == true ? "expired" : "deleted"
  }

  /// Reads on.
  /// - Parameter visit: returns false to end the step before that event
  package func readOn(
    _ reader: inout EventReader, limit: Int, visit: (borrowing EventRow) throws -> Bool
  ) throws -> ReadingStep {
    guard let slot = try findSession(reader.sessionID, owner: .server), cache.rows[slot].number == reader.session else {
      return .ended(reason: try end(of: reader))
    }
    let status = effectiveStatus(slot)
    if status.isOver || status == .invalidated { return .ended(reason: status.rawValue) }
    let row = cache.rows[slot]
    reader.note(row, limits)
    if let gap = try gap(slot, after: reader.after, streamID: reader.streamID) {
      reader.after = row.eventFloor
      return .lagged(gap)
    }
    if reader.after >= row.lastEventID { return .caughtUp }
    let page = try readEvents(slot, after: reader.after, streamID: reader.streamID, limit: limit, visit: visit)
    reader.after = page.nextAfter
    return page.hasMore ? .more : .caughtUp
  }
}
