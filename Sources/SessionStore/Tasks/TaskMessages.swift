package import JSON
import SQLite

/// The durable first-in-first-out queue of a task.
extension Store {
  /// - Parameter maxSize: messages that the queue may hold then; nil: the store's limit
  /// - Returns: how many it holds now
  /// - Throws: `taskNotFound`, `queueFull`
  package func enqueueTaskMessage(
    _ taskID: String, _ message: JSONText, maxSize: Int64?, scope: TaskScope
  ) throws -> Int64 {
    let task = try task(taskID, scope: scope).number
    let size = try queueSize(task)
    let limit = maxSize ?? (limits.maxTaskMessages > 0 ? Int64(limits.maxTaskMessages) : .max)
    if size >= limit { throw StoreError.queueFull(limit: Int(limit)) }
    var insert = try tables.statement(
      of: task, "INSERT INTO task_messages (task, message) VALUES ($1, $2)")
    insert.bind(2, message)
    try insert.run()
    return size + 1
  }

  /// Takes messages from the front of the queue.
  /// - Parameter visit: gets each message; false leaves it and what is behind it in the queue
  /// - Returns: whether messages are left
  package func dequeueTaskMessages(
    _ taskID: String, scope: TaskScope, visit: (JSONText) throws -> Bool
  ) throws -> Bool {
    let task = try task(taskID, scope: scope).number
    var last: Int64?
    var isStopped = false
    do {
      var select = try tables.statement(
        of: task,
        "SELECT number, message FROM task_messages WHERE task = $1 ORDER BY number")
      while try !isStopped && select.step() {
        if try visit(select.json(1) ?? .null) {
          last = select.integer(0)
        } else {
          isStopped = true
        }
      }
    }
    if let last {
      var delete = try tables.statement(
        of: task, "DELETE FROM task_messages WHERE task = $1 AND number <= $2")
      delete.bind(2, last)
      try delete.run()
    }
    return isStopped
  }

  private func queueSize(_ task: TaskNumber) throws -> Int64 {
    var select = try tables.statement(
      of: task, "SELECT count(*) FROM task_messages WHERE task = $1")
    return try select.step() ? select.integer(0) : 0
  }
}
