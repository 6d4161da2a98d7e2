// Tasks that outlive their worker: whatever is killed, each has one outcome.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { Codec } from '../../../protocol/clients/node/index.mjs'
import { TaskWorker } from '../../../protocol/clients/node/task-worker.mjs'
import { eventually, host, openStore, placed, root, signal, temporaryFolder } from './fixture.mjs'

const queue = 'mcp-tasks'
const alice = { principal: 'alice' }
const bob = { principal: 'bob' }
const callOf = (name, args = {}) => ({ request: { method: 'tools/call', params: { name, arguments: args } } })

/** A worker that is started, and what it told its hook. */
function startWorker(t, store, run, options = {}) {
  const errors = []
  const worker = new TaskWorker(store, { run, onError: (error) => errors.push(error), ...options })
  worker.start()
  t.after(() => worker.stop({ patience: 0 }))
  return { worker, errors }
}

/** A task as soon as it has one of these statuses. */
function become(worker, { taskId }, status, access = alice) {
  return eventually(async () => {
    const task = await worker.get(taskId, access)
    return task?.status === status && task
  }, status)
}

async function statusesOf(store) {
  return (await store.listWork({ queue, limit: 1000 })).work.map(({ status }) => status)
}

test('a task and the work on it are made together, and end together', async (t) => {
  const store = await openStore(t)
  const maker = new TaskWorker(store, { ttlMs: 60_000 })
  const made = await maker.create({ ...alice, ...callOf('report', { of: 'x' }), context: { trace: 1 }, state: 'begun' })
  assert.deepEqual([made.status, made.ttlMs, made.pollIntervalMs], ['working', 60_000, 5000])
  assert.match(made.taskId, /^[\w-]{43}$/)
  assert.equal(await maker.get(made.taskId, bob), undefined)
  const { work: [item] } = await store.listWork({ queue })
  assert.deepEqual([item.work_id, item.group, item.principal], [made.taskId, 'alice', 'alice'])
  assert.deepEqual(item.payload, { task_id: made.taskId, tenant_id: null, principal: 'alice' })
  assert.deepEqual((await store.getTask({ task_id: made.taskId })).meta, {
    trace: 1,
    work: { era: '2026-07-28', state: 'begun' },
  })
  const seen = []
  const { worker, errors } = startWorker(t, store, async (job) => {
    seen.push([job.request.params.name, job.principal, job.state, job.attempt, job.input])
    await job.save({ step: 1 }, 'half')
    await job.status('nearly')
    seen.push((await store.getTask({ task_id: job.taskId })).status_message)
    return { content: [{ type: 'text', text: 'done' }], isError: true }
  })
  const done = await become(worker, made, 'completed')
  assert.deepEqual(done.result, { content: [{ type: 'text', text: 'done' }], isError: true })
  assert.deepEqual(seen, [['report', 'alice', 'begun', 1, {}], 'nearly'])
  assert.deepEqual([await statusesOf(store), errors], [['done'], []])
  assert.equal((await store.getTask({ task_id: made.taskId })).meta.work.state.step, 1)
})

test('what is thrown fails a task, and so does what cannot be stored; in the older era a tool error too', async (t) => {
  const store = await openStore(t)
  const { worker, errors } = startWorker(t, store, ({ request: { params: { name } } }) => {
    if (name === 'own') throw Object.assign(new Error('no such thing'), { code: -32602, data: { thing: 1 } })
    if (name === 'large') return { text: 'x'.repeat(2 << 20) }
    if (name === 'tool') return { content: [], isError: true }
    throw new TypeError('broken')
  })
  const names = ['own', 'other', 'large', 'tool']
  const all = await Promise.all(names.map((name) => worker.create({ ...alice, ...callOf(name), era: '2025-11-25' })))
  const [own, other, large] = await Promise.all(all.slice(0, 3).map((task) => become(worker, task, 'failed')))
  assert.deepEqual(own.error, { code: -32602, message: 'no such thing', data: { thing: 1 } })
  assert.deepEqual(other.error, { code: -32603, message: 'Internal server error' })
  assert.match(large.error.message, /could not be kept/)
  await eventually(async () => (await store.getTask({ task_id: all[3].taskId })).status === 'failed', 'the tool')
  const { result } = await store.getTaskResult({ task_id: all[3].taskId })
  assert.deepEqual(result, { success: { content: [], isError: true } })
  await eventually(() => errors.length > 1, 'the hook')
  const untold = errors.map(({ name }) => name).sort()
  assert.deepEqual(untold, ['RequestError', 'TypeError'], 'what the clients are not told')
  assert.deepEqual(new Set(await statusesOf(store)), new Set(['done']))
})

