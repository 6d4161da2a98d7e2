// Subscriptions as iterators: complete, in order, bounded, and over when they are over.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { eventually, freeze, openStore, signal, temporaryFolder } from './fixture.mjs'

/** The first `count` values of an iterator; it goes on afterwards. */
async function take(iterator, count) {
  const values = []
  while (values.length < count) {
    const { done, value } = await iterator.next()
    if (done) break
    values.push(value)
  }
  return values
}

const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => first + n)
const openSubscriptions = async (store) => (await store.getMetrics()).subscriptions

async function storeEvents(store, first, last) {
  for (let n = first; n <= last; n += 1000) {
    const events = numbers(n, Math.min(last, n + 999)).map((data) => ({ data }))
    await store.storeEvents({ session_id: 's', events })
  }
}

test('first the backlog, then what comes, each once', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  await storeEvents(store, 1, 50)
  const events = store.subscribeEvents({ session_id: 's', after_event_id: 10 })
  const first = take(events, 90)
  await events.opened()
  for (const n of numbers(51, 100)) void store.storeEvent({ session_id: 's', data: n })
  assert.deepEqual((await first).map(({ id }) => id), numbers(11, 100))
  await events.return()
  assert.equal(events.ended, 'closed')
  assert.equal(await openSubscriptions(store), 0)
  assert.deepEqual(await events.next(), { done: true, value: undefined })
})

test('without a cursor it begins with the call, not with the first wait', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  await storeEvents(store, 1, 5)
  const events = store.subscribeEvents({ session_id: 's' })
  await storeEvents(store, 6, 8)
  assert.deepEqual((await take(events, 3)).map(({ data }) => data), [6, 7, 8])
  assert.equal((await events.opened()).newest_id, 5)
})

test('a stream alone', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  for (const data of numbers(1, 20)) {
    await store.storeEvent({ session_id: 's', stream_id: data % 2 ? 'odd' : 'even', data })
  }
  const events = store.subscribeEvents({ session_id: 's', stream_id: 'even', after_event_id: 4 }, { maxQueued: 2 })
  assert.deepEqual((await take(events, 8)).map(({ data }) => data), [6, 8, 10, 12, 14, 16, 18, 20])
})

test('leaving a loop unsubscribes', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  await storeEvents(store, 1, 10)
  for await (const event of store.subscribeEvents({ session_id: 's', after_event_id: 0 })) if (event.id === 3) break
  assert.equal(await openSubscriptions(store), 0)
})

test('a slow consumer gets everything, and little of it waits here', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  await storeEvents(store, 1, 5000)
  const events = store.subscribeEvents({ session_id: 's', after_event_id: 0 }, { maxQueued: 20 })
  // Nobody takes anything: it unsubscribes when it has what may wait.
  await events.opened()
  await eventually(async () => (await openSubscriptions(store)) === 0, 'the pause')
  const seen = []
  for await (const { id } of events) {
    seen.push(id)
    if (id % 500 === 0) await store.storeEvent({ session_id: 's', data: 'meanwhile' })
    if (id === 5010) break
  }
  assert.deepEqual(seen, numbers(1, 5010))
})

test('events of many bytes are bounded by bytes', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  const data = 'x'.repeat(100_000)
  for (const n of numbers(1, 30)) await store.storeEvent({ session_id: 's', data: data + n })
  const events = store.subscribeEvents({ session_id: 's', after_event_id: 0 }, { maxQueuedBytes: 300_000 })
  await events.opened()
  await eventually(async () => (await openSubscriptions(store)) === 0, 'the pause')
  assert.deepEqual((await take(events, 30)).map(({ id }) => id), numbers(1, 30))
})

test('what was evicted is told in its place', async (t) => {
  const store = await openStore(t, { options: { max_events_per_session: 10 } })
  await store.createSession({ session_id: 's' })
  await storeEvents(store, 1, 25)
  const told = []
  const events = store.subscribeEvents(
    { session_id: 's', after_event_id: 5 },
    { onGap: (gap) => told.push(gap), maxQueued: 3 },
  )
  assert.deepEqual((await take(events, 10)).map(({ id }) => id), numbers(16, 25))
  assert.deepEqual(told, [{ dropped: 10, oldest_available: 16, cursor_ahead: false }])
})

