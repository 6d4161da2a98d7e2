# Made by protocol/clients/generate from protocol/openrpc.json.
"""What the contract calls its things: records, results and errors."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from .errors import RequestError

if TYPE_CHECKING:
    from typing_extensions import NotRequired

#: Methods that may be sent again when nobody knows whether they were done.
REPEATABLE = frozenset({
    "audit_counts", "check_integrity", "event_count", "export_user_data", "get_audit_head", "get_event_subscription",
    "get_events_after", "get_metrics", "get_recent_events", "get_retention", "get_session", "get_session_state",
    "get_task", "get_task_result", "get_value", "health", "initialize", "list_audit_events", "list_event_subscriptions",
    "list_legal_holds", "list_payloads", "list_retention", "list_session_ids", "list_session_state_keys",
    "list_sessions", "list_tasks", "list_tasks_for_session", "list_values", "list_work", "load_log", "log_participants",
    "note_log_message_ids", "peek_task_messages", "renew_work", "replace_payloads", "rpc.discover", "server_info",
    "session_count", "settle_work", "task_count",
})

#: Parameters of each method for which None is a value: a payload, or the anonymous caller. For others it is
#: another word for leaving them out.
NULLS: dict[str, frozenset[str]] = {
    "create_session": frozenset({"tenant_id", "principal"}),
    "get_session": frozenset({"tenant_id", "principal"}),
    "update_session": frozenset({"tenant_id", "principal"}),
    "touch_session": frozenset({"tenant_id", "principal"}),
    "delete_session": frozenset({"tenant_id", "principal"}),
    "list_sessions": frozenset({"tenant_id", "principal"}),
    "list_session_ids": frozenset({"tenant_id", "principal"}),
    "session_count": frozenset({"tenant_id", "principal"}),
    "validate_session": frozenset({"tenant_id", "principal"}),
    "expire_sessions": frozenset(),
    "activate_session": frozenset({"tenant_id", "principal"}),
    "suspend_session": frozenset({"tenant_id", "principal"}),
    "resume_session": frozenset({"tenant_id", "principal"}),
    "expire_session": frozenset({"tenant_id", "principal"}),
    "invalidate_session": frozenset({"tenant_id", "principal"}),
    "resolve_session": frozenset({"tenant_id", "principal"}),
    "set_session_state": frozenset({"value", "tenant_id", "principal"}),
    "get_session_state": frozenset({"tenant_id", "principal"}),
    "remove_session_state": frozenset({"tenant_id", "principal"}),
    "list_session_state_keys": frozenset({"tenant_id", "principal"}),
    "store_event": frozenset({"data", "tenant_id", "principal"}),
    "store_events": frozenset({"tenant_id", "principal"}),
    "get_events_after": frozenset({"tenant_id", "principal"}),
    "get_recent_events": frozenset({"tenant_id", "principal"}),
    "delete_events_before": frozenset({"tenant_id", "principal"}),
    "event_count": frozenset({"tenant_id", "principal"}),
    "broadcast_event": frozenset({"data", "tenant_id", "principal"}),
    "subscribe_events": frozenset({"tenant_id", "principal"}),
    "unsubscribe": frozenset(),
    "create_task": frozenset({"tenant_id", "principal"}),
    "get_task": frozenset({"tenant_id", "principal"}),
    "update_task": frozenset({"tenant_id", "principal"}),
    "touch_task": frozenset({"tenant_id", "principal"}),
    "delete_task": frozenset({"tenant_id", "principal"}),
    "list_tasks": frozenset({"tenant_id", "principal"}),
    "list_tasks_for_session": frozenset({"tenant_id", "principal"}),
    "update_task_status": frozenset({"tenant_id", "principal"}),
    "store_task_result": frozenset({"tenant_id", "principal"}),
    "get_task_result": frozenset({"tenant_id", "principal"}),
    "complete_task": frozenset({"result", "tenant_id", "principal"}),
    "fail_task": frozenset({"tenant_id", "principal"}),
    "cancel_task": frozenset({"tenant_id", "principal"}),
    "require_task_input": frozenset({"tenant_id", "principal"}),
    "provide_task_input": frozenset({"tenant_id", "principal"}),
    "enqueue_task_message": frozenset({"message", "tenant_id", "principal"}),
    "dequeue_task_message": frozenset({"tenant_id", "principal"}),
    "dequeue_all_task_messages": frozenset({"tenant_id", "principal"}),
    "peek_task_messages": frozenset({"tenant_id", "principal"}),
    "expire_tasks": frozenset(),
    "recover_stuck_tasks": frozenset({"tenant_id", "principal"}),
    "task_count": frozenset({"tenant_id", "principal"}),
    "subscribe_tasks": frozenset({"tenant_id", "principal"}),
    "consume_nonce": frozenset({"principal"}),
    "put_value": frozenset({"value", "tenant_id", "principal"}),
    "get_value": frozenset({"tenant_id", "principal"}),
    "delete_value": frozenset({"tenant_id", "principal"}),
    "list_values": frozenset({"tenant_id", "principal"}),
    "enqueue_work": frozenset({"payload", "tenant_id", "principal"}),
    "claim_work": frozenset(),
    "renew_work": frozenset(),
    "settle_work": frozenset(),
    "cancel_work": frozenset({"tenant_id", "principal"}),
    "list_work": frozenset({"tenant_id", "principal"}),
    "revive_work": frozenset({"tenant_id", "principal"}),
    "subscribe_work": frozenset(),
    "put_event_subscription": frozenset({"tenant_id", "principal"}),
    "get_event_subscription": frozenset({"tenant_id", "principal"}),
    "delete_event_subscription": frozenset({"tenant_id", "principal"}),
    "list_event_subscriptions": frozenset({"tenant_id", "principal"}),
    "append_log_entry": frozenset({"tenant_id", "principal"}),
    "load_log": frozenset({"tenant_id", "principal"}),
    "replace_log": frozenset({"tenant_id", "principal"}),
    "compact_log": frozenset({"tenant_id", "principal"}),
    "log_participants": frozenset({"tenant_id", "principal"}),
    "note_log_message_ids": frozenset({"tenant_id", "principal"}),
    "record_security_event": frozenset(),
    "list_audit_events": frozenset(),
    "audit_counts": frozenset(),
    "get_audit_head": frozenset(),
    "check_rate_limit": frozenset(),
    "validate_input": frozenset(),
    "export_user_data": frozenset(),
    "delete_user_data": frozenset(),
    "set_retention": frozenset(),
    "get_retention": frozenset(),
    "list_retention": frozenset(),
    "place_legal_hold": frozenset(),
    "lift_legal_hold": frozenset(),
    "list_legal_holds": frozenset(),
    "list_payloads": frozenset(),
    "replace_payloads": frozenset(),
    "initialize": frozenset(),
    "server_info": frozenset(),
    "health": frozenset(),
    "get_metrics": frozenset(),
    "maintenance": frozenset(),
    "backup": frozenset(),
    "check_integrity": frozenset(),
    "archive": frozenset(),
    "transaction": frozenset(),
    "rpc.discover": frozenset(),
    "shutdown": frozenset(),
}


class Session(TypedDict):
    session_id: str
    status: SessionStatus
    user_id: str | None
    tenant_id: str | None
    principal: str | None
    client_capabilities: Any
    server_capabilities: Any
    state: NotRequired[dict[str, Any]]
    """Left out of lists unless include_state is true."""
    metadata: dict[str, Any]
    is_initialized: bool
    created_at: int
    """Unix milliseconds"""
    last_activity: int
    """Unix milliseconds"""
    expires_at: int | None
    inactivity_timeout: int | None
    suspended_at: int | None
    suspended_ms: int
    """Milliseconds of all suspensions that are over."""
    suspensions: int
    """How many those were."""
    ended_at: NotRequired[int | None]
    """Unix milliseconds; stands only with --retain-ended."""
    last_event_id: int
    revision: int
    omitted: NotRequired[list[str]]
    """What it is told without, because `omit` names it, or because an entry of a list would be too large by itself."""


SessionStatus = Literal[
    "pending", "active", "suspended", "expired", "invalidated", "resolved",
]


class Event(TypedDict):
    id: int
    stream_id: str | None
    timestamp: int
    """Unix milliseconds"""
    event_type: str
    data: Any
    retry: int | None


class EventPage(TypedDict):
    events: NotRequired[list[Event]]
    frames: NotRequired[str]
    """In place of events when a format was asked for."""
    next_after: int
    """The cursor of the next page; pass it back as it is."""
    newest_id: int
    has_more: bool
    gap: Gap | None
    cursor_ahead: bool


class Task(TypedDict):
    task_id: str
    session_id: str | None
    tenant_id: str | None
    principal: str | None
    status: TaskStatus
    status_message: str | None
    created_at: str
    """RFC 3339, UTC, milliseconds: 2026-11-20T21:27:00.123Z"""
    last_updated_at: str
    """RFC 3339, UTC, milliseconds: 2026-11-20T21:27:00.123Z"""
    ttl: int | None
    poll_interval: int | None
    original_method: str | None
    original_params: Any
    result: Outcome | None
    input_requests: dict[str, Any] | None
    input_responses: dict[str, Any] | None
    cancel_requested: bool
    meta: Any
    revision: int
    omitted: NotRequired[list[str]]
    """What it is told without, because `omit` names it, or because an entry of a list would be too large by itself."""


TaskStatus = Literal[
    "working", "input_required", "completed", "failed", "cancelled",
]


class EventSubscription(TypedDict):
    subscription_id: str
    tenant_id: str | None
    principal: str | None
    topic: str
    data: Any
    active: bool
    start_after: int | None
    watermark: int | None
    """All positions up to it are settled."""
    created_at: int
    """Unix milliseconds"""
    expires_at: int | None
    inactive_since: int | None
    last_success_at: int | None
    last_failure_at: int | None
    failed_since: int | None
    last_error: str | None
    window: EventSubscriptionWindow
    """Of the last 30 to 60 minutes."""
    ended_at: int | None
    end_reason: str | None
    ended_queue: str
    revision: int
    secret: NotRequired[str | None]
    previous_secret: NotRequired[str | None]
    previous_secret_until: NotRequired[int | None]
    omitted: NotRequired[list[str]]
    """What it is told without, because `omit` names it, or because an entry of a list would be too large by itself."""


class EventSubscriptionWindow(TypedDict):
    """Of the last 30 to 60 minutes."""

    since: int
    """Unix milliseconds"""
    attempts: int
    failures: int


class Work(TypedDict):
    queue: str
    work_id: str
    group: str | None
    subscription_id: str | None
    tenant_id: str | None
    principal: str | None
    status: WorkStatus
    payload: Any
    position: int | None
    attempt: int
    """Claims that count."""
    max_attempts: int | None
    fence: int | None
    """Of the last claim."""
    worker: str | None
    """Who claimed last."""
    lease_until: int | None
    """Unix milliseconds, while it is leased."""
    not_before: int | None
    """Unix milliseconds, while it waits for that time."""
    give_up_at: int | None
    error: str | None
    """Why it was not done last."""
    enqueued_at: int
    """Unix milliseconds"""
    finished_at: int | None
    subscription: NotRequired[EventSubscription | None]
    omitted: NotRequired[list[str]]
    """What it is told without, because `omit` names it, or because an entry of a list would be too large by itself."""


WorkStatus = Literal[
    "waiting", "leased", "done", "dead",
]


class Outcome(TypedDict):
    """One of the two members."""

    success: NotRequired[Any]
    error: NotRequired[OutcomeError]


class OutcomeError(TypedDict):
    code: int
    message: str
    data: NotRequired[Any]


class ServerInfo(TypedDict):
    name: str
    version: str
    protocol_version: str
    capabilities: list[str]
    backend: str
    backend_version: str
    database: str
    schema_version: int
    sqlite_version: str
    durability: Literal["full", "normal"]
    pid: int
    limits: dict[str, Any]


class AuditEvent(TypedDict):
    event_id: int
    """Ascending; never reused."""
    type: AuditEventType
    severity: AuditEventSeverity | None
    """null for a change of the lifecycle."""
    timestamp: int
    """Unix milliseconds"""
    session_id: str | None
    user_id: str | None
    tenant_id: str | None
    principal: str | None
    status_before: AuditEventStatusBefore | None
    status_after: AuditEventStatusAfter | None
    message: str | None
    """What the caller gave as message or reason, or what was found."""
    ip_address: str | None
    action: Literal["logged", "counted", "invalidated"] | None


AuditEventType = Literal[
    "created", "activated", "suspended", "resumed", "expired", "invalidated", "deleted", "resolved", "session_auth",
    "unauthorized_access", "rate_limit_exceeded", "invalid_input", "session_hijacking", "legal_hold_placed",
    "legal_hold_lifted", "retention_set",
]


AuditEventSeverity = Literal[
    "low", "medium", "high", "critical",
]


AuditEventStatusBefore = Literal[
    "pending", "active", "suspended", "expired", "invalidated", "resolved",
]


AuditEventStatusAfter = Literal[
    "pending", "active", "suspended", "expired", "invalidated", "resolved",
]


class Metrics(TypedDict):
    content_type: NotRequired[str]
    """With text, of the format prometheus alone."""
    text: NotRequired[str]
    total_sessions: NotRequired[int]
    """Rows, also of sessions that wait for a sweep."""
    active_sessions: NotRequired[int]
    expired_sessions: NotRequired[int]
    ended_sessions: NotRequired[int]
    """That are kept; stands only with --retain-ended."""
    sessions_created_today: NotRequired[int]
    """Since midnight, UTC; of those still there."""
    average_session_duration: NotRequired[int]
    """Milliseconds from creation to the last activity."""
    total_bytes_transferred: NotRequired[int]
    """Of requests and answers, by this process."""
    calculated_at: NotRequired[int]
    """Unix milliseconds"""
    sessions: NotRequired[dict[str, Any]]
    """By status."""
    tasks: NotRequired[dict[str, Any]]
    """By status."""
    work: NotRequired[dict[str, Any]]
    """By status."""
    events: NotRequired[int]
    values: NotRequired[int]
    event_subscriptions: NotRequired[int]
    log_entries: NotRequired[int]
    lifecycle_events: NotRequired[int]
    security_events: NotRequired[int]
    legal_holds: NotRequired[int]
    database_bytes: NotRequired[int]
    wal_bytes: NotRequired[int]
    free_bytes: NotRequired[int]
    memory_usage: NotRequired[int]
    subscriptions: NotRequired[int]
    bytes_received: NotRequired[int]
    bytes_sent: NotRequired[int]
    requests: NotRequired[int]
    errors: NotRequired[int]
    database_trips: NotRequired[int]
    """How often this process has waited for a server; 0 on a file."""
    uptime: NotRequired[int]
    """Milliseconds."""
    totals: NotRequired[dict[str, Any]]
    """Committed by this process since it began, by name; none ever falls back."""
    commits: NotRequired[MetricsCommits]
    methods: NotRequired[dict[str, Any]]
    """By name, for each that was called: requests, errors, and p50_us and p99_us from taking a request up until its
    answer may leave."""


class MetricsCommits(TypedDict):
    count: int
    p50_us: int
    """Microseconds, at most a fourth too high."""
    p99_us: int
    """Microseconds, at most a fourth too high."""
    requests: int
    """That they made durable."""
    largest_group: int


class Gap(TypedDict):
    dropped: int
    oldest_available: int | None


class DeleteSessionResult(TypedDict):
    deleted: bool
    events: int
    tasks: int
    log_entries: int


class ListSessionsResult(TypedDict):
    sessions: list[Session]
    next_cursor: str | None


class ListSessionIdsResult(TypedDict):
    session_ids: list[str]
    next_cursor: str | None


class SessionCountResult(TypedDict):
    count: int


class ValidateSessionResult(TypedDict):
    valid: bool
    reason: ValidateSessionResultReason | None


ValidateSessionResultReason = Literal[
    "not_found", "pending", "suspended", "expired", "invalidated", "resolved", "address_changed", "agent_changed",
]


class ExpireSessionsResult(TypedDict):
    session_ids: list[str]
    has_more: bool


class SetSessionStateResult(TypedDict):
    revision: int
    """The session's new revision."""


