import { RequestError } from './errors.mjs'
import { asJSON } from './json.mjs'
import { ownersFor } from './owners.mjs'
import { isUnstorable } from './unstorable.mjs'

/** A task as MCP 2025-11-25 has it. */
function toTask({ task_id, status, status_message, created_at, last_updated_at, ttl, poll_interval }) {
  return {
    taskId: task_id,
    status,
    createdAt: created_at,
    lastUpdatedAt: last_updated_at,
    ttl,
    ...(status_message === null ? {} : { statusMessage: status_message }),
    ...(poll_interval === null ? {} : { pollInterval: poll_interval }),
  }
}

/** What is answered, or `nothing` where there is no such task; an id that could be none is one that is not there. */
export async function orElse(nothing, answer) {
  try {
    return await answer
  } catch (error) {
    const isMissing = error instanceof RequestError &&
      (error.kind === 'task_not_found' || (error.kind === 'invalid_params' && error.data.parameter === 'task_id'))
    if (isMissing) return nothing
    throw error
  }
}

/** What stands in the place of a result that cannot be stored. */
export function unstored({ message }) {
  return { code: -32603, message: 'The result of the task could not be kept: ' + message.slice(0, 200) }
}

/** Whose tasks are meant: those of the owners, or else those of the session. */
class Scope {
  #store
  #owners
  #bySession

  constructor(store, { tenant_id, principal, bySession = principal === undefined || principal === null }) {
    const given = Object.entries({ tenant_id, principal }).filter(([, value]) => value !== undefined)
    this.#store = store
    this.#owners = Object.fromEntries(given)
    this.#bySession = bySession
  }

  /** Without a session id it is not asked for: the SDK leaves it out where it calls for itself. */
  async of(sessionId) {
    const owners = await ownersFor(this.#store, this.#owners)
    return this.#bySession && sessionId !== undefined ? { ...owners, session_id: sessionId } : owners
  }
}

/** The experimental `TaskStore` of the TypeScript SDK 1.x, for the tasks in the core of MCP 2025-11-25. */
export class TaskStore {
  #store
  #scope
  #maxTtl
  #pollInterval

  constructor(store, { maxTtl = null, pollInterval = 1000, ...scope } = {}) {
    this.#store = store
    this.#scope = new Scope(store, scope)
    this.#maxTtl = maxTtl
    this.#pollInterval = pollInterval
  }

  /** The task is durable when this resolves. Its id has 256 random bits. */
  async createTask({ ttl, pollInterval, context }, requestId, request, sessionId) {
    const limits = [ttl, this.#maxTtl].filter((limit) => limit !== null && limit !== undefined)
    const made = await this.#store.createTask({
      ...(await this.#scope.of(sessionId)),
      id_format: 'random',
      original_method: request.method,
      original_params: asJSON(request.params),
      ttl: limits.length > 0 ? Math.min(...limits) : undefined,
      poll_interval: pollInterval ?? this.#pollInterval,
      meta: asJSON({ request_id: requestId, context }),
    })
    return toTask(made)
  }

  async getTask(taskId, sessionId) {
    const call = { ...(await this.#scope.of(sessionId)), task_id: taskId }
    const task = await orElse(null, this.#store.getTask(call))
    return task === null ? null : toTask(task)
  }

  /**
   * Result and status in one step; a task that is over keeps what it has. With a result that cannot be stored the task
   * fails, so that nobody waits for it for ever.
   */
  async storeTaskResult(taskId, status, result, sessionId) {
    const task = { ...(await this.#scope.of(sessionId)), task_id: taskId }
    try {
      await this.#storeResult(task, status, asJSON(result))
    } catch (error) {
      if (!isUnstorable(error)) throw error
      await this.#store.failTask({ ...task, error: unstored(error) })
    }
  }

  async #storeResult(task, status, result) {
    if (status === 'completed') {
      await this.#store.completeTask({ ...task, result })
      return
    }
    // A tool's own error: the task has failed, and its result is a result.
    await this.#store.transaction({
      calls: [
        { method: 'update_task_status', params: { ...task, status } },
        { method: 'store_task_result', params: { ...task, result: { success: result } } },
      ],
    })
  }

  async getTaskResult(taskId, sessionId) {
    const { result } = await this.#store.getTaskResult({ ...(await this.#scope.of(sessionId)), task_id: taskId })
    if (result === null) throw new Error(`Task ${taskId} has no result yet.`)
    if (result.error === undefined) return result.success
    const { code, message, data } = result.error
    throw Object.assign(new Error(message), { code, data })
  }

  /** A task that is in that status already gets the message alone. */
  async updateTaskStatus(taskId, status, statusMessage, sessionId) {
    const task = { ...(await this.#scope.of(sessionId)), task_id: taskId, status_message: statusMessage }
    try {
      await this.#store.updateTaskStatus({ ...task, status })
    } catch (error) {
      const isThere = error instanceof RequestError && error.kind === 'invalid_transition' &&
        error.data.current === status
      if (!isThere) throw error
      await this.#store.touchTask(task)
    }
  }

  async listTasks(cursor, sessionId) {
    const { tasks, next_cursor } = await this.#store.listTasks({ ...(await this.#scope.of(sessionId)), cursor })
    return { tasks: tasks.map(toTask), ...(next_cursor === null ? {} : { nextCursor: next_cursor }) }
  }
}

/**
 * The experimental `TaskMessageQueue` of the TypeScript SDK 1.x: what waits for a client that asks for the result. A
 * task that is not there has no messages, for the SDK clears the queues of tasks that lapsed.
 */
export class TaskMessageQueue {
  #store
  #scope
  #onError

  constructor(store, { onError = () => {}, ...scope } = {}) {
    this.#store = store
    this.#scope = new Scope(store, scope)
    this.#onError = onError
  }

  /** Rejects with `queue_full` when there are `maxSize` messages; looking and putting are one step. */
  async enqueue(taskId, message, sessionId, maxSize) {
    const call = { ...(await this.#scope.of(sessionId)), task_id: taskId, message: asJSON(message), max_size: maxSize }
    await this.#store.enqueueTaskMessage(call)
  }

  async dequeue(taskId, sessionId) {
    const call = { ...(await this.#scope.of(sessionId)), task_id: taskId }
    const { exists, message } = await orElse({ exists: false }, this.#store.dequeueTaskMessage(call))
    return exists ? message : undefined
  }

  /** The oldest message, which stays where it is; undefined when there is none. */
  async peek(taskId, sessionId) {
    return (await this.#look(taskId, sessionId, 1)).messages[0]
  }

  /** How many messages there are. */
  async size(taskId, sessionId) {
    return (await this.#look(taskId, sessionId, 0)).size
  }

  async #look(taskId, sessionId, limit) {
    const call = { ...(await this.#scope.of(sessionId)), task_id: taskId, limit }
    return orElse({ messages: [], size: 0 }, this.#store.peekTaskMessages(call))
  }

  /** Never rejects: the SDK clears queues without waiting for it, so nobody could catch what is thrown here. */
  async dequeueAll(taskId, sessionId) {
    const all = []
    try {
      const call = { ...(await this.#scope.of(sessionId)), task_id: taskId }
      for (let hasMore = true; hasMore; ) {
        const none = { messages: [], has_more: false }
        const { messages, has_more } = await orElse(none, this.#store.dequeueAllTaskMessages(call))
        all.push(...messages)
        hasMore = has_more
      }
    } catch (error) {
      this.#onError(error)
    }
    return all
  }
}
