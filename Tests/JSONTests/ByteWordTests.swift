import JSON
import JSONReference
import Testing

/// Eight bytes at a time, and 32, give what one at a time gives.
@Suite struct ByteWordTests {
  @Test func eightBytesAreLoadedLowestFirst() {
    let bytes = Array(UInt8(1)...12)
    #expect(ByteWord.load(bytes.span, 0) == 0x0807_0605_0403_0201)
    #expect(ByteWord.load(bytes.span, 4) == 0x0C0B_0A09_0807_0605)
    for start in 0...4 { #expect(ByteWord.load(bytes.span, at: start) == ByteWord.load(bytes.span, start)) }
    for start in 5...13 { #expect(ByteWord.load(bytes.span, start) == nil) }
    #expect(ByteWord.load([UInt8]().span, 0) == nil)
  }

  /// Among bytes that differ by one or by one bit, wherever the search begins and however many match.
  @Test func theFirstMatchIsFound() {
    for wanted: UInt8 in [0x00, 0x01, 0x0A, 0x22, 0x5C, 0x7F, 0x80, 0xFF] {
      for other in [wanted &+ 1, wanted &- 1, wanted ^ 0x80] {
        for length in Array(0...26) + [31, 32, 33, 39, 40, 41, 64, 65, 73] {
          for position in 0...length {
            var bytes = [UInt8](repeating: other, count: length)
            if position < length { bytes[position] = wanted }
            if position + 3 < length { bytes[position + 3] = wanted }
            for start in [0, 1, 7, 8, 9, position, position + 1, length, length + 1] {
              let expected = bytes.indices.dropFirst(start).first { bytes[$0] == wanted }
              guard ByteWord.firstIndex(of: wanted, in: bytes.span, from: start) == expected else {
                Issue.record(
                  "\(shown([wanted])) in \(shown(bytes)) from \(start) is not at \(String(describing: expected))")
                return
              }
            }
          }
        }
      }
    }
  }

  @Test func whatIsNoVisibleLetterIsFoundAtEveryPlace() {
    for length in 0...26 {
      var bytes = [UInt8](repeating: UInt8(ascii: "x"), count: length)
      #expect(ByteWord.isVisible(bytes.span) == true)
      for position in bytes.indices {
        for byte in UInt8.min...UInt8.max {
          bytes[position] = byte
          let expected = (0x21...0x7E).contains(byte) && byte != UInt8(ascii: "\\")
          guard ByteWord.isVisible(bytes.span) == expected else {
            Issue.record("\(shown(bytes)) is visible: \(!expected)")
            return
          }
        }
        bytes[position] = UInt8(ascii: "x")
      }
    }
  }

  @Test func bytesAreTheSameWhenAllOfThemAre() {
    for length in 0...40 {
      let bytes = (0..<length).map { UInt8($0) }
      #expect(bytes.span.isSame(as: Array(bytes).span) == true)
      #expect(bytes.span.isSame(as: (bytes + [0]).span) == false)
      #expect(bytes.span.hash(12_345) == Array(bytes).span.hash(12_345))
      for position in bytes.indices {
        var other = bytes
        other[position] ^= 0x80
        #expect(bytes.span.isSame(as: other.span) == false)
        #expect(bytes.span.hash(0x9E37_79B9_7F4A_7C15) != other.span.hash(0x9E37_79B9_7F4A_7C15))
      }
    }
  }
}
