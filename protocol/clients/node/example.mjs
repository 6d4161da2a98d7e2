// An MCP server on node:http (Streamable HTTP) with a tool that takes its time. Kill it in the middle and start it
// again: the tool goes on where it was, and a client that comes back with its Last-Event-ID gets what it missed, each
// message once and in order.
//
// Clients of MCP 2026-07-28 have no sessions. For those that know tasks the count is one, and goes on as well; to the
// others it is answered when it is done, as long as they and this process are there.
//
//     node example.mjs [PORT] [DATABASE]

import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { isModern } from './era.mjs'
import { EventStore } from './event-store.mjs'
import { httpSessions } from './http-sessions.mjs'
import { SessionStore, RequestError } from './index.mjs'
import { TaskService } from './task-service.mjs'

const [port = '3000', database = 'example.db'] = process.argv.slice(2)
const VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26']
const MODERN = '2026-07-28'
const META = 'io.modelcontextprotocol'
const TASKS = `${META}/tasks`
const INFO = { name: 'example', version: '1.0.0' }
const HOSTS = ['localhost', '127.0.0.1']
const COUNT = {
  name: 'count',
  description: 'Counts, slowly, and tells how far it is.',
  inputSchema: {
    type: 'object',
    properties: { to: { type: 'integer', minimum: 1, maximum: 10_000 }, every_ms: { type: 'integer', minimum: 0 } },
    required: ['to'],
  },
}

const store = await SessionStore.open({ database })
const tasks = new TaskService(store, { pollIntervalMs: 500 })
const sessions = httpSessions(store, {
  screen: true,
  rateLimit: { limit: 600, window: 60_000 },
  health: '/healthz',
  hint: false,
})

// --- The tool. A task in the store stands for each call: what was asked, and how far it is.

/** Makes the task of a call, and the first event of its stream, which a client can come back to. */
async function beginCall(session_id, stream_id, { id, params }) {
  const meta = { stream_id, request_id: id, progress_token: params._meta?.progressToken ?? null, done: 0 }
  const { results } = await store.transaction({
    calls: [
      { method: 'store_event', params: { session_id, stream_id, event_type: 'keepalive', data: {} } },
      { method: 'create_task', params: { session_id, original_method: 'tools/call', original_params: params, meta } },
    ],
  })
  return { priming: results[0], task: results[1] }
}

/** Works on a task until it is over. Each step and what is told of it are one transaction: there are no halves. */
async function work(task) {
  const { to, every_ms = 0 } = task.original_params.arguments
  while (task?.status === 'working') {
    await new Promise((resolve) => setTimeout(resolve, every_ms))
    try {
      task = await step(task, to)
    } catch (error) {
      // Another process made this step: as the one before this one did with its last breath.
      if (!(error instanceof RequestError) || error.kind !== 'concurrent_modification') throw error
      task = await store.getTask({ task_id: task.task_id })
    }
  }
}

const resultOf = (to) => ({ content: [{ type: 'text', text: `Counted to ${to}.` }] })

async function step(task, to) {
  const { task_id, session_id, revision, cancel_requested } = task
  if (cancel_requested) return store.cancelTask({ task_id })
  const { stream_id, request_id, progress_token = null, done } = task.meta
  const tell = (data) => ({ method: 'store_event', params: { session_id, stream_id, data } })
  const progress = done + 1
  const isLast = progress === to
  const result = resultOf(to)
  const status_message = `${progress} of ${to}`
  const next = { task_id, status_message, meta: { ...task.meta, done: progress } }
  const calls = [{ method: 'update_task', params: { task: next, if_revision: revision } }]
  if (progress_token !== null) {
    const params = { progressToken: progress_token, progress, total: to }
    calls.push(tell({ jsonrpc: '2.0', method: 'notifications/progress', params }))
  }
  if (isLast) {
    if (session_id !== null) calls.push(tell({ jsonrpc: '2.0', id: request_id, result }))
    calls.push({ method: 'complete_task', params: { task_id, result, status_message } })
  }
  const { results } = await store.transaction({ calls })
  return isLast ? results.at(-1) : results[0]
}

function workInBackground(task) {
  work(task).catch((error) => console.error(`task ${task.task_id}: ${error.message}`))
}

/** What the last process left unfinished. */
async function resumeTasks() {
  for (let cursor; cursor !== null; ) {
    const { tasks, next_cursor } = await store.listTasks({ status: 'working', cursor })
    tasks.forEach(workInBackground)
    cursor = next_cursor
  }
}

