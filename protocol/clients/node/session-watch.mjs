import { clearTimeout, setTimeout } from './timers.mjs'
/** A response that takes longer than this is a stream, or may become one. */
const LOOK_AFTER = 250
/** How often a response is looked at whose session is over and that has not begun. */
const LOOK_EVERY = 100
/** Events of no stream that there is: the subscription tells of the session's end alone. */
const NO_STREAM = 'mcp-session-store/no-stream'
/** Where the store cannot tell, for it has all the subscriptions that it may have, it is asked this often. */
const POLL_EVERY = 400
/** Of its inactivity timeout, after which a session with an open stream is touched. */
const TOUCH_AFTER = 0.25

/**
 * Ends the streams of sessions that are over. While a session has an open response, the store tells this process of its
 * end, whoever ended it; its deadlines are looked at when they come. With `touch` an open stream is activity.
 */
export class SessionWatch {
  #store
  #touch
  /** By session and owners: `{session, responses, events, timer, isPolled}`. */
  #watched = new Map()

  constructor(store, { touch }) {
    this.#store = store
    this.#touch = touch
  }

  /** Looks after a response to a request of `session`, from a moment on: most are over by then. */
  add(session, owners, response) {
    const timer = setTimeout(() => this.#watch(session, owners, response), LOOK_AFTER).unref()
    response.once?.('close', () => clearTimeout(timer))
  }

  #watch({ session_id }, owners, response) {
    if (response.destroyed || response.writableFinished) return
    const key = JSON.stringify([session_id, owners.tenant_id, owners.principal])
    let entry = this.#watched.get(key)
    if (entry === undefined) {
      entry = { session: { session_id, ...owners }, responses: new Set(), events: null, timer: null, isPolled: false }
      this.#watched.set(key, entry)
      void this.#follow(key, entry)
    }
    entry.responses.add(response)
    response.once('close', () => {
      entry.responses.delete(response)
      if (entry.responses.size === 0) this.#forget(key, entry)
    })
  }

  #forget(key, entry) {
    if (this.#watched.get(key) === entry) this.#watched.delete(key)
    clearTimeout(entry.timer)
    void entry.events?.return()
  }

  async #follow(key, entry) {
    entry.events = this.#store.subscribeEvents({ ...entry.session, stream_id: NO_STREAM })
    try {
      await entry.events.opened()
      // Waiting in `next()` would keep the host alive.
      entry.events.onceOver(() => this.#over(key, entry))
    } catch (error) {
      // Nobody can say then that the session is there, unless it is only the subscriptions that are too many.
      if (error.kind !== 'max_subscriptions_reached') return this.#over(key, entry)
      entry.isPolled = true
    }
    await this.#look(key, entry)
  }

  /** Looks whether the session is past a deadline, and again when the next one comes. */
  async #look(key, entry) {
    let session
    try {
      session = await this.#store.getSession({ ...entry.session, touch: this.#touch })
    } catch {
      return this.#over(key, entry)
    }
    if (this.#watched.get(key) !== entry) return
    if (session === null || session.status === 'invalidated') return this.#over(key, entry)
    const { expires_at, last_activity, inactivity_timeout } = session
    const idle = inactivity_timeout === null ? Infinity : last_activity + inactivity_timeout
    const deadline = session.status === 'suspended' ? Infinity : Math.min(expires_at ?? Infinity, idle)
    const delays = [Math.max(deadline - Date.now(), 0) + 10]
    if (this.#touch && inactivity_timeout !== null) delays.push(inactivity_timeout * TOUCH_AFTER)
    if (entry.isPolled || session.status === 'suspended') delays.push(POLL_EVERY)
    const delay = Math.min(...delays)
    if (delay === Infinity) return
    entry.timer = setTimeout(() => void this.#look(key, entry), delay).unref()
  }

  #over(key, entry) {
    if (this.#watched.get(key) !== entry) return
    const { responses } = entry
    this.#forget(key, entry)
    for (const response of responses) end(response)
  }
}

/** Ends a response that streams. One that has not begun may yet become a stream; any other one gets to its end. */
function end(response) {
  if (response.destroyed || response.writableFinished) return
  if (!response.headersSent) setTimeout(() => end(response), LOOK_EVERY).unref()
  else if (isStream(response)) response.destroy()
}

function isStream(response) {
  // Headers that were given to writeHead directly are only in what was sent.
  const type = response.getHeader?.('content-type') ?? /^content-type: *([^\r\n]*)/im.exec(response._header ?? '')?.[1]
  return String(type ?? '').toLowerCase().includes('text/event-stream')
}
