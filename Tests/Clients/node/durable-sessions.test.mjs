// Sessions of a Streamable HTTP server that outlive its process: requests over loopback, transports of a stand-in.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { DurableSessions } from '../../../protocol/clients/node/durable-sessions.mjs'
import { eventually, openStore, signal, temporaryFolder } from './fixture.mjs'
import { StandInTransport } from './transport.mjs'

const ACCEPT = 'application/json, text/event-stream'
const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'tester', version: '1' } }
const initialize = { jsonrpc: '2.0', id: 0, method: 'initialize', params }

/** The messages of a text of server-sent events, each with its id. */
function eventsIn(text) {
  return text.split('\n\n').slice(0, -1).map((block) => {
    const id = /^id: (.*)$/m.exec(block)?.[1]
    const data = /^data: (.*)$/m.exec(block)?.[1]
    return { id, message: data ? JSON.parse(data) : undefined }
  })
}

/** A server on loopback. `restart` is what a new process would be: nothing is left but the store. */
async function serve(t, store, options = {}) {
  const served = { seen: [], errors: [], transports: [], refuses: false }
  async function connect(options) {
    const transport = new StandInTransport(options)
    served.transports.push(transport)
    transport.onclose = () => {}
    transport.onmessage = (message) => void receive(transport, message)
    return transport
  }
  async function receive(transport, { id, method, params }) {
    served.seen.push(method)
    const answer = (result) => transport.send({ jsonrpc: '2.0', id, result })
    if (method === 'initialize' && served.refuses) {
      await transport.send({ jsonrpc: '2.0', id, error: { code: -32603, message: 'the licence server is down' } })
    } else if (method === 'initialize') await answer({ protocolVersion: '2025-11-25', capabilities: {} })
    else if (method === 'echo') await answer(params)
    else if (method === 'slow') {
      const progress = { jsonrpc: '2.0', method: 'notifications/progress', params }
      await transport.send(progress, { relatedRequestId: id })
    }
  }
  const owner = (request) => ({ principal: request.headers.get('x-user') })
  const onError = (error) => served.errors.push(error)
  const make = () => new DurableSessions(store, { connect, owner, onError, ...options })
  let sessions = make()
  const server = createServer((request, response) => void sessions.handleNodeRequest(request, response))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(async () => {
    await sessions.close()
    server.closeAllConnections()
    server.close()
  })
  const address = `http://127.0.0.1:${server.address().port}/mcp`
  const ask = (body, { session, user = 'alice', last, method = body === undefined ? 'GET' : 'POST' } = {}) => {
    const headers = { Accept: ACCEPT, 'Content-Type': 'application/json', 'X-User': user }
    if (session !== undefined) headers['Mcp-Session-Id'] = session
    if (last !== undefined) headers['Last-Event-ID'] = last
    return fetch(address, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
  }
  const open = async () => {
    const response = await ask(initialize)
    const session = response.headers.get('mcp-session-id')
    assert.equal(eventsIn(await response.text()).at(-1).message.result.protocolVersion, '2025-11-25')
    assert.equal((await ask({ jsonrpc: '2.0', method: 'notifications/initialized' }, { session })).status, 202)
    return session
  }
  const restart = async () => {
    await sessions.close()
    sessions = make()
    served.seen.length = 0
  }
  return { ask, open, restart, served }
}

/** Reads a response until something stands in it, and goes away. */
async function readUntil(response, text) {
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
  let read = ''
  while (!read.includes(text)) {
    const { done, value } = await reader.read()
    if (done) break
    read += decoder.decode(value)
  }
  await reader.cancel()
  return read
}

const echo = (id) => ({ jsonrpc: '2.0', id, method: 'echo', params: { id } })

test('a session goes on after a restart, in the state behind its handshake, unheard', async (t) => {
  const store = await openStore(t, { database: join(temporaryFolder(t), 'sessions.db') })
  const { ask, open, restart, served } = await serve(t, store)
  const session = await open()
  const before = await store.eventCount({ session_id: session })
  await restart()
  const answers = await Promise.all([1, '1', 2.5].map(async (id) => {
    const response = await ask(echo(id), { session })
    assert.equal(response.headers.get('mcp-session-id'), session)
    return eventsIn(await response.text()).at(-1).message
  }))
  assert.deepEqual(answers.map(({ id, result }) => [id, result.id]), [[1, 1], ['1', '1'], [2.5, 2.5]])
  assert.deepEqual(served.seen.slice(0, 2), ['initialize', 'notifications/initialized'], 'once for all who ask at once')
  assert.equal(served.transports.length, 2)
  assert.equal((await store.eventCount({ session_id: session })).count, before.count + 6, 'nothing of it is stored')
})

test('a stream is resumed after a restart, and a call that was interrupted is answered with an error', async (t) => {
  const store = await openStore(t)
  const { ask, open, restart } = await serve(t, store)
  const session = await open()
  for (const id of [7, 'seven', '']) {
    const call = { jsonrpc: '2.0', id, method: 'slow', params: { at: 1 } }
    const [first] = eventsIn(await readUntil(await ask(call, { session }), '"at":1'))
    await restart()
    const resumed = await ask(undefined, { session, last: first.id })
    const [progress, end] = eventsIn(await resumed.text()).map(({ message }) => message)
    assert.equal(progress.params.at, 1)
    assert.deepEqual([end.id, end.error.code], [id, -32603])
    assert.match(end.error.message, /restarted/)
    // Told once, however often it is resumed.
    const again = await ask(undefined, { session, last: first.id })
    assert.equal(eventsIn(await again.text()).length, 2)
  }
})

test('what this process works on is not interrupted, and nothing is where that is not wanted', async (t) => {
  const store = await openStore(t)
  for (const failInterrupted of [true, false]) {
    const { ask, open, restart, served } = await serve(t, store, { failInterrupted })
    const session = await open()
    const call = { jsonrpc: '2.0', id: 7, method: 'slow', params: { at: 1 } }
    const [first] = eventsIn(await readUntil(await ask(call, { session }), '"at":1'))
    if (!failInterrupted) await restart()
    const resumed = await ask(undefined, { session, last: first.id })
    if (failInterrupted) void served.transports.at(-1).send({ jsonrpc: '2.0', id: 7, result: { done: true } })
    const seen = eventsIn(await resumed.text()).map(({ message }) => message)
    assert.deepEqual(seen.map(({ error }) => error), seen.map(() => undefined))
    assert.equal(seen.length, failInterrupted ? 2 : 1)
  }
})

test('a handshake that is refused leaves no session, and one that is refused later is tried again', async (t) => {
  const store = await openStore(t)
  const { ask, open, restart, served } = await serve(t, store)
  served.refuses = true
  const refused = await ask(initialize)
  assert.equal(eventsIn(await refused.text()).at(-1).message.error.message, 'the licence server is down')
  await eventually(async () => (await store.sessionCount()).count === 0, 'the end of the session')
  served.refuses = false
  const session = await open()
  await restart()
  served.refuses = true
  assert.equal((await ask(echo(1), { session })).status, 503)
  served.refuses = false
  const response = await ask(echo(2), { session })
  assert.equal(eventsIn(await response.text()).at(-1).message.result.id, 2)
})

test("a session is its owner's alone, and what is over is not there", async (t) => {
  const store = await openStore(t)
  const { ask, open, restart } = await serve(t, store)
  for (const isLive of [true, false]) {
    const session = await open()
    if (!isLive) await restart()
    for (const user of ['bob', '', 'p'.repeat(2000)]) {
      assert.equal((await ask(echo(1), { session, user })).status, 404)
    }
    assert.equal((await ask(echo(1), { session })).status, 200)
    await store.suspendSession({ session_id: session })
    assert.equal((await ask(echo(1), { session })).status, 403)
    await store.resumeSession({ session_id: session })
    await store.expireSession({ session_id: session })
    assert.equal((await ask(echo(1), { session })).status, 404)
  }
  for (const session of ['made-up', 'a b', 'x'.repeat(300)]) assert.equal((await ask(echo(1), { session })).status, 404)
  assert.equal((await ask(echo(1))).status, 400)
  const long = await ask(initialize, { user: 'p'.repeat(2000) })
  assert.equal(long.status, 200)
  await long.text()
})

test('streams end with their session, a DELETE deletes it, and a transport that nobody uses is freed', async (t) => {
  const store = await openStore(t)
  const { ask, open, served } = await serve(t, store, { idle: 40 })
  const session = await open()
  const stream = await ask(undefined, { session })
  const over = stream.text().catch(() => {})
  await new Promise((resolve) => setTimeout(resolve, 100))
  await store.deleteSession({ session_id: session })
  await over
  const other = await open()
  const { status } = await ask(undefined, { session: other, method: 'DELETE' })
  assert.deepEqual([status, await store.getSession({ session_id: other })], [200, null])
  const third = await open()
  const last = served.transports.at(-1)
  await eventually(async () => (await last.handleRequest(new Request('http://x/'))).status === 404, 'the end of it')
  const response = await ask(echo(1), { session: third })
  assert.equal(eventsIn(await response.text()).at(-1).message.result.id, 1)
})

test('a session that its client deletes can be kept', async (t) => {
  const store = await openStore(t, { options: { retain_ended: '1h' } })
  const { ask, open } = await serve(t, store, { resolveOnDelete: true })
  const session = await open()
  assert.equal((await ask(undefined, { session, method: 'DELETE' })).status, 200)
  const kept = await store.getSession({ session_id: session, include_ended: true })
  assert.equal(kept.status, 'resolved')
  assert.equal(await store.getSession({ session_id: session }), null)
  assert.equal((await ask(undefined, { session, method: 'DELETE' })).status, 404)
})

test('an odd handshake is answered, though it cannot be kept', async (t) => {
  const store = await openStore(t)
  const { ask, restart } = await serve(t, store)
  const nested = JSON.parse('['.repeat(140) + ']'.repeat(140))
  for (const odd of [{ x: nested }, { x: 'x'.repeat(2e6) }, undefined, 7, { half: '\ud800' }]) {
    const response = await ask({ ...initialize, params: odd })
    assert.equal(response.status, 200)
    const session = response.headers.get('mcp-session-id')
    assert.notEqual(eventsIn(await response.text()).at(-1).message.result, undefined)
    assert.equal((await ask(echo(1), { session })).status, 200)
  }
  await restart()
})

test('what fails is told as what it is', async (t) => {
  const store = await openStore(t)
  const { ask, open, served } = await serve(t, store)
  const session = await open()
  const body = await (await ask(initialize)).text()
  assert.ok(body.length > 0)
  for (const [connect, told] of [
    [() => undefined, /others have no sessions/],
    [() => ({ handleRequest: async (request, response, body) => [request, response, body] }), /handleNodeRequest/],
    [() => new StandInTransport({}), /server\.connect/],
    [() => Promise.reject(new Error('no server')), /no server/],
  ]) {
    const errors = []
    const sessions = new DurableSessions(store, { connect, onError: ({ message }) => errors.push(message) })
    const request = new Request('http://x/', { method: 'POST', body: JSON.stringify(initialize) })
    assert.equal((await sessions.handleRequest(request)).status, 500)
    assert.match(errors.join(), told)
  }
  const failing = new DurableSessions(store, { connect: () => {}, owner: () => ({ principal: undefined }) })
  assert.equal((await failing.handleRequest(new Request('http://x/'))).status, 500)
  assert.throws(() => new DurableSessions(store, {}), TypeError)
  const malformed = new Request('http://x/', { method: 'POST', body: '{"half' })
  assert.equal((await failing.handleRequest(malformed)).status, 500)
  signal(store.pid, 'SIGKILL')
  await eventually(() => store.state === 'failed', 'the death')
  const answer = await ask(echo(1), { session })
  assert.deepEqual([answer.status, answer.headers.get('retry-after')], [503, '1'])
  assert.equal(served.errors.at(-1).name, 'ChildError')
})

test('that a client without sessions came is told the log once; one that falls back is served', async (t) => {
  const store = await openStore(t)
  const { ask, open } = await serve(t, store)
  const silent = await serve(t, store, { hint: false })
  const _meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' }
  const discover = { jsonrpc: '2.0', id: 1, method: 'server/discover', params: { _meta } }
  assert.equal((await silent.ask(discover)).status, 400)
  assert.ok(!store.remarks.some((line) => line.includes('2026-07-28')))
  for (let n = 0; n < 2; n++) {
    const answer = await ask(discover)
    assert.equal(answer.status, 400, 'which is what makes it fall back')
    await answer.text()
  }
  await open()
  const hints = store.remarks.filter((line) => line.includes('2026-07-28'))
  assert.equal(hints.length, 1)
  assert.ok(hints[0].includes('DurableSessions'), hints[0])
})
