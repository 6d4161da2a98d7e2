import JSONRPC
import SessionStore

extension Command {
  static var load: Command {
    Command(
      name: "load", summary: "reads a dump from standard input into the file, all of it or nothing",
      details: [
        "A file that is missing is made once all of the dump is right. Into one that holds something, numbers and "
          + "revisions move up, so that they stay unique; an id that is there already is an error. Caps are not asked "
          + "for, and nothing is written to the audit trail.",
        "A session of an archive comes back as it was: sidecars that keep what has ended for a shorter time remove it "
          + "again. In a file of its own it can be looked at.",
        "It holds up other writers from its first line to its last, which sidecars answer with database_busy.",
      ],
      options: [
        .database, .schema, .durability, .busyTimeout, .exclusive,
        Option(
          name: "--from", placeholder: "FILE", summary: "an archive to take a session from, instead of standard input",
          value: .text { $0.source = $1 }),
        Option(
          name: "--session", placeholder: "ID", summary: "the session to take from the archive",
          value: .text { $0.session = $1 }),
      ], run: load)
  }

  /// SQLite's own limit for a value is near
  private static let maxLineBytes = 1 << 30

  private static func load(_ arguments: Arguments) throws(Failure) -> ExitCode {
    let path = try arguments.databasePath()
    if path == ":memory:" { throw Arguments.usage("a store in memory is gone with its process; name a file") }
    if (arguments.source == nil) != (arguments.session == nil) {
      throw Arguments.usage("--from FILE and --session ID go together: which session of which archive")
    }
    if arguments.source == nil {
      guard System.isOpen(0) else {
        throw Failure(code: .configuration, message: "standard input is closed; a dump is read from there")
      }
      if System.isTerminal(0) { System.report("reading a dump from the terminal; end with Ctrl-D") }
    }
    System.installSignals()
    if arguments.database == nil { System.makeDirectories(for: path) }
    let address = ServerAddress(path)
    let isThere = address != nil || System.exists(path)
    let records = isThere ? try load(into: path, arguments) : try loadNew(path, arguments)
    try Output.write("loaded \(records) record\(records == 1 ? "" : "s") into \(address?.shown ?? path)\n")
    return .success
  }

  /// A new file gets its name when everything is in it, so that a dump that is not loaded leaves nothing behind.
  private static func loadNew(_ path: String, _ arguments: Arguments) throws(Failure) -> Int64 {
    let partial = "\(path).partial-\(System.process())"
    defer { System.removeDatabase(partial) }
    let records = try load(into: partial, arguments)
    if let reason = System.place(partial, at: path) {
      throw Failure(code: .cannotCreate, message: "nothing was loaded: cannot make \(path): \(reason)")
    }
    return records
  }

  private static func load(into path: String, _ arguments: Arguments) throws(Failure) -> Int64 {
    let store = try arguments.opened(path)
    do {
      return try store.load { loader in try feed(&loader, arguments) }
    } catch let error as LoadError {
      let place = error.line > 0 ? "line \(error.line): " : ""
      throw Failure(code: .data, message: "nothing was loaded: \(place)\(Terminal.printable(error.message))")
    } catch {
      throw Failure(error, path)
    }
  }

  private static func feed(_ loader: inout Loader, _ arguments: Arguments) throws {
    var progress = Terminal.Progress("loading")
    defer { progress.finish() }
    var lines = LineReader(limit: maxLineBytes)
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    func take(_ line: LineReader.Line) throws {
      switch line {
      case .complete(let text): try loader.load(text)
      case .tooLong: try loader.refuseLine(longerThan: maxLineBytes)
      }
    }
    if let source = arguments.source, let session = arguments.session {
      let file = try ArchiveFile(reading: source)
      guard let member = try file.member(of: session) else {
        throw Failure(code: .missing, message: "there is no session '\(Terminal.printable(session))' in \(source)")
      }
      try file.read(member) { bytes in
        lines.append(bytes)
        while let line = lines.next() { try take(line) }
      }
      if let line = lines.finish() { try take(line) }
      return
    }
    reading: while true {
      _ = System.wait(input: 0, output: nil, wantsToWrite: false, milliseconds: nil)
      if System.stopRequested { throw Failure(code: .inputOutput, message: "told to end; nothing was loaded") }
      switch System.read(0, into: &buffer) {
      case .bytes(let count):
        lines.append(Array(buffer[..<count]))
        while let line = lines.next() { try take(line) }
        progress.update(loader.records, of: nil)
      case .wouldBlock: break
      case .ended: break reading
      case .failed(let reason):
        throw Failure(code: .inputOutput, message: "nothing was loaded: cannot read standard input: \(reason)")
      }
    }
    if let line = lines.finish() { try take(line) }
  }
}
