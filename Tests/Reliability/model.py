"""What the store holds, as plain values: what each writing method of the contract does to it, and how it is read.

``Model.apply`` runs a call on the model, ``found`` reads the same from a process. Two models are equal when a client
could not tell them apart; what no call shows stands in fields that are not compared.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from sidecar import Sidecar, request

#: bound to it are the tasks and most nonces, so that one export hands out what no list shows
KEEPER = "keeper"
#: whose data is deleted now and then, all at once
LEAVER = "leaver"
#: times in the past, which nothing but the calls below can set
LONG_AGO = 946_684_800_000
LONG_AGO_TEXT = "2000-01-01T00:00:00.000Z"
#: of the audit trail, so many entries are kept of each ring
AUDIT_CAP = 200
MAX_VIOLATIONS = 5
#: a rate limit that gives nothing back for hours
RATE = {"limit": 1_000, "window": 366 * 86_400_000}
#: the queue of all work
QUEUE = "w"
#: where an item is once its worker has said what became of it
SETTLED = {"done": "done", "retry": "waiting", "dead": "dead", "release": "waiting"}
#: no task is called so
NOBODY = "nobody"

Answer = dict[str, Any]


class Refusal(Answer):
    """What a call that is refused as a whole is predicted to answer."""


REFUSED, MISSING = Refusal(kind="requirement_failed"), Refusal(kind="task_not_found")


class Ring(list[Any]):
    """One ring of the audit trail. What is deleted of a user keeps its place: it is None, which no list shows. So two
    are equal when the newest halves are, as far as they show anything."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ring):
            return False
        newest = -AUDIT_CAP // 2
        fewer, more = sorted((ring[newest:] for ring in (self, other)), key=lambda half: len(half) - half.count(None))
        seen, all_seen = ([one for one in half if one] for half in (fewer, more))
        return seen == all_seen[len(all_seen) - len(seen) :] and (len(seen) == len(all_seen) or None in fewer)


@dataclass
class Session:
    status: str
    principal: str | None = None
    user_id: str | None = None
    metadata: Any = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    last_event_id: int = 0
    events: dict[int, Any] = field(default_factory=dict)
    last_seq: int = 0
    log: dict[int, Any] = field(default_factory=dict)
    is_old: bool = False
    address: str | None = field(default=None, compare=False)
    message_ids: dict[str, int] = field(default_factory=dict, compare=False)
    violations: int = field(default=0, compare=False)

    def store(self, data: Any) -> int:
        self.last_event_id += 1
        self.events[self.last_event_id] = data
        return self.last_event_id

    def append(self, entry: dict[str, Any]) -> int:
        self.last_seq += 1
        self.log[self.last_seq] = entry
        self.message_ids.setdefault(entry["message_id"], self.last_seq)
        return self.last_seq


@dataclass
class Task:
    session_id: str | None = None
    status: str = "working"
    status_message: str | None = None
    meta: Any = None
    result: Any = None
    input_requests: dict[str, Any] | None = None
    input_responses: dict[str, Any] | None = None
    cancel_requested: bool = False
    messages: list[Any] = field(default_factory=list)
    is_stale: bool = False

    @property
    def is_over(self) -> bool:
        return self.status not in ("working", "input_required")


@dataclass
class Work:
    """An item of the queue ``QUEUE``."""

    payload: Any
    status: str = "waiting"
    attempt: int = 0
    #: of its claim, once that is known: no call can name one that is not answered yet
    fence: int | None = field(default=None, compare=False)