test('a task asks its client in legs, and holds no worker meanwhile', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const stores = [await openStore(t, { database }), await openStore(t, { database })]
  const legs = []
  const run = (job) => {
    legs.push([job.state, job.input, job.attempt])
    if (job.input.size === undefined) return job.ask({ size: { method: 'elicitation/create' } }, { state: 'size' })
    if (job.input.colour === undefined) return job.ask({ colour: {}, weight: {} }, { state: 'colour' })
    return { ...job.input }
  }
  const [{ worker }] = stores.map((store) => startWorker(t, store, run, { concurrency: 1 }))
  const task = await worker.create({ ...alice, ...callOf('choose') })
  const asked = await become(worker, task, 'input_required')
  assert.deepEqual(asked.inputRequests, { size: { method: 'elicitation/create' } })
  assert.deepEqual(await statusesOf(stores[0]), ['waiting'])
  assert.equal(await worker.update(task.taskId, { size: 7 }, bob), false)
  assert.equal(await worker.update(task.taskId, { size: 7 }, alice), true)
  await eventually(() => legs.length === 2, 'the second leg')
  await become(worker, task, 'input_required')
  await worker.update(task.taskId, { colour: 'red', other: 1 }, alice)
  // Another process brings the rest.
  const other = new TaskWorker(stores[1])
  assert.equal(await other.update(task.taskId, { weight: null }, alice), true)
  const done = await become(worker, task, 'completed')
  assert.deepEqual(done.result, { size: 7, colour: 'red', weight: null })
  assert.deepEqual(legs.map(([state]) => state), [null, 'size', 'colour'])
  assert.equal(await worker.update(task.taskId, { late: 1 }, alice), true, 'it is over, and that is no error')
})

test('a wish to cancel reaches who works, and what waits is cancelled at once', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const stores = [await openStore(t, { database }), await openStore(t, { database })]
  const begun = []
  const { worker } = startWorker(t, stores[0], async (job) => {
    const { name } = job.request.params
    if (name === 'ask') return job.ask({ a: {} })
    begun.push(name)
    await new Promise((resolve) => job.signal.addEventListener('abort', resolve))
    assert.equal(job.isCancelled, true)
    if (name === 'stubborn') return { stubborn: true }
    throw new Error('I stop')
  })
  const other = new TaskWorker(stores[1])
  const names = ['running', 'stubborn', 'ask']
  const all = names.map((name) => other.create({ ...alice, ...callOf(name) }))
  const [running, stubborn, asking] = await Promise.all(all)
  await eventually(() => begun.length === 2, 'both')
  await become(other, asking, 'input_required')
  assert.equal(await other.cancel(running.taskId, bob), false)
  for (const { taskId } of [running, stubborn, asking]) assert.equal(await other.cancel(taskId, alice), true)
  await become(other, running, 'cancelled')
  await become(other, asking, 'cancelled')
  assert.deepEqual((await become(other, stubborn, 'completed')).result, { stubborn: true }, 'the worker decides')
  await worker.stop()
  const waiting = await other.create({ ...alice, ...callOf('running') })
  await other.cancel(waiting.taskId, alice)
  startWorker(t, stores[0], () => assert.fail('it was to be cancelled'))
  await become(other, waiting, 'cancelled')
  assert.deepEqual(new Set(await statusesOf(stores[0])), new Set(['done']))
})

