import Database
import JSON

/// Entries of one session's log that follow each other, as they lie in one row of table `log_entries`: the only file
/// that knows how. As with events (``EventChunk``) a row of several has the seq of the first, and a line for each.
struct LogChunk {
  private var session: SessionNumber?
  private var firstSeq: Int64 = 0
  private var lastSeq: Int64 = 0
  private var kind: NewLogEntry.Kind?
  private var lines = PayloadLines()

  /// bytes of its entries
  var byteCount: Int { lines.byteCount }

  /// Adds the entry, in a new row when it does not go into that of those before it; then that one is written.
  mutating func add(
    _ entry: Payload, _ kind: NewLogEntry.Kind?, seq: Int64, of session: SessionNumber, to tables: Tables
  ) throws {
    if lines.count > 0 {
      if self.session == session, seq == lastSeq + 1, self.kind == kind, lines.takes(entry) {
        lines.append(entry)
        lastSeq = seq
        return
      }
      try write(to: tables)
    }
    if entry.text.bytes.count >= PayloadLines.maxBytes {
      return try Self.insert(session, seq, kind, nil, tables).run(binding: 5, entry)
    }
    self.session = session
    (firstSeq, lastSeq) = (seq, seq)
    self.kind = kind
    lines.append(entry)
  }

  /// Makes a row of what was added, if anything was, and begins anew.
  mutating func write(to tables: Tables) throws {
    guard lines.count > 0, let session else { return }
    let first = firstSeq == lastSeq ? nil : firstSeq
    try Self.insert(session, lastSeq, kind, first, tables).run(binding: 5, lines)
    forget()
  }

  /// Takes back what was added, and keeps the room for more.
  mutating func forget() { lines.removeAll() }

  /// Gives back the memory of a large row.
  mutating func shrink() {
    if lines.capacity > 1_024 { self = LogChunk() }
  }

  private static func insert(
    _ session: SessionNumber, _ seq: Int64, _ kind: NewLogEntry.Kind?, _ first: Int64?, _ tables: Tables
  ) throws -> Statement {
    var insert = try tables.statement(
      of: session, "INSERT INTO log_entries (session, seq, kind, first_seq, entry) VALUES ($1, $2, $3, $4, $5)")
    insert.bind(2, seq)
    insert.bind(3, kind?.rawValue)
    insert.bind(4, first)
    return insert
  }
}

/// An entry as it lies in the row that is being read; valid until the next step.
package struct LogRow: RowOfSeveral, ~Copyable {
  private var row: Statement
  /// of ``columns``, the first
  private let column: Int32
  /// entries up to it are passed over
  private var after: Int64
  /// whether a column behind the others says that of each row
  private let hasFloor: Bool
  private var lines = StoredLines()

  static let columns = "seq, kind, entry, first_seq"
  /// up to where the entries of the row's session are gone
  static let floor = "(SELECT log_floor FROM sessions WHERE number = session)"

  /// - Parameters:
  ///   - row: has ``columns``
  ///   - column: the first of them; the session's number stands before it, if it is not the first of all
  init(_ row: consuming Statement, from column: Int32 = 0, after: Int64 = 0) {
    self.init(row, from: column, after: after, hasFloor: false)
  }

  /// - Parameter hasFloor: whether ``floor`` stands behind the columns
  init(_ row: consuming Statement, from column: Int32, after: Int64, hasFloor: Bool) {
    self.row = row
    self.column = column
    self.after = after
    self.hasFloor = hasFloor
  }

  package var seq: Int64 { lines.number }
  var number: Int64 { seq }
  var kind: String? { row.optionalString(column + 1) }
  var session: Int64 { row.integer(column - 1) }

  /// A column that stands behind the others.
  func optionalString(behind index: Int32) -> String? { row.optionalString(column + 4 + index) }

  /// Appends the entry as it came.
  package func appendEntry(to bytes: inout [UInt8]) {
    if lines.isLone { row.append(column + 2, to: &bytes) } else { lines.append(to: &bytes) }
  }

  var text: String { lines.isLone ? row.string(column + 2) : lines.text }

  /// Goes to the next entry; false when there is none.
  mutating func step() throws -> Bool {
    repeat {
      if try lines.next() { continue }
      guard try row.step() else { return false }
      if hasFloor { after = row.integer(column + 4) }
      try lines.begin(
        row, first: row.optionalInteger(column + 3), last: row.integer(column), payload: column + 2)
    } while seq <= after
    return true
  }

  /// Writes the entry as a record of a dump.
  func writeRecord(to writer: inout JSONWriter) {
    writer.beginObject()
    writer.name("log_entry")
    writer.beginObject()
    writer.member("session", session)
    writer.member("seq", seq)
    writer.member("kind", kind)
    writer.name("entry")
    writer.validated { appendEntry(to: &$0) }
    writer.endObject()
    writer.endObject()
  }
}

extension Store {
  /// Makes the row that holds an entry anew.
  /// - Parameter change: gets each of its entries, and says what it is then
  func rewriteLogEntries(
    of session: SessionNumber, holding seq: Int64, _ change: (Int64, JSONText) -> Payload
  ) throws {
    var kept: [(seq: Int64, kind: NewLogEntry.Kind?, entry: Payload)] = []
    do {
      var select = try tables.statement(
        of: session,
        """
        SELECT seq, kind, entry, first_seq FROM log_entries WHERE session = $1 AND seq >= $2 ORDER BY seq LIMIT 1
        """)
      select.bind(2, seq)
      var entries = LogRow(select)
      while try entries.step() {
        var bytes: [UInt8] = []
        entries.appendEntry(to: &bytes)
        kept.append(
          (
            entries.seq, entries.kind.flatMap(NewLogEntry.Kind.init),
            change(entries.seq, JSONText(validated: bytes[...]))
          ))
      }
    }
    guard let last = kept.last?.seq else { return }
    var delete = try tables.statement(of: session, "DELETE FROM log_entries WHERE session = $1 AND seq = $2")
    delete.bind(2, last)
    try delete.run()
    var chunk = LogChunk()
    for (seq, kind, entry) in kept { try chunk.add(entry, kind, seq: seq, of: session, to: tables) }
    try chunk.write(to: tables)
  }
}
