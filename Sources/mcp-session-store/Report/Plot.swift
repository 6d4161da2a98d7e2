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

  /// A column for each bucket of time, between two axes.
  /// - Parameter what: what is counted, as a sentence begins with it
  mutating func columns(_ what: String, _ buckets: [Int64], _ time: TimeAxis) {
    let counts = CountAxis(highest: buckets.max() ?? 0)
    let total = buckets.reduce(0, +)
    markup("<figure class=\"plot\"><figcaption>")
    element("b", what)
    escaped(" \(total.grouped), per \(time.bucketName)")
    markup("</figcaption><div class=\"area\"><div class=\"y\">")
    for tick in counts.ticks {
      markup("<span style=\"bottom:")
      number(tick * 100 / counts.top)
      markup("%\">")
      escaped(tick.grouped)
      markup("</span>")
    }
    markup("</div><svg role=\"img\" aria-label=\"")
    let most = (buckets.max() ?? 0).grouped
    escaped("\(what) over time: \(total.grouped) in all, at most \(most) per \(time.bucketName)")
    markup("\" preserveAspectRatio=\"none\" viewBox=\"0 0 ")
    number(buckets.count * 10)
    markup(" 1000\">")
    for tick in counts.ticks where tick > 0 {
      let height = 1_000 - tick * 1_000 / counts.top
      line((0, height), (Int64(buckets.count) * 10, height))
    }
    for tick in time.ticks {
      let place = (tick.time - time.start) * 10 / time.bucketLength
      line((place, 0), (place, 1_000))
    }
    for (index, count) in buckets.enumerated() where count > 0 {
      let height = max(12, count * 1_000 / counts.top)
      markup("<rect class=\"a\" width=\"8\" x=\"")
      number(index * 10 + 1)
      markup("\" y=\"")
      number(1_000 - height)
      markup("\" height=\"")
      number(height)
      markup("\"><title>")
      escaped("\(Timestamp.minute(time.start + Int64(index) * time.bucketLength)): \(count.grouped)")
      markup("</title></rect>")
    }
    markup("</svg></div><div class=\"x\">")
    for tick in time.ticks {
      markup("<span style=\"left:")
      let perMille = (tick.time - time.start) * 1_000 / (Int64(buckets.count) * time.bucketLength)
      number(perMille / 10)
      markup(".")
      number(perMille % 10)
      markup("%\">")
      escaped(tick.label)
      markup("</span>")
    }
    markup("</div></figure>")
  }

  private mutating func line(_ start: (Int64, Int64), _ end: (Int64, Int64)) {
    markup("<path class=\"grid\" d=\"M")
    number(start.0)
    markup(" ")
    number(start.1)
    markup("L")
    number(end.0)
    markup(" ")
    number(end.1)
    markup("\"/>")
  }
}

/// How high columns are: from nothing to a round number.
struct CountAxis {
  /// what a reader may take for many is not drawn as the whole height
  private static let least: Int64 = 4
  private static let steps: Int64 = 4

  let top: Int64
  let ticks: [Int64]

  init(highest: Int64) {
    let needed = max(highest, Self.least)
    var (step, power) = (Int64(1), Int64(1))
    while step * Self.steps < needed, power < 1 << 56 {
      for factor in [1, 2, 5, 10] as [Int64] {
        step = factor * power
        if step * Self.steps >= needed { break }
      }
      power *= 10
    }
    let count = (needed + step - 1) / step
    top = count * step
    ticks = (0...count).map { $0 * step }
  }
}

/// A stretch of time in buckets, with ticks at round times, UTC.
struct TimeAxis {
  struct Tick {
    /// Unix milliseconds
    let time: Int64
    let label: String
  }

  let start: Int64
  let bucketLength: Int64
  let ticks: [Tick]
  let bucketName: String

  private static let day: Int64 = 86_400_000
  private static let most: Int64 = 6
  private static let steps: [Int64] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800,
      604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000, 157_680_000].map { $0 * 1_000 }

  init(start: Int64, bucketLength: Int64, buckets: Int) {
    self.start = start
    self.bucketLength = bucketLength
    bucketName = Self.name(ofLength: bucketLength)
    let span = bucketLength * Int64(buckets)
    let step = Self.steps.first { span / $0 <= Self.most } ?? span / Self.most + 1
    var ticks: [Tick] = []
    var time = start - start % step
    while time <= start + span {
      // What stands at the very end would reach out of the page.
      if time >= start, (time - start) * 100 <= span * 97 {
        ticks.append(Tick(time: time, label: Self.label(time, step)))
      }
      time += step
    }
    self.ticks = ticks
  }

  private static func label(_ time: Int64, _ step: Int64) -> String {
    let text = Timestamp.text(time)
    if step >= day { return String(text.prefix(10)) }
    if time % day == 0 { return String(text.prefix(10).dropFirst(5)) }
    return String(text.dropFirst(11).prefix(step >= 60_000 ? 5 : 8))
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
