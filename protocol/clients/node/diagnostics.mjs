import { channel } from 'node:diagnostics_channel'

/** The channels that `tracingChannel('mcp-session-store:call')` has, by their names: older versions of Node lack it. */
const NAME = 'tracing:mcp-session-store:call'
const [start, end, asyncStart, asyncEnd, error] = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((part) => {
  return channel(`${NAME}:${part}`)
})

/** Where a call is told as it is made, and when its caller knows how it went. */
export const channels = { start, asyncEnd }

/** Whether anybody wants to hear of calls. */
export function isTraced() {
  return start.hasSubscribers || asyncEnd.hasSubscribers || error.hasSubscribers || asyncStart.hasSubscribers ||
    end.hasSubscribers
}

/**
 * Makes a call with `make(callbacks)` and tells the channels how it goes: one object for the whole call, which has
 * `store` and `method`, and when it is settled `outcome`, `kind` and `duration`. Nothing of what was said or answered.
 */
export function trace(store, method, callbacks, make) {
  const call = { store, method, outcome: null, kind: null, duration: null }
  const begin = performance.now()
  const settle = (outcome, kind) => {
    call.outcome = outcome
    call.kind = kind
    call.duration = performance.now() - begin
    if (kind !== null) error.publish(call)
    asyncStart.publish(call)
  }
  const told = {
    resolve(result, bytes) {
      settle('ok', null)
      callbacks.resolve(result, bytes)
      asyncEnd.publish(call)
    },
    reject(fault) {
      settle(fault?.outcome ?? 'not_applied', kindOf(fault))
      callbacks.reject(fault)
      asyncEnd.publish(call)
    },
  }
  start.publish(call)
  try {
    make(told)
  } catch (fault) {
    told.reject(fault)
  } finally {
    end.publish(call)
  }
}

/** What went wrong, in one word of a list that does not grow: never a message, which may quote what was said. */
function kindOf(fault) {
  return fault?.kind ?? fault?.reason ?? fault?.name ?? 'Error'
}
