import { tell } from './callback.mjs'
import { AbortError, AnswerError, CallTimeout, Overloaded, RequestError, RequestTooLarge } from './errors.mjs'
import { toLine } from './json.mjs'
import { clearTimeout, setImmediate, setTimeout } from './timers.mjs'

/** These go through much of the file: no time is right for all, and others are answered before them. */
export const JOBS = new Set(['backup', 'check_integrity', 'archive'])
/** Calls in flight, beside the bound of their bytes: what is given up and never answered is forgotten no sooner. */
const MOST_IN_FLIGHT = 1024
/** How often a call that may be repeated is lost with its process before it is sent alone, and before it fails. */
const LOSSES = { alone: 2, most: 3 }

/** One request on its way: waiting, or resting before it is repeated, then written, then settled. */
class Call {
  isWritten = false
  isSettled = false
  isResting = false
  losses = 0
  repeats = 0
  /** Takes the listener off the caller's signal. */
  unwatch = null

  constructor(id, method, line, callbacks, { repeatable, perishable, onProgress, timeout, retry, onLate }) {
    this.id = id
    this.method = method
    this.line = line
    this.bytes = Buffer.byteLength(line) + 1
    this.repeatable = repeatable
    this.perishable = perishable
    this.onProgress = onProgress
    this.callbacks = callbacks
    this.retry = retry
    this.onLate = onLate
    this.timeout = timeout
    this.deadline = timeout == null ? Infinity : performance.now() + timeout
  }

  /** What the store has of it when nothing more is heard. */
  get outcome() {
    return this.isWritten && !this.repeatable ? 'unknown' : 'not_applied'
  }

  settle(error, result, bytes) {
    const { resolve, reject } = this.callbacks
    this.isSettled = true
    this.unwatch?.()
    this.callbacks = null
    this.onProgress = undefined
    this.line = ''
    if (error === undefined) resolve(result, bytes)
    else reject(error)
  }
}

/** Those who wait for a signal: one listener of ours on each, for Node warns of a leak at the eleventh. */
const listeners = new WeakMap()

/** Calls `listener` when `signal` fires; returns what takes that back. */
export function onceAborted(signal, listener) {
  let waiting = listeners.get(signal)
  if (waiting === undefined) {
    const all = new Set()
    const fire = () => {
      listeners.delete(signal)
      for (const each of all) each()
    }
    waiting = { all, fire }
    listeners.set(signal, waiting)
    signal.addEventListener('abort', fire, { once: true })
  }
  waiting.all.add(listener)
  return () => {
    waiting.all.delete(listener)
    if (waiting.all.size > 0 || listeners.get(signal) !== waiting) return
    listeners.delete(signal)
    signal.removeEventListener('abort', waiting.fire)
  }
}

function aborted(method, signal, outcome) {
  return new AbortError(`${method} was aborted.`, { method, outcome, cause: signal.reason })
}

function overdue({ method, timeout, outcome }) {
  const text = `${method} was not answered within ${timeout} ms.`
  return new CallTimeout(text, { method, outcome, retryable: outcome === 'not_applied' })
}

/**
 * The calls of one store, in order: those that wait, and those that are written and wait for their answer. What is in
 * flight is bounded, what waits is bounded, and all that may be written goes in one piece at the end of a turn of the
 * event loop. The queue outlives a process: `attach` gives it one, `detach` takes it away.
 */
export class CallQueue {
  #limits
  #onBusy
  #log
  #lastID = 0
  /** By id and in their order, as what is in flight: so that one that is given up is taken out at once. */
  #waiting = new Map()
  /** Of those that wait and those that rest. */
  #waitingBytes = 0
  #resting = new Set()
  #written = new Map()
  #writtenBytes = 0
  /** The one in flight that a process died of, perhaps. Nothing else is written until it is answered. */
  #suspect = null
  #unsettled = 0
  #child = null
  #maxLineBytes = Infinity
  #isFull = false
  /** The process takes nothing more: what is left is for the next one. */
  #isDraining = false
  #isScheduled = false
  /** One for all calls, as a timer for each costs more than its place in the queue: it fires at the first deadline. */
  #timer
  #firesAt = Infinity

  /**
   * `limits`: `{bytes, waitingBytes, hasNext()}`, the last whether another process follows the one there is. `onBusy`
   * is called when there are unsettled calls again, or no more; `log` hears what a callback threw.
   */
  constructor(limits, onBusy, log = () => {}) {
    this.#limits = limits
    this.#onBusy = onBusy
    this.#log = log
  }

  /** Calls that somebody waits for. */
  get unsettled() {
    return this.#unsettled
  }

