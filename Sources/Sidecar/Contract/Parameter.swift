import SessionStore

/// The names of all parameters, also of those inside records. On the wire they are written in snake case: `sessionID`
/// is `session_id`.
enum ParameterName: Int, CaseIterable, Sendable {
  case sessionID, idFormat, userID, tenantID, principal, clientCapabilities, serverCapabilities, state, metadata, status
  case ttl, inactivityTimeout, createdAt, lastActivity, isInitialized, expiresAt, suspendedAt, lastEventID, revision
  case suspendedMS, suspensions, endedAt, omit, omitted
  case session, ifRevision, upsert, touch, deleteTasks, includeState, includeEnded, cursor, limit, key, value, reason
  case ipAddress, userAgent, olderThan, endedBefore
  case data, eventType, streamID, retry, timestamp, events, afterEventID, format, beforeEventID, subscriptionID
  case heartbeat, `init`
  case taskID, originalMethod, originalParams, pollInterval, statusMessage, meta, task, force, result, error
  case success, code, cooperative, inputRequests, inputResponses, message, maxSize, maxAge, cancelRequested
  case lastUpdatedAt
  case nonce, collection, ifAbsent, prefix
  case entry, entries, deduplicate, messageID, kind, receivedAt, afterSeq, fromLastCheckpoint, checkpoint
  case entryKind, receivedAtMS, sender, messageIDs
  case type, severity, minSeverity, since, window, text, maxBytes, patterns, by, expectedHead
  case calls, method, params, require, client, name, version, protocolVersion, path
  case changes, ref, replacement
  case queue, workID, payload, group, ordered, position, notBefore, delay, maxAttempts, giveUpAfter
  case worker, lease, perGroup, fence, outcome
  case topic, secret, secretGrace, startAfter, active, announce, includeSubscription, endedQueue
  case retainEnded, maxEventsPerSession, maxTaskTTL, maxLogEntriesPerSession, auditRetention

