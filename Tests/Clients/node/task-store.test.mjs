// TaskStore and TaskMessageQueue as the TypeScript SDK 1.x calls them.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { TaskMessageQueue, TaskStore } from '../../../protocol/clients/node/task-store.mjs'
import { SMALL_ANSWERS, eventually, openStore, signal, temporaryFolder } from './fixture.mjs'

const request = { method: 'tools/call', params: { name: 'report', arguments: { year: 2026 } } }

async function openTasks(t, options = {}) {
  const store = await openStore(t)
  for (const session_id of ['one', 'other']) await store.createSession({ session_id, status: 'active' })
  return { store, tasks: new TaskStore(store, options), queue: new TaskMessageQueue(store, options) }
}

test('a task from its creation to its result', async (t) => {
  const { store, tasks } = await openTasks(t)
  const task = await tasks.createTask({ ttl: 60_000, pollInterval: 250, context: { a: 1 } }, 7, request, 'one')
  assert.equal(task.status, 'working')
  assert.equal(task.ttl, 60_000)
  assert.equal(task.pollInterval, 250)
  assert.equal(task.createdAt, task.lastUpdatedAt)
  assert.ok(!Number.isNaN(Date.parse(task.createdAt)))
  assert.match(task.taskId, /^[\w-]{43}$/)
  assert.deepEqual(await tasks.getTask(task.taskId, 'one'), task)
  await assert.rejects(tasks.getTaskResult(task.taskId, 'one'), /no result yet/)
  const stored = await store.getTask({ task_id: task.taskId })
  assert.deepEqual([stored.original_method, stored.original_params], [request.method, request.params])
  assert.deepEqual(stored.meta, { request_id: 7, context: { a: 1 } })

  // A tool that tells how far it is: a status that the task has already.
  await tasks.updateTaskStatus(task.taskId, 'working', '40 %', 'one')
  assert.equal((await tasks.getTask(task.taskId)).statusMessage, '40 %')
  await tasks.updateTaskStatus(task.taskId, 'input_required', 'Which year?', 'one')
  await tasks.updateTaskStatus(task.taskId, 'working', undefined, 'one')
  assert.equal((await tasks.getTask(task.taskId)).statusMessage, undefined)

  const result = { content: [{ type: 'text', text: 'done' }] }
  await tasks.storeTaskResult(task.taskId, 'completed', result, 'one')
  assert.equal((await tasks.getTask(task.taskId, 'one')).status, 'completed')
  assert.deepEqual(await tasks.getTaskResult(task.taskId, 'one'), result)
})

test('all of it works where owners are required', async (t) => {
  const store = await openStore(t, { options: { require_owner: true } })
  await store.createSession({ session_id: 'one', status: 'active', principal: null })
  await store.createSession({ session_id: 'alices', status: 'active', principal: 'alice' })
  for (const [options, session] of [[{}, 'one'], [{ principal: 'alice' }, 'alices'], [{ tenant_id: null }, 'one']]) {
    const [tasks, queue] = [new TaskStore(store, options), new TaskMessageQueue(store, options)]
    const { taskId } = await tasks.createTask({ ttl: null }, 1, request, session)
    await queue.enqueue(taskId, { type: 'notification', timestamp: 1, message: {} }, session)
    assert.equal((await queue.dequeue(taskId, session)).timestamp, 1)
    assert.deepEqual(await queue.dequeueAll(taskId), [])
    await tasks.updateTaskStatus(taskId, 'working', 'half', session)
    await tasks.storeTaskResult(taskId, 'failed', { isError: true }, session)
    assert.deepEqual(await tasks.getTaskResult(taskId, session), { isError: true })
    assert.equal((await tasks.listTasks(undefined, session)).tasks.at(-1).taskId, taskId)
  }
})

test('a task whose result cannot be stored fails: nobody waits for it for ever', async (t) => {
  const { tasks } = await openTasks(t)
  const nested = (levels) => JSON.parse('['.repeat(levels) + ']'.repeat(levels))
  for (const status of ['completed', 'failed']) {
    for (const result of [{ text: 'x'.repeat(2e6) }, { deep: nested(200) }]) {
      const { taskId } = await tasks.createTask({}, 1, request, 'one')
      await tasks.storeTaskResult(taskId, status, result, 'one')
      assert.equal((await tasks.getTask(taskId, 'one')).status, 'failed')
      await assert.rejects(tasks.getTaskResult(taskId, 'one'), { code: -32603, message: /could not be kept/ })
    }
  }
})

test('what the SDK hands over is stored as it would be sent: what is undefined is left out', async (t) => {
  const { store, tasks, queue } = await openTasks(t)
  const params = { name: 'x', _meta: undefined }
  const context = { a: undefined }
  const { taskId } = await tasks.createTask({ ttl: undefined, context }, 1, { method: 'm', params }, 'one')
  const { original_params, meta, ttl } = await store.getTask({ task_id: taskId })
  assert.deepEqual([original_params, meta, ttl], [{ name: 'x' }, { request_id: 1, context: {} }, null])
  await queue.enqueue(taskId, { type: 'request', message: { id: 1, params: undefined }, timestamp: 1 }, 'one')
  assert.deepEqual((await queue.dequeue(taskId, 'one')).message, { id: 1 })
  await tasks.storeTaskResult(taskId, 'completed', { content: [], _meta: undefined, n: NaN }, 'one')
  assert.deepEqual(await tasks.getTaskResult(taskId, 'one'), { content: [], n: null })
})

