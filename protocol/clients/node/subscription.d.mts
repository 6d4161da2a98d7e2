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

/** What a subscription with `init` is told first, each time that it is opened. */
export interface SubscriptionGreeting {
  /** Of a subscription to one task alone. */
  task_id?: string
  session_id: string | null
  /** To whom what it follows is bound; null: to nobody. */
  tenant_id: string | null
  principal: string | null
  /** The store's time, Unix milliseconds. */
  timestamp: number
}

export interface SubscriptionOptions {
  /** Ends the subscription; who waits for it gets an AbortError. */
  signal?: Signal
  /** Milliseconds that the first subscribing may take; the store's when absent, null: no limit. */
  timeout?: number | null
  /** Entries that may wait here for a slow consumer; 1,000. */
  maxQueued?: number
  /** The same in bytes, one entry over; 4 MiB. */
  maxQueuedBytes?: number
  /** Called first, and again when it is opened anew, where `init` is asked for. */
  onInit?: (greeting: SubscriptionGreeting) => void
  /** Called with the store's time, every `heartbeat` milliseconds. */
  onHeartbeat?: (timestamp: number) => void
}

export interface EventSubscriptionOptions extends SubscriptionOptions {
  /** Called in its place between the events. The log is told when there is none. */
  onGap?: (gap: SubscriptionGap) => void
}

export interface TaskSubscriptionOptions extends SubscriptionOptions {
  /** Called in its place between the changes when a task is deleted or its time is over. */
  onTaskEnded?: (end: { task_id: string; reason: string }) => void
}

/** Why a subscription is over: what it was about is, or its reader or the store closed it. */
export type SubscriptionEnd = 'deleted' | 'expired' | 'invalidated' | 'resolved' | 'closed' | (string & {})

/** How a task is now, or why it is not any more. */
export type TaskChange =
  | { task_id: string; task: Task; ended: null }
  | { task_id: string; task: null; ended: 'deleted' | 'expired' | (string & {}) }

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
  /** How many events are gone that would have been told: the sum of what `onGap` heard. */
  readonly lost: number
  [Symbol.asyncIterator](): EventSubscription
}

/** The same as text to write to an SSE response as it is: events, gaps, and what was asked for besides. */
export interface FrameSubscription extends Subscription<string, Contract['subscribe_events']['result']> {
  readonly lost: number
  [Symbol.asyncIterator](): FrameSubscription
}

/**
 * The changes of a task, or of the tasks of a session: of each the newest state that was not taken yet, and its end.
 * The end of the one task of a `task_id` is the end of the iteration.
 */
export interface TaskSubscription extends Subscription<TaskChange, Contract['subscribe_tasks']['result']> {
  [Symbol.asyncIterator](): TaskSubscription
}

/** Hints that something of a queue is due: one when it is opened. Each may come for nothing, and none is lost. */
export interface WorkSubscription extends Subscription<{ queue: string }, Contract['subscribe_work']['result']> {
  [Symbol.asyncIterator](): WorkSubscription
}
