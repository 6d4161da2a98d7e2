"""What a store tells by itself, as asynchronous iterators."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import RequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .contract import Event, Task
    from .store import Store

#: events that wait for a slow reader
QUEUE = 1_000


class Subscription:
    """What both kinds share: the way in, the way out, and what wakes the reader.

    Open it with `async with`, or end it with `aclose()`.
    """

    _method: str

    def __init__(self, store: Store, params: dict[str, Any]) -> None:
        self._store = store
        self._params = params
        self._id: str | None = None
        self._error: StoreError | None = None
        self._is_closed = False
        self._wake: asyncio.Event = asyncio.Event()
        #: why nothing more comes: `deleted`, `expired` or `invalidated`; None as long as something may
        self.ended: str | None = None

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Any:
        return self

    async def aclose(self) -> None:
        """Ends the subscription; a reader that waits gets the end."""
        if not self._is_closed:
            self._is_closed = True
            self._wake.set()
            await self._detach()

    # What the store calls. All of it runs on the event loop, in the order of the lines.

    async def attach(self) -> None:
        """Subscribes. Raises what the call raises."""
        try:
            await self._store.call(self._method, self._request(), on_result=self._attached)
        except asyncio.CancelledError:
            self._is_closed = True  # nobody has it: when it is subscribed nevertheless, that is undone
            raise

    async def attach_again(self) -> None:
        """Subscribes once more behind what was told already; a reader is told when that fails."""
        if self._is_closed or self.ended:
            return
        try:
            await self.attach()
        except StoreError as error:
            self.fail(error)

    def fail(self, error: StoreError) -> None:
        """Lets the reader raise the error once it has taken what is there."""
        ended = {"session_not_found": "deleted", "task_not_found": "deleted", "session_expired": "expired"}
        if isinstance(error, RequestError) and error.kind in ended:
            self.ended = ended[error.kind]
        else:
            self._error = error
        self._wake.set()

    def lose_child(self) -> None:
        """The process that told is gone."""
        self._id = None

    def _attached(self, result: dict[str, Any]) -> None:
        self._id = result["subscription_id"]
        self._store.route(self._id, self)
        self._begin(result)
        self._wake.set()
        if self._is_closed:  # while it was on its way
            self._store.spawn(self._detach())

    async def _detach(self) -> None:
        if self._id is not None:
            subscription_id, self._id = self._id, None
            self._store.unroute(subscription_id)
            try:
                await self._store.call("unsubscribe", {"subscription_id": subscription_id})
            except StoreError:
                pass  # the process is gone, and its subscriptions with it

    async def _next(self, take: Callable[[], Any]) -> Any:
        """What `take` gives as soon as it gives something."""
        while True:
            self._wake.clear()
            if self._is_closed:
                raise StopAsyncIteration
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

    def hear(self, kind: str, params: dict[str, Any]) -> None:
        raise NotImplementedError


class EventSubscription(Subscription):
    """Events of a session in the order of their ids, none twice, none missing.

    It survives a restarted process, and a slow reader, who loses nothing until the store itself evicts. What was
    evicted before it was read is counted in `lost`, which rises before the event behind the hole comes.
    """

    _method = "subscribe_events"

    def __init__(self, store: Store, params: dict[str, Any]) -> None:
        super().__init__(store, params)
        self._queue: deque[tuple[int, Event | None]] = deque()
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
        return event

    def _take(self) -> Event | None:
        while self._queue:
            lost, event = self._queue.popleft()
            self.lost += lost
            if event is not None:
                return event
        if self._behind:
            self._behind = False
            self._store.spawn(self.attach_again())
        return None

    def _request(self) -> dict[str, Any]:
        return {**self._params, "after_event_id": self._after}

    def _begin(self, result: dict[str, Any]) -> None:
        self.newest_id = result["newest_id"]
        if result["gap"]:
            self._queue.append((result["gap"]["dropped"], None))
        if self._after is None or result["cursor_ahead"]:
            self._after = self.newest_id

    def hear(self, kind: str, params: dict[str, Any]) -> None:
        if kind == "event":
            if self._behind:
                return
            event: Event = params["event"]
            self._after = event["id"]
            self._queue.append((0, event))
            if len(self._queue) >= QUEUE:
                # The store is a cursor: what does not fit here is read again from there, once there is room.
                self._behind = True
                self._store.spawn(self._detach())
        elif kind == "lagged":
            if not self._behind:
                self._queue.append((params["dropped"], None))
        elif kind == "ended" and not self._behind:
            self.ended = params["reason"]
        self._wake.set()

    async def attach_again(self) -> None:
        if not self._behind:  # else the reader asks for it
            await super().attach_again()


@dataclass(frozen=True)
class TaskChange:
    """A task as it is now; or, with `task` None, that it is gone and why (`expired` or `deleted`)."""

    task_id: str
    task: Task | None
    ended: str | None = None


class TaskSubscription(Subscription):
    """A task, or all tasks of a session: first as they are, then each time one changes.

    A slow reader is told the newest state of each task, so what waits is never more than one change a task.
    """

    _method = "subscribe_tasks"

    def __init__(self, store: Store, params: dict[str, Any]) -> None:
        super().__init__(store, params)
        self._changes: dict[str, TaskChange] = {}
        self._revisions: dict[str, int] = {}

    def __aiter__(self) -> TaskSubscription:
        return self

    async def __aenter__(self) -> TaskSubscription:
        return self

    async def __anext__(self) -> TaskChange:
        change: TaskChange = await self._next(self._take)
        return change

    def _take(self) -> TaskChange | None:
        return self._changes.pop(next(iter(self._changes))) if self._changes else None

    def _request(self) -> dict[str, Any]:
        return self._params

    def _begin(self, result: dict[str, Any]) -> None:
        for task in result["tasks"] if "tasks" in result else [result["task"]]:
            self._note(task)

    async def attach_again(self) -> None:
        known = list(self._revisions)
        await super().attach_again()
        owners = {name: self._params[name] for name in ("tenant_id", "principal")}
        for task_id in known:  # one that went while nobody told is not among those that there are
            try:
                if await self._store.get_task(task_id, **owners) is None and task_id in self._revisions:
                    self.hear("ended", {"task_id": task_id, "reason": "deleted"})
            except StoreError:
                return  # the process is gone again, and this is called again

    def _note(self, task: Task) -> None:
        if self._revisions.get(task["task_id"]) != task["revision"]:
            self._revisions[task["task_id"]] = task["revision"]
            self._changes[task["task_id"]] = TaskChange(task["task_id"], task)

    def hear(self, kind: str, params: dict[str, Any]) -> None:
        if kind == "task":
            self._note(params["task"])
        elif kind == "ended":
            task_id = params["task_id"]
            self._revisions.pop(task_id, None)
            if self._params.get("task_id") is not None:
                self.ended = params["reason"]
            else:
                self._changes[task_id] = TaskChange(task_id, None, params["reason"])
        self._wake.set()
