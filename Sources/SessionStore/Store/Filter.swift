/// The conditions of a list, put together from constant SQL and bound values. It is made for somebody, and what is
/// added only narrows it.
struct Filter {
  private var conditions: [String] = []
  private(set) var values: [Value] = []

  enum Value {
    case integer(Int64)
    case text(String)
  }

  /// Everything.
  init(_: ServerScope) {}

  /// What answers to `owner`.
  init(visibleTo owner: Owner) {
    add(visibleTo: owner)
  }

  /// What is bound to exactly these owners, where they are named; an explicit null: to nobody.
  init(boundTo owner: Owner) {
    add(boundTo: owner.tenant, column: "tenant_id")
    add(boundTo: owner.principal, column: "principal")
  }

  /// The rows of a session: events, state, log, tasks.
  /// - Parameter column: where its number stands
  init(of session: SessionNumber, column: String = "session") {
    add("\(column) = ?", session.value)
  }

  /// What is somebody's, each kind by its own rule.
  init(_ condition: UserSelector.Condition) {
    add(condition.sql, condition.values)
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

  /// Leaves what answers to `owner` besides.
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

  /// Leaves what is bound to exactly this owner; an explicit null: to nobody.
  mutating func add(boundTo claim: OwnerClaim, column: String) {
    switch claim {
    case .unspecified: break
    case .anonymous: add("\(column) IS NULL")
    case .named(let name): add("\(column) = ?", name)
    }
  }

  /// `WHERE …`, or nothing
  var whereClause: String { conditions.isEmpty ? "" : " WHERE " + conditions.joined(separator: " AND ") }

  private static func number(_ condition: String, _ index: Int) -> String {
    condition.split(separator: "?", omittingEmptySubsequences: false).joined(separator: "$\(index)")
  }
}
