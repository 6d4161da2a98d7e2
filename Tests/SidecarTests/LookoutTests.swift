import Testing

@testable import Sidecar

/// When a process looks whether others wrote, on a clock that is set by hand.
@Suite struct LookoutTests {
  private var lookout = Lookout()

  private static func moments(_ range: Range<Int64>, apart: Int64) -> [Int64] {
    stride(from: range.lowerBound, to: range.upperBound, by: Int(apart)).map { $0 }
  }

  /// When it looks in `moments`, where somebody writes at each of `writes`.
  private mutating func looks(in moments: Range<Int64>, writes: Set<Int64> = [], longest: Int64 = 200) -> [Int64] {
    var looks: [Int64] = []
    var isTold = false
    for moment in moments {
      isTold = isTold || writes.contains(moment)
      if isTold, lookout.isListening(moment) {
        lookout.hear(at: moment)
        isTold = false
      }
      if lookout.isDue(moment) {
        lookout.look(at: moment, longest: longest)
        looks.append(moment)
      }
      #expect(lookout.wait(at: moment) > 0)
    }
    return looks
  }

  @Test(arguments: [40, 100, 200] as [Int64])
  mutating func itLooksNowAndThenWhenItHearsNothing(_ longest: Int64) {
    #expect(looks(in: 0..<1_000, longest: longest) == Self.moments(0..<1_000, apart: longest))
  }

  /// What stands in the log can be read only when the disk has it, be that slow.
  @Test mutating func itLooksAtOnceAndAgainWhenItHears() {
    _ = looks(in: 0..<10_000)
    let after = looks(in: 10_000..<13_000, writes: [10_100]).filter { $0 >= 10_100 }.map { $0 - 10_100 }
    #expect(after.prefix(8) == [0, 2, 6, 14, 30, 62, 102, 142])
    let pauses = zip(after, after.dropFirst()).map { $1 - $0 }
    #expect(pauses.dropFirst(6).prefix(40).allSatisfy { $0 == 40 })
    #expect(pauses.suffix(3) == [200, 200, 200])
  }

  @Test mutating func aWriteNowAndThenIsSeenAtOnce() {
    _ = looks(in: 0..<10_000)
    let writes = Set(Self.moments(10_000..<20_000, apart: 100))
    #expect(writes.subtracting(looks(in: 10_000..<20_000, writes: writes)).isEmpty)
  }

  /// It costs no more than where nothing is told.
  @Test(arguments: [1, 3, 10, 30] as [Int64])
  mutating func aBusyFileIsLookedAtAsOftenAsOneThatTellsNothing(_ apart: Int64) {
    let writes = Set(Self.moments(0..<10_000, apart: apart))
    _ = looks(in: 0..<1_000, writes: writes)
    #expect(looks(in: 1_000..<10_000, writes: writes).count <= 9_000 / 40 + 1)
  }
}
