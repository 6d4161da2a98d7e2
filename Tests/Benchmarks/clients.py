"""Measures the clients beside what a user would pick instead, side by side in the same run.

    Tests/.venv/bin/python Tests/Benchmarks/clients.py [--binary PATH] [--rounds N] [--quick] [--only NAME] [--json FILE]

It needs the packages of Tests/requirements.txt and redis-server.
"""

import platform
import sys
import tempfile
from pathlib import Path

from bench import Failed
from client_measures import CLIENT_MEASURES, NODE, QUICK, Sizes, Workbench
from machine import first_line, machine
from programs import build_sidecar
from run import options, report, take


def main() -> int:
    chosen = options("Measures the clients beside what a user would pick instead.", CLIENT_MEASURES)
    binary = chosen.binary.resolve() if chosen.binary else build_sidecar()
    measures = [measure for measure in CLIENT_MEASURES if not chosen.only or measure.name in chosen.only]
    with tempfile.TemporaryDirectory(prefix="mcp-session-store-clients-", dir=chosen.directory) as temporary:
        bench = Workbench(binary, Path(temporary), QUICK if chosen.quick else Sizes())
        facts = machine(binary, bench.directory)
        facts |= {"Python": platform.python_version(), "Node": first_line([str(NODE), "--version"])}
        try:
            taken = {measure.name: take(measure, bench, chosen.rounds) for measure in measures}
        except Failed as failure:
            print(f"{Path(sys.argv[0]).name}: {failure}", file=sys.stderr)
            return 1
    facts |= {f"durability of {name}": durability for name, durability in bench.durability.items()}
    report(chosen, facts, taken, "neighbour")
    return 0


if __name__ == "__main__":
    sys.exit(main())
