"""The database file: who may read it, which files are refused and left as they were, and who may use it at once."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sidecar import BINARY, PATIENCE, Sidecar, clean_environment, converse, line, request
from unprivileged import Unprivileged

pytestmark = pytest.mark.file_only

APPLICATION_ID = 0x4D435073


def start(path: os.PathLike[str] | str, *options: str, **arguments: Any) -> subprocess.CompletedProcess[str]:
    """Runs the binary on a file and an empty input."""
    return subprocess.run(
        [BINARY, "--database", os.fspath(path), *options], input="", capture_output=True, text=True, timeout=PATIENCE,
        check=False, env=clean_environment(), **arguments,
    )  # fmt: skip


def is_refused(done: subprocess.CompletedProcess[str], status: int, *mentions: str) -> None:
    """One line on stderr that says what is the matter, nothing on stdout."""
    assert done.returncode == status, done
    assert done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith("mcp-session-store: "), done
    for mention in mentions:
        assert mention in done.stderr, done


def contents(folder: Path) -> dict[str, bytes]:
    """All files that hold data: not lock files, not the shared memory that SQLite makes anew, not a log without a byte
    as reading a file in WAL mode leaves it."""
    found = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
    return {
        name: data for name, data in found.items()
        if not name.endswith(("-lock", "-shm")) and not (name.endswith("-wal") and data == b"")
    }  # fmt: skip


def is_refused_and_unchanged(path: Path, status: int, *mentions: str) -> None:
    before = contents(path.parent)
    for options in [(), ("--exclusive",)]:
        is_refused(start(path, *options), status, str(path), *mentions)
        assert contents(path.parent) == before


def filled(path: Path, events: int = 200) -> None:
    """A store with one session and some events."""
    converse(
        request("create_session", 0, session_id="s"),
        *(request("store_event", n, session_id="s", data="x" * 500) for n in range(1, events + 1)),
        database=str(path),
    )


# --- What is created


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_the_files_are_for_their_owner_alone(spawn: Callable[..., Sidecar], database: Path, mask: int) -> None:
    """Whatever the umask: sessions hold what clients said."""
    sidecar = spawn(umask=mask)
    sidecar.call("create_session")
    found = {entry.name: entry.stat().st_mode & 0o777 for entry in database.parent.iterdir()}
    assert found == {name: 0o600 for name in ("sessions.db", "sessions.db-wal", "sessions.db-shm", "sessions.db-lock")}


def test_an_existing_file_keeps_its_rights(database: Path, spawn: Callable[..., Sidecar]) -> None:
    database.touch(0o640)
    database.chmod(0o640)
    spawn().call("create_session")
    assert database.stat().st_mode & 0o777 == 0o640


def test_the_file_says_whose_it_is(database: Path) -> None:
    filled(database, 1)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone()[0] >= 1
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_an_empty_file_becomes_a_store(database: Path) -> None:
    """As mktemp leaves it."""
    database.touch()
    filled(database, 1)
    assert json.loads(converse(request("session_count", 1), database=str(database))[0])["result"] == {"count": 1}


def test_a_database_without_tables_becomes_a_store(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("DROP TABLE t")
        connection.commit()
    filled(database, 1)


def test_in_memory_there_is_no_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [BINARY, "--database", ":memory:"], input=line(request("create_session", 1, session_id="s")), cwd=tmp_path,
        capture_output=True, timeout=PATIENCE, check=True, env=clean_environment() | {"HOME": str(tmp_path)},
    )  # fmt: skip
    assert json.loads(done.stdout)["result"]["session_id"] == "s"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["with space.db", "naïve🎈.db", "per%20cent?.db", "file:x.db", "-dash.db", "quote'\".db"]
)
def test_names_of_files(name: str, tmp_path: Path) -> None:
    """They are paths and nothing else: no URI, no option."""
    done = subprocess.run(
        [BINARY, f"--database={name}"], input=line(request("create_session", 1)), cwd=tmp_path, capture_output=True,
        timeout=PATIENCE, check=False, env=clean_environment(),
    )  # fmt: skip
    assert done.returncode == 0 and b'"result"' in done.stdout, done
    assert (tmp_path / name).stat().st_size > 0
    assert all(entry.name.startswith(name) for entry in tmp_path.iterdir())


# --- What cannot be opened


def test_a_directory(tmp_path: Path) -> None:
    is_refused(start(tmp_path), 73, str(tmp_path), "directory")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    is_refused(start(tmp_path / "none" / "a.db"), 73, str(tmp_path / "none" / "a.db"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    is_refused(start(tmp_path / "fifo"), 73, "fifo")
    is_refused(start("/dev/null"), 73, "/dev/null")


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    is_refused(start(tmp_path / "file" / "a.db"), 73)
    assert contents(tmp_path) == {"file": b"text"}


def test_a_symlink_to_nowhere_is_created_there(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "target.db")
    filled(tmp_path / "link.db", 1)
    assert (tmp_path / "target.db").stat().st_size > 0 and (tmp_path / "link.db").is_symlink()
    assert (tmp_path / "target.db-lock").exists() and not (tmp_path / "link.db-lock").exists()


def test_an_unreadable_file(unprivileged: Unprivileged) -> None:
    path = unprivileged.file(0o000)
    before = contents(path.parent) if os.getuid() == 0 else {}
    is_refused(unprivileged.start(path), 73, str(path), "Permission denied")
    assert not before or contents(path.parent) == before


def test_a_read_only_file(unprivileged: Unprivileged) -> None:
    path = unprivileged.file(0o400)
    before = contents(path.parent)
    is_refused(unprivileged.start(path), 73, str(path), "writing")
    assert contents(path.parent) == before


def test_a_read_only_directory(unprivileged: Unprivileged) -> None:
    """Nothing can be made in it."""
    unprivileged.data.chmod(0o500)
    is_refused(unprivileged.start(unprivileged.data / "new.db"), 73, "new.db")
    assert list(unprivileged.data.iterdir()) == []


def test_a_read_only_directory_around_a_store(unprivileged: Unprivileged) -> None:
    """The file could be written, its log beside it not. It is refused at the start, not at the first write."""
    path = unprivileged.file(0o600)
    for entry in path.parent.iterdir():
        if entry != path:
            entry.unlink()
    before = contents(path.parent)
    unprivileged.data.chmod(0o500)
    is_refused(unprivileged.start(path), 73, str(path))
    assert contents(path.parent) == before


# --- What is not ours, is newer, or is damaged


@pytest.mark.parametrize(
    "text",
    [
        b"{}\n", b"x", b"some text that is no database\n" * 100, b"\x00" * 4_096, b"SQLite format 3\x00",
        b"SQLite format 3\x00" + b"\xff" * 4_080, os.urandom(100_000),
    ],
    ids=["JSON", "one byte", "text", "zeros", "a header cut short", "a header without sense", "noise"],
)  # fmt: skip
def test_not_a_database(text: bytes, database: Path) -> None:
    database.write_bytes(text)
    is_refused_and_unchanged(database, 65)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_of_another_program(mode: str, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE notes (text)")
        connection.execute("INSERT INTO notes VALUES ('precious')")
        connection.commit()
    is_refused_and_unchanged(database, 65, "another program")


def test_a_database_with_another_application_id(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA application_id = 252006673")
        connection.commit()
    is_refused_and_unchanged(database, 65, "another program")


def test_a_database_with_a_version_of_its_own(database: Path) -> None:
    """Without tables and without a mark, but somebody has numbered it."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 7")
        connection.commit()
    is_refused_and_unchanged(database, 65, "another program")


