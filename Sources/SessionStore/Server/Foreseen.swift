import Database
import JSON

/// Rows that requests name in their parameters, read in the trip that begins their group or snapshot, so that the
/// requests need no trips of their own. What is written to such a row is written here too; what is not here is looked
/// for in the database. Details of sessions are foreseen as well, and lie in the cache of sessions.
///
/// Tasks that a group has read or written are here on a file too: what one request did to a task, the next one need
/// not read.
struct Foreseen {
  struct StateName: Hashable {
    let session: SessionNumber
    let key: [UInt8]
  }

  /// what was found; nil: there is nothing
  private var tasks: [String: TaskRecord?] = [:]
  private var values: [[[UInt8]]: StoredValue?] = [:]
  private var states: [StateName: JSONText?] = [:]
  /// by keys of rate limits
  private var arrivals: [[UInt8]: Int64] = [:]
  /// by nonces and their principals: when they lapse
  private var expiries: [[[UInt8]]: Int64] = [:]
  /// by queues and ids: items of work that there are not
  private var absentWork: Set<[[UInt8]]> = []
  var work = ForeseenWork()
  /// by task, what stands at the front of its queue, the last first; there may be more behind it
  private var messages: [TaskNumber: [QueuedMessage]] = [:]

  /// rows of each kind at most
  static let rows = 4_000
  /// bytes of them at most, about
  private static let bytes = 4 << 20

  /// Rows that are larger than this are left to the requests.
  static func largest(of count: Int) -> Int64 { Int64(bytes / max(1, count)) }

  mutating func removeAll() {
    if !tasks.isEmpty { tasks.removeAll(keepingCapacity: tasks.count <= 64) }
    if !values.isEmpty { values.removeAll() }
    if !states.isEmpty { states.removeAll() }
    if !arrivals.isEmpty { arrivals.removeAll() }
    if !expiries.isEmpty { expiries.removeAll() }
    if !absentWork.isEmpty { absentWork.removeAll() }
    if !messages.isEmpty { messages.removeAll() }
    if !work.isEmpty { work = ForeseenWork() }
  }

  // MARK: - Tasks

  /// Mutating, although it changes nothing: to look at what an object holds copies it.
  /// - Returns: nil when nothing is known of it
  mutating func task(_ taskID: String) -> TaskRecord?? { tasks.isEmpty ? nil : tasks[taskID] }

  /// Remembers what a task that is known here, or was just made, has become; nil: it is gone.
  mutating func note(_ task: TaskRecord?, _ taskID: String) {
    if tasks.count >= Self.rows { tasks.removeAll() }
    tasks[taskID] = .some(task)
  }

  mutating func forget(task taskID: String) { if !tasks.isEmpty { tasks[taskID] = nil } }

  mutating func forgetTasks() { if !tasks.isEmpty { tasks.removeAll() } }

  // MARK: - Values

  private static func name(_ place: ValuePlace, _ key: String) -> [[UInt8]] {
    [place.tenantID.exact, place.principal.exact, place.collection.exact, key.exact]
  }

  func value(_ place: ValuePlace, _ key: String) -> StoredValue?? {
    values.isEmpty ? nil : values[Self.name(place, key)]
  }

  mutating func note(_ value: StoredValue?, _ place: ValuePlace, _ key: String) {
    values[Self.name(place, key)] = .some(value)
  }

  mutating func forget(_ place: ValuePlace, _ key: String) {
    if !values.isEmpty { values[Self.name(place, key)] = nil }
  }

  mutating func forgetValues() { if !values.isEmpty { values.removeAll() } }

  // MARK: - Keys of states

  func state(_ session: SessionNumber, _ key: String) -> JSONText?? {
    states.isEmpty ? nil : states[StateName(session: session, key: key.exact)]
  }

  mutating func note(_ value: JSONText?, _ session: SessionNumber, _ key: String) {
    // A session may be made with very many, and what is not here is looked for.
    if states.count >= Self.rows { states.removeAll() }
    states[StateName(session: session, key: key.exact)] = .some(value)
  }

  mutating func forget(_ session: SessionNumber, _ key: String) {
    if !states.isEmpty { states[StateName(session: session, key: key.exact)] = nil }
  }

  mutating func forgetStates() { if !states.isEmpty { states.removeAll() } }

  // MARK: - Rate limits

  func arrival(_ key: String) -> Int64? { arrivals.isEmpty ? nil : arrivals[key.exact] }

  /// - Parameter arrival: nil: it is to be looked for
  mutating func note(arrival: Int64?, _ key: String) { arrivals[key.exact] = arrival }

  mutating func forgetArrivals() { if !arrivals.isEmpty { arrivals.removeAll() } }

