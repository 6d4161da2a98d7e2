// Calls that wait: timeouts, AbortSignals, and how much may be under way. The sidecar is stopped for that, so that
// nothing depends on who is faster.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AbortError, CallTimeout, Overloaded } from '../../../protocol/clients/node/index.mjs'
import { CallQueue } from '../../../protocol/clients/node/calls.mjs'
import { LineSplitter, takeInPieces } from '../../../protocol/clients/node/child.mjs'
import { isBusy } from '../../../protocol/clients/node/event-loop.mjs'
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

// --- Room, however a call ends

const request = (method, length) => [method, { fill: 'x'.repeat(length) }]

/** A pipe that takes everything and reads it. */
function pipe(written) {
  return { write: (text) => (written.push(...text.trim().split('\n').map((line) => JSON.parse(line))), true) }
}

/** A queue over a pipe that takes everything: what was written, and how each call ended, in order. */
function openQueue(limits) {
  const written = []
  const ends = []
  const queue = new CallQueue({ bytes: 1000, waitingBytes: 4000, hasNext: () => false, ...limits }, () => {})
  queue.attach(pipe(written), 5000)
  const add = ([method, params], options = {}) => {
    const end = (how) => ends.push(`${method} ${how}`)
    const callbacks = { resolve: () => end('answered'), reject: ({ name }) => end(name) }
    queue.add(method, params, callbacks, { timeout: null, retry: null, ...options })
  }
  return { queue, written, ends, add }
}

test('bytes are given back however a call ends, and the next one is let in', async (t) => {
  const holder = setInterval(() => {}, 1000)
  t.after(() => clearInterval(holder))
  const { queue, written, ends, add } = openQueue()
  add(request('first', 900))
  await turn()
  const controller = new AbortController()
  add(request('aborted', 300), { signal: controller.signal })
  add(request('late', 300), { timeout: 5 })
  add(request('refused', 300))
  add(request('next', 300))
  add(request('too long', 6000))
  await turn()
  assert.deepEqual(written.map(({ method }) => method), ['first'])
  controller.abort()
  while (!ends.includes('late CallTimeout')) await new Promise((resolve) => setTimeout(resolve, 1))
  queue.answer({ id: written[0].id, result: {} })
  await turn()
  assert.deepEqual(written.map(({ method }) => method), ['first', 'refused', 'next'])
  queue.answer({ id: written[1].id, error: { code: 1, message: 'no', data: { kind: 'x' } } })
  queue.answerUnreadable(written[2].id, 'it is odd')
  // Which of the two came first is for the machine to say.
  assert.deepEqual(ends.splice(1, 2).sort(), ['aborted AbortError', 'late CallTimeout'])
  assert.deepEqual(ends, ['too long RequestTooLarge', 'first answered', 'refused RequestError', 'next AnswerError'])
  assert.deepEqual(queue.bytes, { inFlight: 0, waiting: 0 })
  assert.equal(queue.unsettled, 0)
})

test('who is too long for the line is told when the process says how long one may be', async () => {
  const ends = []
  const queue = new CallQueue({ bytes: 1000, waitingBytes: 4000, hasNext: () => false }, () => {})
  const add = (length) => {
    const callbacks = { resolve: () => {}, reject: ({ name, size, limit }) => ends.push([name, size > limit]) }
    queue.add(...request('early', length), callbacks, { timeout: null, retry: null })
  }
  add(300)
  add(10)
  const written = []
  queue.attach({ write: (text) => (written.push(text), true) }, 200)
  await turn()
  assert.deepEqual(ends, [['RequestTooLarge', true]])
  assert.equal(written.join('').trim().split('\n').length, 1)
})

test('what waits only for the end of the turn is no overload, and beyond the bound the newest is refused', async () => {
  const { queue, ends, add } = openQueue({ bytes: 1000, waitingBytes: 1000 })
  for (let n = 0; n < 12; n++) add(request(`call-${n}`, 300))
  // Two are in flight, and two wait beside them.
  assert.deepEqual(ends, Array.from({ length: 8 }, (_, n) => `call-${n + 4} Overloaded`))
  assert.ok(queue.bytes.waiting <= 1000 && queue.bytes.inFlight <= 1000)
  // One call alone always finds room.
  const other = openQueue({ bytes: 10, waitingBytes: 10 })
  other.add(request('large', 3000))
  await turn()
  other.add(request('larger', 4000))
  assert.deepEqual(other.ends, [])
})

// --- What the store refuses for now

const busy = { code: 1401, message: 'busy', data: { kind: 'database_busy', retryable: true, outcome: 'not_applied' } }

