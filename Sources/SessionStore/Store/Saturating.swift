/// A number from outside (a client, an option, a dump, a file) that is reckoned with: its arithmetic stops at the ends
/// of its range instead of ending the process.
///
/// `Saturating(createdAt) + ttl` is a number of this kind again, so that what follows stops as well. Times and
/// durations of callers are added in no other way; a test looks for it.
package struct Saturating: Comparable {
  /// what JSON carries exactly: times are handed out up to this one, and taken back
  package static let latest: Int64 = 9_007_199_254_740_991

  package let value: Int64

  package init(_ value: Int64) {
    self.value = value
  }

  /// the number as a time or a duration that a caller can send back
  package var time: Int64 { min(max(value, -Self.latest), Self.latest) }

  package static func + (first: Saturating, second: Int64) -> Saturating {
    let (sum, overflow) = first.value.addingReportingOverflow(second)
    return Saturating(overflow ? (second > 0 ? .max : .min) : sum)
  }

  package static func - (first: Saturating, second: Int64) -> Saturating {
    let (difference, overflow) = first.value.subtractingReportingOverflow(second)
    return Saturating(overflow ? (second > 0 ? .min : .max) : difference)
  }

  package static func * (first: Saturating, second: Int64) -> Saturating {
    let (product, overflow) = first.value.multipliedReportingOverflow(by: second)
    return Saturating(overflow ? ((first.value < 0) == (second < 0) ? .max : .min) : product)
  }

  package static func < (first: Saturating, second: Saturating) -> Bool { first.value < second.value }
}
