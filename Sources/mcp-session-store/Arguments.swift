import SessionStore
import Sidecar

/// What the command line and the environment say. Each option has an environment variable of the same name
/// (`--max-sessions` is `MCP_SESSION_STORE_MAX_SESSIONS`); the command line wins.
struct Arguments {
  var database: String?
  var durability = Durability.full
  var exclusive = false
  var watchParent = false
  var limits = Limits()
  var sidecar = Sidecar.Options()

  enum Command {
    case help, version
    case serve(Arguments)
  }

  // MARK: - The options

  private enum Value {
    case flag(WritableKeyPath<Arguments, Bool>)
    case text((inout Arguments, String) -> Void)
    case choice([String], (inout Arguments, String) -> Void)
    case count(WritableKeyPath<Arguments, Int>, minimum: Int)
    case bytes(WritableKeyPath<Arguments, Int>, minimum: Int)
    case duration(WritableKeyPath<Arguments, Int64>)
  }

  private struct Option {
    let name: String
    /// in the place of its value, in help
    let placeholder: String
    let defaultText: String
    let summary: String
    let value: Value

    var environmentName: String {
      "MCP_SESSION_STORE_" + name.dropFirst(2).map { $0 == "-" ? "_" : $0.uppercased() }.joined()
    }
  }

