import SessionStore
import Sidecar

/// What the command line and the environment say.
struct Arguments {
  // MARK: The service and its file

  var database: String?
  /// of a server
  var schema = "mcp_session_store"
  var durability = Durability.full
  var exclusive = false
  var watchParent = false
  var limits = Limits()
  var sidecar = Sidecar.Options()
  var metricsFile: String?

  // MARK: The other commands

  /// what stands behind the command's name, as many as it takes
  var operands: [String] = []
  var json = false
  /// of the audit trail
  var expectedHead: String?
  var follow = false
  var watch = false
  var secrets = false
  var includeEnded = false
  var output: String?
  /// an archive to read from
  var source: String?
  /// how long ago; negative: not said
  var before: Int64 = -1
  var force = false
  var payloads = false
  /// 0: from the beginning
  var after = 0
  /// 0: all
  var limit = 100
  var stream: String?
  var session: String?
  var user: String?
  var tenant: String?
  var principal: String?
  /// as the command that takes it has checked
  var status: String?

  var owner: Owner {
    Owner(
      tenant: tenant.map { .named($0) } ?? .unspecified, principal: principal.map { .named($0) } ?? .unspecified,
      seesEnded: includeEnded)
  }

  /// What was asked for.
  enum Invocation {
    /// nil: help for the whole program
    case help(Command?)
    case version
    case run(Command, Arguments)
  }

  // MARK: - Reading them

  /// - Throws: ``Failure`` with ``ExitCode/usage`` and one line that says what to write instead
  static func parse(_ words: ArraySlice<String>) throws(Failure) -> Invocation {
    let commands = Command.all
    var command: Command?
    var given: [(option: String, text: String?)] = []
    var operands: [String] = []
    var words = words
    while let word = words.popFirst() {
      if word == "--help" || word == "-h" { return .help(command) }
      if word == "--version" || word == "-V" { return .version }
      if word == "--", command != nil {
        operands += words
        break
      }
      guard word.hasPrefix("-"), word != "-" else {
        if command == nil {
          command = try Command.named(word)
        } else {
          operands.append(word)
        }
        continue
      }
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      // The command may still be to come, so any command's option will do here: those that share a name agree on
      // whether it has a value.
      guard let option = commands.lazy.flatMap(\.options).first(where: { $0.name == parts[0] }) else {
        let names = (command.map { [$0] } ?? commands).flatMap(\.options).map(\.name)
        throw usage("unknown option '\(word)'\(hint(names, parts[0])); \(Command.helpHint(command, "options"))")
      }
      if parts.count > 1 {
        given.append((parts[0], parts[1]))
      } else if case .flag = option.value {
        given.append((parts[0], nil))
      } else if let value = words.popFirst() {
        given.append((parts[0], value))
      } else {
        let fallback = option.defaultText.map { ", by default \($0)" } ?? ""
        throw usage("\(option.name) needs a value: \(option.placeholder)\(fallback)")
      }
    }
    let chosen = command ?? commands[0]
    return .run(chosen, try Arguments(chosen, given, operands))
  }

  private init(_ command: Command, _ given: [(option: String, text: String?)], _ operands: [String]) throws(Failure) {
    for option in command.options where option.hasVariable {
      if let text = System.environment(option.environmentName) {
        try set(option, text, called: option.environmentName)
      }
    }
    for (name, text) in given {
      guard let option = command.options.first(where: { $0.name == name }) else {
        throw Self.usage("'\(command.name)' does not take \(name); \(Command.helpHint(command, "options"))")
      }
      try set(option, text ?? "true", called: name)
    }
    let needed = command.operands.count { $0.isRequired }
    if operands.count < needed {
      throw Self.usage("'\(command.name)' needs \(command.operands[operands.count].name): \(command.usage)")
    }
    if operands.count > command.operands.count {
      throw Self.usage("unexpected '\(operands[command.operands.count])'; write: \(command.usage)")
    }
    for (operand, text) in zip(command.operands, operands) {
      if case .choice(let names) = operand.kind, !names.contains(text) {
        throw Self.usage("'\(text)' is not one of \(names.joined(separator: ", "))")
      }
    }
    self.operands = operands
  }

  static func usage(_ message: String) -> Failure { Failure(code: .usage, message: message) }

  /// " (did you mean …?)", when there is something near
  static func hint(_ names: [String], _ name: String) -> String {
    NearestName.of(names, to: name).map { " (did you mean '\($0)'?)" } ?? ""
  }

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
    case .checked(let problem, let apply):
      if let problem = problem(text) { throw Self.usage("\(name): '\(text)' \(problem)") }
      apply(&self, text)
    case .choice(let names, let apply):
      guard names.contains(text) else { throw bad("one of " + names.joined(separator: ", ")) }
      apply(&self, text)
    case .count(let path, let minimum):
      guard let count = Int(text), count >= minimum, count <= Self.largestCount else {
        throw bad("a whole number from \(minimum) to \(Self.largestCount)")
      }
      self[keyPath: path] = count
    case .bytes(let path, let minimum):
      guard let bytes = Self.bytes(text), bytes >= minimum else {
        throw bad("a number of bytes from \(minimum), such as 65536, 512KiB or 16MiB")
      }
      self[keyPath: path] = bytes
    case .duration(let path):
      guard let milliseconds = Self.duration(text) else {
        throw bad("a time such as 500ms, 30s, 30m, 24h, 7d or 0, at most 3652500d")
      }
      self[keyPath: path] = milliseconds
    case .rate(let path):
      guard text != "0" else { return self[keyPath: path] = nil }
      guard let rate = Self.rate(text) else {
        throw bad("so many in a time such as 600/1m, at most 1000000 in 1ms to 366d; or 0")
      }
      self[keyPath: path] = rate
    }
  }

  /// In the bounds of `check_rate_limit`.
  static func rate(_ text: String) -> Rate? {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, let count = Int64(parts[0]), parts[0].allSatisfy(\.isNumber),
      (1...1_000_000).contains(count), let window = duration(parts[1]), (1...31_622_400_000).contains(window)
    else { return nil }
    return Rate(count: count, window: window)
  }

  /// The largest integer of the contract; what is counted with it cannot overflow.
  private static let largestCount = 1 << 53 - 1

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

  // MARK: - The file

  /// The library that has to be loaded for what is asked, and what for.
  var neededLibrary: String? {
    if let database, ServerAddress(database) != nil { return "PostgreSQL needs libpq" }
    if source != nil || before >= 0 { return "archives need zlib" }
    return nil
  }

  /// The path that was given, or one in the user's home.
  func databasePath() throws(Failure) -> String {
    if let database { return database }
    guard let home = System.environment("HOME"), home.hasPrefix("/") else {
      throw Failure(code: .configuration, message: "neither --database nor HOME is set; name a file with --database")
    }
    return home + "/.local/state/mcp-session-store/sessions.db"
  }
}
