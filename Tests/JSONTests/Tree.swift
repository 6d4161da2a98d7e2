/// A JSON value to test with, made by chance and written in a spelling made by chance.
indirect enum Tree {
  case object([(name: String, value: Tree)])
  case array([Tree])
  case string(String)
  case integer(Int64)
  /// any other number, as it is written
  case number(String)
  case boolean(Bool)
  case null

  static func random(_ random: inout Random, depth: Int) -> Tree {
    switch random.below(depth > 0 ? 10 : 5) {
    case 0: return .null
    case 1: return .boolean(random.chance(50))
    case 2: return .integer(Self.integer(&random))
    case 3: return .number(Self.number(&random))
    case 4: return .string(Self.text(&random))
    case 5...6: return .array((0..<random.below(5)).map { _ in .random(&random, depth: depth - 1) })
    default:
      // Swift and so Foundation hold names equal that are spelled differently in Unicode; so does this set.
      var names: Set<String> = []
      var members: [(name: String, value: Tree)] = []
      for _ in 0..<random.below(5) {
        let name = Self.text(&random)
        if names.insert(name).inserted { members.append((name, .random(&random, depth: depth - 1))) }
      }
      return .object(members)
    }
  }

  private static func integer(_ random: inout Random) -> Int64 {
    switch random.below(4) {
    case 0: Int64(random.below(21)) - 10
    case 1: random.pick([Int64.min, .min + 1, .max, .max - 1, 1 << 53, 1 << 53 + 1, 0])
    default: Int64.random(in: .min ... .max, using: &random) >> Int64(random.below(63))
    }
  }

  private static func number(_ random: inout Random) -> String {
    let digits = String(random.below(1_000_000_000))
    let fraction = String(random.below(1_000_000))
    let exponent = random.pick(["e", "E", "e+", "E-", "e-0"]) + String(random.below(30))
    return random.pick(["", "-"])
      + random.pick([digits + "." + fraction, digits + exponent, digits + "." + fraction + exponent, "0." + fraction])
  }

  /// Text in which every byte that the scanner looks at falls on every place of its steps.
  static func text(_ random: inout Random) -> String {
    (0..<random.below(7)).map { _ in
      switch random.below(8) {
      case 0: random.pick(["\"", "\\", "/", "\u{8}", "\u{C}", "\n", "\r", "\t", "\u{7F}"])
      case 1: String(UnicodeScalar(UInt8(random.below(0x20))))
      case 2: random.pick(["\u{80}", "\u{E9}", "e\u{301}", "\u{7FF}", "\u{800}", "\u{2028}", "\u{FEFE}", "\u{FFFD}"])
      case 3: random.pick(["\u{FFFF}", "\u{10000}", "\u{1F600}", "\u{10FFFF}", "\u{D7FF}", "\u{E000}", "\u{0}"])
      case 4: String(repeating: "x", count: random.below(20))
      default: random.pick(["a", "b", "cd", "{}", "[,]", ":", "'", " ", "null", "0"])
      }
    }.joined()
  }

  /// Writes it with white space and escapes by chance.
  func spelled(_ random: inout Random) -> [UInt8] {
    var text: [UInt8] = []
    white(&text, &random)
    spell(&text, &random)
    white(&text, &random)
    return text
  }

  private func white(_ text: inout [UInt8], _ random: inout Random) {
    while random.chance(20) { text.append(random.pick([0x20, 0x09, 0x0A, 0x0D])) }
  }

  private func spell(_ text: inout [UInt8], _ random: inout Random) {
    switch self {
    case .object(let members):
      text += "{".utf8
      white(&text, &random)
      for (index, member) in members.enumerated() {
        if index > 0 { text += ",".utf8 }
        white(&text, &random)
        Self.spell(member.name, &text, &random)
        white(&text, &random)
        text += ":".utf8
        text += member.value.spelled(&random)
      }
      text += "}".utf8
    case .array(let elements):
      text += "[".utf8
      white(&text, &random)
      for (index, element) in elements.enumerated() {
        if index > 0 { text += ",".utf8 }
        text += element.spelled(&random)
      }
      text += "]".utf8
    case .string(let string): Self.spell(string, &text, &random)
    case .integer(let integer): text += String(integer).utf8
    case .number(let number): text += number.utf8
    case .boolean(let boolean): text += (boolean ? "true" : "false").utf8
    case .null: text += "null".utf8
    }
  }

  private static func spell(_ string: String, _ text: inout [UInt8], _ random: inout Random) {
    let short: [Unicode.Scalar: String] = [
      "\"": "\\\"", "\\": "\\\\", "/": "\\/", "\u{8}": "\\b", "\u{C}": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
    ]
    text += "\"".utf8
    for scalar in string.unicodeScalars {
      let mayStand = scalar.value >= 0x20 && scalar != "\"" && scalar != "\\"
      if mayStand, random.chance(70) {
        text += String(scalar).utf8
      } else if let escape = short[scalar], random.chance(50) {
        text += escape.utf8
      } else {
        for unit in String(scalar).utf16 {
          let digits = String(unit, radix: 16, uppercase: random.chance(50))
          text += "\\u\(String(repeating: "0", count: 4 - digits.count))\(digits)".utf8
        }
      }
    }
    text += "\"".utf8
  }
}
