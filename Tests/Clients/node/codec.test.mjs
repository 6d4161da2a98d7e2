// Payloads that are sealed on their way to the program, opened on their way back, and put under another key.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import zlib from 'node:zlib'
import { EventStore } from '../../../protocol/clients/node/event-store.mjs'
import { Codec, CodecError, RequestError } from '../../../protocol/clients/node/index.mjs'
import { membersOf } from '../../../protocol/clients/node/json.mjs'
import { TaskService } from '../../../protocol/clients/node/task-service.mjs'
import { TaskStore } from '../../../protocol/clients/node/task-store.mjs'
import { binary, openStore, root, temporaryFolder } from './fixture.mjs'

const VECTORS = JSON.parse(readFileSync(join(root, 'protocol/clients/codec/vectors.json'), 'utf8'))
const CANARY = 'canary'
const old = new Uint8Array(32).fill(1)
const made = new Uint8Array(32).fill(2)
const OLD = new Codec({ keys: { old } })
const BOTH = new Codec({ keys: { old, new: made }, write: 'new' })
const NEW = new Codec({ keys: { new: made }, acceptPlain: false })
const hasZstd = typeof zlib.zstdCompressSync === 'function'

/** As a stranger sees the values: what is stored. */
const rawOf = (store) => store.listPayloads({ limit: 1000 })

test('the vectors open, and what must not open does not', () => {
  const codec = new Codec({ keys: VECTORS.keys, write: '2026-11' })
  for (const { about, place, payload, stored } of VECTORS.vectors) {
    const needsZstd = stored?.$codec?.endsWith('zstd')
    if (needsZstd && !hasZstd) {
      assert.throws(() => codec.open(stored, place), { reason: 'missing_library' }, about)
    } else assert.deepEqual(codec.open(stored, place), JSON.parse(payload), about)
  }
  for (const { about, place, stored, reason, key_id } of VECTORS.refused) {
    const isRefusal = (error) => error instanceof CodecError && error.reason === reason && error.keyID === key_id
    assert.throws(() => codec.open(stored, place), isRefusal, about)
  }
})

test('whatever is sealed opens at its place, with any compression', () => {
  // Numbers of a linear congruential generator: the same each time.
  let seed = 7
  const pick = (count) => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % count
  const value = (depth) => {
    const kinds = [
      () => null, () => pick(2) === 1, () => pick(1e9) / 7, () => 'ü\ud800"\\\u2028'.repeat(pick(90)),
      () => Array.from({ length: pick(4) }, () => value(depth - 1)),
      () => ({ a: value(depth - 1), __proto__x: value(depth - 1), '': pick(9) }),
      () => ({ $codec: ['1/plain', '1/deflate', '1/A256GCM', '2/x'][pick(4)], data: value(depth - 1) }),
    ]
    return kinds[pick(depth > 0 ? kinds.length : 4)]()
  }
  const place = ['session.state', 's', 'k']
  const codecs = ['auto', 'deflate', null].map((compression) => new Codec({ keys: { old }, compression }))
  for (let round = 0; round < 300; round++) {
    const payload = value(3)
    for (const codec of [...codecs, new Codec()]) {
      const stored = JSON.parse(JSON.stringify(codec.seal(payload, place)))
      assert.deepEqual(codec.open(stored, place), JSON.parse(JSON.stringify(payload)))
      if (codec.write === null) continue
      assert.throws(() => codec.open(stored, ['session.state', 's', 'other']), { reason: 'wrong_key', keyID: 'old' })
      const again = BOTH.sealAgain(stored, place, JSON.stringify(stored))
      assert.deepEqual(NEW.open(again, place), codec.open(stored, place))
    }
  }
})

test('what cannot be meant is refused', () => {
  const cases = [
    [{ keys: { a: new Uint8Array(5) } }, /32 bytes/], [{ keys: { ä: old } }, /visible ASCII/],
    [{ keys: { a: '?' } }, /base64/], [{ keys: { a: old, b: made } }, /say which key/],
    [{ keys: { a: old }, write: 'b' }, /no key 'b'/], [{ compression: null }, /does nothing/],
    [{ compression: 'lz4' }, /zstd, deflate/], [{ acceptPlain: false }, /without keys/],
    [{ key: old }, /no option 'key'/],
  ]
  for (const [options, said] of cases) assert.throws(() => new Codec(options), said)
  assert.throws(() => new Codec().open({ $codec: '1/deflate', data: bomb() }, ['value.value']), { reason: 'too_large' })
})

function bomb() {
  return zlib.deflateRawSync(Buffer.alloc((64 << 20) + 1, 32)).toString('base64')
}

