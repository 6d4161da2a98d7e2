import SessionStore

extension Command {
  static var archive: Command {
    Command(
      name: "archive", summary: "moves sessions that have ended to a compressed file",
      details: [
        """
        It is for stores whose sidecars keep what has ended (--retain-ended), and may run beside them. A session goes
        with all that is its own and with its tasks; its part of the audit trail stays. It is deleted when it is on
        disk. The file is made when missing and appended to; any gzip reads it, and 'load --from FILE --session ID'
        brings a session back.
        """,
        """
        Whoever is killed says the same again: nothing is lost, and nothing is archived twice. Sessions of a store leave
        for one archive at a time.
        """,
      ],
      options: [
        .database, .schema, .durability, .busyTimeout,
        Option(
          name: "--before", placeholder: "TIME", summary: "those that ended longer ago than this: 30d, 12h; 0: all",
          value: .duration(\.before)),
        Option(name: "--to", placeholder: "FILE", summary: "the archive", value: .text { $0.output = $1 }),
      ], run: archive)
  }

  private static func archive(_ arguments: Arguments) throws(Failure) -> ExitCode {
    guard let target = arguments.output else { throw Arguments.usage("'archive' needs --to FILE") }
    guard arguments.before >= 0 else { throw Arguments.usage("'archive' needs --before TIME") }
    let path = try arguments.readablePath()
    guard ServerAddress(path) != nil || System.exists(path) else {
      throw Failure(code: .missing, message: "there is no file \(path)")
    }
    System.installSignals()
    var progress = Terminal.Progress("archiving")
    defer { progress.finish() }
    var sessions = 0
    do {
      let store = try arguments.opened(path)
      let job = ArchiveJob(path: target, endedBefore: store.currentTime() - arguments.before) {
        try ArchiveFile(appendingTo: $0, known: $1)
      }
      sessions = try job.run(on: store) { removed in
        progress.update(Int64(removed), of: nil)
        return !System.stopRequested
      }
    } catch {
      throw Failure(error, path)
    }
    progress.finish()
    try Output.write("archived \(sessions) session\(sessions == 1 ? "" : "s") in \(target)\n")
    return .success
  }
}
