"""Items of work are done by one worker at a time, and by another when that one is gone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from engine import Place

from mcp_session_store import BlockingStore, Store
from mcp_session_store.work_loop import Lease, LeaseLost, WorkLoop

WAIT = 30


def run(work: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            await work(stack)

    asyncio.run(asyncio.wait_for(main(), WAIT * 2))


async def put(store: Store, count: int, **options: Any) -> None:
    await asyncio.gather(*(store.call("enqueue_work", {
        "queue": "q", "work_id": str(number), "payload": number, **options}) for number in range(count)))


async def statuses(store: Store) -> Counter[str]:
    found: Counter[str] = Counter()
    cursor = None
    while True:
        page = await store.call("list_work", {
            "queue": "q", "limit": 1_000, **({} if cursor is None else {"cursor": cursor})})
        found.update(item["status"] for item in page["work"])
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def until(store: Store, **counts: int) -> None:
    async with asyncio.timeout(WAIT):
        while await statuses(store) != Counter(counts):
            await asyncio.sleep(0.01)


@pytest.mark.both_engines
def test_workers_share_a_queue_and_do_each_item_once(binary: Path, place: Place) -> None:
    async def work(stack: AsyncExitStack) -> None:
        database = place("queue")
        stores = [await stack.enter_async_context(Store(database, binary=binary)) for _ in range(3)]
        done: Counter[int] = Counter()
        at_once = [0, 0]

        async def do(lease: Lease) -> None:
            at_once[0] += 1
            at_once[1] = max(at_once)
            await asyncio.sleep(0.002)
            done[lease.payload] += 1
            at_once[0] -= 1

        await put(stores[0], 20)
        for store in stores:
            await stack.enter_async_context(WorkLoop(store, "q", do, concurrency=2))
        await until(stores[0], done=20)
        await asyncio.gather(*(stores[0].call("enqueue_work", {
            "queue": "q", "work_id": f"later {number}", "payload": 20 + number}) for number in range(30)))
        await until(stores[0], done=50)
        assert done == Counter(range(50)) and at_once[1] <= 6

    run(work)


def test_what_raises_is_repeated_and_what_is_settled_stays(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        attempts: Counter[str] = Counter()

        async def do(lease: Lease) -> None:
            attempts[lease.work_id] += 1
            assert lease.attempt == attempts[lease.work_id]
            if lease.payload == 0 and lease.attempt < 3:
                raise RuntimeError("not yet")
            if lease.payload == 1:
                await lease.settle("dead", error="hopeless")
            if lease.payload == 2 and not attempts["released"]:
                await lease.settle("release", delay=1)
                attempts["2"] -= 1  # it has its attempt back
                attempts["released"] += 1
                return
            if lease.payload == 3:
                results = await lease.transact("done", {
                    "method": "put_value", "params": {"collection": "c", "key": "k", "value": 3}})
                assert results[0]["status"] == "done" and results[1]["stored"]

        await put(store, 4)
        async with WorkLoop(store, "q", do, back_off=lambda attempt: 10):
            async with asyncio.timeout(WAIT):
                while await statuses(store) != Counter(done=3, dead=1):
                    await asyncio.sleep(0.01)
        assert attempts["0"] == 3 and attempts["1"] == 1
        assert (await store.get_value("c", key="k"))["value"] == 3
        assert (await store.call("list_work", {"queue": "q", "status": "dead"}))["work"][0]["error"] == "hopeless"

    run(work)


def test_who_has_lost_a_lease_writes_nothing(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        await put(store, 1)
        item = (await store.call("claim_work", {"queue": "q", "lease": 1}))["work"][0]
        await asyncio.sleep(0.01)
        mine = Lease(store, item, 1_000)
        assert await mine.renew()  # nobody has taken it over
        mine = Lease(store, item, 1)
        assert await mine.renew()
        await asyncio.sleep(0.01)
        other = Lease(store, (await store.call("claim_work", {"queue": "q"}))["work"][0], 60_000)
        assert other.attempt == 2 and other.fence > mine.fence
        value: dict[str, Any] = {"method": "put_value", "params": {"collection": "c", "key": "k", "value": 1}}
        for outcome in ("done", "retry", "dead", "release", None):
            with pytest.raises(LeaseLost, match="no longer held"):
                await mine.transact(outcome, value)  # type: ignore[arg-type]
        assert mine.lost and mine.outcome is None and not await mine.renew()
        assert not (await store.get_value("c", key="k"))["exists"]
        assert (await other.settle("done"))["status"] == "done"
        with pytest.raises(LeaseLost):  # what is guarded happens once
            await other.transact("done", value)

    run(work)


def test_work_is_cancelled_when_its_lease_is_lost_and_held_while_it_lasts(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        began, cancelled = asyncio.Event(), asyncio.Event()

        async def do(lease: Lease) -> None:
            began.set()
            try:
                await asyncio.sleep(WAIT if lease.payload == 0 else 0.6)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        async with WorkLoop(store, "q", do, lease=150):
            await put(store, 1)
            await began.wait()
            await store.call("cancel_work", {"queue": "q", "work_id": "0"})
            async with asyncio.timeout(WAIT):
                await cancelled.wait()
            await store.call("enqueue_work", {"queue": "q", "work_id": "long", "payload": 1})
            await until(store, done=1)
        item = (await store.call("list_work", {"queue": "q"}))["work"][0]
        assert item["attempt"] == 1  # four leases long, and held

    run(work)


def test_stopping_hands_back_what_is_not_done(binary: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(":memory:", binary=binary))
        began = asyncio.Event()

        async def do(lease: Lease) -> None:
            began.set()
            await asyncio.sleep(WAIT)

        await put(store, 1)
        loop = WorkLoop(store, "q", do)
        loop.start()
        await began.wait()
        await loop.stop(patience=0.01)
        item = (await store.call("list_work", {"queue": "q"}))["work"][0]
        assert item["status"] == "waiting" and item["attempt"] == 0

    run(work)


def test_it_goes_on_when_the_process_is_killed_and_ends_with_the_store(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = Store(database, binary=binary)
        other = await stack.enter_async_context(Store(database, binary=binary))
        done: set[int] = set()

        async def do(lease: Lease) -> None:
            done.add(lease.payload)

        loop = WorkLoop(store, "q", do, lease=300)
        running = asyncio.ensure_future(loop.run())
        await put(other, 5)
        await until(other, done=5)
        assert store.pid is not None
        os.kill(store.pid, signal.SIGKILL)
        await asyncio.gather(*(other.call("enqueue_work", {
            "queue": "q", "work_id": f"later {number}", "payload": 5 + number}) for number in range(5)))
        await until(other, done=10)
        assert done == set(range(10))
        await store.close()
        for _ in range(100):  # turns of the event loop, and not the half minute after which it looks again
            await asyncio.sleep(0)
        assert running.done()
        await running

    run(work)


def test_a_program_that_has_no_work_says_so(impostor: Callable[[str], Path]) -> None:
    async def work(stack: AsyncExitStack) -> None:
        from mcp_session_store import RequestError

        store = await stack.enter_async_context(Store(":memory:", binary=impostor('''
for request in requests:
    error = {"code": -32601, "message": "no such method", "data": {"kind": "method_not_found", "retryable": False}}
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}), flush=True)
''')))

        async def do(lease: Lease) -> None:
            raise AssertionError

        with pytest.raises(RequestError, match="no such method"):
            await WorkLoop(store, "q", do).run()

    run(work)


def test_a_subscription_to_work_tells_when_some_is_due(binary: Path, database: Path) -> None:
    async def work(stack: AsyncExitStack) -> None:
        store = await stack.enter_async_context(Store(database, binary=binary))
        other = await stack.enter_async_context(Store(database, binary=binary))
        beats: list[int] = []
        async with await store.subscribe_work("q", heartbeat=20, on_heartbeat=beats.append) as due:
            assert await anext(due) == "q"  # as it was opened
            assert due.next_due is None
            await put(other, 1)
            async with asyncio.timeout(WAIT):
                assert await anext(due) == "q"
            assert len((await store.call("claim_work", {"queue": "q"}))["work"]) == 1
            assert store.pid is not None
            os.kill(store.pid, signal.SIGKILL)
            async with asyncio.timeout(WAIT):
                assert await anext(due) == "q"  # whatever came while nobody told
                while not beats:
                    await asyncio.sleep(0.01)
            await due.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(due)
        assert due.ended == "closed" and beats

    run(work)


def test_the_same_without_an_event_loop(binary: Path, database: Path) -> None:
    with BlockingStore(database, binary=binary) as store:
        with store.subscribe_work("q") as due:
            assert next(due) == "q"
