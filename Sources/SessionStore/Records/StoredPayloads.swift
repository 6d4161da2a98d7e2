import Database
import JSON

/// A payload as it stands in the file, with the names by which its owner knows it.
package struct StoredPayload {
  /// what of which record it is, such as `event.data`
  package let place: String
  package let sessionID: String?
  package let taskID: String?
  package let streamID: String?
  package let eventType: String?
  package let tenantID: String?
  package let principal: String?
  package let collection: String?
  package let key: String?
  /// byte for byte
  package let text: String
}

/// Which payload of which row. Rows keep their numbers, so it still means the same one, or none, when others have gone.
package struct PayloadPosition: Equatable {
  fileprivate(set) var stage = 0
  /// the key of the row, whose second part not all have
  fileprivate(set) var row: (Int64, Int64) = (0, 0)

  package init() {}

  /// names what it means, for stages may come and go with versions
  package var text: String { "\(PayloadStage.all[stage].name).\(row.0).\(row.1)" }

  package init?(_ text: String) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4, let first = Int64(parts[2]), let second = Int64(parts[3]), first >= 0, second >= 0,
      let stage = PayloadStage.all.firstIndex(where: { $0.name == "\(parts[0]).\(parts[1])" })
    else { return nil }
    self.stage = stage
    row = (first, second)
    if self.text != text { return nil }
  }

  package static func == (one: PayloadPosition, other: PayloadPosition) -> Bool {
    one.stage == other.stage && one.row == other.row
  }
}

/// One column of payloads, whose rows are read in the order of their key.
private struct PayloadStage: Sendable {
  /// as ``RecordKind`` has it
  let table: String
  let column: String
  let content: RecordKind.Column.Content
  /// one column or two
  let key: [String]
  /// of the place, where no column says more
  let place: String
  /// the columns of the names, NULL for none
  let names: [String: String]
  /// what is joined for them
  var owner = ""

  var name: String { "\(table).\(column)" }
  /// what a row may hold several of
  var several: RecordKind.Several? { RecordKind.all.first { $0.table == table }?.several }
  /// Whether it is the task's row, where large payloads do not stay.
  var isOfTask: Bool { table == "tasks" && column != "status_message" }

  private static let nameColumns = [
    "session_id", "task_id", "stream_id", "event_type", "tenant_id", "principal", "collection", "key", "field",
  ]

  var select: String {
    let keys = key.count == 1 ? "p.\(key[0]), CAST(0 AS BIGINT)" : key.map { "p." + $0 }.joined(separator: ", ")
    let names = Self.nameColumns.map { self.names[$0] ?? "NULL" }.joined(separator: ", ")
    let behind = key.count == 1 ? "p.\(key[0]) > $1" : "(\(key.map { "p." + $0 }.joined(separator: ", "))) > ($1, $2)"
    let order = key.map { "p." + $0 }.joined(separator: ", ")
    return "SELECT \(keys), p.\(column), \(names) FROM \(table) p\(owner) WHERE \(behind) AND p.\(column) IS NOT NULL "
      + "ORDER BY \(order) LIMIT $\(key.count + 1)"
  }

  var update: String {
    let row = key.enumerated().map { "\($1) = $\($0 + 2)" }.joined(separator: " AND ")
    return "UPDATE \(table) SET \(column) = $1 WHERE \(row) AND \(column) = $\(key.count + 2)"
  }

  static let all = ofSessions + ofTasks

  private static let ofSessions: [PayloadStage] =
    ["client_capabilities", "server_capabilities", "metadata"].map { column in
      PayloadStage(
        table: "sessions", column: column, content: column == "metadata" ? .object : .json, key: ["number"],
        place: "session." + column, names: ["session_id": "p.session_id"])
    } + [
      PayloadStage(
        table: "session_state", column: "value", content: .json, key: ["number"], place: "session.state",
        names: ["session_id": "s.session_id", "key": "p.key"], owner: " JOIN sessions s ON s.number = p.session"),
      PayloadStage(
        table: "events", column: "data", content: .json, key: ["session", "id"], place: "event.data",
        names: ["session_id": "s.session_id", "stream_id": "p.stream_id", "event_type": "p.event_type"],
        owner: " JOIN sessions s ON s.number = p.session"),
      PayloadStage(
        table: "log_entries", column: "entry", content: .object, key: ["session", "seq"], place: "log.entry",
        names: ["session_id": "s.session_id"], owner: " JOIN sessions s ON s.number = p.session"),
    ]

