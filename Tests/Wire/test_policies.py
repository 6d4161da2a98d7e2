"""Legal holds and retention by tenant."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine import Place, contents
from shell import output
from sidecar import BINARY, PATIENCE, Sidecar, request

Spawn = Callable[..., Sidecar]
ADA = {"tenant_id": "acme", "principal": "ada"}
BOB = {"tenant_id": "acme", "principal": "bob"}
HELD = "held_by_legal_hold"
LIMITS = ("retain_ended", "max_events_per_session", "max_task_ttl", "max_log_entries_per_session", "audit_retention")
PEOPLE = {"ada": ADA, "bob": BOB}


def refused(sidecar: Sidecar, method: str, **params: Any) -> dict[str, Any]:
    """The error of a call."""
    error: dict[str, Any] = sidecar.ask(method, **params)["error"]
    return error


def fill(sidecar: Sidecar, name: str) -> None:
    """Something of each kind that can be deleted."""
    owner = PEOPLE[name]
    session = {"session_id": f"s-{name}"}
    sidecar.call("create_session", **session, status="active", state={"k": 1}, user_id=f"user-{name}", **owner)
    sidecar.call("store_events", **session, events=[{"data": n} for n in range(3)])
    sidecar.call("append_log_entry", **session, entry={"message_id": "m"})
    sidecar.call("create_task", task_id=f"t-{name}", **session)
    sidecar.call("put_value", collection="c", key="k", value=1, **owner)
    sidecar.call("put_event_subscription", subscription_id=f"es-{name}", topic="t", **owner)
    sidecar.call("enqueue_work", queue="q", work_id=f"w-{name}", payload=1, group=f"g-{name}", **owner)


def deletes(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Each call that deletes, in an order in which each finds something."""
    session = {"session_id": f"s-{name}"}
    return [
        ("remove_session_state", {**session, "key": "k"}),
        ("delete_events_before", {**session, "before_event_id": 3}),
        ("replace_log", {**session, "entries": [{}]}),
        ("compact_log", {**session, "checkpoint": {}}),
        ("delete_task", {"task_id": f"t-{name}"}),
        ("delete_value", {"collection": "c", "key": "k", **PEOPLE[name]}),
        ("cancel_work", {"queue": "q", "group": f"g-{name}"}),
        ("delete_event_subscription", {"subscription_id": f"es-{name}", "announce": False}),
        ("delete_session", {**session, "delete_tasks": True}),
        ("delete_user_data", {"principal": name}),
    ]


def rows(database: Path | str) -> dict[str, Any]:
    """All rows but the counters."""
    return {name: sorted(map(repr, found)) for name, found in contents(database).items() if name != "store"}


@pytest.mark.parametrize("hold", [{"principal": "ada"}, ADA], ids=["principal", "both"])
def test_no_call_deletes_what_is_held_and_others_go(
    sidecar: Sidecar, database: Path | str, hold: dict[str, str]
) -> None:
    for name in PEOPLE:
        fill(sidecar, name)
    assert sidecar.call("place_legal_hold", name="case", reason="a letter", **hold)["placed"]
    before = rows(database)
    for method, params in deletes("ada"):
        for call in ((method, params), ("transaction", {"calls": [{"method": method, "params": params}]})):
            error = refused(sidecar, call[0], **call[1])
            assert (error["code"], error["data"]["kind"], error["data"]["hold"]) == (1203, HELD, "case")
    sidecar.call("health")
    assert rows(database) == before
    # What another deletes is his, and a call that would delete both deletes neither.
    assert refused(sidecar, "delete_user_data", tenant_id="acme")["data"]["kind"] == HELD
    assert refused(sidecar, "cancel_work", queue="q", group="g-ada")["data"]["kind"] == HELD
    assert rows(database) == before
    for method, params in deletes("bob"):
        sidecar.call(method, **params)
    assert "bob" not in json.dumps(rows(database)).replace("user-bob", "").replace("s-bob", "")
    # A hold does not freeze.
    sidecar.call("set_session_state", session_id="s-ada", key="k", value=2)
    sidecar.call("put_value", collection="c", key="k", value=2, **ADA)
    assert sidecar.call("lift_legal_hold", name="case") == {"lifted": True}
    events = sidecar.call("list_audit_events", min_severity="low")["events"]
    assert [(event["type"], event["message"], event["principal"]) for event in events] == [
        ("legal_hold_placed", "case", "ada"), ("legal_hold_lifted", "case", "ada")]  # fmt: skip
    for method, params in deletes("ada"):
        sidecar.call(method, **params)


