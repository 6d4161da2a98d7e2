/// How ids that the store makes look.
package enum IDFormat: String, Sendable, CaseIterable {
  /// UUID v7, hyphenated, lower case (RFC 9562, section 5.7): 48 bits of time, 74 random bits
  case uuid
  /// 256 random bits in base64url without padding, for ids that are handed out as capabilities
  case random
}

enum Identifier {
  static func make(_ format: IDFormat, _ environment: Environment, now: Int64) -> String {
    switch format {
    case .uuid:
      let random = environment.random()
      let high = UInt64(truncatingIfNeeded: now) << 16 | 0x7000 | random & 0x0FFF
      let low = environment.random() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
      return uuid(high, low)
    case .random:
      return base64URL((0..<4).map { _ in environment.random() })
    }
  }

  private static func uuid(_ high: UInt64, _ low: UInt64) -> String {
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
