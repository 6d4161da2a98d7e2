// A server that is told to end: it answers what it was asked, then closes its store, and nothing of it is lost.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { binary, eventually, host, isRunning, openStore, root, temporaryFolder } from './fixture.mjs'

/** A server whose tool writes only when the server has been told to end; it says its address, and when it is asked. */
function program(database, adapter) {
  return `
    import { createServer } from 'node:http'
    import { DurableSessions } from ${JSON.stringify(join(root, 'protocol/clients/node/durable-sessions.mjs'))}
    import { httpSessions } from ${JSON.stringify(join(root, 'protocol/clients/node/http-sessions.mjs'))}
    import { StandInTransport } from ${JSON.stringify(join(root, 'Tests/Clients/node/transport.mjs'))}
    const store = await SessionStore.open({ binary, database: ${JSON.stringify(database)}, log: console.error })
    const told = new Promise((resolve) => process.once('SIGTERM', resolve))
    async function work() {
      console.log('asked')
      await told
      await new Promise((resolve) => setTimeout(resolve, 50))
      return store.putValue({ collection: 'c', key: 'last words', value: store.pid })
    }
    ${adapter}
    server.listen(0, '127.0.0.1', () => console.log('http://127.0.0.1:' + server.address().port + '/mcp'))
    await told
    console.log('told')
    stop()`
}

const MIDDLEWARE = `
  const sessions = httpSessions(store, { health: '/healthz' })
  const server = createServer((request, response) => sessions(request, response, async () => {
    const { stored } = await work()
    response.end(JSON.stringify({ stored }))
  }))
  const stop = () => server.close(() => store.close())`

const TRANSPORTS = `
  const sessions = new DurableSessions(store, {
    async connect(options) {
      const transport = new StandInTransport(options)
      transport.onclose = () => {}
      transport.onmessage = async ({ id, method }) => {
        if (id === undefined) return
        const result = method === 'initialize' ? { protocolVersion: '2025-11-25' } : await work()
        await transport.send({ jsonrpc: '2.0', id, result })
        if (method !== 'initialize') void sessions.close()
      }
      return transport
    },
  })
  const server = createServer(sessions.handleNodeRequest)
  const stop = () => server.close(() => store.close())`

async function start(t, adapter) {
  const database = join(temporaryFolder(t), 'sessions.db')
  const child = host(program(database, adapter))
  t.after(() => child.kill('SIGKILL'))
  const lines = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  child.stderr.pipe(process.stderr)
  const address = await eventually(() => lines[0], 'the address')
  const told = async () => {
    await eventually(() => lines.includes('asked'), 'the request')
    const exit = once(child, 'exit')
    child.kill('SIGTERM')
    await eventually(() => lines.includes('told'), 'the signal')
    return exit
  }
  /** What the server wrote last: the process id of its store, which is no more. */
  const lastWords = async () => {
    const { value } = await (await openStore(t, { database })).getValue({ collection: 'c', key: 'last words' })
    return value
  }
  return { address, told, lastWords }
}

test('a server behind the middleware answers what is open, and its store ends behind it', async (t) => {
  const { address, told, lastWords } = await start(t, MIDDLEWARE)
  const open = fetch(address, { method: 'POST', body: '{}', headers: { Connection: 'close' } })
  const exit = told()
  assert.deepEqual(await (await open).json(), { stored: true })
  assert.deepEqual(await exit, [0, null])
  const pid = await lastWords()
  assert.ok(pid > 0 && !isRunning(pid))
})

test('a server of sessions answers what is open, its streams end with it, and the session goes on later', async (t) => {
  const { address, told, lastWords } = await start(t, TRANSPORTS)
  const ask = (message, session = {}) => fetch(address, {
    method: message === undefined ? 'GET' : 'POST',
    headers: { Accept: 'application/json, text/event-stream', Connection: 'close', ...session },
    body: message && JSON.stringify({ jsonrpc: '2.0', ...message }),
  })
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } }
  const initialized = await ask({ id: 0, method: 'initialize', params })
  const session = { 'Mcp-Session-Id': initialized.headers.get('mcp-session-id') }
  await initialized.text()
  const stream = await ask(undefined, session)
  const open = ask({ id: 1, method: 'work' }, session)
  const exit = told()
  assert.ok((await (await open).text()).includes('"stored":true'))
  await stream.text()
  assert.deepEqual(await exit, [0, null])
  assert.ok(!isRunning(await lastWords()))
})