@dataclass
class Model:
    sessions: dict[str, Session] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    values: dict[tuple[str | None, str], Any] = field(default_factory=dict)
    nonces: set[tuple[str, str]] = field(default_factory=set)
    work: dict[str, Work] = field(default_factory=dict)
    #: data of event subscriptions
    subscriptions: dict[str, Any] = field(default_factory=dict)
    #: principals of legal holds, by name
    holds: dict[str, str] = field(default_factory=dict)
    #: the longest life of a tenant's tasks
    retention: dict[str, int] = field(default_factory=dict)
    #: requests that were allowed, by key
    rates: dict[str, int] = field(default_factory=dict)
    #: what happened to which session; type, session and message of security events
    lifecycle: Ring = field(default_factory=Ring)
    security: Ring = field(default_factory=Ring)
    #: tasks whose time is over and whose rows may still be there
    lapsed: set[str] = field(default_factory=set, compare=False)

    def apply(self, method: str, params: dict[str, Any]) -> Answer:
        """Runs a call, and returns what its result must contain, or the refusal."""
        answer = getattr(self, method)(**params)
        return {} if answer is None else answer

    def twin(self) -> Model:
        """A model that changes on its own. Payloads are shared: nobody changes those."""
        other = copy.copy(self)
        other.sessions = {name: copy.copy(session) for name, session in self.sessions.items()}
        for session in other.sessions.values():
            session.state, session.events, session.log = dict(session.state), dict(session.events), dict(session.log)
            session.message_ids = dict(session.message_ids)
        other.tasks = {name: copy.copy(task) for name, task in self.tasks.items()}
        for task in other.tasks.values():
            task.messages = list(task.messages)
        other.work = {name: copy.copy(item) for name, item in self.work.items()}
        other.subscriptions, other.holds = dict(self.subscriptions), dict(self.holds)
        other.retention = dict(self.retention)
        other.values, other.nonces, other.rates = dict(self.values), set(self.nonces), dict(self.rates)
        other.lifecycle, other.security, other.lapsed = Ring(self.lifecycle), Ring(self.security), set(self.lapsed)
        return other

    def _happened(self, type: str, session_id: str) -> None:
        self.lifecycle.append((type, session_id))
        del self.lifecycle[:-AUDIT_CAP]

    def _noted(self, type: str, session_id: str | None, message: str | None) -> None:
        self.security.append((type, session_id, message))
        del self.security[:-AUDIT_CAP]

    # --- Sessions

    def create_session(self, session_id: str, status: str = "pending", last_activity: int | None = None,
                       created_at: int | None = None, ttl: int = 0, inactivity_timeout: int = 0,
                       **given: Any) -> Answer:  # fmt: skip
        given["state"] = dict(given.get("state", {}))
        self.sessions[session_id] = Session(status, is_old=last_activity is not None, **given)
        self._happened("created", session_id)
        return {"session_id": session_id, "status": status, "last_event_id": 0}

    def get_session(self, session_id: str, touch: bool) -> Answer:
        return {"session_id": session_id, "status": self.sessions[session_id].status}

    def update_session(self, session: dict[str, Any], upsert: bool = False) -> Answer:
        name = session["session_id"]
        if name not in self.sessions:
            self.create_session(name)
        self.sessions[name].metadata = session["metadata"]
        return {"metadata": session["metadata"]}

    def touch_session(self, session_id: str) -> Answer:
        return {"session_id": session_id}

    def delete_session(self, session_id: str, delete_tasks: bool = False) -> Answer:
        session = self.sessions.pop(session_id)
        tasks = [name for name, task in self.tasks.items() if task.session_id == session_id and delete_tasks]
        for name in tasks:
            del self.tasks[name]
        self._happened("deleted", session_id)
        # How many tasks it counts depends on whether those whose time is over are swept already.
        told = {"deleted": True}
        if session.status == "invalidated":  # what it had is not known any more, for nobody could read it
            return told
        return told | {"events": len(session.events), "log_entries": len(session.log)}

    def expire_sessions(self, older_than: int) -> Answer:
        old = [name for name, session in self.sessions.items() if session.is_old]
        for name in old:
            del self.sessions[name]
            self._happened("expired", name)
        return {"session_ids": old, "has_more": False}

    def _move(self, session_id: str, status: str, type: str) -> Answer:
        self.sessions[session_id].status = status
        self._happened(type, session_id)
        return {"status": status}

    def activate_session(self, session_id: str) -> Answer:
        return self._move(session_id, "active", "activated")

    def suspend_session(self, session_id: str) -> Answer:
        return self._move(session_id, "suspended", "suspended")

    def resume_session(self, session_id: str) -> Answer:
        return self._move(session_id, "active", "resumed")

    def expire_session(self, session_id: str) -> Answer:
        self._move(session_id, "expired", "expired")
        del self.sessions[session_id]
        return {"status": "expired"}

    def invalidate_session(self, session_id: str) -> Answer:
        session = self.sessions[session_id]
        session.events, session.log, session.last_seq = {}, {}, 0
        return self._move(session_id, "invalidated", "invalidated")

    def resolve_session(self, session_id: str) -> Answer:
        self._move(session_id, "resolved", "resolved")
        del self.sessions[session_id]
        return {"status": "resolved"}

    def set_session_state(self, session_id: str, key: str, value: Any) -> None:
        self.sessions[session_id].state[key] = value

    def remove_session_state(self, session_id: str, key: str) -> Answer:
        state = self.sessions[session_id].state
        return {"existed": key in state, "value": state.pop(key, None)}

    def validate_session(self, session_id: str, ip_address: str) -> Answer:
        session = self.sessions[session_id]
        if session.address in (None, ip_address):
            session.address = ip_address
            return {"valid": True}
        self._noted("session_hijacking", session_id, "address_changed")
        return {"valid": False, "reason": "address_changed"}

    # --- Events

    def store_event(self, session_id: str, data: Any) -> Answer:
        return {"id": self.sessions[session_id].store(data)}

    def store_events(self, session_id: str, events: list[dict[str, Any]]) -> Answer:
        ids = [self.sessions[session_id].store(event["data"]) for event in events]
        return {"first_id": ids[0], "last_id": ids[-1]}

    def delete_events_before(self, session_id: str, before_event_id: int) -> Answer:
        session = self.sessions[session_id]
        kept = {id: data for id, data in session.events.items() if id >= before_event_id}
        gone, session.events = len(session.events) - len(kept), kept
        return {"deleted": gone}

    def broadcast_event(self, data: Any, user_id: str) -> Answer:
        reached = [session for session in self.sessions.values()
                   if session.user_id == user_id and session.status == "active" and session.principal is None]
        for session in reached:
            session.store(data)
        return {"sessions": len(reached)}

    # --- Tasks

    def create_task(self, task_id: str, principal: str, session_id: str | None = None, meta: Any = None) -> Answer:
        self.tasks[task_id] = Task(session_id, meta=meta)
        return {"task_id": task_id, "status": "working"}

    def _change(self, task_id: str, **changes: Any) -> Answer:
        """What every change of a task does besides."""
        task = self.tasks[task_id]
        task.is_stale = False
        if "status" in changes and changes["status"] != "input_required":
            task.input_requests = None
        for name, value in changes.items():
            setattr(task, name, value)
        return {name: getattr(task, name) for name in changes}

    def update_task(self, task: dict[str, Any]) -> Answer:
        name = task["task_id"]
        if "created_at" in task:  # its time is over at once
            del self.tasks[name]
            self.lapsed.add(name)
            return {"task_id": name}
        self._change(name, meta=task["meta"])
        self.tasks[name].is_stale = "last_updated_at" in task
        return {"meta": task["meta"]}

    def touch_task(self, task_id: str, status_message: str) -> Answer:
        return self._change(task_id, status_message=status_message)

    def delete_task(self, task_id: str) -> Answer:
        del self.tasks[task_id]
        return {"deleted": True}

    def update_task_status(self, task_id: str, status: str, status_message: str | None = None) -> Answer:
        return self._change(task_id, status=status, status_message=status_message)

    def store_task_result(self, task_id: str, result: Any) -> Answer:
        return self._change(task_id, result=result)

    def complete_task(self, task_id: str, result: Any, status_message: str) -> Answer:
        changed = {"status": "completed", "result": {"success": result}, "status_message": status_message}
        return self._change(task_id, **changed)

    def fail_task(self, task_id: str, error: Any, status_message: str) -> Answer:
        return self._change(task_id, status="failed", result={"error": error}, status_message=status_message)

    def cancel_task(self, task_id: str, cooperative: bool = False) -> Answer:
        return self._change(task_id, cancel_requested=True, **({} if cooperative else {"status": "cancelled"}))

    def require_task_input(self, task_id: str, input_requests: dict[str, Any]) -> Answer:
        asked = (self.tasks[task_id].input_requests or {}) | input_requests
        return self._change(task_id, status="input_required", input_requests=asked)

    def provide_task_input(self, task_id: str, input_responses: dict[str, Any]) -> Answer:
        task = self.tasks[task_id]
        left = {key: value for key, value in (task.input_requests or {}).items() if key not in input_responses}
        given = (task.input_responses or {}) | input_responses
        status = {} if left else {"status": "working"}
        return self._change(task_id, **status, input_requests=left or None, input_responses=given)

    def enqueue_task_message(self, task_id: str, message: Any) -> Answer:
        self.tasks[task_id].messages.append(message)
        return {"size": len(self.tasks[task_id].messages)}

    def dequeue_task_message(self, task_id: str) -> Answer:
        messages = self.tasks[task_id].messages
        return {"exists": True, "message": messages.pop(0)} if messages else {"exists": False, "message": None}

    def dequeue_all_task_messages(self, task_id: str) -> Answer:
        messages, self.tasks[task_id].messages = self.tasks[task_id].messages, []
        return {"messages": messages, "has_more": False}

    def expire_tasks(self) -> None:
        self.lapsed.clear()

    def recover_stuck_tasks(self, max_age: int) -> Answer:
        stuck = [name for name, task in self.tasks.items() if task.is_stale and not task.is_over]
        for name in stuck:
            message = "Server restarted — task interrupted"
            self.fail_task(name, {"code": -32603, "message": message}, message)
        return {"task_ids": stuck, "has_more": False}

    # --- Nonces, values, logs, security

    def consume_nonce(self, nonce: str, principal: str, ttl: int) -> Answer:
        is_first = (principal, nonce) not in self.nonces
        self.nonces.add((principal, nonce))
        return {"first": is_first}

    def put_value(self, collection: str, key: str, value: Any, principal: str | None = None) -> Answer:
        self.values[principal, key] = value
        return {"stored": True}

    def delete_value(self, collection: str, key: str, principal: str | None = None) -> Answer:
        return {"deleted": self.values.pop((principal, key), self) is not self}

    def append_log_entry(self, session_id: str, entry: dict[str, Any]) -> Answer:
        session = self.sessions[session_id]
        known = session.message_ids.get(entry["message_id"])
        return {"seq": known or session.append(entry), "duplicate": known is not None}

    def replace_log(self, session_id: str, entries: list[dict[str, Any]]) -> Answer:
        session = self.sessions[session_id]
        session.log = {}
        seqs = [session.append(entry) for entry in entries]
        return {"first_seq": seqs[0], "last_seq": seqs[-1]}

    def compact_log(self, session_id: str, checkpoint: dict[str, Any]) -> Answer:
        session = self.sessions[session_id]
        removed, session.log = len(session.log), {}
        return {"removed": removed, "seq": session.append(checkpoint)}

    def record_security_event(self, session_id: str, type: str, severity: str, message: str) -> Answer:
        self._noted(type, session_id, message)
        session = self.sessions[session_id]
        if severity == "low":
            return {"action": "logged"}
        session.violations += 1
        if session.violations < MAX_VIOLATIONS:
            return {"action": "counted", "violations": session.violations}
        self.invalidate_session(session_id)
        return {"action": "invalidated"}

    def validate_input(self, text: str) -> Answer:
        is_valid = "<script>" not in text
        if not is_valid:
            self._noted("invalid_input", None, "script")
        return {"valid": is_valid}

    def check_rate_limit(self, key: str, limit: int, window: int) -> Answer:
        self.rates[key] = self.rates.get(key, 0) + 1
        return {"allowed": True, "remaining": limit - self.rates[key]}

    def delete_user_data(self, principal: str) -> Answer:
        names = {name for name, session in self.sessions.items() if session.principal == principal}
        values = [place for place in self.values if place[0] == principal]
        nonces = {nonce for nonce in self.nonces if nonce[0] == principal}
        for name in names:
            del self.sessions[name]
        for place in values:
            del self.values[place]
        self.nonces -= nonces
        # Its sessions are named after it, so that their trail is known when they are gone.
        self.lifecycle = Ring(None if line and line[1].startswith(principal) else line for line in self.lifecycle)
        return {"sessions": len(names), "values": len(values), "nonces": len(nonces)}

    # --- Retention and legal holds

    def set_retention(self, tenant_id: str, max_task_ttl: int | None) -> Answer:
        if self.retention.get(tenant_id) != max_task_ttl:
            message = "as the options say" if max_task_ttl is None else f"max_task_ttl={max_task_ttl}"
            self._noted("retention_set", None, message)
        if max_task_ttl is None:
            self.retention.pop(tenant_id, None)
        else:
            self.retention[tenant_id] = max_task_ttl
        return {"tenant_id": tenant_id, "max_task_ttl": max_task_ttl}

    def place_legal_hold(self, name: str, principal: str) -> Answer:
        is_new = name not in self.holds
        if is_new:
            self.holds[name] = principal
            self._noted("legal_hold_placed", None, name)
        return {"placed": is_new}

    def lift_legal_hold(self, name: str) -> Answer:
        was_there = self.holds.pop(name, None) is not None
        if was_there:
            self._noted("legal_hold_lifted", None, name)
        return {"lifted": was_there}

    # --- Work and event subscriptions

    def enqueue_work(self, queue: str, work_id: str, payload: Any) -> Answer:
        is_there = work_id in self.work
        item = self.work.setdefault(work_id, Work(payload))
        return {"stored": not is_there, "status": item.status}

    def claim_work(self, queue: str, lease: int, limit: int) -> None:
        """All that waits: fewer than the limit, so that it does not matter who stands where in the line."""
        for item in self.work.values():
            if item.status == "waiting":
                item.status, item.fence = "leased", None
                item.attempt += 1

    def renew_work(self, queue: str, work_id: str, fence: int, lease: int) -> Answer:
        return {"held": True}

    def settle_work(self, queue: str, work_id: str, fence: int, outcome: str) -> Answer:
        item = self.work[work_id]
        item.status, item.fence = SETTLED[outcome], None
        if outcome == "done":
            item.payload = None
        elif outcome == "release":
            item.attempt -= 1
        return {"held": True, "repeated": False, "status": item.status}

    def cancel_work(self, queue: str, work_id: str) -> Answer:
        return {"cancelled": int(self.work.pop(work_id).status in ("waiting", "leased"))}

    def revive_work(self, queue: str) -> Answer:
        dead = [item for item in self.work.values() if item.status == "dead"]
        for item in dead:
            item.status, item.attempt = "waiting", 0
        return {"revived": len(dead), "has_more": False}

    def put_event_subscription(self, subscription_id: str, topic: str, data: Any) -> Answer:
        is_new = subscription_id not in self.subscriptions
        self.subscriptions[subscription_id] = data
        return {"created": is_new}

    def delete_event_subscription(self, subscription_id: str, announce: bool) -> Answer:
        return {"deleted": self.subscriptions.pop(subscription_id, self) is not self, "cancelled": 0}

    # --- Several at once

    def transaction(self, calls: list[dict[str, Any]]) -> Answer:
        for call in calls:
            params = call["params"]
            if call.get("require") and (params["principal"], params["nonce"]) in self.nonces:
                return REFUSED
            if params.get("task_id") == NOBODY:
                return MISSING
        return {"results": [self.apply(call["method"], call["params"]) for call in calls]}

    def maintenance(self) -> None:
        """Nothing that a reader could see, but for rows of what is over."""


