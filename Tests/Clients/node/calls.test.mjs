// Calls that wait: timeouts, AbortSignals, and how much may be under way. The sidecar is stopped for that, so that
// nothing depends on who is faster.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AbortError, CallTimeout, Overloaded } from '../../../protocol/clients/node/index.mjs'
import { CallQueue } from '../../../protocol/clients/node/calls.mjs'
import { LineSplitter } from '../../../protocol/clients/node/child.mjs'
import { freeze, openStore, signal } from './fixture.mjs'

/** A turn of the event loop, in which what was called is written. */
const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

test('a call that is not answered in time says whether it may have been done', async (t) => {
  const store = await openStore(t)
  await freeze(store.pid)
  const write = await store.createSession({ session_id: 's' }, { timeout: 20 }).catch((error) => error)
  assert.ok(write instanceof CallTimeout)
  assert.equal(write.outcome, 'unknown')
  assert.equal(write.method, 'create_session')
  const read = await store.sessionCount({}, { timeout: 20 }).catch((error) => error)
  assert.equal(read.outcome, 'not_applied')
  signal(store.pid, 'SIGCONT')
  // The answers that come yet are dropped, and the write was done.
  assert.equal((await store.sessionCount()).count, 1)
  assert.deepEqual(store.remarks, [])
})

test('each call keeps to its own timeout, whichever was made first', async (t) => {
  const queue = new CallQueue({ bytes: 1e6, waitingBytes: 1e6, hasNext: () => false }, () => {})
  // The queue leaves it to the process to keep the event loop alive, and here is none.
  const holder = setInterval(() => {}, 1000)
  t.after(() => clearInterval(holder))
  const failed = []
  const call = (method, timeout) =>
    new Promise((resolve, reject) => queue.add(method, {}, { resolve, reject }, { timeout }))
      .catch((error) => failed.push(`${error.name} ${error.method}`))
  void call('without', null)
  void call('longer than a timer can', 2 ** 40)
  void call('in an hour', 3_600_000)
  await call('soon', 20)
  await Promise.all([call('then', 20), call('at last', 40)])
  assert.deepEqual(failed.sort(), ['CallTimeout at last', 'CallTimeout soon', 'CallTimeout then'])
  assert.equal(queue.unsettled, 3)
  queue.detach(false, () => new Error('the end'))
})

test('the default timeout holds for every call but jobs', async (t) => {
  const store = await openStore(t, { timeout: 20 })
  await freeze(store.pid)
  const check = store.checkIntegrity()
  await assert.rejects(store.health(), CallTimeout)
  signal(store.pid, 'SIGCONT')
  assert.equal((await check).ok, true)
})

test('a call that was aborted before it was written is never sent', async (t) => {
  const store = await openStore(t, { maxInFlight: 1 })
  const controller = new AbortController()
  const call = store.createSession({ session_id: 's' }, { signal: controller.signal })
  controller.abort(new Error('the client went away'))
  const error = await call.catch((error) => error)
  assert.ok(error instanceof AbortError)
  assert.equal(error.code, 'ABORT_ERR')
  assert.equal(error.cause.message, 'the client went away')
  assert.equal(error.outcome, 'not_applied')
  await assert.rejects(store.createSession({}, { signal: controller.signal }), { outcome: 'not_applied' })
  assert.equal((await store.sessionCount()).count, 0)
})

test('a call that was aborted after it was written may have been done', async (t) => {
  const store = await openStore(t)
  await freeze(store.pid)
  const controller = new AbortController()
  const call = store.createSession({ session_id: 's' }, { signal: controller.signal })
  const other = store.createSession({ session_id: 'other' })
  await turn()
  controller.abort()
  await assert.rejects(call, { name: 'AbortError', outcome: 'unknown' })
  signal(store.pid, 'SIGCONT')
  assert.equal((await other).session_id, 'other', 'answers still find their calls')
  assert.equal((await store.sessionCount()).count, 2)
})