  private static var options: [(heading: String, options: [Option])] {
    [
      (
        "The file",
        [
          Option(
            name: "--database", placeholder: "PATH", defaultText: "~/.local/state/mcp-session-store/sessions.db",
            summary: "the SQLite file, made when missing; :memory: for none", value: .text { $0.database = $1 }),
          Option(
            name: "--durability", placeholder: "LEVEL", defaultText: "full",
            summary: "full: answers wait for the disk; normal: a power cut may take the last ones",
            value: .choice(Durability.allCases.map(\.rawValue)) { $0.durability = Durability(rawValue: $1) ?? .full }),
          Option(
            name: "--exclusive", placeholder: "", defaultText: "off",
            summary: "take the file for this process alone (network and virtual file systems)",
            value: .flag(\.exclusive)),
          Option(
            name: "--busy-timeout", placeholder: "TIME", defaultText: "5s",
            summary: "how long a write waits for other processes", value: .duration(\.limits.busyTimeout)),
        ]
      ),
      (
        "Sessions",
        [
          Option(
            name: "--session-ttl", placeholder: "TIME", defaultText: "24h",
            summary: "lifetime of a session that names none; 0: for ever", value: .duration(\.limits.sessionTTL)),
          Option(
            name: "--inactivity-timeout", placeholder: "TIME", defaultText: "30m",
            summary: "time without a write after which a session expires; 0: never",
            value: .duration(\.limits.inactivityTimeout)),
          Option(
            name: "--max-suspension", placeholder: "TIME", defaultText: "7d",
            summary: "how long a session may be suspended; 0: for ever", value: .duration(\.limits.maxSuspension)),
          Option(
            name: "--max-sessions", placeholder: "N", defaultText: "100000",
            summary: "sessions in the store; 0: no cap", value: .count(\.limits.maxSessions, minimum: 0)),
          Option(
            name: "--max-sessions-per-user", placeholder: "N", defaultText: "0",
            summary: "sessions of one user of one tenant; 0: no cap",
            value: .count(\.limits.maxSessionsPerUser, minimum: 0)),
          Option(
            name: "--max-state-bytes", placeholder: "BYTES", defaultText: "4MiB",
            summary: "the whole state of one session; 0: no cap", value: .bytes(\.limits.maxStateBytes, minimum: 0)),
          Option(
            name: "--id-format", placeholder: "FORMAT", defaultText: "uuid",
            summary: "ids that are made here: uuid (v7), or random (256 bits)",
            value: .choice(IDFormat.allCases.map(\.rawValue)) { $0.limits.idFormat = IDFormat(rawValue: $1) ?? .uuid }),
          Option(
            name: "--require-owner", placeholder: "", defaultText: "off",
            summary: "refuse calls that name neither tenant_id nor principal",
            value: .flag(\.sidecar.requireOwner)),
          Option(
            name: "--degraded-sessions", placeholder: "N", defaultText: "10000",
            summary: "health says degraded from so many sessions; 0: never",
            value: .count(\.sidecar.degradedSessions, minimum: 0)),
        ]
      ),
      (
        "Events, tasks, values",
        [
          Option(
            name: "--max-events-per-session", placeholder: "N", defaultText: "10000",
            summary: "events kept of one session; 0: no cap", value: .count(\.limits.maxEventsPerSession, minimum: 0)),
          Option(
            name: "--event-overflow", placeholder: "WHAT", defaultText: "evict",
            summary: "at that cap: evict the oldest, or answer with an error",
            value: .choice(Limits.EventOverflow.allCases.map(\.rawValue)) {
              $0.limits.eventOverflow = Limits.EventOverflow(rawValue: $1) ?? .evict
            }),
          Option(
            name: "--max-tasks", placeholder: "N", defaultText: "10000", summary: "tasks in the store; 0: no cap",
            value: .count(\.limits.maxTasks, minimum: 0)),
          Option(
            name: "--max-task-messages", placeholder: "N", defaultText: "10000",
            summary: "messages in the queue of one task; 0: no cap",
            value: .count(\.limits.maxTaskMessages, minimum: 0)),
          Option(
            name: "--max-values", placeholder: "N", defaultText: "1000000", summary: "values in the store; 0: no cap",
            value: .count(\.limits.maxValues, minimum: 0)),
        ]
      ),
      (
        "Log and audit",
        [
          Option(
            name: "--log-dedup-window", placeholder: "N", defaultText: "10000",
            summary: "message ids of a session's log that stay known; 0: all",
            value: .count(\.limits.logDedupWindow, minimum: 0)),
          Option(
            name: "--max-violations", placeholder: "N", defaultText: "5",
            summary: "violations that invalidate a session; 0: only a critical one does",
            value: .count(\.limits.maxViolations, minimum: 0)),
          Option(
            name: "--max-audit-events", placeholder: "N", defaultText: "10000",
            summary: "lifecycle changes kept, and as many security events; 0: no cap",
            value: .count(\.limits.maxAuditEvents, minimum: 0)),
        ]
      ),
      (
        "The wire",
        [
          Option(
            name: "--max-line-bytes", placeholder: "BYTES", defaultText: "16MiB", summary: "one line of input",
            value: .bytes(\.sidecar.maxLineBytes, minimum: 1_024)),
          Option(
            name: "--max-payload-bytes", placeholder: "BYTES", defaultText: "1MiB",
            summary: "one opaque payload; 0: as long as a line and an answer",
            value: .bytes(\.limits.maxPayloadBytes, minimum: 0)),
          Option(
            name: "--max-result-bytes", placeholder: "BYTES", defaultText: "8MiB",
            summary: "one answer; pages end early there", value: .bytes(\.sidecar.maxResultBytes, minimum: 65_536)),
          Option(
            name: "--max-subscriptions", placeholder: "N", defaultText: "10000",
            summary: "open subscriptions of this process; 0: no cap",
            value: .count(\.sidecar.maxSubscriptions, minimum: 0)),
          Option(
            name: "--watch-parent", placeholder: "", defaultText: "off",
            summary: "also end when the parent process is gone",
            value: .flag(\.watchParent)),
        ]
      ),
    ]
  }

  // MARK: - Reading them

  /// - Throws: ``Failure`` with ``ExitCode/usage`` and one line that says what to write instead
  static func parse(_ words: ArraySlice<String>) throws(Failure) -> Command {
    var arguments = Arguments()
    let options = Self.options.flatMap(\.options)
    for option in options {
      if let text = System.environment(option.environmentName) {
        try arguments.set(option, text, called: option.environmentName)
      }
    }
    var words = words
    while let word = words.popFirst() {
      if word == "--help" || word == "-h" { return .help }
      if word == "--version" { return .version }
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard let option = options.first(where: { $0.name == parts[0] }) else {
        throw usage("unknown option '\(word)'; --help lists the options")
      }
      if case .flag = option.value {
        try arguments.set(option, parts.count > 1 ? parts[1] : "true", called: option.name)
      } else if parts.count > 1 {
        try arguments.set(option, parts[1], called: option.name)
      } else if let value = words.popFirst() {
        try arguments.set(option, value, called: option.name)
      } else {
        throw usage("\(option.name) needs a value: \(option.placeholder), by default \(option.defaultText)")
      }
    }
    try arguments.check()
    return .serve(arguments)
  }

