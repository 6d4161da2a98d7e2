"""What is measured. Each measure prepares its files once; one round runs ours and then its floors."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import workload
from bench import Bench, Conversation


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure of ours beside the figure of the floor it stands on."""

    figure: str
    unit: str
    ours: str
    floor: str
    floor_name: str


class PipelinedStore:
    """store_event, durable, as fast as the pipe takes requests."""

    name = "pipelined_store"
    rows = (
        Row("store_event, pipelined", "events/s", "ours", "floor", "C, a commit per 256 events"),
        Row("store_event, pipelined", "events/s", "ours", "floor_4096", "C, a commit per 4,096 events"),
    )

    def __init__(self, bench: Bench):
        self.bench = bench
        self.events = bench.sizes.pipelined_events
        sessions = bench.sizes.sessions
        self.database = bench.database(self.name, sessions)
        self.requests = bench.requests(
            self.name, workload.get_unknown_session(), workload.store_events(self.events, sessions)
        )

    def round(self) -> dict[str, float]:
        return {"ours": self.ours(), "floor": self.floor(256), "floor_4096": self.floor(4096)}

    def ours(self) -> float:
        database = self.bench.fresh_copy(self.database)
        run = self.bench.drive("pipeline", self.requests, 1, self.bench.sidecar(database))
        self.bench.check_events(database, self.events)
        return self.events / run["seconds"]

    def floor(self, group: int) -> float:
        database = self.bench.fresh_copy(self.database)
        run = self.bench.run(self.bench.floor("rows", database, self.events, group, workload.EVENT_DATA))
        self.bench.check_events(database, self.events)
        return self.events / run["seconds"]


class GetSession:
    """get_session, one at a time."""

    name = "get_session"
    rows = (
        Row("get_session, one at a time, p50", "µs", "ours_p50", "echo_p50", "C, echo"),
        Row("get_session, one at a time, p99", "µs", "ours_p99", "echo_p99", "C, echo"),
    )

    def __init__(self, bench: Bench):
        self.bench = bench
        sessions = bench.sizes.sessions
        self.database = bench.database(self.name, sessions)
        self.requests = bench.requests(self.name, workload.get_sessions(sessions))

    def round(self) -> dict[str, float]:
        bench, reads = self.bench, self.bench.sizes.reads
        ours = bench.drive("round_trips", self.requests, reads, bench.sidecar(self.database))
        echo = bench.drive("round_trips", self.requests, reads, bench.floor("echo", ours["answer_bytes"]))
        return {
            "ours_p50": ours["trip_p50_us"],
            "ours_p99": ours["trip_p99_us"],
            "echo_p50": echo["trip_p50_us"],
            "echo_p99": echo["trip_p99_us"],
        }


class LoneStore:
    """store_event, durable, one at a time."""

    name = "lone_store"
    rows = (
        Row("store_event, one at a time, p50", "µs", "ours_p50", "floor_p50", "C, a commit per event"),
        Row("store_event, one at a time, p99", "µs", "ours_p99", "floor_p99", "C, a commit per event"),
        Row("store_event, one at a time, p50", "µs", "ours_p50", "echo_p50", "C, echo (the pipe alone)"),
    )

    def __init__(self, bench: Bench):
        self.bench = bench
        sessions = bench.sizes.sessions
        self.database = bench.database(self.name, sessions)
        self.requests = bench.requests(self.name, workload.store_events(sessions, sessions))

    def round(self) -> dict[str, float]:
        bench, events = self.bench, self.bench.sizes.lone_events
        ours = bench.drive("round_trips", self.requests, events, bench.sidecar(bench.fresh_copy(self.database)))
        database = bench.fresh_copy(self.database)
        floor = bench.run(bench.floor("rows", database, events, 1, workload.EVENT_DATA))
        echo = bench.drive("round_trips", self.requests, events, bench.floor("echo", ours["answer_bytes"]))
        return {
            "ours_p50": ours["trip_p50_us"],
            "ours_p99": ours["trip_p99_us"],
            "floor_p50": floor["commit_p50_us"],
            "floor_p99": floor["commit_p99_us"],
            "echo_p50": echo["trip_p50_us"],
        }


