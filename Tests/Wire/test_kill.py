"""SIGKILL at random moments under pipelined load, two hundred times on one file.

A process runs requests in order and commits them in groups, so what a crash leaves is the state after some first part
of the requests that were sent: at least those that were answered, at most all, and none of them in part. The test knows
what each request does, applies them one after another to a model, and looks for the point that the next process finds.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sidecar import Sidecar, line, request

CYCLES = int(os.environ.get("KILL_TEST_CYCLES", "200"))

Operation = tuple[str, dict[str, Any]]


class Model:
    """What the store holds, as plain values."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Any]] = {}
        self.events: dict[str, dict[int, Any]] = {}
        self.last_ids: dict[str, int] = {}
        self.tasks: dict[str, tuple[str, Any]] = {}
        self.values: dict[str, Any] = {}
        self.logs: dict[str, dict[int, Any]] = {}
        self.last_seqs: dict[str, int] = {}
        self.security_events: list[str] = []

    def apply(self, method: str, params: dict[str, Any]) -> None:
        session = params.get("session_id", "")
        match method:
            case "create_session":
                self.states[session], self.events[session], self.last_ids[session] = dict(params["state"]), {}, 0
                self.logs[session], self.last_seqs[session] = {}, 0
            case "delete_session":
                del self.states[session], self.events[session], self.last_ids[session]
                del self.logs[session], self.last_seqs[session]
            case "store_event":
                self.store(session, params["data"])
            case "store_events":
                for event in params["events"]:
                    self.store(session, event["data"])
            case "delete_events_before":
                kept = {id: data for id, data in self.events[session].items() if id >= params["before_event_id"]}
                self.events[session] = kept
            case "set_session_state":
                self.states[session][params["key"]] = params["value"]
            case "remove_session_state":
                self.states[session].pop(params["key"], None)
            case "create_task":
                self.tasks[params["task_id"]] = ("working", None)
            case "delete_task":
                del self.tasks[params["task_id"]]
            case "complete_task":
                self.tasks[params["task_id"]] = ("completed", {"success": params["result"]})
            case "put_value":
                self.values[params["key"]] = params["value"]
            case "append_log_entry":
                self.log(session, params["entry"])
            case "replace_log":
                self.logs[session] = {}
                for entry in params["entries"]:
                    self.log(session, entry)
            case "compact_log":
                self.logs[session] = {}
                self.log(session, params["checkpoint"])
            case "record_security_event":
                self.security_events.append(params["message"])
            case "transaction":
                for call in params["calls"]:
                    self.apply(call["method"], call["params"])

    def store(self, session: str, data: Any) -> None:
        self.last_ids[session] += 1
        self.events[session][self.last_ids[session]] = data

    def log(self, session: str, entry: Any) -> None:
        self.last_seqs[session] += 1
        self.logs[session][self.last_seqs[session]] = entry


class Load:
    """Random operations, each of which succeeds when those before it have been done."""

    def __init__(self, pick: random.Random) -> None:
        self.pick = pick
        self.number = 0
        self.sessions: list[str] = []
        self.tasks: list[str] = []

    def forget(self, model: Model) -> None:
        """After a crash: what may still be used."""
        self.sessions = [name for name in self.sessions if name in model.states]
        self.tasks = [name for name in self.tasks if model.tasks.get(name, ("", None))[0] == "working"]

    def one(self) -> Operation:
        self.number += 1
        data = f"{self.number} " + "x" * self.pick.choice([0, 10, 30, 100, 300, 3_000])
        if not self.sessions or self.pick.random() < 0.03:
            self.sessions.append(f"s-{self.number}")
            return "create_session", {"session_id": self.sessions[-1], "status": "active", "state": {"made": data}}
        session = {"session_id": self.pick.choice(self.sessions)}
        roll = self.pick.random() if len(self.sessions) < 8 else 1  # few enough to read all of them after each crash
        entry = {"message_id": f"m-{self.number}", "data": data}
        if roll < 0.12:
            return "append_log_entry", {**session, "entry": entry}
        if roll < 0.13:
            return "replace_log", {**session, "entries": [{**entry, "n": n} for n in range(3)]}
        if roll < 0.14:
            return "compact_log", {**session, "checkpoint": entry}
        if roll < 0.16:
            return "record_security_event", {
                **session, "type": "invalid_input", "severity": "low", "message": str(self.number)
            }  # fmt: skip
        if roll < 0.40:
            return "store_event", {**session, "data": data}
        if roll < 0.55:
            return "store_events", {**session, "events": [{"data": f"{data} {n}"} for n in range(1, 5)]}
        if roll < 0.70:
            return "set_session_state", {**session, "key": f"k-{self.pick.randrange(4)}", "value": data}
        if roll < 0.73:
            return "remove_session_state", {**session, "key": f"k-{self.pick.randrange(4)}"}
        if roll < 0.78:
            return "put_value", {"collection": "c", "key": f"v-{self.pick.randrange(20)}", "value": data}
        if roll < 0.84:
            self.tasks.append(f"t-{self.number}")
            return "create_task", {"task_id": self.tasks[-1]}
        if roll < 0.90 and self.tasks:
            task = {"task_id": self.tasks.pop()}
            return ("delete_task", task) if self.pick.random() < 0.5 else ("complete_task", {**task, "result": data})
        if roll < 0.97:
            calls = [{"method": "store_event", "params": {"session_id": name, "data": data}}
                     for name in self.pick.sample(self.sessions, min(2, len(self.sessions)))]  # fmt: skip
            return "transaction", {"calls": [*calls, {"method": "put_value", "params": {
                "collection": "c", "key": "both", "value": data}}]}  # fmt: skip
        if roll < 0.99 or len(self.sessions) < 4:
            return "delete_events_before", {**session, "before_event_id": self.pick.randrange(1, 2_000)}
        self.sessions.remove(session["session_id"])
        return "delete_session", session