test('what was evicted before a slow consumer came to it is told too', async (t) => {
  const store = await openStore(t, { options: { max_events_per_session: 10 } })
  await store.createSession({ session_id: 's' })
  const seen = []
  const events = store.subscribeEvents(
    { session_id: 's', after_event_id: 0 },
    { onGap: ({ dropped }) => seen.push(`${dropped} gone`), maxQueued: 4 },
  )
  await events.opened()
  await storeEvents(store, 1, 4)
  await eventually(async () => (await openSubscriptions(store)) === 0, 'the pause')
  await storeEvents(store, 5, 30)
  for await (const { id } of events) {
    seen.push(id)
    if (id === 30) break
  }
  assert.deepEqual(seen, [1, 2, 3, 4, '16 gone', ...numbers(21, 30)])
})

test('a reader that the sidecar outran is told by lagged', async (t) => {
  const store = await openStore(t, { options: { max_events_per_session: 10 } })
  await store.createSession({ session_id: 's' })
  const seen = []
  const events = store.subscribeEvents({ session_id: 's' }, { onGap: ({ dropped }) => seen.push(`${dropped} gone`) })
  await events.opened()
  // One group of writes, so that eviction passes the subscription before it is served.
  await store.transaction({
    calls: numbers(1, 40).map((data) => ({ method: 'store_event', params: { session_id: 's', data } })),
  })
  for await (const { id } of events) {
    seen.push(id)
    if (id === 40) break
  }
  assert.deepEqual(seen, ['30 gone', ...numbers(31, 40)])
})

test('without a callback the log hears of what is gone', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  const events = store.subscribeEvents({ session_id: 's', after_event_id: 7 })
  await events.opened()
  void store.storeEvent({ session_id: 's', data: 1 })
  assert.deepEqual((await take(events, 1)).map(({ id }) => id), [1])
  assert.match(store.remarks[0], /newer than the newest event/)
})

test('what a callback throws or rejects with is logged, and changes nothing', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  for (const onGap of [() => { throw new Error('on purpose') }, () => Promise.reject(new Error('on purpose'))]) {
    const events = store.subscribeEvents({ session_id: 's', after_event_id: 7000 }, { onGap })
    await events.opened()
    const { id } = await store.storeEvent({ session_id: 's', data: 1 })
    assert.equal((await events.next()).value.id, id)
  }
  await eventually(() => store.remarks.length === 2, 'the remarks')
  for (const remark of store.remarks) assert.match(remark, /^onGap threw: Error: on purpose/)
})

test('the end of a session ends its subscriptions, after what was told before', async (t) => {
  const store = await openStore(t)
  for (const [method, reason] of [
    ['deleteSession', 'deleted'],
    ['expireSession', 'expired'],
    ['invalidateSession', 'invalidated'],
  ]) {
    await store.createSession({ session_id: reason })
    await store.storeEvent({ session_id: reason, data: 1 })
    const events = store.subscribeEvents({ session_id: reason, after_event_id: 0 })
    await events.opened()
    await store[method]({ session_id: reason })
    assert.equal((await take(events, 9)).length, 1)
    assert.equal(events.ended, reason)
  }
})

test('a session that ends while its slow reader is not subscribed', async (t) => {
  const store = await openStore(t)
  for (const [method, reason] of [['deleteSession', 'deleted'], ['invalidateSession', 'invalidated']]) {
    await store.createSession({ session_id: reason })
    for (const data of numbers(1, 3)) await store.storeEvent({ session_id: reason, data })
    const events = store.subscribeEvents({ session_id: reason, after_event_id: 0 }, { maxQueued: 2 })
    await events.opened()
    await eventually(async () => (await openSubscriptions(store)) === 0, 'the pause')
    await store[method]({ session_id: reason })
    assert.deepEqual((await take(events, 9)).map(({ id }) => id), [1, 2])
    assert.equal(events.ended, reason)
  }
})

