import JSON
import Testing

@testable import Sidecar

/// Requests that are collected first and run later, as they are on a server.
@Suite struct CollectingTests {
  private let machine: Conversation

  init() throws { machine = try Conversation() }

  private func collect(_ lines: [String]) {
    machine.sidecar.receive(Array((lines.joined(separator: "\n") + "\n").utf8))
    machine.sidecar.collect()
  }

  private var collected: [CollectedUnit] {
    var (left, units) = (machine.sidecar.collected, [CollectedUnit]())
    while let unit = left.popFirst() { units.append(unit) }
    return units
  }

  /// What a handler can see of a request.
  private func parameters() -> [String] {
    let call = machine.sidecar.call
    return ParameterName.allCases.filter(call.mentions).map { name in
      "\(name.wire): \(String(decoding: call.json(name).bytes, as: UTF8.self)) \(call.has(name))"
    }
  }

  @Test func whatIsTakenUpAgainIsWhatWasParsed() throws {
    let examples = MethodTable.all.methods.map { call($0.name, $0.example.params) }
    let spelled = [
      #"{"jsonrpc":"2.0","method":"touch_session","params":{"session\u005fid":"a","principal":null}}"#,
      #" {"params":{"key":"k","value":null,"session_id":"b"},"method":"set_session_state","jsonrpc":"2.0","id":"x"} "#,
    ]
    collect(examples + ["[" + examples.joined(separator: ",") + "]"] + spelled)
    let units = collected
    #expect(units.count == 2 * examples.count + spelled.count)
    // In another order than they were collected in: nothing is left of the one before.
    for unit in units.reversed() {
      let known = try #require(unit.request)
      let taken = machine.sidecar.parse(unit.unit, known)
      let given = parameters()
      let parsed = machine.sidecar.parse(unit.unit)
      #expect(given == parameters())
      #expect(taken.method === parsed.method)
      #expect((taken.index, taken.isNotification) == (parsed.index, parsed.isNotification))
      #expect(taken.id == parsed.id)
      #expect(taken.error == nil && parsed.error == nil)
    }
  }

  /// Why is found out when it is its turn, so that errors do not pile up.
  @Test func whatIsRefusedIsParsedAgain() {
    collect([
      call("nothing"), call("get_session", #"{"session_id":7}"#), "{", "[]", call("get_session", "[1]"),
      call("get_session", #"{"session_id":"s","session_id":"s"}"#),
    ])
    #expect(collected.count == 6)
    for unit in collected {
      #expect(unit.request == nil)
      #expect(machine.sidecar.parse(unit.unit, unit.request).error != nil)
    }
    #expect(machine.sidecar.collected.given.isEmpty)
  }

  @Test func noMoreIsCollectedAtOnceThanABound() {
    let line = call("store_event", #"{"session_id":"s","data":"\#(String(repeating: "x", count: 1_000))"}"#)
    let count = 3 * Sidecar.collectedBytes / line.utf8.count
    collect(Array(repeating: line, count: count))
    var sizes = [collected.count]
    while machine.sidecar.hasUnreadLines, sizes.count < 10 {
      machine.sidecar.collect()
      sizes.append(collected.count)
    }
    // The last one is empty: then there is nothing to be read any more.
    #expect(sizes.reduce(0, +) == count)
    #expect(sizes.allSatisfy { $0 <= Sidecar.collectedBytes / line.utf8.count + 1 })
  }
}
