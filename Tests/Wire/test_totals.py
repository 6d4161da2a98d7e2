"""Running totals: what a process has done since it began, in figures that never fall back."""

from __future__ import annotations

import re
from collections.abc import Callable

from sidecar import Refused, Sidecar


def totals(sidecar: Sidecar) -> dict[str, int]:
    return dict(sidecar.call("get_metrics")["totals"])


def exposed(sidecar: Sidecar) -> dict[str, int]:
    text = sidecar.call("get_metrics", format="prometheus")["text"]
    return {name: int(value) for name, value in re.findall(r"^mcp_session_store_(\w+) (\d+)$", text, re.MULTILINE)}


def test_totals_count_what_was_committed_and_never_fall_back(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--max-events-per-session", "3")
    assert set(totals(sidecar).values()) == {0}
    sidecar.call("create_session", session_id="s")
    for number in range(5):
        sidecar.call("store_event", session_id="s", data=number)
    sidecar.call("create_task", task_id="t")
    sidecar.call("append_log_entry", session_id="s", entry={"n": 1})
    sidecar.call("enqueue_work", queue="q", work_id="w", payload=1)
    (item,) = sidecar.call("claim_work", queue="q")["work"]
    sidecar.call("settle_work", queue="q", work_id="w", fence=item["fence"], outcome="done")
    before = totals(sidecar)
    assert before == {
        "sessions_created": 1, "sessions_removed": 0, "events_stored": 5, "event_bytes_stored": 5, "events_evicted": 2,
        "tasks_created": 1, "tasks_removed": 0, "log_entries_appended": 1,
        "work_enqueued": 1, "work_claimed": 1, "work_done": 1, "work_dead": 0,
    }  # fmt: skip
    sidecar.call("delete_task", task_id="t")
    sidecar.call("delete_session", session_id="s")
    assert totals(sidecar) == before | {"sessions_removed": 1, "tasks_removed": 1}
    shown = exposed(sidecar)
    assert {name: shown[f"{name}_total"] for name in before} == totals(sidecar)
    sidecar.finish()
    assert set(totals(spawn()).values()) == {0}  # of this process


def test_what_is_refused_does_not_count(sidecar: Sidecar) -> None:
    create = {"method": "create_session", "params": {"session_id": "s"}}
    for calls in ([create, create], [create, {"method": "store_event", "params": {"session_id": "x", "data": 1}}]):
        try:
            sidecar.call("transaction", calls=calls)
        except Refused:
            pass
    assert set(totals(sidecar).values()) == {0}


def test_counters_are_named_as_prometheus_wants(sidecar: Sidecar) -> None:
    text = sidecar.call("get_metrics", format="prometheus")["text"]
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE))
    assert kinds and all(name.endswith("_total") == (kind == "counter") for name, kind in kinds.items()), kinds


def test_times_at_the_end_of_their_range_end_nothing(spawn: Callable[..., Sidecar]) -> None:
    """Not now, and not after a restart."""
    sidecar = spawn()
    sidecar.call("create_session", last_activity=2**53 - 1)
    for _ in range(2):
        shown = exposed(sidecar)
        assert shown["sessions_created_today"] == 1
        assert sidecar.call("get_metrics")["average_session_duration"] > 0
        assert sidecar.call("health")["status"] == "healthy"
        sidecar.finish()
        sidecar = spawn()
