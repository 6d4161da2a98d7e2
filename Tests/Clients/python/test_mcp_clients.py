"""The MCP SDK's own client, which loses its connection and its server in the middle of a call."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from server_process import WAIT, Door, running

from mcp_session_store import Store


@pytest.mark.parametrize("flavor", ["sdk", *(["fastmcp"] if find_spec("fastmcp") else [])])
@pytest.mark.parametrize("is_killed", [True, False])
def test_a_client_gets_what_it_missed_in_order_and_once(
    binary: Path, database: Path, tmp_path: Path, flavor: str, is_killed: bool
) -> None:
    gates = tmp_path / "gates"
    gates.mkdir()
    setup: dict[str, Any] = {
        "flavor": flavor, "binary": str(binary), "database": str(database), "gates": str(gates),
        "sessions": {"fail_interrupted": True},
    }

    async def run(lives: ExitStack) -> None:
        seen: list[float] = []
        reported = asyncio.Condition()

        async def report(progress: float, total: float | None, message: str | None) -> None:
            async with reported:
                seen.append(progress)
                reported.notify_all()

        async def stored(count: int) -> None:
            async with Store(database, binary=binary) as store:
                [session] = (await store.list_sessions())["sessions"]
                while (await store.get_events_after(session["session_id"]))["newest_id"] < count:
                    await asyncio.sleep(0.01)

        server = await asyncio.to_thread(lives.enter_context, running(setup))
        async with Door() as door:
            door.lead_to(server.port)
            async with streamable_http_client(door.url) as streams, ClientSession(streams[0], streams[1]) as client:
                await client.initialize()
                steps = [1, 2, "first", 3, 4, "second", 5]
                call = asyncio.ensure_future(client.call_tool("count", {"steps": steps}, progress_callback=report))
                async with reported:
                    await reported.wait_for(lambda: len(seen) == 2)
                door.cut()
                (gates / "first").touch()
                await stored(7)  # the handshake's two, and five
                if is_killed:
                    server.kill()
                    server = await asyncio.to_thread(lives.enter_context, running(setup))
                else:
                    (gates / "second").touch()
                door.lead_to(server.port)
                if is_killed:
                    with pytest.raises(Exception, match="restarted"):
                        await call
                else:
                    text = (await call).content[0].text
                    assert text == f"counted {steps}"
                assert seen == ([1, 2, 3, 4] if is_killed else [1, 2, 3, 4, 5])
                assert {tool.name for tool in (await client.list_tools()).tools} >= {"count", "whoami"}

    with ExitStack() as lives:
        asyncio.run(asyncio.wait_for(run(lives), 4 * WAIT))