def test_a_tenant_is_held_as_a_whole(sidecar: Sidecar) -> None:
    for name in PEOPLE:
        fill(sidecar, name)
    sidecar.call("put_value", collection="c", key="k", value=1, tenant_id="other", principal="ada")
    sidecar.call("place_legal_hold", name="all", tenant_id="acme")
    for name in PEOPLE:
        assert refused(sidecar, "delete_session", session_id=f"s-{name}")["data"]["hold"] == "all"
    assert sidecar.call("delete_value", collection="c", key="k", tenant_id="other", principal="ada")["deleted"]
    # What nobody may see answers as though it were not there, held or not.
    assert not sidecar.call("delete_session", session_id="s-ada", principal="eve")["deleted"]
    # Another hold on the same keeps it when the first is lifted.
    sidecar.call("place_legal_hold", name="one", principal="ada")
    sidecar.call("lift_legal_hold", name="all")
    assert refused(sidecar, "delete_session", session_id="s-ada")["data"]["hold"] == "one"
    assert sidecar.call("delete_session", session_id="s-bob")["deleted"]


def lapse(sidecar: Sidecar, name: str) -> None:
    owner = PEOPLE[name]
    sidecar.call("create_session", session_id=f"s-{name}", ttl=1, **owner)
    sidecar.call("create_task", task_id=f"t-{name}", ttl=1, **owner)
    sidecar.call("put_value", collection="c", key="k", value=1, ttl=1, **owner)
    sidecar.call("put_event_subscription", subscription_id=f"es-{name}", topic="t", ttl=1, **owner)


def export(sidecar: Sidecar, principal: str) -> set[str]:
    records = sidecar.call("export_user_data", principal=principal, limit=1_000)["records"]
    return {kind for record in records for kind in record} - {"audit_event"}


def swept(sidecar: Sidecar) -> None:
    while sidecar.call("maintenance")["has_more"]:
        pass


def test_what_lapses_under_a_hold_is_over_and_stays(spawn: Spawn, database: Path | str) -> None:
    sidecar = spawn()
    sidecar.call("place_legal_hold", name="case", principal="ada")
    for name in PEOPLE:
        lapse(sidecar, name)
    time.sleep(0.05)
    swept(sidecar)
    assert sidecar.call("get_session", session_id="s-ada") is None
    assert sidecar.call("get_task", task_id="t-ada") is None
    assert not sidecar.call("get_value", collection="c", key="k", **ADA)["exists"]
    assert sidecar.call("get_event_subscription", subscription_id="es-ada") is None
    assert sidecar.call("list_sessions")["sessions"] == sidecar.call("list_tasks")["tasks"] == []
    assert refused(sidecar, "store_event", session_id="s-ada", data=1)["data"]["kind"] == "session_expired"
    assert export(sidecar, "ada") == {"session", "task", "value", "event_subscription"}
    # Of whose end somebody is to be told.
    assert export(sidecar, "bob") == {"event_subscription", "work"}
    status = json.loads(output("status", "--json", "--database", database))
    assert status["legal_holds"] == 1
    nothing = {"sessions": 0, "tasks": 0, "values": 0, "events": 0, "log_entries": 0, "audit_events": 0}
    assert status["held"] == nothing | {"sessions": 1, "tasks": 1, "values": 1} and status["due"] == nothing
    assert "held" in output("status", "--database", database)
    assert "1 legal holds" in output("doctor", "--database", database)
    assert "legal holds" in output("report", "--database", database, "--output", "-")
    assert sidecar.call("get_metrics")["legal_holds"] == 1
    sidecar.call("lift_legal_hold", name="case")
    swept(sidecar)
    assert export(sidecar, "ada") == {"event_subscription", "work"}


def test_every_process_obeys_from_the_next_request_on(spawn: Spawn) -> None:
    one, other = spawn(), spawn()
    for name in PEOPLE:
        fill(one, name)
    # It remembers what it has read.
    other.call("store_event", session_id="s-ada", data=1)
    for _ in range(2):
        one.call("place_legal_hold", name="case", principal="ada")
        assert refused(other, "delete_session", session_id="s-ada")["data"]["kind"] == HELD
        assert refused(other, "delete_value", collection="c", key="k", **ADA)["data"]["kind"] == HELD
        other.call("lift_legal_hold", name="case")
        assert "deleted" in one.call("delete_events_before", session_id="s-ada", before_event_id=2)
    other.call("set_retention", tenant_id="acme", max_events_per_session=2)
    one.call("store_event", session_id="s-ada", data=1)
    assert one.call("event_count", session_id="s-ada") == {"count": 2}