// --- HTTP

function answer(response, status, body, headers = {}) {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers })
  response.end(body === undefined ? undefined : JSON.stringify(body))
}

function refuse(response, status, message, { id = null, code = -32600 } = {}) {
  answer(response, status, { jsonrpc: '2.0', id, error: { code, message } })
}

/** Sends the events of a stream behind `after`, old and new, until the response to its request is sent. */
async function stream(response, session_id, stream_id, after, { isOver = false } = {}) {
  const ids = new EventStore(store, { session_id })
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform' })
  // The first event of a stream, and of a resumed one too: where to come back to.
  response.write(`id: ${ids.toEventId(after)}\nretry: 500\ndata:\n\n`)
  if (!isOver) {
    const events = store.subscribeEvents({ session_id, stream_id, after_event_id: after })
    response.on('close', () => events.return())
    for await (const { id, data, event_type } of events) {
      if (event_type === 'keepalive') continue
      const hasRoom = response.write(`id: ${ids.toEventId(id)}\ndata: ${JSON.stringify(data)}\n\n`)
      if (data.id !== undefined) break
      if (!hasRoom) await new Promise((resolve) => response.once('drain', resolve).once('close', resolve))
    }
  }
  response.end()
}

async function handleGet(request, response, { session_id }) {
  const last = request.headers['last-event-id']
  if (last === undefined) return refuse(response, 405, 'There is no stream but those of requests.')
  const id = new EventStore(store, { session_id }).fromEventId(last)
  const page = id && (await store.getEventsAfter({ session_id, after_event_id: id - 1, limit: 1 }))
  const event = page?.events[0]
  if (event?.id !== id || event?.stream_id == null) return refuse(response, 400, 'The Last-Event-ID is not known.')
  await stream(response, session_id, event.stream_id, id, { isOver: event.data.id !== undefined })
}

function isCount({ name, arguments: { to, every_ms = 0 } = {} }) {
  return name === COUNT.name && Number.isInteger(to) && to >= 1 && to <= 10_000 && every_ms >= 0 && every_ms <= 60_000
}

async function handlePost(request, response) {
  const { body, headers, mcpSession } = request
  const { id, method, params = {} } = body
  if (isModern(headers['mcp-protocol-version'], body)) return handleModern(request, response)
  if (method === 'initialize') {
    const { capabilities, clientInfo, protocolVersion } = params
    const version = VERSIONS.includes(protocolVersion) ? protocolVersion : VERSIONS[0]
    const { session_id } = await store.createSession({
      status: 'active',
      id_format: 'random',
      client_capabilities: capabilities,
      metadata: { protocolVersion: version, clientInfo },
    })
    const result = { protocolVersion: version, capabilities: { tools: {} }, serverInfo: INFO }
    return answer(response, 200, { jsonrpc: '2.0', id, result }, { 'Mcp-Session-Id': session_id })
  }
  if (mcpSession === null) return refuse(response, 400, 'An Mcp-Session-Id is needed: initialize first.', { id })
  const { session_id } = mcpSession
  if (method === 'notifications/initialized') {
    await store.updateSession({ session: { session_id, is_initialized: true } })
  }
  if (id === undefined) return answer(response, 202)
  if (method === 'ping') return answer(response, 200, { jsonrpc: '2.0', id, result: {} })
  if (method === 'tools/list') return answer(response, 200, { jsonrpc: '2.0', id, result: { tools: [COUNT] } })
  if (method !== 'tools/call') return refuse(response, 200, `There is no ${method}.`, { id, code: -32601 })
  if (!isCount(params)) {
    return refuse(response, 200, 'There is no such tool, or it cannot count that far.', { id, code: -32602 })
  }
  const stream_id = randomUUID()
  const { priming, task } = await beginCall(session_id, stream_id, body)
  workInBackground(task)
  await stream(response, session_id, stream_id, priming.id)
}

// --- Clients of MCP 2026-07-28: each request stands by itself

/** Answers with what was asked for, as the era has it: each result says of which type it is, and by whom. */
function complete(response, id, result) {
  const _meta = { [`${META}/serverInfo`]: INFO }
  answer(response, 200, { jsonrpc: '2.0', id, result: { resultType: 'complete', _meta, ...result } })
}

