"""Events by webhook: subscriptions that outlive restarts, deliveries that are made until they are taken or given up."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from engine import Place
from event_client import EventClient
from http_server import serving
from mcp.server.mcpserver import MCPServer
from receiver import SECRET, WAIT, Receiver, secret

import mcp_session_store
from mcp_session_store.event_errors import PROFILES, EventsError
from mcp_session_store.event_names import message_id
from mcp_session_store.event_source import EventSource, EventType
from mcp_session_store.events_extension import EventsExtension
from mcp_session_store.store import Store
from mcp_session_store.webhook_post import WebhookPost
from mcp_session_store.webhook_sender import WebhookSender
from mcp_session_store.webhook_subscriptions import WebhookSubscriptions

KIND = EventType(
    "thing.changed", "A thing changed.",
    {"type": "object", "properties": {"thing": {"type": "string"}}, "additionalProperties": False},
    {"type": "object", "properties": {"thing": {"type": "string"}}, "required": ["thing"]},
    delivery=("poll", "push", "webhook"))
POST = WebhookPost(insecure=True)
QUICK: dict[str, Any] = {"delays": (5, 5, 5, 5)}


class Server:
    """What a server has of events, on a store of its own."""

    def __init__(self, store: Store, *kinds: EventType, namespace: str = "mcp-events", **options: Any) -> None:
        self.store = store
        self.source = EventSource(store, kinds or (KIND,), namespace=namespace)
        self.webhooks = WebhookSubscriptions(self.source, post=POST, **options)

    def sender(self, **options: Any) -> WebhookSender:
        return WebhookSender(self.source, post=POST, **{**QUICK, **options})

    async def subscribe(self, url: str, thing: str | None = None, *, who: str | None = "alice", secret: str = SECRET,
                        **params: Any) -> dict[str, Any]:
        arguments = {} if thing is None else {"thing": thing}
        return await self.webhooks.subscribe(who, {
            "name": "thing.changed", "arguments": arguments,
            "delivery": {"mode": "webhook", "url": url, "secret": secret}, **params})

    async def unsubscribe(self, url: str, thing: str | None = None, who: str = "alice") -> None:
        arguments = {} if thing is None else {"thing": thing}
        await self.webhooks.unsubscribe(who, {
            "name": "thing.changed", "arguments": arguments, "delivery": {"url": url}})

    async def publish(self, thing: str, **options: Any) -> str:
        return (await self.source.publish("thing.changed", {"thing": thing}, **options)).event_id

    async def record(self, subscription_id: str) -> Any:
        return await self.store.call("get_event_subscription", {"subscription_id": subscription_id})

    async def work(self, queue: str = "mcp-events/deliveries", **filters: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.store.call(
            "list_work", {"queue": queue, "limit": 1_000, **filters}))["work"]
        return found

    async def idle(self) -> None:
        """Waits until nothing is to be handed on or sent any more."""
        async with asyncio.timeout(WAIT):
            for queue in ("mcp-events/fanout", "mcp-events/deliveries", "mcp-events/ended"):
                while any(item["status"] in ("waiting", "leased") for item in await self.work(queue)):
                    await asyncio.sleep(0.005)


def run(work: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            await work(stack)

    asyncio.run(asyncio.wait_for(main(), WAIT * 2))


async def opened(
    stack: AsyncExitStack, database: Path | str, binary: Path, *kinds: EventType, **options: Any,
) -> Server:
    store = await stack.enter_async_context(mcp_session_store.Store(database, binary=binary))
    return Server(store, *kinds, **options)


def things(deliveries: list[Any]) -> list[str]:
    return [delivery.body["data"]["thing"] for delivery in deliveries]


async def refused(made: Awaitable[Any]) -> EventsError:
    with pytest.raises(EventsError) as raised:
        await made
    return raised.value


@pytest.mark.both_engines
def test_over_the_wire(binary: Path, place: Place) -> None:
    async def work(stack: AsyncExitStack) -> None:
        database = place("events")
        server = await opened(stack, database, binary)
        one = await stack.enter_async_context(Receiver())
        mcp = MCPServer("test", extensions=[EventsExtension(
            server.source, webhooks=server.webhooks, profile="sketch",
            principal=lambda ctx: ctx.request.headers.get("x-user") or None)])
        address = await stack.enter_async_context(serving(mcp.streamable_http_app()))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=address, timeout=WAIT))
        client = EventClient(http)
        (listed,) = (await client.result("events/list"))["events"]
        assert listed["delivery"] == ["poll", "push", "webhook"]
        asked: dict[str, Any] = {"name": "thing.changed", "arguments": {"thing": "a"}, "cursor": None,
                                 "delivery": {"mode": "webhook", "url": one.url, "secret": SECRET}}
        granted = await client.result("events/subscribe", "alice", **asked)
        assert granted["id"].startswith("sub_") and not granted["truncated"] and "deliveryStatus" not in granted
        left = datetime.fromisoformat(granted["refreshBefore"].replace("Z", "+00:00")).timestamp() - time.time()
        assert 86_000 < left <= 86_400
        (challenge,) = one.controls("verification")
        assert challenge.verified == [SECRET] and len(challenge.body["challenge"]) >= 32
        assert challenge.headers["webhook-id"].startswith("msg_verification_")
        assert challenge.headers["x-mcp-subscription-id"] == granted["id"]
        await stack.enter_async_context(server.sender(profile="sketch"))
        await server.publish("b")
        event_id = await server.publish("a")
        (delivery,) = await one.came(1)
        assert delivery.verified == [SECRET] and delivery.path == "/hook"
        assert delivery.headers["webhook-id"] == event_id == delivery.body["eventId"]
        assert delivery.headers["content-type"] == "application/json"
        assert delivery.headers["x-mcp-subscription-id"] == granted["id"]
        assert delivery.body["data"] == {"thing": "a"} and delivery.body["cursor"] == granted["cursor"]
        await server.idle()
        # A refresh: the same id, no second challenge, and the cursor behind what does not match too.
        again = await client.result("events/subscribe", "alice", **asked)
        assert again["id"] == granted["id"] and len(one.controls("verification")) == 1
        assert again["deliveryStatus"]["active"] and again["deliveryStatus"]["lastError"] is None
        assert again["deliveryStatus"]["lastDeliveryAt"].endswith("Z")
        assert again["cursor"] == (await client.poll())["cursor"]
        # Others see and end nothing of it.
        asked["delivery"].pop("secret")
        error = await client.refused("events/unsubscribe", "bob", **asked)
        assert error["code"] == PROFILES["sketch"].not_found and error["data"] == {"kind": "subscription"}
        await client.result("events/unsubscribe", "alice", **asked)
        assert (await client.refused("events/unsubscribe", "alice", **asked))["data"] == {"kind": "subscription"}
        await server.publish("a")
        await server.idle()
        assert len(one.events) == 1

    run(work)


def test_what_is_refused_before_anything_is_sent(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        polled = replace(KIND, name="polled", delivery=("poll",))
        mine = replace(KIND, name="mine", allows=lambda who, arguments: who == "bob")
        server = await opened(stack, ":memory:", binary, KIND, polled, mine)
        one = await stack.enter_async_context(Receiver())
        hook = {"mode": "webhook", "url": one.url, "secret": SECRET}
        good: dict[str, Any] = {"name": "thing.changed", "arguments": {}, "delivery": hook}
        for change in (
            {"arguments": {"thing": 5}}, {"arguments": {"x": 1}}, {"arguments": []}, {"delivery": None},
            {"delivery": {**hook, "mode": "mail"}}, {"delivery": {**hook, "secret": "whsec_c2hvcnQ="}},
            {"delivery": {**hook, "secret": None}}, {"delivery": {**hook, "url": "ftp://example.com/"}},
            {"delivery": {**hook, "url": None}}, {"ttlMs": 0}, {"ttlMs": -1}, {"ttlMs": "1"}, {"ttlMs": True},
            {"ttlMs": float("nan")}, {"cursor": 5}, {"maxAgeMs": -1},
        ):
            error = await refused(server.webhooks.subscribe("alice", {**good, **change}))
            assert error.refusal == "invalid_params", change
        assert (await refused(server.webhooks.subscribe("alice", {**good, "name": "nope"}))).refusal == "not_found"
        assert (await refused(server.webhooks.subscribe("alice", {**good, "name": "polled"}))).refusal == "unsupported"
        assert (await refused(server.webhooks.subscribe("alice", {**good, "name": "mine"}))).refusal == "forbidden"
        assert (await refused(server.webhooks.subscribe(None, good))).refusal == "forbidden"
        for params in ({}, {"name": "thing.changed", "delivery": {"url": 5}}, {"name": 5, "delivery": hook}):
            assert (await refused(server.webhooks.unsubscribe("alice", params))).refusal == "invalid_params"
        assert one.all == []
        safe = WebhookSubscriptions(server.source)  # as a server has it: nothing on this machine, and no http
        for url in (one.url, f"https://127.0.0.1:{one.port}/", "https://localhost/", "https://[::1]/"):
            error = await refused(safe.subscribe("alice", {**good, "delivery": {**hook, "url": url}}))
            assert error.refusal == ("invalid_params" if url == one.url else "callback_endpoint_error")
        assert one.all == []
        assert (await server.store.call("list_event_subscriptions", {}))["subscriptions"] == []

    run(work)


def test_a_receiver_that_does_not_prove_itself_gets_nothing(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        server = await opened(stack, ":memory:", binary)
        one = await stack.enter_async_context(Receiver())
        for how in ("wrong", "fails"):
            one.challenge = how
            error = await refused(server.subscribe(one.url))
            assert error.refusal == "callback_endpoint_error" and error.data == {"reason": "challenge_failed"}
        nobody = f"http://127.0.0.1:{one.port}/".replace(str(one.port), "1")
        assert (await refused(server.subscribe(nobody))).data == {"reason": "connection_refused"}
        assert (await server.store.call("list_event_subscriptions", {}))["subscriptions"] == []
        one.challenge = "echo"
        await server.subscribe(one.url, "a")
        await server.subscribe(one.url, "b")
        assert len(one.controls("verification")) == 3  # two in vain, and one for the URL
        await server.subscribe(one.url, "a", who="bob")
        assert len(one.controls("verification")) == 4  # another principal
        trusting = WebhookSubscriptions(server.source, post=POST, trusts=lambda url: url.endswith("/trusted"))
        server.webhooks = trusting
        await server.subscribe(one.url + "/trusted")
        assert len(one.controls("verification")) == 4
        for _ in range(40):
            try:
                await server.subscribe(one.url + str(time.time_ns()))
            except EventsError as limited:
                assert limited.refusal == "resource_exhausted" and (limited.data or {})["limit"] == "challenges"
                break
        else:
            raise AssertionError("one host may be asked for ever")
        server.webhooks = WebhookSubscriptions(server.source, post=POST, trusts=lambda url: True, max_subscriptions=4)
        await server.subscribe(one.url, "c", who="carol")
        assert ((await refused(server.subscribe(one.url, "d"))).data or {})["limit"] == "subscriptions"
        await server.subscribe(one.url, "a")  # a refresh is none more

    run(work)


@pytest.mark.both_engines
def test_only_matching_subscriptions_and_what_is_older_by_its_cursor(binary: Path, place: Place) -> None:
    async def work(stack: AsyncExitStack) -> None:
        database = place("events")
        server = await opened(stack, database, binary, verified=1)
        one = await stack.enter_async_context(Receiver())
        first = await server.source.poll(KIND, None, {}, None)
        published = [await server.publish(thing) for thing in ("a", "b", "a")]
        await stack.enter_async_context(server.sender())
        await server.idle()
        await server.subscribe(one.url + "/now")
        before = await server.subscribe(one.url + "/all", cursor=first["cursor"])
        assert before["cursor"] == first["cursor"] and not before["truncated"]
        await server.subscribe(one.url + "/b", "b", cursor=first["cursor"])
        await server.publish("b")
        await one.came(6)
        await server.idle()
        assert sorted(things(one.of("/hook/all"))) == ["a", "a", "b", "b"]
        assert things(one.of("/hook/b")) == ["b", "b"] and things(one.of("/hook/now")) == ["b"]
        assert Counter(delivery.headers["webhook-id"] for delivery in one.of("/hook/all")).most_common(1)[0][1] == 1
        assert set(published) <= {delivery.headers["webhook-id"] for delivery in one.of("/hook/all")}
        # A cursor that leads nowhere begins now, and says so.
        lost = await server.subscribe(one.url + "/lost", cursor="c1-00000000-1-1")
        assert lost["truncated"]
        await server.idle()
        assert one.of("/hook/lost") == []

    run(work)


def test_repeated_with_the_same_id_and_another_signature_until_it_is_taken(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        server = await opened(stack, ":memory:", binary)
        one = await stack.enter_async_context(Receiver())
        granted = await server.subscribe(one.url)
        one.script = [500, 302, 404]
        await stack.enter_async_context(server.sender(delays=(1_100, 5, 5, 5)))
        await server.publish("a")
        await one.came(4)
        await server.idle()
        assert len({delivery.headers["webhook-id"] for delivery in one.events}) == 1
        assert len({delivery.headers["webhook-signature"] for delivery in one.events}) > 1
        assert all(delivery.verified for delivery in one.events)
        record = await server.record(granted["id"])
        assert record["window"]["attempts"] == 4 and record["window"]["failures"] == 3
        assert record["last_error"] is None and record["failed_since"] is None

    run(work)


@pytest.mark.parametrize(("statuses", "attempts", "error"), [
    ([500] * 9, 5, "http_5xx"), ([410], 1, "http_4xx"), ([413], 1, "http_4xx"), ([429] * 9, 5, "http_4xx")])
def test_given_up_in_the_end(binary: Path, statuses: list[int], attempts: int, error: str) -> None:
    async def work(stack: AsyncExitStack) -> None:
        server = await opened(stack, ":memory:", binary)
        one = await stack.enter_async_context(Receiver())
        granted = await server.subscribe(one.url)
        one.script = statuses
        await stack.enter_async_context(server.sender())
        await server.publish("a")
        await one.came(attempts)
        await server.idle()
        assert len(one.events) == attempts
        (item,) = await server.work()
        assert item["status"] == "dead" and item["error"] == error
        one.script = []
        await server.publish("b")  # the subscription stays
        await one.came(attempts + 1)
        await server.idle()
        again = await server.subscribe(one.url)
        assert again["cursor"] != granted["cursor"]  # what was given up is behind the watermark

    run(work)


def test_a_receiver_that_is_gone_may_end_its_subscription(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        server = await opened(stack, ":memory:", binary)
        one = await stack.enter_async_context(Receiver())
        granted = await server.subscribe(one.url)
        one.script = [410]
        await stack.enter_async_context(server.sender(gone="end"))
        await server.publish("a")
        await one.came(1)
        async with asyncio.timeout(WAIT):
            while await server.record(granted["id"]) is not None:
                await asyncio.sleep(0.01)

    run(work)


@pytest.mark.parametrize(("grace", "signs"), [(60_000, 2), (1, 1)])
def test_an_older_secret_signs_along_for_a_while(grace: int, signs: int, binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        other = secret("z")
        server = await opened(stack, ":memory:", binary, secret_grace=grace)
        one = await stack.enter_async_context(Receiver(SECRET, other))
        await server.subscribe(one.url)
        await server.subscribe(one.url, secret=other)
        await asyncio.sleep(0.05)  # longer than the shorter grace
        await stack.enter_async_context(server.sender())
        await server.publish("a")
        (delivery,) = await one.came(1)
        assert sorted(delivery.verified) == sorted([SECRET, other][-signs:])
        assert len(delivery.headers["webhook-signature"].split(" ")) == signs

    run(work)


def test_what_ends_stops_at_once_and_what_is_made_anew_inherits_nothing(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        server = await opened(stack, ":memory:", binary)
        one = await stack.enter_async_context(Receiver())
        first = await server.subscribe(one.url)
        one.script = [500]
        await stack.enter_async_context(server.sender(delays=(100,)))
        await server.publish("old")
        await one.came(1)
        async with asyncio.timeout(WAIT):
            while (await server.work())[0]["status"] == "leased":
                await asyncio.sleep(0.005)
        await server.unsubscribe(one.url)
        assert await server.work() == []
        again = await server.subscribe(one.url)
        assert again["id"] == first["id"] and "deliveryStatus" not in again
        await asyncio.sleep(0.2)
        await server.publish("new")
        await one.came(2)
        await server.idle()
        assert things(one.events) == ["old", "new"]

    run(work)


def test_grants_keep_to_their_bounds_and_lapse(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        ended: list[tuple[str, str]] = []

        async def told(record: Any, reason: str) -> None:
            ended.append((record["subscription_id"], reason))

        server = await opened(stack, ":memory:", binary, shortest=300, ttl=60_000, longest=120_000)
        one = await stack.enter_async_context(Receiver())

        async def granted(thing: str, **params: Any) -> int:
            record = await server.record((await server.subscribe(one.url, thing, **params))["id"])
            return round((record["expires_at"] - record["created_at"]) / 100)

        assert await granted("a") == 600
        assert await granted("b", ttlMs=1_200_000) == 1_200
        assert await granted("c", ttlMs=None) == 1_200
        await stack.enter_async_context(server.sender(on_ended=told))
        short = await server.subscribe(one.url, "short", ttlMs=1)
        async with asyncio.timeout(WAIT):
            while not ended:
                await asyncio.sleep(0.01)
        assert ended == [(short["id"], "expired")]
        await server.publish("short")
        await server.idle()
        assert one.events == [] and one.controls("terminated") == []

    run(work)


def test_what_ends_from_this_side_is_told(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        allowed = True
        mine = replace(KIND, name="mine", allows=lambda who, arguments: allowed)
        server = await opened(stack, ":memory:", binary, KIND, mine)
        one = await stack.enter_async_context(Receiver())
        events = EventsExtension(server.source, webhooks=server.webhooks)
        first = await server.subscribe(one.url)
        second = await server.webhooks.subscribe("alice", {
            "name": "mine", "delivery": {"mode": "webhook", "url": one.url, "secret": SECRET}})
        other = Server(server.store, namespace="other")
        await other.subscribe(one.url, "x")
        one.script = [503]
        sender = await stack.enter_async_context(server.sender())
        await events.remove("thing.changed")
        await one.until(lambda: len(one.controls("terminated")) == 2)
        failed, told = one.controls("terminated")
        assert told.body == {"type": "terminated", "error": {
            "code": PROFILES["sep-3415"].not_found, "message": "The event type is no longer offered.",
            "data": {"kind": "event"}}}
        assert told.headers["x-mcp-subscription-id"] == first["id"] and told.verified == [SECRET]
        assert told.headers["webhook-id"] == failed.headers["webhook-id"]
        assert told.headers["webhook-id"].startswith("msg_terminated_")
        allowed = False
        await server.source.publish("mine", {"thing": "a"})
        await one.until(lambda: len(one.controls("terminated")) == 3)
        assert one.controls("terminated")[2].body["error"]["code"] == PROFILES["sep-3415"].forbidden
        assert await server.record(second["id"]) is None and one.events == []
        # What ends in another namespace is its own senders' to tell: it is in no queue of this one.
        await other.webhooks.end_all("thing.changed", "not_found")
        (waiting,) = await server.work("other/ended")
        assert (waiting["status"], waiting["attempt"]) == ("waiting", 0)
        assert len(one.controls("terminated")) == 3
        await sender.stop()
        await stack.enter_async_context(other.sender())
        await one.until(lambda: len(one.controls("terminated")) == 4)

    run(work)


def test_a_hopeless_receiver_is_left_alone_until_its_client_comes(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        server = await opened(stack, ":memory:", binary)
        one = await stack.enter_async_context(Receiver())
        granted = await server.subscribe(one.url)
        one.handle = lambda delivery: 500
        await stack.enter_async_context(server.sender(delays=(1, 1, 1, 1), per_subscription=8))
        for number in range(25):
            await server.publish(str(number))
        async with asyncio.timeout(WAIT):
            while (await server.record(granted["id"]))["active"]:
                await asyncio.sleep(0.01)
        assert len(one.events) >= 100
        async with asyncio.timeout(WAIT):
            while await server.work(status="leased"):  # what is on its way fails too
                await asyncio.sleep(0.01)
        one.handle = None
        before = len(one.events)
        await server.publish("meanwhile")
        await asyncio.sleep(0.2)
        assert len(one.events) == before
        again = await server.subscribe(one.url)
        assert not again["deliveryStatus"]["active"] and again["deliveryStatus"]["lastError"] == "http_5xx"
        assert again["deliveryStatus"]["failedSince"].endswith("Z")
        await one.until(lambda: "meanwhile" in things(one.events))

    run(work)


def test_in_order_where_order_was_asked_for(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        server = await opened(stack, ":memory:", binary)
        one = await stack.enter_async_context(Receiver())
        await server.subscribe(one.url)
        one.script = [500, 200, 500, 500]
        await stack.enter_async_context(server.sender(ordered=True))
        expected = [str(number) for number in range(10)]
        for thing in expected:
            await server.publish(thing)
        await one.came(13)
        await server.idle()
        in_turn = things(one.events)
        assert [thing for index, thing in enumerate(in_turn) if in_turn.index(thing) == index] == expected
        assert in_turn == sorted(in_turn, key=int)

    run(work)


def test_one_slow_receiver_holds_up_nobody_else(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        server = await opened(stack, ":memory:", binary)
        slow, quick = [await stack.enter_async_context(Receiver()) for _ in range(2)]
        await server.subscribe(slow.url)
        await server.subscribe(quick.url)
        at_once = [0, 0]
        answers = asyncio.Event()

        async def waits(delivery: Any) -> None:
            at_once[0] += 1
            at_once[1] = max(at_once)
            await answers.wait()
            at_once[0] -= 1

        slow.handle = waits
        await stack.enter_async_context(server.sender(concurrency=8))
        for number in range(12):
            await server.publish(str(number))
        await quick.came(12)
        assert len(slow.events) < 12
        answers.set()
        await slow.came(12)
        assert at_once[1] <= 4

    run(work)


@pytest.mark.both_engines
def test_senders_share_what_is_to_be_sent(binary: Path, place: Place) -> None:
    async def work(stack: AsyncExitStack) -> None:
        database = place("events")
        servers = [await opened(stack, database, binary) for _ in range(3)]
        one = await stack.enter_async_context(Receiver())
        for number in range(5):
            await servers[0].subscribe(f"{one.url}/{number}")
        for server in servers:
            await stack.enter_async_context(server.sender())
        await asyncio.gather(*(server.publish(f"{index}/{number}") for index, server in enumerate(servers)
                               for number in range(10)))
        await one.came(150)
        await servers[0].idle()
        counts = Counter((delivery.path, delivery.headers["webhook-id"]) for delivery in one.events)
        assert len(counts) == 150 and set(counts.values()) == {1}

    run(work)


def test_messages_with_ids_of_their_own(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        server = await opened(stack, ":memory:", binary)
        one = await stack.enter_async_context(Receiver())
        granted = await server.subscribe(one.url)
        one.script = [500]
        await stack.enter_async_context(server.sender(message_ids="delivery"))
        event_id = await server.publish("a")
        await one.came(2)
        assert {delivery.headers["webhook-id"] for delivery in one.events} == {message_id(granted["id"], event_id)}
        assert one.events[0].body["eventId"] == event_id

    run(work)


def test_what_was_gone_before_it_was_handed_on_is_told(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(mcp_session_store.Store(
            ":memory:", binary=binary, options={"max_events_per_session": 3}))
        server = Server(store)
        one = await stack.enter_async_context(Receiver())
        await server.subscribe(one.url)
        for number in range(8):  # while no sender runs
            await server.publish(str(number))
        await stack.enter_async_context(server.sender())
        await one.until(lambda: one.controls("gap") and len(one.events) == 3)
        await server.idle()
        (gap,) = one.controls("gap")
        assert gap.verified == [SECRET] and gap.headers["webhook-id"].startswith("msg_gap_")
        assert set(gap.body) == {"type", "cursor"} and sorted(things(one.events)) == ["5", "6", "7"]

    run(work)


def test_more_subscriptions_than_one_transaction_takes(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        server = await opened(stack, ":memory:", binary, max_subscriptions=0, trusts=lambda url: True)
        one = await stack.enter_async_context(Receiver())
        await asyncio.gather(*(server.subscribe(f"{one.url}/{number}") for number in range(1_100)))
        sender = server.sender()
        await server.publish("a")
        await server.publish("b")
        await sender.fanout.once()
        found: Counter[str] = Counter()
        cursor = None
        while True:
            page = await server.store.call("list_work", {
                "queue": "mcp-events/deliveries", "limit": 1_000, **({} if cursor is None else {"cursor": cursor})})
            found.update(item["payload"]["event"]["data"]["thing"] for item in page["work"])
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert found == {"a": 1_100, "b": 1_100}

    run(work)


def test_a_sender_without_types_leaves_handing_on_to_others(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        server, other = await opened(stack, database, binary), await opened(stack, database, binary)
        other.source.types.clear()
        one = await stack.enter_async_context(Receiver())
        await server.subscribe(one.url)
        await stack.enter_async_context(other.sender())
        await server.publish("a")
        await asyncio.sleep(0.1)
        assert one.events == []
        await server.sender().fanout.once()
        await one.came(1)

    run(work)


def test_everything_works_where_payloads_are_sealed(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(mcp_session_store.Store(
            database, binary=binary, codec=mcp_session_store.Codec({"2026-11": b"k" * 32})))
        server = Server(store)
        one = await stack.enter_async_context(Receiver())
        first = await server.source.poll(KIND, None, {}, None)
        await server.publish("a secret thing")
        await server.subscribe(one.url, cursor=first["cursor"])
        await server.subscribe(one.url, cursor=first["cursor"])
        await stack.enter_async_context(server.sender())
        (delivery,) = await one.came(1)
        assert delivery.verified == [SECRET] and things([delivery]) == ["a secret thing"]
        await server.idle()
        page = await server.source.poll(KIND, None, {}, first["cursor"])
        assert page["events"][0]["data"] == {"thing": "a secret thing"}
        await store.close()
        for path in database.parent.iterdir():
            text = path.read_bytes()
            assert b"a secret thing" not in text and SECRET.encode() not in text and one.url.encode() not in text

    run(work)


# What a suite of conformance asks of a server that is built anew over the same store


def state_of(record: Any) -> str:
    return "absent" if record is None else "active" if record["active"] else "suspended"


def rebuilt(binary: Path, database: Path, rows: Callable[..., Awaitable[None]], **options: Any) -> None:
    """Runs rows twice: before a kill of the store's process and a new server, and behind it."""

    async def work(stack: AsyncExitStack) -> None:
        one = await stack.enter_async_context(Receiver())
        state: dict[str, Any] = {}
        for life in range(2):
            store = mcp_session_store.Store(database, binary=binary)
            async with store:
                server = Server(store, **options)
                await rows(server, one, state, life)
                assert store.pid is not None
                os.kill(store.pid, signal.SIGKILL)

    run(work)


