import CTestDisk
import SessionStore

/// Calls of SQLite's to the disk that fail: the first one, then the second one, and so on, once or from then on.
struct Fault {
  enum Extent: CaseIterable { case once, always }

  let name: String
  let call: test_disk_call
  /// what SQLite is told (https://www.sqlite.org/rescode.html)
  let code: Int32
  /// it does nothing and succeeds: no disk may do that, and the test has to notice
  var isLie = false
  /// SQLite tries again for ten seconds before it gives up
  var isSlow = false
  /// a write puts down its first half before it fails
  var isPartial = false
  /// the error kinds that a request may be answered with
  let kinds: Set<String>

  private static func inputOutput(_ number: Int32) -> Int32 { 10 | number << 8 }
  private static let failed: Set = ["database_error", "outcome_unknown"]

  static let lie = Fault(name: "a write, left out", call: TEST_DISK_WRITE, code: 0, isLie: true, kinds: [])

  static let all = [
    Fault(name: "an open", call: TEST_DISK_OPEN, code: 14, kinds: failed),
    Fault(name: "a read", call: TEST_DISK_READ, code: inputOutput(1), kinds: failed),
    Fault(name: "a write, disk full", call: TEST_DISK_WRITE, code: 13, kinds: ["database_full"]),
    Fault(name: "half a write, disk full", call: TEST_DISK_WRITE, code: 13, isPartial: true, kinds: ["database_full"]),
    Fault(name: "a write", call: TEST_DISK_WRITE, code: inputOutput(3), kinds: failed),
    Fault(name: "half a write", call: TEST_DISK_WRITE, code: inputOutput(3), isPartial: true, kinds: failed),
    Fault(name: "a truncation", call: TEST_DISK_TRUNCATE, code: inputOutput(6), kinds: failed),
    Fault(name: "a sync", call: TEST_DISK_SYNC, code: inputOutput(4), kinds: failed),
    Fault(name: "a sync of the directory", call: TEST_DISK_SYNC_DIRECTORY, code: inputOutput(5), kinds: failed),
    Fault(name: "a deletion", call: TEST_DISK_DELETE, code: inputOutput(10), kinds: failed),
    Fault(name: "a look for a file", call: TEST_DISK_ACCESS, code: inputOutput(13), kinds: failed),
    Fault(name: "the size of a file", call: TEST_DISK_SIZE, code: inputOutput(7), kinds: failed),
    Fault(name: "a lock, taken", call: TEST_DISK_LOCK, code: 5, kinds: ["database_busy"]),
    Fault(name: "a lock", call: TEST_DISK_LOCK, code: inputOutput(15), kinds: failed),
    Fault(name: "an unlock", call: TEST_DISK_UNLOCK, code: inputOutput(8), kinds: failed),
    Fault(name: "shared memory", call: TEST_DISK_MAP_MEMORY, code: inputOutput(21), kinds: failed),
    Fault(
      name: "a lock of shared memory, taken", call: TEST_DISK_LOCK_MEMORY, code: 5, isSlow: true,
      kinds: ["database_busy"]),
    Fault(name: "a lock of shared memory", call: TEST_DISK_LOCK_MEMORY, code: inputOutput(20), kinds: failed),
  ]
}

struct IOFaults {
  struct Tally: CustomStringConvertible {
    var runs = 0
    var refusedStarts = 0
    var refused = 0
    var unknown = 0
    var ended = 0
    var broken: [String] = []

    var description: String {
      "\(runs) runs: \(refusedStarts) starts and \(refused) requests refused, \(unknown) of them with an unknown "
        + "outcome, \(ended) processes ended"
    }
  }

  private let folder: Folder
  private let opening: Opening
  private let work = Workload.everything
  private let reference: Reference
  private(set) var tally = Tally()

  init(_ directory: String, _ opening: Opening, _ reference: Reference) {
    folder = Folder(directory + "/faults")
    self.opening = opening
    self.reference = reference
  }

  /// Every fault at every number, or at so many numbers of each call.
  mutating func runAll(atMost limit: Int?) throws {
    let counts = try countCalls()
    for fault in Fault.all {
      let total = counts[fault.call.rawValue] ?? 0
      for extent in fault.isSlow ? [.once] : Fault.Extent.allCases {
        let step = max(1, total / (limit ?? .max))
        for number in stride(from: 1, through: total, by: step) { run(fault, at: number, extent) }
      }
    }
  }

