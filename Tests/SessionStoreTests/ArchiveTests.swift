import JSON
import Testing

@testable import SessionStore

/// Which sessions leave the store with a pass to an archive, and which stay.
@Suite struct ArchiveTests {
  /// An archive in memory.
  private final class Target: ArchiveTarget {
    let file: String
    var path: String { "/\(file)" }
    var newest: [(sessionID: String, digest: String)] = []
    var size: Int64 = 0
    var synced = 0
    private var writing = ""

    init(_ file: String = "a") { self.file = file }

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
    try claim(pass, in: test)
    var removed = 0
    while let leaving = try pass.next(in: test.store) {
      removed += try test.store.removeArchived(leaving, of: target.file)
    }
    try test.store.releaseArchive(target.file)
    return removed
  }

  private func claim(_ pass: ArchivePass, in test: TestStore, reopen: (() throws -> Target)? = nil) throws {
    try pass.claim(in: test.store, test.store) { claim in
      guard let reopen else { throw ArchiveError.missing(path: claim.path, reason: "") }
      return try reopen()
    } check: {}
  }

  private func isElsewhere(_ path: String, _ body: () throws -> Void) {
    do {
      try body()
      Issue.record("there is no other archive")
    } catch ArchiveError.elsewhere(let other) {
      #expect(other == path)
    } catch {
      Issue.record(error)
    }
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
    try claim(pass, in: test)
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
    #expect(try test.store.removeArchived(leaving, of: target.file) == (leaves ? 1 : 0))
    #expect(try kept(test) == (leaves ? before - 1 : before))
    #expect(try pass.next(in: test.store) == nil, "what stays is not met again in the same pass")
    try test.store.releaseArchive(target.file)
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
    try claim(killed, in: test)
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

  // MARK: - Several archives

  /// Killed when all is on disk, and the next archive is another file: what is in the first one is only deleted.
  @Test func whatAnotherArchiveHasIsNotWrittenAgain() throws {
    let test = try store()
    for id in ["a", "b", "c"] { try end(id, in: test) }
    let first = Target("first")
    let second = Target("second")
    var killed = ArchivePass(to: first, endedBefore: test.now)
    try claim(killed, in: test)
    #expect(try killed.next(in: test.store)?.count == 0)
    let leaving = try #require(try killed.next(in: test.store))
    try test.write { store in
      _ = try store.touchTask("task-of-b", statusMessage: nil, ttl: nil, pollInterval: nil, scope: Self.all)
    }
    var pass = ArchivePass(to: second, endedBefore: test.now)
    // Somebody holds it, or it is not to be found: a claim that is not old is believed.
    isElsewhere("/first") { try claim(pass, in: test) { throw ArchiveError.busy(path: "/first") } }
    isElsewhere("/first") { try claim(pass, in: test) }
    test.now += Store.archiveLease - 1
    isElsewhere("/first") { try claim(pass, in: test) }
    try claim(pass, in: test) { first }
    #expect(try kept(test) == 1)
    // Whoever was not killed after all has lost it.
    isElsewhere("/second") { _ = try test.store.removeArchived(leaving, of: first.file) }
    isElsewhere("/second") { try claim(killed, in: test) { throw ArchiveError.busy(path: "/second") } }
    while let leaving = try pass.next(in: test.store) {
      _ = try test.store.removeArchived(leaving, of: second.file)
    }
    try test.store.releaseArchive(second.file)
    #expect(second.newest.map(\.sessionID) == ["b"])
    #expect(try kept(test) == 0)
    #expect(try test.rows("archive_claims") == 0)
  }

  @Test func aClaimThatNobodyRenewsLapses() throws {
    let test = try store()
    try end("a", in: test)
    try claim(ArchivePass(to: Target("first"), endedBefore: test.now), in: test)
    let second = ArchivePass(to: Target("second"), endedBefore: test.now)
    test.now += Store.archiveLease
    // Held is held, however old the claim is.
    isElsewhere("/first") { try claim(second, in: test) { throw ArchiveError.busy(path: "/first") } }
    try claim(second, in: test)
    // Renewed by what is deleted.
    test.now += Store.archiveLease - 1
    _ = try test.store.removeArchived([], of: "second")
    test.now += Store.archiveLease - 1
    isElsewhere("/second") { try claim(ArchivePass(to: Target("third"), endedBefore: test.now), in: test) }
    // By itself it goes on at once.
    try claim(second, in: test)
  }
}
