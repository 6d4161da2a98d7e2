import SessionStore
import Sidecar

extension Command {
  static var check: Command {
    Command(
      name: "check", summary: "looks for damage and tampering in the whole file",
      details: [
        "It prints each problem on a line and ends with 1 when there are any. It changes nothing.",
        "With the head of the audit trail that was noted earlier (--json prints one, and get_audit_head answers it) "
          + "it also says whether the trail still goes on from there.",
      ],
      options: [
        .database, .schema, .busyTimeout,
        Option(
          name: "--expected-head", placeholder: "HEAD", summary: "a head of the audit trail, noted earlier",
          value: .text { $0.expectedHead = $1 }),
        .json("what the method check_integrity answers"),
      ], run: check)
  }

  private static func check(_ arguments: Arguments) throws(Failure) -> ExitCode {
    let expected = arguments.expectedHead.flatMap { AuditHead($0) }
    if let text = arguments.expectedHead, expected == nil {
      throw Arguments.usage("--expected-head: '\(text)' is not \(AuditHead.expected)")
    }
    // One statement of SQLite's, which says nothing before its end.
    let (outcome, elapsed) = try Terminal.Progress.during("checking") { () throws(Failure) in
      try arguments.run(.integrityCheck(expectedHead: expected), "checking")
    }
    guard case .checked(let problems, let audit) = outcome else { return .defect }
    if arguments.json {
      try Output.write(.integrityCheck(), outcome, elapsed)
    } else if problems.isEmpty {
      try Output.write(Terminal.output.styled("ok", .green) + "\n")
    } else {
      try Output.write(
        problems.map { Terminal.output.styled(Terminal.printable($0), .red) + "\n" }.joined())
    }
    if !arguments.json {
      for chain in audit?.chains ?? [] where chain.expected == .evicted {
        try Output.write(
          "The expected head is not known to the ring '\(chain.ring)': its events up to \(chain.beginsAfter) are "
            + "evicted or older than its chain.\n")
      }
    }
    return problems.isEmpty ? .success : .problem
  }
}