def found(sidecar: Sidecar) -> Model:
    """What a process reads from the file."""
    model = Model()
    cursor, more = None, True
    while more:
        page = sidecar.call("list_sessions", include_state=True, limit=1_000, cursor=cursor)
        cursor, more = page["next_cursor"], page["next_cursor"] is not None
        for session in page["sessions"]:
            model.states[session["session_id"]] = session["state"]
            model.last_ids[session["session_id"]] = session["last_event_id"]
    names = list(model.states)
    sidecar.send(*(request("get_events_after", name, session_id=name, limit=10_000) for name in names))
    for name in names:
        page = sidecar.receive()["result"]
        assert not page["has_more"] and page["newest_id"] == model.last_ids[name]
        model.events[name] = {event["id"]: event["data"] for event in page["events"]}
        ids = list(model.events[name])
        assert ids == list(range(ids[0], ids[0] + len(ids))) if ids else True, f"{name}: {ids}"
    for name in names:
        model.logs[name], after, more = {}, 0, True
        while more:
            page = sidecar.call("load_log", session_id=name, after_seq=after)
            after, more = page["next_after"], page["has_more"]
            model.logs[name] |= {entry["seq"]: entry["entry"] for entry in page["entries"]}
        model.last_seqs[name], seqs = page["newest_seq"], list(model.logs[name])
        assert seqs == list(range(page["newest_seq"] - len(seqs) + 1, page["newest_seq"] + 1)), f"{name}: {seqs}"
    cursor, more = None, True
    while more:
        page = sidecar.call("list_audit_events", type="invalid_input", limit=1_000, cursor=cursor)
        cursor, more = page["next_cursor"], page["next_cursor"] is not None
        model.security_events += [event["message"] for event in page["events"]]
    cursor, more = None, True
    while more:
        page = sidecar.call("list_tasks", limit=1_000, cursor=cursor)
        cursor, more = page["next_cursor"], page["next_cursor"] is not None
        model.tasks |= {task["task_id"]: (task["status"], task["result"]) for task in page["tasks"]}
    model.values = {entry["key"]: entry["value"] for entry in sidecar.call("list_values", collection="c")["values"]}
    assert sidecar.call("session_count") == {"count": len(model.states)}
    assert sidecar.call("event_count") == {"count": sum(len(events) for events in model.events.values())}
    assert sidecar.call("task_count") == {"count": len(model.tasks)}
    return model


def kill_under_load(sidecar: Sidecar, operations: list[Operation], pick: random.Random) -> int:
    """Sends the operations and kills the process somewhere on the way. Returns how many were answered."""
    lines = [line(request(method, number, **params)) for number, (method, params) in enumerate(operations)]
    sent = pick.choice([len(lines), pick.randrange(len(lines) + 1)])
    cut = pick.choice([0, pick.randrange(1, 40)])  # the last line may have come in part
    sidecar.send_bytes(b"".join(lines[:sent]) + b"".join(lines[sent : sent + 1])[:cut])
    answers: list[dict[str, Any]] = []
    match pick.randrange(3):
        case 0:  # at once
            pass
        case 1:  # when so many answers have come
            answers += [sidecar.receive() for _ in range(pick.randrange(sent + 1))]
        case 2:  # after some time: any moment will do, so it does not matter what is done in that time
            time.sleep(pick.random() * 0.02)
    sidecar.process.send_signal(signal.SIGKILL)
    sidecar.process.wait()
    answers += sidecar.remains()
    for number, answer in enumerate(answers):
        assert answer["id"] == number and "result" in answer, (operations[number], answer)
    return len(answers)


def advance(model: Model, operations: list[Operation], answered: int, store: Model) -> int | None:
    """Applies the operations until the model is what the store holds. None when it never is."""
    for method, params in operations[:answered]:
        model.apply(method, params)
    for number in range(answered, len(operations) + 1):
        if vars(model) == vars(store):
            return number
        if number < len(operations):
            model.apply(*operations[number])
    return None


def test_nothing_that_was_acknowledged_is_lost(spawn: Callable[..., Sidecar], database: Path) -> None:
    seed = int(os.environ.get("KILL_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"KILL_TEST_SEED={seed}")  # shown when the test fails
    pick = random.Random(seed)
    model, load = Model(), Load(pick)
    sidecar = spawn("--durability", pick.choice(["full", "normal"]))
    applied_unanswered = lost = 0
    for cycle in range(CYCLES):
        if pick.random() < 0.1:  # in the middle of its start
            time.sleep(pick.random() * 0.005)
            sidecar.kill()
            sidecar = spawn()
        operations = [load.one() for _ in range(pick.randrange(1, 400))]
        answered = kill_under_load(sidecar, operations, pick)
        sidecar.kill()
        sidecar = spawn()
        store = found(sidecar)
        reached = advance(model, operations, answered, store)
        assert reached is not None, f"seed {seed}, cycle {cycle}: no point after {answered} of {len(operations)} fits"
        applied_unanswered += reached - answered
        lost += len(operations) - reached
        load.forget(model)
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], f"seed {seed}, cycle {cycle}"
    assert sidecar.finish() == []
    print(f"{CYCLES} kills: {applied_unanswered} writes were done and not answered, {lost} were not done")
