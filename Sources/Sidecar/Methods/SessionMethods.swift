import JSON
import SessionStore

/// Sessions: section 4 of the contract.
enum SessionMethods {
  static let all: [Method] =
    [create, get, update, touch, delete, list, listIDs, count, validate, expireMany] + lifecycle

  private static let milliseconds = ParameterType.integer(.safe)
  private static let omit = Parameter.omit(Session.largeMembers)

  private static let content: [Parameter] = [
    .optional(.userID, .name, "The user whose session it is."),
    .optional(.clientCapabilities, .json, "What the client said at initialize; kept as it is."),
    .optional(.serverCapabilities, .json, "What the server answered; kept as it is."),
    .optional(.state, .map, "The key-value map."),
    .optional(.metadata, .object, "Anything else; kept as it is."),
  ]

  /// An example session, with the fields that the example is about.
  private static func sessionExample(
    id: String = "session-1", status: String = "active", user: String = "null", metadata: String = "{}",
    activity: Int = 900, suspendedAt: String = "null", revision: Int = 2
  ) -> String {
    #"{"session_id":"\#(id)","status":"\#(status)","user_id":\#(user),"tenant_id":null,"principal":null,"#
      + #""client_capabilities":null,"server_capabilities":null,"state":{},"metadata":\#(metadata),"#
      + #""is_initialized":false,"created_at":1795210000000,"last_activity":\#(1_795_210_000_000 + activity),"#
      + #""expires_at":1795296400000,"inactivity_timeout":1800000,"suspended_at":\#(suspendedAt),"#
      + #""suspended_ms":0,"suspensions":0,"last_event_id":0,"revision":\#(revision)}"#
  }

