import { tell } from './callback.mjs'
import { RequestError } from './errors.mjs'
import { setTimeout } from './timers.mjs'
import { Topic } from './topic.mjs'

const TOPIC = 'mcp-bus'
/** What the SDK's listeners know; each without a resource says that all of its kind may be another. */
const LISTS = ['tools_list_changed', 'prompts_list_changed', 'resources_list_changed']
const SDK_KINDS = new Set([...LISTS, 'resource_updated'])
const KINDS = new Set([...SDK_KINDS, 'events_list_changed'])
/** Until the store is asked again that could not be. */
const PAUSE = 1000
/** Nobody reads these again: where the topic is full, and the store does not evict, so many stay. */
const KEPT = 100

/**
 * The `ServerEventBus` of the TypeScript SDK over a session of the store: listeners in every process on it hear of a
 * change once, those of the publisher too. Nothing is replayed: who listens hears what comes from then on.
 */
export class EventBus {
  #store
  #topic
  #onError
  /** The listeners, and the kinds that each wants. */
  #listeners = new Set()
  #events = null
  #opening = null
  #isClosed = false
  /** The last event that was heard; null: none yet. */
  #seen = null
  #wake = () => {}

  constructor(store, { session_id = TOPIC, onError = () => {} } = {}) {
    this.#store = store
    this.#topic = new Topic(store, session_id)
    this.#onError = onError
  }

  /** Tells everybody who listens, in all processes. Never throws and waits for nothing: `onError` hears what fails. */
  publish(event) {
    this.#publish(event).catch((error) => this.#failed(error))
  }

  /** Returns what ends it. `kinds`: those to hear of; what the SDK knows when absent. */
  subscribe(listener, { kinds = SDK_KINDS } = {}) {
    // Each call is a subscription of its own, also with a listener that is there already.
    const subscription = { listener, kinds: new Set(kinds) }
    this.#listeners.add(subscription)
    this.open().catch(() => {})
    return () => void this.#listeners.delete(subscription)
  }

  /** Resolves when nothing can be missed any more. The first listener and the first change open it, too. */
  open() {
    if (this.#isClosed) return Promise.reject(new Error('The bus is closed.'))
    if (this.#opening === null) {
      this.#opening = deferred()
      void this.#listen()
    }
    return this.#opening.promise
  }

  /** Ends listening, in this process. */
  async close() {
    this.#isClosed = true
    this.#listeners.clear()
    this.#wake()
    await this.#events?.return()
  }

  async #publish({ kind, uri }) {
    if (!KINDS.has(kind)) throw new TypeError(`There is no change of the kind ${String(kind)}.`)
    if (kind === 'resource_updated' && typeof uri !== 'string') throw new TypeError('resource_updated needs a uri.')
    const event = kind === 'resource_updated' ? { kind, uri } : { kind }
    try {
      await this.open()
      await this.#append(event)
    } catch (error) {
      // Nobody else will hear of it now, but those who are here can.
      this.#tell(event)
      throw error
    }
  }

  async #append(event, triesLeft = 5) {
    const before = this.#seen
    try {
      await this.#topic.with(() => this.#store.storeEvent({ ...this.#topic.own, data: event }))
    } catch (error) {
      if (triesLeft === 0) throw error
      if (error.kind === 'max_events_reached') await this.#trim()
      else if (error.outcome !== 'unknown') throw error
      // One like it that was not heard before says the same, whoever stored it.
      else if (await this.#isBehind(before, event)) return
      await this.#append(event, triesLeft - 1)
    }
  }

  async #isBehind(id, event) {
    const text = JSON.stringify(event)
    const { events } = await this.#topic.read(id, 10_000)
    return events.some(({ data }) => JSON.stringify(data) === text)
  }

  async #trim() {
    const { id } = await this.#topic.newest()
    await this.#store.deleteEventsBefore({ ...this.#topic.own, before_event_id: Math.max(1, id - KEPT) })
  }

  /** Hears what is published until the bus is closed, or the store is. */
  async #listen() {
    while (!this.#isClosed) {
      try {
        await this.#hear()
      } catch (error) {
        this.#opening.reject(error)
        if (this.#isClosed || error.reason === 'closed') return
        this.#opening = deferred()
        if (isGone(error)) this.#seen = 0
        else await this.#pause(error)
      }
    }
    this.#opening.reject(new Error('The bus is closed.'))
  }

  async #hear() {
    await this.#topic.make()
    const after = this.#seen === null ? {} : { after_event_id: this.#seen }
    this.#events = this.#store.subscribeEvents({ ...this.#topic.own, ...after }, { onGap: () => this.#tellAll() })
    const { newest_id } = await this.#events.opened()
    this.#seen ??= newest_id
    this.#opening.resolve()
    for await (const { id, data } of this.#events) {
      this.#seen = id
      if (KINDS.has(data?.kind)) this.#tell(data)
    }
    if (this.#events.ended === 'closed') this.#isClosed = true
    // The next topic of the name has other events, from its first one on.
    this.#seen = 0
  }

  async #pause(error) {
    this.#failed(error)
    await new Promise((resolve) => {
      this.#wake = resolve
      setTimeout(resolve, PAUSE)
    })
  }

  /** Some changes were gone before they were read: any of these may have been among them. */
  #tellAll() {
    for (const kind of [...LISTS, 'events_list_changed']) this.#tell({ kind })
  }

  #tell(event) {
    for (const { listener, kinds } of [...this.#listeners]) {
      if (kinds.has(event.kind)) tell(listener, event, (error) => this.#failed(error))
    }
  }

  #failed(error) {
    tell(this.#onError, error)
  }
}

function deferred() {
  const all = {}
  all.promise = new Promise((resolve, reject) => Object.assign(all, { resolve, reject }))
  // Nobody has to wait for it.
  all.promise.catch(() => {})
  return all
}

function isGone(error) {
  return error instanceof RequestError && (error.kind === 'session_not_found' || error.kind === 'session_expired')
}
