"""Calls of tools that become tasks, of MCP 2026-07-28, with real servers of the SDK over HTTP."""

from __future__ import annotations

import asyncio
import logging
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_server import modern, serving
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ElicitRequest, ElicitRequestFormParams, InputRequiredResult, TextContent
from server_process import running

from mcp_session_store import Store
from mcp_session_store.mcp_task_extension import TaskExtension, current_task

WAIT = 60
ASK = ElicitRequestFormParams(message="Sure?", requested_schema={"type": "object", "properties": {}})


class Client:
    """A client that knows tasks."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def call(self, method: str, *, knows: bool = True, user: str = "", **params: Any) -> dict[str, Any]:
        request = modern(method, params, tasks=knows)
        request["headers"]["x-user"] = user
        answer: dict[str, Any] = (await self._http.post("/mcp", **request)).json()
        return answer

    async def tool(self, name: str, **arguments: Any) -> dict[str, Any]:
        answer = await self.call("tools/call", name=name, arguments=arguments)
        result: dict[str, Any] = answer["result"]
        return result

    async def until(self, task_id: str, *statuses: str) -> dict[str, Any]:
        async with asyncio.timeout(WAIT):
            while True:
                shown: dict[str, Any] = (await self.call("tasks/get", taskId=task_id))["result"]
                if shown["status"] in statuses:
                    return shown
                await asyncio.sleep(0.01)


def with_tools(gate: asyncio.Event, cancelled: list[str], **options: Any) -> Callable[[Store], MCPServer]:
    def make(store: Store) -> MCPServer:
        server = MCPServer("test", extensions=[TaskExtension(store, poll_interval=10, **options)])

        @server.tool()
        async def quick() -> str:
            return "at once"

        @server.tool()
        async def slow() -> str:
            try:
                await gate.wait()
            except asyncio.CancelledError:
                cancelled.append("slow")
                raise
            return "at last"

        @server.tool()
        async def fails(how: str) -> CallToolResult:
            await current_task()
            await gate.wait()
            if how == "own":
                return CallToolResult(content=[TextContent(type="text", text="no paper")], is_error=True)
            if how == "protocol":
                raise MCPError(code=-32000, message="E17", data={"tray": 2})
            if how == "large":
                return CallToolResult(content=[TextContent(type="text", text="x" * 2_000_000)])
            raise RuntimeError("a secret")

        @server.tool()
        async def asks(ctx: Context) -> str | InputRequiredResult:
            rounds = int(ctx.request_state or "0")
            if rounds == 0:
                await current_task()  # else the client is asked in the SDK's own way
            if rounds < 2:
                question = ElicitRequest(params=ASK)
                return InputRequiredResult(input_requests={"sure": question}, request_state=str(rounds + 1))
            answer: Any = (ctx.input_responses or {})["sure"]
            return f"{answer.action} {answer.content['name']}"

        @server.tool()
        async def tells() -> str:
            task = await current_task()
            if task is None:
                return "no task"
            await task.status("half of it")
            answers = await task.require_input({"name": {"method": "elicitation/create", "params": ASK.model_dump(
                by_alias=True, exclude_none=True)}})
            return f"Hello, {answers['name']['content']['name']}!"

        return server

    return make


def run(
    binary: Path, make: Callable[[Store], MCPServer], work: Callable[[Client, Store], Awaitable[None]],
    database: Path | str = ":memory:",
) -> None:
    async def main() -> None:
        async with Store(database, binary=binary, options={"require_owner": True}) as store:
            async with serving(make(store).streamable_http_app()) as address:
                async with httpx.AsyncClient(base_url=address, timeout=WAIT) as http:
                    await work(Client(http), store)

    asyncio.run(asyncio.wait_for(main(), WAIT * 2))


def test_what_is_quick_is_answered_and_what_is_slow_is_a_task(binary: Path) -> None:
    async def work(client: Client, store: Store) -> None:
        assert (await client.tool("quick"))["content"][0]["text"] == "at once"
        assert (await store.task_count(principal=None, tenant_id=None))["count"] == 0
        created = await client.tool("slow")
        assert created["resultType"] == "task" and created["status"] == "working" and created["pollIntervalMs"] == 10
        gate.set()
        done = await client.until(created["taskId"], "completed")
        assert done["result"]["content"][0]["text"] == "at last"
        for answer in (await client.call("tools/call", knows=False, name="slow", arguments={}),
                       await client.call("tools/call", name="slow", arguments={})):
            assert answer["result"]["content"][0]["text"] == "at last"
        unknown = await client.call("tools/call", name="no such tool", arguments={})
        assert "error" in unknown or unknown["result"]["isError"]

    gate = asyncio.Event()
    run(binary, with_tools(gate, [], patience=0.2), work)


def test_a_client_that_knows_no_tasks_notices_nothing(binary: Path) -> None:
    async def work(client: Client, store: Store) -> None:
        waiting = asyncio.ensure_future(client.call("tools/call", knows=False, name="slow", arguments={}))
        await asyncio.wait([waiting], timeout=0.5)
        assert not waiting.done()
        gate.set()
        assert (await waiting)["result"]["content"][0]["text"] == "at last"
        told = await client.call("tools/call", knows=False, name="tells", arguments={})
        assert told["result"]["content"][0]["text"] == "no task"
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            assert (await client.call(method, knows=False, taskId="x"))["error"]["code"] == -32021
            for task_id in ("x", "a b", "x" * 5_000):
                assert (await client.call(method, taskId=task_id))["error"]["code"] == -32602

    gate = asyncio.Event()
    run(binary, with_tools(gate, [], patience=0), work)


def test_only_the_named_tools_become_tasks(binary: Path) -> None:
    async def work(client: Client, store: Store) -> None:
        assert (await client.tool("quick"))["content"][0]["text"] == "at once"
        assert (await client.tool("slow"))["resultType"] == "task"

    run(binary, with_tools(asyncio.Event(), [], patience=0, tools={"slow"}), work)


def test_each_way_to_fail(binary: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(client: Client, store: Store) -> None:
        made = {how: (await client.tool("fails", how=how))["taskId"] for how in ("own", "protocol", "large", "raises")}
        gate.set()
        shown = {how: await client.until(task_id, "completed", "failed") for how, task_id in made.items()}
        assert shown["own"]["status"] == "completed" and shown["own"]["result"]["isError"]
        assert shown["protocol"]["error"] == {"code": -32000, "message": "E17", "data": {"tray": 2}}
        assert shown["large"]["status"] == "failed" and "too large" in shown["large"]["error"]["message"]
        raised = str(shown["raises"].get("error") or shown["raises"].get("result"))
        assert "rror" in raised

    gate = asyncio.Event()
    with caplog.at_level(logging.ERROR):
        run(binary, with_tools(gate, []), work)


def test_a_client_that_cancels_the_task_cancels_the_tool(binary: Path) -> None:
    async def work(client: Client, store: Store) -> None:
        created = await client.tool("slow")
        assert "result" in await client.call("tasks/cancel", taskId=created["taskId"])
        await client.until(created["taskId"], "cancelled")
        assert cancelled == ["slow"]
        asked = (await client.tool("tells"))["taskId"]
        await client.until(asked, "input_required")
        await client.call("tasks/cancel", taskId=asked)
        await client.until(asked, "cancelled")

    cancelled: list[str] = []
    run(binary, with_tools(asyncio.Event(), cancelled, patience=0), work)


def test_what_a_tool_asks_for_it_asks_for_through_the_task(binary: Path) -> None:
    async def work(client: Client, store: Store) -> None:
        task_id = (await client.tool("asks"))["taskId"]
        for rounds in range(2):
            shown = await client.until(task_id, "input_required")
            [(key, question)] = shown["inputRequests"].items()
            assert question["method"] == "elicitation/create" and question["params"]["message"] == "Sure?"
            answers = {key: {"action": "accept", "content": {"name": f"Ada {rounds}"}}}
            assert "result" in await client.call("tasks/update", taskId=task_id, inputResponses=answers)
            await client.until(task_id, *(["completed"] if rounds else ["input_required", "working"]))
            while rounds == 0 and key in (await client.until(
                    task_id, "working", "input_required")).get("inputRequests", {}):
                await asyncio.sleep(0.01)
        done = await client.until(task_id, "completed")
        assert done["result"]["content"][0]["text"] == "accept Ada 1"
        told = (await client.tool("tells"))["taskId"]
        assert (await client.until(told, "input_required"))["statusMessage"] == "half of it"
        answers = {"name": {"action": "accept", "content": {"name": "Bob"}}}
        await client.call("tasks/update", taskId=told, inputResponses=answers)
        assert (await client.until(told, "completed"))["result"]["content"][0]["text"] == "Hello, Bob!"

    run(binary, with_tools(asyncio.Event(), []), work)


def test_anothers_task_is_unknown(binary: Path) -> None:
    async def work(client: Client, store: Store) -> None:
        created = await client.call("tools/call", user="alice", name="slow", arguments={})
        task_id = created["result"]["taskId"]
        assert (await client.call("tasks/get", user="alice", taskId=task_id))["result"]["status"] == "working"
        for user in ("bob", ""):
            for method in ("tasks/get", "tasks/update", "tasks/cancel"):
                assert (await client.call(method, user=user, taskId=task_id))["error"]["code"] == -32602
        assert cancelled == []

    def user(ctx: Any) -> str | None:
        return ctx.request.headers.get("x-user") or None

    cancelled: list[str] = []
    run(binary, with_tools(asyncio.Event(), cancelled, patience=0, principal=user, tenant_id="north"), work)


SERVER = textwrap.dedent('''
    import asyncio, json, socket, sys
    sys.path.insert(0, json.loads(sys.argv[1])["client"])
    import uvicorn
    from mcp.server.mcpserver import MCPServer
    from mcp_session_store import Store
    from mcp_session_store.mcp_sessions import streamable_http_app
    from mcp_session_store.mcp_task_extension import TaskExtension
    setup = json.loads(sys.argv[1])
    store = Store(setup["database"], binary=setup["binary"])
    mcp = MCPServer("test", extensions=[TaskExtension(store, patience=0)])
    @mcp.tool()
    async def slow() -> str:
        await asyncio.sleep(3600)
        return "never"
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(streamable_http_app(mcp, store), log_level="warning")).run([listener])
''')


def test_a_task_whose_process_was_killed_has_failed_and_others_go_on(
    binary: Path, database: Path, tmp_path: Path
) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    client_folder = str(Path(sys.modules["mcp_session_store"].__file__ or "").parents[1])
    setup = {"database": str(database), "binary": str(binary), "client": client_folder}

    async def at(url: str) -> tuple[httpx.AsyncClient, Client]:
        http = httpx.AsyncClient(base_url=url.removesuffix("/mcp"), timeout=WAIT)
        return http, Client(http)

    async def main(first: Any, second: Any) -> None:
        (http, one), (other, two) = await at(first.url), await at(second.url)
        async with http, other:
            mine, yours = (await one.tool("slow"))["taskId"], (await two.tool("slow"))["taskId"]
            assert (await two.until(mine, "working"))["status"] == "working", "its server works on it"
            first.kill()
            failed = await two.until(mine, "failed")
            assert "restarted" in failed["error"]["message"]
            assert (await two.until(yours, "working", "failed"))["status"] == "working"

    with running(setup, script) as first, running(setup, script) as second:
        asyncio.run(asyncio.wait_for(main(first, second), WAIT))
