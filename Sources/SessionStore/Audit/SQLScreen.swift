/// Finds text that is meant to leave a string literal of SQL or to go on behind a statement. It looks for how such text
/// is built, not for words: prose that speaks of selecting, dropping tables or unions passes, and so does a whole
/// statement that does not break out of anything.
enum SQLScreen {
  /// There is more between two words than anything but an attack has there.
  fileprivate struct Evasion: Error {}

  static func finds(_ text: ScreenedText) -> Bool {
    do { return try breaksOut(text) } catch { return true }
  }

  private static func breaksOut(_ text: ScreenedText) throws -> Bool {
    var isInside = (single: false, double: false)
    for index in 0..<text.count {
      switch text[index] {
      // A quote that closes one of the text's own breaks out of nothing, nor does an apostrophe.
      case UInt8(ascii: "'") where !(text.isWord(index - 1) && text.isWord(index + 1)):
        if !isInside.single, try breaksOut(text, behind: index + 1) { return true }
        isInside.single.toggle()
      case UInt8(ascii: "\""):
        if !isInside.double, try breaksOut(text, behind: index + 1) { return true }
        isInside.double.toggle()
      case UInt8(ascii: ";"):
        if try beginsStatement(text, text.skippingGap(index + 1)) { return true }
      case UInt8(ascii: "u"), UInt8(ascii: "x"), UInt8(ascii: "w"), UInt8(ascii: "i"), UInt8(ascii: "o"),
        UInt8(ascii: "a"):
        if index == 0 || !text.isWord(index - 1), try isTelling(text, index) { return true }
      default: break
      }
    }
    return false
  }

  /// Behind a quote: `OR 1=1`, `AND 'a'='a`, a comment to the end, `UNION SELECT`, a function that waits.
  private static func breaksOut(_ text: ScreenedText, behind quote: Int) throws -> Bool {
    let index = try text.skipping(UInt8(ascii: ")"), text.skippingGap(quote))
    // More dashes than two are a line across the page.
    for comment: StaticString in ["--", "#", "/*"] where text.holds(comment, at: index) {
      if text.holds("---", at: index) { return false }
      return text.endsLine(index + comment.utf8CodeUnitCount)
    }
    for word: StaticString in ["or", "and", "xor", "||", "&&", "having", "where"] where text.isWord(word, at: index) {
      return try comparesItself(text, text.skippingGap(index + word.utf8CodeUnitCount))
    }
    return false
  }

  /// `1=1`, `'a'='a`, `x like x`, `1`, `true`, `sleep(5)`, `exists(select …`: a condition that needs no column
  private static func comparesItself(_ text: ScreenedText, _ start: Int) throws -> Bool {
    var index = start
    if let behind = text.word("not", at: start) { index = try text.skippingGap(behind) }
    index = try text.skipping(UInt8(ascii: "("), index)
    for name: StaticString in ["sleep", "benchmark", "pg_sleep", "exists", "extractvalue", "updatexml", "select"]
    where text.isWord(name, at: index) { return true }
    guard let (left, end) = operand(text, index) else { return false }
    let sign = try text.skippingGap(end)
    for comparison: StaticString in ["=", "<>", "!=", "<", ">", "like", "is", "in", "between"]
    where text.holds(comparison, at: sign) {
      let behind = try text.skippingGap(sign + comparison.utf8CodeUnitCount)
      guard let (right, _) = operand(text, behind) else { return true }
      return left.isLiteral || left.bytes == right.bytes
    }
    // Alone a literal is a condition only where nothing follows it but a comment.
    return left.isLiteral && !isQuote(text[index]) && (text.endsLine(end) || text.holds("--", at: sign))
  }

  private static func operand(
    _ text: ScreenedText, _ start: Int
  ) -> (value: (bytes: ArraySlice<UInt8>, isLiteral: Bool), end: Int)? {
    if isQuote(text[start]) {
      var end = start + 1
      while end < text.count, text[end] != text[start] { end += 1 }
      return ((text.bytes[min(start + 1, text.count)..<end], true), min(end + 1, text.count))
    }
    let end = text.endOfWord(start)
    if end == start { return nil }
    let isNumber = (start..<end).allSatisfy { (0x30...0x39).contains(text[$0]) }
    let isTruth = text.isWord("true", at: start) || text.isWord("null", at: start)
    return ((text.bytes[start..<end], isNumber || isTruth), end)
  }

