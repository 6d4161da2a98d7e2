// The scenarios that every client runs: protocol/clients/behaviour/README.md says what the steps mean.

import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { SessionStore } from '../../../protocol/clients/node/index.mjs'
import { environment, eventually, isRunning, root, signal, temporaryFolder } from './fixture.mjs'

const behaviour = join(root, 'protocol/clients/behaviour')
const scenarios = readdirSync(join(behaviour, 'scenarios'))
  .filter((name) => name.endsWith('.json'))
  .flatMap((name) => JSON.parse(readFileSync(join(behaviour, 'scenarios', name), 'utf8')))

/** `max_in_flight` is maxInFlight, in objects within objects too. */
function inCamelCase(value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [camel(name), inCamelCase(member)]))
}
const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())

/** A value of a scenario, with what stands for something else in its place. */
function valueOf(value) {
  if (Array.isArray(value)) return value.map(valueOf)
  if (typeof value !== 'object' || value === null) return value
  const [name, given] = Object.entries(value)[0] ?? []
  if (name === '$number') return Number(given)
  if (name === '$digits') return Number('9'.repeat(given))
  if (name === '$repeat') return given[0].repeat(given[1])
  if (name === '$nested') return JSON.parse('['.repeat(given) + ']'.repeat(given))
  if (name === '$by') return valueOf(given.node)
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, valueOf(member)]))
}

/** What a runner of another language would see of an error. */
function seen(error) {
  const own = ['TypeError', 'RangeError', 'SyntaxError']
  const name = own.includes(error.name) ? 'misuse' : error.name === 'AbortError' ? 'cancelled' : error.name
  const { kind, reason, outcome, retryable, exitCode: exit_code, signal, method, message, size, limit } = error
  return { class: name, kind, reason, outcome, retryable, exit_code, signal, method, message, size, limit }
}

function checkError(error, wanted, what) {
  assert.ok(error instanceof Error, `${what}: ${JSON.stringify(error)} is no error`)
  const found = seen(error)
  for (const [name, value] of Object.entries(wanted)) {
    if (name === 'message') assert.ok(found.message.includes(value), `${what}: '${found.message}' has no '${value}'`)
    else assert.deepEqual(found[name] ?? null, value, `${what}: ${name} of ${error.stack}`)
  }
}

/** That the members of `wanted` are in `found`; others do not matter. */
function checkMembers(found, wanted, what) {
  if (typeof wanted !== 'object' || wanted === null) return assert.deepEqual(found, wanted, what)
  for (const [name, value] of Object.entries(wanted)) {
    checkMembers(found?.[name], value, `${what}: ${name} of ${JSON.stringify(found)}`)
  }
}

class Runner {
  outcomes = new Map()
  controllers = new Map()
  subscriptions = new Map()
  gaps = new Map()
  greetings = new Map()
  heartbeats = new Map()
  progress = new Map()
  states = []
  /** Bytes of the line of a call of `measure` without what fills it. */
  overhead = null

  constructor(t, { program, options = {}, raise = [] }) {
    this.directory = temporaryFolder(t)
    mkdirSync(join(this.directory, 'marks'))
    writeFileSync(join(this.directory, 'program.json'), JSON.stringify(program))
    const binary = join(this.directory, 'binary')
    const command = [join(behaviour, 'program.py'), this.directory].map((word) => `'${word}'`).join(' ')
    writeFileSync(binary, `#!/bin/sh\nexec python3 -S ${command} "$@"\n`)
    chmodSync(binary, 0o755)
    this.raise = new Set(raise)
    this.defaults = {
      binary,
      env: environment,
      restart: false,
      retry: false,
      log: () => this.called('log'),
      onState: (state) => {
        this.states.push(state)
        this.called('on_state')
      },
    }
    this.options = options
    this.store = this.make(options)
  }

  make(options) {
    return new SessionStore({ ...this.defaults, ...inCamelCase(valueOf(options)) })
  }

  called(name) {
    if (this.raise.has(name)) throw new Error(`${name} fails on purpose`)
  }

