"""The files are deleted, moved, replaced or written over while a process has them open.

Whatever is done to them: nothing is acknowledged that whoever starts next does not find, where the acknowledged was not
itself taken away; the process ends with 69 and one line that says what happened; and what lies there afterwards opens.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar import BINARY, PATIENCE, Sidecar, clean_environment, line, notification, request

pytestmark = pytest.mark.file_only

REPLACED = 69


def beside(database: Path, suffix: str) -> Path:
    return database.with_name(database.name + suffix)


def backup(database: Path) -> Path:
    """A copy of another store: one session, no events."""
    copy = beside(database, ".copy")
    other = beside(database, ".other")
    sidecar = Sidecar(database=other)
    sidecar.call("create_session", session_id="restored")
    sidecar.call("backup", path=str(copy))
    sidecar.finish()
    sidecar.kill()
    return copy


def write_over(database: Path) -> None:
    """As cp does: the same inode, other bytes."""
    shutil.copyfile(backup(database), database)


WAYS: dict[str, Callable[[Path], object]] = {
    "unlink": os.unlink,
    "move": lambda database: os.rename(database, beside(database, ".moved")),
    "replace": lambda database: os.rename(backup(database), database),
    "write over": write_over,
    "truncate": lambda database: os.truncate(database, 0),
    "cut": lambda database: os.truncate(database, 4_096),
    "unlink the log": lambda database: os.unlink(beside(database, "-wal")),
    "move the log": lambda database: os.rename(beside(database, "-wal"), beside(database, ".log")),
    "truncate the log": lambda database: os.truncate(beside(database, "-wal"), 0),
    "unlink all": lambda database: [path.unlink() for path in database.parent.glob(database.name + "*")],
    "restore by the book of SQLite": lambda database: (os.unlink(beside(database, "-wal")), write_over(database)),
}  # fmt: skip

#: what the acknowledged was in is not there any more, or something else stands there on purpose
TAKEN_AWAY = {
    "unlink", "move", "replace", "write over", "truncate", "cut", "truncate the log", "unlink all",
    "restore by the book of SQLite",
}  # fmt: skip


def filled(database: Path, *options: str) -> Sidecar:
    sidecar = Sidecar(*options, database=database)
    sidecar.call("create_session", session_id="s")
    for number in range(1, 4):
        assert sidecar.call("store_event", session_id="s", data=number)["id"] == number
        if number == 1:  # one event stands in the database itself, the others in its log
            assert sidecar.call("maintenance")["checkpointed_pages"] > 0
    return sidecar


def restarted(database: Path, method: str, **params: object) -> dict[str, object]:
    sidecar = Sidecar(database=database)
    try:
        answer = sidecar.ask(method, **params)
        assert sidecar.call("check_integrity")["problems"] == []
        sidecar.finish()
        return answer
    finally:
        sidecar.kill()


def is_said(sidecar: Sidecar) -> None:
    assert sidecar.wait() == REPLACED
    said = sidecar.stderr()
    assert said.count("\n") == 1 and " was " in said, said


def test_whoever_still_asks_is_told_why(database: Path) -> None:
    """What was sent behind the refused write is answered too, so that nobody has to guess what became of it."""
    sidecar = filled(database)
    try:
        database.unlink()
        sidecar.send(
            # In a group of its own, so that the rest is looked at when the end is known.
            request("maintenance", 1), request("health", 2), request("session_count", 3),
            [
                request("health", 4), request("get_session", 5, session_id="s"),
                notification("touch_session", session_id="s"),
            ],
        )  # fmt: skip
        refused, health, count, (again, session) = (json.loads(text) for text in sidecar.rest())
        for answer in (refused, count, session):
            assert answer["error"]["data"]["kind"] == "database_replaced", answer
            assert answer["error"]["data"]["outcome"] == "not_applied"
        for answer in (health, again):
            assert answer["result"]["status"] == "degraded"
            (reason,) = answer["result"]["reasons"]
            assert "deleted or moved" in reason
            assert answer["result"]["free_disk_bytes"] is None or answer["result"]["free_disk_bytes"] > 0
        is_said(sidecar)
    finally:
        sidecar.kill()


@pytest.mark.parametrize(
    "options", [(), ("--exclusive",), ("--durability", "normal")], ids=["shared", "exclusive", "normal"]
)
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_acknowledged_into_files_that_are_gone(way: str, options: tuple[str, ...], database: Path) -> None:
    """Pipelined writes, so that a group of them is refused as one."""
    sidecar = filled(database, *options)
    try:
        WAYS[way](database)
        sidecar.send(*(request("store_event", number, session_id="s", data=number) for number in range(10)))
        answers = [json.loads(text) for text in sidecar.rest()]
        assert len(answers) == 10
        for answer in answers:
            data = answer["error"]["data"]
            assert data["kind"] == "database_replaced" and data["outcome"] == "not_applied", answer
        is_said(sidecar)
    finally:
        sidecar.kill()
    if way == "cut":
        with pytest.raises((AssertionError, BrokenPipeError)):  # it is damaged, and refused
            restarted(database, "session_count")
        return
    found = restarted(database, "event_count", session_id="s")
    if way in TAKEN_AWAY:
        assert found.get("result") in (None, {"count": int(way == "truncate the log")}), found
    else:
        assert found["result"] == {"count": 3}, found
    if way in ("replace", "write over", "restore by the book of SQLite"):
        assert restarted(database, "list_session_ids")["result"]["session_ids"] == ["restored"]  # type: ignore[index]
    if way == "move":  # all that was acknowledged went along, also what stood in the log
        assert restarted(beside(database, ".moved"), "event_count", session_id="s")["result"] == {"count": 3}


def test_whoever_only_reads_notices_too(database: Path) -> None:
    sidecar = filled(database)
    try:
        os.unlink(database)
        deadline = time.monotonic() + PATIENCE
        while "result" in (answer := sidecar.ask("get_session", session_id="s")):
            assert time.monotonic() < deadline
        assert answer["error"]["data"]["kind"] == "database_replaced"
        is_said(sidecar)
    finally:
        sidecar.kill()


def test_a_good_end_does_not_touch_what_stands_there_now(database: Path) -> None:
    """SQLite deletes the log of the last who closes, by its name; it may be that of another file now."""
    sidecar = filled(database)
    try:
        os.rename(database, beside(database, ".moved"))
        for suffix in ("-wal", "-shm"):
            os.rename(beside(database, suffix), beside(database, ".moved" + suffix))
        other = Sidecar(database=database)
        other.call("create_session", session_id="new")
        sidecar.close_input()
        assert sidecar.rest() == []
        is_said(sidecar)
        assert beside(database, "-wal").exists()
        assert other.call("session_count") == {"count": 1}
        other.kill()
        assert restarted(database, "session_count")["result"] == {"count": 1}
        assert restarted(beside(database, ".moved"), "event_count", session_id="s")["result"] == {"count": 3}
    finally:
        sidecar.kill()


def test_all_processes_on_a_file_notice(database: Path) -> None:
    sidecars = [filled(database), Sidecar(database=database), Sidecar(database=database)]
    try:
        for sidecar in sidecars:
            sidecar.call("touch_session", session_id="s")
        os.rename(database, beside(database, ".moved"))
        for sidecar in sidecars:
            answer = sidecar.ask("store_event", session_id="s", data=0)
            assert answer["error"]["data"]["kind"] == "database_replaced", answer
            is_said(sidecar)
    finally:
        for sidecar in sidecars:
            sidecar.kill()
    assert restarted(beside(database, ".moved"), "event_count", session_id="s")["result"] == {"count": 3}


@pytest.mark.parametrize("options", [(), ("--exclusive",)], ids=["shared", "exclusive"])
def test_what_changes_no_content_is_no_change(options: tuple[str, ...], database: Path) -> None:
    """The time of the file, its rights, another name of it, and the lock, which is made anew."""
    sidecar = filled(database, *options)
    try:
        os.utime(database)
        os.chmod(database, 0o640)
        os.link(database, beside(database, ".link"))
        os.unlink(beside(database, "-lock"))
        assert sidecar.call("store_event", session_id="s", data=4)["id"] == 4
        assert sidecar.call("maintenance")["checkpointed_pages"] > 0
        os.utime(database)
        assert sidecar.call("store_event", session_id="s", data=5)["id"] == 5
        assert options or beside(database, "-lock").exists()
        assert sidecar.finish() == []
    finally:
        sidecar.kill()


def test_checkpoints_of_others_are_no_change(database: Path) -> None:
    """Also those of a program that takes the lock by hand, as the contract has it."""
    first, second = filled(database), Sidecar(database=database)
    try:
        for number in range(4, 10):
            assert second.call("store_event", session_id="s", data=number)["id"] == 2 * number - 4
            assert second.call("maintenance")["checkpointed_pages"] > 0
            assert first.call("store_event", session_id="s", data=number)["id"] == 2 * number - 3
        script = "import sqlite3,sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint')"
        subprocess.run(
            ["flock", beside(database, "-lock"), "python3", "-c", script, database], check=True, timeout=PATIENCE
        )
        assert first.call("event_count", session_id="s") == second.call("event_count", session_id="s")
        assert first.call("store_event", session_id="s", data=0)["id"] == 16
        assert second.finish() == [] and first.finish() == []
    finally:
        first.kill()
        second.kill()


def test_a_backup_is_not_made_of_another_file(database: Path) -> None:
    sidecar = filled(database)
    try:
        os.rename(backup(database), database)
        answer = sidecar.ask("backup", path=str(beside(database, ".new")))
        assert answer["error"]["data"]["kind"] == "database_replaced"
        is_said(sidecar)
        assert not beside(database, ".new").exists()
    finally:
        sidecar.kill()


def test_a_link_that_leads_elsewhere_is_another_file(database: Path) -> None:
    """A restart would follow it there."""
    sidecar = filled(database)
    sidecar.finish()
    sidecar.kill()
    link = beside(database, ".link")
    link.symlink_to(database)
    sidecar = Sidecar(database=link)
    try:
        sidecar.call("touch_session", session_id="s")
        link.unlink()
        link.symlink_to(beside(database, ".elsewhere"))
        assert sidecar.ask("store_event", session_id="s", data=4)["error"]["data"]["kind"] == "database_replaced"
        is_said(sidecar)
    finally:
        sidecar.kill()
    assert restarted(database, "event_count", session_id="s")["result"] == {"count": 3}


# --- A log that a dead process left


def kill(sidecar: Sidecar) -> None:
    sidecar.process.kill()
    sidecar.process.wait(PATIENCE)
    sidecar.kill()


def write(database: Path, name: str) -> Sidecar:
    """Several commits: it is still running."""
    sidecar = Sidecar(database=database)
    for number in range(5):
        sidecar.call("create_session", session_id=f"{name}-{number}", metadata={"m": "x" * 3_000})
    return sidecar


def check(database: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BINARY, "check", "--database", str(database)], capture_output=True, text=True, timeout=PATIENCE, check=False,
        env=clean_environment(),
    )  # fmt: skip


@pytest.mark.parametrize("other", ["an older state", "another store"])
def test_a_log_that_a_dead_process_left_is_not_put_into_another_file(other: str, database: Path) -> None:
    write(database, "first").finish()
    copy = beside(database, ".backup")
    if other == "an older state":
        shutil.copyfile(database, copy)
        write(database, "second").finish()
    else:
        # The same number of changes, so that its revision alone tells nothing.
        write(copy, "other").finish()
        write(copy, "another").finish()
    kill(write(database, "third"))
    assert beside(database, "-wal").stat().st_size > 0
    os.rename(copy, database)
    before = {path: path.read_bytes() for path in (database, beside(database, "-wal"))}
    serve = subprocess.run(
        [BINARY, "--database", str(database)], input=b"", capture_output=True, timeout=PATIENCE, check=False,
        env=clean_environment(),
    )  # fmt: skip
    checked = check(database)
    for status, said in ((serve.returncode, serve.stderr.decode()), (checked.returncode, checked.stderr)):
        assert status == 65 and "belongs to another file" in said and f"move {database}-wal away" in said, said
    assert {path: path.read_bytes() for path in before} == before
    # By what it says.
    os.rename(beside(database, "-wal"), beside(database, ".log"))
    sidecar = Sidecar(database=database)
    assert sidecar.call("check_integrity")["problems"] == []
    assert sidecar.call("session_count") == {"count": 5 if other == "an older state" else 10}
    sidecar.finish()
    sidecar.kill()


@pytest.mark.parametrize("checkpoints", [False, True])
def test_a_log_that_belongs_to_its_file_is_taken_over_wherever_both_are(checkpoints: bool, database: Path) -> None:
    write(database, "first").finish()
    sidecar = write(database, "second")
    if checkpoints:
        # The log is begun anew meanwhile, and the file is ahead of where it was begun.
        for number in range(1_400):
            sidecar.call("create_session", session_id=f"s-{number}", metadata={"m": "x" * 9_000})
    count = sidecar.call("session_count")["count"]
    kill(sidecar)
    moved = beside(database, ".moved")
    for suffix in ("", "-wal"):
        shutil.copyfile(beside(database, suffix), beside(moved, suffix))
    for path in (database, moved):
        assert check(path).stdout == "ok\n"
        sidecar = Sidecar(database=path)
        assert sidecar.call("session_count") == {"count": count}
        kill(sidecar)
        sidecar = write(path, "third")
        kill(sidecar)
        sidecar = write(path, "fourth")
        assert sidecar.call("session_count") == {"count": count + 10}
        assert sidecar.call("check_integrity")["problems"] == []
        sidecar.finish()
        sidecar.kill()


def test_nothing_is_said_of_a_store_in_memory() -> None:
    done = subprocess.run(
        [BINARY, "--database", ":memory:"], input=line(request("create_session", 1)), capture_output=True,
        timeout=PATIENCE, env=clean_environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == b"" and b'"result"' in done.stdout
