import Database

/// How the schema of a server becomes a store.
extension Store {
  /// Connects to a server and opens, makes or brings up to date the tables in the schema `name`.
  /// - Parameters:
  ///   - isForReading: changes nothing, and makes nothing that is missing
  package static func open(
    _ address: ServerAddress, schema name: String, limits: Limits, durability: Durability, environment: Environment,
    isForReading: Bool = false
  ) throws(OpenError) -> Store {
    let place = "\(address.shown), schema \(name)"
    let server: Database.Server
    do throws(DatabaseError) {
      server = try Database.Server(
        address.address,
        Database.Server.Options(
          schema: name, waiting: limits.busyTimeout, waitsForDisk: durability == .full, isForReading: isForReading))
    } catch {
      throw openError(error, place)
    }
    do throws(Database.Server.Problem) {
      try server.open(application: Schema.applicationID, version: Schema.current.version) { _ in
        (ServerSchema.newest, Schema.current.version)
      }
    } catch {
      switch error {
      case .foreign(let message): throw .foreign(message)
      case .tooNew(let found): throw .tooNew(found: found, supported: Schema.current.version)
      case .tooOld(let found): throw .tooOld(found: found, supported: Schema.current.version)
      case .missing(let message): throw .missing(message)
      case .database(let error): throw openError(error, place)
      }
    }
    var environment = environment
    if environment.followsServer { environment.now = { server.now() } }
    let connection = Database.Connection(server)
    let writer = Writer(
      server, connection, id: isForReading ? nil : Int64(truncatingIfNeeded: environment.random() >> 2) + 2)
    let store = Store(
      connection, writer, schema: Schema.current.version, limits: limits, environment: environment,
      durability: durability)
    do {
      // The own row is there before anything is written: it is what tells of a commit whose answer is lost.
      if !isForReading { try writer.makeRow(now: store.now) }
      try connection.begin(.snapshot)
      defer { connection.endSnapshot() }
      store.counters.lastUUID = try writer.lastUUID()
    } catch {
      throw openError(error, place)
    }
    return store
  }

  private static func openError(_ error: any Error, _ place: String) -> OpenError {
    guard let error = error as? DatabaseError else { return .inputOutput("\(place): \(error)") }
    let message = "\(place): \(error.sentence ?? error.message)"
    return switch error.class {
    case .corrupt: .damaged(message)
    case .busy, .again, .unreachable: .locked(message)
    case .badAddress: .unusable(message)
    case .noLibrary: .noLibrary(message)
    case .cannotOpen, .readOnly, .notADatabase: .cannotCreate(message)
    case .full, .inputOutput, .other: .inputOutput(message)
    }
  }
}
