// Webhooks that outlive restarts: what was published is delivered at least once, whatever is killed.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { EventsExtension } from '../../../protocol/clients/node/events-extension.mjs'
import { WebhookSender } from '../../../protocol/clients/node/webhook-sender.mjs'
import { eventually, freeze, host, openStore, placed, root, signal, temporaryFolder } from './fixture.mjs'
import { NAME, alice, bob, isSigned, openReceiver, secretOf, types } from './webhook-fixture.mjs'

const QUICK = [1, 1, 1, 1]

/** A server with webhooks, and what it told its hooks. */
function openServer(t, store, { events: ofEvents = {}, isSending = true, ...options } = {}) {
  const [errors, ended] = [[], []]
  const onError = (error) => errors.push(error)
  const events = new EventsExtension(store, { types, onError, ...ofEvents })
  const onEnded = (end) => ended.push(end)
  const sender = new WebhookSender(events, { insecure: true, delays: QUICK, onError, onEnded, ...options })
  if (isSending) sender.start()
  t.after(() => sender.stop({ patience: 0 }))
  return { store, events, sender, errors, ended }
}

const subscribe = ({ sender }, { delivery }, more = {}, ctx = alice) => {
  return sender.subscribe({ name: NAME, delivery, ...more }, ctx)
}

async function publish({ events }, ...all) {
  for (const n of all) await events.publish(NAME, { n, parity: n % 2 })
}

/** Waits until a receiver has heard of all of these. */
function hear(receiver, ...all) {
  return eventually(() => all.every((n) => receiver.numbers().includes(n)), `${all} at the receiver`)
}

async function statusesOf({ store }) {
  const { work } = await store.listWork({ queue: 'mcp-events/deliveries', limit: 1000 })
  return work.map(({ status }) => status)
}

/** Waits until so many deliveries, or more, are done, and no other is there. */
function allDone(server, count) {
  return eventually(async () => {
    const statuses = await statusesOf(server)
    return statuses.length >= count && statuses.every((status) => status === 'done')
  }, 'the end of all deliveries')
}

test('a subscription is answered, proven, and told of what comes, signed, each event by itself', async (t) => {
  const [server, receiver] = [openServer(t, await openStore(t)), await openReceiver(t)]
  assert.ok((await server.events.list()).events[0].delivery.includes('webhook'))
  await publish(server, 1)
  const answer = await server.events.handlers['events/subscribe']({ name: NAME, delivery: receiver.delivery }, alice)
  assert.match(answer.id, /^sub_[0-9a-f]{32}$/)
  assert.deepEqual([answer.resultType, answer.truncated, answer.deliveryStatus], ['complete', false, undefined])
  assert.equal(answer.cursor, await server.events.cursor(NAME))
  const grant = Date.parse(answer.refreshBefore) - Date.now()
  assert.ok(grant > 86_000_000 && grant <= 86_400_000)
  const [challenge] = receiver.challenges
  assert.ok(isSigned(challenge, receiver.secret))
  assert.match(challenge.headers['webhook-id'], /^msg_verification_[0-9a-f]{32}$/)
  await publish(server, 2, 3)
  await hear(receiver, 2, 3)
  receiver.check()
  assert.deepEqual(receiver.numbers().sort(), [2, 3], 'from now on')
  const { headers, message } = receiver.posts.find(({ message }) => message.data.n === 2)
  assert.equal(headers['webhook-id'], message.eventId)
  assert.equal(headers['x-mcp-subscription-id'], answer.id)
  assert.deepEqual(Object.keys(message), ['eventId', 'name', 'timestamp', 'data', 'cursor'])
  assert.equal(message.cursor, answer.cursor, 'the watermark')
  await allDone(server, 2)
  const refreshed = await subscribe(server, receiver)
  assert.equal(refreshed.cursor, await server.events.cursor(NAME), 'it moved with what was delivered')
  assert.equal(receiver.challenges.length, 1, 'it has proven itself')
  assert.deepEqual(server.errors, [])
})

test('a cursor replays what lies behind it, once, and arguments choose', async (t) => {
  const [server, receiver] = [openServer(t, await openStore(t)), await openReceiver(t)]
  const begin = await server.events.cursor(NAME)
  await publish(server, 1, 2, 3, 4)
  await eventually(async () => {
    const { work } = await server.store.listWork({ queue: 'mcp-events/fanout', status: 'done' })
    return work.length === 4
  }, 'that all was handed on')
  const answer = await subscribe(server, receiver, { cursor: begin, arguments: { parity: 1 } })
  assert.deepEqual([answer.cursor, answer.truncated], [begin, false])
  await publish(server, 5, 6)
  await hear(receiver, 1, 3, 5)
  assert.deepEqual(receiver.numbers().sort(), [1, 3, 5])
  const far = await subscribe(server, receiver, { cursor: 'another', arguments: { parity: 7 } })
  assert.equal(far.truncated, true)
})