  // MARK: - Nonces

  func expiry(_ nonce: String, of principal: String) -> Int64? {
    expiries.isEmpty ? nil : expiries[[nonce.exact, principal.exact]]
  }

  mutating func note(expiry: Int64, _ nonce: String, of principal: String) {
    expiries[[nonce.exact, principal.exact]] = expiry
  }

  mutating func forgetExpiries() { if !expiries.isEmpty { expiries.removeAll() } }

  // MARK: - Messages

  /// Takes the message at the front of the queue; nil when it is to be looked for.
  mutating func takeMessage(of task: TaskNumber) -> QueuedMessage? {
    messages.isEmpty ? nil : messages[task]?.popLast()
  }

  /// - Parameter new: the first of them first
  mutating func note(_ new: [QueuedMessage], of task: TaskNumber) { messages[task] = new.reversed() }

  mutating func forgetMessages() { if !messages.isEmpty { messages.removeAll() } }

  // MARK: - Work

  func lacks(work id: String, in queue: String) -> Bool {
    !absentWork.isEmpty && absentWork.contains([queue.exact, id.exact])
  }

  mutating func note(absentWork id: String, in queue: String) { absentWork.insert([queue.exact, id.exact]) }

  /// It may be there now.
  mutating func forget(absentWork id: String, in queue: String) {
    if !absentWork.isEmpty { absentWork.remove([queue.exact, id.exact]) }
  }
}

/// The statements whose rows are foreseen, on their way.
struct ForeseenStatements: ~Copyable {
  fileprivate var details: Statement?
  fileprivate var detailStates: Statement?
  fileprivate var presentTasks: Statement?
  fileprivate var tasks: Statement?
  fileprivate var values: Statement?
  fileprivate var states: Statement?
  fileprivate var arrivals: Statement?
  fileprivate var expiries: Statement?
  fileprivate var absentWork: Statement?
  fileprivate var messages: Statement?
  fileprivate var work = ForeseenWorkStatements()
}

extension Store {
  /// Asks for what is foreseen; in a group all of it is locked by then.
  func askForForeseen(_ needs: Needs) throws -> ForeseenStatements {
    var asked = ForeseenStatements()
    if !needs.shown.isEmpty { try askForDetails(needs.shown.prefix(Foreseen.rows), withStates: true, &asked) }
    if !needs.tasks.isEmpty { try askForTasks(Array(needs.tasks.prefix(Foreseen.rows)), &asked) }
    if !needs.values.isEmpty { asked.values = try askForValues(needs.values.prefix(Foreseen.rows)) }
    if !needs.states.isEmpty { asked.states = try askForStates(needs.states.prefix(Foreseen.rows)) }
    if !needs.rateKeys.isEmpty { asked.arrivals = try askForArrivals(needs.rateKeys.prefix(Foreseen.rows)) }
    if !needs.nonces.isEmpty { asked.expiries = try askForExpiries(needs.nonces.prefix(Foreseen.rows)) }
    if !needs.work.isEmpty { asked.absentWork = try askForAbsentWork(needs.work.prefix(Foreseen.rows)) }
    if !needs.messages.isEmpty { asked.messages = try askForMessages(needs.messages) }
    try askForWork(needs, &asked.work)
    return asked
  }

  /// Reads the rows and details of sessions in one trip, for a page that is going to show them.
  func foresee(_ sessions: some Collection<String>, withStates: Bool) throws {
    var needs = Needs()
    for session in sessions where cache.slot(session) == nil { needs.add(session: session) }
    var asked = ForeseenStatements()
    try askForDetails(sessions, withStates: withStates, &asked)
    var rows = try askForSessions(needs)
    if rows != nil { try takeSessions(&rows!, needs) }
    try takeForeseen(&asked, needs)
  }

  private static func smallDetails(withStates: Bool) -> String {
    """
    session_id = ANY ($1) AND \(withStates ? "state_bytes + " : "")octet_length(metadata)
      + coalesce(octet_length(client_capabilities), 0) + coalesce(octet_length(server_capabilities), 0) <= $2
    """
  }

  private func askForDetails(
    _ sessions: some Collection<String>, withStates: Bool, _ asked: inout ForeseenStatements
  ) throws {
    let (sessions, largest) = (Array(sessions), Foreseen.largest(of: sessions.count))
    let small = Self.smallDetails(withStates: withStates)
    var details = try tables.statement(
      .server,
      composed: """
        SELECT \(SessionDetails.columns), session_id FROM sessions WHERE \(small) ORDER BY number
        """)
    details.bind(1, texts: sessions)
    details.bind(2, largest)
    try details.send()
    asked.details = consume details
    if !withStates { return }
    var states = try tables.statement(
      .server,
      composed: """
        SELECT session, key, value FROM session_state
        WHERE session IN (SELECT number FROM sessions WHERE \(small)) ORDER BY session, number
        """)
    states.bind(1, texts: sessions)
    states.bind(2, largest)
    try states.send()
    asked.detailStates = consume states
  }

