"""The same store on a PostgreSQL server: beside the file, beside what one would use instead, with more sidecars, and
with more in it. The way to the server takes a while where that is said, as one to another machine does."""

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import workload
from bench import Bench, Failed
from measures.row import Row, at_least, at_most
from programs import build_sidecar

HERE = Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(HERE.parent / "Wire"), str(HERE.parent / "Reliability")]

from network import Network  # noqa: E402
from postgres_server import PostgresServer  # noqa: E402

#: seconds that a message takes from one machine to another and back
TRIP = 0.0005
#: as it is installed: what is answered is on disk
DURABLE = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
AT_ONCE = 500
SIDECARS = 4


class ServerMeasure:
    """What these share: a server, and a database that each run begins with."""

    name: str
    sessions = 100

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.binary = bench.binary if serves(bench.binary) else build_sidecar()

    @contextmanager
    def server(self, **environment: str) -> Iterator[PostgresServer]:
        with PostgresServer(DURABLE, environment=environment) as server:
            self.bench.facts["PostgreSQL"] = str(server.query("SHOW server_version")[0][0])
            yield server

    def made(self, server: PostgresServer, name: str, sessions: int) -> None:
        """A database with so many sessions, to be copied for each run."""
        server.query(f"CREATE DATABASE {name}")
        requests = self.bench.requests(
            f"{self.name}-making", workload.get_unknown_session(), workload.create_sessions(sessions))
        self.bench.drive("pipeline", requests, 1, self.sidecar(server.address(name)))
        server.query("VACUUM ANALYZE", database=name)

    def fresh(self, server: PostgresServer, name: str) -> str:
        """A copy for one run, when all that was written before is on disk."""
        server.drop("run")
        server.query(f"CREATE DATABASE run TEMPLATE {name} STRATEGY FILE_COPY")
        server.query("CHECKPOINT")
        return "run"

    def sidecar(self, address: str) -> list[str]:
        return [str(self.binary), "--database", address, "--max-events-per-session", "0", "--max-sessions", "0"]

    def check_events(self, server: PostgresServer, name: str, expected: int) -> None:
        """A store that lost or doubled an event has no speed."""
        found = server.query(
            "SELECT (SELECT CAST(sum(id - coalesce(first_id, id) + 1) AS BIGINT) FROM mcp_session_store.events),"
            " (SELECT CAST(sum(last_event_id) AS BIGINT) FROM mcp_session_store.sessions)", database=name)
        if found != [(expected, expected)]:
            raise Failed(f"expected {expected} events, found and numbered {found}")

    def peer(self, kind: str, address: str, count: int, at_once: int) -> dict[str, float]:
        return self.bench.run_words(self.bench.python("server_events"), kind, address, count, at_once)


def serves(binary: Path) -> bool:
    """Whether it can load libpq: the fully static build cannot."""
    return b"libc.so.6" in binary.read_bytes()


