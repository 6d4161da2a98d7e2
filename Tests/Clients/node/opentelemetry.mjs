// A stand-in for `@opentelemetry/api` with an SDK behind it: the surface that the adapter uses, with the types that the
// real one has, and what it was told.

import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'

const SPAN = Symbol('span')

class Span {
  isEnded = false
  status = { code: 0 }

  constructor(name, { kind, attributes }, parent, traceId) {
    Object.assign(this, { name, kind, attributes: { ...attributes }, parent, traceId })
    this.spanId = randomBytes(8).toString('hex')
  }

  setAttributes(attributes) {
    if (!this.isEnded) Object.assign(this.attributes, attributes)
    return this
  }

  setStatus(status) {
    if (!this.isEnded) this.status = status
    return this
  }

  end() {
    if (this.isEnded) throw new Error('a span is ended once')
    this.isEnded = true
  }
}

class Context {
  constructor(values = new Map()) {
    this.values = values
  }

  getValue(key) {
    return this.values.get(key)
  }

  setValue(key, value) {
    return new Context(new Map([...this.values, [key, value]]))
  }
}

export function makeApi() {
  const storage = new AsyncLocalStorage()
  const root = new Context()
  const told = { spans: [], points: [], instruments: new Map() }
  const instrument = (method) => (name, options) => {
    told.instruments.set(name, options)
    return { [method]: (value, attributes) => told.points.push({ name, value, attributes }) }
  }
  const context = {
    active: () => storage.getStore() ?? root,
    with: (context, work, self, ...args) => storage.run(context, () => work.apply(self, args)),
  }
  const trace = {
    getTracer: () => ({
      startSpan(name, options = {}, parentContext = context.active()) {
        const parent = parentContext.getValue(SPAN)
        const span = new Span(name, options, parent?.spanId, parent?.traceId ?? randomBytes(16).toString('hex'))
        told.spans.push(span)
        return span
      },
    }),
    setSpan: (context, span) => context.setValue(SPAN, span),
    getSpan: (context) => context.getValue(SPAN),
  }
  const propagation = {
    inject(context, carrier) {
      const span = context.getValue(SPAN)
      if (span !== undefined) carrier.traceparent = `00-${span.traceId}-${span.spanId}-01`
      carrier.baggage = 'user=alice'
    },
    extract(context, carrier) {
      const [, traceId, spanId] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(carrier.traceparent) ?? []
      return traceId === undefined ? context : context.setValue(SPAN, { traceId, spanId })
    },
  }
  const metrics = {
    getMeter: () => ({ createHistogram: instrument('record'), createCounter: instrument('add') }),
  }
  return {
    api: {
      trace, context, propagation, metrics,
      SpanKind: { INTERNAL: 0, SERVER: 1, CLIENT: 2 },
      SpanStatusCode: { UNSET: 0, OK: 1, ERROR: 2 },
    },
    told,
  }
}