  private static func isQuote(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") }

  /// Behind a semicolon: a verb of SQL with the word that follows it in a statement.
  private static let openings: [(StaticString, [StaticString])] = [
    ("drop", ["table", "database", "schema", "view", "index", "user"]), ("truncate", ["table"]),
    ("alter", ["table", "user", "role", "database"]), ("create", ["table", "user", "role", "database"]),
    ("delete", ["from"]), ("insert", ["into"]), ("replace", ["into"]), ("exec", ["xp_", "sp_"]),
    ("execute", ["immediate", "xp_", "sp_"]), ("grant", ["all", "select"]), ("shutdown", ["--", ";"]),
    ("attach", ["database"]), ("pragma", []), ("declare", ["@"]), ("waitfor", ["delay", "time"]),
  ]

  private static func beginsStatement(_ text: ScreenedText, _ index: Int) throws -> Bool {
    guard text.isLetter(index) else { return false }
    for (verb, followers) in openings where text.isWord(verb, at: index) {
      let next = try text.skippingGap(index + verb.utf8CodeUnitCount)
      if followers.isEmpty || followers.contains(where: { text.holds($0, at: next) }) { return true }
    }
    if text.isWord("update", at: index) { return try isAssignment(text, index + 6) }
    if text.isWord("select", at: index) { return try isSelection(text, index + 6) }
    return false
  }

  /// `update NAME set`
  private static func isAssignment(_ text: ScreenedText, _ index: Int) throws -> Bool {
    let name = try text.skippingGap(index)
    let end = text.endOfWord(name)
    return try end > name && text.isWord("set", at: text.skippingGap(end))
  }

  /// `select … from`, `select *`, `select sleep(`: within a line's length
  private static func isSelection(_ text: ScreenedText, _ start: Int) throws -> Bool {
    let first = try text.skippingGap(start)
    if text[first] == UInt8(ascii: "*") || text[first] == UInt8(ascii: "@") { return true }
    if text[text.endOfWord(first)] == UInt8(ascii: "(") { return true }
    return (first..<min(first + 120, text.count)).contains {
      !text.isWord($0 - 1) && text.isWord("from", at: $0)
    }
  }

  /// Words that stand together in nothing else: `union select`, `xp_cmdshell`, `waitfor delay '`, `into outfile '`,
  /// `information_schema.`
  private static func isTelling(_ text: ScreenedText, _ index: Int) throws -> Bool {
    if let end = text.word("union", at: index) {
      var next = try text.skippingGap(end)
      for word: StaticString in ["all", "distinct"] {
        if let behind = text.word(word, at: next) { next = try text.skippingGap(behind) }
      }
      // "the union select committee" is prose: what is selected is a column, a literal or null.
      guard let select = text.word("select", at: next) else { return false }
      return try isSelection(text, select) || isList(text, text.skippingGap(select))
    }
    if text.holds("xp_cmdshell", at: index) { return true }
    if text.holds("information_schema.", at: index) { return true }
    if let end = text.word("waitfor", at: index), let delay = try text.word("delay", at: text.skippingGap(end)) {
      return try isQuote(text[text.skippingGap(delay)])
    }
    if let end = text.word("into", at: index) {
      let next = try text.skippingGap(end)
      for word: StaticString in ["outfile", "dumpfile"] {
        if let behind = text.word(word, at: next) { return try isQuote(text[text.skippingGap(behind)]) }
      }
    }
    return false
  }

  /// `1,2`, `null,null`, `'a'`
  private static func isList(_ text: ScreenedText, _ start: Int) throws -> Bool {
    guard let (value, end) = operand(text, start) else { return false }
    return try value.isLiteral || text[text.skippingGap(end)] == UInt8(ascii: ",")
  }
}

extension ScreenedText {
  /// Comments in a gap, and brackets with gaps between them. Each of many could be the beginning of what reaches to the
  /// last of them, and that would be read as often as there are any: so more than these are not passed, and hide
  /// nothing either.
  private var mostSkipped: Int { 16 }

  /// White space, and comments, which stand for it in many an attack; a long one is read as text.
  fileprivate func skippingGap(_ start: Int) throws -> Int {
    var index = skippingSpace(start)
    var skipped = 0
    while self[index] == UInt8(ascii: "/"), self[index + 1] == UInt8(ascii: "*") {
      var end = index + 2
      let limit = min(count, index + 64)
      while end < limit, self[end] != UInt8(ascii: "*") || self[end + 1] != UInt8(ascii: "/") { end += 1 }
      if end >= limit { return index }
      if skipped == mostSkipped { throw SQLScreen.Evasion() }
      skipped += 1
      index = skippingSpace(end + 2)
    }
    if self[index] == UInt8(ascii: "+") { index = skippingSpace(index + 1) }
    return index
  }

  /// Brackets, and the gaps behind them.
  fileprivate func skipping(_ bracket: UInt8, _ start: Int) throws -> Int {
    var (index, skipped) = (start, 0)
    while self[index] == bracket {
      if skipped == mostSkipped { throw SQLScreen.Evasion() }
      skipped += 1
      index = try skippingGap(index + 1)
    }
    return index
  }

  /// Whether nothing but white space, and signs that stand for it, is left of the line.
  fileprivate func endsLine(_ start: Int) -> Bool {
    var index = start
    while index < count, self[index] != 0x0A {
      if !isSpace(index), self[index] != UInt8(ascii: "+"), self[index] != UInt8(ascii: "-") { return false }
      index += 1
    }
    return true
  }

  fileprivate func isWord(_ word: StaticString, at index: Int) -> Bool {
    holds(word, at: index) && !(isLetter(index) && isWord(index + word.utf8CodeUnitCount))
  }

  /// behind the word, when it stands here
  fileprivate func word(_ word: StaticString, at index: Int) -> Int? {
    isWord(word, at: index) ? index + word.utf8CodeUnitCount : nil
  }
}