  /// Written down, for to derive them took a quarter of the instructions of a start; a test compares the two.
  var wire: String {
    switch self {
    case .sessionID: "session_id"
    case .idFormat: "id_format"
    case .userID: "user_id"
    case .tenantID: "tenant_id"
    case .principal: "principal"
    case .clientCapabilities: "client_capabilities"
    case .serverCapabilities: "server_capabilities"
    case .state: "state"
    case .metadata: "metadata"
    case .status: "status"
    case .ttl: "ttl"
    case .inactivityTimeout: "inactivity_timeout"
    case .createdAt: "created_at"
    case .lastActivity: "last_activity"
    case .isInitialized: "is_initialized"
    case .expiresAt: "expires_at"
    case .suspendedAt: "suspended_at"
    case .lastEventID: "last_event_id"
    case .suspendedMS: "suspended_ms"
    case .suspensions: "suspensions"
    case .omit: "omit"
    case .omitted: "omitted"
    case .endedAt: "ended_at"
    case .revision: "revision"
    case .session: "session"
    case .ifRevision: "if_revision"
    case .upsert: "upsert"
    case .touch: "touch"
    case .deleteTasks: "delete_tasks"
    case .includeState: "include_state"
    case .includeEnded: "include_ended"
    case .cursor: "cursor"
    case .limit: "limit"
    case .key: "key"
    case .value: "value"
    case .reason: "reason"
    case .ipAddress: "ip_address"
    case .userAgent: "user_agent"
    case .olderThan: "older_than"
    case .endedBefore: "ended_before"
    case .data: "data"
    case .eventType: "event_type"
    case .streamID: "stream_id"
    case .retry: "retry"
    case .timestamp: "timestamp"
    case .events: "events"
    case .afterEventID: "after_event_id"
    case .format: "format"
    case .beforeEventID: "before_event_id"
    case .subscriptionID: "subscription_id"
    case .heartbeat: "heartbeat"
    case .`init`: "init"
    case .taskID: "task_id"
    case .originalMethod: "original_method"
    case .originalParams: "original_params"
    case .pollInterval: "poll_interval"
    case .statusMessage: "status_message"
    case .meta: "meta"
    case .task: "task"
    case .force: "force"
    case .result: "result"
    case .error: "error"
    case .success: "success"
    case .code: "code"
    case .cooperative: "cooperative"
    case .inputRequests: "input_requests"
    case .inputResponses: "input_responses"
    case .message: "message"
    case .maxSize: "max_size"
    case .maxAge: "max_age"
    case .cancelRequested: "cancel_requested"
    case .lastUpdatedAt: "last_updated_at"
    case .nonce: "nonce"
    case .collection: "collection"
    case .ifAbsent: "if_absent"
    case .prefix: "prefix"
    case .entry: "entry"
    case .entries: "entries"
    case .deduplicate: "deduplicate"
    case .messageID: "message_id"
    case .kind: "kind"
    case .receivedAt: "received_at"
    case .afterSeq: "after_seq"
    case .fromLastCheckpoint: "from_last_checkpoint"
    case .checkpoint: "checkpoint"
    case .entryKind: "entry_kind"
    case .receivedAtMS: "received_at_ms"
    case .sender: "sender"
    case .messageIDs: "message_ids"
    case .type: "type"
    case .severity: "severity"
    case .minSeverity: "min_severity"
    case .since: "since"
    case .window: "window"
    case .text: "text"
    case .maxBytes: "max_bytes"
    case .patterns: "patterns"
    case .by: "by"
    case .expectedHead: "expected_head"
    case .calls: "calls"
    case .method: "method"
    case .params: "params"
    case .require: "require"
    case .client: "client"
    case .name: "name"
    case .version: "version"
    case .protocolVersion: "protocol_version"
    case .path: "path"
    case .changes: "changes"
    case .ref: "ref"
    case .replacement: "replacement"
    case .queue: "queue"
    case .workID: "work_id"
    case .payload: "payload"
    case .group: "group"
    case .ordered: "ordered"
    case .position: "position"
    case .notBefore: "not_before"
    case .delay: "delay"
    case .maxAttempts: "max_attempts"
    case .giveUpAfter: "give_up_after"
    case .worker: "worker"
    case .lease: "lease"
    case .perGroup: "per_group"
    case .fence: "fence"
    case .outcome: "outcome"
    case .topic: "topic"
    case .secret: "secret"
    case .secretGrace: "secret_grace"
    case .startAfter: "start_after"
    case .active: "active"
    case .announce: "announce"
    case .includeSubscription: "include_subscription"
    case .endedQueue: "ended_queue"
    case .retainEnded: "retain_ended"
    case .maxEventsPerSession: "max_events_per_session"
    case .maxTaskTTL: "max_task_ttl"
    case .maxLogEntriesPerSession: "max_log_entries_per_session"
    case .auditRetention: "audit_retention"
    }
  }
}

/// What a parameter may be.
indirect enum ParameterType: Sendable {
  /// an id of a session or task: 1 to 256 visible ASCII characters
  case identifier
  /// any UTF-8 of 1 to 1,024 bytes
  case name
  /// a name, or null for the anonymous caller
  case owner
  /// free text, at most so many bytes
  case text(Int)
  /// the same for people, which the store shows and never looks for: a payload
  case words(Int)
  case integer(ClosedRange<Int64>)
  case boolean
  case choice([String])
  /// one of these, its ASCII letters in any case
  case anyCase([String])
  /// an opaque payload; null is a value
  case json
  /// an opaque payload that is an object
  case object
  /// an object whose members are payloads, with limits of their own
  case map
  /// an object whose members are parameters themselves; null is a value for the members marked nullable
  case record([Parameter])
  case list(of: ParameterType, count: ClosedRange<Int>)

  /// for error messages, after "expected"
  var expectation: String {
    switch self {
    case .identifier: "1 to 256 visible ASCII characters"
    case .name: "a string of 1 to 1,024 bytes of UTF-8"
    case .owner: "a string of 1 to 1,024 bytes of UTF-8, or null for the anonymous caller"
    case .text(let limit), .words(let limit): "a string of at most \(limit) bytes"
    case .integer(let range): "an integer from \(range.lowerBound) to \(range.upperBound)"
    case .boolean: "true or false"
    case .choice(let names), .anyCase(let names): "one of " + names.joined(separator: ", ")
    case .json: "any JSON value"
    case .object, .map: "an object"
    case .record: "an object"
    case .list(_, let count): "an array of \(count.lowerBound) to \(count.upperBound) elements"
    }
  }

  var schema: Schema {
    switch self {
    case .identifier: .text(length: 1...256, pattern: "^[!-~]+$")
    case .name: .text(length: 1...1_024, pattern: nil)
    case .owner: .nullable(.text(length: 1...1_024, pattern: nil))
    case .text(let limit): .text(length: 0...limit, pattern: nil)
    case .words(let limit): .payload(.text(length: 0...limit, pattern: nil))
    case .integer(let range): .range(range)
    case .boolean: .boolean
    case .choice(let names), .anyCase(let names): .choice(names)
    case .json: .anyPayload
    case .object, .map: .payload(.object)
    case .record(let parameters):
      .members(
        parameters.map { parameter in
          let schema = parameter.isNullable ? Schema.nullable(parameter.type.schema) : parameter.type.schema
          return (parameter.name.wire, parameter.isRequired ? schema : .optional(schema))
        })
    case .list(let element, _): .array(element.schema)
    }
  }
}

