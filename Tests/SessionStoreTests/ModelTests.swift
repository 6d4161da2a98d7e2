import Foundation
import Database
import JSON
import SQLite
import Testing

@testable import SessionStore

/// Random operations on the store and on a plain model of it, compared one by one.
///
/// `MCP_SESSION_STORE_SEED` repeats a run, `MCP_SESSION_STORE_OPERATIONS` sets its length.
@Suite struct ModelTests {
  @Test func theStoreDoesWhatItsModelDoes() throws {
    let environment = ProcessInfo.processInfo.environment
    let seed = environment["MCP_SESSION_STORE_SEED"].flatMap { UInt64($0) } ?? .random(in: 0...UInt64(UInt32.max))
    // On a server each statement is a trip.
    let operations =
      environment["MCP_SESSION_STORE_OPERATIONS"].flatMap { Int($0) } ?? (TestServer.address == nil ? 200_000 : 4_000)
    let run = try ModelRun(seed: seed)
    do {
      try run.run(operations: operations)
    } catch let difference as ModelRun.Difference {
      Issue.record(
        """
        operation \(run.operation): \(difference.what)
          store: \(difference.store)
          model: \(difference.model)
          repeat it with MCP_SESSION_STORE_SEED=\(seed)
        """)
    } catch {
      Issue.record("operation \(run.operation): \(error); repeat it with MCP_SESSION_STORE_SEED=\(seed)")
    }
    // Otherwise the run says less than it seems to.
    for (name, tally) in run.tallies.sorted(by: { $0.key < $1.key }) where operations >= 100_000 {
      #expect(tally.done >= 20, "\(name) never got far enough (seed \(seed))")
    }
    let seen = Set(run.refusals.keys)
    for kind in ModelRun.refusalsToSee where operations >= 100_000 {
      #expect(seen.contains(kind), "nothing was refused as \(kind) (seed \(seed))")
    }
  }
}

/// SplitMix64: small, and the same everywhere.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

final class ModelRun {
  struct Difference: Error {
    var what: String
    var store: String
    var model: String
  }

  struct Tally {
    var done = 0
    var refused = 0
  }

  struct Reader {
    var real: EventReader
    var number: Int64
    var id: String
    var stream: String?
    var after: Int64
  }

  static let refusalsToSee = [
    "sessionNotFound", "sessionExists", "sessionExpired", "invalidSessionStatus", "maxSessionsReached",
    "maxUserSessionsReached", "maxEventsReached", "taskNotFound", "taskExists", "invalidTransition", "terminalState",
    "maxTasksReached", "maxInputKeysReached", "maxValuesReached", "queueFull", "concurrentModification",
    "payloadTooLarge", "invalidParameter",
  ]

  let directory: TemporaryDirectory
  let clock = Clock()
  var random: SeededGenerator
  var limits = Limits()
  /// two on one file or schema, as two processes have it
  var stores: [Store] = []
  var model: Model
  var readers: [Reader] = []
  var operation = 0
  var tallies: [String: Tally] = [:]
  var refusals: [String: Int] = [:]
  private var current: Store?
  /// operations for which the clock stands
  private var stillFor = 0

  init(seed: UInt64) throws {
    directory = try TemporaryDirectory()
    random = SeededGenerator(state: seed)
    model = Model(limits: limits)
    changeLimits()
    try openStores()
  }

  private func openStores() throws {
    stores = []
    let environment = Environment(now: { [clock] in clock.now })
    for _ in 0..<2 {
      stores.append(
        try TestServer.open(directory.file("model.db"), limits: limits, environment: environment))
    }
    model.limits = limits
    if stores[0].isShared {
      model.blocks = stores.map { _ in NumberBlock(sequence: "revisions", size: 1_024) }
    }
  }

  private func changeLimits() {
    limits.busyTimeout = 0
    limits.maxSessions = pick([12, 20, 30, 0])
    limits.maxSessionsPerUser = pick([0, 3, 5])
    limits.maxEventsPerSession = pick([3, 8, 20, 60, 0])
    limits.eventOverflow = chance(70) ? .evict : .error
    limits.maxTasks = pick([8, 15, 25, 0])
    limits.maxTaskMessages = pick([3, 6, 0])
    limits.maxTaskInputKeys = pick([5, 0])
    limits.maxValues = pick([10, 25, 60, 0])
    limits.maxStateBytes = pick([0, 60, 120])
    limits.logDedupWindow = 5
    limits.maxViolations = pick([0, 2, 5])
    limits.maxAuditEvents = pick([0, 4, 400])
    // There the oldest of a ring are those with the lowest numbers, which need not have come first.
    if TestServer.address != nil { limits.maxAuditEvents = 0 }
    limits.sessionTTL = pick([0, 1_000_000, 3_000_000])
    limits.inactivityTimeout = pick([0, 200_000, 400_000])
    // The sweep learns of a session's end when the session is suspended, so this one stays.
    limits.maxSuspension = 150_000
    limits.retainEnded = pick([0, 0, 300_000, 2_000_000])
  }

  // MARK: - Chance

