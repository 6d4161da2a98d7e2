"""Sessions of the Streamable HTTP transport as ASGI middleware, for Starlette, FastAPI and whatever else speaks ASGI.

For MCP up to 2025-11-25; requests of 2026-07-28, which have no session, are only limited and screened.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import logging
import math
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .contract import (
    InvalidParams, MaxSessionsReached, MaxUserSessionsReached, PayloadTooLarge, SessionExists, SessionExpired,
    SessionNotFound,
)
from .era import hint_at_era, is_modern
from .errors import RequestTooLarge, StoreError
from .health_route import HealthRoute, get_route_path
from .session_end import end_session
from .session_watch import Owners, until_over

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from .contract import Session
    from .health_route import Application, Message, Receive, Scope, Send
    from .store import Store

SESSION_ID = b"mcp-session-id"
#: statuses of a session that may be spoken to
LIVE = frozenset({"pending", "active"})
#: a literal of JSON, ended or not: what is no JSON is looked at as well, for parsers differ in what they take
LITERAL = re.compile(r'"((?:[^"\\]+|\\.?)*)(?:"|\Z)', re.DOTALL)

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
    all of them, after which clients initialize anew; one of a suspended session with 403; else the session is touched.
    The answer that gives out a new id makes its session first, and a DELETE that succeeds deletes it. Responses pass as
    they come: streams stay streams, until their session is over, which ends them within a second. When the store does
    not answer, the request is answered with 503; when the server's own part fails, such as `owner`, with 500, and the
    log says why.

    owner: of a request, from its ASGI scope, plain or async; runs inside whatever authenticates. None: whoever stands
        in the scope as authenticated user (Starlette's and the SDK's middleware put it there), else the anonymous one.
    path: of the MCP endpoint. Every path that has it in it is meant, behind mounts and root paths, with more behind it,
        with slashes that are doubled, left out or encoded; others pass by. None: all are meant.
    creates: whether to make sessions; False when the server makes them itself.
    rate_limit: beyond it requests are answered with 429 and `Retry-After`. None: no limit.
    max_text: bytes of text in the parameters of a request. Longer ones, and such with control characters or scripts,
        are answered with 400. This reads the body before the server does. None: nothing is looked at.
    max_body: bytes of a body that is looked at; beyond it the answer is 413.
    health: a path, as `/healthz`, where GET is answered with 200 `{"status":"ok"}`, or with 503 and reasons; before all
        else, so that probes need no owner. None: there is none.
    hint: tell the log, once, when a client comes that has no sessions; False for a server that serves such otherwise.
    resolve_on_delete: whether a DELETE resolves the session instead of deleting it. A store that was started with
        `--retain-ended` keeps what it had for so long, for who asks with `include_ended`.
    """

    def __init__(
        self, app: Application, store: Store, *, owner: Callable[[Scope], Owner | Awaitable[Owner]] | None = None,
        path: str | None = "/mcp", creates: bool = True, rate_limit: RateLimit | None = None,
        max_text: int | None = None, max_body: int = 4 << 20, health: str | None = None, hint: bool = True,
        resolve_on_delete: bool = False,
    ) -> None:
        self._app = app
        self._store = store
        self._owner = owner or authenticated
        self._path = None if path is None else normal(path)
        self._creates = creates
        self._rate_limit = rate_limit
        self._max_text = max_text
        self._max_body = max_body
        self._health = None if health is None else HealthRoute(app, store, health)
        self._hint = hint
        self._resolves = resolve_on_delete

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._health is not None and self._health.is_asked_by(scope):
            await self._health.answer(scope, send)
            return
        if not self._is_meant(scope):
            await self._app(scope, receive, send)
            return
        if self._hint and is_modern(scope):
            hint_at_era(self._store, "HTTPSessions", logger)
        try:
            request = Request(scope, receive, await self._find_owner(scope))
            refusal = await self._refusal(request)
        except HostFailed as failed:
            logger.error("%s", failed, exc_info=failed.__cause__)
            refusal = FAILED
        except StoreError:
            logger.exception("The store did not say whether a request may pass.")
            refusal = UNAVAILABLE
        if refusal is None:
            await self._serve(request, send)
        elif scope["type"] == "websocket":
            await receive()  # the connect, which comes before any answer
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.message})
        else:
            await refusal.send(send)

    def _is_meant(self, scope: Scope) -> bool:
        if scope["type"] == "http":
            # Asks what may be sent, before anything is; browsers send it without any id.
            if scope["method"] == "OPTIONS":
                return False
        elif scope["type"] != "websocket":
            return False
        if self._path is None:
            return True
        behind = normal(get_route_path(scope))
        if self._path == "/":
            return behind == "/" or normal(scope["path"]) == "/"
        # Whoever mounts this further out does not know what is mounted further in, or decoded once more there.
        paths = (behind, normal(scope["path"]), normal(unquote(scope["path"])))
        return any(f"{self._path}/" in f"{path}/" for path in paths)

    async def _find_owner(self, scope: Scope) -> Owner:
        try:
            owner = self._owner(scope)
            if inspect.isawaitable(owner):
                owner = await owner
        except Exception as error:
            raise HostFailed("The function `owner` failed, so nobody knows whose request this is.") from error
        if not isinstance(owner, Owner):
            raise HostFailed(f"The function `owner` gave {type(owner).__name__}, not an Owner.")
        for name, value in (("principal", owner.principal), ("tenant_id", owner.tenant_id)):
            if value is not None and not (isinstance(value, str) and value):
                raise HostFailed(f"The function `owner` gave a {name} that is no text of at least one character.")
        return owner

    async def _refusal(self, request: Request) -> Refusal | None:
        """Why the request may not pass."""
        if self._rate_limit is not None:
            try:
                checked = await self._store.check_rate_limit(
                    request.caller, limit=self._rate_limit.limit, window=self._rate_limit.window)
            except InvalidParams as error:
                raise HostFailed("`rate_limit` is none.") from error
            if not checked["allowed"]:
                return too_many(checked["retry_after"])
        if len(request.session_ids) > 1:
            return Refusal(400, -32600, "invalid_request", "There must be one Mcp-Session-Id.")
        if request.session_id is not None:
            session = request.session = await self._find(request.session_id, request.owner)
            if session is not None and session["status"] == "suspended":
                return SUSPENDED
            if session is None or session["status"] not in LIVE:
                return GONE
        if self._max_text is not None and request.scope.get("method") == "POST":
            return await self._screen(request, self._max_text)
        return None

    async def _find(self, session_id: str, owner: Owner) -> Session | None:
        """The session, if there is such a one for this owner; then it is touched."""
        try:
            return await self._store.get_session(
                session_id, touch=True, principal=owner.principal, tenant_id=owner.tenant_id)
        except InvalidParams as error:
            if error.data.get("parameter") == "session_id":  # what is no id is nobody's
                return None
            raise HostFailed("The function `owner` gave what can be no owner.") from error

    async def _screen(self, request: Request, max_text: int) -> Refusal | None:
        body = await request.read(self._max_body)
        if body is None:
            return too_large(f"The body has more than {self._max_body} bytes.", self._max_body)
        text = "\n".join(texts(body))
        try:
            checked = await self._store.validate_input(text, session_id=request.session_id, max_bytes=max_text)
        except (PayloadTooLarge, RequestTooLarge):
            return too_large("The body has more text than can be looked at.", max_text)
        except InvalidParams as error:
            raise HostFailed("`max_text` is none.") from error
        if checked["valid"]:
            return None
        return Refusal(
            400, -32602, "invalid_input", f"The input is refused: {checked['reason']}.",
            (("reason", checked["reason"]),))

    async def _serve(self, request: Request, send: Send) -> None:
        """Lets the server answer, until the request's session is over."""
        answer = Answer(send)
        if request.session is None or request.scope["type"] == "websocket":
            await self._app(request.scope, request.receive, self._sending(request, answer))
            return
        serving = asyncio.current_task()
        assert serving is not None
        is_over = False

        async def watch(session: Session) -> None:
            nonlocal is_over
            await until_over(
                self._store, session["session_id"],
                {"principal": request.owner.principal, "tenant_id": request.owner.tenant_id},
                inactivity_timeout=session["inactivity_timeout"])
            is_over = True
            serving.cancel()

        watching = asyncio.ensure_future(watch(request.session))
        try:
            await self._app(request.scope, request.receive, self._sending(request, answer))
        except asyncio.CancelledError:
            if not is_over:
                raise
            if hasattr(serving, "uncancel"):  # from Python 3.11 on
                serving.uncancel()
            await answer.end()
        finally:
            watching.cancel()

    def _sending(self, request: Request, answer: Answer) -> Send:
        """Passes the response on, once the store knows what it says."""
        refused = False

        async def sending(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                refusal: Refusal | None = None
                try:
                    await self._note(request, message)
                except HostFailed as failed:
                    logger.error("%s", failed, exc_info=failed.__cause__)
                    refusal = FAILED
                except (MaxSessionsReached, MaxUserSessionsReached) as error:
                    logger.error("A session that the server opened was refused: %s", error)
                    refusal = FULL
                except StoreError:
                    logger.exception("The store did not take what the server answered.")
                    refusal = UNAVAILABLE
                if refusal is not None:
                    refused = True
                    await refusal.send(answer.send)
            if not refused:
                await answer.send(message)

        return sending

    async def _note(self, request: Request, start: Message) -> None:
        if not 200 <= start["status"] < 300:
            return
        owner = request.owner
        if request.session_id is not None:
            if request.scope["method"] == "DELETE":
                owners: Owners = {"principal": owner.principal, "tenant_id": owner.tenant_id}
                await end_session(self._store, request.session_id, owners, resolve=self._resolves)
            return
        new = [value for name, value in start.get("headers", ()) if name.lower() == SESSION_ID]
        if new and self._creates:
            session_id = new[0].decode("latin-1")
            try:
                await self._store.create_session(
                    session_id=session_id, status="active", principal=owner.principal, tenant_id=owner.tenant_id)
            except InvalidParams as error:
                raise HostFailed("The server gave out a session id, or an owner, that can be none.") from error
            except SessionExists as error:
                # The server may have made it; somebody else's must not be handed out.
                session = await self._find(session_id, owner)
                if session is None or session["status"] not in LIVE:
                    raise HostFailed("The server gave out the session id of another session.") from error


class HostFailed(Exception):
    """What the server brought along failed, not the store and not the client."""


class Request:
    """What is asked, and by whom."""

    def __init__(self, scope: Scope, receive: Receive, owner: Owner) -> None:
        self.scope = scope
        self.owner = owner
        self.session_ids = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == SESSION_ID]
        #: the one that is named, when it was found
        self.session: Session | None = None
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


