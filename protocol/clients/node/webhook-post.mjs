import { lookup as systemLookup } from 'node:dns'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIP } from 'node:net'
import { isPublicAddress } from './addresses.mjs'
import { clearTimeout, setTimeout } from './timers.mjs'

/** Of what an endpoint answers more than this is never read. */
const LONGEST_ANSWER = 64 << 10
const LONGEST_URL = 2048
const VISIBLE_ASCII = /^[\x21-\x7e]+$/
const TLS_ERROR = /^(?:ERR_TLS|ERR_SSL|EPROTO|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH)/

/** Why a URL may not be sent to, in words for whoever subscribes; null when it may. */
export function refusalOf(url, { insecure = false } = {}) {
  if (typeof url !== 'string' || url.length > LONGEST_URL) return `it is no text of at most ${LONGEST_URL} characters`
  if (!VISIBLE_ASCII.test(url)) return 'it must be visible ASCII characters'
  if (!URL.canParse(url)) return 'it is no URL'
  const { protocol, username, password, hostname, port } = new URL(url)
  if (protocol !== 'https:' && !(insecure && protocol === 'http:')) return 'it must begin with https://'
  if (username !== '' || password !== '' || /^[a-z]+:\/*[^/?#]*@/i.test(url)) return 'it has a user or a password'
  return hostname === '' || port === '0' ? 'it must name a host' : null
}

/**
 * Posts to an endpoint that somebody else has named: never beyond the deadline, never to an address that is not public,
 * whatever its name resolves to and when, and never on to where a redirect leads. Resolves with `{status, headers,
 * text}`, or with `{error}`: `connection_refused`, `timeout` or `tls_error`. With `insecure` any address will do, and
 * `http`; with `read` the answer's text is waited for.
 */
export function post(url, { headers, body, timeout, read = false, insecure, lookup, tls }) {
  const isAllowed = insecure ? () => true : isPublicAddress
  return new Promise((resolve) => {
    if (refusalOf(url, { insecure }) !== null) return resolve({ error: 'connection_refused' })
    const { protocol, hostname } = new URL(url)
    const literal = hostname.replace(/^\[|\]$/g, '')
    // For an address that stands in the URL nothing is looked up.
    if (isIP(literal) !== 0 && !isAllowed(literal)) return resolve({ error: 'connection_refused' })
    const bytes = Buffer.from(body)
    const request = (protocol === 'https:' ? httpsRequest : httpRequest)(url, {
      ...(protocol === 'https:' ? tls : {}),
      method: 'POST',
      // A connection of its own: what is used again would have been looked up some other time.
      agent: false,
      lookup: pinned(isAllowed, lookup ?? systemLookup),
      headers: { 'content-type': 'application/json', 'content-length': bytes.length, ...headers },
    })
    let isOver = false
    const finish = (answer) => {
      if (isOver) return
      isOver = true
      clearTimeout(timer)
      request.destroy()
      resolve(answer)
    }
    const timer = setTimeout(() => finish({ error: 'timeout' }), timeout)
    request.on('error', ({ code }) => finish({ error: TLS_ERROR.test(code) ? 'tls_error' : 'connection_refused' }))
    request.on('response', (response) => {
      const { statusCode: status, headers } = response
      // The status is all that counts of most answers, whatever comes behind it.
      if (!read) return finish({ status, headers, text: '' })
      const parts = []
      let length = 0
      const end = () => finish({ status, headers, text: Buffer.concat(parts).toString('utf8') })
      response.on('data', (part) => {
        length += part.length
        if (length > LONGEST_ANSWER) return end()
        parts.push(part)
      })
      response.on('end', end)
      response.on('error', end)
    })
    request.on('upgrade', ({ statusCode: status, headers }) => finish({ status, headers, text: '' }))
    request.end(bytes)
  })
}

/** Looks a name up: the connection is made to one of the addresses that were looked at, and all must be allowed. */
function pinned(isAllowed, lookup) {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error) return callback(error)
      if (found.length === 0 || !found.every(({ address }) => isAllowed(address))) {
        return callback(Object.assign(new Error(`${hostname} must not be sent to.`), { code: 'EACCES' }))
      }
      if (options.all) callback(null, found)
      else callback(null, found[0].address, found[0].family)
    })
  }
}
