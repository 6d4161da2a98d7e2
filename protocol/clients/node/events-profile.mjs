/** The codes of errors, and what else differs between the two worlds of MCP Events. */
const PROFILES = {
  'sep-3415': {
    NotFound: -32023,
    Forbidden: -32024,
    ResourceExhausted: -32025,
    Unsupported: -32026,
    CallbackEndpointError: -32027,
    hasEnvelopes: true,
  },
  sketch: {
    NotFound: -32011,
    Forbidden: -32012,
    ResourceExhausted: -32013,
    Unsupported: -32014,
    CallbackEndpointError: -32015,
    hasEnvelopes: false,
  },
}

/** What a client is answered: the SDKs make a JSON-RPC error of its `code`, `message` and `data`. */
export class EventsError extends Error {
  name = 'EventsError'

  constructor(code, message, data) {
    super(message)
    this.code = code
    if (data !== undefined) this.data = data
  }

  /** As it stands in a notification or an envelope. */
  toJSON() {
    const { code, message, data } = this
    return { code, message, ...(data === undefined ? {} : { data }) }
  }
}

/** The errors of one of the two worlds. */
export class EventsProfile {
  #codes

  constructor(name = 'sep-3415') {
    if (!Object.hasOwn(PROFILES, name)) throw new RangeError("profile: 'sep-3415' or 'sketch'.")
    this.name = name
    this.#codes = PROFILES[name]
  }

  /** Whether `gap` and `terminated` envelopes are sent. */
  get hasEnvelopes() {
    return this.#codes.hasEnvelopes
  }

  invalidParams(message) {
    return new EventsError(-32602, message)
  }

  notFound(kind, message) {
    return new EventsError(this.#codes.NotFound, message, { kind })
  }

  forbidden(message = 'These events are not for you.') {
    return new EventsError(this.#codes.Forbidden, message)
  }

  resourceExhausted(limit, max) {
    return new EventsError(this.#codes.ResourceExhausted, 'There are too many.', { limit, ...(max ? { max } : {}) })
  }

  unsupported(feature, value) {
    return new EventsError(this.#codes.Unsupported, `${feature} '${value}' is not supported.`, { feature, value })
  }

  callbackEndpoint(reason) {
    return new EventsError(this.#codes.CallbackEndpointError, 'The endpoint did not prove itself.', { reason })
  }
}
