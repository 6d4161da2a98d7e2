"""Tasks that outlive their worker: what a server takes on, any process may do, and another when that one is gone."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any, Literal

from .contract import InvalidParams, PayloadTooLarge, TaskNotFound, TerminalState
from .errors import RequestTooLarge, StoreError
from .json_text import encode
from .task_service import (
    INTERNAL_ERROR, OVER, POLL_INTERVAL, TTL, CancelRequested, TaskEnded, TaskHandle, TaskService, is_missing,
)
from .trace_context import with_trace
from .unset import UNSET, Unset
from .work_loop import LEASE, Lease, WorkLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from .contract import Task, TaskStatus
    from .store import Store

QUEUE = "mcp-tasks"
#: milliseconds until a task that waits for its client is looked at, should nobody have woken it
LOOK = 30_000
#: milliseconds until a worker that knows the tool should look
UNKNOWN = 5_000
#: claims of one leg; more workers than that it does not kill
MAX_ATTEMPTS = 3
#: of all groups there is no limit but this
PER_GROUP = 1_000

Era = Literal["2026-07-28", "2025-11-25"]

logger = logging.getLogger("mcp_session_store")


class TaskFailed(Exception):
    """Raised by work: the task ends in this JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class TaskQueue(TaskService):
    """Takes tasks on, and answers their clients: a `TaskService` whose work any `TaskWorker` may do.

        queue = TaskQueue(store)
        task = await queue.submit(principal, "forecast", {"city": "Rome"})    # tools/call: answer task.created

    The task and its work are there together, on disk, before this returns. `get`, `update` and `cancel` answer the
    client; the last answer to a question, and a wish to be cancelled, wake the work.

    queue: the name; those who share it do each other's work.
    """

    def __init__(
        self, store: Store, *, queue: str = QUEUE, ttl: int | None = TTL, poll_interval: int | None = POLL_INTERVAL,
    ) -> None:
        super().__init__(store, ttl=ttl, poll_interval=poll_interval)
        self.queue = queue

    async def submit(
        self, principal: str | None, name: str, arguments: Mapping[str, Any] | None = None, *,
        tenant_id: str | None = None, session_id: str | None = None, era: Era = "2026-07-28",
        ttl: int | None | Unset = UNSET, poll_interval: int | None | Unset = UNSET, status_message: str | None = None,
        delay: int | None = None, meta: Mapping[str, Any] | None = None, trace: Mapping[str, Any] | None = None,
        task_id: str | None = None, calls: Iterable[Mapping[str, Any]] = (),
    ) -> TaskHandle:
        """Makes a task, `working`, for a call of a tool, and puts it into the queue.

        session_id: of clients up to 2025-11-25, whose tasks belong to their session.
        era: whose words the outcome has: up to 2025-11-25 a result with `isError` makes the task fail.
        delay: milliseconds until it is begun.
        meta: beside what is kept here, whose name is `work`; trace: where `traceparent` stands.
        task_id: one of your own, which nobody can guess.
        calls: of yours, in the same transaction, before the task is made: what caused it.
        """
        task_id = task_id or secrets.token_urlsafe(32)
        calls = list(calls)
        owners = {"tenant_id": tenant_id, "principal": principal}
        made: dict[str, Any] = {
            "task_id": task_id, **owners, "original_method": "tools/call",
            "original_params": {"name": name, "arguments": dict(arguments or {})},
            "meta": with_trace({**(meta or {}), "work": {"era": era, "state": None}}, trace)}
        optional = {"session_id": session_id, "status_message": status_message,
                    "ttl": self._ttl if isinstance(ttl, Unset) else ttl,
                    "poll_interval": self._poll_interval if isinstance(poll_interval, Unset) else poll_interval}
        made |= {member: value for member, value in optional.items() if value is not None}
        results = (await self._store.transaction([
            *calls, {"method": "create_task", "params": made},  # type: ignore[list-item]
            self._enqueueing(task_id, owners, delay)]))["results"]
        task: Any = results[len(calls)]
        return TaskHandle(self._store, task)

    def _enqueueing(self, task_id: str, owners: Mapping[str, Any], delay: int | None = None) -> Any:
        params: dict[str, Any] = {
            "queue": self.queue, "work_id": task_id, **owners, "payload": {"task_id": task_id, **owners}}
        if owners["principal"] is not None:
            params["group"] = owners["principal"]  # users take turns
        if delay is not None:
            params["delay"] = delay
        return {"method": "enqueue_work", "params": params}

    async def update(
        self, task_id: str, input_responses: Mapping[str, Any], principal: str | None, *, tenant_id: str | None = None,
    ) -> bool:
        before = await self._find(task_id, principal, tenant_id)
        if before is None or not await super().update(task_id, input_responses, principal, tenant_id=tenant_id):
            return False
        after = await self._find(task_id, principal, tenant_id)
        # Only who brings the last answer: waking takes the work from who does it.
        if before["status"] == "input_required" and after is not None and after["status"] == "working":
            await self._wake(after)
        return True

    async def cancel(self, task_id: str, principal: str | None, *, tenant_id: str | None = None) -> bool:
        before = await self._find(task_id, principal, tenant_id)
        if not await super().cancel(task_id, principal, tenant_id=tenant_id):
            return False
        if before is not None and (before["status"] == "input_required" or kept(before).get("paused")):
            await self._wake(before)
        return True

    async def _wake(self, task: Task) -> None:
        owners = {"tenant_id": task["tenant_id"], "principal": task["principal"]}
        await self._store.transaction([
            {"method": "cancel_work", "params": {"queue": self.queue, "work_id": task["task_id"], **owners}},
            self._enqueueing(task["task_id"], owners)])


