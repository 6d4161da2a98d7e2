import type { SessionStore } from './store.mjs'

export interface EventStoreOptions {
  /** The session of the transport; it must be in the store before the first event. */
  session_id: string
  /** The owners of the session, when it is bound to any. */
  tenant_id?: string | null
  principal?: string | null
  /** Hears why a message could not be stored as it is, or not at all. It is sent in any case. */
  onError?: (error: unknown) => void
}

/**
 * The `EventStore` of the TypeScript SDK, 1.x and 2.x, for MCP up to 2025-11-25. One object for each transport, bound
 * to its session: ids of another session, or of none, are unknown.
 */
export declare class EventStore {
  constructor(store: SessionStore, options: EventStoreOptions)

  /**
   * Resolves with the event's id once it is on disk. An empty message is the SDK's priming event. What cannot be stored
   * reaches whoever is connected all the same: with an id where an error could be stored in its place, for whoever
   * resumes; where the store is out of reach the id is undefined, and the transport sends it without one. Rejects when
   * the session is over.
   */
  storeEvent(streamId: string, message: object): Promise<string>

  /**
   * The stream of an event; undefined when it is none of this session's, or when something of the stream behind it is
   * not stored any more. Waits while the stream is being replayed for another connection.
   */
  getStreamIdForEventId(eventId: string): Promise<string | undefined>

  /** Sends what its stream got after an event, in order, and resolves with the stream's id. */
  replayEventsAfter(
    lastEventId: string,
    to: { send: (eventId: string, message: any) => Promise<void> },
  ): Promise<string>

  /** The id to send with an event of the session, from its id in the store and its stream. */
  toEventId(id: number, streamId?: string): string

  /** The id in the store, from the one that was sent; undefined when that is none of this session's. */
  fromEventId(eventId: string): number | undefined
}
