import type { SessionStore } from './store.mjs'

/** A task as MCP 2025-11-25 has it. */
export interface LegacyTask {
  taskId: string
  status: 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled'
  statusMessage?: string
  createdAt: string
  lastUpdatedAt: string
  /** Milliseconds from the creation; null: for ever. */
  ttl: number | null
  pollInterval?: number
}

/** Whose tasks these are. Calls that carry no session id are not restricted to one. */
export interface TaskScope {
  tenant_id?: string | null
  /** Who the tasks belong to, also after the session is gone; so the better choice where you know it. */
  principal?: string | null
  /** Whether tasks belong to the MCP session, which must be in the store. True when there is no principal. */
  bySession?: boolean
}

export interface TaskStoreOptions extends TaskScope {
  /** Milliseconds; what a requestor asks for is cut to this. null, the default: no limit. */
  maxTtl?: number | null
  /** Milliseconds, where the tool names none; 1,000. */
  pollInterval?: number
}

export interface TaskMessageQueueOptions extends TaskScope {
  /** What kept `dequeueAll` from its work; the messages are still there then. */
  onError?: (error: unknown) => void
}

/** The experimental `TaskStore` of the TypeScript SDK 1.x, for the tasks in the core of MCP 2025-11-25. */
export declare class TaskStore {
  constructor(store: SessionStore, options?: TaskStoreOptions)

  /** The task is durable when this resolves. Its id has 256 random bits. */
  createTask(
    taskParams: { ttl?: number | null; pollInterval?: number; context?: Record<string, unknown> },
    requestId: string | number,
    request: { method: string; params?: any },
    sessionId?: string,
  ): Promise<LegacyTask>

  /** Null when it is unknown, over its time, or another's. */
  getTask(taskId: string, sessionId?: string): Promise<LegacyTask | null>

  /** Result and status in one step. Rejects with `terminal_state` when the task is over, `task_not_found`. */
  storeTaskResult(taskId: string, status: 'completed' | 'failed', result: any, sessionId?: string): Promise<void>

  /** Rejects when there is none yet; with the error itself when the task ended with a JSON-RPC error. */
  getTaskResult(taskId: string, sessionId?: string): Promise<any>

  /** A task that is in that status already gets the message alone. Without one the message is cleared. */
  updateTaskStatus(
    taskId: string,
    status: LegacyTask['status'],
    statusMessage?: string,
    sessionId?: string,
  ): Promise<void>

  /** In the order of creation. Rejects with `invalid_cursor`. */
  listTasks(cursor?: string, sessionId?: string): Promise<{ tasks: LegacyTask[]; nextCursor?: string }>
}

/** The experimental `TaskMessageQueue` of the TypeScript SDK 1.x: what waits for a client that asks for the result. */
export declare class TaskMessageQueue {
  constructor(store: SessionStore, options?: TaskMessageQueueOptions)

  /** Rejects with `queue_full` when there are `maxSize` messages; looking and putting are one step. */
  enqueue(taskId: string, message: any, sessionId?: string, maxSize?: number): Promise<void>

  /** The oldest message; undefined when there is none. */
  dequeue(taskId: string, sessionId?: string): Promise<any>

  /** The oldest message, which stays where it is; undefined when there is none. */
  peek(taskId: string, sessionId?: string): Promise<any>

  /** How many messages there are; 0 for a task that is not there. */
  size(taskId: string, sessionId?: string): Promise<number>

  /** Never rejects: the SDK clears queues without waiting for it. What there was before a failure. */
  dequeueAll(taskId: string, sessionId?: string): Promise<any[]>
}
