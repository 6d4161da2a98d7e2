import JSON

@testable import SessionStore

/// What a store is, in dictionaries and arrays: the simplest thing that has its meaning.
///
/// It shares no code with the store but the types of its calls. JSON is text here. Rows whose time is over stay until
/// the driver finds that the store has removed them.
struct Model {
  struct Pair: Equatable {
    var key: String
    var value: String
  }

  struct Event: Equatable {
    var id: Int64
    var stream: String?
    var type: String
    var timestamp: Int64
    var retry: Int64?
    var data: String
  }

  struct Lost {
    var id: Int64
    var stream: String?
  }

  struct Session {
    var number: Int64
    var id: String
    var tenant: String?
    var principal: String?
    var status: SessionStatus
    var user: String?
    var clientCapabilities: String?
    var serverCapabilities: String?
    var state: [Pair] = []
    var metadata: String
    var isInitialized: Bool
    var createdAt: Int64
    var lastActivity: Int64
    var expiresAt: Int64?
    var timeout: Int64?
    var suspendedAt: Int64?
    /// as it was noted: by whoever ended it, or by the sweep
    var endedAt: Int64?
    var revision: Int64
    var newest: Int64 = 0
    /// what can be read
    var events: [Event] = []
    var lost: [Lost] = []
    var address: String?
    var agent: String?
    var log = Log()
    var violations: Int64 = 0

    var floor: Int64 { newest - Int64(events.count) }
  }

  struct LogEntry: Equatable {
    var seq: Int64
    var text: String
    var kind: NewLogEntry.Kind?
  }

  struct Log {
    var newest: Int64 = 0
    var entries: [LogEntry] = []
    /// all message ids in the order in which they were noted
    var noted: [String] = []
    /// where each was first appended since it was last unknown
    var first: [String: Int64] = [:]
  }

  /// Of the audit trail; what happens to a session that nobody asked for has no place in it, for sweeps choose when.
  struct Audited: Equatable {
    var type: String
    var session: String?
    var action: SecurityAction?
  }

  struct Task {
    var number: Int64
    var id: String
    var session: String?
    /// the number of the session, whose id may be another one's by now
    var sessionNumber: Int64?
    var tenant: String?
    var principal: String?
    var status: TaskStatus
    var message: String?
    var createdAt: Int64
    var updatedAt: Int64
    var ttl: Int64?
    var poll: Int64?
    var method: String?
    var params: String?
    var result: String?
    var requests: [Pair]?
    var responses: [Pair]?
    var usedKeys: Set<String> = []
    var cancelRequested = false
    var meta: String?
    var revision: Int64
    var queue: [String] = []
  }

  struct Place: Hashable {
    var tenant: String?
    var principal: String?
    var collection: String
  }

  struct Value: Equatable {
    var number: Int64
    var place: Place
    var key: String
    var value: String
    var expiresAt: Int64?
    var revision: Int64
  }

  struct Nonce: Hashable {
    var text: String
    var principal: String?
  }

  var limits: Limits
  var now: Int64 = 0
  var revision: Int64 = 0
  /// these four in the order of their numbers, which on a file is that of creation
  var sessions: [Session] = []
  var tasks: [Task] = []
  var values: [Value] = []
  var nonces: [Nonce: Int64] = [:]
  var security: [Audited] = []
  var lifecycle: [Audited] = []
  /// numbers of sessions that were deleted before they expired; all others that are gone have expired
  var deletedSessions: Set<Int64> = []
  /// numbers of sessions that were resolved
  var resolvedSessions: Set<Int64> = []
  /// by key: the theoretical arrival time in nanoseconds
  var rates: [String: Int64] = [:]

  init(limits: Limits) {
    self.limits = limits
  }

  /// Where the processes that share a server have their numbers from; see ``NumberBlock``. None on a file.
  var blocks: [NumberBlock] = []
  /// blocks that were drawn
  var drawn: Int64 = 0
  /// whose turn it is
  var process = 0

  /// - Parameter floor: the revision of the row that is to get it
  mutating func nextRevision(above floor: Int64 = 0) -> Int64 {
    if blocks.isEmpty {
      revision += 1
      return revision
    }
    var drawn = drawn
    let number = blocks[process].number(above: floor) {
      drawn += 1
      return drawn
    }
    self.drawn = drawn
    revision = max(revision, number)
    return number
  }

  /// A group of a process begins: it has enough numbers.
  mutating func drawNumbers() {
    guard !blocks.isEmpty, blocks[process].rest < Writer.enough else { return }
    drawn += 1
    blocks[process].take(drawn)
  }

  /// Goes back to what was before a group that was abandoned, or a transaction that was refused. What was drawn from
  /// the sequence stays drawn.
  mutating func goBack(to before: Model, givingNumbersAgain: Bool) {
    let (drawn, blocks) = (drawn, blocks)
    self = before
    self.drawn = drawn
    if !givingNumbersAgain { self.blocks = blocks }
  }

  private static func insert<Row>(_ row: Row, into rows: inout [Row], _ number: (Row) -> Int64) {
    rows.insert(row, at: (rows.lastIndex { number($0) < number(row) } ?? -1) + 1)
  }

