import Database
package import JSON

/// What a caller hands in to be stored as an event.
package struct NewEvent {
  package var data: JSONText
  package var eventType: String?
  package var streamID: String?
  /// milliseconds
  package var retry: Int64?
  package var timestamp: Int64?

  package init(
    data: JSONText, eventType: String? = nil, streamID: String? = nil, retry: Int64? = nil, timestamp: Int64? = nil
  ) {
    self.data = data
    self.eventType = eventType
    self.streamID = streamID
    self.retry = retry
    self.timestamp = timestamp
  }

  /// the type of an event that names none; such rows hold NULL
  package static let defaultType = "message"
}

/// What a reader missed.
package struct EventGap: Equatable {
  /// Events that no longer exist. Exact for a reader of the whole session and for one that starts before the stream's
  /// first event; else at most this many.
  package var dropped: Int64
  /// nil when nothing is left
  package var oldestAvailable: Int64?
}

/// What a read of events says beside the events.
package struct EventPage: Equatable {
  /// the id up to which the read has looked, also past other streams' events: where the next page begins
  package var nextAfter: Int64
  package var newestID: Int64
  package var hasMore: Bool
  package var gap: EventGap?
  package var cursorAhead: Bool
}

extension Store {
  /// deleted rows are worth a statement of their own only in bulk
  static let trimBatch: Int64 = 256

  // MARK: - Storing

  /// Appends one event.
  /// - Returns: its id and its time
  /// - Throws: what a write on a session throws; `maxEventsReached`
  package func storeEvent(
    _ sessionID: String, _ event: NewEvent, owner: Owner
  ) throws -> (id: Int64, timestamp: Int64) {
    let data = try payload(event.data, "data")
    let slot = try session(sessionID, owner: owner, for: .write(requested: "store an event"))
    try checkEventCap(slot, adding: 1)
    return (try append(event, data, to: slot), event.timestamp ?? now)
  }

  /// Appends all of `events` or none. `events` must not be empty.
  package func storeEvents(
    _ sessionID: String, _ events: [NewEvent], owner: Owner
  ) throws -> (firstID: Int64, lastID: Int64) {
    let payloads = try events.map { try payload($0.data, "events.data") }
    let slot = try session(sessionID, owner: owner, for: .write(requested: "store events"))
    try checkEventCap(slot, adding: Int64(events.count))
    let first = cache.rows[slot].lastEventID + 1
    for (event, data) in zip(events, payloads) { _ = try append(event, data, to: slot) }
    return (first, cache.rows[slot].lastEventID)
  }

  /// Appends one event to each session that the filter means: bound to exactly the owners that it names, so that what
  /// is meant for one principal never lands in a session that answers to anyone. All or none.
  /// - Returns: how many sessions got it
  package func broadcastEvent(_ event: NewEvent, _ filter: SessionFilter) throws -> Int {
    let data = try payload(event.data, "data")
    try flushSessions()
    var conditions = Filter(boundTo: filter.owner)
    if let userID = filter.userID { conditions.add(ofUser: userID) }
    addStatus(filter.status ?? .active, to: &conditions)
    var sessionIDs: [String] = []
    do {
      // In order: of several sessions that refuse, the same one is named each time.
      var select = try tables.statement(
        conditions, "SELECT session_id, number FROM sessions", suffix: " ORDER BY number")
      while try select.step() { sessionIDs.append(select.string(0)) }
    }
    return try atomically {
      for sessionID in sessionIDs {
        let slot = try session(
          sessionID, owner: .server, for: .write(requested: "store an event", counts: false))
        try checkEventCap(slot, adding: 1)
        _ = try append(event, data, to: slot)
      }
      return sessionIDs.count
    }
  }

  private func checkEventCap(_ slot: SessionSlot, adding count: Int64) throws {
    guard limits.eventOverflow == .error else { return }
    let row = cache.rows[slot]
    let limit = row.ownMaxEvents < 0 ? Int64(limits.maxEventsPerSession) : row.ownMaxEvents
    if limit > 0, row.eventCount + count > limit { throw StoreError.maxEventsReached(limit: Int(limit)) }
  }

