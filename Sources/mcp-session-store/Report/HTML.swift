/// Text for an HTML page, in which everything that is not markup of ours is escaped.
struct HTML {
  private(set) var text = ""

  /// Appends markup as it is; nothing from the store may come this way.
  mutating func markup(_ markup: StaticString) { text += "\(markup)" }

  /// Appends what only we can have written, such as numbers and lengths.
  mutating func number(_ value: some BinaryInteger) { text += String(value) }

  /// Appends text of any origin.
  mutating func escaped(_ string: String) {
    for scalar in string.unicodeScalars {
      switch scalar {
      case "&": text += "&amp;"
      case "<": text += "&lt;"
      case ">": text += "&gt;"
      case "\"": text += "&quot;"
      case "'": text += "&#39;"
      default: text += Terminal.printable(String(scalar))
      }
    }
  }

  /// `<name class="style">text</name>`
  mutating func element(_ name: StaticString, _ string: String, class style: StaticString? = nil) {
    text += "<\(name)" + (style.map { " class=\"\($0)\"" } ?? "") + ">"
    escaped(string)
    text += "</\(name)>"
  }
}
