import { createHash } from 'node:crypto'
import { AbortError, RequestError } from './errors.mjs'
import { orElse } from './task-store.mjs'

const DAY = 24 * 60 * 60 * 1000
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

/**
 * The tasks extension of MCP 2026-07-28 over the store: what `tasks/get`, `tasks/update` and `tasks/cancel` answer, and
 * the side of the worker. Who asks is always said: a call without a principal is the anonymous caller.
 */
export class TaskService {
  #store
  #ttlMs
  #pollIntervalMs
  #tenant

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
    const { ttlMs = this.#ttlMs, pollIntervalMs = this.#pollIntervalMs, context = null, request, ...access } = task
    const made = await this.#store.createTask({
      ...this.#access(access),
      id_format: 'random',
      original_method: request?.method,
      original_params: request?.params,
      ttl: ttlMs,
      poll_interval: pollIntervalMs,
      meta: context,
    })
    return toTask(made)
  }

  async get(taskId, access) {
    const task = await orElse(null, this.#store.getTask({ ...this.#access(access), task_id: taskId }))
    return task === null ? undefined : toDetailedTask(task)
  }

  /** Answers to what the task asked for. False when there is no such task; what nobody asked for is ignored. */
  async update(taskId, inputResponses, access) {
    const call = { ...this.#access(access), task_id: taskId, input_responses: inputResponses }
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

  /** The side of the one who works on a task; also after a restart. */
  writer(taskId) {
    return new TaskWriter(this.#store, taskId)
  }
}

/** What the worker of a task says and hears. */
export class TaskWriter {
  #store
  #signal = null
  #watching = null

  constructor(store, taskId) {
    this.#store = store
    this.taskId = taskId
  }

  /** Fires when somebody wants the task cancelled, or it is over or gone. Watching ends with it, or with `close`. */
  get signal() {
    if (this.#signal === null) {
      const controller = new AbortController()
      this.#signal = controller.signal
      this.#watching = this.#store.subscribeTasks({ task_id: this.taskId })
      void this.#watch(this.#watching, controller)
    }
    return this.#signal
  }

  async #watch(states, controller) {
    try {
      for await (const { task: { status, cancel_requested } } of states) {
        if (cancel_requested) controller.abort(new AbortError('The task is to be cancelled.'))
        if (cancel_requested || TERMINAL.has(status)) break
      }
      if (states.ended !== 'closed' && !this.#isClosed) controller.abort(new AbortError('The task is over.'))
    } catch (error) {
      controller.abort(error)
    }
  }

  #isClosed = false

  /** Says how far it is, and that somebody works on it. */
  async status(message) {
    await this.#store.touchTask({ task_id: this.taskId, status_message: message })
  }

  /**
   * Asks for input and resolves with the answers, by key, when all are in. Rejects when the task is to be cancelled
   * or is over before that. A key may be used once in a task's life.
   */
  async requireInput(inputRequests, { signal } = {}) {
    await this.#store.requireTaskInput({ task_id: this.taskId, input_requests: inputRequests })
    return this.input(Object.keys(inputRequests), { signal })
  }

  /** Waits for answers to what was asked for before, as after a restart. */
  async input(keys, { signal } = {}) {
    const states = this.#store.subscribeTasks({ task_id: this.taskId }, { signal })
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
    await this.#store.completeTask({ task_id: this.taskId, result })
  }

  /** A JSON-RPC error, `{code, message, data?}`. */
  async fail(error) {
    this.close()
    // An Error keeps its message where JSON does not look.
    const { code, message, data } = error
    await this.#store.failTask({ task_id: this.taskId, error: { code, message, data } })
  }

  /** What the worker makes of a wish to cancel. */
  async cancelled() {
    this.close()
    await this.#store.cancelTask({ task_id: this.taskId })
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
  // A state may be longer than a nonce. The parts are told apart by JSON, so that no tenant can take another's.
  const nonce = createHash('sha256').update(JSON.stringify([tenant_id ?? null, requestState])).digest('base64url')
  const { first } = await store.consumeNonce({ nonce, ttl: ttlMs, principal: principal ?? null })
  return first
}
