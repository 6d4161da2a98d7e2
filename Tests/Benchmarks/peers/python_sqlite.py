"""Python's sqlite3 in the server's own process: what one writes by hand instead of using a sidecar.

    python_sqlite.py store DATABASE EVENTS SESSIONS each|10ms DATA
    python_sqlite.py make DATABASE SESSIONS EVENTS_PER_SESSION DATA
    python_sqlite.py read DATABASE CALLS AFTER LIMIT
    python_sqlite.py tasks DATABASE COUNT PARAMS RESULT

Messages are objects in such a server, so it turns them into JSON text and back. Writes one JSON object about the time
that it took.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Callable

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
  session_id TEXT PRIMARY KEY, last_activity INTEGER NOT NULL, last_event_id INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
  session_id TEXT NOT NULL, id INTEGER NOT NULL, timestamp INTEGER NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY (session_id, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tasks (
  task_id TEXT PRIMARY KEY, status TEXT NOT NULL, status_message TEXT, method TEXT, params TEXT, result TEXT,
  created_at INTEGER NOT NULL, last_updated_at INTEGER NOT NULL
) WITHOUT ROWID;
"""
#: as long as the sidecar's groups
GROUP_SECONDS = 0.010


def connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(SCHEMA)
    return connection


def now() -> int:
    return time.time_ns() // 1_000_000


def session_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012}"


def make_sessions(connection: sqlite3.Connection, count: int) -> None:
    connection.execute("BEGIN")
    rows = ((session_id(number), now()) for number in range(count))
    connection.executemany("INSERT INTO sessions VALUES (?, ?, 0)", rows)
    connection.execute("COMMIT")


def append(connection: sqlite3.Connection, session: str, message: object) -> int:
    moment = now()
    (event_id,) = connection.execute(
        "UPDATE sessions SET last_activity = ?, last_event_id = last_event_id + 1 WHERE session_id = ?"
        " RETURNING last_event_id",
        (moment, session),
    ).fetchone()
    text = json.dumps(message, separators=(",", ":"))
    connection.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (session, event_id, moment, text))
    return event_id


def store(path: str, events: int, sessions: int, commits: str, data: str) -> dict[str, float]:
    connection = connect(path)
    make_sessions(connection, sessions)
    message = json.loads(data)
    names = [session_id(number) for number in range(sessions)]
    group_seconds = GROUP_SECONDS if commits == "10ms" else 0
    samples = []
    begin = time.perf_counter()
    stored = 0
    while stored < events:
        start = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        while stored < events:
            append(connection, names[stored % sessions], message)
            stored += 1
            if time.perf_counter() - start >= group_seconds:
                break
        connection.execute("COMMIT")
        samples.append(time.perf_counter() - start)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "p50_us": median_us(samples)}


def make(path: str, sessions: int, events: int, data: str) -> dict[str, float]:
    connection = connect(path)
    make_sessions(connection, sessions)
    message = json.loads(data)
    connection.execute("BEGIN")
    for number in range(sessions):
        for _ in range(events):
            append(connection, session_id(number), message)
    connection.execute("COMMIT")
    connection.close()
    return {"events": sessions * events}


def read(path: str, calls: int, after: int, limit: int) -> dict[str, float]:
    connection = connect(path)
    names = [name for (name,) in connection.execute("SELECT session_id FROM sessions ORDER BY session_id")]

    def call(number: int) -> None:
        rows = connection.execute(
            "SELECT id, timestamp, data FROM events WHERE session_id = ? AND id > ? ORDER BY id LIMIT ?",
            (names[number % len(names)], after, limit),
        )
        events = [{"id": row[0], "timestamp": row[1], "data": json.loads(row[2])} for row in rows]
        if len(events) != limit:
            raise SystemExit("a session has too few events")

    return timed(call, calls)


def tasks(path: str, count: int, params: str, result: str) -> dict[str, float]:
    """A task's whole life, with a commit after each step that writes."""
    connection = connect(path)
    arguments, outcome = json.loads(params), json.loads(result)

    def life(number: int) -> None:
        task = session_id(number)
        connection.execute(
            "INSERT INTO tasks VALUES (?, 'working', NULL, 'tools/call', ?, NULL, ?, ?)",
            (task, json.dumps(arguments), now(), now()),
        )
        connection.execute(
            "UPDATE tasks SET status_message = ?, last_updated_at = ? WHERE task_id = ?",
            ("half of it is done", now(), task),
        )
        row = connection.execute("SELECT * FROM tasks WHERE task_id = ?", (task,)).fetchone()
        json.loads(row[4])
        connection.execute(
            "UPDATE tasks SET status = 'completed', result = ?, last_updated_at = ?"
            " WHERE task_id = ? AND status = 'working'",
            (json.dumps(outcome), now(), task),
        )
        (stored,) = connection.execute("SELECT result FROM tasks WHERE task_id = ?", (task,)).fetchone()
        json.loads(stored)
        connection.execute("DELETE FROM tasks WHERE task_id = ?", (task,))

    return timed(life, count)


def timed(call: Callable[[int], None], count: int) -> dict[str, float]:
    """Times `count` calls, after a warm-up of a tenth as many that nobody counts."""
    for number in range(count // 10 + 1):
        call(number)
    samples = []
    for number in range(count):
        start = time.perf_counter()
        call(number)
        samples.append(time.perf_counter() - start)
    return {"seconds": sum(samples), "p50_us": median_us(samples)}


def median_us(samples: list[float]) -> float:
    return sorted(samples)[len(samples) // 2] * 1e6


WORKS = {"store": store, "make": make, "read": read, "tasks": tasks}

if __name__ == "__main__":
    work, *words = sys.argv[1:]
    arguments = [int(word) if word.isdigit() else word for word in words]
    print(json.dumps(WORKS[work](*arguments)))
