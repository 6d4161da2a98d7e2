/// One connection to a server, used by one thread, that comes back when it was lost.
///
/// Statements go out without waiting, in libpq's pipeline mode. One that gives no rows is only sent, and its failure
/// shows at the next *trip*: when somebody wants rows, or at the commit. The same statement many times in a row goes as
/// one, with arrays. After a failure nothing more is sent until ``rollback()``.
@safe
package final class PostgresConnection {
  package private(set) var options: PostgresOptions
  /// nil while there is none
  private var link: Link?
  /// counts the links that there were
  package private(set) var generation = 0
  /// Whether statements cannot be kept at the server, nor settings: something in front of it changes the connections.
  package private(set) var isPooled = false
  private var needsPrimary = false
  package private(set) var server = Server()
  private var clock = ServerClock()

  /// by the address of the SQL literal, so that finding one costs no hashing of text
  private var literals: [UnsafeRawPointer: Query] = unsafe [:]
  private var composed: [String: Query] = [:]
  private var queryCount = 0
  /// what answers are still to come, in their order
  private var awaited: [Awaited] = []
  /// whose rows wait to go together
  private var batch: Query?
  /// The last run of a statement without rows: it may be asked what it changed.
  private var lastRun: Query?
  private var lastChanges: Int64 = 0
  private var transaction = State.none
  /// how the open transaction was begun
  private var begun: Begun?
  /// What was sent in it, until the first answers have come; nil afterwards.
  private var unanswered: [Message]?
  private var cursorCount = 0
  /// Asked now and then while an answer is waited for; once it says so, the server is asked to stop what runs.
  package var isCancelled: () -> Bool = { false }

  /// how often answers were waited for
  package private(set) var trips = 0

  private enum State {
    case none, open
    /// nothing of it can be saved
    case failed(PostgresError)
  }

  private struct Begun {
    let purpose: Transaction
    let waiting: Int64?
  }

  /// A statement on its way.
  private struct Message {
    let query: Query
    let parameters: Parameters
    let kind: Awaited
    /// whether it is kept at the server under its name
    let isPrepared: Bool
  }

  private enum Awaited {
    case prepared(Query)
    case described(Query)
    case rows(StatementUse)
    case changes
    case time(sent: Int64)
    case commit
    /// of whose failure nobody wants to know
    case ignored
    case sync

    /// Whether somebody wants to know of it.
    var isMissed: Bool {
      switch self {
      case .ignored, .sync: false
      default: true
      }
    }
  }

  /// Statements whose answers are waited for at most before there is a trip: libpq remembers each of them.
  private static let awaitedAtMost = 4_000

  /// Connects. A server that is not there yet is waited for, as long as the busy timeout says.
  package init(_ options: PostgresOptions) throws(PostgresError) {
    self.options = options
    try connect(within: options.waiting)
  }

  // MARK: - Connecting

  /// What is known of the server.
  package struct Server {
    /// such as "15.18"
    package fileprivate(set) var version = ""
    /// as PostgreSQL counts it: 150,018 for 15.18
    package fileprivate(set) var versionNumber: Int64 = 0
    package fileprivate(set) var isReadOnly = false
    /// whether it can compress with LZ4, and nobody has said what it is to compress with
    fileprivate var mayUseLZ4 = false
    package fileprivate(set) var host = ""
    package fileprivate(set) var port = ""
    package fileprivate(set) var database = ""
    package fileprivate(set) var user = ""
  }

  /// Where the tables are, for people: without user and password.
  package var place: String {
    let host = server.host.contains(":") ? "[\(server.host)]" : server.host
    return "postgresql://\(host):\(server.port)/\(server.database)"
  }

  /// Connects, and again with pauses that grow, until it succeeds or the time is over.
  private func connect(within milliseconds: Int64) throws(PostgresError) {
    drop()
    let deadline = Deadline(in: milliseconds)
    var pause: Int64 = 10
    while true {
      do throws(PostgresError) {
        return try connectOnce(deadline)
      } catch {
        drop()
        // The next try lets libpq choose among the hosts.
        if error.kind == .readOnly { needsPrimary = true }
        if !error.isWorthAnotherTry || deadline.isOver { throw error }
        // Not all who lost the same server come back at the same instant.
        let spread = Int64.random(in: pause / 2...pause)
        Deadline.sleep(milliseconds: min(spread, deadline.remaining))
        pause = min(pause * 2, 500)
      }
    }
  }

  private func connectOnce(_ deadline: Deadline) throws(PostgresError) {
    // libpq counts in seconds, for each host anew, and takes two for the least.
    let seconds = max(2, (deadline.remaining / Int64(options.address.hostCount) + 999) / 1_000)
    let before =
      [("fallback_application_name", "mcp-session-store")]
      + (options.address.hasTimeout ? [] : [("connect_timeout", "\(seconds)")])
    var behind = [("client_encoding", "UTF8")]
    if needsPrimary { behind.append(("target_session_attrs", "read-write")) }
    let link = try Link(options.address, before: before, behind: behind)
    self.link = link
    generation += 1
    try look(link)
    if options.mode == .readWrite, server.isReadOnly {
      throw PostgresError(state: "25006", message: "the server at \(server.host) only reads")
    }
    if !isPooled { try set(isLocal: false, settings) }
    try trip()
  }

  /// Looks at what is at the other end.
  private func look(_ link: Link) throws(PostgresError) {
    let sql = """
      SELECT pg_backend_pid(), current_setting('server_version'), CAST(current_setting('server_version_num') AS bigint),
        getdatabaseencoding(), pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
        EXISTS (SELECT 1 FROM pg_settings
          WHERE name = 'default_toast_compression' AND source = 'default' AND 'lz4' = ANY (enumvals))
      """
    let use = StatementUse(Query(sql, number: 0))
    try send(once: use.query, use.parameters, as: .rows(use))
    let sent = Deadline.now()
    try sendTime(sent)
    try trip()
    guard let rows = use.rows, rows.count == 1 else { throw unexpected("it does not say what it is") }
    let facts = RowReader(rows, 0)
    let place = link.place
    server = Server(
      version: String(facts.string(1).prefix { $0 != " " }), versionNumber: facts.integer(2),
      isReadOnly: facts.integer(4) != 0, mayUseLZ4: facts.integer(5) != 0, host: place.host, port: place.port,
      database: place.database, user: place.user)
    // A pooler tells its clients a process of its own making.
    if facts.integer(0) != Int64(link.processID) { isPooled = true }
    if server.versionNumber < 140_000 {
      throw unfit("PostgreSQL \(server.version) is too old; the store needs 14 or newer")
    }
    if facts.string(3) != "UTF8" {
      throw unfit(
        "The database '\(server.database)' has the encoding \(facts.string(3)); make one with createdb "
          + "--encoding=UTF8 --template=template0")
    }
  }

  private func unexpected(_ message: String) -> PostgresError { PostgresError(state: "08P01", message: message) }
  private func unfit(_ message: String) -> PostgresError {
    PostgresError(state: "0A000", message: message + ".", kind: .unfit)
  }

  /// What a session of ours sets, or each transaction of it where sessions are shared.
  private var settings: [(String, String)] {
    var settings = [
      ("lock_timeout", Self.timeout(options.lockTimeout)),
      ("statement_timeout", options.statementTimeout.map(Self.timeout) ?? "0"),
      ("idle_in_transaction_session_timeout", Self.timeout(options.idleInTransactionTimeout)),
    ]
    // Whatever a group does, others wait for it no longer than this.
    if server.versionNumber >= 170_000, let statement = options.statementTimeout {
      settings.append(("transaction_timeout", Self.timeout(2 * statement + options.lockTimeout)))
    }
    if let schema = options.schema { settings.append(("search_path", SQLText.quotedName(schema))) }
    // What servers compress with if nobody says otherwise takes two fifths of the time in which they insert events.
    if server.mayUseLZ4 { settings.append(("default_toast_compression", "lz4")) }
    if let waits = options.waitsForDisk, !waits { settings.append(("synchronous_commit", "off")) }
    return settings
  }

  /// For a server 0 means for ever.
  private static func timeout(_ milliseconds: Int64) -> String { "\(min(max(milliseconds, 1), Int64(Int32.max)))" }

  private func set(isLocal: Bool, _ settings: [(String, String)]) throws(PostgresError) {
    let calls = settings.indices.map { "set_config($\(2 * $0 + 1), $\(2 * $0 + 2), \(isLocal))" }
    let use = StatementUse(query(composed: "SELECT " + calls.joined(separator: ", ")))
    for (index, setting) in settings.enumerated() {
      use.parameters.set(Int32(2 * index + 1), text: setting.0.utf8.span)
      use.parameters.set(Int32(2 * index + 2), text: setting.1.utf8.span)
    }
    try send(use.query, use.parameters, as: .rows(use))
  }

  /// Forgets the link and all that was under way on it.
  private func drop() {
    link = nil
    awaited.removeAll(keepingCapacity: true)
    batch?.dropBatch()
    batch = nil
    lastRun = nil
  }

  /// Uses `schema` from now on; between transactions.
  package func use(schema: String) throws(PostgresError) {
    options.schema = schema
    if !isPooled {
      try set(isLocal: false, settings)
      try trip()
    }
  }

  // MARK: - Statements

  /// The statement for an SQL literal; prepared once for each place in the code.
  package func statement(_ sql: StaticString) -> PostgresStatement {
    let address = unsafe UnsafeRawPointer(sql.utf8Start)
    if let known = unsafe literals[address] { return PostgresStatement(self, known) }
    let new = query(composed: sql.description)
    unsafe literals[address] = new
    return PostgresStatement(self, new)
  }

  /// The statement for SQL that was put together from constant parts; prepared once for each text.
  package func statement(composed sql: String) -> PostgresStatement { PostgresStatement(self, query(composed: sql)) }

  private func query(composed sql: String) -> Query {
    if let known = composed[sql] { return known }
    queryCount += 1
    let new = Query(sql, number: queryCount)
    composed[sql] = new
    return new
  }

  /// Runs statements that are used once, such as a schema.
  package func execute(_ script: String) throws(PostgresError) {
    defer { lastRun = nil }
    for sql in SQLText(script).statements {
      let query = Query(sql, number: 0)
      try send(once: query, as: query.returnsRows ? .rows(StatementUse(query)) : .changes)
    }
  }

  /// Rows that the last INSERT, UPDATE or DELETE changed. To know it there is a trip; if that fails, so does what
  /// follows.
  package var changes: Int64 {
    // Alone its number tells what it did.
    if let lastRun {
      lastRun.isCounted = true
      do throws(PostgresError) {
        if batch === lastRun { try flushBatch(all: false) }
        try trip()
      } catch {
        return 0
      }
    }
    lastRun = nil
    return lastChanges
  }

  /// Runs a statement, or lets it wait for others like it.
  func run(_ use: StatementUse) throws(PostgresError) {
    if case .failed(let error) = transaction { throw error }
    let query = use.query
    query.fit(use.parameters)
    if query.returnsRows { return try send(query, use.parameters, as: .rows(use)) }
    lastRun = query
    if query.mayWait() {
      if batch !== query { try flushBatch() }
      if !query.add(use.parameters) {
        try flushBatch()
        _ = query.add(use.parameters)
      }
      batch = query
    } else {
      try send(query, use.parameters, as: .changes)
    }
  }

  /// Sends what waits to go together.
  /// - Parameter all: whether the last row goes with the others
  private func flushBatch(all: Bool = true) throws(PostgresError) {
    guard let query = batch else { return }
    batch = nil
    let waiting = query.takeBatch(all: all)
    if let many = waiting.many {
      many.query.fit(many.parameters)
      try send(many.query, many.parameters, as: .changes)
    }
    if let last = waiting.last { try send(query, last, as: .changes) }
  }

  private func send(_ query: Query, _ parameters: Parameters, as kind: Awaited) throws(PostgresError) {
    try flushBatch()
    try transmit(Message(query: query, parameters: parameters, kind: kind, isPrepared: true))
  }

  /// Sends what is not worth being prepared.
  private func send(
    once query: Query, _ parameters: Parameters = Parameters(count: 0), as kind: Awaited
  ) throws(PostgresError) {
    try flushBatch()
    query.fit(parameters)
    try transmit(Message(query: query, parameters: parameters, kind: kind, isPrepared: false))
  }

  private func transmit(_ message: Message) throws(PostgresError) {
    unanswered?.append(message)
    let query = message.query
    let isNamed = message.isPrepared && !isPooled
    if isNamed, !query.isPrepared(on: generation) {
      try sending { link throws(PostgresError) in
        try link.prepare(query.name, query.sql, query.types)
        try link.describe(query.name)
      }
      awaited.append(.prepared(query))
      awaited.append(.described(query))
      query.notePrepared(on: generation)
    }
    try sending { link throws(PostgresError) in
      try link.send(isNamed ? .prepared(query.name) : .unnamed(query.sql, types: query.types), message.parameters)
    }
    awaited.append(message.kind)
    if awaited.count >= Self.awaitedAtMost { try trip() }
  }

  /// Sends; when the link breaks meanwhile, nothing of the transaction can be saved.
  private func sending(_ body: (Link) throws(PostgresError) -> Void) throws(PostgresError) {
    if case .failed(let error) = transaction { throw error }
    guard let link else { throw fail(PostgresError.lost("there is no connection")) }
    do throws(PostgresError) { try body(link) } catch { throw fail(error) }
  }

  // MARK: - Answers

  /// Waits for the answers to all that was sent.
  func trip() throws(PostgresError) {
    try flushBatch()
    if awaited.isEmpty { return }
    if case .sync = awaited[awaited.count - 1] {} else { try sync() }
    trips += 1
    guard let failure = receive()?.error else {
      unanswered = nil
      return
    }
    guard failure.needsConnection, let begun, let again = unanswered, case .open = transaction else {
      throw fail(failure)
    }
    try sendAgain(again, begun, failure)
  }

  /// Does what was sent in a transaction once more, on a new connection: nobody has seen an answer of it yet, and what
  /// was not committed is gone.
  private func sendAgain(_ messages: [Message], _ begun: Begun, _ failure: PostgresError) throws(PostgresError) {
    unanswered = nil
    let deadline = Deadline(in: begun.waiting ?? options.waiting)
    var failure = failure
    repeat {
      do throws(PostgresError) {
        transaction = .none
        try connect(within: deadline.remaining)
        transaction = .open
        try open(begun)
        for message in messages { try transmit(message) }
        try sync()
        guard let again = receive() else { return }
        failure = again.error
      } catch {
        failure = error
        // The server was waited for in vain.
        if case .none = transaction { break }
      }
    } while failure.needsConnection && !deadline.isOver
    transaction = .open
    throw fail(failure)
  }

  func sync() throws(PostgresError) {
    try sending { link throws(PostgresError) in try link.sync() }
    awaited.append(.sync)
  }

  private struct Failure {
    let error: PostgresError
    /// The link is gone, or goes: what was done before is not known.
    let isFinal: Bool
  }

  /// Reads all answers that are awaited.
  /// - Returns: the first failure that somebody wants to know of
  private func receive() -> Failure? {
    var first: Failure?
    var timeout = Int64.max
    if let statement = options.statementTimeout {
      // A lock may be waited for besides, and the server has to find the time to say what happened.
      timeout = statement + options.lockTimeout + 1_000
    }
    let waiting = awaited
    awaited.removeAll(keepingCapacity: true)
    for one in waiting {
      let failure = receive(one, timeout)
      guard let failure else { continue }
      if failure.isFinal {
        drop()
        return first.map { Failure(error: $0.error, isFinal: true) } ?? failure
      }
      if case .ignored = one { continue }
      if first == nil { first = failure }
    }
    return first
  }

  private func receive(_ one: Awaited, _ timeout: Int64) -> Failure? {
    guard let link else { return Failure(error: unexpected("the connection is closed"), isFinal: true) }
    var failure: Failure?
    while true {
      do throws(PostgresError) {
        try link.wait(timeout: timeout, isCancelled: isCancelled)
      } catch {
        return Failure(error: error, isFinal: true)
      }
      switch link.next() {
      case .none: return failure
      case .sync:
        if case .sync = one { return nil }
        return Failure(error: unexpected("it answered out of turn"), isFinal: true)
      case .skipped: note(skipped: one)
      case .failed(let error, let isFinal):
        note(skipped: one)
        if error.meansPooler { isPooled = true }
        failure = Failure(error: error, isFinal: isFinal)
        if isFinal { return failure }
      case .rows(let rows): note(rows, one)
      case .done(let completion):
        note(completion, one)
        if case .commit = one, completion.tag != "COMMIT" {
          let error = PostgresError(state: "40000", message: "the transaction was rolled back")
          failure = Failure(error: error, isFinal: false)
        }
      }
    }
  }

  private func note(skipped one: Awaited) {
    if case .prepared(let query) = one { query.forgetPrepared() }
  }

  private func note(_ rows: Rows, _ one: Awaited) {
    switch one {
    case .rows(let use): use.rows = rows
    case .time(let sent): clock.note(RowReader(rows, 0).integer(0), sent: sent, received: Deadline.now())
    default: break
    }
  }

  private func note(_ completion: Completion, _ one: Awaited) {
    switch one {
    case .described(let query): query.noteTypes(completion.parameterTypes)
    case .changes: lastChanges = completion.changes
    default: break
    }
  }

  /// Notes that nothing of the open transaction can be saved.
  private func fail(_ error: PostgresError) -> PostgresError {
    if case .open = transaction { transaction = .failed(error) }
    if error.needsConnection { drop() }
    return error
  }

  // MARK: - Time

  /// The server's time, Unix milliseconds.
  package func now() -> Int64 { (clock.time(at: Deadline.now()) ?? 0) / 1_000 }

  private func sendTime(_ sent: Int64) throws(PostgresError) {
    let sql = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
    try send(once: Query(sql, number: 0), as: .time(sent: sent))
  }

  // MARK: - Transactions

  /// What a transaction is for.
  package enum Transaction {
    /// to read at one moment
    case snapshot
    /// to write; whoever else writes the same rows waits
    case group
  }

  /// Begins a transaction, after connecting anew where that is needed.
  /// - Parameter waiting: milliseconds that a lock or a server that is not there is waited for; nil: the busy timeout
  package func begin(_ purpose: Transaction, waiting: Int64? = nil) throws(PostgresError) {
    guard case .none = transaction else { throw unexpected("a transaction is open already") }
    if !isUsable() { try connect(within: waiting ?? options.waiting) }
    let begun = Begun(purpose: purpose, waiting: waiting)
    do throws(PostgresError) {
      transaction = .open
      try open(begun)
    } catch {
      rollback()
      throw error
    }
    self.begun = begun
    unanswered = []
  }

  private func open(_ begun: Begun) throws(PostgresError) {
    try command(
      begun.purpose == .group
        ? "BEGIN ISOLATION LEVEL READ COMMITTED" : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    var settings = isPooled ? self.settings : []
    if begun.purpose == .group, let waiting = begun.waiting, waiting != options.lockTimeout {
      settings.append(("lock_timeout", Self.timeout(waiting)))
    }
    if !settings.isEmpty { try set(isLocal: true, settings) }
    let sent = Deadline.now()
    if clock.isStale(at: sent) { try sendTime(sent) }
  }

  /// Whether there is a connection that works, as far as can be told without a trip.
  private func isUsable() -> Bool {
    guard let link else { return false }
    if !link.hasInput { return true }
    if let last = awaited.last {
      guard case .sync = last else { return true }
      if receive()?.isFinal == true { return false }
      if !link.hasInput { return true }
    }
    // What a server says without being asked is mostly that it ends the connection.
    do throws(PostgresError) { try sync() } catch { return false }
    return receive() == nil
  }

  /// A statement without parameters and rows.
  private func command(_ sql: String, as kind: Awaited = .changes) throws(PostgresError) {
    try send(query(composed: sql), Parameters(count: 0), as: kind)
  }

  /// Lets a snapshot go. Nothing was written, so nobody waits for the answer.
  package func endSnapshot() {
    guard case .open = transaction, link != nil else { return rollback() }
    do throws(PostgresError) {
      if awaited.contains(where: \.isMissed) { try trip() }
      unanswered = nil
      try command("COMMIT", as: .ignored)
      try sync()
      transaction = .none
      if isPooled {
        // A pooler may hand the server to somebody else at the sync, whatever is sent behind it.
        trips += 1
        _ = receive()
      } else if let link {
        _ = try link.flush()
      }
    } catch {
      rollback()
    }
  }

  /// What became of a commit.
  package enum Outcome {
    case committed
    /// nothing of it is there
    case refused(PostgresError)
    /// it may or may not be there
    case unknown(PostgresError)
  }

  /// How to find out, on another connection, whether a commit whose answer was lost has happened: every transaction of
  /// a writer locks the writer's own row before it does anything else, and writes another number into it.
  package struct Witness: Sendable {
    let sql: String
    let parameter: Int64
    let expected: Int64

    /// - Parameters:
    ///   - sql: the statement that gives the number and locks the row: `… FOR UPDATE`
    ///   - parameter: its $1: the writer
    ///   - expected: the number that the row has once the transaction is committed, and not before
    package init(sql: String, parameter: Int64, expected: Int64) {
      self.sql = sql
      self.parameter = parameter
      self.expected = expected
    }
  }

  /// Commits. When the answer is lost, the witness is asked, for as long as the busy timeout; without one, or when no
  /// server answers in that time, the outcome is unknown.
  package func commit(_ witness: Witness? = nil) -> Outcome {
    var hasSent = false
    do throws(PostgresError) {
      try flushBatch()
      if case .failed(let error) = transaction { throw error }
      // From here on nothing may be done twice.
      unanswered = nil
      hasSent = true
      try command("COMMIT", as: .commit)
      try sync()
    } catch {
      if hasSent, link == nil || error.kind == .unreachable { return resolve(error, witness) }
      rollback()
      return .refused(error)
    }
    trips += 1
    guard let failure = receive() else {
      transaction = .none
      return .committed
    }
    if failure.isFinal { return resolve(failure.error, witness) }
    _ = fail(failure.error)
    rollback()
    return .refused(failure.error)
  }

  /// Finds out what became of a transaction whose commit was sent and not answered.
  private func resolve(_ loss: PostgresError, _ witness: Witness?) -> Outcome {
    drop()
    transaction = .none
    guard let witness else { return .unknown(loss) }
    let deadline = Deadline(in: options.waiting)
    repeat {
      do throws(PostgresError) {
        try connect(within: deadline.remaining)
        // Without a row nothing held the old transaction up: it may still be under way.
        guard let number = try number(of: witness, waiting: max(1, deadline.remaining)) else { return .unknown(loss) }
        // It is over, one way or the other: it had the row's lock.
        return number == witness.expected ? .committed : .refused(loss)
      } catch {
        rollback()
        let mayChange = error.isPassing || [.busy, .overloaded].contains(error.kind)
        if !mayChange { break }
        Deadline.sleep(milliseconds: min(10, deadline.remaining))
      }
    } while !deadline.isOver
    return .unknown(loss)
  }

  private func number(of witness: Witness, waiting: Int64) throws(PostgresError) -> Int64? {
    try begin(.group, waiting: waiting)
    let number: Int64?
    do {
      let select = statement(composed: witness.sql)
      select.bind(1, witness.parameter)
      number = try select.step() ? select.integer(0) : nil
    }
    rollback()
    return number
  }

  /// Ends the transaction without its changes, whatever has become of it.
  package func rollback() {
    batch?.dropBatch()
    batch = nil
    lastRun = nil
    unanswered = nil
    let wasNone = if case .none = transaction { true } else { false }
    transaction = .none
    guard link != nil, !wasNone else { return }
    do throws(PostgresError) {
      // Behind a failure the server passes over everything up to the next sync.
      if !awaited.isEmpty, case .sync = awaited[awaited.count - 1] {} else { try sync() }
      try command("ROLLBACK", as: .ignored)
      try sync()
      trips += 1
      _ = receive()
    } catch {
      drop()
    }
  }

  /// Whether a transaction is open, and nothing in it has failed as far as is known.
  package var isInTransaction: Bool { if case .open = transaction { true } else { false } }

  /// Begins a part of the transaction that can be taken back alone.
  package func savepoint() throws(PostgresError) { try command("SAVEPOINT request") }

  /// What was done since ``savepoint()`` stays with the rest.
  package func release() throws(PostgresError) { try command("RELEASE SAVEPOINT request") }

  /// Takes back what was done since ``savepoint()``.
  package func rollbackToSavepoint() throws(PostgresError) {
    try command("ROLLBACK TO SAVEPOINT request")
    try release()
  }

  // MARK: - Long lists

  /// A reading whose rows are fetched `rows` at a time, so that a long list does not fill the memory. Only in a
  /// transaction; other statements may run in between.
  package func cursor(composed sql: String, rows: Int32) -> PostgresStatement {
    PostgresStatement(self, query(composed: sql), rowsAtOnce: rows)
  }

  /// Sends a reading, all of it or as much as is to be fetched at once.
  func read(_ use: StatementUse) throws(PostgresError) {
    use.isSent = true
    guard let limit = use.rowsAtOnce else { return try run(use) }
    cursorCount += 1
    let cursor = "c\(cursorCount)"
    let declaration = Query("DECLARE \(cursor) NO SCROLL CURSOR FOR " + use.query.sql, number: 0)
    try send(once: declaration, use.parameters, as: .changes)
    use.cursor = cursor
    try fetch(use, limit)
  }

  private func fetch(_ use: StatementUse, _ limit: Int32) throws(PostgresError) {
    guard let cursor = use.cursor else { return }
    try send(once: Query("FETCH \(limit) FROM \(cursor)", number: 0), as: .rows(use))
  }

  /// Fetches what follows the rows that were read.
  /// - Returns: whether there is more
  func fetchMore(_ use: StatementUse) throws(PostgresError) -> Bool {
    guard let limit = use.rowsAtOnce, use.cursor != nil else { return false }
    try fetch(use, limit)
    try trip()
    closeIfAtEnd(use)
    use.row = 0
    return (use.rows?.count ?? 0) > 0
  }

  /// Lets the cursor go once nothing can follow what was fetched.
  func closeIfAtEnd(_ use: StatementUse) {
    if let limit = use.rowsAtOnce, let rows = use.rows, rows.count < limit { close(use) }
  }

  /// Lets go of what a reading has open at the server.
  func close(_ use: StatementUse) {
    guard let cursor = use.cursor else { return }
    use.cursor = nil
    // Without a transaction there is no cursor any more.
    guard case .open = transaction, link != nil else { return }
    do throws(PostgresError) {
      try send(once: Query("CLOSE \(cursor)", number: 0), as: .ignored)
    } catch {
      // It shows at the next statement.
    }
  }
}

@available(*, unavailable)
extension PostgresConnection: Sendable {}
