import Database
package import JSON

/// What of a task can be large. Then it stands apart from the task's row and is read only to be shown.
package enum TaskField: String, Sendable, CaseIterable {
  case originalParams = "original_params"
  /// {"success": …} or {"error": …}
  case result
  /// what is still asked for
  case inputRequests = "input_requests"
  /// everything that was ever answered
  case inputResponses = "input_responses"
  case meta

  /// Payloads of at most so many bytes stand in the row of the task, which is read and written for every call about it.
  static let ownBytes = 512
}

/// The payloads of one task, as they were stored.
package struct TaskPayloads {
  package private(set) var originalParams, result, inputRequests, inputResponses, meta: JSONText?

  package init() {}

  package subscript(_ field: TaskField) -> JSONText? {
    get {
      switch field {
      case .originalParams: originalParams
      case .result: result
      case .inputRequests: inputRequests
      case .inputResponses: inputResponses
      case .meta: meta
      }
    }
    set {
      switch field {
      case .originalParams: originalParams = newValue
      case .result: result = newValue
      case .inputRequests: inputRequests = newValue
      case .inputResponses: inputResponses = newValue
      case .meta: meta = newValue
      }
    }
  }
}

extension TaskPayloads {
  /// Those that stand in the task's row.
  /// - Parameter column: the first of the five
  init(_ row: borrowing Statement, from column: Int32) {
    originalParams = row.json(column)
    result = row.json(column + 1)
    inputRequests = row.json(column + 2)
    inputResponses = row.json(column + 3)
    meta = row.json(column + 4)
  }

  /// - Parameter index: the first of the five parameters
  func bind(to statement: inout Statement, from index: Int32) {
    statement.bind(index, originalParams.map { Payload(own: $0) })
    statement.bind(index + 1, result.map { Payload(own: $0) })
    statement.bind(index + 2, inputRequests.map { Payload(own: $0) })
    statement.bind(index + 3, inputResponses.map { Payload(own: $0) })
    statement.bind(index + 4, meta.map { Payload(own: $0) })
  }
}

extension Store {
  /// Which payloads of a task stand apart; their text is not read.
  func fieldsApart(_ task: TaskNumber) throws -> Set<TaskField> {
    var select = try tables.statement(of: task, "SELECT field FROM task_payloads WHERE task = $1")
    var fields: Set<TaskField> = []
    while try select.step() {
      if let field = TaskField(rawValue: select.string(0)) { fields.insert(field) }
    }
    return fields
  }

  func payloadApart(_ task: TaskNumber, _ field: TaskField) throws -> JSONText? {
    var select = try tables.statement(of: task, "SELECT payload FROM task_payloads WHERE task = $1 AND field = $2")
    select.bind(2, field.rawValue)
    return try select.step() ? select.json(0) : nil
  }

  /// All of them in one statement: to ask for each by its name takes as long again.
  func payloadsApart(_ task: TaskNumber, with own: TaskPayloads) throws -> TaskPayloads {
    var select = try tables.statement(of: task, "SELECT field, payload FROM task_payloads WHERE task = $1")
    var payloads = own
    while try select.step() {
      if let field = TaskField(rawValue: select.string(0)) { payloads[field] = select.json(1) }
    }
    return payloads
  }

  /// Replaces a payload; nil removes it. What goes into the task's row is written with it: ``write(_:_:)``.
  func setPayload(_ task: inout TaskRecord, _ field: TaskField, _ payload: Payload?) throws {
    let own = payload.flatMap { $0.text.bytes.count <= TaskField.ownBytes ? $0.text : nil }
    if own != nil || task.ownPayloads[field] != nil {
      task.ownPayloads[field] = own
      task.hasNewPayloads = true
    }
    if task.payloadsApart > 0 {
      var delete = try tables.statement(
        of: task.number, "DELETE FROM task_payloads WHERE task = $1 AND field = $2")
      delete.bind(2, field.rawValue)
      try delete.run()
      if tables.changes > 0 { (task.payloadsApart, task.hasNewPayloads) = (task.payloadsApart - 1, true) }
    }
    guard let payload, own == nil else { return }
    var insert = try tables.statement(
      of: task.number, "INSERT INTO task_payloads (task, field, payload) VALUES ($1, $2, $3)")
    insert.bind(2, field.rawValue)
    try insert.run(binding: 3, payload)
    (task.payloadsApart, task.hasNewPayloads) = (task.payloadsApart + 1, true)
  }

  func deletePayloadsApart(_ task: TaskNumber) throws {
    var delete = try tables.statement(of: task, "DELETE FROM task_payloads WHERE task = $1")
    try delete.run()
  }
}

/// Taking out of the rows of tasks what stood in them until version 3 of the schema and does not belong there any more,
/// and counting what belongs to each. It finds nothing to do where that has been done.
enum TaskSplit {
  static func run(in connection: Connection) throws {
    do {
      var any = try connection.statement("SELECT 1 FROM tasks LIMIT 1")
      if try !any.step() { return }
    }
    for field in TaskField.allCases {
      var move = try connection.statement(
        composed: """
          INSERT INTO task_payloads (task, field, payload)
          SELECT number, '\(field.rawValue)', \(field.rawValue) FROM tasks WHERE \(isLarge(field, connection.dialect))
          """)
      try move.run()
      var leave = try connection.statement(
        composed: "UPDATE tasks SET \(field.rawValue) = NULL WHERE \(isLarge(field, connection.dialect))")
      try leave.run()
    }
    for task in try tasksWithKeys(connection) { try moveKeys(of: task, connection) }
    for sql in [
      "UPDATE tasks SET input_keys = NULL WHERE input_keys IS NOT NULL",
      """
      UPDATE tasks SET payloads_apart = (SELECT count(*) FROM task_payloads WHERE task = tasks.number)
      WHERE number IN (SELECT task FROM task_payloads)
      """,
      """
      UPDATE tasks SET queue_size = (SELECT count(*) FROM task_messages WHERE task = tasks.number)
      WHERE number IN (SELECT task FROM task_messages)
      """,
      """
      UPDATE tasks SET input_keys_used = (SELECT count(*) FROM task_input_keys WHERE task = tasks.number)
      WHERE number IN (SELECT task FROM task_input_keys)
      """,
    ] {
      var update = try connection.statement(composed: sql)
      try update.run()
    }
  }

  private static func isLarge(_ field: TaskField, _ dialect: Dialect) -> String {
    "\(dialect.byteLength(field.rawValue)) > \(TaskField.ownBytes)"
  }

  private static func tasksWithKeys(_ connection: Connection) throws -> [Int64] {
    var select = try connection.statement("SELECT number FROM tasks WHERE input_keys IS NOT NULL")
    var tasks: [Int64] = []
    while try select.step() { tasks.append(select.integer(0)) }
    return tasks
  }

  /// Not by SQLite's functions for JSON: a key may hold what they cut off, such as a NUL.
  private static func moveKeys(of task: Int64, _ connection: Connection) throws {
    var select = try connection.statement("SELECT input_keys FROM tasks WHERE number = $1")
    select.bind(1, task)
    guard try select.step(), let keys = select.json(0) else { return }
    for key in keys.elements {
      guard let key = key.decodedString else { continue }
      var insert = try connection.statement(
        "INSERT INTO task_input_keys (task, key) VALUES ($1, $2) ON CONFLICT (task, key) DO NOTHING")
      insert.bind(1, task)
      insert.bind(2, key)
      try insert.run()
    }
  }
}
