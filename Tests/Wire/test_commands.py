"""The commands beside the service: what they print, what they leave alone, and how they end."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import sqlite3
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sidecar import BINARY, PATIENCE, Sidecar, clean_environment, converse, line, request
from test_files import Unprivileged, contents, unprivileged  # noqa: F401 (a fixture)

ROOT = Path(__file__).parents[2]
HOUR = 3_600_000
ESCAPE = "\x1b"
#: what a terminal would obey, or what would make it show something else
HARMFUL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def command(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    done = subprocess.run(
        [BINARY, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False,
        env=clean_environment(**environment),
    )  # fmt: skip
    # Not as subprocess decodes text, which takes a carriage return for the end of a line.
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def output(*words: str | Path, **environment: str) -> str:
    """What a command prints that ends well and has nothing to complain of."""
    done = command(*words, **environment)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout


def is_refused(done: subprocess.CompletedProcess[str], status: int, *mentions: str) -> None:
    """One line on stderr that says what is the matter, nothing on stdout."""
    assert done.returncode == status, done
    assert done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith("mcp-session-store: "), done
    for mention in mentions:
        assert mention in done.stderr, done


def lines(text: str) -> list[Any]:
    return [json.loads(row) for row in text.split("\n")[:-1]]  # splitlines() would know more ends than this one


def listed() -> dict[str, str]:
    """The commands and their operands, as --help lists them."""
    text = output("--help").split("\nCommands")[1].split("\n\n")[0]
    return {name: operands for name, operands in re.findall(r"^  ([a-z]+)((?: [\[\]A-Z]+)*) +\S", text, re.MULTILINE)}


COMMANDS = listed()
#: those that look into a file, each with words that make it run
READERS = {"status": [], "sessions": [], "tasks": [], "events": ["s"]}


def fill(sidecar: Sidecar) -> None:
    """Something of each kind."""
    now = time.time_ns() // 1_000_000
    sidecar.call("create_session", session_id="s", status="active", user_id="ann", tenant_id="t", principal="p")
    sidecar.call("create_session", session_id="pending")
    sidecar.call("create_session", session_id="over", created_at=now - HOUR, ttl=1)
    sidecar.call("create_session", session_id="idle", last_activity=now - HOUR, inactivity_timeout=1)
    sidecar.call("create_session", session_id="paused", status="active")
    sidecar.call("suspend_session", session_id="paused")
    sidecar.call("create_session", session_id="bad", status="active")
    sidecar.call("store_event", session_id="bad", data="why")
    sidecar.call("invalidate_session", session_id="bad")
    for n in range(1, 4):
        sidecar.call("store_event", session_id="s", data={"n": n}, stream_id="a" if n == 2 else None)
    for n, status in enumerate(["working", "completed", "completed", "failed"]):
        sidecar.call("create_task", task_id=f"t{n}", session_id="s" if n else None, status=status)
    sidecar.call("put_value", collection="c", key="k", value=1)
    sidecar.call("put_value", collection="c", key="gone", value=1, ttl=1)
    sidecar.call("append_log_entry", session_id="s", entry={"message_id": "m"})


@pytest.fixture
def filled(spawn: Callable[..., Sidecar]) -> Sidecar:
    """A sidecar that goes on, on a file with something of each kind."""
    sidecar = spawn()
    fill(sidecar)
    return sidecar


@pytest.fixture
def closed(filled: Sidecar, database: Path) -> Path:
    """The same file, when nobody has it open."""
    filled.finish()
    return database


def exact(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its bytes and the time of its last change. The memory that SQLite's readers and writers share
    is left out: readers note there how far they read."""
    found = [entry for entry in folder.iterdir() if not entry.name.endswith("-shm")]
    return {entry.name: (entry.stat().st_mtime_ns, entry.read_bytes()) for entry in found}


# --- The table of commands


def test_help_lists_the_commands() -> None:
    """What was promised; others may have joined."""
    promised = {"serve", "status", "sessions", "events", "tasks", "describe", "doctor", "completions", "help"}
    assert promised <= COMMANDS.keys()
    assert COMMANDS["events"].strip() == "SESSION"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, tmp_path: Path) -> None:
    text = output(name, "--help", HOME=str(tmp_path))
    assert text.startswith(f"Usage: mcp-session-store {name}{COMMANDS[name].rstrip()}")
    assert max(len(row) for row in text.splitlines()) <= 120
    assert "Exit codes: 0 done" in text
    assert output("help", name) == output(name, "-h") == text
    assert output(name, "--database", str(tmp_path / "x"), "--help") == text
    assert list(tmp_path.iterdir()) == []


def test_help_for_nothing_is_help_for_all() -> None:
    assert output("help") == output("--help")
    is_refused(command("help", "evnets"), 64, "'evnets'", "'events'")


def test_serve_by_its_name_is_what_is_meant_without_one(database: Path) -> None:
    text = line(request("create_session", 1, session_id="s"))
    for words in (["serve", "--database", str(database)], ["--database", str(database), "serve"],
                  ["--database", str(database)]):  # fmt: skip
        done = subprocess.run(
            [BINARY, *words], input=text, capture_output=True, timeout=PATIENCE, check=True, env=clean_environment()
        )
        assert json.loads(done.stdout)["id"] == 1


