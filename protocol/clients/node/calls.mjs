import { AbortError, OverloadError, StoreError, TimeoutError } from './errors.mjs'

/** Node's timers take no longer delay: a longer one would fire at once. */
const LONGEST_DELAY = 2 ** 31 - 1

/** One request on its way: waiting, then written, then settled. */
class Call {
  isWritten = false
  isSettled = false
  #timer
  #unwatch = () => {}

  constructor(id, method, line, callbacks, { repeatable, perishable, onProgress }) {
    this.id = id
    this.method = method
    this.line = line
    this.bytes = Buffer.byteLength(line)
    this.repeatable = repeatable
    this.perishable = perishable
    this.onProgress = onProgress
    this.callbacks = callbacks
  }

  /** Calls `giveUp(error)` when the time is over or the signal fires. */
  watch({ timeout, signal }, giveUp) {
    const { method } = this
    if (timeout > 0 && timeout <= LONGEST_DELAY) {
      this.#timer = setTimeout(() => {
        const { outcome } = this
        const text = `${method} was not answered within ${timeout} ms.`
        giveUp(new TimeoutError(text, { method, outcome, retryable: outcome === 'not_applied' }))
      }, timeout)
    }
    if (signal !== undefined) {
      const onAbort = () => giveUp(aborted(method, signal, this.outcome))
      signal.addEventListener('abort', onAbort, { once: true })
      this.#unwatch = () => signal.removeEventListener('abort', onAbort)
    }
  }

  /** What the store has of it when nothing more is heard. */
  get outcome() {
    return this.isWritten && !this.repeatable ? 'unknown' : 'not_applied'
  }

  settle(deliver) {
    if (this.isSettled) return
    this.isSettled = true
    clearTimeout(this.#timer)
    this.#unwatch()
    deliver(this.callbacks)
    this.callbacks = null
    this.onProgress = undefined
  }
}

function aborted(method, signal, outcome) {
  return new AbortError(`${method} was aborted.`, { method, outcome, cause: signal.reason })
}

/**
 * The calls of one store, in order: those that wait, and those that are written and wait for their answer. What is in
 * flight is bounded, what waits is bounded, and all that may be written goes in one piece at the end of a turn of the
 * event loop. The queue outlives a process: `attach` gives it one, `detach` takes it away.
 */
export class CallQueue {
  #limits
  #onCount
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

  /** `limits`: `{calls, bytes, waitingBytes}`. `onCount` is called when the number of unsettled calls changes. */
  constructor(limits, onCount) {
    this.#limits = limits
    this.#onCount = onCount
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
  add(method, params, callbacks, { maxLineBytes = Infinity, internal = false, ...options } = {}) {
    if (options.signal?.aborted) {
      callbacks.reject(aborted(method, options.signal, 'not_applied'))
      return
    }
    const id = ++this.#lastID
    const parameters = JSON.stringify(params ?? {})
    const line = `{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${parameters}}\n`
    const call = new Call(id, method, line, callbacks, options)
    const refusal = internal ? undefined : this.#refusal(call, maxLineBytes)
    if (refusal !== undefined) {
      callbacks.reject(refusal)
      return
    }
    call.watch(options, (error) => this.#abandon(call, error))
    this.#unsettled += 1
    this.#waiting.set(id, call)
    this.#waitingBytes += call.bytes
    this.#schedule()
    this.#onCount()
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
    for (const call of lost) this.#finish(call, ({ reject }) => reject(toError(call.method, call.outcome)))
    for (const call of kept) call.isWritten = false
  }

  /** The pipe has room again. */
  drained() {
    this.#isFull = false
    this.#schedule()
  }

  /** An answer came. False when nothing was asked under that id. */
  answer({ id, result, error }) {
    const call = this.#written.get(id)
    if (call === undefined) return false
    this.#written.delete(id)
    this.#writtenBytes -= call.bytes
    this.#finish(call, ({ resolve, reject }) => {
      if (error === undefined) resolve(result)
      else reject(new StoreError(call.method, error))
    })
    this.#schedule()
    return true
  }

  /** A job tells how far it is. */
  progress({ id, done, total }) {
    this.#written.get(id)?.onProgress?.({ done, total })
  }

  /** The caller gives up: what is not written is not sent, and an answer that comes yet is dropped. */
  #abandon(call, error) {
    if (this.#waiting.delete(call.id)) this.#waitingBytes -= call.bytes
    this.#finish(call, ({ reject }) => reject(error))
  }

  #finish(call, deliver) {
    if (call.isSettled) return
    this.#unsettled -= 1
    call.settle(deliver)
    call.line = ''
    this.#onCount()
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