  private func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
  private func chance(_ percent: Int) -> Bool { below(100) < percent }
  private func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }
  private func some<Element>(_ percent: Int, _ element: @autoclosure () -> Element) -> Element? {
    chance(percent) ? element() : nil
  }
  private func time(_ bound: Int) -> Int64 { Int64(below(bound)) }

  private static let payloads: [JSONText] = [
    "null", "{}", "[]", "0", "1.0", "1e2", "-0", "123456789012345678901234567890", #""text""#, #""\u00e9\n""#,
    #"{"b":1,"a":[true,false],"b":2}"#, #""\ud800""#, #""été""#, #"{"jsonrpc":"2.0","method":"ping"}"#,
    // More than a row of a task takes in.
    JSONText(stringLiteral: "\"" + String(repeating: "x", count: TaskField.ownBytes) + "\""),
  ]
  private static let objects: [JSONText] = [
    "{}", #"{"theme":"dark"}"#, #"{"n":1.50,"m":{"x":null}}"#,
    JSONText(stringLiteral: "{\"k\":\"" + String(repeating: "x", count: TaskField.ownBytes) + "\"}"),
  ]
  private static let stateKeys = ["a", "b", "counter", "mcp:tool", "ключ", "x y"]
  private static let streams: [String?] = [nil, nil, "s1", "s2", "_GET_stream"]

  private func payload() -> JSONText { pick(Self.payloads) }

  private func sessionID() -> String {
    // The oldest one is used much, so that some sessions lose many events.
    if chance(12), let oldest = model.sessions.first { return oldest.id }
    if chance(75), !model.sessions.isEmpty { return pick(model.sessions).id }
    return "session-\(below(34))"
  }

  private func taskID() -> String {
    if chance(75), !model.tasks.isEmpty { return pick(model.tasks).id }
    return "task-\(below(26))"
  }

  private func claim(_ names: [String]) -> OwnerClaim {
    switch below(10) {
    case 0: .anonymous
    case 1...3: .named(pick(names))
    default: .unspecified
    }
  }

  private func owner() -> Owner {
    if chance(48) { return .server }
    if chance(25) { return Owner(tenant: .unspecified, principal: .unspecified, seesEnded: true) }
    return Owner(
      tenant: claim(["t1", "t2"]), principal: claim(["alice", "bob", "carol"]), seesEnded: chance(20))
  }

  private func scope() -> TaskScope { TaskScope(sessionID: some(10, sessionID()), owner: owner()) }

  private func user() -> String { "user-\(below(4))" }

  private func pairs(_ keys: [String], atMost count: Int) -> [Model.Pair] {
    var pairs: [Model.Pair] = []
    for _ in 0..<below(count + 1) {
      let key = pick(keys)
      if !pairs.contains(where: { $0.key == key }) { pairs.append(Model.Pair(key: key, value: payload().string)) }
    }
    return pairs
  }

  private func json(_ pairs: [Model.Pair]) throws -> JSONText { try JSONText(Model.object(pairs)) }

  private func newEvent() -> NewEvent {
    NewEvent(
      data: payload(), eventType: pick([nil, nil, "message", "ping", "progress"]), streamID: pick(Self.streams),
      retry: some(10, time(5_000)), timestamp: some(10, time(1_000_000)))
  }

  private func filter(status: [SessionStatus?] = [nil, nil, nil] + SessionStatus.allCases) -> SessionFilter {
    SessionFilter(userID: some(30, user()), status: pick(status), owner: owner())
  }

  private func moveClock() throws {
    if stillFor > 0 {
      stillFor -= 1
      return
    }
    switch below(1_000) {
    case 0..<700: clock.now += time(6)
    case 700..<960: clock.now += time(400)
    case 960..<990: clock.now += time(6_000)
    case 990..<996: clock.now += time(60_000)
    case 996..<998: jumpToADeadline()
    default:
      // What lapsed and is swept does not come back with the old time; what lapsed and is not swept does.
      try followSweeps()
      clock.now -= time(100_000)
    }
  }

  /// To the very millisecond from which something is over, or the one before or after it.
  private func jumpToADeadline() {
    var deadlines = model.sessions.flatMap { session in
      [session.expiresAt, session.timeout.map { session.lastActivity + $0 }, session.suspendedAt.map { $0 + 150_000 }]
        .compactMap { $0 }
    }
    deadlines += model.sessions.compactMap { session in session.endedAt.map { $0 + limits.retainEnded } }
    deadlines += model.tasks.compactMap { task in task.ttl.map { task.createdAt + $0 } }
    deadlines += model.values.compactMap(\.expiresAt)
    deadlines += model.nonces.values
    deadlines = deadlines.filter { $0 > clock.now && $0 < clock.now + 60_000 }
    if deadlines.isEmpty { return }
    clock.now = max(clock.now, pick(deadlines.sorted()) + pick([-1, 0, 1]))
    stillFor = 30
  }

  // MARK: - Running

  func run(operations: Int) throws {
    while operation < operations {
      switch below(100) {
      case 0..<70: try group(on: pick(stores), size: 1 + below(chance(30) ? 200 : 30), abandon: chance(12))
      case 70..<97: try reads(on: pick(stores))
      case 97: try pick(stores).checkpoint()
      case 98: try maintain(pick(stores))
      default:
        try compareAll(pick(stores))
        changeLimits()
        try openStores()
      }
    }
    for store in stores { try compareAll(store) }
    try openStores()
    try compareAll(stores[0])
    try dumpAndLoad(stores[0])
    guard case .checked(let problems, _) = try stores[0].run(.integrityCheck()) else { return }
    try same("what a check finds", problems, [])
  }

  /// What is loaded into a new store dumps the same again.
  private func dumpAndLoad(_ store: Store) throws {
    func dump(_ store: Store) throws -> [UInt8] {
      var text: [UInt8] = []
      try store.read { try store.writeDump { lines, _ in text += lines } }
      return text
    }
    let text = try dump(store)
    let new = try TestServer.open(
      directory.file("loaded.db"), limits: limits, environment: Environment(now: { [clock] in clock.now }))
    let records = try new.load { loader in
      for line in text.split(separator: UInt8(ascii: "\n")) { try loader.load(line) }
    }
    try same("records", records, Int64(text.count { $0 == UInt8(ascii: "\n") } - 2))
    try same("a dump of what was loaded", try dump(new) == text, true)
  }

  private func group(on store: Store, size: Int, abandon: Bool) throws {
    let before = model
    try store.beginGroup(waiting: 0)
    beginNumbers(of: store)
    current = store
    for _ in 0..<size {
      if chance(4) { try transaction(store) } else { try writeOrRead() }
    }
    if abandon {
      store.abandonGroup()
      model.goBack(to: before, givingNumbersAgain: false)
      model.limits = limits
    } else {
      try store.commitGroup()
    }
  }

  private func beginNumbers(of store: Store) {
    model.process = stores.firstIndex { $0 === store } ?? 0
    model.drawNumbers()
  }

  private func maintain(_ store: Store) throws {
    store.beginRequest()
    beginNumbers(of: store)
    _ = try store.maintain()
    try followSweeps(store)
  }

  private struct Refuse: Error {}

  /// Several operations that all happen or none.
  private func transaction(_ store: Store) throws {
    let before = model
    let refuse = chance(50)
    let count = 1 + below(6)
    do {
      try store.atomically {
        for _ in 0..<count { try writeOrRead() }
        if refuse { throw Refuse() }
      }
    } catch is Refuse {
      model.goBack(to: before, givingNumbersAgain: true)
      try same("the revision after a refused transaction", store.counters.revision, model.revision)
    }
  }

  /// Requests outside a group, and what subscriptions read after a commit.
  private func reads(on store: Store) throws {
    for _ in 0..<1 + below(25) {
      try store.beginRead()
      current = store
      defer { store.endRead() }
      try beginOperation()
      if chance(40) { try readOperation() } else { try readerOperation() }
    }
  }

  private func beginOperation() throws {
    operation += 1
    try moveClock()
    current!.beginRequest()
    model.now = clock.now
  }

  private func writeOrRead() throws {
    try beginOperation()
    switch below(100) {
    case 0..<22: try sessionOperation()
    case 22..<32: try stateOperation()
    case 32..<54: try eventOperation()
    case 54..<74: try taskOperation()
    case 74..<79: try messageOperation()
    case 79..<84: try valueOperation()
    case 84..<87: try logOperation()
    case 87: try securityOperation()
    case 88..<92: try readOperation()
    case 92..<96: try sweepOperation()
    default: try deletionOperation()
    }
    try same("the revision", current!.counters.revision, model.revision)
  }

  // MARK: - Comparing

  private func same<Value: Equatable>(_ what: @autoclosure () -> String, _ store: Value, _ model: Value) throws {
    if store != model { throw Difference(what: what(), store: "\(store)", model: "\(model)") }
  }

  /// Runs one operation on both sides.
  private func both<Value: Equatable>(
    _ name: String, _ details: @autoclosure () -> String = "", _ real: (Store) throws -> Value,
    _ expected: (inout Model) throws -> Value
  ) throws {
    func outcome(_ body: () throws -> Value) throws -> Result<Value, StoreError> {
      do { return .success(try body()) } catch let error as StoreError { return .failure(error) }
    }
    let store = try outcome { try real(current!) }
    let model = try outcome { try expected(&self.model) }
    if store != model {
      throw Difference(what: "\(name) \(details())", store: "\(store)", model: "\(model)")
    }
    switch store {
    case .success: tallies[name, default: Tally()].done += 1
    case .failure(let error):
      tallies[name, default: Tally()].refused += 1
      refusals[Self.kind(error), default: 0] += 1
    }
  }

  private static func kind(_ error: StoreError) -> String {
    switch error {
    case .sessionNotFound: "sessionNotFound"
    case .sessionExists: "sessionExists"
    case .sessionExpired: "sessionExpired"
    case .invalidSessionStatus: "invalidSessionStatus"
    case .maxSessionsReached: "maxSessionsReached"
    case .maxUserSessionsReached: "maxUserSessionsReached"
    case .maxEventsReached: "maxEventsReached"
    case .taskNotFound: "taskNotFound"
    case .taskExists: "taskExists"
    case .invalidTransition: "invalidTransition"
    case .terminalState: "terminalState"
    case .maxTasksReached: "maxTasksReached"
    case .maxInputKeysReached: "maxInputKeysReached"
    case .maxValuesReached: "maxValuesReached"
    case .queueFull: "queueFull"
    case .concurrentModification: "concurrentModification"
    case .payloadTooLarge: "payloadTooLarge"
    case .invalidParameter: "invalidParameter"
    default: "\(error)"
    }
  }

  private func record(_ session: Session) -> SessionRecord {
    SessionRecord(
      id: session.sessionID, status: session.status, user: session.userID, tenant: session.tenantID,
      principal: session.principal, clientCapabilities: session.clientCapabilities?.string,
      serverCapabilities: session.serverCapabilities?.string, state: session.state?.string,
      metadata: session.metadata.string, isInitialized: session.isInitialized, createdAt: session.createdAt,
      lastActivity: session.lastActivity, expiresAt: session.expiresAt, timeout: session.inactivityTimeout,
      suspendedAt: session.suspendedAt, endedAt: session.endedAt, newest: session.lastEventID,
      revision: session.revision)
  }

  private func view(_ task: TaskRecord) throws -> TaskView {
    try TaskView(
      id: task.taskID, session: task.sessionID, tenant: task.tenantID, principal: task.principal,
      status: task.status, message: task.statusMessage, createdAt: task.createdAt, updatedAt: task.lastUpdatedAt,
      ttl: task.ttl, poll: task.pollInterval, method: task.originalMethod, params: task.originalParams?.string,
      result: task.result?.string, requests: task.inputRequests?.string, responses: task.inputResponses?.string,
      cancelRequested: task.cancelRequested, meta: task.meta?.string, revision: task.revision)
  }

  private func event(_ row: borrowing EventRow) -> Model.Event {
    Model.Event(
      id: row.id, stream: row.streamID, type: row.eventType, timestamp: row.timestamp, retry: row.retry,
      data: row.withData { span in String(decoding: span.indices.map { span[$0] }, as: UTF8.self) })
  }

  /// The gap as the model has it, when what the store says is within what it may say.
  private func gap(_ gap: EventGap?, like expected: Model.Gap?) -> Model.Gap? {
    guard let gap else { return nil }
    if let expected, gap.oldestAvailable == expected.oldest,
      (expected.dropped...expected.atMost).contains(gap.dropped)
    {
      return expected
    }
    return Model.Gap(dropped: gap.dropped, atMost: gap.dropped, oldest: gap.oldestAvailable)
  }

  // MARK: - Rows that the store removes by itself

  /// Whether the store may have had to make room.
  private func isAt(_ cap: Int, _ count: Int) -> Bool { cap > 0 && count >= cap }

  /// Finds out which rows a sweep has removed: each must have been past its time.
  private func followSweeps(_ store: Store? = nil) throws {
    guard let store = store ?? current else { return }
    func keys(_ sql: String, columns: Int32 = 1) throws -> Set<String> {
      var select = try store.tables.connection(.server).statement(composed: sql)
      var keys: Set<String> = []
      while try select.step() {
        keys.insert((0..<columns).map { select.string($0) }.joined(separator: "\u{0}"))
      }
      return keys
    }
    model.now = clock.now
    func follow<Row>(
      _ what: String, _ rows: [Row], _ kept: Set<String>, _ key: (Row) -> String, mayBeGone: (Row) -> Bool
    ) throws -> [Row] {
      let known = Set(rows.map(key))
      if let extra = kept.subtracting(known).first {
        throw Difference(what: "\(what) left behind", store: extra, model: "none")
      }
      if kept.count == known.count { return rows }
      return try rows.filter { row in
        if kept.contains(key(row)) { return true }
        if !mayBeGone(row) {
          throw Difference(what: "\(what) removed before its time", store: "gone", model: "\(row)")
        }
        return false
      }
    }
    let sessions = try keys("SELECT CAST(number AS TEXT), session_id FROM sessions", columns: 2)
    model.sessions = try follow("session", model.sessions, sessions, { "\($0.number)\u{0}\($0.id)" }) {
      model.status($0).isOver && !model.isKept($0) || isAt(limits.maxSessions + 1, model.endedCount)
    }
    try followEnds(store)
    let tasks = try keys("SELECT CAST(number AS TEXT), task_id FROM tasks", columns: 2)
    model.tasks = try follow("task", model.tasks, tasks, { "\($0.number)\u{0}\($0.id)" }, mayBeGone: model.hasLapsed)
    let values = try keys("SELECT CAST(number AS TEXT), key FROM named_values", columns: 2)
    model.values = try follow(
      "value", model.values, values, { "\($0.number)\u{0}\($0.key)" }, mayBeGone: model.hasLapsed)
    let nonces = try keys("SELECT nonce, principal FROM nonces", columns: 2)
    let kept = try follow(
      "nonce", Array(model.nonces), nonces, { "\($0.key.text)\u{0}\($0.key.principal ?? "")" },
      mayBeGone: { clock.now >= $0.value })
    model.nonces = Dictionary(uniqueKeysWithValues: kept.map { ($0.key, $0.value) })
    let rates = try follow("rate limit", Array(model.rates), keys("SELECT key FROM rate_limits"), \.key) {
      $0.value <= clock.now * 1_000_000
    }
    model.rates = Dictionary(uniqueKeysWithValues: rates.map { ($0.key, $0.value) })
    try same("the number of sessions", store.counters.sessions, Int64(model.sessions.count))
    try same("the number of events", store.counters.events, model.sessions.reduce(0) { $0 + Int64($1.events.count) })
    try same("the number of tasks", store.counters.tasks, Int64(model.tasks.count))
    try same("the number of values", store.counters.values, Int64(model.values.count))
  }

  /// Finds out which sessions a sweep has ended: each at the deadline that had passed.
  private func followEnds(_ store: Store) throws {
    if store.isInGroup { try store.flushSessions() }
    var select = try store.tables.connection(.server).statement(
      "SELECT number, ended_at, status FROM sessions WHERE ended_at IS NOT NULL")
    while try select.step() {
      let number = select.integer(0)
      guard let index = model.sessions.firstIndex(where: { $0.number == number }) else { continue }
      let session = model.sessions[index]
      if session.endedAt == nil {
        try same("\(session.id) was ended as", model.status(session), .expired)
        (model.sessions[index].endedAt, model.sessions[index].status) = (model.end(session), .expired)
      }
      try same("the end of \(session.id)", select.integer(1), model.sessions[index].endedAt)
      try same("the status of \(session.id)", select.string(2), model.sessions[index].status.rawValue)
    }
    let ended = Int64(model.sessions.count { $0.endedAt != nil })
    try same("the number of sessions that have ended", store.counters.endedSessions, ended)
  }

  // MARK: - The whole contents

  private func compareAll(_ store: Store) throws {
    try store.beginRead()
    defer { store.endRead() }
    current = store
    store.beginRequest()
    model.now = clock.now
    try followSweeps(store)

    func rows(_ sql: String, columns: Int32) throws -> [String] {
      var select = try store.tables.connection(.server).statement(composed: sql)
      var rows: [String] = []
      while try select.step() {
        rows.append((0..<columns).map { select.optionalString($0) ?? "-" }.joined(separator: "|"))
      }
      return rows
    }
    func line(_ columns: [String?]) -> String { columns.map { $0 ?? "-" }.joined(separator: "|") }

    for (status, seesEnded) in ([nil] + SessionStatus.allCases).flatMap({ [($0, false), ($0, true)] }) {
      let filter = SessionFilter(
        status: status, owner: Owner(tenant: .unspecified, principal: .unspecified, seesEnded: seesEnded))
      var sessions: [SessionRecord] = []
      _ = try store.listSessions(filter, after: 0, limit: 1_000, includeState: true) { session, _ in
        sessions.append(record(session))
        return true
      }
      try same("all sessions", sessions, model.matching(filter).map { model.record($0) })
    }
    try same(
      "all events",
      try store.storedEvents().filter { $0.id > $0.floor }.map {
        line([
          "\($0.session)", "\($0.id)", $0.stream, $0.type ?? "message", "\($0.timestamp)", $0.retry.map(String.init),
          $0.data,
        ])
      },
      model.sessions.flatMap { session in
        session.events.map {
          line([
            "\(session.number)", "\($0.id)", $0.stream, $0.type, "\($0.timestamp)", $0.retry.map(String.init),
            $0.data,
          ])
        }
      })
    try compareAudit(store)
    try same(
      "all log entries",
      try store.storedLogEntries().map { line(["\($0.session)", "\($0.seq)", $0.kind, $0.entry]) },
      model.sessions.flatMap { session in
        session.log.entries.map { line(["\(session.number)", "\($0.seq)", $0.kind?.rawValue, $0.text]) }
      })
    try same(
      "what validation remembers",
      try rows("SELECT number, ip_address, user_agent FROM sessions ORDER BY number", columns: 3),
      model.sessions.map { line(["\($0.number)", $0.address, $0.agent]) })
    try same(
      "rows of sessions that are gone",
      try rows(
        """
        SELECT 'event', session FROM events WHERE session NOT IN (SELECT number FROM sessions) UNION ALL
        SELECT 'state', session FROM session_state WHERE session NOT IN (SELECT number FROM sessions) UNION ALL
        SELECT 'loss', session FROM stream_losses WHERE session NOT IN (SELECT number FROM sessions) UNION ALL
        SELECT 'ids', session FROM log_message_ids WHERE session NOT IN (SELECT number FROM sessions) UNION ALL
        SELECT 'sender', session FROM log_participants WHERE session NOT IN (SELECT number FROM sessions) UNION ALL
        SELECT 'payload', task FROM task_payloads WHERE task NOT IN (SELECT number FROM tasks) UNION ALL
        SELECT 'key', task FROM task_input_keys WHERE task NOT IN (SELECT number FROM tasks) UNION ALL
        SELECT 'message', task FROM task_messages WHERE task NOT IN (SELECT number FROM tasks)
        """, columns: 2), [])
    let seeing = Owner(tenant: .unspecified, principal: .unspecified, seesEnded: true)
    for session in model.sessions where (try? model.readable(session.id, seeing)) != nil {
      for stream in [nil, "s1", "s2"] as [String?] {
        let after = time(Int(session.newest) + 1)
        let expected = model.page(session, after: after, stream: stream, limit: 1_000, stop: 1_000)
        var events: [Model.Event] = []
        let page = try store.readEvents(
          session.id, after: after, streamID: stream, limit: 1_000, owner: seeing
        ) { row in
          events.append(event(row))
          return true
        }
        let real = PageRecord(
          events: events, nextAfter: page.nextAfter, newest: page.newestID, hasMore: page.hasMore,
          gap: gap(page.gap, like: expected.gap), cursorAhead: page.cursorAhead)
        try same("events of \(session.id)", real, expected)
      }
    }
    var tasks: [TaskView] = []
    var select = try store.tables.connection(.server).statement(
      composed: TaskRecord.select + " ORDER BY number")
    while try select.step() { tasks.append(try view(TaskRecord(select, store))) }
    try same("all tasks", tasks, model.tasks.map { TaskView($0) })
    try same(
      "all messages",
      try rows("SELECT task, message FROM task_messages ORDER BY task, number", columns: 2),
      model.tasks.flatMap { task in task.queue.map { "\(task.number)|\($0)" } })
    try same(
      "all values",
      try rows(
        """
        SELECT number, tenant_id, principal, collection, key, value, expires_at, revision FROM named_values
        ORDER BY number
        """, columns: 8),
      model.values.map {
        line([
          "\($0.number)", $0.place.tenant ?? "", $0.place.principal ?? "", $0.place.collection, $0.key, $0.value,
          $0.expiresAt.map(String.init), "\($0.revision)",
        ])
      })
    try same(
      "all nonces", Set(try rows("SELECT nonce, principal, expires_at FROM nonces", columns: 3)),
      Set(model.nonces.map { line([$0.key.text, $0.key.principal ?? "", "\($0.value)"]) }))
  }
}