  private func append(_ event: NewEvent, _ data: Payload, to slot: SessionSlot) throws -> Int64 {
    let number = cache.rows[slot].number
    let id = cache.rows[slot].lastEventID + 1
    try add(event, data, id: id, to: slot)
    let evicted = cache.update(slot) { row in
      row.lastEventID = id
      row.touch(now, limits)
      let limit = row.ownMaxEvents < 0 ? Int64(limits.maxEventsPerSession) : row.ownMaxEvents
      let excess = limit > 0 && !row.isHeld ? row.eventCount - limit : 0
      if excess > 0 { row.eventFloor += excess }
      return max(excess, 0)
    }
    counters.events += 1 - evicted
    done.eventsStored += 1
    done.eventBytesStored += Int64(data.text.bytes.count)
    done.eventsEvicted += evicted
    noteMade(1)
    if evicted > 0 { try trimEvictedEvents(slot, evicted) }
    noteChange(ofSession: number)
    return id
  }

  // MARK: - Deleting

  /// Deletes the events with ids strictly below `before`.
  /// - Returns: how many
  package func deleteEvents(_ sessionID: String, before: Int64, owner: Owner) throws -> Int64 {
    let slot = try session(sessionID, owner: owner, for: .write(requested: "delete events"))
    let row = cache.rows[slot]
    let floor = min(max(before - 1, row.eventFloor), row.lastEventID)
    let deleted = floor - row.eventFloor
    if deleted > 0 { try requireMayGo(tenantID: row.tenantID, principal: row.principal) }
    cache.update(slot) { $0.eventFloor = floor }
    counters.events -= deleted
    if deleted > 0 { try trimEvents(slot) }
    touch(slot)
    noteChange(ofSession: row.number)
    return deleted
  }

  /// Deletes the rows that lie under the floor as a whole, whenever that has passed another batch of events.
  /// - Parameter evicted: how many it has passed just now
  private func trimEvictedEvents(_ slot: SessionSlot, _ evicted: Int64) throws {
    let row = cache.rows[slot]
    let waiting = row.eventFloor - row.eventTrimmed
    guard waiting / Self.trimBatch > (waiting - evicted) / Self.trimBatch else { return }
    var select = try tables.statement(
      of: row.number, "SELECT id FROM events WHERE session = $1 AND id <= $2 ORDER BY id DESC LIMIT 1")
    select.bind(2, row.eventFloor)
    guard try select.step() else { return }
    try trimEvents(slot, through: select.integer(0))
  }

  /// Deletes the events that lie under the floor, also out of a row that holds others as well.
  func trimEvents(_ slot: SessionSlot) throws {
    let row = cache.rows[slot]
    if row.eventFloor <= row.eventTrimmed { return }
    try writeChunks(of: slot)
    try trimEvents(slot, through: row.eventFloor)
  }

  private func trimEvents(_ slot: SessionSlot, through floor: Int64) throws {
    let row = cache.rows[slot]
    // Of the last of these rows there may be more than what goes.
    var losses = try tables.statement(
      of: row.number, as: 2,
      """
      INSERT INTO stream_losses (session, stream_id, lost, first_id, last_id)
      SELECT session, stream_id, CAST(sum(last - first + 1) AS BIGINT), min(first), max(last) FROM (
        SELECT session, stream_id, coalesce(first_id, id) AS first, CASE WHEN id < $1 THEN id ELSE $1 END AS last
        FROM events WHERE session = $2 AND id > $3 AND stream_id IS NOT NULL
          AND id <= (SELECT min(id) FROM events WHERE session = $2 AND id >= $1)
      ) AS gone WHERE first <= last GROUP BY session, stream_id
      ON CONFLICT (session, stream_id) DO UPDATE
        SET lost = stream_losses.lost + excluded.lost, last_id = excluded.last_id
      """)
    losses.bind(1, floor)
    losses.bind(3, row.eventTrimmed)
    try losses.run()
    if tables.changes > 0 { try foldLosses(session: row.number) }
    try deleteEventRows(session: row.number, through: floor)
    if floor < row.lastEventID, try isMiddle(floor, of: row.number) {
      try rewriteEvents(of: row.number, holding: floor) { id, text in id > floor ? Payload(own: text) : nil }
    }
    cache.update(slot) { $0.eventTrimmed = floor }
  }

