import SessionStore

/// Pictures of figures: bars, each with its number beside it, so that nothing is told by length or colour alone.
extension HTML {
  struct Bar {
    let label: String
    let value: Int64
    /// which of the page's colours it has
    var style: StaticString = "a"
  }

  /// A table with a bar in each row.
  mutating func bars(_ caption: String, _ bars: [Bar]) {
    let largest = max(1, bars.map(\.value).max() ?? 0)
    markup("<table class=\"bars\"><caption>")
    escaped(caption)
    markup("</caption><tbody>")
    for bar in bars {
      markup("<tr><th scope=\"row\">")
      escaped(bar.label)
      markup("</th><td class=\"bar\"><span class=\"")
      markup(bar.style)
      markup("\" style=\"width:")
      // A value that is there is seen.
      number(bar.value == 0 ? 0 : max(1, bar.value * 100 / largest))
      markup("%\"></span></td>")
      element("td", bar.value.grouped, class: "n")
      markup("</tr>")
    }
    markup("</tbody></table>")
  }

  /// A column for each bucket of time.
  mutating func columns(_ buckets: [Statistics.EventBucket], length: Int64) {
    let largest = max(1, buckets.map(\.count).max() ?? 0)
    markup("<figure><figcaption>Events per ")
    escaped(Self.name(ofLength: length))
    markup("; the highest column is ")
    escaped(largest.grouped)
    markup("</figcaption><svg role=\"img\" aria-label=\"Events over time\" preserveAspectRatio=\"none\" viewBox=\"0 0 ")
    number(buckets.count * 10)
    markup(" 100\">")
    for (index, bucket) in buckets.enumerated() {
      let height = bucket.count == 0 ? 0 : max(1, bucket.count * 100 / largest)
      markup("<rect class=\"a\" width=\"8\" x=\"")
      number(index * 10 + 1)
      markup("\" y=\"")
      number(100 - height)
      markup("\" height=\"")
      number(height)
      markup("\"><title>")
      escaped("\(Timestamp.minute(bucket.start)): \(bucket.count.grouped)")
      markup("</title></rect>")
    }
    markup("</svg><div class=\"axis\">")
    element("span", buckets.first.map { Timestamp.minute($0.start) } ?? "")
    element("span", buckets.last.map { Timestamp.minute($0.start + length) } ?? "")
    markup("</div></figure>")
  }

  private static func name(ofLength length: Int64) -> String {
    for (unit, milliseconds) in [("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000)] as [(String, Int64)]
    where length % milliseconds == 0 {
      let count = length / milliseconds
      return count == 1 ? unit : "\(count.grouped) \(unit)s"
    }
    return length == 1_000 ? "second" : "\((length / 1_000).grouped) seconds"
  }
}

extension Int64 {
  /// with a thin space between groups of three digits
  var grouped: String {
    let digits = String(magnitude)
    var text = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index) % 3 == 0 { text += "\u{202F}" }
      text.append(digit)
    }
    return self < 0 ? "-" + text : text
  }

  /// as bytes, with a unit
  var bytes: String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] as [(String, Int64)] where self >= 1 << shift {
      let tenths = self * 10 / (1 << shift)
      return "\(tenths / 10).\(tenths % 10) \(unit)"
    }
    return "\(self) B"
  }

  /// as a length of time, in its two largest units
  var duration: String {
    var rest = Swift.max(self, 0) / 1_000
    var parts: [String] = []
    for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)] as [(String, Int64)] {
      if rest >= seconds || (unit == "s" && parts.isEmpty) { parts.append("\(rest / seconds) \(unit)") }
      rest %= seconds
    }
    return parts.prefix(2).joined(separator: " ")
  }
}

extension Timestamp {
  /// "2026-11-20 21:27", UTC
  static func minute(_ time: Int64) -> String {
    let text = Timestamp.text(time)
    return text.prefix(10) + " " + text.dropFirst(11).prefix(5)
  }
}
