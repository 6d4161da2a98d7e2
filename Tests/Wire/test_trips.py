"""How often a store on a server waits for it: what the contract says of each kind of call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sidecar import Sidecar, line, request

Spawn = Callable[..., Sidecar]


@pytest.fixture(scope="session")
def engine_name() -> str:
    return "postgres"


def trips(sidecar: Sidecar) -> int:
    return int(sidecar.call("get_metrics")["database_trips"])


class Counting:
    """A sidecar whose trips are counted. A sweep that comes in between adds some: so the least of three counts."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.sidecar = sidecar

    def trips(self) -> int:
        return int(self.sidecar.call("get_metrics")["database_trips"])

    def cost(self, *calls: tuple[str, dict[str, Any]], before: tuple[str, dict[str, Any]] | None = None) -> int:
        """Of all of them in one write."""

        def once() -> int:
            if before:
                self.sidecar.call(before[0], **before[1])
            first, second = self.trips(), self.trips()
            self.sidecar.send_bytes(b"".join(line(request(method, 1, **params)) for method, params in calls))
            for _ in calls:
                assert "error" not in (answer := self.sidecar.receive_answer()), answer
            return (self.trips() - second) - (second - first)

        return min(once() for _ in range(3))


@pytest.fixture
def counting(spawn: Spawn) -> Counting:
    return Counting(spawn())


LARGE = "x" * 3_000
#: a read that names what it is about: all in the one trip that begins its snapshot
ONE = [
    ("get_session", {"session_id": "s"}),
    ("get_session", {"session_id": "nobody"}),
    ("get_session_state", {"session_id": "s", "key": "a"}),
    ("get_session_state", {"session_id": "s", "key": "b"}),
    ("get_task", {"task_id": "t"}),
    ("get_task", {"task_id": "t", "session_id": "s"}),
    ("get_task", {"task_id": "nobody"}),
    ("get_value", {"collection": "c", "key": "k"}),
    ("get_value", {"collection": "c", "key": "none"}),
]
#: a write: locks and rows, then changes and commit
TWO = [
    ("create_session", {}),
    ("get_session", {"session_id": "s", "touch": True}),
    ("update_session", {"session": {"session_id": "s", "metadata": {"m": LARGE}}}),
    ("update_session", {"session": {"session_id": "s", "state": {"a": 1, "large": LARGE}}}),
    ("touch_session", {"session_id": "s"}),
    ("set_session_state", {"session_id": "s", "key": "a", "value": 2}),
    ("remove_session_state", {"session_id": "s", "key": "b"}),
    ("store_event", {"session_id": "s", "data": 1}),
    ("store_events", {"session_id": "s", "events": [{"data": 1}] * 100}),
    ("create_task", {"session_id": "s"}),
    ("touch_task", {"task_id": "t", "status_message": "on its way"}),
    ("update_task", {"task": {"task_id": "t", "status_message": "still"}}),
    ("enqueue_task_message", {"task_id": "t", "message": 1}),
    ("put_value", {"collection": "c", "key": "k", "value": 1}),
    ("delete_value", {"collection": "c", "key": "none"}),
    ("check_rate_limit", {"key": "k", "limit": 5, "window": 1000}),
    ("consume_nonce", {"nonce": "n", "ttl": 1}),
    ("append_log_entry", {"session_id": "s", "entry": {"sender": "somebody", "text": 1}}),
    ("append_log_entry", {"session_id": "s", "entry": {"sender": "somebody", "message_id": "m", "text": 1}}),
    ("enqueue_work", {"queue": "q", "work_id": "w", "payload": 1}),
    ("provide_task_input", {"task_id": "t", "input_responses": {"size": 1}}),
]
#: a task that has asked for nothing yet
ASKING = {"calls": [{"method": "delete_task", "params": {"task_id": "asking"}},
                    {"method": "create_task", "params": {"task_id": "asking"}}]}  # fmt: skip


def test_what_a_call_names_costs_no_trip_of_its_own(counting: Counting) -> None:
    for name in ("s", "s2"):
        counting.sidecar.call("create_session", session_id=name, status="active", state={"a": 1, "large": LARGE})
    counting.sidecar.call("create_task", task_id="t", session_id="s", meta={"m": 1})
    counting.sidecar.call("put_value", collection="c", key="k", value={"v": LARGE})
    wanted = [(1, call, None) for call in ONE] + [(2, call, None) for call in TWO]
    wanted += [(2, ("resume_session", {"session_id": "s2"}), ("suspend_session", {"session_id": "s2"}))]
    wanted += [(2, ("suspend_session", {"session_id": "s2"}), ("activate_session", {"session_id": "s2"}))]
    asked = ("require_task_input", {"task_id": "asking", "input_requests": {"a": 1, "b": 2}})
    wanted += [(2, asked, ("transaction", ASKING))]
    found = [(call, counting.cost(call, before=before)) for _, call, before in wanted]
    assert found == [(call, trips) for trips, call, _ in wanted]


#: an item of work as it is enqueued
KINDS: dict[str, dict[str, Any]] = {
    "lone": {}, "grouped": {"group": "g"}, "ordered": {"group": "o", "ordered": True},
}  # fmt: skip
#: by what is done: what is in the queue before, and the trips that it takes
QUEUES: list[tuple[str, dict[str, Any], list[str], int]] = [
    ("enqueue_work", {}, [], 2),
    ("enqueue_work", KINDS["grouped"], [], 2),
    ("enqueue_work", KINDS["grouped"], ["grouped"], 2),
    ("claim_work", {}, [], 2),
    ("claim_work", {}, ["lone", "lone"], 2),
    ("claim_work", {"limit": 5}, ["lone"] * 6, 2),
    ("claim_work", {}, ["grouped", "lone"], 2),
    # When the next one wakes shows once the last was taken.
    ("claim_work", {}, ["lone"], 3),
    ("renew_work", {}, ["lone"], 2),
    ("settle_work", {"outcome": "done"}, ["lone"], 2),
    ("settle_work", {"outcome": "retry"}, ["lone"], 2),
    ("settle_work", {"outcome": "done"}, ["grouped", "grouped"], 2),
    # Whose turn it is in a group that had nothing else ready.
    ("settle_work", {"outcome": "done"}, ["grouped"], 3),
    ("settle_work", {"outcome": "done"}, ["ordered", "ordered"], 3),
]


