"""What whoever looks after a process is told: the log of requests, the figures in a file, status --watch."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import slack
from shell import command, is_refused
from sidecar import BINARY, PATIENCE, Sidecar, clean_environment, line, request
from test_process import until

SECRET = "canary-4711"
Spawn = Callable[..., Sidecar]


def serve(database: Path, *words: str, calls: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """What a process told on standard error, all lines of it."""
    asked = b"".join(line(request(method, number, **params)) for number, (method, params) in enumerate(calls))
    done = subprocess.run(
        [BINARY, "--database", database, *words], input=asked, capture_output=True, timeout=PATIENCE, check=True,
        env=clean_environment(),
    )  # fmt: skip
    assert SECRET.encode() not in done.stderr
    return [json.loads(row) for row in done.stderr.splitlines()]


ID = "00000000-0000-7000-8000-000000000000"
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("create_session", {"session_id": ID, "user_id": SECRET, "state": {SECRET: 1}}),
    ("get_session", {"session_id": ID}),
    ("store_event", {"session_id": SECRET, "data": SECRET}),
    (SECRET, {}),
    ("get_session", {"session_id": 1, SECRET: 2}),
    ("create_task", {"task_id": SECRET}),
]


def test_by_default_nothing_is_told(database: Path) -> None:
    assert serve(database, calls=CALLS) == []


def test_errors_are_told(database: Path) -> None:
    told = serve(database, "--log-level", "error", calls=CALLS)
    assert [(row["method"], row["outcome"]) for row in told] == [
        ("store_event", "session_not_found"), ("unknown", "method_not_found"), ("get_session", "invalid_params"),
    ]  # fmt: skip
    assert {row["level"] for row in told} == {"error"}


def test_every_request_is_told_once_its_answer_holds(database: Path, engine_name: str) -> None:
    before = time.time_ns() // 1_000_000
    told = serve(database, "--log-level=info", calls=CALLS)
    assert [row["method"] for row in told] == [name if name != SECRET else "unknown" for name, _ in CALLS]
    assert told[0]["outcome"] == "ok" and told[0]["session_id"] == ID
    assert "session_id" not in told[2] and "task_id" not in told[5]
    for row in told:
        assert row["duration_us"] >= 0
        assert before - slack(engine_name) <= row["time"] <= time.time_ns() // 1_000_000 + slack(engine_name)


def test_commits_are_told_to_whoever_asks_for_all(database: Path) -> None:
    told = serve(database, "--log-level", "debug", calls=[("create_session", {})] * 3)
    assert sum(row["commit"] for row in told if "commit" in row) == 3
    assert sum(row.get("method") == "create_session" for row in told) == 3


def test_a_reader_of_the_log_that_does_not_read_holds_nobody_up(database: Path) -> None:
    """More is told than a pipe holds; what is lost is counted."""
    process = subprocess.Popen(
        [BINARY, "--database", database, "--log-level", "info"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=clean_environment(),
    )  # fmt: skip
    assert process.stdin and process.stdout and process.stderr
    try:
        for _ in range(3):
            for _ in range(10):
                process.stdin.write(b"".join(line(request("server_info", number)) for number in range(100)))
                process.stdin.flush()
                for _ in range(100):
                    assert b'"result"' in process.stdout.readline()
        written = os.read(process.stderr.fileno(), 1 << 20)
        assert b"lost_lines" not in written
        process.stdin.write(line(request("server_info", 1)))
        process.stdin.close()
        told = written + process.stderr.read()
    finally:
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()
        process.stderr.close()
    rows = [json.loads(row) for row in told.splitlines()]
    lost = sum(row.get("lost_lines", 0) for row in rows)
    assert lost > 0 and lost + sum("method" in row for row in rows) == 3_001


# --- the figures in a file


def test_the_figures_are_written_to_a_file(spawn: Spawn, tmp_path: Path) -> None:
    file = tmp_path / "store.prom"
    sidecar = spawn("--metrics-file", str(file))
    sidecar.call("server_info")
    until(file.exists, "the figures are in the file")
    assert "mcp_session_store_uptime_seconds" in file.read_text()
    sidecar.call("create_session")
    sidecar.finish()
    text = file.read_text()
    assert text.endswith("\n") and 'mcp_session_store_sessions{status="pending"} 1\n' in text
    assert 'mcp_session_store_requests_total{method="create_session"} 1\n' in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o644 & ~umask() and list(tmp_path.glob("*.partial*")) == []


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_that_cannot_be_written_disturbs_nobody(database: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [BINARY, "--database", database, "--metrics-file", tmp_path / "no" / "a.prom"],
        input=line(request("create_session", 1)), capture_output=True, timeout=PATIENCE, check=True,
        env=clean_environment(),
    )  # fmt: skip
    assert b'"session_id"' in done.stdout and done.stderr.count(b"\n") == 1
    assert b"--metrics-file: " in done.stderr and b"No such file" in done.stderr


# --- status --watch


def test_watching_without_a_terminal_writes_lines(closed: Path) -> None:
    text = rb"\S+Z  sessions 6  active \d+  events \d+  .*\n"
    for words, pattern in (([], text), (["--json"], rb'\{"database":.*\n')):
        with subprocess.Popen(
            [BINARY, "status", "--watch", *words, "--database", closed], stdout=subprocess.PIPE, env=clean_environment()
        ) as process:
            assert process.stdout
            try:
                for _ in range(2):
                    assert re.fullmatch(pattern, process.stdout.readline())
                process.send_signal(signal.SIGTERM)
                assert process.wait(PATIENCE) == 0
            finally:
                process.kill()


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_watching_on_a_terminal_draws_anew_and_ends_with_a_key(key: bytes, closed: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(BINARY, [BINARY, "status", "--watch", "--database", closed], clean_environment(TERM="xterm"))
    seen = b""
    try:
        while seen.count(b"\x1b[H") < 2 or b"ends with q" not in seen:
            assert select.select([terminal], [], [], PATIENCE)[0], seen
            seen += os.read(terminal, 1 << 16)
        assert seen.count(b"\x1b[2J") == 1 and b"sessions" in seen
        os.write(terminal, key)
        while True:
            try:
                assert select.select([terminal], [], [], PATIENCE)[0]
                if not os.read(terminal, 1 << 16):
                    break
            except OSError:
                break
        _, status = os.waitpid(pid, 0)
        pid = 0
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)


def test_what_cannot_be_watched_is_said(tmp_path: Path) -> None:
    is_refused(command("status", "--watch", "--database", tmp_path / "none.db"), 66, "none.db")
    is_refused(command("--log-level", "all"), 64, "--log-level", "none, error, info, debug")
