"""PgBouncer in front of a server of the tests: sessions share its connections, transaction by transaction."""

from __future__ import annotations

import contextlib
import subprocess
import time

import psycopg

from postgres_server import PostgresServer, free_port
from sidecar import PATIENCE

PROGRAM = "/usr/sbin/pgbouncer"
#: fewer than there are clients, so that each connection serves several
CONNECTIONS = 3


class PgBouncer:
    """It ends with `close`, or with the thread that started it."""

    def __init__(self, server: PostgresServer) -> None:
        self.folder = server.folder
        self.port = free_port()
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={server.folder} port={server.port} user=tester\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\nmax_client_conn = 200\n"
        )
        self.log = self.folder / "pgbouncer.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*server.as_user("--pdeathsig", "KILL"), PROGRAM, settings], cwd=self.folder, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.address("postgres"), connect_timeout=5).close()
                break
            time.sleep(0.02)

    def address(self, database: str) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> PgBouncer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
