import Database
import JSON
import SHA256

/// The first line of a dump: what the numbers in it count from.
struct DumpHeader {
  static let name = "mcp_session_store_dump"
  /// of the lines; what they hold is versioned by the schema
  static let format: Int64 = 1
  /// the first that dumps were made from
  static let oldestSchema: Int64 = 2

  var format = Self.format
  var schema = Schema.current.version
  /// the store's counter of revisions
  var revision: Int64
  /// the last number that was given to an audit event
  var auditNumber: Int64
  /// the UUID that was given last; nil when none was, and in dumps that do not tell
  var lastUUID: LastUUID?
  /// from where on each ring of the audit trail is a chain; nil: none is
  var chains: [Store.AuditRing: AuditBeginning]?

  func write(to writer: inout JSONWriter) {
    writer.beginObject()
    writer.name(Self.name)
    writer.beginObject()
    writer.member("format", format)
    writer.member("schema", schema)
    writer.member("revision", revision)
    writer.member("audit_number", auditNumber)
    if let lastUUID { writer.member("last_uuid", lastUUID.text) }
    if let chains {
      writer.name("audit_chains")
      writer.beginObject()
      for ring in Store.AuditRing.allCases {
        guard let beginning = chains[ring] else { continue }
        writer.name(ring.rawValue)
        writer.beginObject()
        writer.member("begins_after", beginning.number)
        writer.member("hash", beginning.hash.text)
        writer.endObject()
      }
      writer.endObject()
    }
    writer.endObject()
    writer.endObject()
    writer.raw("\n")
  }
}

/// Writing everything, or one session, as lines of JSON: a header, a line for each row in an order that depends on
/// nothing but the rows, and how many they were. No line tells when it was written, so a store that was loaded from a
/// dump dumps the same.
extension Store {
  /// lines are handed on in pieces of about so many bytes
  private static let pieceBytes = 1 << 16

  /// Dumps the store, or one session with its tasks and its audit trail. Bracket it with ``read(_:)``.
  /// - Parameters:
  ///   - withTrail: whether its audit trail comes with a session
  ///   - secrets: whether secrets of event subscriptions are in it
  ///   - emit: gets whole lines and how many records there were so far
  /// - Throws: `sessionNotFound`; ``FileChanged`` before the line that says how many there were; what `emit` throws
  package func writeDump(
    sessionID: String? = nil, withTrail: Bool = true, secrets: Bool = false,
    emit: (_ lines: [UInt8], _ records: Int64) throws -> Void
  ) throws {
    try flushSessions()
    let selection = try sessionID.map { id in
      guard let slot = try findSession(id, owner: .server) else { throw StoreError.sessionNotFound(id) }
      return (number: cache.rows[slot].number, id: id)
    }
    var writer = JSONWriter()
    DumpHeader(
      revision: counters.revision, auditNumber: counters.auditNumber,
      lastUUID: counters.lastUUID == LastUUID() ? nil : counters.lastUUID,
      chains: try auditBeginnings(isWhole: selection == nil)
    ).write(to: &writer)
    var records: Int64 = 0
    for kind in RecordKind.all where withTrail || kind.name != RecordKind.auditEvent.name {
      var conditions = Filter(.server)
      if let selection, !Self.narrow(&conditions, kind, number: selection.number, id: selection.id) {
        continue
      }
      leaveRecords(of: kind, &conditions)
      func end() throws {
        writer.raw("\n")
        records += 1
        if writer.count >= Self.pieceBytes { try emit(writer.take(), records) }
      }
      func rows(_ select: String) throws -> Statement {
        try tables.statement(
          conditions, select, suffix: " ORDER BY " + kind.key.joined(separator: ", "), areLarge: true)
      }
      func write(_ records: consuming some RowOfSeveral & ~Copyable) throws {
        while try records.step() {
          records.writeRecord(to: &writer)
          try end()
        }
      }
      switch kind.several {
      case .events: try write(EventRow(rows(kind.selectSeveral(EventRow.self)), from: 1, after: 0))
      case .logEntries:
        let select = "SELECT session, \(LogRow.columns), \(LogRow.floor) FROM \(kind.table)"
        try write(LogRow(rows(select), from: 1, after: 0, hasFloor: true))
      case nil:
        var records = try rows(selection == nil ? kind.select : kind.select(without: ["seal"]))
        while try records.step() {
          kind.write(records, secrets: secrets, to: &writer)
          try end()
        }
      }
    }
    try checkStillness()
    writer.beginObject()
    writer.name("end")
    writer.beginObject()
    writer.member("records", records)
    writer.endObject()
    writer.endObject()
    writer.raw("\n")
    try emit(writer.take(), records)
  }