test('what is over stays over', async (t) => {
  const { tasks } = await openTasks(t)
  const { taskId } = await tasks.createTask({}, 'id-1', { method: 'tools/call' }, 'one')
  await tasks.updateTaskStatus(taskId, 'cancelled', 'Client cancelled task execution.', 'one')
  for (const status of ['completed', 'failed']) {
    await assert.rejects(tasks.storeTaskResult(taskId, status, { content: [] }, 'one'), { kind: 'terminal_state' })
  }
  for (const status of ['working', 'cancelled', 'failed']) {
    await assert.rejects(tasks.updateTaskStatus(taskId, status, undefined, 'one'), { kind: 'terminal_state' })
  }
  await assert.rejects(tasks.getTaskResult(taskId, 'one'), /no result/)
  assert.equal((await tasks.getTask(taskId)).statusMessage, 'Client cancelled task execution.')
})

test("a tool's own error makes the task failed and is its result", async (t) => {
  const { tasks } = await openTasks(t)
  const { taskId } = await tasks.createTask({}, 1, request, 'one')
  const result = { content: [{ type: 'text', text: 'no paper' }], isError: true }
  await tasks.storeTaskResult(taskId, 'failed', result, 'one')
  assert.equal((await tasks.getTask(taskId)).status, 'failed')
  assert.deepEqual(await tasks.getTaskResult(taskId), result)
})

test('a task that ended with an error gives that error', async (t) => {
  const { store, tasks } = await openTasks(t)
  const { taskId } = await tasks.createTask({}, 1, request, 'one')
  await store.failTask({ task_id: taskId, error: { code: -32602, message: 'no such tool', data: { tool: 'x' } } })
  await assert.rejects(tasks.getTaskResult(taskId), { code: -32602, message: 'no such tool', data: { tool: 'x' } })
})

test('another session finds nothing; a call without a session is not restricted', async (t) => {
  const { tasks } = await openTasks(t)
  const { taskId } = await tasks.createTask({}, 1, request, 'one')
  assert.equal(await tasks.getTask(taskId, 'other'), null)
  await assert.rejects(tasks.getTaskResult(taskId, 'other'), { kind: 'task_not_found' })
  await assert.rejects(tasks.storeTaskResult(taskId, 'completed', {}, 'other'), { kind: 'task_not_found' })
  await assert.rejects(tasks.storeTaskResult(taskId, 'failed', {}, 'other'), { kind: 'task_not_found' })
  await assert.rejects(tasks.updateTaskStatus(taskId, 'cancelled', '', 'other'), { kind: 'task_not_found' })
  assert.deepEqual(await tasks.listTasks(undefined, 'other'), { tasks: [] })
  assert.equal(await tasks.getTask('no id\n', 'one'), null)
  assert.equal((await tasks.listTasks(undefined, 'one')).tasks.length, 1)
  assert.equal((await tasks.getTask(taskId)).taskId, taskId)
  await tasks.updateTaskStatus(taskId, 'cancelled')
})

test('tasks of a principal are theirs in every session, and nobody else has them', async (t) => {
  const store = await openStore(t)
  const alice = new TaskStore(store, { principal: 'alice' })
  const bob = new TaskStore(store, { principal: 'bob' })
  // The session is none of the store's: it need not be.
  const { taskId } = await alice.createTask({}, 1, request, 'before the restart')
  assert.equal((await alice.getTask(taskId, 'after the restart')).taskId, taskId)
  for (const session of [undefined, 'before the restart']) assert.equal(await bob.getTask(taskId, session), null)
  assert.deepEqual((await bob.listTasks()).tasks, [])
})

test('lists come in pages, and a cursor of somewhere else is refused', async (t) => {
  const { tasks } = await openTasks(t)
  const made = []
  for (let n = 0; n < 120; n++) made.push((await tasks.createTask({}, n, request, 'one')).taskId)
  await tasks.createTask({}, 0, request, 'other')
  const seen = []
  let cursor
  do {
    const page = await tasks.listTasks(cursor, 'one')
    seen.push(...page.tasks.map(({ taskId }) => taskId))
    cursor = page.nextCursor
  } while (cursor !== undefined)
  assert.deepEqual(seen, made)
  await assert.rejects(tasks.listTasks('no cursor', 'one'), { kind: 'invalid_cursor' })
})

