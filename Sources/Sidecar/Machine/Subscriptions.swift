import JSON
import JSONRPC
import SessionStore

/// What clients of this process wait for. A subscription is a cursor, not a buffer: it is read on as the output drains.
struct Subscriptions {
  struct EventSubscription {
    let id: String
    var reader: EventReader
    /// whether there may be something to read
    var isDue = true
  }

  struct TaskSubscription {
    let id: String
    var reader: TaskReader
    var isDue = true
  }

  private var counter = 0
  /// whose turn it is, so that one with a long backlog does not keep the others waiting
  private var turn = 0
  var events: [EventSubscription] = []
  var tasks: [TaskSubscription] = []

  var isEmpty: Bool { events.isEmpty && tasks.isEmpty }
  var count: Int { events.count + tasks.count }

  mutating func add(_ reader: EventReader, limit: Int) throws -> String {
    try makeRoom(limit)
    let id = nextID("events")
    events.append(EventSubscription(id: id, reader: reader))
    return id
  }

  mutating func add(_ reader: TaskReader, limit: Int) throws -> String {
    try makeRoom(limit)
    let id = nextID("tasks")
    tasks.append(TaskSubscription(id: id, reader: reader))
    return id
  }

  private func makeRoom(_ limit: Int) throws {
    if limit > 0, count >= limit {
      throw ErrorKind.maxSubscriptionsReached.error(
        "There are \(limit) subscriptions, the limit; unsubscribe some or raise --max-subscriptions.",
        [("limit", .integer(Int64(limit)))])
    }
  }

  private mutating func nextID(_ kind: String) -> String {
    counter += 1
    return "\(kind)-\(counter)"
  }

  mutating func remove(_ id: String) -> Bool {
    let before = count
    events.removeAll { $0.id == id }
    tasks.removeAll { $0.id == id }
    return count < before
  }

  /// Remembers who has something to read after a commit of this process.
  mutating func noteChanges(_ sessions: Set<SessionNumber>, tasks: Bool) {
    for index in events.indices where sessions.contains(events[index].reader.session) { events[index].isDue = true }
    if tasks { for index in self.tasks.indices { self.tasks[index].isDue = true } }
  }

  /// Everyone may have something to read: another process wrote, or time has passed.
  mutating func noteAll() {
    for index in events.indices { events[index].isDue = true }
    for index in tasks.indices { tasks[index].isDue = true }
  }

  var hasDue: Bool { events.contains { $0.isDue } || tasks.contains { $0.isDue } }

  /// The next subscriber in turn that may have something to read.
  mutating func nextDueEvents() -> Int? {
    for offset in events.indices {
      let index = (turn + offset) % events.count
      if events[index].isDue {
        turn = index + 1
        return index
      }
    }
    return nil
  }

  static let unsubscribe = Method(
    name: "unsubscribe", summary: "Ends a subscription.", access: .none, isTransactional: false,
    parameters: [.required(.subscriptionID, .name, "What a subscribe method gave.")],
    result: .members([("unsubscribed", .boolean)]),
    example: (#"{"subscription_id":"events-1"}"#, #"{"unsubscribed":true}"#)
  ) { sidecar, call, writer in
    let removed = sidecar.subscriptions.remove(call.string(.subscriptionID))
    writer.beginObject()
    writer.member("unsubscribed", removed)
    writer.endObject()
  }
}
