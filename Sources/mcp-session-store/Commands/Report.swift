import SessionStore

extension Command {
  static var report: Command {
    Command(
      name: "report", summary: "writes a page with plots and tables of what is in the file",
      details: [
        "One HTML file that loads nothing and runs nothing: sessions, events, tasks, work, the audit of the last day.",
        "Ids and names are cut and texts are hidden, for whoever knows the id of a session may be able to use it.",
      ],
      options: [
        .database, .schema, .busyTimeout, .maxSuspension, .retainEnded, .auditRetention,
        Option(
          name: "--output", placeholder: "FILE", summary: "where to write it; - is standard output",
          value: .text { $0.output = $1 }),
        Option(name: "--force", summary: "replace a file that is there", value: .flag(\.force)),
        Option(name: "--payloads", summary: "show names and texts in full", value: .flag(\.payloads)),
      ],
      run: report)
  }

  /// milliseconds of the audit trail that are told
  private static let auditWindow: Int64 = 86_400_000

  private static func report(_ arguments: Arguments) throws(Failure) -> ExitCode {
    guard let output = arguments.output else {
      throw Arguments.usage("report needs --output FILE, such as --output report.html; - is standard output")
    }
    if output != "-", !arguments.force, System.exists(output) {
      throw Failure(code: .cannotCreate, message: "\(output) is there already; --force replaces it")
    }
    let now = System.now()
    let page = try Terminal.Progress.during("reading") { () throws(Failure) in
      try arguments.reading { store in
        try store.read {
          Page(
            summary: try store.summary(ends: false, waiting: true),
            statistics: try store.statistics(auditSince: now - auditWindow), backlog: try store.backlog(),
            path: store.path, now: now, showsPayloads: arguments.payloads)
        }
      }
    }
    let html = Array(page.html().utf8)
    if output == "-" {
      try Output.write(html)
    } else {
      try Output.write(html, toFile: output, replacing: arguments.force)
    }
    return .success
  }
}
