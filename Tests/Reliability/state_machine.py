"""The program beside a small model, step by step, in orders that Hypothesis makes up and makes shorter when they break
something: every kind of write and read, owners, deadlines on a clock that only the test moves, ends, kills, and kills
while writes are on their way.
"""

from __future__ import annotations

import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

import invariants
from part import Finding, Form, told
from preloaded import Clock, can_preload
from sidecar import Sidecar, request
from test_process import until

if TYPE_CHECKING:
    from postgres_server import PostgresServer

#: orders of steps, and steps in each
SHORT, LONG = (60, 50), (3_000, 100)
#: to shorten what breaks something takes minutes
PHASES = (Phase.generate, Phase.shrink)
MAX_SUSPENSION = 7 * 86_400_000
SESSION_TTL = 86_400_000
ABSENT = "(absent)"

sessions = st.sampled_from(["s1", "s2", "s3"])
tasks = st.sampled_from(["t1", "t2", "t3"])
keys = st.sampled_from(["k1", "k2", "\u00e9", "e\u0301"])
#: mostly the server itself, which sees everything
callers = st.sampled_from([ABSENT] * 5 + ["ann", "ann", "bob", None])
payloads = st.one_of(
    st.none(), st.integers(-5, 5), st.text(max_size=3), st.lists(st.booleans(), max_size=2),
    # More than a row of a task takes in.
    st.just("x" * 600),
)  # fmt: skip


def said(caller: str | None) -> dict[str, Any]:
    return {} if caller == ABSENT else {"principal": caller}


def admits(owner: str | None, caller: str | None) -> bool:
    return owner is None or caller in (ABSENT, owner)


@dataclass
class Session:
    owner: str | None
    status: str
    last: int
    expires: int | None
    timeout: int | None
    revision: int
    suspended: int = 0
    #: when somebody ended it
    ended: int | None = None
    state: dict[str, Any] = field(default_factory=dict)
    events: dict[int, Any] = field(default_factory=dict)
    last_event: int = 0
    log: dict[int, Any] = field(default_factory=dict)
    last_seq: int = 0
    messages: dict[str, int] = field(default_factory=dict)

    def deadline(self) -> int | None:
        if self.status == "suspended":
            return self.suspended + MAX_SUSPENSION
        if self.ended is not None:
            return self.ended + RETAINED
        return min((end for end in (self.expires, self.timeout and self.last + self.timeout) if end), default=None)

    def status_at(self, now: int) -> str:
        if self.status in OVER:
            return self.status
        deadline = self.deadline()
        return "expired" if deadline is not None and now >= deadline else self.status

    def is_kept(self, now: int) -> bool:
        """Whether it has ended and can still be read."""
        if self.ended is None and self.status_at(now) not in OVER:
            return False
        end = self.deadline() if self.ended is None else self.ended
        return end is not None and now < end + RETAINED


@dataclass
class Task:
    owner: str | None
    session: str | None
    #: another one may have its id later
    made_for: Session | None
    status: str
    ends: int | None
    result: Any = None
    queue: list[Any] = field(default_factory=list)


TERMINAL = ("completed", "failed", "cancelled")
#: what each method of the lifecycle makes of a status
LIFECYCLE = {
    "activate_session": {"pending": "active", "active": "active", "suspended": "active"},
    "suspend_session": {"active": "suspended"},
    "resume_session": {"suspended": "active"},
    "expire_session": dict.fromkeys(("pending", "active", "suspended"), "expired"),
    "invalidate_session": dict.fromkeys(("pending", "active", "suspended"), "invalidated"),
    "resolve_session": dict.fromkeys(("pending", "active", "suspended"), "resolved"),
}
OVER = ("expired", "resolved")
#: how long what has ended is kept: milliseconds
RETAINED = 60_000
GONE = ("session_expired", "session_not_found")  # the latter once the sweep has come by


