import { AsyncLocalStorage } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import { tell } from './callback.mjs'
import { hintAtEra, isModern } from './era.mjs'
import { RequestError, StoreError } from './errors.mjs'
import { EventStore } from './event-store.mjs'
import { asJSON } from './json.mjs'
import { toName } from './names.mjs'
import { SessionWatch } from './session-watch.mjs'
import { clearInterval, setInterval } from './timers.mjs'
import { isUnstorable } from './unstorable.mjs'

const VISIBLE_ASCII = /^[!-~]{1,256}$/
const MINUTE = 60_000
const INTERNAL_ERROR = -32603
/** The id of the request with which a transport is put back to where it was; what belongs to it is not stored. */
const RESTORE = 'mcp-session-store/restore'
const ACCEPT = 'application/json, text/event-stream'
const GONE = new Set(['session_not_found', 'session_expired', 'invalid_session_status'])
const FULL = new Set(['max_sessions_reached', 'max_user_sessions_reached'])

/** An answer of this adapter in place of a transport's. */
class Refusal {
  constructor(status, code, message, headers = {}) {
    Object.assign(this, { status, code, message, headers })
  }

  get response() {
    const error = { code: this.code, message: this.message }
    const headers = { 'Content-Type': 'application/json', ...this.headers }
    return new Response(JSON.stringify({ jsonrpc: '2.0', error, id: null }), { status: this.status, headers })
  }
}

const notFound = () => new Refusal(404, -32001, 'Session not found')
const unavailable = (message) => new Refusal(503, INTERNAL_ERROR, message, { 'Retry-After': '1' })

/**
 * Sessions of the TypeScript SDK's Streamable HTTP transport (1.x and 2.x, for MCP up to 2025-11-25) that outlive the
 * process. A request that names a session which this process does not have finds it in the store: a new transport is
 * handed the client's own `initialize` once more, under the same session id, and nothing of that is told the client.
 * Only what the SDK has made public is used for that.
 */
export class DurableSessions {
  #store
  #connect
  #owner
  #ttl
  #inactivityTimeout
  #failInterrupted
  #idle
  #hint
  #onError
  #resolves
  #watch
  /** By id: `{transport, owners, usedAt, busy}`, or the promise of one. */
  #live = new Map()
  #context = new AsyncLocalStorage()
  #sweep = null

  constructor(store, options) {
    const { connect, owner = () => ({}), ttl, inactivityTimeout, failInterrupted = true } = options
    const { idle = 10 * MINUTE, hint = true, onError = () => {} } = options
    const { resolveOnDelete = false } = options
    if (typeof connect !== 'function') throw new TypeError('connect: a function is expected.')
    this.#store = store
    this.#connect = connect
    this.#owner = owner
    this.#ttl = ttl
    this.#inactivityTimeout = inactivityTimeout
    this.#failInterrupted = failInterrupted
    this.#idle = idle
    this.#hint = hint
    this.#onError = onError
    this.#resolves = resolveOnDelete
    this.#watch = new SessionWatch(store, { touch: true })
  }

