// Compiled, not run: that the declarations say what the client does. Lines that must not compile say so.

import {
  CallTimeout,
  ChildError,
  Codec,
  CodecError,
  ErrorKind,
  RequestError,
  RequestTooLarge,
  SessionStore,
  StoreError,
  type ChildErrorReason,
  type CodecErrorReason,
  type Rotation,
  type Session,
  type StoreState,
  type Task,
  type TransactionCall,
} from '../../../protocol/clients/node/index.mjs'
import { EventStore } from '../../../protocol/clients/node/event-store.mjs'
import { EventBus, type ServerEvent } from '../../../protocol/clients/node/event-bus.mjs'
import { McpEventStore } from '../../../protocol/clients/node/mcp-event-store.mjs'
import { TaskWorker, type TaskJob } from '../../../protocol/clients/node/task-worker.mjs'
import { WorkLoop } from '../../../protocol/clients/node/work-loop.mjs'
import { WebhookSender } from '../../../protocol/clients/node/webhook-sender.mjs'
import { EventsExtension, type EventType } from '../../../protocol/clients/node/events-extension.mjs'
import { DurableSessions } from '../../../protocol/clients/node/durable-sessions.mjs'
import { httpSessions } from '../../../protocol/clients/node/http-sessions.mjs'
import { contextOf, currentTrace, instrument, type Trace } from '../../../protocol/clients/node/otel.mjs'
import { TaskMessageQueue, TaskStore } from '../../../protocol/clients/node/task-store.mjs'
import { TaskService, useRequestState, type DetailedTask } from '../../../protocol/clients/node/task-service.mjs'

const store: SessionStore = await SessionStore.open({
  database: 'sessions.db',
  options: { max_sessions: 10, exclusive: true },
  restart: { attempts: 3, pause: 1000 },
  retry: false,
  timeout: null,
  require: ['events'],
  onState: (state, error) => void [state === 'failed', error?.reason],
})
const lazy: SessionStore = new SessionStore()
const codec = new Codec({ keys: { new: new Uint8Array(32), old: 'base64' }, write: 'new', acceptPlain: false })
const sealing: SessionStore = new SessionStore({ codec })
const rotated: Rotation = await sealing.rotate(codec, { cursor: null, onPage: ({ sealed }) => void sealed.toFixed() })
const unread: CodecErrorReason | undefined = rotated.unreadable.find((each) => each instanceof CodecError)?.reason
void [unread, codec.records().open({ event: {} }), codec.keyIDs]
// @ts-expect-error: there is no such compression
new Codec({ compression: 'lz4' })
const state: StoreState = (await lazy.open({ signal: undefined })).state
const version: string | undefined = lazy.info?.version
// @ts-expect-error: there is no such option
new SessionStore({ databse: 'x.db' })

const made: Session = await store.createSession({ user_id: 'user-1', ttl: null }, { timeout: 1000 })
const found: Session | null = await store.getSession({ session_id: made.session_id })
const status: 'pending' | 'active' | 'suspended' | 'expired' | 'invalidated' | 'resolved' = made.status
const count: number = (await store.sessionCount()).count
const page = await store.call('get_events_after', { session_id: made.session_id })
const has_more: boolean = page.has_more
const first_id: number | undefined = (await store.getEventsAfter({ session_id: 's', limit: 10 })).events[0]?.id
const frames: string | undefined = (await store.getEventsAfter({ session_id: 's', format: 'sse' })).frames

// @ts-expect-error: a name that the contract does not have
await store.createSession({ user: 'user-1' })
// @ts-expect-error: something that is required is missing
await store.getSession({})
// @ts-expect-error: a word that is none of the enumeration
await store.createTask({ status: 'done' })
// @ts-expect-error: no such method
await store.call('no_such_method')
// @ts-expect-error: it is a subscription here
await store.call('subscribe_events', { session_id: 's' })
// @ts-expect-error: null is possible
const sure: Session = await store.getSession({ session_id: 's' })

