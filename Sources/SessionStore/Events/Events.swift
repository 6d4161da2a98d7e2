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

/// An event as it lies in the row that is being read; valid until the next step.
package struct EventRow: ~Copyable {
  private var row: Statement

  fileprivate init(_ row: consuming Statement) {
    self.row = row
  }

  package var id: Int64 { row.integer(0) }
  package var streamID: String? { row.optionalString(1) }
  package var eventType: String { row.optionalString(2) ?? NewEvent.defaultType }
  package var timestamp: Int64 { row.integer(3) }
  package var retry: Int64? { row.optionalInteger(4) }
  /// Appends the payload as it came.
  package func appendData(to bytes: inout [UInt8]) { row.append(5, to: &bytes) }
  package func withData<Result>(_ body: (Span<UInt8>) throws -> Result) rethrows -> Result {
    try row.withText(5, body)
  }

  fileprivate mutating func step() throws -> Bool { try row.step() }
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
  private static let trimBatch: Int64 = 256

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
    guard limits.maxEventsPerSession > 0, limits.eventOverflow == .error else { return }
    if cache.rows[slot].eventCount + count > Int64(limits.maxEventsPerSession) {
      throw StoreError.maxEventsReached(limit: limits.maxEventsPerSession)
    }
  }

  private func append(_ event: NewEvent, _ data: Payload, to slot: SessionSlot) throws -> Int64 {
    let number = cache.rows[slot].number
    let id = cache.rows[slot].lastEventID + 1
    var insert = try tables.statement(
      of: number,
      """
      INSERT INTO events (session, id, stream_id, event_type, timestamp, retry, data)
      VALUES ($1, $2, $3, $4, $5, $6, $7)
      """)
    insert.bind(2, id)
    insert.bind(3, event.streamID)
    insert.bind(4, event.eventType == NewEvent.defaultType ? nil : event.eventType)
    insert.bind(5, event.timestamp ?? now)
    insert.bind(6, event.retry)
    try insert.run(binding: 7, data)

    let evicted = cache.update(slot) { row in
      row.lastEventID = id
      row.touch(now, limits)
      let excess = limits.maxEventsPerSession > 0 ? row.eventCount - Int64(limits.maxEventsPerSession) : 0
      if excess > 0 { row.eventFloor += excess }
      return max(excess, 0)
    }
    counters.events += 1 - evicted
    done.eventsStored += 1
    done.eventBytesStored += Int64(data.text.bytes.count)
    done.eventsEvicted += evicted
    noteMade(1)
    if evicted > 0 { try trimEvents(slot, atLeast: Self.trimBatch) }
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
    cache.update(slot) { $0.eventFloor = floor }
    counters.events -= deleted
    if deleted > 0 { try trimEvents(slot, atLeast: 1) }
    touch(slot)
    noteChange(ofSession: row.number)
    return deleted
  }

  /// Deletes the rows that lie under the floor, once they are at least `count`.
  func trimEvents(_ slot: SessionSlot, atLeast count: Int64) throws {
    let row = cache.rows[slot]
    guard row.eventFloor - row.eventTrimmed >= count else { return }
    var losses = try tables.statement(
      of: row.number,
      """
      INSERT INTO stream_losses (session, stream_id, lost, first_id, last_id)
      SELECT session, stream_id, count(*), min(id), max(id) FROM events
      WHERE session = $1 AND id > $2 AND id <= $3 AND stream_id IS NOT NULL GROUP BY session, stream_id
      ON CONFLICT (session, stream_id) DO UPDATE
        SET lost = stream_losses.lost + excluded.lost, last_id = excluded.last_id
      """)
    losses.bind(2, row.eventTrimmed)
    losses.bind(3, row.eventFloor)
    try losses.run()
    if tables.changes > 0 { try foldLosses(session: row.number) }
    try deleteEventRows(session: row.number, through: row.eventFloor)
    cache.update(slot) { $0.eventTrimmed = row.eventFloor }
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
    if let streamID {
      var select = try tables.statement(
        of: row.number,
        """
        SELECT id FROM events WHERE session = $1 AND stream_id = $2 AND id > $3
        ORDER BY id DESC LIMIT 1 OFFSET $4
        """)
      select.bind(2, streamID)
      select.bind(3, row.eventFloor)
      select.bind(4, Int64(limit - 1))
      start = try select.step() ? select.integer(0) - 1 : row.eventFloor
    }
    var page = try readEvents(slot, after: start, streamID: streamID, limit: limit, visit: visit)
    page.gap = nil
    return page
  }

  func readEvents(
    _ slot: SessionSlot, after: Int64, streamID: String?, limit: Int, visit: (borrowing EventRow) throws -> Bool
  ) throws -> EventPage {
    let row = cache.rows[slot]
    var page = EventPage(
      nextAfter: row.lastEventID, newestID: row.lastEventID, hasMore: false,
      gap: try gap(row, after: after, streamID: streamID), cursorAhead: after > row.lastEventID)
    let start = max(after, row.eventFloor)
    if start >= row.lastEventID { return page }

    // One more than asked for tells whether there are more; without a stream the ids tell that.
    var events = EventRow(try eventStatement(row.number, start, streamID, limit + (streamID == nil ? 0 : 1)))
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
    _ number: SessionNumber, _ start: Int64, _ streamID: String?, _ limit: Int
  ) throws -> Statement {
    guard let streamID else {
      var select = try tables.cursor(
        of: number,
        """
        SELECT id, stream_id, event_type, timestamp, retry, data FROM events
        WHERE session = $1 AND id > $2 ORDER BY id LIMIT $3
        """)
      select.bind(2, start)
      select.bind(3, Int64(limit))
      return select
    }
    var select = try tables.cursor(
      of: number,
      """
      SELECT id, stream_id, event_type, timestamp, retry, data FROM events
      WHERE session = $1 AND id > $2 AND stream_id = $3 ORDER BY id LIMIT $4
      """)
    select.bind(2, start)
    select.bind(3, streamID)
    select.bind(4, Int64(limit))
    return select
  }

  /// What a reader at the cursor `after` missed; nil when nothing that it would have read is gone.
  func gap(_ row: SessionRow, after: Int64, streamID: String?) throws -> EventGap? {
    if after >= row.eventFloor { return nil }
    guard let streamID else {
      return EventGap(
        dropped: row.eventFloor - after,
        oldestAvailable: row.eventCount > 0 ? row.eventFloor + 1 : nil)
    }
    let dropped = try deletedEvents(row, after: after, streamID) + evictedEvents(row, after: after, streamID)
    if dropped == 0 { return nil }
    var select = try tables.statement(
      of: row.number,
      "SELECT id FROM events WHERE session = $1 AND stream_id = $2 AND id > $3 ORDER BY id LIMIT 1")
    select.bind(2, streamID)
    select.bind(3, row.eventFloor)
    return EventGap(dropped: dropped, oldestAvailable: try select.step() ? select.integer(0) : nil)
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
      of: row.number,
      "SELECT count(*) FROM events WHERE session = $1 AND stream_id = $2 AND id > $3 AND id <= $4")
    select.bind(2, streamID)
    select.bind(3, max(after, row.eventTrimmed))
    select.bind(4, row.eventFloor)
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