/** Each payload parameter there is, with a word in it. */
async function fill(store, name) {
  const [session_id, task_id] = [`session-${name}`, `task-${name}`]
  const sly = { $codec: '1/plain', data: CANARY }
  await store.createSession({
    session_id, status: 'active', metadata: { m: CANARY }, client_capabilities: sly, server_capabilities: [CANARY],
    state: { a: [CANARY], ['__proto__']: CANARY, none: null },
  })
  await store.setSessionState({ session_id, key: 'k', value: sly })
  await store.storeEvent({ session_id, data: { p: CANARY.repeat(40) }, stream_id: 's', event_type: 'a\r\nb', retry: 3 })
  await store.storeEvents({ session_id, events: [{ data: CANARY }, { data: '\ud800', event_type: 'ping' }] })
  await store.broadcastEvent({ data: CANARY })
  await store.appendLogEntry({ session_id, entry: { message_id: 'm', kind: 'Incoming', sender: 'bob', text: CANARY } })
  await store.createTask({ task_id, session_id, original_params: [CANARY], meta: sly, status_message: CANARY })
  await store.requireTaskInput({ task_id, input_requests: { name: CANARY, age: CANARY } })
  await store.provideTaskInput({ task_id, input_responses: { name: CANARY } })
  await store.enqueueTaskMessage({ task_id, message: { w: CANARY } })
  await store.failTask({ task_id, error: { code: 7, message: CANARY, data: sly }, status_message: CANARY })
  const put = { method: 'put_value', params: { collection: 'c', key: name, value: [CANARY], principal: 'ann' } }
  await store.transaction({ calls: [put] })
}

async function read(store, name) {
  const [session_id, task_id] = [`session-${name}`, `task-${name}`]
  const { metadata, client_capabilities, server_capabilities, state, revision } = await store.getSession({ session_id })
  const get = { method: 'get_value', params: { collection: 'c', key: name, principal: 'ann' } }
  return [
    { metadata, client_capabilities, server_capabilities, state, revision },
    (await store.getEventsAfter({ session_id })).events.map(({ id, data }) => [id, data]),
    (await store.getEventsAfter({ session_id, format: 'sse_typed' })).frames,
    (await store.getRecentEvents({ session_id, format: 'sse' })).frames,
    await store.loadLog({ session_id }), await store.getTask({ task_id }), await store.peekTaskMessages({ task_id }),
    (await store.transaction({ calls: [get] })).results,
  ]
}

test('a store says the same with a codec and without, and shows nothing', async (t) => {
  const seen = []
  for (const codec of [null, OLD, new Codec(), new Codec({ keys: { old }, compression: 'deflate' })]) {
    const store = await openStore(t, { codec })
    await fill(store, 'x')
    const found = JSON.stringify(await read(store, 'x')).replaceAll(/"[a-z_]*_at":"[^"]*"/g, '')
    seen.push(found)
    const { payloads } = await rawOf(store)
    assert.ok(payloads.length > 15)
    const isHidden = payloads.every(({ text }) => !text.includes(CANARY))
    assert.equal(isHidden, codec?.write === 'old')
  }
  assert.ok(seen[0].split(CANARY).length > 30)
  for (const found of seen.slice(1)) assert.equal(found, seen[0])
})

test('a payload that does not open fails one call, and names its key', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const writer = await openStore(t, { database, codec: OLD })
  await fill(writer, 'x')
  const store = await openStore(t, { database, codec: new Codec({ keys: { new: made } }) })
  const session_id = 'session-x'
  await store.storeEvent({ session_id, data: 'mine' })
  await store.enqueueTaskMessage({ task_id: 'task-x', message: 'mine' })
  await assert.rejects(store.getEventsAfter({ session_id }), (error) => {
    assert.deepEqual([error.reason, error.keyID, error.method, error.outcome, error.path, error.others.length],
      ['unknown_key', 'old', 'get_events_after', 'not_applied', 'events[0].data', 3])
    assert.match(error.message, /'old'/)
    return error.result.events.at(-1).data === 'mine'
  })
  await assert.rejects(store.dequeueTaskMessage({ task_id: 'task-x' }), (error) => {
    return error.outcome === 'unknown' && error.result.message.key === 'old'
  })
  assert.equal((await store.dequeueTaskMessage({ task_id: 'task-x' })).message, 'mine')
  const events = store.subscribeEvents({ session_id, after_event_id: 3 })
  await assert.rejects(events.next(), CodecError)
  assert.equal((await events.next()).value.data, 'mine')
  await events.return()
  const tasks = store.subscribeTasks({ session_id })
  await assert.rejects(tasks.next(), CodecError)
  await store.createTask({ task_id: 'new', session_id, meta: 'mine' })
  assert.equal((await tasks.next()).value.task.meta, 'mine')
  await tasks.return()
})

