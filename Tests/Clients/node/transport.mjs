// A stand-in for the TypeScript SDK's web-standard Streamable HTTP transport: what it does to its event store and on
// its streams, in the order in which it does it, and nothing else. Only the surface that the adapters use.

import { randomUUID } from 'node:crypto'

const GET_STREAM = '_GET_stream'
const encoder = new TextEncoder()

function refuse(status, code, message) {
  return Response.json({ jsonrpc: '2.0', error: { code, message }, id: null }, { status })
}

export class StandInTransport {
  onclose
  onmessage
  sessionId
  #options
  #isInitialized = false
  #isClosed = false
  #streams = new Map()
  #streamOfRequest = new Map()

  constructor(options) {
    this.#options = options
  }

  async handleRequest(request, options) {
    if (this.#isClosed) return refuse(404, -32001, 'Session not found')
    if (request.method === 'POST') return this.#post(request, options)
    const refusal = this.#checkSession(request)
    if (refusal !== undefined) return refusal
    if (request.method === 'DELETE') {
      await this.close()
      return new Response(null, { status: 200 })
    }
    const last = request.headers.get('last-event-id')
    if (last) return this.#resume(last)
    if (this.#streams.has(GET_STREAM)) return refuse(409, -32000, 'Conflict')
    return this.#open(GET_STREAM)
  }

  #checkSession(request) {
    if (!this.#isInitialized) return refuse(400, -32000, 'Server not initialized')
    const id = request.headers.get('mcp-session-id')
    if (id === null) return refuse(400, -32000, 'Mcp-Session-Id header is required')
    return id === this.sessionId ? undefined : refuse(404, -32001, 'Session not found')
  }

  async #post(request, options) {
    const message = options?.parsedBody ?? (await request.json())
    if (message.method === 'initialize') {
      if (this.#isInitialized) return refuse(400, -32600, 'Server already initialized')
      this.sessionId = this.#options.sessionIdGenerator()
      this.#isInitialized = true
    } else {
      const refusal = this.#checkSession(request)
      if (refusal !== undefined) return refusal
    }
    if (message.id === undefined) {
      this.onmessage?.(message)
      return new Response(null, { status: 202 })
    }
    const streamId = randomUUID()
    const response = this.#open(streamId)
    this.#streamOfRequest.set(message.id, streamId)
    const id = await this.#options.eventStore.storeEvent(streamId, {})
    this.#streams.get(streamId)?.write(`id: ${id}\ndata: \n\n`)
    this.onmessage?.(message)
    return response
  }

  #makeStream(streamId) {
    let controller
    const stream = {
      write: (text) => controller.enqueue(encoder.encode(text)),
      close: () => {
        if (this.#streams.get(streamId) === stream) this.#streams.delete(streamId)
        try {
          controller.close()
        } catch {
          // The client has gone.
        }
      },
    }
    const body = new ReadableStream({
      start: (made) => void (controller = made),
      cancel: () => void (this.#streams.get(streamId) === stream && this.#streams.delete(streamId)),
    })
    const headers = { 'Content-Type': 'text/event-stream', 'Mcp-Session-Id': this.sessionId }
    return { stream, response: new Response(body, { headers }) }
  }

  #open(streamId) {
    const { stream, response } = this.#makeStream(streamId)
    this.#streams.set(streamId, stream)
    return response
  }

  async #resume(last) {
    const { eventStore } = this.#options
    const streamId = await eventStore.getStreamIdForEventId(last)
    if (!streamId) return refuse(400, -32000, 'Invalid event ID format')
    if (this.#streams.has(streamId)) return refuse(409, -32000, 'Conflict')
    const { stream, response } = this.#makeStream(streamId)
    await eventStore.replayEventsAfter(last, {
      send: async (id, message) => stream.write(`event: message\nid: ${id}\ndata: ${JSON.stringify(message)}\n\n`),
    })
    this.#streams.set(streamId, stream)
    const isWaitedFor = streamId === GET_STREAM || [...this.#streamOfRequest.values()].includes(streamId)
    if (!isWaitedFor) stream.close()
    return response
  }

  async send(message, { relatedRequestId } = {}) {
    const requestId = message.method === undefined ? message.id : relatedRequestId
    const streamId = requestId === undefined ? GET_STREAM : this.#streamOfRequest.get(requestId)
    if (streamId === undefined) throw new Error(`No connection established for request ID: ${requestId}`)
    const id = await this.#options.eventStore.storeEvent(streamId, message)
    const stream = this.#streams.get(streamId)
    stream?.write(`event: message\n${id ? `id: ${id}\n` : ''}data: ${JSON.stringify(message)}\n\n`)
    if (message.method !== undefined) return
    this.#streamOfRequest.delete(requestId)
    stream?.close()
  }

  async close() {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const stream of [...this.#streams.values()]) stream.close()
    this.onclose?.()
  }
}
