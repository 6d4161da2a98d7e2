import { tell } from './callback.mjs'
import { CallTimeout } from './errors.mjs'

/** Milliseconds; probes of orchestrators wait for a second, most of the time. */
const PATIENCE = 900
const PATH = /^\/[!-~]*$/

/** What a probe asks for: whether the store is well. It is asked once, however many ask at the same time. */
export class HealthRoute {
  #store
  #path
  #onError
  #asking = null

  constructor(store, path, onError) {
    if (typeof path !== 'string' || !PATH.test(path) || path.includes('?')) {
      throw new TypeError(`health: a path is expected, as '/healthz', not ${path}.`)
    }
    this.#store = store
    this.#path = path
    this.#onError = onError
  }

  isAskedBy({ url }) {
    return url.split('?', 1)[0] === this.#path
  }

  /** Never rejects. */
  async answer({ method }, response) {
    const isAllowed = method === 'GET' || method === 'HEAD'
    if (isAllowed) this.#asking ??= this.#ask().finally(() => (this.#asking = null))
    const reasons = isAllowed ? await this.#asking : ['a probe is a GET']
    if (response.headersSent || response.writableEnded) return
    const isWell = reasons.length === 0
    if (isAllowed) response.statusCode = isWell ? 200 : 503
    else {
      response.statusCode = 405
      response.setHeader('Allow', 'GET, HEAD')
    }
    response.setHeader('Content-Type', 'application/json')
    response.setHeader('Cache-Control', 'no-store')
    const body = isWell ? { status: 'ok' } : { status: isAllowed ? 'unhealthy' : 'refused', reasons }
    response.end(method === 'HEAD' ? undefined : JSON.stringify(body))
  }

  /** Why it is not well; nothing when it is. */
  async #ask() {
    try {
      const { status, reasons } = await this.#store.health({ timeout: PATIENCE, retry: false })
      if (status === 'healthy') return []
      return reasons.length > 0 ? reasons.map(withoutDetails) : ['the store is not well']
    } catch (error) {
      tell(this.#onError, error)
      const isSlow = error instanceof CallTimeout
      return [isSlow ? 'the store does not answer in time' : 'the store cannot be asked']
    }
  }
}

/** Everybody may ask: what comes behind a colon is the system's own text, which may name files. */
function withoutDetails(reason) {
  const [what] = reason.split(':', 1)
  return /[/\\]/.test(what) ? 'the store is not well' : what
}
