import Database
import JSON

/// Events of one session that follow each other, as they lie in one row of table `events`: the only file that knows
/// how.
///
/// The row of a lone event holds its payload as it came. A row of several has a `first_id` and a line for each payload.
/// Stream, type and retry are the same for all of them. Where their times are not, `times` has what each is behind that
/// of the first, with spaces between them.
struct EventChunk {
  private var session: SessionNumber?
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
  var byteCount: Int { lines.byteCount }

  /// Adds the event, in a new row when it does not go into that of those before it; then that one is written.
  mutating func add(
    _ event: NewEvent, _ data: Payload, id: Int64, timestamp: Int64, of session: SessionNumber, to tables: Tables
  ) throws {
    let eventType = event.eventType == NewEvent.defaultType ? nil : event.eventType
    if !isEmpty {
      if self.session == session, id == lastID + 1, retry == event.retry, lines.takes(data),
        Self.isSame(streamID, event.streamID),
        Self.isSame(self.eventType, eventType)
      {
        return append(data, timestamp)
      }
      try write(to: tables)
    }
    if data.text.bytes.count >= PayloadLines.maxBytes {
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

extension Store {
  /// Adds an event to the session's rows; the next writer to them is ``writeChunks(of:)``.
  func add(_ event: NewEvent, _ data: Payload, id: Int64, to slot: SessionSlot) throws {
    let index = try openChunk(of: slot)
    try openChunks.add(event, data, id: id, timestamp: event.timestamp ?? now, at: index, to: tables)
  }

  /// Makes the row that holds an event anew.
  /// - Parameter change: gets each of its events, and says what payload it has then; nil: it goes
  func rewriteEvents(
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
package struct EventRow: RowOfSeveral, ~Copyable {
  private var row: Statement
  /// of ``columns``, the first
  private let column: Int32
  /// events up to it are passed over
  private let after: Int64
  package private(set) var timestamp: Int64 = 0
  private var lines = StoredLines()
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

  package var id: Int64 { lines.number }
  var number: Int64 { id }
  package var streamID: String? { row.optionalString(column + 1) }
  package var eventType: String { storedType ?? NewEvent.defaultType }
  /// nil for the default
  var storedType: String? { row.optionalString(column + 2) }
  package var retry: Int64? { row.optionalInteger(column + 4) }
  /// The id of the last event of its row, all of which have the same stream, type and retry.
  package var lastOfRow: Int64 { lines.last }
  var session: Int64 { row.integer(column - 1) }

  /// A column that stands behind the others.
  func optionalString(behind index: Int32) -> String? { row.optionalString(column + 8 + index) }

  /// Appends the payload as it came.
  package func appendData(to bytes: inout [UInt8]) {
    if lines.isLone { row.append(column + 5, to: &bytes) } else { lines.append(to: &bytes) }
  }

  package func withData<Result>(_ body: (Span<UInt8>) throws -> Result) rethrows -> Result {
    lines.isLone ? try row.withText(column + 5, body) : try lines.withLine(body)
  }

  var text: String { lines.isLone ? row.string(column + 5) : lines.text }

  /// Goes to the next event; false when there is none.
  mutating func step() throws -> Bool {
    repeat {
      if try lines.next() {
        timestamp = times.next()
      } else {
        guard try row.step() else { return false }
        try beginRow()
      }
    } while id <= after
    return true
  }

  private mutating func beginRow() throws {
    timestamp = row.integer(column + 3)
    let first = row.optionalInteger(column + 6)
    try lines.begin(row, first: first, last: row.integer(column), payload: column + 5)
    if first == nil { return }
    times.begin(first: timestamp, row, column + 7)
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
