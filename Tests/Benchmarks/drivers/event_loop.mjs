// Writes 2,000 events a second for some seconds and tells how long the event loop was held up meanwhile.
//
//     node event_loop.mjs ours|sqlite|idle DATABASE SECONDS BINARY
//
// A timer of one millisecond hands over what is due; none is skipped when it comes late. Each event is a row that is on
// disk when it is answered. `idle` does nothing but tick.
//
// The delay is what a message waits that another thread sends at a random moment, as requests come in. Node's own
// monitorEventLoopDelay will not do: it counts the milliseconds between timers, and a loop that was woken up within a
// millisecond sleeps a whole one more before its next timer. An answer after 0.3 ms would count as a delay of 0.3 ms,
// though the loop stood ready for everything all the time.

import { createHistogram } from 'node:perf_hooks'
import { Worker } from 'node:worker_threads'

const RATE = 2000
const WARM_UP = 2000 // milliseconds, until everything is compiled
const PROBES = 500 // a second, on average
const [kind, database, seconds, binary] = process.argv.slice(2)
const data = { level: 'info', logger: 'import', data: 'Row 17 of the import was read, checked and written. '.repeat(5) }

/** Sends the time, at moments that know nothing of each other or of a clock's milliseconds. */
const PROBE = `
  const { parentPort } = require('node:worker_threads')
  const never = new Int32Array(new SharedArrayBuffer(4))
  for (;;) {
    Atomics.wait(never, 0, 0, (-Math.log(1 - Math.random()) * 1000) / ${PROBES})
    parentPort.postMessage(process.hrtime.bigint())
  }`

async function ours() {
  const { SessionStore } = await import('../../../protocol/clients/node/index.mjs')
  const store = await SessionStore.open({ database, binary, options: { max_events_per_session: 0 } })
  await store.createSession({ session_id: 'session-1', status: 'active' })
  const { durability } = await store.serverInfo()
  return {
    durability: `WAL, synchronous=${durability}`,
    write: () => store.storeEvent({ session_id: 'session-1', stream_id: '1', data }),
    count: async () => (await store.eventCount({ session_id: 'session-1' })).count,
    close: () => store.close(),
  }
}

async function sqlite() {
  const { DatabaseSync } = await import('node:sqlite')
  const db = new DatabaseSync(database)
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  db.exec('CREATE TABLE events (id INTEGER PRIMARY KEY, session_id TEXT, stream_id TEXT, data TEXT, stored_at INTEGER)')
  const insert = db.prepare('INSERT INTO events (session_id, stream_id, data, stored_at) VALUES (?, ?, ?, ?)')
  const { synchronous } = db.prepare('PRAGMA synchronous').get()
  return {
    durability: `WAL, synchronous=${synchronous === 2 ? 'full' : synchronous}`,
    write: async () => insert.run('session-1', '1', JSON.stringify(data), Date.now()),
    count: async () => db.prepare('SELECT count(*) AS count FROM events').get().count,
    close: async () => db.close(),
  }
}

async function idle() {
  return { durability: 'none', write: undefined, count: undefined, close: async () => {} }
}

const store = await { ours, sqlite, idle }[kind]()
let written = 0
let answered = 0
let failure

function write(due) {
  while (written < due) {
    written += 1
    store.write().then(
      () => (answered += 1),
      (error) => (failure ??= error),
    )
  }
}

async function run(milliseconds, total) {
  const begun = performance.now()
  await new Promise((resolve) => {
    const timer = setInterval(() => {
      const elapsed = performance.now() - begun
      if (store.write) write(total + Math.min((milliseconds * RATE) / 1000, Math.floor((elapsed * RATE) / 1000)))
      if (elapsed < milliseconds) return
      clearInterval(timer)
      resolve()
    }, 1)
  })
}

const delays = createHistogram()
let isMeasured = false
const probe = new Worker(PROBE, { eval: true })
probe.on('message', (sent) => isMeasured && delays.record(process.hrtime.bigint() - sent))
await run(WARM_UP, 0)
const warm = written
const cpu = process.cpuUsage()
isMeasured = true
await run(seconds * 1000, warm)
isMeasured = false
const { user, system } = process.cpuUsage(cpu)
await probe.terminate()
while (answered < written && failure === undefined) await new Promise((resolve) => setTimeout(resolve, 1))
if (failure) throw failure
const stored = store.count ? await store.count() : 0
await store.close()
if (stored !== written) throw new Error(`${written} were written, ${stored} are there`)

const ms = (nanoseconds) => nanoseconds / 1e6
console.log(
  JSON.stringify({
    p50_ms: ms(delays.percentile(50)),
    p99_ms: ms(delays.percentile(99)),
    max_ms: ms(delays.max),
    cpu_percent: (user + system) / (seconds * 10_000),
    writes: written - warm,
    durability: store.durability,
  }),
)
