// The middleware before an HTTP endpoint, with real requests.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { httpSessions } from '../../../protocol/clients/node/http-sessions.mjs'
import { eventually, openStore, signal } from './fixture.mjs'

/** A server whose endpoint answers what it was given; `ask` sends it a request. */
async function serve(t, store, options) {
  const sessions = httpSessions(store, options)
  const server = createServer((request, response) =>
    sessions(request, response, () => {
      const { mcpSession, body = null } = request
      response.end(JSON.stringify({ session: mcpSession?.session_id ?? null, body }))
    }),
  )
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const address = `http://127.0.0.1:${server.address().port}/mcp`
  return async function ask({ session, user, body, method = 'POST' } = {}) {
    const headers = {
      ...(session === undefined ? {} : { 'Mcp-Session-Id': session }),
      ...(user === undefined ? {} : { 'X-User': user }),
    }
    const text = typeof body === 'string' ? body : JSON.stringify(body ?? { jsonrpc: '2.0', id: 7, method: 'ping' })
    const response = await fetch(address, { method, headers, ...(method === 'POST' ? { body: text } : {}) })
    return { status: response.status, headers: response.headers, json: await response.json() }
  }
}

/** As an application's authentication would have found it. */
const owner = (request) => ({ principal: request.headers['x-user'] ?? null })

test('a request that names no session goes on, and so does one whose session is there', async (t) => {
  const store = await openStore(t)
  const ask = await serve(t, store)
  assert.deepEqual((await ask()).json, { session: null, body: null })
  const { session_id } = await store.createSession({ status: 'active' })
  assert.deepEqual((await ask({ session: session_id, method: 'GET' })).json, { session: session_id, body: null })
  await store.createSession({ session_id: 'still-pending' })
  assert.equal((await ask({ session: 'still-pending' })).status, 200)
})

test("a session that is unknown, over or another's is 404, each time the same", async (t) => {
  const store = await openStore(t)
  const ask = await serve(t, store, { owner })
  for (const session_id of ['deleted', 'expired', 'invalidated', 'foreign']) {
    await store.createSession({ session_id, status: 'active', principal: 'bob' })
  }
  await store.deleteSession({ session_id: 'deleted' })
  await store.expireSession({ session_id: 'expired' })
  await store.invalidateSession({ session_id: 'invalidated' })
  const users = { deleted: 'bob', expired: 'bob', invalidated: 'bob', foreign: 'alice', unknown: 'bob' }
  const others = [['foreign', undefined], ['x'.repeat(300), 'bob'], ['a b', 'bob']]
  for (const [session, user] of [...Object.entries(users), ...others]) {
    const { status, headers, json } = await ask({ session, user })
    assert.equal(status, 404, session)
    assert.equal(headers.get('content-type'), 'application/json')
    assert.deepEqual([json.jsonrpc, json.id, json.error.code], ['2.0', null, 1003])
    assert.deepEqual(json.error.data, { kind: 'session_expired', retryable: false, retry: 're-initialize' })
    assert.ok(!JSON.stringify(json).includes('bob'))
  }
  assert.equal((await ask({ session: 'foreign', user: 'bob' })).status, 200)
})

test('a suspended session is no unknown one', async (t) => {
  const store = await openStore(t)
  const ask = await serve(t, store)
  await store.createSession({ session_id: 's', status: 'active' })
  await store.suspendSession({ session_id: 's' })
  const { status, json } = await ask({ session: 's' })
  assert.deepEqual([status, json.error.data.kind], [403, 'invalid_session_status'])
})

test('requests slide the deadline of their session, unless that is not wanted', async (t) => {
  const store = await openStore(t)
  const [touching, reading] = [await serve(t, store), await serve(t, store, { touch: false })]
  const { last_activity } = await store.createSession({ session_id: 's', status: 'active' })
  await eventually(() => Date.now() > last_activity, 'the next millisecond')
  await reading({ session: 's' })
  assert.equal((await store.getSession({ session_id: 's' })).last_activity, last_activity)
  await touching({ session: 's' })
  assert.ok((await store.getSession({ session_id: 's' })).last_activity > last_activity)
})

