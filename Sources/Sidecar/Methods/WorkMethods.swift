import JSON
import JSONRPC
import SessionStore

/// Leased work: section "Work" of the contract.
enum WorkMethods {
  static let all: [Method] = [enqueue, claim, renew, settle, cancel, list, revive, subscribe]

  // MARK: - What many of them share

  private static let queue = Parameter.required(.queue, .name, "The queue.")
  private static let workID = Parameter.required(.workID, .name, "The item's id in its queue.")
  private static let fence = Parameter.required(.fence, .integer(.safe), "What claim_work gave with the item.")
  private static let group = Parameter.optional(.group, .name, "Only the items of this group.")
  private static let ofSubscription = Parameter.optional(
    .subscriptionID, .name, "Only the items for this event subscription.")
  private static let lease = Parameter.optional(
    .lease, .integer(1...31_622_400_000), "Milliseconds for which it is the worker's; 60,000 when absent.")
  private static let perGroup = Parameter.optional(
    .perGroup, .integer(1...1_000), "Leases that one group may have at the same time; 1 when absent.")
  private static let due: [Parameter] = [
    .optional(.notBefore, .integer(.safe), "Unix milliseconds before which it is not ready; now when absent."),
    .optional(.delay, .integer(.safe), "The same as milliseconds from now."),
  ]

  /// - Throws: `invalidParameter` when both are given
  private static func due(_ call: Call) throws -> Due {
    if call.has(.notBefore), call.has(.delay) {
      throw StoreError.invalidParameter(name: "delay", expected: "not_before or delay, not both")
    }
    return Due(notBefore: call.optionalInteger(.notBefore), delay: call.optionalInteger(.delay))
  }

  private static func example(status: String = "leased", attempt: Int = 1) -> String {
    #"{"queue":"mail","work_id":"m-1","group":"ada","subscription_id":null,"tenant_id":null,"principal":null,"#
      + #""status":"\#(status)","payload":{"to":"ada@example.org"},"position":null,"attempt":\#(attempt),"#
      + #""max_attempts":5,"fence":7,"worker":"w-1","#
      + #""lease_until":\#(status == "leased" ? "1795210060000" : "null"),"not_before":null,"#
      + #""give_up_at":null,"error":null,"enqueued_at":1795210000000,"finished_at":null}"#
  }

  // MARK: - Enqueueing

  private static let enqueue = Method(
    name: "enqueue_work", summary: "Puts an item of work into a queue, unless its id is there.", access: .write,
    parameters: [
      queue, workID, .required(.payload, .json, "What is to be done; kept as it is."),
      .optional(.group, .name, "Items that take turns with others as one."),
      .optional(.subscriptionID, .name, "The event subscription that it is for, which is a group of its own."),
      .optional(.ordered, .boolean, "Whether its group is done one at a time, in order; false when absent."),
      .optional(
        .position, .integer(1...9_007_199_254_740_991), "Where it stands in what it comes from, for the watermark."),
    ] + due + [
      .optional(.maxAttempts, .integer(1...1_000_000), "Claims after which it is dead; any number when absent."),
      .optional(
        .giveUpAfter, .integer(1...9_007_199_254_740_991), "Milliseconds after which it is dead; never when absent."),
    ] + Parameter.binding,
    result: .members([
      ("stored", .described(.boolean, "False when the id is there, or the subscription is not; nothing is changed.")),
      (
        "status",
        .described(.nullable(.choice(statuses)), "Of what is there now; null for what is another owner's.")
      ),
    ]),
    errors: [.maxWorkReached, .maxPrincipalWorkReached, .payloadTooLarge],
    example: (
      #"{"queue":"mail","work_id":"m-1","payload":{"to":"ada@example.org"},"group":"ada","max_attempts":5}"#,
      #"{"stored":true,"status":"waiting"}"#
    )
  ) { sidecar, call, writer in
    var new = NewWork(queue: call.string(.queue), workID: call.string(.workID), payload: call.json(.payload))
    new.group = call.optionalString(.group)
    new.subscriptionID = call.optionalString(.subscriptionID)
    if new.group != nil, new.subscriptionID != nil {
      throw StoreError.invalidParameter(name: "group", expected: "group or subscription_id, not both")
    }
    let isInGroup = new.group != nil || new.subscriptionID != nil
    new.isOrdered = call.boolean(.ordered)
    if new.isOrdered, !isInGroup {
      throw StoreError.invalidParameter(name: "ordered", expected: "a group whose items are to be done in order")
    }
    if call.has(.position), !isInGroup {
      throw StoreError.invalidParameter(name: "position", expected: "a group, whose watermark it counts for")
    }
    new.position = call.optionalInteger(.position)
    new.due = try due(call)
    new.maxAttempts = call.optionalInteger(.maxAttempts)
    new.giveUpAfter = call.optionalInteger(.giveUpAfter)
    let enqueued = try sidecar.store.enqueueWork(new, owner: call.owner)
    writer.beginObject()
    writer.member("stored", enqueued.stored)
    writer.member("status", enqueued.status?.rawValue)
    writer.endObject()
  }

