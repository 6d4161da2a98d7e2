"""backup and check_integrity: beside the requests, answered when they are done, and never half done.

Where a test needs a copy that is under way, it stops the process (SIGSTOP) at the sight of the partial file: then it
cannot go on until the test has done what it wants to do meanwhile.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from event_rows import single
from faults import STRACE, injecting, needs_strace
from sidecar import JSON, Sidecar, line, notification, request
from test_process import until
from unprivileged import Unprivileged

#: on a server there is no backup; what both engines have is in test_checks.py
pytestmark = pytest.mark.file_only

Spawn = Callable[..., Sidecar]


def backup(id: JSON, target: Path) -> dict[str, JSON]:
    return request("backup", id, path=str(target))


def store(number: int) -> dict[str, JSON]:
    return request("store_event", number, session_id="s", data=number)


def rows(path: Path) -> list[int]:
    """The events of a copy, after a look at the whole file."""
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [json.loads(event[-1]) for event in single(connection.execute("SELECT * FROM events ORDER BY id"))]


def files(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where a copy may be made, in a folder of its own."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "copy.db"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of about 64 MiB, so that a copy takes a while."""
    path = tmp_path_factory.mktemp("large") / "sessions.db"
    sidecar = Sidecar(database=path)
    sidecar.call("create_session", session_id="s", ttl=0, inactivity_timeout=0)
    sidecar.send(*(notification("store_event", session_id="s", data="x" * 500_000) for _ in range(128)))
    sidecar.finish()
    assert path.stat().st_size > 60 << 20
    return path


@pytest.fixture
def loaded(large: Path, database: Path, spawn: Spawn) -> Sidecar:
    """A sidecar on a large store of its own."""
    shutil.copy(large, database)
    return spawn()


def stopped(sidecar: Sidecar, folder: Path) -> tuple[str, Path]:
    """Asks for copies until the process is stopped while one is under way. Its id, and its target."""
    for number in range(100):
        id, target = f"backup-{number}", folder / f"copy-{number}.db"
        before = files(folder)
        sidecar.send(backup(id, target))
        until(lambda: files(folder) != before, "a copy is begun")
        stop(sidecar.process.pid)
        if not target.exists():
            return id, target
        resume(sidecar)
        while sidecar.receive_answer()["id"] != id:
            pass
    raise AssertionError("no copy was ever met under way")


def stop(process: int) -> None:
    """Stops the process, and waits until all of its threads stand still."""
    os.kill(process, signal.SIGSTOP)
    threads = [thread / "stat" for thread in Path(f"/proc/{process}/task").iterdir()]
    until(lambda: all(stat.read_text().rsplit(")", 1)[1].split()[0] == "T" for stat in threads), "all have stopped")


def resume(sidecar: Sidecar) -> None:
    sidecar.process.send_signal(signal.SIGCONT)


# --- What a copy is


def test_a_copy_holds_all_that_was_answered_before_it_and_a_prefix_of_what_came_later(
    sidecar: Sidecar, target: Path
) -> None:
    sidecar.call("create_session", session_id="s")
    count = 2_000
    sidecar.send(
        *(store(n) for n in range(1, count)), backup("copy", target), *(store(n) for n in range(count, 4 * count))
    )
    answers = [sidecar.receive_answer() for _ in range(4 * count)]
    assert all("result" in answer for answer in answers)
    written = [answer["id"] for answer in answers if answer["id"] != "copy"]
    assert written == list(range(1, 4 * count))
    copied = rows(target)
    assert copied == list(range(1, len(copied) + 1))
    assert len(copied) >= count - 1
    assert sidecar.call("event_count", session_id="s") == {"count": 4 * count - 1}
    assert sidecar.finish() == []


