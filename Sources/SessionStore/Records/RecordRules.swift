import JSON

/// What a dump may say: of one member by itself, and of the members of a record and of others before it together. The
/// store relies on all of this wherever it reads its rows.
struct RecordRules {
  /// a sentence for people, without its full stop
  struct Broken: Error {
    let message: String
  }

  /// The largest integer of the contract.
  static let largest: Int64 = 1 << 53 - 1
  /// From the year 0 until so far that sums of some cannot overflow.
  private static let times: ClosedRange<Int64> = -62_167_219_200_000...1 << 60

  /// The record's members by name; nil for null.
  typealias Members = (String) -> JSONText?

  private struct Session {
    var trimmed: Int64
    var floor: Int64
    var last: Int64
    var logFloor: Int64
    var lastSeq: Int64
    var messageIDs: Int64
  }

  /// by their numbers in the dump
  private var sessions: [Int64: Session] = [:]

  // MARK: - One member

  /// What a value of a column must be instead, after "'name' is"; nil when it is right.
  static func expectation(_ content: RecordKind.Column.Content, _ value: JSONText) -> String? {
    switch content {
    case .integer: number(value, 0...largest)
    case .time: number(value, times)
    case .nanoseconds: number(value, 0...Int64.max)
    case .id:
      value.decodedString.map { (1...256).contains($0.utf8.count) && $0.utf8.allSatisfy { (0x21...0x7E).contains($0) } }
        == true ? nil : "1 to 256 visible ASCII characters"
    case .seal:
      value.decodedString.map { text in
        [96, 128].contains(text.utf8.count)
          && text.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x66) }
      } == true ? nil : "96 or 128 digits of base 16 in lower case"
    case .name: name(value, 1...1_024) ? nil : "a string of 1 to 1,024 bytes"
    case .nameOrNone: name(value, 0...1_024) ? nil : "a string of at most 1,024 bytes"
    case .text, .secret: value.decodedString == nil ? "a string" : nil
    case .boolean: value.kind == .boolean ? nil : "true or false"
    case .choice(let names):
      value.decodedString.map { names.contains($0) } == true ? nil : "one of " + names.joined(separator: ", ")
    case .number, .reference, .former, .revision: number(value, 1...largest)
    case .json: nil
    case .object: value.kind == .object ? nil : "an object"
    case .strings:
      value.kind == .array && value.elements.allSatisfy { $0.decodedString != nil } ? nil : "an array of strings"
    case .messageIDs: isMessageIDs(value) ? nil : "an array of numbers of entries, each before the id of a message"
    case .outcome: isOutcome(value) ? nil : "an object with success, or with error, an object"
    }
  }

  private static func number(_ value: JSONText, _ range: ClosedRange<Int64>) -> String? {
    if let integer = value.integer, range.contains(integer) { return nil }
    return "a whole number from \(range.lowerBound) to \(range.upperBound)"
  }

  private static func name(_ value: JSONText, _ bytes: ClosedRange<Int>) -> Bool {
    value.decodedString.map { bytes.contains($0.utf8.count) } == true
  }

  private static func isMessageIDs(_ value: JSONText) -> Bool {
    guard value.kind == .array else { return false }
    var elements = value.elements
    var isEmpty = true
    while let number = elements.next() {
      // 0: only noted, of no entry here.
      guard let number = number.integer, (0...largest).contains(number), elements.next()?.decodedString != nil
      else { return false }
      isEmpty = false
    }
    return !isEmpty
  }

  private static func isOutcome(_ value: JSONText) -> Bool {
    let members = Array(value.members.prefix(2))
    guard members.count == 1, let member = members.first else { return false }
    return member.name == "success" || (member.name == "error" && member.value.kind == .object)
  }

  // MARK: - A record

  /// What of a task is read into.
  private static let taskFields: [String: RecordKind.Column.Content] = [
    "result": .outcome, "input_requests": .object, "input_responses": .object, "input_keys": .strings,
  ]

  private static func check(
    _ name: String, _ content: RecordKind.Column.Content, _ value: JSONText
  ) throws(Broken) {
    if let expectation = expectation(content, value) { throw Broken(message: "'\(name)' is \(expectation)") }
  }

  /// Call it when each member by itself is right.
  mutating func check(_ kind: RecordKind, _ members: Members) throws(Broken) {
    func integer(_ name: String) -> Int64 { members(name)?.integer ?? 0 }
    func require(_ holds: Bool, _ message: String) throws(Broken) {
      if !holds { throw Broken(message: message) }
    }
    let session = sessions[integer("session")]
    switch kind.name {
    case "session":
      try require(
        integer("event_trimmed") <= integer("event_floor") && integer("event_floor") <= integer("last_event_id"),
        "'event_trimmed' is at most 'event_floor', and that at most 'last_event_id'")
      for name in ["log_floor", "log_checkpoint", "log_ids_seq"] {
        try require(integer(name) <= integer("last_log_seq"), "'\(name)' is at most 'last_log_seq'")
      }
      let status = members("status")?.decodedString.flatMap(SessionStatus.init)
      try require(
        members("ended_at") == nil || status?.isOver == true || status == .invalidated,
        "'ended_at' stands only in a session that is expired, resolved or invalidated")
      sessions[integer("number")] = Session(
        trimmed: integer("event_trimmed"), floor: integer("event_floor"), last: integer("last_event_id"),
        logFloor: integer("log_floor"), lastSeq: integer("last_log_seq"), messageIDs: integer("log_ids"))
    case "event":
      guard let session else { return }
      try require(
        integer("id") > session.trimmed && integer("id") <= session.last,
        "'id' is over the 'event_trimmed' of the session and at most its 'last_event_id'")
    case "stream_loss":
      guard let session else { return }
      let (first, last) = (integer("first_id"), integer("last_id"))
      try require(
        1 <= first && first <= last && last <= session.last,
        "'first_id' is from 1 to 'last_id', and that at most the 'last_event_id' of the session")
      try require((1...last - first + 1).contains(integer("lost")), "'lost' is from 1 to as many as the ids between")
    case "log_entry":
      guard let session else { return }
      try require(
        integer("seq") > session.logFloor && integer("seq") <= session.lastSeq,
        "'seq' is over the 'log_floor' of the session and at most its 'last_log_seq'")
    case "log_participant":
      guard let session else { return }
      try require(
        1 <= integer("last_seq") && integer("last_seq") <= session.lastSeq,
        "'last_seq' is from 1 to the 'last_log_seq' of the session")
    case "log_message_ids":
      guard let session, let ids = members("ids") else { return }
      try require(integer("ordinal") <= session.messageIDs, "'ordinal' is at most the 'log_ids' of the session")
      try require(
        integer("ordinal") >= Store.ids(in: ids), "'ordinal' is at least the number of 'ids'")
    case "task":
      // The small ones, and until schema 3 all of them.
      for (field, content) in Self.taskFields {
        if let value = members(field) { try Self.check(field, content, value) }
      }
      let expected = members("ttl")?.integer.map { (Saturating(integer("created_at")) + $0).value }
      try require(
        members("expires_at")?.integer == expected,
        "'expires_at' is 'created_at' and 'ttl' together, or null without one")
    case "task_payload":
      guard let field = members("field")?.decodedString, let payload = members("payload") else { return }
      if let content = Self.taskFields[field] { try Self.check("payload", content, payload) }
    case "event_subscription":
      try require(
        (members("inactive_since") == nil) == (members("active")?.string == "true"),
        "'inactive_since' stands in a subscription that is not active")
    case "work":
      let status = members("status")?.decodedString.flatMap(WorkStatus.init(rawValue:))
      try require(
        (members("finished_at") != nil) == (status?.isFinal == true), "'finished_at' stands in what is done or dead")
      let places = [members("line"), members("wakes_at")].count { $0 != nil }
      try require(
        places == (status?.isFinal == true ? 0 : 1) && (status != .leased || members("line") == nil),
        "what waits has a 'line' or 'wakes_at', what is leased 'wakes_at', and what is done or dead neither")
      try require(
        members("fence") != nil || (status != .leased && members("held")?.string != "true"),
        "what is leased or held has a 'fence'")
    case "legal_hold":
      try require(
        members("tenant_id") != nil || members("principal") != nil, "it names a 'tenant_id', a 'principal' or both")
    case "audit_event":
      let type = members("type")?.decodedString ?? ""
      let sealDigits = members("seal")?.decodedString?.utf8.count
      if type == AuditEvent.erased {
        let left: Set = ["number", "ring", "type", "timestamp", "seal"]
        try require(
          sealDigits == 128 && integer("timestamp") == 0
            && kind.columns.allSatisfy { left.contains($0.name) || members($0.name) == nil },
          "of an event that is erased there is a 'seal' of 128 digits, a 'timestamp' of 0, and nothing else")
        return
      }
      try require(sealDigits != 128, "a 'seal' of 128 digits is that of an event that is erased")
      let ring: Store.AuditRing = LifecycleChange(rawValue: type) == nil ? .security : .lifecycle
      try require(members("ring")?.decodedString == ring.rawValue, "'\(type)' belongs to the ring '\(ring.rawValue)'")
    default: break
    }
  }

  /// Whether an event can be read, or only waits to be deleted.
  func isReadable(event id: Int64, ofSession number: Int64) -> Bool { sessions[number].map { id > $0.floor } ?? false }
}
