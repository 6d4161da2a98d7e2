import { tell } from './callback.mjs'
import { onceAborted } from './calls.mjs'
import { AbortError, ChildError, RequestError } from './errors.mjs'
import { toFrame, toNotice } from './frames.mjs'

const MAX_QUEUED = 1000
const MAX_QUEUED_BYTES = 4 << 20

/**
 * What both kinds have in common: an async iterator over what the sidecar tells, which opens its subscription anew
 * when the process was started anew, and ends with `ended`. The subclass holds what waits to be taken.
 */
class Subscription {
  // What the subclass has: `request()`, the call that opens it from where it stands; `begin(answer, bytes)`;
  // `notify(method, params, bytes)`; `take()`, `{value}` or undefined when nothing waits; `unsealed(value)`, what the
  // consumer gets of that; `clear()`; `missing(reason)`, what it is about was not there any more.

  #link
  #signal
  #timeout
  #unwatch = () => {}
  #waiters = []
  #error = null
  #openings = []
  #opening = null
  #isAsking = false
  #isLost = false
  #isOver = false
  #onInit
  #onHeartbeat
  #onOver = () => {}
  #id = null

  /** Why it is over; null as long as it is not, and when it ended with an error. */
  ended = null

  constructor(link, { signal, timeout, onInit, onHeartbeat }) {
    this.#link = link
    this.#onInit = onInit
    this.#onHeartbeat = onHeartbeat
    this.#signal = signal ?? undefined
    this.#timeout = timeout
  }

