import SessionStore
import Sidecar

@main
enum Main {
  static func main() {
    do {
      switch try Arguments.parse(CommandLine.arguments.dropFirst()) {
      case .help: System.printOut(Arguments.help)
      case .version: System.printOut("mcp-session-store \(Sidecar.version)\n")
      case .serve(let arguments): System.end(try serve(arguments))
      }
    } catch {
      System.report(error.message)
      System.end(error.code)
    }
  }

  private static func serve(_ arguments: Arguments) throws(Failure) -> ExitCode {
    guard System.isOpen(0) else {
      throw Failure(
        code: .configuration, message: "standard input is closed; start it from a program that writes requests to it")
    }
    let output = System.takeOutput()
    System.installSignals()
    let path = try arguments.databasePath()
    let store = try open(path, arguments)
    if System.isTerminal(0) {
      System.report("waiting for JSON-RPC requests, one per line, for \(path); end with Ctrl-D (--help tells more)")
    }
    var options = arguments.sidecar
    options.executable = System.executablePath()
    options.processID = Int64(System.process())
    let host = Sidecar.Host(memoryUsage: System.memoryUsage, freeDisk: System.freeDisk)
    var server = Server(
      Sidecar(store: store, options: options, host: host), store, output: output, watchParent: arguments.watchParent)
    let code = server.serve()
    // Only after a good end is the file closed, which may write to it: where something failed, the log stays as it is
    // for the next one who opens the file.
    if code != .success { System.end(code) }
    return code
  }

  private static func open(_ path: String, _ arguments: Arguments) throws(Failure) -> Store {
    do throws(OpenError) {
      return try Store.open(
        path, limits: arguments.limits, durability: arguments.durability, exclusive: arguments.exclusive,
        environment: Environment(now: System.now))
    } catch {
      switch error {
      case .foreign(let message), .damaged(let message): throw Failure(code: .data, message: message)
      case .tooNew(let found, let supported):
        throw Failure(
          code: .data,
          message: "\(path) has schema \(found), made by a newer program; this one knows \(supported): install that")
      case .cannotCreate(let message): throw Failure(code: .cannotCreate, message: message)
      case .locked(let message): throw Failure(code: .locked, message: message)
      case .inputOutput(let message): throw Failure(code: .inputOutput, message: message)
      }
    }
  }
}
