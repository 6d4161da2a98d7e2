import Testing

/// That each rule can fail, and does not where nothing is wrong: the rules on texts planted for them.
@Suite struct PlantedTests {
  private let manifest = Manifest(
    SourceFile(
      "Package.swift",
      """
      let package = Package(
        name: "p", // .target(name: "Comment")
        targets: [
          .executableTarget(name: "mcp-session-store", dependencies: ["Sidecar", "SessionStore"], cSettings: gnu),
          .target(name: "Sidecar", dependencies: ["SessionStore", .target(name: "JSON")], swiftSettings: [.a("b")]),
          .target(
            name: "SessionStore",
            dependencies: ["Database", "JSON"]
          ),
          .target(name: "JSONRPC", dependencies: ["JSON"]),
          .target(name: "Database", dependencies: ["SQLite"]),
          .target(name: "Postgres"),
          .target(name: "SQLite", dependencies: ["CSQLite"]),
          .target(name: "JSON"),
          .target(name: "SHA256"),
          .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
          .systemLibrary(name: "CSHA256"),
          .testTarget(name: "JSONTests", dependencies: ["JSON"]),
          .target(name: "CTool", path: "Tests/Tool"),
        ])

      """))

  private func source(_ text: String, in room: String = "Sidecar") -> SourceFile {
    SourceFile("Sources/\(room)/A.swift", text)
  }

  private func lines(_ findings: [Finding]) -> [Int] { findings.map(\.line) }

  private func noun(_ text: String) -> SourceFile { SourceFile("Sources/SessionStore/Events/A.swift", text) }

  @Test func aNounDoesNotSpeakForTheServer() {
    #expect(lines(StoreRules.serverSpeaks(noun("a(.server)\nb(owner: .server)\nserver(c.servers)"))) == [1, 2])
    #expect(StoreRules.serverSpeaks(SourceFile("Sources/SessionStore/File/A.swift", "a(.server)")).isEmpty)
    #expect(StoreRules.unusedServers([noun("a")]).count == StoreRules.servers.count)
  }

  @Test func aStatementOfASessionAsksForItsRows() {
    let text = """
      tables.statement(of: a, "SELECT b FROM events WHERE session = $1")
      tables.statement(of: a, "SELECT b FROM events")
      tables.statement(of: a, as: 2, "UPDATE sessions SET b = $1 WHERE number = $2")
      tables.statement(of: a, as: 2, "UPDATE sessions SET b = $1 WHERE number > $2")
      tables.statement(of: a, "INSERT INTO events (session, id) VALUES ($1, $2)")
      tables.statement(of: a, "INSERT INTO events (id) VALUES ($1)")
      tables.statement(.server, "SELECT b FROM events")
      """
    #expect(lines(StoreRules.scopeIsBound(noun(text))) == [2, 4, 6])
  }

  @Test func bytesThatAreBoundBesidePayloadsAreFound() {
    let text = "a.bind(1, text: b)\na.run(binding: 1,\n  b.c(), text: d)\na.bind(1, b)\na.run(text: b)"
    #expect(lines(StoreRules.payloadsAreChecked(noun(text))) == [1, 2])
    #expect(StoreRules.payloadsAreChecked(SourceFile("Sources/SessionStore/Store/Payload.swift", text)).isEmpty)
  }

  @Test func deletesThatDoNotAskAreFound() {
    let text = """
      "DELETE FROM tasks WHERE number = $1"
      "DELETE FROM nonces WHERE nonce = $1"
      DELETE FROM events WHERE session = $1
      """
    #expect(lines(StoreRules.deletesAsk(noun(text))) == [1, 3])
    #expect(lines(StoreRules.deletesAsk(SourceFile("Sources/SessionStore/Tasks/Tasks.swift", text))) == [3])
  }

  @Test func reckoningWithNumbersFromOutsideIsFound() {
    let text = """
      a = row.createdAt + ttl
      a = now - row.lastActivity
      a = b * self.window
      (Saturating(createdAt) + ttl).value
      a = row.createdAt
      a(ttl: -1, createdAt: b + c) -> ttl
      // ttl + 1
      a = -ttl
      row.expiresAt += 1
      """
    #expect(lines(StoreRules.numbersSaturate(noun(text))) == [1, 1, 2, 3, 8, 9])
  }

  @Test func aFindingNamesFileLineAndRemedy() {
    #expect(Finding("a/b.swift", 3, "mend it").description == "a/b.swift:3: mend it")
    #expect(Finding("a/b.swift", 0, "move it").description == "a/b.swift:1: move it")
  }

  // MARK: - Reading code

