"""Leased work: queues, groups, fences, attempts, tombstones, and what wakes a worker."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from sidecar import PATIENCE, Refused, Sidecar

HOUR = 3_600_000


def enqueue(sidecar: Sidecar, *ids: str, queue: str = "q", **more: Any) -> None:
    for work_id in ids:
        assert sidecar.call("enqueue_work", queue=queue, work_id=work_id, payload={"is": work_id}, **more) == {
            "stored": True, "status": "waiting"}  # fmt: skip


def claim(sidecar: Sidecar, limit: int = 1, queue: str = "q", **more: Any) -> list[dict[str, Any]]:
    return sidecar.call("claim_work", queue=queue, limit=limit, **{"lease": HOUR} | more)["work"]


def ids(work: list[dict[str, Any]]) -> list[str]:
    return [item["work_id"] for item in work]


def settle(sidecar: Sidecar, item: dict[str, Any], outcome: str = "done", **more: Any) -> dict[str, Any]:
    return sidecar.call(
        "settle_work", queue=item["queue"], work_id=item["work_id"], fence=item["fence"], outcome=outcome,
        **more)  # fmt: skip


def renew(sidecar: Sidecar, item: dict[str, Any], lease: int = HOUR) -> dict[str, Any]:
    return sidecar.call(
        "renew_work", queue=item["queue"], work_id=item["work_id"], fence=item["fence"], lease=lease)  # fmt: skip


def listed(sidecar: Sidecar, **more: Any) -> dict[str, str]:
    return {item["work_id"]: item["status"] for item in sidecar.call("list_work", limit=1_000, **more)["work"]}


def eventually(claims: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What a claim gives once it gives something."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if work := claims():
            return work
        time.sleep(0.01)
    raise AssertionError("nothing came back")


def test_work_goes_through_its_queue_once(sidecar: Sidecar) -> None:
    enqueue(sidecar, "a", "b")
    enqueue(sidecar, "elsewhere", queue="r")
    first, second = claim(sidecar, 10, worker="w-1")
    assert (first["work_id"], first["payload"], first["status"], first["attempt"], first["worker"]) == (
        "a", {"is": "a"}, "leased", 1, "w-1")  # fmt: skip
    assert second["fence"] > first["fence"]
    assert claim(sidecar) == []
    assert settle(sidecar, first) == {"held": True, "repeated": False, "status": "done", "watermark": None}
    assert listed(sidecar, queue="q") == {"a": "done", "b": "leased"}
    assert sidecar.call("list_work", queue="q", status="done")["work"][0]["payload"] is None
    assert ids(claim(sidecar, queue="r")) == ["elsewhere"]


def test_what_is_known_is_not_enqueued_again(sidecar: Sidecar) -> None:
    def again(**more: Any) -> dict[str, Any]:
        return sidecar.call("enqueue_work", queue="q", work_id="a", payload=1, **more)

    enqueue(sidecar, "a", principal="ada")
    assert again() == {"stored": False, "status": "waiting"}
    assert again(principal="bob") == {"stored": False, "status": None}
    (item,) = claim(sidecar)
    assert again() == {"stored": False, "status": "leased"}
    settle(sidecar, item, "dead", error="no such address")
    assert again() == {"stored": False, "status": "dead"}
    assert claim(sidecar) == []
    assert sidecar.call("cancel_work", queue="q", work_id="a", principal="bob") == {"cancelled": 0}
    assert sidecar.call("cancel_work", queue="q", work_id="a") == {"cancelled": 0}
    assert again() == {"stored": True, "status": "waiting"}


def test_a_fence_rises_and_a_stale_one_changes_nothing(sidecar: Sidecar) -> None:
    enqueue(sidecar, "a")
    (first,) = claim(sidecar, lease=1)
    (second,) = eventually(lambda: claim(sidecar))
    assert second["fence"] > first["fence"] and second["attempt"] == 2
    before = sidecar.call("list_work")
    for outcome in ("done", "retry", "dead", "release"):
        assert settle(sidecar, first, outcome) == {
            "held": False, "repeated": False, "status": None, "watermark": None}  # fmt: skip
    assert renew(sidecar, first) == {"held": False, "lease_until": None}
    assert sidecar.call("list_work") == before
    assert settle(sidecar, second)["held"]
    for nobody in (first | {"work_id": "none"}, second | {"queue": "none"}, second | {"fence": 0}):
        assert not settle(sidecar, nobody)["held"]


@pytest.mark.parametrize("outcome", ["done", "retry", "dead", "release"])
def test_the_same_fence_settles_once_and_is_answered_alike(sidecar: Sidecar, outcome: str) -> None:
    enqueue(sidecar, "a")
    (item,) = claim(sidecar)
    first = settle(sidecar, item, outcome, error="e")
    before = sidecar.call("list_work")
    for other in (outcome, "done", "dead", "retry"):
        assert settle(sidecar, item, other) == first | {"repeated": True}
    assert sidecar.call("list_work") == before
    assert not renew(sidecar, item)["held"]
    if first["status"] == "waiting":
        claim(sidecar)
        assert not settle(sidecar, item, outcome)["held"]


def test_attempts_count_at_claim_and_release_gives_one_back(sidecar: Sidecar) -> None:
    enqueue(sidecar, "a", max_attempts=2)
    for _ in range(3):
        (item,) = claim(sidecar)
        assert item["attempt"] == 1
        assert settle(sidecar, item, "release")["status"] == "waiting"
    (item,) = claim(sidecar)
    assert settle(sidecar, item, "retry", error="timeout")["status"] == "waiting"
    (item,) = claim(sidecar)
    assert (item["attempt"], item["error"]) == (2, "timeout")
    assert settle(sidecar, item, "retry", error="http_5xx")["status"] == "dead"
    (dead,) = sidecar.call("list_work", status="dead")["work"]
    assert (dead["error"], dead["payload"], dead["finished_at"] is None) == ("http_5xx", {"is": "a"}, False)


def test_work_that_kills_its_workers_dies(sidecar: Sidecar) -> None:
    enqueue(sidecar, "a", max_attempts=2)
    claim(sidecar, lease=1)
    (item,) = eventually(lambda: claim(sidecar, lease=1))
    assert item["attempt"] == 2
    deadline = time.monotonic() + PATIENCE
    while listed(sidecar) != {"a": "dead"} and time.monotonic() < deadline:
        assert claim(sidecar) == []
    assert sidecar.call("list_work")["work"][0]["error"] == "lease_lapsed"
    assert not settle(sidecar, item)["held"]
    assert sidecar.call("revive_work", queue="q") == {"revived": 1, "has_more": False}
    (item,) = claim(sidecar)
    assert item["attempt"] == 1


def test_due_times_tell_when_to_look_again(sidecar: Sidecar) -> None:
    def look() -> tuple[list[str], int | None]:
        answer = sidecar.call("claim_work", queue="q", lease=HOUR)
        due = answer["next_due"]
        return ids(answer["work"]), None if due is None else due - answer["timestamp"]

    assert look() == ([], None)
    enqueue(sidecar, "later", delay=2 * HOUR)
    found, wait = look()
    assert found == [] and HOUR < wait <= 2 * HOUR
    enqueue(sidecar, "now", "past", not_before=1)
    enqueue(sidecar, "soon", delay=5)
    found, wait = look()
    assert found == ["now"] and wait <= 0
    assert eventually(lambda: [{"work_id": each} for each in look()[0] if each == "soon"])
    # The lease of what was taken ends before the item that is due in two hours.
    found, wait = look()
    assert found == [] and 0 < wait <= HOUR
    with pytest.raises(Refused, match="not_before or delay"):
        sidecar.call("enqueue_work", queue="q", work_id="x", payload=0, delay=1, not_before=1)


def test_what_is_too_late_is_given_up(sidecar: Sidecar) -> None:
    enqueue(sidecar, "a", "b", give_up_after=HOUR)
    enqueue(sidecar, "c", give_up_after=1)
    time.sleep(0.005)
    a, b = claim(sidecar, 3)
    assert listed(sidecar, status="dead") == {"c": "dead"}
    assert settle(sidecar, a, "retry", delay=2 * HOUR)["status"] == "dead"
    assert settle(sidecar, b, "retry", delay=HOUR // 2)["status"] == "waiting"


def test_groups_take_turns_and_none_has_more_leases_than_it_may(sidecar: Sidecar) -> None:
    for group in "ABC":
        enqueue(sidecar, *(f"{group}{n}" for n in range(4)), group=group)
    first = claim(sidecar, 10)
    assert ids(first) == ["A0", "B0", "C0"]
    assert claim(sidecar, 10) == []
    settle(sidecar, first[1])
    assert ids(claim(sidecar, 10)) == ["B1"]
    assert sorted(ids(claim(sidecar, 10, per_group=2))) == ["A1", "B2", "C1"]
    # One who has many waiting is not served before one who comes later.
    enqueue(sidecar, *(f"D{n}" for n in range(50)), group="D", queue="fair")
    enqueue(sidecar, "E0", "E1", group="E", queue="fair")
    enqueue(sidecar, "alone", queue="fair")
    served = []
    for _ in range(6):
        (item,) = claim(sidecar, queue="fair")
        served.append(item["work_id"])
        settle(sidecar, item)
    assert served == ["D0", "E0", "alone", "D1", "E1", "D2"]


def test_a_head_that_is_tried_again_blocks_its_group_only_where_order_was_asked_for(sidecar: Sidecar) -> None:
    enqueue(sidecar, "f1", "f2", group="free")
    enqueue(sidecar, "o1", "o2", "o3", group="strict", ordered=True)
    enqueue(sidecar, "other")
    work = claim(sidecar, 10, per_group=5)
    assert sorted(ids(work)) == ["f1", "f2", "o1", "other"]
    for item in work:
        settle(sidecar, item, "retry", delay=HOUR)
    assert claim(sidecar, 10, per_group=5) == []
    enqueue(sidecar, "f3", group="free")
    enqueue(sidecar, "o4", group="strict", ordered=True)
    assert ids(claim(sidecar, 10, per_group=5)) == ["f3"]
    # Whatever becomes of the head, the next one's turn is then.
    sidecar.call("cancel_work", queue="q", work_id="o1")
    order = []
    for outcome in ("done", "dead", "done"):
        (item,) = claim(sidecar, 10, per_group=5)
        assert claim(sidecar, 10, per_group=5) == []
        order.append(item["work_id"])
        settle(sidecar, item, outcome)
    assert order == ["o2", "o3", "o4"]
    # One that comes back to life is the head again.
    enqueue(sidecar, "o5", group="strict", ordered=True)
    sidecar.call("revive_work", queue="q", group="strict")
    assert ids(claim(sidecar, 10, per_group=5)) == ["o3"]


def test_order_holds_also_for_what_is_revived(sidecar: Sidecar) -> None:
    enqueue(sidecar, "a", "b", group="g", ordered=True)
    (a,) = claim(sidecar)
    settle(sidecar, a, "dead")
    (b,) = claim(sidecar, per_group=5)
    sidecar.call("revive_work", queue="q")
    # It stands before what is being done, and waits for that.
    assert claim(sidecar, 10, per_group=5) == []
    assert sidecar.call("check_integrity")["problems"] == []
    settle(sidecar, b, "retry")
    assert ids(claim(sidecar, 10, per_group=5)) == ["a"]


def test_the_watermark_passes_what_is_settled(sidecar: Sidecar) -> None:
    for position in (3, 5, 9):
        enqueue(sidecar, f"p{position}", group="g", position=position)
    three, five, nine = claim(sidecar, 10, per_group=10)
    assert settle(sidecar, five)["watermark"] == 2
    assert settle(sidecar, three, "retry", delay=HOUR)["watermark"] == 2
    assert settle(sidecar, nine, "dead")["watermark"] == 2
    sidecar.call("cancel_work", queue="q", work_id="p3")
    enqueue(sidecar, "p12", group="g", position=12)
    (twelve,) = claim(sidecar)
    assert settle(sidecar, twelve) == {"held": True, "repeated": False, "status": "done", "watermark": 12}
    for wrong in ({"position": 1}, {"ordered": True}):
        with pytest.raises(Refused, match="a group"):
            sidecar.call("enqueue_work", queue="q", work_id="x", payload=0, **wrong)


def test_a_group_that_was_cancelled_never_comes_alive(sidecar: Sidecar) -> None:
    enqueue(sidecar, "a", "b", "c", "d", group="g", ordered=True)
    (a,) = claim(sidecar)
    settle(sidecar, a)
    (b,) = claim(sidecar)
    enqueue(sidecar, "mine", group="g", principal="ada")
    assert sidecar.call("cancel_work", queue="q", group="g", principal="bob") == {"cancelled": 3}
    assert sidecar.call("cancel_work", queue="q", group="g") == {"cancelled": 1}
    assert not settle(sidecar, b)["held"] and not renew(sidecar, b)["held"]
    assert sidecar.call("list_work")["work"] == []
    # The same names mean new things.
    enqueue(sidecar, "b", group="g")
    (again,) = claim(sidecar, 10)
    assert (again["work_id"], again["attempt"]) == ("b", 1) and again["fence"] > b["fence"]
    assert not settle(sidecar, b)["held"]
    for wrong in ({}, {"work_id": "a", "group": "g"}):
        with pytest.raises(Refused, match="one of them"):
            sidecar.call("cancel_work", queue="q", **wrong)
    assert sidecar.call("check_integrity")["problems"] == []


def test_a_lease_is_prolonged_and_one_that_was_late_still_counts(sidecar: Sidecar) -> None:
    enqueue(sidecar, "a", "b")
    a, b = claim(sidecar, 2, lease=1)
    time.sleep(0.005)
    # Nobody has looked since: it is the worker's still.
    assert renew(sidecar, a)["held"]
    assert claim(sidecar, queue="none") == []
    assert settle(sidecar, b)["status"] == "done"
    enqueue(sidecar, "c", group="g")
    enqueue(sidecar, "d", group="g")
    (c,) = claim(sidecar, 10, lease=1)
    # c is back in the line behind d, but its work was done all the same.
    (d,) = eventually(lambda: claim(sidecar))
    if d["work_id"] == "d":
        assert not renew(sidecar, c)["held"]
        assert settle(sidecar, c) == {"held": True, "repeated": False, "status": "done", "watermark": None}
    settle(sidecar, d)
    assert sidecar.call("check_integrity")["problems"] == []


def test_ten_thousand_leases_lapse_at_once_while_others_are_ready(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--durability", "normal")
    for start in range(0, 10_000, 1_000):
        calls = [
            {"method": "enqueue_work",
             "params": {"queue": "q", "work_id": f"old-{n}", "payload": n, "group": f"g{n % 100}" if n % 2 else None,
                        "max_attempts": 1 if n % 3 == 0 else None}}
            for n in range(start, start + 1_000)
        ]  # fmt: skip
        sidecar.call("transaction", calls=calls)
    for _ in range(10):
        claim(sidecar, 1_000, lease=500, per_group=1_000)
    time.sleep(0.6)
    enqueue(sidecar, "fresh-1", "fresh-2", group="fresh")
    enqueue(sidecar, "fresh-3")
    found: list[str] = []
    for _ in range(3):
        answer = sidecar.call("claim_work", queue="q", lease=HOUR, per_group=1_000)
        assert answer["next_due"] <= answer["timestamp"]
        found += ids(answer["work"])
    assert len(found) == 3
    # All others come back by themselves, or have died: none is forgotten.
    rest = 10_000 + 3 - len(found)
    deadline = time.monotonic() + PATIENCE
    while rest and time.monotonic() < deadline:
        answer = sidecar.call("claim_work", queue="q", lease=HOUR, limit=1_000, per_group=1_000)
        rest = 10_003 - len(found) - len(answer["work"])
        found += ids(answer["work"])
        if answer["next_due"] > answer["timestamp"]:
            break
    dead = sum(item["status"] == "dead" for item in pages(sidecar))
    assert len(found) == len(set(found)) and len(found) + dead == 10_003
    once = [f"old-{n}" for n in range(0, 10_000, 3)]
    assert dead == len(set(once) - set(found))
    assert sidecar.call("check_integrity")["problems"] == []


def pages(sidecar: Sidecar, **more: Any) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = sidecar.call("list_work", cursor=cursor, limit=1_000, **more)
        entries += page["work"]
        if (cursor := page["next_cursor"]) is None:
            return entries


def test_caps_hold_and_tombstones_go(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--max-work", "3", "--max-finished-work", "2", "--work-retention", "0")
    enqueue(sidecar, "a", "b", "c", group="g")
    with pytest.raises(Refused) as refused:
        enqueue(sidecar, "d")
    assert (refused.value.code, refused.value.kind, refused.value.data["limit"]) == (1109, "max_work_reached", 3)
    assert not sidecar.call("enqueue_work", queue="q", work_id="a", payload=0)["stored"]
    for n in range(5):
        (item,) = claim(sidecar)
        settle(sidecar, item, "dead" if n == 0 else "done")
        enqueue(sidecar, f"e{n}", group="g")
    # The newest two that are done, and what is dead counts for itself.
    assert listed(sidecar, status="dead") == {"a": "dead"}
    assert len(listed(sidecar, status="done")) == 2
    assert sidecar.call("check_integrity")["problems"] == []
    with pytest.raises(Refused, match="max_work_reached"):
        sidecar.call("revive_work", queue="q")
    limits = sidecar.call("server_info")["limits"]
    assert (limits["max_work"], limits["max_finished_work"], limits["work_retention"]) == (3, 2, 0)


def test_one_principal_cannot_fill_it_for_everybody(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--max-work-per-principal", "2")
    enqueue(sidecar, "a", "b", principal="ada")
    with pytest.raises(Refused) as refused:
        enqueue(sidecar, "c", principal="ada")
    assert (refused.value.code, refused.value.kind, refused.value.data["limit"]) == (
        1114, "max_principal_work_reached", 2)  # fmt: skip
    enqueue(sidecar, "c", principal="bob")
    enqueue(sidecar, "d", principal="ada", tenant_id="acme")
    enqueue(sidecar, "x", "y", "z")
    # Whoever publishes is not held up by one of many: what is too much for him is a dead letter.
    sidecar.call("put_event_subscription", subscription_id="s", topic="t", principal="ada")
    sidecar.call("put_event_subscription", subscription_id="free", topic="t", principal="eve")
    told = {"queue": "hooks", "payload": 1, "position": 5}
    assert sidecar.call("enqueue_work", work_id="s/1", subscription_id="s", **told) == {
        "stored": True, "status": "dead"}  # fmt: skip
    assert sidecar.call("enqueue_work", work_id="s/1", subscription_id="s", **told) == {
        "stored": False, "status": "dead"}  # fmt: skip
    assert sidecar.call("enqueue_work", work_id="free/1", subscription_id="free", **told)["status"] == "waiting"
    (dead,) = sidecar.call("list_work", queue="hooks", subscription_id="s")["work"]
    assert (dead["status"], dead["error"], dead["payload"]) == ("dead", "max_principal_work_reached", 1)
    assert ids(claim(sidecar, 10, queue="hooks")) == ["free/1"]
    with pytest.raises(Refused, match="max_principal_work_reached"):
        sidecar.call("revive_work", queue="hooks")
    (a,) = claim(sidecar)
    settle(sidecar, a)
    assert sidecar.call("revive_work", queue="hooks") == {"revived": 1, "has_more": False}
    (revived,) = claim(sidecar, queue="hooks")
    assert settle(sidecar, revived)["watermark"] == 5
    assert sidecar.call("check_integrity")["problems"] == []
    assert sidecar.call("server_info")["limits"]["max_work_per_principal"] == 2


def test_a_group_is_looked_for_in_its_queue(sidecar: Sidecar) -> None:
    sidecar.call("put_event_subscription", subscription_id="s", topic="t")
    enqueue(sidecar, "a", group="g")
    enqueue(sidecar, "b", subscription_id="s")
    enqueue(sidecar, "c", queue="r", subscription_id="s")
    enqueue(sidecar, "d", queue="r", group="g")
    assert listed(sidecar, queue="q", group="g") == {"a": "waiting"}
    assert listed(sidecar, queue="r", subscription_id="s") == {"c": "waiting"}
    assert listed(sidecar, queue="r", group="g", status="done") == {} == listed(sidecar, queue="none", group="g")
    for lonely in ({"group": "g"}, {"subscription_id": "s"}):
        with pytest.raises(Refused, match="queue"):
            sidecar.call("list_work", **lonely)
    assert sidecar.call("cancel_work", queue="q", subscription_id="s") == {"cancelled": 1}


def test_tombstones_go_with_time(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--work-retention", "1ms")
    enqueue(sidecar, "a", group="g")
    enqueue(sidecar, "b")
    enqueue(sidecar, "c")
    for item in claim(sidecar, 2):
        settle(sidecar, item)
    time.sleep(0.005)
    sidecar.call("maintenance")
    assert len(listed(sidecar)) == 1
    assert sidecar.call("check_integrity")["problems"] == []


def test_the_outbox_is_the_queue_and_a_fence_guards_any_call(sidecar: Sidecar) -> None:
    sidecar.call("create_session", session_id="s")

    def transaction(*calls: dict[str, Any]) -> list[Any]:
        return sidecar.call("transaction", calls=list(calls))["results"]

    event = {"method": "store_event", "params": {"session_id": "s", "data": 1}}
    work = {"method": "enqueue_work", "params": {"queue": "q", "work_id": "e-1", "payload": 1}, "require": True}
    transaction(event, {"method": "create_task", "params": {"task_id": "t"}}, work)
    with pytest.raises(Refused, match="requirement_failed"):
        transaction(event, work)
    assert sidecar.call("event_count", session_id="s") == {"count": 1}
    (item,) = transaction({"method": "claim_work", "params": {"queue": "q", "lease": 1}})[0]["work"]
    end = {"method": "settle_work", "require": True,
           "params": {"queue": "q", "work_id": "e-1", "fence": item["fence"], "outcome": "done"}}  # fmt: skip
    (newer,) = eventually(lambda: claim(sidecar))
    finish = {"method": "complete_task", "params": {"task_id": "t", "result": 1}}
    with pytest.raises(Refused) as refused:
        transaction(finish, end)
    assert (refused.value.kind, refused.value.data["call_index"]) == ("requirement_failed", 1)
    assert sidecar.call("get_task", task_id="t")["status"] == "working"
    end["params"]["fence"] = newer["fence"]
    assert transaction(end, finish)[1]["status"] == "completed"
    # The answer was lost, say: what is guarded is not done again.
    with pytest.raises(Refused) as refused:
        transaction(end, event)
    assert refused.value.kind == "requirement_failed" and "repeated" in refused.value.message
    assert sidecar.call("event_count", session_id="s") == {"count": 1}
    with pytest.raises(Refused, match="has no outcome"):
        transaction({"method": "list_work", "require": True})


def test_what_is_anothers_is_not_seen(sidecar: Sidecar) -> None:
    enqueue(sidecar, "a", "d", principal="ada", tenant_id="t")
    enqueue(sidecar, "b", principal="bob")
    enqueue(sidecar, "n")
    assert listed(sidecar, principal="ada") == {"a": "waiting", "d": "waiting", "n": "waiting"}
    assert listed(sidecar, principal=None) == {"n": "waiting"}
    assert listed(sidecar, principal="ada", tenant_id="u") == {"n": "waiting"}
    for item in claim(sidecar, 10):
        settle(sidecar, item, "dead")
    assert sidecar.call("revive_work", queue="q", principal="bob")["revived"] == 2
    assert sidecar.call("cancel_work", queue="q", work_id="a", principal="bob") == {"cancelled": 0}
    records = [
        {kind: record["work_id"]}
        for each in sidecar.call("export_user_data", principal="ada")["records"]
        for kind, record in each.items()
    ]
    assert records == [{"work": "a"}, {"work": "d"}]
    assert sidecar.call("delete_user_data", principal="ada")["work"] == 2
    assert sorted(listed(sidecar)) == ["b", "n"]
    assert sidecar.call("check_integrity")["problems"] == []


# --- Waking


def woken(sidecar: Sidecar) -> dict[str, Any]:
    return sidecar.receive_notification()


def test_a_subscriber_wakes_at_commits_and_at_times(sidecar: Sidecar, spawn: Callable[..., Sidecar]) -> None:
    first = sidecar.call("subscribe_work", queue="q", init=True)
    assert first["subscription_id"] == "work-1" and first["next_due"] is None
    greeting = sidecar.receive_notification()
    assert (greeting["method"], greeting["params"]["queue"]) == ("init", "q")
    wanted = {"subscription_id": "work-1", "queue": "q"}
    enqueue(sidecar, "elsewhere", queue="r")
    enqueue(sidecar, "a")
    assert woken(sidecar) == {"jsonrpc": "2.0", "method": "work", "params": wanted}
    (a,) = claim(sidecar)
    settle(sidecar, a, "retry", delay=30)
    assert woken(sidecar)["params"] == wanted
    (a,) = claim(sidecar, lease=30)
    # Its lease lapses.
    assert woken(sidecar)["params"] == wanted
    claim(sidecar)
    # Another process writes.
    other = spawn()
    enqueue(other, "b")
    assert woken(sidecar)["params"] == wanted
    # What frees a group wakes too.
    sidecar.call("unsubscribe", subscription_id="work-1")
    enqueue(sidecar, "g1", "g2", group="g", queue="s")
    (g1,) = claim(sidecar, queue="s")
    sidecar.call("subscribe_work", queue="s")
    settle(sidecar, g1)
    assert woken(sidecar)["params"]["queue"] == "s"


def test_ten_thousand_that_wait_cost_no_time(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--durability", "normal")
    for start in range(0, 10_000, 1_000):
        calls = [
            {"method": "enqueue_work", "params": {"queue": "q", "work_id": f"{n}", "payload": n, "delay": HOUR + n}}
            for n in range(start, start + 1_000)
        ]
        sidecar.call("transaction", calls=calls)
    assert HOUR // 2 < (answer := sidecar.call("subscribe_work", queue="q"))["next_due"] - answer["timestamp"]
    statistics = f"/proc/{sidecar.process.pid}/stat"

    def used() -> float:
        with open(statistics) as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before, start = used(), time.monotonic()
    time.sleep(1)
    # One look at the file every 100 ms: a hundredth of the time at most, however fast the machine.
    assert used() - before <= 0.02 * (time.monotonic() - start) + 0.02
    assert sidecar.notifications == []
