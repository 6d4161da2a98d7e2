"""A process that publishes, sends or works, run and killed by the tests.

    python event_process.py '{"role": "sender" | "worker", "database": …, "binary": …, …}'

A sender publishes an event, hands it on and sends what is due, once, and kills itself before the step number `die_at`
of what it asks of its store and its receiver; else it prints how many steps that were. A worker does tasks, and sends,
until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "protocol/clients/python"))

from mcp_session_store import Store
from mcp_session_store.event_source import EventSource, EventType
from mcp_session_store.task_worker import TaskQueue, TaskWork, TaskWorker
from mcp_session_store.webhook_post import Answer, WebhookPost
from mcp_session_store.webhook_sender import WebhookSender

KIND = EventType("task.ended", "A task has ended.", {"type": "object"}, {"type": "object"},
                 delivery=("webhook",))
#: milliseconds; what a process that was killed holds is free after it
LEASE = 400


class Steps:
    """Counts, and kills this process before one of them."""

    def __init__(self, die_at: int) -> None:
        self.count = 0
        self._die_at = die_at

    def step(self) -> None:
        if self.count == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1


class SteppingStore(Store):
    steps: Steps

    async def call(self, method: str, params: Any = None, **options: Any) -> Any:
        self.steps.step()
        return await super().call(method, params, **options)


class SteppingPost(WebhookPost):
    steps: Steps

    async def __call__(self, *arguments: Any, **options: Any) -> Answer:
        self.steps.step()
        answer = await super().__call__(*arguments, **options)
        self.steps.step()
        return answer


async def send(setup: dict[str, Any]) -> None:
    SteppingStore.steps = SteppingPost.steps = steps = Steps(setup["die_at"])
    async with SteppingStore(setup["database"], binary=setup["binary"]) as store:
        source = EventSource(store, [KIND])
        sender = WebhookSender(source, post=SteppingPost(insecure=True), lease=LEASE, ordered=True)
        await source.publish("task.ended", {"number": setup["number"]}, event_id=f"number-{setup['number']}")
        await sender.fanout.once()
        await sender.deliveries.once()
        print(steps.count, flush=True)


async def work(setup: dict[str, Any]) -> None:
    async def add(work: TaskWork) -> dict[str, Any]:
        await asyncio.sleep(setup["takes"])
        return {"sum": sum(work.arguments["numbers"]), "attempt": work.attempt, "pid": os.getpid()}

    async with Store(setup["database"], binary=setup["binary"]) as store:
        source = EventSource(store, [KIND])
        await source.open()
        worker = TaskWorker(
            TaskQueue(store), {"add": add}, lease=LEASE, concurrency=4, max_attempts=50,
            told=lambda work, status: source.publishing("task.ended", {"task_id": work.task_id, "status": status}))
        sender = WebhookSender(source, post=WebhookPost(insecure=True), lease=LEASE, delays=[50] * 20)
        async with worker, sender:
            print("works", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run((send if json.loads(sys.argv[1])["role"] == "sender" else work)(json.loads(sys.argv[1])))
