import { tell } from './callback.mjs'
import { EventsError } from './events-profile.mjs'
import { clearInterval, clearTimeout, setInterval, setTimeout } from './timers.mjs'

const SUBSCRIPTION_ID = 'io.modelcontextprotocol/subscriptionId'
/** Until a store is asked again that could not be. */
const PAUSE = 1000

/** One `events/stream`: a request that lasts as long as somebody wants to hear. */
export class EventStream {
  #events
  #request
  #topic
  #notify
  #meta
  /** Ends all that waits here: the client's cancelling, or an end of our own. */
  #end = new AbortController()
  #error = null
  /** What is being sent, one after the other, and how much of it. */
  #sending = Promise.resolve()
  #unsent = 0
  #position = null

  constructor(events, request, ctx) {
    this.#events = events
    this.#request = request
    this.#topic = events.topic(request.name)
    // The SDK 2.x has what belongs to the request in `mcpReq`, 1.x beside everything else.
    const { mcpReq } = ctx
    if (mcpReq !== undefined) this.#notify = (notification) => mcpReq.notify(notification)
    else this.#notify = (notification) => ctx.sendNotification(notification)
    const id = mcpReq?.id ?? ctx.requestId
    this.#meta = { [SUBSCRIPTION_ID]: id }
    const signal = mcpReq?.signal ?? ctx.signal
    if (signal?.aborted) this.#end.abort()
    signal?.addEventListener('abort', () => this.#end.abort(), { once: true })
  }

  get name() {
    return this.#request.name
  }

  /** Ends it with an error, which the client is told. */
  terminate(error) {
    this.#error ??= error
    this.#end.abort()
  }

  async run() {
    const { cursor, maxAgeMs } = this.#request
    const heartbeat = setInterval(() => this.#heartbeat(), this.#events.heartbeatMs)
    try {
      const { truncated, ...position } = await this.#topic.start(cursor, maxAgeMs)
      this.#position = position
      await this.#active(truncated)
      while (!this.#end.signal.aborted) await this.#follow()
      if (this.#error !== null) await this.#send('terminated', { error: this.#error.toJSON() })
    } finally {
      clearInterval(heartbeat)
    }
  }

  async #follow() {
    let isAnew = false
    const { own } = this.#topic
    const events = this.#events.store.subscribeEvents({ ...own, after_event_id: this.#position.id }, {
      signal: this.#end.signal,
      onGap: ({ oldest_available, cursor_ahead }) => {
        isAnew ||= cursor_ahead
        if (cursor_ahead) return void events.return()
        // None is left where there is no oldest one: what comes next is told.
        if (oldest_available !== null) this.#position = { ...this.#position, id: oldest_available - 1 }
        this.#active(true).catch(() => {})
      },
    })
    try {
      for await (const { id, data } of events) {
        this.#position = { ...this.#position, id }
        if (this.#events.matches(data, this.#request)) await this.#tell(data)
      }
      if (events.ended === 'closed' && !isAnew) return this.#end.abort()
    } catch (error) {
      if (this.#end.signal.aborted) return
      const isGone = error.kind === 'session_not_found' || error.kind === 'session_expired'
      if (error.reason === 'closed') throw error
      if (!isGone) return this.#pause(error)
    } finally {
      await events.return()
    }
    if (this.#end.signal.aborted) return
    // The topic was deleted: what comes next is of another life of it.
    const { epoch } = await this.#topic.newest()
    this.#position = { epoch, id: 0 }
    await this.#active(true)
  }

  async #tell(occurrence) {
    const { _meta, ...event } = occurrence
    await this.#send('event', { ...event, cursor: this.#cursor() }, _meta)
  }

  #active(truncated) {
    return this.#send('active', { cursor: this.#cursor(), truncated })
  }

  /** Says that it is alive, and how far it is; where nothing is taken it says nothing. */
  #heartbeat() {
    if (this.#position === null || this.#unsent > 0) return
    this.#send('heartbeat', { cursor: this.#cursor() }).catch(() => {})
    this.#events.permit(this.#request).catch((error) => {
      if (error instanceof EventsError) this.terminate(error)
    })
  }

  async #pause(error) {
    tell(this.#events.onError, error)
    await this.#send('error', { error: { code: -32603, message: 'Events cannot be read for now.' } })
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, PAUSE)
      this.#end.signal.addEventListener('abort', () => resolve(clearTimeout(timer)), { once: true })
    })
  }

  #cursor() {
    return this.#topic.cursor(this.#position)
  }

  /** In the order of the calls; resolves when it is sent, which holds a reader of the store up as long. */
  #send(kind, params, _meta = {}) {
    this.#unsent += 1
    const notification = {
      method: `notifications/events/${kind}`,
      params: { ...params, _meta: { ..._meta, ...this.#meta } },
    }
    const sent = this.#sending.then(() => this.#notify(notification)).finally(() => (this.#unsent -= 1))
    this.#sending = sent.catch(() => {})
    return sent
  }
}
