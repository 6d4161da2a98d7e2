import Testing

/// The rules of the house, held against the repository around this file. What each rule asks for, and why, stands
/// beside it in the files of this target; each failure names a file, a line and what to do.
///
/// Not looked for: `!` behind an optional, because it is also how a noncopyable one is borrowed.
@Suite struct TidyTests {
  private let repository = Repository.current
  private let manifest: Manifest

  init() throws {
    manifest = Manifest(try #require(repository.texts.first { $0.path == "Package.swift" }))
  }

  private func report(_ findings: [Finding]) {
    for finding in findings { Issue.record("\(finding)") }
  }

  /// A rule that looked at nothing would hold for ever.
  @Test func theRepositoryIsFound() {
    #expect(repository.swift.contains { $0.path == "Sources/JSON/JSONScanner.swift" })
    #expect(repository.swift.contains { $0.path == "Tests/TidyTests/TidyTests.swift" })
    #expect(manifest.targets.contains { $0.name == "TidyTests" && $0.folder == "Tests/TidyTests" })
    #expect(repository.top.contains(".gitignore"))
    #expect(repository.ignored.unknown.isEmpty, "teach IgnoreList these patterns of .gitignore")
  }

  // MARK: - Imports

  @Test func theProductDoesWithoutFoundation() { report(repository.swift.flatMap(ImportRules.noFoundation)) }

  @Test func roomsImportOnlyFloorsBelow() {
    report(ImportRules.order(manifest) + repository.swift.flatMap { ImportRules.floors($0, manifest) })
  }

  @Test func testsImportWhatTheirTargetLists() {
    report(repository.swift.flatMap { ImportRules.declared($0, manifest) })
  }

  // MARK: - Code

  @Test func nothingPrints() { report(repository.swift.flatMap(CodeRules.noPrinting)) }

  @Test func nothingTrapsOnPurpose() {
    report(repository.swift.flatMap { CodeRules.noTraps($0, allowed: CodeRules.traps) })
    report(CodeRules.unused(CodeRules.traps, repository.swift))
  }

  @Test func unsafeCodeStaysAtTheBottom() { report(repository.swift.flatMap(CodeRules.unsafeOnlyAtTheBottom)) }

  @Test func rowsAreAskedForBySomebody() {
    report(repository.swift.flatMap(StoreRules.serverSpeaks) + StoreRules.unusedServers(repository.swift))
    report(repository.swift.flatMap(StoreRules.scopeIsBound))
  }

  @Test func payloadsAreChecked() { report(repository.swift.flatMap(StoreRules.payloadsAreChecked)) }

  @Test func deletesAsk() { report(repository.swift.flatMap(StoreRules.deletesAsk)) }

  @Test func numbersFromOutsideSaturate() { report(repository.swift.flatMap(StoreRules.numbersSaturate)) }

  // MARK: - Text

  @Test func linesAreNotLong() { report(repository.texts.flatMap(TextRules.lineLength)) }

  @Test func swiftHasNoTabs() { report(repository.texts.flatMap(TextRules.noTabs)) }

  @Test func linesEndWithoutWhiteSpace() { report(repository.texts.flatMap(TextRules.noTrailingSpace)) }

  @Test func filesEndWithOneNewline() { report(repository.texts.flatMap(TextRules.oneNewlineAtTheEnd)) }

  @Test func textIsUTF8() { report(repository.texts.flatMap(TextRules.validUTF8)) }

  @Test func nothingIsPostponedInTheText() { report(repository.texts.flatMap(TextRules.noPostponedWork)) }

  @Test func noPathOfAMachine() { report(repository.texts.flatMap(TextRules.noMachinePaths)) }

  // MARK: - Layout

  @Test func theTopLevelStaysAsItIs() { report(LayoutRules.topLevel(repository.top)) }

  @Test func namesTell() { report(repository.paths.flatMap(LayoutRules.telling)) }

  @Test func everySwiftFileIsInATarget() { report(repository.paths.flatMap { LayoutRules.inATarget($0, manifest) }) }

  @Test func everyTypeIsUsed() {
    report(LayoutRules.usedTypes(repository.swift, executable: "mcp-session-store"))
  }
}
