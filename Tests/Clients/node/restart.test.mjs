// Processes that die under a store that starts them again.

import assert from 'node:assert/strict'
import { readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ChildError } from '../../../protocol/clients/node/index.mjs'
import {
  binary,
  endOf,
  eventually,
  freeze,
  openStore,
  program,
  signal,
  temporaryFolder,
} from './fixture.mjs'

const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => first + n)

/** A store in a file that is started again as often as it takes. */
function openDurable(t, options = {}) {
  const database = join(temporaryFolder(t), 'sessions.db')
  return openStore(t, { database, restart: { attempts: 1000, delay: 1 }, ...options })
}

/** Kills the process and waits until that is known. */
async function kill(store) {
  const { pid } = store
  signal(pid, 'SIGKILL')
  await eventually(() => store.pid !== pid, 'the notice of the death')
}

test('the next call finds another process, and everything that was answered', async (t) => {
  const store = await openDurable(t)
  const { pid } = store
  const made = await store.createSession()
  await kill(store)
  assert.deepEqual(await store.getSession({ session_id: made.session_id }), made)
  assert.notEqual(store.pid, pid)
  assert.equal(store.info.pid, store.pid)
  assert.match(store.remarks[0], /SIGKILL.*Starting it again/)
})

test('what was never written and what may be repeated goes to the next process; the rest fails', async (t) => {
  const store = await openDurable(t, { maxInFlight: 300 })
  await store.createSession({ session_id: 's' })
  await freeze(store.pid)
  const writes = [store.createSession({ session_id: 'a' }), store.createSession({ session_id: 'b' })]
  const reads = [store.sessionCount(), store.getSession({ session_id: 's' })]
  const waiting = numbers(1, 3).map((data) => store.storeEvent({ session_id: 's', data }))
  const outcomes = Promise.allSettled(writes)
  await turn()
  signal(store.pid, 'SIGKILL')
  for (const { reason } of await outcomes) {
    assert.ok(reason instanceof ChildError)
    assert.equal(reason.outcome, 'unknown')
    assert.equal(reason.method, 'create_session')
  }
  const count = (await reads[0]).count
  assert.ok(count >= 1 && count <= 3)
  assert.equal((await reads[1]).session_id, 's')
  assert.deepEqual((await Promise.all(waiting)).map(({ id }) => id), [1, 2, 3], 'once, and in their order')
})

test('the caller may say that a write is safe to repeat', async (t) => {
  const store = await openDurable(t)
  await freeze(store.pid)
  const put = store.putValue({ collection: 'c', key: 'k', value: 1 }, { repeatable: true })
  await turn()
  signal(store.pid, 'SIGKILL')
  assert.equal((await put).stored, true)
  assert.equal((await store.getValue({ collection: 'c', key: 'k' })).value, 1)
})

test('subscriptions go on behind the last event, through one death after another', async (t) => {
  const store = await openDurable(t)
  await store.createSession({ session_id: 's' })
  const events = store.subscribeEvents({ session_id: 's' }, { maxQueued: 7 })
  await events.opened()
  const writing = (async () => {
    for (let n = 1; n <= 300; ) {
      try {
        n = (await store.storeEvent({ session_id: 's', data: 'x' })).id + 1
      } catch (error) {
        assert.ok(error instanceof ChildError, error)
      }
      if (n % 40 === 0) await kill(store)
    }
  })()
  const seen = []
  for await (const { id } of events) {
    seen.push(id)
    if (id >= 300) break
  }
  await writing
  assert.deepEqual(seen, numbers(1, seen.length))
})

