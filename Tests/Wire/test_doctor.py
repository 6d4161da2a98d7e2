"""`doctor`: what it finds, and that its remedies help."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shell import command, output
from sidecar import Sidecar
from unprivileged import Unprivileged

pytestmark = pytest.mark.file_only


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


def test_doctor_looks_at_the_contents(closed: Path) -> None:
    check = checkup(closed)["contents"]
    assert check["result"] == "ok" and "the structure and the store's rules are kept" in check["message"]
    # A row that is gone without the counters that go with it breaks a rule of the store, not one of SQLite's.
    with closing(sqlite3.connect(closed)) as connection, connection:
        connection.execute("DELETE FROM events WHERE id = (SELECT max(id) FROM events)")
    check = checkup(closed, status=1)["contents"]
    assert check["result"] == "problem" and "events" in check["message"]
    assert f"check --database {closed}" in check["remedy"]
    assert check["message"].split(", and ")[0] in command("check", "--database", closed).stdout


def test_doctor_finds_damage_in_the_structure(closed: Path) -> None:
    with closing(sqlite3.connect(closed)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'audit_events'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(closed, "r+b") as file:
        file.seek((page - 1) * size + 3)
        file.write(b"\xff\xff")
    checks = checkup(closed, status=1)
    assert "malformed" in checks["file"]["message"] or checks["contents"]["result"] == "problem"
    # Whatever could not be looked at is not called well.
    assert checks["contents"]["result"] != "ok"


def test_doctor_names_unknown_variables(closed: Path) -> None:
    assert checkup(closed)["variables"]["result"] == "ok"
    done = command("doctor", "--json", "--database", closed, MCP_SESSION_STORE_MAX_SESION="1")
    check = next(check for check in json.loads(done.stdout)["checks"] if check["name"] == "variables")
    assert done.returncode == 0 and done.stderr == "" and check["result"] == "warning"
    assert "MCP_SESSION_STORE_MAX_SESION (did you mean 'MCP_SESSION_STORE_MAX_SESSIONS'?)" in check["message"]


def test_doctor_tells_what_workers_leave_undone(spawn: Callable[..., Sidecar], database: Path) -> None:
    sidecar = spawn()
    for name in ("ready", "dead", "later"):
        more = {"delay": 3_600_000} if name == "later" else {}
        sidecar.call("enqueue_work", queue=name, work_id=f"{name}-1", payload="secret", group="g", **more)
    sidecar.call("put_event_subscription", subscription_id="s", topic="t", active=False, secret="whsec_c2VjcmV0")
    sidecar.finish()
    checks = checkup(database)
    assert checks["work"] == {"name": "work", "result": "ok", "message": "3 waiting, 0 leased", "remedy": None}
    assert checks["dead letters"]["result"] == checks["subscribers"]["result"] == "ok"
    assert checks["subscribers"]["message"] == "1 event subscriptions, 1 of them inactive"
    sidecar = spawn()
    (item,) = sidecar.call("claim_work", queue="dead")["work"]
    sidecar.call("settle_work", queue="dead", work_id="dead-1", fence=item["fence"], outcome="dead", error="http_4xx")
    sidecar.finish()
    # Two hours and two days later.
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE work SET line = line - 7200000 * 1024 WHERE line IS NOT NULL")
        connection.execute("UPDATE work_groups SET line = line - 7200000 * 1024 WHERE line IS NOT NULL")
        connection.execute("UPDATE event_subscriptions SET inactive_since = inactive_since - 172800000")
    checks = checkup(database)
    for name, said in {"work": "queue 'ready' for 2 h", "dead letters": "1 items of work were given up",
                       "subscribers": "1 of 1 event subscriptions are inactive"}.items():  # fmt: skip
        assert checks[name]["result"] == "warning" and said in checks[name]["message"], checks[name]
    assert "revive_work" in checks["dead letters"]["remedy"]
    assert "secret" not in output("doctor", "--database", database)
    status = json.loads(output("status", "--json", "--database", database))
    assert status["work"] == {"waiting": 2, "leased": 0, "done": 0, "dead": 1}
    assert (status["event_subscriptions"], status["inactive_event_subscriptions"]) == (1, 1)


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
    said = checkup(closed)["sqlite"]["message"].split()[1]
    version = tuple(int(part) for part in said.split("."))
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
    left = database.parent / "it's a backup.db.partial-0f3c"
    left.touch()
    checks = checkup(database)
    assert "killed" in checks["log"]["message"] and checks["leftovers"]["result"] == "warning"
    assert str(left) in checks["leftovers"]["message"]
    subprocess.run(["sh", "-c", checks["leftovers"]["remedy"].split(": ", 1)[1]], check=True)
    assert not left.exists() and checkup(database)["leftovers"]["result"] == "ok"


def test_doctor_on_a_file_of_another_version(closed: Path) -> None:
    """The next sidecar brings an older one up to date; nothing here can do anything with a newer one."""
    for version, status, result in ((1, 0, "warning"), (99, 1, "problem")):
        with closing(sqlite3.connect(closed)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
            connection.commit()
        check = checkup(closed, status=status)["file"]
        assert check["result"] == result and f"schema {version}" in check["message"]


def test_doctor_on_a_file_that_is_not_there_or_not_ours(tmp_path: Path) -> None:
    assert checkup(tmp_path / "none.db", status=1)["file"]["result"] == "problem"
    assert checkup(tmp_path / "none" / "a.db", status=1)["file"]["result"] == "problem"
    (tmp_path / "text.db").write_text("not a database")
    assert "not a SQLite database" in checkup(tmp_path / "text.db", status=1)["file"]["message"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["text.db"]


def test_doctor_knows_the_file_system(closed: Path) -> None:
    find = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", closed]
    kind = subprocess.run(find, capture_output=True, text=True, check=True).stdout.strip()
    check = checkup(closed)["file system"]
    assert check["message"].startswith(kind)
    known = dict.fromkeys(("ext4", "xfs", "btrfs", "zfs"), "ok") | dict.fromkeys(("tmpfs", "overlay", "9p"), "warning")
    assert check["result"] == known.get(kind, check["result"])
    if os.access("/dev/shm", os.W_OK) and "tmpfs" in Path("/proc/mounts").read_text():
        path = Path("/dev/shm") / f"mcp-session-store-{os.getpid()}.db"
        try:
            shutil.copy(closed, path)
            check = checkup(path)["file system"]
            assert check["result"] == "warning" and "tmpfs" in check["message"], check
        finally:
            path.unlink()


def test_doctor_says_what_it_cannot_know(unprivileged: Unprivileged) -> None:
    """Processes of other users hide their files from one without rights."""
    path = unprivileged.file(0o600)
    done = unprivileged.run("doctor", "--json", "--database", path)
    assert done.returncode == 0, done
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    hidden = "hidden" in checks["processes"]["message"]
    others = any(entry.stat().st_uid != 65_534 for entry in Path("/proc").iterdir() if entry.name.isdigit())
    assert hidden == (others if os.getuid() == 0 else hidden)
