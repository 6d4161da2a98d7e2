/// How text files look.
enum TextRules {
  static let limit = 120

  /// A line has at most 120 characters. In Markdown, tables, code blocks and the targets of links may be longer.
  static func lineLength(_ file: SourceFile) -> [Finding] {
    let isMarkdown = file.ending == "md"
    guard isMarkdown || ["swift", "c", "h", "modulemap", "py", "js", "mjs", "cjs", "ts", "mts"].contains(file.ending)
    else { return [] }
    var inCode = false
    var findings: [Finding] = []
    for (index, bytes) in file.lines.enumerated() {
      var line = String(decoding: bytes, as: UTF8.self)
      if isMarkdown {
        let start = line.drop { $0 == " " }
        if start.hasPrefix("```") || start.hasPrefix("~~~") { inCode.toggle() }
        if inCode || start.hasPrefix("|") { continue }
        if line.utf8.count > limit { line = withoutLinks(line) }
      }
      if line.utf8.count > limit, line.count > limit {
        findings.append(Finding(file.path, index + 1, "\(line.count) characters: break the line at \(limit)"))
      }
    }
    return findings
  }

  /// The line without the targets of `[text](target)` and without addresses.
  private static func withoutLinks(_ line: String) -> String {
    var kept = ""
    var rest = line[...]
    while let first = rest.first {
      if rest.hasPrefix("](") {
        rest = rest.drop { $0 != ")" }
      } else if rest.hasPrefix("https://") || rest.hasPrefix("http://") {
        rest = rest.drop { !" )>]".contains($0) }
      } else {
        kept.append(first)
        rest = rest.dropFirst()
      }
    }
    return kept
  }

  static func noTabs(_ file: SourceFile) -> [Finding] {
    guard file.isSwift else { return [] }
    return file.lines.enumerated().filter { $0.element.contains(0x09) }.map {
      Finding(file.path, $0.offset + 1, "a tab: indent with spaces, and write \\t in a string")
    }
  }

  static func noTrailingSpace(_ file: SourceFile) -> [Finding] {
    file.lines.enumerated().filter { [0x20, 0x09, 0x0D].contains($0.element.last ?? 0) }.map {
      Finding(file.path, $0.offset + 1, "white space at the end of the line: take it out")
    }
  }

  /// A file that is not empty ends with one newline.
  static func oneNewlineAtTheEnd(_ file: SourceFile) -> [Finding] {
    if file.bytes.isEmpty { return [] }
    let lines = file.lines
    if file.bytes.last != 0x0A { return [Finding(file.path, lines.count, "the last line has no newline: end it")] }
    if file.bytes == [0x0A] || file.bytes.suffix(2) == [0x0A, 0x0A] {
      return [Finding(file.path, lines.count - 1, "an empty line at the end of the file: take it out")]
    }
    return []
  }

  static func validUTF8(_ file: SourceFile) -> [Finding] {
    file.lines.enumerated().filter { String(validating: $0.element, as: UTF8.self) == nil }.map {
      Finding(file.path, $0.offset + 1, "no valid UTF-8: save the file as UTF-8")
    }
  }

  /// What is to be done is done, or it is an entry in the list of work; a mark in the text is neither.
  static func noPostponedWork(_ file: SourceFile) -> [Finding] {
    // Put together, so that this file does not find itself.
    let marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X"]
    return file.lines.enumerated().flatMap { index, line in
      marks.filter { holds(line, $0) { before, behind in !isWord(before) && !isWord(behind) } }.map {
        Finding(file.path, index + 1, "\($0): do it or take the line out")
      }
    }
  }

  /// A path of the machine that a file was written on means nothing on any other.
  static func noMachinePaths(_ file: SourceFile) -> [Finding] {
    let places = ["wo" + "rk", "ho" + "me", "ro" + "ot", "tmp/" + "wt", "Us" + "ers"].map { "/" + $0 + "/" }
    return file.lines.enumerated().flatMap { index, line in
      // Behind a letter, a point or a dash it is part of a longer path or of an address.
      places.filter { holds(line, $0) { before, _ in !isWord(before) && !Array(".-".utf8).contains(before) } }.map {
        Finding(file.path, index + 1, "'\($0)' is a path of one machine: say where from the repository or $HOME it is")
      }
    }
  }

  private static func isWord(_ byte: UInt8) -> Bool { SwiftCode.isWordByte(byte) }

  /// Whether `text` stands in `line` between bytes that `accepts` likes; 0 stands for the line's ends.
  private static func holds(_ line: ArraySlice<UInt8>, _ text: String, _ accepts: (UInt8, UInt8) -> Bool) -> Bool {
    let wanted = Array(text.utf8)
    guard line.count >= wanted.count else { return false }
    for start in line.startIndex...line.endIndex - wanted.count where line[start] == wanted[0] {
      let end = start + wanted.count
      guard line[start..<end].elementsEqual(wanted) else { continue }
      if accepts(start > line.startIndex ? line[start - 1] : 0, end < line.endIndex ? line[end] : 0) { return true }
    }
    return false
  }
}
