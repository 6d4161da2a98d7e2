import Database

/// What was given to name a database, where that is a server and not a file.
package struct ServerAddress: Sendable {
  let address: Database.Server.Address

  /// - Returns: nil for the path of a file
  package init?(_ text: String) {
    guard let address = Database.Server.Address(text) else { return nil }
    self.address = address
  }

  /// for people: without a password
  package var shown: String { address.shown }
}
