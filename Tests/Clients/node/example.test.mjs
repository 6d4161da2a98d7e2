// The example, as a program: it is killed in the middle of a tool and started again.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { binary, environment, eventually, openStore, root, temporaryFolder } from './fixture.mjs'

const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => first + n)

/** Starts the example on a free port; resolves with its process and address when it listens. */
async function start(t, database) {
  const child = spawn(process.execPath, [join(root, 'protocol/clients/node/example.mjs'), '0', database], {
    env: { ...environment, MCP_SESSION_STORE_BINARY: binary },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const [address] = await once(createInterface({ input: child.stdout }), 'line')
  return { address, child }
}

/** A POST whose answer is JSON. */
async function post(address, message, session, headers = {}) {
  const named = session === undefined ? {} : { 'Mcp-Session-Id': session }
  const body = JSON.stringify({ jsonrpc: '2.0', ...message })
  const response = await fetch(address, { method: 'POST', headers: { ...named, ...headers }, body })
  const text = await response.text()
  return { status: response.status, session: response.headers.get('mcp-session-id'), json: text && JSON.parse(text) }
}

/**
 * Reads an SSE answer event by event, until it ends or `isEnough(events)`. The events are `{id, message}`, and a
 * priming event has no message.
 */
function read(address, { method = 'GET', session, last, message }, isEnough = () => false) {
  const headers = { 'Mcp-Session-Id': session, ...(last === undefined ? {} : { 'Last-Event-ID': last }) }
  return new Promise((resolve, reject) => {
    const events = []
    let isRead = false
    const finish = (status) => {
      isRead = true
      resolve({ status, events })
    }
    const request = httpRequest(address, { method, headers }, (response) => {
      let event = {}
      const lines = createInterface({ input: response })
      lines.on('line', (line) => {
        if (isRead) return
        if (line.startsWith('id: ')) event.id = line.slice(4)
        if (line.startsWith('data: ')) event.message = JSON.parse(line.slice(6))
        if (line !== '' || event.id === undefined) return
        events.push(event)
        event = {}
        if (isEnough(events)) finish(response.statusCode)
      })
      lines.on('close', () => finish(response.statusCode))
      lines.on('error', () => {})
      response.on('error', () => {})
    })
    request.on('error', (error) => isRead || reject(error))
    request.end(message === undefined ? undefined : JSON.stringify({ jsonrpc: '2.0', ...message }))
  })
}

/** Whether the server that has just died left something to be done. */
async function isUnfinished(t, database) {
  const store = await openStore(t, { database })
  const { count } = await store.taskCount({ status: 'working' })
  await store.close()
  return count > 0
}

async function initialize(address) {
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } }
  const { session, json } = await post(address, { id: 0, method: 'initialize', params })
  assert.equal(json.result.protocolVersion, '2025-11-25')
  assert.equal((await post(address, { method: 'notifications/initialized' }, session)).status, 202)
  return session
}

const count = (id, to, every_ms = 0) => ({
  id,
  method: 'tools/call',
  params: { name: 'count', arguments: { to, every_ms }, _meta: { progressToken: `token ${id}` } },
})

test('a client that comes back gets what it missed, once and in order, after each kill', async (t) => {
  const database = join(temporaryFolder(t), 'example.db')
  let { address, child } = await start(t, database)
  const session = await initialize(address)

  const seen = []
  let last
  const take = ({ events }) => {
    // The first event of a connection only says where to come back to.
    assert.equal(events[0].message, undefined)
    seen.push(...events.slice(1).map(({ message }) => message))
    last = events.at(-1).id
  }
  // A machine that is busy elsewhere may count to the end before the kill; then once more, until it was in the middle.
  let killsInTheMiddle = 0
  for (let id = 1; killsInTheMiddle === 0; id++) {
    seen.length = 0
    take(await read(address, { method: 'POST', session, message: count(id, 60, 5) }, (events) => events.length > 5))
    for (let round = 0; round < 3; round++) {
      child.kill('SIGKILL')
      await once(child, 'exit')
      if (await isUnfinished(t, database)) killsInTheMiddle += 1
      ;({ address, child } = await start(t, database))
      const { status, ...rest } = await read(address, { session, last }, (events) => events.length > 6)
      assert.equal(status, 200)
      take(rest)
    }
    take(await read(address, { session, last }))

    const result = seen.pop()
    assert.deepEqual(result, { jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'Counted to 60.' }] } })
    assert.deepEqual(seen.map(({ params }) => params.progress), numbers(1, 60))
    assert.deepEqual(new Set(seen.map(({ params }) => params.progressToken)), new Set([`token ${id}`]))
  }

  // It is over: coming back once more ends at once, with nothing new.
  const { events } = await read(address, { session, last })
  assert.deepEqual(events.map(({ message }) => message), [undefined])
})

test('two servers that work on the same task tell nothing twice', async (t) => {
  const database = join(temporaryFolder(t), 'example.db')
  const { address } = await start(t, database)
  const session = await initialize(address)
  const reading = read(address, { method: 'POST', session, message: count(1, 100, 20) })
  // The second takes up what it finds unfinished, though the first is still at it.
  await start(t, database)
  const { events } = await reading
  const messages = events.slice(1).map(({ message }) => message)
  assert.equal(messages.pop().id, 1)
  assert.deepEqual(messages.map(({ params }) => params.progress), numbers(1, 100))
})

