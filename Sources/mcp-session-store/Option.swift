import SessionStore
import Sidecar

/// One option of the command line: everything that there is to know of it.
struct Option {
  enum Value {
    case flag(WritableKeyPath<Arguments, Bool>)
    case text((inout Arguments, String) -> Void)
    /// a text that may be unusable: why, or nil
    case checked((String) -> String?, (inout Arguments, String) -> Void)
    case choice([String], (inout Arguments, String) -> Void)
    case count(WritableKeyPath<Arguments, Int>, minimum: Int)
    case bytes(WritableKeyPath<Arguments, Int>, minimum: Int)
    case duration(WritableKeyPath<Arguments, Int64>)
    /// so many in a time, `600/1m`; 0 is none
    case rate(WritableKeyPath<Arguments, Rate?>)
  }

  let name: String
  /// in the place of its value, in help; empty for a flag. PATH and FILE are completed as such.
  var placeholder = ""
  /// nil: without it nothing is said
  var defaultText: String?
  let summary: String
  let value: Value
  /// Whether the environment may set it too: that is for what holds from one command to the next.
  var hasVariable = false
  /// under which it stands in help
  var heading = "Options"

  var environmentName: String {
    // By bytes: every start asks for all of these names, and by characters it was a twelfth of it.
    let letters = name.utf8.dropFirst(2).map { byte in
      switch byte {
      case UInt8(ascii: "-"): UInt8(ascii: "_")
      case UInt8(ascii: "a")...UInt8(ascii: "z"): byte & ~0x20
      default: byte
      }
    }
    return "MCP_SESSION_STORE_" + String(decoding: letters, as: UTF8.self)
  }

  fileprivate static func section(_ heading: String, _ options: [Option]) -> [Option] {
    options.map { option in
      var option = option
      option.heading = heading
      option.hasVariable = true
      return option
    }
  }
}

// MARK: - Those of the service

extension Option {
  /// Each has an environment variable of the same name (`--max-sessions` is `MCP_SESSION_STORE_MAX_SESSIONS`); the
  /// command line wins.
  static var serving: [Option] { theFile + sessions + records + logAndAudit + theWire + watching }

  private static var theFile: [Option] {
    section(
      "The file",
      [
        Option(
          name: "--database", placeholder: "PATH", defaultText: "~/.local/state/mcp-session-store/sessions.db",
          summary: "a SQLite file, made when missing; :memory: for none; postgresql://…",
          value: .text { $0.database = $1 }),
        schema, durability, exclusive, busyTimeout,
      ])
  }

  static var schema: Option {
    Option(
      name: "--schema", placeholder: "NAME", defaultText: "mcp_session_store",
      summary: "where the tables are in a PostgreSQL database",
      value: .checked(ServerAddress.problem(withSchema:)) { $0.schema = $1 }, hasVariable: true)
  }

  static var durability: Option {
    Option(
      name: "--durability", placeholder: "LEVEL", defaultText: "full",
      summary: "full: answers wait for the disk; normal: a power cut may take the last ones",
      value: .choice(Durability.allCases.map(\.rawValue)) { $0.durability = Durability(rawValue: $1) ?? .full })
  }

  static var exclusive: Option {
    Option(
      name: "--exclusive", defaultText: "off",
      summary: "take the file for this process alone (network and virtual file systems)", value: .flag(\.exclusive))
  }

  static var busyTimeout: Option {
    Option(
      name: "--busy-timeout", placeholder: "TIME", defaultText: "5s",
      summary: "how long a write waits for other processes", value: .duration(\.limits.busyTimeout))
  }

  private static var sessions: [Option] {
    section(
      "Sessions",
      [
        Option(
          name: "--session-ttl", placeholder: "TIME", defaultText: "24h",
          summary: "lifetime of a session that names none; 0: for ever", value: .duration(\.limits.sessionTTL)),
        Option(
          name: "--inactivity-timeout", placeholder: "TIME", defaultText: "30m",
          summary: "time without a write after which a session expires; 0: never",
          value: .duration(\.limits.inactivityTimeout)),
        Option(
          name: "--max-suspension", placeholder: "TIME", defaultText: "7d",
          summary: "how long a session may be suspended; 0: for ever", value: .duration(\.limits.maxSuspension)),
        Option(
          name: "--retain-ended", placeholder: "TIME", defaultText: "0",
          summary: "how long a session that ended can still be read, with include_ended; 0: not at all",
          value: .duration(\.limits.retainEnded)),
        Option(
          name: "--max-sessions", placeholder: "N", defaultText: "100000",
          summary: "sessions in the store; 0: no cap", value: .count(\.limits.maxSessions, minimum: 0)),
        Option(
          name: "--max-sessions-per-user", placeholder: "N", defaultText: "0",
          summary: "sessions of one user of one tenant; 0: no cap",
          value: .count(\.limits.maxSessionsPerUser, minimum: 0)),
        Option(
          name: "--max-writes-per-session", placeholder: "RATE", defaultText: "0",
          summary: "writes of one session, such as 600/1m: so many at once, then evenly; 0: no cap",
          value: .rate(\.limits.sessionWrites)),
        Option(
          name: "--max-state-bytes", placeholder: "BYTES", defaultText: "4MiB",
          summary: "the whole state of one session; 0: no cap", value: .bytes(\.limits.maxStateBytes, minimum: 0)),
        Option(
          name: "--id-format", placeholder: "FORMAT", defaultText: "uuid",
          summary: "ids that are made here: uuid (v7), or random (256 bits)",
          value: .choice(IDFormat.allCases.map(\.rawValue)) { $0.limits.idFormat = IDFormat(rawValue: $1) ?? .uuid }),
        Option(
          name: "--require-owner", defaultText: "off",
          summary: "refuse calls that name neither tenant_id nor principal",
          value: .flag(\.sidecar.requireOwner)),
        Option(
          name: "--degraded-sessions", placeholder: "N", defaultText: "10000",
          summary: "health says degraded from so many sessions; 0: never",
          value: .count(\.sidecar.degradedSessions, minimum: 0)),
      ])
  }

