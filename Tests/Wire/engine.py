"""The engines that a store can be on, and which tests run on which: the one list.

A test that asks for `database`, or for anything made of it, is a test of any engine, unless it is marked `file_only`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

ENGINES = ("file", "postgres")

#: by a name of the test's own: where a database is, the path of a file or an address
Place = Callable[[str], Path | str]

#: what holds the tables on a server, unless the program is told otherwise
SCHEMA = "mcp_session_store"

#: The files whose tests run on every engine without being asked to; `--engine all` runs all others too. Chosen for
#: what differs most from engine to engine, so that the whole stays short.
ON_BOTH = {
    "test_archive.py",
    "test_checks.py",
    "test_dump.py",
    "test_event_subscriptions.py",
    "test_guards.py",
    "test_listings.py",
    "test_log.py",
    "test_pipelining.py",
    "test_policies.py",
    "test_replicas.py",
    "test_security.py",
    "test_subscriptions.py",
    "test_totals.py",
    "test_transcripts.py",
    "test_user_data.py",
    "test_values.py",
    "test_work.py",
}


def slack(engine: str) -> int:
    """Milliseconds by which a time that the store tells may differ from this machine's: that of a server is known as
    far as a trip to it takes."""
    return 0 if engine == "file" else 1_000


def contents(database: Path | str, schema: str = SCHEMA) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, as the engine has them."""
    if isinstance(database, Path):
        with closing(sqlite3.connect(database)) as file:
            names = [name for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {name: file.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}
    import psycopg
    from psycopg.sql import SQL, Identifier

    with closing(psycopg.connect(database)) as server:
        names = [name for (name,) in server.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])]
        select = SQL("SELECT * FROM {}.{}")
        return {name: server.execute(select.format(Identifier(schema), Identifier(name))).fetchall() for name in names}
