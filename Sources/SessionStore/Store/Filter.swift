import SQLite

/// The conditions of a list, put together from constant SQL and bound values.
struct Filter {
  private(set) var conditions: [String] = []
  private var values: [Value] = []

  enum Value {
    case integer(Int64)
    case text(String)
  }

  /// Adds a condition in which `?` stands for the value.
  mutating func add(_ condition: String, _ value: Int64) {
    values.append(.integer(value))
    conditions.append(Self.number(condition, values.count))
  }

  mutating func add(_ condition: String, _ value: String) {
    values.append(.text(value))
    conditions.append(Self.number(condition, values.count))
  }

  /// Adds a condition in which each `?` stands for the next of the values.
  mutating func add(_ condition: String, _ values: [Value]) {
    let parts = condition.split(separator: "?", omittingEmptySubsequences: false)
    var numbered = String(parts[0])
    for (part, value) in zip(parts.dropFirst(), values) {
      self.values.append(value)
      numbered += "$\(self.values.count)" + part
    }
    conditions.append(numbered)
  }

  mutating func add(_ condition: String) {
    conditions.append(condition)
  }

  /// Leaves what answers to `owner`.
  mutating func add(visibleTo owner: Owner) {
    add(owner.tenant, column: "tenant_id")
    add(owner.principal, column: "principal")
  }

  private mutating func add(_ claim: OwnerClaim, column: String) {
    switch claim {
    case .unspecified: break
    case .anonymous: add("\(column) IS NULL")
    case .named(let name): add("(\(column) IS NULL OR \(column) = ?)", name)
    }
  }

  /// Leaves what is bound to exactly this owner; an explicit null: what is bound to nobody.
  mutating func add(boundTo claim: OwnerClaim, column: String) {
    switch claim {
    case .unspecified: break
    case .anonymous: add("\(column) IS NULL")
    case .named(let name): add("\(column) = ?", name)
    }
  }

  /// `WHERE …`, or nothing
  var whereClause: String { conditions.isEmpty ? "" : " WHERE " + conditions.joined(separator: " AND ") }

  /// - Parameter limit: rows at most, in the order of the column `order`; nil for all in no order
  func statement(
    _ connection: Connection, _ select: String, suffix: String = "", order: String = "number", limit: Int? = nil
  ) throws -> Statement {
    var sql = select + whereClause + suffix
    if limit != nil { sql += " ORDER BY \(order) LIMIT $\(values.count + 1)" }
    var statement = try connection.statement(composed: sql)
    for (index, value) in values.enumerated() {
      switch value {
      case .integer(let integer): statement.bind(Int32(index + 1), integer)
      case .text(let text): statement.bind(Int32(index + 1), text)
      }
    }
    if let limit { statement.bind(Int32(values.count + 1), Int64(limit)) }
    return statement
  }

  private static func number(_ condition: String, _ index: Int) -> String {
    condition.split(separator: "?", omittingEmptySubsequences: false).joined(separator: "$\(index)")
  }
}