def fits(answer: Any, predicted: Any) -> bool:
    """Whether an answer has all that was predicted."""
    if isinstance(predicted, dict) and isinstance(answer, dict):
        return all(name in answer and fits(answer[name], value) for name, value in predicted.items())
    if isinstance(predicted, list) and isinstance(answer, list) and len(predicted) == len(answer):
        return all(map(fits, answer, predicted))
    return bool(answer == predicted)


# --- Reading


def pages(sidecar: Sidecar, method: str, member: str, **params: Any) -> list[dict[str, Any]]:
    """A whole list."""
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = sidecar.call(method, cursor=cursor, limit=1_000, **params)
        rows += page[member]
        if (cursor := page["next_cursor"]) is None:
            return rows


def found(sidecar: Sidecar, rates: list[str]) -> Model:
    """What a process reads from the file. To read a rate limit is to use it: each of ``rates`` counts one more."""
    model = Model()
    for row in pages(sidecar, "list_sessions", "sessions", include_state=True):
        model.sessions[row["session_id"]] = Session(
            row["status"], row["principal"], row["user_id"], row["metadata"], row["state"], row["last_event_id"],
            is_old=row["last_activity"] == LONG_AGO)  # fmt: skip
    read_events(sidecar, model)
    read_logs(sidecar, model)
    for row in pages(sidecar, "list_tasks", "tasks"):
        members = {name: row[name] for name in (
            "session_id", "status", "status_message", "meta", "result", "input_requests", "input_responses",
            "cancel_requested")}  # fmt: skip
        model.tasks[row["task_id"]] = Task(**members, is_stale=row["last_updated_at"] == LONG_AGO_TEXT)
    read_exports(sidecar, model)
    for principal in (None, LEAVER):
        for row in pages(sidecar, "list_values", "values", collection="c", principal=principal):
            model.values[principal, row["key"]] = row["value"]
    for row in pages(sidecar, "list_work", "work", queue=QUEUE):
        model.work[row["work_id"]] = Work(row["payload"], row["status"], row["attempt"], row["fence"])
    for row in pages(sidecar, "list_event_subscriptions", "subscriptions"):
        model.subscriptions[row["subscription_id"]] = row["data"]
    for row in pages(sidecar, "list_legal_holds", "holds"):
        model.holds[row["name"]] = row["principal"]
    for row in pages(sidecar, "list_retention", "tenants"):
        model.retention[row["tenant_id"]] = row["max_task_ttl"]
    last = 0
    for row in pages(sidecar, "list_audit_events", "events"):
        assert row["event_id"] > last, f"the audit trail goes from {last} to {row['event_id']}"
        last = row["event_id"]
        if row["severity"] is None:
            model.lifecycle.append((row["type"], row["session_id"]))
        else:
            model.security.append((row["type"], row["session_id"], row["message"]))
    assert max(len(model.lifecycle), len(model.security)) <= AUDIT_CAP
    for key in rates:
        used = RATE["limit"] - sidecar.call("check_rate_limit", key=key, **RATE)["remaining"] - 1
        if used:
            model.rates[key] = used
    assert sidecar.call("session_count") == {"count": len(model.sessions)}
    assert sidecar.call("task_count") == {"count": len(model.tasks)}
    return model


