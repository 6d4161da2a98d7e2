"""A server that is told to end in the middle of a request, run by the test of that: `DATABASE BINARY GATE`.

What happens it says on its output, a line each.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvicorn
from mcp.server import MCPServer

from mcp_session_store import Store
from mcp_session_store.mcp_sessions import streamable_http_app

database, binary, gate = sys.argv[1:]
store = Store(database, binary=binary, on_state=lambda state, error: print(state, error, flush=True))
mcp = MCPServer("test")


@mcp.tool()
async def write() -> str:
    """Waits for the gate, and writes then."""
    print("working", flush=True)
    while not Path(gate).exists():
        await asyncio.sleep(0.01)
    await store.put_value("test", key="last", value="words")
    print("written", flush=True)
    return "written"


class Server(uvicorn.Server):
    """Says where it listens."""

    async def startup(self, sockets: object = None) -> None:
        await super().startup()
        print(f"port {self.servers[0].sockets[0].getsockname()[1]}", flush=True)

    def handle_exit(self, sig: int, frame: object) -> None:
        print("told", flush=True)
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


# Not as a stream: the SDK's streams are ended by sse-starlette the moment that uvicorn is told to end.
app = streamable_http_app(mcp, store, hint=False, json_response=True)
Server(uvicorn.Config(app, port=0, log_level="warning")).run()
