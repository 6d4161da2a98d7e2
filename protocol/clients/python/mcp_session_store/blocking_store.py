"""The store as a server without an event loop uses it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from .blocking_methods import BlockingMethods
from .contract import Event
from .errors import ChildError
from .store import Restart, Store
from .subscription import EventSubscription, TaskChange, TaskSubscription
from .unset import UNSET, Unset

if TYPE_CHECKING:
    import concurrent.futures
    import logging
    import os
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

    from .contract import BackupResult, ServerInfo

Item = TypeVar("Item")


class BlockingSubscription(Generic[Item]):
    """Iterates over what an `EventSubscription` or a `TaskSubscription` tells. Use it with `with`, or `close()` it."""

    def __init__(self, store: BlockingStore, subscription: EventSubscription | TaskSubscription) -> None:
        self._store = store
        self._subscription = subscription

    def __enter__(self) -> BlockingSubscription[Item]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        try:
            return cast(Item, self._store.run(self._next()))
        except StopAsyncIteration:
            raise StopIteration from None

    async def _next(self) -> Any:
        return await self._subscription.__anext__()

    @property
    def ended(self) -> str | None:
        """Why nothing more comes."""
        return self._subscription.ended

    @property
    def lost(self) -> int:
        """Events that no longer existed when their turn came."""
        return getattr(self._subscription, "lost", 0)

    def close(self) -> None:
        """Ends the subscription; a thread that waits for its next item gets the end."""
        self._store.run(self._subscription.aclose())


class BlockingStore(BlockingMethods):
    """A store whose methods wait. Takes what `Store` takes; threads may share it, and their calls share commits.

        with BlockingStore("sessions.db") as store:
            session = store.create_session(principal="alice")
    """

    def __init__(
        self, database: str | os.PathLike[str] | None = None, *, binary: str | os.PathLike[str] | None = None,
        options: Mapping[str, str | int | bool] | None = None, require: Sequence[str] = (),
        restart: Restart | None = None, timeout: float | None = 30.0, start_timeout: float = 10.0,
        max_in_flight: int = 16 << 20, logger: logging.Logger | None = None,
    ) -> None:
        self._store = Store(
            database, binary=binary, options=options, require=require, restart=restart, timeout=timeout,
            start_timeout=start_timeout, max_in_flight=max_in_flight, logger=logger)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> BlockingStore:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def info(self) -> ServerInfo:
        """What the process said of itself when it was started."""
        return self._store.info

    def open(self) -> BlockingStore:
        """Starts the process and shakes hands with it, once. Raises ChildError, or RequirementFailed."""
        with self._lock:
            if self._thread is None:
                self._loop = asyncio.new_event_loop()
                # A daemon: a server that ends without close() ends the store by closing its input.
                self._thread = threading.Thread(target=self._loop.run_forever, name="mcp-session-store", daemon=True)
                self._thread.start()
        self.run(self._store.open())
        return self

    def close(self, patience: float = 5.0) -> None:
        """Ends the process once it has done and answered what was asked; calls after this raise ChildError."""
        with self._lock:
            if self._thread is None or self._loop is None or self._loop.is_closed():
                return
            asyncio.run_coroutine_threadsafe(self._store.close(patience), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def call(self, method: str, params: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        """Calls a method by its name on the wire."""
        return self.run(self._store.call(method, params, timeout=timeout))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Waits for something that runs on the store's event loop."""
        if self._loop is None or self._loop.is_closed():
            work.close()
            raise ChildError("The store is closed." if self._loop else "The store is not open.")
        future: concurrent.futures.Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def subscribe_events(
        self, session_id: str, *, after_event_id: int | None = None, stream_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
    ) -> BlockingSubscription[Event]:
        """Sends the session's events, the backlog after the cursor first, then live."""
        return BlockingSubscription(self, self.run(self._store.subscribe_events(
            session_id, after_event_id=after_event_id, stream_id=stream_id, tenant_id=tenant_id, principal=principal)))

    def subscribe_tasks(
        self, *, task_id: str | None = None, session_id: str | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
    ) -> BlockingSubscription[TaskChange]:
        """Tells a task, or all tasks of a session, as they are and then whenever they change."""
        return BlockingSubscription(self, self.run(self._store.subscribe_tasks(
            task_id=task_id, session_id=session_id, tenant_id=tenant_id, principal=principal)))

    def backup(
        self, path: str | os.PathLike[str], *, on_progress: Callable[[int, int], None] | None = None,
        timeout: float | None = None,
    ) -> BackupResult:
        """Copies the database to a new file; nothing is ever overwritten. `on_progress` is called on another thread."""
        result: BackupResult = self.run(self._store.backup(path, on_progress=on_progress, timeout=timeout))
        return result
