import JSON
import JSONRPC
import SessionStore

/// Retention by tenant and legal holds: sections of the contract with these names.
enum PolicyMethods {
  static let all: [Method] = [setRetention, getRetention, listRetention, placeHold, liftHold, listHolds]

  // MARK: - Retention

  private static let tenantID = Parameter.required(.tenantID, .name, "The tenant.")

  private static let limits: [(name: String, schema: Schema)] = [
    ("retain_ended", .nullable(.described(.integer, "Milliseconds."))),
    ("max_events_per_session", .nullable(.integer)),
    ("max_task_ttl", .nullable(.described(.integer, "Milliseconds."))),
    ("max_log_entries_per_session", .nullable(.integer)),
    ("audit_retention", .nullable(.described(.integer, "Milliseconds."))),
  ]
  private static let own: [(name: String, schema: Schema)] = [("tenant_id", .string)] + limits

  private static let setRetention = Method(
    name: "set_retention",
    summary: "Says how a tenant's data is kept, all of it anew; what is absent or null is as the options say.",
    access: .write, holdsOthersUp: true,
    parameters: [
      tenantID,
      .optional(
        .retainEnded, .integer(.safe), "Milliseconds for which its sessions are kept when they have ended: only with "
          + "--retain-ended."),
      .optional(.maxEventsPerSession, .integer(.safe), "Events that each of its sessions holds; 0: any number."),
      .optional(
        .maxTaskTTL, .integer(1...9_007_199_254_740_991), "Milliseconds that each of its tasks lives at most."),
      .optional(
        .maxLogEntriesPerSession, .integer(.safe),
        "Entries that the log of each of its sessions holds; 0: any number."),
      .optional(
        .auditRetention, .integer(.safe),
        "Milliseconds after which its events in the audit trail are erased; 0: never for their age."),
    ],
    result: .members(own), errors: [.maxRetentionsReached],
    example: (
      #"{"tenant_id":"acme","max_events_per_session":500,"audit_retention":7776000000}"#,
      #"{"tenant_id":"acme","retain_ended":null,"max_events_per_session":500,"max_task_ttl":null,"#
        + #""max_log_entries_per_session":null,"audit_retention":7776000000}"#
    )
  ) { sidecar, call, writer in
    let retention = Retention(
      retainEnded: call.optionalInteger(.retainEnded), maxEventsPerSession: call.optionalInteger(.maxEventsPerSession),
      maxTaskTTL: call.optionalInteger(.maxTaskTTL),
      maxLogEntriesPerSession: call.optionalInteger(.maxLogEntriesPerSession),
      auditRetention: call.optionalInteger(.auditRetention))
    try sidecar.store.setRetention(of: call.string(.tenantID), retention)
    writer.beginObject()
    writer.member("tenant_id", call.string(.tenantID))
    writer.members(of: retention)
    writer.endObject()
  }

  private static let getRetention = Method(
    name: "get_retention", summary: "How a tenant's data is kept: what was said of it, and what that comes to.",
    access: .read, parameters: [tenantID],
    result: .members(
      own + [("effective", .described(.members(limits), "With what the options say where nothing was said."))]),
    example: (
      #"{"tenant_id":"acme"}"#,
      #"{"tenant_id":"acme","retain_ended":null,"max_events_per_session":500,"max_task_ttl":null,"#
        + #""max_log_entries_per_session":null,"audit_retention":7776000000,"effective":{"retain_ended":0,"#
        + #""max_events_per_session":500,"max_task_ttl":null,"max_log_entries_per_session":0,"#
        + #""audit_retention":7776000000}}"#
    )
  ) { sidecar, call, writer in
    let tenantID = call.string(.tenantID)
    writer.beginObject()
    writer.member("tenant_id", tenantID)
    writer.members(of: sidecar.store.retention(of: tenantID))
    writer.name("effective")
    writer.beginObject()
    writer.members(of: sidecar.store.effectiveRetention(of: tenantID))
    writer.endObject()
    writer.endObject()
  }

