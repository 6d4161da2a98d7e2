import Sidecar

/// Environment variables that are called like ours. A newer program's may stand in an environment that many share, so
/// one that nobody here knows ends nothing; but it may as well be a misspelt one, so it is named.
enum Variables {
  private static let prefix = "MCP_SESSION_STORE_"
  /// what the clients read: where the program is
  private static let ofClients = ["MCP_SESSION_STORE_BINARY"]
  /// names that are told, at most
  private static let limit = 10

  private static var known: [String] {
    Command.all.flatMap(\.options).filter(\.hasVariable).map(\.environmentName)
  }

  /// One line about those that mean nothing here; nil when there are none. It tells names and no values.
  static var complaint: String? {
    let ours = System.environmentNames.filter { $0.utf8.starts(with: prefix.utf8) && !ofClients.contains($0) }
    // Every start comes here, and most have none: to put all names together was a twentieth of it.
    if ours.isEmpty { return nil }
    let known = known
    let strange = ours.filter { !known.contains($0) }.sorted()
    if strange.isEmpty { return nil }
    let named = strange.prefix(limit).map { name in
      Terminal.printable(name.prefix(100)) + Arguments.hint(known, name)
    }
    let rest = strange.count > limit ? " and \(strange.count - limit) more" : ""
    return "unknown variable\(strange.count == 1 ? "" : "s") in the environment, ignored: "
      + named.joined(separator: ", ") + rest
  }
}
