/// The targets of Package.swift, read as text: SwiftPM, run by a test, would wait for the lock that the test run holds.
struct Manifest {
  struct Target: Equatable {
    let name: String
    let folder: String
    let dependencies: [String]
    let line: Int

    /// as an import names it
    var module: String { String(name.map { $0 == "-" ? "_" : $0 }) }
  }

  let path: String
  let targets: [Target]

  init(_ file: SourceFile) {
    let code = file.code
    let kinds = ["target": "Sources", "executableTarget": "Sources", "systemLibrary": "Sources", "testTarget": "Tests"]
    var targets: [Target] = []
    var end = 0
    for word in code.words where word.before == UInt8(ascii: ".") && word.behind == UInt8(ascii: "(") {
      // What stands inside of a target, such as a dependency, is none itself.
      guard let folder = kinds[word.text], word.range.lowerBound >= end else { continue }
      end = code.end(ofBracketFrom: word.range.upperBound, "(", ")")
      let call = word.range.upperBound..<end
      guard let name = Self.strings(behind: "name", in: call, of: code, file).first else { continue }
      let path = Self.strings(behind: "path", in: call, of: code, file).first
      targets.append(
        Target(
          name: name, folder: path ?? folder + "/" + name,
          dependencies: Self.strings(behind: "dependencies", in: call, of: code, file), line: word.line))
    }
    self.path = file.path
    self.targets = targets
  }

  /// The target whose folder holds `path`.
  func target(of path: String) -> Target? {
    targets.filter { path.hasPrefix($0.folder + "/") }.max { $0.folder.utf8.count < $1.folder.utf8.count }
  }

  /// The literal behind `label:`, or all literals of the brackets there.
  private static func strings(
    behind label: String, in call: Range<Int>, of code: SwiftCode, _ file: SourceFile
  ) -> [String] {
    guard
      let word = code.words.first(where: {
        $0.text == label && call.contains($0.range.lowerBound) && $0.behind == UInt8(ascii: ":")
      }), let start = (word.range.upperBound + 1..<call.upperBound).first(where: { code.bytes[$0] > 0x20 })
    else { return [] }
    let isList = code.bytes[start] == UInt8(ascii: "[")
    let end = isList ? code.end(ofBracketFrom: start, "[", "]") : call.upperBound
    var strings: [String] = []
    var quote: Int?
    for index in start..<end where code.bytes[index] == UInt8(ascii: "\"") {
      guard let opening = quote else {
        quote = index
        continue
      }
      strings.append(String(decoding: file.bytes[opening + 1..<index], as: UTF8.self))
      if !isList { break }
      quote = nil
    }
    return strings
  }
}