  /// How often the workload makes each call when nothing fails, by the number of the call.
  private func countCalls() throws -> [UInt32: Int] {
    var counts: [UInt32: Int] = [:]
    try watching(syncing: true, { event in
      counts[event.call.rawValue, default: 0] += 1
      return 0
    }) {
      folder.empty()
      var run = Run(self)
      try run.run()
    }
    return counts
  }

  /// Runs the workload with the call of this number failing, and compares what is left with what was answered.
  mutating func run(_ fault: Fault, at number: Int, _ extent: Fault.Extent) {
    tally.runs += 1
    folder.empty()
    var count = 0
    var run = Run(self)
    let isOver = { count >= number }
    watching(syncing: fault.call == TEST_DISK_SYNC_DIRECTORY, { event in
      guard event.call == fault.call else { return 0 }
      count += 1
      guard count == number || count > number && extent == .always else { return 0 }
      if fault.isLie {
        event.is_lie = 1
        return 0
      }
      if fault.isPartial { event.moved = event.count / 2 }
      return fault.code
    }) {
      do { try run.run(fault, extent, isOver) } catch { run.broken.append("\(error)") }
    }
    tally.refusedStarts += run.refusedStarts
    tally.refused += run.refused
    tally.unknown += run.unknown.count
    tally.ended += run.hasFailed ? 1 : 0
    do {
      try Disk.quietly { try verify(run) }
    } catch {
      run.broken.append("\(error)")
    }
    let place = "\(opening.name): \(fault.name), \(extent == .once ? "number" : "from number") \(number): "
    tally.broken += run.broken.prefix(3).map { place + $0 }
  }

  /// Transfers that move less than they were asked to, and calls that are interrupted: nobody may notice.
  mutating func runWithShortTransfers(_ name: String, _ move: @escaping (Int, Int32) -> Int32) {
    tally.runs += 1
    folder.empty()
    var run = Run(self)
    var count = 0
    watching({ event in
      if event.call == TEST_DISK_PWRITE || event.call == TEST_DISK_PREAD {
        count += 1
        event.moved = move(count, event.count)
      }
      return 0
    }) {
      do { try run.run() } catch { run.broken.append("\(error)") }
    }
    do {
      try Disk.quietly { try verify(run) }
      if run.applied.count != work.requests.count { run.broken.append("not every request was answered as always") }
    } catch {
      run.broken.append("\(error)")
    }
    tally.broken += run.broken.prefix(3).map { "\(opening.name): \(name): \($0)" }
  }

  /// Syncs take time and prove nothing here, so those that do not fail are not done.
  private func watching<Result>(
    syncing: Bool = false, _ judge: @escaping (inout test_disk_event) -> Int32, _ body: () throws -> Result
  ) rethrows -> Result {
    let before = Disk.judge
    defer { Disk.judge = before }
    Disk.judge = { event in
      if event.call == TEST_DISK_SYNC, !syncing { event.is_lie = 1 }
      return judge(&event)
    }
    return try body()
  }

  // MARK: - One life under faults

  private struct Run {
    let faults: IOFaults
    /// requests that were answered with a result, or as they always are
    var applied: [Int] = []
    /// answered with outcome_unknown
    var unknown: [Int] = []
    var refused = 0
    var refusedStarts = 0
    var hasFailed = false
    var broken: [String] = []

    init(_ faults: IOFaults) { self.faults = faults }

    mutating func run(
      _ fault: Fault? = nil, _ extent: Fault.Extent = .once, _ isOver: () -> Bool = { false }
    ) throws {
      let work = faults.work
      var service: Service?
      for act in work.acts {
        let wasOver = isOver()
        if service == nil {
          service = try start(extent, isOver)
          if service == nil { return }
        }
        switch act {
        case .checkpoint: service?.checkpoint()
        case .restart: service = nil
        case .send(let range):
          let count = service?.answers.count ?? 0
          service?.send(work.requests[range])
          let answers = service?.answers[count...] ?? []
          // A disk that has been well again since before these requests refuses none.
          judge(answers, range, fault, isWell: extent == .once && wasOver)
        }
        if service?.hasFailed == true {
          hasFailed = true
          return Self.end(&service)
        }
      }
      service = nil
    }

