import Testing

@testable import Sidecar

/// When a process looks whether others wrote, on a clock that is set by hand.
@Suite struct LookoutTests {
  private static let longest: Int64 = 200

  private var lookout = Lookout()
  private let start: Int64 = 1_795_210_000_000

  /// When it looks within `time`, counted from `start`; it hears of a write at each of `writes` that it listens at.
  private mutating func looks(from begin: Int64 = 0, within time: Int64, writes: Set<Int64> = []) -> [Int64] {
    var looks: [Int64] = []
    var isTold = false
    for at in begin...(begin + time) {
      let now = start + at
      isTold = isTold || writes.contains(at)
      if isTold, lookout.isListening(now) {
        lookout.hear(at: now)
        isTold = false
      }
      if lookout.isDue(now) {
        lookout.look(at: now, longest: Self.longest)
        looks.append(at)
      }
      #expect(lookout.nextTurn(now) > now)
    }
    return looks
  }

  @Test mutating func itLooksNowAndThenWhenItHearsNothing() {
    _ = looks(within: 1_000)
    #expect(looks(from: 1_001, within: 1_000).count == 5)
  }

  /// What stands in the log can be read only when the disk has it.
  @Test mutating func itLooksAtOnceAndAgainWhenItHears() {
    _ = looks(within: 1_000)
    let after = looks(from: 1_001, within: 1_000, writes: [1_100]).filter { $0 >= 1_100 }
    #expect(after.map { $0 - 1_100 } == [0, 2, 6, 14, 30, 62, 126, 254, 454, 654, 854])
  }

  @Test mutating func aBusyFileWakesItNoOftenerThanItRests() {
    _ = looks(within: 1_000)
    #expect(looks(from: 1_001, within: 999, writes: Set(1_001...2_000)).count == 500)
  }

  @Test mutating func aClockThatIsSetBackMakesNothingLate() {
    _ = looks(within: 1_000)
    lookout.hear(at: start + 2_000)
    lookout.look(at: start + 2_000, longest: Self.longest)
    #expect(lookout.isListening(start) && lookout.isDue(start))
  }
}
