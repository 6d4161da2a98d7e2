"""A `SubscriptionBus` for the official SDK 2.x: who listens on any replica hears of a change, wherever it was made."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp.server.subscriptions import (
    PromptsListChanged, ResourcesListChanged, ResourceUpdated, ServerEvent, ToolsListChanged,
)

from .contract import SessionNotFound
from .errors import StoreError
from .topic import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import Store
    from .subscription import EventSubscription

#: the session in which changes are told
SESSION = "mcp-bus"
#: seconds until the store is asked again where it failed
PAUSE = 1.0

logger = logging.getLogger("mcp_session_store")


@dataclass(frozen=True)
class EventsListChanged:
    """The types of the Events extension changed; the SDK has no word for it."""


_KINDS: dict[str, ServerEvent | EventsListChanged] = {
    "tools_list_changed": ToolsListChanged(), "prompts_list_changed": PromptsListChanged(),
    "resources_list_changed": ResourcesListChanged(), "events_list_changed": EventsListChanged(),
}


class StoreSubscriptionBus:
    """Tells changes through the store, to all servers on it, in the order in which they were stored.

        bus = StoreSubscriptionBus(store)
        mcp = MCPServer("weather", subscriptions=bus)

    A listener hears of each change once, its own server's too: that comes from the store, like all others. Nothing is
    replayed to who listens later, but while the store's process is started again nothing is missed. What could not be
    kept until a server came to read it is told as a change of every list.

    session_id: the session that they are told in; servers that are no replicas of each other take one each.
    """

    def __init__(self, store: Store, *, session_id: str = SESSION) -> None:
        self._store = store
        self._topic = Topic(store, session_id)
        # By a token, as the same callable may listen twice.
        self._listeners: dict[object, Callable[[ServerEvent], None]] = {}
        self._events_listeners: dict[object, Callable[[], None]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._opened: asyncio.Event | None = None

    async def open(self) -> None:
        """Begins to listen to the others, if it does not yet: from here on nothing is missed.

        The first `subscribe` begins it too; with this, in a lifespan say, it has begun before the first client comes.
        Waits while the store fails.
        """
        self._begin()
        assert self._opened is not None
        await self._opened.wait()

    async def publish(self, event: ServerEvent) -> None:
        """Tells every listener, on all servers. It is on disk when this returns. Raises StoreError."""
        await self._publish(told(event))

    async def publish_events_list_changed(self) -> None:
        """Tells all servers that the types of the Events extension changed. Raises StoreError."""
        await self._publish({"kind": "events_list_changed"})

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Calls the listener, on the event loop, until what this gives is called."""
        token = object()
        self._listeners[token] = listener
        self._begin()
        return lambda: void(self._listeners.pop(token, None))

    def subscribe_events_list(self, listener: Callable[[], None]) -> Callable[[], None]:
        """The same, for changes of the types of the Events extension."""
        token = object()
        self._events_listeners[token] = listener
        self._begin()
        return lambda: void(self._events_listeners.pop(token, None))

    async def _publish(self, change: dict[str, str]) -> None:
        if self._listeners or self._events_listeners:
            await self.open()  # or they could miss it
        while True:
            try:
                await self._store.store_event(
                    self._topic.session_id, data=change, tenant_id=None, principal=None)
                return
            except SessionNotFound:
                await self._topic.ensure()

    def _begin(self) -> None:
        if self._reading is None or self._reading.done():
            self._opened = asyncio.Event()
            self._reading = self._store.spawn(self._read(self._opened))

    async def _read(self, opened: asyncio.Event) -> None:
        """Until the store is closed."""
        after: int | None = None
        epoch: int | None = None
        while True:
            try:
                found = await self._topic.ensure()
                if epoch is not None and found != epoch:
                    after = 0  # another session, all of which is news
                epoch = found
                changes = await self._store.subscribe_events(
                    self._topic.session_id, after_event_id=after, tenant_id=None, principal=None,
                    on_gap=lambda _: self._tell_all())
                if after is None:
                    after = changes.newest_id
                opened.set()
                async with changes:
                    async for event in changes:
                        after = event["id"]
                        self._tell(event["data"])
                    if changes.ended == "closed":
                        return
            except StoreError as error:
                if self._store.refusal is not None:
                    return
                logger.warning("Changes of other servers are not heard for now: %s", error)
                await asyncio.sleep(PAUSE)

    def _tell_all(self) -> None:
        for kind in _KINDS:
            self._tell({"kind": kind})

    def _tell(self, change: Any) -> None:
        event = read(change)
        if isinstance(event, EventsListChanged):
            for listen in list(self._events_listeners.values()):
                self._store.tell(listen)
        elif event is not None:
            for listener in list(self._listeners.values()):
                self._store.tell(listener, event)


def told(event: ServerEvent) -> dict[str, str]:
    """A change as all languages write it."""
    if isinstance(event, ResourceUpdated):
        return {"kind": "resource_updated", "uri": event.uri}
    for kind, known in _KINDS.items():
        if known == event:
            return {"kind": kind}
    raise TypeError(f"{event!r} is no change that a server tells.")


def read(change: Any) -> ServerEvent | EventsListChanged | None:
    """What a change says; None: nothing that is known here."""
    kind = change.get("kind") if isinstance(change, dict) else None
    if kind == "resource_updated" and isinstance(change.get("uri"), str):
        return ResourceUpdated(change["uri"])
    return _KINDS.get(kind) if isinstance(kind, str) else None


def void(_: object) -> None:
    """Unsubscribing gives nothing."""
