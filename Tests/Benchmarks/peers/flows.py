"""One asyncio server with many requests under way at once, each flow doing one thing after the other:

    flows.py client OPERATIONS FLOWS DATA CLIENT BINARY DATABASE
    flows.py redis OPERATIONS FLOWS DATA SOCKET

The same as flows.mjs does in Node, with redis-py in the place of a client of its own. Writes one JSON object about the
time that it took.
"""

import asyncio
import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any

NEWEST = 10


class Client:
    """The client that ships, as a server's author uses it."""

    async def open(self, stack: AsyncExitStack, client: str, binary: str, database: str) -> None:
        sys.path.insert(0, client)
        from mcp_session_store import Store

        # A session keeps all that a round stores, as the neighbours do.
        options = {"max_events_per_session": 0, "max_sessions": 0}
        self.store = await stack.enter_async_context(Store(database, binary=binary, options=options))

    async def create(self, session: str) -> None:
        await self.store.create_session(session_id=session)

    async def append(self, session: str, data: object) -> int:
        return (await self.store.store_event(session, data=data))["id"]

    async def session(self, session: str) -> object:
        return await self.store.get_session(session)

    async def set_state(self, session: str, key: str, value: object) -> None:
        await self.store.set_session_state(session, key=key, value=value)

    async def events_after(self, session: str, after: int) -> list[Any]:
        return (await self.store.get_events_after(session, after_event_id=after, limit=NEWEST))["events"]


class Redis:
    async def open(self, stack: AsyncExitStack, socket: str) -> None:
        from redis.asyncio import BlockingConnectionPool, Redis, UnixDomainSocketConnection

        # A connection for each flow at most, which is what redis-py has for requests that are under way together.
        pool = BlockingConnectionPool(
            connection_class=UnixDomainSocketConnection, path=socket, decode_responses=True, max_connections=64,
            timeout=60)
        self.redis = await stack.enter_async_context(Redis(connection_pool=pool))

    async def create(self, session: str) -> None:
        now = str(time.time_ns() // 1_000_000)
        await self.redis.hset(f"session:{session}", mapping={"status": "pending", "last_activity": now})

    async def append(self, session: str, data: object) -> str:
        return await self.redis.xadd(f"events:{session}", {"data": json.dumps(data)})

    async def session(self, session: str) -> object:
        return await self.redis.hgetall(f"session:{session}")

    async def set_state(self, session: str, key: str, value: object) -> None:
        await self.redis.hset(f"state:{session}", key, json.dumps(value))

    async def events_after(self, session: str, after: str | int) -> list[Any]:
        found = await self.redis.xrange(f"events:{session}", f"({after}" if after else "-", "+", NEWEST)
        return [json.loads(fields["data"]) for _, fields in found]


async def main() -> None:
    backend, operations, flows, data, *where = sys.argv[1:]
    store: Any = {"client": Client, "redis": Redis}[backend]()
    message = json.loads(data)
    rounds = -(-int(operations) // int(flows) // 4)
    samples: list[float] = []

    async def timed(operation: Awaitable[Any]) -> Any:
        begun = time.perf_counter()
        result = await operation
        samples.append(time.perf_counter() - begun)
        return result

    async def flow(number: int) -> None:
        session = f"00000000-0000-7000-8000-{number:012}"
        # The id behind which the newest events lie, for ids need not be numbers.
        before: deque[Any] = deque(maxlen=NEWEST + 1)
        for turn in range(rounds):
            before.append(await timed(store.append(session, message)))
            if not await timed(store.session(session)):
                raise ValueError("the session is gone")
            await timed(store.set_state(session, f"k{turn % 10}", turn))
            events = await timed(store.events_after(session, 0 if turn < NEWEST else before[0]))
            if len(events) != min(turn + 1, NEWEST):
                raise ValueError(f"{len(events)} events in the place of {min(turn + 1, NEWEST)}")

    async with AsyncExitStack() as stack:
        await store.open(stack, *where)
        await asyncio.gather(*(store.create(f"00000000-0000-7000-8000-{number:012}") for number in range(int(flows))))
        begun = time.perf_counter()
        await asyncio.gather(*(flow(number) for number in range(int(flows))))
        seconds = time.perf_counter() - begun
    p50 = statistics.median(samples) * 1e6
    print(json.dumps({"operations": len(samples), "seconds": seconds, "p50_us": p50}))


asyncio.run(main())
