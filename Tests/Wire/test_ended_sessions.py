"""Sessions that outlive their end, by `--retain-ended`, and that nothing changes without it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shell import lines, output
from sidecar import Sidecar

Spawn = Callable[..., Sidecar]
DOCUMENT = json.loads((Path(__file__).parents[2] / "protocol" / "openrpc.json").read_text(encoding="utf-8"))
KEEP = ("--retain-ended", "1h")
ENDS = ["expire_session", "resolve_session", "invalidate_session"]


def parameters(method: dict[str, Any]) -> set[str]:
    return {parameter["name"] for parameter in method["params"]}


#: every method that can read what has ended, with parameters beside the session's id
READS: dict[str, dict[str, Any]] = {
    method["name"]: {"key": "k"} if "key" in parameters(method) else {}
    for method in DOCUMENT["methods"]
    if "include_ended" in parameters(method)
}


def fill(sidecar: Sidecar, **session: Any) -> None:
    sidecar.call("create_session", session_id="s", status="active", state={"k": 1}, user_id="ann", **session)
    sidecar.call("store_event", session_id="s", data="an event")
    sidecar.call("append_log_entry", session_id="s", entry={"sender": "ann"})


def read(sidecar: Sidecar, name: str, **more: Any) -> dict[str, Any]:
    takes_id = "session_id" in parameters(next(each for each in DOCUMENT["methods"] if each["name"] == name))
    answer = sidecar.ask(name, **READS[name], **({"session_id": "s"} if takes_id else {}), **more)
    return {key: value for key, value in answer.items() if key != "id"}


def test_each_read_of_a_session_can_ask_for_what_has_ended() -> None:
    """What only reads, and is refused for a session that is over; and lists and counts of sessions."""
    refused = {
        method["name"] for method in DOCUMENT["methods"]
        if method["x-repeatable"] and "session_id" in parameters(method)
        and any(error.get("$ref", "").endswith("/session_expired") for error in method["errors"])
    }  # fmt: skip
    lists = {"get_session", "list_sessions", "list_session_ids", "session_count"}
    assert READS.keys() == refused - {"note_log_message_ids"} | lists


@pytest.mark.parametrize("end", ENDS)
def test_what_lived_reads_the_same_after_its_end(spawn: Spawn, end: str) -> None:
    sidecar = spawn(*KEEP)
    fill(sidecar)
    living = {name: read(sidecar, name) for name in READS}
    ended = sidecar.call(end, session_id="s")
    assert ended["ended_at"] == ended["last_activity"]
    for _ in ("as it was ended", "after a sweep", "after a restart"):
        for name in READS:
            found = read(sidecar, name, include_ended=True)
            if name in ("get_session", "list_sessions"):
                record = found["result"] if name == "get_session" else found["result"]["sessions"][0]
                assert record == {key: value for key, value in ended.items() if key in record}
            else:
                assert found == living[name], name
        sidecar.call("maintenance")
        assert sidecar.call("check_integrity")["problems"] == []
        sidecar.finish()
        sidecar = spawn(*KEEP)


def test_without_the_option_no_answer_has_anything_new(spawn: Spawn) -> None:
    sidecar = spawn()
    fill(sidecar)
    record = sidecar.call("get_session", session_id="s")
    assert set(record) == {
        "session_id", "status", "user_id", "tenant_id", "principal", "client_capabilities", "server_capabilities",
        "state", "metadata", "is_initialized", "created_at", "last_activity", "expires_at", "inactivity_timeout",
        "suspended_at", "suspended_ms", "suspensions", "last_event_id", "revision",
    }  # fmt: skip
    metrics = sidecar.call("get_metrics")
    assert "ended_sessions" not in metrics and "resolved" not in metrics["sessions"]
    assert "ended_sessions" not in sidecar.call("get_metrics", format="prometheus")["text"]
    assert "retain_ended" not in sidecar.call("server_info")["limits"]
    sidecar.call("resolve_session", session_id="s")
    for name in READS:
        assert read(sidecar, name, include_ended=True) == read(sidecar, name), name
    assert sidecar.call("get_session", session_id="s", include_ended=True) is None
    assert sidecar.call("validate_session", session_id="s") == {"valid": False, "reason": "resolved"}
    assert sidecar.call("health")["session_count"] == 1
    assert sidecar.call("list_session_ids", status="resolved")["session_ids"] == ["s"]
    assert sidecar.call("expire_sessions") == {"session_ids": ["s"], "has_more": False}
    assert sidecar.call("health")["session_count"] == 0
    types = [event["type"] for event in sidecar.call("list_audit_events")["events"]]
    assert types == ["created", "resolved"]


def test_less_time_keeps_less(spawn: Spawn) -> None:
    sidecar = spawn(*KEEP)
    fill(sidecar)
    ended = sidecar.call("resolve_session", session_id="s")["ended_at"]
    sidecar.finish()
    while time.time() * 1_000 < ended + 2:
        time.sleep(0.001)
    sidecar = spawn("--retain-ended", "2ms")
    assert sidecar.call("get_session", session_id="s", include_ended=True) is None
    assert sidecar.refusal("load_log", session_id="s", include_ended=True).kind == "session_expired"
    sidecar.call("maintenance")
    assert sidecar.refusal("load_log", session_id="s", include_ended=True).kind == "session_not_found"


def test_kept_sessions_are_told_apart(spawn: Spawn, database: Path, tmp_path: Path) -> None:
    sidecar = spawn(*KEEP)
    fill(sidecar)
    sidecar.call("create_session", session_id="t", status="active")
    sidecar.call("resolve_session", session_id="s", reason="done")
    sidecar.call("maintenance")
    assert sidecar.call("health")["session_count"] == 1
    metrics = sidecar.call("get_metrics")
    assert (metrics["ended_sessions"], metrics["sessions"]["resolved"], metrics["total_sessions"]) == (1, 1, 2)
    assert "mcp_session_store_ended_sessions 1\n" in sidecar.call("get_metrics", format="prometheus")["text"]
    assert sidecar.call("server_info")["limits"]["retain_ended"] == 3_600_000
    assert sidecar.call("event_count") == {"count": 0}
    assert sidecar.call("event_count", include_ended=True) == {"count": 1}
    # Also beside it, from the shell.
    file = ("--database", str(database))
    status = json.loads(output("status", *file, *KEEP, "--json"))
    assert (status["ended_sessions"], status["sessions"]["resolved"]) == (1, 1)
    assert [each["session_id"] for each in lines(output("sessions", *file, *KEEP, "--json"))] == ["t"]
    listed = lines(output("sessions", *file, *KEEP, "--include-ended", "--json"))
    assert [(each["session_id"], each["ended_at"] is None) for each in listed] == [("s", False), ("t", True)]
    assert "an event" in output("events", "s", *file)
    page = tmp_path / "report.html"
    output("report", *file, *KEEP, "--output", str(page))
    assert "are kept for a while" in page.read_text(encoding="utf-8")
    assert "kept" in output("status", *file, *KEEP)


def test_whoever_deletes_a_user_deletes_what_is_kept(spawn: Spawn) -> None:
    sidecar = spawn(*KEEP)
    fill(sidecar)
    sidecar.call("resolve_session", session_id="s")
    exported = sidecar.call("export_user_data", user_id="ann")["records"]
    assert [next(iter(each)) for each in exported][:4] == ["session", "state", "event", "log_entry"]
    assert exported[0]["session"]["ended_at"] is not None
    assert sidecar.call("delete_user_data", user_id="ann")["sessions"] == 1
    for name in READS:
        answer = json.dumps(read(sidecar, name, include_ended=True))
        assert "an event" not in answer and "ann" not in answer
    assert sidecar.call("check_integrity")["problems"] == []


def test_another_process_sees_an_end_at_once(spawn: Spawn) -> None:
    one, other = spawn(*KEEP), spawn(*KEEP)
    fill(one)
    assert other.call("get_session", session_id="s")["ended_at"] is None
    one.call("resolve_session", session_id="s")
    assert other.call("get_session", session_id="s", include_ended=True)["status"] == "resolved"
    assert other.call("get_session", session_id="s") is None
    results = other.call("transaction", calls=[
        {"method": "get_session_state", "params": {"session_id": "s", "key": "k", "include_ended": True}},
        {"method": "create_session", "params": {"session_id": "s"}},
    ])["results"]  # fmt: skip
    assert results[0] == {"exists": True, "value": 1}
    assert one.call("get_session", session_id="s", include_ended=True)["state"] == {}


def test_a_file_without_the_option_goes_on_with_it(spawn: Spawn) -> None:
    """What was ended before stays ended, and counts are right whatever the option was."""
    sidecar = spawn()
    for name, end in zip("abc", ENDS):
        sidecar.call("create_session", session_id=name, status="active", ttl=86_400_000)
        sidecar.call(end, session_id=name)
    sidecar.finish()
    for options in (KEEP, (), KEEP):
        sidecar = spawn(*options)
        assert sidecar.call("check_integrity")["problems"] == []
        listed = sidecar.call("list_session_ids", include_ended=True)["session_ids"]
        assert "c" in listed and (options == KEEP or listed == ["c"])
        sidecar.finish()
