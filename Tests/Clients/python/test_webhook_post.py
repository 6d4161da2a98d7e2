"""Where a webhook goes, and where it does not, whatever a receiver's name and answers say."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mcp_session_store.webhook_post import LONGEST_BODY, Answer, PostFailed, WebhookPost

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def run(work: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await asyncio.wait_for(work, 30)

    return asyncio.run(main())


class Endpoint:
    """Answers every request with the same bytes, then closes, or does as it is told."""

    def __init__(self, answer: bytes = OK, context: ssl.SSLContext | None = None, wait: float = 0) -> None:
        self._answer = answer
        self._context = context
        self._wait = wait
        self.requests: list[bytes] = []

    async def __aenter__(self) -> Endpoint:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head + await reader.read(65_536))
            writer.write(self._answer)
            await writer.drain()
            await asyncio.sleep(self._wait)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


async def post(answer: bytes, *, read: bool = True, wait: float = 0, **options: Any) -> Answer:
    async with Endpoint(answer, wait=wait) as endpoint:
        send = WebhookPost(insecure=True, **options)
        return await send(f"http://127.0.0.1:{endpoint.port}/hook?a=b", {"webhook-id": "evt_1"}, b"{}", read=read)


def test_what_is_sent() -> None:
    async def work() -> None:
        async with Endpoint() as endpoint:
            url = f"http://localhost:{endpoint.port}/hook?a=b#c"
            answer = await WebhookPost(insecure=True)(url, {"webhook-id": "evt_1"}, b"body", read=True)
            assert answer == Answer(200, b"{}") and answer.error is None
            head, _, body = endpoint.requests[0].partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            assert lines[0] == "POST /hook?a=b HTTP/1.1" and body == b"body"
            assert f"Host: localhost:{endpoint.port}" in lines and "webhook-id: evt_1" in lines
            assert "Content-Length: 4" in lines and "Connection: close" in lines

    run(work())


@pytest.mark.parametrize(("answer", "expected"), [
    (b"HTTP/1.1 204 \r\n\r\n", (204, b"")),
    (b"HTTP/1.0 200 OK\r\n\r\nto the end", (200, b"to the end")),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (200, b"{}")),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", (200, b"abcde")),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", (200, b"")),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc", (200, b"")),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut", (200, b"cut")),
    (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", (302, b"")),
    (b"HTTP/1.1 500 Oops\r\nContent-Length: 999999999999\r\n\r\n" + b"x" * 100_000, (500, b"x" * LONGEST_BODY)),
])
def test_what_is_answered(answer: bytes, expected: tuple[int, bytes]) -> None:
    found = run(post(answer))
    assert (found.status, found.body) == expected
    assert run(post(answer, read=False)) == Answer(expected[0], b"")


def test_words_for_statuses() -> None:
    words = {200: None, 299: None, 302: "http_4xx", 400: "http_4xx", 499: "http_4xx", 500: "http_5xx", 599: "http_5xx"}
    assert {status: Answer(status, b"").error for status in words} == words


@pytest.mark.parametrize("answer", [
    b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 \r\n\r\n", b"HTTP/1.1 \xb2\xb2\xb2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000 + b"\r\n", b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-x\r\n\r\n",
])
def test_what_is_no_answer(answer: bytes) -> None:
    with pytest.raises(PostFailed, match="connection_refused"):
        run(post(answer))


def test_it_takes_no_longer_than_it_may() -> None:
    begin = time.monotonic()
    with pytest.raises(PostFailed, match="timeout"):
        run(post(b"HTTP/1.1 200", wait=20, timeout=0.1))
    # Who says a status and then nothing has taken it.
    found = run(post(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", read=False, wait=20, timeout=5))
    assert found.status == 200 and time.monotonic() - begin < 4

    async def never(host: str, port: int) -> list[str]:
        await asyncio.sleep(20)
        raise AssertionError

    with pytest.raises(PostFailed, match="timeout"):
        run(WebhookPost(resolve=never, timeout=0.1)("https://example.com/", {}, b""))


@pytest.mark.parametrize("addresses", [
    ["127.0.0.1"], ["::1"], ["10.0.0.1"], ["169.254.169.254"], ["::ffff:127.0.0.1"], ["0.0.0.0"], [],
    ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["fe80::1%lo"],
])
def test_a_name_that_leads_inside_leads_nowhere(addresses: list[str]) -> None:
    async def work() -> None:
        async with Endpoint() as endpoint:
            async def resolve(host: str, port: int) -> list[str]:
                assert host == "hook.example.com" and port == endpoint.port
                return addresses

            with pytest.raises(PostFailed, match="connection_refused"):
                await WebhookPost(resolve=resolve)(f"https://hook.example.com:{endpoint.port}/", {}, b"")
            assert endpoint.requests == []

    run(work())


def test_the_address_that_was_looked_at_is_the_one_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    async def open_connection(host: str, port: int, **options: Any) -> Any:
        opened.append((host, port, options["server_hostname"]))
        raise ConnectionRefusedError

    async def work() -> None:
        looked = 0

        async def resolve(host: str, port: int) -> list[str]:
            nonlocal looked
            looked += 1
            return ["8.8.8.8", "9.9.9.9"] if looked == 1 else ["127.0.0.1"]  # it leads elsewhere the next time

        send = WebhookPost(resolve=resolve)
        monkeypatch.setattr(asyncio, "open_connection", open_connection)
        for _ in range(2):
            with pytest.raises(PostFailed, match="connection_refused"):
                await send("https://rebinds.example.com/", {}, b"")
        assert looked == 2

    run(work())
    assert opened == [(address, 443, "rebinds.example.com") for address in ("8.8.8.8", "9.9.9.9")]


def test_nothing_but_https_unless_told_otherwise() -> None:
    with pytest.raises(ValueError, match="https"):
        run(WebhookPost()("http://example.com/", {}, b""))


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server, and for a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    names: list[x509.GeneralName] = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.2"))]
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256()))
    path = folder / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


def test_tls_is_checked_against_the_name(tmp_path: Path) -> None:
    server, trusting = certificate(tmp_path, "hook.test")

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def work() -> None:
        async with Endpoint(context=server) as endpoint:
            def send(**options: Any) -> WebhookPost:
                return WebhookPost(insecure=True, resolve=resolve, **options)

            answer = await send(context=trusting)(f"https://hook.test:{endpoint.port}/", {}, b"{}", read=True)
            assert answer == Answer(200, b"{}")
            for options, name in (({}, "hook.test"), ({"context": trusting}, "other.test")):
                with pytest.raises(PostFailed, match="tls_error"):
                    await send(**options)(f"https://{name}:{endpoint.port}/", {}, b"{}")
            assert len(endpoint.requests) == 1
        plain = await asyncio.start_server(lambda reader, writer: writer.write(b"HTTP/1.1 400 X\r\n\r\n"), "127.0.0.1")
        async with plain:
            port = plain.sockets[0].getsockname()[1]
            with pytest.raises(PostFailed, match="tls_error"):
                await send(context=trusting)(f"https://hook.test:{port}/", {}, b"{}")

    run(work())