    /// A process that ends at once writes nothing more.
    private static func end(_ service: inout Service?) {
      let before = Disk.judge
      defer { Disk.judge = before }
      let changing = [TEST_DISK_WRITE, TEST_DISK_TRUNCATE, TEST_DISK_DELETE]
      Disk.judge = { event in changing.contains { $0 == event.call } ? 10 : 0 }
      service = nil
    }

    /// - Returns: nil when the disk goes on refusing
    private mutating func start(_ extent: Fault.Extent, _ isOver: () -> Bool) throws -> Service? {
      for _ in 1...3 {
        let wasOver = isOver()
        let clock = Clock()
        do throws(OpenError) {
          return Service(try faults.opening.open(faults.folder.database, clock), clock)
        } catch {
          refusedStarts += 1
          switch error {
          case .cannotCreate, .locked, .inputOutput: break
          case .foreign, .damaged, .missing, .tooNew, .tooOld, .replaced, .unusable, .noLibrary:
            broken.append("a start is refused as if the file were to blame: \(error)")
          }
          if extent == .always { return nil }
          if wasOver { broken.append("the disk is well again, but a start is refused: \(error)") }
        }
      }
      return nil
    }

    private mutating func judge(_ answers: ArraySlice<[UInt8]>, _ range: Range<Int>, _ fault: Fault?, isWell: Bool) {
      for (number, answer) in zip(range, answers) {
        let text = String(decoding: answer, as: UTF8.self)
        guard text.hasPrefix(#"{"jsonrpc":"2.0","id":\#(number),"#) else {
          broken.append("request \(number) is answered \(text)")
          continue
        }
        guard let kind = Self.value(of: "kind", in: text), text.contains(#","error":{"#) else {
          applied.append(number)
          continue
        }
        if kind == "outcome_unknown" { unknown.append(number) }
        guard kind.hasPrefix("database_") || kind == "outcome_unknown" || kind == "internal_error" else {
          // It may build on something that was refused.
          if refused == 0 { broken.append("request \(number) is answered \(text)") }
          continue
        }
        refused += 1
        if fault?.kinds.contains(kind) != true || isWell {
          broken.append("request \(number) is answered \(text)\(isWell ? ", though the disk is well again" : "")")
        }
      }
      if answers.count > range.count { broken.append("\(answers.count) answers to \(range.count) requests") }
    }

    /// The member of this name that is a string without escapes.
    private static func value(of name: String, in text: String) -> String? {
      guard let start = text.firstRange(of: "\"\(name)\":\"") else { return nil }
      return String(text[start.upperBound...].prefix { $0 != "\"" })
    }
  }

  // MARK: - What it leaves

  /// The disk is well again: the store opens, and holds what was answered, and of what is unknown a first part.
  private func verify(_ run: Run) throws {
    let clock = Clock()
    let service = Service(try opening.open(folder.database, clock), clock)
    if let problem = try service.problems().first { throw PowerCut.Broken("damaged: \(problem)") }
    let found = try service.digest()
    for count in 0...run.unknown.count {
      let numbers = run.applied + run.unknown.prefix(count)
      if try digest(of: numbers) == found { return try goOn(service) }
    }
    throw PowerCut.Broken("the store does not hold what was answered")
  }

  private func goOn(_ service: Service) throws {
    let line = #"{"jsonrpc":"2.0","id":0,"method":"put_value","params":{"collection":"c","key":"new","value":1}}"#
    service.send([Request(line: Array((line + "\n").utf8), time: work.requests[work.requests.count - 1].time)])
    let answer = service.answers.last.map { String(decoding: $0, as: UTF8.self) } ?? "nothing"
    if !answer.contains(#""result""#) { throw PowerCut.Broken("the next request is answered \(answer)") }
  }

  /// What a store that was asked for just these has.
  private func digest(of numbers: [Int]) throws -> UInt64 {
    if numbers == Array(0..<numbers.count) { return reference.digests[numbers.count] }
    let clock = Clock()
    let store = try opening.open(":memory:", clock)
    let service = Service(store, clock)
    for number in numbers { service.send(work.requests[number...number]) }
    return try service.digest()
  }
}