  private static var records: [Option] {
    section(
      "Events, tasks, values, work",
      [
        Option(
          name: "--max-events-per-session", placeholder: "N", defaultText: "10000",
          summary: "events kept of one session; 0: no cap", value: .count(\.limits.maxEventsPerSession, minimum: 0)),
        Option(
          name: "--event-overflow", placeholder: "WHAT", defaultText: "evict",
          summary: "at that cap: evict the oldest, or answer with an error",
          value: .choice(Limits.EventOverflow.allCases.map(\.rawValue)) {
            $0.limits.eventOverflow = Limits.EventOverflow(rawValue: $1) ?? .evict
          }),
        Option(
          name: "--max-tasks", placeholder: "N", defaultText: "10000", summary: "tasks in the store; 0: no cap",
          value: .count(\.limits.maxTasks, minimum: 0)),
        Option(
          name: "--max-task-messages", placeholder: "N", defaultText: "10000",
          summary: "messages in the queue of one task; 0: no cap",
          value: .count(\.limits.maxTaskMessages, minimum: 0)),
        Option(
          name: "--max-task-input-keys", placeholder: "N", defaultText: "10000",
          summary: "keys that one task asks for in its life; 0: no cap",
          value: .count(\.limits.maxTaskInputKeys, minimum: 0)),
        Option(
          name: "--max-values", placeholder: "N", defaultText: "1000000", summary: "values in the store; 0: no cap",
          value: .count(\.limits.maxValues, minimum: 0)),
        Option(
          name: "--max-event-subscriptions", placeholder: "N", defaultText: "100000",
          summary: "event subscriptions in the store; 0: no cap",
          value: .count(\.limits.maxEventSubscriptions, minimum: 0)),
        Option(
          name: "--max-event-subscriptions-per-principal", placeholder: "N", defaultText: "0",
          summary: "event subscriptions of one principal of one tenant; 0: no cap",
          value: .count(\.limits.maxEventSubscriptionsPerPrincipal, minimum: 0)),
        Option(
          name: "--max-work", placeholder: "N", defaultText: "1000000",
          summary: "items of work that wait or are leased; 0: no cap", value: .count(\.limits.maxWork, minimum: 0)),
        Option(
          name: "--max-work-per-principal", placeholder: "N", defaultText: "0",
          summary: "the same of one principal of one tenant; 0: no cap",
          value: .count(\.limits.maxWorkPerPrincipal, minimum: 0)),
        Option(
          name: "--max-finished-work", placeholder: "N", defaultText: "100000",
          summary: "items of work that are done and stay known, and as many dead ones; 0: no cap",
          value: .count(\.limits.maxFinishedWork, minimum: 0)),
        Option(
          name: "--work-retention", placeholder: "TIME", defaultText: "7d",
          summary: "how long work that is done or dead stays known; 0: up to that cap",
          value: .duration(\.limits.workRetention)),
      ])
  }