  /** Answers a request to the MCP endpoint. `options` are those of the transport's `handleRequest`. */
  handleRequest = async (request, options = {}) => {
    try {
      return await this.#handle(request, options)
    } catch (error) {
      if (error instanceof Refusal) return error.response
      tell(this.#onError, error)
      return this.#refusalOf(error).response
    }
  }

  /** The same for node:http and Express: `(request, response)`. A body that was parsed is taken from `request.body`. */
  handleNodeRequest = async (request, response) => {
    const web = toWebRequest(request)
    const answer = await this.handleRequest(web, { authInfo: request.auth, parsedBody: request.body })
    await send(answer, response)
  }

  /** Closes the transports that are open here. The sessions stay in the store. */
  async close() {
    clearInterval(this.#sweep)
    this.#sweep = null
    const all = [...this.#live.values()]
    this.#live.clear()
    await Promise.allSettled(all.map(async (entry) => (await entry).transport.close()))
  }

  async #handle(request, options) {
    const owners = await this.#ownersOf(request, options)
    const session_id = request.headers.get('mcp-session-id')
    if (session_id !== null) return this.#serve(session_id, owners, request, options)
    const version = request.headers.get('mcp-protocol-version')
    if (this.#hint && isModern(version)) hintAtEra(this.#store, 'DurableSessions')
    if (request.method !== 'POST') throw new Refusal(400, -32000, 'Bad Request: Mcp-Session-Id header is required')
    const body = await bodyOf(request, options)
    if (this.#hint && isModern(version, body)) hintAtEra(this.#store, 'DurableSessions')
    const initialize = [body].flat().find((message) => message?.method === 'initialize')
    if (initialize === undefined) {
      throw new Refusal(400, -32000, 'Bad Request: Mcp-Session-Id header is required')
    }
    return this.#open(initialize, owners, request, { ...options, parsedBody: body })
  }

  /** Both are always said: who is not named is the anonymous caller. */
  async #ownersOf(request, { authInfo }) {
    let given
    try {
      given = await this.#owner(request, authInfo)
      for (const name of ['tenant_id', 'principal']) {
        const value = given[name]
        const isGiven = Object.hasOwn(given, name)
        if (isGiven && value !== null && typeof value !== 'string') throw new TypeError(`${name} is ${value}.`)
      }
    } catch (error) {
      tell(this.#onError, error)
      throw new Refusal(500, INTERNAL_ERROR, 'The server failed to look at the request.')
    }
    const nameOf = (text) => (text === undefined || text === null ? null : toName(text))
    return { tenant_id: nameOf(given.tenant_id), principal: nameOf(given.principal) }
  }

  // --- A new session

  async #open(initialize, owners, request, options) {
    const session = await this.#create(initialize.params, owners)
    const { session_id } = session
    const outcome = { requests: [initialize.id], opens: initialize.id, isRefused: false }
    const entry = await this.#makeEntry(session_id, owners)
    this.#keep(session_id, entry)
    let response
    try {
      response = await this.#context.run(outcome, () => entry.transport.handleRequest(request, options))
    } finally {
      if (!response?.ok) this.#drop(session_id, owners, entry)
    }
    if (!response.ok) return response
    if (response.headers.get('mcp-session-id') !== session_id) {
      this.#drop(session_id, owners, entry)
      throw new TypeError('connect must hand the options that it is given to its transport: it has another session.')
    }
    outcome.refuse = () => this.#drop(session_id, owners, entry)
    if (outcome.isRefused || (await isRefusal(response))) outcome.refuse()
    return this.#served(session_id, entry, response)
  }

  /** What a client says is kept when it can be; a session without it is served as long as this process lives. */
  async #create(params, owners) {
    const call = {
      ...owners,
      id_format: 'random',
      status: 'active',
      ttl: this.#ttl,
      inactivity_timeout: this.#inactivityTimeout,
    }
    try {
      const metadata = { initialize: asJSON(params ?? {}) }
      return await this.#store.createSession({ ...call, client_capabilities: asJSON(params?.capabilities), metadata })
    } catch (error) {
      if (!isUnstorable(error)) throw error
      return this.#store.createSession(call)
    }
  }

  #drop(session_id, owners, entry) {
    if (this.#live.get(session_id) === entry) this.#live.delete(session_id)
    this.#store.deleteSession({ session_id, ...owners }).catch((error) => tell(this.#onError, error))
  }

  // --- A session that there is

  async #serve(session_id, owners, request, options) {
    const session = VISIBLE_ASCII.test(session_id)
      ? await this.#store.getSession({ session_id, touch: true, ...owners })
      : null
    if (session === null || session.status === 'invalidated') {
      await this.#close(session_id, owners)
      throw notFound()
    }
    if (session.status === 'suspended') throw new Refusal(403, 1004, 'The session is suspended.')
    // What is bound to nobody answers to everybody in the store; here each has their own.
    if (session.tenant_id !== owners.tenant_id || session.principal !== owners.principal) throw notFound()
    const entry = await this.#entryOf(session, owners)
    entry.busy += 1
    try {
      return await this.#pass(session_id, entry, request, options)
    } finally {
      entry.busy -= 1
      entry.usedAt = performance.now()
    }
  }

  async #pass(session_id, entry, request, options) {
    const { owners, transport } = entry
    if (request.method === 'DELETE') await this.#end(session_id, owners)
    const body = request.method === 'POST' ? await bodyOf(request, options) : undefined
    const served = body === undefined ? options : { ...options, parsedBody: body }
    if (body?.method === 'notifications/initialized') {
      await this.#store.updateSession({ ...owners, session: { session_id, is_initialized: true } })
    }
    const requests = [body].flat().filter((each) => each?.method !== undefined && each.id !== undefined)
    const context = { requests: requests.map(({ id }) => id) }
    const response = await this.#context.run(context, () => transport.handleRequest(request, served))
    return this.#served(session_id, entry, response)
  }

  /** Deletes a session that its client is done with, or leaves what it had for as long as the store keeps it. */
  async #end(session_id, owners) {
    if (!this.#resolves) return this.#store.deleteSession({ session_id, ...owners })
    try {
      return await this.#store.resolveSession({ session_id, ...owners })
    } catch (error) {
      if (!GONE.has(error.kind)) throw error
    }
  }

