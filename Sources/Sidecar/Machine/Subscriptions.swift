import JSON
import JSONRPC
import SessionStore

/// What clients of this process wait for, found by what they wait for. A subscription is a cursor, not a buffer: it is
/// read on as the output drains.
struct Subscriptions {
  enum Reader {
    case events(EventReader)
    case tasks(TaskReader)
  }

  struct Subscription {
    let number: Int
    var reader: Reader
    /// whether there may be something to read
    var isDue = false
    /// when it is in ``Subscriptions/deadlines`` for the first time
    fileprivate var watched: Int64?

    init(number: Int, reader: Reader) {
      self.number = number
      self.reader = reader
    }

    /// when it is to be looked at although nothing has changed
    var deadline: Int64? {
      switch reader {
      case .events(let reader): reader.deadline
      case .tasks(let reader): reader.deadline
      }
    }

    var id: String {
      switch reader {
      case .events: "events-\(number)"
      case .tasks: "tasks-\(number)"
      }
    }
  }

  /// What a request did, for the case that it is taken back.
  private enum Change {
    case opened(Int)
    case closed(Subscription)
  }

  struct Mark {
    fileprivate let counter: Int
    fileprivate let changes: Int
  }

  private var counter = 0
  private var open: [Int: Subscription] = [:]
  private var bySession: [SessionNumber: Set<Int>] = [:]
  private var byTask: [TaskNumber: Set<Int>] = [:]
  private var byTasksOfSession: [SessionNumber: Set<Int>] = [:]
  private var due = Queue()
  private var deadlines = Deadlines()
  private var changes: [Change] = []

  var isEmpty: Bool { open.isEmpty }
  var count: Int { open.count }

  // MARK: - Opening and closing

  /// - Returns: its id
  /// - Throws: `max_subscriptions_reached`
  mutating func add(_ reader: Reader, limit: Int) throws -> String {
    if limit > 0, count >= limit {
      throw ErrorKind.maxSubscriptionsReached.error(
        "There are \(limit) subscriptions, the limit; unsubscribe some or raise --max-subscriptions.",
        [("limit", .integer(Int64(limit)))])
    }
    counter += 1
    let subscription = Subscription(number: counter, reader: reader)
    insert(subscription)
    changes.append(.opened(counter))
    return subscription.id
  }

  /// - Returns: whether it was open
  mutating func remove(_ id: String) -> Bool {
    guard let end = id.utf8.lastIndex(of: UInt8(ascii: "-")), let number = Int(id[id.utf8.index(after: end)...]),
      open[number]?.id.isSame(as: id) == true, let removed = take(number)
    else { return false }
    changes.append(.closed(removed))
    return true
  }

  var mark: Mark { Mark(counter: counter, changes: changes.count) }

  /// Takes back what was opened and closed since. What nobody was told the id of gives its number back.
  mutating func rewind(to mark: Mark) {
    while changes.count > mark.changes, let change = changes.popLast() {
      switch change {
      case .opened(let number): _ = take(number)
      case .closed(let subscription): insert(subscription)
      }
    }
    counter = mark.counter
  }

  var isSettled: Bool { changes.isEmpty }

  /// What was opened and closed holds.
  mutating func settle() { changes.removeAll(keepingCapacity: true) }

  // MARK: - The index

  /// Takes a subscription out, to close it or to read on.
  mutating func take(_ number: Int) -> Subscription? {
    guard let subscription = open.removeValue(forKey: number) else { return nil }
    index(subscription, isOpen: false)
    return subscription
  }

  /// Puts one in, or back after it was read on.
  /// - Parameter hasMore: whether it is to get another turn
  mutating func insert(_ subscription: Subscription, hasMore: Bool = true) {
    var subscription = subscription
    subscription.isDue = false
    let number = subscription.number
    index(subscription, isOpen: true)
    open[number] = subscription
    watch(number)
    if hasMore { makeDue(number) }
  }

  private mutating func index(_ subscription: Subscription, isOpen: Bool) {
    let number = subscription.number
    switch subscription.reader {
    case .events(let reader): Self.index(&bySession, reader.session, number, isOpen)
    case .tasks(let reader):
      if let task = reader.task {
        Self.index(&byTask, task, number, isOpen)
      } else if let session = reader.session {
        Self.index(&byTasksOfSession, session.number, number, isOpen)
      }
    }
  }

