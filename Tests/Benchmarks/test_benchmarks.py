"""The benchmark still runs and says something about every measure. How fast anything is, is not asserted here."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from socket import AF_UNIX, socket

import pytest

from measures import MEASURES, is_slow
from measures.row import Measure, at_least, at_most
from programs import compile_programs
from workload import resp

#: what a run takes that is not asked for more
STANDARD = [measure for measure in MEASURES if not is_slow(measure)]
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
    command += ["--plot", report.with_suffix(".png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1_200)
    assert done.returncode == 0, done.stderr
    assert report.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    return done.stdout, json.loads(report.read_text())


def test_the_report_says_what_it_was_measured_on(run: tuple[str, dict]) -> None:
    output, report = run
    assert report["rounds"] == 1 and report["quick"] is True
    for name in ("processor", "memory", "kernel", "file system", "SQLite of the floors", "sidecar", "Redis", "Node"):
        assert report["machine"][name]
        assert f"- {name}: " in output


def test_the_report_says_what_an_answer_of_each_client_promises(run: tuple[str, dict]) -> None:
    output, report = run
    promised = {name: fact for name, fact in report["machine"].items() if name.startswith("durability of ")}
    assert promised["durability of mcp-session-store"].endswith("synchronous=full")
    assert promised["durability of Node, ours"] == promised["durability of Node, sqlite"]
    assert len(promised) == 7
    assert all(f"- {name}: {fact}\n" in output for name, fact in promised.items())


@pytest.mark.parametrize("measure", STANDARD, ids=lambda measure: measure.name)
def test_every_measure_gives_its_figures(run: tuple[str, dict], measure: Measure) -> None:
    _, report = run
    rows = report["measures"][measure.name]
    assert [(row["figure"], row["other"]["name"]) for row in rows] == [
        (row.figure, row.other_name) for row in measure.rows
    ]
    for row, declared in zip(rows, measure.rows):
        for side in ("ours", "other", "ratio"):
            assert len(row[side]["rounds"]) == 1
            assert row[side]["min"] == row[side]["median"] == row[side]["max"] > 0
        assert row["ratio"]["median"] == pytest.approx(row["ours"]["median"] / row["other"]["median"])
        assert (row["goal"] is None) == (declared.goal is None)
        if declared.goal:
            assert row["goal"]["holds"] is declared.goal.holds(row["ratio"]["median"])


def test_the_table_has_a_line_for_every_figure(run: tuple[str, dict]) -> None:
    output, report = run
    lines = [line for line in output.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + sum(len(rows) for rows in report["measures"].values())


def test_a_goal_is_a_bound_that_may_be_reached() -> None:
    assert at_least(1.5).holds(1.5) and at_least(1.5).holds(2) and not at_least(1.5).holds(1.49)
    assert at_most(1.5).holds(1.5) and at_most(1.5).holds(1) and not at_most(1.5).holds(1.51)


#: a command of Redis with a line end inside, to which the server below answers
COMMAND = resp("ANY", "two\r\nlines")


@pytest.mark.parametrize("driver", ["pipeline", "round_trips"])
def test_a_driver_frames_answers_of_redis_however_they_are_cut(programs: dict, tmp_path: Path, driver: str) -> None:
    answer = b"*3\r\n$4\r\na\r\nb\r\n*2\r\n:1\r\n$-1\r\n+OK\r\n"
    done = drive(programs[driver], tmp_path, answer)
    assert done.returncode == 0, done.stderr
    figure, expected = ("answers", 10) if driver == "pipeline" else ("answer_bytes", len(answer))
    assert json.loads(done.stdout)[figure] == expected


@pytest.mark.parametrize("driver", ["pipeline", "round_trips"])
def test_a_driver_fails_when_redis_answers_an_error(programs: dict, tmp_path: Path, driver: str) -> None:
    done = drive(programs[driver], tmp_path, b"*2\r\n+OK\r\n-ERR no such thing\r\n")
    assert done.returncode == 1
    assert "ERR no such thing" in done.stderr


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return compile_programs(tmp_path_factory.mktemp("programs"))


def drive(driver: str, directory: Path, answer: bytes) -> subprocess.CompletedProcess[str]:
    """Runs a driver on a server that answers each command byte by byte."""
    requests = directory / "requests"
    requests.write_text(11 * COMMAND, newline="")
    command = COMMAND.encode()
    with socket(AF_UNIX) as listener:
        listener.bind(str(directory / "s"))
        listener.listen()
        words = [driver, requests, "1" if driver.endswith("pipeline") else "10", f"unix:{directory / 's'}"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            client, _ = listener.accept()
            with client, suppress(ConnectionError):
                seen = b""
                while got := client.recv(4096):
                    *whole, seen = (seen + got).split(command)
                    for byte in answer * len(whole):
                        client.sendall(bytes([byte]))
            output, errors = child.communicate(timeout=60)
    return subprocess.CompletedProcess(words, child.returncode, output, errors)