  private static let create = Method(
    name: "create_session", summary: "Makes a session.", access: .write,
    parameters: [
      .optional(.sessionID, .identifier, "The id; made when absent."),
      .idFormat,
    ] + content + Parameter.binding + [
      .optional(.status, .choice(["pending", "active"]), "pending when absent."),
      .optional(.isInitialized, .boolean, "false when absent."),
      .optional(.ttl, milliseconds, "Milliseconds until it expires in any case; --session-ttl when absent, 0: never."),
      .optional(
        .inactivityTimeout, milliseconds,
        "Milliseconds without a write until it expires; --inactivity-timeout when absent, 0: never."),
      .optional(.createdAt, milliseconds, "For migrations; now when absent."),
      .optional(.lastActivity, milliseconds, "For migrations; now when absent."),
    ],
    result: .reference("Session"),
    errors: [.sessionExists, .maxSessionsReached, .maxUserSessionsReached, .heldByLegalHold, .payloadTooLarge],
    example: (
      #"{"user_id":"user-1","status":"active"}"#,
      sessionExample(id: "019aa3c2-6f4e-7c3a-9f5d-2b8f6f0e1c11", user: #""user-1""#, activity: 0, revision: 1)
    )
  ) { sidecar, call, writer in
    var new = NewSession()
    new.sessionID = call.optionalString(.sessionID)
    new.idFormat = call.choice(.idFormat, as: IDFormat.self)
    new.userID = call.optionalString(.userID)
    new.clientCapabilities = call.optionalNonNull(.clientCapabilities)
    new.serverCapabilities = call.optionalNonNull(.serverCapabilities)
    new.state = call.optionalObject(.state)
    new.metadata = call.optionalObject(.metadata)
    new.status = call.choice(.status, as: SessionStatus.self) ?? .pending
    new.isInitialized = call.boolean(.isInitialized)
    new.ttl = call.optionalInteger(.ttl)
    new.inactivityTimeout = call.optionalInteger(.inactivityTimeout)
    new.createdAt = call.optionalInteger(.createdAt)
    new.lastActivity = call.optionalInteger(.lastActivity)
    writer.session(try sidecar.store.createSession(new, owner: call.owner))
  }

  private static let get = Method(
    name: "get_session", summary: "The session, or null when it is unknown, over or another owner's.",
    access: .readOrWrite, isRepeatable: true,
    parameters: [
      .sessionID, .optional(.touch, .boolean, "Slides the inactivity deadline; false when absent."), omit,
    ] + Parameter.readers,
    result: .nullable(.reference("Session")),
    example: (#"{"session_id":"no-such-session"}"#, "null")
  ) { sidecar, call, writer in
    let touch = call.boolean(.touch)
    if touch, !sidecar.store.isInGroup { throw NeedsGroup() }
    let omitted = call.strings(.omit)
    let session = try sidecar.store.getSession(
      call.string(.sessionID), owner: call.owner, touch: touch, includeState: !omitted.contains("state"))
    if let session {
      writer.session(session, omitting: omitted)
    } else {
      writer.null()
    }
  }

  private static let recordFields: [Parameter] = [
    .required(.sessionID, .identifier, "The session."),
    .nullable(.userID, .name, "The user whose session it is."),
    .nullable(.clientCapabilities, .json, "What the client said at initialize."),
    .nullable(.serverCapabilities, .json, "What the server answered."),
    .optional(.state, .map, "Replaces the whole key-value map."),
    .optional(.metadata, .object, "Replaces the metadata."),
    .optional(.isInitialized, .boolean, "Whether the client has finished initializing."),
    .optional(.lastActivity, milliseconds, "Unix milliseconds; now when absent."),
    .nullable(.expiresAt, milliseconds, "Unix milliseconds; null: never."),
    .nullable(.inactivityTimeout, milliseconds, "Milliseconds; null: never."),
    .optional(.tenantID, .owner, "Ignored: owners never change here."),
    .optional(.principal, .owner, "Ignored: owners never change here."),
    .optional(.status, .text(64), "Ignored: the lifecycle methods change it."),
    .nullable(.createdAt, milliseconds, "Ignored."),
    .nullable(.suspendedAt, milliseconds, "Ignored."),
    .nullable(.suspendedMS, milliseconds, "Ignored."),
    .nullable(.suspensions, milliseconds, "Ignored."),
    .nullable(.endedAt, milliseconds, "Ignored."),
    .nullable(.lastEventID, milliseconds, "Ignored."),
    .nullable(.revision, milliseconds, "Ignored; if_revision makes the update conditional."),
    .omitted(Session.largeMembers),
  ]

  private static let update = Method(
    name: "update_session",
    summary: "Replaces the given fields; absent ones stay. What get_session gave can be sent back as it is.",
    access: .write, isWatched: true,
    parameters: [
      .required(.session, .record(recordFields), "The session's id and the fields to replace."),
      .ifRevision,
      .optional(.upsert, .boolean, "Makes the session when there is none; false when absent."), omit,
    ] + Parameter.owners,
    result: .reference("Session"),
    errors: [
      .sessionNotFound, .sessionExpired, .invalidSessionStatus, .concurrentModification, .sessionExists,
      .payloadTooLarge, .maxSessionsReached, .maxUserSessionsReached, .maxSessionWritesReached, .heldByLegalHold,
    ],
    example: (
      #"{"session":{"session_id":"session-1","metadata":{"theme":"dark"}},"if_revision":1}"#,
      sessionExample(metadata: #"{"theme":"dark"}"#, activity: 500)
    )
  ) { sidecar, call, writer in
    let record = try call.record(.session, recordFields)
    let sessionID = record.string(.sessionID)
    let pending = sidecar.store.pendingEvents
    do {
      let session = try sidecar.store.updateSession(
        sessionID, update(record), owner: call.owner, ifRevision: call.optionalInteger(.ifRevision))
      writer.session(session, omitting: call.strings(.omit))
    } catch StoreError.sessionNotFound where call.boolean(.upsert) && !call.has(.ifRevision) {
      sidecar.store.forgetPendingEvents(from: pending)
      let session = try sidecar.store.createSession(new(record), owner: call.owner)
      writer.session(session, omitting: call.strings(.omit))
    }
  }

  private static func update(_ record: Call) -> SessionUpdate {
    var update = SessionUpdate()
    update.userID = record.nullableChange(.userID) { $0.optionalString(.userID) }
    update.clientCapabilities = record.nullableChange(.clientCapabilities) { $0.optionalJSON(.clientCapabilities) }
    update.serverCapabilities = record.nullableChange(.serverCapabilities) { $0.optionalJSON(.serverCapabilities) }
    update.state = record.change(.state) { $0.optionalObject(.state) }
    update.metadata = record.change(.metadata) { $0.optionalObject(.metadata) }
    update.isInitialized = record.change(.isInitialized) { $0.optionalBoolean(.isInitialized) }
    update.lastActivity = record.change(.lastActivity) { $0.optionalInteger(.lastActivity) }
    update.expiresAt = record.nullableChange(.expiresAt) { $0.optionalInteger(.expiresAt) }
    update.inactivityTimeout = record.nullableChange(.inactivityTimeout) { $0.optionalInteger(.inactivityTimeout) }
    for member in record.strings(.omitted) {
      switch member {
      case "client_capabilities": update.clientCapabilities = .keep
      case "server_capabilities": update.serverCapabilities = .keep
      case "state": update.state = .keep
      default: update.metadata = .keep
      }
    }
    return update
  }

  /// The same record as a session that is to be made.
  private static func new(_ record: Call) -> NewSession {
    var new = NewSession()
    new.sessionID = record.string(.sessionID)
    new.userID = record.optionalString(.userID)
    new.clientCapabilities = record.optionalNonNull(.clientCapabilities)
    new.serverCapabilities = record.optionalNonNull(.serverCapabilities)
    new.state = record.optionalObject(.state)
    new.metadata = record.optionalObject(.metadata)
    new.isInitialized = record.boolean(.isInitialized)
    new.lastActivity = record.optionalInteger(.lastActivity)
    new.expiresAt = record.optionalInteger(.expiresAt)
    // In a record null is a value: never.
    if record.mentions(.expiresAt), !record.has(.expiresAt) { new.ttl = 0 }
    new.inactivityTimeout = record.mentions(.inactivityTimeout) ? record.optionalInteger(.inactivityTimeout) ?? 0 : nil
    return new
  }

  private static let touch = Method(
    name: "touch_session", summary: "Slides the inactivity deadline.", access: .write,
    parameters: [.sessionID, omit] + Parameter.owners,
    result: .reference("Session"),
    errors: [.sessionNotFound, .sessionExpired, .invalidSessionStatus],
    example: (
      #"{"session_id":"session-1"}"#,
      sessionExample(revision: 1)
    )
  ) { sidecar, call, writer in
    let session = try sidecar.store.touchSession(call.string(.sessionID), owner: call.owner)
    writer.session(session, omitting: call.strings(.omit))
  }

  private static let delete = Method(
    name: "delete_session", summary: "Deletes a session in any status, with its state, events and log.", access: .write,
    isWatched: true,
    parameters: [
      .sessionID, .optional(.deleteTasks, .boolean, "Deletes its tasks too; false when absent."),
    ] + Parameter.owners,
    result: .members([("deleted", .boolean), ("events", .integer), ("tasks", .integer), ("log_entries", .integer)]),
    errors: [.heldByLegalHold],
    example: (
      #"{"session_id":"session-1","delete_tasks":true}"#, #"{"deleted":true,"events":3,"tasks":1,"log_entries":0}"#
    )
  ) { sidecar, call, writer in
    let deleted = try sidecar.store.deleteSession(
      call.string(.sessionID), owner: call.owner, deleteTasks: call.boolean(.deleteTasks))
    writer.beginObject()
    writer.member("deleted", deleted.deleted)
    writer.member("events", deleted.events)
    writer.member("tasks", deleted.tasks)
    writer.member("log_entries", deleted.logEntries)
    writer.endObject()
  }

  // MARK: - Lists

  private static let filters: [Parameter] =
    [.optional(.userID, .name, "Only this user's.")] + Parameter.readers + [
      .optional(
        .status, .choice(SessionStatus.allCases.map(\.rawValue)),
        "Only these; expired and resolved ones appear only when asked for, so or with include_ended.")
    ]

  static func filter(_ call: Call) -> SessionFilter {
    SessionFilter(
      userID: call.optionalString(.userID), status: call.choice(.status, as: SessionStatus.self), owner: call.owner)
  }

  private static let list = Method(
    name: "list_sessions", summary: "Sessions in the order of creation.", access: .read,
    parameters: filters + [
      .optional(.includeState, .boolean, "With their state; false when absent.")
    ] + Parameter.page,
    result: .members([("sessions", .array(.reference("Session"))), ("next_cursor", .nullable(.string))]),
    example: (#"{"user_id":"user-9","limit":10}"#, #"{"sessions":[],"next_cursor":null}"#)
  ) { sidecar, call, writer in
    try sidecar.page(call, &writer, list: .sessions, name: "sessions") { page in
      try sidecar.store.listSessions(
        filter(call), after: page.after, limit: page.limit, includeState: call.boolean(.includeState)
      ) { session, number in
        let large = Session.largeMembers.filter { session.state != nil || $0 != "state" }
        return page.add(number, canBeShort: true) { $0.session(session, omitting: $1 ? large : []) }
      }
    }
  }

  private static let listIDs = Method(
    name: "list_session_ids", summary: "Ids of sessions in the order of creation.", access: .read,
    parameters: filters + Parameter.page,
    result: .members([("session_ids", .array(.string)), ("next_cursor", .nullable(.string))]),
    example: ("{}", #"{"session_ids":["session-1"],"next_cursor":null}"#)
  ) { sidecar, call, writer in
    try sidecar.page(call, &writer, list: .sessions, name: "session_ids") { page in
      for id in try sidecar.store.sessionIDs(filter(call), after: page.after, limit: page.limit + 1) {
        if !page.add(id.number, { $0.string(id.sessionID) }) { return true }
      }
      return false
    }
  }

  private static let count = Method(
    name: "session_count", summary: "How many sessions a list with these filters has.", access: .read,
    parameters: filters,
    result: .members([("count", .integer)]),
    example: (#"{"status":"active"}"#, #"{"count":1}"#)
  ) { sidecar, call, writer in
    writer.beginObject()
    writer.member("count", try sidecar.store.countSessions(filter(call)))
    writer.endObject()
  }

  // MARK: - Life

  private static let lifecycle: [Method] = Store.LifecycleStep.allCases.map { step in
    let summary =
      switch step {
      case .activate: "Makes a pending or suspended session active; on an active one it changes nothing."
      case .suspend: "Stops an active session and both of its clocks."
      case .resume: "Makes a suspended session active again and moves its deadline by the time it was suspended."
      case .expire: "Ends a session as though its deadline had passed."
      case .invalidate: "Ends a session for good; it can be looked at until its deadline."
      case .resolve: "Ends a session whose work is done."
      }
    let status =
      switch step {
      case .activate, .resume: "active"
      case .suspend: "suspended"
      case .expire: "expired"
      case .invalidate: "invalidated"
      case .resolve: "resolved"
      }
    let example = sessionExample(status: status, suspendedAt: step == .suspend ? "1795210000900" : "null")
    return Method(
      name: "\(step.rawValue)_session", summary: summary, access: .write, isWatched: true,
      parameters: [.sessionID, .reason, omit] + Parameter.owners,
      result: .reference("Session"),
      errors: [.sessionNotFound, .sessionExpired, .invalidSessionStatus],
      example: (#"{"session_id":"session-1"}"#, example)
    ) { sidecar, call, writer in
      let session = try sidecar.store.changeStatus(
        call.string(.sessionID), step, owner: call.owner, reason: call.optionalString(.reason))
      writer.session(session, omitting: call.strings(.omit))
    }
  }

  private static let validate = Method(
    name: "validate_session",
    summary: "Whether a session may be used now, and from there; other than the first address and agent are recorded.",
    access: .readOrWrite,
    parameters: [
      .sessionID,
      .optional(.ipAddress, .name, "The client's address."),
      .optional(.userAgent, .name, "The client's user agent."),
    ] + Parameter.owners,
    result: .members([
      ("valid", .boolean),
      (
        "reason",
        .nullable(
          .choice([
            "not_found", "pending", "suspended", "expired", "invalidated", "resolved", "address_changed",
            "agent_changed",
          ]))
      ),
    ]),
    example: (
      #"{"session_id":"no-such-session","ip_address":"192.0.2.7"}"#, #"{"valid":false,"reason":"not_found"}"#
    )
  ) { sidecar, call, writer in
    let reason = try sidecar.store.validateSession(
      call.string(.sessionID), owner: call.owner, address: call.optionalString(.ipAddress),
      agent: call.optionalString(.userAgent))
    writer.beginObject()
    writer.member("valid", reason == nil)
    writer.member("reason", reason?.rawValue)
    writer.endObject()
  }

  private static let expireMany = Method(
    name: "expire_sessions",
    summary: "Removes sessions that were last active before a time, or without one those past their own deadline.",
    access: .write, isWatched: true,
    parameters: [
      .optional(.olderThan, milliseconds, "Unix milliseconds: removes where last_activity is strictly below."),
      .optional(.limit, .integer(1...1_000), "Sessions at most; 1,000 when absent."),
    ],
    result: .members([("session_ids", .array(.string)), ("has_more", .boolean)]),
    example: (#"{"older_than":1795200000000}"#, #"{"session_ids":["session-1"],"has_more":false}"#)
  ) { sidecar, call, writer in
    let swept = try sidecar.store.expireSessions(
      olderThan: call.optionalInteger(.olderThan), limit: Int(call.integer(.limit, default: 1_000)))
    writer.beginObject()
    writer.member("session_ids", strings: swept.removed)
    writer.member("has_more", swept.hasMore)
    writer.endObject()
  }
}
