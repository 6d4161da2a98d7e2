import { CallQueue, JOBS } from './calls.mjs'
import { Child, toArguments } from './child.mjs'
import { ChildError, ClosedError } from './errors.mjs'
import { Methods, REPEATABLE } from './methods.mjs'
import { findBinary } from './program.mjs'
import { EventSubscription, TaskSubscription } from './subscription.mjs'

/** The contract that this client speaks. Within a major number things are only added. */
const PROTOCOL_VERSION = '1.0'
const HANDSHAKE = 'handshake'
/** What the sidecar gets between a signal and the next harder one. */
const GRACE = 1000
/** Exit codes that another start does not change: usage, not our file, configuration. */
const HOPELESS = new Set([64, 65, 78])
/** What this client does itself, and a call of one's own would upset. */
const RESERVED = new Map([
  ['subscribe_events', 'subscribeEvents()'],
  ['subscribe_tasks', 'subscribeTasks()'],
  ['unsubscribe', 'the return() of a subscription'],
  ['shutdown', 'close()'],
])
/** Every option of `open`; undefined where there is no default, or another part knows it. */
const DEFAULTS = {
  binary: undefined,
  database: undefined,
  options: undefined,
  cwd: undefined,
  env: undefined,
  client: {},
  require: [],
  restart: false,
  log: (line) => process.stderr.write(`mcp-session-store: ${line}\n`),
  timeout: 30_000,
  startTimeout: 10_000,
  maxInFlight: 1024,
  maxInFlightBytes: 8 << 20,
  maxWaitingBytes: 64 << 20,
}
const RESTART = { limit: 5, window: 60_000, minDelay: 50, maxDelay: 5000 }

/** A store: one process of mcp-session-store, and everything that can be asked of it. Made with `SessionStore.open`. */
export class SessionStore extends Methods {
  #options
  #binary
  #arguments
  #restart
  #calls
  #child = null
  #opening = null
  #startTimer
  #restartTimer = null
  /** When it was started again. */
  #restarts = []
  #subscriptions = new Set()
  #subscriptionsByID = new Map()
  /** Those that the last process served, until the next one is ready. */
  #lostSubscriptions = []
  #waitingIterators = 0
  #isClosing = false
  #closing = null
  /** The error of calls that come too late; null as long as there is a process, or will be. */
  #end = null
  #settleEnded
  #onSettled = () => {}

  /** What the sidecar told of itself in the handshake: its version, its limits. */
  info = null

  /** Resolves when the store is over: with null after `close()`, with the error when its process is lost for good. */
  ended = new Promise((resolve) => {
    this.#settleEnded = resolve
  })

  /** Starts a process and resolves with the store when it is ready. */
  static open(options = {}) {
    return new Promise((resolve, reject) => {
      const store = new SessionStore(options)
      store.#opening = { resolve, reject }
      store.#start()
    })
  }

  constructor(options) {
    super()
    const unknown = Object.keys(options).find((name) => !Object.hasOwn(DEFAULTS, name))
    if (unknown !== undefined) {
      throw new TypeError(`There is no option '${unknown}'; there are ${Object.keys(DEFAULTS).join(', ')}.`)
    }
    this.#options = { ...DEFAULTS, ...defined(options) }
    const { binary, env, database, restart, maxInFlight, maxInFlightBytes, maxWaitingBytes } = this.#options
    this.#binary = findBinary(binary, env)
    const databaseArguments = database === undefined ? [] : ['--database', database]
    this.#arguments = ['--watch-parent', ...databaseArguments, ...toArguments(this.#options.options)]
    this.#restart = restart ? { ...RESTART, ...(restart === true ? {} : defined(restart)) } : null
    const limits = { calls: maxInFlight, bytes: maxInFlightBytes, waitingBytes: maxWaitingBytes }
    this.#calls = new CallQueue(limits, () => this.#busyChanged())
  }

  /** The process id of the sidecar; null when there is none now. */
  get pid() {
    return this.#child?.pid ?? null
  }

  call(method, params, options = {}) {
    return new Promise((resolve, reject) => {
      const substitute = RESERVED.get(method)
      if (substitute !== undefined) throw new TypeError(`${method} cannot be called by itself: use ${substitute}.`)
      this.#request(method, params, { resolve, reject }, options)
    })
  }

  subscribeEvents(params, options) {
    return this.#subscribe(EventSubscription, params, options)
  }

  subscribeTasks(params, options) {
    return this.#subscribe(TaskSubscription, params, options)
  }

