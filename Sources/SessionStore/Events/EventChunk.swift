import Database
import JSON

/// Events of one session that follow each other, as they lie in one row of table `events`: the only file that knows
/// how.
///
/// The row of a lone event holds its payload as it came. A row of several has a `first_id` and a line for each payload,
/// which works because what came on a line has no newline in it; a payload that has one stands alone. Stream, type and
/// retry are the same for all of them. Where their times are not, `times` has what each is behind that of the first,
/// with spaces between them.
struct EventChunk {
  /// Bytes of payloads in a row of several. with four times as many a page of ten events takes twice as long,
  /// and writing gains nothing.
  static let maxBytes = 16_384
  static let maxEvents: Int64 = 1_024

  private(set) var session: SessionNumber?
  private var firstID: Int64 = 0
  private var lastID: Int64 = 0
  private var streamID: String?
  /// nil for the default
  private var eventType: String?
  private var retry: Int64?
  private var firstTime: Int64 = 0
  private var lines = PayloadLines()
  /// empty while all have the same time
  private var times: [UInt8] = []

  var isEmpty: Bool { lastID == 0 }
  /// bytes of its payloads
  var count: Int { lines.count }

  /// Adds the event, in a new row when it does not go into that of those before it; then that one is written.
  /// - Parameter id: the one behind the event that was added last, if that was of the same session
  mutating func add(
    _ event: NewEvent, _ data: Payload, id: Int64, timestamp: Int64, of session: SessionNumber, to tables: Tables
  ) throws {
    let eventType = event.eventType == NewEvent.defaultType ? nil : event.eventType
    if !isEmpty {
      if self.session == session, retry == event.retry, takes(data), Self.isSame(streamID, event.streamID),
        Self.isSame(self.eventType, eventType)
      {
        return append(data, timestamp)
      }
      try write(to: tables)
    }
    if data.text.bytes.count >= Self.maxBytes {
      let insert = try Self.insert(session, id, event.streamID, eventType, timestamp, event.retry, tables)
      return try insert.run(binding: 7, data)
    }
    self.session = session
    (firstID, lastID) = (id, id)
    (streamID, self.eventType, retry) = (event.streamID, eventType, event.retry)
    firstTime = timestamp
    lines.append(data)
  }

  private static func isSame(_ one: String?, _ other: String?) -> Bool {
    guard let one, let other else { return one == nil && other == nil }
    return one.isSame(as: other)
  }

  private func takes(_ data: Payload) -> Bool {
    lines.count + data.text.bytes.count < Self.maxBytes && lastID - firstID < Self.maxEvents - 1
      && !PayloadLines.areSeveral(data) && (lastID > firstID || !lines.areSeveral)
  }

  private mutating func append(_ data: Payload, _ time: Int64) {
    if times.isEmpty, time != firstTime {
      for _ in firstID...lastID { appendTime(0) }
    }
    // Whatever they are: who reads them adds them up in the same way.
    if !times.isEmpty || time != firstTime { appendTime(time &- firstTime) }
    lines.append(data)
    lastID += 1
  }

  private mutating func appendTime(_ time: Int64) {
    if !times.isEmpty { times.append(UInt8(ascii: " ")) }
    if 0...9 ~= time { return times.append(UInt8(ascii: "0") + UInt8(time)) }
    times.append(contentsOf: String(time).utf8)
  }

  /// Makes a row of what was added, if anything was, and begins anew.
  mutating func write(to tables: Tables) throws {
    guard !isEmpty, let session else { return }
    if firstID == lastID {
      let insert = try Self.insert(session, lastID, streamID, eventType, firstTime, retry, tables)
      try insert.run(binding: 7, lines)
    } else {
      var insert = try tables.statement(
        of: session,
        """
        INSERT INTO events (session, id, stream_id, event_type, timestamp, retry, data, first_id, times)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """)
      insert.bind(2, lastID)
      insert.bind(3, streamID)
      insert.bind(4, eventType)
      insert.bind(5, firstTime)
      insert.bind(6, retry)
      insert.bind(8, firstID)
      if !times.isEmpty { insert.bind(9, String(decoding: times, as: UTF8.self)) }
      try insert.run(binding: 7, lines)
    }
    forget()
  }

  /// Takes back what was added, and keeps the room for more.
  mutating func forget() {
    lastID = 0
    lines.removeAll()
    times.removeAll(keepingCapacity: true)
  }

  /// Gives back the memory of a large row.
  mutating func shrink() {
    if lines.capacity > 1_024 { self = EventChunk() }
  }

