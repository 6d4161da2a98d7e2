// What those hear who watch the calls of a store: Node's diagnostics channels, and OpenTelemetry.

import assert from 'node:assert/strict'
import * as diagnostics from 'node:diagnostics_channel'
import { test } from 'node:test'
import { contextOf, currentTrace, instrument, traceIn } from '../../../protocol/clients/node/otel.mjs'
import { TaskService } from '../../../protocol/clients/node/task-service.mjs'
import { TaskStore } from '../../../protocol/clients/node/task-store.mjs'
import { eventually, freeze, openStore, signal } from './fixture.mjs'
import { makeApi } from './opentelemetry.mjs'

const PARTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error']
const SECRET = 'nobody-shall-see-this'

/** What the channels tell from now on, as `[part, call]`. */
function listen(t) {
  const heard = []
  const listeners = PARTS.map((part) => [`tracing:mcp-session-store:call:${part}`, (call) => heard.push([part, call])])
  for (const each of listeners) diagnostics.subscribe(...each)
  t.after(() => listeners.forEach((each) => diagnostics.unsubscribe(...each)))
  return heard
}

test('a call is told from beginning to end, without what was said in it', async (t) => {
  const store = await openStore(t)
  const heard = listen(t)
  await store.putValue({ collection: 'c', key: SECRET, value: SECRET })
  assert.deepEqual(heard.map(([part]) => part), ['start', 'end', 'asyncStart', 'asyncEnd'])
  const [call, ...others] = new Set(heard.map(([, each]) => each))
  assert.deepEqual(others, [], 'one object for one call')
  const { store: whose, duration, ...rest } = call
  assert.equal(whose, store)
  assert.deepEqual(rest, { method: 'put_value', outcome: 'ok', kind: null })
  assert.ok(Number.isFinite(duration) && duration >= 0)
})

test('a call that fails says how, by words that are known beforehand', async (t) => {
  const store = await openStore(t)
  const heard = listen(t)
  const faults = []
  const fails = async (call) => {
    heard.length = 0
    await assert.rejects(call)
    const [, { method, outcome, kind }] = heard.find(([part]) => part === 'error')
    assert.deepEqual(heard.map(([part]) => part).filter((part) => part !== 'end'), ['start', 'error', 'asyncStart',
      'asyncEnd'])
    assert.ok(!JSON.stringify({ method, outcome, kind }).includes(SECRET))
    faults.push([method, outcome, kind])
  }
  await fails(() => store.storeEvent({ session_id: SECRET, data: {} }))
  await fails(() => store.putValue({ collection: 'c', key: 'k', value: { [SECRET]: NaN } }))
  await fails(() => store.getSession({ session_id: 's' }, { signal: AbortSignal.abort(SECRET) }))
  await freeze(store.pid)
  await fails(() => store.putValue({ collection: 'c', key: 'k', value: 1 }, { timeout: 1 }))
  signal(store.pid, 'SIGCONT')
  await store.close()
  await fails(() => store.getSession({ session_id: 's' }))
  assert.deepEqual(faults, [
    ['store_event', 'not_applied', 'session_not_found'],
    ['put_value', 'not_applied', 'TypeError'],
    ['get_session', 'not_applied', 'AbortError'],
    ['put_value', faults[3][1], 'CallTimeout'],
    ['get_session', 'not_applied', 'closed'],
  ])
  assert.ok(['unknown', 'not_applied'].includes(faults[3][1]))
})

test('subscribing is a call too, and the channel of Node itself leads to the same', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's', status: 'active' })
  const methods = []
  const listener = ({ method }) => methods.push(method)
  const traced = diagnostics.tracingChannel?.('mcp-session-store:call').asyncEnd ??
    diagnostics.channel('tracing:mcp-session-store:call:asyncEnd')
  traced.subscribe(listener)
  t.after(() => traced.unsubscribe(listener))
  const events = store.subscribeEvents({ session_id: 's' })
  await events.opened()
  await events.return()
  await eventually(() => methods.length === 2, 'the end of both')
  assert.deepEqual(methods, ['subscribe_events', 'unsubscribe'])
})

