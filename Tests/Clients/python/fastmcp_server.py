"""A server of FastMCP that keeps its sessions and its cached responses in a store.

    python fastmcp_server.py BINARY DATABASE CALLS

CALLS is a file to which the tool `square` adds a line whenever it runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "protocol/clients/python"))

from fastmcp import FastMCP
from fastmcp.server.dependencies import get_session
from fastmcp.server.middleware.caching import CallToolSettings, ResponseCachingMiddleware
from fastmcp.server.sessions import SessionId, SessionProvider
from mcp_session_store import Store
from mcp_session_store.key_value import KeyValueStore

binary, database, calls = sys.argv[1:]
values = KeyValueStore(Store(database, binary=binary))
server = FastMCP("notes", session_state_store=values)
server.add_middleware(ResponseCachingMiddleware(
    cache_storage=values, call_tool_settings=CallToolSettings(included_tools=["square"])))
server.add_provider(SessionProvider())


@server.tool
async def remember(session_id: SessionId, fact: str) -> str:
    session = await get_session(session_id)
    await session.set("fact", fact)
    return "noted"


@server.tool
async def recall(session_id: SessionId) -> str:
    session = await get_session(session_id)
    return str(await session.get("fact"))


@server.tool
def square(number: int) -> int:
    with open(calls, "a") as file:
        file.write(f"{number}\n")
    return number * number


@server.tool
def process() -> int:
    return os.getpid()


if __name__ == "__main__":
    server.run(show_banner=False)