  /** Closes a transport whose session is over; not for one who only asked for another's. */
  async #close(session_id, owners) {
    const entry = await this.#live.get(session_id)
    if (entry === undefined || JSON.stringify(entry.owners) !== JSON.stringify(owners)) return
    this.#live.delete(session_id)
    await entry.transport.close()
  }

  #entryOf(session, owners) {
    const { session_id } = session
    let entry = this.#live.get(session_id)
    if (entry === undefined) {
      entry = this.#restore(session, owners)
      this.#live.set(session_id, entry)
      entry.then(
        (made) => this.#live.get(session_id) === entry && this.#keep(session_id, made),
        () => this.#live.get(session_id) === entry && this.#live.delete(session_id),
      )
    }
    return entry
  }

  async #restore({ session_id, metadata, is_initialized }, owners) {
    const params = metadata.initialize
    if (params === undefined) throw notFound()
    const entry = await this.#makeEntry(session_id, owners)
    const context = { requests: [], isRestore: true }
    const ask = async (message, headers = {}) => {
      const request = new Request('http://localhost/', {
        method: 'POST',
        headers: { Accept: ACCEPT, 'Content-Type': 'application/json', ...headers },
        body: JSON.stringify(message),
      })
      return this.#context.run(context, () => entry.transport.handleRequest(request))
    }
    try {
      const response = await ask({ jsonrpc: '2.0', id: RESTORE, method: 'initialize', params })
      const answer = response.ok ? await answerOf(response) : undefined
      // A server that refuses now is not in the state behind the handshake.
      if (answer?.result === undefined) throw new Error("The server does not take the client's initialize again.")
      if (is_initialized) {
        const version = answer.result.protocolVersion
        const headers = { 'Mcp-Session-Id': session_id, ...(version ? { 'Mcp-Protocol-Version': version } : {}) }
        await ask({ jsonrpc: '2.0', method: 'notifications/initialized' }, headers)
      }
      // What the handshake has set going may say something yet.
      context.isRestore = false
      return entry
    } catch (error) {
      await entry.transport.close().catch(() => {})
      tell(this.#onError, error)
      throw unavailable('The session cannot be restored at the moment: try again.')
    }
  }

  // --- Transports

  async #makeEntry(session_id, owners) {
    const events = new EventStore(this.#store, {
      session_id,
      ...owners,
      onError: this.#onError,
      requestsOf: () => this.#context.getStore()?.requests,
      failInterrupted: this.#failInterrupted,
    })
    const transport = await this.#connect({
      sessionIdGenerator: () => session_id,
      eventStore: this.#eventStoreFor(events),
    })
    checkTransport(transport)
    const entry = { transport, owners, usedAt: performance.now(), busy: 0 }
    const closed = transport.onclose
    transport.onclose = () => {
      if (this.#live.get(session_id) === entry) this.#live.delete(session_id)
      closed?.()
    }
    return entry
  }

  /** The session's event store, but for what belongs to putting it back. It hears of a handshake that is refused. */
  #eventStoreFor(events) {
    return {
      storeEvent: async (streamId, message) => {
        const context = this.#context.getStore()
        if (context?.isRestore) return undefined
        if (context?.opens !== undefined && message.id === context.opens) {
          context.opens = undefined
          if (message.error !== undefined) {
            context.isRefused = true
            context.refuse?.()
            return undefined
          }
        }
        return events.storeEvent(streamId, message)
      },
      getStreamIdForEventId: (eventId) => events.getStreamIdForEventId(eventId),
      replayEventsAfter: (eventId, to) => events.replayEventsAfter(eventId, to),
    }
  }

  #keep(session_id, entry) {
    this.#live.set(session_id, entry)
    this.#sweep ??= setInterval(() => this.#closeIdle(), Math.max(this.#idle / 4, 10)).unref()
  }

  /** Frees the memory of transports that nobody uses. Their sessions come back like after a restart. */
  #closeIdle() {
    const before = performance.now() - this.#idle
    for (const [session_id, entry] of this.#live) {
      if (!(entry.usedAt < before) || entry.busy > 0) continue
      this.#live.delete(session_id)
      entry.transport.close().catch((error) => tell(this.#onError, error))
    }
    if (this.#live.size > 0) return
    clearInterval(this.#sweep)
    this.#sweep = null
  }

  /** A response whose stream ends with its session, and that keeps the transport in memory. */
  #served(session_id, entry, response) {
    if (!response.headers.get('content-type')?.includes('text/event-stream')) return response
    const stream = new WatchedStream(response.body)
    entry.busy += 1
    stream.once('close', () => {
      entry.busy -= 1
      entry.usedAt = performance.now()
    })
    this.#watch.add({ session_id }, entry.owners, stream)
    const { status, headers } = response
    return new Response(stream.body, { status, headers })
  }

  #refusalOf(error) {
    if (error instanceof RequestError && GONE.has(error.kind)) return notFound()
    if (error instanceof RequestError && FULL.has(error.kind)) return unavailable('Too many open sessions')
    const isOfStore = error instanceof StoreError && !isUnstorable(error)
    if (isOfStore) return unavailable('The session store is not available: try again.')
    return new Refusal(500, INTERNAL_ERROR, 'The server failed to look at the request.')
  }
}

