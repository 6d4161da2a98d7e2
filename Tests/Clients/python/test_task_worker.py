"""Tasks that outlive their workers: one outcome each, whoever is killed, for clients that know tasks and for others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from engine import Place
from http_server import modern, serving
from mcp.server.mcpserver import MCPServer

from mcp_session_store import Store
from mcp_session_store.queued_tasks import QueuedTasks
from mcp_session_store.task_worker import TaskFailed, TaskQueue, TaskWork, TaskWorker
from mcp_session_store.work_loop import LeaseLost

WAIT = 30
ASK = {"method": "elicitation/create", "params": {"message": "Sure?", "requestedSchema": {"type": "object"}}}


def run(work: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            await work(stack)

    asyncio.run(asyncio.wait_for(main(), WAIT * 2))


async def ended(queue: TaskQueue, task_id: str, who: str | None = "alice") -> dict[str, Any]:
    async with asyncio.timeout(WAIT):
        while True:
            task: Any = await queue.get(task_id, who)
            if task["status"] in ("completed", "failed", "cancelled"):
                return dict(task)
            await asyncio.sleep(0.01)


async def in_status(queue: TaskQueue, task_id: str, status: str) -> dict[str, Any]:
    async with asyncio.timeout(WAIT):
        while True:
            task: Any = await queue.get(task_id, "alice")
            if task["status"] == status:
                return dict(task)
            await asyncio.sleep(0.01)


async def works(store: Store) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await store.call("list_work", {"queue": "mcp-tasks"}))["work"]
    return found


@pytest.mark.both_engines
def test_a_task_is_done_by_whoever_is_there(binary: Path, place: Place) -> None:
    async def work(stack: AsyncExitStack) -> None:
        database = place("tasks")
        server = TaskQueue(await stack.enter_async_context(Store(database, binary=binary)))
        elsewhere = TaskQueue(await stack.enter_async_context(Store(database, binary=binary)))
        cause: dict[str, Any] = {"method": "put_value", "params": {"collection": "c", "key": "k", "value": 1}}
        task = await server.submit("alice", "add", {"a": 1, "b": 2}, meta={"mine": 1}, calls=[cause],
                                   trace={"traceparent": "00-1-2-03"}, status_message="Waits")
        assert task.created["status"] == "working" and task.created["statusMessage"] == "Waits"
        assert (await server.store.get_value("c", key="k"))["value"] == 1
        assert await server.get(task.task_id, "bob") is None
        seen: list[TaskWork] = []

        async def add(work: TaskWork) -> dict[str, int]:
            seen.append(work)
            await work.status("Adds")
            return {"sum": work.arguments["a"] + work.arguments["b"]}

        async with TaskWorker(elsewhere, {"add": add}):
            done = await ended(server, task.task_id)
        assert done["status"] == "completed" and done["result"] == {
            "content": [{"type": "text", "text": '{"sum":3}'}], "structuredContent": {"sum": 3}}
        assert seen[0].trace == {"traceparent": "00-1-2-03"} and seen[0].record["meta"]["mine"] == 1
        (item,) = await works(server.store)
        assert item["status"] == "done" and item["principal"] == "alice" and item["group"] == "alice"

    run(work)


def test_every_kind_of_end(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        queue = TaskQueue(await stack.enter_async_context(Store(":memory:", binary=binary)))

        async def do(work: TaskWork) -> Any:
            how = work.arguments["how"]
            if how == "error":
                raise TaskFailed(-32000, "E17", {"tray": 2})
            if how == "raises":
                raise RuntimeError("a secret")
            if how == "large":
                return "x" * 2_000_000
            if how == "unsayable":
                return {"nan": float("nan")}
            if how == "again" and work.attempt == 1:
                raise work.retry(1)
            if how == "is_error":
                return {"content": [], "isError": True}
            if how == "later" and work.state is None:
                await work.save("half of it")
                raise work.pause(1, [work.state, "paused"])
            if how == "bad question":
                raise work.ask({"": 5})
            return [how, work.state]

        async with TaskWorker(queue, {"do": do}):
            ends = {}
            for how in ("error", "raises", "large", "unsayable", "again", "is_error", "later", "plain", "bad question"):
                task = await queue.submit("alice", "do", {"how": how})
                ends[how] = await ended(queue, task.task_id)
            old = await queue.submit("alice", "do", {"how": "is_error"}, era="2025-11-25")
            await ended(queue, old.task_id)
        assert ends["error"]["error"] == {"code": -32000, "message": "E17", "data": {"tray": 2}}
        assert ends["raises"]["error"] == {"code": -32603, "message": "Internal server error"}
        assert ends["large"]["error"]["message"] == "The result was too large to be kept."
        assert ends["unsayable"]["error"]["message"] == "The result could not be kept."
        assert ends["bad question"]["status"] == "failed"
        assert ends["again"]["result"]["content"][0]["text"] == '["again",null]'
        assert ends["later"]["result"]["content"][0]["text"] == '["later",["half of it","paused"]]'
        assert ends["is_error"]["status"] == "completed" and ends["is_error"]["result"]["isError"]
        record = await queue.store.get_task(old.task_id, principal="alice", tenant_id=None)
        assert record is not None and record["status"] == "failed"
        assert record["result"] == {"success": {"content": [], "isError": True}}
        assert {item["status"] for item in await works(queue.store)} == {"done"}

    run(work)


def test_no_worker_is_held_while_the_client_is_asked(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        queue = TaskQueue(await stack.enter_async_context(Store(database, binary=binary)))
        legs: list[tuple[Any, dict[str, Any]]] = []

        async def book(work: TaskWork) -> str:
            legs.append((work.state, dict(work.answers)))
            if work.state is None:
                raise work.ask({"a": ASK, "b": ASK}, {"leg": 1})
            if work.state == {"leg": 1}:
                raise work.ask({"c": ASK}, {"leg": 2})
            return "+".join(work.answers[key]["is"] for key in "abc")

        async with TaskWorker(queue, {"book": book}, concurrency=1):
            task = await queue.submit("alice", "book")
            asked = await in_status(queue, task.task_id, "input_required")
            assert set(asked["inputRequests"]) == {"a", "b"}
        assert await queue.update(task.task_id, {"a": {"is": "1"}, "x": {"is": "?"}}, "alice")
        assert not await queue.update(task.task_id, {"b": {"is": "2"}}, "bob")
        # The worker of the first leg has gone, and another comes.
        async with TaskWorker(queue, {"book": book}, concurrency=1):
            assert await queue.update(task.task_id, {"b": {"is": "2"}}, "alice")
            asked = await in_status(queue, task.task_id, "input_required")
            assert set(asked["inputRequests"]) == {"c"}
            await queue.update(task.task_id, {"c": {"is": "3"}}, "alice")
            done = await ended(queue, task.task_id)
        assert done["result"]["content"][0]["text"] == "1+2+3"
        assert legs == [
            (None, {}), ({"leg": 1}, {"a": {"is": "1"}, "b": {"is": "2"}}),
            ({"leg": 2}, {"a": {"is": "1"}, "b": {"is": "2"}, "c": {"is": "3"}})]

    run(work)


def test_a_client_that_sends_answers_takes_no_work_away(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        queue = TaskQueue(await stack.enter_async_context(Store(":memory:", binary=binary)))
        began, gate = asyncio.Event(), asyncio.Event()
        legs = 0

        async def wait(work: TaskWork) -> str:
            nonlocal legs
            legs += 1
            began.set()
            await gate.wait()
            return "done"

        async with TaskWorker(queue, {"wait": wait}):
            task = await queue.submit("alice", "wait")
            await began.wait()
            for _ in range(5):
                assert await queue.update(task.task_id, {"a": 1}, "alice")
            gate.set()
            assert (await ended(queue, task.task_id))["status"] == "completed"
        assert legs == 1

    run(work)


@pytest.mark.parametrize("when", ["waits", "works", "asks", "pauses", "is done", "finishes"])
def test_cancelling(binary: Path, when: str) -> None:
    async def work(stack: AsyncExitStack) -> None:
        queue = TaskQueue(await stack.enter_async_context(Store(":memory:", binary=binary)))
        began, stopped = asyncio.Event(), asyncio.Event()

        async def do(work: TaskWork) -> str:
            began.set()
            if when == "asks":
                raise work.ask({"a": ASK})
            if when == "pauses":
                raise work.pause(3_600_000)
            if when in ("works", "finishes"):
                try:
                    await asyncio.sleep(WAIT)
                except asyncio.CancelledError:
                    stopped.set()
                    if when == "finishes":
                        return "as far as it came"
                    raise
            return "done"

        worker = TaskWorker(queue, {"do": do})
        task = await queue.submit("alice", "do")
        assert not await queue.cancel(task.task_id, "bob")
        if when == "waits":
            assert await queue.cancel(task.task_id, "alice")
        async with worker:
            if when != "waits":
                await began.wait()
                if when == "is done":
                    await ended(queue, task.task_id)
                elif when == "asks":
                    await in_status(queue, task.task_id, "input_required")
                elif when == "pauses":
                    async with asyncio.timeout(WAIT):
                        while (await works(queue.store))[0]["status"] != "waiting":
                            await asyncio.sleep(0.01)
                assert await queue.cancel(task.task_id, "alice")
            status = (await ended(queue, task.task_id))["status"]
        assert status == ("completed" if when in ("is done", "finishes") else "cancelled")
        assert stopped.is_set() == (when in ("works", "finishes"))
        assert began.is_set() == (when != "waits")

    run(work)


def test_a_task_that_is_cancelled_at_once_or_gone_stops_its_work(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        queue = TaskQueue(await stack.enter_async_context(Store(":memory:", binary=binary)))
        began, stopped = asyncio.Event(), asyncio.Event()

        async def do(work: TaskWork) -> None:
            began.set()
            try:
                await asyncio.sleep(WAIT)
            finally:
                stopped.set()

        async with TaskWorker(queue, {"do": do}):
            for how in ("cancel_task", "delete_task"):
                began.clear(), stopped.clear()
                task = await queue.submit("alice", "do", era="2025-11-25")
                await began.wait()
                await queue.store.call(how, {"task_id": task.task_id, "principal": "alice"})
                async with asyncio.timeout(WAIT):
                    await stopped.wait()
                    while {item["status"] for item in await works(queue.store)} != {"done"}:
                        await asyncio.sleep(0.01)

    run(work)


def test_what_kills_its_workers_is_given_up_and_a_slow_one_has_one_outcome(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        queue = TaskQueue(store)
        task = await queue.submit("alice", "kills")
        for _ in range(3):  # workers that were killed: nobody renews, and nobody settles
            await store.call("claim_work", {"queue": "mcp-tasks", "lease": 1})
            await asyncio.sleep(0.005)
        legs = 0

        async def kills(work: TaskWork) -> None:
            nonlocal legs
            legs += 1

        async with TaskWorker(queue, {"kills": kills}):
            failed = await ended(queue, task.task_id)
        assert failed["error"]["message"] == "The work was interrupted too often." and legs == 0
        assert (await works(store))[0]["status"] == "dead"
        # One that stood still for longer than its lease comes too late.
        late = await queue.submit("alice", "late")
        refused: list[bool] = []

        async def stands_still(work: TaskWork) -> str:
            item = (await store.call("list_work", {"queue": "mcp-tasks", "status": "leased"}))["work"][0]
            if work.attempt == 1:
                await store.call("settle_work", {
                    "queue": "mcp-tasks", "work_id": work.task_id, "fence": item["fence"], "outcome": "retry"})
                try:
                    await asyncio.sleep(WAIT)
                except asyncio.CancelledError:  # it is told that the task has ended
                    with pytest.raises(LeaseLost):
                        await work.save("too late")
                    refused.append(True)
                return "late"
            return "in time"

        async with TaskWorker(queue, {"late": stands_still}), TaskWorker(queue, {"late": stands_still}):
            done = await ended(queue, late.task_id)
            async with asyncio.timeout(WAIT):
                while not refused:
                    await asyncio.sleep(0.01)
        assert done["result"]["content"][0]["text"] == "in time"
        assert (await queue.get(late.task_id, "alice") or {})["result"] == done["result"]

    run(work)


def test_users_take_turns(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        queue = TaskQueue(await stack.enter_async_context(Store(":memory:", binary=binary)))
        order: list[str] = []

        async def do(work: TaskWork) -> None:
            order.append(work.owners["principal"])

        for _ in range(20):
            await queue.submit("alice", "do")
        last = await queue.submit("bob", "do")
        async with TaskWorker(queue, {"do": do}, concurrency=1):
            await ended(queue, last.task_id, "bob")
        assert order.index("bob") <= 2

    run(work)


def test_clients_that_know_tasks_and_those_that_do_not(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        queue = TaskQueue(await stack.enter_async_context(Store(database, binary=binary)), poll_interval=10)
        elsewhere = TaskQueue(await stack.enter_async_context(Store(database, binary=binary)))
        tasks = QueuedTasks(queue, ["forecast"], principal=lambda ctx: ctx.request.headers.get("x-user") or None)
        server = MCPServer("test", extensions=[tasks])

        @server.tool()
        async def forecast(city: str) -> str:
            raise NotImplementedError

        @server.tool()
        async def quick() -> str:
            return "at once"

        gate = asyncio.Event()

        async def work_on_it(work: TaskWork) -> str:
            await work.status("Looks out of the window")
            await gate.wait()
            return f"Sunny in {work.arguments['city']}."

        address = await stack.enter_async_context(serving(server.streamable_http_app()))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=address, timeout=WAIT))
        await stack.enter_async_context(TaskWorker(elsewhere, {"forecast": work_on_it}))

        async def call(method: str, *, knows: bool, user: str = "alice", **params: Any) -> dict[str, Any]:
            request = modern(method, params, tasks=knows)
            request["headers"]["x-user"] = user
            answer: dict[str, Any] = (await http.post("/mcp", **request)).json()
            return answer

        async def tool(name: str, *, knows: bool = False, user: str = "alice", **arguments: Any) -> dict[str, Any]:
            result: dict[str, Any] = (await call(
                "tools/call", knows=knows, user=user, name=name, arguments=arguments))["result"]
            return result

        listed = {tool["name"]: tool for tool in (await call("tools/list", knows=False))["result"]["tools"]}
        assert set(listed) == {"forecast", "quick", "task_status", "task_cancel"}
        assert listed["task_status"]["annotations"]["readOnlyHint"]
        assert set(listed["task_status"]["inputSchema"]["properties"]) == {"task_id"}
        assert (await tool("quick"))["content"][0]["text"] == "at once"

        known = await tool("forecast", knows=True, city="Rome")
        assert known["resultType"] == "task" and known["status"] == "working"
        told = await tool("forecast", city="Oslo")
        task_id = told["structuredContent"]["taskId"]
        assert task_id in told["content"][0]["text"] and "task_status" in told["content"][0]["text"]
        async with asyncio.timeout(WAIT):
            while "window" not in (await tool("task_status", task_id=task_id))["content"][0]["text"]:
                await asyncio.sleep(0.01)
        for stranger in ("bob", ""):
            assert (await tool("task_status", user=stranger, task_id=task_id))["isError"]
            assert (await tool("task_cancel", user=stranger, task_id=task_id))["isError"]
            assert "error" in await call("tasks/get", knows=True, user=stranger, taskId=known["taskId"])
        ended_one = await tool("forecast", city="Nowhere")
        await tool("task_cancel", task_id=ended_one["structuredContent"]["taskId"])
        cancelled = await ended(queue, ended_one["structuredContent"]["taskId"])
        assert cancelled["status"] == "cancelled"
        assert "cancelled" in (await tool("task_status", task_id=cancelled["taskId"]))["content"][0]["text"]
        gate.set()
        await ended(queue, task_id)
        assert (await tool("task_status", task_id=task_id))["content"][0]["text"] == "Sunny in Oslo."
        async with asyncio.timeout(WAIT):
            while True:
                found = (await call("tasks/get", knows=True, taskId=known["taskId"]))["result"]
                if found["status"] == "completed":
                    break
                await asyncio.sleep(0.01)
        assert found["result"]["content"][0]["text"] == "Sunny in Rome."
        assert "error" in await call("tasks/get", knows=False, taskId=known["taskId"])

    run(work)


def test_what_is_quick_is_answered_as_ever(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        queue = TaskQueue(await stack.enter_async_context(Store(":memory:", binary=binary)))
        server = MCPServer("test", extensions=[QueuedTasks(queue, ["quick"], patience=WAIT, fallback=False)])

        @server.tool()
        async def quick() -> str:
            raise NotImplementedError

        async def do(work: TaskWork) -> str:
            return "at once"

        await stack.enter_async_context(TaskWorker(queue, {"quick": do}))
        address = await stack.enter_async_context(serving(server.streamable_http_app()))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=address, timeout=WAIT))
        for knows in (True, False):
            answer = (await http.post("/mcp", **modern("tools/call", {"name": "quick", "arguments": {}}, tasks=knows)))
            assert answer.json()["result"]["content"][0]["text"] == "at once"
        listed = (await http.post("/mcp", **modern("tools/list", {}))).json()["result"]["tools"]
        assert [tool["name"] for tool in listed] == ["quick"]

    run(work)
