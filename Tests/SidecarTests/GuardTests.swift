import SQLite
import Testing

@testable import SessionStore
@testable import Sidecar

/// What a request leaves behind by itself, around groups and transactions.
@Suite struct GuardTests {
  private func machine(_ change: (inout Limits) -> Void = { _ in }) throws -> Conversation {
    var limits = Limits()
    limits.auditUnauthorized = 1_000
    change(&limits)
    let machine = try Conversation(limits: limits)
    _ = machine.answers(call("create_session", #"{"session_id":"s","status":"active"}"#))
    return machine
  }

  private let missing = call("get_session", #"{"session_id":"none","principal":"bob"}"#)

  private func told(_ machine: Conversation, _ type: String = "unauthorized_access") throws -> Int {
    let page = machine.answers(call("audit_counts", #"{"by":"type","type":"\#(type)"}"#))[0]
    guard let start = page.firstRange(of: #""events":"#)?.upperBound else { return 0 }
    return Int(page[start...].prefix { $0.isNumber }) ?? 0
  }

  @Test func aReadThatLeavesAnEventIsAnsweredAfterItsCommit() throws {
    let machine = try machine()
    machine.sidecar.receive(Array((missing + "\n").utf8))
    _ = machine.sidecar.run()
    #expect(machine.sidecar.hasOpenGroup && machine.sidecar.outputCount == 0)
    machine.sidecar.closeGroup()
    #expect(machine.sidecar.outputCount > 0)
    var output: [UInt8] = []
    machine.sidecar.moveOutput(to: &output)
    #expect(try told(machine) == 1)
  }

  @Test func withoutTheOptionAReadStaysARead() throws {
    let machine = try machine { $0.auditUnauthorized = 0 }
    machine.sidecar.receive(Array((missing + "\n").utf8))
    _ = machine.sidecar.run()
    #expect(!machine.sidecar.hasOpenGroup && machine.sidecar.outputCount > 0)
  }

  @Test func theyAreLeftInBatchesAndByWhatIsTakenBack() throws {
    let machine = try machine()
    _ = machine.answers("[\(missing),\(missing)]", missing)
    #expect(try told(machine) == 3)
    // A transaction takes itself back and not what it asked for in vain; nor does a notification hide it.
    let refused = machine.answers(
      call(
        "transaction",
        #"{"calls":[{"method":"get_session","params":{"session_id":"none"}},"#
          + #"{"method":"touch_session","params":{"session_id":"gone"}}]}"#))
    #expect(refused[0].isError("session_not_found"))
    #expect(try told(machine) == 5)
    _ = machine.answers(#"{"jsonrpc":"2.0","method":"touch_session","params":{"session_id":"none"}}"#)
    #expect(try told(machine) == 6)
    // What is made where nothing was is not asked for in vain.
    _ = machine.answers(call("update_session", #"{"session":{"session_id":"new"},"upsert":true}"#))
    #expect(try told(machine) == 6)
  }

  @Test func whereNothingCanBeWrittenTheReadIsAnswered() throws {
    let machine = try machine()
    let connection = machine.store.file!.connection
    try connection.execute("PRAGMA query_only = 1")
    let answers = machine.answers(missing, call("get_session", #"{"session_id":"s"}"#))
    #expect(answers.count == 2)
    #expect(answers[0].contains(#""result":null"#))
    #expect(answers[1].contains(#""session_id":"s""#))
    try connection.execute("PRAGMA query_only = 0")
    #expect(try told(machine) == 0)
    #expect(machine.sidecar.phase == .serving)
  }

  @Test func aDenialCountsEvenWhereTheTransactionIsTakenBack() throws {
    let machine = try machine {
      $0.countsDeniedRates = true
      $0.maxViolations = 2
    }
    let check = #"{"key":"k","limit":1,"window":3600000,"session_id":"s"}"#
    #expect(machine.answers(call("check_rate_limit", check))[0].contains(#""allowed":true"#))
    _ = machine.answers(call("subscribe_events", #"{"session_id":"s"}"#))
    #expect(machine.answers(call("check_rate_limit", check))[0].contains(#""allowed":false"#))
    let transaction = call(
      "transaction", #"{"calls":[{"method":"check_rate_limit","params":\#(check),"require":true}]}"#)
    // What was stored before it in the same input is told before the end.
    let answers = machine.answers(call("store_event", #"{"session_id":"s","data":1}"#), transaction)
    #expect(answers.contains { $0.isError("requirement_failed") })
    let notices = answers.filter { $0.contains(#""method""#) }
    #expect(notices.map { $0.contains(#""method":"event""#) } == [true, false])
    #expect(notices.last?.contains(#""reason":"invalidated""#) == true)
    #expect(try told(machine, "rate_limit_exceeded") == 2)
  }

  @Test func whoWritesTooMuchIsToldWhenToComeBack() throws {
    let machine = try machine { $0.sessionWrites = Rate(count: 1, window: 1_000) }
    let store = call("store_event", #"{"session_id":"s","data":1}"#)
    let answers = machine.answers(store, store)
    #expect(answers[0].contains(#""result""#))
    #expect(answers[1].isError("max_session_writes_reached"))
    #expect(answers[1].contains(#""retryable":true,"outcome":"not_applied","session_id":"s","limit":1,"window":1000"#))
    #expect(answers[1].contains(#""retry_after":1000}"#))
    machine.clock.now += 1_000
    #expect(machine.answers(store)[0].contains(#""id":2"#))
  }
}