test('after a refresh the secret of before signs along, the id stays, and what was suspended goes on', async (t) => {
  const [server, receiver] = [openServer(t, await openStore(t)), await openReceiver(t)]
  const first = await subscribe(server, receiver, { ttlMs: 1 })
  assert.ok(Date.parse(first.refreshBefore) - Date.now() > 200_000, 'the least that is granted')
  const delivery = { ...receiver.delivery, secret: secretOf(2) }
  const second = await subscribe(server, { delivery }, { ttlMs: null })
  assert.equal(second.id, first.id)
  assert.ok(Date.parse(second.refreshBefore) - Date.now() > 600_000_000, 'the most, for none is endless here')
  assert.equal(second.deliveryStatus.active, true)
  await publish(server, 1)
  await hear(receiver, 1)
  const [post] = receiver.posts
  assert.ok(isSigned(post, secretOf(1)) && isSigned(post, secretOf(2)))
  assert.equal(post.headers['webhook-signature'].split(' ').length, 2)
  await server.store.putEventSubscription({ subscription_id: first.id, topic: `mcp-events/${NAME}`, active: false })
  await publish(server, 2)
  await eventually(async () => (await statusesOf(server)).includes('waiting'), 'what waits')
  assert.equal((await subscribe(server, { delivery })).deliveryStatus.active, true)
  await hear(receiver, 2)
})

test('an endless grant is null, and only where the server says so', async (t) => {
  const [server, receiver] = [openServer(t, await openStore(t), { endless: true }), await openReceiver(t)]
  assert.equal((await subscribe(server, receiver, { ttlMs: null })).refreshBefore, null)
  const { principal } = { principal: 'alice' }
  const { values: [{ expires_at }] } = await server.store.listValues({ collection: 'mcp-events/verified', principal })
  assert.equal(expires_at, null, 'its proof is kept as long')
})

test('what must not be is refused in the words of the extension', async (t) => {
  const store = await openStore(t)
  const receiver = await openReceiver(t)
  const { delivery } = receiver
  for (const [profile, forbidden, notFound, exhausted] of [
    ['sep-3415', -32024, -32023, -32025],
    ['sketch', -32012, -32011, -32013],
  ]) {
    const guarded = { name: 'guarded', delivery: ['webhook'], allows: (principal) => principal === 'bob' }
    const events = { profile, namespace: profile, types: [...types, guarded, { name: 'polled' }] }
    const server = openServer(t, store, { events, maxSubscriptions: 1 })
    const refused = (code, params, ctx = alice) => {
      return assert.rejects(server.sender.subscribe({ name: NAME, delivery, ...params }, ctx), { code })
    }
    await refused(forbidden, {}, {})
    await refused(forbidden, { name: 'guarded' })
    await refused(notFound, { name: 'nothing' })
    const polled = server.sender.subscribe({ name: 'polled', delivery }, alice)
    await assert.rejects(polled, { data: { feature: 'delivery', value: 'webhook' } })
    for (const wrong of [
      { delivery: undefined }, { delivery: { ...delivery, mode: 'mail' } },
      { delivery: { ...delivery, url: 'ftp://a' } }, { delivery: { ...delivery, url: undefined } },
      { delivery: { ...delivery, secret: 'whsec_short' } },
      { ttlMs: 0 }, { ttlMs: 'long' }, { cursor: 7 }, { arguments: [] },
    ]) await refused(-32602, wrong)
    await subscribe(server, receiver)
    await subscribe(server, receiver)
    await refused(exhausted, { arguments: { parity: 1 } })
    await subscribe(server, receiver, {}, bob)
    await server.sender.unsubscribe({ name: NAME, delivery: { url: receiver.url } }, alice)
    const again = server.sender.unsubscribe({ name: NAME, delivery: { url: receiver.url } }, alice)
    await assert.rejects(again, { code: notFound, data: { kind: 'subscription' } })
    assert.deepEqual(server.ended.map(({ reason, principal }) => [reason, principal]), [['unsubscribed', 'alice']])
  }
  const secure = new WebhookSender(new EventsExtension(store, { types }))
  await assert.rejects(secure.subscribe({ name: NAME, delivery }, alice), { code: -32602 })
})

