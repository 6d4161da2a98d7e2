/// Eight bytes at a time: the test that several loops over bytes share.
package enum ByteWord {
  package static let ones: UInt64 = 0x0101_0101_0101_0101
  package static let tops: UInt64 = 0x8080_8080_8080_8080

  /// The eight bytes from `at`, the first one lowest. The compiler makes one unaligned load of it.
  @inline(__always)
  package static func load(_ bytes: Span<UInt8>, _ at: Int) -> UInt64 {
    let low = UInt64(bytes[at]) | UInt64(bytes[at + 1]) << 8 | UInt64(bytes[at + 2]) << 16 | UInt64(bytes[at + 3]) << 24
    let high =
      UInt64(bytes[at + 4]) | UInt64(bytes[at + 5]) << 8 | UInt64(bytes[at + 6]) << 16 | UInt64(bytes[at + 7]) << 24
    return low | high << 32
  }

  /// Non-zero when a byte equals `byte`; its lowest set bit is the top bit of the first such byte (exact for that one
  /// only).
  @inline(__always)
  package static func matches(_ word: UInt64, _ byte: UInt8) -> UInt64 {
    let difference = word ^ (ones &* UInt64(byte))
    return (difference &- ones) & ~difference & tops
  }

  /// The index of the first `byte` at or after `start`.
  package static func firstIndex(of byte: UInt8, in bytes: Span<UInt8>, from start: Int = 0) -> Int? {
    var at = start
    while at + 8 <= bytes.count {
      let found = matches(load(bytes, at), byte)
      if found != 0 { return at + found.trailingZeroBitCount >> 3 }
      at += 8
    }
    while at < bytes.count {
      if bytes[at] == byte { return at }
      at += 1
    }
    return nil
  }
}
