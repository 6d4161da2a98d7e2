"""An ASGI application behind uvicorn, in the event loop of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


@asynccontextmanager
async def serving(application: Any, **options: Any) -> AsyncIterator[str]:
    """Serves it on a port of the system's choice; gives the address, and ends with everything answered."""
    server = uvicorn.Server(uvicorn.Config(
        application, port=0, log_level="warning", timeout_graceful_shutdown=5, **options))
    running = asyncio.ensure_future(server.serve())
    try:
        while not server.started:
            assert not running.done(), "uvicorn ended before it had started"
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


def modern(method: str, params: dict[str, Any], *, tasks: bool = False) -> dict[str, Any]:
    """What to post for a request of MCP 2026-07-28: the arguments of httpx, from a client with the tasks extension."""
    capabilities = {"extensions": {"io.modelcontextprotocol/tasks": {}}} if tasks else {}
    name = params.get("name") or params.get("taskId") or ""
    return {
        "headers": {
            "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": method, "Mcp-Name": name,
        },
        "json": {
            "jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": capabilities,
            }},
        },
    }
