import SessionStore

extension Arguments {
  /// The file that a command is to look at.
  func readablePath() throws(Failure) -> String {
    let path = try databasePath()
    if path == ":memory:" { throw Self.usage("a store in memory is gone with its process; name a file") }
    return path
  }

  /// Opens the file for reading and hands it to `body`, which brackets what it reads with ``Store/read(_:)``. On
  /// ``FileChanged`` all of it is done again, so `body` has to catch that once it has printed something.
  func reading<Result>(_ body: (Store) throws -> Result) throws(Failure) -> Result {
    let path = try readablePath()
    while true {
      do {
        return try body(
          try Store.openForReading(path, limits: limits, environment: Environment(now: System.now)))
      } catch is FileChanged {
        continue
      } catch {
        throw Failure(error, path)
      }
    }
  }
}
