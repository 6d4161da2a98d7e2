# Made by protocol/clients/generate from protocol/openrpc.json.
"""The methods of the contract, with names, parameters and results as on the wire.

A `timeout` is in seconds, None for any time; without one that of the store counts. An optional parameter
that is None is left out. For an owner None is the anonymous caller, for a payload a value.
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from .unset import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .contract import (
        ActivateSessionOmit, AppendLogEntryResult, AuditCountsBy, AuditCountsMinSeverity, AuditCountsResult,
        AuditCountsType, BroadcastEventResult, CancelTaskOmit, CancelWorkResult, CheckIntegrityResult,
        CheckRateLimitResult, ClaimWorkResult, CompactLogResult, CompleteTaskOmit, ConsumeNonceResult, CreateTaskStatus,
        DeleteEventSubscriptionResult, DeleteEventsBeforeResult, DeleteSessionResult, DeleteTaskResult,
        DeleteUserDataResult, DeleteValueResult, DequeueAllTaskMessagesResult, DequeueTaskMessageResult,
        EnqueueTaskMessageResult, EnqueueWorkResult, EventCountResult, EventPage, EventSubscription, ExpireSessionOmit,
        ExpireSessionsResult, ExpireTasksResult, ExportUserDataResult, FailTaskError, FailTaskOmit, GetAuditHeadResult,
        GetRetentionResult, GetSessionOmit, GetSessionStateResult, GetTaskOmit, GetTaskResultResult, GetValueResult,
        HealthResult, InitializeClient, InvalidateSessionOmit, LiftLegalHoldResult, ListAuditEventsMinSeverity,
        ListAuditEventsResult, ListAuditEventsType, ListEventSubscriptionsResult, ListLegalHoldsResult,
        ListPayloadsResult, ListRetentionResult, ListSessionIdsResult, ListSessionIdsStatus, ListSessionStateKeysResult,
        ListSessionsResult, ListSessionsStatus, ListTasksForSessionResult, ListTasksForSessionStatus, ListTasksResult,
        ListTasksStatus, ListValuesResult, ListWorkResult, ListWorkStatus, LoadLogResult, LogParticipantsResult,
        MaintenanceResult, Metrics, NoteLogMessageIdsResult, PeekTaskMessagesResult, PlaceLegalHoldResult,
        ProvideTaskInputOmit, PutEventSubscriptionResult, PutValueResult, RecordSecurityEventResult,
        RecordSecurityEventSeverity, RecordSecurityEventType, RecoverStuckTasksResult, RemoveSessionStateResult,
        RenewWorkResult, ReplaceLogResult, ReplacePayloadsChanges, ReplacePayloadsResult, RequireTaskInputOmit,
        ResolveSessionOmit, ResumeSessionOmit, ReviveWorkResult, ServerInfo, Session, SessionCountResult,
        SessionCountStatus, SetRetentionResult, SetSessionStateResult, SettleWorkOutcome, SettleWorkResult,
        StoreEventResult, StoreEventsEvents, StoreEventsResult, StoreTaskResultOmit, StoreTaskResultResult,
        SuspendSessionOmit, Task, TaskCountResult, TaskCountStatus, TouchSessionOmit, TouchTaskOmit, TransactionCalls,
        TransactionResult, UpdateSessionOmit, UpdateSessionSession, UpdateTaskOmit, UpdateTaskStatusOmit,
        UpdateTaskStatusStatus, UpdateTaskTask, ValidateInputResult, ValidateSessionResult,
    )


class Methods:
    async def call(
        self, method: str, params: Mapping[str, Any], *, timeout: float | None | Unset = UNSET,
    ) -> Any:
        """Calls a method by its name on the wire."""
        raise NotImplementedError

    async def create_session(
        self, *, session_id: str | None = None, id_format: Literal["uuid", "random"] | None = None,
        user_id: str | None = None, client_capabilities: Any | None = None, server_capabilities: Any | None = None,
        state: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        status: Literal["pending", "active"] | None = None, is_initialized: bool | None = None, ttl: int | None = None,
        inactivity_timeout: int | None = None, created_at: int | None = None, last_activity: int | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> Session:
        """Makes a session.

        session_id: The id; made when absent.
        id_format: How a generated id looks: a UUID v7, or 256 random bits in base64url for an id that is itself a
            capability.
        user_id: The user whose session it is.
        client_capabilities: What the client said at initialize; kept as it is.
        server_capabilities: What the server answered; kept as it is.
        state: The key-value map.
        metadata: Anything else; kept as it is.
        status: pending when absent.
        is_initialized: false when absent.
        ttl: Milliseconds until it expires in any case; --session-ttl when absent, 0: never.
        inactivity_timeout: Milliseconds without a write until it expires; --inactivity-timeout when absent, 0: never.
        created_at: For migrations; now when absent.
        last_activity: For migrations; now when absent.
        """
        return await self.call("create_session", {
            "session_id": session_id, "id_format": id_format, "user_id": user_id,
            "client_capabilities": client_capabilities, "server_capabilities": server_capabilities, "state": state,
            "metadata": metadata, "tenant_id": tenant_id, "principal": principal, "status": status,
            "is_initialized": is_initialized, "ttl": ttl, "inactivity_timeout": inactivity_timeout,
            "created_at": created_at, "last_activity": last_activity,
        }, timeout=timeout)

    async def get_session(
        self, session_id: str, *, touch: bool | None = None, omit: list[GetSessionOmit] | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET, include_ended: bool | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> Session | None:
        """The session, or null when it is unknown, over or another owner's.

        session_id: The session.
        touch: Slides the inactivity deadline; false when absent.
        omit: Members that the answer does without; its `omitted` names those that there are.
        include_ended: Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent.
        """
        return await self.call("get_session", {
            "session_id": session_id, "touch": touch, "omit": omit, "tenant_id": tenant_id, "principal": principal,
            "include_ended": include_ended,
        }, timeout=timeout)

    async def update_session(
        self, session: UpdateSessionSession, *, if_revision: int | None = None, upsert: bool | None = None,
        omit: list[UpdateSessionOmit] | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> Session:
        """Replaces the given fields; absent ones stay. What get_session gave can be sent back as it is.

        session: The session's id and the fields to replace.
        if_revision: Only when this is still the revision; else concurrent_modification.
        upsert: Makes the session when there is none; false when absent.
        omit: Members that the answer does without; its `omitted` names those that there are.
        """
        return await self.call("update_session", {
            "session": session, "if_revision": if_revision, "upsert": upsert, "omit": omit, "tenant_id": tenant_id,
            "principal": principal,
        }, timeout=timeout)

    async def touch_session(
        self, session_id: str, *, omit: list[TouchSessionOmit] | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> Session:
        """Slides the inactivity deadline.

        session_id: The session.
        omit: Members that the answer does without; its `omitted` names those that there are.
        """
        return await self.call("touch_session", {
            "session_id": session_id, "omit": omit, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def delete_session(
        self, session_id: str, *, delete_tasks: bool | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> DeleteSessionResult:
        """Deletes a session in any status, with its state, events and log.

        session_id: The session.
        delete_tasks: Deletes its tasks too; false when absent.
        """
        return await self.call("delete_session", {
            "session_id": session_id, "delete_tasks": delete_tasks, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def list_sessions(
        self, *, user_id: str | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, include_ended: bool | None = None,
        status: ListSessionsStatus | None = None, include_state: bool | None = None, cursor: str | None = None,
        limit: int | None = None, timeout: float | None | Unset = UNSET,
    ) -> ListSessionsResult:
        """Sessions in the order of creation.

        user_id: Only this user's.
        include_ended: Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent.
        status: Only these; expired and resolved ones appear only when asked for, so or with include_ended.
        include_state: With their state; false when absent.
        cursor: `next_cursor` of the page before.
        limit: Entries on a page; 50 when absent.
        """
        return await self.call("list_sessions", {
            "user_id": user_id, "tenant_id": tenant_id, "principal": principal, "include_ended": include_ended,
            "status": status, "include_state": include_state, "cursor": cursor, "limit": limit,
        }, timeout=timeout)

    async def list_session_ids(
        self, *, user_id: str | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, include_ended: bool | None = None,
        status: ListSessionIdsStatus | None = None, cursor: str | None = None, limit: int | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> ListSessionIdsResult:
        """Ids of sessions in the order of creation.

        user_id: Only this user's.
        include_ended: Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent.
        status: Only these; expired and resolved ones appear only when asked for, so or with include_ended.
        cursor: `next_cursor` of the page before.
        limit: Entries on a page; 50 when absent.
        """
        return await self.call("list_session_ids", {
            "user_id": user_id, "tenant_id": tenant_id, "principal": principal, "include_ended": include_ended,
            "status": status, "cursor": cursor, "limit": limit,
        }, timeout=timeout)

    async def session_count(
        self, *, user_id: str | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, include_ended: bool | None = None,
        status: SessionCountStatus | None = None, timeout: float | None | Unset = UNSET,
    ) -> SessionCountResult:
        """How many sessions a list with these filters has.

        user_id: Only this user's.
        include_ended: Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent.
        status: Only these; expired and resolved ones appear only when asked for, so or with include_ended.
        """
        return await self.call("session_count", {
            "user_id": user_id, "tenant_id": tenant_id, "principal": principal, "include_ended": include_ended,
            "status": status,
        }, timeout=timeout)

    async def validate_session(
        self, session_id: str, *, ip_address: str | None = None, user_agent: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> ValidateSessionResult:
        """Whether a session may be used now, and from there; other than the first address and agent are recorded.

        session_id: The session.
        ip_address: The client's address.
        user_agent: The client's user agent.
        """
        return await self.call("validate_session", {
            "session_id": session_id, "ip_address": ip_address, "user_agent": user_agent, "tenant_id": tenant_id,
            "principal": principal,
        }, timeout=timeout)

    async def expire_sessions(
        self, *, older_than: int | None = None, limit: int | None = None, timeout: float | None | Unset = UNSET,
    ) -> ExpireSessionsResult:
        """Removes sessions that were last active before a time, or without one those past their own deadline.

        older_than: Unix milliseconds: removes where last_activity is strictly below.
        limit: Sessions at most; 1,000 when absent.
        """
        return await self.call("expire_sessions", {"older_than": older_than, "limit": limit}, timeout=timeout)

    async def activate_session(
        self, session_id: str, *, reason: str | None = None, omit: list[ActivateSessionOmit] | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Session:
        """Makes a pending or suspended session active; on an active one it changes nothing.

        session_id: The session.
        reason: Why, for the record.
        omit: Members that the answer does without; its `omitted` names those that there are.
        """
        return await self.call("activate_session", {
            "session_id": session_id, "reason": reason, "omit": omit, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def suspend_session(
        self, session_id: str, *, reason: str | None = None, omit: list[SuspendSessionOmit] | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Session:
        """Stops an active session and both of its clocks.

        session_id: The session.
        reason: Why, for the record.
        omit: Members that the answer does without; its `omitted` names those that there are.
        """
        return await self.call("suspend_session", {
            "session_id": session_id, "reason": reason, "omit": omit, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def resume_session(
        self, session_id: str, *, reason: str | None = None, omit: list[ResumeSessionOmit] | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Session:
        """Makes a suspended session active again and moves its deadline by the time it was suspended.

        session_id: The session.
        reason: Why, for the record.
        omit: Members that the answer does without; its `omitted` names those that there are.
        """
        return await self.call("resume_session", {
            "session_id": session_id, "reason": reason, "omit": omit, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def expire_session(
        self, session_id: str, *, reason: str | None = None, omit: list[ExpireSessionOmit] | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Session:
        """Ends a session as though its deadline had passed.

        session_id: The session.
        reason: Why, for the record.
        omit: Members that the answer does without; its `omitted` names those that there are.
        """
        return await self.call("expire_session", {
            "session_id": session_id, "reason": reason, "omit": omit, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def invalidate_session(
        self, session_id: str, *, reason: str | None = None, omit: list[InvalidateSessionOmit] | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Session:
        """Ends a session for good; it can be looked at until its deadline.

        session_id: The session.
        reason: Why, for the record.
        omit: Members that the answer does without; its `omitted` names those that there are.
        """
        return await self.call("invalidate_session", {
            "session_id": session_id, "reason": reason, "omit": omit, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def resolve_session(
        self, session_id: str, *, reason: str | None = None, omit: list[ResolveSessionOmit] | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Session:
        """Ends a session whose work is done.

        session_id: The session.
        reason: Why, for the record.
        omit: Members that the answer does without; its `omitted` names those that there are.
        """
        return await self.call("resolve_session", {
            "session_id": session_id, "reason": reason, "omit": omit, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def set_session_state(
        self, session_id: str, *, key: str, value: Any, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> SetSessionStateResult:
        """Sets one key of a session's state.

        session_id: The session.
        key: The key.
        value: Any JSON; kept as it is.
        """
        return await self.call("set_session_state", {
            "session_id": session_id, "key": key, "value": value, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def get_session_state(
        self, session_id: str, *, key: str, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, include_ended: bool | None = None, timeout: float | None | Unset = UNSET,
    ) -> GetSessionStateResult:
        """One key of a session's state; a stored null is not an absent key.

        session_id: The session.
        key: The key.
        include_ended: Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent.
        """
        return await self.call("get_session_state", {
            "session_id": session_id, "key": key, "tenant_id": tenant_id, "principal": principal,
            "include_ended": include_ended,
        }, timeout=timeout)

    async def remove_session_state(
        self, session_id: str, *, key: str, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> RemoveSessionStateResult:
        """Removes one key of a session's state.

        session_id: The session.
        key: The key.
        """
        return await self.call("remove_session_state", {
            "session_id": session_id, "key": key, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def list_session_state_keys(
        self, session_id: str, *, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        include_ended: bool | None = None, cursor: str | None = None, limit: int | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> ListSessionStateKeysResult:
        """The keys of a session's state in the order of their first setting.

        session_id: The session.
        include_ended: Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent.
        cursor: `next_cursor` of the page before.
        limit: Keys on a page; without it and a cursor all are answered at once.
        """
        return await self.call("list_session_state_keys", {
            "session_id": session_id, "tenant_id": tenant_id, "principal": principal, "include_ended": include_ended,
            "cursor": cursor, "limit": limit,
        }, timeout=timeout)

    async def store_event(
        self, session_id: str, *, data: Any, event_type: str | None = None, stream_id: str | None = None,
        retry: int | None = None, timestamp: int | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> StoreEventResult:
        """Appends one event to a session.

        session_id: The session.
        data: The payload; kept as it is.
        event_type: "message" when absent.
        stream_id: The stream that it belongs to.
        retry: Milliseconds that a client should wait before it reconnects.
        timestamp: Unix milliseconds; now when absent.
        """
        return await self.call("store_event", {
            "session_id": session_id, "data": data, "event_type": event_type, "stream_id": stream_id, "retry": retry,
            "timestamp": timestamp, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def store_events(
        self, session_id: str, *, events: list[StoreEventsEvents], tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> StoreEventsResult:
        """Appends several events to a session, all or none.

        session_id: The session.
        events: The events in their order.
        """
        return await self.call("store_events", {
            "session_id": session_id, "events": events, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def get_events_after(
        self, session_id: str, *, after_event_id: int | None = None, stream_id: str | None = None,
        limit: int | None = None, format: Literal["json", "sse", "sse_typed"] | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET, include_ended: bool | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> EventPage:
        """The events after a cursor, oldest first, and whether any were lost.

        session_id: The session.
        after_event_id: The last id that was seen; 0 (from the beginning) when absent.
        stream_id: Only events of this stream.
        limit: Events at most; 1,000 when absent.
        format: json when absent; sse: frames to write to an SSE response, all named message; sse_typed: named by event
            type.
        include_ended: Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent.
        """
        return await self.call("get_events_after", {
            "session_id": session_id, "after_event_id": after_event_id, "stream_id": stream_id, "limit": limit,
            "format": format, "tenant_id": tenant_id, "principal": principal, "include_ended": include_ended,
        }, timeout=timeout)

    async def get_recent_events(
        self, session_id: str, *, limit: int | None = None, stream_id: str | None = None,
        format: Literal["json", "sse", "sse_typed"] | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, include_ended: bool | None = None, timeout: float | None | Unset = UNSET,
    ) -> EventPage:
        """The newest events, returned oldest first.

        session_id: The session.
        limit: Events at most; 100 when absent.
        stream_id: Only events of this stream.
        format: json when absent; sse: frames to write to an SSE response, all named message; sse_typed: named by event
            type.
        include_ended: Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent.
        """
        return await self.call("get_recent_events", {
            "session_id": session_id, "limit": limit, "stream_id": stream_id, "format": format, "tenant_id": tenant_id,
            "principal": principal, "include_ended": include_ended,
        }, timeout=timeout)

    async def delete_events_before(
        self, session_id: str, *, before_event_id: int, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> DeleteEventsBeforeResult:
        """Deletes the events with ids strictly below one.

        session_id: The session.
        before_event_id: The first id that stays.
        """
        return await self.call("delete_events_before", {
            "session_id": session_id, "before_event_id": before_event_id, "tenant_id": tenant_id,
            "principal": principal,
        }, timeout=timeout)

    async def event_count(
        self, *, session_id: str | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, include_ended: bool | None = None, timeout: float | None | Unset = UNSET,
    ) -> EventCountResult:
        """How many events a session holds, or without one the whole store.

        session_id: The session.
        include_ended: Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent.
        """
        return await self.call("event_count", {
            "session_id": session_id, "tenant_id": tenant_id, "principal": principal, "include_ended": include_ended,
        }, timeout=timeout)

    async def broadcast_event(
        self, data: Any, *, event_type: str | None = None, retry: int | None = None, timestamp: int | None = None,
        user_id: str | None = None, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        status: Literal["pending", "active"] | None = None, timeout: float | None | Unset = UNSET,
    ) -> BroadcastEventResult:
        """Appends one event to each session that matches, all or none; owners match exactly.

        data: The payload; kept as it is.
        event_type: "message" when absent.
        retry: Milliseconds that a client should wait before it reconnects.
        timestamp: Unix milliseconds; now when absent.
        user_id: Only this user's sessions.
        status: Only sessions of this status; active when absent.
        """
        return await self.call("broadcast_event", {
            "data": data, "event_type": event_type, "retry": retry, "timestamp": timestamp, "user_id": user_id,
            "tenant_id": tenant_id, "principal": principal, "status": status,
        }, timeout=timeout)

    async def create_task(
        self, *, task_id: str | None = None, id_format: Literal["uuid", "random"] | None = None,
        session_id: str | None = None, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        status: CreateTaskStatus | None = None, original_method: str | None = None, original_params: Any | None = None,
        ttl: int | None = None, poll_interval: int | None = None, status_message: str | None = None,
        meta: Any | None = None, timeout: float | None | Unset = UNSET,
    ) -> Task:
        """Makes a task; one of a session takes the session's owners where it names none.

        task_id: The id; made when absent.
        id_format: How a generated id looks: a UUID v7, or 256 random bits in base64url for an id that is itself a
            capability.
        session_id: The session that it belongs to.
        status: working when absent.
        original_method: The method of the request that it stands for.
        original_params: The parameters of that request; kept as they are.
        ttl: Milliseconds from its creation until it lapses; never when absent.
        poll_interval: Milliseconds that a client should wait between two looks.
        status_message: What to tell people.
        meta: Anything else; kept as it is.
        """
        return await self.call("create_task", {
            "task_id": task_id, "id_format": id_format, "session_id": session_id, "tenant_id": tenant_id,
            "principal": principal, "status": status, "original_method": original_method,
            "original_params": original_params, "ttl": ttl, "poll_interval": poll_interval,
            "status_message": status_message, "meta": meta,
        }, timeout=timeout)

    async def get_task(
        self, task_id: str, *, omit: list[GetTaskOmit] | None = None, session_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Task | None:
        """The task, or null when it is unknown, lapsed or another owner's.

        task_id: The task.
        omit: Members that the answer does without; its `omitted` names those that there are.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("get_task", {
            "task_id": task_id, "omit": omit, "session_id": session_id, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def update_task(
        self, task: UpdateTaskTask, *, if_revision: int | None = None, force: bool | None = None,
        omit: list[UpdateTaskOmit] | None = None, session_id: str | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> Task:
        """Replaces the given fields, for migration and repair; absent ones stay.

        task: The task's id and the fields to replace.
        if_revision: Only when this is still the revision; else concurrent_modification.
        force: Also on a terminal task; false when absent.
        omit: Members that the answer does without; its `omitted` names those that there are.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("update_task", {
            "task": task, "if_revision": if_revision, "force": force, "omit": omit, "session_id": session_id,
            "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def touch_task(
        self, task_id: str, *, status_message: str | None = None, ttl: int | None = None,
        poll_interval: int | None = None, omit: list[TouchTaskOmit] | None = None, session_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Task:
        """Progress and heartbeat without a transition.

        task_id: The task.
        status_message: What to tell people; absent leaves it.
        ttl: A new time to live, in milliseconds from the creation.
        poll_interval: Milliseconds that a client should wait between two looks.
        omit: Members that the answer does without; its `omitted` names those that there are.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("touch_task", {
            "task_id": task_id, "status_message": status_message, "ttl": ttl, "poll_interval": poll_interval,
            "omit": omit, "session_id": session_id, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def delete_task(
        self, task_id: str, *, session_id: str | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> DeleteTaskResult:
        """Deletes a task and its queue.

        task_id: The task.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("delete_task", {
            "task_id": task_id, "session_id": session_id, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def list_tasks(
        self, *, status: ListTasksStatus | None = None, session_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET, cursor: str | None = None,
        limit: int | None = None, timeout: float | None | Unset = UNSET,
    ) -> ListTasksResult:
        """Tasks in the order of creation.

        status: Only tasks of this status.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        cursor: `next_cursor` of the page before.
        limit: Entries on a page; 50 when absent.
        """
        return await self.call("list_tasks", {
            "status": status, "session_id": session_id, "tenant_id": tenant_id, "principal": principal,
            "cursor": cursor, "limit": limit,
        }, timeout=timeout)

    async def list_tasks_for_session(
        self, session_id: str, *, status: ListTasksForSessionStatus | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET, cursor: str | None = None,
        limit: int | None = None, timeout: float | None | Unset = UNSET,
    ) -> ListTasksForSessionResult:
        """The tasks of a session in the order of creation.

        session_id: The session.
        status: Only tasks of this status.
        cursor: `next_cursor` of the page before.
        limit: Entries on a page; 50 when absent.
        """
        return await self.call("list_tasks_for_session", {
            "session_id": session_id, "status": status, "tenant_id": tenant_id, "principal": principal,
            "cursor": cursor, "limit": limit,
        }, timeout=timeout)

    async def update_task_status(
        self, task_id: str, *, status: UpdateTaskStatusStatus, status_message: str | None = None,
        if_revision: int | None = None, omit: list[UpdateTaskStatusOmit] | None = None, session_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Task:
        """Takes a task from one status to another.

        task_id: The task.
        status: The new status.
        status_message: What to tell people; absent clears it.
        if_revision: Only when this is still the revision; else concurrent_modification.
        omit: Members that the answer does without; its `omitted` names those that there are.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("update_task_status", {
            "task_id": task_id, "status": status, "status_message": status_message, "if_revision": if_revision,
            "omit": omit, "session_id": session_id, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def store_task_result(
        self, task_id: str, *, result: StoreTaskResultResult, omit: list[StoreTaskResultOmit] | None = None,
        session_id: str | None = None, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Task:
        """Stores an outcome without changing the status; a terminal task keeps the one that it has.

        task_id: The task.
        result: {"success": value} or {"error": {code, message, data}}.
        omit: Members that the answer does without; its `omitted` names those that there are.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("store_task_result", {
            "task_id": task_id, "result": result, "omit": omit, "session_id": session_id, "tenant_id": tenant_id,
            "principal": principal,
        }, timeout=timeout)

    async def get_task_result(
        self, task_id: str, *, session_id: str | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> GetTaskResultResult:
        """The outcome of a task; null when there is none yet.

        task_id: The task.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("get_task_result", {
            "task_id": task_id, "session_id": session_id, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def complete_task(
        self, task_id: str, *, result: Any, status_message: str | None = None,
        omit: list[CompleteTaskOmit] | None = None, session_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Task:
        """Outcome and status in one step: the task has succeeded.

        task_id: The task.
        result: What the request gives; kept as it is.
        status_message: What to tell people; absent clears it.
        omit: Members that the answer does without; its `omitted` names those that there are.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("complete_task", {
            "task_id": task_id, "result": result, "status_message": status_message, "omit": omit,
            "session_id": session_id, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def fail_task(
        self, task_id: str, *, error: FailTaskError, status_message: str | None = None,
        omit: list[FailTaskOmit] | None = None, session_id: str | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> Task:
        """Outcome and status in one step: the task has failed.

        task_id: The task.
        error: {code, message, data}; kept as it is.
        status_message: What to tell people; absent clears it.
        omit: Members that the answer does without; its `omitted` names those that there are.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("fail_task", {
            "task_id": task_id, "error": error, "status_message": status_message, "omit": omit,
            "session_id": session_id, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def cancel_task(
        self, task_id: str, *, cooperative: bool | None = None, omit: list[CancelTaskOmit] | None = None,
        session_id: str | None = None, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Task:
        """Cancels a task at once, or only says that somebody wants it.

        task_id: The task.
        cooperative: Only sets cancel_requested; false when absent.
        omit: Members that the answer does without; its `omitted` names those that there are.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("cancel_task", {
            "task_id": task_id, "cooperative": cooperative, "omit": omit, "session_id": session_id,
            "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def require_task_input(
        self, task_id: str, *, input_requests: dict[str, Any], omit: list[RequireTaskInputOmit] | None = None,
        session_id: str | None = None, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Task:
        """Asks for input, or for more of it; keys are never used twice.

        task_id: The task.
        input_requests: What is asked for, by key.
        omit: Members that the answer does without; its `omitted` names those that there are.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("require_task_input", {
            "task_id": task_id, "input_requests": input_requests, "omit": omit, "session_id": session_id,
            "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def provide_task_input(
        self, task_id: str, *, input_responses: dict[str, Any], omit: list[ProvideTaskInputOmit] | None = None,
        session_id: str | None = None, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> Task:
        """Gives answers; when all are in the task is working again.

        task_id: The task.
        input_responses: Answers, by key; those not asked for are ignored.
        omit: Members that the answer does without; its `omitted` names those that there are.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("provide_task_input", {
            "task_id": task_id, "input_responses": input_responses, "omit": omit, "session_id": session_id,
            "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def enqueue_task_message(
        self, task_id: str, *, message: Any, max_size: int | None = None, session_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> EnqueueTaskMessageResult:
        """Puts a message at the end of a task's queue.

        task_id: The task.
        message: The message; kept as it is.
        max_size: Messages at most; --max-task-messages when absent.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("enqueue_task_message", {
            "task_id": task_id, "message": message, "max_size": max_size, "session_id": session_id,
            "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def dequeue_task_message(
        self, task_id: str, *, session_id: str | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> DequeueTaskMessageResult:
        """Takes the message at the front of a task's queue.

        task_id: The task.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("dequeue_task_message", {
            "task_id": task_id, "session_id": session_id, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def dequeue_all_task_messages(
        self, task_id: str, *, session_id: str | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> DequeueAllTaskMessagesResult:
        """Takes all messages of a task's queue, as many as one answer holds.

        task_id: The task.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("dequeue_all_task_messages", {
            "task_id": task_id, "session_id": session_id, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def peek_task_messages(
        self, task_id: str, *, cursor: str | None = None, limit: int | None = None, session_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> PeekTaskMessagesResult:
        """Looks at a task's queue and takes nothing out of it.

        task_id: The task.
        cursor: next_cursor of the page before.
        limit: Messages at most; 50 when absent, 0 only for the size.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("peek_task_messages", {
            "task_id": task_id, "cursor": cursor, "limit": limit, "session_id": session_id, "tenant_id": tenant_id,
            "principal": principal,
        }, timeout=timeout)

    async def expire_tasks(
        self, *, limit: int | None = None, timeout: float | None | Unset = UNSET,
    ) -> ExpireTasksResult:
        """Removes tasks whose time is over, whatever their status.

        limit: Tasks at most; 1,000 when absent.
        """
        return await self.call("expire_tasks", {"limit": limit}, timeout=timeout)

    async def recover_stuck_tasks(
        self, max_age: int, *, session_id: str | None = None, limit: int | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> RecoverStuckTasksResult:
        """Fails the tasks that are not terminal and were not touched for long: their server died over them.

        max_age: Milliseconds: those untouched for longer.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        limit: Tasks at most; 10,000 when absent.
        """
        return await self.call("recover_stuck_tasks", {
            "max_age": max_age, "session_id": session_id, "limit": limit, "tenant_id": tenant_id,
            "principal": principal,
        }, timeout=timeout)

    async def task_count(
        self, *, status: TaskCountStatus | None = None, session_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> TaskCountResult:
        """How many tasks a list with these filters has.

        status: Only tasks of this status.
        session_id: Only when the task belongs to this session; else it is answered as missing.
        """
        return await self.call("task_count", {
            "status": status, "session_id": session_id, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def consume_nonce(
        self, nonce: str, *, ttl: int, principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> ConsumeNonceResult:
        """Whether a single-use token is used for the first time.

        nonce: The token.
        ttl: Milliseconds for which it is remembered.
        """
        return await self.call("consume_nonce", {"nonce": nonce, "ttl": ttl, "principal": principal}, timeout=timeout)

    async def put_value(
        self, collection: str, *, key: str, value: Any, ttl: int | None = None, if_absent: bool | None = None,
        if_revision: int | None = None, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> PutValueResult:
        """Stores a value under a key of a collection.

        collection: A name for values that belong together.
        key: The key.
        value: Any JSON; kept as it is.
        ttl: Milliseconds until it lapses; it stays when absent.
        if_absent: Only when there is none; false when absent.
        if_revision: Only when this is still the revision; else concurrent_modification.
        """
        return await self.call("put_value", {
            "collection": collection, "key": key, "value": value, "ttl": ttl, "if_absent": if_absent,
            "if_revision": if_revision, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def get_value(
        self, collection: str, *, key: str, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> GetValueResult:
        """The value under a key; a stored null is not an absent one.

        collection: A name for values that belong together.
        key: The key.
        """
        return await self.call("get_value", {
            "collection": collection, "key": key, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def delete_value(
        self, collection: str, *, key: str, if_revision: int | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> DeleteValueResult:
        """Removes the value under a key.

        collection: A name for values that belong together.
        key: The key.
        if_revision: Only when this is still the revision; else concurrent_modification.
        """
        return await self.call("delete_value", {
            "collection": collection, "key": key, "if_revision": if_revision, "tenant_id": tenant_id,
            "principal": principal,
        }, timeout=timeout)

    async def list_values(
        self, collection: str, *, prefix: str | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, cursor: str | None = None, limit: int | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> ListValuesResult:
        """The values of one owner's collection in the order of creation.

        collection: A name for values that belong together.
        prefix: Only keys that begin with this.
        cursor: `next_cursor` of the page before.
        limit: Entries on a page; 50 when absent.
        """
        return await self.call("list_values", {
            "collection": collection, "prefix": prefix, "tenant_id": tenant_id, "principal": principal,
            "cursor": cursor, "limit": limit,
        }, timeout=timeout)

    async def enqueue_work(
        self, queue: str, *, work_id: str, payload: Any, group: str | None = None, subscription_id: str | None = None,
        ordered: bool | None = None, position: int | None = None, not_before: int | None = None,
        delay: int | None = None, max_attempts: int | None = None, give_up_after: int | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> EnqueueWorkResult:
        """Puts an item of work into a queue, unless its id is there.

        queue: The queue.
        work_id: The item's id in its queue.
        payload: What is to be done; kept as it is.
        group: Items that take turns with others as one.
        subscription_id: The event subscription that it is for, which is a group of its own.
        ordered: Whether its group is done one at a time, in order; false when absent.
        position: Where it stands in what it comes from, for the watermark.
        not_before: Unix milliseconds before which it is not ready; now when absent.
        delay: The same as milliseconds from now.
        max_attempts: Claims after which it is dead; any number when absent.
        give_up_after: Milliseconds after which it is dead; never when absent.
        """
        return await self.call("enqueue_work", {
            "queue": queue, "work_id": work_id, "payload": payload, "group": group, "subscription_id": subscription_id,
            "ordered": ordered, "position": position, "not_before": not_before, "delay": delay,
            "max_attempts": max_attempts, "give_up_after": give_up_after, "tenant_id": tenant_id,
            "principal": principal,
        }, timeout=timeout)

    async def claim_work(
        self, queue: str, *, worker: str | None = None, lease: int | None = None, limit: int | None = None,
        per_group: int | None = None, include_subscription: bool | None = None, timeout: float | None | Unset = UNSET,
    ) -> ClaimWorkResult:
        """Leases what is ready of a queue to a worker.

        queue: The queue.
        worker: Who claims; for people.
        lease: Milliseconds for which it is the worker's; 60,000 when absent.
        limit: Items at most; 1 when absent.
        per_group: Leases that one group may have at the same time; 1 when absent.
        include_subscription: Whether each item comes with the event subscription that it is for, secrets too; false
            when absent.
        """
        return await self.call("claim_work", {
            "queue": queue, "worker": worker, "lease": lease, "limit": limit, "per_group": per_group,
            "include_subscription": include_subscription,
        }, timeout=timeout)

    async def renew_work(
        self, queue: str, *, work_id: str, fence: int, lease: int | None = None, timeout: float | None | Unset = UNSET,
    ) -> RenewWorkResult:
        """Prolongs a lease.

        queue: The queue.
        work_id: The item's id in its queue.
        fence: What claim_work gave with the item.
        lease: Milliseconds for which it is the worker's; 60,000 when absent.
        """
        return await self.call("renew_work", {
            "queue": queue, "work_id": work_id, "fence": fence, "lease": lease,
        }, timeout=timeout)

    async def settle_work(
        self, queue: str, *, work_id: str, fence: int, outcome: SettleWorkOutcome, not_before: int | None = None,
        delay: int | None = None, error: str | None = None, timeout: float | None | Unset = UNSET,
    ) -> SettleWorkResult:
        """Says what became of leased work.

        queue: The queue.
        work_id: The item's id in its queue.
        fence: What claim_work gave with the item.
        outcome: done; retry later; dead: it is of no use; release: it was not begun, the attempt does not count.
        not_before: Unix milliseconds before which it is not ready; now when absent.
        delay: The same as milliseconds from now.
        error: Why it is not done: a word for machines.
        """
        return await self.call("settle_work", {
            "queue": queue, "work_id": work_id, "fence": fence, "outcome": outcome, "not_before": not_before,
            "delay": delay, "error": error,
        }, timeout=timeout)

    async def cancel_work(
        self, queue: str, *, work_id: str | None = None, group: str | None = None, subscription_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> CancelWorkResult:
        """Removes an item, or all of a group, whatever has become of it: its name begins anew.

        queue: The queue.
        work_id: Only this item.
        group: Only the items of this group.
        subscription_id: Only the items for this event subscription.
        """
        return await self.call("cancel_work", {
            "queue": queue, "work_id": work_id, "group": group, "subscription_id": subscription_id,
            "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def list_work(
        self, *, queue: str | None = None, group: str | None = None, subscription_id: str | None = None,
        status: ListWorkStatus | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, cursor: str | None = None, limit: int | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> ListWorkResult:
        """Items of work in the order of enqueueing.

        queue: Only items of this queue; required with group and subscription_id.
        group: Only the items of this group.
        subscription_id: Only the items for this event subscription.
        status: Only items of this status.
        cursor: `next_cursor` of the page before.
        limit: Entries on a page; 50 when absent.
        """
        return await self.call("list_work", {
            "queue": queue, "group": group, "subscription_id": subscription_id, "status": status,
            "tenant_id": tenant_id, "principal": principal, "cursor": cursor, "limit": limit,
        }, timeout=timeout)

    async def revive_work(
        self, queue: str, *, work_id: str | None = None, group: str | None = None, subscription_id: str | None = None,
        limit: int | None = None, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> ReviveWorkResult:
        """Makes dead items wait again, with all their attempts.

        queue: The queue.
        work_id: Only this item.
        group: Only the items of this group.
        subscription_id: Only the items for this event subscription.
        limit: Items at most; 1,000 when absent.
        """
        return await self.call("revive_work", {
            "queue": queue, "work_id": work_id, "group": group, "subscription_id": subscription_id, "limit": limit,
            "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def put_event_subscription(
        self, subscription_id: str, *, topic: str, data: Any | None = None, secret: str | None = None,
        secret_grace: int | None = None, start_after: int | None = None, ttl: int | None = None,
        active: bool | None = None, ended_queue: str | None = None, if_revision: int | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> PutEventSubscriptionResult:
        """Makes a subscription of somebody to a topic, or grants it anew.

        subscription_id: The subscription.
        topic: What is subscribed to.
        data: Where and how to tell; kept as it is. The one that is there when absent.
        secret: What deliveries are signed with. The one that is there when absent.
        secret_grace: Milliseconds for which the secret that it replaces stays known; 300,000.
        start_after: The position behind which it begins; counts only when it is made.
        ttl: Milliseconds until it lapses; 0: it never does. What is there stays when absent; a new one never lapses.
        active: Whether its work is claimed; true when absent.
        ended_queue: The queue in which its end is told: ended, or a name that ends with /ended. The one that is there
            when absent.
        if_revision: Only when this is still the revision; else concurrent_modification.
        """
        return await self.call("put_event_subscription", {
            "subscription_id": subscription_id, "topic": topic, "data": data, "secret": secret,
            "secret_grace": secret_grace, "start_after": start_after, "ttl": ttl, "active": active,
            "ended_queue": ended_queue, "if_revision": if_revision, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def get_event_subscription(
        self, subscription_id: str, *, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> EventSubscription | None:
        """A subscription with its secrets, or null when it is unknown, over or another owner's.

        subscription_id: The subscription.
        """
        return await self.call("get_event_subscription", {
            "subscription_id": subscription_id, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def delete_event_subscription(
        self, subscription_id: str, *, reason: str | None = None, announce: bool | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> DeleteEventSubscriptionResult:
        """Ends a subscription and cancels its work.

        subscription_id: The subscription.
        reason: What the one is told who announces it; deleted when absent.
        announce: Whether an item in its `ended_queue` tells of it; true when absent.
        """
        return await self.call("delete_event_subscription", {
            "subscription_id": subscription_id, "reason": reason, "announce": announce, "tenant_id": tenant_id,
            "principal": principal,
        }, timeout=timeout)

    async def list_event_subscriptions(
        self, *, topic: str | None = None, active: bool | None = None, tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, cursor: str | None = None, limit: int | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> ListEventSubscriptionsResult:
        """Subscriptions in the order of creation, without secrets.

        topic: Only those to this topic.
        active: Only those that are active, or are not.
        cursor: `next_cursor` of the page before.
        limit: Entries on a page; 50 when absent.
        """
        return await self.call("list_event_subscriptions", {
            "topic": topic, "active": active, "tenant_id": tenant_id, "principal": principal, "cursor": cursor,
            "limit": limit,
        }, timeout=timeout)

    async def append_log_entry(
        self, session_id: str, *, entry: dict[str, Any], deduplicate: bool | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        timeout: float | None | Unset = UNSET,
    ) -> AppendLogEntryResult:
        """Appends one entry to a session's log, once for each message id.

        session_id: The session.
        entry: Any object, kept as it is; message_id, kind (incoming, internal, checkpoint), received_at and sender are
            read of it.
        deduplicate: Whether a known message_id is noticed; true when absent.
        """
        return await self.call("append_log_entry", {
            "session_id": session_id, "entry": entry, "deduplicate": deduplicate, "tenant_id": tenant_id,
            "principal": principal,
        }, timeout=timeout)

    async def load_log(
        self, session_id: str, *, after_seq: int | None = None,
        kind: Literal["incoming", "internal", "checkpoint"] | None = None, from_last_checkpoint: bool | None = None,
        limit: int | None = None, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        include_ended: bool | None = None, timeout: float | None | Unset = UNSET,
    ) -> LoadLogResult:
        """The entries of a session's log after a seq.

        session_id: The session.
        after_seq: next_after of the page before; 0, the beginning, when absent.
        kind: Only entries of this kind.
        from_last_checkpoint: Begins with the newest checkpoint, if there is one; false when absent.
        limit: Entries at most; 1,000 when absent.
        include_ended: Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent.
        """
        return await self.call("load_log", {
            "session_id": session_id, "after_seq": after_seq, "kind": kind,
            "from_last_checkpoint": from_last_checkpoint, "limit": limit, "tenant_id": tenant_id,
            "principal": principal, "include_ended": include_ended,
        }, timeout=timeout)

    async def replace_log(
        self, session_id: str, *, entries: list[dict[str, Any]], tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> ReplaceLogResult:
        """Puts entries in the place of the whole log; the numbering goes on.

        session_id: The session.
        entries: The entries in order, as in append_log_entry.
        """
        return await self.call("replace_log", {
            "session_id": session_id, "entries": entries, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def compact_log(
        self, session_id: str, *, checkpoint: dict[str, Any], tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> CompactLogResult:
        """Puts one checkpoint in the place of the whole log; message ids stay known.

        session_id: The session.
        checkpoint: The entry that stands for all before it; its kind is checkpoint.
        """
        return await self.call("compact_log", {
            "session_id": session_id, "checkpoint": checkpoint, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def log_participants(
        self, session_id: str, *, cursor: str | None = None, limit: int | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET, include_ended: bool | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> LogParticipantsResult:
        """Who wrote to a session's log: how many entries, and when the last.

        session_id: The session.
        cursor: `next_cursor` of the page before.
        limit: Entries on a page; 50 when absent.
        include_ended: Whether sessions that have ended and are kept (--retain-ended) are read too; false when absent.
        """
        return await self.call("log_participants", {
            "session_id": session_id, "cursor": cursor, "limit": limit, "tenant_id": tenant_id, "principal": principal,
            "include_ended": include_ended,
        }, timeout=timeout)

    async def note_log_message_ids(
        self, session_id: str, *, message_ids: list[str], tenant_id: str | None | Unset = UNSET,
        principal: str | None | Unset = UNSET, timeout: float | None | Unset = UNSET,
    ) -> NoteLogMessageIdsResult:
        """Makes message ids known that were seen elsewhere: what has one of them is a duplicate from then on.

        session_id: The session.
        message_ids: The ids, the oldest first.
        """
        return await self.call("note_log_message_ids", {
            "session_id": session_id, "message_ids": message_ids, "tenant_id": tenant_id, "principal": principal,
        }, timeout=timeout)

    async def record_security_event(
        self, type: RecordSecurityEventType, *, severity: RecordSecurityEventSeverity, session_id: str | None = None,
        user_id: str | None = None, message: str | None = None, ip_address: str | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> RecordSecurityEventResult:
        """Notes a security event; too many of at least medium severity, or a critical one, invalidate the session.

        session_id: The session that it is about; it need not exist.
        user_id: The user that it is about; the session's when absent.
        type: What happened.
        severity: How bad it is.
        message: More, for people.
        ip_address: From where.
        """
        return await self.call("record_security_event", {
            "type": type, "severity": severity, "session_id": session_id, "user_id": user_id, "message": message,
            "ip_address": ip_address,
        }, timeout=timeout)

    async def list_audit_events(
        self, *, session_id: str | None = None, user_id: str | None = None, type: ListAuditEventsType | None = None,
        min_severity: ListAuditEventsMinSeverity | None = None, since: int | None = None, ip_address: str | None = None,
        cursor: str | None = None, limit: int | None = None, timeout: float | None | Unset = UNSET,
    ) -> ListAuditEventsResult:
        """Lifecycle changes and security events, oldest first; they outlive their sessions.

        session_id: Only about this session, whether it still exists or not.
        user_id: Only about this user.
        type: Only these.
        min_severity: Only security events at least so bad.
        since: Unix milliseconds: only from then on.
        ip_address: Only from this address.
        cursor: `next_cursor` of the page before.
        limit: Entries on a page; 50 when absent.
        """
        return await self.call("list_audit_events", {
            "session_id": session_id, "user_id": user_id, "type": type, "min_severity": min_severity, "since": since,
            "ip_address": ip_address, "cursor": cursor, "limit": limit,
        }, timeout=timeout)

    async def audit_counts(
        self, by: AuditCountsBy, *, session_id: str | None = None, user_id: str | None = None,
        type: AuditCountsType | None = None, min_severity: AuditCountsMinSeverity | None = None,
        since: int | None = None, ip_address: str | None = None, limit: int | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> AuditCountsResult:
        """How many events of the audit trail name each user, address, session or type.

        by: What is counted by; what names none is not.
        session_id: Only about this session, whether it still exists or not.
        user_id: Only about this user.
        type: Only these.
        min_severity: Only security events at least so bad.
        since: Unix milliseconds: only from then on.
        ip_address: Only from this address.
        limit: Entries at most; 50 when absent.
        """
        return await self.call("audit_counts", {
            "by": by, "session_id": session_id, "user_id": user_id, "type": type, "min_severity": min_severity,
            "since": since, "ip_address": ip_address, "limit": limit,
        }, timeout=timeout)

    async def get_audit_head(self, *, timeout: float | None | Unset = UNSET) -> GetAuditHeadResult:
        """Where the audit trail stands, to be noted elsewhere: check_integrity tells later whether it still does."""
        return await self.call("get_audit_head", {}, timeout=timeout)

    async def check_rate_limit(
        self, key: str, *, limit: int, window: int, session_id: str | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> CheckRateLimitResult:
        """Takes one request off a key's allowance: a burst of `limit`, then evenly that many in each window.

        key: What is limited: a user, an address, a method of one of them.
        limit: Requests in a window.
        window: Milliseconds.
        session_id: Where they come from: with --count-denied-rates a denial is a violation of it.
        """
        return await self.call("check_rate_limit", {
            "key": key, "limit": limit, "window": window, "session_id": session_id,
        }, timeout=timeout)

    async def validate_input(
        self, text: str, *, session_id: str | None = None, max_bytes: int | None = None,
        patterns: list[Literal["script", "sql"]] | None = None, timeout: float | None | Unset = UNSET,
    ) -> ValidateInputResult:
        """Screens a text for size, control characters, scripts or SQL; what fails is recorded.

        text: The text.
        session_id: Who sent it, for the record: with --count-refused-input a violation.
        max_bytes: Bytes of UTF-8 that it may have; 10,000 when absent.
        patterns: What is looked for besides; script alone when absent.
        """
        return await self.call("validate_input", {
            "text": text, "session_id": session_id, "max_bytes": max_bytes, "patterns": patterns,
        }, timeout=timeout)

    async def export_user_data(
        self, *, user_id: str | None = None, principal: str | None = None, tenant_id: str | None = None,
        cursor: str | None = None, limit: int | None = None, timeout: float | None | Unset = UNSET,
    ) -> ExportUserDataResult:
        """All that is stored about somebody: records as a dump has them, in pages.

        user_id: Sessions of this user, and audit events about it.
        cursor: `next_cursor` of the page before.
        limit: Records on a page; 50 when absent.
        """
        return await self.call("export_user_data", {
            "user_id": user_id, "principal": principal, "tenant_id": tenant_id, "cursor": cursor, "limit": limit,
        }, timeout=timeout)

    async def delete_user_data(
        self, *, user_id: str | None = None, principal: str | None = None, tenant_id: str | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> DeleteUserDataResult:
        """Deletes all that is stored about somebody, in one transaction, and writes nothing about it.

        user_id: Sessions of this user, and audit events about it.
        """
        return await self.call("delete_user_data", {
            "user_id": user_id, "principal": principal, "tenant_id": tenant_id,
        }, timeout=timeout)

    async def set_retention(
        self, tenant_id: str, *, retain_ended: int | None = None, max_events_per_session: int | None = None,
        max_task_ttl: int | None = None, max_log_entries_per_session: int | None = None,
        audit_retention: int | None = None, timeout: float | None | Unset = UNSET,
    ) -> SetRetentionResult:
        """Says how a tenant's data is kept, all of it anew; what is absent or null is as the options say.

        retain_ended: Milliseconds for which its sessions are kept when they have ended: only with --retain-ended.
        max_events_per_session: Events that each of its sessions holds; 0: any number.
        max_task_ttl: Milliseconds that each of its tasks lives at most.
        max_log_entries_per_session: Entries that the log of each of its sessions holds; 0: any number.
        audit_retention: Milliseconds after which its events in the audit trail are erased; 0: never for their age.
        """
        return await self.call("set_retention", {
            "tenant_id": tenant_id, "retain_ended": retain_ended, "max_events_per_session": max_events_per_session,
            "max_task_ttl": max_task_ttl, "max_log_entries_per_session": max_log_entries_per_session,
            "audit_retention": audit_retention,
        }, timeout=timeout)

    async def get_retention(self, tenant_id: str, *, timeout: float | None | Unset = UNSET) -> GetRetentionResult:
        """How a tenant's data is kept: what was said of it, and what that comes to."""
        return await self.call("get_retention", {"tenant_id": tenant_id}, timeout=timeout)

    async def list_retention(
        self, *, cursor: str | None = None, limit: int | None = None, timeout: float | None | Unset = UNSET,
    ) -> ListRetentionResult:
        """The tenants that have a retention of their own.

        cursor: `next_cursor` of the page before.
        limit: Entries on a page; 50 when absent.
        """
        return await self.call("list_retention", {"cursor": cursor, "limit": limit}, timeout=timeout)

    async def place_legal_hold(
        self, name: str, *, tenant_id: str | None = None, principal: str | None = None, reason: str | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> PlaceLegalHoldResult:
        """Keeps what is bound to a tenant or principal from being deleted.

        name: The hold's name.
        reason: Why, for the record.
        """
        return await self.call("place_legal_hold", {
            "name": name, "tenant_id": tenant_id, "principal": principal, "reason": reason,
        }, timeout=timeout)

    async def lift_legal_hold(self, name: str, *, timeout: float | None | Unset = UNSET) -> LiftLegalHoldResult:
        """Lets what a hold kept go its way again.

        name: The hold's name.
        """
        return await self.call("lift_legal_hold", {"name": name}, timeout=timeout)

    async def list_legal_holds(
        self, *, cursor: str | None = None, limit: int | None = None, timeout: float | None | Unset = UNSET,
    ) -> ListLegalHoldsResult:
        """Holds in the order in which they were placed.

        cursor: `next_cursor` of the page before.
        limit: Entries on a page; 50 when absent.
        """
        return await self.call("list_legal_holds", {"cursor": cursor, "limit": limit}, timeout=timeout)

    async def list_payloads(
        self, *, cursor: str | None = None, limit: int | None = None, timeout: float | None | Unset = UNSET,
    ) -> ListPayloadsResult:
        """All payloads as they are stored, whosever they are, in pages.

        cursor: `next_cursor` of the page before.
        limit: Entries on a page; 50 when absent.
        """
        return await self.call("list_payloads", {"cursor": cursor, "limit": limit}, timeout=timeout)

    async def replace_payloads(
        self, changes: list[ReplacePayloadsChanges], *, timeout: float | None | Unset = UNSET,
    ) -> ReplacePayloadsResult:
        """Puts payloads in the place of those that were read, as another form of the same: nobody is told.

        changes: All of them or none; see `missed`.
        """
        return await self.call("replace_payloads", {"changes": changes}, timeout=timeout)

    async def initialize(
        self, *, client: InitializeClient | None = None, protocol_version: str | None = None,
        require: list[str] | None = None, timeout: float | None | Unset = UNSET,
    ) -> ServerInfo:
        """An optional handshake by capabilities; refused when something that is required is not there.

        client: Who calls.
        protocol_version: The newest version of this contract that the client knows.
        require: Capabilities and methods that the client needs.
        """
        return await self.call("initialize", {
            "client": client, "protocol_version": protocol_version, "require": require,
        }, timeout=timeout)

    async def server_info(self, *, timeout: float | None | Unset = UNSET) -> ServerInfo:
        """What this program is, what it can do and what its limits are."""
        return await self.call("server_info", {}, timeout=timeout)

    async def health(self, *, timeout: float | None | Unset = UNSET) -> HealthResult:
        """Whether all is well, with the reasons when it is not."""
        return await self.call("health", {}, timeout=timeout)

    async def get_metrics(
        self, *, format: Literal["json", "prometheus"] | None = None, timeout: float | None | Unset = UNSET,
    ) -> Metrics:
        """What is in the store, and what this process has done; it reads every row of sessions, tasks and values.

        format: json when absent.
        """
        return await self.call("get_metrics", {"format": format}, timeout=timeout)

    async def maintenance(self, *, timeout: float | None | Unset = UNSET) -> MaintenanceResult:
        """Sweeps what has expired, gives free pages back and runs a checkpoint, a bounded slice of each."""
        return await self.call("maintenance", {}, timeout=timeout)

    async def check_integrity(
        self, *, expected_head: str | None = None, timeout: float | None | Unset = UNSET,
    ) -> CheckIntegrityResult:
        """Looks for damage and tampering in the whole file, beside the requests; answered when done.

        expected_head: Of the audit trail, noted earlier: whether it still goes on from there.
        """
        return await self.call("check_integrity", {"expected_head": expected_head}, timeout=timeout)

    async def transaction(
        self, calls: list[TransactionCalls], *, timeout: float | None | Unset = UNSET,
    ) -> TransactionResult:
        """Runs several calls, all or none.

        calls: The calls in their order.
        """
        return await self.call("transaction", {"calls": calls}, timeout=timeout)

    async def discover(self, *, timeout: float | None | Unset = UNSET) -> dict[str, Any]:
        """This contract as an OpenRPC document."""
        return await self.call("rpc.discover", {}, timeout=timeout)
