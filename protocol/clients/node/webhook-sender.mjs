import { createHash, timingSafeEqual } from 'node:crypto'
import { tell } from './callback.mjs'
import { digest } from './canonical-json.mjs'
import { RequestError } from './errors.mjs'
import { cursorOf, messageId, NOBODY, randomDigits, receiverKey } from './event-names.mjs'
import { EventsError } from './events-profile.mjs'
import { keyOf, signedHeaders } from './signature.mjs'
import { clearInterval, setInterval } from './timers.mjs'
import { post, refusalOf } from './webhook-post.mjs'
import { WorkLoop } from './work-loop.mjs'

const DAY = 86_400_000
/** After each attempt that failed, up to a fifth longer; after one more it is dead. */
const DELAYS = [5000, 30_000, 120_000, 480_000]
/** An endpoint that never works is left alone: of so many attempts more than this part failed. */
const SUSPENDED_FROM = 100
const SUSPENDED_OVER = 0.95
/** A host that is asked to prove itself ever again is that of somebody who never asked for it. */
const CHALLENGES = { limit: 30, window: 60_000 }
/** What another sender may know more of is left for it. */
const UNKNOWN_TYPE_DELAY = 5000
/** How often it is looked for subscriptions without an end whose endpoints are gone. */
const LOOK_FOR_DEAD = 600_000
/** Until what failed here, and not at an endpoint, is tried again. */
const FAULT_DELAY = 5000
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
  #looking

  constructor(events, options = {}) {
    this.#events = events
    this.#store = events.store
    this.#names = events.names
    this.#options = {
      worker: `node ${process.pid}`,
      concurrency: 32,
      perSubscription: 4,
      lease: 30_000,
      timeout: 5000,
      delays: DELAYS,
      giveUpAfter: 900_000,
      ordered: false,
      messageIds: 'event',
      gone: 'keep',
      cursors: true,
      endlessFailingMs: 3 * DAY,
      anonymous: false,
      ttlMs: DAY,
      shortestTtlMs: 300_000,
      longestTtlMs: 7 * DAY,
      endless: false,
      verifiedMs: DAY,
      secretGraceMs: 300_000,
      trusts: () => false,
      maxSubscriptions: 1000,
      insecure: false,
      onEnded: () => {},
      onError: () => {},
      ...options,
    }
    for (const [name, words] of [['messageIds', ['event', 'delivery']], ['gone', ['keep', 'end']]]) {
      if (!words.includes(this.#options[name])) throw new RangeError(`${name}: '${words.join("' or '")}'.`)
    }
    const { shortestTtlMs, ttlMs, longestTtlMs } = this.#options
    if (!(shortestTtlMs > 0 && shortestTtlMs <= ttlMs && ttlMs <= longestTtlMs)) {
      throw new RangeError('shortestTtlMs, ttlMs and longestTtlMs: milliseconds, more than 0, in this order.')
    }
    events.attach(this)
  }

  /** Begins to send: until then this only takes subscriptions. */
  start() {
    if (this.#loops.length > 0) return
    const { worker, concurrency, lease, perSubscription: per_group } = this.#options
    const onError = (error) => this.#failed(error)
    const loop = (queue, work, more) => {
      const options = { queue, worker, lease, settles: false, onError, ...more }
      const loop = new WorkLoop(this.#store, { ...options, work: (item, context) => this.#guard(work, item, context) })
      loop.start()
      return loop
    }
    const hasTypes = this.#events.typeNames.length > 0
    const handOn = (item) => this.#handOn(item)
    const deliver = (item, context) => this.#deliver(item, context)
    const include_subscription = true
    this.#loops = [
      // Who knows no type has nothing to hand on, and would hold up those who do.
      ...(hasTypes ? [loop(this.#names.fanout, handOn, { per_group: 1, concurrency: 4 })] : []),
      loop(this.#names.deliveries, deliver, { include_subscription, per_group, concurrency }),
      loop(this.#names.ended, (item) => this.#tellEnd(item), { include_subscription, per_group, concurrency: 4 }),
    ]
    const look = () => this.#endDead().catch(onError)
    this.#looking = setInterval(look, LOOK_FOR_DEAD)
    void look()
  }

  /** Claims nothing more; what is being sent is finished, for so many milliseconds. */
  async stop(options) {
    clearInterval(this.#looking)
    await Promise.all(this.#loops.map((loop) => loop.stop(options)))
    this.#loops = []
  }

  /** What a defect here, or a store that is out of reach, leaves to another try. */
  async #guard(work, item, context) {
    try {
      await work(item, context)
    } catch (error) {
      this.#failed(error)
      await this.#settle(item, 'release', { delay: FAULT_DELAY })
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
    const { mode, url, secret } = params.delivery ?? {}
    if (mode !== 'webhook') throw profile.invalidParams("delivery: an object whose mode is 'webhook'.")
    const refusal = refusalOf(url, this.#options)
    if (refusal !== null) throw profile.invalidParams(`delivery.url: ${refusal}.`)
    if (keyOf(secret) === null) {
      throw profile.invalidParams('delivery.secret: whsec_ and the base64 of 24 to 64 bytes.')
    }
    const ttl = this.#ttl(params)
    const subscription_id = this.#names.subscriptionId(principal, url, name, args)
    const found = await this.#store.getEventSubscription({ subscription_id, principal })
    if (found === null) await this.#checkQuota(principal)
    await this.#verify({ principal, url, secret, subscription_id })
    const topic = this.#events.topic(name)
    const { epoch, id, truncated } = await topic.start(request.cursor, request.maxAgeMs)
    const data = found === null ? { data: { principal, url, name, arguments: args, epoch } } : {}
    const put = {
      subscription_id,
      principal,
      topic: topic.session_id,
      secret,
      secret_grace: this.#options.secretGraceMs,
      start_after: id,
      active: true,
      ttl: ttl ?? 0,
      ended_queue: this.#names.ended,
      ...data,
    }
    const calls = [{ method: 'put_event_subscription', params: put }, this.#remembering(principal, url, ttl)]
    if (found === null) {
      const replay = this.#events.fanOut(name, `replay/${randomDigits()}`, { replay: subscription_id })
      calls.push({ method: 'enqueue_work', params: replay })
    }
    const { results: [{ subscription, created }] } = await this.#refusing(() => this.#store.transaction({ calls }))
    // It lapsed in this moment, with its data: the same once more, as new.
    if (created && found !== null) return this.subscribe(params, ctx)
    if (found === null) return this.#answer(subscription, topic.cursor({ epoch, id }), truncated)
    return this.#answer(subscription, topic.cursor(await this.#position(subscription)), false, found)
  }

  /** Milliseconds; null: for good. */
  #ttl({ ttlMs: wish = this.#options.ttlMs }) {
    const { endless, shortestTtlMs, longestTtlMs } = this.#options
    if (wish === null) return endless ? null : longestTtlMs
    if (typeof wish !== 'number' || !(wish > 0)) {
      throw this.#events.profile.invalidParams('ttlMs: milliseconds, more than 0, or null.')
    }
    return Math.floor(Math.min(longestTtlMs, Math.max(shortestTtlMs, wish)))
  }

  async #checkQuota(principal) {
    const { maxSubscriptions } = this.#options
    let count = 0
    for (let cursor; cursor !== null && maxSubscriptions > 0; ) {
      const page = await this.#store.listEventSubscriptions({ principal, cursor, limit: 1000 })
      const isOwn = (each) => each.principal === principal && this.#names.nameOf(each.topic) !== undefined
      count += page.subscriptions.filter(isOwn).length
      if (count >= maxSubscriptions) throw this.#events.profile.resourceExhausted('subscriptions', maxSubscriptions)
      cursor = page.next_cursor
    }
  }

  /** In the words of the extension: a store that is full. */
  async #refusing(action) {
    try {
      return await action()
    } catch (error) {
      const isFull = error instanceof RequestError &&
        /^max_(principal_)?(event_subscriptions|work)_reached$/.test(error.kind)
      throw isFull ? this.#events.profile.resourceExhausted('subscriptions', error.data.limit) : error
    }
  }

  /** Up to where a subscription has been told everything, or nobody is left to tell. */
  async #position(subscription) {
    const { subscription_id, data } = subscription
    const position = positionOf(subscription)
    // First how far it was handed on: what was is open, or settled, by then.
    const { epoch, after } = await this.#handedOn(data.name)
    if (epoch !== position.epoch || after <= position.id) return position
    const queue = this.#names.deliveries
    for (const status of ['waiting', 'leased']) {
      const { work } = await this.#store.listWork({ queue, subscription_id, status, limit: 1 })
      if (work.length > 0) return position
    }
    return { epoch, id: after }
  }

  #answer(record, cursor, truncated, before = null) {
    const { subscription_id, expires_at } = record
    const moment = (time) => (time === null || time === undefined ? null : new Date(time).toISOString())
    return {
      resultType: 'complete',
      id: subscription_id,
      refreshBefore: moment(expires_at),
      cursor: this.#options.cursors ? cursor : null,
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
    this.#tellEnded({ subscription_id, data: { name, principal } }, 'unsubscribed')
    return { resultType: 'complete' }
  }

  /**
   * Ends subscriptions of a type, those of one principal where one is named, and says so to who subscribed:
   * `not_found`, the type is gone; `unsupported`, its schema is another; `forbidden`. Resolves with their number.
   */
  async endAll(name, { reason = 'not_found', principal } = {}) {
    const owner = principal === undefined ? {} : { principal }
    let count = 0
    for await (const { subscription_id, ...record } of this.#subscriptionsOf(name, owner)) {
      if (principal !== undefined && record.principal !== principal) continue
      const { deleted } = await this.#store.deleteEventSubscription({ subscription_id, reason })
      count += deleted ? 1 : 0
    }
    return count
  }

  // --- Receivers

  /** Lets an endpoint prove that it wants to hear, unless it did lately. */
  async #verify({ principal, url, secret, subscription_id }) {
    if (await this.#options.trusts(url)) return
    const { exists } = await this.#store.getValue(this.#receiver(principal, url))
    if (!exists) await this.#challenge({ url, secret, subscription_id })
  }

  #receiver(principal, url) {
    return { principal, collection: this.#names.verified, key: receiverKey(principal, url) }
  }

  /** It is trusted as long as what it was asked for, at least. */
  #remembering(principal, url, ttl) {
    const { verifiedMs } = this.#options
    const value = { verified_at: Date.now() }
    const lifetime = ttl === null ? {} : { ttl: Math.max(ttl, verifiedMs) }
    return { method: 'put_value', params: { ...this.#receiver(principal, url), value, ...lifetime } }
  }

  async #challenge({ url, secret, subscription_id }) {
    const { profile } = this.#events
    const { hostname } = new URL(url)
    const key = `${this.#names.namespace}/challenges/${hostname}`
    const { allowed } = await this.#store.checkRateLimit({ key, ...CHALLENGES })
    if (!allowed) throw profile.resourceExhausted('challenges', CHALLENGES.limit)
    const challenge = randomDigits() + randomDigits()
    const id = `msg_verification_${randomDigits()}`
    const message = { type: 'verification', challenge }
    const { status, text, error } = await this.#post(url, [secret], id, subscription_id, message, { read: true })
    if (error !== undefined) throw profile.callbackEndpoint(error)
    if (status < 200 || status > 299 || !isSame(challengeIn(text), challenge)) {
      throw profile.callbackEndpoint('challenge_failed')
    }
  }

  #post(url, secrets, id, subscriptionId, message, more = {}) {
    const body = JSON.stringify(message)
    const timestamp = Math.floor(Date.now() / 1000)
    const headers = { ...signedHeaders(secrets, { id, timestamp, body }), 'x-mcp-subscription-id': subscriptionId }
    return post(url, { ...this.#options, ...more, headers, body })
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
      for await (const subscription of this.#subscriptionsOf(name)) await this.#handTo(subscription, page, batch)
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
  async #handTo(subscription, { epoch, events, gap, next_after }, batch) {
    const { subscription_id, data, start_after } = subscription
    // It began in another life of the topic: all of this one came later.
    const start = data.epoch === epoch ? (start_after ?? 0) : 0
    const isMissed = gap !== null && start < (gap.oldest_available ?? Infinity) - 1
    if (isMissed && this.#events.profile.hasEnvelopes) {
      const id = 'msg_gap_' + digest([subscription_id, epoch, next_after]).slice(0, 32)
      await batch.add(this.#delivery(subscription_id, id, { payload: { control: { type: 'gap' }, epoch } }), 0)
    }
    for (const event of events) {
      const { id, data: occurrence } = event
      if (id <= start || !this.#events.matches(occurrence, data)) continue
      const work_id = `${subscription_id}/${occurrence.eventId}`
      event.bytes ??= Buffer.byteLength(JSON.stringify(occurrence))
      const payload = { event: occurrence, epoch }
      const call = this.#delivery(subscription_id, work_id, { position: id, payload })
      await batch.add(call, event.bytes)
    }
  }

  #delivery(subscription_id, work_id, more) {
    const { delays, giveUpAfter, ordered } = this.#options
    const params = {
      queue: this.#names.deliveries,
      work_id,
      subscription_id,
      ...(ordered ? { ordered } : {}),
      max_attempts: delays.length + 1,
      give_up_after: giveUpAfter,
      ...more,
    }
    return { method: 'enqueue_work', params }
  }

  // --- Sending

  async #deliver(item, { signal }) {
    const { subscription, payload } = item
    // It has ended, and its work with it.
    if (subscription === null) return void (await this.#settle(item, 'dead'))
    if (!(await this.#isAllowed(subscription)) || signal.aborted) return
    const { subscription_id, topic, data } = subscription
    const { event, control, epoch } = payload
    const id = event === undefined
      ? item.work_id
      : this.#options.messageIds === 'delivery' ? messageId(subscription_id, event.eventId) : event.eventId
    const position = positionOf(subscription)
    const cursor = this.#options.cursors && position.epoch === epoch ? cursorOf(topic, position) : null
    const answer = await this.#post(data.url, secretsOf(subscription), id, subscription_id, {
      ...(event ?? control),
      cursor,
    })
    await this.#settleBy(item, answer)
    if (answer.status === 410 && this.#options.gone === 'end') {
      await this.#store.deleteEventSubscription({ subscription_id, reason: 'gone', announce: false })
    } else if (errorOf(answer) !== null && !REFUSED_FOR_GOOD.has(answer.status)) await this.#suspend(subscription)
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
    else if (REFUSED_FOR_GOOD.has(answer.status) || item.attempt > this.#options.delays.length) {
      await this.#settle(item, 'dead', { error })
    } else {
      const delay = Math.max(retryAfter(answer), jittered(this.#options.delays[item.attempt - 1]))
      await this.#settle(item, 'retry', { error, delay })
    }
  }

  /** Leaves an endpoint alone that hardly ever works; a refresh ends that, or its time. */
  async #suspend({ subscription_id, expires_at: granted }) {
    // As it is now, for many may have failed at once. What was sent before a refresh says nothing of the time after it.
    const found = await this.#store.getEventSubscription({ subscription_id })
    if (found === null || !found.active || found.window === null || found.expires_at !== granted) return
    const { window: { attempts, failures }, topic, principal, revision } = found
    if (attempts < SUSPENDED_FROM || failures <= attempts * SUSPENDED_OVER) return
    try {
      const call = { subscription_id, topic, principal, active: false, if_revision: revision }
      await this.#store.putEventSubscription(call)
    } catch (error) {
      // It was refreshed meanwhile: it is to go on.
      if (!(error instanceof RequestError) || error.kind !== 'concurrent_modification') throw error
    }
  }

  /** A subscription without an end ends where its endpoint has failed for days: nobody is there any more. */
  async #endDead() {
    const isDead = ({ expires_at, failed_since }) => {
      return expires_at === null && failed_since !== null && failed_since <= Date.now() - this.#options.endlessFailingMs
    }
    for (const name of this.#events.typeNames) {
      for await (const found of this.#subscriptionsOf(name)) {
        const { subscription_id } = found
        if (isDead(found)) await this.#store.deleteEventSubscription({ subscription_id, reason: 'failed' })
      }
    }
  }

  /** All subscriptions of a type, whosever they are, without their secrets. */
  async *#subscriptionsOf(name, owner = {}) {
    const topic = this.#names.topic(name)
    for (let cursor; cursor !== null; ) {
      const page = await this.#store.listEventSubscriptions({ ...owner, topic, cursor, limit: PAGE })
      yield* page.subscriptions
      cursor = page.next_cursor
    }
  }

  // --- The end of a subscription

  async #tellEnd(item) {
    const { subscription } = item
    if (subscription === null) return void (await this.#settle(item, 'done'))
    const { data, subscription_id, end_reason } = subscription
    if (item.attempt === 1) this.#tellEnded(subscription, end_reason)
    const error = this.#endError(end_reason, data.name)
    if (error === null || !this.#events.profile.hasEnvelopes) return void (await this.#settle(item, 'done'))
    const id = `msg_terminated_${createHash('sha256').update(item.work_id).digest('hex').slice(-32)}`
    const message = { type: 'terminated', error: error.toJSON() }
    await this.#settleBy(item, await this.#post(data.url, secretsOf(subscription), id, subscription_id, message))
  }

  #tellEnded({ subscription_id: subscriptionId, data: { name, principal } }, reason) {
    tell(this.#options.onEnded, { subscriptionId, name, principal, reason }, (error) => this.#failed(error))
  }

  #endError(reason, name) {
    const { profile } = this.#events
    if (reason === 'not_found') return profile.notFound('event', 'The type of event is not offered any more.')
    if (reason === 'forbidden') return profile.forbidden('These events are not for you any more.')
    if (reason === 'failed') return profile.notFound('subscription', 'The endpoint has failed for too long.')
    return reason === 'unsupported' ? profile.unsupported('schema_changed', name) : null
  }
}

/**
 * What an item of work enqueues, in as many transactions as it takes. Each holds the item, or does nothing; what was
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

/** Up to where all of a subscription is settled. */
function positionOf({ data: { epoch }, watermark, start_after }) {
  return { epoch, id: Math.max(watermark ?? 0, start_after ?? 0) }
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
