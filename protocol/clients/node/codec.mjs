import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, randomUUID } from 'node:crypto'
import zlib from 'node:zlib'
import { CodecError } from './errors.mjs'
import { toFrames } from './frames.mjs'
import { payloadText } from './json.mjs'
import { PARAMS, RESULTS, TOLD } from './payloads.mjs'

const MARK = '$codec'
const CIPHER = 'A256GCM'
/** What says how a payload is kept; of a later version than this client's too. */
const CODEC = /^[1-9][0-9]{0,3}\/[A-Za-z0-9]+(?:\+[a-z0-9]+)?$/
const KEY_ID = /^[!-~]{1,64}$/
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** What is shorter is not worth the trouble. */
const LEAST_TO_COMPRESS = 128
/** Of both: beyond it, time buys little. */
const LEVEL = 3
/** Bytes of one payload, so that nobody's envelope can fill the memory of who opens it. */
const MOST = 64 << 20
/** Of a log entry, what the program reads, and so stays beside what it cannot. */
const READ_OF_ENTRIES = ['message_id', 'kind', 'entry_kind', 'received_at', 'received_at_ms', 'sender']
const LONGEST_SENDER = 1024
/** Places whose payloads are texts, and so are their envelopes. */
const TEXTS = new Set(['task.status_message', 'task.error.message', 'event_subscription.secret'])
/** Places that take nothing but an object. */
const OBJECTS = new Set(['session.metadata', 'log.entry'])
/** An event that went to many sessions at once is bound to none of them. */
const BROADCAST = 'broadcast'
const NO_ZSTD = 'zstd needs Node 22.15 or newer.'
const OPTIONS = ['keys', 'write', 'compression', 'acceptPlain']

const hasZstd = typeof zlib.zstdCompressSync === 'function'

/**
 * Seals payloads on their way to the program, and opens them on their way back: encrypted, compressed, or both. What is
 * stored is legible JSON that names its codec, an envelope:
 * `{"$codec": "1/A256GCM+zstd", "key": "2026-11", "nonce": "…", "data": "…"}`.
 */
export class Codec {
  #keys = new Map()
  #write
  #zip
  #acceptsPlain

