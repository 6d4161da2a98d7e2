import Database

/// What was given to name a database, where that is a server and not a file.
package struct ServerAddress: Sendable {
  let address: Database.Server.Address

  /// - Returns: nil for the path of a file
  package init?(_ text: String) {
    guard let address = Database.Server.Address(text) else { return nil }
    self.address = address
  }

  /// Why a name cannot be that of a schema, such as "is empty"; nil when it can.
  package static func problem(withSchema name: String) -> String? { Database.Server.problem(withSchema: name) }

  /// for people: without a password
  package var shown: String { address.shown }
}
