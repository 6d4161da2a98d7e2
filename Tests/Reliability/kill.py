"""SIGKILL at random moments under pipelined writes of every kind, hundreds of times on one file.

A process runs requests in order and commits them in groups, so what a crash leaves is the state after some first part
of the requests that were sent: at least those that were answered, at most all, and none of them in part. The model
knows what each request does. The requests are applied to it one after another, and the next process must find what the
model holds at one of these points.
"""

from __future__ import annotations

import functools
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model import AUDIT_CAP, MAX_VIOLATIONS, Model, Refusal, fits, found
from part import Finding, Form
from sidecar import Sidecar, line, request
from test_process import until
from writes import Write, Writes, writing_methods

if TYPE_CHECKING:
    from postgres_server import PostgresServer

CYCLES = 500
LONG_CYCLES = 10_000
OPTIONS = ("--max-audit-events", str(AUDIT_CAP), "--max-violations", str(MAX_VIOLATIONS))
#: with one key no more requests than the rate limit allows
CYCLES_OF_A_KEY = 5
#: after so many cycles that broke something more would tell nothing new
ENOUGH = 5


@dataclass
class Tally:
    """What all cycles tried."""

    cycles: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    #: written to the process and not answered when it died, by method
    in_flight: Counter[str] = field(default_factory=Counter)
    done_unanswered: int = 0
    not_done: int = 0


class Broken(Exception):
    """A promise that was not kept, in a sentence."""