test('OpenTelemetry gets a span, a duration and a count for each call, and nothing after the end', async (t) => {
  const { api, told } = makeApi()
  const [store, other] = [await openStore(t), await openStore(t)]
  const stop = instrument(api, { store })
  const outer = api.trace.getTracer().startSpan('tool')
  told.spans.length = 0
  await api.context.with(api.trace.setSpan(api.context.active(), outer), async () => {
    await Promise.all([
      store.putValue({ collection: 'c', key: SECRET, value: SECRET }),
      assert.rejects(store.touchTask({ task_id: SECRET })),
      other.serverInfo(),
    ])
  })
  stop()
  await store.serverInfo()
  assert.deepEqual(told.spans.map(({ name, kind, parent, traceId, isEnded, status, attributes }) => {
    return { name, kind, isBelow: parent === outer.spanId && traceId === outer.traceId, isEnded, status, attributes }
  }), [
    {
      name: 'mcp_session_store put_value', kind: api.SpanKind.CLIENT, isBelow: true, isEnded: true,
      status: { code: 0 },
      attributes: { 'mcp_session_store.method': 'put_value', 'mcp_session_store.outcome': 'ok' },
    },
    {
      name: 'mcp_session_store touch_task', kind: api.SpanKind.CLIENT, isBelow: true, isEnded: true,
      status: { code: 2, message: 'task_not_found' },
      attributes: {
        'mcp_session_store.method': 'touch_task',
        'mcp_session_store.outcome': 'not_applied',
        'error.type': 'task_not_found',
      },
    },
  ])
  assert.deepEqual(told.points.map(({ name, attributes }) => [name, attributes['mcp_session_store.method']]), [
    ['mcp_session_store.call.duration', 'put_value'],
    ['mcp_session_store.calls', 'put_value'],
    ['mcp_session_store.call.duration', 'touch_task'],
    ['mcp_session_store.calls', 'touch_task'],
    ['mcp_session_store.errors', 'touch_task'],
  ])
  assert.equal(told.instruments.get('mcp_session_store.call.duration').unit, 's')
  for (const { name, value } of told.points) assert.ok(name.endsWith('duration') ? value < 60 : value === 1)
  assert.ok(!JSON.stringify([told.spans, told.points]).includes(SECRET))
})

test('an exporter that throws harms no call', async (t) => {
  const { api } = makeApi()
  const store = await openStore(t)
  const broken = () => {
    throw new Error('the exporter is broken')
  }
  for (const tracer of [{ startSpan: broken }, { startSpan: () => ({ setAttributes: broken }) }]) {
    const stop = instrument({ ...api, trace: { getTracer: () => tracer } })
    assert.equal((await store.putValue({ collection: 'c', key: 'k', value: 1 })).stored, true)
    stop()
  }
})

test('a task keeps the trace of who asked, also over the end of its server, and gives it back', async (t) => {
  const { api } = makeApi()
  const store = await openStore(t)
  const tasks = new TaskService(store)
  const caller = api.trace.getTracer().startSpan('request')
  const { taskId, bare } = await api.context.with(api.trace.setSpan(api.context.active(), caller), async () => {
    const trace = currentTrace(api)
    assert.deepEqual(Object.keys(trace), ['traceparent'], 'what else is propagated is not kept')
    const { taskId } = await tasks.create({ context: { done: 3 }, trace })
    return { taskId, bare: await tasks.create({ context: [1] }) }
  })
  const task = await store.getTask({ task_id: taskId })
  assert.equal(task.meta.done, 3)
  assert.equal(task.meta.traceparent, `00-${caller.traceId}-${caller.spanId}-01`)
  assert.equal(api.trace.getSpan(contextOf(api, task)).spanId, caller.spanId)
  // Nothing is kept that was not given, and nothing is hidden behind another's context.
  assert.deepEqual((await store.getTask({ task_id: bare.taskId })).meta, [1])
  await assert.rejects(tasks.create({ context: [1], trace: { traceparent: 'x' } }), TypeError)
  assert.equal(contextOf(api, { meta: null, original_params: null }), api.context.active())
  assert.deepEqual(traceIn({ traceparent: 'a'.repeat(513), tracestate: 7, cookie: 'c' }), {})
})

test('what a client says of its trace itself is kept with what it asked for', async (t) => {
  const { api } = makeApi()
  const store = await openStore(t)
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  const request = { method: 'tools/call', params: { name: 'x', _meta: { traceparent, tracestate: 'v=1' } } }
  const { taskId } = await new TaskStore(store).createTask({}, 1, request)
  const task = await store.getTask({ task_id: taskId })
  assert.deepEqual(traceIn(task.original_params._meta), { traceparent, tracestate: 'v=1' })
  assert.equal(api.trace.getSpan(contextOf(api, task)).spanId, 'b'.repeat(16))
})
