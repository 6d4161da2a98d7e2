// A store through the real binary: opening, calling, errors, sizes, closing.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  ChildError,
  ClosedError,
  SessionStore,
  RequestError,
  RequestTooLarge,
  StoreError,
} from '../../../protocol/clients/node/index.mjs'
import { binary, environment, isRunning, openStore, program, temporaryFolder } from './fixture.mjs'

test('what was stored is there in the next process', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const first = await openStore(t, { database })
  const made = await first.createSession({ user_id: 'user-1', metadata: { plan: 'é🎈' } })
  assert.equal(made.status, 'pending')
  await first.close()
  const second = await openStore(t, { database })
  assert.deepEqual(await second.getSession({ session_id: made.session_id }), made)
})

test('the handshake tells version and limits', async (t) => {
  const store = await openStore(t, { options: { max_payload_bytes: '64KiB', requireOwner: true, exclusive: false } })
  assert.equal(store.info.name, 'mcp-session-store')
  assert.equal(store.info.pid, store.pid)
  assert.equal(store.info.limits.max_payload_bytes, 65536)
  await assert.rejects(store.getSession({ session_id: 's' }), { kind: 'invalid_params' })
})

test('options may be a list of arguments', async (t) => {
  const store = await openStore(t, { options: ['--max-sessions', 7] })
  assert.equal(store.info.limits.max_sessions, 7)
})

test('an error says what it is, what came of the call and what to do', async (t) => {
  const store = await openStore(t)
  const error = await store.storeEvent({ session_id: 'none', data: 1 }).catch((error) => error)
  assert.ok(error instanceof RequestError && error instanceof StoreError && error instanceof Error)
  assert.equal(error.name, 'RequestError')
  assert.equal(error.code, 1001)
  assert.equal(error.kind, 'session_not_found')
  assert.equal(error.method, 'store_event')
  assert.equal(error.retryable, false)
  assert.equal(error.outcome, 'not_applied')
  assert.equal(error.data.session_id, 'none')
  assert.equal(error.details.retry, 're-initialize')
  await assert.rejects(store.call('no_such_method'), { kind: 'method_not_found' })
})

test('an owner that got lost on the way is refused before it opens everything', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's', principal: 'alice' })
  await assert.rejects(store.getSession({ session_id: 's', principal: undefined }), TypeError)
  const calls = [{ method: 'delete_session', params: { session_id: 's', tenant_id: undefined } }]
  await assert.rejects(store.transaction({ calls }), /delete_session: tenant_id is undefined/)
  assert.equal(await store.getSession({ session_id: 's', principal: null }), null)
  assert.equal((await store.getSession({ session_id: 's', principal: 'alice' })).principal, 'alice')
})

test('parameters that are no JSON are refused, and the next call is served', async (t) => {
  const store = await openStore(t)
  await assert.rejects(store.createSession({ metadata: { n: 1n } }), TypeError)
  assert.equal((await store.sessionCount()).count, 0)
})

/** One in another, so many times. */
const nested = (levels) => JSON.parse('['.repeat(levels) + ']'.repeat(levels))

test('a request of too many levels is refused, whatever else is under way', async (t) => {
  const store = await openStore(t, { database: join(temporaryFolder(t), 'store.db'), timeout: null })
  const [backup, health, deep, count] = await Promise.allSettled([
    store.backup({ path: join(temporaryFolder(t), 'copy.db') }),
    store.health(),
    store.createSession({ session_id: 's', metadata: { deep: nested(200) } }),
    store.sessionCount(),
  ])
  assert.ok(deep.reason instanceof RequestError)
  assert.deepEqual([deep.reason.kind, deep.reason.method, deep.reason.outcome],
    ['parse_error', 'create_session', 'not_applied'])
  assert.match(deep.reason.message, /deeper than 128/)
  assert.equal(health.value.status, 'healthy')
  assert.equal(count.value.count, 0)
  assert.ok(backup.value.pages > 0)
  assert.deepEqual(store.remarks, [])
})

test('an answer of any depth is read', async (t) => {
  const hello = { jsonrpc: '2.0', id: 'handshake', result: { protocol_version: '1.0', limits: {} } }
  const path = program(t, `
    const answers = [${JSON.stringify(JSON.stringify(hello))},
      '{"jsonrpc":"2.0","id":1,"result":' + '['.repeat(100000) + ']'.repeat(100000) + '}']
    lines.on('line', () => process.stdout.write(answers.shift() + '\\n'))`)
  const store = await openStore(t, { binary: path, timeout: null })
  let depth = 0
  for (let value = await store.health(); value !== undefined; value = value[0]) depth += 1
  assert.equal(depth, 100_000)
})

