extension Command {
  static var help: Command {
    Command(
      name: "help", operands: [Operand(name: "COMMAND", kind: .command, isRequired: false)],
      summary: "tells more about a command", run: help)
  }

  private static func help(_ arguments: Arguments) throws(Failure) -> ExitCode {
    var command: Command?
    if let name = arguments.operands.first { command = try named(name) }
    try Output.write(Help.text(command))
    return .success
  }
}
