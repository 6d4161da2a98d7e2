"""Tasks as the extension `io.modelcontextprotocol/tasks` of MCP 2026-07-28 has them, on both sides.

Towards the client `TaskService` answers `tasks/get`, `tasks/update` and `tasks/cancel`; the work itself holds a
`TaskHandle`. Neither needs an SDK: what they give is what stands on the wire.
https://github.com/modelcontextprotocol/ext-tasks
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from .contract import InvalidParams, TaskNotFound, TerminalState
from .errors import StoreError
from .trace_context import trace_in, with_trace
from .unset import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from typing_extensions import NotRequired

    from .contract import OutcomeError, Task, TaskStatus
    from .errors import RequestError
    from .store import Store

EXTENSION = "io.modelcontextprotocol/tasks"
#: what `tasks/update` and `tasks/cancel` are answered with
ACKNOWLEDGEMENT = {"resultType": "complete"}
#: milliseconds, a day
TTL = 86_400_000
#: milliseconds
POLL_INTERVAL = 5_000
#: statuses that do not change any more
OVER = frozenset({"completed", "failed", "cancelled"})
INTERNAL_ERROR = -32603


class DetailedTask(TypedDict):
    """A task as the extension's clients see it."""

    taskId: str
    status: TaskStatus
    statusMessage: NotRequired[str]
    createdAt: str
    """RFC 3339, UTC, milliseconds"""
    lastUpdatedAt: str
    """RFC 3339, UTC, milliseconds"""
    ttlMs: int | None
    """Milliseconds from `createdAt`; None: for ever"""
    pollIntervalMs: NotRequired[int]
    inputRequests: NotRequired[dict[str, Any]]
    """All that is still asked for, when the status is `input_required`"""
    result: NotRequired[Any]
    """When the status is `completed`, tool results with `isError` included"""
    error: NotRequired[OutcomeError]
    """When the status is `failed`"""


class TaskResult(DetailedTask):
    """A task as a result: of `tasks/get` (`complete`), or in the place of a tool's result (`task`)."""

    resultType: str


class TaskEnded(StoreError):
    """Nothing more will come of the task: it is cancelled, over, or gone. `status` is None when it is gone."""

    def __init__(self, task_id: str, status: TaskStatus | None) -> None:
        super().__init__(f"The task '{task_id}' {'is ' + status if status else 'no longer exists'}.")
        self.task_id = task_id
        self.status = status


