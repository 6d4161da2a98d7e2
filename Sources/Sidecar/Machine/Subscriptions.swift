import JSON
import JSONRPC
import SessionStore

/// What clients of this process wait for, found by what they wait for. A subscription is a cursor, not a buffer: it is
/// read on as the output drains.
struct Subscriptions {
  enum Reader {
    case events(EventReader)
    case tasks(TaskReader)
    case work(WorkReader)
  }

  /// How a subscriber wants to be told, beside what it is told of.
  struct Manner {
    /// of events, and of all else when it is not JSON
    var format = EventFormat.json
    var heartbeat: Heartbeat?
    /// what it is told first
    var greeting: Greeting?
  }

  /// A sign of life at regular intervals, so that whoever lies in between keeps the connection.
  struct Heartbeat {
    /// milliseconds
    let interval: Int64
    /// when the next one is due
    fileprivate(set) var next: Int64

    init(interval: Int64, now: Int64) {
      self.interval = interval
      next = (Saturating(now) + interval).value
    }

    /// Whether it is time; the next one is due an interval later, however late this one is.
    mutating func beats(at now: Int64) -> Bool {
      if now < next { return false }
      next = (Saturating(now) + interval).value
      return true
    }

    /// No later than an interval from now.
    fileprivate mutating func rearm(at now: Int64) {
      next = min(next, (Saturating(now) + interval).value)
    }
  }

  /// What a subscriber is told first, when it asks for it.
  struct Greeting {
    let taskID: String?
    let sessionID: String?
    let owners: Owners
    /// of work
    var queue: String?
  }

  struct Subscription {
    let number: Int
    var reader: Reader
    var manner: Manner
    /// whether it waits for its turn
    fileprivate(set) var isDue = false
    /// whether there may be something to read; else it waits for its turn to give a sign of life
    fileprivate(set) var hasNews = false
    /// when it is in ``Subscriptions/deadlines`` for the first time
    fileprivate var watched: Int64?

    init(number: Int, reader: Reader, manner: Manner) {
      self.number = number
      self.reader = reader
      self.manner = manner
    }

    /// when it is to be looked at although nothing has changed
    var deadline: Int64? {
      guard let beat = manner.heartbeat?.next else { return readerDeadline }
      return min(beat, readerDeadline ?? beat)
    }

    fileprivate var readerDeadline: Int64? {
      switch reader {
      case .events(let reader): reader.deadline
      case .tasks(let reader): reader.deadline
      case .work(let reader): reader.deadline
      }
    }

    var id: String {
      switch reader {
      case .events: "events-\(number)"
      case .tasks: "tasks-\(number)"
      case .work: "work-\(number)"
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
  private var byQueue: [String: Set<Int>] = [:]
  private var due = Queue()
  private var deadlines = Deadlines()
  private var changes: [Change] = []
  /// when the clock was looked at last
  private var lastLook: Int64 = 0

  var isEmpty: Bool { open.isEmpty }
  var count: Int { open.count }

  // MARK: - Opening and closing

  /// - Returns: its id
  /// - Throws: `max_subscriptions_reached`
  mutating func add(_ reader: Reader, _ manner: Manner, limit: Int, at now: Int64) throws -> String {
    if limit > 0, count >= limit {
      throw ErrorKind.maxSubscriptionsReached.error(
        "There are \(limit) subscriptions, the limit; unsubscribe some or raise --max-subscriptions.",
        [("limit", .integer(Int64(limit)))])
    }
    look(at: now)
    counter += 1
    let subscription = Subscription(number: counter, reader: reader, manner: manner)
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
    subscription.hasNews = false
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
    case .work(let reader): Self.index(&byQueue, reader.queue, number, isOpen)
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
    for (queue, time) in changes.wakes {
      for number in byQueue[queue] ?? [] {
        guard case .work(var reader) = open[number]?.reader else { continue }
        reader.note(wakingAt: time)
        open[number]?.reader = .work(reader)
        watch(number)
      }
    }
    for queue in changes.queues { numbers.formUnion(byQueue[queue] ?? []) }
    for number in numbers.sorted() { makeDue(number) }
  }

  /// Everyone may have something to read: another process wrote.
  mutating func noteAll() {
    for number in open.keys.sorted() { makeDue(number) }
  }

  /// Those whose deadline has come have something to read, be it their end, or a sign of life to give.
  mutating func noteDeadlines(at now: Int64) {
    look(at: now)
    while let first = deadlines.first, first.time <= now {
      deadlines.removeFirst()
      guard let subscription = open[first.number], subscription.watched == first.time else { continue }
      open[first.number]?.watched = nil
      if let deadline = subscription.deadline, deadline <= now {
        makeDue(first.number, hasNews: subscription.readerDeadline.map { $0 <= now } ?? false)
      }
      watch(first.number)
    }
  }

  /// A clock that was set back must not make anybody wait longer for a sign of life.
  private mutating func look(at now: Int64) {
    defer { lastLook = now }
    if now >= lastLook { return }
    for number in open.keys where open[number]?.manner.heartbeat != nil {
      open[number]?.manner.heartbeat?.rearm(at: now)
      watch(number)
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

  private mutating func makeDue(_ number: Int, hasNews: Bool = true) {
    if hasNews { open[number]?.hasNews = true }
    guard open[number]?.isDue == false else { return }
    open[number]?.isDue = true
    due.append(number)
  }

  var hasDue: Bool { !due.isEmpty }

  /// The sessions of those that get the next turns.
  func dueNeeds(_ turns: Int) -> Needs {
    var needs = Needs()
    for number in due.first(turns) {
      switch open[number]?.reader {
      case .events(let reader): needs.add(session: reader.sessionID)
      case .tasks(let reader): if let session = reader.session { needs.add(session: session.id) }
      case .work, nil: break
      }
    }
    return needs
  }

  /// Takes out the next one in turn that may have something to read; ``insert(_:hasMore:)`` it again when it goes on.
  mutating func takeDue() -> Subscription? {
    while let number = due.popFirst() {
      if open[number]?.isDue == true { return take(number) }
    }
    return nil
  }

  /// What both kinds of subscriptions may be asked for.
  static let manners: [Parameter] = [
    .optional(
      .heartbeat, .integer(1...Saturating.latest), "Milliseconds between two signs of life; none when absent."),
    .optional(.`init`, .boolean, "Tells first what it follows, whose that is and what time it is; false when absent."),
  ]

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

  func first(_ count: Int) -> ArraySlice<Int> { numbers[first...].prefix(count) }

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
