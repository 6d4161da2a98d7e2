import Glibc
import SessionStore
import Testing

/// The server on which the stores of these tests are, when there is one: its address, in an environment variable. Each
/// store has a schema of its own there. Whoever starts the tests starts the server, and throws it away.
enum TestServer {
  static let address: ServerAddress? = unsafe getenv("MCP_SESSION_STORE_TEST_SERVER")
    .map { unsafe String(cString: $0) }.flatMap { ServerAddress($0) }

  /// The schema that stands for a file.
  static func schema(for path: String) -> String {
    let hash = path.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    return "file_" + String(hash, radix: 16)
  }

  /// Opens the store that a path stands for, there or in the file.
  static func open(
    _ path: String, limits: Limits, environment: Environment, schema: Schema = .current
  ) throws(OpenError) -> Store {
    guard let address else {
      return try Store.open(path, limits: limits, durability: .normal, environment: environment, schema: schema)
    }
    return try Store.open(
      address, schema: self.schema(for: path), limits: limits, durability: .normal, environment: environment)
  }

  /// A path that no other store has.
  static func ownPath() -> String { "memory-\(getpid())-\(UInt64.random(in: 0...UInt64.max))" }
}

extension Trait where Self == ConditionTrait {
  /// For what is about files, or what no other engine has.
  static var ofFiles: Self { .enabled(if: TestServer.address == nil, "about files") }
}