test('line separators, halves of surrogate pairs and zero bytes come back as they were', async (t) => {
  const store = await openStore(t)
  const data = { separators: 'a\u2028b\u2029c\u0085d\r\n', half: '\ud800', zero: '\0', '🎈': ['é', ''] }
  await store.createSession({ session_id: 's' })
  await store.storeEvent({ session_id: 's', data })
  const { events } = await store.getEventsAfter({ session_id: 's' })
  assert.deepEqual(events[0].data, data)
})

test('answers of several megabytes come whole, in whatever pieces the pipe hands them out', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  const payloads = Array.from({ length: 12 }, (_, n) => `${n}` + 'é🎈\u2028'.repeat(60_000))
  const stored = await Promise.all(payloads.map((data) => store.storeEvent({ session_id: 's', data })))
  assert.deepEqual(stored.map(({ id }) => id), payloads.map((_, n) => n + 1))
  const read = []
  for (let after_event_id = 0, has_more = true; has_more; ) {
    const page = await store.getEventsAfter({ session_id: 's', after_event_id })
    read.push(...page.events.map(({ data }) => data))
    ;({ has_more, next_after: after_event_id } = page)
  }
  assert.deepEqual(read, payloads)
})

test('a thousand concurrent calls each get their own answer', async (t) => {
  const store = await openStore(t)
  const made = await Promise.all(
    Array.from({ length: 1000 }, (_, n) => store.createSession({ session_id: `s-${n}`, metadata: { n } })),
  )
  made.forEach((session, n) => assert.equal(session.metadata.n, n))
  const read = await Promise.all(made.map(({ session_id }) => store.getSession({ session_id })))
  assert.deepEqual(read, made)
})

test('calls of one turn share commits', async (t) => {
  const store = await openStore(t, { database: join(temporaryFolder(t), 'sessions.db') })
  const before = (await store.getMetrics()).commits.count
  await Promise.all(Array.from({ length: 500 }, () => store.createSession()))
  const made = (await store.getMetrics()).commits.count - before
  assert.ok(made <= 50, `${made} commits for 500 calls of one turn`)
})

test('a request over the line limit is refused at once, and is never sent', async (t) => {
  const store = await openStore(t, { options: { max_line_bytes: 65536, max_payload_bytes: 0 } })
  const before = (await store.getMetrics()).requests
  const error = await store.createSession({ metadata: { text: 'é'.repeat(40_000) } }).catch((error) => error)
  assert.ok(error instanceof RequestTooLarge)
  assert.deepEqual([error.kind, error.limit, error.size > 80_000], ['payload_too_large', 65536, true])
  assert.equal(error.outcome, 'not_applied')
  assert.equal((await store.getMetrics()).requests, before + 1, 'only the two metrics were asked for')
  // Exactly the limit is allowed: the line that the first call made, filled up.
  const overhead = '{"jsonrpc":"2.0","id":4,"method":"create_session","params":{"metadata":{"a":""}}}'.length
  assert.ok(await store.createSession({ metadata: { a: 'x'.repeat(65536 - overhead) } }))
})

test('a transaction is typed as its calls, and all or nothing', async (t) => {
  const store = await openStore(t)
  const nonce = { method: 'consume_nonce', params: { nonce: 'n', ttl: 60_000 }, require: true }
  const put = { method: 'put_value', params: { collection: 'c', key: 'k', value: 1 } }
  const { results } = await store.transaction({ calls: [nonce, put] })
  assert.equal(results[0].first, true)
  await assert.rejects(store.transaction({ calls: [put, nonce] }), { kind: 'requirement_failed' })
})

test('a backup tells how far it is', async (t) => {
  const folder = temporaryFolder(t)
  const store = await openStore(t, { database: join(folder, 'sessions.db') })
  await store.createSession()
  const seen = []
  const { pages } = await store.backup({ path: join(folder, 'copy.db') }, { onProgress: (step) => seen.push(step) })
  assert.ok(pages > 0)
  assert.equal(seen[0].done, 0)
  assert.equal(seen[0].total, pages)
})

test('closing is quick, can be repeated, and finishes what is in flight', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database })
  const { pid } = store
  const calls = Array.from({ length: 200 }, (_, n) => store.createSession({ session_id: `s-${n}` }))
  await Promise.all([store.close(), store.close()])
  assert.equal((await Promise.all(calls)).length, 200)
  assert.equal(isRunning(pid), false)
  assert.equal(await store.ended, null)
  await assert.rejects(store.sessionCount(), ClosedError)
  await store.close()
  assert.equal((await (await openStore(t, { database })).sessionCount()).count, 200)
})

