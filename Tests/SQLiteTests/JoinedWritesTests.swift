import Foundation
import SQLite
import Testing

/// What a transaction adds to the log is written in one piece. Whatever becomes of the transaction, and whoever writes
/// to the same log in between, every connection reads what was committed, and so does who finds the files as they are.
@Suite struct JoinedWritesTests {
  let directory: TemporaryDirectory
  let path: String

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.database()
  }

  /// One whose transactions are written to the log in pieces: it remembers few pages.
  private func small(syncEachCommit: Bool = false) throws -> Connection {
    let connection = try Connection(path: path, mode: .readWrite, busyTimeout: 0)
    try connection.configureForWriting(syncEachCommit: syncEachCommit, exclusive: false)
    try connection.execute(
      "PRAGMA cache_size = 4; CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b TEXT, c BLOB)")
    return connection
  }

  private func rows(_ connection: Connection) throws -> [String] {
    let select = try connection.statement("SELECT a || ':' || b FROM t WHERE length(c) = 900 ORDER BY a")
    var rows: [String] = []
    while try select.step() { rows.append(select.string(0)) }
    return rows
  }

  /// Who opens a copy of the files reads what whoever comes after a crash would.
  private func rowsOfACopy(_ number: Int) throws -> [String] {
    let copy = directory.file("copy-\(number).db")
    for suffix in ["", "-wal"] { try FileManager.default.copyItem(atPath: path + suffix, toPath: copy + suffix) }
    let connection = try Connection(path: copy, mode: .readWrite, busyTimeout: 0)
    #expect(try connection.pragmaText("integrity_check") == "ok")
    return try rows(connection)
  }

  private static func insert(_ numbers: Range<Int>, _ text: String) -> String {
    "INSERT INTO t SELECT value, '\(text)', zeroblob(900) FROM (WITH RECURSIVE n(value) AS (SELECT "
      + "\(numbers.lowerBound) UNION ALL SELECT value + 1 FROM n WHERE value < \(numbers.upperBound - 1)) "
      + "SELECT value FROM n)"
  }

  @Test(arguments: [1, 60, 70, 80, 100, 120, 150, 200]) func whatWasTakenBackIsNotWrittenOverWhatAnotherCommittedThere(
    count: Int
  ) throws {
    let first = try small()
    let second = try small()
    try first.beginImmediate()
    try first.execute(Self.insert(0..<count, "taken back"))
    first.rollback()
    try second.execute(Self.insert(0..<200, "committed"))
    let expected = try rows(second)
    #expect(expected.count == 200)
    // The first one reads, and goes on behind what the second one wrote.
    #expect(try rows(first) == expected)
    try first.execute(Self.insert(200..<220, "committed"))
    #expect(try rows(second) == rows(first))
    #expect(try rowsOfACopy(0) == rows(first))
  }

  /// `Connection.rollbackToSavepoint`: SQLite 3.40.1 alone would commit what nobody finds after a crash.
  @Test func whatIsCommittedBehindAPartThatWasTakenBackStandsInTheFiles() throws {
    let connection = try small()
    try connection.execute(Self.insert(0..<200, "before"))
    var takenBackAlone = 0
    for round in 0..<10 {
      try connection.beginImmediate()
      try connection.savepoint()
      // Few pages stay in memory, many do not.
      try connection.execute("UPDATE t SET b = 'in vain' WHERE a < \(round * 20)")
      try connection.execute("UPDATE t SET b = 'again' WHERE a > 4 AND a < \(round * 20)")
      if round % 2 == 1 {
        // A part of the part, which stays in it, tells nothing of what went before.
        try connection.savepoint()
        try connection.release()
      }
      try connection.rollbackToSavepoint()
      guard connection.isInTransaction else { continue }
      takenBackAlone += 1
      try connection.execute("UPDATE t SET b = 'round \(round)' WHERE a = 199")
      try connection.commit()
      #expect(try rowsOfACopy(round) == rows(connection))
    }
    #expect((1..<10).contains(takenBackAlone))
  }

  @Test(arguments: [false, true]) func whatIsCommittedStandsInTheFiles(syncEachCommit: Bool) throws {
    let connection = try small(syncEachCommit: syncEachCommit)
    for round in 0..<4 {
      try connection.beginImmediate()
      try connection.execute(Self.insert(round * 100..<round * 100 + 100, "round \(round)"))
      // Pages of this transaction that are in the log already are written there a second time.
      try connection.execute("UPDATE t SET b = 'changed' || b WHERE a % 3 = 0")
      try connection.commit()
      #expect(try rowsOfACopy(round) == rows(connection))
    }
  }

  @Test func manyTransactionsOfTwoConnectionsAreWhatAModelSays() throws {
    let connections = [try small(), try small(syncEachCommit: true)]
    var model: [Int: String] = [:]
    var chance = SystemRandomNumberGenerator()
    for step in 0..<200 {
      let connection = connections[Int.random(in: 0...1, using: &chance)]
      var changed = model
      try connection.beginImmediate()
      for _ in 0..<Int.random(in: 1...3, using: &chance) {
        let first = Int.random(in: 0..<200, using: &chance)
        let range = first..<first + Int.random(in: 1...60, using: &chance)
        try connection.savepoint()
        try connection.execute("DELETE FROM t WHERE a >= \(range.lowerBound) AND a < \(range.upperBound)")
        try connection.execute(Self.insert(range, "step \(step)"))
        if Bool.random(using: &chance) {
          try connection.release()
          for number in range { changed[number] = "step \(step)" }
        } else {
          try connection.rollbackToSavepoint()
          if !connection.isInTransaction { break }
        }
      }
      if !connection.isInTransaction || Int.random(in: 0..<3, using: &chance) == 0 {
        connection.rollback()
      } else {
        try connection.commit()
        model = changed
      }
      if step % 10 == 0 { _ = try connections[step / 10 % 2].checkpoint() }
      let expected = model.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }
      for connection in connections { #expect(try rows(connection) == expected, "after step \(step)") }
      if step % 20 == 0 { #expect(try rowsOfACopy(step) == expected) }
    }
    #expect(try connections[0].pragmaText("integrity_check") == "ok")
  }
}
