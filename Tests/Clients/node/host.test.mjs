// The client in a host process of its own: what keeps it alive, what cannot end it, and what it leaves behind.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { endOf, eventually, freeze, host, isRunning, openStore, outcome, program, signal, temporaryFolder } from './fixture.mjs'

const OPEN = `const store = await SessionStore.open({ binary, database: ':memory:', log: () => {} })`

for (const [how, end] of [
  ['exits', 'process.exit(0)'],
  ['is killed', 'process.kill(process.pid, "SIGKILL")'],
  ['throws', 'throw new Error("on purpose")'],
  ['rejects', 'Promise.reject(new Error("on purpose"))'],
]) {
  for (const [state, call] of [['idle', ''], ['busy', 'for (let n = 0; n < 1000; n++) void store.createSession()']]) {
    test(`a host that ${how} with an ${state} store leaves no child`, async () => {
      const parent = host(`${OPEN}
        console.log(store.pid)
        process.stdin.once('data', () => { ${call}; ${end} })`)
      const [text] = await once(parent.stdout, 'data')
      const pid = Number(text)
      assert.ok(isRunning(pid))
      parent.stdin.write('end')
      await once(parent, 'exit')
      await eventually(() => !isRunning(pid), 'the end of the child')
    })
  }
}

test('a store in a worker thread ends with its thread', async () => {
  const module = new URL('../../../protocol/clients/node/index.mjs', import.meta.url)
  const parent = host(`
    import { Worker } from 'node:worker_threads'
    const worker = new Worker(\`
      import('${module}').then(async ({ SessionStore }) => {
        const { parentPort, workerData } = await import('node:worker_threads')
        const store = await SessionStore.open({ binary: workerData, database: ':memory:' })
        await store.createSession()
        parentPort.postMessage(store.pid)
        setInterval(() => {}, 1000)
      })\`, { eval: true, workerData: binary })
    worker.on('message', async (pid) => {
      console.log(pid)
      await worker.terminate()
      process.stdin.on('data', () => process.exit())
    })`)
  const [text] = await once(parent.stdout, 'data')
  await eventually(() => !isRunning(Number(text)), 'the end of the child while its host lives on')
  assert.equal(parent.exitCode, null)
  parent.stdin.end('end')
  assert.equal((await outcome(parent)).code, 0)
})

test('workers of a cluster share a file', async (t) => {
  const folder = temporaryFolder(t)
  const code = `
    import cluster from 'node:cluster'
    const database = ${JSON.stringify(join(folder, 'sessions.db'))}
    const store = await SessionStore.open({ binary, database })
    const calls = Array.from({ length: 50 }, () => store.createSession())
    await Promise.all(calls)
    if (cluster.isPrimary) {
      const workers = [cluster.fork(), cluster.fork()]
      await Promise.all(workers.map((worker) => new Promise((resolve) => worker.on('exit', resolve))))
      console.log((await store.sessionCount()).count)
    }
    await store.close()
    if (cluster.isWorker) process.exit(0)`
  const { code: status, stdout, stderr } = await outcome(host(code, { path: join(folder, 'host.mjs') }))
  assert.equal(status, 0, stderr)
  assert.equal(stdout, '150\n')
})

test('an idle store does not keep its host alive', async () => {
  const parent = host(`${OPEN}
    await store.createSession()
    console.log(store.pid)`)
  const { code, stdout, stderr } = await outcome(parent)
  assert.equal(code, 0, stderr)
  await eventually(() => !isRunning(Number(stdout)), 'the end of the child')
})

test('calls under way keep the host alive until they are answered', async () => {
  const parent = host(`${OPEN}
    const first = store.createSession({ session_id: 's' })
    void first.then(() => store.sessionCount()).then(({ count }) => console.log(count))`)
  const { code, stdout, stderr } = await outcome(parent)
  assert.equal(code, 0, stderr)
  assert.equal(stdout, '1\n')
})

test('one who waits for an event keeps the host alive, and no longer than that', async () => {
  const parent = host(`${OPEN}
    await store.createSession({ session_id: 's' })
    const events = store.subscribeEvents({ session_id: 's' })
    events.next().then(({ value }) => console.log(value.data))
    await events.opened()
    setTimeout(() => store.storeEvent({ session_id: 's', data: 'seen' }), 50)`)
  const { code, stdout, stderr } = await outcome(parent)
  assert.equal(code, 0, stderr)
  assert.equal(stdout, 'seen\n')
})

