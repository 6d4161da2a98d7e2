"""A path where a probe asks whether the store is well, in front of an ASGI application."""

from __future__ import annotations

import asyncio
import json
import logging
import posixpath
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import CallTimeout, StoreError

__all__ = ["HealthRoute", "get_route_path"]

try:  # where it is installed, what a path is behind its mounts is Starlette's to say
    from starlette._utils import get_route_path
except ImportError:

    def get_route_path(scope: Scope) -> str:
        path, root = str(scope["path"]), str(scope.get("root_path") or "")
        behind = path.removeprefix(root)
        return behind if root and path.startswith(root) and behind[:1] in ("", "/") else path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from .store import Store

    Scope: TypeAlias = MutableMapping[str, Any]
    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

#: seconds; probes of orchestrators wait for one, most of the time
PATIENCE = 0.9
PATH = re.compile(r"/(?!\?)[!-~]*")

logger = logging.getLogger("mcp_session_store")


class HealthRoute:
    """Answers GET of `path` with 200 `{"status":"ok"}`, or with 503 and reasons; all else is the application's.

    The store is asked once, however many ask at the same time. Anybody may ask: no reason names a file, an id or an
    error of the system; that stands in the log.
    """

    def __init__(self, app: Application, store: Store, path: str) -> None:
        if not isinstance(path, str) or not PATH.fullmatch(path) or "?" in path or path != posixpath.normpath(path):
            raise ValueError(f"health: a path is expected, as '/healthz', not {path!r}.")
        self._app = app
        self._store = store
        self._path = path
        self._asking: asyncio.Task[list[str]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.is_asked_by(scope):
            await self.answer(scope, send)
        else:
            await self._app(scope, receive, send)

    def is_asked_by(self, scope: Scope) -> bool:
        """Whether it is this that is asked for: behind mounts, and behind a root path that is in the path or not."""
        return scope["type"] == "http" and self._path in (get_route_path(scope), scope["path"])

    async def answer(self, scope: Scope, send: Send) -> None:
        """Whatever the store does, within a second."""
        if scope["method"] not in ("GET", "HEAD"):
            status, name, reasons = 405, "refused", ["a probe is a GET"]
        else:
            reasons = await self._reasons()
            status, name = (503, "unhealthy") if reasons else (200, "ok")
        said = {"status": name, "reasons": reasons} if reasons else {"status": name}
        body = json.dumps(said, separators=(",", ":")).encode()
        headers = [
            (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"), *([(b"allow", b"GET, HEAD")] if status == 405 else [])]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _reasons(self) -> list[str]:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> list[str]:
        """Why it is not well; nothing when it is."""
        try:
            health = await self._store.health(timeout=PATIENCE)
            if health["status"] == "healthy":
                return []
            return [without_details(reason) for reason in health["reasons"]] or ["the store is not well"]
        except CallTimeout:
            return ["the store does not answer in time"]
        except (StoreError, RuntimeError) as error:
            logger.error("The store cannot be asked how it is: %s", error)
            return ["the store cannot be asked"]


def without_details(reason: str) -> str:
    """What comes behind a colon is the system's own text, which may name files."""
    what = reason.partition(":")[0]
    return "the store is not well" if "/" in what or "\\" in what else what