class GetSessionStateResult(TypedDict):
    exists: bool
    value: Any


class RemoveSessionStateResult(TypedDict):
    existed: bool
    value: Any
    """What it was."""


class ListSessionStateKeysResult(TypedDict):
    keys: list[str]
    next_cursor: str | None


class StoreEventResult(TypedDict):
    """The event without its data."""

    id: int
    stream_id: str | None
    timestamp: int
    """Unix milliseconds"""
    event_type: str
    retry: int | None


class StoreEventsResult(TypedDict):
    first_id: int
    last_id: int


class DeleteEventsBeforeResult(TypedDict):
    deleted: int


class EventCountResult(TypedDict):
    count: int


class BroadcastEventResult(TypedDict):
    sessions: int


class SubscribeEventsResult(TypedDict):
    subscription_id: str
    newest_id: int
    gap: Gap | None
    cursor_ahead: bool


class UnsubscribeResult(TypedDict):
    unsubscribed: bool


class DeleteTaskResult(TypedDict):
    deleted: bool


class ListTasksResult(TypedDict):
    tasks: list[Task]
    next_cursor: str | None


class ListTasksForSessionResult(TypedDict):
    tasks: list[Task]
    next_cursor: str | None


class GetTaskResultResult(TypedDict):
    result: Outcome | None