test('a task that is over, or gone, ends its work without a word', async (t) => {
  const store = await openStore(t)
  const maker = new TaskWorker(store)
  const all = ['a', 'b', 'c'].map((name) => maker.create({ ...alice, ...callOf(name) }))
  const [over, gone, dying] = await Promise.all(all)
  await store.cancelTask({ task_id: over.taskId })
  await store.deleteTask({ task_id: gone.taskId })
  const { errors } = startWorker(t, store, async (job) => {
    assert.equal(job.request.params.name, 'c')
    await store.deleteTask({ task_id: dying.taskId })
    return {}
  })
  await eventually(async () => (await statusesOf(store)).every((status) => status === 'done'), 'all of it')
  assert.deepEqual(errors, [])
})

test('a pause holds no worker either, and a state is kept over it', async (t) => {
  const store = await openStore(t)
  const { worker } = startWorker(t, store, (job) => {
    const count = (job.state ?? 0) + 1
    return count === 4 ? { count, attempt: job.attempt } : job.pause(1, { state: count })
  })
  const { result } = await become(worker, await worker.create({ ...alice, ...callOf('count') }), 'completed')
  assert.deepEqual(result, { count: 4, attempt: 1 })
})

test('a pause that is long ends when the task is to be cancelled, and what fails for now is an attempt', async (t) => {
  const store = await openStore(t)
  const attempts = []
  const { worker } = startWorker(t, store, (job) => {
    attempts.push(job.attempt)
    return job.request.params.name === 'long' ? job.pause(3_600_000) : job.retry(1)
  })
  const [long, failing] = [await worker.create({ ...alice, ...callOf('long') }), await worker.create(callOf('failing'))]
  const { error } = await become(worker, failing, 'failed', {})
  assert.equal(error.code, -32603)
  assert.deepEqual(attempts.sort(), [1, 1, 2, 3])
  await worker.cancel(long.taskId, alice)
  await become(worker, long, 'cancelled')
})

test('a question that cannot be asked fails the task', async (t) => {
  const store = await openStore(t)
  const { worker, errors } = startWorker(t, store, (job) => job.ask({ again: {} }))
  const task = await worker.create({ ...alice, ...callOf('n') })
  await become(worker, task, 'input_required')
  await worker.update(task.taskId, { again: 1 }, alice)
  assert.equal((await become(worker, task, 'failed')).error.code, -32603)
  await eventually(() => errors.length > 0, 'the hook')
  assert.equal(errors[0].kind, 'invalid_params')
})

test('a worker leaves what it does not know to another', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const stores = [await openStore(t, { database }), await openStore(t, { database })]
  const maker = new TaskWorker(stores[0])
  const { worker } = startWorker(t, stores[0], undefined, { tools: { a: () => ({ by: 'a' }) } })
  const known = await maker.create({ ...alice, ...callOf('a') })
  const unknown = await maker.create({ ...alice, ...callOf('toString') })
  assert.deepEqual((await become(maker, known, 'completed')).result, { by: 'a' })
  await eventually(async () => {
    const { work } = await stores[0].listWork({ queue, status: 'waiting' })
    return work.length === 1 && work[0].not_before !== null && work[0].attempt === 0
  }, 'that it is left')
  await worker.stop()
  // It is woken for this test; else another looks after five seconds.
  await stores[1].cancelWork({ queue, work_id: unknown.taskId })
  const { task_id, tenant_id, principal } = await stores[1].getTask({ task_id: unknown.taskId })
  await stores[1].enqueueWork({ queue, work_id: task_id, payload: { task_id, tenant_id, principal } })
  startWorker(t, stores[1], () => ({ by: 'all' }))
  assert.deepEqual((await become(maker, unknown, 'completed')).result, { by: 'all' })
  assert.throws(() => new TaskWorker(stores[0]).start(), TypeError)
})

