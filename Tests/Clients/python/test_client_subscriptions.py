"""Subscriptions: in order, none twice, none missing, whatever happens to reader and process."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from mcp_session_store import ChildError, EventSubscription, Restart, Store, TaskChange
from mcp_session_store.contract import SessionNotFound

#: seconds after which a wait has failed
PATIENCE = 60.0


async def take(events: EventSubscription, count: int) -> list[int]:
    return [(await asyncio.wait_for(events.__anext__(), PATIENCE))["id"] for _ in range(count)]


async def opened(store: Store, session_id: str = "s") -> None:
    await store.create_session(session_id=session_id, status="active")


def test_backlog_then_live(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            await opened(store)
            await store.store_events("s", events=[{"data": n, "stream_id": "ab"[n % 2]} for n in range(10)])
            async with await store.subscribe_events("s", after_event_id=3) as all_of_them:
                async with await store.subscribe_events("s", after_event_id=0, stream_id="b") as one_stream:
                    async with await store.subscribe_events("s") as from_now:
                        await store.store_event("s", data="live", stream_id="b")
                        assert await take(all_of_them, 8) == list(range(4, 12))
                        assert await take(one_stream, 6) == [2, 4, 6, 8, 10, 11]
                        assert await take(from_now, 1) == [11]

    asyncio.run(main())


def test_what_another_process_stores_is_told(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store, Store(database, binary=binary) as other:
            await opened(store)
            async with await store.subscribe_events("s") as events:
                await other.store_event("s", data=1)
                assert await take(events, 1) == [1]

    asyncio.run(main())


def test_a_slow_reader_misses_nothing_and_holds_little(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            await opened(store)
            async with await store.subscribe_events("s", after_event_id=0) as events:
                for start in range(0, 9_000, 1_000):
                    await store.store_events("s", events=[{"data": start + n} for n in range(1_000)])
                    await store.health()  # what was told before its answer has arrived
                    assert events.queued <= 1_000
                assert await take(events, 9_000) == list(range(1, 9_001))
                assert events.lost == 0
                await store.store_event("s", data="live again")
                assert await take(events, 1) == [9_001]

    asyncio.run(main())


def test_what_was_evicted_first_is_counted(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary, options={"max_events_per_session": 100}) as store:
            await opened(store)
            await store.store_events("s", events=[{"data": n} for n in range(250)])
            async with await store.subscribe_events("s", after_event_id=10) as events:
                assert events.lost == 0, "it is told in its place"
                assert await take(events, 100) == list(range(151, 251))
                assert events.lost == 140

    asyncio.run(main())


@pytest.mark.parametrize(("how", "reason"), [("delete_session", "deleted"), ("expire_session", "expired"),
                                             ("invalidate_session", "invalidated")])
def test_the_end_of_the_session_ends_the_loop(how: str, reason: str, binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            await opened(store)
            async with await store.subscribe_events("s") as events:
                await store.store_event("s", data=1)
                waiting = asyncio.ensure_future(collect(events))
                await asyncio.sleep(0.05)
                await getattr(store, how)("s")
                assert await asyncio.wait_for(waiting, PATIENCE) == [1]
                assert events.ended == reason

    asyncio.run(main())


async def collect(events: EventSubscription) -> list[int]:
    return [event["id"] async for event in events]


def test_a_closed_subscription_ends_its_reader_and_is_gone(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary, options={"max_subscriptions": 1}) as store:
            await opened(store)
            for _ in range(3):
                events = await store.subscribe_events("s")
                waiting = asyncio.ensure_future(collect(events))
                await asyncio.sleep(0)
                await events.aclose()
                assert await asyncio.wait_for(waiting, PATIENCE) == []
                await events.aclose()

    asyncio.run(main())


def test_what_cannot_be_subscribed_says_so(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            with pytest.raises(SessionNotFound):
                await store.subscribe_events("nobody")
            await store.create_session(session_id="s", status="active", principal="alice")
            with pytest.raises(SessionNotFound):
                await store.subscribe_events("s", principal="bob")

    asyncio.run(main())


def test_subscriptions_go_on_in_the_next_process(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary, restart=Restart(attempts=50, max_delay=0.01)) as store:
            await opened(store)
            async with await store.subscribe_events("s", after_event_id=0) as events:
                stored = 0
                for _ in range(10):
                    for _ in range(5):
                        await store.store_event("s", data=stored)
                        stored += 1
                    pid = (await store.server_info())["pid"]
                    os.kill(pid, signal.SIGKILL)
                    while (await store.server_info())["pid"] == pid:
                        pass
                await store.store_event("s", data="last")
                assert await take(events, stored + 1) == list(range(1, stored + 2))
                assert events.lost == 0

    asyncio.run(main())


def test_without_a_restart_the_reader_is_told(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary, restart=None) as store:
            await opened(store)
            async with await store.subscribe_events("s") as events:
                await store.store_event("s", data=1)
                await store.health()
                os.kill(store.info["pid"], signal.SIGKILL)
                assert await take(events, 1) == [1]
                with pytest.raises(ChildError):
                    await asyncio.wait_for(events.__anext__(), PATIENCE)

    asyncio.run(main())


def test_a_task_is_told_as_it_is_and_as_it_becomes(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary) as store:
            await store.create_task(task_id="t")
            async with await store.subscribe_tasks(task_id="t") as changes:
                seen = [await asyncio.wait_for(changes.__anext__(), PATIENCE)]
                await store.complete_task("t", result={"answer": 42})
                seen.append(await asyncio.wait_for(changes.__anext__(), PATIENCE))
                assert [change.task["status"] for change in seen if change.task] == ["working", "completed"]
                await store.delete_task("t")
                with pytest.raises(StopAsyncIteration):
                    await asyncio.wait_for(changes.__anext__(), PATIENCE)
                assert changes.ended == "deleted"

    asyncio.run(main())


def test_a_slow_reader_gets_the_newest_of_each_task(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with Store(database, binary=binary, restart=Restart()) as store:
            await opened(store)
            async with await store.subscribe_tasks(session_id="s") as changes:
                for task_id in ("a", "b"):
                    await store.create_task(task_id=task_id, session_id="s")
                for number in range(100):
                    await store.touch_task("a", status_message=str(number))
                await store.delete_task("b")
                os.kill(store.info["pid"], signal.SIGKILL)
                await store.health()
                await store.touch_task("a", status_message="after the restart")
                newest: dict[str, TaskChange] = {}
                count = 0
                while not (newest.get("a") and newest["a"].task
                           and newest["a"].task["status_message"] == "after the restart"
                           and newest.get("b") == TaskChange("b", None, "deleted")):
                    change = await asyncio.wait_for(changes.__anext__(), PATIENCE)
                    newest[change.task_id] = change
                    count += 1
                assert count < 10

    asyncio.run(main())


def test_frames_and_signs_of_life_come_over_a_killed_process(binary: Path, database: Path) -> None:
    async def main() -> None:
        beats: list[int] = []
        greetings = []
        async with Store(database, binary=binary, restart=Restart(delay=0.01)) as store:
            await store.create_session(session_id="s", status="active", principal="alice")
            await store.store_event("s", data={"n": 1})
            async with await store.subscribe_events(
                "s", after_event_id=0, format="sse", heartbeat=20, init=True, on_init=greetings.append,
                on_heartbeat=beats.append,
            ) as frames:
                seen = ""
                process = (await store.server_info())["pid"]
                while len(beats) < 3 or ": keepalive\n\n" not in seen:
                    seen += await asyncio.wait_for(frames.__anext__(), PATIENCE)
                assert seen.startswith("event: init\ndata: {") and "id: 1\nevent: message\ndata: {\"n\":1}\n\n" in seen
                os.kill(process, signal.SIGKILL)
                told = len(beats)
                while len(greetings) < 2 or len(beats) < told + 2:
                    seen += await asyncio.wait_for(frames.__anext__(), PATIENCE)
                assert [greeting.principal for greeting in greetings] == ["alice", "alice"]
                await store.delete_session("s")
                async for frame in frames:
                    seen += frame
                assert seen.endswith('event: ended\ndata: {"reason":"deleted"}\n\n')
                assert seen.count("id: 1\n") == 1 and seen.count("event: init") == 2

    asyncio.run(main())
