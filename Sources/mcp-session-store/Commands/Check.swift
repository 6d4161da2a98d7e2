import SessionStore
import Sidecar

extension Command {
  static var check: Command {
    Command(
      name: "check", summary: "looks for damage in the whole file",
      details: ["It prints each problem on a line and ends with 1 when there are any. It changes nothing."],
      options: [.database, .schema, .busyTimeout, .json("what the method check_integrity answers")], run: check)
  }

  private static func check(_ arguments: Arguments) throws(Failure) -> ExitCode {
    // One statement of SQLite's, which says nothing before its end.
    let (outcome, elapsed) = try Terminal.Progress.during("checking") { () throws(Failure) in
      try arguments.run(.integrityCheck, "checking")
    }
    guard case .checked(let problems) = outcome else { return .defect }
    if arguments.json {
      try Output.write(.integrityCheck, outcome, elapsed)
    } else if problems.isEmpty {
      try Output.write(Terminal.output.styled("ok", .green) + "\n")
    } else {
      try Output.write(
        problems.map { Terminal.output.styled(Terminal.printable($0), .red) + "\n" }.joined())
    }
    return problems.isEmpty ? .success : .problem
  }
}
