import Database
package import JSON

/// What of a task can be large. It stands beside the task's row and is read only to be shown.
package enum TaskField: String, Sendable, CaseIterable {
  case originalParams = "original_params"
  /// {"success": …} or {"error": …}
  case result
  /// what is still asked for
  case inputRequests = "input_requests"
  /// everything that was ever answered
  case inputResponses = "input_responses"
  case meta
}

/// The payloads of one task, as they were stored.
package struct TaskPayloads {
  private var texts: (JSONText?, JSONText?, JSONText?, JSONText?, JSONText?) = (nil, nil, nil, nil, nil)

  package init() {}

  package subscript(_ field: TaskField) -> JSONText? {
    get {
      switch field {
      case .originalParams: texts.0
      case .result: texts.1
      case .inputRequests: texts.2
      case .inputResponses: texts.3
      case .meta: texts.4
      }
    }
    set {
      switch field {
      case .originalParams: texts.0 = newValue
      case .result: texts.1 = newValue
      case .inputRequests: texts.2 = newValue
      case .inputResponses: texts.3 = newValue
      case .meta: texts.4 = newValue
      }
    }
  }
}

extension Store {
  /// Which payloads a task has; their text is not read.
  func taskFields(_ task: TaskNumber) throws -> Set<TaskField> {
    var select = try tables.statement(of: task, "SELECT field FROM task_payloads WHERE task = $1")
    var fields: Set<TaskField> = []
    while try select.step() {
      if let field = TaskField(rawValue: select.string(0)) { fields.insert(field) }
    }
    return fields
  }

  func taskPayload(_ task: TaskNumber, _ field: TaskField) throws -> JSONText? {
    var select = try tables.statement(of: task, "SELECT payload FROM task_payloads WHERE task = $1 AND field = $2")
    select.bind(2, field.rawValue)
    return try select.step() ? select.json(0) : nil
  }

  /// All of them in one statement: to ask for each by its name takes as long again.
  func taskPayloads(_ task: TaskNumber) throws -> TaskPayloads {
    var select = try tables.statement(of: task, "SELECT field, payload FROM task_payloads WHERE task = $1")
    var payloads = TaskPayloads()
    while try select.step() {
      if let field = TaskField(rawValue: select.string(0)) { payloads[field] = select.json(1) }
    }
    return payloads
  }

  /// Replaces a payload; nil removes it.
  func setTaskPayload(_ task: TaskNumber, _ field: TaskField, _ payload: Payload?) throws {
    guard let payload else {
      var delete = try tables.statement(of: task, "DELETE FROM task_payloads WHERE task = $1 AND field = $2")
      delete.bind(2, field.rawValue)
      return try delete.run()
    }
    var upsert = try tables.statement(
      of: task,
      """
      INSERT INTO task_payloads (task, field, payload) VALUES ($1, $2, $3)
      ON CONFLICT (task, field) DO UPDATE SET payload = excluded.payload
      """)
    upsert.bind(2, field.rawValue)
    upsert.bind(3, payload)
    try upsert.run()
  }

  func deleteTaskPayloads(_ task: TaskNumber) throws {
    var delete = try tables.statement(of: task, "DELETE FROM task_payloads WHERE task = $1")
    try delete.run()
  }
}

/// Taking out of the rows of tasks what versions 1 and 2 of the schema kept in them, and counting what belongs to each.
/// It finds nothing to do where that has been done.
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
          SELECT number, '\(field.rawValue)', \(field.rawValue) FROM tasks WHERE \(field.rawValue) IS NOT NULL
          """)
      try move.run()
    }
    for task in try tasksWithKeys(connection) { try moveKeys(of: task, connection) }
    let columns = TaskField.allCases.map(\.rawValue) + ["input_keys"]
    for sql in [
      """
      UPDATE tasks SET \(columns.map { "\($0) = NULL" }.joined(separator: ", "))
      WHERE \(columns.map { "\($0) IS NOT NULL" }.joined(separator: " OR "))
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
    for key in keys.elements() {
      guard let key = key.decodedString else { continue }
      var insert = try connection.statement(
        "INSERT INTO task_input_keys (task, key) VALUES ($1, $2) ON CONFLICT (task, key) DO NOTHING")
      insert.bind(1, task)
      insert.bind(2, key)
      try insert.run()
    }
  }
}
