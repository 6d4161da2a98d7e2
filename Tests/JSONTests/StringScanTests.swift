import JSON
import JSONReference
import Testing

/// Inside strings the scanner looks at eight bytes at once, and in long ones at 32; whatever matters must be seen on
/// each of the places, next to whatever else matters, and in the rest that is shorter than a step.
@Suite struct StringScanTests {
  private let quote = UInt8(ascii: "\"")

  /// A byte from each side of the borders between the classes of bytes that the scanner tells apart.
  private let borders: [UInt8] = [
    0x00, 0x01, 0x1F, 0x20, 0x21, 0x22, 0x23, 0x5B, 0x5C, 0x5D, 0x7E, 0x7F, 0x80, 0x81, 0xA2, 0xC2, 0xDC, 0xFF,
  ]

  /// The borders at every position of strings of every length up to 40 and of some around the large steps, and all 256
  /// bytes up to two steps.
  @Test func everyByteAtEveryPositionOfEveryLength() {
    for length in Array(0...40) + [63, 64, 65, 71, 72, 95, 96, 97, 128, 130] {
      var text = [quote] + [UInt8](repeating: UInt8(ascii: "x"), count: length) + [quote]
      guard verdict(text) == nil else {
        Issue.record("refused: \(shown(text))")
        return
      }
      for position in 0..<length {
        for byte in length <= 16 ? Array(UInt8.min...UInt8.max) : borders {
          text[1 + position] = byte
          let error = expected(byte, at: 1 + position, isLast: position == length - 1, count: text.count)
          guard verdict(text) == error else {
            Issue.record("\(shown(text)): \(String(describing: verdict(text))), expected \(String(describing: error))")
            return
          }
        }
        text[1 + position] = UInt8(ascii: "x")
      }
    }
  }

  /// The verdict on `byte` among letters x: a backslash makes an escape that is none, or escapes the closing quote.
  private func expected(_ byte: UInt8, at offset: Int, isLast: Bool, count: Int) -> JSONError? {
    switch byte {
    case 0..<0x20: JSONError(.controlCharacter, at: offset)
    case 0x80...: JSONError(.invalidUTF8, at: offset)
    case quote: JSONError(.trailingBytes, at: offset + 1)
    case UInt8(ascii: "\\"): isLast ? JSONError(.unexpectedEnd, at: count) : JSONError(.invalidEscape, at: offset)
    default: nil
    }
  }

  /// Carries run from a byte to the next one up inside a step: all pairs of borders.
  @Test func neighboursDoNotHideEachOther() {
    for position in 1...16 {
      for first in borders {
        for second in borders {
          var text = [quote] + Array("xxxxxxxxxxxxxxxxxxx".utf8) + [quote]
          text[position] = first
          text[position + 1] = second
          if let disagreement = disagreement(over: text) {
            Issue.record("\(disagreement)")
            return
          }
        }
      }
    }
  }

  @Test func everyEscapeAtEveryPosition() {
    for escape in ["\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0041", "\\uD83D\\uDE00", "\\ud800"] {
      for before in 0...17 {
        for behind in 0...9 {
          let content = String(repeating: "x", count: before) + escape + String(repeating: "y", count: behind)
          let text = Array("[\"\(content)\",\"\(content)\"]".utf8)
          #expect(verdict(text) == nil, "\(shown(text))")
        }
      }
    }
  }

