package import JSON
package import SessionStore

/// How the store's records look on the wire. An object's shape never changes: what is absent is null.
extension JSONWriter {
  /// `state` is left out when the record was read without it.
  /// - Parameter omitted: of ``Session/largeMembers``: what it does without
  package mutating func session(_ session: Session, omitting omitted: [String] = []) {
    if !omitted.isEmpty { return shortSession(session, omitting: omitted) }
    beginSession(session)
    member("client_capabilities", session.clientCapabilities)
    member("server_capabilities", session.serverCapabilities)
    if let state = session.state { member("state", state) }
    member("metadata", session.metadata)
    endSession(session)
    endObject()
  }

  private mutating func shortSession(_ session: Session, omitting omitted: [String]) {
    func given(_ name: String, _ value: JSONText?) -> JSONText? { omitted.contains(name) ? nil : value }
    beginSession(session)
    member("client_capabilities", given("client_capabilities", session.clientCapabilities))
    member("server_capabilities", given("server_capabilities", session.serverCapabilities))
    // Where an object must stand, null does not.
    if let state = given("state", session.state) { member("state", state) }
    member("metadata", given("metadata", session.metadata) ?? .emptyObject)
    endSession(session)
    let absent = [
      session.clientCapabilities == nil ? "client_capabilities" : nil,
      session.serverCapabilities == nil ? "server_capabilities" : nil,
    ]
    member("omitted", strings: Session.largeMembers.filter { omitted.contains($0) && !absent.contains($0) })
    endObject()
  }

  private mutating func beginSession(_ session: Session) {
    beginObject()
    member("session_id", session.sessionID)
    member("status", session.status.rawValue)
    member("user_id", session.userID)
    member("tenant_id", session.tenantID)
    member("principal", session.principal)
  }

  private mutating func endSession(_ session: Session) {
    member("is_initialized", session.isInitialized)
    member("created_at", session.createdAt)
    member("last_activity", session.lastActivity)
    member("expires_at", session.expiresAt)
    member("inactivity_timeout", session.inactivityTimeout)
    member("suspended_at", session.suspendedAt)
    member("suspended_ms", session.suspendedTime)
    member("suspensions", session.suspensions)
    if session.tellsEnd { member("ended_at", session.endedAt) }
    member("last_event_id", session.lastEventID)
    member("revision", session.revision)
  }

  /// - Parameter omitted: of ``TaskRecord/largeMembers``: what is null instead
  package mutating func task(_ task: TaskRecord, omitting omitted: [String] = []) throws {
    let payloads = try omitted.isEmpty ? task.payloads() : task.payloads { !omitted.contains($0.rawValue) }
    beginObject()
    member("task_id", task.taskID)
    member("session_id", task.sessionID)
    member("tenant_id", task.tenantID)
    member("principal", task.principal)
    member("status", task.status.rawValue)
    member("status_message", task.statusMessage)
    member("created_at", timestamp: task.createdAt)
    member("last_updated_at", timestamp: task.lastUpdatedAt)
    member("ttl", task.ttl)
    member("poll_interval", task.pollInterval)
    member("original_method", task.originalMethod)
    member("original_params", payloads.originalParams)
    member("result", payloads.result)
    member("input_requests", payloads.inputRequests)
    member("input_responses", payloads.inputResponses)
    member("cancel_requested", task.cancelRequested)
    member("meta", payloads.meta)
    member("revision", task.revision)
    if !omitted.isEmpty {
      let fields = try task.fields()
      let left = TaskField.allCases.filter(fields.contains).map(\.rawValue).filter(omitted.contains)
      member("omitted", strings: left)
    }
    endObject()
  }

  private mutating func member(_ name: String, timestamp milliseconds: Int64) {
    let literal = Timestamp.literal(milliseconds)
    self.name(name)
    validated(literal.span)
  }

