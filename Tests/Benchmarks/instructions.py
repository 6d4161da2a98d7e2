"""Counts the instructions of fixed workloads and compares them with a budget: a guard that no busy machine disturbs.

    Tests/.venv/bin/python Tests/Benchmarks/instructions.py [--binary PATH] [--write]

Time on a shared machine varies by tens of per cent; the instructions of a process that does the same thing again vary
by less than one in a thousand. They are no measure of speed, for they know nothing of disks and caches, but whoever
makes a path longer is seen here. With --write the counts become the new budget: commit it with the change that it is
for, and say in the message why.

A workload must cost the same however slow the machine is. A group of pipelined writes ends after 10 ms, and under
valgrind everything takes fifty times as long: so lines are sent one at a time, each a group of its own, and what is to
share a group stands in one transaction. The database is in memory.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import workload
from machine import first_line, sidecar_sqlite
from programs import build_sidecar

BUDGET = Path(__file__).with_name("instruction_budget.json")
#: part of its budget by which a count may be higher; other processors run other variants of memcpy
MARGIN = 0.05
SESSIONS = 200


def transaction(requests: Iterable[str]) -> str:
    # A call is a request without its id and its version; params is its last member.
    calls = ["{" + line[line.index('"method"') :].strip() for line in requests]
    return f'{{"jsonrpc":"2.0","id":1,"method":"transaction","params":{{"calls":[{",".join(calls)}]}}}}\n'


def batch(requests: Iterable[str]) -> str:
    return f"[{','.join(line.strip() for line in requests)}]\n"


def ignored_member(kibibytes: int) -> str:
    """A request with a member that nobody knows: it is scanned and no more."""
    events = ",".join([workload.EVENT_DATA] * (kibibytes * 1024 // len(workload.EVENT_DATA)))
    return workload.request(1, "get_session", f'{{"session_id":"nobody"}},"ignored":[{events}]')


def ignored_string(kibibytes: int) -> str:
    """The same with one string in it, as large payloads mostly are."""
    return workload.request(1, "get_session", f'{{"session_id":"nobody"}},"ignored":"{"text " * (kibibytes * 205)}"')


@dataclass(frozen=True)
class Workload:
    """Lines that are sent after those of another workload, whose instructions are taken off."""

    after: str | None
    lines: tuple[str, ...]
    #: requests that share the count
    requests: int


def after_sessions(lines: Iterable[str], requests: int) -> Workload:
    return Workload("create_session", tuple(lines), requests)


WORKLOADS = {
    "start": Workload(None, (), 1),
    "create_session": Workload("start", (transaction(workload.create_sessions(SESSIONS, '{"k0":17}')),), SESSIONS),
    "scan 64 KiB": Workload("start", 20 * (ignored_member(64),), 20),
    "scan a string of 64 KiB": Workload("start", 20 * (ignored_string(64),), 20),
    "store_event": after_sessions([transaction(workload.store_events(1_000, SESSIONS))], 1_000),
    "store_event, a commit each": after_sessions(workload.store_events(200, SESSIONS), 200),
    "append_log_entry": after_sessions([transaction(workload.append_log_entries(500, SESSIONS))], 500),
    "set_session_state": after_sessions([transaction(workload.set_states(500, SESSIONS))], 500),
    "a task's life": after_sessions([transaction(workload.task_lives(100))], 100),
    "get_session": after_sessions([batch(workload.get_sessions(SESSIONS))], SESSIONS),
    "get_session_state": after_sessions([batch(workload.get_states(SESSIONS))], SESSIONS),
    "get_events_after, 5 events": Workload(
        "store_event", (batch(workload.get_events_after(0, 5, SESSIONS)),), SESSIONS
    ),
}


def sent(name: str | None) -> tuple[str, ...]:
    """All lines up to the end of a workload."""
    return sent(WORKLOADS[name].after) + WORKLOADS[name].lines if name else ()


def count(binary: Path, lines: Iterable[str]) -> int:
    """Instructions of a sidecar from its start to its end, that answers these lines, one after the other."""
    with tempfile.TemporaryDirectory(prefix="mcp-session-store-instructions-") as directory:
        log = Path(directory) / "log"
        child = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}", str(binary),
             "--database", ":memory:"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "SWIFT_DETERMINISTIC_HASHING": "1"},
        )  # fmt: skip
        try:
            for line in lines:
                child.stdin.write(line.encode())
                child.stdin.flush()
                answer = child.stdout.readline()
                if not answer or b'"error"' in answer:
                    raise RuntimeError(f"{line[:200]}… was answered {answer[:500]!r}")
        finally:
            child.communicate()
        collected = re.search(r"Collected : (\d+)", log.read_text())
        if child.returncode != 0 or not collected:
            raise RuntimeError(f"valgrind ended with {child.returncode}: {log.read_text()}")
        return int(collected[1])


def counts(binary: Path) -> dict[str, int]:
    """Instructions for each request, by the name of the workload."""
    totals = {name: count(binary, sent(name)) for name in WORKLOADS}
    return {
        name: (totals[name] - (totals[one.after] if one.after else 0)) // one.requests
        for name, one in WORKLOADS.items()
    }


def tools(binary: Path) -> dict[str, str]:
    """What decides about instructions besides the source."""
    return {"SQLite": sidecar_sqlite(binary), "Swift": first_line(["swift", "--version"])}


def risen(counted: dict[str, int], budget: dict[str, int]) -> list[str]:
    """What needs more than its budget, in sentences."""
    if counted.keys() != budget.keys():
        return [f"the budget is for other workloads: {', '.join(sorted(counted.keys() ^ budget.keys()))}"]
    return [
        f"{name}: {counted[name]:,} instructions, {counted[name] / budget[name] - 1:+.1%} beside its {budget[name]:,}"
        for name in budget
        if counted[name] > budget[name] * (1 + MARGIN)
    ]


def verdict(binary: Path, counted: dict[str, int]) -> list[str]:
    """Why the counts are over the committed budget; nothing when they are not."""
    committed = json.loads(BUDGET.read_text())
    over = risen(counted, committed["instructions"])
    if over and (now := tools(binary)) != committed["tools"]:
        over.append(f"the budget was counted with {committed['tools']}, this with {now}: count anew what it was before")
    return over


def main() -> int:
    parser = argparse.ArgumentParser(description="Counts instructions and compares them with the budget.")
    parser.add_argument("--binary", type=Path, help="the sidecar (default: the release binary, built first)")
    parser.add_argument("--write", action="store_true", help="makes the counts the new budget")
    chosen = parser.parse_args()
    if not shutil.which("valgrind"):
        print(f"{Path(sys.argv[0]).name}: valgrind is not installed (Debian: valgrind)", file=sys.stderr)
        return 69
    binary = chosen.binary.resolve() if chosen.binary else build_sidecar()
    counted = counts(binary)
    budget = json.loads(BUDGET.read_text())["instructions"]
    for name, instructions in counted.items():
        change = f" {instructions / budget[name] - 1:+7.2%}" if name in budget else ""
        print(f"{name:32}{instructions:>14,}{change}")
    if chosen.write:
        BUDGET.write_text(json.dumps({"tools": tools(binary), "instructions": counted}, indent=2) + "\n")
        return 0
    over = verdict(binary, counted)
    for sentence in over:
        print(sentence, file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
