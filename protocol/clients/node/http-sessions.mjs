import { tell } from './callback.mjs'
import { hintAtEra, isModern } from './era.mjs'
import { RequestError, RequestTooLarge, StoreError } from './errors.mjs'
import { HealthRoute } from './health-route.mjs'
import { HALF_A_PAIR, toName } from './names.mjs'
import { SessionWatch } from './session-watch.mjs'

const VISIBLE_ASCII = /^[!-~]{1,256}$/
const LARGEST_BODY = 4 << 20
/** What the store answers when nothing is wrong with the store. */
const OURS = new Set(['invalid_params', 'invalid_request', 'method_not_found', 'parse_error', 'payload_too_large'])

/** An answer that is no success: its HTTP status, and its JSON-RPC error. */
class Refusal {
  constructor(status, code, kind, message, { headers = {}, ...data } = {}) {
    this.status = status
    this.headers = headers
    this.error = { code, message, data: { kind, ...data } }
  }

  send(request, response) {
    if (response.headersSent || response.writableEnded) return
    const text = JSON.stringify({ jsonrpc: '2.0', error: this.error, id: idOf(request.body) })
    response.statusCode = this.status
    for (const [name, value] of Object.entries(this.headers)) response.setHeader(name, value)
    response.setHeader('Content-Type', 'application/json')
    response.end(text)
  }
}

/** The id of the request in a body that was read; null where it has none, or one that a number here cannot hold. */
function idOf(body) {
  const id = body?.id
  if (typeof id === 'string') return id
  return typeof id === 'number' && (Number.isSafeInteger(id) || id % 1 !== 0) ? id : null
}

/** The same for a session that is unknown, over, or another's: the client starts anew. */
const expired = () =>
  new Refusal(404, 1003, 'session_expired', 'The session is not known, or has expired: initialize a new one.', {
    retryable: false,
    retry: 're-initialize',
  })

const tooLarge = (most) =>
  new Refusal(413, 1301, 'payload_too_large', `The request has more than ${most} bytes.`, {
    headers: { Connection: 'close' },
    retryable: false,
    limit: most,
  })

const noJSON = (message) => new Refusal(400, -32700, 'parse_error', message, { retryable: false })

/** A function of the host failed, or gave what it must not: no fault of the store, and nothing to try again. */
class HostFault extends Error {
  constructor(option, cause) {
    super(`The option \`${option}\` of httpSessions failed: ${cause?.message ?? cause}`, { cause })
    this.name = 'HostFault'
  }
}

/**
 * Middleware `(request, response, next)` for node:http and Express that stands before an MCP endpoint and looks after
 * its sessions, whatever the path is under which it is mounted. `next()` is called when the request may go on;
 * `request.mcpSession` is its session then, or null when it names none, as `initialize` does and all of MCP
 * 2026-07-28. Streams that are open are ended when their session is.
 */
export function httpSessions(store, options = {}) {
  const { owner = () => ({}), touch = true, rateLimit, screen, property = 'mcpSession', onError = () => {} } = options
  const { health, hint = true } = options
  checkRateLimit(rateLimit)
  const healthRoute = health === undefined ? null : new HealthRoute(store, health, onError)
  const watch = new SessionWatch(store, { touch })

  async function check(request) {
    const owners = await ownersOf(request)
    if (rateLimit) await checkRate(request, owners)
    const id = request.headers['mcp-session-id']
    request[property] = id === undefined ? null : await findSession(id, owners)
    if (screen) await checkInput(request)
    if (hint && id === undefined && isModern(request.headers['mcp-protocol-version'], request.body)) {
      hintAtEra(store, 'httpSessions')
    }
    return owners
  }

  /** Both are always said: who is not named is the anonymous caller, and finds only what belongs to nobody. */
  async function ownersOf(request) {
    const { tenant_id, principal, ...others } = await ofHost('owner', () => owner(request), isOwner)
    const [unknown] = Object.keys(others)
    if (unknown !== undefined) throw new HostFault('owner', `'${unknown}' is neither tenant_id nor principal.`)
    return { tenant_id: tenant_id ?? null, principal: principal ?? null }
  }

  async function checkRate(request, owners) {
    const { limit, window, key = ofCaller } = rateLimit
    const name = await ofHost('rateLimit.key', () => key(request, owners), (value) => typeof value === 'string')
    const call = { key: toName(name), limit, window }
    const { allowed, retry_after } = await store.checkRateLimit(call)
    if (allowed) return
    throw new Refusal(429, 1429, 'rate_limit_exceeded', 'Too many requests: wait, then try again.', {
      headers: { 'Retry-After': String(Math.ceil(retry_after / 1000)) },
      retryable: true,
      retry_after,
    })
  }

  async function findSession(session_id, owners) {
    const isPossible = VISIBLE_ASCII.test(session_id) && Object.values(owners).every(isPossibleOwner)
    const session = isPossible ? await store.getSession({ session_id, touch, ...owners }) : null
    if (session === null || session.status === 'invalidated') throw expired()
    if (session.status !== 'suspended') return session
    throw new Refusal(403, 1004, 'invalid_session_status', 'The session is suspended.', { retryable: true })
  }

  async function checkInput(request) {
    const { max_bytes = LARGEST_BODY, text = allTexts, patterns } = screen === true ? {} : screen
    if (hasUnreadBody(request)) request.body = await readBody(request, max_bytes)
    const session_id = request[property]?.session_id
    const screened = await ofHost('screen.text', () => text(request), (value) => typeof value === 'string')
    // Half a surrogate pair may stand in JSON, but is no text that could be screened.
    const call = { text: screened.replace(HALF_A_PAIR, '\ufffd'), max_bytes, patterns }
    let answer
    try {
      answer = await store.validateInput(session_id === undefined ? call : { ...call, session_id })
    } catch (error) {
      throw error instanceof RequestTooLarge ? tooLarge(max_bytes) : error
    }
    if (answer.valid) return
    throw new Refusal(400, -32602, 'invalid_input', 'The request holds input that is not accepted.', {
      retryable: false,
      reason: answer.reason,
    })
  }

  return async function sessions(request, response, next) {
    if (healthRoute?.isAskedBy(request)) {
      await healthRoute.answer(request, response)
      return
    }
    let owners
    try {
      owners = await check(request)
    } catch (error) {
      if (!(error instanceof Refusal)) tell(onError, error)
      const refusal = error instanceof Refusal ? error : refusalOf(error)
      refusal.send(request, response)
      return
    }
    if (request[property] !== null) watch.add(request[property], owners, response)
    await next()
  }
}

