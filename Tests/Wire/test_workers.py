"""Eight workers in processes of their own on one store, killed at any moment: no item is done twice by live fences,
none is forgotten, and what order was asked of is done in order."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from sidecar import PATIENCE, Refused, Sidecar

WORKERS, ITEMS, GROUPS, STEPS = 8, 240, 6, 40
#: milliseconds: short enough that some lapse under their workers
LEASE = 300


def test_workers_that_are_killed_do_each_item_once(spawn: Callable[..., Sidecar]) -> None:
    first = spawn()
    calls = [
        {"method": "enqueue_work",
         "params": {"queue": "q", "work_id": f"i-{n}", "payload": n, "group": f"g-{n % GROUPS}" if n % 3 else None}}
        for n in range(ITEMS)
    ] + [
        {"method": "enqueue_work",
         "params": {"queue": "q", "work_id": f"o-{n}", "payload": n, "group": "in order", "ordered": True}}
        for n in range(STEPS)
    ]  # fmt: skip
    first.call("transaction", calls=calls)
    deadline = time.monotonic() + PATIENCE
    broken: list[BaseException] = []

    def is_over(sidecar: Sidecar) -> bool:
        done = sidecar.call("get_metrics")["work"]["done"]
        return done == ITEMS + STEPS or time.monotonic() > deadline

    def work(seed: int) -> None:
        pick = random.Random(seed)
        sidecar = spawn()
        try:
            while not is_over(sidecar):
                for item in sidecar.call("claim_work", queue="q", lease=LEASE, limit=pick.randint(1, 6))["work"]:
                    # Done outside first, then said: a worker may die in between, before or behind.
                    if pick.random() < 0.06:
                        sidecar.kill()
                        sidecar = spawn()
                        break
                    if pick.random() < 0.03:
                        time.sleep(LEASE * 1.5 / 1000)
                    settle = {"queue": "q", "work_id": item["work_id"], "fence": item["fence"], "outcome": "done"}
                    if pick.random() < 0.1:
                        sidecar.call("settle_work", **settle | {"outcome": "retry", "delay": pick.randint(0, 20)})
                        continue
                    said = {"session_id": "journal", "entry": {"done": item["work_id"]}}
                    step = [{"method": "settle_work", "params": settle, "require": True},
                            {"method": "append_log_entry", "params": said}]  # fmt: skip
                    if pick.random() < 0.05:
                        # Killed while it is on its way: it has happened or not, and the item comes back if not.
                        sidecar.send({"jsonrpc": "2.0", "id": 0, "method": "transaction", "params": {"calls": step}})
                        time.sleep(pick.random() * 0.004)
                        sidecar.kill()
                        sidecar = spawn()
                        break
                    try:
                        sidecar.call("transaction", calls=step)
                    except Refused as refused:
                        assert refused.kind == "requirement_failed", refused
        except BaseException as error:  # noqa: BLE001
            broken.append(error)

    first.call("create_session", session_id="journal", status="active")
    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not broken, broken
    told = [entry["entry"]["done"] for entry in first.call("load_log", session_id="journal", limit=1_000)["entries"]]
    twice = sorted({name for name in told if told.count(name) > 1})
    assert twice == []
    assert sorted(told) == sorted([f"i-{n}" for n in range(ITEMS)] + [f"o-{n}" for n in range(STEPS)])
    assert [name for name in told if name.startswith("o-")] == [f"o-{n}" for n in range(STEPS)]
    assert first.call("check_integrity")["problems"] == []
