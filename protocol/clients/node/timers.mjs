// Not those of the global object, which tests of a host replace by some that stand still.
import { nextTick } from 'node:process'
import {
  clearInterval,
  clearTimeout,
  setImmediate,
  setInterval as callEvery,
  setTimeout as callAfter,
} from 'node:timers'

export { clearInterval, clearTimeout, nextTick, setImmediate }

/** Node's timers take no longer delay: a longer one would fire at once. */
const LONGEST_DELAY = 2 ** 31 - 1

/** Calls back after so many milliseconds; at once where the moment is past. */
export function setTimeout(callback, delay) {
  return callAfter(callback, possible(delay))
}

/** Calls back every so many milliseconds. */
export function setInterval(callback, delay) {
  return callEvery(callback, possible(delay))
}

/** Node warns of delays that it does not take: those that are negative, no number, or too long. */
function possible(delay) {
  return delay > 0 ? Math.min(delay, LONGEST_DELAY) : 0
}
