"""The types of what is for version 1 of the SDK hold where that version is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parents[3] / "protocol/clients/python"


def test_the_adapters_are_typed() -> None:
    modules = [f"mcp_session_store/{name}.py" for name in ("mcp_events", "mcp_sessions", "mcp_tasks")]
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10", "--config-file", os.devnull]
    done = subprocess.run([*command, *modules], cwd=CLIENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
