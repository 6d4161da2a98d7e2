import JSON
import Testing

/// JSON for people: the same value, on many lines.
@Suite struct IndentTests {
  private func indented(_ text: String) throws -> String {
    String(decoding: try JSONText(text).indented, as: UTF8.self)
  }

  @Test func eachMemberAndElementHasALine() throws {
    #expect(
      try indented(#"{"a":[1,{"b":null}],"c":{}}"#) == """
        {
          "a": [
            1,
            {
              "b": null
            }
          ],
          "c": {}
        }
        """)
  }

  @Test func whatIsEmptyStaysTogether() throws {
    #expect(try indented("[ ]") == "[]")
    #expect(try indented("{\t}") == "{}")
    #expect(try indented("[[],{}]") == "[\n  [],\n  {}\n]")
  }

  @Test func scalarsStayAsTheyAre() throws {
    for text in ["null", "-1.50e+2", #""a""#, "true"] { #expect(try indented(text) == text) }
  }

  @Test func stringsAreNotLookedInto() throws {
    for text in [#""{[,:]}""#, #""\"{""#, #""\\""#, #""a  b""#, #""[""#] {
      #expect(try indented(text) == text)
      #expect(try indented("[\(text)]") == "[\n  \(text)\n]")
      #expect(try indented("{\(text):\(text)}") == "{\n  \(text): \(text)\n}")
    }
  }

  @Test func whiteSpaceThatWasThereIsReplaced() throws {
    #expect(try indented("{ \"a\" :\r\n [ 1 ,\t2 ] }") == "{\n  \"a\": [\n    1,\n    2\n  ]\n}")
  }
}
