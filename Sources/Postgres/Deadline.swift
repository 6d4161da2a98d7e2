internal import Glibc

/// A moment of the clock that nobody sets.
struct Deadline {
  private let at: Int64

  init(in milliseconds: Int64) {
    let (sum, overflows) = Self.now().addingReportingOverflow(milliseconds.multipliedSaturating(by: 1_000))
    at = overflows ? .max : sum
  }

  /// milliseconds until it comes, rounded up; 0 when it has come
  var remaining: Int64 {
    let left = at - Self.now()
    return left <= 0 ? 0 : (left + 999) / 1_000
  }

  var isOver: Bool { remaining == 0 }

  /// microseconds of a clock that nobody sets
  static func now() -> Int64 {
    var time = timespec()
    // Writes to the local variable alone; it cannot fail with this clock.
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
  }

  static func sleep(milliseconds: Int64) {
    // With no descriptors it only waits; a signal ends it early, which does no harm.
    if milliseconds > 0 { poll(nil, 0, Int32(clamping: milliseconds)) }
  }
}

extension Int64 {
  fileprivate func multipliedSaturating(by other: Int64) -> Int64 {
    let (product, overflows) = multipliedReportingOverflow(by: other)
    return overflows ? ((self < 0) == (other < 0) ? .max : .min) : product
  }
}