  static func object(_ pairs: [Pair]) -> String {
    "{" + pairs.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",") + "}"
  }

  static func sees(_ claim: OwnerClaim, _ owner: String?) -> Bool {
    switch claim {
    case .unspecified: true
    case .anonymous: owner == nil
    case .named(let name): owner == nil || owner == name
    }
  }

  static func sees(_ owner: Owner, _ tenant: String?, _ principal: String?) -> Bool {
    sees(owner.tenant, tenant) && sees(owner.principal, principal)
  }

  static func isBound(_ owner: String?, _ claim: OwnerClaim) -> Bool {
    switch claim {
    case .unspecified: true
    case .anonymous: owner == nil
    case .named(let name): owner == name
    }
  }

  static func name(_ claim: OwnerClaim) -> String? {
    if case .named(let name) = claim { name } else { nil }
  }
}

// MARK: - Sessions

extension Model {
  func status(_ session: Session) -> SessionStatus {
    switch session.status {
    case .expired, .resolved: return session.status
    case .invalidated where session.endedAt != nil:
      let isKept = limits.retainEnded > 0 && now < session.endedAt! + limits.retainEnded
      return isKept ? .invalidated : .expired
    case .pending, .active, .suspended, .invalidated:
      guard let deadline = deadline(session), now >= deadline else { return session.status }
      return .expired
    }
  }

  /// the time from which one that nobody ended is over
  func deadline(_ session: Session) -> Int64? {
    if session.status == .suspended {
      return limits.maxSuspension > 0 ? session.suspendedAt.map { $0 + limits.maxSuspension } : nil
    }
    return [session.expiresAt, session.timeout.map { session.lastActivity + $0 }].compactMap { $0 }.min()
  }

  func end(_ session: Session) -> Int64? {
    session.endedAt ?? (status(session).isOver ? deadline(session) : nil)
  }

  func isKept(_ session: Session) -> Bool {
    limits.retainEnded > 0 && end(session).map { now < $0 + limits.retainEnded } == true
  }

  /// How many do not count as living ones.
  var endedCount: Int { sessions.count { $0.endedAt != nil || status($0).isOver } }

  func find(_ id: String, _ owner: Owner) -> Int? {
    sessions.firstIndex { $0.id == id && Self.sees(owner, $0.tenant, $0.principal) }
  }

  func readable(_ id: String, _ owner: Owner) throws -> Int {
    guard let index = find(id, owner) else { throw StoreError.sessionNotFound(id) }
    if owner.seesEnded, isKept(sessions[index]) { return index }
    switch status(sessions[index]) {
    case .pending, .active, .suspended: return index
    case .expired, .resolved: throw StoreError.sessionExpired(id)
    case .invalidated: throw StoreError.invalidSessionStatus(current: .invalidated, requested: "read")
    }
  }

  func writable(_ id: String, _ owner: Owner, _ requested: String) throws -> Int {
    guard let index = find(id, owner) else { throw StoreError.sessionNotFound(id) }
    let status = status(sessions[index])
    switch status {
    case .pending, .active: return index
    case .expired, .resolved: throw StoreError.sessionExpired(id)
    case .suspended, .invalidated: throw StoreError.invalidSessionStatus(current: status, requested: requested)
    }
  }

