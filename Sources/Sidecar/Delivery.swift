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
          try step(index, &output, end)
        }
      }
    } catch {
      // The database could not be read. Requests are told so; subscribers are served when it can be read again.
    }
  }

  /// Gives one subscriber its turn.
  private func step(_ index: Int, _ output: inout JSONWriter, _ end: Int) throws {
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
}
