import JSON
import JSONRPC
import SessionStore

/// Notifications to subscribers, between answers and after the commit that made them true.
extension Sidecar {
  /// How often a process that has subscribers looks for what others stored: milliseconds. Well within the 250 that the
  /// contract allows.
  package static let pollInterval: Int64 = 100
  /// events that one subscriber gets before the next one's turn
  private static let turn = 256

  /// Looks for what other processes stored and for what has expired, then delivers.
  /// - Parameter room: bytes that may be added to the output
  package func poll(room: Int) {
    if subscriptions.isEmpty { return }
    subscriptions.noteAll()
    deliver(room: room)
  }

  /// Sends what subscribers wait for until there is nothing left or `room` bytes are used up.
  package func deliver(room: Int) {
    guard subscriptions.hasDue, room > 0, !hasOpenGroup, phase == .serving else { return }
    store.beginRequest()
    do {
      try store.beginRead()
      defer { store.endRead() }
      try withOutput { output in
        let end = output.count + room
        while output.count < end, let index = subscriptions.nextDueEvents() {
          try stepEvents(index, &output, end)
        }
        while output.count < end, let index = subscriptions.tasks.firstIndex(where: { $0.isDue }) {
          try stepTasks(index, &output, end)
        }
      }
    } catch {
      // The database could not be read. Requests are told so; subscribers are served when it can be read again.
    }
  }

  /// Gives one subscriber of events its turn.
  private func stepEvents(_ index: Int, _ output: inout JSONWriter, _ end: Int) throws {
    let id = subscriptions.events[index].id
    let sessionID = subscriptions.events[index].reader.sessionID
    let step = try store.readOn(&subscriptions.events[index].reader, limit: Self.turn) { event in
      if output.count >= end { return false }
      Response.notification("event", to: &output) { writer in
        writer.member("subscription_id", id)
        writer.member("session_id", sessionID)
        writer.name("event")
        writer.event(event)
      }
      return true
    }
    switch step {
    case .caughtUp: subscriptions.events[index].isDue = false
    case .more: break
    case .lagged(let gap):
      Response.notification("lagged", to: &output) { writer in
        writer.member("subscription_id", id)
        writer.member("dropped", gap.dropped)
        writer.member("oldest_available", gap.oldestAvailable)
      }
    case .ended(let reason):
      _ = subscriptions.remove(id)
      Response.notification("ended", to: &output) { writer in
        writer.member("subscription_id", id)
        writer.member("reason", reason)
      }
    }
  }

  /// Tells one subscriber of tasks what changed.
  private func stepTasks(_ index: Int, _ output: inout JSONWriter, _ end: Int) throws {
    let id = subscriptions.tasks[index].id
    var isOver = false
    let followsOne = subscriptions.tasks[index].reader.followsOne
    let hasMore = try store.readOn(&subscriptions.tasks[index].reader) { change in
      if output.count >= end { return false }
      switch change {
      case .changed(let task):
        Response.notification("task", to: &output) { writer in
          writer.member("subscription_id", id)
          writer.name("task")
          writer.task(task)
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
    subscriptions.tasks[index].isDue = hasMore
    if isOver { _ = subscriptions.remove(id) }
  }
}
