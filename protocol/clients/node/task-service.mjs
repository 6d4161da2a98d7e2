import { createHash } from 'node:crypto'
import { AbortError, RequestError } from './errors.mjs'
import { asJSON } from './json.mjs'
import { traceIn } from './otel.mjs'
import { ownersFor } from './owners.mjs'
import { orElse, unstored } from './task-store.mjs'
import { isUnstorable } from './unstorable.mjs'

const DAY = 24 * 60 * 60 * 1000
/** Tasks whose owners are remembered, for those who work on them. */
const MOST_REMEMBERED = 10_000
const TERMINAL = new Set(['completed', 'failed', 'cancelled'])

/** A task as the extension `io.modelcontextprotocol/tasks` of 2026-07-28 has it, without what it asks and answers. */
function toTask({ task_id, status, status_message, created_at, last_updated_at, ttl, poll_interval }) {
  return {
    taskId: task_id,
    status,
    createdAt: created_at,
    lastUpdatedAt: last_updated_at,
    ttlMs: ttl,
    ...(status_message === null ? {} : { statusMessage: status_message }),
    ...(poll_interval === null ? {} : { pollIntervalMs: poll_interval }),
  }
}

/** The same with what belongs to its status: requests for input, the result, or the error. */
function toDetailedTask(stored) {
  const task = toTask(stored)
  const { status, result, input_requests, status_message } = stored
  if (status === 'input_required') return { ...task, inputRequests: input_requests ?? {} }
  if (status === 'completed') return { ...task, result: result?.success ?? {} }
  if (status !== 'failed') return task
  // A tool's own error is a result in this era: a task that was made `failed` by it, by the rules before, is completed.
  if (result !== null && result.error === undefined) return { ...task, status: 'completed', result: result.success }
  return { ...task, error: result?.error ?? { code: -32603, message: status_message ?? 'The task failed.' } }
}

/** What a worker needs, and beside it the trace of who asked, where there is one. */
function withTrace(context, given) {
  const trace = traceIn(given)
  if (Object.keys(trace).length === 0) return context
  if (context === undefined || context === null) return trace
  if (typeof context === 'object' && !Array.isArray(context)) return { ...context, ...trace }
  throw new TypeError('trace: it stands beside the members of `context`, which must be an object then.')
}

/**
 * The tasks extension of MCP 2026-07-28 over the store: what `tasks/get`, `tasks/update` and `tasks/cancel` answer, and
 * the side of the worker. Who asks is always said: a call without a principal is the anonymous caller.
 */
export class TaskService {
  #store
  #ttlMs
  #pollIntervalMs
  #tenant
  #owners = new Map()

  constructor(store, { ttlMs = DAY, pollIntervalMs = 5000, tenant_id } = {}) {
    this.#store = store
    this.#ttlMs = ttlMs
    this.#pollIntervalMs = pollIntervalMs
    this.#tenant = tenant_id === undefined ? {} : { tenant_id }
  }

  #access({ principal = null } = {}) {
    return { ...this.#tenant, principal }
  }

