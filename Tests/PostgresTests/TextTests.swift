import Testing

@testable import Postgres

@Suite struct ZeroEscapeTests {
  private func code(_ text: [UInt8]) -> [UInt8] {
    var code: [UInt8] = []
    ZeroEscape.append(text.span, to: &code)
    return code
  }

  private static let texts: [[UInt8]] = [
    [], [0], [1], [2], [3], [0, 0], [0, 1], [1, 0], [1, 2], [1, 3], [65], [65, 0], [65, 0, 66], [65, 1, 2, 3], [66],
    Array("before\u{0}after".utf8), Array("\u{1}\u{0}\u{1}".utf8), Array("é\u{0}漢".utf8),
  ]

  @Test func everyTextComesBack() {
    for text in Self.texts {
      let code = code(text)
      #expect(!code.contains(0))
      #expect((ZeroEscape.decoded(code.span) ?? code) == text)
      // Its size can be asked of a server.
      #expect(code.filter { $0 != 1 }.count == text.count)
    }
  }

  @Test func textsWithoutSuchBytesStayAsTheyAre() {
    #expect(code(Array("text".utf8)) == Array("text".utf8))
    #expect(ZeroEscape.decoded(Array("text".utf8).span) == nil)
  }

  @Test func theOrderStaysAndSoDoPrefixes() {
    for first in Self.texts {
      for second in Self.texts {
        #expect(first.lexicographicallyPrecedes(second) == code(first).lexicographicallyPrecedes(code(second)))
        #expect(second.starts(with: first) == code(second).starts(with: code(first)))
      }
    }
  }
}

@Suite struct SQLTextTests {
  @Test func parametersAreFoundInCodeAlone() {
    let sql = SQLText("SELECT '$9', \"$8\", $2 -- $7\n, $10, a$, $1")
    #expect(sql.highestParameter == 10)
    #expect(sql.parameters(in: 0..<sql.end).map(\.number) == [2, 10, 1])
  }

  @Test(arguments: [
    ("SELECT 1", true), ("  select 1", false), ("WITH a AS (SELECT 1) SELECT 1", true),
    ("INSERT INTO t VALUES (1)", false),
    ("INSERT INTO t VALUES (1) RETURNING a", true), ("UPDATE t SET a = 'RETURNING'", false), ("FETCH 3 FROM c", true),
  ])
  func whatReturnsRows(text: String, returns: Bool) { #expect(SQLText(text).returnsRows == returns) }

  @Test func aScriptIsCutAtItsSemicolons() {
    let script = """
      CREATE TABLE a (b TEXT DEFAULT ';', -- a comment; with one
        c TEXT);
      -- nothing; at all
      INSERT INTO a VALUES ('--', '''');
      """
    #expect(SQLText(script).statements.count == 2)
    #expect(SQLText(script).statements[1].contains("('--', '''')"))
  }
}

@Suite struct BatchShapeTests {
  private func many(_ text: String, _ kinds: [Parameters.Kind] = [.integer, .text]) -> String? {
    BatchShape(SQLText(text))?.sql(kinds)
  }
  private let rows = "unnest($1::bigint[], $2::text[]) AS given(p1, p2)"