test('a subscription that has told nothing yet misses nothing either', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database, restart: { delay: 400 } })
  const other = await openStore(t, { database })
  await other.createSession({ session_id: 's' })
  await other.storeEvent({ session_id: 's', data: 'before' })
  const told = []
  const onGap = (gap) => told.push(gap)
  const subscriptions = [{}, { after_event_id: 99 }].map((from) => {
    return store.subscribeEvents({ session_id: 's', ...from }, { onGap })
  })
  await Promise.all(subscriptions.map((events) => events.opened()))
  await kill(store)
  await other.storeEvent({ session_id: 's', data: 'while nobody was there' })
  for (const events of subscriptions) assert.equal((await events.next()).value.id, 2)
  assert.deepEqual(told.map(({ cursor_ahead }) => cursor_ahead), [true], 'told once, and not again after the restart')
})

test('a task subscription tells after a death what changed, and nothing twice', async (t) => {
  const store = await openDurable(t)
  await store.createSession({ session_id: 's' })
  for (const task_id of ['a', 'b']) await store.createTask({ task_id, session_id: 's' })
  const states = store.subscribeTasks({ session_id: 's' })
  for (const task_id of ['a', 'b']) assert.equal((await states.next()).value.task.task_id, task_id)
  await kill(store)
  await store.sessionCount()
  await store.completeTask({ task_id: 'b', result: null })
  const { value } = await states.next()
  assert.deepEqual([value.task_id, value.task.status, value.ended], ['b', 'completed', null])
})

test('tasks that are deleted or over while no process is there are told', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database, restart: { delay: 700, maxDelay: 700 } })
  const other = await openStore(t, { database })
  await other.createSession({ session_id: 's' })
  const tasks = { deleted: {}, expired: { ttl: 300 }, stays: {} }
  for (const [task_id, options] of Object.entries(tasks)) {
    await other.createTask({ task_id, session_id: 's', ...options })
  }
  const all = store.subscribeTasks({ session_id: 's' })
  for (let n = 0; n < 3; n++) await all.next()
  const single = store.subscribeTasks({ task_id: 'deleted' })
  assert.equal((await single.next()).value.task.task_id, 'deleted')
  await kill(store)
  await other.deleteTask({ task_id: 'deleted' })
  await eventually(async () => (await other.getTask({ task_id: 'expired' })) === null, 'the end of the task')
  const ended = [(await all.next()).value, (await all.next()).value].map(({ task_id, task, ended }) => {
    assert.equal(task, null)
    return [task_id, ended]
  })
  assert.deepEqual(Object.fromEntries(ended), { deleted: 'deleted', expired: 'expired' })
  assert.deepEqual(await single.next(), { done: true, value: undefined })
  assert.equal(single.ended, 'deleted')
  await store.touchTask({ task_id: 'stays', status_message: 'still here' })
  assert.equal((await all.next()).value.task.status_message, 'still here')
})

test('a subscription outlives starts that fail', async (t) => {
  const bad = join(temporaryFolder(t), 'bad')
  const path = program(t, '')
  writeFileSync(path, `#!/bin/sh\n[ -e '${bad}' ] && { echo x >> '${bad}'; exit 3; }\nexec '${binary}' "$@"\n`)
  const store = await openDurable(t, { binary: path, restart: { attempts: 1000, delay: 0, maxDelay: 5 } })
  await store.createSession({ session_id: 's' })
  const events = store.subscribeEvents({ session_id: 's' })
  await events.opened()
  writeFileSync(bad, '')
  signal(store.pid, 'SIGKILL')
  await eventually(() => readFileSync(bad, 'utf8').length > 4, 'some starts that fail')
  unlinkSync(bad)
  await store.storeEvent({ session_id: 's', data: 'at last' })
  assert.equal((await events.next()).value.data, 'at last')
})

