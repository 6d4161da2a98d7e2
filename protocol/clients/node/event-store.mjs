import { createHash } from 'node:crypto'

/** What a priming event is stored as: it has an id for the client to come back with, and is never replayed. */
const PRIMING = 'priming'

/**
 * The `EventStore` of the TypeScript SDK (1.x and 2.x, for MCP up to 2025-11-25) over a session of the store. One
 * object serves one transport, and so one session: what is stored for another cannot be named through it.
 */
export class EventStore {
  #store
  #session
  #mark
  #onError
  /** Streams that are being replayed: what is sent on them meanwhile waits. */
  #replays = new Map()

  constructor(store, { session_id, onError, ...owners }) {
    this.#store = store
    this.#session = { session_id, ...owners }
    this.#onError = onError
    // The ids of a session count from 1, so a bare number would name an event in every session. The mark does not
    // tell the session's id, and is the same after a restart.
    this.#mark = createHash('sha256').update(session_id).digest('hex').slice(0, 16)
  }

  /** Resolves with the event's id once it is on disk. An empty message is the SDK's priming event. */
  async storeEvent(streamId, message) {
    while (this.#replays.has(streamId)) await this.#replays.get(streamId)
    const isPriming = Object.keys(message).length === 0
    const event_type = isPriming ? PRIMING : 'message'
    try {
      const stored = { ...this.#session, stream_id: streamId, data: message, event_type }
      const { id } = await this.#store.storeEvent(stored)
      return this.toEventId(id)
    } catch (error) {
      if (this.#onError === undefined) throw error
      // Sent without an id: it arrives, but cannot be resumed from.
      this.#onError(error)
      return undefined
    }
  }

  /** The stream of an event; undefined when it is none of this session's, or is not stored any more. */
  async getStreamIdForEventId(eventId) {
    return (await this.#find(eventId))?.stream_id ?? undefined
  }

  /** Sends what its stream got after an event, in order, and resolves with the stream's id. */
  async replayEventsAfter(lastEventId, { send }) {
    const last = await this.#find(lastEventId)
    if (last === undefined) throw new Error('The event to resume from is not known in this session.')
    const streamId = last.stream_id
    let finish
    this.#replays.set(streamId, new Promise((resolve) => (finish = resolve)))
    try {
      await this.#replay(streamId, last.id, send)
    } finally {
      // The transport takes the stream up when this resolves, in this turn of the event loop. What was to be sent
      // meanwhile goes there then, and not between the replay and the stream.
      setImmediate(() => {
        this.#replays.delete(streamId)
        finish()
      })
    }
    return streamId
  }

  async #replay(stream_id, after_event_id, send) {
    for (let isAtEnd = false; !isAtEnd; ) {
      const page = await this.#store.getEventsAfter({ ...this.#session, stream_id, after_event_id })
      if (page.gap !== null) throw new Error('Events of the stream were evicted while it was replayed.')
      for (const { id, data, event_type } of page.events) {
        if (event_type !== PRIMING) await send(this.toEventId(id), data)
      }
      after_event_id = page.next_after
      // Sending takes time, in which another process may have stored more.
      isAtEnd = page.events.length === 0 && !page.has_more
    }
  }

  /** The id to send with an event of the session, from its id in the store. */
  toEventId(id) {
    return `${this.#mark}-${id}`
  }

  /** The id in the store, from the one that was sent; undefined when that is none of this session's. */
  fromEventId(eventId) {
    const [, mark, digits] = /^([0-9a-f]{16})-([1-9][0-9]{0,15})$/.exec(eventId) ?? []
    const id = Number(digits)
    return mark === this.#mark && Number.isSafeInteger(id) ? id : undefined
  }

  async #find(eventId) {
    const id = this.fromEventId(eventId)
    if (id === undefined) return undefined
    const { events } = await this.#store.getEventsAfter({ ...this.#session, after_event_id: id - 1, limit: 1 })
    return events[0]?.id === id ? events[0] : undefined
  }
}
