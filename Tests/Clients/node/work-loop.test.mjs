// Leased work: who claims, what becomes of it when somebody dies, and what wakes whom.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { WorkLoop } from '../../../protocol/clients/node/work-loop.mjs'
import { eventually, host, openStore, placed, root, signal, temporaryFolder } from './fixture.mjs'

const queue = 'things'

async function enqueue(store, count) {
  const items = Array.from({ length: count }, (_, n) => ({ queue, work_id: `w${n}`, payload: n }))
  await Promise.all(items.map((item) => store.enqueueWork(item)))
}

function startLoop(t, store, work, options = {}) {
  const errors = []
  const onError = (error) => errors.push(error)
  const loop = new WorkLoop(store, { queue, work, settles: false, onError, ...options })
  t.after(() => loop.stop({ patience: 0 }))
  loop.start()
  return { loop, errors }
}

const done = (store) => ({ work_id, fence }) => store.settleWork({ queue, work_id, fence, outcome: 'done' })

async function countOf(store, status) {
  return (await store.listWork({ queue, status, limit: 1000 })).work.length
}

test('what is due is told, at first, when it comes from another process, and when its time comes', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const [here, there] = [await openStore(t, { database }), await openStore(t, { database, restart: { delay: 1 } })]
  await enqueue(there, 1)
  const hints = here.subscribeWork({ queue })
  assert.deepEqual(await hints.next(), { done: false, value: { queue } })
  await here.claimWork({ queue })
  let hinted = false
  const next = () => hints.next().then(() => (hinted = true))
  void next()
  await there.enqueueWork({ queue, work_id: 'other', payload: null, delay: 30 })
  await eventually(() => hinted, 'the hint')
  // A process that is started anew may have missed something, and says so.
  hinted = false
  void next()
  signal(here.pid, 'SIGKILL')
  await eventually(() => hinted, 'the hint after the restart')
  await hints.return()
  assert.equal(hints.ended, 'closed')
  await assert.rejects(here.call('subscribe_work', { queue }), /subscribeWork/)
})

test('a loop ends with its store, and not when it would have looked again', async (t) => {
  const store = await openStore(t)
  await enqueue(store, 1)
  const claims = []
  const seen = {
    subscribeWork: (params) => store.subscribeWork(params),
    claimWork: (params) => {
      const claim = store.claimWork(params)
      claims.push(claim.then(({ work }) => work.length, ({ reason }) => reason))
      return claim
    },
  }
  startLoop(t, seen, done(store))
  // It found the item, and later nothing: now it sleeps until something is due.
  await eventually(async () => (await Promise.all(claims)).at(-1) === 0, 'an empty claim')
  await store.close()
  await new Promise(setImmediate)
  assert.equal(await claims.at(-1), 'closed')
})

test('all is done once, by as many at once as may be, in every process', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const stores = [await openStore(t, { database }), await openStore(t, { database })]
  const [seen, counts] = [[], { now: 0, most: 0 }]
  for (const store of stores) {
    startLoop(t, store, async (item) => {
      counts.most = Math.max(counts.most, ++counts.now)
      seen.push(item.payload)
      await done(store)(item)
      counts.now -= 1
    }, { concurrency: 3 })
  }
  await enqueue(stores[0], 100)
  await eventually(() => seen.length >= 100, 'all of it')
  await eventually(async () => (await countOf(stores[0], 'done')) === 100, 'the end of all')
  assert.deepEqual(seen.sort((a, b) => a - b), Array.from({ length: 100 }, (_, n) => n))
  assert.ok(counts.most <= 6)
})

test('a lease is kept while the work lasts, and its loss is told to who works', async (t) => {
  const store = await openStore(t)
  await enqueue(store, 1)
  let begun
  const reason = new Promise((resolve) => {
    startLoop(t, store, (item, { signal }) => new Promise((end) => {
      begun = item
      signal.addEventListener('abort', () => end(resolve(signal.reason)))
    }), { lease: 60 })
  })
  await eventually(() => begun !== undefined, 'the beginning')
  // Several leases later it is held as ever: nobody else gets it.
  await eventually(async () => {
    const { work: [{ status, lease_until }] } = await store.listWork({ queue })
    return status === 'leased' && lease_until > begun.lease_until + 200
  }, 'renewals')
  assert.deepEqual((await store.claimWork({ queue })).work, [])
  await store.cancelWork({ queue, work_id: 'w0' })
  assert.match((await reason).message, /lost/)
})

