"""What the tests of the wire share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar import BINARY, Sidecar


def pytest_sessionstart() -> None:
    if not os.access(BINARY, os.X_OK):
        pytest.exit(f"{BINARY} is missing: build it, or name it with MCP_SESSION_STORE_BINARY", returncode=4)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where a database may be made; there is none yet."""
    return tmp_path / "sessions.db"


@pytest.fixture
def spawn(database: Path) -> Iterator[Callable[..., Sidecar]]:
    """Starts sidecars on this test's database (or another one); none outlives the test."""
    started: list[Sidecar] = []

    def start(*options: str, database: str | os.PathLike[str] | None = database, **arguments: Any) -> Sidecar:
        started.append(Sidecar(*options, database=database, **arguments))
        return started[-1]

    yield start
    for sidecar in started:
        sidecar.kill()


@pytest.fixture
def sidecar(spawn: Callable[..., Sidecar]) -> Sidecar:
    """A sidecar with the default options on a new database."""
    return spawn()