test('who asks too often is told when to come back; others are not', async (t) => {
  const store = await openStore(t)
  const ask = await serve(t, store, { owner, rateLimit: { limit: 3, window: 3_600_000 } })
  const answers = []
  for (let n = 0; n < 5; n++) answers.push(await ask({ user: 'alice' }))
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200, 429, 429])
  const { headers, json } = answers.at(-1)
  assert.equal(json.error.data.kind, 'rate_limit_exceeded')
  assert.equal(json.error.data.retryable, true)
  assert.equal(Number(headers.get('retry-after')), Math.ceil(json.error.data.retry_after / 1000))
  assert.equal((await ask({ user: 'bob' })).status, 200)
  assert.equal((await ask()).status, 200, 'who has no principal is counted by address')
})

test('what is counted under one allowance may be said', async (t) => {
  const store = await openStore(t)
  const rateLimit = { limit: 1, window: 3_600_000, key: async (request) => request.headers['mcp-session-id'] ?? 'none' }
  const ask = await serve(t, store, { rateLimit })
  assert.deepEqual([(await ask()).status, (await ask()).status], [200, 429])
})

test('input is screened, and what was read of it is handed on', async (t) => {
  const store = await openStore(t)
  const ask = await serve(t, store, { screen: true })
  const good = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { arguments: { text: 'é🎈 < 3' } } }
  assert.deepEqual((await ask({ body: good })).json.body, good)
  for (const [text, reason] of [['<script>alert(1)</script>', 'script'], ['a\u0000b', 'control_character']]) {
    for (const body of [{ id: 9, params: { list: [1, { deep: text }] } }, { id: 9, params: { [text]: 1 } }]) {
      const { status, json } = await ask({ body })
      assert.equal(status, 400)
      assert.deepEqual([json.id, json.error.data.kind, json.error.data.reason], [9, 'invalid_input', reason])
    }
  }
  const refused = await ask({ body: '{"not": "json"' })
  assert.deepEqual([refused.status, refused.json.error.code], [400, -32700])
  assert.equal((await ask({ body: '['.repeat(2000) + '"x"' + ']'.repeat(2000) })).status, 200)
  assert.equal((await ask({ body: { half: '\ud800' } })).status, 200)
})

test('a body that is too large is not read to its end', async (t) => {
  const store = await openStore(t)
  const ask = await serve(t, store, { screen: { max_bytes: 1000 } })
  const { status, json } = await ask({ body: { text: 'x'.repeat(2000) } })
  assert.deepEqual([status, json.error.data.kind, json.error.data.limit], [413, 'payload_too_large', 1000])
})

test('what a parser before has read is screened, and what is screened may be said', async (t) => {
  const store = await openStore(t)
  const answered = []
  const response = { setHeader() {}, end: (text) => answered.push(JSON.parse(text)) }
  const request = (body) => ({ method: 'POST', headers: {}, socket: {}, body })
  let went = 0
  const next = () => void went++
  const all = httpSessions(store, { screen: true })
  await all(request({ a: 'fine' }), response, next)
  await all(request({ a: '<script>' }), response, next)
  const some = httpSessions(store, { screen: { text: ({ body }) => body.checked } })
  await some(request({ checked: 'fine', other: '<script>' }), response, next)
  assert.equal(went, 2)
  assert.equal(answered.length, 1)
})

test('when the store cannot be asked nobody goes on, and the next one can', async (t) => {
  const store = await openStore(t)
  const errors = []
  const ask = await serve(t, store, { onError: ({ name }) => errors.push(name) })
  await store.createSession({ session_id: 's', status: 'active' })
  signal(store.pid, 'SIGKILL')
  await eventually(() => store.pid === null, 'the death')
  const { status, headers, json } = await ask({ session: 's' })
  assert.deepEqual([status, headers.get('retry-after'), json.error.data.kind], [503, '1', 'store_unavailable'])
  assert.deepEqual(errors, ['ChildError'])
})

test('an owner that got lost on the way opens nothing', async (t) => {
  const store = await openStore(t)
  const ask = await serve(t, store, { owner: () => ({ principal: undefined }) })
  await store.createSession({ session_id: 's', status: 'active', principal: 'alice' })
  assert.equal((await ask({ session: 's' })).status, 503)
})
