import JSON
import JSONReference
import Testing

/// Strings and integers: decoded exactly or not at all.
@Suite struct ScalarTests {
  private func decoded(_ content: String) -> String? {
    let text = Array("[\"\(content)\"]".utf8)
    if let error = verdict(text) { Issue.record("\(content): \(error)") }
    return JSONString.decode(text.span, 2..<text.count - 2)
  }

  private func integer(_ number: String) -> Int64? {
    let text = Array("[\(number)]".utf8)
    if let error = verdict(text) { Issue.record("\(number): \(error)") }
    return JSONInteger.decode(text.span, 1..<text.count - 1)
  }

  // MARK: - Strings

  @Test func stringsWithoutEscapes() {
    #expect(decoded("") == "")
    #expect(decoded("plain") == "plain")
    #expect(decoded("\u{7F}\u{E9}\u{20AC}\u{1F600}") == "\u{7F}\u{E9}\u{20AC}\u{1F600}")
  }

  @Test func everyShortEscape() {
    #expect(decoded("\\\"") == "\"")
    #expect(decoded("\\\\") == "\\")
    #expect(decoded("\\/") == "/")
    #expect(decoded("\\b") == "\u{8}")
    #expect(decoded("\\f") == "\u{C}")
    #expect(decoded("\\n") == "\n")
    #expect(decoded("\\r") == "\r")
    #expect(decoded("\\t") == "\t")
    #expect(decoded("a\\\"b\\\\c\\/d\\be\\ff\\ng\\rh\\ti") == "a\"b\\c/d\u{8}e\u{C}f\ng\rh\ti")
    #expect(decoded("\\\\n\\\\u0041") == "\\n\\u0041")
    #expect(decoded("\\r\\n")?.utf8.count == 2)
  }

  @Test func everyCodeUnit() {
    for unit in UInt16.min...UInt16.max {
      let digits = String(unit, radix: 16, uppercase: unit % 2 == 0)
      let text = Array(("\\u" + String(repeating: "0", count: 4 - digits.count) + digits).utf8)
      let expected = Unicode.Scalar(unit).map(String.init)
      guard JSONString.decode(text.span, 0..<6).map({ Array($0.utf8) }) == expected.map({ Array($0.utf8) }) else {
        Issue.record("\(shown(text))")
        return
      }
    }
  }

  @Test func codeUnitsBetweenText() {
    #expect(decoded("a\\u00e9b\\u20ACc") == "a\u{E9}b\u{20AC}c")
    #expect(decoded("\\u0000")?.utf8.elementsEqual([0]) == true)
    #expect(decoded("e\\u0301")?.unicodeScalars.count == 2)
    #expect(decoded("\u{1F600}\\u0041\u{1F600}") == "\u{1F600}A\u{1F600}")
  }

  @Test func surrogatePairs() {
    #expect(decoded("\\ud83d\\ude00") == "\u{1F600}")
    #expect(decoded("\\uD83D\\uDE00") == "\u{1F600}")
    #expect(decoded("\\ud800\\udc00") == "\u{10000}")
    #expect(decoded("\\ud800\\udfff") == "\u{103FF}")
    #expect(decoded("\\udbff\\udc00") == "\u{10FC00}")
    #expect(decoded("\\udbff\\udfff") == "\u{10FFFF}")
    #expect(decoded("x\\ud834\\udd1ey\\ud834\\udd1e") == "x\u{1D11E}y\u{1D11E}")
  }

  @Test func loneSurrogatesAreNoText() {
    for content in [
      "\\ud800", "\\udbff", "\\udc00", "\\udfff", "a\\ud800", "\\ud800a", "\\ud800\\n", "\\ud800\\u0041",
      "\\ud800\\\\udc00", "\\ud800\\ud800", "\\udc00\\ud800", "\\ud800\\ud800\\udc00", "\\ud800\\udbff",
      "\\ud800\\ue000", "\\ud83d\\ude00\\ud83d", "\\ud800udc00", "\\ud800xxxxxx", "\\ud800\u{10000}",
      "\\ud800\\ndc00", "\\ud800xudc00",
    ] {
      #expect(decoded(content) == nil, "\(content)")
    }
  }

  @Test func textComesBackFromAnySpelling() {
    var random = Random(seed: 5)
    for _ in 0..<2_000 {
      let text = Tree.text(&random)
      let spelled = Tree.string(text).spelled(&random)
      guard let start = spelled.firstIndex(of: UInt8(ascii: "\"")),
        let end = spelled.lastIndex(of: UInt8(ascii: "\"")),
        let decoded = JSONString.decode(spelled.span, start + 1..<end),
        decoded.utf8.elementsEqual(text.utf8)
      else {
        Issue.record("\(shown(spelled)) is not \(shown(text.utf8))")
        return
      }
    }
  }

  // MARK: - Integers

  @Test func integersWithinSixtyFourBits() {
    #expect(integer("0") == 0)
    #expect(integer("-0") == 0)
    #expect(integer("7") == 7)
    #expect(integer("-7") == -7)
    #expect(integer("1234567890123456789") == 1_234_567_890_123_456_789)
    #expect(integer("9007199254740993") == 9_007_199_254_740_993)
    #expect(integer("9223372036854775806") == Int64.max - 1)
    #expect(integer("9223372036854775807") == .max)
    #expect(integer("-9223372036854775807") == -Int64.max)
    #expect(integer("-9223372036854775808") == .min)
  }

  @Test func integersBeyondAreNil() {
    for number in [
      "9223372036854775808", "-9223372036854775809", "9223372036854775810", "9300000000000000000",
      "10000000000000000000", "-10000000000000000000", "18446744073709551615", "18446744073709551616",
      "18446744073709551617", "92233720368547758070", "-92233720368547758080",
      "340282366920938463463374607431768211456",
      String(repeating: "9", count: 400), "-" + String(repeating: "9", count: 400),
    ] {
      #expect(integer(number) == nil, "\(number)")
    }
  }

  @Test func fractionsAndExponentsAreNoIntegers() {
    for number in ["1.0", "0.0", "-0.0", "1.5", "1e0", "1E0", "1e2", "10e-1", "0e0", "-1e+3", "9007199254740993.0"] {
      #expect(integer(number) == nil, "\(number)")
    }
  }

  @Test func randomIntegersComeBack() {
    var random = Random(seed: 6)
    for _ in 0..<2_000 {
      let number = Int64.random(in: .min ... .max, using: &random) >> Int64(random.below(64))
      #expect(integer(String(number)) == number)
      // One digit more often does not fit.
      let longer = String(number) + String(random.below(10))
      if number != 0 { #expect(integer(longer) == Int64(longer)) }
    }
  }
}
