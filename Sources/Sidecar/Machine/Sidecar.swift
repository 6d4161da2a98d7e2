import JSON
import JSONRPC
import SQLite
package import SessionStore

/// The service as a machine: bytes go in, bytes come out. It knows no descriptors and never waits for one.
///
/// Group commit: the first write opens a transaction, and everything that follows shares it until the caller has no
/// more input at hand and calls ``closeGroup()``, or until the group is as large as it may get. Answers leave only
/// after the commit, in the order of the requests, so grouping is never visible.
package final class Sidecar {
  package static let version = "0.1.0"
  /// the version of the contract: a new major number when something that was there is gone
  static let protocolVersion = "1.0"

  /// Bounds and facts that come from the command line and the process.
  package struct Options: Sendable {
    package var maxLineBytes = 16 << 20
    package var maxResultBytes = 8 << 20
    package var maxSubscriptions = 10_000
    package var requireOwner = false
    package var degradedSessions = 10_000
    /// where this program lies, for the message of a failed handshake
    package var executable = "mcp-session-store"
    package var processID: Int64 = 0

    package init() {}
  }

  /// What only the process can tell.
  package struct Host {
    /// resident bytes
    package var memoryUsage: () -> Int64
    /// bytes that are free on the file system of this path
    package var freeDisk: (String) -> Int64
    /// nanoseconds since some moment; never goes back
    package var monotonic: () -> Int64

    package init(
      memoryUsage: @escaping () -> Int64 = { 0 }, freeDisk: @escaping (String) -> Int64 = { _ in 0 },
      monotonic: @escaping () -> Int64 = { 0 }
    ) {
      self.memoryUsage = memoryUsage
      self.freeDisk = freeDisk
      self.monotonic = monotonic
    }
  }

  package enum Phase: Equatable {
    case serving
    /// told to stop by `shutdown`; the process exits with 0 when the output is written
    case shuttingDown
    /// A commit failed to sync; nobody may be told anything more.
    case failed
  }

  private static let groupInputLimit = 1 << 20
  private static let groupOutputLimit = 1 << 20
  /// room for the answers of a group, kept from one to the next
  package static let outputReserve = 1 << 20
  private static let groupMilliseconds: Int64 = 10
  static let maxBatch = 1_000

  let store: Store
  let options: Options
  let host: Host
  private let table = MethodTable.all
  private var lines: LineReader
  private var reader = RequestReader()
  private let call = Call()
  /// answers, of which those of the open group may not leave yet
  private var output = JSONWriter()
  private var group = Group()
  package private(set) var phase = Phase.serving
  var subscriptions = Subscriptions()
  var metrics: Metrics
  var jobs = Jobs()
  /// while the requests of a lost group are run again: each opens and closes a group of its own
  private var isAlone = false
  /// when set, each request is answered with this instead of being run
  private var refusal: RPCError?
  var nextSweep: Int64
  var nextPoll: Int64 = 0
  /// why the last sweep failed
  var sweepFailure: String?

  package init(store: Store, options: Options = Options(), host: Host = Host()) {
    self.store = store
    self.options = options
    self.host = host
    lines = LineReader(limit: options.maxLineBytes)
    output.reserve(Self.outputReserve)
    nextSweep = store.now + Self.sweepInterval
    metrics = Metrics(methods: table.methods.count, startedAt: store.now)
  }

  // MARK: - Input

  /// Takes bytes as they arrived, split anywhere; ``run()`` runs the lines that they complete.
  package func receive(_ bytes: [UInt8]) {
    metrics.bytesReceived += Int64(bytes.count)
    lines.append(bytes)
  }

  /// Runs lines until none is complete or a group was full and has been closed, so that its answers can leave before
  /// the next one opens.
  /// - Returns: whether there may be lines left
  package func run() -> Bool {
    groupWasClosed = false
    while phase != .failed, let line = lines.next() {
      run(line)
      if groupWasClosed { return true }
    }
    return false
  }
  private var groupWasClosed = false

  /// Runs a last line that had no newline, and closes the group.
  package func endInput() {
    if phase != .failed, let line = lines.finish() { run(line) }
    closeGroup()
  }

  /// One request: a line, or a member of a batch. The atom of a group.
  private struct Unit {
    /// the beginning only, when the line is over the limit
    let text: ArraySlice<UInt8>
    /// why the line is refused as a whole; a reference, because there seldom is one
    var refusal: (any Error)?
    var isTooLong = false
    /// where it stands in a batch
    var opensBatch = false
    var closesBatch = false
    var isInBatch = false

    init(_ text: ArraySlice<UInt8>, refusal: RPCError? = nil) {
      self.text = text
      self.refusal = refusal
    }
  }

  private func run(_ line: LineReader.Line) {
    switch line {
    case .tooLong(let prefix):
      var unit = Unit(prefix)
      unit.isTooLong = true
      run(unit)
    case .complete(let text):
      var scanner = JSONScanner()
      guard (try? scanner.peek(text.span)) == UInt8(ascii: "[") else { return run(Unit(text)) }
      for unit in batch(text, &scanner) { run(unit) }
    }
  }

  /// The members of a batch, once the whole line is known to be valid JSON.
  private func batch(_ text: ArraySlice<UInt8>, _ scanner: inout JSONScanner) -> [Unit] {
    var elements: [Range<Int>] = []
    do throws(JSONError) {
      try scanner.readElements(text.span, into: &elements, limit: Self.maxBatch + 1)
      try scanner.finish(text.span)
    } catch {
      return [Unit([], refusal: .parseError(error))]
    }
    if elements.isEmpty { return [Unit([], refusal: .invalidRequest("the batch is empty"))] }
    if elements.count > Self.maxBatch {
      return [Unit([], refusal: .invalidRequest("a batch has at most \(Self.maxBatch) members"))]
    }
    let whole = JSONText(validated: text)
    var units = elements.map { Unit(whole.cut($0).bytes) }
    for index in units.indices { units[index].isInBatch = true }
    units[0].opensBatch = true
    units[units.count - 1].closesBatch = true
    return units
  }

  // MARK: - Groups

  /// The requests that share the open transaction, and where to return to when it is lost.
  private struct Group {
    var units: [Unit] = []
    /// for the metrics: each request with the moment when it began, in nanoseconds
    var requests: [(method: Int, start: Int64)] = []
    var inputBytes = 0
    var openedAt: Int64 = 0
    /// where its answers begin
    var start = Place()
  }

  /// A point between two requests.
  private struct Place {
    var outputCount = 0
    var batch = BatchProgress()
    var subscriptions = Subscriptions()
  }

  /// How far the batch that is being answered has come.
  private struct BatchProgress {
    var start = 0
    var hasAnswers = false
  }
  private var batch = BatchProgress()

  private var place: Place { Place(outputCount: output.count, batch: batch, subscriptions: subscriptions) }

  private func `return`(to place: Place) {
    output.rewind(to: place.outputCount)
    batch = place.batch
    subscriptions = place.subscriptions
  }

  private func run(_ unit: Unit) {
    let start = host.monotonic()
    let parsed = parseForGroup(unit)
    // Where to return to when the group that this may open is lost.
    let before = store.isInGroup ? nil : place
    do {
      try answer(unit, parsed)
    } catch StoreError.outcomeUnknown(let code, let message) {
      if let before { openGroup(at: before) }
      group.units.append(unit)
      return fail(.outcomeUnknown(code: code, message: message))
    } catch {
      // The transaction is void, and with it all that the group has answered so far.
      if let before { openGroup(at: before) }
      group.units.append(unit)
      store.abandonGroup()
      return runGroupAlone()
    }
    guard store.isInGroup else {
      // A job is noted when it is answered.
      if deferred == nil { metrics.note(parsed.index, nanoseconds: host.monotonic() - start) }
      return
    }
    if let before { openGroup(at: before) }
    group.units.append(unit)
    group.requests.append((parsed.index, start))
    group.inputBytes += unit.text.count
    let age = store.now - group.openedAt
    if group.inputBytes >= Self.groupInputLimit || output.count - group.start.outputCount >= Self.groupOutputLimit
      || age >= Self.groupMilliseconds || age < 0 || parsed.method.map(standsApart) == true
    {
      closeGroup()
      if !unit.isInBatch { deliver(room: Self.groupOutputLimit - output.count - waitingOutput) }
    }
  }

  private func openGroup(at place: Place) {
    group.units.removeAll(keepingCapacity: true)
    group.requests.removeAll(keepingCapacity: true)
    group.inputBytes = 0
    group.openedAt = store.now
    group.start = place
  }

  /// whether writes wait for ``closeGroup()``
  package var hasOpenGroup: Bool { store.isInGroup && phase != .failed }

  /// Commits what the open group wrote; its answers may leave then.
  package func closeGroup() {
    guard hasOpenGroup else { return }
    groupWasClosed = true
    let start = host.monotonic()
    do {
      try store.commitGroup()
      let end = host.monotonic()
      metrics.note(group.requests, end: end)
      metrics.noteCommit(of: group.requests.count, nanoseconds: end - start)
      if !subscriptions.isEmpty { subscriptions.noteChanges(store.changedSessions, tasks: store.tasksChanged) }
    } catch StoreError.outcomeUnknown(let code, let message) {
      fail(.outcomeUnknown(code: code, message: message))
    } catch {
      runGroupAlone()
    }
  }

  /// Runs the requests of a lost group again, each in a transaction of its own, so that only one that cannot be done
  /// is refused. What they were answered the first time is discarded.
  private func runGroupAlone() {
    let (units, requests) = (group.units, group.requests)
    `return`(to: group.start)
    isAlone = true
    defer {
      isAlone = false
      metrics.note(requests, end: host.monotonic())
    }
    for (index, unit) in units.enumerated() where phase != .failed {
      let before = place
      do {
        try answer(unit, parse(unit))
      } catch {
        `return`(to: before)
        group.units = Array(units[index...])
        group.start = before
        fail(error as? StoreError ?? .outcomeUnknown(code: 0, message: "\(error)"))
      }
    }
  }

  /// Answers every request of the group with the error, for nobody knows whether the group is on disk. Nothing is run
  /// after that.
  private func fail(_ error: StoreError) {
    `return`(to: group.start)
    refusal = RPCError.of(error)
    for unit in group.units { try? answer(unit, parse(unit)) }
    phase = .failed
  }

  /// Whether a method must not share a group with what came before or comes after.
  private func standsApart(_ method: Method) -> Bool {
    method.access == .ownGroups || (method.isWatched && !subscriptions.isEmpty)
  }

  // MARK: - One request

  /// What a unit turned out to be, before anything of it is run.
  private struct Parsed {
    var id: Range<Int>?
    var isNotification = false
    var method: Method?
    /// of the method in the table; the number of methods for what is none of them
    var index = MethodTable.all.methods.count
    /// an error of any kind; a reference, because there seldom is one
    var error: (any Error)?
  }

  /// Parses a unit, and closes the group first when the unit may not share it.
  private func parseForGroup(_ unit: Unit) -> Parsed {
    let parsed = parse(unit)
    guard store.isInGroup, let method = parsed.method, standsApart(method) else { return parsed }
    closeGroup()
    if !unit.isInBatch { deliver(room: Self.groupOutputLimit - output.count - waitingOutput) }
    return parse(unit)
  }

  private func parse(_ unit: Unit) -> Parsed {
    let text = unit.text
    if let refusal = unit.refusal { return Parsed(error: refusal) }
    if unit.isTooLong {
      return Parsed(
        id: RequestReader.id(inPrefix: text.span),
        error: RPCError.payloadTooLarge("The line", limit: options.maxLineBytes))
    }
    let request: Request
    do throws(InvalidRequest) {
      request = try reader.read(text.span)
    } catch {
      return Parsed(id: error.id, error: error.error)
    }
    var parsed = Parsed(id: request.id, isNotification: request.id == nil)
    do {
      parsed.index = try index(of: request, text)
      let method = table.methods[parsed.index]
      try load(method, request, text)
      parsed.method = method
    } catch {
      parsed.error = error
    }
    return parsed
  }

  private func index(of request: Request, _ text: ArraySlice<UInt8>) throws -> Int {
    if let index = table.index(text.span, request.method) { return index }
    let name = JSONString.decode(text.span, request.method) ?? "?"
    guard let index = table.methods.firstIndex(where: { $0.name.isSame(as: name) }) else {
      throw RPCError.methodNotFound(String(name.unicodeScalars.prefix(256)), nearest: table.nearest(to: name))
    }
    return index
  }

  /// Takes the parameters of a request.
  private func load(_ method: Method, _ request: Request, _ text: ArraySlice<UInt8>) throws {
    if case .unusable = request.params {
      throw RPCError.invalidParams("params", expected: "an object of parameters by name")
    }
    try call.load(
      reader.members, of: text, method.parameters, required: method.required,
      payloadLimit: store.limits.maxPayloadBytes)
    try checkOwner(method, call)
  }

  func checkOwner(_ method: Method, _ call: Call) throws {
    if options.requireOwner, method.takesOwner, !call.mentions(.tenantID), !call.mentions(.principal) {
      throw RPCError.invalidParams(
        "principal", expected: "tenant_id or principal on every call (--require-owner); null is the anonymous caller")
    }
  }

  /// Runs a parsed request and writes its answer.
  /// - Throws: when the group is void, or when an outcome is unknown
  private func answer(_ unit: Unit, _ parsed: Parsed) throws {
    if unit.opensBatch { batch = BatchProgress(start: output.count, hasAnswers: false) }
    let start = output.count
    let id = unit.text.span.extracting(parsed.id ?? 0..<0)
    beginAnswer(unit)
    mayDefer = !unit.isInBatch
    deferred = nil
    do {
      if let refusal { throw refusal }
      if let error = parsed.error { throw error }
      guard let method = parsed.method else { throw RPCError.internalError }
      Response.begin(&output, id: id)
      try run(method, budget: budget(unit))
      Response.end(&output)
      if let deferred {
        output.rewind(to: start)
        return begin(
          deferred, parsed.index, id: parsed.id.map { Array(JSONText(validated: unit.text).cut($0).bytes) })
      }
    } catch {
      if isFatalToGroup(error) { throw error }
      output.rewind(to: start)
      beginAnswer(unit)
      metrics.noteError(parsed.index)
      Response.write(RPCError.of(error), id: id, to: &output)
    }
    if parsed.isNotification { output.rewind(to: start) } else { batch.hasAnswers = true }
    if !unit.isInBatch {
      if !parsed.isNotification { output.raw("\n") }
    } else if unit.closesBatch, batch.hasAnswers {
      output.raw("]\n")
    }
  }

  private func beginAnswer(_ unit: Unit) {
    if unit.isInBatch { output.raw(batch.hasAnswers ? "," : "[") }
  }

  /// Bytes that the pages of an answer may have; a batch shares the limit of one line.
  private func budget(_ unit: Unit) throws -> Int {
    if !unit.isInBatch { return options.maxResultBytes }
    let budget = options.maxResultBytes - (output.count - batch.start)
    if budget <= 0 {
      throw RPCError.payloadTooLarge("The answer to this batch; send the rest apart: it", limit: options.maxResultBytes)
    }
    return budget
  }

  /// Whether the open transaction, and so the whole group, is lost: every error of the database is taken as that, and
  /// some make SQLite end the transaction silently.
  private func isFatalToGroup(_ error: any Error) -> Bool {
    // Nothing is run any more: the error is what each request is to be answered with.
    if refusal != nil { return false }
    if case StoreError.outcomeUnknown? = error as? StoreError { return true }
    return !isAlone && store.isInGroup && (error is SQLiteError || !store.transactionStands)
  }

  // MARK: - Running a method

  /// bytes that the result of the running method may have
  var resultBudget = 0
  /// the same for the entries of a page, behind which a cursor and some members still come
  var pageBudget: Int { resultBudget - Self.pageEnd }
  private static let pageEnd = 4_096
  /// whether the running method may be answered later
  private(set) var mayDefer = false
  /// what it left to be done beside the requests, instead of writing a result
  var deferred: Job?

  private func run(_ method: Method, budget: Int) throws {
    if phase == .shuttingDown {
      throw ErrorKind.shuttingDown.error("The sidecar is shutting down; start it again and repeat the request.")
    }
    resultBudget = budget
    store.beginRequest()
    let mark = output.mark
    switch method.access {
    case .none, .ownGroups: try method.run(self, call, &output)
    case .read: try read(method)
    case .write: try write(method)
    case .readOrWrite:
      do {
        try read(method)
      } catch is NeedsGroup {
        output.rewind(to: mark)
        try write(method)
      }
    }
    if output.count - mark.count > options.maxResultBytes, method.access == .read {
      throw RPCError.payloadTooLarge("The answer", limit: options.maxResultBytes)
    }
  }

  private func read(_ method: Method) throws {
    if store.isInGroup { return try method.run(self, call, &output) }
    try store.beginRead()
    defer { store.endRead() }
    try method.run(self, call, &output)
  }

  private func write(_ method: Method) throws {
    if !store.isInGroup { try store.beginGroup(waiting: store.limits.busyTimeout) }
    if !isAlone { return try method.run(self, call, &output) }
    do {
      try method.run(self, call, &output)
      try store.commitGroup()
    } catch {
      if store.isInGroup { store.abandonGroup() }
      throw error
    }
  }

  /// Ends the service between two groups after the disk has failed.
  func giveUp() {
    phase = .failed
  }

  /// Answers what follows with shutting_down.
  func shutDown() {
    phase = .shuttingDown
  }

  // MARK: - Output

  /// Bytes of earlier output that the reader has not taken yet. Notifications wait while these are many: a subscription
  /// is a cursor, and a reader that is slow to take them must not bring the requests to a stand.
  package var waitingOutput = 0

  /// Lends the output to someone who writes whole lines.
  func withOutput(_ write: (inout JSONWriter) throws -> Void) rethrows {
    try write(&output)
  }

  /// Moves the bytes that may go out now to the end of `buffer`; none may while a group is open.
  package func moveOutput(to buffer: inout [UInt8]) {
    if hasOpenGroup { return }
    metrics.bytesSent += Int64(output.count)
    output.move(to: &buffer)
  }
}
