"""However requests are pipelined, the answers are those of one at a time.

The same random script goes to one process request by request, each answer awaited, and to another one in a single
write, so that it is run in groups. Ids are given by the script and times are left out, so that answers can be compared
byte for byte otherwise.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from engine import Place
from sidecar import Sidecar, line, notification, request

TIMES = {"created_at", "last_activity", "expires_at", "timestamp", "suspended_at", "suspended_ms", "last_updated_at",
         "lease_until", "next_due", "enqueued_at", "finished_at", "give_up_at", "inactive_since", "failed_since",
         "inactive_ms"}  # fmt: skip


def comparable(message: Any) -> Any:
    """The message without the values that differ from process to process."""
    if isinstance(message, dict):
        return {name: None if name in TIMES and value is not None else comparable(value)
                for name, value in message.items()}  # fmt: skip
    return [comparable(element) for element in message] if isinstance(message, list) else message


class Script:
    """Random requests on a few sessions. Many of them are refused, and each refusal must leave no trace."""

    def __init__(self, seed: int, available: set[str]) -> None:
        self.random = random.Random(seed)
        self.available = available
        self.id = 0

    def one(self) -> tuple[str, dict[str, Any]]:
        pick = self.random
        session = {"session_id": pick.choice(["s-1", "s-2", "s-3", "s-4"])}
        if pick.random() < 0.15:
            session |= {"principal": pick.choice(["ann", "bob", None])}
        payload = pick.choice([1, None, "text", {"a": [1.5]}, "x" * pick.randrange(3_000)])
        key = {"key": pick.choice(["k-1", "k-2", "k-3", ""])}
        task = {"task_id": pick.choice(["t-1", "t-2", "t-3"])}
        choices: list[tuple[int, str, dict[str, Any]]] = [
            (6, "create_session", {**session, "state": pick.choice([{}, {"k-1": 0}]), "status": "active"}),
            (2, "create_session", {**session, "status": "no such status"}),
            (20, "store_event", {**session, "data": payload, "stream_id": pick.choice(["a", "b", None])}),
            (2, "store_event", {**session}),
            (4, "store_events", {**session, "events": [{"data": 1}] * pick.randrange(4)}),
            (2, "store_events", {**session, "events": [{"data": 1}, {"data": 2, "retry": -1}]}),
            (6, "get_events_after", {**session, "after_event_id": pick.randrange(12), "limit": pick.randrange(6)}),
            (3, "get_recent_events", {**session, "limit": 3, "stream_id": pick.choice(["a", None])}),
            (2, "delete_events_before", {**session, "before_event_id": pick.randrange(20)}),
            (3, "event_count", pick.choice([session, {}])),
            (2, "broadcast_event", {"data": payload}),
            (8, "set_session_state", {**session, **key, "value": payload}),
            (4, "get_session_state", {**session, **key}),
            (3, "remove_session_state", {**session, **key}),
            (2, "list_session_state_keys", session),
            (6, "get_session", {**session, "touch": pick.choice([True, False])}),
            (4, "update_session", {"session": {**session, "metadata": {"m": payload}},
                                   "if_revision": pick.choice([None, None, 1, 5]),
                                   "upsert": pick.choice([True, False])}),
            (1, "touch_session", session),
            (1, "delete_session", session),
            (1, "suspend_session", session),
            (2, "resume_session", session),
            (2, "activate_session", session),
            (1, pick.choice(["expire_session", "invalidate_session"]), session),
            (2, "validate_session", {**session, "ip_address": pick.choice(["192.0.2.1", "192.0.2.2"])}),
            (3, "list_sessions", {"limit": 2, "include_state": True}),
            (2, "session_count", {"status": pick.choice(["active", "pending", "expired", "nonsense"])}),
            (1, "no_such_method", {}),
            (4, "create_task", {**task, "session_id": session["session_id"]}),
            (3, "get_task", task),
            (3, "update_task_status", {**task, "status": pick.choice(["working", "input_required", "failed"])}),
            (3, "complete_task", {**task, "result": payload}),
            (2, "delete_task", task),
            (3, "put_value", {"collection": "c", **key, "value": payload, "if_absent": pick.choice([True, False])}),
            (2, "get_value", {"collection": "c", **key}),
            (2, "delete_value", {"collection": "c", **key}),
            (2, "consume_nonce", {"nonce": pick.choice("abc"), "ttl": 600_000}),
            (4, "transaction", {"calls": [
                {"method": "store_event", "params": {**session, "data": 1}},
                {"method": pick.choice(["store_event", "get_session", "delete_session"]), "params": session},
            ]}),
        ]  # fmt: skip
        choices = [choice for choice in choices if choice[1] in self.available or choice[1] == "no_such_method"]
        _, method, params = pick.choices(choices, [choice[0] for choice in choices])[0]
        return method, params

    def message(self) -> Any:
        """A request, mostly; also notifications, batches and lines that are not JSON."""
        roll = self.random.random()
        if roll < 0.02:
            return [self.single() for _ in range(self.random.randrange(5))]
        return self.single()

    def single(self) -> Any:
        self.id += 1
        method, params = self.one()
        if self.random.random() < 0.05:
            return notification(method, **params)
        return request(method, self.id, **params)

    def lines(self, count: int) -> list[bytes]:
        return [
            b"{ nonsense }\n" if self.random.random() < 0.01 else line(self.message()) for _ in range(count)
        ]


def methods(sidecar: Sidecar) -> set[str]:
    """What the binary can do; without a contract to read, what section 4 and 5 promise."""
    document = sidecar.call("rpc.discover")
    found = {method["name"] for method in document.get("methods", [])}
    return found or {
        "create_session", "get_session", "update_session", "touch_session", "delete_session", "list_sessions",
        "session_count", "set_session_state", "get_session_state", "remove_session_state", "list_session_state_keys",
        "activate_session", "suspend_session", "resume_session", "expire_session", "invalidate_session",
        "validate_session", "store_event", "store_events", "get_events_after", "get_recent_events",
        "delete_events_before", "event_count", "broadcast_event",
    }  # fmt: skip


def answered_one_at_a_time(sidecar: Sidecar, lines: list[bytes]) -> list[Any]:
    """A question after each line tells when its answer is complete, or that there is none."""
    answers = []
    for text in lines:
        sidecar.send_bytes(text)
        sidecar.send(request("get_session", "done", session_id="none"))
        while True:
            answer = sidecar.receive()
            if isinstance(answer, dict) and answer["id"] == "done":
                break
            answers.append(comparable(answer))
    return answers


def answered_at_once(sidecar: Sidecar, lines: list[bytes]) -> list[Any]:
    sidecar.send_bytes(b"".join(lines))
    sidecar.close_input()
    return [comparable(json.loads(text)) for text in sidecar.rest()]


OPTIONS = ("--max-payload-bytes", "2000", "--max-events-per-session", "10", "--max-sessions", "3")


@pytest.mark.parametrize("seed", range(8))
def test_grouping_is_never_visible(seed: int, spawn: Callable[..., Sidecar], place: Place) -> None:
    options = (*OPTIONS, "--event-overflow", "error" if seed % 2 else "evict")
    single = spawn(*options, database=place("single"))
    lines = Script(seed, methods(single)).lines(600)
    expected = answered_one_at_a_time(single, lines)
    found = answered_at_once(spawn(*options, database=place("piped")), lines)
    for number, (left, right) in enumerate(zip(expected, found)):
        assert left == right, f"seed {seed}, answer {number}"
    assert len(found) == len(expected)
    assert sum("result" in answer for answer in found if isinstance(answer, dict)) > 100


#: so that no lease lapses meanwhile, however slow the machine is
LONG_LEASE = {"lease": 86_400_000}


class QueueScript:
    """Random calls about work and about messages of tasks. Workers settle what they were given, and what they were not:
    so each call is made from the answers to those before it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.held: list[dict[str, Any]] = []
        self.count = 0

    def one(self) -> tuple[str, dict[str, Any]]:
        pick = self.random
        queue = {"queue": pick.choice(["one", "two"])}
        item = {**queue, "work_id": f"w-{pick.randrange(self.count + 2)}"}
        group = pick.choice([{}, {"group": "g"}, {"group": "o", "ordered": True}, {"subscription_id": "s"}])
        position = {"position": self.count + 1} if group and pick.random() < 0.5 else {}
        held = pick.choice(self.held) if self.held and pick.random() < 0.9 else {**item, "fence": 3}
        task = {"task_id": pick.choice(["t-1", "t-2"])}
        active = {"active": pick.choice([True, False])}
        choices: list[tuple[int, str, dict[str, Any]]] = [
            (12, "enqueue_work", {**item, "payload": self.count, **group, **position}),
            (8, "claim_work", {**queue, "limit": pick.choice([1, 1, 3, 70]), "per_group": pick.choice([1, 1, 2]),
                                **LONG_LEASE}),
            (14, "settle_work", {**held, "outcome": pick.choice(["done", "done", "dead", "retry", "release"])}),
            (3, "renew_work", {**held, **LONG_LEASE}),
            (2, "cancel_work", pick.choice([item, {**queue, "group": "g"}])),
            (2, "revive_work", queue),
            (2, "list_work", queue),
            (1, "put_event_subscription", {"subscription_id": "s", "topic": "t", **active}),
            (1, "delete_event_subscription", {"subscription_id": "s"}),
            (8, "enqueue_task_message", {**task, "message": "x" * pick.choice([1, 10, 100])}),
            (8, "dequeue_task_message", task),
            (1, "dequeue_all_task_messages", task),
            (1, "peek_task_messages", task),
            (1, "delete_task", task),
            (2, "create_task", task),
        ]
        _, method, params = pick.choices(choices, [choice[0] for choice in choices])[0]
        self.count += 1
        return method, params

    def learn(self, answer: dict[str, Any]) -> None:
        for item in answer.get("result", {}).get("work", []):
            if item["fence"]:
                self.held.append({name: item[name] for name in ("queue", "work_id", "fence")})
        del self.held[:-8]