test('who does not prove itself is sent nothing', async (t) => {
  const server = openServer(t, await openStore(t), { events: { profile: 'sketch' } })
  const receiver = await openReceiver(t, { prove: (said) => said + '!' })
  await assert.rejects(subscribe(server, receiver), { code: -32015, data: { reason: 'challenge_failed' } })
  const gone = { delivery: { ...receiver.delivery, url: 'http://localhost:1/hook' } }
  await assert.rejects(subscribe(server, gone), { code: -32015, data: { reason: 'connection_refused' } })
  await publish(server, 1)
  assert.deepEqual((await server.store.listEventSubscriptions()).subscriptions, [])
  const trusting = openServer(t, server.store, { trusts: (url) => url === receiver.url, isSending: false })
  await subscribe(trusting, receiver)
  assert.equal(receiver.challenges.length, 1)
})

test('what fails is tried again, each event by itself, and given up in the end', async (t) => {
  const [server, receiver] = [openServer(t, await openStore(t)), await openReceiver(t)]
  const statuses = { 1: [500, 503, 302, 200], 2: [410], 3: [413], 4: [500, 500, 500, 500, 500], 5: [200] }
  receiver.answer = ({ message: { data: { n } } }) => statuses[n].shift()
  const { id } = await subscribe(server, receiver)
  await publish(server, 1, 2, 3, 4, 5)
  await eventually(() => Object.values(statuses).every((left) => left.length === 0), 'all attempts')
  await eventually(async () => (await statusesOf(server)).every((status) => ['done', 'dead'].includes(status)), 'ends')
  const { work } = await server.store.listWork({ queue: 'mcp-events/deliveries', subscription_id: id })
  const ends = Object.fromEntries(work.map(({ position, status, error }) => [position, [status, error]]))
  assert.deepEqual([ends[1][0], ends[5][0]], ['done', 'done'])
  assert.deepEqual([ends[2], ends[3], ends[4]], [['dead', 'http_4xx'], ['dead', 'http_4xx'], ['dead', 'http_5xx']])
  const ids = receiver.posts.filter(({ message }) => message.data.n === 4).map(({ headers }) => headers['webhook-id'])
  assert.deepEqual([ids.length, new Set(ids).size], [5, 1])
  const { cursor, deliveryStatus } = await subscribe(server, receiver)
  assert.equal(cursor, await server.events.cursor(NAME), 'the watermark passes what was given up')
  assert.ok(deliveryStatus.active && deliveryStatus.lastDeliveryAt !== null)
  receiver.check()
})

test('an endpoint that hardly ever works is left alone until somebody refreshes', async (t) => {
  const [server, receiver] = [openServer(t, await openStore(t)), await openReceiver(t, { answer: () => 500 })]
  const { id } = await subscribe(server, receiver)
  await publish(server, ...Array(25).keys())
  const stored = () => server.store.getEventSubscription({ subscription_id: id })
  await eventually(async () => !(await stored()).active, 'the suspension')
  await eventually(async () => !(await statusesOf(server)).includes('leased'), 'the end of what is on its way')
  const { attempts, failures } = (await stored()).window
  assert.ok(attempts >= 100 && failures === attempts)
  receiver.answer = () => 200
  const { deliveryStatus } = await subscribe(server, receiver)
  assert.deepEqual([deliveryStatus.lastError, typeof deliveryStatus.failedSince], ['http_5xx', 'string'])
  await publish(server, 100)
  await hear(receiver, 100)
})

test('an end that nobody asked for is told, signed, and what was still to be sent goes with it', async (t) => {
  const allowed = new Set(['alice', 'bob'])
  const types = [{ name: NAME, delivery: ['webhook'], allows: (principal) => allowed.has(principal) }]
  const server = openServer(t, await openStore(t), { events: { types } })
  const [first, second] = [await openReceiver(t), await openReceiver(t)]
  await subscribe(server, first)
  await subscribe(server, second, {}, bob)
  allowed.delete('alice')
  await publish(server, 1)
  await hear(second, 1)
  await eventually(() => first.posts.length === 1, 'the end of the first')
  const [{ type, error }] = first.messages()
  assert.deepEqual([type, error.code], ['terminated', -32024])
  assert.match(first.posts[0].headers['webhook-id'], /^msg_terminated_[0-9a-f]{32}$/)
  assert.equal(await server.sender.endAll(NAME), 1)
  await eventually(() => second.posts.length === 2, 'the end of the second')
  assert.deepEqual(second.messages()[1].error.data, { kind: 'event' })
  first.check()
  second.check()
  assert.deepEqual(server.ended.map(({ reason }) => reason), ['forbidden', 'not_found'])
  await eventually(async () => {
    const { work } = await server.store.listWork({ queue: 'mcp-events/ended' })
    return work.every(({ status }) => status === 'done')
  }, 'that no more is to be told')
})

