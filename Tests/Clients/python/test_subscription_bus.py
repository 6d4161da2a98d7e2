"""Who listens on any replica hears of a change once, wherever it was made."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from event_client import WAIT, EventClient
from http_server import serving
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import (
    PromptsListChanged, ResourcesListChanged, ResourceUpdated, ServerEvent, SubscriptionBus, ToolsListChanged,
)

from mcp_session_store import Store
from mcp_session_store.errors import ChildError
from mcp_session_store.subscription_bus import SESSION, StoreSubscriptionBus

EVERYTHING: list[ServerEvent] = [
    ToolsListChanged(), PromptsListChanged(), ResourcesListChanged(), ResourceUpdated("file:///ü 🙂")]


class Heard:
    """A listener that waits for what should come."""

    def __init__(self) -> None:
        self.events: list[ServerEvent] = []
        self._more = asyncio.Event()

    def __call__(self, event: ServerEvent) -> None:
        self.events.append(event)
        self._more.set()

    async def until(self, count: int) -> list[ServerEvent]:
        async with asyncio.timeout(WAIT):
            while len(self.events) < count:
                self._more.clear()
                await self._more.wait()
        return self.events


def run(work: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            await work(stack)

    asyncio.run(asyncio.wait_for(main(), WAIT * 2))


@asynccontextmanager
async def replica(database: Path, binary: Path, **options: Any) -> AsyncIterator[tuple[Store, StoreSubscriptionBus]]:
    async with Store(database, binary=binary, options=options) as store:
        bus = StoreSubscriptionBus(store)
        await bus.open()
        yield store, bus


def test_each_replica_hears_of_each_change_once_and_in_one_order(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        buses: list[StoreSubscriptionBus] = []
        for _ in range(3):
            buses.append((await stack.enter_async_context(replica(database, binary)))[1])
        bus: SubscriptionBus = buses[0]
        await bus.publish(ToolsListChanged())  # before anybody listens
        await asyncio.sleep(0.4)  # longer than it takes to hear of another process
        heard = [Heard() for _ in buses]
        gone = Heard()
        for listener, bus in zip(heard, buses, strict=True):
            bus.subscribe(listener)
            bus.subscribe(listener)()
        stop = buses[1].subscribe(gone)
        stop()
        stop()
        published = [event for event in EVERYTHING for _ in range(5)]
        await asyncio.gather(*(buses[index % 3].publish(event) for index, event in enumerate(published)))
        orders = [await listener.until(len(published)) for listener in heard]
        await asyncio.sleep(0.3)
        assert orders[0] == orders[1] == orders[2]
        assert sorted(map(repr, orders[0])) == sorted(map(repr, published))
        assert gone.events == []

    run(work)


def test_a_listener_that_raises_keeps_nobody_up(binary: Path) -> None:
    def raises(event: ServerEvent) -> None:
        raise RuntimeError("a listener's own")

    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        bus, heard = StoreSubscriptionBus(store), Heard()
        bus.subscribe(raises)
        bus.subscribe(heard)
        await bus.publish(ToolsListChanged())
        assert await heard.until(1) == [ToolsListChanged()]

    run(work)


def test_nothing_is_missed_when_the_process_is_killed_or_the_session_deleted(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store, bus = await stack.enter_async_context(replica(database, binary))
        _, other = await stack.enter_async_context(replica(database, binary))
        heard = Heard()
        bus.subscribe(heard)
        assert store.pid is not None
        os.kill(store.pid, signal.SIGKILL)
        changes: list[ServerEvent] = [ResourceUpdated(f"file:///{number}") for number in range(20)]
        for change in changes:
            await other.publish(change)
        assert await heard.until(20) == changes
        await store.delete_session(SESSION, tenant_id=None, principal=None)
        await other.publish(PromptsListChanged())
        assert await heard.until(21) == [*changes, PromptsListChanged()]

    run(work)


def test_what_was_gone_before_it_was_read_is_a_change_of_every_list(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store, bus = await stack.enter_async_context(replica(database, binary, max_events_per_session=10))
        heard, events = Heard(), asyncio.Event()
        bus.subscribe(heard)
        bus.subscribe_events_list(events.set)
        # More at once than are kept, and what another language, or a newer version, says.
        await store.store_events(SESSION, events=[
            {"data": {"kind": "resource_updated", "uri": f"file:///{number}"}} for number in range(30)]
            + [{"data": data} for data in ({"kind": "new"}, {"kind": "resource_updated"}, [1], None)])
        await bus.publish(ResourceUpdated("file:///last"))
        async with asyncio.timeout(WAIT):
            while ResourceUpdated("file:///last") not in heard.events:
                await asyncio.sleep(0.01)
        assert {ToolsListChanged(), PromptsListChanged(), ResourcesListChanged()} <= set(heard.events)
        assert events.is_set()

    run(work)


def test_a_server_tells_what_another_one_changed(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        _, bus = await stack.enter_async_context(replica(database, binary))
        _, other = await stack.enter_async_context(replica(database, binary))
        server = MCPServer("test", subscriptions=bus)
        address = await stack.enter_async_context(serving(server.streamable_http_app()))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=address, timeout=WAIT))
        wanted = {"toolsListChanged": True, "resourceSubscriptions": ["file:///a"]}
        async with EventClient(http).stream("subscriptions/listen", notifications=wanted) as stream:
            assert (await stream.next())[0] == "subscriptions/acknowledged"
            await other.publish(ResourceUpdated("file:///b"))
            await other.publish(ResourceUpdated("file:///a"))
            assert await stream.next() == ("resources/updated", {"uri": "file:///a"})
            await bus.publish(ToolsListChanged())
            assert await stream.next() == ("tools/list_changed", {})

    run(work)


def test_publishing_where_there_is_no_store_says_so(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = Store(":memory:", binary=binary)
        bus = StoreSubscriptionBus(store)
        await bus.publish(ToolsListChanged())
        await store.close()
        with pytest.raises(ChildError):
            await bus.publish(ToolsListChanged())
        with pytest.raises(TypeError):
            await bus.publish("tools")  # type: ignore[arg-type]

    run(work)
