"""Measures the sidecar beside its peers and floors: the same work done by others, side by side in the same run.

    Tests/.venv/bin/python Tests/Benchmarks/run.py [--binary PATH] [--rounds N] [--quick] [--slow] [--only NAME]
        [--json FILE] [--plot FILE]

Floors are the least that the work can cost: plain C over SQLite, a pipe that only echoes. Peers are what one would use
instead: Redis, SQLite in the server's own process, mcp-persist. They start by themselves.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from programs import missing_peers

if missing := missing_peers():
    print(f"{Path(sys.argv[0]).name}: missing: {'; '.join(missing)}. Tests/run installs them, the packages of PyPI into"
          " Tests/.venv: run this with Tests/.venv/bin/python.", file=sys.stderr)  # fmt: skip
    sys.exit(69)

from bench import QUICK, Bench, Failed, Sizes
from figures import compare, table
from machine import machine
from measures import MEASURES, is_slow
from measures.row import Measure
from plot import plot
from programs import STATIC, build_sidecar, compile_programs

NAMES = [measure.name for measure in MEASURES]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures the sidecar beside its peers and floors.")
    parser.add_argument("--binary", type=Path, help="the sidecar (default: the static release binary, built first)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each measure is taken (default: 5)")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that everything runs, not how fast")
    parser.add_argument("--slow", action="store_true",
                        help="also what takes long: " + ", ".join(filter(is_slow_name, NAMES)))
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME",
                        help="one measure, may be given again: " + ", ".join(NAMES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the figures of every round there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draws the ratios there, as PNG")
    parser.add_argument("--directory", type=Path,
                        help="where the databases go: the disk that is measured (default: the temporary directory)")
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    return chosen


def is_slow_name(name: str) -> bool:
    return is_slow(MEASURES[NAMES.index(name)])


def wanted(chosen: argparse.Namespace) -> list[Measure]:
    if chosen.only:
        return [measure for measure in MEASURES if measure.name in chosen.only]
    return [measure for measure in MEASURES if chosen.slow or not is_slow(measure)]


def take(measure: Measure, bench: Bench, rounds: int) -> list[dict[str, object]]:
    """The rows of one measure. In each round all take their turn, so that a change in the machine meets all of them."""
    progress(f"{measure.name}: preparing")
    measure.prepare(bench)
    taken = []
    for number in range(1, rounds + 1):
        progress(f"{measure.name}: round {number} of {rounds}")
        taken.append(measure.round())
    return [compare(row, taken) for row in measure.rows]


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    chosen = options()
    binary = chosen.binary.resolve() if chosen.binary else build_sidecar(*STATIC)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mcp-session-store-benchmark-", dir=chosen.directory) as temporary:
        programs = compile_programs(Path(temporary))
        facts = machine(binary, programs, Path(temporary))
        taken, failed = {}, False
        for measure in wanted(chosen):
            # What a measure wrote is gone before the next one begins.
            with tempfile.TemporaryDirectory(prefix=f"{measure.name}-", dir=temporary) as directory:
                bench = Bench(binary, programs, Path(directory), QUICK if chosen.quick else Sizes())
                try:
                    taken[measure.name] = take(measure, bench, chosen.rounds)
                    facts |= bench.facts
                except Failed as failure:
                    # The others may have taken long.
                    failed = True
                    print(f"{Path(sys.argv[0]).name}: {measure.name}: {failure}", file=sys.stderr)

    facts["duration"] = f"{time.monotonic() - began:.0f} s"
    rows = [row for of_measure in taken.values() for row in of_measure]
    if chosen.json:
        report = {"machine": facts, "rounds": chosen.rounds, "quick": chosen.quick, "measures": taken}
        chosen.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if chosen.plot and rows:
        plot(rows, facts, chosen.plot)
    print("\n".join(f"- {name}: {fact}" for name, fact in facts.items()))
    print(f"- rounds: {chosen.rounds}, all in turn{', quick: sizes that measure nothing' * chosen.quick}\n")
    print(table(rows))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
