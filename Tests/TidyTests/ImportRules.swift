/// What a room may import.
enum ImportRules {
  /// The rooms, top floor first. A room may import only what stands below it.
  static let floors = [
    "mcp-session-store", "Sidecar", "SessionStore", "JSONRPC", "Database", "Postgres", "SQLite", "JSON",
    "SHA256", "CSQLite", "CSHA256",
  ]

  /// Who may know which engine a database has. Everybody else asks Database, which does not say.
  static let engines = [
    "SQLite": [
      "Sources/Database/", "Sources/SessionStore/File/",
      // The thread of a job is of that room.
      "Sources/Sidecar/Machine/Jobs.swift", "Sources/Sidecar/Contract/ErrorTable.swift",
    ],
    "Postgres": ["Sources/Database/"],
  ]

  /// Rooms of C, and the one that may import each.
  static let wrappers = ["CSQLite": "SQLite", "CSHA256": "SHA256"]

  /// Modules from outside of the package, and the rooms that may import them; nil is any room.
  static let outside: [String: [String]?] = [
    "Synchronization": nil,
    "Glibc": ["Postgres", "SQLite", "mcp-session-store"],
  ]

  struct Import {
    let module: String
    let line: Int
  }

  static func imports(_ file: SourceFile) -> [Import] {
    let kinds: Set<String> = ["struct", "class", "enum", "protocol", "typealias", "func", "let", "var"]
    let code = file.code
    return code.words.indices.compactMap { index in
      let word = code.words[index]
      guard word.text == "import", word.before != UInt8(ascii: "."), word.before != UInt8(ascii: "`") else {
        return nil
      }
      let module = code.words[(index + 1)...].first { !kinds.contains($0.text) }
      return module.map { Import(module: $0.text, line: word.line) }
    }
  }

  /// A static binary with Foundation is seven times as large and starts in three times the time.
  static func noFoundation(_ file: SourceFile) -> [Finding] {
    guard file.room != nil else { return [] }
    return imports(file).filter { $0.module.hasPrefix("Foundation") }.map {
      Finding(
        file.path, $0.line, "the product does without \($0.module): use the standard library or write what is needed")
    }
  }

  /// A file imports only rooms below its own that its target lists; SwiftPM lets undeclared imports pass.
  static func floors(_ file: SourceFile, _ manifest: Manifest) -> [Finding] {
    guard let room = file.room else { return [] }
    guard let floor = floors.firstIndex(of: room) else {
      return [Finding(file.path, 0, "'\(room)' stands on no floor: add it to the floors in this test or move the file")]
    }
    return imports(file).compactMap { found in
      func finding(_ remedy: String) -> Finding { Finding(file.path, found.line, remedy) }
      guard let imported = floors.firstIndex(where: { module(of: $0) == found.module }) else {
        if found.module.hasPrefix("Foundation") { return nil }  // the rule above
        guard let rooms = outside[found.module] else {
          return finding("no room imports \(found.module): the product stands on the standard library and SQLite alone")
        }
        if let rooms, !rooms.contains(room) {
          return finding("only \(rooms.joined(separator: " and ")) may import \(found.module): ask that room for it")
        }
        return nil
      }
      if imported <= floor {
        return finding("\(room) does not stand above \(floors[imported]): move what is needed down or hand it in")
      }
      if let wrapper = wrappers[floors[imported]], room != wrapper {
        return finding("only \(wrapper) imports \(floors[imported]): wrap in that room what is needed")
      }
      if let places = engines[floors[imported]], !places.contains(where: { file.path.hasPrefix($0) }) {
        return finding("ask Database: only \(places.joined(separator: ", ")) may import \(floors[imported])")
      }
      return undeclared(found, in: file, manifest)
    }
  }

  /// A test, too, imports only targets of the package that its own target lists.
  static func declared(_ file: SourceFile, _ manifest: Manifest) -> [Finding] {
    guard file.path.hasPrefix("Tests/") else { return [] }
    return imports(file).compactMap { undeclared($0, in: file, manifest) }
  }

  private static func undeclared(_ found: Import, in file: SourceFile, _ manifest: Manifest) -> Finding? {
    guard let target = manifest.target(of: file.path),
      let imported = manifest.targets.first(where: { $0.module == found.module }),
      !target.dependencies.contains(imported.name)
    else { return nil }
    return Finding(
      file.path, found.line,
      "list \"\(imported.name)\" as a dependency of \(target.name) in Package.swift, or do without")
  }

  /// Package.swift has the floors in their order, and no room lists one that is not below it, or anything that is there
  /// for tests.
  static func order(_ manifest: Manifest) -> [Finding] {
    let rooms = manifest.targets.filter { $0.folder.hasPrefix("Sources/") }
    var findings: [Finding] = []
    if rooms.map(\.name) != floors {
      findings.append(
        Finding(manifest.path, rooms.first?.line ?? 0, "the rooms stand in the order \(floors), top first"))
    }
    for room in rooms {
      for dependency in room.dependencies where isBelow(room.name, dependency) == false {
        findings.append(
          Finding(manifest.path, room.line, "\(room.name) does not stand above \(dependency): take it out"))
      }
    }
    return findings
  }

  private static func isBelow(_ upper: String, _ lower: String) -> Bool {
    guard let high = floors.firstIndex(of: upper), let low = floors.firstIndex(of: lower) else { return false }
    return high < low
  }

  private static func module(of room: String) -> String { String(room.map { $0 == "-" ? "_" : $0 }) }
}