  /// The first and the last character of every range of the UTF-8 table, on every place of a step and at the end.
  @Test func everyBoundaryOfUTF8AtEveryPosition() {
    let boundaries: [Unicode.Scalar] = [
      " ", "\u{7F}", "\u{80}", "\u{7FF}", "\u{800}", "\u{FFF}", "\u{1000}", "\u{CFFF}", "\u{D000}", "\u{D7FF}",
      "\u{E000}", "\u{FFFD}", "\u{FFFF}", "\u{10000}", "\u{3FFFF}", "\u{40000}", "\u{FFFFF}", "\u{100000}",
      "\u{10FFFF}",
    ]
    for scalar in boundaries {
      for before in 0...17 {
        for behind in 0...9 {
          let content = String(repeating: "x", count: before) + String(scalar) + String(repeating: "y", count: behind)
          let text = Array("\"\(content)\"".utf8)
          guard verdict(text) == nil, JSONString.decode(text.span, 1..<text.count - 1) == content else {
            Issue.record("refused or changed: \(shown(text))")
            return
          }
          // Without its last byte, with one more, with its last byte changed to a letter.
          for cut in 1..<String(scalar).utf8.count {
            var short = text
            short.removeSubrange(1 + before + cut..<1 + before + String(scalar).utf8.count)
            guard verdict(short) == JSONError(.invalidUTF8, at: 1 + before) else {
              Issue.record("accepted: \(shown(short))")
              return
            }
          }
        }
      }
    }
  }

  @Test func everyScalarPassesAndComesBack() {
    var content = ""
    for value in UInt32(0x20)...0x10FFFF where value != 0x22 && value != 0x5C {
      if let scalar = Unicode.Scalar(value) { content.unicodeScalars.append(scalar) }
    }
    let text = [quote] + Array(content.utf8) + [quote]
    #expect(verdict(text) == nil)
    #expect(JSONString.decode(text.span, 1..<text.count - 1) == content)
  }

  /// All pairs of bytes, and all runs of three and four with each border of the UTF-8 table in each place, against the
  /// standard library's own validation.
  @Test func onlyUTF8Passes() {
    let seconds: [UInt8] = [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xF4, 0xFF]
    let others: [UInt8] = [0x41, 0x7F, 0x80, 0xBF, 0xC0, 0xFF]
    for first in UInt8(0x80)...0xFF {
      for second in UInt8(0x20)...0xFF where second != quote && second != UInt8(ascii: "\\") {
        guard agrees([first, second]) else { return }
      }
      for second in seconds {
        for third in others {
          guard agrees([first, second, third]) else { return }
          guard first >= 0xE0 else { continue }
          for fourth in others {
            guard agrees([first, second, third, fourth]) else { return }
          }
        }
      }
    }
  }

  /// Forms that once were UTF-8 or look like it: too long by one to four bytes, five and six bytes, surrogates.
  @Test func overlongFormsAndSurrogatesAreRefused() {
    for scalar in [0x00, 0x22, 0x2F, 0x5C, 0x7F, 0x80, 0x7FF, 0x800, 0xD800, 0xDFFF, 0xFFFF, 0x10FFFF, 0x110000] {
      for length in 2...6 {
        let shortest = scalar < 0x80 ? 1 : scalar < 0x800 ? 2 : scalar < 0x10000 ? 3 : 4
        guard length >= shortest, length > 4 || scalar >> [11, 16, 21][length - 2] == 0 else { continue }
        var form: [UInt8] = []
        for index in 0..<length - 1 { form.insert(UInt8(0x80 | scalar >> (6 * index) & 0x3F), at: 0) }
        let lead = (0xFF00 >> length) & 0xFF | scalar >> (6 * (length - 1))
        form.insert(UInt8(lead), at: 0)
        let isUTF8 = length == shortest && !(0xD800...0xDFFF).contains(scalar) && scalar < 0x110000
        let text = [quote] + form + [quote]
        #expect(verdict(text) == (isUTF8 ? nil : JSONError(.invalidUTF8, at: 1)), "\(shown(text))")
      }
    }
  }

  private func agrees(_ content: [UInt8]) -> Bool {
    let text = [quote] + content + [quote]
    let isUTF8 = String(validating: content, as: UTF8.self) != nil
    let error = verdict(text)
    let isRight = isUTF8 ? error == nil : error?.problem == .invalidUTF8
    if !isRight { Issue.record("\(String(describing: error)): \(shown(text))") }
    return isRight
  }
}
