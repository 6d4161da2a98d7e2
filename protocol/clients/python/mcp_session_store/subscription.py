"""What a store tells by itself, as asynchronous iterators."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from .errors import ChildError, RequestError, StoreError
from .frames import frame_of, notice_of
from .json_text import encode
from .policy import whole
from .unset import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import Callable

    from .contract import Event, Task
    from .store import Store

#: entries that wait for a slow reader, and their bytes
MAX_QUEUED = 1_000
MAX_QUEUED_BYTES = 4 << 20

#: why nothing more comes; `closed`: by its reader, or with the store
End = Literal["deleted", "expired", "invalidated", "resolved", "closed"]

#: how something ended while nobody watched, told from the refusal to subscribe to it again
ENDS: dict[str, End] = {
    "session_not_found": "deleted", "session_expired": "expired", "invalid_session_status": "invalidated",
    "task_not_found": "deleted",
}


class Subscription:
    """What both kinds share: the way in, the way out, and what wakes the reader.

    Open it with `async with`, or end it with `aclose()`.
    """

    _method: str

    def __init__(
        self, store: Store, params: dict[str, Any], max_queued: int, max_queued_bytes: int,
        on_init: Callable[[Greeting], object] | None, on_heartbeat: Callable[[int], object] | None,
    ) -> None:
        whole("max_queued", max_queued, 1)
        whole("max_queued_bytes", max_queued_bytes, 1)
        self._store = store
        self._on_init = on_init
        self._on_heartbeat = on_heartbeat
        self._params = params
        self._max_queued = max_queued
        self._max_queued_bytes = max_queued_bytes
        self._queued_bytes = 0
        #: in the present process
        self._id: str | None = None
        self._error: StoreError | None = None
        self._wake: asyncio.Event = asyncio.Event()
        #: why nothing more comes; None as long as something may
        self.ended: End | str | None = None

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Any:
        return self

    async def aclose(self) -> None:
        """Ends the subscription; a reader that waits gets the end. When it is cancelled, that goes on by itself."""
        detaching = self.finish("closed")
        self._clear()
        if detaching is not None:
            await asyncio.shield(detaching)

    # What the store calls. All of it runs on the event loop, in the order of the lines.

    async def attach(self, timeout: float | None | Unset = UNSET) -> None:
        """Subscribes. Raises what the call raises."""
        try:
            await self._store.request(self._method, self._request(), timeout, self._attached)
        except BaseException:
            # Nobody has it: where it is subscribed nevertheless, now or later, that is undone.
            self.finish("closed")
            raise

    async def attach_again(self) -> None:
        """Subscribes once more behind what was told already; a reader is told when that fails."""
        if self._is_over:
            return
        try:
            await self._store.request(self._method, self._request(), None, self._attached)
        except StoreError as error:
            self.fail(error)

    @property
    def _is_over(self) -> bool:
        return self.ended is not None or self._error is not None

    def finish(self, reason: End | str) -> asyncio.Task[None] | None:
        """It is over; what is still there can be read. Gives what unsubscribes, if that is left to do."""
        if not self._is_over:
            self.ended = reason
        self._wake.set()
        return self._detach()

    def fail(self, error: StoreError) -> None:
        """Lets the reader raise the error once it has taken what is there."""
        if isinstance(error, ChildError) and error.reason == "closed":
            self.finish("closed")
        elif isinstance(error, RequestError) and error.kind in ENDS:
            self.finish(self._missed(ENDS[error.kind]))
        else:
            if not self._is_over:
                self._error = error
            self._wake.set()
            self._detach()

    def lose_child(self) -> None:
        """The process that told is gone."""
        self._id = None

    def _attached(self, result: dict[str, Any]) -> None:
        self._id = result["subscription_id"]
        self._store.route(self._id, self)
        if self._is_over:  # while it was on its way
            self._detach()
            return
        self._begin(result)
        self._wake.set()

    def _detach(self) -> asyncio.Task[None] | None:
        if self._id is None:
            return None
        subscription_id, self._id = self._id, None
        self._store.unroute(subscription_id)
        return self._store.spawn(self._store.unsubscribe(subscription_id))

    def _told_end(self, reason: str) -> None:
        """The store says so, and has forgotten the subscription."""
        if self._id is not None:
            self._store.unroute(self._id)
            self._id = None
        self.finish(reason)

    async def _next(self, take: Callable[[], Any]) -> Any:
        """What `take` gives as soon as it gives something."""
        while True:
            self._wake.clear()
            found = take()
            if found is not None:
                return found
            if self._error is not None:
                raise self._error
            if self.ended is not None:
                raise StopAsyncIteration
            await self._wake.wait()

    def _request(self) -> dict[str, Any]:
        raise NotImplementedError

    def _begin(self, result: dict[str, Any]) -> None:
        raise NotImplementedError

    def _clear(self) -> None:
        raise NotImplementedError

    def _missed(self, end: End) -> End:
        return end

    def hear(self, kind: str, params: dict[str, Any], size: int) -> None:
        """What both kinds are told besides."""
        if kind == "init" and self._on_init is not None:
            self._store.tell(self._on_init, Greeting(
                params.get("session_id"), params.get("tenant_id"), params.get("principal"), params["timestamp"],
                params.get("task_id")))
        elif kind == "heartbeat" and self._on_heartbeat is not None:
            self._store.tell(self._on_heartbeat, params["timestamp"])


@dataclass(frozen=True)
class Greeting:
    """What a subscription with `init` is told first, each time that it is opened."""

    session_id: str | None
    #: to whom what it follows is bound; None: to nobody
    tenant_id: str | None
    principal: str | None
    #: the store's time, Unix milliseconds
    timestamp: int
    task_id: str | None = None


@dataclass(frozen=True)
class Gap:
    """Something no longer existed when its turn came."""

    #: events that were evicted or deleted
    dropped: int
    #: the first id that is left; None: there is none
    oldest_available: int | None
    #: the cursor was none of this session's: it goes on behind the newest event
    cursor_ahead: bool = False


class EventSubscription(Subscription):
    """Events of a session in the order of their ids, none twice, none missing.

    It survives a restarted process, and a slow reader, who loses nothing until the store itself evicts. What was
    evicted before it was read is counted in `lost`, which rises before the event behind the hole comes.
    """

    _method = "subscribe_events"

    def __init__(
        self, store: Store, params: dict[str, Any], max_queued: int = MAX_QUEUED,
        max_queued_bytes: int = MAX_QUEUED_BYTES, on_gap: Callable[[Gap], object] | None = None,
        on_init: Callable[[Greeting], object] | None = None, on_heartbeat: Callable[[int], object] | None = None,
    ) -> None:
        super().__init__(store, params, max_queued, max_queued_bytes, on_init, on_heartbeat)
        self._queue: deque[tuple[int, Any]] = deque()
        self._on_gap = on_gap
        self._after: int | None = params.get("after_event_id")
        self._behind = False
        #: events that no longer existed when their turn came
        self.lost = 0
        #: the newest id of the session when it was subscribed
        self.newest_id = 0

    @property
    def queued(self) -> int:
        """Events that wait for the reader."""
        return len(self._queue)

    def __aiter__(self) -> EventSubscription:
        return self

    async def __aenter__(self) -> EventSubscription:
        return self

    async def __anext__(self) -> Event:
        event: Event = await self._next(self._take)
        opened: Event = self._store.opened("Event", event, self._params)
        return opened

    def _take(self) -> Any:
        while self._queue:
            size, entry = self._queue.popleft()
            self._queued_bytes -= size
            if not isinstance(entry, Gap):
                return entry
            self.lost += entry.dropped
            if self._on_gap is not None:
                self._store.tell(self._on_gap, entry)
            if (frame := self._frame_of(entry)) is not None:
                return frame
        if self._behind and not self._is_over:
            self._behind = False
            self._store.spawn(super().attach_again())
        return None

    def _frame_of(self, gap: Gap) -> str | None:
        """What stands in the place of a gap among what is taken."""
        return None

    def _clear(self) -> None:
        self._queue.clear()
        self._queued_bytes = 0

    def _request(self) -> dict[str, Any]:
        return {**self._params, "after_event_id": self._after}

    def _begin(self, result: dict[str, Any]) -> None:
        self.newest_id = result["newest_id"]
        gap, is_ahead = result["gap"], result["cursor_ahead"]
        if gap or is_ahead:
            gap = gap or {"dropped": 0, "oldest_available": None}
            self._queue.append((0, Gap(gap["dropped"], gap["oldest_available"], is_ahead)))
        if self._after is None or is_ahead:
            self._after = self.newest_id

    def hear(self, kind: str, params: dict[str, Any], size: int) -> None:
        if kind == "event":
            event: Event = params["event"]
            self._put(event["id"], event, size)
        elif kind == "lagged":
            self._queue.append((0, Gap(params["dropped"], params["oldest_available"])))
        elif kind == "ended":
            self._told_end(params["reason"])
        else:
            super().hear(kind, params, size)
        self._wake.set()

    def _put(self, event_id: int, entry: Any, size: int) -> None:
        self._after = event_id
        self._queue.append((size, entry))
        self._queued_bytes += size
        if len(self._queue) >= self._max_queued or self._queued_bytes >= self._max_queued_bytes:
            # The store is a cursor: what does not fit here is read again from there, once there is room.
            self._behind = True
            self._detach()

    async def attach_again(self) -> None:
        if not self._behind:  # else the reader asks for it
            await super().attach_again()


class FrameSubscription(EventSubscription):
    """The same as text to write to an SSE response as it is: events, gaps, and what was asked for besides.

    A heartbeat is one only where nothing else waits to be written.
    """

    def __aiter__(self) -> FrameSubscription:
        return self

    async def __aenter__(self) -> FrameSubscription:
        return self

    async def __anext__(self) -> str:  # type: ignore[override]
        told: Any = await self._next(self._take)
        if isinstance(told, str):
            return told
        event = self._store.opened("Event", told, self._params)
        return frame_of(event, is_typed=self._params["format"] == "sse_typed")

    def _request(self) -> dict[str, Any]:
        # The program would write into the frames what it cannot read.
        return {**super()._request(), "format": UNSET} if self._store.has_codec else super()._request()

    def _frame_of(self, gap: Gap) -> str | None:
        data = encode({"dropped": gap.dropped, "oldest_available": gap.oldest_available})
        return None if gap.cursor_ahead else f"event: lagged\ndata: {data}\n\n"

    def hear(self, kind: str, params: dict[str, Any], size: int) -> None:
        if kind == "event" and "frame" in params:
            self._put(params["event_id"], params["frame"], size)
            self._wake.set()
            return
        if kind in ("init", "ended", "heartbeat") and "frame" not in params:
            params = {**params, "frame": notice_of(kind, params)}
        if kind == "init" or kind == "ended" or kind == "heartbeat" and not self._queue:
            self._queue.append((0, params["frame"]))
        super().hear(kind, params, size)


@dataclass(frozen=True)
class TaskChange:
    """A task as it is now; or, with `task` None, that it is gone and why (`expired` or `deleted`)."""

    task_id: str
    task: Task | None
    ended: str | None = None


class TaskSubscription(Subscription):
    """A task, or all tasks of a session: first as they are, then each time one changes.

    A slow reader is told the newest state of each task, so what waits is never more than one change a task; beyond
    some bytes it is only the task's id, and the task is read when its turn comes.
    """

    _method = "subscribe_tasks"

    def __init__(
        self, store: Store, params: dict[str, Any], max_queued: int = MAX_QUEUED,
        max_queued_bytes: int = MAX_QUEUED_BYTES, on_init: Callable[[Greeting], object] | None = None,
        on_heartbeat: Callable[[int], object] | None = None,
    ) -> None:
        super().__init__(store, params, max_queued, max_queued_bytes, on_init, on_heartbeat)
        #: by id, in the order of the first change that was not taken: its bytes and what changed; None: to be read
        self._changes: dict[str, tuple[int, TaskChange | None]] = {}
        #: by id: the state that was told last, and when the task lapses
        self._told: dict[str, tuple[int, str, float | None]] = {}

    def __aiter__(self) -> TaskSubscription:
        return self

    async def __aenter__(self) -> TaskSubscription:
        return self

    async def __anext__(self) -> TaskChange:
        while True:
            task_id, change = await self._next(self._take)
            if change is None:
                try:
                    change = await self._read(task_id)
                except BaseException:
                    self._changes.setdefault(task_id, (0, None))
                    raise
            if change is not None:
                return self._opened(change)

    def _opened(self, change: TaskChange) -> TaskChange:
        if change.task is None:
            return change
        return TaskChange(change.task_id, self._store.opened("Task", change.task, self._params), change.ended)

    def _take(self) -> tuple[str, TaskChange | None] | None:
        if not self._changes:
            return None
        task_id = next(iter(self._changes))
        size, change = self._changes.pop(task_id)
        self._queued_bytes -= size
        return task_id, change

    def _naming(self, task_id: str) -> dict[str, Any]:
        owners: dict[str, Any] = {
            name: self._params[name] for name in ("tenant_id", "principal") if name in self._params}
        return {"task_id": task_id, **owners}

    async def _read(self, task_id: str) -> TaskChange | None:
        """A task whose change was not kept; None: its end was told meanwhile."""
        task = await self._store.request("get_task", self._naming(task_id), UNSET)
        if task is None:
            end = self._lapsed(task_id)
            return TaskChange(task_id, None, end) if self._told.pop(task_id, None) is not None else None
        self._told[task_id] = state_of(task)
        return TaskChange(task_id, task)

    def _clear(self) -> None:
        self._changes.clear()
        self._queued_bytes = 0

    def _request(self) -> dict[str, Any]:
        return self._params

    def _begin(self, result: dict[str, Any]) -> None:
        for task in result["tasks"] if "tasks" in result else [result["task"]]:
            self._note(task, len(encode(task)))

    async def attach_again(self) -> None:
        known = dict(self._told)
        await super().attach_again()
        for task_id, state in known.items():
            # One that went while nobody told is not among those that there are.
            if self._is_over or self._told.get(task_id) != state:
                continue
            try:
                task = await self._store.request("get_task", self._naming(task_id), UNSET)
                if task is None and self._told.get(task_id) == state:
                    self._end(task_id, self._lapsed(task_id))
            except StoreError:
                return  # the process is gone again, and this is called again

    def _note(self, task: Task, size: int) -> None:
        task_id, state = task["task_id"], state_of(task)
        if self._told.get(task_id) == state:
            return
        self._told[task_id] = state
        old, _ = self._changes.get(task_id, (0, None))
        self._queued_bytes += size - old
        self._changes[task_id] = (size, TaskChange(task_id, task))
        is_alone = len(self._changes) == 1
        if not is_alone and (len(self._changes) > self._max_queued or self._queued_bytes > self._max_queued_bytes):
            self._queued_bytes -= size
            self._changes[task_id] = (0, None)

    def _end(self, task_id: str, reason: str) -> None:
        if self._params.get("task_id") is not None:
            self._told_end(reason)
        elif self._told.pop(task_id, None) is not None:
            size, _ = self._changes.get(task_id, (0, None))
            self._queued_bytes -= size
            self._changes[task_id] = (0, TaskChange(task_id, None, reason))
            self._wake.set()

    def _lapsed(self, task_id: str) -> End:
        """How a task ended that is not there any more."""
        _, _, deadline = self._told.get(task_id, (0, "", None))
        return "expired" if deadline is not None and time.time() > deadline else "deleted"

    def _missed(self, end: End) -> End:
        task_id = self._params.get("task_id")
        return self._lapsed(task_id) if end == "deleted" and task_id is not None else end

    def hear(self, kind: str, params: dict[str, Any], size: int) -> None:
        if kind == "task":
            self._note(params["task"], size)
        elif kind == "ended":
            self._end(params["task_id"], params["reason"])
        else:
            super().hear(kind, params, size)
        self._wake.set()


class WorkSubscription(Subscription):
    """Tells when work of a queue may be there to be claimed: at first, then whenever a commit or a time makes some.

    It is a hint, and may come for nothing. However many came while nobody looked, the reader is told once.
    """

    _method = "subscribe_work"

    def __init__(
        self, store: Store, params: dict[str, Any], on_init: Callable[[Greeting], object] | None = None,
        on_heartbeat: Callable[[int], object] | None = None,
    ) -> None:
        super().__init__(store, params, 1, 1, on_init, on_heartbeat)
        self._is_due = False
        #: when work was due next as it was opened, Unix milliseconds; None: there was none
        self.next_due: int | None = None

    def __aiter__(self) -> WorkSubscription:
        return self

    async def __aenter__(self) -> WorkSubscription:
        return self

    async def __anext__(self) -> str:
        """The name of the queue."""
        queue: str = await self._next(self._take)
        return queue

    def _take(self) -> str | None:
        is_due, self._is_due = self._is_due, False
        return self._params["queue"] if is_due else None

    def _request(self) -> dict[str, Any]:
        return self._params

    def _begin(self, result: dict[str, Any]) -> None:
        self.next_due = result["next_due"]
        self._is_due = True  # whatever came while nobody told

    def _clear(self) -> None:
        self._is_due = False

    def hear(self, kind: str, params: dict[str, Any], size: int) -> None:
        if kind == "work":
            self._is_due = True
        elif kind == "ended":
            self._told_end(params["reason"])
        else:
            super().hear(kind, params, size)
        self._wake.set()


def state_of(task: Task) -> tuple[int, str, float | None]:
    """What tells one state of a task from another, and the time in seconds at which it lapses."""
    deadline = None
    if task["ttl"] is not None:
        created = datetime.fromisoformat(task["created_at"].replace("Z", "+00:00"))
        deadline = created.timestamp() + task["ttl"] / 1_000
    return task["revision"], task["last_updated_at"], deadline