def test_what_is_taken_back_holds_nothing(sidecar: Sidecar) -> None:
    fill(sidecar, "ada")
    calls = [
        {"method": "place_legal_hold", "params": {"name": "case", "principal": "ada"}},
        {"method": "set_retention", "params": {"tenant_id": "acme", "max_task_ttl": 5}},
        {"method": "delete_session", "params": {"session_id": "s-ada"}},
    ]
    error = refused(sidecar, "transaction", calls=calls)
    assert (error["data"]["kind"], error["data"]["call_index"]) == (HELD, 2)
    assert sidecar.call("list_legal_holds")["holds"] == sidecar.call("list_retention")["tenants"] == []
    assert sidecar.call("delete_session", session_id="s-ada")["deleted"]


def test_a_session_that_its_group_has_made_is_there_behind_a_new_hold(sidecar: Sidecar) -> None:
    """A hold makes all that is remembered of sessions unsure. On a server it was then still known that, when the group
    began, there was none of that id."""
    for number in range(20):
        session, hold = f"s{number}", f"h{number}"
        sidecar.send(
            request("create_session", "made", session_id=session),
            request("place_legal_hold", "held", name=hold, principal="nobody"),
            request("store_event", "stored", session_id=session, data=number),
            request("lift_legal_hold", "lifted", name=hold),
            request("get_session", "read", session_id=session),
        )
        answers = {answer["id"]: answer for answer in (sidecar.receive_answer() for _ in range(5))}
        assert answers["stored"]["result"]["id"] == 1 and answers["read"]["result"]["session_id"] == session, answers


def test_holds_and_retention_are_listed_dumped_and_loaded(spawn: Spawn, database: Path | str, place: Place) -> None:
    sidecar = spawn()
    for number in range(5):
        sidecar.call("place_legal_hold", name=f"h-{number}", principal=f"p-{number}")
        sidecar.call("set_retention", tenant_id=f"t-{number}", max_events_per_session=number)
    sidecar.call("set_retention", tenant_id="t-4")
    page = sidecar.call("list_legal_holds", limit=3)
    assert [hold["name"] for hold in page["holds"]] == ["h-0", "h-1", "h-2"]
    rest = sidecar.call("list_legal_holds", cursor=page["next_cursor"])
    assert [hold["name"] for hold in rest["holds"]] == ["h-3", "h-4"] and rest["next_cursor"] is None
    tenants = sidecar.call("list_retention")["tenants"]
    assert [(row["tenant_id"], row["max_events_per_session"]) for row in tenants] == [
        ("t-0", 0), ("t-1", 1), ("t-2", 2), ("t-3", 3)]  # fmt: skip
    assert set(tenants[0]) == {"tenant_id", *LIMITS}
    nothing = dict.fromkeys(LIMITS)
    assert sidecar.call("get_retention", tenant_id="t-4") == {"tenant_id": "t-4", **nothing, "effective": nothing | {
        "retain_ended": 0, "max_events_per_session": 10_000, "max_log_entries_per_session": 0, "audit_retention": 0,
    }}  # fmt: skip
    several = {"max_events_per_session": 1, "max_task_ttl": 2, "max_log_entries_per_session": 3, "audit_retention": 4}
    assert sidecar.call("set_retention", tenant_id="t-0", **several) == {"tenant_id": "t-0", **nothing, **several}
    assert sidecar.call("get_retention", tenant_id="t-0")["effective"] == nothing | several | {"retain_ended": 0}
    (last,) = sidecar.call("list_audit_events", type="retention_set", limit=1_000)["events"][-1:]
    assert last["message"] == " ".join(f"{name}={value}" for name, value in several.items())
    fill(sidecar, "ada")
    sidecar.call("place_legal_hold", name="case", principal="ada")
    sidecar.finish()
    dump = output("dump", "--database", database)
    copy = place("copy")
    subprocess.run([BINARY, "load", "--database", str(copy)], input=dump.encode(), check=True, timeout=PATIENCE)
    assert output("dump", "--database", copy) == dump
    other = spawn(database=copy)
    assert refused(other, "delete_session", session_id="s-ada")["data"]["hold"] == "case"
    assert len(other.call("list_legal_holds")["holds"]) == 6


