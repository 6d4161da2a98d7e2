import { tell } from './callback.mjs'
import { AbortError } from './errors.mjs'
import { clearInterval, clearTimeout, setInterval, setTimeout } from './timers.mjs'

const LEASE = 30_000
/** Of a lease: it is renewed so often that one renewal may fail. */
const RENEWED_AFTER = 1 / 3
/** Until a store is asked again that could not be, and at most until it is asked in any case. */
const PAUSE = 1000
const LONGEST_SLEEP = 30_000
/** Where it says that something is due, and gives nothing. */
const SHORTEST_SLEEP = 50

/** Milliseconds until an item is tried again whose work failed. */
const backOffBy = (attempt) => Math.min(1000 * 2 ** (attempt - 1), 300_000)

/**
 * Claims what is due in a queue, as much at once as is allowed, and hands each item to `work(item, {signal})`. Leases
 * are renewed meanwhile; the signal fires when one is lost, or the loop is stopped for good. What returns is done, and
 * what throws is tried again, unless `settles` is false: then `work` settles its items, with what it writes besides.
 */
export class WorkLoop {
  #store
  #claim
  #lease
  #concurrency
  #work
  #settles
  #backOff
  #onError
  /** What is worked on: a promise, and its AbortController. */
  #running = new Map()
  #loop = null
  #isStopped = false
  #hints = null
  #wake = () => {}
  #isWoken = false

  constructor(store, options) {
    const { queue, worker = `node ${process.pid}`, lease = LEASE, concurrency = 10, work, onError } = options
    const { per_group, include_subscription, settles = true, backOff = backOffBy } = options
    this.#store = store
    this.#claim = { queue, worker, lease, per_group, include_subscription }
    this.#settles = settles
    this.#backOff = backOff
    this.#lease = lease
    this.#concurrency = concurrency
    this.#work = work
    this.#onError = (error) => tell(onError ?? (() => {}), error)
  }

  start() {
    if (this.#loop !== null) return
    this.#loop = this.#run()
    void this.#listen()
  }

  /**
   * Claims nothing more, and lets be finished what is worked on for so many milliseconds; then its signals fire.
   * Resolves when nothing is left.
   */
  async stop({ patience = 5000 } = {}) {
    this.#isStopped = true
    this.#rouse()
    await this.#hints?.return()
    const timer = setTimeout(() => {
      for (const controller of this.#running.values()) controller.abort(new AbortError('The worker is stopped.'))
    }, patience)
    await this.#loop
    await Promise.all(this.#running.keys())
    clearTimeout(timer)
  }

  async #run() {
    while (!this.#isStopped) {
      const free = this.#concurrency - this.#running.size
      this.#isWoken = false
      if (free === 0) {
        await this.#sleep(LONGEST_SLEEP)
        continue
      }
      let claimed
      try {
        claimed = await this.#store.claimWork({ ...this.#claim, limit: Math.min(free, 1000) })
      } catch (error) {
        if (error.reason === 'closed') return
        this.#onError(error)
        await this.#sleep(PAUSE)
        continue
      }
      const { work, next_due, timestamp } = claimed
      for (const item of work) this.#begin(item)
      if (work.length === free) continue
      const pause = next_due === null ? LONGEST_SLEEP : next_due - timestamp
      await this.#sleep(Math.min(LONGEST_SLEEP, Math.max(pause, work.length > 0 ? 0 : SHORTEST_SLEEP)))
    }
  }

  /** Hints say earlier that something is due; without them it is found when the sleep is over. */
  async #listen() {
    const { queue, per_group } = this.#claim
    while (!this.#isStopped) {
      try {
        this.#hints = this.#store.subscribeWork({ queue, per_group })
        for await (const _ of this.#hints) this.#rouse()
        if (this.#hints.ended === 'closed') break
      } catch (error) {
        if (this.#isStopped || error.reason === 'closed') break
        this.#onError(error)
        await new Promise((resolve) => setTimeout(resolve, PAUSE))
      }
    }
    // The loop ends with the store, and not when it would have looked again.
    this.#rouse()
  }

  #rouse() {
    this.#isWoken = true
    this.#wake()
  }

  async #sleep(time) {
    if (this.#isWoken || this.#isStopped) return
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, time)
      this.#wake = () => resolve(clearTimeout(timer))
    })
    this.#wake = () => {}
  }

  #begin(item) {
    const controller = new AbortController()
    const running = this.#do(item, controller).catch((error) => this.#onError(error)).finally(() => {
      this.#running.delete(running)
      // There is a place, and it may itself be due again sooner than anything else.
      this.#rouse()
    })
    this.#running.set(running, controller)
  }

  async #do(item, controller) {
    const stop = this.#isStopped ? () => {} : this.#renew(item, controller)
    try {
      if (this.#isStopped) await this.#settle(item, 'release')
      else if (!this.#settles) await this.#work(item, { signal: controller.signal })
      else await this.#doAndSettle(item, controller.signal)
    } finally {
      stop()
    }
  }

  async #doAndSettle(item, signal) {
    try {
      await this.#work(item, { signal })
    } catch (error) {
      if (signal.aborted) return this.#settle(item, 'release')
      const how = { delay: this.#backOff(item.attempt), error: String(error?.name ?? 'failed').slice(0, 200) }
      await this.#settle(item, 'retry', how)
      throw error
    }
    // Where `work` has settled it already this changes nothing.
    await this.#settle(item, 'done')
  }

  /** Keeps a lease until it is told to stop, or the lease is lost: then the signal fires. */
  #renew({ queue, work_id, fence }, controller) {
    let heldUntil = performance.now() + this.#lease
    let isOver = false
    const lost = () => controller.abort(new AbortError('The lease is lost: another may work on it.'))
    const timer = setInterval(async () => {
      try {
        const asked = performance.now()
        const { held } = await this.#store.renewWork({ queue, work_id, fence, lease: this.#lease })
        if (held) heldUntil = asked + this.#lease
        else if (!isOver) lost()
      } catch (error) {
        if (!isOver && performance.now() >= heldUntil) lost()
        else if (!isOver) this.#onError(error)
      }
    }, Math.max(1, this.#lease * RENEWED_AFTER))
    return () => {
      isOver = true
      clearInterval(timer)
    }
  }

  async #settle({ queue, work_id, fence }, outcome, more = {}) {
    await this.#store.settleWork({ queue, work_id, fence, outcome, ...more })
  }
}
