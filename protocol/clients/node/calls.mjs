import { setMaxListeners } from 'node:events'
import { AbortError, OverloadError, StoreError, TimeoutError } from './errors.mjs'

/** These read or copy the whole file: no time is right for all files, and others are answered before them. */
export const JOBS = new Set(['backup', 'check_integrity'])
/** Node's timers take no longer delay: a longer one would fire at once. */
const LONGEST_DELAY = 2 ** 31 - 1

/** One request on its way: waiting, then written, then settled. */
class Call {
  isWritten = false
  isSettled = false
  /** Takes the listener off the caller's signal. */
  unwatch = null

  constructor(id, method, line, callbacks, { repeatable, perishable, onProgress, timeout }) {
    this.id = id
    this.method = method
    this.line = line
    this.bytes = Buffer.byteLength(line)
    this.repeatable = repeatable
    this.perishable = perishable
    this.onProgress = onProgress
    this.callbacks = callbacks
    this.timeout = timeout
    this.deadline = timeout > 0 ? performance.now() + timeout : Infinity
  }

  /** What the store has of it when nothing more is heard. */
  get outcome() {
    return this.isWritten && !this.repeatable ? 'unknown' : 'not_applied'
  }

  settle(error, result) {
    const { resolve, reject } = this.callbacks
    this.isSettled = true
    this.unwatch?.()
    this.callbacks = null
    this.onProgress = undefined
    this.line = ''
    if (error === undefined) resolve(result)
    else reject(error)
  }
}

/** Calls `listener` when `signal` fires; returns what takes that back. */
export function onceAborted(signal, listener) {
  // One signal may well stand for all the calls of a request: Node would warn of a leak at the eleventh.
  if (signal instanceof EventTarget) setMaxListeners(0, signal)
  signal.addEventListener('abort', listener, { once: true })
  return () => signal.removeEventListener('abort', listener)
}

function aborted(method, signal, outcome) {
  return new AbortError(`${method} was aborted.`, { method, outcome, cause: signal.reason })
}

function overdue({ method, timeout, outcome }) {
  const text = `${method} was not answered within ${timeout} ms.`
  return new TimeoutError(text, { method, outcome, retryable: outcome === 'not_applied' })
}

/**
 * The calls of one store, in order: those that wait, and those that are written and wait for their answer. What is in
 * flight is bounded, what waits is bounded, and all that may be written goes in one piece at the end of a turn of the
 * event loop. The queue outlives a process: `attach` gives it one, `detach` takes it away.
 */
export class CallQueue {
  #limits
  #onBusy
  #lastID = 0
  /** By id and in their order, as what is in flight: so that one that is given up is taken out at once. */
  #waiting = new Map()
  #waitingBytes = 0
  #written = new Map()
  #writtenBytes = 0
  #unsettled = 0
  #child = null
  #isFull = false
  #isScheduled = false
  /** One for all calls, as a timer for each costs more than its place in the queue: it fires at the first deadline. */
  #timer
  #firesAt = Infinity

  /** `limits`: `{calls, bytes, waitingBytes}`. `onBusy` is called when there are unsettled calls again, or no more. */
  constructor(limits, onBusy) {
    this.#limits = limits
    this.#onBusy = onBusy
  }

  /** Calls that somebody waits for. */
  get unsettled() {
    return this.#unsettled
  }

  /**
   * Takes a call; `callbacks` are `{resolve, reject}`, called once and at once when the answer is there. Options, apart
   * from the caller's: `repeatable`; `perishable`, it means something to this process only; `internal`, it is never
   * refused for overload.
   */
  add(method, params, callbacks, options = {}) {
    if (options.signal?.aborted) {
      callbacks.reject(aborted(method, options.signal, 'not_applied'))
      return
    }
    const id = ++this.#lastID
    const line = JSON.stringify({ jsonrpc: '2.0', id, method, params }) + '\n'
    const call = new Call(id, method, line, callbacks, options)
    const refusal = options.internal ? undefined : this.#refusal(call, options.maxLineBytes)
    if (refusal !== undefined) {
      callbacks.reject(refusal)
      return
    }
    const { signal } = options
    if (signal !== undefined) {
      call.unwatch = onceAborted(signal, () => this.#abandon(call, aborted(method, signal, call.outcome)))
    }
    this.#fireBy(call.deadline)
    this.#waiting.set(id, call)
    this.#waitingBytes += call.bytes
    this.#schedule()
    this.#unsettled += 1
    if (this.#unsettled === 1) this.#onBusy()
  }

  #refusal({ method, bytes }, maxLineBytes) {
    // The newline does not count.
    if (bytes - 1 > maxLineBytes) {
      return new StoreError(method, {
        code: 1301,
        message: `The request has ${bytes - 1} bytes, and a line may have ${maxLineBytes}: send less, or raise ` +
          '--max-line-bytes.',
        data: { kind: 'payload_too_large', retryable: false, outcome: 'not_applied', limit: maxLineBytes },
      })
    }
    const { waitingBytes } = this.#limits
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes > waitingBytes) {
      const text = `${this.#waitingBytes} bytes of requests wait to be written, and the bound is ${waitingBytes}: ` +
        'wait for answers before you call more, or raise `maxWaitingBytes`.'
      return new OverloadError(text, { method, retryable: true })
    }
  }

