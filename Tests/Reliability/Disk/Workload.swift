/// SplitMix64: small, and the same everywhere.
struct Chance: RandomNumberGenerator {
  var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
  mutating func percent(_ share: Int) -> Bool { below(100) < share }
  mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }
}

/// Requests, and what happens between them.
struct Workload {
  enum Act {
    /// of ``requests``: sent in one piece
    case send(Range<Int>)
    case checkpoint
    /// the process ends well, and the next one opens the file
    case restart
  }

  private(set) var requests: [Request] = []
  private(set) var acts: [Act] = []
  private var time: Int64 = 1_795_210_000_000

  /// Requests without an id of their own make none: an id is their number here.
  private mutating func send(_ calls: [String]) {
    let start = requests.count
    // Far less than a minute in all, so that no sweep comes between.
    time += 7
    for call in calls {
      let line = #"{"jsonrpc":"2.0","id":\#(requests.count),"method":"# + call + "}\n"
      requests.append(Request(line: Array(line.utf8), time: time))
    }
    acts.append(.send(start..<requests.count))
  }

  private static func call(_ method: String, _ params: String) -> String { #""\#(method)","params":{\#(params)}"# }

  // MARK: - One of everything

  /// Every method that writes, the one that a file needs first, alone and in groups.
  static let everything: Workload = {
    var work = Workload()
    func call(_ method: String, _ params: String) -> String { Self.call(method, params) }
    let s = #""session_id":"s""#
    let t = #""task_id":"t""#
    work.send([call("create_session", s + #","user_id":"u","status":"active","state":{"a":1}"#)])
    work.send([call("store_event", s + #","data":"one","stream_id":"x""#)])
    work.send([
      call("create_session", #""session_id":"s-2","user_id":"u-2","principal":"p","status":"active""#),
      call("store_events", s + #","events":[{"data":2},{"data":3,"stream_id":"x"},{"data":4}]"#),
      call("broadcast_event", #""data":{"to":"all"}"#),
      call("set_session_state", s + #","key":"b","value":[1,2.50]"#),
      call("append_log_entry", s + #","entry":{"message_id":"m-1","text":"hello"}"#),
      call("append_log_entry", s + #","entry":{"message_id":"m-2","text":"again"}"#),
      call("put_value", #""collection":"c","key":"k","value":{"n":1.0}"#),
      call("consume_nonce", #""nonce":"n","ttl":60000"#),
    ])
    work.send([call("create_task", t + ",\(s),\"ttl\":600000")])
    work.send([
      call("require_task_input", t + #","input_requests":{"name":{}}"#),
      call("provide_task_input", t + #","input_responses":{"name":"x"}"#),
      call("enqueue_task_message", t + #","message":{"n":1}"#),
      call("enqueue_task_message", t + #","message":{"n":2}"#),
      call("dequeue_task_message", t),
      call("touch_task", t + #","status_message":"half""#),
    ])
    work.acts.append(.checkpoint)
    work.send([call("set_session_state", s + #","key":"long","value":"\#(String(repeating: "x", count: 9_000))""#)])
    work.send([
      call(
        "transaction",
        #""calls":[{"method":"store_event","params":{"session_id":"s","data":"both"}},"#
          + #"{"method":"put_value","params":{"collection":"c","key":"both","value":1}}]"#)
    ])
    work.acts.append(.restart)
    work.send([
      call("delete_events_before", s + #","before_event_id":3"#),
      call("remove_session_state", s + #","key":"a""#),
      call("update_session", #""session":{"session_id":"s","metadata":{"m":1}},"upsert":true"#),
      call("touch_session", s), call("validate_session", s + #","ip_address":"192.0.2.1""#),
      call("record_security_event", s + #","type":"invalid_input","severity":"low","message":"odd""#),
      call("check_rate_limit", #""key":"r","limit":10,"window":60000"#),
      call("suspend_session", #""session_id":"s-2","principal":"p","reason":"later""#),
      call("resume_session", #""session_id":"s-2","principal":"p""#),
      call("complete_task", t + #","result":{"ok":true}"#),
    ])
    work.send([
      call("create_task", #""task_id":"t-2""#),
      call("fail_task", #""task_id":"t-2","error":{"code":1,"message":"no"}"#),
      call("create_task", #""task_id":"t-3""#), call("cancel_task", #""task_id":"t-3""#),
      call("delete_task", #""task_id":"t-3""#), call("replace_log", s + #","entries":[{"message_id":"m-3"},{"n":1}]"#),
      call("compact_log", s + #","checkpoint":{"sum":1}"#), call("delete_value", #""collection":"c","key":"k""#),
    ])
    work.send([call("invalidate_session", #""session_id":"s-2","principal":"p""#)])
    work.send([call("delete_user_data", #""user_id":"u-2""#), call("store_event", s + #","data":"last""#)])
    work.send([call("delete_session", s + #","delete_tasks":true"#), call("create_session", s)])
    work.acts.append(.checkpoint)
    work.send([call("store_event", s + #","data":"after the end""#)])
    return work
  }()

  // MARK: - Many, by chance

  /// So many requests of all kinds, some of which are refused; a few processes that end well, and checkpoints.
  static func random(_ seed: UInt64, count: Int) -> Workload {
    var chance = Chance(seed)
    var work = Workload()
    var number = 0
    while work.requests.count < count {
      switch chance.below(100) {
      case 0..<6: work.acts.append(.checkpoint)
      case 6..<9: work.acts.append(.restart)
      default:
        let size = min(chance.pick([1, 1, 1, 2, 5, 12, 40]), count - work.requests.count)
        work.send((0..<size).map { _ in
          number += 1
          return one(number, &chance)
        })
      }
    }
    return work
  }

  private static func one(_ number: Int, _ chance: inout Chance) -> String {
    let data = #""\#(number) \#(String(repeating: "x", count: chance.pick([0, 10, 40, 200, 900, 5_000])))""#
    let session = #""session_id":"s-\#(chance.below(6))""#
    let task = #""task_id":"t-\#(chance.below(6))""#
    let key = #""key":"k-\#(chance.below(6))""#
    switch chance.below(100) {
    case 0..<6: return call("create_session", session + #","status":"active","state":{"made":\#(data)}"#)
    case 6..<34: return call("store_event", session + #","data":\#(data)"#)
    case 34..<44: return call("store_events", session + #","events":[{"data":\#(data)},{"data":1,"stream_id":"x"}]"#)
    case 44..<54: return call("set_session_state", session + #",\#(key),"value":\#(data)"#)
    case 54..<56: return call("remove_session_state", session + "," + key)
    case 56..<64: return call("put_value", #""collection":"c",\#(key),"value":\#(data)"#)
    case 64..<66: return call("delete_value", #""collection":"c",\#(key)"#)
    case 66..<72: return call("append_log_entry", session + #","entry":{"message_id":"m-\#(number)","data":\#(data)}"#)
    case 72..<73: return call("compact_log", session + #","checkpoint":\#(data)"#)
    case 73..<77: return call("create_task", task + #","ttl":600000"#)
    case 77..<79: return call("enqueue_task_message", task + #","message":\#(data)"#)
    case 79..<81: return call("complete_task", task + #","result":\#(data)"#)
    case 81..<83: return call("delete_task", task)
    case 83..<85: return call("consume_nonce", #""nonce":"n-\#(number / 2)","ttl":60000"#)
    case 85..<87: return call("check_rate_limit", #""key":"r","limit":50,"window":60000"#)
    case 87..<89:
      return call(
        "record_security_event", session + #","type":"invalid_input","severity":"info","message":\#(data)"#)
    case 89..<91: return call("delete_events_before", session + #","before_event_id":\#(1 + chance.below(40))"#)
    case 91..<92: return call("delete_session", session)
    case 92..<94: return call("broadcast_event", #""data":\#(data)"#)
    case 94..<95: return call("suspend_session", session)
    case 95..<96: return call("resume_session", session)
    case 96..<97: return call("get_session", session)
    default:
      return call(
        "transaction",
        #""calls":[{"method":"store_event","params":{\#(session),"data":\#(data)}},"#
          + #"{"method":"put_value","params":{"collection":"c","key":"both","value":\#(data)}}]"#)
    }
  }
}

/// What a store without a disk makes of the requests, one at a time: the model that everything is compared with.
struct Reference {
  /// of everything in the store, by how many requests have been run
  private(set) var digests: [UInt64] = []
  private(set) var answers: [[UInt8]] = []
  private var counts: [UInt64: [Int]] = [:]

  init(_ requests: [Request]) throws {
    let clock = Clock()
    let store = try Opening().open(":memory:", clock)
    let service = Service(store, clock)
    digests.append(try store.digest())
    for request in requests {
      service.send([request])
      digests.append(try store.digest())
    }
    answers = service.answers
    for (count, digest) in digests.enumerated() { counts[digest, default: []].append(count) }
  }

  /// The most requests after which the store looks so, of those that were sent; nil when it never does.
  func count(_ digest: UInt64, atMost sent: Int) -> Int? { counts[digest]?.last { $0 <= sent } }
}
