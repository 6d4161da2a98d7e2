"""Sidecars on one store that write without a pause while something is done to the server or to the network, and what
must hold of it all: what was answered is there once, what was refused is not there, and what nobody knows is there
once or not at all. They are never started again: whatever happens, they go on by themselves.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sidecar import PATIENCE, Sidecar, request

SESSIONS = 3


@dataclass
class Ledger:
    """What became of each write, by the data that it brought."""

    #: data -> (session, id of the event)
    answered: dict[str, tuple[str, int]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    refused_data: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    rounds: int = 0
    #: in which at least one write was answered
    good_rounds: int = 0
    slowest: float = 0.0

    def add(self, other: Ledger) -> None:
        self.answered |= other.answered
        self.refused += other.refused
        self.refused_data |= other.refused_data
        self.unknown |= other.unknown
        self.broken += other.broken
        self.rounds += other.rounds
        self.good_rounds += other.good_rounds
        self.slowest = max(self.slowest, other.slowest)

    def tried(self) -> str:
        refused, unknown = self.refused.total(), len(self.unknown)
        return (f"{len(self.answered):,} writes answered, {refused:,} refused, {unknown:,} unknown; "
                f"the slowest round took {self.slowest:.1f} s")  # fmt: skip


class Writer(threading.Thread):
    """One sidecar, and rounds of writes to it. Each event goes with a value of the same name: both or none."""

    def __init__(self, number: int, sidecar: Sidecar, pick: random.Random, until: threading.Event) -> None:
        super().__init__()
        self.number, self.sidecar, self.pick, self.until = number, sidecar, pick, until
        self.ledger = Ledger()
        self.count = 0

    def run(self) -> None:
        try:
            while not self.until.is_set():
                self._round()
        except Exception as error:  # a thread's own would be lost
            self.ledger.broken.append(f"sidecar {self.number} did not go on: {type(error).__name__}: {error}")

    def _round(self) -> None:
        calls = []
        for _ in range(self.pick.choice([1, 1, 2, 5, 20, 80])):
            self.count += 1
            data, session = f"w{self.number}/{self.count}", f"s{self.pick.randrange(SESSIONS)}"
            event = {"session_id": session, "data": data}
            if self.pick.random() < 0.2:
                value = {"collection": "w", "key": data, "value": data, "if_absent": True}
                calls.append((data, request("transaction", self.count, calls=[
                    {"method": "store_event", "params": event},
                    {"method": "put_value", "params": value, "require": True},
                ])))  # fmt: skip
            else:
                calls.append((data, request("store_event", self.count, **event)))
        begun, answered = time.monotonic(), len(self.ledger.answered)
        self.sidecar.send(*(call for _, call in calls))
        for data, call in calls:
            self._answered(data, call, self.sidecar.receive_answer())
        self.ledger.rounds += 1
        self.ledger.good_rounds += len(self.ledger.answered) > answered
        self.ledger.slowest = max(self.ledger.slowest, time.monotonic() - begun)

    def _answered(self, data: str, call: dict[str, Any], answer: dict[str, Any]) -> None:
        ledger = self.ledger
        if answer["id"] != call["id"]:
            ledger.broken.append(f"sidecar {self.number} answered {answer['id']} where {call['id']} was due")
        elif "error" in answer:
            said = answer["error"]["data"]
            if said["outcome"] == "unknown":
                ledger.unknown.add(data)
            else:
                ledger.refused[said["kind"]] += 1
                ledger.refused_data.add(data)
                if not said["kind"].startswith("database_"):
                    ledger.broken.append(f"{call['method']} of sidecar {self.number}: {answer['error']}")
        else:
            is_lone = call["method"] == "store_event"
            result = answer["result"] if is_lone else answer["result"]["results"][0]
            params = call["params"] if is_lone else call["params"]["calls"][0]["params"]
            ledger.answered[data] = (params["session_id"], result["id"])


def started(address: str, binary: str, *options: str) -> Sidecar:
    """A sidecar that has found its server. One that hardly waits for it may have to try again on a busy machine."""
    deadline = time.monotonic() + PATIENCE
    while True:
        sidecar = Sidecar(*options, database=address, binary=binary)
        try:
            sidecar.call("session_count")
            return sidecar
        except (AssertionError, BrokenPipeError):
            if sidecar.process.wait(PATIENCE) != 75 or time.monotonic() > deadline:
                raise
            sidecar.kill()


class Fleet:
    """So many sidecars, each at an address of its own choice."""

    def __init__(self, binary: str, addresses: list[str], seed: str, *options: str) -> None:
        options = ("--max-events-per-session", "0", *options)
        self.pick = random.Random(seed)
        self.until = threading.Event()
        # All are there before anything happens to the way to the server: one that cannot start ends, as it should.
        self.sidecars = [started(address, binary, *options) for address in addresses]
        for number in range(SESSIONS):
            self.sidecars[0].call("create_session", session_id=f"s{number}", status="active", inactivity_timeout=0)
        self.writers = [
            Writer(number, sidecar, random.Random(self.pick.random()), self.until)
            for number, sidecar in enumerate(self.sidecars)]

    def __enter__(self) -> Fleet:
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the writing, if `halt` has not, and the sidecars."""
        self.halt()
        for sidecar in self.sidecars:
            sidecar.kill()

    def halt(self) -> Ledger:
        """Lets the rounds that were begun come to their end, and sums up."""
        self.until.set()
        ledger = Ledger()
        for writer in self.writers:
            writer.join(3 * PATIENCE)
            if writer.is_alive():
                writer.ledger.broken.append(f"sidecar {writer.number} never came to its end")
            ledger.add(writer.ledger)
        return ledger

    def rounds(self) -> int:
        return sum(writer.ledger.rounds for writer in self.writers)

    def goes_on(self) -> None:
        """Waits until every sidecar has done what it was asked, in rounds that were begun from now on."""
        before = [writer.ledger.good_rounds for writer in self.writers]
        deadline = time.monotonic() + PATIENCE
        while any(writer.is_alive() and writer.ledger.good_rounds < count + 2
                  for writer, count in zip(self.writers, before)):  # fmt: skip
            if time.monotonic() > deadline:
                raise TimeoutError(f"not every sidecar went on within {PATIENCE:.0f} s")
            time.sleep(0.01)