def test_row_ttl_long_grant_retained(binary: Path, database: Path) -> None:
    async def rows(server: Server, one: Receiver, state: dict[str, Any], life: int) -> None:
        if life == 0:
            state["granted"] = await server.subscribe(one.url, ttlMs=604_800_000)
            await server.publish("before")
        else:
            record = await server.record(state["granted"]["id"])
            assert state_of(record) == "active"
            async with server.sender():
                await server.publish("after")
                await one.came(2)
            assert sorted(things(one.events)) == ["after", "before"]
            assert {delivery.headers["x-mcp-subscription-id"] for delivery in one.events} == {state["granted"]["id"]}
            again = await server.subscribe(one.url, ttlMs=604_800_000)
            assert again["id"] == state["granted"]["id"]
            assert again["refreshBefore"] > state["granted"]["refreshBefore"]

    rebuilt(binary, database, rows)


def test_rows_ttl_no_expiry_persisted_and_verification_persisted(binary: Path, database: Path) -> None:
    async def rows(server: Server, one: Receiver, state: dict[str, Any], life: int) -> None:
        if life == 0:
            state["granted"] = await server.subscribe(one.url, ttlMs=None)
            assert state["granted"]["refreshBefore"] is None
        else:
            assert state_of(await server.record(state["granted"]["id"])) == "active"
            await asyncio.sleep(0.01)  # longer than a proof of a subscription with an end is good for
            again = await server.subscribe(one.url, ttlMs=None)
            assert again["id"] == state["granted"]["id"] and again["refreshBefore"] is None
            assert len(one.controls("verification")) == 1
            await server.subscribe(one.url, "other", ttlMs=None)
            assert len(one.controls("verification")) == 1

    rebuilt(binary, database, rows, endless=True, verified=1)


def test_row_ttl_no_expiry_gc_terminated(binary: Path, database: Path) -> None:
    async def rows(server: Server, one: Receiver, state: dict[str, Any], life: int) -> None:
        if life == 0:
            state["granted"] = await server.subscribe(one.url, ttlMs=None)
            state["kept"] = await server.subscribe(one.url, "kept")
            one.script = [500] * 100
            async with server.sender(delays=(1,)):
                await server.publish("kept")
                await one.came(4)
                await server.idle()
                await server.sender().tidy()  # it has not failed for long enough
        else:
            assert state_of(await server.record(state["granted"]["id"])) == "active"
            one.script = []
            async with server.sender(endless_failure=1, tidying=0.01):
                await one.until(lambda: one.controls("terminated"))
            assert state_of(await server.record(state["granted"]["id"])) == "absent"
            assert state_of(await server.record(state["kept"]["id"])) == "active"
            (told,) = one.controls("terminated")
            assert told.body["error"]["data"] == {"kind": "subscription"} and told.verified == [SECRET]

    rebuilt(binary, database, rows, endless=True)
