import type { EventsExtension } from './events-extension.mjs'

/** How a subscription ended: `unsubscribed`, `expired`, `not_found`, `unsupported`, `forbidden`, `failed`, `gone`. */
export interface EndedSubscription {
  subscriptionId: string
  name: string
  principal: string | null
  reason: string
}

/** All times are milliseconds. */
export interface WebhookSenderOptions {
  /** Shown as the holder of work; `node` and the process id when absent. */
  worker?: string
  /** Deliveries at once, of all subscriptions and of one; 32 and 4. */
  concurrency?: number
  perSubscription?: number
  /** After which a delivery of a process that died is another's; 30,000. It is renewed at a third. */
  lease?: number
  /** Of one attempt; 5,000. */
  timeout?: number
  /** Before the second attempt and each later one, up to a fifth longer; 5,000, 30,000, 120,000 and 480,000. */
  delays?: readonly number[]
  /** From the publishing on, the time of a suspension not counted; 900,000. */
  giveUpAfter?: number
  /** Whether a subscription gets one event at a time, in their order: one that fails holds up those behind it. */
  ordered?: boolean
  /** `webhook-id` is the `eventId` (`event`, the default), or each delivery has its own (`delivery`). */
  messageIds?: 'event' | 'delivery'
  /** What 410 ends: the delivery (`keep`, the default), or the subscription too (`end`). */
  gone?: 'keep' | 'end'
  /** Whether clients are given cursors; false for clients that want null, as ChatGPT. */
  cursors?: boolean
  /** After how long of failing alone a subscription without an end is ended; 3 days. */
  endlessFailingMs?: number
  /** Whether who is not authenticated may subscribe; false. */
  anonymous?: boolean
  /** What is granted to who does not ask, and the bounds of what is: 24 hours, 5 minutes and 7 days. */
  ttlMs?: number
  shortestTtlMs?: number
  longestTtlMs?: number
  /** Whether a subscription without an end is granted to who asks for one; false. */
  endless?: boolean
  /** How long an endpoint that proved itself is trusted, at least; 24 hours. */
  verifiedMs?: number
  /** How long the secret before a new one signs along; 300,000. */
  secretGraceMs?: number
  /** Whether an endpoint needs not prove itself: an allowlist of your own. */
  trusts?: (url: string) => boolean | Promise<boolean>
  /** Of one principal, of all types; 1,000. 0: no cap. */
  maxSubscriptions?: number
  /** Whether `http` and addresses that are not public will do, for tests and networks of your own; false. */
  insecure?: boolean
  /** In the place of `dns.lookup`. */
  lookup?: (...args: any[]) => void
  /** Options of TLS, as a `ca` of your own. */
  tls?: object
  /** Told once of each subscription that ended, in some process. */
  onEnded?: (ended: EndedSubscription) => unknown
  /** Hears what fails here; what endpoints answer is in `deliveryStatus`. */
  onError?: (error: unknown) => void
}

export interface SubscribeResult {
  resultType: 'complete'
  id: string
  /** RFC 3339; null: it does not end. */
  refreshBefore: string | null
  /** Null where `cursors` is false. */
  cursor: string | null
  truncated: boolean
  /** Of a refresh: how it went before. */
  deliveryStatus?: { active: boolean; lastDeliveryAt: string | null; lastError: string | null; failedSince?: string }
}

/**
 * Webhooks of MCP Events over the store: `events/subscribe` and `events/unsubscribe`, which `EventsExtension.handlers`
 * then has, and the sending. Any number of processes may send: each delivery is one process's, and another's when that
 * dies. At least once, never lost.
 */
export declare class WebhookSender {
  constructor(events: EventsExtension, options?: WebhookSenderOptions)

  /** Begins to send; until then this only takes subscriptions. While it sends it keeps the host alive. */
  start(): void

  /** Claims nothing more, and lets be finished what is being sent, for `patience` (5,000) milliseconds. */
  stop(options?: { patience?: number }): Promise<void>

  subscribe(params: any, ctx?: any): Promise<SubscribeResult>
  unsubscribe(params: any, ctx?: any): Promise<{ resultType: 'complete' }>

  /**
   * Ends the subscriptions of a type, those of one principal where one is named, and has it told to their endpoints.
   * `reason` is `not_found` when absent: the type is gone. Resolves with their number.
   */
  endAll(
    name: string,
    options?: { reason?: 'not_found' | 'forbidden' | 'unsupported'; principal?: string | null },
  ): Promise<number>
}
