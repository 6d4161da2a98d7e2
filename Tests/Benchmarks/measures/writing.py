"""Writes: events and log entries, many at once and one at a time, and what they cost on disk."""

import workload
from bench import Bench
from measures.row import Goal, Row, at_least, at_most
from peers.redis_server import RedisServer


class PipelinedStore:
    """store_event, durable, as fast as the pipe takes requests."""

    def __init__(self, sessions: int, payload: int):
        self.sessions, self.data = sessions, workload.event_data(payload)
        size = "4k" if payload == 4096 else str(payload)
        self.name = f"pipelined_{sessions}_{size}"
        figure = f"store_event, pipelined, {sessions:,} session{'s' * (sessions > 1)}, {payload:,} bytes"

        def row(other: str, name: str, goal: Goal | None = None) -> Row:
            return Row(figure, "events/s", "ours", other, name, goal)

        self.rows = [
            row("redis", "Redis, appendfsync always", at_least(1.5)),
            row("floor", "C, groups of 1 MiB or 10 ms", at_least(0.8)),
        ]
        #: the usual case is compared with everything
        self.is_usual = sessions == 100 and payload == 200
        if self.is_usual:
            self.rows += [
                Row(f"{figure}, durability normal", "events/s", "ours_normal", "redis_normal",
                    "Redis, appendfsync everysec"),
                row("python", "Python sqlite3 + json, a commit per 10 ms"),
                row("node", "node:sqlite + JSON, a commit per 10 ms"),
            ]  # fmt: skip

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.sessions = min(self.sessions, bench.sizes.most_sessions)
        self.events = bench.sizes.pipelined_events * 200 // len(self.data)
        # Each session has one, so that all of them are used.
        self.events = max(self.events, self.sessions)
        self.database = bench.database(self.name, self.sessions)
        self.requests = bench.requests(
            self.name, workload.get_unknown_session(), workload.store_events(self.events, self.sessions, self.data)
        )
        self.commands = bench.requests(
            f"{self.name}-redis", workload.ping(), workload.xadd(self.events, self.sessions, self.data)
        )
        # What ours reads until a group is full.
        self.group = 2**20 * self.events // self.requests.stat().st_size

    def round(self) -> dict[str, float]:
        figures = {"ours": self.ours(), "redis": self.redis("always"), "floor": self.floor()}
        if self.is_usual:
            figures |= {
                "ours_normal": self.ours("--durability", "normal"),
                "redis_normal": self.redis("everysec"),
                "python": self.in_process(self.bench.python("python_sqlite")),
                "node": self.in_process(self.bench.node("node_sqlite")),
            }
        return figures

    def ours(self, *options: str) -> float:
        database = self.bench.fresh_copy(self.database)
        run = self.bench.drive("pipeline", self.requests, 1, [*self.bench.sidecar(database), *options])
        self.bench.check_events(database, self.events)
        return self.events / run["seconds"]

    def redis(self, sync: str) -> float:
        with RedisServer(self.bench.directory, sync) as redis:
            return self.events / self.bench.drive("pipeline", self.commands, 1, redis.command)["seconds"]

    def floor(self) -> float:
        database = self.bench.fresh_copy(self.database)
        run = self.bench.run(self.bench.floor("rows", database, self.events, self.group, self.data))
        self.bench.check_events(database, self.events)
        return self.events / run["seconds"]

    def in_process(self, program: list[str]) -> float:
        file = self.bench.fresh_file()
        run = self.bench.run_words(program, "store", file, self.events, self.sessions, "10ms", self.data)
        return self.events / run["seconds"]