test('a read that kills each process fails alone, and so does its subscription', async (t) => {
  const hello = { jsonrpc: '2.0', id: 'handshake', result: { protocol_version: '1.0', limits: {} } }
  const path = program(t, `
    lines.on('line', (line) => {
      const { id, method } = JSON.parse(line)
      if (method === 'initialize') say(${JSON.stringify(hello)})
      else if (method === 'get_value' || method === 'subscribe_events') process.exit(70)
      else say({ jsonrpc: '2.0', id, result: { count: 7 } })
    })`)
  const store = await openStore(t, { binary: path, restart: { attempts: 1000, delay: 1, maxDelay: 1 } })
  const poison = [store.getValue({ collection: 'c', key: 'k' }), store.subscribeEvents({ session_id: 's' }).opened()]
  const failures = poison.map((each) => each.then(assert.fail, ({ reason, exitCode }) => [reason, exitCode]))
  const others = Array.from({ length: 20 }, () => store.sessionCount())
  for (const { count } of await Promise.all(others)) assert.equal(count, 7)
  assert.deepEqual(await Promise.all(failures), [['exited', 70], ['exited', 70]])
  assert.equal((await store.sessionCount()).count, 7)
})

test('a session that is gone with the process ends its subscriptions', async (t) => {
  // In memory everything is lost with the process.
  const store = await openStore(t, { restart: { delay: 1 } })
  await store.createSession({ session_id: 's' })
  const events = store.subscribeEvents({ session_id: 's' })
  await events.opened()
  await kill(store)
  assert.deepEqual(await events.next(), { done: true, value: undefined })
  assert.equal(events.ended, 'deleted')
})

test('unsubscribing at a process that died ends nothing at the next one', async (t) => {
  const store = await openDurable(t, { maxInFlight: 1 })
  await store.createSession({ session_id: 's' })
  const [first, second] = [1, 2].map(() => store.subscribeEvents({ session_id: 's' }))
  await Promise.all([first.opened(), second.opened()])
  await freeze(store.pid)
  const read = store.sessionCount()
  await turn()
  // Both wait behind the read. The next process gives the third the id that the first had.
  const third = store.subscribeEvents({ session_id: 's' })
  await first.return()
  await kill(store)
  await read
  await third.opened()
  await store.storeEvent({ session_id: 's', data: 'still here' })
  for (const events of [second, third]) assert.equal((await events.next()).value.data, 'still here')
})

test('without restart the death is the end, and every call says so at once', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  const events = store.subscribeEvents({ session_id: 's' })
  const waiting = events.next().catch((error) => error)
  await events.opened()
  await kill(store)
  assert.equal((await waiting).reason, 'exited')
  await assert.rejects(store.sessionCount(), { reason: 'exited', outcome: 'not_applied', method: 'session_count' })
  await assert.rejects(store.subscribeEvents({ session_id: 's' }).next(), { reason: 'exited' })
  assert.equal((await endOf(store)).signal, 'SIGKILL')
  await store.close()
})

/** A program that is the sidecar the first time, and then only `code`. */
function onlyOnce(t, code) {
  const marker = join(temporaryFolder(t), 'started')
  return program(t, `
    import { existsSync, writeFileSync } from 'node:fs'
    import { spawn } from 'node:child_process'
    if (existsSync(${JSON.stringify(marker)})) { ${code} }
    writeFileSync(${JSON.stringify(marker)}, '')
    lines.close()
    const child = spawn(${JSON.stringify(binary)}, process.argv.slice(2), { stdio: 'inherit' })
    process.on('SIGTERM', () => { child.kill('SIGKILL'); process.exit(1) })`)
}

test('a process that ends again and again is given up', async (t) => {
  const restart = { attempts: 3, within: 600_000, delay: 1, maxDelay: 4 }
  const store = await openStore(t, { binary: onlyOnce(t, 'process.exit(3)'), restart })
  signal(store.pid, 'SIGTERM')
  const error = await endOf(store)
  assert.equal(error.reason, 'gave_up')
  assert.equal(error.exitCode, 3)
  assert.match(error.message, /ended 4 times within 600000 ms/)
  await assert.rejects(store.sessionCount(), { reason: 'gave_up' })
})

test('what another start cannot change is not tried', async (t) => {
  const store = await openStore(t, { binary: onlyOnce(t, 'process.exit(78)'), restart: true })
  const call = eventually(() => store.pid === null, 'the death').then(() => store.sessionCount())
  signal(store.pid, 'SIGTERM')
  await assert.rejects(call, { exitCode: 78 })
  assert.equal(store.remarks.filter((line) => line.includes('Starting it again')).length, 1)
})

