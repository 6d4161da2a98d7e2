"""MCP Events (SEP-3415) for servers of the official SDK 2.x, with cursors that outlive restarts."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp_types import INTERNAL_ERROR, INVALID_REQUEST, RequestParams
from pydantic import ConfigDict

from .errors import StoreError
from .event_errors import EventsError, ProfileName, invalid, profile_of
from .event_names import Position
from .event_source import MAX_EVENTS, MOST_EVENTS
from .mcp_task_extension import caller_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

    from .event_errors import Profile
    from .event_source import Delivery, EventSource, EventType
    from .subscription import EventSubscription
    from .subscription_bus import StoreSubscriptionBus

EXTENSION = "io.modelcontextprotocol/events"
#: of the protocol that has it
VERSIONS = frozenset({"2026-07-28"})
#: milliseconds until a client should ask again
POLL = 5_000
#: seconds between two signs of life of a stream, which the extension wants within 30
HEARTBEAT = 15.0
#: seconds between two attempts to go on where the store failed
PAUSE = 1.0
#: seconds for which a client that listens waits for the store, at most
OPENING = 5.0

logger = logging.getLogger("mcp_session_store")


class Webhooks(Protocol):
    """Who keeps subscriptions by webhook."""

    async def subscribe(self, principal: str | None, params: Mapping[str, Any]) -> dict[str, Any]:
        """The result of `events/subscribe`."""

    async def unsubscribe(self, principal: str | None, params: Mapping[str, Any]) -> None:
        """Ends one."""

    async def end_all(self, name: str, reason: Literal["not_found", "unsupported"]) -> int:
        """Ends all that there are to a type."""


class EventParams(RequestParams):
    """What comes is checked by the extension, which has errors of its own for it."""

    model_config = ConfigDict(extra="allow")

    @property
    def sent(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class EventsExtension(Extension):
    """Lets clients have events: by asking (`events/poll`), by a stream (`events/stream`), and by webhooks.

        source = EventSource(store, [EventType("thing.changed", "A thing changed.", {…}, {…})])
        events = EventsExtension(source)
        mcp = MCPServer("things", extensions=[events], middleware=[events])

    Given as middleware too it stands in `capabilities.events`, where clients of older drafts look, and answers who
    listens for changes of the list of types.

    A cursor is good for as long as the store keeps what is behind it, over restarts, on every replica.

    profile: which numbers errors have: `sep-3415`, or `sketch`, which ChatGPT speaks.
    webhooks: who keeps subscriptions by webhook; None: there are none.
    bus: tells other servers that the list of types changed; None: only who listens here is told.
    principal: who makes a request, where that is not the SDK's to know.
    list_changed: whether who listens is told that the types changed.
    heartbeat: seconds between two signs of life of a stream.
    poll_interval: milliseconds until a client should ask again.
    """

    identifier = EXTENSION

    def __init__(
        self, source: EventSource, *, profile: ProfileName | Profile = "sep-3415",
        webhooks: Webhooks | None = None, bus: StoreSubscriptionBus | None = None,
        principal: Callable[[ServerRequestContext[Any, Any]], str | None] | None = None, list_changed: bool = True,
        heartbeat: float = HEARTBEAT, poll_interval: int = POLL,
    ) -> None:
        if not 0 < heartbeat <= 30:
            raise ValueError("heartbeat: seconds, more than 0 and at most 30.")
        self.source = source
        self._profile = profile_of(profile)
        self._webhooks = webhooks
        self._bus = bus
        self._principal = principal or caller_of
        self._list_changed = list_changed
        self._heartbeat = heartbeat
        self._poll_interval = poll_interval
        #: of streams, what wakes them when the types change
        self._streams: set[asyncio.Event] = set()
        self._listeners: dict[object, Callable[[], None]] = {}

    def settings(self) -> dict[str, Any]:
        return {"listChanged": True} if self._list_changed else {}

    def methods(self) -> list[MethodBinding]:
        handlers = {"list": self._list, "poll": self._poll, "stream": self._stream}
        if self._webhooks is not None:
            handlers |= {"subscribe": self._subscribe, "unsubscribe": self._unsubscribe}
        return [MethodBinding(f"events/{name}", EventParams, handler, VERSIONS) for name, handler in handlers.items()]

    # The types

    async def add(self, kind: EventType) -> None:
        """Offers another type here, or one anew, and says so to who listens on any replica.

        Where its schemas are not those of before, streams of it end: what they were told no longer holds.
        """
        known = self.source.types.get(kind.name)
        self.source.add(kind)
        await self._changed()
        if known is not None and changed(known, kind) and self._webhooks is not None:
            await self._webhooks.end_all(kind.name, "unsupported")

    async def remove(self, name: str) -> None:
        """Offers a type no longer. Its streams end here, and its webhooks everywhere, with NotFound."""
        if self.source.types.pop(name, None) is None:
            return
        await self._changed()
        if self._webhooks is not None:
            await self._webhooks.end_all(name, "not_found")

    async def _changed(self) -> None:
        for stream in self._streams:
            stream.set()
        if self._bus is not None:
            await self._bus.publish_events_list_changed()
        else:
            for listen in list(self._listeners.values()):
                listen()

    # What clients ask

    async def _list(self, ctx: ServerRequestContext[Any, Any], params: EventParams) -> HandlerResult:
        if params.sent.get("cursor") is not None:
            raise self._error(invalid("There is no such page of event types."))
        return {"resultType": "complete", "events": [
            self._shown(kind) for kind in self.source.types.values() if self._shown(kind)["delivery"]]}

    def _shown(self, kind: EventType) -> dict[str, Any]:
        modes = [mode for mode in kind.delivery if mode != "webhook" or self._webhooks is not None]
        return {**kind.listed, "delivery": modes}

    async def _poll(self, ctx: ServerRequestContext[Any, Any], params: EventParams) -> HandlerResult:
        sent = params.sent
        try:
            kind, principal, arguments = await self._asked(ctx, sent, "poll")
            result = await self.source.poll(
                kind, principal, arguments, cursor_in(sent), max_age=number_in(sent, "maxAgeMs", 0),
                max_events=min(number_in(sent, "maxEvents", 1) or MAX_EVENTS, MOST_EVENTS))
        except EventsError as error:
            raise self._error(error) from None
        return {"resultType": "complete", **result, "nextPollMs": self._poll_interval}

    async def _subscribe(self, ctx: ServerRequestContext[Any, Any], params: EventParams) -> HandlerResult:
        assert self._webhooks is not None
        try:
            result = await self._webhooks.subscribe(self._principal(ctx), params.sent)
        except EventsError as error:
            raise self._error(error) from None
        return {"resultType": "complete", **result}

    async def _unsubscribe(self, ctx: ServerRequestContext[Any, Any], params: EventParams) -> HandlerResult:
        assert self._webhooks is not None
        try:
            await self._webhooks.unsubscribe(self._principal(ctx), params.sent)
        except EventsError as error:
            raise self._error(error) from None
        return {"resultType": "complete"}

    async def _stream(self, ctx: ServerRequestContext[Any, Any], params: EventParams) -> HandlerResult:
        sent = params.sent
        if ctx.request_id is None:
            raise MCPError(INVALID_REQUEST, "events/stream needs a request id")
        try:
            kind, principal, arguments = await self._asked(ctx, sent, "push")
            cursor, max_age = cursor_in(sent), number_in(sent, "maxAgeMs", 0)
        except EventsError as error:
            raise self._error(error) from None
        stream = _Stream(self, ctx, kind, principal, arguments)
        self._streams.add(stream.wake)
        try:
            await stream.run(cursor, max_age)
        finally:
            self._streams.discard(stream.wake)
        return {"resultType": "complete"}

    async def _asked(
        self, ctx: ServerRequestContext[Any, Any], sent: Mapping[str, Any], mode: Delivery,
    ) -> tuple[EventType, str | None, dict[str, Any]]:
        kind = self.source.offered(sent.get("name"), mode)
        principal = self._principal(ctx)
        return kind, principal, await self.source.admit(kind, principal, sent.get("arguments"))

    def _error(self, error: EventsError) -> MCPError:
        return MCPError(code=self._profile.code(error.refusal), message=str(error), data=error.data)

    def told(self, error: EventsError) -> dict[str, Any]:
        """An error within a notification."""
        found = {"code": self._profile.code(error.refusal), "message": str(error)}
        return found if error.data is None else {**found, "data": error.data}

    @property
    def heartbeat(self) -> float:
        """Seconds between two signs of life of a stream."""
        return self._heartbeat

    # As middleware

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method == "subscriptions/listen":
            wanted: Any = (ctx.params or {}).get("notifications")
            if self._list_changed and isinstance(wanted, dict) and wanted.get("eventsListChanged") is True:
                return await self._listen(ctx, call_next)
        result = await call_next(ctx)
        if ctx.method in ("server/discover", "initialize") and isinstance(result, dict):
            # The SDK has no place for a capability that it does not know.
            capabilities = result.get("capabilities")
            if isinstance(capabilities, dict):
                capabilities["events"] = self.settings()
        return result

    async def _listen(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """The SDK's own stream, and in it what it has no word for."""
        session = _ListeningSession(ctx.session)
        changes = asyncio.Event()
        token = object()
        if self._bus is not None:
            unsubscribe = self._bus.subscribe_events_list(changes.set)
            with suppress(asyncio.TimeoutError):  # the client is told that it listens when it does
                await asyncio.wait_for(self._bus.open(), OPENING)
        else:
            self._listeners[token] = changes.set

            def unsubscribe() -> None:
                self._listeners.pop(token, None)

        async def tell() -> None:
            await session.acknowledged.wait()
            while True:
                await changes.wait()
                changes.clear()  # several at once are one: read the list again
                await notify(ctx, "notifications/events/list_changed", {})

        telling = asyncio.ensure_future(tell())
        try:
            return await call_next(replace(ctx, session=cast("Any", session)))
        finally:
            unsubscribe()
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling


