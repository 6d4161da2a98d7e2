// What all languages call things, and compute: the vectors that they share.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isPublicAddress } from '../../../protocol/clients/node/addresses.mjs'
import { canonical } from '../../../protocol/clients/node/canonical-json.mjs'
import * as names from '../../../protocol/clients/node/event-names.mjs'
import { HALF_A_PAIR } from '../../../protocol/clients/node/names.mjs'
import { keyOf, signedHeaders } from '../../../protocol/clients/node/signature.mjs'
import { root } from './fixture.mjs'

const vectors = JSON.parse(readFileSync(join(root, 'protocol/clients/events/vectors.json'), 'utf8'))

/** Runs `check` on each vector of a member, of which there are some. */
function each(member, check) {
  assert.ok(vectors[member].length > 0, member)
  for (const vector of vectors[member]) check(vector)
}

test('canonical JSON is the same text in every language', () => {
  // Half a pair stands in the vectors as it is, which no bytes of UTF-8 can say: they have its escape.
  const escape = (half) => '\\u' + half.charCodeAt(0).toString(16)
  each('canonical', ({ json, canonical: text }) => {
    assert.equal(canonical(JSON.parse(json)), text.replace(HALF_A_PAIR, escape), json)
  })
  for (const value of [NaN, Infinity, undefined, () => {}]) assert.throws(() => canonical(value), TypeError)
})

test('cursors are those of every language, and those of others are told apart', () => {
  each('cursors', ({ topic, epoch, id, cursor }) => {
    assert.equal(names.cursorOf(topic, { epoch, id }), cursor)
    assert.deepEqual(names.positionOf(topic, cursor), { epoch, id })
    assert.equal(names.positionOf(topic + '.', cursor), null)
  })
  each('foreign_cursors', ({ topic, epoch, cursor, is }) => {
    const position = names.positionOf(topic, cursor)
    if (is === 'unknown') assert.equal(position, null, cursor)
    else assert.notEqual(position.epoch, epoch, cursor)
  })
})

test('ids, nonces and keys are those of every language', () => {
  each('subscriptions', ({ namespace, principal, url, name, arguments: args, id }) => {
    assert.equal(new names.EventNames(namespace).subscriptionId(principal, url, name, args), id)
  })
  each('nonces', ({ namespace, name, event_id, nonce }) => {
    assert.equal(new names.EventNames(namespace).nonce(name, event_id), nonce)
  })
  each('receivers', ({ principal, url, key }) => assert.equal(names.receiverKey(principal, url), key))
  each('messages', ({ subscription_id, event_id, message_id }) => {
    assert.equal(names.messageId(subscription_id, event_id), message_id)
  })
})

test('signatures are those of Standard Webhooks, and a secret is told from what is none', () => {
  each('signatures', ({ secrets, id, timestamp, body, signature }) => {
    const headers = { 'webhook-id': id, 'webhook-timestamp': String(timestamp), 'webhook-signature': signature }
    assert.deepEqual(signedHeaders(secrets, { id, timestamp, body }), headers)
  })
  each('secrets', ({ secret, valid }) => assert.equal(keyOf(secret) !== null, valid, secret))
})

test('where a webhook may go is the same everywhere', () => {
  each('addresses', ({ address, public: isPublic }) => assert.equal(isPublicAddress(address), isPublic, address))
})

test('what cannot be a name is refused', () => {
  for (const bad of ['', 'a/b', 'x'.repeat(41), 'ä', 7]) assert.throws(() => new names.EventNames(bad), RangeError)
  for (const bad of ['', 'a b', 'x'.repeat(129), 'ä', 7, null]) {
    assert.throws(() => names.checkedName(bad), RangeError)
  }
  for (const bad of ['', 'a\nb', 'x'.repeat(201), null]) assert.throws(() => names.checkedEventId(bad), RangeError)
})