  /** Finishes what was called, then ends the process. Never rejects; the second call waits for the first. */
  close({ timeout = 5000 } = {}) {
    this.#closing ??= this.#close(timeout)
    return this.#closing
  }

  // --- Calls

  #request(method, params, callbacks, options) {
    checkOwners(method, params)
    if (method === 'transaction') for (const each of params?.calls ?? []) checkOwners(each.method, each.params)
    if (this.#isClosing) {
      callbacks.reject(new ClosedError('The store is closed.', { method }))
      return
    }
    if (this.#end !== null) {
      callbacks.reject(this.#end.of(method, 'not_applied'))
      return
    }
    // Each by its name: copying what is there costs as much as writing it as JSON.
    this.#calls.add(method, params, callbacks, {
      signal: options.signal,
      onProgress: options.onProgress,
      perishable: options.perishable ?? false,
      internal: options.internal ?? false,
      maxLineBytes: this.info?.limits?.max_line_bytes ?? Infinity,
      repeatable: options.repeatable ?? REPEATABLE.has(method),
      timeout: options.timeout ?? (JOBS.has(method) ? 0 : this.#options.timeout),
    })
  }

  #busyChanged() {
    this.#updateReference()
    if (this.#calls.unsettled === 0) this.#onSettled()
  }

  /** The process keeps the event loop alive while somebody waits for it. */
  #updateReference() {
    const isWaitedFor = this.#opening !== null || this.#isClosing || this.#calls.unsettled > 0 ||
      this.#waitingIterators > 0
    this.#child?.reference(isWaitedFor)
    if (isWaitedFor) this.#restartTimer?.ref()
    else this.#restartTimer?.unref()
  }

  // --- Subscriptions

  #subscribe(Kind, params, options) {
    const subscription = new Kind(this.#link, { ...params }, options)
    this.#subscriptions.add(subscription)
    subscription.start()
    return subscription
  }

  /** What subscriptions need of their store. */
  #link = {
    request: (method, params, callbacks, options) => {
      try {
        this.#request(method, params, callbacks, { timeout: 0, internal: true, ...options })
      } catch (error) {
        callbacks.reject(error)
      }
    },
    attach: (id, subscription) => this.#subscriptionsByID.set(id, subscription),
    detach: (id) => this.#subscriptionsByID.delete(id),
    forget: (subscription) => this.#subscriptions.delete(subscription),
    hold: (count) => {
      this.#waitingIterators += count
      this.#updateReference()
    },
    log: (text) => this.#log(text),
  }

  // --- The process

  #start() {
    const child = new Child(this.#binary, this.#arguments, {
      cwd: this.#options.cwd,
      env: this.#options.env,
      onLine: (text, bytes) => this.#receive(child, text, bytes),
      onDrain: () => this.#calls.drained(),
      onRemark: (line) => this.#log(line),
      onGone: (error) => this.#gone(error),
    })
    this.#child = child
    this.#updateReference()
    const { client, require, startTimeout } = this.#options
    const { name = 'node', version = process.versions.node } = client
    const params = { client: { name, version }, protocol_version: PROTOCOL_VERSION, require }
    child.write(JSON.stringify({ jsonrpc: '2.0', id: HANDSHAKE, method: 'initialize', params }) + '\n')
    this.#startTimer = setTimeout(() => {
      const text = `'${this.#binary}' did not answer the handshake within ${startTimeout} ms.`
      child.fail(new ChildError(text, { reason: 'not_startable' }))
    }, startTimeout)
    this.#startTimer.unref()
  }

  #receive(child, text, bytes) {
    let message
    try {
      message = JSON.parse(text)
    } catch {
      message = null
    }
    if (message === null || typeof message !== 'object') {
      child.fail(new ChildError(`'${this.#binary}' does not speak JSON-RPC: is it mcp-session-store?`, {
        reason: 'not_a_sidecar',
      }))
    } else if (message.id === HANDSHAKE) this.#shakeHands(child, message)
    else if (message.method !== undefined) this.#notified(message, bytes)
    else if (!this.#calls.answer(message)) this.#log(`an answer to nothing that was asked: ${text.slice(0, 200)}`)
  }

  #shakeHands(child, { result, error }) {
    clearTimeout(this.#startTimer)
    const theirs = String(result?.protocol_version ?? error?.data?.protocol_version ?? 'unknown')
    if (error !== undefined || theirs.split('.')[0] !== PROTOCOL_VERSION.split('.')[0]) {
      const why = error?.message ?? 'their major numbers differ'
      child.fail(new ChildError(
        `'${this.#binary}' does not fit: this client speaks version ${PROTOCOL_VERSION} of the contract, and it ` +
          `speaks ${theirs}: ${why}`,
        { reason: 'incompatible' },
      ))
      return
    }
    this.info = result
    this.#calls.attach(child)
    for (const subscription of this.#lostSubscriptions.splice(0)) subscription.open()
    const opening = this.#opening
    this.#opening = null
    this.#updateReference()
    opening?.resolve(this)
  }

  #notified({ method, params }, bytes) {
    if (method === 'progress') this.#calls.progress(params)
    else this.#subscriptionsByID.get(params?.subscription_id)?.notify(method, params, bytes)
  }

  #gone(error) {
    clearTimeout(this.#startTimer)
    this.#child = null
    const isWanted = this.#restart !== null && this.#opening === null && !this.#isClosing
    if (!isWanted || HOPELESS.has(error.exitCode) || error.reason === 'incompatible') {
      this.#finish(error)
      return
    }
    const { limit, window, minDelay, maxDelay } = this.#restart
    const now = Date.now()
    this.#restarts = this.#restarts.filter((time) => time > now - window)
    const count = this.#restarts.length
    if (count >= limit) {
      this.#finish(gaveUp(count + 1, window, error))
      return
    }
    this.#restarts.push(now)
    this.#calls.detach(true, (method, outcome) => error.of(method, outcome))
    for (const subscription of this.#subscriptions) {
      if (subscription.lose()) this.#lostSubscriptions.push(subscription)
    }
    const delay = Math.min(maxDelay, minDelay * 2 ** count) * (0.5 + Math.random() / 2)
    this.#log(`${error.message} Starting it again in ${Math.round(delay)} ms.`)
    this.#restartTimer = setTimeout(() => {
      this.#restartTimer = null
      this.#start()
    }, delay)
    this.#updateReference()
  }

  /** The end of the store: nothing is started any more, and all who wait are told. */
  #finish(error) {
    this.#end = error
    const opening = this.#opening
    this.#opening = null
    this.#calls.detach(false, (method, outcome) => error.of(method, outcome))
    for (const subscription of [...this.#subscriptions]) {
      subscription.lose()
      subscription.fail(error)
    }
    opening?.reject(error)
    this.#settleEnded(this.#isClosing ? null : error)
  }

  async #close(timeout) {
    for (const subscription of [...this.#subscriptions]) subscription.finish('closed')
    this.#isClosing = true
    if (this.#end !== null) return
    clearTimeout(this.#restartTimer)
    if (this.#child === null) {
      this.#finish(new ClosedError('The store is closed.'))
      return
    }
    this.#updateReference()
    const signals = ['SIGTERM', 'SIGKILL'].map((signal, place) =>
      setTimeout(() => this.#child?.kill(signal), timeout + place * GRACE),
    )
    await Promise.race([this.ended, this.#settled()])
    this.#child?.end()
    await this.ended
    for (const timer of signals) clearTimeout(timer)
  }

  /** Resolves when no call is under way. */
  #settled() {
    if (this.#calls.unsettled === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onSettled = resolve
    })
  }

  /** Hands a line to the host's log, which cannot do harm here. */
  #log(line) {
    try {
      this.#options.log(line)
    } catch {
      // A log that fails is no reason for a store to.
    }
  }
}

/** `await using store = await SessionStore.open(…)`, where the runtime has it. */
if (Symbol.asyncDispose !== undefined) {
  SessionStore.prototype[Symbol.asyncDispose] = function () {
    return this.close()
  }
}

/** An owner that got lost on the way: JSON would leave it out, and a call without owners may see everything. */
function checkOwners(method, params) {
  for (const owner of ['tenant_id', 'principal']) {
    if (params && Object.hasOwn(params, owner) && params[owner] === undefined) {
      throw new TypeError(`${method}: ${owner} is undefined. Say null for the anonymous caller, or leave it out.`)
    }
  }
}

function gaveUp(count, window, cause) {
  const { exitCode, signal } = cause
  const text = `mcp-session-store ended ${count} times within ${window} ms, and is not started again. The last time: ` +
    cause.message
  return new ChildError(text, { reason: 'gave_up', exitCode, signal, cause })
}

/** The members that are not undefined, so that those do not hide defaults. */
function defined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}
