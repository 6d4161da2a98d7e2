import Database
package import JSON
import JSONRPC
import SQLite
package import SessionStore

/// Backups, integrity checks and archives. They run beside the requests, one after the other in the order in which they
/// came, and each is answered when it is done.
struct Jobs {
  /// jobs that may wait for the one that runs
  static let limit = 16
  /// How often the process looks after the job that runs: milliseconds. An answer comes at most so much late.
  static let pollInterval: Int64 = 10
  /// milliseconds between two `progress` notifications
  static let progressInterval: Int64 = 250
  /// milliseconds between two slices that delete what was archived
  static let slicePause: Int64 = 5

  struct Request {
    let job: Job
    /// for the metrics: the method, and the moment when it was asked for, in nanoseconds
    let index: Int
    let start: Int64
    /// as it was written; nil for a notification, which is never answered
    let id: JSONText?
  }

  struct Running {
    let request: Request
    let work: Background<Job.Outcome>
    /// Unix milliseconds
    let startedAt: Int64
    /// pages or sessions that were told last, and when; nil: none yet
    var told: (done: Int, at: Int64)?
    /// since when what was archived could not be deleted, because others write
    var blockedSince: Int64?
  }

  var running: Running?
  var waiting: [Request] = []

  var isEmpty: Bool { running == nil && waiting.isEmpty }
}

extension Sidecar {
  // MARK: - Taking them

  /// Leaves a job to be done beside the requests; where that is not possible it is done at once and its result written.
  /// - Throws: `queue_full`; when it is done at once, what it throws
  func perform(_ job: Job, _ writer: inout JSONWriter) throws {
    guard running.mayDefer, store.canRunBeside else {
      return job.write(try store.run(job), elapsed: store.currentTime() - store.now, to: &writer)
    }
    if jobs.waiting.count >= Jobs.limit {
      throw ErrorKind.queueFull.error(
        "\(Jobs.limit) backups, checks and archives wait, the limit; send it again when one is answered.",
        [("limit", .integer(Int64(Jobs.limit)))])
    }
    running.deferred = job
  }

  /// - Parameter id: as it was written, in a copy, so that the input that it came in is not kept; nil for a
  ///   notification
  func begin(_ job: Job, _ index: Int, id: [UInt8]?) {
    let id = id.map { JSONText(validated: $0[...]) }
    jobs.waiting.append(Jobs.Request(job: job, index: index, start: host.monotonic(), id: id))
    startNextJob()
  }

  private func startNextJob() {
    while jobs.running == nil, !jobs.waiting.isEmpty {
      let request = jobs.waiting.removeFirst()
      do {
        let work = try store.start(request.job)
        jobs.running = Jobs.Running(request: request, work: work, startedAt: store.currentTime())
      } catch {
        answer(request) { _ in throw error }
        if let error = error as? StoreError, error.endsProcess { giveUp(error) }
      }
    }
  }

  // MARK: - Looking after them

  /// whether requests wait for jobs to be done
  package var hasJobs: Bool { !jobs.isEmpty }

  /// Tells how far the job that runs has come, answers it when it is done and starts the next. No group may be open.
  /// - Parameter room: bytes that may be added to the output by what need not be told
  func advanceJobs(room: Int) {
    if room > 0 { tellProgress() }
    advanceArchive()
    guard let running = jobs.running, running.work.isFinished else { return }
    finish(running)
    startNextJob()
  }

  /// the archive that waits for what is to be written here
  private var waitingArchive: ArchiveJob? {
    guard case .archive(let archive) = jobs.running?.request.job, archive.hasWish else { return nil }
    return archive
  }

  /// how long the process may wait before it looks after the jobs
  var millisecondsUntilJobs: Int64 {
    if jobs.isEmpty { return .max }
    return waitingArchive == nil ? Jobs.pollInterval : max(0, (nextRemoval - host.monotonic() + 999_999) / 1_000_000)
  }

