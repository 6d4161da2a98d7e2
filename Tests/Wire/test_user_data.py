"""export_user_data and delete_user_data: all of one, nothing of the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine import contents
from shell import output
from sidecar import Sidecar, request

PEOPLE = ("ada", "bob")


def fill(sidecar: Sidecar, name: str) -> None:
    """Everything that can be bound to somebody, each with a word that is nobody else's."""
    word = f"canary-of-{name}"
    owners = {"tenant_id": f"tenant-{name}", "principal": f"principal-{name}"}
    session = f"session-{word}"
    sidecar.call(
        "create_session", session_id=session, user_id=f"user-{name}", status="active", state={"k": word},
        metadata={"m": word}, **owners,
    )  # fmt: skip
    sidecar.call("store_events", session_id=session, events=[{"data": word, "stream_id": word}] * 5)
    sidecar.call("delete_events_before", session_id=session, before_event_id=3)
    for number in range(3):
        sidecar.call("append_log_entry", session_id=session, entry={"message_id": f"{word}-{number}", "sender": word})
    sidecar.call("validate_session", session_id=session, ip_address=word, user_agent=word)
    sidecar.call("validate_session", session_id=session, ip_address=word + "2")
    # Small ones stand in the task's own record, large ones in records of their own.
    large = word * 50
    sidecar.call("create_task", task_id=f"task-{word}", session_id=session, original_params=large, meta=word)
    sidecar.call("create_task", task_id=f"own-task-{word}", original_params=word, meta=large, **owners)
    for task in (f"task-{word}", f"own-task-{word}"):
        sidecar.call("enqueue_task_message", task_id=task, message=word)
    sidecar.call("put_value", collection="c", key=word, value=word, **owners)
    for number in range(2):
        sidecar.call(
            "enqueue_work", queue="q", work_id=f"{word}-{number}", payload=word, group=word, max_attempts=3, **owners)
    sidecar.call(
        "put_event_subscription", subscription_id=word, topic="t", data=word, secret=f"secret-{name}", **owners)
    sidecar.call("enqueue_work", queue="q", work_id=f"{word}-told", payload=word, subscription_id=word)
    sidecar.call("consume_nonce", nonce=word, ttl=3_600_000, principal=owners["principal"])
    sidecar.call("record_security_event", session_id=session, type="session_auth", severity="low", message=word)
    gone = f"gone-{word}"
    sidecar.call("create_session", session_id=gone, user_id=f"user-{name}", **owners)
    sidecar.call("delete_session", session_id=gone)


@pytest.fixture
def people(spawn: Callable[..., Sidecar]) -> Sidecar:
    sidecar = spawn()
    for name in PEOPLE:
        fill(sidecar, name)
    return sidecar


def export(sidecar: Sidecar, **selector: Any) -> list[dict[str, Any]]:
    records, cursor = [], None
    while True:
        page = sidecar.call("export_user_data", cursor=cursor, **selector)
        records += page["records"]
        cursor = page["next_cursor"]
        if cursor is None:
            return records


OWNERS = {"tenant_id": "tenant-ada", "principal": "principal-ada"}
SELECTORS: list[dict[str, str]] = [
    {"user_id": "user-ada"}, {"principal": "principal-ada"}, {"tenant_id": "tenant-ada"}, OWNERS,
    {"user_id": "user-ada", **OWNERS},
]  # fmt: skip


@pytest.mark.parametrize("selector", SELECTORS, ids=" ".join)
def test_an_export_has_all_of_one_and_nothing_of_the_other(people: Sidecar, selector: dict[str, str]) -> None:
    records = export(people, **selector)
    kinds: dict[str, int] = {}
    for record in records:
        (kind,) = record
        kinds[kind] = kinds.get(kind, 0) + 1
    expected = {
        "session": 1, "state": 1, "event": 3, "log_entry": 3, "log_participant": 1, "task": 1, "task_payload": 1,
        "task_message": 1, "audit_event": 5,
    }  # fmt: skip
    if "principal" in selector or "tenant_id" in selector:
        expected |= {"task": 2, "task_payload": 2, "task_message": 2, "value": 1, "event_subscription": 1, "work": 3}
    if "principal" in selector:
        expected |= {"nonce": 1}
    assert kinds == expected
    text = json.dumps(records)
    assert "-bob" not in text and "canary-of-ada" in text
    # No record twice, in whatever pages.
    assert len({json.dumps(record) for record in records}) == len(records)
    for limit in (1, 2, 7):
        assert export(people, limit=limit, **selector) == records


