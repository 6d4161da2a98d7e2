// The README against the code.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { host, outcome, root, temporaryFolder } from './fixture.mjs'

const folder = join(root, 'protocol/clients/node')
const readme = readFileSync(join(folder, 'README.md'), 'utf8')
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

test('what programs of the README import is there', async () => {
  const imports = readme.matchAll(/^import \{ (.*) \} from '\.\/mcp-session-store\/(.*)'$/gm)
  let count = 0
  for (const [, names, file] of imports) {
    const module = await import(join(folder, file))
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
  ]) {
    const declaration = new RegExp(`interface ${name}.*\\{\\n([\\s\\S]*?)^\\}`, 'm')
    const [, body] = readFileSync(join(folder, file), 'utf8').match(declaration)
    const options = [...body.replace(/@deprecated.*\n.*/g, '').matchAll(/^ {2}(\w+)\??:/gm)].map(([, option]) => option)
    assert.ok(options.length > 0, name)
    for (const option of options) assert.ok(readme.includes(option), `${option} of ${name}`)
  }
})

test('every error that is exported stands in the README', async () => {
  const errors = Object.keys(await import(join(folder, 'errors.mjs')))
  for (const name of errors) assert.ok(readme.includes(`\`${name}`), name)
})