test('subscribing to what is not there is an error where it is waited for', async (t) => {
  const store = await openStore(t)
  const events = store.subscribeEvents({ session_id: 'none' })
  await assert.rejects(events.opened(), { kind: 'session_not_found' })
  await assert.rejects(events.next(), { kind: 'session_not_found' })
  assert.deepEqual(await events.next(), { done: true, value: undefined })
  const lost = store.subscribeEvents({ session_id: 's', principal: undefined })
  await assert.rejects(lost.next(), TypeError)
})

test('an AbortSignal ends a subscription', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  const controller = new AbortController()
  const events = store.subscribeEvents({ session_id: 's' }, { signal: controller.signal })
  await events.opened()
  const waiting = events.next()
  controller.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
  assert.equal(await openSubscriptions(store), 0)
  const late = store.subscribeEvents({ session_id: 's' }, { signal: controller.signal })
  await assert.rejects(late.next(), { name: 'AbortError' })
  assert.equal(await openSubscriptions(store), 0)
})

test('a subscription that is over before it was opened leaves nothing behind', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  await freeze(store.pid)
  const events = store.subscribeEvents({ session_id: 's' })
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  await events.return()
  signal(store.pid, 'SIGCONT')
  await eventually(async () => (await openSubscriptions(store)) === 0, 'the end of the subscription')
})

test('closing the store ends its subscriptions', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  const events = store.subscribeEvents({ session_id: 's' })
  await events.opened()
  const waiting = events.next()
  await store.close()
  assert.deepEqual(await waiting, { done: true, value: undefined })
  assert.equal(events.ended, 'closed')
})

// --- Tasks

test('a task is told as it is now, and then each change', async (t) => {
  const store = await openStore(t)
  const { task_id } = await store.createTask()
  const states = store.subscribeTasks({ task_id })
  assert.equal((await states.next()).value.task.status, 'working')
  for (const status_message of ['half', 'all']) {
    await store.touchTask({ task_id, status_message })
    assert.equal((await states.next()).value.task.status_message, status_message)
  }
  await store.completeTask({ task_id, result: { answer: 42 } })
  const { value: { task } } = await states.next()
  assert.deepEqual([task.status, task.result], ['completed', { success: { answer: 42 } }])
  await store.deleteTask({ task_id })
  assert.deepEqual(await states.next(), { done: true, value: undefined })
  assert.equal(states.ended, 'deleted')
})

test('a slow reader of tasks gets the newest state of each, and nothing is lost of the end', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  const ends = []
  const states = store.subscribeTasks({ session_id: 's' }, { onTaskEnded: (end) => ends.push(end) })
  await states.opened()
  for (const task_id of ['a', 'b', 'c']) await store.createTask({ task_id, session_id: 's' })
  for (const n of numbers(1, 100)) await store.touchTask({ task_id: 'b', status_message: `${n}` })
  await store.completeTask({ task_id: 'a', result: 1 })
  await store.deleteTask({ task_id: 'a' })
  await store.sessionCount()
  const seen = await take(states, 4)
  assert.deepEqual(seen.map(({ task_id, ended }) => [task_id, ended]),
    [['a', null], ['a', 'deleted'], ['b', null], ['c', null]])
  assert.deepEqual([seen[0].task.status, seen[1].task, seen[2].task.status_message], ['completed', null, '100'])
  void store.touchTask({ task_id: 'c', status_message: 'more' })
  assert.equal((await states.next()).value.task.status_message, 'more')
  assert.deepEqual(ends, [{ task_id: 'a', reason: 'deleted' }])
  assert.equal(states.ended, null, 'the end of one task is not the end of the subscription')
})

test('a reader that does not read costs a bounded number of bytes, and misses no task', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  const meta = 'x'.repeat(100_000)
  for (const n of numbers(1, 30)) await store.createTask({ task_id: `t-${n}`, session_id: 's', meta })
  const states = store.subscribeTasks({ session_id: 's' }, { maxQueuedBytes: 300_000 })
  await states.opened()
  for (const n of numbers(1, 30)) await store.touchTask({ task_id: `t-${n}`, status_message: 'newest' })
  await store.deleteTask({ task_id: 't-30' })
  await store.deleteTask({ task_id: 't-29' })
  await store.createTask({ task_id: 't-29', session_id: 's', status_message: 'anew' })
  await store.sessionCount()
  // What was told of the first ones is kept; the others are read when their turn comes, as they are then.
  await store.touchTask({ task_id: 't-28', status_message: 'later' })
  const seen = await take(states, 30)
  assert.deepEqual(seen.map(({ task_id }) => task_id).sort(), numbers(1, 30).map((n) => `t-${n}`).sort())
  const messages = new Map(seen.map(({ task_id, task, ended }) => [task_id, task?.status_message ?? ended]))
  assert.deepEqual([messages.get('t-1'), messages.get('t-28'), messages.get('t-30')], ['newest', 'later', 'deleted'])
  await states.return()
  assert.equal(await openSubscriptions(store), 0)
})

