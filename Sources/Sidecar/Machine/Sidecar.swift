import Database
import JSON
import JSONRPC
package import SessionStore

/// The service as a machine: bytes go in, bytes come out. It knows no descriptors and never waits for one.
///
/// What comes in is cut into units (``Unit``), each is checked (Requests.swift) and run (Running.swift); which of them
/// share a commit, and what happens when it fails, is for ``Group`` to say.
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
    /// nil: nothing is told of requests
    package var logLevel: LogLevel?
    package var degradedSessions = 10_000
    /// where this program lies, for the message of a failed handshake
    package var executable = "mcp-session-store"
    package var processID: Int64 = 0
    /// Bytes of answers that may wait for a slow reader before nothing more is run: with one line and one answer the
    /// largest part of what a parent that writes and never reads can make this process hold.
    package var outputBound = 64 << 20

    package init() {}
  }

  /// What only the process can tell.
  package struct Host {
    /// resident bytes
    package var memoryUsage: () -> Int64
    /// bytes that are free on the file system of this path; nil when nothing is known
    package var freeDisk: (String) -> Int64?
    /// nanoseconds since some moment; never goes back
    package var monotonic: () -> Int64
    /// takes a line of what is told of requests, and never waits
    package var log: ([UInt8]) -> Void
    package var openArchive: OpenArchive

    package init(
      memoryUsage: @escaping () -> Int64 = { 0 }, freeDisk: @escaping (String) -> Int64? = { _ in nil },
      monotonic: @escaping () -> Int64 = { 0 }, log: @escaping ([UInt8]) -> Void = { _ in },
      openArchive: @escaping OpenArchive = { path, _ in
        throw ArchiveError.unusable(path: path, reason: "there are no files here")
      }
    ) {
      self.memoryUsage = memoryUsage
      self.freeDisk = freeDisk
      self.monotonic = monotonic
      self.log = log
      self.openArchive = openArchive
    }
  }

  package enum Phase: Equatable {
    case serving
    /// told to stop by `shutdown`; the process exits with 0 when the output is written
    case shuttingDown
    /// A commit failed to sync, or the file is not the one that is open; nobody may be told anything more.
    case failed
  }

  /// room for the answers of a group, kept from one to the next
  package static let outputReserve = 1 << 20

  let store: Store
  package let options: Options
  let host: Host
  var lines: LineReader
  /// what is to be run next, where it is collected first
  var collected = Collected()
  /// what the requests of the open group are about
  private var watched = Watched()
  /// whether a group is run that others were in the way of
  private var isSecondTry = false
  var requests = RequestReader()
  let call = Call()
  var group = Group()
  var metrics: Metrics
  var jobs = Jobs()
  /// what the method that is running may do
  var running = Running()
  var nextSweep: Int64
  var lookout = Lookout()
  /// when more of what was archived may be deleted, by ``Host/monotonic``: the time of the store may stand still
  var nextRemoval: Int64 = 0
  /// when subscribers may be served again after the database could not be read
  var nextDelivery: Int64 = 0
  /// how often other processes had written when subscribers last looked
  var seenCommits: Int64 = 0
  /// why the last sweep failed
  var sweepFailure: String?
  /// why the service has failed
  package private(set) var failure: StoreError?
  private var groupWasClosed = false
  /// Bytes of earlier output that the reader has not taken yet. Notifications wait while these are many: a subscription
  /// is a cursor, and a reader that is slow to take them must not bring the requests to a stand.
  package var waitingOutput = 0

  package init(store: Store, options: Options = Options(), host: Host = Host()) {
    self.store = store
    self.options = options
    self.host = host
    lines = LineReader(limit: options.maxLineBytes)
    nextSweep = store.now + Self.sweepInterval
    metrics = Metrics(methods: MethodTable.all.methods.count, startedAt: store.now)
    group.answers.output.reserve(Self.outputReserve)
  }

  package var phase: Phase {
    if group.state == .failed { return .failed }
    return group.answers.isShuttingDown ? .shuttingDown : .serving
  }

  // MARK: - Input

  /// Takes bytes as they arrived, split anywhere; ``run()`` runs the lines that they complete. Nothing is to be handed
  /// in while lines wait: see ``hasUnreadLines``.
  package func receive(_ bytes: [UInt8]) {
    metrics.bytesReceived += Int64(bytes.count)
    lines.append(bytes)
    store.renewPatience()
  }

  /// whether there is input that was not looked at yet
  package var hasUnreadLines: Bool { phase != .failed && !(lines.unread.isEmpty && collected.isEmpty) }

  /// Whether so many answers wait for the reader that nothing more is run.
  package var isFull: Bool { waitingOutput + group.answers.output.count >= options.outputBound }

  /// Runs lines until none is complete, or until answers can leave, or must leave, before the next one is run.
  /// - Returns: whether there may be lines left
  package func run() -> Bool {
    groupWasClosed = false
    // One snapshot serves all reads: what they ask for had come before it was taken.
    store.keepsSnapshot = true
    defer {
      store.letSnapshotGo()
      store.keepsSnapshot = false
    }
    if store.isShared { return runCollected() }
    while phase != .failed, !isFull, let line = lines.next() {
      run(line)
      if groupWasClosed || group.answers.output.count >= Self.outputReserve { return true }
    }
    return hasUnreadLines
  }

  /// The same where groups are collected before they are run.
  private func runCollected() -> Bool {
    if collected.isEmpty { collect() }
    while phase != .failed, !isFull, !collected.isEmpty {
      runCollectedLine()
      if groupWasClosed || group.answers.output.count >= Self.outputReserve { break }
    }
    if collected.isEmpty {
      closeGroup()
      collected = Collected()
    }
    return hasUnreadLines
  }

  /// Runs the units of one line: within the answer to a batch nothing else may stand.
  private func runCollectedLine() {
    while let next = collected.popFirst() {
      let unit = next.unit
      run(unit, next.request)
      if !unit.isInBatch || unit.closesBatch { return }
    }
  }

  /// Runs a last line that had no newline, and closes the group. Only when there are no lines left.
  package func endInput() {
    if phase != .failed, let line = lines.finish() { run(line) }
    closeGroup()
  }

  private func run(_ line: LineReader.Line) {
    switch line {
    case .tooLong(let prefix): run(.tooLong(prefix))
    case .complete(let text):
      guard let units = Unit.batch(text) else { return run(Unit(text)) }
      for unit in units { run(unit) }
    }
  }

  // MARK: - Groups

  /// - Parameter collected: what it turned out to be, if that is known
  private func run(_ unit: Unit, _ collected: CollectedRequest? = nil) {
    let start = host.monotonic()
    let (request, targets) = parseForGroup(unit, collected)
    // The commit before it failed, or one earlier in its batch: it is answered, but nothing is run any more.
    if phase == .failed, let failure { return refuse([unit], RPCError.of(failure)) }
    let mark = group.answers.mark
    running.start = start
    do {
      try answer(unit, request, since: mark)
    } catch {
      if endsProcess(error) { return take(group.handle(.outcomeUnknown(running: unit, mark)), error) }
      return take(group.handle(isWorthAnotherTry(error) ? .lostToOthers(running: unit) : .lost(running: unit)), error)
    }
    guard group.state == .open else {
      // A job is noted when it is answered.
      if running.deferred == nil { metrics.note(request.index, nanoseconds: host.monotonic() - start) }
      return settle()
    }
    let isFull = group.add(unit, method: request.index, start: start, now: store.isShared ? nil : store.now)
    if let targets { watched.add(targets) }
    if isFull || standsApart(request.method, targets) { closeGroup(before: unit) }
  }

  /// Parses a unit, and closes the group first when the unit may not share it.
  private func parseForGroup(_ unit: Unit, _ collected: CollectedRequest?) -> (ParsedRequest, Watched.Targets?) {
    let request = parse(unit, collected)
    let targets = targets(request.method)
    guard group.state == .open else {
      watched.removeAll()
      return (request, targets)
    }
    if !standsApart(request.method, targets), targets.map(watched.admits) ?? true { return (request, targets) }
    closeGroup(before: unit)
    watched.removeAll()
    let again = parse(unit, collected)
    return (again, self.targets(again.method))
  }

  /// Whether a method must not share a group with what came before or comes after.
  private func standsApart(_ method: Method?, _ targets: Watched.Targets?) -> Bool {
    method?.access == .ownGroups || targets?.isWide == true
  }

  private func closeGroup(before unit: Unit) {
    closeGroup()
    if !unit.isInBatch { deliver(room: Self.outputReserve - group.answers.output.count - waitingOutput) }
  }

  /// whether writes wait for ``closeGroup()``
  package var hasOpenGroup: Bool { group.state == .open }

  /// Commits what the open group wrote; its answers may leave then.
  package func closeGroup() {
    take(group.handle(.close))
  }

  /// Does what the group says.
  /// - Parameter error: why it says so
  private func take(_ step: Group.Step, _ error: (any Error)? = nil) {
    switch step {
    case .goOn: break
    case .commit: commit()
    case .runAlone(let units): runAlone(units)
    case .runAgain(let units): runAgain(units)
    case .refuse(let units):
      if phase == .failed { failure = error as? StoreError }
      refuse(units, RPCError.of(error ?? RPCError.internalError))
    }
  }

  private func commit() {
    groupWasClosed = true
    let start = host.monotonic()
    do {
      try store.commitGroup()
    } catch {
      return take(group.handle(lossOfCommit(error)), error)
    }
    isSecondTry = false
    let end = host.monotonic()
    metrics.note(group.requests, end: end)
    metrics.noteCommit(of: group.requests.count, nanoseconds: end - start)
    tellCommit(of: group.requests.count, nanoseconds: end - start)
    _ = group.handle(.committed)
    settle()
  }

  private func lossOfCommit(_ error: any Error) -> Group.Input {
    if endsProcess(error) { return .outcomeUnknown(running: nil, group.answers.mark) }
    if case StoreError.outcomeUnresolved = error { return .outcomeUnresolved }
    return isWorthAnotherTry(error) ? .lostToOthers(running: nil) : .lost(running: nil)
  }

  /// Whether others were in the way of the group, for the first time.
  private func isWorthAnotherTry(_ error: any Error) -> Bool {
    !isSecondTry && (error as? DatabaseError)?.isPassing == true
  }

  /// Runs the requests of a group once more together, for others were in its way.
  private func runAgain(_ units: [Unit]) {
    if store.isInGroup { store.abandonGroup() }
    isSecondTry = true
    for unit in units { run(unit) }
    closeGroup()
    isSecondTry = false
  }

  /// Runs the requests of a lost group again, each in a transaction of its own. What they were answered the first time
  /// is discarded.
  private func runAlone(_ units: [Unit]) {
    groupWasClosed = true
    if store.isInGroup { store.abandonGroup() }
    for unit in units {
      _ = group.handle(.runningAlone)
      let start = host.monotonic()
      let mark = group.answers.mark
      let request = parse(unit)
      running.start = start
      do {
        try answer(unit, request, since: mark)
      } catch {
        return take(group.handle(.outcomeUnknown(running: unit, mark)), error)
      }
      metrics.note(request.index, nanoseconds: host.monotonic() - start)
    }
    _ = group.handle(.ranAlone)
    settle()
  }

  /// Answers requests of which nobody knows whether they are on disk. Nothing is run after that.
  private func refuse(_ units: [Unit], _ error: RPCError) {
    groupWasClosed = true
    for unit in units {
      let mark = group.answers.mark
      let request = parse(unit)
      group.answers.begin(unit)
      let id = unit.text.span.extracting(request.id ?? 0..<0)
      group.answers.fail(unit, error, method: request.index, id: id, since: mark)
      if options.logLevel != nil {
        running.start = host.monotonic()
        log(request, error.kind)
      }
      group.answers.end(unit, isNotification: request.isNotification, since: mark)
    }
    settle()
  }

  /// What was answered holds.
  private func settle() {
    if !group.answers.isSettled {
      for method in group.answers.errors { metrics.noteError(method) }
      if options.logLevel != nil { tellLogged() }
      group.answers.settle()
      store.isWatched = subscriptionCount > 0
    }
    if store.hasChanges { noteChanges() }
  }

  /// Once the files that are open are not the store any more: whoever still asks is told why, and nothing else is done.
  /// `health` says it as its reason.
  package func explain() {
    guard let failure, case .databaseReplaced(let change, _) = failure else { return }
    let error = RPCError.of(StoreError.databaseReplaced(change: change, wasCommitted: false))
    while !isFull, let line = lines.next() {
      switch line {
      case .tooLong(let prefix): refuse([.tooLong(prefix)], error)
      case .complete(let text):
        for unit in Unit.batch(text) ?? [Unit(text)] {
          if parse(unit).method?.name == OperationMethods.healthName {
            answerHealth(unit, change)
          } else {
            refuse([unit], error)
          }
        }
      }
    }
  }

  private func answerHealth(_ unit: Unit, _ reason: String) {
    let mark = group.answers.mark
    let request = parse(unit)
    group.answers.begin(unit)
    Response.begin(&group.answers.output, id: unit.text.span.extracting(request.id ?? 0..<0))
    OperationMethods.writeHealth(self, databaseBytes: 0, reasons: [reason], &group.answers.output)
    Response.end(&group.answers.output)
    group.answers.end(unit, isNotification: request.isNotification, since: mark)
    settle()
  }

  func endsProcess(_ error: any Error) -> Bool { (error as? StoreError)?.endsProcess == true }

  /// Ends the service between two groups: nobody may be told anything more.
  package func giveUp(_ error: StoreError) {
    failure = error
    _ = group.handle(.outcomeUnknown(running: nil, group.answers.mark))
  }

  // MARK: - Output

  /// Lends the output to someone who writes to it.
  func withOutput<Result>(_ write: (inout JSONWriter) throws -> Result) rethrows -> Result {
    // Taken out meanwhile: what writes may open or end subscriptions, which lie beside it.
    var output = JSONWriter()
    swap(&output, &group.answers.output)
    defer { swap(&output, &group.answers.output) }
    return try write(&output)
  }

  /// bytes that may go out now
  package var outputCount: Int { hasOpenGroup ? 0 : group.answers.output.count }

  /// Moves the bytes that may go out now to the end of `buffer`; none may while a group is open.
  package func moveOutput(to buffer: inout [UInt8]) {
    if hasOpenGroup { return }
    metrics.bytesSent += Int64(group.answers.output.count)
    group.answers.output.move(to: &buffer)
    // What a large answer took is given back.
    if group.answers.output.capacity > 2 * Self.outputReserve {
      group.answers.output = JSONWriter()
      group.answers.output.reserve(Self.outputReserve)
    }
  }
}
