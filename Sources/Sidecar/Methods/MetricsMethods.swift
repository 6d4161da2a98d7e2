import JSON
import SessionStore

/// Figures for people and for Prometheus: section 9 of the contract.
enum MetricsMethods {
  private enum Format: String, CaseIterable { case json, prometheus }

  static let get = Method(
    name: "get_metrics",
    summary: "What is in the store, and what this process has done; it reads every row of sessions, tasks and values.",
    // Not in a group, whose requests have not ended yet.
    access: .ownGroups, isTransactional: false, isRepeatable: true,
    parameters: [
      .optional(.format, .choice(Format.allCases.map(\.rawValue)), "json when absent.")
    ],
    result: .reference("Metrics"),
    example: (
      #"{"format":"prometheus"}"#,
      #"{"content_type":"text/plain; version=0.0.4; charset=utf-8","#
        + ##""text":"# HELP mcp_session_store_events Events that can be read.\n…"}"##
    )
  ) { sidecar, call, writer in
    let summary = try sidecar.store.read { try sidecar.store.summary(ends: false) }
    switch call.choice(.format, as: Format.self) ?? .json {
    case .json: sidecar.writeMetrics(summary, &writer)
    case .prometheus:
      writer.beginObject()
      writer.member("content_type", "text/plain; version=0.0.4; charset=utf-8")
      writer.member("text", sidecar.exposition(summary))
      writer.endObject()
    }
  }

  static let schema = Schema.members(
    [
      ("content_type", .optional(.described(.string, "With text, of the format prometheus alone."))),
      ("text", .optional(.string)),
      ("total_sessions", .optional(.described(.integer, "Rows, also of sessions that wait for a sweep."))),
      ("active_sessions", .optional(.integer)), ("expired_sessions", .optional(.integer)),
      ("ended_sessions", .optional(.described(.integer, "That are kept; stands only with --retain-ended."))),
      ("sessions_created_today", .optional(.described(.integer, "Since midnight, UTC; of those still there."))),
      (
        "average_session_duration",
        .optional(.described(.integer, "Milliseconds from creation to the last activity."))
      ),
      ("total_bytes_transferred", .optional(.described(.integer, "Of requests and answers, by this process."))),
      ("calculated_at", .optional(RecordSchema.time)),
      ("sessions", .optional(.described(.object, "By status."))),
      ("tasks", .optional(.described(.object, "By status."))),
      ("work", .optional(.described(.object, "By status."))),
    ]
      + [
        "events", "values", "event_subscriptions", "log_entries", "lifecycle_events", "security_events", "legal_holds",
        "database_bytes", "wal_bytes",
        "free_bytes", "memory_usage", "subscriptions", "bytes_received", "bytes_sent", "requests", "errors",
      ].map { ($0, .optional(.integer)) }
      + [
        (
          "database_trips",
          .optional(.described(.integer, "How often this process has waited for a server; 0 on a file."))
        ),
        ("uptime", .optional(.described(.integer, "Milliseconds."))),
        (
          "totals",
          .optional(.described(.object, "Committed by this process since it began, by name; none ever falls back."))
        ),
        (
          "commits",
          .optional(
            .members([
              ("count", .integer), ("p50_us", microseconds), ("p99_us", microseconds),
              ("requests", .described(.integer, "That they made durable.")), ("largest_group", .integer),
            ]))
        ),
        (
          "methods",
          .optional(
            .described(
              .object, "By name, for each that was called: requests, errors, and p50_us and p99_us from taking a "
                + "request up until its answer may leave."))
        ),
      ])

  private static let microseconds = Schema.described(.integer, "Microseconds, at most a fourth too high.")
}

extension Sidecar {
  /// the methods that were called, each with its name
  private var calledMethods: [(name: String, requests: Metrics.Requests)] {
    let names = MethodTable.all.methods.map(\.name) + ["unknown"]
    return zip(names, metrics.methods).filter { $0.1.latency.count > 0 }.map { ($0, $1) }
  }

