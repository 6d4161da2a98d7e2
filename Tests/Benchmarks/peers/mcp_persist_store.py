"""mcp-persist in the server's own process: its event store over SQLite, with its own settings.

    mcp_persist_store.py store DATABASE EVENTS SESSIONS DATA
    mcp_persist_store.py make DATABASE SESSIONS EVENTS_PER_SESSION DATA
    mcp_persist_store.py read DATABASE CALLS LIMIT

Writes one JSON object about the time that it took.
"""

import asyncio
import json
import sqlite3
import sys
import time
from contextlib import closing

from mcp_persist import SQLiteEventStore
from mcp_types import JSONRPCNotification

A_DAY = 86_400


def stream_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012}"


async def store(path: str, events: int, sessions: int, data: str) -> dict[str, float]:
    message = JSONRPCNotification.model_validate_json(data)
    samples = []
    async with SQLiteEventStore.create(path, ttl=A_DAY) as events_store:
        for number in range(events):
            start = time.perf_counter()
            await events_store.store_event(stream_id(number % sessions), message)
            samples.append(time.perf_counter() - start)
    return summary(samples)


async def make(path: str, sessions: int, events: int, data: str) -> dict[str, float]:
    message = JSONRPCNotification.model_validate_json(data)
    async with SQLiteEventStore.create(path, ttl=A_DAY, commit_max_pending=10_000) as events_store:
        for _ in range(events):
            for number in range(sessions):
                await events_store.store_event(stream_id(number), message)
    return {"events": sessions * events}


async def read(path: str, calls: int, limit: int) -> dict[str, float]:
    """A replay has no limit: it begins where exactly `limit` events are left in the stream."""
    with closing(sqlite3.connect(path)) as connection:
        starts = [
            str(event_id)
            for (stream,) in connection.execute("SELECT DISTINCT stream_id FROM mcp_events").fetchall()
            for (event_id,) in connection.execute(
                "SELECT event_id FROM mcp_events WHERE stream_id = ? ORDER BY event_id DESC LIMIT 1 OFFSET ?",
                (stream, limit),
            )
        ]
    samples = []
    async with SQLiteEventStore.create(path, ttl=A_DAY) as events_store:
        for number in range(calls + calls // 10 + 1):
            seen = []

            async def take(event: object) -> None:
                seen.append(event)

            start = time.perf_counter()
            await events_store.replay_events_after(starts[number % len(starts)], take)
            samples.append(time.perf_counter() - start)
            if len(seen) != limit:
                raise SystemExit(f"a replay gave {len(seen)} events instead of {limit}")
    return summary(samples[-calls:])


def summary(samples: list[float]) -> dict[str, float]:
    return {"seconds": sum(samples), "p50_us": sorted(samples)[len(samples) // 2] * 1e6}


WORKS = {"store": store, "make": make, "read": read}

if __name__ == "__main__":
    work, *words = sys.argv[1:]
    arguments = [int(word) if word.isdigit() else word for word in words]
    print(json.dumps(asyncio.run(WORKS[work](*arguments))))
