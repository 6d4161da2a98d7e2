import { RequestError, RequestTooLarge } from './errors.mjs'

/** The value is one that the store does not take, whenever it is sent. */
const KINDS = new Set(['payload_too_large', 'parse_error', 'invalid_params', 'invalid_request'])

/** Whether a call failed for what was to be stored, and not for the store: too large, too deep, or no JSON at all. */
export function isUnstorable(error) {
  return error instanceof RequestTooLarge || error instanceof TypeError || error instanceof RangeError ||
    (error instanceof RequestError && KINDS.has(error.kind))
}
