// The EventStore under a transport that calls it in the order in which the TypeScript SDK does.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import { EventStore } from '../../../protocol/clients/node/event-store.mjs'
import { eventually, openStore, signal, temporaryFolder } from './fixture.mjs'

const GET_STREAM = '_GET_stream'

/** The part of a Streamable HTTP transport that has to do with events: what is sent lands in `connection.sent`. */
class Transport {
  #eventStore
  #connections = new Map()

  constructor(eventStore) {
    this.#eventStore = eventStore
  }

  /** A POST, or the standalone GET: a new stream, with its priming event first. */
  async open(streamId = randomUUID()) {
    const connection = { streamId, sent: [] }
    this.#connections.set(streamId, connection)
    connection.sent.push([await this.#eventStore.storeEvent(streamId, {})])
    return connection
  }

  disconnect({ streamId }) {
    this.#connections.delete(streamId)
  }

  /** Stored first, connected or not; then sent to whoever is connected. */
  async send(streamId, message) {
    const id = await this.#eventStore.storeEvent(streamId, message)
    this.#connections.get(streamId)?.sent.push([id, message])
    return id
  }

  /** A GET with Last-Event-ID: its HTTP status, and the connection. */
  async resume(lastEventId, { isAborted = false } = {}) {
    const streamId = await this.#eventStore.getStreamIdForEventId(lastEventId)
    if (!streamId) return { status: 400 }
    if (this.#connections.has(streamId)) return { status: 409 }
    const connection = { streamId, sent: [] }
    try {
      const send = async (id, message) => void connection.sent.push([id, message])
      const streamId = await this.#eventStore.replayEventsAfter(lastEventId, { send })
      // It may be a few promises later, in this turn of the event loop.
      for (let n = 0; n < 5; n++) await null
      if (isAborted) return { status: 404 }
      this.#connections.set(streamId, connection)
    } catch {
      return { status: 500 }
    }
    return { status: 200, connection }
  }
}

const message = (n) => ({ jsonrpc: '2.0', method: 'notifications/message', params: { n } })
const numbersOf = ({ sent }) => sent.filter(([, each]) => each !== undefined).map(([, { params }]) => params.n)
const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => first + n)

async function connect(t, store, session_id = randomUUID(), owners = {}) {
  if ((await store.getSession({ session_id, ...owners })) === null) {
    await store.createSession({ session_id, status: 'active', ...owners })
  }
  const eventStore = new EventStore(store, { session_id, ...owners })
  return { session_id, eventStore, transport: new Transport(eventStore) }
}

test('what was missed comes once, in order, and then what is new', async (t) => {
  const store = await openStore(t)
  const { transport } = await connect(t, store)
  const first = await transport.open()
  await transport.send(first.streamId, message(1))
  transport.disconnect(first)
  for (const n of numbers(2, 5)) await transport.send(first.streamId, message(n))
  const { status, connection } = await transport.resume(first.sent.at(-1)[0])
  assert.equal(status, 200)
  await transport.send(first.streamId, message(6))
  assert.deepEqual(numbersOf(connection), numbers(2, 6))
  assert.equal((await transport.resume(first.sent[0][0])).status, 409)
})

test('a priming event is where to begin, and is not replayed', async (t) => {
  const store = await openStore(t)
  const { transport } = await connect(t, store)
  const first = await transport.open()
  transport.disconnect(first)
  await transport.send(first.streamId, message(1))
  const { connection } = await transport.resume(first.sent[0][0])
  transport.disconnect(connection)
  assert.deepEqual(numbersOf(connection), [1])
  // A stream that was primed again: the second priming event stays where it is.
  const again = await transport.open(first.streamId)
  transport.disconnect(again)
  await transport.send(first.streamId, message(2))
  const { connection: last } = await transport.resume(connection.sent[0][0])
  assert.deepEqual(last.sent.map(([, { params }]) => params.n), [2])
})

test('streams of one session, and the GET stream of every session, are never mixed', async (t) => {
  const store = await openStore(t)
  const [one, other] = [await connect(t, store), await connect(t, store)]
  const ids = {}
  for (const [name, { transport }] of Object.entries({ one, other })) {
    const get = await transport.open(GET_STREAM)
    const post = await transport.open()
    ids[name] = get.sent[0][0]
    transport.disconnect(get)
    await transport.send(GET_STREAM, message(`${name} get`))
    await transport.send(post.streamId, message(`${name} post`))
  }
  const { connection } = await one.transport.resume(ids.one)
  assert.deepEqual(numbersOf(connection), ['one get'])
})

test('an id of another session is unknown, and so is everything that is no id', async (t) => {
  const store = await openStore(t)
  const [one, other] = [await connect(t, store), await connect(t, store)]
  const foreign = await other.eventStore.storeEvent(GET_STREAM, message('secret'))
  const own = await one.eventStore.storeEvent(GET_STREAM, message(1))
  await other.eventStore.storeEvent(GET_STREAM, message('secret too'))
  assert.notEqual(foreign, own)
  assert.match(own, /^[!-~]+$/)
  assert.ok(!own.includes(one.session_id))
  const mark = own.split('-')[0]
  const wrong = [foreign, '1', '', 'x', own + '0', `${mark}-0`, `${mark}--1`, `${mark}-1e0`, `${mark}-${2 ** 60}`, `-1`]
  for (const id of [...wrong, own.toUpperCase() + ' ', `${mark}-9007199254740993`]) {
    const seen = []
    const send = async (...event) => void seen.push(event)
    assert.equal(await one.eventStore.getStreamIdForEventId(id), undefined, id)
    await assert.rejects(one.eventStore.replayEventsAfter(id, { send }), /not known/, id)
    assert.deepEqual(seen, [])
    assert.equal((await one.transport.resume(id)).status, 400)
  }
  assert.equal(await one.eventStore.getStreamIdForEventId(own), GET_STREAM)
})

test('an event store speaks for its owner alone', async (t) => {
  const store = await openStore(t)
  const { session_id, eventStore } = await connect(t, store, 'shared-name', { principal: 'alice' })
  const id = await eventStore.storeEvent(GET_STREAM, message(1))
  const thief = new EventStore(store, { session_id, principal: 'bob' })
  await assert.rejects(thief.storeEvent(GET_STREAM, message(2)), { kind: 'session_not_found' })
  await assert.rejects(thief.getStreamIdForEventId(id), { kind: 'session_not_found' })
  assert.throws(() => new EventStore(store, { session_id, principal: undefined }), TypeError)
})

test('ids and messages survive a restart', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database })
  const { session_id, transport } = await connect(t, store)
  const first = await transport.open()
  for (const n of numbers(1, 3)) await transport.send(first.streamId, message(n))
  const last = first.sent[1][0]
  signal(store.pid, 'SIGKILL')
  await eventually(() => store.pid === null, 'the death')
  const next = await connect(t, await openStore(t, { database }), session_id)
  const { connection } = await next.transport.resume(last)
  assert.deepEqual(numbersOf(connection), [2, 3])
  assert.equal(connection.streamId, first.streamId)
})

