"""The example does what it says: its work survives being killed, more than once, and the client notices nothing."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from http_server import modern
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from server_process import WAIT, Door, RawClient, frames

from mcp_session_store import Store

EXAMPLE = Path(__file__).parents[3] / "protocol/clients/python/example.py"
BELOW = 20_000_000
PRIMES = 1_270_607
BLOCK = 50_000


class Example:
    """One life of it."""

    def __init__(self, database: Path, binary: Path) -> None:
        command = [sys.executable, str(EXAMPLE), "--port", "0", "--database", str(database)]
        environment = {**os.environ, "MCP_SESSION_STORE_BINARY": str(binary)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        found = re.match(r"http://127\.0\.0\.1:(\d+)/mcp", self.process.stdout.readline())
        assert found, "it did not start"
        self.port = int(found[1])

    def kill(self) -> None:
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@contextmanager
def living(database: Path, binary: Path) -> Iterator[Example]:
    life = Example(database, binary)
    try:
        yield life
    finally:
        life.kill()


async def is_at_work(database: Path, binary: Path) -> None:
    async with Store(database, binary=binary) as store:
        [task] = (await store.list_tasks())["tasks"]
        assert task["status"] == "working"


def test_each_message_comes_once_however_often_it_is_killed(binary: Path, database: Path) -> None:
    async def run() -> None:
        client, seen, last = RawClient(""), [], ""
        for life_number in range(3):
            with living(database, binary) as life:
                client.url = f"http://127.0.0.1:{life.port}/mcp"
                if not last:
                    await client.initialize()
                    async with client.request("POST", client.call(1, "count_primes", below=BELOW)) as response:
                        [begun] = [frame async for frame in frames(response)]  # and then it is closed
                        assert begun.data is None
                        last = begun.id
                async with client.request("GET", last_event_id=last) as response:
                    async for frame in frames(response):
                        seen.append(frame.data)
                        last = frame.id
                        if life_number < 2 and len(seen) >= 3 * (life_number + 1):
                            break
            if life_number < 2:
                await is_at_work(database, binary)
        *progresses, answer = seen
        assert [message["params"]["progress"] for message in progresses] == list(range(BLOCK, BELOW + 1, BLOCK))
        assert answer["id"] == 1 and answer["result"]["structuredContent"] == {"primes": PRIMES}

    asyncio.run(asyncio.wait_for(run(), 5 * WAIT))


def test_without_sessions_the_count_is_a_task(binary: Path, database: Path) -> None:
    async def run() -> None:
        with living(database, binary) as life:
            async with httpx.AsyncClient(timeout=WAIT) as http:

                async def call(method: str, **params: object) -> dict[str, Any]:
                    answer = await http.post(
                        f"http://127.0.0.1:{life.port}/mcp", **modern(method, params, tasks=True))
                    result: dict[str, Any] = answer.json()["result"]
                    return result

                task = await call("tools/call", name="count_primes", arguments={"below": BELOW // 10})
                assert task["resultType"] == "task"
                while task["status"] == "working":
                    task = await call("tasks/get", taskId=task["taskId"])
                assert task["status"] == "completed" and task["result"]["structuredContent"] == {"primes": 148_933}

    asyncio.run(asyncio.wait_for(run(), 5 * WAIT))


def test_the_sdks_own_client_gets_its_answer(binary: Path, database: Path) -> None:
    async def run(lives: ExitStack) -> None:
        seen: list[float] = []
        reported = asyncio.Condition()

        async def report(progress: float, total: float | None, message: str | None) -> None:
            async with reported:
                seen.append(progress)
                reported.notify_all()

        async def start() -> Example:
            return await asyncio.to_thread(lives.enter_context, living(database, binary))

        life = await start()
        async with Door() as door:
            door.lead_to(life.port)
            async with streamable_http_client(door.url) as streams, ClientSession(streams[0], streams[1]) as client:
                await client.initialize()
                call = asyncio.ensure_future(
                    client.call_tool("count_primes", {"below": BELOW}, progress_callback=report))
                async with reported:
                    await reported.wait_for(lambda: len(seen) >= 3)
                door.cut()
                life.kill()
                await is_at_work(database, binary)
                life = await start()
                door.lead_to(life.port)
                result = await call
                assert not result.is_error and result.structured_content == {"primes": PRIMES}
                # This client asks for what it has seen already when its second connection breaks, so it gets it.
                assert sorted(set(seen)) == list(range(BLOCK, BELOW + 1, BLOCK))

    with ExitStack() as lives:
        asyncio.run(asyncio.wait_for(run(lives), 5 * WAIT))
