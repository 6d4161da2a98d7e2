import { tell } from './callback.mjs'
import { CallQueue, JOBS, onceAborted } from './calls.mjs'
import { Child, GRACE, toArguments } from './child.mjs'
import { isTraced, trace } from './diagnostics.mjs'
import { AbortError, AnswerError, ChildError, CodecError, RequestError } from './errors.mjs'
import { Methods, REPEATABLE } from './methods.mjs'
import { toLimit, toOptions } from './options.mjs'
import { findBinary } from './program.mjs'
import { rotate } from './rotation.mjs'
import { EventSubscription, TaskSubscription, WorkSubscription } from './subscription.mjs'
import { clearTimeout, setTimeout } from './timers.mjs'

/** The contract that this client speaks. Within a major number things are only added. */
const PROTOCOL_VERSION = '1.0'
const HANDSHAKE = 'handshake'
/** Exit codes that another start does not change: usage, not our file, configuration. */
const HOPELESS = new Set([64, 65, 78])
/** Of an answer that is no JSON otherwise. */
const ID_AT_BEGINNING = /^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d+)\s*,/
/** The same of a notification, which is nobody's answer. */
const IS_NOTIFICATION = /^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"method"\s*:/
/** What this client does itself, and a call of one's own would upset. */
const RESERVED = new Map([
  ['subscribe_events', 'subscribeEvents()'],
  ['subscribe_tasks', 'subscribeTasks()'],
  ['subscribe_work', 'subscribeWork()'],
  ['unsubscribe', 'the return() of a subscription'],
  ['shutdown', 'close()'],
])

/**
 * A store: one process of mcp-session-store, and everything that can be asked of it. Making it starts nothing: `open`
 * does, and so does the first call.
 */
export class SessionStore extends Methods {
  #options
  #arguments
  #calls
  #state = 'closed'
  #child = null
  /** Who waits for the process to be ready: `{promise, resolve, reject}`. */
  #opening = null
  /** Whether a start that fails is the end: the first one, and one that was tried after a pause. */
  #isTried = false
  #startTimer
  #restartTimer = null
  /** When it was started again, and how often in vain since a process was ready. */
  #restarts = []
  #failedStarts = 0
  #subscriptions = new Set()
  #subscriptionsByID = new Map()
  #waitingIterators = 0
  #isClosing = false
  #closing = null
  /** The error of calls that come too late; null as long as there is a process, or will be. */
  #end = null
  #triedAgainAt = Infinity
  #ended = deferred()
  #isEnded = false
  #onSettled = () => {}

  /** What the sidecar told of itself in the handshake: its version, its limits. */
  info = null

  /** Makes a store and resolves with it when it is open. */
  static async open(options, call) {
    const store = new SessionStore(options)
    return store.open(call)
  }

  constructor(options = {}) {
    super()
    this.#options = toOptions(options)
    const { database, maxInFlight, maxWaiting } = this.#options
    const databaseArguments = database === undefined ? [] : ['--database', database]
    this.#arguments = ['--watch-parent', ...databaseArguments, ...toArguments(this.#options.options)]
    const hasNext = () => this.#options.restart !== null && !this.#isClosing
    const limits = { bytes: maxInFlight, waitingBytes: maxWaiting, hasNext }
    this.#calls = new CallQueue(limits, () => this.#busyChanged(), (line) => this.#log(line))
  }

  /** `closed`, `starting`, `ready`, `restarting` or `failed`. */
  get state() {
    return this.#state
  }

  /** Resolves when the store is over: with null after `close()`, with the error when its process is lost for good. */
  get ended() {
    return this.#ended.promise
  }

  /** The process id of the sidecar; null when there is none now. */
  get pid() {
    return this.#child?.pid ?? null
  }

  /** Bytes of calls that are written and not answered. */
  get bytesInFlight() {
    return this.#calls.bytes.inFlight
  }

  /** Bytes of calls that wait to be written. */
  get bytesWaiting() {
    return this.#calls.bytes.waiting
  }

