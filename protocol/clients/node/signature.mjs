import { createHmac } from 'node:crypto'

const PREFIX = 'whsec_'
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const SHORTEST = 24
const LONGEST = 64

/** The key in a secret of Standard Webhooks, `whsec_` and the base64 of 24 to 64 bytes; null when it is none. */
export function keyOf(secret) {
  if (typeof secret !== 'string' || !secret.startsWith(PREFIX)) return null
  const text = secret.slice(PREFIX.length)
  if (!BASE64.test(text)) return null
  const key = Buffer.from(text, 'base64')
  return key.length >= SHORTEST && key.length <= LONGEST ? key : null
}

/**
 * What a delivery says of itself: `webhook-id`, `webhook-timestamp` in seconds, and a signature by each of the secrets,
 * the newest first, over both and the body as it is sent.
 */
export function signedHeaders(secrets, { id, timestamp, body }) {
  const signed = `${id}.${timestamp}.${body}`
  const signatures = secrets.map((secret) => {
    return 'v1,' + createHmac('sha256', keyOf(secret)).update(signed).digest('base64')
  })
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signatures.join(' '),
  }
}