// MARK: - Operations on sessions

extension ModelRun {
  private func sessionOperation() throws {
    switch below(20) {
    case 0...5: try createSession()
    case 6...7:
      let (id, owner, touch) = (sessionID(), owner(), chance(50))
      try both("get_session", id) { store in
        try store.getSession(id, owner: owner, touch: touch).map(record)
      } _: { model in
        model.getSession(id, owner: owner, touch: touch)
      }
    case 8...10: try updateSession()
    case 11:
      let (id, owner) = (sessionID(), owner())
      try both("touch_session", id) { record(try $0.touchSession(id, owner: owner)) } _: {
        try $0.touchSession(id, owner: owner)
      }
    case 12...17:
      let (id, owner) = (sessionID(), owner())
      let step = pick(
        [.activate, .activate, .activate, .resume, .resume, .resume, .suspend, .suspend]
          + Store.LifecycleStep.allCases as [Store.LifecycleStep])
      try both("\(step)_session", id) { record(try $0.changeStatus(id, step, owner: owner)) } _: {
        try $0.changeStatus(id, step, owner: owner)
      }
    default:
      let (id, owner) = (sessionID(), owner())
      let (address, agent) = (pick([nil, "10.0.0.1", "10.0.0.2"]), pick([nil, "a", "a", "b"]))
      try both("validate_session", "\(id) \(address ?? "-") \(agent ?? "-")") { store in
        try store.validateSession(id, owner: owner, address: address, agent: agent)?.rawValue
      } _: { model in
        model.validateSession(id, owner: owner, address: address, agent: agent)
      }
    }
  }