  /// What is taken out of the trail is no chain any more: it is all from before one.
  private func auditBeginnings(isWhole: Bool) throws -> [AuditRing: AuditBeginning]? {
    if isShared { return nil }
    var beginnings: [AuditRing: AuditBeginning] = [:]
    for ring in AuditRing.allCases {
      beginnings[ring] =
        isWhole ? try AuditBeginning.of(ring, in: tables) : AuditBeginning(number: counters.auditNumber)
    }
    return beginnings
  }

  /// Leaves the rows that belong to one session.
  /// - Returns: false for a kind that has none
  private static func narrow(
    _ conditions: inout Filter, _ kind: RecordKind, number: SessionNumber, id: String
  ) -> Bool {
    switch kind.name {
    case "session": conditions.add("number = ?", number.value)
    case "task", "audit_event":
      conditions.add("session_id = ?", id)
      conditions.add(of: number)
    case "task_payload", "task_input_key", "task_message":
      conditions.add(
        "task IN (SELECT number FROM tasks WHERE session_id = ? AND session = ?)",
        [.text(id), .integer(number.value)])
    case "value", "nonce", "rate_limit", "event_subscription", "work_group", "work", "retention", "legal_hold":
      return false
    default: conditions.add(of: number)
    }
    return true
  }

  /// Passes over rows of the kind's table that are no records.
  func leaveRecords(of kind: RecordKind, _ conditions: inout Filter) {
    if isShared, let lock = kind.lock { conditions.add("\(lock) > ?", 0) }
  }

  /// about how many records a dump of everything has
  package var recordCount: Int64 {
    counters.sessions + counters.events + counters.tasks + counters.values + counters.logEntries
      + counters.lifecycleEvents + counters.securityEvents + counters.work + counters.workDone + counters.workDead
      + counters.eventSubscriptions
  }
}

extension RecordKind {
  /// What a row of its table may hold several of: see ``EventChunk`` and ``LogChunk``.
  enum Several { case events, logEntries }

  /// nil: each row is a record
  var several: Several? {
    switch name {
    case Self.event.name: .events
    case Self.logEntry.name: .logEntries
    default: nil
    }
  }

  func selectSeveral<Rows: RowOfSeveral & ~Copyable>(_: Rows.Type) -> String {
    "SELECT session, \(Rows.columns) FROM \(table)"
  }

  var select: String { "SELECT " + columns.map(\.name).joined(separator: ", ") + " FROM " + table }

  /// with NULL in some columns
  fileprivate func select(without left: Set<String>) -> String {
    "SELECT " + columns.map { left.contains($0.name) ? "NULL" : $0.name }.joined(separator: ", ") + " FROM " + table
  }

  /// with one more column behind those of the record
  func select(adding column: String) -> String {
    "SELECT " + (columns.map(\.name) + [column]).joined(separator: ", ") + " FROM " + table
  }

  /// Writes the row that is being read as a record.
  func write(_ row: borrowing Statement, secrets: Bool = false, to writer: inout JSONWriter) {
    writer.beginObject()
    writer.name(name)
    writer.beginObject()
    for (index, column) in columns.enumerated() {
      let index = Int32(index)
      writer.name(column.name)
      if row.isNull(index) {
        writer.null()
        continue
      }
      switch column.content {
      case .integer, .time, .nanoseconds, .number, .reference, .former, .revision: writer.integer(row.integer(index))
      case .boolean: writer.boolean(row.boolean(index))
      case .text, .id, .name, .nameOrNone, .choice, .seal: writer.string(row.string(index))
      case .secret: if secrets { writer.string(row.string(index)) } else { writer.null() }
      case .json, .object, .strings, .messageIDs, .outcome: writer.validated { row.append(index, to: &$0) }
      }
    }
    writer.endObject()
    writer.endObject()
  }
}
