import { randomBytes } from 'node:crypto'
import { tell } from './callback.mjs'
import { AbortError, RequestError, StoreError } from './errors.mjs'
import { asJSON } from './json.mjs'
import { traceIn } from './otel.mjs'
import { TaskService } from './task-service.mjs'
import { orElse, unstored } from './task-store.mjs'
import { isUnstorable } from './unstorable.mjs'
import { WorkLoop } from './work-loop.mjs'

const QUEUE = 'mcp-tasks'
const DAY = 86_400_000
const LEASE = 30_000
/** Until a task that waits for its client is looked at in any case; its answers wake it earlier. */
const WAITING = 30_000
/** Until somebody should look who knows what to do. */
const UNKNOWN = 5000
/** Until a leg begins anew that the store failed. */
const RETRY = 1000
/** A task that ended so many workers is ended itself. */
const MOST_ATTEMPTS = 3
const INTERNAL_ERROR = -32603
const OLDER_ERA = '2025-11-25'
const NEWER_ERA = '2026-07-28'
const TERMINAL = new Set(['completed', 'failed', 'cancelled'])
/** What becomes of a leg that is not the last one. */
const QUESTION = Symbol('question')
const PAUSE = Symbol('pause')

/**
 * Tasks that outlive their worker, for clients of both eras. Who makes one need not be who works on it: any number of
 * processes claim what is to be done, and what one leaves that dies another takes up. Each task has one outcome, for it
 * and the end of the work are one transaction.
 */
export class TaskWorker {
  #store
  #tasks
  #options
  #loop = null

