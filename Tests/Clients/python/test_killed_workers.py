"""Senders and workers that are killed with SIGKILL, anywhere: nothing is lost, and nothing has two outcomes.

    python test_killed_workers.py 1000     the long form: so many tasks, and a kill each second
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3] / "protocol/clients/python"))

import pytest
from event_process import KIND, LEASE
from receiver import SECRET, Receiver

import mcp_session_store
from mcp_session_store.event_source import EventSource
from mcp_session_store.task_worker import TaskQueue
from mcp_session_store.webhook_post import WebhookPost
from mcp_session_store.webhook_sender import WebhookSender
from mcp_session_store.webhook_subscriptions import WebhookSubscriptions

if TYPE_CHECKING:
    from engine import Place

SCRIPT = Path(__file__).parent / "event_process.py"
POST = WebhookPost(insecure=True)
WAIT = 60


async def started(**setup: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), json.dumps(setup), stdout=subprocess.PIPE)


async def subscribed(source: EventSource, url: str) -> None:
    await WebhookSubscriptions(source, post=POST).subscribe("alice", {
        "name": KIND.name, "delivery": {"mode": "webhook", "url": url, "secret": SECRET}})


def test_a_kill_before_any_step_loses_nothing_and_keeps_the_order(binary: Path, database: Path) -> None:
    async def main() -> None:
        async with mcp_session_store.Store(database, binary=binary) as store, Receiver() as receiver:
            source = EventSource(store, [KIND])
            await source.open()
            await subscribed(source, receiver.url)
            sender = WebhookSender(source, post=POST, lease=LEASE, ordered=True)
            killed = 0
            for die_at in range(100):
                process = await started(role="sender", database=str(database), binary=str(binary), die_at=die_at,
                                        number=die_at)
                said, _ = await process.communicate()
                # Whoever gave the event gives it again, for nobody told that it was taken.
                await source.publish(KIND.name, {"number": die_at}, event_id=f"number-{die_at}")
                async with asyncio.timeout(WAIT):
                    while die_at not in {delivery.body["data"]["number"] for delivery in receiver.events} or \
                            await is_open(store):
                        await sender.fanout.once()
                        await sender.deliveries.once()
                        await asyncio.sleep(0.02)
                if process.returncode == 0:
                    break
                assert process.returncode == -signal.SIGKILL
                killed += 1
            assert int(said) == killed > 10  # before each of its steps
            heard = [delivery.body["data"]["number"] for delivery in receiver.events]
            assert heard == sorted(heard) and set(heard) == set(range(killed + 1))
            assert all(delivery.verified == [SECRET] for delivery in receiver.events)
            assert max(Counter(heard).values()) == 2  # killed after it was sent, and before that was said
            events = await store.get_events_after("mcp-events/task.ended", tenant_id=None, principal=None)
            assert len(events["events"]) == killed + 1

    asyncio.run(asyncio.wait_for(main(), WAIT * 2))


async def is_open(store: mcp_session_store.Store) -> bool:
    for queue in ("mcp-events/fanout", "mcp-events/deliveries"):
        for status in ("waiting", "leased"):
            if (await store.call("list_work", {"queue": queue, "status": status, "limit": 1}))["work"]:
                return True
    return False


async def tried(database: Path | str, binary: Path, tasks: int, workers: int, pause: float, takes: float) -> str:
    """Tasks on workers of which one is killed every so often: checks them, and tells what it tried."""
    begin = time.monotonic()
    setup = {"role": "worker", "database": str(database), "binary": str(binary), "takes": takes}
    async with mcp_session_store.Store(database, binary=binary) as store, Receiver() as receiver:
        source, queue = EventSource(store, [KIND]), TaskQueue(store)
        await source.open()
        await subscribed(source, receiver.url)
        ids = [handle.task_id for handle in await asyncio.gather(
            *(queue.submit("alice", "add", {"numbers": [number, 1]}) for number in range(tasks)))]
        running = [await started(**setup) for _ in range(workers)]
        kills = 0
        try:
            while True:
                assert running[0].stdout is not None
                await running[0].stdout.readline()  # it is up, however slow the machine is
                await asyncio.sleep(pause)
                told = {delivery.body["data"]["task_id"] for delivery in receiver.events}
                if len(told) == tasks and not await is_open(store):
                    break
                assert time.monotonic() - begin < WAIT * 10
                oldest = running.pop(0)
                oldest.kill()
                await oldest.wait()
                kills += 1
                running.append(await started(**setup))
        finally:
            for process in running:
                process.kill()
                await process.wait()
        repeated = 0
        for number, task_id in enumerate(ids):
            task: Any = await queue.get(task_id, "alice")
            assert task["status"] == "completed", task
            assert task["result"]["structuredContent"]["sum"] == number + 1
            repeated += task["result"]["structuredContent"]["attempt"] > 1
        outcomes: Counter[str] = Counter()
        after = 0
        while True:
            page = await store.get_events_after(
                "mcp-events/task.ended", after_event_id=after, tenant_id=None, principal=None)
            outcomes.update(event["data"]["data"]["task_id"] for event in page["events"])
            after = page["next_after"]
            if not page["has_more"]:
                break
        assert outcomes == Counter(ids)  # each one once
        heard = Counter(delivery.body["data"]["task_id"] for delivery in receiver.events if delivery.verified)
        assert set(heard) == set(ids)
        assert kills > 0 and repeated > 0
        return (f"{tasks} tasks on {workers} workers, {kills} of which were killed: {repeated} were begun again, each "
                f"has one outcome; {sum(heard.values())} webhooks told of all of them, "
                f"{time.monotonic() - begin:.0f} s")


@pytest.mark.both_engines
def test_each_task_has_one_outcome_and_a_webhook_tells_of_it(binary: Path, place: Place, engine_name: str) -> None:
    # Together they take twice as long as until the first kill, however fast the machine is.
    tasks, takes = (100, 0.1) if engine_name == "file" else (50, 0.2)
    print(asyncio.run(asyncio.wait_for(tried(place("tasks"), binary, tasks, 3, 0.4, takes), WAIT * 2)))


if __name__ == "__main__":
    import os

    with tempfile.TemporaryDirectory() as folder:
        program = Path(os.environ.get("MCP_SESSION_STORE_BINARY") or "mcp-session-store")
        print(asyncio.run(tried(Path(folder) / "sessions.db", program, int(sys.argv[1]), 3, 1.0, 0.05)))