  private func askForTasks(_ tasks: [String], _ asked: inout ForeseenStatements) throws {
    var present = try tables.statement(.server, composed: "SELECT task_id FROM tasks WHERE task_id = ANY ($1)")
    present.bind(1, texts: tasks)
    try present.send()
    asked.presentTasks = consume present
    var select = try self.tables.statement(
      .server,
      composed: TaskRecord.select + """
         WHERE task_id = ANY ($1)
          AND coalesce(octet_length(status_message), 0) + coalesce(octet_length(original_method), 0) <= $2
        """)
    select.bind(1, texts: tasks)
    select.bind(2, Foreseen.largest(of: tasks.count))
    try select.send()
    asked.tasks = consume select
  }

  private func askForValues(_ names: ArraySlice<(place: ValuePlace, key: String)>) throws -> Statement {
    var select = try tables.statement(
      .server,
      composed: """
        SELECT number, key, CASE WHEN octet_length(value) <= $5 THEN value END, expires_at, revision,
          octet_length(value) <= $5, tenant_id, principal, collection
        FROM named_values WHERE (tenant_id, principal, collection, key) IN
          (SELECT t, p, c, k
          FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS TEXT[]), CAST($3 AS TEXT[]), CAST($4 AS TEXT[]))
            AS wanted (t, p, c, k))
        """)
    select.bind(1, texts: names.map(\.place.tenantID))
    select.bind(2, texts: names.map(\.place.principal))
    select.bind(3, texts: names.map(\.place.collection))
    select.bind(4, texts: names.map(\.key))
    select.bind(5, Foreseen.largest(of: names.count))
    try select.send()
    return select
  }

  private func askForStates(_ names: ArraySlice<(session: String, key: String)>) throws -> Statement {
    var select = try tables.statement(
      .server,
      composed: """
        SELECT session, key, CASE WHEN octet_length(value) <= $3 THEN value END, octet_length(value) <= $3
        FROM session_state WHERE (session, key) IN
          (SELECT number, k FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS TEXT[])) AS wanted (s, k)
          JOIN sessions ON session_id = s)
        """)
    select.bind(1, texts: names.map(\.session))
    select.bind(2, texts: names.map(\.key))
    select.bind(3, Foreseen.largest(of: names.count))
    try select.send()
    return select
  }

  private func askForArrivals(_ keys: ArraySlice<String>) throws -> Statement {
    var select = try tables.statement(
      .server, composed: "SELECT key, arrival FROM rate_limits WHERE key = ANY ($1)")
    select.bind(1, texts: Array(keys))
    try select.send()
    return select
  }

  private func askForExpiries(_ nonces: ArraySlice<(nonce: String, principal: String)>) throws -> Statement {
    var select = try tables.statement(
      .server,
      composed: """
        SELECT nonce, principal, expires_at FROM nonces WHERE (nonce, principal) IN
          (SELECT n, p FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS TEXT[])) AS wanted (n, p))
        """)
    select.bind(1, texts: nonces.map(\.nonce))
    select.bind(2, texts: nonces.map(\.principal))
    try select.send()
    return select
  }

  /// The first messages of queues: as many as are going to be taken, up to one that is large.
  private func askForMessages(_ counts: [String: Int]) throws -> Statement {
    let counts = counts.prefix(Foreseen.rows).map { ($0.key, min($0.value, Foreseen.rows / counts.count + 1)) }
    var select = try tables.statement(
      .server,
      composed: """
        SELECT t.number, m.number, CASE WHEN octet_length(m.message) <= $3 THEN m.message END
        FROM (
          SELECT id, CAST(n AS BIGINT) AS most FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS TEXT[])) AS texts (id, n)
        ) AS wanted
        JOIN tasks AS t ON t.task_id = wanted.id
        JOIN LATERAL (
          SELECT number, message FROM task_messages WHERE task = t.number ORDER BY number LIMIT wanted.most
        ) AS m ON true
        ORDER BY t.number, m.number
        """)
    select.bind(1, texts: counts.map(\.0))
    select.bind(2, texts: counts.map { "\($0.1)" })
    select.bind(3, Foreseen.largest(of: counts.reduce(0) { $0 + $1.1 }))
    try select.send()
    return select
  }

