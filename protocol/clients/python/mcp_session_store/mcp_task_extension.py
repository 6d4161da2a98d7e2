"""The tasks extension of MCP 2026-07-28 for servers of the official SDK 2.x: one line, and long calls are tasks."""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR, INVALID_PARAMS, CallToolRequestParams, CallToolResult, InputRequiredResult, RequestParams,
)
from pydantic import BaseModel

from .contract import PayloadTooLarge
from .errors import RequestTooLarge, StoreError
from .mcp_sessions import INTERRUPTED, principal_of
from .presence import presence_of
from .trace_context import trace_in
from .task_service import (
    ACKNOWLEDGEMENT, EXTENSION, OVER, POLL_INTERVAL, TTL, CancelRequested, TaskEnded, TaskHandle, TaskService,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

    from .store import Store

#: of the protocol that has the extension
VERSIONS = frozenset({"2026-07-28"})
#: seconds in which a call that is done is answered as it always was
PATIENCE = 1.0

logger = logging.getLogger("mcp_session_store")

_work: ContextVar[_Work | None] = ContextVar("work", default=None)


async def current_task() -> TaskHandle | None:
    """The task that the current tool works on, to tell how it goes or to ask the client for something.

    The call becomes a task with this if it was none yet. None: it cannot be one, for the client does not know tasks.
    """
    work = _work.get()
    return None if work is None else await work.become_task()


class TaskExtension(Extension):
    """Lets calls of tools that take long go on as tasks, which outlive the connection, and their ends the process.

        mcp = MCPServer("weather", extensions=[TaskExtension(store)])

    A call that is not done within `patience` is answered with a task, if the client declares the extension; the tool
    works on, and its result, or its error, becomes the task's. Everything else is answered as without this. A client
    that cancels the task cancels the tool. What a tool asks for (`InputRequiredResult`, a resolver) it asks for through
    the task. In a tool `current_task()` gives the task.

    A task belongs to who is authenticated (client, issuer and subject), and is unknown to everybody else.

    tools: names of those whose calls may become tasks; None: all.
    patience: seconds; 0: each call becomes a task at once.
    ttl, poll_interval: milliseconds; None: for ever, and no hint.
    tenant_id: to whom all of these tasks belong; for servers that share a database.
    principal: who makes a request, where that is not the SDK's to know.
    fail_interrupted: Whether a task whose server process has ended fails, as soon as somebody asks for it. Others on
        the same database go on with theirs. False for a server that takes such tasks up again, with
        `TaskService.handle`.
    """

    identifier = EXTENSION

    def __init__(
        self, store: Store, *, tools: Collection[str] | None = None, patience: float = PATIENCE,
        ttl: int | None = TTL, poll_interval: int | None = POLL_INTERVAL, tenant_id: str | None = None,
        principal: Callable[[ServerRequestContext[Any, Any]], str | None] | None = None, fail_interrupted: bool = True,
    ) -> None:
        self._store = store
        self._service = TaskService(store, ttl=ttl, poll_interval=poll_interval)
        self._tools = tools
        self._patience = patience
        self._tenant_id = tenant_id
        self._principal = principal or caller_of
        self._fail_interrupted = fail_interrupted

    def methods(self) -> list[MethodBinding]:
        return [
            MethodBinding("tasks/get", TaskParams, self._get, VERSIONS),
            MethodBinding("tasks/update", TaskInputParams, self._update, VERSIONS),
            MethodBinding("tasks/cancel", TaskParams, self._cancel, VERSIONS),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext,
    ) -> HandlerResult:
        if not declares(ctx) or (self._tools is not None and params.name not in self._tools):
            return await call_next(ctx)
        work = _Work(self, params, ctx, call_next)
        try:
            either: set[asyncio.Future[Any]] = {work.running, work.is_task}
            await asyncio.wait(either, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
            if not work.is_task.done() and work.running.done():
                return work.running.result()
            task = await work.become_task()
        except BaseException:
            if not work.is_task.done():
                work.running.cancel()
            raise
        return dict(task.created)

    # What clients ask

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        require_client_extension(ctx, EXTENSION)
        who = self._principal(ctx)
        if self._fail_interrupted:
            task = await self._service.handle(params.taskId, who, tenant_id=self._tenant_id)
            if task is not None:
                await self._fail_if_interrupted(task)
        found = await self._service.get(params.taskId, who, tenant_id=self._tenant_id)
        if found is None:
            raise missing()
        return dict(found)

    async def _update(self, ctx: ServerRequestContext[Any, Any], params: TaskInputParams) -> HandlerResult:
        require_client_extension(ctx, EXTENSION)
        if not await self._service.update(
            params.taskId, params.inputResponses, self._principal(ctx), tenant_id=self._tenant_id
        ):
            raise missing()
        return dict(ACKNOWLEDGEMENT)

    async def _cancel(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        require_client_extension(ctx, EXTENSION)
        if not await self._service.cancel(params.taskId, self._principal(ctx), tenant_id=self._tenant_id):
            raise missing()
        return dict(ACKNOWLEDGEMENT)

    async def _fail_if_interrupted(self, task: TaskHandle) -> None:
        meta = task.record["meta"]
        if task.record["status"] in OVER or not isinstance(meta, dict) or "server" not in meta:
            return
        if not await presence_of(self._store).is_alive(str(meta["server"])):
            try:
                await task.fail(INTERNAL_ERROR, INTERRUPTED)
            except StoreError:
                pass  # it came to its end meanwhile

    # What the work says

    async def make_task(self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any]) -> TaskHandle:
        """Makes a task for a call, and says that this server works on it."""
        presence = presence_of(self._store)
        await presence.announce()
        called = {"name": params.name, "arguments": params.arguments}
        return await self._service.create(
            self._principal(ctx), tenant_id=self._tenant_id, method="tools/call", params=called,
            meta={"server": presence.id}, trace=trace_of(params, ctx))

    async def is_to_be_cancelled(self, task: TaskHandle) -> bool:
        """Whether the client wants it cancelled, as it is now."""
        who, tenant_id = task.record["principal"], task.record["tenant_id"]
        now = await self._service.handle(task.task_id, who, tenant_id=tenant_id)
        return now is not None and now.record["cancel_requested"]

    def begin(self, work: _Work, task: TaskHandle) -> None:
        """Sees a call that became a task through, beside the calls of the store."""
        self._store.spawn(work.see_through(task))


class TaskParams(RequestParams):
    """Of `tasks/get` and `tasks/cancel`."""

    taskId: str


class TaskInputParams(TaskParams):
    """Of `tasks/update`."""

    inputResponses: dict[str, Any] = {}


class _Work:
    """A call of a tool, which may become a task."""

    def __init__(
        self, extension: TaskExtension, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any],
        call_next: CallNext,
    ) -> None:
        self._extension = extension
        self._params = params
        self._ctx = ctx
        self._call_next = call_next
        self._making: asyncio.Task[TaskHandle] | None = None
        self.is_task: asyncio.Future[TaskHandle] = asyncio.get_running_loop().create_future()
        self.running = asyncio.ensure_future(self._run())

    async def _run(self) -> HandlerResult:
        _work.set(self)
        return await self._call_next(self._ctx)

    async def become_task(self) -> TaskHandle:
        """The call's task, which is on disk. Raises StoreError."""
        if self._making is None:
            self._making = asyncio.ensure_future(self._make())
        return await asyncio.shield(self._making)

    async def _make(self) -> TaskHandle:
        task = await self._extension.make_task(self._params, self._ctx)
        self.is_task.set_result(task)
        self._extension.begin(self, task)
        return task

    async def see_through(self, task: TaskHandle) -> None:
        """Waits for the tool, with all that it asks for, and keeps how it ended."""
        wish = asyncio.ensure_future(task.cancel_requested())
        try:
            rounds = 0
            while True:
                await asyncio.wait({self.running, wish}, return_when=asyncio.FIRST_COMPLETED)
                if not self.running.done():  # it is to be cancelled, or its task is gone
                    self.running.cancel()
                    await asyncio.wait({self.running})
                asked = None if self.running.cancelled() or self.running.exception() else self.running.result()
                if not isinstance(asked, InputRequiredResult):
                    break
                await self._ask(task, asked, rounds)
                rounds += 1
                self.running = asyncio.ensure_future(self._run())
            await self._keep_outcome(task)
        except (CancelRequested, TaskEnded) as error:
            if isinstance(error, CancelRequested):
                await _quietly(task.cancelled())
        except StoreError as error:
            logger.error("The end of the task '%s' could not be stored: %s", task.task_id, error)
        finally:
            self.running.cancel()
            wish.cancel()
            if wish.done() and not wish.cancelled():
                wish.exception()  # that it is over without having been cancelled is no news

    async def _ask(self, task: TaskHandle, asked: InputRequiredResult, rounds: int) -> None:
        """Asks the client, and lets the next call of the tool have the answers."""
        said = asked.model_dump(by_alias=True, mode="json", exclude_none=True)
        # A key is used once in a task's life; a tool may ask again under the same one.
        names = {key: f"{key}#{rounds}" if rounds else key for key in said.get("inputRequests", {})}
        answers: Mapping[str, Any] = {}
        if names:
            answers = await task.require_input({names[key]: said["inputRequests"][key] for key in names})
        again = CallToolRequestParams.model_validate({
            "name": self._params.name, "inputResponses": {key: answers[names[key]] for key in names},
            "requestState": asked.request_state,
        })
        self._params.input_responses, self._params.request_state = again.input_responses, again.request_state

    async def _keep_outcome(self, task: TaskHandle) -> None:
        error = None if self.running.cancelled() else self.running.exception()
        result = None if self.running.cancelled() or error else self.running.result()
        has_failed = error is not None or (isinstance(result, CallToolResult) and result.is_error)
        # A tool that is told of the wish while it asks for something mostly ends with an error because of that.
        if self.running.cancelled() or (has_failed and await self._extension.is_to_be_cancelled(task)):
            await _quietly(task.cancelled())
            return
        if isinstance(error, MCPError):
            await _quietly(task.fail(error.error.code, error.error.message, error.error.data))
        elif error is not None:
            logger.error("The tool '%s' failed as a task.", self._params.name, exc_info=error)
            await _quietly(task.fail(INTERNAL_ERROR, "Internal server error"))
        else:
            if isinstance(result, BaseModel):
                result = result.model_dump(by_alias=True, mode="json", exclude_none=True)
            try:
                await task.complete(result or {})
            except (PayloadTooLarge, RequestTooLarge):
                await task.fail(INTERNAL_ERROR, "The result was too large to be kept.")
            except (StoreError, ValueError) as refused:
                logger.error("The result of the task '%s' could not be kept: %s", task.task_id, refused)
                await _quietly(task.fail(INTERNAL_ERROR, "The result could not be kept."))


async def _quietly(ending: Any) -> None:
    """Ends a task that may be over, or gone, meanwhile."""
    try:
        await ending
    except StoreError as error:
        logger.info("A task had ended before: %s", error)


def declares(ctx: ServerRequestContext[Any, Any]) -> bool:
    """Whether the request is of a client that knows tasks."""
    capabilities = ctx.session.client_capabilities
    extensions = capabilities.extensions if capabilities else None
    return ctx.protocol_version in VERSIONS and EXTENSION in (extensions or {})


def caller_of(ctx: ServerRequestContext[Any, Any]) -> str | None:
    """Who is authenticated in the SDK; None: nobody is, or there is no HTTP request, as over stdio."""
    scope = getattr(ctx.request, "scope", None)
    return None if scope is None else principal_of(scope)


def trace_of(params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any]) -> dict[str, str]:
    """The trace of the call: what MCP has in `_meta`, or else what HTTP has in its headers."""
    meta: Any = params.meta
    return trace_in(meta) or trace_in(getattr(ctx.request, "headers", None))


def missing() -> MCPError:
    """The answer for what is unknown, expired or another's."""
    return MCPError(code=INVALID_PARAMS, message="There is no such task.")
