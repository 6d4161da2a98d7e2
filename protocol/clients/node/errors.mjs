/** What every error of this client has in common; `outcome` says whether the call may have changed anything. */
export class StoreError extends Error {
  constructor(message, { method = null, outcome = 'not_applied', retryable = false, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = new.target.name
    this.method = method
    this.outcome = outcome
    this.retryable = retryable
  }
}

/** The store refused a call. */
export class RequestError extends StoreError {
  constructor(method, { code = null, message, data }) {
    const details = data ?? {}
    super(String(message), {
      method,
      outcome: details.outcome ?? 'not_applied',
      retryable: details.retryable ?? false,
    })
    this.code = code
    this.kind = details.kind ?? null
    this.data = details
  }

  /** The former name of `data`. */
  get details() {
    return this.data
  }
}

/** There is no process to ask: it was not found, did not start, does not fit, ended, or is closed. */
export class ChildError extends StoreError {
  constructor(message, { reason, exitCode = null, signal = null, ...rest } = {}) {
    super(message, rest)
    this.reason = reason
    this.exitCode = exitCode
    this.signal = signal
  }

  /** The same failure as one call met it. */
  of(method, outcome) {
    const { message, reason, exitCode, signal, retryable } = this
    return new ChildError(message, { reason, exitCode, signal, retryable, method, outcome, cause: this })
  }
}

/** No answer came in time. */
export class CallTimeout extends StoreError {}

/** The call is longer than the store takes a line; it was not sent. */
export class RequestTooLarge extends StoreError {
  constructor(method, size, limit) {
    const text = `${method} has ${size} bytes, and a line may have ${limit}: send less, or raise --max-line-bytes.`
    super(text, { method })
    this.kind = 'payload_too_large'
    this.size = size
    this.limit = limit
  }
}

/** The answer came, and cannot be read. */
export class AnswerError extends StoreError {}

/**
 * A payload could not be sealed, and nothing was sent; or it came back and cannot be opened, and stays as it is. Then
 * `outcome` is as of an AnswerError: what the call was to do is done.
 */
export class CodecError extends StoreError {
  /** Where it stands in the result; the result, opened as far as that goes; and the others of the same result. */
  path = null
  result = undefined
  others = []

  constructor(message, { reason, keyID = null, ...rest }) {
    super(message, rest)
    this.reason = reason
    this.keyID = keyID
  }

  /** The same, where it was met. */
  at(path) {
    this.path = this.path ? `${path}.${this.path}` : path
    for (const other of this.others) other.at(path)
    return this
  }

  /** The same for a whole result. */
  beside(others, result) {
    this.others = [...this.others, ...others]
    this.result = result
    const { length } = this.others
    this.message = `${this.path}: ${this.message}` +
      (length === 0 ? '' : ` ${length} more payloads of the result do not open either.`)
    return this
  }
}

/** More calls wait than `maxWaiting` allows. */
export class Overloaded extends StoreError {}

/** The caller's AbortSignal fired; its reason is `cause`. Named and coded as Node's own. */
export class AbortError extends StoreError {
  constructor(message, options) {
    super(message, options)
    this.code = 'ABORT_ERR'
  }
}

// Former names.

export { CallTimeout as TimeoutError, Overloaded as OverloadError, StoreError as SessionStoreError }

/** A ChildError of the reason `closed`. */
export class ClosedError {
  static [Symbol.hasInstance](error) {
    return error instanceof ChildError && error.reason === 'closed'
  }
}
