import { tell } from './callback.mjs'
import { canonical } from './canonical-json.mjs'
import { RequestError } from './errors.mjs'
import { checkedEventId, checkedName, EventNames, newEventId, NOBODY } from './event-names.mjs'
import { EventsError, EventsProfile } from './events-profile.mjs'
import { EventStream } from './event-stream.mjs'
import { Topic } from './topic.mjs'

export { EventsError } from './events-profile.mjs'

export const EXTENSION = 'io.modelcontextprotocol/events'
const MODES = ['poll', 'push', 'webhook']
const DAY = 86_400_000
/** Bytes of one occurrence, as a body. */
const LONGEST_OCCURRENCE = 262_144
const MOST_EVENTS = 1000
/** Pages that one poll looks through for events that match. */
const MOST_PAGES = 10

/**
 * The events extension of MCP over the store: `events/list`, `events/poll` and `events/stream`, with cursors that
 * outlive restarts, and publishing. All servers on a store serve what any of them publishes.
 */
export class EventsExtension {
  #types = new Map()
  #topics = new Map()
  #streams = new Set()
  #principalOf
  #sender = null
  #bus

  constructor(store, options = {}) {
    const {
      types = [],
      namespace,
      profile,
      principalOf = ({ http, authInfo } = {}) => (http?.authInfo ?? authInfo)?.clientId ?? null,
      bus = null,
      nextPollMs = 5000,
      maxEvents = 100,
      heartbeatMs = 15_000,
      onError = () => {},
    } = options
    this.store = store
    this.names = new EventNames(namespace)
    this.profile = new EventsProfile(profile)
    this.nextPollMs = nextPollMs
    this.maxEvents = maxEvents
    this.heartbeatMs = heartbeatMs
    this.onError = onError
    this.#principalOf = principalOf
    this.#bus = bus
    for (const type of types) this.#add(type)
  }

  /** What the server declares; in both places, for the clients of both worlds. */
  get capabilities() {
    const settings = { listChanged: true }
    return { events: settings, extensions: { [EXTENSION]: settings } }
  }

  /** The methods and who answers them: `(params, ctx) => result`, as the SDKs call a request handler. */
  get handlers() {
    const sender = this.#sender
    return {
      'events/list': (params, ctx) => this.list(params, ctx),
      'events/poll': (params, ctx) => this.poll(params, ctx),
      'events/stream': (params, ctx) => this.stream(params, ctx),
      ...(sender === null ? {} : {
        'events/subscribe': (params, ctx) => sender.subscribe(params, ctx),
        'events/unsubscribe': (params, ctx) => sender.unsubscribe(params, ctx),
      }),
    }
  }

  /** Who looks after webhooks; they make themselves known. */
  attach(sender) {
    this.#sender = sender
  }

  /** Who makes a request; null: nobody is authenticated. */
  principalOf(ctx) {
    return this.#principalOf(ctx) ?? null
  }

  // --- Types

  /** Adds a type of event, or replaces the one of its name by one that only adds to it. */
  define(type) {
    this.#add(type)
    this.#bus?.publish({ kind: 'events_list_changed' })
  }

