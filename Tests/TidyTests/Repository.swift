import Foundation

/// A place where a rule is broken, and what to do about it.
struct Finding: CustomStringConvertible, Equatable {
  let path: String
  /// 0 when the finding is about the file as a whole
  let line: Int
  let remedy: String

  init(_ path: String, _ line: Int, _ remedy: String) {
    self.path = path
    self.line = line
    self.remedy = remedy
  }

  var description: String { "\(path):\(max(1, line)): \(remedy)" }
}

/// A text file, with its path from the top of the repository.
struct SourceFile: Sendable {
  let path: String
  let bytes: [UInt8]
  /// what the compiler sees of a Swift file, taken once for all rules
  let code: SwiftCode

  init(_ path: String, _ bytes: [UInt8]) {
    self.path = path
    self.bytes = bytes
    self.code = SwiftCode(path.hasSuffix(".swift") ? bytes : [])
  }

  init(_ path: String, _ text: String) { self.init(path, Array(text.utf8)) }

  var name: String { path.split(separator: "/").last.map(String.init) ?? path }

  /// what follows the last point; empty for `LICENSE` and `.gitignore`
  var ending: String {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count > 1 && !name.hasPrefix(".") ? String(parts[parts.count - 1]) : ""
  }

  var isSwift: Bool { ending == "swift" }

  /// The directory that gives a target its name: `Sources/JSON` of `Sources/JSON/JSONText.swift`.
  var room: String? {
    let parts = path.split(separator: "/")
    return parts.count > 2 && parts[0] == "Sources" ? String(parts[1]) : nil
  }

  var lines: [ArraySlice<UInt8>] { bytes.split(separator: 0x0A, omittingEmptySubsequences: false) }
}

/// What git would track of the repository around this file. It is read from the disk and not asked of git, so that a
/// new file is judged before it is added, and an archive without a history can be tested.
struct Repository {
  static let current = Repository(
    root: URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent())

  /// every file, from the top
  let paths: [String]
  /// the names at the top
  let top: [String]
  /// the files that people read and write
  let texts: [SourceFile]
  let ignored: IgnoreList

  var swift: [SourceFile] { texts.filter(\.isSwift) }

  init(root: URL) {
    let ignored = IgnoreList((try? String(contentsOf: root.appending(path: ".gitignore"), encoding: .utf8)) ?? "")
    var paths: [String] = []
    Self.list(root, "", ignored, into: &paths)
    self.ignored = ignored
    self.paths = paths
    self.top = Set(paths.compactMap { $0.split(separator: "/").first.map(String.init) }).sorted()
    self.texts = paths.compactMap { path in
      let file = SourceFile(path, [])
      guard Self.isText(file), let data = try? Data(contentsOf: root.appending(path: path)) else { return nil }
      return SourceFile(path, [UInt8](data))
    }
  }

  private static func list(_ root: URL, _ folder: String, _ ignored: IgnoreList, into paths: inout [String]) {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: root.appending(path: folder).path)) ?? []
    for name in names.sorted() where name != ".git" && name != ".build" {
      let path = folder.isEmpty ? name : folder + "/" + name
      if ignored.contains(path) { continue }
      let values = try? root.appending(path: path).resourceValues(forKeys: [.isDirectoryKey])
      if values?.isDirectory == true { list(root, path, ignored, into: &paths) } else { paths.append(path) }
    }
  }

  private static func isText(_ file: SourceFile) -> Bool {
    let endings = [
      "swift", "c", "h", "modulemap", "sql", "py", "js", "mjs", "cjs", "ts", "mts", "md", "json", "jsonl", "yml",
      "yaml",
      "sh", "toml", "txt", "cfg",
    ]
    return endings.contains(file.ending) || file.ending.isEmpty && (file.name.hasPrefix(".") || file.name == "LICENSE")
  }
}

/// The patterns of a `.gitignore` that this house uses: a name, a path, or `*` and an ending, with or without a slash
/// behind it.
struct IgnoreList {
  let patterns: [String]
  /// the patterns that are none of these
  let unknown: [String]

  init(_ text: String) {
    let lines = text.split(whereSeparator: \.isNewline).map(String.init).filter { !$0.hasPrefix("#") }
    let known = lines.filter { line in
      !line.hasPrefix("!") && !line.dropFirst(line.hasPrefix("*.") ? 2 : 0).contains { "*?[\\".contains($0) }
    }
    self.patterns = known.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 }
    self.unknown = lines.filter { !known.contains($0) }
  }

  func contains(_ path: String) -> Bool {
    let name = path.split(separator: "/").last.map(String.init) ?? path
    return patterns.contains { pattern in
      if pattern.hasPrefix("*") { return name.hasSuffix(pattern.dropFirst()) }
      if pattern.contains("/") { return path == pattern.drop { $0 == "/" } }
      return name == pattern
    }
  }
}