def test_a_copy_can_be_opened_and_goes_on_by_itself(sidecar: Sidecar, target: Path, spawn: Spawn) -> None:
    sidecar.call("create_session", session_id="s", state={"k": [1.0, "\u2028"]})
    for number in range(10):
        sidecar.call("store_event", session_id="s", data=number)
    assert target.stat().st_mode & 0o777 == 0o600 if sidecar.call("backup", path=str(target)) else False
    assert files(target.parent) == {"copy.db"}
    original = sidecar.call("get_session", session_id="s")
    copy = spawn(database=target)
    assert copy.call("get_session", session_id="s") == original
    assert copy.call("check_integrity")["problems"] == []
    assert copy.call("store_event", session_id="s", data="more")["id"] == 11
    assert sidecar.call("store_event", session_id="s", data="other")["id"] == 11
    assert copy.finish() == [] and sidecar.finish() == []


def test_the_answer_tells_how_large_the_copy_is(sidecar: Sidecar, target: Path) -> None:
    sidecar.call("create_session", session_id="s")
    result = sidecar.call("backup", path=str(target))
    assert result.keys() == {"pages", "bytes", "elapsed_ms"}
    assert result["bytes"] == target.stat().st_size == result["pages"] * 4_096
    assert result["elapsed_ms"] >= 0


def test_a_relative_path_counts_from_the_working_directory(target: Path, spawn: Spawn) -> None:
    sidecar = spawn(cwd=target.parent)
    for name in ["copy.db", "./file:copy.db?mode=memory", "ü b.db"]:
        assert sidecar.call("backup", path=name)["pages"] > 0
        assert rows(target.parent / name) == []
    assert files(target.parent) == {"copy.db", "file:copy.db?mode=memory", "ü b.db"}


# --- Order


def test_it_is_answered_after_requests_that_came_later(sidecar: Sidecar, target: Path) -> None:
    """All stand in one read of the sidecar, and jobs are looked after between reads."""
    sidecar.call("create_session", session_id="s")
    sidecar.send(backup("b", target), request("check_integrity", "c"), store(1), request("event_count", 2))
    assert [sidecar.receive_answer()["id"] for _ in range(4)] == [1, 2, "b", "c"]


@pytest.mark.parametrize("id", ["1e2", "1.0", "null", '"a\\u0062c"', "-0", "1" * 40, '"\\ud83d\\ude00"'])
def test_ids_come_back_byte_for_byte(sidecar: Sidecar, target: Path, id: str) -> None:
    path = json.dumps(str(target))
    sidecar.send_bytes(f'{{"jsonrpc":"2.0","id":{id},"method":"backup","params":{{"path":{path}}}}}\n'.encode())
    first, second = sidecar.read_line(), sidecar.read_line()
    assert first is not None and second is not None
    assert first.startswith(b'{"jsonrpc":"2.0","method":"progress","params":{"id":%s,"method":"backup",' % id.encode())
    assert second.startswith(b'{"jsonrpc":"2.0","id":%s,"result":{"pages":' % id.encode())


def test_answers_and_notifications_never_stand_inside_one_another(sidecar: Sidecar, target: Path) -> None:
    """Jobs, subscriptions and writes at once: each line is whole, and events keep their order."""
    sidecar.call("create_session", session_id="s")
    sidecar.call("subscribe_events", session_id="s")
    count = 3_000
    messages: list[JSON] = []
    for number in range(1, count + 1):
        messages.append(store(number))
        if number % 300 == 0:
            messages.append(backup(f"copy-{number}", target.parent / f"{number}.db"))
    sidecar.send(*messages)
    answers = [sidecar.receive_answer() for _ in range(count + 10)]
    assert [a["id"] for a in answers if isinstance(a["id"], int)] == list(range(1, count + 1))
    assert [a["id"] for a in answers if isinstance(a["id"], str)] == [f"copy-{n}" for n in range(300, count + 1, 300)]
    told = [n["params"]["event"]["data"] for n in sidecar.notifications if n["method"] == "event"]
    while len(told) < count:
        told.append(sidecar.receive()["params"]["event"]["data"])
    assert told == list(range(1, count + 1))
    sizes = [len(rows(target.parent / f"{n}.db")) for n in range(300, count + 1, 300)]
    assert sizes == sorted(sizes) and all(size >= n for size, n in zip(sizes, range(300, count + 1, 300)))


# --- Progress


