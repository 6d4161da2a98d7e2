"""The surface of the package `mcp-webhook-events`, on this store: so that its own tests can be run against that.

Put in the place of the package under its name. Everything waits, as it does there, for calls on an event loop of its
own. Where the tests set the clock, it is that of the store's process.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path[:0] = [os.environ["ADAPTER_CLIENT"], os.environ["ADAPTER_RELIABILITY"]]

from mcp.shared.exceptions import MCPError
from preloaded import Clock

from mcp_session_store import Store
from mcp_session_store.event_errors import EventsError
from mcp_session_store.event_source import LARGEST, EventSource, EventType, equals
from mcp_session_store.events_extension import EventsExtension
from mcp_session_store.webhook_address import checked_url, is_public
from mcp_session_store.webhook_post import PostFailed, WebhookPost
from mcp_session_store.webhook_sender import WebhookSender
from mcp_session_store.webhook_subscriptions import WebhookSubscriptions, iso as iso_of
from mcp_session_store.work_loop import Lease

CALLBACK_ENDPOINT_ERROR = -32015
MAX_BODY = LARGEST
DEFAULT_TTL_MS = 604_800_000
MIN_TTL_MS = 3_600_000
VERIFY_CACHE_SECONDS = 86_400
ROTATION_WINDOW_SECONDS = 86_400
RETRY_DELAYS = (30, 120, 600, 1_800, 3_600, 7_200)

_loop = asyncio.new_event_loop()
threading.Thread(target=_loop.run_forever, daemon=True).start()


def wait(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(work, _loop).result(60)


def iso(seconds: float) -> str:
    return iso_of(round(seconds * 1_000))


class CallbackError(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _InvalidParams(Exception):
    pass


@dataclass
class EventDefinition:
    name: str
    description: str
    input_schema: dict[str, Any]
    payload_schema: dict[str, Any]
    matches: Callable[[Any, Any], bool] | None = None

    @property
    def kind(self) -> EventType:
        own = self.matches
        matches = equals if own is None else (lambda arguments, data, principal: own(arguments, data))
        return EventType(self.name, self.description, self.input_schema, self.payload_schema, ("webhook",), matches)


class SafeHttp:
    def __init__(self, allow_insecure_for_tests: bool = False, timeout: float = 10.0) -> None:
        self.poster = WebhookPost(insecure=allow_insecure_for_tests, timeout=timeout)

    def check_url(self, url: str) -> Any:
        try:
            return checked_url(url, insecure=self.poster.insecure)
        except ValueError as error:
            raise CallbackError("insecure_url" if "https" in str(error) else "invalid_url") from None

    def _public_address(self, host: str, port: int) -> str:
        from mcp_session_store.webhook_post import addresses_of

        addresses: list[str] = wait(addresses_of(host, port))
        if not all(map(is_public, addresses)):
            raise CallbackError("blocked_address")
        return addresses[0]

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            answer = wait(self.poster(url, headers, body, read=True))
        except PostFailed as failed:
            raise CallbackError(failed.reason) from None
        return answer.status, answer.body


class Tables(str):
    """A file with the tables that the package would have, and which store they are of."""

    database: str


class Sender(WebhookSender):
    """One that counts."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.counts = {"done": 0, "retry": 0, "dead": 0}

    async def _deliver(self, lease: Lease) -> None:
        await super()._deliver(lease)
        if lease.outcome in self.counts:
            self.counts[lease.outcome] += 1


