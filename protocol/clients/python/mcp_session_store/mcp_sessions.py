"""Sessions of the official MCP SDK's Streamable HTTP servers, versions 1 and 2, that outlive the server's process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import weakref
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, authorization_context
from mcp.server.streamable_http import GET_STREAM_KEY
from mcp.server.transport_security import RequestBodyLimitMiddleware
from mcp.types import INTERNAL_ERROR, INVALID_REQUEST, JSONRPCError, JSONRPCResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from .contract import InvalidParams, MaxSessionsReached, MaxUserSessionsReached, PayloadTooLarge
from .era import hint_at_era, is_modern
from .errors import RequestError, RequestTooLarge, StoreError
from .health_route import HealthRoute
from .mcp_events import EventStore, looks_like_a_number, name_of, request_id_of
from .presence import RENEWAL, presence_of
from .sdk_internals import Manager, is_going_away, keep_events, read_body
from .session_end import end_session
from .session_watch import TOUCH_AFTER, Owners, until_over
from .store import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.server.streamable_http import EventId, StreamableHTTPServerTransport, StreamId
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.types import JSONRPCMessage
    from starlette.applications import Starlette
    from starlette.types import Message, Receive, Scope, Send

    from .contract import Session
    from .mcp_events import Cursor, _Replay
    from .store import Store

SESSION_ID = "mcp-session-id"
LAST_EVENT_ID = "last-event-id"
PROTOCOL_VERSION = "mcp-protocol-version"
INTERRUPTED = "The server was restarted while it worked on this request."
#: what the id of the request begins with by which a session is put back to where it was; the rest nobody can guess
RESTORE = "mcp-session-store/restore/"
#: to serve a session that the manager drops as idle the moment it has it
ATTEMPTS = 10
#: bytes of a principal in the contract
MAX_PRINCIPAL = 1_024
#: requests of one session of which something is remembered until they are answered
MAX_BEGUN = 1_000
#: levels of a handshake that is kept as it is; the contract takes 128, and some stand around it
MAX_LEVELS = 100

#: the events of the session that is being served; tasks that serve it inherit this
_served: ContextVar[_SessionEvents | None] = ContextVar("served", default=None)


def served_session() -> Session | None:
    """The session that the current code serves, a tool for instance, as it was when the server got it.

    None outside of a request, and where `DurableSessions` does not keep the session.
    """
    events = _served.get()
    return events.session if events is not None else None


def streamable_http_app(
    server: Any, store: Store, *, tenant_id: str | None = None, ttl: float | None = None,
    inactivity_timeout: float | None = None, fail_interrupted: bool = True, health: str | None = None,
    hint: bool = True, resolve_on_delete: bool = False, **options: Any,
) -> Starlette:
    """What `server.streamable_http_app(**options)` builds, with durable sessions; the store opens and closes with it.

        mcp = MCPServer("weather")
        uvicorn.run(streamable_http_app(mcp, Store("sessions.db")))

    server: An `MCPServer` or low-level `Server` of version 2, a `FastMCP` of version 1.
    health: A path, as `/healthz`, where GET is answered with 200 `{"status":"ok"}`, or with 503 and reasons, before
        authentication and all else.
    The other parameters are those of `DurableSessions`.
    """
    if not hasattr(type(server), "session_manager") or not hasattr(server, "streamable_http_app"):
        raise TypeError(
            f"{type(server).__module__}.{type(server).__name__} is no server of the official SDK; for FastMCP there is "
            "mcp_session_store.fastmcp_events.http_app.")
    app: Starlette = server.streamable_http_app(**options)
    DurableSessions(
        server.session_manager, store, tenant_id=tenant_id, ttl=ttl, inactivity_timeout=inactivity_timeout,
        fail_interrupted=fail_interrupted, hint=hint, resolve_on_delete=resolve_on_delete)
    if health is not None:
        app.add_middleware(HealthRoute, store=store, path=health)
    run = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Any]:
        async with store:
            async with run(app) as state:
                yield state
            await presence_of(store).withdraw()

    app.router.lifespan_context = lifespan
    return app


def principal_of(scope: Scope) -> str | None:
    """The owner in the contract for who is authenticated in the SDK: client, issuer and subject. None: nobody is."""
    user = scope.get("user")
    if not isinstance(user, AuthenticatedUser):
        return None
    who = authorization_context(user)
    principal = json.dumps([who["client_id"], who["issuer"], who["subject"]], ensure_ascii=False)
    if len(principal.encode()) > MAX_PRINCIPAL:
        return "sha256:" + hashlib.sha256(principal.encode()).hexdigest()
    return principal


class DurableSessions:
    """Keeps the sessions of a `StreamableHTTPSessionManager` in a store.

        manager = StreamableHTTPSessionManager(server)
        DurableSessions(manager, store)

    A session is made in the store when a client initializes, bound to who is authenticated, and deleted with DELETE.
    A request that names a session which the manager does not have, after a restart or in another process, finds it
    in the store: the server is handed the client's initialize once more, so it is in the state behind the handshake,
    and nothing of that is told the client. What a session's owner may not see, what is unknown, expired or not active
    is answered 404, as the SDK answers what it does not know.

    Streams resume with Last-Event-ID, as `EventStore` says. What does not survive is what only the process knew: a
    tool that was running, a request of the server to the client that was not answered yet, `ctx` of a session.

    The store's deadlines rule. A session is touched while requests are served or streams are open. The manager's own
    `session_idle_timeout` frees memory, no more: such a session comes back like after a restart.

    When the store's process is gone, requests that need it are answered 503.

    tenant_id: To whom all of these sessions belong; for servers that share a database.
    ttl, inactivity_timeout: Seconds that a session lives in any case, and without activity; 0: for ever, None: what the
        store was started with.
    fail_interrupted: Answer a request whose server process has ended with an error, once its stream is resumed. Others
        on the same database go on with theirs: each tells by a mark in the store that it is alive. False for a server
        that takes such work up again, and then answers itself, with the `EventStore` of the session.
    hint: Tell the log, once, when a client of MCP 2026-07-28 comes, which has no sessions, and for which this keeps
        nothing. False for a server that keeps what these need otherwise.
    resolve_on_delete: Resolve a session that its client deletes, instead of deleting it. A store that was started with
        `--retain-ended` keeps what it had for so long, for who asks with `include_ended`.
    """

    def __init__(
        self, manager: StreamableHTTPSessionManager, store: Store, *, tenant_id: str | None = None,
        ttl: float | None = None, inactivity_timeout: float | None = None, fail_interrupted: bool = True,
        hint: bool = True, logger: logging.Logger | None = None, resolve_on_delete: bool = False,
    ) -> None:
        if manager.stateless:
            raise ValueError("A stateless manager has no sessions to keep: make it with stateless=False.")
        if manager.event_store is not None:
            raise ValueError("Sessions that are kept bring their event store: make the manager without one.")
        self._inside = Manager(manager)
        self._store = store
        self._tenant_id = tenant_id
        self._ttl = _milliseconds(ttl)
        self._inactivity_timeout = _milliseconds(inactivity_timeout)
        self._fail_interrupted = fail_interrupted
        self._hint = hint
        self._resolves = resolve_on_delete
        self._logger = logger or logging.getLogger("mcp_session_store")
        self._kept: weakref.WeakKeyDictionary[StreamableHTTPServerTransport, _Kept] = weakref.WeakKeyDictionary()
        self._restoring: dict[tuple[str, str | None], asyncio.Future[bool]] = {}
        self._serve = manager.asgi_app
        manager.asgi_app = RequestBodyLimitMiddleware(self._handle, manager.max_request_body_size)
        self._inside.on_admission(self._admitted)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._serve_as(None, scope, receive, send)
            return
        if not self._inside.is_running:
            raise RuntimeError(
                "The session manager does not run: enter the lifespan of the app around serving it. What is mounted "
                "below another app needs that app to do so, `Starlette(routes=[Mount(…, app)], "
                "lifespan=lambda _: app.router.lifespan_context(app))`.")
        if self._hint and is_modern(scope):
            hint_at_era(self._store, "DurableSessions", self._logger)
        session_id = Headers(scope=scope).get(SESSION_ID)
        message = None
        if scope["method"] == "POST":
            body, receive = await _read_body(receive)
            # Without a session only a handshake is of interest, however it is spelled.
            if session_id is not None or any(sign in body for sign in (b"initialize", b"\\u", b"\0")):
                message = read_body(body)
        try:
            if session_id is not None:
                await self._handle_session(session_id, message, scope, receive, send)
            elif isinstance(message, dict) and _is_initialize(message):
                await self._open(message, scope, receive, send)
            else:
                await self._serve_as(None, scope, receive, send)
        except _Refusal as refusal:
            error = {"code": refusal.code, "message": str(refusal)}
            response = JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, refusal.status)
            await response(scope, receive, send)

    # A new session

    async def _open(self, initialize: dict[str, Any], scope: Scope, receive: Receive, send: Send) -> None:
        handshake = _Handshake(initialize)
        try:
            if self._fail_interrupted:
                await presence_of(self._store).announce()
            session = await self._create(handshake, principal_of(scope))
        except StoreError as error:
            raise self._refusal(error) from error
        events = _SessionEvents(self._store, session, fail_interrupted=self._fail_interrupted)
        events.begin(initialize, handshake)
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._serve_as(events, scope, receive, watch)
        finally:
            if not 200 <= status < 400:
                # Not here and now, for the request may be being cancelled.
                self._store.spawn(self._delete(session))

    async def _create(self, handshake: _Handshake, owner: str | None) -> Session:
        while True:
            try:
                return await self._store.create_session(
                    id_format="random", status="active", user_id=owner, principal=owner, tenant_id=self._tenant_id,
                    client_capabilities=handshake.capabilities, metadata=handshake.metadata, ttl=self._ttl,
                    inactivity_timeout=self._inactivity_timeout)
            except (PayloadTooLarge, RequestTooLarge) as error:
                if not handshake.metadata:
                    raise
                # The client can work with it all the same, as long as this process lives.
                self._logger.warning("A session with too large an initialize will not outlive the server: %s", error)
                handshake.forget()

    async def _serve_as(self, events: _SessionEvents | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the manager serve a request. One that names no session opens that of `events`."""
        token = _served.set(events)
        try:
            await self._serve(scope, receive, send)
        finally:
            _served.reset(token)

    def _admitted(self, transport: StreamableHTTPServerTransport) -> None:
        events = _served.get()
        if events is not None:
            self._inside.rename(transport, events.session_id)
            keep_events(transport, events, on_close=events.end_replay, on_end=events.abandon)
            self._kept[transport] = _Kept(events)

    # A session that there is

    async def _handle_session(
        self, session_id: str, message: Any, scope: Scope, receive: Receive, send: Send
    ) -> None:
        sessions = self._inside.sessions
        for _ in range(ATTEMPTS):
            transport = sessions.get(session_id)
            if transport is None or (session_id, principal_of(scope)) in self._restoring:
                if await self._restore(session_id, scope):
                    continue
                break
            kept = self._kept.get(transport)
            if kept is None or kept.owners["principal"] != principal_of(scope):
                break
            if not await self._is_there(kept):
                await transport.terminate()
                break
            if sessions.get(session_id) is transport and not is_going_away(transport):
                # Nothing is awaited from here until the manager counts the request.
                await self._serve_session(transport, kept, message, scope, receive, send)
                return
            await asyncio.sleep(0.01)  # The manager is dropping it as idle just now.
        await self._serve_as(None, scope, receive, send)  # The manager knows what to say: 404.

    async def _serve_session(
        self, transport: StreamableHTTPServerTransport, kept: _Kept, message: Any, scope: Scope, receive: Receive,
        send: Send,
    ) -> None:
        if scope["method"] == "DELETE":
            send = self._deleting(kept, send)
        elif scope["method"] == "GET":
            self._take_stream_over(transport, kept.events, Headers(scope=scope).get(LAST_EVENT_ID))
        elif isinstance(message, dict) and "method" in message:
            kept.events.begin(message, _Handshake(message) if _is_initialize(message) else None)
        kept.requests += 1
        if kept.watch is None:
            kept.watch = asyncio.ensure_future(self._watch(transport, kept))
        try:
            await self._serve_as(kept.events, scope, receive, send)
        finally:
            kept.requests -= 1
            if not kept.requests:
                kept.watch.cancel()
                kept.watch = None

    def _take_stream_over(
        self, transport: StreamableHTTPServerTransport, events: _SessionEvents, resumed: str | None
    ) -> None:
        """Sees to it that a message goes to one connection only: the one that came last, or that is there."""
        if not resumed:
            if events.is_replaying(GET_STREAM_KEY):
                raise _Refusal(409, "Conflict: Only one SSE stream is allowed per session", INVALID_REQUEST)
            return
        stream_id = events.stream_of(resumed)
        if stream_id is None:
            raise _Refusal(400, "Bad Request: The Last-Event-ID is none of this session", INVALID_REQUEST)
        # Who resumes a stream has given up the connection that it had, which may not know yet that it is dead:
        # the SDK would go on to fill it, and then wait for it with the whole session.
        transport.close_sse_stream(stream_id)

    async def _is_there(self, kept: _Kept) -> bool:
        """Whether the session is still active, whoever may have ended it. Touches it when that is due."""
        now = asyncio.get_running_loop().time()
        try:
            if kept.touch_after is None or now < kept.touched_at + kept.touch_after:
                found = await self._store.validate_session(kept.session_id, **kept.owners)
                if found["reason"] == "suspended":
                    raise _suspended()
                return found["valid"]
            kept.touched_at = now
            await self._store.touch_session(kept.session_id, **kept.owners)
            return True
        except RequestError as error:
            if error.kind == "invalid_session_status" and error.data.get("current") == "suspended":
                raise _suspended() from error
            if error.kind in ("session_not_found", "session_expired", "invalid_session_status"):
                return False
            raise self._refusal(error) from error
        except StoreError as error:
            raise self._refusal(error) from error

    async def _watch(self, transport: StreamableHTTPServerTransport, kept: _Kept) -> None:
        """Touches the session as long as a request is served, and ends its streams when it is over."""
        await until_over(
            self._store, kept.session_id, kept.owners, inactivity_timeout=kept.events.session["inactivity_timeout"])
        await transport.terminate()

    async def _restore(self, session_id: str, scope: Scope) -> bool:
        """Puts a session of the store into the manager, once however many requests ask for it; False: it has none."""
        key = (session_id, principal_of(scope))
        restoring = self._restoring.get(key)
        if restoring is None:
            restoring = self._restoring[key] = self._store.spawn(self._restore_once(session_id, scope))
            restoring.add_done_callback(lambda _: self._restoring.pop(key, None))
        return await asyncio.shield(restoring)

    async def _restore_once(self, session_id: str, scope: Scope) -> bool:
        owner = principal_of(scope)
        try:
            session = await self._store.get_session(session_id, tenant_id=self._tenant_id, principal=owner)
            if session is not None and self._fail_interrupted:
                await presence_of(self._store).announce()
        except InvalidParams:  # no id of ours
            return False
        except StoreError as error:
            raise self._refusal(error) from error
        # What is bound to nobody answers to everybody in the contract; the SDK lets only nobody use it.
        if session is None or (session["tenant_id"], session["principal"]) != (self._tenant_id, owner):
            return False
        if session["status"] == "suspended":
            raise _suspended()
        params = _kept_params(session)
        if session["status"] != "active" or not session["is_initialized"] or params is None:
            return False
        request_id = RESTORE + secrets.token_hex(16)
        initialize = {"jsonrpc": "2.0", "id": request_id, "method": "initialize", "params": params}
        initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        events = _SessionEvents(self._store, session, restoring=request_id, fail_interrupted=self._fail_interrupted)
        status = await self._send_ourselves(events, None, initialize, scope)
        if status == 200 and events.is_accepted:
            status = await self._send_ourselves(events, session_id, initialized, scope)
        if status == 202:
            self._logger.info("Session %s… is restored.", session_id[:8])
            return True
        transport = self._inside.sessions.get(session_id)
        if transport is not None:
            await transport.terminate()
        if status == 503:
            raise _Refusal(503, "Too many open sessions")
        said = "refuses the handshake" if status == 200 else f"answers {status}"
        self._logger.error("Session %s… cannot be restored: the server %s.", session_id[:8], said)
        if status == 200:
            # It is there, and may be restored when the server is of another mind.
            raise _Refusal(503, "The session cannot be restored now, for the server refuses its handshake")
        return False

    async def _send_ourselves(
        self, events: _SessionEvents, session_id: str | None, message: dict[str, Any], scope: Scope
    ) -> int:
        """Posts a message in the name of the client who sent the request of `scope`, and gives the status."""
        scope = {**scope, "method": "POST", "headers": list(scope["headers"])}
        headers = MutableHeaders(scope=scope)
        for name in (SESSION_ID, LAST_EVENT_ID, PROTOCOL_VERSION, "content-length", "transfer-encoding"):
            del headers[name]
        headers.update({"accept": "application/json, text/event-stream", "content-type": "application/json"})
        if session_id is not None:
            headers[SESSION_ID] = session_id
            headers[PROTOCOL_VERSION] = str((_kept_params(events.session) or {}).get("protocolVersion"))
        messages: list[Message] = [
            {"type": "http.request", "body": _json(message).encode(), "more_body": False}]
        status = 0

        async def receive() -> Message:
            if messages:
                return messages.pop()
            return cast("Message", await asyncio.get_running_loop().create_future())  # nobody hangs up

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        await self._serve_as(events, scope, receive, send)
        return status

    # The end of a session

    def _deleting(self, kept: _Kept, send: Send) -> Send:
        """Deletes or resolves the session before the client is told so."""

        async def delete_first(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                try:
                    await end_session(self._store, kept.session_id, kept.owners, resolve=self._resolves)
                except StoreError as error:
                    self._logger.error("Session %s… could not be deleted: %s", kept.session_id[:8], error)
                    message = {**message, "status": 503}
            await send(message)

        return delete_first

    async def _delete(self, session: Session) -> None:
        try:
            await self._store.delete_session(session["session_id"], **_owners_of(session))
        except StoreError as error:
            self._logger.error("A session that was not opened is left until it expires: %s", error)

    def _refusal(self, error: StoreError) -> _Refusal:
        if isinstance(error, (MaxSessionsReached, MaxUserSessionsReached)):
            return _Refusal(503, "Too many open sessions")
        self._logger.error("The store failed: %s", error)
        if isinstance(error, InvalidParams):  # such as a tenant that can be none
            return _Refusal(500, "The server's sessions are not set up well; its log says why")
        return _Refusal(503, "The session store is not available")


def _owners_of(session: Session) -> Owners:
    return {"tenant_id": session["tenant_id"], "principal": session["principal"]}


class _Refusal(Exception):
    def __init__(self, status: int, message: str, code: int = INTERNAL_ERROR) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def _suspended() -> _Refusal:
    return _Refusal(
        403, "Forbidden: The session is suspended; it answers again once it is resumed", INVALID_REQUEST)


class _Handshake:
    """What a client asked for when it initialized, as it can be kept."""

    def __init__(self, initialize: dict[str, Any]) -> None:
        params = initialize.get("params")
        self.params: dict[str, Any] = params if isinstance(params, dict) else {}
        is_plain = _is_plain(self.params)
        self.capabilities: Any = self.params.get("capabilities") if is_plain else None
        #: what is no JSON for the store, or of too many levels, is kept as text, if it can be text
        self.metadata: dict[str, Any] = {}
        try:
            self.metadata = {"initialize": self.params if is_plain else _json(self.params)}
        except (ValueError, RecursionError):
            pass

    def forget(self) -> None:
        """Keeps nothing of it."""
        self.capabilities, self.metadata = None, {}

    def agreed(self, version: Any) -> dict[str, Any]:
        """The metadata with the version that the server chose."""
        if not self.metadata:
            return {}
        return _Handshake({"params": {**self.params, "protocolVersion": version}}).metadata


def _json(value: Any) -> str:
    """As JSON, or as near to it as Python's and the SDK's readers take it: NaN, infinity, half a surrogate pair."""
    try:
        text = encode(value)
        text.encode()
    except ValueError:
        return json.dumps(value)
    return text


def _is_plain(params: dict[str, Any]) -> bool:
    """Whether the store keeps it as it is and Python reads it again."""
    left: list[tuple[Any, int]] = [(params, 1)]
    while left:
        value, level = left.pop()
        if level > MAX_LEVELS:
            return False
        if isinstance(value, dict):
            left += [(each, level + 1) for each in value.values()]
        elif isinstance(value, list):
            left += [(each, level + 1) for each in value]
    try:
        encode(params)
    except ValueError:  # NaN, infinity, thousands of digits
        return False
    return True


def _kept_params(session: Session) -> dict[str, Any] | None:
    """The parameters of the session's initialize; None when they were not kept."""
    params = session["metadata"].get("initialize")
    if isinstance(params, str):
        params = json.loads(params)
    return params if isinstance(params, dict) else None


def _is_initialize(message: Any) -> bool:
    return isinstance(message, dict) and message.get("method") == "initialize"


class _Kept:
    """What is known of a session that the manager has."""

    def __init__(self, events: _SessionEvents) -> None:
        self.events = events
        self.session_id = events.session_id
        self.owners = _owners_of(events.session)
        timeout = events.session["inactivity_timeout"]
        #: seconds; None: it needs no touch
        self.touch_after = timeout / 1_000 * TOUCH_AFTER if timeout else None
        self.touched_at = asyncio.get_running_loop().time()
        #: that are being served, and what watches the session meanwhile
        self.requests = 0
        self.watch: asyncio.Task[None] | None = None


class _SessionEvents(EventStore):
    """The events of a session, without those of a handshake that is repeated; and what the last one agreed on.

    Their ids also say which server process works on the request, and whether its id is a text that looks like a number.
    """

    def __init__(
        self, store: Store, session: Session, *, restoring: str | None = None, fail_interrupted: bool = True,
    ) -> None:
        super().__init__(store, session["session_id"], **_owners_of(session), follow=True)
        self.session = session
        self._newest_id = session["last_event_id"]
        #: the request that repeats the handshake, and whether the server took it
        self._restoring = restoring
        self.is_accepted = False
        self._fail_interrupted = fail_interrupted
        self._presence = presence_of(store)
        #: handshakes that are not answered yet, by their streams
        self._handshakes: dict[StreamId, _Handshake] = {}
        #: streams of requests that this process works on, by their names in the store
        self._at_work: dict[str, StreamId] = {}
        #: streams whose request's id is a text that looks like a number
        self._texts: dict[str, None] = {}

    def begin(self, request: dict[str, Any], handshake: _Handshake | None = None) -> None:
        """A request is about to be handed to the server."""
        request_id = request.get("id")
        if isinstance(request_id, (str, int)):
            name = name_of(_text(request_id))
            self._texts.pop(name, None)
            if isinstance(request_id, str) and looks_like_a_number(request_id):
                self._texts[name] = None
            if handshake is not None:
                self._handshakes[_text(request_id)] = handshake
            # What the transport then refuses is never answered here.
            for begun in (self._texts, self._handshakes):
                if len(begun) > MAX_BEGUN:
                    del begun[next(iter(begun))]

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        answer = getattr(message, "root", message)
        is_answer = isinstance(answer, (JSONRPCResponse, JSONRPCError))
        if self._restoring is not None and stream_id == self._restoring:
            self.is_accepted = self.is_accepted or isinstance(answer, JSONRPCResponse)
            return ""
        if is_answer:
            handshake = self._handshakes.pop(stream_id, None)
            if handshake is not None and isinstance(answer, JSONRPCResponse):
                await self._note(handshake, answer.result)
        elif stream_id != GET_STREAM_KEY:
            self._at_work[name_of(stream_id)] = stream_id
        event_id = await super().store_event(stream_id, message)
        if is_answer:
            self._at_work.pop(name_of(stream_id), None)
            self._texts.pop(name_of(stream_id), None)
        return event_id

    def abandon(self) -> None:
        """The session's transport has ended, and all that was at work for it."""
        at_work, self._at_work = self._at_work, {}
        if self._fail_interrupted and at_work:
            self._store.spawn(self._fail(at_work))

    async def _fail(self, at_work: dict[str, StreamId]) -> None:
        for name, stream_id in at_work.items():
            is_text = name in self._texts or not looks_like_a_number(stream_id)
            try:
                await self._append_interrupted(stream_id, stream_id if is_text else int(stream_id))
            except StoreError:
                return  # mostly because the session is gone, and nobody can resume anything

    async def _append_interrupted(self, stream_id: StreamId, request_id: int | str) -> None:
        error = {"code": INTERNAL_ERROR, "message": INTERRUPTED}
        await self._append(stream_id, encode({"jsonrpc": "2.0", "id": request_id, "error": error}))

    def _tag_of(self, stream_id: StreamId) -> str:
        if not self._fail_interrupted:
            return ""
        return f"-{self._presence.id}{'t' if name_of(stream_id) in self._texts else ''}"

    def _stream_of(self, name: str) -> StreamId:
        return self._at_work.get(name, name)

    async def _caught_up(self, cursor: Cursor, replay: _Replay) -> None:
        if self._fail_interrupted and cursor.name != GET_STREAM_KEY:
            replay.beside = self._store.spawn(self._answer_when_abandoned(cursor))

    async def _answer_when_abandoned(self, cursor: Cursor) -> None:
        """Stores an error as the answer as soon as nobody works on the request any more."""
        _, _, server = cursor.tag.removesuffix("t").rpartition("-")
        if not server:
            return  # the id is of before this was said
        while True:
            try:
                if server == self._presence.id:
                    is_alive = cursor.name in self._at_work
                else:
                    is_alive = await self._presence.is_alive(server)
                if not is_alive:
                    break
            except StoreError as error:
                self._logger.warning("Nobody knows whether a request is still worked on: %s", error)
            await asyncio.sleep(RENEWAL)
        request_id = request_id_of(cursor.name, is_text=cursor.tag.endswith("t"))
        page = await self._store.get_recent_events(
            self.session_id, limit=1, stream_id=cursor.name, **self._owners)
        newest = page["events"][-1]["data"] if page["events"] else None
        if request_id is not None and not (isinstance(newest, dict) and newest.get("id") == request_id):
            await self._append_interrupted(cursor.name, request_id)

    async def _note(self, handshake: _Handshake, result: dict[str, Any]) -> None:
        """Keeps what the server answered, so that the next server can be put where this one was."""
        capabilities = result.get("capabilities")
        try:
            await self._store.update_session(
                session={
                    "session_id": self.session_id, "is_initialized": True,
                    "metadata": handshake.agreed(result.get("protocolVersion")),
                    "client_capabilities": handshake.capabilities,
                    "server_capabilities": capabilities if _is_plain({"": capabilities}) else None,
                },
                **_owners_of(self.session))
        except StoreError as error:
            self._logger.error("A session will not outlive the server, for it could not be stored: %s", error)


def _text(request_id: int | str) -> str:
    """What the SDK names the request's stream."""
    try:
        return str(request_id)
    except ValueError:  # of thousands of digits, which the SDK does not take either
        return ""


async def _read_body(receive: Receive) -> tuple[bytes, Receive]:
    """The body, and a `receive` that gives it once more."""
    messages: list[Message] = []
    while not messages or (messages[-1]["type"] == "http.request" and messages[-1].get("more_body")):
        messages.append(await receive())
    body = b"".join(message.get("body", b"") for message in messages)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return body, again


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000)