test('frames of a subscription are those of the program', async (t) => {
  const framesOf = async (codec, format) => {
    const store = await openStore(t, { codec })
    const session_id = 's'
    await store.createSession({ session_id, status: 'active', principal: 'ann' })
    const named = { data: { p: CANARY }, event_type: 'two\nlines' }
    const events = [named, { data: '\ud800' }, { data: 1, event_type: 'ping' }]
    for (const event of events) await store.storeEvent({ session_id, retry: 3, ...event })
    const told = store.subscribeEvents({ session_id, after_event_id: 0, format, init: true })
    const found = []
    for (let count = 0; count < 4; count++) found.push((await told.next()).value)
    await store.deleteSession({ session_id })
    for await (const frame of told) found.push(frame)
    return [found[0].split(',"timestamp"')[0], ...found.slice(1)]
  }
  for (const format of ['sse', 'sse_typed']) {
    const plain = await framesOf(null, format)
    assert.ok(plain.length === 5 && plain[0].startsWith('event: init\n') && plain[1].includes(CANARY))
    assert.deepEqual(await framesOf(OLD, format), plain)
  }
})

test('what is handed in stays as it is, and what JSON cannot say is refused', async (t) => {
  const store = await openStore(t, { codec: OLD })
  const state = { k: [1] }
  const session = await store.createSession({ state, metadata: { when: new Date(0) } })
  assert.deepEqual([state, session.metadata], [{ k: [1] }, { when: '1970-01-01T00:00:00.000Z' }])
  const { session_id } = session
  assert.equal(session_id.length, 43)
  assert.match((await store.createTask({ id_format: 'uuid', meta: 1 })).task_id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  for (const value of [undefined, { a: NaN }, [10n], { a: new Map() }]) {
    await assert.rejects(store.setSessionState({ session_id, key: 'k', value }), (error) => {
      return value === undefined ? error instanceof RequestError : error instanceof TypeError
    })
  }
  await assert.rejects(store.createSession({ state: new Map([['k', CANARY]]) }), /JSON cannot say/)
  for (const bad of ['text', [1], 7]) {
    await assert.rejects(store.createSession({ metadata: bad }), { kind: 'invalid_params' })
    await assert.rejects(store.appendLogEntry({ session_id, entry: bad }), { kind: 'invalid_params' })
  }
  class Own {
    secret = CANARY
  }
  await store.updateSession({ session: { session_id, state: Object.assign(new Own(), { more: CANARY }) } })
  const { payloads } = await rawOf(store)
  assert.ok(payloads.length >= 4 && payloads.every(({ text }) => !text.includes(CANARY)))
})

test('adapters work with a codec as without', async (t) => {
  const store = await openStore(t, { codec: BOTH })
  await store.createSession({ session_id: 's', status: 'active' })
  const events = new EventStore(store, { session_id: 's' })
  const first = await events.storeEvent('stream', {})
  await events.storeEvent('stream', { jsonrpc: '2.0', method: 'said', params: { text: CANARY } })
  const sent = []
  await events.replayEventsAfter(first, { send: async (id, message) => sent.push(message) })
  assert.deepEqual(sent, [{ jsonrpc: '2.0', method: 'said', params: { text: CANARY } }])

  const tasks = new TaskStore(store)
  const request = { method: 'tools/call', params: { text: CANARY } }
  const { taskId } = await tasks.createTask({ ttl: 60_000 }, 1, request)
  await tasks.storeTaskResult(taskId, 'completed', { content: [CANARY] })
  assert.deepEqual(await tasks.getTaskResult(taskId), { content: [CANARY] })

  const service = new TaskService(store)
  const { payloads } = await rawOf(store)
  assert.ok(service && payloads.length >= 4 && payloads.every(({ text }) => !text.includes(CANARY)))
})

test('a rotation puts everything under the new key, byte for byte', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const plain = await openStore(t, { database })
  await fill(plain, 'plain')
  // What a number of JavaScript cannot hold, in a payload and in parts of one.
  const numbers = '{"big":123456789012345678901,"spelled":1.0e2}'
  const lines = [
    `{"jsonrpc":"2.0","id":1,"method":"put_value","params":{"collection":"n","key":"k","value":${numbers}}}`,
    `{"jsonrpc":"2.0","id":2,"method":"create_task","params":{"task_id":"n"}}`,
    `{"jsonrpc":"2.0","id":3,"method":"complete_task","params":{"task_id":"n","result":${numbers}}}`,
  ]
  await plain.close()
  spawnSync(binary, ['--database', database], { input: lines.join('\n') + '\n' })
  const writer = await openStore(t, { database, codec: OLD })
  await fill(writer, 'old')
  const before = [await read(writer, 'plain'), await read(writer, 'old')]

  const store = await openStore(t, { database, codec: BOTH })
  const pages = []
  const found = await store.rotate(undefined, { onPage: ({ seen }) => pages.push(seen) })
  assert.deepEqual([found.missed, found.unreadable, Object.keys(found.keys)], [0, [], ['new']])
  assert.ok(found.sealed > 35 && found.seen === found.sealed + 2 && pages.at(-1) === found.seen) // a null of each
  assert.deepEqual(await store.rotate(), { ...found, sealed: 0 })
  const reader = await openStore(t, { database, codec: NEW })
  assert.deepEqual([await read(reader, 'plain'), await read(reader, 'old')], before)
  // Without numbers of JavaScript: the payload as it was sealed is what was stored.
  const open = (place, text) => NEW.open(JSON.parse(text), place)
  const { payloads } = await rawOf(reader)
  const value = payloads.find(({ key, collection }) => key === 'k' && collection === 'n')
  const result = payloads.find(({ place, task_id }) => place === 'task.result' && task_id === 'n')
  assert.ok(open(['value.value', null, null, 'n', 'k'], value.text).big > 1e20)
  assert.ok(open(['task.success', 'n'], JSON.stringify(JSON.parse(result.text).success)).spelled === 100)
  const python = spawnSync(join(root, 'Tests/.venv/bin/python'), ['-c', PYTHON, value.text], { encoding: 'utf8' })
  assert.equal(python.stdout.trim(), numbers, python.stderr)
})

