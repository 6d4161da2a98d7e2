import type { Trace } from './otel.mjs'
import type { Signal, SessionStore } from './store.mjs'

/** A task as the extension `io.modelcontextprotocol/tasks` of MCP 2026-07-28 has it. */
export interface ExtensionTask {
  taskId: string
  status: 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled'
  statusMessage?: string
  createdAt: string
  lastUpdatedAt: string
  /** Milliseconds from the creation; null: for ever. */
  ttlMs: number | null
  pollIntervalMs?: number
}

/** A JSON-RPC error. */
export interface TaskFailure {
  code: number
  message: string
  data?: unknown
}

export type DetailedTask = ExtensionTask &
  (
    | { status: 'working' }
    | { status: 'input_required'; inputRequests: Record<string, any> }
    | { status: 'completed'; result: any }
    | { status: 'failed'; error: TaskFailure }
    | { status: 'cancelled' }
  )

/** Who asks; the anonymous caller when absent, who finds only tasks that belong to nobody. */
export interface TaskAccess {
  principal?: string | null
}

export interface CreateTask extends TaskAccess {
  /** Milliseconds; the service's when absent, null: for ever. */
  ttlMs?: number | null
  pollIntervalMs?: number
  /** What a worker needs to take it up again after a restart. */
  context?: unknown
  /** The trace of who asks, kept beside the members of `context`, in the task's `meta`; other members are left out. */
  trace?: Trace
  /** The request that the task stands for. */
  request?: { method: string; params?: unknown }
}

/**
 * The tasks extension of MCP 2026-07-28 over the store: what `tasks/get`, `tasks/update` and `tasks/cancel` answer, and
 * the side of the worker.
 */
export declare class TaskService {
  /** `ttlMs` is 24 hours and `pollIntervalMs` 5,000 when absent. */
  constructor(
    store: SessionStore,
    options?: { ttlMs?: number | null; pollIntervalMs?: number; tenant_id?: string | null },
  )

  /** The task is durable when this resolves: `get` finds it. Its id has 256 random bits. */
  create(task?: CreateTask): Promise<ExtensionTask>

  /** Undefined when it is unknown, over its time, or another's: answer -32602. */
  get(taskId: string, access?: TaskAccess): Promise<DetailedTask | undefined>

  /** Answers to what the task asked for. False when there is no such task; what nobody asked for is ignored. */
  update(taskId: string, inputResponses: Record<string, unknown>, access?: TaskAccess): Promise<boolean>

  /** Says that somebody wants it cancelled; its worker decides. False when there is no such task. */
  cancel(taskId: string, access?: TaskAccess): Promise<boolean>

  /**
   * The side of the one who works on a task; also after a restart. It speaks for the owner of a task that was created
   * here, else for whom `access` says, else for the server itself, which `--require-owner` does not take: then for the
   * anonymous caller.
   */
  writer(taskId: string, access?: TaskAccess): TaskWriter
}

/** What the worker of a task says and hears. */
export declare class TaskWriter {
  private constructor()
  readonly taskId: string

  /**
   * Fires when somebody wants the task cancelled, or it is over or gone. Watching begins with the first look at it,
   * keeps the host alive, and ends with the signal, `complete`, `fail`, `cancelled` or `close`.
   */
  readonly signal: AbortSignal

  /** Says how far it is, and that somebody works on it: `recover_stuck_tasks` leaves it alone. */
  status(message?: string): Promise<void>

  /**
   * Asks for input and resolves with the answers, by key, when all are in. Rejects with an AbortError when the task is
   * to be cancelled or is over before that. A key may be used once in a task's life.
   */
  requireInput(inputRequests: Record<string, unknown>, options?: { signal?: Signal }): Promise<Record<string, any>>

  /** Waits for answers to what was asked for before, as after a restart. */
  input(keys: string[], options?: { signal?: Signal }): Promise<Record<string, any>>

  /**
   * The result of the request, be it a tool's own error. With one that cannot be stored the task fails, and this
   * rejects.
   */
  complete(result: unknown): Promise<void>

  fail(error: TaskFailure): Promise<void>

  /** What the worker makes of a wish to cancel. */
  cancelled(): Promise<void>

  /** Ends watching. The task is as it was. */
  close(): void
}

/**
 * Whether a request state comes for the first time: true exactly once for a state of a principal, across processes and
 * restarts, until `ttlMs` after it. Verify its seal first. Give the same principal and tenant each time.
 */
export declare function useRequestState(
  store: SessionStore,
  requestState: string,
  options: { ttlMs: number; principal?: string | null; tenant_id?: string | null },
): Promise<boolean>