class ColdStart:
    """From the spawn to the first answer, on an existing file."""

    name = "cold_start"
    rows = (
        Row("cold start to first answer, p50", "ms", "ours_p50", "floor_p50", "C, one SELECT"),
        Row("cold start to first answer, p99", "ms", "ours_p99", "floor_p99", "C, one SELECT"),
    )

    def __init__(self, bench: Bench):
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
    """Resident memory after many pipelined events."""

    name = "memory"
    rows = (
        Row("resident memory after the events", "MiB", "ours_rss", "floor_rss", "C, the same rows"),
        Row("its highest mark", "MiB", "ours_hwm", "floor_hwm", "C, the same rows"),
    )

    def __init__(self, bench: Bench):
        self.bench = bench
        sizes = bench.sizes
        self.database = bench.database(self.name, sizes.sessions)
        self.requests = bench.requests(
            self.name, workload.get_unknown_session(), workload.store_events(sizes.pipelined_events, sizes.sessions)
        )

    def round(self) -> dict[str, float]:
        bench, repeats = self.bench, self.bench.sizes.memory_repeats
        events = repeats * bench.sizes.pipelined_events
        database = bench.fresh_copy(self.database)
        ours = bench.drive("pipeline", self.requests, repeats, bench.sidecar(database))
        bench.check_events(database, events)
        database = bench.fresh_copy(self.database)
        floor = bench.run(bench.floor("rows", database, events, 4096, workload.EVENT_DATA))
        return {
            "ours_rss": ours["rss_kib"] / 1024,
            "ours_hwm": ours["hwm_kib"] / 1024,
            "floor_rss": floor["rss_kib"] / 1024,
            "floor_hwm": floor["hwm_kib"] / 1024,
        }


class Replay:
    """get_events_after of 1,000 events, one call at a time."""

    name = "replay"
    rows = (
        Row("get_events_after, 1,000 events, p50", "µs", "ours_p50", "floor_p50", "C, the rows in process"),
        Row("get_events_after, 1,000 events, p50", "µs", "ours_p50", "echo_p50", "C, echo (the pipe alone)"),
    )
    after = 50
    limit = 1_000

    def __init__(self, bench: Bench):
        self.bench = bench
        sizes = bench.sizes
        self.database = bench.database(self.name, sizes.sessions, sizes.replay_sessions_events)
        self.requests = bench.requests(self.name, workload.get_events_after(self.after, self.limit, sizes.sessions))

    def round(self) -> dict[str, float]:
        bench, calls = self.bench, self.bench.sizes.replays
        ours = bench.drive("round_trips", self.requests, calls, bench.sidecar(self.database))
        floor = bench.run(bench.floor("replay", self.database, calls, self.after, self.limit))
        echo = bench.drive("round_trips", self.requests, calls, bench.floor("echo", ours["answer_bytes"]))
        return {"ours_p50": ours["trip_p50_us"], "floor_p50": floor["call_p50_us"], "echo_p50": echo["trip_p50_us"]}


class EndOfInput:
    """From the end of the input to the exit: the worst of many after one durable write, and once with a full log."""

    name = "end_of_input"
    rows = (
        Row("end of input to exit, worst", "ms", "ours", "floor", "C, close after one commit"),
        Row("the same after pipelined events", "ms", "ours_full", "floor_full", "C, close after the same rows"),
    )

    def __init__(self, bench: Bench):
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


class Neighbours:
    """Methods beside others of ours that do comparable work: what one costs, in times of the other."""

    name = "neighbours"
    rows = (
        Row("append_log_entry, pipelined", "µs each", "append", "store_event", "store_event, as many bytes"),
        Row("check_rate_limit, pipelined", "µs each", "check_rate", "set_state", "set_session_state, as many keys"),
    )

    def __init__(self, bench: Bench):
        self.bench = bench
        self.count, sessions = bench.sizes.pipelined_events // 2, bench.sizes.sessions
        self.database = bench.database(self.name, sessions)
        requests = {
            "store_event": workload.store_events, "append": workload.append_log_entries,
            "set_state": workload.set_states, "check_rate": workload.check_rates,
        }  # fmt: skip
        self.requests = {
            name: bench.requests(f"{self.name}-{name}", workload.get_unknown_session(), make(self.count, sessions))
            for name, make in requests.items()
        }

    def round(self) -> dict[str, float]:
        return {name: self.cost(requests) for name, requests in self.requests.items()}

    def cost(self, requests: Path) -> float:
        database = self.bench.fresh_copy(self.database)
        return self.bench.drive("pipeline", requests, 1, self.bench.sidecar(database))["seconds"] / self.count * 1e6


class Sweep:
    """Requests, one at a time, while many expired sessions are swept; the first sweep comes after a minute."""

    name = "sweep"
    rows = (
        Row("get_session beside a sweep, p99", "µs", "get_session", "get_session_usual", "without a sweep"),
        Row("store_event beside a sweep, p99", "µs", "store_event", "store_event_usual", "without a sweep"),
    )
    is_slow = True
    first_sweep = 60.5  # seconds

    def __init__(self, bench: Bench):
        self.bench = bench
        self.database = bench.expired_database(self.name, bench.sizes.expired_sessions)

    def round(self) -> dict[str, float]:
        command = [*self.bench.sidecar(self.bench.fresh_copy(self.database)), "--max-sessions", "0"]
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


MEASURES = (PipelinedStore, GetSession, LoneStore, ColdStart, Memory, Replay, EndOfInput, Neighbours, Sweep)