  static func size(_ state: [Pair]) -> Int {
    state.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count + 4 }
  }

  private func checkSize(_ state: [Pair]) throws {
    if limits.maxStateBytes > 0, Self.size(state) > limits.maxStateBytes {
      throw StoreError.payloadTooLarge(what: "The session's whole state", limit: limits.maxStateBytes)
    }
  }

  private func checkUserCap(_ user: String, _ tenant: String?) throws {
    let own = sessions.count { $0.user == user && $0.tenant == tenant && !status($0).isOver }
    if limits.maxSessionsPerUser > 0, own >= limits.maxSessionsPerUser {
      throw StoreError.maxUserSessionsReached(limit: limits.maxSessionsPerUser)
    }
  }

  /// - Parameter id: the one that was asked for, or that the store made
  mutating func createSession(
    _ id: String, _ new: NewSession, state: [Pair], owner: Owner
  ) throws -> SessionRecord {
    try checkSize(state)
    if let old = find(id, .server), !status(sessions[old]).isOver { throw StoreError.sessionExists(id) }
    let living = sessions.filter { $0.endedAt == nil && !status($0).isOver }
    if limits.maxSessions > 0, living.count >= limits.maxSessions {
      throw StoreError.maxSessionsReached(limit: limits.maxSessions)
    }
    let tenant = Self.name(owner.tenant)
    if let user = new.userID { try checkUserCap(user, tenant) }
    sessions.removeAll { $0.id == id }
    let number = nextRevision()
    let createdAt = new.createdAt ?? now
    let ttl = new.ttl ?? limits.sessionTTL
    let timeout = new.inactivityTimeout ?? limits.inactivityTimeout
    let session = Session(
      number: number, id: id, tenant: tenant, principal: Self.name(owner.principal), status: new.status,
      user: new.userID, clientCapabilities: new.clientCapabilities?.string,
      serverCapabilities: new.serverCapabilities?.string, state: state, metadata: new.metadata?.string ?? "{}",
      isInitialized: new.isInitialized, createdAt: createdAt, lastActivity: new.lastActivity ?? now,
      expiresAt: new.expiresAt ?? (ttl > 0 ? createdAt + ttl : nil), timeout: timeout > 0 ? timeout : nil,
      revision: number)
    Self.insert(session, into: &sessions) { $0.number }
    lifecycle.append(Audited(type: "created", session: id))
    return record(session)
  }

  mutating func getSession(_ id: String, owner: Owner, touch: Bool) -> SessionRecord? {
    guard let index = find(id, owner) else { return nil }
    if status(sessions[index]).isOver, !(owner.seesEnded && isKept(sessions[index])) { return nil }
    let status = status(sessions[index])
    if touch, status == .pending || status == .active { sessions[index].lastActivity = now }
    return record(sessions[index])
  }

  mutating func updateSession(
    _ id: String, _ update: SessionUpdate, state: [Pair]?, owner: Owner, ifRevision: Int64?
  ) throws -> SessionRecord {
    let index = try writable(id, owner, "update")
    if let ifRevision, sessions[index].revision != ifRevision {
      throw StoreError.concurrentModification(revision: sessions[index].revision)
    }
    if let state { try checkSize(state) }
    if case .set(let user?) = update.userID, sessions[index].user != user {
      try checkUserCap(user, sessions[index].tenant)
    }
    if let state { sessions[index].state = state }
    var activity = now
    if case .set(let time) = update.lastActivity, time > sessions[index].lastActivity { activity = time }
    sessions[index].lastActivity = activity
    if case .set(let user) = update.userID { sessions[index].user = user }
    if case .set(let text) = update.clientCapabilities { sessions[index].clientCapabilities = text?.string }
    if case .set(let text) = update.serverCapabilities { sessions[index].serverCapabilities = text?.string }
    if case .set(let text) = update.metadata { sessions[index].metadata = text.string }
    if case .set(let flag) = update.isInitialized { sessions[index].isInitialized = flag }
    if case .set(let time) = update.expiresAt { sessions[index].expiresAt = time }
    if case .set(let timeout) = update.inactivityTimeout { sessions[index].timeout = timeout == 0 ? nil : timeout }
    sessions[index].revision = nextRevision(above: sessions[index].revision)
    return record(sessions[index])
  }

  mutating func touchSession(_ id: String, owner: Owner) throws -> SessionRecord {
    let index = try writable(id, owner, "touch")
    sessions[index].lastActivity = now
    return record(sessions[index])
  }

  mutating func deleteSession(_ id: String, owner: Owner, deleteTasks: Bool) -> DeletedSession {
    guard let index = find(id, owner) else { return DeletedSession() }
    if !status(sessions[index]).isOver { deletedSessions.insert(sessions[index].number) }
    let session = sessions.remove(at: index)
    lifecycle.append(Audited(type: "deleted", session: id))
    var deleted = DeletedSession()
    deleted.deleted = true
    deleted.events = Int64(session.events.count)
    deleted.logEntries = Int64(session.log.entries.count)
    if deleteTasks {
      let own = tasks.filter { $0.sessionNumber == session.number && Self.sees(owner, $0.tenant, $0.principal) }
      deleted.tasks = Int64(own.count { !hasLapsed($0) })
      tasks.removeAll { task in own.contains { $0.number == task.number } }
    }
    return deleted
  }

  mutating func changeStatus(_ id: String, _ step: Store.LifecycleStep, owner: Owner) throws -> SessionRecord {
    guard let index = find(id, owner) else { throw StoreError.sessionNotFound(id) }
    let current = status(sessions[index])
    if current.isOver { throw StoreError.sessionExpired(id) }
    let table: [SessionStatus: [Store.LifecycleStep: SessionStatus]] = [
      .pending: [.activate: .active, .expire: .expired, .invalidate: .invalidated, .resolve: .resolved],
      .active: [
        .activate: .active, .suspend: .suspended, .expire: .expired, .invalidate: .invalidated, .resolve: .resolved,
      ],
      .suspended: [
        .activate: .active, .resume: .active, .expire: .expired, .invalidate: .invalidated, .resolve: .resolved,
      ],
    ]
    guard let next = table[current]?[step] else {
      throw StoreError.invalidSessionStatus(current: current, requested: step.rawValue)
    }
    if current == .suspended, next == .active, let expiresAt = sessions[index].expiresAt {
      sessions[index].expiresAt = expiresAt + max(0, now - sessions[index].suspendedAt!)
    }
    sessions[index].suspendedAt = next == .suspended ? now : nil
    sessions[index].status = next
    sessions[index].lastActivity = now
    if next.isOver || (next == .invalidated && limits.retainEnded > 0) { sessions[index].endedAt = now }
    if next == .resolved { resolvedSessions.insert(sessions[index].number) }
    if next != current {
      sessions[index].revision = nextRevision(above: sessions[index].revision)
      let types: [Store.LifecycleStep: String] = [
        .activate: "activated", .suspend: "suspended", .resume: "resumed", .invalidate: "invalidated",
        .resolve: "resolved",
      ]
      if let type = types[step] { lifecycle.append(Audited(type: type, session: id)) }
    }
    return record(sessions[index])
  }

  mutating func validateSession(_ id: String, owner: Owner, address: String?, agent: String?) -> String? {
    guard let index = find(id, owner) else { return "not_found" }
    let status = status(sessions[index])
    if status != .active { return status.rawValue }
    let (known, agentKnown) = (sessions[index].address, sessions[index].agent)
    let differs = address != nil && known != nil && known != address
    if differs || (agent != nil && agentKnown != nil && agentKnown != agent) {
      security.append(Audited(type: "session_hijacking", session: id, action: .logged))
      return differs ? "address_changed" : "agent_changed"
    }
    sessions[index].address = sessions[index].address ?? address
    sessions[index].agent = sessions[index].agent ?? agent
    return nil
  }

  func matching(_ filter: SessionFilter) -> [Session] {
    sessions.filter { session in
      let status = status(session)
      return Self.sees(filter.owner, session.tenant, session.principal)
        && (filter.userID == nil || filter.userID == session.user)
        && (filter.status == nil ? !status.isOver || filter.owner.seesEnded : status == filter.status)
        && (!filter.owner.seesEnded || isKept(session) || (session.endedAt == nil && !status.isOver))
    }
  }

  func reasonOfEnd(_ number: Int64) -> String {
    if deletedSessions.contains(number) { return "deleted" }
    return resolvedSessions.contains(number) ? "resolved" : "expired"
  }

  mutating func expireSessions(olderThan: Int64, limit: Int) -> ([String], hasMore: Bool) {
    let old = sessions.filter { $0.lastActivity < olderThan && (limits.retainEnded == 0 || $0.endedAt == nil) }
    let removed = old.prefix(limit).map(\.id)
    if limits.retainEnded == 0 {
      sessions.removeAll { removed.contains($0.id) }
    } else {
      for index in sessions.indices where removed.contains(sessions[index].id) {
        (sessions[index].endedAt, sessions[index].status) = (end(sessions[index]) ?? now, .expired)
      }
    }
    return (removed, old.count > limit)
  }

  func record(_ session: Session, includeState: Bool = true) -> SessionRecord {
    SessionRecord(
      id: session.id, status: status(session), user: session.user, tenant: session.tenant,
      principal: session.principal, clientCapabilities: session.clientCapabilities,
      serverCapabilities: session.serverCapabilities, state: includeState ? Self.object(session.state) : nil,
      metadata: session.metadata, isInitialized: session.isInitialized, createdAt: session.createdAt,
      lastActivity: session.lastActivity, expiresAt: session.expiresAt, timeout: session.timeout,
      suspendedAt: session.suspendedAt, endedAt: limits.retainEnded > 0 ? end(session) : nil, newest: session.newest,
      revision: session.revision)
  }

  // MARK: State

  mutating func setState(_ id: String, _ key: String, _ value: String, owner: Owner) throws -> Int64 {
    let index = try writable(id, owner, "set state")
    var state = sessions[index].state
    if let at = state.firstIndex(where: { $0.key == key }) {
      state[at].value = value
    } else {
      state.append(Pair(key: key, value: value))
    }
    try checkSize(state)
    sessions[index].state = state
    sessions[index].lastActivity = now
    sessions[index].revision = nextRevision(above: sessions[index].revision)
    return sessions[index].revision
  }

  mutating func removeState(_ id: String, _ key: String, owner: Owner) throws -> String? {
    let index = try writable(id, owner, "remove state")
    sessions[index].lastActivity = now
    guard let at = sessions[index].state.firstIndex(where: { $0.key == key }) else { return nil }
    sessions[index].revision = nextRevision(above: sessions[index].revision)
    return sessions[index].state.remove(at: at).value
  }
}

