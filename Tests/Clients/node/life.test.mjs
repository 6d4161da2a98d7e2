// From the first start to the last end: lazily, again, in vain, with programs that do not behave, and without a trace.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { AbortError, CallTimeout, SessionStore } from '../../../protocol/clients/node/index.mjs'
import {
  binary,
  endOf,
  environment,
  eventually,
  host,
  isRunning,
  outcome,
  program,
  signal,
  temporaryFolder,
} from './fixture.mjs'

const hello = { jsonrpc: '2.0', id: 'handshake', result: { protocol_version: '1.0', limits: {} } }
const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

/** A store that nothing has started yet. */
function makeStore(t, options = {}) {
  const states = []
  const log = () => {}
  const onState = (state, error) => states.push(error === null ? state : `${state}: ${error.reason}`)
  const store = new SessionStore({ binary, env: environment, database: ':memory:', log, onState, ...options })
  store.states = states
  t.after(() => store.close({ patience: 1 }))
  return store
}

/** An executable shell script. */
function script(t, text) {
  const path = join(temporaryFolder(t), 'script')
  writeFileSync(path, `#!/bin/sh\n${text}\n`)
  chmodSync(path, 0o755)
  return path
}

test('the first call starts the process, and all of them share it', async (t) => {
  const store = makeStore(t)
  assert.deepEqual([store.state, store.pid, store.info], ['closed', null, null])
  const calls = [store.createSession(), store.sessionCount(), store.open()]
  assert.equal(store.state, 'starting')
  await Promise.all(calls)
  assert.deepEqual([store.state, store.states], ['ready', ['starting', 'ready']])
  assert.equal((await store.sessionCount()).count, 1)
})

test('a store is opened again after it was closed, and has a new end', async (t) => {
  const store = makeStore(t)
  await store.open()
  const [{ pid }, ended] = [store, store.ended]
  const closing = store.close()
  await assert.rejects(store.sessionCount(), { reason: 'closed', outcome: 'not_applied', method: 'session_count' })
  await store.open()
  await closing
  assert.equal(await ended, null)
  assert.notEqual(store.pid, pid)
  assert.equal(isRunning(pid), false)
  assert.notEqual(store.ended, ended)
  await store.createSession()
  await store.close()
  await store.close()
  await assert.rejects(store.sessionCount(), { reason: 'closed' })
  assert.deepEqual(store.states, ['starting', 'ready', 'closed', 'starting', 'ready', 'closed'])
})

test('a store that was never opened is closed quietly', async (t) => {
  const store = makeStore(t, { binary: '/nowhere/at/all' })
  await store.close()
  assert.equal(await store.ended, null)
  await assert.rejects(store.health(), { reason: 'closed' })
})

test('what waits for the start is told why there is none, and opening tries again', async (t) => {
  const path = join(temporaryFolder(t), 'later')
  const store = makeStore(t, { binary: path, restart: true })
  for (const call of [store.health(), store.open(), store.createSession({}, { timeout: null })]) {
    await assert.rejects(call, { reason: 'not_found', outcome: 'not_applied' })
  }
  assert.equal((await endOf(store)).reason, 'not_found')
  await assert.rejects(store.health(), { reason: 'not_found', method: 'health' })
  symlinkSync(binary, path)
  await store.open()
  assert.equal((await store.health()).status, 'healthy')
  assert.deepEqual(store.states, ['starting', 'failed: not_found', 'starting', 'ready'])
})

test('after its pause a store that gave up is tried again by a call, once', async (t) => {
  const marker = join(temporaryFolder(t), 'well')
  const path = script(t, `[ -e '${marker}' ] && exec '${binary}' "$@"; echo x >> '${marker}.tries'; exit 3`)
  const tries = () => (existsSync(marker + '.tries') ? readFileSync(marker + '.tries', 'utf8').length / 2 : 0)
  writeFileSync(marker, '')
  const restart = { attempts: 2, delay: 1, maxDelay: 1, pause: 300 }
  const store = makeStore(t, { binary: path, restart })
  await store.open()
  unlinkSync(marker)
  signal(store.pid, 'SIGKILL')
  const error = await endOf(store)
  assert.deepEqual([error.reason, error.retryable, error.exitCode], ['gave_up', true, 3])
  assert.equal(tries(), 2)
  // The pause is over, and the program is as bad as before.
  await eventually(() => store.health().then(assert.fail, ({ reason }) => reason === 'exited'), 'the next try')
  assert.equal(tries(), 3)
  writeFileSync(marker, '')
  await eventually(() => store.health().then(() => true, () => false), 'the life after it')
  assert.equal(store.state, 'ready')
})

