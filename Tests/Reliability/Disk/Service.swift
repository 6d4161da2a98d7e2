import JSONRPC
import SQLite
import SessionStore
import Sidecar

/// A clock that moves only when told to.
final class Clock {
  var now: Int64 = 1_795_210_000_000
}

/// A request as it goes over the wire.
struct Request {
  let line: [UInt8]
  /// when it is sent, Unix milliseconds
  let time: Int64
}

/// How a store is opened here: bounds that are small enough to be met.
struct Opening {
  var durability = Durability.full
  var exclusive = false

  static let all = [Opening(), Opening(durability: .normal), Opening(exclusive: true)]

  static let limits: Limits = {
    var limits = Limits()
    limits.busyTimeout = 2
    limits.maxEventsPerSession = 30
    limits.logDedupWindow = 12
    limits.maxAuditEvents = 25
    return limits
  }()

  var name: String { durability.rawValue + (exclusive ? ", exclusive" : "") }

  func open(_ path: String, _ clock: Clock, schema: Schema = .current) throws(OpenError) -> Store {
    try Store.open(
      path, limits: Self.limits, durability: durability, exclusive: exclusive,
      environment: Environment(now: { clock.now }, random: { 0 }), schema: schema)
  }
}

/// The service, run as the program runs it: requests go in, and an answer counts when it has come out.
final class Service {
  private let sidecar: Sidecar
  private let store: Store
  private let clock: Clock
  private var unread: [UInt8] = []
  /// one line each
  private(set) var answers: [[UInt8]] = []
  /// told how many answers have come out
  var onAnswers: (Int) -> Void = { _ in }
  /// The program would have ended: nothing is answered any more.
  private(set) var hasFailed = false

  init(_ store: Store, _ clock: Clock) {
    self.store = store
    self.clock = clock
    sidecar = Sidecar(store: store)
  }

  /// Sends requests that come in one piece.
  func send(_ requests: ArraySlice<Request>) {
    if hasFailed { return }
    if let time = requests.first?.time { clock.now = time }
    sidecar.receive(Array(requests.map(\.line).joined()))
    while sidecar.run() { passBetweenGroups() }
    sidecar.closeGroup()
    passBetweenGroups()
  }

  /// What the program does after each group.
  private func passBetweenGroups() {
    read()
    sidecar.tick(room: 1 << 20)
    sidecar.deliver(room: 1 << 20)
    read()
    if sidecar.phase == .failed { hasFailed = true }
    if store.checkpointIsDue { checkpoint() }
  }

  func checkpoint() {
    if hasFailed { return }
    do { try store.checkpoint() } catch { hasFailed = true }
  }

  private func read() {
    sidecar.moveOutput(to: &unread)
    let lines = unread.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    let count = answers.count
    answers += lines.dropLast().map(Array.init)
    unread = Array(lines.last ?? [])
    if answers.count > count { onAnswers(answers.count) }
  }

  /// what `check_integrity` finds
  func problems() throws -> [String] {
    guard case .checked(let problems, _) = try store.run(.integrityCheck()) else { return ["nothing was checked"] }
    return problems
  }

  func digest() throws -> UInt64 { try store.digest() }
}

extension Store {
  /// Everything in it, as one number; the same for equal contents in one process. The hashes of the audit trail, which
  /// differ by their salts, are left out: whether they hold is a problem that the integrity check finds.
  func digest() throws -> UInt64 {
    var hasher = Hasher()
    try dump { lines in Self.withoutHashes(lines).withUnsafeBytes { hasher.combine(bytes: $0) } }
    return UInt64(bitPattern: Int64(hasher.finalize()))
  }

  private static func withoutHashes(_ lines: [UInt8]) -> [UInt8] {
    let marks = [#""seal":""#, #""hash":""#].map { Array($0.utf8) }
    var kept: [UInt8] = []
    var isInHash = false
    for byte in lines {
      if isInHash, byte != UInt8(ascii: "\"") { continue }
      isInHash = false
      kept.append(byte)
      if byte == UInt8(ascii: "\""), marks.contains(where: kept.suffix(8).elementsEqual) { isInHash = true }
    }
    return kept
  }

  private func dump(_ emit: ([UInt8]) -> Void) throws {
    try read { try writeDump { lines, _ in emit(lines) } }
  }
}