  /** Notes how something ends that goes on meanwhile. */
  begin(name, promise) {
    const outcome = { promise, isOver: false }
    outcome.promise = promise.then(
      (value) => Object.assign(outcome, { isOver: true, value }),
      (error) => Object.assign(outcome, { isOver: true, error }),
    )
    this.outcomes.set(name, outcome)
  }

  async outcome(name) {
    await eventually(() => this.outcomes.get(name).isOver, `the end of ${name}`)
    return this.outcomes.get(name)
  }

  signalOf(name) {
    const controller = new AbortController()
    this.controllers.set(name, controller)
    return controller.signal
  }

  get pids() {
    const path = join(this.directory, 'starts')
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean).map(Number) : []
  }

  async run(steps) {
    for (const [place, step] of steps.entries()) {
      if (step.only !== undefined && step.only !== 'node') continue
      const [name] = Object.keys(step)
      this.what = `step ${place + 1}, ${JSON.stringify(step).slice(0, 200)}`
      assert.equal(typeof this[`do_${name}`], 'function', `${this.what}: not known`)
      await this[`do_${name}`](step[name], step)
    }
  }

  async end() {
    await this.store.close({ patience: 100 })
    for (const pid of this.pids) if (isRunning(pid)) signal(pid, 'SIGKILL')
    const failures = join(this.directory, 'failures')
    if (existsSync(failures)) assert.fail(readFileSync(failures, 'utf8'))
  }

  /** Waits for a promise, which must fail where the step says so. */
  async settle(promise, { error }) {
    let found = null
    promise.then((value) => (found = { value }), (error) => (found = { error }))
    await eventually(() => found, this.what)
    if (error !== undefined) checkError(found.error ?? found.value, valueOf(error), this.what)
    else if (found.error !== undefined) throw found.error
    return found.value
  }

  async do_open(_, { as, ...step }) {
    const opening = this.store.open(as === undefined ? {} : { signal: this.signalOf(as) })
    if (as === undefined) await this.settle(opening, step)
    else this.begin(as, opening)
  }

  async do_call(method, { params = {}, as, timeout, times, fill_to }) {
    const given = valueOf(params)
    if (fill_to !== undefined) given.fill = 'x'.repeat(fill_to - this.overhead)
    for (let n = 0; n < (times ?? 1); n++) {
      const name = times === undefined ? as : `${as}${n}`
      const told = []
      this.progress.set(name, told)
      const options = { signal: this.signalOf(name), ...(timeout === undefined ? {} : { timeout: valueOf(timeout) }) }
      options.onProgress = ({ done, total }) => {
        told.push([done, total])
        this.called('on_progress')
      }
      const call = this.store.call(method, given, options)
      this.begin(name, call)
    }
    if (method === 'measure' && fill_to === undefined) this.overhead = (await this.outcome(as)).value
  }

  async do_expect(name, { error, any, ...step }) {
    const { value, error: found } = await this.outcome(name)
    if (error !== undefined) return checkError(found ?? value, valueOf(error), this.what)
    if (found !== undefined) throw found
    if (any) return
    if ('event' in step || 'change' in step) return checkMembers(value, valueOf(step.event ?? step.change), this.what)
    assert.deepEqual(value ?? null, valueOf(step.result), this.what)
  }

  async do_pending(name) {
    assert.equal(this.outcomes.get(name).isOver, false, this.what)
  }

  async do_cancel(name) {
    this.controllers.get(name).abort()
    await this.outcome(name)
  }

  async do_subscribe(kind, step) {
    const { params = {}, as, begin, max_queued: maxQueued, max_queued_bytes: maxQueuedBytes, timeout } = step
    const gaps = []
    this.gaps.set(as, gaps)
    this.greetings.set(as, [])
    this.heartbeats.set(as, [])
    const given = Object.entries({ maxQueued, maxQueuedBytes, timeout }).filter(([, value]) => value !== undefined)
    const subscription = this.store[kind === 'events' ? 'subscribeEvents' : 'subscribeTasks'](valueOf(params), {
      ...Object.fromEntries(given),
      signal: this.signalOf(as),
      onGap: (gap) => {
        gaps.push(gap)
        this.called('on_gap')
      },
      onInit: (greeting) => {
        this.greetings.get(as).push(greeting)
        this.called('on_init')
      },
      onHeartbeat: (timestamp) => {
        this.heartbeats.get(as).push(timestamp)
        this.called('on_heartbeat')
      },
    })
    this.subscriptions.set(as, subscription)
    const opened = subscription.opened()
    if (begin) this.begin(as, opened)
    else await this.settle(opened, step)
  }

  async do_opened(name) {
    const { error } = await this.outcome(name)
    if (error !== undefined) throw error
  }

  async do_next(name, { as, event, change, frame, ...step }) {
    const next = this.subscriptions.get(name).next().then(({ done, value }) => (done ? null : value))
    if (as !== undefined) return this.begin(as, next)
    const found = await this.settle(next, step)
    checkMembers(found, valueOf(event ?? change ?? frame), this.what)
  }

  async do_end(name, step) {
    const subscription = this.subscriptions.get(name)
    const found = await this.settle(subscription.next(), step)
    if (step.error === undefined) {
      assert.deepEqual(found, { done: true, value: undefined }, this.what)
      assert.equal(subscription.ended, step.ended, this.what)
    }
    if (step.lost !== undefined) assert.equal(subscription.lost, step.lost, this.what)
  }

  async do_gaps(name, { told }) {
    assert.deepEqual(this.gaps.get(name), valueOf(told), this.what)
  }

  async do_greetings(name, { told }) {
    assert.deepEqual(this.greetings.get(name), told, this.what)
  }

  async do_heartbeats(name, { told }) {
    await eventually(() => this.heartbeats.get(name).length >= told.length, this.what)
    assert.deepEqual(this.heartbeats.get(name), told, this.what)
  }

  async do_progress(name, { told }) {
    assert.deepEqual(this.progress.get(name), told, this.what)
  }

  async do_leave(name, { as }) {
    const left = this.subscriptions.get(name).return()
    if (as === undefined) return this.settle(left, {})
    // What is left at once cannot be cancelled any more.
    this.controllers.set(as, new AbortController())
    this.begin(as, left)
  }

  async do_close(patience, { as }) {
    const closing = this.store.close({ patience })
    if (as === undefined) await this.settle(closing, {})
    else this.begin(as, closing)
  }

  async do_state(state) {
    await eventually(() => this.store.state === state, `${this.what}, not ${this.store.state}`)
  }

  async do_states(states) {
    assert.deepEqual(this.states, states, this.what)
  }

  async do_ended(wanted) {
    const error = await this.settle(this.store.ended, {})
    if (wanted === null) assert.equal(error, null, this.what)
    else checkError(error, valueOf(wanted), this.what)
  }

  async do_in_flight(bytes) {
    await eventually(() => this.store.bytesInFlight === bytes, this.what)
  }

  async do_mark(name) {
    writeFileSync(join(this.directory, 'marks', name), '')
  }

  async do_wait(name) {
    await eventually(() => existsSync(join(this.directory, 'marks', name)), this.what)
  }

  async do_signal(name) {
    signal(this.pids.at(-1), name)
  }

  async do_starts(count) {
    assert.equal(this.pids.length, count, this.what)
  }

  async do_gone() {
    await eventually(() => this.pids.every((pid) => !isRunning(pid)), this.what)
  }

  async do_pass(milliseconds) {
    await new Promise((resolve) => setTimeout(resolve, milliseconds))
  }

  async do_refused({ options }) {
    assert.throws(() => this.make(options), (error) => seen(error).class === 'misuse', this.what)
  }
}

for (const { name, only = 'node', client, ...scenario } of scenarios) {
  test(name, { skip: only !== 'node' }, async (t) => {
    const runner = new Runner(t, scenario)
    try {
      await runner.run(client)
    } finally {
      await runner.end()
    }
  })
}

test('there are scenarios, each with a name of its own', () => {
  assert.ok(scenarios.length > 0)
  assert.equal(new Set(scenarios.map(({ name }) => name)).size, scenarios.length)
})
