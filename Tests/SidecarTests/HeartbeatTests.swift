import Testing

@testable import SessionStore
@testable import Sidecar

/// Signs of life, greetings and frames of subscriptions, on a clock that is set by hand.
@Suite struct HeartbeatTests {
  private static let session = call("create_session", #"{"session_id":"s","status":"active","principal":"al"}"#)

  private func machine() throws -> Conversation {
    let machine = try Conversation()
    _ = machine.answers(Self.session)
    return machine
  }

  private func subscribe(_ params: String) -> String { call("subscribe_events", #"{"session_id":"s",\#(params)}"#) }

  private func beats(_ machine: Conversation) -> Int {
    machine.tick().count { $0.contains(#""method":"heartbeat""#) }
  }

  @Test func aHeartbeatComesEverySoManyMilliseconds() throws {
    let machine = try machine()
    _ = machine.answers(subscribe(#""heartbeat":1000"#))
    #expect(beats(machine) == 0)
    machine.clock.now += 999
    #expect(beats(machine) == 0)
    #expect((0...1).contains(machine.sidecar.millisecondsUntilTick))
    machine.clock.now += 1
    #expect(machine.tick() == [
      #"{"jsonrpc":"2.0","method":"heartbeat","params":{"subscription_id":"events-1","timestamp":1795210001000}}"#
    ])
    #expect(beats(machine) == 0)
    // Late ones do not pile up.
    machine.clock.now += 10_500
    #expect(beats(machine) == 1)
    machine.clock.now += 999
    #expect(beats(machine) == 0)
    machine.clock.now += 1
    #expect(beats(machine) == 1)
    // Events do not hold it up, and it does not hold up events.
    let told = machine.answers(call("store_event", #"{"session_id":"s","data":1}"#))
    #expect(told.contains { $0.contains(#""method":"event""#) })
    machine.clock.now += 1_000
    #expect(beats(machine) == 1)
    _ = machine.answers(call("unsubscribe", #"{"subscription_id":"events-1"}"#))
    machine.clock.now += 1_000
    #expect(beats(machine) == 0)
  }

  @Test func aClockThatWasSetBackHoldsNoHeartbeatUp() throws {
    let machine = try machine()
    _ = machine.answers(subscribe(#""heartbeat":1000"#))
    machine.clock.now -= 3_600_000
    #expect(beats(machine) == 0)
    machine.clock.now += 1_000
    #expect(beats(machine) == 1)
    machine.clock.now += 1_000
    #expect(beats(machine) == 1)
  }

  @Test func theEndsOfTheParameter() throws {
    let machine = try machine()
    for refused in ["0", "-1", "9007199254740992", "1.5", "1e3", "\"1\"", "true"] {
      #expect(machine.answers(subscribe(#""heartbeat":\#(refused)"#))[0].isError("invalid_params"), "\(refused)")
    }
    #expect(machine.sidecar.subscriptionCount == 0)
    _ = machine.answers(subscribe(#""heartbeat":9007199254740991"#), subscribe(#""heartbeat":null"#))
    machine.clock.now += 20 * 60_000
    #expect(beats(machine) == 0)
    _ = machine.answers(subscribe(#""heartbeat":1"#))
    for _ in 0..<5 {
      machine.clock.now += 1
      #expect(beats(machine) == 1)
    }
  }

  @Test func whoAsksForNoneIsNeverLookedAt() throws {
    let machine = try machine()
    for _ in 0..<500 { _ = machine.answers(subscribe(#""after_event_id":0"#)) }
    _ = machine.answers(subscribe(#""heartbeat":100"#))
    for _ in 0..<20 {
      machine.clock.now += 100
      #expect(!machine.hasDue)
      // One turn, for the one that asked.
      #expect(machine.tick().count == 1)
      #expect(!machine.hasDue)
    }
  }

  @Test func manyAtOnceAreToldInTurns() throws {
    let machine = try machine()
    for _ in 0..<1_000 { _ = machine.answers(subscribe(#""heartbeat":1000"#)) }
    machine.clock.now += 1_000
    var told = machine.tick()
    #expect(told.count < 600)
    while machine.sidecar.millisecondsUntilTick == 0 { told += machine.tick() }
    #expect(Set(told).count == 1_000)
  }

  @Test func whoAsksIsGreetedBeforeAllElse() throws {
    let machine = try machine()
    _ = machine.answers(call("store_event", #"{"session_id":"s","data":1}"#))
    let told = machine.answers(subscribe(#""after_event_id":0,"init":true,"principal":"al""#))
    #expect(told.count == 3)
    #expect(told[1] ==
      #"{"jsonrpc":"2.0","method":"init","params":{"subscription_id":"events-1","session_id":"s","tenant_id":null,"#
        + #""principal":"al","timestamp":1795210000000}}"#)
    #expect(told[2].contains(#""method":"event""#))
    #expect(machine.answers(subscribe(#""init":false"#)).count == 1)
    // Once: not again with what follows.
    let more = machine.answers(call("store_event", #"{"session_id":"s","data":2}"#))
    #expect(!more.contains { $0.contains(#""method":"init""#) })
  }

  @Test func tasksGreetAndBeatToo() throws {
    let machine = try machine()
    _ = machine.answers(call("create_task", #"{"task_id":"t","session_id":"s","principal":"al"}"#))
    let one = machine.answers(call("subscribe_tasks", #"{"task_id":"t","init":true,"heartbeat":50}"#))
    #expect(one.count == 2)
    #expect(one[1].contains(#""task_id":"t","session_id":"s","tenant_id":null,"principal":"al""#))
    let all = machine.answers(call("subscribe_tasks", #"{"session_id":"s","init":true,"heartbeat":50}"#))
    #expect(all[1].contains(#""params":{"subscription_id":"tasks-2","session_id":"s","tenant_id":null"#))
    machine.clock.now += 50
    #expect(beats(machine) == 2)
    // Their tasks were not read for it.
    machine.clock.now += 50
    #expect(machine.tick().count == 2)
  }

  @Test func framesCarryAllThatIsToldAndIdsOfEventsAlone() throws {
    var limits = Limits()
    limits.maxEventsPerSession = 2
    let machine = try Conversation(limits: limits)
    _ = machine.answers(Self.session)
    let store = { (type: String) in call("store_event", #"{"session_id":"s","data":[1],"event_type":"\#(type)"}"#) }
    _ = machine.answers(store("note"))
    let opened = machine.answers(
      subscribe(#""after_event_id":0,"init":true,"heartbeat":1000,"format":"sse_typed""#))
    #expect(opened[1].contains(#""frame":"event: init\ndata: {\"session_id\":\"s\",\"tenant_id\":null,"#))
    #expect(opened[2].contains(
      #""params":{"subscription_id":"events-1","session_id":"s","event_id":1,"#
        + #""frame":"id: 1\nevent: note\ndata: [1]\n\n"}"#))
    // A turn that comes only after more were stored than there is room for.
    let lagged = machine.answers("[" + Array(repeating: store("x"), count: 4).joined(separator: ",") + "]")
    #expect(lagged.contains {
      $0.contains(
        #""dropped":2,"oldest_available":4,"#
          + #""frame":"event: lagged\ndata: {\"dropped\":2,\"oldest_available\":4}\n\n"}"#)
    })
    machine.clock.now += 1_000
    #expect(machine.tick()[0].contains(#""frame":": keepalive\n\n"}"#))
    let ended = machine.answers(call("delete_session", #"{"session_id":"s"}"#))
    #expect(ended[1].contains(#""reason":"deleted","frame":"event: ended\ndata: {\"reason\":\"deleted\"}\n\n"}"#))
    #expect(!(opened + lagged + ended).contains { $0.contains("id: 0") })
  }
}
