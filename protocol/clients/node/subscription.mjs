import { AbortError, StoreError } from './errors.mjs'

/**
 * What both kinds have in common: an async iterator over what the sidecar tells, which opens its subscription anew
 * when the process was started anew, and ends with `ended`. The subclass holds what waits to be taken.
 */
class Subscription {
  #link
  #signal
  #onAbort
  #waiters = []
  #error = null
  #openings = []
  #opening = null
  #isAsking = false
  #isOver = false
  #id = null

  /** Why it is over, `{reason}`; null as long as it is not. */
  ended = null

  constructor(link, signal) {
    this.#link = link
    this.#signal = signal
  }

  start() {
    if (this.#signal !== undefined) {
      this.#onAbort = () => this.#abort()
      if (this.#signal.aborted) return this.#abort()
      this.#signal.addEventListener('abort', this.#onAbort, { once: true })
    }
    this.open()
  }

  /** Resolves with the answer to the first subscribing, when nothing can be missed any more. */
  opened() {
    if (this.#opening !== null) return Promise.resolve(this.#opening)
    if (this.#error !== null) return Promise.reject(this.#error)
    if (this.#isOver) return Promise.reject(new AbortError('The subscription ended before it was opened.'))
    return new Promise((resolve, reject) => this.#openings.push({ resolve, reject }))
  }

  [Symbol.asyncIterator]() {
    return this
  }

  next() {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
      this.#link.hold(1)
      this.deliver()
    })
  }

  /** Unsubscribes; what was not taken yet is dropped. */
  return(value) {
    this.finish('returned')
    this.clear()
    this.deliver()
    return Promise.resolve({ done: true, value })
  }

  throw(error) {
    this.return()
    return Promise.reject(error)
  }

  get isOver() {
    return this.#isOver
  }

  get isOpen() {
    return this.#id !== null
  }

  get log() {
    return this.#link.log
  }

  /** Subscribes, from where the subclass stands. */
  open() {
    if (this.#isOver || this.#isAsking || this.isOpen) return
    const isFirst = this.#opening === null
    const { method, params } = this.request()
    this.#isAsking = true
    const resolve = (answer) => {
      this.#isAsking = false
      if (this.#isOver) return this.#unsubscribe(answer.subscription_id)
      this.#id = answer.subscription_id
      this.#link.attach(this.#id, this)
      this.#opening ??= answer
      for (const opening of this.#openings.splice(0)) opening.resolve(answer)
      this.begin(answer, isFirst)
      this.deliver()
    }
    const reject = (error) => {
      this.#isAsking = false
      const reason = isFirst ? null : endOf(error)
      if (reason === null) this.fail(error)
      else this.finish(reason)
    }
    this.#link.request(method, params, { resolve, reject }, { repeatable: true })
  }

  /** Unsubscribes for now: the consumer is slow. `open` goes on. */
  pause() {
    if (!this.isOpen) return
    this.#unsubscribe(this.#id)
    this.#id = null
  }

  /** The sidecar has ended it, or is gone; true when there was something to lose. */
  lose() {
    const wasOpen = this.isOpen
    if (wasOpen) this.#link.detach(this.#id)
    this.#id = null
    return wasOpen
  }

  /** It is over; what is still there can be taken. */
  finish(reason, details) {
    this.#end(() => {
      this.ended = { reason, ...details }
    })
  }

  /** It is over with an error, which the consumer gets once after what is still there. */
  fail(error) {
    this.#end(() => {
      this.#error = error
    })
  }

  #end(note) {
    if (this.#isOver) return
    this.#isOver = true
    note()
    this.#signal?.removeEventListener('abort', this.#onAbort)
    if (this.isOpen) this.pause()
    this.#link.forget(this)
    const error = this.#error ?? new AbortError('The subscription ended before it was opened.')
    for (const { reject } of this.#openings.splice(0)) reject(error)
    this.deliver()
  }

  #abort() {
    this.clear()
    this.fail(new AbortError('The subscription was aborted.', { cause: this.#signal.reason }))
  }

  #unsubscribe(subscription_id) {
    this.#link.detach(subscription_id)
    const ignore = () => {}
    this.#link.request('unsubscribe', { subscription_id }, { resolve: ignore, reject: ignore }, { perishable: true })
  }

  /** Gives what is there to those who wait for it. */
  deliver() {
    while (this.#waiters.length > 0) {
      let taken
      try {
        taken = this.take()
      } catch (error) {
        // A callback of the consumer threw; it is told where it waits.
        this.clear()
        this.fail(error)
        taken = undefined
      }
      if (taken === undefined && !this.#isOver) return
      if (this.#waiters.length === 0) return
      const { resolve, reject } = this.#waiters.shift()
      this.#link.hold(-1)
      if (taken !== undefined) resolve({ done: false, value: taken.value })
      else if (this.#error !== null) {
        reject(this.#error)
        this.#error = null
      } else resolve({ done: true, value: undefined })
    }
  }
}

/** How a subscription ended while nobody watched, told from the refusal to open it again; null when it did not. */
function endOf(error) {
  if (!(error instanceof StoreError)) return null
  if (error.kind === 'session_expired') return 'expired'
  if (error.kind === 'invalid_session_status') return 'invalidated'
  return error.kind === 'session_not_found' || error.kind === 'task_not_found' ? 'gone' : null
}

/** The events of a session, each once and in their order. */
export class EventSubscription extends Subscription {
  #params
  #cursor
  #onGap
  #bounds
  #queue = []
  #queuedBytes = 0

  constructor(link, params, { signal, onGap, maxQueued = 1000, maxQueuedBytes = 4 << 20 } = {}) {
    super(link, signal)
    this.#params = params
    this.#cursor = params.after_event_id ?? null
    this.#onGap = onGap ?? (({ dropped, cursor_ahead }) => {
      const what = cursor_ahead ? 'the cursor is newer than the newest event' : `${dropped} events are gone`
      link.log(`a subscription missed something: ${what}`)
    })
    this.#bounds = { entries: maxQueued, bytes: maxQueuedBytes }
  }

  request() {
    const after = this.#cursor === null ? {} : { after_event_id: this.#cursor }
    return { method: 'subscribe_events', params: { ...this.#params, ...after } }
  }

  begin({ newest_id, gap, cursor_ahead }) {
    if (gap !== null || cursor_ahead) {
      const { dropped, oldest_available } = gap ?? { dropped: 0, oldest_available: null }
      this.#put({ gap: { dropped, oldest_available, cursor_ahead } }, 0)
    }
    if (this.#cursor === null || cursor_ahead) this.#cursor = newest_id
  }

  notify(method, params, bytes) {
    if (method === 'event') {
      this.#cursor = params.event.id
      this.#put({ event: params.event }, bytes)
      // Nothing is lost: the store has the events, and the subscription goes on behind the last one taken in here.
      const { entries, bytes: most } = this.#bounds
      if (this.#queue.length >= entries || this.#queuedBytes >= most) this.pause()
    } else if (method === 'lagged') {
      const { dropped, oldest_available } = params
      this.#put({ gap: { dropped, oldest_available, cursor_ahead: false } }, 0)
    } else if (method === 'ended') {
      this.lose()
      this.finish(params.reason)
    }
  }

  #put(entry, bytes) {
    this.#queue.push({ ...entry, bytes })
    this.#queuedBytes += bytes
    this.deliver()
  }

  take() {
    for (let entry; (entry = this.#queue.shift()) !== undefined; ) {
      this.#queuedBytes -= entry.bytes
      if (entry.event !== undefined) return { value: entry.event }
      this.#onGap(entry.gap)
    }
    this.open()
  }

  clear() {
    this.#queue = []
    this.#queuedBytes = 0
  }
}

/** The states of a task, or of the tasks of a session: of each the newest that was not taken yet. */
export class TaskSubscription extends Subscription {
  #params
  #onTaskEnded
  /** By id, in the order of the first change not taken: `{task}`, `{ended}` or both, the task first. */
  #changes = new Map()
  /** By id: the state that was told last, so that opening anew tells only what is new. */
  #told = new Map()

  constructor(link, params, { signal, onTaskEnded } = {}) {
    super(link, signal)
    this.#params = params
    this.#onTaskEnded = onTaskEnded ?? (() => {})
  }

  request() {
    return { method: 'subscribe_tasks', params: this.#params }
  }

  begin({ task, tasks }) {
    for (const each of tasks ?? [task]) this.#put(each)
  }

  notify(method, params) {
    if (method === 'task') this.#put(params.task)
    else if (method === 'ended') this.#taskEnded(params)
  }

  #put(task) {
    const state = `${task.revision} ${task.last_updated_at}`
    if (this.#told.get(task.task_id) === state) return
    this.#told.set(task.task_id, state)
    this.#changes.set(task.task_id, { task })
    this.deliver()
  }

  #taskEnded({ reason, task_id }) {
    this.#told.delete(task_id)
    this.#changes.set(task_id, { ...this.#changes.get(task_id), ended: reason })
    if (this.#params.task_id !== undefined && this.#params.task_id !== null) {
      this.lose()
      this.finish(reason, { task_id })
    }
    this.deliver()
  }

  take() {
    for (const [task_id, { task, ended }] of this.#changes) {
      if (task !== undefined && ended !== undefined) this.#changes.set(task_id, { ended })
      else this.#changes.delete(task_id)
      if (task !== undefined) return { value: task }
      this.#onTaskEnded({ task_id, reason: ended })
    }
  }

  clear() {
    this.#changes.clear()
  }
}