  /// - Parameters:
  ///   - isShort: whether it does without its data
  ///   - tellsSecrets: whether its secrets are told too
  package mutating func eventSubscription(
    _ subscription: EventSubscription, at now: Int64, isShort: Bool = false, tellsSecrets: Bool = false
  ) {
    beginObject()
    member("subscription_id", subscription.subscriptionID)
    member("tenant_id", subscription.tenantID)
    member("principal", subscription.principal)
    member("topic", subscription.topic)
    member("data", isShort ? nil : subscription.data)
    member("active", subscription.isActive)
    member("start_after", subscription.startAfter)
    member("watermark", subscription.watermark)
    member("created_at", subscription.createdAt)
    member("expires_at", subscription.expiresAt)
    member("inactive_since", subscription.inactiveSince)
    member("last_success_at", subscription.lastSuccessAt)
    member("last_failure_at", subscription.lastFailureAt)
    member("failed_since", subscription.failedSince)
    member("last_error", subscription.lastError)
    let recent = subscription.recent(at: now)
    name("window")
    beginObject()
    member("since", recent.since)
    member("attempts", recent.attempts)
    member("failures", recent.failures)
    endObject()
    member("ended_at", subscription.endedAt)
    member("end_reason", subscription.endReason)
    member("ended_queue", subscription.endedQueue)
    member("revision", subscription.revision)
    if tellsSecrets {
      let until = subscription.previousSecretUntil.flatMap { $0 > now ? $0 : nil }
      member("secret", subscription.secret)
      member("previous_secret", until == nil ? nil : subscription.previousSecret)
      member("previous_secret_until", until)
    }
    if isShort { member("omitted", strings: ["data"]) }
    endObject()
  }

  /// - Parameters:
  ///   - now: the time, where the item is told with its subscription
  ///   - isShort: whether it does without its payload
  package mutating func work(_ work: Work, withSubscriptionAt now: Int64? = nil, isShort: Bool = false) {
    beginObject()
    member("queue", work.queue)
    member("work_id", work.workID)
    member("group", work.group)
    member("subscription_id", work.subscriptionID)
    member("tenant_id", work.tenantID)
    member("principal", work.principal)
    member("status", work.status.rawValue)
    member("payload", isShort ? nil : work.payload)
    member("position", work.position)
    member("attempt", work.attempt)
    member("max_attempts", work.maxAttempts)
    member("fence", work.fence)
    member("worker", work.worker)
    member("lease_until", work.leaseUntil)
    member("not_before", work.notBefore)
    member("give_up_at", work.giveUpAt)
    member("error", work.error)
    member("enqueued_at", work.enqueuedAt)
    member("finished_at", work.finishedAt)
    if let now {
      name("subscription")
      if let subscription = work.subscription {
        eventSubscription(subscription, at: now, tellsSecrets: true)
      } else {
        null()
      }
    }
    if isShort { member("omitted", strings: ["payload"]) }
    endObject()
  }
}

