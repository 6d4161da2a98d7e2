"""A client of MCP Events over HTTP, byte for byte as the extension has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from http_server import modern
from server_process import frames

SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"
WAIT = 10


class EventClient:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def call(self, method: str, user: str = "", **params: Any) -> dict[str, Any]:
        request = modern(method, params)
        request["headers"]["x-user"] = user
        answer: dict[str, Any] = (await self._http.post("/mcp", **request)).json()
        return answer

    async def result(self, method: str, user: str = "", **params: Any) -> dict[str, Any]:
        answer = await self.call(method, user, **params)
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        assert result["resultType"] == "complete"
        return result

    async def refused(self, method: str, user: str = "", **params: Any) -> dict[str, Any]:
        answer = await self.call(method, user, **params)
        assert "error" in answer, answer
        error: dict[str, Any] = answer["error"]
        return error

    async def poll(self, name: str = "thing.changed", **params: Any) -> dict[str, Any]:
        return await self.result("events/poll", name=name, **params)

    @asynccontextmanager
    async def stream(self, method: str, user: str = "", **params: Any) -> AsyncIterator[Stream]:
        request = modern(method, params)
        request["headers"]["x-user"] = user
        async with self._http.stream("POST", "/mcp", **request) as response:
            yield Stream(frames(response))


class Stream:
    """What is told in the answer to a request, in order."""

    def __init__(self, found: AsyncIterator[Any]) -> None:
        self._frames = found

    async def next(self) -> tuple[str, dict[str, Any]]:
        """Its kind, which is the last part of the method, and its parameters; at the end `result` or `error`."""
        async with asyncio.timeout(WAIT):
            frame = await anext(self._frames)
        message = frame.data
        if "method" not in message:
            kind = "result" if "result" in message else "error"
            return kind, message[kind]
        params = message["params"]
        assert params["_meta"].pop(SUBSCRIPTION_ID) == 1
        if not params["_meta"]:
            del params["_meta"]
        return message["method"].removeprefix("notifications/").removeprefix("events/"), params

    async def until(self, kind: str) -> dict[str, Any]:
        while True:
            found, params = await self.next()
            if found == kind:
                return params
            assert found == "heartbeat", (found, params)
