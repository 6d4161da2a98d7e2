"""What the tests of the wire share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shell import fill
from sidecar import BINARY, Sidecar
from unprivileged import Unprivileged

#: where a database is: the path of a file, or an address
Place = Callable[[str], Path | str]


def pytest_sessionstart() -> None:
    if not os.access(BINARY, os.X_OK):
        pytest.exit(f"{BINARY} is missing: build it, or name it with MCP_SESSION_STORE_BINARY", returncode=4)


@pytest.fixture
def place(engine_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Where a database of a name may be made, on the engine of the test: a path, or an address."""
    made: dict[str, str] = {}
    if engine_name == "file":
        yield lambda name: tmp_path / f"{name}.db"
        return
    server = request.getfixturevalue("postgres")

    def address(name: str) -> str:
        if name not in made:
            made[name] = server.new_database()
        return str(server.address(made[name]))

    yield address
    for name in made.values():
        server.drop(name)


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