@pytest.mark.parametrize("case", range(len(QUEUES)))
def test_work_is_claimed_and_settled_in_two_trips(case: int, counting: Counting) -> None:
    method, params, before, wanted = QUEUES[case]
    sidecar, found = counting.sidecar, []
    for count in range(3):
        queue = {"queue": f"q-{count}"}
        for number, kind in enumerate(before):
            sidecar.call("enqueue_work", **queue, work_id=f"w-{number}", payload=LARGE, **KINDS[kind])
        if method in ("renew_work", "settle_work"):
            [item] = sidecar.call("claim_work", **queue)["work"]
            params = params | {"work_id": item["work_id"], "fence": item["fence"]}
        elif method == "enqueue_work":
            params = params | {"work_id": "new", "payload": 1}
        first, second = counting.trips(), counting.trips()
        sidecar.call(method, **queue, **params)
        found.append((counting.trips() - second) - (second - first))
    assert min(found) == wanted, found


def test_messages_are_taken_in_two_trips(counting: Counting) -> None:
    sidecar = counting.sidecar
    sidecar.call("create_task", task_id="t")
    put = ("enqueue_task_message", {"task_id": "t", "message": LARGE})
    assert counting.cost(("dequeue_task_message", {"task_id": "t"}), before=put) == 2
    assert counting.cost(("dequeue_task_message", {"task_id": "t"})) == 2
    # They are read one after the other, however many and large they are.
    assert counting.cost(("dequeue_all_task_messages", {"task_id": "t"}), before=put) == 3
    for number in range(20):
        sidecar.call("enqueue_task_message", task_id="t", message=number)
    sidecar.send(*(request("dequeue_task_message", n, task_id="t") for n in range(20)))
    assert [sidecar.receive()["result"]["message"] for _ in range(20)] == list(range(20))
    for number in range(60):
        sidecar.call("enqueue_task_message", task_id="t", message=number)
    assert counting.cost(*[("dequeue_task_message", {"task_id": "t"})] * 20) <= 3


def test_a_page_costs_the_same_however_much_it_shows(counting: Counting) -> None:
    for number in range(60):
        counting.sidecar.call("create_session", session_id=f"s{number}", state={"n": number}, metadata={"m": number})
    assert counting.cost(("list_sessions", {"limit": 60, "include_state": True})) == 3
    assert counting.cost(("list_sessions", {"limit": 2, "include_state": True})) == 3


def test_what_is_pipelined_shares_its_trips(counting: Counting) -> None:
    """Each reads rows that the one before has changed, and no trip is made for it."""
    for number in range(50):
        counting.sidecar.call("create_session", session_id=f"s{number}", status="active", state={"n": number})
        counting.sidecar.call("create_task", task_id=f"t{number}")
    reads = [("get_session", {"session_id": f"s{n}"}) for n in range(50)]
    reads += [("get_task", {"task_id": f"t{n}"}) for n in range(50)]
    assert counting.cost(*reads) == 1
    writes: list[tuple[str, dict[str, Any]]] = []
    for number in range(50):
        writes += [
            ("set_session_state", {"session_id": f"s{number}", "key": "n", "value": 1}),
            ("get_session_state", {"session_id": f"s{number}", "key": "n"}),
            ("touch_task", {"task_id": f"t{number}", "status_message": "going"}),
            ("get_task", {"task_id": f"t{number}"}),
            ("put_value", {"collection": "c", "key": f"k{number}", "value": number}),
        ]
    assert counting.cost(*writes) <= 3
    writes = []
    for number in range(50):
        writes += [
            ("consume_nonce", {"nonce": f"n{number}", "ttl": 1}),
            ("enqueue_work", {"queue": f"q{number % 2}", "work_id": f"w{number}", "payload": number}),
            ("append_log_entry", {"session_id": f"s{number % 5}", "entry": {"sender": f"p{number % 3}", "n": number}}),
        ]
    assert counting.cost(*writes) <= 3


def test_watched_writes_share_a_commit(counting: Counting) -> None:
    """Changes of different tasks go together; each of them is told nevertheless."""
    sidecar = counting.sidecar
    sidecar.call("create_session", session_id="s", status="active")
    for number in range(50):
        sidecar.call("create_task", task_id=f"t{number}", session_id="s")
    subscription = sidecar.call("subscribe_tasks", session_id="s")["subscription_id"]
    before = sidecar.call("get_metrics")["commits"]["count"]
    changes = [request("touch_task", n, task_id=f"t{n}", status_message=f"first {n}") for n in range(50)]
    changes += [request("touch_task", n, task_id=f"t{n}", status_message=f"second {n}") for n in range(50)]
    sidecar.send_bytes(b"".join(line(change) for change in changes))
    told = [sidecar.receive() for _ in range(200)]
    notifications = [message["params"] for message in told if "method" in message]
    assert [n["task"]["status_message"] for n in notifications] == (
        [f"first {n}" for n in range(50)] + [f"second {n}" for n in range(50)])
    assert {n["subscription_id"] for n in notifications} == {subscription}
    assert sidecar.call("get_metrics")["commits"]["count"] - before <= 6
