"""A server that is told to end: it answers what it was asked, and closes its store behind that."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_server import modern

from mcp_session_store import BlockingStore

SERVER = Path(__file__).parent / "shutdown_server.py"
CLIENT = Path(__file__).parents[3] / "protocol/clients/python"
WAIT = 60


async def posted(url: str, method: str, params: dict[str, Any], session: dict[str, str]) -> httpx.Response:
    """On a connection of its own; with the headers of a session, or as MCP 2026-07-28 has it."""
    request: dict[str, Any] = modern(method, params)
    if session:
        request["headers"] = {"Accept": request["headers"]["Accept"], **session}
        request["json"]["params"] = params
        if method.startswith("notifications/"):
            del request["json"]["id"]
    async with httpx.AsyncClient(timeout=WAIT) as http:
        answer = await http.post(url, **request)
        assert answer.status_code in (200, 202), answer.text
        return answer


async def begun(url: str, version: str) -> dict[str, str]:
    """Begins a session."""
    said = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    answer = await posted(url, "initialize", said, {"MCP-Protocol-Version": version})
    session = {"MCP-Protocol-Version": version, "Mcp-Session-Id": answer.headers["mcp-session-id"]}
    await posted(url, "notifications/initialized", {}, session)
    return session


@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25"])
def test_the_open_request_is_answered_and_then_the_store_closed(
    binary: Path, database: Path, tmp_path: Path, version: str,
) -> None:
    gate = tmp_path / "gate"

    async def run(process: subprocess.Popen[str]) -> None:
        async def said() -> str:
            assert process.stdout is not None
            return (await asyncio.to_thread(process.stdout.readline)).strip()

        assert [await said(), await said()] == ["starting None", "ready None"]
        port = (await said()).removeprefix("port ")
        url = f"http://127.0.0.1:{port}/mcp"
        session = {} if version == "2026-07-28" else await begun(url, version)
        call = asyncio.ensure_future(posted(url, "tools/call", {"name": "write", "arguments": {}}, session))
        assert await said() == "working"
        process.send_signal(signal.SIGTERM)
        assert await said() == "told"
        gate.touch()
        answer = await call
        assert answer.json()["result"]["structuredContent"] == {"result": "written"}
        assert [await said(), await said(), await said()] == ["written", "closed None", ""]
        assert await asyncio.to_thread(process.wait) in (0, -signal.SIGTERM)  # uvicorn passes the signal on, at its end

    process = subprocess.Popen(
        [sys.executable, str(SERVER), str(database), str(binary), str(gate)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(CLIENT)})
    try:
        asyncio.run(asyncio.wait_for(run(process), WAIT))
    finally:
        process.kill()
        process.wait()
    with BlockingStore(database, binary=binary) as store:
        assert store.get_value("test", key="last")["value"] == "words"