test('a replay of many pages is complete', async (t) => {
  const store = await openStore(t)
  const { transport } = await connect(t, store)
  const first = await transport.open()
  transport.disconnect(first)
  await Promise.all(numbers(1, 3000).map((n) => transport.send(first.streamId, message(n))))
  const { connection } = await transport.resume(first.sent[0][0])
  assert.deepEqual(numbersOf(connection), numbers(1, 3000))
})

/** A store that counts the pages that are asked for, with a stream of 250 messages, and the replay of it. */
async function countingReplay(t) {
  const store = await openStore(t, { restart: false })
  const { session_id, transport } = await connect(t, store, randomUUID(), { principal: null })
  const first = await transport.open()
  transport.disconnect(first)
  await Promise.all(numbers(1, 250).map((n) => transport.send(first.streamId, message(n))))
  const pages = []
  const counting = {
    getEventsAfter: (call) => {
      if (call.stream_id !== undefined) pages.push(call.after_event_id)
      return store.getEventsAfter(call)
    },
  }
  const events = new EventStore(counting, { session_id, principal: null })
  return { store, pages, replay: (send) => events.replayEventsAfter(first.sent[0][0], { send }) }
}

test('the next page of a replay is read while one is sent', async (t) => {
  const { pages, replay } = await countingReplay(t)
  const asked = []
  await replay(async (_, { params }) => asked.push([params.n, pages.length]))
  // While the first one is sent the second page is about to be asked for.
  assert.deepEqual(asked.slice(1), numbers(2, 250).map((n) => [n, 2]))
  assert.deepEqual(pages, [1, 101, 251])
})

test('a replay that is broken off leaves nothing behind', async (t) => {
  const { store, pages, replay } = await countingReplay(t)
  const unhandled = []
  const note = (error) => unhandled.push(error)
  process.on('unhandledRejection', note)
  t.after(() => process.off('unhandledRejection', note))
  const send = async () => {
    signal(store.pid, 'SIGKILL')
    await store.ended
    throw new Error('the connection is gone')
  }
  await assert.rejects(replay(send), /the connection is gone/)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([pages, unhandled], [[1, 101], []])
})