class _Asked(Exception):
    def __init__(self, requests: Mapping[str, Any], state: Any) -> None:
        super().__init__("The work asks its client.")
        self.requests = requests
        self.state = state


class _Paused(Exception):
    def __init__(self, delay: int, state: Any, is_failure: bool) -> None:
        super().__init__("The work goes on later.")
        self.delay = delay
        self.state = state
        self.is_failure = is_failure


class TaskWork:
    """A leg of a task, for the work that does it: from its claim to its result, a question, a pause or its end."""

    def __init__(self, lease: Lease, handle: TaskHandle) -> None:
        self._lease = lease
        self._handle = handle
        task = handle.record
        params: Any = task["original_params"] or {}
        self.name: str = params.get("name", "")
        self.arguments: dict[str, Any] = params.get("arguments") or {}
        #: how often this leg was begun, this time included: what an earlier attempt did may have been done
        self.attempt = lease.attempt
        #: what was kept by the leg before, or by `save`
        self.state: Any = kept(task).get("state")
        #: what the client ever answered, by key
        self.answers: dict[str, Any] = task["input_responses"] or {}

    @property
    def task_id(self) -> str:
        return self._handle.task_id

    @property
    def record(self) -> Task:
        """The task, as it was when this leg began."""
        return self._handle.record

    @property
    def trace(self) -> dict[str, str]:
        """`traceparent` and `tracestate` of who asked for it."""
        return self._handle.trace

    async def status(self, message: str) -> None:
        """Tells how it goes."""
        await self._handle.status(message)

    async def save(self, state: Any, *calls: Mapping[str, Any]) -> None:
        """Keeps where the work is, so that another worker goes on from here, with calls of yours in one transaction.

        Raises LeaseLost when another has it already; then nothing was done.
        """
        await self._lease.transact(None, self.keeping(state), *calls)
        self.state = state

    def ask(self, requests: Mapping[str, Any], state: Any = None) -> Exception:
        """`raise work.ask({key: {"method": …, "params": …}}, state)` ends this leg: no worker is held until the client
        has answered, then the next leg begins, with the `state`, and the `answers` by key.

        A key is used once in a task's life.
        """
        return _Asked(dict(requests), state)

    def pause(self, delay: int, state: Any = None) -> Exception:
        """`raise work.pause(60_000, state)` ends this leg, and begins the next one after so many milliseconds."""
        return _Paused(delay, state, False)

    def retry(self, delay: int) -> Exception:
        """`raise work.retry(5_000)`: this leg failed for now, and counts as one of its attempts."""
        return _Paused(delay, self.state, True)

    def keeping(self, state: Any, *, paused: bool = False) -> dict[str, Any]:
        """The call that keeps a state."""
        meta = self.record["meta"]
        work = {**kept(self.record), "state": state}
        work.pop("paused", None)
        if paused:
            work["paused"] = True
        members: dict[str, Any] = dict(meta) if isinstance(meta, dict) else {}
        return {"method": "update_task", "params": {
            **self.owners, "task": {"task_id": self.task_id, "meta": {**members, "work": work}}}}

    @property
    def owners(self) -> dict[str, Any]:
        """Whose the task is."""
        return {"tenant_id": self.record["tenant_id"], "principal": self.record["principal"]}


