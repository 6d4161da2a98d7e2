// The middleware before an HTTP endpoint, with real requests.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { httpSessions } from '../../../protocol/clients/node/http-sessions.mjs'
import { eventually, openStore, signal, temporaryFolder } from './fixture.mjs'

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
  return async function ask({ session, user, body, method = 'POST', headers: others = {} } = {}) {
    const headers = {
      ...others,
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
  const askForSQL = await serve(t, store, { screen: { patterns: ['sql'] } })
  const injection = { id: 9, params: { text: "x' OR '1'='1' --" } }
  assert.deepEqual([(await ask({ body: injection })).status, (await askForSQL({ body: injection })).status], [200, 400])
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

test('without an owner everybody is the anonymous caller, and finds only what belongs to nobody', async (t) => {
  const store = await openStore(t, { options: { require_owner: true } })
  const [ask, askAlice] = [await serve(t, store), await serve(t, store, { owner: () => ({ principal: 'alice' }) })]
  await store.createSession({ session_id: 'open', status: 'active', principal: null, tenant_id: null })
  await store.createSession({ session_id: 'alices', status: 'active', principal: 'alice', tenant_id: null })
  await store.createSession({ session_id: 'tenants', status: 'active', principal: 'alice', tenant_id: 't' })
  const statuses = async (ask) => {
    const answers = ['open', 'alices', 'tenants'].map((session) => ask({ session }))
    return (await Promise.all(answers)).map(({ status }) => status)
  }
  assert.deepEqual(await statuses(ask), [200, 404, 404])
  assert.deepEqual(await statuses(askAlice), [200, 200, 404], 'who names no tenant is of none')
})

test("a failure of the host's own function is told as that, and opens nothing", async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's', status: 'active', principal: 'alice' })
  const fail = () => {
    throw new Error('the directory is down: secret')
  }
  const errors = []
  const onError = (error) => {
    errors.push(error.message)
    throw new Error('and so does the log')
  }
  for (const options of [
    { owner: fail },
    { owner: async () => fail() },
    { owner: () => undefined },
    { owner: () => 'alice' },
    { owner: () => ({ principal: undefined }) },
    { owner: () => ({ principal: 7 }) },
    { owner: () => ({ user: 'alice' }) },
    { owner: () => ({ principal: 'alice' }), rateLimit: { limit: 9, window: 1000, key: fail } },
    { owner: () => ({ principal: 'alice' }), rateLimit: { limit: 9, window: 1000, key: () => undefined } },
    { owner: () => ({ principal: 'alice' }), screen: { text: fail } },
    { owner: () => ({ principal: 'alice' }), screen: { text: () => null } },
  ]) {
    const { status, headers, json } = await (await serve(t, store, { onError, ...options }))({ session: 's' })
    assert.deepEqual([status, json.error?.data.kind], [500, 'internal_error'], String(options.owner))
    assert.equal(headers.get('retry-after'), null)
    assert.ok(!JSON.stringify(json).includes('secret'))
  }
  assert.equal(errors.length, 11)
  assert.match(errors[0], /`owner`.*directory is down/)
  for (const rateLimit of [{ limit: 0, window: 1 }, { limit: 1 }, { limit: 1.5, window: 1 }]) {
    assert.throws(() => httpSessions(store, { rateLimit }), RangeError)
  }
})

test('what a client sends is never told as an outage of the store', async (t) => {
  const store = await openStore(t, { options: { max_line_bytes: 65536, max_payload_bytes: 32768 } })
  const rateLimit = { limit: 100, window: 1000 }
  const ask = await serve(t, store, { owner, rateLimit, screen: true })
  for (const user of ['p'.repeat(1024), 'p'.repeat(1025), '"'.repeat(1024), 'p'.repeat(5000)]) {
    assert.equal((await ask({ user })).status, 200, 'who names no session goes on')
    assert.equal((await ask({ user, session: 's' })).status, 404)
  }
  const { status, json } = await ask({ body: { text: '\n'.repeat(60_000) } })
  assert.deepEqual([status, json.error.data.kind], [413, 'payload_too_large'])
  for (const half of ['\ud800', '\udc00x', 'a\ud800\ud800']) {
    assert.equal((await ask({ body: { half } })).status, 200)
  }
})

