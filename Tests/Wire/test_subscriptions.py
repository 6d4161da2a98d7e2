"""Subscriptions: the backlog, then what is live, each event once and in order, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import slack
from faults import count, injecting, needs_strace, tracing
from sidecar import PATIENCE, Refused, Sidecar, line, request

Spawn = Callable[..., Sidecar]
HOUR = 3_600_000


def session(sidecar: Sidecar, id: str = "s", **params: Any) -> None:
    sidecar.call("create_session", session_id=id, status="active", **params)


def events(sidecar: Sidecar, count: int, subscription: str) -> list[int]:
    """The ids of the next notifications, all of which must be events of this subscription."""
    ids = []
    for _ in range(count):
        message = sidecar.receive_notification()
        assert message["method"] == "event" and message["params"]["subscription_id"] == subscription, message
        ids.append(message["params"]["event"]["id"])
    return ids


def nothing_more(sidecar: Sidecar) -> None:
    """No notification is on its way: what is due when a request comes stands before the answer to a later one."""
    for _ in range(3):
        sidecar.call("session_count")
    assert sidecar.is_silent(), sidecar.notifications


# --- Backlog and live


def test_the_shape_of_a_notification(sidecar: Sidecar) -> None:
    session(sidecar)
    sidecar.call("store_event", session_id="s", data={"a": 1}, stream_id="x", event_type="note", retry=5)
    opened = sidecar.call("subscribe_events", session_id="s", after_event_id=0)
    assert opened == {
        "subscription_id": opened["subscription_id"], "newest_id": 1, "gap": None, "cursor_ahead": False,
    }  # fmt: skip
    message = sidecar.receive_notification()
    timestamp = message["params"]["event"].pop("timestamp")
    assert isinstance(timestamp, int)
    assert message == {
        "jsonrpc": "2.0",
        "method": "event",
        "params": {
            "subscription_id": opened["subscription_id"], "session_id": "s",
            "event": {"id": 1, "stream_id": "x", "event_type": "note", "data": {"a": 1}, "retry": 5},
        },
    }  # fmt: skip


def test_the_backlog_comes_first_then_what_is_live(sidecar: Sidecar) -> None:
    session(sidecar)
    sidecar.call("store_events", session_id="s", events=[{"data": n} for n in range(1_000)])
    opened = sidecar.call("subscribe_events", session_id="s", after_event_id=100)
    subscription = opened["subscription_id"]
    sidecar.send(*(request("store_event", n, session_id="s", data=n) for n in range(500)))
    assert events(sidecar, 900, subscription) == list(range(101, 1_001))
    answered, seen = 0, []
    while answered < 500 or len(seen) < 500:
        message = sidecar.receive()
        if "method" in message:
            seen.append(message["params"]["event"]["id"])
        else:
            assert message["result"]["id"] == 1_001 + answered
            answered += 1
    assert seen == list(range(1_001, 1_501))
    nothing_more(sidecar)


def test_without_a_cursor_it_begins_now(sidecar: Sidecar) -> None:
    session(sidecar)
    sidecar.call("store_event", session_id="s", data=1)
    opened = sidecar.call("subscribe_events", session_id="s")
    assert opened["newest_id"] == 1
    nothing_more(sidecar)
    sidecar.call("store_event", session_id="s", data=2)
    assert events(sidecar, 1, opened["subscription_id"]) == [2]


def test_all_in_one_write(sidecar: Sidecar) -> None:
    """Subscribed, stored and read within one group: the notifications come after the commit of what they tell, and
    after the answer that opened their subscription."""
    sidecar.send(
        request("create_session", 0, session_id="s", status="active"),
        request("store_event", 1, session_id="s", data=1),
        request("subscribe_events", 2, session_id="s", after_event_id=0),
        request("store_event", 3, session_id="s", data=2),
        request("get_events_after", 4, session_id="s"),
    )
    order: list[Any] = []
    while not {0, 1, 2, 3, 4, "event 1", "event 2"} <= set(order):
        message = sidecar.receive()
        order.append(f"event {message['params']['event']['id']}" if "method" in message else message["id"])
    assert [entry for entry in order if isinstance(entry, int)] == [0, 1, 2, 3, 4]
    assert order.index(2) < order.index("event 1") < order.index("event 2")
    # Event 2 is told no sooner than the one who stored it learns of the commit.
    assert order.index(3) < order.index("event 2")
    nothing_more(sidecar)


def test_a_subscription_that_is_refused_tells_nothing(sidecar: Sidecar) -> None:
    session(sidecar, principal="ann")
    sidecar.call("store_event", session_id="s", data=1)
    assert sidecar.refusal("subscribe_events", session_id="none", after_event_id=0).kind == "session_not_found"
    foreign = sidecar.refusal("subscribe_events", session_id="s", after_event_id=0, principal="bob")
    assert foreign.kind == "session_not_found"
    nothing_more(sidecar)


def test_a_cursor_that_is_ahead(sidecar: Sidecar) -> None:
    """The client has seen events that this store never had, after a restored backup say: it is told, and gets all
    that is new."""
    session(sidecar)
    sidecar.call("store_event", session_id="s", data=1)
    opened = sidecar.call("subscribe_events", session_id="s", after_event_id=7)
    assert (opened["newest_id"], opened["cursor_ahead"]) == (1, True)
    sidecar.call("store_event", session_id="s", data=2)
    assert events(sidecar, 1, opened["subscription_id"]) == [2]


def test_a_stream_of_its_own(sidecar: Sidecar) -> None:
    session(sidecar)
    opened = sidecar.call("subscribe_events", session_id="s", stream_id="a", after_event_id=0)
    for number, stream in enumerate(["a", "b", None, "a"], start=1):
        sidecar.call("store_event", session_id="s", data=number, stream_id=stream)
    assert events(sidecar, 2, opened["subscription_id"]) == [1, 4]
    nothing_more(sidecar)


def test_several_subscribers_get_everything_each(sidecar: Sidecar) -> None:
    """Also two on one session, and a long backlog of one does not lose anything of another."""
    for id in ("s", "t"):
        session(sidecar, id)
        sidecar.call("store_events", session_id=id, events=[{"data": n} for n in range(2_000)])
    opened = {
        sidecar.call("subscribe_events", session_id=id, after_event_id=after)["subscription_id"]: (id, after)
        for id, after in [("s", 0), ("s", 1_990), ("t", 0)]
    }
    assert len(opened) == 3
    seen: dict[str, list[int]] = {subscription: [] for subscription in opened}
    for _ in range(2_000 + 10 + 2_000):
        params = sidecar.receive_notification()["params"]
        assert params["session_id"] == opened[params["subscription_id"]][0]
        seen[params["subscription_id"]].append(params["event"]["id"])
    for subscription, (_, after) in opened.items():
        assert seen[subscription] == list(range(after + 1, 2_001))


def test_broadcasts_reach_subscribers(sidecar: Sidecar) -> None:
    session(sidecar)
    opened = sidecar.call("subscribe_events", session_id="s")
    assert sidecar.call("broadcast_event", data="to all") == {"sessions": 1}
    assert events(sidecar, 1, opened["subscription_id"]) == [1]


# --- Across processes


def test_what_another_process_stores_arrives(spawn: Spawn) -> None:
    """With nothing sent to this one: it looks by itself."""
    listener, writer = spawn(), spawn()
    session(listener)
    opened = listener.call("subscribe_events", session_id="s", after_event_id=0)
    for number in range(1, 6):
        writer.call("store_event", session_id="s", data=number)
        assert events(listener, 1, opened["subscription_id"]) == [number]


#: another process's write wakes it up
TOLD = r"fd=(\d+)<anon_inode:inotify>.* = [12] \(\[.*\{fd=\1[^\d}]*revents=POLLIN"


@pytest.mark.file_only
@needs_strace
def test_a_write_of_another_process_wakes_it_up(spawn: Spawn, tmp_path: Path) -> None:
    """And its own ones do not."""
    log = tmp_path / "calls"
    listener, writer = spawn(wrapper=tracing(log, "ppoll")), spawn()
    session(listener)
    opened = listener.call("subscribe_events", session_id="s")
    for number in range(1, 6):
        listener.call("store_event", session_id="s", data=number)
        assert events(listener, 1, opened["subscription_id"]) == [number]
    listener.call("session_count")
    assert count(log, "inotify") > 0 and count(log, TOLD) == 0
    end = time.monotonic() + PATIENCE
    while count(log, TOLD) == 0 and time.monotonic() < end:  # a first sweep may see it sooner
        number += 1
        writer.call("store_event", session_id="s", data=number)
        assert events(listener, 1, opened["subscription_id"]) == [number]
    assert count(log, TOLD) > 0
    listener.call("unsubscribe", subscription_id=opened["subscription_id"])
    before = count(log, "inotify")
    listener.call("session_count")
    assert count(log, "inotify") <= before + 1  # the call that was waiting


@pytest.mark.file_only
@needs_strace
@pytest.mark.parametrize("call, fault", [("inotify_init1", "error=EMFILE"), ("inotify_add_watch", "error=ENOSPC")])
def test_where_nothing_tells_of_writes_it_looks_oftener(spawn: Spawn, tmp_path: Path, call: str, fault: str) -> None:
    listener, writer = spawn(wrapper=injecting(tmp_path / "calls", call, fault)), spawn()
    session(listener)
    opened = listener.call("subscribe_events", session_id="s")
    for number in range(1, 6):
        writer.call("store_event", session_id="s", data=number)
        assert events(listener, 1, opened["subscription_id"]) == [number]
    assert count(tmp_path / "calls", call) == 1


def wakes(sidecar: Sidecar) -> int:
    """how often it has waited"""
    status = Path(f"/proc/{sidecar.process.pid}/status").read_text()
    return int(next(row.split()[1] for row in status.splitlines() if row.startswith("voluntary_ctxt")))


@pytest.mark.file_only
@pytest.mark.parametrize("options, most", [([], 5), (["--exclusive"], 0)], ids=["shared", "alone"])
def test_how_often_a_process_with_subscriptions_looks(spawn: Spawn, options: list[str], most: int) -> None:
    """Five times a second; where nobody else can write it sleeps."""
    sidecar = spawn(*options)
    session(sidecar)
    for _ in range(3):
        sidecar.call("subscribe_events", session_id="s")
    time.sleep(0.5)
    before, began = wakes(sidecar), time.monotonic()
    time.sleep(2)
    assert wakes(sidecar) - before <= most * (time.monotonic() - began) + 3


def test_two_processes_write_and_both_listen(spawn: Spawn) -> None:
    """Each sees the events of both, once and in the order of their ids."""
    pair = [spawn(), spawn()]
    session(pair[0])
    subscriptions = [sidecar.call("subscribe_events", session_id="s")["subscription_id"] for sidecar in pair]
    for sidecar in pair:
        sidecar.send(*(request("store_event", n, session_id="s", data=n) for n in range(500)))
    for sidecar, subscription in zip(pair, subscriptions):
        seen, answered = [], 0
        while len(seen) < 1_000 or answered < 500:
            message = sidecar.receive()
            if "method" in message:
                assert message["params"]["subscription_id"] == subscription
                seen.append(message["params"]["event"]["id"])
            else:
                assert "result" in message
                answered += 1
        assert seen == list(range(1, 1_001))


# --- Endings


def test_unsubscribe(sidecar: Sidecar) -> None:
    session(sidecar)
    opened = sidecar.call("subscribe_events", session_id="s")
    other = sidecar.call("subscribe_events", session_id="s")
    assert sidecar.call("unsubscribe", subscription_id=opened["subscription_id"]) == {"unsubscribed": True}
    assert sidecar.call("unsubscribe", subscription_id=opened["subscription_id"]) == {"unsubscribed": False}
    assert sidecar.call("unsubscribe", subscription_id="never") == {"unsubscribed": False}
    sidecar.call("store_event", session_id="s", data=1)
    assert events(sidecar, 1, other["subscription_id"]) == [1]
    nothing_more(sidecar)


@pytest.mark.parametrize(
    ("method", "reason"),
    [("delete_session", "deleted"), ("expire_session", "expired"), ("invalidate_session", "invalidated"),
     ("resolve_session", "resolved")],
)  # fmt: skip
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another process"])
def test_a_session_that_ends_ends_its_subscriptions(
    method: str, reason: str, elsewhere: bool, spawn: Spawn
) -> None:
    sidecar = spawn()
    session(sidecar)
    opened = sidecar.call("subscribe_events", session_id="s")
    (spawn() if elsewhere else sidecar).call(method, session_id="s")
    assert sidecar.receive_notification() == {
        "jsonrpc": "2.0", "method": "ended",
        "params": {"subscription_id": opened["subscription_id"], "reason": reason},
    }  # fmt: skip
    assert sidecar.call("unsubscribe", subscription_id=opened["subscription_id"]) == {"unsubscribed": False}
    nothing_more(sidecar)


def test_a_session_whose_time_is_over_ends_its_subscriptions(sidecar: Sidecar) -> None:
    """Nothing is called when its deadline passes; the subscriber is told all the same."""
    session(sidecar, ttl=300)
    opened = sidecar.call("subscribe_events", session_id="s")
    message = sidecar.receive_notification()
    assert message["method"] == "ended"
    assert message["params"] == {"subscription_id": opened["subscription_id"], "reason": "expired"}


def test_what_was_stored_before_the_end_is_told_before_it(sidecar: Sidecar) -> None:
    """Stored and invalidated in one write. A session that is deleted takes its events along."""
    session(sidecar)
    opened = sidecar.call("subscribe_events", session_id="s")
    sidecar.send(
        request("store_event", 1, session_id="s", data=1),
        request("invalidate_session", 2, session_id="s"),
    )
    told = [message["method"] for message in (sidecar.receive() for _ in range(4)) if "method" in message]
    assert told == ["event", "ended"]
    assert opened["newest_id"] == 0


def test_a_session_made_again_under_the_same_id_is_another_one(sidecar: Sidecar) -> None:
    session(sidecar)
    sidecar.call("store_event", session_id="s", data="old")
    opened = sidecar.call("subscribe_events", session_id="s")
    sidecar.send(
        request("delete_session", 1, session_id="s"),
        request("create_session", 2, session_id="s", status="active"),
        request("store_event", 3, session_id="s", data="new"),
    )
    assert [sidecar.receive_answer()["id"] for _ in range(3)] == [1, 2, 3]
    message = sidecar.receive_notification()
    assert (message["method"], message["params"]["reason"]) == ("ended", "deleted")
    assert message["params"]["subscription_id"] == opened["subscription_id"]
    nothing_more(sidecar)


def test_a_suspended_session_keeps_its_subscriptions(sidecar: Sidecar) -> None:
    session(sidecar)
    opened = sidecar.call("subscribe_events", session_id="s")
    sidecar.call("suspend_session", session_id="s")
    nothing_more(sidecar)
    sidecar.call("resume_session", session_id="s")
    sidecar.call("store_event", session_id="s", data=1)
    assert events(sidecar, 1, opened["subscription_id"]) == [1]


def test_the_end_of_the_process_tells_nothing(sidecar: Sidecar) -> None:
    session(sidecar)
    sidecar.call("subscribe_events", session_id="s")
    assert sidecar.finish() == []


# --- Losses


def test_a_gap_is_told_when_it_opens(spawn: Spawn) -> None:
    sidecar = spawn("--max-events-per-session", "5")
    session(sidecar)
    sidecar.call("store_events", session_id="s", events=[{"data": n} for n in range(12)])
    opened = sidecar.call("subscribe_events", session_id="s", after_event_id=3)
    assert opened["gap"] == {"dropped": 4, "oldest_available": 8}
    assert events(sidecar, 5, opened["subscription_id"]) == [8, 9, 10, 11, 12]
    nothing_more(sidecar)


def test_a_reader_that_eviction_passes_is_told_once(spawn: Spawn) -> None:
    """Stored in one request, so that no reader could have kept up."""
    sidecar = spawn("--max-events-per-session", "5")
    session(sidecar)
    sidecar.call("store_event", session_id="s", data=0)
    opened = sidecar.call("subscribe_events", session_id="s")
    sidecar.call("store_events", session_id="s", events=[{"data": n} for n in range(20)])
    message = sidecar.receive_notification()
    assert message["method"] == "lagged"
    assert message["params"] == {
        "subscription_id": opened["subscription_id"], "dropped": 15, "oldest_available": 17,
    }  # fmt: skip
    assert events(sidecar, 5, opened["subscription_id"]) == [17, 18, 19, 20, 21]
    nothing_more(sidecar)


def test_a_reader_that_deletion_passes_is_told(spawn: Spawn) -> None:
    """By another process, while this one had not read yet; then nothing is left."""
    sidecar = spawn()
    session(sidecar)
    opened = sidecar.call("subscribe_events", session_id="s")
    sidecar.send(
        [
            request("store_events", 1, session_id="s", events=[{"data": 1}] * 3),
            request("delete_events_before", 2, session_id="s", before_event_id=4),
        ]
    )
    methods: list[Any] = []
    while len(methods) < 2 or methods[-1] != "lagged":
        message = sidecar.receive()
        methods.append(message["method"] if isinstance(message, dict) else "answers")
        if methods[-1] == "lagged":
            assert message["params"] == {
                "subscription_id": opened["subscription_id"], "dropped": 3, "oldest_available": None,
            }  # fmt: skip
    assert methods == ["answers", "lagged"]
    sidecar.call("store_event", session_id="s", data=2)
    assert events(sidecar, 1, opened["subscription_id"]) == [4]


def test_a_slow_reader_loses_nothing(sidecar: Sidecar) -> None:
    """80 MB of events, far more than pipe and buffers hold, while nobody reads; requests meanwhile are answered when
    the reader comes back, and memory stays bounded: a subscription is a cursor, not a buffer."""
    session(sidecar)
    opened = sidecar.call("subscribe_events", session_id="s", after_event_id=0)
    data, count = "x" * 100_000, 800

    text = b"".join(line(request("store_event", n, session_id="s", data=f"{n:04}{data}")) for n in range(count))
    # send_bytes would read; here nobody does. All requests fit, because events of a session are no backlog in memory.
    stdin = sidecar.process.stdin
    assert stdin is not None
    os.set_blocking(stdin.fileno(), True)
    sent = 0
    while sent < len(text):
        sent += os.write(stdin.fileno(), text[sent : sent + 65_536])
    status = open(f"/proc/{sidecar.process.pid}/status").read()
    peak = int(next(row for row in status.splitlines() if row.startswith("VmHWM")).split()[1])
    assert peak < 64 << 10, f"{peak} KiB"
    seen, answered = [], 0
    while len(seen) < count or answered < count:
        message = sidecar.receive()
        if "method" in message:
            params = message["params"]
            assert params["subscription_id"] == opened["subscription_id"]
            assert params["event"]["data"].startswith(f"{params['event']['id'] - 1:04}")
            seen.append(params["event"]["id"])
        else:
            assert message["result"]["id"] == answered + 1
            answered += 1
    assert seen == list(range(1, count + 1))


# --- Limits


def test_the_cap_on_subscriptions(spawn: Spawn) -> None:
    sidecar = spawn("--max-subscriptions", "2")
    session(sidecar)
    first = sidecar.call("subscribe_events", session_id="s")
    sidecar.call("subscribe_events", session_id="s")
    refused = sidecar.refusal("subscribe_events", session_id="s")
    assert (refused.kind, refused.data["limit"]) == ("max_subscriptions_reached", 2)
    sidecar.call("unsubscribe", subscription_id=first["subscription_id"])
    assert sidecar.call("subscribe_events", session_id="s")["subscription_id"] != first["subscription_id"]


def test_an_open_subscription_does_not_keep_a_session_alive(sidecar: Sidecar) -> None:
    session(sidecar)
    before = sidecar.call("get_session", session_id="s")["last_activity"]
    sidecar.call("subscribe_events", session_id="s", after_event_id=0)
    assert sidecar.call("get_session", session_id="s")["last_activity"] == before


# --- Tasks


def task_methods(sidecar: Sidecar) -> None:
    try:
        sidecar.call("task_count")
    except Refused as refused:
        pytest.skip(refused.message)


def test_a_subscription_to_a_task(spawn: Spawn) -> None:
    """Each change is told, also one by another process; what it is now stands in the answer."""
    sidecar, other = spawn(), spawn()
    task_methods(sidecar)
    made = sidecar.call("create_task", task_id="t")
    opened = sidecar.call("subscribe_tasks", task_id="t")
    assert opened["task"] == made
    sidecar.send(
        request("update_task_status", 1, task_id="t", status="input_required"),
        request("update_task_status", 2, task_id="t", status="working"),
    )
    assert [sidecar.receive_answer()["id"] for _ in range(2)] == [1, 2]
    for status in ("input_required", "working"):
        message = sidecar.receive_notification()
        assert message["method"] == "task" and message["params"]["task"]["status"] == status
        assert message["params"]["subscription_id"] == opened["subscription_id"]
    done = other.call("complete_task", task_id="t", result=[1])
    assert sidecar.receive_notification()["params"]["task"] == done
    other.call("delete_task", task_id="t")
    message = sidecar.receive_notification()
    assert message["method"] == "ended" and message["params"]["subscription_id"] == opened["subscription_id"]
    nothing_more(sidecar)


def test_a_subscription_to_the_tasks_of_a_session(spawn: Spawn) -> None:
    sidecar, other = spawn(), spawn()
    task_methods(sidecar)
    session(sidecar)
    made = sidecar.call("create_task", task_id="t-1", session_id="s")
    opened = sidecar.call("subscribe_tasks", session_id="s")
    assert opened["tasks"] == [made]
    another = other.call("create_task", task_id="t-2", session_id="s")
    assert sidecar.receive_notification()["params"]["task"] == another
    sidecar.call("create_task", task_id="t-3")
    cancelled = sidecar.call("cancel_task", task_id="t-1")
    assert sidecar.receive_notification()["params"]["task"] == cancelled
    nothing_more(sidecar)


def test_no_notification_breaks_into_a_batch(sidecar: Sidecar) -> None:
    session(sidecar)
    sidecar.call("subscribe_events", session_id="s")
    sidecar.send_bytes(line([request("store_event", n, session_id="s", data=n) for n in range(1_000)]) * 3)
    batches, ids = 0, []
    while batches < 3 or len(ids) < 3_000:
        text = sidecar.read_line()
        assert text is not None
        message = json.loads(text)
        if isinstance(message, list):
            assert [member["id"] for member in message] == list(range(1_000))
            batches += 1
        else:
            ids.append(message["params"]["event"]["id"])
    assert ids == list(range(1, 3_001))


def test_no_notification_breaks_into_a_batch_of_several_commits(sidecar: Sidecar) -> None:
    """What stands apart from what came before it, and reads behind it, with something to tell all the while."""
    session(sidecar)
    sidecar.call("subscribe_events", session_id="s")
    batch: list[Any] = []
    for id in range(0, 120, 4):
        batch += [request("store_event", id, session_id="s", data=id), request("maintenance", id + 1)]
        batch += [request("event_count", id + 2, session_id="s"), request("session_count", id + 3)]
    sidecar.send_bytes(line(batch) + line(request("event_count", 120, session_id="s")))
    answer, ids = None, []
    while answer is None or len(ids) < 30:
        text = sidecar.read_line()
        assert text is not None
        message = json.loads(text)
        if isinstance(message, list):
            assert [member["id"] for member in message] == list(range(120))
            assert [member["result"]["count"] for member in message[2::4]] == list(range(1, 31))
            answer = message
        elif "method" in message:
            ids.append(message["params"]["event"]["id"])
    assert ids == list(range(1, 31))


# --- Signs of life, greetings, frames


def test_a_heartbeat_keeps_coming(sidecar: Sidecar, engine_name: str) -> None:
    session(sidecar)
    before = time.time_ns() // 1_000_000
    opened = sidecar.call("subscribe_events", session_id="s", heartbeat=20)
    beats = [sidecar.receive_notification() for _ in range(5)]
    times = []
    for beat in beats:
        assert beat["method"] == "heartbeat"
        assert beat["params"].keys() == {"subscription_id", "timestamp"}
        assert beat["params"]["subscription_id"] == opened["subscription_id"]
        times.append(beat["params"]["timestamp"])
    assert times[0] >= before + 20 - slack(engine_name)
    assert all(later - earlier >= 20 - slack(engine_name) for earlier, later in zip(times, times[1:]))
    # The session does not live longer for it, and calls are answered in between.
    assert sidecar.call("get_session", session_id="s")["last_event_id"] == 0
    sidecar.call("unsubscribe", subscription_id=opened["subscription_id"])
    sidecar.notifications.clear()
    nothing_more(sidecar)


def test_a_heartbeat_at_each_end_of_what_may_be_asked_for(sidecar: Sidecar) -> None:
    session(sidecar)
    for refused in (0, -1, 2**53, 1.5, "20", True):
        error = sidecar.refusal("subscribe_events", session_id="s", heartbeat=refused)
        assert error.kind == "invalid_params" and "'heartbeat'" in error.message
        assert sidecar.refusal("subscribe_tasks", session_id="s", heartbeat=refused).kind == "invalid_params"
    sidecar.call("subscribe_events", session_id="s", heartbeat=2**53 - 1)
    nothing_more(sidecar)
    sidecar.call("subscribe_events", session_id="s", heartbeat=1)
    while len(sidecar.notifications) < 100:
        sidecar.call("session_count")
    assert {message["method"] for message in sidecar.notifications} == {"heartbeat"}


def test_a_reader_that_takes_nothing_is_owed_one_heartbeat(sidecar: Sidecar) -> None:
    session(sidecar)
    sidecar.send(*(request("subscribe_events", n, session_id="s", heartbeat=1) for n in range(200)))
    for _ in range(200):
        assert "result" in sidecar.receive_answer()
    sidecar.notifications.clear()
    time.sleep(0.5)
    assert sidecar.call("server_info")["name"] == "mcp-session-store"
    # What stands before the answer is what may wait for a reader, not what it was time for.
    assert len(sidecar.notifications) * 100 < 2 << 20


def test_idle_subscriptions_with_a_heartbeat_cost_only_that(sidecar: Sidecar) -> None:
    for number in range(200):
        session(sidecar, f"s{number}")
        sidecar.call("subscribe_events", session_id=f"s{number}", heartbeat=2**40)
    sidecar.call("subscribe_tasks", session_id="s0", heartbeat=10)
    assert {sidecar.receive_notification()["params"]["subscription_id"] for _ in range(20)} == {"tasks-201"}


def test_a_greeting_comes_first_and_says_whose_it_is(sidecar: Sidecar) -> None:
    session(sidecar, tenant_id="acme", principal="alice")
    sidecar.call("store_event", session_id="s", data=1)
    sidecar.call("create_task", task_id="t", session_id="s")
    sidecar.call("create_task", task_id="loose", principal="carol")
    owners = {"tenant_id": "acme", "principal": "alice"}
    for method, params, expected in (
        ("subscribe_events", {"session_id": "s", "after_event_id": 0}, {"session_id": "s"} | owners),
        ("subscribe_tasks", {"session_id": "s"}, {"session_id": "s"} | owners),
        ("subscribe_tasks", {"task_id": "t"}, {"session_id": "s", "task_id": "t"} | owners),
        ("subscribe_tasks", {"task_id": "loose"},
         {"session_id": None, "task_id": "loose", "tenant_id": None, "principal": "carol"}),
    ):  # fmt: skip
        opened = sidecar.call(method, init=True, **params)
        greeting = sidecar.receive_notification()
        assert greeting["method"] == "init"
        told = dict(greeting["params"])
        assert told.pop("subscription_id") == opened["subscription_id"]
        assert abs(told.pop("timestamp") - time.time_ns() // 1_000_000) < HOUR
        assert told == expected
        sidecar.call("unsubscribe", subscription_id=opened["subscription_id"])
        sidecar.notifications.clear()
    # Nobody is greeted who may not subscribe.
    assert sidecar.refusal("subscribe_events", session_id="s", init=True, principal="bob").kind == "session_not_found"


def test_frames_are_those_of_a_page(sidecar: Sidecar) -> None:
    session(sidecar)
    for data, kind in (({"a": [1, "\n"]}, "note"), (None, "keepalive"), ("x" * 5_000, "odd\nname"), (2, "message")):
        sidecar.call("store_event", session_id="s", data=data, event_type=kind, retry=7)
    for form in ("sse", "sse_typed"):
        page = sidecar.call("get_events_after", session_id="s", format=form)["frames"]
        opened = sidecar.call("subscribe_events", session_id="s", after_event_id=0, format=form)
        told = [sidecar.receive_notification()["params"] for _ in range(4)]
        assert "".join(params["frame"] for params in told) == page
        assert [params["event_id"] for params in told] == [1, 2, 3, 4]
        assert all(params["session_id"] == "s" and "event" not in params for params in told)
        sidecar.call("unsubscribe", subscription_id=opened["subscription_id"])
    assert sidecar.refusal("subscribe_events", session_id="s", format="xml").kind == "invalid_params"
    assert sidecar.refusal("subscribe_tasks", session_id="s", format="sse").kind == "invalid_params"


def test_a_task_that_a_change_lets_lapse_has_ended_with_it(sidecar: Sidecar) -> None:
    session(sidecar)
    sidecar.call("create_task", task_id="t", session_id="s")
    opened = [sidecar.call("subscribe_tasks", task_id="t"), sidecar.call("subscribe_tasks", session_id="s")]
    time.sleep(0.01)
    sidecar.call("touch_task", task_id="t", ttl=1)
    for each in opened:
        message = sidecar.receive_notification()
        assert message["method"] == "ended"
        assert message["params"] == {
            "subscription_id": each["subscription_id"], "reason": "expired", "task_id": "t",
        }  # fmt: skip
    assert sidecar.call("delete_task", task_id="t") == {"deleted": False}
    nothing_more(sidecar)


def test_a_heartbeat_hears_of_an_end_that_another_process_made(spawn: Spawn) -> None:
    sidecar, other = spawn(), spawn()
    session(sidecar)
    sidecar.call("subscribe_events", session_id="s", heartbeat=10, format="sse")
    other.call("delete_session", session_id="s")
    while (message := sidecar.receive_notification())["method"] == "heartbeat":
        assert message["params"]["frame"] == ": keepalive\n\n"
    assert message["params"]["reason"] == "deleted"
    assert message["params"]["frame"] == 'event: ended\ndata: {"reason":"deleted"}\n\n'
    sidecar.notifications.clear()
    nothing_more(sidecar)


@pytest.mark.file_only
def test_a_checkpoint_that_is_due_while_writes_of_one_task_are_told_apart(sidecar: Sidecar) -> None:
    """To somebody who has subscribed each of them is told, so that each closes the group before it and opens another:
    whenever there is time for a checkpoint, one is open."""
    sidecar.call("create_task", task_id="t", ttl=HOUR)
    sidecar.call("subscribe_tasks", task_id="t")
    task = {"task_id": "t", "meta": {"text": "x" * 14_000}}
    batch = [request("update_task", number, task=task, omit=["meta"]) for number in range(1_000)]
    sizes = []
    for _ in range(3):
        sidecar.send(batch)
        assert all("result" in answer for answer in sidecar.receive_answer())
        sizes.append(sidecar.call("health")["wal_bytes"])
    # More was written than the log may hold before a checkpoint is due, and it begins anew.
    assert sizes[0] > 4_000 * 4_096 and sizes[2] < 2 * sizes[0]
    sidecar.finish()


def test_an_end_that_is_pipelined_has_ended_a_subscription_for_what_comes_behind(sidecar: Sidecar) -> None:
    """As it would have one at a time, whatever shares a commit."""
    sidecar.call("create_session", session_id="s", status="active")
    opened = sidecar.call("subscribe_events", session_id="s")["subscription_id"]
    sidecar.send(
        request("store_event", 101, session_id="s", data="last"), request("invalidate_session", 102, session_id="s"),
        request("unsubscribe", 103, subscription_id=opened),
    )  # fmt: skip
    answers = {answer["id"]: answer["result"] for answer in (sidecar.receive_answer() for _ in range(3))}
    assert answers[103] == {"unsubscribed": False}