  private func advanceArchive() {
    guard phase != .failed, let archive = waitingArchive else { return }
    let moment = host.monotonic()
    if moment < nextRemoval { return }
    nextRemoval = moment + Jobs.slicePause * 1_000_000
    let now = store.currentTime()
    store.beginRequest()
    do {
      try store.advance(archive)
      jobs.running?.blockedSince = nil
      // What is left of large ones, also where a sweep is on its way and past sessions.
      if !archive.hasWish {
        store.sweepAnew()
        nextSweep = min(nextSweep, now)
      }
      noteChanges()
    } catch let error as StoreError where error.endsProcess {
      giveUp(error)
    } catch {
      // A clock that was set back begins anew.
      let blocked = min(jobs.running?.blockedSince ?? now, now)
      jobs.running?.blockedSince = blocked
      if !Self.isPassing(error) || now - blocked > store.limits.busyTimeout { archive.fail(error) }
    }
  }

  private static func isPassing(_ error: any Error) -> Bool {
    if case StoreError.busy = error { return true }
    return (error as? DatabaseError)?.isPassing == true
  }

  /// Ends all jobs as fast as it can. What is not done is answered with shutting_down and leaves nothing behind.
  package func cancelJobs() {
    if let running = jobs.running {
      running.work.cancel()
      finish(running)
    }
    for request in jobs.waiting { answer(request) { _ in throw WorkCancelled() } }
    jobs.waiting = []
  }

  private func finish(_ running: Jobs.Running) {
    jobs.running = nil
    let job = running.request.job
    answer(running.request) { output in
      job.write(try running.work.result(), elapsed: store.currentTime() - running.startedAt, to: &output)
    }
  }

  private func answer(_ request: Jobs.Request, _ write: (inout JSONWriter) throws -> Void) {
    metrics.note(request.index, nanoseconds: host.monotonic() - request.start)
    let id = request.id?.bytes ?? []
    var logged = LoggedRequest(method: request.index, start: request.start)
    withOutput { output in
      let start = output.count
      do {
        Response.begin(&output, id: id.span)
        try write(&output)
        Response.end(&output)
      } catch {
        metrics.noteError(request.index)
        output.rewind(to: start)
        let error = RPCError.of(error)
        logged.error = error.kind
        Response.write(error, id: id.span, to: &output)
      }
      output.raw("\n")
      if request.id == nil { output.rewind(to: start) }
    }
    tell(logged)
  }

  /// The first notification tells the total and the answer tells the end, so what is done soon has one in all.
  private func tellProgress() {
    guard let running = jobs.running, let id = running.request.id, running.work.progress.total > 0 else { return }
    let now = store.currentTime()
    let total = running.work.progress.total
    var done = 0
    if let told = running.told {
      done = running.work.progress.done
      // A clock that was set back makes it due too.
      if done == told.done || done == total || (0..<Jobs.progressInterval).contains(now - told.at) { return }
    }
    jobs.running?.told = (done, now)
    withOutput { output in
      Response.notification("progress", to: &output) { params in
        params.member("id", id)
        params.member("method", running.request.job.method)
        params.member("done", done)
        params.member("total", total)
      }
    }
  }
}

// MARK: - The methods

extension Job {
  static let methods: [Method] = [backup, checkIntegrity, archive]

  /// the method that asks for it
  fileprivate var method: String {
    switch self {
    case .backup: "backup"
    case .integrityCheck: "check_integrity"
    case .archive: "archive"
    }
  }

  /// Writes the result of the method.
  /// - Parameter elapsed: milliseconds
  package func write(_ outcome: Outcome, elapsed: Int64, to writer: inout JSONWriter) {
    writer.beginObject()
    switch outcome {
    case .backedUp(let pages, let bytes):
      writer.member("pages", pages)
      writer.member("bytes", bytes)
      writer.member("elapsed_ms", max(0, elapsed))
    case .checked(let problems, let audit):
      writer.member("ok", problems.isEmpty)
      writer.member("problems", strings: problems)
      writer.name("audit")
      if let audit { Self.write(audit, to: &writer) } else { writer.null() }
    case .archived(let sessions, let bytes):
      writer.member("sessions", sessions)
      writer.member("bytes", bytes)
      writer.member("elapsed_ms", max(0, elapsed))
    }
    writer.endObject()
  }

  private static func write(_ audit: AuditCheck, to writer: inout JSONWriter) {
    writer.beginObject()
    writer.member("head", audit.head.text)
    writer.name("chains")
    writer.beginArray()
    for chain in audit.chains {
      writer.beginObject()
      writer.member("ring", chain.ring)
      writer.member("begins_after", chain.beginsAfter)
      writer.member("events", chain.events)
      writer.member("erased", chain.erased)
      writer.member("older", chain.older)
      writer.member("first_break", chain.firstBreak)
      writer.member("expected_head", chain.expected?.rawValue)
      writer.endObject()
    }
    writer.endArray()
    writer.endObject()
  }