test('a subscription lapses by itself, and the server hears of it; a new one inherits nothing', async (t) => {
  const server = openServer(t, await openStore(t), { shortestTtlMs: 1, ttlMs: 200 })
  const receiver = await openReceiver(t, { answer: () => 500 })
  const { id } = await subscribe(server, receiver)
  await publish(server, 1)
  await eventually(() => server.ended.length === 1, 'the end')
  assert.deepEqual(server.ended, [{ subscriptionId: id, name: NAME, principal: 'alice', reason: 'expired' }])
  assert.deepEqual(await statusesOf(server), [])
  receiver.answer = () => 200
  receiver.posts.length = 0
  assert.equal((await subscribe(server, receiver, { ttlMs: 300_000 })).id, id)
  await publish(server, 2)
  await hear(receiver, 2)
  assert.deepEqual(receiver.numbers(), [2])
})

test('what was gone before it could be handed on is told as a gap', async (t) => {
  const store = await openStore(t, { options: { max_events_per_session: 3 } })
  const [server, receiver] = [openServer(t, store, { isSending: false }), await openReceiver(t)]
  await subscribe(server, receiver)
  await publish(server, 1, 2, 3, 4, 5)
  server.sender.start()
  await hear(receiver, 3, 4, 5)
  await eventually(() => receiver.messages().some(({ type }) => type === 'gap'), 'the gap')
  receiver.check()
  const { message, headers } = receiver.posts.find(({ message }) => message.type === 'gap')
  assert.match(headers['webhook-id'], /^msg_gap_[0-9a-f]{32}$/)
  assert.equal(typeof message.cursor, 'string')
})

test('in order one that fails holds up those behind it; and each delivery has an id of its own', async (t) => {
  const server = openServer(t, await openStore(t), { ordered: true, messageIds: 'delivery' })
  const receiver = await openReceiver(t)
  let failures = 3
  receiver.answer = ({ message: { data: { n } } }) => (n === 1 && failures-- > 0 ? 500 : 200)
  await subscribe(server, receiver)
  await publish(server, 1, 2, 3)
  await hear(receiver, 1, 2, 3)
  assert.deepEqual(receiver.numbers(), [1, 1, 1, 1, 2, 3])
  const ids = new Set(receiver.posts.map(({ headers }) => headers['webhook-id']))
  assert.equal(ids.size, 3)
  for (const id of ids) assert.match(id, /^msg_[0-9a-f]{32}$/)
})

const LOOPBACK = "(host, options, done) => done(null, [{ address: '127.0.0.1', family: 4 }])"

test('a subscription without an end ends when its endpoint has failed for too long, and others do not', async (t) => {
  const server = openServer(t, await openStore(t), { endless: true, cursors: false })
  const [receiver, other] = [await openReceiver(t, { answer: () => 500 }), await openReceiver(t, { answer: () => 500 })]
  await subscribe(server, receiver, { ttlMs: null })
  await subscribe(server, other)
  await publish(server, 1)
  const isDead = async () => (await statusesOf(server)).filter((status) => status === 'dead').length === 2
  await eventually(isDead, 'the failure')
  assert.equal(receiver.messages()[0].cursor, null)
  receiver.answer = () => 200
  const { sender } = openServer(t, server.store, { endless: true, endlessFailingMs: 0 })
  await eventually(() => receiver.messages().some(({ type }) => type === 'terminated'), 'the end')
  assert.deepEqual(receiver.messages().at(-1).error.data, { kind: 'subscription' })
  assert.equal((await server.store.listEventSubscriptions()).subscriptions.length, 1)
  await sender.stop()
})

