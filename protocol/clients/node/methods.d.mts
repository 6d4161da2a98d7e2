// Made by protocol/clients/generate from protocol/openrpc.json.

import type { CallOptions } from './store.mjs'

/** The kinds of errors in answers, all of the contract's table. */
export type ErrorKind =
  | 'method_not_found'
  | 'invalid_params'
  | 'invalid_cursor'
  | 'session_not_found'
  | 'session_exists'
  | 'session_expired'
  | 'invalid_session_status'
  | 'max_sessions_reached'
  | 'max_events_reached'
  | 'max_user_sessions_reached'
  | 'max_subscriptions_reached'
  | 'max_session_writes_reached'
  | 'task_not_found'
  | 'task_exists'
  | 'invalid_transition'
  | 'terminal_state'
  | 'max_tasks_reached'
  | 'queue_full'
  | 'max_values_reached'
  | 'max_input_keys_reached'
  | 'max_work_reached'
  | 'max_event_subscriptions_reached'
  | 'event_subscription_exists'
  | 'max_legal_holds_reached'
  | 'max_retentions_reached'
  | 'max_principal_work_reached'
  | 'max_principal_event_subscriptions_reached'
  | 'concurrent_modification'
  | 'requirement_failed'
  | 'held_by_legal_hold'
  | 'payload_too_large'
  | 'database_busy'
  | 'database_full'
  | 'database_read_only'
  | 'database_corrupt'
  | 'database_error'
  | 'database_too_new'
  | 'outcome_unknown'
  | 'database_replaced'
  | 'database_unreachable'
  | 'not_supported'
  | 'shutting_down'
  | 'parse_error'
  | 'invalid_request'
  | 'internal_error'

/** The same by name, at run time. */
export declare const ErrorKind: { readonly [K in ErrorKind]: K }

/** Session, as the contract has it. */
export interface Session {
  session_id: string
  status: 'pending' | 'active' | 'suspended' | 'expired' | 'invalidated' | 'resolved'
  user_id: string | null
  tenant_id: string | null
  principal: string | null
  client_capabilities: unknown
  server_capabilities: unknown
  /** Left out of lists unless include_state is true. */
  state?: Record<string, unknown>
  metadata: Record<string, unknown>
  is_initialized: boolean
  /** Unix milliseconds */
  created_at: number
  /** Unix milliseconds */
  last_activity: number
  /** Unix milliseconds */
  expires_at: number | null
  /** Milliseconds */
  inactivity_timeout: number | null
  /** Unix milliseconds */
  suspended_at: number | null
  /** Milliseconds of all suspensions that are over. */
  suspended_ms: number
  /** How many those were. */
  suspensions: number
  /** Unix milliseconds; stands only with --retain-ended. */
  ended_at?: number | null
  last_event_id: number
  revision: number
  /** What it is told without, because `omit` names it, or because an entry of a list would be too large by itself. */
  omitted?: string[]
}

/** Event, as the contract has it. */
export interface Event {
  id: number
  stream_id: string | null
  /** Unix milliseconds */
  timestamp: number
  event_type: string
  data: unknown
  /** Milliseconds */
  retry: number | null
}

/** EventPage, as the contract has it. */
export interface EventPage {
  events?: Event[]
  /** In place of events when a format was asked for. */
  frames?: string
  /** The cursor of the next page; pass it back as it is. */
  next_after: number
  newest_id: number
  has_more: boolean
  gap: Gap | null
  cursor_ahead: boolean
}

/** Task, as the contract has it. */
export interface Task {
  task_id: string
  session_id: string | null
  tenant_id: string | null
  principal: string | null
  status: 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled'
  status_message: string | null
  /** RFC 3339, UTC, milliseconds: 2026-11-20T21:27:00.123Z */
  created_at: string
  /** RFC 3339, UTC, milliseconds: 2026-11-20T21:27:00.123Z */
  last_updated_at: string
  /** Milliseconds from created_at */
  ttl: number | null
  /** Milliseconds */
  poll_interval: number | null
  original_method: string | null
  original_params: unknown
  result: Outcome | null
  input_requests: Record<string, unknown> | null
  input_responses: Record<string, unknown> | null
  cancel_requested: boolean
  meta: unknown
  revision: number
  /** What it is told without, because `omit` names it, or because an entry of a list would be too large by itself. */
  omitted?: string[]
}

/** EventSubscription, as the contract has it. */
export interface EventSubscription {
  subscription_id: string
  tenant_id: string | null
  principal: string | null
  topic: string
  data: unknown
  active: boolean
  start_after: number | null
  /** All positions up to it are settled. */
  watermark: number | null
  /** Unix milliseconds */
  created_at: number
  /** Unix milliseconds */
  expires_at: number | null
  /** Unix milliseconds */
  inactive_since: number | null
  /** Unix milliseconds */
  last_success_at: number | null
  /** Unix milliseconds */
  last_failure_at: number | null
  /** Unix milliseconds */
  failed_since: number | null
  last_error: string | null
  /** Of the last 30 to 60 minutes. */
  window: {
    /** Unix milliseconds */
    since: number
    attempts: number
    failures: number
  }
  /** Unix milliseconds */
  ended_at: number | null
  end_reason: string | null
  ended_queue: string
  revision: number
  secret?: string | null
  previous_secret?: string | null
  /** Unix milliseconds */
  previous_secret_until?: number | null
  /** What it is told without, because `omit` names it, or because an entry of a list would be too large by itself. */
  omitted?: string[]
}

/** Work, as the contract has it. */
export interface Work {
  queue: string
  work_id: string
  group: string | null
  subscription_id: string | null
  tenant_id: string | null
  principal: string | null
  status: 'waiting' | 'leased' | 'done' | 'dead'
  payload: unknown
  position: number | null
  /** Claims that count. */
  attempt: number
  max_attempts: number | null
  /** Of the last claim. */
  fence: number | null
  /** Who claimed last. */
  worker: string | null
  /** Unix milliseconds, while it is leased. */
  lease_until: number | null
  /** Unix milliseconds, while it waits for that time. */
  not_before: number | null
  /** Unix milliseconds */
  give_up_at: number | null
  /** Why it was not done last. */
  error: string | null
  /** Unix milliseconds */
  enqueued_at: number
  /** Unix milliseconds */
  finished_at: number | null
  subscription?: EventSubscription | null
  /** What it is told without, because `omit` names it, or because an entry of a list would be too large by itself. */
  omitted?: string[]
}

/** One of the two members. */
export interface Outcome {
  success?: unknown
  error?: {
    code: number
    message: string
    data?: unknown
  }
}

/** ServerInfo, as the contract has it. */
export interface ServerInfo {
  name: string
  version: string
  protocol_version: string
  capabilities: string[]
  backend: string
  backend_version: string
  database: string
  schema_version: number
  sqlite_version: string
  durability: 'full' | 'normal'
  pid: number
  limits: Record<string, unknown>
}

/** AuditEvent, as the contract has it. */
export interface AuditEvent {
  /** Ascending; never reused. */
  event_id: number
  type:
    | 'created'
    | 'activated'
    | 'suspended'
    | 'resumed'
    | 'expired'
    | 'invalidated'
    | 'deleted'
    | 'resolved'
    | 'session_auth'
    | 'unauthorized_access'
    | 'rate_limit_exceeded'
    | 'invalid_input'
    | 'session_hijacking'
    | 'legal_hold_placed'
    | 'legal_hold_lifted'
    | 'retention_set'
  /** null for a change of the lifecycle. */
  severity: 'low' | 'medium' | 'high' | 'critical' | null
  /** Unix milliseconds */
  timestamp: number
  session_id: string | null
  user_id: string | null
  tenant_id: string | null
  principal: string | null
  status_before: 'pending' | 'active' | 'suspended' | 'expired' | 'invalidated' | 'resolved' | null
  status_after: 'pending' | 'active' | 'suspended' | 'expired' | 'invalidated' | 'resolved' | null
  /** What the caller gave as message or reason, or what was found. */
  message: string | null
  ip_address: string | null
  action: 'logged' | 'counted' | 'invalidated' | null
}

/** Metrics, as the contract has it. */
export interface Metrics {
  /** With text, of the format prometheus alone. */
  content_type?: string
  text?: string
  /** Rows, also of sessions that wait for a sweep. */
  total_sessions?: number
  active_sessions?: number
  expired_sessions?: number
  /** That are kept; stands only with --retain-ended. */
  ended_sessions?: number
  /** Since midnight, UTC; of those still there. */
  sessions_created_today?: number
  /** Milliseconds from creation to the last activity. */
  average_session_duration?: number
  /** Of requests and answers, by this process. */
  total_bytes_transferred?: number
  /** Unix milliseconds */
  calculated_at?: number
  /** By status. */
  sessions?: Record<string, unknown>
  /** By status. */
  tasks?: Record<string, unknown>
  /** By status. */
  work?: Record<string, unknown>
  events?: number
  values?: number
  event_subscriptions?: number
  log_entries?: number
  lifecycle_events?: number
  security_events?: number
  legal_holds?: number
  database_bytes?: number
  wal_bytes?: number
  free_bytes?: number
  memory_usage?: number
  subscriptions?: number
  bytes_received?: number
  bytes_sent?: number
  requests?: number
  errors?: number
  /** How often this process has waited for a server; 0 on a file. */
  database_trips?: number
  /** Milliseconds. */
  uptime?: number
  /** Committed by this process since it began, by name; none ever falls back. */
  totals?: Record<string, unknown>
  commits?: {
    count: number
    /** Microseconds, at most a fourth too high. */
    p50_us: number
    /** Microseconds, at most a fourth too high. */
    p99_us: number
    /** That they made durable. */
    requests: number
    largest_group: number
  }
  /**
   * By name, for each that was called: requests, errors, and p50_us and p99_us from taking a request up until its
   * answer may leave.
   */
  methods?: Record<string, unknown>
}

/** Gap, as the contract has it. */
export interface Gap {
  dropped: number
  oldest_available: number | null
}

/** What `create_session` takes. */
export interface CreateSessionParams {
  /** The id; made when absent. */
  session_id?: string | null
  /** How a generated id looks: a UUID v7, or 256 random bits in base64url for an id that is itself a capability. */
  id_format?: 'uuid' | 'random' | null
  /** The user whose session it is. */
  user_id?: string | null
  /** What the client said at initialize; kept as it is. */
  client_capabilities?: unknown
  /** What the server answered; kept as it is. */
  server_capabilities?: unknown
  /** The key-value map. */
  state?: object | null
  /** Anything else; kept as it is. */
  metadata?: object | null
  /** Binds to this tenant. */
  tenant_id?: string | null
  /** Binds to this principal. */
  principal?: string | null
  /** pending when absent. */
  status?: 'pending' | 'active' | null
  /** false when absent. */
  is_initialized?: boolean | null
  /** Milliseconds until it expires in any case; --session-ttl when absent, 0: never. */
  ttl?: number | null
  /** Milliseconds without a write until it expires; --inactivity-timeout when absent, 0: never. */
  inactivity_timeout?: number | null
  /** For migrations; now when absent. */
  created_at?: number | null
  /** For migrations; now when absent. */
  last_activity?: number | null
}

