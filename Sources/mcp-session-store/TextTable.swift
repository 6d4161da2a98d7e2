/// Rows in columns that are as wide as what stands in them. On a terminal a table that is too wide is cut where its
/// columns allow it.
struct TextTable {
  struct Column {
    enum Alignment { case left, right }

    let title: String
    var alignment = Alignment.left
    /// false for what someone will want to copy
    var mayBeCut = false
  }

  /// A text that came from elsewhere, and how it looks.
  struct Cell {
    let text: String
    let style: Terminal.Style?

    init(_ text: String, _ style: Terminal.Style? = nil) {
      self.text = Terminal.printable(text)
      self.style = style
    }
  }

  let columns: [Column]
  private var rows: [[Cell]] = []
  /// columns narrower than this are of no use
  private static let minimum = 8
  private static let gap = 2

  init(_ columns: [Column]) {
    self.columns = columns
  }

  mutating func add(_ row: [Cell]) { rows.append(row) }

  /// The whole table, with a line of titles unless all of them are empty. A terminal is spared the columns in which
  /// nothing stands; a script finds each in its place.
  func text(_ terminal: Terminal) -> String {
    if terminal.width != nil {
      let used = columns.indices.filter { index in rows.contains { !$0[index].text.isEmpty } }
      if used.count < columns.count { return only(used).text(terminal) }
    }
    let widths = widths(terminal.width)
    let titles = columns.map { Cell($0.title, .bold) }
    let hasTitles = columns.contains { !$0.title.isEmpty }
    return ((hasTitles ? [titles] : []) + rows).map { line($0, widths, terminal) }.joined()
  }

  private func only(_ kept: [Int]) -> TextTable {
    var table = TextTable(kept.map { columns[$0] })
    table.rows = rows.map { row in kept.map { row[$0] } }
    return table
  }

  private func line(_ row: [Cell], _ widths: [Int], _ terminal: Terminal) -> String {
    var line = ""
    // Spaces wait until something follows them.
    var pending = 0
    for (index, cell) in row.enumerated() {
      let text = Self.cut(cell.text, widths[index])
      let padding = widths[index] - Terminal.columns(text)
      if columns[index].alignment == .right { pending += padding }
      if !text.isEmpty {
        line += String(repeating: " ", count: pending) + terminal.styled(text, cell.style)
        pending = 0
      }
      pending += Self.gap + (columns[index].alignment == .left ? padding : 0)
    }
    return line + "\n"
  }

  private func widths(_ limit: Int?) -> [Int] {
    var widths = columns.map { Terminal.columns($0.title) }
    for row in rows {
      for (index, cell) in row.enumerated() { widths[index] = max(widths[index], Terminal.columns(cell.text)) }
    }
    guard let limit else { return widths }
    var excess = widths.reduce(0, +) + Self.gap * (widths.count - 1) - limit
    while excess > 0,
      let widest = widths.indices.filter({ columns[$0].mayBeCut && widths[$0] > Self.minimum })
        .max(by: { widths[$0] < widths[$1] })
    {
      widths[widest] -= 1
      excess -= 1
    }
    return widths
  }

  private static func cut(_ text: String, _ width: Int) -> String {
    if Terminal.columns(text) <= width { return text }
    var cut = ""
    var used = 0
    for character in text {
      let columns = Terminal.columns(String(character))
      if used + columns > width - 1 { break }
      cut.append(character)
      used += columns
    }
    return cut + "…"
  }
}