class ServerWrites(ServerMeasure):
    name = "server_writes"
    figure = "store_event on PostgreSQL"
    rows = (
        Row(f"{figure}, pipelined, 100 sessions, by a Unix socket", "events/s", "socket", "file", "our SQLite file",
            at_least(0.8)),
        Row(f"{figure}, pipelined, 100 sessions, 0.5 ms away", "events/s", "away", "asyncpg",
            "asyncpg, an INSERT each, 500 at once", at_least(15)),
        Row(f"{figure}, pipelined, 100 sessions, 0.5 ms away", "events/s", "away", "persist",
            "mcp-persist, PostgreSQL, 500 at once", at_least(15)),
        Row(f"{figure}, one at a time, 0.5 ms away, p50", "µs", "lone", "persist_lone", "mcp-persist, PostgreSQL",
            at_most(1.1)),
        Row(f"{figure}, one at a time, 0.5 ms away, p50", "µs", "lone", "asyncpg_lone", "asyncpg, an INSERT each"),
        Row("get_session on PostgreSQL, one at a time, 0.5 ms away, p50", "µs", "read", "trip",
            "one trip through the network"),
    )  # fmt: skip

    def prepare(self, bench: Bench) -> None:
        super().prepare(bench)
        self.events = bench.sizes.pipelined_events
        self.lone_events = max(bench.sizes.lone_events // 4, 50)
        self.file = bench.database(self.name, self.sessions)
        self.requests = bench.requests(
            self.name, workload.get_unknown_session(), workload.store_events(self.events, self.sessions))
        self.lone = bench.requests(f"{self.name}-lone", workload.store_events(self.sessions, self.sessions))
        self.reads = bench.requests(f"{self.name}-reads", workload.get_sessions(self.sessions))

    def round(self) -> dict[str, float]:
        bench, events, lone = self.bench, self.events, self.lone_events
        figures = {}
        with self.server() as server, Network(server.port) as network:
            network.delay(TRIP / 2)
            self.made(server, "made", self.sessions)

            def away(name: str) -> str:
                return server.address(name, by_tcp=True, port=network.port, sslmode="disable")

            copy = bench.fresh_copy(self.file)
            figures["file"] = events / bench.drive("pipeline", self.requests, 1, bench.sidecar(copy))["seconds"]
            for name, address in (("socket", server.address), ("away", away)):
                database = self.fresh(server, "made")
                command = self.sidecar(address(database))
                figures[name] = events / bench.drive("pipeline", self.requests, 1, command)["seconds"]
                self.check_events(server, database, events)
            for name, requests in (("lone", self.lone), ("read", self.reads)):
                command = self.sidecar(away(self.fresh(server, "made")))
                figures[name] = bench.drive("round_trips", requests, lone, command)["trip_p50_us"]
            server.query("CREATE DATABASE peers")
            for name, kind in (("asyncpg", "asyncpg"), ("persist", "mcp_persist")):
                server.query("CHECKPOINT")
                many = max(events // 10, AT_ONCE) if events > 20_000 else AT_ONCE
                figures[name] = self.peer(kind, away("peers"), many, AT_ONCE)["per_second"]
                figures[f"{name}_lone"] = self.peer(kind, away("peers"), lone, 1)["p50_us"]
            figures["trip"] = TRIP * 1e6
        return figures


class ServerWork(ServerMeasure):
    """Items of work, a hundred at once from one Python process, beside a queue that is made for this server."""

    name = "server_work"
    rows = (
        Row("enqueue, claim, settle on PostgreSQL, from Python, 100 at once", "items/s", "ours", "procrastinate",
            "procrastinate, the same", at_least(3)),
    )  # fmt: skip

    def prepare(self, bench: Bench) -> None:
        super().prepare(bench)
        self.items = max(bench.sizes.pipelined_events // 10_000 * 100, 100)

    def round(self) -> dict[str, float]:
        figures = {}
        with self.server() as server:
            for kind in ("ours", "procrastinate"):
                server.query(f"CREATE DATABASE {kind}")
                server.query("CHECKPOINT")
                run = self.bench.run_words(
                    self.bench.python("server_queues"), kind, server.address(kind), self.items, 100,
                    workload.EVENT_DATA, self.binary)  # fmt: skip
                figures[kind] = run["per_second"]
            done = server.query("SELECT count(*) FROM mcp_session_store.work WHERE status = 'done'", database="ours")
            if done != [(self.items + 100,)]:
                raise Failed(f"expected {self.items + 100} items that are done, found {done}")
        return figures


class ManySidecars(ServerMeasure):
    """One sidecar beside four, each with sessions of its own, where the disk takes a millisecond for a sync."""

    name = "server_sidecars"
    figure = "store_event on PostgreSQL, pipelined, 0.5 ms away, a sync of 1 ms"
    rows = (Row(f"{figure}: 4 sidecars", "events/s", "four", "one", "1 sidecar", at_least(2.8)),)

    def prepare(self, bench: Bench) -> None:
        super().prepare(bench)
        self.events = bench.sizes.pipelined_events // 4
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", bench.directory / "slow_sync.so",
                        HERE / "floors" / "slow_sync.c", "-ldl"], check=True)  # fmt: skip
        self.each = self.sessions // SIDECARS
        self.requests = []
        for number in range(SIDECARS):
            sessions = range(number * self.each, (number + 1) * self.each)
            data = f',"data":{workload.EVENT_DATA}'
            chosen = (sessions[count % self.each] for count in range(self.events))
            self.requests.append(bench.requests(
                f"{self.name}-{number}", workload.get_unknown_session(),
                workload.of_sessions("store_event", chosen, data)))

    def round(self) -> dict[str, float]:
        figures = {}
        with ExitStack() as lives:
            server = lives.enter_context(self.server(LD_PRELOAD=str(self.bench.directory / "slow_sync.so")))
            network = lives.enter_context(Network(server.port))
            network.delay(TRIP / 2)
            self.made(server, "made", self.sessions)
            for name, count in (("one", 1), ("four", SIDECARS)):
                database = self.fresh(server, "made")
                address = server.address(database, by_tcp=True, port=network.port, sslmode="disable")
                command = self.sidecar(address)
                with ThreadPoolExecutor(count) as threads:
                    runs = list(threads.map(
                        lambda requests: self.bench.drive("pipeline", requests, 1, command), self.requests[:count]))
                figures[name] = count * self.events / max(run["seconds"] for run in runs)
                self.check_events(server, database, count * self.events)
        return figures


class ServerGrowth(ServerMeasure):
    """The same operations in a store of few sessions and in one of many."""

    name = "server_growth"
    small, large = 1_000, 100_000
    trips = {
        "get_session": "",
        "get_events_after": ',"limit":10',
        "set_session_state": ',"key":"k0","value":18',
        "store_event": f',"data":{workload.EVENT_DATA}',
    }
    rows = tuple(
        Row(f"{method} on PostgreSQL, one at a time, p50: 100,000 sessions beside 1,000", "µs", f"large_{method}",
            f"small_{method}", "in the small store", at_most(2))
        for method in trips
    )  # fmt: skip

    def prepare(self, bench: Bench) -> None:
        super().prepare(bench)
        self.count = max(bench.sizes.growth_reads // 5, 50)
        self.sizes = {name: min(size, bench.sizes.most_sessions)
                      for name, size in (("small", self.small), ("large", self.large))}  # fmt: skip
        self.requests = {
            (size, method): bench.requests(
                f"{self.name}-{size}-{method}",
                workload.of_sessions(method, workload.picks(self.count * 11 // 10 + 1, sessions), params))
            for size, sessions in self.sizes.items() for method, params in self.trips.items()
        }  # fmt: skip

    def round(self) -> dict[str, float]:
        figures = {}
        with self.server() as server:
            for size, sessions in self.sizes.items():
                self.made(server, size, sessions)
                command = self.sidecar(server.address(size))
                for method in self.trips:
                    run = self.bench.drive("round_trips", self.requests[size, method], self.count, command)
                    figures[f"{size}_{method}"] = run["trip_p50_us"]
        return figures
