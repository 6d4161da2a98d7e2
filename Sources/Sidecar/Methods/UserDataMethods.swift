import JSON
import JSONRPC
import SessionStore

/// Handing out and deleting all that is stored about somebody: section 9 of the contract.
enum UserDataMethods {
  static let all: [Method] = [export, delete]

  private static let selector: [Parameter] = [
    .optional(.userID, .name, "Sessions of this user, and audit events about it."),
    .optional(.principal, .name, "What is bound to exactly this principal."),
    .optional(.tenantID, .name, "What is bound to exactly this tenant."),
  ]

  /// - Throws: `invalidParameter` when nobody is named
  private static func selector(_ call: Call) throws -> UserSelector {
    guard call.has(.userID) || call.has(.principal) || call.has(.tenantID) else {
      throw RPCError.invalidParams("user_id", expected: "at least one of user_id, principal and tenant_id")
    }
    return UserSelector(
      userID: call.optionalString(.userID), tenantID: call.optionalString(.tenantID),
      principal: call.optionalString(.principal))
  }

  private static let export = Method(
    name: "export_user_data",
    summary: "All that is stored about somebody: records as a dump has them, in pages.", access: .read,
    parameters: selector + [
      .optional(.cursor, .text(8_192), "`next_cursor` of the page before."),
      .optional(.limit, .integer(1...1_000), "Records on a page; 50 when absent."),
    ],
    result: .members([
      ("records", .array(.described(.payload(.object), "One member: the kind of the record, with its columns."))),
      ("next_cursor", .nullable(.string)),
    ]),
    example: (
      #"{"principal":"ada"}"#,
      #"{"records":[{"nonce":{"nonce":"q8s","principal":"ada","expires_at":1795210600000}}],"next_cursor":null}"#
    )
  ) { sidecar, call, writer in
    var position = ExportPosition()
    if let cursor = call.optionalString(.cursor) {
      guard let known = ExportPosition(cursor) else { throw RPCError.invalidCursor }
      position = known
    }
    writer.beginObject()
    writer.name("records")
    writer.beginArray()
    let start = writer.count
    var count = 0
    let hasMore = try sidecar.store.exportUserData(
      selector(call), behind: position, limit: Int(call.integer(.limit, default: 50))
    ) { next, write in
      let mark = writer.mark
      write(&writer)
      guard Sidecar.fits(&writer, mark, start, sidecar.pageBudget, &count) else { return false }
      position = next
      return true
    }
    writer.endArray()
    if count == 1 { sidecar.running.behind = ("next_cursor", hasMore ? .text(position.text) : .null) }
    writer.member("next_cursor", hasMore ? position.text : nil)
    writer.endObject()
  }

  private static let delete = Method(
    name: "delete_user_data",
    summary: "Deletes all that is stored about somebody, in one transaction, and writes nothing about it.",
    access: .write, isWatched: true, parameters: selector,
    result: .members(
      [
        "sessions", "events", "log_entries", "tasks", "values", "event_subscriptions", "work", "nonces", "audit_events",
      ].map { ($0, .integer) }), errors: [.heldByLegalHold],
    example: (
      #"{"principal":"ada"}"#,
      #"{"sessions":1,"events":12,"log_entries":0,"tasks":2,"values":3,"event_subscriptions":0,"work":0,"#
        + #""nonces":1,"audit_events":4}"#
    )
  ) { sidecar, call, writer in
    let deleted = try sidecar.store.deleteUserData(selector(call))
    writer.beginObject()
    writer.member("sessions", deleted.sessions)
    writer.member("events", deleted.events)
    writer.member("log_entries", deleted.logEntries)
    writer.member("tasks", deleted.tasks)
    writer.member("values", deleted.values)
    writer.member("event_subscriptions", deleted.eventSubscriptions)
    writer.member("work", deleted.work)
    writer.member("nonces", deleted.nonces)
    writer.member("audit_events", deleted.auditEvents)
    writer.endObject()
  }
}
