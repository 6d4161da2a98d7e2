"""Work: enqueued, claimed and settled, many at once and one at a time."""

from pathlib import Path

import workload
from bench import Bench
from measures.row import Row, at_least, at_most
from peers.redis_server import RedisServer


class Work:
    """An item is one enqueue_work, its part of a claim_work and one settle_work; all durable."""

    name = "work"
    many = "enqueue, claim, settle, pipelined, 100 a claim"
    one = "enqueue, claim, settle, one at a time"
    rows = (
        Row(many, "items/s", "ours", "redis", "Redis XADD, XREADGROUP, XACK, always", at_least(1.0)),
        Row(one, "items/s", "ours_lone", "redis_lone", "Redis, the same"),
        Row(many, "items/s", "ours", "litequeue", "litequeue, in process, one at a time", at_least(5)),
        Row(many, "items/s", "ours", "persist_queue", "persist-queue, the same", at_least(5)),
        Row(many, "items/s", "ours", "huey", "huey's SqliteStorage, the same; knows no lease", at_least(5)),
        Row(one, "items/s", "ours_lone", "litequeue", "litequeue, in process"),
        Row("claim_work, 1,000,000 beside 1,000", "claims/s", "claim_million", "claim_thousand", "among 1,000 waiting",
            at_least(0.67)),
    )  # fmt: skip

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.items = bench.sizes.pipelined_events // 2
        self.lone = bench.sizes.lone_events // 2
        self.database = bench.database(self.name, 1)
        self.start = bench.revision(self.database)
        self.requests = self.ours_requests("many", self.items, 100)
        self.lone_requests = self.ours_requests("one", self.lone * 5 // 4, 1)  # some to warm up
        self.commands = self.redis_commands("many", self.items, 100)
        self.lone_commands = self.redis_commands("one", self.lone * 5 // 4, 1)
        self.waiting = {size: self.filled(size) for size in (1_000, min(1_000_000, bench.sizes.most_events))}

    def ours_requests(self, name: str, items: int, batch: int) -> Path:
        first = workload.get_unknown_session()
        return self.bench.requests(f"work-{name}", first, workload.work(items, batch, self.start))

    def redis_commands(self, name: str, items: int, batch: int) -> Path:
        return self.bench.requests(f"work-{name}-redis", workload.ping(), workload.redis_work(items, batch))

    def filled(self, size: int) -> Path:
        database = self.bench.database(f"work-{size}", 1)
        for begin in range(0, size, 100_000):
            making = self.bench.requests(
                "work-making", workload.get_unknown_session(),
                workload.enqueued(begin, min(size, begin + 100_000)))  # fmt: skip
            self.bench.drive("pipeline", making, 1, self.bench.sidecar(database))
        return database

    def round(self) -> dict[str, float]:
        bench = self.bench
        figures = {"ours": self.speed("pipeline", self.requests, self.items)}
        with RedisServer(bench.directory, "always") as server:
            figures["redis"] = self.items / bench.drive("pipeline", self.commands, 1, server.command)["seconds"]
        figures["ours_lone"] = self.lone / self.seconds(self.lone_requests)
        with RedisServer(bench.directory, "always") as server:
            run = bench.drive("round_trips", self.lone_commands, 3 * self.lone, server.command)
            figures["redis_lone"] = 1e6 / (3 * run["trip_p50_us"])
        for name in ("litequeue", "persist_queue", "huey"):
            run = bench.run_words(
                bench.python("queues"), name, bench.fresh_file(), self.lone, workload.EVENT_DATA)  # fmt: skip
            figures[name] = 1e6 / run["cycle_us"]
        claims = bench.requests("work-claims", workload.get_unknown_session(), workload.claims(500))
        for size, name in zip(self.waiting, ("claim_thousand", "claim_million")):
            run = bench.drive("pipeline", claims, 1, bench.sidecar(bench.fresh_copy(self.waiting[size])))
            figures[name] = 500 / run["seconds"]
        return figures

    def speed(self, driver: str, requests: Path, items: int) -> float:
        database = self.bench.fresh_copy(self.database)
        run = self.bench.drive(driver, requests, 1, self.bench.sidecar(database))
        self.bench.check_work(database, items)
        return items / run["seconds"]

    def seconds(self, requests: Path) -> float:
        """Of all trips, from their median."""
        database = self.bench.fresh_copy(self.database)
        run = self.bench.drive("round_trips", requests, 3 * self.lone, self.bench.sidecar(database))
        return 3 * self.lone * run["trip_p50_us"] / 1e6


class Wakes:
    """How soon a worker hears of work that has waited for some."""

    name = "wakes"
    rows = (
        Row("an idle worker is woken, by its own process, slowest of 20", "ms", "own", "own_bound", "50 ms",
            at_most(1.0)),
        Row("an idle worker is woken, by another process on the file, slowest of 20", "ms", "others", "others_bound",
            "50 ms", at_most(1.0)),
    )  # fmt: skip

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.count = 20 if bench.sizes.lone_events > 500 else 3

    def round(self) -> dict[str, float]:
        bench = self.bench
        run = bench.run_words(bench.python("wakes"), bench.binary, bench.fresh_file(), self.count)
        return {"own": run["own"], "others": run["others"], "own_bound": 50, "others_bound": 50}
