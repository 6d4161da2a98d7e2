import SQLite
import Testing

@testable import SessionStore

/// UUIDs ascend, whatever the clock and the chance say (RFC 9562, section 6.2).
struct IdentifierTests {
  private static func id(_ last: inout LastUUID, _ now: Int64, _ random: @escaping () -> UInt64) -> String {
    last.advance(Environment(now: { now }, random: random), now: now)
    return last.text
  }

  @Test func everyBitThatMayBeRandomIs() {
    func first(_ bits: UInt64, now: Int64 = 1) -> String {
      var last = LastUUID()
      return Self.id(&last, now) { bits }
    }
    #expect(first(0) == "00000000-0001-7000-8000-000000000000")
    // The highest bit stays clear, so that there is room above.
    #expect(first(.max) == "00000000-0001-77ff-bfff-ffffffffffff")
    #expect(first(0, now: 1 << 48 - 1) == "ffffffff-ffff-7000-8000-000000000000")
    #expect(first(0, now: .max) == "ffffffff-ffff-7000-8000-000000000000")
  }

  @Test func aStepIsRandomWithinAMillisecond() {
    var last = LastUUID()
    #expect(Self.id(&last, 5) { 0 } == "00000000-0005-7000-8000-000000000000")
    #expect(Self.id(&last, 5) { 0 } == "00000000-0005-7000-8000-000000000001")
    #expect(Self.id(&last, 5) { .max } == "00000000-0005-7000-8100-000000000001")
  }

  @Test func whatIsFullGoesOverToTheNextField() {
    var last = LastUUID(high: 5 << 12 | 0x7FE, low: 1 << 62 - 1)
    #expect(Self.id(&last, 5) { 0 } == "00000000-0005-77ff-8000-000000000000")
    last = LastUUID(high: 5 << 12 | 0xFFF, low: 1 << 62 - 1)
    // The millisecond is full: the time of the ids goes ahead of the clock, and what follows is random anew.
    #expect(Self.id(&last, 5) { 0x123 } == "00000000-0006-7123-8000-000000000123")
    #expect(Self.id(&last, 5) { 0 } == "00000000-0006-7123-8000-000000000124")
    #expect(Self.id(&last, 7) { 0 } == "00000000-0007-7000-8000-000000000000")
  }

  /// Clocks that stand, go back and jump, and chance at its ends.
  @Test(arguments: 0..<20 as Range<UInt64>)
  func theyAscendWhateverTheClockSays(seed: UInt64) {
    var generator = SeededGenerator(state: seed)
    var last = LastUUID()
    var now: Int64 = 1_795_000_000_000
    var previous = ""
    for _ in 0..<5_000 {
      switch Int.random(in: 0..<10, using: &generator) {
      case 0: now += Int64.random(in: 0...3, using: &generator)
      case 1: now -= Int64.random(in: 0...100_000, using: &generator)
      case 2 where generator.next() % 100 == 0: now = Int64.random(in: -5...(1 << 47), using: &generator)
      default: break
      }
      let bits = [0, .max, generator.next(), generator.next()].randomElement(using: &generator) ?? 0
      let next = Self.id(&last, now) { bits }
      #expect(next > previous)
      previous = next
    }
  }

  /// What a damaged or foreign file may say.
  @Test func noStoredValueTraps() {
    for high in [0, .max, 1 << 63, 1 << 60 - 1] as [UInt64] {
      for low in [0, .max, 1 << 63, 1 << 62 - 1] as [UInt64] {
        var last = LastUUID(high: high, low: low)
        for now in [0, 5, .max, .min] as [Int64] {
          for bits in [0, .max] as [UInt64] { #expect(Self.id(&last, now) { bits }.utf8.count == 36) }
        }
      }
    }
  }

  // MARK: - In a file

  private func made(_ test: TestStore) throws -> String {
    try test.write { try $0.createSession(NewSession(), owner: .server) }.sessionID
  }

  @Test func theyAscendOverRestartsAndClocksThatGoBack() throws {
    let directory = try TemporaryDirectory()
    var ids: [String] = []
    for round in 0..<5 {
      let test = try TestStore(directory.file("s.db"))
      test.clock.now -= Int64(round) * 86_400_000
      for _ in 0..<3 { ids.append(try made(test)) }
      ids.append(try test.write { try $0.createTask(NewTask(), owner: .server) }.taskID)
    }
    #expect(ids == ids.sorted() && Set(ids).count == 20)
  }

  @Test(.ofFiles) func theyAscendOverTheProcessesOfAFile() throws {
    let directory = try TemporaryDirectory()
    let stores = try (0..<3).map { _ in try TestStore(directory.file("s.db")) }
    var ids: [String] = []
    for round in 0..<30 {
      let test = stores[round % 3]
      test.clock.now += Int64(round % 3 - 1) * 1_000
      ids.append(try made(test))
    }
    #expect(ids == ids.sorted() && Set(ids).count == 30)
  }

  @Test func whatIsTakenBackLeavesNoGapThatMatters() throws {
    let test = try TestStore()
    let first = try made(test)
    struct Refused: Error {}
    #expect(throws: Refused.self) {
      try test.write { store in
        try store.atomically {
          _ = try store.createSession(NewSession(), owner: .server)
          throw Refused()
        }
      }
    }
    #expect(try made(test) > first)
  }
}
