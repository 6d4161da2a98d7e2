"""Sessions of the official MCP SDK's Streamable HTTP servers, versions 1 and 2, that outlive the server's process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import weakref
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypedDict, cast

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, authorization_context
from mcp.server.streamable_http import GET_STREAM_KEY
from mcp.server.transport_security import RequestBodyLimitMiddleware
from mcp.types import INTERNAL_ERROR, JSONRPCError, JSONRPCResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from .contract import InvalidParams, MaxSessionsReached, MaxUserSessionsReached, PayloadTooLarge
from .errors import RequestError, StoreError
from .mcp_events import EventStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
    from mcp.server.streamable_http import EventId, StreamableHTTPServerTransport, StreamId
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.types import JSONRPCMessage
    from starlette.applications import Starlette
    from starlette.types import Message, Receive, Scope, Send

    from .contract import Session
    from .store import Store

SESSION_ID = "mcp-session-id"
INTERRUPTED = "The server was restarted while it worked on this request."
#: the id of the request with which a session is put back to where it was; what belongs to it is not stored
RESTORE = "mcp-session-store/restore"
#: of its inactivity timeout, after which a session in use is touched
TOUCH_AFTER = 0.25
#: bytes of a principal in the contract
MAX_PRINCIPAL = 1_024


def streamable_http_app(
    server: Any, store: Store, *, tenant_id: str | None = None, ttl: float | None = None,
    inactivity_timeout: float | None = None, fail_interrupted: bool = False, **options: Any,
) -> Starlette:
    """What `server.streamable_http_app(**options)` builds, with durable sessions; the store opens and closes with it.

        mcp = MCPServer("weather")
        uvicorn.run(streamable_http_app(mcp, Store("sessions.db")))

    server: An `MCPServer` or low-level `Server` of version 2, a `FastMCP` of version 1.
    The other parameters are those of `DurableSessions`.
    """
    app: Starlette = server.streamable_http_app(**options)
    DurableSessions(
        server.session_manager, store, tenant_id=tenant_id, ttl=ttl, inactivity_timeout=inactivity_timeout,
        fail_interrupted=fail_interrupted)
    run = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Any]:
        async with store, run(app) as state:
            yield state

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
    fail_interrupted: Answer a request that died with a server's process with an error, once its stream is resumed. Not
        for several processes on one database, for another one may work on it, and not for a server that takes such
        work up again: that answers itself, with the `EventStore` of the session. Otherwise the stream stays open.
    """

    def __init__(
        self, manager: StreamableHTTPSessionManager, store: Store, *, tenant_id: str | None = None,
        ttl: float | None = None, inactivity_timeout: float | None = None, fail_interrupted: bool = False,
        logger: logging.Logger | None = None,
    ) -> None:
        if manager.stateless:
            raise ValueError("A stateless manager has no sessions to keep: make it with stateless=False.")
        self._manager = manager
        self._store = store
        self._tenant_id = tenant_id
        self._ttl = _milliseconds(ttl)
        self._inactivity_timeout = _milliseconds(inactivity_timeout)
        self._fail_interrupted = fail_interrupted
        self._logger = logger or logging.getLogger("mcp_session_store")
        self._kept: weakref.WeakKeyDictionary[StreamableHTTPServerTransport, _Kept] = weakref.WeakKeyDictionary()
        self._restoring: dict[tuple[str, str | None], asyncio.Future[int]] = {}
        #: the session whose opening request is being served
        self._opening: ContextVar[_SessionEvents | None] = ContextVar("opening", default=None)
        self._serve = manager.asgi_app
        manager.asgi_app = RequestBodyLimitMiddleware(self._handle, manager.max_request_body_size)
        self._admit_sdk = manager._admit_session
        # The one place where the SDK makes a transport, and names it: there is no parameter for either.
        setattr(manager, "_admit_session", self._admit)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._serve(scope, receive, send)
            return
        session_id = Headers(scope=scope).get(SESSION_ID)
        try:
            if session_id is not None:
                await self._handle_session(session_id, scope, receive, send)
                return
            body, receive = await _read_body(receive)
            initialize = _initialize_of(body) if scope["method"] == "POST" else None
            if initialize is None:
                await self._serve(scope, receive, send)
            else:
                await self._open(initialize, scope, receive, send)
        except _Refusal as refusal:
            error = {"code": INTERNAL_ERROR, "message": str(refusal)}
            response = JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, refusal.status)
            await response(scope, receive, send)

    # A new session

    async def _open(self, initialize: dict[str, Any], scope: Scope, receive: Receive, send: Send) -> None:
        params = initialize.get("params")
        params = params if isinstance(params, dict) else {}
        owner = principal_of(scope)
        try:
            session = await self._store.create_session(
                id_format="random", status="active", user_id=owner, principal=owner, tenant_id=self._tenant_id,
                client_capabilities=params.get("capabilities"), metadata={"initialize": params}, ttl=self._ttl,
                inactivity_timeout=self._inactivity_timeout)
        except StoreError as error:
            raise self._refusal(error) from error
        events = _SessionEvents(self._store, session, opened_by=str(initialize.get("id")))
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._serve_opening(events, scope, receive, watch)
        finally:
            if not 200 <= status < 400:
                # Not here and now, for the request may be being cancelled.
                self._store.spawn(self._delete(session))

    async def _serve_opening(self, events: _SessionEvents, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the manager serve a request without a session, which then gets the session of `events`."""
        token = self._opening.set(events)
        try:
            await self._serve(scope, receive, send)
        finally:
            self._opening.reset(token)

    def _admit(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        transport = self._admit_sdk(requestor)
        events = self._opening.get()
        if transport is None or events is None:
            return transport
        made, session_id = cast("str", transport.mcp_session_id), events.session_id
        transport.mcp_session_id = session_id
        transport._event_store = events
        manager = self._manager
        manager._server_instances[session_id] = manager._server_instances.pop(made)
        if made in manager._session_owners:
            manager._session_owners[session_id] = manager._session_owners.pop(made)
        close = transport.close_sse_stream

        def close_sse_stream(request_id: Any) -> None:
            events.end_replay(str(request_id))
            close(request_id)

        setattr(transport, "close_sse_stream", close_sse_stream)
        self._kept[transport] = _Kept(events.session)
        return transport

    # A session that there is

    async def _handle_session(self, session_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        transport = self._manager._server_instances.get(session_id)
        if transport is None:
            status = await self._restore(session_id, scope)
            if status == 503:
                raise _Refusal(503, "Too many open sessions")
            transport = self._manager._server_instances.get(session_id)
        kept = self._kept.get(transport) if transport is not None else None
        if transport is None or kept is None or kept.owners["principal"] != principal_of(scope):
            await self._serve(scope, receive, send)  # which knows what to say: 404
            return
        if not await self._is_there(kept):
            await transport.terminate()
        alive = asyncio.ensure_future(self._keep_alive(transport, kept))
        try:
            if scope["method"] == "DELETE":
                send = self._deleting(kept, send)
            await self._serve(scope, receive, send)
        finally:
            alive.cancel()

    async def _is_there(self, kept: _Kept) -> bool:
        """Whether the session is still active, whoever may have ended it. Touches it when that is due."""
        now = asyncio.get_running_loop().time()
        try:
            if kept.touch_after is None or now < kept.touched_at + kept.touch_after:
                return (await self._store.validate_session(kept.session_id, **kept.owners))["valid"]
            kept.touched_at = now
            await self._store.touch_session(kept.session_id, **kept.owners)
            return True
        except RequestError as error:
            if error.kind in ("session_not_found", "session_expired", "invalid_session_status"):
                return False
            raise self._refusal(error) from error
        except StoreError as error:
            raise self._refusal(error) from error

    async def _keep_alive(self, transport: StreamableHTTPServerTransport, kept: _Kept) -> None:
        """Touches the session as long as a request is served, and ends its streams when it is gone."""
        while kept.touch_after is not None:
            await asyncio.sleep(kept.touched_at + kept.touch_after - asyncio.get_running_loop().time())
            try:
                if not await self._is_there(kept):
                    await transport.terminate()
                    return
            except _Refusal:
                await asyncio.sleep(kept.touch_after)

    async def _restore(self, session_id: str, scope: Scope) -> int:
        """Puts a session of the store into the manager, once however many requests ask for it. 200, 404 or 503."""
        key = (session_id, principal_of(scope))
        restoring = self._restoring.get(key)
        if restoring is None:
            restoring = self._restoring[key] = self._store.spawn(self._restore_once(session_id, scope))
            restoring.add_done_callback(lambda _: self._restoring.pop(key, None))
        return await asyncio.shield(restoring)

    async def _restore_once(self, session_id: str, scope: Scope) -> int:
        owner = principal_of(scope)
        try:
            session = await self._store.get_session(session_id, tenant_id=self._tenant_id, principal=owner)
        except InvalidParams:  # no id of ours
            return 404
        except StoreError as error:
            raise self._refusal(error) from error
        # What is bound to nobody answers to everybody in the contract; the SDK lets only nobody use it.
        if session is None or (session["tenant_id"], session["principal"]) != (self._tenant_id, owner):
            return 404
        if session["status"] != "active" or not session["is_initialized"]:
            return 404
        initialize = {
            "jsonrpc": "2.0", "id": RESTORE, "method": "initialize", "params": session["metadata"].get("initialize"),
        }
        initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        events = _SessionEvents(self._store, session, fail_interrupted=self._fail_interrupted)
        status = await self._send_ourselves(events, None, initialize, scope)
        if status == 200:
            status = await self._send_ourselves(events, session_id, initialized, scope)
        if status not in (200, 202):
            self._logger.error("Session %s… cannot be restored: the server answers %d.", session_id[:8], status)
            return 503 if status == 503 else 404
        self._logger.info("Session %s… is restored.", session_id[:8])
        return 200

    async def _send_ourselves(
        self, events: _SessionEvents, session_id: str | None, message: dict[str, Any], scope: Scope
    ) -> int:
        """Posts a message in the name of the client who sent the request of `scope`, and gives the status."""
        scope = {**scope, "method": "POST", "headers": list(scope["headers"])}
        headers = MutableHeaders(scope=scope)
        for name in (SESSION_ID, "last-event-id", "content-length", "transfer-encoding"):
            del headers[name]
        headers.update({"accept": "application/json, text/event-stream", "content-type": "application/json"})
        if session_id is not None:
            headers[SESSION_ID] = session_id
        messages: list[Message] = [
            {"type": "http.request", "body": json.dumps(message).encode(), "more_body": False}]
        status = 0

        async def receive() -> Message:
            if messages:
                return messages.pop()
            return cast("Message", await asyncio.get_running_loop().create_future())  # nobody hangs up

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        await self._serve_opening(events, scope, receive, send)
        return status

    # The end of a session

    def _deleting(self, kept: _Kept, send: Send) -> Send:
        """Deletes the session before the client is told so."""

        async def delete_first(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                try:
                    await self._store.delete_session(kept.session_id, **kept.owners)
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
        if isinstance(error, PayloadTooLarge):
            return _Refusal(413, "The parameters of initialize are too large")
        self._logger.error("The store failed: %s", error)
        return _Refusal(503, "The session store is not available")


class _Owners(TypedDict):
    tenant_id: str | None
    principal: str | None


def _owners_of(session: Session) -> _Owners:
    return {"tenant_id": session["tenant_id"], "principal": session["principal"]}


class _Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Kept:
    """What is known of a session that the manager has."""

    def __init__(self, session: Session) -> None:
        self.session_id = session["session_id"]
        self.owners = _owners_of(session)
        timeout = session["inactivity_timeout"]
        #: seconds; None: it needs no touch
        self.touch_after = timeout / 1_000 * TOUCH_AFTER if timeout else None
        self.touched_at = asyncio.get_running_loop().time()


class _SessionEvents(EventStore):
    """The events of a session, without those of a handshake that is repeated; and what the first one agreed on."""

    def __init__(
        self, store: Store, session: Session, *, opened_by: str | None = None, fail_interrupted: bool = False,
    ) -> None:
        super().__init__(store, session["session_id"], **_owners_of(session), follow=True)
        self.session = session
        self._opened_by = opened_by
        self._fail_interrupted = fail_interrupted
        #: streams of requests that this process works on
        self._at_work: set[StreamId] = set()

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        if stream_id == RESTORE:
            return ""
        answer = getattr(message, "root", message)
        if isinstance(answer, JSONRPCResponse) and stream_id == self._opened_by:
            self._opened_by = None
            await self._note(answer.result)
        event_id = await super().store_event(stream_id, message)
        if isinstance(answer, (JSONRPCResponse, JSONRPCError)):
            self._at_work.discard(stream_id)
        else:
            self._at_work.add(stream_id)
        return event_id

    async def _caught_up(self, stream_id: StreamId) -> None:
        if self._fail_interrupted and stream_id != GET_STREAM_KEY and stream_id not in self._at_work:
            # A stream's name is the request's id as text.
            is_number = stream_id.isascii() and stream_id.isdigit() and str(int(stream_id)) == stream_id
            await self._append(stream_id, {
                "jsonrpc": "2.0", "id": int(stream_id) if is_number else stream_id,
                "error": {"code": INTERNAL_ERROR, "message": INTERRUPTED},
            }, None)

    async def _note(self, result: dict[str, Any]) -> None:
        """Keeps what the server answered, so that the next server can be put where this one was."""
        initialize = {**self.session["metadata"]["initialize"], "protocolVersion": result.get("protocolVersion")}
        try:
            await self._store.update_session(
                session={
                    "session_id": self.session_id, "is_initialized": True, "metadata": {"initialize": initialize},
                    "server_capabilities": result.get("capabilities"),
                },
                **_owners_of(self.session))
        except StoreError as error:
            self._logger.error("A session will not outlive the server, for it could not be stored: %s", error)


async def _read_body(receive: Receive) -> tuple[bytes, Receive]:
    """The body, and a `receive` that gives it once more."""
    messages: list[Message] = []
    while not messages or (messages[-1]["type"] == "http.request" and messages[-1].get("more_body")):
        messages.append(await receive())
    body = b"".join(message.get("body", b"") for message in messages)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return body, again


def _initialize_of(body: bytes) -> dict[str, Any] | None:
    if b"initialize" not in body:  # nor need it be read, then
        return None
    try:
        message = json.loads(body)
    except ValueError:
        return None
    return message if isinstance(message, dict) and message.get("method") == "initialize" else None


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000)
