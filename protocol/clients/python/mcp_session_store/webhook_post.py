"""Sends a webhook: to a public address that was looked at, over TLS, without following anything anywhere."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .webhook_address import checked_url, is_public

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .event_errors import LastError

#: seconds for all of it
TIMEOUT = 5.0
#: bytes of an answer that are read: its head, and its body where that is wanted
LONGEST_HEAD = 32_768
LONGEST_BODY = 65_536


class PostFailed(Exception):
    """There was no answer. `reason` is the extension's word for it; the endpoint's own words are nowhere."""

    def __init__(self, reason: LastError) -> None:
        super().__init__(reason)
        self.reason: LastError = reason


@dataclass(frozen=True)
class Answer:
    """What an endpoint answered."""

    status: int
    body: bytes

    @property
    def error(self) -> LastError | None:
        """The word for a status that is no success."""
        if 200 <= self.status < 300:
            return None
        return "http_5xx" if self.status >= 500 else "http_4xx"


class WebhookPost:
    """POSTs to receivers.

    The name of a receiver is looked up for each attempt, every address that is found must be public, and the connection
    goes to one of them: a name that leads elsewhere a moment later leads nowhere. TLS is checked against the name.
    Redirects are answers like any other, and no proxy is used.

    timeout: seconds for an attempt, looking up and connecting included.
    insecure: whether `http` and addresses that are not public will do: for tests and for networks of your own.
    context: of TLS; None: the system's certificates.
    resolve: gives the addresses of a host and a port; None: the system's.
    """

    def __init__(
        self, *, timeout: float = TIMEOUT, insecure: bool = False, context: ssl.SSLContext | None = None,
        resolve: Callable[[str, int], Awaitable[list[str]]] | None = None,
    ) -> None:
        self._timeout = timeout
        self.insecure = insecure
        self._context = context
        self._resolve = resolve or addresses_of

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes, *, read: bool = False) -> Answer:
        """The answer, with its body where that is to be read. Raises PostFailed, and ValueError when nothing may be
        sent to the URL."""
        parts = checked_url(url, insecure=self.insecure)
        assert parts.hostname is not None
        port = parts.port or (443 if parts.scheme == "https" else 80)
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        head = {"Host": parts.netloc, "Connection": "close", "Content-Length": str(len(body)),
                "User-Agent": "mcp-session-store", **headers}
        request = "".join([f"POST {target} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in head.items()),
                           "\r\n"]).encode("ascii") + body
        try:
            return await asyncio.wait_for(
                self._exchange(parts.hostname, port, parts.scheme == "https", request, read), self._timeout)
        except asyncio.TimeoutError:
            raise PostFailed("timeout") from None
        except ssl.SSLError:
            raise PostFailed("tls_error") from None
        except (OSError, ValueError, EOFError, UnicodeError):
            raise PostFailed("connection_refused") from None

    async def _exchange(self, host: str, port: int, is_tls: bool, request: bytes, read: bool) -> Answer:
        addresses = await self._resolve(host, port)
        if not addresses or not self.insecure and not all(map(is_public, addresses)):
            raise PostFailed("connection_refused")
        context = None
        if is_tls:
            if self._context is None:
                self._context = ssl.create_default_context()
            context = self._context
        reader, writer = await self._connected(addresses, host, port, context)
        try:
            writer.write(request)
            await writer.drain()
            return await _answer(reader, read)
        finally:
            writer.transport.abort()

    @staticmethod
    async def _connected(
        addresses: list[str], host: str, port: int, context: ssl.SSLContext | None,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the first address that takes it."""
        for address in addresses[:-1]:
            try:
                return await _open(address, host, port, context)
            except ssl.SSLError:
                raise
            except OSError:
                continue
        return await _open(addresses[-1], host, port, context)


async def addresses_of(host: str, port: int) -> list[str]:
    """What the system knows of a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _open(
    address: str, host: str, port: int, context: ssl.SSLContext | None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(
        address, port, limit=LONGEST_HEAD, ssl=context, server_hostname=host if context is not None else None)


async def _answer(reader: asyncio.StreamReader, read: bool) -> Answer:
    """Raises ValueError when it is no HTTP, or too long."""
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.LimitOverrunError:
            raise ValueError("The head of the answer is too long.") from None
        line, *fields = head.split("\r\n")
        version, _, rest = line.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit() or not rest[:3].isascii():
            raise ValueError("The answer is no HTTP.")
        status = int(rest[:3])
        if status >= 200:
            break  # what comes before is only on the way
    if not read:
        return Answer(status, b"")
    headers = {name.strip().lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    try:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return Answer(status, await _chunks(reader))
        length = headers.get("content-length", "")
        return Answer(status, await _up_to(reader, int(length) if length.isdecimal() else LONGEST_BODY))
    except (OSError, ValueError, EOFError, asyncio.LimitOverrunError):
        return Answer(status, b"")  # the status was said; a body that broke off proves nothing


async def _up_to(reader: asyncio.StreamReader, length: int) -> bytes:
    body = b""
    while len(body) < min(length, LONGEST_BODY):
        piece = await reader.read(min(length, LONGEST_BODY) - len(body))
        if not piece:
            break
        body += piece
    return body


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while len(body) < LONGEST_BODY:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size <= 0:
            break
        body += await reader.readexactly(min(size, LONGEST_BODY - len(body)))
        if len(body) < LONGEST_BODY:
            await reader.readexactly(2)
    return body
