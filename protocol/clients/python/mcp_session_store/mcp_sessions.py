"""Sessions of the official MCP SDK's Streamable HTTP servers, versions 1 and 2, that outlive the server's process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import weakref
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, authorization_context
from mcp.server.streamable_http import GET_STREAM_KEY
from mcp.server.transport_security import RequestBodyLimitMiddleware
from mcp.types import INTERNAL_ERROR, JSONRPCError, JSONRPCResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from .contract import InvalidParams, MaxSessionsReached, MaxUserSessionsReached, PayloadTooLarge
from .errors import RequestError, StoreError
from .mcp_events import EventStore, Owners
from .store import encode

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
LAST_EVENT_ID = "last-event-id"
PROTOCOL_VERSION = "mcp-protocol-version"
INTERRUPTED = "The server was restarted while it worked on this request."
#: the id of the request with which a session is put back to where it was; what belongs to it is not stored
RESTORE = "mcp-session-store/restore"
#: of its inactivity timeout, after which a session in use is touched
TOUCH_AFTER = 0.25
#: to serve a session that the manager drops as idle the moment it has it
ATTEMPTS = 10
#: bytes of a principal in the contract
MAX_PRINCIPAL = 1_024

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
        if manager.event_store is not None:
            raise ValueError("Sessions that are kept bring their event store: make the manager without one.")
        self._manager = manager
        self._store = store
        self._tenant_id = tenant_id
        self._ttl = _milliseconds(ttl)
        self._inactivity_timeout = _milliseconds(inactivity_timeout)
        self._fail_interrupted = fail_interrupted
        self._logger = logger or logging.getLogger("mcp_session_store")
        self._kept: weakref.WeakKeyDictionary[StreamableHTTPServerTransport, _Kept] = weakref.WeakKeyDictionary()
        self._restoring: dict[tuple[str, str | None], asyncio.Future[bool]] = {}
        self._serve = manager.asgi_app
        manager.asgi_app = RequestBodyLimitMiddleware(self._handle, manager.max_request_body_size)
        self._admit_sdk = manager._admit_session
        # The one place where the SDK makes a transport, and names it: there is no parameter for either.
        setattr(manager, "_admit_session", self._admit)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._serve_as(None, scope, receive, send)
            return
        session_id = Headers(scope=scope).get(SESSION_ID)
        try:
            if session_id is not None:
                await self._handle_session(session_id, scope, receive, send)
                return
            body, receive = await _read_body(receive)
            initialize = _initialize_of(body) if scope["method"] == "POST" else None
            if initialize is None:
                await self._serve_as(None, scope, receive, send)
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
            await self._serve_as(events, scope, receive, watch)
        finally:
            if not 200 <= status < 400:
                # Not here and now, for the request may be being cancelled.
                self._store.spawn(self._delete(session))

    async def _serve_as(self, events: _SessionEvents | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the manager serve a request. One that names no session opens that of `events`."""
        token = _served.set(events)
        try:
            await self._serve(scope, receive, send)
        finally:
            _served.reset(token)

    def _admit(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        transport = self._admit_sdk(requestor)
        events = _served.get()
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
        self._kept[transport] = _Kept(events)
        return transport

    # A session that there is

    async def _handle_session(self, session_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        sessions = self._manager._server_instances
        for _ in range(ATTEMPTS):
            transport = sessions.get(session_id)
            if transport is None:
                if await self._restore(session_id, scope):
                    continue
                break
            kept = self._kept.get(transport)
            if kept is None or kept.owners["principal"] != principal_of(scope):
                break
            if not await self._is_there(kept):
                await transport.terminate()
                break
            idle = transport.idle_scope
            if sessions.get(session_id) is transport and not (idle is not None and idle.cancel_called):
                # Nothing is awaited from here until the manager counts the request.
                await self._serve_session(transport, kept, scope, receive, send)
                return
            await asyncio.sleep(0.01)  # The manager is dropping it as idle just now.
        await self._serve_as(None, scope, receive, send)  # The manager knows what to say: 404.

    async def _serve_session(
        self, transport: StreamableHTTPServerTransport, kept: _Kept, scope: Scope, receive: Receive, send: Send
    ) -> None:
        alive = asyncio.ensure_future(self._keep_alive(transport, kept))
        try:
            if scope["method"] == "DELETE":
                send = self._deleting(kept, send)
            elif scope["method"] == "GET":
                # Who resumes a stream has given up the connection that it had, which may not know yet that it is dead:
                # the SDK would go on to fill it, and then wait for it with the whole session.
                resumed = Headers(scope=scope).get(LAST_EVENT_ID)
                stream_id = kept.events.stream_of(resumed) if resumed else None
                if stream_id is not None:
                    transport.close_sse_stream(stream_id)
            await self._serve_as(kept.events, scope, receive, send)
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
        except InvalidParams:  # no id of ours
            return False
        except StoreError as error:
            raise self._refusal(error) from error
        # What is bound to nobody answers to everybody in the contract; the SDK lets only nobody use it.
        if session is None or (session["tenant_id"], session["principal"]) != (self._tenant_id, owner):
            return False
        params = session["metadata"].get("initialize")
        if session["status"] != "active" or not session["is_initialized"] or not isinstance(params, dict):
            return False
        initialize = {"jsonrpc": "2.0", "id": RESTORE, "method": "initialize", "params": params}
        initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        events = _SessionEvents(self._store, session, fail_interrupted=self._fail_interrupted)
        status = await self._send_ourselves(events, None, initialize, scope)
        if status == 200:
            status = await self._send_ourselves(events, session_id, initialized, scope)
        if status == 503:
            raise _Refusal(503, "Too many open sessions")
        if status != 202:
            self._logger.error("Session %s… cannot be restored: the server answers %d.", session_id[:8], status)
            return False
        self._logger.info("Session %s… is restored.", session_id[:8])
        return True

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
            headers[PROTOCOL_VERSION] = str(events.session["metadata"]["initialize"].get("protocolVersion"))
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

        await self._serve_as(events, scope, receive, send)
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


def _owners_of(session: Session) -> Owners:
    return {"tenant_id": session["tenant_id"], "principal": session["principal"]}


class _Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


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


class _SessionEvents(EventStore):
    """The events of a session, without those of a handshake that is repeated; and what the first one agreed on."""

    def __init__(
        self, store: Store, session: Session, *, opened_by: str | None = None, fail_interrupted: bool = False,
    ) -> None:
        super().__init__(store, session["session_id"], **_owners_of(session), follow=True)
        self.session = session
        self._newest_id = session["last_event_id"]
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
            await self._append(stream_id, encode({
                "jsonrpc": "2.0", "id": int(stream_id) if is_number else stream_id,
                "error": {"code": INTERNAL_ERROR, "message": INTERRUPTED},
            }))

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
