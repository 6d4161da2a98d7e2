/** What every error of this client has in common; `outcome` says whether the call may have changed anything. */
export class SessionStoreError extends Error {
  constructor(message, { method = null, outcome = 'not_applied', retryable = false, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = new.target.name
    this.method = method
    this.outcome = outcome
    this.retryable = retryable
  }
}

/** The sidecar's answer was an error. */
export class StoreError extends SessionStoreError {
  constructor(method, { code, message, data }) {
    const details = data ?? {}
    super(message, { method, outcome: details.outcome ?? 'not_applied', retryable: details.retryable ?? false })
    this.code = code
    this.kind = details.kind ?? null
    this.details = details
  }
}

/** There is no process to ask: it was not found, did not start, does not fit, or ended. */
export class ChildError extends SessionStoreError {
  constructor(message, { reason, exitCode = null, signal = null, ...rest } = {}) {
    super(message, rest)
    this.reason = reason
    this.exitCode = exitCode
    this.signal = signal
  }

  /** The same failure as one call met it. */
  of(method, outcome) {
    const { reason, exitCode, signal } = this
    return new ChildError(this.message, { reason, exitCode, signal, method, outcome, cause: this })
  }
}

/** No answer came in time. */
export class TimeoutError extends SessionStoreError {}

/** The caller's AbortSignal fired; its reason is `cause`. Named and coded as Node's own. */
export class AbortError extends SessionStoreError {
  constructor(message, options) {
    super(message, options)
    this.code = 'ABORT_ERR'
  }
}

/** The call came after `close()`. */
export class ClosedError extends SessionStoreError {}

/** More calls wait to be written than `maxWaitingBytes` allows. */
export class OverloadError extends SessionStoreError {}