test('a file that was damaged meanwhile is not opened again and again', async (t) => {
  const folder = temporaryFolder(t)
  const database = join(folder, 'sessions.db')
  const store = await openStore(t, { database, restart: { delay: 1 } })
  await store.createSession()
  await freeze(store.pid)
  writeFileSync(database, 'no database at all, but a text of more than a hundred bytes: '.repeat(3))
  writeFileSync(database + '-wal', '')
  signal(store.pid, 'SIGKILL')
  const error = await endOf(store)
  assert.equal(error.exitCode, 65)
})

test('a store can be closed while it waits to start again', async (t) => {
  const store = await openStore(t, { restart: { delay: 60_000, maxDelay: 60_000 } })
  await kill(store)
  const call = store.sessionCount().catch(({ reason, outcome }) => [reason, outcome])
  await store.close()
  assert.deepEqual(await call, ['closed', 'not_applied'])
  assert.deepEqual([store.pid, store.state], [null, 'closed'])
})

test('a call that waits for the next process keeps to its timeout', async (t) => {
  const store = await openStore(t, { restart: { delay: 60_000, maxDelay: 60_000 } })
  await kill(store)
  const error = await store.createSession({}, { timeout: 10 }).catch((error) => error)
  assert.deepEqual([error.name, error.outcome], ['CallTimeout', 'not_applied'])
})

/** A linear congruential generator: numbers from 0 to 1, the same for the same seed. */
function randomNumbers(seed) {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return seed / 2 ** 32
  }
}

for (const seed of [1, 2, 3]) {
  test(`calls, timeouts, aborts and deaths in any order: seed ${seed}`, async (t) => {
    const random = randomNumbers(seed)
    const pause = (most) => new Promise((resolve) => setTimeout(resolve, random() * most))
    const store = await openDurable(t, {
      restart: { attempts: 1e9, delay: 1, maxDelay: 10 },
      maxInFlight: 1 << 14,
    })
    await store.createSession({ session_id: 's' })
    const events = store.subscribeEvents({ session_id: 's', after_event_id: 0 }, { maxQueued: 5 })
    const seen = []
    const consuming = (async () => {
      for await (const { id } of events) {
        seen.push(id)
        if (random() < 0.02) await pause(5)
      }
    })()

    const answered = []
    const errors = []
    const calls = []
    for (let round = 0; round < 80; round++) {
      for (let n = random() * 40; n > 0; n--) {
        const controller = new AbortController()
        const options = random() < 0.2 ? { timeout: 1 + random() * 20 } : {}
        if (random() < 0.2) {
          options.signal = controller.signal
          void pause(20).then(() => controller.abort())
        }
        const call = store.storeEvent({ session_id: 's', data: 'x'.repeat(random() * 2000) }, options)
        calls.push(call.then(({ id }) => answered.push(id)).catch((error) => errors.push(error)))
        calls.push(store.getSession({ session_id: 's' }, options).catch((error) => errors.push(error)))
      }
      if (random() < 0.2 && store.pid !== null) signal(store.pid, random() < 0.5 ? 'SIGKILL' : 'SIGTERM')
      await (random() < 0.5 ? Promise.all(calls) : pause(10))
    }
    await Promise.all(calls)
    for (const { name, stack } of errors) assert.match(name, /^(ChildError|CallTimeout|AbortError)$/, stack)
    const { last_event_id } = await store.getSession({ session_id: 's' })
    await eventually(() => seen.at(-1) === last_event_id, 'the last event')
    assert.deepEqual(seen, numbers(1, last_event_id))
    assert.equal(new Set(answered).size, answered.length)
    assert.ok(answered.length > 0 && answered.length <= last_event_id)
    await store.close()
    await consuming
  })
}