const calls: TransactionCall[] = [
  { method: 'consume_nonce', params: { nonce: 'n', ttl: 1000 }, require: true },
  { method: 'put_value', params: { collection: 'c', key: 'k', value: { any: 'thing' } } },
]
await store.transaction({ calls })
// @ts-expect-error: parameters of another method
await store.transaction({ calls: [{ method: 'consume_nonce', params: { collection: 'c' } }] })

const controller = { signal: undefined as unknown as AbortSignal }
for await (const event of store.subscribeEvents({ session_id: 's' }, { signal: controller.signal })) {
  const id: number = event.id
  const data: unknown = event.data
  void [id, data]
}
for await (const frame of store.subscribeEvents({ session_id: 's', format: 'sse', heartbeat: 1_000 }, {
  onHeartbeat: (timestamp) => void (timestamp + 1),
  onInit: ({ principal }) => void principal?.length,
})) {
  const text: string = frame
  void text
}
const states = store.subscribeTasks({ task_id: 't' }, { onTaskEnded: ({ reason }) => void reason })
for await (const task of states) {
  if (task.ended === null) {
    const each: Task = task.task
    void each
  } else {
    const none: null = task.task
    void none
  }
}
const reason: string | null = states.ended

try {
  await store.health()
} catch (error) {
  if (error instanceof RequestError) {
    switch (error.kind) {
      case 'session_not_found':
      case 'session_expired':
        console.log(error.data.retry)
        break
      case ErrorKind.database_busy:
        console.log(error.retryable, error.outcome === 'not_applied', error.method.length)
    }
  } else if (error instanceof ChildError) {
    const exitCode: number | null = error.exitCode
    const why: ChildErrorReason = error.reason
    const closed: 'closed' | undefined = why === 'closed' ? why : undefined
    void [exitCode, closed]
  } else if (error instanceof CallTimeout || error instanceof RequestTooLarge) {
    const base: StoreError = error
    void base.outcome
  }
}
const kind: ErrorKind = 'parse_error'
// @ts-expect-error: no kind of the contract
const unknownKind: ErrorKind = 'bad_luck'
// @ts-expect-error: nor here
ErrorKind.bad_luck
// @ts-expect-error: it is frozen
ErrorKind.parse_error = 'parse_error'

await store.close({ patience: 100 })
await store[Symbol.asyncDispose]()
const end: ChildError | null = await store.ended
export { count, end, state, version, first_id, frames, found, has_more, kind, reason, status, sure, unknownKind }

// --- The adapters fit the interfaces of the TypeScript SDK, as those are documented.

type JSONRPCMessage = { jsonrpc: '2.0'; method?: string; id?: string | number; params?: object; result?: object }

interface SDKEventStore {
  storeEvent(streamId: string, message: JSONRPCMessage): Promise<string>
  getStreamIdForEventId?(eventId: string): Promise<string | undefined>
  replayEventsAfter(
    lastEventId: string,
    to: { send: (eventId: string, message: JSONRPCMessage) => Promise<void> },
  ): Promise<string>
}

type SDKTask = {
  taskId: string
  status: 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled'
  statusMessage?: string | undefined
  createdAt: string
  lastUpdatedAt: string
  ttl: number | null
  pollInterval?: number | undefined
}
type SDKRequest = { method: string; params?: { _meta?: object; [member: string]: unknown } }
type SDKResult = { _meta?: { [member: string]: unknown }; [member: string]: unknown }

interface SDKTaskStore {
  createTask(
    taskParams: { ttl?: number | null; pollInterval?: number; context?: Record<string, unknown> },
    requestId: string | number,
    request: SDKRequest,
    sessionId?: string,
  ): Promise<SDKTask>
  getTask(taskId: string, sessionId?: string): Promise<SDKTask | null>
  storeTaskResult(taskId: string, status: 'completed' | 'failed', result: SDKResult, sessionId?: string): Promise<void>
  getTaskResult(taskId: string, sessionId?: string): Promise<SDKResult>
  updateTaskStatus(taskId: string, status: SDKTask['status'], message?: string, sessionId?: string): Promise<void>
  listTasks(cursor?: string, sessionId?: string): Promise<{ tasks: SDKTask[]; nextCursor?: string }>
}

