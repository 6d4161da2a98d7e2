import Sidecar

@main
enum Main {
  static func main() {
    do {
      switch try Arguments.parse(CommandLine.arguments.dropFirst()) {
      case .help(let command): try Output.write(Help.text(command))
      case .version: try Output.write("mcp-session-store \(Sidecar.version)\n")
      case .run(let command, let arguments): System.end(try command.run(arguments))
      }
    } catch {
      if !error.message.isEmpty { System.report(error.message) }
      System.end(error.code)
    }
  }
}