  /** Starts a process, when there is none, and resolves with the store when it is ready. Also after `close`. */
  async open({ signal } = {}) {
    if (signal?.aborted) throw new AbortError('Opening was aborted.', { cause: signal.reason })
    if (this.#isClosing) await this.#closing
    if (this.#state === 'ready') return this
    if (this.#state === 'closed' || this.#state === 'failed') this.#begin()
    if (this.#opening === null) this.#opening = deferred()
    this.#updateReference()
    const { promise } = this.#opening
    if (signal === undefined || signal === null) return promise
    return new Promise((resolve, reject) => {
      const unwatch = onceAborted(signal, () => {
        reject(new AbortError('Opening was aborted.', { cause: signal.reason }))
        void this.close({ patience: 0 })
      })
      promise.then(resolve, reject).finally(unwatch)
    })
  }

  call(method, params, options = {}) {
    return new Promise((resolve, reject) => {
      const substitute = RESERVED.get(method)
      if (substitute !== undefined) throw new TypeError(`${method} cannot be called by itself: use ${substitute}.`)
      this.#request(method, params, { resolve, reject }, options)
    })
  }

  /**
   * Seals with the key that the codec writes with what is under another or under none. It may be stopped and begun
   * again at any time, and others may write meanwhile: what they change first is theirs.
   */
  async rotate(codec = this.#options.codec, options = {}) {
    if (codec === null) throw new TypeError('rotate: the store has no codec; say which one seals.')
    return rotate(this, codec, options)
  }

  subscribeEvents(params, options) {
    return this.#subscribe(EventSubscription, params, options)
  }

  subscribeTasks(params, options) {
    return this.#subscribe(TaskSubscription, params, options)
  }

  subscribeWork(params, options) {
    return this.#subscribe(WorkSubscription, params, options)
  }

  /** Lets be answered what was called, then ends the process. Never rejects; the second call waits for the first. */
  close({ timeout = 5000, patience = timeout } = {}) {
    this.#closing ??= this.#close(Number(patience) || 0)
    return this.#closing
  }

  /** Hands a line to the store's log, as the adapters do. Never throws. */
  remark(line) {
    this.#log(line)
  }

  // --- Calls

  #request(method, params, callbacks, options) {
    if (!isTraced()) this.#make(method, params, callbacks, options)
    else trace(this, method, callbacks, (told) => this.#make(method, params, told, options))
  }

  #make(method, params, callbacks, options) {
    checkOwners(method, params)
    if (method === 'transaction') for (const each of params?.calls ?? []) checkOwners(each.method, each.params)
    const { timeout = JOBS.has(method) ? null : this.#options.timeout } = options
    // Each by its name: copying what is there costs as much as writing it as JSON.
    const settings = {
      signal: options.signal,
      onProgress: options.onProgress,
      perishable: options.perishable ?? false,
      internal: options.internal ?? false,
      onLate: options.onLate,
      repeatable: options.repeatable ?? REPEATABLE.has(method),
      retry: options.retry === false ? null : this.#options.retry,
      timeout: toLimit('timeout', timeout),
    }
    const { codec } = this.#options
    if (codec !== null && !settings.internal) {
      const [sealed, opens] = codec.sealed(method, params)
      params = sealed
      if (opens !== null) callbacks = opening(method, opens, callbacks, settings.repeatable)
    }
    const end = this.#endNow()
    if (end !== null) callbacks.reject(end.of(method, 'not_applied'))
    else this.#calls.add(method, params, callbacks, settings)
  }

  /** The error of a call that comes too late; null when there is a process, or one begins with this call. */
  #endNow() {
    if (this.#closing !== null) return new ChildError('The store is closed.', { reason: 'closed' })
    if (this.#state === 'closed') this.#begin()
    else if (this.#state === 'failed' && performance.now() >= this.#triedAgainAt) this.#begin()
    return this.#end
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

  #subscribe(Kind, params, options = {}) {
    const { timeout = this.#options.timeout } = options
    toLimit('timeout', timeout)
    const subscription = new Kind(this.#link, { ...params }, { ...options, timeout })
    this.#subscriptions.add(subscription)
    subscription.start()
    return subscription
  }

  /** What subscriptions need of their store. */
  #link = {
    request: (method, params, callbacks, options) => {
      try {
        this.#request(method, params, callbacks, { timeout: null, internal: true, ...options })
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
    hasCodec: () => this.#options.codec !== null,
    opened: (kind, record, around) => {
      const { codec } = this.#options
      return codec === null ? record : codec.told(kind, record, around)
    },
    goesOn: () => this.#end === null && this.#closing === null,
    log: (text) => this.#log(text),
  }

  // --- The process

  /** From no process to the first one. */
  #begin() {
    this.#end = null
    this.#closing = null
    this.#restarts = []
    this.#isTried = true
    if (this.#isEnded) this.#ended = deferred()
    this.#isEnded = false
    this.#setState('starting')
    this.#start()
  }

  #start() {
    let binary
    try {
      binary = findBinary(this.#options.binary, this.#options.env)
    } catch (error) {
      // Later, as every other failure of a start: who opens or calls has not begun to wait yet.
      this.#child = null
      const isKnown = error instanceof ChildError
      const failure = isKnown ? error : new ChildError(String(error), { reason: 'not_startable', cause: error })
      queueMicrotask(() => this.#gone(failure))
      return
    }
    const child = new Child(binary, this.#arguments, {
      cwd: this.#options.cwd,
      env: this.#options.env,
      onLine: (text, bytes) => this.#receive(child, text, bytes),
      onPause: () => this.#calls.flush(),
      onDrain: () => this.#calls.drained(),
      onRemark: (line) => this.#log(line),
      onGone: (error) => this.#gone(error),
    })
    this.#child = child
    this.#updateReference()
    const { client, require, startTimeout } = this.#options
    const { name = 'node', version = process.versions.node } = client ?? {}
    const params = { client: { name, version }, protocol_version: PROTOCOL_VERSION, require }
    child.write(JSON.stringify({ jsonrpc: '2.0', id: HANDSHAKE, method: 'initialize', params }) + '\n')
    if (startTimeout === null) return
    this.#startTimer = setTimeout(() => {
      const text = `'${binary}' did not answer the handshake within ${startTimeout} ms.`
      child.fail(new ChildError(text, { reason: 'not_startable' }))
    }, startTimeout)
    this.#startTimer.unref()
  }

  #receive(child, text, bytes) {
    const message = parse(text)
    if (message?.id === HANDSHAKE && message.method === undefined && !child.isReady) this.#shakeHands(child, message)
    else if (message?.method !== undefined) this.#notified(message, bytes)
    else if (message?.id !== undefined) {
      if (!this.#calls.answer(message, bytes)) this.#log(`an answer to nothing that was asked: ${text.slice(0, 200)}`)
    } else if (!child.isReady) {
      child.fail(new ChildError('The program does not speak JSON-RPC: is it mcp-session-store?', {
        reason: 'not_a_sidecar',
      }))
    } else {
      // One answer is lost with it, and no more than that.
      const beginning = text.slice(0, 200)
      this.#log(`a line that is no JSON-RPC: ${beginning}`)
      if (IS_NOTIFICATION.test(beginning)) return
      const [, digits] = ID_AT_BEGINNING.exec(beginning) ?? []
      this.#calls.answerUnreadable(digits === undefined ? null : Number(digits), 'it is no JSON-RPC')
    }
  }

  #shakeHands(child, { result, error }) {
    clearTimeout(this.#startTimer)
    const theirs = String(result?.protocol_version ?? error?.data?.protocol_version ?? 'unknown')
    if (error !== undefined || theirs.split('.')[0] !== PROTOCOL_VERSION.split('.')[0]) {
      const cause = error == null ? undefined : new RequestError('initialize', error)
      const why = cause?.message ?? 'their major numbers differ'
      const text = `The program does not fit: this client speaks version ${PROTOCOL_VERSION} of the contract, and it ` +
        `speaks ${theirs}: ${why}`
      child.fail(new ChildError(text, { reason: 'incompatible', cause }))
      return
    }
    child.isReady = true
    this.info = result
    this.#isTried = false
    this.#failedStarts = 0
    this.#setState('ready')
    this.#calls.attach(child, result.limits?.max_line_bytes)
    for (const subscription of [...this.#subscriptions]) subscription.reopen()
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
    this.#subscriptionsByID.clear()
    for (const subscription of this.#subscriptions) subscription.lose()
    const { restart } = this.#options
    const isHopeless = HOPELESS.has(error.exitCode) || error.reason === 'incompatible' || error.reason === 'not_found'
    if (this.#isClosing || restart === null || this.#isTried || isHopeless) {
      this.#finish(error)
      return
    }
    const { attempts, within, delay, maxDelay } = restart
    const now = performance.now()
    this.#restarts = this.#restarts.filter((time) => time > now - within)
    if (this.#restarts.length >= attempts) {
      this.#finish(gaveUp(this.#restarts.length + 1, restart, error))
      return
    }
    this.#restarts.push(now)
    this.#calls.detach(true, (method, outcome) => error.of(method, outcome))
    const pause = Math.min(maxDelay, delay * 2 ** this.#failedStarts++) * (0.5 + Math.random() / 2)
    this.#log(`${error.message} Starting it again in ${Math.round(pause)} ms.`)
    this.#setState('restarting', error)
    this.#restartTimer = setTimeout(() => {
      this.#restartTimer = null
      this.#start()
    }, pause)
    this.#updateReference()
  }

  /** The end of the store: nothing is started any more, and all who wait are told. */
  #finish(cause) {
    const error = this.#isClosing ? new ChildError('The store is closed.', { reason: 'closed', cause }) : cause
    this.#end = error
    this.#triedAgainAt = this.#options.restart === null ? Infinity : performance.now() + this.#options.restart.pause
    const opening = this.#opening
    this.#opening = null
    this.#calls.detach(false, (method, outcome) => error.of(method, outcome))
    for (const subscription of [...this.#subscriptions]) subscription.fail(error)
    const wasClosing = this.#isClosing
    this.#isClosing = false
    if (wasClosing) this.#setState('closed')
    else this.#setState('failed', error)
    opening?.reject(error)
    this.#isEnded = true
    this.#ended.resolve(wasClosing ? null : error)
  }

  async #close(patience) {
    for (const subscription of [...this.#subscriptions]) subscription.finish('closed')
    if (this.#state === 'closed' || this.#state === 'failed') {
      this.#setState('closed')
      this.#isEnded = true
      this.#ended.resolve(null)
      return
    }
    this.#isClosing = true
    clearTimeout(this.#restartTimer)
    if (this.#restartTimer !== null) {
      this.#restartTimer = null
      return this.#finish()
    }
    this.#updateReference()
    const { promise: ended } = this.#ended
    const child = () => this.#child
    const timers = [
      setTimeout(() => child()?.kill('SIGTERM'), patience),
      setTimeout(() => child()?.fail(new ChildError('It did not end.', { reason: 'exited' })), patience + GRACE),
    ]
    await Promise.race([ended, this.#settled()])
    this.#child?.end()
    await ended
    for (const timer of timers) clearTimeout(timer)
  }

  /** Resolves when no call is under way. */
  #settled() {
    if (this.#calls.unsettled === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onSettled = resolve
    })
  }

  #setState(state, error = null) {
    if (this.#state === state) return
    this.#state = state
    const { onState } = this.#options
    tell(() => onState(state, error), undefined, (fault) => this.#log(`onState threw: ${fault}`))
  }

  /** Hands a line to the host's log, which cannot do harm here. */
  #log(line) {
    tell(this.#options.log, line)
  }
}

/** `await using store = await SessionStore.open(…)`, where the runtime has it. */
if (Symbol.asyncDispose !== undefined) {
  SessionStore.prototype[Symbol.asyncDispose] = function () {
    return this.close()
  }
}

/** A promise with what settles it. Nobody need wait for it. */
function deferred() {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  made.promise.catch(() => {})
  return made
}

/** A message of JSON-RPC; undefined when the text is none. */
function parse(text) {
  try {
    const message = JSON.parse(text)
    const isMessage = typeof message === 'object' && message !== null &&
      (typeof message.method === 'string' || message.id !== undefined)
    return isMessage ? message : undefined
  } catch {
    return undefined
  }
}

/** What is told of a call whose result is opened first. */
function opening(method, opens, { resolve, reject }, isRepeatable) {
  return {
    reject,
    resolve: (result, bytes) => {
      let opened
      try {
        opened = opens(result)
      } catch (error) {
        const outcome = isRepeatable ? 'not_applied' : 'unknown'
        const isOurs = error instanceof CodecError
        reject(isOurs ? Object.assign(error, { method, outcome }) : new AnswerError(String(error), { method, outcome }))
        return
      }
      resolve(opened, bytes)
    },
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

function gaveUp(count, { within, pause }, cause) {
  const { exitCode, signal } = cause
  const text = `mcp-session-store ended ${count} times within ${within} ms, and rests for ${pause} ms. ` +
    'The last time: ' + cause.message
  return new ChildError(text, { reason: 'gave_up', retryable: true, exitCode, signal, cause })
}
