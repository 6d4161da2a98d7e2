import JSON
import JSONRPC
import SessionStore

/// Subscriptions of others to what happens here: section "Event subscriptions" of the contract.
enum EventSubscriptionMethods {
  static let all: [Method] = [put, get, delete, list]

  private static let subscriptionID = Parameter.required(.subscriptionID, .name, "The subscription.")

  private static func example(secret: Bool) -> String {
    #"{"subscription_id":"sub-1","tenant_id":null,"principal":"ada","topic":"orders","#
      + #""data":{"url":"https://example.org/hook"},"active":true,"start_after":null,"watermark":null,"#
      + #""created_at":1795210000000,"expires_at":1795213600000,"inactive_since":null,"last_success_at":null,"#
      + #""last_failure_at":null,"failed_since":null,"last_error":null,"#
      + #""window":{"since":1795206600000,"attempts":0,"failures":0},"ended_at":null,"end_reason":null,"#
      + #""ended_queue":"ended","revision":1"#
      + (secret ? #","secret":"whsec_c2VjcmV0","previous_secret":null,"previous_secret_until":null}"# : "}")
  }

  private static let put = Method(
    name: "put_event_subscription", summary: "Makes a subscription of somebody to a topic, or grants it anew.",
    access: .write,
    parameters: [
      subscriptionID, .required(.topic, .name, "What is subscribed to."),
      .optional(.data, .json, "Where and how to tell; kept as it is. The one that is there when absent."),
      .optional(.secret, .words(8_192), "What deliveries are signed with. The one that is there when absent."),
      .optional(
        .secretGrace, .integer(.safe), "Milliseconds for which the secret that it replaces stays known; 300,000."),
      .optional(.startAfter, .integer(.safe), "The position behind which it begins; counts only when it is made."),
      .optional(
        .ttl, .integer(.safe),
        "Milliseconds until it lapses; 0: it never does. What is there stays when absent; a new one never lapses."),
      .optional(.active, .boolean, "Whether its work is claimed; true when absent."),
      .optional(
        .endedQueue, .name,
        "The queue in which its end is told: ended, or a name that ends with /ended. The one that is there when absent."
      ), .ifRevision,
    ] + Parameter.binding,
    result: .members([("created", .boolean), ("subscription", .reference("EventSubscription"))]),
    errors: [
      .eventSubscriptionExists, .maxEventSubscriptionsReached, .maxPrincipalEventSubscriptionsReached,
      .concurrentModification, .payloadTooLarge,
    ],
    example: (
      #"{"subscription_id":"sub-1","topic":"orders","data":{"url":"https://example.org/hook"},"#
        + #""secret":"whsec_c2VjcmV0","ttl":3600000,"principal":"ada"}"#,
      #"{"created":true,"subscription":\#(example(secret: false))}"#
    )
  ) { sidecar, call, writer in
    var grant = EventSubscriptionGrant(topic: call.string(.topic))
    grant.data = call.optionalNonNull(.data)
    grant.secret = call.optionalString(.secret)
    grant.secretGrace = call.integer(.secretGrace, default: 300_000)
    grant.startAfter = call.optionalInteger(.startAfter)
    grant.ttl = call.optionalInteger(.ttl)
    grant.isActive = call.optionalBoolean(.active) ?? true
    grant.endedQueue = call.optionalString(.endedQueue)
    if let queue = grant.endedQueue, !Store.tellsEnds(queue) {
      throw StoreError.invalidParameter(name: "ended_queue", expected: "ended, or a name that ends with /ended")
    }
    let put = try sidecar.store.putEventSubscription(
      call.string(.subscriptionID), grant, owner: call.owner, ifRevision: call.optionalInteger(.ifRevision))
    writer.beginObject()
    writer.member("created", put.created)
    writer.name("subscription")
    writer.eventSubscription(put.subscription, at: sidecar.store.now)
    writer.endObject()
  }

  private static let get = Method(
    name: "get_event_subscription",
    summary: "A subscription with its secrets, or null when it is unknown, over or another owner's.", access: .read,
    parameters: [subscriptionID] + Parameter.owners, result: .nullable(.reference("EventSubscription")),
    example: (#"{"subscription_id":"sub-1"}"#, example(secret: true))
  ) { sidecar, call, writer in
    if let found = try sidecar.store.getEventSubscription(call.string(.subscriptionID), owner: call.owner) {
      writer.eventSubscription(found, at: sidecar.store.now, tellsSecrets: true)
    } else {
      writer.null()
    }
  }

  private static let delete = Method(
    name: "delete_event_subscription", summary: "Ends a subscription and cancels its work.", access: .write,
    parameters: [
      subscriptionID, .optional(.reason, .text(1_024), "What the one is told who announces it; deleted when absent."),
      .optional(.announce, .boolean, "Whether an item in its `ended_queue` tells of it; true when absent."),
    ] + Parameter.owners,
    result: .members([
      ("deleted", .boolean), ("cancelled", .described(.integer, "Items of its work that were waiting or leased.")),
    ]),
    errors: [.heldByLegalHold],
    example: (#"{"subscription_id":"sub-1"}"#, #"{"deleted":true,"cancelled":2}"#)
  ) { sidecar, call, writer in
    let done = try sidecar.store.deleteEventSubscription(
      call.string(.subscriptionID), reason: call.optionalString(.reason),
      announce: call.optionalBoolean(.announce) ?? true, owner: call.owner)
    writer.beginObject()
    writer.member("deleted", done.deleted)
    writer.member("cancelled", done.cancelled)
    writer.endObject()
  }

  private static let list = Method(
    name: "list_event_subscriptions", summary: "Subscriptions in the order of creation, without secrets.",
    access: .read,
    parameters: [
      .optional(.topic, .name, "Only those to this topic."),
      .optional(.active, .boolean, "Only those that are active, or are not."),
    ] + Parameter.owners + Parameter.page,
    result: .members([
      ("subscriptions", .array(.reference("EventSubscription"))), ("next_cursor", .nullable(.string)),
    ]),
    example: (
      #"{"topic":"orders","active":true}"#,
      #"{"subscriptions":[\#(example(secret: false))],"next_cursor":null}"#
    )
  ) { sidecar, call, writer in
    try sidecar.page(call, &writer, list: .eventSubscriptions, name: "subscriptions") { page in
      try sidecar.store.listEventSubscriptions(
        topic: call.optionalString(.topic), isActive: call.optionalBoolean(.active), owner: call.owner,
        after: page.after, limit: page.limit
      ) { subscription, number in
        page.add(number, canBeShort: true) { writer, isShort in
          writer.eventSubscription(subscription, at: sidecar.store.now, isShort: isShort)
        }
      }
    }
  }
}