/** A process that works until it is killed. */
function startHost(t, database, run, options = {}) {
  const child = host(`
    import { TaskWorker } from ${JSON.stringify(join(root, 'protocol/clients/node/task-worker.mjs'))}
    const store = await SessionStore.open({ binary, ...${JSON.stringify(placed({ database }))} })
    const run = ${run}
    new TaskWorker(store, { run, lease: 400, ...${JSON.stringify(options)} }).start()`)
  t.after(() => child.kill('SIGKILL'))
  return child
}

test('workers are killed while tasks run, again and again: each task has one outcome', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database })
  const maker = new TaskWorker(store)
  const count = 40
  const all = Array.from({ length: count }, (_, n) => maker.create({ ...alice, ...callOf('n', { n }) }))
  const tasks = await Promise.all(all)
  const run = `async (job) => {
    const { n } = job.request.params.arguments
    await job.save({ begun: (job.state?.begun ?? 0) + 1 })
    await new Promise((resolve) => setTimeout(resolve, 20))
    if (n % 10 === 9) throw Object.assign(new Error('odd'), { code: 1 })
    return { n, begun: job.state.begun }
  }`
  const options = { concurrency: 4, attempts: 100 }
  const children = [0, 1, 2].map(() => startHost(t, database, run, options))
  const outcomes = new Map()
  let kills = 0
  const isOver = async () => {
    for (const { taskId } of tasks) {
      const { status, revision } = await store.getTask({ task_id: taskId })
      if (status === 'working') continue
      const known = outcomes.get(taskId)
      assert.ok(known === undefined || known === `${status} ${revision}`, 'an outcome has changed')
      outcomes.set(taskId, `${status} ${revision}`)
    }
    if (kills < 6) {
      children[kills % 3].kill('SIGKILL')
      children[kills % 3] = startHost(t, database, run, options)
      kills += 1
    }
    return outcomes.size === count
  }
  await eventually(isOver, 'all outcomes')
  const statuses = [...outcomes.values()].map((text) => text.split(' ')[0])
  assert.equal(statuses.filter((status) => status === 'failed').length, count / 10)
  assert.equal(statuses.filter((status) => status === 'completed').length, count - count / 10)
  assert.deepEqual(new Set(await statusesOf(store)), new Set(['done']))
})

test('a task that kills its worker each time is failed in the end', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database })
  const maker = new TaskWorker(store)
  const task = await maker.create({ ...alice, ...callOf('poison') })
  for (let claim = 1; claim <= 3; claim++) {
    const child = startHost(t, database, "async () => process.kill(process.pid, 'SIGKILL')")
    // On a slow machine a lease may lapse before the work has begun, which is an attempt too.
    await Promise.race([once(child, 'close'), become(maker, task, 'failed')])
  }
  startWorker(t, store, () => assert.fail('it was begun a fourth time'))
  const { error } = await become(maker, task, 'failed')
  assert.deepEqual([error.code, await statusesOf(store)], [-32603, ['dead']])
})

test('a worker that is stopped hands its tasks on at once, and one that lost its lease writes nothing', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const stores = [await openStore(t, { database }), await openStore(t, { database })]
  let begun = 0
  const { worker } = startWorker(t, stores[0], async (job) => {
    begun += 1
    await new Promise((resolve) => job.signal.addEventListener('abort', resolve))
    throw job.signal.reason
  })
  const task = await worker.create({ ...alice, ...callOf('long') })
  await eventually(() => begun === 1, 'the beginning')
  await worker.stop({ patience: 0 })
  const jobs = []
  const hold = (job) => new Promise((end) => jobs.push({ job, end }))
  const { worker: other } = startWorker(t, stores[1], hold, { lease: 60_000 })
  await eventually(() => jobs.length === 1, 'the second worker')
  assert.equal(jobs[0].job.attempt, 1, 'what was handed back is no attempt')
  // Somebody takes it away: what this one writes is not written.
  await stores[0].cancelWork({ queue, work_id: task.taskId })
  await assert.rejects(jobs[0].job.save('late'), { kind: 'requirement_failed' })
  jobs[0].end({ late: true })
  await other.stop()
  const { status, result } = await stores[0].getTask({ task_id: task.taskId })
  assert.deepEqual([status, result], ['working', null])
})

