import JSON
import JSONRPC
import SessionStore

/// Security events, the audit trail, rate limits and the screening of input: section 8 of the contract.
enum SecurityMethods {
  static let all: [Method] = [record, list, counts, head, rateLimit, validate]

  private static let severities = Severity.allCases.map(\.rawValue)
  private static let types = SecurityEventType.allCases.map(\.rawValue)
  private static let recorded = SecurityEventType.recorded.map(\.rawValue)

  private static let record = Method(
    name: "record_security_event",
    summary: "Notes a security event; too many of at least medium severity, or a critical one, invalidate the session.",
    access: .write, isWatched: true,
    parameters: [
      .optional(.sessionID, .identifier, "The session that it is about; it need not exist."),
      .optional(.userID, .name, "The user that it is about; the session's when absent."),
      .required(.type, .choice(recorded), "What happened."),
      .required(.severity, .choice(severities), "How bad it is."),
      .optional(.message, .text(4_096), "More, for people."),
      .optional(.ipAddress, .name, "From where."),
    ],
    result: .members([
      ("event_id", .integer),
      ("violations", .described(.integer, "Of the session, this one included; 0 without a session.")),
      (
        "action",
        .described(
          .choice(SecurityAction.allCases.map(\.rawValue)),
          "logged only, counted as a violation, or the session was invalidated over it.")
      ),
    ]),
    example: (
      #"{"session_id":"session-1","type":"unauthorized_access","severity":"high","ip_address":"192.0.2.7"}"#,
      #"{"event_id":2,"violations":1,"action":"counted"}"#
    )
  ) { sidecar, call, writer in
    let recorded = try sidecar.store.recordSecurityEvent(
      NewSecurityEvent(
        type: call.choice(.type, as: SecurityEventType.self) ?? .invalidInput,
        severity: call.choice(.severity, as: Severity.self) ?? .critical,
        sessionID: call.optionalString(.sessionID), userID: call.optionalString(.userID),
        message: call.optionalString(.message), ipAddress: call.optionalString(.ipAddress)))
    writer.beginObject()
    writer.member("event_id", recorded.number)
    writer.member("violations", recorded.violations)
    writer.member("action", recorded.action.rawValue)
    writer.endObject()
  }

  private static let filters: [Parameter] = [
    .optional(.sessionID, .identifier, "Only about this session, whether it still exists or not."),
    .optional(.userID, .name, "Only about this user."),
    .optional(.type, .choice(LifecycleChange.allCases.map(\.rawValue) + types), "Only these."),
    .optional(.minSeverity, .choice(severities), "Only security events at least so bad."),
    .optional(.since, .integer(.safe), "Unix milliseconds: only from then on."),
    .optional(.ipAddress, .name, "Only from this address."),
  ]

  private static func filter(_ call: Call) -> AuditFilter {
    var filter = AuditFilter()
    filter.sessionID = call.optionalString(.sessionID)
    filter.userID = call.optionalString(.userID)
    filter.type = call.optionalString(.type)
    filter.minSeverity = call.choice(.minSeverity, as: Severity.self)
    filter.since = call.optionalInteger(.since)
    filter.ipAddress = call.optionalString(.ipAddress)
    return filter
  }

  private static let counts = Method(
    name: "audit_counts", summary: "How many events of the audit trail name each user, address, session or type.",
    access: .read,
    parameters: [
      .required(.by, .choice(Store.AuditKey.allCases.map(\.rawValue)), "What is counted by; what names none is not.")
    ] + filters + [.optional(.limit, .integer(1...1_000), "Entries at most; 50 when absent.")],
    result: .members([
      (
        "counts",
        .array(
          .members([
            ("value", .string), ("events", .integer), ("first_at", RecordSchema.time), ("last_at", RecordSchema.time),
          ]))
      ),
      ("has_more", .boolean),
    ]),
    example: (
      #"{"by":"ip_address","min_severity":"medium"}"#,
      #"{"counts":[{"value":"192.0.2.7","events":3,"first_at":1795210000100,"last_at":1795210000900}],"#
        + #""has_more":false}"#
    )
  ) { sidecar, call, writer in
    let counted = try sidecar.store.auditCounts(
      by: call.choice(.by, as: Store.AuditKey.self) ?? .type, filter(call),
      limit: Int(call.integer(.limit, default: 50)))
    writer.beginObject()
    writer.name("counts")
    writer.beginArray()
    for count in counted.counts {
      writer.beginObject()
      writer.member("value", count.value)
      writer.member("events", count.events)
      writer.member("first_at", count.firstAt)
      writer.member("last_at", count.lastAt)
      writer.endObject()
    }
    writer.endArray()
    writer.member("has_more", counted.hasMore)
    writer.endObject()
  }

