import Sidecar

@main
enum Main {
  static func main() {
    do throws(Failure) {
      // The fully static build reads them in /proc; without it every option would be passed over in silence.
      if CommandLine.arguments.isEmpty {
        throw Failure(code: .configuration, message: "the command line cannot be read: mount /proc")
      }
      switch try Arguments.parse(CommandLine.arguments.dropFirst()) {
      case .help(let command): try Output.write(Help.text(command))
      case .version: try Output.write("mcp-session-store \(Sidecar.version)\n")
      case .run(let command, let arguments):
        if let need = arguments.neededLibrary { try Companion.takeOver(for: need) }
        if command.readsVariables, !command.tellsVariables, let complaint = Variables.complaint {
          System.report(complaint)
        }
        System.end(try command.run(arguments))
      }
    } catch {
      System.end(error)
    }
  }
}
