"""Random writes of every kind, each of which succeeds when those before it have been done."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from model import KEEPER, LEAVER, LONG_AGO, LONG_AGO_TEXT, NOBODY, QUEUE, RATE, SETTLED, Model, Session, Task

Params = dict[str, Any]
Write = tuple[str, Params]

CONTRACT = Path(__file__).parents[2] / "protocol" / "openrpc.json"
#: repeating them would matter, and yet they change nothing in the file
NO_WRITES = {"subscribe_events", "subscribe_tasks", "subscribe_work", "unsubscribe", "backup", "archive", "shutdown"}

#: may be repeated, and write
FENCED = {"get_session", "renew_work", "settle_work"}

#: of the transactions, those that are too large for memory
LARGE = 0.012

#: how often each is tried, of all together
WEIGHTS = {
    "store_event": 160, "store_events": 80, "broadcast_event": 20, "delete_events_before": 15,
    "set_session_state": 60, "remove_session_state": 15, "append_log_entry": 80, "replace_log": 8, "compact_log": 8,
    "create_session": 12, "get_session": 10, "update_session": 20, "touch_session": 10, "delete_session": 8,
    "activate_session": 10, "suspend_session": 8, "resume_session": 8, "expire_session": 4, "invalidate_session": 2,
    "resolve_session": 3,
    "expire_sessions": 4, "validate_session": 12, "create_task": 40, "update_task": 20, "touch_task": 15,
    "update_task_status": 12, "store_task_result": 10, "complete_task": 12, "fail_task": 10, "cancel_task": 10,
    "require_task_input": 15, "provide_task_input": 15, "enqueue_task_message": 40, "dequeue_task_message": 20,
    "dequeue_all_task_messages": 8, "delete_task": 15, "expire_tasks": 5, "recover_stuck_tasks": 5,
    "consume_nonce": 25, "put_value": 40, "delete_value": 15, "record_security_event": 25, "validate_input": 15,
    "enqueue_work": 40, "claim_work": 12, "renew_work": 10, "settle_work": 40, "cancel_work": 15, "revive_work": 6,
    "put_event_subscription": 15, "delete_event_subscription": 8,
    "set_retention": 6, "place_legal_hold": 8, "lift_legal_hold": 4,
    "check_rate_limit": 25, "delete_user_data": 4, "transaction": 60, "maintenance": 3,
}  # fmt: skip


def writing_methods() -> set[str]:
    """The methods of the contract that change what is stored. Reads are repeatable; one of them can also touch, and
    what a fence guards is repeatable too."""
    methods = json.loads(CONTRACT.read_text(encoding="utf-8"))["methods"]
    return {method["name"] for method in methods if not method["x-repeatable"]} - NO_WRITES | FENCED


class Writes:
    """Makes parameters for each method from what the store will hold by then (``ahead``). A method of this class is
    called as the one that it is for, and returns None when nothing there is fit for it."""

    def __init__(self, pick: random.Random) -> None:
        self.pick = pick
        self.number = 0
        self.ahead = Model()
        #: one key for a while: a rate limit that gives nothing back would be used up
        self.rate_key = "r-0"
        self.names, self.weights = list(WEIGHTS), list(WEIGHTS.values())

    def go_on_from(self, model: Model) -> None:
        """After a crash: what is really there."""
        self.ahead = model.twin()

    def one(self) -> Write:
        while True:
            self.number += 1
            [method] = self.pick.choices(self.names, self.weights)
            params: Params | None = getattr(self, method)()
            if params is not None:
                self.ahead.apply(method, params)
                return method, params

    # --- What there is to choose from

    def data(self) -> str:
        return f"{self.number} " + "x" * self.pick.choice([0, 10, 30, 100, 300, 3_000])

    def session(self, *statuses: str, least: int = 1) -> tuple[str, Session] | None:
        """One that can be written to: the old ones stay as they are, and those of the leaver too."""
        fit = [(name, session) for name, session in self.ahead.sessions.items()
               if session.status in (statuses or ("active", "pending"))
               and not session.is_old and session.principal is None]  # fmt: skip
        return self.pick.choice(fit) if len(fit) >= least else None

    def task(self, *statuses: str) -> tuple[str, Task] | None:
        fit = [(name, task) for name, task in self.ahead.tasks.items() if task.status in (statuses or ("working",))]
        return self.pick.choice(fit) if fit else None

    def _of_session(self, *statuses: str, least: int = 1, **params: Any) -> Params | None:
        chosen = self.session(*statuses, least=least)
        return {"session_id": chosen[0], **params} if chosen else None

    def _of_task(self, *statuses: str, **params: Any) -> Params | None:
        chosen = self.task(*statuses)
        return {"task_id": chosen[0], **params} if chosen else None

    # --- Sessions

    def create_session(self) -> Params | None:
        """Few enough to read all of them after each crash."""
        if len(self.ahead.sessions) >= 14:
            return None
        for_ever = {"ttl": 0, "inactivity_timeout": 0}
        match self.pick.randrange(6):
            case 0:
                old = {"created_at": LONG_AGO, "last_activity": LONG_AGO, **for_ever}
                return {"session_id": f"old-{self.number}", "status": "active", **old}
            case 1:
                return {"session_id": f"{LEAVER}-{self.number}", "principal": LEAVER, "state": {"k": self.data()}}
            case 2:
                return {"session_id": f"s-{self.number}", "user_id": "u", **for_ever}
        made = {"state": {"made": self.data()}, "user_id": self.pick.choice(["u", "v"])}
        return {"session_id": f"s-{self.number}", "status": "active", **made}

    def get_session(self) -> Params | None:
        return self._of_session(touch=True)

    def update_session(self) -> Params | None:
        metadata = {"n": self.data()}
        if self.pick.random() < 0.1 and len(self.ahead.sessions) < 14:
            return {"session": {"session_id": f"s-{self.number}", "metadata": metadata}, "upsert": True}
        chosen = self.session()
        return {"session": {"session_id": chosen[0], "metadata": metadata}} if chosen else None

    def touch_session(self) -> Params | None:
        return self._of_session()

    def delete_session(self) -> Params | None:
        params = self._of_session("invalidated") or self._of_session("active", "pending", "suspended", least=5)
        return params and {**params, "delete_tasks": self.pick.random() < 0.5}

    def activate_session(self) -> Params | None:
        return self._of_session("pending")

    def suspend_session(self) -> Params | None:
        return self._of_session("active", least=4)

    def resume_session(self) -> Params | None:
        return self._of_session("suspended")

    def expire_session(self) -> Params | None:
        return self._of_session("active", "suspended", least=5)

    def invalidate_session(self) -> Params | None:
        return self._of_session("active", "suspended", least=5)

    def resolve_session(self) -> Params | None:
        return self._of_session("active", "suspended", least=5)

    def expire_sessions(self) -> Params | None:
        return {"older_than": LONG_AGO + 1}

    def validate_session(self) -> Params | None:
        """A foreign address only where the first one is known to be: a crash does not tell whether that had come."""
        chosen = self.session("active")
        if not chosen:
            return None
        is_foreign = chosen[1].address is not None and self.pick.random() < 0.5
        return {"session_id": chosen[0], "ip_address": "198.51.100.1" if is_foreign else "192.0.2.1"}

    def set_session_state(self) -> Params | None:
        return self._of_session(key=f"k-{self.pick.randrange(4)}", value=self.data())

    def remove_session_state(self) -> Params | None:
        return self._of_session(key=f"k-{self.pick.randrange(4)}")

    # --- Events and logs

    def store_event(self) -> Params | None:
        return self._of_session(data=self.data())

    def store_events(self) -> Params | None:
        return self._of_session(events=[{"data": f"{self.data()} {n}"} for n in range(self.pick.randrange(1, 7))])

    def delete_events_before(self) -> Params | None:
        chosen = self.session()
        if not chosen:
            return None
        newest = chosen[1].last_event_id
        return {"session_id": chosen[0], "before_event_id": self.pick.randrange(max(0, newest - 300), newest + 2)}

    def broadcast_event(self) -> Params | None:
        return {"data": self.data(), "user_id": "u"}

    def _entry(self) -> Params:
        return {"message_id": f"m-{self.number}", "data": self.data()}

    def append_log_entry(self) -> Params | None:
        chosen = self.session()
        if not chosen:
            return None
        entry = self._entry()
        if chosen[1].message_ids and self.pick.random() < 0.2:  # it is sent again
            entry["message_id"] = self.pick.choice(list(chosen[1].message_ids))
        return {"session_id": chosen[0], "entry": entry}

    def replace_log(self) -> Params | None:
        return self._of_session(entries=[{**self._entry(), "message_id": f"m-{self.number}-{n}"} for n in range(3)])

    def compact_log(self) -> Params | None:
        return self._of_session(checkpoint=self._entry() | {"kind": "checkpoint"})

    # --- Tasks

    def create_task(self) -> Params | None:
        if len(self.ahead.tasks) >= 40:
            return None
        params = {"task_id": f"t-{self.number}", "principal": KEEPER, "meta": {"n": self.data()}}
        chosen = self.session("active")
        return params | ({"session_id": chosen[0]} if chosen and self.pick.random() < 0.5 else {})

    def update_task(self) -> Params | None:
        chosen = self.task()
        if not chosen:
            return None
        task: Params = {"task_id": chosen[0], "meta": {"n": self.data()}}
        roll = self.pick.random()
        if roll < 0.3:
            task["last_updated_at"] = LONG_AGO_TEXT
        elif roll < 0.5:
            task |= {"created_at": LONG_AGO_TEXT, "ttl": 1_000}
        return {"task": task}

    def touch_task(self) -> Params | None:
        return self._of_task("working", "input_required", status_message=self.data())

    def delete_task(self) -> Params | None:
        if len(self.ahead.tasks) < 20:
            return None
        return self._of_task("completed", "failed", "cancelled", "working")

    def update_task_status(self) -> Params | None:
        return self._of_task(status=self.pick.choice(["completed", "failed", "cancelled"]), status_message=self.data())

    def store_task_result(self) -> Params | None:
        return self._of_task(result={"success": self.data()})

    def complete_task(self) -> Params | None:
        return self._of_task(result=self.data(), status_message=self.data())

    def fail_task(self) -> Params | None:
        return self._of_task(error={"code": 1, "message": self.data()}, status_message=self.data())

    def cancel_task(self) -> Params | None:
        return self._of_task(cooperative=self.pick.random() < 0.5)

    def require_task_input(self) -> Params | None:
        asked = {f"i-{self.number}-{n}": {"q": n} for n in range(self.pick.randrange(1, 4))}
        return self._of_task("working", "input_required", input_requests=asked)

    def provide_task_input(self) -> Params | None:
        chosen = self.task("input_required")
        if not chosen:
            return None
        keys = list(chosen[1].input_requests or {})
        given = self.pick.sample(keys, self.pick.randrange(1, len(keys) + 1))
        return {"task_id": chosen[0], "input_responses": {key: self.data() for key in given}}

    def enqueue_task_message(self) -> Params | None:
        return self._of_task(message=self.data())

    def dequeue_task_message(self) -> Params | None:
        return self._of_task()

    def dequeue_all_task_messages(self) -> Params | None:
        return self._of_task()

    def expire_tasks(self) -> Params | None:
        return {}

    def recover_stuck_tasks(self) -> Params | None:
        return {"max_age": 30 * 86_400_000}

    # --- Nonces, values, security

    def _nonce(self) -> Params:
        known = sorted(self.ahead.nonces)
        if known and self.pick.random() < 0.3:
            principal, nonce = self.pick.choice(known)
        else:
            principal, nonce = self.pick.choice([KEEPER, LEAVER]), f"n-{self.number}"
        return {"nonce": nonce, "principal": principal, "ttl": 366 * 86_400_000}

    def consume_nonce(self) -> Params | None:
        # The keeper's are never deleted, and each crash reads them all.
        return self._nonce() | ({"principal": LEAVER} if len(self.ahead.nonces) > 300 else {})

    def _owner(self) -> Params:
        return {"principal": LEAVER} if self.pick.random() < 0.3 else {}

    def put_value(self) -> Params | None:
        key = f"v-{self.pick.randrange(20)}"
        return {"collection": "c", "key": key, "value": self.data(), **self._owner()}

    def delete_value(self) -> Params | None:
        return {"collection": "c", "key": f"v-{self.pick.randrange(20)}", **self._owner()}

    def record_security_event(self) -> Params | None:
        severity = "medium" if self.session(least=5) and self.pick.random() < 0.2 else "low"
        return self._of_session(type="invalid_input", severity=severity, message=str(self.number))

    def validate_input(self) -> Params | None:
        return {"text": self.pick.choice(["plain", "<script>x</script>"])}

    def check_rate_limit(self) -> Params | None:
        return {"key": self.rate_key, **RATE}

    def delete_user_data(self) -> Params | None:
        return {"principal": LEAVER}

    # --- Work and event subscriptions

    def enqueue_work(self) -> Params | None:
        known = list(self.ahead.work)
        if len(known) >= 50:
            return None
        is_known = known and self.pick.random() < 0.2
        work_id = self.pick.choice(known) if is_known else f"w-{self.number}"
        return {"queue": QUEUE, "work_id": work_id, "payload": self.data()}

    def claim_work(self) -> Params | None:
        return {"queue": QUEUE, "lease": 86_400_000, "limit": 100}

    def _held(self) -> Params | None:
        held = [(name, item.fence) for name, item in self.ahead.work.items() if item.status == "leased" and item.fence]
        if not held:
            return None
        work_id, fence = self.pick.choice(held)
        return {"queue": QUEUE, "work_id": work_id, "fence": fence}

    def renew_work(self) -> Params | None:
        held = self._held()
        return held and {**held, "lease": 86_400_000}

    def settle_work(self) -> Params | None:
        held = self._held()
        return held and {**held, "outcome": self.pick.choice(list(SETTLED))}

    def cancel_work(self) -> Params | None:
        known = list(self.ahead.work)
        return {"queue": QUEUE, "work_id": self.pick.choice(known)} if len(known) > 10 else None

    def revive_work(self) -> Params | None:
        return {"queue": QUEUE}

    def put_event_subscription(self) -> Params | None:
        return {"subscription_id": f"es-{self.pick.randrange(12)}", "topic": "t", "data": self.data()}

    def delete_event_subscription(self) -> Params | None:
        return {"subscription_id": f"es-{self.pick.randrange(12)}", "announce": False}

    # --- Retention and legal holds

    def set_retention(self) -> Params | None:
        return {"tenant_id": f"t-{self.pick.randrange(4)}", "max_task_ttl": self.pick.choice([None, 1_000, 2_000])}

    def place_legal_hold(self) -> Params | None:
        name = f"h-{self.pick.randrange(6)}"
        return {"name": name, "principal": f"nobody-{name}"}

    def lift_legal_hold(self) -> Params | None:
        return {"name": f"h-{self.pick.randrange(6)}"}

    # --- Several at once

    def transaction(self) -> Params | None:
        """Writes of several kinds, with a nonce that makes it happen once: with a used one all of it is refused."""
        if self.pick.random() < LARGE:
            return self._large_transaction()
        chosen = [self.session() for _ in range(2)]
        calls: list[Params] = [{"method": "consume_nonce", "params": self._nonce(), "require": True}]
        for name in dict.fromkeys(entry[0] for entry in chosen if entry):
            calls.append({"method": "store_event", "params": {"session_id": name, "data": self.data()}})
            calls.append({"method": "append_log_entry", "params": {"session_id": name, "entry": self._entry()}})
        calls.append({"method": "put_value", "params": {"collection": "c", "key": "both", "value": self.data()}})
        calls.append({"method": "check_rate_limit", "params": self.check_rate_limit()})
        return {"calls": calls}

    def _large_transaction(self) -> Params | None:
        """More than stays in memory (2 MB), so that pages are in the log before its end. The page of a row that is
        small and written again and again is there among others, and more than once. Most are refused at their end."""
        small = self._small_row()

        def put(key: str, value: str) -> Params:
            return {"method": "put_value", "params": {"collection": "c", "key": key, "value": value}}

        keys = [f"v-{self.pick.randrange(20)}" for _ in range(6)]
        large = [put(key, "x" * 900_000) for key in keys]
        calls = [large[0], small, *large[1:3], small, *large[3:]]
        # What is not refused is read after each kill: little of it stays large.
        calls += [put(key, self.data()) for key in keys[:-1]]
        known = sorted(self.ahead.nonces)
        match self.pick.randrange(4):
            case 0 | 1 if known:
                principal, nonce = self.pick.choice(known)
                calls.append({"method": "consume_nonce", "require": True,
                              "params": {"nonce": nonce, "principal": principal, "ttl": 60_000}})  # fmt: skip
            case 0 | 1 | 2:
                calls.append({"method": "touch_task", "params": {"task_id": NOBODY}})
        return {"calls": calls}

    def _small_row(self) -> Params:
        """A write of a row that has no large ones beside it."""
        task, session = self.task("working", "input_required"), self.session()
        rows: list[Params] = [{"method": "check_rate_limit", "params": {"key": self.rate_key, **RATE}}]
        if task:
            rows.append({"method": "touch_task", "params": {"task_id": task[0], "status_message": "small"}})
        if session:
            state = {"session_id": session[0], "key": "k-0", "value": "small"}
            rows.append({"method": "set_session_state", "params": state})
        return self.pick.choice(rows)

    def maintenance(self) -> Params | None:
        return {}
