import SessionStore
import Sidecar

extension Command {
  static var serve: Command {
    Command(
      name: "serve", summary: "answers JSON-RPC requests from standard input until it ends", options: Option.serving,
      run: serve)
  }

  private static func serve(_ arguments: Arguments) throws(Failure) -> ExitCode {
    var arguments = arguments
    try arguments.agreeOnSizes()
    guard System.isOpen(0) else {
      throw Failure(
        code: .configuration, message: "standard input is closed; start it from a program that writes requests to it")
    }
    let output = System.takeOutput()
    System.installSignals()
    let path = try arguments.databasePath()
    if arguments.database == nil { System.makeDirectories(for: path) }
    let store = try arguments.opened(path)
    if System.isTerminal(0) {
      let shown = ServerAddress(path)?.shown ?? path
      System.report("waiting for JSON-RPC requests, one per line, for \(shown); end with Ctrl-D (--help tells more)")
    }
    var options = arguments.sidecar
    options.executable = System.executablePath()
    options.processID = Int64(System.process())
    let host = Sidecar.Host(
      memoryUsage: System.memoryUsage, freeDisk: System.freeDisk, monotonic: System.monotonicNanoseconds,
      log: System.log, openArchive: { try ArchiveFile(appendingTo: $0, known: $1) })
    var server = Server(
      Sidecar(store: store, options: options, host: host), store, output: output, watchParent: arguments.watchParent,
      metricsFile: arguments.metricsFile)
    do {
      try server.serve()
    } catch {
      // Only after a good end is the file closed, which may write to it: where something failed, the log stays as it is
      // for the next one who opens the file.
      System.end(error)
    }
    return .success
  }
}

extension Arguments {
  /// The store at `path`, for writing.
  func opened(_ path: String) throws(Failure) -> Store {
    do throws(OpenError) {
      if let address = ServerAddress(path) { return try opened(address, isForReading: false) }
      return try Store.open(
        path, limits: limits, durability: durability, exclusive: exclusive, environment: Environment(now: System.now))
    } catch {
      throw Failure(error, path)
    }
  }

  /// The store on a server.
  func opened(_ address: ServerAddress, isForReading: Bool) throws(OpenError) -> Store {
    if exclusive { throw .unusable("--exclusive takes a file for one process, and a server is for many: leave it out") }
    return try Store.open(
      address, schema: schema, limits: limits, durability: durability,
      environment: Environment(now: System.now, followsServer: true), isForReading: isForReading)
  }

  /// Limits that contradict each other would only show in the middle of someone's work.
  fileprivate mutating func agreeOnSizes() throws(Failure) {
    let fitting = min(sidecar.maxLineBytes, sidecar.maxResultBytes)
    let payload = limits.maxPayloadBytes == 0 ? fitting : limits.maxPayloadBytes
    limits.maxPayloadBytes = payload
    if payload > sidecar.maxLineBytes {
      throw Failure(code: .configuration, message: "--max-payload-bytes is over --max-line-bytes; raise the latter")
    }
    if payload > sidecar.maxResultBytes {
      throw Failure(
        code: .configuration,
        message: "--max-payload-bytes is over --max-result-bytes: such a payload could not be read")
    }
    let state = limits.maxStateBytes == 0 ? sidecar.maxResultBytes : limits.maxStateBytes
    if state > sidecar.maxResultBytes {
      throw Failure(
        code: .configuration, message: "--max-state-bytes is over --max-result-bytes: such a session could not be read")
    }
  }
}
