"""A server of the official SDK with durable sessions, under calls, reconnects, cancels and thefts, as long as asked.

    python Tests/Reliability/sdk_soak.py                     # 2,000 calls, half a minute
    python Tests/Reliability/sdk_soak.py --calls 50000       # by hand, some 15 minutes; prints as it goes

A call costs 8 ms of processor time here, nearly all of it in the SDK and in HTTP: `client_soak.py` makes a million.

The calls are mixed: tools that answer at once, streams that are cut and resumed, requests that are cancelled, sessions
that are opened and deleted, ids of sessions and events that are somebody else's. Each answer is looked at, and at the
end the server's memory and descriptors (the store's process with it) must be where they were after the first quarter.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "Tests/Clients/python"), str(ROOT / "protocol/clients/python")]

import httpx  # noqa: E402
from server_process import HEADERS, Frame, ServerProcess, frames, running  # noqa: E402

from resources import grown, held  # noqa: E402

#: calls between two looks at memory and descriptors, at most
PART = 2_000


class Client:
    """One client with one session, and what it must see."""

    def __init__(self, http: httpx.AsyncClient, url: str, seed: int) -> None:
        self._http = http
        self._url = url
        self._chance = random.Random(seed)
        self._id = 0
        self._headers: dict[str, str] = {}
        self.calls = 0
        #: an id of an event of this session, for others to try
        self.cursor = ""

    @property
    def session_id(self) -> str:
        return self._headers["mcp-session-id"]

    async def open(self) -> None:
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "soak", "version": "1"}}
        request = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        response = await self._http.post(self._url, json=request, headers=HEADERS)
        assert response.status_code == 200, response.text
        self._headers = {
            **HEADERS, "mcp-session-id": response.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, 202)

    async def work(self, others: list[Client]) -> None:
        """One call of some kind."""
        kind = self._chance.random()
        self.calls += 1
        if kind < 0.70:
            await self._echo()
        elif kind < 0.85:
            await self._resume()
        elif kind < 0.90:
            await self._cancel()
        elif kind < 0.95:
            await self._steal(self._chance.choice(others))
        else:
            response = await self._http.delete(self._url, headers=self._headers)
            assert response.status_code == 200, response.text
            await self._post(self._call("count", steps=[]), 404)
            await self.open()

    def _call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        self._id += 1
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": self._id}}
        return {"jsonrpc": "2.0", "id": self._id, "method": "tools/call", "params": params}

    async def _post(self, message: Any, status: int) -> str:
        response = await self._http.post(self._url, json=message, headers=self._headers)
        assert response.status_code == status, (response.status_code, response.text)
        return response.text

    async def _echo(self) -> None:
        call = self._call("count", steps=[1, 2])
        text = await self._post(call, 200)
        told = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        assert [each.get("id") for each in told] == [None, None, call["id"]], text

    async def _resume(self) -> None:
        call = self._call("count", steps=list(range(10)))
        seen: list[Frame] = []
        async with self._http.stream("POST", self._url, json=call, headers=self._headers) as response:
            async for frame in frames(response):
                seen.append(frame)
                if len(seen) == self._chance.randrange(1, 8):
                    break
        if seen[-1].data is None or "method" in seen[-1].data:
            self.cursor = seen[-1].id
            headers = {**self._headers, "last-event-id": self.cursor}
            async with self._http.stream("GET", self._url, headers=headers) as response:
                assert response.status_code == 200
                seen += [frame async for frame in frames(response)]
        *steps, answer = [frame.data for frame in seen if frame.data is not None]
        assert [step["params"]["progress"] for step in steps] == list(range(10)), steps
        assert answer["id"] == call["id"]

    async def _cancel(self) -> None:
        call = self._call("count", steps=[1, "never"])
        async with self._http.stream("POST", self._url, json=call, headers=self._headers) as response:
            events = frames(response)
            cursor = (await anext(events)).id
            await anext(events)
        params = {"requestId": call["id"]}
        await self._post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}, 202)
        headers = {**self._headers, "last-event-id": cursor}
        async with self._http.stream("GET", self._url, headers=headers) as response:
            *_, answer = [frame.data async for frame in frames(response)]
        assert answer["id"] == call["id"] and "error" in answer

    async def _steal(self, other: Client) -> None:
        headers = {**self._headers, "last-event-id": other.cursor or "none"}
        if other is not self:
            assert (await self._http.get(self._url, headers=headers)).status_code == 400
        for unknown in ("x" * 43, "", "ü"):
            headers = {**self._headers, "mcp-session-id": unknown}
            encoded: Any = {name: value.encode("latin-1") for name, value in headers.items()}
            assert (await self._http.get(self._url, headers=encoded)).status_code == 404


async def soak(server: ServerProcess, calls: int, clients: int) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=clients)
    async with httpx.AsyncClient(timeout=60, limits=limits) as http:
        everybody = [Client(http, server.url, seed) for seed in range(clients)]
        await asyncio.gather(*[client.open() for client in everybody])
        begun, parts = time.monotonic(), max(8, calls // PART)
        for part in range(1, parts + 1):
            goal = calls * part // (parts * clients)

            async def until(client: Client) -> None:
                while client.calls < goal:
                    await client.work(everybody)

            await asyncio.gather(*[until(client) for client in everybody])
            now = held(server.pid)
            print(f"{sum(client.calls for client in everybody):>8} calls, {time.monotonic() - begun:6.0f} s: {now}",
                  flush=True)
            if part == parts // 4:
                base = now
        wrong = grown(base, now)
        assert not wrong, "; ".join(wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    binary = Path(os.environ.get("MCP_SESSION_STORE_BINARY") or ROOT / ".build/release/mcp-session-store").absolute()
    with tempfile.TemporaryDirectory() as folder:
        setup = {
            "flavor": "sdk", "binary": str(binary), "database": f"{folder}/sessions.db", "gates": folder, "quiet": True,
            "store": {"max_events_per_session": 500},
        }
        with running(setup) as server:
            asyncio.run(soak(server, arguments.calls, arguments.clients))
    print("Memory and descriptors stayed where they were.")


if __name__ == "__main__":
    main()