function checkRateLimit(rateLimit) {
  if (!rateLimit) return
  for (const name of ['limit', 'window']) {
    if (Number.isSafeInteger(rateLimit[name]) && rateLimit[name] > 0) continue
    throw new RangeError(`rateLimit.${name}: an integer above 0 is expected, not ${rateLimit[name]}.`)
  }
}

/** What a function of the host gives; that it is of no use, or fails, is told as such. */
async function ofHost(option, ask, isUsable) {
  let value
  try {
    value = await ask()
  } catch (error) {
    throw error instanceof Refusal ? error : new HostFault(option, error)
  }
  if (!isUsable(value)) throw new HostFault(option, 'what it gives is not of the type that is expected.')
  return value
}

/** An owner that got lost on the way must open nothing: what is undefined is no anonymous caller. */
function isOwner(value) {
  if (typeof value !== 'object' || value === null) return false
  return ['tenant_id', 'principal'].every((name) => {
    return !Object.hasOwn(value, name) || value[name] === null || typeof value[name] === 'string'
  })
}

/** Nothing is bound to a name that the store does not take. */
function isPossibleOwner(name) {
  return name === null || toName(name) === name
}

/** What the caller's allowance is counted under. Express knows the address behind proxies that it is told to trust. */
function ofCaller(request, { tenant_id, principal }) {
  const address = principal === null ? (request.ip ?? request.socket?.remoteAddress) : null
  return 'http ' + JSON.stringify([tenant_id, principal, address ?? null])
}

/** Nobody goes on when the store cannot be asked. */
function refusalOf(error) {
  const isOfStore = error instanceof StoreError && !(error instanceof RequestError && OURS.has(error.kind))
  if (!isOfStore) {
    return new Refusal(500, -32603, 'internal_error', 'The server failed to look at the request.', { retryable: false })
  }
  if (error.kind === 'session_expired' || error.kind === 'session_not_found') return expired()
  const text = 'Sessions cannot be looked up at the moment: try again.'
  return new Refusal(503, -32603, 'store_unavailable', text, { headers: { 'Retry-After': '1' }, retryable: true })
}

/** Whether there is a body that nobody has read. A parser that did not want it may have put an empty object there. */
function hasUnreadBody(request) {
  const { body, headers, method } = request
  if (body !== undefined && (body === null || typeof body !== 'object' || Object.keys(body).length > 0)) return false
  if (body !== undefined && request.readableDidRead !== false) return false
  return method === 'POST' || headers['transfer-encoding'] !== undefined || Number(headers['content-length']) > 0
}

async function readBody(request, most) {
  const chunks = []
  let size = 0
  try {
    for await (const chunk of request) {
      size += chunk.length
      if (size > most) throw tooLarge(most)
      chunks.push(Buffer.from(chunk))
    }
  } catch (error) {
    // The client went away in the middle.
    throw error instanceof Refusal ? error : noJSON('The body of the request did not come whole.')
  }
  return toJSON(Buffer.concat(chunks).toString('utf8'))
}

function toJSON(text) {
  try {
    return JSON.parse(text)
  } catch {
    throw noJSON('The body of the request is no JSON.')
  }
}

/** Every text in the body, also where a parser left it as text or bytes. */
function allTexts({ body }) {
  if (body === undefined || body === '') return ''
  if (body instanceof Uint8Array) return allTexts({ body: Buffer.from(body).toString('utf8') })
  return textsOf(typeof body === 'string' ? toJSON(body) : body).join('\n')
}

/** Every text in a JSON value, keys included; however deep it is. */
function textsOf(value) {
  const texts = []
  const left = [value]
  while (left.length > 0) {
    const each = left.pop()
    if (typeof each === 'string') texts.push(each)
    else if (Array.isArray(each)) for (const entry of each) left.push(entry)
    else if (each !== null && typeof each === 'object') for (const entry of Object.entries(each)) left.push(...entry)
  }
  return texts
}