/** The body of a stream, with what a watch needs of a response. */
class WatchedStream extends EventEmitter {
  headersSent = true
  destroyed = false

  constructor(source) {
    super()
    const reader = source.getReader()
    this.destroy = () => {
      if (this.destroyed) return
      this.destroyed = true
      reader.cancel().catch(() => {})
      this.emit('close')
    }
    this.body = new ReadableStream({
      pull: async (controller) => {
        let part
        try {
          // Ends when the reader is cancelled.
          part = await reader.read()
        } catch (error) {
          this.destroy()
          return controller.error(error)
        }
        if (!part.done) return controller.enqueue(part.value)
        this.destroy()
        controller.close()
      },
      cancel: () => this.destroy(),
    })
  }

  getHeader() {
    return 'text/event-stream'
  }
}

function checkTransport(transport) {
  const { handleRequest, onclose } = transport ?? {}
  if (typeof handleRequest !== 'function') {
    throw new TypeError('connect must give a transport of Streamable HTTP: others have no sessions to keep.')
  }
  if (handleRequest.length > 2) {
    const text = 'connect must give a WebStandardStreamableHTTPServerTransport, not the one for node:http: ' +
      '`handleNodeRequest` stands between the two.'
    throw new TypeError(text)
  }
  if (typeof onclose !== 'function') {
    throw new TypeError('connect must give a transport that a server is connected to: await server.connect(transport).')
  }
}

async function bodyOf(request, { parsedBody }) {
  if (parsedBody !== undefined) return parsedBody
  let text
  try {
    text = await request.text()
  } catch {
    throw new Refusal(400, -32700, 'The body of the request did not come whole.')
  }
  try {
    return JSON.parse(text)
  } catch {
    throw new Refusal(400, -32700, 'Parse error: Invalid JSON')
  }
}

/** The answer to the handshake, be it JSON or a stream of one event. */
async function answerOf(response) {
  const text = await response.text()
  if (!response.headers.get('content-type')?.includes('text/event-stream')) return JSON.parse(text)
  const data = text.split(/\r?\n/).filter((line) => line.startsWith('data: {'))
  return data.map((line) => JSON.parse(line.slice('data: '.length))).find(({ id }) => id === RESTORE)
}

/** Whether the answer to a handshake, as JSON, is an error. */
async function isRefusal(response) {
  if (!response.headers.get('content-type')?.includes('application/json')) return false
  return (await response.clone().json()).error !== undefined
}

// --- Between node:http and the web's requests

function toWebRequest(request) {
  const headers = new Headers()
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    const [name, value] = request.rawHeaders.slice(at, at + 2)
    if (!name.startsWith(':')) headers.append(name, value)
  }
  const url = new URL(request.originalUrl ?? request.url, `http://${request.headers.host ?? 'localhost'}`)
  const hasBody = request.method !== 'GET' && request.method !== 'HEAD' && request.body === undefined
  return new Request(url, {
    method: request.method,
    headers,
    ...(hasBody ? { body: ReadableStream.from?.(request) ?? toStream(request), duplex: 'half' } : {}),
  })
}

function toStream(request) {
  const parts = request[Symbol.asyncIterator]()
  return new ReadableStream({
    pull: async (controller) => {
      const { done, value } = await parts.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
  })
}

async function send(answer, response) {
  response.writeHead(answer.status, Object.fromEntries(answer.headers))
  if (answer.body === null) {
    response.end()
    return
  }
  response.flushHeaders()
  const reader = answer.body.getReader()
  let goOn = () => {}
  response.on('drain', () => goOn())
  response.on('error', () => {})
  response.once('close', () => {
    reader.cancel().catch(() => {})
    goOn()
  })
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: true }))
    if (done || response.destroyed) break
    if (!response.write(value) && !response.destroyed) await new Promise((resolve) => (goOn = resolve))
  }
  response.end()
}