  constructor(store, options = {}) {
    this.#store = store
    this.#options = {
      queue: QUEUE,
      worker: `node ${process.pid}`,
      concurrency: 10,
      lease: LEASE,
      attempts: MOST_ATTEMPTS,
      ttlMs: DAY,
      pollIntervalMs: 5000,
      onError: () => {},
      ...options,
    }
    const { tenant_id } = options
    this.#tasks = new TaskService(store, tenant_id === undefined ? {} : { tenant_id })
  }

  /** Begins to work. */
  start() {
    const { run, tools } = this.#options
    if (run === undefined && tools === undefined) throw new TypeError('start: there is nothing to work with.')
    if (this.#loop !== null) return
    const { queue, worker, concurrency, lease, onError } = this.#options
    const work = (item, context) => this.#work(item, context)
    const claim = { queue, worker, concurrency, lease, per_group: 1000 }
    this.#loop = new WorkLoop(this.#store, { ...claim, settles: false, work, onError })
    this.#loop.start()
  }

  /**
   * Takes up nothing more, and lets legs end for so many milliseconds; then their signals fire, and what does not end
   * otherwise is handed to another worker.
   */
  async stop(options) {
    await this.#loop?.stop(options)
    this.#loop = null
  }

  // --- Who makes tasks, and asks for them

  /** The task and the work on it are durable when this resolves. Answer it with resultType 'task'. */
  async create(task = {}) {
    const { request, context, trace, era = NEWER_ERA, principal = null, state = null } = task
    const { ttlMs = this.#options.ttlMs, pollIntervalMs = this.#options.pollIntervalMs } = task
    const { tenant_id = null } = this.#options
    const task_id = randomBytes(32).toString('base64url')
    const owners = { tenant_id, principal }
    const meta = { ...asJSON(context), ...traceIn(trace), work: { era, state: asJSON(state) } }
    const made = {
      ...owners,
      task_id,
      original_method: request?.method,
      original_params: asJSON(request?.params),
      ttl: ttlMs ?? undefined,
      poll_interval: pollIntervalMs ?? undefined,
      meta,
    }
    await this.#store.transaction({
      calls: [{ method: 'create_task', params: made }, { method: 'enqueue_work', params: this.#item(made) }],
    })
    return this.get(task_id, { principal })
  }

  /** What is to be done for a task, as it stands in the queue. */
  #item({ task_id, tenant_id, principal }) {
    const payload = { task_id, tenant_id, principal }
    const group = principal === null ? {} : { group: principal }
    return { tenant_id, principal, queue: this.#options.queue, work_id: task_id, ...group, payload }
  }

  get(taskId, access) {
    return this.#tasks.get(taskId, access)
  }

  /** Answers to what the task asked for. False when there is no such task; what nobody asked for is ignored. */
  update(taskId, inputResponses, access) {
    const params = { input_responses: asJSON(inputResponses) }
    const isAnswered = (before, after) => before.status === 'input_required' && after.status === 'working'
    return this.#change('provide_task_input', taskId, params, access, isAnswered)
  }

  /** Says that somebody wants it cancelled. False when there is no such task. */
  cancel(taskId, access) {
    const isAtRest = ({ status, meta }) => status === 'input_required' || meta?.work?.paused === true
    return this.#change('cancel_task', taskId, { cooperative: true }, access, isAtRest)
  }

  /** Changes a task. Where nobody works on it, and somebody should now, its work is due at once. */
  async #change(method, taskId, params, { principal = null } = {}, isDue) {
    const { tenant_id } = this.#options
    const own = { ...(tenant_id === undefined ? {} : { tenant_id }), principal, task_id: taskId }
    let results
    try {
      const answer = this.#store.transaction({
        calls: [{ method: 'get_task', params: own }, { method, params: { ...own, ...params } }],
      })
      const found = await orElse(null, answer)
      if (found === null) return false
      results = found.results
    } catch (error) {
      if (error instanceof RequestError && error.kind === 'terminal_state') return true
      throw error
    }
    const [before, after] = results
    if (isDue(before, after)) await this.#wake(before)
    return true
  }

  async #wake(task) {
    const item = this.#item(task)
    const { queue, work_id, tenant_id, principal } = item
    await this.#store.transaction({
      calls: [
        { method: 'cancel_work', params: { queue, work_id, tenant_id, principal } },
        { method: 'enqueue_work', params: item },
      ],
    }, { repeatable: true })
  }

  /**
   * Tools for clients that know no tasks: `task_status` and `task_cancel`, each `{name, description, inputSchema,
   * call(arguments, access)}`, whose `call` resolves with a tool's result.
   */
  get fallbackTools() {
    const inputSchema = {
      type: 'object',
      properties: { task_id: { type: 'string', description: 'What the tool that began the task answered.' } },
      required: ['task_id'],
    }
    const call = (action) => async ({ task_id } = {}, access) => {
      const task = typeof task_id === 'string' ? await action(task_id, access) : undefined
      if (task === undefined) return { content: [{ type: 'text', text: 'There is no such task.' }], isError: true }
      return { content: [{ type: 'text', text: JSON.stringify(task) }], structuredContent: task }
    }
    return [
      {
        name: 'task_status',
        description: 'Tells how far a task is, and its result once it has one.',
        inputSchema,
        call: call((taskId, access) => this.get(taskId, access)),
      },
      {
        name: 'task_cancel',
        description: 'Asks for a task to be cancelled, and tells how it is.',
        inputSchema,
        call: call(async (taskId, access) => {
          return (await this.cancel(taskId, access)) ? this.get(taskId, access) : undefined
        }),
      },
    ]
  }

  // --- The work

  async #work(item, { signal }) {
    const { task_id, tenant_id, principal } = item.payload
    const own = { task_id, tenant_id, principal }
    const task = await this.#store.getTask(own)
    const leg = new Leg(this.#store, item, { own, task, lease: this.#options.lease })
    if (task === null || TERMINAL.has(task.status)) return leg.settle('done')
    if (task.cancel_requested) return leg.cancelled()
    if (item.attempt > this.#options.attempts) {
      const message = `The task ended ${this.#options.attempts} workers that began it.`
      return leg.failed({ code: INTERNAL_ERROR, message }, 'dead')
    }
    if (task.status === 'input_required') return leg.settle('release', { delay: WAITING })
    const { run, tools = {} } = this.#options
    const name = task.original_params?.name
    const work = typeof name === 'string' && Object.hasOwn(tools, name) ? tools[name] : run
    // Another worker may know it.
    if (work === undefined) return leg.settle('release', { delay: UNKNOWN })
    if (leg.work.paused) await leg.write([leg.keeping(leg.work.state)])
    await this.#run(work, leg, signal)
  }

  async #run(work, leg, signal) {
    const job = new TaskJob(leg)
    const stop = job.watch(signal)
    let answer
    try {
      answer = await work(job)
    } catch (error) {
      return this.#failed(leg, job, signal, error)
    } finally {
      stop()
    }
    await leg.end(answer)
  }

  /** What `run` threw is the end of the task, unless it is no word of the work's own. */
  async #failed(leg, job, signal, error) {
    if (leg.isOver) return
    // The lease is lost, and the task another worker's; or this one is stopped, and shall become another's.
    if (signal.aborted) return leg.settle('release')
    if (job.isCancelled) return leg.cancelled()
    if (error instanceof StoreError && (error.retryable || error.outcome === 'unknown')) {
      await leg.settle('retry', { delay: RETRY })
      throw error
    }
    const failure = failureOf(error)
    if (failure === null) tell(this.#options.onError, error)
    await leg.failed(failure ?? { code: INTERNAL_ERROR, message: 'Internal server error' })
  }
}