class EnqueueTaskMessageResult(TypedDict):
    size: int


class DequeueTaskMessageResult(TypedDict):
    exists: bool
    message: Any
    size: int
    """Messages that are left."""


class DequeueAllTaskMessagesResult(TypedDict):
    messages: list[Any]
    has_more: bool
    size: int
    """Messages that are left."""


class PeekTaskMessagesResult(TypedDict):
    messages: list[Any]
    size: int
    """Messages that the queue holds."""
    next_cursor: str | None


class ExpireTasksResult(TypedDict):
    task_ids: list[str]
    has_more: bool


class RecoverStuckTasksResult(TypedDict):
    task_ids: list[str]
    has_more: bool


class TaskCountResult(TypedDict):
    count: int


class SubscribeTasksResult(TypedDict):
    subscription_id: str
    task: NotRequired[Task]
    tasks: NotRequired[list[Task]]
    """Of a session; those that do not fit here follow as notifications."""


class ConsumeNonceResult(TypedDict):
    first: bool


class PutValueResult(TypedDict):
    stored: bool
    revision: int
    """The revision of what is there now."""


class GetValueResult(TypedDict):
    exists: bool
    value: Any
    expires_at: int | None
    revision: int | None


class DeleteValueResult(TypedDict):
    deleted: bool


