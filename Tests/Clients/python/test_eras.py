"""Clients with and without sessions at one server: what the README shows for both, and what a server is told."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastmcp import FastMCP
from http_server import modern, serving
from mcp import Client
from mcp.server import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from mcp_session_store import Store
from mcp_session_store.fastmcp_events import http_app
from mcp_session_store.http_sessions import HTTPSessions
from mcp_session_store.mcp_sessions import DurableSessions, streamable_http_app

CLIENT = Path(__file__).parents[3] / "protocol/clients/python"
WAIT = 60


@contextmanager
def counter(directory: Path, binary: Path) -> Iterator[str]:
    """The README's program, as it is printed but for the port; ended with SIGKILL."""
    readme = (CLIENT / "README.md").read_text(encoding="utf-8")
    [program] = re.findall(r"^```python\n(# counter\.py\n.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    assert program.count("hint=False))") == 1
    (directory / "counter.py").write_text(program.replace("hint=False))", "hint=False), port=0)"))
    process = subprocess.Popen(
        [sys.executable, "counter.py"], cwd=directory, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "MCP_SESSION_STORE_BINARY": str(binary), "PYTHONPATH": str(CLIENT)})
    assert process.stderr is not None
    try:
        said = ""
        while not (found := re.search(r"running on (http://[0-9.:]+)", said)):
            line = process.stderr.readline()
            assert line, f"it did not start:\n{said}"
            said += line
        yield f"{found[1]}/mcp"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()


def test_a_counter_survives_in_both_eras(binary: Path, tmp_path: Path) -> None:
    async def run() -> None:
        numbers: list[Any] = []
        versions: list[str] = []
        for _ in range(2):
            with counter(tmp_path, binary) as url:
                for mode in ("auto", "legacy"):
                    async with Client(url, mode=mode) as client:  # type: ignore[arg-type]
                        versions.append(client.protocol_version)
                        result = await client.call_tool("count", {"name": "visits"})
                        assert not result.is_error, result
                        numbers.append(result.structured_content["result"])
        assert versions == ["2026-07-28", "2025-11-25"] * 2
        assert numbers == [1, 2, 3, 4]

    asyncio.run(asyncio.wait_for(run(), 3 * WAIT))


def test_the_example_works_with_either_client(binary: Path, tmp_path: Path) -> None:
    async def run() -> None:
        process = subprocess.Popen(
            [sys.executable, str(CLIENT / "example.py"), "--port", "0", "--database", str(tmp_path / "example.db")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "MCP_SESSION_STORE_BINARY": str(binary)})
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split()[0]
            for mode in ("auto", "legacy"):
                async with Client(url, mode=mode) as client:  # type: ignore[arg-type]
                    result = await client.call_tool("count_primes", {"below": 200_000})
                    assert result.structured_content == {"primes": 17_984}, (mode, result)
        finally:
            process.kill()
            said = process.communicate()[1]
        assert "has no sessions" not in said  # it serves both, so no hint is due

    asyncio.run(asyncio.wait_for(run(), 2 * WAIT))


def durable(store: Store, **options: Any) -> Any:
    """An app around a manager of one's own."""
    server = MCPServer("test")
    app = server.streamable_http_app()
    assert isinstance(server.session_manager, StreamableHTTPSessionManager)
    DurableSessions(server.session_manager, store, **options)
    return app


KINDS: dict[str, Callable[..., Any]] = {
    "streamable_http_app": lambda store, **options: streamable_http_app(MCPServer("test"), store, **options),
    "DurableSessions": durable,
    "http_app": lambda store, **options: http_app(FastMCP("test"), store, **options),
    "HTTPSessions": lambda store, **options: HTTPSessions(
        MCPServer("test").streamable_http_app(), store, **options),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hint", [True, False])
def test_a_server_that_keeps_sessions_says_once_that_there_are_none(
    binary: Path, database: Path, caplog: pytest.LogCaptureFixture, kind: str, hint: bool,
) -> None:
    async def run() -> None:
        store = Store(database, binary=binary)
        async with serving(KINDS[kind](store, **({} if hint else {"hint": False}))) as url:

            def hints() -> list[str]:
                return [record.getMessage() for record in caplog.records if "has no sessions" in record.getMessage()]

            async with Client(f"{url}/mcp", mode="legacy") as client:
                await client.list_tools()
            assert hints() == []
            for _ in range(2):
                async with httpx.AsyncClient(timeout=WAIT) as http:
                    answer = await http.post(f"{url}/mcp", **modern("tools/list", {}))
                    assert "error" not in answer.json(), answer.text
            assert len(hints()) == (1 if hint else 0)
            assert all("Both eras" in text and "2026-07-28" in text for text in hints())
        await store.close()

    with caplog.at_level(logging.WARNING, "mcp_session_store"):
        asyncio.run(asyncio.wait_for(run(), WAIT))


def test_a_client_with_sessions_is_told_nothing_by_odd_headers(
    binary: Path, database: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        async with serving(streamable_http_app(MCPServer("test"), Store(database, binary=binary))) as url:
            async with httpx.AsyncClient(timeout=WAIT) as http:
                for version in ("9", "zzzz", "2026-07-28x", "\xff", ""):
                    request = modern("tools/list", {})
                    request["headers"]["MCP-Protocol-Version"] = version.encode("latin-1")
                    assert (await http.post(f"{url}/mcp", **request)).status_code < 500

    asyncio.run(asyncio.wait_for(run(), WAIT))
    assert "has no sessions" not in caplog.text
