/// The server's time, told from this machine's own, so that all who use one server agree on deadlines.
///
/// Each answer that holds the server's time says within which bounds the two clocks differ: it was taken between the
/// question and the answer. Bounds are made narrower by what comes later, and wider by how much clocks may drift.
///
/// All times are microseconds; those of this machine come from a clock that nobody sets.
struct ServerClock {
  private var bounds: ClosedRange<Int64>?
  private var boundsAt: Int64 = 0

  /// of a clock, in a million
  private static let drift: Int64 = 200

  /// Whether the time was told long ago, or never.
  func isStale(at local: Int64) -> Bool { bounds == nil || local - boundsAt >= 1_000_000 }

  /// - Parameters:
  ///   - time: the server's, Unix time
  ///   - sent: when it was asked
  ///   - received: when its answer was read
  mutating func note(_ time: Int64, sent: Int64, received: Int64) {
    let told = time - max(sent, received)...time - sent
    var new = told
    if let bounds {
      let widened = max(0, received - boundsAt) / 1_000_000 * Self.drift + Self.drift
      let known = bounds.lowerBound - widened...bounds.upperBound + widened
      // Where they contradict each other somebody has set the server's clock, or it is another server.
      if known.overlaps(told) { new = told.clamped(to: known) }
    }
    bounds = new
    boundsAt = received
  }

  /// The server's time, Unix microseconds; nil until it was told.
  func time(at local: Int64) -> Int64? {
    guard let bounds else { return nil }
    return local + bounds.lowerBound + (bounds.upperBound - bounds.lowerBound) / 2
  }
}
