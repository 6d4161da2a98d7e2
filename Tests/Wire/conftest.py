"""What the tests of the wire share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Place
from shell import fill
from sidecar import BINARY, Sidecar
from unprivileged import Unprivileged


def pytest_sessionstart() -> None:
    if not os.access(BINARY, os.X_OK):
        pytest.exit(f"{BINARY} is missing: build it, or name it with MCP_SESSION_STORE_BINARY", returncode=4)


@pytest.fixture
def database(place: Place) -> Path | str:
    """Where a database may be made; there is none yet."""
    return place("sessions")


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


@pytest.fixture
def unprivileged() -> Iterator[Unprivileged]:
    place = Unprivileged()
    try:
        done = place.start(place.data / "probe.db")
    except PermissionError:
        pytest.skip("this user cannot become another one")
    assert done.returncode == 0, done
    for entry in place.data.iterdir():
        entry.unlink()
    yield place
    place.data.chmod(0o700)
    shutil.rmtree(place.folder)


@pytest.fixture
def filled(spawn: Callable[..., Sidecar]) -> Sidecar:
    """A sidecar that goes on, on a file with something of each kind."""
    sidecar = spawn()
    fill(sidecar)
    return sidecar


@pytest.fixture
def closed(filled: Sidecar, database: Path) -> Path:
    """The same file, when nobody has it open."""
    filled.finish()
    return database
