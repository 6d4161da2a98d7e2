import JSON
import SessionStore

/// Nonces, and values behind handles: section 6 of the contract.
enum ValueMethods {
  static let all: [Method] = [consumeNonce, put, get, delete, list]

  private static let collection = Parameter.required(.collection, .name, "A name for values that belong together.")
  private static let key = Parameter.required(.key, .name, "The key.")
  /// Here owners partition: each has values of its own.
  private static let partition: [Parameter] = [
    .optional(.tenantID, .owner, "The tenant whose value it is; nobody's when absent or null."),
    .optional(.principal, .owner, "The principal whose value it is; nobody's when absent or null."),
  ]

  private static func place(_ call: Call) -> ValuePlace {
    ValuePlace(collection: call.string(.collection), owner: call.owner)
  }

  private static let consumeNonce = Method(
    name: "consume_nonce", summary: "Whether a single-use token is used for the first time.", access: .write,
    parameters: [
      .required(.nonce, .name, "The token."),
      .required(.ttl, .integer(1...9_007_199_254_740_991), "Milliseconds for which it is remembered."),
      .optional(.principal, .owner, "The principal whose token it is; nobody's when absent or null."),
    ],
    result: .members([("first", .boolean)]), example: (#"{"nonce":"q8s","ttl":600000}"#, #"{"first":true}"#)
  ) { sidecar, call, writer in
    let isFirst = try sidecar.store.consumeNonce(
      call.string(.nonce), ttl: call.integer(.ttl, default: 1), principal: call.owner.principal)
    writer.beginObject()
    writer.member("first", isFirst)
    writer.endObject()
  }

  private static let put = Method(
    name: "put_value", summary: "Stores a value under a key of a collection.", access: .write,
    parameters: [
      collection, key, .required(.value, .json, "Any JSON; kept as it is."),
      .optional(.ttl, .integer(1...9_007_199_254_740_991), "Milliseconds until it lapses; it stays when absent."),
      .optional(.ifAbsent, .boolean, "Only when there is none; false when absent."), .ifRevision,
    ] + partition,
    result: .members([
      ("stored", .boolean), ("revision", .described(.integer, "The revision of what is there now.")),
    ]),
    errors: [.concurrentModification, .maxValuesReached, .payloadTooLarge],
    example: (#"{"collection":"carts","key":"h-1","value":{"items":2}}"#, #"{"stored":true,"revision":1}"#)
  ) { sidecar, call, writer in
    let stored = try sidecar.store.putValue(
      place(call), call.string(.key), call.json(.value), ttl: call.optionalInteger(.ttl),
      ifAbsent: call.boolean(.ifAbsent), ifRevision: call.optionalInteger(.ifRevision))
    writer.beginObject()
    writer.member("stored", stored.stored)
    writer.member("revision", stored.revision)
    writer.endObject()
  }

  private static let get = Method(
    name: "get_value", summary: "The value under a key; a stored null is not an absent one.", access: .read,
    parameters: [collection, key] + partition,
    result: .members([
      ("exists", .boolean), ("value", .anyPayload), ("expires_at", .nullable(RecordSchema.time)),
      ("revision", .nullable(.integer)),
    ]),
    example: (
      #"{"collection":"carts","key":"h-1"}"#, #"{"exists":true,"value":{"items":2},"expires_at":null,"revision":1}"#
    )
  ) { sidecar, call, writer in
    let value = try sidecar.store.getValue(place(call), call.string(.key))
    writer.beginObject()
    writer.member("exists", value != nil)
    writer.member("value", value?.value)
    writer.member("expires_at", value?.expiresAt)
    writer.member("revision", value?.revision)
    writer.endObject()
  }

  private static let delete = Method(
    name: "delete_value", summary: "Removes the value under a key.", access: .write,
    parameters: [collection, key, .ifRevision] + partition, result: .members([("deleted", .boolean)]),
    errors: [.concurrentModification, .heldByLegalHold],
    example: (#"{"collection":"carts","key":"h-1"}"#, #"{"deleted":true}"#)
  ) { sidecar, call, writer in
    let deleted = try sidecar.store.deleteValue(
      place(call), call.string(.key), ifRevision: call.optionalInteger(.ifRevision))
    writer.beginObject()
    writer.member("deleted", deleted)
    writer.endObject()
  }

  private static let list = Method(
    name: "list_values", summary: "The values of one owner's collection in the order of creation.", access: .read,
    parameters: [collection, .optional(.prefix, .text(1_024), "Only keys that begin with this.")] + partition
      + Parameter.page,
    result: .members([
      (
        "values",
        .array(
          .members([
            ("key", .string), ("value", .anyPayload), ("expires_at", .nullable(RecordSchema.time)),
            ("revision", .integer),
            RecordSchema.omitted,
          ]))
      ),
      ("next_cursor", .nullable(.string)),
    ]),
    example: (
      #"{"collection":"carts","prefix":"h-"}"#,
      #"{"values":[{"key":"h-1","value":{"items":2},"expires_at":null,"revision":1}],"next_cursor":null}"#
    )
  ) { sidecar, call, writer in
    try sidecar.page(call, &writer, list: .values, name: "values") { page in
      try sidecar.store.listValues(
        place(call), prefix: call.optionalString(.prefix) ?? "", after: page.after, limit: page.limit
      ) { value, number in
        page.add(number, canBeShort: true) { writer, isShort in
          writer.beginObject()
          writer.member("key", value.key)
          writer.member("value", isShort ? .null : value.value)
          writer.member("expires_at", value.expiresAt)
          writer.member("revision", value.revision)
          if isShort { writer.member("omitted", strings: ["value"]) }
          writer.endObject()
        }
      }
    }
  }
}
