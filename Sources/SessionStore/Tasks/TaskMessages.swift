import Database
package import JSON

/// A message in the queue of a task.
struct QueuedMessage {
  let number: Int64
  let message: JSONText
}

/// The durable first-in-first-out queue of a task. How many messages it holds stands in the task's row, so that no
/// call counts them.
extension Store {
  /// - Parameter maxSize: messages that the queue may hold then; nil: the store's limit
  /// - Returns: how many it holds now
  /// - Throws: `taskNotFound`, `queueFull`, `payloadTooLarge`
  package func enqueueTaskMessage(
    _ taskID: String, _ message: JSONText, maxSize: Int64?, scope: TaskScope
  ) throws -> Int64 {
    let message = try payload(message, "message")
    let task = try task(taskID, scope: scope)
    let limit = maxSize ?? (limits.maxTaskMessages > 0 ? Int64(limits.maxTaskMessages) : .max)
    if task.queueSize >= limit { throw StoreError.queueFull(limit: Int(limit)) }
    var insert = try tables.statement(
      of: task.number, "INSERT INTO task_messages (task, message) VALUES ($1, $2)")
    insert.bind(2, message)
    try insert.run()
    noteMade(1)
    try setQueueSize(task.queueSize + 1, task)
    return task.queueSize + 1
  }

  /// Takes messages from the front of the queue.
  /// - Parameters:
  ///   - limit: messages at most
  ///   - visit: gets each message; false leaves it and what is behind it in the queue
  /// - Returns: how many are left
  package func dequeueTaskMessages(
    _ taskID: String, limit: Int64 = .max, scope: TaskScope, visit: (JSONText) throws -> Bool
  ) throws -> Int64 {
    let task = try task(taskID, scope: scope)
    let read = try takeForeseen(task, limit, visit)
      ?? readMessages(task, after: 0, limit: limit) { message, _ in try visit(message) }
    guard let last = read.last else { return task.queueSize }
    var delete = try tables.statement(
      of: task.number, "DELETE FROM task_messages WHERE task = $1 AND number <= $2")
    delete.bind(2, last)
    try delete.run()
    try setQueueSize(task.queueSize - read.count, task)
    return task.queueSize - read.count
  }

  /// Looks at the queue and takes nothing.
  /// - Parameters:
  ///   - after: the number of a message; 0: from the front
  ///   - visit: gets each message and its number; false ends the page before it
  /// - Returns: how many messages the queue holds, and whether there are more behind the page
  package func peekTaskMessages(
    _ taskID: String, after: Int64, limit: Int64, scope: TaskScope, visit: (JSONText, Int64) throws -> Bool
  ) throws -> (size: Int64, hasMore: Bool) {
    let task = try task(taskID, scope: scope)
    if limit == 0 { return (task.queueSize, task.queueSize > 0) }
    let read = try readMessages(task, after: after, limit: limit, visit: visit)
    return (task.queueSize, read.hasMore)
  }

  private typealias ReadMessages = (last: Int64?, count: Int64, hasMore: Bool)

  /// The one at the front, where that is all that is wanted and it was read ahead.
  private func takeForeseen(
    _ task: TaskRecord, _ limit: Int64, _ visit: (JSONText) throws -> Bool
  ) throws -> ReadMessages? {
    if isShared, limit == 1, let first = foreseen.takeMessage(of: task.number), try visit(first.message) {
      return (first.number, 1, false)
    }
    // What is taken otherwise is not at the front any more.
    foreseen.forgetMessages()
    return nil
  }

  /// One message after the other: only the one that is visited is in memory.
  private func readMessages(
    _ task: TaskRecord, after: Int64, limit: Int64, visit: (JSONText, Int64) throws -> Bool
  ) throws -> ReadMessages {
    var (last, count) = (Int64?.none, Int64(0))
    if task.queueSize == 0 { return (nil, 0, false) }
    var select = try tables.cursor(
      of: task.number, "SELECT number, message FROM task_messages WHERE task = $1 AND number > $2 ORDER BY number")
    select.bind(2, after)
    while try select.step() {
      let number = select.integer(0)
      if try count == limit || !visit(select.json(1) ?? .null, number) { return (last, count, true) }
      (last, count) = (number, count + 1)
    }
    return (last, count, false)
  }

  private func setQueueSize(_ size: Int64, _ task: TaskRecord) throws {
    var update = try tables.statement(of: task.number, as: 2, "UPDATE tasks SET queue_size = $1 WHERE number = $2")
    update.bind(1, size)
    try update.run()
    var task = task
    task.queueSize = size
    foresee(task)
  }

  /// Deletes some from the front.
  /// - Returns: how many
  func deleteTaskMessages(_ task: TaskNumber, limit: Int64) throws -> Int64 {
    var delete = try tables.statement(
      of: task,
      """
      DELETE FROM task_messages WHERE number IN
        (SELECT number FROM task_messages WHERE task = $1 ORDER BY number LIMIT $2)
      """)
    delete.bind(2, limit)
    try delete.run()
    let deleted = tables.changes
    var update = try tables.statement(
      of: task, as: 2, "UPDATE tasks SET queue_size = queue_size - $1 WHERE number = $2")
    update.bind(1, deleted)
    try update.run()
    foreseen.forgetTasks()
    foreseen.forgetMessages()
    return deleted
  }

  func deleteTaskMessages(_ task: TaskNumber) throws {
    var delete = try tables.statement(of: task, "DELETE FROM task_messages WHERE task = $1")
    try delete.run()
  }
}
