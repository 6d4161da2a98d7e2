// The bus between replicas: everybody hears of a change, and once, whatever becomes of the processes between.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { EventBus } from '../../../protocol/clients/node/event-bus.mjs'
import { eventually, freeze, openStore, signal, temporaryFolder } from './fixture.mjs'

const tools = { kind: 'tools_list_changed' }
const prompts = { kind: 'prompts_list_changed' }
const resource = { kind: 'resource_updated', uri: 'file:///a' }
const LAST = { kind: 'resource_updated', uri: 'last:' }

/** A bus that is open, and what its one listener has heard. */
async function openBus(t, store, options = {}) {
  const heard = []
  const errors = []
  const bus = new EventBus(store, { onError: (error) => errors.push(error), ...options })
  t.after(() => bus.close())
  bus.subscribe((event) => heard.push(event))
  await bus.open()
  return { bus, heard, errors }
}

/** Publishes something and waits until everybody has heard of it: what was published before is heard by then. */
async function settle(bus, ...all) {
  bus.publish(LAST)
  const isLast = ({ uri }) => uri === LAST.uri
  await eventually(() => all.every(({ heard }) => heard.some(isLast)), 'the last change')
  return all.map(({ heard }) => heard.filter((event) => !isLast(event)))
}

test('listeners in every process hear of a change once, those of the publisher too, in one order', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const stores = [await openStore(t, { database }), await openStore(t, { database })]
  const [one, other] = await Promise.all(stores.map((store) => openBus(t, store)))
  one.bus.publish(tools)
  one.bus.publish(resource)
  await eventually(() => other.heard.length === 2, 'the changes')
  other.bus.publish({ ...prompts, more: 'is not handed on' })
  const [first, second] = await settle(other.bus, one, other)
  assert.deepEqual(first, [tools, resource, prompts])
  assert.deepEqual(second, first)
  assert.deepEqual([one.errors, other.errors], [[], []])
})

test('a listener that throws, and a change that is none, go to the hook and stop nobody', async (t) => {
  const { bus, heard, errors } = await openBus(t, await openStore(t))
  bus.subscribe(() => {
    throw new Error('not me')
  })
  bus.publish({ kind: 'everything_changed' })
  bus.publish({ kind: 'resource_updated' })
  bus.publish(tools)
  assert.deepEqual(await settle(bus, { heard }), [[tools]])
  const texts = errors.map(({ message }) => message)
  assert.equal(texts.filter((text) => text === 'not me').length, 2)
  assert.equal(texts.length, 4)
})

test('each subscription ends by itself, once, and events of the extension go to who asks for them', async (t) => {
  const { bus, heard } = await openBus(t, await openStore(t))
  const [twice, lists] = [[], []]
  const listener = (event) => twice.push(event)
  const [end] = [bus.subscribe(listener), bus.subscribe(listener)]
  bus.subscribe(({ kind }) => lists.push(kind), { kinds: ['events_list_changed'] })
  bus.publish(tools)
  bus.publish({ kind: 'events_list_changed' })
  await settle(bus, { heard })
  assert.equal(twice.filter(({ kind }) => kind === tools.kind).length, 2)
  end()
  end()
  bus.publish(prompts)
  await eventually(() => heard.some(({ kind }) => kind === prompts.kind), 'the next change')
  assert.equal(twice.filter(({ kind }) => kind === prompts.kind).length, 1)
  assert.deepEqual(lists, ['events_list_changed'])
})

test('a change whose answer died with the process is heard once, whether it was stored or not', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database, restart: { delay: 1 } })
  const { bus, heard, errors } = await openBus(t, store)
  await freeze(store.pid)
  bus.publish(tools)
  await eventually(() => store.bytesInFlight > 0, 'the call')
  signal(store.pid, 'SIGKILL')
  assert.deepEqual(await settle(bus, { heard }), [[tools]])
  assert.deepEqual(errors, [])
})

test('a topic that is deleted is made anew, and nobody has to do anything for it', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const stores = [await openStore(t, { database }), await openStore(t, { database })]
  const [one, other] = await Promise.all(stores.map((store) => openBus(t, store)))
  one.bus.publish(tools)
  await eventually(() => other.heard.length === 1 && one.heard.length === 1, 'the first change')
  await stores[0].deleteSession({ session_id: 'mcp-bus' })
  other.bus.publish(prompts)
  const [first, second] = await settle(other.bus, one, other)
  assert.deepEqual([first, second], [[tools, prompts], [tools, prompts]])
})

test('who missed something, for it was evicted, hears that everything may have changed', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const options = { max_events_per_session: 2 }
  const [here, there] = [await openStore(t, { database, options }), await openStore(t, { database, options })]
  const [one, other] = [await openBus(t, here), await openBus(t, there)]
  await freeze(here.pid)
  for (let count = 0; count < 5; count++) await there.storeEvent({ session_id: 'mcp-bus', data: resource })
  signal(here.pid, 'SIGKILL')
  await eventually(() => one.heard.length >= 5, 'what is left, and that something is gone')
  const kinds = new Set(one.heard.map(({ kind }) => kind))
  assert.deepEqual(kinds, new Set([
    'tools_list_changed', 'prompts_list_changed', 'resources_list_changed', 'resource_updated',
  ]))
  await eventually(() => other.heard.length >= 5, 'the one that was there')
})

test('a topic that is full and does not evict makes room for itself', async (t) => {
  const store = await openStore(t, { options: { max_events_per_session: 150, event_overflow: 'error' } })
  const { bus, heard, errors } = await openBus(t, store)
  for (let count = 0; count < 200; count++) {
    bus.publish(tools)
    if (count % 50 === 49) await eventually(() => heard.length === count + 1, 'all of them')
  }
  assert.deepEqual(errors, [])
})

test('where the store is out of reach those who are here hear of it, and the hook why the others do not', async (t) => {
  const store = await openStore(t, { restart: false })
  const { bus, heard, errors } = await openBus(t, store)
  signal(store.pid, 'SIGKILL')
  await store.ended
  bus.publish(tools)
  await eventually(() => heard.length > 0, 'the change')
  assert.deepEqual(heard, [tools])
  await eventually(() => errors.length > 0, 'the hook')
  assert.equal(errors[0].reason, 'exited')
})

test('a bus that is closed hears nothing more, and lets its process end', async (t) => {
  const store = await openStore(t)
  const { bus, errors } = await openBus(t, store)
  await bus.close()
  assert.equal((await store.getMetrics()).subscriptions, 0)
  bus.publish(tools)
  await eventually(() => errors.length > 0, 'the hook')
  await assert.rejects(bus.open(), /closed/)
})
