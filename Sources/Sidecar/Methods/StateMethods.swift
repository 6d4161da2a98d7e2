import JSON
import SessionStore

/// The key-value map of a session: section 4 of the contract.
enum StateMethods {
  static let all: [Method] = [set, get, remove, listKeys]

  private static let key = Parameter.required(.key, .name, "The key.")
  private static let readErrors: [ErrorKind] = [.sessionNotFound, .sessionExpired, .invalidSessionStatus]
  private static let writeErrors = readErrors + [.maxSessionWritesReached]

  private static let set = Method(
    name: "set_session_state", summary: "Sets one key of a session's state.", access: .write,
    parameters: [.sessionID, key, .required(.value, .json, "Any JSON; kept as it is.")] + Parameter.owners,
    result: .members([("revision", .described(.integer, "The session's new revision."))]),
    errors: writeErrors + [.payloadTooLarge],
    example: (#"{"session_id":"session-1","key":"cart","value":["book"]}"#, #"{"revision":2}"#)
  ) { sidecar, call, writer in
    let revision = try sidecar.store.setSessionState(
      call.string(.sessionID), call.string(.key), call.json(.value), owner: call.owner)
    writer.beginObject()
    writer.member("revision", revision)
    writer.endObject()
  }

  private static let get = Method(
    name: "get_session_state", summary: "One key of a session's state; a stored null is not an absent key.",
    access: .read,
    parameters: [.sessionID, key] + Parameter.readers,
    result: .members([("exists", .boolean), ("value", .anyPayload)]),
    errors: readErrors,
    example: (#"{"session_id":"session-1","key":"cart"}"#, #"{"exists":true,"value":["book"]}"#)
  ) { sidecar, call, writer in
    let value = try sidecar.store.getSessionState(call.string(.sessionID), call.string(.key), owner: call.owner)
    writer.beginObject()
    writer.member("exists", value != nil)
    writer.member("value", value)
    writer.endObject()
  }

  private static let remove = Method(
    name: "remove_session_state", summary: "Removes one key of a session's state.", access: .write,
    parameters: [.sessionID, key] + Parameter.owners,
    result: .members([("existed", .boolean), ("value", .described(.anyPayload, "What it was."))]),
    errors: writeErrors + [.heldByLegalHold],
    example: (#"{"session_id":"session-1","key":"cart"}"#, #"{"existed":true,"value":["book"]}"#)
  ) { sidecar, call, writer in
    let value = try sidecar.store.removeSessionState(call.string(.sessionID), call.string(.key), owner: call.owner)
    writer.beginObject()
    writer.member("existed", value != nil)
    writer.member("value", value)
    writer.endObject()
  }

  private static let listKeys = Method(
    name: "list_session_state_keys", summary: "The keys of a session's state in the order of their first setting.",
    access: .read,
    parameters: [.sessionID] + Parameter.readers + [
      .optional(.cursor, .name, "`next_cursor` of the page before."),
      .optional(.limit, .integer(1...1_000), "Keys on a page; without it and a cursor all are answered at once."),
    ],
    result: .members([("keys", .array(.string)), ("next_cursor", .nullable(.string))]),
    errors: readErrors,
    example: (#"{"session_id":"session-1"}"#, #"{"keys":["cart"],"next_cursor":null}"#)
  ) { sidecar, call, writer in
    let isPaged = call.has(.limit) || call.has(.cursor)
    try sidecar.page(call, &writer, list: .stateKeys, name: "keys", isBounded: isPaged) { page in
      try sidecar.store.listStateKeys(call.string(.sessionID), owner: call.owner, after: page.after) { key, number in
        page.add(number) { $0.string(key) }
      }
    }
  }
}
