import SessionStore

/// The requests that share one commit, as a machine: each input gives the next state and what to do. It knows neither
/// the database nor the methods, and never waits; whoever drives it does what it says and tells how it went.
///
/// Group commit: the first write opens a transaction, and what follows shares it until there is no more input at hand
/// or the group is as large as it may get. Answers leave only after the commit, in the order of the requests, so that
/// grouping is never visible. An engine that collects requests first and runs them later drives the same machine.
struct Group {
  enum State: Equatable {
    /// no transaction is open: what is answered may leave
    case idle
    /// a transaction is open, and answers wait for its commit
    case open
    case committing
    /// The transaction was lost: its requests are run again, each in a transaction of its own, so that only one that
    /// cannot be done is refused. The number says which one is next.
    case alone(next: Int)
    /// Nobody knows whether a commit is on disk: nothing is run any more.
    case failed
  }

  enum Input {
    /// the request that began at the mark has opened a transaction
    case opened(Answers.Mark, now: Int64)
    /// there is no more input at hand, or the next request must not share the group
    case close
    case committed
    /// the transaction is void, and with it all that was answered; nil when it was lost between two requests
    case lost(running: Unit?)
    /// the next request of a group that was lost is about to be run
    case runningAlone
    /// all of them have been run
    case ranAlone
    /// The transaction is void because others were in its way: all of it is worth another try.
    case lostToOthers(running: Unit?)
    /// a commit may or may not be on disk
    case outcomeUnknown(running: Unit?, Answers.Mark)
    /// nobody could tell what became of the commit, but others may go on
    case outcomeUnresolved
  }

  /// What to do next.
  enum Step {
    case goOn
    /// commit, and tell whether it is `committed`, `lost` or of `outcomeUnknown`
    case commit
    /// run each in a transaction of its own
    case runAlone([Unit])
    /// run them once more, as they were
    case runAgain([Unit])
    /// answer each with the error, and run nothing any more
    case refuse([Unit])
  }

  private static let inputLimit = 1 << 20
  private static let outputLimit = 1 << 20
  private static let milliseconds: Int64 = 10

  private(set) var state = State.idle
  /// what is taken back when the group is lost
  var answers = Answers()
  private var units: [Unit] = []
  /// for the metrics: each request with the moment when it began, in nanoseconds
  private(set) var requests: [(method: Int, start: Int64)] = []
  private var inputBytes = 0
  private var openedAt: Int64 = 0
  /// where the answers of its first request begin
  private var start: Answers.Mark

  init() {
    start = answers.mark
  }

  /// Takes a request that was run within the open transaction.
  /// - Parameter now: nil where what is run was collected before, and nothing waits for the group
  /// - Returns: whether the group is as large as it may get
  mutating func add(_ unit: Unit, method: Int, start: Int64, now: Int64?) -> Bool {
    units.append(unit)
    requests.append((method, start))
    inputBytes += unit.text.count
    return inputBytes >= Self.inputLimit || answers.count(since: self.start) >= Self.outputLimit
      || now.map { !(0..<Self.milliseconds).contains($0 - openedAt) } == true
  }

  mutating func handle(_ input: Input) -> Step {
    switch (state, input) {
    case (.idle, .opened(let mark, let now)):
      state = .open
      start = mark
      openedAt = now
      inputBytes = 0
      requests.removeAll(keepingCapacity: true)
    case (.open, .close):
      state = .committing
      return .commit
    case (.committing, .committed):
      state = .idle
      units.removeAll(keepingCapacity: true)
    case (.open, .lost(let running)), (.committing, .lost(let running)):
      if let running { units.append(running) }
      answers.rewind(to: start)
      state = .alone(next: 0)
      return .runAlone(units)
    case (.open, .lostToOthers(let running)), (.committing, .lostToOthers(let running)):
      let again = units + (running.map { [$0] } ?? [])
      answers.rewind(to: start)
      state = .idle
      units.removeAll(keepingCapacity: true)
      return .runAgain(again)
    case (.committing, .outcomeUnresolved):
      let refused = units
      answers.rewind(to: start)
      state = .idle
      units.removeAll(keepingCapacity: true)
      return .refuse(refused)
    case (.alone(let next), .runningAlone):
      state = .alone(next: next + 1)
    case (.alone, .ranAlone):
      state = .idle
      units.removeAll(keepingCapacity: true)
    case (.idle, .outcomeUnknown(let running, let mark)):
      answers.rewind(to: mark)
      return fail(running.map { [$0] } ?? [])
    case (.open, .outcomeUnknown(let running, _)), (.committing, .outcomeUnknown(let running, _)):
      if let running { units.append(running) }
      answers.rewind(to: start)
      return fail(units)
    case (.alone(let next), .outcomeUnknown(_, let mark)):
      // Those before it are on disk, and what they were answered holds.
      answers.rewind(to: mark)
      return fail(Array(units[max(0, next - 1)...]))
    // Nothing can be opened or lost twice, and nothing leads out of the last state.
    case (.idle, _), (.open, _), (.committing, _), (.alone, _), (.failed, _): break
    }
    return .goOn
  }

  private mutating func fail(_ units: [Unit]) -> Step {
    state = .failed
    self.units = []
    return .refuse(units)
  }
}
