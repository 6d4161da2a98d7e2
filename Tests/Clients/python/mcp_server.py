"""An MCP server of the kind that people write, run by the tests of sessions and streams as a process of its own.

    python mcp_server.py '{"flavor": "sdk", "database": …, "binary": …, "gates": …, "port": 0, "options": {…}}'

It prints the port that it listens on. `flavor` is "sdk", for whichever version is installed, or "fastmcp". The tokens
`alice` and `bob` are good for these two when `auth` is true. When `quiet` is true it logs errors alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "protocol/clients/python"))

import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl

from mcp_session_store import Store

setup = json.loads(sys.argv[1])
store = Store(setup["database"], binary=setup["binary"], options=setup.get("store", {}), **setup.get("client", {}))


class Tokens:
    async def verify_token(self, token: str) -> AccessToken | None:
        if token not in ("alice", "bob"):
            return None
        claims = {"iss": "https://issuer.test"}
        return AccessToken(token=token, client_id="test", scopes=[], subject=token, claims=claims)


def auth() -> dict[str, Any]:
    if not setup.get("auth"):
        return {}
    settings = AuthSettings(
        issuer_url=AnyHttpUrl("https://issuer.test"), resource_server_url=AnyHttpUrl("https://server.test/mcp"),
        validate_token_resource=False)
    return {"auth": settings, "token_verifier": Tokens()}


if setup["flavor"] == "fastmcp":
    from fastmcp import Context, FastMCP
    from fastmcp.server.auth.providers.jwt import StaticTokenVerifier

    from mcp_session_store.fastmcp_events import http_app

    tokens = {name: {"client_id": "test", "sub": name, "iss": "https://issuer.test"} for name in ("alice", "bob")}
    server: Any = FastMCP("test", auth=StaticTokenVerifier(tokens) if setup.get("auth") else None)
    app = http_app(server, store, **setup.get("sessions", {}), **setup.get("options", {}))
else:
    from mcp_session_store.mcp_sessions import streamable_http_app

    options = setup.get("options", {})
    try:
        from mcp.server.mcpserver import Context, MCPServer

        server = MCPServer("test", **auth())
        app = streamable_http_app(server, store, **setup.get("sessions", {}), **options)
    except ImportError:
        from mcp.server.fastmcp import Context, FastMCP  # type: ignore[no-redef]

        server = FastMCP("test", **auth(), **options)
        app = streamable_http_app(server, store, **setup.get("sessions", {}))


async def gate(name: str) -> None:
    """Waits until the test lets it through."""
    while not (Path(setup["gates"]) / name).exists():
        await asyncio.sleep(0.01)


@server.tool()
async def count(steps: list[int | str], ctx: Context) -> str:  # type: ignore[type-arg]
    """Reports each number as progress, waits at each name for a gate, and at "close" closes its stream."""
    for step in steps:
        if isinstance(step, int):
            await ctx.report_progress(step, None, f"step {step}")
        elif step == "close":
            await ctx.close_sse_stream()
        else:
            await gate(step)
    return f"counted {steps}"


@server.tool()
async def whoami(ctx: Context) -> dict[str, Any]:  # type: ignore[type-arg]
    """What the server knows of the client, from the handshake."""
    params = ctx.session.client_params
    info = getattr(params, "client_info", None) or params.clientInfo
    request = ctx.request_context.request
    return {"client": info.name, "session_id": request.headers["mcp-session-id"]}


@server.tool()
async def notify(count: int, ctx: Context) -> str:  # type: ignore[type-arg]
    """Sends notifications that belong to no request, which go to the standalone stream."""
    for number in range(count):
        await ctx.session.send_resource_updated(f"test://{number}")
    return "sent"


@server.tool()
async def odd(kind: str, gates: list[str]) -> dict[str, Any]:
    """Answers, behind the gates, with what is hard to keep."""
    for each in gates:
        await gate(each)
    deep: dict[str, Any] = {}
    for _ in range(140):
        deep = {"a": deep}
    return {"value": {
        "large": lambda: "x" * 2_000_000, "deep": lambda: deep, "number": lambda: 7 ** 8_000,
        "half": lambda: "a\ud800b", "plain": lambda: 1,
    }[kind]()}


def main() -> None:
    if setup.get("quiet"):
        logging.disable(logging.WARNING)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none")).run([listener])


main()
