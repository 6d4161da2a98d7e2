"""Tasks of version 1 of the SDK: the interfaces, and the real flow over a restart of the server."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

import mcp.types as types
import pytest
from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.experimental.tasks.message_queue import QueuedMessage
from mcp.shared.experimental.tasks.resolver import Resolver
from server_process import WAIT, Door, ServerProcess, running

from mcp_session_store import Store
from mcp_session_store.contract import QueueFull
from mcp_session_store.mcp_tasks import TaskMessageQueue, TaskStore
from mcp_session_store.task_worker import TaskQueue, TaskWork, TaskWorker

pytestmark = pytest.mark.filterwarnings("ignore:The experimental tasks API")
NOW = datetime.now(timezone.utc)
SERVER = Path(__file__).parent / "tasks_server.py"


def result(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


def request(number: int, resolver: Resolver[dict[str, Any]] | None = None) -> QueuedMessage:
    message = types.JSONRPCRequest(jsonrpc="2.0", id=number, method="elicitation/create", params={"n": number})
    return QueuedMessage(type="request", message=message, resolver=resolver, original_request_id=number, timestamp=NOW)


async def soon(work: Any) -> Any:
    return await asyncio.wait_for(work, WAIT)


async def waiting(store: Store, count: int) -> None:
    """Waits until so many wait."""
    async with asyncio.timeout(WAIT):
        while (await store.get_metrics())["subscriptions"] != count:
            await asyncio.sleep(0.01)


def test_a_task_lives_as_the_interface_says(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            tasks = TaskStore(store)
            task = await tasks.create_task(types.TaskMetadata(ttl=60_000), "mine")
            assert (task.taskId, task.status, task.ttl, task.pollInterval) == ("mine", "working", 60_000, 500)
            assert task.createdAt == task.lastUpdatedAt and task.createdAt.tzinfo is not None
            with pytest.raises(ValueError, match="mine"):
                await tasks.create_task(types.TaskMetadata(), "mine")
            assert (await tasks.create_task(types.TaskMetadata())).ttl is None
            assert await tasks.get_task("mine") == task
            assert await tasks.get_task("nobody") is None and await tasks.get_result("nobody") is None
            updated = await tasks.update_task("mine", status_message="half")
            assert (updated.status, updated.statusMessage) == ("working", "half")
            assert (await tasks.update_task("mine", status="working")).statusMessage == "half"
            assert (await tasks.update_task("mine", status="input_required")).statusMessage == "half"
            assert (await tasks.update_task("mine", "working", "on")).statusMessage == "on"
            assert await tasks.get_result("mine") is None
            await tasks.store_result("mine", result("done"))
            assert (await tasks.update_task("mine", status="completed")).status == "completed"
            found = await tasks.get_result("mine")
            assert found is not None
            assert types.CallToolResult.model_validate(found.model_dump(by_alias=True)) == result("done")
            for status in ("working", "failed", "cancelled"):
                with pytest.raises(ValueError):
                    await tasks.update_task("mine", status=status)  # type: ignore[arg-type]
            for missing in (tasks.update_task("nobody", "failed"), tasks.store_result("nobody", result("x"))):
                with pytest.raises(ValueError):
                    await missing
            assert await tasks.delete_task("mine") and not await tasks.delete_task("mine")

    asyncio.run(run())


def test_lists_have_pages(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            tasks = TaskStore(store)
            for number in range(60):
                await tasks.create_task(types.TaskMetadata(), f"task-{number}")
            first, cursor = await tasks.list_tasks()
            assert cursor is not None
            second, end = await tasks.list_tasks(cursor)
            assert [task.taskId for task in first + second] == [f"task-{number}" for number in range(60)]
            assert end is None
            with pytest.raises(ValueError):
                await tasks.list_tasks("no cursor")

    asyncio.run(run())


def test_an_error_is_told_as_the_error_that_it_was(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            await store.create_task(task_id="mine")
            await store.fail_task("mine", error={"code": -32000, "message": "no luck", "data": [1]})
            with pytest.raises(McpError) as raised:
                await TaskStore(store).get_result("mine")
            assert raised.value.error == types.ErrorData(code=-32000, message="no luck", data=[1])

    asyncio.run(run())


def test_who_waits_is_told_by_whoever_changes_it(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store, Store(database, binary=binary) as elsewhere:
            tasks = TaskStore(store)
            await tasks.create_task(types.TaskMetadata(), "mine")
            for change in (
                lambda: TaskStore(elsewhere).update_task("mine", status="input_required"),
                lambda: tasks.update_task("mine", status="working"),
                lambda: tasks.notify_update("mine"),
                lambda: store.cancel_task("mine"),
            ):
                waits = [asyncio.ensure_future(tasks.wait_for_update("mine")) for _ in range(3)]
                await waiting(store, 3)
                await tasks.update_task("mine", status_message="no change of the status")
                assert not any(wait.done() for wait in waits)
                await change()  # type: ignore[no-untyped-call]
                await soon(asyncio.gather(*waits))
                await waiting(store, 0)
            await soon(tasks.wait_for_update("mine"))  # it is over
            with pytest.raises(ValueError):
                await tasks.wait_for_update("nobody")
            await tasks.create_task(types.TaskMetadata(), "other")
            wait = asyncio.ensure_future(tasks.wait_for_update("other"))
            await waiting(store, 1)
            await tasks.delete_task("other")
            await soon(wait)
            await tasks.create_task(types.TaskMetadata(), "third")
            wait = asyncio.ensure_future(tasks.wait_for_update("third"))
            await waiting(store, 1)
            wait.cancel()
            await waiting(store, 0)

    asyncio.run(run())


def test_a_queue_keeps_its_order_and_its_messages(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store, Store(database, binary=binary) as elsewhere:
            queue, other = TaskMessageQueue(store), TaskMessageQueue(elsewhere)
            await store.create_task(task_id="mine")
            assert await queue.is_empty("mine") and await queue.peek("mine") is None
            assert await queue.dequeue("mine") is None and await queue.clear("mine") == []
            assert await queue.dequeue("nobody") is None and await queue.is_empty("nobody")
            resolver: Resolver[dict[str, Any]] = Resolver()
            sent = [request(1, resolver), request(2), request(3), request(4)]
            for message in sent:
                await queue.enqueue("mine", message)
            assert not await queue.is_empty("mine")
            assert await queue.peek("mine") == sent[0] and await queue.peek("mine") == sent[0]
            taken = await queue.dequeue("mine")
            assert taken == sent[0] and taken is not None and taken.resolver is resolver
            assert await other.dequeue("mine") == sent[1]
            assert await queue.clear("mine") == sent[2:]
            notification = QueuedMessage(
                type="notification", message=types.JSONRPCNotification(jsonrpc="2.0", method="notifications/x"))
            await other.enqueue("mine", notification)
            assert await queue.dequeue("mine") == notification
            await store.cancel_task("mine")
            await queue.enqueue("mine", request(5))  # the last words of a task that is over
            assert await queue.dequeue("mine") == request(5)

    asyncio.run(run())


def test_a_queue_loses_nothing_to_those_who_stop_waiting(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store, Store(database, binary=binary) as elsewhere:
            queue, other = TaskMessageQueue(store), TaskMessageQueue(elsewhere)
            await store.create_task(task_id="mine")
            numbers: list[Any] = []

            async def drain() -> None:
                while (message := await queue.dequeue("mine")) is not None:
                    numbers.append(message.original_request_id)

            for number in range(50):
                if number % 2:
                    await drain()
                wait = asyncio.ensure_future(queue.wait_for_message("mine"))
                if number % 2:
                    await waiting(store, 1)
                await (other if number % 3 else queue).enqueue("mine", request(number))
                if number % 5:
                    wait.cancel()
                    await asyncio.wait([wait])
                else:
                    await soon(wait)
            await drain()
            assert numbers == list(range(50))

    asyncio.run(run())


def test_looking_at_a_queue_takes_nothing_away(binary: Path, database: Path) -> None:
    async def before() -> None:
        async with Store(database, binary=binary) as store, Store(database, binary=binary) as elsewhere:
            await store.create_task(task_id="mine")
            if await TaskMessageQueue(store)._look("mine", 0) is None:
                pytest.skip("the program cannot show a queue")
            queue, other = TaskMessageQueue(store), TaskMessageQueue(elsewhere)
            for number in range(3):
                await queue.enqueue("mine", notification(number))
            await queue.wait_for_message("mine")
            assert not await queue.is_empty("mine") and await queue.peek("mine") == await other.peek("mine")
            assert [message.message.params["data"] for message in await other.clear("mine")] == [0, 1, 2]
            assert await queue.is_empty("mine") and await queue.dequeue("mine") is None
            await queue.enqueue("mine", notification(4))
            await queue.wait_for_message("mine")
            assert await queue.peek("mine") is not None

    async def after() -> None:
        async with Store(database, binary=binary) as store:
            message = await TaskMessageQueue(store).dequeue("mine")
            assert message is not None and message.message.params["data"] == 4

    asyncio.run(before())
    asyncio.run(after())


def notification(number: int) -> QueuedMessage:
    message = types.JSONRPCNotification(
        jsonrpc="2.0", method="notifications/message", params={"level": "info", "data": number})
    return QueuedMessage(type="notification", message=message, timestamp=NOW)


def test_an_answer_to_who_waits_is_found_by_whoever_looked_before(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            await store.create_task(task_id="mine")
            queue, resolver = TaskMessageQueue(store), Resolver[dict[str, Any]]()
            request = types.JSONRPCRequest(jsonrpc="2.0", id=1, method="ping")
            await queue.enqueue("mine", QueuedMessage(
                type="request", message=request, timestamp=NOW, resolver=resolver, original_request_id=1))
            looked = await queue.peek("mine")
            taken = await queue.dequeue("mine")
            assert looked is not None and taken is not None and looked.resolver is taken.resolver is resolver
            assert not queue._resolvers, "none is kept for longer than its message"

    asyncio.run(run())


def test_tasks_work_where_owners_are_required(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary, options={"require_owner": True}) as store:
            tasks, queue = TaskStore(store), TaskMessageQueue(store)
            task = await tasks.create_task(types.TaskMetadata())
            await queue.enqueue(task.taskId, notification(1))
            assert await queue.peek(task.taskId) is not None and await queue.dequeue(task.taskId) is not None
            waiting = asyncio.ensure_future(tasks.wait_for_update(task.taskId))
            await asyncio.sleep(0)
            await tasks.update_task(task.taskId, "completed")
            await asyncio.wait_for(waiting, WAIT)
            assert (await tasks.list_tasks())[0][0].taskId == task.taskId
            assert await tasks.delete_task(task.taskId)

    asyncio.run(run())


def test_a_tools_own_error_is_a_failure_in_this_era(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary) as store:
            await store.create_task(task_id="mine")
            await store.complete_task("mine", result={"content": [], "isError": True})  # as 2026-07-28 has it
            task, found = await TaskStore(store).get_task("mine"), await TaskStore(store).get_result("mine")
            assert task is not None and task.status == "failed"
            assert found is not None and found.model_dump()["isError"] is True

    asyncio.run(run())


def test_a_full_queue_takes_no_more(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary, options={"max_task_messages": 2}) as store:
            queue = TaskMessageQueue(store)
            await store.create_task(task_id="mine")
            for number in range(2):
                await queue.enqueue("mine", request(number))
            with pytest.raises(QueueFull):
                await queue.enqueue("mine", request(2))
            assert len(await queue.clear("mine")) == 2

    asyncio.run(run())


def test_owners_are_kept_apart(binary: Path, database: Path) -> None:
    async def run() -> None:
        async with Store(database, binary=binary, options={"require_owner": True}) as store:
            alice, bob = TaskStore(store, principal="alice"), TaskStore(store, principal="bob")
            await alice.create_task(types.TaskMetadata(), "hers")
            queue = TaskMessageQueue(store, principal="alice")
            await queue.enqueue("hers", request(1))
            assert await bob.get_task("hers") is None and (await bob.list_tasks())[0] == []
            assert await TaskMessageQueue(store, principal="bob").dequeue("hers") is None
            with pytest.raises(ValueError):
                await bob.wait_for_update("hers")
            assert await queue.dequeue("hers") == request(1)

    asyncio.run(run())


def test_tasks_and_results_outlive_the_server(binary: Path, database: Path, tmp_path: Path) -> None:
    gates = tmp_path / "gates"
    gates.mkdir()
    setup = {"binary": str(binary), "database": str(database), "gates": str(gates)}

    async def answer(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"said": params.message})

    async def run(lives: ExitStack) -> None:
        async def start() -> ServerProcess:
            return await asyncio.to_thread(lives.enter_context, running(setup, SERVER))

        server = await start()
        async with Door() as door:
            door.lead_to(server.port)
            url = door.url + "/"
            async with streamable_http_client(url) as streams, streamable_http_client(url) as others, ClientSession(
                streams[0], streams[1], elicitation_callback=answer
            ) as client, ClientSession(others[0], others[1]) as stranger:
                await client.initialize()
                await stranger.initialize()
                asked = await client.experimental.call_tool_as_task("work", {"ask": "Well?"})
                got = await client.experimental.get_task_result(asked.task.taskId, types.CallToolResult)
                assert got.content[0].text == '{"said": "Well?"}'  # type: ignore[union-attr]
                done = await client.experimental.call_tool_as_task("work", {})
                async for status in client.experimental.poll_task(done.task.taskId):
                    assert status.status in ("working", "completed")
                dying = await client.experimental.call_tool_as_task("work", {"gate": "never"})
                ids = [created.task.taskId for created in (asked, done, dying)]

                door.cut()
                server.kill()
                server = await start()
                door.lead_to(server.port)

                got = await client.experimental.get_task_result(done.task.taskId, types.CallToolResult)
                assert got.content[0].text == "done"  # type: ignore[union-attr]
                assert [task.taskId for task in (await client.experimental.list_tasks()).tasks] == ids
                assert (await client.experimental.get_task(dying.task.taskId)).status == "working"
                assert (await stranger.experimental.list_tasks()).tasks == []
                for task_id in ids:
                    with pytest.raises(McpError, match="not found"):
                        await stranger.experimental.get_task(task_id)
                waiting = asyncio.ensure_future(
                    client.experimental.get_task_result(dying.task.taskId, types.CallToolResult))
                async with Store(database, binary=binary) as store:  # somebody takes the work up again
                    await store.complete_task(
                        dying.task.taskId, result=result("after all").model_dump(mode="json", exclude_none=True))
                    assert (await waiting).content[0].text == "after all"  # type: ignore[union-attr]
                again = await client.experimental.call_tool_as_task("work", {})
                got = await client.experimental.get_task_result(again.task.taskId, types.CallToolResult)
                assert got.content[0].text == "done"  # type: ignore[union-attr]

    with ExitStack() as lives:
        asyncio.run(asyncio.wait_for(run(lives), 4 * WAIT))


def test_a_worker_elsewhere_does_the_tasks_of_a_server_that_is_killed(binary: Path, database: Path) -> None:
    setup = {"binary": str(binary), "database": str(database), "gates": ""}

    async def work(work: TaskWork) -> Any:
        if work.arguments["queued"] == "fails":
            return {"content": [{"type": "text", "text": "no paper"}], "isError": True}
        if work.arguments["queued"] == "waits":
            await asyncio.sleep(WAIT)
        return f"{work.arguments['queued']}, attempt {work.attempt}"

    async def run(lives: ExitStack) -> None:
        async def start() -> ServerProcess:
            return await asyncio.to_thread(lives.enter_context, running(setup, SERVER))

        server = await start()
        async with Door() as door, Store(database, binary=binary) as store:
            door.lead_to(server.port)
            url = door.url + "/"
            async with streamable_http_client(url) as streams, streamable_http_client(url) as others, ClientSession(
                streams[0], streams[1]
            ) as client, ClientSession(others[0], others[1]) as stranger:
                await client.initialize()
                await stranger.initialize()
                made = [(await client.experimental.call_tool_as_task("work", {"queued": how})).task
                        for how in ("first", "fails", "waits")]
                assert [task.status for task in made] == ["working"] * 3 and made[0].ttl is not None
                door.cut()
                server.kill()
                server = await start()
                door.lead_to(server.port)
                async with TaskWorker(TaskQueue(store), {"work": work}):
                    got = await client.experimental.get_task_result(made[0].taskId, types.CallToolResult)
                    assert got.content[0].text == "first, attempt 1"  # type: ignore[union-attr]
                    with pytest.raises(McpError, match="not found"):
                        await stranger.experimental.get_task(made[0].taskId)
                    async with asyncio.timeout(WAIT):
                        while (await client.experimental.get_task(made[1].taskId)).status == "working":
                            await asyncio.sleep(0.01)
                    assert (await client.experimental.get_task(made[1].taskId)).status == "failed"
                    got = await client.experimental.get_task_result(made[1].taskId, types.CallToolResult)
                    assert got.isError and got.content[0].text == "no paper"  # type: ignore[union-attr]
                    assert (await client.experimental.cancel_task(made[2].taskId)).status == "cancelled"
                    async with asyncio.timeout(WAIT):
                        while (await store.call("list_work", {"queue": "mcp-tasks", "status": "leased"}))["work"]:
                            await asyncio.sleep(0.01)

    with ExitStack() as lives:
        asyncio.run(asyncio.wait_for(run(lives), 4 * WAIT))
