"""Event subscriptions: grants, secrets, suspension, ends that somebody announces, and the work that belongs to them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import contents
from shell import lines, output
from sidecar import Refused, Sidecar
from test_dump import load
from test_work import HOUR, claim, enqueue, eventually, ids, listed, settle

SECRET, OLDER = "whsec_c2VjcmV0", "whsec_b2xk"


def put(sidecar: Sidecar, name: str = "s", **more: Any) -> dict[str, Any]:
    return sidecar.call("put_event_subscription", subscription_id=name, **{"topic": "orders"} | more)


def get(sidecar: Sidecar, name: str = "s", **more: Any) -> Any:
    return sidecar.call("get_event_subscription", subscription_id=name, **more)


def named(sidecar: Sidecar, **more: Any) -> list[str]:
    page = sidecar.call("list_event_subscriptions", **more)
    assert page["next_cursor"] is None and "secret" not in json.dumps(page)
    return [each["subscription_id"] for each in page["subscriptions"]]


def test_putting_it_again_is_a_refresh(sidecar: Sidecar) -> None:
    first = put(sidecar, data={"url": "u"}, secret=OLDER, ttl=HOUR, start_after=7, principal="ada")
    assert first["created"] and "secret" not in first["subscription"]
    assert (first["subscription"]["watermark"], first["subscription"]["start_after"]) == (7, 7)
    again = put(sidecar, secret=SECRET, start_after=99, topic="bills", principal="ada")
    assert not again["created"] and again["subscription"]["expires_at"] == first["subscription"]["expires_at"]
    found = get(sidecar)
    assert found["revision"] > first["subscription"]["revision"]
    assert (found["topic"], found["data"], found["start_after"], found["watermark"]) == ("bills", {"url": "u"}, 7, 7)
    assert (found["secret"], found["previous_secret"]) == (SECRET, OLDER)
    assert found["previous_secret_until"] > found["created_at"]
    # The same secret replaces nothing, and without a grace the old one is gone at once.
    put(sidecar, secret=SECRET)
    assert get(sidecar)["previous_secret"] == OLDER
    put(sidecar, "t", secret=OLDER)
    put(sidecar, "t", secret=SECRET, secret_grace=0)
    assert get(sidecar, "t")["previous_secret"] is None
    put(sidecar, "t", secret=OLDER, secret_grace=1)
    time.sleep(0.005)
    assert get(sidecar, "t")["previous_secret_until"] is None
    with pytest.raises(Refused, match="concurrent_modification"):
        put(sidecar, if_revision=first["subscription"]["revision"])


def test_its_time_stays_unless_it_is_said(sidecar: Sidecar) -> None:
    def until(**more: Any) -> Any:
        return put(sidecar, **more)["subscription"]["expires_at"]

    first = until(ttl=HOUR)
    # Suspending it is no grant.
    assert until(active=False) == until() == until(ttl=None) == first
    assert until(ttl=2 * HOUR) > first
    assert until(ttl=0) is None and until(active=False) is None
    assert put(sidecar, "endless")["subscription"]["expires_at"] is None


def test_owners_and_topics(sidecar: Sidecar) -> None:
    put(sidecar, "a", principal="ada")
    put(sidecar, "b", principal="bob", topic="bills", active=False)
    put(sidecar, "n")
    assert named(sidecar) == ["a", "b", "n"]
    assert named(sidecar, topic="orders") == ["a", "n"]
    assert named(sidecar, principal="ada") == ["a", "n"]
    assert named(sidecar, active=False) == ["b"]
    assert get(sidecar, "a", principal="bob") is None
    with pytest.raises(Refused) as refused:
        put(sidecar, "a", principal="bob")
    assert (refused.value.code, refused.value.kind) == (1111, "event_subscription_exists")
    assert sidecar.call("delete_event_subscription", subscription_id="a", principal="bob") == {
        "deleted": False, "cancelled": 0}  # fmt: skip
    # Its work is its owner's.
    enqueue(sidecar, "w", subscription_id="a")
    assert listed(sidecar, principal="bob") == {} and listed(sidecar, principal="ada") == {"w": "waiting"}
    assert sidecar.call("enqueue_work", queue="q", work_id="x", payload=0, subscription_id="a", principal="bob") == {
        "stored": False, "status": None}  # fmt: skip


def test_the_cap_holds(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--max-event-subscriptions", "2")
    put(sidecar, "a", ttl=1)
    put(sidecar, "b")
    time.sleep(0.005)
    put(sidecar, "c")
    put(sidecar, "b")
    with pytest.raises(Refused) as refused:
        put(sidecar, "d")
    assert (refused.value.code, refused.value.kind) == (1110, "max_event_subscriptions_reached")


def test_a_principal_has_a_cap_of_its_own(spawn: Callable[..., Sidecar]) -> None:
    sidecar = spawn("--max-event-subscriptions-per-principal", "2")
    put(sidecar, "a", principal="ada", ttl=1)
    put(sidecar, "b", principal="ada")
    time.sleep(0.005)
    put(sidecar, "c", principal="ada")
    put(sidecar, "b", principal="ada")
    with pytest.raises(Refused) as refused:
        put(sidecar, "d", principal="ada")
    kind = "max_principal_event_subscriptions_reached"
    assert (refused.value.code, refused.value.kind, refused.value.data["limit"]) == (1115, kind, 2)
    # Others have theirs, and nobody's are not counted.
    put(sidecar, "d", principal="bob")
    put(sidecar, "e", principal="ada", tenant_id="acme")
    for name in ("x", "y", "z"):
        put(sidecar, name)
    sidecar.call("delete_event_subscription", subscription_id="b", announce=False)
    put(sidecar, "f", principal="ada")
    assert sidecar.call("server_info")["limits"]["max_event_subscriptions_per_principal"] == 2


def test_what_is_not_active_is_not_claimed_and_its_clock_stands(sidecar: Sidecar) -> None:
    put(sidecar)
    enqueue(sidecar, "a", "b", subscription_id="s", give_up_after=200)
    (a,) = claim(sidecar)
    put(sidecar, active=False)
    assert get(sidecar)["inactive_since"] is not None
    enqueue(sidecar, "c", subscription_id="s")
    time.sleep(0.25)
    # What was leased may be settled, and nothing was given up meanwhile.
    assert settle(sidecar, a, "retry", error="timeout")["status"] == "waiting"
    assert claim(sidecar, 10, per_group=10) == []
    assert sidecar.call("check_integrity")["problems"] == []
    put(sidecar)
    assert sorted(ids(claim(sidecar, 10, per_group=10))) == ["a", "b", "c"]
    assert listed(sidecar, status="dead") == {}


def test_settling_keeps_how_it_goes(sidecar: Sidecar) -> None:
    put(sidecar, start_after=4)
    for position in (5, 6, 7):
        enqueue(sidecar, f"p{position}", subscription_id="s", position=position)
    work = claim(sidecar, 10, per_group=10, include_subscription=True)
    assert [item["subscription"]["subscription_id"] for item in work] == ["s"] * 3
    assert "secret" in work[0]["subscription"] and work[0]["subscription_id"] == "s"
    assert settle(sidecar, work[1])["watermark"] == 4
    found = get(sidecar)
    assert found["last_success_at"] is not None and found["window"]["attempts"] == 1
    settle(sidecar, work[0], "retry", error="http_5xx", delay=HOUR)
    assert settle(sidecar, work[2], "dead", error="http_4xx")["watermark"] == 4
    found = get(sidecar)
    assert (found["last_error"], found["window"]["attempts"], found["window"]["failures"]) == ("http_4xx", 3, 2)
    assert found["failed_since"] <= found["last_failure_at"] and found["watermark"] == 4
    sidecar.call("cancel_work", queue="q", work_id="p5")
    enqueue(sidecar, "p9", subscription_id="s", position=9)
    (last,) = claim(sidecar)
    assert "subscription" not in last
    assert settle(sidecar, last)["watermark"] == 9
    found = get(sidecar)
    assert (found["watermark"], found["last_error"], found["failed_since"]) == (9, None, None)


def test_an_end_cancels_its_work_and_somebody_tells_of_it(sidecar: Sidecar) -> None:
    put(sidecar, data={"url": "u"}, secret=SECRET, principal="ada")
    enqueue(sidecar, "a", "b", "c", subscription_id="s")
    enqueue(sidecar, "other", queue="r", subscription_id="s")
    (a,) = claim(sidecar)
    (other,) = claim(sidecar, queue="r")
    settle(sidecar, other)
    assert sidecar.call("delete_event_subscription", subscription_id="s", reason="gone") == {
        "deleted": True, "cancelled": 3}  # fmt: skip
    assert get(sidecar) is None and named(sidecar) == []
    assert not settle(sidecar, a)["held"]
    # The same id is another subscription, to which nothing of the old one belongs.
    assert put(sidecar)["created"]
    assert claim(sidecar, 10) == [] and listed(sidecar, queue="q") == {}
    enqueue(sidecar, "a", subscription_id="s")
    (end,) = claim(sidecar, queue="ended", include_subscription=True)
    told = end["subscription"]
    assert (told["data"], told["secret"], told["end_reason"], told["principal"]) == (
        {"url": "u"}, SECRET, "gone", "ada")  # fmt: skip
    assert end["payload"] is None and end["subscription_id"] == "s"
    assert sidecar.call("check_integrity")["problems"] == []
    settle(sidecar, end)
    assert ids(claim(sidecar)) == ["a"]
    sidecar.call("delete_event_subscription", subscription_id="s", announce=False)
    assert claim(sidecar, queue="ended") == []
    assert sidecar.call("check_integrity")["problems"] == []


def test_it_lapses_at_its_time(sidecar: Sidecar) -> None:
    sidecar.call("subscribe_work", queue="ended")
    put(sidecar, "a", ttl=1_000)
    enqueue(sidecar, "w", subscription_id="a")
    answer = sidecar.call("claim_work", queue="ended")
    assert answer["work"] == [] and 0 < answer["next_due"] - answer["timestamp"] <= 1_000
    # Whoever announces ends is told when there is one.
    assert sidecar.receive_notification()["params"]["queue"] == "ended"
    assert get(sidecar, "a") is None
    assert claim(sidecar) == []
    (end,) = eventually(lambda: claim(sidecar, queue="ended", include_subscription=True))
    assert end["subscription"]["end_reason"] == "expired"
    settle(sidecar, end, "dead")
    # One that is granted anew too late is a new one.
    put(sidecar, "b", ttl=1)
    time.sleep(0.005)
    assert put(sidecar, "b")["created"]
    (end,) = claim(sidecar, queue="ended")
    sidecar.call("cancel_work", queue="ended", work_id=end["work_id"])
    assert sidecar.call("check_integrity")["problems"] == []


def test_ends_are_told_where_each_server_looks(sidecar: Sidecar) -> None:
    put(sidecar, "mine", ended_queue="mine/ended", principal="ada")
    put(sidecar, "other", ended_queue="other/ended")
    put(sidecar, "plain", ttl=1)
    # What is not said stays.
    assert put(sidecar, "mine", ttl=HOUR)["subscription"]["ended_queue"] == "mine/ended"
    assert sidecar.call("claim_work", queue="other/ended")["next_due"] is None
    assert sidecar.call("claim_work", queue="mine/ended")["next_due"] is not None
    sidecar.call("delete_event_subscription", subscription_id="other")
    put(sidecar, "mine", ttl=1)
    time.sleep(0.005)
    (end,) = claim(sidecar, queue="mine/ended", include_subscription=True)
    assert (end["subscription_id"], end["principal"]) == ("mine", "ada")
    assert end["subscription"]["end_reason"] == "expired"
    assert ids(claim(sidecar, 10, queue="mine/ended")) == []
    assert [item["subscription_id"] for item in claim(sidecar, 10, queue="other/ended")] == ["other"]
    assert [item["subscription_id"] for item in claim(sidecar, 10, queue="ended")] == ["plain"]
    for wrong in ("mine", "ended/", "mine-ended"):
        with pytest.raises(Refused, match="ends with /ended"):
            put(sidecar, ended_queue=wrong)
    assert sidecar.call("check_integrity")["problems"] == []


def test_publishing_is_one_transaction(sidecar: Sidecar) -> None:
    """The topic is a session without deadlines; each match gets an item by the id of subscription and event."""
    sidecar.call("create_session", session_id="topic-orders", status="active", ttl=0, inactivity_timeout=0)
    for name in ("a", "b"):
        put(sidecar, name)

    def publish(*matches: str) -> list[Any]:
        event = {"method": "store_event", "params": {"session_id": "topic-orders", "data": {"n": 1}}}
        work = [
            {"method": "enqueue_work",
             "params": {"queue": "hooks", "work_id": f"{name}/e-1", "payload": "e-1", "subscription_id": name,
                        "position": 1}}
            for name in matches
        ]  # fmt: skip
        return sidecar.call("transaction", calls=[event, *work])["results"]

    assert [each.get("stored") for each in publish("a", "b")[1:]] == [True, True]
    # One that went meanwhile is no error of those that are there.
    sidecar.call("delete_event_subscription", subscription_id="b")
    assert [each.get("stored") for each in publish("a", "b")[1:]] == [False, False]
    assert listed(sidecar, queue="hooks") == {"a/e-1": "waiting"}


def test_secrets_leave_by_no_other_way(sidecar: Sidecar, database: Path | str, tmp_path: Path) -> None:
    put(sidecar, secret=OLDER, principal="ada")
    put(sidecar, secret=SECRET, principal="ada")
    enqueue(sidecar, "w", subscription_id="s")
    put(sidecar, "gone", secret=SECRET, principal="ada")
    sidecar.call("delete_event_subscription", subscription_id="gone")
    said = [sidecar.call("export_user_data", principal="ada"), sidecar.call("list_work"), sidecar.call("get_metrics"),
            sidecar.call("list_event_subscriptions"), sidecar.call("server_info")]  # fmt: skip
    dump = output("dump", "--database", str(database))
    for text in (json.dumps(said), dump, output("status", "--database", str(database), "--json")):
        assert SECRET not in text and OLDER not in text
    whole = output("dump", "--database", str(database), "--secrets")
    assert whole.count(SECRET) == 2 and whole.count(OLDER) == 1
    # With them it can be loaded as it was, and without them it can be loaded too.
    if isinstance(database, Path):
        for number, text in enumerate((dump, whole)):
            copy = tmp_path / f"copy-{number}.db"
            assert load(copy, text).returncode == 0
            assert lines(output("dump", "--database", copy, "--secrets")) == lines(text)
    assert contents(database)["event_subscriptions"]
    # All that was stored about her, and the announcement of an end too.
    deleted = sidecar.call("delete_user_data", principal="ada")
    assert (deleted["event_subscriptions"], deleted["work"]) == (1, 2)
    assert contents(database)["event_subscriptions"] == []
    assert sidecar.call("check_integrity")["problems"] == []
