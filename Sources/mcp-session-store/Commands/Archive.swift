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
        "Whoever is killed says the same again: nothing is lost, and nothing is archived twice.",
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
      let file = try ArchiveFile(appendingTo: target)
      let store = try arguments.opened(path)
      var pass = ArchivePass(to: file, endedBefore: store.currentTime() - arguments.before)
      while !System.stopRequested, let leaving = try pass.next(in: store) {
        sessions += try store.removeArchived(leaving)
        progress.update(Int64(sessions), of: nil)
      }
    } catch {
      throw Failure(error, path)
    }
    progress.finish()
    try Output.write("archived \(sessions) session\(sessions == 1 ? "" : "s") in \(target)\n")
    return .success
  }
}