  private static let statuses = WorkStatus.allCases.map(\.rawValue)

  // MARK: - Workers

  private static let claim = Method(
    name: "claim_work", summary: "Leases what is ready of a queue to a worker.", access: .write,
    parameters: [
      queue, .optional(.worker, .name, "Who claims; for people."), lease,
      .optional(.limit, .integer(1...1_000), "Items at most; 1 when absent."), perGroup,
      .optional(
        .includeSubscription, .boolean,
        "Whether each item comes with the event subscription that it is for, secrets too; false when absent."),
    ],
    result: .members([
      ("work", .array(.reference("Work"))),
      (
        "next_due",
        .described(
          .nullable(.integer),
          "When to claim again: not after timestamp when there is more; null when nothing waits and nothing is leased.")
      ),
      ("timestamp", RecordSchema.time),
    ]),
    example: (
      #"{"queue":"mail","worker":"w-1","lease":60000,"limit":10}"#,
      #"{"work":[\#(example())],"next_due":1795210060000,"timestamp":1795210000000}"#
    )
  ) { sidecar, call, writer in
    var claim = WorkClaim(queue: call.string(.queue), lease: call.integer(.lease, default: 60_000))
    claim.worker = call.optionalString(.worker)
    claim.limit = Int(call.integer(.limit, default: 1))
    claim.perGroup = call.integer(.perGroup, default: 1)
    claim.includesSubscriptions = call.boolean(.includeSubscription)
    let told = claim.includesSubscriptions ? sidecar.store.now : nil
    writer.beginObject()
    writer.name("work")
    writer.beginArray()
    let start = writer.count
    var count = 0
    let next = try sidecar.store.claimWork(claim) { work in
      let mark = writer.mark
      writer.work(work, withSubscriptionAt: told)
      return Sidecar.fits(&writer, mark, start, sidecar.pageBudget, &count)
    }
    writer.endArray()
    writer.member("next_due", next)
    writer.member("timestamp", sidecar.store.now)
    writer.endObject()
  }

  private static let renew = Method(
    name: "renew_work", summary: "Prolongs a lease.", access: .write, isRepeatable: true,
    parameters: [queue, workID, fence, lease],
    result: .members([
      ("held", .described(.boolean, "False when it is the worker's no more; nothing is changed then.")),
      ("lease_until", .nullable(RecordSchema.time)),
    ]),
    example: (
      #"{"queue":"mail","work_id":"m-1","fence":7,"lease":60000}"#, #"{"held":true,"lease_until":1795210090000}"#
    )
  ) { sidecar, call, writer in
    let end = try sidecar.store.renewWork(
      call.string(.queue), call.string(.workID), fence: call.integer(.fence, default: 0),
      lease: call.integer(.lease, default: 60_000))
    writer.beginObject()
    writer.member("held", end != nil)
    writer.member("lease_until", end)
    writer.endObject()
  }

  private static let settle = Method(
    name: "settle_work", summary: "Says what became of leased work.", access: .write, isRepeatable: true,
    parameters: [
      queue, workID, fence,
      .required(
        .outcome, .choice(WorkOutcome.allCases.map(\.rawValue)),
        "done; retry later; dead: it is of no use; release: it was not begun, the attempt does not count."),
    ] + due + [.optional(.error, .text(1_024), "Why it is not done: a word for machines.")],
    result: .members([
      ("held", .described(.boolean, "False when it is the worker's no more; nothing is changed then.")),
      ("repeated", .described(.boolean, "Whether this fence had been settled before; nothing is changed then.")),
      ("status", .described(.nullable(.choice(statuses)), "What it is now; null when it is not held.")),
      (
        "watermark",
        .described(
          .nullable(.integer), "Of its group: all positions up to it are settled; null where none has a position.")
      ),
    ]),
    example: (
      #"{"queue":"mail","work_id":"m-1","fence":7,"outcome":"retry","delay":30000,"error":"timeout"}"#,
      #"{"held":true,"repeated":false,"status":"waiting","watermark":null}"#
    )
  ) { sidecar, call, writer in
    let settled = try sidecar.store.settleWork(
      call.string(.queue), call.string(.workID), fence: call.integer(.fence, default: 0),
      call.choice(.outcome, as: WorkOutcome.self) ?? .done, due: due(call), error: call.optionalString(.error))
    writer.beginObject()
    writer.member("held", settled.isHeld)
    writer.member("repeated", settled.wasSettled)
    writer.member("status", settled.status?.rawValue)
    writer.member("watermark", settled.watermark)
    writer.endObject()
  }

