"""Events on a PostgreSQL server as one would store them without us, each in a commit of its own.

    server_events.py asyncpg|mcp_persist ADDRESS COUNT AT_ONCE

`asyncpg` is an INSERT through its pool, `mcp_persist` the event store of that package. Prints what it measured.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
from mcp_persist import PostgresEventStore
from mcp_types import JSONRPCNotification

sys.path.insert(0, str(Path(__file__).parents[1]))
import workload  # noqa: E402

#: as both advise by default
CONNECTIONS = 10


async def plain(pool: asyncpg.Pool) -> Callable[[int, int], Awaitable[object]]:
    await pool.execute("DROP TABLE IF EXISTS plain")
    await pool.execute("CREATE TABLE plain (session bigint, id bigint, data text, PRIMARY KEY (session, id))")
    return lambda session, id: pool.execute("INSERT INTO plain VALUES ($1, $2, $3)", session, id, workload.EVENT_DATA)


async def persist(pool: asyncpg.Pool) -> Callable[[int, int], Awaitable[object]]:
    message = JSONRPCNotification.model_validate_json(workload.EVENT_DATA)
    store = PostgresEventStore(pool, ttl=86_400)
    await store.initialize()
    return lambda session, id: store.store_event(workload.session_id(session), message)


async def main() -> None:
    kind, address, count, at_once = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    pool = await asyncpg.create_pool(address, min_size=CONNECTIONS, max_size=CONNECTIONS)
    store = await (plain if kind == "asyncpg" else persist)(pool)
    await store(at_once, 0)  # what is prepared once
    times: list[float] = []

    async def flow(session: int) -> None:
        for id in range(count // at_once):
            begun = time.perf_counter()
            await store(session, id)
            times.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*map(flow, range(at_once)))
    seconds = time.perf_counter() - begun
    await pool.close()
    print(json.dumps({"per_second": len(times) / seconds, "p50_us": sorted(times)[len(times) // 2] * 1e6}))


asyncio.run(main())
