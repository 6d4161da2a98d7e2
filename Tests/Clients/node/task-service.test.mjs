// The tasks extension of 2026-07-28: those who ask, the worker, and request states that count once.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { TaskService, useRequestState } from '../../../protocol/clients/node/task-service.mjs'
import { TaskStore } from '../../../protocol/clients/node/task-store.mjs'
import { eventually, openStore, root, signal, temporaryFolder } from './fixture.mjs'

const alice = { principal: 'alice' }
const bob = { principal: 'bob' }
const request = { method: 'tools/call', params: { name: 'report' } }

test('a task from its creation to its result', async (t) => {
  const store = await openStore(t)
  const tasks = new TaskService(store, { ttlMs: 60_000 })
  const task = await tasks.create({ ...alice, request, context: { leg: 1 } })
  assert.equal(task.status, 'working')
  assert.equal(task.ttlMs, 60_000)
  assert.equal(task.pollIntervalMs, 5000)
  assert.match(task.taskId, /^[\w-]{43}$/)
  assert.deepEqual(await tasks.get(task.taskId, alice), task)
  const stored = await store.getTask({ task_id: task.taskId })
  assert.deepEqual([stored.original_method, stored.meta], [request.method, { leg: 1 }])

  const worker = tasks.writer(task.taskId)
  await worker.status('half')
  assert.equal((await tasks.get(task.taskId, alice)).statusMessage, 'half')
  const result = { content: [], isError: true }
  await worker.complete(result)
  const done = await tasks.get(task.taskId, alice)
  assert.deepEqual([done.status, done.result, done.error], ['completed', result, undefined])
})

test('a JSON-RPC error makes a task failed', async (t) => {
  const tasks = new TaskService(await openStore(t))
  const { taskId } = await tasks.create()
  await tasks.writer(taskId).fail(Object.assign(new Error('no such tool'), { code: -32602 }))
  const { status, error } = await tasks.get(taskId)
  assert.deepEqual([status, error], ['failed', { code: -32602, message: 'no such tool' }])
  assert.equal('result' in (await tasks.get(taskId)), false)
})

test("what the rules before call failed for a tool's own error is completed here", async (t) => {
  const store = await openStore(t)
  const legacy = new TaskStore(store)
  const { taskId } = await legacy.createTask({}, 1, request)
  const result = { content: [], isError: true }
  await legacy.storeTaskResult(taskId, 'failed', result)
  const { status, result: read } = await new TaskService(store).get(taskId)
  assert.deepEqual([status, read], ['completed', result])
})

test('a task whose server died is failed with an error', async (t) => {
  const store = await openStore(t)
  const tasks = new TaskService(store)
  const { taskId } = await tasks.create()
  await eventually(async () => (await store.recoverStuckTasks({ max_age: 0 })).task_ids.length > 0, 'the recovery')
  const { status, error } = await tasks.get(taskId)
  assert.equal(status, 'failed')
  assert.equal(error.code, -32603)
})

test('nobody else finds a task; without a principal the caller is anonymous', async (t) => {
  const tasks = new TaskService(await openStore(t))
  const { taskId } = await tasks.create(alice)
  const open = await tasks.create()
  for (const access of [bob, undefined, {}, { principal: null }]) {
    assert.equal(await tasks.get(taskId, access), undefined)
    assert.equal(await tasks.update(taskId, { a: 1 }, access), false)
    assert.equal(await tasks.cancel(taskId, access), false)
    assert.equal((await tasks.get(open.taskId, access)).taskId, open.taskId)
  }
  assert.equal((await tasks.get(taskId, alice)).status, 'working')
  for (const id of ['unknown', '', 'no id\n', 'x'.repeat(300)]) {
    assert.equal(await tasks.get(id, alice), undefined)
    assert.equal(await tasks.cancel(id, alice), false)
  }
})

test('tenants are apart', async (t) => {
  const store = await openStore(t)
  const [one, other] = ['one', 'other'].map((tenant_id) => new TaskService(store, { tenant_id }))
  const { taskId } = await one.create(alice)
  assert.equal(await other.get(taskId, alice), undefined)
  assert.equal((await one.get(taskId, alice)).taskId, taskId)
})

test('input is asked for, answered in parts, and handed to the worker', async (t) => {
  const tasks = new TaskService(await openStore(t))
  const { taskId } = await tasks.create(alice)
  const asked = { size: { method: 'elicitation/create' }, colour: { method: 'elicitation/create' } }
  const answers = tasks.writer(taskId).requireInput(asked)
  const waiting = await eventually(async () => {
    const task = await tasks.get(taskId, alice)
    return task.status === 'input_required' && task
  }, 'the question')
  assert.deepEqual(waiting.inputRequests, asked)
  assert.equal(await tasks.update(taskId, { size: { action: 'accept' }, weight: 7 }, alice), true)
  assert.deepEqual(Object.keys((await tasks.get(taskId, alice)).inputRequests), ['colour'])
  assert.equal(await tasks.update(taskId, { size: 'again', colour: { action: 'decline' } }, alice), true)
  assert.deepEqual(await answers, { size: { action: 'accept' }, colour: { action: 'decline' } })
  assert.equal((await tasks.get(taskId, alice)).status, 'working')
})

test('cancelling is a wish that the worker hears of, and may be repeated', async (t) => {
  const tasks = new TaskService(await openStore(t))
  const { taskId } = await tasks.create(alice)
  const worker = tasks.writer(taskId)
  const aborted = new Promise((resolve) => worker.signal.addEventListener('abort', resolve))
  assert.equal(worker.signal.aborted, false)
  assert.equal(await tasks.cancel(taskId, alice), true)
  assert.equal((await tasks.get(taskId, alice)).status, 'working', 'the worker decides')
  await aborted
  await worker.cancelled()
  assert.equal((await tasks.get(taskId, alice)).status, 'cancelled')
  assert.equal(await tasks.cancel(taskId, alice), true)
  assert.equal(await tasks.update(taskId, {}, alice), true)
})

