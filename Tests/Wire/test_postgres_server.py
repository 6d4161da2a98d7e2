"""The server that the tests run beside: it is what they take it for, and nothing of it stays."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from postgres_server import PASSWORD, PostgresServer
from test_process import is_running, until


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def test_the_socket_lets_everybody_in_and_the_port_asks_for_the_password(postgres: PostgresServer) -> None:
    name = postgres.new_database()
    for address in (postgres.address(name), postgres.address(name, by_tcp=True)):
        with psycopg.connect(address) as connection:
            assert connection.execute("SELECT current_database()").fetchall() == [(name,)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.address(name, by_tcp=True).replace(PASSWORD, "guessed"))
    postgres.drop(name)
    assert postgres.query("SELECT count(*) FROM pg_database WHERE datname = %s", name) == [(0,)]


def test_texts_are_not_sorted_by_their_bytes(postgres: PostgresServer) -> None:
    """Else a statement that forgot to say how would not be noticed."""
    assert postgres.query("SELECT x FROM (VALUES ('B'), ('a')) AS v(x) ORDER BY x") == [("a",), ("B",)]


def test_what_was_committed_is_there_after_a_kill(server: PostgresServer) -> None:
    port = server.port
    server.query("CREATE TABLE t AS SELECT 1 AS n")
    with server.connect() as connection:
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    server.start()
    assert server.port == port and server.query("SELECT n FROM t") == [(1,)]


def test_a_standby_follows_and_takes_over(server: PostgresServer) -> None:
    with server.standby() as standby:
        server.query("CREATE TABLE t AS SELECT 1 AS n")
        until(lambda: standby.has_caught_up(server), "the standby has all")
        assert standby.query("SELECT n FROM t") == [(1,)]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            standby.query("INSERT INTO t VALUES (2)")
        server.kill()
        standby.promote()
        standby.query("INSERT INTO t VALUES (2)")


def test_it_ends_with_whoever_started_it() -> None:
    program = (
        "import os, postgres_server\n"
        "server = postgres_server.PostgresServer()\n"
        "print(server.process.pid, server.folder, flush=True)\n"
        "os._exit(1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True, text=True,
                          check=False)  # fmt: skip
    pid, folder = done.stdout.split()
    until(lambda: not is_running(int(pid)), "the server is gone")
    shutil.rmtree(folder)
