"""Tasks of the official MCP SDK, version 1 (experimental there), that outlive the server's process."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict, deque
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mcp.server.experimental.task_scope import scoped_task_id
from mcp.shared.exceptions import McpError
from mcp.shared.experimental.tasks.message_queue import QueuedMessage
from mcp.shared.experimental.tasks.message_queue import TaskMessageQueue as SDKTaskMessageQueue
from mcp.shared.experimental.tasks.store import TaskStore as SDKTaskStore
from mcp.types import CreateTaskResult, ErrorData, JSONRPCNotification, JSONRPCRequest, Result, Task

from .contract import ConcurrentModification, InvalidTransition, TaskExists, TaskNotFound, TerminalState
from .errors import RequestError
from .mcp_sessions import served_session
from .sdk_internals import set_task_scope, task_scope
from .session_watch import Owners
from .unset import UNSET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from mcp.server.experimental.task_support import TaskSupport
    from mcp.server.lowlevel.server import Server
    from mcp.server.session import ServerSession
    from mcp.shared.experimental.tasks.resolver import Resolver
    from mcp.types import TaskMetadata, TaskStatus

    from .contract import Task as StoredTask
    from .store import Store
    from .subscription import TaskChange, TaskSubscription
    from .task_worker import TaskQueue

#: milliseconds; the SDK's own default
POLL_INTERVAL = 500
TERMINAL = frozenset({"completed", "failed", "cancelled"})


def enable_tasks(server: Server[Any, Any], store: Store) -> TaskSupport:
    """`server.experimental.enable_tasks` with tasks and their queue in the store.

    The SDK gives each session a scope, which task ids begin with, and lets only that session use them. For a session
    that `DurableSessions` keeps the scope is made from the session's id, so that it is the same after a restart.
    """
    support = server.experimental.enable_tasks(store=TaskStore(store), queue=TaskMessageQueue(store))
    configure = support.configure_session

    def configure_session(session: ServerSession, *, stateless: bool = False) -> None:
        kept = served_session()
        if kept is not None:
            scope = hashlib.sha256(f"task scope\n{kept['session_id']}".encode()).hexdigest()[:32]
            set_task_scope(session, scope)
        configure(session, stateless=stateless)

    setattr(support, "configure_session", configure_session)
    return support


async def submit(
    server: Server[Any, Any], queue: TaskQueue, name: str, arguments: Mapping[str, Any] | None = None,
) -> CreateTaskResult:
    """In the place of `run_task`, in a handler that `call_tool` registered: a `TaskWorker` does the task, and another
    one when that is killed.

        return await submit(server, queue, name, arguments)

    The work cannot ask the client for anything, which in this era is done within its process. Raises RuntimeError when
    the request is none for a task.
    """
    request = server.request_context
    metadata = request.experimental.task_metadata
    if metadata is None:
        raise RuntimeError("The client did not ask for a task.")
    session, scope = served_session(), task_scope(request.session)
    owners = {"tenant_id": None, "principal": None} if session is None else {
        "tenant_id": session["tenant_id"], "principal": session["principal"]}
    handle = await queue.submit(
        owners["principal"], name, arguments, tenant_id=owners["tenant_id"], era="2025-11-25", ttl=metadata.ttl,
        session_id=session["session_id"] if session else None, poll_interval=POLL_INTERVAL,
        task_id=scoped_task_id(scope) if scope else None)
    return CreateTaskResult(task=_task(handle.record))


class _OfStore:
    """What both share: whose tasks they are, and waiting.

    A task that is made for a session which `DurableSessions` keeps is bound to that session and its owner, and others
    find no such task. Everywhere else the owners given here hold; None: nobody's, which answer to whoever knows the id.
    """

    def __init__(
        self, store: Store, *, tenant_id: str | None = None, principal: str | None = None
    ) -> None:
        self._store = store
        self._others: Owners = {"tenant_id": tenant_id, "principal": principal}
        self._rung: dict[str, set[asyncio.Event]] = {}

    def _owners(self) -> Owners:
        session = served_session()
        if session is None:
            return self._others
        return {"tenant_id": session["tenant_id"], "principal": session["principal"]}

    def _ring(self, task_id: str) -> None:
        """Wakes those in this process who wait for the task."""
        for rung in self._rung.get(task_id, ()):
            rung.set()

    @contextmanager
    def _listening(self, task_id: str) -> Iterator[asyncio.Event]:
        rung = asyncio.Event()
        self._rung.setdefault(task_id, set()).add(rung)
        try:
            yield rung
        finally:
            self._rung[task_id].discard(rung)
            if not self._rung[task_id]:
                del self._rung[task_id]

    async def _wait(self, task_id: str, is_over: Callable[[TaskChange], Awaitable[bool]]) -> None:
        """Waits until `is_over` of the task as it is or becomes, until it is gone, or until somebody rings.

        Raises ValueError when there is no such task.
        """
        with self._listening(task_id) as rung:
            try:
                changes = await self._store.subscribe_tasks(task_id=task_id, **self._owners())
            except TaskNotFound as error:
                raise ValueError(str(error)) from error
            told = asyncio.ensure_future(_until(changes, is_over))
            woken = asyncio.ensure_future(rung.wait())
            try:
                await asyncio.wait({told, woken}, return_when=asyncio.FIRST_COMPLETED)
                if told.done():
                    told.result()
            finally:
                told.cancel()
                woken.cancel()
                # Not here and now: who waits is often being cancelled.
                self._store.spawn(changes.aclose())


async def _until(changes: TaskSubscription, is_over: Callable[[TaskChange], Awaitable[bool]]) -> None:
    async for change in changes:
        if await is_over(change):
            return


class TaskStore(_OfStore, SDKTaskStore):
    """The SDK's `TaskStore`.

        server.experimental.enable_tasks(store=TaskStore(store), queue=TaskMessageQueue(store))

    `enable_tasks` of this module does this, and lets clients find their tasks again after a restart. Work that died
    with the process leaves its task as it was: call `store.recover_stuck_tasks` where nobody takes it up again.
    A task's `ttl` counts from its creation, as the specification has it.
    """

    async def create_task(self, metadata: TaskMetadata, task_id: str | None = None) -> Task:
        """Makes a task. Raises ValueError when the id is taken."""
        session = served_session()
        try:
            task = await self._store.create_task(
                task_id=task_id, session_id=session["session_id"] if session else None, ttl=metadata.ttl,
                poll_interval=POLL_INTERVAL, **self._owners())
        except TaskExists as error:
            raise ValueError(str(error)) from error
        return _task(task)

    async def get_task(self, task_id: str) -> Task | None:
        task = await self._store.get_task(task_id, **self._owners())
        return _task(task) if task else None

    async def update_task(
        self, task_id: str, status: TaskStatus | None = None, status_message: str | None = None
    ) -> Task:
        """Sets what is given. Raises ValueError when there is no such task, or it is over and would change."""
        owners = self._owners()
        try:
            while True:
                task = await self._store.get_task(task_id, **owners)
                if task is None:
                    raise ValueError(f"Task with ID {task_id} not found")
                try:
                    return await self._update(task, status, status_message, owners)
                except ConcurrentModification:
                    continue
        except (TaskNotFound, TerminalState, InvalidTransition) as error:
            raise ValueError(str(error)) from error

    async def _update(
        self, task: StoredTask, status: TaskStatus | None, status_message: str | None, owners: Owners
    ) -> Task:
        if status is None or status == task["status"]:
            if status_message is not None:
                task = await self._store.touch_task(task["task_id"], status_message=status_message, **owners)
            return _task(task)
        message = status_message if status_message is not None else task["status_message"]
        changed = await self._store.update_task_status(
            task["task_id"], status=status, status_message=message, if_revision=task["revision"], **owners)
        return _task(changed)

    async def store_result(self, task_id: str, result: Result) -> None:
        """Keeps the result. Raises ValueError when there is no such task, or it is over and has one."""
        data = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        try:
            await self._store.store_task_result(task_id, result={"success": data}, **self._owners())
        except (TaskNotFound, TerminalState) as error:
            raise ValueError(str(error)) from error

    async def get_result(self, task_id: str) -> Result | None:
        """The result; None: none yet, or no such task. Raises McpError when the task ended with an error."""
        try:
            outcome = (await self._store.get_task_result(task_id, **self._owners()))["result"]
        except TaskNotFound:
            return None
        if outcome is None:
            return None
        if "error" in outcome:
            error = outcome["error"]
            raise McpError(ErrorData(code=error["code"], message=error["message"], data=error.get("data")))
        return Result.model_validate(outcome["success"])

    async def list_tasks(self, cursor: str | None = None) -> tuple[list[Task], str | None]:
        """A page, oldest first; of the session that asks, where it is known. Raises ValueError for a strange cursor."""
        session = served_session()
        try:
            page = await self._store.list_tasks(
                session_id=session["session_id"] if session else None, cursor=cursor, **self._owners())
        except RequestError as error:
            if error.kind == "invalid_cursor":
                raise ValueError(f"Invalid cursor: {cursor}") from error
            raise
        return [_task(task) for task in page["tasks"]], page["next_cursor"]

    async def delete_task(self, task_id: str) -> bool:
        return (await self._store.delete_task(task_id, **self._owners()))["deleted"]

    async def wait_for_update(self, task_id: str) -> None:
        """Returns when the status changes, whoever changes it, at once for a task that is over, or when it is gone."""
        first: list[str] = []

        async def is_over(change: TaskChange) -> bool:
            if change.task is None:
                return True
            first.append(change.task["status"])
            return change.task["status"] != first[0] or change.task["status"] in TERMINAL

        await self._wait(task_id, is_over)

    async def notify_update(self, task_id: str) -> None:
        """Wakes those in this process who wait; a change of status tells everybody by itself."""
        self._ring(task_id)


class TaskMessageQueue(_OfStore, SDKTaskMessageQueue):
    """The SDK's `TaskMessageQueue`.

    Messages are durable, and only `dequeue` and `clear` take them out. What waits for the answer to a request
    (`resolver`) is not durable: a request that another process put in comes without.
    """

    def __init__(
        self, store: Store, *, tenant_id: str | None = None, principal: str | None = None
    ) -> None:
        super().__init__(store, tenant_id=tenant_id, principal=principal)
        self._resolvers: dict[str, Resolver[dict[str, Any]]] = {}
        #: messages that were taken out for somebody who was cancelled meanwhile, by task
        self._taken: defaultdict[str, deque[QueuedMessage]] = defaultdict(deque)

    async def enqueue(self, task_id: str, message: QueuedMessage) -> None:
        """Puts a message in and wakes who waits, in whatever process. Raises QueueFull, TaskNotFound."""
        stored: dict[str, Any] = {
            "type": message.type, "timestamp": message.timestamp.isoformat(),
            "message": message.message.model_dump(mode="json", by_alias=True, exclude_none=True),
            "original_request_id": message.original_request_id, "key": uuid4().hex,
        }
        put = {"task_id": task_id, "message": stored, **_given(self._owners())}
        touch = {"task_id": task_id, **_given(self._owners())}
        if message.resolver is not None:
            self._resolvers[stored["key"]] = message.resolver
        try:
            # A queue tells nobody of itself; its task does when it is touched.
            await self._store.transaction([
                {"method": "enqueue_task_message", "params": put}, {"method": "touch_task", "params": touch}])
        except TerminalState:  # for which nobody waits
            await self._store.call("enqueue_task_message", put)
        except BaseException:
            self._resolvers.pop(stored["key"], None)
            raise
        self._ring(task_id)

    async def dequeue(self, task_id: str) -> QueuedMessage | None:
        if not self._taken.get(task_id):
            # Who waits is often cancelled; what is on its way from the store then must not be lost.
            await asyncio.shield(self._store.spawn(self._take(task_id)))
        return self._from_taken(task_id)

    async def peek(self, task_id: str) -> QueuedMessage | None:
        if not self._taken.get(task_id):
            queue = await self._look(task_id, 1)
            if queue is not None:
                return self._read(queue["messages"][0]) if queue["messages"] else None
            # A program that cannot show what it does not give: this process keeps it until it is dequeued.
            await asyncio.shield(self._store.spawn(self._take(task_id)))
        return self._taken[task_id][0] if self._taken.get(task_id) else None

    async def is_empty(self, task_id: str) -> bool:
        if self._taken.get(task_id):
            return False
        queue = await self._look(task_id, 0)
        return await self.peek(task_id) is None if queue is None else not queue["size"]

    async def _look(self, task_id: str, limit: int) -> Any:
        """The queue's first messages and its size, or None, when the program is too old to show them."""
        try:
            return await self._store.call(
                "peek_task_messages", {"task_id": task_id, "limit": limit, **_given(self._owners())})
        except TaskNotFound:
            return {"messages": [], "size": 0}
        except RequestError as error:
            if error.kind != "method_not_found":
                raise
            return None

    async def clear(self, task_id: str) -> list[QueuedMessage]:
        found = []
        while (message := await self.dequeue(task_id)) is not None:
            found.append(message)
        return found

    async def _take(self, task_id: str) -> None:
        try:
            taken = await self._store.dequeue_task_message(task_id, **self._owners())
        except TaskNotFound:
            return
        if taken["exists"]:
            message = self._read(taken["message"])
            self._resolvers.pop(taken["message"]["key"], None)
            self._taken[task_id].append(message)

    def _from_taken(self, task_id: str) -> QueuedMessage | None:
        taken = self._taken.get(task_id)
        message = taken.popleft() if taken else None
        if not taken:
            self._taken.pop(task_id, None)
        return message

    async def wait_for_message(self, task_id: str) -> None:
        """Returns when there is a message, or when the task is gone."""

        async def is_over(change: TaskChange) -> bool:
            return change.task is None or not await self.is_empty(task_id)

        await self._wait(task_id, is_over)

    async def notify_message_available(self, task_id: str) -> None:
        """Wakes those in this process who wait; `enqueue` tells everybody by itself."""
        self._ring(task_id)

    def _read(self, stored: dict[str, Any]) -> QueuedMessage:
        kind = JSONRPCRequest if stored["type"] == "request" else JSONRPCNotification
        return QueuedMessage(
            type=stored["type"], message=kind.model_validate(stored["message"]),
            timestamp=datetime.fromisoformat(stored["timestamp"]), original_request_id=stored["original_request_id"],
            resolver=self._resolvers.get(stored["key"]))


def _given(owners: Owners) -> dict[str, Any]:
    return {name: value for name, value in owners.items() if value is not UNSET}


def _task(task: StoredTask) -> Task:
    outcome = (task["result"] or {}).get("success")
    status = task["status"]
    if status == "completed" and isinstance(outcome, dict) and outcome.get("isError") is True:
        status = "failed"  # as a tool's own error is in this era; from 2026-07-28 on its task is completed
    return Task(
        taskId=task["task_id"], status=status, statusMessage=task["status_message"],
        createdAt=datetime.fromisoformat(task["created_at"].replace("Z", "+00:00")),
        lastUpdatedAt=datetime.fromisoformat(task["last_updated_at"].replace("Z", "+00:00")), ttl=task["ttl"],
        pollInterval=task["poll_interval"])