test('opening that is aborted leaves no process', async (t) => {
  const store = makeStore(t, { binary: program(t, 'setInterval(() => {}, 1000)') })
  const controller = new AbortController()
  const opening = store.open({ signal: controller.signal })
  await eventually(() => store.pid, 'the process')
  const { pid } = store
  controller.abort(new Error('never mind'))
  await assert.rejects(opening, (error) => error instanceof AbortError && error.cause.message === 'never mind')
  await eventually(() => !isRunning(pid), 'the end of the process')
  await assert.rejects(store.open({ signal: controller.signal }), AbortError)
  await eventually(() => store.state === 'closed', 'the end of the store')
})

test('the time of a call counts from the call on, the start included', async (t) => {
  const store = makeStore(t, { binary: program(t, 'setInterval(() => {}, 1000)'), timeout: 30 })
  await assert.rejects(store.health(), (error) => error instanceof CallTimeout && error.outcome === 'not_applied')
  await assert.rejects(store.health({ timeout: 1 }), CallTimeout)
  for (const timeout of [0, -1, NaN, '5', {}, -Infinity]) {
    await assert.rejects(store.health({ timeout }), { name: 'RangeError', message: /milliseconds above 0.*null/ })
    assert.throws(() => makeStore(t, { timeout }), RangeError)
    assert.throws(() => store.subscribeEvents({ session_id: 's' }, { timeout }), RangeError)
  }
})

test('an option that cannot be meant is refused when the store is made', () => {
  for (const [options, told] of [
    [{ databse: 'x' }, /'databse'.*database/],
    [{ restart: { attemts: 1 } }, /'attemts'.*attempts/],
    [{ restart: { attempts: -1 } }, /restart\.attempts/],
    [{ retry: { delay: -1 } }, /retry\.delay/],
    [{ retry: 'yes' }, /retry/],
    [{ maxInFlight: 0 }, /maxInFlight/],
    [{ maxWaiting: NaN }, /maxWaiting/],
    [{ startTimeout: 0 }, /startTimeout/],
    [{ onState: 1 }, /onState/],
    [{ database: 7 }, /database/],
    [{ binary: 7 }, /binary/],
    [{ cwd: 7 }, /cwd/],
    [{ client: { name: 1n } }, /client/],
    [{ require: [1n] }, /require/],
    [{ require: 'events' }, /require/],
  ]) {
    assert.throws(() => new SessionStore(options), (error) => told.test(error.message), String(told))
  }
  new SessionStore({ restart: { limit: 1, window: 2, minDelay: 0 }, maxInFlightBytes: 1, maxWaitingBytes: 1 })
})

test('an environment that is none is told as a start that failed', async (t) => {
  for (const env of [{ PATH: 5 }, { PATH: '/bin', A: 'x\0y' }]) {
    const store = makeStore(t, { binary: env.PATH === 5 ? 'some-program' : binary, env })
    for (const call of [store.open(), store.health(), store.health()]) {
      await assert.rejects(call, { reason: 'not_startable', outcome: 'not_applied' })
    }
    assert.equal(store.state, 'failed')
  }
})

test('a relative binary counts from the host, whatever the working directory of the process is', async (t) => {
  const cwd = join(temporaryFolder(t), 'elsewhere')
  mkdirSync(cwd)
  const store = makeStore(t, { binary: relative(process.cwd(), binary), cwd, database: 's.db' })
  await store.createSession()
  assert.ok(readdirSync(cwd).includes('s.db'))
})

