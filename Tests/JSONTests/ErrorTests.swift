import JSON
import JSONReference
import Testing

/// What an error says: the problem, the byte, and nothing of the payload.
@Suite struct ErrorTests {
  private func message(_ pieces: Piece...) -> String? {
    verdict(Piece.bytes(pieces))?.description
  }

  @Test func unexpectedEnd() {
    #expect(message("") == "the text ends at byte 0 in the middle of a value")
    #expect(message("{\"a\":[1, ") == "the text ends at byte 9 in the middle of a value")
  }

  @Test func unexpectedByte() {
    #expect(message("[1;2]") == "';' at byte 2, expected ',' or ']'")
    #expect(message("{\"a\":1;}") == "';' at byte 6, expected ',' or '}'")
    #expect(message("{\"a\"=1}") == "'=' at byte 4, expected ':' after a member name")
    #expect(message("{a:1}") == "'a' at byte 1, expected a member name")
    #expect(message("nil") == "'i' at byte 1, expected null")
    #expect(message("\u{7F}") == "byte 0x7F at byte 0, expected a value")
    #expect(message("[", 0x0B, "]") == "byte 0xB at byte 1, expected a value")
    #expect(message("[", 0xC3, 0xA9, "]") == "byte 0xC3 at byte 1, expected a value")
  }

  @Test func controlCharacter() {
    #expect(message("[\"a\nb\"]") == "unescaped control character in a string at byte 3")
  }

  @Test func invalidEscape() {
    #expect(message("[\"a\\x41\"]") == "invalid escape in a string at byte 3")
  }

  @Test func invalidUTF8() {
    #expect(message("[\"a", 0xFF, "\"]") == "invalid UTF-8 at byte 3")
  }

  @Test func invalidNumber() {
    #expect(message("[1, 02]") == "invalid number at byte 4")
  }

  @Test func tooDeep() {
    #expect(message(.many("[", 129)) == "nesting deeper than 128 at byte 128")
  }

  @Test func trailingBytes() {
    #expect(message("{} {}") == "more bytes after the end of the value at byte 3")
  }

  @Test func aByteOrderMarkIsCalledByItsName() {
    #expect(message("\u{FEFF}{}") == "a byte order mark at byte 0, expected a value")
    #expect(message(0xFF, 0xFE, "{", 0, "}", 0) == "a byte order mark at byte 0, expected a value")
    #expect(message(0xFE, 0xFF, 0, "{", 0, "}") == "a byte order mark at byte 0, expected a value")
  }

  /// A fullwidth colon begins with the byte with which a mark begins.
  @Test func aFullwidthColonIsNoByteOrderMark() {
    #expect(message("{\"a\"\u{FF1A}1}") == "byte 0xEF at byte 4, expected ':' after a member name")
  }

  /// No message ever holds two neighbours of a payload, a line break, or anything but ASCII: it is made to be logged.
  @Test func noPayloadLeaksIntoAMessage() {
    let payload = "QXZ\u{E9}\u{1F600}QXZ"
    let texts = [
      payload, "[\(payload)]", "\"\(payload)", "{\"\(payload)\"}", "{\"\(payload)\":\(payload)}", "{\(payload):1}",
      "[\"\(payload)\" \"\(payload)\"]", "\"\(payload)\\\(payload)\"", "\"\(payload)\n\(payload)\"", "1 \(payload)",
      "[tru\(payload)]", "-\(payload)", "01\(payload)", "\"\\u\(payload)\"",
      String(repeating: "[", count: 200) + payload, "\"\(payload)\"\(payload)", "\u{1B}[31m\(payload)",
      "[\n\(payload)\n]", "'\(payload)'",
    ]
    for text in texts {
      let bytes = Array(text.utf8)
      for cut: [UInt8] in [bytes, bytes.dropLast(3), bytes + [0xFF]] {
        guard let message = verdict(cut)?.description else {
          Issue.record("accepted: \(shown(cut))")
          continue
        }
        #expect(message.utf8.allSatisfy { (0x20...0x7E).contains($0) }, "\(message)")
        #expect(message.count { "QXZ".contains($0) } <= 1, "\(message)")
        #expect(message.utf8.count < 80, "\(message)")
      }
    }
  }

  @Test func aConstantThatIsNoJSONSaysWhere() {
    #expect(throws: JSONError(.unexpectedByte(UInt8(ascii: "]"), expected: "a value"), at: 3)) { try JSONText("[1,]") }
    #expect(throws: JSONError(.trailingBytes, at: 3)) { try JSONText("[] x") }
  }
}
