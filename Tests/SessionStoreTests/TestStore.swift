import Database
import JSON
import SQLite
import Testing

@testable import SessionStore

/// A clock that moves only when told to.
final class Clock {
  var now: Int64 = 1_795_210_000_000
}

/// A store with a clock of its own; in memory unless it is given a file, and all of that on a server when there is one:
/// see ``TestServer``.
final class TestStore {
  let clock: Clock
  let path: String
  private var opened: Store?

  var store: Store { opened! }
  var now: Int64 {
    get { clock.now }
    set { clock.now = newValue }
  }

  init(
    _ path: String = ":memory:", clock: Clock = Clock(), schema: Schema = .current,
    limits change: (inout Limits) -> Void = { _ in }
  ) throws {
    self.path = path == ":memory:" && TestServer.address != nil ? TestServer.ownPath() : path
    self.clock = clock
    try open(schema: schema, change)
  }

  /// Opens the file again, as another process would, with other limits.
  func reopen(schema: Schema = .current, limits change: (inout Limits) -> Void = { _ in }) throws {
    opened = nil
    try open(schema: schema, change)
  }

  private func open(schema: Schema, _ change: (inout Limits) -> Void) throws {
    var limits = Limits()
    limits.busyTimeout = 0
    change(&limits)
    let environment = Environment(now: { [clock] in clock.now })
    opened = try TestServer.open(path, limits: limits, environment: environment, schema: schema)
  }

  /// One request in a group of its own. A refused one leaves the group as it was, and the group is committed.
  @discardableResult
  func write<Result>(_ request: (Store) throws -> Result) throws -> Result {
    try store.beginGroup(waiting: 0)
    store.beginRequest()
    do {
      let result = try request(store)
      try store.commitGroup()
      return result
    } catch let error as StoreError {
      try store.commitGroup()
      throw error
    } catch {
      store.abandonGroup()
      throw error
    }
  }

  /// One request outside a group.
  func read<Result>(_ request: (Store) throws -> Result) throws -> Result {
    try store.beginRead()
    defer { store.endRead() }
    store.beginRequest()
    return try request(store)
  }

  /// Expects that `request` is refused with `error`.
  func refuses(
    _ error: StoreError, sourceLocation: SourceLocation = #_sourceLocation, _ request: (Store) throws -> Void
  ) {
    #expect(throws: error, sourceLocation: sourceLocation) { try write(request) }
  }

  // MARK: - Shortcuts

  @discardableResult
  func create(
    _ sessionID: String, owner: Owner = .server, _ change: (inout NewSession) -> Void = { _ in }
  ) throws -> Session {
    var new = NewSession()
    new.sessionID = sessionID
    new.status = .active
    change(&new)
    return try write { try $0.createSession(new, owner: owner) }
  }

  func get(_ sessionID: String, owner: Owner = .server) throws -> Session? {
    try read { try $0.getSession(sessionID, owner: owner) }
  }

  @discardableResult
  func event(
    _ sessionID: String, _ data: String = "{}", stream: String? = nil, owner: Owner = .server
  ) throws -> Int64 {
    let event = NewEvent(data: try JSONText(data), streamID: stream)
    return try write { try $0.storeEvent(sessionID, event, owner: owner).id }
  }

  func events(
    _ sessionID: String, after: Int64 = 0, stream: String? = nil, limit: Int = 1_000, owner: Owner = .server
  ) throws -> (ids: [Int64], page: EventPage) {
    var ids: [Int64] = []
    let page = try read {
      try $0.readEvents(sessionID, after: after, streamID: stream, limit: limit, owner: owner) { row in
        ids.append(row.id)
        return true
      }
    }
    return (ids, page)
  }

  func recent(_ sessionID: String, stream: String? = nil, limit: Int) throws -> (ids: [Int64], page: EventPage) {
    var ids: [Int64] = []
    let page = try read {
      try $0.readRecentEvents(sessionID, streamID: stream, limit: limit, owner: .server) { row in
        ids.append(row.id)
        return true
      }
    }
    return (ids, page)
  }

  @discardableResult
  func step(_ sessionID: String, _ step: Store.LifecycleStep, owner: Owner = .server) throws -> Session {
    try write { try $0.changeStatus(sessionID, step, owner: owner) }
  }

  func ids(_ filter: SessionFilter = SessionFilter()) throws -> [String] {
    try read { try $0.sessionIDs(filter, after: 0, limit: 1_000).map(\.sessionID) }
  }

  func count(_ filter: SessionFilter = SessionFilter()) throws -> Int64 {
    try read { try $0.countSessions(filter) }
  }

  /// what a check of the whole file finds
  func problems() throws -> [String] {
    guard case .checked(let problems, _) = try store.run(.integrityCheck()) else { return ["no check"] }
    return problems
  }