test('a request whose client goes away in the middle of its body is no outage either', async (t) => {
  const store = await openStore(t)
  const errors = []
  const sessions = httpSessions(store, { screen: true, onError: (error) => errors.push(error) })
  let refused
  const server = createServer((request, response) => {
    refused = new Promise((resolve) => {
      response.end = (text) => resolve([response.statusCode, JSON.parse(text).error.data.kind])
    })
    void sessions(request, response, () => {})
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { connect } = await import('node:net')
  const socket = connect(server.address().port, '127.0.0.1')
  socket.write('POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"half"')
  await eventually(() => refused !== undefined, 'the request')
  socket.destroy()
  assert.deepEqual(await refused, [400, 'parse_error'])
  assert.deepEqual(errors, [])
})

/** As an Express router or sub-application hands a request on that is mounted at `base`. */
function mounted(base, middleware) {
  return (request, response, next) => {
    const { url } = request
    if (!url.toLowerCase().startsWith(base)) return next()
    Object.assign(request, { originalUrl: url, baseUrl: base, url: url.slice(base.length) || '/' })
    return middleware(request, response, () => {
      Object.assign(request, { url, baseUrl: '' })
      return next()
    })
  }
}

test('it protects under every way to mount it', async (t) => {
  const store = await openStore(t)
  const sessions = httpSessions(store, { screen: true })
  for (const middleware of [sessions, mounted('/api', sessions), mounted('/api', mounted('/v1', sessions))]) {
    const server = createServer((request, response) => middleware(request, response, () => response.end('REACHED')))
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => server.close())
    for (const path of ['/api/v1/mcp', '/api/v1/mcp/', '/API/v1/%6Dcp', '/api/v1/mcp?x=1', '/api/v1//mcp', '/api/v1']) {
      const address = `http://127.0.0.1:${server.address().port}${path}`
      const unknown = { method: 'POST', headers: { 'Mcp-Session-Id': 'made-up' }, body: '{}' }
      assert.equal((await fetch(address, unknown)).status, 404, path)
      const script = { method: 'POST', body: '{"a":"<script>x</script>"}' }
      assert.equal((await fetch(address, script)).status, 400, path)
    }
  }
})

test('what a parser left as text or bytes, or did not read, is screened as well', async (t) => {
  const store = await openStore(t)
  const sessions = httpSessions(store, { screen: true })
  const parsers = {
    text: (body) => body,
    bytes: (body) => Buffer.from(body),
    'not wanted': () => undefined,
  }
  for (const [name, parse] of Object.entries(parsers)) {
    const server = createServer(async (request, response) => {
      if (name === 'not wanted') request.body = {}
      else {
        const chunks = []
        for await (const chunk of request) chunks.push(chunk)
        request.body = parse(Buffer.concat(chunks).toString())
      }
      await sessions(request, response, () => response.end('REACHED'))
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => server.close())
    const address = `http://127.0.0.1:${server.address().port}`
    const ask = async (body) => (await fetch(address, { method: 'POST', body })).status
    assert.deepEqual([await ask('{"a":"<script>x</script>"}'), await ask('{"a":1}')], [400, 200], name)
  }
})

test('the id of a refused request keeps its type and value, or is null where a number cannot hold it', async (t) => {
  const store = await openStore(t)
  const ask = await serve(t, store, { screen: true })
  const ids = [['"7"', '7'], ['7', 7], ['-1.5', -1.5], ['""', ''], ['0', 0], ['12345678901234567890', null]]
  for (const [id, told] of ids) {
    const { json } = await ask({ body: `{"id":${id},"x":"<script>"}` })
    assert.equal(json.id, told)
  }
})

/** A server whose answers are streams that never end, and a client's side of one. */
async function serveStreams(t, store, options = {}) {
  const sessions = httpSessions(store, options)
  const server = createServer((request, response) =>
    sessions(request, response, () => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' })
      response.write(': hello\n\n')
    }),
  )
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.closeAllConnections())
  t.after(() => server.close())
  return async function open(session) {
    const headers = { 'Mcp-Session-Id': session }
    const response = await fetch(`http://127.0.0.1:${server.address().port}`, { headers })
    const stream = { isOver: false, cancel: () => response.body.cancel() }
    void (async () => {
      try {
        for await (const _ of response.body);
      } catch {
        // The connection broke.
      }
      stream.isOver = true
    })()
    return stream
  }
}

