/// Decodes the contents of JSON strings.
package enum JSONString {
  /// The string between the quotes at `range` of a validated text, or nil when it holds a lone surrogate escape, which
  /// no UTF-8 can express.
  package static func decode(_ bytes: Span<UInt8>, _ range: Range<Int>) -> String? {
    let span = bytes.extracting(range)
    if !holdsEscape(bytes, range) {
      guard let text = try? UTF8Span(validating: span) else { return nil }
      return String(copying: text)
    }
    return decodeEscaped(span)
  }

  /// Whether there is an escape between the quotes.
  package static func holdsEscape(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
    ByteWord.firstIndex(of: UInt8(ascii: "\\"), in: bytes.extracting(range)) != nil
  }

  private static func decodeEscaped(_ span: Span<UInt8>) -> String? {
    var decoded: [UInt8] = []
    decoded.reserveCapacity(span.count)
    var index = 0
    while index < span.count {
      let byte = span[index]
      guard byte == UInt8(ascii: "\\") else {
        decoded.append(byte)
        index += 1
        continue
      }
      let escape = span[index + 1]
      index += 2
      switch escape {
      case UInt8(ascii: "b"): decoded.append(0x08)
      case UInt8(ascii: "f"): decoded.append(0x0C)
      case UInt8(ascii: "n"): decoded.append(0x0A)
      case UInt8(ascii: "r"): decoded.append(0x0D)
      case UInt8(ascii: "t"): decoded.append(0x09)
      case UInt8(ascii: "u"):
        guard let scalar = scalar(span, &index) else { return nil }
        decoded.append(contentsOf: Character(scalar).utf8)
      default: decoded.append(escape)
      }
    }
    return String(decoding: decoded, as: UTF8.self)
  }

  /// Reads the four digits at `index` and, after a high surrogate, the `\uXXXX` of its low one.
  private static func scalar(_ span: Span<UInt8>, _ index: inout Int) -> Unicode.Scalar? {
    let unit = codeUnit(span, index)
    index += 4
    guard (0xD800..<0xDC00).contains(unit) else { return Unicode.Scalar(unit) }
    guard index + 6 <= span.count, span[index] == UInt8(ascii: "\\"), span[index + 1] == UInt8(ascii: "u") else {
      return nil
    }
    let low = codeUnit(span, index + 2)
    guard (0xDC00..<0xE000).contains(low) else { return nil }
    index += 6
    return Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
  }

  private static func codeUnit(_ span: Span<UInt8>, _ at: Int) -> UInt32 {
    var unit: UInt32 = 0
    for index in at..<at + 4 { unit = unit << 4 | (JSONScanner.hexValue(span[index]) ?? 0) }
    return unit
  }
}

/// Reads JSON numbers as integers.
package enum JSONInteger {
  /// The number at `range` of a validated text, or nil when it is written with a fraction or an exponent or does not
  /// fit 64 bits: nothing is rounded.
  package static func decode(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int64? {
    let isNegative = bytes[range.lowerBound] == UInt8(ascii: "-")
    var value: Int64 = 0
    for index in range.lowerBound + (isNegative ? 1 : 0)..<range.upperBound {
      let digit = bytes[index] &- UInt8(ascii: "0")
      guard digit < 10 else { return nil }
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (next, carry) = product.subtractingReportingOverflow(Int64(digit))
      if overflow || carry { return nil }
      value = next
    }
    // Counted downwards, so that the smallest integer fits.
    if isNegative { return value }
    return value == .min ? nil : -value
  }
}
