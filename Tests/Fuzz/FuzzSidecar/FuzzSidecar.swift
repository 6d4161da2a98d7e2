import Database
import Glibc
import JSON
import SQLite
import Sidecar

@testable import SessionStore

/// The whole machine on a store in memory. Whatever comes in: each line out is JSON, a good request behind it is
/// answered, and the store's counters agree with its rows. What comes in at once, in shared groups, is answered as it
/// is one line at a time, and leaves the same behind.
///
/// The bytes are the lines, or with FUZZ_METHODS in the environment what chooses methods and parameters.
@c public func LLVMFuzzerTestOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: count))
  if choosesMethods { tryMethods(bytes) } else { tryLines(bytes) }
  return 0
}

private let choosesMethods = unsafe getenv("FUZZ_METHODS") != nil

private func tryLines(_ bytes: [UInt8]) {
  // A copy of the database may go wherever its path says.
  if holds(bytes, "backup") { return }
  let apart = Machine()
  for line in bytes.split(separator: UInt8(ascii: "\n")) { apart.take(line + [UInt8(ascii: "\n")]) }
  compare(apart, together: bytes)
}

private func tryMethods(_ bytes: [UInt8]) {
  var calls = MethodCalls(bytes)
  let apart = Machine()
  var lines: [UInt8] = []
  while let line = calls.next(seen: apart.answers.last ?? []) {
    lines += line
    apart.take(line)
    if let answer = apart.answers.last, holds(Array(answer.prefix(400)), "internal_error") {
      fatalError("\(text(line))\(text(answer))")
    }
  }
  compare(apart, together: lines)
}

private func compare(_ apart: Machine, together bytes: [UInt8]) {
  apart.end()
  let together = Machine()
  together.take(bytes)
  together.end()
  if together.answers != apart.answers {
    let first = zip(together.answers, apart.answers).first { $0 != $1 }
    let shown = first.map { "\(text($0.0))\n\(text($0.1))" } ?? "\(together.answers.count), \(apart.answers.count)"
    fatalError("in groups it is not answered as one by one:\n\(shown)")
  }
  if together.dump() != apart.dump() { fatalError("in groups it leaves something else behind than one by one") }
}

/// A machine whose clock and chance are the same each time.
final class Machine {
  static let now: Int64 = 1_795_210_000_000

  private let connection: SQLite.Connection
  private let store: Store
  private let sidecar: Sidecar
  private(set) var answers: [[UInt8]] = []

  /// Connections whose tables are made and whose statements are compiled: to do that for each input took most of the
  /// time.
  private nonisolated(unsafe) static var idle: [SQLite.Connection] = []

  /// tables that have rows in a new store
  private static let filled = ["store", "audit_chains"]

  private static func connect() throws -> SQLite.Connection {
    guard let connection = unsafe idle.popLast() else {
      let store = try Store.open(":memory:", environment: Environment(now: { 0 }))
      let connection = store.file!.connection
      for table in filled { try connection.execute("CREATE TEMP TABLE new_\(table) AS SELECT * FROM \(table)") }
      return connection
    }
    connection.rollback()
    for table in Schema.tables(of: Schema.current.version) { try connection.execute("DELETE FROM \(table)") }
    for table in filled { try connection.execute("INSERT INTO \(table) SELECT * FROM new_\(table)") }
    return connection
  }

  deinit {
    unsafe Self.idle.append(connection)
  }

  init() {
    // By what is stored: a group that is abandoned and run again one by one has drawn before, and generated ids must
    // be those of one by one all the same.
    var revision: () -> Int64 = { 0 }
    let environment = Environment(
      now: { Self.now }, random: { UInt64(revision()) &* 0x9E37_79B9_7F4A_7C15 })
    var limits = Limits()
    // Small, so that a short input comes to them.
    limits.maxEventsPerSession = 8
    limits.maxSessions = 8
    limits.maxTasks = 8
    limits.maxTaskMessages = 4
    limits.maxValues = 8
    limits.maxStateBytes = 256
    limits.maxPayloadBytes = 512
    limits.logDedupWindow = 4
    limits.maxAuditEvents = 8
    var options = Sidecar.Options()
    options.maxLineBytes = 4_096
    options.maxResultBytes = 2_048
    options.maxSubscriptions = 4
    do {
      connection = try Self.connect()
    } catch {
      fatalError("no store in memory: \(error)")
    }
    let schema = Schema.current.version
    let file = OpenedFile(
      connection, lock: nil, path: "", durability: .full, isExclusive: false, busyTimeout: 0, schemaVersion: schema)
    store = Store(
      Database.Connection(connection), file, schema: schema, limits: limits, environment: environment)
    sidecar = Sidecar(store: store, options: options)
    revision = { [unowned store] in store.counters.revision + 1 }
  }

  /// Lines as they came, then what would be there when the input pauses.
  func take(_ bytes: [UInt8]) {
    sidecar.receive(bytes)
    while sidecar.run() { move() }
    sidecar.closeGroup()
    move()
  }

  private func move() {
    var output: [UInt8] = []
    sidecar.deliver(room: 1 << 16)
    sidecar.moveOutput(to: &output)
    for line in output.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast() {
      let answer = Array(line)
      if !isJSON(answer) { fatalError("an answer that is no JSON: \(text(answer))") }
      // How many notifications come, and when, is another matter; metrics tell of the groups themselves.
      if holds(Array(answer.prefix(40)), #""2.0","method""#) || tellsOfGroups(answer) { continue }
      answers.append(Self.withoutHashes(answer))
    }
  }

  /// Those of the audit trail differ by their salts.
  private static func withoutHashes(_ bytes: [UInt8]) -> [UInt8] {
    var kept: [UInt8] = []
    var digits = 0
    for byte in bytes {
      let isDigit = (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
      if !isDigit, digits >= 64 { kept.removeLast(digits) }
      digits = isDigit ? digits + 1 : 0
      kept.append(byte)
    }
    return kept
  }

  /// Ends a line that was cut, and asks for the integrity of the store.
  func end() {
    take(Array("\n".utf8))
    if sidecar.phase == .shuttingDown { return }
    take(Array(#"{"jsonrpc":"2.0","id":"the last","method":"check_integrity"}"#.utf8) + [UInt8(ascii: "\n")])
    let expected = #"{"jsonrpc":"2.0","id":"the last","result":{"ok":true,"problems":[],"audit":"#
    guard answers.last?.starts(with: expected.utf8) == true else {
      fatalError("the store is not sound, or the line behind is not served: \(text(answers.last ?? []))")
    }
  }

  func dump() -> [UInt8] {
    var dump: [UInt8] = []
    do {
      try store.beginRead()
      defer { store.endRead() }
      try store.writeDump { lines, _ in dump += lines }
    } catch {
      fatalError("it cannot be dumped: \(error)")
    }
    return Self.withoutHashes(dump)
  }
}

func tellsOfGroups(_ answer: [UInt8]) -> Bool {
  holds(answer, "_us\":") || holds(answer, "mcp_session_store_commit")
}

func isJSON(_ bytes: [UInt8]) -> Bool {
  do throws(JSONError) {
    try JSONScanner.validate(bytes.span)
    return true
  } catch {
    return false
  }
}

func holds(_ bytes: [UInt8], _ text: String) -> Bool {
  let wanted = Array(text.utf8)
  guard bytes.count >= wanted.count else { return false }
  return (0...bytes.count - wanted.count).contains { bytes[$0..<$0 + wanted.count].elementsEqual(wanted) }
}

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