class ListValuesResult(TypedDict):
    values: list[ListValuesResultValues]
    next_cursor: str | None


class ListValuesResultValues(TypedDict):
    key: str
    value: Any
    expires_at: int | None
    revision: int
    omitted: NotRequired[list[str]]
    """What it is told without, because `omit` names it, or because an entry of a list would be too large by itself."""


class EnqueueWorkResult(TypedDict):
    stored: bool
    """False when the id is there, or the subscription is not; nothing is changed."""
    status: EnqueueWorkResultStatus | None
    """Of what is there now; null for what is another owner's."""


EnqueueWorkResultStatus = Literal[
    "waiting", "leased", "done", "dead",
]


class ClaimWorkResult(TypedDict):
    work: list[Work]
    next_due: int | None
    """When to claim again: not after timestamp when there is more; null when nothing waits and nothing is leased."""
    timestamp: int
    """Unix milliseconds"""


class RenewWorkResult(TypedDict):
    held: bool
    """False when it is the worker's no more; nothing is changed then."""
    lease_until: int | None


class SettleWorkResult(TypedDict):
    held: bool
    """False when it is the worker's no more; nothing is changed then."""
    repeated: bool
    """Whether this fence had been settled before; nothing is changed then."""
    status: SettleWorkResultStatus | None
    """What it is now; null when it is not held."""
    watermark: int | None
    """Of its group: all positions up to it are settled; null where none has a position."""


SettleWorkResultStatus = Literal[
    "waiting", "leased", "done", "dead",
]


class CancelWorkResult(TypedDict):
    cancelled: int
    """Items that were waiting or leased."""


class ListWorkResult(TypedDict):
    work: list[Work]
    next_cursor: str | None


class ReviveWorkResult(TypedDict):
    revived: int
    has_more: bool


class SubscribeWorkResult(TypedDict):
    subscription_id: str
    next_due: int | None
    """As claim_work has it."""
    timestamp: int
    """Unix milliseconds"""


class PutEventSubscriptionResult(TypedDict):
    created: bool
    subscription: EventSubscription


class DeleteEventSubscriptionResult(TypedDict):
    deleted: bool
    cancelled: int
    """Items of its work that were waiting or leased."""


class ListEventSubscriptionsResult(TypedDict):
    subscriptions: list[EventSubscription]
    next_cursor: str | None


class AppendLogEntryResult(TypedDict):
    seq: int
    """Where it stands; of a duplicate, where it first was, 0 if its id was only noted."""
    duplicate: bool
    """Whether the message was known, and nothing was appended."""


class LoadLogResult(TypedDict):
    entries: list[LoadLogResultEntries]
    next_after: int
    """The cursor of the next page; pass it back as it is."""
    newest_seq: int
    """The last that was given out; 0: none yet."""
    oldest_seq: int | None
    """The first that is still there; null when nothing is."""
    has_more: bool


class LoadLogResultEntries(TypedDict):
    seq: int
    entry: dict[str, Any]


class ReplaceLogResult(TypedDict):
    first_seq: int | None
    """null when there are no entries."""
    last_seq: int | None


class CompactLogResult(TypedDict):
    removed: int
    """Entries that are gone."""
    seq: int
    """Where the checkpoint stands."""


class LogParticipantsResult(TypedDict):
    participants: list[LogParticipantsResultParticipants]
    next_cursor: str | None


class LogParticipantsResultParticipants(TypedDict):
    sender: str | None
    """null: all beyond 1000 senders, counted together."""
    entries: int
    """Appended since the log began, compacted ones included."""
    first_seen: int
    """Unix milliseconds"""
    last_seen: int
    """Unix milliseconds"""
    last_seq: int
    """Where the last entry was appended."""


class NoteLogMessageIdsResult(TypedDict):
    noted: int
    """How many were not known."""
    known: int
    """How many were, and stay as they are."""


class RecordSecurityEventResult(TypedDict):
    event_id: int
    violations: int
    """Of the session, this one included; 0 without a session."""
    action: Literal["logged", "counted", "invalidated"]
    """logged only, counted as a violation, or the session was invalidated over it."""


class ListAuditEventsResult(TypedDict):
    events: list[AuditEvent]
    next_cursor: str | None


class AuditCountsResult(TypedDict):
    counts: list[AuditCountsResultCounts]
    has_more: bool


