import type {
  Contract,
  Event,
  EventPage,
  GetEventsAfterParams,
  GetRecentEventsParams,
  Methods,
  ServerInfo,
  SubscribeEventsParams,
  SubscribeTasksParams,
  SubscribeWorkParams,
} from './methods.mjs'
import type { Codec } from './codec.mjs'
import type { ChildError, CodecError } from './errors.mjs'
import type {
  EventSubscription,
  EventSubscriptionOptions,
  FrameSubscription,
  SubscriptionOptions,
  TaskSubscription,
  TaskSubscriptionOptions,
  WorkSubscription,
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
  /**
   * Milliseconds until a CallTimeout, from the call on; null: no limit. The store's when absent, none for backup and
   * check_integrity. Anything but a number above 0 is a RangeError.
   */
  timeout?: number | null
  /** Gives the call up: it is not sent any more, or its answer is dropped. */
  signal?: Signal
  /** The call may be done twice: after a death of the process it is sent again. Known from the contract for reads. */
  repeatable?: boolean
  /** Whether it is made again when the store refuses it for now; the store's way when absent. */
  retry?: boolean
  /** How far a backup is, in pages. */
  onProgress?: (progress: { done: number; total: number }) => void
}

/** How a process that ended is started again. Times are milliseconds. */
export interface RestartOptions {
  /** Starts within `within` after which the store gives up; 5. */
  attempts?: number
  /** 60,000. */
  within?: number
  /** Until the first new start; 50. Doubles with each one that fails; a random part between half and all is waited. */
  delay?: number
  /** 5,000. */
  maxDelay?: number
  /** After giving up, until a call starts it again; 30,000. */
  pause?: number
  /** @deprecated attempts */
  limit?: number
  /** @deprecated within */
  window?: number
  /** @deprecated delay */
  minDelay?: number
}

/** How far a rotation is, and what it found. */
export interface Rotation {
  /** Payloads that were looked at, and those that were sealed anew. */
  seen: number
  sealed: number
  /** Those that somebody changed or deleted meanwhile. */
  missed: number
  /** Payloads by the id of the key that they are under now; "": none. */
  keys: Record<string, number>
  /** What does not open, and stays as it is. */
  unreadable: CodecError[]
  /** Where to go on; null: it is done. */
  cursor: string | null
}

export interface RotateOptions {
  cursor?: string | null
  /** Is told after each page. */
  onPage?: (found: Rotation) => void
  /** How often to begin anew, at most, when something was changed meanwhile; 10. */
  rounds?: number
  signal?: Signal
}

/** How a call is made again that the store refused with an error that is `retryable` and `not_applied`. */
export interface RetryOptions {
  /** How often; 3. */
  attempts?: number
  /** Milliseconds; 50. Each time after a random part of it, which doubles. */
  delay?: number
  /** 1,000. */
  maxDelay?: number
}

export type StoreState = 'closed' | 'starting' | 'ready' | 'restarting' | 'failed'

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
  /** Capabilities and methods that must be there, else opening fails as `incompatible`. */
  require?: string[]
  /** Milliseconds for a call; 30,000. null: no limit. */
  timeout?: number | null
  /** Milliseconds from the start of a process to the answer of the handshake; 10,000. null: no limit. */
  startTimeout?: number | null
  /** Whether a process that dies is started again; true, but false where the database is ":memory:". */
  restart?: boolean | null | RestartOptions
  /** Whether a call is made again that the store refused for now; true. */
  retry?: boolean | null | RetryOptions
  /** Seals payloads before they are sent and opens them when they come back; null: they go as they are. */
  codec?: Codec | null
  /** Bytes of calls that may be written and not answered; 16 MiB. Others wait in order; a larger one goes alone. */
  maxInFlight?: number
  /** Bytes of calls that may wait; 64 MiB. Beyond it calls are refused as Overloaded. */
  maxWaiting?: number
  /** Is told each change of state, and for `restarting` and `failed` why. */
  onState?: (state: StoreState, error: ChildError | null) => void
  /** Gets each line that the sidecar says on standard error, and remarks of this client; standard error when absent. */
  log?: (line: string) => void
  /** @deprecated maxInFlight */
  maxInFlightBytes?: number
  /** @deprecated maxWaiting */
  maxWaitingBytes?: number
}