class Victim:
    """One store, one process after the other, and what it must hold."""

    def __init__(
        self, binary: Path, database: Path | str, pick: random.Random, tally: Tally,
        settle: Callable[[], object] = lambda: None,
    ) -> None:
        """`settle` waits until nothing more can come of a process that was killed."""
        self.binary, self.database, self.pick, self.tally, self.settle = binary, database, pick, tally, settle
        self.model, self.writes = Model(), Writes(pick)
        #: when sessions were last active, and the highest revision, as far as answers told
        self.times: dict[str, int] = {}
        self.revision = 0
        self.sidecar = self.start()

    def start(self) -> Sidecar:
        level = self.pick.choice(["full", "normal"])
        return Sidecar("--durability", level, *OPTIONS, database=self.database, binary=str(self.binary))

    def cycle(self) -> None:
        """Kills the process under load, and looks whether the next one finds what it must."""
        self.tally.cycles += 1
        if self.pick.random() < 0.1:  # in the middle of its start
            time.sleep(self.pick.random() * 0.005)
            self.sidecar.kill()
            self.settle()
            self.sidecar = self.start()
        if self.tally.cycles % CYCLES_OF_A_KEY == 0:
            self.writes.rate_key = f"r-{self.tally.cycles}"
            self.model.rates.clear()
            self.writes.ahead.rates.clear()
        writes = [self.writes.one() for _ in range(self.pick.randrange(1, 400))]
        sent, answers = self.kill_under_load(writes)
        self.sidecar.kill()
        self.settle()
        self.sidecar = self.start()
        try:
            store = found(self.sidecar, [self.writes.rate_key])
        except AssertionError as error:
            raise Broken(f"what is there contradicts itself: {error}") from error
        self.advance(writes, sent, answers, store)
        self.model.check_rate_limit(self.writes.rate_key, 0, 0)  # reading it took one
        self.writes.go_on_from(self.model)
        self.check_file()

    def kill_under_load(self, writes: list[Write]) -> tuple[int, list[dict[str, Any]]]:
        """Sends the writes and kills the process somewhere on the way. Returns how many it can have read, and the
        answers."""
        pick = self.pick
        lines = [line(request(method, number, **params)) for number, (method, params) in enumerate(writes)]
        sent = pick.choice([len(lines), pick.randrange(len(lines) + 1)])
        cut = pick.choice([0, pick.randrange(1, 40)])  # the last line may have come in part
        self.sidecar.send_bytes(b"".join(lines[:sent]) + b"".join(lines[sent : sent + 1])[:cut])
        answers: list[dict[str, Any]] = []
        match pick.randrange(3):
            case 0:  # at once
                pass
            case 1:  # when so many answers have come
                answers += [self.sidecar.receive() for _ in range(pick.randrange(sent + 1))]
            case 2:  # after some time: any moment will do, so it does not matter what is done in that time
                time.sleep(pick.random() * 0.02)
        self.sidecar.process.send_signal(signal.SIGKILL)
        self.sidecar.process.wait()
        answers += self.sidecar.remains()
        return sent, answers

    def advance(self, writes: list[Write], sent: int, answers: list[dict[str, Any]], store: Model) -> None:
        """Applies the writes until the model is what the store holds."""
        for number, answer in enumerate(answers):
            method, params = writes[number]
            predicted = self.model.apply(method, params)
            said = answer.get("result", answer.get("error", {}).get("data"))
            is_refused = isinstance(predicted, Refusal)
            if answer["id"] != number or ("error" in answer) != is_refused or not fits(said, predicted):
                raise Broken(f"{method} {params} was answered {answer}, where {predicted} was expected")
            self.note(method, said)
            self.tally.answered[method] += 1
        self.tally.in_flight.update(method for method, _ in writes[len(answers) : sent])
        before = self.model.twin()
        for number in range(len(answers), sent + 1):
            if self.model == store:
                self.tally.done_unanswered += number - len(answers)
                self.tally.not_done += sent - number
                for name, item in store.work.items():
                    self.model.work[name].fence = item.fence
                return
            if number < sent:
                self.model.apply(*writes[number])
        said = f"what is there fits no point after {len(answers)} of {sent} writes; nearest, "
        raise Broken(said + nearest(before, writes[len(answers) : sent], store))

    def note(self, method: str, said: Any) -> None:
        """Remembers times and revisions that were answered."""
        if not isinstance(said, dict):
            return
        if "last_activity" in said:
            self.times[said["session_id"]] = said["last_activity"]
        revision = said.get("revision") or 0
        if method in ("create_session", "create_task", "set_session_state") and revision <= self.revision:
            raise Broken(f"{method} was given revision {revision}, and {self.revision} had been given before")
        self.revision = max(self.revision, revision)

    def check_file(self) -> None:
        """What SQLite and the store's own check say of the file, and times that must not go back."""
        said = self.sidecar.call("check_integrity")
        if not said["ok"]:
            raise Broken(f"check_integrity says {said['problems'][:3]}")
        if isinstance(self.database, Path):
            with closing(sqlite3.connect(self.database)) as connection:
                if (said := connection.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
                    raise Broken(f"SQLite says {said[:3]}")
                rows = {name for (name,) in connection.execute("SELECT task_id FROM tasks")}
            if left := rows - self.model.tasks.keys() - self.model.lapsed:
                raise Broken(f"rows of tasks that expire_tasks had removed are there again: {sorted(left)[:3]}")
        for row in self.sidecar.call("list_sessions", limit=1_000)["sessions"]:
            if row["last_activity"] < self.times.get(row["session_id"], 0):
                raise Broken(f"{row['session_id']} was last active at a time before one that was answered")
        self.times = {name: told for name, told in self.times.items() if name in self.model.sessions}


def nearest(model: Model, writes: list[Write], store: Model) -> str:
    """At the point where least is not as it should be: what is not."""
    points = [differences(model, store)]
    for method, params in writes:
        model.apply(method, params)
        points.append(differences(model, store))
    number = min(range(len(points)), key=lambda number: len(points[number]))
    return f"{number} writes later: " + "; ".join(points[number][:4])


def differences(model: Model, store: Model) -> list[str]:
    told = []
    for kind in ("sessions", "tasks", "values", "rates", "work", "subscriptions"):
        expected, there = getattr(model, kind), getattr(store, kind)
        for name in expected.keys() | there.keys():
            if expected.get(name) != there.get(name):
                told.append(f"{kind} {name}: {shortened(expected.get(name))}, found: {shortened(there.get(name))}")
    for kind in ("nonces", "lifecycle", "security"):
        expected, there = getattr(model, kind), getattr(store, kind)
        if expected != there:
            told.append(f"{kind}: {shortened(expected)}, found: {shortened(there)}")
    return told


def shortened(thing: Any) -> str:
    text = repr(thing)
    return text if len(text) <= 600 else text[:300] + " … " + text[-300:]


def run(form: Form) -> list[Finding]:
    return kill(form, LONG_CYCLES if form.is_long else CYCLES)


def kill(form: Form, cycles: int, server: PostgresServer | None = None) -> list[Finding]:
    """On files, or on databases of a server."""
    pick = random.Random(f"kill {form.seed}")
    tally, losses, files = Tally(), [], 0
    number = 0
    while number < cycles and len(losses) < ENOUGH:
        # A file on which something broke is kept as it is, and the rest is done on another one.
        files += 1
        if server is None:
            name, victim = f"{files}.db", Victim(form.binary, form.directory / f"{files}.db", pick, tally)
        else:
            name = server.new_database()
            is_left = functools.partial(until, lambda: not server.backends(name), "the server has noticed the kill")
            victim = Victim(form.binary, server.address(name), pick, tally, is_left)
        try:
            while number < cycles:
                number += 1
                victim.cycle()
                if number % max(1, cycles // 10) == 0:
                    form.say(f"{number} of {cycles} kills, {sum(tally.answered.values()):,} writes answered")
        except Broken as broken:
            losses.append(f"cycle {number}, {name}: {broken}")
        else:
            if (rest := victim.sidecar.finish()) != []:
                losses.append(f"the last process still said {rest[:3]}")
        finally:
            victim.sidecar.kill()

    answered, in_flight = sum(tally.answered.values()), sum(tally.in_flight.values())
    said = f"{tally.cycles:,} kills; {answered:,} writes answered, {in_flight:,} in flight: "
    said += f"{tally.done_unanswered:,} of these done, {tally.not_done:,} not"
    return [
        Finding("no acknowledged write is lost by a kill, none is there by half, no id is used again", said, losses),
        covered(tally),
    ]


def covered(tally: Tally) -> Finding:
    """That all this concerned every method that writes."""
    methods = writing_methods()
    missing = [f"{name} writes and is not tried: give it a weight in writes.py and a method in model.py"
               for name in sorted(methods - set(Writes(random.Random()).names))]  # fmt: skip
    extra = [f"{name} is tried and is no method that writes" for name in set(Writes(random.Random()).names) - methods]
    if tally.cycles >= CYCLES:  # fewer do not reach everything
        missing += [f"{name} was never answered" for name in sorted(methods) if not tally.answered[name]]
        missing += [f"{name} was never in flight" for name in sorted(methods) if not tally.in_flight[name]]
    least = min((tally.in_flight[name] for name in methods), default=0)
    tried = f"{len(methods)} writing methods, each in flight at least {least} times"
    return Finding("that holds for every method that writes", tried, missing + extra)
