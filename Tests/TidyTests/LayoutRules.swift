/// Where things stand and what they are called.
enum LayoutRules {
  static let top = ["Package.swift", "Sources", "Tests", "protocol", "README.md", "LICENSE"]

  static func topLevel(_ names: [String]) -> [Finding] {
    names.filter { !top.contains($0) && !$0.hasPrefix(".") }.map {
      Finding($0, 0, "the top level holds \(top.joined(separator: ", ")) and dot files only: move it into one of them")
    }
  }

  /// A name says what is in a file. These say that nobody knew.
  static func telling(_ path: String) -> [Finding] {
    let empty: Set<String> = ["helper", "helpers", "util", "utils", "utility", "utilities", "manager", "managers"]
    let name = path.split(separator: "/").map(String.init).first { words(in: $0).contains(where: empty.contains) }
    return name.map { [Finding(path, 0, "'\($0)' does not say what is in it: name it after its noun")] } ?? []
  }

  /// `TestHTTPUtils.swift` is test, http, utils, swift.
  private static func words(in name: String) -> [String] {
    var words = [""]
    let characters = Array(" " + name + " ")
    for index in characters.indices.dropFirst().dropLast() {
      let character = characters[index]
      let isStart = characters[index - 1].isLowercase || characters[index + 1].isLowercase
      if !character.isLetter || character.isUppercase && isStart { words.append("") }
      if character.isLetter { words[words.count - 1] += character.lowercased() }
    }
    return words
  }

  /// What no target builds is dead, and nobody notices when it breaks.
  static func inATarget(_ path: String, _ manifest: Manifest) -> [Finding] {
    guard path.hasSuffix(".swift"), path.hasPrefix("Sources/") || path.hasPrefix("Tests/") else { return [] }
    if manifest.target(of: path) != nil { return [] }
    return [Finding(path, 0, "no target of Package.swift builds it: move it into one or take it out")]
  }

  /// Every type at the top level of a file of the product is used by the product, outside of its own declaration and
  /// its own extensions. A type with `@main` is used by the system. A room that no other room imports yet is not
  /// judged, for what will use it is still to be written; an executable is. Only words are compared, so a member of the
  /// same name elsewhere counts as a use.
  static func usedTypes(_ files: [SourceFile], executable: String) -> [Finding] {
    let product = files.filter { $0.room != nil && $0.isSwift }
    let imported = Set(product.flatMap { ImportRules.imports($0).map(\.module) })
    let codes = product.map(\.code)
    let declarations = codes.map(Declarations.init)
    var uses: [String: [(file: Int, offset: Int)]] = [:]
    for (file, code) in codes.enumerated() {
      for word in code.words { uses[word.text, default: []].append((file, word.range.lowerBound)) }
    }
    var findings: [Finding] = []
    for (file, declared) in declarations.enumerated() {
      guard let room = product[file].room, imported.contains(room) || room == executable else { continue }
      for type in declared.types where !type.isMain {
        let isUsed = (uses[type.name] ?? []).contains { use in
          !declarations[use.file].owned(by: type.name).contains { $0.contains(use.offset) }
        }
        if isUsed { continue }
        findings.append(Finding(product[file].path, type.line, "nothing uses \(type.name): use it or take it out"))
      }
    }
    return findings
  }
}

/// The types that a file declares at its top level, and the extensions.
private struct Declarations {
  struct Declaration {
    let name: String
    let line: Int
    let range: Range<Int>
    let isMain: Bool
    let isExtension: Bool
  }

  let all: [Declaration]

  var types: [Declaration] { all.filter { !$0.isExtension } }

  /// Where `name` is declared or extended.
  func owned(by name: String) -> [Range<Int>] { all.filter { $0.name == name }.map(\.range) }

  init(_ code: SwiftCode) {
    let kinds: Set<String> = ["struct", "class", "enum", "actor", "protocol", "typealias", "extension"]
    var all: [Declaration] = []
    var end = 0
    var isMain = false
    for (index, word) in code.words.enumerated() where word.range.lowerBound >= end {
      if word.text == "main", word.before == UInt8(ascii: "@") { isMain = true }
      if ["func", "let", "var"].contains(word.text) {
        // Locals are not at the top level: the body of a function is passed, that of a computed variable as well.
        end = Self.end(of: word, code)
        continue
      }
      guard kinds.contains(word.text), index == 0 || code.words[index - 1].text != "import",
        index + 1 < code.words.count
      else { continue }
      let name = code.words[index + 1]
      end = Self.end(of: word, code)
      all.append(
        Declaration(
          name: name.text, line: word.line, range: word.range.lowerBound..<end, isMain: isMain,
          isExtension: word.text == "extension"))
      isMain = false
    }
    self.all = all
  }

  /// Behind the braces that belong to the declaration that starts with `word`; without any, the end of its line.
  private static func end(of word: SwiftCode.Word, _ code: SwiftCode) -> Int {
    let rest = code.bytes[word.range.upperBound...]
    let newline = rest.firstIndex(of: 0x0A) ?? code.bytes.count
    guard let brace = rest.firstIndex(of: UInt8(ascii: "{")) else { return newline }
    let hasBody = word.text != "typealias" && !["let", "var"].contains(word.text) || brace < newline
    return hasBody ? code.end(ofBracketFrom: brace, "{", "}") : newline
  }
}