  @Test func anInsertTakesItsRowsFromArrays() {
    #expect(
      many("INSERT INTO t (a, b, c) VALUES ($1, 0, $2)")
        == "INSERT INTO t (a, b, c) SELECT given.p1, 0, given.p2 FROM \(rows)")
    #expect(
      many("INSERT INTO t (a) VALUES (coalesce($2, $1)) ON CONFLICT DO NOTHING")
        == "INSERT INTO t (a) SELECT coalesce(given.p2, given.p1) FROM \(rows) ON CONFLICT DO NOTHING")
  }

  @Test func anUpdateIsDoneForEachKey() {
    #expect(
      many("UPDATE t SET a = a + $2 WHERE number = $1 AND a > $2")
        == "UPDATE t SET a = a + given.p2 FROM \(rows) WHERE number = given.p1 AND a > given.p2")
    #expect(BatchShape(SQLText("UPDATE t SET a = $2 WHERE b > $3 AND number = $1"))?.keys == [0])
  }

  @Test func aDeletionNeedsNoKey() {
    #expect(
      many("DELETE FROM t WHERE a = $1 AND b < $2")
        == "DELETE FROM t USING \(rows) WHERE a = given.p1 AND b < given.p2")
  }

  @Test(arguments: [
    "INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET a = 2", "INSERT INTO t (a) VALUES ($1), ($2)",
    "INSERT INTO t SELECT $1", "UPDATE t SET a = $1", "UPDATE t SET a = $1 WHERE b > $2",
    "UPDATE t SET a = $1 WHERE b = $2 OR c = $1", "UPDATE t SET a = $1 WHERE b = $2 + 1", "DELETE FROM t",
    "UPDATE t SET a = $1 FROM s WHERE t.b = $2", "DELETE FROM t WHERE a IN (SELECT $1)", "SAVEPOINT request",
    "UPDATE t SET a = $1 WHERE a + b = $2",
  ])
  func othersGoOneByOne(text: String) { #expect(BatchShape(SQLText(text)) == nil) }
}

@Suite struct ServerClockTests {
  @Test func itsTimeIsBetweenQuestionAndAnswer() {
    var clock = ServerClock()
    #expect(clock.time(at: 0) == nil)
    #expect(clock.isStale(at: 0))
    clock.note(1_000_000, sent: 100, received: 300)
    #expect(clock.time(at: 300) == 1_000_100)
    #expect(clock.time(at: 1_300) == 1_001_100)
    #expect(!clock.isStale(at: 1_000))
    #expect(clock.isStale(at: 2_000_000))
  }

  @Test func aQuickAnswerMakesItExactAndASlowOneLeavesItSo() {
    var clock = ServerClock()
    clock.note(1_000_000, sent: 0, received: 100_000)
    clock.note(1_100_100, sent: 100_090, received: 100_110)
    #expect(clock.time(at: 100_100) == 1_100_100)
    // Its answer took long to come back, so half of that is not its age.
    clock.note(1_200_100, sent: 200_000, received: 900_000)
    let error = clock.time(at: 900_000)! - 1_900_000
    #expect(abs(error) <= 300)
  }

  @Test func aClockThatWasSetIsBelieved() {
    var clock = ServerClock()
    clock.note(1_000_000, sent: 0, received: 10)
    clock.note(50_000_000, sent: 100, received: 110)
    #expect(clock.time(at: 105)! - 50_000_000 <= 10)
    clock.note(2_000_000, sent: 200, received: 210)
    #expect(clock.time(at: 205)! - 2_000_000 <= 10)
  }
}

@Suite struct PostgresErrorTests {
  @Test(arguments: [
    ("40001", PostgresError.Kind.again), ("40P01", .again), ("26000", .again), ("42P05", .again), ("23505", .again),
    ("55P03", .busy), ("57014", .busy), ("57P01", .unreachable), ("57P03", .unreachable), ("25006", .readOnly),
    ("53100", .full), ("53300", .overloaded), ("53200", .overloaded), ("42501", .forbidden),
    ("28P01", .unauthenticated), ("3D000", .noDatabase), ("3F000", .noSchema), ("42P01", .noSchema),
    ("23502", .constraint), ("XX001", .damaged), ("08006", .unreachable), ("25P03", .unreachable),
    ("57P05", .unreachable), ("42601", .other),
  ])
  func statesHaveKinds(state: String, kind: PostgresError.Kind) {
    let error = PostgresError(state: state, message: "m")
    #expect(error.kind == kind)
    #expect(error.sentence.hasSuffix("."))
  }

  @Test func dataIsNotQuoted() {
    let error = PostgresError(state: "22P02", message: #"invalid input syntax for type bigint: "secret""#)
    #expect(error.message == #"invalid input syntax for type bigint: "…""#)
  }

  @Test func whatMayBeRunAgainIsTold() {
    #expect(PostgresError(state: "40P01", message: "").isPassing)
    #expect(PostgresError(state: "25006", message: "").needsConnection)
    #expect(!PostgresError(state: "53100", message: "").isPassing)
    #expect(!PostgresError(state: "23502", message: "").isPassing)
  }
}