@pytest.mark.parametrize(
    ("words", "mentions"),
    [
        (["statsu"], ["'statsu'", "'status'", "--help"]),
        (["evens"], ["'evens'", "'events'"]),
        (["Sessions"], ["'Sessions'", "'sessions'"]),
        (["xyzzy"], ["'xyzzy'", "--help"]),
        (["status", "--jason"], ["'--jason'", "'--json'", "status --help"]),
        (["status", "-j"], ["'-j'"]),
        (["status", "extra"], ["'extra'", "mcp-session-store status"]),
        (["events"], ["SESSION"]),
        (["events", "a", "b"], ["'b'"]),
        (["events", "s", "--after", "x"], ["--after", "'x'", "whole number"]),
        (["events", "s", "--after", "-1"], ["--after"]),
        (["events", "s", "--after"], ["--after", "ID"]),
        (["events", "s", "--stream="], ["--stream"]),
        (["sessions", "--status", "working"], ["--status", "'working'", "pending"]),
        (["tasks", "--status", "pending"], ["--status", "'pending'", "input_required"]),
        (["sessions", "--limit", "many"], ["--limit"]),
        (["sessions", "--follow"], ["'sessions'", "--follow"]),
        (["status", "--max-sessions", "5"], ["'status'", "--max-sessions"]),
        (["status", "--max-suspension", "soon"], ["--max-suspension", "'soon'"]),
        (["status", "--json=maybe"], ["--json", "'maybe'"]),
        (["status", "--database", ":memory:"], ["memory"]),
        (["--", "status"], ["'--'"]),
        (["completions"], ["SHELL"]),
        (["completions", "fish"], ["'fish'", "bash", "zsh"]),
        (["--json"], ["'serve'", "--json"]),
    ],
)
def test_a_wrong_command_line(words: list[str], mentions: list[str], tmp_path: Path) -> None:
    is_refused(command(*words, HOME=str(tmp_path)), 64, *mentions)
    assert list(tmp_path.iterdir()) == []


def test_the_environment_names_the_file_and_what_a_command_does_not_take_is_not_looked_at(closed: Path) -> None:
    environment = {
        "MCP_SESSION_STORE_DATABASE": str(closed),
        "MCP_SESSION_STORE_MAX_SESSIONS": "many",
        "MCP_SESSION_STORE_LIMIT": "1",
        "MCP_SESSION_STORE_JSON": "1",
    }
    assert output("sessions", "--limit", "0", **environment) == output("sessions", "--database", closed)
    is_refused(command("status", **environment | {"MCP_SESSION_STORE_MAX_SUSPENSION": "x"}), 64, "MAX_SUSPENSION")


def test_the_file_in_home_is_read_and_not_made(tmp_path: Path) -> None:
    is_refused(command("status", HOME=str(tmp_path)), 66, "sessions.db")
    assert list(tmp_path.iterdir()) == []
    is_refused(command("status", HOME=""), 78, "--database")


# --- Looking at a file without touching it


@pytest.mark.parametrize("name", [*READERS, "doctor"])
def test_beside_a_sidecar_nothing_is_changed(name: str, filled: Sidecar, database: Path) -> None:
    before = exact(database.parent)
    assert {"sessions.db", "sessions.db-wal", "sessions.db-lock"} <= before.keys()
    done = command(name, *READERS.get(name, []), "--database", database)
    assert done.returncode in (0, 1) and done.stdout, done
    assert exact(database.parent) == before
    filled.call("create_session", session_id="another")
    filled.finish()


@pytest.mark.parametrize("name", [*READERS, "doctor"])
def test_of_a_closed_file_nothing_is_changed_and_nothing_is_put_beside_it(name: str, closed: Path) -> None:
    before = {entry.name: entry.stat().st_mtime_ns for entry in closed.parent.iterdir()}, closed.read_bytes()
    assert command(name, *READERS.get(name, []), "--database", closed).stdout
    assert ({entry.name: entry.stat().st_mtime_ns for entry in closed.parent.iterdir()}, closed.read_bytes()) == before


@pytest.mark.parametrize("name", READERS)
def test_a_log_that_a_killed_sidecar_left_is_read_and_kept(name: str, filled: Sidecar, database: Path) -> None:
    filled.kill()
    before = exact(database.parent)
    assert before["sessions.db-wal"][1]
    output(name, *READERS[name], "--database", database)
    assert exact(database.parent) == before


def test_what_another_process_has_just_written_is_seen(filled: Sidecar, database: Path) -> None:
    for n in range(4, 30):
        filled.call("store_event", session_id="s", data=n)
        assert json.loads(output("status", "--json", "--database", database))["events"] == n + 1


def test_while_a_sidecar_writes_all_the_time(spawn: Callable[..., Sidecar], database: Path) -> None:
    """Nobody waits for the other for ever, nobody is refused, and each snapshot is whole."""
    sidecar = spawn("--max-events-per-session", "0")
    sidecar.call("create_session", session_id="s", status="active")
    stop = threading.Event()
    written = []

    def write() -> None:
        while not stop.is_set():
            written.append(sidecar.call("store_events", session_id="s", events=[{"data": "x" * 2_000}] * 50))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            events = lines(output("events", "s", "--json", "--database", database))
            assert [event["id"] for event in events] == list(range(1, len(events) + 1))
            assert len(events) % 50 == 0
            status = json.loads(output("status", "--json", "--database", database))
            assert status["events"] % 50 == 0 and status["events"] >= len(events)
            output("sessions", "--database", database)
            output("tasks", "--database", database)
    finally:
        stop.set()
        writer.join(PATIENCE)
    assert written and written[-1]["last_id"] == 50 * len(written)
    sidecar.finish()


def test_a_reader_that_stands_still_holds_nobody_up(spawn: Callable[..., Sidecar], database: Path) -> None:
    """A list whose reader does not read, and a follower that was stopped: the sidecar writes, checkpoints and ends."""
    sidecar = spawn()
    sidecar.call("create_session", session_id="s", status="active")
    sidecar.call("store_events", session_id="s", events=[{"data": "x" * 10_000}] * 100)
    arguments: dict[str, Any] = {"stdout": subprocess.PIPE, "env": clean_environment()}
    stuck = subprocess.Popen([BINARY, "events", "s", "--json", "--database", database], **arguments)
    follower = subprocess.Popen([BINARY, "events", "s", "--follow", "--database", database], **arguments)
    try:
        assert stuck.stdout is not None and follower.stdout is not None
        for process in (stuck, follower):  # both have begun to print, and wait for us
            assert select.select([process.stdout], [], [], PATIENCE)[0]
        sidecar.call("store_events", session_id="s", events=[{"data": "y" * 10_000}] * 100)
        assert sidecar.call("maintenance")["checkpointed_pages"] > 0
        sidecar.finish()
        assert len(lines(stuck.stdout.read().decode())) >= 100
        assert stuck.wait(PATIENCE) == 0
    finally:
        stuck.kill()
        follower.kill()
        stuck.communicate()
        follower.communicate()