  /// Whether one row holds this event and the next.
  private func isMiddle(_ id: Int64, of session: SessionNumber) throws -> Bool {
    var select = try tables.statement(
      of: session, "SELECT first_id FROM events WHERE session = $1 AND id > $2 ORDER BY id LIMIT 1")
    select.bind(2, id)
    return try select.step() && !select.isNull(0) && select.integer(0) <= id
  }

  /// Streams of a session whose losses are told apart. What older ones lost stands in one row without a name: with ever
  /// new streams a session must not grow for ever.
  static let lossStreams: Int64 = 1_000

  /// Puts the losses of the streams that lost longest ago into the row without a name.
  private func foldLosses(session: SessionNumber) throws {
    var oldest: Int64?
    do {
      var select = try tables.statement(
        of: session,
        """
        SELECT last_id FROM stream_losses WHERE session = $1 AND stream_id <> '' ORDER BY last_id DESC LIMIT 1 OFFSET $2
        """)
      select.bind(2, Self.lossStreams)
      if try select.step() { oldest = select.integer(0) }
    }
    guard let oldest else { return }
    var fold = try tables.statement(
      of: session,
      """
      INSERT INTO stream_losses (session, stream_id, lost, first_id, last_id)
      SELECT session, '', CAST(sum(lost) AS BIGINT), min(first_id), max(last_id) FROM stream_losses
      WHERE session = $1 AND stream_id <> '' AND last_id <= $2 GROUP BY session
      ON CONFLICT (session, stream_id) DO UPDATE
        SET lost = stream_losses.lost + excluded.lost, last_id = excluded.last_id
      """)
    fold.bind(2, oldest)
    try fold.run()
    var delete = try tables.statement(
      of: session, "DELETE FROM stream_losses WHERE session = $1 AND stream_id <> '' AND last_id <= $2")
    delete.bind(2, oldest)
    try delete.run()
  }

  func deleteStreamLosses(session: SessionNumber) throws {
    var delete = try tables.statement(of: session, "DELETE FROM stream_losses WHERE session = $1")
    try delete.run()
  }

  /// Deletes rows whose last event is at most this one.
  func deleteEventRows(session: SessionNumber, through id: Int64) throws {
    var delete = try tables.statement(
      of: session, "DELETE FROM events WHERE session = $1 AND id <= $2")
    delete.bind(2, id)
    try delete.run()
  }

  // MARK: - Reading

  /// Hands the events after the cursor to `visit`, oldest first.
  /// - Parameters:
  ///   - after: 0: from the beginning
  ///   - visit: returns false to end the page before that event
  package func readEvents(
    _ sessionID: String, after: Int64, streamID: String?, limit: Int, owner: Owner,
    visit: (borrowing EventRow) throws -> Bool
  ) throws -> EventPage {
    let slot = try session(sessionID, owner: owner, for: .read)
    return try readEvents(slot, after: after, streamID: streamID, limit: limit, visit: visit)
  }

  /// Hands the newest `limit` events to `visit`, oldest first. It has no cursor, so it reports no gap.
  package func readRecentEvents(
    _ sessionID: String, streamID: String?, limit: Int, owner: Owner, visit: (borrowing EventRow) throws -> Bool
  ) throws -> EventPage {
    let slot = try session(sessionID, owner: owner, for: .read)
    let row = cache.rows[slot]
    var start = max(row.eventFloor, row.lastEventID - Int64(limit))
    if let streamID { start = try beginning(ofLast: limit, streamID, slot) }
    var page = try readEvents(slot, after: start, streamID: streamID, limit: limit, visit: visit)
    page.gap = nil
    return page
  }

