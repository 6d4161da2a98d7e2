// Delays that Node does not take as they are: what is past, what is longer than a timer can be, and what is no number.
// Node warns of them, and fires at once where somebody meant to wait for ever.

import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { SessionStore } from '../../../protocol/clients/node/index.mjs'
import { CallQueue } from '../../../protocol/clients/node/calls.mjs'
import { clearInterval, clearTimeout, setInterval, setTimeout } from '../../../protocol/clients/node/timers.mjs'
import { binary, environment, freeze, root, signal } from './fixture.mjs'

/** The warnings that Node gives from here on. Each is told a turn of the event loop later. */
function warnings(t) {
  const told = []
  const listener = ({ name }) => told.push(name)
  process.on('warning', listener)
  t.after(() => process.off('warning', listener))
  return async () => {
    await new Promise(setImmediate)
    return told
  }
}

test('a timer takes any delay: what is past fires at once, what is too long as late as it can', async (t) => {
  const told = warnings(t)
  for (const delay of [-0.04, -1e9, Number.NaN, undefined, 0]) {
    await new Promise((resolve) => setTimeout(resolve, delay))
  }
  const fired = []
  const timers = [Infinity, 2 ** 31, 2 ** 40].flatMap((delay) => [
    setTimeout(() => fired.push(delay), delay),
    setInterval(() => fired.push(delay), delay),
  ])
  await new Promise((resolve) => setTimeout(resolve, 20))
  for (const timer of timers) clearTimeout(timer), clearInterval(timer)
  assert.deepEqual(fired, [])
  assert.deepEqual(await told(), [])
})

test('a call whose time is over before its timer is set ends without a warning', async (t) => {
  const told = warnings(t)
  const queue = new CallQueue({ bytes: 1e6, waitingBytes: 1e6, hasNext: () => false }, () => {})
  const holder = setInterval(() => {}, 1000)
  t.after(() => clearInterval(holder))
  const ends = Array.from({ length: 200 }, (_, number) => {
    return new Promise((resolve) => {
      queue.add('health', {}, { resolve, reject: ({ name }) => resolve(name) }, { timeout: 1e-6 + number / 100 })
    })
  })
  assert.deepEqual(new Set(await Promise.all(ends)), new Set(['CallTimeout']))
  assert.deepEqual(await told(), [])
})

test('a start and an end that may take for ever are not over at once', async (t) => {
  const told = warnings(t)
  const store = new SessionStore({ binary, env: environment, database: ':memory:', startTimeout: Infinity })
  t.after(() => store.close({ patience: 1 }))
  await store.open({})
  const { pid } = store
  await freeze(pid)
  const call = store.createSession()
  const closed = store.close({ patience: Infinity })
  // Longer than the millisecond that Node makes of it. A signal would end it as soon as it goes on.
  await new Promise((resolve) => setTimeout(resolve, 20))
  signal(pid, 'SIGCONT')
  assert.equal((await call).status, 'pending')
  await closed
  assert.equal(await store.ended, null)
  assert.deepEqual(await told(), [])
})

test('all parts of the client take their timers from one place', () => {
  const folder = join(root, 'protocol/clients/node')
  for (const name of readdirSync(folder).filter((name) => name.endsWith('.mjs'))) {
    if (name === 'timers.mjs' || name === 'example.mjs') continue
    const text = readFileSync(join(folder, name), 'utf8')
    const used = text.match(/(?<![\w.])(?:(?:set|clear)(?:Timeout|Interval|Immediate)|nextTick)(?=\()/g) ?? []
    const [, imported = ''] = /import \{ ([^}]+) \} from '\.\/timers\.mjs'/.exec(text) ?? []
    assert.deepEqual([...new Set(used)].sort(), imported.split(', ').filter(Boolean).sort(), name)
  }
})