@pytest.mark.parametrize("seed", range(4))
def test_grouping_of_what_queues_hold_is_never_visible(seed: int, spawn: Callable[..., Sidecar], place: Place) -> None:
    """One at a time, then the same in writes of all lengths."""
    single, piped = spawn(database=place("single")), spawn(database=place("piped"))
    script = QueueScript(seed)
    lines, expected = [], []
    for number in range(300):
        method, params = script.one()
        lines.append(line(request(method, number, **params)))
        single.send_bytes(lines[-1])
        expected.append(single.receive())
        script.learn(expected[-1])
    found: list[Any] = []
    while len(found) < len(lines):
        some = lines[len(found) : len(found) + script.random.choice([1, 2, 5, 50])]
        piped.send_bytes(b"".join(some))
        found += [piped.receive() for _ in some]
    for text, left, right in zip(lines, expected, found):
        assert without_made_up(comparable(left)) == without_made_up(comparable(right)), f"seed {seed}, {text!r}"
    assert sum("result" in answer for answer in found) > 200


def without_made_up(value: Any) -> Any:
    """Without ids that the store makes: items that tell of the end of a subscription, and cursors."""
    if isinstance(value, dict):
        return {name: None if name in ("next_cursor", "secret") else without_made_up(member)
                for name, member in value.items()}  # fmt: skip
    return [without_made_up(element) for element in value] if isinstance(value, list) else value


