import JSON
import JSONReference
import Testing

/// What is JSON and what is not, by tables that hold every class of case of the public parsing test suites: what every
/// parser must accept, what every parser must reject, and what RFC 8259 leaves to each.
@Suite struct ConformanceTests {
  // Loops, not parameters: one line for each of a thousand cases would bury what a run says.
  @Test func accepts() {
    for text in Accepted.all { #expect(verdict(text.bytes) == nil, "\(text.name)") }
  }

  @Test func rejectsAndSaysWhere() {
    for text in Rejected.all { #expect(verdict(text.bytes) == text.error, "\(text.name)") }
  }

  @Test func decidesWhatIsLeftOpen() {
    for text in Either.all {
      #expect(verdict(text.bytes) == text.error, "\(text.name), because \(text.reason)")
    }
  }

  /// White space before a text and values before it change nothing but the offset.
  @Test func rejectsBehindOtherBytes() {
    for text in Rejected.all {
      // Bytes behind the end are no longer that inside an array, and a nesting limit comes earlier.
      if case .trailingBytes = text.error.problem { continue }
      if case .tooDeep = text.error.problem { continue }
      let error = JSONError(text.error.problem, at: text.error.offset + 5)
      #expect(verdict(Array(" \t\r\n ".utf8) + text.bytes) == error, "\(text.name), behind white space")
      #expect(verdict(Array("[{ },".utf8) + text.bytes) == error, "\(text.name), in an array")
    }
  }

  /// The tables stand for themselves only if the plain grammar says the same of them.
  @Test func theGrammarAgreesWithTheTables() {
    for text in Accepted.all { #expect(Grammar.accepts(text.bytes), "\(text.name)") }
    for text in Rejected.all { #expect(!Grammar.accepts(text.bytes), "\(text.name)") }
    for text in Either.all { #expect(Grammar.accepts(text.bytes) == (text.error == nil), "\(text.name)") }
  }

  @Test func noCaseStandsTwice() {
    let texts = Accepted.all.map(\.bytes) + Rejected.all.map(\.bytes)
    let names = Accepted.all.map(\.name) + Rejected.all.map(\.name) + Either.all.map(\.name)
    for (group, count) in Dictionary(texts.map { ($0, 1) }, uniquingKeysWith: +) where count > 1 {
      Issue.record("twice in the tables: \(shown(group))")
    }
    for (group, count) in Dictionary(names.map { ($0, 1) }, uniquingKeysWith: +) where count > 1 {
      Issue.record("two cases are called \(group)")
    }
  }

  @Test func onlyFourBytesAreWhiteSpace() {
    for byte in UInt8.min...UInt8.max {
      let isWhite = [0x20, 0x09, 0x0A, 0x0D].contains(byte)
      #expect((verdict([byte] + Array("{}".utf8)) == nil) == isWhite, "0x\(String(byte, radix: 16)) before")
      #expect((verdict(Array("{}".utf8) + [byte]) == nil) == isWhite, "0x\(String(byte, radix: 16)) behind")
      #expect((verdict(Array("{".utf8) + [byte] + Array("}".utf8)) == nil) == isWhite, "0x\(String(byte, radix: 16))")
    }
  }

  /// Every byte after a backslash: eight are escapes of their own.
  @Test func onlyEightBytesAreShortEscapes() {
    for byte in UInt8.min...UInt8.max {
      let isEscape = Array("\"\\/bfnrt".utf8).contains(byte)
      let error = verdict(Array("\"\\".utf8) + [byte] + Array("....\"".utf8))
      #expect(error == (isEscape ? nil : JSONError(.invalidEscape, at: 1)), "0x\(String(byte, radix: 16))")
    }
  }

  /// Every byte at each of the four places of a code unit.
  @Test func onlyHexadecimalDigitsMakeCodeUnits() {
    for place in 3..<7 {
      for byte in UInt8.min...UInt8.max {
        var bytes = Array("\"\\u0041\"".utf8)
        bytes[place] = byte
        let isDigit = Array("0123456789abcdefABCDEF".utf8).contains(byte)
        #expect(verdict(bytes) == (isDigit ? nil : JSONError(.invalidEscape, at: 1)), "\(shown(bytes))")
      }
    }
  }
}