class Batches:
    """store_events with a hundred events in each call."""

    name = "batches"
    size = 100
    rows = (
        Row("store_events, 100 in each call, pipelined", "events/s", "ours", "redis",
            "Redis, MULTI, 100 XADD, EXEC, always", at_least(2)),
    )  # fmt: skip

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        sessions = bench.sizes.sessions
        self.count = max(bench.sizes.pipelined_events // self.size, 1)
        self.database = bench.database(self.name, sessions)
        self.requests = bench.requests(
            self.name, workload.get_unknown_session(), workload.store_batches(self.count, sessions, self.size)
        )
        self.commands = bench.requests(
            f"{self.name}-redis", workload.ping(), workload.redis_batches(self.count, sessions, self.size)
        )

    def round(self) -> dict[str, float]:
        events = self.count * self.size
        database = self.bench.fresh_copy(self.database)
        ours = self.bench.drive("pipeline", self.requests, 1, self.bench.sidecar(database))
        self.bench.check_events(database, events)
        with RedisServer(self.bench.directory, "always") as server:
            redis = self.bench.drive("pipeline", self.commands, 1, server.command)
        return {"ours": events / ours["seconds"], "redis": events / redis["seconds"]}


class LoneStore:
    """store_event, durable, one at a time."""

    name = "lone_store"
    figure = "store_event, one at a time, p50"
    rows = (
        Row(figure, "trips/s", "ours", "redis", "Redis, appendfsync always", at_least(1.25)),
        Row(figure, "µs", "ours_p50", "floor_p50", "C, a commit per event + echo (the pipe)", at_most(1.15)),
        Row("store_event, one at a time, p99", "µs", "ours_p99", "floor_p99", "C, a commit per event + echo"),
        Row(figure, "µs", "ours_p50", "python_p50", "Python sqlite3 + json, in process"),
        Row(figure, "µs", "ours_p50", "node_p50", "node:sqlite + JSON, in process"),
        Row(figure, "µs", "ours_p50", "persist_p50", "mcp-persist, in process"),
    )

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.sessions = bench.sizes.sessions
        self.database = bench.database(self.name, self.sessions)
        self.requests = bench.requests(self.name, workload.store_events(self.sessions, self.sessions))
        self.commands = bench.requests(f"{self.name}-redis", workload.xadd(self.sessions, self.sessions))

    def round(self) -> dict[str, float]:
        bench, events = self.bench, self.bench.sizes.lone_events
        ours = bench.drive("round_trips", self.requests, events, bench.sidecar(bench.fresh_copy(self.database)))
        with RedisServer(bench.directory, "always") as server:
            redis = bench.drive("round_trips", self.commands, events, server.command)
        floor = bench.run(bench.floor("rows", bench.fresh_copy(self.database), events, 1, workload.EVENT_DATA))
        echo = bench.drive("round_trips", self.requests, events, bench.floor("echo", ours["answer_bytes"]))
        python = self.in_process(bench.python("python_sqlite"), "each")
        node = self.in_process(bench.node("node_sqlite"), "each")
        persist = self.in_process(bench.python("mcp_persist_store"))
        return {
            "ours": 1e6 / ours["trip_p50_us"],
            "redis": 1e6 / redis["trip_p50_us"],
            "ours_p50": ours["trip_p50_us"],
            "ours_p99": ours["trip_p99_us"],
            "floor_p50": floor["commit_p50_us"] + echo["trip_p50_us"],
            "floor_p99": floor["commit_p99_us"] + echo["trip_p99_us"],
            "python_p50": python,
            "node_p50": node,
            "persist_p50": persist,
        }

    def in_process(self, program: list[str], *commits: str) -> float:
        file, events = self.bench.fresh_file(), self.bench.sizes.lone_events
        run = self.bench.run_words(program, "store", file, events, self.sessions, *commits, workload.EVENT_DATA)
        return run["p50_us"]


class PipelinedLog:
    """append_log_entry, which remembers the ids of messages, and check_rate_limit."""

    name = "log"
    rows = (
        Row("append_log_entry, pipelined", "entries/s", "append", "redis", "Redis, MULTI HSETNX XADD EXEC, always"),
        Row("append_log_entry, pipelined", "entries/s", "append", "store_event", "our store_event, as many bytes"),
        Row("check_rate_limit, pipelined", "checks/s", "check_rate", "set_state", "our set_session_state, as many"),
    )

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.count, sessions = bench.sizes.pipelined_events // 2, bench.sizes.sessions
        self.database = bench.database(self.name, sessions)
        requests = {
            "append": workload.append_log_entries, "store_event": workload.store_events,
            "check_rate": workload.check_rates, "set_state": workload.set_states,
        }  # fmt: skip
        self.requests = {
            name: bench.requests(f"{self.name}-{name}", workload.get_unknown_session(), make(self.count, sessions))
            for name, make in requests.items()
        }
        self.commands = bench.requests(
            f"{self.name}-redis", workload.ping(), workload.redis_log_entries(self.count, sessions)
        )

    def round(self) -> dict[str, float]:
        with RedisServer(self.bench.directory, "always") as server:
            redis = self.bench.drive("pipeline", self.commands, 1, server.command)
        return {name: self.speed(requests) for name, requests in self.requests.items()} | {
            "redis": self.count / redis["seconds"]
        }

    def speed(self, requests: object) -> float:
        database = self.bench.fresh_copy(self.database)
        return self.count / self.bench.drive("pipeline", requests, 1, self.bench.sidecar(database))["seconds"]


class Disk:
    """Bytes on disk for each event of 200 bytes, after the file was closed."""

    name = "disk"
    figure = "on disk per event of 200 bytes"
    rows = (
        Row(figure, "bytes", "ours", "payload", "the payload", at_most(1.4)),
        Row(figure, "bytes", "ours", "floor", "C, the same rows"),
        Row(figure, "bytes", "ours", "redis", "Redis, append-only file"),
        Row(figure, "bytes", "ours", "python", "Python sqlite3, by hand"),
        Row(figure, "bytes", "ours", "persist", "mcp-persist"),
    )

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.events, self.sessions = bench.sizes.pipelined_events, bench.sizes.sessions
        self.database = bench.database(self.name, self.sessions)
        self.requests = bench.requests(
            self.name, workload.get_unknown_session(), workload.store_events(self.events, self.sessions)
        )
        self.commands = bench.requests(
            f"{self.name}-redis", workload.ping(), workload.xadd(self.events, self.sessions)
        )

    def round(self) -> dict[str, float]:
        bench, events = self.bench, self.events
        before = self.database.stat().st_size
        ours = bench.fresh_copy(self.database)
        bench.drive("pipeline", self.requests, 1, bench.sidecar(ours))
        figures = {"payload": len(workload.EVENT_DATA), "ours": (ours.stat().st_size - before) / events}
        floor = bench.fresh_copy(self.database)
        bench.run(bench.floor("rows", floor, events, 3_000, workload.EVENT_DATA))
        figures["floor"] = (floor.stat().st_size - before) / events
        with RedisServer(bench.directory, "everysec") as redis:
            bench.drive("pipeline", self.commands, 1, redis.command)
            figures["redis"] = redis.file_bytes / events
        # Slow ones store a part of the events.
        each = max(events // self.sessions // 10, 1)
        for name, program in (("python", "python_sqlite"), ("persist", "mcp_persist_store")):
            file = bench.fresh_file()
            bench.run_words(bench.python(program), "make", file, self.sessions, each, workload.EVENT_DATA)
            figures[name] = file.stat().st_size / (each * self.sessions)
        return figures
