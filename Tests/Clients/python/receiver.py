"""A receiver of webhooks over loopback, which believes nothing that the verifier of Standard Webhooks does not."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

WAIT = 30


def secret(letter: str) -> str:
    return "whsec_" + base64.b64encode(letter.encode() * 32).decode()


SECRET = secret("k")


@dataclass
class Delivery:
    """What came, and whose signatures held."""

    path: str
    headers: dict[str, str]
    body: Any
    raw: bytes
    verified: list[str]


class Receiver:
    """Answers 200, or what `script` says next; `handle` may wait, or say another status."""

    def __init__(self, *secrets: str) -> None:
        self.secrets = list(secrets or (SECRET,))
        self.challenge: str = "echo"
        self.script: list[int] = []
        self.handle: Callable[[Delivery], Any] | None = None
        self.all: list[Delivery] = []
        self._came = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1_000)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()

    @property
    def events(self) -> list[Delivery]:
        return [delivery for delivery in self.all if "type" not in delivery.body]

    def controls(self, kind: str) -> list[Delivery]:
        return [delivery for delivery in self.all if delivery.body.get("type") == kind]

    def of(self, path: str) -> list[Delivery]:
        return [delivery for delivery in self.events if delivery.path == path]

    async def until(self, holds: Callable[[], object]) -> None:
        """Waits until it holds, which is asked whenever something comes."""
        async with asyncio.timeout(WAIT):
            while not holds():
                self._came.clear()
                await self._came.wait()

    async def came(self, count: int) -> list[Delivery]:
        await self.until(lambda: len(self.events) >= count)
        return self.events

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            raw = await reader.readexactly(int(headers["content-length"]))
            delivery = Delivery(head[0].split(" ")[1], headers, json.loads(raw), raw, [])
            for one in self.secrets:
                try:
                    Webhook(one).verify(raw, headers)
                    delivery.verified.append(one)
                except WebhookVerificationError:
                    pass
            status, answer = 200, b"{}"
            self.all.append(delivery)
            if not delivery.verified:
                status = 401
            elif delivery.body.get("type") == "verification":
                said = delivery.body["challenge"] if self.challenge == "echo" else "another"
                status, answer = (500 if self.challenge == "fails" else 200), json.dumps({"challenge": said}).encode()
            elif self.script:
                status = self.script.pop(0)
            elif self.handle is not None:
                found = self.handle(delivery)
                status = (await found if asyncio.iscoroutine(found) else found) or 200
            writer.write(b"HTTP/1.1 %d X\r\nLocation: http://127.0.0.1/\r\nContent-Length: %d\r\n\r\n%s"
                         % (status, len(answer), answer))
            await writer.drain()
            self._came.set()
        except (OSError, EOFError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()
