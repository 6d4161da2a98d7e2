"""How long a worker that waits is not told that there is something to do.

    wakes.py BINARY FILE COUNT

From the moment at which an item's enqueueing is answered, to the notice that a subscriber of its queue gets: of the
same sidecar, and of another one on the same file. Prints the slowest of so many, and the middle, in milliseconds.
"""

import asyncio
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "protocol/clients/python"))

from mcp_session_store import Store  # noqa: E402


async def waits(here: Store, there: Store, queue: str, count: int) -> list[float]:
    """Milliseconds from an enqueueing here to the notice there."""
    found = []
    async with await there.subscribe_work(queue) as due:
        await anext(due)  # as it was opened
        for number in range(count):
            notice = asyncio.ensure_future(anext(due))
            await asyncio.sleep(random.uniform(0.3, 0.6))  # idle, and at any moment of what it does when it is
            await here.enqueue_work(queue, work_id=str(number), payload=None)
            begun = time.perf_counter()
            await notice
            found.append(max(0.0, time.perf_counter() - begun) * 1e3)
            # Nothing is left, so that the next one is told again.
            (item,) = (await there.claim_work(queue))["work"]
            await there.settle_work(queue, work_id=item["work_id"], fence=item["fence"], outcome="done")
    return sorted(found)


async def main() -> None:
    binary, file, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    async with Store(file, binary=binary) as here, Store(file, binary=binary) as there:
        own, others = await waits(here, here, "own", count), await waits(here, there, "others", count)
    print(json.dumps({"own": own[-1], "own_p50": own[len(own) // 2],
                      "others": others[-1], "others_p50": others[len(others) // 2]}))


asyncio.run(main())
