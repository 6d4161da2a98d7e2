import { createHash } from 'node:crypto'
import { tell } from './callback.mjs'
import { RequestError } from './errors.mjs'
import { asJSON } from './json.mjs'
import { ownersFor } from './owners.mjs'
import { setImmediate } from './timers.mjs'
import { isUnstorable } from './unstorable.mjs'

/**
 * What a priming event is stored as: it has an id for the client to come back with, and is never replayed. The
 * contract's own SSE format leaves it out, too. The second name is that of former versions.
 */
const PRIMING = 'keepalive'
const NEVER_REPLAYED = new Set([PRIMING, 'priming', 'ping'])
const EVENT_ID = /^([0-9a-f]{16})-([1-9][0-9]{0,15})(?:-([\w-]+))?$/
/** The session is over, or another's: nothing is sent on its streams any more. */
const OVER = new Set(['session_not_found', 'session_expired', 'invalid_session_status'])
/** Events that a replay reads at once, and those that it reads first, so that something is sent soon. */
const PAGE = 1000
const FIRST_PAGE = 100
const INTERRUPTED = 'The server was restarted while it worked on this request.'
const UNSTORED = 'The answer was delivered when it was made, and could not be kept for a connection that resumes: '

/** A stream that is being replayed. */
class Replay {
  /** Ids of what is sent on the stream meanwhile: it goes out behind the replay, and so not in it. */
  held = new Set()
  /** Whether the first page has come: what is stored from then on is not in it. */
  hasBegun = false
  /** Whether somebody replays, and not only asked for the stream. */
  hasTaker = false
  #end

  constructor(streamId) {
    this.streamId = streamId
    this.over = new Promise((resolve) => (this.#end = resolve))
  }

  end() {
    this.#end()
  }
}

/**
 * The `EventStore` of the TypeScript SDK (1.x and 2.x, for MCP up to 2025-11-25) over a session of the store. One
 * object serves one transport, and so one session: what is stored for another cannot be named through it.
 */
export class EventStore {
  #store
  #session
  /** Those that were given, until it is known what the store takes. */
  #owners
  #mark
  #onError
  #requestsOf
  #failInterrupted
  /** Requests that this process works on, by their streams. */
  #unanswered = new Map()
  /** Streams that are being replayed, or are about to be. */
  #replays = new Map()

  constructor(store, { session_id, onError = () => {}, requestsOf, failInterrupted = false, ...owners }) {
    const lost = Object.keys(owners).find((name) => owners[name] === undefined)
    if (lost !== undefined) throw new TypeError(`EventStore: ${lost} is undefined. Say null, or leave it out.`)
    this.#store = store
    this.#session = { session_id, ...owners }
    this.#owners = owners
    this.#onError = onError
    this.#requestsOf = requestsOf
    this.#failInterrupted = failInterrupted
    // The ids of a session count from 1, so a bare number would name an event in every session. The mark does not
    // tell the session's id, and is the same after a restart.
    this.#mark = createHash('sha256').update(session_id).digest('hex').slice(0, 16)
  }

  /**
   * Resolves with the event's id once it is on disk. An empty message is the SDK's priming event. What cannot be stored
   * reaches whoever is connected all the same: with an id where an error could be stored in its place, for whoever
   * resumes, and without one where the store is out of reach. Rejects when the session is over.
   */
  async storeEvent(streamId, message) {
    const event_type = Object.keys(message).length === 0 ? PRIMING : 'message'
    if (event_type === PRIMING) message = this.#begin(streamId)
    else this.#noteAnswer(streamId, message)
    try {
      return await this.#append(streamId, message, event_type).catch((error) => {
        if (!(error instanceof TypeError)) throw error
        return this.#append(streamId, asJSON(message), event_type)
      })
    } catch (error) {
      if (error instanceof RequestError && OVER.has(error.kind)) throw error
      tell(this.#onError, error)
      if (!isUnstorable(error)) return undefined
      return this.#appendInItsPlace(streamId, message, error)
    }
  }

  /** What a priming event holds: the requests whose answers will come on its stream, where they are known. */
  #begin(streamId) {
    const requests = this.#requestsOf?.() ?? []
    if (requests.length === 0) return {}
    this.#unanswered.set(streamId, new Set(requests))
    return { requests }
  }

