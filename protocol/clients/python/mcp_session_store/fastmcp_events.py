"""Sessions and event streams of FastMCP's HTTP servers that outlive the server's process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from .mcp_sessions import DurableSessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastmcp import FastMCP
    from fastmcp.server.http import StarletteWithLifespan
    from starlette.applications import Starlette

    from .store import Store


def http_app(
    server: FastMCP[Any], store: Store, *, tenant_id: str | None = None, ttl: float | None = None,
    inactivity_timeout: float | None = None, fail_interrupted: bool = False, **options: Any,
) -> StarletteWithLifespan:
    """What `server.http_app(**options)` builds, with durable sessions; the store opens and closes with it.

        mcp = FastMCP("weather")
        uvicorn.run(http_app(mcp, Store("sessions.db")))

    FastMCP's own event store names each transport's streams at random, so that no id of before a restart is known
    after it; here the names are the session's own. The other parameters are those of `DurableSessions`.
    """
    app = server.http_app(**options)
    endpoint = next(getattr(route, "endpoint") for route in app.routes if getattr(route, "path", "") == app.state.path)
    while not hasattr(endpoint, "session_manager"):  # what asks for a token stands before it
        endpoint = endpoint.app
    run = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Any]:
        async with store, run(app) as state:
            # FastMCP makes a new manager each time that the app is started.
            DurableSessions(
                endpoint.session_manager, store, tenant_id=tenant_id, ttl=ttl, inactivity_timeout=inactivity_timeout,
                fail_interrupted=fail_interrupted)
            yield state

    app.router.lifespan_context = lifespan
    return app
