"""The README's task that outlives its worker, as it is printed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WAIT = 60
README = (ROOT / "README.md").read_text(encoding="utf-8")


def program(name: str) -> str:
    found = re.findall(rf"^```python\n(# {name}\n.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture
def environment(binary: Path) -> dict[str, str]:
    return {**os.environ, "MCP_SESSION_STORE_BINARY": str(binary), "PYTHONPATH": str(ROOT / "protocol/clients/python")}


def test_a_task_that_outlives_its_worker(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "task.py").write_text(program("task.py"))
    runs = [subprocess.run([sys.executable, "task.py"], cwd=tmp_path, env=environment, capture_output=True, text=True,
                           timeout=WAIT, check=False) for _ in range(2)]
    assert [done.returncode for done in runs] == [-signal.SIGKILL, 0], runs
    assert [done.stdout for done in runs] == ["attempt 1\n", "attempt 2\nSunny in Rome.\n"], runs