  private static func usage(_ message: String) -> Failure { Failure(code: .usage, message: message) }

  private mutating func set(_ option: Option, _ text: String, called name: String) throws(Failure) {
    func bad(_ expected: String) -> Failure { Self.usage("\(name): '\(text)' is not \(expected)") }
    switch option.value {
    case .flag(let path):
      switch text.lowercased() {
      case "true", "1", "yes", "on": self[keyPath: path] = true
      case "false", "0", "no", "off", "": self[keyPath: path] = false
      default: throw bad("true or false")
      }
    case .text(let apply):
      if text.isEmpty { throw bad("a value") }
      apply(&self, text)
    case .choice(let names, let apply):
      guard names.contains(text) else { throw bad("one of " + names.joined(separator: ", ")) }
      apply(&self, text)
    case .count(let path, let minimum):
      guard let count = Int(text), count >= minimum else { throw bad("a whole number from \(minimum)") }
      self[keyPath: path] = count
    case .bytes(let path, let minimum):
      guard let bytes = Self.bytes(text), bytes >= minimum else {
        throw bad("a number of bytes from \(minimum), such as 65536, 512KiB or 16MiB")
      }
      self[keyPath: path] = bytes
    case .duration(let path):
      guard let milliseconds = Self.duration(text) else { throw bad("a time such as 500ms, 30s, 30m, 24h, 7d or 0") }
      self[keyPath: path] = milliseconds
    }
  }

  static func duration(_ text: String) -> Int64? {
    if text == "0" { return 0 }
    let units: [(String, Int64)] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
    for (unit, factor) in units {
      guard text.hasSuffix(unit) else { continue }
      let digits = text.dropLast(unit.count)
      // Ten thousand years are enough, and adding them to a time cannot overflow.
      guard let count = Int64(digits), digits.allSatisfy(\.isNumber), count <= 315_576_000_000_000 / factor else {
        continue
      }
      return count * factor
    }
    return nil
  }

  static func bytes(_ text: String) -> Int? {
    for (unit, shift) in [("KiB", 10), ("MiB", 20), ("GiB", 30), ("", 0)] where text.hasSuffix(unit) {
      let digits = text.dropLast(unit.count)
      guard let count = Int(digits), digits.allSatisfy(\.isNumber), count <= 1 << 30 else { return nil }
      let bytes = count << shift
      // SQLite's own limit for a text is near.
      return bytes <= 1 << 30 ? bytes : nil
    }
    return nil
  }

  /// Limits that contradict each other would only show in the middle of someone's work.
  private mutating func check() throws(Failure) {
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

  /// The path that was given, or one in the user's home.
  func databasePath() throws(Failure) -> String {
    if let database { return database }
    guard let home = System.environment("HOME"), home.hasPrefix("/") else {
      throw Failure(code: .configuration, message: "neither --database nor HOME is set; name a file with --database")
    }
    let path = home + "/.local/state/mcp-session-store/sessions.db"
    System.makeDirectories(for: path)
    return path
  }

  // MARK: - Help

  static var help: String {
    var text = """
      Usage: mcp-session-store [OPTION ...]

      Keeps the sessions, event streams and tasks of an MCP server in one SQLite file. It reads
      one JSON-RPC 2.0 request per line from standard input and writes one answer per line to
      standard output, until the input ends.

        echo '{"jsonrpc":"2.0","id":1,"method":"server_info"}' | mcp-session-store --database sessions.db

      """
    for (heading, options) in options {
      text += "\n\(heading):\n"
      for option in options {
        let left = option.placeholder.isEmpty ? option.name : "\(option.name) \(option.placeholder)"
        text += "  " + left + String(repeating: " ", count: max(1, 32 - left.count)) + option.summary + "\n"
        text += String(repeating: " ", count: 34) + "[\(option.defaultText)]\n"
      }
    }
    text += """

      Others:
        --help                          this text
        --version                       one line with the version

      TIME is 500ms, 30s, 30m, 24h, 7d or 0; BYTES is 65536, 512KiB or 16MiB. Each option is also an
      environment variable: --max-sessions is MCP_SESSION_STORE_MAX_SESSIONS. The command line wins.

      Exit codes: 0 done, 64 usage, 65 not our file or damaged, 70 a defect here, 73 cannot create,
      74 disk or reader failed, 75 locked by another process, 78 configuration.

      """
    return text
  }
}