  /** A process that is ready to take requests. */
  attach(child) {
    this.#child = child
    this.#isFull = false
    this.#schedule()
  }

  /**
   * The process is gone. With `keep`, what was not written waits for the next one, and so does what may be repeated;
   * all else is refused with what `toError(method, outcome)` makes.
   */
  detach(keep, toError) {
    this.#child = null
    const kept = []
    const lost = []
    for (const call of [...this.#written.values(), ...this.#waiting.values()]) {
      if (call.isSettled) continue
      const stays = keep && !call.perishable && (call.repeatable || !call.isWritten)
      ;(stays ? kept : lost).push(call)
    }
    this.#written.clear()
    this.#writtenBytes = 0
    this.#waiting = new Map(kept.map((call) => [call.id, call]))
    this.#waitingBytes = kept.reduce((sum, { bytes }) => sum + bytes, 0)
    for (const call of lost) this.#finish(call, toError(call.method, call.outcome))
  }

  /** The pipe has room again. */
  drained() {
    this.#isFull = false
    this.#schedule()
  }

  /** An answer came. False when nothing was asked under that id. */
  answer({ id, result, error }) {
    const call = id === null ? this.#unreadable() : this.#written.get(id)
    if (call === undefined) return false
    this.#written.delete(call.id)
    this.#writtenBytes -= call.bytes
    this.#finish(call, error === undefined ? undefined : new StoreError(call.method, error), result)
    this.#schedule()
    return true
  }

  /**
   * The call that the store could not read, say for more than 128 levels, and so has no id for. Answers come in the
   * order of the calls, jobs apart.
   */
  #unreadable() {
    for (const call of this.#written.values()) if (!JOBS.has(call.method)) return call
  }

  /** A job tells how far it is. */
  progress({ id, done, total }) {
    const onProgress = this.#written.get(id)?.onProgress
    // Apart, so that what a callback throws stops nothing here.
    if (onProgress !== undefined) queueMicrotask(() => onProgress({ done, total }))
  }

  /** The caller gives up: what is not written is not sent, and an answer that comes yet is dropped. */
  #abandon(call, error) {
    if (this.#waiting.delete(call.id)) this.#waitingBytes -= call.bytes
    this.#finish(call, error)
  }

  #finish(call, error, result) {
    if (call.isSettled) return
    this.#unsettled -= 1
    call.settle(error, result)
    if (this.#unsettled === 0) this.#onBusy()
  }

  #fireBy(deadline) {
    if (deadline >= this.#firesAt) return
    clearTimeout(this.#timer)
    this.#firesAt = deadline
    this.#timer = setTimeout(() => this.#expire(), Math.min(deadline - performance.now(), LONGEST_DELAY)).unref()
  }

  /** Gives up the calls whose time is over. */
  #expire() {
    this.#firesAt = Infinity
    const now = performance.now()
    let next = Infinity
    for (const call of [...this.#written.values(), ...this.#waiting.values()]) {
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
      this.#flush()
    })
  }

  #flush() {
    if (this.#child === null || this.#isFull) return
    const { calls, bytes } = this.#limits
    const lines = []
    for (const call of this.#waiting.values()) {
      const isFirst = this.#written.size === 0
      if (!isFirst && (this.#written.size >= calls || this.#writtenBytes + call.bytes > bytes)) break
      call.isWritten = true
      this.#waiting.delete(call.id)
      this.#written.set(call.id, call)
      this.#writtenBytes += call.bytes
      this.#waitingBytes -= call.bytes
      lines.push(call.line)
      // Only what may be sent again is needed again.
      if (!call.repeatable) call.line = ''
    }
    if (lines.length > 0) this.#isFull = !this.#child.write(lines.join(''))
  }
}