def read_events(sidecar: Sidecar, model: Model) -> None:
    names = [name for name, session in model.sessions.items() if session.status != "invalidated"]
    sidecar.send(*(request("get_events_after", name, session_id=name, limit=10_000) for name in names))
    for name in names:
        page = sidecar.receive()["result"]
        session = model.sessions[name]
        assert not page["has_more"] and page["newest_id"] == session.last_event_id, (name, page["newest_id"])
        session.events = {event["id"]: event["data"] for event in page["events"]}
        ids = list(session.events)
        assert ids == list(range(session.last_event_id - len(ids) + 1, session.last_event_id + 1)), f"{name}: {ids}"


def read_logs(sidecar: Sidecar, model: Model) -> None:
    for name, session in model.sessions.items():
        after, has_more = 0, session.status != "invalidated"
        while has_more:
            page = sidecar.call("load_log", session_id=name, after_seq=after)
            after, has_more, session.last_seq = page["next_after"], page["has_more"], page["newest_seq"]
            session.log |= {entry["seq"]: entry["entry"] for entry in page["entries"]}
        seqs = list(session.log)
        assert seqs == list(range(session.last_seq - len(seqs) + 1, session.last_seq + 1)), f"{name}: {seqs}"


def read_exports(sidecar: Sidecar, model: Model) -> None:
    """The messages in the queues of tasks, and the nonces, which no list shows."""
    numbers: dict[int, str] = {}
    for principal in (KEEPER, LEAVER):
        for record in pages(sidecar, "export_user_data", "records", principal=principal):
            match record:
                case {"task": {"number": number, "task_id": name}}:
                    numbers[number] = name
                case {"task_message": {"task": number, "message": message}}:
                    if numbers[number] in model.tasks:  # else its time is over
                        model.tasks[numbers[number]].messages.append(message)
                case {"nonce": {"nonce": nonce}}:
                    model.nonces.add((principal, nonce))