  start() {
    if (this.#signal !== undefined) {
      if (this.#signal.aborted) return this.#abort()
      this.#unwatch = onceAborted(this.#signal, () => this.#abort())
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
    this.clear()
    this.finish('closed')
    this.deliver()
    return Promise.resolve({ done: true, value })
  }

  /** Calls back when it is over; at once when it is. */
  onceOver(callback) {
    this.#onOver = callback
    if (this.#isOver) callback()
  }

  get isOpen() {
    return this.#id !== null
  }

  /** Subscribes, from where the subclass stands. */
  open() {
    if (this.#isOver || this.#isAsking || this.isOpen) return
    const isFirst = this.#opening === null
    const { method, params } = this.request()
    this.#isAsking = true
    this.#isLost = false
    const resolve = (answer, bytes) => {
      this.#isAsking = false
      if (this.#isOver) return this.#unsubscribe(answer.subscription_id)
      this.#id = answer.subscription_id
      this.#link.attach(this.#id, this)
      this.#opening ??= answer
      for (const opening of this.#openings.splice(0)) opening.resolve(answer)
      this.begin(answer, bytes)
      this.deliver()
    }
    const reject = (error) => {
      this.#isAsking = false
      const reason = isFirst ? null : endOf(error)
      if (reason !== null) this.missing(reason)
      else if (!isFirst && error instanceof ChildError && this.#link.goesOn()) this.open()
      else this.fail(error)
    }
    const onLate = ({ subscription_id }) => this.#unsubscribe(subscription_id)
    const timeout = isFirst ? this.#timeout : null
    this.#link.request(method, params, { resolve, reject }, { repeatable: true, onLate, timeout })
  }

  /** Another process is there. */
  reopen() {
    if (this.#isLost) this.open()
  }

  /** Unsubscribes for now: the consumer is slow. `open` goes on. */
  pause() {
    if (!this.isOpen) return
    this.#unsubscribe(this.#id)
    this.#id = null
  }

  /** The sidecar has ended it, or is gone. */
  lose() {
    if (!this.isOpen) return
    this.#link.detach(this.#id)
    this.#id = null
    this.#isLost = true
  }

  /** What both kinds are told besides. */
  remark(method, { subscription_id, frame, ...told }) {
    const hear = (name, callback, value) => {
      if (callback !== undefined) tell(callback, value, (error) => this.#link.log(`${name} threw: ${error}`))
    }
    if (!Number.isSafeInteger(told.timestamp)) return
    if (method === 'init') hear('onInit', this.#onInit, told)
    else if (method === 'heartbeat') hear('onHeartbeat', this.#onHeartbeat, told.timestamp)
  }

  /** It is over; what is still there can be taken. */
  finish(reason) {
    this.#end(() => {
      this.ended = reason
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
    this.#unwatch()
    if (this.isOpen) this.pause()
    this.#link.forget(this)
    const error = this.#error ?? new AbortError('The subscription ended before it was opened.')
    for (const { reject } of this.#openings.splice(0)) reject(error)
    this.deliver()
    this.#onOver()
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
      const taken = this.take()
      if (taken === undefined && (!this.#isOver || this.isReading)) return
      if (this.#waiters.length === 0) return
      const { resolve, reject } = this.#waiters.shift()
      this.#link.hold(-1)
      if (taken !== undefined) this.#hand(taken.value, resolve, reject)
      else if (this.#error !== null) {
        reject(this.#error)
        this.#error = null
      } else resolve({ done: true, value: undefined })
    }
  }

  /** What does not open fails the one who takes it, and the next one goes on. */
  #hand(taken, resolve, reject) {
    let value
    try {
      value = this.unsealed(taken)
    } catch (error) {
      reject(error)
      return
    }
    resolve({ done: false, value })
  }

  /** What was told, as the consumer gets it: the subclass says where the record is. */
  recordOf(kind, record) {
    return this.#link.opened(kind, record, this.request().params)
  }

  /** Whether `take` waits for something itself. */
  get isReading() {
    return false
  }
}

/** How a subscription ended while nobody watched, told from the refusal to open it again; null when it did not. */
function endOf(error) {
  if (!(error instanceof RequestError)) return null
  if (error.kind === 'session_expired') return 'expired'
  if (error.kind === 'invalid_session_status') return 'invalidated'
  return error.kind === 'session_not_found' || error.kind === 'task_not_found' ? 'deleted' : null
}

/** The events of a session, each once and in their order. */
export class EventSubscription extends Subscription {
  #params
  #cursor
  #onGap
  #log
  #bounds
  /** Whether what is told is text to write to an SSE response. */
  #isFrames
  /** Whether the frames are made here, as the program cannot read what it would write into them. */
  #makesFrames
  #queue = []
  #queuedBytes = 0

  /** Events that are gone and were never told, those in the gaps that `onGap` hears of. */
  lost = 0

  constructor(link, params, options) {
    super(link, options)
    const { onGap, maxQueued = MAX_QUEUED, maxQueuedBytes = MAX_QUEUED_BYTES } = options
    this.#params = params
    this.#isFrames = (params.format ?? 'json') !== 'json'
    this.#makesFrames = this.#isFrames && link.hasCodec()
    this.#cursor = params.after_event_id ?? null
    this.#log = link.log
    this.#onGap = onGap ?? (({ dropped, cursor_ahead }) => {
      const what = cursor_ahead ? 'the cursor is newer than the newest event' : `${dropped} events are gone`
      link.log(`a subscription missed something: ${what}`)
    })
    this.#bounds = { entries: maxQueued, bytes: maxQueuedBytes }
  }

  request() {
    const after = this.#cursor === null ? {} : { after_event_id: this.#cursor }
    const format = this.#makesFrames ? { format: undefined } : {}
    return { method: 'subscribe_events', params: { ...this.#params, ...format, ...after } }
  }

  begin({ newest_id, gap = null, cursor_ahead = false }) {
    if (gap !== null || cursor_ahead) {
      const { dropped, oldest_available } = gap ?? { dropped: 0, oldest_available: null }
      this.#put({ gap: { dropped, oldest_available, cursor_ahead } }, 0)
    }
    if (this.#cursor === null || cursor_ahead) this.#cursor = newest_id
  }

  notify(method, params, bytes) {
    const { event_id: id = params.event?.id, event = params.frame } = params
    if (method === 'event' && Number.isSafeInteger(id) && event !== undefined) {
      this.#cursor = id
      this.#put({ event }, bytes)
      // Nothing is lost: the store has the events, and the subscription goes on behind the last one taken in here.
      const { entries, bytes: most } = this.#bounds
      if (this.#queue.length >= entries || this.#queuedBytes >= most) this.pause()
    } else if (method === 'lagged' && Number.isSafeInteger(params.dropped)) {
      const { dropped, oldest_available = null } = params
      this.#put({ gap: { dropped, oldest_available, cursor_ahead: false } }, 0)
    } else if (method === 'ended' && typeof params.reason === 'string') {
      this.#putFrame(method, params)
      this.lose()
      this.finish(params.reason)
    } else {
      // A heartbeat is one only where nothing else waits to be written.
      if (method === 'init' || (method === 'heartbeat' && this.#queue.length === 0)) this.#putFrame(method, params)
      this.remark(method, params)
    }
  }

  #putFrame(method, { frame, subscription_id, ...told }) {
    const text = this.#makesFrames ? toNotice(method, told) : frame
    if (this.#isFrames && typeof text === 'string') this.#put({ event: text }, 0)
  }

  missing(reason) {
    this.finish(reason)
  }

  unsealed(told) {
    if (typeof told === 'string') return told
    const event = this.recordOf('Event', told)
    return this.#makesFrames ? toFrame(event, this.#params.format === 'sse_typed') : event
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
      this.lost += entry.gap.dropped
      tell(this.#onGap, entry.gap, (error) => this.#log(`onGap threw: ${error}`))
      const { cursor_ahead, ...gap } = entry.gap
      if (this.#isFrames && !cursor_ahead) return { value: `event: lagged\ndata: ${JSON.stringify(gap)}\n\n` }
    }
    this.open()
  }

  clear() {
    this.#queue = []
    this.#queuedBytes = 0
  }
}

/**
 * The changes of a task, or of the tasks of a session: of each the newest state that was not taken yet, and its end.
 */
export class TaskSubscription extends Subscription {
  #link
  #params
  #onTaskEnded
  #bounds
  /**
   * By id, in the order of the first change not taken: `{task, ended, isUnread, bytes}`. Of what is over the bounds the
   * ids are kept alone, and the tasks read when their turn comes.
   */
  #changes = new Map()
  #queuedBytes = 0
  #queuedTasks = 0
  #isReading = false
  /** By id: the state that was told last, so that opening anew tells only what is new, and when its time is over. */
  #told = new Map()

  constructor(link, params, options) {
    super(link, options)
    const { onTaskEnded, maxQueued = MAX_QUEUED, maxQueuedBytes = MAX_QUEUED_BYTES } = options
    this.#link = link
    this.#params = params
    this.#onTaskEnded = onTaskEnded
    this.#bounds = { entries: maxQueued, bytes: maxQueuedBytes }
  }

  get isReading() {
    return this.#isReading
  }

  get #isOfOne() {
    return this.#params.task_id !== undefined && this.#params.task_id !== null
  }

  request() {
    return { method: 'subscribe_tasks', params: this.#params }
  }

  begin({ task, tasks }, bytes) {
    const all = tasks ?? [task]
    for (const each of all) this.#put(each, bytes / all.length)
    if (this.#isOfOne) return
    // What was told before and is not there: it has ended meanwhile, unless the answer was too small for it.
    const present = new Set(all.map(({ task_id }) => task_id))
    for (const task_id of this.#told.keys()) {
      if (present.has(task_id) || this.#changes.get(task_id)?.ended !== undefined) continue
      this.#read(task_id, (task) => task === null && this.#taskEnded(task_id, this.#endOf(task_id)))
    }
  }

  notify(method, params, bytes) {
    if (method === 'task' && typeof params.task?.task_id === 'string') this.#put(params.task, bytes)
    else if (method === 'ended' && typeof params.reason === 'string') {
      this.#taskEnded(params.task_id ?? this.#params.task_id, params.reason)
    } else this.remark(method, params)
  }

  missing(reason) {
    const { task_id } = this.#params
    if (this.#isOfOne) this.#taskEnded(task_id, this.#endOf(task_id))
    else this.finish(reason)
  }

  unsealed(change) {
    return change.task === null ? change : { ...change, task: this.recordOf('Task', change.task) }
  }

  #put(task, bytes) {
    const { task_id } = task
    if (this.#told.get(task_id)?.state === stateOf(task)) return
    this.#note(task)
    this.#drop(task_id)
    const { entries, bytes: most } = this.#bounds
    const isOver = this.#queuedTasks >= entries || (this.#queuedTasks > 0 && this.#queuedBytes + bytes > most)
    this.#change(task_id, isOver ? { isUnread: true } : { task, bytes })
    this.deliver()
  }

  #note(task) {
    const over = task.ttl === null || task.ttl === undefined ? Infinity : Date.parse(task.created_at) + task.ttl
    this.#told.set(task.task_id, { state: stateOf(task), over })
  }

  /** Puts a change where there is none of that task, or in the place of it. */
  #change(task_id, change) {
    if (change.task !== undefined) {
      this.#queuedTasks += 1
      this.#queuedBytes += change.bytes
    }
    this.#changes.set(task_id, change)
  }

  /** Forgets the state of a task that waits, but not its place. */
  #drop(task_id) {
    const change = this.#changes.get(task_id)
    if (change?.task === undefined) return
    this.#queuedTasks -= 1
    this.#queuedBytes -= change.bytes
    change.task = undefined
  }

  #taskEnded(task_id, reason) {
    this.#told.delete(task_id)
    const change = this.#changes.get(task_id)
    // Of one that was not read there is nothing left to read.
    if (change?.task === undefined) this.#changes.set(task_id, { ended: reason })
    else change.ended = reason
    if (this.#isOfOne) {
      this.lose()
      this.finish(reason)
    }
    this.deliver()
  }

  /** Why a task is not there any more. */
  #endOf(task_id) {
    return Date.now() > (this.#told.get(task_id)?.over ?? Infinity) ? 'expired' : 'deleted'
  }

  #read(task_id, take) {
    const { tenant_id, principal } = this.#params
    const owners = {
      ...(tenant_id === undefined ? {} : { tenant_id }),
      ...(principal === undefined ? {} : { principal }),
    }
    const reject = (error) => {
      this.#isReading = false
      // Nor can the others be read any more.
      for (const [id, { isUnread }] of this.#changes) if (isUnread) this.#changes.delete(id)
      this.fail(error)
      this.deliver()
    }
    this.#link.request('get_task', { task_id, ...owners }, { resolve: take, reject })
  }

  /** Reads a task whose turn has come; it is delivered then. */
  #readNext(task_id, change) {
    if (this.#isReading) return
    this.#isReading = true
    this.#read(task_id, (task) => {
      this.#isReading = false
      if (this.#changes.get(task_id) === change && change.isUnread) {
        change.isUnread = false
        if (task === null) {
          change.ended ??= this.#endOf(task_id)
          this.#told.delete(task_id)
        } else {
          this.#note(task)
          this.#change(task_id, Object.assign(change, { task, bytes: 0 }))
        }
      }
      this.deliver()
    })
  }

  take() {
    for (const [task_id, change] of this.#changes) {
      const { task, ended, isUnread } = change
      if (isUnread) {
        this.#readNext(task_id, change)
        return undefined
      }
      if (task !== undefined) {
        this.#drop(task_id)
        if (ended === undefined) this.#changes.delete(task_id)
        return { value: { task_id, task, ended: null } }
      }
      this.#changes.delete(task_id)
      if (this.#onTaskEnded !== undefined) {
        tell(this.#onTaskEnded, { task_id, reason: ended }, (error) => this.#link.log(`onTaskEnded threw: ${error}`))
      }
      // The end of the only one is the end of the iteration.
      if (!this.#isOfOne) return { value: { task_id, task: null, ended } }
    }
    return undefined
  }

  clear() {
    this.#changes.clear()
    this.#queuedBytes = 0
    this.#queuedTasks = 0
    this.#isReading = false
  }
}

function stateOf({ revision, last_updated_at }) {
  return `${revision} ${last_updated_at}`
}

/**
 * Hints that something of a queue is due: one when it is opened, and one after however many came. Each may come for
 * nothing, and none is lost.
 */
export class WorkSubscription extends Subscription {
  #params
  #isDue = false

  constructor(link, params, options) {
    super(link, options)
    this.#params = params
  }

  request() {
    return { method: 'subscribe_work', params: this.#params }
  }

  begin() {
    // What became due while nobody watched was not told.
    this.#isDue = true
  }

  notify(method, params) {
    if (method !== 'work') return this.remark(method, params)
    this.#isDue = true
    this.deliver()
  }

  missing(reason) {
    this.finish(reason)
  }

  unsealed(hint) {
    return hint
  }

  take() {
    if (!this.#isDue) return undefined
    this.#isDue = false
    return { value: { queue: this.#params.queue } }
  }

  clear() {
    this.#isDue = false
  }
}
