import JSON
import Testing

@testable import SessionStore

/// Which sessions leave the store with a pass to an archive, and which stay.
@Suite struct ArchiveTests {
  /// An archive in memory.
  private final class Target: ArchiveTarget {
    var newest: [(sessionID: String, digest: String)] = []
    var size: Int64 = 0
    var synced = 0
    private var writing = ""

    func begin(_ sessionID: String) { writing = sessionID }
    func append(_ lines: [UInt8]) { size += Int64(lines.count) }
    func end(_ digest: String) { newest.append((writing, digest)) }
    func sync() { synced = newest.count }
  }

  private static let seeing = Owner(tenant: .unspecified, principal: .unspecified, seesEnded: true)

  private static var all: TaskScope { TaskScope(owner: .server) }

  private func store() throws -> TestStore { try TestStore { $0.retainEnded = 1 << 40 } }

  private func end(_ id: String, in test: TestStore) throws {
    try test.create(id)
    try test.event(id, "1")
    try test.write { store in
      var task = NewTask()
      (task.taskID, task.sessionID) = ("task-of-\(id)", id)
      _ = try store.createTask(task, owner: .server)
      _ = try store.changeStatus(id, .resolve, owner: .server)
    }
    test.now += 1
  }

  private func make(_ id: String, in store: Store) throws -> Session {
    var new = NewSession()
    new.sessionID = id
    return try store.createSession(new, owner: .server)
  }

  private func kept(_ test: TestStore) throws -> Int64 { try test.read { $0.counters.endedSessions } }

  /// All passes until there is nothing more.
  private func archive(_ test: TestStore, to target: Target) throws -> Int {
    var pass = ArchivePass(to: target, endedBefore: test.now)
    var removed = 0
    while let leaving = try pass.next(in: test.store) { removed += try test.store.removeArchived(leaving) }
    return removed
  }

  /// What happens to a session between the moment when it is written to the archive and its deletion.
  @Test(arguments: [
    ("a task that goes on", false), ("a message to a task", false), ("its deletion", false),
    ("another under its id", false), ("nothing", true), ("another session", true), ("a payload in another form", true),
  ])
  func whatWasChangedMeanwhileStays(what: String, leaves: Bool) throws {
    let test = try store()
    try end("s", in: test)
    let target = Target()
    var pass = ArchivePass(to: target, endedBefore: test.now)
    #expect(try pass.count(in: test.store) == 1)
    #expect(try pass.next(in: test.store)?.count == 0)  // nothing was left by an earlier one
    let leaving = try #require(try pass.next(in: test.store))
    #expect(leaving.count == 1 && target.synced == 1)
    try test.write { store in
      switch what {
      case "a task that goes on": _ = try store.touchTask(
          "task-of-s", statusMessage: nil, ttl: nil, pollInterval: nil, scope: Self.all)
      case "a message to a task":
        _ = try store.enqueueTaskMessage("task-of-s", JSONText("1"), maxSize: nil, scope: Self.all)
      case "its deletion": _ = try store.deleteSession("s", owner: .server, deleteTasks: false)
      case "another under its id": _ = try make("s", in: store)
      case "another session": _ = try make("t", in: store)
      case "a payload in another form":
        var found: (PayloadPosition, String)?
        _ = try store.listPayloads(behind: PayloadPosition(), limit: 99) { position, payload in
          if payload.place == "event.data" { found = (position, payload.text) }
          return true
        }
        let (position, text) = try #require(found)
        #expect(try store.replacePayload(position, text, with: "2"))
      default: break
      }
    }
    let before = try kept(test)
    #expect(try test.store.removeArchived(leaving) == (leaves ? 1 : 0))
    #expect(try kept(test) == (leaves ? before - 1 : before))
    #expect(try pass.next(in: test.store) == nil, "what stays is not met again in the same pass")
    // Another pass takes what is there then.
    let isThere = what.hasPrefix("a task") || what.hasPrefix("a message")
    #expect(try archive(test, to: target) == (isThere ? 1 : 0))
    #expect(target.newest.count == (isThere ? 2 : 1))
    #expect(try kept(test) == 0)
  }

  /// Killed when all is on disk: the next pass deletes what is the same, and writes nothing.
  @Test func whatIsInBothPlacesIsDeleted() throws {
    let test = try store()
    for id in ["a", "b", "c"] { try end(id, in: test) }
    let target = Target()
    var killed = ArchivePass(to: target, endedBefore: test.now)
    #expect(try killed.next(in: test.store)?.count == 0)
    #expect(try killed.next(in: test.store)?.count == 3)
    try test.write { store in
      _ = try store.touchTask("task-of-b", statusMessage: nil, ttl: nil, pollInterval: nil, scope: Self.all)
    }
    #expect(try archive(test, to: target) == 3)
    #expect(target.newest.map(\.sessionID) == ["a", "b", "c", "b"])
    #expect(try kept(test) == 0)
  }

  @Test func onlyWhatEndedBeforeLeaves() throws {
    let test = try store()
    for id in ["a", "b", "c"] { try end(id, in: test) }
    try test.create("alive")
    test.now -= 1
    #expect(try archive(test, to: Target()) == 2)
    #expect(try test.read { try $0.countSessions(SessionFilter(owner: Self.seeing)) } == 2)
  }
}
