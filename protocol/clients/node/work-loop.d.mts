import type { Work } from './methods.mjs'
import type { SessionStore } from './store.mjs'
import type { TaskJob } from './task-worker.mjs'

export interface WorkLoopOptions {
  queue: string
  /** Does one item. `signal` fires when its lease is lost, or the loop is stopped and has waited long enough. */
  work: (item: Work & { fence: number }, context: { signal: TaskJob['signal'] }) => unknown
  /** Items at once, of this process; 10. */
  concurrency?: number
  /** Items at once of one group, in all processes; 1. */
  per_group?: number
  /** Milliseconds after which the work of a process that died is another's; 30,000. It is renewed at a third. */
  lease?: number
  /**
   * Whether what returns is done, and what throws is tried again; true. With false `work` settles its items itself, in
   * a transaction with what it writes.
   */
  settles?: boolean
  /** Milliseconds until the next attempt, by the number of those made; 1,000, doubled each time up to 300,000. */
  backOff?: (attempt: number) => number
  /** Shown as the holder of work; `node` and the process id when absent. */
  worker?: string
  /** Whether items of event subscriptions come with them. */
  include_subscription?: boolean
  /** Hears what fails. */
  onError?: (error: unknown) => void
}

/** Does the work of a queue, one process among any number of them, until it is stopped. */
export declare class WorkLoop {
  constructor(store: SessionStore, options: WorkLoopOptions)

  /** While it works it keeps the host alive. */
  start(): void

  /**
   * Claims nothing more, and lets be finished what is worked on for `patience` (5,000) milliseconds; then its signals
   * fire. Resolves when nothing is left.
   */
  stop(options?: { patience?: number }): Promise<void>
}
