import type { SessionStore } from './store.mjs'

export interface McpEventSubscription {
  readonly id: string
  readonly ownerKey: string
  readonly name: string
  readonly arguments: Readonly<Record<string, unknown>>
  readonly url: string
  readonly secret: string
  /** Unix milliseconds; from then on it is absent. */
  readonly expiresAt: number
  readonly verifiedUntil?: number
  readonly previousSecret?: string
  readonly previousSecretUntil?: number
}

export interface McpEventDelivery {
  readonly id: string
  readonly subscriptionId: string
  readonly eventId: string
  readonly body: string
  readonly attempts: number
  readonly nextAttemptAt: number
}

export interface McpClaimedEventDelivery extends McpEventDelivery {
  readonly leaseId: string
}

/**
 * The `McpEventStore` of emseepea over the store: its subscriptions, which lapse by themselves, and its deliveries,
 * each claimed by one instance at a time, and by another when that dies.
 */
export declare class McpEventStore {
  /** `namespace` begins the names in the store; `mcp-event-store` when absent. */
  constructor(store: SessionStore, options?: { namespace?: string })

  get(id: string): Promise<McpEventSubscription | null>
  put(subscription: McpEventSubscription): Promise<void>
  /** With all that is still to be sent to it. */
  delete(id: string): Promise<void>
  list(name: string): Promise<readonly McpEventSubscription[]>
  /** Once for each id; nothing happens where the subscription is gone. */
  enqueue(delivery: McpEventDelivery): Promise<void>
  /** What is due by the clock of the store. */
  claimDue(limit: number, now: number, leaseMs: number): Promise<readonly McpClaimedEventDelivery[]>
  /** Nothing happens where the lease is another's by now. */
  complete(id: string, leaseId: string): Promise<void>
  reschedule(delivery: McpClaimedEventDelivery): Promise<void>
}
