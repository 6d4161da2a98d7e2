import Database

/// The server itself, which sees and changes everything: housekeeping, and what is about no owner at all. It is said,
/// so that it can be looked for.
enum ServerScope {
  case server
}

/// The tables, which answer only to who says whose rows are meant. Statements come from here alone, and none of them
/// without a scope:
///
/// - `.server`: everything;
/// - `of:` a session or a task: the rows that belong to it, by its number, which only a scoped statement gives;
/// - `in:` a place of values, `for:` a principal of nonces: a partition;
/// - a ``Filter``, which is made for an owner.
///
/// That a statement names the column that its scope binds is for the eye and for a test: SQL is text.
struct Tables {
  private let database: Connection

  init(_ connection: Connection) {
    database = connection
  }

  func statement(_: ServerScope, _ sql: StaticString) throws(DatabaseError) -> Statement {
    try database.statement(sql)
  }

  func statement(_: ServerScope, composed sql: String) throws(DatabaseError) -> Statement {
    try database.statement(composed: sql)
  }

  /// - Parameter index: of the parameter that stands for the session's number; it is bound already
  func statement(
    of session: SessionNumber, as index: Int32 = 1, _ sql: StaticString
  ) throws(DatabaseError) -> Statement {
    var statement = try database.statement(sql)
    statement.bind(index, session)
    return statement
  }

  /// For rows that may be too large to be held at once, or too many.
  func cursor(_: ServerScope, composed sql: String) throws(DatabaseError) -> Statement {
    try database.cursor(composed: sql)
  }

  /// The same for rows that may be too large to be held at once: events, messages. $1 is bound already.
  func cursor(of session: SessionNumber, _ sql: StaticString) throws(DatabaseError) -> Statement {
    var statement = try database.cursor(sql)
    statement.bind(1, session)
    return statement
  }

  func cursor(of task: TaskNumber, _ sql: StaticString) throws(DatabaseError) -> Statement {
    var statement = try database.cursor(sql)
    statement.bind(1, task)
    return statement
  }

  /// - Parameter index: of the parameter that stands for the task's number; it is bound already
  func statement(of task: TaskNumber, as index: Int32 = 1, _ sql: StaticString) throws(DatabaseError)
    -> Statement
  {
    var statement = try database.statement(sql)
    statement.bind(index, task)
    return statement
  }

  /// - Parameter index: of the first of the three parameters that stand for the tenant, the principal and the
  ///   collection; they are bound already
  func statement(
    in place: ValuePlace, from index: Int32 = 1, _ sql: StaticString
  ) throws(DatabaseError) -> Statement {
    var statement = try database.statement(sql)
    statement.bind(index, place.tenantID)
    statement.bind(index + 1, place.principal)
    statement.bind(index + 2, place.collection)
    return statement
  }

  /// The same for rows that may be too large to be held at once, and SQL that was put together from constant parts.
  func cursor(in place: ValuePlace, _ sql: String) throws(DatabaseError) -> Statement {
    var statement = try database.cursor(composed: sql)
    statement.bind(1, place.tenantID)
    statement.bind(2, place.principal)
    statement.bind(3, place.collection)
    return statement
  }

  /// $1 stands for the principal and is bound already. Names are never empty, so the empty one stands for nobody.
  func statement(for principal: OwnerClaim, _ sql: StaticString) throws(DatabaseError) -> Statement {
    var statement = try database.statement(sql)
    statement.bind(1, principal.binding ?? "")
    return statement
  }

  /// The rows that the filter leaves.
  /// - Parameters:
  ///   - limit: rows at most, in the order of `order`, a column that is selected; nil for all in no order
  ///   - areLarge: whether the rows may be too large or too many to be held at once
  func statement(
    _ filter: Filter, _ select: String, suffix: String = "", order: String = "number", limit: Int? = nil,
    areLarge: Bool = false
  ) throws(DatabaseError) -> Statement {
    var sql = filter.parts.map { select + $0 }.joined(separator: " UNION ALL ") + suffix
    if limit != nil { sql += " ORDER BY \(order) LIMIT $\(filter.values.count + 1)" }
    var statement = try statement(composed: sql, filter, areLarge: areLarge)
    if let limit { statement.bind(Int32(filter.values.count + 1), Int64(limit)) }
    return statement
  }

  /// An aggregate over the rows that the filter leaves: a count, or a total. Totals are exact up to 2^53 and do not
  /// overflow where the aggregate reckons in floating point.
  func sum(_ aggregate: String, from table: String, _ filter: Filter) throws(DatabaseError) -> Int64 {
    let parts = filter.parts.map { "(SELECT \(aggregate) FROM \(table)\($0))" }
    var select = try statement(composed: "SELECT " + parts.joined(separator: " + "), filter)
    return try select.step() ? select.integer(0) : 0
  }

  /// How many rows the filter leaves, of which no more are looked at than `limit`.
  func count(upTo limit: Int, from table: String, _ filter: Filter) throws(DatabaseError) -> Int64 {
    let rows = filter.parts.map { "SELECT 1 FROM \(table)\($0)" }.joined(separator: " UNION ALL ")
    var select = try statement(
      composed: "SELECT count(*) FROM (\(rows) LIMIT $\(filter.values.count + 1)) AS few", filter)
    select.bind(Int32(filter.values.count + 1), Int64(limit))
    return try select.step() ? select.integer(0) : 0
  }

  private func statement(
    composed sql: String, _ filter: Filter, areLarge: Bool = false
  ) throws(DatabaseError) -> Statement {
    var statement = areLarge ? try database.cursor(composed: sql) : try database.statement(composed: sql)
    for (index, value) in filter.values.enumerated() {
      switch value {
      case .integer(let integer): statement.bind(Int32(index + 1), integer)
      case .text(let text): statement.bind(Int32(index + 1), text)
      }
    }
    return statement
  }

  /// what the engines name differently
  var dialect: Dialect { database.dialect }

  /// rows that the last INSERT, UPDATE or DELETE changed
  var changes: Int64 { database.changes }

  /// The connection itself, for what concerns the file and not the rows: transactions, pragmas, checks of the whole.
  func connection(_: ServerScope) -> Connection { database }
}
