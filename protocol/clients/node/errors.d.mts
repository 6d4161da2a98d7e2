import type { ContractErrorKind } from './methods.mjs'

/**
 * Whether a call that failed may have changed something. `not_applied`: it did not, or it changes nothing in any case
 * (it was never written, it was refused, or its method is marked repeatable). `unknown`: it was written and not
 * answered; look at what is there before you repeat it.
 */
export type CallOutcome = 'not_applied' | 'unknown'

/** What every error of this client has in common. */
export declare class SessionStoreError extends Error {
  /** The method's name on the wire; null when it was no call that failed. */
  readonly method: string | null
  readonly outcome: CallOutcome
  /** The very same call may succeed later. */
  readonly retryable: boolean
  readonly cause?: unknown
}

/** The kinds of errors in answers, all of the contract's table. */
export type StoreErrorKind =
  | ContractErrorKind
  | 'parse_error'
  | 'invalid_request'
  | 'method_not_found'
  | 'invalid_cursor'
  | 'internal_error'

/** What an answer's `data` holds beside kind and outcome; which members are there depends on the kind. */
export interface StoreErrorDetails {
  kind?: string
  retryable?: boolean
  outcome?: CallOutcome
  /** invalid_params, invalid_cursor */
  parameter?: string
  expected?: string
  /** session_not_found, session_expired, session_exists */
  session_id?: string
  /** session_not_found, session_expired: "re-initialize" */
  retry?: string
  /** task_not_found, task_exists */
  task_id?: string
  /** invalid_session_status, invalid_transition, terminal_state */
  current?: string
  requested?: string
  /** caps, queue_full, payload_too_large */
  limit?: number
  /** concurrent_modification: the one that holds now; null when there is nothing */
  revision?: number | null
  /** Of a call in a transaction */
  call_index?: number
  /** method_not_found */
  method?: string
  nearest?: string | null
  /** database_* and outcome_unknown */
  sqlite_code?: number
  sqlite_message?: string
  busy_timeout?: number
  [member: string]: unknown
}

/** The sidecar's answer was an error. A request over the line limit gets the same error before it is sent. */
export declare class StoreError extends SessionStoreError {
  readonly method: string
  readonly code: number
  /** Tell errors apart by this. A newer sidecar may have others. */
  readonly kind: StoreErrorKind | (string & {}) | null
  /** `data` as it came. */
  readonly details: StoreErrorDetails
}

/**
 * Why there is no process to ask: `not_found`, no such executable; `not_startable`, it could not be started or did not
 * answer the handshake; `incompatible`, it lacks something that is required; `not_a_sidecar`, it speaks no JSON-RPC;
 * `exited`, it ended; `gave_up`, it ended too often.
 */
export type ChildErrorReason = 'not_found' | 'not_startable' | 'incompatible' | 'not_a_sidecar' | 'exited' | 'gave_up'

export declare class ChildError extends SessionStoreError {
  readonly reason: ChildErrorReason
  /** The exit code of the process, when it ended by itself; what it means stands in the contract. */
  readonly exitCode: number | null
  /** The signal that ended it, such as "SIGKILL". */
  readonly signal: string | null
}

/** No answer came in time. */
export declare class TimeoutError extends SessionStoreError {}

/** The caller's AbortSignal fired; `cause` is its reason. Its `name` is "AbortError", as with Node's own. */
export declare class AbortError extends SessionStoreError {
  readonly code: 'ABORT_ERR'
}

/** The call came after `close()`. */
export declare class ClosedError extends SessionStoreError {}

/** More calls wait to be written than `maxWaitingBytes` allows. */
export declare class OverloadError extends SessionStoreError {}
