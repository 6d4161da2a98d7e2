import Database
import JSON
import SHA256

/// Why a dump was not loaded. Nothing of it is in the store then.
package struct LoadError: Error, Equatable {
  /// counts from 1
  package let line: Int
  package let message: String
}

/// Reading a dump into a store, all of it or nothing.
///
/// Numbers and revisions move up by what the store has given out already, so that they stay unique and in order; into a
/// new store they are loaded as they are. Nothing is written to the audit trail; what the dump has of one must be the
/// chain that it says, and behind another trail it is chained anew.
package struct Loader: ~Copyable {
  /// a key of a row: numbers and texts, which order as the database orders them
  private enum Key: Comparable {
    case integer(Int64)
    case text([UInt8])

    static func < (first: Key, second: Key) -> Bool {
      switch (first, second) {
      case (.integer(let first), .integer(let second)): first < second
      case (.text(let first), .text(let second)): first.lexicographicallyPrecedes(second)
      case (.integer, .text): true
      case (.text, .integer): false
      }
    }
  }

  private let store: Store
  /// the numbers up to which the store may have given out any
  private var given: (revision: Int64, auditNumber: Int64) = (0, 0)
  private var line = 0
  package private(set) var records: Int64 = 0
  private var header: DumpHeader?
  private var hasEnded = false
  /// as the dump's schema writes them
  private var kinds = RecordKind.all
  private var kind = 0
  private var lastKey: [Key] = []
  /// by the name of a kind: the numbers in the dump that rows of other kinds may refer to
  private var numbers: [String: Set<Int64>] = [:]
  private var bases: [String: Int64] = [:]
  private var members: [JSONMember] = []
  private var rules = RecordRules()
  /// records on their way to a server, which says later whether it took them
  private var sent: [Sent] = []

  private final class Sent {
    let line: Int
    /// what is in the store already when it is not taken
    let what: String
    var insert: Statement

    init(line: Int, what: String, _ insert: consuming Statement) {
      self.line = line
      self.what = what
      self.insert = insert
    }
  }

  private static let sentAtMost = 500
  /// events and log entries that wait to be written
  private var events = EventChunk()
  private var log = LogChunk()

  /// where the trail stood before
  private var head = AuditHead(number: 0, lifecycle: .zero, security: .zero)

  /// Begins; ``Store/load(_:)`` brackets it with a group.
  fileprivate init(_ store: Store) throws {
    self.store = store
    given = try store.numbersGiven()
    head = try store.auditHead() ?? head
    for kind in RecordKind.all {
      switch kind.numbering {
      case .revision: bases[kind.name] = given.revision
      case .audit: bases[kind.name] = given.auditNumber
      case .table where kind.columns[0].name == "number":
        var select = try store.tables.statement(
          .server, composed: "SELECT coalesce(max(number), 0) FROM \(kind.table)")
        bases[kind.name] = try select.step() ? select.integer(0) : 0
      case .table: break
      }
    }
  }

  private func wrong(_ message: String) -> LoadError { LoadError(line: line, message: message) }

  /// Takes the next line, without its newline.
  /// - Throws: ``LoadError``
  package mutating func load(_ text: ArraySlice<UInt8>) throws {
    line += 1
    do {
      try take(text)
    } catch let error as LoadError {
      // What is wrong before it is told first.
      try confirm()
      throw error
    }
  }

  private mutating func take(_ text: ArraySlice<UInt8>) throws {
    if hasEnded { throw wrong("something stands behind the line that ends the dump") }
    let (name, value) = try record(text)
    guard header != nil else {
      guard name == DumpHeader.name else { throw wrong("it does not begin like a dump: its first line is the header") }
      let header = try readHeader(value)
      kinds = RecordKind.all(of: header.schema)
      // Before the rows: whoever else writes must not give out their numbers meanwhile.
      try store.passNumbers(
        revision: given.revision + header.revision, auditNumber: given.auditNumber + header.auditNumber)
      return self.header = header
    }
    if name == "end" { return try end(value) }
    guard let position = kinds.firstIndex(where: { $0.name == name }) else {
      throw wrong("there are no records of the kind '\(name)'")
    }
    if position < kind {
      throw wrong("out of order: a record of the kind '\(name)' comes after one of '\(kinds[kind].name)'")
    }
    if position > kind {
      kind = position
      lastKey = []
      try events.write(to: store.tables)
      try log.write(to: store.tables)
    }
    try insert(kinds[position], value)
    records += 1
  }

  /// For a line that was not kept.
  package mutating func refuseLine(longerThan limit: Int) throws {
    line += 1
    throw wrong("the line is longer than \(limit) bytes")
  }

  /// `{"<name>": {…}}`
  private mutating func record(_ text: ArraySlice<UInt8>) throws -> (name: String, value: JSONText) {
    do {
      try JSONScanner.validate(text.span)
    } catch {
      throw wrong("it is not JSON: \(error)")
    }
    let members = Array(JSONText(validated: text).members.prefix(2))
    guard members.count == 1, let name = members[0].name, members[0].value.kind == .object else {
      throw wrong("it is not an object with one object in it, such as {\"session\": {…}}")
    }
    return (name, members[0].value)
  }

  private func readHeader(_ value: JSONText) throws -> DumpHeader {
    let known = ["format", "schema", "revision", "audit_number"]
    var integers: [String: Int64] = [:]
    var lastUUID: LastUUID?
    var chains: [Store.AuditRing: AuditBeginning]?
    for member in value.members {
      if member.name == "audit_chains" {
        chains = try readChains(member.value)
        continue
      }
      if member.name == "last_uuid" {
        lastUUID = member.value.decodedString.flatMap { LastUUID($0) }
        if lastUUID == nil { throw wrong("'last_uuid' is a UUID of version 7, or not there") }
        continue
      }
      guard let name = member.name, known.contains(name) else {
        throw wrong("the header has \(known.joined(separator: ", ")), and last_uuid and audit_chains or not")
      }
      if let expectation = RecordRules.expectation(.integer, member.value) {
        throw wrong("'\(name)' is \(expectation)")
      }
      if integers.updateValue(member.value.integer ?? 0, forKey: name) != nil {
        throw wrong("'\(name)' is given twice")
      }
    }
    let format = integers["format"] ?? 0
    if format != DumpHeader.format {
      throw wrong("the dump has format \(format); this program reads \(DumpHeader.format)")
    }
    let schema = integers["schema"] ?? 0
    if !(DumpHeader.oldestSchema...Schema.current.version).contains(schema) {
      throw wrong(
        "the dump was made from schema \(schema); this program reads \(DumpHeader.oldestSchema) to "
          + "\(Schema.current.version)")
    }
    guard let revision = integers["revision"], let auditNumber = integers["audit_number"] else {
      throw wrong("the header lacks revision or audit_number")
    }
    for (name, number, given) in [
      ("revision", revision, given.revision), ("audit_number", auditNumber, given.auditNumber),
    ] where (Saturating(number) + given).value > RecordRules.largest {
      throw wrong("'\(name)' and what the store has given out are together over \(RecordRules.largest)")
    }
    if let chains, chains.values.contains(where: { $0.number > auditNumber }) {
      throw wrong("'begins_after' is at most 'audit_number'")
    }
    return DumpHeader(
      schema: schema, revision: revision, auditNumber: auditNumber, lastUUID: lastUUID, chains: chains)
  }

  /// `{"lifecycle": {"begins_after": …, "hash": "…"}, "security": {…}}`
  private func readChains(_ value: JSONText) throws -> [Store.AuditRing: AuditBeginning] {
    var chains: [Store.AuditRing: AuditBeginning] = [:]
    for member in value.members {
      let ring = member.name.flatMap { Store.AuditRing(rawValue: $0) }
      let number = member.value.member("begins_after")
      let hash = member.value.member("hash")?.decodedString.flatMap { Digest($0) }
      guard let ring, let number, RecordRules.expectation(.integer, number) == nil, let hash else { break }
      chains[ring] = AuditBeginning(number: number.integer ?? 0, hash: hash)
    }
    if chains.count == Store.AuditRing.allCases.count { return chains }
    throw wrong("'audit_chains' has lifecycle and security, each with begins_after and the hash behind which it begins")
  }

  private mutating func end(_ value: JSONText) throws {
    let said = value.member("records")?.integer
    if said != records { throw wrong("the dump ends after \(said ?? 0) records, but there were \(records)") }
    hasEnded = true
  }

  // MARK: - A row

  private mutating func insert(_ kind: RecordKind, _ value: JSONText) throws {
    members.removeAll(keepingCapacity: true)
    var scanner = JSONScanner()
    // One more than there are columns is unknown or given twice.
    try scanner.readMembers(value.bytes.span, into: &members, limit: kind.columns.count + 1)
    let values = try arrange(kind, value)
    var statement = try store.tables.statement(
      .server, composed: kind.isToldLater(store) ? kind.insert + RecordKind.telling : kind.insert)
    for (index, column) in kind.columns.enumerated() {
      try bind(values[index], column, kind, to: &statement, Int32(index + 1))
    }
    try checkOrder(kind, values)
    do throws(RecordRules.Broken) {
      try rules.check(kind) { name in kind.column(name).map { values[$0] }.flatMap { $0.isNull ? nil : $0 } }
    } catch {
      throw wrong(error.message)
    }
    switch kind.several {
    case .events: return try add(event: values, kind)
    case .logEntries: return try add(logEntry: values, kind)
    case nil: break
    }
    let name = kind.named.flatMap { values[$0].isNull ? nil : "\(kind.columns[$0].name) \(values[$0].string)" }
    let what = name ?? "this \(kind.name)"
    if kind.isToldLater(store) {
      try statement.send()
      sent.append(Sent(line: line, what: what, statement))
      if sent.count >= Self.sentAtMost { try confirm() }
    } else {
      do { try statement.run() } catch {
        guard error.isConstraint else { throw error }
        throw wrong("\(what) is in the store already")
      }
    }
    try count(kind, values)
  }

  /// Waits until the server has taken all that was sent to it.
  private mutating func confirm() throws {
    let waiting = sent
    sent = []
    do {
      for one in waiting where try !one.insert.step() {
        throw LoadError(line: one.line, message: "\(one.what) is in the store already")
      }
    } catch let error as DatabaseError where error.isConstraint {
      throw wrong("what stands up to here contradicts itself: \(error.message)")
    }
  }

  /// Adds an event to the rows of its session, and counts it.
  private mutating func add(event values: [JSONText], _ kind: RecordKind) throws {
    func value(_ name: String) -> JSONText { kind.column(name).map { values[$0] } ?? .null }
    let event = NewEvent(
      data: value("data"), eventType: value("event_type").decodedString, streamID: value("stream_id").decodedString,
      retry: value("retry").integer)
    try events.add(
      event, Payload(own: event.data), id: value("id").integer ?? 0, timestamp: value("timestamp").integer ?? 0,
      of: session(value("session")), to: store.tables)
    try count(kind, values)
  }

  /// The same of an entry of a log.
  private mutating func add(logEntry values: [JSONText], _ kind: RecordKind) throws {
    func value(_ name: String) -> JSONText { kind.column(name).map { values[$0] } ?? .null }
    try log.add(
      Payload(own: value("entry")), value("kind").decodedString.flatMap(NewLogEntry.Kind.init),
      seq: value("seq").integer ?? 0, of: session(value("session")), to: store.tables)
    try count(kind, values)
  }

  private func session(_ number: JSONText) -> SessionNumber {
    SessionNumber(loaded: (Saturating(number.integer ?? 0) + (bases[RecordKind.session.name] ?? 0)).value)
  }

  /// The values of a record in the order of the columns.
  private func arrange(_ kind: RecordKind, _ value: JSONText) throws -> [JSONText] {
    var values = [JSONText?](repeating: nil, count: kind.columns.count)
    for (index, member) in members.enumerated() {
      // Nearly always they come as a dump writes them.
      let bytes = value.bytes
      let name = JSONString.decode(bytes.span, member.name) ?? "?"
      let column = index < values.count && kind.columns[index].name == name ? index : kind.column(name)
      guard let column else { throw wrong("a record of the kind '\(kind.name)' has no '\(name)'") }
      if values[column] != nil { throw wrong("'\(name)' is given twice") }
      values[column] = value.cut(member.value)
    }
    return try zip(kind.columns, values).map { column, value in
      if let value { return value }
      // An older schema may have had no such column.
      if column.isOptional, let header, header.schema < Schema.current.version { return .null }
      throw wrong("'\(column.name)' is missing")
    }
  }

  private mutating func bind(
    _ value: JSONText, _ column: RecordKind.Column, _ kind: RecordKind, to statement: inout Statement, _ index: Int32
  ) throws {
    // A column that is not bound is NULL.
    if value.isNull, column.isOptional { return }
    if let expectation = RecordRules.expectation(column.content, value) {
      throw wrong("'\(column.name)' is \(expectation)")
    }
    let integer = value.integer ?? 0
    switch column.content {
    case .json, .object, .strings, .messageIDs, .outcome: statement.bind(index, Payload(own: value))
    case .text, .id, .name, .nameOrNone, .choice, .seal, .secret: statement.bind(index, value.decodedString)
    case .boolean: statement.bind(index, value.string == "true")
    case .integer, .time, .nanoseconds: statement.bind(index, integer)
    case .number:
      try checkRange(integer, kind)
      if RecordKind.referredTo.contains(kind.name) { numbers[kind.name, default: []].insert(integer) }
      statement.bind(index, try moved(integer, kind.name, column))
    case .reference(let other):
      guard numbers[other]?.contains(integer) == true else {
        throw wrong("there is no \(other) with the number \(integer) before it")
      }
      statement.bind(index, try moved(integer, other, column))
    case .former(let other):
      try checkRange(integer, .session)
      statement.bind(index, try moved(integer, other, column))
    case .revision:
      try checkRange(integer, .session)
      statement.bind(index, try moved(integer, RecordKind.session.name, column))
    }
  }

  /// The number that it has in the store.
  private func moved(_ number: Int64, _ kind: String, _ column: RecordKind.Column) throws -> Int64 {
    let moved = (Saturating(number) + (bases[kind] ?? 0)).value
    guard moved <= RecordRules.largest else {
      throw wrong("'\(column.name)' would be over \(RecordRules.largest), behind what is in the store")
    }
    return moved
  }

  /// The header says how far the counters had come.
  private func checkRange(_ number: Int64, _ kind: RecordKind) throws {
    guard let header else { return }
    switch kind.numbering {
    case .revision where number > header.revision, .audit where number > header.auditNumber:
      throw wrong("the number \(number) is over the one that the header names")
    default: break
    }
  }

  private mutating func checkOrder(_ kind: RecordKind, _ values: [JSONText]) throws {
    let key = kind.keyColumns.map { index -> Key in
      values[index].integer.map { .integer($0) } ?? .text(Array((values[index].decodedString ?? "").utf8))
    }
    guard lastKey.isEmpty || lastKey.lexicographicallyPrecedes(key) else {
      throw wrong("out of order: records of the kind '\(kind.name)' ascend by \(kind.key.joined(separator: ", "))")
    }
    lastKey = key
  }

  private func count(_ kind: RecordKind, _ values: [JSONText]) throws {
    func integer(_ name: String) -> Int64 { kind.column(name).flatMap { values[$0].integer } ?? 0 }
    switch kind.name {
    case "session":
      store.counters.sessions += 1
    case "event":
      if rules.isReadable(event: integer("id"), ofSession: integer("session")) { store.counters.events += 1 }
    case "task": store.counters.tasks += 1
    case "value": store.counters.values += 1
    case "event_subscription":
      if kind.column("ended_at").map({ values[$0].isNull }) == true { store.counters.eventSubscriptions += 1 }
    case "work":
      switch kind.column("status").flatMap({ values[$0].decodedString }).flatMap(WorkStatus.init(rawValue:)) {
      case .waiting, .leased: store.counters.work += 1
      case .done: store.counters.workDone += 1
      case .dead: store.counters.workDead += 1
      case nil: break
      }
    case "log_entry": store.counters.logEntries += 1
    case "retention", "legal_hold": store.counters.policyChanges += 1
    case "audit_event":
      let ring = kind.column("ring").flatMap { values[$0].decodedString }.flatMap { Store.AuditRing(rawValue: $0) }
      if let ring { store.counters[ring] += 1 }
    default: break
    }
  }

  fileprivate mutating func finish() throws {
    line += 1
    guard let header else { throw wrong("the dump is empty") }
    try confirm()
    if !hasEnded { throw wrong("the dump is cut off: the line that ends it is missing") }
    try events.write(to: store.tables)
    try log.write(to: store.tables)
    do {
      try TaskSplit.run(in: store.tables.connection(.server))
    } catch let error as DatabaseError where error.isConstraint {
      throw wrong("the dump contradicts itself: a payload stands both in the record of its task and in one of its own")
    }
    store.counters.revision = given.revision + header.revision
    store.counters.auditNumber = given.auditNumber + header.auditNumber
    try store.writer?.noteLoaded(revision: store.counters.revision, auditNumber: store.counters.auditNumber)
    try adoptTrail(header)
    if let lastUUID = header.lastUUID { store.counters.lastUUID = max(store.counters.lastUUID, lastUUID) }
    try recompute()
  }

  /// A new store takes the chain as it is, so that heads that were noted of it still hold.
  private func adoptTrail(_ header: DumpHeader) throws {
    let moved = AuditCheck.Moved(
      events: bases[RecordKind.auditEvent.name] ?? 0, sessions: bases[RecordKind.session.name] ?? 0)
    let older = AuditBeginning(number: header.auditNumber)
    let beginnings = header.chains ?? [.lifecycle: older, .security: older]
    if let problem = try AuditCheck.problem(of: moved, from: beginnings, in: store.tables) {
      throw LoadError(line: 0, message: "the dump contradicts itself: \(problem)")
    }
    if store.isShared { return try store.unchain(after: moved.events) }
    if moved.events > 0 || moved.sessions > 0 { return try store.chainAnew(after: moved.events, behind: head) }
    for (ring, beginning) in beginnings { try beginning.write(ring, to: store.tables) }
    store.auditHeads = AuditHeads()
  }

  /// What follows from the rest: the size of a state, and when a sweep has to look, where that would be too late.
  private func recompute() throws {
    var sizes = try store.tables.statement(
      .server,
      composed: """
        UPDATE sessions SET state_bytes = found.bytes FROM (
          SELECT number, (
            SELECT coalesce(
              sum(\(store.tables.dialect.byteLength("key")) + \(store.tables.dialect.byteLength("value")) + 4), 0)
            FROM session_state WHERE session = sessions.number
          ) AS bytes FROM sessions WHERE number > $1
        ) AS found
        WHERE sessions.number = found.number AND state_bytes <> found.bytes
        """)
    sizes.bind(1, bases[RecordKind.session.name] ?? 0)
    try sizes.run()
    // What an older schema calls expired has no end there, and half of it may be gone.
    var ends = try store.tables.statement(
      .server,
      """
      UPDATE sessions SET ended_at = coalesce(ended_at, 0), check_at = NULL
      WHERE number > $1 AND (ended_at IS NOT NULL OR status IN ('expired', 'resolved'))
      """)
    ends.bind(1, bases[RecordKind.session.name] ?? 0)
    try ends.run()
    store.counters.endedSessions += store.tables.changes
    var checks = try store.tables.statement(
      .server,
      """
      UPDATE sessions SET check_at = found.deadline FROM (
        SELECT number, CASE
          WHEN status = 'suspended' THEN NULL
          WHEN inactivity_timeout IS NULL THEN expires_at
          WHEN expires_at <= last_activity + inactivity_timeout THEN expires_at
          ELSE last_activity + inactivity_timeout
          END AS deadline
        FROM sessions WHERE number > $1 AND ended_at IS NULL
      ) AS found
      WHERE sessions.number = found.number AND found.deadline IS NOT NULL
        AND (check_at IS NULL OR check_at > found.deadline)
      """)
    checks.bind(1, bases[RecordKind.session.name] ?? 0)
    try checks.run()
  }
}