  private func createSession() throws {
    var new = NewSession()
    new.sessionID = some(95, chance(70) ? "session-\(below(34))" : sessionID())
    new.idFormat = pick([nil, .uuid, .random])
    new.userID = some(60, user())
    new.clientCapabilities = some(30, payload())
    new.serverCapabilities = some(30, payload())
    new.metadata = some(30, pick(Self.objects))
    new.status = pick([.pending, .active, .active])
    new.isInitialized = chance(30)
    new.ttl = pick([nil, nil, 0, time(2_000_000), time(300_000)])
    new.inactivityTimeout = pick([nil, nil, 0, time(400_000)])
    new.createdAt = some(10, clock.now - time(100_000))
    new.lastActivity = some(10, clock.now - 50_000 + time(100_000))
    new.expiresAt = some(5, clock.now + time(1_000_000))
    let state = pairs(Self.stateKeys, atMost: 3)
    new.state = state.isEmpty && chance(50) ? nil : try json(state)
    let owner = owner()
    var made: String?
    try both("create_session", new.sessionID ?? "") { store in
      let session = try store.createSession(new, owner: owner)
      made = session.sessionID
      return record(session)
    } _: { model in
      try model.createSession(new.sessionID ?? made ?? "", new, state: state, owner: owner)
    }
    if limits.maxSessionsPerUser > 0 || isAt(limits.maxSessions, model.sessions.count) || limits.retainEnded > 0 {
      try followSweeps()
    }
  }

