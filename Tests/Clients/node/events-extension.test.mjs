// Events by poll and by stream, with cursors that outlive the process that gave them.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { EventBus } from '../../../protocol/clients/node/event-bus.mjs'
import { EventsExtension } from '../../../protocol/clients/node/events-extension.mjs'
import { Codec } from '../../../protocol/clients/node/index.mjs'
import { eventually, freeze, openStore, signal, temporaryFolder } from './fixture.mjs'

const NAME = 'thing.changed'
const SESSION = `mcp-events/${NAME}`
const alice = { authInfo: { clientId: 'alice' } }
const types = [{ name: NAME, description: 'A thing changed.' }]

const numbers = ({ events }) => events.map(({ data }) => data.n)

async function publishAll(events, count, from = 0) {
  for (let n = from; n < from + count; n++) await events.publish(NAME, { n, parity: n % 2 })
}

/** A stream that is open: what it was told, and how to cancel it. */
function openStream(t, events, params, ctx = {}) {
  const told = []
  const controller = new AbortController()
  const notify = async (notification) => void told.push(notification)
  const done = events.stream(params, { requestId: 7, signal: controller.signal, sendNotification: notify, ...ctx })
  done.catch(() => {})
  t.after(() => controller.abort())
  const of = (kind) => {
    return told.filter(({ method }) => method === `notifications/events/${kind}`).map(({ params }) => params)
  }
  return { told, of, done, cancel: () => controller.abort() }
}

test('the types are listed, and the capability stands where each world looks for it', async (t) => {
  const events = new EventsExtension(await openStore(t), { types: [...types, { name: 'b', delivery: ['webhook'] }] })
  const [listed, ...others] = (await events.list()).events
  const { name, delivery, inputSchema, payloadSchema } = listed
  assert.deepEqual([name, delivery, others], [NAME, ['poll', 'push'], []], 'nobody looks after webhooks here')
  assert.deepEqual([inputSchema, payloadSchema], [{ type: 'object' }, { type: 'object' }])
  assert.deepEqual(Object.keys(events.handlers), ['events/list', 'events/poll', 'events/stream'])
  const settings = { listChanged: true }
  assert.deepEqual(events.capabilities, {
    events: settings,
    extensions: { 'io.modelcontextprotocol/events': settings },
  })
})

test('a poll goes on where the one before ended, over kills, in any process', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const [here, there] = [await openStore(t, { database }), await openStore(t, { database })]
  const [one, other] = [here, there].map((store) => new EventsExtension(store, { types }))
  const begin = await one.poll({ name: NAME })
  assert.deepEqual(begin.events, [])
  assert.deepEqual([begin.truncated, begin.hasMore, begin.nextPollMs], [false, false, 5000])
  await publishAll(other, 5)
  const first = await one.poll({ name: NAME, cursor: begin.cursor, maxEvents: 3 })
  assert.deepEqual([numbers(first), first.hasMore, first.truncated], [[0, 1, 2], true, false])
  signal(here.pid, 'SIGKILL')
  const second = await one.poll({ name: NAME, cursor: first.cursor })
  assert.deepEqual([numbers(second), second.hasMore], [[3, 4], false])
  assert.deepEqual(numbers(await other.poll({ name: NAME, cursor: first.cursor })), [3, 4])
  const [{ eventId, name, timestamp, ...rest }] = second.events
  assert.match(eventId, /^evt_[0-9a-f]{32}$/)
  assert.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  assert.deepEqual([name, rest], [NAME, { data: { n: 3, parity: 1 } }])
  assert.equal(await one.cursor(NAME), second.cursor, 'it stands where the last one ended')
})

test('arguments choose, and a cursor moves past what was not chosen', async (t) => {
  const seen = []
  const matches = (args, data, principal) => {
    seen.push(principal)
    if (data.n === 4) throw new Error('cannot tell')
    return data.n > args.over
  }
  const errors = []
  const events = new EventsExtension(await openStore(t), {
    types: [...types, { name: 'own', matches }],
    onError: (error) => errors.push(error),
  })
  const [begin, own] = [await events.cursor(NAME), await events.cursor('own')]
  await publishAll(events, 6)
  for (let n = 0; n < 6; n++) await events.publish('own', { n })
  const odd = await events.poll({ name: NAME, cursor: begin, arguments: { parity: 1 }, maxEvents: 2 })
  assert.deepEqual([numbers(odd), odd.hasMore], [[1], true], 'of two that were looked at')
  const none = await events.poll({ name: NAME, cursor: begin, arguments: { parity: 1, more: null } })
  assert.deepEqual([none.events, none.hasMore, none.cursor], [[], false, await events.cursor(NAME)])
  const over = await events.poll({ name: 'own', cursor: own, arguments: { over: 2 } }, alice)
  assert.deepEqual(numbers(over), [3, 5])
  assert.deepEqual([new Set(seen), errors.map(({ message }) => message)], [new Set(['alice']), ['cannot tell']])
})

