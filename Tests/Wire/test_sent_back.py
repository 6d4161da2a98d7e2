"""What was read before and is sent back, ids that are used again, and numbers at the end of what JSON carries."""

from __future__ import annotations

import time
from typing import Any

LATEST = 9_007_199_254_740_991


def test_a_record_that_is_sent_back_keeps_the_session_alive(spawn: Any) -> None:
    sidecar = spawn()
    sidecar.call("create_session", session_id="s", status="active")
    record = sidecar.call("get_session", session_id="s")
    time.sleep(0.005)
    touched = sidecar.call("touch_session", session_id="s")
    assert touched["last_activity"] > record["last_activity"]
    saved = sidecar.call("update_session", session=record, if_revision=record["revision"])
    assert saved["last_activity"] >= touched["last_activity"]
    moved = sidecar.call("update_session", session={"session_id": "m", "last_activity": 5}, upsert=True)
    assert moved["last_activity"] == 5
    later = saved["last_activity"] + 60_000
    assert sidecar.call("update_session", session={**saved, "last_activity": later})["last_activity"] == later


def test_a_whole_state_over_the_limit_of_a_payload_can_be_sent_back(spawn: Any) -> None:
    sidecar = spawn()
    sidecar.call("create_session", session_id="s", status="active")
    for key in ("a", "b"):
        sidecar.call("set_session_state", session_id="s", key=key, value="x" * 700_000)
    record = sidecar.call("get_session", session_id="s")
    assert sidecar.call("update_session", session=record)["state"] == record["state"]
    sidecar.call("delete_session", session_id="s")
    assert sidecar.call("create_session", session_id="s", state=record["state"])["state"] == record["state"]


def test_times_at_the_end_are_answered_and_taken_back(spawn: Any) -> None:
    sidecar = spawn("--log-dedup-window", "9007199254740991")
    made = sidecar.call(
        "create_session", session_id="s", status="active", created_at=LATEST, last_activity=LATEST, ttl=LATEST,
        inactivity_timeout=LATEST,
    )  # fmt: skip
    assert made["expires_at"] == LATEST
    assert sidecar.call("update_session", session=made)["expires_at"] == LATEST
    for number in range(300):
        sidecar.call("append_log_entry", session_id="s", entry={"message_id": f"m-{number}"})
    metrics = sidecar.call("get_metrics")
    assert metrics["total_sessions"] == 1
    sidecar.call("suspend_session", session_id="s")
    assert sidecar.call("resume_session", session_id="s")["expires_at"] == LATEST


def test_an_id_that_is_used_again_has_no_tasks(spawn: Any) -> None:
    sidecar = spawn()
    sidecar.call("create_session", session_id="s", status="active", principal="alice")
    sidecar.call("create_task", task_id="t", session_id="s", principal="alice")
    sidecar.call("delete_session", session_id="s", principal="alice")
    assert [task["task_id"] for task in sidecar.call("list_tasks_for_session", session_id="s")["tasks"]] == ["t"]
    sidecar.call("create_session", session_id="s", status="active", principal="bob")
    assert sidecar.call("list_tasks_for_session", session_id="s")["tasks"] == []
    assert sidecar.call("task_count", session_id="s") == {"count": 0}
    assert sidecar.call("get_task", task_id="t", session_id="s") is None
    assert sidecar.call("subscribe_tasks", session_id="s")["tasks"] == []
    assert sidecar.call("delete_session", session_id="s", delete_tasks=True)["tasks"] == 0
    assert sidecar.call("get_task", task_id="t")["principal"] == "alice"


def test_the_end_of_a_session_is_told_for_what_it_was(spawn: Any) -> None:
    sidecar = spawn()
    sidecar.call("create_session", session_id="s", status="active")
    for how in ("expired", "deleted"):
        if how == "deleted":
            sidecar.call("create_session", session_id="s", status="active")
        sidecar.call("subscribe_events", session_id="s")
        if how == "expired":
            sidecar.call("expire_sessions", older_than=LATEST)
        else:
            sidecar.call("delete_session", session_id="s")
        ended = sidecar.receive_notification()
        assert (ended["method"], ended["params"]["reason"]) == ("ended", how)