  private static var logAndAudit: [Option] {
    section(
      "Log and audit",
      [
        Option(
          name: "--max-log-entries-per-session", placeholder: "N", defaultText: "0",
          summary: "entries kept of one session's log, the newest; 0: no cap",
          value: .count(\.limits.maxLogEntriesPerSession, minimum: 0)),
        Option(
          name: "--log-dedup-window", placeholder: "N", defaultText: "10000",
          summary: "message ids of a session's log that stay known; 0: 1,000,000, the most",
          value: .count(\.limits.logDedupWindow, minimum: 0)),
        Option(
          name: "--max-violations", placeholder: "N", defaultText: "5",
          summary: "violations that invalidate a session; 0: only a critical one does",
          value: .count(\.limits.maxViolations, minimum: 0)),
        Option(
          name: "--count-refused-input", defaultText: "off",
          summary: "what validate_input refuses is a violation of its session",
          value: .flag(\.limits.countsRefusedInput)),
        Option(
          name: "--count-denied-rates", defaultText: "off",
          summary: "what check_rate_limit denies is a violation of its session",
          value: .flag(\.limits.countsDeniedRates)),
        Option(
          name: "--audit-unauthorized", placeholder: "N", defaultText: "0",
          summary: "record ids asked for in vain, so many of each caller a minute; 0: none",
          value: .count(\.limits.auditUnauthorized, minimum: 0)),
        Option(
          name: "--max-audit-events", placeholder: "N", defaultText: "10000",
          summary: "lifecycle changes kept, and as many security events; 0: no cap",
          value: .count(\.limits.maxAuditEvents, minimum: 0)),
        Option(
          name: "--audit-retention", placeholder: "TIME", defaultText: "0",
          summary: "how long an event of the audit trail is kept from being erased; 0: up to that cap",
          value: .duration(\.limits.auditRetention)),
      ])
  }

  private static var theWire: [Option] {
    section(
      "The wire",
      [
        Option(
          name: "--max-line-bytes", placeholder: "BYTES", defaultText: "16MiB", summary: "one line of input",
          value: .bytes(\.sidecar.maxLineBytes, minimum: 1_024)),
        Option(
          name: "--max-payload-bytes", placeholder: "BYTES", defaultText: "1MiB",
          summary: "one opaque payload; 0: as long as a line and an answer",
          value: .bytes(\.limits.maxPayloadBytes, minimum: 0)),
        Option(
          name: "--max-result-bytes", placeholder: "BYTES", defaultText: "8MiB",
          summary: "one answer; pages end early there", value: .bytes(\.sidecar.maxResultBytes, minimum: 65_536)),
        Option(
          name: "--max-subscriptions", placeholder: "N", defaultText: "10000",
          summary: "open subscriptions of this process; 0: no cap",
          value: .count(\.sidecar.maxSubscriptions, minimum: 0)),
        Option(
          name: "--watch-parent", defaultText: "off",
          summary: "also end when the parent process is gone",
          value: .flag(\.watchParent)),
      ])
  }
}

extension Option {
  private static var watching: [Option] {
    section(
      "Watching it",
      [
        Option(
          name: "--log-level", placeholder: "DETAIL", defaultText: "none",
          summary: "tell of requests on standard error: none, error (those that fail), info (all), debug",
          value: .choice(["none"] + Sidecar.LogLevel.allCases.map(\.rawValue)) {
            $0.sidecar.logLevel = Sidecar.LogLevel(rawValue: $1)
          }),
        Option(
          name: "--metrics-file", placeholder: "FILE", defaultText: "none",
          summary: "write the figures for Prometheus there, every 15 s and at the end",
          value: .text { $0.metricsFile = $1 == "none" ? nil : $1 }),
      ])
  }
}

// MARK: - Those of the commands that look at a file

extension Option {
  static var database: Option {
    Option(
      name: "--database", placeholder: "PATH", defaultText: "~/.local/state/mcp-session-store/sessions.db",
      summary: "the SQLite file of the store, or postgresql://…", value: .text { $0.database = $1 },
      hasVariable: true)
  }

  /// what decides whether a suspended session counts as expired
  static var maxSuspension: Option {
    Option(
      name: "--max-suspension", placeholder: "TIME", defaultText: "7d",
      summary: "how long a session may be suspended, as the sidecar has it",
      value: .duration(\.limits.maxSuspension), hasVariable: true)
  }

  /// what decides whether a session that ended is still there
  static var retainEnded: Option {
    Option(
      name: "--retain-ended", placeholder: "TIME", defaultText: "0",
      summary: "how long a session that ended is kept, as the sidecar has it",
      value: .duration(\.limits.retainEnded), hasVariable: true)
  }

  /// what decides how many events of the audit trail are due
  static var auditRetention: Option {
    Option(
      name: "--audit-retention", placeholder: "TIME", defaultText: "0",
      summary: "how long an event of the audit trail is kept, as the sidecar has it",
      value: .duration(\.limits.auditRetention), hasVariable: true)
  }

  static var tenant: Option {
    Option(
      name: "--tenant", placeholder: "ID", summary: "what answers to this tenant: bound to it, or to none",
      value: .text { $0.tenant = $1 })
  }

  static var principal: Option {
    Option(
      name: "--principal", placeholder: "ID", summary: "what answers to this principal: bound to it, or to none",
      value: .text { $0.principal = $1 })
  }

  static func status(_ names: [String], _ summary: String) -> Option {
    Option(name: "--status", placeholder: "STATUS", summary: summary, value: .choice(names) { $0.status = $1 })
  }

  static var limit: Option {
    Option(
      name: "--limit", placeholder: "N", defaultText: "100", summary: "how many at most; 0: all",
      value: .count(\.limit, minimum: 0))
  }

  static func json(_ summary: String) -> Option {
    Option(name: "--json", summary: summary, value: .flag(\.json))
  }
}