  /** Takes a type away, here: its streams end. A sender ends the subscriptions: `WebhookSender.endAll`. */
  withdraw(name) {
    if (!this.#types.delete(name)) return
    for (const stream of this.#streams) if (stream.name === name) stream.terminate(this.#noType())
    this.#bus?.publish({ kind: 'events_list_changed' })
  }

  #add({ delivery = ['poll', 'push'], ...type }) {
    checkedName(type.name)
    const isSubset = Array.isArray(delivery) && delivery.length > 0 && delivery.every((mode) => MODES.includes(mode))
    if (!isSubset) throw new RangeError(`delivery of ${type.name}: some of poll, push and webhook.`)
    this.#types.set(type.name, { ...type, delivery })
  }

  /** The names of those that are offered here. */
  get typeNames() {
    return [...this.#types.keys()]
  }

  /** A type that was defined here; undefined when there is none of the name. */
  type(name) {
    return this.#types.get(name)
  }

  #noType() {
    return this.profile.notFound('event', 'There is no such type of event.')
  }

  /** Whether an occurrence is for who subscribed with these arguments. */
  matches(occurrence, { name, arguments: args, principal }) {
    const { matches = equals } = this.#types.get(name) ?? {}
    try {
      return matches(args, occurrence.data, principal)
    } catch (error) {
      // One that cannot be told must not hold up all behind it.
      tell(this.onError, error)
      return false
    }
  }

  // --- Publishing

  /** The topic of a type, whether it is defined here or not. */
  topic(name) {
    let topic = this.#topics.get(name)
    if (topic === undefined) {
      topic = new Topic(this.store, this.names.topic(checkedName(name)))
      this.#topics.set(name, topic)
    }
    return topic
  }

  /**
   * Everybody who follows the type gets it, once it is on disk. With an `eventId` of your own, which should be that of
   * where it comes from, it is published once in a day, however often this is called: `isDuplicate` says so.
   */
  async publish(name, data, options = {}) {
    const { eventId, calls } = this.calls(name, data, options)
    const isSafe = options.eventId !== undefined
    const store = () => this.topic(name).with(() => this.store.transaction({ calls }, { repeatable: isSafe }))
    try {
      await store()
    } catch (error) {
      if (isSafe && error instanceof RequestError && error.kind === 'requirement_failed') {
        return { eventId, isDuplicate: true }
      }
      if (isSafe || error.outcome !== 'unknown') throw error
      // The answer is lost with its process, and the event may be there.
      if (!(await this.#isThere(name, eventId))) await store()
    }
    return { eventId, isDuplicate: false }
  }

  async #isThere(name, eventId) {
    const { events } = await this.store.getRecentEvents({ ...this.topic(name).own, limit: MOST_EVENTS })
    return events.some(({ data }) => data.eventId === eventId)
  }

  /**
   * The calls that publish, to put into a transaction of your own: then it is published if that is done. The topic must
   * be there: `await events.topic(name).make()`.
   */
  calls(name, data, options = {}) {
    const { eventId = newEventId(), timestamp = Date.now(), _meta } = options
    const type = this.#types.get(name)
    if (type === undefined) throw new RangeError(`There is no type of event named ${String(name)}.`)
    if (typeof data !== 'object' || data === null || Array.isArray(data)) throw new TypeError('data: an object.')
    const time = new Date(timestamp).toISOString()
    const occurrence = { eventId: checkedEventId(eventId), name, timestamp: time, data, ...(_meta ? { _meta } : {}) }
    if (Buffer.byteLength(JSON.stringify(occurrence)) > LONGEST_OCCURRENCE) {
      throw new RangeError(`An occurrence has at most ${LONGEST_OCCURRENCE} bytes: send where the rest is to be found.`)
    }
    const calls = []
    if (options.eventId !== undefined) {
      const params = { nonce: this.names.nonce(name, eventId), ttl: DAY, principal: null }
      calls.push({ method: 'consume_nonce', params, require: true })
    }
    const { own } = this.topic(name)
    calls.push({ method: 'store_event', params: { ...own, event_type: name, data: occurrence } })
    if (type.delivery.includes('webhook')) calls.push({ method: 'enqueue_work', params: this.fanOut(name, eventId) })
    return { eventId, calls }
  }

  /** The parameters of `enqueue_work` for what is to be handed to subscriptions of a type. */
  fanOut(name, id, more = {}) {
    const payload = { name, ...more }
    return { ...NOBODY, queue: this.names.fanout, group: name, ordered: true, work_id: `${name}/${id}`, payload }
  }

  /** Where a type stands now, as a cursor: from there on a client misses nothing. */
  async cursor(name) {
    const topic = this.topic(name)
    return topic.cursor(await topic.newest())
  }

  // --- What clients ask

  async list() {
    const events = [...this.#types.values()].flatMap((type) => {
      const { name, description = name, inputSchema, payloadSchema, _meta } = type
      const delivery = type.delivery.filter((mode) => this.#has(mode))
      if (delivery.length === 0) return []
      return {
        name,
        description,
        delivery,
        inputSchema: inputSchema ?? { type: 'object' },
        payloadSchema: payloadSchema ?? { type: 'object' },
        ...(_meta === undefined ? {} : { _meta }),
      }
    })
    return { resultType: 'complete', events }
  }

  /** Webhooks are there when somebody looks after them. */
  #has(mode) {
    return mode !== 'webhook' || this.#sender !== null
  }

  async poll(params, ctx) {
    const request = await this.request('poll', params, ctx)
    const most = this.#positive(params, 'maxEvents') ?? this.maxEvents
    const page = await this.#read(request, Math.min(most, MOST_EVENTS))
    return { resultType: 'complete', ...page }
  }

  /** What a type has behind a cursor for who asks, as far as one answer goes. */
  async #read(request, most) {
    const topic = this.topic(request.name)
    const { cursor, maxAgeMs } = request
    const begin = await topic.start(cursor, maxAgeMs)
    let { epoch, id, truncated } = begin
    const events = []
    let hasMore = cursor !== null
    for (let pages = 0; hasMore && events.length === 0 && pages < MOST_PAGES; pages++) {
      const page = await topic.read(id, most)
      if (page.epoch !== epoch) return { ...(await this.#from(topic, page)), nextPollMs: this.nextPollMs }
      // Of what `start` found to be gone it has told; this was evicted since.
      truncated ||= page.gap !== null
      for (const { data } of page.events) {
        if (this.matches(data, request)) events.push(data)
      }
      hasMore = page.has_more
      id = page.next_after
    }
    return { events, cursor: topic.cursor({ epoch, id }), truncated, hasMore, nextPollMs: this.nextPollMs }
  }

  /** The topic was deleted and made anew meanwhile: the next poll begins with all that it has. */
  async #from(topic, { epoch }) {
    return { events: [], cursor: topic.cursor({ epoch, id: 0 }), truncated: true, hasMore: true }
  }

  /**
   * A type of event as a source, `(params, cursor, ctx) => {events, cursor, truncated, hasMore, nextPollMs}`: for a
   * server of the SDK that serves the extension itself. The store keeps what was published, and the cursors.
   */
  source(name) {
    return async (params, cursor, ctx) => {
      const request = { name, arguments: params ?? {}, cursor: cursor ?? null, principal: this.principalOf(ctx) }
      return this.#read(request, this.maxEvents)
    }
  }

  /** Tells what comes until the request is cancelled, or the type or the permission is gone. */
  async stream(params, ctx = {}) {
    const request = await this.request('push', params, ctx)
    const stream = new EventStream(this, request, ctx)
    this.#streams.add(stream)
    try {
      await stream.run()
    } finally {
      this.#streams.delete(stream)
    }
    return { resultType: 'complete' }
  }

  /** What a request is about: `{name, arguments, cursor, maxAgeMs, principal}`. Throws what it is to be answered. */
  async request(mode, params, ctx) {
    const { name, arguments: args = {}, cursor = null } = params ?? {}
    if (typeof name !== 'string') throw this.profile.invalidParams('name: the name of a type of event.')
    if (typeof args !== 'object' || args === null || Array.isArray(args)) {
      throw this.profile.invalidParams('arguments: an object.')
    }
    if (cursor !== null && typeof cursor !== 'string') throw this.profile.invalidParams('cursor: a string or null.')
    const maxAgeMs = this.#positive(params, 'maxAgeMs', 0)
    const type = this.#types.get(name)
    if (type === undefined) throw this.#noType()
    if (!type.delivery.includes(mode) || !this.#has(mode)) throw this.profile.unsupported('delivery', mode)
    try {
      await type.validate?.(args)
    } catch (error) {
      throw error instanceof EventsError ? error : this.profile.invalidParams(`arguments: ${error.message}`)
    }
    const request = { name, arguments: args, cursor, maxAgeMs, principal: this.principalOf(ctx) }
    await this.permit(request)
    return request
  }

  /** Throws Forbidden when who asks may not, or may not any more. */
  async permit({ principal, name, arguments: args }) {
    const { allows = () => true } = this.#types.get(name) ?? {}
    if (!(await allows(principal, args))) throw this.profile.forbidden()
  }

  #positive(params, name, least = 1) {
    const value = params?.[name] ?? undefined
    if (value === undefined || (Number.isSafeInteger(value) && value >= least)) return value
    throw this.profile.invalidParams(`${name}: an integer of at least ${least}.`)
  }
}

/** Each argument equals the member of its name in the occurrence's data. */
function equals(args, data) {
  return Object.entries(args).every(([name, value]) => {
    return Object.hasOwn(data, name) && canonical(data[name]) === canonical(value)
  })
}
