import { createHash } from 'node:crypto'

/** Bytes of a name in the contract: a principal, what is counted under one allowance. */
const LONGEST_NAME = 1024
/** Half a surrogate pair: it may stand in JSON, but is no text. */
export const HALF_A_PAIR = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** A name of the contract for any text: itself, or its hash. */
export function toName(text) {
  const isName = text !== '' && Buffer.byteLength(text) <= LONGEST_NAME && text.search(HALF_A_PAIR) < 0
  return isName ? text : 'sha256 ' + createHash('sha256').update(JSON.stringify(text)).digest('hex')
}