@pytest.mark.parametrize("name", READERS)
def test_beside_an_exclusive_sidecar(name: str, spawn: Callable[..., Sidecar], database: Path) -> None:
    sidecar = spawn("--exclusive")
    fill(sidecar)
    before = exact(database.parent)
    done = command(name, *READERS[name], "--database", database)
    is_refused(done, 75, str(database), "--exclusive", str(sidecar.process.pid), "get_metrics", "backup")
    assert exact(database.parent) == before
    sidecar.call("create_session")
    sidecar.finish()
    assert command(name, *READERS[name], "--database", database).returncode == 0


# --- Files that cannot be read


def set_version(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()


def test_a_file_of_an_older_program(closed: Path) -> None:
    set_version(closed, 1)
    before = contents(closed.parent)
    for name, words in READERS.items():
        is_refused(command(name, *words, "--database", closed), 65, str(closed), "schema 1", "serve")
    assert contents(closed.parent) == before


def test_a_file_of_a_newer_program(closed: Path) -> None:
    set_version(closed, 99)
    for name, words in READERS.items():
        is_refused(command(name, *words, "--database", closed), 65, str(closed), "schema 99", "newer")


@pytest.mark.parametrize("content", [b"x", b"not a database at all", b"SQLite format 3\0" + b"\xff" * 4_000])
def test_what_is_not_our_file(content: bytes, database: Path) -> None:
    database.write_bytes(content)
    for name, words in READERS.items():
        is_refused(command(name, *words, "--database", database), 65, str(database))
    assert [entry.name for entry in database.parent.iterdir()] == [database.name]
    assert database.read_bytes() == content


def test_the_database_of_another_program(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.commit()
    is_refused(command("status", "--database", database), 65, "another program")


def test_a_damaged_file(closed: Path) -> None:
    closed.write_bytes(closed.read_bytes()[:8_192])
    is_refused(command("status", "--database", closed), 65, str(closed), "backup")


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    for path in (tmp_path / "none.db", tmp_path / "none" / "a.db", tmp_path / "empty.db"):
        is_refused(command("status", "--database", path), 66, str(path))
    is_refused(command("status", "--database", tmp_path), 73, "directory")
    os.mkfifo(tmp_path / "fifo")
    is_refused(command("status", "--database", tmp_path / "fifo"), 73, "fifo")
    assert {entry.name for entry in tmp_path.iterdir()} == {"empty.db", "fifo"}


@pytest.mark.parametrize("name", ["with space.db", "naïve🎈.db", "per%20cent?.db", "file:x.db", "#hash?mode=rw.db"])
def test_names_of_files(name: str, tmp_path: Path) -> None:
    converse(request("create_session", 1, session_id="s"), database=str(tmp_path / name))
    for path in (tmp_path / name, f"{tmp_path}//{name}", f"/{tmp_path}/{name}"):
        assert json.loads(output("status", "--json", "--database", path))["sessions"]["pending"] == 1
    done = subprocess.run(
        [BINARY, "sessions", "--json", f"--database={name}"], cwd=tmp_path, capture_output=True, timeout=PATIENCE,
        check=True, env=clean_environment(),
    )  # fmt: skip
    assert json.loads(done.stdout)["session_id"] == "s"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [name, f"{name}-lock"]


def test_a_link_is_followed(filled: Sidecar, database: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(database)
    assert output("sessions", "--database", tmp_path / "link.db") == output("sessions", "--database", database)


class Stranger:
    """Runs commands on a store as a user without rights of its own."""

    def __init__(self, place: Unprivileged) -> None:
        self.place = place

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        drop: dict[str, Any] = {"user": 65_534, "group": 65_534, "extra_groups": []} if os.getuid() == 0 else {}
        return subprocess.run(
            [self.place.binary, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE, check=False, env=clean_environment(), **drop,
        )  # fmt: skip


@pytest.fixture
def stranger(unprivileged: Unprivileged) -> Stranger:  # noqa: F811
    return Stranger(unprivileged)


def test_a_closed_file_that_may_only_be_read(stranger: Stranger) -> None:
    """On a medium that is read-only, say: neither file nor directory can be written."""
    path = stranger.place.file(0o400)
    stranger.place.data.chmod(0o500)
    try:
        done = stranger.run("sessions", "--json", "--database", path)
        assert done.returncode == 0 and json.loads(done.stdout)["session_id"] == "s", done
    finally:
        stranger.place.data.chmod(0o700)


def test_a_file_that_may_not_be_read(stranger: Stranger) -> None:
    path = stranger.place.file(0o000)
    is_refused(stranger.run("status", "--database", path), 73, str(path), "Permission denied", "owner")
    stranger.place.data.chmod(0o000)
    try:
        is_refused(stranger.run("status", "--database", path), 73, str(path), "Permission denied")
    finally:
        stranger.place.data.chmod(0o700)


def test_a_log_that_cannot_be_read_without_writing(stranger: Stranger, tmp_path: Path) -> None:
    """It lies in a directory that may not be written, and the memory that readers share is gone."""
    sidecar = Sidecar(database=tmp_path / "a.db")
    sidecar.call("create_session", session_id="s")
    for ending in ("", "-wal"):
        shutil.copy(f"{tmp_path}/a.db{ending}", stranger.place.data)
    sidecar.kill()
    path = stranger.place.data / "a.db"
    for entry in stranger.place.data.iterdir():
        entry.chmod(0o644)
    stranger.place.data.chmod(0o555)
    try:
        is_refused(stranger.run("status", "--database", path), 73, f"{path}-wal", f"{path}-shm", "owner")
    finally:
        stranger.place.data.chmod(0o755)


# --- status


def test_status_counts_what_the_wire_counts(filled: Sidecar, database: Path) -> None:
    status = json.loads(output("status", "--json", "--database", database))
    for name in ("pending", "active", "suspended", "expired", "invalidated"):
        assert status["sessions"][name] == filled.call("session_count", status=name)["count"], name
    assert status["sessions"] == {"pending": 1, "active": 1, "suspended": 1, "expired": 2, "invalidated": 1}
    for name in ("working", "input_required", "completed", "failed", "cancelled"):
        assert status["tasks"][name] == filled.call("task_count", status=name)["count"], name
    assert status["tasks"]["completed"] == 2
    assert status["events"] == filled.call("event_count")["count"] == 4
    assert status["values"] == 1 and status["log_entries"] == 1
    assert status["oldest_session"] == {
        "session_id": "s", "created_at": filled.call("get_session", session_id="s")["created_at"],
    }  # fmt: skip
    assert status["newest_session"]["session_id"] == "bad"
    assert status["database"] == str(database)
    assert status["schema_version"] == filled.call("server_info")["schema_version"]
    health = filled.call("health")
    assert status["database_bytes"] == health["database_bytes"] and status["wal_bytes"] == health["wal_bytes"]
    # What decides whether a suspended session has expired is an option of the sidecar's.
    later = json.loads(output("status", "--json", "--max-suspension", "1ms", "--database", database))
    assert later["sessions"]["suspended"] == 0 and later["sessions"]["expired"] == 3


def test_status_as_a_table_says_the_same(filled: Sidecar, database: Path) -> None:
    status = json.loads(output("status", "--json", "--database", database))
    text = output("status", "--database", database)
    rows = dict(re.findall(r"^ *(\w+(?: \w+)*?)  +(\S.*)$", text, re.MULTILINE))
    assert rows["file"] == str(database)
    for name, count in (status["sessions"] | status["tasks"]).items():
        assert rows[name] == str(count), name
    assert rows["sessions"] == str(sum(status["sessions"].values()))
    assert rows["tasks"] == "4" and rows["events"] == "4" and rows["values"] == "1"
    assert rows["oldest"].endswith("  s") and rows["newest"].endswith("  bad")
    assert "\t" not in text and ESCAPE not in text


def test_status_of_a_store_without_sessions(database: Path) -> None:
    converse(request("server_info", 1), database=str(database))
    status = json.loads(output("status", "--json", "--database", database))
    assert set(status["sessions"].values()) == {0} and status["oldest_session"] is None
    assert "oldest" not in output("status", "--database", database)


# --- Lists


@pytest.mark.parametrize(
    ("words", "filters"),
    [
        ([], {}),
        (["--status", "expired"], {"status": "expired"}),
        (["--status", "active"], {"status": "active"}),
        (["--user", "ann"], {"user_id": "ann"}),
        (["--user", "nobody"], {"user_id": "nobody"}),
        (["--tenant", "t"], {"tenant_id": "t"}),
        (["--tenant", "u"], {"tenant_id": "u"}),
        (["--principal", "p", "--tenant=t"], {"principal": "p", "tenant_id": "t"}),
        (["--principal", "q"], {"principal": "q"}),
    ],
)
def test_sessions_are_those_of_the_wire(
    words: list[str], filters: dict[str, str], filled: Sidecar, database: Path
) -> None:
    expected = filled.call("list_sessions", **filters)["sessions"]
    assert lines(output("sessions", "--json", *words, "--database", database)) == expected
    table = output("sessions", *words, "--database", database).splitlines()
    assert [row.split()[0] for row in table[1:]] == [session["session_id"] for session in expected]
    assert not table or table[0].split()[:3] == ["SESSION", "STATUS", "USER"]


@pytest.mark.parametrize(
    ("words", "filters"),
    [
        ([], {}),
        (["--session", "s"], {"session_id": "s"}),
        (["--status", "completed", "--session=s"], {"status": "completed", "session_id": "s"}),
        (["--status", "cancelled"], {"status": "cancelled"}),
        (["--tenant", "t"], {"tenant_id": "t"}),
        (["--principal", "q"], {"principal": "q"}),
    ],
)
def test_tasks_are_those_of_the_wire(
    words: list[str], filters: dict[str, str], filled: Sidecar, database: Path
) -> None:
    expected = filled.call(
        "list_tasks_for_session" if "session_id" in filters else "list_tasks", **filters
    )["tasks"]  # fmt: skip
    assert lines(output("tasks", "--json", *words, "--database", database)) == expected
    table = output("tasks", *words, "--database", database).splitlines()
    assert [row.split()[0] for row in table[1:]] == [task["task_id"] for task in expected]


def test_a_long_list_is_cut_at_the_limit_and_says_so(database: Path) -> None:
    converse(*(request("create_session", n, session_id=f"s{n}") for n in range(1_203)), database=str(database))
    ids = [f"s{n}" for n in range(1_203)]

    def shown(*words: str) -> tuple[list[str], str]:
        done = command("sessions", "--json", *words, "--database", database)
        assert done.returncode == 0
        return [session["session_id"] for session in lines(done.stdout)], done.stderr

    assert shown("--limit", "0") == (ids, "")
    assert shown("--limit", "1203") == (ids, "")
    for limit, words in ((100, []), (1, ["--limit=1"]), (500, ["--limit", "500"]), (1_202, ["--limit", "1202"])):
        found, said = shown(*words)
        assert found == ids[:limit] and "--limit 0" in said and said.count("\n") == 1
    assert len(command("sessions", "--limit", "0", "--database", database).stdout.splitlines()) == 1_204


def test_times_in_tables_are_rfc_3339(filled: Sidecar, database: Path) -> None:
    filled.call("create_session", session_id="dated", created_at=1_700_000_000_123, ttl=0)
    row = next(row for row in output("sessions", "--database", database).splitlines() if row.startswith("dated"))
    assert "2023-11-14T22:13:20Z" in row


# --- events


def test_events_are_printed_as_they_were_stored(spawn: Callable[..., Sidecar], database: Path) -> None:
    sidecar = spawn()
    sidecar.call("create_session", session_id="s", status="active")
    payloads = ['{"a": 1.0,"b":[1e2,  -0]}', '"\\u0007\\ud83c\\udf88 é"', "null", "12345678901234567890.10"]
    for n, payload in enumerate(payloads):
        text = f'{{"jsonrpc":"2.0","id":{n},"method":"store_event","params":{{"session_id":"s","data":{payload},'
        sidecar.send_bytes((text + f'"stream_id":"st","event_type":"t{n}","timestamp":{n}}}}}\n').encode())
        assert "result" in sidecar.receive_answer()
    rows = output("events", "s", "--database", database).splitlines()
    assert rows == [f"{n + 1}  1970-01-01T00:00:00.00{n}Z  t{n}  st  {payload}" for n, payload in enumerate(payloads)]
    page = sidecar.call("get_events_after", session_id="s")
    assert lines(output("events", "s", "--json", "--database", database)) == page["events"]
    for payload, row in zip(payloads, output("events", "s", "--json", "--database", database).splitlines()):
        assert f'"data":{payload},"retry"' in row


def test_events_after_an_id_and_of_one_stream(filled: Sidecar, database: Path) -> None:
    def ids(*words: str) -> list[int]:
        return [int(row.split()[0]) for row in output("events", "s", *words, "--database", database).splitlines()]

    assert ids() == ids("--after", "0") == [1, 2, 3]
    assert ids("--after", "2") == [3] and ids("--after=3") == []
    assert ids("--stream", "a") == [2] and ids("--stream", "b") == [] and ids("--stream", "a", "--after", "2") == []


def test_many_large_events_come_whole_and_in_order(database: Path) -> None:
    data = ["é" * 40_000 + str(n) for n in range(200)]
    converse(
        request("create_session", 0, session_id="s", status="active"),
        *(request("store_event", n, session_id="s", data=text) for n, text in enumerate(data)),
        database=str(database),
    )
    assert [event["data"] for event in lines(output("events", "s", "--json", "--database", database))] == data


def test_events_that_are_gone_are_told_of(spawn: Callable[..., Sidecar], database: Path) -> None:
    sidecar = spawn("--max-events-per-session", "3")
    sidecar.call("create_session", session_id="s", status="active")
    for n in range(1, 11):
        sidecar.call("store_event", session_id="s", data=n)
    done = command("events", "s", "--after", "2", "--database", database)
    assert done.returncode == 0 and "5 events after 2 are gone" in done.stderr and done.stderr.count("\n") == 1
    assert [row.split()[0] for row in done.stdout.splitlines()] == ["8", "9", "10"]
    assert command("events", "s", "--after", "7", "--database", database).stderr == ""
    done = command("events", "s", "--after", "99", "--database", database)
    assert done.returncode == 0 and done.stdout == "" and "10" in done.stderr


def test_events_of_a_session_that_is_not_there(filled: Sidecar, database: Path) -> None:
    is_refused(command("events", "nope", "--database", database), 66, "'nope'", str(database))
    is_refused(command("events", "--database", database, "--", "-s"), 66, "'-s'")
    is_refused(command("events", "a\x1b[31mb", "--database", database), 66, "\\u001b")
    is_refused(command("events", "nope", "--follow", "--database", database), 66, "'nope'")


def test_events_of_a_session_that_is_over_are_still_shown(filled: Sidecar, database: Path) -> None:
    """To those who look at the file; clients are refused."""
    assert filled.refusal("get_events_after", session_id="bad").kind == "invalid_session_status"
    assert output("events", "bad", "--database", database).endswith('"why"\n')


# --- events --follow


class Follower:
    """`events --follow` with its output in a pipe."""

    def __init__(self, *words: str | Path) -> None:
        self.process = subprocess.Popen(
            [BINARY, "events", *map(str, words), "--follow", "--json"], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(), bufsize=0,
        )  # fmt: skip
        self.buffer = b""

    def event(self) -> Any:
        assert self.process.stdout is not None
        while b"\n" not in self.buffer:
            assert select.select([self.process.stdout], [], [], PATIENCE)[0], "nothing came"
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            assert chunk, "the output has ended"
            self.buffer += chunk
        row, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(row)

    def end(self) -> tuple[int, bytes, str]:
        """Waits for the end: the status, what still came, and what was said."""
        output, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, self.buffer + output, said.decode()


@pytest.fixture
def follow() -> Iterator[Callable[..., Follower]]:
    started: list[Follower] = []

    def start(*words: str | Path) -> Follower:
        started.append(Follower(*words))
        return started[-1]

    yield start
    for follower in started:
        if follower.process.poll() is None:
            follower.process.kill()
            follower.process.communicate()


def test_following_shows_what_was_and_what_comes(
    follow: Callable[..., Follower], filled: Sidecar, database: Path
) -> None:
    follower = follow("s", "--database", database)
    assert [follower.event()["id"] for _ in range(3)] == [1, 2, 3]
    for n in range(4, 8):
        filled.call("store_event", session_id="s", data=n)
        assert follower.event()["id"] == n
    late = follow("s", "--after", "6", "--database", database)
    assert late.event()["id"] == 7
    for one in (follower, late):
        one.process.send_signal(signal.SIGINT)
        assert one.end() == (0, b"", "")


@pytest.mark.parametrize(("method", "reason"), [("delete_session", "deleted"), ("invalidate_session", "invalidated"),
                                                ("expire_session", "expired")])  # fmt: skip
def test_following_ends_with_the_session(
    method: str, reason: str, follow: Callable[..., Follower], filled: Sidecar, database: Path
) -> None:
    follower = follow("s", "--after", "2", "--database", database)
    assert follower.event()["id"] == 3
    filled.call(method, session_id="s")
    code, rest, said = follower.end()
    assert code == 0 and rest == b"" and reason in said and said.count("\n") == 1


def test_another_session_under_the_same_id_is_another_one(
    follow: Callable[..., Follower], filled: Sidecar, database: Path
) -> None:
    follower = follow("s", "--database", database)
    assert [follower.event()["id"] for _ in range(3)] == [1, 2, 3]
    filled.call(
        "transaction",
        calls=[
            {"method": "delete_session", "params": {"session_id": "s"}},
            {"method": "create_session", "params": {"session_id": "s"}},
            {"method": "store_events", "params": {"session_id": "s", "events": [{"data": n} for n in range(9)]}},
        ],
    )
    code, rest, said = follower.end()
    assert code == 0 and rest == b"" and "deleted" in said


def test_following_ends_when_the_reader_goes_away(
    follow: Callable[..., Follower], filled: Sidecar, database: Path
) -> None:
    """Also when nothing is printed any more."""
    follower = follow("s", "--database", database)
    assert follower.event()["id"] == 1
    assert follower.process.stdout is not None
    follower.process.stdout.close()
    assert follower.process.wait(PATIENCE) == 74
    assert follower.process.stderr is not None and follower.process.stderr.read() == b""


def test_following_goes_on_when_sidecars_end_and_start(
    follow: Callable[..., Follower], closed: Path, spawn: Callable[..., Sidecar]
) -> None:
    """Between them nobody has the file open; and none of them finds it in use when it starts or ends."""
    follower = follow("s", "--after", "2", "--database", closed)
    assert follower.event()["id"] == 3
    for n in range(4, 8):
        sidecar = spawn()
        sidecar.call("store_event", session_id="s", data=n)
        assert follower.event()["id"] == n
        sidecar.finish()
    follower.process.send_signal(signal.SIGTERM)
    assert follower.end() == (0, b"", "")


def test_following_in_the_dark_of_an_exclusive_sidecar(
    follow: Callable[..., Follower], closed: Path, spawn: Callable[..., Sidecar]
) -> None:
    follower = follow("s", "--after", "2", "--database", closed)
    assert follower.event()["id"] == 3
    spawn("--exclusive").call("server_info")
    code, rest, said = follower.end()
    assert code == 75 and rest == b"" and "--exclusive" in said


# --- Where it goes: terminals and pipes


def on_terminal(*words: str | Path, columns: int = 100, **environment: str) -> str:
    """What a command writes to a terminal, standard error included."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [BINARY, *map(str, words)], stdin=side, stdout=side, stderr=side,
        env=clean_environment(**{"TERM": "xterm"} | environment),
    )  # fmt: skip
    os.close(side)
    written = b""
    while select.select([main], [], [], PATIENCE)[0]:
        try:
            chunk = os.read(main, 1 << 16)
        except OSError:  # the other side is closed
            break
        if not chunk:
            break
        written += chunk
    os.close(main)
    assert process.wait(PATIENCE) == 0
    return written.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9]*m", "", text)


@pytest.mark.parametrize("name", ["status", "sessions", "tasks", "doctor"])
def test_colours_are_for_terminals(name: str, closed: Path) -> None:
    assert ESCAPE in on_terminal(name, "--database", closed)
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert ESCAPE not in on_terminal(name, "--database", closed, **environment)
    assert ESCAPE in on_terminal(name, "--database", closed, NO_COLOR="")
    piped = output(name, "--database", closed, TERM="xterm")
    assert ESCAPE not in piped and "\t" not in piped
    assert not re.search(r" $", piped, re.MULTILINE)


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_table_is_no_wider_than_the_terminal_but_for_ids(columns: int, database: Path) -> None:
    converse(
        request("create_session", 1, session_id="short", user_id="u" * 90, principal="日本語" * 20),
        request("create_session", 2, session_id="other", user_id="é" * 10),
        database=str(database),
    )
    text = plain(on_terminal("sessions", "--database", database, columns=columns))

    def width(row: str) -> int:
        return sum(2 if "\u3000" < character < "\ua000" else 1 for character in row)

    titles = text.splitlines()[0]
    # Below what its titles and shortest columns need it cannot go.
    assert max(map(width, text.splitlines())) <= max(columns, 78)
    assert "…" in text and "TENANT" not in titles and "short" in text and "other" in text
    piped = output("sessions", "--database", database)
    assert "u" * 90 in piped and "日本語" * 20 in piped and "TENANT" in piped
    # What stands in the last column, on the right, ends at the same place in each row.
    assert len({width(row) for row in piped.splitlines()}) == 1


@pytest.mark.parametrize("words", [["sessions"], ["tasks"], ["events", "s"], ["status"]])
@pytest.mark.parametrize("json_too", [False, True])
def test_what_a_terminal_would_obey_never_reaches_it(
    words: list[str], json_too: bool, spawn: Callable[..., Sidecar], database: Path
) -> None:
    sidecar = spawn()
    bad = "\x1b]0;owned\x07\x1b[2J\r\x08\x7f\x9b31m\x00\u202egnp.exe\u2066\u2028end\n\tx"
    sidecar.call("create_session", session_id="s", status="active", user_id=bad, principal=bad, metadata={"m": bad})
    sidecar.call("store_event", session_id="s", data={bad: bad}, event_type=bad, stream_id=bad)
    text = '{"jsonrpc":"2.0","id":1,"method":"store_event","params":{"session_id":"s","data":{"a":\t[1,\t2\r]}}}\n'
    sidecar.send_bytes(text.encode())
    sidecar.receive_answer()
    sidecar.call("create_task", task_id="t", session_id="s", status_message=bad, original_method=bad, meta={bad: bad})
    words = [*words, *(["--json"] if json_too else [])]
    seen = on_terminal(*words, "--database", database, columns=2_000)
    assert HARMFUL.search(plain(seen)) is None, repr(seen)
    piped = output(*words, "--database", database)
    if json_too:
        assert lines(seen) == lines(piped)
    else:
        # Payloads go into a pipe as they were stored; nothing else does.
        table = piped if words[0] != "events" else re.sub(r"  [{].*", "", piped)
        assert HARMFUL.search(table) is None, repr(table)
        assert words[0] == "status" or "\\u001b" in table


def test_a_reader_that_goes_away_is_no_news(closed: Path) -> None:
    """As `| head -1` does: no message, and the status that help names (or the signal's, where it is not ignored)."""
    for words in (["--help"], ["describe"], ["sessions", "--database", str(closed)]):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [BINARY, *words], stdout=write, stderr=subprocess.PIPE, timeout=PATIENCE, check=False,
            env=clean_environment(), restore_signals=False,
        )  # fmt: skip
        os.close(write)
        assert done.returncode == 74 and done.stderr == b"", done


def test_a_full_disk_under_the_output_is_said(closed: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [BINARY, "sessions", "--database", closed], stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=PATIENCE, check=False, env=clean_environment(),
        )  # fmt: skip
    assert done.returncode == 74 and "No space left" in done.stderr


# --- describe


def test_describe_is_the_contract(sidecar: Sidecar) -> None:
    text = output("describe")
    assert text == (ROOT / "protocol" / "openrpc.json").read_text(encoding="utf-8")
    assert json.loads(text) == sidecar.call("rpc.discover")


# --- doctor


def checkup(path: Path, *words: str, status: int = 0) -> dict[str, dict[str, Any]]:
    done = command("doctor", "--json", *words, "--database", path)
    assert done.returncode == status, done
    report = json.loads(done.stdout)
    assert report["ok"] == (status == 0)
    assert all(check["remedy"] is None for check in report["checks"] if check["result"] == "ok")
    return {check["name"]: check for check in report["checks"]}


def test_doctor_on_a_store_that_is_well(closed: Path) -> None:
    checks = checkup(closed)
    for name in ("program", "file", "disk", "directory", "rights", "log", "processes", "leftovers"):
        assert checks[name]["result"] == "ok", checks[name]
    assert "file system" in checks and "sqlite" in checks
    assert "6 sessions" in checks["file"]["message"] and "none has the file open" in checks["processes"]["message"]
    text = output("doctor", "--database", closed)
    assert [row.split()[0] for row in text.splitlines() if row[0] != " "] == [
        check["result"] for check in checks.values()
    ]


def test_doctor_beside_sidecars(filled: Sidecar, spawn: Callable[..., Sidecar], database: Path) -> None:
    second = spawn()
    second.call("server_info")
    message = checkup(database)["processes"]["message"]
    assert str(filled.process.pid) in message and str(second.process.pid) in message
    assert "none holds the lock" in message
    with open(f"{database}-lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert f"{os.getpid()} holds the lock" in checkup(database)["processes"]["message"]


def test_doctor_beside_an_exclusive_sidecar(spawn: Callable[..., Sidecar], database: Path) -> None:
    sidecar = spawn("--exclusive")
    sidecar.call("create_session")
    checks = checkup(database)
    assert checks["file"]["result"] == "warning" and "--exclusive" in checks["file"]["message"]
    assert f"{sidecar.process.pid} holds the lock" in checks["processes"]["message"]


def test_doctor_on_another_program_that_may_write(closed: Path) -> None:
    """It matters with the versions of SQLite that can lose a commit then; this process is that program."""
    version = tuple(map(int, re.search(r"SQLite ([\d.]+)", checkup(closed)["sqlite"]["message"])[1].split(".")))  # type: ignore[index]
    affected = (3, 7, 0) <= version < (3, 51, 3) and not (
        version[:2] == (3, 50) and version >= (3, 50, 7) or version[:2] == (3, 44) and version >= (3, 44, 6)
    )
    assert checkup(closed)["sqlite"]["result"] == "ok"
    with closing(sqlite3.connect(closed)) as connection:
        connection.execute("SELECT * FROM sessions").fetchall()
        check = checkup(closed)["sqlite"]
        assert check["result"] == ("warning" if affected else "ok")
        if affected:
            assert str(os.getpid()) in check["message"] and f"{closed}-lock" in check["remedy"]
    with closing(sqlite3.connect(f"file:{closed}?mode=ro", uri=True)) as connection:
        connection.execute("SELECT * FROM sessions").fetchall()
        assert checkup(closed)["sqlite"]["result"] == "ok"


@pytest.mark.parametrize(("mode", "result"), [(0o644, "warning"), (0o640, "warning"), (0o666, "problem")])
def test_doctor_on_rights(mode: int, result: str, closed: Path) -> None:
    closed.chmod(mode)
    check = checkup(closed, status=1 if result == "problem" else 0)["rights"]
    assert check["result"] == result and str(closed) in check["message"] and f"{mode:04o}" in check["message"]
    subprocess.run(["sh", "-c", check["remedy"]], check=True)
    assert checkup(closed)["rights"]["result"] == "ok"


def test_doctor_on_a_directory_that_anyone_may_write(closed: Path) -> None:
    closed.parent.chmod(0o777)
    check = checkup(closed, status=1)["directory"]
    assert check["result"] == "problem"
    subprocess.run(["sh", "-c", check["remedy"]], check=True)
    assert checkup(closed)["directory"]["result"] == "ok"
    closed.parent.chmod(0o1777)
    assert checkup(closed)["directory"]["result"] == "ok"


def test_doctor_on_what_is_left(filled: Sidecar, database: Path) -> None:
    filled.kill()
    left = database.parent / "it's a backup.db.partial"
    left.touch()
    checks = checkup(database)
    assert "killed" in checks["log"]["message"] and checks["leftovers"]["result"] == "warning"
    assert str(left) in checks["leftovers"]["message"]
    subprocess.run(["sh", "-c", checks["leftovers"]["remedy"].split(": ", 1)[1]], check=True)
    assert not left.exists() and checkup(database)["leftovers"]["result"] == "ok"


def test_doctor_on_a_file_that_is_not_there_or_not_ours(tmp_path: Path) -> None:
    assert checkup(tmp_path / "none.db", status=1)["file"]["result"] == "problem"
    assert checkup(tmp_path / "none" / "a.db", status=1)["file"]["result"] == "problem"
    (tmp_path / "text.db").write_text("not a database")
    assert "not a SQLite database" in checkup(tmp_path / "text.db", status=1)["file"]["message"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["text.db"]


def test_doctor_knows_the_file_system(closed: Path) -> None:
    kind = subprocess.run(
        ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", closed], capture_output=True, text=True, check=True
    ).stdout.strip()
    check = checkup(closed)["file system"]
    assert check["message"].startswith(kind.split(".")[0])
    assert check["result"] == ("ok" if kind in ("ext4", "xfs", "btrfs", "zfs") else "warning") or kind not in (
        "tmpfs", "overlay", "nfs4", "9p",
    )  # fmt: skip
    if os.access("/dev/shm", os.W_OK) and "tmpfs" in Path("/proc/mounts").read_text():
        path = Path("/dev/shm") / f"mcp-session-store-{os.getpid()}.db"
        try:
            shutil.copy(closed, path)
            check = checkup(path)["file system"]
            assert check["result"] == "warning" and "tmpfs" in check["message"], check
        finally:
            path.unlink()


def test_doctor_says_what_it_cannot_know(stranger: Stranger) -> None:
    """Processes of other users hide their files from one without rights."""
    path = stranger.place.file(0o600)
    done = stranger.run("doctor", "--json", "--database", path)
    assert done.returncode == 0, done
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    hidden = "hidden" in checks["processes"]["message"]
    others = any(entry.stat().st_uid != 65_534 for entry in Path("/proc").iterdir() if entry.name.isdigit())
    assert hidden == (others if os.getuid() == 0 else hidden)


# --- completions


def completed(words: list[str], directory: Path) -> list[str]:
    """What bash offers behind these words; the last one is being written."""
    script = """
      source <("$1" completions bash) || exit 1
      shift
      COMP_WORDS=(mcp-session-store "$@"); COMP_CWORD=$#
      _mcp_session_store
      printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", BINARY, *words], capture_output=True, text=True, timeout=PATIENCE, check=True,
        cwd=directory, env=clean_environment(),
    )  # fmt: skip
    assert done.stderr == "", done
    return done.stdout.split("\n")[:-1]


def options(name: str) -> set[str]:
    return set(re.findall(r"^  (--[a-z-]+)", output("help", name), re.MULTILINE))


def test_bash_completes_commands(tmp_path: Path) -> None:
    assert set(completed([""], tmp_path)) == COMMANDS.keys()
    assert completed(["sess"], tmp_path) == ["sessions"]
    assert completed(["--database", "x", "--exclusive", "sess"], tmp_path) == ["sessions"]
    assert completed(["--database", "=", "x", "sess"], tmp_path) == ["sessions"]
    assert completed(["help", "sess"], tmp_path) == ["sessions"]
    assert completed(["completions", ""], tmp_path) == ["bash", "zsh"]
    assert completed(["sess", "--database"], tmp_path) == [""]


@pytest.mark.parametrize("name", COMMANDS)
def test_bash_completes_the_options_of_each_command(name: str, tmp_path: Path) -> None:
    assert set(completed([name, "--"], tmp_path)) == options(name) | {"--help", "--version"}


def test_bash_completes_values_and_files(tmp_path: Path) -> None:
    (tmp_path / "my store.db").touch()
    for words in (["--durability", ""], ["serve", "--durability", ""], ["--durability", "="], ["--durability", "=", ""]):
        assert completed(words, tmp_path) == ["full", "normal"]
    assert completed(["sessions", "--status", "su"], tmp_path) == ["suspended"]
    assert completed(["tasks", "--status", "=", "wo"], tmp_path) == ["working"]
    for words in (["--database", "my"], ["status", "--database", "=", "my"], ["status", "--json", "--database", ""]):
        assert completed(words, tmp_path) == ["my store.db"]
    assert completed(["sessions", "--limit", ""], tmp_path) == [""]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes(tmp_path: Path) -> None:
    """In a shell on a terminal: each line is ended by a tab and run, by a function that prints what it was given."""
    (tmp_path / "store.db").touch()
    place = tmp_path / "bin"
    place.mkdir()
    (place / "mcp-session-store").symlink_to(BINARY)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        environment = clean_environment(PATH=f"{place}:{os.environ['PATH']}", TERM="dumb", HOME=str(tmp_path))
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment)
    seen = b""

    def wait(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            assert select.select([terminal], [], [], PATIENCE)[0], seen
            seen += os.read(terminal, 1 << 16)

    setup = (
        "autoload -U compinit; compinit -u -D; source <(mcp-session-store completions zsh);"
        " mcp-session-store() { printf '<%s>' \"$@\"; echo }; echo rea''dy\n"
    )
    try:
        os.write(terminal, setup.encode())
        wait(b"ready\r\n")
        for typed, run in (
            ("stat", "<status>"),
            ("sessions --status su", "<sessions><--status><suspended>"),
            ("events x --fol", "<events><x><--follow>"),
            ("help tas", "<help><tasks>"),
            ("completions z", "<completions><zsh>"),
            ("--exclusive doc", "<--exclusive><doctor>"),
            ("--durability=no", "<--durability=normal>"),
            ("status --database sto", "<status><--database><store.db>"),
        ):
            seen = b""
            os.write(terminal, f"mcp-session-store {typed}\t\n".encode())
            wait(f"{run}\r\n".encode())
            assert b"not found" not in seen and b"_arguments" not in seen, seen
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