// MARK: - Events

extension Model {
  private mutating func append(_ event: NewEvent, _ index: Int) {
    sessions[index].newest += 1
    sessions[index].events.append(
      Event(
        id: sessions[index].newest, stream: event.streamID, type: event.eventType ?? "message",
        timestamp: event.timestamp ?? now, retry: event.retry, data: event.data.string))
    sessions[index].lastActivity = now
    if limits.maxEventsPerSession > 0, limits.eventOverflow == .evict {
      lose(index, sessions[index].events.count - limits.maxEventsPerSession)
    }
  }

  private mutating func lose(_ index: Int, _ count: Int) {
    guard count > 0 else { return }
    sessions[index].lost += sessions[index].events.prefix(count).map { Lost(id: $0.id, stream: $0.stream) }
    sessions[index].events.removeFirst(count)
  }

  private func checkRoom(_ index: Int, _ count: Int) throws {
    if limits.maxEventsPerSession > 0, limits.eventOverflow == .error,
      sessions[index].events.count + count > limits.maxEventsPerSession
    {
      throw StoreError.maxEventsReached(limit: limits.maxEventsPerSession)
    }
  }

  /// - Returns: the first and the last id
  mutating func storeEvents(_ id: String, _ events: [NewEvent], owner: Owner, _ requested: String) throws -> [Int64] {
    let index = try writable(id, owner, requested)
    try checkRoom(index, events.count)
    let first = sessions[index].newest + 1
    for event in events { append(event, index) }
    return [first, sessions[index].newest]
  }

  mutating func broadcast(_ event: NewEvent, _ filter: SessionFilter) throws -> Int {
    let targets = sessions.indices.filter { index in
      let session = sessions[index]
      return status(session) == filter.status ?? .active && (filter.userID == nil || filter.userID == session.user)
        && Self.isBound(session.tenant, filter.owner.tenant)
        && Self.isBound(session.principal, filter.owner.principal)
    }
    for index in targets {
      _ = try writable(sessions[index].id, .server, "store an event")
      try checkRoom(index, 1)
    }
    for index in targets { append(event, index) }
    return targets.count
  }