def test_a_copy_that_is_done_at_once_tells_its_beginning_alone(sidecar: Sidecar, target: Path) -> None:
    result = sidecar.call("backup", path=str(target))
    told = [message["params"] for message in sidecar.notifications]
    assert told == [{"id": 1, "method": "backup", "done": 0, "total": result["pages"]}]


@needs_strace
def test_a_copy_that_takes_long_tells_how_far_it_has_come(
    large: Path, database: Path, target: Path, spawn: Spawn, tmp_path: Path
) -> None:
    """Each stretch that is handed to the disk takes a tenth of a second here, so that there is time to tell."""
    shutil.copy(large, database)
    sidecar = spawn(wrapper=injecting(tmp_path / "log", "sync_file_range", "delay_enter=100000"))
    result = sidecar.call("backup", path=str(target))
    told = [message["params"] for message in sidecar.notifications]
    assert all(params.keys() == {"id", "method", "done", "total"} for params in told)
    assert {params["total"] for params in told} == {result["pages"]}
    done = [params["done"] for params in told]
    assert done[0] == 0 and len(done) > 2
    assert done == sorted(set(done)) and done[-1] < result["pages"]
    # Far fewer than the steps that the copy takes.
    assert len(done) <= 2 + result["elapsed_ms"] // 250


# --- Nothing is overwritten, nothing is left behind


def refused_path(sidecar: Sidecar, path: str, expected: str) -> None:
    refusal = sidecar.refusal("backup", path=path)
    assert refusal.kind == "invalid_params" and refusal.data["parameter"] == "path"
    assert expected in refusal.data["expected"], refusal.data
    assert refusal.data["outcome"] == "not_applied"


def test_paths_that_cannot_be_are_refused_with_the_reason(sidecar: Sidecar, database: Path, target: Path) -> None:
    sidecar.call("create_session", session_id="s")
    target.write_text("precious")
    (target.parent / "link").symlink_to(target.parent / "nowhere")
    (target.parent / "file").write_text("")
    before = files(target.parent)
    refused_path(sidecar, str(target), "where there is no file yet")
    refused_path(sidecar, str(target.parent / "link"), "where there is no file yet")
    refused_path(sidecar, str(target.parent), "a file in the directory")
    refused_path(sidecar, str(target.parent / "none" / "copy.db"), "No such file or directory")
    refused_path(sidecar, str(target.parent / "file" / "copy.db"), "Not a directory")
    refused_path(sidecar, str(target.parent / ("x" * 300)), "File name too long")
    refused_path(sidecar, "/proc/copy.db", "may be written")
    refused_path(sidecar, "", "not empty")
    refused_path(sidecar, "a\0b", "without a NUL")
    refused_path(sidecar, "x" * 5_000, "at most 4095 bytes")
    for suffix in ["", "-wal", "-shm", "-lock", "-journal"]:
        refused_path(sidecar, f"{database}{suffix}", "not the database's own")
        refused_path(sidecar, f"{target.parent}/../{database.name}{suffix}", "not the database's own")
    assert files(target.parent) == before and target.read_text() == "precious"
    assert sidecar.call("session_count") == {"count": 1}
    assert sidecar.notifications == [] and sidecar.finish() == []


def test_a_directory_that_may_not_be_written_is_told(unprivileged: Unprivileged) -> None:
    folder = unprivileged.data / "backups"
    folder.mkdir(0o555)
    asked = line(backup(1, folder / "copy.db")).decode()
    answer = json.loads(unprivileged.start(unprivileged.data / "sessions.db", input=asked).stdout)
    assert answer["error"]["data"]["parameter"] == "path"
    assert "Permission denied" in answer["error"]["data"]["expected"]
    assert files(folder) == set()


def test_a_file_that_appears_during_the_copy_is_not_overwritten(loaded: Sidecar, target: Path) -> None:
    id, path = stopped(loaded, target.parent)
    path.write_text("precious")
    resume(loaded)
    answer = loaded.receive_answer()
    assert answer["id"] == id and answer["error"]["data"]["parameter"] == "path"
    assert path.read_text() == "precious"
    assert not [name for name in files(target.parent) if ".partial-" in name]
    assert loaded.call("backup", path=str(target))["pages"] > 0


