"""Leased work where the clock is set: leases end early or late; nothing is lost, done twice or out of order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from preloaded import Clock, can_preload
from sidecar import BINARY, Sidecar

pytestmark = pytest.mark.skipif(not can_preload(Path(BINARY)), reason="the program is linked statically")
HOUR = 3_600_000


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def sidecar(tmp_path: Path, clock: Clock) -> Iterator[Sidecar]:
    sidecar = Sidecar(database=tmp_path / "work.db", env=clock.environment())
    yield sidecar
    sidecar.kill()


def enqueue(sidecar: Sidecar, *ids: str, **more: Any) -> None:
    for work_id in ids:
        assert sidecar.call("enqueue_work", queue="q", work_id=work_id, payload=0, **more)["stored"]


def claim(sidecar: Sidecar, limit: int = 10) -> list[dict[str, Any]]:
    return sidecar.call("claim_work", queue="q", lease=60_000, limit=limit)["work"]


def settle(sidecar: Sidecar, item: dict[str, Any], outcome: str = "done", **more: Any) -> dict[str, Any]:
    return sidecar.call(
        "settle_work", queue="q", work_id=item["work_id"], fence=item["fence"], outcome=outcome, **more)  # fmt: skip


def test_a_jump_ahead_ends_leases_early_and_fences_make_that_harmless(sidecar: Sidecar, clock: Clock) -> None:
    enqueue(sidecar, "a", "late")
    first = claim(sidecar)
    clock.now += 24 * HOUR
    second = claim(sidecar)
    assert [item["work_id"] for item in second] == ["a", "late"]
    assert not any(settle(sidecar, item)["held"] for item in first)
    assert all(settle(sidecar, item)["status"] == "done" for item in second)


def test_a_jump_back_delays_what_waits_for_a_time_and_nothing_else(sidecar: Sidecar, clock: Clock) -> None:
    enqueue(sidecar, "before-1", "before-2")
    enqueue(sidecar, "ordered-1", group="g", ordered=True)
    enqueue(sidecar, "timed", delay=1_000)
    (held,) = claim(sidecar, 1)
    clock.now -= 24 * HOUR
    enqueue(sidecar, "after")
    enqueue(sidecar, "ordered-2", group="g", ordered=True)
    work = claim(sidecar)
    assert [item["work_id"] for item in work] == ["before-2", "ordered-1", "after"]
    assert settle(sidecar, held)["status"] == "done"
    for item in work:
        assert settle(sidecar, item)["held"]
    assert [item["work_id"] for item in claim(sidecar)] == ["ordered-2"]
    # It comes when its time does.
    clock.now += 24 * HOUR + 1_000
    assert "timed" in [item["work_id"] for item in claim(sidecar)]


def test_what_is_given_up_and_tombstones_go_by_the_clock(sidecar: Sidecar, clock: Clock) -> None:
    enqueue(sidecar, "a", give_up_after=HOUR)
    enqueue(sidecar, "b")
    clock.now += 2 * HOUR
    (item,) = claim(sidecar)
    assert item["work_id"] == "b" and settle(sidecar, item)["status"] == "done"
    assert {each["work_id"]: each["status"] for each in sidecar.call("list_work")["work"]} == {"a": "dead", "b": "done"}
    clock.now += 8 * 24 * HOUR
    sidecar.call("maintenance")
    assert sidecar.call("list_work")["work"] == []
    enqueue(sidecar, "b")


def test_suspension_and_the_end_of_a_grant_go_by_the_clock(sidecar: Sidecar, clock: Clock) -> None:
    def put(**more: Any) -> None:
        sidecar.call("put_event_subscription", subscription_id="s", topic="t", **more)

    put()
    enqueue(sidecar, "a", subscription_id="s", give_up_after=HOUR)
    clock.now += HOUR // 2
    put(active=False)
    clock.now += 10 * HOUR
    put(ttl=HOUR)
    (item,) = claim(sidecar)
    assert settle(sidecar, item, "retry", delay=HOUR // 2 + 1)["status"] == "dead"
    clock.now += HOUR
    assert sidecar.call("get_event_subscription", subscription_id="s") is None
    (end,) = sidecar.call("claim_work", queue="ended", include_subscription=True)["work"]
    assert end["subscription"]["end_reason"] == "expired"
    # Nobody tells of it for a week.
    clock.now += 8 * 24 * HOUR
    assert sidecar.call("claim_work", queue="ended")["work"] == []
    assert sidecar.call("check_integrity")["problems"] == []
