"""The benchmark still runs and says something about every measure. How fast anything is, is not asserted here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from measures import MEASURES

#: what a quick run takes
QUICK = [measure for measure in MEASURES if not getattr(measure, "is_slow", False)]
RUN = Path(__file__).with_name("run.py")


@pytest.fixture(scope="module")
def binary() -> str:
    return os.environ.get("MCP_SESSION_STORE_BINARY") or pytest.fail(
        "set MCP_SESSION_STORE_BINARY to the path of a built mcp-session-store"
    )


@pytest.fixture(scope="module")
def run(binary: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
    report = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    command = [sys.executable, RUN, "--quick", "--rounds", "1", "--binary", binary, "--json", report]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(report.read_text())


def test_the_report_says_what_it_was_measured_on(run: tuple[str, dict]) -> None:
    output, report = run
    assert report["rounds"] == 1 and report["quick"] is True
    for name in ("processor", "memory", "kernel", "file system", "SQLite of the floors", "sidecar"):
        assert report["machine"][name]
        assert f"- {name}: " in output


@pytest.mark.parametrize("measure", QUICK, ids=lambda measure: measure.name)
def test_every_measure_gives_its_figures(run: tuple[str, dict], measure: type) -> None:
    _, report = run
    rows = report["measures"][measure.name]
    assert [(row["figure"], row["floor"]["name"]) for row in rows] == [
        (row.figure, row.floor_name) for row in measure.rows
    ]
    for row in rows:
        for side in ("ours", "floor", "ratio"):
            assert len(row[side]["rounds"]) == 1
            assert row[side]["min"] == row[side]["median"] == row[side]["max"] > 0


def test_the_table_has_a_line_for_every_figure(run: tuple[str, dict]) -> None:
    output, report = run
    lines = [line for line in output.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + sum(len(rows) for rows in report["measures"].values())