def test_pages_end_at_the_limit_of_an_answer(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--max-result-bytes", "65536", "--max-payload-bytes", "60000", "--max-state-bytes", "60000")
    sidecar.call("create_session", session_id="s", principal="ada")
    for number in range(5):
        sidecar.call("store_event", session_id="s", data="x" * 50_000)
    records = export(sidecar, principal="ada", limit=1_000)
    assert [next(iter(record)) for record in records] == ["session", *["event"] * 5, "audit_event"]


def test_a_cursor_outlives_what_it_stands_on(people: Sidecar) -> None:
    first = people.call("export_user_data", principal="principal-ada", limit=3)
    people.call("delete_events_before", session_id="session-canary-of-ada", before_event_id=6)
    rest = people.call("export_user_data", principal="principal-ada", cursor=first["next_cursor"], limit=100)
    assert [next(iter(record)) for record in rest["records"]][0] == "log_entry"
    for cursor in ("nonsense", "99.0.0.", "-1.0.0.", "0.0.0", "00.1.1.", "s-1"):
        assert people.refusal("export_user_data", principal="x", cursor=cursor).kind == "invalid_cursor"


@pytest.mark.parametrize("selector", SELECTORS[1:], ids=" ".join)
def test_deleting_leaves_nothing_of_one_and_all_of_the_other(
    people: Sidecar, database: Path, selector: dict[str, str]
) -> None:
    before = export(people, principal="principal-bob")
    people.call("subscribe_events", session_id="session-canary-of-ada")
    deleted = people.call("delete_user_data", **selector)
    ended = people.receive_notification()
    assert (ended["method"], ended["params"]["reason"]) == ("ended", "deleted")
    nonces = 1 if "principal" in selector else 0
    assert deleted == {
        "sessions": 1, "events": 3, "log_entries": 3, "tasks": 2, "values": 1, "event_subscriptions": 1,
        "work": 3, "nonces": nonces,
        "audit_events": 5,
    }  # fmt: skip
    assert export(people, **selector) == []
    assert export(people, principal="principal-bob") == before
    assert people.call("check_integrity")["problems"] == []
    people.finish()
    for table, rows in contents(database).items():
        if table != "nonces" or nonces:
            assert "canary-of-ada" not in repr(rows), table


def test_deleting_again_finds_nothing(people: Sidecar) -> None:
    people.call("delete_user_data", user_id="user-ada")
    assert set(people.call("delete_user_data", user_id="user-ada").values()) == {0}


def test_somebody_must_be_named(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--require-owner")
    for method in ("export_user_data", "delete_user_data"):
        assert sidecar.refusal(method).data["parameter"] == "user_id"
        assert sidecar.refusal(method, user_id=None, principal=None).data["parameter"] == "user_id"
    # An owner need not be named beside a user: it would be looked for.
    assert sidecar.call("export_user_data", user_id="nobody") == {"records": [], "next_cursor": None}


def test_what_was_not_used_is_in_no_export_and_no_dump(spawn: Callable[..., Sidecar], database: Path | str) -> None:
    """On a server a nonce and the key of a rate limit are locked by a row, which stays when a group commits without
    having used it."""
    sidecar = spawn()
    sidecar.send(
        request("put_value", 1, collection="c", key="k", value=1, principal="ada"),
        request("transaction", 2, calls=[
            {"method": "delete_value", "params": {"collection": "c", "key": "absent"}, "require": True},
            {"method": "consume_nonce", "params": {"nonce": "unused", "ttl": 60_000, "principal": "ada"}},
            {"method": "check_rate_limit", "params": {"key": "unused", "limit": 1, "window": 60_000}},
        ]),
        request("consume_nonce", 3, nonce="used", ttl=60_000, principal="ada"),
        request("check_rate_limit", 4, key="used", limit=1, window=60_000),
    )  # fmt: skip
    answers = {answer["id"]: answer for answer in (sidecar.receive() for _ in range(4))}
    assert answers[2]["error"]["data"]["kind"] == "requirement_failed"
    assert answers[3]["result"] == {"first": True} and answers[4]["result"]["allowed"]
    found = [record["nonce"]["nonce"] for record in export(sidecar, principal="ada") if "nonce" in record]
    assert found == ["used"]
    sidecar.finish()
    lines = [json.loads(line) for line in output("dump", "--database", database).splitlines()]
    assert [line["nonce"]["nonce"] for line in lines if "nonce" in line] == ["used"]
    assert [line["rate_limit"]["key"] for line in lines if "rate_limit" in line] == ["used"]