  private static func index<Key>(_ index: inout [Key: Set<Int>], _ key: Key, _ number: Int, _ isOpen: Bool) {
    if isOpen {
      index[key, default: []].insert(number)
    } else {
      index[key]?.remove(number)
      if index[key]?.isEmpty == true { index[key] = nil }
    }
  }

  // MARK: - Who is due

  /// Remembers who has something to read after a commit of this process.
  mutating func note(_ changes: StoreChanges) {
    var numbers: Set<Int> = []
    for session in changes.sessions { numbers.formUnion(bySession[session] ?? []) }
    for task in changes.tasks { numbers.formUnion(byTask[task] ?? []) }
    for session in changes.sessionsOfTasks { numbers.formUnion(byTasksOfSession[session] ?? []) }
    for number in numbers.sorted() { makeDue(number) }
  }

  /// Everyone may have something to read: another process wrote.
  mutating func noteAll() {
    for number in open.keys.sorted() { makeDue(number) }
  }

  /// Those whose deadline has come have something to read, be it their end.
  mutating func noteDeadlines(at now: Int64) {
    while let first = deadlines.first, first.time <= now {
      deadlines.removeFirst()
      guard open[first.number]?.watched == first.time else { continue }
      open[first.number]?.watched = nil
      if let deadline = open[first.number]?.deadline, deadline <= now { makeDue(first.number) }
      watch(first.number)
    }
  }

  /// Sees to it that the deadline is noticed. One that moved away is left where it stood, and moved when that comes:
  /// a session's does with every write.
  private mutating func watch(_ number: Int) {
    guard let subscription = open[number], let deadline = subscription.deadline, !subscription.isDue,
      subscription.watched.map({ deadline < $0 }) ?? true
    else { return }
    open[number]?.watched = deadline
    deadlines.add(deadline, number)
    if deadlines.count > 2 * open.count + 64 {
      deadlines = Deadlines()
      for entry in open.values { if let watched = entry.watched { deadlines.add(watched, entry.number) } }
    }
  }

  /// when the next deadline comes
  var nextDeadline: Int64? { deadlines.first?.time }

  private mutating func makeDue(_ number: Int) {
    guard open[number]?.isDue == false else { return }
    open[number]?.isDue = true
    due.append(number)
  }

  var hasDue: Bool { !due.isEmpty }

  /// Takes out the next one in turn that may have something to read; ``insert(_:hasMore:)`` it again when it goes on.
  mutating func takeDue() -> Subscription? {
    while let number = due.popFirst() {
      if open[number]?.isDue == true { return take(number) }
    }
    return nil
  }

  static let unsubscribe = Method(
    name: "unsubscribe", summary: "Ends a subscription.", access: .none, isTransactional: false,
    parameters: [.required(.subscriptionID, .name, "What a subscribe method gave.")],
    result: .members([("unsubscribed", .boolean)]),
    example: (#"{"subscription_id":"events-1"}"#, #"{"unsubscribed":true}"#)
  ) { sidecar, call, writer in
    let removed = sidecar.group.answers.subscriptions.remove(call.string(.subscriptionID))
    writer.beginObject()
    writer.member("unsubscribed", removed)
    writer.endObject()
  }
}

/// Numbers in the order in which they came.
private struct Queue {
  private var numbers: [Int] = []
  private var first = 0

  var isEmpty: Bool { first == numbers.count }

  mutating func append(_ number: Int) { numbers.append(number) }

  mutating func popFirst() -> Int? {
    if isEmpty { return nil }
    first += 1
    let number = numbers[first - 1]
    if first * 2 >= numbers.count {
      numbers.removeFirst(first)
      first = 0
    }
    return number
  }
}

/// Times by which something is to be looked at, the earliest first: a binary heap.
private struct Deadlines {
  private var entries: [(time: Int64, number: Int)] = []

  var first: (time: Int64, number: Int)? { entries.first }
  var count: Int { entries.count }

  mutating func add(_ time: Int64, _ number: Int) {
    entries.append((time, number))
    var child = entries.count - 1
    while child > 0, entries[child].time < entries[(child - 1) / 2].time {
      entries.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  mutating func removeFirst() {
    entries.swapAt(0, entries.count - 1)
    entries.removeLast()
    var parent = 0
    while true {
      let children = (2 * parent + 1..<min(2 * parent + 3, max(2 * parent + 1, entries.count)))
      guard let least = children.min(by: { entries[$0].time < entries[$1].time }),
        entries[least].time < entries[parent].time
      else { return }
      entries.swapAt(parent, least)
      parent = least
    }
  }
}
