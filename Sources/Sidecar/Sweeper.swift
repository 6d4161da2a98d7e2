import SessionStore

/// What happens without a request: subscribers are served and what has expired is removed.
extension Sidecar {
  /// milliseconds between two sweeps
  static let sweepInterval: Int64 = 60_000

  /// How long the process may wait for input before it calls ``tick(room:)``.
  package var millisecondsUntilTick: Int64 {
    let untilSweep = max(0, nextSweep - store.currentTime())
    return subscriptions.isEmpty ? untilSweep : min(untilSweep, Self.pollInterval)
  }

  /// Does what is due; called when no input came for ``millisecondsUntilTick``.
  package func tick(room: Int) {
    poll(room: room)
    if store.currentTime() >= nextSweep { nextSweep = store.currentTime() + Self.sweepInterval }
  }
}