  private func updateSession() throws {
    let (id, owner) = (sessionID(), owner())
    var update = SessionUpdate()
    var state: [Model.Pair]?
    if chance(30) { update.userID = .set(some(70, user())) }
    if chance(20) { update.clientCapabilities = .set(some(70, payload())) }
    if chance(20) { update.serverCapabilities = .set(some(70, payload())) }
    if chance(30) { update.metadata = .set(pick(Self.objects)) }
    if chance(30) { update.isInitialized = .set(chance(50)) }
    if chance(10) { update.lastActivity = .set(clock.now - 50_000 + time(100_000)) }
    if chance(15) { update.expiresAt = .set(some(70, clock.now + time(1_000_000))) }
    if chance(15) { update.inactivityTimeout = .set(pick([nil, 0, time(400_000)])) }
    if chance(30) {
      state = pairs(Self.stateKeys, atMost: 4)
      update.state = .set(try json(state!))
    }
    let ifRevision = some(
      20, chance(70) ? model.sessions.first { $0.id == id }?.revision ?? 1 : time(Int(model.revision) + 1))
    try both("update_session", id) { store in
      record(try store.updateSession(id, update, owner: owner, ifRevision: ifRevision))
    } _: { model in
      try model.updateSession(id, update, state: state, owner: owner, ifRevision: ifRevision)
    }
  }

  private func stateOperation() throws {
    let (id, owner, key, value) = (sessionID(), owner(), pick(Self.stateKeys), payload())
    switch below(10) {
    case 0...5:
      try both("set_session_state", id) { try $0.setSessionState(id, key, value, owner: owner) } _: {
        try $0.setState(id, key, value.string, owner: owner)
      }
    case 6...7:
      try both("remove_session_state", id) { try $0.removeSessionState(id, key, owner: owner)?.string } _: {
        try $0.removeState(id, key, owner: owner)
      }
    case 8:
      try both("get_session_state", id) { try $0.getSessionState(id, key, owner: owner)?.string } _: { model in
        let index = try model.readable(id, owner)
        return model.sessions[index].state.first { $0.key == key }?.value
      }
    default:
      try both("list_session_state_keys", id) { try $0.sessionStateKeys(id, owner: owner) } _: { model in
        model.sessions[try model.readable(id, owner)].state.map(\.key)
      }
    }
  }

  private func deletionOperation() throws {
    switch below(10) {
    case 0...1:
      let (id, owner, deleteTasks) = ("session-\(below(34))", owner(), chance(30))
      try both("delete_session", id) { try $0.deleteSession(id, owner: owner, deleteTasks: deleteTasks) } _: {
        $0.deleteSession(id, owner: owner, deleteTasks: deleteTasks)
      }
    case 2...3:
      let (id, scope) = (taskID(), scope())
      try both("delete_task", id) { try $0.deleteTask(id, scope: scope) } _: { $0.deleteTask(id, scope: scope) }
    default:
      let (id, owner) = (sessionID(), owner())
      let newest = model.sessions.first { $0.id == id }?.newest ?? 0
      let before = time(Int(newest) + 3)
      try both("delete_events_before", "\(id) \(before)") {
        try $0.deleteEvents(id, before: before, owner: owner)
      } _: {
        try $0.deleteEvents(id, before: before, owner: owner)
      }
    }
  }
}

// MARK: - Operations on logs, security events and rate limits

extension ModelRun {
  private func entry() throws -> NewLogEntry {
    let message = some(80, "m\(below(9))")
    let kind = pick([nil, .incoming, .internal, .checkpoint] as [NewLogEntry.Kind?])
    var writer = JSONWriter()
    writer.beginObject()
    if let message { writer.member("message_id", message) }
    if let kind { writer.member("kind", kind.rawValue) }
    writer.member("data", payload())
    writer.endObject()
    return NewLogEntry(JSONText(validated: writer.bytes[...]), messageID: message, kind: kind)
  }

  private func logOperation() throws {
    let (id, owner) = (sessionID(), owner())
    switch below(20) {
    case 0..<15:
      let (entry, deduplicate) = (try entry(), chance(85))
      try both("append_log_entry", id) { store in
        let appended = try store.appendLogEntry(id, entry, deduplicate: deduplicate, owner: owner)
        return Model.Appended(seq: appended.seq, isDuplicate: appended.isDuplicate)
      } _: {
        try $0.appendLogEntry(id, entry, deduplicate: deduplicate, owner: owner)
      }
    case 15:
      let entries = try (0..<below(4)).map { _ in try entry() }
      try both("replace_log", id) { store in
        try store.replaceLog(id, entries, owner: owner).map { Array($0.first...$0.last) } ?? []
      } _: {
        try $0.replaceLog(id, entries, owner: owner)
      }
    case 16:
      let checkpoint = try entry()
      try both("compact_log", id) { store in
        let compacted = try store.compactLog(id, checkpoint, owner: owner)
        return [compacted.removed, compacted.seq]
      } _: {
        try $0.compactLog(id, checkpoint, owner: owner)
      }
    default: try loadLog(id, owner)
    }
  }

  private func loadLog(_ id: String, _ owner: Owner) throws {
    let (after, fromCheckpoint, limit) = (time(20), chance(30), 1 + below(8))
    let kind = pick([nil, nil, .incoming, .checkpoint] as [NewLogEntry.Kind?])
    try both("load_log", id) { store in
      var lines: [String] = []
      let page = try store.loadLog(
        id, after: after, kind: kind, fromCheckpoint: fromCheckpoint, limit: limit, owner: owner
      ) { row in
        var bytes: [UInt8] = []
        row.appendEntry(to: &bytes)
        lines.append("\(row.seq) \(String(decoding: bytes, as: UTF8.self))")
        return true
      }
      let oldest = page.oldestSeq.map(String.init) ?? "-"
      return lines + ["\(page.nextAfter) \(page.newestSeq) \(oldest) \(page.hasMore)"]
    } _: {
      try $0.loadLog(id, after: after, kind: kind, fromCheckpoint: fromCheckpoint, limit: limit, owner: owner)
    }
  }

  private func securityOperation() throws {
    if chance(50) {
      let (key, limit) = ("key-\(below(5))", Int64(pick([1, 2, 5])))
      try both("check_rate_limit", key) { try $0.checkRateLimit(key, limit: limit, window: limit * 3_000) } _: {
        $0.checkRateLimit(key, limit: limit, window: limit * 3_000)
      }
      return
    }
    let severity = pick([.low, .low, .medium, .high, .critical] as [Severity])
    let event = NewSecurityEvent(
      type: pick(SecurityEventType.allCases), severity: severity, sessionID: some(90, sessionID()))
    try both("record_security_event", "\(event)") { store in
      let recorded = try store.recordSecurityEvent(event)
      return "\(recorded.violations) \(recorded.action)"
    } _: {
      try $0.recordSecurityEvent(event)
    }
  }

  /// What the trail shows is the end of what has happened, as much of it as its rings hold.
  fileprivate func compareAudit(_ store: Store) throws {
    var (security, lifecycle): ([Model.Audited], [Model.Audited]) = ([], [])
    var numbers: [Int64] = []
    var changes = 0
    _ = try store.listAuditEvents(AuditFilter(), after: 0, limit: 1_000_000) { event in
      numbers.append(event.number)
      let action = event.action.flatMap(SecurityAction.init)
      let audited = Model.Audited(type: event.type, session: event.sessionID, action: action)
      if event.severity != nil {
        security.append(audited)
      } else {
        changes += 1
        if event.type != "expired" { lifecycle.append(audited) }
      }
      return true
    }
    try same("numbers of the trail", numbers, numbers.sorted())
    if store.isShared {
      // Between processes nothing comes behind anything.
      func sorted(_ events: [Model.Audited]) -> [String] { events.map { "\($0)" }.sorted() }
      try same("security events", sorted(security), sorted(model.security))
      try same("lifecycle changes", sorted(lifecycle), sorted(model.lifecycle))
      return
    }
    let cap = limits.maxAuditEvents == 0 ? Int.max : limits.maxAuditEvents
    // A ring that was smaller for a while has lost what it could not hold.
    try same("security events", security, model.security.suffix(min(security.count, cap)))
    try same("lifecycle changes", lifecycle, model.lifecycle.suffix(lifecycle.count))
    try same("the size of a ring", changes <= cap && security.count <= cap, true)
  }
}

