import SessionStore

extension Arguments {
  /// The file that a command is to look at.
  func readablePath() throws(Failure) -> String {
    let path = try databasePath()
    if path == ":memory:" { throw Self.usage("a store in memory is gone with its process; name a file") }
    return path
  }

  /// The same again and again: a file is opened anew each time, and the connection to a server stays.
  /// - Parameter server: a store on a server, which is kept there from one time to the next
  func reading<Result>(
    keeping server: inout Store?, _ body: (Store) throws -> Result
  ) throws(Failure) -> Result {
    let path = try readablePath()
    guard let address = ServerAddress(path) else { return try reading(body) }
    do {
      let store = try server ?? opened(address, isForReading: true)
      server = store
      return try body(store)
    } catch {
      throw Failure(error, path)
    }
  }

  /// Opens the file for reading and hands it to `body`, which brackets what it reads with ``Store/read(_:)``. On
  /// ``FileChanged`` all of it is done again, unless `body` has printed something already.
  func reading<Result>(_ body: (Store) throws -> Result) throws(Failure) -> Result {
    let path = try readablePath()
    while true {
      let writes = Output.writes
      do {
        if let address = ServerAddress(path) { return try body(try opened(address, isForReading: true)) }
        return try body(
          try Store.openForReading(path, limits: limits, environment: Environment(now: System.now)))
      } catch is FileChanged where Output.writes == writes {
        continue
      } catch {
        throw Failure(error, path)
      }
    }
  }
}
