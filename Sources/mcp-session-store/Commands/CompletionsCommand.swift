extension Command {
  static var completions: Command {
    Command(
      name: "completions", operands: [Operand(name: "SHELL", kind: .choice(Completions.shells))],
      summary: "prints the script that completes command lines in bash, zsh or fish",
      details: [
        """
          source <(mcp-session-store completions bash)
          source <(mcp-session-store completions zsh)
          mcp-session-store completions fish | source
        """
      ],
      run: completions)
  }

  private static func completions(_ arguments: Arguments) throws(Failure) -> ExitCode {
    try Output.write(Completions.script(arguments.operands[0]))
    return .success
  }
}