class AuditCountsResultCounts(TypedDict):
    value: str
    events: int
    first_at: int
    """Unix milliseconds"""
    last_at: int
    """Unix milliseconds"""


class GetAuditHeadResult(TypedDict):
    head: str | None
    """The last event_id, and the hashes of the last lifecycle change and security event; null on a server."""


class CheckRateLimitResult(TypedDict):
    allowed: bool
    remaining: int
    """How many more would be allowed right now."""
    retry_after: int
    """Milliseconds until the next one is allowed; 0 for one that is."""


class ValidateInputResult(TypedDict):
    valid: bool
    reason: ValidateInputResultReason | None


ValidateInputResultReason = Literal[
    "too_large", "control_character", "script", "sql",
]


class ExportUserDataResult(TypedDict):
    records: list[dict[str, Any]]
    next_cursor: str | None


class DeleteUserDataResult(TypedDict):
    sessions: int
    events: int
    log_entries: int
    tasks: int
    values: int
    event_subscriptions: int
    work: int
    nonces: int
    audit_events: int


class SetRetentionResult(TypedDict):
    tenant_id: str
    retain_ended: int | None
    max_events_per_session: int | None
    max_task_ttl: int | None
    max_log_entries_per_session: int | None
    audit_retention: int | None


class GetRetentionResult(TypedDict):
    tenant_id: str
    retain_ended: int | None
    max_events_per_session: int | None
    max_task_ttl: int | None
    max_log_entries_per_session: int | None
    audit_retention: int | None
    effective: GetRetentionResultEffective
    """With what the options say where nothing was said."""


class GetRetentionResultEffective(TypedDict):
    """With what the options say where nothing was said."""

    retain_ended: int | None
    max_events_per_session: int | None
    max_task_ttl: int | None
    max_log_entries_per_session: int | None
    audit_retention: int | None


class ListRetentionResult(TypedDict):
    tenants: list[ListRetentionResultTenants]
    next_cursor: str | None


class ListRetentionResultTenants(TypedDict):
    tenant_id: str
    retain_ended: int | None
    max_events_per_session: int | None
    max_task_ttl: int | None
    max_log_entries_per_session: int | None
    audit_retention: int | None


class PlaceLegalHoldResult(TypedDict):
    placed: bool
    """False when it was there; nothing is changed then."""
    placed_at: int
    """Unix milliseconds"""


class LiftLegalHoldResult(TypedDict):
    lifted: bool
    """False when there was none."""


class ListLegalHoldsResult(TypedDict):
    holds: list[ListLegalHoldsResultHolds]
    next_cursor: str | None


class ListLegalHoldsResultHolds(TypedDict):
    name: str
    tenant_id: str | None
    principal: str | None
    reason: str | None
    placed_at: int
    """Unix milliseconds"""


class ListPayloadsResult(TypedDict):
    payloads: list[ListPayloadsResultPayloads]
    next_cursor: str | None


class ListPayloadsResultPayloads(TypedDict):
    ref: str
    """Which one it is, for replace_payloads."""
    place: str
    """What it is of which record: event.data, task.result, …"""
    session_id: str | None
    task_id: str | None
    stream_id: str | None
    event_type: str | None
    tenant_id: str | None
    principal: str | None
    collection: str | None
    key: str | None
    text: str
    """The payload byte for byte: JSON, but of a status_message what it says."""


class ReplacePayloadsResult(TypedDict):
    replaced: int
    missed: list[str]
    """The refs of those that were changed or deleted meanwhile."""


class HealthResult(TypedDict):
    status: Literal["healthy", "degraded"]
    session_count: int
    """Rows, also of sessions that wait for a sweep."""
    memory_usage: int
    """Resident bytes."""
    database_bytes: int
    wal_bytes: int
    free_disk_bytes: int | None
    timestamp: int
    """Unix milliseconds"""
    reasons: list[str]


class MaintenanceResult(TypedDict):
    expired_sessions: int
    expired_tasks: int
    trimmed_events: int
    checkpointed_pages: int
    freed_pages: int
    elapsed_ms: int
    """Milliseconds."""
    has_more: bool
    """Whether calling it again would sweep more."""


class BackupResult(TypedDict):
    pages: int
    bytes: int
    elapsed_ms: int
    """Milliseconds."""


class CheckIntegrityResult(TypedDict):
    ok: bool
    problems: list[str]
    """For people, one sentence each; at most 100."""
    audit: CheckIntegrityResultAudit | None
    """What became of the audit trail; null where the file is damaged, and on a server."""


class CheckIntegrityResultAudit(TypedDict):
    head: str
    chains: list[CheckIntegrityResultAuditChains]


class CheckIntegrityResultAuditChains(TypedDict):
    ring: Literal["lifecycle", "security"]
    begins_after: int
    """The number up to which events are evicted or older than the chain."""
    events: int
    """Those that are as they were written, up to the first break."""
    erased: int
    """Of these, those that were deleted with somebody's data."""
    older: int
    """Those that were there before the chain."""
    first_break: int | None
    """The first event that is not what was written, or before which one is missing."""
    expected_head: Literal["extended", "evicted", "broken"] | None
    """extended: the ring goes on from there; evicted: nobody can tell any more; null: none was given."""


class ArchiveResult(TypedDict):
    sessions: int
    bytes: int
    """Of the file."""
    elapsed_ms: int
    """Milliseconds."""


class TransactionResult(TypedDict):
    results: list[Any]


GetSessionOmit = Literal[
    "client_capabilities", "server_capabilities", "state", "metadata",
]


