import { RequestError } from './errors.mjs'

/** By store: whether it was started with `--require-owner`, as a promise. */
const required = new WeakMap()

/**
 * The owners to say on each call: those that were given, or nothing, which is the server speaking for itself. Where the
 * store does not take that the anonymous caller speaks.
 */
export async function ownersFor(store, given) {
  for (const name of Object.keys(given)) {
    if (given[name] === undefined) throw new TypeError(`${name} is undefined. Say null, or leave it out.`)
  }
  if (Object.keys(given).length > 0) return given
  if (!required.has(store)) required.set(store, isRequired(store))
  try {
    return (await required.get(store)) ? { principal: null } : {}
  } catch (error) {
    required.delete(store)
    throw error
  }
}

async function isRequired(store) {
  try {
    await store.getTask({ task_id: 'none' })
    return false
  } catch (error) {
    if (error instanceof RequestError && error.kind === 'invalid_params' && error.data.parameter === 'principal') {
      return true
    }
    throw error
  }
}