test('a time to live that is too long is cut, and what is answered is what holds', async (t) => {
  const { tasks } = await openTasks(t, { maxTtl: 1000 })
  assert.equal((await tasks.createTask({ ttl: 5000 }, 1, request)).ttl, 1000)
  assert.equal((await tasks.createTask({ ttl: 500 }, 1, request)).ttl, 500)
  assert.equal((await tasks.createTask({ ttl: null }, 1, request)).ttl, 1000)
  assert.equal((await tasks.createTask({}, 1, request)).ttl, 1000)
  const unlimited = await openTasks(t)
  assert.equal((await unlimited.tasks.createTask({}, 1, request)).ttl, null)
})

test('the queue is first in, first out, and its bound is one step with putting', async (t) => {
  const { tasks, queue } = await openTasks(t)
  const { taskId } = await tasks.createTask({}, 1, request, 'one')
  const message = (id) => ({ type: 'request', timestamp: 1, message: { jsonrpc: '2.0', id, method: 'ping' } })
  const puts = await Promise.allSettled([1, 2, 3, 4, 5].map((id) => queue.enqueue(taskId, message(id), 'one', 3)))
  const kinds = puts.map(({ reason }) => reason?.kind)
  assert.deepEqual(kinds, [undefined, undefined, undefined, 'queue_full', 'queue_full'])
  assert.deepEqual(await queue.dequeue(taskId, 'one'), message(1))
  await queue.enqueue(taskId, message(6), 'one')
  assert.deepEqual(await queue.dequeueAll(taskId), [message(2), message(3), message(6)])
  assert.equal(await queue.dequeue(taskId, 'one'), undefined)
  assert.deepEqual(await queue.dequeueAll(taskId, 'one'), [])
  assert.equal(await queue.dequeue('no such task'), undefined)
  assert.deepEqual(await queue.dequeueAll('no such task'), [])
  await assert.rejects(queue.enqueue('no-such-task', message(1)), { kind: 'task_not_found' })
})

test('looking at a queue takes nothing away', async (t) => {
  const { tasks, queue } = await openTasks(t)
  const { taskId } = await tasks.createTask({}, 1, request, 'one')
  assert.deepEqual([await queue.peek(taskId, 'one'), await queue.size(taskId, 'one')], [undefined, 0])
  for (const timestamp of [1, 2]) await queue.enqueue(taskId, { type: 'notification', timestamp, message: {} }, 'one')
  for (let n = 0; n < 3; n++) assert.equal((await queue.peek(taskId, 'one')).timestamp, 1)
  assert.equal(await queue.size(taskId, 'one'), 2)
  for (const [id, session] of [[taskId, 'other'], ['no such task', 'one']]) {
    assert.deepEqual([await queue.peek(id, session), await queue.size(id, session)], [undefined, 0])
  }
  assert.deepEqual((await queue.dequeueAll(taskId, 'one')).map(({ timestamp }) => timestamp), [1, 2])
})

test('clearing a queue never rejects, for nobody waits for it', async (t) => {
  const store = await openStore(t)
  const errors = []
  const queue = new TaskMessageQueue(store, { onError: ({ name }) => errors.push(name) })
  await store.close()
  assert.deepEqual(await queue.dequeueAll('t'), [])
  assert.deepEqual(await new TaskMessageQueue(store).dequeueAll('t'), [])
  assert.deepEqual(errors, ['ChildError'])
  await assert.rejects(queue.dequeue('t'), { reason: 'closed' })
})

test('another session cannot read a queue', async (t) => {
  const { tasks, queue } = await openTasks(t)
  const { taskId } = await tasks.createTask({}, 1, request, 'one')
  await queue.enqueue(taskId, { type: 'notification', timestamp: 1, message: {} }, 'one')
  assert.equal(await queue.dequeue(taskId, 'other'), undefined)
  assert.deepEqual(await queue.dequeueAll(taskId, 'other'), [])
  assert.notEqual(await queue.dequeue(taskId, 'one'), undefined)
})

test('a queue longer than one answer is given whole', async (t) => {
  const store = await openStore(t, { options: SMALL_ANSWERS })
  const [tasks, queue] = [new TaskStore(store), new TaskMessageQueue(store)]
  const { taskId } = await tasks.createTask({}, 1, request)
  const message = 'x'.repeat(900)
  const messages = Array.from({ length: 200 }, (_, timestamp) => ({ type: 'notification', timestamp, message }))
  await Promise.all(messages.map((message) => queue.enqueue(taskId, message)))
  assert.deepEqual(await queue.dequeueAll(taskId), messages)
})

test('tasks, results and queues survive a killed process', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const before = await openStore(t, { database })
  const { taskId } = await new TaskStore(before).createTask({}, 1, request)
  await new TaskStore(before).storeTaskResult(taskId, 'completed', { content: [] })
  await new TaskMessageQueue(before).enqueue(taskId, { type: 'notification', timestamp: 1, message: {} })
  signal(before.pid, 'SIGKILL')
  await eventually(() => before.pid === null, 'the death')
  const after = await openStore(t, { database })
  assert.equal((await new TaskStore(after).getTask(taskId)).status, 'completed')
  assert.deepEqual(await new TaskStore(after).getTaskResult(taskId), { content: [] })
  assert.equal((await new TaskMessageQueue(after).dequeueAll(taskId)).length, 1)
})