  /** The task is durable when this resolves: `get` finds it. Its id has 256 random bits. */
  async create(task = {}) {
    const { ttlMs = this.#ttlMs, pollIntervalMs = this.#pollIntervalMs, context, request, trace, ...access } = task
    const owners = this.#access(access)
    const made = await this.#store.createTask({
      ...owners,
      id_format: 'random',
      original_method: request?.method,
      original_params: asJSON(request?.params),
      ttl: ttlMs ?? undefined,
      poll_interval: pollIntervalMs ?? undefined,
      meta: withTrace(asJSON(context), trace),
    })
    this.#remember(made.task_id, owners)
    return toTask(made)
  }

  #remember(taskId, owners) {
    this.#owners.set(taskId, owners)
    if (this.#owners.size > MOST_REMEMBERED) this.#owners.delete(this.#owners.keys().next().value)
  }

  async get(taskId, access) {
    const task = await orElse(null, this.#store.getTask({ ...this.#access(access), task_id: taskId }))
    return task === null ? undefined : toDetailedTask(task)
  }

  /** Answers to what the task asked for. False when there is no such task; what nobody asked for is ignored. */
  async update(taskId, inputResponses, access) {
    const call = { ...this.#access(access), task_id: taskId, input_responses: asJSON(inputResponses) }
    return this.#acknowledge(this.#store.provideTaskInput(call))
  }

  /** Says that somebody wants it cancelled; its worker decides. False when there is no such task. */
  async cancel(taskId, access) {
    const call = { ...this.#access(access), task_id: taskId, cooperative: true }
    return this.#acknowledge(this.#store.cancelTask(call))
  }

  /** Both are acknowledged where the task is over, too. */
  async #acknowledge(answer) {
    try {
      return (await orElse(null, answer)) !== null
    } catch (error) {
      if (error instanceof RequestError && error.kind === 'terminal_state') return true
      throw error
    }
  }

  /**
   * The side of the one who works on a task; also after a restart. It speaks for the owner of a task that was created
   * here, else for whom `access` says, else for the server itself.
   */
  writer(taskId, access) {
    const owners = access === undefined ? (this.#owners.get(taskId) ?? {}) : this.#access(access)
    return new TaskWriter(this.#store, taskId, owners)
  }
}

/** What the worker of a task says and hears. */
export class TaskWriter {
  #store
  #owners
  #signal = null
  #watching = null
  #isClosed = false

  constructor(store, taskId, owners) {
    this.#store = store
    this.#owners = owners
    this.taskId = taskId
  }

  /** The task and its owners, for each call. */
  async #own() {
    return { ...(await ownersFor(this.#store, this.#owners)), task_id: this.taskId }
  }

  /** Fires when somebody wants the task cancelled, or it is over or gone. Watching ends with it, or with `close`. */
  get signal() {
    if (this.#signal === null) {
      const controller = new AbortController()
      this.#signal = controller.signal
      void this.#watch(controller)
    }
    return this.#signal
  }

  async #watch(controller) {
    try {
      const task = await this.#own()
      if (this.#isClosed) return
      const states = this.#store.subscribeTasks(task)
      this.#watching = states
      for await (const { task: { status, cancel_requested } } of states) {
        if (cancel_requested) controller.abort(new AbortError('The task is to be cancelled.'))
        if (cancel_requested || TERMINAL.has(status)) break
      }
      if (states.ended !== 'closed' && !this.#isClosed) controller.abort(new AbortError('The task is over.'))
    } catch (error) {
      controller.abort(error)
    }
  }

  /** Says how far it is, and that somebody works on it. */
  async status(message) {
    await this.#store.touchTask({ ...(await this.#own()), status_message: message })
  }

  /**
   * Asks for input and resolves with the answers, by key, when all are in. Rejects when the task is to be cancelled
   * or is over before that. A key may be used once in a task's life.
   */
  async requireInput(inputRequests, { signal } = {}) {
    await this.#store.requireTaskInput({ ...(await this.#own()), input_requests: asJSON(inputRequests) })
    return this.input(Object.keys(inputRequests), { signal })
  }

  /** Waits for answers to what was asked for before, as after a restart. */
  async input(keys, { signal } = {}) {
    const states = this.#store.subscribeTasks(await this.#own(), { signal })
    for await (const { task: { status, cancel_requested, input_responses } } of states) {
      const answers = input_responses ?? {}
      if (keys.every((key) => Object.hasOwn(answers, key))) {
        return Object.fromEntries(keys.map((key) => [key, answers[key]]))
      }
      if (cancel_requested || TERMINAL.has(status)) break
    }
    throw new AbortError('The task is to be cancelled, or is over: no more input comes.')
  }

  /** The result of the request, be it a tool's own error. */
  async complete(result) {
    this.close()
    const task = await this.#own()
    try {
      await this.#store.completeTask({ ...task, result })
    } catch (error) {
      // Nobody shall wait for it for ever.
      if (isUnstorable(error)) await this.#store.failTask({ ...task, error: unstored(error) })
      throw error
    }
  }

  /** A JSON-RPC error, `{code, message, data?}`. */
  async fail(error) {
    this.close()
    // An Error keeps its message where JSON does not look.
    const { code, message, data } = error
    await this.#store.failTask({ ...(await this.#own()), error: { code, message, data: asJSON(data) } })
  }

  /** What the worker makes of a wish to cancel. */
  async cancelled() {
    this.close()
    await this.#store.cancelTask(await this.#own())
  }

  /** Ends watching. The task is as it was. */
  close() {
    this.#isClosed = true
    void this.#watching?.return()
  }
}

/**
 * Whether a request state comes for the first time: true exactly once for a state of a principal, across processes and
 * restarts, until `ttlMs` after it. Verify its seal first. Give the same principal and tenant each time.
 */
export async function useRequestState(store, requestState, { ttlMs, principal, tenant_id }) {
  // A state may be longer than a nonce. The parts are told apart by JSON, so that no tenant can take another's. The
  // client for Python names it so, too: a state that was used there is used here.
  const named = tenant_id === undefined || tenant_id === null ? requestState : JSON.stringify([tenant_id, requestState])
  const nonce = createHash('sha256').update(named).digest('hex')
  const { first } = await store.consumeNonce({ nonce, ttl: ttlMs, principal: principal ?? null })
  return first
}
