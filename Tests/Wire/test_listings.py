"""What `status`, `sessions`, `tasks` and `events` print."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shell import ESCAPE, command, is_refused, lines, output
from sidecar import BINARY, PATIENCE, Sidecar, clean_environment, converse, request


# --- status


def test_status_counts_what_the_wire_counts(filled: Sidecar, database: Path) -> None:
    status = json.loads(output("status", "--json", "--database", database))
    for name in ("pending", "active", "suspended", "expired", "invalidated"):
        assert status["sessions"][name] == filled.call("session_count", status=name)["count"], name
    assert status["sessions"] == {"pending": 1, "active": 1, "suspended": 1, "expired": 2, "invalidated": 1}
    for name in ("working", "input_required", "completed", "failed", "cancelled"):
        assert status["tasks"][name] == filled.call("task_count", status=name)["count"], name
    assert status["tasks"]["completed"] == 2
    # One of four belongs to a session that is over.
    assert status["events"] == filled.call("event_count")["count"] == 3
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
    assert rows["tasks"] == "4" and rows["events"] == "3" and rows["values"] == "1"
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
            assert chunk, f"the output has ended: {self.end()}"
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


@pytest.mark.file_only
def test_following_in_the_dark_of_an_exclusive_sidecar(
    follow: Callable[..., Follower], closed: Path, spawn: Callable[..., Sidecar]
) -> None:
    follower = follow("s", "--after", "2", "--database", closed)
    assert follower.event()["id"] == 3
    spawn("--exclusive").call("server_info")
    code, rest, said = follower.end()
    assert code == 75 and rest == b"" and "--exclusive" in said
