"""What a process may ever hold, whatever it is asked for: the highest mark of its resident memory (VmHWM) stays under
one stated bound, for a client that reads and for one that does not, for requests alone, in batches and in transactions.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar import PATIENCE, Sidecar, line, notification, request

Spawn = Callable[..., Sidecar]

MIB = 1 << 20
#: README, promise 6
BOUND = 160 * MIB


def highest_mark(sidecar: Sidecar) -> int:
    status = Path(f"/proc/{sidecar.process.pid}/status").read_text()
    return int(next(row.split()[1] for row in status.splitlines() if row.startswith("VmHWM"))) << 10


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store in which every kind of thing is as large as it may be."""
    path = tmp_path_factory.mktemp("memory") / "full.db"
    sidecar = Sidecar("--durability", "normal", database=path)
    sidecar.call("create_session", session_id="s", status="active", user_id="u", principal="p")
    large = "x" * (MIB - 100)
    for number in range(9):
        sidecar.call("store_event", session_id="s", data=large)
        sidecar.call("append_log_entry", session_id="s", entry={"text": large})
        sidecar.call("put_value", collection="c", key=f"k{number}", value=large, principal="p")
    for number in range(3):
        sidecar.call("set_session_state", session_id="s", key=f"k{number}", value="y" * MIB_OF_STATE)
    for number in range(160):
        sidecar.call("create_task", task_id=f"t{number}", session_id="s", original_params=large)
    for number in range(60):
        sidecar.call("enqueue_task_message", task_id="t0", message=large, principal="p")
    sidecar.finish()
    yield path


MIB_OF_STATE = 1_000_000

#: short requests with large answers
READS: dict[str, dict[str, Any]] = {
    "get_events_after": {"session_id": "s"},
    "get_recent_events": {"session_id": "s", "format": "sse"},
    "get_session": {"session_id": "s"},
    "get_task": {"task_id": "t0"},
    "list_sessions": {"include_state": True},
    "list_tasks": {},
    "list_values": {"collection": "c", "principal": "p"},
    "load_log": {"session_id": "s"},
    "export_user_data": {"principal": "p"},
    "list_payloads": {},
    "rpc.discover": {},
}
COUNT = 40


def forms(method: str, params: dict[str, Any]) -> dict[str, bytes]:
    one = request(method, 1, **params)
    found = {
        "alone": line(one) * COUNT,
        "in batches": line([one] * COUNT) * 4,
        "as notifications": line(notification(method, **params)) * COUNT,
    }
    if method != "rpc.discover":
        calls = [{"method": method, "params": params}] * COUNT
        found["in transactions"] = line(request("transaction", 1, calls=calls)) * 4
        found["one in each transaction"] = line(request("transaction", 1, calls=calls[:1])) * COUNT
    return found


@pytest.mark.parametrize("method", READS)
def test_many_short_requests_with_large_answers(method: str, full: Path, spawn: Spawn) -> None:
    for name, text in forms(method, READS[method]).items():
        sidecar = spawn(database=full)
        sidecar.send_bytes(text + line(request("session_count", "last")))
        while not (sidecar.read_line() or b"").startswith(b'{"jsonrpc":"2.0","id":"last","result"'):
            pass
        mark = highest_mark(sidecar)
        sidecar.kill()
        assert mark <= BOUND, f"{method} {name}: {mark / MIB:.0f} MiB"


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("method", ["create_session", "update_session"])
def test_a_state_of_very_many_keys(method: str, same: bool, spawn: Spawn) -> None:
    """A key takes more memory than its text does, and a line holds millions of them."""
    sidecar = spawn()
    sidecar.call("create_session", session_id="s", status="active")
    members = (b'"":1' for _ in range(3_200_000)) if same else (b'"%06x":1' % number for number in range(1_450_000))
    params = b'{"state":{' + b",".join(members) + b"}}"
    if method == "update_session":
        params = b'{"session":{"session_id":"s",' + params.removeprefix(b"{") + b"}"
    sidecar.send_bytes(b'{"jsonrpc":"2.0","id":1,"method":"%b","params":%b}\n' % (method.encode(), params))
    answer = json.loads(sidecar.read_line() or b"")
    assert answer["error"]["data"]["kind"] == ("invalid_params" if same else "payload_too_large"), answer
    mark = highest_mark(sidecar)
    assert mark <= BOUND, f"{mark / MIB:.0f} MiB"


@pytest.mark.parametrize("form", ["alone", "in batches", "one in each transaction"])
def test_a_client_that_does_not_read(form: str, full: Path, spawn: Spawn) -> None:
    """All of the input fits into the pipe, and what is answered would be many times the bound."""
    sidecar = spawn(database=full)
    text = forms("get_events_after", READS["get_events_after"])[form]
    assert len(text) < 1 << 16
    assert sidecar.process.stdin is not None
    os.write(sidecar.process.stdin.fileno(), text)
    until_asleep(sidecar)
    mark = highest_mark(sidecar)
    assert mark <= BOUND, f"{mark / MIB:.0f} MiB"
    # When it reads again nothing is missing.
    sidecar.send(request("session_count", "last"))
    answers = 0
    while not (sidecar.read_line() or b"").startswith(b'{"jsonrpc":"2.0","id":"last","result"'):
        answers += 1
    assert answers == text.count(b"\n")
    assert highest_mark(sidecar) <= BOUND


def until_asleep(sidecar: Sidecar) -> None:
    """Until the process waits for its reader, for good."""
    assert sidecar.process.stdout is not None
    select.select([sidecar.process.stdout], [], [], PATIENCE)
    still, deadline = 0, time.monotonic() + PATIENCE
    while still < 20:
        assert time.monotonic() < deadline
        state = Path(f"/proc/{sidecar.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        still = still + 1 if state == "S" else 0
        time.sleep(0.01)


@pytest.mark.parametrize("method, params", [
    ("recover_stuck_tasks", {"max_age": 0}),
    ("subscribe_tasks", {"session_id": "s"}),
    ("dequeue_all_task_messages", {"task_id": "t0", "principal": "p"}),
    ("subscribe_events", {"session_id": "s", "after_event_id": 0}),
])  # fmt: skip
def test_one_request_about_many_large_things(
    method: str, params: dict[str, Any], full: Path, spawn: Spawn, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    copy.write_bytes(full.read_bytes())
    sidecar = spawn(database=copy)
    assert "result" in sidecar.ask(method, **params)
    for _ in range(20):
        sidecar.call("session_count")
    assert highest_mark(sidecar) <= BOUND, f"{highest_mark(sidecar) / MIB:.0f} MiB"