  mutating func deleteEvents(_ id: String, before: Int64, owner: Owner) throws -> Int64 {
    let index = try writable(id, owner, "delete events")
    let count = sessions[index].events.count { $0.id < before }
    lose(index, count)
    sessions[index].lastActivity = now
    return Int64(count)
  }

  struct Gap: Equatable {
    var dropped: Int64
    /// what the store may say instead
    var atMost: Int64
    var oldest: Int64?
  }

  func gap(_ session: Session, after: Int64, stream: String?) -> Gap? {
    let lost = session.lost.filter { stream == nil || $0.stream == stream }
    let missed = lost.count { $0.id > after }
    if missed == 0 { return nil }
    let startsBefore = stream == nil || after < lost.first!.id
    return Gap(
      dropped: Int64(missed), atMost: startsBefore ? Int64(missed) : min(Int64(lost.count), lost.last!.id - after),
      oldest: session.events.first { stream == nil || $0.stream == stream }?.id)
  }

  /// - Parameter stop: events after which the reader says that it has enough
  func page(_ session: Session, after: Int64, stream: String?, limit: Int, stop: Int) -> PageRecord {
    let start = max(after, session.floor)
    let events = session.events.filter { $0.id > start && (stream == nil || $0.stream == stream) }
    let taken = Array(events.prefix(min(limit, stop)))
    let hasMore = taken.count < events.count
    return PageRecord(
      events: taken, nextAfter: hasMore ? taken.last?.id ?? start : session.newest, newest: session.newest,
      hasMore: hasMore, gap: gap(session, after: after, stream: stream), cursorAhead: after > session.newest)
  }

  func recent(_ session: Session, stream: String?, limit: Int) -> PageRecord {
    let events = session.events.filter { stream == nil || $0.stream == stream }.suffix(limit)
    return PageRecord(
      events: Array(events), nextAfter: session.newest, newest: session.newest, hasMore: false, gap: nil,
      cursorAhead: false)
  }
}

// MARK: - Tasks

extension Model {
  func hasLapsed(_ task: Task) -> Bool { task.ttl.map { now > task.createdAt + $0 } ?? false }

  func findTask(_ id: String, _ scope: TaskScope) throws -> Int {
    let index = tasks.firstIndex { task in
      task.id == id && !hasLapsed(task) && isOf(scope, task)
        && Self.sees(scope.owner, task.tenant, task.principal)
    }
    guard let index else { throw StoreError.taskNotFound(id) }
    return index
  }

  mutating func createTask(_ id: String, _ new: NewTask, owner: Owner) throws -> TaskView {
    let session = try new.sessionID.map { try writable($0, owner, "create a task") }
    if let old = tasks.first(where: { $0.id == id }), !hasLapsed(old) { throw StoreError.taskExists(id) }
    if limits.maxTasks > 0, tasks.count(where: { !hasLapsed($0) }) >= limits.maxTasks {
      throw StoreError.maxTasksReached(limit: limits.maxTasks)
    }
    tasks.removeAll { $0.id == id }
    let number = nextRevision()
    let task = Task(
      number: number, id: id, session: new.sessionID, sessionNumber: session.map { sessions[$0].number },
      tenant: Self.name(owner.tenant) ?? session.flatMap { sessions[$0].tenant },
      principal: Self.name(owner.principal) ?? session.flatMap { sessions[$0].principal }, status: new.status,
      message: new.statusMessage, createdAt: now, updatedAt: now, ttl: new.ttl, poll: new.pollInterval,
      method: new.originalMethod, params: new.originalParams?.string, meta: new.meta?.string, revision: number)
    Self.insert(task, into: &tasks) { $0.number }
    if let session { sessions[session].lastActivity = now }
    return TaskView(task)
  }

  private mutating func change(
    _ id: String, _ scope: TaskScope, ifRevision: Int64? = nil, _ change: (inout Task) throws -> Void
  ) throws -> TaskView {
    let index = try findTask(id, scope)
    if let ifRevision, tasks[index].revision != ifRevision {
      throw StoreError.concurrentModification(revision: tasks[index].revision)
    }
    var task = tasks[index]
    task.updatedAt = now
    try change(&task)
    task.revision = nextRevision(above: task.revision)
    tasks[index] = task
    return TaskView(task)
  }

  private static func isOver(_ status: TaskStatus) -> Bool {
    status == .completed || status == .failed || status == .cancelled
  }

  private static func requireLive(_ task: Task, _ requested: String) throws {
    if isOver(task.status) { throw StoreError.terminalState(current: task.status, requested: requested) }
  }

  private static func move(_ task: inout Task, _ next: TaskStatus) throws {
    try requireLive(task, next.rawValue)
    if task.status == next { throw StoreError.invalidTransition(current: next, requested: next) }
    task.status = next
    task.requests = nil
  }

