/// How ids that the store makes look.
package enum IDFormat: String, Sendable, CaseIterable {
  /// UUID v7, hyphenated, lower case (RFC 9562, section 5.7): 48 bits of time, 74 others; each higher than the last one
  case uuid
  /// 256 random bits in base64url without padding, for ids that are handed out as capabilities
  case random
}

/// The UUID that was given last. The next is higher, whatever the clock says: by a random step within a millisecond,
/// and where the clock stands still or goes back (RFC 9562, section 6.2, method 2).
struct LastUUID: Comparable {
  /// The largest step: as many bits of an id are unknown to who knows the one before it. In a millisecond there is room
  /// for 262,144 ids and more; then the time of the ids goes ahead of the clock.
  static let stepBits: UInt64 = 56

  private static let timeLimit: UInt64 = 1 << 48
  private static let lowMask: UInt64 = 1 << 62 - 1

  /// Unix milliseconds in its highest 48 bits, then the 12 bits that RFC 9562 calls rand_a
  private(set) var high: UInt64 = 0
  /// 62 bits: rand_b
  private(set) var low: UInt64 = 0

  /// Neither has the bits of the version and the variant: of `high` 60 bits count, of `low` 62.
  init(high: UInt64 = 0, low: UInt64 = 0) {
    self.high = high & (1 << 60 - 1)
    self.low = low & Self.lowMask
  }

  /// The one that a text has; nil when it is no UUID of this kind, or one of a time that nobody will see.
  init?(_ text: String) {
    let digits = text.utf8.filter { $0 != UInt8(ascii: "-") }
    guard text.utf8.count == 36, digits.count == 32, let words = Self.words(digits) else { return nil }
    self.init(high: (words.high >> 16) << 12 | words.high & 0xFFF, low: words.low)
    if self.text != text || high >> 59 == 1 { return nil }
  }

  private static func words(_ digits: [UInt8]) -> (high: UInt64, low: UInt64)? {
    let text = String(decoding: digits, as: UTF8.self)
    let (high, low) = (UInt64(text.prefix(16), radix: 16), UInt64(text.suffix(16), radix: 16))
    guard let high, let low else { return nil }
    return (high, low)
  }

  /// Whether it was given before another.
  static func < (first: LastUUID, second: LastUUID) -> Bool { (first.high, first.low) < (second.high, second.low) }

  /// Goes on to the next one.
  mutating func advance(_ environment: Environment, now: Int64) {
    let time = UInt64(clamping: now) < Self.timeLimit ? UInt64(clamping: now) : Self.timeLimit - 1
    if time > high >> 12 { return begin(time, environment) }
    low += environment.random() >> (64 - Self.stepBits) + 1
    if low > Self.lowMask {
      low &= Self.lowMask
      high += 1
      // The time went up with it: what follows is as random as in any other millisecond.
      if high & 0xFFF == 0 { begin(min(high >> 12, Self.timeLimit - 1), environment) }
    }
  }

  /// The highest random bit stays clear, so that there is room above for the rest of the millisecond.
  private mutating func begin(_ time: UInt64, _ environment: Environment) {
    high = time << 12 | environment.random() & 0x7FF
    low = environment.random() & Self.lowMask
  }

  var text: String {
    Identifier.uuid((high >> 12) << 16 | 0x7000 | high & 0xFFF, low | 0x8000_0000_0000_0000)
  }
}

/// An id that was made for something that is about to be made.
struct MadeIdentifier {
  let text: String
  /// to be remembered once the thing is there, for what is refused leaves no trace; nil for another format
  let uuid: LastUUID?
}

extension Store {
  func makeIdentifier(_ format: IDFormat) -> MadeIdentifier {
    switch format {
    case .uuid:
      var uuid = counters.lastUUID
      uuid.advance(environment, now: now)
      return MadeIdentifier(text: uuid.text, uuid: uuid)
    case .random: return MadeIdentifier(text: Identifier.random(environment), uuid: nil)
    }
  }

  /// Remembers the id of something that was made: nil where it was given.
  func note(_ made: MadeIdentifier?) {
    if let uuid = made?.uuid { counters.lastUUID = uuid }
  }
}

enum Identifier {
  static func random(_ environment: Environment) -> String { base64URL((0..<4).map { _ in environment.random() }) }

  static func uuid(_ high: UInt64, _ low: UInt64) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    text.reserveCapacity(36)
    for nibble in 0..<32 {
      if nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20 { text.append(UInt8(ascii: "-")) }
      let word = nibble < 16 ? high : low
      text.append(digits[Int(word >> UInt64(60 - nibble % 16 * 4) & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }

  private static func base64URL(_ words: [UInt64]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
    let bytes = words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) } }
    var text: [UInt8] = []
    var buffer: UInt32 = 0
    var bits = 0
    for byte in bytes {
      buffer = buffer << 8 | UInt32(byte)
      bits += 8
      while bits >= 6 {
        bits -= 6
        text.append(alphabet[Int(buffer >> UInt32(bits) & 63)])
      }
    }
    if bits > 0 { text.append(alphabet[Int(buffer << UInt32(6 - bits) & 63)]) }
    return String(decoding: text, as: UTF8.self)
  }
}