test('a grandchild that holds the pipes holds nobody up', async (t) => {
  const pidFile = join(temporaryFolder(t), 'pid')
  // In a session of its own, where no signal to the group of its parent finds it.
  const grandchild = `setsid sh -c 'echo $$ > ${pidFile}; exec sleep 600' &`
  const endGrandchild = () => signal(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL')
  const deaf = makeStore(t, { binary: script(t, `${grandchild} exec sleep 600`), startTimeout: 300, restart: false })
  await assert.rejects(deaf.open(), { reason: 'not_startable' })
  endGrandchild()
  const line = JSON.stringify(JSON.stringify(hello))
  const served = makeStore(t, { binary: script(t, `${grandchild} read x; echo ${line}; cat > /dev/null`) })
  await served.open()
  await served.close()
  assert.equal(await served.ended, null)
  endGrandchild()
})

test('a wrapper is ended with what it wraps', async (t) => {
  const pidFile = join(temporaryFolder(t), 'pid')
  const path = script(t, `sh -c 'trap "" TERM; echo $$ > ${pidFile}; while :; do sleep 0.05; done'\n: not exec`)
  const store = makeStore(t, { binary: path, startTimeout: null })
  const opening = store.open().catch(({ reason }) => reason)
  await eventually(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8').endsWith('\n'), 'the start')
  await store.close({ patience: 1 })
  assert.equal(await opening, 'closed')
  await eventually(() => !isRunning(Number(readFileSync(pidFile, 'utf8'))), 'the end of what is wrapped')
})

test('a program that closes its output, or does not end, is ended', async (t) => {
  const answer = `say(${JSON.stringify(hello)})`
  const stubborn = `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)`
  const closes = makeStore(t, {
    binary: program(t, `${stubborn}
      import { closeSync } from 'node:fs'
      lines.once('line', () => { ${answer}; setTimeout(() => closeSync(1), 20) })`),
    restart: false,
  })
  await closes.open()
  const { pid } = closes
  await assert.rejects(closes.health({ timeout: null }), { name: 'ChildError', reason: 'exited' })
  await eventually(() => !isRunning(pid), 'the end')
  const stays = makeStore(t, { binary: program(t, `${stubborn}\nlines.once('line', () => ${answer})`) })
  await stays.open()
  const call = stays.createSession({}, { timeout: null }).catch((error) => error)
  await turn()
  const last = stays.pid
  await stays.close({ patience: 20 })
  assert.equal(isRunning(last), false)
  assert.deepEqual([(await call).reason, (await call).outcome], ['closed', 'unknown'])
})

test('what a program says that is no JSON-RPC, or half of it, ends nothing', async (t) => {
  const path = program(t, `
    const odd = ['17', 'null', '[]', '{}', '"x"', '{"jsonrpc":"2.0","method":"event"}',
      '{"method":"event","params":null}', '{"method":"event","params":{"subscription_id":"events-1"}}',
      '{"method":7,"params":{}}', '{"method":"progress"}',
      '{"jsonrpc":"2.0","id":77,"result":1}', '{"id":{"a":1},"result":1}', '\\u0000', 'x'.repeat(100000)]
    lines.on('line', (line) => {
      const { id, method } = JSON.parse(line)
      if (method === 'initialize') say(${JSON.stringify(hello)})
      else if (method === 'health') for (const each of odd) process.stdout.write(each + '\\n')
      else if (method === 'server_info') say({ jsonrpc: '2.0', id, error: null })
      else if (method === 'get_metrics') say({ jsonrpc: '2.0', id })
      else if (method === 'get_task') say({ jsonrpc: '2.0', id, error: { message: 7 } })
      else if (method === 'put_value') process.stdout.write('{"jsonrpc":"2.0","id":' + id + ',"result":{"x":01}}\\n')
      else if (method === 'session_count') say({ jsonrpc: '2.0', id, result: { count: 7 } })
    })`)
  const store = makeStore(t, { binary: path, restart: false })
  await assert.rejects(store.health(), { name: 'AnswerError', method: 'health', outcome: 'not_applied' })
  // What is left of the odd lines may come later, and is whose turn it is then.
  for (let isHeard = false; !isHeard;) {
    isHeard = await store.sessionCount().then(() => true, ({ name }) => assert.equal(name, 'AnswerError'))
  }
  await assert.rejects(store.serverInfo(), { name: 'AnswerError' })
  await assert.rejects(store.getMetrics(), { name: 'AnswerError' })
  await assert.rejects(store.getTask({ task_id: 't' }), { name: 'RequestError', message: '7', kind: null, code: null })
  const put = store.putValue({ collection: 'c', key: 'k', value: 1 })
  put.catch(() => {})
  assert.deepEqual(await store.sessionCount(), { count: 7 })
  await assert.rejects(put, { name: 'AnswerError', outcome: 'unknown' })
  assert.equal(store.state, 'ready')
})

// --- Without a trace

test('calls and restarts leave no descriptor, timer, listener or warning', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const code = `
    import { getEventListeners } from 'node:events'
    import { readdirSync } from 'node:fs'
    const [calls, restarts] = [Number(process.env.CALLS ?? 20_000), Number(process.env.RESTARTS ?? 25)]
    const warnings = []
    process.on('warning', (warning) => warnings.push(warning.message))
    const store = new SessionStore({ binary, database: ${JSON.stringify(database)}, log() {},
      restart: { attempts: 1e9, delay: 1, maxDelay: 1 } })
    const { signal } = new AbortController()
    await store.createSession({ session_id: 's' })
    const run = async () => {
      for (let n = 0; n < calls; n += 500) {
        await Promise.all(Array.from({ length: 500 }, () => store.sessionCount({}, { signal, timeout: 60_000 })))
      }
      for (let n = 0; n < restarts; n++) {
        const { pid } = store
        const events = store.subscribeEvents({ session_id: 's' }, { signal })
        await events.opened()
        process.kill(pid, 'SIGKILL')
        while (store.pid === pid) await new Promise((resolve) => setTimeout(resolve, 1))
        await store.sessionCount()
        await events.return()
      }
      return readdirSync('/proc/self/fd').length
    }
    const before = await run()
    const after = await run()
    await store.close()
    await new Promise((resolve) => setTimeout(resolve, 20))
    const left = process.getActiveResourcesInfo().filter((name) => !/TTY|Pipe|FS|Immediate/.test(name))
    const listening = getEventListeners(signal, 'abort').length
    console.log(JSON.stringify({ before, after, warnings, left, listening, memory: process.memoryUsage().rss }))`
  const { code: status, stdout, stderr } = await outcome(host(code))
  assert.equal(status, 0, stderr)
  const { before, after, memory, ...rest } = JSON.parse(stdout)
  t.diagnostic(`${memory >> 20} MiB`)
  assert.ok(after <= before, `${before} descriptors became ${after}`)
  assert.deepEqual(rest, { warnings: [], left: [], listening: 0 })
})

test('a second SIGTERM while the store closes does no harm, and handlers of the end may call', async () => {
  const parent = host(`
    const store = new SessionStore({ binary, database: ':memory:' })
    const timer = setInterval(() => {}, 1000)
    process.on('SIGTERM', async () => {
      const last = store.createSession().then(() => 'stored', ({ reason }) => reason)
      await store.close()
      console.log(await last)
      clearInterval(timer)
    })
    await store.open()
    for (let n = 0; n < 500; n++) void store.createSession()
    console.log('ready')`)
  await once(parent.stdout, 'data')
  parent.kill('SIGTERM')
  parent.kill('SIGTERM')
  const { code, stdout, stderr } = await outcome(parent)
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^stored\n(closed\n)?$/)
  assert.equal(stderr, '')
})