  private static let ofTasks: [PayloadStage] =
    [
      PayloadStage(
        table: "tasks", column: "status_message", content: .text, key: ["number"], place: "task.status_message",
        names: ["task_id": "p.task_id"]),
    ] + TaskField.allCases.map { field in
      PayloadStage(
        table: "tasks", column: field.rawValue, content: field.content, key: ["number"],
        place: "task." + field.rawValue, names: ["task_id": "p.task_id"])
    } + [
      PayloadStage(
        table: "task_payloads", column: "payload", content: .json, key: ["number"], place: "task",
        names: ["task_id": "t.task_id", "field": "p.field"], owner: " JOIN tasks t ON t.number = p.task"),
      PayloadStage(
        table: "task_messages", column: "message", content: .json, key: ["number"], place: "task.message",
        names: ["task_id": "t.task_id"], owner: " JOIN tasks t ON t.number = p.task"),
      PayloadStage(
        table: "named_values", column: "value", content: .json, key: ["number"], place: "value.value",
        names: [
          "tenant_id": "p.tenant_id", "principal": "p.principal", "collection": "p.collection", "key": "p.key",
        ]),
      PayloadStage(
        table: "work", column: "payload", content: .json, key: ["number"], place: "work.payload",
        names: ["collection": "p.queue", "key": "p.work_id"]),
      PayloadStage(
        table: "event_subscriptions", column: "data", content: .json, key: ["number"], place: "event_subscription.data",
        names: ["key": "p.subscription_id"]),
      PayloadStage(
        table: "event_subscriptions", column: "secret", content: .text, key: ["number"],
        place: "event_subscription.secret", names: ["key": "p.subscription_id"]),
      PayloadStage(
        table: "event_subscriptions", column: "previous_secret", content: .text, key: ["number"],
        place: "event_subscription.secret", names: ["key": "p.subscription_id"]),
    ]
}

extension TaskField {
  fileprivate var content: RecordKind.Column.Content {
    switch self {
    case .result: .outcome
    case .inputRequests, .inputResponses: .object
    case .originalParams, .meta: .json
    }
  }
}

/// Payloads as they are stored, whosever they are: for a client that keeps them in a form of its own, and has another
/// one now.
extension Store {
  /// Hands out the payloads behind a position.
  /// - Parameter visit: false ends the page before it
  /// - Returns: whether there are more
  package func listPayloads(
    behind start: PayloadPosition, limit: Int, visit: (PayloadPosition, StoredPayload) throws -> Bool
  ) throws -> Bool {
    try flushSessions()
    var (position, count) = (start, 0)
    while position.stage < PayloadStage.all.count {
      let stage = PayloadStage.all[position.stage]
      if let several = stage.several {
        let hasMore =
          switch several {
          case .events: try list(EventRow.self, behind: &position, limit: limit, &count, visit)
          case .logEntries: try list(LogRow.self, behind: &position, limit: limit, &count, visit)
          }
        if hasMore { return true }
        position.stage += 1
        position.row = (0, 0)
        continue
      }
      var rows = try tables.cursor(.server, composed: stage.select)
      rows.bind(1, position.row.0)
      if stage.key.count == 2 { rows.bind(2, position.row.1) }
      rows.bind(Int32(stage.key.count + 1), Int64(limit - count + 1))
      while try rows.step() {
        if count == limit { return true }
        var next = position
        next.row = (rows.integer(0), rows.integer(1))
        func name(_ column: Int32) -> String? {
          // Values of nobody have the empty name.
          rows.isNull(column) ? nil : rows.string(column).isEmpty ? nil : rows.string(column)
        }
        let payload = StoredPayload(
          place: name(11).map { stage.place + "." + $0 } ?? stage.place, sessionID: name(3), taskID: name(4),
          streamID: name(5), eventType: name(6), tenantID: name(7), principal: name(8), collection: name(9),
          key: name(10), text: rows.string(2))
        if try !visit(next, payload) { return true }
        position = next
        count += 1
      }
      position.stage += 1
      position.row = (0, 0)
    }
    return false
  }

  /// The same of rows that may hold several.
  private func list<Rows: RowOfSeveral & ~Copyable>(
    _: Rows.Type, behind position: inout PayloadPosition, limit: Int, _ count: inout Int,
    _ visit: (PayloadPosition, StoredPayload) throws -> Bool
  ) throws -> Bool {
    let stage = PayloadStage.all[position.stage]
    let columns = Rows.columns.split(separator: " ").map { "p." + $0 }.joined(separator: " ")
    let names = ["stream_id", "event_type"].map { stage.names[$0] ?? "NULL" }.joined(separator: ", ")
    var select = try tables.cursor(
      .server,
      composed: """
        SELECT p.session, \(columns), s.session_id, \(names) FROM \(stage.table) p\(stage.owner)
        WHERE (p.session, p.\(stage.key[1])) > ($1, $2) ORDER BY p.session, p.\(stage.key[1]) LIMIT $3
        """)
    select.bind(1, position.row.0)
    select.bind(2, position.row.1)
    select.bind(3, Int64(limit - count + 1))
    let start = position.row
    var rows = Rows(select, from: 1, after: 0)
    while try rows.step() {
      // The first row may begin before it.
      if (rows.session, rows.number) <= start { continue }
      if count == limit { return true }
      var next = position
      next.row = (rows.session, rows.number)
      let payload = StoredPayload(
        place: stage.place, sessionID: rows.optionalString(behind: 0), taskID: nil,
        streamID: rows.optionalString(behind: 1), eventType: rows.optionalString(behind: 2), tenantID: nil,
        principal: nil, collection: nil, key: nil, text: rows.text)
      if try !visit(next, payload) { return true }
      position = next
      count += 1
    }
    return false
  }

