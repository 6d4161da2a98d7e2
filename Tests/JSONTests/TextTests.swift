import JSON
import Testing

/// A value as a slice: its kind, its parts, and that nothing of it changes.
@Suite struct TextTests {
  @Test func constantsAreTrimmedAndNothingElse() throws {
    #expect(try JSONText(" \n{ \"a\" : 1.50 }\t").string == "{ \"a\" : 1.50 }")
    #expect(try JSONText("1.0e+2").string == "1.0e+2")
    #expect(JSONText.null.string == "null")
    #expect(JSONText.emptyObject.string == "{}")
  }

  @Test func equalMeansTheSameBytes() throws {
    #expect(try JSONText(" [1]") == JSONText("[1]\n"))
    #expect(try JSONText("1.0") != JSONText("1"))
    #expect(try JSONText("\"a\"") != JSONText("\"\\u0061\""))
  }

  @Test func theKindIsThatOfTheFirstByte() throws {
    let kinds: [(String, JSONText.Kind)] = [
      ("{}", .object), ("[]", .array), ("\"\"", .string), ("0", .number), ("-1", .number), ("9e9", .number),
      ("true", .boolean), ("false", .boolean), ("null", .null),
    ]
    for (text, kind) in kinds {
      #expect(try JSONText(text).kind == kind, "\(text)")
      #expect(try JSONText(text).isNull == (text == "null"))
    }
  }

  @Test func membersInTheirOrder() throws {
    let text = try JSONText("{ \"b\" : [1, 2] ,\"a\":{\"x\":null},\"\":\"\" , \"\\u00e9\\n\":-0.0 }")
    let members = Array(text.members)
    #expect(members.map(\.name) == ["b", "a", "", "\u{E9}\n"])
    #expect(members.map(\.value.string) == ["[1, 2]", "{\"x\":null}", "\"\"", "-0.0"])
    #expect(Array(try JSONText("{}").members).isEmpty)
    #expect(Array(try JSONText("{ \n }").members).isEmpty)
  }

  /// Who stores opaque payloads must not lose what others would: the same name twice, and names that only escapes make
  /// the same.
  @Test func namesGivenTwiceAreKept() throws {
    let members = Array(try JSONText("{\"a\":1,\"a\":2,\"\\u0061\":3}").members)
    #expect(members.map(\.name) == ["a", "a", "a"])
    #expect(members.map(\.value.string) == ["1", "2", "3"])
  }

  @Test func aNameThatNoTextCanHoldIsNil() throws {
    let members = Array(try JSONText("{\"\\ud800\":1,\"b\":2}").members)
    #expect(members.map(\.name) == [nil, "b"])
    #expect(members.map(\.value.string) == ["1", "2"])
  }

  @Test func elementsInTheirOrder() throws {
    let text = try JSONText("[ 1 ,\"]\",[ ] , {\"a\":[0]},null ]")
    #expect(text.elements.map(\.string) == ["1", "\"]\"", "[ ]", "{\"a\":[0]}", "null"])
    #expect(Array(try JSONText("[]").elements).isEmpty)
    #expect(Array(try JSONText("[\t]").elements).isEmpty)
  }

  /// Whoever asks a value of another kind for its parts gets none, whatever its bytes look like.
  @Test func otherKindsHaveNoParts() throws {
    for text in ["\"1,2]\"", "\"]\"", "\"}\"", "0", "-1", "12", "true", "false", "null", "\"\"", "\"\\\"a\\\":1}\""] {
      #expect(Array(try JSONText(text).elements).isEmpty, "\(text)")
      #expect(Array(try JSONText(text).members).isEmpty, "\(text)")
    }
    for text in ["{}", "{\"a\":1}"] { #expect(Array(try JSONText(text).elements).isEmpty, "\(text)") }
    for text in ["[]", "[\"a\"]", "[1,2]"] { #expect(Array(try JSONText(text).members).isEmpty, "\(text)") }
  }

  /// Ranges count from the start of the value, also when the value stands somewhere inside a longer text.
  @Test func cuttingCountsFromTheStartOfTheValue() throws {
    let text = try JSONText("[0,[10,{\"a\":[200,300]}]]")
    #expect(text.cut(1..<2).string == "0")
    #expect(text.cut(3..<text.bytes.count - 1).string == "[10,{\"a\":[200,300]}]")
    let inner = try #require(text.last?.last?.member("a"))
    #expect(inner.string == "[200,300]")
    #expect(inner.cut(5..<8).string == "300")
    #expect(inner.elements.map(\.string) == ["200", "300"])
  }

  @Test func partsShareTheStorageOfTheWhole() throws {
    let text = try JSONText("[[[\"deep\"]]]")
    let part = try #require(text.first?.first?.first)
    #expect(part.bytes.startIndex == 3)
    #expect(part.bytes.endIndex == 9)
  }

  @Test func partsAtTheDepthLimit() throws {
    var text = try JSONText(String(repeating: "[", count: 128) + String(repeating: "]", count: 128))
    var depth = 1
    while let next = text.first {
      text = next
      depth += 1
    }
    #expect(depth == 128)
    #expect(text.string == "[]")
  }
}

extension JSONText {
  fileprivate var first: JSONText? { elements.first { _ in true } }
  fileprivate var last: JSONText? { Array(elements).last }
}
