import Database
import JSON
import JSONRPC
import SessionStore

/// What the method that is running may do, and what it leaves behind.
struct Running {
  /// bytes that its result may have
  var budget = 0
  /// when it began, in nanoseconds
  var start: Int64 = 0
  /// whether it may be answered later
  var mayDefer = false
  /// Where a page that holds one entry goes on: what to tell when that alone is too large.
  var behind: (name: String, value: RPCError.Detail)?
  /// what it left to be done beside the requests, instead of writing a result
  var deferred: Job?
}

/// An answer is over its limit.
struct AnswerTooLarge: Error {
  let limit: Int
  let method: Method
  let behind: (name: String, value: RPCError.Detail)?

  var error: RPCError {
    guard let behind else {
      var error = RPCError.payloadTooLarge("The answer", limit: limit)
      if let remedy = method.remedyForLargeAnswer { error.message += " " + remedy }
      return error
    }
    var error = RPCError.payloadTooLarge("One entry alone", limit: limit)
    error.message += " Go on behind it with \(behind.name)."
    error.details.append(behind)
    return error
  }
}

/// An answer over the limit after a write that shares its group with others, which only a lost group takes back.
private struct UnanswerableWrite: Error {}

extension Sidecar {
  /// bytes that the result of the running method may have
  var resultBudget: Int {
    get { running.budget }
    set { running.budget = newValue }
  }
  /// the same for the entries of a page, behind which a cursor and some members still come
  var pageBudget: Int { running.budget - 4_096 }

  /// Runs a parsed request and writes its answer.
  /// - Parameter mark: where its answer begins
  /// - Throws: when the group is void, or when an outcome is unknown
  func answer(_ unit: Unit, _ request: ParsedRequest, since mark: Answers.Mark) throws {
    let id = unit.text.span.extracting(request.id ?? 0..<0)
    group.answers.begin(unit)
    running.deferred = nil
    running.behind = nil
    do {
      if let error = request.error { throw error }
      guard let method = request.method else { throw RPCError.internalError }
      running.mayDefer = !unit.isInBatch
      running.budget = try group.answers.budget(unit, limit: options.maxResultBytes)
      Response.begin(&group.answers.output, id: id)
      try run(method, at: mark)
      Response.end(&group.answers.output)
      if options.logLevel != nil, running.deferred == nil { log(request, nil) }
      if let job = running.deferred {
        group.answers.rewind(to: mark)
        return begin(job, request.index, id: request.id.map { Array(JSONText(validated: unit.text).cut($0).bytes) })
      }
    } catch {
      if endsProcess(error) || voidsGroup(error) { throw error }
      let error = RPCError.of(error)
      group.answers.fail(unit, error, method: request.index, id: id, since: mark)
      if options.logLevel != nil { log(request, error.kind) }
    }
    if store.pendingEvents > 0 { try recordPendingEvents(since: mark) }
    group.answers.end(unit, isNotification: request.isNotification, since: mark)
  }

  /// Whether the open transaction, and so the whole group, is lost: every error of the database is taken as that, and
  /// some make SQLite end the transaction silently.
  private func voidsGroup(_ error: any Error) -> Bool {
    group.state == .open && (error is DatabaseError || error is UnanswerableWrite || !store.transactionStands)
  }

  private func run(_ method: Method, at mark: Answers.Mark) throws {
    if group.answers.isShuttingDown {
      throw ErrorKind.shuttingDown.error("The sidecar is shutting down; start it again and repeat the request.")
    }
    store.beginRequest()
    switch method.access {
    case .none, .ownGroups:
      store.letSnapshotGo()
      try write(method)
    case .read: try read(method)
    case .write: try change(method, at: mark)
    case .readOrWrite where store.isShared && method.need.writes(call):
      try change(method, at: mark)
    case .readOrWrite:
      let output = group.answers.output.mark
      do {
        try read(method)
      } catch is NeedsGroup {
        group.answers.output.rewind(to: output)
        try change(method, at: mark)
      }
    }
  }

  private func read(_ method: Method) throws {
    if store.isInGroup { return try writeBounded(method) }
    do {
      try store.beginRead(collected.needs)
    } catch let error as DatabaseError where error.class == .unreachable && method.name == OperationMethods.healthName {
      // Whoever asks how it is, is told.
      return withOutput {
        OperationMethods.writeHealth(self, databaseBytes: 0, reasons: [error.sentence ?? error.message], &$0)
      }
    }
    defer { store.endRead() }
    try writeBounded(method)
  }

  private func change(_ method: Method, at mark: Answers.Mark) throws {
    if case .alone = group.state { return try changeAlone(method) }
    if !store.isInGroup {
      try store.beginGroup(waiting: store.limits.busyTimeout, needs: collected.needs)
      _ = group.handle(.opened(mark, now: store.now))
    }
    do {
      try writeBounded(method)
    } catch is AnswerTooLarge {
      throw UnanswerableWrite()
    }
  }

  /// How often a request is run whose transaction others are in the way of.
  private static let triesAlone = 5

  /// Runs a method in a transaction of its own.
  private func changeAlone(_ method: Method) throws {
    let output = group.answers.output.mark
    let needs = store.isShared ? needs(of: method, call) : Needs()
    for rest in (0..<Self.triesAlone).reversed() {
      do {
        try store.beginGroup(waiting: store.limits.busyTimeout, needs: needs)
        try writeBounded(method)
        return try store.commitGroup()
      } catch {
        if store.isInGroup { store.abandonGroup() }
        guard rest > 0, let error = error as? DatabaseError, error.class == .again else { throw error }
        group.answers.output.rewind(to: output)
      }
    }
  }

  /// Records what the request has left for the audit trail, be it a read or one that was refused: in the open group, or
  /// in one that it opens. So the answer waits for the disk like that of any write. Where nothing can be written, the
  /// request is answered nevertheless, and the events are lost.
  /// - Throws: when the group is void, or when an outcome is unknown
  private func recordPendingEvents(since mark: Answers.Mark) throws {
    do {
      if !store.isInGroup {
        try store.beginGroup(waiting: store.limits.busyTimeout)
        _ = group.handle(.opened(mark, now: store.now))
      }
      try store.recordPendingEvents()
      if group.state != .open { try store.commitGroup() }
    } catch {
      if endsProcess(error) || group.state == .open { throw error }
      if store.isInGroup { store.abandonGroup() }
    }
  }

  /// Has the method write its result, within the bound of an answer. This is where a write that nobody can be told of
  /// is refused: before it is committed.
  private func writeBounded(_ method: Method) throws {
    let start = group.answers.output.count
    try write(method)
    if group.answers.output.count - start > running.budget { throw tooLarge(method) }
  }

  func tooLarge(_ method: Method) -> AnswerTooLarge {
    AnswerTooLarge(limit: options.maxResultBytes, method: method, behind: running.behind)
  }

  private func write(_ method: Method) throws {
    try withOutput { try method.run(self, call, &$0) }
  }

  /// Answers what follows with shutting_down.
  func shutDown() {
    group.answers.isShuttingDown = true
  }
}
