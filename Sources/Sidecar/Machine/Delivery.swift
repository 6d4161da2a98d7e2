import JSON
import JSONRPC
import SessionStore

/// Notifications to subscribers, between answers and after the commit that made them true.
extension Sidecar {
  /// How often a process that has subscribers looks whether others wrote when nothing tells it: milliseconds, well
  /// within the 250 that the contract allows. On a file a look takes less than 100 µs, on a server it is a trip.
  private var lookInterval: Int64 {
    if store.isShared { return 100 }
    return store.foreignWrites == nil ? 40 : 200
  }
  /// how soon what could not be read for subscribers is tried again: milliseconds
  private static let deliveryPause: Int64 = 100
  /// bytes that may wait for the reader before no notifications are added
  package static let deliveryBound = 1 << 20
  /// events that one subscriber gets before the next one's turn
  private static let turn = 256
  /// subscribers that get a turn before requests get theirs
  private static let turns = 256

  var subscriptionCount: Int { group.answers.subscriptions.count }

  /// Opens a subscription.
  /// - Parameters:
  ///   - call: the subscribing one, which says how it wants to be told
  ///   - greeting: what it is told first, if it wants that
  /// - Returns: its id
  /// - Throws: `max_subscriptions_reached`
  func subscribe(
    _ reader: Subscriptions.Reader, _ call: Call, greeting: Subscriptions.Greeting
  ) throws -> String {
    var manner = Subscriptions.Manner()
    manner.format = call.choice(.format, as: EventFormat.self) ?? .json
    manner.heartbeat = call.optionalInteger(.heartbeat).map { Subscriptions.Heartbeat(interval: $0, now: store.now) }
    if call.boolean(.`init`) { manner.greeting = greeting }
    // It has just been read, and so are all that come after it until others write.
    if group.answers.subscriptions.isEmpty { seenCommits = store.foreignCommits }
    return try group.answers.subscriptions.add(
      reader, manner, limit: options.maxSubscriptions, at: store.now)
  }

  /// Tells the subscriptions what commits of this process changed.
  func noteChanges() {
    if let changes = store.takeChanges() { group.answers.subscriptions.note(changes) }
  }

  /// The time of the lookout, which nobody sets: milliseconds.
  var moment: Int64 { host.monotonic() / 1_000_000 }

  /// Readable when others write; nil where nothing tells so, or need not just now. When it is, call
  /// ``hearOthers()``.
  package var othersWrite: Int32? {
    guard let descriptor = store.foreignWrites, hasRoom, lookout.isListening(moment) else { return nil }
    return descriptor
  }

  package func hearOthers() {
    store.clearForeignWrites()
    lookout.hear(at: moment)
  }

  /// Looks whether another process wrote, when it is time to. While none has nothing is read.
  func lookForOthers() {
    if store.isAlone { return }
    let moment = moment
    // A request has seen it.
    let isKnown = !store.isShared && seenCommits != store.foreignCommits
    if isKnown, lookout.isListening(moment) { lookout.hear(at: moment) }
    guard lookout.isDue(moment) else { return }
    lookout.look(at: moment, longest: lookInterval)
    // A look at what is subscribed to is a look whether somebody wrote.
    if store.isShared { return group.answers.subscriptions.noteAll() }
    do {
      try store.beginRead()
      store.endRead()
      if seenCommits == store.foreignCommits { return }
      seenCommits = store.foreignCommits
      group.answers.subscriptions.noteAll()
    } catch {
      // Requests are told so.
      lookout.look(at: moment, longest: Self.deliveryPause)
    }
  }

  /// Whether the reader takes what it is sent.
  private var hasRoom: Bool { waitingOutput + group.answers.output.count < Self.deliveryBound }

  /// Whether subscribers wait for a turn that they can get now.
  var canDeliver: Bool {
    group.answers.subscriptions.hasDue && hasRoom && store.currentTime() >= nextDelivery
  }

  /// Sends what subscribers wait for until there is nothing left, `room` bytes are used up, or many had their turn.
  package func deliver(room: Int) {
    guard group.answers.subscriptions.hasDue, room > 0, !hasOpenGroup, phase == .serving else { return }
    store.beginRequest()
    if store.now < nextDelivery, nextDelivery - store.now <= Self.deliveryPause { return }
    do {
      try store.beginRead(store.isShared ? group.answers.subscriptions.dueNeeds(Self.turns) : Needs())
      defer { store.endRead() }
      try withOutput { output in
        let end = output.count + room
        for _ in 0..<Self.turns {
          guard output.count < end, var next = group.answers.subscriptions.takeDue() else { return }
          do {
            if let hasMore = try step(&next, &output, end) {
              group.answers.subscriptions.insert(next, hasMore: hasMore)
            } else {
              store.isWatched = subscriptionCount > 0
            }
          } catch {
            group.answers.subscriptions.insert(next)
            throw error
          }
        }
      }
    } catch let error as StoreError where error.endsProcess {
      giveUp(error)
    } catch {
      // The database could not be read. Requests are told so; subscribers are served when it can be read again.
      nextDelivery = store.now + Self.deliveryPause
    }
  }

