/// A kind of record in a dump: a table, written row by row as `{"<name>": {…its columns…}}`.
///
/// The one description of the tables beside the schema: dumping, loading and exporting are made from it.
struct RecordKind: Sendable {
  struct Column: Sendable {
    enum Content: Sendable {
      /// from 0 to the largest integer of the contract
      case integer
      /// Unix milliseconds
      case time
      /// Unix nanoseconds
      case nanoseconds
      case text, boolean
      /// 1 to 256 visible ASCII characters
      case id
      /// of the audit trail: 96 or 128 digits in base 16, in lower case
      case seal
      /// 1 to 1,024 bytes
      case name
      /// the same, or empty for none
      case nameOrNone
      /// told only to who asks for secrets
      case secret
      /// kept byte for byte, as are those below
      case json
      case object
      case strings
      /// where message ids were first appended: [seq, id, seq, id, …]
      case messageIDs
      /// {"success": …} or {"error": {…}}
      case outcome
      case choice([String])
      /// by which rows of other kinds know this one
      case number
      /// the number of a row of another kind, which stands earlier in the dump
      case reference(to: String)
      /// the number of a row of another kind, which may be gone
      case former(String)
      /// from the store's counter of revisions
      case revision
    }

    let name: String
    let content: Content
    var isOptional = false

    static func integer(_ name: String) -> Column { Column(name: name, content: .integer) }
    static func time(_ name: String) -> Column { Column(name: name, content: .time) }
    static func id(_ name: String) -> Column { Column(name: name, content: .id) }
    static func name(_ name: String) -> Column { Column(name: name, content: .name) }
    static func nameOrNone(_ name: String) -> Column { Column(name: name, content: .nameOrNone) }
    static func object(_ name: String) -> Column { Column(name: name, content: .object) }
    static func outcome(_ name: String) -> Column { Column(name: name, content: .outcome) }
    static func strings(_ name: String) -> Column { Column(name: name, content: .strings) }
    static func text(_ name: String) -> Column { Column(name: name, content: .text) }
    static func json(_ name: String) -> Column { Column(name: name, content: .json) }
    static func boolean(_ name: String) -> Column { Column(name: name, content: .boolean) }
    static func choice(_ name: String, _ names: [String]) -> Column { Column(name: name, content: .choice(names)) }
    static func reference(_ name: String) -> Column { Column(name: name, content: .reference(to: name)) }
    static func former(_ name: String) -> Column { Column(name: name, content: .former(name)) }
    static let number = Column(name: "number", content: .number)
    static let revision = Column(name: "revision", content: .revision)
    static let subscription = Column(name: "subscription", content: .reference(to: "event_subscription"))
    static func optional(_ column: Column) -> Column {
      Column(name: column.name, content: column.content, isOptional: true)
    }
  }

  /// Which counter the numbers of a kind come from.
  enum Numbering: Sendable { case revision, audit, table }

  let name: String
  let table: String
  let columns: [Column]
  /// the columns that order the rows, ascending; a dump has no two rows with the same
  let key: [String]
  var numbering = Numbering.table
  /// on a server a row in which it is 0 is a lock that somebody took and did not use, and no record
  var lock: String?
  /// columns that older schemas wrote, and from which what stands elsewhere now is made after loading
  var retired: (columns: [Column], until: Int64) = ([], 0)

  /// where the key's columns stand among all
  var keyColumns: [Int] { key.compactMap { name in columns.firstIndex { $0.name == name } } }

  func column(_ name: String) -> Int? { columns.firstIndex { $0.name == name } }

  static func named(_ name: String) -> RecordKind? { all.first { $0.name == name } }

  /// The kinds as a dump of a schema writes them.
  static func all(of schema: Int64) -> [RecordKind] {
    all.map { kind in
      guard schema < kind.retired.until else { return kind }
      return RecordKind(
        name: kind.name, table: kind.table, columns: kind.columns + kind.retired.columns, key: kind.key,
        numbering: kind.numbering, lock: kind.lock)
    }
  }

  /// in the order of a dump: what is referred to stands before what refers to it
  static let all: [RecordKind] = [
    session, state, event, streamLoss, logEntry, logMessageIDs, logParticipant, task, taskPayload, taskInputKey,
    taskMessage, value, eventSubscription, workGroup, work, nonce, rateLimit, retention, legalHold, auditEvent,
  ]