class TaskWorker:
    """Does the tasks of a queue.

        async def forecast(work: TaskWork) -> str:
            await work.status(f"Looking at {work.arguments['city']}")
            …
            return "Sunny."

        async with TaskWorker(queue, {"forecast": forecast}):
            …

    As many as you like, in the server or beside it, on all machines that share the store. While one works it holds its
    tasks; what a worker that was killed had is begun again by another within one lease. What is written at the end of a
    leg is one transaction with the end of its lease, so a task has one outcome, whoever else still works on it. What
    work does elsewhere may happen twice: hand `work.task_id` on, or keep with `save` what is done.

    A client that wants the task cancelled cancels the work: `asyncio.CancelledError` is raised in it. It may still end
    with a result, which counts.

    handlers: by the name of the tool.
    lease: milliseconds that a killed worker keeps its tasks from the others.
    concurrency: tasks at once, here; per_principal: of one user, everywhere.
    max_attempts: claims of a leg before it is given up, as what kills its worker each time.
    told: calls that are made in one transaction with the end of a task, of its work and its status: an event, say,
        which is then there exactly when the outcome is: `lambda work, status: source.publishing("task.ended", {…})`.
    """

    def __init__(
        self, queue: TaskQueue, handlers: Mapping[str, Callable[[TaskWork], Awaitable[Any]]], *, lease: int = LEASE,
        concurrency: int = 8, per_principal: int = PER_GROUP, max_attempts: int = MAX_ATTEMPTS,
        told: Callable[[TaskWork, TaskStatus], Iterable[Mapping[str, Any]]] = lambda work, status: (),
    ) -> None:
        self._store = queue.store
        self._handlers = handlers
        self._max_attempts = max_attempts
        self._told = told
        self.loop = WorkLoop(
            self._store, queue.queue, self._do, lease=lease, concurrency=concurrency, per_group=per_principal)

    async def __aenter__(self) -> TaskWorker:
        self.loop.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.loop.stop()

    async def run(self) -> None:
        """Goes on until it is cancelled, or the store is closed."""
        await self.loop.run()

    async def _do(self, lease: Lease) -> None:
        owners = {name: lease.payload[name] for name in ("tenant_id", "principal")}
        task = await self._store.get_task(lease.payload["task_id"], **owners)
        if task is None or task["status"] in OVER:
            return
        work = TaskWork(lease, TaskHandle(self._store, task))
        if task["cancel_requested"]:
            await self._over(work, lease, "cancelled", cancelled(work))
        elif task["status"] == "input_required":
            await lease.settle("release", delay=LOOK)
        elif lease.attempt > self._max_attempts:
            await self._over(work, lease, "failed", failed(
                work, INTERNAL_ERROR, "The work was interrupted too often."), outcome="dead")
        elif work.name not in self._handlers:
            logger.warning("No worker here knows '%s', of the task '%s'.", work.name, work.task_id)
            await lease.settle("release", delay=UNKNOWN)
        else:
            if kept(task).get("paused"):
                await work.save(work.state)
            await self._work(work, lease)

    async def _work(self, work: TaskWork, lease: Lease) -> None:
        handle = TaskHandle(self._store, work.record)
        doing = asyncio.ensure_future(self._handlers[work.name](work))
        wish = asyncio.ensure_future(handle.cancel_requested())
        try:
            await asyncio.wait({doing, wish}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done() and not wish.cancelled() and isinstance(wish.exception(), StoreError) \
                    and not isinstance(wish.exception(), TaskEnded):
                await asyncio.wait({doing})  # nobody can tell now; the end of the lease does
            if not doing.done():
                doing.cancel()
                await asyncio.wait({doing})
            await self._keep(work, lease, doing)
        finally:
            doing.cancel()
            wish.cancel()
            await asyncio.gather(doing, wish, return_exceptions=True)

    async def _keep(self, work: TaskWork, lease: Lease, doing: asyncio.Future[Any]) -> None:
        """What became of a leg."""
        error = None if doing.cancelled() else doing.exception()
        if doing.cancelled() or isinstance(error, CancelRequested):
            await self._over(work, lease, "cancelled", cancelled(work))
        elif isinstance(error, _Asked):
            names = {**work.owners, "task_id": work.task_id}
            await self._end(work, lease, [work.keeping(error.state), {
                "method": "require_task_input", "params": {**names, "input_requests": dict(error.requests)}}],
                outcome="release", delay=LOOK)
        elif isinstance(error, _Paused):
            await self._end(work, lease, [work.keeping(error.state, paused=True)],
                            outcome="retry" if error.is_failure else "release", delay=error.delay)
        elif isinstance(error, TaskFailed):
            await self._over(work, lease, "failed", failed(work, error.code, str(error), error.data))
        elif isinstance(error, StoreError):
            raise error  # the leg is repeated
        elif error is not None:
            logger.error("The work '%s' failed, of the task '%s'.", work.name, work.task_id, exc_info=error)
            await self._over(work, lease, "failed", failed(work, INTERNAL_ERROR, "Internal server error"))
        else:
            try:
                result = result_of(doing.result())
                is_failure = result.get("isError") and kept(work.record).get("era") == "2025-11-25"
                await self._over(work, lease, "failed" if is_failure else "completed", completed(work, result))
            except (PayloadTooLarge, RequestTooLarge):
                await self._over(work, lease, "failed", failed(
                    work, INTERNAL_ERROR, "The result was too large to be kept."))
            except (TypeError, ValueError) as unsayable:
                logger.error("The result of the task '%s' cannot be kept: %s", work.task_id, unsayable)
                await self._over(work, lease, "failed", failed(work, INTERNAL_ERROR, "The result could not be kept."))

    async def _over(
        self, work: TaskWork, lease: Lease, status: TaskStatus, calls: Sequence[Mapping[str, Any]],
        outcome: Literal["done", "dead"] = "done",
    ) -> None:
        await self._end(work, lease, [*calls, *self._told(work, status)], outcome=outcome)

    @staticmethod
    async def _end(
        work: TaskWork, lease: Lease, calls: Sequence[Mapping[str, Any]],
        outcome: Literal["done", "dead", "release", "retry"] = "done", delay: int | None = None,
    ) -> None:
        try:
            await lease.transact(outcome, *calls, delay=delay)
        except (TerminalState, TaskNotFound):
            await lease.settle("done")  # it came to its end, or lapsed, meanwhile
        except InvalidParams as error:
            if is_missing(error):
                await lease.settle("done")
                return
            logger.error("A question of the task '%s' cannot be asked: %s", work.task_id, error)
            await lease.transact("done", *failed(work, INTERNAL_ERROR, "Internal server error"))


def kept(task: Task) -> dict[str, Any]:
    """What a worker keeps with its task."""
    meta = task["meta"]
    work = meta.get("work") if isinstance(meta, dict) else None
    return work if isinstance(work, dict) else {}


def completed(work: TaskWork, result: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls that end a task with a result."""
    named = {"task_id": work.task_id, **work.owners}
    if result.get("isError") and kept(work.record).get("era") == "2025-11-25":
        return [{"method": "store_task_result", "params": {**named, "result": {"success": result}}},
                {"method": "update_task_status", "params": {**named, "status": "failed"}}]
    return [{"method": "complete_task", "params": {**named, "result": result}}]


def failed(work: TaskWork, code: int, message: str, data: Any = None) -> list[dict[str, Any]]:
    """The calls that end it with an error."""
    error = {"code": code, "message": message, **({} if data is None else {"data": data})}
    return [{"method": "fail_task", "params": {
        "task_id": work.task_id, **work.owners, "error": error, "status_message": message}}]


def cancelled(work: TaskWork) -> list[dict[str, Any]]:
    """The calls that end it without either."""
    return [{"method": "update_task_status", "params": {
        "task_id": work.task_id, **work.owners, "status": "cancelled"}}]


def result_of(value: Any) -> dict[str, Any]:
    """What work gives, as the result of a tool. Raises TypeError, ValueError when JSON cannot say it."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(by_alias=True, mode="json", exclude_none=True)
    if isinstance(value, dict) and isinstance(value.get("content"), list):
        return value
    if value is None:
        return {"content": []}
    text = value if isinstance(value, str) else encode(value)
    content = {"content": [{"type": "text", "text": text}]}
    return {**content, "structuredContent": value} if isinstance(value, dict) else content
