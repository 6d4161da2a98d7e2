/// What a descriptor leads to, and what may be written there.
struct Terminal {
  enum Style: String {
    case bold = "1"
    case dim = "2"
    case red = "31"
    case green = "32"
    case yellow = "33"
  }

  let isTerminal: Bool
  /// columns; nil where lines may be as long as they like
  let width: Int?
  /// only on a terminal that can (TERM is not dumb) and where nobody objects (https://no-color.org)
  let hasColour: Bool

  static let output = Terminal(1)
  static let error = Terminal(2)

  private init(_ descriptor: Int32) {
    isTerminal = System.isTerminal(descriptor)
    width = isTerminal ? System.columns(descriptor) ?? 80 : nil
    hasColour =
      isTerminal && (System.environment("NO_COLOR") ?? "").isEmpty && System.environment("TERM") ?? "dumb" != "dumb"
  }

  func styled(_ text: String, _ style: Style?) -> String {
    guard hasColour, let style, !text.isEmpty else { return text }
    return "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m"
  }

  // MARK: - What came from elsewhere

  /// The text without anything that a terminal would obey or that would make it show something else: control
  /// characters and those that turn the direction of writing come out as `\u001b`.
  static func printable(_ text: some StringProtocol) -> String {
    if !text.unicodeScalars.contains(where: isUnsafe) { return String(text) }
    var shown = ""
    for scalar in text.unicodeScalars {
      if isUnsafe(scalar) { shown += escape(scalar) } else { shown.unicodeScalars.append(scalar) }
    }
    return shown
  }

  /// The same for lines of JSON, each of which stays the same value: outside of its strings only white space can be a
  /// control character.
  static func printable(json: String) -> String {
    if !json.unicodeScalars.contains(where: isUnsafe) { return json }
    var shown = ""
    for scalar in json.unicodeScalars {
      if scalar == "\n" {
        shown += "\n"
      } else if scalar.value < 0x20 {
        shown += " "
      } else if isUnsafe(scalar) {
        shown += escape(scalar)
      } else {
        shown.unicodeScalars.append(scalar)
      }
    }
    return shown
  }

  private static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0: true
    // marks, embeddings, overrides and isolates of direction, and the two line separators
    case 0x061C, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069: true
    default: false
    }
  }

  private static func escape(_ scalar: Unicode.Scalar) -> String {
    let digits = String(scalar.value, radix: 16)
    return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
  }

  // MARK: - Width

  /// Columns that a text takes on a terminal, near enough for tables.
  static func columns(_ text: String) -> Int {
    text.unicodeScalars.reduce(0) { $0 + columns($1) }
  }

  static func columns(_ scalar: Unicode.Scalar) -> Int {
    if scalar.value < 0x300 { return 1 }
    switch scalar.properties.generalCategory {
    case .nonspacingMark, .enclosingMark, .format: return 0
    default: break
    }
    switch scalar.value {
    // East Asian Wide and Fullwidth (https://www.unicode.org/reports/tr11/)
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xA960...0xA97F, 0xAC00...0xD7A3, 0xF900...0xFAFF,
      0xFE30...0xFE6F, 0xFF01...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F680...0x1F6FF, 0x1F900...0x1FAFF,
      0x20000...0x3FFFD:
      return 2
    default: return 1
    }
  }

  // MARK: - Progress

  /// A bar on standard error for what takes long; nothing where that is no terminal.
  struct Progress {
    private static let interval: Int64 = 100
    private static let barWidth = 30
    /// milliseconds that nobody minds to wait
    private static let patience: Int64 = 1_000
    private static let clearing = "\r\u{1B}[K"

    private let what: String
    private let terminal: Terminal
    private var nextDrawing: Int64 = 0
    private var isDrawn = false

    init(_ what: String, _ terminal: Terminal = .error) {
      self.what = what
      self.terminal = terminal
    }

    /// Draws it anew, unless that was done a moment ago.
    /// - Parameter total: nil where nobody knows how much there is
    mutating func update(_ done: Int64, of total: Int64?) {
      guard terminal.isTerminal, System.monotonic() >= nextDrawing else { return }
      nextDrawing = System.monotonic() + Self.interval
      isDrawn = true
      var line = "\(what) \(done)"
      if let total, total > 0 {
        let share = min(max(Double(done) / Double(total), 0), 1)
        let filled = Int(share * Double(Self.barWidth))
        let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: Self.barWidth - filled)
        line = "\(what) [\(bar)] \(Int(share * 100)) %"
      }
      // Back to the start, and whatever was longer is cleared.
      System.writeError("\r\(line.prefix((terminal.width ?? 80) - 1))\u{1B}[K")
    }

    /// Does what gives no sign of how far it is; from its second second on the time that it took so far is shown.
    static func during<Result, Problem: Error>(
      _ what: String, _ terminal: Terminal = .error, _ body: () throws(Problem) -> Result
    ) throws(Problem) -> Result {
      if !terminal.isTerminal { return try body() }
      let start = System.monotonic()
      defer { if System.monotonic() - start >= patience { System.writeError(clearing) } }
      return try Ticker.during(
        {
          let elapsed = System.monotonic() - start
          if elapsed >= patience { System.writeError("\r\(what), \(elapsed / 1_000) s\u{1B}[K") }
        }, body)
    }

    /// Takes the bar away, so that what is said next stands on a line of its own.
    mutating func finish() {
      if isDrawn { System.writeError(Self.clearing) }
      isDrawn = false
    }
  }
}