/** What `get_session` takes. */
export interface GetSessionParams {
  /** The session. */
  session_id: string
  /** Slides the inactivity deadline; false when absent. */
  touch?: boolean | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('client_capabilities' | 'server_capabilities' | 'state' | 'metadata')[] | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent. */
  include_ended?: boolean | null
}

/** What `update_session` takes. */
export interface UpdateSessionParams {
  /** The session's id and the fields to replace. */
  session: {
    session_id: string
    user_id?: string | null
    client_capabilities?: unknown
    server_capabilities?: unknown
    state?: object | null
    metadata?: object | null
    is_initialized?: boolean | null
    last_activity?: number | null
    expires_at?: number | null
    inactivity_timeout?: number | null
    tenant_id?: string | null
    principal?: string | null
    status?: string | null
    created_at?: number | null
    suspended_at?: number | null
    suspended_ms?: number | null
    suspensions?: number | null
    ended_at?: number | null
    last_event_id?: number | null
    revision?: number | null
    omitted?: ('client_capabilities' | 'server_capabilities' | 'state' | 'metadata')[] | null
  }
  /** Only when this is still the revision; else concurrent_modification. */
  if_revision?: number | null
  /** Makes the session when there is none; false when absent. */
  upsert?: boolean | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('client_capabilities' | 'server_capabilities' | 'state' | 'metadata')[] | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `touch_session` takes. */
export interface TouchSessionParams {
  /** The session. */
  session_id: string
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('client_capabilities' | 'server_capabilities' | 'state' | 'metadata')[] | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `delete_session` takes. */
export interface DeleteSessionParams {
  /** The session. */
  session_id: string
  /** Deletes its tasks too; false when absent. */
  delete_tasks?: boolean | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `delete_session` answers. */
export interface DeleteSessionResult {
  deleted: boolean
  events: number
  tasks: number
  log_entries: number
}

/** What `list_sessions` takes. */
export interface ListSessionsParams {
  /** Only this user's. */
  user_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent. */
  include_ended?: boolean | null
  /** Only these; expired and resolved ones appear only when asked for, so or with include_ended. */
  status?: 'pending' | 'active' | 'suspended' | 'expired' | 'invalidated' | 'resolved' | null
  /** With their state; false when absent. */
  include_state?: boolean | null
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Entries on a page; 50 when absent. */
  limit?: number | null
}

/** What `list_sessions` answers. */
export interface ListSessionsResult {
  sessions: Session[]
  next_cursor: string | null
}

/** What `list_session_ids` takes. */
export interface ListSessionIdsParams {
  /** Only this user's. */
  user_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent. */
  include_ended?: boolean | null
  /** Only these; expired and resolved ones appear only when asked for, so or with include_ended. */
  status?: 'pending' | 'active' | 'suspended' | 'expired' | 'invalidated' | 'resolved' | null
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Entries on a page; 50 when absent. */
  limit?: number | null
}

/** What `list_session_ids` answers. */
export interface ListSessionIdsResult {
  session_ids: string[]
  next_cursor: string | null
}

/** What `session_count` takes. */
export interface SessionCountParams {
  /** Only this user's. */
  user_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent. */
  include_ended?: boolean | null
  /** Only these; expired and resolved ones appear only when asked for, so or with include_ended. */
  status?: 'pending' | 'active' | 'suspended' | 'expired' | 'invalidated' | 'resolved' | null
}

/** What `session_count` answers. */
export interface SessionCountResult {
  count: number
}

/** What `validate_session` takes. */
export interface ValidateSessionParams {
  /** The session. */
  session_id: string
  /** The client's address. */
  ip_address?: string | null
  /** The client's user agent. */
  user_agent?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `validate_session` answers. */
export interface ValidateSessionResult {
  valid: boolean
  reason:
    | 'not_found'
    | 'pending'
    | 'suspended'
    | 'expired'
    | 'invalidated'
    | 'resolved'
    | 'address_changed'
    | 'agent_changed'
    | null
}

/** What `expire_sessions` takes. */
export interface ExpireSessionsParams {
  /** Unix milliseconds: removes where last_activity is strictly below. */
  older_than?: number | null
  /** Sessions at most; 1,000 when absent. */
  limit?: number | null
}

/** What `expire_sessions` answers. */
export interface ExpireSessionsResult {
  session_ids: string[]
  has_more: boolean
}

/** What `activate_session` takes. */
export interface ActivateSessionParams {
  /** The session. */
  session_id: string
  /** Why, for the record. */
  reason?: string | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('client_capabilities' | 'server_capabilities' | 'state' | 'metadata')[] | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `suspend_session` takes. */
export interface SuspendSessionParams {
  /** The session. */
  session_id: string
  /** Why, for the record. */
  reason?: string | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('client_capabilities' | 'server_capabilities' | 'state' | 'metadata')[] | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `resume_session` takes. */
export interface ResumeSessionParams {
  /** The session. */
  session_id: string
  /** Why, for the record. */
  reason?: string | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('client_capabilities' | 'server_capabilities' | 'state' | 'metadata')[] | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `expire_session` takes. */
export interface ExpireSessionParams {
  /** The session. */
  session_id: string
  /** Why, for the record. */
  reason?: string | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('client_capabilities' | 'server_capabilities' | 'state' | 'metadata')[] | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `invalidate_session` takes. */
export interface InvalidateSessionParams {
  /** The session. */
  session_id: string
  /** Why, for the record. */
  reason?: string | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('client_capabilities' | 'server_capabilities' | 'state' | 'metadata')[] | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `resolve_session` takes. */
export interface ResolveSessionParams {
  /** The session. */
  session_id: string
  /** Why, for the record. */
  reason?: string | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('client_capabilities' | 'server_capabilities' | 'state' | 'metadata')[] | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `set_session_state` takes. */
export interface SetSessionStateParams {
  /** The session. */
  session_id: string
  /** The key. */
  key: string
  /** Any JSON; kept as it is. */
  value: unknown
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `set_session_state` answers. */
export interface SetSessionStateResult {
  /** The session's new revision. */
  revision: number
}

/** What `get_session_state` takes. */
export interface GetSessionStateParams {
  /** The session. */
  session_id: string
  /** The key. */
  key: string
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent. */
  include_ended?: boolean | null
}

/** What `get_session_state` answers. */
export interface GetSessionStateResult {
  exists: boolean
  value: unknown
}

/** What `remove_session_state` takes. */
export interface RemoveSessionStateParams {
  /** The session. */
  session_id: string
  /** The key. */
  key: string
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `remove_session_state` answers. */
export interface RemoveSessionStateResult {
  existed: boolean
  /** What it was. */
  value: unknown
}

/** What `list_session_state_keys` takes. */
export interface ListSessionStateKeysParams {
  /** The session. */
  session_id: string
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent. */
  include_ended?: boolean | null
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Keys on a page; without it and a cursor all are answered at once. */
  limit?: number | null
}

/** What `list_session_state_keys` answers. */
export interface ListSessionStateKeysResult {
  keys: string[]
  next_cursor: string | null
}

/** What `store_event` takes. */
export interface StoreEventParams {
  /** The session. */
  session_id: string
  /** The payload; kept as it is. */
  data: unknown
  /** "message" when absent. */
  event_type?: string | null
  /** The stream that it belongs to. */
  stream_id?: string | null
  /** Milliseconds that a client should wait before it reconnects. */
  retry?: number | null
  /** Unix milliseconds; now when absent. */
  timestamp?: number | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** The event without its data. */
export interface StoreEventResult {
  id: number
  stream_id: string | null
  /** Unix milliseconds */
  timestamp: number
  event_type: string
  retry: number | null
}

/** What `store_events` takes. */
export interface StoreEventsParams {
  /** The session. */
  session_id: string
  /** The events in their order. */
  events: {
    data: unknown
    event_type?: string | null
    stream_id?: string | null
    retry?: number | null
    timestamp?: number | null
  }[]
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `store_events` answers. */
export interface StoreEventsResult {
  first_id: number
  last_id: number
}

/** What `get_events_after` takes. */
export interface GetEventsAfterParams {
  /** The session. */
  session_id: string
  /** The last id that was seen; 0 (from the beginning) when absent. */
  after_event_id?: number | null
  /** Only events of this stream. */
  stream_id?: string | null
  /** Events at most; 1,000 when absent. */
  limit?: number | null
  /** json when absent; sse: frames to write to an SSE response, all named message; sse_typed: named by event type. */
  format?: 'json' | 'sse' | 'sse_typed' | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent. */
  include_ended?: boolean | null
}

/** What `get_recent_events` takes. */
export interface GetRecentEventsParams {
  /** The session. */
  session_id: string
  /** Events at most; 100 when absent. */
  limit?: number | null
  /** Only events of this stream. */
  stream_id?: string | null
  /** json when absent; sse: frames to write to an SSE response, all named message; sse_typed: named by event type. */
  format?: 'json' | 'sse' | 'sse_typed' | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent. */
  include_ended?: boolean | null
}

/** What `delete_events_before` takes. */
export interface DeleteEventsBeforeParams {
  /** The session. */
  session_id: string
  /** The first id that stays. */
  before_event_id: number
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `delete_events_before` answers. */
export interface DeleteEventsBeforeResult {
  deleted: number
}

/** What `event_count` takes. */
export interface EventCountParams {
  /** The session. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent. */
  include_ended?: boolean | null
}

/** What `event_count` answers. */
export interface EventCountResult {
  count: number
}

/** What `broadcast_event` takes. */
export interface BroadcastEventParams {
  /** The payload; kept as it is. */
  data: unknown
  /** "message" when absent. */
  event_type?: string | null
  /** Milliseconds that a client should wait before it reconnects. */
  retry?: number | null
  /** Unix milliseconds; now when absent. */
  timestamp?: number | null
  /** Only this user's sessions. */
  user_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** Only sessions of this status; active when absent. */
  status?: 'pending' | 'active' | null
}

/** What `broadcast_event` answers. */
export interface BroadcastEventResult {
  sessions: number
}

/** What `subscribe_events` takes. */
export interface SubscribeEventsParams {
  /** The session. */
  session_id: string
  /** The last id that was seen; from now on when absent. */
  after_event_id?: number | null
  /** Only events of this stream. */
  stream_id?: string | null
  /** json when absent; sse: frames to write to an SSE response, all named message; sse_typed: named by event type. */
  format?: 'json' | 'sse' | 'sse_typed' | null
  /** Milliseconds between two signs of life; none when absent. */
  heartbeat?: number | null
  /** Tells first what it follows, whose that is and what time it is; false when absent. */
  init?: boolean | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `subscribe_events` answers. */
export interface SubscribeEventsResult {
  subscription_id: string
  newest_id: number
  gap: Gap | null
  cursor_ahead: boolean
}

/** What `unsubscribe` takes. */
export interface UnsubscribeParams {
  /** What a subscribe method gave. */
  subscription_id: string
}

/** What `unsubscribe` answers. */
export interface UnsubscribeResult {
  unsubscribed: boolean
}

/** What `create_task` takes. */
export interface CreateTaskParams {
  /** The id; made when absent. */
  task_id?: string | null
  /** How a generated id looks: a UUID v7, or 256 random bits in base64url for an id that is itself a capability. */
  id_format?: 'uuid' | 'random' | null
  /** The session that it belongs to. */
  session_id?: string | null
  /** Binds to this tenant. */
  tenant_id?: string | null
  /** Binds to this principal. */
  principal?: string | null
  /** working when absent. */
  status?: 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled' | null
  /** The method of the request that it stands for. */
  original_method?: string | null
  /** The parameters of that request; kept as they are. */
  original_params?: unknown
  /** Milliseconds from its creation until it lapses; never when absent. */
  ttl?: number | null
  /** Milliseconds that a client should wait between two looks. */
  poll_interval?: number | null
  /** What to tell people. */
  status_message?: string | null
  /** Anything else; kept as it is. */
  meta?: unknown
}

/** What `get_task` takes. */
export interface GetTaskParams {
  /** The task. */
  task_id: string
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('original_params' | 'result' | 'input_requests' | 'input_responses' | 'meta')[] | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `update_task` takes. */
export interface UpdateTaskParams {
  /** The task's id and the fields to replace. */
  task: {
    task_id: string
    status?: 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled' | null
    status_message?: string | null
    created_at?: string | null
    last_updated_at?: string | null
    ttl?: number | null
    poll_interval?: number | null
    original_method?: string | null
    original_params?: unknown
    result?: {
      success?: unknown
      error?: {
        code: number
        message: string
        data?: unknown
      } | null
    } | null
    input_requests?: object | null
    input_responses?: object | null
    cancel_requested?: boolean | null
    meta?: unknown
    session_id?: string | null
    tenant_id?: string | null
    principal?: string | null
    revision?: number | null
    omitted?: ('original_params' | 'result' | 'input_requests' | 'input_responses' | 'meta')[] | null
  }
  /** Only when this is still the revision; else concurrent_modification. */
  if_revision?: number | null
  /** Also on a terminal task; false when absent. */
  force?: boolean | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('original_params' | 'result' | 'input_requests' | 'input_responses' | 'meta')[] | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `touch_task` takes. */
export interface TouchTaskParams {
  /** The task. */
  task_id: string
  /** What to tell people; absent leaves it. */
  status_message?: string | null
  /** A new time to live, in milliseconds from the creation. */
  ttl?: number | null
  /** Milliseconds that a client should wait between two looks. */
  poll_interval?: number | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('original_params' | 'result' | 'input_requests' | 'input_responses' | 'meta')[] | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `delete_task` takes. */
export interface DeleteTaskParams {
  /** The task. */
  task_id: string
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `delete_task` answers. */
export interface DeleteTaskResult {
  deleted: boolean
}

/** What `list_tasks` takes. */
export interface ListTasksParams {
  /** Only tasks of this status. */
  status?: 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled' | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Entries on a page; 50 when absent. */
  limit?: number | null
}

/** What `list_tasks` answers. */
export interface ListTasksResult {
  tasks: Task[]
  next_cursor: string | null
}

/** What `list_tasks_for_session` takes. */
export interface ListTasksForSessionParams {
  /** The session. */
  session_id: string
  /** Only tasks of this status. */
  status?: 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled' | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Entries on a page; 50 when absent. */
  limit?: number | null
}

/** What `list_tasks_for_session` answers. */
export interface ListTasksForSessionResult {
  tasks: Task[]
  next_cursor: string | null
}

/** What `update_task_status` takes. */
export interface UpdateTaskStatusParams {
  /** The task. */
  task_id: string
  /** The new status. */
  status: 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled'
  /** What to tell people; absent clears it. */
  status_message?: string | null
  /** Only when this is still the revision; else concurrent_modification. */
  if_revision?: number | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('original_params' | 'result' | 'input_requests' | 'input_responses' | 'meta')[] | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `store_task_result` takes. */
export interface StoreTaskResultParams {
  /** The task. */
  task_id: string
  /** {"success": value} or {"error": {code, message, data}}. */
  result: {
    success?: unknown
    error?: {
      code: number
      message: string
      data?: unknown
    } | null
  }
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('original_params' | 'result' | 'input_requests' | 'input_responses' | 'meta')[] | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `get_task_result` takes. */
export interface GetTaskResultParams {
  /** The task. */
  task_id: string
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `get_task_result` answers. */
export interface GetTaskResultResult {
  result: Outcome | null
}

/** What `complete_task` takes. */
export interface CompleteTaskParams {
  /** The task. */
  task_id: string
  /** What the request gives; kept as it is. */
  result: unknown
  /** What to tell people; absent clears it. */
  status_message?: string | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('original_params' | 'result' | 'input_requests' | 'input_responses' | 'meta')[] | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `fail_task` takes. */
export interface FailTaskParams {
  /** The task. */
  task_id: string
  /** {code, message, data}; kept as it is. */
  error: {
    code: number
    message: string
    data?: unknown
  }
  /** What to tell people; absent clears it. */
  status_message?: string | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('original_params' | 'result' | 'input_requests' | 'input_responses' | 'meta')[] | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `cancel_task` takes. */
export interface CancelTaskParams {
  /** The task. */
  task_id: string
  /** Only sets cancel_requested; false when absent. */
  cooperative?: boolean | null
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('original_params' | 'result' | 'input_requests' | 'input_responses' | 'meta')[] | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `require_task_input` takes. */
export interface RequireTaskInputParams {
  /** The task. */
  task_id: string
  /** What is asked for, by key. */
  input_requests: object
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('original_params' | 'result' | 'input_requests' | 'input_responses' | 'meta')[] | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `provide_task_input` takes. */
export interface ProvideTaskInputParams {
  /** The task. */
  task_id: string
  /** Answers, by key; those not asked for are ignored. */
  input_responses: object
  /** Members that the answer does without; its `omitted` names those that there are. */
  omit?: ('original_params' | 'result' | 'input_requests' | 'input_responses' | 'meta')[] | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `enqueue_task_message` takes. */
export interface EnqueueTaskMessageParams {
  /** The task. */
  task_id: string
  /** The message; kept as it is. */
  message: unknown
  /** Messages at most; --max-task-messages when absent. */
  max_size?: number | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `enqueue_task_message` answers. */
export interface EnqueueTaskMessageResult {
  size: number
}

/** What `dequeue_task_message` takes. */
export interface DequeueTaskMessageParams {
  /** The task. */
  task_id: string
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `dequeue_task_message` answers. */
export interface DequeueTaskMessageResult {
  exists: boolean
  message: unknown
  /** Messages that are left. */
  size: number
}

/** What `dequeue_all_task_messages` takes. */
export interface DequeueAllTaskMessagesParams {
  /** The task. */
  task_id: string
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `dequeue_all_task_messages` answers. */
export interface DequeueAllTaskMessagesResult {
  messages: unknown[]
  has_more: boolean
  /** Messages that are left. */
  size: number
}

/** What `peek_task_messages` takes. */
export interface PeekTaskMessagesParams {
  /** The task. */
  task_id: string
  /** next_cursor of the page before. */
  cursor?: string | null
  /** Messages at most; 50 when absent, 0 only for the size. */
  limit?: number | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `peek_task_messages` answers. */
export interface PeekTaskMessagesResult {
  messages: unknown[]
  /** Messages that the queue holds. */
  size: number
  next_cursor: string | null
}

/** What `expire_tasks` takes. */
export interface ExpireTasksParams {
  /** Tasks at most; 1,000 when absent. */
  limit?: number | null
}

/** What `expire_tasks` answers. */
export interface ExpireTasksResult {
  task_ids: string[]
  has_more: boolean
}

/** What `recover_stuck_tasks` takes. */
export interface RecoverStuckTasksParams {
  /** Milliseconds: those untouched for longer. */
  max_age: number
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** Tasks at most; 10,000 when absent. */
  limit?: number | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `recover_stuck_tasks` answers. */
export interface RecoverStuckTasksResult {
  task_ids: string[]
  has_more: boolean
}

/** What `task_count` takes. */
export interface TaskCountParams {
  /** Only tasks of this status. */
  status?: 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled' | null
  /** Only when the task belongs to this session; else it is answered as missing. */
  session_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `task_count` answers. */
export interface TaskCountResult {
  count: number
}

/** What `subscribe_tasks` takes. */
export interface SubscribeTasksParams {
  /** The task. */
  task_id?: string | null
  /** Or the session. */
  session_id?: string | null
  /** Milliseconds between two signs of life; none when absent. */
  heartbeat?: number | null
  /** Tells first what it follows, whose that is and what time it is; false when absent. */
  init?: boolean | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `subscribe_tasks` answers. */
export interface SubscribeTasksResult {
  subscription_id: string
  task?: Task
  /** Of a session; those that do not fit here follow as notifications. */
  tasks?: Task[]
}

/** What `consume_nonce` takes. */
export interface ConsumeNonceParams {
  /** The token. */
  nonce: string
  /** Milliseconds for which it is remembered. */
  ttl: number
  /** The principal whose token it is; nobody's when absent or null. */
  principal?: string | null
}

/** What `consume_nonce` answers. */
export interface ConsumeNonceResult {
  first: boolean
}

/** What `put_value` takes. */
export interface PutValueParams {
  /** A name for values that belong together. */
  collection: string
  /** The key. */
  key: string
  /** Any JSON; kept as it is. */
  value: unknown
  /** Milliseconds until it lapses; it stays when absent. */
  ttl?: number | null
  /** Only when there is none; false when absent. */
  if_absent?: boolean | null
  /** Only when this is still the revision; else concurrent_modification. */
  if_revision?: number | null
  /** The tenant whose value it is; nobody's when absent or null. */
  tenant_id?: string | null
  /** The principal whose value it is; nobody's when absent or null. */
  principal?: string | null
}

/** What `put_value` answers. */
export interface PutValueResult {
  stored: boolean
  /** The revision of what is there now. */
  revision: number
}

/** What `get_value` takes. */
export interface GetValueParams {
  /** A name for values that belong together. */
  collection: string
  /** The key. */
  key: string
  /** The tenant whose value it is; nobody's when absent or null. */
  tenant_id?: string | null
  /** The principal whose value it is; nobody's when absent or null. */
  principal?: string | null
}

/** What `get_value` answers. */
export interface GetValueResult {
  exists: boolean
  value: unknown
  /** Unix milliseconds */
  expires_at: number | null
  revision: number | null
}

/** What `delete_value` takes. */
export interface DeleteValueParams {
  /** A name for values that belong together. */
  collection: string
  /** The key. */
  key: string
  /** Only when this is still the revision; else concurrent_modification. */
  if_revision?: number | null
  /** The tenant whose value it is; nobody's when absent or null. */
  tenant_id?: string | null
  /** The principal whose value it is; nobody's when absent or null. */
  principal?: string | null
}

/** What `delete_value` answers. */
export interface DeleteValueResult {
  deleted: boolean
}

/** What `list_values` takes. */
export interface ListValuesParams {
  /** A name for values that belong together. */
  collection: string
  /** Only keys that begin with this. */
  prefix?: string | null
  /** The tenant whose value it is; nobody's when absent or null. */
  tenant_id?: string | null
  /** The principal whose value it is; nobody's when absent or null. */
  principal?: string | null
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Entries on a page; 50 when absent. */
  limit?: number | null
}

/** What `list_values` answers. */
export interface ListValuesResult {
  values: {
    key: string
    value: unknown
    /** Unix milliseconds */
    expires_at: number | null
    revision: number
    /** What it is told without, because `omit` names it, or because an entry of a list would be too large by itself. */
    omitted?: string[]
  }[]
  next_cursor: string | null
}

/** What `enqueue_work` takes. */
export interface EnqueueWorkParams {
  /** The queue. */
  queue: string
  /** The item's id in its queue. */
  work_id: string
  /** What is to be done; kept as it is. */
  payload: unknown
  /** Items that take turns with others as one. */
  group?: string | null
  /** The event subscription that it is for, which is a group of its own. */
  subscription_id?: string | null
  /** Whether its group is done one at a time, in order; false when absent. */
  ordered?: boolean | null
  /** Where it stands in what it comes from, for the watermark. */
  position?: number | null
  /** Unix milliseconds before which it is not ready; now when absent. */
  not_before?: number | null
  /** The same as milliseconds from now. */
  delay?: number | null
  /** Claims after which it is dead; any number when absent. */
  max_attempts?: number | null
  /** Milliseconds after which it is dead; never when absent. */
  give_up_after?: number | null
  /** Binds to this tenant. */
  tenant_id?: string | null
  /** Binds to this principal. */
  principal?: string | null
}

/** What `enqueue_work` answers. */
export interface EnqueueWorkResult {
  /** False when the id is there, or the subscription is not; nothing is changed. */
  stored: boolean
  /** Of what is there now; null for what is another owner's. */
  status: 'waiting' | 'leased' | 'done' | 'dead' | null
}

/** What `claim_work` takes. */
export interface ClaimWorkParams {
  /** The queue. */
  queue: string
  /** Who claims; for people. */
  worker?: string | null
  /** Milliseconds for which it is the worker's; 60,000 when absent. */
  lease?: number | null
  /** Items at most; 1 when absent. */
  limit?: number | null
  /** Leases that one group may have at the same time; 1 when absent. */
  per_group?: number | null
  /** Whether each item comes with the event subscription that it is for, secrets too; false when absent. */
  include_subscription?: boolean | null
}

/** What `claim_work` answers. */
export interface ClaimWorkResult {
  work: Work[]
  /** When to claim again: not after timestamp when there is more; null when nothing waits and nothing is leased. */
  next_due: number | null
  /** Unix milliseconds */
  timestamp: number
}

/** What `renew_work` takes. */
export interface RenewWorkParams {
  /** The queue. */
  queue: string
  /** The item's id in its queue. */
  work_id: string
  /** What claim_work gave with the item. */
  fence: number
  /** Milliseconds for which it is the worker's; 60,000 when absent. */
  lease?: number | null
}

/** What `renew_work` answers. */
export interface RenewWorkResult {
  /** False when it is the worker's no more; nothing is changed then. */
  held: boolean
  /** Unix milliseconds */
  lease_until: number | null
}

/** What `settle_work` takes. */
export interface SettleWorkParams {
  /** The queue. */
  queue: string
  /** The item's id in its queue. */
  work_id: string
  /** What claim_work gave with the item. */
  fence: number
  /** done; retry later; dead: it is of no use; release: it was not begun, the attempt does not count. */
  outcome: 'done' | 'retry' | 'dead' | 'release'
  /** Unix milliseconds before which it is not ready; now when absent. */
  not_before?: number | null
  /** The same as milliseconds from now. */
  delay?: number | null
  /** Why it is not done: a word for machines. */
  error?: string | null
}

/** What `settle_work` answers. */
export interface SettleWorkResult {
  /** False when it is the worker's no more; nothing is changed then. */
  held: boolean
  /** Whether this fence had been settled before; nothing is changed then. */
  repeated: boolean
  /** What it is now; null when it is not held. */
  status: 'waiting' | 'leased' | 'done' | 'dead' | null
  /** Of its group: all positions up to it are settled; null where none has a position. */
  watermark: number | null
}

/** What `cancel_work` takes. */
export interface CancelWorkParams {
  /** The queue. */
  queue: string
  /** Only this item. */
  work_id?: string | null
  /** Only the items of this group. */
  group?: string | null
  /** Only the items for this event subscription. */
  subscription_id?: string | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `cancel_work` answers. */
export interface CancelWorkResult {
  /** Items that were waiting or leased. */
  cancelled: number
}

/** What `list_work` takes. */
export interface ListWorkParams {
  /** Only items of this queue; required with group and subscription_id. */
  queue?: string | null
  /** Only the items of this group. */
  group?: string | null
  /** Only the items for this event subscription. */
  subscription_id?: string | null
  /** Only items of this status. */
  status?: 'waiting' | 'leased' | 'done' | 'dead' | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Entries on a page; 50 when absent. */
  limit?: number | null
}

/** What `list_work` answers. */
export interface ListWorkResult {
  work: Work[]
  next_cursor: string | null
}

/** What `revive_work` takes. */
export interface ReviveWorkParams {
  /** The queue. */
  queue: string
  /** Only this item. */
  work_id?: string | null
  /** Only the items of this group. */
  group?: string | null
  /** Only the items for this event subscription. */
  subscription_id?: string | null
  /** Items at most; 1,000 when absent. */
  limit?: number | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `revive_work` answers. */
export interface ReviveWorkResult {
  revived: number
  has_more: boolean
}

/** What `subscribe_work` takes. */
export interface SubscribeWorkParams {
  /** The queue. */
  queue: string
  /** Leases that one group may have at the same time; 1 when absent. */
  per_group?: number | null
  /** Milliseconds between two signs of life; none when absent. */
  heartbeat?: number | null
  /** Tells first what it follows, whose that is and what time it is; false when absent. */
  init?: boolean | null
}

/** What `subscribe_work` answers. */
export interface SubscribeWorkResult {
  subscription_id: string
  /** As claim_work has it. */
  next_due: number | null
  /** Unix milliseconds */
  timestamp: number
}

/** What `put_event_subscription` takes. */
export interface PutEventSubscriptionParams {
  /** The subscription. */
  subscription_id: string
  /** What is subscribed to. */
  topic: string
  /** Where and how to tell; kept as it is. The one that is there when absent. */
  data?: unknown
  /** What deliveries are signed with. The one that is there when absent. */
  secret?: string | null
  /** Milliseconds for which the secret that it replaces stays known; 300,000. */
  secret_grace?: number | null
  /** The position behind which it begins; counts only when it is made. */
  start_after?: number | null
  /** Milliseconds until it lapses; 0: it never does. What is there stays when absent; a new one never lapses. */
  ttl?: number | null
  /** Whether its work is claimed; true when absent. */
  active?: boolean | null
  /** The queue in which its end is told: ended, or a name that ends with /ended. The one that is there when absent. */
  ended_queue?: string | null
  /** Only when this is still the revision; else concurrent_modification. */
  if_revision?: number | null
  /** Binds to this tenant. */
  tenant_id?: string | null
  /** Binds to this principal. */
  principal?: string | null
}

/** What `put_event_subscription` answers. */
export interface PutEventSubscriptionResult {
  created: boolean
  subscription: EventSubscription
}

/** What `get_event_subscription` takes. */
export interface GetEventSubscriptionParams {
  /** The subscription. */
  subscription_id: string
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `delete_event_subscription` takes. */
export interface DeleteEventSubscriptionParams {
  /** The subscription. */
  subscription_id: string
  /** What the one is told who announces it; deleted when absent. */
  reason?: string | null
  /** Whether an item in its `ended_queue` tells of it; true when absent. */
  announce?: boolean | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `delete_event_subscription` answers. */
export interface DeleteEventSubscriptionResult {
  deleted: boolean
  /** Items of its work that were waiting or leased. */
  cancelled: number
}

/** What `list_event_subscriptions` takes. */
export interface ListEventSubscriptionsParams {
  /** Only those to this topic. */
  topic?: string | null
  /** Only those that are active, or are not. */
  active?: boolean | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Entries on a page; 50 when absent. */
  limit?: number | null
}

/** What `list_event_subscriptions` answers. */
export interface ListEventSubscriptionsResult {
  subscriptions: EventSubscription[]
  next_cursor: string | null
}

/** What `append_log_entry` takes. */
export interface AppendLogEntryParams {
  /** The session. */
  session_id: string
  /**
   * Any object, kept as it is; message_id, kind (incoming, internal, checkpoint), received_at and sender are read of
   * it.
   */
  entry: object
  /** Whether a known message_id is noticed; true when absent. */
  deduplicate?: boolean | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `append_log_entry` answers. */
export interface AppendLogEntryResult {
  /** Where it stands; of a duplicate, where it first was, 0 if its id was only noted. */
  seq: number
  /** Whether the message was known, and nothing was appended. */
  duplicate: boolean
}

/** What `load_log` takes. */
export interface LoadLogParams {
  /** The session. */
  session_id: string
  /** next_after of the page before; 0, the beginning, when absent. */
  after_seq?: number | null
  /** Only entries of this kind. */
  kind?: 'incoming' | 'internal' | 'checkpoint' | null
  /** Begins with the newest checkpoint, if there is one; false when absent. */
  from_last_checkpoint?: boolean | null
  /** Entries at most; 1,000 when absent. */
  limit?: number | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent. */
  include_ended?: boolean | null
}

/** What `load_log` answers. */
export interface LoadLogResult {
  entries: {
    seq: number
    entry: Record<string, unknown>
  }[]
  /** The cursor of the next page; pass it back as it is. */
  next_after: number
  /** The last that was given out; 0: none yet. */
  newest_seq: number
  /** The first that is still there; null when nothing is. */
  oldest_seq: number | null
  has_more: boolean
}

/** What `replace_log` takes. */
export interface ReplaceLogParams {
  /** The session. */
  session_id: string
  /** The entries in order, as in append_log_entry. */
  entries: object[]
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `replace_log` answers. */
export interface ReplaceLogResult {
  /** null when there are no entries. */
  first_seq: number | null
  last_seq: number | null
}

/** What `compact_log` takes. */
export interface CompactLogParams {
  /** The session. */
  session_id: string
  /** The entry that stands for all before it; its kind is checkpoint. */
  checkpoint: object
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `compact_log` answers. */
export interface CompactLogResult {
  /** Entries that are gone. */
  removed: number
  /** Where the checkpoint stands. */
  seq: number
}

/** What `log_participants` takes. */
export interface LogParticipantsParams {
  /** The session. */
  session_id: string
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Entries on a page; 50 when absent. */
  limit?: number | null
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
  /** Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent. */
  include_ended?: boolean | null
}

/** What `log_participants` answers. */
export interface LogParticipantsResult {
  participants: {
    /** null: all beyond 1000 senders, counted together. */
    sender: string | null
    /** Appended since the log began, compacted ones included. */
    entries: number
    /** Unix milliseconds */
    first_seen: number
    /** Unix milliseconds */
    last_seen: number
    /** Where the last entry was appended. */
    last_seq: number
  }[]
  next_cursor: string | null
}

/** What `note_log_message_ids` takes. */
export interface NoteLogMessageIdsParams {
  /** The session. */
  session_id: string
  /** The ids, the oldest first. */
  message_ids: string[]
  /** The tenant on whose behalf the call is made. What is bound to another is answered like what is missing. */
  tenant_id?: string | null
  /** The principal on whose behalf the call is made; null is the anonymous caller, who sees only what is unbound. */
  principal?: string | null
}

/** What `note_log_message_ids` answers. */
export interface NoteLogMessageIdsResult {
  /** How many were not known. */
  noted: number
  /** How many were, and stay as they are. */
  known: number
}

/** What `record_security_event` takes. */
export interface RecordSecurityEventParams {
  /** The session that it is about; it need not exist. */
  session_id?: string | null
  /** The user that it is about; the session's when absent. */
  user_id?: string | null
  /** What happened. */
  type: 'session_auth' | 'unauthorized_access' | 'rate_limit_exceeded' | 'invalid_input' | 'session_hijacking'
  /** How bad it is. */
  severity: 'low' | 'medium' | 'high' | 'critical'
  /** More, for people. */
  message?: string | null
  /** From where. */
  ip_address?: string | null
}

/** What `record_security_event` answers. */
export interface RecordSecurityEventResult {
  event_id: number
  /** Of the session, this one included; 0 without a session. */
  violations: number
  /** logged only, counted as a violation, or the session was invalidated over it. */
  action: 'logged' | 'counted' | 'invalidated'
}

/** What `list_audit_events` takes. */
export interface ListAuditEventsParams {
  /** Only about this session, whether it still exists or not. */
  session_id?: string | null
  /** Only about this user. */
  user_id?: string | null
  /** Only these. */
  type?:
    | 'created'
    | 'activated'
    | 'suspended'
    | 'resumed'
    | 'expired'
    | 'invalidated'
    | 'deleted'
    | 'resolved'
    | 'session_auth'
    | 'unauthorized_access'
    | 'rate_limit_exceeded'
    | 'invalid_input'
    | 'session_hijacking'
    | 'legal_hold_placed'
    | 'legal_hold_lifted'
    | 'retention_set'
    | null
  /** Only security events at least so bad. */
  min_severity?: 'low' | 'medium' | 'high' | 'critical' | null
  /** Unix milliseconds: only from then on. */
  since?: number | null
  /** Only from this address. */
  ip_address?: string | null
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Entries on a page; 50 when absent. */
  limit?: number | null
}

/** What `list_audit_events` answers. */
export interface ListAuditEventsResult {
  events: AuditEvent[]
  next_cursor: string | null
}

/** What `audit_counts` takes. */
export interface AuditCountsParams {
  /** What is counted by; what names none is not. */
  by: 'user_id' | 'ip_address' | 'session_id' | 'type' | 'tenant_id' | 'principal'
  /** Only about this session, whether it still exists or not. */
  session_id?: string | null
  /** Only about this user. */
  user_id?: string | null
  /** Only these. */
  type?:
    | 'created'
    | 'activated'
    | 'suspended'
    | 'resumed'
    | 'expired'
    | 'invalidated'
    | 'deleted'
    | 'resolved'
    | 'session_auth'
    | 'unauthorized_access'
    | 'rate_limit_exceeded'
    | 'invalid_input'
    | 'session_hijacking'
    | 'legal_hold_placed'
    | 'legal_hold_lifted'
    | 'retention_set'
    | null
  /** Only security events at least so bad. */
  min_severity?: 'low' | 'medium' | 'high' | 'critical' | null
  /** Unix milliseconds: only from then on. */
  since?: number | null
  /** Only from this address. */
  ip_address?: string | null
  /** Entries at most; 50 when absent. */
  limit?: number | null
}

/** What `audit_counts` answers. */
export interface AuditCountsResult {
  counts: {
    value: string
    events: number
    /** Unix milliseconds */
    first_at: number
    /** Unix milliseconds */
    last_at: number
  }[]
  has_more: boolean
}

/** What `get_audit_head` answers. */
export interface GetAuditHeadResult {
  /** The last event_id, and the hashes of the last lifecycle change and security event; null on a server. */
  head: string | null
}

/** What `check_rate_limit` takes. */
export interface CheckRateLimitParams {
  /** What is limited: a user, an address, a method of one of them. */
  key: string
  /** Requests in a window. */
  limit: number
  /** Milliseconds. */
  window: number
  /** Where they come from: with --count-denied-rates a denial is a violation of it. */
  session_id?: string | null
}

/** What `check_rate_limit` answers. */
export interface CheckRateLimitResult {
  allowed: boolean
  /** How many more would be allowed right now. */
  remaining: number
  /** Milliseconds until the next one is allowed; 0 for one that is. */
  retry_after: number
}

/** What `validate_input` takes. */
export interface ValidateInputParams {
  /** The text. */
  text: string
  /** Who sent it, for the record: with --count-refused-input a violation. */
  session_id?: string | null
  /** Bytes of UTF-8 that it may have; 10,000 when absent. */
  max_bytes?: number | null
  /** What is looked for besides; script alone when absent. */
  patterns?: ('script' | 'sql')[] | null
}

/** What `validate_input` answers. */
export interface ValidateInputResult {
  valid: boolean
  reason: 'too_large' | 'control_character' | 'script' | 'sql' | null
}

/** What `export_user_data` takes. */
export interface ExportUserDataParams {
  /** Sessions of this user, and audit events about it. */
  user_id?: string | null
  /** What is bound to exactly this principal. */
  principal?: string | null
  /** What is bound to exactly this tenant. */
  tenant_id?: string | null
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Records on a page; 50 when absent. */
  limit?: number | null
}

/** What `export_user_data` answers. */
export interface ExportUserDataResult {
  records: Record<string, unknown>[]
  next_cursor: string | null
}

/** What `delete_user_data` takes. */
export interface DeleteUserDataParams {
  /** Sessions of this user, and audit events about it. */
  user_id?: string | null
  /** What is bound to exactly this principal. */
  principal?: string | null
  /** What is bound to exactly this tenant. */
  tenant_id?: string | null
}

/** What `delete_user_data` answers. */
export interface DeleteUserDataResult {
  sessions: number
  events: number
  log_entries: number
  tasks: number
  values: number
  event_subscriptions: number
  work: number
  nonces: number
  audit_events: number
}

/** What `set_retention` takes. */
export interface SetRetentionParams {
  /** The tenant. */
  tenant_id: string
  /** Milliseconds for which its sessions are kept when they have ended: only with --retain-ended. */
  retain_ended?: number | null
  /** Events that each of its sessions holds; 0: any number. */
  max_events_per_session?: number | null
  /** Milliseconds that each of its tasks lives at most. */
  max_task_ttl?: number | null
  /** Entries that the log of each of its sessions holds; 0: any number. */
  max_log_entries_per_session?: number | null
  /** Milliseconds after which its events in the audit trail are erased; 0: never for their age. */
  audit_retention?: number | null
}

/** What `set_retention` answers. */
export interface SetRetentionResult {
  tenant_id: string
  /** Milliseconds. */
  retain_ended: number | null
  max_events_per_session: number | null
  /** Milliseconds. */
  max_task_ttl: number | null
  max_log_entries_per_session: number | null
  /** Milliseconds. */
  audit_retention: number | null
}

/** What `get_retention` takes. */
export interface GetRetentionParams {
  /** The tenant. */
  tenant_id: string
}

/** What `get_retention` answers. */
export interface GetRetentionResult {
  tenant_id: string
  /** Milliseconds. */
  retain_ended: number | null
  max_events_per_session: number | null
  /** Milliseconds. */
  max_task_ttl: number | null
  max_log_entries_per_session: number | null
  /** Milliseconds. */
  audit_retention: number | null
  /** With what the options say where nothing was said. */
  effective: {
    /** Milliseconds. */
    retain_ended: number | null
    max_events_per_session: number | null
    /** Milliseconds. */
    max_task_ttl: number | null
    max_log_entries_per_session: number | null
    /** Milliseconds. */
    audit_retention: number | null
  }
}

/** What `list_retention` takes. */
export interface ListRetentionParams {
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Entries on a page; 50 when absent. */
  limit?: number | null
}

/** What `list_retention` answers. */
export interface ListRetentionResult {
  tenants: {
    tenant_id: string
    /** Milliseconds. */
    retain_ended: number | null
    max_events_per_session: number | null
    /** Milliseconds. */
    max_task_ttl: number | null
    max_log_entries_per_session: number | null
    /** Milliseconds. */
    audit_retention: number | null
  }[]
  next_cursor: string | null
}

/** What `place_legal_hold` takes. */
export interface PlaceLegalHoldParams {
  /** The hold's name. */
  name: string
  /** What is bound to exactly this tenant stays. */
  tenant_id?: string | null
  /** What is bound to exactly this principal; with a tenant_id, to both. */
  principal?: string | null
  /** Why, for the record. */
  reason?: string | null
}

/** What `place_legal_hold` answers. */
export interface PlaceLegalHoldResult {
  /** False when it was there; nothing is changed then. */
  placed: boolean
  /** Unix milliseconds */
  placed_at: number
}

/** What `lift_legal_hold` takes. */
export interface LiftLegalHoldParams {
  /** The hold's name. */
  name: string
}

/** What `lift_legal_hold` answers. */
export interface LiftLegalHoldResult {
  /** False when there was none. */
  lifted: boolean
}

/** What `list_legal_holds` takes. */
export interface ListLegalHoldsParams {
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Entries on a page; 50 when absent. */
  limit?: number | null
}

/** What `list_legal_holds` answers. */
export interface ListLegalHoldsResult {
  holds: {
    name: string
    tenant_id: string | null
    principal: string | null
    reason: string | null
    /** Unix milliseconds */
    placed_at: number
  }[]
  next_cursor: string | null
}

/** What `list_payloads` takes. */
export interface ListPayloadsParams {
  /** `next_cursor` of the page before. */
  cursor?: string | null
  /** Entries on a page; 50 when absent. */
  limit?: number | null
}

/** What `list_payloads` answers. */
export interface ListPayloadsResult {
  payloads: {
    /** Which one it is, for replace_payloads. */
    ref: string
    /** What it is of which record: event.data, task.result, … */
    place: string
    session_id: string | null
    task_id: string | null
    stream_id: string | null
    event_type: string | null
    tenant_id: string | null
    principal: string | null
    collection: string | null
    key: string | null
    /** The payload byte for byte: JSON, but of a status_message what it says. */
    text: string
  }[]
  next_cursor: string | null
}

/** What `replace_payloads` takes. */
export interface ReplacePayloadsParams {
  /** All of them or none; see `missed`. */
  changes: {
    ref: string
    text: string
    replacement: string
  }[]
}

/** What `replace_payloads` answers. */
export interface ReplacePayloadsResult {
  replaced: number
  /** The refs of those that were changed or deleted meanwhile. */
  missed: string[]
}

/** What `initialize` takes. */
export interface InitializeParams {
  /** Who calls. */
  client?: {
    name?: string | null
    version?: string | null
  } | null
  /** The newest version of this contract that the client knows. */
  protocol_version?: string | null
  /** Capabilities and methods that the client needs. */
  require?: string[] | null
}

/** What `health` answers. */
export interface HealthResult {
  status: 'healthy' | 'degraded'
  /** Rows, also of sessions that wait for a sweep. */
  session_count: number
  /** Resident bytes. */
  memory_usage: number
  database_bytes: number
  wal_bytes: number
  free_disk_bytes: number | null
  /** Unix milliseconds */
  timestamp: number
  reasons: string[]
}

/** What `get_metrics` takes. */
export interface GetMetricsParams {
  /** json when absent. */
  format?: 'json' | 'prometheus' | null
}

/** What `maintenance` answers. */
export interface MaintenanceResult {
  expired_sessions: number
  expired_tasks: number
  trimmed_events: number
  checkpointed_pages: number
  freed_pages: number
  /** Milliseconds. */
  elapsed_ms: number
  /** Whether calling it again would sweep more. */
  has_more: boolean
}

/** What `backup` takes. */
export interface BackupParams {
  /** Where there is no file yet; relative to the sidecar's working directory. */
  path: string
}

/** What `backup` answers. */
export interface BackupResult {
  pages: number
  bytes: number
  /** Milliseconds. */
  elapsed_ms: number
}

/** What `check_integrity` takes. */
export interface CheckIntegrityParams {
  /** Of the audit trail, noted earlier: whether it still goes on from there. */
  expected_head?: string | null
}

/** What `check_integrity` answers. */
export interface CheckIntegrityResult {
  ok: boolean
  /** For people, one sentence each; at most 100. */
  problems: string[]
  /** What became of the audit trail; null where the file is damaged, and on a server. */
  audit: {
    head: string
    chains: {
      ring: 'lifecycle' | 'security'
      /** The number up to which events are evicted or older than the chain. */
      begins_after: number
      /** Those that are as they were written, up to the first break. */
      events: number
      /** Of these, those that were deleted with somebody's data. */
      erased: number
      /** Those that were there before the chain. */
      older: number
      /** The first event that is not what was written, or before which one is missing. */
      first_break: number | null
      /** extended: the ring goes on from there; evicted: nobody can tell any more; null: none was given. */
      expected_head: 'extended' | 'evicted' | 'broken' | null
    }[]
  } | null
}

/** What `archive` takes. */
export interface ArchiveParams {
  /** Made when missing, else appended to; relative to the sidecar's directory. */
  path: string
  /** Unix milliseconds: those whose ended_at is strictly below. */
  ended_before: number
}

/** What `archive` answers. */
export interface ArchiveResult {
  sessions: number
  /** Of the file. */
  bytes: number
  /** Milliseconds. */
  elapsed_ms: number
}

/** What `transaction` takes. */
export interface TransactionParams {
  /** The calls in their order. */
  calls: TransactionCall[]
}

/** What `transaction` answers. */
export interface TransactionResult {
  results: unknown[]
}

/** Parameters and result of each method, by its name on the wire. */
export interface Contract {
  create_session: { params: CreateSessionParams; result: Session }
  get_session: { params: GetSessionParams; result: Session | null }
  update_session: { params: UpdateSessionParams; result: Session }
  touch_session: { params: TouchSessionParams; result: Session }
  delete_session: { params: DeleteSessionParams; result: DeleteSessionResult }
  list_sessions: { params: ListSessionsParams; result: ListSessionsResult }
  list_session_ids: { params: ListSessionIdsParams; result: ListSessionIdsResult }
  session_count: { params: SessionCountParams; result: SessionCountResult }
  validate_session: { params: ValidateSessionParams; result: ValidateSessionResult }
  expire_sessions: { params: ExpireSessionsParams; result: ExpireSessionsResult }
  activate_session: { params: ActivateSessionParams; result: Session }
  suspend_session: { params: SuspendSessionParams; result: Session }
  resume_session: { params: ResumeSessionParams; result: Session }
  expire_session: { params: ExpireSessionParams; result: Session }
  invalidate_session: { params: InvalidateSessionParams; result: Session }
  resolve_session: { params: ResolveSessionParams; result: Session }
  set_session_state: { params: SetSessionStateParams; result: SetSessionStateResult }
  get_session_state: { params: GetSessionStateParams; result: GetSessionStateResult }
  remove_session_state: { params: RemoveSessionStateParams; result: RemoveSessionStateResult }
  list_session_state_keys: { params: ListSessionStateKeysParams; result: ListSessionStateKeysResult }
  store_event: { params: StoreEventParams; result: StoreEventResult }
  store_events: { params: StoreEventsParams; result: StoreEventsResult }
  get_events_after: { params: GetEventsAfterParams; result: EventPage }
  get_recent_events: { params: GetRecentEventsParams; result: EventPage }
  delete_events_before: { params: DeleteEventsBeforeParams; result: DeleteEventsBeforeResult }
  event_count: { params: EventCountParams; result: EventCountResult }
  broadcast_event: { params: BroadcastEventParams; result: BroadcastEventResult }
  subscribe_events: { params: SubscribeEventsParams; result: SubscribeEventsResult }
  unsubscribe: { params: UnsubscribeParams; result: UnsubscribeResult }
  create_task: { params: CreateTaskParams; result: Task }
  get_task: { params: GetTaskParams; result: Task | null }
  update_task: { params: UpdateTaskParams; result: Task }
  touch_task: { params: TouchTaskParams; result: Task }
  delete_task: { params: DeleteTaskParams; result: DeleteTaskResult }
  list_tasks: { params: ListTasksParams; result: ListTasksResult }
  list_tasks_for_session: { params: ListTasksForSessionParams; result: ListTasksForSessionResult }
  update_task_status: { params: UpdateTaskStatusParams; result: Task }
  store_task_result: { params: StoreTaskResultParams; result: Task }
  get_task_result: { params: GetTaskResultParams; result: GetTaskResultResult }
  complete_task: { params: CompleteTaskParams; result: Task }
  fail_task: { params: FailTaskParams; result: Task }
  cancel_task: { params: CancelTaskParams; result: Task }
  require_task_input: { params: RequireTaskInputParams; result: Task }
  provide_task_input: { params: ProvideTaskInputParams; result: Task }
  enqueue_task_message: { params: EnqueueTaskMessageParams; result: EnqueueTaskMessageResult }
  dequeue_task_message: { params: DequeueTaskMessageParams; result: DequeueTaskMessageResult }
  dequeue_all_task_messages: { params: DequeueAllTaskMessagesParams; result: DequeueAllTaskMessagesResult }
  peek_task_messages: { params: PeekTaskMessagesParams; result: PeekTaskMessagesResult }
  expire_tasks: { params: ExpireTasksParams; result: ExpireTasksResult }
  recover_stuck_tasks: { params: RecoverStuckTasksParams; result: RecoverStuckTasksResult }
  task_count: { params: TaskCountParams; result: TaskCountResult }
  subscribe_tasks: { params: SubscribeTasksParams; result: SubscribeTasksResult }
  consume_nonce: { params: ConsumeNonceParams; result: ConsumeNonceResult }
  put_value: { params: PutValueParams; result: PutValueResult }
  get_value: { params: GetValueParams; result: GetValueResult }
  delete_value: { params: DeleteValueParams; result: DeleteValueResult }
  list_values: { params: ListValuesParams; result: ListValuesResult }
  enqueue_work: { params: EnqueueWorkParams; result: EnqueueWorkResult }
  claim_work: { params: ClaimWorkParams; result: ClaimWorkResult }
  renew_work: { params: RenewWorkParams; result: RenewWorkResult }
  settle_work: { params: SettleWorkParams; result: SettleWorkResult }
  cancel_work: { params: CancelWorkParams; result: CancelWorkResult }
  list_work: { params: ListWorkParams; result: ListWorkResult }
  revive_work: { params: ReviveWorkParams; result: ReviveWorkResult }
  subscribe_work: { params: SubscribeWorkParams; result: SubscribeWorkResult }
  put_event_subscription: { params: PutEventSubscriptionParams; result: PutEventSubscriptionResult }
  get_event_subscription: { params: GetEventSubscriptionParams; result: EventSubscription | null }
  delete_event_subscription: { params: DeleteEventSubscriptionParams; result: DeleteEventSubscriptionResult }
  list_event_subscriptions: { params: ListEventSubscriptionsParams; result: ListEventSubscriptionsResult }
  append_log_entry: { params: AppendLogEntryParams; result: AppendLogEntryResult }
  load_log: { params: LoadLogParams; result: LoadLogResult }
  replace_log: { params: ReplaceLogParams; result: ReplaceLogResult }
  compact_log: { params: CompactLogParams; result: CompactLogResult }
  log_participants: { params: LogParticipantsParams; result: LogParticipantsResult }
  note_log_message_ids: { params: NoteLogMessageIdsParams; result: NoteLogMessageIdsResult }
  record_security_event: { params: RecordSecurityEventParams; result: RecordSecurityEventResult }
  list_audit_events: { params: ListAuditEventsParams; result: ListAuditEventsResult }
  audit_counts: { params: AuditCountsParams; result: AuditCountsResult }
  get_audit_head: { params: Record<string, never>; result: GetAuditHeadResult }
  check_rate_limit: { params: CheckRateLimitParams; result: CheckRateLimitResult }
  validate_input: { params: ValidateInputParams; result: ValidateInputResult }
  export_user_data: { params: ExportUserDataParams; result: ExportUserDataResult }
  delete_user_data: { params: DeleteUserDataParams; result: DeleteUserDataResult }
  set_retention: { params: SetRetentionParams; result: SetRetentionResult }
  get_retention: { params: GetRetentionParams; result: GetRetentionResult }
  list_retention: { params: ListRetentionParams; result: ListRetentionResult }
  place_legal_hold: { params: PlaceLegalHoldParams; result: PlaceLegalHoldResult }
  lift_legal_hold: { params: LiftLegalHoldParams; result: LiftLegalHoldResult }
  list_legal_holds: { params: ListLegalHoldsParams; result: ListLegalHoldsResult }
  list_payloads: { params: ListPayloadsParams; result: ListPayloadsResult }
  replace_payloads: { params: ReplacePayloadsParams; result: ReplacePayloadsResult }
  initialize: { params: InitializeParams; result: ServerInfo }
  server_info: { params: Record<string, never>; result: ServerInfo }
  health: { params: Record<string, never>; result: HealthResult }
  get_metrics: { params: GetMetricsParams; result: Metrics }
  maintenance: { params: Record<string, never>; result: MaintenanceResult }
  backup: { params: BackupParams; result: BackupResult }
  check_integrity: { params: CheckIntegrityParams; result: CheckIntegrityResult }
  archive: { params: ArchiveParams; result: ArchiveResult }
  transaction: { params: TransactionParams; result: TransactionResult }
  'rpc.discover': { params: Record<string, never>; result: Record<string, unknown> }
  shutdown: { params: Record<string, never>; result: Record<string, unknown> }
}

/** The methods that may stand in a transaction. */
export type TransactionMethod =
  | 'create_session'
  | 'get_session'
  | 'update_session'
  | 'touch_session'
  | 'delete_session'
  | 'list_sessions'
  | 'list_session_ids'
  | 'session_count'
  | 'validate_session'
  | 'expire_sessions'
  | 'activate_session'
  | 'suspend_session'
  | 'resume_session'
  | 'expire_session'
  | 'invalidate_session'
  | 'resolve_session'
  | 'set_session_state'
  | 'get_session_state'
  | 'remove_session_state'
  | 'list_session_state_keys'
  | 'store_event'
  | 'store_events'
  | 'get_events_after'
  | 'get_recent_events'
  | 'delete_events_before'
  | 'event_count'
  | 'broadcast_event'
  | 'create_task'
  | 'get_task'
  | 'update_task'
  | 'touch_task'
  | 'delete_task'
  | 'list_tasks'
  | 'list_tasks_for_session'
  | 'update_task_status'
  | 'store_task_result'
  | 'get_task_result'
  | 'complete_task'
  | 'fail_task'
  | 'cancel_task'
  | 'require_task_input'
  | 'provide_task_input'
  | 'enqueue_task_message'
  | 'dequeue_task_message'
  | 'dequeue_all_task_messages'
  | 'peek_task_messages'
  | 'expire_tasks'
  | 'recover_stuck_tasks'
  | 'task_count'
  | 'consume_nonce'
  | 'put_value'
  | 'get_value'
  | 'delete_value'
  | 'list_values'
  | 'enqueue_work'
  | 'claim_work'
  | 'renew_work'
  | 'settle_work'
  | 'cancel_work'
  | 'list_work'
  | 'revive_work'
  | 'put_event_subscription'
  | 'get_event_subscription'
  | 'delete_event_subscription'
  | 'list_event_subscriptions'
  | 'append_log_entry'
  | 'load_log'
  | 'replace_log'
  | 'compact_log'
  | 'log_participants'
  | 'note_log_message_ids'
  | 'record_security_event'
  | 'list_audit_events'
  | 'audit_counts'
  | 'get_audit_head'
  | 'check_rate_limit'
  | 'validate_input'
  | 'export_user_data'
  | 'delete_user_data'
  | 'set_retention'
  | 'get_retention'
  | 'list_retention'
  | 'place_legal_hold'
  | 'lift_legal_hold'
  | 'list_legal_holds'
  | 'list_payloads'
  | 'replace_payloads'

/** A call in a transaction; with `require` its negative outcome takes everything back. */
export type TransactionCall = {
  [M in TransactionMethod]: { method: M; params?: Contract[M]['params']; require?: boolean }
}[TransactionMethod]

export declare const REPEATABLE: ReadonlySet<string>

/** The methods of the contract; names are in camel case, parameters and results as on the wire. */
export declare abstract class Methods {
  /** Makes a session. */
  createSession(params?: CreateSessionParams, options?: CallOptions): Promise<Session>
  /** The session, or null when it is unknown, over or another owner's. */
  getSession(params: GetSessionParams, options?: CallOptions): Promise<Session | null>
  /** Replaces the given fields; absent ones stay. What get_session gave can be sent back as it is. */
  updateSession(params: UpdateSessionParams, options?: CallOptions): Promise<Session>
  /** Slides the inactivity deadline. */
  touchSession(params: TouchSessionParams, options?: CallOptions): Promise<Session>
  /** Deletes a session in any status, with its state, events and log. */
  deleteSession(params: DeleteSessionParams, options?: CallOptions): Promise<DeleteSessionResult>
  /** Sessions in the order of creation. */
  listSessions(params?: ListSessionsParams, options?: CallOptions): Promise<ListSessionsResult>
  /** Ids of sessions in the order of creation. */
  listSessionIds(params?: ListSessionIdsParams, options?: CallOptions): Promise<ListSessionIdsResult>
  /** How many sessions a list with these filters has. */
  sessionCount(params?: SessionCountParams, options?: CallOptions): Promise<SessionCountResult>
  /** Whether a session may be used now, and from there; other than the first address and agent are recorded. */
  validateSession(params: ValidateSessionParams, options?: CallOptions): Promise<ValidateSessionResult>
  /** Removes sessions that were last active before a time, or without one those past their own deadline. */
  expireSessions(params?: ExpireSessionsParams, options?: CallOptions): Promise<ExpireSessionsResult>
  /** Makes a pending or suspended session active; on an active one it changes nothing. */
  activateSession(params: ActivateSessionParams, options?: CallOptions): Promise<Session>
  /** Stops an active session and both of its clocks. */
  suspendSession(params: SuspendSessionParams, options?: CallOptions): Promise<Session>
  /** Makes a suspended session active again and moves its deadline by the time it was suspended. */
  resumeSession(params: ResumeSessionParams, options?: CallOptions): Promise<Session>
  /** Ends a session as though its deadline had passed. */
  expireSession(params: ExpireSessionParams, options?: CallOptions): Promise<Session>
  /** Ends a session for good; it can be looked at until its deadline. */
  invalidateSession(params: InvalidateSessionParams, options?: CallOptions): Promise<Session>
  /** Ends a session whose work is done. */
  resolveSession(params: ResolveSessionParams, options?: CallOptions): Promise<Session>
  /** Sets one key of a session's state. */
  setSessionState(params: SetSessionStateParams, options?: CallOptions): Promise<SetSessionStateResult>
  /** One key of a session's state; a stored null is not an absent key. */
  getSessionState(params: GetSessionStateParams, options?: CallOptions): Promise<GetSessionStateResult>
  /** Removes one key of a session's state. */
  removeSessionState(params: RemoveSessionStateParams, options?: CallOptions): Promise<RemoveSessionStateResult>
  /** The keys of a session's state in the order of their first setting. */
  listSessionStateKeys(params: ListSessionStateKeysParams, options?: CallOptions): Promise<ListSessionStateKeysResult>
  /** Appends one event to a session. */
  storeEvent(params: StoreEventParams, options?: CallOptions): Promise<StoreEventResult>
  /** Appends several events to a session, all or none. */
  storeEvents(params: StoreEventsParams, options?: CallOptions): Promise<StoreEventsResult>
  /** The events after a cursor, oldest first, and whether any were lost. */
  getEventsAfter(params: GetEventsAfterParams, options?: CallOptions): Promise<EventPage>
  /** The newest events, returned oldest first. */
  getRecentEvents(params: GetRecentEventsParams, options?: CallOptions): Promise<EventPage>
  /** Deletes the events with ids strictly below one. */
  deleteEventsBefore(params: DeleteEventsBeforeParams, options?: CallOptions): Promise<DeleteEventsBeforeResult>
  /** How many events a session holds, or without one the whole store. */
  eventCount(params?: EventCountParams, options?: CallOptions): Promise<EventCountResult>
  /** Appends one event to each session that matches, all or none; owners match exactly. */
  broadcastEvent(params: BroadcastEventParams, options?: CallOptions): Promise<BroadcastEventResult>
  /** Makes a task; one of a session takes the session's owners where it names none. */
  createTask(params?: CreateTaskParams, options?: CallOptions): Promise<Task>
  /** The task, or null when it is unknown, lapsed or another owner's. */
  getTask(params: GetTaskParams, options?: CallOptions): Promise<Task | null>
  /** Replaces the given fields, for migration and repair; absent ones stay. */
  updateTask(params: UpdateTaskParams, options?: CallOptions): Promise<Task>
  /** Progress and heartbeat without a transition. */
  touchTask(params: TouchTaskParams, options?: CallOptions): Promise<Task>
  /** Deletes a task and its queue. */
  deleteTask(params: DeleteTaskParams, options?: CallOptions): Promise<DeleteTaskResult>
  /** Tasks in the order of creation. */
  listTasks(params?: ListTasksParams, options?: CallOptions): Promise<ListTasksResult>
  /** The tasks of a session in the order of creation. */
  listTasksForSession(params: ListTasksForSessionParams, options?: CallOptions): Promise<ListTasksForSessionResult>
  /** Takes a task from one status to another. */
  updateTaskStatus(params: UpdateTaskStatusParams, options?: CallOptions): Promise<Task>
  /** Stores an outcome without changing the status; a terminal task keeps the one that it has. */
  storeTaskResult(params: StoreTaskResultParams, options?: CallOptions): Promise<Task>
  /** The outcome of a task; null when there is none yet. */
  getTaskResult(params: GetTaskResultParams, options?: CallOptions): Promise<GetTaskResultResult>
  /** Outcome and status in one step: the task has succeeded. */
  completeTask(params: CompleteTaskParams, options?: CallOptions): Promise<Task>
  /** Outcome and status in one step: the task has failed. */
  failTask(params: FailTaskParams, options?: CallOptions): Promise<Task>
  /** Cancels a task at once, or only says that somebody wants it. */
  cancelTask(params: CancelTaskParams, options?: CallOptions): Promise<Task>
  /** Asks for input, or for more of it; keys are never used twice. */
  requireTaskInput(params: RequireTaskInputParams, options?: CallOptions): Promise<Task>
  /** Gives answers; when all are in the task is working again. */
  provideTaskInput(params: ProvideTaskInputParams, options?: CallOptions): Promise<Task>
  /** Puts a message at the end of a task's queue. */
  enqueueTaskMessage(params: EnqueueTaskMessageParams, options?: CallOptions): Promise<EnqueueTaskMessageResult>
  /** Takes the message at the front of a task's queue. */
  dequeueTaskMessage(params: DequeueTaskMessageParams, options?: CallOptions): Promise<DequeueTaskMessageResult>
  /** Takes all messages of a task's queue, as many as one answer holds. */
  dequeueAllTaskMessages(
    params: DequeueAllTaskMessagesParams, options?: CallOptions,
  ): Promise<DequeueAllTaskMessagesResult>
  /** Looks at a task's queue and takes nothing out of it. */
  peekTaskMessages(params: PeekTaskMessagesParams, options?: CallOptions): Promise<PeekTaskMessagesResult>
  /** Removes tasks whose time is over, whatever their status. */
  expireTasks(params?: ExpireTasksParams, options?: CallOptions): Promise<ExpireTasksResult>
  /** Fails the tasks that are not terminal and were not touched for long: their server died over them. */
  recoverStuckTasks(params: RecoverStuckTasksParams, options?: CallOptions): Promise<RecoverStuckTasksResult>
  /** How many tasks a list with these filters has. */
  taskCount(params?: TaskCountParams, options?: CallOptions): Promise<TaskCountResult>
  /** Whether a single-use token is used for the first time. */
  consumeNonce(params: ConsumeNonceParams, options?: CallOptions): Promise<ConsumeNonceResult>
  /** Stores a value under a key of a collection. */
  putValue(params: PutValueParams, options?: CallOptions): Promise<PutValueResult>
  /** The value under a key; a stored null is not an absent one. */
  getValue(params: GetValueParams, options?: CallOptions): Promise<GetValueResult>
  /** Removes the value under a key. */
  deleteValue(params: DeleteValueParams, options?: CallOptions): Promise<DeleteValueResult>
  /** The values of one owner's collection in the order of creation. */
  listValues(params: ListValuesParams, options?: CallOptions): Promise<ListValuesResult>
  /** Puts an item of work into a queue, unless its id is there. */
  enqueueWork(params: EnqueueWorkParams, options?: CallOptions): Promise<EnqueueWorkResult>
  /** Leases what is ready of a queue to a worker. */
  claimWork(params: ClaimWorkParams, options?: CallOptions): Promise<ClaimWorkResult>
  /** Prolongs a lease. */
  renewWork(params: RenewWorkParams, options?: CallOptions): Promise<RenewWorkResult>
  /** Says what became of leased work. */
  settleWork(params: SettleWorkParams, options?: CallOptions): Promise<SettleWorkResult>
  /** Removes an item, or all of a group, whatever has become of it: its name begins anew. */
  cancelWork(params: CancelWorkParams, options?: CallOptions): Promise<CancelWorkResult>
  /** Items of work in the order of enqueueing. */
  listWork(params?: ListWorkParams, options?: CallOptions): Promise<ListWorkResult>
  /** Makes dead items wait again, with all their attempts. */
  reviveWork(params: ReviveWorkParams, options?: CallOptions): Promise<ReviveWorkResult>
  /** Makes a subscription of somebody to a topic, or grants it anew. */
  putEventSubscription(params: PutEventSubscriptionParams, options?: CallOptions): Promise<PutEventSubscriptionResult>
  /** A subscription with its secrets, or null when it is unknown, over or another owner's. */
  getEventSubscription(params: GetEventSubscriptionParams, options?: CallOptions): Promise<EventSubscription | null>
  /** Ends a subscription and cancels its work. */
  deleteEventSubscription(
    params: DeleteEventSubscriptionParams, options?: CallOptions,
  ): Promise<DeleteEventSubscriptionResult>
  /** Subscriptions in the order of creation, without secrets. */
  listEventSubscriptions(
    params?: ListEventSubscriptionsParams, options?: CallOptions,
  ): Promise<ListEventSubscriptionsResult>
  /** Appends one entry to a session's log, once for each message id. */
  appendLogEntry(params: AppendLogEntryParams, options?: CallOptions): Promise<AppendLogEntryResult>
  /** The entries of a session's log after a seq. */
  loadLog(params: LoadLogParams, options?: CallOptions): Promise<LoadLogResult>
  /** Puts entries in the place of the whole log; the numbering goes on. */
  replaceLog(params: ReplaceLogParams, options?: CallOptions): Promise<ReplaceLogResult>
  /** Puts one checkpoint in the place of the whole log; message ids stay known. */
  compactLog(params: CompactLogParams, options?: CallOptions): Promise<CompactLogResult>
  /** Who wrote to a session's log: how many entries, and when the last. */
  logParticipants(params: LogParticipantsParams, options?: CallOptions): Promise<LogParticipantsResult>
  /** Makes message ids known that were seen elsewhere: what has one of them is a duplicate from then on. */
  noteLogMessageIds(params: NoteLogMessageIdsParams, options?: CallOptions): Promise<NoteLogMessageIdsResult>
  /** Notes a security event; too many of at least medium severity, or a critical one, invalidate the session. */
  recordSecurityEvent(params: RecordSecurityEventParams, options?: CallOptions): Promise<RecordSecurityEventResult>
  /** Lifecycle changes and security events, oldest first; they outlive their sessions. */
  listAuditEvents(params?: ListAuditEventsParams, options?: CallOptions): Promise<ListAuditEventsResult>
  /** How many events of the audit trail name each user, address, session or type. */
  auditCounts(params: AuditCountsParams, options?: CallOptions): Promise<AuditCountsResult>
  /** Where the audit trail stands, to be noted elsewhere: check_integrity tells later whether it still does. */
  getAuditHead(options?: CallOptions): Promise<GetAuditHeadResult>
  /** Takes one request off a key's allowance: a burst of `limit`, then evenly that many in each window. */
  checkRateLimit(params: CheckRateLimitParams, options?: CallOptions): Promise<CheckRateLimitResult>
  /** Screens a text for size, control characters, scripts or SQL; what fails is recorded. */
  validateInput(params: ValidateInputParams, options?: CallOptions): Promise<ValidateInputResult>
  /** All that is stored about somebody: records as a dump has them, in pages. */
  exportUserData(params?: ExportUserDataParams, options?: CallOptions): Promise<ExportUserDataResult>
  /** Deletes all that is stored about somebody, in one transaction, and writes nothing about it. */
  deleteUserData(params?: DeleteUserDataParams, options?: CallOptions): Promise<DeleteUserDataResult>
  /** Says how a tenant's data is kept, all of it anew; what is absent or null is as the options say. */
  setRetention(params: SetRetentionParams, options?: CallOptions): Promise<SetRetentionResult>
  /** How a tenant's data is kept: what was said of it, and what that comes to. */
  getRetention(params: GetRetentionParams, options?: CallOptions): Promise<GetRetentionResult>
  /** The tenants that have a retention of their own. */
  listRetention(params?: ListRetentionParams, options?: CallOptions): Promise<ListRetentionResult>
  /** Keeps what is bound to a tenant or principal from being deleted. */
  placeLegalHold(params: PlaceLegalHoldParams, options?: CallOptions): Promise<PlaceLegalHoldResult>
  /** Lets what a hold kept go its way again. */
  liftLegalHold(params: LiftLegalHoldParams, options?: CallOptions): Promise<LiftLegalHoldResult>
  /** Holds in the order in which they were placed. */
  listLegalHolds(params?: ListLegalHoldsParams, options?: CallOptions): Promise<ListLegalHoldsResult>
  /** All payloads as they are stored, whosever they are, in pages. */
  listPayloads(params?: ListPayloadsParams, options?: CallOptions): Promise<ListPayloadsResult>
  /** Puts payloads in the place of those that were read, as another form of the same: nobody is told. */
  replacePayloads(params: ReplacePayloadsParams, options?: CallOptions): Promise<ReplacePayloadsResult>
  /** An optional handshake by capabilities; refused when something that is required is not there. */
  initialize(params?: InitializeParams, options?: CallOptions): Promise<ServerInfo>
  /** What this program is, what it can do and what its limits are. */
  serverInfo(options?: CallOptions): Promise<ServerInfo>
  /** Whether all is well, with the reasons when it is not. */
  health(options?: CallOptions): Promise<HealthResult>
  /** What is in the store, and what this process has done; it reads every row of sessions, tasks and values. */
  getMetrics(params?: GetMetricsParams, options?: CallOptions): Promise<Metrics>
  /** Sweeps what has expired, gives free pages back and runs a checkpoint, a bounded slice of each. */
  maintenance(options?: CallOptions): Promise<MaintenanceResult>
  /** Copies the database as it is at one moment to a new file, beside the requests; answered when done. */
  backup(params: BackupParams, options?: CallOptions): Promise<BackupResult>
  /** Looks for damage and tampering in the whole file, beside the requests; answered when done. */
  checkIntegrity(params?: CheckIntegrityParams, options?: CallOptions): Promise<CheckIntegrityResult>
  /** Moves sessions that have ended to a compressed file, beside the requests; answered when done. */
  archive(params: ArchiveParams, options?: CallOptions): Promise<ArchiveResult>
  /** Runs several calls, all or none. */
  transaction(params: TransactionParams, options?: CallOptions): Promise<TransactionResult>
  /** This contract as an OpenRPC document. */
  rpcDiscover(options?: CallOptions): Promise<Record<string, unknown>>
}
