"""The clients beside what a server's author would pick instead; each on an empty directory of its own."""

import asyncio
import gc
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from bench import Bench, Failed
from event_stores import CONTENDERS, Contender
from measures.row import Goal, Row, at_least, at_most
from mcp.server.streamable_http import EventMessage
from mcp_types import JSONRPCNotification
from programs import NODE

EVENT_LOOP = Path(__file__).parents[1] / "drivers/event_loop.mjs"
#: streams of how many sessions are written to at once
SESSIONS = 10
AT_ONCE = 500


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

    def prepare(self, bench: Bench) -> None:
        self.bench = bench

    def round(self) -> dict[str, float]:
        return {contender.name: asyncio.run(self.measured(contender)) for contender in CONTENDERS}

    @asynccontextmanager
    async def opened(self, contender: type[Contender], **options: int) -> AsyncIterator[Contender]:
        """On an empty directory, when all that was written before is on disk: nobody pays for another's writes."""
        async with contender(empty(self.bench), self.bench.binary, SESSIONS, **options) as opened:
            self.bench.facts[f"durability of {opened.name}"] = opened.durability
            # The modules of all contenders are no garbage of any of them: to go through them, which Python does at
            # random, takes as long as ten replays.
            gc.collect()
            gc.freeze()
            try:
                yield opened
            finally:
                gc.unfreeze()

    async def measured(self, contender: type[Contender]) -> float:
        raise NotImplementedError


def empty(bench: Bench) -> Path:
    directory = bench.directory / "run"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    os.sync()
    return directory


def rows(figure: str, goal: Goal) -> tuple[Row, ...]:
    """A row beside each of the others; the goal is for mcp-persist, the first of them."""
    ours, *others = (contender.name for contender in CONTENDERS)
    return tuple(Row(figure, "events/s", ours, other, other, None if number else goal)
                 for number, other in enumerate(others))  # fmt: skip


class LoneEvents(EventMeasure):
    name = "client_one_at_a_time"
    rows = rows("store_event through the Python adapter, one at a time, p50", at_least(1.6))

    async def measured(self, contender: type[Contender]) -> float:
        count = self.bench.sizes.client_lone_events
        async with self.opened(contender) as opened:
            store, stream = opened.store(0), opened.stream(0, 1)
            await store.store_event(stream, None)
            ids, samples = [], []
            for number in range(count):
                begun = time.perf_counter()
                ids.append(await store.store_event(stream, message(number)))
                samples.append(time.perf_counter() - begun)
            await check(opened, ids, -10, 9)
        return 1 / median(samples)


class ConcurrentEvents(EventMeasure):
    name = "client_at_once"
    rows = rows("store_event through the Python adapter, 500 at once on streams of their own, p50", at_least(4))

    async def measured(self, contender: type[Contender]) -> float:
        sizes = self.bench.sizes
        async with self.opened(contender) as opened:
            streams = [divmod(number, AT_ONCE // SESSIONS) for number in range(AT_ONCE)]
            for session in range(SESSIONS):
                await opened.store(session).store_event(opened.stream(session, 0), None)
            ids: list[str] = []
            samples = []
            for batch in range(sizes.client_batches):
                begun = time.perf_counter()
                ids += await asyncio.gather(*(
                    opened.store(session).store_event(opened.stream(session, number), message(batch))
                    for session, number in streams))
                samples.append(time.perf_counter() - begun)
            await check(opened, ids, 0, sizes.client_batches - 1)
        return AT_ONCE / median(samples)


class Replays(EventMeasure):
    name = "client_replay"
    rows = rows("replay of 1,000 events through the Python adapter, p50", at_least(2.5))

    async def measured(self, contender: type[Contender]) -> float:
        sizes = self.bench.sizes
        async with self.opened(contender, stream_events=sizes.client_replayed + 1) as opened:
            stream = opened.stream(0, 1)
            first = await opened.store(0).store_event(stream, message(0))
            for number in range(1, sizes.client_replayed + 1):
                await opened.store(0).store_event(stream, message(number))
            expected = [message(number).params for number in range(1, sizes.client_replayed + 1)]
            samples = []
            for _ in range(sizes.client_replays):
                begun = time.perf_counter()
                found = await replay(opened, 0, first)
                samples.append(time.perf_counter() - begun)
                if [event.message.params for event in found] != expected:
                    raise Failed(f"{opened.name}: the replay is not what was stored")
        return sizes.client_replayed / median(samples)


class EventLoopDelay:
    """How long a Node server's event loop is held up by what it stores: what a message waits, sent at random."""

    name = "client_event_loop"
    rows = (
        Row("event loop delay at 2,000 writes/s, p99", "ms", "ours_p99", "sqlite_p99", "node:sqlite in process, full",
            at_most(1)),
        Row("event loop delay at 2,000 writes/s, p99", "ms", "ours_p99", "idle_p99", "a Node that does nothing"),
        Row("event loop delay at 2,000 writes/s, highest", "ms", "ours_max", "sqlite_max",
            "node:sqlite in process, full"),
        Row("CPU time of the Node process at 2,000 writes/s", "%", "ours_cpu", "sqlite_cpu",
            "node:sqlite in process, full"),
    )

    def prepare(self, bench: Bench) -> None:
        self.bench = bench

    def round(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for kind in ("ours", "sqlite", "idle"):
            directory = empty(self.bench)
            seconds = self.bench.sizes.event_loop_seconds
            command = [NODE, EVENT_LOOP, kind, directory / "events.db", str(seconds), self.bench.binary]
            done = subprocess.run(command, stdout=subprocess.PIPE, timeout=seconds + 300)
            if done.returncode != 0:
                raise Failed(f"{EVENT_LOOP.name} {kind} ended with {done.returncode}")
            report = json.loads(done.stdout)
            figures |= {f"{kind}_{figure}": report[name]
                        for figure, name in (("p99", "p99_ms"), ("max", "max_ms"), ("cpu", "cpu_percent"))}
            self.bench.facts[f"durability of Node, {kind}"] = report["durability"]
        return figures
