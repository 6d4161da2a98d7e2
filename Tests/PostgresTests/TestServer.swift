import Foundation
import Testing

@testable import Postgres

/// A PostgreSQL server for all tests of this target: made in a temporary directory, run by a user without rights, and
/// gone with the process. It listens on a socket in that directory alone.
final class TestServer: Sendable {
  let folder: String
  static let port = 5432

  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private static let started = Result { try TestServer() }
  static var shared: TestServer { get throws { try started.get() } }

  private static let nobody = 65_534
  /// keeps the server's standard input open, whose end tells it to stop
  private let life = Pipe()

  private init() throws {
    let folder = NSTemporaryDirectory() + "pg-" + String(UInt32.random(in: 0 ... .max), radix: 16)
    self.folder = folder
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    if getuid() == 0 { chown(folder, uid_t(Self.nobody), gid_t(Self.nobody)) }
    let drop = getuid() == 0 ? "setpriv --reuid=\(Self.nobody) --regid=\(Self.nobody) --clear-groups" : ""
    let process = Process()
    process.executableURL = URL(filePath: "/bin/sh")
    // The rules of a language for sorting, so that a statement that needs bytes has to say so.
    process.arguments = [
      "-c",
      """
      cd "\(folder)"
      bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
      \(drop) "$bin/initdb" -D data -U tester --auth=trust --no-sync --encoding=UTF8 --locale-provider=icu \
        --icu-locale=en --locale=C >log 2>&1 || exit
      \(drop) "$bin/postgres" -D data -k "\(folder)" -p \(Self.port) -c listen_addresses= -c fsync=off \
        -c max_connections=200 -c shared_buffers=16MB -c log_min_messages=warning >>log 2>&1 &
      server=$!
      cat >/dev/null
      kill -QUIT $server
      wait $server
      rm -rf "\(folder)"
      """,
    ]
    process.standardInput = life
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    let deadline = Deadline(in: 60_000)
    while true {
      do {
        _ = try PostgresConnection(PostgresOptions(address: address()))
        return
      } catch {
        if deadline.isOver || !process.isRunning {
          let log = (try? String(contentsOfFile: folder + "/log", encoding: .utf8)) ?? ""
          throw Failure(description: "PostgreSQL does not start (Tests/run installs it): \(error) \(log)")
        }
      }
    }
  }

  /// - Parameter port: of the server, or of what stands in front of it
  func address(database: String = "postgres", port: Int = port, _ more: String = "") -> String {
    "host=\(folder) port=\(port) user=tester dbname=\(database) \(more)"
  }

  /// The name of an empty database.
  func newDatabase() throws -> String {
    let name = "d" + String(UInt64.random(in: 0 ... .max), radix: 16)
    try PostgresConnection(PostgresOptions(address: address())).run("CREATE DATABASE \(name)")
    return name
  }
}

extension PostgresConnection {
  /// Runs statements in no transaction.
  func run(_ script: String) throws {
    try execute(script)
    try trip()
  }

  /// The first column of all rows.
  func texts(_ sql: String) throws -> [String?] {
    let select = statement(composed: sql)
    var texts: [String?] = []
    while try select.step() { texts.append(select.optionalString(0)) }
    return texts
  }

  /// with what rows are compressed
  var compression: String? {
    get throws { try texts("SELECT current_setting('default_toast_compression')").first ?? nil }
  }

  func integers(_ sql: String) throws -> [Int64] {
    let select = statement(composed: sql)
    var integers: [Int64] = []
    while try select.step() { integers.append(select.integer(0)) }
    return integers
  }
}
