"""Sessions and event streams of FastMCP's HTTP servers that outlive the server's process.

All that is touched of FastMCP's insides stands in `_holder_of`; a way to get at the session manager of an app, such as
`app.state.session_manager`, would replace it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from .health_route import HealthRoute
from .mcp_sessions import DurableSessions
from .presence import presence_of
from .sdk_internals import UnsupportedSDK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastmcp import FastMCP
    from fastmcp.server.http import StarletteWithLifespan
    from starlette.applications import Starlette

    from .store import Store

#: versions with which all tests have passed
TRIED = ("4.1.2",)


def http_app(
    server: FastMCP[Any], store: Store, *, tenant_id: str | None = None, ttl: float | None = None,
    inactivity_timeout: float | None = None, fail_interrupted: bool = True, health: str | None = None,
    hint: bool = True, resolve_on_delete: bool = False, **options: Any,
) -> StarletteWithLifespan:
    """What `server.http_app(**options)` builds, with durable sessions; the store opens and closes with it.

        mcp = FastMCP("weather")
        uvicorn.run(http_app(mcp, Store("sessions.db")))

    FastMCP's own event store names each transport's streams at random, so that no id of before a restart is known
    after it; here the names are the session's own. The other parameters are those of `streamable_http_app`.

    Raises ValueError for options that leave no sessions to keep, UnsupportedSDK when FastMCP has changed.
    """
    transport = options.get("transport", "http")
    if transport not in ("http", "streamable-http"):
        raise ValueError(
            f"The transport '{transport}' has no sessions that outlive a connection, so nothing of it can be kept: "
            "leave it out, or serve `server.http_app(transport=…)` itself.")
    if options.get("stateless_http"):
        raise ValueError("A stateless app has no sessions to keep: leave stateless_http out.")
    if options.get("event_store") is not None:
        raise ValueError("Sessions that are kept bring their event store: leave event_store out.")
    app = server.http_app(**options)
    holder = _holder_of(app)
    if health is not None:
        app.add_middleware(HealthRoute, store=store, path=health)
    run = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Any]:
        async with store:
            async with run(app) as state:
                # FastMCP makes a new manager each time that the app is started.
                DurableSessions(
                    holder.session_manager, store, tenant_id=tenant_id, ttl=ttl, inactivity_timeout=inactivity_timeout,
                    fail_interrupted=fail_interrupted, hint=hint, resolve_on_delete=resolve_on_delete)
                yield state
            await presence_of(store).withdraw()

    app.router.lifespan_context = lifespan
    return app


def _holder_of(app: StarletteWithLifespan) -> Any:
    """What has the session manager as `session_manager`, once the app runs."""
    path = getattr(app.state, "path", None)
    endpoint: Any = next(
        (getattr(route, "endpoint", None) for route in app.routes if getattr(route, "path", "") == path), None)
    while endpoint is not None and not hasattr(endpoint, "session_manager"):  # what asks for a token stands before it
        endpoint = getattr(endpoint, "app", None)
    if endpoint is None:
        raise UnsupportedSDK(
            "session manager behind the route of its app", "Without it, `fastmcp.server.http_app` serves as ever, and "
            "`key_value.KeyValueStore` keeps session state.", package="fastmcp", tried=TRIED)
    return endpoint
