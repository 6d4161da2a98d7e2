import JSON
import SessionStore

extension Command {
  static var status: Command {
    Command(
      name: "status", summary: "counts what is in the file",
      details: [
        "It reads beside running sidecars and changes nothing.",
        """
        With --watch a terminal shows the figures anew every two seconds, until q or Ctrl-C; anything else gets a line
        each time, until its reader goes or the process is told to end.
        """,
      ],
      options: [
        .database, .schema, .busyTimeout, .maxSuspension, .retainEnded, .auditRetention,
        .json("one JSON object; times are Unix milliseconds, sizes bytes"),
        Option(name: "--watch", summary: "look again every two seconds", value: .flag(\.watch)),
      ],
      run: status)
  }

  private static func status(_ arguments: Arguments) throws(Failure) -> ExitCode {
    if arguments.watch { return try watch(arguments) }
    let (summary, path) = try look(arguments)
    if arguments.json {
      var writer = JSONWriter()
      writer.summary(summary, path)
      writer.raw("\n")
      try Output.write(json: writer.take())
    } else {
      try Output.write(table(summary, path).text(.output))
    }
    return .success
  }

  private static func look(_ arguments: Arguments) throws(Failure) -> (Summary, path: String) {
    try Terminal.Progress.during("counting") { () throws(Failure) in try count(arguments) }
  }

  private static func count(_ arguments: Arguments) throws(Failure) -> (Summary, path: String) {
    try arguments.reading { store in (try store.read { try store.summary(waiting: true) }, store.path) }
  }

  // MARK: - Again and again

  /// milliseconds
  private static let interval: Int64 = 2_000

  private static func watch(_ arguments: Arguments) throws(Failure) -> ExitCode {
    System.installSignals()
    let isDrawn = Terminal.output.isTerminal && !arguments.json
    let keys = isDrawn ? System.takeKeys() : nil
    defer { if let keys { System.releaseKeys(keys) } }
    if isDrawn { try Output.write("\u{1B}[2J") }
    while true {
      let (summary, path) = try count(arguments)
      if arguments.json {
        var writer = JSONWriter()
        writer.summary(summary, path)
        writer.raw("\n")
        try Output.write(json: writer.take())
      } else if isDrawn {
        try Output.write(screen(summary, path))
      } else {
        try Output.write(line(summary))
      }
      if let end = pause(takingKeys: keys != nil) { return end }
    }
  }

  /// The table in the place of the one before, as much of it as the terminal has room for.
  private static func screen(_ summary: Summary, _ path: String) -> String {
    let hint = Terminal.output.styled("\(Timestamp.text(System.now()).prefix(19))Z, ends with q", .dim)
    let rows = table(summary, path).text(.output).split(separator: "\n").prefix((System.rows(1) ?? 40) - 2)
    return "\u{1B}[H" + (rows.map(String.init) + [hint]).map { $0 + "\u{1B}[K" }.joined(separator: "\n") + "\u{1B}[J"
  }

  private static func line(_ summary: Summary) -> String {
    let figures: [(String, Int64)] = [
      ("sessions", summary.sessionCount), ("active", summary.sessions[.active] ?? 0), ("events", summary.events),
      ("tasks", summary.taskCount), ("working", summary.tasks[.working] ?? 0), ("values", summary.values),
      ("work", summary.workCount), ("log entries", summary.logEntries),
      ("bytes", summary.databaseBytes + summary.walBytes),
    ]
    let text = figures.map { "  \($0) \($1)" }.joined()
    return "\(Timestamp.text(System.now()).prefix(19))Z\(text)\n"
  }

  /// Waits for the next look.
  /// - Returns: how to end, when it is time for that
  private static func pause(takingKeys: Bool) -> ExitCode? {
    let end = System.monotonic() + interval
    var buffer = [UInt8](repeating: 0, count: 64)
    while true {
      let rest = end - System.monotonic()
      if rest <= 0 { return nil }
      let ready = System.wait(input: takingKeys ? 0 : nil, output: 1, wantsToWrite: false, milliseconds: rest)
      if System.stopRequested { return .success }
      if ready.outputClosed { return .inputOutput }
      guard ready.readable else { continue }
      guard case .bytes(let count) = System.read(0, into: &buffer) else { return .success }
      if buffer.prefix(count).contains(where: { [UInt8(ascii: "q"), UInt8(ascii: "Q")].contains($0) }) {
        try? Output.write("\n")
        return .success
      }
    }
  }

