import Database
import JSON
import JSONRPC
import SessionStore

/// The process and the file as a whole: section 9 of the contract.
enum OperationMethods {
  static let all: [Method] =
    [initialize, serverInfo, health, MetricsMethods.get, maintenance] + Job.methods
    + [transaction, discover, shutdown]

  // MARK: - What this is

  /// Features that a client may require by name; names of methods may be required too.
  static func capabilities(_ store: Store) -> [String] {
    store.isShared
      ? capabilities.filter { !["backup", "audit_chain"].contains($0) } + ["many_machines"] : capabilities
  }

  private static let capabilities = [
    "sessions", "session_state", "events", "sse_frames", "event_subscriptions", "subscription_frames", "heartbeats",
    "tasks", "task_input", "task_messages", "task_subscriptions", "nonces", "values", "work", "event_recipients",
    "logs", "audit_trail", "audit_chain", "security_events", "rate_limits", "input_screening", "metrics",
    "transactions", "backup", "archive", "integrity_check", "user_data", "retention", "legal_holds",
  ]

  private static let infoExample =
    #"{"name":"mcp-session-store","version":"0.1.0","protocol_version":"1.0","capabilities":["sessions"],"#
    + #""backend":"SQLite","backend_version":"3.40.1","database":"/var/lib/app/sessions.db","schema_version":1,"#
    + #""sqlite_version":"3.40.1","durability":"full","pid":4711,"limits":{"max_sessions":100000}}"#

  private static func writeInfo(_ sidecar: Sidecar, _ writer: inout JSONWriter) {
    let store = sidecar.store
    writer.beginObject()
    writer.member("name", "mcp-session-store")
    writer.member("version", Sidecar.version)
    writer.member("protocol_version", Sidecar.protocolVersion)
    writer.member("capabilities", strings: capabilities(store))
    writer.member("backend", store.isShared ? "postgresql" : "SQLite")
    writer.member("backend_version", store.serverVersion ?? Build.sqliteVersion)
    writer.member("database", store.path.isEmpty ? ":memory:" : store.path)
    writer.member("schema_version", store.schema)
    writer.member("sqlite_version", Build.sqliteVersion)
    writer.member("durability", store.durability.rawValue)
    writer.member("pid", sidecar.options.processID)
    writer.name("limits")
    writer.beginObject()
    let limits = store.limits
    for (name, value) in [
      ("max_sessions", limits.maxSessions), ("max_sessions_per_user", limits.maxSessionsPerUser),
      ("max_events_per_session", limits.maxEventsPerSession),
      ("max_log_entries_per_session", limits.maxLogEntriesPerSession), ("max_tasks", limits.maxTasks),
      ("max_task_messages", limits.maxTaskMessages), ("max_task_input_keys", limits.maxTaskInputKeys),
      ("max_values", limits.maxValues), ("max_work", limits.maxWork),
      ("max_work_per_principal", limits.maxWorkPerPrincipal),
      ("max_finished_work", limits.maxFinishedWork), ("work_retention", Int(limits.workRetention)),
      ("max_event_subscriptions", limits.maxEventSubscriptions),
      ("max_event_subscriptions_per_principal", limits.maxEventSubscriptionsPerPrincipal),
      ("max_state_bytes", limits.maxStateBytes), ("max_payload_bytes", limits.maxPayloadBytes),
      ("max_line_bytes", sidecar.options.maxLineBytes), ("max_result_bytes", sidecar.options.maxResultBytes),
      ("max_batch", Unit.maxBatch), ("max_subscriptions", sidecar.options.maxSubscriptions),
      ("session_ttl", Int(limits.sessionTTL)), ("inactivity_timeout", Int(limits.inactivityTimeout)),
      ("log_dedup_window", limits.logDedupWindow), ("max_violations", limits.maxViolations),
      ("max_audit_events", limits.maxAuditEvents), ("audit_retention", Int(limits.auditRetention)),
      ("max_suspension", Int(limits.maxSuspension)),
      ("busy_timeout", Int(limits.busyTimeout)), ("audit_unauthorized", limits.auditUnauthorized),
      ("max_writes_per_session", Int(limits.sessionWrites?.count ?? 0)),
      ("writes_window", Int(limits.sessionWrites?.window ?? 0)),
    ] {
      writer.member(name, value)
    }
    if store.keepsEnded { writer.member("retain_ended", limits.retainEnded) }
    writer.member("event_overflow", limits.eventOverflow.rawValue)
    writer.member("count_refused_input", limits.countsRefusedInput)
    writer.member("count_denied_rates", limits.countsDeniedRates)
    writer.endObject()
    writer.endObject()
  }