  static let session = RecordKind(
    name: "session", table: "sessions",
    columns: [
      .number, .id("session_id"), .optional(.name("tenant_id")), .optional(.name("principal")),
      .choice("status", SessionStatus.allCases.map(\.rawValue)), .optional(.name("user_id")),
      .optional(.json("client_capabilities")), .optional(.json("server_capabilities")), .object("metadata"),
      .boolean("is_initialized"), .time("created_at"), .time("last_activity"),
      .optional(.time("expires_at")), .optional(.integer("inactivity_timeout")),
      .optional(.time("suspended_at")), .optional(.time("check_at")), .integer("last_event_id"),
      .integer("event_floor"), .integer("event_trimmed"), .integer("state_bytes"), .integer("last_log_seq"),
      .integer("log_floor"), .integer("log_checkpoint"), .integer("log_ids"), .integer("log_ids_seq"),
      .optional(.text("ip_address")), .optional(.text("user_agent")), .integer("violations"), .revision,
      .optional(.integer("suspended_ms")), .optional(.integer("suspensions")),
      .optional(Column(name: "write_arrival", content: .nanoseconds)),
      .optional(.time("ended_at")),
    ],
    key: ["number"], numbering: .revision)

  static let state = RecordKind(
    name: "state", table: "session_state",
    columns: [.number, .reference("session"), .name("key"), .json("value")], key: ["number"])

  static let event = RecordKind(
    name: "event", table: "events",
    columns: [
      .reference("session"), .integer("id"), .optional(.name("stream_id")), .optional(.text("event_type")),
      .time("timestamp"), .optional(.integer("retry")), .json("data"),
    ],
    key: ["session", "id"])

  static let streamLoss = RecordKind(
    name: "stream_loss", table: "stream_losses",
    columns: [
      .reference("session"), .name("stream_id"), .integer("lost"), .integer("first_id"), .integer("last_id"),
    ],
    key: ["session", "stream_id"])

  static let logEntry = RecordKind(
    name: "log_entry", table: "log_entries",
    columns: [
      .reference("session"), .integer("seq"), .optional(.choice("kind", NewLogEntry.Kind.allCases.map(\.rawValue))),
      .json("entry"),
    ],
    key: ["session", "seq"])

  static let logMessageIDs = RecordKind(
    name: "log_message_ids", table: "log_message_ids",
    columns: [.reference("session"), .integer("ordinal"), Column(name: "ids", content: .messageIDs)],
    key: ["session", "ordinal"])

  static let logParticipant = RecordKind(
    name: "log_participant", table: "log_participants",
    columns: [
      .number, .reference("session"), .nameOrNone("sender"), .integer("entries"), .time("first_seen"),
      .time("last_seen"), .integer("last_seq"),
    ],
    key: ["number"])

  static let task = RecordKind(
    name: "task", table: "tasks",
    columns: [
      .number, .id("task_id"), .optional(.id("session_id")), .optional(.name("tenant_id")),
      .optional(.name("principal")), .choice("status", TaskStatus.allCases.map(\.rawValue)),
      .optional(.text("status_message")), .time("created_at"), .time("last_updated_at"),
      .optional(.integer("ttl")), .optional(.time("expires_at")), .optional(.integer("poll_interval")),
      .optional(.text("original_method")), .boolean("cancel_requested"), .revision, .optional(.former("session")),
    ] + TaskField.allCases.map { .optional(.json($0.rawValue)) },
    key: ["number"], numbering: .revision, retired: ([.optional(.json("input_keys"))], until: 3))

  /// Those that are too large for the record of their task.
  static let taskPayload = RecordKind(
    name: "task_payload", table: "task_payloads",
    columns: [
      .number, .reference("task"), .choice("field", TaskField.allCases.map(\.rawValue)), .json("payload"),
    ],
    key: ["number"])

  static let taskInputKey = RecordKind(
    name: "task_input_key", table: "task_input_keys", columns: [.number, .reference("task"), .name("key")],
    key: ["number"])

  static let taskMessage = RecordKind(
    name: "task_message", table: "task_messages",
    columns: [.number, .reference("task"), .json("message")], key: ["number"])

  static let value = RecordKind(
    name: "value", table: "named_values",
    columns: [
      .number, .nameOrNone("tenant_id"), .nameOrNone("principal"), .name("collection"), .name("key"), .json("value"),
      .optional(.time("expires_at")), .revision,
    ],
    key: ["number"], numbering: .revision)

