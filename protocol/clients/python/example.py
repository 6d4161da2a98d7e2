"""An MCP server whose work goes on where it was when the server is killed.

    pip install "mcp-session-store[mcp]"
    python example.py --database example.db --port 8000

Its tool counts primes, block by block, which takes a while. Kill it in the middle, as hard as you like, and start it
again: the client's session is still there, the count goes on behind the last block, and the client, once it connects
again, gets the progress that it missed and the answer, each message once.

What makes it so: a task in the store says how far the count is, and the step that moves it on also stores the progress
message, in one transaction. Nothing is ever counted and not told, or told and not counted.

Clients of MCP 2026-07-28 have no sessions. For those that know tasks the call becomes one; the rest is the extension's.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import CallToolResult, TextContent

from mcp_session_store import Restart, Store, StoreError
from mcp_session_store.contract import Task
from mcp_session_store.mcp_sessions import served_session, streamable_http_app
from mcp_session_store.mcp_task_extension import TaskExtension, current_task

#: numbers that are looked through in one step
BLOCK = 50_000

parser = argparse.ArgumentParser(description="An MCP server that survives being killed.")
parser.add_argument("--database", default="example.db")
parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
arguments = parser.parse_args()

store = Store(arguments.database, restart=Restart())
counts: dict[str, asyncio.Task[CallToolResult]] = {}


@asynccontextmanager
async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
    """Takes up what a server before this one began. (There is one server on this database.)"""
    cursor = None
    while True:
        page = await store.list_tasks(status="working", cursor=cursor)
        for task in page["tasks"]:
            if task["session_id"] is not None:  # the others are the extension's, which tells their clients
                begin(task)
        cursor = page["next_cursor"]
        if cursor is None:
            break
    yield


mcp = MCPServer("primes", lifespan=lifespan, extensions=[TaskExtension(store)])


@mcp.tool()
async def count_primes(below: int, ctx: Context[None]) -> CallToolResult:
    """Counts the primes below a number."""
    session = served_session()
    if session is None:
        return await count_for_a_task(below)
    meta: Any = ctx.request_context.meta or {}
    task = await store.create_task(
        session_id=session["session_id"], original_method="tools/call", original_params={"below": below},
        meta={"request": ctx.request_context.request_id, "progress_token": meta.get("progress_token"),
              "done": 0, "primes": 0})
    work = begin(task)
    # The client connects again, and from then on is served by the store, as it is after a restart.
    await ctx.close_sse_stream()
    # The work has stored its answer, which ended the client's stream; this one ends the request for the SDK.
    return await asyncio.shield(work)


def begin(task: Task) -> asyncio.Task[CallToolResult]:
    work = asyncio.ensure_future(count(task))
    counts[task["task_id"]] = work
    work.add_done_callback(lambda _: counts.pop(task["task_id"]))
    return work


async def count(task: Task) -> CallToolResult:
    """Counts from where the task says, to the end."""
    below: int = task["original_params"]["below"]
    state: dict[str, Any] = task["meta"]
    try:
        while state["done"] < below:
            end = min(state["done"] + BLOCK, below)
            found = await asyncio.to_thread(primes_between, state["done"], end)
            state = {**state, "done": end, "primes": state["primes"] + found}
            progress = {"progressToken": state["progress_token"], "progress": end, "total": below}
            calls = [call("update_task", task={"task_id": task["task_id"], "meta": state})]
            if state["progress_token"] is not None:
                calls.append(message(task, {"method": "notifications/progress", "params": progress}))
            await store.transaction(calls)
        result = answer(below, state["primes"])
        told = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        await store.transaction([
            call("complete_task", task_id=task["task_id"], result=told),
            message(task, {"id": state["request"], "result": told}),
        ])
        return result
    except StoreError as error:  # the session is gone, for one
        logging.getLogger(__name__).error("The count %s stops: %s", task["task_id"], error)
        raise


async def count_for_a_task(below: int) -> CallToolResult:
    """The same without a session: a task, where the client knows them, tells how far it is."""
    task, primes = await current_task(), 0
    for start in range(0, below, BLOCK):
        end = min(start + BLOCK, below)
        primes += await asyncio.to_thread(primes_between, start, end)
        if task is not None:
            await task.status(f"{primes} primes below {end}")
    return answer(below, primes)


def answer(below: int, primes: int) -> CallToolResult:
    text = f"There are {primes} primes below {below}."
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content={"primes": primes})


def message(task: Task, content: dict[str, Any]) -> Any:
    """Stores a message on the stream of the request, which the SDK names after the request's id."""
    stream_id = str(task["meta"]["request"])
    return call("store_event", session_id=task["session_id"], stream_id=stream_id, data={"jsonrpc": "2.0", **content})


def call(method: str, **params: Any) -> Any:
    return {"method": method, "params": params}


def primes_between(start: int, end: int) -> int:
    """How many primes there are from `start` up to, and without, `end`."""
    sieve = bytearray([1]) * (end - start)
    for number in range(min(2 - start, end - start)):
        sieve[number] = 0
    for factor in range(2, int(end ** 0.5) + 1):
        first = max(factor * factor, -(-start // factor) * factor) - start
        sieve[first::factor] = bytes(len(range(first, end - start, factor)))
    return sum(sieve)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", arguments.port))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp (process {os.getpid()})", flush=True)
    # Clients without sessions are served by tasks, so no hint is due.
    app = streamable_http_app(mcp, store, fail_interrupted=False, hint=False, retry_interval=100)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listener])


if __name__ == "__main__":
    main()
