// The binary as Node programs start it: child pipes are socket pairs there, and everything is concurrent.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const binary = process.env.MCP_SESSION_STORE_BINARY ?? join(here, '../../.build/release/mcp-session-store')
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith('MCP_SESSION_STORE_')),
)

let folder
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-session-store-'))
})
after(() => rmSync(folder, { recursive: true }))

/** One process: `call` resolves with the result of a request, whichever others are under way. */
class Sidecar {
  #waiting = new Map()
  #lastID = 0

  constructor(database, ...options) {
    this.child = spawn(binary, ['--database', database, ...options], {
      env: environment,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.ended = once(this.child, 'exit')
    /** ids of the answers as they came */
    this.order = []
    createInterface({ input: this.child.stdout, crlfDelay: Infinity }).on('line', (line) => {
      const answer = JSON.parse(line)
      this.order.push(answer.id)
      const { resolve, reject } = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      if (answer.error) reject(Object.assign(new Error(answer.error.message), answer.error))
      else resolve(answer.result)
    })
  }

  call(method, params = {}) {
    const id = ++this.#lastID
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.child.stdin.write(JSON.stringify({ jsonrpc: '2.0', id, method, params }) + '\n')
    })
  }

  /** Ends the input; resolves with the exit status. */
  async close() {
    this.child.stdin.end()
    const [code] = await this.ended
    assert.equal(this.#waiting.size, 0, 'every request is answered before the end')
    return code
  }
}

test('a session made by one process is there in the next', async () => {
  const database = join(folder, 'restart.db')
  const first = new Sidecar(database)
  const made = await first.call('create_session', { user_id: 'user-1' })
  assert.equal(await first.close(), 0)
  const second = new Sidecar(database)
  assert.deepEqual(await second.call('get_session', { session_id: made.session_id }), made)
  assert.equal(await second.close(), 0)
})

test('64 concurrent flows mix reads and writes', async () => {
  const sidecar = new Sidecar(join(folder, 'flows.db'))
  await sidecar.call('create_session', { session_id: 'shared' })

  async function flow(number) {
    const session_id = `flow-${number}`
    await sidecar.call('create_session', { session_id, metadata: { number } })
    for (let step = 1; step <= 20; step++) {
      const data = { number, step, text: 'é🎈'.repeat(step) }
      // Two writes and a read at once: they are run in this order.
      const [own, , page] = await Promise.all([
        sidecar.call('store_event', { session_id, data }),
        sidecar.call('store_event', { session_id: 'shared', data, stream_id: session_id }),
        sidecar.call('get_events_after', { session_id, after_event_id: step - 1 }),
      ])
      assert.equal(own.id, step)
      assert.deepEqual(page.events.map((event) => event.data), [data])
      await sidecar.call('set_session_state', { session_id, key: 'step', value: step })
      assert.equal((await sidecar.call('get_session_state', { session_id, key: 'step' })).value, step)
      await assert.rejects(sidecar.call('store_event', { session_id: 'none', data }), { code: 1001 })
    }
    const stream = await sidecar.call('get_events_after', { session_id: 'shared', stream_id: session_id })
    assert.deepEqual(stream.events.map((event) => event.data.step), Array.from({ length: 20 }, (_, n) => n + 1))
  }

  await Promise.all(Array.from({ length: 64 }, (_, number) => flow(number)))
  assert.deepEqual(await sidecar.call('event_count', { session_id: 'shared' }), { count: 64 * 20 })
  assert.deepEqual(await sidecar.call('session_count'), { count: 65 })
  assert.deepEqual(sidecar.order, sidecar.order.toSorted((a, b) => a - b), 'answers come in the order of requests')
  assert.equal(await sidecar.close(), 0)
})

test('a large write without reading does not block either side', async () => {
  const sidecar = new Sidecar(join(folder, 'large.db'))
  await sidecar.call('create_session', { session_id: 's' })
  const calls = Array.from({ length: 5000 }, (_, n) =>
    sidecar.call('store_event', { session_id: 's', data: 'x'.repeat(1000) + n }),
  )
  const results = await Promise.all(calls)
  assert.deepEqual(results.map((result) => result.id), Array.from({ length: 5000 }, (_, n) => n + 1))
  assert.equal(await sidecar.close(), 0)
})

/** Whether there is such a process; one that has ended and waits for its parent to notice is none. */
function isRunning(pid) {
  if (!existsSync(`/proc/${pid}/stat`)) return false
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)[0] !== 'Z'
  } catch {
    return false
  }
}

for (const [how, end] of [
  ['exits', 'process.exit(0)'],
  ['is killed', 'process.kill(process.pid, "SIGKILL")'],
  ['crashes', 'throw new Error("on purpose")'],
]) {
  test(`a parent that ${how} leaves no child`, async () => {
    const parent = spawn(
      process.execPath,
      [
        '--input-type=module',
        '--eval',
        `import { spawn } from 'node:child_process'
         const child = spawn(${JSON.stringify(binary)}, ['--database', ':memory:'])
         child.stdin.write('{"jsonrpc":"2.0","id":1,"method":"session_count"}\\n')
         child.stdout.once('data', () => {
           console.log(child.pid)
           process.stdin.once('data', () => { ${end} })
         })`,
      ],
      { stdio: ['pipe', 'pipe', 'ignore'], env: environment },
    )
    const [text] = await once(parent.stdout, 'data')
    const pid = Number(text)
    assert.ok(isRunning(pid))
    parent.stdin.write('end')
    await once(parent, 'exit')
    const deadline = Date.now() + 60_000 // a last resort: it ends as soon as its input does
    while (isRunning(pid)) {
      assert.ok(Date.now() < deadline, 'the sidecar outlives its parent')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })
}
