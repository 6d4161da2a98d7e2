import Foundation
import JSON
import SQLite
import Testing

@testable import SessionStore
@testable import Sidecar

/// What the machine does around a method, on a store in memory.
@Suite struct MachineTests {
  private static let session = call("create_session", #"{"session_id":"s","status":"active"}"#)

  private func store(_ data: String) -> String {
    call("store_event", #"{"session_id":"s","data":\#(data)}"#)
  }

  /// `true` as often as one wants, in so many bytes.
  private func payload(_ bytes: Int) -> String { "\"" + String(repeating: "x", count: bytes - 2) + "\"" }

  // MARK: - A group that is lost

  @Test func aGroupThatIsLostIsNotShutDownByItself() throws {
    let machine = try Conversation()
    _ = machine.answers(Self.session)
    // No room for the last write.
    let connection = machine.store.file!.connection
    let pages = try connection.pragma("page_count")
    try connection.execute("PRAGMA max_page_count = \(pages + 8)")
    let answers = machine.answers(store("1"), store("2"), call("shutdown"), store(payload(200_000)))
    #expect(answers.count == 4)
    #expect(answers[0].contains(#""result":{"id":1,"#))
    #expect(answers[1].contains(#""result":{"id":2,"#))
    #expect(answers[2].contains(#""result":{}"#))
    #expect(answers[3].isError("shutting_down"))
    #expect(machine.sidecar.phase == .shuttingDown)
  }

  @Test func aGroupThatIsLostCountsItsErrorsOnce() throws {
    let machine = try Conversation()
    _ = machine.answers(Self.session)
    let connection = machine.store.file!.connection
    try connection.execute("PRAGMA max_page_count = \(connection.pragma("page_count") + 8)")
    let missing = call("touch_session", #"{"session_id":"none"}"#)
    let answers = machine.answers(store("1"), missing, store(payload(200_000)), store("2"))
    #expect(answers.map { $0.contains("\"error\"") } == [false, true, true, false])
    #expect(answers[2].isError("database_full"))
    #expect(machine.sidecar.metrics.errors == 2)
    #expect(machine.sidecar.metrics.requests == 5)
  }

  // MARK: - Reads that come at once

  /// What another process commits between two of them is seen by those that are asked for after it.
  @Test func readsThatComeAtOnceShareASnapshot() throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("machine-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    let path = directory.appendingPathComponent("a.db").path
    let other = try Conversation(path: path)
    _ = other.answers(Self.session)
    let machine = try Conversation(path: path)
    let count = call("event_count", #"{"session_id":"s"}"#)
    var requests = 0
    machine.clock.read = {
      requests += 1
      if requests == 2 { _ = other.answers(store("1")) }
    }
    #expect(machine.answers(count, count, count).map(\.result) == Array(repeating: #"{"count":0}"#, count: 3))
    #expect(machine.answers(count).map(\.result) == [#"{"count":1}"#])
    #expect(!machine.store.transactionStands)
  }

  @Test func aSnapshotIsLetGoForWhateverWritesOrOpensItsOwn() throws {
    let machine = try Conversation()
    let count = call("event_count", #"{"session_id":"s"}"#)
    let limit = call("check_rate_limit", #"{"key":"k","limit":9,"window":1000}"#)
    let answers = machine.answers(
      Self.session, count, store("1"), count, call("maintenance"), count, limit, count, call("server_info"), count)
    #expect(answers.count == 10)
    #expect(!answers.contains { $0.contains("\"error\"") })
    #expect(
      [1, 3, 5, 7, 9].map { answers[$0].result }
        == [#"{"count":0}"#] + Array(repeating: #"{"count":1}"#, count: 4))
    #expect(!machine.store.transactionStands)
  }

  // MARK: - Answers that are too large

  @Test(arguments: [
    ("update_session", #"{"session":{"session_id":"s","is_initialized":true}}"#),
    ("touch_session", #"{"session_id":"s"}"#), ("suspend_session", #"{"session_id":"s"}"#),
    ("get_session", #"{"session_id":"s","touch":true}"#),
  ])
  func aWriteThatCannotBeAnsweredIsTakenBack(_ method: String, _ params: String) throws {
    let machine = try Conversation(maxResultBytes: 4_096)
    _ = machine.answers(Self.session)
    for key in 0..<5 {
      _ = machine.answers(
        call("set_session_state", #"{"session_id":"s","key":"\#(key)","value":\#(payload(1_000))}"#))
    }
    let rows = "SELECT last_activity, revision, status, is_initialized FROM sessions"
    func row() throws -> [String] {
      let select = try machine.store.file!.connection.statement(composed: rows)
      guard try select.step() else { return [] }
      return (0..<4).map { select.string(Int32($0)) }
    }
    let before = try row()
    machine.clock.now += 1_000
    // Alone, in the middle of a group, in a batch and in a transaction.
    let one = call(method, params)
    let transaction = call("transaction", #"{"calls":[{"method":"\#(method)","params":\#(params)}]}"#)
    for lines in [one, one + "\n" + one, "[\(one)]", transaction] {
      #expect(machine.answers(lines).allSatisfy { $0.isError("payload_too_large") })
      #expect(try row() == before)
    }
    // What shares the group with it is done.
    let answers = machine.answers(store("1"), one, store("2"))
    #expect(answers.map { $0.isError("payload_too_large") } == [false, true, false])
    #expect(answers[2].contains(#""id":2,"#))
  }

  @Test func aSubscriptionWhoseAnswerIsTooLargeDoesNotStayOpen() throws {
    let machine = try Conversation(maxResultBytes: 2_048)
    _ = machine.answers(
      Self.session, call("create_task", #"{"task_id":"t","original_params":\#(payload(1_000))}"#),
      call("set_session_state", #"{"session_id":"s","key":"k","value":1}"#))
    // Each fits by itself, and the second one no more into the batch.
    let subscribe = call("subscribe_tasks", #"{"task_id":"t"}"#)
    let answers = machine.answers("[\(subscribe),\(subscribe)]")
    #expect(answers[0].components(of: "tasks-1") == 1)
    #expect(answers[0].components(of: "payload_too_large") == 1)
    #expect(machine.sidecar.subscriptionCount == 1)
    // The next one gets the number that nobody was told.
    #expect(machine.answers(call("subscribe_events", #"{"session_id":"s"}"#))[0].contains("events-2"))
  }

  @Test func aBatchAsAWholeIsBounded() throws {
    let machine = try Conversation(maxResultBytes: 4_096)
    _ = machine.answers(Self.session, store(payload(1_500)))
    let page = call("get_events_after", #"{"session_id":"s"}"#)
    let answers = machine.answers("[" + Array(repeating: page, count: 10).joined(separator: ",") + "]")
    #expect(answers.count == 1)
    #expect(answers[0].components(of: #""result""#) == 2)
    #expect(answers[0].components(of: "payload_too_large") == 8)
    #expect(answers[0].utf8.count < 4_096 + 8 * 400)
  }

  @Test func whatIsLegalAloneIsLegalInATransaction() throws {
    var limits = Limits()
    limits.maxPayloadBytes = 1_000
    let machine = try Conversation(limits: limits)
    _ = machine.answers(Self.session)
    let events = Array(repeating: #"{"data":\#(payload(900))}"#, count: 10).joined(separator: ",")
    let params = #"{"session_id":"s","events":[\#(events)]}"#
    #expect(machine.answers(call("store_events", params))[0].contains(#""last_id":10"#))
    let call = call("transaction", #"{"calls":[{"method":"store_events","params":\#(params)}]}"#)
    #expect(machine.answers(call)[0].contains(#""last_id":20"#))
  }

  @Test func anErrorOfATaskIsAPayload() throws {
    var limits = Limits()
    limits.maxPayloadBytes = 1_000
    let machine = try Conversation(limits: limits)
    let error = #"{"code":1,"message":\#(payload(2_000))}"#
    _ = machine.answers(call("create_task", #"{"task_id":"t"}"#))
    for call in [
      call("fail_task", #"{"task_id":"t","error":\#(error)}"#),
      call("store_task_result", #"{"task_id":"t","result":{"error":\#(error)}}"#),
      call("update_task", #"{"task":{"task_id":"t","result":{"error":\#(error)}}}"#),
    ] {
      #expect(machine.answers(call)[0].isError("payload_too_large"))
    }
  }

  @Test func framesOfALegalPayloadFitIntoAnAnswer() throws {
    let machine = try Conversation(maxResultBytes: 8_192)
    _ = machine.answers(Self.session)
    for data in [
      "[" + String(repeating: "\r", count: 1_000) + "]", "[" + String(repeating: "\r ", count: 500) + "]",
      "[1" + String(repeating: "\r,1", count: 333) + "]", "[\"\"" + String(repeating: "\r,\"\"", count: 250) + "]",
      "\"" + String(repeating: "\\\"", count: 500) + "\"",
    ] {
      #expect(machine.answers(store(data))[0].contains(#""result""#))
      let page = machine.answers(call("get_recent_events", #"{"session_id":"s","limit":1,"format":"sse"}"#))
      #expect(page[0].contains(#""result":{"frames":"id: "#), "\(data.prefix(10))")
    }
  }

  @Test func aPageSaysHowToGoOnBehindAnEntryThatIsTooLarge() throws {
    let machine = try Conversation(maxResultBytes: 4_096)
    _ = machine.answers(Self.session, store(payload(4_000)), store("2"))
    let page = machine.answers(call("get_events_after", #"{"session_id":"s"}"#))
    #expect(page[0].isError("payload_too_large"))
    #expect(page[0].contains(#""next_after":1"#))
    #expect(
      machine.answers(call("get_events_after", #"{"session_id":"s","after_event_id":1}"#))[0].contains(#""data":2"#))
  }

  // MARK: - Nothing is run while too many answers wait

  @Test func nothingIsRunWhileTheReaderTakesNothing() throws {
    let bound = 4 << 20
    let machine = try Conversation(outputBound: bound)
    _ = machine.answers(Self.session, store(payload(100_000)))
    let page = call("get_events_after", #"{"session_id":"s"}"#) + "\n"
    machine.sidecar.receive(Array(String(repeating: page, count: 100).utf8))
    var output: [UInt8] = []
    var largest = 0
    while machine.sidecar.run() {
      largest = max(largest, machine.sidecar.outputCount)
      machine.sidecar.moveOutput(to: &output)
      machine.sidecar.waitingOutput = output.count
      if machine.sidecar.isFull { break }
    }
    // Answers leave one by one when they are large, and no more than the bound and one answer wait.
    #expect(largest < 5 << 18)
    #expect(machine.sidecar.isFull && machine.sidecar.hasUnreadLines)
    #expect(output.count < bound + (1 << 18))
    #expect(machine.sidecar.run())
    #expect(machine.sidecar.outputCount == 0)
    var answered = output.components(of: 0x0A)
    while machine.sidecar.hasUnreadLines {
      machine.sidecar.waitingOutput = 0
      _ = machine.sidecar.run()
      output = []
      machine.sidecar.moveOutput(to: &output)
      answered += output.components(of: 0x0A)
    }
    #expect(answered == 100)
  }

  // MARK: - Subscriptions

  @Test func whatIsRolledBackOpensAndClosesNothing() throws {
    let machine = try Conversation()
    _ = machine.answers(Self.session, call("create_session", #"{"session_id":"t","status":"active"}"#))
    #expect(machine.answers(call("subscribe_events", #"{"session_id":"s"}"#))[0].contains("events-1"))
    let connection = machine.store.file!.connection
    try connection.execute("PRAGMA max_page_count = \(connection.pragma("page_count") + 8)")
    // The group is lost and run again: one subscription is opened and one closed, as though it were the first time.
    let answers = machine.answers(
      store("1"), call("subscribe_events", #"{"session_id":"t"}"#),
      call("unsubscribe", #"{"subscription_id":"events-1"}"#), store(payload(200_000)), store("2"))
    #expect(answers.contains { $0.contains("events-2") })
    #expect(answers.contains { $0.contains(#""unsubscribed":true"#) })
    #expect(machine.sidecar.subscriptionCount == 1)
    let left = call("store_event", #"{"session_id":"t","data":7}"#)
    #expect(machine.answers(left).contains { $0.contains(#""subscription_id":"events-2""#) })
  }

  @Test func onlyWhoWaitsForItIsLookedAt() throws {
    let machine = try Conversation()
    _ = machine.answers(Self.session)
    for number in 0..<500 {
      _ = machine.answers(
        call("create_session", #"{"session_id":"s\#(number)","status":"active"}"#),
        call("subscribe_events", #"{"session_id":"s\#(number)"}"#))
    }
    _ = machine.tick()
    #expect(!machine.hasDue)
    _ = machine.answers(call("store_event", #"{"session_id":"s7","data":7}"#))
    #expect(!machine.hasDue)
    // Nothing has moved: whatever the time is, nobody is due until a deadline comes.
    machine.clock.now += 60_000
    #expect(machine.tick().isEmpty)
    #expect(!machine.hasDue)
    machine.clock.now += 30 * 60_000
    // Many end at once, and a turn tells only some of them.
    let first = machine.tick()
    #expect(first.count >= 1 && first.count <= 300)
    #expect(machine.sidecar.millisecondsUntilTick == 0)
    var ended = first
    while machine.sidecar.millisecondsUntilTick == 0 { ended += machine.tick() }
    #expect(ended.count == 500)
    #expect(ended.allSatisfy { $0.contains(#""method":"ended""#) && $0.contains(#""reason":"expired""#) })
    #expect(machine.sidecar.subscriptionCount == 0)
  }
}

extension String {
  fileprivate func components(of part: String) -> Int {
    var count = 0
    var rest = self[...]
    while let first = rest.first {
      if rest.hasPrefix(part) { count += 1 }
      _ = first
      rest = rest.dropFirst()
    }
    return count
  }
}

extension [UInt8] {
  fileprivate func components(of byte: UInt8) -> Int { count { $0 == byte } }
}