// MARK: - Operations on events

extension ModelRun {
  private func eventOperation() throws {
    let (id, owner) = (sessionID(), owner())
    switch below(20) {
    case 0...11:
      let event = newEvent()
      try both("store_event", id) { store in
        let stored = try store.storeEvent(id, event, owner: owner)
        return [stored.id, stored.timestamp]
      } _: { model in
        [try model.storeEvents(id, [event], owner: owner, "store an event")[0], event.timestamp ?? model.now]
      }
    case 12...17:
      let events = (0...below(chance(6) ? 120 : 5)).map { _ in newEvent() }
      try both("store_events", id) { store in
        let stored = try store.storeEvents(id, events, owner: owner)
        return [stored.firstID, stored.lastID]
      } _: { model in
        try model.storeEvents(id, events, owner: owner, "store events")
      }
    default:
      let event = newEvent()
      let filter = filter(status: [nil, nil, nil, nil, .active, .pending] + SessionStatus.allCases)
      try both("broadcast_event", "\(filter)") { try $0.broadcastEvent(event, filter) } _: {
        try $0.broadcast(event, filter)
      }
    }
  }

  private func readEvents() throws {
    let (id, owner, stream, limit) = (sessionID(), owner(), pick(Self.streams), 1 + below(12))
    let session = model.sessions.first { $0.id == id }
    if chance(25) {
      try both("get_recent_events", id) { store in
        var events: [Model.Event] = []
        let page = try store.readRecentEvents(id, streamID: stream, limit: limit, owner: owner) { row in
          events.append(event(row))
          return true
        }
        return PageRecord(
          events: events, nextAfter: page.nextAfter, newest: page.newestID, hasMore: page.hasMore,
          gap: gap(page.gap, like: nil), cursorAhead: page.cursorAhead)
      } _: { model in
        model.recent(model.sessions[try model.readable(id, owner)], stream: stream, limit: limit)
      }
      return
    }
    let after = chance(20) ? 0 : time(Int(session?.newest ?? 0) + 3)
    let stop = chance(15) ? below(limit) : limit
    try both("get_events_after", "\(id) \(after) \(stream ?? "-") \(limit) \(stop)") { store in
      var events: [Model.Event] = []
      let page = try store.readEvents(id, after: after, streamID: stream, limit: limit, owner: owner) { row in
        if events.count == stop { return false }
        events.append(event(row))
        return true
      }
      let expected = session.flatMap { model.gap($0, after: after, stream: stream) }
      return PageRecord(
        events: events, nextAfter: page.nextAfter, newest: page.newestID, hasMore: page.hasMore,
        gap: gap(page.gap, like: expected), cursorAhead: page.cursorAhead)
    } _: { model in
      let session = model.sessions[try model.readable(id, owner)]
      return model.page(session, after: after, stream: stream, limit: limit, stop: stop)
    }
  }

  /// Starts a reader or lets one read on; outside groups, as subscriptions do.
  private func readerOperation() throws {
    if readers.count < 12, chance(40) || readers.isEmpty { return try startReader() }
    let index = below(readers.count)
    if chance(3) {
      readers.remove(at: index)
      return
    }
    var reader = readers[index]
    let (limit, stop) = (1 + below(12), chance(15) ? 0 : 100)
    var ended = false
    try both("subscription", "\(reader)") { store -> ReaderStep in
      var events: [Model.Event] = []
      let step = try store.readOn(&reader.real, limit: limit) { row in
        if events.count == stop { return false }
        events.append(event(row))
        return true
      }
      let session = model.sessions.first { $0.number == reader.number }
      return switch step {
      case .caughtUp: ReaderStep(kind: "caught up", events: events)
      case .more: ReaderStep(kind: "more", events: events)
      case .lagged(let lost):
        ReaderStep(
          kind: "lagged",
          gap: gap(lost, like: session.flatMap { model.gap($0, after: reader.after, stream: reader.stream) }))
      case .ended(let reason) where session != nil: ReaderStep(kind: reason)
      case .ended(let reason):
        // What the audit trail has forgotten a reader can only guess.
        ReaderStep(kind: try hasEnd(store, reader.number) ? reason : model.reasonOfEnd(reader.number))
      }
    } _: { model in
      guard let session = model.sessions.first(where: { $0.number == reader.number }) else {
        ended = true
        return ReaderStep(kind: model.reasonOfEnd(reader.number))
      }
      let status = model.status(session)
      if status.isOver || status == .invalidated {
        ended = true
        return ReaderStep(kind: status.rawValue)
      }
      if let gap = model.gap(session, after: reader.after, stream: reader.stream) {
        reader.after = session.floor
        return ReaderStep(kind: "lagged", gap: gap)
      }
      let page = model.page(session, after: reader.after, stream: reader.stream, limit: limit, stop: stop)
      reader.after = page.nextAfter
      return ReaderStep(kind: page.hasMore ? "more" : "caught up", events: page.events)
    }
    if ended { readers.remove(at: index) } else { readers[index] = reader }
  }

  private func hasEnd(_ store: Store, _ number: Int64) throws -> Bool {
    var select = try store.tables.statement(
      .server,
      """
      SELECT 1 FROM audit_events
      WHERE session = $1 AND (type = 'expired' OR type = 'resolved' OR type = 'deleted')
      """)
    select.bind(1, number)
    return try select.step()
  }

  private struct ReaderStep: Equatable {
    var kind: String
    var events: [Model.Event] = []
    var gap: Model.Gap?
  }

  private struct Start: Equatable {
    var newest: Int64
    var gap: Model.Gap?
    var cursorAhead: Bool
  }

  private func startReader() throws {
    let (id, owner, stream) = (sessionID(), owner(), pick(Self.streams))
    let session = model.sessions.first { $0.id == id }
    let after = some(70, time(Int(session?.newest ?? 0) + 3))
    try both("subscribe_events", id) { store in
      let start = try store.startReading(id, after: after, streamID: stream, owner: owner)
      let cursor = after ?? session!.newest
      readers.append(
        Reader(
          real: start.reader, number: session!.number, id: id, stream: stream,
          after: min(max(cursor, session!.floor), session!.newest)))
      return Start(
        newest: start.newestID, gap: gap(start.gap, like: model.gap(session!, after: cursor, stream: stream)),
        cursorAhead: start.cursorAhead)
    } _: { model in
      let session = model.sessions[try model.readable(id, owner)]
      let cursor = after ?? session.newest
      return Start(
        newest: session.newest, gap: model.gap(session, after: cursor, stream: stream),
        cursorAhead: cursor > session.newest)
    }
  }
}

// MARK: - Reading

extension ModelRun {
  private struct Listed<Element: Equatable>: Equatable {
    var elements: [Element]
    var hasMore: Bool
  }

  private func page<Element>(_ elements: [Element], limit: Int, stop: Int) -> Listed<Element> {
    let taken = elements.prefix(min(limit, stop))
    return Listed(elements: Array(taken), hasMore: taken.count < elements.count)
  }