test('open streams end with their session, whoever ended it, and others go on', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const [store, other] = [await openStore(t, { database }), await openStore(t, { database })]
  const open = await serveStreams(t, store)
  const ends = {
    deleted: (session_id) => store.deleteSession({ session_id }),
    invalidated: (session_id) => store.invalidateSession({ session_id }),
    expired: (session_id) => store.expireSession({ session_id }),
    'deleted elsewhere': (session_id) => other.deleteSession({ session_id }),
    'over its time': (session_id) =>
      eventually(async () => (await store.getSession({ session_id })) === null, 'its end'),
  }
  await store.createSession({ session_id: 'stays', status: 'active' })
  const stays = await open('stays')
  for (const [how, end] of Object.entries(ends)) {
    const ttl = how === 'over its time' ? 900 : null
    const { session_id } = await store.createSession({ status: 'active', ttl })
    const streams = [await open(session_id), await open(session_id)]
    await end(session_id)
    const start = performance.now()
    await eventually(() => streams.every(({ isOver }) => isOver), `the end of the streams: ${how}`)
    t.diagnostic(`${how}: ${Math.round(performance.now() - start)} ms`)
  }
  assert.equal(stays.isOver, false)
})

test('a session that is watched costs one subscription, and none when its streams are closed', async (t) => {
  const store = await openStore(t)
  const open = await serveStreams(t, store)
  await store.createSession({ session_id: 's', status: 'active' })
  const streams = [await open('s'), await open('s'), await open('s')]
  const subscriptions = async () => (await store.getMetrics()).subscriptions
  await eventually(async () => (await subscriptions()) === 1, 'the watch')
  for (const { cancel } of streams) await cancel().catch(() => {})
  await store.deleteSession({ session_id: 's' })
  await eventually(async () => (await subscriptions()) === 0, 'the end of the watch')
})

test('where all subscriptions are taken the streams are looked after all the same', async (t) => {
  const store = await openStore(t, { options: { max_subscriptions: 1 } })
  const open = await serveStreams(t, store)
  for (const session_id of ['s', 'taken']) await store.createSession({ session_id, status: 'active' })
  const taken = store.subscribeEvents({ session_id: 'taken' })
  await taken.opened()
  const stream = await open('s')
  await new Promise((resolve) => setTimeout(resolve, 600))
  assert.equal(stream.isOver, false)
  await store.deleteSession({ session_id: 's' })
  await eventually(() => stream.isOver, 'the end of the stream')
})

test('an open stream keeps its session, unless that is not wanted', async (t) => {
  const store = await openStore(t)
  const [open, openOnly] = [await serveStreams(t, store), await serveStreams(t, store, { touch: false })]
  const { last_activity } = await store.createSession({ session_id: 'kept', status: 'active' })
  await store.createSession({ session_id: 'not-kept', status: 'active', inactivity_timeout: 500 })
  const [, notKept] = [await open('kept'), await openOnly('not-kept')]
  const isTouchedAt = async (time) => (await store.getSession({ session_id: 'kept' })).last_activity > time
  const opened = await eventually(async () => (await isTouchedAt(last_activity)) && Date.now(), 'the request')
  await eventually(() => isTouchedAt(opened), 'the touch while the stream is open')
  await eventually(() => notKept.isOver, 'the end of the session that nobody touches')
})

