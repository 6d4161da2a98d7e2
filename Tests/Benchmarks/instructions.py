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
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import workload
from programs import build_sidecar

BUDGET = Path(__file__).with_name("instruction_budget.json")
#: part of its budget by which a count may be higher; other processors run other variants of memcpy
MARGIN = 0.05
SESSIONS = 10


def lines(requests: Iterable[str], count: int) -> list[str]:
    return list(islice(requests, count))


def transaction(requests: Iterable[str]) -> str:
    calls = [f'{{"method":"{one["method"]}","params":{raw_params(line)}}}' for line, one in parsed(requests)]
    return f'{{"jsonrpc":"2.0","id":1,"method":"transaction","params":{{"calls":[{",".join(calls)}]}}}}\n'


def batch(requests: Iterable[str]) -> str:
    return f"[{','.join(line.strip() for line in requests)}]\n"


def parsed(requests: Iterable[str]) -> Iterator[tuple[str, dict]]:
    return ((line, json.loads(line)) for line in requests)


def raw_params(line: str) -> str:
    """The text of `params`, which is the last member of a request."""
    return line.strip().partition('"params":')[2][:-1]


def ignored_member(kibibytes: int) -> str:
    """A request with a member that nobody knows: it is scanned and no more."""
    events = ",".join([workload.EVENT_DATA] * (kibibytes * 1024 // len(workload.EVENT_DATA)))
    return workload.request(1, "get_session", f'{{"session_id":"nobody"}},"ignored":[{events}]')


CREATE = transaction(workload.create_sessions(SESSIONS, '{"k0":17}'))
EVENTS = transaction(workload.store_events(1_000, SESSIONS))

#: What is sent, line by line, and how many requests share the count. What prepares a workload is in its count.
WORKLOADS: dict[str, tuple[Callable[[], list[str]], int]] = {
    "start": (lambda: [], 1),
    "scan 64 KiB": (lambda: 20 * [ignored_member(64)], 20),
    "store_event": (lambda: [CREATE, *3 * [EVENTS]], 3_000),
    "store_event, a commit each": (lambda: [CREATE, *workload.store_events(500, SESSIONS)], 500),
    "append_log_entry": (lambda: [CREATE, transaction(workload.append_log_entries(1_000, SESSIONS))], 1_000),
    "set_session_state": (lambda: [CREATE, transaction(workload.set_states(1_000, SESSIONS))], 1_000),
    "a task's life": (lambda: [transaction(workload.task_lives(150))], 150),
    "get_session": (lambda: [CREATE, *10 * [batch(workload.get_sessions(SESSIONS))]], 10 * SESSIONS),
    "get_events_after, 100 events": (
        lambda: [CREATE, EVENTS, *10 * [batch(workload.get_events_after(0, 100, SESSIONS))]], 10 * SESSIONS
    ),
}  # fmt: skip


def count(binary: Path, sent: list[str]) -> int:
    """Instructions of a sidecar from its start to its end, that answers these lines, one after the other."""
    with tempfile.TemporaryDirectory(prefix="mcp-session-store-instructions-") as directory:
        log = Path(directory) / "log"
        child = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}", str(binary),
             "--database", ":memory:"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "SWIFT_DETERMINISTIC_HASHING": "1"},
        )  # fmt: skip
        with child:
            for line in sent:
                child.stdin.write(line.encode())
                child.stdin.flush()
                answer = child.stdout.readline()
                if not answer or b'"error"' in answer:
                    raise RuntimeError(f"answered {answer[:500]!r}")
            child.communicate()
        collected = re.search(r"Collected : (\d+)", log.read_text())
        if child.returncode != 0 or not collected:
            raise RuntimeError(f"valgrind ended with {child.returncode}: {log.read_text()}")
        return int(collected[1])


def counts(binary: Path) -> dict[str, int]:
    """Instructions for each request, by the name of the workload; the start of the process is counted apart."""
    totals = {name: count(binary, make()) for name, (make, _) in WORKLOADS.items()}
    start = totals["start"]
    return {
        name: total if name == "start" else (total - start) // WORKLOADS[name][1] for name, total in totals.items()
    }


def risen(counted: dict[str, int], budget: dict[str, int]) -> list[str]:
    """What needs more than its budget, in sentences."""
    if counted.keys() != budget.keys():
        return [f"the budget is for other workloads: {', '.join(sorted(counted.keys() ^ budget.keys()))}"]
    return [
        f"{name}: {counted[name]:,} instructions, {counted[name] / budget[name] - 1:+.1%} over its {budget[name]:,}"
        for name in budget
        if counted[name] > budget[name] * (1 + MARGIN)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Counts instructions and compares them with the budget.")
    parser.add_argument("--binary", type=Path, help="the sidecar (default: the release binary, built first)")
    parser.add_argument("--write", action="store_true", help="makes the counts the new budget")
    chosen = parser.parse_args()
    if not shutil.which("valgrind"):
        print(f"{Path(sys.argv[0]).name}: valgrind is not installed (Debian: valgrind)", file=sys.stderr)
        return 69
    counted = counts(chosen.binary.resolve() if chosen.binary else build_sidecar())
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    for name, instructions in counted.items():
        change = f" {instructions / budget[name] - 1:+7.2%}" if name in budget else ""
        print(f"{name:32}{instructions:>14,}{change}")
    if chosen.write:
        BUDGET.write_text(json.dumps(counted, indent=2) + "\n")
        return 0
    over = risen(counted, budget)
    print("\n".join(over), file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