test('what a cursor cannot have any more is told as truncated, and never an error', async (t) => {
  const store = await openStore(t, { options: { max_events_per_session: 3 } })
  const events = new EventsExtension(store, { types })
  const begin = await events.cursor(NAME)
  await publishAll(events, 5)
  const late = await events.poll({ name: NAME, cursor: begin })
  assert.deepEqual([numbers(late), late.truncated], [[2, 3, 4], true])
  for (const cursor of ['', 'no cursor', `${begin}9999`, begin.replace('c1', 'c2'), 'c1-00000000-1-1']) {
    const page = await events.poll({ name: NAME, cursor })
    assert.deepEqual([page.events, page.truncated, page.cursor], [[], true, late.cursor], cursor)
  }
  // Another topic of the same name: its ids begin anew, and those of the old one must not look right.
  await store.deleteSession({ session_id: SESSION })
  await eventually(async () => {
    await store.deleteSession({ session_id: SESSION })
    await events.publish(NAME, { n: 10 })
    return (await events.cursor(NAME)).split('-')[2] !== begin.split('-')[2]
  }, 'another epoch')
  const anew = await events.poll({ name: NAME, cursor: late.cursor })
  assert.deepEqual([numbers(anew), anew.truncated], [[10], true])
})

test('an age floor passes over what is older, and says so only where it won', async (t) => {
  const store = await openStore(t)
  const events = new EventsExtension(store, { types })
  const begin = await events.cursor(NAME)
  const day = 86_400_000
  for (let n = 0; n < 20; n++) {
    const data = { eventId: `e${n}`, name: NAME, timestamp: '2026-01-01T00:00:00.000Z', data: { n } }
    await store.storeEvent({ session_id: SESSION, event_type: NAME, data, timestamp: Date.now() - (20 - n) * day })
  }
  const of = (maxAgeMs, cursor = begin) => events.poll({ name: NAME, cursor, maxAgeMs })
  const week = await of(7 * day + day / 2)
  assert.deepEqual([numbers(week), week.truncated], [[13, 14, 15, 16, 17, 18, 19], true])
  const all = await of(30 * day)
  assert.deepEqual([numbers(all).length, all.truncated], [20, false])
  const none = await of(0)
  assert.deepEqual([none.events, none.truncated, none.cursor], [[], true, all.cursor])
  assert.deepEqual((await of(day, all.cursor)).truncated, false, 'there was nothing to pass over')
  assert.deepEqual((await of(0, null)).truncated, false)
})

test('each world has its numbers for what is refused', async (t) => {
  const store = await openStore(t)
  const only = { name: 'mine', delivery: ['push'], allows: async (principal, { mine }) => mine === principal }
  const strict = { name: 'strict', validate: ({ id }) => { if (id === undefined) throw new Error('an id is needed') } }
  for (const [profile, notFound, forbidden, unsupported] of [
    ['sep-3415', -32023, -32024, -32026],
    ['sketch', -32011, -32012, -32014],
  ]) {
    const events = new EventsExtension(store, { types: [...types, only, strict], profile })
    const refused = (code, params, data) => assert.rejects(events.poll(params), { code, ...(data && { data }) })
    await refused(notFound, { name: 'nothing' }, { kind: 'event' })
    await refused(unsupported, { name: 'mine' }, { feature: 'delivery', value: 'poll' })
    await assert.rejects(events.stream({ name: 'mine' }, alice), { code: forbidden })
    for (const wrong of [
      undefined, {}, { name: 7 }, { name: NAME, arguments: [] }, { name: NAME, arguments: null },
      { name: NAME, cursor: 7 }, { name: NAME, maxEvents: 0 }, { name: NAME, maxAgeMs: -1 }, { name: 'strict' },
    ]) await refused(-32602, wrong)
  }
  assert.throws(() => new EventsExtension(store, { profile: 'sep-1' }), RangeError)
  assert.throws(() => new EventsExtension(store, { types: [{ name: 'a', delivery: [] }] }), RangeError)
})

