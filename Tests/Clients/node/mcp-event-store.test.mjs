// The store that emseepea asks for: its records, and deliveries that one instance has at a time.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { McpEventStore } from '../../../protocol/clients/node/mcp-event-store.mjs'
import { eventually, openStore, signal, temporaryFolder } from './fixture.mjs'

const record = (id, more = {}) => ({
  id,
  ownerKey: 'alice',
  name: 'order.shipped',
  arguments: { order: 7 },
  url: 'https://example.com/hook',
  secret: 'whsec_one',
  expiresAt: Date.now() + 60_000,
  verifiedUntil: Date.now() + 10_000,
  ...more,
})
const delivery = (id, more = {}) => ({
  id: `${id}:e`,
  subscriptionId: id,
  eventId: 'e',
  body: '{"eventId":"e"}',
  attempts: 0,
  nextAttemptAt: Date.now(),
  ...more,
})

test('a record comes back as it was put, over a restart, under its name, until its time is over', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const store = await openStore(t, { database })
  const events = new McpEventStore(store)
  const first = record('s1')
  await events.put(first)
  await events.put(record('s2', { ownerKey: 'bob', name: 'order.lost' }))
  signal(store.pid, 'SIGKILL')
  assert.deepEqual(await events.get('s1'), first)
  assert.deepEqual(await events.list('order.shipped'), [first])
  assert.deepEqual([await events.get('none'), await events.list('none')], [null, []])
  const until = Date.now() + 5000
  await events.put({ ...first, secret: 'whsec_two', previousSecret: 'whsec_one', previousSecretUntil: until })
  const { secret, previousSecret, previousSecretUntil } = await events.get('s1')
  assert.deepEqual([secret, previousSecret], ['whsec_two', 'whsec_one'])
  assert.ok(Math.abs(previousSecretUntil - until) < 5000)
  await events.put(record('s3', { expiresAt: Date.now() - 1 }))
  await eventually(async () => (await events.get('s3')) === null, 'the end of the third')
  await events.delete('s1')
  await events.delete('s1')
  assert.equal(await events.get('s1'), null)
})

test('a delivery is claimed once, by one, and comes back when that dies', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const stores = [await openStore(t, { database }), await openStore(t, { database })]
  const [one, other] = stores.map((store) => new McpEventStore(store))
  await one.put(record('s'))
  await Promise.all([one.enqueue(delivery('s')), other.enqueue(delivery('s'))])
  await one.enqueue(delivery('gone'))
  const claims = await Promise.all([one, other].map((store) => store.claimDue(4, Date.now(), 50)))
  const [first] = claims.flat()
  assert.equal(claims.flat().length, 1)
  const { leaseId, nextAttemptAt, ...rest } = first
  assert.deepEqual(rest, { id: 's:e', subscriptionId: 's', eventId: 'e', body: '{"eventId":"e"}', attempts: 0 })
  assert.equal(typeof leaseId, 'string')
  let second
  await eventually(async () => ([second] = await other.claimDue(4, Date.now(), 60_000))[0] !== undefined, 'the lapse')
  assert.equal(second.attempts, 1)
  // What the first one says now is nothing.
  await one.complete('s:e', leaseId)
  await one.reschedule({ ...first, attempts: 1, nextAttemptAt: Date.now() })
  await one.complete('s:e', 'none')
  assert.deepEqual(await one.claimDue(4, Date.now(), 1000), [])
  await other.reschedule({ ...second, attempts: 2, nextAttemptAt: Date.now() + 1 })
  let third
  await eventually(async () => ([third] = await one.claimDue(4, Date.now(), 60_000))[0] !== undefined, 'its time')
  assert.equal(third.attempts, 2)
  await one.complete(third.id, third.leaseId)
  await one.enqueue(delivery('s'))
  assert.deepEqual(await one.claimDue(4, Date.now(), 1000), [], 'it was delivered')
})

test('what a subscription leaves is not sent to the next one of its id', async (t) => {
  const events = new McpEventStore(await openStore(t))
  await events.put(record('s'))
  await events.enqueue(delivery('s', { nextAttemptAt: Date.now() + 60_000 }))
  await events.enqueue({ ...delivery('s'), id: 's:f' })
  await events.delete('s')
  await events.put(record('s'))
  assert.deepEqual(await events.claimDue(4, Date.now(), 1000), [])
  await events.enqueue(delivery('s'))
  assert.equal((await events.claimDue(4, Date.now(), 1000)).length, 1, 'the id is free')
})
