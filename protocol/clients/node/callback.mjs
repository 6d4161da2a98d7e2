/**
 * Hands `value` to a callback of the host. What it throws, or rejects with, stops nothing here: `onFault` hears of it,
 * and when that throws too nobody does.
 */
export function tell(callback, value, onFault = () => {}) {
  const fault = (error) => {
    try {
      onFault(error)
    } catch {
      // There is nobody left to tell.
    }
  }
  try {
    const returned = callback(value)
    if (typeof returned?.then === 'function') returned.then(undefined, fault)
  } catch (error) {
    fault(error)
  }
}
