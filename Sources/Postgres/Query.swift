/// A statement's text, what a server knows of it, and the rows that wait to go with others of the same text.
final class Query {
  let sql: String
  let returnsRows: Bool
  let parameterCount: Int
  private let number: Int
  /// Types of the parameters, as far as they are known: from what was bound, and from what the server said.
  private(set) var types: [UInt32]
  /// counts how often the types turned out to be others
  private var variant = 0
  /// the connection on which it is prepared, as ``PostgresConnection`` counts them; 0: on none
  private var preparedOn = 0
  /// uses that are over and can begin again
  var idle: [StatementUse] = []

  /// Whether somebody asks how many rows it changes: then each run goes alone.
  var isCounted = false
  private let shape: BatchShape?
  private(set) var batch: RowBatch?
  private var batchQuery: Query?

  init(_ sql: String, number: Int, isForBatches: Bool = false) {
    self.sql = sql
    self.number = number
    let text = SQLText(sql)
    returnsRows = text.returnsRows
    parameterCount = text.highestParameter
    types = Array(repeating: 0, count: parameterCount)
    shape = returnsRows || isForBatches ? nil : BatchShape(text)
  }

  /// its name at the server
  var name: String { "q\(number)v\(variant)" }

  func isPrepared(on connection: Int) -> Bool { preparedOn == connection }
  func notePrepared(on connection: Int) { preparedOn = connection }
  func forgetPrepared() { preparedOn = 0 }

  /// Makes the types fit what is bound. Where they were others, it has to be prepared anew.
  func fit(_ parameters: borrowing Parameters) {
    for index in 0..<parameterCount {
      let kind = parameters[index].kind
      if kind == .null || kind.rawValue == types[index] { continue }
      types[index] = kind.rawValue
      if preparedOn != 0 { variant += 1 }
      preparedOn = 0
      batchQuery = nil
    }
  }

  /// What the server says its parameters are.
  func noteTypes(_ described: [UInt32]) {
    for (index, type) in described.enumerated() where index < types.count && types[index] == 0 { types[index] = type }
  }

  // MARK: - Many rows at once

  /// Whether a run may wait for others and go with them.
  func mayWait() -> Bool {
    guard let shape, !isCounted, parameterCount > 0, !shape.needsKey || key != nil else { return false }
    return types.allSatisfy { Parameters.Kind(rawValue: $0)?.array != nil }
  }

  private var key: Int? { shape?.keys.first { types[$0] == Parameters.Kind.integer.rawValue } }

  /// Adds a row to those that wait.
  /// - Returns: false when those have to be sent first
  func add(_ parameters: borrowing Parameters) -> Bool {
    var rows = batch ?? RowBatch(types.map { Parameters.Kind(rawValue: $0) ?? .text }, key: key)
    // Two variables would mean two copies of all that waits.
    batch = nil
    let fits = rows.add(parameters)
    batch = rows
    return fits
  }

  /// What waits, and the statement that takes it: none when only the last row does.
  /// - Parameter all: whether the last row goes with the others; if not, it is sent alone behind them
  func takeBatch(all: Bool) -> (many: (query: Query, parameters: Parameters)?, last: Parameters?) {
    guard var rows = batch else { return (nil, nil) }
    batch = nil
    guard rows.count > 1, let shape else { return (nil, rows.last) }
    let last = rows.last
    if all { rows.appendLast() }
    if rows.arrays.isEmpty || rows.arrays[0].count == 0 { return (nil, last) }
    let query = batchQuery ?? Query(shape.sql(rows.arrays.map(\.kind)), number: -number, isForBatches: true)
    batchQuery = query
    var parameters = Parameters(count: rows.arrays.count)
    for (index, array) in rows.arrays.enumerated() { parameters.set(Int32(index + 1), array) }
    return ((query, parameters), all ? nil : last)
  }

  func dropBatch() { batch = nil }
}

/// Rows that wait to be sent as one array for each parameter. The last one is kept apart, so that a lone row goes as
/// the plain statement.
struct RowBatch {
  private(set) var arrays: [ArrayValue]
  private(set) var last: Parameters?
  private(set) var count = 0
  private var size = 0
  private let key: Int?
  private var keys: Set<Int64> = []

  /// A statement takes no more rows and bytes than these, so that what waits is bounded.
  static let maxRows = 1_000
  static let maxBytes = 256 << 10

  /// - Parameter key: of the parameter that no two rows may share, for each row of the table is changed once at most
  init(_ kinds: [Parameters.Kind], key: Int?) {
    arrays = kinds.map { ArrayValue(of: $0) }
    self.key = key
  }

  mutating func add(_ parameters: borrowing Parameters) -> Bool {
    if count >= Self.maxRows || size >= Self.maxBytes { return false }
    if let key {
      let slot = parameters[key]
      guard slot.kind == .integer, keys.insert(parameters.integer(slot)).inserted else { return false }
    }
    appendLast()
    last = copy parameters
    count += 1
    size += parameters.bytes.count
    return true
  }

  mutating func appendLast() {
    guard let row = last else { return }
    for index in arrays.indices { arrays[index].append(row[index], of: row) }
    last = nil
  }
}

/// Each use of a statement: its parameters, and its rows.
final class StatementUse {
  let query: Query
  var parameters: Parameters
  var rows: Rows?
  var row: Int32 = -1
  var isSent = false
  /// Rows that are fetched at once; nil: all
  var rowsAtOnce: Int32?
  /// more of its rows are at the server, in the cursor of this name
  var cursor: String?

  init(_ query: Query) {
    self.query = query
    parameters = Parameters(count: query.parameterCount)
  }

  func reset() {
    parameters.removeAll()
    rows = nil
    row = -1
    isSent = false
    cursor = nil
  }
}
