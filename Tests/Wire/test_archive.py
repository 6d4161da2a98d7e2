"""Sessions that have ended, moved to an archive and back."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine import Place
from faults import injecting, needs_strace
from shell import BINARY, clean_environment, command, is_refused, output
from sidecar import Sidecar, request
from test_dump import dumped
from test_process import until

Spawn = Callable[..., Sidecar]
KEEP = ("--retain-ended", "1h")
#: Unix milliseconds, after every end
EVER = 9_999_999_999_999


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


# --- As a job, beside the requests


def test_the_job_moves_what_has_ended(spawn: Spawn, database: Path | str, tmp_path: Path) -> None:
    sidecar = spawn(*KEEP)
    file = tmp_path / "ended.gz"
    several = [f"s-{number}" for number in range(110)]
    sidecar.send(*(request("create_session", name, session_id=name, status="active") for name in several))
    sidecar.send(*(request("resolve_session", name, session_id=name) for name in several))
    for _ in range(2 * len(several)):
        sidecar.receive_answer()
    end(sidecar, "whole")
    sidecar.call("create_session", session_id="alive", status="active")
    before = records(dumped(database, "whole"))
    first = sidecar.call("get_session", session_id="s-0", include_ended=True)["ended_at"]
    assert sidecar.call("archive", path=str(file), ended_before=first)["sessions"] == 0
    done = sidecar.call("archive", path=str(file), ended_before=EVER)
    assert done["sessions"] == 111 and done["bytes"] == file.stat().st_size and file.stat().st_mode & 0o777 == 0o600
    told = [each["params"] for each in sidecar.notifications if each["method"] == "progress"]
    assert told[0] | {"id": None} == {"id": None, "method": "archive", "done": 0, "total": 111}
    assert sorted(names(file)) == sorted([*several, "whole"])
    assert records_of("whole", file) == before
    assert sidecar.call("list_session_ids", include_ended=True)["session_ids"] == ["alive"]
    assert sidecar.call("list_tasks", principal="p")["tasks"] == []
    assert sidecar.call("check_integrity")["ok"]
    trail = [event for event in sidecar.call("list_audit_events", limit=1_000)["events"] if event["type"] == "deleted"]
    assert len(trail) == 111 and {event["message"] for event in trail} == {"archived"}
    assert output("load", "--from", file, "--session", "whole", "--database", database).startswith("loaded")
    assert sidecar.call("get_session", session_id="whole", include_ended=True)["state"] == {"k": "whole"}
    assert sidecar.call("archive", path=str(file), ended_before=EVER)["sessions"] == 1
    assert names(file).count("whole") == 2


def records_of(session: str, file: Path) -> list[dict[str, Any]]:
    """Of one session of an archive, the one that was archived last."""
    content = gzip.decompress(file.read_bytes()).decode()
    dumps = [part for part in content.split('{"mcp_session_store_dump"') if f'"session_id":"{session}"' in part]
    return records('{"mcp_session_store_dump"' + dumps[-1])


@pytest.mark.file_only
def test_a_large_session_goes_a_few_rows_at_a_time(spawn: Spawn, database: Path, tmp_path: Path) -> None:
    sidecar = spawn(*KEEP)
    sidecar.call("create_session", session_id="large", status="active")
    # Each in a row of its own: its neighbours are of another stream.
    events = [{"data": "x" * 100, "stream_id": str(number % 2)} for number in range(2_000)]
    for start in range(0, 2_000, 500):
        sidecar.call("store_events", session_id="large", events=events[start : start + 500])
    sidecar.call("resolve_session", session_id="large")
    file = tmp_path / "ended.gz"
    assert sidecar.call("archive", path=str(file), ended_before=EVER)["sessions"] == 1
    assert sidecar.call("list_session_ids", include_ended=True)["session_ids"] == []
    assert sum("event" in one for one in archived(file)) == 2_000

    def rows() -> int:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            (found,) = connection.execute("SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM events)")
        return int(found[0])

    begun = time.monotonic()
    until(lambda: rows() == 0, "the sweep has taken its rows")
    assert time.monotonic() - begun < 45, "it came with the next interval only"
    assert sidecar.call("check_integrity")["ok"]
    assert len(records_of("large", file)) == len(records(dumped_from(file, "large", tmp_path)))


def dumped_from(file: Path, session: str, folder: Path) -> str:
    database = folder / "back.db"
    output("load", "--from", file, "--session", session, "--database", database)
    return dumped(database, session)


@pytest.mark.parametrize("way", ["batch", "memory", "exclusive"])
@pytest.mark.file_only
def test_where_no_second_connection_is_possible_it_is_done_in_its_turn(
    way: str, spawn: Spawn, database: Path, tmp_path: Path
) -> None:
    options = ("--exclusive",) if way == "exclusive" else ()
    sidecar = spawn(*KEEP, *options, database=":memory:" if way == "memory" else database)
    end(sidecar, "a")
    job = request("archive", 1, path=str(tmp_path / "ended.gz"), ended_before=EVER)
    if way == "batch":
        sidecar.send([job, request("session_count", 2, include_ended=True)])
        answers = sidecar.receive()
    else:
        sidecar.send(job, request("session_count", 2, include_ended=True))
        answers = [sidecar.receive_answer(), sidecar.receive_answer()]
    assert answers[0]["result"]["sessions"] == 1 and answers[1]["result"]["count"] == 0
    assert names(tmp_path / "ended.gz") == ["a"]


def test_the_job_refuses_paths(spawn: Spawn, database: Path | str, tmp_path: Path) -> None:
    sidecar = spawn(*KEEP)
    end(sidecar, "a")
    other, zeros = tmp_path / "other.gz", tmp_path / "zeros"
    other.write_bytes(gzip.compress(b"of somebody else"))
    zeros.write_bytes(bytes(1_000) + b"of somebody else")
    for path, said in {
        "": "not empty", str(tmp_path): "not itself", str(tmp_path / "none" / "a.gz"): "in a directory that is there",
        str(other): "a sound archive", str(zeros): "a sound archive", "a\0b": "NUL",
    }.items():  # fmt: skip
        content = [file.read_bytes() for file in (other, zeros)]
        refusal = sidecar.refusal("archive", path=path, ended_before=EVER)
        assert (refusal.kind, refusal.data["parameter"]) == ("invalid_params", "path"), refusal
        assert said in refusal.data["expected"], refusal
        assert [file.read_bytes() for file in (other, zeros)] == content
    if isinstance(database, Path):
        for ending in ("", "-wal", "-shm", "-lock"):
            refusal = sidecar.refusal("archive", path=f"{database}{ending}", ended_before=EVER)
            assert "not the database's own" in refusal.data["expected"]
    assert sidecar.call("list_session_ids", include_ended=True)["session_ids"] == ["a"]
    with (tmp_path / "busy.gz").open("w") as held:
        subprocess.run(["flock", "--nonblock", str(held.fileno())], pass_fds=[held.fileno()], check=True)
        assert sidecar.refusal("archive", path=str(tmp_path / "busy.gz"), ended_before=EVER).kind == "database_busy"


@pytest.mark.file_only
def test_a_signal_cancels_the_job_and_loses_nothing(spawn: Spawn, database: Path, tmp_path: Path) -> None:
    sidecar = spawn(*KEEP)
    several = [f"s-{number}" for number in range(30)]
    for name in several:
        end(sidecar, name)
    file = tmp_path / "ended.gz"
    sidecar.send(request("archive", 1, path=str(file), ended_before=EVER))
    until(file.exists, "it has begun")
    sidecar.process.send_signal(signal.SIGTERM)
    answers = [message for text in sidecar.rest() if "id" in (message := json.loads(text))]
    assert sidecar.wait() == 0 and len(answers) == 1
    assert "result" in answers[0] or answers[0]["error"]["data"]["kind"] == "shutting_down"
    left = {one["session"]["session_id"] for one in records(dumped(database)) if "session" in one}
    archive(database, file)
    assert sorted(names(file)) == sorted(several), f"{len(left)} were left"
    assert records(dumped(database)) == []


@pytest.mark.file_only
def test_a_machine_without_zlib_says_what_to_install(spawn: Spawn, database: Path, tmp_path: Path) -> None:
    """Everything else goes without it."""
    (tmp_path / "libz.so.1").write_text("no library")
    without = clean_environment(LD_LIBRARY_PATH=str(tmp_path))
    sidecar = spawn(*KEEP, env=without)
    end(sidecar, "a")
    file = tmp_path / "ended.gz"
    refusal = sidecar.refusal("archive", path=str(file), ended_before=EVER)
    assert refusal.kind == "not_supported" and "zlib1g" in refusal.data["instead"], refusal
    is_refused(
        command("archive", "--before", "0", "--to", file, "--database", database, LD_LIBRARY_PATH=str(tmp_path)), 69,
        "libz.so.1", "apt-get install zlib1g",
    )  # fmt: skip
    assert not file.exists()
    assert sidecar.call("list_session_ids", include_ended=True)["session_ids"] == ["a"]


# --- Two at once


def members(*files: Path) -> list[str]:
    """The sessions that are in archives, as often as they are there."""
    return sorted(name for file in files if file.exists() for name, _ in finished(file))


@needs_strace
def test_what_a_killed_archive_has_is_not_written_to_another(
    spawn: Spawn, database: Path | str, tmp_path: Path
) -> None:
    """Killed with all on disk in one file and nothing deleted; the next archive is another file."""
    sidecar = spawn(*KEEP)
    for name in "ab":
        end(sidecar, name)
    one, other = tmp_path / "one.gz", tmp_path / "other.gz"
    time.sleep(0.002)
    words = [BINARY, "archive", "--before", "0", "--to", one, "--database", str(database)]
    # The third is that of the directory.
    wrapper = [*injecting(tmp_path / "log", "fsync", "signal=KILL:when=2"), "-P", f"{one}"]
    assert subprocess.run([*wrapper, *words], capture_output=True, check=False).returncode != 0
    assert members(one) == ["a", "b"]
    assert sidecar.call("list_session_ids", include_ended=True)["session_ids"] == ["a", "b"]
    # It is held by somebody: then it is not known to be dead.
    with one.open() as held:
        subprocess.run(["flock", "--nonblock", str(held.fileno())], pass_fds=[held.fileno()], check=True)
        refusal = sidecar.refusal("archive", path=str(other), ended_before=EVER)
        assert refusal.kind == "database_busy" and str(one) in refusal.message
        done = command("archive", "--before", "0", "--to", other, "--database", database)
        assert done.returncode == 75 and f"leaving for the archive at {one}" in done.stderr
    # Moved away it cannot be asked.
    away = one.rename(tmp_path / "away.gz")
    assert sidecar.refusal("archive", path=str(other), ended_before=EVER).kind == "database_busy"
    one.write_bytes(away.read_bytes())
    assert sidecar.refusal("archive", path=str(other), ended_before=EVER).kind == "database_busy"
    assert sidecar.call("list_session_ids", include_ended=True)["session_ids"] == ["a", "b"]
    away.rename(one)
    end(sidecar, "c")
    time.sleep(0.002)
    assert sidecar.call("archive", path=str(other), ended_before=EVER)["sessions"] == 1
    assert members(one, other) == ["a", "b", "c"] and members(other) == ["c"]
    assert sidecar.call("list_session_ids", include_ended=True)["session_ids"] == []
    assert sidecar.call("check_integrity")["ok"]


def test_two_archives_at_once_that_are_killed_write_each_session_once(
    spawn: Spawn, database: Path | str, tmp_path: Path
) -> None:
    sidecar = spawn(*KEEP)
    several = sorted(f"s-{number}" for number in range(40))
    for name in several:
        end(sidecar, name)
    files = [tmp_path / "one.gz", tmp_path / "other.gz"]
    chance = random.Random(11)

    def begin(file: Path) -> subprocess.Popen[bytes]:
        words = [BINARY, "archive", "--before", "0", "--to", file, "--database", str(database)]
        return subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment()
        )  # fmt: skip

    time.sleep(0.002)
    for _ in range(8):
        both = [begin(file) for file in files]
        time.sleep(chance.random() * 0.04)
        for child in both:
            child.kill()
            child.wait()
        there = sidecar.call("list_session_ids", include_ended=True)["session_ids"]
        assert sorted({*there, *members(*files)}) == several
        assert len(members(*files)) == len(set(members(*files)))
    # Not killed: as a command and as a job, until both are through.
    sidecar.send(request("archive", 1, path=str(files[0]), ended_before=EVER))
    child = begin(files[1])
    answer = sidecar.receive_answer()
    assert "result" in answer or answer["error"]["data"]["kind"] == "database_busy", answer
    assert child.wait() in (0, 75)
    archive(database, files[1])
    assert members(*files) == several
    assert sidecar.call("list_session_ids", include_ended=True)["session_ids"] == []
    assert sidecar.call("list_tasks", principal="p")["tasks"] == []
    assert sidecar.call("check_integrity")["ok"]


# --- Killed at each step


@pytest.fixture
def ended(spawn: Spawn, database: Path) -> Path:
    """A file that nobody has open, with two sessions that have ended and one that was archived already."""
    sidecar = spawn(*KEEP)
    end(sidecar, "earlier")
    archive(database, database.with_name("ended.gz"))
    for name in "ab":
        end(sidecar, name)
    sidecar.finish()
    return database


@needs_strace
@pytest.mark.file_only
@pytest.mark.parametrize(
    ("way", "call", "on", "stride"),
    [
        ("command", "pwrite64", "archive", 1), ("command", "pwrite64", "store", 4), ("command", "fsync", "archive", 1),
        ("command", "ftruncate", "archive", 1), ("job", "pwrite64", "archive", 1), ("job", "pwrite64", "store", 8),
        ("job", "fsync", "archive", 1), ("job", "ftruncate", "archive", 1),
    ],
)  # fmt: skip
def test_a_kill_before_each_call_that_writes(
    way: str, call: str, on: str, stride: int, ended: Path, tmp_path: Path, spawn: Spawn
) -> None:
    """To the archive or to the store: each session is in one of them, and the next pass makes it the archive."""
    file, log = ended.with_name("ended.gz"), tmp_path / "log"
    saved = [(path, path.read_bytes()) for path in (ended, file)]
    before = [one for name in "ab" for one in records(dumped(ended, name))]
    kills, step = 0, 1
    while True:
        for path, content in saved:
            for ending in ("-wal", "-shm"):
                Path(f"{path}{ending}").unlink(missing_ok=True)
            path.write_bytes(content)
        wrapper = injecting(log, call, f"signal=KILL:when={step}")
        wrapper += ["-P", f"{file}"] if on == "archive" else ["-P", f"{ended}", "-P", f"{ended}-wal"]
        if way == "command":
            words = [BINARY, "archive", "--before", "0", "--to", file, "--database", ended]
            status = subprocess.run([*wrapper, *words], capture_output=True, check=False).returncode
        else:
            sidecar = spawn(*KEEP, wrapper=wrapper, database=ended)
            try:
                sidecar.send(request("archive", 1, path=str(file), ended_before=EVER))
            except BrokenPipeError:
                pass  # killed before it read
            while (text := sidecar.read_line()) is not None and b'"result"' not in text:
                pass  # it tells how far it is
            if text is not None:
                sidecar.close_input()
                sidecar.rest()
            status = sidecar.wait()
        left = set(sessions_in(ended)) | {name for name, _ in finished(file)}
        assert left == {"earlier", "a", "b"}, f"step {step}"
        archive(ended, file)
        assert names(file) == ["earlier", "a", "b"] and sessions_in(ended) == [], f"step {step}"
        if status == 0:
            break
        kills, step = kills + 1, step + stride
    assert kills >= (3 if call == "pwrite64" else 1), "it was hardly ever killed"
    assert [one for name in "ab" for one in records_of(name, file)] == before
    assert records(dumped_from(file, "a", tmp_path)) == before[: len(before) // 2]


def sessions_in(database: Path) -> list[str]:
    """As a copy has them, for what a killed process left stays as it is."""
    copy = database.with_name("copy.db")
    for ending in ("", "-wal"):
        path = Path(f"{database}{ending}")
        Path(f"{copy}{ending}").write_bytes(path.read_bytes() if path.exists() else b"")
    with closing(sqlite3.connect(copy)) as connection:
        return [name for (name,) in connection.execute("SELECT session_id FROM sessions ORDER BY number")]


def finished(file: Path) -> Iterator[tuple[str, str]]:
    """The sessions of an archive whose header says how long they are, and their lines; nothing behind them is read."""
    content, at = file.read_bytes(), 0
    while length := int.from_bytes(content[at + 16 : at + 24], "little"):
        end = content.index(0, at + 88)
        yield content[at + 88 : end].decode(), gzip.decompress(content[at : at + length]).decode()
        at += length