/** One claim of a task: all that is written for it holds the claim, or does nothing. */
class Leg {
  #store
  #item
  #lease
  /** Whether the item is settled, or another's: nothing more can be written. */
  isOver = false

  constructor(store, item, { own, task, lease }) {
    this.#store = store
    this.#item = item
    this.#lease = lease
    this.own = own
    this.task = task
    this.attempt = item.attempt
    this.fence = item.fence
  }

  get #claim() {
    const { queue, work_id, fence } = this.#item
    return { queue, work_id, fence }
  }

  get work() {
    return this.task.meta?.work ?? {}
  }

  async settle(outcome, more = {}) {
    this.isOver = true
    await this.#store.settleWork({ ...this.#claim, outcome, ...more })
  }

  /** The states of the task, from now on. */
  subscribe() {
    return this.#store.subscribeTasks(this.own)
  }

  /** Settles, and does what comes of it, in one step; where the task is over or gone, it settles alone. */
  async #settleWith(outcome, calls, more = {}) {
    const settling = { method: 'settle_work', params: { ...this.#claim, outcome, ...more }, require: true }
    try {
      // Guarded by the fence: when it was done and the answer was lost, the second time is refused.
      await this.#store.transaction({ calls: [settling, ...calls] }, { repeatable: true })
      this.isOver = true
    } catch (error) {
      if (!(error instanceof RequestError)) throw error
      if (error.kind === 'terminal_state' || error.kind === 'task_not_found') return this.settle('done')
      if (error.kind !== 'requirement_failed') throw error
      this.isOver = true
    }
  }

  /** Writes something for the task and keeps the claim. */
  async write(calls) {
    const params = { ...this.#claim, lease: this.#lease }
    const renewal = { method: 'renew_work', params, require: true }
    try {
      await this.#store.transaction({ calls: [renewal, ...calls] }, { repeatable: true })
    } catch (error) {
      if (error.kind === 'requirement_failed') this.isOver = true
      throw error
    }
  }

  /** The call that keeps what the work needs to go on; the other members of `meta` stay. */
  keeping(state, { isPaused = false } = {}) {
    const { paused, ...work } = this.work
    const kept = { ...work, state: asJSON(state) ?? null, ...(isPaused ? { paused: true } : {}) }
    const meta = { ...this.task.meta, work: kept }
    this.task = { ...this.task, meta }
    const { task_id, tenant_id, principal } = this.own
    return { method: 'update_task', params: { task: { task_id, meta }, tenant_id, principal } }
  }

  /** Ends the leg with what the work returned. */
  async end(answer) {
    if (answer?.kind === QUESTION) return this.#ask(answer)
    if (answer?.kind === PAUSE) return this.#settleWith(answer.outcome, answer.calls, { delay: answer.delay })
    const result = asJSON(answer) ?? {}
    try {
      await this.#complete(result)
    } catch (error) {
      // Nobody shall wait for it for ever.
      if (!isUnstorable(error)) throw error
      await this.failed(unstored(error))
      throw error
    }
  }

  async #complete(result) {
    if (this.work.era !== OLDER_ERA || result.isError !== true) {
      return this.#settleWith('done', [{ method: 'complete_task', params: { ...this.own, result } }])
    }
    // A tool's own error: the task has failed, and its result is a result.
    await this.#settleWith('done', [
      { method: 'store_task_result', params: { ...this.own, result: { success: result } } },
      { method: 'update_task_status', params: { ...this.own, status: 'failed' } },
    ])
  }

  /** Nobody waits while the client is asked: the next leg begins with the answers. */
  async #ask({ input_requests, calls }) {
    const asking = { method: 'require_task_input', params: { ...this.own, input_requests } }
    try {
      await this.#settleWith('release', [...calls, asking], { delay: WAITING })
    } catch (error) {
      // It would be asked in vain ever again: a key that was used before, or a question that cannot be stored.
      if (!isUnstorable(error) && error.kind !== 'max_input_keys_reached') throw error
      await this.failed({ code: INTERNAL_ERROR, message: 'The question could not be asked.' })
      throw error
    }
  }

  failed(error, outcome = 'done') {
    return this.#settleWith(outcome, [{ method: 'fail_task', params: { ...this.own, error } }])
  }

  cancelled() {
    const params = { ...this.own, status: 'cancelled' }
    return this.#settleWith('done', [{ method: 'update_task_status', params }])
  }
}

