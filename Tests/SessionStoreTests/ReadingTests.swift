import Foundation
import SQLite
import Testing

@testable import SessionStore

/// Files that are opened to be looked at. SQLite's locks are those of the process, so what other processes do to a file
/// is tested through the program.
@Suite(.ofFiles) struct ReadingTests {
  let directory: TemporaryDirectory
  let path: String

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.file("a.db")
  }

  private func fill() throws {
    let test = try TestStore(path)
    for id in ["a", "b"] {
      try test.write { store in
        var new = NewSession()
        new.sessionID = id
        _ = try store.createSession(new, owner: .server)
      }
    }
  }

  private func openForReading(_ schema: Schema = .current) throws(OpenError) -> Store {
    try Store.openForReading(path, environment: Environment(now: { Clock().now }), schema: schema)
  }

  private func names() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
  }

  @Test func aClosedFileIsReadWithoutAnotherBesideIt() throws {
    try fill()
    let before = try names()
    let store = try openForReading()
    #expect(try store.read { try store.countSessions(SessionFilter()) } == 2)
    #expect(try names() == before)
  }

  @Test func whatChangesWhileItIsReadIsTold() throws {
    try fill()
    let store = try openForReading()
    #expect(throws: FileChanged.self) {
      try store.read {
        let other = try Connection(path: path, mode: .readWrite, busyTimeout: 0)
        try other.execute("UPDATE store SET revision = revision + 1")
      }
    }
    // Also when the change is in the file by then, and when what was read made no sense.
    #expect(throws: FileChanged.self) { try store.read { throw StoreError.sessionNotFound("a") } }
    let again = try openForReading()
    #expect(try again.read { try again.countSessions(SessionFilter()) } == 2)
  }

  @Test func nothingIsWritten() throws {
    try fill()
    let store = try openForReading()
    #expect(throws: SQLiteError.self) {
      try store.read { try store.file!.connection.execute("DELETE FROM sessions") }
    }
    #expect(try store.read { try store.countSessions(SessionFilter()) } == 2)
  }

  @Test func anOlderFileIsRefusedAndStaysOld() throws {
    do { _ = try TestStore(path, schema: Schema(migrations: Array(Schema.current.migrations.dropLast()))) }
    let older = Schema.current.version - 1
    #expect(throws: OpenError.tooOld(found: older, supported: Schema.current.version)) { _ = try openForReading() }
    #expect(try Connection(path: path, mode: .readOnly, busyTimeout: 0).pragma("user_version") == older)
  }

  @Test func aFileThatIsNotThereIsNotMade() throws {
    #expect(throws: OpenError.missing("there is no file \(path)")) { _ = try openForReading() }
    #expect(try names() == [])
  }

  @Test func theSummaryTakesDeadlinesIntoAccount() throws {
    let test = try TestStore(path)
    for (id, status, ttl) in [("a", SessionStatus.active, 10), ("b", .pending, 20), ("c", .active, 30)] {
      test.now += 1
      try test.write { store in
        var new = NewSession()
        (new.sessionID, new.status, new.ttl) = (id, status, Int64(ttl))
        _ = try store.createSession(new, owner: .server)
      }
    }
    func summary() throws -> Summary { try test.store.read { try test.store.summary() } }
    var found = try summary()
    #expect(found.sessions == [.active: 2, .pending: 1, .suspended: 0, .expired: 0, .invalidated: 0])
    #expect(found.oldestSession?.sessionID == "a" && found.newestSession?.sessionID == "c")
    // "a" is due, and "b" is not yet: deadlines are inclusive.
    test.now += 8
    found = try summary()
    #expect(found.sessions == [.active: 1, .pending: 1, .suspended: 0, .expired: 1, .invalidated: 0])
    #expect(found.oldestSession?.sessionID == "b" && found.sessionCount == 3)
    test.now += 100
    found = try summary()
    #expect(found.sessions[.expired] == 3 && found.oldestSession == nil && found.newestSession == nil)
  }
}
