import type { ErrorKind } from './methods.mjs'

/**
 * Whether a call that failed may have changed something. `not_applied`: it did not, or it changes nothing in any case
 * (it was never written, it was refused, or its method is marked repeatable). `unknown`: it was written and not
 * answered; look at what is there before you repeat it.
 */
export type CallOutcome = 'not_applied' | 'unknown'

/** What every error of this client has in common. */
export declare class StoreError extends Error {
  /** The method's name on the wire; null when it was no call that failed. */
  readonly method: string | null
  readonly outcome: CallOutcome
  /** The very same call may succeed later. */
  readonly retryable: boolean
  readonly cause?: unknown
}

/** What an answer's `data` holds; which members are there depends on the kind. */
export interface RequestErrorData {
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

/** The store refused a call. */
export declare class RequestError extends StoreError {
  constructor(method: string, error: { code: number; message: string; data?: RequestErrorData })
  readonly method: string
  readonly code: number | null
  /** Tell errors apart by this. A newer sidecar may have others. */
  readonly kind: ErrorKind | (string & {}) | null
  /** `data` as it came. */
  readonly data: RequestErrorData
  /** @deprecated `data` */
  readonly details: RequestErrorData
}

/**
 * Why there is no process to ask: `not_found`, no such executable; `not_startable`, it could not be started or did not
 * answer the handshake in time; `incompatible`, it speaks another major version or lacks what is required;
 * `not_a_sidecar`, it speaks no JSON-RPC; `exited`, it ended; `gave_up`, it ended too often; `closed`, the store is.
 */
export type ChildErrorReason =
  | 'not_found'
  | 'not_startable'
  | 'incompatible'
  | 'not_a_sidecar'
  | 'exited'
  | 'gave_up'
  | 'closed'

/** There is no process to ask. */
export declare class ChildError extends StoreError {
  readonly reason: ChildErrorReason
  /** The exit code of the process, when it ended by itself; what it means stands in the contract. */
  readonly exitCode: number | null
  /** The signal that ended it, such as "SIGKILL". */
  readonly signal: string | null
}

/** No answer came in time. One that comes later is dropped. */
export declare class CallTimeout extends StoreError {}

/** The call is longer than the store takes a line; it was not sent. */
export declare class RequestTooLarge extends StoreError {
  readonly kind: 'payload_too_large'
  /** Bytes of its line, and how many one may have. */
  readonly size: number
  readonly limit: number
}

/** The answer came, and cannot be read: a line that is no JSON-RPC. */
export declare class AnswerError extends StoreError {}

/**
 * Why a codec cannot seal or open a payload. `unknown_key`: it has no key of that id; `wrong_key`: the key, the payload
 * or its place is another than when it was sealed; `plain`: it was stored without a key, and that is not accepted;
 * `damaged`, `unknown_codec`: its envelope is, or was made by a newer client; `missing_library`: this Node has no zstd.
 */
export type CodecErrorReason =
  | 'unknown_key'
  | 'wrong_key'
  | 'plain'
  | 'damaged'
  | 'unknown_codec'
  | 'missing_library'
  | 'too_large'

/**
 * A payload could not be sealed, and nothing was sent; or it came back and cannot be opened, and stays as it is stored.
 * What the call was to do is done then.
 */
export declare class CodecError extends StoreError {
  constructor(message: string, options: { reason: CodecErrorReason; keyID?: string | null; cause?: unknown })
  readonly reason: CodecErrorReason
  /** Of the key that the payload names. */
  readonly keyID: string | null
  /** Where it stands in the result; null of one that was to be sent. */
  readonly path: string | null
  /** The result, opened as far as that goes: what cannot be is there as it is stored. */
  readonly result: unknown
  /** Those of the same result besides. */
  readonly others: readonly CodecError[]
}

/** More bytes of calls wait to be written than `maxWaiting` allows. */
export declare class Overloaded extends StoreError {}

/** The caller's AbortSignal fired; `cause` is its reason. Its `name` is "AbortError", as with Node's own. */
export declare class AbortError extends StoreError {
  readonly code: 'ABORT_ERR'
}

/** @deprecated StoreError */
export { StoreError as SessionStoreError }
/** @deprecated CallTimeout */
export { CallTimeout as TimeoutError }
/** @deprecated Overloaded */
export { Overloaded as OverloadError }
/** @deprecated ErrorKind */
export type StoreErrorKind = ErrorKind
/** @deprecated RequestErrorData */
export type StoreErrorDetails = RequestErrorData

/** @deprecated A ChildError of the reason `closed`. */
export declare abstract class ClosedError extends ChildError {}
