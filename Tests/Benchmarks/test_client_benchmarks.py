"""The benchmark of the clients still runs and says something about every measure. How fast anything is, is not asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from client_measures import CLIENT_MEASURES
from event_stores import CONTENDERS
from test_benchmarks import binary

CLIENTS = Path(__file__).with_name("clients.py")


@pytest.fixture(scope="module")
def run(binary: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
    report = tmp_path_factory.mktemp("clients") / "figures.json"
    command = [sys.executable, CLIENTS, "--quick", "--rounds", "1", "--binary", binary, "--json", report]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(report.read_text())


def test_the_report_says_what_an_answer_of_each_promises(run: tuple[str, dict]) -> None:
    output, report = run
    ours, *_ = (contender.name for contender in CONTENDERS)
    assert report["machine"][f"durability of {ours}"].endswith("synchronous=full")
    assert report["machine"]["durability of Node, ours"] == report["machine"]["durability of Node, sqlite"]
    for contender in CONTENDERS:
        assert f"- durability of {contender.name}: {report['machine'][f'durability of {contender.name}']}\n" in output


@pytest.mark.parametrize("measure", CLIENT_MEASURES, ids=lambda measure: measure.name)
def test_every_measure_gives_its_figures(run: tuple[str, dict], measure: type) -> None:
    output, report = run
    rows = report["measures"][measure.name]
    assert [(row["figure"], row["floor"]["name"]) for row in rows] == [
        (row.figure, row.floor_name) for row in measure.rows
    ]
    for row in rows:
        assert f"| {row['figure']}, {row['unit']} |" in output
        for side in ("ours", "floor", "ratio"):
            assert row[side]["median"] > 0
