const FIRST_WITHOUT_SESSIONS = '2026-07-28'
const VERSION = /^\d{4}-\d\d-\d\d$/
const VERSION_IN_META = 'io.modelcontextprotocol/protocolVersion'

/** Whether a request is of MCP 2026-07-28 or newer, which has no sessions: by its header, or by its parsed body. */
export function isModern(header, body) {
  return [header, body?.params?._meta?.[VERSION_IN_META]].some((version) => {
    return typeof version === 'string' && VERSION.test(version) && version >= FIRST_WITHOUT_SESSIONS
  })
}

/** Stores whose log has been told. */
const told = new WeakSet()

/** Tells the store's log, once, that a client came for which sessions keep nothing: nobody else would say so. */
export function hintAtEra(store, adapter) {
  if (told.has(store)) return
  told.add(store)
  const text = `a client of MCP ${FIRST_WITHOUT_SESSIONS} came, which has no sessions: ${adapter} keeps nothing for ` +
    'it, unless it falls back to 2025-11-25. What both shall find again belongs into values and tasks: see "Both ' +
    'eras" in the README.'
  store.remark?.(text)
}