def test_ids_are_not_burnt_by_requests_that_fail_in_a_group(sidecar: Sidecar) -> None:
    """Revisions and event ids count what took effect, whatever was refused around it."""
    sidecar.send(
        request("create_session", 1, session_id="s"),
        request("create_session", 2, session_id="s"),
        request("store_event", 3, session_id="s", data=1),
        request("store_events", 4, session_id="s", events=[{"data": 1}, {"data": 1, "retry": "soon"}]),
        request("store_event", 5, session_id="none", data=1),
        request("set_session_state", 6, session_id="s", key="", value=1),
        request("store_event", 7, session_id="s", data=2),
        request("set_session_state", 8, session_id="s", key="k", value=1),
        request("create_session", 9, session_id="t"),
    )
    answers = [sidecar.receive() for _ in range(9)]
    assert ["error" in answer for answer in answers] == [False, True, False, True, True, True, False, False, False]
    assert (answers[2]["result"]["id"], answers[6]["result"]["id"]) == (1, 2)
    assert answers[7]["result"] == {"revision": 2} and answers[8]["result"]["revision"] == 3


def test_a_read_in_a_group_sees_what_was_written_before_it(sidecar: Sidecar) -> None:
    count = 500
    sidecar.send(
        request("create_session", 0, session_id="s"),
        *(
            request(method, index, **params)
            for index in range(1, count + 1)
            for method, params in [
                ("store_event", {"session_id": "s", "data": index}),
                ("event_count", {"session_id": "s"}),
                ("get_events_after", {"session_id": "s", "after_event_id": index - 1}),
            ]
        ),
    )
    sidecar.receive()
    for index in range(1, count + 1):
        assert sidecar.receive()["result"]["id"] == index
        assert sidecar.receive()["result"] == {"count": index}
        page = sidecar.receive()["result"]
        assert [event["data"] for event in page["events"]] == [index] and page["newest_id"] == index