  /// Gives a subscriber its turn.
  /// - Returns: whether there is more for it; nil when it has ended
  private func step(
    _ subscription: inout Subscriptions.Subscription, _ output: inout JSONWriter, _ end: Int
  ) throws -> Bool? {
    if let greeting = subscription.manner.greeting {
      subscription.manner.greeting = nil
      greet(subscription, greeting, &output)
    }
    if subscription.manner.heartbeat?.beats(at: store.now) == true { beat(subscription, &output) }
    if !subscription.hasNews { return false }
    let (id, format) = (subscription.id, subscription.manner.format)
    switch subscription.reader {
    case .events(var reader):
      defer { subscription.reader = .events(reader) }
      return try stepEvents(&reader, id, format, &output, end)
    case .tasks(var reader):
      defer { subscription.reader = .tasks(reader) }
      return try stepTasks(&reader, id, &output, end)
    case .work(var reader):
      defer { subscription.reader = .work(reader) }
      if try store.look(&reader) {
        Response.notification("work", to: &output) { writer in
          writer.member("subscription_id", id)
          writer.member("queue", reader.queue)
        }
      }
      return false
    }
  }

  private func greet(
    _ subscription: Subscriptions.Subscription, _ greeting: Subscriptions.Greeting, _ output: inout JSONWriter
  ) {
    let now = store.now
    tell("init", subscription.id, subscription.manner.format, &output) { writer in
      if let queue = greeting.queue {
        writer.member("queue", queue)
        return writer.member("timestamp", now)
      }
      if let taskID = greeting.taskID { writer.member("task_id", taskID) }
      writer.member("session_id", greeting.sessionID)
      writer.member("tenant_id", greeting.owners.tenantID)
      writer.member("principal", greeting.owners.principal)
      writer.member("timestamp", now)
    }
  }

  private func beat(_ subscription: Subscriptions.Subscription, _ output: inout JSONWriter) {
    Response.notification("heartbeat", to: &output) { writer in
      writer.member("subscription_id", subscription.id)
      writer.member("timestamp", store.now)
      if subscription.manner.format != .json {
        writer.name("frame")
        writer.string { $0.appendComment() }
      }
    }
  }

  /// Tells what is no event, also as a frame where frames were asked for.
  private func tell(
    _ method: String, _ id: String, _ format: EventFormat, _ output: inout JSONWriter,
    members: (inout JSONWriter) -> Void
  ) {
    Response.notification(method, to: &output) { writer in
      writer.member("subscription_id", id)
      members(&writer)
      if format == .json { return }
      var data = JSONWriter()
      data.beginObject()
      members(&data)
      data.endObject()
      let bytes = data.take()
      writer.name("frame")
      writer.string { $0.appendFrame(named: method, data: bytes.span) }
    }
  }

  private func stepEvents(
    _ reader: inout EventReader, _ id: String, _ format: EventFormat, _ output: inout JSONWriter, _ end: Int
  ) throws -> Bool? {
    let sessionID = reader.sessionID
    var records = EventRecords()
    let step = try store.readOn(&reader, limit: Self.turn) { event in
      if output.count >= end { return false }
      Response.notification("event", to: &output) { writer in
        writer.member("subscription_id", id)
        writer.member("session_id", sessionID)
        if format == .json {
          writer.name("event")
          records.write(event, to: &writer)
        } else {
          writer.member("event_id", event.id)
          writer.name("frame")
          writer.string { $0.appendFrame(event, typed: format == .sseTyped) }
        }
      }
      return true
    }
    switch step {
    case .caughtUp: return false
    case .more: return true
    case .lagged(let gap):
      tell("lagged", id, format, &output) { writer in
        writer.member("dropped", gap.dropped)
        writer.member("oldest_available", gap.oldestAvailable)
      }
      return true
    case .ended(let reason):
      tell("ended", id, format, &output) { $0.member("reason", reason) }
      return nil
    }
  }

  /// Tells a subscriber of tasks what changed.
  private func stepTasks(
    _ reader: inout TaskReader, _ id: String, _ output: inout JSONWriter, _ end: Int
  ) throws -> Bool? {
    var isOver = false
    let followsOne = reader.followsOne
    let hasMore = try store.readOn(&reader) { change in
      if output.count >= end { return false }
      switch change {
      case .changed(let task):
        try Response.notification("task", to: &output) { writer in
          writer.member("subscription_id", id)
          writer.name("task")
          try writer.task(task)
        }
      case .ended(let taskID, let reason):
        Response.notification("ended", to: &output) { writer in
          writer.member("subscription_id", id)
          writer.member("reason", reason)
          writer.member("task_id", taskID)
        }
        isOver = followsOne
      }
      return true
    }
    return isOver ? nil : hasMore
  }
}
