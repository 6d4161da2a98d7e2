import { createHash, timingSafeEqual } from 'node:crypto'
import { tell } from './callback.mjs'
import { RequestError } from './errors.mjs'
import { messageId, NOBODY, randomDigits, receiverKey } from './event-names.mjs'
import { EventsError } from './events-profile.mjs'
import { keyOf, signedHeaders } from './signature.mjs'
import { post, refusalOf } from './webhook-post.mjs'
import { WorkLoop } from './work-loop.mjs'

const DAY = 86_400_000
const SHORTEST_TTL = 300_000
const LONGEST_TTL = 7 * DAY
const SECRET_GRACE = 300_000
const TIMEOUT = 5000
const LEASE = 30_000
/** After each attempt that failed, up to a fifth longer; after the next one it is dead. */
const DELAYS = [5000, 30_000, 120_000, 480_000]
const GIVE_UP_AFTER = 900_000
const AT_ONCE = 4
/** An endpoint that never works is left alone: of so many attempts more than this part failed. */
const SUSPENDED_FROM = 100
const SUSPENDED_OVER = 0.95
/** An endpoint that is asked to prove itself ever again is somebody's who never asked for it. */
const CHALLENGES = { limit: 30, window: 60_000 }
/** What another sender may know more of is left for it. */
const UNKNOWN_TYPE_DELAY = 5000
const FOREIGN_DELAY = 60_000
/** Subscriptions, and events, that are looked at together. */
const PAGE = 200
/** Of one transaction, far below what it may have. */
const MOST_CALLS = 900
const MOST_BYTES = 4 << 20
/** The endpoint is there, and does not want this one. */
const REFUSED_FOR_GOOD = new Set([410, 413])

/**
 * Webhooks of MCP Events over the store: `events/subscribe` and `events/unsubscribe`, and the sending. Any number of
 * processes may send: each delivery is one process's, and comes back when that dies. At least once, never lost.
 */
export class WebhookSender {
  #events
  #store
  #names
  #options
  #loops = []

  constructor(events, options = {}) {
    this.#events = events
    this.#store = events.store
    this.#names = events.names
    this.#options = {
      worker: `node ${process.pid}`,
      concurrency: 32,
      lease: LEASE,
      timeout: TIMEOUT,
      delays: DELAYS,
      isOrdered: false,
      endless: false,
      anonymous: false,
      verify: () => true,
      messageIds: 'event',
      insecure: false,
      onEnded: () => {},
      onError: () => {},
      ...options,
    }
    if (!['event', 'delivery'].includes(this.#options.messageIds)) {
      throw new RangeError("messageIds: 'event' or 'delivery'.")
    }
    events.attach(this)
  }

