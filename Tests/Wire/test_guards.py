"""What the store does by itself against whoever asks for too much, through the pipe: each by an option of its own."""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shell import output
from sidecar import BINARY, Sidecar, clean_environment, line, request

Spawn = Callable[..., Sidecar]
HOUR = 3_600_000


def unauthorized(sidecar: Sidecar) -> list[dict[str, Any]]:
    return list(sidecar.call("list_audit_events", type="unauthorized_access", limit=1000)["events"])


# --- Ids that are asked for in vain


def test_they_are_in_the_trail_after_a_kill(spawn: Spawn) -> None:
    sidecar = spawn("--audit-unauthorized", "10")
    sidecar.call("create_session", session_id="s", status="active", principal="alice", tenant_id="acme")
    sidecar.call("create_task", task_id="t", principal="alice")
    asked = {"tenant_id": "acme", "principal": "bob"}
    for id in ("s", "none"):
        assert sidecar.call("get_session", session_id=id, **asked) is None
        assert sidecar.refusal("store_event", session_id=id, data=1, **asked).kind == "session_not_found"
        answer = sidecar.call("validate_session", session_id=id, ip_address="192.0.2.7", **asked)
        assert answer == {"valid": False, "reason": "not_found"}
    assert sidecar.refusal("touch_task", task_id="t", **asked).kind == "task_not_found"
    sidecar.kill()
    sidecar = spawn()
    found = [(event["session_id"], event["message"], event["ip_address"]) for event in unauthorized(sidecar)]
    assert found == [
        (id, "session_not_found", address) for id in ("s", "none") for address in (None, None, "192.0.2.7")
    ] + [(None, "task_not_found: t", None)]
    for event in unauthorized(sidecar):
        assert (event["severity"], event["action"], event["tenant_id"], event["principal"], event["user_id"]) == (
            "low", "logged", "acme", "bob", None)  # fmt: skip
    by = {key: sidecar.call("audit_counts", by=key, type="unauthorized_access")["counts"] for key in ("principal",
          "tenant_id", "ip_address")}  # fmt: skip
    assert [(key, count["value"], count["events"]) for key, counts in by.items() for count in counts] == [
        ("principal", "bob", 7), ("tenant_id", "acme", 7), ("ip_address", "192.0.2.7", 2)]  # fmt: skip
    # They are about whoever asked, and go with what is stored about them.
    assert sidecar.call("delete_user_data", principal="bob")["audit_events"] == 7
    assert unauthorized(sidecar) == []


def test_by_default_nothing_is_noted(sidecar: Sidecar) -> None:
    sidecar.call("create_session", session_id="s", status="active")
    assert sidecar.call("get_session", session_id="none") is None
    sidecar.call("check_rate_limit", key="k", limit=1, window=HOUR, session_id="s")
    sidecar.call("check_rate_limit", key="k", limit=1, window=HOUR, session_id="s")
    assert sidecar.call("list_audit_events", min_severity="low")["events"] == []
    limits = sidecar.call("server_info")["limits"]
    assert [limits[name] for name in ("audit_unauthorized", "count_refused_input", "count_denied_rates",
            "max_writes_per_session", "writes_window")] == [0, False, False, 0, 0]  # fmt: skip


def test_a_wave_of_guesses_leaves_few_rows(spawn: Spawn) -> None:
    sidecar = spawn("--audit-unauthorized", "5", "--max-audit-events", "50")
    sidecar.send(*(request("get_session", n, session_id=f"guess-{n}", principal="bob") for n in range(2_000)))
    for _ in range(2_000):
        assert sidecar.receive()["result"] is None
    # A minute may have passed in between.
    assert 5 <= len(unauthorized(sidecar)) <= 15
    # Nor do many callers wash out more than the trail holds.
    sidecar.send(*(request("get_session", n, session_id="x", principal=f"bob-{n}") for n in range(2_000)))
    for _ in range(2_000):
        assert sidecar.receive()["result"] is None
    assert len(unauthorized(sidecar)) == 50


