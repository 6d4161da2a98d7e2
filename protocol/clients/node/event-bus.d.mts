import type { SessionStore } from './store.mjs'

/** A change of which a server tells its clients, as the TypeScript SDK has it. */
export type ServerEvent =
  | { kind: 'tools_list_changed' }
  | { kind: 'prompts_list_changed' }
  | { kind: 'resources_list_changed' }
  | { kind: 'resource_updated'; uri: string }

/** The same, and what the events extension has besides. */
export type AnyServerEvent = ServerEvent | { kind: 'events_list_changed' }

export interface EventBusOptions {
  /** The session that is the topic, the same in all processes; `mcp-bus` when absent. */
  session_id?: string
  /** Hears what fails: a change that could not be told to others, a listener that threw, the store out of reach. */
  onError?: (error: unknown) => void
}

/**
 * The `ServerEventBus` of the TypeScript SDK over the store: listeners in every process on it hear of a change once,
 * those of the publisher too. Nothing is replayed.
 */
export declare class EventBus {
  constructor(store: SessionStore, options?: EventBusOptions)

  /** Never throws and waits for nothing. Where the store is out of reach the listeners of this process hear of it. */
  publish(event: AnyServerEvent): void

  /** Returns what ends it, and may be called again. */
  subscribe(listener: (event: ServerEvent) => void): () => void
  /** `kinds`: those to hear of; the SDK's four when absent. */
  subscribe(
    listener: (event: AnyServerEvent) => void,
    options: { kinds?: Iterable<AnyServerEvent['kind']> },
  ): () => void

  /** Resolves when nothing can be missed any more: before it, changes of other processes may be. */
  open(): Promise<void>

  /** Ends listening, in this process. While it listens it keeps the host alive. */
  close(): Promise<void>
}
