import type { SessionStore } from './store.mjs'

export interface EventStoreOptions {
  /** The session of the transport; it must be in the store before the first event. */
  session_id: string
  /** The owners of the session, when it is bound to any. */
  tenant_id?: string | null
  principal?: string | null
  /** When given, a message that cannot be stored is told here and sent without an id, instead of not being sent. */
  onError?: (error: unknown) => void
}

/**
 * The `EventStore` of the TypeScript SDK, 1.x and 2.x, for MCP up to 2025-11-25. One object for each transport, bound
 * to its session: ids of another session, or of none, are unknown.
 */
export declare class EventStore {
  constructor(store: SessionStore, options: EventStoreOptions)

  /** Resolves with the event's id once it is on disk. An empty message is the SDK's priming event. */
  storeEvent(streamId: string, message: object): Promise<string>

  /** The stream of an event; undefined when it is none of this session's, or is not stored any more. */
  getStreamIdForEventId(eventId: string): Promise<string | undefined>

  /** Sends what its stream got after an event, in order, and resolves with the stream's id. */
  replayEventsAfter(
    lastEventId: string,
    to: { send: (eventId: string, message: any) => Promise<void> },
  ): Promise<string>

  /** The id to send with an event of the session, from its id in the store. */
  toEventId(id: number): string

  /** The id in the store, from the one that was sent; undefined when that is none of this session's. */
  fromEventId(eventId: string): number | undefined
}