class CancelRequested(StoreError):
    """The client wants the task cancelled; the work decides what becomes of it."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"The client wants the task '{task_id}' cancelled.")
        self.task_id = task_id


class TaskService:
    """What a server answers its clients' task methods with.

        service = TaskService(store)
        task = await service.create(principal)      # tools/call: return task.created, and work on with the handle
        await service.get(task_id, principal)       # tasks/get: the result; None: answer -32602
        await service.update(task_id, input_responses, principal)
        await service.cancel(task_id, principal)    # both: ACKNOWLEDGEMENT; False: answer -32602

    A principal stands for who calls: its client, issuer and subject, say. None is the anonymous caller. A task that was
    made for a principal does not exist for any other one; one that was made for None answers to whoever knows its id,
    which has 256 random bits. Before any of this answer -32021 to a client that does not declare the extension.

    ttl, poll_interval: milliseconds, of tasks that are made without their own; None: for ever, and no hint.
    """

    def __init__(
        self, store: Store, *, ttl: int | None = TTL, poll_interval: int | None = POLL_INTERVAL,
    ) -> None:
        self._store = store
        self._ttl = ttl
        self._poll_interval = poll_interval

    @property
    def store(self) -> Store:
        """Where the tasks are."""
        return self._store

    async def create(
        self, principal: str | None, *, tenant_id: str | None = None, ttl: int | None | Unset = UNSET,
        poll_interval: int | None | Unset = UNSET, status_message: str | None = None, method: str | None = None,
        params: Any = None, meta: Any = None, trace: Mapping[str, Any] | None = None,
    ) -> TaskHandle:
        """Makes a task, `working`. It is on disk, and `get` finds it, before this returns.

        ttl, poll_interval: milliseconds; None: for ever, and no hint; left out: the service's.
        method, params, meta: what it stands for, to take it up again after a restart; never shown to clients.
        trace: where the caller's `traceparent` and `tracestate` stand, such as the `_meta` of the request; these two
            are kept beside the members of `meta`.
        """
        task = await self._store.create_task(
            id_format="random", principal=principal, tenant_id=tenant_id,
            ttl=self._ttl if isinstance(ttl, Unset) else ttl,
            poll_interval=self._poll_interval if isinstance(poll_interval, Unset) else poll_interval,
            status_message=status_message, original_method=method, original_params=params,
            meta=with_trace(meta, trace))
        return TaskHandle(self._store, task)

    async def handle(self, task_id: str, principal: str | None, *, tenant_id: str | None = None) -> TaskHandle | None:
        """The writing side of a task that exists, for work that another process began; None: there is no such task."""
        task = await self._find(task_id, principal, tenant_id)
        return None if task is None else TaskHandle(self._store, task)

    async def get(self, task_id: str, principal: str | None, *, tenant_id: str | None = None) -> TaskResult | None:
        """The result of `tasks/get`; None when the task is unknown, expired or another principal's."""
        task = await self._find(task_id, principal, tenant_id)
        return None if task is None else {"resultType": "complete", **detailed(task)}

    async def update(
        self, task_id: str, input_responses: Mapping[str, Any], principal: str | None, *, tenant_id: str | None = None,
    ) -> bool:
        """Takes answers, all or some; False when the task is unknown, expired or another principal's.

        Keys that nobody asked for or that are answered already are ignored, as all are when the task is over.
        """
        return await self._tell("provide_task_input", {
            "task_id": task_id, "input_responses": dict(input_responses), "principal": principal,
            "tenant_id": tenant_id,
        })

    async def cancel(self, task_id: str, principal: str | None, *, tenant_id: str | None = None) -> bool:
        """Tells the work that the client wants it cancelled; False as in `update`, True also when it is over."""
        return await self._tell("cancel_task", {
            "task_id": task_id, "cooperative": True, "principal": principal, "tenant_id": tenant_id,
        })

    async def changes(
        self, task_id: str, principal: str | None, *, tenant_id: str | None = None,
    ) -> AsyncIterator[DetailedTask]:
        """The parameters of `notifications/tasks`: the task as it is, then whenever it changes, until it is gone.

        There are none when the task is unknown, expired or another principal's.
        """
        try:
            subscription = await self._store.subscribe_tasks(
                task_id=task_id, principal=principal, tenant_id=tenant_id)
        except (TaskNotFound, InvalidParams) as error:
            if not is_missing(error):
                raise
            return
        async with subscription:
            async for change in subscription:
                if change.task is not None:
                    yield detailed(change.task)

    async def _find(self, task_id: str, principal: str | None, tenant_id: str | None) -> Task | None:
        try:
            return await self._store.get_task(task_id, principal=principal, tenant_id=tenant_id)
        except InvalidParams as error:
            if not is_missing(error):
                raise
            return None

    async def _tell(self, method: str, params: dict[str, Any]) -> bool:
        try:
            await self._store.call(method, params)
        except TerminalState:
            return True
        except (TaskNotFound, InvalidParams) as error:
            if not is_missing(error):
                raise
            return False
        return True


