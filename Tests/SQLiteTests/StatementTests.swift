import SQLite
import Testing

@Suite struct StatementTests {
  let connection: Connection

  init() throws {
    connection = try Connection(path: ":memory:", mode: .readWrite, busyTimeout: 0)
    try connection.execute("CREATE TABLE t (a INTEGER, b TEXT) STRICT")
  }

  private func insert(_ number: Int64, _ text: String?) throws {
    let insert = try connection.statement("INSERT INTO t VALUES ($1, $2)")
    insert.bind(1, number)
    insert.bind(2, text)
    try insert.run()
  }

  private func texts() throws -> [String?] {
    let select = try connection.statement("SELECT b FROM t ORDER BY a")
    var texts: [String?] = []
    while try select.step() { texts.append(select.optionalString(0)) }
    return texts
  }

  @Test func textKeepsWhatStandsAfterANul() throws {
    try insert(1, "before\u{0}after")
    #expect(try texts() == ["before\u{0}after"])
    let select = try connection.statement("SELECT length(CAST(b AS BLOB)), b FROM t")
    #expect(try select.step())
    #expect(select.integer(0) == 12)
    #expect(select.bytes(1).count == 12)
  }

  @Test func emptyTextIsNotNull() throws {
    try insert(1, "")
    try insert(2, nil)
    #expect(try texts() == ["", nil])
    let select = try connection.statement("SELECT typeof(b) FROM t ORDER BY a")
    #expect(try select.step())
    #expect(select.string(0) == "text")
    #expect(try select.step())
    #expect(select.string(0) == "null")
  }

  @Test func anEmptySpanBindsEmptyText() throws {
    let empty: [UInt8] = []
    let insert = try connection.statement("INSERT INTO t VALUES ($1, $2)")
    insert.bind(1, 1 as Int64)
    insert.bind(2, text: empty.span)
    try insert.run()
    #expect(try texts() == [""])
    let select = try connection.statement("SELECT b FROM t")
    #expect(try select.step())
    #expect(select.optionalBytes(0) == [])
    #expect(select.withText(0) { $0.count } == 0)
  }

  @Test(arguments: ["å∂ƒ", "𝄞", "\u{FEFF}x", String(repeating: "x", count: 100_000)])
  func textOfAnyLengthComesBack(text: String) throws {
    try insert(1, text)
    #expect(try texts() == [text])
  }

  @Test func blobsAreReadByLength() throws {
    let select = try connection.statement("SELECT x'00ff0041', x'', NULL")
    #expect(try select.step())
    #expect(select.bytes(0) == [0x00, 0xFF, 0x00, 0x41])
    #expect(select.optionalBytes(1) == [])
    #expect(select.optionalBytes(2) == nil)
    #expect(select.bytes(2) == [])
  }

  @Test func textThatIsNotUTF8DoesNotTrap() throws {
    let select = try connection.statement("SELECT CAST(x'c328' AS TEXT)")
    #expect(try select.step())
    #expect(select.string(0) == "")
    #expect(select.bytes(0) == [0xC3, 0x28])
  }

  @Test func numbersKeepTheirRange() throws {
    for (index, number) in ([.min, -1, 0, 1, .max] as [Int64]).enumerated() {
      let select = try connection.statement("SELECT $1")
      select.bind(1, number)
      #expect(try select.step())
      #expect(select.integer(0) == number, "number \(index)")
    }
    let select = try connection.statement("SELECT $1, $2, $3")
    select.bind(1, nil as Int64?)
    select.bind(2, true)
    select.bind(3, false)
    #expect(try select.step())
    #expect(select.optionalInteger(0) == nil)
    #expect(select.boolean(1) == true)
    #expect(select.boolean(2) == false)
  }

  @Test func bindingsDoNotOutliveAUse() throws {
    func select(_ value: Int64?) throws -> Int64? {
      let select = try connection.statement(composed: "SELECT $1")
      select.bind(1, value)
      return try select.step() ? select.optionalInteger(0) : -1
    }
    #expect(try select(7) == 7)
    #expect(try select(nil) == nil)
  }

  @Test func resetForgetsTheBindings() throws {
    let select = try connection.statement("SELECT $1, $2")
    select.bind(1, "a")
    #expect(try select.step())
    select.reset()
    select.bind(2, "b")
    #expect(try select.step())
    #expect(select.optionalString(0) == nil)
    #expect(select.optionalString(1) == "b")
  }

