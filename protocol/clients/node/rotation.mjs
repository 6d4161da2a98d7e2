import { isEmpty, keyOf, placeOf } from './codec.mjs'
import { CodecError, RequestError } from './errors.mjs'
import { membersOf } from './json.mjs'
import { TOLD } from './payloads.mjs'

/** Payloads of a page, and of a call that replaces some. */
const PAGE = 100
/** Characters of such a call, unless one payload alone has more. */
const MOST = 1 << 20
const STATUS_MESSAGE = 'task.status_message'

/** Seals with the key that the codec writes with what is under another or none: what `SessionStore.rotate` does. */
export async function rotate(store, codec, { cursor = null, onPage = () => {}, rounds = 10, signal } = {}) {
  for (let number = 0; ; number++) {
    const found = await round(store, codec, number === 0 ? cursor : null, onPage, signal)
    if (found.missed === 0 || number + 1 >= rounds) return found
  }
}

async function round(store, codec, cursor, onPage, signal) {
  const done = { seen: 0, sealed: 0, missed: 0, keys: {}, unreadable: [], cursor }
  do {
    const page = await pageOf(store, done, signal)
    let changes = []
    let size = 0
    for (const payload of page.payloads) {
      done.seen += 1
      const replacement = resealed(codec, payload, done)
      if (replacement === payload.text) continue
      changes.push({ ref: payload.ref, text: payload.text, replacement })
      size += payload.text.length + replacement.length
      if (size <= MOST) continue
      await replace(store, changes, done, signal)
      changes = []
      size = 0
    }
    await replace(store, changes, done, signal)
    done.cursor = page.next_cursor
    onPage(done)
  } while (done.cursor !== null)
  return done
}

async function pageOf(store, done, signal) {
  try {
    return await store.listPayloads({ cursor: done.cursor, limit: PAGE }, { signal })
  } catch (error) {
    // One payload that no answer holds does not bring it to a stand.
    const { next_cursor } = error instanceof RequestError ? error.data : {}
    if (error.kind !== 'payload_too_large' || next_cursor === undefined) throw error
    done.unreadable.push(new CodecError(error.message, { reason: 'too_large', cause: error }))
    return { payloads: [], next_cursor }
  }
}

async function replace(store, changes, done, signal) {
  if (changes.length === 0) return
  try {
    const { replaced, missed } = await store.replacePayloads({ changes }, { signal })
    done.sealed += replaced
    done.missed += missed.length
  } catch (error) {
    if (!(error instanceof RequestError) || error.kind !== 'payload_too_large') throw error
    if (changes.length > 1) {
      for (const change of changes) await replace(store, [change], done, signal)
      return
    }
    // Sealed, it is larger.
    const text = `${changes[0].ref}: ${error.message}`
    done.unreadable.push(new CodecError(text, { reason: 'too_large', cause: error }))
  }
}

/** The payload's text as it is to be; the very same where nothing changes. What is not sealed stays byte for byte. */
function resealed(codec, payload, done) {
  const { place, text, key } = payload
  const visit = (text, place, key) => {
    const stored = JSON.parse(text)
    if (stored === null || isEmpty(stored)) return text
    const at = placeOf(place, key, [payload])
    let made = stored
    try {
      made = codec.sealAgain(stored, at, text)
    } catch (error) {
      if (!(error instanceof CodecError)) throw error
      done.unreadable.push(error.at([payload.ref, ...at].filter((part) => part !== null).join(' ')))
    }
    const id = keyOf(made)
    done.keys[id] = (done.keys[id] ?? 0) + 1
    return made === stored || JSON.stringify(made) === JSON.stringify(stored) ? text : JSON.stringify(made)
  }
  if (place === STATUS_MESSAGE) return JSON.parse(visit(JSON.stringify(text), place, key))
  const plan = place.startsWith('task.') ? TOLD.Task[place.slice('task.'.length)] : undefined
  return plan === undefined ? visit(text, place, key) : rewritten(text, plan, key, visit)
}

/** The text of a value with what `visit` makes of the texts of its payloads. */
function rewritten(text, plan, key, visit) {
  if (typeof plan === 'string') return visit(text, plan, key)
  const parts = []
  let behind = 0
  for (const { name, start, end } of membersOf(text)) {
    const inner = plan['*'] ?? (Object.hasOwn(plan, name) ? plan[name] : undefined)
    if (inner === undefined) continue
    parts.push(text.slice(behind, start), rewritten(text.slice(start, end), inner, name, visit))
    behind = end
  }
  return parts.join('') + text.slice(behind)
}
