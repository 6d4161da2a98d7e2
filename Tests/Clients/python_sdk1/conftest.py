"""What the tests against version 1 of the MCP SDK share. They run in an environment of their own."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "protocol/clients/python"))

if not importlib.metadata.version("mcp").startswith("1."):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def binary() -> Path:
    """The program."""
    return Path(os.environ.get("MCP_SESSION_STORE_BINARY") or ROOT / ".build/release/mcp-session-store").absolute()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where a database may be made; there is none yet."""
    return tmp_path / "sessions.db"