class McpEvents:
    def __init__(
        self, server: Any, store: str, definitions: list[EventDefinition], *,
        principal: Callable[[Any], str] | None = None, http: SafeHttp | None = None,
        default_ttl_ms: int = DEFAULT_TTL_MS, clock: Callable[[], float] = time.time,
    ) -> None:
        self.server = server
        self.principal = principal or (lambda ctx: "anonymous")
        self.knows_callers = principal is not None
        self._database = str(getattr(store, "database", store))
        self._clock = clock
        self._set_clock: Clock | None = None
        if clock is not time.time:
            place = Path(self._database + f".clock{time.time_ns()}")
            place.mkdir()
            self._set_clock = Clock(place, libraries=Path(os.environ["ADAPTER_LIBRARIES"]))
        environment = None if self._set_clock is None else self._set_clock.environment()
        self._store = Store(self._database, binary=os.environ["ADAPTER_BINARY"], env=environment)
        post = (http or SafeHttp()).poster
        self.source = EventSource(self._store, [definition.kind for definition in definitions])
        self.webhooks = WebhookSubscriptions(
            self.source, post=post, shortest=MIN_TTL_MS, ttl=default_ttl_ms, longest=default_ttl_ms, cursors=False,
            verified=VERIFY_CACHE_SECONDS * 1_000, secret_grace=ROTATION_WINDOW_SECONDS * 1_000)
        self.sender = Sender(
            self.source, post=post, profile="sketch", cursors=False, gone="end", jitter=0,
            delays=[seconds * 1_000 for seconds in RETRY_DELAYS], give_up_after=DEFAULT_TTL_MS)
        self.extension = EventsExtension(
            self.source, profile="sketch", webhooks=self.webhooks, list_changed=False, principal=self.principal)
        self._principals: set[str] = set()
        self._now()
        wait(self._store.open())
        atexit.register(lambda: wait(self._store.close()))

    def _now(self) -> None:
        if self._set_clock is not None:
            self._set_clock.now = round(self._clock() * 1_000)

    @property
    def store(self) -> str:
        """What the package keeps in tables, in such tables."""
        self._now()
        subscriptions = self.active_subscriptions()
        verified = [
            (principal, value["key"], value["value"]["verified_at"]) for principal in self._principals
            for value in wait(self._store.list_values("mcp-events/verified", principal=principal))["values"]]
        tables = Tables(self._database + ".tables")
        tables.database = self._database
        with suppress(FileNotFoundError):
            os.remove(tables)
        with sqlite3.connect(tables) as file:
            file.execute("CREATE TABLE subscriptions (id TEXT)")
            file.execute("CREATE TABLE verified_callbacks (principal TEXT, url TEXT, verified_at REAL)")
            file.executemany("INSERT INTO subscriptions VALUES (?)", [(found["id"],) for found in subscriptions])
            file.executemany("INSERT INTO verified_callbacks VALUES (?, ?, ?)", verified)
        file.close()
        return tables

    def _asked(self, work: Coroutine[Any, Any, Any]) -> Any:
        self._now()
        try:
            return wait(work)
        except EventsError as error:
            if error.refusal == "callback_endpoint_error":
                raise CallbackError((error.data or {})["reason"]) from None
            raise _InvalidParams(str(error)) from None

    def list_events(self, principal: str, params: dict[str, Any]) -> dict[str, Any]:
        return {"events": self.source.listed()}

    def subscribe(self, principal: str, params: dict[str, Any]) -> dict[str, Any]:
        self._principals.add(principal)
        answer: dict[str, Any] = self._asked(self.webhooks.subscribe(principal, params))
        return answer

    def unsubscribe(self, principal: str, params: dict[str, Any]) -> dict[str, Any]:
        with suppress(_InvalidParams):
            self._asked(self.webhooks.unsubscribe(principal, params))
        return {}

    def publish(self, name: str, data: dict[str, Any], *, event_id: str | None = None,
                occurred_at: float | None = None) -> int:
        self._now()
        at = None if occurred_at is None else datetime.fromtimestamp(occurred_at, timezone.utc)

        async def publish() -> int:
            published = await self.source.publish(name, data, event_id=event_id, timestamp=at)
            await self.sender.fanout.once()
            work = await self._work()
            return sum(item["work_id"].endswith(f"/{published.event_id}") for item in work)

        count: int = wait(publish())
        return count

    def deliver_pending(self) -> dict[str, int]:
        self._now()
        self.sender.counts = dict.fromkeys(self.sender.counts, 0)

        async def deliver() -> None:
            await self.sender.ended.once()
            await self.sender.fanout.once()
            await self.sender.deliveries.once()

        wait(deliver())
        counts = self.sender.counts
        return {"delivered": counts["done"], "retrying": counts["retry"], "failed": counts["dead"]}

    async def _work(self, **filters: Any) -> list[Any]:
        found: list[Any] = (await self._store.call(
            "list_work", {"queue": "mcp-events/deliveries", "limit": 1_000, **filters}))["work"]
        return found

    def subscription_id(self, principal: str, url: str, name: str, arguments: dict[str, Any]) -> str:
        return self.source.names.subscription_id(principal, url, name, arguments)

    def active_subscriptions(self, name: str | None = None) -> list[dict[str, Any]]:
        self._now()
        filters = {} if name is None else {"topic": self.source.names.topic(name)}
        found = wait(self._store.call("list_event_subscriptions", {"limit": 1_000, **filters}))["subscriptions"]
        return [{"id": record["subscription_id"], **record["data"], "expires_at": record["expires_at"]}
                for record in found]

    def recent_events(
        self, principal: str, *, name: str | None = None, event_id: str | None = None,
        arguments: dict[str, Any] | None = None, limit: int = 5,
    ) -> list[dict[str, Any]]:
        """From the topics, what was for the caller's own subscriptions."""
        self._now()
        words = {"waiting": "pending", "leased": "pending", "done": "delivered", "dead": "failed"}

        async def read() -> list[dict[str, Any]]:
            own: dict[str, str] = {}
            for subscription in self.active_subscriptions_of(
                    (await self._store.call("list_event_subscriptions", {"limit": 1_000}))["subscriptions"], principal):
                for item in await self._work(subscription_id=subscription["subscription_id"]):
                    own.setdefault(item["work_id"].partition("/")[2], words[item["status"]])
            found: list[dict[str, Any]] = []
            for kind in self.source.types.values():
                if name not in (None, kind.name):
                    continue
                page = await self._store.get_recent_events(
                    self.source.names.topic(kind.name), limit=1_000, tenant_id=None, principal=None)
                for event in page["events"]:
                    said: Any = event["data"]
                    if said["eventId"] in own and event_id in (None, said["eventId"]) and (
                            not arguments or kind.matches(arguments, said["data"], principal)):
                        found.append({**said, "delivery": own[said["eventId"]]})
            return found[::-1][:max(1, min(limit, 50))]

        events: list[dict[str, Any]] = wait(read())
        return events

    @staticmethod
    def active_subscriptions_of(records: list[Any], principal: str) -> list[Any]:
        return [record for record in records if record["principal"] == principal]

    # Into the SDK, whose server is there already and runs on another loop

    def install(self, *, recent_events_tool: bool = False) -> None:
        low = self.server._lowlevel_server
        for binding in self.extension.methods():
            low.add_request_handler(binding.method, binding.params_type, self._elsewhere(binding.handler))
        low.middleware.append(self.extension)
        if recent_events_tool:
            self._install_tool()

    @staticmethod
    def _elsewhere(handler: Any) -> Any:
        async def handle(ctx: Any, params: Any) -> Any:
            try:
                return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(handler(ctx, params), _loop))
            except MCPError as error:
                if error.error.data == {"kind": "event"}:  # for which the package has no number of its own
                    raise MCPError(code=-32602, message=error.error.message) from None
                raise

        return handle

    def _install_tool(self) -> None:
        from mcp.server.mcpserver import Context
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp_types import ToolAnnotations

        async def get_recent_events(
            ctx: Any, event_name: Any = None, event_id: Any = None, arguments: Any = None, limit: Any = 5,
        ) -> Any:
            if not self.knows_callers and not event_id and not arguments:
                raise ToolError("Say which: event_id, or arguments.")
            who = self.principal(ctx.request_context)
            return {"events": await asyncio.to_thread(
                self.recent_events, who, name=event_name, event_id=event_id, arguments=arguments, limit=limit)}

        get_recent_events.__annotations__ = {
            "ctx": Context, "event_name": str | None, "event_id": str | None, "arguments": dict | None, "limit": int,
            "return": dict}
        self.server.add_tool(
            get_recent_events, name="get_recent_events", description="Events that were sent to you, newest first.",
            annotations=ToolAnnotations(read_only_hint=True))