test('a host may call in beforeExit, and is not held up by a store that failed', async () => {
  const { code, stdout, stderr } = await outcome(host(`
    const failed = new SessionStore({ binary: '/nowhere', log() {} })
    void failed.ended.then(({ reason }) => console.log(reason))
    failed.open().catch(() => {})
    const store = await SessionStore.open({ binary, database: ':memory:' })
    process.once('beforeExit', async () => {
      await store.createSession()
      console.log((await store.sessionCount()).count)
      await store.close()
    })`))
  assert.equal(code, 0, stderr)
  assert.equal(stdout, 'not_found\n1\n')
})

test('nothing that nobody waits for is an unhandled rejection', async () => {
  const { code, stdout, stderr } = await outcome(host(`
    const store = new SessionStore({ binary, database: ':memory:', log() { throw new Error('the log') },
      onState: async () => { throw new Error('the state') }, restart: false })
    const holder = setInterval(() => {}, 1000)
    await store.open()
    const events = store.subscribeEvents({ session_id: 'none' })
    const tasks = store.subscribeTasks({ task_id: 'none' })
    await new Promise((resolve) => setTimeout(resolve, 50))
    process.kill(store.pid, 'SIGKILL')
    await store.ended
    const other = new SessionStore({ binary: '/nowhere', log() {} })
    other.subscribeEvents({ session_id: 's' })
    await other.ended
    await store.close()
    clearInterval(holder)
    console.log('fine')`))
  assert.equal(code, 0, stderr)
  assert.equal(stdout, 'fine\n')
})

test('timers that a test has replaced by some that stand still hold nothing up', async () => {
  const child = host(`
    for (const name of ['setTimeout', 'setImmediate', 'clearTimeout']) globalThis[name] = () => ({ unref() {} })
    const store = await SessionStore.open({ binary, database: ':memory:' })
    const { session_id } = await store.createSession({})
    await Promise.all([1, 2, 3].map((data) => store.storeEvent({ session_id, data })))
    process.kill(store.pid, 'SIGSTOP')
    const late = await store.health({ timeout: 20 }).catch((error) => error.name)
    process.kill(store.pid, 'SIGCONT')
    const events = store.subscribeEvents({ session_id, after_event_id: 2 })
    console.log(late, (await events.next()).value.data)
    await store.close()`)
  const { stdout, stderr, code } = await outcome(child)
  assert.deepEqual({ stdout, stderr, code }, { stdout: 'CallTimeout 3\n', stderr: '', code: 0 })
})