test('a worker that waits for input hears of the wish to cancel, and of the end', async (t) => {
  const store = await openStore(t)
  const tasks = new TaskService(store)
  const first = await tasks.create()
  const waiting = tasks.writer(first.taskId).requireInput({ a: {} })
  waiting.catch(() => {})
  await tasks.cancel(first.taskId)
  await assert.rejects(waiting, { name: 'AbortError' })
  const second = await tasks.create()
  const input = tasks.writer(second.taskId).requireInput({ a: {} })
  input.catch(() => {})
  await store.deleteTask({ task_id: second.taskId })
  await assert.rejects(input)
})

test('a worker that is done, and a store that is closed, are no wish to cancel', async (t) => {
  const store = await openStore(t)
  const tasks = new TaskService(store)
  const [done, working] = [await tasks.create(), await tasks.create()].map(({ taskId }) => tasks.writer(taskId))
  const signals = [done.signal, working.signal]
  await done.complete({})
  assert.equal((await store.getMetrics()).subscriptions, 1, 'it watches no longer')
  await store.close()
  assert.deepEqual(signals.map(({ aborted }) => aborted), [false, false])
})

test('a worker takes its task up again after a restart', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const before = await openStore(t, { database })
  const { taskId } = await new TaskService(before).create({ ...alice, context: { step: 3 } })
  void new TaskService(before).writer(taskId).requireInput({ a: {} }).catch(() => {})
  await eventually(async () => (await new TaskService(before).get(taskId, alice)).status === 'input_required', 'asking')
  signal(before.pid, 'SIGKILL')
  const after = await openStore(t, { database })
  const tasks = new TaskService(after)
  await tasks.update(taskId, { a: 'yes' }, alice)
  assert.deepEqual((await after.getTask({ task_id: taskId })).meta, { step: 3 })
  assert.deepEqual(await tasks.writer(taskId).input(['a']), { a: 'yes' })
})

test('a request state counts once for each principal and tenant, in every process', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const [one, other] = [await openStore(t, { database }), await openStore(t, { database })]
  const state = 'sealed.'.repeat(1000)
  const tries = [one, other, one, other].map((store) => useRequestState(store, state, { ttlMs: 60_000, ...alice }))
  assert.equal((await Promise.all(tries)).filter(Boolean).length, 1)
  assert.equal(await useRequestState(one, state, { ttlMs: 60_000, ...bob }), true)
  assert.equal(await useRequestState(one, state, { ttlMs: 60_000 }), true)
  assert.equal(await useRequestState(one, state, { ttlMs: 60_000, ...alice, tenant_id: 't' }), true)
  assert.equal(await useRequestState(other, state, { ttlMs: 60_000, ...alice, tenant_id: 't' }), false)
  assert.equal(await useRequestState(one, state + '!', { ttlMs: 60_000, ...alice }), true)
})

test('a request state that another client used is used: all name it in the same way', async (t) => {
  const store = await openStore(t)
  const path = join(root, 'protocol/clients/behaviour/request-state.json')
  const { vectors } = JSON.parse(readFileSync(path, 'utf8'))
  assert.ok(vectors.length > 5)
  for (const { tenant_id, request_state, nonce } of vectors) {
    assert.equal((await store.consumeNonce({ nonce, ttl: 60_000, principal: 'alice' })).first, true)
    assert.equal(await useRequestState(store, request_state, { ttlMs: 60_000, ...alice, tenant_id }), false)
  }
})

test('all of it works where owners are required', async (t) => {
  const store = await openStore(t, { options: { require_owner: true } })
  const tenant = { tenant_id: 't' }
  for (const [access, options] of [[alice, {}], [undefined, {}], [alice, tenant], [{}, tenant]]) {
    const tasks = new TaskService(store, options)
    const { taskId } = await tasks.create({ ...access, request })
    // Its own, and one after a restart, which has to be told.
    for (const worker of [tasks.writer(taskId), new TaskService(store, options).writer(taskId, access ?? {})]) {
      assert.equal(worker.signal.aborted, false)
      await worker.status('half')
      const key = Math.random().toString()
      const answers = worker.requireInput({ [key]: {} })
      await eventually(async () => (await tasks.get(taskId, access)).status === 'input_required', 'the question')
      assert.equal(await tasks.update(taskId, { [key]: 1 }, access), true)
      assert.deepEqual(await answers, { [key]: 1 })
      worker.close()
    }
    await tasks.writer(taskId).complete({ content: [] })
    assert.equal((await tasks.get(taskId, access)).status, 'completed')
    assert.equal(await useRequestState(store, taskId, { ttlMs: 1000, ...access }), true)
  }
  const { taskId } = await new TaskService(store).create()
  await new TaskService(store).writer(taskId).fail({ code: 1, message: 'no' })
  assert.equal((await new TaskService(store).get(taskId)).error.message, 'no')
})

test('a task whose result cannot be stored fails, and its worker is told', async (t) => {
  const tasks = new TaskService(await openStore(t))
  const nested = (levels) => JSON.parse('['.repeat(levels) + ']'.repeat(levels))
  for (const result of [{ text: 'x'.repeat(2e6) }, { deep: nested(200) }, { n: NaN }, { big: 1n }]) {
    const { taskId } = await tasks.create()
    await assert.rejects(tasks.writer(taskId).complete(result))
    const { status, error } = await tasks.get(taskId)
    assert.deepEqual([status, error.code], ['failed', -32603])
    assert.match(error.message, /could not be kept/)
  }
})
