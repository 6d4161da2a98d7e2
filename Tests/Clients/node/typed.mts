// Compiled, not run: that the declarations say what the client does. Lines that must not compile say so.

import {
  ChildError,
  SessionStore,
  StoreError,
  type Session,
  type StoreErrorKind,
  type Task,
  type TransactionCall,
} from '../../../protocol/clients/node/index.mjs'

const store: SessionStore = await SessionStore.open({
  database: 'sessions.db',
  options: { max_sessions: 10, exclusive: true },
  restart: { limit: 3 },
  require: ['events'],
})

const made: Session = await store.createSession({ user_id: 'user-1', ttl: null }, { timeout: 1000 })
const found: Session | null = await store.getSession({ session_id: made.session_id })
const status: 'pending' | 'active' | 'suspended' | 'expired' | 'invalidated' = made.status
const count: number = (await store.sessionCount()).count
const page = await store.call('get_events_after', { session_id: made.session_id })
const has_more: boolean = page.has_more

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
const states = store.subscribeTasks({ task_id: 't' }, { onTaskEnded: ({ reason }) => void reason })
for await (const task of states) {
  const each: Task = task
  void each
}
const reason: string | undefined = states.ended?.reason

try {
  await store.health()
} catch (error) {
  if (error instanceof StoreError) {
    switch (error.kind) {
      case 'session_not_found':
      case 'session_expired':
        console.log(error.details.retry)
        break
      case 'database_busy':
        console.log(error.retryable, error.outcome === 'not_applied', error.method.length)
    }
  } else if (error instanceof ChildError) {
    const exitCode: number | null = error.exitCode
    const why: 'not_found' | 'not_startable' | 'incompatible' | 'not_a_sidecar' | 'exited' | 'gave_up' = error.reason
    void [exitCode, why]
  }
}
const kind: StoreErrorKind = 'parse_error'
// @ts-expect-error: no kind of the contract
const unknownKind: StoreErrorKind = 'bad_luck'

await store.close({ timeout: 100 })
await store[Symbol.asyncDispose]()
const end: ChildError | null = await store.ended
export { count, end, found, has_more, kind, reason, status, sure, unknownKind }
