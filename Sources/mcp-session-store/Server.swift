import SessionStore
import Sidecar

/// The conversation: reads standard input, hands it to the sidecar, writes what comes back.
struct Server {
  private let sidecar: Sidecar
  private let store: Store
  private let output: Int32
  private let input: Int32 = 0
  private let watchedParent: Int32?
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)
  private var queue = OutputQueue()
  private var metricsFile: MetricsFile?
  private var inputEnded = false
  /// why the input ended where it should not have
  private var inputFailure: Failure?

  /// Bytes of answers that a pipe holds, where the system lets it: a long answer in pieces of 64 KiB, its usual size,
  /// costs a turn of both processes for each (measured: a page of 300 KB takes two thirds of the time).
  private static let outputPipe = 256 << 10

  init(_ sidecar: Sidecar, _ store: Store, output: Int32, watchParent: Bool, metricsFile: String?) {
    self.sidecar = sidecar
    self.store = store
    self.output = output
    self.metricsFile = metricsFile.map { MetricsFile($0) }
    watchedParent = watchParent ? System.parentProcess() : nil
    if sidecar.collects { System.widenPipe(input, to: Sidecar.collectedBytes) }
    System.widenPipe(output, to: Self.outputPipe)
  }

  /// Serves until the input ends, a signal comes or `shutdown` is called.
  /// - Throws: ``Failure`` when not all of it could be done and answered; nothing may touch the database then
  mutating func serve() throws(Failure) {
    // Nobody reads what they would say, but they must leave nothing behind.
    defer { sidecar.cancelJobs() }
    while !isOver {
      let ready = System.wait(
        input: wantsInput ? input : nil, output: output, wantsToWrite: !queue.isEmpty,
        milliseconds: canRun ? 0 : patience, others: sidecar.othersWrite)
      if ready.othersWrote { sidecar.hearOthers() }
      if ready.outputClosed {
        try endWithoutReader()
        break
      }
      if isOver { break }
      if canRun {
        try runLines()
        sidecar.closeGroup()
      } else if ready.readable {
        try readGroups()
      }
      try betweenGroups()
    }
    try finish()
    metricsFile?.write(sidecar)
  }

  private var isOver: Bool {
    inputEnded || sidecar.phase != .serving || System.stopRequested || parentIsGone
  }

  /// Whoever lets go of both ends with nothing asked and nothing owed (a parent that ends does) has made a good end.
  private mutating func endWithoutReader() throws(Failure) {
    let ready = System.wait(input: input, output: nil, wantsToWrite: false, milliseconds: 0)
    guard queue.isEmpty, !sidecar.hasUnreadLines, ready.readable, case .ended = System.read(input, into: &buffer) else {
      throw .readerIsGone
    }
    inputEnded = true
  }

  /// Lines that were read and wait for the reader to take the answers before them are run before more is read.
  private var wantsInput: Bool { !sidecar.hasUnreadLines && !sidecar.isFull }
  private var canRun: Bool { sidecar.hasUnreadLines && !sidecar.isFull }

  /// Runs what was read, as far as the answers do not become too many for the reader.
  private mutating func runLines() throws(Failure) {
    while sidecar.run() {
      try betweenGroups()
      if sidecar.isFull { break }
    }
  }

  /// Reads and runs requests until the input pauses; what is written meanwhile is committed together, as far as one
  /// group goes.
  private mutating func readGroups() throws(Failure) {
    repeat {
      switch System.read(input, into: &buffer) {
      // A copy of just what came: the group keeps it, and a parent that writes little at a time must not make it keep
      // whole buffers.
      case .bytes(let count):
        var bytes = Array(buffer[..<count])
        if sidecar.collects { readMore(behind: &bytes) }
        sidecar.receive(bytes)
        try runLines()
      case .wouldBlock: break
      case .ended: inputEnded = true
      case .failed(let reason):
        inputFailure = Failure(code: .inputOutput, message: "cannot read standard input: \(reason)")
        inputEnded = true
      }
      // Answers of earlier groups go on leaving: a pipe holds less than one group's.
      try drain()
    } while sidecar.hasOpenGroup && !inputEnded && wantsInput && inputIsWaiting
    sidecar.closeGroup()
  }

  /// Where nothing may join a group that has begun, all that is at hand is read before it does.
  private mutating func readMore(behind bytes: inout [UInt8]) {
    while bytes.count < Sidecar.collectedBytes, inputIsWaiting,
      case .bytes(let more) = System.read(input, into: &buffer)
    {
      bytes += buffer[..<more]
    }
  }

  /// What must go on however busy the input is: answers leave, subscribers are served, what has expired is swept, the
  /// write-ahead log is kept short.
  private mutating func betweenGroups() throws(Failure) {
    try pass()
    sidecar.tick(room: Sidecar.deliveryBound - queue.count)
    sidecar.deliver(room: Sidecar.deliveryBound - queue.count)
    try pass()
    try checkpoint()
    metricsFile?.writeWhenDue(sidecar)
  }

  private var inputIsWaiting: Bool {
    System.wait(input: input, output: output, wantsToWrite: false, milliseconds: 0).readable
  }

  /// Moves answers to the reader as far as it takes them.
  private mutating func pass() throws(Failure) {
    queue.refill(from: sidecar)
    try drain()
  }

  private mutating func drain() throws(Failure) {
    defer { sidecar.waitingOutput = queue.count }
    try queue.drain(to: output)
  }

  private func checkpoint() throws(Failure) {
    guard store.checkpointIsDue else { return }
    // The request before which the last group was closed may have opened the next one. While it is open there is no
    // checkpoint, and busy input may have one open each time.
    sidecar.closeGroup()
    guard sidecar.phase != .failed else { return }
    do {
      try store.checkpoint()
    } catch let error as StoreError where error.endsProcess {
      sidecar.giveUp(error)
    } catch {
      // What was acknowledged is in the log, and nobody may go on without knowing what the file holds.
      throw Failure(
        code: .inputOutput,
        message: "the disk failed during a checkpoint (\(error)); acknowledged writes are in the write-ahead log")
    }
  }

  /// How long to wait for input before looking after subscribers, sweeps and the parent; nil: as long as it takes.
  private var patience: Int64? {
    let idle = min(sidecar.millisecondsUntilTick, metricsFile?.millisecondsUntilDue ?? .max)
    return watchedParent == nil ? idle : min(idle, 1_000)
  }

  /// A parent that leaked our standard input to another child leaves it open when it dies.
  private var parentIsGone: Bool {
    watchedParent.map { $0 != System.parentProcess() } ?? false
  }

  /// Someone wants this process gone, and waits for it.
  private var isHurried: Bool { System.stopRequested || parentIsGone }

  /// Runs what was read, then waits until jobs are done and the reader has taken the answers. After a signal it ends
  /// the jobs and waits no longer than a second without progress.
  private mutating func finish() throws(Failure) {
    while sidecar.hasUnreadLines {
      try runLines()
      sidecar.closeGroup()
      try pass()
      if sidecar.isFull { try waitForReader(leaving: sidecar.options.outputBound / 2) }
    }
    if sidecar.phase == .serving || inputEnded { sidecar.endInput() }
    while sidecar.hasJobs, sidecar.phase != .failed, !isHurried {
      let ready = System.wait(
        input: nil, output: output, wantsToWrite: !queue.isEmpty, milliseconds: sidecar.millisecondsUntilTick)
      if ready.outputClosed { throw .readerIsGone }
      try betweenGroups()
    }
    sidecar.cancelJobs()
    try pass()
    try waitForReader(leaving: 0)
    if sidecar.phase == .failed {
      if let failure = sidecar.failure, case .databaseReplaced = failure {
        try explain()
        throw Failure(failure, store.path)
      }
      throw Failure(
        code: .inputOutput,
        message: "the disk failed while committing; what was written last may or may not be there after a restart")
    }
    if let inputFailure { throw inputFailure }
    do { try store.checkPlace() } catch { throw Failure(error, store.path) }
  }

  /// Tells whoever asks within a second why the service ends, instead of leaving them without an answer.
  private mutating func explain() throws(Failure) {
    let end = System.monotonic() + 1_000
    repeat {
      sidecar.explain()
      try pass()
      let ready = System.wait(
        input: sidecar.isFull ? nil : input, output: output, wantsToWrite: !queue.isEmpty,
        milliseconds: max(0, end - System.monotonic()))
      if ready.outputClosed { throw .readerIsGone }
      guard ready.readable else { continue }
      guard case .bytes(let count) = System.read(input, into: &buffer) else { break }
      sidecar.receive(Array(buffer[..<count]))
    } while System.monotonic() < end && !isHurried
    sidecar.explain()
    try pass()
    try waitForReader(leaving: 0)
  }

  /// Waits until no more than `rest` bytes are left for the reader to take.
  private mutating func waitForReader(leaving rest: Int) throws(Failure) {
    var lastCount = queue.count
    var lastProgress = System.monotonic()
    while queue.count > rest {
      let ready = System.wait(input: nil, output: output, wantsToWrite: true, milliseconds: 100)
      if ready.outputClosed { throw .readerIsGone }
      try drain()
      if queue.count < lastCount {
        lastCount = queue.count
        lastProgress = System.monotonic()
      } else if isHurried, System.monotonic() - lastProgress > 1_000 {
        throw Failure(
          code: .inputOutput, message: "told to end, but the reader of standard output takes nothing: answers are lost")
      }
    }
  }
}