  @Test func codeIsToldFromCommentsAndText() {
    let text = ##"""
      a // b "c
      /* d /* e */ f " */ g "h \"i\" \(j + "k" + (l)) m" n
      """
      o "p" \(q)
      """ r
      #"s \(t) \#(u) " v"# w #if x
      "\\" y "" z
      """##
    let words = source(text).code.words
    #expect(words.map(\.text) == ["a", "g", "j", "l", "n", "q", "r", "u", "w", "if", "x", "y", "z"])
    #expect(words.map(\.line) == [1, 2, 2, 2, 2, 4, 5, 6, 6, 6, 6, 7, 7])
    #expect(source(text).code.bytes.count == text.utf8.count)
  }

  @Test func codeThatBreaksOffIsReadToItsEnd() {
    for text in [
      "\"", "\"\\", "\"\\(", "\"\\(\"", "#\"", "#", "/*", "/* /*", "\"\"\"", "\"\"\"a", "a\"b\nc", "//", "(",
    ] {
      #expect(source(text).code.bytes.count == text.utf8.count, "\(text)")
    }
  }

  @Test func theManifestIsRead() {
    #expect(manifest.targets.map(\.name) == ImportRules.floors + ["JSONTests", "CTool"])
    #expect(manifest.targets.map(\.dependencies.count) == [2, 2, 2, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0])
    #expect(manifest.targets[1].dependencies == ["SessionStore", "JSON"])
    #expect(manifest.targets[2].dependencies == ["Database", "JSON"])
    #expect(manifest.targets.map(\.folder).suffix(2) == ["Tests/JSONTests", "Tests/Tool"])
    #expect(manifest.targets[2].line == 6)
    #expect(manifest.target(of: "Sources/JSON/A.swift")?.name == "JSON")
    #expect(manifest.target(of: "Sources/JSONRPC/A.swift")?.name == "JSONRPC")
    #expect(manifest.target(of: "Tests/Tool/a.c")?.name == "CTool")
  }

  @Test func ignoredFilesAreNotRead() {
    let ignored = IgnoreList("# comment\n.build/\n\n*.pyc\n__pycache__/\n/protocol/out\nPackage.resolved\n!kept\na?b\n")
    for path in [".build", "a/.build", "a/b.pyc", "x/__pycache__", "protocol/out", "Package.resolved"] {
      #expect(ignored.contains(path), "\(path)")
    }
    for path in ["build", "a.py", "x/protocol/out", "Package.swift", ".buildx"] { #expect(!ignored.contains(path)) }
    #expect(ignored.unknown == ["!kept", "a?b"])
  }

  // MARK: - Imports

  @Test func foundationInTheProduct() {
    let text = """
      import JSON
      package import Foundation
      @preconcurrency internal import FoundationEssentials
      import struct Foundation.Data
      // import Foundation
      let text = "import Foundation"

      """
    #expect(lines(ImportRules.noFoundation(source(text))) == [2, 3, 4])
    #expect(ImportRules.noFoundation(SourceFile("Tests/A/A.swift", text)).isEmpty)
  }

  @Test func importsAgainstTheFloors() {
    func findings(_ module: String, in room: String) -> Int {
      ImportRules.floors(source("\n  @_exported import \(module)\n", in: room), manifest).filter { $0.line == 2 }.count
    }
    // downwards and declared
    #expect(findings("SessionStore", in: "Sidecar") == 0)
    #expect(findings("JSON", in: "SessionStore") == 0)
    #expect(findings("CSQLite", in: "SQLite") == 0)
    #expect(findings("Synchronization", in: "JSON") == 0)
    #expect(findings("Glibc", in: "SQLite") == 0)
    #expect(findings("Glibc", in: "mcp-session-store") == 0)
    // upwards, itself, or not declared
    #expect(findings("Sidecar", in: "SessionStore") == 1)
    #expect(findings("mcp_session_store", in: "JSON") == 1)
    #expect(findings("JSON", in: "JSON") == 1)
    #expect(findings("SQLite", in: "Sidecar") == 1)
    #expect(findings("JSON", in: "SQLite") == 1)
    #expect(findings("JSON", in: "mcp-session-store") == 1)
    // what only some rooms may import, or none
    #expect(findings("CSQLite", in: "SessionStore") == 1)
    #expect(findings("SQLite", in: "SessionStore") == 1)
    #expect(findings("SQLite", in: "Database") == 0)
    #expect(findings("Glibc", in: "Sidecar") == 1)
    #expect(findings("Dispatch", in: "mcp-session-store") == 1)
    #expect(findings("JSON", in: "Cellar") == 0)
    #expect(ImportRules.floors(source("", in: "Cellar"), manifest).count == 1)
  }

  @Test func testsThatImportWhatTheyDoNotList() {
    let text = "import Foundation\nimport JSON\nimport SQLite\n"
    #expect(lines(ImportRules.declared(SourceFile("Tests/JSONTests/A.swift", text), manifest)) == [3])
    #expect(ImportRules.declared(source(text), manifest).isEmpty)
  }

  @Test func theOrderOfTheFloors() {
    #expect(ImportRules.order(manifest).isEmpty)
    let upside = """
      .target(name: "JSON", dependencies: ["JSONRPC"]),
      .target(name: "JSONRPC", dependencies: ["JSON"]),

      """
    #expect(lines(ImportRules.order(Manifest(SourceFile("Package.swift", upside)))) == [1, 1])
    let tested = """
      .target(name: "JSON", dependencies: ["Faults"]),
      .target(name: "Faults", path: "Tests/Faults"),

      """
    let findings = ImportRules.order(Manifest(SourceFile("Package.swift", tested)))
    #expect(findings.filter { $0.remedy.contains("Faults") }.map(\.line) == [1])
  }

  // MARK: - Code

  @Test func printing() {
    let text = """
      print("x")
      debugPrint (x)
      Swift.print(x); dump(x)
      writer.print(x)
      let print = 1
      blueprint(x)
      // print(x)
      "print(x) \\(dump(x))"
      debugPrint(x)

      """
    #expect(lines(CodeRules.noPrinting(source(text))) == [1, 3, 3, 8, 9])
    #expect(CodeRules.noPrinting(SourceFile("Tests/A/A.swift", text)).isEmpty)
  }

  @Test func traps() {
    let text = """
      try? a as? B
      try! a
      a as! B
      fatalError("x")
      preconditionFailure()
      // try! fatalError
      if a != b {}

      """
    #expect(lines(CodeRules.noTraps(source(text), allowed: [])) == [2, 3, 4, 5])
    let used = CodeRules.Allowance(path: "Sources/Sidecar/A.swift", word: "try!", reason: "")
    let other = CodeRules.Allowance(path: "Sources/Sidecar/B.swift", word: "as!", reason: "")
    #expect(lines(CodeRules.noTraps(source(text), allowed: [used, other])) == [3, 4, 5])
    #expect(CodeRules.unused([used, other], [source(text)]).map(\.path) == [other.path])
    #expect(CodeRules.unused([used], [source("try? a\n")]).count == 1)
  }

  @Test func unsafeCode() {
    let text = """
      unsafe f()
      var p: UnsafePointer<UInt8>
      a.withUnsafeBytes { _ in }
      nonisolated(unsafe) var x = 1
      var o: OpaquePointer
      unsafeBitCast(a, to: B.self)
      // unsafe
      let safe = 1
      var bytes = unsafe mutableBytes

      """
    #expect(lines(CodeRules.unsafeOnlyAtTheBottom(source(text))) == [1, 2, 3, 4, 5, 6])
    #expect(CodeRules.unsafeOnlyAtTheBottom(source(text, in: "SQLite")).isEmpty)
    #expect(CodeRules.unsafeOnlyAtTheBottom(source(text, in: "mcp-session-store")).isEmpty)
  }

  // MARK: - Text

  @Test func longLines() {
    let fits = String(repeating: "\u{E9}", count: 120)
    let long = fits + "x"
    for ending in ["swift", "c", "h", "py", "js", "mjs", "ts", "md"] {
      #expect(lines(TextRules.lineLength(SourceFile("a.\(ending)", "\(fits)\n\(long)\n"))) == [2], "\(ending)")
    }
    #expect(TextRules.lineLength(SourceFile("a.json", long)).isEmpty)
    let prose = """
      | \(long) |
      ```
      \(long)
      ```
      \(fits.dropLast(3))[a](https://example.org/\(long))
      See https://example.org/\(long) and more.
      \(long)
      See https://example.org/ \(long)

      """
    #expect(lines(TextRules.lineLength(SourceFile("a.md", prose))) == [7, 8])
  }

  @Test func tabs() {
    #expect(lines(TextRules.noTabs(source("a\n\tb\n\"\t\"\n"))) == [2, 3])
    #expect(TextRules.noTabs(SourceFile("a.c", "\t\n")).isEmpty)
  }

  @Test func trailingWhiteSpace() {
    #expect(lines(TextRules.noTrailingSpace(source("a\nb \nc\t\nd\r\n \n"))) == [2, 3, 4, 5])
  }

  @Test func endsOfFiles() {
    #expect(TextRules.oneNewlineAtTheEnd(source("")).isEmpty)
    #expect(TextRules.oneNewlineAtTheEnd(source("a\n")).isEmpty)
    #expect(lines(TextRules.oneNewlineAtTheEnd(source("a\nb"))) == [2])
    #expect(lines(TextRules.oneNewlineAtTheEnd(source("a\n\n"))) == [2])
    #expect(lines(TextRules.oneNewlineAtTheEnd(source("\n"))) == [1])
  }

  @Test func invalidUTF8() {
    #expect(lines(TextRules.validUTF8(SourceFile("a.md", Array("a\nb".utf8) + [0xFF, 0x0A]))) == [2])
  }

  @Test func postponedWork() {
    let marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X"]
    for mark in marks {
      #expect(lines(TextRules.noPostponedWork(SourceFile("a.md", "a\n// \(mark): b\n\"\(mark)\"\n"))) == [2, 3])
      #expect(TextRules.noPostponedWork(source("a\(mark) \(mark)X \(mark.lowercased())\n")).isEmpty)
    }
  }

  @Test func machinePaths() {
    for place in ["wo" + "rk", "ho" + "me", "ro" + "ot", "tmp/" + "wt", "Us" + "ers"] {
      let text = "see /\(place)/a\n`/\(place)/`\nfile:///\(place)/a\n"
      #expect(lines(TextRules.noMachinePaths(SourceFile("a.json", text))) == [1, 2, 3])
      #expect(TextRules.noMachinePaths(source("a/\(place)/b example.org/\(place)/ ../\(place)/ /\(place)\n")).isEmpty)
    }
  }

  // MARK: - Layout

  @Test func theTopLevel() {
    let names = ["Package.swift", "Sources", "Tests", "protocol", "README.md", "LICENSE", ".gitignore", "docs", "a.sh"]
    #expect(LayoutRules.topLevel(names).map(\.path) == ["docs", "a.sh"])
  }

  @Test func emptyNames() {
    for path in [
      "a/Helpers.swift", "a/utils.py", "a/UTILS.js", "a/TestHelper.swift", "SessionManager.swift", "a/http_utils.c",
      "helpers/a.swift", "a/MCPUtils.swift", "a/manager",
    ] {
      #expect(LayoutRules.telling(path).count == 1, "\(path)")
    }
    for path in ["a/Utilization.swift", "a/Sessions.swift", "a/Management.md", "a/Scrutils.swift"] {
      #expect(LayoutRules.telling(path).isEmpty, "\(path)")
    }
  }

  @Test func filesWithoutATarget() {
    for path in ["Sources/A.swift", "Sources/Old/A.swift", "Tests/A.swift", "Tests/OldTests/A.swift"] {
      #expect(LayoutRules.inATarget(path, manifest).count == 1, "\(path)")
    }
    for path in ["Sources/JSON/A.swift", "Sources/JSON/B/A.swift", "Tests/JSONTests/A.swift", "Tests/x.py", "a.swift"] {
      #expect(LayoutRules.inATarget(path, manifest).isEmpty, "\(path)")
    }
  }

  @Test func typesWithoutAUse() {
    let used = """
      import Elsewhere
      package struct Used { let own: Alone? }

      extension Alone { static func f() -> Alone { Alone() } }

      /// Alone
      let text = "Alone"
      struct Alone { let x: Alone }
      protocol Lonely {}
      typealias Short = Used
      private func f() {
        struct Local {}
      }
      enum Solitary {
        struct Inner {}
      }
      extension Solitary: Equatable {}

      """
    let main = """
      import JSON
      @main
      enum Main { static func main() { _ = 0 as Short } }
      final class Idle {}

      """
    let files = [
      SourceFile("Sources/JSON/A.swift", used),
      SourceFile("Sources/app/Main.swift", main),
      SourceFile("Sources/Unimported/A.swift", "struct Later {}\n"),
      SourceFile("Tests/JSONTests/A.swift", "import Unimported\nlet later: Lonely & Solitary\n"),
    ]
    let findings = LayoutRules.usedTypes(files, executable: "app")
    #expect(
      findings.map(\.description).map { $0.prefix { $0 != " " } } == [
        "Sources/JSON/A.swift:9:", "Sources/JSON/A.swift:14:", "Sources/app/Main.swift:4:",
      ])
    let apart = files.map {
      SourceFile($0.path, String(decoding: $0.bytes, as: UTF8.self).replacing("own: Alone?", with: "own: Int"))
    }
    #expect(lines(LayoutRules.usedTypes(apart, executable: "app")).first == 8)
  }
}