/// Events as records, one after the other. What the events of a row have in common is put into words once.
package struct EventRecords {
  /// `,"stream_id":…,"timestamp":`, then `,"event_type":…,"data":`, then `,"retry":…}`
  private var words = JSONWriter()
  private var dataWords = 0..<0
  private var end = 0..<0
  /// the last event of the row that they are of
  private var row: Int64?

  package init() {}

  package mutating func write(_ event: borrowing EventRow, to writer: inout JSONWriter) {
    if event.lastOfRow != row { begin(event) }
    writer.value { writer in
      writer.raw(#"{"id":"#)
      writer.integer(event.id)
      writer.raw(words, 0..<dataWords.lowerBound)
      writer.integer(event.timestamp)
      writer.raw(words, dataWords)
      writer.validated { event.appendData(to: &$0) }
      writer.raw(words, end)
    }
  }

  private mutating func begin(_ event: borrowing EventRow) {
    row = event.lastOfRow
    words.rewind(to: 0)
    words.raw(",")
    words.member("stream_id", event.streamID)
    words.name("timestamp")
    let data = words.count
    words.raw(",")
    words.member("event_type", event.eventType)
    words.name("data")
    dataWords = data..<words.count
    words.raw(",")
    words.member("retry", event.retry)
    words.endObject()
    end = dataWords.upperBound..<words.count
  }
}

extension JSONWriter {
  mutating func auditEvent(_ event: AuditEvent) {
    beginObject()
    member("event_id", event.number)
    member("type", event.type)
    member("severity", event.severity)
    member("timestamp", event.timestamp)
    member("session_id", event.sessionID)
    member("user_id", event.userID)
    member("tenant_id", event.tenantID)
    member("principal", event.principal)
    member("status_before", event.statusBefore)
    member("status_after", event.statusAfter)
    member("message", event.message)
    member("ip_address", event.ipAddress)
    member("action", event.action)
    endObject()
  }
}

extension Session {
  /// Members that an answer can do without.
  static let largeMembers = ["client_capabilities", "server_capabilities", "state", "metadata"]
}

extension TaskRecord {
  static let largeMembers = TaskField.allCases.map(\.rawValue)
}

/// The schemas of the records, under `components` of the OpenRPC document.
enum RecordSchema {
  static let timestamp = Schema.described(.string, "RFC 3339, UTC, milliseconds: 2026-11-20T21:27:00.123Z")
  static let time = Schema.described(.integer, "Unix milliseconds")

  /// Stands only in an entry of a list that alone is over the limit of an answer, and where it was asked for.
  static let omitted = (
    "omitted",
    Schema.optional(
      .described(
        .array(.string),
        "What it is told without, because `omit` names it, or because an entry of a list would be too large by itself."
      ))
  )

  static let components: [(name: String, schema: Schema)] = [
    (
      "Session",
      .members([
        ("session_id", .string), ("status", .choice(SessionStatus.allCases.map(\.rawValue))),
        ("user_id", .nullable(.string)), ("tenant_id", .nullable(.string)), ("principal", .nullable(.string)),
        ("client_capabilities", .anyPayload), ("server_capabilities", .anyPayload),
        ("state", .optional(.described(.payload(.object), "Left out of lists unless include_state is true."))),
        ("metadata", .payload(.object)), ("is_initialized", .boolean), ("created_at", time), ("last_activity", time),
        ("expires_at", .nullable(time)), ("inactivity_timeout", .nullable(.described(.integer, "Milliseconds"))),
        ("suspended_at", .nullable(time)),
        ("suspended_ms", .described(.integer, "Milliseconds of all suspensions that are over.")),
        ("suspensions", .described(.integer, "How many those were.")),
        ("ended_at", .optional(.described(.nullable(.integer), "Unix milliseconds; stands only with --retain-ended."))),
        ("last_event_id", .integer),
        ("revision", .integer), omitted,
      ])
    ),
    (
      "Event",
      .members([
        ("id", .integer), ("stream_id", .nullable(.string)), ("timestamp", time), ("event_type", .string),
        ("data", .anyPayload), ("retry", .nullable(.described(.integer, "Milliseconds"))),
      ])
    ),
    (
      "EventPage",
      .members([
        ("events", .optional(.array(.reference("Event")))),
        ("frames", .optional(.described(.string, "In place of events when a format was asked for."))),
        ("next_after", .described(.integer, "The cursor of the next page; pass it back as it is.")),
        ("newest_id", .integer), ("has_more", .boolean), ("gap", .nullable(.reference("Gap"))),
        ("cursor_ahead", .boolean),
      ])
    ),
    (
      "Task",
      .members([
        ("task_id", .string), ("session_id", .nullable(.string)), ("tenant_id", .nullable(.string)),
        ("principal", .nullable(.string)), ("status", .choice(TaskStatus.allCases.map(\.rawValue))),
        ("status_message", .nullable(.payload(.string))), ("created_at", timestamp), ("last_updated_at", timestamp),
        ("ttl", .nullable(.described(.integer, "Milliseconds from created_at"))),
        ("poll_interval", .nullable(.described(.integer, "Milliseconds"))), ("original_method", .nullable(.string)),
        ("original_params", .anyPayload), ("result", .nullable(.reference("Outcome"))),
        ("input_requests", .nullable(.payload(.object))), ("input_responses", .nullable(.payload(.object))),
        ("cancel_requested", .boolean), ("meta", .anyPayload), ("revision", .integer), omitted,
      ])
    ),
    (
      "EventSubscription",
      .members([
        ("subscription_id", .string), ("tenant_id", .nullable(.string)), ("principal", .nullable(.string)),
        ("topic", .string), ("data", .anyPayload), ("active", .boolean), ("start_after", .nullable(.integer)),
        ("watermark", .described(.nullable(.integer), "All positions up to it are settled.")), ("created_at", time),
        ("expires_at", .nullable(time)), ("inactive_since", .nullable(time)), ("last_success_at", .nullable(time)),
        ("last_failure_at", .nullable(time)), ("failed_since", .nullable(time)), ("last_error", .nullable(.string)),
        (
          "window",
          .described(
            .members([("since", time), ("attempts", .integer), ("failures", .integer)]),
            "Of the last 30 to 60 minutes.")
        ),
        ("ended_at", .nullable(time)), ("end_reason", .nullable(.string)), ("ended_queue", .string),
        ("revision", .integer),
        ("secret", .optional(.nullable(.payload(.string)))),
        ("previous_secret", .optional(.nullable(.payload(.string)))),
        ("previous_secret_until", .optional(.nullable(time))), omitted,
      ])
    ),
    (
      "Work",
      .members([
        ("queue", .string), ("work_id", .string), ("group", .nullable(.string)),
        ("subscription_id", .nullable(.string)), ("tenant_id", .nullable(.string)),
        ("principal", .nullable(.string)), ("status", .choice(WorkStatus.allCases.map(\.rawValue))),
        ("payload", .anyPayload), ("position", .nullable(.integer)),
        ("attempt", .described(.integer, "Claims that count.")), ("max_attempts", .nullable(.integer)),
        ("fence", .described(.nullable(.integer), "Of the last claim.")),
        ("worker", .described(.nullable(.string), "Who claimed last.")),
        ("lease_until", .described(.nullable(.integer), "Unix milliseconds, while it is leased.")),
        ("not_before", .described(.nullable(.integer), "Unix milliseconds, while it waits for that time.")),
        ("give_up_at", .nullable(time)), ("error", .described(.nullable(.string), "Why it was not done last.")),
        ("enqueued_at", time), ("finished_at", .nullable(time)),
        ("subscription", .optional(.nullable(.reference("EventSubscription")))), omitted,
      ])
    ),
    (
      "Outcome",
      .described(
        .members([
          ("success", .optional(.anyPayload)),
          (
            "error",
            .optional(.members([("code", .integer), ("message", .payload(.string)), ("data", .optional(.anyPayload))]))
          ),
        ]), "One of the two members.")
    ),
    (
      "ServerInfo",
      .members([
        ("name", .string), ("version", .string), ("protocol_version", .string), ("capabilities", .array(.string)),
        ("backend", .string), ("backend_version", .string), ("database", .string), ("schema_version", .integer),
        ("sqlite_version", .string),
        ("durability", .choice(Durability.allCases.map(\.rawValue))), ("pid", .integer), ("limits", .object),
      ])
    ),
    (
      "AuditEvent",
      .members([
        ("event_id", .described(.integer, "Ascending; never reused.")),
        (
          "type",
          .choice(LifecycleChange.allCases.map(\.rawValue) + SecurityEventType.allCases.map(\.rawValue))
        ),
        (
          "severity",
          .described(.nullable(.choice(Severity.allCases.map(\.rawValue))), "null for a change of the lifecycle.")
        ),
        ("timestamp", time), ("session_id", .nullable(.string)), ("user_id", .nullable(.string)),
        ("tenant_id", .nullable(.string)), ("principal", .nullable(.string)),
        ("status_before", .nullable(.choice(SessionStatus.allCases.map(\.rawValue)))),
        ("status_after", .nullable(.choice(SessionStatus.allCases.map(\.rawValue)))),
        ("message", .described(.nullable(.string), "What the caller gave as message or reason, or what was found.")),
        ("ip_address", .nullable(.string)), ("action", .nullable(.choice(SecurityAction.allCases.map(\.rawValue)))),
      ])
    ),
    ("Metrics", MetricsMethods.schema),
    ("Gap", .members([("dropped", .integer), ("oldest_available", .nullable(.integer))])),
  ]
}
