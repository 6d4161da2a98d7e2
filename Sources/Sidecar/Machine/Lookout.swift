/// When a process that has subscribers looks whether others wrote into its file: now and then, and soon and again when
/// it is told that somebody wrote. Times are Unix milliseconds.
struct Lookout {
  /// milliseconds in which it does not listen after it was told: a busy file must not wake it for each commit
  static let rest: Int64 = 2

  /// when it looks next
  private(set) var next: Int64 = 0
  /// between the last look and the next one, milliseconds
  private var pause: Int64 = 1
  /// until when it rests
  private var restEnd: Int64 = 0

  // A clock that was set back makes no wait longer.

  func isDue(_ now: Int64) -> Bool { now >= next || next - now > pause }

  func isListening(_ now: Int64) -> Bool { now >= restEnd || restEnd - now > Self.rest }

  /// until when there is nothing to do
  func nextTurn(_ now: Int64) -> Int64 { isListening(now) ? next : min(next, restEnd) }

  /// Somebody writes. What is written can be read at once or when the disk has it.
  mutating func hear(at now: Int64) {
    (next, pause, restEnd) = (now, Self.rest / 2, now + Self.rest)
  }

  /// - Parameter longest: milliseconds between two looks when nothing is heard
  mutating func look(at now: Int64, longest: Int64) {
    pause = min(pause * 2, longest)
    next = now + pause
  }
}