  /// rows that SQL sees, whatever the store thinks of them
  func rows(_ table: String) throws -> Int64 {
    var select = try store.tables.connection(.server).statement(
      composed: "SELECT count(*) FROM \(table)")
    return try select.step() ? select.integer(0) : -1
  }
}

/// An event as it stands in the tables.
struct RawEvent: Equatable {
  var session: Int64
  var floor: Int64
  var id: Int64
  var stream: String?
  var type: String?
  var timestamp: Int64
  var retry: Int64?
  var data: String
}

extension Store {
  /// Log entries as they are stored, whatever rows they share.
  func storedLogEntries() throws -> [(session: Int64, seq: Int64, kind: String?, entry: String)] {
    var select = try tables.connection(.server).statement(
      composed: "SELECT session, seq, kind, entry, first_seq FROM log_entries ORDER BY session, seq")
    var entries: [(session: Int64, seq: Int64, kind: String?, entry: String)] = []
    while try select.step() {
      let (session, last, kind) = (select.integer(0), select.integer(1), select.optionalString(2))
      let lines =
        select.isNull(4) ? [select.string(3)] : select.string(3).split(separator: "\n").map { String($0) }
      let first = select.optionalInteger(4) ?? last
      if Int64(lines.count) != last - first + 1 {
        throw TestFailure(description: "a row of \(lines.count) lines for the entries \(first) to \(last)")
      }
      for (index, line) in lines.enumerated() { entries.append((session, first + Int64(index), kind, line)) }
    }
    return entries
  }

  /// All that SQL sees in table `events`, however many share a row.
  func storedEvents() throws -> [RawEvent] {
    var select = try tables.connection(.server).statement(
      composed: """
        SELECT session, event_floor, id, stream_id, event_type, timestamp, retry, data, first_id, times
        FROM events JOIN sessions ON number = session ORDER BY session, id
        """)
    var events: [RawEvent] = []
    while try select.step() {
      let row = RawEvent(
        session: select.integer(0), floor: select.integer(1), id: select.integer(2), stream: select.optionalString(3),
        type: select.optionalString(4), timestamp: select.integer(5), retry: select.optionalInteger(6),
        data: select.string(7))
      guard let first = select.optionalInteger(8) else {
        events.append(row)
        continue
      }
      let lines = row.data.split(separator: "\n", omittingEmptySubsequences: false)
      let times = select.optionalString(9)?.split(separator: " ").map { Int64($0) ?? .min }
      if Int64(lines.count) != row.id - first + 1 || (times ?? []).count != (times == nil ? 0 : lines.count) {
        throw TestFailure(description: "a row of \(lines.count) lines: \(row)")
      }
      for (index, text) in lines.enumerated() {
        var event = row
        event.id = first + Int64(index)
        event.timestamp += times?[index] ?? 0
        event.data = String(text)
        events.append(event)
      }
    }
    return events
  }
}

struct TestFailure: Error, CustomStringConvertible { let description: String }

/// What is large of a task, read when it is asked for.
extension TaskRecord {
  var originalParams: JSONText? { get throws { try payload(.originalParams) } }
  var result: JSONText? { get throws { try payload(.result) } }
  var inputRequests: JSONText? { get throws { try payload(.inputRequests) } }
  var inputResponses: JSONText? { get throws { try payload(.inputResponses) } }
  var meta: JSONText? { get throws { try payload(.meta) } }
}

extension Store {
  func sessionStateKeys(_ sessionID: String, owner: Owner) throws -> [String] {
    var keys: [String] = []
    let hasMore = try listStateKeys(sessionID, owner: owner, after: 0) { key, _ in
      keys.append(key)
      return true
    }
    precondition(!hasMore)
    return keys
  }
}

extension JSONText: ExpressibleByStringLiteral {
  package init(stringLiteral value: String) {
    do { self = try JSONText(value) } catch { preconditionFailure("not JSON: \(value)") }
  }
}

extension Owner {
  static func principal(_ name: String) -> Owner { Owner(principal: .named(name)) }
  static func tenant(_ name: String) -> Owner { Owner(tenant: .named(name)) }
  static let anonymous = Owner(tenant: .anonymous, principal: .anonymous)
}

/// A test that says nothing about owners speaks for the server; the product has to say it.
extension Owner {
  init(tenant: OwnerClaim) { self.init(tenant: tenant, principal: .unspecified) }
  init(principal: OwnerClaim) { self.init(tenant: .unspecified, principal: principal) }
}

extension TaskScope {
  init(sessionID: String? = nil) { self.init(sessionID: sessionID, owner: .server) }
}

extension SessionFilter {
  init(userID: String? = nil, status: SessionStatus? = nil) {
    self.init(userID: userID, status: status, owner: .server)
  }
}
