import type {
  Contract,
  Methods,
  ServerInfo,
  SubscribeEventsParams,
  SubscribeTasksParams,
} from './methods.mjs'
import type { ChildError } from './errors.mjs'
import type {
  EventSubscription,
  EventSubscriptionOptions,
  TaskSubscription,
  TaskSubscriptionOptions,
} from './subscription.mjs'

declare global {
  // Older libraries of TypeScript do not know it.
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol
  }
}

/** What is needed of an AbortSignal. */
export interface Signal {
  readonly aborted: boolean
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
  removeEventListener(type: 'abort', listener: () => void): void
}

export interface CallOptions {
  /** Milliseconds until a TimeoutError; 0: none. The store's when absent, none for backup and check_integrity. */
  timeout?: number
  /** Gives the call up: it is not sent any more, or its answer is dropped. */
  signal?: Signal
  /** The call may be done twice: after a death of the process it is sent again. Known from the contract for reads. */
  repeatable?: boolean
  /** How far a backup is, in pages. */
  onProgress?: (progress: { done: number; total: number }) => void
}

export interface RestartOptions {
  /** How often it may be started within the window; 5. One more death is the end of the store. */
  limit?: number
  /** Milliseconds; 60,000. */
  window?: number
  /** Milliseconds until the first new start; 50. Doubles with each start in the window, less up to half at random. */
  minDelay?: number
  /** Milliseconds; 5,000. */
  maxDelay?: number
}

/** Options of the sidecar by name, `{max_sessions: 10, exclusive: true}`, or its arguments as they are. */
export type SidecarOptions =
  | Record<string, string | number | boolean | null | undefined>
  | ReadonlyArray<string | number>

export interface StoreOptions {
  /** The executable: a path, or a name in PATH. Else MCP_SESSION_STORE_BINARY, else `mcp-session-store` in PATH. */
  binary?: string
  /** The SQLite file; ":memory:" for none. Else the sidecar's own default. */
  database?: string
  /** Further options of the sidecar. */
  options?: SidecarOptions
  /** Working directory and environment of the sidecar; those of the host when absent. */
  cwd?: string
  env?: Record<string, string | undefined>
  /** Who calls, for the handshake. */
  client?: { name?: string; version?: string }
  /** Capabilities and methods that must be there; else opening fails as `incompatible`. */
  require?: string[]
  /** Milliseconds for a call; 30,000. 0: none. */
  timeout?: number
  /** Milliseconds from the start to the answer of the handshake; 10,000. */
  startTimeout?: number
  /** Whether a process that dies is started again; false. */
  restart?: boolean | RestartOptions
  /** Calls that may be written and not answered; 1,024. Others wait in their order. */
  maxInFlight?: number
  /** The same in bytes of requests; 8 MiB. A larger request goes alone. */
  maxInFlightBytes?: number
  /** Bytes of requests that may wait; 64 MiB. Beyond it calls are refused with an OverloadError. */
  maxWaitingBytes?: number
  /** Gets each line that the sidecar says on standard error, and remarks of this client; standard error when absent. */
  log?: (line: string) => void
}

/**
 * A store: one process of mcp-session-store, and everything that can be asked of it.
 *
 * Its process keeps the host's event loop alive while a call is under way or somebody waits for a subscription, and
 * not otherwise. It ends with the host, however that ends.
 */
export declare class SessionStore extends Methods {
  private constructor(options: StoreOptions)

  /** Starts a process and resolves with the store when it is ready; rejects with a ChildError. */
  static open(options?: StoreOptions): Promise<SessionStore>

  /** What the sidecar told of itself in the handshake: its version, its limits. */
  readonly info: ServerInfo

  /** The process id of the sidecar; null when there is none now. */
  readonly pid: number | null

  /** Resolves when the store is over: with null after `close()`, with the error when its process is lost for good. */
  readonly ended: Promise<ChildError | null>

  /** A method by its name on the wire; the methods of this class are this one with a name. */
  call<M extends Exclude<keyof Contract, 'subscribe_events' | 'subscribe_tasks' | 'unsubscribe' | 'shutdown'>>(
    method: M,
    params?: Contract[M]['params'],
    options?: CallOptions,
  ): Promise<Contract[M]['result']>

  /** The events of a session, those after the cursor first; it begins with this call. */
  subscribeEvents(params: SubscribeEventsParams, options?: EventSubscriptionOptions): EventSubscription

  /** A task, or the tasks of a session: what they are now, and then each change. */
  subscribeTasks(params: SubscribeTasksParams, options?: TaskSubscriptionOptions): TaskSubscription

  /**
   * Ends all subscriptions, finishes what was called, and ends the process: within 250 ms when it is idle. After
   * `timeout` milliseconds (5,000) it is made to end, and what was not answered fails. Never rejects; may be repeated.
   */
  close(options?: { timeout?: number }): Promise<void>

  [Symbol.asyncDispose](): Promise<void>
}
