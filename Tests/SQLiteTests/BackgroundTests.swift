import SQLite
import Synchronization
import Testing

@Suite struct BackgroundTests {
  private struct Failure: Error {}

  /// Some statement that would run for ever.
  private static func runForEver(_ progress: WorkProgress) throws {
    let connection = try Connection(path: ":memory:", mode: .readWrite, busyTimeout: 0)
    try connection.interruptibly(progress) {
      try connection.execute("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
    }
  }

  @Test func whatTheThreadReturnsIsTheResult() throws {
    let work = try Background { progress in
      progress.report(done: 3, total: 4)
      return "done"
    }
    #expect(try work.result() == "done")
    #expect(work.isFinished)
    #expect((work.progress.done, work.progress.total) == (3, 4))
    // Asked again it says the same.
    #expect(try work.result() == "done")
  }

  @Test func whatTheThreadThrowsIsTheResult() throws {
    let work = try Background { _ -> Int in throw Failure() }
    #expect(throws: Failure.self) { try work.result() }
  }

  @Test func itRunsBesideTheOneThatStartedIt() throws {
    // It ends only because of what is done here after it was started.
    let gate = Gate()
    let work = try Background { _ in while !gate.isOpen {} }
    #expect(!work.isFinished)
    gate.open()
    try work.result()
  }

  @Test func aStatementThatRunsIsInterrupted() throws {
    let work = try Background { progress in try Self.runForEver(progress) }
    work.cancel()
    #expect(work.progress.isCancelled)
    #expect(throws: SQLiteError.self) { try work.result() }
  }

  @Test func workThatLooksBetweenItsStepsEnds() throws {
    let work = try Background { progress in while true { try progress.check() } }
    work.cancel()
    #expect(throws: WorkCancelled.self) { try work.result() }
  }

  @Test func itEndsWithItsOwner() throws {
    let gate = Gate()
    do {
      let work = try Background { progress in
        defer { gate.open() }
        try Self.runForEver(progress)
      }
      _ = work.isFinished
    }
    #expect(gate.isOpen)
  }

  @Test func cancellingWhatIsDoneKeepsItsResult() throws {
    let work = try Background { _ in 7 }
    _ = try work.result()
    work.cancel()
    #expect(try work.result() == 7)
  }
}

private final class Gate: Sendable {
  private let state = Atomic(false)

  var isOpen: Bool { state.load(ordering: .relaxed) }
  func open() { state.store(true, ordering: .relaxed) }
}
