/// RFC 3339 timestamps as MCP has them in tasks: UTC, milliseconds, always 24 characters, so that they sort as text.
package enum Timestamp {
  private static let dayMilliseconds: Int64 = 86_400_000

  /// `2026-11-20T21:27:00.123Z` for Unix milliseconds; years from 0 to 9999, others are cut to that.
  package static func text(_ milliseconds: Int64) -> String {
    let literal = literal(milliseconds)
    return String(decoding: (1..<25).map { literal[$0] }, as: UTF8.self)
  }

  /// The same as a JSON string, its quotes included: every task that is shown has two.
  package static func literal(_ milliseconds: Int64) -> InlineArray<26, UInt8> {
    let milliseconds = min(max(milliseconds, -62_167_219_200_000), 253_402_300_799_999)
    let days = floorDivide(milliseconds, dayMilliseconds)
    let rest = milliseconds - days * dayMilliseconds
    let date = civil(days)
    var text = InlineArray<26, UInt8>(repeating: UInt8(ascii: "\""))
    var at = 1
    func put(_ number: Int64, digits: Int, then separator: UInt8) {
      var rest = UInt64(truncatingIfNeeded: number)
      for place in stride(from: at + digits - 1, through: at, by: -1) {
        text[place] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
        rest /= 10
      }
      text[at + digits] = separator
      at += digits + 1
    }
    put(date.year, digits: 4, then: UInt8(ascii: "-"))
    put(date.month, digits: 2, then: UInt8(ascii: "-"))
    put(date.day, digits: 2, then: UInt8(ascii: "T"))
    put(rest / 3_600_000, digits: 2, then: UInt8(ascii: ":"))
    put(rest / 60_000 % 60, digits: 2, then: UInt8(ascii: ":"))
    put(rest / 1_000 % 60, digits: 2, then: UInt8(ascii: "."))
    put(rest % 1_000, digits: 3, then: UInt8(ascii: "Z"))
    return text
  }

  /// Unix milliseconds of an RFC 3339 timestamp with any fraction and offset; nil when it is none.
  ///
  /// A leap second (`23:59:60` UTC at the end of a month, as the last one was in 2016) counts as the second after it,
  /// for Unix time has no number for it.
  package static func milliseconds(_ text: String) -> Int64? {
    var bytes = Array(text.utf8)[...]
    func number(_ digits: Int) -> Int64? {
      guard bytes.count >= digits else { return nil }
      var value: Int64 = 0
      for byte in bytes.prefix(digits) {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
        value = value * 10 + Int64(byte - UInt8(ascii: "0"))
      }
      bytes = bytes.dropFirst(digits)
      return value
    }
    func take(_ characters: String) -> UInt8? {
      guard let first = bytes.first, characters.utf8.contains(first) else { return nil }
      bytes = bytes.dropFirst()
      return first
    }
    guard let year = number(4), take("-") != nil, let month = number(2), take("-") != nil, let day = number(2),
      take("Tt ") != nil, let hour = number(2), take(":") != nil, let minute = number(2), take(":") != nil,
      let second = number(2), (1...12).contains(month), day >= 1, day <= daysIn(month, year), hour < 24, minute < 60,
      second <= 60
    else { return nil }
    var fraction: Int64 = 0
    if take(".") != nil {
      var digits = 0
      while let digit = number(1) {
        if digits < 3 { fraction = fraction * 10 + digit }
        digits += 1
      }
      if digits == 0 { return nil }
      while digits < 3 {
        fraction *= 10
        digits += 1
      }
    }
    var offset: Int64 = 0
    if let sign = take("+-") {
      guard let hours = number(2), take(":") != nil, let minutes = number(2), hours < 24, minutes < 60 else {
        return nil
      }
      offset = (hours * 60 + minutes) * (sign == UInt8(ascii: "-") ? -60_000 : 60_000)
    } else if take("Zz") == nil {
      return nil
    }
    guard bytes.isEmpty else { return nil }
    let seconds = (hour * 60 + minute) * 60 + second
    let time = days(year, month, day) * dayMilliseconds + seconds * 1_000 - offset
    if second == 60, time % dayMilliseconds != 0 || civil(time / dayMilliseconds).day != 1 { return nil }
    return time + fraction
  }

  // MARK: - The Gregorian calendar, counted in eras of 400 years from 1 March

  private static func civil(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = days + 719_468
    let era = floorDivide(shifted, 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthIndex = (5 * dayOfYear + 2) / 153
    let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * monthIndex + 2) / 5 + 1)
  }

  private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let year = month <= 2 ? year - 1 : year
    let era = floorDivide(year, 400)
    let yearOfEra = year - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  private static func daysIn(_ month: Int64, _ year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  private static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
    let quotient = value / divisor
    return value % divisor < 0 ? quotient - 1 : quotient
  }
}