  private static let list = Method(
    name: "list_audit_events",
    summary: "Lifecycle changes and security events, oldest first; they outlive their sessions.", access: .read,
    parameters: filters + Parameter.page,
    result: .members([("events", .array(.reference("AuditEvent"))), ("next_cursor", .nullable(.string))]),
    example: (
      #"{"session_id":"session-1","min_severity":"medium"}"#,
      #"{"events":[{"event_id":2,"type":"unauthorized_access","severity":"high","timestamp":1795210000900,"#
        + #""session_id":"session-1","user_id":null,"tenant_id":null,"principal":null,"status_before":null,"#
        + #""status_after":null,"message":null,"ip_address":"192.0.2.7","action":"counted"}],"next_cursor":null}"#
    )
  ) { sidecar, call, writer in
    let filter = filter(call)
    try sidecar.page(call, &writer, list: .auditEvents, name: "events") { page in
      try sidecar.store.listAuditEvents(filter, after: page.after, limit: page.limit) { event in
        page.add(event.number) { $0.auditEvent(event) }
      }
    }
  }

  static let headExample =
    "2:9c5b0a1a2c1bb6d0f2e5a4c5d7a6ba2f1f0b7a4f0f1de0ac2d3b5e6c7d8e9f00:"
    + String(repeating: "0", count: 64)

  private static let head = Method(
    name: "get_audit_head",
    summary: "Where the audit trail stands, to be noted elsewhere: check_integrity tells later whether it still does.",
    access: .read, parameters: [],
    result: .members([
      (
        "head",
        .described(
          .nullable(.string),
          "The last event_id, and the hashes of the last lifecycle change and security event; null on a server.")
      )
    ]),
    example: ("{}", #"{"head":"\#(headExample)"}"#)
  ) { sidecar, _, writer in
    writer.beginObject()
    writer.member("head", try sidecar.store.auditHead()?.text)
    writer.endObject()
  }

  /// A thousand a millisecond are as fast as anybody counts; a year is as long as anybody waits.
  private static let rateLimit = Method(
    name: "check_rate_limit",
    summary: "Takes one request off a key's allowance: a burst of `limit`, then evenly that many in each window.",
    access: .readOrWrite, countsViolations: true,
    parameters: [
      .required(.key, .name, "What is limited: a user, an address, a method of one of them."),
      .required(.limit, .integer(1...1_000_000), "Requests in a window."),
      .required(.window, .integer(1...31_622_400_000), "Milliseconds."),
      .optional(
        .sessionID, .identifier, "Where they come from: with --count-denied-rates a denial is a violation of it."),
    ],
    result: .members([
      ("allowed", .boolean), ("remaining", .described(.integer, "How many more would be allowed right now.")),
      ("retry_after", .described(.integer, "Milliseconds until the next one is allowed; 0 for one that is.")),
    ]),
    example: (
      #"{"key":"user-1","limit":60,"window":60000}"#, #"{"allowed":true,"remaining":59,"retry_after":0}"#
    )
  ) { sidecar, call, writer in
    let decision = try sidecar.store.checkRateLimit(
      call.string(.key), limit: call.integer(.limit, default: 1), window: call.integer(.window, default: 1))
    if !decision.isAllowed, let sessionID = call.optionalString(.sessionID) {
      sidecar.store.noteDenial(of: call.string(.key), sessionID: sessionID)
    }
    writer.beginObject()
    writer.member("allowed", decision.isAllowed)
    writer.member("remaining", decision.remaining)
    writer.member("retry_after", decision.retryAfter)
    writer.endObject()
  }

  private static let validate = Method(
    name: "validate_input",
    summary: "Screens a text for size, control characters, scripts or SQL; what fails is recorded.",
    access: .readOrWrite, countsViolations: true,
    parameters: [
      .required(.text, .text(8 << 20), "The text."),
      .optional(.sessionID, .identifier, "Who sent it, for the record: with --count-refused-input a violation."),
      .optional(.maxBytes, .integer(0...8_388_608), "Bytes of UTF-8 that it may have; 10,000 when absent."),
      .optional(
        .patterns, .list(of: .choice(InputScreen.Pattern.allCases.map(\.rawValue)), count: 0...2),
        "What is looked for besides; script alone when absent."),
    ],
    result: .members([
      ("valid", .boolean), ("reason", .nullable(.choice(InputScreen.Finding.allCases.map(\.rawValue)))),
    ]),
    example: (#"{"text":"<script>alert(1)</script>"}"#, #"{"valid":false,"reason":"script"}"#)
  ) { sidecar, call, writer in
    let patterns = call.has(.patterns)
      ? Set(call.strings(.patterns).compactMap { InputScreen.Pattern(rawValue: $0) }) : [.script]
    let finding = InputScreen.check(
      call.string(.text), maxBytes: Int(call.integer(.maxBytes, default: 10_000)), for: patterns)
    if let finding { try sidecar.store.recordInvalidInput(finding, sessionID: call.optionalString(.sessionID)) }
    writer.beginObject()
    writer.member("valid", finding == nil)
    writer.member("reason", finding?.rawValue)
    writer.endObject()
  }
}

extension Call {
  /// - Throws: `invalidParameter` when it is no head
  func auditHead(_ name: ParameterName) throws -> AuditHead? {
    guard let text = optionalString(name) else { return nil }
    guard let head = AuditHead(text) else { throw RPCError.invalidParams(name.wire, expected: AuditHead.expected) }
    return head
  }
}