def test_what_is_wrong_is_named(sidecar: Sidecar) -> None:
    assert refused(sidecar, "place_legal_hold", name="n")["data"]["parameter"] == "tenant_id"
    assert refused(sidecar, "set_retention", tenant_id="t", retain_ended=5)["data"]["parameter"] == "retain_ended"
    assert refused(sidecar, "set_retention", tenant_id="t", max_task_ttl=0)["data"]["parameter"] == "max_task_ttl"
    sidecar.call("place_legal_hold", name="n", principal="p")
    assert refused(sidecar, "place_legal_hold", name="n", principal="q")["data"]["parameter"] == "name"
    assert sidecar.call("lift_legal_hold", name="other") == {"lifted": False}
    for type in ("legal_hold_placed", "legal_hold_lifted", "retention_set"):
        assert refused(sidecar, "record_security_event", type=type, severity="low")["data"]["parameter"] == "type"


def test_an_archive_leaves_what_is_held(spawn: Spawn, database: Path | str, tmp_path: Path) -> None:
    sidecar = spawn("--retain-ended", "1h")
    for name, owner in PEOPLE.items():
        sidecar.call("create_session", session_id=f"s-{name}", status="active", **owner)
        sidecar.call("expire_session", session_id=f"s-{name}")
    sidecar.call("place_legal_hold", name="case", principal="ada")
    time.sleep(0.01)
    output("archive", "--database", database, "--before", "0", "--to", tmp_path / "archive.gz")
    ids = sidecar.call("list_session_ids", include_ended=True)["session_ids"]
    assert ids == ["s-ada"]


# --- The log and the audit trail by tenant


def entries(sidecar: Sidecar, session_id: str, **params: Any) -> list[int]:
    return [one["seq"] for one in sidecar.call("load_log", session_id=session_id, **params)["entries"]]


def test_a_log_keeps_the_newest_entries_as_its_tenant_says(
    spawn: Spawn, database: Path | str, place: Place
) -> None:
    """In a group of many, in groups of one, in two processes, in an export and through a dump."""
    one, other = spawn("--max-log-entries-per-session", "5"), spawn("--max-log-entries-per-session", "5")
    assert one.call("server_info")["limits"]["max_log_entries_per_session"] == 5
    one.call("set_retention", tenant_id="acme", max_log_entries_per_session=3)
    for session, owner in (("s", ADA), ("usual", {"tenant_id": "other", "principal": "ada"})):
        one.call("create_session", session_id=session, status="active", **owner)
        several = [request("append_log_entry", number, session_id=session,
                           entry={"message_id": f"m-{number}", "n": number}) for number in range(1, 11)]  # fmt: skip
        one.send(*several)
        for _ in several:
            one.receive_answer()
        # The row that they lie in holds others as well.
        assert entries(one, session) == (list(range(8, 11)) if session == "s" else list(range(6, 11)))
        for number in (11, 12):
            other.call("append_log_entry", session_id=session, entry={"message_id": f"m-{number}", "n": number})
            assert other.call("append_log_entry", session_id=session, entry={"message_id": "m-1"})["duplicate"]
    assert entries(one, "s") == [10, 11, 12] and one.call("load_log", session_id="s")["oldest_seq"] == 10
    assert entries(one, "s", after_seq=4, limit=2) == [10, 11]
    records = [record["log_entry"] for limit in (1, 2, 1_000)
               for record in pages(one, limit) if "log_entry" in record]  # fmt: skip
    assert [record["entry"]["n"] for record in records] == 3 * [10, 11, 12, 8, 9, 10, 11, 12]
    assert one.call("check_integrity")["ok"]
    one.finish()
    other.finish()
    dump = output("dump", "--database", database)
    assert [json.loads(line)["log_entry"]["entry"]["n"] for line in dump.split("\n") if line.startswith('{"log_e')] == [
        10, 11, 12, 8, 9, 10, 11, 12]  # fmt: skip
    copy = place("copy")
    subprocess.run([BINARY, "load", "--database", str(copy)], input=dump.encode(), check=True, timeout=PATIENCE)
    assert output("dump", "--database", copy) == dump
    loaded = spawn(database=copy)
    assert entries(loaded, "s") == [10, 11, 12] and loaded.call("check_integrity")["ok"]
    for number in range(1, 13):
        seq = loaded.call("append_log_entry", session_id="s", entry={"message_id": f"m-{number}"})
        assert (seq["seq"], seq["duplicate"]) == (number, True)
    loaded.call("append_log_entry", session_id="s", entry={"message_id": "m-13"})
    assert entries(loaded, "s") == [11, 12, 13]


def pages(sidecar: Sidecar, limit: int) -> list[dict[str, Any]]:
    """An export in pages of so many."""
    records: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = sidecar.call("export_user_data", principal="ada", limit=limit, **({"cursor": cursor} if cursor else {}))
        records += page["records"]
        cursor = page["next_cursor"]
        if cursor is None:
            return records


