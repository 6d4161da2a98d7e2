/** How a process that ended is started again, and how a call is repeated that the store refused for now. */
const RESTART = { attempts: 5, within: 60_000, delay: 50, maxDelay: 5000, pause: 30_000 }
const RETRY = { attempts: 3, delay: 50, maxDelay: 1000 }

/** Every option of a store; undefined where there is no default, or another part knows it. */
const DEFAULTS = {
  binary: undefined,
  database: undefined,
  options: undefined,
  cwd: undefined,
  env: undefined,
  client: {},
  require: [],
  restart: undefined,
  retry: true,
  log: (line) => process.stderr.write(`mcp-session-store: ${line}\n`),
  onState: () => {},
  timeout: 30_000,
  startTimeout: 10_000,
  maxInFlight: 16 << 20,
  maxWaiting: 64 << 20,
  codec: null,
}
/** Former names. */
const RENAMED = { maxInFlightBytes: 'maxInFlight', maxWaitingBytes: 'maxWaiting' }
const RENAMED_IN_RESTART = { limit: 'attempts', window: 'within', minDelay: 'delay' }

/** The options of a store with their defaults. What cannot be meant is refused. */
export function toOptions(given) {
  const options = { ...DEFAULTS, ...named('option', given, DEFAULTS, RENAMED) }
  const { database, restart = database !== ':memory:' } = options
  for (const name of ['database', 'binary', 'cwd']) {
    if (options[name] === undefined || typeof options[name] === 'string') continue
    throw new TypeError(`${name}: a path is expected, not ${options[name]}.`)
  }
  const { name = '', version = '' } = options.client ?? {}
  if (typeof name !== 'string' || typeof version !== 'string') {
    throw new TypeError('client: its name and version are strings.')
  }
  if (!Array.isArray(options.require) || !options.require.every((name) => typeof name === 'string')) {
    throw new TypeError('require: an array of names is expected.')
  }
  for (const name of ['log', 'onState']) {
    if (typeof options[name] !== 'function') throw new TypeError(`${name}: a function is expected.`)
  }
  if (options.codec !== null && typeof options.codec?.sealed !== 'function') {
    throw new TypeError('codec: a Codec is expected, or null for none.')
  }
  for (const name of ['maxInFlight', 'maxWaiting']) above(0, name, options[name])
  return {
    ...options,
    timeout: toLimit('timeout', options.timeout),
    startTimeout: toLimit('startTimeout', options.startTimeout),
    restart: toPolicy('restart', restart, RESTART, RENAMED_IN_RESTART),
    retry: toPolicy('retry', options.retry, RETRY, {}),
  }
}

/** Milliseconds that something may take; null: any time. */
export function toLimit(name, milliseconds) {
  if (milliseconds === null) return null
  if (typeof milliseconds === 'number' && milliseconds > 0) return milliseconds
  throw new RangeError(`${name}: milliseconds above 0 are expected, or null for no limit, not ${milliseconds}.`)
}

function toPolicy(name, given, defaults, renamed) {
  if (given === false || given === null) return null
  if (given === true) return defaults
  if (typeof given !== 'object') throw new TypeError(`${name}: true, false or an object is expected, not ${given}.`)
  const policy = { ...defaults, ...named(`option of ${name}`, given, defaults, renamed) }
  for (const [member, value] of Object.entries(policy)) {
    above(member === 'within' ? 0 : -Number.MIN_VALUE, `${name}.${member}`, value)
  }
  return policy
}

function above(least, name, value) {
  if (typeof value === 'number' && value > least) return
  throw new RangeError(`${name}: a number ${least === 0 ? 'above 0' : 'of at least 0'} is expected, not ${value}.`)
}

/** The members that are not undefined, so that those do not hide defaults, under the names of today. */
function named(what, given, known, renamed) {
  const options = {}
  for (const [name, value] of Object.entries(given)) {
    const today = renamed[name] ?? name
    if (!Object.hasOwn(known, today)) {
      throw new TypeError(`There is no ${what} '${name}'; there are ${Object.keys(known).join(', ')}.`)
    }
    if (value !== undefined) options[today] = value
  }
  return options
}