extension Store {
  /// Loads a dump, all of it or nothing. It holds up other writers from the first line to the last.
  /// - Parameter feed: hands the lines to the loader, until there are no more
  /// - Returns: how many records it had
  /// - Throws: ``LoadError``; what `feed` throws
  package func load(_ feed: (inout Loader) throws -> Void) throws -> Int64 {
    var needs = Needs()
    needs.holdsOthersUp = true
    return try inOwnGroup(waiting: limits.busyTimeout, needs: needs) {
      // Whoever hands it in may be slow.
      try writer?.takeTime()
      var loader = try Loader(self)
      try feed(&loader)
      try loader.finish()
      try writer?.passRowNumbers()
      try flushCounters()
      if let problem = try Integrity.brokenRules(in: tables.connection(.server)).first {
        throw LoadError(line: 0, message: "the dump contradicts itself: \(problem)")
      }
      return loader.records
    }
  }
}

extension RecordKind {
  /// names of the kinds that others refer to
  fileprivate static let referredTo = Set(
    all.flatMap(\.columns).compactMap { column in
      if case .reference(let name) = column.content { name } else { nil }
    })

  /// where the name stands under which something else may be in the store already
  fileprivate var named: Int? {
    ["session_id", "task_id", "work_id", "subscription_id", "nonce", "key", "name", "tenant_id"]
      .compactMap { column($0) }.first
  }

  /// Whether a server is asked to tell later if it took a row: to wait for each would be a trip for each.
  fileprivate func isToldLater(_ store: Store) -> Bool { store.isShared && named != nil }

  /// behind ``insert``: gives a row where one was made
  fileprivate static let telling = " ON CONFLICT DO NOTHING RETURNING 1"

  fileprivate var insert: String {
    let parameters = columns.indices.map { "$\($0 + 1)" }.joined(separator: ", ")
    return "INSERT INTO \(table) (\(columns.map(\.name).joined(separator: ", "))) VALUES (\(parameters))"
  }
}
