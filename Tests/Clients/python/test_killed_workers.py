"""Workers that are killed with SIGKILL: no task is lost, and none has two outcomes.

    python test_killed_workers.py 1000     the long form: so many tasks, and a kill each second
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3] / "protocol/clients/python"))

from event_process import KIND

import mcp_session_store
from mcp_session_store.event_source import EventSource
from mcp_session_store.task_worker import TaskQueue

SCRIPT = Path(__file__).parent / "event_process.py"
WAIT = 60


async def started(**setup: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), json.dumps(setup), stdout=subprocess.PIPE)


async def tried(database: Path, binary: Path, tasks: int, workers: int, pause: float, takes: float) -> str:
    """Tasks on workers of which one is killed every so often: checks them, and tells what it tried."""
    begin = time.monotonic()
    setup = {"database": str(database), "binary": str(binary), "takes": takes}
    async with mcp_session_store.Store(database, binary=binary) as store:
        source, queue = EventSource(store, [KIND]), TaskQueue(store)
        await source.open()
        ids = [handle.task_id for handle in await asyncio.gather(
            *(queue.submit("alice", "add", {"numbers": [number, 1]}) for number in range(tasks)))]
        running = [await started(**setup) for _ in range(workers)]
        kills = 0
        try:
            while True:
                assert running[0].stdout is not None
                await running[0].stdout.readline()  # it is up, however slow the machine is
                await asyncio.sleep(pause)
                if not (await store.list_tasks(status="working", limit=1))["tasks"]:
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
        assert kills > 0 and repeated > 0
        return (f"{tasks} tasks on {workers} workers, {kills} of which were killed: {repeated} were begun again, each "
                f"has one outcome, and one event tells of it, {time.monotonic() - begin:.0f} s")


def test_each_task_has_one_outcome_and_an_event_tells_of_it(binary: Path, database: Path) -> None:
    print(asyncio.run(asyncio.wait_for(tried(database, binary, 100, 3, 0.4, 0.05), WAIT * 2)))


if __name__ == "__main__":
    import os

    with tempfile.TemporaryDirectory() as folder:
        program = Path(os.environ.get("MCP_SESSION_STORE_BINARY") or "mcp-session-store")
        print(asyncio.run(tried(Path(folder) / "sessions.db", program, int(sys.argv[1]), 3, 1.0, 0.05)))
