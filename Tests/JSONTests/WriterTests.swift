import Foundation
import JSON
import JSONReference
import Testing

/// What is written: compact, escaped no more than JSON demands, with commas where they belong.
@Suite struct WriterTests {
  private func written(_ write: (inout JSONWriter) -> Void) -> String {
    var writer = JSONWriter()
    write(&writer)
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  // MARK: - Escaping

  @Test func everyControlCharacterIsEscaped() {
    let short: [UInt8: String] = [0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r"]
    for byte in UInt8(0)..<0x20 {
      let digits = String(byte, radix: 16)
      let escape = short[byte] ?? "\\u00" + (digits.count == 1 ? "0" : "") + digits
      #expect(written { $0.string("a\(UnicodeScalar(byte))b") } == "\"a\(escape)b\"")
    }
  }

  @Test func quotesAndBackslashesAreEscaped() {
    #expect(written { $0.string("\"\\") } == "\"\\\"\\\\\"")
    #expect(written { $0.string("C:\\new\"") } == "\"C:\\\\new\\\"\"")
    #expect(written { $0.string("\\u0041") } == "\"\\\\u0041\"")
  }

  @Test func nothingElseIsEscaped() {
    for scalar in (UInt32(0x20)...0x7F).compactMap(Unicode.Scalar.init) where scalar != "\"" && scalar != "\\" {
      #expect(written { $0.string("\(scalar)") } == "\"\(scalar)\"")
    }
    let text = "/'<>&\u{7F}\u{80}\u{9F}\u{E9}e\u{301}\u{2028}\u{2029}\u{FEFF}\u{FFFF}\u{1F600}\u{10FFFF}"
    #expect(written { $0.string(text) }.utf8.elementsEqual("\"\(text)\"".utf8))
    #expect(written { $0.string("") } == "\"\"")
  }

  @Test func namesAreEscapedWhereAskedFor() {
    let object = written { writer in
      writer.beginObject()
      writer.escapedName("a\"\n")
      writer.null()
      writer.escapedName("")
      writer.boolean(true)
      writer.endObject()
    }
    #expect(object == "{\"a\\\"\\n\":null,\"\":true}")
  }

  @Test func randomTextComesBack() throws {
    var random = Random(seed: 7)
    for _ in 0..<500 {
      let text = Tree.text(&random)
      var writer = JSONWriter()
      writer.string(text)
      #expect(verdict(writer.bytes) == nil)
      let decoded = JSONString.decode(writer.bytes.span, 1..<writer.count - 1)
      #expect(decoded.map { Array($0.utf8) } == Array(text.utf8))
      let parsed = try JSONSerialization.jsonObject(with: Data(writer.bytes), options: .fragmentsAllowed) as? String
      #expect(parsed.map { Array($0.utf8) } == Array(text.utf8))
    }
  }

  /// Strings are looked at and written eight bytes at a time: what needs an escape is found on each of the places, at
  /// the end and in the rest that is shorter than a step.
  @Test func escapesAreFoundAtEveryPlaceOfEveryLength() {
    for length in 0...40 {
      let plain = [UInt8](repeating: UInt8(ascii: "x"), count: length)
      let name = String(decoding: plain, as: UTF8.self)
      #expect(written { $0.string(name) } == "\"\(name)\"")
      #expect(written { $0.name(name) } == "\"\(name)\":")
      for position in plain.indices {
        for (byte, escape) in [(0x00, "\\u0000"), (0x1F, "\\u001f"), (0x22, "\\\""), (0x5C, "\\\\"), (0x7F, "\u{7F}")] {
          let (before, behind) = (name.prefix(position), name.prefix(length - position - 1))
          let text = "\(before)\(UnicodeScalar(UInt8(byte)))\(behind)"
          #expect(written { $0.string(text) } == "\"\(before)\(escape)\(behind)\"")
        }
      }
    }
  }

  /// Room is made for many pieces at once: what is written must not depend on where it ends.
  @Test func piecesOfEveryKindFitWhereverTheRoomEnds() throws {
    let long = try JSONText("\"" + String(repeating: "long", count: 40) + "\"")
    for start in 480...530 {
      var writer = JSONWriter([UInt8](repeating: UInt8(ascii: " "), count: start % 7))
      writer.raw(String(repeating: " ", count: start - start % 7))
      writer.beginArray()
      for _ in 0..<3 {
        writer.beginObject()
        writer.member("name_of_some_length", "text of some length")
        writer.member("n", Int64.min)
        writer.member("z", nil as String?)
        writer.member("b", false)
        writer.member("t", long)
        writer.endObject()
      }
      writer.endArray()
      let member =
        "{\"name_of_some_length\":\"text of some length\",\"n\":-9223372036854775808,\"z\":null,\"b\":false,\"t\":"
        + long.string + "}"
      let expected = String(repeating: " ", count: start) + "[\(member),\(member),\(member)]"
      #expect(String(decoding: writer.take(), as: UTF8.self) == expected)
    }
  }

  // MARK: - Numbers

  @Test func integersToTheirLimits() {
    for value in [0, 1, -1, 9, 10, -10, 99, 100, 1 << 53, Int64.max, .max - 1, .min, .min + 1] {
      #expect(written { $0.integer(value) } == String(value))
    }
    #expect(written { $0.integer(Int.max) } == "9223372036854775807")
    var power: Int64 = 1
    for _ in 0..<18 {
      power *= 10
      for value in [power - 1, power, power + 1, -power + 1, -power, -power - 1] {
        #expect(written { $0.integer(value) } == String(value))
      }
    }
  }

  // MARK: - Commas

  @Test func commasStandBetweenAndNowhereElse() throws {
    let text = try JSONText("[ 1.50 ]")
    let array = written { writer in
      writer.beginArray()
      writer.beginArray()
      writer.endArray()
      writer.beginObject()
      writer.endObject()
      writer.null()
      writer.boolean(false)
      writer.integer(1)
      writer.string("s")
      writer.string { $0.append("p") }
      writer.text(text)
      writer.validated(text.bytes.span)
      writer.beginObject()
      writer.name("a")
      writer.beginArray()
      writer.integer(1)
      writer.integer(2)
      writer.endArray()
      writer.name("b")
      writer.beginObject()
      writer.endObject()
      writer.endObject()
      writer.null()
      writer.endArray()
    }
    #expect(array == "[[],{},null,false,1,\"s\",\"p\",[ 1.50 ],[ 1.50 ],{\"a\":[1,2],\"b\":{}},null]")
  }

  @Test func membersOfEveryType() throws {
    let object = written { writer in
      writer.beginObject()
      writer.member("string", "x")
      writer.member("noString", nil as String?)
      writer.member("someString", "y" as String?)
      writer.member("integer", 1)
      writer.member("noInteger", nil as Int64?)
      writer.member("someInteger", 2 as Int64?)
      writer.member("boolean", true)
      writer.member("text", JSONText.emptyObject)
      writer.member("noText", nil as JSONText?)
      writer.member("someText", JSONText.null as JSONText?)
      writer.member("strings", strings: ["a", "\""])
      writer.member("noStrings", strings: [])
      writer.endObject()
    }
    let expected = """
      {"string":"x","noString":null,"someString":"y","integer":1,"noInteger":null,"someInteger":2,"boolean":true,\
      "text":{},"noText":null,"someText":null,"strings":["a","\\""],"noStrings":[]}
      """
    #expect(object == expected)
  }

  @Test func messagesStandOnLinesOfTheirOwn() {
    let lines = written { writer in
      writer.beginObject()
      writer.endObject()
      writer.raw("\n")
      writer.beginArray()
      writer.endArray()
      writer.raw("\n")
    }
    #expect(lines == "{}\n[]\n")
  }

  @Test func opaqueTextIsWrittenByteForByte() throws {
    for opaque in [
      "1.0", "1E+02", "-0", "\"\\u0061\\/\\ud800\"", "{ \"a\" : 1,\"a\":2 }", "123456789012345678901234567890",
    ] {
      let text = try JSONText(opaque)
      #expect(written { $0.text(text) } == opaque)
      #expect(written { $0.validated(text.bytes.span) } == opaque)
    }
  }

  // MARK: - Taking back

  @Test func rewindTakesBackWholeMessages() {
    var writer = JSONWriter()
    writer.beginArray()
    writer.endArray()
    writer.raw("\n")
    let count = writer.count
    writer.beginObject()
    writer.name("half")
    writer.rewind(to: count)
    #expect(writer.count == count)
    writer.null()
    #expect(writer.bytes == Array("[]\nnull".utf8))
    writer.rewind(to: 0)
    writer.null()
    #expect(writer.bytes == Array("null".utf8))
  }

  @Test func aMarkKnowsWhetherACommaIsDue() {
    var writer = JSONWriter()
    writer.beginArray()
    let first = writer.mark
    writer.integer(1)
    writer.rewind(to: first)
    writer.integer(2)
    let second = writer.mark
    #expect(second.count == 2)
    writer.beginObject()
    writer.name("a")
    writer.rewind(to: second)
    writer.integer(3)
    writer.rewind(to: writer.mark)
    writer.endArray()
    #expect(writer.bytes == Array("[2,3]".utf8))
  }

  @Test func takingLeavesAnEmptyWriter() {
    var writer = JSONWriter()
    writer.integer(1)
    #expect(writer.take() == Array("1".utf8))
    #expect(writer.count == 0)
    writer.integer(2)
    #expect(writer.take() == Array("2".utf8))
  }

  @Test func writingGoesOnBehindWhatIsHandedIn() {
    var writer = JSONWriter(Array("[]\n".utf8))
    writer.integer(1)
    #expect(writer.bytes == Array("[]\n1".utf8))
  }

  @Test func whatIsTakenBackIsGoneFromWhatIsMoved() {
    var writer = JSONWriter()
    writer.integer(1)
    writer.raw("\n")
    let count = writer.count
    writer.string("taken back")
    writer.rewind(to: count)
    var first: [UInt8] = []
    writer.move(to: &first)
    writer.integer(2)
    var second = Array("[".utf8)
    writer.move(to: &second)
    #expect(first == Array("1\n".utf8) && second == Array("[2".utf8))
    #expect(writer.count == 0)
  }

  // MARK: - String pieces

  @Test func piecesMakeOneString() {
    let array = written { writer in
      writer.beginArray()
      writer.integer(0)
      writer.string { pieces in
        pieces.append("a\"")
        pieces.append(Array("\\\u{E9}\n".utf8).span)
        pieces.append("")
      }
      writer.string { _ in }
      writer.integer(1)
      writer.endArray()
    }
    #expect(array == "[0,\"a\\\"\\\\\u{E9}\\n\",\"\",1]")
  }

  @Test func piecesCanBeTakenBack() {
    let string = written { writer in
      writer.string { pieces in
        pieces.append("kept")
        let count = pieces.count
        pieces.append("\"not\"")
        #expect(pieces.count == count + 7)
        pieces.rewind(to: count)
        pieces.append("!")
      }
    }
    #expect(string == "\"kept!\"")
  }

  @Test func whatTheWritingGivesIsHandedOn() {
    var writer = JSONWriter()
    let count = writer.string { pieces in
      pieces.append("\n")
      return pieces.count
    }
    #expect(count == 3)
  }

  @Test func aStringGivenUpIsStillClosed() {
    struct GivenUp: Error {}
    var writer = JSONWriter()
    writer.beginArray()
    #expect(throws: GivenUp.self) {
      try writer.string { pieces in
        pieces.append("half")
        throw GivenUp()
      }
    }
    writer.null()
    writer.endArray()
    #expect(writer.bytes == Array("[\"half\",null]".utf8))
  }

  // MARK: - Trees

  @Test func randomTreesComeBack() throws {
    var random = Random(seed: 8)
    for _ in 0..<300 {
      let tree = Tree.random(&random, depth: 5)
      var writer = JSONWriter()
      tree.write(to: &writer)
      #expect(verdict(writer.bytes) == nil)
      let parsed = try JSONSerialization.jsonObject(with: Data(writer.bytes), options: .fragmentsAllowed)
      guard tree.isEqual(to: parsed) else {
        Issue.record("\(shown(writer.bytes)) was read as \(parsed)")
        return
      }
    }
  }

  /// Compact means that no byte could be left out: what is written has no white space outside of strings.
  @Test func randomTreesAreWrittenWithoutWhiteSpace() throws {
    var random = Random(seed: 9)
    for _ in 0..<300 {
      var writer = JSONWriter()
      Tree.random(&random, depth: 4).write(to: &writer)
      var inString = false
      var escaped = false
      for byte in writer.bytes {
        if !inString { #expect(byte > 0x20) }
        if byte == UInt8(ascii: "\""), !escaped { inString.toggle() }
        escaped = byte == UInt8(ascii: "\\") && !escaped
      }
    }
  }
}