  private func askForAbsentWork(_ names: ArraySlice<(queue: String, workID: String)>) throws -> Statement {
    var select = try tables.statement(
      .server,
      composed: """
        SELECT queue, work_id FROM work WHERE (queue, work_id) IN
          (SELECT q, i FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS TEXT[])) AS wanted (q, i))
        """)
    select.bind(1, texts: names.map(\.queue))
    select.bind(2, texts: names.map(\.workID))
    try select.send()
    return select
  }

  /// Takes what was asked for; the rows of the sessions that are named are in the cache by then.
  func takeForeseen(_ asked: inout ForeseenStatements, _ needs: Needs) throws {
    let entries = asked.detailStates != nil ? try stateEntries(&asked.detailStates!) : nil
    if asked.details != nil { try takeDetails(&asked.details!, entries) }
    if asked.tasks != nil { try takeTasks(&asked.tasks!, &asked.presentTasks!, needs) }
    if asked.values != nil { try takeValues(&asked.values!, needs) }
    if asked.states != nil { try takeStates(&asked.states!, needs) }
    if asked.arrivals != nil {
      while try asked.arrivals!.step() { foreseen.note(arrival: asked.arrivals!.integer(1), asked.arrivals!.string(0)) }
    }
    if asked.absentWork != nil {
      for name in needs.work.prefix(Foreseen.rows) { foreseen.note(absentWork: name.workID, in: name.queue) }
      while try asked.absentWork!.step() {
        foreseen.forget(absentWork: asked.absentWork!.string(1), in: asked.absentWork!.string(0))
      }
    }
    if asked.messages != nil { try takeMessages(&asked.messages!) }
    try takeWork(&asked.work, needs)
    if asked.expiries != nil {
      while try asked.expiries!.step() {
        foreseen.note(
          expiry: asked.expiries!.integer(2), asked.expiries!.string(0), of: asked.expiries!.string(1))
      }
    }
  }

  private func takeMessages(_ rows: inout Statement) throws {
    var (messages, large) = ([TaskNumber: [QueuedMessage]](), Set<TaskNumber>())
    while try rows.step() {
      let task = TaskNumber(rows, 0)
      if let message = rows.json(2), !large.contains(task) {
        messages[task, default: []].append(QueuedMessage(number: rows.integer(1), message: message))
      } else {
        large.insert(task)
      }
    }
    for (task, messages) in messages { foreseen.note(messages, of: task) }
  }

  private func stateEntries(_ states: inout Statement) throws -> [SessionNumber: [StateEntry]] {
    var entries: [SessionNumber: [StateEntry]] = [:]
    while try states.step() {
      let entry = StateEntry(key: states.string(1), value: Payload(own: states.json(2) ?? .null))
      entries[SessionNumber(states, 0), default: []].append(entry)
    }
    return entries
  }

  private func takeDetails(_ rows: inout Statement, _ entries: [SessionNumber: [StateEntry]]?) throws {
    while try rows.step() {
      guard let slot = cache.slot(rows.string(8)) else { continue }
      let row = cache.rows[slot]
      let state = entries.map { stateObject($0[row.number] ?? [], bytes: row.stateBytes) }
      cache.keep(SessionDetails(rows, revision: row.revision, state: state), slot, isForeseen: true)
    }
  }

  private func takeTasks(_ rows: inout Statement, _ present: inout Statement, _ needs: Needs) throws {
    var absent = Set(needs.tasks.prefix(Foreseen.rows))
    while try present.step() { absent.remove(present.string(0)) }
    for taskID in absent { foreseen.note(nil, taskID) }
    while try rows.step() {
      let task = TaskRecord(rows, self)
      foreseen.note(task, task.taskID)
    }
  }

  private func takeValues(_ rows: inout Statement, _ needs: Needs) throws {
    for name in needs.values.prefix(Foreseen.rows) { foreseen.note(nil as StoredValue?, name.place, name.key) }
    while try rows.step() {
      let place = ValuePlace(tenantID: rows.string(6), principal: rows.string(7), collection: rows.string(8))
      let stored = StoredValue(rows)
      if rows.boolean(5) {
        foreseen.note(stored, place, stored.value.key)
      } else {
        foreseen.forget(place, stored.value.key)
      }
    }
  }

  private func takeStates(_ rows: inout Statement, _ needs: Needs) throws {
    for name in needs.states.prefix(Foreseen.rows) {
      guard let slot = cache.slot(name.session) else { continue }
      foreseen.note(nil as JSONText?, cache.rows[slot].number, name.key)
    }
    while try rows.step() {
      let (session, key) = (SessionNumber(rows, 0), rows.string(1))
      if rows.boolean(3) {
        foreseen.note(rows.json(2), session, key)
      } else {
        foreseen.forget(session, key)
      }
    }
  }
}