class Machine(RuleBasedStateMachine):
    #: given by run()
    binary: Path
    place: Path
    #: with the clock that it shares with the program; None: the store is a file
    server: tuple[PostgresServer, Clock] | None
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(dir=self.place)
        self.database: str | Path
        if self.server is None:
            self.clock = Clock(Path(self.directory.name), libraries=self.place)
            self.database = Path(self.directory.name) / "sessions.db"
        else:
            server, self.clock = self.server
            self.name = server.new_database()
            self.database = server.address(self.name)
        self.sessions: dict[str, Session] = {}
        self.tasks: dict[str, Task] = {}
        self.values: dict[tuple[str | None, str], tuple[Any, int | None, int]] = {}
        self.nonces: dict[tuple[str | None, str], int] = {}
        self.rate = 0
        self.start()

    def start(self) -> None:
        # What a kill leaves behind is the same as with `full`, without waiting for the disk at each step.
        options = ("--durability", "normal") if self.server is None else ()
        # It compares the server's clock with its own.
        clocks = {} if self.server is None else {"TEST_CLOCK_IS_ALL": "1"}
        self.sidecar = Sidecar(*options, "--retain-ended", f"{RETAINED}ms", database=self.database,
                               binary=str(self.binary), env=self.clock.environment(**clocks))  # fmt: skip

    def end(self) -> None:
        """Takes the process away, and waits until nothing more can come of it."""
        self.sidecar.kill()
        if self.server is not None:
            until(lambda: not self.server[0].backends(self.name), "the server has noticed the kill")

    def teardown(self) -> None:
        try:
            for id in list(self.sessions):
                self.read_everything(id)
            assert self.sidecar.call("check_integrity")["problems"] == []
            assert self.sidecar.stderr() == ""
            self.sidecar.finish()
        finally:
            self.sidecar.kill()
            self.directory.cleanup()
            if self.server is not None:
                self.server[0].drop(self.name)

    # --- Asking

    def ask(self, method: str, caller: str | None = ABSENT, **params: Any) -> dict[str, Any]:
        type(self).steps += 1
        return self.sidecar.ask(method, **params, **said(caller))

    def result(self, expected: str | tuple[str, ...] | None, method: str, caller: str | None = ABSENT,
               **params: Any) -> Any:  # fmt: skip
        """The result when no error is expected, else None; one of the expected errors must come then."""
        answer = self.ask(method, caller, **params)
        kind = answer["error"]["data"]["kind"] if "error" in answer else None
        wanted = (expected,) if isinstance(expected, str) or expected is None else expected
        assert kind in wanted, f"{method} {params} for {caller}: {answer}, expected {wanted}"
        return answer.get("result")

    @property
    def now(self) -> int:
        return self.clock.now

    def problem(self, id: str, caller: str | None, access: str) -> str | tuple[str, ...] | None:
        """The error that a call on a session is expected to have."""
        session = self.sessions.get(id)
        if session is None or not admits(session.owner, caller):
            return "session_not_found"
        match session.status_at(self.now), access:
            case ("expired" | "resolved"), _:
                return GONE
            case ("suspended", "write") | ("invalidated", "read" | "write"):
                return "invalid_session_status"
        return None

    def written(self, id: str) -> Session:
        self.sessions[id].last = self.now
        return self.sessions[id]

    # --- Sessions

    @rule(id=sessions, caller=callers, status=st.sampled_from(["pending", "active", "active"]),
          ttl=st.sampled_from([None, 0, 5_000, 90_000]), timeout=st.sampled_from([None, 0, 1_000]),
          state=st.dictionaries(keys, payloads, max_size=2))  # fmt: skip
    def create_session(self, id: str, caller: str | None, status: str, ttl: Any, timeout: Any, state: Any) -> None:
        old = self.sessions.get(id)
        taken = old is not None and old.status_at(self.now) not in OVER
        made = self.result("session_exists" if taken else None, "create_session", caller, session_id=id, status=status,
                           ttl=ttl, inactivity_timeout=timeout, state=state)  # fmt: skip
        if taken:
            return
        lifetime = SESSION_TTL if ttl is None else ttl
        idle = 1_800_000 if timeout is None else timeout
        self.sessions[id] = Session(None if caller == ABSENT else caller, status, self.now,
                                    self.now + lifetime if lifetime else None, idle or None, made["revision"],
                                    state=dict(state))  # fmt: skip

    @rule(id=sessions, caller=callers, touch=st.booleans(), ended=st.booleans())
    def get_session(self, id: str, caller: str | None, touch: bool, ended: bool) -> None:
        found = self.result(None, "get_session", caller, session_id=id, touch=touch, include_ended=ended)
        session = self.sessions.get(id)
        status = session.status_at(self.now) if session else "expired"
        if session is None or not admits(session.owner, caller) or (
            status in OVER and not (ended and session.is_kept(self.now))
        ):
            assert found is None, found
            return
        if touch and status in ("pending", "active"):
            session.last = self.now
        assert (found["status"], found["state"], found["principal"], found["last_event_id"], found["last_activity"],
                found["expires_at"], found["revision"]) == (
            status, session.state, session.owner, session.last_event, session.last, session.expires, session.revision,
        ), found  # fmt: skip

    @rule(id=sessions, caller=callers, method=st.sampled_from(sorted(LIFECYCLE)))
    def change_status(self, id: str, caller: str | None, method: str) -> None:
        problem = self.problem(id, caller, "lifecycle")
        session = self.sessions.get(id)
        becomes = LIFECYCLE[method].get(session.status) if session else None
        if problem is None and becomes is None:
            problem = "invalid_session_status"
        found = self.result(problem, method, caller, session_id=id)
        if problem is not None:
            return
        if session.status == "suspended" and becomes == "active" and session.expires is not None:
            session.expires += self.now - session.suspended
        if becomes == "suspended":
            session.suspended = self.now
        if becomes in ("expired", "resolved", "invalidated"):
            session.ended = self.now
        assert found["status"] == becomes, found
        session.status, session.revision = becomes, found["revision"]
        self.written(id)

    @rule(id=sessions, caller=callers, metadata=st.dictionaries(keys, payloads, max_size=2), stale=st.booleans())
    def update_session(self, id: str, caller: str | None, metadata: Any, stale: bool) -> None:
        problem = self.problem(id, caller, "write")
        session = self.sessions.get(id)
        revision = (session.revision if session else 1) + stale
        if problem is None and stale:
            problem = "concurrent_modification"
        record = {"session_id": id, "metadata": metadata}
        found = self.result(problem, "update_session", caller, session=record, if_revision=revision)
        if problem is None:
            assert found["metadata"] == metadata and found["revision"] > revision
            self.written(id).revision = found["revision"]

    @rule(id=sessions, caller=callers, tasks=st.booleans())
    def delete_session(self, id: str, caller: str | None, tasks: bool) -> None:
        session = self.sessions.get(id)
        found = self.result(None, "delete_session", caller, session_id=id, delete_tasks=tasks)
        if session is None or not admits(session.owner, caller):
            assert found == {"deleted": False, "events": 0, "tasks": 0, "log_entries": 0}
            return
        if session.status_at(self.now) not in OVER or found["deleted"] or session.is_kept(self.now):
            assert (found["deleted"], found["events"], found["log_entries"]) == (
                True, len(session.events), len(session.log)), found  # fmt: skip
            if tasks:
                # Neither those of a session that had the id before nor what the caller may not see.
                self.tasks = {name: task for name, task in self.tasks.items()
                              if task.made_for is not session or not admits(task.owner, caller)}  # fmt: skip
        del self.sessions[id]

    @rule(caller=callers, status=st.sampled_from([None, "pending", "active", "suspended", "invalidated"]),
          ended=st.booleans())  # fmt: skip
    def list_sessions(self, caller: str | None, status: str | None, ended: bool) -> None:
        visible = [id for id, session in self.sessions.items() if admits(session.owner, caller)
                   and ((current := session.status_at(self.now)) not in OVER or (ended and session.is_kept(self.now)))
                   and status in (None, current)]  # fmt: skip
        params = {"status": status, "include_ended": ended}
        found = self.result(None, "list_session_ids", caller, **params)
        assert sorted(found["session_ids"]) == sorted(visible), found
        assert self.result(None, "session_count", caller, **params) == {"count": len(visible)}

    # --- State

    @rule(id=sessions, caller=callers, key=keys, value=payloads)
    def set_state(self, id: str, caller: str | None, key: str, value: Any) -> None:
        problem = self.problem(id, caller, "write")
        found = self.result(problem, "set_session_state", caller, session_id=id, key=key, value=value)
        if problem is None:
            session = self.written(id)
            session.state[key], session.revision = value, found["revision"]

    @rule(id=sessions, caller=callers, key=keys)
    def get_state(self, id: str, caller: str | None, key: str) -> None:
        problem = self.problem(id, caller, "read")
        found = self.result(problem, "get_session_state", caller, session_id=id, key=key)
        if problem is None:
            state = self.sessions[id].state
            assert found == {"exists": key in state, "value": state.get(key)}

    @rule(id=sessions, caller=callers, key=keys)
    def remove_state(self, id: str, caller: str | None, key: str) -> None:
        problem = self.problem(id, caller, "write")
        found = self.result(problem, "remove_session_state", caller, session_id=id, key=key)
        if problem is None:
            session = self.written(id)
            assert found == {"existed": key in session.state, "value": session.state.pop(key, None)}
            session.revision = self.sidecar.call("get_session", session_id=id)["revision"]

    # --- Events and log

    @rule(id=sessions, caller=callers, data=st.lists(payloads, min_size=1, max_size=3))
    def store_events(self, id: str, caller: str | None, data: list[Any]) -> None:
        problem = self.problem(id, caller, "write")
        found = self.result(problem, "store_events", caller, session_id=id, events=[{"data": each} for each in data])
        if problem is None:
            session = self.written(id)
            first = session.last_event + 1
            session.last_event += len(data)
            assert found == {"first_id": first, "last_id": session.last_event}
            session.events |= dict(enumerate(data, first))

    @rule(id=sessions, caller=callers, after=st.integers(0, 12), ended=st.booleans())
    def get_events(self, id: str, caller: str | None, after: int, ended: bool) -> None:
        problem = self.problem(id, caller, "read")
        if problem != "session_not_found" and ended and self.sessions[id].is_kept(self.now):
            problem = None
        page = self.result(problem, "get_events_after", caller, session_id=id, after_event_id=after,
                           include_ended=ended)  # fmt: skip
        if problem is None:
            session = self.sessions[id]
            assert {event["id"]: event["data"] for event in page["events"]} == {
                number: data for number, data in session.events.items() if number > after}  # fmt: skip
            gone = session.last_event - len(session.events)
            assert (page["gap"] or {"dropped": 0})["dropped"] == max(0, gone - after), page
            assert page["cursor_ahead"] == (after > session.last_event) and page["newest_id"] == session.last_event

    @rule(id=sessions, caller=callers, before=st.integers(0, 12))
    def delete_events(self, id: str, caller: str | None, before: int) -> None:
        problem = self.problem(id, caller, "write")
        found = self.result(problem, "delete_events_before", caller, session_id=id, before_event_id=before)
        if problem is None:
            session = self.written(id)
            kept = {number: data for number, data in session.events.items() if number >= before}
            assert found == {"deleted": len(session.events) - len(kept)}
            session.events = kept

    @rule(id=sessions, caller=callers, message=st.one_of(st.none(), keys), data=payloads)
    def append_log(self, id: str, caller: str | None, message: str | None, data: Any) -> None:
        problem = self.problem(id, caller, "write")
        entry = {"message_id": message, "data": data}
        found = self.result(problem, "append_log_entry", caller, session_id=id, entry=entry)
        if problem is None:
            session = self.written(id)
            known = session.messages.get(message or "")
            if known is None:
                session.last_seq += 1
                session.log[session.last_seq] = entry
                if message is not None:
                    session.messages[message] = session.last_seq
            assert found == {"seq": known or session.last_seq, "duplicate": known is not None}

    @rule(id=sessions, caller=callers, data=payloads)
    def compact_log(self, id: str, caller: str | None, data: Any) -> None:
        problem = self.problem(id, caller, "write")
        found = self.result(problem, "compact_log", caller, session_id=id, checkpoint={"data": data})
        if problem is None:
            session = self.written(id)
            session.last_seq += 1
            assert found == {"removed": len(session.log), "seq": session.last_seq}
            session.log = {session.last_seq: {"data": data}}

    @rule(id=sessions)
    def read_everything(self, id: str) -> None:
        """What a session holds, as the server sees it."""
        if self.problem(id, ABSENT, "read") is None:
            self.get_session(id, ABSENT, touch=False, ended=False)
            self.get_events(id, ABSENT, after=0, ended=False)
            log = self.result(None, "load_log", session_id=id)
            assert {entry["seq"]: entry["entry"] for entry in log["entries"]} == self.sessions[id].log

    # --- Tasks

    def task(self, id: str, caller: str | None) -> Task | None:
        task = self.tasks.get(id)
        lapsed = task is not None and task.ends is not None and self.now > task.ends
        return None if task is None or lapsed or not admits(task.owner, caller) else task

    @rule(id=tasks, caller=callers, session=st.one_of(st.none(), sessions), ttl=st.sampled_from([None, 2_000]))
    def create_task(self, id: str, caller: str | None, session: str | None, ttl: int | None) -> None:
        problem = self.problem(session, caller, "write") if session else None
        if problem is None and self.task(id, ABSENT) is not None:
            problem = "task_exists"
        found = self.result(problem, "create_task", caller, task_id=id, session_id=session, ttl=ttl)
        if problem is None:
            owner = None if caller == ABSENT else caller
            made_for = self.written(session) if session else None
            if made_for is not None:
                owner = owner or made_for.owner
            assert found["principal"] == owner
            ends = None if ttl is None else self.now + ttl
            self.tasks[id] = Task(owner, session, made_for, "working", ends)

    @rule(id=tasks, caller=callers)
    def get_task(self, id: str, caller: str | None) -> None:
        found, task = self.result(None, "get_task", caller, task_id=id), self.task(id, caller)
        assert (found is None) == (task is None)
        if task is not None:
            assert (found["status"], found["result"], found["session_id"]) == (task.status, task.result, task.session)

    @rule(id=tasks, caller=callers, status=st.sampled_from(["working", "input_required", *TERMINAL]))
    def move_task(self, id: str, caller: str | None, status: str) -> None:
        task = self.task(id, caller)
        problem = ("task_not_found" if task is None else "terminal_state" if task.status in TERMINAL
                   else "invalid_transition" if task.status == status else None)  # fmt: skip
        self.result(problem, "update_task_status", caller, task_id=id, status=status)
        if task is not None and problem is None:
            task.status = status

    @rule(id=tasks, caller=callers, value=payloads)
    def complete_task(self, id: str, caller: str | None, value: Any) -> None:
        task = self.task(id, caller)
        problem = "task_not_found" if task is None else "terminal_state" if task.status in TERMINAL else None
        self.result(problem, "complete_task", caller, task_id=id, result=value)
        if task is not None and problem is None:
            task.status, task.result = "completed", {"success": value}

    @rule(id=tasks, caller=callers, message=payloads)
    def enqueue(self, id: str, caller: str | None, message: Any) -> None:
        task = self.task(id, caller)
        found = self.result("task_not_found" if task is None else None, "enqueue_task_message", caller, task_id=id,
                            message=message)  # fmt: skip
        if task is not None:
            task.queue.append(message)
            assert found == {"size": len(task.queue)}

    @rule(id=tasks, caller=callers)
    def dequeue(self, id: str, caller: str | None) -> None:
        task = self.task(id, caller)
        found = self.result("task_not_found" if task is None else None, "dequeue_task_message", caller, task_id=id)
        if task is not None:
            exists = bool(task.queue)
            message = task.queue.pop(0) if task.queue else None
            assert found == {"exists": exists, "message": message, "size": len(task.queue)}

    @rule(id=tasks, caller=callers)
    def delete_task(self, id: str, caller: str | None) -> None:
        task = self.task(id, caller)
        assert self.result(None, "delete_task", caller, task_id=id) == {"deleted": task is not None}
        if task is not None:
            del self.tasks[id]

    @rule(caller=callers)
    def count_tasks(self, caller: str | None) -> None:
        count = sum(self.task(id, caller) is not None for id in self.tasks)
        assert self.result(None, "task_count", caller) == {"count": count}

    # --- Values, nonces, rates, transactions

    def value(self, caller: str | None, key: str) -> tuple[Any, int] | None:
        found = self.values.get((None if caller == ABSENT else caller, key))
        return None if found is None or found[1] is not None and self.now >= found[1] else (found[0], found[2])

    @rule(caller=callers, key=keys, value=payloads, ttl=st.sampled_from([None, 1, 3_000]), absent=st.booleans())
    def put_value(self, caller: str | None, key: str, value: Any, ttl: int | None, absent: bool) -> None:
        known = self.value(caller, key)
        found = self.result(None, "put_value", caller, collection="c", key=key, value=value, ttl=ttl, if_absent=absent)
        assert found["stored"] == (known is None or not absent)
        if found["stored"]:
            ends = None if ttl is None else self.now + ttl
            self.values[None if caller == ABSENT else caller, key] = (value, ends, found["revision"])

    @rule(caller=callers, key=keys)
    def get_value(self, caller: str | None, key: str) -> None:
        known = self.value(caller, key)
        found = self.result(None, "get_value", caller, collection="c", key=key)
        assert (found["exists"], found["value"], found["revision"]) == (
            known is not None, *(known or (None, None))), found  # fmt: skip

    @rule(caller=callers, key=keys, stale=st.booleans())
    def delete_value(self, caller: str | None, key: str, stale: bool) -> None:
        known = self.value(caller, key)
        revision = None if known is None else known[1] + stale
        problem = "concurrent_modification" if known and stale else None
        found = self.result(problem, "delete_value", caller, collection="c", key=key, if_revision=revision)
        if problem is None:
            assert found == {"deleted": known is not None}
            self.values.pop((None if caller == ABSENT else caller, key), None)

    @rule(caller=callers, nonce=keys, ttl=st.sampled_from([1, 5_000]))
    def consume_nonce(self, caller: str | None, nonce: str, ttl: int) -> None:
        place = (None if caller == ABSENT else caller, nonce)
        first = self.now >= self.nonces.get(place, 0)
        assert self.result(None, "consume_nonce", caller, nonce=nonce, ttl=ttl) == {"first": first}
        if first:
            self.nonces[place] = self.now + ttl

    @rule()
    def check_rate(self) -> None:
        """Three at once, then one each second."""
        after = max(self.rate, self.now) + 1_000
        found = self.result(None, "check_rate_limit", key="k", limit=3, window=3_000)
        assert found["allowed"] == (after <= self.now + 3_000), found
        if found["allowed"]:
            self.rate = after

    @rule(id=sessions, key=keys, value=payloads)
    def transact(self, id: str, key: str, value: Any) -> None:
        """An event and a value that must be new: both or none."""
        problem = self.problem(id, ABSENT, "write")
        if problem is None and self.value(ABSENT, key) is not None:
            problem = "requirement_failed"
        found = self.result(problem, "transaction", calls=[
            {"method": "store_event", "params": {"session_id": id, "data": value}},
            {"method": "put_value", "params": {"collection": "c", "key": key, "value": value, "if_absent": True},
             "require": True},
        ])  # fmt: skip
        if problem is None:
            session = self.written(id)
            session.last_event += 1
            session.events[session.last_event] = value
            self.values[None, key] = (value, None, found["results"][1]["revision"])

    # --- Time and processes

    @rule(milliseconds=st.sampled_from([1, 10, 999, 1_000, 5_000, 60_000, 3_600_000, 86_400_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.clock.now += milliseconds

    @rule()
    def maintain(self) -> None:
        self.result(None, "maintenance")

    @rule()
    def restart(self) -> None:
        assert self.sidecar.stderr() == ""
        assert self.sidecar.finish() == []
        self.end()
        self.start()

    @rule()
    def kill(self) -> None:
        self.end()
        self.start()

    @precondition(lambda self: self.sessions)
    @rule(count=st.integers(1, 20), answers=st.integers(0, 3))
    def kill_while_writing(self, count: int, answers: int) -> None:
        """Of the events that were on their way the first ones are there, and at least those that were answered."""
        id = next(iter(self.sessions))
        if self.problem(id, ABSENT, "write") is not None:
            return
        session = self.written(id)
        first = session.last_event + 1
        self.sidecar.send(*(request("store_event", number, session_id=id, data=number)
                            for number in range(first, first + count)))  # fmt: skip
        answered = [self.sidecar.receive() for _ in range(min(answers, count))]
        self.sidecar.process.send_signal(signal.SIGKILL)
        self.sidecar.process.wait()
        answered += self.sidecar.remains()
        self.end()
        self.start()
        newest = self.result(None, "get_session", session_id=id)
        if newest is None:  # the activity of the events that did not come is missing, and it is over
            return
        assert first - 1 + len(answered) <= newest["last_event_id"] < first + count, (answered, newest)
        session.last_event, session.last = newest["last_event_id"], newest["last_activity"]
        session.events |= {number: number for number in range(first, session.last_event + 1)}
        self.read_everything(id)


def run(form: Form) -> list[Finding]:
    return [explored(form, *(LONG if form.is_long else SHORT)), *invariants.run(form)]


def explored(form: Form, examples: int, steps: int, server: tuple[PostgresServer, Clock] | None = None) -> Finding:
    """On files, or on databases of a server that has the clock too."""
    if not can_preload(form.binary):
        raise RuntimeError("the program is linked statically: build it so that libc is a library")
    Machine.binary, Machine.place, Machine.server, Machine.steps = form.binary, form.directory, server, 0
    broken = []
    try:
        run_state_machine_as_test(seed(form.seed)(Machine), settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, database=None, print_blob=False,
            verbosity=Verbosity.normal, phases=PHASES, suppress_health_check=list(HealthCheck),
        ))  # fmt: skip
    except Exception as error:  # whatever a step meets, with the shortest order of steps that meets it
        broken += told(error)
    return Finding("in any order of calls, kills and times it does what a small model does",
                   f"{examples} orders, {Machine.steps:,} calls", broken)  # fmt: skip
