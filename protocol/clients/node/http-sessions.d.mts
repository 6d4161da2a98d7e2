import type { Session } from './methods.mjs'
import type { SessionStore } from './store.mjs'

type Awaitable<T> = T | Promise<T>

/** Whose request it is. */
export interface RequestOwner {
  tenant_id?: string | null
  principal?: string | null
}

export interface HttpSessionsOptions<Request = any> {
  /**
   * Whose request it is, as your authentication has found. Who is not named, and everybody when this is absent, is the
   * anonymous caller, and finds only sessions that belong to nobody.
   */
  owner?: (request: Request) => Awaitable<RequestOwner>
  /** Whether a request, and a stream that is open, slides its session's inactivity deadline; true. */
  touch?: boolean
  /** A burst of `limit` requests, then so many evenly in each `window` of milliseconds. */
  rateLimit?: {
    limit: number
    window: number
    /** What is counted under one allowance. The principal when absent, and the remote address without one. */
    key?: (request: Request, owner: RequestOwner) => Awaitable<string>
  }
  /**
   * Screens what comes in: every text in the JSON body. A body that no parser before has put into `request.body` is
   * read and put there; give it to the transport then.
   */
  screen?:
    | boolean
    | {
        /** Of the body, and of all texts together; 4 MiB. */
        max_bytes?: number
        /** What is looked for beside control characters; script alone when absent. */
        patterns?: ('script' | 'sql')[]
        /** What is screened, when it is not every text in the body. */
        text?: (request: Request) => Awaitable<string>
      }
  /**
   * A path, as `/healthz`, where GET is answered with 200 `{"status":"ok"}`, or with 503 and `reasons`; before all
   * else, and for everybody. Below where this is mounted.
   */
  health?: string
  /** Whether the store's log is told, once, that a client of MCP 2026-07-28 came; false where those are served. */
  hint?: boolean
  /** Where the session is put on the request; "mcpSession". It is null for a request that names none. */
  property?: string
  /** What kept the store from being asked, answered with 503; or what a function of yours threw, answered with 500. */
  onError?: (error: unknown) => void
}

/**
 * Middleware for node:http and Express that stands before an MCP endpoint of the era up to 2025-11-25. It answers, each
 * time with a JSON-RPC error: 404 `session_expired` to a session that is unknown, over or another's, so that the client
 * initializes anew; 403 `invalid_session_status` to a suspended one; 429 `rate_limit_exceeded` with Retry-After; 400
 * `invalid_input`; 413 `payload_too_large`; 500 `internal_error` where a function of yours failed; 503
 * `store_unavailable`. What names no session goes on. Streams that are open are ended when their session is over.
 */
export declare function httpSessions<Request = any, Response = any>(
  store: SessionStore,
  options?: HttpSessionsOptions<Request>,
): (request: Request, response: Response, next: (error?: any) => unknown) => Promise<void>

export type { Session }