def test_two_copies_to_one_path_are_one_copy_and_a_refusal(sidecar: Sidecar, target: Path) -> None:
    sidecar.send(backup(1, target), backup(2, target))
    first, second = sidecar.receive_answer(), sidecar.receive_answer()
    assert first["id"] == 1 and first["result"]["pages"] > 0
    assert second["id"] == 2 and second["error"]["data"]["parameter"] == "path"
    assert files(target.parent) == {"copy.db"} and rows(target) == []


def test_a_process_that_is_killed_leaves_no_file_at_the_path(
    loaded: Sidecar, target: Path, spawn: Spawn
) -> None:
    _, path = stopped(loaded, target.parent)
    loaded.kill()
    assert not path.exists()
    later = spawn()
    assert later.call("backup", path=str(path))["bytes"] == path.stat().st_size
    assert later.call("check_integrity")["problems"] == []


# --- Disks that are full or fail


def check_failure(sidecar: Sidecar, target: Path, kind: str) -> None:
    """The copy fails, nothing of it is left, and everything else goes on."""
    sidecar.call("create_session", session_id="before")
    refusal = sidecar.refusal("backup", path=str(target))
    assert refusal.kind == kind and str(target) in refusal.message, refusal
    assert refusal.data["outcome"] == "not_applied" and "sqlite_code" in refusal.data
    assert not [name for name in files(target.parent) if name.startswith(target.name)]
    sidecar.call("create_session", session_id="after")
    assert sidecar.call("check_integrity")["ok"]
    assert sidecar.finish() == []


@needs_strace
@pytest.mark.parametrize(
    ("call", "fault", "kind"),
    [
        ("fallocate", "error=ENOSPC", "database_full"),
        ("fallocate", "error=EDQUOT", "database_full"),
        ("fsync", "error=EIO:when=1", "database_error"),
        ("fsync", "error=ENOSPC:when=1", "database_full"),
        ("fsync", "error=EIO:when=2", "database_error"),  # the directory's
        ("sync_file_range", "error=EIO:when=2", "database_error"),
        ("renameat2", "error=EIO", "database_error"),
    ],
)
def test_a_disk_that_fails_is_told_and_harms_nothing_else(
    call: str, fault: str, kind: str, large: Path, database: Path, target: Path, spawn: Spawn, tmp_path: Path
) -> None:
    shutil.copy(large, database)
    log = tmp_path / "log"
    check_failure(spawn(wrapper=injecting(log, call, fault)), target, kind)
    assert "(INJECTED)" in log.read_text(errors="replace")


@needs_strace
@pytest.mark.parametrize(
    ("call", "error"), [("fallocate", "EOPNOTSUPP"), ("sync_file_range", "ENOSYS"), ("renameat2", "EINVAL")]
)
def test_file_systems_that_know_less_do_as_well(
    call: str, error: str, large: Path, database: Path, target: Path, spawn: Spawn, tmp_path: Path
) -> None:
    shutil.copy(large, database)
    sidecar = spawn(wrapper=injecting(tmp_path / "log", call, f"error={error}"))
    assert sidecar.call("backup", path=str(target))["bytes"] == target.stat().st_size
    assert files(target.parent) == {"copy.db"} and len(rows(target)) == 128
    assert "(INJECTED)" in (tmp_path / "log").read_text(errors="replace")
    refused_path(sidecar, str(target), "where there is no file yet")


@needs_strace
def test_a_link_never_replaces_anything_either(
    loaded: Sidecar, database: Path, target: Path, spawn: Spawn, tmp_path: Path
) -> None:
    """Where a file cannot be renamed without replacing, it is linked."""
    loaded.finish()
    inject = [*STRACE, "-o", str(tmp_path / "log"), "-e", "trace=link,renameat2", "-e", "inject=renameat2:error=EINVAL"]
    sidecar = spawn(wrapper=[*inject, "-e", "inject=link:error=EEXIST"])
    refused_path(sidecar, str(target), "where there is no file yet")
    assert files(target.parent) == set()


