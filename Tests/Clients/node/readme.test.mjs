// The README against the code.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { binary, environment, host, outcome, root, temporaryFolder } from './fixture.mjs'

const folderOfClient = join(root, 'protocol/clients/node')
const readme = readFileSync(join(folderOfClient, 'README.md'), 'utf8')
const blocks = [...readme.matchAll(/^```js\n([\s\S]*?)^```/gm)].map(([, code]) => code)

test('the first program of the README runs as it stands', async (t) => {
  const code = blocks[0]
    .replace(/^import .*$/m, '')
    .replace('SessionStore({', `SessionStore({ binary, cwd: ${JSON.stringify(temporaryFolder(t))},`)
  assert.ok(code.includes('cwd') && !code.includes('import'))
  const { code: status, stderr } = await outcome(host(code))
  assert.equal(status, 0, stderr)
  assert.equal(stderr, '')
})

const counting = blocks.find((code) => code.includes("registerTool('count'"))

/** A process with the tool of the README, which is called as the SDKs call tools; it is killed in the end. */
function countIn(folder) {
  const code = `
    import { ErrorKind } from ${JSON.stringify(join(folderOfClient, 'index.mjs'))}
    const store = await SessionStore.open({ binary, cwd: ${JSON.stringify(folder)}, database: 'counter.db' })
    let count
    const server = { registerTool: (name, { description }, tool) => (count = tool) }
    ${counting}
    const alice = { authInfo: { clientId: 'alice' } }
    const answers = await Promise.all([count(alice), count({ http: alice }), count({ http: {} })])
    process.stdout.write(JSON.stringify(answers.map(({ content: [{ text }] }) => text)), () => {
      process.kill(process.pid, 'SIGKILL')
    })`
  return outcome(host(code))
}

test('the tool of the README counts for clients of both eras, each caller by itself, over kills', async (t) => {
  const folder = temporaryFolder(t)
  for (const [first, second, anonymous] of [[1, 2, 1], [3, 4, 2]]) {
    const { stdout, signal, stderr } = await countIn(folder)
    assert.deepEqual([signal, stderr], ['SIGKILL', ''])
    const [one, other, nobody] = JSON.parse(stdout)
    assert.deepEqual([one, other].sort(), [`Call ${first}.`, `Call ${second}.`])
    assert.equal(nobody, `Call ${anonymous}.`)
  }
})

/** A program of the README of everything, beside the clients as in a checkout, with another port where it has one. */
function programOf(folder, name) {
  const text = readFileSync(join(root, 'README.md'), 'utf8')
  const [, code] = text.match(new RegExp('^```js\\n(// ' + name + '\\n[\\s\\S]*?)^```', 'm'))
  const port = String(20_000 + Math.floor(Math.random() * 10_000))
  writeFileSync(join(folder, name), code.replaceAll('8787', port))
  if (!existsSync(join(folder, 'protocol'))) symlinkSync(join(root, 'protocol'), join(folder, 'protocol'))
  const env = { ...environment, MCP_SESSION_STORE_BINARY: binary }
  return () => outcome(spawn(process.execPath, [name], { cwd: folder, env }))
}

test('a task goes on in another process, and a webhook is sent by one, after a kill', async (t) => {
  const folder = temporaryFolder(t)
  for (const [name, first, second] of [
    ['task.mjs', 'attempt 1\n', 'attempt 2\nSunny in Rome.\n'],
    ['doors.mjs', '', 'The front door is open.\n'],
  ]) {
    const run = programOf(folder, name)
    const { stdout, signal } = await run()
    assert.deepEqual([stdout, signal], [first, 'SIGKILL'], name)
    const { stdout: told, code, stderr } = await run()
    assert.deepEqual([told, code], [second, 0], stderr)
  }
})

test('below each adapter stands whom it serves', () => {
  const adapters = readme.slice(readme.indexOf('### EventStore'), readme.indexOf('## Seeing what it does'))
  const sections = adapters.split(/^### /m).slice(1)
  assert.equal(sections.length, 11)
  for (const section of sections) assert.match(section, /^.*\n\n\*[^*]*20\d\d-\d\d-\d\d[^*]*\*\n/, section.slice(0, 40))
})

test('what programs of the README import is there', async () => {
  const imports = readme.matchAll(/^import \{ (.*) \} from 'mcp-session-store\/(.*)'$/gm)
  const { exports: exported } = JSON.parse(readFileSync(join(folderOfClient, 'package.json'), 'utf8'))
  let count = 0
  for (const [, names, file] of imports) {
    const module = await import(join(folderOfClient, exported[`./${file}`].default))
    for (const name of names.split(', ')) {
      assert.equal(typeof module[name], 'function', `${name} in ${file}`)
      count += 1
    }
  }
  assert.ok(count >= 6)
})

test('every option that is declared stands in the README', () => {
  for (const [file, name] of [
    ['store.d.mts', 'StoreOptions'],
    ['store.d.mts', 'CallOptions'],
    ['store.d.mts', 'RestartOptions'],
    ['store.d.mts', 'RetryOptions'],
    ['subscription.d.mts', 'SubscriptionOptions'],
    ['subscription.d.mts', 'EventSubscriptionOptions'],
    ['subscription.d.mts', 'TaskSubscriptionOptions'],
    ['task-store.d.mts', 'TaskStoreOptions'],
    ['http-sessions.d.mts', 'HttpSessionsOptions'],
    ['durable-sessions.d.mts', 'DurableSessionsOptions'],
    ['event-bus.d.mts', 'EventBusOptions'],
    ['events-extension.d.mts', 'EventType'],
    ['events-extension.d.mts', 'EventsExtensionOptions'],
    ['events-extension.d.mts', 'PublishOptions'],
    ['webhook-sender.d.mts', 'WebhookSenderOptions'],
    ['task-worker.d.mts', 'TaskWorkerOptions'],
    ['work-loop.d.mts', 'WorkLoopOptions'],
  ]) {
    const declaration = new RegExp(`interface ${name}.*\\{\\n([\\s\\S]*?)^\\}`, 'm')
    const [, body] = readFileSync(join(folderOfClient, file), 'utf8').match(declaration)
    const options = [...body.replace(/@deprecated.*\n.*/g, '').matchAll(/^ {2}(\w+)\??:/gm)].map(([, option]) => option)
    assert.ok(options.length > 0, name)
    for (const option of options) assert.ok(readme.includes(option), `${option} of ${name}`)
  }
})

test('every error that is exported stands in the README', async () => {
  const errors = Object.keys(await import(join(folderOfClient, 'errors.mjs')))
  for (const name of errors) assert.ok(readme.includes(`\`${name}`), name)
})
