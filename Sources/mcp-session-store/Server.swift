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
  private var inputEnded = false

  init(_ sidecar: Sidecar, _ store: Store, output: Int32, watchParent: Bool) {
    self.sidecar = sidecar
    self.store = store
    self.output = output
    watchedParent = watchParent ? System.parentProcess() : nil
  }

  /// Serves until the input ends, a signal comes or `shutdown` is called.
  mutating func serve() -> ExitCode {
    let code = converse()
    // Nobody reads what they would say, but they must leave nothing behind.
    sidecar.cancelJobs()
    return code
  }

  private mutating func converse() -> ExitCode {
    while !isOver {
      let ready = System.wait(
        input: wantsInput ? input : nil, output: output, wantsToWrite: !queue.isEmpty,
        milliseconds: canRun ? 0 : patience)
      if ready.outputClosed { return .inputOutput }
      if isOver { break }
      if canRun {
        guard runLines() else { return .inputOutput }
        sidecar.closeGroup()
      } else if ready.readable {
        guard readGroups() else { return .inputOutput }
      }
      guard betweenGroups() else { return .inputOutput }
    }
    return finish()
  }

  private var isOver: Bool {
    inputEnded || sidecar.phase != .serving || System.stopRequested || parentIsGone
  }

  /// Lines that were read and wait for the reader to take the answers before them are run before more is read.
  private var wantsInput: Bool { !sidecar.hasUnreadLines && !sidecar.isFull }
  private var canRun: Bool { sidecar.hasUnreadLines && !sidecar.isFull }

  /// Runs what was read, as far as the answers do not become too many for the reader.
  /// - Returns: false when the reader is gone
  private mutating func runLines() -> Bool {
    while sidecar.run() {
      guard betweenGroups() else { return false }
      if sidecar.isFull { break }
    }
    return true
  }

  /// Reads and runs requests until the input pauses; what is written meanwhile is committed together, as far as one
  /// group goes.
  /// - Returns: false when the reader is gone
  private mutating func readGroups() -> Bool {
    repeat {
      switch System.read(input, into: &buffer) {
      // A copy of just what came: the group keeps it, and a parent that writes little at a time must not make it keep
      // whole buffers.
      case .bytes(let count):
        sidecar.receive(Array(buffer[..<count]))
        guard runLines() else { return false }
      case .wouldBlock: break
      case .ended: inputEnded = true
      }
      // Answers of earlier groups go on leaving: a pipe holds less than one group's.
      guard drain() else { return false }
    } while sidecar.hasOpenGroup && !inputEnded && wantsInput && inputIsWaiting
    sidecar.closeGroup()
    return true
  }

  /// What must go on however busy the input is: answers leave, subscribers are served, what has expired is swept, the
  /// write-ahead log is kept short.
  /// - Returns: false when the reader is gone
  private mutating func betweenGroups() -> Bool {
    guard pass() else { return false }
    sidecar.tick(room: Sidecar.deliveryBound - queue.count)
    sidecar.deliver(room: Sidecar.deliveryBound - queue.count)
    guard pass() else { return false }
    checkpoint()
    return true
  }

  private var inputIsWaiting: Bool {
    System.wait(input: input, output: output, wantsToWrite: false, milliseconds: 0).readable
  }

  /// Moves answers to the reader as far as it takes them.
  /// - Returns: false when the reader is gone
  private mutating func pass() -> Bool {
    queue.refill(from: sidecar)
    return drain()
  }

  private mutating func drain() -> Bool {
    defer { sidecar.waitingOutput = queue.count }
    return queue.drain(to: output)
  }

  private func checkpoint() {
    guard store.checkpointIsDue else { return }
    do {
      try store.checkpoint()
    } catch {
      // What was acknowledged is in the log, and nobody may go on without knowing what the file holds.
      sidecar.cancelJobs()
      System.report("the disk failed during a checkpoint (\(error)); acknowledged writes are in the write-ahead log")
      System.end(.inputOutput)
    }
  }

  /// How long to wait for input before looking after subscribers, sweeps and the parent; nil: as long as it takes.
  private var patience: Int64? {
    let idle = sidecar.millisecondsUntilTick
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
  private mutating func finish() -> ExitCode {
    while sidecar.hasUnreadLines {
      guard runLines() else { return .inputOutput }
      sidecar.closeGroup()
      guard pass() else { return .inputOutput }
      if sidecar.isFull, let code = waitForReader(leaving: sidecar.options.outputBound / 2) { return code }
    }
    if sidecar.phase == .serving || inputEnded { sidecar.endInput() }
    while sidecar.hasJobs, sidecar.phase != .failed, !isHurried {
      let ready = System.wait(
        input: nil, output: output, wantsToWrite: !queue.isEmpty, milliseconds: sidecar.millisecondsUntilTick)
      guard !ready.outputClosed, betweenGroups() else { return .inputOutput }
    }
    sidecar.cancelJobs()
    guard pass() else { return .inputOutput }
    if let code = waitForReader(leaving: 0) { return code }
    if sidecar.phase == .failed {
      System.report("the disk failed while committing; what was written last may or may not be there after a restart")
      System.end(.inputOutput)
    }
    return .success
  }

  /// Waits until no more than `rest` bytes are left for the reader to take.
  /// - Returns: why it does not wait longer; nil when so little is left
  private mutating func waitForReader(leaving rest: Int) -> ExitCode? {
    var lastCount = queue.count
    var lastProgress = System.monotonic()
    while queue.count > rest {
      let ready = System.wait(input: nil, output: output, wantsToWrite: true, milliseconds: 100)
      if ready.outputClosed { return .inputOutput }
      guard drain() else { return .inputOutput }
      if queue.count < lastCount {
        lastCount = queue.count
        lastProgress = System.monotonic()
      } else if isHurried, System.monotonic() - lastProgress > 1_000 {
        return .inputOutput
      }
    }
    return nil
  }
}
