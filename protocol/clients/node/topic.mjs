import { RequestError } from './errors.mjs'
import { cursorOf, NOBODY, positionOf } from './event-names.mjs'

/** It is over, or was never made: the next publisher makes it anew, with another epoch. */
const GONE = new Set(['session_not_found', 'session_expired'])

/** A session without deadlines as a topic: its events are what was published, its `created_at` is their epoch. */
export class Topic {
  #store
  #isMade = null

  constructor(store, sessionId) {
    this.#store = store
    this.session_id = sessionId
    /** The session and its owners, for each call. */
    this.own = { ...NOBODY, session_id: sessionId }
  }

  /** Makes it, when it is not there. */
  async make() {
    this.#isMade ??= this.#make()
    try {
      await this.#isMade
    } catch (error) {
      this.#isMade = null
      throw error
    }
  }

  async #make() {
    const call = { ...this.own, status: 'active', ttl: 0, inactivity_timeout: 0 }
    try {
      await this.#store.createSession(call)
    } catch (error) {
      if (!(error instanceof RequestError) || error.kind !== 'session_exists') throw error
    }
  }

  /** Does something that needs the topic, once more when it was gone; nothing was done then. */
  async with(action) {
    await this.make()
    try {
      return await action()
    } catch (error) {
      if (!(error instanceof RequestError) || !GONE.has(error.kind)) throw error
      this.#isMade = null
      await this.make()
      return action()
    }
  }

  /**
   * The events behind an id, and whose life of the topic they are of: a page of `get_events_after` with its `epoch`.
   * Both are read at one moment.
   */
  read(after_event_id, limit) {
    return this.with(async () => {
      const { results: [session, page] } = await this.#store.transaction({
        calls: [
          { method: 'get_session', params: { ...this.own, omit: ['state', 'metadata'] } },
          { method: 'get_events_after', params: { ...this.own, after_event_id, limit } },
        ],
      }, { repeatable: true })
      if (session === null) throw new RequestError('get_session', GONE_ERROR)
      return { ...page, epoch: session.created_at }
    })
  }

  /** Where it ends now, `{epoch, id}`. */
  async newest() {
    const { epoch, newest_id } = await this.read(Number.MAX_SAFE_INTEGER, 1)
    return { epoch, id: newest_id }
  }

  /**
   * Where reading begins for who comes with a cursor: `{epoch, id, truncated}`. None begins now; one of another life of
   * the topic at the oldest that there is, and one that says nothing here begins now.
   */
  async start(cursor, maxAgeMs) {
    if (cursor === null || cursor === undefined) return { ...(await this.newest()), truncated: false }
    const position = positionOf(this.session_id, cursor)
    if (position === null) return { ...(await this.newest()), truncated: true }
    let page = await this.read(position.id, 1)
    let id = position.id
    let truncated = page.gap !== null
    if (position.epoch !== page.epoch) {
      page = await this.read(0, 1)
      id = 0
      truncated = true
    } else if (page.cursor_ahead) {
      id = page.newest_id
      truncated = true
    }
    if (maxAgeMs !== undefined && maxAgeMs !== null) {
      const young = await this.#youngerThan(Date.now() - maxAgeMs, id, page.newest_id)
      if (young > id) [id, truncated] = [young, true]
    }
    return { epoch: page.epoch, id, truncated }
  }

  /** Behind which id everything was taken in since a time: by halves, as ids have no holes. */
  async #youngerThan(time, low, high) {
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2)
      const { events: [event] } = await this.read(middle, 1)
      // What stands first behind `middle`: where the oldest are gone it may be later than the next id.
      if (event === undefined || event.timestamp >= time) high = middle
      else low = event.id
    }
    return low
  }

  cursor(position) {
    return cursorOf(this.session_id, position)
  }
}

const GONE_ERROR = {
  code: 1001,
  message: 'The topic is gone.',
  data: { kind: 'session_not_found', retryable: false, outcome: 'not_applied' },
}
