"""What the static program of the packages cannot do: load libraries. The companion beside it goes on in its place."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installing import PATIENCE, ROOT, environment, one, pip, run
from release import version

PROGRAM, COMPANION = "mcp-session-store", "mcp-session-store-dynamic"
#: the oldest C library that the companion takes; its error and the pages name it
GLIBC = "2.34"
Environment = dict[str, str]

RUNS = """
import asyncio, sys
from mcp_session_store import Store

async def main():
    async with Store(sys.argv[1]) as store:
        runs = ((await store.get_value("counters", key="runs"))["value"] or 0) + 1
        await store.put_value("counters", key="runs", value=runs)
        print("run", runs, store.info["backend"])

asyncio.run(main())
"""
RUNS_IN_NODE = """
import { SessionStore } from 'mcp-session-store'

const store = await SessionStore.open({ database: process.argv[2] })
const runs = ((await store.getValue({ collection: 'counters', key: 'runs' })).value ?? 0) + 1
await store.putValue({ collection: 'counters', key: 'runs', value: runs })
console.log('run', runs, store.info.backend)
await store.close()
"""


@pytest.fixture(scope="module")
def python(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with nothing but the wheel."""
    python = environment(tmp_path_factory.mktemp("companion"))
    pip(python, "install", "--no-index", one(packages, "*.whl"))
    return python


@pytest.fixture
def folder(python: Path, tmp_path: Path) -> Path:
    """A copy of the two programs, as the wheel brings them, to take away and damage."""
    return Path(shutil.copytree(next(python.parents[1].rglob("_program")), tmp_path / "programs"))


@pytest.fixture
def address(postgres: Any) -> Iterator[str]:
    name = postgres.new_database()
    yield postgres.address(name, by_tcp=True)
    postgres.drop(name)


def test_pip_installs_what_reaches_a_server(
    python: Path, address: str, tmp_path: Path, elsewhere: Environment
) -> None:
    for number in (1, 2):
        assert run([python, "-c", RUNS, address], env=elsewhere, cwd=tmp_path) == f"run {number} postgresql\n"
    command, file = python.with_name(PROGRAM), tmp_path / "sessions.db"
    assert "PostgreSQL" in run([command, "doctor", "--database", address], env=elsewhere)
    # From the server to a file and back to the server, by way of both programs.
    before = run([command, "dump", "--database", address], env=elsewhere)
    for source, target, schema in ((address, file, []), (file, address, ["--schema", "copy"])):
        pipe = subprocess.Popen([command, "dump", "--database", source], env=elsewhere, stdout=subprocess.PIPE)
        run([command, "load", "--database", target, *schema], env=elsewhere, stdin=pipe.stdout)
        assert pipe.wait(PATIENCE) == 0
    assert run([command, "dump", "--database", address, "--schema", "copy"], env=elsewhere) == before


