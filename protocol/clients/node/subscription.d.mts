import type { Contract, Event, Task } from './methods.mjs'
import type { Signal } from './store.mjs'

/** Something that a subscription could not tell, because it is gone. */
export interface SubscriptionGap {
  /** How many events; of a stream at most so many. */
  dropped: number
  /** The first that is left, or null. */
  oldest_available: number | null
  /** The cursor was newer than the newest event: it is none of this session's. Nothing before now is told. */
  cursor_ahead: boolean
}

export interface EventSubscriptionOptions {
  /** Ends the subscription; who waits for it gets an AbortError. */
  signal?: Signal
  /** Called in its place between the events. The log is told when there is none. */
  onGap?: (gap: SubscriptionGap) => void
  /** Events that may wait here for a slow consumer; 1,000. Beyond it, it unsubscribes until they are taken. */
  maxQueued?: number
  /** The same in bytes; 4 MiB. */
  maxQueuedBytes?: number
}

export interface TaskSubscriptionOptions {
  signal?: Signal
  /** Called in its place between the states when a task is deleted or its time is over. */
  onTaskEnded?: (end: { task_id: string; reason: string }) => void
}

/**
 * Why a subscription is over: what the sidecar told (`deleted`, `expired`, `invalidated`), or `gone`, its session or
 * task was not there any more after a restart or a pause; `returned` by its consumer; `closed` with the store.
 */
export interface SubscriptionEnd {
  reason: 'deleted' | 'expired' | 'invalidated' | 'gone' | 'returned' | 'closed' | (string & {})
  task_id?: string
}

interface Subscription<T, Answer> extends AsyncIterableIterator<T> {
  /** Null as long as it is not over, and when it ended with an error. */
  readonly ended: SubscriptionEnd | null
  /** Resolves with the answer to the first subscribing: nothing is missed from then on. */
  opened(): Promise<Answer>
  next(): Promise<IteratorResult<T, undefined>>
  /** Unsubscribes; what was not taken yet is dropped. */
  return(): Promise<IteratorResult<T, undefined>>
}

/** The events of a session, each once and in their order. */
export interface EventSubscription extends Subscription<Event, Contract['subscribe_events']['result']> {
  [Symbol.asyncIterator](): EventSubscription
}

/** The states of a task, or of the tasks of a session: of each the newest that was not taken yet. */
export interface TaskSubscription extends Subscription<Task, Contract['subscribe_tasks']['result']> {
  [Symbol.asyncIterator](): TaskSubscription
}
