"""A process that does tasks, run and killed by the tests.

    python event_process.py '{"database": …, "binary": …, "takes": …}'

It does tasks until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "protocol/clients/python"))

from mcp_session_store import Store
from mcp_session_store.event_source import EventSource, EventType
from mcp_session_store.task_worker import TaskQueue, TaskWork, TaskWorker

KIND = EventType("task.ended", "A task has ended.", {"type": "object"}, {"type": "object"},
                 delivery=("poll",))
#: milliseconds; what a process that was killed holds is free after it
LEASE = 400


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
        async with worker:
            print("works", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(json.loads(sys.argv[1])))
