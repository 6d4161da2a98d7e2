import Sidecar

extension Command {
  static var version: Command {
    Command(name: "version", summary: "prints one line with the version", run: version)
  }

  private static func version(_ arguments: Arguments) throws(Failure) -> ExitCode {
    try Output.write("mcp-session-store \(Sidecar.version)\n")
    return .success
  }
}
