"""The workbench on which every measure stands: sizes, programs, databases that the product made, and the drivers."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import workload
from programs import NODE, PEERS


@dataclass(frozen=True)
class Sizes:
    """How much each measure does in one round."""

    sessions: int = 100
    pipelined_events: int = 200_000  # of 200 bytes; of larger ones as many bytes
    reads: int = 20_000
    lone_events: int = 2_000
    starts: int = 50
    replays: int = 200
    replay_sessions: int = 20
    replay_sessions_events: int = 2_000
    flow_operations: int = 40_000
    growth_reads: int = 5_000
    growth_pipelined: int = 50_000
    exits: int = 20
    exit_sessions: int = 200
    exit_events: int = 20_000
    expired_sessions: int = 100_000
    client_lone_events: int = 2_000
    client_batches: int = 20
    client_replayed: int = 1_000
    client_replays: int = 20
    event_loop_seconds: int = 10
    #: whatever a measure asks for
    most_sessions: int = 10_000_000
    most_events: int = 10_000_000  # of one session


QUICK = Sizes(
    pipelined_events=10_000,
    reads=500,
    lone_events=100,
    starts=5,
    replays=10,
    replay_sessions=3,
    replay_sessions_events=1_100,
    flow_operations=1_000,
    growth_reads=200,
    growth_pipelined=1_000,
    exits=3,
    exit_sessions=20,
    exit_events=1_000,
    client_lone_events=20,
    client_batches=1,
    client_replayed=50,
    client_replays=1,
    event_loop_seconds=1,
    most_sessions=1_000,
    most_events=1_100,
)


class Conversation:
    """A child that is asked one thing after the other."""

    def __init__(self, command: list[str]):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *_: object) -> None:
        self.child.communicate()

    def ask(self, method: str, **params: object) -> dict:
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline())
        if "result" not in answer:
            raise Failed(f"{method}: {answer}")
        return answer["result"]


class Failed(Exception):
    """A program that a measure needs did not do what it should; its own words are on stderr."""


class Bench:
    def __init__(self, binary: Path, programs: dict[str, str], directory: Path, sizes: Sizes):
        self.binary = binary
        self.programs = programs
        self.directory = directory
        self.sizes = sizes
        #: what a figure means nothing without, found while it was measured
        self.facts: dict[str, str] = {}

    # Databases

    def database(self, name: str, sessions: int, events_per_session: int = 0, state: str = "{}") -> Path:
        """A database that the product itself made, so that ours and floor write the very same schema."""
        path = self.directory / f"{name}.db"
        making = self.requests(
            f"{name}-making", workload.get_unknown_session(), workload.create_sessions(sessions, state)
        )
        self.drive("pipeline", making, 1, self.sidecar(path))
        if events_per_session > 0:
            # Ten million requests would be a file of gigabytes: a smaller one is sent over and over.
            at_once = max(100_000 // sessions, 1)
            each = next(count for count in range(at_once, 0, -1) if events_per_session % count == 0)
            events = workload.store_events(each * sessions, sessions)
            making = self.requests(f"{name}-making", workload.get_unknown_session(), events)
            self.drive("pipeline", making, events_per_session // each, self.sidecar(path))
        making.unlink()
        self.check_events(path, events_per_session * sessions)
        return path

    def peer_files(self, sessions: int, events: int, only: tuple[str, ...] = ()) -> dict[str, Path]:
        """What the in-process peers read, made by themselves; by the names of their programs."""
        programs = {
            "python_sqlite": self.python("python_sqlite"),
            "node_sqlite": self.node("node_sqlite"),
            "mcp_persist_store": self.python("mcp_persist_store"),
        }
        files = {}
        for name in only or programs:
            files[name] = self.directory / f"{name}.db"
            self.run_words(programs[name], "make", files[name], sessions, events, workload.EVENT_DATA)
        return files

    def expired_database(self, name: str, sessions: int) -> Path:
        """Sessions with state and two events each, all of them past their deadline."""
        path = self.directory / f"{name}.db"
        requests = self.requests(
            f"{name}-making",
            workload.get_unknown_session(),
            workload.create_sessions(sessions, state='{"k":1}'),
            workload.store_events(2 * sessions, sessions),
        )
        self.drive("pipeline", requests, 1, self.sidecar(path))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE sessions SET expires_at = 1, check_at = 1")
            connection.commit()
        return path

    def fresh_copy(self, database: Path) -> Path:
        """A copy for one run, made after everything written before it is on disk: nobody pays for another's writes."""
        copy = self.directory / "run.db"
        for old in self.directory.glob("run.db*"):
            old.unlink()
        if database.with_name(f"{database.name}-wal").exists():
            raise Failed(f"{database.name} was not closed cleanly: a -wal file is beside it")
        shutil.copyfile(database, copy)
        os.sync()
        return copy

    def fresh_file(self) -> Path:
        """Where a peer makes its database anew."""
        for old in self.directory.glob("peer.db*"):
            old.unlink()
        os.sync()
        return self.directory / "peer.db"

    def check_events(self, database: Path, expected: int) -> None:
        """A store that lost or doubled an event has no speed."""
        with closing(sqlite3.connect(database)) as connection:
            (stored,) = connection.execute("SELECT total(id - coalesce(first_id, id) + 1) FROM events").fetchone()
            (numbered,) = connection.execute("SELECT total(last_event_id) FROM sessions").fetchone()
            (counted,) = connection.execute("SELECT events FROM store").fetchone()
        if {stored, numbered, counted} != {expected}:
            raise Failed(f"expected {expected} events, found {stored}, numbered {numbered:.0f}, counted {counted}")

    def revision(self, database: Path) -> int:
        """The last number that the store has given out."""
        with closing(sqlite3.connect(database)) as connection:
            (revision,) = connection.execute("SELECT revision FROM store").fetchone()
        return revision

    def check_work(self, database: Path, expected: int) -> None:
        """A queue that lost an item or did one twice has no speed."""
        with closing(sqlite3.connect(database)) as connection:
            found = dict(connection.execute("SELECT status, count(*) FROM work GROUP BY status").fetchall())
        if found != {"done": expected}:
            raise Failed(f"expected {expected} items that are done, found {found}")

    # Programs

    def requests(self, name: str, *parts: Iterable[str]) -> Path:
        return workload.write_requests(self.directory / f"{name}.jsonl", *parts)

    def sidecar(self, database: Path) -> list[str]:
        caps = ["--max-events-per-session", "0", "--max-sessions", "0"]
        return [str(self.binary), "--database", str(database), *caps]

    def floor(self, name: str, *arguments: object) -> list[str]:
        return [self.programs[name], *map(str, arguments)]

    def python(self, name: str) -> list[str]:
        return [sys.executable, str(PEERS / f"{name}.py")]

    def node(self, name: str) -> list[str]:
        return [NODE, str(PEERS / f"{name}.mjs")]

    def drive(self, driver: str, requests: Path, count: int, command: list[str]) -> dict[str, float]:
        return self.run([self.programs[driver], str(requests), str(count), *command])

    def run_words(self, program: list[str], *words: object) -> dict[str, float]:
        return self.run([*program, *map(str, words)])

    def run(self, command: list[str]) -> dict[str, float]:
        """Runs a program that reports what it measured as one JSON object."""
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=3_600)
        if done.returncode != 0:
            raise Failed(f"{Path(command[0]).name} ended with {done.returncode}")
        return json.loads(done.stdout)