/// One parameter of a method, or one member of a record.
///
/// A class only so that looking through a method's parameters costs no copies.
final class Parameter: Sendable {
  let name: ParameterName
  let type: ParameterType
  let summary: String
  let isRequired: Bool
  /// inside a record: null is a value of its own and not the same as leaving the member out
  let isNullable: Bool
  private let wire: [UInt8]

  private init(_ name: ParameterName, _ type: ParameterType, _ summary: String, isRequired: Bool, isNullable: Bool) {
    self.name = name
    self.type = type
    self.summary = summary
    self.isRequired = isRequired
    self.isNullable = isNullable
    wire = Array(name.wire.utf8)
  }

  /// Whether these bytes are the name as it is usually written, without escapes.
  func isSpelled(_ bytes: Span<UInt8>) -> Bool {
    if bytes.count != wire.count { return false }
    for index in wire.indices where wire[index] != bytes[index] { return false }
    return true
  }

  static func required(_ name: ParameterName, _ type: ParameterType, _ summary: String) -> Parameter {
    Parameter(name, type, summary, isRequired: true, isNullable: false)
  }

  static func optional(_ name: ParameterName, _ type: ParameterType, _ summary: String) -> Parameter {
    Parameter(name, type, summary, isRequired: false, isNullable: false)
  }

  static func nullable(_ name: ParameterName, _ type: ParameterType, _ summary: String) -> Parameter {
    Parameter(name, type, summary, isRequired: false, isNullable: true)
  }
}

// MARK: - Parameters that many methods share

extension ClosedRange<Int64> {
  /// what a JavaScript client can express without rounding
  static let safe: ClosedRange<Int64> = 0...9_007_199_254_740_991
}

extension Parameter {
  static let sessionID = required(.sessionID, .identifier, "The session.")

  /// On whose behalf the call is made: nearly every method takes these two.
  static let owners: [Parameter] = [
    optional(
      .tenantID, .owner,
      "The tenant on whose behalf the call is made. What is bound to another is answered like what is missing."),
    optional(
      .principal, .owner,
      "The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound."),
  ]

  /// On whose behalf a read is made that can show sessions which have ended: ``Call/owner`` has it all.
  static let readers: [Parameter] =
    owners + [
      optional(
        .includeEnded, .boolean,
        "Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent.")
    ]

  /// The owners that a new thing is bound to.
  static let binding: [Parameter] = [
    optional(.tenantID, .owner, "Binds to this tenant."),
    optional(.principal, .owner, "Binds to this principal."),
  ]

  static let idFormat = optional(
    .idFormat, .choice(IDFormat.allCases.map(\.rawValue)),
    "How a generated id looks: a UUID v7, or 256 random bits in base64url for an id that is itself a capability.")

  static let page: [Parameter] = [
    optional(.cursor, .name, "`next_cursor` of the page before."),
    optional(.limit, .integer(1...1_000), "Entries on a page; 50 when absent."),
  ]

  static let ifRevision = optional(
    .ifRevision, .integer(.safe), "Only when this is still the revision; else concurrent_modification.")

  /// - Parameter members: those of the record that can be large
  static func omit(_ members: [String]) -> Parameter {
    optional(
      .omit, .list(of: .choice(members), count: 0...members.count),
      "Members that the answer does without; its `omitted` names those that there are.")
  }

  /// Inside a record that was read so.
  static func omitted(_ members: [String]) -> Parameter {
    optional(
      .omitted, .list(of: .choice(members), count: 0...members.count),
      "Members that the record was read without: they stay as they are.")
  }

  static let reason = optional(.reason, .text(1_024), "Why, for the record.")
}