def test_a_limit_on_the_size_of_files_is_a_failure_of_the_copy_alone(
    large: Path, database: Path, target: Path, spawn: Spawn
) -> None:
    """The copy fails in the middle."""
    shutil.copy(large, database)
    limit = 16 << 20
    sidecar = spawn(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    check_failure(sidecar, target, "database_error")


def can_mount() -> bool:
    """Some containers forbid it."""
    return shutil.which("unshare") is not None and subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    ).returncode == 0  # fmt: skip


@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here")
def test_a_disk_that_is_too_small_is_found_before_it_is_filled(
    large: Path, database: Path, target: Path, spawn: Spawn
) -> None:
    """Nobody else who writes there may get into trouble because of a copy that cannot succeed."""
    shutil.copy(large, database)
    mount = 'mount -t tmpfs -o size=8m none "$0" && exec "$@"'
    sidecar = spawn(wrapper=["unshare", "-rm", "sh", "-c", mount, str(target.parent)])
    refusal = sidecar.refusal("backup", path=str(target))
    assert refusal.kind == "database_full" and refusal.data["retryable"] is True, refusal
    assert "needs" in refusal.data["sqlite_message"]
    assert list(Path(f"/proc/{sidecar.process.pid}/root{target.parent}").iterdir()) == []
    assert sidecar.call("event_count", session_id="s") == {"count": 128}


# --- The end of the process


def test_the_end_of_the_input_waits_for_jobs(loaded: Sidecar, target: Path) -> None:
    loaded.send(backup(1, target), request("check_integrity", 2), store(3))
    start = time.monotonic()
    answers = [message for message in loaded.finish() if "method" not in message]
    assert time.monotonic() - start < 30, "it slept until the next sweep"
    assert [answer["id"] for answer in answers] == [3, 1, 2]
    assert answers[1]["result"]["bytes"] == target.stat().st_size
    assert answers[2]["result"]["problems"] == []


def test_shutdown_waits_for_jobs_and_takes_no_more(sidecar: Sidecar, target: Path) -> None:
    sidecar.send(
        backup(1, target), request("check_integrity", 2), request("shutdown", 3), request("check_integrity", 4)
    )
    answers = {answer["id"]: answer for answer in (sidecar.receive_answer() for _ in range(4))}
    assert answers[1]["result"]["pages"] > 0 and answers[2]["result"]["ok"] and answers[3]["result"] == {}
    assert answers[4]["error"]["data"]["kind"] == "shutting_down"
    assert sidecar.rest() == [] and sidecar.wait() == 0
    assert rows(target) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_cancels_jobs(loaded: Sidecar, target: Path, number: signal.Signals) -> None:
    id, path = stopped(loaded, target.parent)
    # The process is stopped: these lie in its input, and are read or not.
    before = files(target.parent) - {name for name in files(target.parent) if ".partial-" in name}
    loaded.process.send_signal(number)
    resume(loaded)
    messages = [json.loads(text) for text in loaded.rest()]
    assert loaded.wait() == 0 and loaded.stderr() == ""
    answers = [message for message in messages if "method" not in message]
    assert [answer["id"] for answer in answers] == [id]
    if "error" in answers[0]:
        assert answers[0]["error"]["data"]["kind"] == "shutting_down"
        assert files(target.parent) == before
    else:  # it was done before the signal was seen
        assert files(target.parent) == before | {path.name}


