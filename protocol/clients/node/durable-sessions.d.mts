import type { RequestOwner } from './http-sessions.mjs'
import type { SessionStore } from './store.mjs'

type Awaitable<T> = T | Promise<T>

/** What the transport of a session must be made with. */
export interface TransportOptions {
  sessionIdGenerator: () => string
  eventStore: {
    storeEvent(streamId: string, message: any): Promise<string>
    getStreamIdForEventId(eventId: string): Promise<string | undefined>
    replayEventsAfter(
      lastEventId: string,
      to: { send: (eventId: string, message: any) => Promise<void> },
    ): Promise<string>
  }
}

/** What is needed of the SDK's WebStandardStreamableHTTPServerTransport. */
export interface WebTransport {
  handleRequest(request: any, options?: any): Promise<any>
  close(): Promise<void>
  onclose?: (() => void) | undefined
}

export interface DurableSessionsOptions {
  /** Makes a transport with these options, and connects a server of its own to it. */
  connect: (options: TransportOptions) => Awaitable<WebTransport>
  /**
   * Whose request it is. Who is not named, and everybody when this is absent, is the anonymous caller. A session
   * answers to its owner alone.
   */
  owner?: (request: any, authInfo: any) => Awaitable<RequestOwner>
  /** Milliseconds that a session lives in any case, and without activity; else what the store was started with. */
  ttl?: number
  inactivityTimeout?: number
  /**
   * Whether a request that died with a server's process is answered with an error once its stream is resumed; true. Not
   * for several processes on one file, of which another one may work on it, and not where such work is taken up again.
   */
  failInterrupted?: boolean
  /** Milliseconds after which a transport that nobody uses is closed, to free its memory; 600,000. */
  idle?: number
  /**
   * Whether the store's log is told, once, that a client of MCP 2026-07-28 came, for which this keeps nothing; true.
   * False for a server that keeps what those need otherwise.
   */
  hint?: boolean
  /** Hears what failed: the store, a function of yours, a message that cannot be stored. */
  onError?: (error: unknown) => void
  /**
   * Whether a DELETE resolves the session instead of deleting it; false. A store that was started with `--retain-ended`
   * keeps what it had for so long, for who asks with `include_ended`.
   */
  resolveOnDelete?: boolean
}

/**
 * Sessions of the TypeScript SDK's Streamable HTTP transport (1.x and 2.x, for MCP up to 2025-11-25) that outlive the
 * process. A request that names a session which this process does not have finds it in the store: a new transport is
 * handed the client's own `initialize` once more, under the same session id.
 */
export declare class DurableSessions {
  constructor(store: SessionStore, options: DurableSessionsOptions)

  /** Answers a request to the MCP endpoint with a Response. `options` are those of the transport's `handleRequest`. */
  handleRequest: (request: any, options?: { parsedBody?: unknown; authInfo?: any }) => Promise<any>

  /** The same for node:http and Express. A body that was parsed is taken from `request.body`. */
  handleNodeRequest: (request: any, response: any) => Promise<void>

  /** Closes the transports that are open here. The sessions stay in the store. */
  close(): Promise<void>
}
