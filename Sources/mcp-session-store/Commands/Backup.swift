import JSON
import SessionStore
import Sidecar

extension Command {
  static var backup: Command {
    Command(
      name: "backup", operands: [Operand(name: "FILE", kind: .file)],
      summary: "copies the database to a new file, also while it is used",
      details: [
        """
        The copy is the database as it is at one moment. It gets its name when it is whole and on disk; nothing is ever
        overwritten. It is a database of its own: name it with --database.
        """
      ],
      options: [.database, .schema, .busyTimeout, .json("what the method backup answers")], run: backup)
  }

  private static func backup(_ arguments: Arguments) throws(Failure) -> ExitCode {
    let target = arguments.operands[0]
    // So that Ctrl-C leaves nothing behind.
    System.holdSignals()
    defer { System.releaseSignals() }
    let job = Job.backup(path: target)
    let (outcome, elapsed) = try arguments.run(job, "copying")
    if arguments.json {
      try Output.write(job, outcome, elapsed)
    } else if case .backedUp(let pages, let bytes) = outcome {
      try Output.write("copied \(pages) pages, \(bytes) bytes, in \(elapsed) ms\n")
    }
    return .success
  }
}

extension Arguments {
  /// Does a job in the foreground, with a bar on a terminal.
  /// - Returns: what came of it, and the milliseconds that it took
  func run(_ job: Job, _ what: String) throws(Failure) -> (outcome: Job.Outcome, elapsed: Int64) {
    let start = System.monotonic()
    var bar = Terminal.Progress(what)
    defer { bar.finish() }
    let outcome = try reading { store in
      if case .backup(let target) = job { try store.checkBackupPath(target) }
      return try store.run(job) { done, total in
        if System.isSignalWaiting { throw Failure(code: .inputOutput, message: "") }
        bar.update(Int64(done), of: Int64(total))
      }
    }
    return (outcome, System.monotonic() - start)
  }
}

extension Output {
  /// Writes the result that the method of the wire has.
  static func write(_ job: Job, _ outcome: Job.Outcome, _ elapsed: Int64) throws(Failure) {
    var writer = JSONWriter()
    job.write(outcome, elapsed: elapsed, to: &writer)
    writer.raw("\n")
    try write(json: writer.take())
  }
}