/** Methods that are no calls here: subscriptions and `close()` do what they are for. */
type ServedOtherwise = 'subscribe_events' | 'subscribe_tasks' | 'subscribe_work' | 'unsubscribe' | 'shutdown'

/** A page that was asked for without a `format`. */
export type PageOfEvents = EventPage & { events: Event[] }

/**
 * A store: one process of mcp-session-store, and everything that can be asked of it.
 *
 * Its process keeps the host's event loop alive while a call is under way or somebody waits for a subscription, and
 * not otherwise. It ends with the host, however that ends.
 */
export declare class SessionStore extends Methods {
  /** Starts nothing: `open` does, and so does the first call. */
  constructor(options?: StoreOptions)

  /** Makes a store and resolves with it when it is open; rejects with a ChildError. */
  static open(options?: StoreOptions, call?: { signal?: Signal }): Promise<SessionStore>

  /**
   * Starts a process, when there is none, and resolves with the store when it is ready. After `close`, and after the
   * store failed, it starts anew. A signal that fires ends the process again.
   */
  open(call?: { signal?: Signal }): Promise<this>

  /** What the sidecar told of itself in the last handshake: its version, its limits. Null before the first one. */
  readonly info: ServerInfo | null

  /** The process id of the sidecar; null when there is none now. */
  readonly pid: number | null

  readonly state: StoreState

  /** Bytes of calls that are written and not answered, and of those that wait to be written. */
  readonly bytesInFlight: number
  readonly bytesWaiting: number

  /**
   * Resolves when the store is over: with null after `close()`, with the error when its process is lost. A store that
   * is opened again has a new one.
   */
  readonly ended: Promise<ChildError | null>

  /** A method by its name on the wire; the methods of this class are this one with a name. */
  call<M extends Exclude<keyof Contract, ServedOtherwise>>(
    method: M,
    params?: Contract[M]['params'],
    options?: CallOptions,
  ): Promise<Contract[M]['result']>

  getEventsAfter(params: GetEventsAfterParams & { format?: null }, options?: CallOptions): Promise<PageOfEvents>
  getEventsAfter(params: GetEventsAfterParams, options?: CallOptions): Promise<EventPage>

  getRecentEvents(params: GetRecentEventsParams & { format?: null }, options?: CallOptions): Promise<PageOfEvents>
  getRecentEvents(params: GetRecentEventsParams, options?: CallOptions): Promise<EventPage>

  /**
   * Seals with the key that the codec (the store's own when absent) writes with what is under another or under none; a
   * codec without keys compresses what it would. Resolves with what the last round found. It may be stopped and begun
   * again at any time, with the `cursor` that it told last or without one, and others may write meanwhile: what they
   * change first is theirs, and is looked at again in another round.
   */
  rotate(codec?: Codec | null, options?: RotateOptions): Promise<Rotation>

  /** The events of a session, those after the cursor first; it begins with this call. */
  subscribeEvents(
    params: SubscribeEventsParams & { format?: 'json' | null },
    options?: EventSubscriptionOptions,
  ): EventSubscription
  /** With `format` `sse` or `sse_typed`: as text to write to an SSE response. */
  subscribeEvents(
    params: SubscribeEventsParams & { format: 'sse' | 'sse_typed' },
    options?: EventSubscriptionOptions,
  ): FrameSubscription

  /** A task, or the tasks of a session: as they are now, and then each change. */
  subscribeTasks(params: SubscribeTasksParams, options?: TaskSubscriptionOptions): TaskSubscription

  /** Hints that something of a queue is due, or may be: claim then. */
  subscribeWork(params: SubscribeWorkParams, options?: SubscriptionOptions): WorkSubscription

  /** Hands a line to the store's log, as the adapters do. Never throws. */
  remark(line: string): void

  /**
   * Ends all subscriptions, lets be answered what was called, and ends the process: within 250 ms when it is idle.
   * After `patience` milliseconds (5,000; formerly `timeout`) it gets SIGTERM, a second later SIGKILL, and what was not
   * answered fails. Never rejects; the second call waits for the first.
   */
  close(options?: { patience?: number; timeout?: number }): Promise<void>

  [Symbol.asyncDispose](): Promise<void>
}