async function handleModern({ headers, body }, response) {
  const { id, method, params = {} } = body
  const fail = (status, code, message, data) => {
    answer(response, status, { jsonrpc: '2.0', id: id ?? null, error: { code, message, data } })
  }
  const requested = params._meta?.[`${META}/protocolVersion`] ?? headers['mcp-protocol-version']
  if (requested !== MODERN) {
    return fail(400, -32022, 'Unsupported protocol version', { supported: [MODERN, ...VERSIONS], requested })
  }
  const said = { 'mcp-protocol-version': MODERN, 'mcp-method': method }
  const differs = Object.keys(said).find((name) => headers[name] !== said[name])
  if (differs !== undefined) return fail(400, -32020, `The header ${differs} does not say what the body says.`)
  if (id === undefined) return answer(response, 202)

  const isCacheable = { ttlMs: 0, cacheScope: 'private' }
  if (method === 'server/discover') {
    const capabilities = { tools: {}, extensions: { [TASKS]: {} } }
    return complete(response, id, { supportedVersions: [MODERN], capabilities, ...isCacheable })
  }
  if (method === 'tools/list') return complete(response, id, { tools: [COUNT], ...isCacheable })
  const knowsTasks = params._meta?.[`${META}/clientCapabilities`]?.extensions?.[TASKS] !== undefined
  if (method === 'tools/call') {
    if (!isCount(params)) return fail(400, -32602, 'There is no such tool, or it cannot count that far.')
    return complete(response, id, knowsTasks ? await countAsTask(params) : await countNow(params, response))
  }
  const ofTask = {
    'tasks/get': () => tasks.get(params.taskId),
    'tasks/update': () => tasks.update(params.taskId, params.inputResponses ?? {}),
    'tasks/cancel': () => tasks.cancel(params.taskId),
  }[method]
  if (ofTask === undefined) return fail(404, -32601, `There is no ${method}.`)
  if (!knowsTasks) {
    const requiredCapabilities = { extensions: { [TASKS]: {} } }
    return fail(400, -32021, 'Only a client that declares tasks may ask for them.', { requiredCapabilities })
  }
  const found = typeof params.taskId === 'string' && (await ofTask())
  if (!found) return fail(400, -32602, 'There is no such task.')
  complete(response, id, found === true ? {} : found)
}

async function countAsTask({ name, arguments: { to, every_ms = 0 } }) {
  const request = { method: 'tools/call', params: { name, arguments: { to, every_ms } } }
  const made = await tasks.create({ request, context: { done: 0 } })
  workInBackground(await store.getTask({ task_id: made.taskId }))
  return { ...made, resultType: 'task' }
}

async function countNow({ arguments: { to, every_ms = 0 } }, response) {
  for (let done = 0; done < to && !response.destroyed; done++) {
    await new Promise((resolve) => setTimeout(resolve, every_ms))
  }
  return resultOf(to)
}

async function handle(request, response) {
  const { method, mcpSession, body } = request
  if (method === 'POST' && typeof body === 'object' && body !== null && !Array.isArray(body)) {
    return handlePost(request, response)
  }
  if (method === 'POST') return refuse(response, 400, 'One JSON-RPC message is expected.')
  if (mcpSession === null) return refuse(response, 400, 'An Mcp-Session-Id is needed.')
  if (method === 'GET') return handleGet(request, response, mcpSession)
  if (method !== 'DELETE') return refuse(response, 405, 'GET, POST and DELETE are served.')
  await store.deleteSession({ session_id: mcpSession.session_id, delete_tasks: true })
  answer(response, 200, {})
}

const server = createServer((request, response) => {
  const { origin } = request.headers
  // A page of somewhere else must not reach a server on this machine.
  if (origin !== undefined && !(URL.canParse(origin) && HOSTS.includes(new URL(origin).hostname))) {
    return refuse(response, 403, 'That origin is not served.')
  }
  sessions(request, response, () => handle(request, response)).catch((error) => {
    console.error(`${request.method}: ${error.message}`)
    if (response.headersSent) response.end()
    else refuse(response, 500, 'Something went wrong.', { code: -32603 })
  })
})

server.listen(Number(port), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/mcp`))
await resumeTasks()

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    // Whoever resumes gets from the next process what this one has not told.
    const cut = setTimeout(() => server.closeAllConnections(), 5000)
    server.close(async () => {
      clearTimeout(cut)
      await store.close()
      process.exit()
    })
  })
}