const PYTHON = `
import json, sys
sys.path.insert(0, ${JSON.stringify(join(root, 'protocol/clients/python'))})
from mcp_session_store import Codec
codec = Codec({"new": bytes([2] * 32)})
print(codec._text_in(json.loads(sys.argv[1]), ("value.value", None, None, "n", "k")).decode())
`

test('a rotation reaches what an earlier session of an id left behind, and what is kept of the last one', async (t) => {
  const place = { database: join(temporaryFolder(t), 'sessions.db'), options: { 'retain-ended': '1h' } }
  const former = await openStore(t, { ...place, codec: OLD })
  for (const number of [0, 1]) {
    await former.createSession({ session_id: 's', status: 'active', state: { k: `${CANARY}-${number}` } })
    await former.storeEvent({ session_id: 's', data: [CANARY, number] })
    await former.createTask({ task_id: `t-${number}`, session_id: 's', original_params: [CANARY, number] })
    await former.resolveSession({ session_id: 's' })
  }
  const { missed, unreadable, keys } = await (await openStore(t, { ...place, codec: BOTH })).rotate()
  assert.deepEqual([missed, unreadable, Object.keys(keys)], [0, [], ['new']])
  const reader = await openStore(t, { ...place, codec: NEW })
  const ended = { session_id: 's', include_ended: true }
  assert.deepEqual((await reader.getSession(ended)).state, { k: `${CANARY}-1` })
  assert.deepEqual((await reader.getEventsAfter(ended)).events.map(({ data }) => data), [[CANARY, 1]])
  for (const number of [0, 1]) {
    assert.deepEqual((await reader.getTask({ task_id: `t-${number}` })).original_params, [CANARY, number])
  }
})

test('what others write while it rotates is theirs', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const former = await openStore(t, { database, codec: OLD })
  const writer = await openStore(t, { database, codec: BOTH })
  const store = await openStore(t, { database, codec: BOTH })
  const put = (key, value, by = writer) => by.putValue({ collection: 'c', key, value })
  for (let number = 0; number < 30; number++) await put(`k${number}`, 0, former)
  const replace = store.replacePayloads.bind(store)
  let rounds = 0
  store.replacePayloads = async (...call) => {
    // Between reading and replacing; the first time by one that has not been told of the new key.
    const by = rounds === 0 ? former : writer
    if (rounds++ < 3) for (let number = rounds; number < 30; number += 4) await put(`k${number}`, rounds, by)
    return replace(...call)
  }
  const { missed, keys } = await store.rotate()
  assert.ok(rounds > 1)
  assert.deepEqual([missed, keys], [0, { new: 30 }])
  const reader = await openStore(t, { database, codec: NEW })
  const { values } = await reader.listValues({ collection: 'c', limit: 100 })
  const written = Array.from({ length: Math.min(rounds, 3) }, (_, round) => round + 1)
  const expected = (key) => written.filter((round) => key >= round && (key - round) % 4 === 0).at(-1) ?? 0
  assert.deepEqual(values.map(({ value }) => value), values.map(({ key }) => expected(Number(key.slice(1)))))
})

test('what stands where in the text of an object', () => {
  const text = ' { "a" : [1, {"b":"}"}] ,"\\u0062": "x\\\\\\"," , "c":{}, "d":-1e5}'
  const found = [...membersOf(text)].map(({ name, start, end }) => [name, text.slice(start, end)])
  assert.deepEqual(found, [['a', '[1, {"b":"}"}]'], ['b', '"x\\\\\\","'], ['c', '{}'], ['d', '-1e5']])
  assert.deepEqual([...membersOf('[1]')], [])
})
