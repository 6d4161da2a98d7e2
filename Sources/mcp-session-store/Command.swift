/// One row of the table of commands: everything that the command line needs to know of it. Parsing, help, completions
/// and error messages are made from these rows.
struct Command {
  struct Operand {
    enum Kind {
      case text, file, command
      case choice([String])
    }

    /// as help shows it
    let name: String
    var kind = Kind.text
    var isRequired = true
  }

  let name: String
  var operands: [Operand] = []
  /// one line: what it does
  let summary: String
  /// what help says beyond that, each element a paragraph
  var details: [String] = []
  var options: [Option] = []
  /// whether it tells of unknown variables itself
  var tellsVariables = false
  /// - Returns: how the process ends; a failure is said on standard error
  let run: (Arguments) throws(Failure) -> ExitCode
}

extension Command {
  /// in the order in which help lists them; the first is meant where none is named
  static var all: [Command] {
    [
      serve, status, sessions, events, tasks, backup, check, dump, load, archive, report, describe, doctor, completions,
      version, help,
    ]
  }

  static func named(_ name: String) throws(Failure) -> Command {
    if let command = all.first(where: { $0.name == name }) { return command }
    throw Arguments.usage(
      "unknown command '\(name)'\(Arguments.hint(all.map(\.name), name)); \(helpHint(nil, "commands"))")
  }

  static func helpHint(_ command: Command?, _ what: String) -> String {
    guard let command else { return "--help lists the \(what)" }
    return "'mcp-session-store \(command.name) --help' lists its \(what)"
  }

  var readsVariables: Bool { options.contains(where: \.hasVariable) }

  var usage: String {
    let operands = operands.map { " " + ($0.isRequired ? $0.name : "[\($0.name)]") }.joined()
    return "mcp-session-store \(name)\(operands)\(options.isEmpty ? "" : " [OPTION ...]")"
  }
}