  /// The id behind which the newest `count` events of a stream begin.
  private func beginning(ofLast count: Int, _ streamID: String, _ slot: SessionSlot) throws -> Int64 {
    try writeChunks(of: slot)
    let row = cache.rows[slot]
    var select = try tables.cursor(
      of: row.number,
      """
      SELECT id, coalesce(first_id, id) FROM events WHERE session = $1 AND stream_id = $2 AND id > $3
      ORDER BY id DESC LIMIT $4
      """)
    select.bind(2, streamID)
    select.bind(3, row.eventFloor)
    select.bind(4, Int64(count))
    var missing = Int64(count)
    while try select.step() {
      let (last, first) = (select.integer(0), max(select.integer(1), row.eventFloor + 1))
      if last - first + 1 >= missing { return last - missing }
      missing -= last - first + 1
    }
    return row.eventFloor
  }

  func readEvents(
    _ slot: SessionSlot, after: Int64, streamID: String?, limit: Int, visit: (borrowing EventRow) throws -> Bool
  ) throws -> EventPage {
    try writeChunks(of: slot)
    let row = cache.rows[slot]
    var page = EventPage(
      nextAfter: row.lastEventID, newestID: row.lastEventID, hasMore: false,
      gap: try gap(slot, after: after, streamID: streamID), cursorAhead: after > row.lastEventID)
    let start = max(after, row.eventFloor)
    if start >= row.lastEventID { return page }

    // One more than asked for tells whether there are more; without a stream the ids tell that.
    var events = EventRow(
      try eventStatement(row, start, streamID, limit + (streamID == nil ? 0 : 1)), after: start)
    var count = 0
    var last = start
    while try events.step() {
      let id = events.id
      if try count == limit || !visit(events) {
        page.nextAfter = last
        page.hasMore = true
        return page
      }
      last = id
      count += 1
    }
    if streamID == nil {
      page.nextAfter = last
      page.hasMore = last < row.lastEventID
    }
    return page
  }

  private func eventStatement(
    _ row: SessionRow, _ start: Int64, _ streamID: String?, _ limit: Int
  ) throws -> Statement {
    let number = row.number
    if streamID == nil, isShared {
      // A server sends rows before they are asked for: none behind the one that holds the last event of the page.
      var select = try tables.cursor(
        of: number,
        """
        SELECT id, stream_id, event_type, timestamp, retry, data, first_id, times FROM events
        WHERE session = $1 AND id > $2 AND id <= (SELECT min(id) FROM events WHERE session = $1 AND id >= $3)
        ORDER BY id
        """)
      select.bind(2, start)
      select.bind(3, min(start + Int64(limit), row.lastEventID))
      return select
    }
    guard let streamID else {
      var select = try tables.cursor(
        of: number,
        """
        SELECT id, stream_id, event_type, timestamp, retry, data, first_id, times FROM events
        WHERE session = $1 AND id > $2 ORDER BY id LIMIT $3
        """)
      select.bind(2, start)
      select.bind(3, Int64(limit))
      return select
    }
    var select = try tables.cursor(
      of: number,
      """
      SELECT id, stream_id, event_type, timestamp, retry, data, first_id, times FROM events
      WHERE session = $1 AND id > $2 AND stream_id = $3 ORDER BY id LIMIT $4
      """)
    select.bind(2, start)
    select.bind(3, streamID)
    select.bind(4, Int64(limit))
    return select
  }

