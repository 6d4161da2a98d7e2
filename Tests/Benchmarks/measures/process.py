"""The process itself: how it starts and ends, its memory, and its sweeps."""

import time
from collections.abc import Callable

import workload
from bench import Bench, Conversation
from measures.row import Row, at_most
from peers.redis_server import RedisServer


class ColdStart:
    """From the spawn to the first answer, on an existing file."""

    name = "cold_start"
    rows = (
        Row("cold start to first answer, p50", "ms", "ours_p50", "floor_p50", "C, opens the same file, one SELECT",
            at_most(2.5)),
        Row("cold start to first answer, p99", "ms", "ours_p99", "floor_p99", "C, opens the same file, one SELECT"),
    )  # fmt: skip

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.database = bench.database(self.name, bench.sizes.sessions)
        # A read, as the floor's: it has to go down to the tables and up again.
        self.request = bench.requests(self.name, workload.get_unknown_session())

    def round(self) -> dict[str, float]:
        bench, starts = self.bench, self.bench.sizes.starts
        ours = bench.drive("spawns", self.request, starts, bench.sidecar(self.database))
        floor = bench.drive("spawns", self.request, starts, bench.floor("start", self.database))
        return {
            "ours_p50": ours["start_p50_us"] / 1e3,
            "ours_p99": ours["start_p99_us"] / 1e3,
            "floor_p50": floor["start_p50_us"] / 1e3,
            "floor_p99": floor["start_p99_us"] / 1e3,
        }


class Memory:
    """Resident memory after many pipelined events: `times` as many as the other measures store."""

    bound = 16_000_000 / 2**20

    def __init__(self, name: str, times: int, is_slow: bool = False):
        self.name, self.times, self.is_slow = name, times, is_slow
        millions = times / 5
        figure = f"resident memory after {millions:g} million events"
        self.rows = (
            Row(figure, "MiB", "ours", "bound", "16 MB", at_most(1)),
            Row(f"{figure}, highest mark", "MiB", "ours_highest", "bound", "16 MB", at_most(1)),
            Row(figure, "MiB", "ours", "floor", "C, the same rows"),
            Row(figure, "MiB", "ours", "redis", "Redis"),
        )
        # Redis holds everything in memory: of ten million events that is more than many machines have.
        if is_slow:
            self.rows = self.rows[:3]

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        sizes = bench.sizes
        self.database = bench.database(self.name, sizes.sessions)
        self.requests = bench.requests(
            self.name, workload.get_unknown_session(), workload.store_events(sizes.pipelined_events, sizes.sessions)
        )
        self.commands = bench.requests(
            f"{self.name}-redis", workload.ping(), workload.xadd(sizes.pipelined_events, sizes.sessions)
        )

    def round(self) -> dict[str, float]:
        bench, times = self.bench, self.times
        events = times * bench.sizes.pipelined_events
        database = bench.fresh_copy(self.database)
        ours = bench.drive("pipeline", self.requests, times, bench.sidecar(database))
        bench.check_events(database, events)
        database = bench.fresh_copy(self.database)
        floor = bench.run(bench.floor("rows", database, events, 3_000, workload.EVENT_DATA))
        figures = {
            "bound": self.bound,
            "ours": ours["rss_kib"] / 1024,
            "ours_highest": ours["hwm_kib"] / 1024,
            "floor": floor["rss_kib"] / 1024,
        }
        if not self.is_slow:
            with RedisServer(bench.directory, "everysec") as redis:
                bench.drive("pipeline", self.commands, times, redis.command)
                figures["redis"] = redis.resident_mib
        return figures


class EndOfInput:
    """From the end of the input to the exit: the worst of many after one durable write, and once with a full log."""

    name = "end_of_input"
    rows = (
        Row("end of input to exit, worst", "ms", "ours", "floor", "C, close after one commit"),
        Row("the same after pipelined events", "ms", "ours_full", "floor_full", "C, close after the same rows"),
    )

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.events, self.sessions = bench.sizes.exit_events, bench.sizes.exit_sessions
        self.database = bench.database(self.name, self.sessions, self.events // self.sessions)
        self.one = bench.requests(f"{self.name}-one", workload.store_events(1, self.sessions))
        self.many = bench.requests(
            f"{self.name}-many", workload.get_unknown_session(), workload.store_events(self.events, self.sessions)
        )

    def round(self) -> dict[str, float]:
        bench, copy, exits = self.bench, lambda: self.bench.fresh_copy(self.database), self.bench.sizes.exits
        ours = bench.drive("spawns", self.one, exits, bench.sidecar(copy()))
        floor = bench.drive("spawns", self.one, exits, bench.floor("start", copy(), "--write"))
        ours_full = bench.drive("pipeline", self.many, 1, bench.sidecar(copy()))
        floor_full = bench.run(bench.floor("rows", copy(), self.events, 256, workload.EVENT_DATA))
        return {
            "ours": ours["exit_max_us"] / 1e3,
            "floor": floor["exit_max_us"] / 1e3,
            "ours_full": ours_full["exit_ms"],
            "floor_full": floor_full["close_ms"],
        }


class Sweep:
    """Requests, one at a time, while many expired sessions are swept; the first sweep comes after a minute."""

    name = "sweep"
    rows = (
        Row("get_session beside a sweep, p99", "µs", "get_session", "get_session_usual", "without a sweep"),
        Row("store_event beside a sweep, p99", "µs", "store_event", "store_event_usual", "without a sweep"),
    )
    is_slow = True
    first_sweep = 60.5  # seconds

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.database = bench.expired_database(self.name, bench.sizes.expired_sessions)

    def round(self) -> dict[str, float]:
        command = self.bench.sidecar(self.bench.fresh_copy(self.database))
        with Conversation(command) as child:
            begin = time.monotonic()
            child.ask("create_session", session_id="live")
            usual = self.latencies(child, lambda: time.monotonic() - begin > self.first_sweep - 30)
            time.sleep(max(0.0, self.first_sweep - (time.monotonic() - begin)))
            swept = self.latencies(child, lambda: child.ask("health")["session_count"] == 1)
        return {f"{name}_usual": p99 for name, p99 in usual.items()} | swept

    @staticmethod
    def latencies(child: Conversation, is_over: Callable[[], bool]) -> dict[str, float]:
        samples: dict[str, list[float]] = {"get_session": [], "store_event": []}
        while not is_over():
            for _ in range(500):
                for name, params in (("get_session", {}), ("store_event", {"data": "x" * 200})):
                    start = time.perf_counter()
                    child.ask(name, session_id="live", **params)
                    samples[name].append((time.perf_counter() - start) * 1e6)
        return {name: sorted(taken)[len(taken) * 99 // 100] for name, taken in samples.items()}
