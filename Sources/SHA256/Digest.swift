internal import CSHA256

/// What SHA-256 makes of bytes (FIPS 180-4, https://doi.org/10.6028/NIST.FIPS.180-4).
package struct Digest: Equatable, Sendable {
  private var words: SIMD8<UInt32>

  package static let zero = Digest(words: .zero)

  private init(words: SIMD8<UInt32>) { self.words = words }

  /// 64 digits in lower case
  package init?(_ text: String) {
    words = .zero
    var count = 0
    for byte in text.utf8 {
      let digit: UInt8
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
      default: return nil
      }
      if count == 64 { return nil }
      words[count >> 3] = words[count >> 3] << 4 | UInt32(digit)
      count += 1
    }
    if count < 64 { return nil }
  }

  package var text: String {
    var digits: [UInt8] = []
    append(to: &digits)
    return String(decoding: digits, as: UTF8.self)
  }

  /// Appends the digits of ``text``.
  /// - Parameter range: of the eight words, which have eight digits each
  package func append(_ range: Range<Int> = 0..<8, to digits: inout [UInt8]) {
    digits.append(addingCapacity: range.count * 8) { output in
      unsafe output.withUnsafeMutableBufferPointer { buffer, count in
        let target = UnsafeMutableRawBufferPointer(buffer)
        for index in range {
          unsafe target.storeBytes(of: Self.digits(of: words[index]), toByteOffset: count, as: UInt64.self)
          count += 8
        }
      }
    }
  }

  /// Two of the words.
  package func integer(_ index: Int) -> Int64 { Int64(words[2 * index]) << 32 | Int64(words[2 * index + 1]) }

  /// What takes blocks in: the processor's own instructions, or those that every processor has.
  package enum Engine: Sendable {
    case processor, portable

    package static let best: Engine = csha256_is_available() != 0 ? .processor : .portable
  }

  /// Bytes that are hashed as they come.
  package struct Hashing {
    private let engine: Engine
    private var state = Digest.initial
    private var block = InlineArray<64, UInt8>(repeating: 0)
    private var count = 0

    package init(on engine: Engine = .best) { self.engine = engine }

    @inline(__always)
    package mutating func append(_ byte: UInt8) {
      block[count & 63] = byte
      count &+= 1
      if count & 63 == 0 { takeBlock() }
    }

    /// its eight bytes, the highest first
    package mutating func append(_ integer: Int64) {
      let bigEndian = integer.bigEndian
      unsafe withUnsafeBytes(of: bigEndian) { unsafe append($0) }
    }

    package mutating func append(_ bytes: Span<UInt8>) {
      unsafe bytes.withUnsafeBytes { unsafe append($0) }
    }

    /// Appends bytes between two others.
    package mutating func append(_ first: UInt8, _ bytes: Span<UInt8>, _ last: UInt8) {
      append(first)
      unsafe bytes.withUnsafeBytes { unsafe append($0) }
      append(last)
    }

    package mutating func append(_ digest: Digest) {
      unsafe withUnsafeBytes(of: digest.bigEndian) { unsafe append($0) }
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) {
      var start = 0
      while start < bytes.count {
        let place = count & 63
        let length = min(64 &- place, bytes.count &- start)
        unsafe withUnsafeMutableBytes(of: &block) { block in
          unsafe block.baseAddress!.advanced(by: place)
            .copyMemory(from: bytes.baseAddress!.advanced(by: start), byteCount: length)
        }
        start &+= length
        count &+= length
        if count & 63 == 0 { takeBlock() }
      }
    }

    private mutating func takeBlock() {
      switch engine {
      case .processor: Digest.compressOnProcessor(&state, block.span)
      case .portable: Digest.compress(&state, block.span)
      }
    }

    /// The digest of all that was appended; nothing comes behind it.
    package mutating func finish() -> Digest {
      let bits = Int64(count) << 3
      append(0x80 as UInt8)
      if count & 63 > 56 {
        fill(64)
        takeBlock()
        count = 0
      }
      fill(56)
      count = 56
      append(bits)
      return Digest(words: state)
    }

    /// Writes zeros up to a place.
    private mutating func fill(_ end: Int) {
      let place = count & 63
      unsafe withUnsafeMutableBytes(of: &block) { block in
        _ = unsafe block[place..<end].initializeMemory(as: UInt8.self, repeating: 0)
      }
    }
  }

  /// its bytes
  private var bigEndian: SIMD8<UInt32> {
    words &<< 24 | (words & 0xFF00) &<< 8 | (words &>> 8) & 0xFF00 | words &>> 24
  }

  private static let initial = SIMD8<UInt32>(
    0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19)

  private static let constants: [UInt32] = [
    0x428A_2F98, 0x7137_4491, 0xB5C0_FBCF, 0xE9B5_DBA5, 0x3956_C25B, 0x59F1_11F1, 0x923F_82A4, 0xAB1C_5ED5,
    0xD807_AA98, 0x1283_5B01, 0x2431_85BE, 0x550C_7DC3, 0x72BE_5D74, 0x80DE_B1FE, 0x9BDC_06A7, 0xC19B_F174,
    0xE49B_69C1, 0xEFBE_4786, 0x0FC1_9DC6, 0x240C_A1CC, 0x2DE9_2C6F, 0x4A74_84AA, 0x5CB0_A9DC, 0x76F9_88DA,
    0x983E_5152, 0xA831_C66D, 0xB003_27C8, 0xBF59_7FC7, 0xC6E0_0BF3, 0xD5A7_9147, 0x06CA_6351, 0x1429_2967,
    0x27B7_0A85, 0x2E1B_2138, 0x4D2C_6DFC, 0x5338_0D13, 0x650A_7354, 0x766A_0ABB, 0x81C2_C92E, 0x9272_2C85,
    0xA2BF_E8A1, 0xA81A_664B, 0xC24B_8B70, 0xC76C_51A3, 0xD192_E819, 0xD699_0624, 0xF40E_3585, 0x106A_A070,
    0x19A4_C116, 0x1E37_6C08, 0x2748_774C, 0x34B0_BCB5, 0x391C_0CB3, 0x4ED8_AA4A, 0x5B9C_CA4F, 0x682E_6FF3,
    0x748F_82EE, 0x78A5_636F, 0x84C8_7814, 0x8CC7_0208, 0x90BE_FFFA, 0xA450_6CEB, 0xBEF9_A3F7, 0xC671_78F2,
  ]

  private static func compressOnProcessor(_ state: inout SIMD8<UInt32>, _ blocks: Span<UInt8>) {
    unsafe withUnsafeMutableBytes(of: &state) { state in
      let words = unsafe state.assumingMemoryBound(to: UInt32.self)
      unsafe blocks.withUnsafeBufferPointer { blocks in
        unsafe constants.withUnsafeBufferPointer { constants in
          unsafe csha256_compress(words.baseAddress, blocks.baseAddress, blocks.count >> 6, constants.baseAddress)
        }
      }
    }
  }

  private static func compress(_ state: inout SIMD8<UInt32>, _ block: Span<UInt8>) {
    let constants = constants.span
    var schedule = InlineArray<64, UInt32>(repeating: 0)
    for index in 0..<16 {
      let word = unsafe block.bytes.unsafeLoadUnaligned(fromByteOffset: index &* 4, as: UInt32.self)
      unsafe schedule[unchecked: index] = UInt32(bigEndian: word)
    }
    var index = 16
    while index < 64 {
      let (early, late) = unsafe (schedule[unchecked: index &- 15], schedule[unchecked: index &- 2])
      unsafe schedule[unchecked: index] =
        schedule[unchecked: index &- 16] &+ (rotate(rotate(early, 11) ^ early, 7) ^ early &>> 3)
        &+ schedule[unchecked: index &- 7] &+ (rotate(rotate(late, 2) ^ late, 17) ^ late &>> 10)
      index &+= 1
    }
    // The words change their places in each round; after eight of them they are where they were.
    var (a, b, c, d) = (state[0], state[1], state[2], state[3])
    var (e, f, g, h) = (state[4], state[5], state[6], state[7])
    index = 0
    while index < 64 {
      func word(_ offset: Int) -> UInt32 {
        unsafe constants[unchecked: index &+ offset] &+ schedule[unchecked: index &+ offset]
      }
      round(a, b, c, &d, e, f, g, &h, word(0))
      round(h, a, b, &c, d, e, f, &g, word(1))
      round(g, h, a, &b, c, d, e, &f, word(2))
      round(f, g, h, &a, b, c, d, &e, word(3))
      round(e, f, g, &h, a, b, c, &d, word(4))
      round(d, e, f, &g, h, a, b, &c, word(5))
      round(c, d, e, &f, g, h, a, &b, word(6))
      round(b, c, d, &e, f, g, h, &a, word(7))
      index &+= 8
    }
    state &+= SIMD8(a, b, c, d, e, f, g, h)
  }

  @inline(__always)
  private static func round(
    _ a: UInt32, _ b: UInt32, _ c: UInt32, _ d: inout UInt32, _ e: UInt32, _ f: UInt32, _ g: UInt32,
    _ h: inout UInt32, _ word: UInt32
  ) {
    // Rotations within each other: of e by 6, 11 and 25, of a by 2, 13 and 22.
    let first = h &+ rotate(rotate(rotate(e, 14) ^ e, 5) ^ e, 6) &+ (g ^ e & (f ^ g)) &+ word
    d = d &+ first
    h = first &+ rotate(rotate(rotate(a, 9) ^ a, 11) ^ a, 2) &+ (a & b | c & (a | b))
  }

  @inline(__always)
  private static func rotate(_ word: UInt32, _ bits: UInt32) -> UInt32 { word &>> bits | word &<< (32 &- bits) }

  private static let ones: UInt64 = 0x0101_0101_0101_0101

  /// Eight digits, the first one lowest.
  private static func digits(of word: UInt32) -> UInt64 {
    var bytes = UInt64(word.byteSwapped)
    bytes = (bytes | bytes << 16) & 0x0000_FFFF_0000_FFFF
    bytes = (bytes | bytes << 8) & 0x00FF_00FF_00FF_00FF
    let values = (bytes >> 4 & 0x000F_000F_000F_000F) | (bytes & 0x000F_000F_000F_000F) << 8
    // From 10 on they are letters.
    let letters = (values &+ ones &* 6) >> 4 & ones
    return values &+ ones &* 0x30 &+ letters &* 39
  }
}
