import JSON
import JSONReference
import Testing

/// What no client should send: texts cut short, bytes changed, bytes by chance. Nothing may trap, every rejection must
/// say what is so, and the scanner must agree with the plain grammar on each.
@Suite struct DamageTests {
  /// Short texts that hold every token and every kind of neighbour between them.
  private static let samples: [[UInt8]] = [
    "[\"\\u00e9\\ud83d\\ude00\",null]",
    " {\"a\" : [-0.5e+1 , true] }\n",
    "[{},[],\"\",0,[[]],{\"\":{}}]",
    "{\"\\\"\\\\\":\"\u{E9}\u{20AC}\u{1F600}\",\"b\":false}",
    "\"0123456\\n89abcdef\u{7F}ghijk\"",
    "-12.75E-30",
  ].map { Array($0.utf8) }

  /// The bytes that mean something somewhere, and a neighbour of each range in which bytes mean the same.
  private static let telling: [UInt8] =
    Array("\"\\/{}[]:,+-.09aAbeEfFgnrtux \t\r\n'*#".utf8)
    + [
      0x00, 0x08, 0x0B, 0x0C, 0x1F, 0x7F, 0x80, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF,
    ]

  @Test func everyPrefixEndsInTheMiddleOfAValue() {
    for text in Accepted.all.map(\.bytes) + Self.samples where text.count < 1_000 {
      let white: Set<UInt8> = [0x20, 0x09, 0x0A, 0x0D]
      let value = text[..<(text.lastIndex { !white.contains($0) } ?? 0)]
      // Half a number is often a number.
      guard let first = text.first(where: { !white.contains($0) }), !Array("-0123456789".utf8).contains(first) else {
        continue
      }
      for cut in 0...value.count {
        let prefix = Array(text[..<cut])
        var character = cut
        while text[character] & 0xC0 == 0x80 { character -= 1 }
        let error = cut == character ? JSONError(.unexpectedEnd, at: cut) : JSONError(.invalidUTF8, at: character)
        guard verdict(prefix) == error else {
          Issue.record("\(shown(prefix)): \(String(describing: verdict(prefix))), expected \(error)")
          return
        }
      }
    }
  }

  @Test func everyChangedByte() {
    for sample in Self.samples {
      for index in sample.indices {
        var text = sample
        for byte in UInt8.min...UInt8.max {
          text[index] = byte
          guard report(text) else { return }
        }
      }
    }
  }

  @Test func everyByteLeftOutTwiceOrPutIn() {
    for sample in Self.samples {
      for index in sample.indices {
        guard report(Array(sample[..<index] + sample[(index + 1)...])) else { return }
        guard report(Array(sample[...index] + sample[index...])) else { return }
        for byte in Self.telling {
          guard report(Array(sample[..<index] + [byte] + sample[index...])) else { return }
        }
      }
    }
  }

  /// Every text of up to three telling bytes.
  @Test func everyShortText() {
    let telling = Array("\"\\{}[]:,-.0e1tn \n".utf8) + [0x00, 0x1F, 0x80, 0xC3, 0xEF]
    for first in telling {
      guard report([first]) else { return }
      for second in telling {
        guard report([first, second]) else { return }
        for third in telling {
          guard report([first, second, third]) else { return }
        }
      }
    }
  }

  @Test func randomBytes() {
    var random = Random(seed: 1)
    for _ in 0..<5_000 {
      guard report((0..<random.below(48)).map { _ in UInt8.random(in: .min ... .max, using: &random) }) else { return }
    }
  }

  /// Bytes by chance are never JSON for long; tokens by chance often are.
  @Test func randomTokens() {
    let tokens =
      ["{", "}", "[", "]", ":", ",", "\"a\"", "\"", "\\", "\\u12", "\\ud800", "0", "-", "1.5", "e", "E+", "true"]
      + ["false", "null", "nul", " ", "\n", "\u{E9}", "\u{1F600}", "xxxxxxxx", "\u{0}", "{\"k\":", "[1,", "],", "},"]
    var random = Random(seed: 2)
    for _ in 0..<10_000 {
      guard report((0..<random.below(12)).flatMap { _ in Array(random.pick(tokens).utf8) }) else { return }
    }
  }

  @Test func randomTreesDamaged() {
    var random = Random(seed: 3)
    for _ in 0..<500 {
      var text = Tree.random(&random, depth: 4).spelled(&random)
      for _ in 0...random.below(8) {
        text = damaged(text, &random)
        guard report(text) else { return }
      }
    }
  }

  private func report(_ text: [UInt8]) -> Bool {
    guard let disagreement = disagreement(over: text) else { return true }
    Issue.record("\(disagreement)")
    return false
  }
}

/// One small hurt: a byte changed, left out, put in, two exchanged, a piece repeated or the end cut off.
func damaged(_ text: [UInt8], _ random: inout Random) -> [UInt8] {
  guard !text.isEmpty else { return [UInt8(ascii: "\"")] }
  var text = text
  let index = random.below(text.count)
  let byte = random.chance(50) ? random.pick(Array("\"\\{}[]:,-+.0e1tn \n".utf8)) : UInt8(random.below(256))
  switch random.below(6) {
  case 0: text[index] = byte
  case 1: text.remove(at: index)
  case 2: text.insert(byte, at: index)
  case 3: text.swapAt(index, random.below(text.count))
  case 4: text.insert(contentsOf: text[index...].prefix(random.below(16)), at: random.below(text.count))
  default: text.removeLast(random.below(text.count))
  }
  return text
}
