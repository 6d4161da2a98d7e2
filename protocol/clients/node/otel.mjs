import { tell } from './callback.mjs'
import { channels } from './diagnostics.mjs'

const SCOPE = 'mcp-session-store'
/** Seconds: the bounds that OpenTelemetry advises for calls of databases. */
const BOUNDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]
/** Longer ones are none; the standard has 55 characters, and 512 for the other. */
const LONGEST = 512

/**
 * Tells OpenTelemetry of the calls of a store: for each a span of the kind CLIENT, below the one that is active where
 * it is made, its duration in a histogram, and a count. `api` is your own `@opentelemetry/api`. Returns what ends it.
 */
export function instrument(api, { store: only } = {}) {
  const tracer = api.trace.getTracer(SCOPE)
  const meter = api.metrics.getMeter(SCOPE)
  const durations = meter.createHistogram('mcp_session_store.call.duration', {
    description: 'Of a call, from the call on until it is settled.',
    unit: 's',
    advice: { explicitBucketBoundaries: BOUNDS },
  })
  const calls = meter.createCounter('mcp_session_store.calls', {
    description: 'Calls that are settled.',
    unit: '{call}',
  })
  const errors = meter.createCounter('mcp_session_store.errors', {
    description: 'Calls that failed.',
    unit: '{call}',
  })
  const spans = new WeakMap()

  function begin(call) {
    const attributes = { 'mcp_session_store.method': call.method }
    const options = { kind: api.SpanKind.CLIENT, attributes }
    spans.set(call, tracer.startSpan(`mcp_session_store ${call.method}`, options, api.context.active()))
  }

  function end(call) {
    const { method, outcome, kind, duration } = call
    const attributes = { 'mcp_session_store.method': method, 'mcp_session_store.outcome': outcome }
    if (kind !== null) attributes['error.type'] = kind
    durations.record(duration / 1000, attributes)
    calls.add(1, attributes)
    if (kind !== null) errors.add(1, attributes)
    // A call that was under way when this began has none.
    const span = spans.get(call)
    if (span === undefined) return
    span.setAttributes(attributes)
    if (kind !== null) span.setStatus({ code: api.SpanStatusCode.ERROR, message: kind })
    span.end()
  }

  const isMeant = (call) => only === undefined || call.store === only
  // What an exporter throws must not end the host.
  const listeners = [begin, end].map((listener) => (call) => isMeant(call) && tell(listener, call))
  const all = [channels.start, channels.asyncEnd]
  all.forEach((channel, at) => channel.subscribe(listeners[at]))
  return () => all.forEach((channel, at) => channel.unsubscribe(listeners[at]))
}

/** The trace that is active, as `{traceparent, tracestate}` to keep with a task; empty when there is none. */
export function currentTrace(api) {
  const carrier = {}
  api.propagation.inject(api.context.active(), carrier)
  return traceIn(carrier)
}

/**
 * The context of who asked for a task, to go on in: `api.context.with(contextOf(api, task), work)`. What was kept in
 * the task's `meta` comes first, then what the client itself said in the `_meta` of its request. The active context
 * when there is neither.
 */
export function contextOf(api, { meta, original_params }) {
  const kept = [meta, original_params?._meta].map(traceIn).find(({ traceparent }) => traceparent !== undefined)
  return kept === undefined ? api.context.active() : api.propagation.extract(api.context.active(), kept)
}

/** What says a trace among the members of `given`, its headers or the `_meta` of a request; nothing else of it. */
export function traceIn(given) {
  const trace = {}
  for (const name of ['traceparent', 'tracestate']) {
    const value = given?.[name]
    if (typeof value === 'string' && value !== '' && value.length <= LONGEST) trace[name] = value
  }
  return trace
}
