// What goes over the wire, and what is refused before it does.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toLine } from '../../../protocol/clients/node/json.mjs'
import { openStore } from './fixture.mjs'

const put = (value) => ['put_value', { collection: 'c', key: 'k', value }]

test('what JSON cannot say is refused, with the place where it stands', () => {
  const cyclic = {}
  cyclic.self = cyclic
  for (const [value, told] of [
    [NaN, /^put_value: params\.value is NaN, which JSON cannot say\.$/],
    [{ list: [1, { n: -Infinity }] }, /params\.value\.list\[1\]\.n is -Infinity/],
    [[1, undefined], /params\.value\[1\] is undefined/],
    [new Array(2), /params\.value\[0\] is undefined/],
    [{ a: undefined }, /params\.value\.a is undefined/],
    [{ f() {} }, /params\.value\.f is a function/],
    [{ s: Symbol('s') }, /params\.value\.s is a symbol/],
    [{ n: 1n }, /params\.value\.n is a bigint/],
    [{ m: new Map([[1, 2]]) }, /params\.value\.m is a Map/],
    [{ p: Promise.resolve(1) }, /params\.value\.p is a Promise/],
    [{ e: new Error('x') }, /params\.value\.e is a Error/],
    [new Number(NaN), /params\.value is NaN/],
    [{ when: new Date(NaN) }, /when is an invalid Date/],
    [{ own: { toJSON: () => ({ n: NaN }) } }, /n is NaN/],
    [{ own: { toJSON: () => undefined } }, /own is an invalid Object/],
    [{ own: { toJSON: () => [undefined] } }, /0 is undefined/],
    [cyclic, /circular/i],
  ]) {
    assert.throws(() => toLine(1, ...put(value)), (error) => error instanceof TypeError && told.test(error.message))
  }
})

test('what is undefined among the parameters, or in a record of the contract, is left out', () => {
  const line = (method, params) => JSON.parse(toLine(1, method, params)).params
  assert.deepEqual(line('create_session', { user_id: undefined, ttl: 1 }), { ttl: 1 })
  assert.deepEqual(line('store_events', { events: [{ data: 1, stream_id: undefined }] }), { events: [{ data: 1 }] })
  const calls = [{ method: 'put_value', params: { value: 1, ttl: undefined }, require: undefined }]
  assert.deepEqual(line('transaction', { calls }), { calls: [{ method: 'put_value', params: { value: 1 } }] })
  assert.deepEqual(line('fail_task', { error: { code: 1, data: undefined } }), { error: { code: 1 } })
  assert.throws(() => toLine(1, 'store_events', { events: [undefined] }), TypeError)
  assert.throws(() => toLine(1, 'update_session', { session: { state: { a: undefined } } }), /session\.state\.a/)
})

test('what says itself what it is as JSON is stored so', () => {
  const value = { when: new Date(0), at: new URL('http://x/'), bytes: Buffer.from('é') }
  assert.deepEqual(JSON.parse(toLine(1, ...put(value))).params.value, JSON.parse(JSON.stringify(value)))
})

test('nothing makes a second line', async (t) => {
  const odd = { toJSON: () => '\n{"method":"delete_session"}\n' }
  const values = ['a\nb\r\n\u2028\u2029\u0085', { 'k\ney': '\n' }, odd, { '\ud800': '\udc00\n' }, new String('\n')]
  if (JSON.rawJSON !== undefined) {
    values.push(JSON.rawJSON('"a\\nb"'), JSON.rawJSON('9'.repeat(6000)))
    assert.throws(() => JSON.rawJSON('1\n{}'))
  }
  for (const value of values) assert.equal(toLine(1, ...put(value)).split('\n').length, 1)
  for (const method of ['a\nb', '"}\n{"method":"delete_session"']) {
    assert.equal(toLine(1, method, {}).split('\n').length, 1)
  }
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  await Promise.all(values.map((data) => store.storeEvent({ session_id: 's', data })))
  assert.equal((await store.eventCount({ session_id: 's' })).count, values.length)
  await assert.rejects(store.call('a\nb'), { kind: 'method_not_found' })
})

test('a huge number is stored as it was written, where the runtime can write one', async (t) => {
  const store = await openStore(t)
  await store.createSession({ session_id: 's' })
  if (JSON.rawJSON !== undefined) {
    await store.storeEvent({ session_id: 's', data: JSON.rawJSON('9'.repeat(6000)) })
    await store.storeEvent({ session_id: 's', data: JSON.rawJSON('12345678901234567890') })
    const { events } = await store.getEventsAfter({ session_id: 's' })
    assert.deepEqual(events.map(({ data }) => data), [Infinity, 12345678901234567000])
    const { frames } = await store.getEventsAfter({ session_id: 's', format: 'sse' })
    assert.ok(frames.includes('9'.repeat(6000)) && frames.includes('12345678901234567890'))
  }
  assert.equal((await store.health()).status, 'healthy')
})

test('what is refused before it is sent leaves nothing behind', async (t) => {
  const store = await openStore(t, { maxInFlight: 1000, maxWaiting: 1000 })
  for (let n = 0; n < 100; n++) {
    await assert.rejects(store.putValue({ collection: 'c', key: 'k', value: NaN }), TypeError)
  }
  assert.deepEqual([store.bytesInFlight, store.bytesWaiting], [0, 0])
  assert.equal((await store.getValue({ collection: 'c', key: 'k' })).exists, false)
})