test('a child that dies ends no host, whatever is written to it', async () => {
  const parent = host(`${OPEN}
    const { pid } = store
    const calls = Array.from({ length: 50 }, () => store.createSession({ metadata: { text: 'x'.repeat(100_000) } }))
    await calls[0]
    process.kill(pid, 'SIGKILL')
    const outcomes = new Set((await Promise.allSettled(calls)).map(({ reason }) => reason?.outcome))
    for (let n = 0; n < 10; n++) {
      await store.createSession().catch((error) => console.log(error.name, error.outcome))
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await store.close()
    console.log('fine')`)
  const { code, stdout, stderr } = await outcome(parent)
  assert.equal(code, 0, stderr)
  assert.deepEqual(new Set(stdout.split('\n')), new Set(['ChildError not_applied', 'fine', '']))
})

test('the death of the child fails what is under way at once, and says what came of it', async (t) => {
  const store = await openStore(t, { maxInFlight: 2 })
  await store.createSession({ session_id: 's' })
  await freeze(store.pid)
  const calls = [store.createSession(), store.sessionCount(), store.createSession()].map((call) =>
    call.then(assert.fail, (error) => [error.name, error.reason, error.signal, error.method, error.outcome]),
  )
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  signal(store.pid, 'SIGKILL')
  assert.deepEqual(await Promise.all(calls), [
    ['ChildError', 'exited', 'SIGKILL', 'create_session', 'unknown'],
    ['ChildError', 'exited', 'SIGKILL', 'session_count', 'not_applied'],
    ['ChildError', 'exited', 'SIGKILL', 'create_session', 'not_applied'],
  ])
  assert.equal((await endOf(store)).signal, 'SIGKILL')
  assert.equal(store.pid, null)
})

test('a child that does not end is made to', async (t) => {
  const store = await openStore(t)
  const { pid } = store
  await freeze(pid)
  const call = store.createSession().catch((error) => error)
  await store.close({ timeout: 10 })
  assert.equal(isRunning(pid), false)
  assert.equal((await call).outcome, 'unknown')
})

test('standard error is read line by line, however much there is, and its last lines are in the error', async (t) => {
  const answer = { jsonrpc: '2.0', id: 'handshake', result: { protocol_version: '1.0', limits: {} } }
  const binary = program(t, `
    process.stderr.write('x'.repeat(1 << 20) + '\\n')
    for (let n = 0; n < 20_000; n++) process.stderr.write('line ' + n + ' \\u00e9\\r\\n')
    lines.on('line', (line) => {
      if (line.includes('handshake')) return say(${JSON.stringify(answer)})
      process.stderr.write('no newline at the end', () => process.exit(74))
    })`)
  const store = await openStore(t, { binary })
  const error = await store.health().catch((error) => error)
  assert.equal(error.exitCode, 74)
  assert.match(error.message, /line 19999 é \| no newline at the end$/)
  const lines = store.remarks.filter((line) => line.startsWith('line '))
  assert.equal(lines.length, 20_000)
  assert.equal(lines[7], 'line 7 é')
  assert.equal(store.remarks.filter((line) => line.startsWith('x')).join('').length, 1 << 20)
})

test('a log that throws does no harm', async (t) => {
  const answer = { jsonrpc: '2.0', id: 'handshake', result: { protocol_version: '1.0', limits: {} } }
  const binary = program(t, `
    process.stderr.write('a remark\\n')
    lines.on('line', () => say(${JSON.stringify(answer)}))`)
  let count = 0
  await openStore(t, {
    binary,
    log: () => {
      count += 1
      throw new Error('the disk is full')
    },
  })
  await eventually(() => count > 0, 'the remark')
})

test('a signal to the group of the host does not take the store away from its last work', async () => {
  // As Ctrl-C does on a terminal.
  const parent = host(
    `${OPEN}
    process.on('SIGINT', async () => {
      await store.createSession({ session_id: 'last' })
      console.log((await store.sessionCount()).count)
      await store.close()
    })
    console.log('ready')
    process.stdin.resume()
    setTimeout(() => process.kill(0, 'SIGINT'))
    process.on('SIGINT', () => process.stdin.destroy())`,
    { detached: true },
  )
  const { code, stdout, stderr } = await outcome(parent)
  assert.equal(code, 0, stderr)
  assert.equal(stdout, 'ready\n1\n')
})
