"""get_metrics: counts that are true, latencies in bounded memory, and text that Prometheus can read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from sidecar import Sidecar, converse, request


def some_work(sidecar: Sidecar) -> None:
    sidecar.call("create_session", session_id="s", status="active", user_id='quo"te\\')
    for number in range(10):
        sidecar.call("store_event", session_id="s", data=number)
    for _ in range(3):
        assert sidecar.refusal("store_event", session_id="none", data=0).kind == "session_not_found"
    sidecar.refusal("no_such_method")
    sidecar.call("create_task", task_id="t")
    sidecar.call("put_value", collection="c", key="k", value=1)
    sidecar.call("append_log_entry", session_id="s", entry={})
    sidecar.call("record_security_event", type="session_auth", severity="low")


def test_the_counts_are_those_of_the_store_and_of_this_process(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn()
    some_work(sidecar)
    told = sidecar.call("get_metrics")
    expected = {
        "total_sessions": 1, "active_sessions": 1, "expired_sessions": 0, "events": 10, "values": 1, "log_entries": 1,
        "lifecycle_events": 1, "security_events": 1, "subscriptions": 0, "requests": 19, "errors": 4,
    }  # fmt: skip
    assert {name: told[name] for name in expected} == expected
    assert told["sessions"] == {"pending": 0, "active": 1, "suspended": 0, "expired": 0, "invalidated": 0}
    assert told["tasks"]["working"] == 1
    assert told["methods"]["store_event"].items() >= {"requests": 13, "errors": 3}.items()
    # What is no method is one entry, however it is called.
    assert told["methods"]["unknown"].items() >= {"requests": 1, "errors": 1}.items()
    assert told["total_bytes_transferred"] == told["bytes_received"] + told["bytes_sent"] > 1_000
    assert told["database_bytes"] > 0 and told["memory_usage"] > 1 << 20
    for method in (*told["methods"].values(), told["commits"]):
        assert 0 <= method["p50_us"] <= method["p99_us"]
    assert told["commits"]["requests"] >= 14 and told["commits"]["largest_group"] >= 1
    # Another process begins to count anew; the store does not.
    sidecar.finish()
    told = spawn().call("get_metrics")
    assert (told["events"], told["requests"], told["methods"]) == (10, 0, {})


def test_grouping_is_not_seen_in_the_counts() -> None:
    requests: list[Any] = [request("create_session", 0, session_id="s")]
    requests += [request("store_event", number, session_id="s", data=number) for number in range(1, 200)]
    requests += [request("get_session", 200, session_id="s"), request("get_metrics", 201)]
    last = json.loads(converse(*requests)[-1])["result"]
    assert (last["requests"], last["events"]) == (201, 199)
    assert {name: method["requests"] for name, method in last["methods"].items()} == {
        "create_session": 1, "store_event": 199, "get_session": 1,
    }  # fmt: skip
    assert last["commits"]["requests"] <= 201


def test_what_is_taken_back_is_not_counted(sidecar: Sidecar) -> None:
    kept = {"sessions": "total_sessions", "events": "events", "values": "values", "log_entries": "log_entries"}
    calls = [
        {"method": "create_session", "params": {"session_id": "s", "status": "active"}},
        {"method": "store_event", "params": {"session_id": "s", "data": 0}},
        {"method": "create_task", "params": {"task_id": "t"}},
        {"method": "put_value", "params": {"collection": "c", "key": "k", "value": 1}},
        {"method": "append_log_entry", "params": {"session_id": "s", "entry": {}}},
        {"method": "store_event", "params": {"session_id": "none", "data": 0}},
    ]
    assert sidecar.refusal("transaction", calls=calls).kind == "session_not_found"
    told = sidecar.call("get_metrics")
    assert {told[name] for name in kept.values()} == {0} and not any(told["tasks"].values())
    assert sidecar.call("check_integrity")["ok"]


def test_memory_does_not_grow_with_what_is_counted(sidecar: Sidecar) -> None:
    sidecar.send(*[{"jsonrpc": "2.0", "id": number, "method": f"unknown_{number}"} for number in range(3_000)])
    for _ in range(3_000):
        sidecar.receive()
    methods = sidecar.call("get_metrics")["methods"]
    assert {name: method["requests"] for name, method in methods.items()} == {"unknown": 3_000}


def test_prometheus_can_read_it(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn()
    some_work(sidecar)
    told = sidecar.call("get_metrics", format="prometheus")
    assert told["content_type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(told["text"])}
    assert all(name.startswith("mcp_session_store_") and family.documentation for name, family in families.items())
    kinds = {name.removeprefix("mcp_session_store_"): family.type for name, family in families.items()}
    assert kinds["sessions"] == "gauge" and kinds["requests"] == "counter"
    assert kinds["request_duration_seconds"] == kinds["commit_duration_seconds"] == "histogram"

    def value(name: str, **labels: str) -> float:
        found = [
            sample.value
            for family in families.values()
            for sample in family.samples
            if sample.name == f"mcp_session_store_{name}" and sample.labels == labels
        ]
        assert len(found) == 1, (name, labels)
        return found[0]

    assert value("sessions", status="active") == 1
    assert value("tasks", status="working") == 1
    assert value("events") == 10
    assert value("audit_events", ring="security") == 1
    assert value("requests_total", method="store_event") == 13
    assert value("request_errors_total", method="store_event") == 3
    for name, labels in (
        ("request_duration_seconds", {"method": "store_event"}), ("commit_duration_seconds", {}),
    ):  # fmt: skip
        buckets = [
            (float(sample.labels["le"]), sample.value)
            for sample in families[f"mcp_session_store_{name}"].samples
            if sample.name.endswith("_bucket") and sample.labels.items() >= labels.items()
        ]
        # Cumulative, in order, and the last one holds all.
        assert [edge for edge, _ in buckets] == sorted(edge for edge, _ in buckets)
        assert [count for _, count in buckets] == sorted(count for _, count in buckets)
        assert buckets[-1] == (float("inf"), value(f"{name}_count", **labels))
        assert value(f"{name}_sum", **labels) > 0
