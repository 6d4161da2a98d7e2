"""Measures the sidecar beside its floors: what the same work costs in plain C, side by side in the same run.

    python3 Tests/Benchmarks/run.py [--binary PATH] [--rounds N] [--quick] [--only NAME] [--json FILE]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import QUICK, Bench, Failed, Sizes
from figures import compare, table
from machine import floors, machine
from measures import MEASURES
from programs import build_sidecar, compile_programs


def options(description: str, measures: Sequence[type]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--binary", type=Path, help="the sidecar (default: the release binary, built first)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each measure is taken (default: 5)")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that everything runs, not how fast")
    parser.add_argument("--only", action="append", choices=[measure.name for measure in measures], metavar="NAME",
                        help="one measure (may be given again): " + ", ".join(measure.name for measure in measures))
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the figures of every round there")
    parser.add_argument("--directory", type=Path,
                        help="where the databases go: the disk that is measured (default: the temporary directory)")
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    return chosen


def take(measure: type, bench: object, rounds: int) -> list[dict[str, object]]:
    """The rows of one measure. Ours and the others alternate, so that a change in the machine meets all."""
    progress(f"{measure.name}: preparing")
    prepared = measure(bench)
    taken = []
    for number in range(1, rounds + 1):
        progress(f"{measure.name}: round {number} of {rounds}")
        taken.append(prepared.round())
    return [compare(row, taken) for row in measure.rows]


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def report(
    chosen: argparse.Namespace, facts: dict[str, str], taken: dict[str, list[dict[str, object]]], other: str,
) -> None:
    """Prints the machine and the table, and writes the figures of every round when that is wanted."""
    if chosen.json:
        figures = {"machine": facts, "rounds": chosen.rounds, "quick": chosen.quick, "measures": taken}
        chosen.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print("\n".join(f"- {name}: {fact}" for name, fact in facts.items()))
    small = ", quick: sizes that measure nothing" * chosen.quick
    print(f"- rounds: {chosen.rounds}, ours and {other} in turn{small}\n")
    print(table([row for rows in taken.values() for row in rows], other))


def main() -> int:
    chosen = options("Measures the sidecar beside its floors in plain C.", MEASURES)
    binary = chosen.binary.resolve() if chosen.binary else build_sidecar()
    measures = [measure for measure in MEASURES if not chosen.only or measure.name in chosen.only]
    if chosen.quick:
        measures = [measure for measure in measures if not getattr(measure, "is_slow", False)]
    with tempfile.TemporaryDirectory(prefix="mcp-session-store-benchmark-", dir=chosen.directory) as temporary:
        directory = Path(temporary)
        programs = compile_programs(directory)
        facts = machine(binary, directory) | floors(programs)
        bench = Bench(binary, programs, directory, QUICK if chosen.quick else Sizes())
        try:
            taken = {measure.name: take(measure, bench, chosen.rounds) for measure in measures}
        except Failed as failure:
            print(f"{Path(sys.argv[0]).name}: {failure}", file=sys.stderr)
            return 1
    report(chosen, facts, taken, "floor")
    return 0


if __name__ == "__main__":
    sys.exit(main())