test('an event of its own id is published once, whoever publishes it, and whatever dies meanwhile', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const stores = [await openStore(t, { database }), await openStore(t, { database, restart: { delay: 1 } })]
  const [one, other] = stores.map((store) => new EventsExtension(store, { types }))
  const begin = await one.cursor(NAME)
  const all = [one, other, one, other].map((events) => events.publish(NAME, { n: 1 }, { eventId: 'upstream-1' }))
  const published = await Promise.all(all)
  assert.equal(published.filter(({ isDuplicate }) => !isDuplicate).length, 1)
  const dying = other.publish(NAME, { n: 2 }, { eventId: 'upstream-2' })
  signal(stores[1].pid, 'SIGKILL')
  await dying
  assert.deepEqual(numbers(await one.poll({ name: NAME, cursor: begin })), [1, 2])
})

test('an event whose answer died with the process is there once, whether it was stored before or not', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database, restart: { delay: 1 } })
  const events = new EventsExtension(store, { types })
  const cursor = await events.cursor(NAME)
  await freeze(store.pid)
  const published = events.publish(NAME, { n: 1 })
  await eventually(() => store.bytesInFlight > 0, 'the call')
  signal(store.pid, 'SIGKILL')
  await published
  const dying = events.publish(NAME, { n: 2 })
  setImmediate(() => signal(store.pid, 'SIGKILL'))
  await dying
  assert.deepEqual(numbers(await events.poll({ name: NAME, cursor })), [1, 2])
})

test('an event is there exactly when its cause is', async (t) => {
  const store = await openStore(t)
  const events = new EventsExtension(store, { types })
  const begin = await events.cursor(NAME)
  const cause = { method: 'put_value', params: { collection: 'things', key: 'a', value: 1, if_absent: true } }
  const change = (n) => [{ ...cause, require: true }, ...events.calls(NAME, { n }, { timestamp: 0 }).calls]
  await store.transaction({ calls: change(1) })
  await assert.rejects(store.transaction({ calls: change(2) }), { kind: 'requirement_failed' })
  const page = await events.poll({ name: NAME, cursor: begin })
  assert.deepEqual([numbers(page), page.events[0].timestamp], [[1], '1970-01-01T00:00:00.000Z'])
  for (const [name, data, options, error] of [
    ['nothing', {}, {}, RangeError],
    [NAME, [], {}, TypeError],
    [NAME, {}, { eventId: 'a b' }, RangeError],
    [NAME, {}, { timestamp: 'yesterday' }, RangeError],
    [NAME, { text: 'x'.repeat(262_144) }, {}, RangeError],
  ]) await assert.rejects(events.publish(name, data, options), error)
})

test('a stream tells what comes, from every process, and each with the cursor to come back with', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const [here, there] = [await openStore(t, { database }), await openStore(t, { database })]
  const [one, other] = [here, there].map((store) => new EventsExtension(store, { types, heartbeatMs: 20 }))
  const begin = await one.cursor(NAME)
  await publishAll(one, 2)
  const stream = openStream(t, one, { name: NAME, cursor: begin })
  await eventually(() => stream.of('event').length === 2, 'the backlog')
  signal(here.pid, 'SIGKILL')
  await publishAll(other, 3, 2)
  await eventually(() => stream.of('event').length === 5, 'what came meanwhile')
  const [first] = stream.told
  assert.equal(first.method, 'notifications/events/active')
  const _meta = { 'io.modelcontextprotocol/subscriptionId': 7 }
  assert.deepEqual(first.params, { cursor: begin, truncated: false, _meta })
  const told = stream.of('event')
  assert.deepEqual(numbers({ events: told }), [0, 1, 2, 3, 4])
  assert.deepEqual(told[4]._meta, _meta)
  assert.deepEqual(numbers(await one.poll({ name: NAME, cursor: told[1].cursor })), [2, 3, 4])
  // What nobody asked for moves the cursor of a quiet stream.
  const newest = await one.cursor(NAME)
  await eventually(() => stream.of('heartbeat').some(({ cursor }) => cursor === newest), 'a sign of life')
  stream.cancel()
  assert.deepEqual(await stream.done, { resultType: 'complete' })
  assert.equal((await here.getMetrics()).subscriptions, 0)
})

