"""What the tests of the Python client share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "protocol/clients/python"))


@pytest.fixture
def binary() -> Path:
    """The program."""
    return Path(os.environ.get("MCP_SESSION_STORE_BINARY") or ROOT / ".build/release/mcp-session-store").absolute()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where a database may be made; there is none yet."""
    return tmp_path / "sessions.db"


@pytest.fixture
def impostor(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a program that behaves badly: it shakes hands, then runs the given Python text.

    The text has `requests`, an iterator over what comes in, and `answer(request, result)`.
    """

    def make(text: str) -> Path:
        path = tmp_path / "impostor"
        path.write_text(f"#!{sys.executable}\n" + GREETING + text)
        path.chmod(0o755)
        return path

    return make


GREETING = '''\
import json, os, signal, sys, time
requests = (json.loads(line) for line in sys.stdin.buffer)
def answer(request, result):
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
answer(next(requests), {"limits": {"max_line_bytes": 1 << 24}})
'''
