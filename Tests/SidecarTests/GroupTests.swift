import JSON
import JSONRPC
import Testing

@testable import Sidecar

/// The life of a group without a store and without methods: what each input leads to, and that all of what requests
/// leave behind in this process is taken back with them.
@Suite struct GroupTests {
  private var group = Group()

  /// A request that is answered with its own name.
  private mutating func answer(_ name: String) -> (unit: Unit, mark: Answers.Mark) {
    let unit = Unit(Array(name.utf8)[...])
    let mark = group.answers.mark
    group.answers.begin(unit)
    group.answers.output.raw(name)
    group.answers.end(unit, isNotification: false, since: mark)
    return (unit, mark)
  }

  private mutating func write(_ name: String, now: Int64 = 0) -> Bool {
    let (unit, mark) = answer(name)
    if group.state == .idle { #expect(group.handle(.opened(mark, now: now)).name == "go on") }
    return group.add(unit, method: 0, start: 0, now: now)
  }

  private var output: String { String(decoding: group.answers.output.bytes, as: UTF8.self) }

  // MARK: - The way without trouble

  @Test mutating func writesShareACommitUntilThereIsNoMoreInput() {
    #expect(!write("a"))
    #expect(!write("b"))
    #expect(group.state == .open)
    #expect(group.handle(.close).name == "commit")
    #expect(group.state == .committing)
    #expect(group.requests.count == 2)
    #expect(group.handle(.committed).name == "go on")
    #expect(group.state == .idle)
    #expect(output == "a\nb\n")
  }

  @Test mutating func aGroupIsFullByAge() {
    #expect(!write("a", now: 100))
    #expect(!write("b", now: 109))
    #expect(write("c", now: 110))
  }

  @Test mutating func aClockThatWasSetBackDoesNotKeepAGroupOpen() {
    #expect(!write("a", now: 100))
    #expect(write("b", now: 99))
  }

  @Test mutating func aGroupIsFullByInputAndByOutput() {
    #expect(!write(String(repeating: "x", count: (1 << 19) - 1)))
    #expect(write(String(repeating: "x", count: 1 << 19)))
  }

  @Test mutating func withoutAGroupThereIsNothingToCommit() {
    #expect(group.handle(.close).name == "go on")
    #expect(group.handle(.lost(running: nil)).name == "go on")
    #expect(group.state == .idle)
  }

  // MARK: - A group that is lost

  @Test mutating func theRequestsOfALostGroupAreRunAloneAndTheirAnswersAreTakenBack() {
    _ = answer("read")
    _ = write("a")
    let (unit, _) = answer("b")
    let step = group.handle(.lost(running: unit))
    #expect(step.name == "run alone: a b")
    #expect(group.state == .alone(next: 0))
    #expect(output == "read\n")
    for name in ["a", "b"] {
      _ = group.handle(.runningAlone)
      _ = answer(name)
    }
    #expect(group.handle(.ranAlone).name == "go on")
    #expect(group.state == .idle)
    #expect(output == "read\na\nb\n")
  }

  @Test mutating func aCommitThatIsLostIsAsGoodAsARequestThatIs() {
    _ = write("a")
    _ = group.handle(.close)
    #expect(group.handle(.lost(running: nil)).name == "run alone: a")
    #expect(output.isEmpty)
  }

  @Test mutating func aGroupThatOthersWereInTheWayOfIsRunAgainAsItWas() {
    _ = write("a")
    let running = answer("b").unit
    #expect(group.handle(.lostToOthers(running: running)).name == "run again: a b")
    #expect(output.isEmpty)
    #expect(group.state == .idle)
    // It begins like any other, and when it is lost once more each is run alone.
    _ = write("a")
    _ = write("b")
    _ = group.handle(.close)
    #expect(group.handle(.lost(running: nil)).name == "run alone: a b")
  }

  @Test mutating func aCommitThatNobodyKnowsOfRefusesItsGroupAndOthersGoOn() {
    _ = write("a")
    _ = write("b")
    _ = group.handle(.close)
    #expect(group.handle(.outcomeUnresolved).name == "refuse: a b")
    #expect(output.isEmpty)
    #expect(group.state == .idle)
    _ = write("c")
    _ = group.handle(.close)
    #expect(group.handle(.committed).name == "go on")
    #expect(output == "c\n")
  }

  @Test mutating func whatWasCollectedIsNotHurried() {
    let (unit, mark) = answer("a")
    _ = group.handle(.opened(mark, now: 0))
    let isFull = [nil, 10].map { group.add(unit, method: 0, start: 0, now: $0) }
    #expect(isFull == [false, true])
  }

  @Test mutating func theNextGroupRemembersNothingOfTheOneBefore() {
    _ = write("a")
    _ = group.handle(.lost(running: nil))
    _ = group.handle(.ranAlone)
    _ = write("b")
    _ = group.handle(.close)
    #expect(group.requests.count == 1)
    #expect(group.handle(.lost(running: nil)).name == "run alone: b")
  }

  /// Everything that a request leaves behind here: what is forgotten in a mark is seen here.
  @Test mutating func allThatRequestsLeaveBehindIsTakenBack() throws {
    group.answers.errors(of: [7])
    group.answers.settle()
    _ = write("a")
    group.answers.isShuttingDown = true
    group.answers.errors(of: [3, 4])
    let batch = Unit.batch(Array("[1,2]".utf8)[...]) ?? []
    group.answers.begin(batch[0])
    group.answers.output.raw("1")
    group.answers.end(batch[0], isNotification: false, since: group.answers.mark)
    #expect(output == "a\n[1")
    _ = group.handle(.lost(running: batch[0]))
    #expect(output.isEmpty)
    #expect(!group.answers.isShuttingDown)
    #expect(group.answers.errors.isEmpty)
    // The batch begins anew.
    group.answers.begin(batch[0])
    #expect(output == "[")
  }

  // MARK: - An outcome that nobody knows

  @Test mutating func aCommitOfUnknownOutcomeRefusesItsGroupAndEndsAll() {
    _ = answer("read")
    _ = write("a")
    _ = write("b")
    _ = group.handle(.close)
    #expect(group.handle(.outcomeUnknown(running: nil, group.answers.mark)).name == "refuse: a b")
    #expect(output == "read\n")
    for input in [Group.Input.close, .committed, .lost(running: nil), .ranAlone, .opened(group.answers.mark, now: 0)] {
      #expect(group.handle(input).name == "go on")
      #expect(group.state == .failed)
    }
  }

  @Test mutating func whatWasRunAloneBeforeItIsOnDisk() {
    for name in ["a", "b", "c"] { _ = write(name) }
    _ = group.handle(.lost(running: nil))
    _ = group.handle(.runningAlone)
    _ = answer("a")
    _ = group.handle(.runningAlone)
    let (unit, mark) = answer("b")
    #expect(group.handle(.outcomeUnknown(running: unit, mark)).name == "refuse: b c")
    #expect(output == "a\n")
    #expect(group.state == .failed)
  }

  @Test mutating func aRequestThatHasItsOwnTransactionsIsRefusedAlone() {
    _ = answer("read")
    let (unit, mark) = answer("maintenance")
    #expect(group.handle(.outcomeUnknown(running: unit, mark)).name == "refuse: maintenance")
    #expect(output == "read\n")
  }

  // MARK: - Batches and their bound

  @Test mutating func aBatchSharesTheLimitOfOneAnswer() throws {
    let units = Unit.batch(Array("[1,2,3]".utf8)[...]) ?? []
    #expect(units.count == 3)
    var mark = group.answers.mark
    group.answers.begin(units[0])
    #expect(try group.answers.budget(units[0], limit: 100) == 99)
    group.answers.output.raw(String(repeating: "x", count: 98))
    group.answers.end(units[0], isNotification: false, since: mark)
    mark = group.answers.mark
    group.answers.begin(units[1])
    #expect(throws: RPCError.self) { try group.answers.budget(units[1], limit: 100) }
    let none: [UInt8] = []
    group.answers.fail(units[1], .internalError, method: 0, id: none.span, since: mark)
    group.answers.end(units[1], isNotification: false, since: mark)
    #expect(output.hasPrefix("[xxxx"))
    #expect(output.contains("xx,{\"jsonrpc\""))
    #expect(try group.answers.budget(Unit([]), limit: 100) == 100)
  }

  @Test mutating func aBatchOfNotificationsIsNotAnswered() {
    for unit in Unit.batch(Array("[1,2]".utf8)[...]) ?? [] {
      let mark = group.answers.mark
      group.answers.begin(unit)
      group.answers.output.raw("1")
      group.answers.end(unit, isNotification: true, since: mark)
    }
    #expect(output.isEmpty)
  }

  @Test func aLineThatIsNoBatchIsNone() {
    #expect(Unit.batch(Array("{}".utf8)[...]) == nil)
    #expect(Unit.batch(Array("[]".utf8)[...])?.first?.refusal != nil)
    #expect(Unit.batch(Array("[1,".utf8)[...])?.first?.refusal != nil)
    let many = "[" + Array(repeating: "1", count: 1_001).joined(separator: ",") + "]"
    #expect(Unit.batch(Array(many.utf8)[...])?.count == 1)
  }
}

extension Answers {
  fileprivate mutating func errors(of methods: [Int]) {
    for method in methods {
      let before = mark
      let none: [UInt8] = []
      fail(Unit([]), .internalError, method: method, id: none.span, since: before)
      output.rewind(to: output.count - count(since: before))
    }
  }
}

extension Group.Step {
  /// for comparing
  fileprivate var name: String {
    func names(_ units: [Unit]) -> String { units.map { " " + String(decoding: $0.text, as: UTF8.self) }.joined() }
    return switch self {
    case .goOn: "go on"
    case .commit: "commit"
    case .runAlone(let units): "run alone:" + names(units)
    case .runAgain(let units): "run again:" + names(units)
    case .refuse(let units): "refuse:" + names(units)
    }
  }
}