test('what a process leaves that is killed another does', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database })
  await enqueue(store, 3)
  const child = host(`
    import { WorkLoop } from ${JSON.stringify(join(root, 'protocol/clients/node/work-loop.mjs'))}
    const store = await SessionStore.open({ binary, ...${JSON.stringify(placed({ database }))} })
    const begun = []
    const work = async ({ work_id }) => {
      begun.push(work_id)
      if (begun.length === 3) console.log('begun')
      await new Promise(() => {})
    }
    new WorkLoop(store, { queue: ${JSON.stringify(queue)}, work, lease: 300 }).start()`)
  t.after(() => child.kill('SIGKILL'))
  await once(createInterface({ input: child.stdout }), 'line')
  child.kill('SIGKILL')
  const seen = []
  startLoop(t, store, async (item) => {
    seen.push([item.work_id, item.attempt])
    await done(store)(item)
  })
  await eventually(async () => (await countOf(store, 'done')) === 3, 'all of it')
  assert.deepEqual(seen.sort(), [['w0', 2], ['w1', 2], ['w2', 2]])
})

test('a loop that is stopped hands back what it did not begin, and waits for what it did', async (t) => {
  const store = await openStore(t)
  await enqueue(store, 2)
  let finish
  const { loop } = startLoop(t, store, async (item) => {
    await new Promise((resolve) => (finish = resolve))
    await done(store)(item)
  }, { concurrency: 1 })
  await eventually(() => finish !== undefined, 'the first one')
  const stopped = loop.stop({ patience: 60_000 })
  finish()
  await stopped
  assert.deepEqual([await countOf(store, 'done'), await countOf(store, 'waiting')], [1, 1])
  assert.equal((await store.getMetrics()).subscriptions, 0)
})

test('what returns is done, and what throws is tried again after a while, until it is dead', async (t) => {
  const store = await openStore(t)
  const attempts = []
  const { errors } = startLoop(t, store, async ({ payload, attempt }) => {
    attempts.push([payload, attempt])
    if (payload === 1 && attempt < 3) throw new RangeError('too early')
    if (payload === 2) throw undefined
  }, { settles: true, backOff: () => 1 })
  for (const payload of [0, 1, 2]) {
    await store.enqueueWork({ queue, work_id: `w${payload}`, payload, max_attempts: 4 })
  }
  await eventually(async () => (await countOf(store, 'dead')) === 1 && (await countOf(store, 'done')) === 2, 'all ends')
  const counts = [0, 1, 2].map((n) => attempts.filter(([payload]) => payload === n).length)
  assert.deepEqual([counts, errors.length], [[1, 3, 4], 6])
  const { work } = await store.listWork({ queue, status: 'dead' })
  assert.equal(work[0].error, 'failed')
})

test('work that fails goes to the hook, and the loop goes on, as it does over a kill of its sidecar', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database, restart: { delay: 1 } })
  await enqueue(store, 5)
  const seen = []
  const { errors } = startLoop(t, store, async (item) => {
    seen.push(item.payload)
    if (item.payload === 1 && item.attempt === 1) throw new Error('not today')
    if (seen.length === 3) signal(store.pid, 'SIGKILL')
    await store.settleWork({ queue, work_id: item.work_id, fence: item.fence, outcome: 'done' })
  }, { lease: 300, concurrency: 1 })
  await eventually(async () => (await countOf(store, 'done')) === 5, 'all of it')
  assert.ok(errors.some(({ message }) => message === 'not today'))
  assert.deepEqual(new Set(seen), new Set([0, 1, 2, 3, 4]))
})
