"""Sessions of the Streamable HTTP transport as ASGI middleware, for Starlette, FastAPI and whatever else speaks ASGI.

For MCP up to 2025-11-25; requests of 2026-07-28, which have no session, are only limited and screened.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from .contract import InvalidParams, SessionExists
from .errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from .store import Store

    Scope: TypeAlias = MutableMapping[str, Any]
    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

SESSION_ID = b"mcp-session-id"
#: statuses of a session that may be spoken to
LIVE = frozenset({"pending", "active"})

logger = logging.getLogger("mcp_session_store")


@dataclass(frozen=True)
class Owner:
    """On whose behalf a request is made; None: the anonymous caller, whose sessions answer to whoever knows the id."""

    principal: str | None = None
    tenant_id: str | None = None


@dataclass(frozen=True)
class RateLimit:
    """Requests of one owner, or of one address when nobody is named: a burst of `limit`, then one each window/limit.

    window: milliseconds
    """

    limit: int
    window: int


class HTTPSessions:
    """Turns away requests of sessions that do not exist, before the server sees them.

        app.add_middleware(HTTPSessions, store=store, owner=lambda scope: Owner(scope["user"].identity))

    A request with an `Mcp-Session-Id` that is unknown, expired or another owner's is answered with 404, the same for
    all of them, after which clients initialize anew; else the session is touched. The answer that gives out a new id
    makes its session first, and a DELETE that succeeds deletes it. Responses pass as they come: streams stay streams.
    When the store does not answer, the request is answered with 503.

    owner: of a request, from its ASGI scope; runs inside whatever authenticates. None: all are anonymous.
    path: of the MCP endpoint; other paths pass by. None: all are meant.
    creates: whether to make sessions; False when the server makes them itself.
    rate_limit: beyond it requests are answered with 429 and `Retry-After`. None: no limit.
    max_text: bytes of text in the parameters of a request. Longer ones, and such with control characters or scripts,
        are answered with 400. This reads the body before the server does. None: nothing is looked at.
    max_body: bytes of a body that is looked at; beyond it the answer is 413.
    """

    def __init__(
        self, app: Application, store: Store, *, owner: Callable[[Scope], Owner] | None = None,
        path: str | None = "/mcp", creates: bool = True, rate_limit: RateLimit | None = None,
        max_text: int | None = None, max_body: int = 4 << 20,
    ) -> None:
        self._app = app
        self._store = store
        self._owner = owner or (lambda scope: Owner())
        self._path = path
        self._creates = creates
        self._rate_limit = rate_limit
        self._max_text = max_text
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_meant = scope["type"] == "http" and scope["method"] in ("GET", "POST", "DELETE")
        if not is_meant or self._path not in (None, scope["path"].rstrip("/") or "/"):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, self._owner(scope))
        try:
            refusal = await self._refusal(request)
        except StoreError:
            logger.exception("The store did not say whether a request may pass.")
            refusal = UNAVAILABLE
        if refusal is not None:
            await refusal.send(send)
            return
        await self._app(scope, request.receive, self._sending(request, send))

    async def _refusal(self, request: Request) -> Refusal | None:
        """Why the request may not pass."""
        if self._rate_limit is not None:
            checked = await self._store.check_rate_limit(
                request.caller, limit=self._rate_limit.limit, window=self._rate_limit.window)
            if not checked["allowed"]:
                return too_many(checked["retry_after"])
        if len(request.session_ids) > 1:
            return Refusal(400, -32600, "invalid_request", "There must be one Mcp-Session-Id.")
        session_id = request.session_id
        if session_id is not None and not await self._find(session_id, request.owner):
            return GONE
        if self._max_text is not None and request.scope["method"] == "POST":
            return await self._screen(request, self._max_text)
        return None

    async def _find(self, session_id: str, owner: Owner) -> bool:
        """Whether there is such a session for this owner; if so it is touched."""
        try:
            session = await self._store.get_session(
                session_id, touch=True, principal=owner.principal, tenant_id=owner.tenant_id)
        except InvalidParams as error:
            if error.data.get("parameter") == "session_id":  # what is no id is nobody's
                return False
            raise
        return session is not None and session["status"] in LIVE

    async def _screen(self, request: Request, max_text: int) -> Refusal | None:
        body = await request.read(self._max_body)
        if body is None:
            return Refusal(413, -32600, "payload_too_large", f"The body has more than {self._max_body} bytes.")
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            return None  # the server says what is wrong with it
        text = "\n".join(texts(message))
        checked = await self._store.validate_input(text, session_id=request.session_id, max_bytes=max_text)
        if checked["valid"]:
            return None
        return Refusal(400, -32602, "invalid_input", f"The input is refused: {checked['reason']}.")

    def _sending(self, request: Request, send: Send) -> Send:
        """Passes the response on, once the store knows what it says."""
        refused = False

        async def sending(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                try:
                    await self._note(request, message)
                except StoreError:
                    logger.exception("The store did not take what the server answered.")
                    refused = True
                    await UNAVAILABLE.send(send)
            if not refused:
                await send(message)

        return sending

    async def _note(self, request: Request, start: Message) -> None:
        if not 200 <= start["status"] < 300:
            return
        owner = request.owner
        if request.session_id is not None:
            if request.scope["method"] == "DELETE":
                await self._store.delete_session(
                    request.session_id, principal=owner.principal, tenant_id=owner.tenant_id)
            return
        new = [value for name, value in start.get("headers", ()) if name.lower() == SESSION_ID]
        if new and self._creates:
            session_id = new[0].decode("latin-1")
            try:
                await self._store.create_session(
                    session_id=session_id, status="active", principal=owner.principal, tenant_id=owner.tenant_id)
            except SessionExists:
                # The server may have made it; somebody else's must not be handed out.
                if not await self._find(session_id, owner):
                    raise


class Request:
    """What is asked, and by whom."""

    def __init__(self, scope: Scope, receive: Receive, owner: Owner) -> None:
        self.scope = scope
        self.owner = owner
        self.session_ids = [value.decode("latin-1") for name, value in scope["headers"] if name == SESSION_ID]
        self._receive = receive
        self._read: list[Message] = []

    @property
    def session_id(self) -> str | None:
        return self.session_ids[0] if self.session_ids else None

    @property
    def caller(self) -> str:
        """Whose allowance the request is taken from."""
        if self.owner == Owner():
            client = self.scope.get("client")
            return f"address {client[0] if client else 'unknown'}"
        name = json.dumps([self.owner.tenant_id, self.owner.principal])
        return f"owner {hashlib.sha256(name.encode()).hexdigest()}"

    async def read(self, limit: int) -> bytes | None:
        """The body, which stays there to be received; None when it is longer than `limit`."""
        size = 0
        while not self._read or self._read[-1].get("more_body"):
            message = await self._receive()
            self._read.append(message)
            size += len(message.get("body", b""))
            if size > limit:
                return None
        body = b"".join([message.get("body", b"") for message in self._read])
        self._read.reverse()
        return body

    async def receive(self) -> Message:
        return self._read.pop() if self._read else await self._receive()


@dataclass(frozen=True)
class Refusal:
    """An answer in the server's place: a JSON-RPC error, which clients tell apart by its `kind`."""

    status: int
    code: int
    kind: str
    message: str
    #: more members of the error's data
    data: tuple[tuple[str, Any], ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def send(self, send: Send) -> None:
        error = {"code": self.code, "message": self.message, "data": {"kind": self.kind, **dict(self.data)}}
        body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
        headers = [
            (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


GONE = Refusal(
    404, 1003, "session_expired", "There is no such session; initialize a new one.", (("retry", "re-initialize"),))
UNAVAILABLE = Refusal(
    503, -32603, "store_unavailable", "The sessions cannot be looked up; try again later.", (),
    ((b"retry-after", b"1"),))


def too_many(wait: int) -> Refusal:
    """The answer to a request that comes `wait` milliseconds too early."""
    return Refusal(
        429, 429, "rate_limit_exceeded", "There were too many requests; try again later.", (("retryAfterMs", wait),),
        ((b"retry-after", str(math.ceil(wait / 1_000)).encode()),))


def texts(value: Any) -> list[str]:
    """All strings in a value, names of members included."""
    found: list[str] = []
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, list):
            left += each
        elif isinstance(each, dict):
            found += each
            left += each.values()
    return found
