import JSON
import JSONRPC
import SessionStore

/// Payloads as they are stored, of everybody: for clients that keep them in a form of their own, such as encrypted.
enum PayloadMethods {
  static let all: [Method] = [list, replace]

  /// bytes
  private static let longest = 8 << 20

  private static let names = [
    "session_id", "task_id", "stream_id", "event_type", "tenant_id", "principal", "collection", "key",
  ]

  private static let list = Method(
    name: "list_payloads", summary: "All payloads as they are stored, whosever they are, in pages.", access: .read,
    parameters: Parameter.page,
    result: .members([
      (
        "payloads",
        .array(
          .members(
            [
              ("ref", .described(.string, "Which one it is, for replace_payloads.")),
              ("place", .described(.string, "What it is of which record: event.data, task.result, …")),
            ] + names.map { ($0, .nullable(.string)) } + [
              ("text", .described(.string, "The payload byte for byte: JSON, but of a status_message what it says."))
            ]))
      ),
      ("next_cursor", .nullable(.string)),
    ]),
    example: (
      "{}",
      #"{"payloads":[{"ref":"named_values.value.4.0","place":"value.value","session_id":null,"task_id":null,"#
        + #""stream_id":null,"#
        + #""event_type":null,"tenant_id":null,"principal":"ada","collection":"carts","key":"h-1","#
        + #""text":"{\"items\":2}"}],"next_cursor":null}"#
    )
  ) { sidecar, call, writer in
    var position = PayloadPosition()
    if let cursor = call.optionalString(.cursor) {
      guard let known = PayloadPosition(cursor) else { throw RPCError.invalidCursor }
      position = known
    }
    writer.beginObject()
    writer.name("payloads")
    writer.beginArray()
    let start = writer.count
    var count = 0
    let hasMore = try sidecar.store.listPayloads(
      behind: position, limit: Int(call.integer(.limit, default: 50))
    ) { next, payload in
      let mark = writer.mark
      writer.storedPayload(next, payload)
      guard Sidecar.fits(&writer, mark, start, sidecar.pageBudget, &count) else { return false }
      position = next
      return true
    }
    writer.endArray()
    if count == 1 { sidecar.running.behind = ("next_cursor", hasMore ? .text(position.text) : .null) }
    writer.member("next_cursor", hasMore ? position.text : nil)
    writer.endObject()
  }

  private static let change: [Parameter] = [
    .required(.ref, .name, "The `ref` of list_payloads."),
    .required(.text, .text(longest), "Its `text`: it is replaced only while it is still that."),
    .required(.replacement, .text(longest), "What stands in its place, as text of the same kind."),
  ]

  private static let replace = Method(
    name: "replace_payloads",
    summary: "Puts payloads in the place of those that were read, as another form of the same: nobody is told.",
    access: .write, isRepeatable: true,
    parameters: [
      .required(.changes, .list(of: .record(change), count: 1...1_000), "All of them or none; see `missed`.")
    ],
    result: .members([
      ("replaced", .integer),
      ("missed", .described(.array(.string), "The refs of those that were changed or deleted meanwhile.")),
    ]),
    errors: [.payloadTooLarge],
    example: (
      #"{"changes":[{"ref":"named_values.value.4.0","text":"{\"items\":2}","#
        + #""replacement":"{\"$codec\":\"1/plain\",\"data\":2}"}]}"#,
      #"{"replaced":1,"missed":[]}"#
    )
  ) { sidecar, call, writer in
    let changes = try call.records(.changes, change)
    var missed: [String] = []
    try sidecar.store.atomically {
      for change in changes {
        let ref = change.string(.ref)
        guard let position = PayloadPosition(ref) else {
          throw change.refused(.ref, expected: "a `ref` as list_payloads has it")
        }
        do {
          let isReplaced = try sidecar.store.replacePayload(
            position, change.string(.text), with: change.string(.replacement))
          if !isReplaced { missed.append(ref) }
        } catch StoreError.invalidParameter(_, let expected) {
          throw change.refused(.replacement, expected: expected)
        }
      }
    }
    writer.beginObject()
    writer.member("replaced", changes.count - missed.count)
    writer.member("missed", strings: missed)
    writer.endObject()
  }
}

extension JSONWriter {
  fileprivate mutating func storedPayload(_ position: PayloadPosition, _ payload: StoredPayload) {
    beginObject()
    member("ref", position.text)
    member("place", payload.place)
    member("session_id", payload.sessionID)
    member("task_id", payload.taskID)
    member("stream_id", payload.streamID)
    member("event_type", payload.eventType)
    member("tenant_id", payload.tenantID)
    member("principal", payload.principal)
    member("collection", payload.collection)
    member("key", payload.key)
    member("text", payload.text)
    endObject()
  }
}
