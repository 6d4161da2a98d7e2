import { createHash } from 'node:crypto'

/** A value as everybody writes it (RFC 8785): members in the order of UTF-16 code units, without blanks. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.keys(value).filter((name) => value[name] !== undefined).sort()
    return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`
  }
  const text = typeof value === 'number' && !Number.isFinite(value) ? undefined : JSON.stringify(value)
  if (text === undefined) throw new TypeError(`JSON cannot say ${String(value)}.`)
  return text
}

/** SHA-256 of the canonical JSON, in hexadecimal digits. */
export function digest(value) {
  return createHash('sha256').update(canonical(value)).digest('hex')
}