/** A server with a health route; `probe` asks there. */
async function serveHealth(t, store, options = {}) {
  const faults = []
  const sessions = httpSessions(store, { health: '/healthz', onError: (error) => faults.push(error), ...options })
  const server = createServer((request, response) => sessions(request, response, () => response.end('passed')))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  async function probe({ path = '/healthz', ...request } = {}) {
    const response = await fetch(`http://127.0.0.1:${server.address().port}${path}`, request)
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: text.startsWith('{') && JSON.parse(text) }
  }
  return { probe, faults }
}

test('a probe is answered before all else, and nothing else is', async (t) => {
  const store = await openStore(t)
  const owner = () => assert.fail('nobody asks whose probe it is')
  const { probe } = await serveHealth(t, store, { owner, rateLimit: { limit: 1, window: 3_600_000 } })
  for (const path of ['/healthz', '/healthz?a=b']) {
    const { status, headers, json } = await probe({ path, headers: { 'Mcp-Session-Id': 'unknown' } })
    assert.deepEqual([status, json], [200, { status: 'ok' }])
    assert.equal(headers.get('cache-control'), 'no-store')
  }
  const head = await probe({ method: 'HEAD' })
  assert.deepEqual([head.status, head.text], [200, ''])
  const post = await probe({ method: 'POST', body: '{}' })
  assert.deepEqual([post.status, post.headers.get('allow')], [405, 'GET, HEAD'])
  // Without the option, and beside its path, requests take the way of all.
  const others = await serveHealth(t, store)
  for (const path of ['/healthz/', '/health', '/mcp/healthz']) {
    assert.equal((await others.probe({ path })).text, 'passed')
  }
  assert.equal((await (await serveHealth(t, store, { health: undefined })).probe()).text, 'passed')
  for (const health of ['healthz', '', '/a b', '/a?b', true]) {
    assert.throws(() => httpSessions(store, { health }), TypeError)
  }
})

test('who is not well says why, in bounded time, and names no file', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database, options: { degraded_sessions: 1 } })
  const { probe, faults } = await serveHealth(t, store)
  assert.equal((await probe()).status, 200)
  await store.createSession({ status: 'active' })
  const degraded = await probe()
  assert.deepEqual([degraded.status, degraded.json], [503, { status: 'unhealthy', reasons: ['1 sessions'] }])
  signal(store.pid, 'SIGSTOP')
  const slow = await Promise.all([probe(), probe()])
  for (const { json } of slow) assert.deepEqual(json.reasons, ['the store does not answer in time'])
  signal(store.pid, 'SIGCONT')
  await store.close()
  const { status, json, text } = await probe()
  assert.deepEqual([status, json.reasons], [503, ['the store cannot be asked']])
  assert.ok(!text.includes(database))
  assert.deepEqual(faults.map(({ name }) => name), ['CallTimeout', 'ChildError'], 'who ask at once ask once')
})

test('what the system says of a failure stays inside', async (t) => {
  const reasons = ['the last sweep failed: unable to open /srv/secret.db', '/srv/secret.db is odd', '9 sessions']
  const { probe } = await serveHealth(t, { health: async () => ({ status: 'degraded', reasons }) })
  const { text, json } = await probe()
  assert.deepEqual(json.reasons, ['the last sweep failed', 'the store is not well', '9 sessions'])
  assert.ok(!text.includes('/srv'))
})

test('that a client without sessions came is told the log once', async (t) => {
  const store = await openStore(t)
  const hints = () => store.remarks.filter((line) => line.includes('2026-07-28'))
  const bothEras = await serve(t, store, { hint: false })
  const ask = await serve(t, store)
  const modern = { 'Mcp-Protocol-Version': '2026-07-28' }
  await bothEras({ headers: modern })
  for (const version of ['2025-11-25', '2025-06-18', 'zzz']) {
    await ask({ headers: { 'Mcp-Protocol-Version': version } })
  }
  assert.deepEqual(hints(), [])
  for (let n = 0; n < 3; n++) assert.equal((await ask({ headers: modern })).json.session, null)
  await (await serve(t, store, {}))({ headers: modern })
  assert.equal(hints().length, 1)
  assert.ok(hints()[0].includes('httpSessions'), hints()[0])
})