  private func readOperation() throws {
    let limit = 1 + below(15)
    let stop = chance(10) ? below(limit) : limit
    let after = chance(50) ? 0 : time(Int(model.revision) + 2)
    switch below(20) {
    case 0...7: try readEvents()
    case 8...9:
      let (filter, includeState) = (filter(), chance(50))
      try both("list_sessions", "\(filter)") { store in
        var sessions: [SessionRecord] = []
        let hasMore = try store.listSessions(
          filter, after: after, limit: limit, includeState: includeState
        ) { session, _ in
          if sessions.count == stop { return false }
          sessions.append(record(session))
          return true
        }
        return Listed(elements: sessions, hasMore: hasMore)
      } _: { model in
        let sessions = model.matching(filter).filter { $0.number > after }
        return page(sessions.map { model.record($0, includeState: includeState) }, limit: limit, stop: stop)
      }
    case 10:
      let filter = filter()
      try both("list_session_ids", "\(filter)") { store in
        try store.sessionIDs(filter, after: after, limit: limit).map { "\($0.number) \($0.sessionID)" }
      } _: { model in
        model.matching(filter).filter { $0.number > after }.prefix(limit).map { "\($0.number) \($0.id)" }
      }
    case 11...12:
      let filter = filter()
      try both("session_count", "\(filter)") { try $0.countSessions(filter) } _: { Int64($0.matching(filter).count) }
    case 13:
      let (id, owner) = (some(70, sessionID()), owner())
      try both("event_count", id ?? "all") { try $0.countEvents(id, owner: owner) } _: { model in
        guard let id else {
          return model.sessions.reduce(0) { sum, session in
            let isReadable = Model.sees(owner, session.tenant, session.principal)
              && ([.pending, .active, .suspended].contains(model.status(session))
                || (owner.seesEnded
                  && (model.isKept(session) || (session.endedAt == nil && !model.status(session).isOver))))
            return sum + (isReadable ? Int64(session.events.count) : 0)
          }
        }
        return Int64(model.sessions[try model.readable(id, owner)].events.count)
      }
    case 14:
      let (id, scope) = (taskID(), scope())
      try both("get_task", id) { try $0.getTask(id, scope: scope).map(view) } _: { model in
        (try? model.findTask(id, scope)).map { TaskView(model.tasks[$0]) }
      }
    case 15...16:
      let (status, scope) = (some(40, pick(TaskStatus.allCases)), scope())
      try both("list_tasks") { store in
        var tasks: [TaskView] = []
        let hasMore = try store.listTasks(status: status, scope: scope, after: after, limit: limit) { task, _ in
          if tasks.count == stop { return false }
          tasks.append(try view(task))
          return true
        }
        return Listed(elements: tasks, hasMore: hasMore)
      } _: { model in
        let tasks = model.matchingTasks(status, scope).filter { $0.number > after }
        return page(tasks.map { TaskView($0) }, limit: limit, stop: stop)
      }
    case 17:
      let (status, scope) = (some(40, pick(TaskStatus.allCases)), scope())
      try both("task_count") { try $0.countTasks(status: status, scope: scope) } _: {
        Int64($0.matchingTasks(status, scope).count)
      }
    case 18:
      let (collection, owner, key) = (collection(), owner(), valueKey())
      try both("get_value", key) { store in
        try store.getValue(ValuePlace(collection: collection, owner: owner), key).map(line)
      } _: { model in
        model.getValue(Model.place(collection, owner), key).map(line)
      }
    default:
      let (collection, owner, prefix) = (collection(), owner(), pick(["", "k", "k1", "é", "none"]))
      try both("list_values", prefix) { store in
        var values: [String] = []
        let place = ValuePlace(collection: collection, owner: owner)
        let hasMore = try store.listValues(place, prefix: prefix, after: after, limit: limit) { value, number in
          if values.count == stop { return false }
          values.append("\(number) \(line(value))")
          return true
        }
        return Listed(elements: values, hasMore: hasMore)
      } _: { model in
        let place = Model.place(collection, owner)
        let values = model.values.filter {
          $0.place == place && !model.hasLapsed($0) && $0.key.hasPrefix(prefix) && $0.number > after
        }
        return page(values.map { "\($0.number) \(line($0))" }, limit: limit, stop: stop)
      }
    }
  }

  private func line(_ value: NamedValue) -> String {
    "\(value.key) \(value.value.string) \(value.expiresAt ?? -1) \(value.revision)"
  }

  private func line(_ value: Model.Value) -> String {
    "\(value.key) \(value.value) \(value.expiresAt ?? -1) \(value.revision)"
  }

  private func collection() -> String { pick(["c1", "c1", "c2"]) }
  private func valueKey() -> String { pick(["k1", "k2", "k10", "key", "été", "x"]) }
}

// MARK: - Operations on tasks

extension ModelRun {
  private static let inputKeys = (0..<12).map { "q\($0)" }