  /// Puts another text in the place of a payload, if it still is the one that was read. To those who read it nothing
  /// has changed: so no revision rises, no session is touched, and no subscriber is told.
  /// - Returns: whether it was
  /// - Throws: `invalidParameter` when it may not stand there, `payloadTooLarge`
  package func replacePayload(_ position: PayloadPosition, _ text: String, with replacement: String) throws -> Bool {
    let stage = PayloadStage.all[position.stage]
    try checkReplacement(replacement, stage)
    try flushSessions()
    if let several = stage.several,
      let isReplaced = try replaceOneOfSeveral(several, position, text, with: replacement)
    {
      return isReplaced
    }
    var update = try tables.statement(.server, composed: stage.update)
    update.bind(1, replacement)
    update.bind(2, position.row.0)
    if stage.key.count == 2 { update.bind(3, position.row.1) }
    update.bind(Int32(stage.key.count + 2), text)
    try update.run()
    if tables.changes == 0 { return false }
    if stage.isOfTask, replacement.utf8.count > TaskField.ownBytes { try setApart(stage.column, of: position.row.0) }
    if stage.table == "session_state" {
      var count = try tables.statement(
        .server,
        """
        UPDATE sessions SET state_bytes = state_bytes + $1
        WHERE number = (SELECT session FROM session_state WHERE number = $2)
        """)
      count.bind(1, Int64(replacement.utf8.count - text.utf8.count))
      count.bind(2, position.row.0)
      try count.run()
    }
    foreseen.removeAll()
    // Their rows are remembered.
    if ["sessions", "session_state"].contains(stage.table) { cache.removeAll() }
    return true
  }

  /// Replaces a payload that shares its row with others.
  /// - Returns: nil for one that does not
  private func replaceOneOfSeveral(
    _ several: RecordKind.Several, _ position: PayloadPosition, _ text: String, with replacement: String
  ) throws -> Bool? {
    let stage = PayloadStage.all[position.stage]
    let number = stage.key[1]
    var select = try tables.statement(
      .server,
      composed: """
        SELECT session, first_\(number) FROM \(stage.table) WHERE session = $1 AND \(number) >= $2
        ORDER BY \(number) LIMIT 1
        """)
    select.bind(1, position.row.0)
    select.bind(2, position.row.1)
    guard try select.step(), let first = select.optionalInteger(1), first <= position.row.1 else { return nil }
    let session = SessionNumber(select, 0)
    select.reset()
    var isReplaced = false
    let new = Payload(own: try JSONText(replacement))
    func change(_ number: Int64, _ old: JSONText) -> Payload {
      guard number == position.row.1, old.bytes.elementsEqual(text.utf8) else { return Payload(own: old) }
      isReplaced = true
      return new
    }
    switch several {
    case .events: try rewriteEvents(of: session, holding: position.row.1, change)
    case .logEntries: try rewriteLogEntries(of: session, holding: position.row.1, change)
    }
    return isReplaced
  }

  /// Takes a payload that has become large out of its task's row.
  private func setApart(_ field: String, of task: Int64) throws {
    for sql in [
      "INSERT INTO task_payloads (task, field, payload) "
        + "SELECT number, '\(field)', \(field) FROM tasks WHERE number = $1",
      "UPDATE tasks SET \(field) = NULL, payloads_apart = payloads_apart + 1 WHERE number = $1",
    ] {
      var statement = try tables.statement(.server, composed: sql)
      statement.bind(1, task)
      try statement.run()
    }
  }

  private func checkReplacement(_ text: String, _ stage: PayloadStage) throws {
    if limits.maxPayloadBytes > 0, text.utf8.count > limits.maxPayloadBytes {
      throw StoreError.payloadTooLarge(what: "'replacement'", limit: limits.maxPayloadBytes)
    }
    if case .text = stage.content { return }
    guard let json = try? JSONText(text) else {
      throw StoreError.invalidParameter(name: "replacement", expected: "a payload as the text of JSON")
    }
    if let expectation = RecordRules.expectation(stage.content, json) {
      throw StoreError.invalidParameter(name: "replacement", expected: "\(expectation), as the text of JSON")
    }
  }
}