test('calls of one session do not mix, also when resumed', async (t) => {
  const { address } = await start(t, join(temporaryFolder(t), 'example.db'))
  const session = await initialize(address)
  const reading = [5, 7].map((to, id) => read(address, { method: 'POST', session, message: count(id, to, 1) }))
  for (const [id, { events }] of (await Promise.all(reading)).entries()) {
    const messages = events.slice(1).map(({ message }) => message)
    assert.equal(messages.pop().id, id)
    assert.deepEqual(messages.map(({ params }) => params.progressToken), messages.map(() => `token ${id}`))
    assert.equal(messages.length, [5, 7][id])
    const resumed = await read(address, { session, last: events[2].id })
    assert.deepEqual(resumed.events.slice(1), events.slice(3))
  }
})

test('what is wrong is refused, and what is over is 404', async (t) => {
  const { address, child } = await start(t, join(temporaryFolder(t), 'example.db'))
  const session = await initialize(address)
  const other = await initialize(address)
  const { events } = await read(address, { method: 'POST', session: other, message: count(1, 1) })
  assert.equal((await read(address, { session, last: events[1].id })).status, 400, 'an id of another session')
  assert.equal((await read(address, { session })).status, 405)
  assert.equal((await post(address, { id: 1, method: 'tools/list' })).status, 400)
  assert.equal((await post(address, { id: 1, method: 'tools/list' }, session)).json.result.tools[0].name, 'count')
  assert.equal((await post(address, { id: 1, method: 'no/such' }, session)).json.error.code, -32601)
  assert.equal((await post(address, count(1, 0), session)).json.error.code, -32602)
  assert.equal((await post(address, { id: 1, method: 'ping' }, session, { Origin: 'http://example.com' })).status, 403)
  const { status } = await fetch(address, { method: 'DELETE', headers: { 'Mcp-Session-Id': session } })
  assert.equal(status, 200)
  const gone = await post(address, { id: 1, method: 'ping' }, session)
  assert.deepEqual([gone.status, gone.json.error.data.retry], [404, 're-initialize'])
  child.kill('SIGTERM')
  assert.deepEqual(await once(child, 'exit'), [0, null])
})

/** What a client of MCP 2026-07-28 sends: each request says by itself who asks, and what the client can do. */
async function postModern(address, method, params = {}, { tasks = true, version = '2026-07-28', headers = {} } = {}) {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': version,
    'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': tasks ? { extensions: { 'io.modelcontextprotocol/tasks': {} } } : {},
  }
  const routing = { 'MCP-Protocol-Version': version, 'Mcp-Method': method, ...headers }
  const { status, json } = await post(address, { id: 1, method, params: { ...params, _meta } }, undefined, routing)
  return { status, ...json }
}

test('for clients without sessions the count is a task, which goes on after each kill', async (t) => {
  const database = join(temporaryFolder(t), 'example.db')
  let { address, child } = await start(t, database)
  const { result: found } = await postModern(address, 'server/discover')
  assert.deepEqual([found.resultType, found.supportedVersions], ['complete', ['2026-07-28']])
  assert.ok(found.capabilities.extensions['io.modelcontextprotocol/tasks'])
  let killsInTheMiddle = 0
  while (killsInTheMiddle === 0) {
    const call = { name: 'count', arguments: { to: 60, every_ms: 5 } }
    const { result: made } = await postModern(address, 'tools/call', call)
    assert.deepEqual([made.resultType, made.status], ['task', 'working'])
    child.kill('SIGKILL')
    await once(child, 'exit')
    if (await isUnfinished(t, database)) killsInTheMiddle += 1
    ;({ address, child } = await start(t, database))
    const task = await eventually(async () => {
      const { result } = await postModern(address, 'tasks/get', { taskId: made.taskId })
      return result.status !== 'working' && result
    }, 'the end of the count')
    assert.deepEqual([task.resultType, task.status, task.statusMessage], ['complete', 'completed', '60 of 60'])
    assert.deepEqual(task.result, { content: [{ type: 'text', text: 'Counted to 60.' }] })
  }
})

test('a count that is not wanted any more is cancelled; who does not know tasks gets the answer itself', async (t) => {
  const { address } = await start(t, join(temporaryFolder(t), 'example.db'))
  const call = { name: 'count', arguments: { to: 10_000, every_ms: 1 } }
  const { result: { taskId } } = await postModern(address, 'tools/call', call)
  assert.equal((await postModern(address, 'tasks/cancel', { taskId })).result.resultType, 'complete')
  await eventually(async () => (await postModern(address, 'tasks/get', { taskId })).result.status === 'cancelled', 'it')
  const few = { name: 'count', arguments: { to: 3 } }
  const { result } = await postModern(address, 'tools/call', few, { tasks: false })
  assert.deepEqual([result.resultType, result.content[0].text], ['complete', 'Counted to 3.'])
})

test('what is wrong in the newer era is told with its codes', async (t) => {
  const { address } = await start(t, join(temporaryFolder(t), 'example.db'))
  const refused = async (...request) => {
    const { status, error } = await postModern(address, ...request)
    return [status, error.code]
  }
  assert.deepEqual(await refused('server/discover', {}, { version: '2027-01-01' }), [400, -32022])
  assert.deepEqual(await refused('tools/list', {}, { headers: { 'Mcp-Method': 'other' } }), [400, -32020])
  assert.deepEqual(await refused('no/such'), [404, -32601])
  assert.deepEqual(await refused('tools/call', { name: 'count', arguments: { to: 2.5 } }), [400, -32602])
  assert.deepEqual(await refused('tasks/get', { taskId: 'x' }), [400, -32602])
  assert.deepEqual(await refused('tasks/get', {}), [400, -32602])
  assert.deepEqual(await refused('tasks/get', { taskId: 'x' }, { tasks: false }), [400, -32021])
})