  constructor(options = {}) {
    const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name))
    if (unknown !== undefined) throw new TypeError(`A codec has no option '${unknown}'; it has ${OPTIONS.join(', ')}.`)
    const { keys = {}, write, compression = 'auto', acceptPlain = true } = options
    for (const [id, key] of Object.entries(keys)) this.#keys.set(id, toKey(id, key))
    const ids = [...this.#keys.keys()]
    if (write === undefined && ids.length > 1) throw new RangeError(`write: say which key seals: ${ids.join(', ')}.`)
    if (write !== undefined && !this.#keys.has(write)) {
      throw new RangeError(`write: there is no key '${write}' among ${ids.join(', ') || 'none'}.`)
    }
    this.#write = write ?? ids[0] ?? null
    if (!['auto', 'zstd', 'deflate', null].includes(compression)) {
      throw new RangeError(`compression: auto, zstd, deflate or null is expected, not ${compression}.`)
    }
    if (compression === 'zstd' && !hasZstd) throw new RangeError(`compression: ${NO_ZSTD}`)
    this.#zip = compression === 'auto' ? (hasZstd ? 'zstd' : 'deflate') : compression
    if (this.#write === null && this.#zip === null) {
      throw new RangeError('A codec without keys and without compression does nothing: leave it out.')
    }
    if (typeof acceptPlain !== 'boolean') throw new TypeError('acceptPlain: true or false is expected.')
    if (this.#write === null && !acceptPlain) {
      throw new RangeError('acceptPlain: without keys, nothing else is ever stored.')
    }
    this.#acceptsPlain = acceptPlain
  }

  /** The ids of the keys that it can read with. */
  get keyIDs() {
    return [...this.#keys.keys()]
  }

  /** The id of the key that it seals with; null: it compresses only. */
  get write() {
    return this.#write
  }

  // --- One payload

  /** The envelope of a payload, or the payload itself where it stays as it is; `text` is it as JSON. */
  seal(value, place, text = payloadText('codec', [], value)) {
    const bytes = Buffer.from(text)
    if (this.#write !== null) return this.#sealed(bytes, beside(value, place), place)
    const { name, packed } = this.#packed(bytes)
    if (name !== '') {
      const envelope = { ...beside(value, place), [MARK]: `1/${name}`, data: packed.toString('base64') }
      if (Buffer.byteLength(JSON.stringify(envelope)) < bytes.length) return inItsForm(envelope, place)
    }
    // What looks like one, and is none.
    const isLike = codecOf(TEXTS.has(place[0]) && typeof value === 'string' ? envelopeIn(value) : value) !== null
    return isLike ? inItsForm({ ...beside(value, place), [MARK]: '1/plain', data: value }, place) : value
  }

  /** `kept`: what stands in the envelope for the program to read. */
  #sealed(bytes, kept, place) {
    if (bytes.length > MOST) {
      throw new CodecError(`A payload has ${bytes.length} bytes, and a codec takes ${MOST}.`, { reason: 'too_large' })
    }
    const { name, packed } = this.#packed(bytes)
    const codec = name === '' ? `1/${CIPHER}` : `1/${CIPHER}+${name}`
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#keys.get(this.#write), nonce)
    cipher.setAAD(bound(codec, this.#write, place))
    const data = Buffer.concat([cipher.update(packed), cipher.final(), cipher.getAuthTag()]).toString('base64')
    const envelope = { ...kept, [MARK]: codec, key: this.#write }
    if (place[0] === BROADCAST) envelope.place = BROADCAST
    envelope.nonce = nonce.toString('base64')
    envelope.data = data
    return inItsForm(envelope, place)
  }

  /** The bytes, and the name of what they were compressed with, which is empty where they were not. */
  #packed(bytes) {
    if (this.#zip !== null && bytes.length >= LEAST_TO_COMPRESS) {
      const packed = pack(this.#zip, bytes)
      if (packed.length < bytes.length) return { name: this.#zip, packed }
    }
    return { name: '', packed: bytes }
  }

  /** The payload of what was stored at the place. */
  open(stored, place) {
    const { bytes, plain } = this.#textIn(stored, place)
    return bytes === null ? plain : parsed(bytes)
  }

  /** The payload as the bytes of JSON; or itself, where it is stored as it is. */
  #textIn(stored, place) {
    const envelope = TEXTS.has(place[0]) && typeof stored === 'string' ? envelopeIn(stored) : stored
    const codec = codecOf(envelope)
    if (codec === null) return { bytes: null, plain: this.#plain(stored, place) }
    const [version, kind] = codec.split('/')
    const [cipher, name = ''] = kind.split('+')
    if (version !== '1' || ![CIPHER, 'plain', 'zstd', 'deflate'].includes(cipher)) {
      const text = `The payload was stored with the codec '${codec}', which this client does not know: use a newer one.`
      throw new CodecError(text, { reason: 'unknown_codec' })
    }
    if (cipher === 'plain') return { bytes: null, plain: this.#plain(envelope.data, place) }
    const data = toBytes(envelope.data)
    if (cipher === CIPHER) return { bytes: unpack(name, this.#decrypted(envelope, codec, data, place)) }
    this.#plain(stored, place)
    return { bytes: unpack(cipher, data) }
  }

  #decrypted(envelope, codec, data, place) {
    const { key: key_id } = envelope
    const key = this.#keys.get(key_id)
    if (key === undefined) {
      const text = `The payload is encrypted with the key '${key_id}', which this codec does not have; it has ` +
        `${this.keyIDs.join(', ') || 'none'}.`
      throw new CodecError(text, { reason: 'unknown_key', keyID: key_id })
    }
    let at = place
    if (envelope.place === BROADCAST && place[0] === 'event.data') at = [BROADCAST, place.at(-1)]
    else if (place[0] === 'log.entry') at = [...place.slice(0, 2), ...readOf(envelope)]
    const nonce = toBytes(envelope.nonce)
    try {
      if (nonce.length !== NONCE_BYTES || data.length < TAG_BYTES) throw new RangeError('too short')
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      decipher.setAAD(bound(codec, key_id, at))
      decipher.setAuthTag(data.subarray(-TAG_BYTES))
      return Buffer.concat([decipher.update(data.subarray(0, -TAG_BYTES)), decipher.final()])
    } catch (cause) {
      const text = `The payload does not open with the key '${key_id}': it was encrypted with another key of that ` +
        'id, or the payload was changed, or moved here from elsewhere.'
      throw new CodecError(text, { reason: 'wrong_key', keyID: key_id, cause })
    }
  }

  #plain(stored, place) {
    // The program makes {} for what was never given, and says some texts itself.
    if (this.#acceptsPlain || TEXTS.has(place[0]) || isEmpty(stored)) return stored
    const text = 'The payload is not encrypted, and this codec accepts no other: it was stored without a key, or put ' +
      'there by somebody who has none.'
    throw new CodecError(text, { reason: 'plain' })
  }

  /**
   * What was stored at the place, whose JSON is `text`, as it would be today: the payload byte for byte. The very same
   * where nothing changes.
   */
  sealAgain(stored, place, text) {
    if (stored === null || isEmpty(stored)) return stored
    const isLoose = place[0] === 'event.data' && stored.place === BROADCAST
    if (this.#write !== null && keyOf(stored) === this.#write && !isLoose) return stored
    const { bytes, plain } = this.#textIn(stored, place)
    let at = place
    const kept = bytes === null ? plain : stored
    if (place[0] === 'log.entry') at = [...place.slice(0, 2), ...readOf(kept)]
    if (bytes === null) return this.seal(plain, at, plain === stored ? text : JSON.stringify(plain))
    return this.#write === null ? this.seal(parsed(bytes), at) : this.#sealed(bytes, beside(kept, at), at)
  }

  // --- The payloads of a call

  /** The parameters as they are sent, and what opens the result; null where there is nothing to open. */
  sealed(method, params) {
    if (method === 'transaction') return this.#sealedCalls(params)
    const plan = PARAMS[method]
    if (plan !== undefined) {
      const seal = (value, place, key, around, path) => this.#sealAt(method, value, place, key, around, path)
      params = walk(withID(method, params ?? {}), plan, [], [], seal, method)
    }
    const opens = RESULTS[method]
    if (opens === undefined) return [params, null]
    const form = params?.format
    const isFramed = form === 'sse' || form === 'sse_typed'
    // The program would write envelopes into the frames.
    if (isFramed) params = { ...params, format: 'json' }
    const around = params ?? {}
    return [params, (result) => {
      const opened = this.#openAll(result, opens, around)
      return isFramed ? toFrames(opened, form === 'sse_typed') : opened
    }]
  }

  #sealedCalls(params) {
    if (!Array.isArray(params?.calls)) return [params, null]
    const openers = []
    const calls = params.calls.map((call, number) => {
      const { method, params: inner } = asPlain(call, 'transaction', ['calls', number]) ?? {}
      if (typeof method !== 'string' || method === 'transaction' || (inner != null && typeof inner !== 'object')) {
        openers.push(null)
        return call // which the program refuses
      }
      const [sealed, opens] = this.sealed(method, inner)
      openers.push(opens)
      return sealed === inner ? call : { ...call, params: sealed }
    })
    return [{ ...params, calls }, (result) => {
      if (!Array.isArray(result?.results)) return result
      const failed = []
      for (const [number, opens] of openers.entries()) {
        if (opens === null || number >= result.results.length) continue
        try {
          result.results[number] = opens(result.results[number])
        } catch (error) {
          if (!(error instanceof CodecError)) throw error
          result.results[number] = error.result
          failed.push(error.at(`results[${number}]`))
        }
      }
      if (failed.length > 0) throw failed[0].beside(failed.slice(1), result)
      return result
    }]
  }

  #sealAt(method, value, place, key, around, path) {
    const isObject = typeof value === 'object' && !Array.isArray(value)
    if ((OBJECTS.has(place) && !isObject) || (TEXTS.has(place) && typeof value !== 'string')) {
      return value // which the program refuses
    }
    const text = payloadText(method, path, value)
    const at = placeOf(place, key, around)
    if (place !== 'log.entry') return this.seal(value, at, text)
    const entry = asPlain(value, method, path)
    return this.seal(entry, [...at, ...readOf(entry)], text)
  }

  /** An `Event` or a `Task` that a subscription was told, opened; `around`: what was subscribed to. */
  told(kind, record, around) {
    return this.#openAll({ ...record }, TOLD[kind], around)
  }

  #openAll(result, plan, params) {
    const failed = []
    const open = (value, place, key, around, path) => {
      try {
        return this.open(value, placeOf(place, key, around))
      } catch (error) {
        if (!(error instanceof CodecError)) throw error
        failed.push(error.at(pathText(path)))
        return value
      }
    }
    const opened = walk(result, plan, [params], [], open, null)
    if (failed.length > 0) throw failed[0].beside(failed.slice(1), opened)
    return opened
  }

  /** Reads what `exportUserData` hands out, and the lines of a dump, in their order. */
  records() {
    return new RecordReader(this)
  }
}

/** The columns of records that are payloads, and their places. */
const COLUMNS = {
  session: {
    client_capabilities: 'session.client_capabilities',
    server_capabilities: 'session.server_capabilities',
    metadata: 'session.metadata',
  },
  state: { value: 'session.state' },
  event: { data: 'event.data' },
  log_entry: { entry: 'log.entry' },
  task_message: { message: 'task.message' },
  value: { value: 'value.value' },
  event_subscription: {
    data: 'event_subscription.data',
    secret: 'event_subscription.secret',
    previous_secret: 'event_subscription.secret',
  },
  work: { payload: 'work.payload' },
}

/**
 * Opens records of `exportUserData` or of a dump, one after the other: sessions and tasks stand before what belongs to
 * them, which names them by number.
 */
export class RecordReader {
  #codec
  #sessions = new Map()
  #tasks = new Map()

  constructor(codec) {
    this.#codec = codec
  }

  /** The record with its payloads opened. Where that throws, the next one can be read. */
  open(record) {
    const [[kind, columns] = ['', null]] = Object.entries(record)
    if (typeof columns !== 'object' || columns === null) return record
    if (kind === 'session') this.#sessions.set(columns.number, columns.session_id)
    else if (kind === 'task') this.#tasks.set(columns.number, columns.task_id)
    const around = {
      ...columns,
      session_id: columns.session_id ?? this.#sessions.get(columns.session) ?? '',
      task_id: columns.task_id ?? this.#tasks.get(columns.task) ?? '',
    }
    if (kind === 'value') for (const name of ['tenant_id', 'principal']) around[name] ||= null
    const opened = { ...columns }
    for (const [column, place] of Object.entries(COLUMNS[kind] ?? {})) {
      if (columns[column] === null || columns[column] === undefined) continue
      opened[column] = this.#codec.open(columns[column], placeOf(place, columns.key ?? null, [around]))
    }
    if (kind === 'task') {
      const payloads = Object.fromEntries(Object.keys(TOLD.Task).map((name) => [name, columns[name] ?? null]))
      Object.assign(opened, this.#codec.told('Task', payloads, { task_id: around.task_id }))
    } else if (kind === 'task_payload') {
      const { field, payload } = columns
      opened.payload = this.#codec.told('Task', { [field]: payload }, { task_id: around.task_id })[field]
    }
    return { [kind]: opened }
  }
}

// --- Places

/** What a payload is bound to, from what stands around it: the innermost first, and last the parameters. */
export function placeOf(place, key, around) {
  const [noun] = place.split('.', 1)
  if (noun === 'event') {
    const [event] = around
    const type = event.event_type || 'message'
    const session_id = named('session_id', around)
    return session_id === null ? [BROADCAST, type] : [place, session_id, event.stream_id ?? null, type]
  }
  if (noun === 'value') {
    const { tenant_id = null, principal = null, collection = null } = around.at(-1)
    return [place, tenant_id, principal, collection, named('key', around)]
  }
  if (noun === 'event_subscription') {
    return [place, named('subscription_id', around) ?? named('key', around)]
  }
  if (noun === 'work') {
    // In a list of all payloads they stand under the names that values have.
    const [queue, workID] = [named('queue', around), named('work_id', around)]
    return [place, queue ?? named('collection', around), workID ?? named('key', around)]
  }
  if (place === 'session.state') return [place, named('session_id', around), key ?? named('key', around)]
  if (place === 'task.input_requests' || place === 'task.input_responses') {
    return [place, named('task_id', around), key]
  }
  return [place, named(noun === 'task' ? 'task_id' : 'session_id', around)]
}

/** What the nearest of them that has a name says. */
function named(name, around) {
  return around.find((each) => each[name] !== null && each[name] !== undefined)?.[name] ?? null
}

/** The associated data: each part with its length before it, so that no two lists become one text. */
function bound(codec, keyID, place) {
  const parts = ['mcp-session-store', codec, keyID, ...place].map((part) => {
    if (part === null || part === undefined) return '~,'
    const text = typeof part === 'string' ? part : JSON.stringify(part)
    return `${Buffer.byteLength(text)}:${text},`
  })
  return Buffer.from(parts.join(''))
}

/** What is made gets its id here, where payloads are to be bound to it. */
function withID(method, params) {
  const name = { create_session: 'session_id', create_task: 'task_id' }[method]
  if (name === undefined || (params[name] !== null && params[name] !== undefined)) return params
  const { id_format, ...rest } = params
  return { ...rest, [name]: id_format === 'uuid' ? uuid7() : randomBytes(32).toString('base64url') }
}

/** A UUID of version 7. */
function uuid7() {
  const time = Date.now().toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`
}

/** Puts in the place of each payload what `visit` makes of it; null is none. With `method`, parameters are copied. */
function walk(node, plan, around, path, visit, method) {
  if (node === null || node === undefined) return node
  if (typeof plan === 'string') return visit(node, plan, null, around, path)
  if (Array.isArray(plan)) {
    if (!Array.isArray(node)) return node
    return node.map((entry, number) => walk(entry, plan[0], around, [...path, number], visit, method))
  }
  if (typeof node !== 'object' || Array.isArray(node)) return node
  if (method !== null) node = { ...asPlain(node, method, path) }
  const every = plan['*']
  const inner = every === undefined ? [node, ...around] : around
  for (const name of Object.keys(every === undefined ? plan : node)) {
    if (!Object.hasOwn(node, name)) continue
    const value = node[name]
    if (value === null || value === undefined) continue
    const at = [...path, name]
    const made = every === undefined
      ? walk(value, plan[name], inner, at, visit, method)
      : visit(value, every, name, inner, at)
    // By definition, for a key may be called __proto__.
    Object.defineProperty(node, name, { value: made, enumerable: true, writable: true, configurable: true })
  }
  return node
}

/** An object as it goes over the wire, where it says that itself or has a class. */
function asPlain(value, method, path) {
  if (typeof value !== 'object' || value === null) return value
  const prototype = Object.getPrototypeOf(value)
  const isPlain = (prototype === Object.prototype || prototype === null) && typeof value.toJSON !== 'function'
  return isPlain ? value : JSON.parse(payloadText(method, path, value))
}

function pathText(path) {
  return path.reduce((text, name) => text + (typeof name === 'number' ? `[${name}]` : text && '.' + name || name), '')
}

// --- Envelopes

/** The id of the key that a payload is under; empty for none. */
export function keyOf(stored) {
  const envelope = typeof stored === 'string' ? envelopeIn(stored) : stored
  const codec = codecOf(envelope)
  return codec !== null && codec.slice(codec.indexOf('/') + 1).startsWith(CIPHER) ? envelope.key : ''
}

/** The codec that an envelope names; null: it is none. */
function codecOf(stored) {
  if (typeof stored !== 'object' || stored === null || Array.isArray(stored)) return null
  const codec = Object.hasOwn(stored, MARK) ? stored[MARK] : null
  if (typeof codec !== 'string' || !CODEC.test(codec) || stored.data === undefined) return null
  const kind = codec.slice(codec.indexOf('/') + 1)
  if (kind === 'plain') return codec
  const members = kind.startsWith(CIPHER) ? ['data', 'key', 'nonce'] : ['data']
  return members.every((name) => typeof stored[name] === 'string') ? codec : null
}

/** The envelope that a text is; null: it is none. */
function envelopeIn(text) {
  if (!text.startsWith('{') || !text.includes(`"${MARK}"`)) return null
  try {
    const envelope = JSON.parse(text)
    return codecOf(envelope) === null ? null : envelope
  } catch {
    return null
  }
}

function inItsForm(envelope, place) {
  return TEXTS.has(place[0]) ? JSON.stringify(envelope) : envelope
}

/** What stands in an envelope for the program to read. */
function beside(value, [place]) {
  if (place !== 'log.entry') return {}
  const names = READ_OF_ENTRIES.filter((name) => isRead(name, value[name]))
  return Object.fromEntries(names.map((name) => [name, value[name]]))
}

/** The same, as a log entry is bound to it. */
function readOf(entry) {
  return READ_OF_ENTRIES.map((name) => (isRead(name, entry?.[name]) ? entry[name] : null))
}

function isRead(name, value) {
  if (name === 'sender') return typeof value === 'string' && Buffer.byteLength(value) <= LONGEST_SENDER
  return value !== null && value !== undefined
}

/** What the program makes of what was never given. */
export function isEmpty(stored) {
  return typeof stored === 'object' && stored !== null && !Array.isArray(stored) && Object.keys(stored).length === 0
}

function toBytes(text) {
  // Node passes over what is no base64; to write it again costs less than to look at each character before.
  const bytes = Buffer.from(text, 'base64')
  if (bytes.toString('base64') === text) return bytes
  throw new CodecError("The payload's envelope is damaged: it holds no base64.", { reason: 'damaged' })
}

// --- Keys and compression

function toKey(id, key) {
  if (!KEY_ID.test(id)) {
    throw new RangeError(`keys: 1 to 64 visible ASCII characters are expected for an id, not '${id}'.`)
  }
  if (typeof key === 'string' && !BASE64.test(key.replace(/-/g, '+').replace(/_/g, '/'))) {
    throw new RangeError(`keys: the key '${id}' is no base64.`)
  }
  const bytes = typeof key === 'string' ? Buffer.from(key, 'base64') : key
  if (!(bytes instanceof Uint8Array) || bytes.length !== KEY_BYTES) {
    throw new RangeError(`keys: the key '${id}' must have ${KEY_BYTES} bytes.`)
  }
  return createSecretKey(bytes)
}

function pack(name, bytes) {
  if (name === 'deflate') return zlib.deflateRawSync(bytes, { level: LEVEL })
  const params = { [zlib.constants.ZSTD_c_compressionLevel]: LEVEL }
  return zlib.zstdCompressSync(bytes, { params, pledgedSrcSize: bytes.length })
}

/** At most so many bytes, whatever the data claims. */
function unpack(name, packed) {
  if (name === '') return packed
  if (name !== 'zstd' && name !== 'deflate') {
    const text = `The payload was compressed with '${name}', which this client does not know: use a newer one.`
    throw new CodecError(text, { reason: 'unknown_codec' })
  }
  if (name === 'zstd' && !hasZstd) {
    const text = `The payload was compressed with zstd, which is missing here: ${NO_ZSTD}`
    throw new CodecError(text, { reason: 'missing_library' })
  }
  try {
    const options = { maxOutputLength: MOST }
    return name === 'zstd' ? zlib.zstdDecompressSync(packed, options) : zlib.inflateRawSync(packed, options)
  } catch (cause) {
    if (cause.code === 'ERR_BUFFER_TOO_LARGE') {
      const text = `The payload has more than ${MOST} bytes, which is what a codec takes.`
      throw new CodecError(text, { reason: 'too_large', cause })
    }
    const text = `The payload's envelope is damaged: ${name} cannot read it (${cause.message}).`
    throw new CodecError(text, { reason: 'damaged', cause })
  }
}

function parsed(bytes) {
  try {
    return JSON.parse(bytes.toString())
  } catch (cause) {
    throw new CodecError("The payload's envelope is damaged: it holds no JSON.", { reason: 'damaged', cause })
  }
}
