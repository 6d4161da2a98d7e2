"""A server of version 1 of the SDK with tasks, run by the tests as a process of its own. See `mcp_server.py`."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "protocol/clients/python"))

import mcp.types as types
import uvicorn
from mcp.server.experimental.task_context import ServerTaskContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.routing import Mount

from mcp_session_store import Store
from mcp_session_store.mcp_sessions import DurableSessions
from mcp_session_store.mcp_tasks import enable_tasks, submit
from mcp_session_store.task_worker import TaskQueue

setup = json.loads(sys.argv[1])
store = Store(setup["database"], binary=setup["binary"], options=setup.get("store", {}))
server: Server[Any, Any] = Server("tasks")
enable_tasks(server, store)
manager = StreamableHTTPSessionManager(server)
DurableSessions(manager, store)


@server.list_tools()
async def list_tools() -> list[types.Tool]:
    return [types.Tool(
        name="work", inputSchema={"type": "object"}, execution=types.ToolExecution(taskSupport="required"))]


@server.call_tool()
async def work(name: str, arguments: dict[str, Any]) -> Any:
    if "queued" in arguments:
        return await submit(server, TaskQueue(store), name, arguments)

    async def run(task: ServerTaskContext) -> types.CallToolResult:
        await task.update_status("at work")
        text = "done"
        if "gate" in arguments:
            while not (Path(setup["gates"]) / arguments["gate"]).exists():
                await asyncio.sleep(0.01)
        if "ask" in arguments:
            answer = await task.elicit(arguments["ask"], {"type": "object", "properties": {}})
            text = json.dumps(answer.content)
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)])

    return await server.request_context.experimental.run_task(run)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with store, manager.run():
        yield


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
print(listener.getsockname()[1], flush=True)
app = Starlette(routes=[Mount("/mcp", app=manager.handle_request)], lifespan=lifespan)
uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none")).run([listener])