class UpdateSessionSession(TypedDict):
    session_id: str
    user_id: NotRequired[str | None]
    client_capabilities: NotRequired[Any]
    server_capabilities: NotRequired[Any]
    state: NotRequired[dict[str, Any]]
    metadata: NotRequired[dict[str, Any]]
    is_initialized: NotRequired[bool]
    last_activity: NotRequired[int]
    expires_at: NotRequired[int | None]
    inactivity_timeout: NotRequired[int | None]
    tenant_id: NotRequired[str | None]
    principal: NotRequired[str | None]
    status: NotRequired[str]
    created_at: NotRequired[int | None]
    suspended_at: NotRequired[int | None]
    suspended_ms: NotRequired[int | None]
    suspensions: NotRequired[int | None]
    ended_at: NotRequired[int | None]
    last_event_id: NotRequired[int | None]
    revision: NotRequired[int | None]
    omitted: NotRequired[list[UpdateSessionSessionOmitted]]


UpdateSessionSessionOmitted = Literal[
    "client_capabilities", "server_capabilities", "state", "metadata",
]


UpdateSessionOmit = Literal[
    "client_capabilities", "server_capabilities", "state", "metadata",
]


TouchSessionOmit = Literal[
    "client_capabilities", "server_capabilities", "state", "metadata",
]


ListSessionsStatus = Literal[
    "pending", "active", "suspended", "expired", "invalidated", "resolved",
]


ListSessionIdsStatus = Literal[
    "pending", "active", "suspended", "expired", "invalidated", "resolved",
]


SessionCountStatus = Literal[
    "pending", "active", "suspended", "expired", "invalidated", "resolved",
]


ActivateSessionOmit = Literal[
    "client_capabilities", "server_capabilities", "state", "metadata",
]


SuspendSessionOmit = Literal[
    "client_capabilities", "server_capabilities", "state", "metadata",
]


ResumeSessionOmit = Literal[
    "client_capabilities", "server_capabilities", "state", "metadata",
]


ExpireSessionOmit = Literal[
    "client_capabilities", "server_capabilities", "state", "metadata",
]


InvalidateSessionOmit = Literal[
    "client_capabilities", "server_capabilities", "state", "metadata",
]


ResolveSessionOmit = Literal[
    "client_capabilities", "server_capabilities", "state", "metadata",
]


class StoreEventsEvents(TypedDict):
    data: Any
    event_type: NotRequired[str]
    stream_id: NotRequired[str]
    retry: NotRequired[int]
    timestamp: NotRequired[int]


CreateTaskStatus = Literal[
    "working", "input_required", "completed", "failed", "cancelled",
]


GetTaskOmit = Literal[
    "original_params", "result", "input_requests", "input_responses", "meta",
]


class UpdateTaskTask(TypedDict):
    task_id: str
    status: NotRequired[UpdateTaskTaskStatus]
    status_message: NotRequired[str | None]
    created_at: NotRequired[str]
    last_updated_at: NotRequired[str]
    ttl: NotRequired[int | None]
    poll_interval: NotRequired[int | None]
    original_method: NotRequired[str | None]
    original_params: NotRequired[Any]
    result: NotRequired[UpdateTaskTaskResult | None]
    input_requests: NotRequired[dict[str, Any] | None]
    input_responses: NotRequired[dict[str, Any] | None]
    cancel_requested: NotRequired[bool]
    meta: NotRequired[Any]
    session_id: NotRequired[str | None]
    tenant_id: NotRequired[str | None]
    principal: NotRequired[str | None]
    revision: NotRequired[int | None]
    omitted: NotRequired[list[UpdateTaskTaskOmitted]]


UpdateTaskTaskStatus = Literal[
    "working", "input_required", "completed", "failed", "cancelled",
]


class UpdateTaskTaskResult(TypedDict):
    success: NotRequired[Any]
    error: NotRequired[UpdateTaskTaskResultError]


class UpdateTaskTaskResultError(TypedDict):
    code: int
    message: str
    data: NotRequired[Any]


UpdateTaskTaskOmitted = Literal[
    "original_params", "result", "input_requests", "input_responses", "meta",
]


UpdateTaskOmit = Literal[
    "original_params", "result", "input_requests", "input_responses", "meta",
]


TouchTaskOmit = Literal[
    "original_params", "result", "input_requests", "input_responses", "meta",
]


ListTasksStatus = Literal[
    "working", "input_required", "completed", "failed", "cancelled",
]


ListTasksForSessionStatus = Literal[
    "working", "input_required", "completed", "failed", "cancelled",
]


UpdateTaskStatusStatus = Literal[
    "working", "input_required", "completed", "failed", "cancelled",
]


UpdateTaskStatusOmit = Literal[
    "original_params", "result", "input_requests", "input_responses", "meta",
]


class StoreTaskResultResult(TypedDict):
    success: NotRequired[Any]
    error: NotRequired[StoreTaskResultResultError]


class StoreTaskResultResultError(TypedDict):
    code: int
    message: str
    data: NotRequired[Any]


StoreTaskResultOmit = Literal[
    "original_params", "result", "input_requests", "input_responses", "meta",
]


CompleteTaskOmit = Literal[
    "original_params", "result", "input_requests", "input_responses", "meta",
]


class FailTaskError(TypedDict):
    code: int
    message: str
    data: NotRequired[Any]


FailTaskOmit = Literal[
    "original_params", "result", "input_requests", "input_responses", "meta",
]


CancelTaskOmit = Literal[
    "original_params", "result", "input_requests", "input_responses", "meta",
]


RequireTaskInputOmit = Literal[
    "original_params", "result", "input_requests", "input_responses", "meta",
]


ProvideTaskInputOmit = Literal[
    "original_params", "result", "input_requests", "input_responses", "meta",
]


TaskCountStatus = Literal[
    "working", "input_required", "completed", "failed", "cancelled",
]


SettleWorkOutcome = Literal[
    "done", "retry", "dead", "release",
]


ListWorkStatus = Literal[
    "waiting", "leased", "done", "dead",
]


RecordSecurityEventType = Literal[
    "session_auth", "unauthorized_access", "rate_limit_exceeded", "invalid_input", "session_hijacking",
]


