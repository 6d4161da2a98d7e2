"""Disks that fail: every call to the disk fails in its turn, once or from then on, and no answer may be wrong.

Every call of SQLite's is made to fail inside the product's own rooms (Disk/). The program itself is run under strace,
which makes the calls of the whole process fail, also those that SQLite does not make; Tests/Wire/test_faults.py does so
for writes and syncs of a store that is there, this for its start and the other calls.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import disk
from faults import can_trace, count, injecting
from part import Finding, Form
from sidecar import Sidecar, request

SESSION = {"session_id": "s"}


@dataclass(frozen=True)
class Fault:
    """What strace does to a call: see "inject" in strace(1)."""

    call: str
    error: str
    #: the kinds that requests may be answered with
    kinds: frozenset[str] = frozenset({"database_error", "outcome_unknown"})
    #: how the process may end
    ends: frozenset[int] = frozenset({0, 73, 74})


FULL = frozenset({"database_full"})
FAULTS = [
    Fault("openat", "EMFILE"), Fault("openat", "EIO"), Fault("openat", "ENOSPC"),
    Fault("ftruncate", "EIO"), Fault("ftruncate", "ENOSPC", FULL | {"database_error", "outcome_unknown"}),
    Fault("fdatasync", "EIO"), Fault("fdatasync", "ENOSPC", FULL | {"database_error", "outcome_unknown"}),
    Fault("fsync", "EIO"),
    Fault("pread64", "EIO"), Fault("pwrite64", "EIO"), Fault("pwrite64", "ENOSPC", FULL), Fault("pwrite64", "EDQUOT"),
    Fault("unlink", "EIO"), Fault("newfstatat", "EIO"), Fault("fstat", "EIO"),
    Fault("fcntl", "ENOLCK", frozenset({"database_busy", "database_error", "outcome_unknown"}),
          frozenset({0, 73, 74, 75})),
    Fault("flock", "EINTR", frozenset({"database_busy"}), frozenset({0, 75})),
    Fault("flock", "ENOLCK", frozenset({"database_busy"}), frozenset({0, 75})),
]  # fmt: skip


@dataclass
class Life:
    """A process under faults, and what became of each request."""

    sidecar: Sidecar
    acknowledged: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    def create(self) -> None:
        self._ask([request("create_session", "create", **SESSION)])

    def store(self, *data: str) -> None:
        self._ask([request("store_event", name, **SESSION, data=name) for name in data])

    def _ask(self, requests: list[dict[str, Any]]) -> None:
        try:
            self.sidecar.send(*requests)
        except BrokenPipeError:
            return
        for name in (made["id"] for made in requests):
            text = self.sidecar.read_line()
            if text is None:
                # It may have been done, but was not answered.
                self.unknown.append(name)
                continue
            answer: dict[str, Any] = json.loads(text)
            assert answer["id"] == name, answer
            if "result" in answer:
                self.acknowledged.append(name)
                continue
            error = answer["error"]["data"]
            self.kinds.add(error["kind"])
            if error["outcome"] == "unknown":
                self.unknown.append(name)

    def end(self) -> int:
        assert self.sidecar.process.stdin is not None
        if not self.sidecar.process.stdin.closed:
            self.sidecar.close_input()
        self.sidecar.rest()
        return self.sidecar.wait()


def judge(fault: Fault, when: str, template: Path, folder: Path) -> tuple[bool, list[str]]:
    """Runs one life. Returns whether the fault was met, and what broke."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    database, log = folder / "sessions.db", folder / "log"
    if template.exists():
        shutil.copy(template, database)
    wrapper = injecting(log, fault.call, f"error={fault.error}:when={when}")
    # Only calls on these files: what the loader reads is not the disk that is meant.
    for path in ("", "-wal", "-journal", "-shm", "-lock"):
        wrapper += ["-P", f"{database}{path}"]
    life = Life(Sidecar("--busy-timeout", "50ms", database=database, wrapper=[*wrapper, "-P", str(folder)]))
    try:
        if not template.exists():
            life.create()
        life.store("a")
        life.store("b-1", "b-2", "b-3")
        life.store("c" * 20_000)
        status = life.end()
    finally:
        life.sidecar.kill()
    broken = []
    unexpected = life.kinds - fault.kinds - {"session_not_found"}
    if unexpected:
        broken.append(f"answered with {sorted(unexpected)}")
    if status not in fault.ends:
        broken.append(f"exit status {status}")
    if "outcome_unknown" in life.kinds and status != 74:
        broken.append(f"exit status {status} after an unknown outcome")
    broken += look(database, life)
    return count(log, "INJECTED") > 0, broken


def look(database: Path, life: Life) -> list[str]:
    """What the next process finds, on a disk that is well again."""
    later = Sidecar(database=database)
    try:
        sessions = later.call("list_session_ids")["session_ids"]
        if "create" in life.acknowledged and not sessions:
            return ["the session is gone, though it was answered"]
        if not sessions:
            later.call("create_session", **SESSION)
        events = [event["data"] for event in later.call("get_events_after", **SESSION)["events"]]
        broken = []
        acknowledged = [name for name in life.acknowledged if name != "create"]
        if [name for name in events if name not in life.unknown] != acknowledged:
            broken.append(f"{events} are there, {acknowledged} were acknowledged, {life.unknown} may be there")
        if (stored := later.call("store_event", **SESSION, data="last")["id"]) != len(events) + 1:
            broken.append(f"the next event has the id {stored} behind {len(events)}")
        if problems := later.call("check_integrity")["problems"]:
            broken.append(f"damaged: {problems}")
        later.finish()
        return broken
    finally:
        later.kill()


def program(form: Form) -> Finding:
    """The binary, from its start on a new file and on one that is there."""
    template, none = form.directory / "template.db", form.directory / "none.db"
    made = Sidecar(database=template)
    made.call("create_session", **SESSION)
    made.finish()
    lives, broken = 0, []
    step = 1 if form.is_long else 3
    for fault in FAULTS:
        for start in (none, template):
            for extent in ("", "+"):
                number = 1
                while number < 400:
                    when = f"{number}{extent}"
                    met, found = judge(fault, when, start, form.directory / "life")
                    lives += 1
                    place = f"{fault.call} {fault.error} when={when} on {'a new file' if start is none else 'a store'}"
                    broken += [f"{place}: {text}" for text in found]
                    if not met:
                        break
                    number += step
        form.say(f"{fault.call} {fault.error}: {lives} lives so far, {len(broken)} broken")
    return Finding(
        "the program tells a failing disk as one, acknowledges nothing falsely, and starts again when it is well",
        f"{lives} lives under {len(FAULTS)} faults", broken,
    )  # fmt: skip


def run(form: Form) -> list[Finding]:
    found = disk.findings("io-faults", form)
    if can_trace():
        found.append(program(form))
    else:
        form.say("strace is missing or may not trace here: the program itself meets no faults")
    return found