/** What the work on a task is given, and says. */
export class TaskJob {
  #leg
  #controller = new AbortController()

  /** Whether somebody wants the task cancelled. */
  isCancelled = false

  constructor(leg) {
    const { task_id, original_method, original_params, input_responses } = leg.task
    this.#leg = leg
    this.taskId = task_id
    this.principal = leg.own.principal
    this.request = { method: original_method, params: original_params }
    /** What the client answered so far, by key. */
    this.input = input_responses ?? {}
    this.attempt = leg.attempt
    /** Rises with each claim of the task: hand it on where an effect outside shall happen once. */
    this.fence = leg.fence
  }

  /** The task as it was stored when the leg began. */
  get task() {
    return this.#leg.task
  }

  /** What `save` or the leg before kept; null at first. */
  get state() {
    return this.#leg.work.state ?? null
  }

  /** Fires when the task is to be cancelled, is over, or is another worker's, and when this one is stopped. */
  get signal() {
    return this.#controller.signal
  }

  /** Keeps what a worker needs that takes the task up after this one, and what to tell people meanwhile. */
  async save(state, message) {
    const { own } = this.#leg
    const telling = { method: 'touch_task', params: { ...own, status_message: message } }
    await this.#leg.write([this.#leg.keeping(state), ...(message === undefined ? [] : [telling])])
  }

  /** Tells people how far it is. */
  async status(message) {
    await this.#leg.write([{ method: 'touch_task', params: { ...this.#leg.own, status_message: message } }])
  }

  /**
   * To be returned: asks the client, and ends this leg; no worker is held meanwhile. The next one begins with the
   * answers in `input`. A key may be used once in a task's life.
   */
  ask(inputRequests, { state = this.state } = {}) {
    return { kind: QUESTION, input_requests: asJSON(inputRequests), calls: [this.#leg.keeping(state)] }
  }

  /** To be returned: the next leg begins after so many milliseconds. */
  pause(delay, { state = this.state } = {}) {
    return { kind: PAUSE, outcome: 'release', delay, calls: [this.#leg.keeping(state, { isPaused: true })] }
  }

  /** To be returned: the leg failed for now, and is begun again after so many milliseconds, as another attempt. */
  retry(delay, { state = this.state } = {}) {
    return { kind: PAUSE, outcome: 'retry', delay, calls: [this.#leg.keeping(state, { isPaused: true })] }
  }

  /** Watches for a wish to cancel, and for what ends the claim; returns what ends watching. */
  watch(signal) {
    const end = () => this.#controller.abort(signal.reason)
    if (signal.aborted) end()
    signal.addEventListener('abort', end, { once: true })
    const states = this.#leg.subscribe()
    void this.#follow(states)
    return () => {
      signal.removeEventListener('abort', end)
      void states.return()
    }
  }

  async #follow(states) {
    try {
      for await (const { task } of states) {
        if (task === null || task.cancel_requested || TERMINAL.has(task.status)) {
          this.isCancelled = true
          this.#controller.abort(new AbortError('The task is to be cancelled, or is over.'))
          return
        }
      }
      if (states.ended === 'deleted' || states.ended === 'expired') {
        this.#controller.abort(new AbortError('The task is gone.'))
      }
    } catch {
      // The store is out of reach: whether the task is to be cancelled is seen when the leg ends.
    }
  }
}

/** What a task failed with, where an error says its own code of JSON-RPC; null: what it says is for nobody else. */
function failureOf(error) {
  if (!Number.isSafeInteger(error?.code)) return null
  const data = error.data === undefined ? {} : { data: asJSON(error.data) }
  return { code: error.code, message: String(error.message).slice(0, 1000), ...data }
}