type SDKQueuedMessage = { type: 'request' | 'notification' | 'response' | 'error'; timestamp: number; message: object }

interface SDKTaskMessageQueue {
  enqueue(taskId: string, message: SDKQueuedMessage, sessionId?: string, maxSize?: number): Promise<void>
  dequeue(taskId: string, sessionId?: string): Promise<SDKQueuedMessage | undefined>
  dequeueAll(taskId: string, sessionId?: string): Promise<SDKQueuedMessage[]>
}

interface SDKExtensionTaskStore {
  create(params: {
    ttlMs: number | null
    pollIntervalMs?: number
    principal?: string
    context?: Record<string, unknown>
  }): Promise<{ taskId: string; ttlMs: number | null }>
  get(taskId: string, access?: { principal?: string }): Promise<DetailedTask | undefined>
  update(taskId: string, inputResponses: Record<string, object>, access?: { principal?: string }): Promise<boolean>
  cancel(taskId: string, access?: { principal?: string }): Promise<boolean>
}

const events: SDKEventStore = new EventStore(store, { session_id: 's', principal: 'alice' })
const tasks: SDKTaskStore = new TaskStore(store, { maxTtl: 3_600_000 })
const queue: SDKTaskMessageQueue = new TaskMessageQueue(store)
const service: SDKExtensionTaskStore = new TaskService(store)
const first: boolean = await useRequestState(store, 'sealed', { ttlMs: 60_000, principal: null })
const middleware: (request: object, response: object, next: () => void) => Promise<void> = httpSessions(store, {
  owner: (request: { user?: string }) => ({ principal: request.user ?? null }),
  rateLimit: { limit: 10, window: 1000 },
  screen: true,
})
declare class SDKTransport {
  constructor(options: { sessionIdGenerator?: () => string; eventStore?: SDKEventStore })
  handleRequest(request: object, options?: { parsedBody?: unknown }): Promise<object>
  close(): Promise<void>
  onclose?: () => void
}
const sessions = new DurableSessions(store, { connect: (options) => new SDKTransport(options), failInterrupted: false })
const answered: object = await sessions.handleRequest({}, { parsedBody: 1 })
const detailed = await new TaskService(store).get('t', { principal: 'alice' })
if (detailed?.status === 'failed') console.log(detailed.error.code)
// @ts-expect-error: an event store is bound to a session
new EventStore(store, {})
export { answered, events, first, middleware, queue, service, tasks }

interface OTelContext {
  getValue(key: symbol): unknown
  setValue(key: symbol, value: unknown): OTelContext
}
declare const api: {
  trace: { getTracer(name: string, version?: string): object }
  metrics: { getMeter(name: string, version?: string): object }
  context: { active(): OTelContext }
  propagation: {
    inject<Carrier>(context: OTelContext, carrier: Carrier, setter?: object): void
    extract<Carrier>(context: OTelContext, carrier: Carrier, getter?: object): OTelContext
  }
  SpanKind: { CLIENT: 2 }
  SpanStatusCode: { ERROR: 2 }
}
const stop: () => void = instrument(api, { store })
const kept: Trace = currentTrace(api)
await new TaskService(store).create({ context: { done: 0 }, trace: kept })
const asked: Task = await store.createTask({})
contextOf(api, asked).getValue(Symbol('span'))
httpSessions(store, { health: '/healthz', hint: false })
store.remark('a line')

interface SDKEventBus {
  publish(event: ServerEvent): void
  subscribe(listener: (event: ServerEvent) => void): () => void
}
const bus = new EventBus(store, { onError: (error) => void error })
const sdkBus: SDKEventBus = bus
bus.subscribe(({ kind }) => void kind.length, { kinds: ['events_list_changed'] })
// @ts-expect-error: there is no such change
bus.publish({ kind: 'nothing_changed' })
await bus.open()

