/// The texts of `--help`, made from the table of commands.
enum Help {
  private static let width = 34

  static func text(_ command: Command?) -> String { command.map(of) ?? program }

  private static var program: String {
    var text = """
      Usage: mcp-session-store [COMMAND] [OPTION ...]

      Keeps the sessions, event streams and tasks of an MCP server in one SQLite file. It reads
      one JSON-RPC 2.0 request per line from standard input and writes one answer per line to
      standard output, until the input ends.

        echo '{"jsonrpc":"2.0","id":1,"method":"server_info"}' | mcp-session-store --database sessions.db

      Commands ('mcp-session-store help COMMAND' tells more); without one, serve is meant:

      """
    for command in Command.all {
      text += row([command.name, operands(command)].filter { !$0.isEmpty }.joined(separator: " "), command.summary)
    }
    text += "\nOptions of serve\n" + options(Option.serving)
    text += """

      Others:
        --help, -h                      this text
        --version, -V                   one line with the version

      TIME is 500ms, 30s, 30m, 24h, 7d or 0; BYTES is 65536, 512KiB or 16MiB. Each option of serve is also
      an environment variable, for the other commands that take it as well: --max-sessions is
      MCP_SESSION_STORE_MAX_SESSIONS. The command line wins.

      \(ExitCode.sentence)

      """
    return text
  }

  private static func of(_ command: Command) -> String {
    var text = "Usage: \(command.usage)\n\n\(sentence(command.summary))\n"
    for paragraph in command.details { text += "\n\(wrapped(paragraph))" }
    return text + options(command.options) + "\n\(ExitCode.sentence)\n"
  }

  private static func operands(_ command: Command) -> String {
    command.operands.map { $0.isRequired ? $0.name : "[\($0.name)]" }.joined(separator: " ")
  }

  private static func options(_ options: [Option]) -> String {
    var text = ""
    var heading = ""
    for option in options {
      if option.heading != heading { text += "\n\(option.heading):\n" }
      heading = option.heading
      text += row(option.placeholder.isEmpty ? option.name : "\(option.name) \(option.placeholder)", option.summary)
      if let defaultText = option.defaultText { text += row("", "[\(defaultText)]") }
    }
    return text
  }

  private static func row(_ left: String, _ right: String) -> String {
    let start = left.isEmpty ? "" : "  \(left) "
    return start + String(repeating: " ", count: max(0, width - start.count)) + right + "\n"
  }

  /// A paragraph in lines of a readable length; one that begins with a space stays as it is.
  private static func wrapped(_ paragraph: String) -> String {
    if paragraph.hasPrefix(" ") { return paragraph + "\n" }
    var (text, column) = ("", 0)
    for word in paragraph.split(whereSeparator: { " \n".contains($0) }) {
      let fits = column + 1 + word.count <= 100
      if column > 0 { text += fits ? " " : "\n" }
      column = (column > 0 && fits ? column + 1 : 0) + word.count
      text += word
    }
    return text + "\n"
  }

  private static func sentence(_ summary: String) -> String {
    (summary.first?.uppercased() ?? "") + summary.dropFirst() + "."
  }
}
