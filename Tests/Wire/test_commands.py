"""The commands beside the service: the command line, and what they leave alone."""

from __future__ import annotations

import json
import os
import select
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shell import COMMANDS, command, fill, is_refused, lines, output
from sidecar import BINARY, PATIENCE, Sidecar, clean_environment, converse, line, request
from test_files import contents
from unprivileged import Unprivileged

ROOT = Path(__file__).parents[2]
#: the commands that look into a file, each with words that make it run
READERS = {"status": [], "sessions": [], "tasks": [], "events": ["s"], "check": [], "dump": []}


def exact(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its bytes and the time of its last change. The memory that SQLite's readers and writers share
    is left out: readers note there how far they read."""
    found = [entry for entry in folder.iterdir() if not entry.name.endswith("-shm")]
    return {entry.name: (entry.stat().st_mtime_ns, entry.read_bytes()) for entry in found}


# --- The table of commands


def test_help_lists_the_commands() -> None:
    """What was promised; others may have joined."""
    promised = {
        "serve", "status", "sessions", "events", "tasks", "backup", "check", "describe", "doctor", "completions", "help"
    }  # fmt: skip
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
        (["completions", "tcsh"], ["'tcsh'", "bash", "zsh"]),
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
    done = command("sessions", "--limit", "0", **environment)
    assert done.returncode == 0 and done.stdout == output("sessions", "--database", closed)
    # What is no option of the service has no variable, and is named as unknown.
    assert "MCP_SESSION_STORE_JSON" in done.stderr and "MCP_SESSION_STORE_MAX_SESSIONS" not in done.stderr
    is_refused(command("status", **environment | {"MCP_SESSION_STORE_MAX_SUSPENSION": "x"}), 64, "MAX_SUSPENSION")


def test_the_file_in_home_is_read_and_not_made(tmp_path: Path) -> None:
    is_refused(command("status", HOME=str(tmp_path)), 66, "sessions.db")
    assert list(tmp_path.iterdir()) == []
    is_refused(command("status", HOME=""), 78, "--database")


# --- Looking at a file without touching it


@pytest.mark.file_only
@pytest.mark.parametrize("name", [*READERS, "doctor"])
def test_beside_a_sidecar_nothing_is_changed(name: str, filled: Sidecar, database: Path) -> None:
    before = exact(database.parent)
    assert {"sessions.db", "sessions.db-wal", "sessions.db-lock"} <= before.keys()
    done = command(name, *READERS.get(name, []), "--database", database)
    assert done.returncode in (0, 1) and done.stdout, done
    assert exact(database.parent) == before
    filled.call("create_session", session_id="another")
    filled.finish()


@pytest.mark.file_only
@pytest.mark.parametrize("name", [*READERS, "doctor"])
def test_of_a_closed_file_nothing_is_changed_and_nothing_is_put_beside_it(name: str, closed: Path) -> None:
    before = {entry.name: entry.stat().st_mtime_ns for entry in closed.parent.iterdir()}, closed.read_bytes()
    assert command(name, *READERS.get(name, []), "--database", closed).stdout
    assert ({entry.name: entry.stat().st_mtime_ns for entry in closed.parent.iterdir()}, closed.read_bytes()) == before


@pytest.mark.file_only
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
        assert json.loads(output("status", "--json", "--database", database))["events"] == n


def test_while_a_sidecar_writes_all_the_time(spawn: Callable[..., Sidecar], database: Path) -> None:
    """Nobody waits for the other for ever, nobody is refused, and each snapshot is whole."""
    sidecar = spawn("--max-events-per-session", "0")
    sidecar.call("create_session", session_id="s", status="active")
    stop, more = threading.Event(), threading.Semaphore(20)
    written = []

    def write() -> None:
        while not stop.is_set():
            # Were there ever more events, each list of them would take longer than the one before.
            if more.acquire(blocking=False):
                written.append(sidecar.call("store_events", session_id="s", events=[{"data": "x" * 2_000}] * 50))
            else:
                sidecar.call("touch_session", session_id="s")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            more.release(20)
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


@pytest.mark.file_only
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


@pytest.mark.file_only
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


@pytest.mark.file_only
def test_a_file_of_an_older_program(closed: Path) -> None:
    set_version(closed, 1)
    before = contents(closed.parent)
    for name, words in READERS.items():
        is_refused(command(name, *words, "--database", closed), 65, str(closed), "schema 1", "serve")
    assert contents(closed.parent) == before


@pytest.mark.file_only
def test_a_file_of_a_newer_program(closed: Path) -> None:
    set_version(closed, 99)
    for name, words in READERS.items():
        is_refused(command(name, *words, "--database", closed), 65, str(closed), "schema 99", "newer")


@pytest.mark.file_only
@pytest.mark.parametrize("content", [b"x", b"not a database at all", b"SQLite format 3\0" + b"\xff" * 4_000])
def test_what_is_not_our_file(content: bytes, database: Path) -> None:
    database.write_bytes(content)
    for name, words in READERS.items():
        is_refused(command(name, *words, "--database", database), 65, str(database))
    assert [entry.name for entry in database.parent.iterdir()] == [database.name]
    assert database.read_bytes() == content


@pytest.mark.file_only
def test_the_database_of_another_program(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.commit()
    is_refused(command("status", "--database", database), 65, "another program")


@pytest.mark.file_only
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


@pytest.mark.file_only
def test_a_link_is_followed(filled: Sidecar, database: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(database)
    assert output("sessions", "--database", tmp_path / "link.db") == output("sessions", "--database", database)


def test_a_closed_file_that_may_only_be_read(unprivileged: Unprivileged) -> None:
    """On a medium that is read-only, say: neither file nor directory can be written."""
    path = unprivileged.file(0o400)
    unprivileged.data.chmod(0o500)
    try:
        done = unprivileged.run("sessions", "--json", "--database", path)
        assert done.returncode == 0 and json.loads(done.stdout)["session_id"] == "s", done
    finally:
        unprivileged.data.chmod(0o700)


def test_a_file_that_may_not_be_read(unprivileged: Unprivileged) -> None:
    path = unprivileged.file(0o000)
    is_refused(unprivileged.run("status", "--database", path), 73, str(path), "Permission denied", "owner")
    unprivileged.data.chmod(0o000)
    try:
        is_refused(unprivileged.run("status", "--database", path), 73, str(path), "Permission denied")
    finally:
        unprivileged.data.chmod(0o700)


def test_a_log_that_cannot_be_read_without_writing(unprivileged: Unprivileged, tmp_path: Path) -> None:
    """It lies in a directory that may not be written, and the memory that readers share is gone."""
    sidecar = Sidecar(database=tmp_path / "a.db")
    sidecar.call("create_session", session_id="s")
    for ending in ("", "-wal"):
        shutil.copy(f"{tmp_path}/a.db{ending}", unprivileged.data)
    sidecar.kill()
    path = unprivileged.data / "a.db"
    for entry in unprivileged.data.iterdir():
        entry.chmod(0o644)
    unprivileged.data.chmod(0o555)
    try:
        is_refused(unprivileged.run("status", "--database", path), 73, f"{path}-wal", f"{path}-shm", "owner")
    finally:
        unprivileged.data.chmod(0o755)


# --- describe


def test_describe_is_the_contract(sidecar: Sidecar) -> None:
    text = output("describe")
    assert text == (ROOT / "protocol" / "openrpc.json").read_text(encoding="utf-8")
    assert json.loads(text) == sidecar.call("rpc.discover")