def leave_log(path: Path, *statements: str) -> None:
    """Runs SQL and leaves with the log in place, as a killed program does."""
    code = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA journal_mode = wal')\n"
        "connection.execute('PRAGMA wal_autocheckpoint = 0')\n"
        "for statement in sys.argv[2:]: connection.execute(statement)\n"
        "os._exit(0)\n"
    )
    subprocess.run(["python3", "-c", code, str(path), *statements], check=True)
    assert Path(f"{path}-wal").stat().st_size > 0


def test_a_database_of_another_program_with_a_hot_log(database: Path) -> None:
    """What it is, only its log tells; opening it for writing would move the log into it."""
    leave_log(database, "CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('precious')")
    is_refused_and_unchanged(database, 65, "another program")


def test_a_newer_store(database: Path) -> None:
    filled(database)
    with closing(sqlite3.connect(database)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute("PRAGMA user_version = 4711")
    is_refused_and_unchanged(database, 65, "4711", str(version))


def test_a_store_that_only_its_log_says_is_newer(database: Path) -> None:
    filled(database)
    leave_log(database, "PRAGMA user_version = 4711")
    is_refused_and_unchanged(database, 65, "4711")


@pytest.mark.parametrize("size", [1, 50, 100, 512, 4_095, 4_096, 4_097, 8_192, 20_000])
def test_a_store_cut_short(size: int, database: Path) -> None:
    filled(database)
    assert database.stat().st_size > 40_000
    os.truncate(database, size)
    is_refused_and_unchanged(database, 65)


def test_a_store_that_lacks_its_last_page(database: Path) -> None:
    filled(database)
    os.truncate(database, database.stat().st_size - 4_096)
    is_refused_and_unchanged(database, 65)


def overwrite(path: Path, offset: int, text: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(text)


@pytest.mark.parametrize(
    ("offset", "text"),
    [
        pytest.param(0, b"SQLite format 4\x00", id="the header"),
        pytest.param(16, b"\x00\x03", id="the page size"),
        pytest.param(100, b"\xff" * 3_996, id="the schema"),
        pytest.param(4_096, os.urandom(30_000), id="every root page"),
    ],
)
def test_a_damaged_store(offset: int, text: bytes, database: Path) -> None:
    filled(database)
    overwrite(database, offset, text)
    is_refused_and_unchanged(database, 65)


def test_a_damaged_store_with_a_hot_log(database: Path, spawn: Callable[..., Sidecar]) -> None:
    """Killed before a checkpoint, then damaged: neither the file nor the log may be touched, either may be saved."""
    filled(database)
    sidecar = spawn()
    sidecar.call("set_session_state", session_id="s", key="k", value="x" * 10_000)
    sidecar.kill()
    assert Path(f"{database}-wal").stat().st_size > 0
    # To the end, to reach tables that the log says nothing of.
    overwrite(database, 4_096, os.urandom(database.stat().st_size - 4_096))
    is_refused_and_unchanged(database, 65)


def test_a_store_without_one_of_its_tables(database: Path) -> None:
    filled(database)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TABLE sessions")
        connection.commit()
    is_refused_and_unchanged(database, 65, "sessions")


def end_of_log(database: Path) -> int:
    """Where the frames of the log end; what is behind them is zeros. https://www.sqlite.org/walformat.html"""
    log = Path(f"{database}-wal").read_bytes()
    frame = 24 + int.from_bytes(log[8:12], "big")
    return next(at for at in range(32, len(log) + 1, frame) if log[at + 8 : at + 16] != log[16:24])


def test_a_store_whose_log_was_cut_is_served_up_to_there(database: Path, spawn: Callable[..., Sidecar]) -> None:
    """A log that ends within a commit is what a power cut leaves; that commit was never acknowledged."""
    sidecar = spawn()
    sidecar.call("create_session", session_id="s")
    sidecar.call("store_event", session_id="s", data=1)
    end = end_of_log(database)
    sidecar.call("store_event", session_id="s", data="x" * 20_000)
    sidecar.kill()
    assert end_of_log(database) > end + 20_000
    os.truncate(f"{database}-wal", end + 5_000)
    assert spawn().call("event_count", session_id="s") == {"count": 1}


def test_damage_that_shows_only_later_is_not_the_end(database: Path, spawn: Callable[..., Sidecar]) -> None:
    """A page in the middle of the events: reading them is refused, all else goes on."""
    filled(database, 2_000)
    size = database.stat().st_size
    overwrite(database, size // 2 // 4_096 * 4_096, b"\xff" * 4_096 * 20)
    sidecar = spawn()
    refused = sidecar.refusal("get_events_after", session_id="s", limit=10_000)
    assert (refused.code, refused.kind, refused.data["retryable"]) == (1404, "database_corrupt", False)
    assert refused.data["sqlite_message"] and refused.data["sqlite_code"]
    assert sidecar.call("session_count") == {"count": 1}
    assert sidecar.finish() == []


# --- Several at once


def test_two_processes_write_to_one_file(spawn: Callable[..., Sidecar], database: Path) -> None:
    """Both at once, pipelined: the ids of a session are contiguous, each given once, in each process rising."""
    first, second = spawn(), spawn()
    first.call("create_session", session_id="s")
    count = 2_000
    for sidecar in (first, second):
        sidecar.send(*(request("store_event", n, session_id="s", data=n) for n in range(count)))
    ids = [[sidecar.receive()["result"]["id"] for _ in range(count)] for sidecar in (first, second)]
    assert ids[0] == sorted(ids[0]) and ids[1] == sorted(ids[1])
    assert sorted(ids[0] + ids[1]) == list(range(1, 2 * count + 1))
    for sidecar in (first, second):
        assert sidecar.call("event_count") == {"count": 2 * count}
        assert sidecar.call("get_session", session_id="s")["last_event_id"] == 2 * count
        assert sidecar.finish() == []
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_each_process_sees_at_once_what_the_other_wrote(spawn: Callable[..., Sidecar]) -> None:
    first, second = spawn(), spawn()
    session = first.call("create_session", session_id="s", status="active")
    assert second.call("get_session", session_id="s") == session
    for number in range(1, 50):
        writer, reader = (first, second) if number % 2 else (second, first)
        assert writer.call("store_event", session_id="s", data=number)["id"] == number
        assert reader.call("get_recent_events", session_id="s", limit=1)["events"][0]["data"] == number
        revision = reader.call("set_session_state", session_id="s", key="k", value=number)["revision"]
        assert writer.call("get_session", session_id="s")["revision"] == revision
    assert first.call("delete_session", session_id="s")["deleted"]
    assert second.call("get_session", session_id="s") is None
    assert second.call("event_count") == {"count": 0}


def test_an_exclusive_process_keeps_others_out(spawn: Callable[..., Sidecar], database: Path) -> None:
    sidecar = spawn("--exclusive")
    sidecar.call("create_session", session_id="s")
    assert not Path(f"{database}-shm").exists()
    for options in [(), ("--exclusive",)]:
        is_refused(start(database, "--busy-timeout", "50ms", *options), 75, str(database))
    assert sidecar.call("store_event", session_id="s", data=1)["id"] == 1
    assert sidecar.finish() == []
    assert spawn().call("event_count") == {"count": 1}


def test_exclusive_beside_a_running_process_is_refused(spawn: Callable[..., Sidecar], database: Path) -> None:
    sidecar = spawn()
    sidecar.call("create_session", session_id="s")
    is_refused(start(database, "--exclusive", "--busy-timeout", "50ms"), 75, str(database))
    assert sidecar.call("store_event", session_id="s", data=1)["id"] == 1


def test_an_exclusive_process_that_was_killed_leaves_no_lock(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--exclusive")
    sidecar.call("create_session", session_id="s")
    sidecar.kill()
    assert spawn().call("session_count") == {"count": 1}


def test_two_names_of_one_file_share_the_lock(spawn: Callable[..., Sidecar], database: Path) -> None:
    """Through symbolic links to the file and to its directory."""
    folder = database.parent
    filled(database, 1)
    (folder / "link.db").symlink_to(database)
    (folder / "elsewhere").symlink_to(folder)
    sidecar = spawn("--exclusive", database=folder / "link.db")
    sidecar.call("session_count")
    for name in (database, folder / "elsewhere" / "sessions.db", folder / "elsewhere" / "link.db"):
        is_refused(start(name, "--busy-timeout", "50ms"), 75)
    assert [entry.name for entry in folder.glob("*-lock")] == ["sessions.db-lock"]


def test_a_relative_path_shares_the_lock(spawn: Callable[..., Sidecar], database: Path) -> None:
    sidecar = spawn("--exclusive")
    sidecar.call("session_count")
    is_refused(start("sessions.db", "--busy-timeout", "50ms", cwd=database.parent), 75)


def test_a_writer_that_does_not_take_the_lock_makes_it_wait_and_then_busy(
    spawn: Callable[..., Sidecar], database: Path
) -> None:
    """A shell in the middle of a transaction. Reads go on; a write is refused in time and succeeds later."""
    sidecar = spawn("--busy-timeout", "100ms")
    sidecar.call("create_session", session_id="s")
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        refused = sidecar.refusal("store_event", session_id="s", data=1)
        assert (refused.code, refused.kind, refused.data["retryable"]) == (1401, "database_busy", True)
        sidecar.send(*(request("store_event", n, session_id="s", data=1) for n in range(3)))
        assert [sidecar.receive()["error"]["code"] for _ in range(3)] == [1401] * 3
        assert sidecar.call("event_count") == {"count": 0}
        connection.execute("COMMIT")
    assert sidecar.call("store_event", session_id="s", data=1)["id"] == 1


def test_a_write_takes_the_lock(spawn: Callable[..., Sidecar], database: Path) -> None:
    """Also while nobody is in a transaction: the lock is what writes and checkpoints take turns by."""
    sidecar = spawn("--busy-timeout", "50ms")
    sidecar.call("create_session", session_id="s")
    with database.with_name(database.name + "-lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert sidecar.refusal("store_event", session_id="s", data=1).kind == "database_busy"
        assert sidecar.call("event_count") == {"count": 0}
    assert sidecar.call("store_event", session_id="s", data=1)["id"] == 1


def test_a_stopped_process_holds_others_up_only_for_the_busy_timeout(
    spawn: Callable[..., Sidecar], database: Path
) -> None:
    """The lock of a process that was stopped in the middle; stood for here by one that holds it for good."""
    sidecar = spawn("--busy-timeout", "100ms")
    sidecar.call("create_session", session_id="s")
    holder = subprocess.Popen(
        ["flock", f"{database}-lock", "sh", "-c", "echo held; sleep 600"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        assert sidecar.refusal("store_event", session_id="s", data=1).kind == "database_busy"
        assert sidecar.call("get_session", session_id="s")["last_event_id"] == 0
        is_refused(start(database, "--busy-timeout", "50ms"), 75, "-lock")
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    assert sidecar.call("store_event", session_id="s", data=1)["id"] == 1


def test_a_file_that_another_process_migrated(spawn: Callable[..., Sidecar], database: Path) -> None:
    """While this one runs: it must not write into a schema that it does not know."""
    sidecar = spawn()
    sidecar.call("create_session", session_id="s")
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute("PRAGMA user_version = 4711")
        for method, params in [("store_event", {"session_id": "s", "data": 1}), ("get_session", {"session_id": "s"})]:
            refused = sidecar.refusal(method, **params)
            assert (refused.code, refused.kind) == (1406, "database_too_new")
            assert (refused.data["found"], refused.data["supported"]) == (4711, version)
        connection.execute(f"PRAGMA user_version = {version}")
    assert sidecar.call("store_event", session_id="s", data=1)["id"] == 1
