package import Postgres

/// A server, with the schema in it that holds the tables.
package final class Server {
  package let connection: PostgresConnection
  private let address: Address
  private let options: Options

  /// What is to be known of it to find it.
  package struct Address: Sendable {
    package let text: String

    /// - Returns: nil for what is the path of a file
    package init?(_ text: String) {
      guard PostgresAddress.isAddress(text) else { return nil }
      self.text = text
    }

    /// without a password, for people
    package var shown: String { PostgresAddress(text).redacted }
  }

  package struct Options: Sendable {
    package var schema: String
    /// milliseconds that a server, or a lock there, is waited for
    package var waiting: Int64
    /// whether commits wait for the disk of the server
    package var waitsForDisk: Bool
    package var isForReading: Bool

    package init(schema: String, waiting: Int64, waitsForDisk: Bool, isForReading: Bool) {
      self.schema = schema
      self.waiting = waiting
      self.waitsForDisk = waitsForDisk
      self.isForReading = isForReading
    }
  }

  package init(_ address: Address, _ options: Options) throws(DatabaseError) {
    var known = PostgresOptions(address: address.text)
    known.waiting = options.waiting
    known.lockTimeout = options.waiting
    known.schema = options.schema
    known.mode = options.isForReading ? .readOnly : .readWrite
    if !options.waitsForDisk { known.waitsForDisk = false }
    if options.isForReading {
      // A check takes as long as it takes, and whoever takes a dump may be slow.
      known.statementTimeout = nil
      known.idleInTransactionTimeout = 86_400_000
    }
    self.address = address
    self.options = options
    do throws(PostgresError) { connection = try PostgresConnection(known) } catch { throw DatabaseError(error) }
  }

  /// Why a name cannot be that of a schema, such as "is empty"; nil when it can.
  package static func problem(withSchema name: String) -> String? { PostgresSchema.problem(withName: name) }

  /// Why the schema cannot be used.
  package enum Problem: Error {
    case foreign(String)
    case tooNew(found: Int64)
    case tooOld(found: Int64)
    case missing(String)
    case database(DatabaseError)
  }

  /// Finds the tables, and makes them or brings them up to date unless they are only to be read.
  /// - Parameters:
  ///   - application: says whose tables they are
  ///   - step: what brings the tables from one version to a later one, and that version; from 0: what makes them
  package func open(
    application: Int64, version: Int64, step: @escaping (_ from: Int64) -> (script: String, to: Int64)
  ) throws(Problem) {
    let schema = PostgresSchema(name: options.schema, application: application, version: version, step: step)
    do throws(PostgresSchema.Problem) {
      if options.isForReading { try schema.find(connection) } else { try schema.open(connection) }
    } catch {
      switch error {
      case .foreign(let message): throw .foreign(message)
      case .tooNew(let found, _): throw .tooNew(found: found)
      case .tooOld(let found, _): throw .tooOld(found: found)
      case .missing(let message): throw .missing(message)
      case .server(let error): throw .database(DatabaseError(error))
      }
    }
  }

  /// How to make another connection to the same, on any thread, for work beside this one.
  package var another: @Sendable () throws(DatabaseError) -> Server {
    var options = options
    options.isForReading = true
    let address = address
    return { [options] () throws(DatabaseError) in try Server(address, options) }
  }

  /// Has whatever takes long ask now and then whether it is to stop.
  package func stop(when isCancelled: @escaping () -> Bool) { connection.isCancelled = isCancelled }

  /// for people: as it was named, without a password
  package var place: String { address.shown }
  /// such as "15.18"
  package var version: String { connection.server.version }
  /// the server's time, Unix milliseconds
  package func now() -> Int64 { connection.now() }
  /// counts the connections that there were
  package var connections: Int { connection.generation }
  /// how often an answer was waited for
  package var trips: Int64 { Int64(connection.trips) }
}
