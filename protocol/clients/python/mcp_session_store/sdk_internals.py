"""What the adapters touch of the official MCP SDK's insides: all of it is here, and nowhere else.

Each part is looked for before it is used. Where an SDK has changed it, `UnsupportedSDK` says so at once, instead of
sessions that are kept by half. What would replace it: `StreamableHTTPSessionManager` taking a function that makes a
session's transport (id and event store with it), and one that is asked for a session which it does not have.
"""

from __future__ import annotations

import importlib.metadata
import json
from typing import TYPE_CHECKING, Any, cast

from mcp.types import JSONRPCMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
    from mcp.server.streamable_http import EventStore, StreamableHTTPServerTransport
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

#: versions with which all tests have passed
TRIED = ("1.30.0", "2.3.0")

#: of a manager whose sessions are kept
KEPT = "_kept_by_mcp_session_store"

#: Version 1 has a model around the union of messages, version 2 the bare union.
IS_FIRST = isinstance(JSONRPCMessage, type)


class UnsupportedSDK(RuntimeError):
    """What is installed has not got what an adapter builds on."""

    def __init__(self, missing: str, without: str, *, package: str = "mcp", tried: Sequence[str] = TRIED) -> None:
        super().__init__(
            f"{package} {importlib.metadata.version(package)} has no {missing}, which this needs; it was tried with "
            f"{package} {' and '.join(tried)}. Install one of these ('pip install {package}=={tried[-1]}'), or a newer "
            f"mcp_session_store. {without}")


def read_body(body: bytes) -> Any:
    """The message in a request's body, read as the SDK's transport reads it; None where that refuses it."""
    try:
        if IS_FIRST:
            return json.loads(body)
        import pydantic_core

        return pydantic_core.from_json(body)
    except (ValueError, RecursionError):
        return None


class Manager:
    """The insides of a `StreamableHTTPSessionManager`."""

    WITHOUT = "Without it, `mcp_events.EventStore` works in a transport of your own, and tasks and values as ever."

    def __init__(self, manager: StreamableHTTPSessionManager) -> None:
        self._manager: Any = manager
        if getattr(manager, KEPT, False):
            raise ValueError("The sessions of this manager are kept already: make one DurableSessions for it.")
        for name in ("_server_instances", "_session_owners", "_admit_session", "_task_group", "asgi_app"):
            if not hasattr(manager, name):
                raise UnsupportedSDK(f"StreamableHTTPSessionManager.{name}", self.WITHOUT)
        self._admit: Callable[[AuthorizationContext | None], StreamableHTTPServerTransport | None] = (
            self._manager._admit_session)
        setattr(manager, KEPT, True)

    @property
    def is_running(self) -> bool:
        """Whether it is inside of its `run()`."""
        return self._manager._task_group is not None

    @property
    def sessions(self) -> dict[str, StreamableHTTPServerTransport]:
        """The transports of the sessions that it has."""
        return cast("dict[str, StreamableHTTPServerTransport]", self._manager._server_instances)

    def on_admission(self, admitted: Callable[[StreamableHTTPServerTransport], None]) -> None:
        """Calls `admitted` with each transport that it makes, before that serves anything."""

        def admit(requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
            transport = self._admit(requestor)
            if transport is not None:
                admitted(transport)
            return transport

        # The one place where the SDK makes a transport, and names it: there is no parameter for either.
        self._manager._admit_session = admit

    def rename(self, transport: StreamableHTTPServerTransport, session_id: str) -> None:
        """Gives a transport that was just made another id."""
        made = cast("str", transport.mcp_session_id)
        transport.mcp_session_id = session_id
        self.sessions[session_id] = self.sessions.pop(made)
        owners = self._manager._session_owners
        if made in owners:
            owners[session_id] = owners.pop(made)


def keep_events(
    transport: StreamableHTTPServerTransport, events: EventStore, *, on_close: Callable[[str], None],
    on_end: Callable[[], None],
) -> None:
    """Gives a transport that was just made its own event store.

    on_close: is called with the stream that a tool closes, to let the client come back.
    on_end: is called when the transport ends, however that comes.
    """
    inside: Any = transport
    for name in ("_event_store", "close_sse_stream", "terminate"):
        if not hasattr(inside, name):
            raise UnsupportedSDK(f"StreamableHTTPServerTransport.{name}", Manager.WITHOUT)
    inside._event_store = events
    close, terminate = inside.close_sse_stream, inside.terminate

    def close_sse_stream(request_id: Any) -> None:
        on_close(str(request_id))
        close(request_id)

    async def terminate_and_tell() -> None:
        await terminate()
        on_end()

    inside.close_sse_stream = close_sse_stream
    inside.terminate = terminate_and_tell


def is_going_away(transport: StreamableHTTPServerTransport) -> bool:
    """Whether the manager is dropping it as idle just now."""
    idle = transport.idle_scope
    return idle is not None and idle.cancel_called


def task_scope(session: Any) -> str | None:
    """What the ids of a session's tasks begin with, in version 1; None: nothing, so that whoever knows one may ask."""
    scope = getattr(getattr(session, "_experimental", None), "task_session_scope", None)
    return scope if isinstance(scope, str) else None


def set_task_scope(session: Any, scope: str) -> None:
    """Says what the ids of a session's tasks begin with, in version 1; what is set already the SDK leaves as it is."""
    experimental = getattr(session, "_experimental", None)
    if experimental is None or not hasattr(experimental, "task_session_scope"):
        raise UnsupportedSDK(
            "ServerSession._experimental.task_session_scope",
            "Without it, give `server.experimental.enable_tasks` the TaskStore and TaskMessageQueue yourself: tasks "
            "are then found again only by the connection that made them.")
    experimental.task_session_scope = scope
