import { RequestError } from './errors.mjs'

const VISIBLE_ASCII = /^[!-~]{1,256}$/
const LARGEST_BODY = 4 << 20

/** An answer that is no success: its HTTP status, and its JSON-RPC error. */
class Refusal {
  constructor(status, code, kind, message, { headers = {}, ...data } = {}) {
    this.status = status
    this.headers = headers
    this.error = { code, message, data: { kind, ...data } }
  }

  send(request, response) {
    const id = ['string', 'number'].includes(typeof request.body?.id) ? request.body.id : null
    const text = JSON.stringify({ jsonrpc: '2.0', error: this.error, id })
    response.statusCode = this.status
    for (const [name, value] of Object.entries(this.headers)) response.setHeader(name, value)
    response.setHeader('Content-Type', 'application/json')
    response.end(text)
  }
}

/** The same for a session that is unknown, over, or another's: the client starts anew. */
const expired = () =>
  new Refusal(404, 1003, 'session_expired', 'The session is not known, or has expired: initialize a new one.', {
    retryable: false,
    retry: 're-initialize',
  })

/**
 * Middleware `(request, response, next)` for node:http and Express that stands before an MCP endpoint and looks after
 * its sessions. `next()` is called when the request may go on; `request.mcpSession` is its session then, or null when
 * it names none, as `initialize` does and all of MCP 2026-07-28.
 */
export function httpSessions(store, options = {}) {
  const { owner = () => ({}), touch = true, rateLimit, screen, property = 'mcpSession', onError = () => {} } = options

  async function check(request) {
    const owners = await owner(request)
    if (rateLimit) await checkRate(request, owners)
    const id = request.headers['mcp-session-id']
    request[property] = id === undefined ? null : await findSession(id, owners)
    if (screen) await checkInput(request)
  }

  async function checkRate(request, owners) {
    const { limit, window, key = ofCaller } = rateLimit
    const call = { key: await key(request, owners), limit, window }
    const { allowed, retry_after } = await store.checkRateLimit(call)
    if (allowed) return
    throw new Refusal(429, 1429, 'rate_limit_exceeded', 'Too many requests: wait, then try again.', {
      headers: { 'Retry-After': String(Math.ceil(retry_after / 1000)) },
      retryable: true,
      retry_after,
    })
  }

  async function findSession(session_id, owners) {
    const session = VISIBLE_ASCII.test(session_id)
      ? await store.getSession({ session_id, touch, ...owners })
      : null
    if (session === null || session.status === 'invalidated') throw expired()
    if (session.status !== 'suspended') return session
    throw new Refusal(403, 1004, 'invalid_session_status', 'The session is suspended.', { retryable: true })
  }

  async function checkInput(request) {
    const { max_bytes = LARGEST_BODY, text = (each) => textsOf(each.body).join('\n') } = screen === true ? {} : screen
    if (request.method === 'POST' && request.body === undefined) request.body = await readBody(request, max_bytes)
    const session_id = request[property]?.session_id
    // Half a surrogate pair may stand in JSON, but is no text that could be screened.
    const screened = (await text(request)).toWellFormed()
    const { valid, reason } = await store.validateInput({ text: screened, max_bytes, session_id })
    if (valid) return
    throw new Refusal(400, -32602, 'invalid_input', 'The request holds input that is not accepted.', {
      retryable: false,
      reason,
    })
  }

  return async function sessions(request, response, next) {
    try {
      await check(request)
    } catch (error) {
      if (!(error instanceof Refusal)) onError(error)
      const refusal = error instanceof Refusal ? error : refusalOf(error)
      refusal.send(request, response)
      return
    }
    await next()
  }
}

/** What the caller's allowance is counted under, unless the application says. */
function ofCaller(request, { tenant_id = null, principal = null }) {
  const address = principal === null ? request.socket.remoteAddress : null
  return 'http ' + JSON.stringify([tenant_id, principal, address])
}

/** Nobody goes on when the store cannot be asked. */
function refusalOf(error) {
  if (error instanceof RequestError && (error.kind === 'session_expired' || error.kind === 'session_not_found')) {
    return expired()
  }
  const text = 'Sessions cannot be looked up at the moment: try again.'
  return new Refusal(503, -32603, 'store_unavailable', text, { headers: { 'Retry-After': '1' }, retryable: true })
}

async function readBody(request, most) {
  const chunks = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > most) {
      throw new Refusal(413, 1301, 'payload_too_large', `The request has more than ${most} bytes.`, {
        headers: { Connection: 'close' },
        retryable: false,
        limit: most,
      })
    }
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    throw new Refusal(400, -32700, 'parse_error', 'The body of the request is no JSON.', { retryable: false })
  }
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