  private static let serverInfo = Method(
    name: "server_info", summary: "What this program is, what it can do and what its limits are.", access: .none,
    isTransactional: false, isRepeatable: true, parameters: [], result: .reference("ServerInfo"),
    example: ("{}", infoExample)
  ) { sidecar, _, writer in
    writeInfo(sidecar, &writer)
  }

  private static let client: [Parameter] = [
    .optional(.name, .text(1_024), "The client's name."), .optional(.version, .text(1_024), "The client's version."),
  ]

  private static let initialize = Method(
    name: "initialize",
    summary: "An optional handshake by capabilities; refused when something that is required is not there.",
    access: .none, isTransactional: false, isRepeatable: true,
    parameters: [
      .optional(.client, .record(client), "Who calls."),
      .optional(.protocolVersion, .text(64), "The newest version of this contract that the client knows."),
      .optional(.require, .list(of: .name, count: 0...1_000), "Capabilities and methods that the client needs."),
    ],
    result: .reference("ServerInfo"), errors: [.requirementFailed],
    example: (#"{"client":{"name":"my-server","version":"2.1.0"},"require":["events","put_value"]}"#, infoExample)
  ) { sidecar, call, writer in
    if call.has(.client) { _ = try call.checkedRecord(.client, client) }
    let missing = call.strings(.require).filter {
      !capabilities(sidecar.store).contains($0) && MethodTable.all.method(named: $0) == nil
    }
    let wanted = call.optionalString(.protocolVersion) ?? Sidecar.protocolVersion
    let major = { (version: String) in Int(version.prefix { $0 != "." }) }
    if !missing.isEmpty || (major(wanted) ?? .max) > (major(Sidecar.protocolVersion) ?? 0) {
      let what = missing.isEmpty ? "protocol version \(wanted)" : missing.joined(separator: ", ")
      throw ErrorKind.requirementFailed.error(
        "This is mcp-session-store \(Sidecar.version) (protocol \(Sidecar.protocolVersion)) at "
          + "\(sidecar.options.executable); it lacks \(what), which the client (protocol \(wanted)) requires. Install "
          + "a newer one there, or point the client at another.",
        [
          ("missing", .text(what)), ("protocol_version", .text(Sidecar.protocolVersion)),
          ("client_protocol_version", .text(wanted)), ("version", .text(Sidecar.version)),
          ("executable", .text(sidecar.options.executable)),
        ])
    }
    writeInfo(sidecar, &writer)
  }

  private static let discover = Method(
    name: "rpc.discover", summary: "This contract as an OpenRPC document.", access: .none, isTransactional: false,
    isRepeatable: true, parameters: [], result: .described(.object, "An OpenRPC 1.3 document."),
    example: (
      "{}",
      #"{"openrpc":"1.3.2","info":{"title":"mcp-session-store","version":"0.1.0"},"methods":[]}"#
    )
  ) { _, _, writer in
    OpenRPC.write(to: &writer)
  }

  // MARK: - How it is

  /// a write-ahead log over this means that checkpoints do not get through
  private static let walBound: Int64 = 256 << 20
  /// less free disk than this, and writes will soon fail
  private static let diskBound: Int64 = 64 << 20

  private static let health = Method(
    name: healthName, summary: "Whether all is well, with the reasons when it is not.", access: .read,
    isTransactional: false, parameters: [],
    result: .members([
      ("status", .choice(["healthy", "degraded"])),
      ("session_count", .described(.integer, "Rows, also of sessions that wait for a sweep.")),
      ("memory_usage", .described(.integer, "Resident bytes.")), ("database_bytes", .integer),
      ("wal_bytes", .integer), ("free_disk_bytes", .nullable(.integer)), ("timestamp", RecordSchema.time),
      ("reasons", .array(.string)),
    ]),
    example: (
      "{}",
      #"{"status":"healthy","session_count":12,"memory_usage":9437184,"database_bytes":196608,"wal_bytes":32992,"#
        + #""free_disk_bytes":52428800000,"timestamp":1795210000000,"reasons":[]}"#
    )
  ) { sidecar, _, writer in
    let store = sidecar.store
    try store.checkPlace()
    let freeDisk = freeDisk(sidecar)
    var reasons: [String] = []
    let degraded = Int64(sidecar.options.degradedSessions)
    if degraded > 0, store.sessionRows >= degraded { reasons.append("\(store.sessionRows) sessions") }
    if store.walBytes > walBound { reasons.append("the write-ahead log has \(store.walBytes) bytes") }
    if let freeDisk, freeDisk < diskBound { reasons.append("\(freeDisk) bytes are free on the disk of the file") }
    if let failure = sidecar.sweepFailure { reasons.append("the last sweep failed: \(failure)") }
    writeHealth(sidecar, databaseBytes: try store.databaseBytes(), reasons: reasons, &writer)
  }

  static let healthName = "health"

  /// free bytes on the file system of the file; nil when they are not known
  private static func freeDisk(_ sidecar: Sidecar) -> Int64? {
    sidecar.store.path.isEmpty ? nil : sidecar.host.freeDisk(sidecar.store.path)
  }

  /// Also without a file to look at.
  static func writeHealth(
    _ sidecar: Sidecar, databaseBytes: Int64, reasons: [String], _ writer: inout JSONWriter
  ) {
    writer.beginObject()
    writer.member("status", reasons.isEmpty ? "healthy" : "degraded")
    writer.member("session_count", sidecar.store.sessionRows)
    writer.member("memory_usage", sidecar.host.memoryUsage())
    writer.member("database_bytes", databaseBytes)
    writer.member("wal_bytes", sidecar.store.walBytes)
    writer.member("free_disk_bytes", freeDisk(sidecar))
    writer.member("timestamp", sidecar.store.now)
    writer.member("reasons", strings: reasons)
    writer.endObject()
  }

  private static let maintenance = Method(
    name: "maintenance",
    summary: "Sweeps what has expired, gives free pages back and runs a checkpoint, a bounded slice of each.",
    access: .ownGroups, isTransactional: false, parameters: [],
    result: .members([
      ("expired_sessions", .integer), ("expired_tasks", .integer), ("trimmed_events", .integer),
      ("checkpointed_pages", .integer), ("freed_pages", .integer),
      ("elapsed_ms", .described(.integer, "Milliseconds.")),
      ("has_more", .described(.boolean, "Whether calling it again would sweep more.")),
    ]),
    errors: [],
    example: (
      "{}",
      #"{"expired_sessions":3,"expired_tasks":0,"trimmed_events":120,"checkpointed_pages":57,"freed_pages":12,"#
        + #""elapsed_ms":4,"has_more":false}"#
    )
  ) { sidecar, _, writer in
    let store = sidecar.store
    let done = try store.maintain()
    writer.beginObject()
    writer.member("expired_sessions", done.swept.sessions)
    writer.member("expired_tasks", done.swept.tasks)
    writer.member("trimmed_events", done.swept.events)
    writer.member("checkpointed_pages", done.checkpointedPages)
    writer.member("freed_pages", done.freedPages)
    writer.member("elapsed_ms", store.currentTime() - store.now)
    writer.member("has_more", done.swept.hasMore)
    writer.endObject()
  }

  private static let shutdown = Method(
    name: "shutdown", summary: "Ends the process once everything before it is answered.", access: .none,
    isTransactional: false, parameters: [], result: .members([]), example: ("{}", "{}")
  ) { sidecar, _, writer in
    sidecar.shutDown()
    writer.beginObject()
    writer.endObject()
  }

  // MARK: - Several calls as one

  private static let calls: [Parameter] = [
    .required(.method, .name, "A method of the store."),
    .optional(.params, .map, "Its parameters."),
    .optional(
      .require, .boolean,
      "Also abort when it answers stored, first, deleted, existed, allowed or held with false, or repeated with true."),
  ]

  private static let transaction = Method(
    name: "transaction", summary: "Runs several calls, all or none.", access: .write, isTransactional: false,
    isWatched: true,
    parameters: [
      .required(.calls, .list(of: .record(calls), count: 1...Unit.maxBatch), "The calls in their order.")
    ],
    result: .members([("results", .array(.any))]), errors: [.requirementFailed, .payloadTooLarge],
    example: (
      #"{"calls":[{"method":"consume_nonce","params":{"nonce":"q8s","ttl":600000},"require":true},"#
        + #"{"method":"put_value","params":{"collection":"carts","key":"h-1","value":{"items":2}}}]}"#,
      #"{"results":[{"first":true},{"stored":true,"revision":1}]}"#
    )
  ) { sidecar, call, writer in
    let calls = try call.records(.calls, calls)
    writer.beginObject()
    writer.name("results")
    writer.beginArray()
    try sidecar.store.atomically {
      for (index, inner) in calls.enumerated() { try sidecar.runInner(inner, index: index, &writer) }
    }
    writer.endArray()
    writer.endObject()
  }
}

extension OperationMethods {
  /// The calls of a transaction, as far as they can be read; nil for another method.
  static func innerCalls(_ method: Method, _ call: Call) -> [(method: Method, call: Call)]? {
    guard method === transaction, let calls = try? call.records(.calls, calls) else { return nil }
    return calls.compactMap { call in
      guard let method = MethodTable.all.method(named: call.string(.method)), method.isTransactional,
        let params = try? call.payload(.params, method.parameters)
      else { return nil }
      return (method, params)
    }
  }
}

extension Sidecar {
  /// Runs one call of a transaction and writes its result.
  /// - Throws: what it throws, with its place among the calls
  fileprivate func runInner(_ call: Call, index: Int, _ writer: inout JSONWriter) throws {
    let start = writer.count
    do {
      let name = call.string(.method)
      guard let method = MethodTable.all.method(named: name) else {
        throw RPCError.methodNotFound(name, nearest: MethodTable.all.nearest(to: name))
      }
      guard method.isTransactional else {
        throw RPCError.invalidParams("method", expected: "a method of the store; '\(name)' may not stand here")
      }
      let params = try call.payload(.params, method.parameters)
      try checkOwner(method, params)
      try method.run(self, params, &writer)
      resultBudget -= writer.count - start
      if resultBudget < 0 { throw tooLarge(method) }
      if call.boolean(.require) { try checkOutcome(JSONText(validated: writer.bytes(from: start)[...]), name) }
    } catch {
      // What the database says is for the group.
      if error is DatabaseError { throw error }
      throw RPCError.of(error).atCall(index)
    }
  }

  private func checkOutcome(_ result: JSONText, _ method: String) throws {
    // The writer puts a comma before every result but the first.
    let text = result.bytes.first == UInt8(ascii: ",") ? JSONText(validated: result.bytes.dropFirst()) : result
    let known = ["stored", "first", "deleted", "existed", "allowed", "held"]
    guard let outcome = text.members.first(where: { known.contains($0.name ?? "") }), let name = outcome.name else {
      throw RPCError.invalidParams("require", expected: "nothing: '\(method)' has no outcome that can be required")
    }
    if outcome.value.string == "false" {
      throw ErrorKind.requirementFailed.error("'\(method)' answered \(name): false, which the transaction requires.")
    }
    // What a fence guards is done once, also when the answer to it was lost.
    if text.member("repeated")?.string == "true" {
      throw ErrorKind.requirementFailed.error(
        "'\(method)' answered repeated: true: what the transaction guards with this fence was done before.")
    }
  }
}

extension RPCError {
  fileprivate func atCall(_ index: Int) -> RPCError {
    var error = self
    error.message += " (call \(index) of the transaction)"
    error.details.append(("call_index", .integer(Int64(index))))
    return error
  }
}
