import Testing

@testable import SessionStore

extension TestStore {
  func take(_ key: String = "k", limit: Int64, window: Int64) throws -> RateDecision {
    try write { try $0.checkRateLimit(key, limit: limit, window: window) }
  }
}

@Suite struct RateLimitTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  @Test func aBurstOfTheLimitThenEvenly() throws {
    let test = try TestStore()
    for left in (0..<4 as Range<Int64>).reversed() {
      #expect(try test.take(limit: 4, window: 1_000) == RateDecision(isAllowed: true, remaining: left, retryAfter: 0))
    }
    let denied = RateDecision(isAllowed: false, remaining: 0, retryAfter: 250)
    // A denial costs nothing: however often it is asked, the wait stays.
    for _ in 1...5 { #expect(try test.take(limit: 4, window: 1_000) == denied) }
    test.now += 249
    #expect(try test.take(limit: 4, window: 1_000).retryAfter == 1)
    test.now += 1
    #expect(try test.take(limit: 4, window: 1_000).isAllowed)
    #expect(try test.take(limit: 4, window: 1_000) == denied)
    // After a whole window of rest the whole burst is there again, and no more.
    test.now += 100_000
    #expect(try test.take(limit: 4, window: 1_000).remaining == 3)
  }

  /// The algorithm with whole numbers of a fine unit, for limits that divide it.
  @Test(arguments: [(1, 1_000), (3, 900), (7, 70), (60, 60_000), (1_000, 1), (5, 10_000)] as [(Int64, Int64)])
  func itIsTheGenericCellRateAlgorithm(limit: Int64, window: Int64) throws {
    let test = try TestStore()
    let start = test.now
    // Nanoseconds since the start.
    let interval = window * 1_000_000 / limit
    var arrival: Int64 = 0
    var state: UInt64 = 9
    for _ in 0..<2_000 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      test.now += Int64(state >> 33) % (2 * window / limit + 2)
      let now = (test.now - start) * 1_000_000
      let next = max(arrival, now) + interval
      let decision = try test.take(limit: limit, window: window)
      #expect(decision.isAllowed == (next <= now + interval * limit))
      if decision.isAllowed {
        arrival = next
        #expect(decision.remaining == (now + interval * limit - next) / interval)
        #expect(decision.retryAfter == 0)
      } else {
        #expect(decision.remaining == 0)
        // To wait so long is enough, and a millisecond less is not.
        let free = next - interval * limit
        #expect(decision.retryAfter * 1_000_000 >= free - now)
        #expect((decision.retryAfter - 1) * 1_000_000 < free - now)
      }
    }
  }

  @Test func keysKnowNothingOfEachOther() throws {
    let test = try TestStore()
    #expect(try test.take("a", limit: 1, window: 1_000).isAllowed)
    #expect(try test.take("b", limit: 1, window: 1_000).isAllowed)
    #expect(try !test.take("a", limit: 1, window: 1_000).isAllowed)
  }

  @Test func aRestartAndAnotherProcessShareTheAllowance() throws {
    let test = try TestStore(directory.file("rates.db"))
    #expect(try test.take(limit: 3, window: 3_000).isAllowed)
    try test.reopen()
    #expect(try test.take(limit: 3, window: 3_000).remaining == 1)
    let other = try TestStore(directory.file("rates.db"), clock: test.clock)
    #expect(try other.take(limit: 3, window: 3_000).remaining == 0)
    #expect(try test.take(limit: 3, window: 3_000) == RateDecision(isAllowed: false, remaining: 0, retryAfter: 1_000))
  }

  @Test func aDenialNeedsNoGroup() throws {
    let test = try TestStore()
    #expect(throws: NeedsGroup.self) { try test.read { try $0.checkRateLimit("k", limit: 1, window: 9) } }
    #expect(try test.take(limit: 1, window: 9).isAllowed)
    #expect(try test.read { try $0.checkRateLimit("k", limit: 1, window: 9) }.retryAfter == 9)
  }

  @Test func aClockThatWasSetBackDoesNotLockAnybodyOut() throws {
    let test = try TestStore()
    for _ in 1...5 { _ = try test.take(limit: 5, window: 1_000) }
    test.now -= 3_600_000
    #expect(try test.take(limit: 5, window: 1_000) == RateDecision(isAllowed: true, remaining: 0, retryAfter: 0))
    #expect(try test.take(limit: 5, window: 1_000).retryAfter == 200)
    test.now += 200
    #expect(try test.take(limit: 5, window: 1_000).isAllowed)
  }

  @Test func theEndsOfTheParametersOverflowNothing() throws {
    let test = try TestStore()
    let year: Int64 = 31_622_400_000
    #expect(try test.take("a", limit: 1, window: year).isAllowed)
    #expect(try test.take("a", limit: 1, window: year).retryAfter == year)
    #expect(try test.take("b", limit: 1_000_000, window: 1).remaining == 999_999)
    #expect(try test.take("b", limit: 1_000_000, window: 1).remaining == 999_998)
    #expect(try test.take("c", limit: 1_000_000, window: year).remaining == 999_999)
  }

  @Test func idleKeysAreSwept() throws {
    let test = try TestStore()
    for index in 1...300 { _ = try test.take("k\(index)", limit: 2, window: 1_000) }
    test.now += 400
    _ = try test.take("k1", limit: 2, window: 1_000)
    func sweep() throws {
      test.store.beginRequest()
      while try test.store.sweepSlice().hasMore {}
    }
    test.now += 99
    try sweep()
    #expect(try test.rows("rate_limits") == 300)
    test.now += 1
    try sweep()
    #expect(try test.rows("rate_limits") == 1)
    // It is looked at again when it has its allowance back, and no sooner.
    #expect(try test.take("k1", limit: 2, window: 1_000).remaining == 0)
    test.now += 1_000
    try sweep()
    #expect(try test.rows("rate_limits") == 0)
  }
}