test('a signal keeps no listener of a call that is over', async (t) => {
  const store = await openStore(t)
  const { signal } = new AbortController()
  const { getEventListeners } = await import('node:events')
  for (let n = 0; n < 20; n++) await store.sessionCount({}, { signal })
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  // Many at once are no leak either, and are not warned of.
  const warnings = []
  const listener = (warning) => warnings.push(warning.message)
  process.on('warning', listener)
  t.after(() => process.off('warning', listener))
  await Promise.all(Array.from({ length: 50 }, () => store.sessionCount({}, { signal })))
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(warnings, [])
})

test('what is in flight is bounded, and what waits goes in its order', async (t) => {
  const store = await openStore(t, { maxInFlight: 400 })
  await store.createSession({ session_id: 's' })
  const answered = []
  const calls = Array.from({ length: 300 }, (_, n) =>
    store.storeEvent({ session_id: 's', data: n }).then(({ id }) => answered.push([n, id])),
  )
  await Promise.all(calls)
  assert.deepEqual(answered, Array.from({ length: 300 }, (_, n) => [n, n + 1]))
})

test('a request larger than all that may be in flight goes alone', async (t) => {
  const store = await openStore(t, { maxInFlight: 100 })
  await store.createSession({ session_id: 's' })
  const sizes = [10, 100_000, 10, 100_000]
  const events = await Promise.all(sizes.map((size) => store.storeEvent({ session_id: 's', data: 'x'.repeat(size) })))
  assert.deepEqual(events.map(({ id }) => id), [1, 2, 3, 4])
})

test('while the sidecar stands still, memory stays bounded: more calls than may wait are refused', async (t) => {
  const bounds = { maxInFlight: 64 << 10, maxWaiting: 256 << 10 }
  const store = await openStore(t, bounds)
  await store.createSession({ session_id: 's' })
  await freeze(store.pid)
  const data = 'x'.repeat(10_000)
  const calls = []
  for (let n = 0; n < 100; n++) {
    calls.push(store.storeEvent({ session_id: 's', data }))
    if (n === 0) await turn()
  }
  const refused = calls.slice(-1)[0].catch((error) => error)
  assert.ok((await refused) instanceof Overloaded)
  assert.equal((await refused).outcome, 'not_applied')
  assert.equal((await refused).retryable, true)
  signal(store.pid, 'SIGCONT')
  const settled = await Promise.allSettled(calls)
  const done = settled.filter(({ status }) => status === 'fulfilled').length
  assert.ok(done > 20 && done < 100, `${done} of 100 calls`)
  assert.equal((await store.eventCount({ session_id: 's' })).count, done, 'what was refused was not done')
})

test('a full pipe is waited for, and nothing more is written meanwhile', async () => {
  const written = []
  let hasRoom = false
  const child = { write: (text) => (written.push(text), hasRoom) }
  const queue = new CallQueue({ bytes: 1e6, waitingBytes: 1e6, hasNext: () => false }, () => {})
  queue.attach(child)
  const callbacks = { resolve() {}, reject() {} }
  queue.add('a', {}, callbacks)
  queue.add('b', {}, callbacks)
  await turn()
  assert.equal(written.length, 1, 'one write for both')
  assert.equal(written[0].split('\n').length - 1, 2)
  queue.add('c', {}, callbacks)
  await turn()
  assert.equal(written.length, 1)
  hasRoom = true
  queue.drained()
  await turn()
  assert.match(written[1], /"method":"c"/)
})

test('lines are cut at newlines alone, wherever the chunks end', () => {
  const text = '{"a":"é🎈\u2028\u2029\u0085\\n"}\n\n{"b":"\r"}\n'
  const bytes = Buffer.from(text + 'rest')
  for (let size = 1; size <= bytes.length; size++) {
    const splitter = new LineSplitter()
    const lines = []
    for (let start = 0; start < bytes.length; start += size) {
      splitter.push(bytes.subarray(start, start + size), (line, length) => {
        assert.equal(length, Buffer.byteLength(line))
        lines.push(line)
      })
    }
    assert.deepEqual(lines, text.split('\n').slice(0, -1))
    assert.equal(splitter.pendingBytes, 4)
  }
})