test('what is sent during a replay comes behind it, once', async (t) => {
  const store = await openStore(t)
  const { transport } = await connect(t, store)
  const first = await transport.open()
  let n = 0
  let isOver = false
  const sending = (async () => {
    // One after the other, so that there is always one somewhere between the store and the connection.
    while (!isOver) await transport.send(first.streamId, message(++n))
  })()
  const seen = []
  let last = first.sent[0][0]
  transport.disconnect(first)
  for (let round = 0; round < 100; round++) {
    const { status, connection } = await transport.resume(last)
    assert.equal(status, 200)
    await new Promise((resolve) => setImmediate(resolve))
    transport.disconnect(connection)
    seen.push(...numbersOf(connection))
    last = connection.sent.at(-1)?.[0] ?? last
  }
  isOver = true
  await sending
  assert.deepEqual(seen, numbers(1, seen.length))
  assert.ok(seen.length >= 50, `${seen.length} messages`)
})

test('what is stored while the last page of a replay is on its way reaches who resumes', async (t) => {
  const store = await openStore(t)
  const { session_id } = await connect(t, store, randomUUID(), { principal: null })
  // The replay's page and the event behind it are answered in one piece, as they are read from a pipe.
  const answers = []
  let isReplaying = false
  const inOnePiece = async (answer) => {
    if (!isReplaying) return answer
    const result = await answer
    return new Promise((resolve) => {
      answers.push(() => resolve(result))
      if (answers.length === 2) for (const give of answers) give()
    })
  }
  let sending
  const paired = {
    getEventsAfter(call) {
      if (call.stream_id === undefined || isReplaying) return store.getEventsAfter(call)
      isReplaying = true
      const page = inOnePiece(store.getEventsAfter(call))
      sending = transport.send(call.stream_id, message(1))
      return page
    },
    storeEvent: (call) => inOnePiece(store.storeEvent(call)),
  }
  const transport = new Transport(new EventStore(paired, { session_id, principal: null }))
  const first = await transport.open()
  transport.disconnect(first)
  const { status, connection } = await transport.resume(first.sent[0][0])
  await sending
  assert.deepEqual([status, numbersOf(connection)], [200, [1]])
})

test('an event that was evicted cannot be resumed from, and that is said', async (t) => {
  const store = await openStore(t, { options: { max_events_per_session: 5 } })
  const { transport } = await connect(t, store)
  const first = await transport.open()
  transport.disconnect(first)
  for (const n of numbers(1, 10)) await transport.send(first.streamId, message(n))
  assert.equal((await transport.resume(first.sent[0][0])).status, 400)
})

test('an event that was evicted can be resumed from when its stream lost nothing behind it', async (t) => {
  const store = await openStore(t, { options: { max_events_per_session: 5 } })
  const { transport } = await connect(t, store)
  const [quiet, busy] = [await transport.open(), await transport.open()]
  for (const connection of [quiet, busy]) transport.disconnect(connection)
  for (const n of numbers(1, 10)) await transport.send(busy.streamId, message(n))
  await transport.send(quiet.streamId, message(11))
  const { status, connection } = await transport.resume(quiet.sent[0][0])
  assert.deepEqual([status, numbersOf(connection)], [200, [11]])
  assert.equal((await transport.resume(busy.sent[0][0])).status, 400)
})

test('an id of a former version, which does not say its stream, is still good', async (t) => {
  const store = await openStore(t)
  const { transport, eventStore } = await connect(t, store)
  const first = await transport.open()
  transport.disconnect(first)
  await transport.send(first.streamId, message(1))
  const old = first.sent[0][0].split('-').slice(0, 2).join('-')
  assert.equal(await eventStore.getStreamIdForEventId(old), first.streamId)
  const { status, connection } = await transport.resume(old)
  assert.deepEqual([status, numbersOf(connection)], [200, [1]])
})

test('of two who resume a stream at once one gets it, and every message goes there', async (t) => {
  const store = await openStore(t)
  const { transport } = await connect(t, store)
  for (let round = 0; round < 20; round++) {
    const first = await transport.open()
    transport.disconnect(first)
    const sending = numbers(1, 40).map((n) => transport.send(first.streamId, message(n)))
    if (round % 2 === 0) await sending[20]
    const resumed = [transport.resume(first.sent[0][0]), transport.resume(first.sent[0][0])]
    for (const n of numbers(41, 60)) {
      sending.push(transport.send(first.streamId, message(n)))
      if (n % 7 === 0) await new Promise((resolve) => setTimeout(resolve, round % 3))
    }
    const answers = await Promise.all(resumed)
    await Promise.all(sending)
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409])
    assert.deepEqual(numbersOf(answers.find(({ status }) => status === 200).connection), numbers(1, 60))
  }
})

test('who comes back while an abandoned resume is still under way gets everything', async (t) => {
  const store = await openStore(t)
  const { transport } = await connect(t, store)
  const first = await transport.open()
  transport.disconnect(first)
  for (const n of numbers(1, 5)) await transport.send(first.streamId, message(n))
  const abandoned = transport.resume(first.sent[0][0], { isAborted: true })
  const second = transport.resume(first.sent[0][0])
  const sending = transport.send(first.streamId, message(6))
  assert.equal((await abandoned).status, 404)
  const { status, connection } = await second
  await sending
  assert.deepEqual([status, numbersOf(connection)], [200, numbers(1, 6)])
})

