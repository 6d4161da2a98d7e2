"""Tools whose calls are tasks of a queue, for servers of the official SDK 2.x: any worker does them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mcp.server.extension import Extension, MethodBinding, ToolBinding
from mcp.server.mcpserver import Context, require_client_extension
from mcp_types import CallToolResult, TextContent, ToolAnnotations

from .mcp_task_extension import VERSIONS, TaskInputParams, TaskParams, caller_of, declares, missing, trace_of
from .task_service import ACKNOWLEDGEMENT, EXTENSION, OVER, TaskEnded, detailed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp_types import CallToolRequestParams

    from .task_service import DetailedTask, TaskHandle
    from .task_worker import TaskQueue

STATUS_TOOL = "task_status"
CANCEL_TOOL = "task_cancel"


class QueuedTasks(Extension):
    """Calls of some tools become tasks of a queue, which outlive this process.

        queue = TaskQueue(store)
        mcp = MCPServer("weather", extensions=[QueuedTasks(queue, ["forecast"])])

        @mcp.tool()
        async def forecast(city: str) -> str:
            '''Is called by no one: `TaskWorker` does it. Its name, text and parameters are what clients see.'''
            raise NotImplementedError

    A client that declares the tasks extension gets a task; any other the id in words, and two tools, `task_status` and
    `task_cancel`, to ask for it. A task belongs to who is authenticated, and is unknown to everybody else.

    tools: names of those whose calls become tasks.
    patience: seconds in which a call that is done is answered as it always was.
    fallback: whether there are the two tools.
    """

    identifier = EXTENSION

    def __init__(
        self, queue: TaskQueue, tools: Collection[str], *, patience: float = 0.0, fallback: bool = True,
        tenant_id: str | None = None, principal: Callable[[ServerRequestContext[Any, Any]], str | None] | None = None,
    ) -> None:
        self._queue = queue
        self._tools = frozenset(tools)
        self._patience = patience
        self._fallback = fallback
        self._tenant_id = tenant_id
        self._principal = principal or caller_of

    def methods(self) -> list[MethodBinding]:
        return [
            MethodBinding("tasks/get", TaskParams, self._get, VERSIONS),
            MethodBinding("tasks/update", TaskInputParams, self._update, VERSIONS),
            MethodBinding("tasks/cancel", TaskParams, self._cancel, VERSIONS),
        ]

    def tools(self) -> list[ToolBinding]:
        if not self._fallback:
            return []
        reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
        ends = ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False)

        async def task_status(ctx: Context, task_id: str) -> CallToolResult:
            return await self._told(self._principal(ctx.request_context), task_id)

        async def task_cancel(ctx: Context, task_id: str) -> CallToolResult:
            who = self._principal(ctx.request_context)
            if not await self._queue.cancel(task_id, who, tenant_id=self._tenant_id):
                return unknown()
            return await self._told(who, task_id)

        for tool in (task_status, task_cancel):
            # Names in this module's scope are not the SDK's to find.
            tool.__annotations__ = {"ctx": Context, "task_id": str, "return": CallToolResult}
        return [
            ToolBinding(task_status, kwargs={
                "name": STATUS_TOOL, "title": "Status of a task", "annotations": reads, "description":
                    "How a task is that another tool of this server began, and its result once it is done. Call it "
                    "again, not more often than every few seconds, while the status is working."}),
            ToolBinding(task_cancel, kwargs={
                "name": CANCEL_TOOL, "title": "Cancel a task", "annotations": ends, "description":
                    "Asks for the end of a task that another tool of this server began."}),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext,
    ) -> HandlerResult:
        if params.name not in self._tools:
            return await call_next(ctx)
        who = self._principal(ctx)
        task = await self._queue.submit(
            who, params.name, params.arguments, tenant_id=self._tenant_id, trace=trace_of(params, ctx))
        done = await self._within(self._patience, task)
        if done is not None:
            return done
        if declares(ctx):
            return dict(task.created)
        return CallToolResult(
            content=[TextContent(type="text", text=(
                f"This takes longer: it is the task '{task.task_id}'. Ask for it with the tool {STATUS_TOOL}."
                if self._fallback else f"This takes longer: it is the task '{task.task_id}'."))],
            structured_content={"taskId": task.task_id, "status": "working"})

    async def _within(self, seconds: float, task: TaskHandle) -> dict[str, Any] | None:
        """The tool's own result, if it comes in that time."""
        if seconds <= 0:
            return None
        with suppress(asyncio.TimeoutError):
            with suppress(TaskEnded):
                await asyncio.wait_for(task.cancel_requested(), seconds)
            found = await self._queue.get(
                task.task_id, task.record["principal"], tenant_id=self._tenant_id)
            if found is not None and found["status"] == "completed":
                return {"resultType": "complete", **found["result"]}
        return None

    async def _told(self, who: str | None, task_id: str) -> CallToolResult:
        handle = await self._queue.handle(task_id, who, tenant_id=self._tenant_id)
        if handle is None:
            return unknown()
        shown = detailed(handle.record)
        if shown["status"] == "completed":
            return CallToolResult.model_validate(shown["result"])
        return CallToolResult(
            content=[TextContent(type="text", text=in_words(shown))], structured_content=dict(shown),
            is_error=shown["status"] == "failed")

    # What clients ask that know tasks

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        require_client_extension(ctx, EXTENSION)
        found = await self._queue.get(params.taskId, self._principal(ctx), tenant_id=self._tenant_id)
        if found is None:
            raise missing()
        return dict(found)

    async def _update(self, ctx: ServerRequestContext[Any, Any], params: TaskInputParams) -> HandlerResult:
        require_client_extension(ctx, EXTENSION)
        if not await self._queue.update(
            params.taskId, params.inputResponses, self._principal(ctx), tenant_id=self._tenant_id
        ):
            raise missing()
        return dict(ACKNOWLEDGEMENT)

    async def _cancel(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        require_client_extension(ctx, EXTENSION)
        if not await self._queue.cancel(params.taskId, self._principal(ctx), tenant_id=self._tenant_id):
            raise missing()
        return dict(ACKNOWLEDGEMENT)


def in_words(task: DetailedTask) -> str:
    """A task that has no result, for a model to read."""
    said = task.get("statusMessage")
    text = f"The task is {task['status'].replace('_', ' ')}" + (f": {said}" if said else ".")
    if task["status"] == "input_required":
        text += " It asks what only a client with the tasks extension can answer."
    return text if task["status"] in OVER else f"{text} Ask again later."


def unknown() -> CallToolResult:
    """What is answered for a task that is not there, lapsed, or another's."""
    return CallToolResult(content=[TextContent(type="text", text="There is no such task.")], is_error=True)
