import SessionStore

extension Command {
  static var dump: Command {
    Command(
      name: "dump", operands: [Operand(name: "SESSION", isRequired: false)],
      summary: "writes everything, or one session, as lines of JSON",
      details: [
        "It reads beside running sidecars and changes nothing. What 'load' makes of it in a new file dumps the same.",
        "A session comes with its state, events, log and tasks, and with its part of the audit trail.",
      ],
      options: [
        .database, .schema, .busyTimeout,
        Option(
          name: "--secrets", summary: "with the secrets of event subscriptions, which are left out otherwise",
          value: .flag(\.secrets)),
      ], run: writeDump)
  }

  private static func writeDump(_ arguments: Arguments) throws(Failure) -> ExitCode {
    var progress = Terminal.Progress("dumping")
    defer { progress.finish() }
    try arguments.reading { store in
      try store.read {
        let session = arguments.operands.first
        let total = session == nil ? store.recordCount : nil
        try store.writeDump(sessionID: session, secrets: arguments.secrets) { lines, records in
          try Output.write(json: lines)
          progress.update(records, of: total)
        }
      }
    }
    return .success
  }
}