  /** Begins to send: until then this only takes subscriptions. */
  start() {
    if (this.#loops.length > 0) return
    const { worker, concurrency, lease } = this.#options
    const onError = (error) => this.#failed(error)
    const loop = (queue, work, more) => {
      const options = { queue, worker, lease, onError, ...more }
      const loop = new WorkLoop(this.#store, { ...options, work: (item, context) => this.#guard(work, item, context) })
      loop.start()
      return loop
    }
    const withSubscription = { include_subscription: true, per_group: AT_ONCE, concurrency }
    this.#loops = [
      loop(this.#names.fanout, (item) => this.#handOn(item), { per_group: 1, concurrency: 4 }),
      loop(this.#names.deliveries, (item, context) => this.#deliver(item, context), withSubscription),
      loop('ended', (item) => this.#tellEnd(item), withSubscription),
    ]
  }

  /** Claims nothing more; what is being sent is finished, for so many milliseconds. */
  async stop(options) {
    await Promise.all(this.#loops.map((loop) => loop.stop(options)))
    this.#loops = []
  }

  /** What a defect here, or a store that is out of reach, leaves to another try. */
  async #guard(work, item, context) {
    try {
      await work(item, context)
    } catch (error) {
      this.#failed(error)
      await this.#settle(item, 'release', { delay: UNKNOWN_TYPE_DELAY })
    }
  }

  #failed(error) {
    tell(this.#options.onError, error)
  }

  #settle({ queue, work_id, fence }, outcome, more = {}) {
    return this.#store.settleWork({ queue, work_id, fence, outcome, ...more })
  }

  // --- What clients ask

  async subscribe(params, ctx) {
    const { profile } = this.#events
    const request = await this.#events.request('webhook', params, ctx)
    const { principal, name, arguments: args } = request
    if (principal === null && !this.#options.anonymous) {
      throw profile.forbidden('Only who is authenticated may subscribe by webhook.')
    }
    const { mode = 'webhook', url, secret } = params.delivery ?? {}
    if (mode !== 'webhook') throw profile.unsupported('delivery', String(mode))
    const refusal = refusalOf(url, this.#options)
    if (refusal !== null) throw profile.invalidParams(`delivery.url: ${refusal}.`)
    if (keyOf(secret) === null) {
      throw profile.invalidParams('delivery.secret: whsec_ and the base64 of 24 to 64 bytes.')
    }
    const ttl = this.#ttl(params)
    const subscription_id = this.#names.subscriptionId(principal, url, name, args)
    await this.#verify({ principal, url, secret, subscription_id, ttl })
    const subscription = { subscription_id, principal, url, secret, name, args, ttl }
    const found = await this.#store.getEventSubscription({ subscription_id, principal })
    return found === null ? this.#create(subscription, request) : this.#refresh(subscription, request, found)
  }

  #ttl({ ttlMs }) {
    if (ttlMs === undefined) return DAY
    if (ttlMs === null) return this.#options.endless ? null : LONGEST_TTL
    if (!Number.isSafeInteger(ttlMs) || ttlMs < 0) throw this.#events.profile.invalidParams('ttlMs: milliseconds.')
    return Math.min(LONGEST_TTL, Math.max(SHORTEST_TTL, ttlMs))
  }

  async #create(subscription, { cursor, maxAgeMs }) {
    const { subscription_id, name } = subscription
    const topic = this.#events.topic(name)
    const { epoch, id, truncated } = await topic.start(cursor, maxAgeMs)
    const replay = this.#events.fanOut(name, `replay/${randomDigits()}`, { replay: subscription_id })
    const { results: [{ subscription: made }] } = await this.#put(subscription, { epoch, start_after: id }, [
      { method: 'enqueue_work', params: replay },
    ])
    return this.#answer(made, topic.cursor({ epoch, id }), truncated)
  }

