const NAMESPACE = 'mcp-event-store'
const PAGE = 200

/**
 * The `McpEventStore` of emseepea over the store: its subscriptions, which lapse by themselves, and its deliveries,
 * each claimed by one instance at a time. Secrets are in no list, dump or report of the program.
 */
export class McpEventStore {
  #store
  #namespace
  #queue

  constructor(store, { namespace = NAMESPACE } = {}) {
    this.#store = store
    this.#namespace = namespace
    this.#queue = `${namespace}/deliveries`
  }

  async get(id) {
    const found = await this.#store.getEventSubscription({ subscription_id: id })
    return found === null || !this.#isOwn(found) ? null : toSubscription(found)
  }

  /** The record under its id, until its time is over. */
  async put(subscription) {
    const { id, ownerKey, name, secret, expiresAt, previousSecret, previousSecretUntil, ...rest } = subscription
    const now = Date.now()
    const record = {
      subscription_id: id,
      principal: ownerKey,
      topic: `${this.#namespace}/${name}`,
      data: { ...rest, name, expiresAt },
      // One whose time is over is absent, so it is as good as deleted.
      ttl: Math.max(1, expiresAt - now),
    }
    const secrets = [{ secret, secret_grace: 0 }]
    if (typeof previousSecret === 'string' && previousSecretUntil > now) {
      // The store keeps what was there before as the older one.
      secrets.unshift({ secret: previousSecret })
      secrets[1].secret_grace = previousSecretUntil - now
    }
    await this.#store.transaction({
      calls: secrets.map((each) => ({ method: 'put_event_subscription', params: { ...record, ...each } })),
    }, { repeatable: true })
  }

  /** With all that is still to be sent to it. */
  async delete(id) {
    if ((await this.get(id)) === null) return
    await this.#store.deleteEventSubscription({ subscription_id: id, announce: false })
  }

  async list(name) {
    const found = []
    for (let cursor; cursor !== null; ) {
      const call = { topic: `${this.#namespace}/${name}`, cursor, limit: PAGE }
      const { subscriptions, next_cursor } = await this.#store.listEventSubscriptions(call)
      const page = await Promise.all(subscriptions.map(({ subscription_id }) => this.get(subscription_id)))
      found.push(...page.filter((each) => each !== null))
      cursor = next_cursor
    }
    return found
  }

  /** Once for each id; nothing where the subscription is gone. */
  async enqueue({ id, subscriptionId, eventId, body, nextAttemptAt }) {
    await this.#store.enqueueWork({
      queue: this.#queue,
      work_id: id,
      subscription_id: subscriptionId,
      payload: { eventId, body },
      not_before: Math.max(0, Math.floor(nextAttemptAt)),
    }, { repeatable: true })
  }

  /** What is due by the store's own clock, which all instances share; `now` says nothing that it does not know. */
  async claimDue(limit, now, leaseMs) {
    const { work } = await this.#store.claimWork({ queue: this.#queue, limit, lease: leaseMs, per_group: limit })
    return work.map(({ work_id, subscription_id, payload, attempt, fence }) => ({
      id: work_id,
      subscriptionId: subscription_id,
      eventId: payload.eventId,
      body: payload.body,
      attempts: attempt - 1,
      nextAttemptAt: now,
      leaseId: String(fence),
    }))
  }

  /** Nothing happens where the lease is another's by now. */
  async complete(id, leaseId) {
    await this.#settle(id, leaseId, { outcome: 'done' })
  }

  async reschedule({ id, leaseId, nextAttemptAt }) {
    await this.#settle(id, leaseId, { outcome: 'retry', not_before: Math.max(0, Math.floor(nextAttemptAt)) })
  }

  async #settle(work_id, leaseId, how) {
    const fence = Number(leaseId)
    if (!Number.isSafeInteger(fence) || fence < 1) return
    await this.#store.settleWork({ queue: this.#queue, work_id, fence, ...how })
  }

  #isOwn({ topic }) {
    return topic.startsWith(`${this.#namespace}/`)
  }
}

function toSubscription({ subscription_id, principal, data, secret, previous_secret, previous_secret_until }) {
  const isHeld = typeof previous_secret === 'string' && previous_secret_until > Date.now()
  return {
    ...data,
    id: subscription_id,
    ownerKey: principal,
    secret,
    ...(isHeld ? { previousSecret: previous_secret, previousSecretUntil: previous_secret_until } : {}),
  }
}