  fileprivate func writeMetrics(_ summary: Summary, _ writer: inout JSONWriter) {
    writer.beginObject()
    writer.member("total_sessions", summary.sessionCount)
    writer.member("active_sessions", summary.sessions[.active] ?? 0)
    writer.member("expired_sessions", summary.sessions[.expired] ?? 0)
    if let ended = summary.endedSessions { writer.member("ended_sessions", ended) }
    writer.member("sessions_created_today", summary.createdToday)
    writer.member("average_session_duration", summary.averageDuration)
    writer.member("total_bytes_transferred", metrics.bytesReceived + metrics.bytesSent)
    writer.member("calculated_at", store.now)
    writer.name("sessions")
    writer.beginObject()
    for (status, count) in summary.statuses { writer.member(status.rawValue, count) }
    writer.endObject()
    writer.name("tasks")
    writer.beginObject()
    for status in TaskStatus.allCases { writer.member(status.rawValue, summary.tasks[status] ?? 0) }
    writer.endObject()
    writer.name("work")
    writer.beginObject()
    for status in WorkStatus.allCases { writer.member(status.rawValue, summary.work[status] ?? 0) }
    writer.endObject()
    writer.member("events", summary.events)
    writer.member("values", summary.values)
    writer.member("event_subscriptions", summary.eventSubscriptions)
    writer.member("log_entries", summary.logEntries)
    writer.member("lifecycle_events", summary.lifecycleEvents)
    writer.member("security_events", summary.securityEvents)
    writer.member("legal_holds", summary.legalHolds)
    writer.member("database_bytes", summary.databaseBytes)
    writer.member("wal_bytes", summary.walBytes)
    writer.member("free_bytes", summary.freeBytes)
    writer.member("memory_usage", host.memoryUsage())
    writer.member("subscriptions", subscriptionCount)
    writer.member("bytes_received", metrics.bytesReceived)
    writer.member("bytes_sent", metrics.bytesSent)
    writer.member("requests", metrics.requests)
    writer.member("errors", metrics.errors)
    writer.member("database_trips", store.trips)
    writer.member("uptime", max(0, store.now - metrics.startedAt))
    writer.name("totals")
    writer.beginObject()
    for total in store.totals.named { writer.member(total.name, total.count) }
    writer.endObject()
    writer.name("commits")
    writer.beginObject()
    writer.member("count", metrics.commits.count)
    writer.quantiles(metrics.commits)
    writer.member("requests", metrics.committed)
    writer.member("largest_group", metrics.largestGroup)
    writer.endObject()
    writer.name("methods")
    writer.beginObject()
    for method in calledMethods {
      writer.name(method.name)
      writer.beginObject()
      writer.member("requests", method.requests.latency.count)
      writer.member("errors", method.requests.errors)
      writer.quantiles(method.requests.latency)
      writer.endObject()
    }
    writer.endObject()
    writer.endObject()
  }

  /// The figures for Prometheus; nil while a group is open, and where the store cannot be read just now.
  package func metricsText() -> String? {
    if hasOpenGroup || phase == .failed { return nil }
    return (try? store.read { try store.summary(ends: false) }).map(exposition)
  }