test('who waits for a task that is being read when the store closes gets the end', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  for (const task_id of ['a', 'b']) await store.createTask({ task_id, session_id: 's' })
  const states = store.subscribeTasks({ session_id: 's' }, { maxQueued: 1 })
  await states.opened()
  assert.equal((await states.next()).value.task_id, 'a')
  await freeze(store.pid)
  const waiting = states.next()
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  await store.close({ patience: 1 })
  assert.deepEqual(await waiting, { done: true, value: undefined })
  assert.equal(states.ended, 'closed')
})

test('subscribing that runs out of time, or is aborted, leaves no subscription behind', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  await freeze(store.pid)
  const controller = new AbortController()
  const late = store.subscribeEvents({ session_id: 's' }, { timeout: 20 })
  const aborted = store.subscribeEvents({ session_id: 's' }, { signal: controller.signal })
  const waiting = aborted.opened()
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  controller.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
  await assert.rejects(late.opened(), { name: 'CallTimeout' })
  await assert.rejects(late.next(), { name: 'CallTimeout' })
  signal(store.pid, 'SIGCONT')
  await eventually(async () => (await openSubscriptions(store)) === 0, 'the end of both')
})

test('leaving a loop by an error, or from another turn, unsubscribes, and whoever waits gets the end', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  await storeEvents(store, 1, 3)
  await assert.rejects(async () => {
    for await (const event of store.subscribeEvents({ session_id: 's', after_event_id: 0 })) throw new Error(event.id)
  }, /1/)
  const events = store.subscribeEvents({ session_id: 's' })
  await events.opened()
  const waiting = [events.next(), events.next()]
  await events.return()
  for (const next of await Promise.all(waiting)) assert.deepEqual(next, { done: true, value: undefined })
  assert.equal(await openSubscriptions(store), 0)
})

test('what is missed is summed up', async (t) => {
  const store = await openStore(t, { options: { max_events_per_session: 10 } })
  await store.createSession({ session_id: 's' })
  await storeEvents(store, 1, 25)
  const events = store.subscribeEvents({ session_id: 's', after_event_id: 5 }, { onGap: () => {} })
  assert.equal((await events.next()).value.id, 16)
  assert.equal(events.lost, 10)
})

test('frames and signs of life come over a killed process', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database, restart: { delay: 10 } })
  await store.createSession({ session_id: 's', status: 'active', principal: 'alice' })
  await store.storeEvent({ session_id: 's', data: { n: 1 } })
  const [beats, greetings] = [[], []]
  const frames = store.subscribeEvents(
    { session_id: 's', after_event_id: 0, format: 'sse', heartbeat: 20, init: true },
    { onHeartbeat: (time) => beats.push(time), onInit: (greeting) => greetings.push(greeting) },
  )
  let seen = ''
  const read = async (isEnough) => {
    while (!isEnough()) seen += (await frames.next()).value
  }
  await read(() => beats.length >= 3 && seen.includes(': keepalive\n\n'))
  assert.match(seen, /^event: init\ndata: \{.*\}\n\nid: 1\nevent: message\ndata: \{"n":1\}\n\n/)
  signal((await store.serverInfo()).pid, 'SIGKILL')
  const told = beats.length
  await read(() => greetings.length === 2 && beats.length >= told + 2)
  assert.deepEqual(greetings.map(({ principal }) => principal), ['alice', 'alice'])
  await store.deleteSession({ session_id: 's' })
  for await (const frame of frames) seen += frame
  assert.match(seen, /event: ended\ndata: \{"reason":"deleted"\}\n\n$/)
  assert.equal(seen.split('id: 1\n').length, 2)
})