  /** The secret and the time are granted anew, and what was suspended goes on. It stays where it is in its topic. */
  async #refresh(subscription, { cursor }, found) {
    const { name, subscription_id } = subscription
    const topic = this.#events.topic(name)
    const { epoch } = found.data
    const { results: [{ subscription: made, created }] } = await this.#put(subscription, {
      epoch,
      start_after: found.start_after ?? 0,
    })
    if (created) {
      // It lapsed in this moment, and nothing was handed to the new one yet.
      const replay = this.#events.fanOut(name, `replay/${randomDigits()}`, { replay: subscription_id })
      await this.#store.enqueueWork(replay)
    }
    const position = await this.#position(made, topic)
    const asked = cursor === null ? null : await topic.start(cursor)
    return this.#answer(made, topic.cursor(position), asked?.truncated ?? false, found)
  }

  #put({ subscription_id, principal, url, secret, name, args, ttl }, { epoch, start_after }, calls = []) {
    const data = { principal, url, name, arguments: args, epoch }
    const params = {
      subscription_id,
      principal,
      topic: this.#names.topic(name),
      data,
      secret,
      secret_grace: SECRET_GRACE,
      start_after,
      ...(ttl === null ? {} : { ttl }),
      active: true,
    }
    return this.#refusing(() => {
      return this.#store.transaction({ calls: [{ method: 'put_event_subscription', params }, ...calls] })
    })
  }

  /** In the words of the extension: a store that is full. */
  async #refusing(action) {
    try {
      return await action()
    } catch (error) {
      const isFull = error instanceof RequestError &&
        ['max_event_subscriptions_reached', 'max_work_reached'].includes(error.kind)
      throw isFull ? this.#events.profile.resourceExhausted('subscriptions', error.data.limit) : error
    }
  }

  /** Up to where a subscription has been told everything, or nobody is left to tell. */
  async #position({ subscription_id, start_after, watermark, data }, topic) {
    const told = { epoch: data.epoch, id: Math.max(watermark ?? 0, start_after ?? 0) }
    const queue = this.#names.deliveries
    const isOpen = async (status) => {
      const { work } = await this.#store.listWork({ queue, subscription_id, status, limit: 1 })
      return work.length > 0
    }
    // First how far it was handed on: what is handed on later is open, or settled, by then.
    const handed = await this.#handedOn(data.name)
    if (handed.epoch !== (await topic.newest()).epoch || (await isOpen('waiting')) || (await isOpen('leased'))) {
      return told
    }
    return told.epoch === handed.epoch ? { ...told, id: Math.max(told.id, handed.after) } : told
  }

  #answer(record, cursor, truncated, before = null) {
    const { subscription_id, expires_at } = record
    const moment = (time) => (time === null || time === undefined ? null : new Date(time).toISOString())
    return {
      resultType: 'complete',
      id: subscription_id,
      refreshBefore: moment(expires_at),
      cursor,
      truncated,
      ...(before === null ? {} : {
        deliveryStatus: {
          active: record.active,
          lastDeliveryAt: moment(before.last_success_at),
          lastError: before.last_error,
          ...(before.failed_since === null ? {} : { failedSince: moment(before.failed_since) }),
        },
      }),
    }
  }

  async unsubscribe(params, ctx) {
    const { name, arguments: args = {}, delivery } = params ?? {}
    const { profile } = this.#events
    if (typeof name !== 'string' || typeof delivery?.url !== 'string' || typeof args !== 'object' || args === null) {
      throw profile.invalidParams('name, arguments and delivery.url say which subscription.')
    }
    const principal = this.#events.principalOf(ctx)
    const subscription_id = this.#names.subscriptionId(principal, delivery.url, name, args)
    const call = { subscription_id, principal, reason: 'unsubscribed', announce: false }
    const { deleted } = await this.#store.deleteEventSubscription(call)
    if (!deleted) throw profile.notFound('subscription', 'There is no such subscription.')
    tell(this.#options.onEnded, { subscriptionId: subscription_id, name, principal, reason: 'unsubscribed' })
    return { resultType: 'complete' }
  }

  /**
   * Ends subscriptions of a type, those of one principal where one is named, and says so to who subscribed:
   * `not_found`, the type is gone; `unsupported`, its schema is another; `forbidden`. Resolves with their number.
   */
  async endAll(name, { reason = 'not_found', principal } = {}) {
    const topic = this.#names.topic(name)
    const owner = principal === undefined ? {} : { principal }
    let count = 0
    for (let cursor; cursor !== null; ) {
      const page = await this.#store.listEventSubscriptions({ ...owner, topic, cursor, limit: PAGE })
      for (const { subscription_id, ...record } of page.subscriptions) {
        if (principal !== undefined && record.principal !== principal) continue
        const { deleted } = await this.#store.deleteEventSubscription({ subscription_id, reason })
        count += deleted ? 1 : 0
      }
      cursor = page.next_cursor
    }
    return count
  }

  // --- Receivers

  /** Makes an endpoint prove that it wants to hear, unless it did lately. */
  async #verify({ principal, url, secret, subscription_id, ttl }) {
    const key = receiverKey(principal, url)
    const own = { principal, collection: this.#names.verified, key }
    const { exists, value, expires_at } = await this.#store.getValue(own)
    const lifetime = ttl === null ? null : Math.max(DAY, ttl)
    let verified_at = value?.verified_at
    if (!exists) {
      if (await this.#options.verify({ principal, url })) {
        await this.#challenge({ url, secret, subscription_id })
      }
      verified_at = Date.now()
    }
    // It is remembered as long as what it was proven for.
    const isShort = expires_at !== null && (lifetime === null || expires_at < Date.now() + lifetime)
    if (exists && !isShort) return
    await this.#store.putValue({ ...own, value: { verified_at }, ...(lifetime === null ? {} : { ttl: lifetime }) })
  }

  async #challenge({ url, secret, subscription_id }) {
    const { profile } = this.#events
    const { host } = new URL(url)
    const key = `${this.#names.namespace}/challenges/${host}`
    const { allowed } = await this.#store.checkRateLimit({ key, ...CHALLENGES })
    if (!allowed) throw profile.resourceExhausted('challenges', CHALLENGES.limit)
    const challenge = randomDigits() + randomDigits()
    const id = `msg_verification_${randomDigits()}`
    const { status, text, error } = await this.#post(url, [secret], id, subscription_id, {
      type: 'verification',
      challenge,
    })
    if (error !== undefined) throw profile.callbackEndpoint(error)
    if (status < 200 || status > 299 || !isSame(challengeIn(text), challenge)) {
      throw profile.callbackEndpoint(status >= 500 ? 'http_5xx' : 'challenge_failed')
    }
  }

  #post(url, secrets, id, subscriptionId, message) {
    const body = JSON.stringify(message)
    const timestamp = Math.floor(Date.now() / 1000)
    const headers = { ...signedHeaders(secrets, { id, timestamp, body }), 'x-mcp-subscription-id': subscriptionId }
    return post(url, { ...this.#options, headers, body })
  }

  // --- Handing on: from a topic to those who subscribed

  async #handOn(item) {
    const { name, replay } = item.payload
    if (this.#events.type(name) === undefined) {
      return void (await this.#settle(item, 'release', { delay: UNKNOWN_TYPE_DELAY }))
    }
    if (replay === undefined) await this.#handOnAll(item, name)
    else await this.#replay(item, name, replay)
    await this.#settle(item, 'done')
  }

  #value(name) {
    return { ...NOBODY, collection: this.#names.fanned, key: name }
  }

  async #handedOn(name) {
    const { value } = await this.#store.getValue(this.#value(name))
    return value ?? { epoch: null, after: 0 }
  }

  async #handOnAll(item, name) {
    const topic = this.#events.topic(name)
    for (let hasMore = true; hasMore; ) {
      const { epoch, after } = await this.#handedOn(name)
      let page = await topic.read(after, PAGE)
      if (page.epoch !== epoch && after > 0) page = await topic.read(0, PAGE)
      if (page.epoch === epoch && page.events.length === 0 && page.gap === null) return
      const batch = new Batch(this.#store, item, this.#options.lease)
      for (let cursor; cursor !== null; ) {
        const found = await this.#store.listEventSubscriptions({ topic: topic.session_id, cursor, limit: PAGE })
        for (const subscription of found.subscriptions) await this.#handTo(subscription, page, batch)
        cursor = found.next_cursor
      }
      const value = { epoch: page.epoch, after: page.next_after }
      await batch.end({ method: 'put_value', params: { ...this.#value(name), value } })
      hasMore = page.has_more
    }
  }

  /** What a new subscription missed: all behind its start that was handed on before it was there. */
  async #replay(item, name, subscription_id) {
    const subscription = await this.#store.getEventSubscription({ subscription_id })
    if (subscription === null) return
    const topic = this.#events.topic(name)
    const handed = await this.#handedOn(name)
    const batch = new Batch(this.#store, item, this.#options.lease)
    const isOfThisLife = subscription.data.epoch === handed.epoch
    for (let after = isOfThisLife ? (subscription.start_after ?? 0) : 0; after < handed.after; ) {
      const page = await topic.read(after, PAGE)
      if (page.epoch !== handed.epoch) break
      const events = page.events.filter(({ id }) => id <= handed.after)
      await this.#handTo(subscription, { ...page, events }, batch)
      if (!page.has_more) break
      after = page.next_after
    }
    await batch.end()
  }

  /** Hands a page of a topic to one of its subscriptions. */
  async #handTo(subscription, { epoch, events, gap }, batch) {
    const { subscription_id, data, start_after } = subscription
    // It began in another life of the topic: all of this one came later.
    const start = data.epoch === epoch ? (start_after ?? 0) : 0
    if (gap !== null && start < (gap.oldest_available ?? Infinity) - 1 && this.#events.profile.hasEnvelopes) {
      const id = `msg_gap_${randomDigits()}`
      await batch.add(this.#delivery(subscription_id, id, { payload: { control: { type: 'gap' } } }), 0)
    }
    for (const event of events) {
      const { id, data: occurrence } = event
      if (id <= start || !this.#events.matches(occurrence, data)) continue
      const work_id = `${subscription_id}/${occurrence.eventId}`
      event.bytes ??= Buffer.byteLength(JSON.stringify(occurrence))
      const call = this.#delivery(subscription_id, work_id, { position: id, payload: { event: occurrence } })
      await batch.add(call, event.bytes)
    }
  }

  #delivery(subscription_id, work_id, more) {
    const params = {
      queue: this.#names.deliveries,
      work_id,
      subscription_id,
      ...(this.#options.isOrdered ? { ordered: true } : {}),
      max_attempts: DELAYS.length + 1,
      give_up_after: GIVE_UP_AFTER,
      ...more,
    }
    return { method: 'enqueue_work', params }
  }

  // --- Sending

  async #deliver(item, { signal }) {
    const { subscription, payload } = item
    if (subscription === null) return void (await this.#settle(item, 'dead'))
    const { data } = subscription
    if (this.#events.type(data.name) === undefined) {
      return void (await this.#settle(item, 'release', { delay: UNKNOWN_TYPE_DELAY }))
    }
    if (!(await this.#isAllowed(subscription))) return
    const { event, control } = payload
    const eventId = event?.eventId
    const { messageIds } = this.#options
    const { subscription_id } = subscription
    const id = event === undefined
      ? item.work_id
      : messageIds === 'delivery' ? messageId(subscription_id, eventId) : eventId
    if (signal.aborted) return
    const message = { ...(event ?? control), cursor: this.#cursor(subscription) }
    const answer = await this.#post(data.url, secretsOf(subscription), id, subscription_id, message)
    await this.#settleBy(item, answer)
    const { window } = subscription
    const failed = errorOf(answer) === null ? 0 : 1
    if (failed > 0) await this.#suspend(subscription, window.attempts + 1, window.failures + 1)
  }

  #cursor({ data, watermark, start_after }) {
    const topic = this.#events.topic(data.name)
    return topic.cursor({ epoch: data.epoch, id: Math.max(watermark ?? 0, start_after ?? 0) })
  }

  /** Ends a subscription whose owner may not have it any more: its work goes with it. */
  async #isAllowed({ subscription_id, data }) {
    try {
      await this.#events.permit(data)
      return true
    } catch (error) {
      if (!(error instanceof EventsError)) throw error
      await this.#store.deleteEventSubscription({ subscription_id, reason: 'forbidden' })
      return false
    }
  }

  async #settleBy(item, answer) {
    const error = errorOf(answer)
    if (error === null) await this.#settle(item, 'done')
    else if (REFUSED_FOR_GOOD.has(answer.status)) await this.#settle(item, 'dead', { error })
    else {
      const { delays } = this.#options
      const delay = Math.max(retryAfter(answer), jittered(delays[Math.min(item.attempt, delays.length) - 1]))
      await this.#settle(item, 'retry', { error, delay })
    }
  }

  /** Leaves an endpoint alone that hardly ever works; a refresh ends that, or its time. */
  async #suspend({ subscription_id, topic, expires_at, revision }, attempts, failures) {
    if (attempts < SUSPENDED_FROM || failures <= attempts * SUSPENDED_OVER) return
    const rest = expires_at === null ? {} : { ttl: Math.max(1, expires_at - Date.now()) }
    const call = { subscription_id, topic, active: false, if_revision: revision, ...rest }
    try {
      await this.#store.putEventSubscription(call)
    } catch (error) {
      // It was refreshed meanwhile, or is gone.
      if (!(error instanceof RequestError) || error.kind !== 'concurrent_modification') throw error
    }
  }

  // --- The end of a subscription

  async #tellEnd(item) {
    const { subscription } = item
    if (subscription === null) return void (await this.#settle(item, 'done'))
    const { data, topic, subscription_id, end_reason } = subscription
    if (this.#names.nameOf(topic) === undefined) {
      return void (await this.#settle(item, 'release', { delay: FOREIGN_DELAY }))
    }
    const error = this.#endError(end_reason, data.name)
    if (error !== null && this.#events.profile.hasEnvelopes && item.attempt <= this.#options.delays.length + 1) {
      const id = `msg_terminated_${createHash('sha256').update(item.work_id).digest('hex').slice(-32)}`
      const message = { type: 'terminated', error: error.toJSON() }
      const answer = await this.#post(data.url, secretsOf(subscription), id, subscription_id, message)
      await this.#settleBy(item, answer)
      if (errorOf(answer) !== null && !REFUSED_FOR_GOOD.has(answer.status)) return
    } else await this.#settle(item, 'done')
    const { name, principal } = data
    tell(this.#options.onEnded, { subscriptionId: subscription_id, name, principal, reason: end_reason })
  }

  #endError(reason, name) {
    const { profile } = this.#events
    if (reason === 'not_found') return profile.notFound('event', 'The type of event is not offered any more.')
    if (reason === 'forbidden') return profile.forbidden('These events are not for you any more.')
    return reason === 'unsupported' ? profile.unsupported('schema_changed', name) : null
  }
}

/**
 * What an item of work enqueues, in as many transactions as it takes. Each holds the item, or does nothing; and what was
 * enqueued before is not enqueued again, so all of it may be done twice.
 */
class Batch {
  #store
  #renewal
  #calls = []
  #bytes = 0

  constructor(store, { queue, work_id, fence }, lease) {
    this.#store = store
    this.#renewal = { method: 'renew_work', params: { queue, work_id, fence, lease }, require: true }
  }

  async add(call, bytes) {
    if (this.#calls.length >= MOST_CALLS || this.#bytes + bytes > MOST_BYTES) await this.#flush()
    this.#calls.push(call)
    this.#bytes += bytes
  }

  async end(last) {
    if (last !== undefined) this.#calls.push(last)
    if (this.#calls.length > 0) await this.#flush()
  }

  async #flush() {
    await this.#store.transaction({ calls: [this.#renewal, ...this.#calls] }, { repeatable: true })
    this.#calls = []
    this.#bytes = 0
  }
}

/** The secrets that hold now, the newest first. */
function secretsOf({ secret, previous_secret, previous_secret_until }) {
  const isHeld = typeof previous_secret === 'string' && previous_secret_until > Date.now()
  return isHeld ? [secret, previous_secret] : [secret]
}

/** What went wrong, in the words of the extension; null: nothing. */
function errorOf({ status, error }) {
  if (error !== undefined) return error
  if (status >= 200 && status <= 299) return null
  return status >= 500 ? 'http_5xx' : 'http_4xx'
}

/** Milliseconds for which an endpoint asks to be left alone, as far as it may ask for that. */
function retryAfter({ status, headers }) {
  const seconds = Number(headers?.['retry-after'])
  if (![425, 429, 503].includes(status) || !(seconds > 0)) return 0
  return Math.min(seconds * 1000, DELAYS.at(-1))
}

function jittered(delay) {
  return Math.round(delay * (1 + Math.random() / 5))
}

function challengeIn(text) {
  try {
    return JSON.parse(text)?.challenge
  } catch {
    return undefined
  }
}

function isSame(given, challenge) {
  const bytes = Buffer.from(typeof given === 'string' ? given : '')
  return bytes.length === challenge.length && timingSafeEqual(bytes, Buffer.from(challenge))
}
