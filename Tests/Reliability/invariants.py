"""What must hold after any call whatever: calls of every method with usual, extreme and old values, in orders that
Hypothesis makes up and makes shorter. No model says what comes out; it is held against the contract and against what
the program itself says elsewhere.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import tempfile
from collections import Counter
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from calls import MAKING, METHODS, RESULTS, Calls, kinds
from event_rows import with_single_records
from part import Finding, Form, told
from preloaded import Clock
from sidecar import Sidecar

#: orders of steps, and steps in each
SHORT, LONG = (60, 25), (3_000, 50)
#: to shorten what breaks something takes minutes
PHASES = (Phase.generate, Phase.shrink)
#: ends the process
ENDING = {"shutdown"}
#: with a disk that is well, alone on the file
NEVER = {"internal_error", "outcome_unknown", "database_busy", "database_full", "database_read_only",
         "database_corrupt", "database_too_new"}  # fmt: skip
#: small, so that calls come to them
OPTIONS = {
    "--max-sessions": "20", "--max-sessions-per-user": "4", "--max-tasks": "20", "--max-values": "20",
    "--max-events-per-session": "10", "--max-task-messages": "4", "--max-state-bytes": "4096",
    "--max-payload-bytes": "4096", "--max-result-bytes": "65536", "--max-subscriptions": "5", "--log-dedup-window": "3",
    "--max-audit-events": "30", "--max-violations": "2",
}  # fmt: skip
CALLERS = [{}, {}, {}, {"principal": "ann"}, {"principal": "bob"}, {"principal": None},
           {"tenant_id": "acme", "principal": "ann"}]  # fmt: skip
AN_HOUR = 3_600_000
#: what a caller may see besides is another part's matter: isolation.py
SEEING = [{}, {"principal": "ann"}, {"principal": None}]
METHODS_TRIED = [name for name in METHODS if name not in ENDING]
names = st.one_of(st.sampled_from(MAKING), st.sampled_from(METHODS_TRIED))
#: a method, who calls it, and what its parameters are made from
a_call = st.tuples(names, st.sampled_from(CALLERS), st.integers(0, 2**32 - 1))

Answer = dict[str, Any]


class AnyCalls(RuleBasedStateMachine):
    #: given by run()
    binary: Path
    place: Path
    calls_made = 0
    #: methods that succeeded, and those that were refused
    done: set[str] = set()

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(dir=self.place)
        self.home = Path(self.directory.name)
        self.database = self.home / "sessions.db"
        self.clock = Clock(self.home, libraries=self.place)
        self.calls = Calls(random.Random(0), lambda: self.clock.now, self.home)
        #: to which kind of list a cursor belongs
        self.issued: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        options = [word for option in OPTIONS.items() for word in option]
        self.sidecar = Sidecar("--durability", "normal", *options, database=self.database, binary=str(self.binary),
                               env=self.clock.environment())  # fmt: skip

    def teardown(self) -> None:
        try:
            self.everything_agrees()
            self.sidecar.finish()
            assert self.sidecar.stderr() == "", self.sidecar.stderr()
            self.dumps_the_same_again()
        finally:
            self.sidecar.kill()
            self.directory.cleanup()

    # --- Asking

    def ask(self, method: str, params: dict[str, Any], said: dict[str, Any] | None = None) -> Answer:
        """An answer that the contract allows to this call."""
        type(self).calls_made += 1
        id = type(self).calls_made
        line = self.calls.line(method, id, params)
        try:
            self.sidecar.send_bytes(line)
            answer = self.sidecar.receive_answer()
        except (AssertionError, OSError) as error:
            status = self.sidecar.process.poll()
            raise AssertionError(f"it ended with {status}: {self.sidecar.stderr()[:2_000]} after {line!r}") from error
        what = f"{line[:1_500]!r}: {json.dumps(answer)[:1_500]}"
        assert answer["id"] == id, f"not one answer to a line: {what}"
        if "error" in answer:
            kind = answer["error"]["data"]["kind"]
            assert kind in kinds(method, params.get("calls", [])) - NEVER, f"an error that is not told: {what}"
        else:
            assert self.issued.get(params.get("cursor"), kind_of(method)) == kind_of(method), f"another list's: {what}"
            if isinstance(answer["result"], dict) and answer["result"].get("next_cursor"):
                self.issued[answer["result"]["next_cursor"]] = kind_of(method)
            wrong = next(RESULTS[method].iter_errors(answer["result"]), None)
            assert wrong is None, f"not what the contract says: {wrong.message if wrong else ''}: {what}"
            self.done.add(method)
        return answer

    def result(self, method: str, **params: Any) -> Any:
        answer = self.ask(method, params)
        assert "result" in answer, f"{method} {params}: {answer}"
        return answer["result"]

    def pages(self, method: str, member: str, **params: Any) -> list[Any]:
        rows: list[Any] = []
        cursor = None
        while True:
            page = self.result(method, **params, limit=7, **({} if cursor is None else {"cursor": cursor}))
            rows += page[member]
            if (cursor := page["next_cursor"]) is None:
                return rows

    # --- Any call

    @rule(calls=st.lists(a_call, min_size=4, max_size=12))
    def call(self, calls: list[tuple[str, dict[str, Any], int]]) -> None:
        for method, caller, chance in calls:
            self.calls.pick = random.Random(chance)
            self.call_once(method, self.calls.params(method, **caller))

    def call_once(self, method: str, params: dict[str, Any]) -> None:
        answer = self.ask(method, params)
        if "result" in answer:
            self.calls.learn(params, answer["result"])
            calls = params.get("calls", [{"method": method, "params": params}])
            results = answer["result"]["results"] if method == "transaction" else [answer["result"]]
            if len(calls) == 1:  # of several a later one may change what an earlier one did
                self.reads_back(calls[0]["method"], calls[0]["params"], results[0])

    def reads_back(self, method: str, params: dict[str, Any], result: Any) -> None:
        """What was answered is what is there."""
        shape = METHODS[method]["result"]["schema"].get("$ref", "").rpartition("/")[2]
        owners = {name: params[name] for name in ("tenant_id", "principal") if name in params}
        omitted = {name: params[name] for name in ("omit",) if name in params}
        if shape == "Session":
            found = self.result("get_session", session_id=result["session_id"], **omitted)
            assert found == (None if self.is_over(result) else result), f"{method} {params}: {result}, then {found}"
        elif shape == "Task":
            found = self.result("get_task", task_id=result["task_id"], **omitted)
            assert found == (None if self.has_lapsed(result) else result), f"{method} {params}: {result}, then {found}"
        elif method == "put_value" and result["stored"]:
            found = self.result("get_value", collection=params["collection"], key=params["key"], **owners)
            assert (found["value"], found["revision"]) == (params["value"], result["revision"]), (params, found)
        elif method == "set_session_state":
            found = self.result("get_session_state", session_id=params["session_id"], key=params["key"])
            assert found == {"exists": True, "value": params["value"]}, (params, found)
        elif method in ("store_event", "store_events"):
            sent = params.get("events", [params])
            first = result.get("first_id", result.get("id"))
            page = self.result("get_events_after", session_id=params["session_id"], after_event_id=first - 1)
            assert [event["data"] for event in page["events"]] == [event["data"] for event in sent], (params, page)
        elif method == "append_log_entry" and not result["duplicate"]:
            page = self.result("load_log", session_id=params["session_id"], after_seq=result["seq"] - 1)
            assert page["entries"] == [{"seq": result["seq"], "entry": params["entry"]}], (params, page)
        elif method == "consume_nonce" and result["first"] and params["ttl"] <= AN_HOUR:
            self.is_taken_until(self.clock.now + params["ttl"], params)
        elif method == "check_rate_limit" and params["limit"] <= 5 and params["window"] <= AN_HOUR:
            self.is_denied_until_then(params)
        elif method.startswith("list_") and "next_cursor" in result and "cursor" not in params:
            member = next(name for name in result if name != "next_cursor")
            found = self.ask(method, params | {"limit": 1_000})["result"]
            few = found[member][: len(result[member])]
            assert few == result[member], f"{method} {params}: a page of {result[member]}, a longer one has {few}"

    def is_taken_until(self, end: int, nonce: dict[str, Any]) -> None:
        assert self.result("consume_nonce", **nonce) == {"first": False}, nonce
        self.clock.now = end - 1
        assert self.result("consume_nonce", **nonce) == {"first": False}, nonce
        self.clock.now = end
        assert self.result("consume_nonce", **nonce) == {"first": True}, nonce

    def is_denied_until_then(self, params: dict[str, Any]) -> None:
        """As often as it is allowed at once, and then not before the moment that a denial tells."""
        for _ in range(params["limit"] + 1):
            found = self.result("check_rate_limit", **params)
            if not found["allowed"]:
                break
        assert not found["allowed"] and found["retry_after"] > 0, (params, found)
        self.clock.now += found["retry_after"] - 1
        assert not self.result("check_rate_limit", **params)["allowed"], (params, found)
        self.clock.now += 1
        assert self.result("check_rate_limit", **params)["allowed"], (params, found)

    def is_over(self, session: Answer) -> bool:
        if session["status"] in ("expired", "resolved"):
            return True
        if session["status"] == "suspended":
            return False
        ends = [session["expires_at"]]
        if session["inactivity_timeout"] is not None:
            ends.append(session["last_activity"] + session["inactivity_timeout"])
        return any(end is not None and self.clock.now >= end for end in ends)

    def has_lapsed(self, task: Answer) -> bool:
        if task["ttl"] is None:
            return False
        return self.clock.now > milliseconds(task["created_at"]) + task["ttl"]

    # --- What agrees with what

    @rule()
    def everything_agrees(self) -> None:
        for said in SEEING:
            ids = self.pages("list_session_ids", "session_ids", **said)
            assert len(ids) == len(set(ids)), f"twice in a list: {ids}"
            listed = self.pages("list_sessions", "sessions", **said)
            assert [session["session_id"] for session in listed] == ids, (said, ids, listed)
            assert self.result("session_count", **said) == {"count": len(ids)}, (said, ids)
            tasks = [task["task_id"] for task in self.pages("list_tasks", "tasks", **said)]
            assert len(tasks) == len(set(tasks)), f"twice in a list: {tasks}"
            assert self.result("task_count", **said) == {"count": len(tasks)}, (said, tasks)
            for session in listed:
                self.counts_its_events(session, said)
            if not said:
                self.keeps_the_caps(listed, tasks)
        for name in ("get_metrics", "health"):
            self.result(name)

    def keeps_the_caps(self, sessions: list[Answer], tasks: list[str]) -> None:
        assert len(sessions) <= int(OPTIONS["--max-sessions"]) and len(tasks) <= int(OPTIONS["--max-tasks"])
        users = Counter((session["tenant_id"], session["user_id"]) for session in sessions if session["user_id"])
        assert max(users.values(), default=0) <= int(OPTIONS["--max-sessions-per-user"]), users

    def counts_its_events(self, session: Answer, said: dict[str, Any]) -> None:
        id = session["session_id"]
        if session["status"] == "invalidated":
            return
        page = self.result("get_events_after", session_id=id, limit=10_000, **said)
        if not page["has_more"]:
            events = page["events"]
            assert len(events) <= int(OPTIONS["--max-events-per-session"]), (id, page)
            assert self.result("event_count", session_id=id, **said) == {"count": len(events)}, (id, said, page)
        assert page["newest_id"] == session["last_event_id"], (session, page)

    def everything(self) -> dict[str, Any]:
        """All that a reader sees."""
        seen = {
            "sessions": self.pages("list_sessions", "sessions", include_state=True),
            "tasks": self.pages("list_tasks", "tasks"),
            "audit": self.pages("list_audit_events", "events"),
        }
        for session in seen["sessions"]:
            id = session["session_id"]
            for method in ("get_events_after", "load_log", "list_session_state_keys"):
                seen[f"{method} {id}"] = self.ask(method, {"session_id": id})
        for collection in self.calls.known.get("collection", []):
            answer = self.ask("list_values", {"collection": collection})
            answer.get("result", {}).pop("next_cursor", None)
            seen[f"values {collection}"] = answer
        for answer in seen.values():
            if isinstance(answer, dict):
                answer.pop("id")
        return seen

    # --- Time and processes

    @rule(milliseconds=st.sampled_from([1, 1, 1_000, 1_000, 60_000, 60_000, 3_600_000, 8 * 86_400_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.clock.now += milliseconds

    @rule()
    def deadlines_hold_to_the_millisecond(self) -> None:
        """Of the next session and the next task that end."""
        now = self.clock.now
        sessions = self.pages("list_sessions", "sessions")
        ends = [(end, session["session_id"]) for session in sessions if (end := self.end_of(session)) is not None]
        for end, id in sorted(ends)[:1]:
            if now < end <= now + AN_HOUR:
                self.clock.now = end - 1
                assert self.result("get_session", session_id=id) is not None, f"{id} ends before {end}"
                self.clock.now = end
                assert self.result("get_session", session_id=id) is None, f"{id} does not end at {end}"
        tasks = [task for task in self.pages("list_tasks", "tasks") if task["ttl"] is not None]
        lapses = [(milliseconds(task["created_at"]) + task["ttl"], task["task_id"]) for task in tasks]
        for end, id in sorted(lapses)[:1]:
            if self.clock.now <= end <= now + AN_HOUR:
                self.clock.now = end
                assert self.result("get_task", task_id=id) is not None, f"{id} ends at {end} already"
                self.clock.now = end + 1
                assert self.result("get_task", task_id=id) is None, f"{id} does not end after {end}"

    def end_of(self, session: Answer) -> int | None:
        if session["status"] not in ("pending", "active"):
            return None
        timeout = session["inactivity_timeout"]
        ends = [session["expires_at"], None if timeout is None else session["last_activity"] + timeout]
        return min((end for end in ends if end is not None), default=None)

    @rule()
    def suspension_stops_the_clock(self) -> None:
        active = [session for session in self.pages("list_sessions", "sessions", status="active")
                  if (session["expires_at"] or 2**53) < 2**52]  # fmt: skip
        for session in active[:1]:
            id = session["session_id"]
            self.result("suspend_session", session_id=id)
            self.clock.now += 5_000
            resumed = self.result("resume_session", session_id=id)
            assert resumed["expires_at"] == session["expires_at"] + 5_000, (session, resumed)

    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        """Another process sees the same, and knows a message that is sent again."""
        open_ones = [session["session_id"] for session in self.pages("list_sessions", "sessions")
                     if session["status"] in ("pending", "active")][:2]  # fmt: skip
        sent = [{"session_id": id, "entry": {"message_id": "sent again"}} for id in open_ones]
        seqs = [self.result("append_log_entry", **params)["seq"] for params in sent]
        before = self.everything()
        assert self.sidecar.stderr() == "", self.sidecar.stderr()
        if not kill:
            self.sidecar.finish()
        self.sidecar.kill()
        self.start()
        after = self.everything()
        assert before == after, [(name, before[name], after.get(name)) for name in before
                                 if before[name] != after.get(name)][:2]  # fmt: skip
        for params, seq in zip(sent, seqs):
            assert self.result("append_log_entry", **params) == {"seq": seq, "duplicate": True}, params
        integrity = self.result("check_integrity")
        assert integrity["ok"], integrity

    def dumps_the_same_again(self) -> None:
        """Without a process on it."""
        first = self.command("dump", "--secrets", "--database", self.database)
        copy = self.home / "copy.db"
        self.command("load", "--database", copy, input=first)
        second = self.command("dump", "--secrets", "--database", copy)
        assert first == second, f"a dump that is loaded dumps otherwise: {difference(first, second)}"
        # What no dump has would be missing in both.
        kept, loaded = (rows(database) for database in (self.database, copy))
        assert kept == loaded, [(table, kept[table][:3], loaded.get(table, [])[:3]) for table in kept
                                if kept[table] != loaded.get(table)]  # fmt: skip

    def command(self, *words: str | Path, input: bytes = b"") -> bytes:
        done = subprocess.run([self.binary, *words], input=input, capture_output=True, env=self.clock.environment())
        assert done.returncode == 0, f"{words[0]} ends with {done.returncode}: {done.stderr[:2_000]!r}"
        return done.stdout


def kind_of(method: str) -> str:
    """What a list is of: `list_sessions` and `list_session_ids` have cursors in common."""
    return method.split("_")[1][:4] if "_" in method else method


def milliseconds(text: str) -> int:
    """Of RFC 3339 text as the program writes it."""
    at = datetime.fromisoformat(text)
    return round((at - datetime.fromisoformat("1970-01-01T00:00:00Z")).total_seconds() * 1_000)


def rows(database: Path) -> dict[str, list[Any]]:
    """Everything, by table; the counters in `store` belong to the file, and its integrity is checked."""
    with closing(sqlite3.connect(database)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found = {table: connection.execute(f'SELECT * FROM "{table}"').fetchall() for table in tables}
        return {table: sorted(rows, key=repr) for table, rows in with_single_records(found).items() if table != "store"}


def difference(before: bytes, after: bytes) -> list[tuple[bytes, bytes]]:
    return [(one[:300], other[:300]) for one, other in zip(before.splitlines(), after.splitlines()) if one != other][:2]


def run(form: Form) -> list[Finding]:
    examples, steps = LONG if form.is_long else SHORT
    AnyCalls.binary, AnyCalls.place, AnyCalls.calls_made, AnyCalls.done = form.binary, form.directory, 0, set()
    broken = []
    try:
        run_state_machine_as_test(seed(form.seed)(AnyCalls), settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, database=None, print_blob=False,
            verbosity=Verbosity.normal, phases=PHASES, suppress_health_check=list(HealthCheck),
        ))  # fmt: skip
        if form.is_long and (missing := set(METHODS_TRIED) - AnyCalls.done):
            broken.append(f"never once answered with a result: {', '.join(sorted(missing))}")
    except Exception as error:  # whatever a step meets, with the shortest order of steps that meets it
        broken += told(error)
    return [Finding("after any call of any method its answer is one that the contract tells, reads back, and agrees "
                    "with all else, through restarts and dumps too",
                    f"{AnyCalls.calls_made:,} calls of {len(AnyCalls.done)} methods", broken)]  # fmt: skip
