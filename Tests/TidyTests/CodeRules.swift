/// What the product's code does not say.
enum CodeRules {
  /// One use of a word that a rule forbids, and why it may stay. One that nothing needs is itself a finding.
  struct Allowance {
    let path: String
    let word: String
    let reason: String
  }

  /// Prefer changing the code. An entry needs a reason that a reader of the code would accept.
  static let traps: [Allowance] = []

  /// stdout carries the protocol and nothing else, so nothing prints; what must be said goes to stderr through the room
  /// that owns the descriptors.
  static func noPrinting(_ file: SourceFile) -> [Finding] {
    guard file.room != nil else { return [] }
    let code = file.code
    return code.words.indices.compactMap { index in
      let word = code.words[index]
      guard ["print", "debugPrint", "dump"].contains(word.text), word.behind == UInt8(ascii: "(") else { return nil }
      // A method of that name is something else, unless it is the standard library's under its full name.
      let isMember = word.before == UInt8(ascii: ".") && (index == 0 || code.words[index - 1].text != "Swift")
      return isMember ? nil : Finding(file.path, word.line, "'\(word.text)(' would write on the wire: take it out")
    }
  }

  /// Nothing that a client sends may end the process, so nothing traps on purpose.
  static func noTraps(_ file: SourceFile, allowed: [Allowance]) -> [Finding] {
    guard file.room != nil else { return [] }
    let remedies = [
      "try!": "let the error through, or catch it where it can be answered",
      "as!": "use 'as?' and say what happens otherwise",
      "fatalError": "throw an error; a bug of ours is answered as one",
      "preconditionFailure": "throw an error; a bug of ours is answered as one",
    ]
    return file.code.words.compactMap { word in
      let text = word.behind == UInt8(ascii: "!") ? word.text + "!" : word.text
      guard let remedy = remedies[text] else { return nil }
      if allowed.contains(where: { $0.path == file.path && $0.word == text }) { return nil }
      return Finding(file.path, word.line, "'\(text)' ends the process: \(remedy)")
    }
  }

  /// The allowances of `noTraps` that nothing uses.
  static func unused(_ allowed: [Allowance], _ files: [SourceFile]) -> [Finding] {
    allowed.compactMap { allowance in
      let isUsed = files.contains { file in
        file.path == allowance.path
          && noTraps(file, allowed: []).contains { $0.remedy.hasPrefix("'\(allowance.word)'") }
      }
      return isUsed
        ? nil : Finding(allowance.path, 0, "'\(allowance.word)' is gone: take its allowance out of this test")
    }
  }

  /// Memory is touched by hand only where C is called. `unsafe mutableBytes` looks at each index all the same: the word
  /// is there because of elements of which not every pattern of bits is one, as every byte is.
  static func unsafeOnlyAtTheBottom(_ file: SourceFile) -> [Finding] {
    guard let room = file.room, !["Postgres", "SQLite", "SHA256", "mcp-session-store"].contains(room) else { return [] }
    let words = file.code.words
    return words.indices.compactMap { index in
      let word = words[index]
      let isChecked = word.text == "unsafe" && words.dropFirst(index + 1).first?.text == "mutableBytes"
      guard !isChecked,
        word.text.contains("unsafe") || word.text.contains("Unsafe") || word.text == "OpaquePointer"
          || word.text == "Unmanaged"
      else { return nil }
      return Finding(
        file.path, word.line,
        "'\(word.text)' belongs to Postgres, SQLite, SHA256 and mcp-session-store: use Span or an array here")
    }
  }
}