def test_jobs_that_wait_are_cancelled_by_a_signal(loaded: Sidecar, target: Path) -> None:
    """The first one may still be done, the others cannot: one starts when another has been answered."""
    sidecar = loaded
    others = [target.parent / f"{n}.db" for n in range(10)]
    sidecar.send(request("check_integrity", "first"), *(backup(str(path), path) for path in others))
    sidecar.send(request("session_count", "count"))
    assert sidecar.receive_answer()["id"] == "count"
    sidecar.process.send_signal(signal.SIGTERM)
    answers = [message for text in sidecar.rest() if "id" in (message := json.loads(text))]
    assert sidecar.wait() == 0
    assert [answer["id"] for answer in answers] == ["first", *map(str, others)]
    done = [answer["id"] for answer in answers if "result" in answer and answer["id"] != "first"]
    assert {f"{target.parent}/{name}" for name in files(target.parent)} == set(done)
    refused = [answer["error"]["data"]["kind"] for answer in answers if "error" in answer]
    assert set(refused) <= {"shutting_down"}


def test_a_reader_that_goes_away_cancels_jobs(loaded: Sidecar, target: Path) -> None:
    _, path = stopped(loaded, target.parent)
    complete = {name for name in files(target.parent) if ".partial-" not in name}
    assert loaded.process.stdout is not None
    loaded.process.stdout.close()
    resume(loaded)
    assert loaded.wait() == 74
    assert files(target.parent) in (complete, complete | {path.name})


# --- Where no second connection is possible


def test_a_database_in_memory_is_copied_and_checked_in_its_turn(target: Path, spawn: Spawn) -> None:
    sidecar = spawn(database=":memory:")
    sidecar.send(request("create_session", 0, session_id="s"), *(store(n) for n in range(1, 10)))
    sidecar.send(backup("b", target), store(10), request("check_integrity", "c"), request("session_count", 11))
    assert [sidecar.receive()["id"] for _ in range(14)] == [*range(10), "b", 10, "c", 11]
    assert rows(target) == list(range(1, 10))
    refused_path(sidecar, str(target), "where there is no file yet")
    copy = spawn(database=target)
    assert copy.call("store_event", session_id="s", data=0)["id"] == 10


def test_an_exclusive_sidecar_copies_and_checks_in_turn(target: Path, spawn: Spawn) -> None:
    sidecar = spawn("--exclusive")
    sidecar.send(request("create_session", 0, session_id="s"), store(1))
    sidecar.send(backup("b", target), store(2), request("check_integrity", "c"), request("event_count", 3))
    answers = [sidecar.receive() for _ in range(6)]
    assert [answer["id"] for answer in answers] == [0, 1, "b", 2, "c", 3]
    assert answers[4]["result"]["problems"] == []
    assert rows(target) == [1]
    assert sidecar.finish() == []


def test_in_a_batch_a_job_is_done_in_its_turn(sidecar: Sidecar, target: Path) -> None:
    sidecar.call("create_session", session_id="s")
    sidecar.send([store(1), backup("b", target), store(2), request("check_integrity", "c"), backup("d", target)])
    answers = sidecar.receive()
    assert [answer["id"] for answer in answers] == [1, "b", 2, "c", "d"]
    assert answers[1]["result"]["pages"] > 0 and answers[3]["result"]["ok"]
    assert answers[4]["error"]["data"]["parameter"] == "path"
    assert rows(target) == [1]
    assert sidecar.is_silent() and sidecar.finish() == []


def test_a_notification_is_run_and_never_answered(sidecar: Sidecar, target: Path) -> None:
    """Jobs are done one after the other, so the answer to the last one comes when the others are done."""
    other = target.parent / "other.db"
    sidecar.send(
        notification("backup", path=str(target)), notification("backup", path=str(target)),
        notification("backup", path="/none/at/all"), notification("check_integrity"),
        [notification("backup", path=str(other))], request("check_integrity", 1),
    )  # fmt: skip
    assert sidecar.receive()["result"]["problems"] == []
    assert rows(target) == rows(other) == []
    assert sidecar.finish() == []


def test_a_transaction_takes_no_jobs(sidecar: Sidecar, target: Path) -> None:
    for method, params in [("backup", {"path": str(target)}), ("check_integrity", {})]:
        refusal = sidecar.refusal("transaction", calls=[{"method": method, "params": params}])
        assert refusal.kind == "invalid_params" and refusal.data["call_index"] == 0
    assert files(target.parent) == set()


