// Sending to where a stranger asked to be sent to: to public addresses that were looked at, and no further.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { post, refusalOf } from '../../../protocol/clients/node/webhook-post.mjs'
import { temporaryFolder } from './fixture.mjs'

async function listen(t, server) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => new Promise((resolve) => {
    server.closeAllConnections?.()
    server.close(resolve)
  }))
  return server.address().port
}

/** A server that answers each request by `answer`, and what it was asked. */
async function receiver(t, answer) {
  const asked = []
  const port = await listen(t, createServer((request, response) => {
    asked.push(request.url)
    answer(request, response)
  }))
  return { asked, url: `http://localhost:${port}` }
}

const here = () => (hostname, options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }])
const send = (url, options = {}) => {
  return post(url, { headers: {}, body: '{}', timeout: 20_000, insecure: true, lookup: here(), ...options })
}

test('a URL that must not be sent to is refused, and says why', () => {
  assert.equal(refusalOf('https://example.com/hook?a=1#b'), null)
  assert.equal(refusalOf('http://127.0.0.1:8080/hook', { insecure: true }), null)
  for (const url of [
    undefined, 7, '', 'example.com', '/hook', 'ftp://example.com', 'http://example.com', 'https://',
    'https://a:b@x.org', 'https://@x.org', 'https://exämple.com', 'https://example.com/a b', 'https://example.com\n',
    'https://x.org:0/', 'https://x.org:99999/', `https://x.org/${'a'.repeat(2048)}`,
  ]) assert.equal(typeof refusalOf(url), 'string', String(url))
})

test('what is not public is never connected to, be it named, written out or looked up', async (t) => {
  const { asked, url } = await receiver(t, (request, response) => response.end())
  const { port } = new URL(url)
  const lookups = []
  const lookup = (hostname, options, callback) => {
    lookups.push(hostname)
    callback(null, [{ address: '93.184.215.14', family: 4 }, { address: '127.0.0.1', family: 4 }])
  }
  const refused = { error: 'connection_refused' }
  for (const host of [
    '127.0.0.1', '[::1]', '2130706433', '0x7f.1', '169.254.169.254', '[::ffff:127.0.0.1]', '0.0.0.0',
  ]) {
    assert.deepEqual(await send(`https://${host}:${port}/`, { insecure: false, lookup }), refused, host)
  }
  assert.deepEqual(lookups, [])
  // One of its addresses is ours: nothing is sent to either.
  assert.deepEqual(await send(`https://rebound.example:${port}/`, { insecure: false, lookup }), refused)
  assert.deepEqual(await send(`https://localhost:${port}/`, { insecure: false, lookup: undefined }), refused)
  assert.deepEqual(await send(`http://localhost:${port}/`, { insecure: false }), refused, 'it is not https')
  const nowhere = (hostname, options, callback) => callback(Object.assign(new Error('no'), { code: 'ENOTFOUND' }))
  assert.deepEqual(await send(url, { lookup: nowhere }), refused)
  assert.deepEqual([lookups, asked], [['rebound.example'], []])
})

test('a redirect is an answer, and is not followed', async (t) => {
  const { asked, url } = await receiver(t, (request, response) => response.writeHead(302, { location: '/on' }).end())
  const { status } = await send(`${url}/hook`)
  assert.deepEqual([status, asked], [302, ['/hook']])
})

test('what is sent arrives as it is, and the answer is read as far as it may be', async (t) => {
  const { url } = await receiver(t, (request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (part) => (body += part))
    request.on('end', () => {
      if (body === '"much"') return void response.end('x'.repeat(1 << 20))
      response.writeHead(207, { 'x-said': request.headers['x-said'] })
      response.end(JSON.stringify([request.method, request.headers['content-type'], body]))
    })
  })
  const body = '{"text":"ünï 🙂"}'
  const { status, headers, text } = await send(url, { body, headers: { 'X-Said': 'a' }, read: true })
  assert.deepEqual([status, headers['x-said']], [207, 'a'])
  assert.deepEqual(JSON.parse(text), ['POST', 'application/json', body])
  const much = await send(url, { body: '"much"', read: true })
  assert.equal(much.status, 200)
  assert.ok(much.text.length <= 65_536)
})

test('each way to fail has its word, and none takes longer than it may', async (t) => {
  const silent = await receiver(t, () => {})
  assert.deepEqual(await send(silent.url, { timeout: 50 }), { error: 'timeout' })
  const slow = (...lookup) => void setTimeout(() => here()(...lookup), 60_000).unref()
  assert.deepEqual(await send(silent.url, { timeout: 50, lookup: slow }), { error: 'timeout' })
  const endless = await receiver(t, (request, response) => void response.write('a'))
  assert.equal((await send(endless.url)).status, 200, 'what is said counts, not what follows')
  assert.deepEqual(await send(endless.url, { timeout: 50, read: true }), { error: 'timeout' })
  const cut = await receiver(t, (request, response) => response.socket.destroy())
  assert.deepEqual(await send(cut.url), { error: 'connection_refused' })
  const other = createTcpServer((socket) => socket.resume().on('error', () => {}).end('Something else\r\n\r\n'))
  const port = await listen(t, other)
  assert.deepEqual(await send(`http://localhost:${port}`), { error: 'connection_refused' })
  const { url } = await receiver(t, () => {})
  assert.deepEqual(await send(url.replace('http', 'https')), { error: 'tls_error' })
  const free = createTcpServer()
  const closed = await new Promise((resolve) => free.listen(0, '127.0.0.1', () => resolve(free.address().port)))
  await new Promise((resolve) => free.close(resolve))
  assert.deepEqual(await send(`http://localhost:${closed}`), { error: 'connection_refused' })
})

test('TLS is checked against the name', async (t) => {
  const folder = temporaryFolder(t)
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => join(folder, name))
  const made = spawnSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert,
    '-subj', '/CN=hooks.example', '-addext', 'subjectAltName=DNS:hooks.example',
  ], { encoding: 'utf8' })
  assert.equal(made.status, 0, made.stderr)
  const [ca, secret] = [readFileSync(cert), readFileSync(key)]
  const port = await listen(t, createTlsServer({ key: secret, cert: ca }, (request, response) => response.end()))
  const tls = { ca }
  assert.equal((await send(`https://hooks.example:${port}/`, { tls })).status, 200)
  assert.deepEqual(await send(`https://other.example:${port}/`, { tls }), { error: 'tls_error' })
  assert.deepEqual(await send(`https://hooks.example:${port}/`), { error: 'tls_error' })
})
