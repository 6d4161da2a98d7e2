"""Events and tasks of servers in two languages on one store: what one keeps the other reads, sends and works on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from mcp.server.subscriptions import ResourceUpdated, ToolsListChanged
from receiver import SECRET, WAIT, Receiver

from mcp_session_store import Store
from mcp_session_store.event_source import EventSource, EventType
from mcp_session_store.subscription_bus import StoreSubscriptionBus
from mcp_session_store.task_worker import TaskQueue, TaskWork, TaskWorker
from mcp_session_store.webhook_post import WebhookPost
from mcp_session_store.webhook_sender import WebhookSender
from mcp_session_store.webhook_subscriptions import WebhookSubscriptions

NODE = Path(__file__).parents[1] / "node/across.mjs"
KIND = EventType(
    "thing.changed", "A thing changed.", {"type": "object"}, {"type": "object"}, ("poll", "push", "webhook"))
POST = WebhookPost(insecure=True)


class Node:
    """A server in Node."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def __call__(self, action: str, **params: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"action": action, **params}).encode() + b"\n")
        answer = json.loads(await self._process.stdout.readline())
        assert "error" not in answer, answer
        return answer["result"]


class Both:
    """A server in each language on one database."""

    def __init__(self, store: Store, node: Node) -> None:
        self.store = store
        self.node = node
        self.source = EventSource(store, [KIND])
        self.webhooks = WebhookSubscriptions(self.source, post=POST)

    def sender(self) -> WebhookSender:
        return WebhookSender(self.source, post=POST, delays=(5, 5, 5, 5))


def asked(receiver: Receiver, thing: str) -> dict[str, Any]:
    return {"name": "thing.changed", "arguments": {"thing": thing},
            "delivery": {"mode": "webhook", "url": receiver.url, "secret": SECRET}}


@pytest.fixture
def run(binary: Path, database: Path) -> Callable[[Callable[[Both, Receiver], Awaitable[None]]], None]:
    """Runs a test with both servers and a receiver."""

    async def main(work: Callable[[Both, Receiver], Awaitable[None]]) -> None:
        async with AsyncExitStack() as stack:
            process = await asyncio.create_subprocess_exec(
                "node", NODE, binary, database, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                limit=1 << 20)
            try:
                store = await stack.enter_async_context(Store(database, binary=binary))
                await work(Both(store, Node(process)), await stack.enter_async_context(Receiver()))
            finally:
                process.kill()
                await process.wait()

    return lambda work: asyncio.run(asyncio.wait_for(main(work), WAIT * 2))


def things(receiver: Receiver) -> set[str]:
    return {delivery.body["data"]["thing"] for delivery in receiver.events}


def test_a_sender_in_node_delivers_what_a_server_in_python_published(run: Any) -> None:
    async def work(both: Both, receiver: Receiver) -> None:
        begin = (await both.source.poll(KIND, "alice", {}, None))["cursor"]
        await both.source.publish("thing.changed", {"thing": "a", "n": 1}, event_id="upstream-1")
        made = await both.webhooks.subscribe("alice", {**asked(receiver, "a"), "cursor": begin})
        await both.source.publish("thing.changed", {"thing": "b"})
        await both.source.publish("thing.changed", {"thing": "a", "n": 2})
        await both.node("send")
        first, second = sorted(await receiver.came(2), key=lambda delivery: delivery.body["data"]["n"])
        assert things(receiver) == {"a"}
        for delivery in (first, second):
            assert delivery.verified == [SECRET]
            assert delivery.headers["x-mcp-subscription-id"] == made["id"]
            assert delivery.headers["webhook-id"] == delivery.body["eventId"]
        assert first.body["eventId"] == "upstream-1"
        assert (await both.node("publish", data={}, eventId="upstream-1"))["isDuplicate"]

    run(work)


def test_a_sender_in_python_delivers_what_a_server_in_node_published(run: Any) -> None:
    async def work(both: Both, receiver: Receiver) -> None:
        begin = (await both.node("poll", name="thing.changed"))["cursor"]
        await both.node("publish", data={"thing": "a", "n": 1}, eventId="upstream-1")
        made = await both.node("subscribe", principal="alice", cursor=begin, **asked(receiver, "a"))
        await both.node("publish", data={"thing": "b"})
        await both.node("publish", data={"thing": "a", "n": 2})
        async with both.sender():
            for delivery in await receiver.came(2):
                assert delivery.verified == [SECRET] and delivery.body["data"]["thing"] == "a"
                assert delivery.headers["x-mcp-subscription-id"] == made["id"]
        assert (await both.source.publish("thing.changed", {}, event_id="upstream-1")).duplicate

    run(work)