  mutating func updateTask(
    _ id: String, _ update: TaskUpdate, requests: [Pair]?, scope: TaskScope, ifRevision: Int64?, force: Bool
  ) throws -> TaskView {
    let limits = limits
    return try change(id, scope, ifRevision: ifRevision) { task in
      if !force { try Self.requireLive(task, "update") }
      if case .set = update.inputRequests { try Self.requireRoom(for: requests ?? [], task, limits) }
      if case .set(let status) = update.status { task.status = status }
      if case .set(let message) = update.statusMessage { task.message = message }
      if case .set(let time) = update.createdAt { task.createdAt = time }
      if case .set(let time) = update.lastUpdatedAt { task.updatedAt = time }
      if case .set(let ttl) = update.ttl { task.ttl = ttl }
      if case .set(let poll) = update.pollInterval { task.poll = poll }
      if case .set(let method) = update.originalMethod { task.method = method }
      if case .set(let params) = update.originalParams { task.params = params?.string }
      if case .set(let result) = update.result { task.result = result.map(Self.text) }
      if case .set = update.inputRequests { task.requests = requests }
      if case .set(let flag) = update.cancelRequested { task.cancelRequested = flag }
      if case .set(let meta) = update.meta { task.meta = meta?.string }
      task.usedKeys.formUnion((task.requests ?? []).map(\.key))
    }
  }

  mutating func touchTask(
    _ id: String, message: String?, ttl: Int64?, poll: Int64?, scope: TaskScope
  ) throws -> TaskView {
    try change(id, scope) { task in
      try Self.requireLive(task, "touch")
      if let message { task.message = message }
      if let ttl { task.ttl = ttl }
      if let poll { task.poll = poll }
    }
  }

  mutating func updateTaskStatus(
    _ id: String, _ status: TaskStatus, message: String?, scope: TaskScope, ifRevision: Int64?
  ) throws -> TaskView {
    try change(id, scope, ifRevision: ifRevision) { task in
      try Self.move(&task, status)
      task.message = message
    }
  }

  private static func text(_ outcome: TaskOutcome) -> String {
    switch outcome {
    case .success(let value): #"{"success":\#(value.string)}"#
    case .error(let value): #"{"error":\#(value.string)}"#
    }
  }

  mutating func storeResult(_ id: String, _ outcome: TaskOutcome, scope: TaskScope) throws -> TaskView {
    try change(id, scope) { task in
      if task.result != nil { try Self.requireLive(task, "store a result") }
      task.result = Self.text(outcome)
    }
  }

  mutating func finishTask(
    _ id: String, _ outcome: TaskOutcome, message: String?, scope: TaskScope
  ) throws -> TaskView {
    try change(id, scope) { task in
      if case .success = outcome { try Self.move(&task, .completed) } else { try Self.move(&task, .failed) }
      task.result = Self.text(outcome)
      task.message = message
    }
  }

  mutating func cancelTask(_ id: String, cooperative: Bool, scope: TaskScope) throws -> TaskView {
    try change(id, scope) { task in
      if cooperative { try Self.requireLive(task, "cancel") } else { try Self.move(&task, .cancelled) }
      task.cancelRequested = true
    }
  }

  private static func requireRoom(for requests: [Pair], _ task: Task, _ limits: Limits) throws {
    let new = requests.filter { !task.usedKeys.contains($0.key) }
    if limits.maxTaskInputKeys > 0, !new.isEmpty, task.usedKeys.count + new.count > limits.maxTaskInputKeys {
      throw StoreError.maxInputKeysReached(limit: limits.maxTaskInputKeys)
    }
  }

  mutating func requireInput(_ id: String, _ requests: [Pair], scope: TaskScope) throws -> TaskView {
    let limits = limits
    return try change(id, scope) { task in
      try Self.requireLive(task, "require input")
      if requests.isEmpty {
        throw StoreError.invalidParameter(name: "input_requests", expected: "an object with at least one member")
      }
      for request in requests where task.usedKeys.contains(request.key) {
        throw StoreError.invalidParameter(
          name: "input_requests.\(request.key)", expected: "a key that this task has not used")
      }
      try Self.requireRoom(for: requests, task, limits)
      task.requests = (task.requests ?? []) + requests
      task.usedKeys.formUnion(requests.map(\.key))
      task.status = .inputRequired
    }
  }

  mutating func provideInput(_ id: String, _ responses: [Pair], scope: TaskScope) throws -> TaskView {
    let task = tasks[try findTask(id, scope)]
    try Self.requireLive(task, "provide input")
    let awaited = (task.requests ?? []).map(\.key)
    let answers = responses.filter { awaited.contains($0.key) }
    if answers.isEmpty { return TaskView(task) }
    return try change(id, scope) { task in
      let rest = task.requests!.filter { request in !answers.contains { $0.key == request.key } }
      task.requests = rest.isEmpty ? nil : rest
      let kept = (task.responses ?? []).filter { old in !answers.contains { $0.key == old.key } }
      task.responses = kept + answers
      if rest.isEmpty { task.status = .working }
    }
  }

  /// An id means the session that has it now; while none has, those that had it.
  private func isOf(_ scope: TaskScope, _ task: Task) -> Bool {
    guard let id = scope.sessionID else { return true }
    let current = find(id, scope.owner).map { sessions[$0].number }
    return task.session == id && (current == nil || current == task.sessionNumber)
  }

  func matchingTasks(_ status: TaskStatus?, _ scope: TaskScope) -> [Task] {
    tasks.filter { task in
      !hasLapsed(task) && (status == nil || status == task.status)
        && isOf(scope, task)
        && Self.sees(scope.owner, task.tenant, task.principal)
    }
  }

