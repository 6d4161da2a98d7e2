import type { Trace } from './otel.mjs'
import type { Signal, SessionStore } from './store.mjs'
import type { Task } from './methods.mjs'
import type { CreateTask, DetailedTask, TaskAccess } from './task-service.mjs'

/** What a leg returns that is not the last one; see `TaskJob.ask` and `TaskJob.pause`. */
export interface Unfinished {
  readonly kind: symbol
}

/** What the work on a task is given, and says: one leg, from a claim to its end. */
export declare class TaskJob {
  private constructor()
  readonly taskId: string
  readonly principal: string | null
  /** What the task stands for. */
  readonly request: { method: string | null; params: any }
  /** The task as it was stored when the leg began. */
  readonly task: Task
  /** What `save`, or the leg before, kept; null at first. */
  readonly state: any
  /** What the client answered so far, by key. */
  readonly input: Record<string, any>
  /** How often this part of the work was begun, this time included. */
  readonly attempt: number
  /** Rises with each claim: hand it on where an effect outside shall happen once. */
  readonly fence: number
  /** Fires when the task is to be cancelled, is over, or is another worker's, and when this one is stopped. */
  readonly signal: AbortSignalLike
  /** Whether it fired because somebody wants the task cancelled. */
  readonly isCancelled: boolean

  /** Keeps what a worker needs that takes the task up after this one. Rejects when it is another's by now. */
  save(state: unknown, message?: string): Promise<void>

  /** Tells people how far it is. */
  status(message?: string): Promise<void>

  /** To be returned: asks the client. No worker is held meanwhile; the next leg begins with the answers in `input`. */
  ask(inputRequests: Record<string, unknown>, options?: { state?: unknown }): Unfinished

  /** To be returned: the next leg begins after so many milliseconds. */
  pause(delay: number, options?: { state?: unknown }): Unfinished

  /** To be returned: it failed for now, and is begun again after so many milliseconds, as another attempt. */
  retry(delay: number, options?: { state?: unknown }): Unfinished
}

interface AbortSignalLike extends Signal {
  readonly reason: any
  throwIfAborted(): void
}

export interface TaskWorkerOptions {
  /**
   * The work, by the name of the tool: what it returns is the task's result, be it a tool's own error. What it throws
   * fails the task: with what it says where it has a `code` of JSON-RPC, else as an internal error, and `onError` hears
   * it. Once the task is to be cancelled whatever it throws cancels it. Tools that no worker here knows are left to
   * others.
   */
  tools?: Record<string, (job: TaskJob) => unknown>
  /** The work of everything else. */
  run?: (job: TaskJob) => unknown
  /** The queue; `mcp-tasks` when absent. */
  queue?: string
  /** Shown as the holder of work; `node` and the process id when absent. */
  worker?: string
  /** Tasks at once, of this process; 10. */
  concurrency?: number
  /** Milliseconds after which the work of a process that died is another's; 30,000. It is renewed at a third. */
  lease?: number
  /** Claims after which a task is failed that ended its worker each time; 3. */
  attempts?: number
  /** Milliseconds from its creation that a task is kept, null: for ever; 24 hours. */
  ttlMs?: number | null
  /** What clients are told; 5,000. */
  pollIntervalMs?: number
  tenant_id?: string | null
  /** Hears what fails beside a task: the store out of reach, a result that cannot be stored. */
  onError?: (error: unknown) => void
}

export interface CreateWork extends CreateTask {
  /** Of the client that asked: in the older one a tool's own error makes the task `failed`. */
  era?: '2025-11-25' | '2026-07-28'
  /** What the first leg has as `job.state`. */
  state?: unknown
  trace?: Trace
}

/** A tool for clients that know no tasks. */
export interface FallbackTool {
  name: 'task_status' | 'task_cancel'
  description: string
  inputSchema: object
  call(
    args: { task_id?: string },
    access?: TaskAccess,
  ): Promise<{ content: { type: 'text'; text: string }[]; structuredContent?: any; isError?: boolean }>
}

/**
 * Tasks that outlive their worker, for clients of both eras. Who makes one need not be who works on it: any number of
 * processes claim what is to be done, and what one leaves that dies another takes up. Each task has one outcome.
 */
export declare class TaskWorker {
  constructor(store: SessionStore, options?: TaskWorkerOptions)

  /** Begins to work. While it works it keeps the host alive. */
  start(): void

  /**
   * Takes up nothing more, and lets legs end for `patience` (5,000) milliseconds; then their signals fire, and what
   * does not end otherwise is handed to another worker.
   */
  stop(options?: { patience?: number }): Promise<void>

  /** The task, and the work on it, are durable when this resolves. */
  create(task?: CreateWork): Promise<DetailedTask>

  /** Undefined when it is unknown, over its time, or another's: answer -32602. */
  get(taskId: string, access?: TaskAccess): Promise<DetailedTask | undefined>

  /** Answers to what the task asked for. False when there is no such task. */
  update(taskId: string, inputResponses: Record<string, unknown>, access?: TaskAccess): Promise<boolean>

  /** Says that somebody wants it cancelled; its worker decides. False when there is no such task. */
  cancel(taskId: string, access?: TaskAccess): Promise<boolean>

  /** `task_status` and `task_cancel`, for clients that know no tasks. */
  readonly fallbackTools: FallbackTool[]
}
