import type { SessionStore } from './store.mjs'

/** What says a trace, as W3C has it; opaque here. */
export interface Trace {
  traceparent?: string
  tracestate?: string
}

/** What is needed of `@opentelemetry/api`; give the module itself. */
export interface OpenTelemetryApi<Context = any> {
  trace: { getTracer(name: string): any }
  metrics: { getMeter(name: string): any }
  context: { active(): Context }
  propagation: { inject(context: Context, carrier: any): void; extract(context: Context, carrier: any): Context }
  SpanKind: { CLIENT: any }
  SpanStatusCode: { ERROR: any }
}

/**
 * Tells OpenTelemetry of the calls of this process's stores, or of one: for each a span of the kind CLIENT, below the
 * one that is active where the call is made, its duration in a histogram, and counts. Never of what was said or
 * answered. Returns what ends it.
 */
export declare function instrument(api: OpenTelemetryApi, options?: { store?: SessionStore }): () => void

/** The trace that is active, to keep with a task: `tasks.create({ trace: currentTrace(api) })`. */
export declare function currentTrace(api: OpenTelemetryApi): Trace

/**
 * The context of who asked for a task, to go on in: `api.context.with(contextOf(api, task), work)`. The active one when
 * the task says none.
 */
export declare function contextOf<Context>(
  api: OpenTelemetryApi<Context>,
  task: { meta?: any; original_params?: any },
): Context

/** What says a trace among headers of a request, or in its `_meta`; nothing else of it. */
export declare function traceIn(given: any): Trace