test('an idle store closes within 250 ms', async (t) => {
  // The bound is the contract's; a machine that is busy elsewhere gets other tries.
  const times = []
  for (let attempt = 0; attempt < 20 && !(times.at(-1) < 250); attempt++) {
    const store = await openStore(t)
    await store.createSession()
    const start = performance.now()
    await store.close()
    times.push(performance.now() - start)
  }
  assert.ok(times.at(-1) < 250, `closing took ${times.map(Math.round)} ms`)
})

test('what uses a store with `await using` closes it', { skip: Symbol.asyncDispose === undefined }, async (t) => {
  const store = await openStore(t)
  const { pid } = store
  await store[Symbol.asyncDispose]()
  assert.equal(isRunning(pid), false)
})

test('methods that this client serves itself are refused as calls, with what to use', async (t) => {
  const store = await openStore(t)
  await assert.rejects(store.call('subscribe_events', { session_id: 's' }), /subscribeEvents\(\)/)
  await assert.rejects(store.call('shutdown'), /close\(\)/)
  assert.ok(await store.serverInfo())
})

// --- What does not start

const open = (options) => SessionStore.open({ env: environment, log: () => {}, ...options })

test('an option that does not exist is named, with those that do', async () => {
  await assert.rejects(open({ binary, databse: 'x.db' }), { name: 'TypeError', message: /'databse'.*database/ })
  const store = await open({ binary, database: ':memory:', cwd: undefined, restart: undefined, client: undefined })
  await store.close()
})

test('a program that is not there is named', async () => {
  for (const missing of ['/nowhere/mcp-session-store', 'no-such-program-here']) {
    await assert.rejects(open({ binary: missing }), (error) => {
      assert.ok(error instanceof ChildError)
      assert.equal(error.reason, 'not_found')
      assert.equal(error.outcome, 'not_applied')
      assert.match(error.message, new RegExp(missing))
      assert.match(error.message, /MCP_SESSION_STORE_BINARY/)
      return true
    })
  }
})

test('the binary comes from the environment, or from PATH', async (t) => {
  const named = await open({ env: { ...environment, MCP_SESSION_STORE_BINARY: binary }, database: ':memory:' })
  await named.close()
  const inPath = await open({ env: { ...environment, PATH: join(binary, '..') }, database: ':memory:' })
  await inPath.close()
})

test('a file that is no program is a clear error', async (t) => {
  const path = program(t, '')
  const { writeFileSync } = await import('node:fs')
  writeFileSync(path, '\x7fELF, but not really')
  await assert.rejects(open({ binary: path }), { reason: /not_startable|exited/ })
})

test('a working directory that is not there is a clear error', async () => {
  await assert.rejects(open({ binary, cwd: '/nowhere' }), { reason: 'not_startable' })
})

test('a sidecar that refuses to start says why', async () => {
  await assert.rejects(open({ binary, database: ':memory:', options: { no_such_option: 1 } }), (error) => {
    assert.equal(error.reason, 'exited')
    assert.equal(error.exitCode, 64)
    assert.match(error.message, /no-such-option/)
    return true
  })
})

test('a sidecar that lacks what is required is too old', async () => {
  const options = { binary, database: ':memory:', require: ['sessions', 'time_travel'] }
  await assert.rejects(open(options), { reason: 'incompatible', message: /time_travel/ })
})

test('a sidecar of another major version does not fit', async (t) => {
  const answer = { jsonrpc: '2.0', id: 'handshake', result: { protocol_version: '2.0', limits: {} } }
  const path = program(t, `lines.once('line', () => say(${JSON.stringify(answer)}))`)
  await assert.rejects(open({ binary: path }), { reason: 'incompatible', message: /1\.0.*2\.0/ })
})

test('a program that never answers is given up', async (t) => {
  const path = program(t, 'setInterval(() => {}, 1000)')
  await assert.rejects(open({ binary: path, startTimeout: 50 }), { reason: 'not_startable', message: /50 ms/ })
})

test('a program that says something else is recognized', async (t) => {
  for (const said of ['hello', '17', 'null', '[]x']) {
    const path = program(t, `process.stdout.write(${JSON.stringify(said)} + '\\n'); setInterval(() => {}, 1000)`)
    await assert.rejects(open({ binary: path }), { reason: 'not_a_sidecar' })
  }
})

test('a program that ends without a word is no hang', async (t) => {
  await assert.rejects(open({ binary: program(t, 'process.exit(3)') }), { reason: 'exited', exitCode: 3 })
})
