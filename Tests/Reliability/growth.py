"""What each method costs in a store that holds fifty times as much of everything: counted instructions, never time.

Two stores are filled, with FEW and with MANY of everything: sessions, tasks, values, nonces, rate limits, lines of both
rings of the audit trail, events, streams, log entries and keys of one session, messages and input keys of one task,
expired rows that wait for a sweep, subscriptions. The same calls are made on both under callgrind, and each must cost
about the same. What costs more by design stands in GROWS with how and why, and in the contract. A method that is not in
CALLS fails the part: so a new one says what it costs.

A second run looks at memory: rows of a size, FEW and MANY, and the most that the process ever held for each call.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import select
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from calls import METHODS
from part import Finding, Form
from preloaded import Clock, build, can_preload
from sidecar import PATIENCE, Sidecar, request

FEW, MANY = 100, 5_000
#: With fifty times the data what is looked up in a tree costs a little more: 50 ** 0.15 is 1.8.
FLAT = 0.15
SUBSCRIPTIONS = 10_000
#: retentions and legal holds: so many may be, and calls of this part add some
BOUND = 900
#: each call is made so often, and counted for what the cheapest one took: the first ones fill caches
TIMES = 3
MIB = 1 << 20
#: bytes of a heavy row, and how many of each kind; an answer holds sixteen
HEAVY, LIGHT_ROWS, HEAVY_ROWS = 1 << 16, 20, 400
#: what a call may hold more with so many rows, of which one kind alone takes 25 MiB
MORE = 12 * MIB
#: of the time that it idles, what a process may use of a processor: a busy machine wakes it slowly
IDLE_SHARE = 0.05
#: nothing ends by itself, and no cap is met
OPTIONS = ("--durability", "normal", "--exclusive", "--session-ttl", "0", "--inactivity-timeout", "0",
           "--max-sessions", "0", "--max-tasks", "0", "--max-events-per-session", "0", "--max-task-messages", "0",
           "--max-values", "0", "--max-work", "0", "--max-event-subscriptions", "0", "--max-finished-work", "0",
           "--max-audit-events", "0", "--max-subscriptions", "0", "--max-violations", "0",
           "--max-state-bytes", "0", "--log-dedup-window", "0")  # fmt: skip

Params = dict[str, Any]
#: for the so manyeth time, in a store of so many
Make = Callable[[int, int], Params]

SESSION, TASK, OWNER, USER = "session-7", "task-7", "owner-7", "user-7"


def same(**params: Any) -> Make:
    return lambda time, size: params


def own(**params: Any) -> Make:
    return lambda time, size: {"principal": OWNER, **params}


def each(**texts: str) -> Make:
    """Another name each time: of `{}`, the number."""
    return lambda time, size: {name: text.format(time) for name, text in texts.items()}


def with_each(make: Make, **texts: str) -> Make:
    return lambda time, size: make(time, size) | each(**texts)(time, size)


#: what is called, by method; several ways when they differ in what they look for
CALLS: dict[str, dict[str, Make]] = {
    "create_session": {"": each(session_id="new-{}")},
    "get_session": {"": own(session_id=SESSION)},
    "update_session": {"": lambda time, size: {"session": {"session_id": SESSION, "metadata": {"time": time}}}},
    "touch_session": {"": own(session_id=SESSION)},
    "delete_session": {"": each(session_id="session-{}"), "with tasks": with_each(same(delete_tasks=True),
                                                                                 session_id="session-2{}")},
    "list_sessions": {"": same(limit=10), "of an owner": own(limit=10), "of a user": same(user_id=USER, limit=10),
                      "of a status": same(status="suspended", limit=10),
                      "with state": same(user_id=USER, include_state=True, limit=10)},
    "list_session_ids": {"": same(limit=10), "of an owner": own(limit=10), "of a user": same(user_id=USER, limit=10)},
    "session_count": {"": same(), "of an owner": own(), "of a user": same(user_id=USER)},
    "validate_session": {"": own(session_id=SESSION, ip_address="::1")},
    "expire_sessions": {"": same(limit=10)},
    "activate_session": {"": own(session_id=SESSION)},
    "suspend_session": {"": each(session_id="session-3{}")},
    "resume_session": {"": each(session_id="session-3{}")},
    "expire_session": {"": each(session_id="session-4{}")},
    "invalidate_session": {"": each(session_id="session-5{}")},
    "resolve_session": {"": each(session_id="session-1{}")},
    "set_session_state": {"": own(session_id=SESSION, key="k", value=1),
                          "of many": same(session_id="big", key="key-7", value=2),
                          "one more": with_each(same(session_id="big", value=3), key="new-{}")},
    "get_session_state": {"": own(session_id=SESSION, key="k"), "of many": same(session_id="big", key="key-7")},
    "remove_session_state": {"": with_each(same(session_id="big"), key="key-{}")},
    "list_session_state_keys": {"": own(session_id=SESSION), "of many": same(session_id="big"),
                                "a page of many": same(session_id="big", limit=10)},
    "store_event": {"": own(session_id=SESSION, data=1), "of many": same(session_id="big", data=1)},
    "store_events": {"": same(session_id="big", events=[{"data": 1, "stream_id": "stream-7"}] * 3)},
    "get_events_after": {"": same(session_id="big", after_event_id=50, limit=10),
                         "of a stream": same(session_id="big", stream_id="stream-7", limit=10),
                         "of a stream that lost some": same(session_id="lossy", stream_id="stream-7", limit=10)},
    "get_recent_events": {"": same(session_id="big", limit=10),
                          "of a stream": same(session_id="big", stream_id="stream-7", limit=1)},
    "delete_events_before": {"": lambda time, size: {"session_id": "big", "before_event_id": 2 + time}},
    "event_count": {"": same(), "of a session": same(session_id="big"), "of an owner": own()},
    "broadcast_event": {"": own(data=1)},
    "subscribe_events": {"": own(session_id=SESSION)},
    "subscribe_tasks": {"": own(task_id=TASK), "of a session": own(session_id=SESSION)},
    "unsubscribe": {"": same(subscription_id="nothing")},
    "create_task": {"": each(task_id="new-{}"), "in a session": with_each(same(session_id="big"), task_id="newer-{}")},
    "get_task": {"": own(task_id=TASK), "after many inputs": same(task_id="asked"),
                 "with many messages": same(task_id="queue")},
    "update_task": {"": lambda time, size: {"task": {"task_id": TASK, "meta": time}}},
    "touch_task": {"": own(task_id=TASK), "after many inputs": same(task_id="asked")},
    "delete_task": {"": each(task_id="task-{}")},
    "list_tasks": {"": same(limit=10), "of an owner": own(limit=10), "of a session": same(session_id="crowd", limit=10),
                   "of a status": same(status="failed", limit=10)},
    "list_tasks_for_session": {"": same(session_id="crowd", limit=10)},
    "update_task_status": {"": with_each(same(status="input_required"), task_id="task-2{}")},
    "store_task_result": {"": with_each(same(result={"success": 1}), task_id="task-2{}")},
    "get_task_result": {"": own(task_id=TASK)},
    "complete_task": {"": with_each(same(result=1), task_id="task-3{}")},
    "fail_task": {"": with_each(same(error={"code": 1, "message": "x"}), task_id="task-4{}")},
    "cancel_task": {"": with_each(same(), task_id="task-5{}")},
    "require_task_input": {"": lambda time, size: {"task_id": "asked", "input_requests": {f"new-{time}": 1}}},
    "provide_task_input": {"": lambda time, size: {"task_id": "asked", "input_responses": {f"new-{time}": 1}}},
    "enqueue_task_message": {"": same(task_id="queue", message=1)},
    "peek_task_messages": {"": same(task_id="queue", limit=10)},
    "dequeue_task_message": {"": same(task_id="queue")},
    "dequeue_all_task_messages": {"": own(task_id=TASK)},
    "expire_tasks": {"": same(limit=10)},
    "recover_stuck_tasks": {"": same(max_age=2**53 - 1), "of a session": same(max_age=2**53 - 1, session_id=SESSION)},
    "task_count": {"": same(), "of an owner": own(), "of a session": same(session_id=SESSION)},
    "consume_nonce": {"": with_each(same(ttl=60_000), nonce="new-{}")},
    "put_value": {"": with_each(same(collection="c", value=1), key="new-{}")},
    "get_value": {"": same(collection="c", key="key-7")},
    "delete_value": {"": with_each(same(collection="c"), key="key-{}")},
    "list_values": {"": same(collection="c", limit=10),
                    "with a prefix": same(collection="c", prefix="key-7", limit=10),
                    "with a prefix of few": same(collection="c", prefix="key-77", limit=1)},
    "enqueue_work": {"": with_each(same(queue="q", payload=1), work_id="new-{}"),
                     "in a group": with_each(same(queue="q", payload=1, group="many"), work_id="newer-{}")},
    "claim_work": {"": same(queue="q", lease=86_400_000), "of many groups": same(queue="groups", lease=86_400_000),
                   "beside many that wait": same(queue="late"), "beside many leases": same(queue="leased"),
                   "beside many that lapsed": same(queue="lapsed", lease=86_400_000)},
    "renew_work": {"": same(queue="leased", work_id="leased-7", fence=1)},
    "settle_work": {"": same(queue="leased", work_id="leased-7", fence=1, outcome="done")},
    "cancel_work": {"": with_each(same(queue="q"), work_id="q-5{}"),
                    "of a group": with_each(same(queue="groups"), group="group-6{}")},
    "list_work": {"": same(limit=10), "of a queue": same(queue="late", limit=10),
                  "of a group": same(queue="groups", group="group-8", limit=10),
                  "of a subscription": same(queue="hooks", subscription_id="subscription-8", limit=10),
                  "dead": same(queue="dead", status="dead", limit=10)},
    "revive_work": {"": same(queue="dead", limit=1)},
    "subscribe_work": {"": same(queue="late")},
    "put_event_subscription": {"": with_each(same(topic="t"), subscription_id="new-{}"),
                               "again": same(subscription_id="subscription-7", topic="t-7")},
    "get_event_subscription": {"": same(subscription_id="subscription-7")},
    "delete_event_subscription": {"": each(subscription_id="subscription-6{}")},
    "list_event_subscriptions": {"": same(limit=10), "of a topic": same(topic="t-7", limit=10),
                                 "of an owner": same(principal="subscriber-7", limit=10),
                                 "that are not active": same(active=False, limit=10)},
    "append_log_entry": {"": lambda time, size: {"session_id": "big", "entry": {"message_id": f"new-{time}"}},
                         "sent again": same(session_id="big", entry={"message_id": "message-7"})},
    "load_log": {"": same(session_id="big", limit=10), "of a kind": same(session_id="big", kind="internal", limit=1)},
    "replace_log": {"": own(session_id=SESSION, entries=[{}])},
    "compact_log": {"": own(session_id=SESSION, checkpoint={})},
    "log_participants": {"": same(session_id="big", limit=10)},
    "note_log_message_ids": {"": lambda time, size: {"session_id": "big", "message_ids": [f"seen-{time}"]}},
    "record_security_event": {"": same(type="session_auth", severity="low")},
    "list_audit_events": {"": same(limit=10), "of a session": same(session_id=SESSION, limit=10),
                          "of a user": same(user_id=USER, limit=10), "of a type": same(type="session_auth", limit=10)},
    "audit_counts": {"": same(by="type")},
    "get_audit_head": {"": same()},
    "check_rate_limit": {"": same(key="key-7", limit=10, window=60_000)},
    "validate_input": {"": same(text="hello")},
    "export_user_data": {"": same(principal=OWNER, limit=10), "of a user": same(user_id=USER, limit=10)},
    "delete_user_data": {"": each(principal="owner-6{}"), "of a user": each(user_id="user-6{}")},
    "set_retention": {"": with_each(same(max_task_ttl=2**50), tenant_id="new-{}"),
                      "again": same(tenant_id="tenant-7", max_task_ttl=2**50 + 1)},
    "get_retention": {"": same(tenant_id="tenant-7")},
    "list_retention": {"": same(limit=10)},
    "place_legal_hold": {"": with_each(same(tenant_id="nobody"), name="new-{}")},
    "lift_legal_hold": {"": each(name="hold-{}")},
    "list_legal_holds": {"": same(limit=10)},
    "list_payloads": {"": same(limit=10)},
    "replace_payloads": {"": same(changes=[{"ref": "named_values.value.1.0", "text": "another", "replacement": "1"}])},
    "initialize": {"": same()},
    "server_info": {"": same()},
    "health": {"": same()},
    "get_metrics": {"": same()},
    "maintenance": {"": same()},
    "backup": {"": each(path="copy-{}.db")},
    "check_integrity": {"": same()},
    "archive": {"": same(path="ended.gz", ended_before=1)},
    "transaction": {"": same(calls=[{"method": "store_event", "params": {"session_id": SESSION, "data": 1}},
                                    {"method": "touch_task", "params": {"task_id": TASK}}])},
    "rpc.discover": {"": same()},
}  # fmt: skip
#: ends the process, and what that takes is in lifecycle.py
ENDING = {"shutdown"}

#: what may cost more in a larger store: the exponent, and why; the contract says so too
WHOLE, COUNTED = "it reads all rows, or the whole file", "it counts rows"
PASSED = "it looks at rows that it passes over"
READ = "all policies are read again, at most 1,000 of each kind"
ANSWERED = "the answer shows what the task was answered so far"
GROWS: dict[str, tuple[float, str]] = {
    "touch_task, after many inputs": (0.4, ANSWERED),
    "require_task_input": (0.3, ANSWERED),
    "get_metrics": (1.1, WHOLE),
    "check_integrity": (1.1, WHOLE),
    "backup": (1.1, WHOLE),
    "session_count": (1.1, COUNTED),
    "session_count, of an owner": (1.1, COUNTED),
    "event_count": (1.1, COUNTED),
    "event_count, of an owner": (1.1, COUNTED),
    "task_count": (1.1, COUNTED),
    "task_count, of an owner": (1.1, COUNTED),
    # What an owner sees is also what is bound to nobody; here that is nothing but sessions that wait for a sweep.
    "list_sessions, of an owner": (1.1, PASSED),
    "list_session_ids, of an owner": (1.1, PASSED),
    "list_tasks, of an owner": (1.1, PASSED),
    "list_event_subscriptions, of an owner": (1.1, PASSED),
    "list_event_subscriptions, that are not active": (1.1, PASSED),
    "list_sessions, of a status": (1.1, PASSED),
    "get_events_after, of a stream": (1.1, PASSED),
    "load_log, of a kind": (1.1, PASSED),
    "list_audit_events, of a session": (1.1, PASSED),
    "audit_counts": (1.1, COUNTED),
    "list_values, with a prefix": (0.5, "it puts up to 1,000 keys with the prefix in order"),
    "export_user_data": (1.1, PASSED),
    "list_audit_events, of a user": (1.1, PASSED),
    "list_audit_events, of a type": (1.1, PASSED),
    "recover_stuck_tasks": (1.1, PASSED),
    "export_user_data, of a user": (1.1, PASSED),
    "delete_user_data": (1.1, PASSED),
    "delete_user_data, of a user": (1.1, PASSED),
    "list_payloads": (1.1, PASSED),
    "set_retention": (1.1, READ), "set_retention, again": (1.1, READ), "place_legal_hold": (1.1, READ),
    "lift_legal_hold": (1.1, READ),
    "list_session_state_keys, of many": (1.1, "its answer has all keys"),
    "get_task, after many inputs": (0.5, "its answer has all that was ever answered"),
    "provide_task_input": (1.1, "it writes all that was ever answered again"),
    # A slice of each kind of row: in the small store the first call leaves nothing for the others.
    "maintenance": (2.0, "it does a bounded part of what waits"),
}


def fill(form: Form, database: Path, clock: Clock, size: int) -> None:
    """Of everything so many."""
    sidecar = Sidecar(*OPTIONS, database=database, binary=str(form.binary), env=clock.environment())

    def all_of(calls: Iterator[tuple[str, Params]]) -> None:
        some = [{"method": method, "params": params} for method, params in calls]
        for start in range(0, len(some), 500):
            sidecar.call("transaction", calls=some[start : start + 500])

    numbers = range(size)
    for name in ("big", "lossy", "crowd"):
        sidecar.call("create_session", session_id=name, status="active")
    all_of(("create_session", {
        "session_id": f"session-{n}", "status": "active", "tenant_id": "acme", "principal": f"owner-{n}",
        "user_id": f"user-{n}", "state": {"k": n},
    }) for n in numbers)  # fmt: skip
    all_of(("create_task", {"task_id": f"task-{n}", "session_id": "crowd", "principal": f"owner-{n}"}) for n in numbers)
    all_of(("put_value", {"collection": "c", "key": f"key-{n}", "value": n}) for n in numbers)
    all_of(("consume_nonce", {"nonce": f"nonce-{n}", "ttl": 2**50}) for n in numbers)
    all_of(("check_rate_limit", {"key": f"key-{n}", "limit": 10, "window": 60_000}) for n in numbers)
    all_of(("record_security_event", {
        "type": "unauthorized_access", "severity": "low", "user_id": f"user-{n}",
    }) for n in numbers)  # fmt: skip
    for session in ("big", "lossy"):
        all_of(("store_event", {"session_id": session, "data": n, "stream_id": f"stream-{n}"}) for n in numbers)
    sidecar.call("delete_events_before", session_id="lossy", before_event_id=size)
    all_of(("append_log_entry", {"session_id": "big", "entry": {"message_id": f"message-{n}"}}) for n in numbers)
    all_of(("set_session_state", {"session_id": "big", "key": f"key-{n}", "value": n}) for n in numbers)
    for task in ("queue", "asked"):
        sidecar.call("create_task", task_id=task)
    all_of(("enqueue_task_message", {"task_id": "queue", "message": n}) for n in numbers)
    for start in range(0, size, 500):
        keys = {f"key-{n}": n for n in range(start, min(start + 500, size))}
        sidecar.call("require_task_input", task_id="asked", input_requests=keys)
        sidecar.call("provide_task_input", task_id="asked", input_responses=dict.fromkeys(keys, 0))
    all_of(("create_session", {"session_id": f"over-{n}", "ttl": 1}) for n in numbers)
    all_of(("create_task", {"task_id": f"over-{n}", "ttl": 1}) for n in numbers)
    all_of(("put_value", {"collection": "over", "key": f"key-{n}", "value": n, "ttl": 1}) for n in numbers)
    for queue, more in {"q": {}, "late": {"delay": 86_400_000}, "leased": {}, "lapsed": {}, "dead": {}}.items():
        all_of(("enqueue_work", {"queue": queue, "work_id": f"{queue}-{n}", "payload": n, **more}) for n in numbers)
    all_of(("enqueue_work", {"queue": "q", "work_id": f"many-{n}", "payload": n, "group": "many"}) for n in numbers)
    all_of(("enqueue_work", {
        "queue": "groups", "work_id": f"group-{n}", "payload": n, "group": f"group-{n}",
    }) for n in numbers)  # fmt: skip
    all_of(("set_retention", {"tenant_id": f"tenant-{n}", "max_task_ttl": 2**50}) for n in range(min(size, BOUND)))
    all_of(("place_legal_hold", {"name": f"hold-{n}", "principal": f"nobody-{n}"}) for n in range(min(size, BOUND)))
    all_of(("put_event_subscription", {
        "subscription_id": f"subscription-{n}", "topic": f"t-{n}", "principal": f"subscriber-{n}", "ttl": 2**50,
    }) for n in numbers)  # fmt: skip
    all_of(("enqueue_work", {
        "queue": "hooks", "work_id": f"hook-{n}", "payload": n, "subscription_id": f"subscription-{n}",
    }) for n in numbers)  # fmt: skip
    for queue, lease in {"leased": 86_400_000, "lapsed": 1, "dead": 86_400_000}.items():
        for _ in range(0, size, 1_000):
            work = sidecar.call("claim_work", queue=queue, lease=lease, limit=1_000)["work"]
            if queue == "dead":
                all_of(("settle_work", {
                    "queue": queue, "work_id": item["work_id"], "fence": item["fence"], "outcome": "dead",
                }) for item in work)  # fmt: skip
    sidecar.finish()
    assert sidecar.stderr() == "", sidecar.stderr()
    sidecar.kill()


class Counted:
    """A process that tells how many instructions each request took."""

    def __init__(self, form: Form, database: Path, clock: Clock) -> None:
        self.place = database.parent
        self.begin = self.place / "begin"
        self.begin.unlink(missing_ok=True)
        idle = self.place / "idle"
        idle.unlink(missing_ok=True)
        os.mkfifo(idle)
        self.idle = os.open(idle, os.O_RDONLY | os.O_NONBLOCK)
        environment = clock.environment(
            TEST_IDLE=str(idle), TEST_BEGIN=str(self.begin), SWIFT_DETERMINISTIC_HASHING="1"
        )
        environment["LD_PRELOAD"] = build(form.directory, "clock", "instructions")
        self.sidecar = Sidecar(
            *OPTIONS, database=database, binary=str(form.binary), env=environment, cwd=self.place,
            wrapper=["valgrind", "--tool=callgrind", "--instr-atstart=no", "--combine-dumps=no",
                     f"--callgrind-out-file={self.place}/counts", f"--log-file={self.place}/valgrind.log"],
        )  # fmt: skip

    def rest(self) -> None:
        """Waits until all that was sent is done."""
        ready, _, _ = select.select([self.idle], [], [], PATIENCE)
        assert ready and os.read(self.idle, 1), "it does not come to rest"

    def ask(self, method: str, params: Params) -> tuple[dict[str, Any], int]:
        """The answer, and the instructions until everything that belongs to it was done."""
        for path in self.place.glob("counts.*"):
            path.unlink()
        answer = self.sidecar.ask(method, **params)
        self.rest()
        taken = 0
        for path in self.place.glob("counts.*"):
            found = re.search(rb"^(?:totals|summary): *(\d+)", path.read_bytes(), re.MULTILINE)
            taken += int(found[1]) if found else 0
        return answer, taken

    def subscribe(self, size: int) -> None:
        for method, name in (("subscribe_events", "session"), ("subscribe_tasks", "task")):
            for number in range(size * 7 // 10, size):
                self.ask(method, {f"{name}_id": f"{name}-{number}"})

    def count(self) -> None:
        self.begin.touch()
        self.ask("server_info", {})

    def end(self) -> None:
        self.sidecar.finish()
        self.sidecar.kill()
        os.close(self.idle)


def measured(form: Form, size: int) -> dict[str, int]:
    """Instructions of each way to call each method, in a store of this size."""
    place = form.directory / f"store-{size}"
    place.mkdir()
    clock = Clock(place, libraries=form.directory)
    database = place / "sessions.db"
    fill(form, database, clock, size)
    clock.now += 10
    counted = Counted(form, database, clock)
    counted.subscribe(size)
    counted.count()
    counts: dict[str, int] = {}
    for method, ways in CALLS.items():
        for way, make in ways.items():
            name = f"{method}, {way}" if way else method
            taken = []
            for time_ in range(TIMES):
                answer, instructions = counted.ask(method, make(time_, size))
                if "error" in answer:
                    raise RuntimeError(f"{name}: {answer['error']}")
                taken.append(instructions)
            counts[name] = min(taken)
    counted.end()
    return counts


def exponent(few: int, many: int) -> float:
    return math.log(many / few) / math.log(MANY / FEW)


def try_cost(form: Form) -> Finding:
    few, many = (measured(form, size) for size in (FEW, MANY))
    untried = [f"{name} is not in CALLS: say how it is called, so that its cost is known"
               for name in METHODS if name not in CALLS and name not in ENDING]  # fmt: skip
    broken = []
    for name in few:
        allowed, _ = GROWS.get(name, (FLAT, ""))
        if (grown := exponent(few[name], many[name])) > allowed:
            broken.append(f"{name}: {few[name]:,} instructions with {FEW} of everything, {many[name]:,} with {MANY:,}: "
                          f"exponent {grown:.2f}, {allowed} is allowed")  # fmt: skip
    return Finding("no method costs more in a store fifty times as large, but those that say so",
                   f"{len(few)} ways to call {len(CALLS)} methods", untried + broken)  # fmt: skip


# --- Memory


def highest(sidecar: Sidecar) -> int:
    """Bytes that the process had in memory at most since the last time (VmHWM)."""
    status = Path(f"/proc/{sidecar.process.pid}/status").read_text()
    Path(f"/proc/{sidecar.process.pid}/clear_refs").write_text("5")
    return int(next(row.split()[1] for row in status.splitlines() if row.startswith("VmHWM"))) << 10


def fill_heavily(sidecar: Sidecar, rows: int) -> None:
    payload = "x" * HEAVY
    sidecar.call("create_session", session_id="big", status="active")
    sidecar.call("create_task", task_id="queue", session_id="big")
    for number in range(rows):
        heavy: list[tuple[str, Params]] = [
            ("create_session", {"session_id": f"session-{number}", "status": "active", "metadata": {"x": payload}}),
            ("create_task", {"task_id": f"task-{number}", "session_id": "big", "original_params": payload}),
            ("store_event", {"session_id": "big", "data": payload}),
            ("append_log_entry", {"session_id": "big", "entry": {"x": payload}}),
            ("enqueue_task_message", {"task_id": "queue", "message": payload}),
            ("put_value", {"collection": "c", "key": f"key-{number}", "value": payload}),
        ]
        for method, params in heavy:
            sidecar.call(method, **params)


def heavy_calls() -> Iterator[tuple[str, Params]]:
    """Everything that reads or changes more than one row, as much of it as may be asked for."""
    for method in METHODS:
        if method in ENDING or method not in CALLS:
            continue
        limits = [parameter["schema"] for parameter in METHODS[method]["params"] if parameter["name"] == "limit"]
        params = next(iter(CALLS[method].values()))(0, 100)
        if limits and method != "check_rate_limit":
            for narrow in ("principal", "user_id", "limit"):
                params.pop(narrow, None)
            params["limit"] = limits[0]["maximum"]
        yield method, params
    page = {"method": "get_events_after", "params": {"session_id": "big", "limit": 10_000}}
    yield "get_events_after", page["params"] | {"format": "sse"}
    yield "list_sessions", {"include_state": True, "limit": 1_000}
    yield "list_tasks_for_session", {"session_id": "big", "limit": 1_000}
    yield "subscribe_tasks", {"session_id": "big"}
    yield "transaction", {"calls": [page] * 200}
    yield "transaction", {"calls": [{"method": "dequeue_task_message", "params": {"task_id": "queue"}}] * 200}
    yield "dequeue_all_task_messages", {"task_id": "queue"}
    yield "recover_stuck_tasks", {"max_age": 0, "limit": 10_000}
    yield "export_user_data", {"principal": "nobody", "limit": 1_000}
    yield "delete_session", {"session_id": "big", "delete_tasks": True}


def try_memory(form: Form) -> Finding:
    marks: dict[int, list[tuple[str, int]]] = {}
    for rows in (LIGHT_ROWS, HEAVY_ROWS):
        place = form.directory / f"rows-{rows}"
        place.mkdir()
        clock = Clock(place, libraries=form.directory)
        sidecar = Sidecar(*OPTIONS, "--max-result-bytes", str(16 * HEAVY), database=place / "sessions.db",
                          binary=str(form.binary), env=clock.environment(), cwd=place)  # fmt: skip
        fill_heavily(sidecar, rows)
        clock.now += 1_000
        highest(sidecar)
        marks[rows] = []
        for method, params in heavy_calls():
            sidecar.ask(method, **params)
            sidecar.ask("server_info")  # what is told to subscribers has come before
            sidecar.notifications.clear()
            marks[rows].append((f"{method} {json.dumps(params)[:80]}", highest(sidecar)))
        batch = [request("get_events_after", n, session_id="session-9", limit=10_000) for n in range(200)]
        sidecar.send(batch)
        sidecar.receive()
        marks[rows].append(("a batch of 200 pages", highest(sidecar)))
        sidecar.finish()
        sidecar.kill()
    broken = []
    for (name, light), (_, heavy) in zip(marks[LIGHT_ROWS], marks[HEAVY_ROWS]):
        if heavy - light > MORE:
            broken.append(f"{name}: {light / MIB:.1f} MiB with {LIGHT_ROWS} rows of {HEAVY >> 10} KiB of each kind, "
                          f"{heavy / MIB:.1f} MiB with {HEAVY_ROWS}")  # fmt: skip
    top = max(mark for _, mark in marks[HEAVY_ROWS])
    return Finding(f"nor holds it more than {MORE // MIB} MiB more",
                   f"{len(marks[HEAVY_ROWS])} calls on rows of {HEAVY >> 10} KiB; at most {top / MIB:.0f} MiB",
                   broken)  # fmt: skip


# --- Idling


def processor_time(sidecar: Sidecar) -> float:
    """Seconds that the process has used."""
    words = Path(f"/proc/{sidecar.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def try_idling(form: Form) -> Finding:
    """Subscriptions to which nothing happens cost nothing."""
    seconds = 30.0 if form.is_long else 3.0
    broken = []
    options = [word for word in OPTIONS if word != "--exclusive"]  # then nobody else writes, and nobody looks
    sidecar = Sidecar(*options, database=form.directory / "idle.db", binary=str(form.binary))
    for kind in ("session", "task"):
        for start in range(0, SUBSCRIPTIONS // 2, 500):
            numbers = range(start, start + 500)
            sidecar.send(*(request(f"create_{kind}", n, **{f"{kind}_id": f"{kind}-{n}"}) for n in numbers))
            method = "subscribe_events" if kind == "session" else "subscribe_tasks"
            sidecar.send(*(request(method, n, **{f"{kind}_id": f"{kind}-{n}"}) for n in numbers))
            answers = [sidecar.receive_answer() for _ in range(1_000)]
            assert all("result" in answer for answer in answers), answers[-1]
    before = processor_time(sidecar)
    time.sleep(seconds)
    used = processor_time(sidecar) - before
    # It looks for other processes' writes five times a second, whatever the number of subscriptions.
    if used > seconds * IDLE_SHARE:
        broken.append(f"{used:.2f} s of {seconds:.0f}")
    sidecar.finish()
    sidecar.kill()
    return Finding(f"{SUBSCRIPTIONS:,} subscriptions that nothing happens to cost no processor time",
                   f"{seconds:.0f} s: {used:.2f} s", broken)  # fmt: skip


def run(form: Form) -> list[Finding]:
    if not can_preload(form.binary):
        raise RuntimeError("the program is linked statically: build it so that SQLite and libc are libraries")
    if not shutil.which("valgrind"):
        raise RuntimeError("valgrind is not installed")
    return [try_cost(form), try_memory(form), try_idling(form)]
