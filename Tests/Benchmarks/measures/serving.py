"""What a server does with it: the lives of tasks, and many flows at once."""

import workload
from bench import Bench
from measures.row import Row, at_least
from peers.redis_server import RedisServer


class Tasks:
    """A task's whole life of six steps; several tasks at once, and one after the other."""

    name = "tasks"
    rows = (
        Row("a task's life, pipelined", "tasks/s", "ours", "python", "Python sqlite3 + json, a commit each step",
            at_least(2)),
        Row("a task's life, pipelined", "tasks/s", "ours", "redis", "Redis, HSET HGETALL HGET DEL, always"),
        Row("a task's life, one at a time", "tasks/s", "ours_lone", "python", "Python sqlite3 + json, in process"),
        Row("a task's life, one at a time", "tasks/s", "ours_lone", "redis_lone", "Redis, appendfsync always"),
    )  # fmt: skip

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.database = bench.database(self.name, 1)
        self.many, self.few = bench.sizes.pipelined_events // 20, bench.sizes.lone_events // 4
        self.requests = bench.requests(
            self.name, workload.get_unknown_session(), workload.task_lives(self.many)
        )
        self.commands = bench.requests(f"{self.name}-redis", workload.ping(), workload.redis_task_lives(self.many))
        self.lone_requests = bench.requests(f"{self.name}-lone", workload.task_lives(2 * self.few))
        self.lone_commands = bench.requests(f"{self.name}-redis-lone", workload.redis_task_lives(2 * self.few))

    def round(self) -> dict[str, float]:
        bench, few = self.bench, self.few
        steps = workload.TASK_STEPS
        ours = bench.drive("pipeline", self.requests, 1, bench.sidecar(bench.fresh_copy(self.database)))
        lone = bench.drive(
            "round_trips", self.lone_requests, steps * few, bench.sidecar(bench.fresh_copy(self.database))
        )
        with RedisServer(bench.directory, "always") as redis:
            there = bench.drive("pipeline", self.commands, 1, redis.command)
            there_lone = bench.drive("round_trips", self.lone_commands, steps * few, redis.command)
        python = bench.run_words(
            bench.python("python_sqlite"), "tasks", bench.fresh_file(), few, workload.TASK_PARAMS, workload.TASK_RESULT
        )
        return {
            "ours": self.many / ours["seconds"],
            "ours_lone": few / lone["seconds"],
            "redis": self.many / there["seconds"],
            "redis_lone": few / there_lone["seconds"],
            "python": few / python["seconds"],
        }


class Flows:
    """One Node server with 64 flows, half writes and half reads."""

    name = "flows"
    figure = "Node, 64 flows, half writes"
    rows = (
        Row(figure, "operations/s", "ours", "redis", "Redis, appendfsync always"),
        Row(figure, "operations/s", "ours", "sqlite", "node:sqlite in process, a commit each write"),
    )
    flows = 64

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.operations = bench.sizes.flow_operations

    def round(self) -> dict[str, float]:
        bench = self.bench
        figures = {"ours": self.run("sidecar", *bench.sidecar(bench.fresh_file()))}
        with RedisServer(bench.directory, "always") as redis:
            figures["redis"] = self.run("redis", redis.socket)
        return figures | {"sqlite": self.run("sqlite", bench.fresh_file())}

    def run(self, backend: str, *where: object) -> float:
        words = [backend, self.operations, self.flows, workload.EVENT_DATA, *where]
        run = self.bench.run_words(self.bench.node("flows"), *words)
        return run["operations"] / run["seconds"]
