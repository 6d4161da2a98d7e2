/// Eight bytes at a time: the test that several loops over bytes share.
package enum ByteWord {
  package static let ones: UInt64 = 0x0101_0101_0101_0101
  package static let tops: UInt64 = 0x8080_8080_8080_8080

  /// The eight bytes from `at`, the first one lowest; nil when fewer are left.
  ///
  /// Written so that the count is compared once: the compiler then makes one unaligned load of the eight, which it does
  /// not do when it has to check each index (measured: 3 instructions against 40).
  @inline(__always)
  package static func load(_ bytes: Span<UInt8>, _ at: Int) -> UInt64? {
    let rest = bytes.extracting(droppingFirst: at)
    if rest.count < 8 { return nil }
    let low = UInt64(rest[0]) | UInt64(rest[1]) << 8 | UInt64(rest[2]) << 16 | UInt64(rest[3]) << 24
    let high = UInt64(rest[4]) | UInt64(rest[5]) << 8 | UInt64(rest[6]) << 16 | UInt64(rest[7]) << 24
    return low | high << 32
  }

  /// The same where it is known that eight are left.
  @inline(__always)
  package static func load(_ bytes: Span<UInt8>, at: Int) -> UInt64 {
    let part = bytes.extracting(at..<at &+ 8)
    let low = UInt64(part[0]) | UInt64(part[1]) << 8 | UInt64(part[2]) << 16 | UInt64(part[3]) << 24
    let high = UInt64(part[4]) | UInt64(part[5]) << 8 | UInt64(part[6]) << 16 | UInt64(part[7]) << 24
    return low | high << 32
  }

  /// Non-zero when a byte may not stand in a string as it is.
  @inline(__always)
  package static func escapes(_ word: UInt64) -> UInt64 {
    matches(word, UInt8(ascii: "\"")) | matches(word, UInt8(ascii: "\\")) | controls(word)
  }

  /// Non-zero when there is more to a byte of a string than itself: when it may not stand in one, ends it, or is not
  /// ASCII. Its lowest set bit is the top bit of the first such byte (exact for that one only).
  @inline(__always)
  package static func specials(_ word: UInt64) -> UInt64 { escapes(word) | word & tops }

  /// Non-zero when a byte equals `byte`; its lowest set bit is the top bit of the first such byte (exact for that one
  /// only).
  @inline(__always)
  package static func matches(_ word: UInt64, _ byte: UInt8) -> UInt64 {
    let difference = word ^ (ones &* UInt64(byte))
    return (difference &- ones) & ~difference & tops
  }

  /// Non-zero when a byte is under 0x20; exact for the lowest such byte only.
  @inline(__always)
  package static func controls(_ word: UInt64) -> UInt64 {
    (word &- ones &* 0x20) & ~word & tops
  }

  /// Non-zero when a byte is no visible ASCII, or a backslash.
  @inline(__always)
  private static func invisibles(_ word: UInt64) -> UInt64 {
    (word &- ones &* 0x21) & ~word & tops | (word | (word &+ ones)) & tops | matches(word, UInt8(ascii: "\\"))
  }

  /// Whether all bytes are visible ASCII and none begins an escape.
  package static func isVisible(_ bytes: Span<UInt8>) -> Bool {
    if bytes.count < 8 {
      for index in bytes.indices {
        let byte = bytes[index]
        if byte < 0x21 || byte > 0x7E || byte == UInt8(ascii: "\\") { return false }
      }
      return true
    }
    var found: UInt64 = 0
    var at = 0
    while at &+ 8 < bytes.count {
      found |= invisibles(load(bytes, at: at))
      at &+= 8
    }
    return found | invisibles(load(bytes, at: bytes.count &- 8)) == 0
  }

  /// The index of the first `byte` at or after `start`.
  package static func firstIndex(of byte: UInt8, in bytes: Span<UInt8>, from start: Int = 0) -> Int? {
    var at = ByteBlock.skip(bytes, start, allBut: byte)
    while let word = load(bytes, at) {
      let found = matches(word, byte)
      if found != 0 { return at &+ found.trailingZeroBitCount >> 3 }
      at &+= 8
    }
    while at < bytes.count {
      if bytes[at] == byte { return at }
      at += 1
    }
    return nil
  }
}

/// 32 bytes at a time, for what is long: whether there is anything among them, and not where.
///
/// Written as loops over a part whose length is known, with no way out: the compiler makes vectors of them (measured:
/// under 2 instructions a byte; `SIMD32` and its masks took a hundred).
enum ByteBlock {
  private static let size = 32

  /// Passes blocks in which every byte may stand in a string as it is, and is ASCII.
  @inline(__always)
  static func skipPlain(_ bytes: Span<UInt8>, _ start: Int) -> Int {
    var at = start
    while at &+ size <= bytes.count, isPlain(bytes, at) { at &+= size }
    return at
  }

  @inline(__always)
  private static func isPlain(_ bytes: Span<UInt8>, _ at: Int) -> Bool {
    let block = bytes.extracting(at..<at &+ 32)
    var (nearest, highest): (UInt8, UInt8) = (0xFF, 0)
    for index in 0..<32 {
      let byte = block[index]
      nearest = min(nearest, min(byte ^ UInt8(ascii: "\""), byte ^ UInt8(ascii: "\\")))
      // What is under 0x20 comes out highest.
      highest = max(highest, byte &- 0x20)
    }
    return nearest > 0 && highest < 0x60
  }

  /// Passes blocks that do not hold `byte`.
  @inline(__always)
  static func skip(_ bytes: Span<UInt8>, _ start: Int, allBut byte: UInt8) -> Int {
    var at = start
    while at &+ size <= bytes.count, !holds(bytes, at, byte) { at &+= size }
    return at
  }

  @inline(__always)
  private static func holds(_ bytes: Span<UInt8>, _ at: Int, _ byte: UInt8) -> Bool {
    let block = bytes.extracting(at..<at &+ 32)
    var least: UInt8 = 0xFF
    for index in 0..<32 { least = min(least, block[index] ^ byte) }
    return least == 0
  }
}
