"""What all tests share: the engines that a test can run on, and how one is chosen.

    pytest Tests                     on the file; what stands in engine.ON_BOTH on PostgreSQL too
    pytest Tests --engine postgres   all that is not about files, on PostgreSQL
    pytest Tests --engine all        each on all engines that it can run on
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(1, str(Path(__file__).with_name("Wire")))

import engine  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=[*engine.ENGINES, "all"], help="what the store is on; see Tests/conftest.py")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "file_only: about files, or what no other engine has")
    config.addinivalue_line("markers", "both_engines: run on every engine without being asked to")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Once for each engine, for tests that use a database."""
    if "engine_name" not in metafunc.fixturenames or hasattr(metafunc.module, "engine_name"):
        return
    chosen = metafunc.config.getoption("--engine")
    names = list(engine.ENGINES) if chosen == "all" or chosen is None else [chosen]
    if metafunc.definition.get_closest_marker("file_only"):
        names = [name for name in names if name == "file"]
    elif chosen is None and not is_on_both(metafunc):
        names = ["file"]
    if names != ["file"]:  # else their names stay as they were
        metafunc.parametrize("engine_name", names, scope="session")


def is_on_both(metafunc: pytest.Metafunc) -> bool:
    is_marked = metafunc.definition.get_closest_marker("both_engines") is not None
    return is_marked or metafunc.definition.path.name in engine.ON_BOTH


@pytest.fixture(scope="session")
def engine_name() -> str:
    """The engine of a test that runs on one only."""
    return "file"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """One server for all tests that need one and leave it as it is."""
    from postgres_server import PostgresServer  # not everybody who runs tests has what it needs

    with PostgresServer() as server:
        yield server


@pytest.fixture
def place(engine_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[engine.Place]:
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
