import Foundation
import JSON
import SQLite
import Testing

@testable import SessionStore

@Suite(.ofFiles) struct IntegrityTests {
  let directory: TemporaryDirectory
  let path: String

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.file("a.db")
  }

  /// A store with some of everything.
  private func filled() throws -> TestStore {
    let test = try TestStore(path)
    for id in ["a", "b"] {
      try test.create(id)
      for _ in 0..<50 {
        try test.write {
          _ = try $0.storeEvent(id, NewEvent(data: .emptyObject, streamID: "s"), owner: .server)
          _ = try $0.appendLogEntry(
            id, NewLogEntry(.emptyObject, messageID: "\(UInt64.random(in: 0...UInt64.max))"), deduplicate: true,
            owner: .server)
        }
      }
      try test.write { _ = try $0.setSessionState(id, "k", .null, owner: .server) }
    }
    return test
  }

  private func problems(_ store: Store) throws -> [String] {
    guard case .checked(let problems, _) = try store.run(.integrityCheck()) else { return ["no check"] }
    return problems
  }

  @Test func aSoundFileHasNoProblems() throws {
    #expect(try problems(try filled().store) == [])
    #expect(try problems(try TestStore().store) == [])
  }

  @Test func theSameIsFoundOnAThreadOfItsOwn() throws {
    let test = try filled()
    #expect(test.store.canRunBeside)
    #expect(try test.store.start(.integrityCheck()).result() == test.store.run(.integrityCheck()))
    #expect(!(try TestStore().store.canRunBeside))
  }

  @Test(arguments: [
    ("UPDATE store SET sessions = sessions + 1", "table 'store' counts 3 sessions, but there are 2"),
    ("UPDATE store SET tasks = 1", "table 'store' counts 1 tasks, but there are 0"),
    ("UPDATE store SET named_values = 1", "table 'store' counts 1 values, but there are 0"),
    ("UPDATE store SET events = 1", "table 'store' counts 1 events, but there are 100"),
    ("UPDATE store SET log_entries = 1", "table 'store' counts 1 log entries, but there are 100"),
    (
      "UPDATE store SET lifecycle_events = 9",
      "table 'store' counts 9 lifecycle changes in the audit trail, but there are 2"
    ),
    (
      "UPDATE store SET security_events = 9",
      "table 'store' counts 9 security events in the audit trail, but there are 0"
    ),
    ("UPDATE store SET revision = 1", "1 numbers that are higher than the last that was given out"),
    (
      "DELETE FROM events WHERE id = 7",
      "2 sessions whose events are not those from the first to the last that they should have"
    ),
    (
      "UPDATE events SET id = id + 1 WHERE id = 50",
      "2 sessions whose events are not those from the first to the last that they should have"
    ),
    (
      "UPDATE events SET first_id = id - 1, data = '1' || char(10) || '2' WHERE id = 50",
      "2 sessions whose events are not those from the first to the last that they should have"
    ),
    (
      """
      UPDATE events SET first_id = 49 WHERE id = 50; DELETE FROM events WHERE id = 49
      """,
      "2 rows of several events that have not a line and a time for each"
    ),
    (
      """
      UPDATE events SET first_id = 48, data = '1' || char(10) || '2' || char(10) || '3', times = '0 1' WHERE id = 50;
      DELETE FROM events WHERE id IN (48, 49)
      """,
      "2 rows of several events that have not a line and a time for each"
    ),
    (
      """
      UPDATE log_entries SET first_seq = 48, entry = '{}' || char(10) || '{}' WHERE seq = 50;
      DELETE FROM log_entries WHERE seq IN (48, 49)
      """,
      "2 rows of several log entries that have not a line for each"
    ),
    (
      "DELETE FROM log_entries WHERE seq = 1",
      "2 sessions whose log entries are not those from the first to the last that they should have"
    ),
    (
      "INSERT INTO events (session, id, timestamp, data) VALUES (77, 1, 1, '1')",
      "1 sessions that are gone and have events"
    ),
    (
      "INSERT INTO log_entries (session, seq, entry) VALUES (77, 1, '{}')",
      "1 sessions that are gone and have log entries"
    ),
    (
      "INSERT INTO log_participants VALUES (1, 77, 'a', 1, 1, 1, 1)",
      "1 participants in logs of sessions that are gone"
    ),
    ("INSERT INTO log_message_ids VALUES (77, 1, '[]')", "1 blocks of message ids of sessions that are gone"),
    ("INSERT INTO session_state VALUES (9, 77, 'k', '1')", "1 entries in the state of sessions that are gone"),
    ("INSERT INTO stream_losses VALUES (77, 's', 1, 1, 1)", "1 losses of streams of sessions that are gone"),
    ("INSERT INTO task_messages VALUES (9, 77, '1')", "1 messages of tasks that are gone"),
  ])
  func aBrokenRuleIsToldInASentence(sql: String, problem: String) throws {
    let test = try filled()
    try test.store.file!.connection.execute(sql)
    #expect(try problems(test.store) == [problem])
  }

  @Test func anIndexThatLacksRowsIsFound() throws {
    let test = try filled()
    let broken = directory.file("broken.db")
    _ = try test.store.file!.connection.copy(to: broken) { _, _ in }
    var root: Int64 = 0
    do {
      let select = try test.store.file!.connection.statement(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'events_by_session'")
      #expect(try select.step())
      root = select.integer(0)
    }
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: broken))
    // The number of cells on the page: https://www.sqlite.org/fileformat2.html#b_tree_pages
    try file.seek(toOffset: UInt64(root - 1) * 4_096 + 3)
    try file.write(contentsOf: Data([0, 1]))
    try file.close()
    let found = try problems(try TestStore(broken).store)
    #expect(found.count > 1)
    #expect(found.count <= 100)
    #expect(found.allSatisfy { !$0.contains("\n") && $0 != "ok" && !$0.hasPrefix("***") }, "\(found)")
  }

  @Test func anotherSchemaIsCheckedForDamageAlone() throws {
    let test = try filled()
    try test.store.file!.connection.execute(
      "UPDATE store SET sessions = 77; PRAGMA user_version = 99")
    #expect(try problems(test.store) == [])
  }

  @Test func aCheckThatIsCancelledSaysSo() throws {
    let connection = try filled().store.file!.connection
    let progress = WorkProgress()
    progress.cancel()
    #expect(throws: WorkCancelled.self) { try Job.integrityCheck().run(on: connection, progress) }
    #expect(throws: WorkCancelled.self) {
      try Job.backup(path: directory.file("copy.db")).run(on: connection, progress)
    }
    #expect(!DatabaseFile.isTaken(directory.file("copy.db")))
  }

  // MARK: - Copies

  @Test func aCopyIsAStore() throws {
    let test = try filled()
    let copy = directory.file("copy.db")
    guard case .backedUp(let pages, _) = try test.store.start(.backup(path: copy)).result() else {
      Issue.record("no backup")
      return
    }
    #expect(Int64(pages) == (try test.store.file!.connection.pragma("page_count")))
    let opened = try TestStore(copy)
    #expect(try problems(opened.store) == [])
    #expect(try opened.rows("events") == 100)
    try opened.create("c")
    #expect(try problems(opened.store) == [])
  }

  @Test func anUnusablePathIsAParameterThatIsNamed() throws {
    let test = try filled()
    for target in ["", "a\0b", directory.path, path, path + "-wal", path + "-journal", "/etc/passwd"] {
      let error = #expect(throws: StoreError.self) { try test.store.checkBackupPath(target) }
      guard case .invalidParameter("path", _) = error else {
        Issue.record("\(target): \(String(describing: error))")
        continue
      }
    }
    try test.store.checkBackupPath(directory.file("copy.db"))
    let error = #expect(throws: StoreError.self) { try test.store.run(.backup(path: directory.file("none/copy.db"))) }
    guard case .invalidParameter("path", _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  @Test func aQuickCheckSaysHowFarItCame() throws {
    let test = try TestStore()
    try test.create("s")
    try test.event("s")
    let whole = try test.read { try $0.quickCheck(Interruption()) }
    #expect(whole.problems.isEmpty && whole.reach == .everything)
    let interruption = Interruption()
    interruption.interrupt()
    let part = try test.read { try $0.quickCheck(interruption) }
    #expect(part.problems.isEmpty && part.reach == .part)
  }
}
