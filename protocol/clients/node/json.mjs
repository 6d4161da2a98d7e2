/**
 * Members of parameters that are records of the contract: what is undefined in them is left out, as it is among the
 * parameters. Every other member is a payload, and comes back as it was stored or is not stored.
 */
const RECORDS = new Set(['calls', 'client', 'error', 'events', 'params', 'session', 'task'])
/** What JSON.stringify makes an empty object of. */
const EMPTIED = new Set(['ArrayBuffer', 'Error', 'Map', 'Promise', 'RegExp', 'Set', 'WeakMap', 'WeakSet'])

/**
 * A call as one line, without its end. Throws a TypeError that names what JSON cannot say: it would be stored as null,
 * or not at all, and nobody would notice.
 */
export function toLine(id, method, params) {
  const message = { jsonrpc: '2.0', id, method, params }
  // First this, which refuses what has no end.
  let line = stringify(message, params, method)
  hasOwnWay = false
  const fault = faultIn(params, true)
  if (fault !== null) throw unsayable(method, fault)
  if (hasOwnWay) line = stringifyChecked(message, method)
  if (line.includes('\n')) throw new TypeError(`${method}: its JSON has more than one line.`)
  return line
}

/** A payload as JSON, that stands at this place of the parameters. Throws as `toLine` does. */
export function payloadText(method, path, value) {
  let text
  let fault
  try {
    text = JSON.stringify(value)
    hasOwnWay = false
    fault = faultIn(value, false)
    if (fault === null && hasOwnWay) text = stringifyChecked(value, method)
  } catch (error) {
    fault = String(error.message).includes('BigInt') ? faultIn(value, false) : null
    if (fault === null) throw error
  }
  if (fault !== null) throw unsayable(method, { path: [...path, ...fault.path], what: fault.what })
  return text
}

/** Whether what `faultIn` has looked at last says itself somewhere what it is as JSON. */
let hasOwnWay = false

/** A value as JSON has it: what JSON leaves out is left out, and a number that it cannot say is null. */
export function asJSON(value) {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value) ?? 'null')
}

function stringify(message, params, method) {
  try {
    return JSON.stringify(message)
  } catch (error) {
    const fault = String(error.message).includes('BigInt') ? faultIn(params, true) : null
    throw fault === null ? error : unsayable(method, fault)
  }
}

function unsayable(method, { path, what }) {
  const where = path.reduce((text, name) => text + (typeof name === 'number' ? `[${name}]` : `.${name}`), 'params')
  return new TypeError(`${method}: ${where} is ${what}, which JSON cannot say.`)
}

/** Where the first value is that JSON cannot say, and what it is; null when there is none. */
function faultIn(value, isRecord) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return null
    case 'number':
      return Number.isFinite(value) ? null : { path: [], what: String(value) }
    case 'object':
      if (value === null) return null
      return Array.isArray(value) ? faultInArray(value, isRecord) : faultInObject(value, isRecord)
    case 'undefined':
      return isRecord ? null : { path: [], what: 'undefined' }
    default:
      return { path: [], what: `a ${typeof value}` }
  }
}

function faultInArray(value, isRecord) {
  for (let index = 0; index < value.length; index++) {
    const entry = value[index]
    if (typeof entry === 'string') continue
    const fault = entry === undefined ? { path: [], what: 'undefined' } : faultIn(entry, isRecord)
    if (fault !== null) return below(fault, index)
  }
  return null
}

function faultInObject(value, isRecord) {
  if (typeof value.toJSON === 'function') {
    hasOwnWay = true
    return null
  }
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    const kind = Object.prototype.toString.call(value).slice(8, -1)
    if (EMPTIED.has(kind)) return { path: [], what: `a ${kind}` }
    if (kind === 'Number' && !Number.isFinite(Number(value))) return { path: [], what: String(value) }
  }
  // What is inherited is looked at too, which does no harm, and this is twice as fast as a list of names.
  for (const name in value) {
    const member = value[name]
    if (typeof member === 'string' || (member === undefined && isRecord)) continue
    const fault = faultIn(member, isRecord && typeof member === 'object' && RECORDS.has(name))
    if (fault !== null && Object.hasOwn(value, name)) return below(fault, name)
  }
  return null
}

function below(fault, name) {
  fault.path.unshift(name)
  return fault
}

/** The same where objects say themselves what they are as JSON: looked at is what they say. */
function stringifyChecked(message, method) {
  return JSON.stringify(message, function (name, value) {
    const given = this[name]
    const isLost = typeof given?.toJSON === 'function' &&
      (value === undefined || (value === null && given instanceof Date))
    const fault = isLost
      ? { what: `an invalid ${given.constructor?.name}` }
      : faultOf(value, Array.isArray(this))
    if (fault !== null) throw unsayable(method, { path: [name], what: fault.what })
    return value
  })
}

function faultOf(value, isEntry) {
  return typeof value === 'object' || (value === undefined && !isEntry) ? null : faultIn(value, false)
}

const BLANK = /\s/

/** The members of the text of one object: `{name, start, end}`, where the text of each value stands. */
export function* membersOf(text) {
  let at = skip(text, 0)
  if (text[at] !== '{') return
  at = skip(text, at + 1)
  while (at < text.length && text[at] !== '}') {
    const named = at
    at = endOfString(text, at)
    const name = JSON.parse(text.slice(named, at))
    const start = skip(text, skip(text, at) + 1)
    at = endOfValue(text, start)
    yield { name, start, end: at }
    at = skip(text, at)
    if (text[at] === ',') at = skip(text, at + 1)
  }
}

function skip(text, at) {
  while (at < text.length && BLANK.test(text[at])) at += 1
  return at
}

function endOfString(text, at) {
  for (let end = at + 1; (end = text.indexOf('"', end)) >= 0; end += 1) {
    let escapes = 0
    while (text[end - 1 - escapes] === '\\') escapes += 1
    if (escapes % 2 === 0) return end + 1
  }
  return text.length
}

function endOfValue(text, at) {
  for (let depth = 0; at < text.length; ) {
    const character = text[at]
    if (character === '"') {
      at = endOfString(text, at)
      if (depth === 0) return at
      continue
    }
    if (depth === 0 && (character === ',' || character === '}' || character === ']' || BLANK.test(character))) return at
    if (character === '{' || character === '[') depth += 1
    else if ((character === '}' || character === ']') && --depth === 0) return at + 1
    at += 1
  }
  return at
}