  mutating func deleteTask(_ id: String, scope: TaskScope) -> Bool {
    guard let index = try? findTask(id, scope) else { return false }
    tasks.remove(at: index)
    return true
  }

  mutating func recover(maxAge: Int64, scope: TaskScope, limit: Int) -> ([String], hasMore: Bool) {
    let stuck = matchingTasks(nil, scope).filter { !Self.isOver($0.status) && now - $0.updatedAt > maxAge }
    for stuck in stuck.prefix(limit) {
      let index = tasks.firstIndex { $0.id == stuck.id }!
      tasks[index].status = .failed
      tasks[index].requests = nil
      tasks[index].message = "Server restarted — task interrupted"
      tasks[index].result = #"{"error":{"code":-32603,"message":"Server restarted — task interrupted"}}"#
      tasks[index].updatedAt = now
      tasks[index].revision = nextRevision(above: tasks[index].revision)
    }
    return (stuck.prefix(limit).map(\.id), stuck.count > limit)
  }

  // MARK: Messages

  mutating func enqueue(_ id: String, _ message: String, maxSize: Int64?, scope: TaskScope) throws -> Int64 {
    let index = try findTask(id, scope)
    let limit = maxSize ?? (limits.maxTaskMessages > 0 ? Int64(limits.maxTaskMessages) : nil)
    if let limit, tasks[index].queue.count >= limit { throw StoreError.queueFull(limit: Int(limit)) }
    tasks[index].queue.append(message)
    return Int64(tasks[index].queue.count)
  }

  mutating func dequeue(_ id: String, limit: Int, scope: TaskScope) throws -> ([String], left: Int) {
    let index = try findTask(id, scope)
    let taken = Array(tasks[index].queue.prefix(limit))
    tasks[index].queue.removeFirst(taken.count)
    return (taken, tasks[index].queue.count)
  }
}

// MARK: - Nonces and values

extension Model {
  mutating func consume(_ nonce: String, ttl: Int64, principal: OwnerClaim) -> Bool {
    let nonce = Nonce(text: nonce, principal: Self.name(principal))
    if let end = nonces[nonce], now < end { return false }
    nonces[nonce] = now + ttl
    return true
  }

  func hasLapsed(_ value: Value) -> Bool { value.expiresAt.map { now >= $0 } ?? false }

  static func place(_ collection: String, _ owner: Owner) -> Place {
    Place(tenant: name(owner.tenant), principal: name(owner.principal), collection: collection)
  }

  private func findValue(_ place: Place, _ key: String) -> Int? {
    values.firstIndex { $0.place == place && $0.key == key && !hasLapsed($0) }
  }

  func getValue(_ place: Place, _ key: String) -> Value? { findValue(place, key).map { values[$0] } }

  mutating func put(
    _ place: Place, _ key: String, _ text: String, ttl: Int64?, ifAbsent: Bool, ifRevision: Int64?
  ) throws -> (stored: Bool, revision: Int64) {
    let old = findValue(place, key)
    if let ifRevision, old.map({ values[$0].revision }) != ifRevision {
      throw StoreError.concurrentModification(revision: old.map { values[$0].revision })
    }
    if let old {
      if ifAbsent { return (false, values[old].revision) }
      values[old].value = text
      values[old].expiresAt = ttl.map { now + $0 }
      values[old].revision = nextRevision(above: values[old].revision)
      return (true, values[old].revision)
    }
    if limits.maxValues > 0, values.count(where: { !hasLapsed($0) }) >= limits.maxValues {
      throw StoreError.maxValuesReached(limit: limits.maxValues)
    }
    values.removeAll { $0.place == place && $0.key == key }
    let number = nextRevision()
    let value = Value(
      number: number, place: place, key: key, value: text, expiresAt: ttl.map { now + $0 }, revision: number)
    Self.insert(value, into: &values) { $0.number }
    return (true, number)
  }

  mutating func deleteValue(_ place: Place, _ key: String, ifRevision: Int64?) throws -> Bool {
    let old = findValue(place, key)
    if let ifRevision, old.map({ values[$0].revision }) != ifRevision {
      throw StoreError.concurrentModification(revision: old.map { values[$0].revision })
    }
    values.removeAll { $0.place == place && $0.key == key }
    return old != nil
  }
}

// MARK: - What both sides are compared in

struct SessionRecord: Equatable {
  var id: String
  var status: SessionStatus
  var user: String?
  var tenant: String?
  var principal: String?
  var clientCapabilities: String?
  var serverCapabilities: String?
  var state: String?
  var metadata: String
  var isInitialized: Bool
  var createdAt: Int64
  var lastActivity: Int64
  var expiresAt: Int64?
  var timeout: Int64?
  var suspendedAt: Int64?
  var endedAt: Int64?
  var newest: Int64
  var revision: Int64
}

struct PageRecord: Equatable {
  var events: [Model.Event]
  var nextAfter: Int64
  var newest: Int64
  var hasMore: Bool
  var gap: Model.Gap?
  var cursorAhead: Bool
}