RecordSecurityEventSeverity = Literal[
    "low", "medium", "high", "critical",
]


ListAuditEventsType = Literal[
    "created", "activated", "suspended", "resumed", "expired", "invalidated", "deleted", "resolved", "session_auth",
    "unauthorized_access", "rate_limit_exceeded", "invalid_input", "session_hijacking", "legal_hold_placed",
    "legal_hold_lifted", "retention_set",
]


ListAuditEventsMinSeverity = Literal[
    "low", "medium", "high", "critical",
]


AuditCountsBy = Literal[
    "user_id", "ip_address", "session_id", "type", "tenant_id", "principal",
]


AuditCountsType = Literal[
    "created", "activated", "suspended", "resumed", "expired", "invalidated", "deleted", "resolved", "session_auth",
    "unauthorized_access", "rate_limit_exceeded", "invalid_input", "session_hijacking", "legal_hold_placed",
    "legal_hold_lifted", "retention_set",
]


AuditCountsMinSeverity = Literal[
    "low", "medium", "high", "critical",
]


class ReplacePayloadsChanges(TypedDict):
    ref: str
    text: str
    replacement: str


class InitializeClient(TypedDict):
    name: NotRequired[str]
    version: NotRequired[str]


class TransactionCalls(TypedDict):
    method: str
    params: NotRequired[dict[str, Any]]
    require: NotRequired[bool]


class ErrorKind(str, enum.Enum):
    """What errors are told apart by, as `RequestError.kind` has it. A newer program may know more."""

    CONCURRENT_MODIFICATION = "concurrent_modification"
    DATABASE_BUSY = "database_busy"
    DATABASE_CORRUPT = "database_corrupt"
    DATABASE_ERROR = "database_error"
    DATABASE_FULL = "database_full"
    DATABASE_READ_ONLY = "database_read_only"
    DATABASE_REPLACED = "database_replaced"
    DATABASE_TOO_NEW = "database_too_new"
    DATABASE_UNREACHABLE = "database_unreachable"
    EVENT_SUBSCRIPTION_EXISTS = "event_subscription_exists"
    HELD_BY_LEGAL_HOLD = "held_by_legal_hold"
    INTERNAL_ERROR = "internal_error"
    INVALID_CURSOR = "invalid_cursor"
    INVALID_PARAMS = "invalid_params"
    INVALID_REQUEST = "invalid_request"
    INVALID_SESSION_STATUS = "invalid_session_status"
    INVALID_TRANSITION = "invalid_transition"
    MAX_EVENT_SUBSCRIPTIONS_REACHED = "max_event_subscriptions_reached"
    MAX_EVENTS_REACHED = "max_events_reached"
    MAX_INPUT_KEYS_REACHED = "max_input_keys_reached"
    MAX_LEGAL_HOLDS_REACHED = "max_legal_holds_reached"
    MAX_PRINCIPAL_EVENT_SUBSCRIPTIONS_REACHED = "max_principal_event_subscriptions_reached"
    MAX_PRINCIPAL_WORK_REACHED = "max_principal_work_reached"
    MAX_RETENTIONS_REACHED = "max_retentions_reached"
    MAX_SESSION_WRITES_REACHED = "max_session_writes_reached"
    MAX_SESSIONS_REACHED = "max_sessions_reached"
    MAX_SUBSCRIPTIONS_REACHED = "max_subscriptions_reached"
    MAX_TASKS_REACHED = "max_tasks_reached"
    MAX_USER_SESSIONS_REACHED = "max_user_sessions_reached"
    MAX_VALUES_REACHED = "max_values_reached"
    MAX_WORK_REACHED = "max_work_reached"
    METHOD_NOT_FOUND = "method_not_found"
    NOT_SUPPORTED = "not_supported"
    OUTCOME_UNKNOWN = "outcome_unknown"
    PARSE_ERROR = "parse_error"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    QUEUE_FULL = "queue_full"
    REQUIREMENT_FAILED = "requirement_failed"
    SESSION_EXISTS = "session_exists"
    SESSION_EXPIRED = "session_expired"
    SESSION_NOT_FOUND = "session_not_found"
    SHUTTING_DOWN = "shutting_down"
    TASK_EXISTS = "task_exists"
    TASK_NOT_FOUND = "task_not_found"
    TERMINAL_STATE = "terminal_state"


class MethodNotFound(RequestError):
    """There is no such method. Code -32601, kind `method_not_found`."""


class InvalidParams(RequestError):
    """A parameter is missing, unknown or unusable. Code -32602, kind `invalid_params`."""


class InvalidCursor(RequestError):
    """The cursor is of another list; begin anew. Code -32602, kind `invalid_cursor`."""


class SessionNotFound(RequestError):
    """No such session, or another owner's. Code 1001, kind `session_not_found`."""


class SessionExists(RequestError):
    """The id is taken. Code 1002, kind `session_exists`."""


class SessionExpired(RequestError):
    """The session's deadline has passed. Code 1003, kind `session_expired`."""


class InvalidSessionStatus(RequestError):
    """The session's status forbids this. Code 1004, kind `invalid_session_status`."""


class MaxSessionsReached(RequestError):
    """The store's cap on sessions is reached. Code 1005, kind `max_sessions_reached`."""


class MaxEventsReached(RequestError):
    """The session's cap on events is reached. Code 1006, kind `max_events_reached`."""


class MaxUserSessionsReached(RequestError):
    """The user's cap is reached. Code 1007, kind `max_user_sessions_reached`."""


class MaxSubscriptionsReached(RequestError):
    """Too many open subscriptions. Code 1008, kind `max_subscriptions_reached`."""


class MaxSessionWritesReached(RequestError):
    """The session has made as many writes as it may for now. Code 1009, kind `max_session_writes_reached`."""


class TaskNotFound(RequestError):
    """No such task, or another owner's. Code 1101, kind `task_not_found`."""