  // MARK: - The server

  private static func selector(_ call: Call) -> WorkSelector {
    var selector = WorkSelector()
    selector.queue = call.optionalString(.queue)
    selector.workID = call.optionalString(.workID)
    selector.group = call.optionalString(.group)
    selector.subscriptionID = call.optionalString(.subscriptionID)
    selector.status = call.choice(.status, as: WorkStatus.self)
    return selector
  }

  private static let oneID = Parameter.optional(.workID, .name, "Only this item.")

  private static let cancel = Method(
    name: "cancel_work",
    summary: "Removes an item, or all of a group, whatever has become of it: its name begins anew.", access: .write,
    parameters: [queue, oneID, group, ofSubscription] + Parameter.owners,
    result: .members([("cancelled", .described(.integer, "Items that were waiting or leased."))]),
    errors: [.heldByLegalHold],
    example: (#"{"queue":"mail","group":"ada"}"#, #"{"cancelled":3}"#)
  ) { sidecar, call, writer in
    guard [.workID, .group, .subscriptionID].count(where: call.has) == 1 else {
      throw StoreError.invalidParameter(name: "work_id", expected: "work_id, group or subscription_id, one of them")
    }
    let cancelled = try sidecar.store.cancelWork(selector(call), owner: call.owner)
    writer.beginObject()
    writer.member("cancelled", cancelled)
    writer.endObject()
  }

  private static let list = Method(
    name: "list_work", summary: "Items of work in the order of enqueueing.", access: .read,
    parameters: [
      .optional(.queue, .name, "Only items of this queue; required with group and subscription_id."), group,
      ofSubscription,
      .optional(.status, .choice(statuses), "Only items of this status."),
    ] + Parameter.owners + Parameter.page,
    result: .members([("work", .array(.reference("Work"))), ("next_cursor", .nullable(.string))]),
    example: (
      #"{"queue":"mail","status":"leased"}"#, #"{"work":[\#(example())],"next_cursor":null}"#
    )
  ) { sidecar, call, writer in
    try sidecar.page(call, &writer, list: .work, name: "work") { page in
      try sidecar.store.listWork(selector(call), owner: call.owner, after: page.after, limit: page.limit) { work in
        page.add(work.number, canBeShort: true) { writer, isShort in writer.work(work, isShort: isShort) }
      }
    }
  }

  private static let revive = Method(
    name: "revive_work", summary: "Makes dead items wait again, with all their attempts.", access: .write,
    parameters: [
      queue, oneID, group, ofSubscription, .optional(.limit, .integer(1...1_000), "Items at most; 1,000 when absent."),
    ] + Parameter.owners,
    result: .members([("revived", .integer), ("has_more", .boolean)]),
    errors: [.maxWorkReached, .maxPrincipalWorkReached],
    example: (#"{"queue":"mail","work_id":"m-1"}"#, #"{"revived":1,"has_more":false}"#)
  ) { sidecar, call, writer in
    let done = try sidecar.store.reviveWork(
      selector(call), owner: call.owner, limit: Int(call.integer(.limit, default: 1_000)))
    writer.beginObject()
    writer.member("revived", done.revived)
    writer.member("has_more", done.hasMore)
    writer.endObject()
  }

  private static let subscribe = Method(
    name: "subscribe_work", summary: "Sends a notification when something of a queue can be claimed.", access: .read,
    isTransactional: false, isRepeatable: false, parameters: [queue, perGroup] + Subscriptions.manners,
    result: .members([
      ("subscription_id", .string),
      ("next_due", .described(.nullable(.integer), "As claim_work has it.")), ("timestamp", RecordSchema.time),
    ]),
    errors: [.maxSubscriptionsReached],
    example: (
      #"{"queue":"mail"}"#, #"{"subscription_id":"work-1","next_due":null,"timestamp":1795210000000}"#
    )
  ) { sidecar, call, writer in
    let reader = WorkReader(queue: call.string(.queue), perGroup: call.integer(.perGroup, default: 1))
    let next = try sidecar.store.nextDue(reader)
    let greeting = Subscriptions.Greeting(
      taskID: nil, sessionID: nil, owners: .none, queue: call.string(.queue))
    writer.beginObject()
    writer.member("subscription_id", try sidecar.subscribe(.work(reader), call, greeting: greeting))
    writer.member("next_due", next)
    writer.member("timestamp", sidecar.store.now)
    writer.endObject()
  }
}
