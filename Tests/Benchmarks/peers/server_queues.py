"""Work on a PostgreSQL server, from one Python process: put, taken and done, all of it many at once.

    server_queues.py ours|procrastinate ADDRESS ITEMS AT_ONCE DATA [BINARY]

`ours` is the Python client, `procrastinate` the queue of that package with its worker. Prints how fast it was.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "protocol/clients/python"))

#: does so many items, so many at once
Cycle = Callable[[int, int], Awaitable[int]]


@asynccontextmanager
async def ours(address: str, data: str, binary: str) -> AsyncIterator[Cycle]:
    from mcp_session_store import Store

    async with Store(address, binary=binary) as store:
        begun = 0

        async def cycle(items: int, at_once: int) -> int:
            nonlocal begun
            done = 0
            for _ in range(items // at_once):
                await asyncio.gather(*(
                    store.enqueue_work("work", work_id=f"item-{number}", payload=data)
                    for number in range(begun, begun + at_once)))
                begun += at_once
                work = (await store.claim_work("work", limit=at_once, lease=600_000))["work"]
                settled = await asyncio.gather(*(
                    store.settle_work("work", work_id=item["work_id"], fence=item["fence"], outcome="done")
                    for item in work))
                done += sum(each["status"] == "done" for each in settled)
            return done

        yield cycle


@asynccontextmanager
async def procrastinate(address: str, data: str, binary: str) -> AsyncIterator[Cycle]:
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=address, min_size=4, max_size=20))
    done = 0

    @app.task(name="work")
    async def work(data: str) -> None:
        nonlocal done
        done += 1

    async def cycle(items: int, at_once: int) -> int:
        nonlocal done
        done = 0
        for _ in range(items // at_once):
            await work.batch_defer_async(*[{"data": data}] * at_once)
        await app.run_worker_async(
            concurrency=at_once, wait=False, listen_notify=False, install_signal_handlers=False)
        return done

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        yield cycle


async def main() -> None:
    kind, address, items, at_once, data, *binary = sys.argv[1:]
    async with (ours if kind == "ours" else procrastinate)(address, data, *binary or [""]) as cycle:
        await cycle(int(at_once), int(at_once))  # what is prepared once
        begun = time.perf_counter()
        done = await cycle(int(items), int(at_once))
        seconds = time.perf_counter() - begun
    assert done == int(items), f"{done} of {items} were done"
    print(json.dumps({"seconds": seconds, "per_second": done / seconds}))


asyncio.run(main())