def judged(ledger: Ledger, reader: Sidecar) -> list[str]:
    """What is there that should not be, or is not there and should."""
    broken = list(ledger.broken)
    stored: dict[str, tuple[str, int]] = {}
    for session in (f"s{number}" for number in range(SESSIONS)):
        for id, data in enumerate(events(reader, session), start=1):
            if data in stored:
                broken.append(f"{data} is there twice: {stored[data]} and {(session, id)}")
            stored[data] = (session, id)
    for data, place in ledger.answered.items():
        if stored.get(data) != place:
            broken.append(f"{data} was answered {place}, and is at {stored.get(data)}")
    broken += [f"{data} was refused, and is there" for data in ledger.refused_data & stored.keys()]
    broken += [f"{data} is there, and nobody wrote it"
               for data in stored.keys() - ledger.answered.keys() - ledger.refused_data - ledger.unknown]  # fmt: skip
    values = listed_values(reader)
    broken += [f"the value {key} is there without its event" for key in values - stored.keys()]
    if not (said := reader.call("check_integrity"))["ok"]:
        broken.append(f"check_integrity says {said['problems'][:3]}")
    return broken


def events(reader: Sidecar, session: str) -> list[str]:
    """All of a session; their ids must be 1, 2, 3, …"""
    found: list[str] = []
    has_more = True
    while has_more:
        page = reader.call("get_events_after", session_id=session, after_event_id=len(found), limit=10_000)
        ids = [event["id"] for event in page["events"]]
        assert ids == list(range(len(found) + 1, len(found) + len(ids) + 1)), f"{session}: holes in the ids: {ids[:9]}"
        found += [event["data"] for event in page["events"]]
        has_more = page["has_more"]
    return found


def listed_values(reader: Sidecar) -> set[str]:
    keys: set[str] = set()
    cursor = None
    while True:
        page = reader.call("list_values", collection="w", cursor=cursor, limit=1_000)
        keys |= {value["key"] for value in page["values"]}
        cursor = page["next_cursor"]
        if cursor is None:
            return keys
