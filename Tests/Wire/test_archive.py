"""Sessions that have ended, moved to an archive and back."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Place
from shell import BINARY, clean_environment, command, is_refused, output
from sidecar import Sidecar
from test_dump import dumped

Spawn = Callable[..., Sidecar]
KEEP = ("--retain-ended", "1h")


def end(sidecar: Sidecar, name: str) -> None:
    sidecar.call("create_session", session_id=name, status="active", state={"k": name}, user_id="ann", principal="p")
    sidecar.call("store_event", session_id=name, data={"text": "é \u2028 " + name})
    sidecar.call("append_log_entry", session_id=name, entry={"sender": "ann"})
    sidecar.call("create_task", task_id=f"task-of-{name}", session_id=name, principal="p")
    sidecar.call("resolve_session", session_id=name)


def records(lines: str) -> list[dict[str, Any]]:
    """Of all sessions of an archive or a dump, without what is the store's own and the trail."""
    several = [json.loads(line) for line in lines.split("\n")[:-1]]
    return [one for one in several if not one.keys() & {"mcp_session_store_dump", "audit_event", "end"}]


def archived(file: Path) -> list[dict[str, Any]]:
    return records(gzip.decompress(file.read_bytes()).decode())


def names(file: Path) -> list[str]:
    return [one["session"]["session_id"] for one in archived(file) if "session" in one]


def archive(database: Path | str, file: Path) -> str:
    time.sleep(0.002)  # an end in this very millisecond is not before it
    return output("archive", "--before", "0", "--to", file, "--database", database)


def test_what_has_ended_goes_to_a_file_and_comes_back(spawn: Spawn, database: Path | str, tmp_path: Path) -> None:
    sidecar = spawn(*KEEP)
    file = tmp_path / "ended.gz"
    for name in ("a", "b"):
        end(sidecar, name)
    sidecar.call("create_session", session_id="alive", status="active")
    before = [*records(dumped(database, "a")), *records(dumped(database, "b"))]
    assert output("archive", "--before", "1h", "--to", file, "--database", database).startswith("archived 0 sessions")
    assert archive(database, file) == f"archived 2 sessions in {file}\n"
    assert archived(file) == before
    assert sidecar.call("list_session_ids", include_ended=True)["session_ids"] == ["alive"]
    assert sidecar.call("list_tasks", principal="p")["tasks"] == []
    assert sidecar.call("check_integrity")["ok"]
    told = [event for event in sidecar.call("list_audit_events")["events"] if event["type"] == "deleted"]
    assert [(event["session_id"], event["message"]) for event in told] == [("a", "archived"), ("b", "archived")]
    assert output("load", "--from", file, "--session", "b", "--database", database).startswith(
        f"loaded {len(before) // 2} records"
    )
    found = sidecar.call("get_session", session_id="b", include_ended=True)
    assert (found["status"], found["state"]) == ("resolved", {"k": "b"})
    done = command("load", "--from", file, "--session", "b", "--database", database)
    assert done.returncode == 65 and "nothing was loaded" in done.stderr
    end(sidecar, "c")
    assert archive(database, file) == f"archived 2 sessions in {file}\n"
    assert names(file) == ["a", "b", "b", "c"]
    assert archive(database, file) == f"archived 0 sessions in {file}\n"


def test_many_take_several_groups(spawn: Spawn, database: Path | str, tmp_path: Path) -> None:
    sidecar = spawn(*KEEP)
    for number in range(130):
        sidecar.call("create_session", session_id=f"s-{number}", status="active")
        sidecar.call("resolve_session", session_id=f"s-{number}")
    file = tmp_path / "ended.gz"
    assert archive(database, file) == f"archived 130 sessions in {file}\n"
    assert sorted(names(file)) == sorted(f"s-{number}" for number in range(130))


@pytest.mark.file_only
def test_whoever_was_killed_loses_nothing_and_archives_nothing_twice(
    spawn: Spawn, database: Path, tmp_path: Path
) -> None:
    sidecar = spawn(*KEEP)
    for name in "abc":
        end(sidecar, name)
    sidecar.finish()
    before = tmp_path / "before.db"
    shutil.copy(database, before)
    file = tmp_path / "ended.gz"
    archive(database, file)
    whole = file.read_bytes()
    starts = [at for at in range(len(whole)) if whole.startswith(b"\x1f\x8b\x08\x0c", at)]
    assert len(starts) == 3
    unfinished = bytearray(whole)
    unfinished[starts[1] + 16 : starts[1] + 88] = bytes(72)
    left = {
        "all of it on disk": whole,
        "a length that is not there": bytes(unfinished),
        "a header": whole[: starts[1] + 5],
        "half a member": bytes(unfinished[: starts[1] + 150]),
        "nothing": b"",
        "what a power cut leaves": whole[: starts[1]] + bytes(100),
    }
    for what, content in left.items():
        for ending in ("", "-wal", "-shm"):
            Path(f"{database}{ending}").unlink(missing_ok=True)
        shutil.copy(before, database)
        file.write_bytes(content)
        assert archive(database, file) == f"archived 3 sessions in {file}\n", what
        assert sorted(names(file)) == ["a", "b", "c"], what
        assert records(dumped(database)) == [], what
        if what == "all of it on disk":
            assert file.read_bytes() == whole


@pytest.mark.file_only
def test_a_kill_at_any_moment(spawn: Spawn, database: Path, tmp_path: Path) -> None:
    sidecar = spawn(*KEEP)
    several = [f"s-{number}" for number in range(12)]
    for name in several:
        end(sidecar, name)
    file = tmp_path / "ended.gz"
    words = [str(word) for word in (BINARY, "archive", "--before", "0", "--to", file, "--database", database)]
    chance = random.Random(7)
    for _ in range(8):
        child = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment()
        )  # fmt: skip
        time.sleep(chance.random() * 0.02)
        child.kill()
        child.wait()
    archive(database, file)
    assert sorted(names(file)) == sorted(several)
    assert sidecar.call("list_session_ids", include_ended=True)["session_ids"] == []
    assert sidecar.call("check_integrity")["ok"]


@pytest.mark.file_only
def test_what_is_refused(spawn: Spawn, database: Path, tmp_path: Path) -> None:
    sidecar = spawn(*KEEP)
    end(sidecar, "a")
    file = tmp_path / "ended.gz"
    other = tmp_path / "other.gz"
    other.write_bytes(gzip.compress(b"of somebody else"))
    content = other.read_bytes()
    is_refused(command("archive", "--before", "0", "--to", other, "--database", database), 65, "is no archive")
    assert other.read_bytes() == content
    is_refused(command("archive", "--to", file, "--database", database), 64, "--before")
    is_refused(command("archive", "--before", "0", "--database", database), 64, "--to")
    is_refused(command("archive", "--before", "0", "--to", file, "--database", tmp_path / "none.db"), 66, "no file")
    is_refused(command("load", "--from", file, "--database", database), 64, "--session")
    archive(database, file)
    is_refused(command("load", "--from", file, "--session", "x", "--database", database), 66, "no session 'x'")
    damaged = bytearray(file.read_bytes())
    damaged[-8] ^= 1  # its checksum
    file.write_bytes(damaged)
    done = command("load", "--from", file, "--session", "a", "--database", tmp_path / "new.db")
    assert done.returncode == 65 and "damaged" in done.stderr and not (tmp_path / "new.db").exists()