  private static let backup = Method(
    name: "backup",
    summary: "Copies the database as it is at one moment to a new file, beside the requests; answered when done.",
    access: .ownGroups, isTransactional: false,
    parameters: [
      .required(.path, .text(4_095), "Where there is no file yet; relative to the sidecar's working directory.")
    ],
    result: .members([
      ("pages", .integer), ("bytes", .integer), ("elapsed_ms", .described(.integer, "Milliseconds."))
    ]),
    errors: [.queueFull, .notSupported, .shuttingDown],
    example: (
      #"{"path":"sessions-2026-11-20.db"}"#, #"{"pages":24410,"bytes":99983360,"elapsed_ms":412}"#
    )
  ) { sidecar, call, writer in
    let path = call.string(.path)
    try sidecar.store.checkBackupPath(path)
    try sidecar.perform(.backup(path: path), &writer)
  }

  private static let checkIntegrity = Method(
    name: "check_integrity",
    summary: "Looks for damage and tampering in the whole file, beside the requests; answered when done.",
    access: .ownGroups, isTransactional: false, isRepeatable: true,
    parameters: [
      .optional(.expectedHead, .text(256), "Of the audit trail, noted earlier: whether it still goes on from there.")
    ],
    result: .members([
      ("ok", .boolean), ("problems", .described(.array(.string), "For people, one sentence each; at most 100.")),
      (
        "audit",
        .described(
          .nullable(.members([("head", .string), ("chains", .array(.members(chain)))])),
          "What became of the audit trail; null where the file is damaged, and on a server.")
      ),
    ]),
    errors: [.queueFull, .shuttingDown],
    example: (
      "{}",
      #"{"ok":true,"problems":[],"audit":{"head":"\#(SecurityMethods.headExample)","chains":["#
        + #"{"ring":"lifecycle","begins_after":0,"events":2,"erased":0,"older":0,"first_break":null,"#
        + #""expected_head":null},{"ring":"security","begins_after":0,"events":0,"erased":0,"older":0,"#
        + #""first_break":null,"expected_head":null}]}}"#
    )
  ) { sidecar, call, writer in
    try sidecar.perform(.integrityCheck(expectedHead: call.auditHead(.expectedHead)), &writer)
  }

  private static let archive = Method(
    name: "archive",
    summary: "Moves sessions that have ended to a compressed file, beside the requests; answered when done.",
    access: .ownGroups, isTransactional: false,
    parameters: [
      .required(.path, .text(4_095), "Made when missing, else appended to; relative to the sidecar's directory."),
      .required(.endedBefore, .integer(.safe), "Unix milliseconds: those whose ended_at is strictly below."),
    ],
    result: .members([
      ("sessions", .integer), ("bytes", .described(.integer, "Of the file.")),
      ("elapsed_ms", .described(.integer, "Milliseconds.")),
    ]),
    errors: [.queueFull, .notSupported, .shuttingDown],
    example: (
      #"{"path":"ended-2026.gz","ended_before":1763596800000}"#, #"{"sessions":128,"bytes":204800,"elapsed_ms":96}"#
    )
  ) { sidecar, call, writer in
    let path = call.string(.path)
    try sidecar.store.checkArchivePath(path)
    let archive = ArchiveJob(
      path: path, endedBefore: call.integer(.endedBefore, default: 0), open: sidecar.host.openArchive)
    try sidecar.perform(.archive(archive), &writer)
  }

  private static let chain: [(name: String, schema: Schema)] = [
    ("ring", .choice(["lifecycle", "security"])),
    ("begins_after", .described(.integer, "The number up to which events are evicted or older than the chain.")),
    ("events", .described(.integer, "Those that are as they were written, up to the first break.")),
    ("erased", .described(.integer, "Of these, those that were deleted with somebody's data.")),
    ("older", .described(.integer, "Those that were there before the chain.")),
    (
      "first_break",
      .described(.nullable(.integer), "The first event that is not what was written, or before which one is missing.")
    ),
    (
      "expected_head",
      .described(
        .nullable(.choice(AuditCheck.Expected.allCases.map(\.rawValue))),
        "extended: the ring goes on from there; evicted: nobody can tell any more; null: none was given.")
    ),
  ]
}
