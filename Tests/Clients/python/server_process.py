"""Server processes that the tests kill and start again, and a way in that outlives them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

SERVER = Path(__file__).parent / "mcp_server.py"
WAIT = 60
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


class ServerProcess:
    """One life of the server."""

    def __init__(self, setup: dict[str, Any], script: Path = SERVER) -> None:
        self._process = subprocess.Popen([sys.executable, str(script), json.dumps(setup)], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server did not start"
        self.port = int(line)
        self.url = f"http://127.0.0.1:{self.port}/mcp"

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill_child(self) -> None:
        """Ends its store with SIGKILL."""
        pid = self._process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)

    def kill(self) -> None:
        """Ends it with SIGKILL; its store ends by itself, when its input does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def running(setup: dict[str, Any], script: Path = SERVER) -> Iterator[ServerProcess]:
    process = ServerProcess(setup, script)
    try:
        yield process
    finally:
        process.kill()


class Door:
    """Stands between a client and the lives of a server. While it is held, connections wait."""

    def __init__(self) -> None:
        self.port = 0
        self._upstream = asyncio.get_running_loop().create_future()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Door:
        self._listener = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def lead_to(self, port: int) -> None:
        self._upstream.set_result(port)

    def cut(self) -> None:
        """Breaks all connections, and holds the next ones."""
        self._upstream = asyncio.get_running_loop().create_future()
        for writer in self._open:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError):
                to_server, from_server = None, None
                from_server, to_server = await asyncio.open_connection("127.0.0.1", await self._upstream)
                self._open.add(to_server)
                await asyncio.gather(pump(reader, to_server), pump(from_server, writer))
        finally:
            for end in (writer, to_server):
                if end is not None:
                    end.transport.abort()
                    self._open.discard(end)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


@dataclass
class Frame:
    """An SSE event as it was on the wire."""

    id: str
    data: Any


async def frames(response: httpx.Response) -> AsyncIterator[Frame]:
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(":")
        if line:
            fields[name] = value.removeprefix(" ")
        elif fields:
            if "data" in fields:
                yield Frame(fields.get("id", ""), json.loads(fields["data"]) if fields["data"] else None)
            fields = {}


@dataclass
class RawClient:
    """A client that does as the test says, byte for byte."""

    url: str
    token: str | None = None
    session_id: str | None = None
    version: str = "2025-11-25"
    frames: list[Frame] = field(default_factory=list)

    @asynccontextmanager
    async def request(self, method: str, message: Any = None, **headers: str) -> AsyncIterator[httpx.Response]:
        sent = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.session_id:
            sent.update({"mcp-session-id": self.session_id, "mcp-protocol-version": self.version})
        if self.token:
            sent["authorization"] = f"Bearer {self.token}"
        async with httpx.AsyncClient(timeout=WAIT) as client:
            async with client.stream(method, self.url, json=message, headers=sent) as response:
                yield response

    async def status(self, method: str, message: Any = None, **headers: str) -> int:
        async with self.request(method, message, **headers) as response:
            return response.status_code

    async def initialize(self) -> Any:
        params = {
            "protocolVersion": self.version, "capabilities": {"roots": {}},
            "clientInfo": {"name": "raw client", "version": "1"},
        }
        async with self.request(
            "POST", {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        ) as response:
            assert response.status_code == 200, await response.aread()
            self.session_id = response.headers["mcp-session-id"]
            answer = [frame async for frame in frames(response)][-1].data
        assert await self.status("POST", {"jsonrpc": "2.0", "method": "notifications/initialized"}) == 202
        return answer["result"]

    def call(self, request_id: int | str, tool: str, **arguments: Any) -> dict[str, Any]:
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": request_id}}
        return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}

    async def result(self, request_id: int | str, tool: str, **arguments: Any) -> Any:
        async with self.request("POST", self.call(request_id, tool, **arguments)) as response:
            assert response.status_code == 200, await response.aread()
            answer = [frame async for frame in frames(response)][-1].data
        return answer["result"]["structuredContent"]
