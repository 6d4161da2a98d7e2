// A receiver of webhooks over loopback, which checks what it gets as receivers do.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'

export const NAME = 'thing.changed'
export const types = [{ name: NAME, description: 'A thing changed.', delivery: ['poll', 'push', 'webhook'] }]
export const alice = { authInfo: { clientId: 'alice' } }
export const bob = { authInfo: { clientId: 'bob' } }

export const secretOf = (byte) => 'whsec_' + Buffer.alloc(32, byte).toString('base64')

/** Whether one of the signatures is that of Standard Webhooks under a secret. */
export function isSigned({ headers, body }, secret) {
  const { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': signatures } = headers
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64')
  const signature = createHmac('sha256', key).update(`${id}.${time}.${body}`).digest('base64')
  return Math.abs(Date.now() / 1000 - Number(time)) < 300 && signatures.split(' ').includes(`v1,${signature}`)
}

/**
 * A receiver that proves itself, and answers each event by `answer(post)`: a status, or nothing yet. Everything that it
 * got is in `posts`, with the `message` in it; challenges are in `challenges`.
 */
export async function openReceiver(t, { secret = secretOf(1), answer = () => 200, prove = (said) => said } = {}) {
  const receiver = { posts: [], challenges: [], secret, answer }
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const part of request.setEncoding('utf8')) body += part
    const post = { headers: request.headers, body, message: JSON.parse(body), at: performance.now() }
    const send = (status, text) => response.writeHead(status, { 'content-type': 'application/json' }).end(text)
    if (post.message.type === 'verification') {
      receiver.challenges.push(post)
      return send(200, JSON.stringify({ challenge: prove(post.message.challenge) }))
    }
    post.reply = send
    receiver.posts.push(post)
    const status = await receiver.answer(post)
    if (status !== undefined) send(status)
  })
  server.on('clientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  receiver.url = `http://localhost:${server.address().port}/hook`
  receiver.delivery = { mode: 'webhook', url: receiver.url, secret }
  receiver.messages = () => receiver.posts.map(({ message }) => message)
  receiver.numbers = () => receiver.messages().filter(({ data }) => data).map(({ data }) => data.n)
  receiver.check = () => {
    for (const post of receiver.posts) {
      assert.ok(isSigned(post, receiver.secret), post.headers['webhook-signature'])
      assert.equal(post.headers['content-type'], 'application/json')
    }
  }
  return receiver
}