  /** Bytes of calls that are written and not answered, and of those that wait. */
  get bytes() {
    return { inFlight: this.#writtenBytes, waiting: this.#waitingBytes }
  }

  /**
   * Takes a call; `callbacks` are `{resolve, reject}`, called once and at once when the answer is there. Options, apart
   * from the caller's: `repeatable`; `perishable`, it means something to this process only; `internal`, it is never
   * refused for overload; `retry`, how it is repeated when the store says so; `onLate`, gets a result that comes when
   * the call was given up.
   */
  add(method, params, callbacks, options = {}) {
    if (options.signal?.aborted) {
      callbacks.reject(aborted(method, options.signal, 'not_applied'))
      return
    }
    const id = ++this.#lastID
    const call = new Call(id, method, toLine(id, method, params), callbacks, options)
    const refusal = options.internal ? undefined : this.#refusal(call)
    if (refusal !== undefined) {
      callbacks.reject(refusal)
      return
    }
    const { signal } = options
    if (signal !== undefined && signal !== null) {
      call.unwatch = onceAborted(signal, () => this.#abandon(call, aborted(method, signal, call.outcome)))
    }
    this.#fireBy(call.deadline)
    this.#waiting.set(id, call)
    this.#waitingBytes += call.bytes
    this.#schedule()
    this.#unsettled += 1
    if (this.#unsettled === 1) this.#onBusy()
  }

  #refusal(call) {
    const { method, bytes } = call
    if (this.#isTooLarge(call)) return new RequestTooLarge(method, bytes - 1, this.#maxLineBytes)
    const { waitingBytes } = this.#limits
    const isOver = () => this.#waitingBytes > 0 && this.#waitingBytes + bytes > waitingBytes
    // What only waits for the end of this turn of the event loop does not count.
    if (isOver()) this.flush()
    if (!isOver()) return undefined
    const text = `${this.#waitingBytes} bytes of requests wait, and ${waitingBytes} may: wait for answers before you ` +
      'call more, or raise `maxWaiting`.'
    return new Overloaded(text, { method, retryable: true })
  }

  /** The newline does not count. */
  #isTooLarge({ bytes }) {
    return bytes - 1 > this.#maxLineBytes
  }

  /** A process that is ready to take requests, and how long a line of it may be. */
  attach(child, maxLineBytes = Infinity) {
    this.#child = child
    this.#maxLineBytes = maxLineBytes
    this.#isFull = false
    this.#isDraining = false
    this.#schedule()
  }

  /**
   * The process is gone. With `keep`, what was not written waits for the next one, and so does what may be repeated;
   * all else is refused with what `toError(method, outcome)` makes.
   */
  detach(keep, toError) {
    this.#child = null
    this.#suspect = null
    const kept = []
    const lost = []
    for (const call of this.#written.values()) {
      if (call.isSettled) continue
      call.losses += 1
      const isAgain = call.repeatable && !call.perishable && !JOBS.has(call.method) && call.losses < LOSSES.most
      ;(keep && isAgain ? kept : lost).push(call)
    }
    for (const call of this.#waiting.values()) (keep && !call.perishable ? kept : lost).push(call)
    if (!keep) {
      lost.push(...this.#resting)
      this.#resting.clear()
    }
    this.#written.clear()
    this.#writtenBytes = 0
    for (const call of kept) call.isWritten = false
    this.#waiting = new Map(kept.map((call) => [call.id, call]))
    this.#waitingBytes = [...kept, ...this.#resting].reduce((sum, { bytes }) => sum + bytes, 0)
    for (const call of lost) this.#finish(call, toError(call.method, call.outcome))
  }

  /** The pipe has room again. */
  drained() {
    this.#isFull = false
    this.#schedule()
  }

  /** An answer came, of so many bytes. False when nothing was asked under that id. */
  answer(message, bytes) {
    const call = this.#answered(message.id)
    if (call === undefined) return false
    const { result, error } = message
    if (call.isSettled) {
      if (error === undefined) call.onLate?.(result)
    } else if (error === undefined && result === undefined) this.#finish(call, unreadable(call, 'no result'))
    else if (error === undefined) this.#finish(call, undefined, result, bytes)
    else if (error === null || typeof error !== 'object') this.#finish(call, unreadable(call, 'no error object'))
    else this.#refused(call, new RequestError(call.method, error))
    this.#schedule()
    return true
  }

  /** The answer to a call came and cannot be read: that call alone fails. False when nobody knows which one it is. */
  answerUnreadable(id, why) {
    const call = this.#answered(id)
    if (call === undefined) return false
    this.#finish(call, unreadable(call, why))
    this.#schedule()
    return true
  }

  /** Takes the call that an answer is for out of those in flight. */
  #answered(id) {
    const call = id === null ? this.#unheard() : this.#written.get(id)
    if (call === undefined) return undefined
    this.#written.delete(call.id)
    this.#writtenBytes -= call.bytes
    if (call === this.#suspect) this.#suspect = null
    return call
  }

  /**
   * The call that the store could not read, say for more than 128 levels, and so has no id for. Answers come in the
   * order of the calls, jobs apart.
   */
  #unheard() {
    for (const call of this.#written.values()) if (!JOBS.has(call.method)) return call
  }

  /** The store refused it: for good, or it is repeated after a while, or by the next process. */
  #refused(call, error) {
    const isLate = error.kind === 'shutting_down' && this.#limits.hasNext()
    const delay = isLate || !error.retryable || error.outcome !== 'not_applied' ? null : delayOf(call, error)
    if (!isLate && delay === null) {
      this.#finish(call, error)
      return
    }
    call.isWritten = false
    this.#waitingBytes += call.bytes
    if (isLate) {
      this.#isDraining = true
      this.#waiting = new Map([...this.#waiting, [call.id, call]].sort(([one], [other]) => one - other))
      return
    }
    call.repeats += 1
    this.#resting.add(call)
    // Who waits for it keeps the process running, and that the event loop.
    setTimeout(() => {
      if (!this.#resting.delete(call)) return
      this.#waiting.set(call.id, call)
      this.#schedule()
    }, delay).unref()
  }

  /** A job tells how far it is. */
  progress(params) {
    const { onProgress } = this.#written.get(params?.id) ?? {}
    if (onProgress === undefined) return
    const { done, total } = params
    tell(onProgress, { done, total }, (error) => this.#log(`onProgress threw: ${error}`))
  }

  /** The caller gives up: what is not written is not sent, and an answer that comes yet is dropped. */
  #abandon(call, error) {
    if (this.#waiting.delete(call.id) || this.#resting.delete(call)) this.#waitingBytes -= call.bytes
    this.#finish(call, error)
    // Those behind it may fit where it did not.
    this.#schedule()
  }

  #finish(call, error, result, bytes) {
    if (call.isSettled) return
    this.#unsettled -= 1
    call.settle(error, result, bytes)
    if (this.#unsettled === 0) this.#onBusy()
  }

  #fireBy(deadline) {
    if (deadline >= this.#firesAt) return
    clearTimeout(this.#timer)
    this.#firesAt = deadline
    this.#timer = setTimeout(() => this.#expire(), deadline - performance.now()).unref()
  }

  /** Gives up the calls whose time is over. */
  #expire() {
    this.#firesAt = Infinity
    const now = performance.now()
    let next = Infinity
    for (const call of [...this.#written.values(), ...this.#waiting.values(), ...this.#resting]) {
      if (call.isSettled) continue
      if (call.deadline <= now) this.#abandon(call, overdue(call))
      else next = Math.min(next, call.deadline)
    }
    this.#fireBy(next)
  }

  #schedule() {
    if (this.#isScheduled || this.#child === null || this.#waiting.size === 0) return
    this.#isScheduled = true
    // All that is asked for in this turn of the event loop goes in one write, and shares a commit.
    setImmediate(() => {
      this.#isScheduled = false
      this.flush()
    })
  }

  /** Writes what waits, as far as there is room: at the end of a turn, or before, so that the process does not idle. */
  flush() {
    if (this.#child === null || this.#isFull || this.#isDraining) return
    const lines = []
    for (const call of this.#waiting.values()) {
      if (this.#isTooLarge(call)) {
        // Called before there was a process that could say so.
        this.#abandon(call, new RequestTooLarge(call.method, call.bytes - 1, this.#maxLineBytes))
        continue
      }
      if (!this.#hasRoomFor(call)) break
      call.isWritten = true
      if (call.losses >= LOSSES.alone) this.#suspect = call
      this.#waiting.delete(call.id)
      this.#written.set(call.id, call)
      this.#writtenBytes += call.bytes
      this.#waitingBytes -= call.bytes
      lines.push(call.line)
    }
    if (lines.length === 0) return
    // Joined with their ends once: an end at each line would make a copy of it.
    lines.push('')
    this.#isFull = !this.#child.write(lines.join('\n'))
  }

  #hasRoomFor({ bytes, losses }) {
    if (this.#written.size === 0) return true
    if (this.#suspect !== null || losses >= LOSSES.alone) return false
    return this.#written.size < MOST_IN_FLIGHT && this.#writtenBytes + bytes <= this.#limits.bytes
  }
}

/**
 * Milliseconds until a call is repeated, anywhere between nothing and twice as long as before; null: it is not. Where
 * the store says when it may succeed, sooner is in vain; what takes long is for the caller to wait for.
 */
function delayOf({ retry, repeats, deadline }, { data }) {
  if (retry === null || retry === undefined || repeats >= retry.attempts) return null
  const wait = Number.isSafeInteger(data?.retry_after) ? data.retry_after : 0
  if (wait > retry.maxDelay) return null
  const delay = Math.max(wait, Math.random() * Math.min(retry.maxDelay, retry.delay * 2 ** repeats))
  return performance.now() + delay < deadline ? delay : null
}

function unreadable({ method, outcome }, why) {
  return new AnswerError(`The answer to ${method} cannot be read: ${why}.`, { method, outcome })
}
