"""Three replicas of a server behind a balancer that sends each request to the next one, whoever asks. One is killed.

The server is one of the real SDK, the clients are the SDK's own, and nothing routes a session to the replica that made
it. What holds them together is the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from engine import Place
from http_server import serving
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from server_process import WAIT, ServerProcess, running
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

CLIENTS = 6
#: what is told of the connection between two programs, and not of what they say
OF_THE_CONNECTION = {"connection", "transfer-encoding", "host"}


class Balancer:
    """Sends each request to the next replica. One that takes no connection is passed over."""

    def __init__(self, ports: list[int]) -> None:
        self._turns = itertools.cycle(ports)
        self._replicas = len(ports)
        self._client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))
        #: by session: where its requests went, the ports in their order, with the method of HTTP and what they resume
        self.went: dict[str, list[tuple[str, str | None, int]]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await (await self._forward(Request(scope, receive)))(scope, receive, send)

    async def _forward(self, request: Request) -> Response:
        body = await request.body()
        headers = [(name, value) for name, value in request.headers.items() if name not in OF_THE_CONNECTION]
        for port in itertools.islice(self._turns, self._replicas):
            passed_on = self._client.build_request(
                request.method, f"http://127.0.0.1:{port}{request.url.path}", headers=headers, content=body)
            try:
                answer = await self._client.send(passed_on, stream=True)
            except httpx.TransportError:  # before it has answered: the balancers of the trade try the next one too
                continue
            session = request.headers.get("mcp-session-id") or answer.headers.get("mcp-session-id", "")
            resumed = request.headers.get("last-event-id")
            self.went.setdefault(session, []).append((request.method, resumed, port))
            told = {name: value for name, value in answer.headers.items() if name not in OF_THE_CONNECTION}
            return StreamingResponse(self._rest(answer), answer.status_code, told)
        return Response("No replica takes connections", 502)

    async def _rest(self, answer: httpx.Response) -> AsyncIterator[bytes]:
        """The body; a replica that is gone ends it. (Were the stream broken off instead, the SDK's client, version
        2.3.0, would resume a resumed stream from where it resumed it before, and be told once more what it asks for.)
        """
        try:
            with contextlib.suppress(httpx.TransportError):
                async for chunk in answer.aiter_raw():
                    yield chunk
        finally:
            await answer.aclose()


class Caller:
    """A client in the middle of a call."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session
        self.seen: list[float] = []
        self.has_changed = asyncio.Condition()

    async def call(self, steps: list[int | str]) -> str:
        """What the call is answered: its text, or its error."""
        try:
            result = await self.session.call_tool("count", {"steps": steps}, progress_callback=self._report)
        except Exception as error:
            return f"error: {error}"
        return result.content[0].text  # type: ignore[union-attr]

    async def has_seen(self, count: int) -> None:
        async with self.has_changed:
            await self.has_changed.wait_for(lambda: len(self.seen) >= count)

    async def _report(self, progress: float, total: float | None, message: str | None) -> None:
        async with self.has_changed:
            self.seen.append(progress)
            self.has_changed.notify_all()


def test_every_client_resumes_elsewhere_and_gets_each_message_once(binary: Path, place: Place, tmp_path: Path) -> None:
    """Each client's stream is closed after the second message, and resumed at the replica whose turn it is. Then one of
    the three is killed, with the streams and the tools that it has. The tools of the other two go on, and their clients
    get everything; those whose tool is gone are told so, and call again.
    """
    gates = tmp_path / "gates"
    gates.mkdir()
    setup: dict[str, Any] = {
        "flavor": "sdk", "binary": str(binary), "database": str(place("sessions")), "gates": str(gates),
        "options": {"retry_interval": 10}, "quiet": True,
    }
    steps: list[int | str] = [1, 2, "close", 3, "middle", 4, 5]

    async def run(replicas: list[ServerProcess], lives: AsyncExitStack) -> None:
        balancer = Balancer([replica.port for replica in replicas])
        url = await lives.enter_async_context(serving(balancer, lifespan="off"))
        callers = []
        for _ in range(CLIENTS):
            streams = await lives.enter_async_context(streamable_http_client(f"{url}/mcp"))
            session = await lives.enter_async_context(ClientSession(streams[0], streams[1]))
            await session.initialize()
            callers.append(Caller(session))
        calls = []
        for caller in callers:  # one after the other, so that it is the balancer alone that spreads them
            calls.append(asyncio.ensure_future(caller.call(steps)))
            await caller.has_seen(3)  # the third came over the stream that was resumed
        assert all(any(resumed for _, resumed, _ in went) for went in balancer.went.values())
        replicas[0].kill()
        (gates / "middle").touch()
        answers = await asyncio.gather(*calls)
        lost = 0
        for caller, answer in zip(callers, answers):
            if answer.startswith("error"):
                lost += 1
                assert "restarted" in answer and caller.seen == [1, 2, 3], answer
            else:
                assert answer == f"counted {steps}" and caller.seen == [1, 2, 3, 4, 5]
            # Whatever became of the call, the session goes on, where the balancer leads it.
            caller.seen.clear()
            assert await caller.call([6, 7]) == "counted [6, 7]"
            assert caller.seen == [6, 7]
        assert 0 < lost < CLIENTS, "the tools were meant to be on several replicas"
        for went in balancer.went.values():
            assert len({port for _, _, port in went}) > 1, "a session was meant to be served by several replicas"

    async def main(replicas: list[ServerProcess]) -> None:
        failed: Exception | None = None
        async with AsyncExitStack() as lives:
            try:
                await run(replicas, lives)
            except Exception as error:  # would be told by every client on its way, in a group of one
                failed = error
        if failed is not None:
            raise failed

    with ExitStack() as processes:
        replicas = [processes.enter_context(running(setup)) for _ in range(3)]
        asyncio.run(asyncio.wait_for(main(replicas), 4 * WAIT))