def test_the_five_lines_of_the_readme(
    python: Path, postgres: Any, tmp_path: Path, elsewhere: Environment
) -> None:
    from postgres_server import PASSWORD, USER

    [block] = re.findall(r"```sh\n(apt-get install libpq5\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = block.replace("db.example/mcp?sslmode=verify-full", f"127.0.0.1:{postgres.port}/mcp")
    lines = lines.replace("PGPASSWORD=…", f"PGPASSWORD={PASSWORD}")
    assert len(block.splitlines()) == 5 and str(postgres.port) in lines and PASSWORD in lines
    (tmp_path / "server.py").write_text(RUNS.replace("sys.argv[1]", ""))
    (tmp_path / "apt-get").write_text("#!/bin/sh\n")  # this machine has it
    (tmp_path / "apt-get").chmod(0o755)
    variables = {
        **elsewhere, "PATH": f"{tmp_path}:{python.parent}:{postgres.binaries}:{elsewhere['PATH']}", "PGUSER": USER,
        "PGHOST": str(postgres.folder), "PGPORT": str(postgres.port),
    }
    postgres.query(f"CREATE ROLE mcp LOGIN PASSWORD '{PASSWORD}'")
    try:
        said = run(["sh", "-ec", f"{lines}mcp-session-store status"], env=variables, cwd=tmp_path)
        assert said.startswith("run 1 postgresql\n") and "127.0.0.1" in said and PASSWORD not in said
    finally:
        postgres.drop("mcp")
        postgres.query("DROP ROLE mcp")


def test_npm_installs_what_reaches_a_server(
    packages: Path, address: str, tmp_path: Path, elsewhere: Environment
) -> None:
    variables = {**elsewhere, "HOME": str(tmp_path), "npm_config_cache": str(tmp_path / "cache")}
    (tmp_path / "package.json").write_text('{"name": "project", "private": true}')
    run(
        ["npm", "install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund",
         *packages.glob(f"{PROGRAM}-linux-*-{version()}.tgz"), packages / f"{PROGRAM}-{version()}.tgz"], cwd=tmp_path,
        env=variables)
    (tmp_path / "runs.mjs").write_text(RUNS_IN_NODE)
    for number in (1, 2):
        assert run(["node", "runs.mjs", address], env=variables, cwd=tmp_path) == f"run {number} postgresql\n"
    command = tmp_path / "node_modules/.bin" / PROGRAM
    assert "postgresql" in run([command, "status", "--database", address], env=variables)


def test_it_writes_archives_and_reads_them(folder: Path, tmp_path: Path, elsewhere: Environment) -> None:
    file, archive = tmp_path / "sessions.db", tmp_path / "ended.gz"
    session = {"session_id": "s-1"}
    requests = [("create_session", {**session, "status": "active"}), ("resolve_session", session)]
    answers = run(
        [folder / PROGRAM, "--database", file, "--retain-ended", "1h"], env=elsewhere,
        input="".join(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": name, "params": params}) + "\n"
            for name, params in requests))
    assert '"error"' not in answers
    said = run([folder / PROGRAM, "archive", "--database", file, "--before", "0", "--to", archive], env=elsewhere)
    assert said.startswith("archived 1 session ")
    assert b'"s-1"' in gzip.decompress(archive.read_bytes())
    run(
        [folder / PROGRAM, "load", "--database", tmp_path / "back.db", "--from", archive, "--session", "s-1"],
        env=elsewhere)


NEEDS = {
    "PostgreSQL needs libpq": ["status", "--database", "postgresql://nobody@127.0.0.1:1/none"],
    "archives need zlib": ["archive", "--database", "sessions.db", "--before", "0", "--to", "ended.gz"],
}


@pytest.mark.parametrize("need", NEEDS)
def test_without_it_the_error_says_what_to_do(need: str, folder: Path, elsewhere: Environment) -> None:
    (folder / COMPANION).unlink()
    said = refusal(folder, NEEDS[need], elsewhere)
    assert said.startswith(f"mcp-session-store: {need}, which the fully static program cannot load, and {COMPANION}")
    assert f"is not beside it ({folder / COMPANION}): install the whole package" in said and "swift build" in said
    # All else goes on without.
    assert run([folder / PROGRAM, "--version"], env=elsewhere) == f"{PROGRAM} {version()}\n"


def refusal(folder: Path, words: list[str], variables: Environment) -> str:
    """What it says on standard error when a library cannot be had."""
    done = subprocess.run(
        [folder / PROGRAM, *words], cwd=folder, env=variables, capture_output=True, text=True, timeout=PATIENCE,
        check=False)
    assert (done.returncode, done.stdout) == (69, ""), done
    return done.stderr


def test_a_static_program_under_its_name_is_not_started_for_ever(folder: Path, elsewhere: Environment) -> None:
    shutil.copy(folder / PROGRAM, folder / COMPANION)
    assert "is not beside it" in refusal(folder, NEEDS["PostgreSQL needs libpq"], elsewhere)


@pytest.mark.parametrize(("of_the_system", "there", "not_there", "reason"), [
    ("an older glibc", f"GLIBC_{GLIBC}", "GLIBC_9.99", "it ended with 1"),
    ("another libc", "/lib64/ld-linux", "/lib64/ld-lacks", "No such file or directory"),
    ("no libgcc", "libgcc_s.so.1", "libgcc_s.so.0", "it ended with 127"),
])  # fmt: skip
def test_on_a_system_that_lacks_what_it_needs(
    of_the_system: str, there: str, not_there: str, reason: str, folder: Path, elsewhere: Environment
) -> None:
    """Its file is changed to ask for what no system has, as it asks an old one for what that one does not have."""
    if os.uname().machine != "x86_64" and there.startswith("/lib64"):
        there, not_there = "/lib/ld-linux", "/lib/ld-lacks"
    program = (folder / COMPANION).read_bytes()
    assert there.encode() in program, of_the_system
    (folder / COMPANION).write_bytes(program.replace(there.encode(), not_there.encode()))
    said = refusal(folder, NEEDS["PostgreSQL needs libpq"], elsewhere)
    assert f"{folder / COMPANION}, which can, does not start here: {reason}. It needs glibc {GLIBC}" in said
    assert "Alpine" in said


def test_it_may_not_be_run(folder: Path, elsewhere: Environment) -> None:
    (folder / COMPANION).chmod(0o644)
    assert "does not start here: Permission denied" in refusal(folder, NEEDS["PostgreSQL needs libpq"], elsewhere)


def test_the_client_hands_the_reason_on(python: Path, folder: Path, elsewhere: Environment) -> None:
    (folder / COMPANION).unlink()
    variables = {**elsewhere, "MCP_SESSION_STORE_BINARY": str(folder / PROGRAM)}
    said = run([python, "-c", RUNS, "postgresql://nobody@127.0.0.1:1/none"], env=variables, fails=True)
    assert f"{COMPANION}, which can, is not beside it" in said and "69" in said


def test_it_asks_little_of_the_system(folder: Path) -> None:
    described = run(["readelf", "--dynamic", "--version-info", "--wide", folder / COMPANION])
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", described))
    assert {name for name in needed if not name.startswith("ld-linux")} == {"libc.so.6", "libm.so.6", "libgcc_s.so.1"}
    versions = {tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([\d.]+)", described)}
    assert max(versions) == tuple(map(int, GLIBC.split(".")))
    for page in ("protocol/packages/README.md", "protocol/deploying/README.md", "README.md"):
        assert f"glibc {GLIBC}" in (ROOT / page).read_text(encoding="utf-8"), page
