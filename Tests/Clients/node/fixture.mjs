// What the tests of the Node client share: the binary, folders of their own, stores that are closed in the end.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SessionStore } from '../../../protocol/clients/node/index.mjs'

export const root = join(dirname(fileURLToPath(import.meta.url)), '../../..')
export const binary = process.env.MCP_SESSION_STORE_BINARY ?? join(root, '.build/release/mcp-session-store')
/** The environment without what would configure the sidecar. */
export const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith('MCP_SESSION_STORE_')),
)

/** Options of a sidecar whose answers are so short that what is read comes in many. */
export const SMALL_ANSWERS = { max_result_bytes: 65536, max_payload_bytes: 4096, max_state_bytes: 4096 }

/** A last resort for what is waited for; nothing depends on how long it takes. */
const PATIENCE = 60_000

export function temporaryFolder(t) {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-session-store-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A server on which the stores of these tests are, when there is one: see Tests/Wire/on_server.py. */
const server = process.env.MCP_SESSION_STORE_TEST_SERVER

/** What opens the database that a path stands for: there, in a schema of its own, or in the file. */
export function placed({ database = ':memory:', options, ...others } = {}) {
  if (server === undefined) return { database, ...(options === undefined ? {} : { options }), ...others }
  const name = database === ':memory:' ? randomUUID() : database
  const schema = `file_${createHash('sha256').update(name).digest('hex').slice(0, 16)}`
  return { database: server, options: { ...options, schema }, ...others }
}

/** A store in memory, unless `options` say otherwise; its remarks are in `store.remarks`. */
export async function openStore(t, options = {}) {
  const remarks = []
  const store = await SessionStore.open({
    binary,
    env: environment,
    log: (line) => remarks.push(line),
    ...placed(options),
  })
  store.remarks = remarks
  t.after(async () => {
    if (store.pid !== null) signal(store.pid, 'SIGCONT')
    await store.close({ timeout: 1 })
  })
  return store
}

/** Waits until `condition()` gives something true, and returns it. */
export async function eventually(condition, what) {
  const deadline = Date.now() + PATIENCE
  for (;;) {
    const value = await condition()
    if (value) return value
    assert.ok(Date.now() < deadline, `never came about: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** How the store ended; waiting for that alone would not keep this process alive. */
export async function endOf(store) {
  let end
  void store.ended.then((error) => (end = { error }))
  return (await eventually(() => end, 'the end of the store')).error
}

/** Whether there is such a process; one that has ended and waits for its parent to notice is none. */
export function isRunning(pid) {
  if (!existsSync(`/proc/${pid}/stat`)) return false
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)[0] !== 'Z'
  } catch {
    return false
  }
}

export function signal(pid, name) {
  try {
    process.kill(pid, name)
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

/** Stops a process, and waits until it is stopped: nothing is read or answered from then on. */
export async function freeze(pid) {
  process.kill(pid, 'SIGSTOP')
  await eventually(() => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)[0] === 'T', 'the stop')
}

/** A program that stands in for the sidecar: `code` sees the requests as `lines`, one after the other. */
export function program(t, code) {
  const path = join(temporaryFolder(t), 'program.mjs')
  const reading = `
    import { createInterface } from 'node:readline'
    const lines = createInterface({ input: process.stdin })
    const say = (value) => process.stdout.write(JSON.stringify(value) + '\\n')`
  writeFileSync(path, `#!${process.execPath}\n${reading}\n${code}\n`)
  chmodSync(path, 0o755)
  return path
}

/** Runs `code` in a host process of its own, with `SessionStore` and `binary` at hand; from the file `path`, if any. */
export function host(code, { path, ...options } = {}) {
  const setting = `
    import { SessionStore } from ${JSON.stringify(join(root, 'protocol/clients/node/index.mjs'))}
    const binary = ${JSON.stringify(binary)}`
  const program = `${setting}\n${code}`
  if (path !== undefined) writeFileSync(path, program)
  const args = path === undefined ? ['--input-type=module', '--eval', program] : [path]
  return spawn(process.execPath, args, { env: environment, ...options })
}

/** Everything that a host wrote on its standard output, and how it ended. */
export async function outcome(child) {
  const text = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr']) child[name]?.setEncoding('utf8').on('data', (part) => (text[name] += part))
  const [code, by] = await new Promise((resolve) => child.on('close', (...how) => resolve(how)))
  return { ...text, code, signal: by }
}
