internal import Glibc

/// PostgreSQL's TEXT cannot hold U+0000. It is stored as U+0001 U+0002, and U+0001 as U+0001 U+0003.
///
/// Each character has a code of its own that begins no other, and their order is that of the characters: so prefixes
/// stay prefixes and sorted stays sorted, and a text has as many bytes as its code without U+0001.
enum ZeroEscape {
  private static let mark: UInt8 = 1

  /// Appends the code of a text.
  /// - Returns: how many bytes that were
  @discardableResult
  static func append(_ text: Span<UInt8>, to bytes: inout [UInt8]) -> Int {
    let start = bytes.count
    unsafe text.withUnsafeBufferPointer { buffer in
      // memchr only reads, within the buffer.
      if let base = buffer.baseAddress, unsafe memchr(base, 0, buffer.count) != nil
        || memchr(base, Int32(mark), buffer.count) != nil
      {
        for unsafe byte in unsafe buffer { put(byte, &bytes) }
      } else {
        unsafe bytes.append(contentsOf: buffer)
      }
    }
    return bytes.count - start
  }

  private static func put(_ byte: UInt8, _ bytes: inout [UInt8]) {
    if byte <= mark {
      bytes.append(mark)
      bytes.append(byte + 2)
    } else {
      bytes.append(byte)
    }
  }

  /// The text of a code, or nil where the code is the text itself.
  static func decoded(_ code: Span<UInt8>) -> [UInt8]? {
    unsafe code.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress, unsafe memchr(base, Int32(mark), buffer.count) != nil else { return nil }
      var text: [UInt8] = []
      var isMarked = false
      for unsafe byte in unsafe buffer {
        if isMarked {
          text.append(byte &- 2)
          isMarked = false
        } else if byte == mark {
          isMarked = true
        } else {
          text.append(byte)
        }
      }
      return text
    }
  }
}