class _ListeningSession:
    """A session whose acknowledgement says that changes of the event types are told too."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.acknowledged = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def send_notification(self, notification: Any, related_request_id: Any = None) -> None:
        if notification.method == "notifications/subscriptions/acknowledged":
            notification.params.notifications = notification.params.notifications.model_copy(
                update={"eventsListChanged": True})
        await self._session.send_notification(notification, related_request_id)
        self.acknowledged.set()


class _Stream:
    """One `events/stream`, as long as its request is open."""

    def __init__(
        self, extension: EventsExtension, ctx: ServerRequestContext[Any, Any], kind: EventType,
        principal: str | None, arguments: dict[str, Any],
    ) -> None:
        self._extension = extension
        self._source = extension.source
        self._ctx = ctx
        self._kind = kind
        self._principal = principal
        self._arguments = arguments
        self._topic = extension.source.topic(kind.name)
        self._position = Position(0, 0)
        self._gap = False
        #: is set when the types changed
        self.wake = asyncio.Event()

    async def run(self, cursor: str | None, max_age: int | None) -> None:
        """Until it is over; raises CancelledError when its client has gone."""
        self._position, truncated = await self._topic.start(cursor, max_age)
        await self._tell("active", cursor=self._cursor, truncated=truncated)
        beating = asyncio.ensure_future(self._beat())
        reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait({beating, reading}, return_when=asyncio.FIRST_COMPLETED)
            ended = (beating if beating.done() else reading).result()
            if ended is not None:
                await self._tell("terminated", error=self._extension.told(ended))
        finally:
            for task in (beating, reading):
                task.cancel()
            await asyncio.gather(beating, reading, return_exceptions=True)

    @property
    def _cursor(self) -> str:
        return self._position.cursor(self._topic.session_id)

    async def _tell(self, kind: str, **params: Any) -> None:
        await notify(self._ctx, f"notifications/events/{kind}", params)

    async def _beat(self) -> EventsError | None:
        """Signs of life, and a look whether it may go on; gives why not."""
        while True:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.wake.wait(), self._extension.heartbeat)
            self.wake.clear()
            now = self._source.types.get(self._kind.name)
            if now is None:
                return EventsError("not_found", "The event type is no longer offered.", {"kind": "event"})
            if changed(self._kind, now):
                return EventsError("unsupported", "The event type has another schema now.",
                                   {"feature": "schema_changed", "value": self._kind.name})
            if not await self._source.may_have(now, self._principal, self._arguments):
                return EventsError("forbidden", "You may not have these events any more.")
            self._kind = now
            await self._tell("heartbeat", cursor=self._cursor)

    async def _read(self) -> EventsError | None:
        """The events, whatever becomes of the store, until that is closed."""
        store = self._source.store
        while True:
            try:
                page = await self._topic.after(self._position, limit=1)
                if page.position.epoch != self._position.epoch:
                    self._position = Position(page.position.epoch, 0)
                    await self._tell("active", cursor=self._cursor, truncated=True)
                changes = await store.subscribe_events(
                    self._topic.session_id, after_event_id=self._position.event_id, tenant_id=None, principal=None,
                    on_gap=lambda gap: self._missed())
                async with changes:
                    await self._follow(changes)
                    if changes.ended == "closed":
                        return None
            except StoreError as error:
                if store.refusal is not None:
                    return None
                logger.warning("A stream of events waits for the store: %s", error)
                await self._tell("error", error={"code": INTERNAL_ERROR, "message": "Events are late."})
                await asyncio.sleep(PAUSE)

    def _missed(self) -> None:
        self._gap = True

    async def _follow(self, changes: EventSubscription) -> None:
        async for event in changes:
            if self._gap:
                # What was gone lies before this one.
                self._gap = False
                self._position = Position(self._position.epoch, event["id"] - 1)
                await self._tell("active", cursor=self._cursor, truncated=True)
            self._position = Position(self._position.epoch, event["id"])
            occurrence: Any = event["data"]
            if self._kind.matches(self._arguments, occurrence["data"], self._principal):
                await self._tell("event", **{**occurrence, "cursor": self._cursor})


class _Notification:
    """What the SDK sends without knowing its kind."""

    def __init__(self, method: str, params: dict[str, Any]) -> None:
        self.method = method
        self._params = params

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return {"method": self.method, "params": self._params}


async def notify(ctx: ServerRequestContext[Any, Any], method: str, params: dict[str, Any]) -> None:
    """Sends a notification into the stream of a request, whose id it has."""
    meta = {**params.get("_meta", {}), SUBSCRIPTION_ID_META_KEY: ctx.request_id}
    notification: Any = _Notification(method, {**params, "_meta": meta})
    await ctx.session.send_notification(notification, related_request_id=ctx.request_id)


def changed(before: EventType, after: EventType) -> bool:
    """Whether what was asked for before may not hold any more: more members of a payload are no change."""
    if before.input_schema != after.input_schema:
        return True
    old, new = dict(before.payload_schema), dict(after.payload_schema)
    members: dict[str, Any] = old.pop("properties", {}) or {}
    now: dict[str, Any] = new.pop("properties", {}) or {}
    old.pop("required", None), new.pop("required", None)
    return old != new or any(now.get(name) != member for name, member in members.items())


def cursor_in(sent: Mapping[str, Any]) -> str | None:
    """Raises EventsError when it is no text."""
    cursor = sent.get("cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise invalid("cursor must be a string or null.")
    return cursor


def number_in(sent: Mapping[str, Any], name: str, least: int) -> int | None:
    """Raises EventsError when it is there and no whole number from `least` on."""
    number = sent.get(name)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise invalid(f"{name} must be a whole number, at least {least}.")
    return number