  #noteAnswer(streamId, { id, method }) {
    const unanswered = this.#unanswered.get(streamId)
    if (unanswered === undefined || method !== undefined) return
    unanswered.delete(id)
    if (unanswered.size === 0) this.#unanswered.delete(streamId)
  }

  /** Answers what another process was asked on a stream and did not answer before it ended. */
  async #answerInterrupted(stream_id) {
    const requests = new Map()
    for (let after_event_id = 0, has_more = true; has_more; ) {
      const page = await this.#store.getEventsAfter({ ...(await this.#own()), stream_id, after_event_id })
      for (const { data, event_type } of page.events) {
        if (event_type === PRIMING) for (const id of data.requests ?? []) requests.set(JSON.stringify(id), id)
        else if (data.method === undefined) requests.delete(JSON.stringify(data.id))
      }
      ;({ has_more, next_after: after_event_id } = page)
    }
    const error = { code: -32603, message: INTERRUPTED }
    for (const id of requests.values()) await this.#append(stream_id, { jsonrpc: '2.0', id, error }, 'message')
  }

  /** The session and its owners, for each call. */
  async #own() {
    if (this.#owners !== null) {
      this.#session = { ...this.#session, ...(await ownersFor(this.#store, this.#owners)) }
      this.#owners = null
    }
    return this.#session
  }

  async #append(streamId, data, event_type) {
    const call = { ...(await this.#own()), stream_id: streamId, data, event_type }
    const { id } = await this.#store.storeEvent(call)
    const replay = this.#replays.get(streamId)
    if (replay?.hasBegun) {
      replay.held.add(id)
      await replay.over
    }
    return this.toEventId(id, streamId)
  }

  /** Who resumes gets an error for an answer, so as not to wait for it for ever, and nothing for anything else. */
  async #appendInItsPlace(streamId, { id, method }, { message }) {
    const isAnswer = method === undefined && id !== undefined
    const error = { code: -32603, message: UNSTORED + message.slice(0, 200) }
    try {
      return isAnswer
        ? await this.#append(streamId, { jsonrpc: '2.0', id, error }, 'message')
        : await this.#append(streamId, {}, PRIMING)
    } catch (error) {
      if (error instanceof RequestError && OVER.has(error.kind)) throw error
      tell(this.#onError, error)
      return undefined
    }
  }

  /**
   * The stream of an event; undefined when it is none of this session's, or when something of the stream behind it is
   * not stored any more. While the stream is being replayed for another connection this waits: the transport shall see
   * then that it has one.
   */
  async getStreamIdForEventId(eventId) {
    const streamId = await this.#streamOf(eventId)
    if (streamId === undefined) return undefined
    // Taken from here on, so that of two who ask at once one waits; given back when nothing comes of it, for the
    // transport calls `replayEventsAfter` in this turn of the event loop, or refuses.
    const reserved = await this.#take(streamId)
    setImmediate(() => !reserved.hasTaker && this.#release(reserved))
    return streamId
  }

  /** Waits until nobody replays a stream, and takes it. */
  async #take(streamId) {
    for (let other; (other = this.#replays.get(streamId)) !== undefined; ) await other.over
    const replay = new Replay(streamId)
    this.#replays.set(streamId, replay)
    return replay
  }

  /** Sends what its stream got after an event, in order, and resolves with the stream's id. */
  async replayEventsAfter(lastEventId, { send }) {
    let streamId = this.#streamIn(lastEventId)
    // What `getStreamIdForEventId` has just taken for the transport that calls now.
    let replay = this.#replays.get(streamId)
    if (replay?.hasTaker) replay = undefined
    if (replay !== undefined) replay.hasTaker = true
    try {
      streamId = await this.#streamOf(lastEventId)
      if (streamId === undefined) throw new Error('The event to resume from is not known in this session.')
      replay ??= await this.#take(streamId)
      replay.hasTaker = true
      if (this.#failInterrupted && !this.#unanswered.has(streamId)) await this.#answerInterrupted(streamId)
      await this.#replay(replay, this.fromEventId(lastEventId), send)
      return streamId
    } finally {
      // The transport takes the stream up when this resolves, in this turn of the event loop. What was to be sent
      // meanwhile goes there then, and not between the replay and the stream.
      if (replay !== undefined) setImmediate(() => this.#release(replay))
    }
  }

  #release(replay) {
    if (this.#replays.get(replay.streamId) === replay) this.#replays.delete(replay.streamId)
    replay.end()
  }

  async #replay(replay, after_event_id, send) {
    let page = await this.#page(replay, after_event_id, FIRST_PAGE)
    // Until one is empty: sending takes time, in which another process may have stored more.
    while (page.events.length > 0 || page.has_more || page.gap !== null) {
      if (page.gap !== null) throw new Error('Events of the stream were evicted while it was replayed.')
      // The store reads the next page while this one is sent.
      const ahead = page.has_more ? this.#page(replay, page.next_after, PAGE) : undefined
      ahead?.catch(() => {})
      for (const { id, data, event_type } of page.events) {
        if (NEVER_REPLAYED.has(event_type) || replay.held.has(id)) continue
        await send(this.toEventId(id, replay.streamId), data)
      }
      page = await (ahead ?? this.#page(replay, page.next_after, PAGE))
    }
  }

  async #page(replay, after_event_id, limit) {
    const call = { ...(await this.#own()), stream_id: replay.streamId, after_event_id, limit }
    const page = await this.#store.getEventsAfter(call)
    // Here, and not a promise later: what is answered behind the page, in the same piece of the pipe, goes on next.
    replay.hasBegun = true
    return page
  }

  /** The id to send with an event of the session, from its id in the store and its stream. */
  toEventId(id, streamId) {
    const stream = streamId === undefined ? '' : '-' + Buffer.from(streamId).toString('base64url')
    return `${this.#mark}-${id}${stream}`
  }

  /** The id in the store, from the one that was sent; undefined when that is none of this session's. */
  fromEventId(eventId) {
    const [, mark, digits] = EVENT_ID.exec(eventId) ?? []
    const id = Number(digits)
    return mark === this.#mark && Number.isSafeInteger(id) ? id : undefined
  }

  /** The stream that an id says itself; those of former versions do not. */
  #streamIn(eventId) {
    const [, , , stream] = EVENT_ID.exec(eventId) ?? []
    if (stream === undefined || this.fromEventId(eventId) === undefined) return undefined
    const streamId = Buffer.from(stream, 'base64url').toString()
    return this.toEventId(this.fromEventId(eventId), streamId) === eventId ? streamId : undefined
  }

  async #streamOf(eventId) {
    const id = this.fromEventId(eventId)
    if (id === undefined) return undefined
    const said = this.#streamIn(eventId)
    const session = await this.#own()
    const page = await this.#store.getEventsAfter({ ...session, after_event_id: id - 1, limit: 1 })
    const [event] = page.events
    if (event?.id === id) {
      const { stream_id } = event
      return stream_id !== null && (said === undefined || said === stream_id) ? stream_id : undefined
    }
    if (said === undefined || id > page.newest_id) return undefined
    // It was evicted, which is no loss for a stream that lost nothing behind it.
    const rest = await this.#store.getEventsAfter({ ...session, stream_id: said, after_event_id: id, limit: 1 })
    return rest.gap === null ? said : undefined
  }
}
