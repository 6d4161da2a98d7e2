import JSON
import SessionStore
import Sidecar

extension Command {
  static var events: Command {
    Command(
      name: "events", operands: [Operand(name: "SESSION")], summary: "prints the events of a session, oldest first",
      details: [
        """
        A line holds the id, the time, the type, the stream (- for none) and the payload as it was stored. What
        was evicted or deleted is told on standard error.
        """,
        "With --follow it goes on until the session ends, the reader goes away, or Ctrl-C.",
      ],
      options: [
        .database, .schema, .busyTimeout, .maxSuspension, .retainEnded,
        Option(
          name: "--after", placeholder: "ID", defaultText: "0", summary: "only events with a higher id",
          value: .count(\.after, minimum: 0)),
        Option(
          name: "--stream", placeholder: "ID", summary: "only the events of this stream",
          value: .text { $0.stream = $1 }),
        Option(name: "--follow", summary: "print new events as they are stored", value: .flag(\.follow)),
        .json("one event per line, as get_events_after answers them"),
      ],
      run: events)
  }

  private static func events(_ arguments: Arguments) throws(Failure) -> ExitCode {
    if arguments.follow { System.installSignals() }
    var follower = EventFollower(arguments)
    while true {
      switch try follower.step() {
      case .more: if System.stopRequested { return .success }
      case .ended(let reason):
        if arguments.follow { System.report("the session is \(reason)") }
        return .success
      case .caughtUp:
        if !arguments.follow || System.stopRequested { return .success }
        let ready = System.wait(
          input: nil, output: 1, wantsToWrite: false, milliseconds: EventFollower.pollInterval)
        if ready.outputClosed { return .inputOutput }
        if System.stopRequested { return .success }
      }
    }
  }
}

/// Prints a session's events from a cursor on.
private struct EventFollower {
  /// how often it looks for new events: milliseconds
  static let pollInterval: Int64 = 150
  /// bytes after which a page ends
  private static let pageBytes = 1 << 20
  private static let pageRows = 10_000

  enum Step {
    case more, caughtUp
    case ended(String)
  }

  /// One look into the file.
  private enum Look {
    case found(EventPage, session: SessionNumber, SessionStatus)
    case gone
  }

  private let arguments: Arguments
  private var after: Int64
  /// the session's number: another one under the same id is another session
  private var session: SessionNumber?
  /// on a server
  private var store: Store?

  init(_ arguments: Arguments) {
    self.arguments = arguments
    after = Int64(arguments.after)
  }

  /// Prints one page.
  mutating func step() throws(Failure) -> Step {
    var lines = JSONWriter()
    switch try look(&lines) {
    case .gone: return .ended("deleted")
    case .found(_, let number, _) where session ?? number != number: return .ended("deleted")
    case .found(let page, let number, let status):
      try show(page, lines.take())
      session = number
      if page.hasMore { return .more }
      return status.isOver || status == .invalidated ? .ended(status.rawValue) : .caughtUp
    }
  }

  private mutating func show(_ page: EventPage, _ lines: [UInt8]) throws(Failure) {
    if let gap = page.gap { System.report("\(gap.dropped) events after \(after) are gone") }
    if session == nil, page.cursorAhead { System.report("the newest event is \(page.newestID)") }
    try Output.write(json: lines)
    after = page.cursorAhead ? after : page.nextAfter
  }

  /// A file is opened anew for each look, so that between two of them nothing is held that a sidecar which starts or
  /// ends would have to wait for.
  private mutating func look(_ lines: inout JSONWriter) throws(Failure) -> Look {
    let isKnown = session != nil
    let (session, after, stream) = (arguments.operands[0], after, arguments.stream)
    let isJSON = arguments.json
    return try arguments.reading(keeping: &store) { store in
      lines = JSONWriter()
      var records = EventRecords()
      do {
        let found = try store.read {
          try store.inspectEvents(
            session, after: after, streamID: stream, limit: Self.pageRows
          ) { event in
            if lines.count >= Self.pageBytes { return false }
            Self.append(event, asJSON: isJSON, &records, to: &lines)
            return true
          }
        }
        return .found(found.page, session: found.session, found.status)
      } catch StoreError.sessionNotFound where isKnown {
        return .gone
      }
    }
  }

  private static func append(
    _ event: borrowing EventRow, asJSON: Bool, _ records: inout EventRecords, to lines: inout JSONWriter
  ) {
    if asJSON {
      records.write(event, to: &lines)
    } else {
      let stream = event.streamID.map { Terminal.printable($0) } ?? "-"
      let type = Terminal.printable(event.eventType)
      lines.raw("\(event.id)  \(Timestamp.text(event.timestamp))  \(type)  \(stream)  ")
      lines.validated { event.appendData(to: &$0) }
    }
    lines.raw("\n")
  }
}