struct TaskView: Equatable {
  var id: String
  var session: String?
  var tenant: String?
  var principal: String?
  var status: TaskStatus
  var message: String?
  var createdAt: Int64
  var updatedAt: Int64
  var ttl: Int64?
  var poll: Int64?
  var method: String?
  var params: String?
  var result: String?
  var requests: String?
  var responses: String?
  var cancelRequested: Bool
  var meta: String?
  var revision: Int64
}

extension TaskView {
  init(_ task: Model.Task) {
    self.init(
      id: task.id, session: task.session, tenant: task.tenant, principal: task.principal, status: task.status,
      message: task.message, createdAt: task.createdAt, updatedAt: task.updatedAt, ttl: task.ttl, poll: task.poll,
      method: task.method, params: task.params, result: task.result, requests: task.requests.map(Model.object),
      responses: task.responses.map(Model.object), cancelRequested: task.cancelRequested, meta: task.meta,
      revision: task.revision)
  }
}

// MARK: - Logs, security events and rate limits

extension Model {
  private mutating func append(_ entry: NewLogEntry, _ index: Int) -> Int64 {
    sessions[index].log.newest += 1
    let seq = sessions[index].log.newest
    sessions[index].log.entries.append(LogEntry(seq: seq, text: entry.entry.string, kind: entry.kind))
    sessions[index].lastActivity = now
    if let id = entry.messageID {
      let isKnown = known(sessions[index].log.noted, window: limits.logDedupWindow - 1).contains(id)
      if !isKnown { sessions[index].log.first[id] = seq }
      sessions[index].log.noted.append(id)
    }
    return seq
  }

  /// the ids that were noted last
  private func known(_ noted: [String], window: Int) -> ArraySlice<String> {
    limits.logDedupWindow == 0 ? noted[...] : noted.suffix(window)
  }

  struct Appended: Equatable {
    var seq: Int64
    var isDuplicate: Bool
  }

  mutating func appendLogEntry(
    _ id: String, _ entry: NewLogEntry, deduplicate: Bool, owner: Owner
  ) throws -> Appended {
    let index = try writable(id, owner, "append to the log")
    let log = sessions[index].log
    if deduplicate, let message = entry.messageID,
      known(log.noted, window: limits.logDedupWindow).contains(message), let first = log.first[message]
    {
      sessions[index].lastActivity = now
      return Appended(seq: first, isDuplicate: true)
    }
    return Appended(seq: append(entry, index), isDuplicate: false)
  }

  mutating func replaceLog(_ id: String, _ entries: [NewLogEntry], owner: Owner) throws -> [Int64] {
    let index = try writable(id, owner, "replace the log")
    sessions[index].log.entries = []
    sessions[index].lastActivity = now
    return entries.map { append($0, index) }
  }

  mutating func compactLog(_ id: String, _ checkpoint: NewLogEntry, owner: Owner) throws -> [Int64] {
    let index = try writable(id, owner, "compact the log")
    let removed = Int64(sessions[index].log.entries.count)
    sessions[index].log.entries = []
    return [removed, append(checkpoint, index)]
  }

  func loadLog(
    _ id: String, after: Int64, kind: NewLogEntry.Kind?, fromCheckpoint: Bool, limit: Int, owner: Owner
  ) throws -> [String] {
    let log = sessions[try readable(id, owner)].log
    let checkpoint = fromCheckpoint ? log.entries.last { $0.kind == .checkpoint }?.seq ?? 0 : 0
    let entries = log.entries.filter { $0.seq > after && $0.seq >= checkpoint && (kind == nil || $0.kind == kind) }
    let page = entries.prefix(limit)
    let hasMore = page.count < entries.count
    let next = hasMore ? page.last?.seq ?? 0 : log.newest
    return page.map { "\($0.seq) \($0.text)" }
      + ["\(next) \(log.newest) \(log.entries.first.map { String($0.seq) } ?? "-") \(hasMore)"]
  }

  mutating func recordSecurityEvent(_ event: NewSecurityEvent) throws -> String {
    var action = SecurityAction.logged
    var violations: Int64 = 0
    if let id = event.sessionID, let index = find(id, .server), !status(sessions[index]).isOver {
      if event.severity != .low {
        sessions[index].violations += 1
        let isTooMuch =
          event.severity == .critical
          || (limits.maxViolations > 0 && sessions[index].violations >= Int64(limits.maxViolations))
        action = isTooMuch && sessions[index].status != .invalidated ? .invalidated : .counted
      }
      violations = sessions[index].violations
      if action == .invalidated { _ = try changeStatus(id, .invalidate, owner: .server) }
    }
    security.append(Audited(type: event.type.rawValue, session: event.sessionID, action: action))
    return "\(violations) \(action)"
  }

  mutating func checkRateLimit(_ key: String, limit: Int64, window: Int64) -> RateDecision {
    let now = self.now * 1_000_000
    let interval = window * 1_000_000 / limit
    let stored = rates[key] ?? now
    let next = (stored > now + interval * limit ? now + interval * (limit - 1) : max(stored, now)) + interval
    if next > now + interval * limit {
      let wait = (next - interval * limit - now + 999_999) / 1_000_000
      return RateDecision(isAllowed: false, remaining: 0, retryAfter: wait)
    }
    rates[key] = next
    return RateDecision(isAllowed: true, remaining: (now + interval * limit - next) / interval, retryAfter: 0)
  }
}
