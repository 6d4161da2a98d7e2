"""Sessions of an MCP server that outlive its process: real servers, killed in the middle, and real clients."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from server_process import WAIT, Door, Frame, RawClient, frames, running

from mcp_session_store import Store

FLAVORS = ["sdk", "fastmcp"]


@pytest.fixture
def setup(binary: Path, database: Path, tmp_path: Path) -> dict[str, Any]:
    gates = tmp_path / "gates"
    gates.mkdir()
    return {"flavor": "sdk", "binary": str(binary), "database": str(database), "gates": str(gates)}


def open_gate(setup: dict[str, Any], name: str) -> None:
    (Path(setup["gates"]) / name).touch()


async def stored(setup: dict[str, Any], session_id: str, count: int) -> None:
    """Waits until the session has had so many events."""
    async with Store(setup["database"], binary=setup["binary"]) as store, asyncio.timeout(WAIT):
        while True:
            session = await store.get_session(session_id)
            if session is not None and session["last_event_id"] >= count:
                return
            await asyncio.sleep(0.01)


def progress(frame: Frame) -> int:
    assert frame.data["method"] == "notifications/progress"
    return int(frame.data["params"]["progress"])


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_killed_server_resumes_a_stream(setup: dict[str, Any], flavor: str) -> None:
    setup["flavor"] = flavor

    async def before(client: RawClient) -> str:
        await client.initialize()
        first = client.call(1, "count", steps=[1, 2, "first", 3, 4, "never"])
        async with client.request("POST", first) as response:
            events = frames(response)
            assert (await anext(events)).data is None  # a place to resume from
            assert progress(await anext(events)) == 1
            last = await anext(events)
            assert progress(last) == 2
        open_gate(setup, "first")
        assert client.session_id is not None
        await stored(setup, client.session_id, 7)  # the handshake's two, and five
        return last.id

    async def after(client: RawClient, last: str) -> None:
        whoami = await client.result(2, "whoami")
        assert whoami == {"client": "raw client", "session_id": client.session_id}
        async with client.request("GET", last_event_id=last) as response:
            assert response.status_code == 200
            events = frames(response)
            assert [progress(await anext(events)) for _ in range(2)] == [3, 4]
        answer = {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}
        async with client.request("GET", last_event_id=last) as response:  # as often as the client likes
            async with Store(setup["database"], binary=setup["binary"]) as store:
                assert client.session_id is not None
                # Somebody takes the work up again and answers: nothing may stand between.
                await store.store_event(client.session_id, data=answer, stream_id="1")
            seen = [frame.data async for frame in frames(response)]
        assert [message["params"]["progress"] for message in seen[:2]] == [3, 4]
        assert seen[2:] == [answer]
        assert await client.result(3, "count", steps=[]) == {"result": "counted []"}

    client = RawClient("")
    with running(setup) as server:
        client.url = server.url
        last = asyncio.run(before(client))
    with running(setup) as server:
        client.url = server.url
        asyncio.run(after(client, last))
