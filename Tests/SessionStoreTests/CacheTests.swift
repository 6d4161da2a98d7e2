import JSON
import Testing

@testable import SessionStore

/// Each request works on a session that is not in memory, as it is after a restart.
@Suite struct CacheTests {
  private static let requests: [(String, @Sendable (Store) throws -> Void)] = [
    ("get_session", { _ = try $0.getSession("s", owner: .server) }),
    ("update_session", { _ = try $0.updateSession("s", SessionUpdate(), owner: .server) }),
    ("touch_session", { _ = try $0.touchSession("s", owner: .server) }),
    ("delete_session", { _ = try $0.deleteSession("s", owner: .server, deleteTasks: true) }),
    ("validate_session", { _ = try $0.validateSession("s", owner: .server, address: "a", agent: "b") }),
    ("suspend_session", { _ = try $0.changeStatus("s", .suspend, owner: .server) }),
    ("set_session_state", { _ = try $0.setSessionState("s", "k", .null, owner: .server) }),
    ("get_session_state", { _ = try $0.getSessionState("s", "k", owner: .server) }),
    ("remove_session_state", { _ = try $0.removeSessionState("s", "k", owner: .server) }),
    ("list_session_state_keys", { _ = try $0.sessionStateKeys("s", owner: .server) }),
    ("store_event", { _ = try $0.storeEvent("s", NewEvent(data: .null), owner: .server) }),
    ("store_events", { _ = try $0.storeEvents("s", [NewEvent(data: .null)], owner: .server) }),
    (
      "get_events_after",
      { _ = try $0.readEvents("s", after: 0, streamID: nil, limit: 9, owner: .server) { _ in true } }
    ),
    ("get_recent_events", { _ = try $0.readRecentEvents("s", streamID: nil, limit: 9, owner: .server) { _ in true } }),
    ("delete_events_before", { _ = try $0.deleteEvents("s", before: 2, owner: .server) }),
    ("event_count", { _ = try $0.countEvents("s", owner: .server) }),
    ("broadcast_event", { _ = try $0.broadcastEvent(NewEvent(data: .null), SessionFilter()) }),
    ("subscribe_events", { _ = try $0.startReading("s", after: nil, streamID: nil, owner: .server) }),
    ("subscribe_tasks", { _ = try $0.startReading(tasksOf: "s", owner: .server) }),
    (
      "list_sessions",
      { _ = try $0.listSessions(SessionFilter(), after: 0, limit: 9, includeState: true) { _, _ in true } }
    ),
    ("expire_sessions", { _ = try $0.expireSessions(olderThan: .max, limit: 9) }),
    (
      "create_task",
      {
        var task = NewTask()
        task.sessionID = "s"
        _ = try $0.createTask(task, owner: .server)
      }
    ),
  ]

  @Test(arguments: requests.indices)
  func aSessionThatIsNotInMemoryIsLoaded(index: Int) throws {
    let directory = try TemporaryDirectory()
    let test = try TestStore(directory.file("a.db"))
    try test.create("s")
    try test.event("s")
    try test.reopen()
    let (name, request) = Self.requests[index]
    #expect(throws: Never.self, "\(name)") { try test.write(request) }
  }
}
