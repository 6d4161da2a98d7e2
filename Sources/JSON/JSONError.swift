/// Why a text is not JSON, and where.
///
/// `offset` counts bytes from the start of the text that was handed to the scanner.
package struct JSONError: Error, Equatable {
  package enum Problem: Equatable {
    case unexpectedEnd
    case unexpectedByte(UInt8, expected: String)
    case controlCharacter
    case invalidEscape
    case invalidUTF8
    case invalidNumber
    case tooDeep(limit: Int)
    case trailingBytes
  }

  package let problem: Problem
  package let offset: Int

  package init(_ problem: Problem, at offset: Int) {
    self.problem = problem
    self.offset = offset
  }
}

extension JSONError: CustomStringConvertible {
  /// One clause for people. It never quotes more than the one byte that was wrong, so no payload leaks into a message.
  package var description: String {
    switch problem {
    case .unexpectedEnd: "the text ends at byte \(offset) in the middle of a value"
    case .unexpectedByte(let byte, let expected): "\(name(of: byte)) at byte \(offset), expected \(expected)"
    case .controlCharacter: "unescaped control character in a string at byte \(offset)"
    case .invalidEscape: "invalid escape in a string at byte \(offset)"
    case .invalidUTF8: "invalid UTF-8 at byte \(offset)"
    case .invalidNumber: "invalid number at byte \(offset)"
    case .tooDeep(let limit): "nesting deeper than \(limit) at byte \(offset)"
    case .trailingBytes: "more bytes after the end of the value at byte \(offset)"
    }
  }

  /// Only at the start is it a byte order mark: further on, 0xEF begins many a character, such as a fullwidth colon.
  private func name(of byte: UInt8) -> String {
    if offset == 0, byte == 0xEF || byte == 0xFE || byte == 0xFF { return "a byte order mark" }
    if (0x21...0x7E).contains(byte) { return "'\(Character(UnicodeScalar(byte)))'" }
    return "byte 0x" + String(byte, radix: 16, uppercase: true)
  }
}