  /// The row of a lone event, without its payload.
  private static func insert(
    _ session: SessionNumber, _ id: Int64, _ streamID: String?, _ eventType: String?, _ timestamp: Int64,
    _ retry: Int64?, _ tables: Tables
  ) throws -> Statement {
    var insert = try tables.statement(
      of: session,
      """
      INSERT INTO events (session, id, stream_id, event_type, timestamp, retry, data)
      VALUES ($1, $2, $3, $4, $5, $6, $7)
      """)
    insert.bind(2, id)
    insert.bind(3, streamID)
    insert.bind(4, eventType)
    insert.bind(5, timestamp)
    insert.bind(6, retry)
    return insert
  }
}

/// The chunks to which the open group may still add, one for each session. They are rows by the end of the group, and
/// before anything that reads or deletes events of the session.
struct OpenChunks {
  /// bytes of payloads, and chunks, that may wait
  private static let maxBytes = 1 << 20
  private static let maxChunks = 1_024
  /// of which the memory is kept however large they were
  private static let kept = 32

  /// the first ``count`` are in use, and of those only what is not empty waits
  private var chunks: [EventChunk] = []
  private(set) var count = 0
  private(set) var bytes = 0

  /// Where a session's chunk is.
  /// - Parameter place: where it was put last; that may be another's now
  func index(_ place: Int32, of session: SessionNumber) -> Int? {
    let index = Int(place)
    return index >= 0 && index < count && chunks[index].session == session ? index : nil
  }

  /// - Returns: where the session's chunk is now
  mutating func add(
    _ event: NewEvent, _ data: Payload, id: Int64, timestamp: Int64, of session: SessionNumber, at place: Int32,
    to tables: Tables
  ) throws -> Int32 {
    if bytes >= Self.maxBytes || count >= Self.maxChunks { try write(to: tables) }
    var index = count
    if let known = self.index(place, of: session) {
      index = known
    } else {
      if count == chunks.count { chunks.append(EventChunk()) }
      count += 1
    }
    bytes -= chunks[index].count
    try chunks[index].add(event, data, id: id, timestamp: timestamp, of: session, to: tables)
    bytes += chunks[index].count
    return Int32(index)
  }

  mutating func write(_ index: Int, to tables: Tables) throws {
    bytes -= chunks[index].count
    try chunks[index].write(to: tables)
  }

  mutating func write(to tables: Tables) throws {
    for index in 0..<count { try chunks[index].write(to: tables) }
    empty()
  }

  mutating func forget() {
    for index in 0..<count { chunks[index].forget() }
    empty()
  }

  private mutating func empty() {
    if count > Self.kept { for index in Self.kept..<count { chunks[index].shrink() } }
    (count, bytes) = (0, 0)
  }
}

extension Store {
  /// Adds an event to the session's rows; the next writer to them is ``writeEvents(of:)``.
  func add(_ event: NewEvent, _ data: Payload, id: Int64, to slot: SessionSlot) throws {
    let (session, place) = (cache.rows[slot].number, cache.rows[slot].openChunk)
    cache.setOpenChunk(
      slot,
      try openChunks.add(
        event, data, id: id, timestamp: event.timestamp ?? now, of: session, at: place, to: tables))
  }

  /// Makes rows of what was added to the session; needed before SQL that reads or deletes its events.
  func writeEvents(of slot: SessionSlot) throws {
    if openChunks.count == 0 { return }
    let row = cache.rows[slot]
    if let index = openChunks.index(row.openChunk, of: row.number) { try openChunks.write(index, to: tables) }
  }

  /// The same for all sessions.
  func writeEvents() throws {
    if openChunks.count > 0 { try openChunks.write(to: tables) }
  }

  /// Makes the row that holds an event anew.
  /// - Parameter change: gets each of its events, and says what payload it has then; nil: it goes
  func rewriteRow(
    of session: SessionNumber, holding id: Int64, _ change: (Int64, JSONText) -> Payload?
  ) throws {
    var kept: [(id: Int64, event: NewEvent, data: Payload)] = []
    var last: Int64 = 0
    do {
      var events = try eventRow(of: session, holding: id)
      while try events.step() {
        last = events.id
        var bytes: [UInt8] = []
        events.appendData(to: &bytes)
        let text = JSONText(validated: bytes[...])
        guard let data = change(events.id, text) else { continue }
        let event = NewEvent(
          data: text, eventType: events.storedType, streamID: events.streamID, retry: events.retry,
          timestamp: events.timestamp)
        kept.append((events.id, event, data))
      }
    }
    var delete = try tables.statement(of: session, "DELETE FROM events WHERE session = $1 AND id = $2")
    delete.bind(2, last)
    try delete.run()
    var chunk = EventChunk()
    for (id, event, data) in kept {
      try chunk.add(event, data, id: id, timestamp: event.timestamp ?? 0, of: session, to: tables)
    }
    try chunk.write(to: tables)
  }

