import Sidecar

/// The figures for Prometheus in a file, where node_exporter's textfile collector finds them. It holds counts and names
/// of methods, so others may read it.
struct MetricsFile {
  /// milliseconds
  private static let interval: Int64 = 15_000
  /// Counting reads many rows, and requests wait meanwhile: at most one part in so many of the time goes into it.
  private static let share: Int64 = 100

  let path: String
  private var next: Int64 = 0
  private var failure: String?

  init(_ path: String) {
    self.path = path
  }

  var millisecondsUntilDue: Int64 { max(0, next - System.monotonic()) }

  mutating func writeWhenDue(_ sidecar: Sidecar) {
    if millisecondsUntilDue == 0 { write(sidecar) }
  }

  /// Writes it whole or not at all. A failure is said once and disturbs nobody.
  mutating func write(_ sidecar: Sidecar) {
    let start = System.monotonic()
    guard let text = sidecar.metricsText() else { return }
    let reason = System.makeFile(path, Array(text.utf8), replacing: true, mode: 0o644, isKept: false)
    if let reason, reason != failure { System.report("--metrics-file: \(reason); the service goes on") }
    failure = reason
    let end = System.monotonic()
    next = end + max(Self.interval, (end - start) * Self.share)
  }
}
