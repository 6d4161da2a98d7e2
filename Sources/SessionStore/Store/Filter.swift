/// The conditions of a list, put together from constant SQL and bound values. It is made for somebody, and what is
/// added only narrows it.
struct Filter {
  /// What an owner sees: each way to be visible, of which a row goes at most one.
  private var ways: [[String]] = [[]]
  private var conditions: [String] = []
  private(set) var values: [Value] = []
  /// whether an index finds few rows without asking for their owners
  private var isSelective = false

  enum Value {
    case integer(Int64)
    case text(String)
  }

  /// Everything.
  init(_: ServerScope) {}

  /// What answers to `owner`: what is bound to it and what is bound to nobody.
  init(visibleTo owner: Owner) {
    add(visibleTo: owner.tenant, column: "tenant_id")
    add(visibleTo: owner.principal, column: "principal")
    divideUnbound(owner)
  }

  /// What is bound to exactly these owners, where they are named; an explicit null: to nobody.
  init(boundTo owner: Owner) {
    add(boundTo: owner.tenant, column: "tenant_id")
    add(boundTo: owner.principal, column: "principal")
    divideUnbound(owner)
  }

  /// The rows of a session: its events, state or log.
  init(of session: SessionNumber) {
    add(of: session)
  }

  /// The rows of a task: its messages.
  init(of task: TaskNumber) {
    add("task = ?", task.value)
  }

  /// What is somebody's, each kind by its own rule.
  init(_ condition: UserSelector.Condition) {
    add(condition.sql, condition.values)
  }

  private mutating func add(visibleTo claim: OwnerClaim, column: String) {
    switch claim {
    case .unspecified: break
    case .anonymous: ways = ways.map { $0 + ["\(column) IS NULL"] }
    case .named(let name):
      values.append(.text(name))
      let bound = "\(column) = $\(values.count)"
      ways = ways.map { $0 + [bound] } + ways.map { $0 + ["\(column) IS NULL"] }
    }
  }

  private mutating func add(boundTo claim: OwnerClaim, column: String) {
    switch claim {
    case .unspecified: break
    case .anonymous: ways = ways.map { $0 + ["\(column) IS NULL"] }
    case .named(let name): add("\(column) = ?", name)
    }
  }

  /// Where one of the owners does not matter and the other one is nobody, what is bound to neither is a way of its own:
  /// only the index of both has it.
  private mutating func divideUnbound(_ owner: Owner) {
    let (unbound, other) =
      switch (owner.tenant, owner.principal) {
      case (.unspecified, .anonymous), (.unspecified, .named): ("principal IS NULL", "tenant_id")
      case (.anonymous, .unspecified), (.named, .unspecified): ("tenant_id IS NULL", "principal")
      default: ("", "")
      }
    ways = ways.flatMap { way in
      way.contains(unbound) ? [way + ["\(other) IS NULL"], way + ["\(other) IS NOT NULL"]] : [way]
    }
  }

  // MARK: - Narrowing

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

  /// Leaves the rows of a session.
  mutating func add(of session: SessionNumber) {
    add("session = ?", session.value)
    isSelective = true
  }

  /// Leaves one task.
  mutating func add(of task: TaskNumber) {
    add("number = ?", task.value)
    isSelective = true
  }

  /// Leaves the sessions of a user.
  mutating func add(ofUser userID: String) {
    add("user_id = ?", userID)
    isSelective = true
  }

  private static func number(_ condition: String, _ index: Int) -> String {
    condition.split(separator: "?", omittingEmptySubsequences: false).joined(separator: "$\(index)")
  }

  // MARK: - As SQL

  /// `WHERE …` or nothing, once for each part of the rows; no row is in two of them. What is bound to an owner and
  /// what is bound to nobody are parts of their own, because an index has each of them in order and not both.
  var parts: [String] {
    if isSelective, ways.count > 1 {
      let anyWay = "(" + ways.map { $0.joined(separator: " AND ") }.joined(separator: " OR ") + ")"
      return [Self.clause([anyWay] + conditions)]
    }
    return ways.map { Self.clause($0 + conditions) }
  }

  private static func clause(_ conditions: [String]) -> String {
    conditions.isEmpty ? "" : " WHERE " + conditions.joined(separator: " AND ")
  }
}
