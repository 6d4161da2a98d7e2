"""backup and check at the shell."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from shell import command, is_refused, output
from sidecar import BINARY, PATIENCE, Sidecar, clean_environment
from test_files import contents
from test_jobs import damaged, files, filled, large, rows, stop, target  # noqa: F401 (some are fixtures)
from test_process import until
from test_terminals import on_terminal

pytestmark = pytest.mark.file_only

Spawn = Callable[..., Sidecar]


@pytest.fixture
def closed(large: Path, database: Path) -> Path:  # noqa: F811
    """A large store that nobody has open."""
    shutil.copy(large, database)
    return database


# --- backup


def test_a_closed_file_is_copied_and_left_alone(closed: Path, target: Path) -> None:  # noqa: F811
    before = contents(closed.parent)
    size = closed.stat().st_size
    text = output("backup", target, "--database", closed)
    assert re.fullmatch(rf"copied {size // 4_096} pages, {size} bytes, in \d+ ms\n", text)
    assert contents(closed.parent) == before
    assert target.stat().st_mode & 0o777 == 0o600 and len(rows(target)) == 128
    assert files(target.parent) == {"copy.db"}


def test_beside_a_sidecar_the_copy_has_all_that_it_answered(
    spawn: Spawn, database: Path, target: Path  # noqa: F811
) -> None:
    sidecar = spawn()
    sidecar.call("create_session", session_id="s")
    for number in range(20):
        sidecar.call("store_event", session_id="s", data=number)
    result = json.loads(output("backup", target, "--json", "--database", database))
    assert result.keys() == {"pages", "bytes", "elapsed_ms"} and result["bytes"] == target.stat().st_size
    assert rows(target) == list(range(20))
    assert sidecar.call("store_event", session_id="s", data=20)["id"] == 21
    copy = spawn(database=target)
    assert copy.call("check_integrity")["ok"] and copy.call("event_count", session_id="s") == {"count": 20}


def test_nothing_is_overwritten(closed: Path, target: Path) -> None:  # noqa: F811
    target.write_text("precious")
    for path in [target, target.parent, target.parent / "none" / "copy.db", closed, f"{closed}-wal", ""]:
        is_refused(command("backup", path, "--database", closed), 73, "expected")
    assert target.read_text() == "precious" and files(target.parent) == {"copy.db"}


def test_beside_an_exclusive_sidecar(spawn: Spawn, database: Path, target: Path) -> None:  # noqa: F811
    sidecar = spawn("--exclusive")
    sidecar.call("create_session")
    is_refused(command("backup", target, "--database", database), 75, "--exclusive", "backup")
    assert files(target.parent) == set()


def test_a_command_line_that_is_wrong(closed: Path, target: Path) -> None:  # noqa: F811
    is_refused(command("backup", "--database", closed), 64, "needs FILE")
    is_refused(command("backup", target, "more", "--database", closed), 64, "'more'")
    is_refused(command("backup", target, "--database", ":memory:"), 64, "memory")
    is_refused(command("backup", target, "--database", closed.parent / "none.db"), 66, "none.db")
    assert files(target.parent) == set()


def test_a_disk_that_takes_no_more(closed: Path, target: Path) -> None:  # noqa: F811
    limit = 16 << 20
    done = subprocess.run(
        [BINARY, "backup", target, "--database", closed], capture_output=True, text=True, timeout=PATIENCE, check=False,
        env=clean_environment(), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    is_refused(done, 74, "nothing of it is left")
    assert files(target.parent) == set()


def under_way(closed: Path, folder: Path) -> tuple[subprocess.Popen[str], Path]:  # noqa: F811
    """A command that is stopped in the middle of a copy, and the copy's target."""
    for number in range(100):
        target = folder / f"copy-{number}.db"
        process = subprocess.Popen(
            [BINARY, "backup", target, "--database", closed], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=clean_environment(),
        )  # fmt: skip
        until(lambda: any(name.startswith(target.name) for name in files(folder)), "a copy is begun")
        stop(process.pid)
        if not target.exists():
            return process, target
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=PATIENCE)[1] == "" and process.returncode == 0
        target.unlink()
    raise AssertionError("no copy was ever met under way")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(closed: Path, target: Path, number: signal.Signals) -> None:  # noqa: F811
    process, path = under_way(closed, target.parent)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    said = process.communicate(timeout=PATIENCE)
    assert process.returncode == -number and said[1] == ""
    # When the signal came behind the last look, the copy is whole.
    assert files(target.parent) == set() if said[0] == "" else len(rows(path)) == 128


def test_a_closed_file_that_a_sidecar_opens_meanwhile(
    closed: Path, target: Path, spawn: Spawn  # noqa: F811
) -> None:
    """It is read without locks, so what is read while somebody writes is worth nothing: it is copied anew."""
    process, path = under_way(closed, target.parent)
    sidecar = spawn()
    sidecar.call("delete_session", session_id="s")
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=PATIENCE)[1] == "" and process.returncode == 0
    assert files(target.parent) == {path.name} and rows(path) == []


def test_a_bar_is_for_terminals(closed: Path, target: Path) -> None:  # noqa: F811
    text = on_terminal("backup", target, "--database", closed)
    assert "copying [-----" in text and text.split("\r")[-1].startswith("\x1b[Kcopied ")
    assert "[" not in output("backup", target.parent / "second.db", "--database", closed)


# --- check


def test_a_sound_file(closed: Path) -> None:
    assert output("check", "--database", closed) == "ok\n"
    assert json.loads(output("check", "--json", "--database", closed))["problems"] == []


def test_damage_ends_it_with_1(filled: Path) -> None:  # noqa: F811
    damaged(filled, table="events_by_session", page_offset=3, change=b"\x00\x01")
    before = filled.read_bytes()
    done = command("check", "--database", filled)
    assert done.returncode == 1 and done.stderr == "" and done.stdout.count("\n") > 1
    as_json = command("check", "--json", "--database", filled)
    assert as_json.returncode == 1
    result = json.loads(as_json.stdout)
    assert result["ok"] is False and done.stdout.splitlines() == result["problems"]
    assert filled.read_bytes() == before


def test_a_broken_rule_ends_it_with_1(filled: Path) -> None:  # noqa: F811
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("UPDATE store SET tasks = 5")
        connection.commit()
    done = command("check", "--database", filled)
    assert (done.returncode, done.stdout) == (1, "table 'store' counts 5 tasks, but there are 0\n")


def test_beside_a_sidecar_it_checks_what_was_answered(spawn: Spawn, database: Path) -> None:
    sidecar = spawn()
    for number in range(50):
        sidecar.call("create_session", session_id=f"s-{number}")
        assert output("check", "--database", database) == "ok\n" if number % 10 == 0 else True
    sidecar.finish()
