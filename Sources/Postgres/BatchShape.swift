/// A statement that does for many rows at once what another does for one: its parameters become arrays, which the
/// server takes apart again. Ten times as many rows go through a connection as with a statement for each.
struct BatchShape {
  /// what stands before, between and behind what is made of the parameters
  private let parts: (start: String, end: String)
  /// indices of parameters of which one must be different in each row
  let keys: [Int]
  /// whether one must be
  let needsKey: Bool

  /// nil for a statement that cannot be done for many rows at once, or not surely.
  init?(_ sql: SQLText) {
    // A row of its own would be seen by the next one.
    if sql.find("SELECT") != nil { return nil }
    if sql.starts(with: "INSERT") {
      guard let parts = Self.insert(sql) else { return nil }
      self.parts = parts
      (keys, needsKey) = ([], false)
    } else if sql.starts(with: "UPDATE") {
      guard let set = sql.find("SET"), let condition = sql.find("WHERE", from: set), sql.find("FROM") == nil else {
        return nil
      }
      parts = (sql.withColumns(0..<condition) + "FROM ", " " + sql.withColumns(condition..<sql.end))
      keys = Self.keys(sql, from: condition)
      needsKey = true
      if keys.isEmpty { return nil }
    } else if sql.starts(with: "DELETE") {
      guard let condition = sql.find("WHERE") else { return nil }
      parts = (sql.text(0..<condition) + "USING ", " " + sql.withColumns(condition..<sql.end))
      (keys, needsKey) = ([], false)
    } else {
      return nil
    }
  }

  private static func insert(_ sql: SQLText) -> (start: String, end: String)? {
    guard let values = sql.find("VALUES"), let row = sql.brackets(from: values) else { return nil }
    let rest = row.upperBound..<sql.end
    let hasMore = sql.text(rest).contains { !$0.isWhitespace }
    // Two rows for one key would meet in one statement. And where several rows are meant they are several.
    if hasMore, sql.find("NOTHING", from: rest.lowerBound) == nil { return nil }
    if !sql.parameters(in: rest).isEmpty { return nil }
    let columns = sql.withColumns(row.lowerBound + 1..<row.upperBound - 1)
    return (sql.text(0..<values) + "SELECT " + columns + " FROM ", sql.text(rest))
  }

  /// Parameters that a column has to equal, whatever else is asked for.
  private static func keys(_ sql: SQLText, from condition: Int) -> [Int] {
    if sql.find("OR", from: condition) != nil { return [] }
    return sql.parameters(in: condition..<sql.end).compactMap { parameter in
      let before = sql.text(condition..<parameter.range.lowerBound).split { $0 == " " || $0 == "\n" }
      let behind = sql.text(parameter.range.upperBound..<sql.end).split { $0 == " " || $0 == "\n" }
      guard before.count >= 3, before[before.count - 1] == "=", behind.isEmpty || behind[0] == "AND" else { return nil }
      let isColumn = before[before.count - 2].allSatisfy { $0.isLetter || $0 == "_" }
      return isColumn && ["WHERE", "AND"].contains(before[before.count - 3]) ? parameter.number - 1 : nil
    }
  }

  func sql(_ kinds: [Parameters.Kind]) -> String {
    let arrays = kinds.enumerated().map { "$\($0 + 1)::\($1.name)[]" }.joined(separator: ", ")
    let columns = kinds.indices.map { "p\($0 + 1)" }.joined(separator: ", ")
    return parts.start + "unnest(\(arrays)) AS given(\(columns))" + parts.end
  }
}