  private func outcome() -> TaskOutcome {
    chance(60) ? .success(payload()) : .error(#"{"code":-32010,"message":"it broke","data":[1.0]}"#)
  }

  private func taskOperation() throws {
    let (id, scope) = (taskID(), scope())
    let message = some(60, "step \(below(100))")
    switch below(24) {
    case 0...6: try createTask()
    case 7...9: try updateTask(id, scope)
    case 10:
      let (ttl, poll) = (some(30, time(500_000)), some(30, time(5_000)))
      try both("touch_task", id) {
        try view($0.touchTask(id, statusMessage: message, ttl: ttl, pollInterval: poll, scope: scope))
      } _: {
        try $0.touchTask(id, message: message, ttl: ttl, poll: poll, scope: scope)
      }
    case 11...14:
      let status = pick([.working, .working, .inputRequired, .inputRequired] + TaskStatus.allCases)
      let ifRevision = taskRevision(id)
      try both("update_task_status", "\(id) \(status)") {
        try view($0.updateTaskStatus(id, status, message: message, scope: scope, ifRevision: ifRevision))
      } _: {
        try $0.updateTaskStatus(id, status, message: message, scope: scope, ifRevision: ifRevision)
      }
    case 15:
      let outcome = outcome()
      try both("store_task_result", id) { try view($0.storeTaskResult(id, outcome, scope: scope)) } _: {
        try $0.storeResult(id, outcome, scope: scope)
      }
    case 16:
      let outcome = outcome()
      try both("complete_or_fail_task", id) {
        try view($0.finishTask(id, outcome, message: message, scope: scope))
      } _: {
        try $0.finishTask(id, outcome, message: message, scope: scope)
      }
    case 17:
      let cooperative = chance(50)
      try both("cancel_task", id) { try view($0.cancelTask(id, cooperative: cooperative, scope: scope)) } _: {
        try $0.cancelTask(id, cooperative: cooperative, scope: scope)
      }
    case 18...20:
      let requests = pairs(Self.inputKeys, atMost: 3)
      let text = try json(requests)
      try both("require_task_input", id) { try view($0.requireTaskInput(id, text, scope: scope)) } _: {
        try $0.requireInput(id, requests, scope: scope)
      }
    default:
      let responses = pairs(Self.inputKeys, atMost: 8)
      let text = try json(responses)
      try both("provide_task_input", id) { try view($0.provideTaskInput(id, text, scope: scope)) } _: {
        try $0.provideInput(id, responses, scope: scope)
      }
    }
  }

  private func taskRevision(_ id: String) -> Int64? {
    some(20, chance(70) ? model.tasks.first { $0.id == id }?.revision ?? 1 : time(Int(model.revision) + 1))
  }

  private func createTask() throws {
    var new = NewTask()
    new.taskID = some(95, chance(70) ? "task-\(below(26))" : taskID())
    new.sessionID = some(50, sessionID())
    new.status = chance(80) ? .working : pick(TaskStatus.allCases)
    new.statusMessage = some(30, "begun")
    new.originalMethod = some(50, "tools/call")
    new.originalParams = some(50, payload())
    new.ttl = some(50, time(500_000))
    new.pollInterval = some(30, time(5_000))
    new.meta = some(30, pick(Self.objects))
    let owner = owner()
    var made: String?
    try both("create_task", new.taskID ?? "") { store in
      let task = try store.createTask(new, owner: owner)
      made = task.taskID
      return try view(task)
    } _: { model in
      try model.createTask(new.taskID ?? made ?? "", new, owner: owner)
    }
    if isAt(limits.maxTasks, model.tasks.count) { try followSweeps() }
  }

  private func updateTask(_ id: String, _ scope: TaskScope) throws {
    var update = TaskUpdate()
    var requests: [Model.Pair]?
    if chance(20) { update.status = .set(pick(TaskStatus.allCases)) }
    if chance(20) { update.statusMessage = .set(some(70, "repaired")) }
    if chance(10) { update.createdAt = .set(clock.now - time(100_000)) }
    if chance(10) { update.lastUpdatedAt = .set(clock.now - time(100_000)) }
    if chance(20) { update.ttl = .set(some(70, time(500_000))) }
    if chance(20) { update.pollInterval = .set(some(70, time(5_000))) }
    if chance(20) { update.originalMethod = .set(some(70, "prompts/get")) }
    if chance(20) { update.originalParams = .set(some(70, payload())) }
    if chance(20) { update.result = .set(some(70, outcome())) }
    if chance(20) { update.meta = .set(some(70, pick(Self.objects))) }
    if chance(20) { update.cancelRequested = .set(chance(50)) }
    if chance(30) {
      let pairs = pairs(Self.inputKeys, atMost: 3)
      requests = pairs.isEmpty ? nil : pairs
      update.inputRequests = .set(try requests.map { try json($0) })
    }
    let (ifRevision, force) = (taskRevision(id), chance(40))
    try both("update_task", id) {
      try view($0.updateTask(id, update, scope: scope, ifRevision: ifRevision, force: force))
    } _: {
      try $0.updateTask(id, update, requests: requests, scope: scope, ifRevision: ifRevision, force: force)
    }
  }

  private func messageOperation() throws {
    let (id, scope) = (taskID(), scope())
    if chance(20) {
      let limit = below(5)
      try both("peek_task_messages", id) { store in
        var messages: [String] = []
        let page = try store.peekTaskMessages(id, after: 0, limit: Int64(limit), scope: scope) { message, _ in
          messages.append(message.string)
          return true
        }
        return Listed(elements: messages + ["\(page.size)"], hasMore: page.hasMore)
      } _: { model in
        let queue = model.tasks[try model.findTask(id, scope)].queue
        return Listed(elements: queue.prefix(limit) + ["\(queue.count)"], hasMore: queue.count > limit)
      }
      return
    }
    if chance(65) {
      let (message, maxSize) = (payload(), some(20, time(5)))
      try both("enqueue_task_message", id) {
        try $0.enqueueTaskMessage(id, message, maxSize: maxSize, scope: scope)
      } _: {
        try $0.enqueue(id, message.string, maxSize: maxSize, scope: scope)
      }
      return
    }
    let limit = below(5)
    try both("dequeue_task_messages", id) { store in
      var messages: [String] = []
      let left = try store.dequeueTaskMessages(id, scope: scope) { message in
        if messages.count == limit { return false }
        messages.append(message.string)
        return true
      }
      return messages + ["\(left)"]
    } _: { model in
      let (messages, left) = try model.dequeue(id, limit: limit, scope: scope)
      return messages + ["\(left)"]
    }
  }
}

// MARK: - Nonces, values, sweeps

extension ModelRun {
  private func valueOperation() throws {
    let (collection, owner, key, value) = (collection(), owner(), valueKey(), payload())
    let place = ValuePlace(collection: collection, owner: owner)
    let modelPlace = Model.place(collection, owner)
    let ifRevision = some(
      15, chance(70) ? model.getValue(modelPlace, key)?.revision ?? 1 : time(Int(model.revision) + 1))
    switch below(10) {
    case 0...5:
      let (ttl, ifAbsent) = (some(50, time(500_000)), chance(20))
      try both("put_value", key) { store in
        let put = try store.putValue(place, key, value, ttl: ttl, ifAbsent: ifAbsent, ifRevision: ifRevision)
        return "\(put.stored) \(put.revision)"
      } _: { model in
        let put = try model.put(
          modelPlace, key, value.string, ttl: ttl, ifAbsent: ifAbsent, ifRevision: ifRevision)
        return "\(put.stored) \(put.revision)"
      }
      if isAt(limits.maxValues, model.values.count) { try followSweeps() }
    case 6:
      try both("delete_value", key) { try $0.deleteValue(place, key, ifRevision: ifRevision) } _: {
        try $0.deleteValue(modelPlace, key, ifRevision: ifRevision)
      }
    default:
      let (nonce, ttl, claim) = ("nonce-\(below(30))", time(300_000), owner.principal)
      try both("consume_nonce", nonce) { try $0.consumeNonce(nonce, ttl: ttl, principal: claim) } _: {
        $0.consume(nonce, ttl: ttl, principal: claim)
      }
    }
  }

  private func sweepOperation() throws {
    let limit = chance(50) ? 1_000 : 1 + below(5)
    switch below(6) {
    case 0, 1:
      try followSweeps()
      let swept = try current!.expireSessions(olderThan: nil, limit: limit)
      for id in swept.removed {
        let session = model.find(id, .server).map { model.sessions[$0] }
        try same("\(id) was over", session.map { model.status($0).isOver }, true)
        if limits.retainEnded > 0 { try same("\(id) had not ended", session?.endedAt, nil) }
      }
      if limits.retainEnded == 0 { model.sessions.removeAll { swept.removed.contains($0.id) } }
      try followSweeps()
      if !swept.hasMore {
        let over = model.sessions.filter { model.status($0).isOver && ($0.endedAt == nil || !model.isKept($0)) }
        try same("what a sweep left behind", over.map(\.id), [])
      }
      tallies["expire_sessions", default: Tally()].done += swept.removed.count
    case 2:
      let olderThan = clock.now - time(3_000_000) - (chance(10) ? 0 : 500_000)
      try both("expire_sessions older_than", "\(olderThan)") { store in
        let swept = try store.expireSessions(olderThan: olderThan, limit: limit)
        return Listed(elements: swept.removed, hasMore: swept.hasMore)
      } _: { model in
        let (removed, hasMore) = model.expireSessions(olderThan: olderThan, limit: limit)
        return Listed(elements: removed, hasMore: hasMore)
      }
    case 3: try expireTasks(limit: limit)
    case 4:
      let (maxAge, scope) = (200_000 + time(1_000_000), scope())
      try both("recover_stuck_tasks", "\(maxAge)") { store in
        let swept = try store.recoverStuckTasks(maxAge: maxAge, scope: scope, limit: limit)
        return Listed(elements: swept.removed, hasMore: swept.hasMore)
      } _: { model in
        let (ids, hasMore) = model.recover(maxAge: maxAge, scope: scope, limit: limit)
        return Listed(elements: ids, hasMore: hasMore)
      }
    default:
      try followSweeps()
      let values = model.values.count { model.hasLapsed($0) }
      try same("swept values", try current!.sweepValues(limit: limit), Int64(min(values, limit)))
      let nonces = model.nonces.values.count { model.now >= $0 }
      try same("swept nonces", try current!.sweepNonces(limit: limit), Int64(min(nonces, limit)))
    }
    try followSweeps()
  }

  private func expireTasks(limit: Int) throws {
    let end = { (task: Model.Task) in task.createdAt + task.ttl! }
    let lapsed = model.tasks.filter { model.hasLapsed($0) }.sorted { end($0) < end($1) }
    let swept = try current!.expireTasks(limit: limit)
    try same("whether more tasks have lapsed", swept.hasMore, lapsed.count > limit)
    try same("how many tasks lapsed", swept.removed.count, min(lapsed.count, limit))
    // Those of the same millisecond may go in any order.
    let ends = swept.removed.map { id in lapsed.first { $0.id == id }.map(end) }
    try same("which tasks lapsed", ends, lapsed.prefix(limit).map(end))
    model.tasks.removeAll { swept.removed.contains($0.id) }
    tallies["expire_tasks", default: Tally()].done += swept.removed.count
  }
}
