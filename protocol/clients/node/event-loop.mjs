import { performance } from 'node:perf_hooks'

/** Milliseconds that are looked at together. */
const SPAN = 200
/** The share of them from which on the event loop is busy. */
const BUSY = 0.25

let began = performance.eventLoopUtilization()
let wasBusy = false

/** Whether the event loop has had much to do lately, rather than waited. */
export function isBusy() {
  const now = performance.eventLoopUtilization()
  const { idle, active, utilization } = performance.eventLoopUtilization(now, began)
  if (idle + active >= SPAN) {
    began = now
    wasBusy = utilization >= BUSY
  }
  return wasBusy
}