  fileprivate func exposition(_ summary: Summary) -> String {
    var page = Exposition()
    page.family("info", .gauge, "What this is; always 1.")
    page.sample("info", [("version", Sidecar.version), ("protocol_version", Sidecar.protocolVersion)], 1)
    page.single("uptime_seconds", .gauge, "Since this process began.", (max(0, store.now - metrics.startedAt)) / 1_000)
    page.family("sessions", .gauge, "Sessions by status; expired ones wait for a sweep.")
    for (status, count) in summary.statuses { page.sample("sessions", [("status", status.rawValue)], count) }
    if let ended = summary.endedSessions {
      page.single("ended_sessions", .gauge, "Sessions that have ended and are kept.", ended)
    }
    page.single("sessions_created_today", .gauge, "Created since midnight UTC and still there.", summary.createdToday)
    page.single(
      "session_duration_average_seconds", .gauge, "From creation to the last activity.",
      seconds: (Saturating(summary.averageDuration) * 1_000_000).value)
    page.single("events", .gauge, "Events that can be read.", summary.events)
    page.family("tasks", .gauge, "Tasks by status.")
    for status in TaskStatus.allCases {
      page.sample("tasks", [("status", status.rawValue)], summary.tasks[status] ?? 0)
    }
    page.family("work", .gauge, "Items of work by status.")
    for status in WorkStatus.allCases { page.sample("work", [("status", status.rawValue)], summary.work[status] ?? 0) }
    page.single("values", .gauge, "Values behind handles.", summary.values)
    page.single("event_subscriptions", .gauge, "Of others, to what happens here.", summary.eventSubscriptions)
    page.single("log_entries", .gauge, "Entries of all logs.", summary.logEntries)
    page.family("audit_events", .gauge, "Rows of the audit trail, by ring.")
    page.sample("audit_events", [("ring", "lifecycle")], summary.lifecycleEvents)
    page.sample("audit_events", [("ring", "security")], summary.securityEvents)
    page.single("legal_holds", .gauge, "Legal holds that are placed.", summary.legalHolds)
    page.single("database_bytes", .gauge, "The file, its free pages included.", summary.databaseBytes)
    page.single("database_free_bytes", .gauge, "Free pages of the file.", summary.freeBytes)
    page.single("wal_bytes", .gauge, "The write-ahead log.", summary.walBytes)
    page.single("resident_memory_bytes", .gauge, "Of this process.", host.memoryUsage())
    page.single("subscriptions", .gauge, "Open subscriptions of this process.", Int64(subscriptionCount))
    for total in store.totals.named {
      page.single(total.name + "_total", .counter, total.help, total.count)
    }
    page.single("received_bytes_total", .counter, "Bytes of requests.", metrics.bytesReceived)
    page.single("sent_bytes_total", .counter, "Bytes of answers and notifications.", metrics.bytesSent)
    page.single(
      "database_trips_total", .counter, "How often this process has waited for a server; 0 on a file.", store.trips)
    page.family("requests_total", .counter, "Requests by method.")
    for method in calledMethods {
      page.sample("requests_total", [("method", method.name)], method.requests.latency.count)
    }
    page.family("request_errors_total", .counter, "Requests that were answered with an error, by method.")
    for method in calledMethods {
      page.sample("request_errors_total", [("method", method.name)], method.requests.errors)
    }
    page.family(
      "request_duration_seconds", .histogram, "From taking a request up until its answer may leave, by method.")
    for method in calledMethods {
      page.histogram("request_duration_seconds", [("method", method.name)], method.requests.latency)
    }
    page.family("commit_duration_seconds", .histogram, "Commits of groups.")
    page.histogram("commit_duration_seconds", [], metrics.commits)
    page.single("committed_requests_total", .counter, "Requests that commits made durable.", metrics.committed)
    return page.text
  }
}

extension Totals {
  fileprivate var named: [(name: String, count: Int64, help: String)] {
    [
      ("sessions_created", sessionsCreated, "Sessions that this process made."),
      ("sessions_removed", sessionsRemoved, "Sessions that it deleted, or swept when they had expired."),
      ("events_stored", eventsStored, "Events that it stored."),
      ("event_bytes_stored", eventBytesStored, "Bytes of their payloads."),
      ("events_evicted", eventsEvicted, "Events that made room for newer ones."),
      ("tasks_created", tasksCreated, "Tasks that it made."),
      ("tasks_removed", tasksRemoved, "Tasks that it deleted, or swept when they had lapsed."),
      ("log_entries_appended", logEntriesAppended, "Entries that it appended to logs."),
      ("work_enqueued", workEnqueued, "Items of work that it enqueued."),
      ("work_claimed", workClaimed, "Leases that it gave."),
      ("work_done", workDone, "Items of work that were settled as done."),
      ("work_dead", workDead, "Items of work that were settled as dead, or given up."),
    ]
  }
}

extension JSONWriter {
  fileprivate mutating func quantiles(_ histogram: Histogram) {
    member("p50_us", histogram.quantile(percent: 50) / 1_000)
    member("p99_us", histogram.quantile(percent: 99) / 1_000)
  }
}