def test_a_subscription_is_the_same_in_both(run: Any) -> None:
    async def work(both: Both, receiver: Receiver) -> None:
        made = await both.node("subscribe", principal="alice", **asked(receiver, "a"))
        refreshed = await both.webhooks.subscribe("alice", asked(receiver, "a"))
        assert refreshed["id"] == made["id"] and "deliveryStatus" in refreshed
        assert len(receiver.controls("verification")) == 1, "who proved itself to one did to the other"
        again = await both.node("subscribe", principal="alice", **asked(receiver, "a"))
        assert again["id"] == made["id"] and again["cursor"] == refreshed["cursor"]
        await both.webhooks.unsubscribe("alice", asked(receiver, "a"))
        assert (await both.store.call("list_event_subscriptions"))["subscriptions"] == []

    run(work)


def test_a_cursor_is_the_same_in_both_and_an_event_is_published_once(run: Any) -> None:
    async def work(both: Both, receiver: Receiver) -> None:
        begin = (await both.source.poll(KIND, None, {}, None))["cursor"]
        for n in range(3):
            await both.source.publish("thing.changed", {"n": n, "parity": n % 2}, event_id=f"upstream-{n}")
        assert (await both.node("publish", data={}, eventId="upstream-1"))["isDuplicate"]
        page = await both.node("poll", name="thing.changed", cursor=begin, maxEvents=2)
        assert [event["data"]["n"] for event in page["events"]] == [0, 1]
        rest = await both.source.poll(KIND, None, {}, page["cursor"])
        assert [event["data"]["n"] for event in rest["events"]] == [2]
        odd = await both.node("poll", name="thing.changed", cursor=begin, arguments={"parity": 1})
        assert odd["events"] == (await both.source.poll(KIND, None, {"parity": 1}, begin))["events"] != []

        await both.node("publish", data={"n": 3}, eventId="upstream-3", timestamp=0)
        assert (await both.source.publish("thing.changed", {}, event_id="upstream-3")).duplicate
        (event,) = (await both.source.poll(KIND, None, {}, rest["cursor"]))["events"]
        assert event == {"eventId": "upstream-3", "name": "thing.changed", "data": {"n": 3},
                         "timestamp": "1970-01-01T00:00:00.000Z"}

    run(work)


def test_a_task_of_one_is_done_by_the_other(run: Any) -> None:
    async def ended(get: Callable[[], Awaitable[Any]], status: str = "completed") -> Any:
        async with asyncio.timeout(WAIT):
            while True:
                task = await get()
                if task["status"] == status:
                    return task
                await asyncio.sleep(0.005)

    async def python(work: TaskWork) -> Any:
        if "size" not in work.answers:
            raise work.ask({"size": {"method": "elicitation/create"}}, {"by": "python"})
        return f"{work.arguments['of']} {work.answers['size']} {work.state['by']}"

    async def work(both: Both, receiver: Receiver) -> None:
        queue = TaskQueue(both.store)
        await both.node("work")
        handle = await queue.submit("alice", "node", {"of": "Python's"})
        in_node = {"taskId": handle.task_id, "principal": "alice"}
        asks = await ended(lambda: queue.get(handle.task_id, "alice"), "input_required")
        assert asks["inputRequests"] == {"size": {"method": "elicitation/create"}}
        assert await queue.update(handle.task_id, {"size": 7}, "alice")
        done = await ended(lambda: both.node("get", **in_node))
        assert done["result"]["content"][0]["text"] == "Python's 7 node"

        await both.node("rest")
        async with TaskWorker(queue, {"python": python}):
            request = {"method": "tools/call", "params": {"name": "python", "arguments": {"of": "Node's"}}}
            made = await both.node("create", principal="alice", request=request)
            in_node = {"taskId": made["taskId"], "principal": "alice"}
            await ended(lambda: both.node("get", **in_node), "input_required")
            assert await both.node("update", answers={"size": 8}, **in_node)
            done = await ended(lambda: queue.get(made["taskId"], "alice"))
            assert done["result"]["content"][0]["text"] == "Node's 8 python"

    run(work)


def test_a_change_that_one_tells_the_other_hears(run: Any) -> None:
    async def work(both: Both, receiver: Receiver) -> None:
        await both.node("listen")
        heard: list[Any] = []
        bus = StoreSubscriptionBus(both.store)
        bus.subscribe(heard.append)
        await bus.open()
        await bus.publish(ToolsListChanged())
        async with asyncio.timeout(WAIT):
            while len(await both.node("heard")) < 1:
                await asyncio.sleep(0.005)
            await both.node("tell", kind="resource_updated", uri="file:///a")
            while len(heard) < 2 or len(in_node := await both.node("heard")) < 2:
                await asyncio.sleep(0.005)
        assert [type(event) for event in heard] == [ToolsListChanged, ResourceUpdated]
        assert in_node == [{"kind": "tools_list_changed"}, {"kind": "resource_updated", "uri": "file:///a"}]

    run(work)