const changed: EventType = {
  name: 'thing.changed',
  delivery: ['poll', 'push', 'webhook'],
  matches: (args, data, principal) => args.thing === data.thing && principal !== null,
  allows: async (principal) => principal !== null,
}
const mcpEvents = new EventsExtension(store, { types: [changed], profile: 'sketch', bus, heartbeatMs: 10_000 })
type SDKExtra = { signal: AbortSignal; requestId: string | number }
type SDKHandler = (params: { name: string }, extra: SDKExtra) => Promise<object>
const handlers: Record<string, SDKHandler> = mcpEvents.handlers
const upstream = { eventId: 'upstream-1', timestamp: new Date() }
const published = await mcpEvents.publish('thing.changed', { thing: 'a' }, upstream)
await store.transaction({ calls: mcpEvents.calls('thing.changed', {}).calls })
const polled = await mcpEvents.poll({ name: 'thing.changed', cursor: await mcpEvents.cursor('thing.changed') })
const told: string[] = polled.events.map(({ eventId }) => eventId)
// @ts-expect-error: there is no such world
new EventsExtension(store, { profile: 'sep-1' })
export { handlers, published, sdkBus, told }

for await (const { queue } of store.subscribeWork({ queue: 'q' }, { signal: controller.signal })) {
  const { work, next_due } = await store.claimWork({ queue, limit: 2 })
  for (const { work_id, fence } of work) await store.settleWork({ queue, work_id, fence: fence!, outcome: 'done' })
  void next_due
}
// @ts-expect-error: it is a subscription here
await store.call('subscribe_work', { queue: 'q' })

const onEnded = ({ reason }: { reason: string }) => void reason
const sender = new WebhookSender(mcpEvents, { gone: 'end', onEnded, trusts: async () => true })
sender.start()
const { id, refreshBefore }: { id: string; refreshBefore: string | null } = await sender.subscribe({}, {})
await sender.endAll('thing.changed', { reason: 'unsupported' })
await sender.stop({ patience: 10 })
// @ts-expect-error: it ends one or the other
new WebhookSender(mcpEvents, { gone: 'both' })

const loop = new WorkLoop(store, {
  queue: 'mail',
  work: ({ payload, fence }, { signal }) => void [payload, fence.toFixed(), signal.aborted],
  backOff: (attempt) => attempt * 1000,
})
loop.start()
await loop.stop()

const work = async (job: TaskJob) => {
  if (job.input.size === undefined) return job.ask({ size: {} }, { state: 1 })
  if (job.attempt > 2) return job.pause(1000)
  job.signal.throwIfAborted()
  await job.save({ done: job.fence }, 'half')
  return { content: [] }
}
const worker = new TaskWorker(store, { tools: { report: work }, run: work, attempts: 5 })
worker.start()
const working = await worker.create({ principal: 'alice', era: '2025-11-25', request: { method: 'tools/call' } })
const [tool] = worker.fallbackTools
const shown = await tool!.call({ task_id: working.taskId }, { principal: 'alice' })

interface EmseepeaDelivery {
  readonly id: string
  readonly subscriptionId: string
  readonly eventId: string
  readonly body: string
  readonly attempts: number
  readonly nextAttemptAt: number
}
type EmseepeaClaimed = EmseepeaDelivery & { readonly leaseId: string }
interface EmseepeaSubscription {
  readonly id: string
  readonly ownerKey: string
  readonly name: string
  readonly arguments: Readonly<Record<string, unknown>>
  readonly url: string
  readonly secret: string
  readonly expiresAt: number
}
interface EmseepeaStore {
  get(id: string): Promise<EmseepeaSubscription | null>
  put(subscription: EmseepeaSubscription): Promise<void>
  delete(id: string): Promise<void>
  list(name: string): Promise<readonly EmseepeaSubscription[]>
  enqueue(delivery: EmseepeaDelivery): Promise<void>
  claimDue(limit: number, now: number, leaseMs: number): Promise<readonly EmseepeaClaimed[]>
  complete(id: string, leaseId: string): Promise<void>
  reschedule(delivery: EmseepeaClaimed): Promise<void>
}
const emseepea: EmseepeaStore = new McpEventStore(store)
export { emseepea, id, refreshBefore, shown }
