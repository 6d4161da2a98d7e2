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
  async resume(lastEventId) {
    const streamId = await this.#eventStore.getStreamIdForEventId(lastEventId)
    if (!streamId) return { status: 400 }
    if (this.#connections.has(streamId)) return { status: 409 }
    const connection = { streamId, sent: [] }
    try {
      const send = async (id, message) => void connection.sent.push([id, message])
      this.#connections.set(await this.#eventStore.replayEventsAfter(lastEventId, { send }), connection)
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
  const lost = new EventStore(store, { session_id, principal: undefined })
  await assert.rejects(lost.getStreamIdForEventId(id), TypeError)
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

test('an event that was evicted cannot be resumed from, and that is said', async (t) => {
  const store = await openStore(t, { options: { max_events_per_session: 5 } })
  const { transport } = await connect(t, store)
  const first = await transport.open()
  transport.disconnect(first)
  for (const n of numbers(1, 10)) await transport.send(first.streamId, message(n))
  assert.equal((await transport.resume(first.sent[0][0])).status, 400)
})

test('when the store fails a message is sent without an id, where that is wanted', async (t) => {
  const store = await openStore(t)
  const { session_id, eventStore } = await connect(t, store)
  const errors = []
  const lenient = new EventStore(store, { session_id, onError: (error) => errors.push(error.kind) })
  await store.deleteSession({ session_id })
  await assert.rejects(eventStore.storeEvent(GET_STREAM, message(1)), { kind: 'session_not_found' })
  assert.equal(await lenient.storeEvent(GET_STREAM, message(1)), undefined)
  assert.deepEqual(errors, ['session_not_found'])
})