  static let eventSubscription = RecordKind(
    name: "event_subscription", table: "event_subscriptions",
    columns: [
      .number, .name("subscription_id"), .optional(.name("tenant_id")), .optional(.name("principal")), .name("topic"),
      .optional(.json("data")), .optional(Column(name: "secret", content: .secret)),
      .optional(Column(name: "previous_secret", content: .secret)), .optional(.time("previous_secret_until")),
      .boolean("active"), .optional(.integer("start_after")), .optional(.integer("watermark")), .time("created_at"),
      .optional(.time("expires_at")), .optional(.time("inactive_since")), .integer("inactive_ms"),
      .optional(.time("last_success_at")), .optional(.time("last_failure_at")), .optional(.time("failed_since")),
      .optional(.text("last_error")), .time("window_start"), .integer("window_attempts"),
      .integer("window_failures"), .integer("attempts_before"), .integer("failures_before"), .revision,
      .optional(.time("ended_at")), .optional(.text("end_reason")), .name("ended_queue"),
    ],
    key: ["number"], numbering: .revision)

  static let workGroup = RecordKind(
    name: "work_group", table: "work_groups",
    columns: [
      .number, .name("queue"), .optional(.name("name")), .optional(.subscription), .boolean("is_ordered"),
      .integer("in_flight"), .integer("items"), .integer("last_seq"), .optional(.integer("last_position")),
      .optional(.integer("line")), .boolean("stopped"),
    ],
    key: ["number"], numbering: .revision)

  static let work = RecordKind(
    name: "work", table: "work",
    columns: [
      .number, .name("queue"), .name("work_id"), .optional(.name("tenant_id")), .optional(.name("principal")),
      .optional(.reference("work_group")), .optional(.subscription), .integer("seq"), .optional(.integer("position")),
      .choice("status", WorkStatus.allCases.map(\.rawValue)), .optional(.integer("line")),
      .optional(.time("wakes_at")), .integer("attempt"), .optional(.integer("max_attempts")),
      .optional(.integer("give_up_after")), .optional(.time("give_up_at")),
      .optional(Column(name: "fence", content: .revision)), .boolean("held"), .optional(.name("worker")),
      .optional(.text("error")), .time("enqueued_at"), .optional(.time("finished_at")), .json("payload"),
    ],
    key: ["number"], numbering: .revision)

  static let nonce = RecordKind(
    name: "nonce", table: "nonces", columns: [.name("nonce"), .nameOrNone("principal"), .time("expires_at")],
    key: ["nonce", "principal"], lock: "expires_at")

  static let rateLimit = RecordKind(
    name: "rate_limit", table: "rate_limits",
    columns: [.name("key"), Column(name: "arrival", content: .nanoseconds), .time("check_at")],
    key: ["key"], lock: "arrival")

  static let retention = RecordKind(
    name: "retention", table: "retention",
    columns: [
      .number, .name("tenant_id"), .optional(.integer("retain_ended")), .optional(.integer("max_events_per_session")),
      .optional(.integer("max_task_ttl")), .optional(.integer("max_log_entries_per_session")),
      .optional(.integer("audit_retention")),
    ],
    key: ["number"], numbering: .revision)

  static let legalHold = RecordKind(
    name: "legal_hold", table: "legal_holds",
    columns: [
      .number, .name("name"), .optional(.name("tenant_id")), .optional(.name("principal")),
      .optional(.text("reason")), .time("placed_at"),
    ],
    key: ["number"], numbering: .revision)

  static let auditEvent = RecordKind(
    name: "audit_event", table: "audit_events",
    columns: [
      .number, .choice("ring", Store.AuditRing.allCases.map(\.rawValue)),
      .choice(
        "type",
        LifecycleChange.allCases.map(\.rawValue) + SecurityEventType.allCases.map(\.rawValue) + [AuditEvent.erased]),
      .optional(.choice("severity", Severity.allCases.map(\.rawValue))), .time("timestamp"),
      .optional(.id("session_id")), .optional(.name("user_id")), .optional(.name("tenant_id")),
      .optional(.name("principal")),
      .optional(.choice("status_before", SessionStatus.allCases.map(\.rawValue))),
      .optional(.choice("status_after", SessionStatus.allCases.map(\.rawValue))), .optional(.text("message")),
      .optional(.text("ip_address")), .optional(.choice("action", SecurityAction.allCases.map(\.rawValue))),
      .optional(.former("session")), .optional(Column(name: "seal", content: .seal)),
    ],
    key: ["number"], numbering: .audit)
}