class TaskHandle:
    """A task for the work that it stands for.

    Each method writes to disk before it returns. They raise TaskNotFound when the task has expired meanwhile and
    TerminalState when it is over.
    """

    def __init__(self, store: Store, task: Task) -> None:
        self._store = store
        self._task = task
        self._name: dict[str, Any] = {name: task[name] for name in ("task_id", "principal", "tenant_id")}

    @property
    def task_id(self) -> str:
        return self._task["task_id"]

    @property
    def record(self) -> Task:
        """The store's record, as it was when this was made."""
        return self._task

    @property
    def trace(self) -> dict[str, str]:
        """`traceparent` and `tracestate` of who asked for it; empty when nobody said. `telemetry` goes on from it."""
        meta = self._task["meta"]
        return trace_in(meta) if isinstance(meta, dict) else {}

    @property
    def created(self) -> TaskResult:
        """The `CreateTaskResult`, to answer in the place of the tool's own result."""
        return {"resultType": "task", **detailed(self._task)}

    async def status(
        self, message: str | None = None, *, ttl: int | None = None, poll_interval: int | None = None,
    ) -> None:
        """Tells how it goes, without a transition. None leaves as it is; `ttl` counts from the task's creation."""
        await self._store.call("touch_task", {
            **self._name, "status_message": message, "ttl": ttl, "poll_interval": poll_interval})

    async def require_input(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        """Asks the client, `{key: {"method": …, "params": …}}`, and waits for the answers to all of it, by key.

        A key is never used twice in a task's life. Raises CancelRequested when the client wants the task cancelled
        instead, and TaskEnded when it is over or gone; then there may be answers to some.
        """
        await self._store.call("require_task_input", {**self._name, "input_requests": dict(requests)})
        return await self.answers(requests)

    async def answers(self, keys: Iterable[str]) -> dict[str, Any]:
        """Waits for the answers to what was asked before, also by another process; raises as `require_input`."""
        keys = list(keys)
        task = await self._until(
            lambda task: has_answers(task, keys) or task["cancel_requested"] and task["status"] not in OVER)
        if not has_answers(task, keys):
            raise CancelRequested(self.task_id)
        responses = task["input_responses"] or {}
        return {key: responses[key] for key in keys}

    async def cancel_requested(self) -> None:
        """Returns as soon as the client wants the task cancelled; raises TaskEnded when it is over without that.

            wish = asyncio.ensure_future(handle.cancel_requested())
            await asyncio.wait([work, wish], return_when=asyncio.FIRST_COMPLETED)
        """
        await self._until(lambda task: task["cancel_requested"])

    async def complete(self, result: Any, message: str | None = None) -> None:
        """The request has this result; a tool result with `isError` is one too."""
        await self._store.call("complete_task", {**self._name, "result": result, "status_message": message})

    async def fail(self, code: int, message: str, data: Any = None, *, status_message: str | None = None) -> None:
        """The request ended in this JSON-RPC error. People are told `status_message`, or else the error's message."""
        error = {"code": code, "message": message, **({} if data is None else {"data": data})}
        await self._store.call("fail_task", {**self._name, "error": error, "status_message": status_message or message})

    async def cancelled(self, message: str | None = None) -> None:
        """The work stopped before it had a result."""
        await self._store.call("update_task_status", {**self._name, "status": "cancelled", "status_message": message})

    async def _until(self, holds: Callable[[Task], bool]) -> Task:
        try:
            subscription = await self._store.subscribe_tasks(**self._name)
        except TaskNotFound:
            raise TaskEnded(self.task_id, None) from None
        async with subscription:
            async for change in subscription:
                if change.task is None:
                    break
                if holds(change.task):
                    return change.task
                if change.task["status"] in OVER:
                    raise TaskEnded(self.task_id, change.task["status"])
        raise TaskEnded(self.task_id, None)


def is_missing(error: RequestError) -> bool:
    """Whether there is no such task; what can be no id is nobody's."""
    return isinstance(error, TaskNotFound) or error.data.get("parameter") == "task_id"


def has_answers(task: Task, keys: Iterable[str]) -> bool:
    """Whether all of it is answered."""
    responses = task["input_responses"] or {}
    return all(key in responses for key in keys)


def detailed(task: Task) -> DetailedTask:
    """The store's record as the extension has it, with the result, the error or what is asked for in its place."""
    shown: DetailedTask = {
        "taskId": task["task_id"], "status": task["status"], "createdAt": task["created_at"],
        "lastUpdatedAt": task["last_updated_at"], "ttlMs": task["ttl"],
    }
    if task["status_message"] is not None:
        shown["statusMessage"] = task["status_message"]
    if task["poll_interval"] is not None:
        shown["pollIntervalMs"] = task["poll_interval"]
    outcome = task["result"] or {}
    if task["status"] == "failed" and "success" in outcome:
        # The result of a tool that failed in its own words: up to 2025-11-25 its task failed, here it is completed.
        shown["status"] = "completed"
    if task["status"] == "input_required":
        shown["inputRequests"] = task["input_requests"] or {}
    elif shown["status"] == "completed":
        shown["result"] = outcome.get("success", {})
    elif task["status"] == "failed":
        # A task that was failed without an error, by hand or by an older protocol; the extension demands one.
        unsaid: OutcomeError = {"code": INTERNAL_ERROR, "message": task["status_message"] or "The task failed."}
        shown["error"] = outcome.get("error", unsaid)
    return shown
