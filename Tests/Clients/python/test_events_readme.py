"""The README's task that outlives its worker, and its webhook that outlives a restart, as they are printed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from event_client import EventClient
from http_server import modern
from receiver import SECRET, WAIT, Receiver

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def program(name: str) -> str:
    found = re.findall(rf"^```python\n(# {name}\n.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture
def environment(binary: Path) -> dict[str, str]:
    return {**os.environ, "MCP_SESSION_STORE_BINARY": str(binary), "PYTHONPATH": str(ROOT / "protocol/clients/python")}


def test_a_task_that_outlives_its_worker(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "task.py").write_text(program("task.py"))
    runs = [subprocess.run([sys.executable, "task.py"], cwd=tmp_path, env=environment, capture_output=True, text=True,
                           timeout=WAIT, check=False) for _ in range(2)]
    assert [done.returncode for done in runs] == [-signal.SIGKILL, 0], runs
    assert [done.stdout for done in runs] == ["attempt 1\n", "attempt 2\nSunny in Rome.\n"], runs


def test_a_webhook_that_outlives_a_restart(tmp_path: Path, environment: dict[str, str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # As printed, but for the port, and for a receiver on this machine.
    text = program("doors.py")
    for printed, here in (
        ("streamable_http_app())", f"streamable_http_app(), port={port}, log_level='error')"),
        ("WebhookSubscriptions(source, ", "WebhookSubscriptions(source, post=WebhookPost(insecure=True), "),
        ("WebhookSender(source)",
         "WebhookSender(source, post=WebhookPost(insecure=True), lease=500, delays=[200] * 4)"),
        ("import uvicorn\n", "import uvicorn\nfrom mcp_session_store.webhook_post import WebhookPost\n"),
    ):
        assert text.count(printed) == 1
        text = text.replace(printed, here)
    (tmp_path / "doors.py").write_text(text)

    async def main() -> None:
        async with Receiver() as receiver, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=WAIT) as http:
            client = EventClient(http)
            receiver.handle = lambda delivery: 500 if len(receiver.events) == 1 else 200
            for life in range(2):
                process = subprocess.Popen([sys.executable, "doors.py"], cwd=tmp_path, env=environment)
                try:
                    await up(http)
                    if life == 0:
                        asked = {"name": "door.opened", "delivery": {
                            "mode": "webhook", "url": receiver.url, "secret": SECRET}}
                        await client.result("events/subscribe", **asked)
                        await http.post("/mcp", **modern("tools/call", {
                            "name": "open_door", "arguments": {"door": "front"}}))
                        await receiver.came(1)  # and refuses it
                    else:
                        await receiver.came(2)
                finally:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
            assert [delivery.body["data"]["door"] for delivery in receiver.events] == ["front", "front"]
            assert len({delivery.headers["webhook-id"] for delivery in receiver.events}) == 1
            assert all(delivery.verified == [SECRET] for delivery in receiver.events)

    asyncio.run(asyncio.wait_for(main(), WAIT * 2))


async def up(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(WAIT):
        while True:
            try:
                await http.post("/mcp", **modern("events/list", {}))
                return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
