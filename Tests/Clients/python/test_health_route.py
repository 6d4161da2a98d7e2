"""Probes of a server's health, through each adapter and under each way to mount it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastmcp import FastMCP
from http_server import serving
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.routing import Mount

from mcp_session_store import Store
from mcp_session_store.fastmcp_events import http_app
from mcp_session_store.health_route import HealthRoute
from mcp_session_store.http_sessions import HTTPSessions
from mcp_session_store.mcp_sessions import streamable_http_app

WELL = {"status": "ok"}


def official(store: Store) -> Any:
    return streamable_http_app(MCPServer("test"), store, health="/healthz")


def fastmcp(store: Store) -> Any:
    return http_app(FastMCP("test"), store, health="/healthz")


def below(app: Any) -> Any:
    return Starlette(routes=[Mount("/a", Starlette(routes=[Mount("/b", app)]))],
                     lifespan=lambda _: app.router.lifespan_context(app))


def in_fastapi(store: Store) -> Any:
    app, inner = FastAPI(), FastAPI()
    inner.add_middleware(HTTPSessions, store=store, health="/healthz", owner=lambda scope: 1 / 0)
    app.mount("/a/b", inner)
    return app


WAYS = {
    "official": (official, {}, "/healthz"),
    "fastmcp": (fastmcp, {}, "/healthz"),
    "root path": (official, {"root_path": "/a/b"}, "/healthz"),
    "mounted": (lambda store: below(official(store)), {}, "/a/b/healthz"),
    "mounted fastmcp": (lambda store: below(fastmcp(store)), {}, "/a/b/healthz"),
    "mounted and a root path": (lambda store: below(official(store)), {"root_path": "/x"}, "/a/b/healthz"),
    "sessions": (lambda store: HTTPSessions(Starlette(), store, health="/healthz"), {"lifespan": "off"}, "/healthz"),
    "sessions in a FastAPI below another": (in_fastapi, {}, "/a/b/healthz"),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_answers_under_every_way_to_mount(binary: Path, database: Path, way: str) -> None:
    make, options, path = WAYS[way]

    async def run() -> None:
        async with Store(database, binary=binary) as store:
            async with serving(make(store), **options) as url, httpx.AsyncClient(base_url=url) as http:
                answer = await http.get(path, headers={"Mcp-Session-Id": "nobody's"})
                assert (answer.status_code, answer.json()) == (200, WELL)
                assert answer.headers["cache-control"] == "no-store"
                answer = await http.head(path)
                assert (answer.status_code, answer.content) == (200, b"")
                answer = await http.post(path)
                assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
                assert (await http.get(path + "/more")).status_code == 404

    asyncio.run(asyncio.wait_for(run(), 60))


def test_it_is_off_unless_asked_for(binary: Path, database: Path) -> None:
    async def run() -> None:
        store = Store(database, binary=binary)
        async with serving(streamable_http_app(MCPServer("test"), store)) as url, httpx.AsyncClient() as http:
            assert (await http.get(f"{url}/healthz")).status_code == 404

    asyncio.run(asyncio.wait_for(run(), 60))


async def probed(route: HealthRoute) -> tuple[int, bytes]:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await route.answer({"type": "http", "method": "GET"}, send)
    return said[0]["status"], said[1]["body"]


def test_reasons_stand_there_and_no_path(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary, options={"degraded_sessions": 1}) as store:
            await store.create_session()
            status, body = await probed(HealthRoute(Starlette(), store, "/healthz"))
            assert (status, body) == (503, b'{"status":"unhealthy","reasons":["1 sessions"]}')
        store = Store(database, binary=database.parent / "no such program")
        status, body = await probed(HealthRoute(Starlette(), store, "/healthz"))
        assert (status, body) == (503, b'{"status":"unhealthy","reasons":["the store cannot be asked"]}')

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_store_that_hangs_is_asked_once_and_told_of_in_time(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            assert store.pid is not None
            route = HealthRoute(Starlette(), store, "/healthz")
            os.kill(store.pid, signal.SIGSTOP)
            try:
                begun = time.monotonic()
                probes = [asyncio.ensure_future(probed(route)) for _ in range(100)]
                await asyncio.sleep(0.1)
                assert store.bytes_in_flight < 200
                answers = await asyncio.gather(*probes)
                [(status, body)] = set(answers)
                assert (status, json.loads(body)["reasons"]) == (503, ["the store does not answer in time"])
                assert time.monotonic() - begun < 30
            finally:
                os.kill(store.pid, signal.SIGCONT)
            assert (await probed(route))[0] == 200

    asyncio.run(asyncio.wait_for(run(), 60))


def test_what_is_no_path_is_refused() -> None:
    for path in ("healthz", "/a?b", "/a/../b", "/a b", "", 7):
        with pytest.raises(ValueError, match="/healthz"):
            HTTPSessions(Starlette(), Store(":memory:"), health=path)  # type: ignore[arg-type]
