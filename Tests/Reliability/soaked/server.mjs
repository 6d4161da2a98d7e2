// What client_soak.py soaks in Node: flows that share one store, each with a session of its own. It is told what to do
// as JSON, prints a line each time that a goal is reached and nothing is under way, and goes on when it reads one.
// server.py is the same in Python.

import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'
import { CallTimeout, ChildError, RequestError, SessionStore } from '../../../protocol/clients/node/index.mjs'

const KINDS = [
  'stored', 'refused', 'cancelled', 'overdue', 'unsayable', 'subscribed', 'lived', 'deleted', 'lost', 'killed',
]
const setup = JSON.parse(process.argv[2])
process.on('warning', (warning) => {
  throw warning
})

const kinds = Object.fromEntries(KINDS.map((kind) => [kind, 0]))
let calls = 0
let killedAt = 0
const store = await SessionStore.open({
  database: setup.database,
  binary: setup.binary,
  options: { max_events_per_session: 200 },
  log: () => {},
  restart: { attempts: 1e9, delay: 10 },
})

/** One more call is made; now and then the process dies of it. */
function counted() {
  calls += 1
  if (calls < killedAt + setup.kill_every || store.pid === null) return
  killedAt = calls
  kinds.killed += 1
  process.kill(store.pid, 'SIGKILL')
}

/** When nothing is under way. */
function held() {
  assert.equal(store.bytesInFlight + store.bytesWaiting, 0)
  globalThis.gc()
  const { heapUsed } = process.memoryUsage()
  return { 'heap MiB': heapUsed >> 20, resources: process.getActiveResourcesInfo().length }
}

/** One thing after the other, in one session. */
class Flow {
  #number
  #random
  #session = null
  #made = 0
  /** The newest id of an event that is known, and what the state may be. */
  #newest = 0
  #values = [null]

  constructor(number) {
    this.#number = number
    this.#random = chance(number)
  }

  async begin() {
    this.#made += 1
    this.#session = `flow-${this.#number}-${this.#made}`
    this.#newest = 0
    this.#values = [null]
    counted()
    await store.createSession({ session_id: this.#session, status: 'active' })
  }

  async step() {
    try {
      await this.#step()
    } catch (error) {
      // It was killed: a write is done or is not, and a session that was being made or deleted is made anew.
      if (!(error instanceof ChildError) || error.reason !== 'exited' || kinds.killed === 0) throw error
      kinds.lost += 1
      for (;;) {
        try {
          return await this.begin()
        } catch (again) {
          if (!(again instanceof ChildError)) throw again
        }
      }
    }
  }

  async #step() {
    if (this.#session === null) return this.begin()
    const kind = this.#random()
    const session_id = this.#session
    counted()
    if (kind < 0.3) await this.#append()
    else if (kind < 0.45) assert.equal((await store.getSession({ session_id })).session_id, session_id)
    else if (kind < 0.55) {
      const value = { at: calls, text: 'ü'.repeat(Math.floor(this.#random() * 100)) }
      await store.setSessionState({ session_id, key: 'key', value })
      this.#values = [value]
    } else if (kind < 0.65) {
      const { value } = await store.getSessionState({ session_id, key: 'key' })
      assert.ok(this.#values.some((each) => JSON.stringify(each) === JSON.stringify(value)))
    } else if (kind < 0.75) {
      const after_event_id = Math.max(this.#newest - 10, 0)
      const ids = (await store.getEventsAfter({ session_id, after_event_id, limit: 10 })).events.map(({ id }) => id)
      assert.ok(ids.every((id, at) => at === 0 || id > ids[at - 1]))
      assert.ok(this.#newest === 0 || ids.includes(this.#newest), `${ids}, ${this.#newest}`)
    } else if (kind < 0.8) await this.#refused()
    else if (kind < 0.85) await this.#cancelled()
    else if (kind < 0.88) await this.#overdue()
    else if (kind < 0.9) await this.#unsayable()
    else if (kind < 0.93) await this.#subscribed()
    else if (kind < 0.97) await this.#lived()
    else {
      assert.ok((await store.deleteSession({ session_id, delete_tasks: true })).deleted)
      kinds.deleted += 1
      await this.begin()
    }
  }

  async #append() {
    const data = { jsonrpc: '2.0', method: 'notifications/message', params: { data: 'x'.repeat(200) } }
    const { id } = await store.storeEvent({ session_id: this.#session, data })
    assert.ok(id > this.#newest)
    this.#newest = id
    kinds.stored += 1
  }

  async #refused() {
    await assert.rejects(store.storeEvent({ session_id: "nobody's", data: 1 }), (error) => {
      if (error instanceof ChildError) throw error
      return error instanceof RequestError && error.kind === 'session_not_found'
    })
    kinds.refused += 1
  }

  async #cancelled() {
    const controller = new AbortController()
    const { signal } = controller
    const call = store.setSessionState({ session_id: this.#session, key: 'other', value: 1 }, { signal })
    call.catch(() => {}) // it may fail before it is waited for
    for (let turns = Math.floor(this.#random() * 3); turns > 0; turns--) await new Promise(setImmediate)
    controller.abort()
    try {
      await call
    } catch (error) {
      if (error.name !== 'AbortError') throw error
      kinds.cancelled += 1
    }
  }

  async #overdue() {
    try {
      await store.setSessionState({ session_id: this.#session, key: 'other', value: 2 }, { timeout: 0.001 })
    } catch (error) {
      if (!(error instanceof CallTimeout)) throw error
      kinds.overdue += 1
    }
  }

  async #unsayable() {
    await assert.rejects(store.storeEvent({ session_id: this.#session, data: { number: NaN } }), TypeError)
    kinds.unsayable += 1
  }

  async #subscribed() {
    const events = store.subscribeEvents({ session_id: this.#session, after_event_id: this.#newest })
    try {
      await events.opened()
      counted()
      await this.#append()
      for await (const { id } of events) {
        assert.ok(id <= this.#newest)
        if (id === this.#newest) break
      }
    } finally {
      await events.return()
    }
    kinds.subscribed += 1
  }

  async #lived() {
    const made = { session_id: this.#session, original_method: 'tools/call', original_params: { a: [1] } }
    const { task_id } = await store.createTask(made)
    counted()
    await store.updateTaskStatus({ task_id, status: 'input_required', status_message: 'half' })
    counted()
    assert.equal((await store.getTask({ task_id })).status_message, 'half')
    counted()
    assert.ok((await store.deleteTask({ task_id })).deleted)
    kinds.lived += 1
  }
}

/** Numbers between 0 and 1, the same in each run. */
function chance(seed) {
  let state = seed + 1
  return () => {
    state = (state * 48271) % 2147483647
    return state / 2147483647
  }
}

const flows = Array.from({ length: setup.flows }, (_, number) => new Flow(number))
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
for (const goal of setup.goals) {
  await Promise.all(flows.map(async (flow) => {
    while (calls < goal) await flow.step()
  }))
  await store.health() // behind whatever was given up
  console.log(JSON.stringify({ calls, held: held(), kinds }))
  await lines.next()
}
await store.close()
process.exit()
