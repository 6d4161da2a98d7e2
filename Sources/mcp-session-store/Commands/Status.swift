import JSON
import SessionStore

extension Command {
  static var status: Command {
    Command(
      name: "status", summary: "counts what is in the file",
      details: ["It reads beside running sidecars and changes nothing."],
      options: [.database, .maxSuspension, .json("one JSON object; times are Unix milliseconds, sizes bytes")],
      run: status)
  }

  private static func status(_ arguments: Arguments) throws(Failure) -> ExitCode {
    let (summary, path) = try arguments.reading { store in (try store.read { try store.summary() }, store.path) }
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
    for status in SessionStatus.allCases {
      add(status.rawValue, String(summary.sessions[status] ?? 0), indented: true)
    }
    for (name, end) in [("oldest", summary.oldestSession), ("newest", summary.newestSession)] {
      if let end { add(name, "", "\(Timestamp.text(end.createdAt))  \(end.sessionID)", indented: true) }
    }
    add("events", String(summary.events))
    add("tasks", String(summary.taskCount))
    for status in TaskStatus.allCases { add(status.rawValue, String(summary.tasks[status] ?? 0), indented: true) }
    add("values", String(summary.values))
    add("log entries", String(summary.logEntries))
    add("audit trail", String(summary.lifecycleEvents + summary.securityEvents))
    add("lifecycle", String(summary.lifecycleEvents), indented: true)
    add("security", String(summary.securityEvents), indented: true)
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
    for status in SessionStatus.allCases { member(status.rawValue, summary.sessions[status] ?? 0) }
    endObject()
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
    member("log_entries", summary.logEntries)
    member("lifecycle_events", summary.lifecycleEvents)
    member("security_events", summary.securityEvents)
    member("database_bytes", summary.databaseBytes)
    member("wal_bytes", summary.walBytes)
    member("free_bytes", summary.freeBytes)
    endObject()
  }
}
