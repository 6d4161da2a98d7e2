"""What a server does with it: the lives of tasks, and many flows at once."""

from pathlib import Path

import workload
from bench import Bench
from measures.row import Row, at_least
from peers.redis_server import RedisServer
from programs import NODE_MODULES

CLIENTS = Path(__file__).parents[3] / "protocol/clients"


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
    """One server with 64 flows, half writes and half reads, through the client that ships."""

    name = "flows"
    node = "Node's client, 64 flows, half writes"
    python = "Python's client, 64 flows, half writes"
    rows = (
        Row(node, "operations/s", "node", "node_redis", "node-redis, appendfsync always", at_least(1.1)),
        Row(node, "operations/s", "node", "node_sqlite", "node:sqlite in process, a commit each write"),
        Row(python, "operations/s", "python", "python_redis", "redis-py, appendfsync always", at_least(1.5)),
    )
    flows = 64

    def prepare(self, bench: Bench) -> None:
        self.bench = bench

    def round(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for language, program in (("node", self.bench.node("flows")), ("python", self.bench.python("flows"))):
            database = self.bench.fresh_file()
            figures[language] = self.run(program, "client", CLIENTS / language, self.bench.binary, database)
            with RedisServer(self.bench.directory, "always") as redis:
                with_modules = ["env", f"NODE_PATH={NODE_MODULES}", *program]
                figures[f"{language}_redis"] = self.run(with_modules, "redis", redis.socket)
        return figures | {"node_sqlite": self.run(self.bench.node("flows"), "sqlite", self.bench.fresh_file())}

    def run(self, program: list[str], backend: str, *where: object) -> float:
        words = [backend, self.bench.sizes.flow_operations, self.flows, workload.EVENT_DATA, *where]
        run = self.bench.run_words(program, *words)
        return run["operations"] / run["seconds"]