  private static func table(_ summary: Summary, _ path: String) -> TextTable {
    var table = TextTable([.init(title: ""), .init(title: "", alignment: .right), .init(title: "", mayBeCut: true)])
    func add(_ name: String, _ figure: String, _ rest: String = "", indented: Bool = false) {
      table.add([
        .init(indented ? "  \(name)" : name, indented ? .dim : nil), .init(figure), .init(rest, .dim),
      ])
    }
    add("file", "", path)
    add("schema", String(summary.schema))
    add("sessions", String(summary.sessionCount))
    for (status, count) in summary.statuses { add(status.rawValue, String(count), indented: true) }
    if let ended = summary.endedSessions { add("ended, kept", String(ended), indented: true) }
    for (name, end) in [("oldest", summary.oldestSession), ("newest", summary.newestSession)] {
      if let end { add(name, "", "\(Timestamp.text(end.createdAt))  \(end.sessionID)", indented: true) }
    }
    add("events", String(summary.events))
    add("tasks", String(summary.taskCount))
    for status in TaskStatus.allCases { add(status.rawValue, String(summary.tasks[status] ?? 0), indented: true) }
    add("values", String(summary.values))
    add("event subscriptions", String(summary.eventSubscriptions))
    add("inactive", String(summary.inactiveEventSubscriptions), indented: true)
    add("work", String(summary.workCount))
    for status in WorkStatus.allCases { add(status.rawValue, String(summary.work[status] ?? 0), indented: true) }
    add("log entries", String(summary.logEntries))
    add("audit trail", String(summary.lifecycleEvents + summary.securityEvents))
    add("lifecycle", String(summary.lifecycleEvents), indented: true)
    add("security", String(summary.securityEvents), indented: true)
    add("legal holds", String(summary.legalHolds))
    add("retention", String(summary.retentions), "tenants with one of their own")
    if let waiting = summary.waiting {
      func text(_ counts: [(name: String, count: Int64)]) -> String {
        counts.map { "\($0.count) \($0.name.spaced)" }.joined(separator: ", ")
      }
      add("due", String(waiting.due.reduce(0) { $0 + $1.count }), "\(text(waiting.due)) wait for a sweep")
      if summary.legalHolds > 0 {
        add("held", String(waiting.held.reduce(0) { $0 + $1.count }), "\(text(waiting.held)) stay for a hold alone")
      }
    }
    add("database", Size.text(summary.databaseBytes), "\(Size.text(summary.freeBytes)) of it free")
    add("write-ahead log", Size.text(summary.walBytes))
    return table
  }
}

extension JSONWriter {
  fileprivate mutating func summary(_ summary: Summary, _ path: String) {
    beginObject()
    member("database", path)
    member("schema_version", summary.schema)
    name("sessions")
    beginObject()
    for (status, count) in summary.statuses { member(status.rawValue, count) }
    endObject()
    if let ended = summary.endedSessions { member("ended_sessions", ended) }
    for (name, end) in [("oldest_session", summary.oldestSession), ("newest_session", summary.newestSession)] {
      self.name(name)
      if let end {
        beginObject()
        member("session_id", end.sessionID)
        member("created_at", end.createdAt)
        endObject()
      } else {
        null()
      }
    }
    member("events", summary.events)
    name("tasks")
    beginObject()
    for status in TaskStatus.allCases { member(status.rawValue, summary.tasks[status] ?? 0) }
    endObject()
    member("values", summary.values)
    member("event_subscriptions", summary.eventSubscriptions)
    member("inactive_event_subscriptions", summary.inactiveEventSubscriptions)
    name("work")
    beginObject()
    for status in WorkStatus.allCases { member(status.rawValue, summary.work[status] ?? 0) }
    endObject()
    member("log_entries", summary.logEntries)
    member("lifecycle_events", summary.lifecycleEvents)
    member("security_events", summary.securityEvents)
    member("legal_holds", summary.legalHolds)
    member("retentions", summary.retentions)
    if let waiting = summary.waiting {
      for (name, counts) in [("due", waiting.due), ("held", waiting.held)] {
        self.name(name)
        beginObject()
        for (kind, count) in counts { member(kind, count) }
        endObject()
      }
    }
    member("database_bytes", summary.databaseBytes)
    member("wal_bytes", summary.walBytes)
    member("free_bytes", summary.freeBytes)
    endObject()
  }
}
