"""Tries to break what the README promises, one part after the other, and prints what was tried and found.

    Tests/.venv/bin/python Tests/Reliability/run.py [--long] [--seed N] [--directory DIR] [part …]

The short form takes minutes, the long one hours. The exit status is 1 when anything broke. The program under test is
the one that MCP_SESSION_STORE_BINARY names, else the release build.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from part import Finding, Form

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent / "Wire"))  # the driver of the program, sidecar.py, is at home there

from sidecar import BINARY  # noqa: E402

PARTS = (
    "kill",
    "power_cut",
    "io_faults",
    "many_processes",
    "many_machines",
    "hostile_input",
    "fuzz",
    "isolation",
    "state_machine",
    "growth",
    "lifecycle",
    "upgrade",
    "endurance",
    "planted",
)
#: of what broke, this many are shown for each promise
SHOWN = 10


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Tries to break what the README promises.")
    parser.add_argument("parts", nargs="*", metavar="part", help="which (default: all): " + ", ".join(PARTS))
    parser.add_argument("--long", action="store_true", help="takes hours and tries much more")
    parser.add_argument("--seed", type=int, help="repeats a run (default: another one each time)")
    parser.add_argument("--directory", type=Path, help="where the databases go (default: the temporary directory)")
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.parts if name not in PARTS]:
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return chosen


def take(name: str, seed: int, is_long: bool, place: Path | None) -> list[Finding]:
    """The findings of one part. A part that cannot go on is a promise that is not kept."""
    directory = Path(tempfile.mkdtemp(prefix=f"mcp-session-store-{name}-", dir=place))
    form = Form(Path(BINARY), directory, seed, is_long, lambda text: print(f"{name}: {text}", flush=True))
    try:
        findings: list[Finding] = importlib.import_module(name).run(form)
    except Exception:
        findings = [Finding("the part runs to its end", name, [traceback.format_exc().rstrip()])]
    if any(finding.broken for finding in findings):
        print(f"{name}: its files are kept in {directory}", flush=True)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return findings


def table(findings: dict[str, list[Finding]]) -> str:
    rows = [["part", "promise", "tried", "broken"]]
    rows += [[name, finding.promise, finding.tried, str(len(finding.broken))]
             for name, found in findings.items() for finding in found]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)


def main() -> int:
    chosen = options()
    if not os.access(BINARY, os.X_OK):
        print(f"run.py: {BINARY} is missing: build it, or name it with MCP_SESSION_STORE_BINARY", file=sys.stderr)
        return 2
    seed = random.SystemRandom().randrange(1 << 32) if chosen.seed is None else chosen.seed
    again = f"run.py{' --long' * chosen.long} --seed {seed}"
    print(f"{again} {' '.join(chosen.parts)}", flush=True)
    findings: dict[str, list[Finding]] = {}
    for name in chosen.parts or PARTS:
        began = time.monotonic()
        findings[name] = take(name, seed, chosen.long, chosen.directory)
        print(f"{name}: done after {time.monotonic() - began:.0f} s", flush=True)
        for finding in findings[name]:
            held = "BROKEN" if finding.broken else "holds"
            print(f"{name}: {held}: {finding.promise}: {finding.tried}", flush=True)

    print(f"\n{table(findings)}")
    broken = {name: found for name, found in findings.items() if any(finding.broken for finding in found)}
    for name, found in broken.items():
        for finding in (finding for finding in found if finding.broken):
            print(f"\nBROKEN: {name}: {finding.promise}; {len(finding.broken)} times")
            for text in finding.broken[:SHOWN]:
                print(f"  {text}")
        print(f"to repeat it: {again} {name}")
    if not broken:
        print("\nNothing broke.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