  private static let listRetention = Method(
    name: "list_retention", summary: "The tenants that have a retention of their own.", access: .read,
    parameters: Parameter.page,
    result: .members([("tenants", .array(.members(own))), ("next_cursor", .nullable(.string))]),
    example: (
      "{}",
      #"{"tenants":[{"tenant_id":"acme","retain_ended":null,"max_events_per_session":500,"max_task_ttl":null,"#
        + #""max_log_entries_per_session":null,"audit_retention":7776000000}],"next_cursor":null}"#
    )
  ) { sidecar, call, writer in
    try sidecar.page(call, &writer, list: .retention, name: "tenants") { page in
      let found = try sidecar.store.retentions(after: page.after, limit: page.limit + 1)
      for (index, entry) in found.enumerated() {
        let isAdded =
          index < page.limit
          && page.add(entry.number) { writer in
            writer.beginObject()
            writer.member("tenant_id", entry.tenantID)
            writer.members(of: entry.retention)
            writer.endObject()
          }
        if !isAdded { return true }
      }
      return false
    }
  }

  // MARK: - Legal holds

  private static let name = Parameter.required(.name, .name, "The hold's name.")

  private static let placeHold = Method(
    name: "place_legal_hold", summary: "Keeps what is bound to a tenant or principal from being deleted.",
    access: .write, holdsOthersUp: true,
    parameters: [
      name, .optional(.tenantID, .name, "What is bound to exactly this tenant stays."),
      .optional(.principal, .name, "What is bound to exactly this principal; with a tenant_id, to both."),
      .reason,
    ],
    result: .members([
      ("placed", .described(.boolean, "False when it was there; nothing is changed then.")),
      ("placed_at", RecordSchema.time),
    ]),
    errors: [.maxLegalHoldsReached],
    example: (
      #"{"name":"case-17","tenant_id":"acme","principal":"ada","reason":"letter of 2 November"}"#,
      #"{"placed":true,"placed_at":1795210000000}"#
    )
  ) { sidecar, call, writer in
    guard call.has(.tenantID) || call.has(.principal) else {
      throw RPCError.invalidParams("tenant_id", expected: "at least one of tenant_id and principal")
    }
    let placed = try sidecar.store.placeLegalHold(
      LegalHold(
        name: call.string(.name), tenantID: call.optionalString(.tenantID), principal: call.optionalString(.principal),
        reason: call.optionalString(.reason)))
    writer.beginObject()
    writer.member("placed", placed.placed)
    writer.member("placed_at", placed.placedAt)
    writer.endObject()
  }

  private static let liftHold = Method(
    name: "lift_legal_hold", summary: "Lets what a hold kept go its way again.", access: .write,
    holdsOthersUp: true, parameters: [name],
    result: .members([("lifted", .described(.boolean, "False when there was none."))]),
    example: (#"{"name":"case-17"}"#, #"{"lifted":true}"#)
  ) { sidecar, call, writer in
    let lifted = try sidecar.store.liftLegalHold(call.string(.name))
    writer.beginObject()
    writer.member("lifted", lifted)
    writer.endObject()
  }

  private static let listHolds = Method(
    name: "list_legal_holds", summary: "Holds in the order in which they were placed.", access: .read,
    parameters: Parameter.page,
    result: .members([
      (
        "holds",
        .array(
          .members([
            ("name", .string), ("tenant_id", .nullable(.string)), ("principal", .nullable(.string)),
            ("reason", .nullable(.string)), ("placed_at", RecordSchema.time),
          ]))
      ),
      ("next_cursor", .nullable(.string)),
    ]),
    example: (
      "{}",
      #"{"holds":[{"name":"case-17","tenant_id":"acme","principal":"ada","reason":"letter of 2 November","#
        + #""placed_at":1795210000000}],"next_cursor":null}"#
    )
  ) { sidecar, call, writer in
    try sidecar.page(call, &writer, list: .legalHolds, name: "holds") { page in
      let found = try sidecar.store.legalHolds(after: page.after, limit: page.limit + 1)
      for (index, hold) in found.enumerated() {
        let isAdded =
          index < page.limit
          && page.add(hold.number) { writer in
            writer.beginObject()
            writer.member("name", hold.name)
            writer.member("tenant_id", hold.tenantID)
            writer.member("principal", hold.principal)
            writer.member("reason", hold.reason)
            writer.member("placed_at", hold.placedAt)
            writer.endObject()
          }
        if !isAdded { return true }
      }
      return false
    }
  }
}

extension JSONWriter {
  fileprivate mutating func members(of retention: Retention) {
    for (name, value) in retention.members { member(name, value) }
  }
}