def test_sweeps_obey_a_retention_that_is_new(spawn: Spawn, database: Path | str) -> None:
    sidecar = spawn()
    for name, owner in PEOPLE.items():
        sidecar.call("create_session", session_id=f"s-{name}", status="active", **owner)
        sidecar.call("store_events", session_id=f"s-{name}", events=[{"data": n} for n in range(6)])
        sidecar.call("replace_log", session_id=f"s-{name}", entries=[{"message_id": f"m-{n}"} for n in range(6)])
    sidecar.call("place_legal_hold", name="case", principal="ada")
    sidecar.call("set_retention", tenant_id="acme", max_events_per_session=2, max_log_entries_per_session=1)
    status = json.loads(output("status", "--json", "--database", database))
    nothing = {"sessions": 0, "tasks": 0, "values": 0, "audit_events": 0}
    assert status["due"] == status["held"] == nothing | {"events": 4, "log_entries": 5}
    assert "4 events, 5 log entries" in output("status", "--database", database)
    assert "due for a sweep" in output("report", "--database", database, "--output", "-")
    swept(sidecar)
    status = json.loads(output("status", "--json", "--database", database))
    assert status["due"] == nothing | {"events": 0, "log_entries": 0}
    assert status["held"] == nothing | {"events": 4, "log_entries": 5}
    assert [entries(sidecar, f"s-{name}") for name in PEOPLE] == [[1, 2, 3, 4, 5, 6], [6]]
    assert [sidecar.call("event_count", session_id=f"s-{name}")["count"] for name in PEOPLE] == [6, 2]
    assert refused(sidecar, "replace_log", session_id="s-ada", entries=[])["data"]["kind"] == HELD
    sidecar.call("append_log_entry", session_id="s-ada", entry={})
    assert entries(sidecar, "s-ada") == [1, 2, 3, 4, 5, 6, 7]
    sidecar.call("lift_legal_hold", name="case")
    swept(sidecar)
    assert entries(sidecar, "s-ada") == [7] and sidecar.call("event_count", session_id="s-ada")["count"] == 2
    assert sidecar.call("check_integrity")["ok"]


def created(sidecar: Sidecar) -> list[str]:
    events = sidecar.call("list_audit_events", type="created", limit=1_000)["events"]
    return sorted(event["session_id"] for event in events)


def test_audit_events_are_erased_at_the_age_that_their_tenant_says(
    spawn: Spawn, database: Path | str, place: Place
) -> None:
    sidecar = spawn("--audit-retention", "1h")
    sidecar.call("set_retention", tenant_id="acme", audit_retention=1)
    sidecar.call("place_legal_hold", name="case", principal="ada")
    owners = {**PEOPLE, "other": {"tenant_id": "other"}, "nobody": {}}
    for name, owner in owners.items():
        sidecar.call("create_session", session_id=f"s-{name}", **owner)
    head = sidecar.call("get_audit_head")["head"] if isinstance(database, Path) else None
    time.sleep(0.05)
    status = json.loads(output("status", "--json", "--audit-retention", "1h", "--database", database))
    assert status["due"]["audit_events"] == 2 and status["held"]["audit_events"] == 1
    swept(sidecar)
    assert created(sidecar) == ["s-ada", "s-nobody", "s-other"]
    found = sidecar.call("check_integrity", **({"expected_head": head} if head else {}))
    assert found["ok"], found["problems"]
    if head:
        both = found["audit"]["chains"]
        assert [(chain["erased"], chain["expected_head"]) for chain in both] == [(1, "extended"), (1, "extended")]
    sidecar.finish()
    dump = output("dump", "--database", database)
    assert "s-bob" not in "".join(line for line in dump.split("\n") if line.startswith('{"audit_event"'))
    copy = place("copy")
    subprocess.run([BINARY, "load", "--database", str(copy)], input=dump.encode(), check=True, timeout=PATIENCE)
    assert output("dump", "--database", copy) == dump
    if head:
        assert isinstance(database, Path)
        with closing(sqlite3.connect(database)) as file:
            file.execute("UPDATE audit_events SET type = 'created' WHERE type = 'erased'")
            file.commit()
        broken = spawn().call("check_integrity")
        assert not broken["ok"] and any("is broken at event" in problem for problem in broken["problems"])
    # What comes after an event was erased is chained behind it.
    loaded = spawn("--audit-retention", "1ms", database=copy)
    loaded.call("lift_legal_hold", name="case")
    time.sleep(0.05)
    swept(loaded)
    # What is older than a millisecond by now, and is not held.
    assert created(loaded) == []
    assert loaded.call("check_integrity")["ok"]