  @Test func parametersMustAppearInTheirOrder() {
    #expect(throws: SQLiteError.self) { _ = try connection.statement("SELECT $2, $1") }
    #expect(throws: SQLiteError.self) { _ = try connection.statement("SELECT ?1") }
    #expect(throws: SQLiteError.self) { _ = try connection.statement(composed: "SELECT $1, $3") }
    // The same one twice is fine: both engines count it once.
    #expect(throws: Never.self) { _ = try connection.statement("SELECT $1, $2, $1") }
  }

  @Test func aParameterThatDoesNotExistIsReportedByTheStep() throws {
    let select = try connection.statement("SELECT $1")
    select.bind(2, 5 as Int64)
    let error = #expect(throws: SQLiteError.self) { _ = try select.step() }
    #expect(error?.code == 25)
  }

  @Test func aStatementInUseIsNotHandedOutTwice() throws {
    for number in 1...3 as ClosedRange<Int64> { try insert(number, nil) }
    func pairs(_ statement: () throws -> Statement) throws -> [[Int64]] {
      var pairs: [[Int64]] = []
      let outer = try statement()
      while try outer.step() {
        let inner = try statement()
        while try inner.step() { pairs.append([outer.integer(0), inner.integer(0)]) }
      }
      return pairs
    }
    let all = [1, 2, 3].flatMap { a in [1, 2, 3].map { b in [Int64(a), Int64(b)] } }
    #expect(try pairs { try connection.statement("SELECT a FROM t ORDER BY a") } == all)
    #expect(try pairs { try connection.statement(composed: "SELECT a FROM t ORDER BY a") } == all)
  }

  @Test func aStatementThatGoesOutOfScopePinsNothing() throws {
    for number in 1...3 as ClosedRange<Int64> { try insert(number, nil) }
    func first() throws -> Bool {
      let select = try connection.statement("SELECT a FROM t ORDER BY a")
      return try select.step()
    }
    #expect(try first())
    // A read cursor that was left open would refuse this.
    try connection.execute("DROP TABLE t")
  }

  @Test func changesCountsRows() throws {
    for number in 1...5 as ClosedRange<Int64> { try insert(number, nil) }
    let delete = try connection.statement("DELETE FROM t WHERE a > $1")
    delete.bind(1, 2 as Int64)
    try delete.run()
    #expect(connection.changes == 3)
  }

  @Test func errorsNameTheConstraintAndNeverTheValue() throws {
    try connection.execute("CREATE TABLE u (k TEXT NOT NULL UNIQUE) STRICT")
    func insert(_ text: String?) throws {
      let insert = try connection.statement("INSERT INTO u VALUES ($1)")
      insert.bind(1, text)
      try insert.run()
    }
    try insert("secret")
    let twice = #expect(throws: SQLiteError.self) { try insert("secret") }
    #expect(twice?.code == 2067)  // SQLITE_CONSTRAINT_UNIQUE
    #expect(twice?.message == "UNIQUE constraint failed: u.k")
    let missing = #expect(throws: SQLiteError.self) { try insert(nil) }
    #expect(missing?.code == 1299)  // SQLITE_CONSTRAINT_NOTNULL
    #expect(missing?.message.contains("secret") == false)
    #expect(missing?.class == .other)
    // The statement is usable again afterwards.
    try insert("other")
  }

  @Test func errorsOfAWrongTypeDoNotShowTheValue() throws {
    let error = #expect(throws: SQLiteError.self) {
      let insert = try connection.statement("INSERT INTO t (a) VALUES ($1)")
      insert.bind(1, "secret")
      try insert.run()
    }
    #expect(error?.code == 3091)  // SQLITE_CONSTRAINT_DATATYPE
    #expect(error?.message.contains("secret") == false)
  }

  @Test func doubleQuotedTextIsNoString() {
    #expect(throws: SQLiteError.self) { _ = try connection.statement(#"SELECT "text""#) }
  }

  @Test func triggersViewsAndAttachedFilesAreOff() throws {
    try connection.execute("CREATE VIEW v AS SELECT 1")
    #expect(throws: SQLiteError.self) { _ = try connection.statement("SELECT * FROM v") }
    #expect(throws: SQLiteError.self) { try connection.execute("ATTACH ':memory:' AS other") }
    // Defensive: the schema cannot be written by hand.
    try connection.execute("PRAGMA writable_schema = ON")
    #expect(throws: SQLiteError.self) { try connection.execute("DELETE FROM sqlite_schema") }
  }
}