def test_the_metrics_count_jobs_when_they_are_answered(sidecar: Sidecar, target: Path) -> None:
    sidecar.call("backup", path=str(target))
    sidecar.send(backup("b", target), backup("c", target.parent / "none" / "copy.db"), request("check_integrity", "d"))
    assert [sidecar.receive_answer()["id"] for _ in range(3)] == ["b", "c", "d"]
    sidecar.notify("backup", path=str(target.parent / "none" / "copy.db"))
    sidecar.call("check_integrity")
    methods = sidecar.call("get_metrics")["methods"]
    assert (methods["backup"]["requests"], methods["backup"]["errors"]) == (4, 3)
    assert (methods["check_integrity"]["requests"], methods["check_integrity"]["errors"]) == (2, 0)


# --- What a check finds


def damaged(path: Path, *, table: str, page_offset: int, change: bytes) -> None:
    """Overwrites some bytes of the first page of a table or an index."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    with open(path, "r+b") as file:
        file.seek((page - 1) * 4_096 + page_offset)
        file.write(change)


@pytest.fixture
def filled(sidecar: Sidecar, target: Path) -> Path:
    """A copy of a store with 300 events, each in a row of its own: its neighbours are of another stream."""
    sidecar.call("create_session", session_id="s")
    sidecar.send(*(notification("store_event", session_id="s", stream_id=f"{number % 2}", data="x" * 100)
                   for number in range(300)))  # fmt: skip
    sidecar.call("backup", path=str(target))
    return target


@pytest.mark.parametrize(
    ("table", "page_offset", "change"),
    [
        ("events_by_session", 3, b"\x00\x01"),  # fewer cells than there are
        ("events", 8, b"\x7f\xff\xff\xff"),  # a page that does not exist
        ("sessions_by_user", 0, b"\xff" * 1_000),  # no page of a tree at all
    ],
    ids=["cells", "pointer", "page"],
)
def test_damage_is_found_and_is_no_error(
    filled: Path, spawn: Spawn, table: str, page_offset: int, change: bytes
) -> None:
    damaged(filled, table=table, page_offset=page_offset, change=change)
    sidecar = spawn(database=filled)
    result = sidecar.call("check_integrity")
    assert result["ok"] is False and 0 < len(result["problems"]) <= 100
    assert all(problem and "\n" not in problem for problem in result["problems"])
    # In its turn as well as beside the others, and what is not damaged is still served.
    sidecar.send([request("check_integrity", "c")])
    assert sidecar.receive()[0]["result"]["ok"] is False
    assert sidecar.call("session_count") == {"count": 1}


def test_a_broken_rule_of_the_store_is_found(filled: Path, spawn: Spawn) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("DELETE FROM events WHERE id = 7")
        connection.execute("UPDATE store SET tasks = 5")
        connection.commit()
    found = spawn(database=filled).call("check_integrity")
    assert found["ok"] is False and found["problems"] == [
        "table 'store' counts 5 tasks, but there are 0",
        "1 sessions whose events are not those from the first to the last that they should have",
    ]


def test_a_damaged_file_can_still_be_copied(filled: Path, spawn: Spawn) -> None:
    """Copies are made of pages: what can be saved is not for the copy to judge."""
    damaged(filled, table="events", page_offset=8, change=b"\x7f\xff\xff\xff")
    sidecar = spawn(database=filled)
    copy = filled.parent / "second.db"
    sidecar.call("backup", path=str(copy))
    assert spawn(database=copy).call("check_integrity")["ok"] is False


def test_several_processes_on_one_file_check_and_copy_it(spawn: Spawn, target: Path) -> None:
    first, second = spawn(), spawn()
    first.call("create_session", session_id="s")
    first.send(*(store(n) for n in range(1, 1_001)))
    second.send(backup("b", target), request("check_integrity", "c"))
    answers = {answer["id"]: answer["result"] for answer in (second.receive_answer() for _ in range(2))}
    assert answers["c"]["problems"] == []
    copied = rows(target)
    assert copied == list(range(1, len(copied) + 1))
    assert [first.receive_answer()["id"] for _ in range(1_000)] == list(range(1, 1_001))