class TaskExists(RequestError):
    """The id is taken. Code 1102, kind `task_exists`."""


class InvalidTransition(RequestError):
    """The state machine has no such step. Code 1103, kind `invalid_transition`."""


class TerminalState(RequestError):
    """The task is completed, failed or cancelled. Code 1104, kind `terminal_state`."""


class MaxTasksReached(RequestError):
    """The store's cap on tasks is reached. Code 1105, kind `max_tasks_reached`."""


class QueueFull(RequestError):
    """A queue holds as much as it may. Code 1106, kind `queue_full`."""


class MaxValuesReached(RequestError):
    """The store's cap on values is reached. Code 1107, kind `max_values_reached`."""


class MaxInputKeysReached(RequestError):
    """The task's cap on input keys is reached. Code 1108, kind `max_input_keys_reached`."""


class MaxWorkReached(RequestError):
    """The store's cap on work is reached. Code 1109, kind `max_work_reached`."""


class MaxEventSubscriptionsReached(RequestError):
    """The store's cap on event subscriptions is reached. Code 1110, kind `max_event_subscriptions_reached`."""


class EventSubscriptionExists(RequestError):
    """The id is another owner's. Code 1111, kind `event_subscription_exists`."""


class MaxLegalHoldsReached(RequestError):
    """There are as many holds as may be. Code 1112, kind `max_legal_holds_reached`."""


class MaxRetentionsReached(RequestError):
    """As many tenants as may have a retention of their own. Code 1113, kind `max_retentions_reached`."""


class MaxPrincipalWorkReached(RequestError):
    """The principal's cap on work is reached. Code 1114, kind `max_principal_work_reached`."""


class MaxPrincipalEventSubscriptionsReached(RequestError):
    """The principal's cap on these is reached. Code 1115, kind `max_principal_event_subscriptions_reached`."""


class ConcurrentModification(RequestError):
    """if_revision no longer holds. Code 1201, kind `concurrent_modification`."""


class RequirementFailed(RequestError):
    """A required outcome did not come about. Code 1202, kind `requirement_failed`."""


class HeldByLegalHold(RequestError):
    """It has to stay while a legal hold is on it. Code 1203, kind `held_by_legal_hold`."""


class PayloadTooLarge(RequestError):
    """A payload or an answer is over its limit. Code 1301, kind `payload_too_large`."""


class DatabaseBusy(RequestError):
    """Other processes kept the write lock for the whole busy timeout. Code 1401, kind `database_busy`."""


class DatabaseFull(RequestError):
    """The disk is full. Code 1402, kind `database_full`."""


class DatabaseReadOnly(RequestError):
    """The file cannot be written any more. Code 1403, kind `database_read_only`."""


class DatabaseCorrupt(RequestError):
    """The file is damaged. Code 1404, kind `database_corrupt`."""


class DatabaseError(RequestError):
    """SQLite met an error. Code 1405, kind `database_error`."""


class DatabaseTooNew(RequestError):
    """Another process has migrated the file. Code 1406, kind `database_too_new`."""


class OutcomeUnknown(RequestError):
    """The write may or may not be on disk. Code 1407, kind `outcome_unknown`."""


class DatabaseReplaced(RequestError):
    """The file was deleted, moved, replaced or written over while it was open. Code 1408, kind `database_replaced`."""


class DatabaseUnreachable(RequestError):
    """The server of the database cannot be reached. Code 1409, kind `database_unreachable`."""


class NotSupported(RequestError):
    """The engine of the database has another way for this. Code 1410, kind `not_supported`."""


class ShuttingDown(RequestError):
    """The sidecar has been told to shut down. Code 1501, kind `shutting_down`."""


#: The class of each kind of error.
ERRORS: dict[str, type[RequestError]] = {
    "method_not_found": MethodNotFound,
    "invalid_params": InvalidParams,
    "invalid_cursor": InvalidCursor,
    "session_not_found": SessionNotFound,
    "session_exists": SessionExists,
    "session_expired": SessionExpired,
    "invalid_session_status": InvalidSessionStatus,
    "max_sessions_reached": MaxSessionsReached,
    "max_events_reached": MaxEventsReached,
    "max_user_sessions_reached": MaxUserSessionsReached,
    "max_subscriptions_reached": MaxSubscriptionsReached,
    "max_session_writes_reached": MaxSessionWritesReached,
    "task_not_found": TaskNotFound,
    "task_exists": TaskExists,
    "invalid_transition": InvalidTransition,
    "terminal_state": TerminalState,
    "max_tasks_reached": MaxTasksReached,
    "queue_full": QueueFull,
    "max_values_reached": MaxValuesReached,
    "max_input_keys_reached": MaxInputKeysReached,
    "max_work_reached": MaxWorkReached,
    "max_event_subscriptions_reached": MaxEventSubscriptionsReached,
    "event_subscription_exists": EventSubscriptionExists,
    "max_legal_holds_reached": MaxLegalHoldsReached,
    "max_retentions_reached": MaxRetentionsReached,
    "max_principal_work_reached": MaxPrincipalWorkReached,
    "max_principal_event_subscriptions_reached": MaxPrincipalEventSubscriptionsReached,
    "concurrent_modification": ConcurrentModification,
    "requirement_failed": RequirementFailed,
    "held_by_legal_hold": HeldByLegalHold,
    "payload_too_large": PayloadTooLarge,
    "database_busy": DatabaseBusy,
    "database_full": DatabaseFull,
    "database_read_only": DatabaseReadOnly,
    "database_corrupt": DatabaseCorrupt,
    "database_error": DatabaseError,
    "database_too_new": DatabaseTooNew,
    "outcome_unknown": OutcomeUnknown,
    "database_replaced": DatabaseReplaced,
    "database_unreachable": DatabaseUnreachable,
    "not_supported": NotSupported,
    "shutting_down": ShuttingDown,
}