test('a call that is refused for now is made again, a bounded number of times and before its deadline', async (t) => {
  const holder = setInterval(() => {}, 1000)
  t.after(() => clearInterval(holder))
  const { queue, written, ends, add } = openQueue()
  const answerAll = async (message) => {
    for (let seen = 0, idle = 0; idle < 30; idle++) {
      await new Promise((resolve) => setTimeout(resolve, 1))
      for (; seen < written.length; seen++, idle = 0) queue.answer({ id: written[seen].id, ...message })
    }
  }
  const retry = { attempts: 3, delay: 1, maxDelay: 4 }
  add(request('busy', 10), { retry })
  await answerAll({ error: busy })
  assert.equal(written.length, 4)
  assert.deepEqual(ends.splice(0), ['busy RequestError'])
  written.length = 0
  for (const [method, options, data] of [
    ['switched off', { retry: null }, busy.data],
    ['for good', { retry }, { ...busy.data, retryable: false }],
    ['unknown', { retry }, { ...busy.data, outcome: 'unknown' }],
    ['no time', { retry: { attempts: 3, delay: 1e6, maxDelay: 1e6 }, timeout: 50 }, busy.data],
  ]) {
    add(request(method, 10), options)
    await answerAll({ error: { ...busy, data } })
    assert.equal(written.length, 1, method)
    assert.deepEqual(ends.splice(0), [`${method} RequestError`])
    written.length = 0
  }
  assert.deepEqual(queue.bytes, { inFlight: 0, waiting: 0 })
})

test('what rests before it is repeated can be aborted, counts as waiting, and goes to the next process', async (t) => {
  const { queue, written, ends, add } = openQueue()
  const retry = { attempts: 3, delay: 1e6, maxDelay: 1e6 }
  const controller = new AbortController()
  for (const [method, options] of [['aborted', { signal: controller.signal }], ['lost', {}]]) {
    add(request(method, 10), { retry, ...options })
  }
  await turn()
  for (const { id } of written) queue.answer({ id, error: busy })
  const { waiting, inFlight } = queue.bytes
  assert.ok(waiting > 100 && inFlight === 0)
  controller.abort()
  assert.deepEqual(ends, ['aborted AbortError'])
  queue.detach(true, () => assert.fail('it has lost nothing'))
  assert.equal(queue.bytes.waiting, waiting / 2 - 1.5)
  queue.detach(false, (method, outcome) => Object.assign(new Error(), { name: `${method} ${outcome}` }))
  assert.deepEqual(ends.slice(1), ['lost lost not_applied'])
  assert.deepEqual(queue.bytes, { inFlight: 0, waiting: 0 })
})

test('what a process refuses that shuts down is for the next one, in its order', async () => {
  const { queue, written, ends, add } = openQueue({ hasNext: () => true })
  for (const method of ['a', 'b', 'c']) add(request(method, 10))
  await turn()
  const data = { kind: 'shutting_down', retryable: false, outcome: 'not_applied' }
  const late = { code: 1501, message: 'late', data }
  for (const { id } of written.splice(0)) queue.answer({ id, error: late })
  add(request('d', 10))
  await turn()
  assert.deepEqual([written, ends], [[], []], 'this process takes nothing more')
  queue.detach(true, () => assert.fail('nothing is lost'))
  queue.attach(pipe(written))
  await turn()
  assert.deepEqual(written.map(({ method }) => method), ['a', 'b', 'c', 'd'])
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

/** What happens when forty answers come at once, each of which leads to something after two turns of promises. */
async function fortyAnswers(isLoopBusy) {
  const told = []
  const lines = Array.from({ length: 40 }, (_, number) => [String(number), number]).flat()
  const take = (text, bytes) => {
    assert.equal(text, String(bytes))
    told.push(text)
    void Promise.resolve().then(() => {}).then(() => told.push(`behind ${text}`))
  }
  setImmediate(() => told.push('turn'))
  takeInPieces(lines, take, () => told.push('pause'), () => isLoopBusy)
  await turn()
  return told
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, number) => String(from + number))
const whole = (from, to) => [...numbers(from, to), ...numbers(from, to).map((number) => `behind ${number}`)]

test('of many answers the first ones have led to what they lead to when the next are taken', async () => {
  const expected = [...whole(0, 16), 'pause', ...whole(16, 32), 'pause', ...whole(32, 40), 'turn']
  assert.deepEqual(await fortyAnswers(true), expected)
})

test('where the event loop waits for the disk many answers are taken together', async () => {
  assert.deepEqual(await fortyAnswers(false), [...whole(0, 40), 'turn'])
})

test('what the first of many answers lead to is written before the last is taken', async () => {
  const { queue, written, add } = openQueue({ bytes: 1e6, waitingBytes: 1e6 })
  for (let number = 0; number < 20; number++) add(request('first', 1))
  await turn()
  const answers = written.splice(0).flatMap(({ id }) => [id, 0])
  const seen = []
  const take = (id) => {
    seen.push(written.length)
    queue.answer({ id, result: null }, 0)
    void Promise.resolve().then(() => add(request('second', 1)))
  }
  takeInPieces(answers, take, () => queue.flush(), () => true)
  await turn()
  assert.deepEqual(seen, [...Array(16).fill(0), ...Array(4).fill(16)])
  assert.equal(written.length, 20)
})

test('an event loop is busy that has worked, and not one that has waited', async () => {
  isBusy()
  for (const begun = performance.now(); performance.now() - begun < 250; ) /* it works */ ;
  assert.equal(isBusy(), true)
  do await new Promise((resolve) => setTimeout(resolve, 300))
  while (isBusy())
})