test('what a stream missed is told as a second beginning, and it goes on', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const options = { max_events_per_session: 2 }
  const [here, there] = [await openStore(t, { database, options }), await openStore(t, { database, options })]
  const [one, other] = [here, there].map((store) => new EventsExtension(store, { types }))
  const stream = openStream(t, one, { name: NAME })
  await eventually(async () => (await here.getMetrics()).subscriptions === 1, 'the subscription')
  await freeze(here.pid)
  await publishAll(other, 6)
  signal(here.pid, 'SIGKILL')
  await eventually(() => numbers({ events: stream.of('event') }).includes(5), 'the newest')
  assert.deepEqual(numbers({ events: stream.of('event') }), [4, 5])
  const starts = stream.of('active')
  assert.deepEqual(starts.map(({ truncated }) => truncated), [false, true])
  await there.deleteSession({ session_id: SESSION })
  await eventually(() => stream.of('active').length > starts.length, 'that the topic is another')
  await publishAll(other, 1, 10)
  await eventually(() => numbers({ events: stream.of('event') }).includes(10), 'what came then')
})

test('a stream ends when its type is taken away, or it is no longer allowed, and says why', async (t) => {
  let isAllowed = true
  const bus = new EventBus(await openStore(t))
  t.after(() => bus.close())
  const changes = []
  bus.subscribe(({ kind }) => changes.push(kind), { kinds: ['events_list_changed'] })
  await bus.open()
  const store = await openStore(t)
  const events = new EventsExtension(store, { types, heartbeatMs: 10, bus })
  events.define({ name: 'guarded', allows: () => isAllowed })
  const [gone, guarded] = [openStream(t, events, { name: NAME }), openStream(t, events, { name: 'guarded' })]
  await eventually(() => gone.of('active').length + guarded.of('active').length === 2, 'both')
  events.withdraw(NAME)
  assert.deepEqual(await gone.done, { resultType: 'complete' })
  const [{ error }] = gone.of('terminated')
  assert.deepEqual([error.code, error.data], [-32023, { kind: 'event' }])
  isAllowed = false
  await guarded.done
  assert.equal(guarded.of('terminated')[0].error.code, -32024)
  await eventually(() => changes.length === 2, 'that the list changed')
})

test('the context of either SDK will do, and a client that does not take what is told ends its stream', async (t) => {
  const events = new EventsExtension(await openStore(t), { types })
  const told = []
  const controller = new AbortController()
  const mcpReq = { id: 'r', signal: controller.signal, notify: async (notification) => void told.push(notification) }
  const done = events.handlers['events/stream']({ name: NAME }, { mcpReq, http: alice })
  await eventually(() => told.length === 1, 'the beginning')
  assert.equal(told[0].params._meta['io.modelcontextprotocol/subscriptionId'], 'r')
  controller.abort()
  await done
  const sendNotification = async () => {
    throw new Error('the client is gone')
  }
  await assert.rejects(events.stream({ name: NAME }, { sendNotification }), /gone/)
})

test('a type is a source for a server that serves the extension by itself', async (t) => {
  const events = new EventsExtension(await openStore(t), { types })
  const check = events.source(NAME)
  const { cursor } = await check({}, null, alice)
  await publishAll(events, 3)
  const { events: found, truncated, hasMore, nextPollMs } = await check({ parity: 0 }, cursor, alice)
  assert.deepEqual([numbers({ events: found }), truncated, hasMore, nextPollMs], [[0, 2], false, false, 5000])
})

test('where payloads are sealed the program reads nothing of an event, and clients all of it', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const codec = new Codec({ keys: { one: new Uint8Array(32) } })
  const [store, other] = [await openStore(t, { database, codec }), await openStore(t, { database })]
  const events = new EventsExtension(store, { types })
  const cursor = await events.cursor(NAME)
  await publishAll(events, 1)
  assert.deepEqual(numbers(await events.poll({ name: NAME, cursor })), [0])
  const stream = openStream(t, events, { name: NAME, cursor })
  await eventually(() => stream.of('event').length === 1, 'the event')
  const { events: [{ data }] } = await other.getEventsAfter({ session_id: SESSION })
  assert.ok(!JSON.stringify(data).includes('parity'))
})

test('servers that are no replicas of each other do not meet', async (t) => {
  const store = await openStore(t)
  const [one, other] = ['a', 'b'].map((namespace) => new EventsExtension(store, { types, namespace }))
  const [here, there] = [await one.cursor(NAME), await other.cursor(NAME)]
  await publishAll(one, 1)
  assert.deepEqual(numbers(await one.poll({ name: NAME, cursor: here })), [0])
  assert.deepEqual((await other.poll({ name: NAME, cursor: there })).events, [])
  assert.equal((await other.poll({ name: NAME, cursor: here })).truncated, true, 'the cursor of another topic')
  assert.throws(() => new EventsExtension(store, { namespace: 'a/b' }), RangeError)
})