  /// The events of the one row that holds an event.
  func eventRow(of session: SessionNumber, holding id: Int64) throws -> EventRow {
    var select = try tables.statement(
      of: session,
      """
      SELECT id, stream_id, event_type, timestamp, retry, data, first_id, times FROM events
      WHERE session = $1 AND id >= $2 ORDER BY id LIMIT 1
      """)
    select.bind(2, id)
    return EventRow(select)
  }
}

/// The times of the events in a row, one after the other.
struct EventTimes {
  private var first: Int64 = 0
  /// empty: all have the first one's
  private var text: [UInt8] = []
  private var at = 0

  mutating func begin(first: Int64, _ row: borrowing Statement, _ column: Int32) {
    self.first = first
    text.removeAll(keepingCapacity: true)
    if !row.isNull(column) { row.append(column, to: &text) }
    at = 0
  }

  mutating func next() -> Int64 {
    var isNegative = false
    var time: Int64 = 0
    while at < text.count, text[at] != UInt8(ascii: " ") {
      if text[at] == UInt8(ascii: "-") {
        isNegative = true
      } else {
        time = time &* 10 &+ Int64(text[at] &- UInt8(ascii: "0"))
      }
      at += 1
    }
    at += 1
    return first &+ (isNegative ? 0 &- time : time)
  }
}

/// An event as it lies in the row that is being read; valid until the next step.
package struct EventRow: ~Copyable {
  private var row: Statement
  /// of ``columns``, the first
  private let column: Int32
  /// events up to it are passed over
  private let after: Int64
  package private(set) var id: Int64 = 0
  package private(set) var timestamp: Int64 = 0
  /// of the row
  private var lastID: Int64 = 0
  private var isLone = true
  /// of a row of several
  private var lines: [UInt8] = []
  private var line = 0..<0
  private var times = EventTimes()

  static let columns = "id, stream_id, event_type, timestamp, retry, data, first_id, times"

  /// - Parameters:
  ///   - row: has ``columns``
  ///   - column: the first of them; the session's number stands before it, if it is not the first of all
  init(_ row: consuming Statement, from column: Int32 = 0, after: Int64 = 0) {
    self.row = row
    self.column = column
    self.after = after
  }

  package var streamID: String? { row.optionalString(column + 1) }
  package var eventType: String { storedType ?? NewEvent.defaultType }
  /// nil for the default
  var storedType: String? { row.optionalString(column + 2) }
  package var retry: Int64? { row.optionalInteger(column + 4) }
  var session: Int64 { row.integer(column - 1) }

  /// A column that stands behind the others.
  func string(behind index: Int32) -> String { row.string(column + 8 + index) }

  /// Appends the payload as it came.
  package func appendData(to bytes: inout [UInt8]) {
    if isLone { row.append(column + 5, to: &bytes) } else { bytes.append(contentsOf: lines[line]) }
  }

  package func withData<Result>(_ body: (Span<UInt8>) throws -> Result) rethrows -> Result {
    isLone ? try row.withText(column + 5, body) : try body(lines.span.extracting(line))
  }

  var dataText: String { isLone ? row.string(column + 5) : String(decoding: lines[line], as: UTF8.self) }

  /// Goes to the next event; false when there is none.
  mutating func step() throws -> Bool {
    repeat {
      if id < lastID {
        id += 1
        try beginLine(line.upperBound + 1)
      } else {
        guard try row.step() else { return false }
        try beginRow()
      }
    } while id <= after
    return true
  }

  private mutating func beginRow() throws {
    lastID = row.integer(column)
    timestamp = row.integer(column + 3)
    isLone = row.isNull(column + 6)
    if isLone { return id = lastID }
    id = row.integer(column + 6)
    times.begin(first: timestamp, row, column + 7)
    lines.removeAll(keepingCapacity: true)
    row.append(column + 5, to: &lines)
    try beginLine(0)
  }

  private mutating func beginLine(_ start: Int) throws {
    // A damaged file must not end the process.
    if start >= lines.count || id > lastID {
      throw DatabaseError.corrupt("a row of table 'events' has fewer lines than events")
    }
    line = start..<(ByteWord.firstIndex(of: UInt8(ascii: "\n"), in: lines.span, from: start) ?? lines.count)
    timestamp = times.next()
  }

  /// Writes the event as a record of a dump.
  func writeRecord(to writer: inout JSONWriter) {
    writer.beginObject()
    writer.name("event")
    writer.beginObject()
    writer.member("session", session)
    writer.member("id", id)
    writer.member("stream_id", streamID)
    writer.member("event_type", storedType)
    writer.member("timestamp", timestamp)
    writer.member("retry", retry)
    writer.name("data")
    writer.validated { appendData(to: &$0) }
    writer.endObject()
    writer.endObject()
  }
}
