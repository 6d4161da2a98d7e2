"""Full and failing disks, and that an answer never comes before its write is on disk.

The faults are swept: the same conversation is run with the first write failing, then with the second one, and so on,
until it needs no more writes. Whatever comes of it, what was acknowledged must be there and what was refused must not.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from faults import count, injecting, needs_strace, tracing
from sidecar import PATIENCE, Sidecar, converse, request

pytestmark = [pytest.mark.file_only, needs_strace]

Spawn = Callable[..., Sidecar]


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A store with one session and one event, as a process that ended well leaves it."""
    path = tmp_path / "template.db"
    converse(
        request("create_session", 1, session_id="s"), request("store_event", 2, session_id="s", data="first"),
        database=str(path),
    )  # fmt: skip
    return path


class Conversation:
    """Requests alone and in groups, and what became of each."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.sidecar = sidecar
        self.acknowledged = ["first"]
        self.refused: list[str] = []
        self.unknown: list[str] = []
        self.kinds: list[str] = []
        self.ended = False

    def store(self, *data: str) -> None:
        """One write for each, sent together."""
        if self.ended:
            return
        try:
            self.sidecar.send(*(request("store_event", name, session_id="s", data=name) for name in data))
        except BrokenPipeError:
            self.ended = True
            self.unknown += data
            return
        for name in data:
            text = None if self.ended else self.sidecar.read_line()
            if text is None:
                self.ended = True
                self.unknown.append(name)
                continue
            answer = json.loads(text)
            assert answer["id"] == name
            if "result" in answer:
                self.acknowledged.append(name)
                continue
            error = answer["error"]["data"]
            self.kinds.append(error["kind"])
            (self.unknown if error["outcome"] == "unknown" else self.refused).append(name)

    def run(self) -> None:
        self.store("a")
        self.store("b-1", "b-2", "b-3")
        self.store("c" * 20_000)
        self.store("d-1", "d-2")

    def check(self, spawn: Spawn, database: Path, where: str) -> None:
        """What a new process finds."""
        later = spawn(database=database)
        events = later.call("get_events_after", session_id="s")["events"]
        data = [event["data"] for event in events]
        assert [event["id"] for event in events] == list(range(1, len(events) + 1)), where
        assert [name for name in data if name not in self.unknown] == self.acknowledged, where
        assert len(set(data)) == len(data), where
        assert later.call("store_event", session_id="s", data="last")["id"] == len(events) + 1, where
        later.finish()
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], where


def sweep(
    spawn: Spawn,
    template: Path,
    call: str,
    fault: Callable[[int], str],
    each: Callable[[Sidecar, Conversation, bool, str], None],
) -> int:
    """Runs the conversation with the first, second, … `call` meeting the fault of its number, until a run has fewer
    such calls. `each` judges a run before its process is gone; it is told whether the process had started."""
    number = 0
    while True:
        number += 1
        assert number < 500, "the sweep does not end"
        where = f"{call}:{fault(number)}"
        folder = template.parent / f"run-{number}"
        folder.mkdir()
        database, log = folder / "sessions.db", folder / "log"
        shutil.copy(template, database)
        sidecar = spawn(database=database, wrapper=injecting(log, call, fault(number)))
        conversation = Conversation(sidecar)
        conversation.run()
        each(sidecar, conversation, bool(conversation.kinds or len(conversation.acknowledged) > 1), where)
        if not sidecar.process.stdin.closed:  # type: ignore[union-attr]
            sidecar.close_input()
        sidecar.rest()
        killed = sidecar.wait() < 0
        conversation.check(spawn, database, where)
        if not killed and not count(log, r"INJECTED"):
            return number - 1


# --- A full disk


def test_a_full_disk(spawn: Spawn, template: Path) -> None:
    """For good: every write is refused with the same error from then on, reads go on, and the end is a good one."""
    refused = []

    def judge(sidecar: Sidecar, found: Conversation, started: bool, where: str) -> None:
        if not started and found.ended:
            assert sidecar.wait() in (73, 74), where
            return
        assert not found.ended and not found.unknown, where
        assert set(found.kinds) <= {"database_full"}, where
        refused.append(len(found.refused))
        page = sidecar.call("get_events_after", session_id="s")
        assert [event["data"] for event in page["events"]] == found.acknowledged, where
        if found.refused:
            answer = sidecar.refusal("store_event", session_id="s", data="more")
            assert (answer.code, answer.kind) == (1402, "database_full") and answer.data["retryable"], where
            assert (answer.data["sqlite_code"], answer.data["outcome"]) == (13, "not_applied"), where
            assert "disk is full" in answer.message
            assert sidecar.call("get_session", session_id="s")["last_event_id"] == len(found.acknowledged)
            assert sidecar.refusal("set_session_state", session_id="s", key="k", value=1).code == 1402
        sidecar.close_input()
        assert sidecar.rest() == [] and sidecar.wait() == 0, where
        assert sidecar.stderr() == "", where

    assert sweep(spawn, template, "pwrite64", lambda n: f"error=ENOSPC:when={n}+", judge) > 20
    # Somewhere between none and all of them, in every amount that a group can leave.
    assert {0, 2, 3, 6, 7} <= set(refused)


def test_a_disk_that_has_space_again(spawn: Spawn, template: Path) -> None:
    """Some writes fail, then there is space: service goes on in the same process, and nothing is lost or doubled."""
    recovered = []

    def judge(sidecar: Sidecar, found: Conversation, started: bool, where: str) -> None:
        if not started and found.ended:
            assert sidecar.wait() in (73, 74), where
            return
        assert not found.ended and not found.unknown and set(found.kinds) <= {"database_full"}, where
        # Each refusal uses up at least one of the failing calls.
        for attempt in range(30):
            answer = sidecar.ask("store_event", session_id="s", data=f"again-{attempt}")
            if "result" in answer:
                found.acknowledged.append(f"again-{attempt}")
                break
            assert answer["error"]["data"]["kind"] == "database_full", where
        assert found.acknowledged[-1].startswith("again"), where
        recovered.append(bool(found.refused))

    assert sweep(spawn, template, "pwrite64", lambda n: f"error=ENOSPC:when={n}..{n + 20}", judge) > 20
    assert any(recovered)


# --- A disk that fails


def test_a_failed_sync_ends_the_process(spawn: Spawn, template: Path) -> None:
    """Whether that commit is on disk nobody knows: every request of the group is told so, then the process exits."""
    ended = []

    def judge(sidecar: Sidecar, found: Conversation, started: bool, where: str) -> None:
        if sidecar.process.poll() is None and not found.kinds and not found.ended:
            sidecar.close_input()  # the failing sync is that of the end, or there is none
        status = sidecar.wait()
        if found.kinds:
            assert set(found.kinds) == {"outcome_unknown"} and status == 74, where
            assert not found.refused, where
            ended.append(tuple(found.unknown))
        elif found.ended:
            assert status == 74 and (not started or "checkpoint" in sidecar.stderr()), where
        else:
            assert status in (0, 74), where

    assert sweep(spawn, template, "fdatasync", lambda n: f"error=EIO:when={n}+", judge) > 3
    # The whole group was told, not only its first or last request. What came later never got an answer.
    assert any(names[:3] == ("b-1", "b-2", "b-3") for names in ended)


def test_the_error_of_a_failed_sync(spawn: Spawn, template: Path, tmp_path: Path) -> None:
    log = f"{template}-wal"  # only its syncs fail, not those at the start
    sidecar = spawn(
        database=template, wrapper=[*injecting(tmp_path / "log", "fdatasync", "error=EIO"), "-P", log]
    )  # fmt: skip
    sidecar.send(*(request("store_event", n, session_id="s", data=n) for n in range(3)), request("session_count", 3))
    answers = [sidecar.receive() for _ in range(3)]
    for number, answer in enumerate(answers):
        assert answer["id"] == number
        error = answer["error"]
        assert error["code"] == 1407 and error["data"]["kind"] == "outcome_unknown"
        assert error["data"]["outcome"] == "unknown" and error["data"]["retryable"] is False
        assert error["data"]["sqlite_code"] & 0xFF == 10 and error["data"]["sqlite_message"]
    sidecar.rest()
    assert sidecar.wait() == 74


def test_a_failed_sync_in_the_middle_of_a_batch(spawn: Spawn, template: Path, tmp_path: Path) -> None:
    """What stands behind it in the same batch is not run: nobody is told of a write that is not there."""
    sidecar = spawn(
        database=template,
        wrapper=[*injecting(tmp_path / "log", "fdatasync", "error=EIO"), "-P", f"{template}-wal"],
    )
    calls = [("store_event", {"session_id": "s", "data": 1}), ("maintenance", {})]
    calls += [("store_event", {"session_id": "s", "data": 2}), ("get_session", {"session_id": "s"})]
    sidecar.send([request(name, id, **params) for id, (name, params) in enumerate(calls)])
    batch = sidecar.receive()
    assert [answer["id"] for answer in batch] == [0, 1, 2, 3]
    assert [answer.get("error", {}).get("data", {}).get("kind") for answer in batch] == ["outcome_unknown"] * 4
    sidecar.rest()
    assert sidecar.wait() == 74


def test_a_failed_write(spawn: Spawn, template: Path) -> None:
    """EIO in place of ENOSPC. It may hit before the commit (nothing is applied) or within it (nobody knows)."""
    kinds: set[str] = set()

    def judge(sidecar: Sidecar, found: Conversation, started: bool, where: str) -> None:
        kinds.update(found.kinds)
        assert set(found.kinds) <= {"outcome_unknown", "database_error"}, where
        if "outcome_unknown" in found.kinds or found.ended:
            assert sidecar.wait() == 74, where
        else:
            sidecar.close_input()
            assert sidecar.wait() in (0, 74), where

    assert sweep(spawn, template, "pwrite64", lambda n: f"error=EIO:when={n}+", judge) > 20
    assert "outcome_unknown" in kinds


def test_a_process_killed_at_any_write(spawn: Spawn, template: Path) -> None:
    """The crash test that leaves nothing to chance; Conversation.check looks at what the next process finds."""

    def judge(sidecar: Sidecar, found: Conversation, started: bool, where: str) -> None:
        assert not found.kinds, where

    assert sweep(spawn, template, "pwrite64", lambda n: f"signal=KILL:when={n}", judge) > 20


def test_a_process_killed_at_any_write_of_a_new_file(spawn: Spawn, tmp_path: Path) -> None:
    """What is half made is finished by the next process, and nobody has to clean up. A file is made, and a copy
    without a log is turned into one with a log, under a rollback journal, which must not lock it for ever."""
    copy = tmp_path / "copy.db"
    first = spawn()
    first.call("create_session", session_id="s")
    first.call("backup", path=str(copy))
    first.finish()
    for source in (None, copy):
        number, status, journals = 0, -9, 0
        while status < 0:
            number += 1
            assert number < 400, "the sweep does not end"
            folder = tmp_path / f"{source is None}-{number}"
            folder.mkdir()
            database = folder / "sessions.db"
            if source is not None:
                shutil.copy(source, database)
            wrapper = injecting(folder / "log", "pwrite64", f"signal=KILL:when={number}")
            victim = spawn(database=database, wrapper=wrapper)
            victim.close_input()
            victim.rest()
            status = victim.wait()
            journals += Path(f"{database}-journal").exists()
            later = spawn(database=database)
            count = 0 if source is None else 1
            assert later.call("session_count") == {"count": count}, f"{source}, write {number}"
            assert later.call("check_integrity")["problems"] == [], f"{source}, write {number}"
            later.finish()
        assert status == 0 and journals > 1, source


def test_a_failed_sync_of_a_checkpoint_ends_the_process(spawn: Spawn, template: Path, tmp_path: Path) -> None:
    """What was acknowledged is in the log, so no request is told anything; but nobody may go on."""
    log = tmp_path / "log"
    sidecar = spawn(database=template, wrapper=tracing(log, "fdatasync"))
    # Events of 100 KB: some 25 pages each, so that a checkpoint comes after about 160 of them.
    data = "x" * 100_000
    sidecar.send(*(request("store_event", n, session_id="s", data=data) for n in range(400)))
    for _ in range(400):
        assert "result" in sidecar.receive()
    sidecar.kill()
    calls = log.read_text().splitlines()
    of_the_file = next(n for n, text in enumerate(calls, 1) if re.search(r"template\.db>\)", text))
    assert of_the_file < len(calls)

    database = tmp_path / "again.db"
    converse(request("create_session", 1, session_id="s"), database=str(database))
    # Only syncs of the file itself fail, never those of the log.
    sidecar = spawn(database=database, wrapper=[*injecting(log, "fdatasync", "error=EIO"), "-P", str(database)])
    acknowledged = 0
    try:
        for number in range(1_000):
            sidecar.send(request("store_event", number, session_id="s", data=data))
            text = sidecar.read_line()
            if text is None:
                break
            assert b'"result"' in text
            acknowledged += 1
    except BrokenPipeError:
        pass
    assert sidecar.wait() == 74 and "checkpoint" in sidecar.stderr()
    assert 0 < acknowledged < 1_000
    assert spawn(database=database).call("event_count", session_id="s")["count"] >= acknowledged


def refused_transaction(sidecar: Sidecar, *more: dict[str, Any]) -> dict[str, object]:
    """One that dirties more pages than stay in memory, most of them twice, and is refused after `more`, at its end."""
    sidecar.call("consume_nonce", nonce="n", ttl=600_000)
    values = [request("put_value", n, collection="c", key=str(n), value="x" * 3_000) for n in range(1_000)]
    sidecar.send(*values)
    for _ in values:
        assert "result" in sidecar.receive()
    # Each value has a page of its own, and 2 MB of them stay in memory.
    keys = [*range(0, 1_000, 2), *range(40, 1_000, 2)]
    calls = [{"method": "put_value", "params": {"collection": "c", "key": str(key), "value": "y"}} for key in keys]
    calls += [*more, {"method": "consume_nonce", "params": {"nonce": "n", "ttl": 600_000}, "require": True}]
    return request("transaction", 2, calls=calls)


#: a call that is all or nothing itself, for nobody
BROADCAST = {"method": "broadcast_event", "params": {"data": 1, "principal": "nobody"}}


@pytest.mark.parametrize("more", [[], [BROADCAST]], ids=["alone", "with a part of its own"])
def test_what_is_committed_behind_a_transaction_that_was_taken_back_outlives_a_kill(
    spawn: Spawn, tmp_path: Path, more: list[dict[str, Any]]
) -> None:
    """SQLite itself commits what stands around it with check sums that nobody finds again (``Connection.swift``)."""
    database = tmp_path / "sessions.db"
    sidecar = spawn(database=database)
    sidecar.call("create_session", session_id="s")
    refused = refused_transaction(sidecar, *more)
    sidecar.send(
        request("store_event", 1, session_id="s", data="before"), refused,
        request("store_event", 3, session_id="s", data="behind"),
    )  # fmt: skip
    assert ["result" in sidecar.receive() for _ in range(3)] == [True, False, True]
    sidecar.call("store_event", session_id="s", data="later")
    sidecar.kill()
    again = spawn(database=database)
    events = again.call("get_events_after", session_id="s", after_event_id=0)["events"]
    assert [event["data"] for event in events] == ["before", "behind", "later"]
    assert again.call("get_value", collection="c", key="0")["value"] == "x" * 3_000


def test_what_was_taken_back_is_forgotten_before_another_process_writes(spawn: Spawn, tmp_path: Path) -> None:
    """Some of it may not have been written yet, and where it would have gone stands what was committed since."""
    database = tmp_path / "sessions.db"
    first, second = spawn(database=database), spawn(database=database)
    first.call("create_session", session_id="s")
    first.send(refused_transaction(first))
    assert "error" in first.receive()
    requests = [request("store_event", n, session_id="s", data="x" * 6_000) for n in range(600)]
    second.send(*requests)
    for _ in requests:
        assert "result" in second.receive()
    for key in range(0, 1_000, 7):
        assert first.call("get_value", collection="c", key=str(key))["value"] == "x" * 3_000
    first.call("store_event", session_id="s", data="last")
    first.kill()
    second.kill()
    again = spawn(database=database)
    assert again.call("check_integrity")["problems"] == []
    assert again.call("event_count", session_id="s") == {"count": 601}


def test_what_could_not_be_written_to_the_log_is_not_committed(spawn: Spawn, tmp_path: Path) -> None:
    """What a transaction has written before its end may wait for its last frame, or for whoever makes the log longer.
    When the disk is full just then, the commit does not stand over a hole."""
    first = spawn(database=tmp_path / "first.db")
    values = [{"method": "put_value", "params": {"collection": "c", "key": str(n), "value": "x" * 3_000}}
              for n in range(750)]  # fmt: skip
    first.call("transaction", calls=values)
    first.finish()
    for value in values[1:740]:
        value["params"] |= {"value": "y"}
    calls = [*values[1:740], {"method": "put_value", "params": {"collection": "c", "key": "n", "value": "n" * 30_000}}]

    def after(name: str, wrapper: list[str]) -> Sidecar:
        shutil.copy(tmp_path / "first.db", tmp_path / name)
        sidecar = spawn(database=tmp_path / name, wrapper=wrapper)
        sidecar.send(request("transaction", 1, calls=calls))
        assert "result" in sidecar.receive()
        return sidecar

    log = tmp_path / "log"
    after("traced.db", tracing(log, "pwrite64")).kill()
    writes = [text for text in log.read_text(errors="replace").splitlines() if "pwrite64(" in text]
    sizes = [int(text.split()[-1]) if "-wal>" in text else 0 for text in writes]
    # Written before there was no more room for it, and not the end: whoever makes the log longer asks for its size.
    early = next(n for n, size in enumerate(sizes) if 24 < size < 60_000 and sum(sizes[:n]) > 500_000)
    assert early < len(sizes) - 10
    sidecar = after("full.db", injecting(log, "pwrite64", f"error=ENOSPC:when={early + 1}"))
    assert "INJECTED" in log.read_text(errors="replace")
    assert sidecar.call("check_integrity")["problems"] == []
    sidecar.kill()
    again = spawn(database=tmp_path / "full.db")
    for number in range(750):
        value = again.call("get_value", collection="c", key=str(number))["value"]
        assert value == ("y" if 0 < number < 740 else "x" * 3_000)


def test_a_commit_is_one_write_to_the_log(spawn: Spawn, template: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    sidecar = spawn(database=template, wrapper=tracing(log, "pwrite64", "fdatasync"))
    for number in range(20):
        sidecar.call("store_event", session_id="s", data=number)
    sidecar.kill()
    calls = [text for text in log.read_text(errors="replace").splitlines() if "-wal>" in text]
    # Zeros only make the log longer; a frame begins with the number of its page.
    calls = [text for text in calls if r', "\0\0\0\0' not in text]
    last = "".join("S" if "fdatasync" in text else "w" for text in calls)
    # After zeros the first frame does not follow what was written last.
    assert last.endswith("S") and last.count("S") >= 21 and last.count("wS") == last.count("S"), last
    assert last.count("w") <= last.count("S") + 6, last


# --- The order of things


def test_an_answer_comes_after_its_write_is_on_disk(spawn: Spawn, template: Path, tmp_path: Path) -> None:
    """Between any write to the log and the answer on the wire there is a sync of the log."""
    log = tmp_path / "log"
    sidecar = spawn(database=template, wrapper=tracing(log, "pwrite64", "fdatasync", "pwritev2", "write"))
    for number in range(20):
        sidecar.call("store_event", session_id="s", data=number)
    sidecar.send(*(request("store_event", n, session_id="s", data=n) for n in range(2_000)))
    for _ in range(2_000):
        assert "result" in sidecar.receive()
    sidecar.finish()
    dirty, answers, syncs = False, 0, 0
    for text in log.read_text(errors="replace").splitlines():
        if "template.db-wal" in text:
            dirty = "fdatasync" not in text
            syncs += "fdatasync" in text
        elif "pipe:[" in text:
            assert not dirty, f"an answer before the sync: {text}"
            answers += 1
    assert answers >= 21
    # The group commit is what makes 2,000 requests cheap: far fewer syncs than requests.
    assert 21 <= syncs < 1_000


def test_durability_normal_does_not_wait_for_the_disk(spawn: Spawn, template: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    sidecar = spawn("--durability", "normal", database=template, wrapper=tracing(log, "fdatasync"))
    assert sidecar.call("server_info")["durability"] == "normal"
    for number in range(20):
        sidecar.call("store_event", session_id="s", data=number)
    assert count(log, r"template\.db-wal") <= 2


def test_a_start_on_an_existing_store_writes_nothing_to_it(spawn: Spawn, template: Path, tmp_path: Path) -> None:
    """So that a start costs no sync, and a process that only reads leaves the file as it was."""
    before = template.read_bytes()
    log = tmp_path / "log"
    sidecar = spawn(database=template, wrapper=tracing(log, "pwrite64", "fdatasync", "fsync"))
    assert sidecar.call("event_count") == {"count": 1}
    assert sidecar.finish() == []
    assert count(log, r"template\.db(-wal)?>") == 0
    assert template.read_bytes() == before