/** A process that sends until it is killed; `connect` is what it does in the place of looking a name up. */
function startSender(t, database, connect = LOOPBACK) {
  const file = (name) => JSON.stringify(join(root, 'protocol/clients/node', name))
  const child = host(`
    import { EventsExtension } from ${file('events-extension.mjs')}
    import { WebhookSender } from ${file('webhook-sender.mjs')}
    const store = await SessionStore.open({ binary, ...${JSON.stringify(placed({ database }))} })
    const events = new EventsExtension(store, { types: ${JSON.stringify(types)} })
    const options = { insecure: true, lease: 300, timeout: 600000, delays: [1, 1, 1, 1], lookup: ${connect} }
    new WebhookSender(events, options).start()
    console.log('sends', store.pid)`)
  t.after(() => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })
  child.line = async () => (await once(lines, 'line'))[0]
  return child
}

test('a sender that is killed between claiming and sending loses nothing', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const server = openServer(t, await openStore(t, { database }), { isSending: false })
  const receiver = await openReceiver(t)
  await subscribe(server, receiver)
  const child = startSender(t, database, "() => console.log('claimed')")
  await child.line()
  await publish(server, 1)
  assert.equal(await child.line(), 'claimed')
  child.kill('SIGKILL')
  assert.deepEqual(receiver.posts, [])
  server.sender.start()
  await hear(receiver, 1)
  assert.deepEqual(receiver.numbers(), [1])
})

test('a sender that is killed while it sends, or before it settles, loses nothing: the id comes again', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const server = openServer(t, await openStore(t, { database }), { isSending: false })
  const receiver = await openReceiver(t)
  receiver.answer = () => undefined
  await subscribe(server, receiver)
  const first = startSender(t, database)
  await first.line()
  await publish(server, 1)
  await eventually(() => receiver.posts.length === 1, 'the first attempt')
  first.kill('SIGKILL')
  const second = startSender(t, database)
  const pid = Number((await second.line()).split(' ')[1])
  await eventually(() => receiver.posts.length === 2, 'the second attempt')
  // It is answered, and can write nothing of it.
  await freeze(pid)
  receiver.posts[1].reply(200)
  second.kill('SIGKILL')
  signal(pid, 'SIGKILL')
  receiver.answer = () => 200
  server.sender.start()
  await allDone(server, 1)
  assert.deepEqual(receiver.numbers(), [1, 1, 1])
  assert.equal(new Set(receiver.posts.map(({ headers }) => headers['webhook-id'])).size, 1)
  receiver.check()
})

test('senders are killed while much is published: everything arrives, and most of it once', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const server = openServer(t, await openStore(t, { database }), { isSending: false })
  const receivers = [await openReceiver(t), await openReceiver(t, { secret: secretOf(3) })]
  await subscribe(server, receivers[0])
  await subscribe(server, receivers[1], { arguments: { parity: 1 } }, bob)
  const children = [startSender(t, database), startSender(t, database)]
  await Promise.all(children.map((child) => child.line()))
  for (let n = 0; n < 60; n++) {
    await publish(server, n)
    if (n % 15 !== 7) continue
    children[0].kill('SIGKILL')
    children.push(startSender(t, database))
    children.shift()
  }
  const all = [...Array(60).keys()]
  await hear(receivers[0], ...all)
  await hear(receivers[1], ...all.filter((n) => n % 2 === 1))
  await allDone(server, 90)
  assert.deepEqual([...new Set(receivers[0].numbers())].sort((a, b) => a - b), all)
  assert.ok(receivers[1].numbers().every((n) => n % 2 === 1))
  receivers.forEach((receiver) => receiver.check())
})

test('two senders do not send twice what one of them holds', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const stores = [await openStore(t, { database }), await openStore(t, { database })]
  const servers = stores.map((store) => openServer(t, store))
  const receiver = await openReceiver(t)
  await subscribe(servers[0], receiver)
  for (let n = 0; n < 40; n++) await publish(servers[n % 2], n)
  await hear(receiver, ...Array(40).keys())
  await allDone(servers[0], 40)
  assert.equal(receiver.posts.length, 40)
})

test('a sender that knows no type sends what others handed on, and leaves the rest to them', async (t) => {
  const database = join(temporaryFolder(t), 'sessions.db')
  const [here, there] = [await openStore(t, { database }), await openStore(t, { database })]
  const server = openServer(t, here, { isSending: false })
  const receiver = await openReceiver(t)
  await subscribe(server, receiver)
  openServer(t, there, { events: { types: [] } })
  await publish(server, 1)
  const other = openServer(t, here)
  await hear(receiver, 1)
  await other.sender.stop()
  assert.deepEqual(receiver.numbers(), [1])
})