  /// What a reader at the cursor `after` missed; nil when nothing that it would have read is gone.
  func gap(_ slot: SessionSlot, after: Int64, streamID: String?) throws -> EventGap? {
    let row = cache.rows[slot]
    if after >= row.eventFloor { return nil }
    guard let streamID else {
      return EventGap(
        dropped: row.eventFloor - after,
        oldestAvailable: row.eventCount > 0 ? row.eventFloor + 1 : nil)
    }
    try writeChunks(of: slot)
    let dropped = try deletedEvents(row, after: after, streamID) + evictedEvents(row, after: after, streamID)
    if dropped == 0 { return nil }
    var select = try tables.statement(
      of: row.number,
      """
      SELECT coalesce(first_id, id) FROM events WHERE session = $1 AND stream_id = $2 AND id > $3 ORDER BY id LIMIT 1
      """)
    select.bind(2, streamID)
    select.bind(3, row.eventFloor)
    return EventGap(
      dropped: dropped, oldestAvailable: try select.step() ? max(select.integer(0), row.eventFloor + 1) : nil)
  }

  /// Events of a stream whose rows are deleted. Whether those of a stream that lost long ago are among what stands
  /// without a name nobody knows any more: they are counted as though they were.
  private func deletedEvents(_ row: SessionRow, after: Int64, _ streamID: String) throws -> Int64 {
    var select = try tables.statement(
      of: row.number,
      "SELECT stream_id, lost, first_id, last_id FROM stream_losses WHERE session = $1 AND stream_id IN ('', $2)")
    select.bind(2, streamID)
    var dropped: Int64 = 0
    while try select.step() {
      let (lost, first, last) = (select.integer(1), select.integer(2), select.integer(3))
      if last <= after { continue }
      let isOwn = select.withText(0) { !$0.isEmpty }
      let part = isOwn && after < first ? lost : min(lost, last - after)
      dropped = (Saturating(dropped) + part).value
    }
    return min(dropped, row.eventFloor - after)
  }

  /// Events of a stream that are under the floor while their rows wait to be deleted.
  private func evictedEvents(_ row: SessionRow, after: Int64, _ streamID: String) throws -> Int64 {
    var select = try tables.statement(
      of: row.number, as: 3,
      """
      SELECT coalesce(CAST(sum(last - first + 1) AS BIGINT), 0) FROM (
        SELECT CASE WHEN coalesce(first_id, id) > $1 THEN coalesce(first_id, id) ELSE $1 + 1 END AS first,
          CASE WHEN id < $2 THEN id ELSE $2 END AS last
        FROM events WHERE session = $3 AND stream_id = $4 AND id > $1
          AND id <= (SELECT min(id) FROM events WHERE session = $3 AND id >= $2)
      ) AS gone WHERE first <= last
      """)
    select.bind(4, streamID)
    select.bind(1, max(after, row.eventTrimmed))
    select.bind(2, row.eventFloor)
    return try select.step() ? select.integer(0) : 0
  }

  /// Events that can be read: of one session, or of all that answer to `owner`.
  package func countEvents(_ sessionID: String?, owner: Owner) throws -> Int64 {
    guard let sessionID else { return try owner == .server ? countEvents() : countEvents(visibleTo: owner) }
    // Not in one expression: the rows would be read before the call that loads one.
    let slot = try session(sessionID, owner: owner, for: .read)
    return cache.rows[slot].eventCount
  }

  /// In floating point, which does not overflow, and is exact up to 2^53.
  private static let readableEvents = "coalesce(sum(CAST(last_event_id - event_floor AS DOUBLE PRECISION)), 0)"

  /// All, less those of sessions that nobody reads any more, which are few or on their way out.
  private func countEvents() throws -> Int64 {
    try flushSessions()
    var invalidated = Filter(.server)
    invalidated.add("status = 'invalidated'")
    addStatus(nil, to: &invalidated)
    let unread = try tables.sum(Self.readableEvents, from: "sessions", invalidated)
    return counters.events - unread - (try expired(Self.readableEvents))
  }

  private func countEvents(visibleTo owner: Owner) throws -> Int64 {
    try flushSessions()
    var conditions = Filter(visibleTo: owner)
    addStatus(nil, seesEnded: owner.seesEnded, to: &conditions)
    if !owner.seesEnded { conditions.add("status <> 'invalidated'") }
    return try tables.sum(Self.readableEvents, from: "sessions", conditions)
  }
}
