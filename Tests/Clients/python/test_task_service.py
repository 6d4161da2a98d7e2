"""Tasks of MCP 2026-07-28: what clients see, what the work does, and both over HTTP with the SDK."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_server import modern, serving
from mcp.server.context import ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import MCPServer, require_client_extension
from mcp.shared.exceptions import MCPError
from mcp_session_store import ChildError, Restart, Store
from mcp_session_store.contract import InvalidParams, TaskNotFound, TerminalState
from mcp_session_store.task_service import (
    ACKNOWLEDGEMENT, EXTENSION, CancelRequested, TaskEnded, TaskHandle, TaskService,
)
from mcp_types import INVALID_PARAMS, CallToolRequestParams, RequestParams

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def run(binary: Path, work: Callable[[Store], Awaitable[None]], database: Path = Path(":memory:"), **more: Any) -> None:

    async def main() -> None:
        async with Store(database, binary=binary, options={"require_owner": True}, **more) as store:
            await work(store)

    asyncio.run(asyncio.wait_for(main(), 120))


# --- What clients see

def test_the_shapes_of_the_wire(binary: Path) -> None:
    async def main(store: Store) -> None:
        service = TaskService(store, ttl=60_000, poll_interval=500)
        task = await service.create("alice", status_message="begun", method="tools/call", params={"secret": 1})
        created = task.created
        times = (created.pop("createdAt"), created.pop("lastUpdatedAt"))
        assert all(TIME.fullmatch(time) for time in times)
        assert created == {
            "resultType": "task", "taskId": task.task_id, "status": "working", "statusMessage": "begun",
            "ttlMs": 60_000, "pollIntervalMs": 500,
        }
        assert len(task.task_id) == 43, "256 bits"

        async def shown() -> dict[str, Any]:
            found = await service.get(task.task_id, "alice")
            assert found is not None and found["createdAt"] == times[0] and TIME.fullmatch(found["lastUpdatedAt"])
            common = {"taskId": task.task_id, "createdAt": times[0], "lastUpdatedAt": found["lastUpdatedAt"]}
            assert common.items() <= found.items()
            return {name: value for name, value in found.items() if name not in common}

        assert await shown() == {
            "resultType": "complete", "status": "working", "statusMessage": "begun", "ttlMs": 60_000,
            "pollIntervalMs": 500,
        }
        await task.status("half", ttl=120_000, poll_interval=1_000)
        asked = {"name": {"method": "elicitation/create", "params": {"mode": "form", "message": "Who?"}}}
        waiting = asyncio.ensure_future(task.require_input(asked))
        while (await shown())["status"] == "working":
            await asyncio.sleep(0.01)
        assert await shown() == {
            "resultType": "complete", "status": "input_required", "statusMessage": "half", "ttlMs": 120_000,
            "pollIntervalMs": 1_000, "inputRequests": asked,
        }
        assert await service.update(task.task_id, {"name": {"action": "accept"}, "never asked": 1}, "alice")
        assert await waiting == {"name": {"action": "accept"}}
        result = {"content": [{"type": "text", "text": "no"}], "isError": True}
        await task.complete(result)
        assert await shown() == {
            "resultType": "complete", "status": "completed", "ttlMs": 120_000, "pollIntervalMs": 1_000,
            "result": result,
        }

    run(binary, main)


def test_failed_and_cancelled(binary: Path) -> None:
    async def main(store: Store) -> None:
        service = TaskService(store, ttl=None, poll_interval=None)
        failed, said, bare, stopped = [await service.create(None) for _ in range(4)]
        await failed.fail(-32603, "no more paper", {"tray": 2})
        await said.fail(-32000, "E17", status_message="The printer is on fire.")
        await store.update_task_status(bare.task_id, status="failed", principal=None, tenant_id=None)
        await stopped.cancelled("as you wish")
        shown = [await service.get(task.task_id, None) for task in (failed, said, bare, stopped)]
        for each in shown:
            assert each is not None
            for name in ("taskId", "createdAt", "lastUpdatedAt"):
                del each[name]  # type: ignore[misc]
        assert shown == [
            {"resultType": "complete", "status": "failed", "ttlMs": None, "statusMessage": "no more paper",
             "error": {"code": -32603, "message": "no more paper", "data": {"tray": 2}}},
            {"resultType": "complete", "status": "failed", "ttlMs": None, "statusMessage": "The printer is on fire.",
             "error": {"code": -32000, "message": "E17"}},
            {"resultType": "complete", "status": "failed", "ttlMs": None,
             "error": {"code": -32603, "message": "The task failed."}},
            {"resultType": "complete", "status": "cancelled", "ttlMs": None, "statusMessage": "as you wish"},
        ]

    run(binary, main)


def test_a_tools_own_error_is_its_result_whatever_the_era(binary: Path) -> None:
    result = {"content": [{"type": "text", "text": "The disk is full."}], "isError": True}

    async def main(store: Store) -> None:
        service = TaskService(store)
        before, now = await service.create("alice"), await service.create("alice")
        owner: Any = {"principal": "alice", "tenant_id": None}
        # Up to 2025-11-25 such a task has failed, from 2026-07-28 on it is completed.
        await store.store_task_result(before.task_id, result={"success": result}, **owner)
        await store.update_task_status(before.task_id, status="failed", **owner)
        await now.complete(result)
        for task in (before, now):
            shown = await service.get(task.task_id, "alice")
            assert shown is not None and shown["status"] == "completed"
            assert shown["result"] == result and "error" not in shown

    run(binary, main)


@pytest.mark.parametrize("tenant_id", [None, "north"])
def test_what_is_anothers_is_as_though_it_did_not_exist(tenant_id: str | None, binary: Path) -> None:
    async def main(store: Store) -> None:
        service = TaskService(store)
        task = await service.create("alice", tenant_id=tenant_id)
        others: list[tuple[str | None, str | None]] = [("bob", tenant_id), (None, tenant_id)]
        if tenant_id is not None:
            others += [("alice", None), ("alice", "south")]
        for principal, tenant in others:
            await denies(service, task.task_id, principal, tenant)
        for task_id in ("unknown", "", "with blank", "ü", "x" * 10_000, "\ud800"):
            await denies(service, task_id, "alice", tenant_id)
        expired = await service.create("alice", tenant_id=tenant_id, ttl=1)
        while await service.get(expired.task_id, "alice", tenant_id=tenant_id) is not None:
            await asyncio.sleep(0.01)
        await denies(service, expired.task_id, "alice", tenant_id)
        with pytest.raises(TaskNotFound):
            await expired.complete({})
        shown = await service.get(task.task_id, "alice", tenant_id=tenant_id)
        assert shown is not None and shown["status"] == "working"
        assert await service.cancel(task.task_id, "alice", tenant_id=tenant_id)

    async def denies(service: TaskService, task_id: str, principal: str | None, tenant_id: str | None) -> None:
        assert await service.get(task_id, principal, tenant_id=tenant_id) is None
        assert await service.update(task_id, {"name": 1}, principal, tenant_id=tenant_id) is False
        assert await service.cancel(task_id, principal, tenant_id=tenant_id) is False
        assert await service.handle(task_id, principal, tenant_id=tenant_id) is None
        assert [change async for change in service.changes(task_id, principal, tenant_id=tenant_id)] == []

    run(binary, main)


def test_a_task_of_nobody_answers_to_whoever_knows_its_id(binary: Path) -> None:
    async def main(store: Store) -> None:
        service = TaskService(store)
        task = await service.create(None)
        assert await service.get(task.task_id, None) and await service.get(task.task_id, "alice")

    run(binary, main)


def test_what_comes_when_it_is_over_is_acknowledged_and_changes_nothing(binary: Path) -> None:
    async def main(store: Store) -> None:
        service = TaskService(store)
        task = await service.create("alice")
        await task.complete({"content": []})
        before = await service.get(task.task_id, "alice")
        assert await service.cancel(task.task_id, "alice") and await service.update(task.task_id, {"a": 1}, "alice")
        assert await service.get(task.task_id, "alice") == before
        with pytest.raises(TerminalState):
            await task.fail(-32603, "too late")
        with pytest.raises(TerminalState):
            await task.require_input({"a": {"method": "elicitation/create"}})

    run(binary, main)


def test_a_call_that_is_wrong_in_another_way_is_an_error(binary: Path) -> None:
    async def main(store: Store) -> None:
        service = TaskService(store)
        task = await service.create("alice")
        with pytest.raises(InvalidParams):
            await service.get(task.task_id, 7)  # type: ignore[arg-type]
        with pytest.raises(InvalidParams):
            await service.cancel(task.task_id, 7)  # type: ignore[arg-type]

    run(binary, main)


# --- What the work does

def test_answers_come_in_part_and_the_work_waits_for_the_rest(binary: Path) -> None:
    async def main(store: Store) -> None:
        service = TaskService(store)
        task = await service.create("alice")
        ask = {"method": "elicitation/create"}
        waiting = asyncio.ensure_future(task.require_input({"one": ask, "two": ask}))
        async for change in service.changes(task.task_id, "alice"):
            asked = sorted(change.get("inputRequests", {}))
            if asked == ["one", "two"]:
                await service.update(task.task_id, {"one": 1}, "alice")
            elif asked == ["two"]:
                assert not waiting.done()
                await service.update(task.task_id, {"one": "again", "two": 2}, "alice")
                break
        assert await waiting == {"one": 1, "two": 2}
        with pytest.raises(InvalidParams):
            await task.require_input({"one": ask})

    run(binary, main)


def test_a_wish_to_cancel_wakes_the_work(binary: Path) -> None:
    async def main(store: Store) -> None:
        service = TaskService(store)
        tasks = [await service.create("alice") for _ in range(3)]
        wishes = [asyncio.ensure_future(task.cancel_requested()) for task in tasks[:2]]
        waiting = asyncio.ensure_future(tasks[2].require_input({"a": {"method": "elicitation/create"}}))
        await service.cancel(tasks[0].task_id, "alice")
        await wishes[0]
        shown = await service.get(tasks[0].task_id, "alice")
        assert shown is not None and shown["status"] == "working", "the work decides"
        await tasks[1].complete({})
        with pytest.raises(TaskEnded) as ended:
            await wishes[1]
        assert ended.value.status == "completed"
        await service.cancel(tasks[2].task_id, "alice")
        with pytest.raises(CancelRequested):
            await waiting
        await tasks[2].cancelled()
        with pytest.raises(TaskEnded) as ended:
            await tasks[2].answers(["a"])
        assert ended.value.status == "cancelled"

    async def over(store: Store) -> None:
        service = TaskService(store)
        task = await service.create("alice")
        wish = asyncio.ensure_future(task.cancel_requested())
        await asyncio.sleep(0)
        await store.delete_task(task.task_id, principal="alice", tenant_id=None)
        with pytest.raises(TaskEnded) as ended:
            await wish
        assert ended.value.status is None
        with pytest.raises(TaskEnded):
            await task.answers(["a"])

    run(binary, main)
    run(binary, over)


def test_work_goes_on_when_the_process_of_the_store_is_killed(binary: Path, database: Path) -> None:
    async def main(store: Store) -> None:
        service = TaskService(store)
        task = await service.create("alice")
        waiting = asyncio.ensure_future(task.require_input({"name": {"method": "elicitation/create"}}))
        while "inputRequests" not in (await service.get(task.task_id, "alice") or {}):
            await asyncio.sleep(0.01)
        os.kill(store.info["pid"], signal.SIGKILL)
        while True:
            try:
                assert await service.update(task.task_id, {"name": "Ada"}, "alice")
                break
            except ChildError as error:
                assert error.outcome == "unknown"  # it was on its way; answers may be given again
        assert await waiting == {"name": "Ada"}

    run(binary, main, database, restart=Restart())


def test_another_process_takes_the_work_up_again(binary: Path, database: Path) -> None:
    ids: list[str] = []

    async def first(store: Store) -> None:
        task = await TaskService(store).create("alice", method="tools/call", params={"name": "print"})
        ids.append(task.task_id)
        waiting = asyncio.ensure_future(task.require_input({"name": {"method": "elicitation/create"}}))
        while (await store.get_task(task.task_id, principal="alice", tenant_id=None))["status"] == "working":
            await asyncio.sleep(0.01)
        waiting.cancel()

    async def second(store: Store) -> None:
        service = TaskService(store)
        assert await service.update(ids[0], {"name": "Ada"}, "alice")
        task = await service.handle(ids[0], "alice")
        assert task is not None
        assert await task.answers(["name"]) == {"name": "Ada"}
        await task.complete({"content": []})

    run(binary, first, database)
    run(binary, second, database)


# --- With the SDK, over HTTP

class TaskParams(RequestParams):
    taskId: str
    inputResponses: dict[str, Any] = {}


class Tasks(Extension):
    """The tasks extension for a server of the SDK: each call of `greet` becomes a task."""

    identifier = EXTENSION

    def __init__(self, service: TaskService) -> None:
        self._service = service
        self.working: set[asyncio.Task[None]] = set()

    def methods(self) -> list[MethodBinding]:
        return [
            MethodBinding("tasks/get", TaskParams, self._get, frozenset({"2026-07-28"})),
            MethodBinding("tasks/update", TaskParams, self._update, frozenset({"2026-07-28"})),
            MethodBinding("tasks/cancel", TaskParams, self._cancel, frozenset({"2026-07-28"})),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: Any,
    ) -> Any:
        require_client_extension(ctx, EXTENSION)
        task = await self._service.create(None, method="tools/call")
        work = asyncio.ensure_future(greet(task))
        self.working.add(work)
        work.add_done_callback(self.working.discard)
        return task.created

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> Any:
        require_client_extension(ctx, EXTENSION)
        return await self._service.get(params.taskId, None) or missing()

    async def _update(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> Any:
        require_client_extension(ctx, EXTENSION)
        return await self._service.update(params.taskId, params.inputResponses, None) and ACKNOWLEDGEMENT or missing()

    async def _cancel(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> Any:
        require_client_extension(ctx, EXTENSION)
        return await self._service.cancel(params.taskId, None) and ACKNOWLEDGEMENT or missing()


def missing() -> None:
    raise MCPError(code=INVALID_PARAMS, message="There is no such task.")


async def greet(task: TaskHandle) -> None:
    try:
        answers = await task.require_input({"name": {
            "method": "elicitation/create",
            "params": {"mode": "form", "message": "Who?", "requestedSchema": {"type": "object", "properties": {}}},
        }})
    except CancelRequested:
        await task.cancelled()
    else:
        text = f"Hello, {answers['name']['content']['name']}!"
        await task.complete({"content": [{"type": "text", "text": text}], "isError": False})


def test_a_server_of_the_sdk_over_http(binary: Path) -> None:
    async def main(store: Store) -> None:
        tasks = Tasks(TaskService(store, poll_interval=10))
        server = MCPServer("greeter", extensions=[tasks])
        server.add_tool(lambda: "never called", name="greet", description="Greets.")
        async with serving(server.streamable_http_app()) as address, httpx.AsyncClient() as http:

            async def call(method: str, params: dict[str, Any], *, declares: bool = True) -> dict[str, Any]:
                answer = await http.post(f"{address}/mcp", **modern(method, params, tasks=declares))
                return answer.json()

            async def until(task_id: str, status: str) -> dict[str, Any]:
                while True:
                    shown = (await call("tasks/get", {"taskId": task_id}))["result"]
                    if shown["status"] == status:
                        assert shown["resultType"] == "complete"
                        return shown
                    await asyncio.sleep(0.01)

            created = (await call("tools/call", {"name": "greet", "arguments": {}}))["result"]
            assert created["resultType"] == "task" and created["status"] == "working"
            task_id = created["taskId"]
            assert "name" in (await until(task_id, "input_required"))["inputRequests"]
            answers = {"name": {"action": "accept", "content": {"name": "Ada"}}}
            acknowledged = (await call("tasks/update", {"taskId": task_id, "inputResponses": answers}))["result"]
            assert acknowledged["resultType"] == "complete"
            done = await until(task_id, "completed")
            assert done["result"] == {"content": [{"type": "text", "text": "Hello, Ada!"}], "isError": False}

            other = (await call("tools/call", {"name": "greet", "arguments": {}}))["result"]["taskId"]
            assert "result" in await call("tasks/cancel", {"taskId": other})
            await until(other, "cancelled")
            for method in ("tasks/get", "tasks/update", "tasks/cancel"):
                params = {"taskId": "unknown", "inputResponses": {}}
                assert (await call(method, params))["error"]["code"] == -32602
                assert (await call(method, {**params, "taskId": task_id}, declares=False))["error"]["code"] == -32021
        if tasks.working:
            await asyncio.wait(tasks.working)

    run(binary, main)