class Answer:
    """A response on its way, which can be ended where it is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._has_begun = self._has_ended = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_begun = True
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            self._has_ended = True
        await self._send(message)

    async def end(self) -> None:
        """What is behind a session that is over: nothing more, or that it is."""
        if not self._has_begun:
            await GONE.send(self._send)
        elif not self._has_ended:
            await self._send({"type": "http.response.body", "body": b""})


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
SUSPENDED = Refusal(
    403, 1004, "invalid_session_status", "The session is suspended; it answers again once it is resumed.",
    (("current", "suspended"), ("retryable", True)))
UNAVAILABLE = Refusal(
    503, -32603, "store_unavailable", "The sessions cannot be looked up; try again later.", (("retryable", True),),
    ((b"retry-after", b"1"),))
FULL = Refusal(
    503, 1005, "max_sessions_reached", "There are too many sessions; try again later.", (("retryable", True),))
FAILED = Refusal(500, -32603, "internal_error", "The server failed; its log says why.")


def too_many(wait: int) -> Refusal:
    """The answer to a request that comes `wait` milliseconds too early."""
    return Refusal(
        429, 1429, "rate_limit_exceeded", "There were too many requests; try again later.",
        (("retryable", True), ("retry_after", wait), ("retryAfterMs", wait)),
        ((b"retry-after", str(math.ceil(wait / 1_000)).encode()),))


def too_large(message: str, limit: int) -> Refusal:
    """The answer to a request of which more is to be looked at than may be."""
    return Refusal(413, 1301, "payload_too_large", message, (("limit", limit),))


def authenticated(scope: Scope) -> Owner:
    """Who stands in the scope as authenticated user: of the SDK's middleware, or of Starlette's or a like one."""
    user = scope.get("user")
    token = getattr(user, "access_token", None)
    if token is not None:  # as `mcp_sessions` has it
        who = [token.client_id, (getattr(token, "claims", None) or {}).get("iss"), getattr(token, "subject", None)]
        return Owner(fitting(json.dumps(who, ensure_ascii=False)))
    if user is None or not getattr(user, "is_authenticated", False):
        return Owner()
    try:
        name = user.identity
    except (AttributeError, NotImplementedError):
        name = user.display_name
    return Owner(fitting(str(name)))


def fitting(principal: str) -> str:
    """A principal that the contract takes, which is of at most 1,024 bytes."""
    if len(principal.encode("utf-8", "surrogatepass")) > 1_024:
        return "sha256:" + hashlib.sha256(principal.encode("utf-8", "surrogatepass")).hexdigest()
    return principal


def normal(path: str) -> str:
    """A path with single slashes, without one at the end, dots and capitals: what hosts may take for the same."""
    return posixpath.normpath("/" + path.strip("/")).lower()


def texts(body: bytes) -> Iterator[str]:
    """All texts in a body of JSON, names of members included, however deep it is and whatever its numbers are."""
    text = body.decode(json.detect_encoding(body), "replace")
    for literal in LITERAL.findall(text):
        if "\\" in literal:
            try:
                literal = json.loads(f'"{literal}"', strict=False)
            except ValueError:
                pass  # no JSON: looked at as it is
            # Half a surrogate pair may stand in JSON, but is no text.
            literal = literal.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        yield literal