test('an answer that died with the sidecar changes nothing: the outcome is stored once', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database, restart: { delay: 1 } })
  const { worker, errors } = startWorker(t, store, async () => {
    setImmediate(() => signal(store.pid, 'SIGKILL'))
    return { n: 1 }
  })
  const task = await worker.create({ ...alice, ...callOf('n') })
  assert.deepEqual((await become(worker, task, 'completed')).result, { n: 1 })
  await eventually(async () => (await statusesOf(store))[0] === 'done', 'the end of the work')
  // The sidecar may have taken with it what asked for more work.
  assert.deepEqual(errors.filter(({ method }) => method !== 'claim_work'), [])
})

test('clients that know no tasks have tools for them', async (t) => {
  const store = await openStore(t)
  const { worker } = startWorker(t, store, async (job) => {
    if (job.request.params.name === 'quick') return { content: [], n: 1 }
    await new Promise((resolve) => job.signal.addEventListener('abort', resolve))
    throw job.signal.reason
  })
  const [status, cancel] = worker.fallbackTools
  assert.deepEqual([status.name, cancel.name], ['task_status', 'task_cancel'])
  const quick = await worker.create({ ...alice, ...callOf('quick') })
  await become(worker, quick, 'completed')
  const told = await status.call({ task_id: quick.taskId }, alice)
  assert.deepEqual(told.structuredContent.result, { content: [], n: 1 })
  assert.deepEqual(JSON.parse(told.content[0].text), told.structuredContent)
  const slow = await worker.create({ ...alice, ...callOf('slow') })
  assert.equal((await cancel.call({ task_id: slow.taskId }, alice)).isError, undefined)
  await become(worker, slow, 'cancelled')
  for (const args of [{ task_id: quick.taskId }, { task_id: 'none' }, {}, undefined]) {
    assert.equal((await status.call(args, bob)).isError, true)
    assert.equal((await cancel.call(args, bob)).isError, true)
  }
})

test('where payloads are sealed workers with the key do what there is to be done', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const codec = new Codec({ keys: { one: new Uint8Array(32) } })
  const store = await openStore(t, { database, codec })
  const { worker } = startWorker(t, store, async (job) => {
    await job.save({ secret: 1 })
    return { of: job.request.params.arguments.of }
  })
  const done = await become(worker, await worker.create({ ...alice, ...callOf('n', { of: 'x' }) }), 'completed')
  assert.deepEqual(done.result, { of: 'x' })
  const { work: [{ payload }] } = await (await openStore(t, { database })).listWork({ queue })
  assert.equal(payload, null, 'nothing is left of what is done')
})

test('all of it works where owners are required, and tenants are apart', async (t) => {
  const store = await openStore(t, { options: { require_owner: true } })
  const [one, other] = ['one', 'other'].map((tenant_id) => new TaskWorker(store, { tenant_id }))
  startWorker(t, store, (job) => (job.input.a === undefined ? job.ask({ a: {} }) : { a: job.input.a }))
  const task = await one.create({ ...alice, ...callOf('n') })
  await become(one, task, 'input_required')
  assert.equal(await other.get(task.taskId, alice), undefined)
  assert.equal(await other.update(task.taskId, { a: 1 }, alice), false)
  assert.equal(await one.update(task.taskId, { a: 1 }, alice), true)
  assert.deepEqual((await become(one, task, 'completed')).result, { a: 1 })
})