@pytest.mark.file_only  # a server locks rows, not the store
def test_where_nothing_can_be_written_the_answer_comes_all_the_same(spawn: Spawn, database: Path) -> None:
    sidecar = spawn("--audit-unauthorized", "10", "--busy-timeout", "20ms")
    sidecar.call("create_session", session_id="s", status="active")
    with open(f"{database}-lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert sidecar.refusal("touch_session", session_id="s").kind == "database_busy"
        assert sidecar.call("get_session", session_id="none") is None
        assert sidecar.call("get_session", session_id="s")["session_id"] == "s"
    assert unauthorized(sidecar) == []
    assert sidecar.call("get_session", session_id="none") is None
    assert len(unauthorized(sidecar)) == 1


# --- What counts by itself


def test_refused_input_and_denied_rates_end_a_session(spawn: Spawn) -> None:
    for options, call in (
        (["--count-refused-input"], ("validate_input", {"text": "<script>"})),
        (["--count-denied-rates"], ("check_rate_limit", {"key": "k", "limit": 1, "window": HOUR})),
    ):
        sidecar = spawn(*options, "--max-violations", "3", database=":memory:")
        sidecar.call("create_session", session_id="s", status="active")
        sidecar.call("check_rate_limit", key="k", limit=1, window=HOUR)
        sidecar.call("subscribe_events", session_id="s")
        method, params = call
        for _ in range(3):
            assert sidecar.call("validate_session", session_id="s")["valid"]
            sidecar.call(method, session_id="s", **params)
        assert sidecar.receive_notification()["params"]["reason"] == "invalidated"
        assert sidecar.call("validate_session", session_id="s")["reason"] == "invalidated"
        events = sidecar.call("list_audit_events", min_severity="medium")["events"]
        assert [event["action"] for event in events] == ["counted", "counted", "invalidated"]
        # The other option's call says nothing.
        assert {event["type"] for event in events} == {
            "invalid_input" if method == "validate_input" else "rate_limit_exceeded"}  # fmt: skip


# --- Writes of a session


def test_a_session_that_writes_too_much_is_told_when_to_come_back(spawn: Spawn) -> None:
    sidecar = spawn("--max-writes-per-session", "3/1h")
    limits = sidecar.call("server_info")["limits"]
    assert (limits["max_writes_per_session"], limits["writes_window"]) == (3, HOUR)
    for id in ("s", "other"):
        sidecar.call("create_session", session_id=id, status="active")
    sidecar.send(*(request("store_event", n, session_id="s", data=n) for n in range(10)))
    answers = [sidecar.receive() for _ in range(10)]
    assert [answer["id"] for answer in answers if "result" in answer] == [0, 1, 2]
    error = answers[-1]["error"]
    assert (error["code"], error["data"]["kind"], error["data"]["retryable"]) == (
        1009, "max_session_writes_reached", True)  # fmt: skip
    assert 0 < error["data"]["retry_after"] <= HOUR // 3
    assert sidecar.call("event_count", session_id="s") == {"count": 3}
    writes = {
        "store_events": {"events": [{"data": 1}]}, "delete_events_before": {"before_event_id": 9},
        "set_session_state": {"key": "k", "value": 1}, "remove_session_state": {"key": "k"},
        "append_log_entry": {"entry": {}}, "replace_log": {"entries": []}, "compact_log": {"checkpoint": {}},
        "note_log_message_ids": {"message_ids": ["m"]}, "create_task": {},
    }  # fmt: skip
    for method, params in writes.items():
        assert sidecar.refusal(method, session_id="s", **params).kind == "max_session_writes_reached", method
    refused = sidecar.refusal("update_session", session={"session_id": "s", "metadata": {}}, upsert=True)
    assert refused.kind == "max_session_writes_reached"
    # All else goes on.
    assert sidecar.call("get_session", session_id="s", touch=True)["last_event_id"] == 3
    assert sidecar.call("touch_session", session_id="s")["last_event_id"] == 3
    assert sidecar.call("broadcast_event", data=1)["sessions"] == 2
    sidecar.call("set_session_state", session_id="other", key="k", value=1)
    for step in ("suspend", "resume"):
        sidecar.call(f"{step}_session", session_id="s")
    sidecar.kill()
    sidecar = spawn("--max-writes-per-session", "3/1h")
    assert sidecar.refusal("store_event", session_id="s", data=1).kind == "max_session_writes_reached"
    assert sidecar.call("delete_session", session_id="s")["deleted"]


def test_what_was_taken_is_in_a_dump(spawn: Spawn, database: Path, tmp_path: Path) -> None:
    sidecar = spawn("--max-writes-per-session", "2/1h")
    sidecar.call("create_session", session_id="s", status="active")
    for _ in range(2):
        sidecar.call("store_event", session_id="s", data=1)
    sidecar.finish()
    again = tmp_path / "again.db"
    done = subprocess.run([BINARY, "load", "--database", again], input=output("dump", "--database", database).encode(),
                          capture_output=True, env=clean_environment())  # fmt: skip
    assert done.returncode == 0, done.stderr
    sidecar = spawn("--max-writes-per-session", "2/1h", database=again)
    assert sidecar.refusal("store_event", session_id="s", data=1).kind == "max_session_writes_reached"


def test_as_many_as_there_is_room_for_in_a_short_time(spawn: Spawn) -> None:
    sidecar = spawn("--max-writes-per-session", "1/1ms")
    sidecar.call("create_session", session_id="s", status="active")
    done = 0
    while done < 3:
        answer = sidecar.ask("remove_session_state", session_id="s", key="k")
        done += "result" in answer
        assert "result" in answer or answer["error"]["data"]["retry_after"] == 1


@pytest.mark.parametrize(("text", "count", "window"), [
    ("0", 0, 0), ("1/1ms", 1, 1), ("1000000/366d", 1_000_000, 366 * 24 * HOUR), ("600/1m", 600, 60_000),
])  # fmt: skip
def test_a_rate_that_is_one(text: str, count: int, window: int) -> None:
    environment = clean_environment(MCP_SESSION_STORE_MAX_WRITES_PER_SESSION=text)
    done = subprocess.run([BINARY, "--database", ":memory:"], input=line(request("server_info", 1)),
                          capture_output=True, env=environment, check=True)  # fmt: skip
    limits = json.loads(done.stdout)["result"]["limits"]
    assert (limits["max_writes_per_session"], limits["writes_window"]) == (count, window)
