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

  /// The index of the first `byte` at or after `start`.
  package static func firstIndex(of byte: UInt8, in bytes: Span<UInt8>, from start: Int = 0) -> Int? {
    var at = start
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
