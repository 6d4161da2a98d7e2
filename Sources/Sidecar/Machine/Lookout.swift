/// When a process that has subscribers looks whether others wrote into its file: now and then, and soon and again when
/// it is told that somebody wrote. Moments are milliseconds of a clock that nobody sets.
struct Lookout {
  /// For how long it does not listen after it was told, and looks at most once: the longer the more often it is told,
  /// so that a busy file costs no more than looking 25 times a second does.
  private static let rests: ClosedRange<Int64> = 2...40
  /// for how long what it was told of may be on its way to the disk, and is looked for often
  private static let alert: Int64 = 2_000

  /// when it looks next
  private var next: Int64 = 0
  /// between the last look and the next one
  private var pause: Int64 = 0
  /// when it was told last
  private var heard = -alert
  private var rest = rests.lowerBound

  func isDue(_ moment: Int64) -> Bool { moment >= next }

  func isListening(_ moment: Int64) -> Bool { moment >= heard + rest }

  /// How long there is nothing to do, if it is not told meanwhile.
  func wait(at moment: Int64) -> Int64 {
    max(0, (isListening(moment) ? next : min(next, heard + rest)) - moment)
  }

  /// Somebody writes. What is written can be read at once or when the disk has it.
  mutating func hear(at moment: Int64) {
    let isBusy = moment - heard < 2 * Self.rests.upperBound
    rest = isBusy ? min(2 * rest, Self.rests.upperBound) : Self.rests.lowerBound
    (heard, next, pause) = (moment, moment, rest / 2)
  }

  /// - Parameter longest: milliseconds between two looks when nothing is heard
  mutating func look(at moment: Int64, longest: Int64) {
    pause = moment < heard + Self.alert ? min(2 * pause, Self.rests.upperBound) : longest
    next = moment + pause
  }
}
