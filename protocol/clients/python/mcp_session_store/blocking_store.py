"""The store as a server without an event loop uses it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast, overload

from .blocking_methods import BlockingMethods
from .contract import Event
from .errors import ChildError
from .store import Restart, Retry, Store
from .subscription import (
    MAX_QUEUED, MAX_QUEUED_BYTES, EventSubscription, TaskChange, TaskSubscription, WorkSubscription,
)
from .unset import UNSET, Unset

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

    from .call_record import CallRecord
    from .codec import Codec
    from .contract import ArchiveResult, BackupResult, ServerInfo
    from .rotation import Rotation
    from .store import State
    from .subscription import Gap, Greeting

Item = TypeVar("Item")


class BlockingSubscription(Generic[Item]):
    """Iterates over what a subscription of `Store` tells. Use it with `with`, or `close()` it."""

    def __init__(
        self, store: BlockingStore, subscription: EventSubscription | TaskSubscription | WorkSubscription,
    ) -> None:
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
        except ChildError as error:
            if error.reason == "closed":
                raise StopIteration from None
            raise

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
        try:
            self._store.run(self._subscription.aclose())
        except ChildError:
            pass  # the store is closed, and its subscriptions with it


class BlockingStore(BlockingMethods):
    """A store whose methods wait. Takes what `Store` takes; threads may share it, and their calls share commits.

        with BlockingStore("sessions.db") as store:
            session = store.create_session(principal="alice")

    It runs a `Store` on an event loop of its own, on a thread of its own, which starts with the first call and ends
    with `close()`. Callbacks are called there.
    """

    _alive: weakref.WeakSet[BlockingStore] = weakref.WeakSet()

    def __init__(
        self, database: str | os.PathLike[str] | None = None, *, binary: str | os.PathLike[str] | None = None,
        options: Mapping[str, str | int | bool | None] | None = None, cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None, client: Mapping[str, str] | None = None, require: Sequence[str] = (),
        restart: Restart | None | Unset = UNSET, retry: Retry | None = Retry(),
        timeout: float | None = 30.0, start_timeout: float | None = 10.0, max_in_flight: int = 16 << 20,
        max_waiting: int = 64 << 20, codec: Codec | None = None,
        on_state: Callable[[State, ChildError | None], object] | None = None,
        on_call: Callable[[CallRecord], object] | None = None, logger: logging.Logger | None = None,
    ) -> None:
        self._store = Store(
            database, binary=binary, options=options, cwd=cwd, env=env, client=client, require=require,
            restart=restart, retry=retry, timeout=timeout, start_timeout=start_timeout, max_in_flight=max_in_flight,
            max_waiting=max_waiting, codec=codec, on_state=on_state, on_call=on_call, logger=logger)
        self._forget()
        BlockingStore._alive.add(self)

    def _forget(self) -> None:
        # No lock but for the start: a signal handler may close the store in the midst of whatever its thread does.
        self._starting = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        #: what threads wait for, and what does it
        self._pending: dict[concurrent.futures.Future[Any], Coroutine[Any, Any, Any]] = {}
        #: whoever waits for the end; of what a signal may interrupt, a future would be locked meanwhile
        self._closers: list[queue.SimpleQueue[None]] = []

    def __enter__(self) -> BlockingStore:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def info(self) -> ServerInfo:
        """What the process said of itself when it was started."""
        return self._store.info

    @property
    def pid(self) -> int | None:
        """Of the process; None when there is none now."""
        return self._store.pid

    @property
    def state(self) -> State:
        """`closed`, `starting`, `ready`, `restarting` (another process is started) or `failed` (none is)."""
        return self._store.state

    def open(self) -> BlockingStore:
        """Starts the process and shakes hands with it, once; again, after `close()` or when it failed.

        Raises ChildError.
        """
        for closed in list(self._closers):
            closed.get()
            closed.put(None)  # for whoever waits beside
        self._wait(self._submit(self._store.open(), self._started()))
        return self

    def close(self, patience: float = 5.0) -> None:
        """Ends the process once it has done and answered what was asked; calls after this raise ChildError.

        Never raises, and may be called again, by any thread and in a signal handler: it waits for the close that is
        under way.

        patience: seconds until the process is told to stop; it is killed a second later.
        """
        loop = self._loop
        if loop is None:
            self._store.never_open()
            return
        closed: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closers.append(closed)
        try:
            loop.call_soon_threadsafe(self._end, patience)
        except RuntimeError:  # another one has just done it
            closed.put(None)
            return
        # On the thread of the event loop, in a callback, there is nobody to wait for.
        if self._loop is loop and threading.current_thread() is not self._thread:
            closed.get()
            closed.put(None)

    def _end(self, patience: float) -> None:
        """On the thread of the event loop, which ends by itself: whoever waits for that may be interrupted."""
        assert self._loop is not None
        ending = self._loop.create_task(self._store.close(patience))
        ending.add_done_callback(lambda _: asyncio.get_running_loop().stop())

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            self._loop = None
            # What came in the last moment is told by the store itself that it is closed.
            loop.run_until_complete(asyncio.sleep(0))
            while left := asyncio.all_tasks(loop):
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(left))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self._loop = None
            loop.close()
            for future in list(self._pending):
                self._abandon(future)
            closers, self._closers = self._closers, []
            for closed in closers:
                closed.put(None)

    def _abandon(self, future: concurrent.futures.Future[Any]) -> None:
        """Nobody does it any more."""
        work = self._pending.pop(future, None)
        if work is None:
            return
        work.close()
        try:
            future.set_exception(ChildError("The store is closed.", reason="closed"))
        except concurrent.futures.InvalidStateError:
            pass  # it was done in this moment

    def call(
        self, method: str, params: Mapping[str, Any] | str | None = None, *, timeout: float | None | Unset = UNSET,
    ) -> Any:
        """Calls a method by its name on the wire."""
        return self.run(self._store.call(method, params, timeout=timeout))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Waits for something that runs on the store's event loop."""
        loop = self._loop
        if loop is None:
            refusal = self._store.refusal
            if refusal is not None:
                work.close()
                raise refusal.of(None, "not_applied")
            loop = self._started()
        return self._wait(self._submit(work, loop))

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon: a server that ends without close() ends the store by closing its input.
                self._thread = threading.Thread(
                    target=self._run, args=(self._loop,), name="mcp-session-store", daemon=True)
                self._thread.start()
            return self._loop

    def _submit(
        self, work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop,
    ) -> concurrent.futures.Future[Any]:
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("A callback runs on the thread that would have to do this: call from another thread.")
        try:
            future: concurrent.futures.Future[Any] = asyncio.run_coroutine_threadsafe(work, loop)
        except RuntimeError:
            work.close()
            raise ChildError("The store is closed.", reason="closed") from None
        self._pending[future] = work
        future.add_done_callback(self._done)
        if self._loop is not loop:  # it has ended meanwhile, and may not have seen this one
            self._abandon(future)
        return future

    def _done(self, future: concurrent.futures.Future[Any]) -> None:
        self._pending.pop(future, None)

    @staticmethod
    def _wait(future: concurrent.futures.Future[Any]) -> Any:
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise ChildError("The store is closed.", reason="closed") from None
        except BaseException:
            future.cancel()
            raise

    @overload
    def subscribe_events(
        self, session_id: str, *, after_event_id: int | None = None, stream_id: str | None = None,
        format: Literal["json"] | None = None, heartbeat: int | None = None, init: bool | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        on_gap: Callable[[Gap], object] | None = None, on_init: Callable[[Greeting], object] | None = None,
        on_heartbeat: Callable[[int], object] | None = None, max_queued: int = MAX_QUEUED,
        max_queued_bytes: int = MAX_QUEUED_BYTES, timeout: float | None | Unset = UNSET,
    ) -> BlockingSubscription[Event]: ...

    @overload
    def subscribe_events(
        self, session_id: str, *, after_event_id: int | None = None, stream_id: str | None = None,
        format: Literal["sse", "sse_typed"], heartbeat: int | None = None, init: bool | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        on_gap: Callable[[Gap], object] | None = None, on_init: Callable[[Greeting], object] | None = None,
        on_heartbeat: Callable[[int], object] | None = None, max_queued: int = MAX_QUEUED,
        max_queued_bytes: int = MAX_QUEUED_BYTES, timeout: float | None | Unset = UNSET,
    ) -> BlockingSubscription[str]: ...

    def subscribe_events(
        self, session_id: str, *, after_event_id: int | None = None, stream_id: str | None = None,
        format: Literal["json", "sse", "sse_typed"] | None = None, heartbeat: int | None = None,
        init: bool | None = None,
        tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        on_gap: Callable[[Gap], object] | None = None, on_init: Callable[[Greeting], object] | None = None,
        on_heartbeat: Callable[[int], object] | None = None, max_queued: int = MAX_QUEUED,
        max_queued_bytes: int = MAX_QUEUED_BYTES, timeout: float | None | Unset = UNSET,
    ) -> BlockingSubscription[Event] | BlockingSubscription[str]:
        """Sends the session's events, the backlog after the cursor first, then live."""
        return BlockingSubscription(self, self.run(self._store.subscribe_events(
            session_id, after_event_id=after_event_id, stream_id=stream_id, format=format, heartbeat=heartbeat,
            init=init, tenant_id=tenant_id, principal=principal, on_gap=on_gap, on_init=on_init,
            on_heartbeat=on_heartbeat, max_queued=max_queued, max_queued_bytes=max_queued_bytes, timeout=timeout)))

    def subscribe_tasks(
        self, *, task_id: str | None = None, session_id: str | None = None, heartbeat: int | None = None,
        init: bool | None = None, tenant_id: str | None | Unset = UNSET, principal: str | None | Unset = UNSET,
        on_init: Callable[[Greeting], object] | None = None, on_heartbeat: Callable[[int], object] | None = None,
        max_queued: int = MAX_QUEUED, max_queued_bytes: int = MAX_QUEUED_BYTES,
        timeout: float | None | Unset = UNSET,
    ) -> BlockingSubscription[TaskChange]:
        """Tells a task, or all tasks of a session, as they are and then whenever they change."""
        return BlockingSubscription(self, self.run(self._store.subscribe_tasks(
            task_id=task_id, session_id=session_id, heartbeat=heartbeat, init=init, tenant_id=tenant_id,
            principal=principal, on_init=on_init, on_heartbeat=on_heartbeat, max_queued=max_queued,
            max_queued_bytes=max_queued_bytes, timeout=timeout)))

    def subscribe_work(
        self, queue: str, *, per_group: int | None = None, heartbeat: int | None = None, init: bool | None = None,
        on_init: Callable[[Greeting], object] | None = None, on_heartbeat: Callable[[int], object] | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> BlockingSubscription[str]:
        """Tells when work of a queue may be there to be claimed."""
        return BlockingSubscription(self, self.run(self._store.subscribe_work(
            queue, per_group=per_group, heartbeat=heartbeat, init=init, on_init=on_init, on_heartbeat=on_heartbeat,
            timeout=timeout)))

    def backup(
        self, path: str | os.PathLike[str], *, on_progress: Callable[[int, int], None] | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> BackupResult:
        """Copies the database to a new file; nothing is ever overwritten. `on_progress` is called on another thread."""
        result: BackupResult = self.run(self._store.backup(path, on_progress=on_progress, timeout=timeout))
        return result

    def archive(
        self, path: str | os.PathLike[str], *, ended_before: int, on_progress: Callable[[int, int], None] | None = None,
        timeout: float | None | Unset = UNSET,
    ) -> ArchiveResult:
        """Moves sessions that have ended to a compressed file, as `Store.archive` does. `on_progress` is called on
        another thread."""
        result: ArchiveResult = self.run(
            self._store.archive(path, ended_before=ended_before, on_progress=on_progress, timeout=timeout))
        return result

    def rotate(
        self, codec: Codec | None = None, *, cursor: str | None = None,
        on_page: Callable[[Rotation], object] | None = None, rounds: int = 10,
    ) -> Rotation:
        """Seals what is stored with the key that the codec writes with, as `Store.rotate` does. `on_page` is called on
        another thread."""
        result: Rotation = self.run(self._store.rotate(codec, cursor=cursor, on_page=on_page, rounds=rounds))
        return result

    # After a fork

    @classmethod
    def _forget_all(cls) -> None:
        """The thread is not there in the forked process, and a lock may be held by one that is not there either."""
        for store in list(cls._alive):
            store._forget()


os.register_at_fork(after_in_child=BlockingStore._forget_all)
