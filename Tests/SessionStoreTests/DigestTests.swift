import SHA256
import Testing

@Suite struct DigestTests {
  /// The portable one everywhere, the processor's own where it has the instructions.
  static let engines: [Digest.Engine] = Digest.Engine.best == .portable ? [.portable] : [.portable, .processor]

  private func digest(of bytes: [UInt8], _ engine: Digest.Engine) -> Digest {
    var hashing = Digest.Hashing(on: engine)
    hashing.append(bytes.span)
    return hashing.finish()
  }

  private func digest(_ text: String, _ engine: Digest.Engine) -> String {
    digest(of: Array(text.utf8), engine).text
  }

  /// The examples of NIST for FIPS 180-4.
  @Test(arguments: engines)
  func publishedVectors(engine: Digest.Engine) {
    #expect(digest("", engine) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(digest("abc", engine) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", engine)
        == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
    #expect(
      digest(
        "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
          + "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        engine) == "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1")
    #expect(
      digest(String(repeating: "a", count: 1_000_000), engine)
        == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  /// Every length of a padding: the digest of the digests of 0, 1, … bytes, as Python's hashlib has it.
  @Test(arguments: engines)
  func everyLength(engine: Digest.Engine) {
    var digests: [UInt8] = []
    for length in 0..<300 {
      let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0) }
      let made = digest(of: bytes, engine)
      for index in 0..<4 {
        let word = made.integer(index)
        for byte in 1...8 { digests.append(UInt8(truncatingIfNeeded: word >> (64 - 8 * byte))) }
      }
    }
    #expect(
      digest(of: digests, engine).text
        == "df90175783c44235cf6aefd935a2c2747f42399416d16789ece339f1fd26d835")
  }

  /// Whatever the pieces, the bytes are the same.
  @Test(arguments: engines)
  func pieces(engine: Digest.Engine) {
    let bytes = (0..<200).map { UInt8($0) }
    for length in 1...130 {
      var hashing = Digest.Hashing(on: engine)
      for start in stride(from: 0, to: bytes.count, by: length) {
        hashing.append(Array(bytes[start..<min(start + length, bytes.count)]).span)
      }
      #expect(hashing.finish() == digest(of: bytes, engine))
    }
    var hashing = Digest.Hashing(on: engine)
    hashing.append(0x0102_0304_0506_0708 as Int64)
    hashing.append(9, ([10, 11] as [UInt8]).span, 12)
    #expect(hashing.finish() == digest(of: Array(1...12), engine))
  }

  @Test func aDigestIsReadAsItIsWritten() {
    let made = digest(of: Array("abc".utf8), .best)
    #expect(Digest(made.text) == made)
    #expect(Digest.zero.text == String(repeating: "0", count: 64))
    let text = made.text
    for wrong in ["", String(text.dropLast()), text + "0", text.uppercased(), "g" + text.dropFirst()] {
      #expect(Digest(wrong) == nil)
    }
  }
}