test("a priming event is none in the contract's own SSE format either", async (t) => {
  const store = await openStore(t)
  const { session_id, transport } = await connect(t, store)
  const { streamId } = await transport.open()
  const { frames } = await store.getEventsAfter({ session_id, stream_id: streamId, format: 'sse' })
  assert.ok(!frames.includes('data:'), frames)
})

/** One in another, so many times. */
const nested = (levels) => JSON.parse('['.repeat(levels) + ']'.repeat(levels))

test('an answer that cannot be stored reaches who is connected, and who resumes gets an error for it', async (t) => {
  const store = await openStore(t, { options: { max_line_bytes: 4 << 20 } })
  const errors = []
  const { session_id } = await connect(t, store)
  const transport = new Transport(new EventStore(store, { session_id, onError: (error) => errors.push(error) }))
  for (const [id, result] of [
    [7, { text: 'x'.repeat(2e6) }],
    ['8', { text: 'x'.repeat(5e6) }],
    [-9.5, { deep: nested(200) }],
    ['', { deep: nested(2000) }],
  ]) {
    const first = await transport.open()
    const answer = { jsonrpc: '2.0', id, result }
    await transport.send(first.streamId, answer)
    assert.equal(first.sent.at(-1)[1], answer)
    assert.match(first.sent.at(-1)[0], /^[0-9a-f]{16}-/)
    transport.disconnect(first)
    const { connection } = await transport.resume(first.sent[0][0])
    transport.disconnect(connection)
    const [, instead] = connection.sent[0]
    assert.deepEqual([instead.id, instead.error.code], [id, -32603])
    assert.match(instead.error.message, /could not be kept/)
    // Who got it does not get the error behind it.
    const { connection: last } = await transport.resume(first.sent.at(-1)[0])
    transport.disconnect(last)
    assert.deepEqual(last.sent, [])
  }
  assert.equal(errors.length, 4)
})

test('a message is stored as it is written: what JSON leaves out is left out', async (t) => {
  const store = await openStore(t)
  const { transport } = await connect(t, store)
  const first = await transport.open()
  transport.disconnect(first)
  const odd = { jsonrpc: '2.0', id: 1, result: { half: '\ud800', nothing: undefined, number: NaN, when: new Date(0) } }
  await transport.send(first.streamId, odd)
  const { connection } = await transport.resume(first.sent[0][0])
  assert.deepEqual(connection.sent[0][1], JSON.parse(JSON.stringify(odd)))
})

test('a notification that cannot be stored is left out of a replay', async (t) => {
  const store = await openStore(t)
  const { transport } = await connect(t, store)
  const first = await transport.open()
  const large = { jsonrpc: '2.0', method: 'notifications/message', params: { n: 'x'.repeat(2e6) } }
  for (const each of [message(1), large, message(2)]) await transport.send(first.streamId, each)
  assert.equal(first.sent.length, 4)
  transport.disconnect(first)
  const { connection } = await transport.resume(first.sent[0][0])
  assert.deepEqual(numbersOf(connection), [1, 2])
})

test('when the store is out of reach a message is sent without an id', async (t) => {
  const store = await openStore(t)
  const errors = []
  const { session_id } = await connect(t, store)
  const eventStore = new EventStore(store, { session_id, onError: ({ name }) => errors.push(name) })
  signal(store.pid, 'SIGKILL')
  await eventually(() => store.state === 'failed', 'the death')
  assert.equal(await eventStore.storeEvent(GET_STREAM, message(1)), undefined)
  assert.deepEqual(errors, ['ChildError'])
})

test('where owners are required a session of nobody is served without naming them', async (t) => {
  const store = await openStore(t, { options: { require_owner: true } })
  await store.createSession({ session_id: 's', status: 'active', principal: null })
  const transport = new Transport(new EventStore(store, { session_id: 's' }))
  const first = await transport.open()
  transport.disconnect(first)
  await transport.send(first.streamId, message(1))
  const { status, connection } = await transport.resume(first.sent[0][0])
  assert.deepEqual([status, numbersOf(connection)], [200, [1]])
})

test('nothing is sent any more in a session that is over', async (t) => {
  const store = await openStore(t)
  for (const [method, kind] of [
    ['deleteSession', 'session_not_found'],
    ['expireSession', 'session_expired'],
    ['invalidateSession', 'invalid_session_status'],
  ]) {
    const { session_id, eventStore } = await connect(t, store)
    await store[method]({ session_id })
    await assert.rejects(eventStore.storeEvent(GET_STREAM, message(1)), { kind })
  }
})
