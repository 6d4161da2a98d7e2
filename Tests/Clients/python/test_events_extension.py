"""MCP Events by polling and by streams, with real servers of the SDK over HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from event_client import WAIT, EventClient
from http_server import serving
from mcp.server.mcpserver import MCPServer

from mcp_session_store import Store
from mcp_session_store.contract import RequirementFailed
from mcp_session_store.event_errors import PROFILES
from mcp_session_store.event_source import LARGEST, EventSource, EventType
from mcp_session_store.events_extension import EventsExtension, changed
from mcp_session_store.subscription_bus import StoreSubscriptionBus

THING: dict[str, Any] = {"type": "string"}
KIND = EventType(
    "thing.changed", "A thing changed.",
    {"type": "object", "properties": {"thing": THING}, "additionalProperties": False},
    {"type": "object", "properties": {"thing": THING, "size": {"type": "integer"}}, "required": ["thing"]},
    delivery=("poll", "push"))


class Replica:
    """A server, and a client of it."""

    def __init__(self, source: EventSource, events: EventsExtension, client: EventClient) -> None:
        self.source = source
        self.events = events
        self.client = client

    async def publish(self, thing: str, **options: Any) -> str:
        return (await self.source.publish("thing.changed", {"thing": thing}, **options)).event_id


async def replica(stack: AsyncExitStack, store: Store, *kinds: EventType, shared: bool = False,
                  **options: Any) -> Replica:
    source = EventSource(store, kinds or (KIND,))
    bus = StoreSubscriptionBus(store) if shared else None
    events = EventsExtension(
        source, bus=bus, principal=lambda ctx: ctx.request.headers.get("x-user") or None, **options)
    server = MCPServer("test", extensions=[events], middleware=[events],
                       **({"subscriptions": bus} if bus else {}))  # fmt: skip
    address = await stack.enter_async_context(serving(server.streamable_http_app()))
    http = await stack.enter_async_context(httpx.AsyncClient(base_url=address, timeout=WAIT))
    return Replica(source, events, EventClient(http))


async def kill(store: Store) -> None:
    """Ends its process, and waits for the next one."""
    assert store.pid is not None
    os.kill(store.pid, signal.SIGKILL)
    async with asyncio.timeout(WAIT):
        while store.state == "ready":
            await asyncio.sleep(0.001)
        while store.state != "ready":
            await asyncio.sleep(0.01)


def run(work: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            await work(stack)

    asyncio.run(asyncio.wait_for(main(), WAIT * 2))


def test_it_stands_in_both_places_and_lists_its_types(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        one = await replica(stack, store)
        capabilities = (await one.client.result("server/discover"))["capabilities"]
        assert capabilities["events"] == {"listChanged": True}
        assert capabilities["extensions"]["io.modelcontextprotocol/events"] == {"listChanged": True}
        assert "tools" in capabilities
        (listed,) = (await one.client.result("events/list"))["events"]
        assert listed == {"name": "thing.changed", "description": "A thing changed.", "delivery": ["poll", "push"],
                          "inputSchema": KIND.input_schema, "payloadSchema": KIND.payload_schema}
        assert (await one.client.refused("events/list", cursor="x"))["code"] == -32602
        assert (await one.client.refused("events/subscribe", name="thing.changed"))["code"] == -32601

    run(work)


def test_a_poll_begins_now_and_goes_on_where_it_was(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        one = await replica(stack, store, poll_interval=7)
        first = await one.client.poll()
        assert first["events"] == [] and not first["truncated"] and not first["hasMore"] and first["nextPollMs"] == 7
        at = datetime(2026, 11, 26, 19, 30, 0, 123_999, timezone.utc)
        await one.publish("a", event_id="evt_1", timestamp=at, meta={"trace": None})
        await one.publish("b")
        second = await one.client.poll(cursor=first["cursor"], arguments={})
        assert second["events"][0] == {
            "eventId": "evt_1", "name": "thing.changed", "timestamp": "2026-11-26T19:30:00.123Z",
            "data": {"thing": "a"}, "_meta": {"trace": None}}
        assert [event["data"]["thing"] for event in second["events"]] == ["a", "b"]
        assert (await one.client.poll(cursor=first["cursor"], arguments={}))["events"] == second["events"]
        assert (await one.client.poll(cursor=second["cursor"]))["events"] == []
        # What does not match moves the cursor too, or it would fall out of what is kept.
        only = await one.client.poll(cursor=first["cursor"], arguments={"thing": "b"})
        assert [event["data"]["thing"] for event in only["events"]] == ["b"]
        none = await one.client.poll(cursor=first["cursor"], arguments={"thing": "c"})
        assert none["events"] == [] and none["cursor"] == second["cursor"]
        # In pages.
        found, cursor, pages = [], first["cursor"], 0
        while True:
            page = await one.client.poll(cursor=cursor, maxEvents=1)
            found += [event["data"]["thing"] for event in page["events"]]
            cursor, pages = page["cursor"], pages + 1
            if not page["hasMore"]:
                break
        assert found == ["a", "b"] and pages == 2

    run(work)


def test_what_a_poll_is_refused(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        mine = replace(KIND, name="mine", allows=lambda who, arguments: who == "alice")
        pushed = replace(KIND, name="pushed", delivery=("push",))
        profiles: list[Any] = ["sep-3415", "sketch"]
        for profile in profiles:
            one = await replica(stack, store, KIND, mine, pushed, profile=profile)
            codes = PROFILES[profile]
            error = await one.client.refused("events/poll", name="nope")
            assert error["code"] == codes.not_found and error["data"] == {"kind": "event"}
            error = await one.client.refused("events/poll", name="pushed")
            assert error["code"] == codes.unsupported
            assert error["data"] == {"feature": "delivery", "value": "poll"}
            assert (await one.client.refused("events/poll", name="mine"))["code"] == codes.forbidden
            assert (await one.client.refused("events/poll", "bob", name="mine"))["code"] == codes.forbidden
            assert (await one.client.result("events/poll", "alice", name="mine"))["events"] == []
            for bad in ({"arguments": {"thing": 5}}, {"arguments": {"other": "x"}}, {"arguments": []}, {"cursor": 5},
                        {"maxAgeMs": -1}, {"maxAgeMs": "1"}, {"maxEvents": 0}, {"maxEvents": True}):
                assert (await one.client.refused("events/poll", name="thing.changed", **bad))["code"] == -32602, bad

    run(work)


def test_cursors_that_lead_nowhere_are_told_as_truncated(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        options = {"max_events_per_session": 5}
        store = await stack.enter_async_context(Store(":memory:", binary=binary, options=options))
        one = await replica(stack, store)
        before = (await one.client.poll())["cursor"]
        things = [await one.publish(str(number)) for number in range(8)]
        page = await one.client.poll(cursor=before)
        assert page["truncated"] and [event["eventId"] for event in page["events"]] == things[3:]
        assert not (await one.client.poll(cursor=page["cursor"]))["truncated"]
        for cursor in ("", "42", page["cursor"] + "0", page["cursor"].replace("c1-", "c1-0")):
            lost = await one.client.poll(cursor=cursor)
            assert lost["truncated"] and lost["events"] == [] and lost["cursor"] == page["cursor"], cursor
        # The topic is deleted, and made anew: positions of before are none of it, though they look as if.
        await store.delete_session(one.source.names.topic("thing.changed"), tenant_id=None, principal=None)
        await asyncio.sleep(0.002)
        again = await one.publish("again")
        other = await one.client.poll(cursor=before)
        assert other["truncated"] and [event["eventId"] for event in other["events"]] == [again]
        assert not (await one.client.poll(cursor=other["cursor"]))["truncated"]

    run(work)


def test_what_is_too_old_is_passed_over(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        one = await replica(stack, store)
        begin = (await one.client.poll())["cursor"]
        for number in range(5):
            await one.publish(f"old {number}")
        await asyncio.sleep(0.3)
        middle = time.time()
        for number in range(3):
            await one.publish(f"new {number}")
        age = int((time.time() - middle) * 1_000) + 150
        page = await one.client.poll(cursor=begin, maxAgeMs=age)
        assert page["truncated"]
        assert [event["data"]["thing"] for event in page["events"]] == ["new 0", "new 1", "new 2"]
        all_of_it = await one.client.poll(cursor=begin, maxAgeMs=3_600_000)
        assert not all_of_it["truncated"] and len(all_of_it["events"]) == 8
        await asyncio.sleep(0.01)
        nothing = await one.client.poll(cursor=begin, maxAgeMs=1)
        assert nothing["truncated"] and nothing["events"] == [] and nothing["cursor"] == page["cursor"]
        assert not (await one.client.poll(cursor=page["cursor"], maxAgeMs=0))["truncated"]

    run(work)


def test_a_cursor_outlives_a_killed_process_and_another_server(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(database, binary=binary))
        other = await stack.enter_async_context(Store(database, binary=binary))
        one, two = await replica(stack, store), await replica(stack, other)
        begin = (await one.client.poll())["cursor"]
        first = await one.publish("a")
        await kill(store)
        second = await two.publish("b")
        for server in (one, two):
            page = await server.client.poll(cursor=begin)
            assert [event["eventId"] for event in page["events"]] == [first, second] and not page["truncated"]

    run(work)


def test_publishing_checks_its_data_and_knows_an_id_again(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        source = EventSource(store, [KIND])
        with pytest.raises(ValueError, match="/size"):
            await source.publish("thing.changed", {"thing": "a", "size": "b"})
        with pytest.raises(ValueError, match="bytes"):
            await source.publish("thing.changed", {"thing": "x" * LARGEST})
        with pytest.raises(ValueError, match="eventId"):
            await source.publish("thing.changed", {"thing": "a"}, event_id="a b")
        with pytest.raises(KeyError):
            await source.publish("nope", {})
        assert not (await source.publish("thing.changed", {"thing": "a"}, event_id="up-1")).duplicate
        again = await source.publish("thing.changed", {"thing": "b"}, event_id="up-1")
        assert again.duplicate and again.event_id == "up-1"
        # Together with its cause, or not at all.
        cause: Any = {"method": "put_value", "params": {"collection": "c", "key": "k", "value": 1}}
        await store.transaction([cause, *source.publishing("thing.changed", {"thing": "c"}, event_id="up-2")])
        with pytest.raises(RequirementFailed):
            await store.transaction([{**cause, "params": {**cause["params"], "value": 2}},
                                     *source.publishing("thing.changed", {"thing": "c"}, event_id="up-2")])
        assert (await store.get_value("c", key="k"))["value"] == 1
        events = (await store.get_events_after(source.names.topic("thing.changed"), tenant_id=None, principal=None))
        assert [event["data"]["data"]["thing"] for event in events["events"]] == ["a", "c"]

    run(work)


def test_a_stream_tells_the_past_then_what_happens(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(database, binary=binary))
        other = await stack.enter_async_context(Store(database, binary=binary))
        one, two = await replica(stack, store, heartbeat=0.1), await replica(stack, other)
        begin = (await one.client.poll())["cursor"]
        await one.publish("a")
        wanted: dict[str, Any] = {"name": "thing.changed", "cursor": begin, "arguments": {}}
        async with one.client.stream("events/stream", **wanted) as stream:
            assert await stream.next() == ("active", {"cursor": begin, "truncated": False})
            first = await stream.until("event")
            assert first["data"] == {"thing": "a"} and first["cursor"] != begin
            assert (await stream.until("heartbeat"))["cursor"] == first["cursor"]
            await two.publish("b")  # another replica
            second = await stream.until("event")
            assert second["data"] == {"thing": "b"}
        page = await one.client.poll(cursor=first["cursor"])
        assert [event["eventId"] for event in page["events"]] == [second["eventId"]]
        assert page["cursor"] == second["cursor"]

    run(work)


def test_the_cursor_of_a_stream_moves_past_what_does_not_match(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        one = await replica(stack, store, heartbeat=0.05)
        async with one.client.stream("events/stream", name="thing.changed", arguments={"thing": "b"}) as stream:
            _, active = await stream.next()
            await one.publish("a")
            async with asyncio.timeout(WAIT):
                while (await stream.until("heartbeat"))["cursor"] == active["cursor"]:
                    pass

    run(work)


def test_a_stream_goes_on_while_the_process_is_killed_and_tells_what_is_gone(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        options = {"max_events_per_session": 3}
        store = await stack.enter_async_context(Store(database, binary=binary, options=options))
        one = await replica(stack, store, heartbeat=0.05)
        begin = (await one.client.poll())["cursor"]
        for number in range(5):
            await one.publish(str(number))
        async with one.client.stream("events/stream", name="thing.changed", cursor=begin) as stream:
            kind, active = await stream.next()
            assert kind == "active" and active["truncated"]
            assert [(await stream.until("event"))["data"]["thing"] for _ in range(3)] == ["2", "3", "4"]
            await kill(store)
            await one.publish("5")
            assert (await stream.until("event"))["data"]["thing"] == "5"
            await store.delete_session(one.source.names.topic("thing.changed"), tenant_id=None, principal=None)
            assert (await stream.until("active"))["truncated"]
            await one.publish("6")
            assert (await stream.until("event"))["data"]["thing"] == "6"

    run(work)


def test_a_stream_ends_when_its_type_or_its_permission_is_gone(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        allowed = True
        mine = replace(KIND, name="mine", allows=lambda who, arguments: allowed)
        one = await replica(stack, store, KIND, mine, heartbeat=0.05)
        codes = PROFILES["sep-3415"]
        async with one.client.stream("events/stream", name="mine") as stream:
            await stream.next()
            allowed = False
            assert (await stream.until("terminated"))["error"]["code"] == codes.forbidden
            assert (await stream.next())[0] == "result"
        wider = {**KIND.payload_schema, "properties": {**KIND.payload_schema["properties"], "more": {}}}
        async with one.client.stream("events/stream", name="thing.changed") as stream:
            await stream.next()
            await one.events.add(replace(KIND, payload_schema=wider))
            await stream.until("heartbeat")
            await one.events.add(replace(KIND, payload_schema={"type": "object"}))
            error = (await stream.until("terminated"))["error"]
            assert error["code"] == codes.unsupported and error["data"]["feature"] == "schema_changed"
        async with one.client.stream("events/stream", name="thing.changed") as stream:
            await stream.next()
            await one.events.remove("thing.changed")
            error = (await stream.until("terminated"))["error"]
            assert error["code"] == codes.not_found and error["data"] == {"kind": "event"}
        assert (await one.client.refused("events/stream", name="thing.changed"))["code"] == codes.not_found

    run(work)


@pytest.mark.parametrize("shared", [False, True])
def test_who_listens_is_told_that_the_types_changed(binary: Path, database: Path, shared: bool) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(database, binary=binary))
        one = await replica(stack, store, shared=shared)
        two = one
        if shared:
            other = await stack.enter_async_context(Store(database, binary=binary))
            two = await replica(stack, other, shared=True)
        wanted = {"eventsListChanged": True, "toolsListChanged": True}
        async with two.client.stream("subscriptions/listen", notifications=wanted) as stream:
            kind, params = await stream.next()
            assert kind == "subscriptions/acknowledged" and params["notifications"] == wanted
            await one.events.add(replace(KIND, name="another"))
            assert await stream.next() == ("list_changed", {})
            await one.events.remove("another")
            assert await stream.next() == ("list_changed", {})
        async with two.client.stream("subscriptions/listen", notifications={"toolsListChanged": True}) as stream:
            kind, params = await stream.next()
            assert params["notifications"] == {"toolsListChanged": True}

    run(work)


def test_which_change_of_a_schema_breaks() -> None:
    assert not changed(KIND, KIND)
    assert not changed(KIND, replace(KIND, description="another"))
    for schema in (
        {"type": "object", "properties": {"thing": THING}},
        {"type": "object", "properties": {"thing": {"type": "integer"}, "size": {"type": "integer"}}},
        {"type": "array"},
    ):
        assert changed(KIND, replace(KIND, payload_schema=schema)), schema
    assert changed(KIND, replace(KIND, input_schema={"type": "object"}))


def test_types_that_cannot_be_are_refused() -> None:
    for wrong in ({"name": "a b"}, {"delivery": ()}, {"delivery": ("mail",)}, {"input_schema": {"type": "nope"}}):
        with pytest.raises(ValueError):
            replace(KIND, **wrong)
    with pytest.raises(ValueError, match="profile"):
        EventsExtension(EventSource(Store(":memory:")), profile="draft")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="heartbeat"):
        EventsExtension(EventSource(Store(":memory:")), heartbeat=31)
